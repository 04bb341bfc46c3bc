//! The index as users know it: items in, neighbours out, training beside both.
//!
//! [`Db`] opens a store, [`Index`] is one encrypted index in it. Durable state is a head (the sealed manifest) that
//! names immutable sealed objects: a generation, runs, tombstones, deltas; FORMAT.md draws them. In memory a state is
//! an immutable snapshot. Writers commit deltas in groups (`write`); merge, compaction and training rewrite ranges of
//! rows (`rebuild`) and put the result in place in one commit (`publish`); queries read snapshots (`search`).
//!
//! This floor holds a `Vault`, never a store: plaintext has no path to storage from here.

mod bias;
mod blob;
mod cache;
mod calibrate;
mod compare;
mod cursor;
mod curve;
mod cut;
mod db;
mod delta;
mod drafts;
mod drift;
mod encode;
mod extents;
mod fields;
mod generation;
mod ids;
mod index;
mod inspect;
mod intake;
mod job;
mod jobs;
mod learn;
mod load;
mod manifest;
mod margin;
mod merge;
mod model;
mod options;
mod parts;
mod payload;
mod plan;
mod prune;
mod publish;
mod rebuild;
mod region;
mod rerank;
mod results;
mod run;
mod scan;
mod search;
mod shared;
mod shelf;
mod snapshot;
mod tail;
mod tombstones;
mod train;
mod turns;
mod visit;
mod wire;
mod workers;
mod write;

pub use cursor::Cursor;
pub use db::Db;
pub use index::Index;
pub use job::TrainingJob;
pub use model::{FailureCode, ModelInfo, ModelOptions, ModelState};
pub use options::{
    Batch, CacheMode, DbOptions, Ids, IndexOptions, LogLevel, LogSink, QueryOptions, Strings, TrainOptions, include,
};
pub use results::{
    Fields, IndexInfo, IndexStats, Items, JobKind, JobReading, JobState, ListedJob, QueryStats, RecallReading, Results,
    StringColumn, UpsertResult,
};
