//! The index as users know it. (skeleton of the public surface; bodies follow)
#![allow(unused_variables, clippy::todo, missing_docs)]
mod options;
mod results;
use std::sync::Arc;
use std::time::Duration;

pub use options::*;
pub use results::*;

use crate::error::{Error, Result};
use crate::exec::Watch;

pub struct Db;
impl Db {
    pub fn open(url: &str, options: DbOptions) -> Result<Arc<Self>> { todo!() }
    pub fn list_indexes(&self) -> Result<Vec<String>> { todo!() }
    /// Names of the indexes whose training is queued or running.
    pub fn training_status(&self) -> Result<Vec<String>> { todo!() }
    pub fn create_index(self: &Arc<Self>, name: &str, key: &[u8], options: &IndexOptions) -> Result<Arc<Index>> { todo!() }
    pub fn open_index(self: &Arc<Self>, name: &str, key: &[u8]) -> Result<Arc<Index>> { todo!() }
    pub fn drop_index(&self, name: &str, key: &[u8]) -> Result<()> { todo!() }
    /// Cancels and joins jobs, closes the store. Later calls on it or its indexes give `Closed`. Idempotent. Also on drop.
    pub fn close(&self) { todo!() }
}

/// Two opens of one index in a db share one `Index`.
pub struct Index;
impl Index {
    pub fn describe(&self) -> Result<IndexInfo> { todo!() }
    pub fn stats(&self) -> Result<IndexStats> { todo!() }
    pub fn count(&self) -> Result<u64> { todo!() }
    pub fn is_training(&self) -> Result<bool> { todo!() }
    pub fn is_trained(&self) -> Result<bool> { todo!() }
    pub fn upsert(&self, batch: &Batch<'_>, watch: &Watch) -> Result<UpsertResult> { todo!() }
    /// `vectors_base64`: standard base64 of `count x dimension` little-endian float32; `batch.vectors` must be empty.
    pub fn upsert_base64(&self, batch: &Batch<'_>, vectors_base64: &[u8], watch: &Watch) -> Result<UpsertResult> { todo!() }
    pub fn get(&self, ids: Ids<'_>, include: u32) -> Result<Items> { todo!() }
    pub fn contains(&self, ids: Ids<'_>) -> Result<Vec<bool>> { todo!() }
    /// Number of items that were there.
    pub fn delete(&self, ids: Ids<'_>) -> Result<u64> { todo!() }
    pub fn list_ids(&self) -> Result<Cursor> { todo!() }
    pub fn query(&self, queries: &[f32], n_queries: usize, dimension: u32, options: &QueryOptions, watch: &Watch) -> Result<Results> { todo!() }
    /// For `IdKind::U64`: row `q` of `ids`/`distances` starts at `q * top_k`; `distances` may be empty.
    #[allow(clippy::too_many_arguments)]
    pub fn query_into(&self, queries: &[f32], n_queries: usize, dimension: u32, options: &QueryOptions, ids: &mut [u64], distances: &mut [f32], counts: &mut [u32], watch: &Watch) -> Result<()> { todo!() }
    /// Starts a job and returns at once.
    pub fn train(&self, options: &TrainOptions) -> Result<Arc<TrainingJob>> { todo!() }
    /// Folds all deltas and runs into one, drops tombstones, gives the space back.
    pub fn compact(&self, watch: &Watch) -> Result<()> { todo!() }
    /// Reads and authenticates every live object. The error names the first that is damaged.
    pub fn verify(&self, watch: &Watch) -> Result<()> { todo!() }
}

pub struct TrainingJob;
impl TrainingJob {
    pub fn read(&self) -> JobReading { todo!() }
    /// The reason, once `Failed`, `Cancelled` too.
    pub fn error(&self) -> Option<Error> { todo!() }
    /// Waits until it ended or the time is over (`None`: until it ended).
    pub fn wait(&self, timeout: Option<Duration>) -> JobState { todo!() }
    pub fn cancel(&self) { todo!() }
}

/// Ids of one snapshot, in row order; stable under writes.
pub struct Cursor;
impl Cursor {
    /// Up to `limit` next ids; empty at the end.
    pub fn next_page(&mut self, limit: usize) -> Result<StringColumn> { todo!() }
}
