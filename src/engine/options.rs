//! What callers give: options with their defaults and ranges, and batches as borrowed columns.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::types::{IdKind, MAX_ID_LEN, Metric, QuantizerSpec, VectorPrecision};

/// How the cache keeps inverted lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(i32)]
pub enum CacheMode {
    /// Decrypted, zeroized when evicted. Fastest.
    #[default]
    Plain = 1,
    /// As ciphertext, decrypted for each query into scratch memory that is zeroized.
    Sealed = 2,
}

/// Importance of a log record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum LogLevel {
    /// Something failed that the caller may not see otherwise (a background merge, say).
    Error = 1,
    /// Worth a look.
    Warn = 2,
    /// Training begins and ends; an opening removed what a crash had left.
    Info = 3,
}

/// Receives log records: level, target (`"train"`, `"merge"`, ...), message. Called from any thread of the library; must
/// not call back into it. Messages never hold ids, vectors, metadata, contents or keys.
pub type LogSink = Arc<dyn Fn(LogLevel, &str, &str) + Send + Sync>;

/// How a db is opened.
#[derive(Clone, Default)]
pub struct DbOptions {
    /// Threads for data-parallel work and for background workers; 0 = one per core.
    pub threads: usize,
    /// Half of it bounds the cache, half each training job and the vectors a merge holds, in bytes; ids, unmerged batches
    /// and the scratch of queries are not counted. 0 = no limit.
    pub memory_limit: u64,
    /// Bytes the list and vector cache may hold; 0 = no limit of its own. Codes of lists are kept before vectors.
    pub cache_bytes: u64,
    /// How the cache keeps lists.
    pub cache_mode: CacheMode,
    /// Open without taking the writer's place; every write gives `ReadOnly`.
    pub read_only: bool,
    /// Receives log records.
    pub log: Option<LogSink>,
}

/// How an index is made. All but `dimension` can be left at their defaults.
#[derive(Clone, Copy, Debug)]
pub struct IndexOptions {
    /// Elements of a vector, 1 to 65,536; 0 = taken from the first upsert.
    pub dimension: u32,
    /// How far apart two vectors are.
    pub metric: Metric,
    /// How vectors are coded in lists once trained; `None` = the library's choice, see ARCHITECTURE.md.
    pub quantizer: Option<QuantizerSpec>,
    /// How vectors are stored. Under `F16` values beyond 65,504 in size are refused and what comes back is rounded.
    pub vector_precision: VectorPrecision,
    /// Whether ids are byte strings or numbers.
    pub id_kind: IdKind,
    /// Never start a training job from an upsert.
    pub auto_train_disabled: bool,
    /// Items an untrained index (or a list, on average) may hold before an upsert starts training. 0 = 10,000.
    pub retrain_threshold: u64,
    /// Recall@k that automatic probes aim at, in (0, 1). 0 = 0.95.
    pub target_recall: f32,
    /// Seed of sampling and clustering.
    pub seed: u64,
}

impl Default for IndexOptions {
    fn default() -> Self {
        Self {
            dimension: 0,
            metric: Metric::Euclidean,
            quantizer: None,
            vector_precision: VectorPrecision::F32,
            id_kind: IdKind::Bytes,
            auto_train_disabled: false,
            retrain_threshold: 0,
            target_recall: 0.0,
            seed: 0,
        }
    }
}

/// How an index is trained. Zero in a field = its default.
#[derive(Clone, Copy, Debug, Default)]
pub struct TrainOptions {
    /// Inverted lists to make; 0 = from the number of items. At most half the items.
    pub n_lists: u32,
    /// Vectors read and processed at a time, at most 4 MiB of them, and the size of mini-batches; 0 = 2048.
    pub batch_size: u32,
    /// Most clustering passes; 0 = 100. See [`crate::kmeans`] for how many are planned. Where memory does not hold all that
    /// is learned from, one refining pass of mini-batches is made in any case.
    pub max_iters: u32,
    /// Stop when a pass lowers the mean squared distance by less than this fraction; 0 = 1e-6.
    pub tolerance: f64,
    /// Most memory the job may take, in MiB; 0 = half of the db's `memory_limit`, which also bounds a larger value. What is
    /// counted stands at the head of `engine/plan.rs`.
    pub max_memory_mb: u64,
    /// Most vectors to learn from, raised to 2 a list where it is less; 0 = as many as help (256 a list).
    pub max_training_vectors: u64,
    /// Seed of sampling and clustering; 0 = the index's.
    pub seed: u64,
}

/// Columns a result carries beside ids; bits of [`QueryOptions::include`] and of `get`.
pub mod include {
    /// Distances (queries only).
    pub const DISTANCE: u32 = 1;
    /// Metadata.
    pub const METADATA: u32 = 2;
    /// Contents and their kind.
    pub const CONTENTS: u32 = 4;
    /// Vectors (under cosine: the normalised ones).
    pub const VECTOR: u32 = 8;
    /// All of them.
    pub const ALL: u32 = 15;
}

