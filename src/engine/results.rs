//! What callers get back: owned columns and plain structs.

use crate::error::{Error, Result};
use crate::exec::ProgressReading;
use crate::types::{ContentsKind, IdKind, Metric, QuantizerSpec, VectorPrecision};

/// Owned byte strings: one data buffer and `len + 1` offsets.
#[derive(Clone, Debug)]
pub struct StringColumn {
    data: Vec<u8>,
    offsets: Vec<u64>,
}

impl Default for StringColumn {
    fn default() -> Self {
        Self { data: Vec::new(), offsets: vec![0] }
    }
}

impl StringColumn {
    /// Appends a string.
    pub(crate) fn push(&mut self, s: &[u8]) -> Result<()> {
        let e = Error::NoMemory { what: "results", needed: self.data.len() as u64 + s.len() as u64, got: 0 };
        if self.data.try_reserve(s.len()).is_err() || self.offsets.try_reserve(1).is_err() {
            return Err(e);
        }
        self.data.extend_from_slice(s);
        self.offsets.push(self.data.len() as u64);
        Ok(())
    }

    /// Number of strings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// String `i`.
    #[must_use]
    pub fn get(&self, i: usize) -> &[u8] {
        &self.data[self.offsets[i] as usize..self.offsets[i + 1] as usize]
    }

    /// All bytes.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// `len + 1` offsets into [`Self::data`].
    #[must_use]
    pub fn offsets(&self) -> &[u64] {
        &self.offsets
    }
}

/// The optional columns of items that were asked for with `include` bits.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    /// Metadata as it was given; empty = none.
    pub metadata: Option<StringColumn>,
    /// Contents; their kinds stand in `contents_kinds`.
    pub contents: Option<StringColumn>,
    /// Kind of each item's contents.
    pub contents_kinds: Vec<ContentsKind>,
    /// `len x dimension` values.
    pub vectors: Option<Vec<f32>>,
}

/// Result of a query: for query `q` the entries `starts[q]..starts[q + 1]` of every column, nearest first, equal
/// distances by id (numbers by value; of items equally near at the end of the list any may be the one left out).
#[derive(Clone, Debug)]
pub struct Results {
    /// Kind of the ids.
    pub id_kind: IdKind,
    /// Elements of a vector.
    pub dimension: u32,
    /// `queries + 1` positions.
    pub starts: Vec<usize>,
    /// Ids as bytes (numbers as 8 little-endian bytes).
    pub ids: StringColumn,
    /// Distances, lower = nearer.
    pub distances: Vec<f32>,
    /// Columns asked for.
    pub fields: Fields,
    /// Work done for each query.
    pub stats: Vec<QueryStats>,
}

/// Work done for one query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// Lists looked into.
    pub lists_probed: u32,
    /// Vectors scored by their codes.
    pub vectors_scanned: u64,
    /// Candidates reranked from stored vectors.
    pub reranked: u32,
    /// Bytes decrypted for this query; what is decrypted for several of a batch counts for the first of them.
    pub bytes_opened: u64,
}

/// Items fetched by id; ids that are not in the index have `found[i] == false` and empty columns.
#[derive(Clone, Debug)]
pub struct Items {
    /// Kind of the ids.
    pub id_kind: IdKind,
    /// Elements of a vector.
    pub dimension: u32,
    /// Whether the id was found, in the order asked for.
    pub found: Vec<bool>,
    /// The ids asked for.
    pub ids: StringColumn,
    /// Columns asked for.
    pub fields: Fields,
}

/// Result of an upsert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpsertResult {
    /// Items whose id was new.
    pub inserted: u64,
    /// Items that replaced one.
    pub updated: u64,
    /// Items of the batch that a later item of the same id overrode.
    pub superseded: u64,
    /// Whether this upsert started a training job.
    pub training_triggered: bool,
    /// Items in the index after this upsert.
    pub vector_count: u64,
    /// The number of items that had to be passed for training to start.
    pub threshold: u64,
}

