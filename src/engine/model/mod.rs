//! Reusable models: lists and quantizer trained once, to make any number of indexes that are trained from birth.
//!
//! A model is a vault of its own, under a key of its own, in a space whose name no index can have (it begins with a
//! control character). Its head is the *record*: state, numbers, texts, and the indexes made from it; the trained part
//! is one object that the record names. `record` owns the bytes, `keeper` one open record and its compare-and-set,
//! `registry` what runs in this process and the calls by id, `train` the job, `measure` its recall curve, `create` the
//! index made from a model, `package` export and import.
//!
//! Invariants: a record in state TRAINING is durable before its job begins; it leaves that state once, by a commit that
//! expects the head its writer has seen, so a job that comes late finds another head, or none, and changes nothing.

mod create;
mod keeper;
mod measure;
mod package;
mod record;
mod registry;
#[cfg(test)]
mod tests;
mod train;

pub(super) use registry::Models;

use super::options::TrainOptions;
use crate::error::{Error, Result};
use crate::types::{MAX_MODEL_DESCRIPTION, MAX_MODEL_ID_LEN, Metric, QuantizerSpec};

/// How a model is trained. Zero in a field = its default.
#[derive(Clone, Copy, Debug, Default)]
pub struct ModelOptions<'a> {
    /// Lists, sample, memory, passes (one of mini-batches in any case), seed: as for an index. The source index's seed where it is 0.
    pub train: TrainOptions,
    /// How the vectors of indexes made from it will be coded; `None` = the library's choice.
    pub quantizer: Option<QuantizerSpec>,
    /// Rows of the source read at a time; 0 = 10,000. Never more than 4 MiB of vectors.
    pub search_size: u32,
    /// Anything, at most 1,000 characters.
    pub description: &'a str,
}

/// State of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(i32)]
pub enum ModelState {
    /// Queued or at work.
    #[default]
    Training = 1,
    /// Trained; indexes can be made from it.
    Created = 2,
    /// Never to be trained: see the failure's code and text. It can only be deleted.
    Failed = 3,
}

/// Why a model failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum FailureCode {
    /// The process ended, or the db was closed, before the training did.
    Interrupted = 1,
    /// It was cancelled.
    Cancelled = 2,
    /// Memory was refused by the system or by a limit.
    Memory = 3,
    /// The source would not do: too few vectors were left, it was dropped, or it is damaged.
    Data = 4,
    /// Anything else: the store failed, or the library has a defect.
    Internal = 5,
}

/// One reading of a model's record.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ModelInfo {
    /// Its id, not secret.
    pub id: String,
    /// State.
    pub state: ModelState,
    /// Set when the state is `Failed`.
    pub failure: Option<FailureCode>,
    /// What went wrong, empty unless `Failed`.
    pub error: String,
    /// When training was asked for, in milliseconds since 1970 UTC.
    pub created_at: u64,
    /// When the state became what it is; 0 while training.
    pub finished_at: u64,
    /// As given.
    pub description: String,
    /// Name of the index it was trained from.
    pub source: String,
    /// Elements of a vector.
    pub dimension: u32,
    /// Metric of the source.
    pub metric: Metric,
    /// How vectors will be coded; `None` = the library's choice, not yet made.
    pub quantizer: Option<QuantizerSpec>,
    /// Inverted lists.
    pub n_lists: u32,
    /// Seed of sampling and clustering.
    pub seed: u64,
    /// Vectors that were clustered; 0 while training.
    pub vectors_used: u64,
    /// Clustering passes; 0 while training.
    pub passes: u32,
    /// Mean squared distance of those vectors to the centroids of their lists.
    pub objective: f64,
    /// Bytes of the trained part.
    pub bytes: u64,
    /// Version of the format it was written in.
    pub format: u32,
    /// Version of the library that trained it.
    pub library: String,
    /// Names of the indexes made from it that still exist.
    pub used_by: Vec<String>,
}

/// What the names of models' spaces begin with. Names of indexes have no control characters.
const SPACE: &str = "\u{1}model\u{1}";

/// The name of the space of model `id`.
fn space(id: &str) -> String {
    format!("{SPACE}{id}")
}

/// The model that a space belongs to.
fn id_of(space: &str) -> Option<&str> {
    space.strip_prefix(SPACE)
}

/// Whether a space of the store belongs to an index.
pub(super) fn is_index(space: &str) -> bool {
    !space.starts_with(char::is_control)
}

fn check_id(id: &str) -> Result<()> {
    if id.is_empty() || id.len() > MAX_MODEL_ID_LEN {
        return Err(Error::invalid("model_id", format_args!("{} bytes", id.len()), "1 to 200 bytes of UTF-8"));
    }
    if id.chars().any(char::is_control) {
        return Err(Error::invalid("model_id", "one with control characters", "no control characters"));
    }
    Ok(())
}

fn check_description(text: &str) -> Result<()> {
    match text.chars().count() {
        0..=MAX_MODEL_DESCRIPTION => Ok(()),
        n => Err(Error::invalid("description", format_args!("{n} characters"), "at most 1000 characters")),
    }
}

/// What the vault says of spaces, said of models.
fn of_model(e: Error) -> Error {
    match e {
        Error::NotFound { .. } => Error::NotFound { what: "model" },
        Error::AlreadyExists { .. } => Error::AlreadyExists { what: "model" },
        e => e,
    }
}