/// How a query is answered. Zero in a field = its default.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueryOptions {
    /// Most results for each query, 1 to 10,000; 0 = 100.
    pub top_k: u32,
    /// Lists to look into; 0 = as many as the index's `target_recall` needs.
    pub n_probes: u32,
    /// Candidates reranked against stored vectors, as a multiple of `top_k`. 0 = the quantizer's default; of scalar codes
    /// (but under inner product) those are then left out that are so far behind the results that few results
    /// are missed (at most 1 in 1000 where it was measured). `RaBitQ` always leaves out those whose bounds say that they are no results.
    pub rerank_mult: u32,
    /// Columns beside ids, see [`mod@include`].
    pub include: u32,
    /// Only items at most this far; 0 or infinite = no bound. `has_radius` must be set.
    pub radius: f32,
    /// Whether `radius` counts.
    pub has_radius: bool,
    /// Recall that automatic probes (`n_probes` 0) aim at, in (0, 1); 0 = the index's.
    pub target_recall: f32,
    /// 1 = a batch of queries runs on the caller's thread, as a single one always does; else on all of the db's.
    pub threads: u32,
}

/// Borrowed byte strings: one data buffer and `len + 1` offsets into it.
#[derive(Clone, Copy, Debug)]
pub struct Strings<'a> {
    data: &'a [u8],
    offsets: &'a [u64],
}

impl<'a> Strings<'a> {
    /// Checks that offsets start at or after 0, never run backwards and stay inside `data`; `field` names the
    /// parameter in errors. An error names the item.
    pub fn new(field: &'static str, data: &'a [u8], offsets: &'a [u64]) -> Result<Self> {
        if offsets.is_empty() {
            return Err(Error::BufferTooSmall { what: field, needed: 1, got: 0 });
        }
        for (i, w) in offsets.windows(2).enumerate() {
            if w[1] < w[0] {
                return Err(Error::item(i, field, "an offset that runs backwards", "rising offsets"));
            }
        }
        match offsets.iter().position(|&o| o > data.len() as u64) {
            Some(i) => Err(Error::item(i.saturating_sub(1), field, "past the end of the data", "offsets in the data")),
            None => Ok(Self { data, offsets }),
        }
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
    pub fn get(&self, i: usize) -> &'a [u8] {
        &self.data[self.offsets[i] as usize..self.offsets[i + 1] as usize]
    }

    /// Bytes of all strings.
    #[must_use]
    pub fn total_len(&self) -> u64 {
        self.offsets[self.offsets.len() - 1] - self.offsets[0]
    }
}

/// Borrowed ids, of the index's kind.
#[derive(Clone, Copy, Debug)]
pub enum Ids<'a> {
    /// Byte strings of 1 to 4096 bytes.
    Bytes(Strings<'a>),
    /// Numbers.
    U64(&'a [u64]),
}

impl Ids<'_> {
    /// Number of ids.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(s) => s.len(),
            Self::U64(n) => n.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `f` with the stored form of id `i`: its bytes, or 8 little-endian bytes.
    pub(crate) fn with<R>(&self, i: usize, f: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Bytes(s) => f(s.get(i)),
            Self::U64(n) => f(&n[i].to_le_bytes()),
        }
    }

    /// Checks the kind against the index's and every id's length.
    pub(crate) fn check(&self, kind: IdKind) -> Result<()> {
        match (self, kind) {
            (Self::U64(_), IdKind::U64) => Ok(()),
            (Self::Bytes(s), IdKind::Bytes) => {
                match (0..s.len()).find(|&i| !(1..=MAX_ID_LEN).contains(&s.get(i).len())) {
                    Some(i) => Err(Error::item(i, "id", format_args!("{} bytes", s.get(i).len()), "1 to 4096 bytes")),
                    None => Ok(()),
                }
            }
            (Self::U64(_), _) => Err(Error::invalid("ids", "numbers", "byte strings (id_kind BYTES)")),
            (Self::Bytes(_), _) => Err(Error::invalid("ids", "byte strings", "numbers (id_kind U64)")),
        }
    }
}

/// Items to upsert, as borrowed columns of equal length. A column that is absent means that no item has it.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Elements of each vector.
    pub dimension: u32,
    /// `count x dimension` values, row by row.
    pub vectors: &'a [f32],
    /// One id an item. The last of equal ids wins.
    pub ids: Ids<'a>,
    /// A JSON object an item; an empty string = none.
    pub metadata: Option<Strings<'a>>,
    /// Contents of each item.
    pub contents: Option<Strings<'a>>,
    /// A [`crate::types::ContentsKind`] number an item; absent = bytes wherever contents are not empty.
    pub contents_kinds: Option<&'a [u8]>,
}