/// Configuration and state of an index.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexInfo {
    /// Name.
    pub name: String,
    /// Id of the model it was made from, which may be gone.
    pub model: Option<String>,
    /// 0 while not yet known.
    pub dimension: u32,
    /// Metric.
    pub metric: Metric,
    /// As configured; `None` = the library's choice.
    pub quantizer: Option<QuantizerSpec>,
    /// How the present lists are coded: flat while untrained.
    pub coded: QuantizerSpec,
    /// Bytes of the code of one vector in the present lists, its share of what a block adds included.
    pub code_bytes: u32,
    /// How vectors are stored.
    pub vector_precision: VectorPrecision,
    /// Id kind.
    pub id_kind: IdKind,
    /// Whether it has a trained generation.
    pub trained: bool,
    /// Whether a job is queued or running.
    pub training: bool,
    /// Whether upserts may start training.
    pub auto_train: bool,
    /// Items held.
    pub count: u64,
    /// Inverted lists, 1 when untrained.
    pub n_lists: u32,
    /// Probes that reach the target for `top_k = 10` if all queries use the same number; the stopping rule may use more.
    pub auto_probes: u32,
    /// The recall curve measured when the present lists were made; empty when untrained.
    pub recall: RecallReading,
    /// Generation number, 0 when untrained.
    pub generation: u64,
    /// Sequence number of the last commit.
    pub sequence: u64,
    /// As configured.
    pub retrain_threshold: u64,
    /// As configured.
    pub target_recall: f32,
    /// As configured.
    pub seed: u64,
}

/// A recall curve: how much of the true nearest neighbours the nearest lists of a query hold. What codes lose comes on
/// top of it, and rerank makes up for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecallReading {
    /// Held-out items used as queries; 0 = nothing was measured.
    pub queries: u32,
    /// (Lists looked into, share of the 10 nearest that lie in them), both rising.
    pub at_10: Vec<(u32, f32)>,
    /// The same of the 100 nearest.
    pub at_100: Vec<(u32, f32)>,
}

/// Sizes and counters of an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexStats {
    /// Items held.
    pub count: u64,
    /// Rows of replaced or deleted items not yet dropped by a merge.
    pub tombstones: u64,
    /// Committed batches not yet merged.
    pub deltas: u64,
    /// Items in them.
    pub delta_items: u64,
    /// Merged runs.
    pub runs: u64,
    /// Bytes of the index's objects in the store, those about to be deleted included. Counted anew by each call.
    pub stored_bytes: u64,
    /// Bytes of resident ids, deltas and directories.
    pub resident_bytes: u64,
    /// Bytes of this index in the cache.
    pub cache_bytes: u64,
    /// Cache hits since opening.
    pub cache_hits: u64,
    /// Cache misses of the present runs; a merge or training starts them anew.
    pub cache_misses: u64,
    /// Largest list divided by the mean list length, in thousandths; 0 when untrained.
    pub largest_list_permille: u64,
    /// `n_lists * sum(size^2) / count^2` in thousandths; 0 when untrained.
    pub balance_permille: u64,
    /// Items written or deleted in the life of the index.
    pub writes: u64,
    /// The value of `writes` when the recall curve was measured; 0 when untrained or measured for a model.
    pub curve_writes: u64,
    /// Queries the recall curve was measured with; 0 = none, all lists are probed.
    pub curve_queries: u64,
}

/// State of a training job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(i32)]
pub enum JobState {
    /// Waiting for a worker.
    #[default]
    Queued = 1,
    /// At work.
    Running = 2,
    /// The new generation is published.
    Trained = 3,
    /// Ended with an error; the old generation is as it was.
    Failed = 4,
    /// Ended on request; the old generation is as it was.
    Cancelled = 5,
}

impl JobState {
    /// Whether the job will change no more.
    #[must_use]
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// What a job trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum JobKind {
    /// An index.
    Index = 1,
    /// A model.
    Model = 2,
}

/// A job in the training queue of a db.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedJob {
    /// Name of the index, or id of the model.
    pub name: String,
    /// What it trains.
    pub kind: JobKind,
    /// 0 = running, 1 = the next to run, and so on.
    pub place: u32,
    /// State and progress.
    pub reading: JobReading,
}

/// One reading of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct JobReading {
    /// State.
    pub state: JobState,
    /// Phase and numbers.
    pub progress: ProgressReading,
    /// Since the job was queued.
    pub elapsed_ms: u64,
}
