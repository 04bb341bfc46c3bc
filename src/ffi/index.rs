//! Index: an encrypted collection of items
//!
//! An index belongs to one key of 32 bytes, which you keep: the library reads it when the index is opened and can
//! neither keep nor recover it; what it unlocks is wiped when the index is closed. All vectors of an index have one dimension.

use std::ffi::c_char;
use std::sync::Arc;

use super::db::{cyborg_db, key_bytes, key_named};
use super::error::{cyborg_error, cyborg_status};
use super::guard;
use super::handle::{self, Handle, Table};
use super::read::{Out, OutStruct, Sized32, flag, options, reserved, text};
use crate::engine::{Db, Index, IndexInfo, IndexOptions, IndexStats};
use crate::error::{Error, Result};
use crate::types::{IdKind, Metric, QuantizerKind, QuantizerSpec};

/// An open index. Opening one twice gives two handles on the same index.
/// Any thread may use it at any time; cyborg_index_free() must be the last call. Keeps its db alive.
pub struct cyborg_index {
    _private: [u8; 0],
}

/// What an index handle stands for. The index goes first.
pub struct IndexHandle {
    pub(super) index: Arc<Index>,
    pub(super) db: Arc<Db>,
}

static INDEXES: Table<IndexHandle> = Table::new(0xC2);

impl Handle for cyborg_index {
    type Inner = IndexHandle;
    const WHAT: &'static str = "index";
    fn table() -> &'static Table<IndexHandle> {
        &INDEXES
    }
}

/// How far apart two vectors are: one of the CYBORG_METRIC_ numbers, 0 = EUCLIDEAN. A distance is always lower = nearer.
pub type cyborg_metric = i32;

/// sqrt(sum (a - b)^2).
pub const CYBORG_METRIC_EUCLIDEAN: cyborg_metric = 1;
/// sum (a - b)^2.
pub const CYBORG_METRIC_SQUARED_EUCLIDEAN: cyborg_metric = 2;
/// 1 - cos(a, b). Vectors are normalised when they are taken in, and a zero vector is refused.
pub const CYBORG_METRIC_COSINE: cyborg_metric = 3;
/// Minus the dot product.
pub const CYBORG_METRIC_INNER_PRODUCT: cyborg_metric = 4;

/// How vectors are coded in lists once an index is trained: one of the CYBORG_QUANTIZER_ numbers.
pub type cyborg_quantizer = i32;

/// The library's choice.
pub const CYBORG_QUANTIZER_AUTO: cyborg_quantizer = 0;
/// Full float32 vectors.
pub const CYBORG_QUANTIZER_FLAT: cyborg_quantizer = 1;
/// Scalar codes of sq_bits bits a dimension; the best candidates are reranked by their full vectors.
pub const CYBORG_QUANTIZER_SQ: cyborg_quantizer = 2;

/// What ids are: one of the CYBORG_ID_KIND_ numbers, 0 = BYTES.
pub type cyborg_id_kind = i32;

/// Byte strings of 1 to CYBORG_MAX_ID_LEN bytes; any bytes, text is usual.
pub const CYBORG_ID_KIND_BYTES: cyborg_id_kind = 1;
/// 64-bit numbers.
pub const CYBORG_ID_KIND_U64: cyborg_id_kind = 2;

/// Bytes in a key.
pub const CYBORG_KEY_LEN: u32 = 32;
/// Longest index name in bytes.
pub const CYBORG_MAX_NAME_LEN: u32 = 255;
/// Largest dimension of a vector.
pub const CYBORG_MAX_DIMENSION: u32 = 65536;
/// Most inverted lists of an index.
pub const CYBORG_MAX_LISTS: u32 = 1048576;

/// How an index is made. Start from CYBORG_INDEX_OPTIONS_INIT.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct cyborg_index_options {
    /// sizeof(cyborg_index_options).
    pub struct_size: u32,
    /// Elements of a vector, 1 to CYBORG_MAX_DIMENSION; 0 = taken from the first upsert.
    pub dimension: u32,
    /// How far apart two vectors are; 0 = EUCLIDEAN.
    pub metric: cyborg_metric,
    /// How vectors are coded once trained; 0 = AUTO.
    pub quantizer: cyborg_quantizer,
    /// Bits a dimension of quantizer SQ; 0 = 8, the only size of this version.
    pub sq_bits: u32,
    /// What ids are; 0 = BYTES.
    pub id_kind: cyborg_id_kind,
    /// 1 = never start training from an upsert. Default 0.
    pub auto_train_disabled: u32,
    /// Recall at 10 that automatic probes aim at, above 0 and below 1; 0 = 0.95.
    pub target_recall: f32,
    /// Items that an untrained index, or a list on average, may hold before an upsert starts training; 0 = 10000.
    pub retrain_threshold: u64,
    /// Seed of sampling and clustering: the same seed and items give the same lists. Default 0.
    pub seed: u64,
    /// Makes the index from this model: trained from birth. dimension, metric and quantizer are the model's then and must
    /// be 0 here. NUL-terminated; NULL = no model.
    pub model_id: *const c_char,
    /// The model's key; NULL = the index's.
    pub model_key: *const u8,
    /// CYBORG_KEY_LEN, or 0 without model_key.
    pub model_key_len: usize,
}

// SAFETY: integers, a float and nullable pointers, size first.
unsafe impl Sized32 for cyborg_index_options {}

/// How an index is opened. Start from CYBORG_OPEN_OPTIONS_INIT.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct cyborg_open_options {
    /// sizeof(cyborg_open_options).
    pub struct_size: u32,
    /// Must be 0.
    pub reserved: u32,
}

// SAFETY: integers, size first.
unsafe impl Sized32 for cyborg_open_options {}

/// Configuration and state of an index. Set struct_size (or start from CYBORG_INDEX_INFO_INIT) before passing it in.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct cyborg_index_info {
    /// sizeof(cyborg_index_info).
    pub struct_size: u32,
    /// Elements of a vector, 0 while not known.
    pub dimension: u32,
    /// Metric.
    pub metric: cyborg_metric,
    /// Quantizer of trained lists: FLAT or SQ.
    pub quantizer: cyborg_quantizer,
    /// Bits a dimension: 8 for SQ, 32 for FLAT.
    pub quantizer_bits: u32,
    /// Kind of the ids.
    pub id_kind: cyborg_id_kind,
    /// 1 when the index is trained.
    pub trained: u32,
    /// 1 while a training job is queued or running.
    pub training: u32,
    /// 1 when an upsert may start training.
    pub auto_train: u32,
    /// Inverted lists, 1 when untrained.
    pub n_lists: u32,
    /// Lists that a query with n_probes 0 and top_k 10 looks into.
    pub auto_probes: u32,
    /// As configured, or the default.
    pub target_recall: f32,
    /// Items.
    pub count: u64,
    /// How often the index was trained; 0 = never.
    pub generation: u64,
    /// Number of the last commit.
    pub sequence: u64,
    /// As configured, or the default.
    pub retrain_threshold: u64,
    /// As configured.
    pub seed: u64,
}

// SAFETY: integers and a float, size first.
unsafe impl Sized32 for cyborg_index_info {}

/// Sizes and counters of an index. Set struct_size (or start from CYBORG_INDEX_STATS_INFO_INIT) before passing it in.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct cyborg_index_stats_info {
    /// sizeof(cyborg_index_stats_info).
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Items.
    pub count: u64,
    /// Rows of replaced or deleted items that no merge has dropped yet.
    pub tombstones: u64,
    /// Committed batches not merged yet.
    pub deltas: u64,
    /// Items in them.
    pub delta_items: u64,
    /// Merged runs.
    pub runs: u64,
    /// Bytes of the index's objects in the store, those about to be deleted included. Counted anew by each call.
    pub stored_bytes: u64,
    /// Bytes of ids, batches and directories in memory.
    pub resident_bytes: u64,
    /// Bytes of this index in the cache.
    pub cache_bytes: u64,
    /// Cache hits since opening.
    pub cache_hits: u64,
    /// Cache misses of the present runs; a merge or training starts them anew.
    pub cache_misses: u64,
    /// Largest list divided by the mean list length, in thousandths; 0 when untrained.
    pub largest_list_permille: u64,
    /// n_lists * sum(length^2) / count^2, in thousandths (1000 = all lists alike); 0 when untrained.
    pub balance_permille: u64,
}

// SAFETY: integers, size first.
unsafe impl Sized32 for cyborg_index_stats_info {}

/// The quantizer of the fields that name one.
pub(super) fn quantizer_of(
    quantizer: cyborg_quantizer,
    sq_bits: u32,
    pq_m: u32,
    pq_bits: u32,
    pq_rotation: u32,
    rabitq_bits: u32,
) -> Result<Option<QuantizerSpec>> {
    if [pq_m, pq_bits, pq_rotation, rabitq_bits] != [0; 4] {
        return Err(Error::Unsupported { what: "this quantizer" });
    }
    Ok(match (quantizer, sq_bits) {
        (CYBORG_QUANTIZER_AUTO, 0) => None,
        (CYBORG_QUANTIZER_FLAT, 0) => Some(QuantizerSpec::Flat),
        (CYBORG_QUANTIZER_SQ, 0 | 8) => Some(QuantizerSpec::SQ8),
        (CYBORG_QUANTIZER_SQ, _) => return Err(Error::Unsupported { what: "sq_bits other than 8" }),
        (CYBORG_QUANTIZER_AUTO | CYBORG_QUANTIZER_FLAT, n) => {
            return Err(Error::invalid("sq_bits", n, "0 unless the quantizer is SQ"));
        }
        _ => return Err(Error::Unsupported { what: "this quantizer" }),
    })
}

fn index_options(o: &cyborg_index_options) -> Result<IndexOptions> {
    let quantizer = quantizer_of(o.quantizer, o.sq_bits, 0, 0, 0, 0)?;
    Ok(IndexOptions {
        dimension: o.dimension,
        metric: if o.metric == 0 { Metric::default() } else { Metric::from_number(o.metric)? },
        quantizer,
        id_kind: match o.id_kind {
            0 | CYBORG_ID_KIND_BYTES => IdKind::Bytes,
            CYBORG_ID_KIND_U64 => IdKind::U64,
            n => return Err(Error::invalid("id_kind", n, "0 default, 1 bytes, 2 u64")),
        },
        auto_train_disabled: flag(o.auto_train_disabled, "auto_train_disabled")?,
        retrain_threshold: o.retrain_threshold,
        target_recall: o.target_recall,
        seed: o.seed,
    })
}

/// The model that an index is to be made from, with its key.
///
/// # Safety
/// The pointers of `o` are NULL, or lead to text and `model_key_len` bytes.
unsafe fn model_of<'a>(o: &cyborg_index_options, key: &'a [u8]) -> Result<Option<(&'a str, &'a [u8])>> {
    const BESIDE: &str = "0 beside model_id: the model has it";
    if o.model_id.is_null() {
        return match (o.model_key.is_null(), o.model_key_len) {
            (true, 0) => Ok(None),
            _ => Err(Error::invalid("model_key", "set", "NULL, and model_key_len 0, without model_id")),
        };
    }
    for (field, value) in [("metric", o.metric), ("quantizer", o.quantizer)] {
        if value != 0 {
            return Err(Error::invalid(field, value, BESIDE));
        }
    }
    // SAFETY: passed on.
    unsafe {
        let id = text(o.model_id, "model_id")?;
        let model_key = match (o.model_key.is_null(), o.model_key_len) {
            (true, 0) => key,
            _ => key_named(o.model_key, o.model_key_len, ["model_key", "model_key_len"])?,
        };
        Ok(Some((id, model_key)))
    }
}

/// Makes an index and opens it. name is 1 to CYBORG_MAX_NAME_LEN bytes of UTF-8 and stays readable in the store; key is
/// CYBORG_KEY_LEN random bytes. options may be NULL. Free the index with cyborg_index_free().
/// Statuses: common, INVALID_ARGUMENT, UNSUPPORTED, ALREADY_EXISTS, store; with a model_id also NOT_FOUND, WRONG_KEY,
/// MODEL_NOT_READY and MODEL_FAILED, all of the model.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_create(
    db: *mut cyborg_db,
    name: *const c_char,
    key: *const u8,
    key_len: usize,
    options: *const cyborg_index_options,
    out_index: *mut *mut cyborg_index,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    // SAFETY: NULL or the caller's place for a handle.
    let out = unsafe { Out::handle(out_index, "out_index") };
    guard::on(db, "db", err, |db| {
        // SAFETY: NULL, or what the manual asks for.
        let (name, key, options) =
            unsafe { (text(name, "name")?, key_bytes(key, key_len)?, self::options(options, "options")?) };
        let out = out?;
        // SAFETY: what the manual asks for.
        let index = match unsafe { model_of(&options, key) }? {
            None => db.create_index(name, key, &index_options(&options)?)?,
            Some((id, model_key)) => db.create_index_from_model(name, key, &index_options(&options)?, id, model_key)?,
        };
        out.set(handle::insert(IndexHandle { index, db: Arc::clone(db) })?);
        Ok(())
    })
}

/// Opens an index with its key. options may be NULL. Free the index with cyborg_index_free().
/// Statuses: common, INVALID_ARGUMENT, UNSUPPORTED, NOT_FOUND, WRONG_KEY, VERSION, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_open(
    db: *mut cyborg_db,
    name: *const c_char,
    key: *const u8,
    key_len: usize,
    options: *const cyborg_open_options,
    out_index: *mut *mut cyborg_index,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    // SAFETY: NULL or the caller's place for a handle.
    let out = unsafe { Out::handle(out_index, "out_index") };
    guard::on(db, "db", err, |db| {
        // SAFETY: NULL, or what the manual asks for.
        let (name, key, options) =
            unsafe { (text(name, "name")?, key_bytes(key, key_len)?, self::options(options, "options")?) };
        let out = out?;
        reserved(options.reserved)?;
        let index = db.open_index(name, key)?;
        out.set(handle::insert(IndexHandle { index, db: Arc::clone(db) })?);
        Ok(())
    })
}

/// Frees an index handle. NULL and stale handles are allowed; never fails. Neither stops nor waits for training.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_free(index: *mut cyborg_index) {
    handle::free(index);
}

/// Reads the configuration and state of an index.
/// Statuses: common, INVALID_ARGUMENT, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_describe(
    index: *const cyborg_index,
    out_info: *mut cyborg_index_info,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(index, "index", err, |h| {
        // SAFETY: NULL or the caller's struct.
        let out = unsafe { OutStruct::new(out_info, "out_info") }?;
        out.set(info(&h.index.describe()?));
        Ok(())
    })
}

fn info(i: &IndexInfo) -> cyborg_index_info {
    let (quantizer, quantizer_bits) = match i.coded {
        QuantizerSpec::Flat => (QuantizerKind::Flat, 32),
        QuantizerSpec::Sq { bits } => (QuantizerKind::Sq, bits),
        QuantizerSpec::Pq { bits, .. } => (QuantizerKind::Pq, bits),
        QuantizerSpec::RaBitQ { bits } => (QuantizerKind::RaBitQ, bits),
    };
    cyborg_index_info {
        struct_size: 0,
        dimension: i.dimension,
        metric: i.metric as i32,
        quantizer: quantizer as i32,
        quantizer_bits: quantizer_bits.into(),
        id_kind: i.id_kind as i32,
        trained: u32::from(i.trained),
        training: u32::from(i.training),
        auto_train: u32::from(i.auto_train),
        n_lists: i.n_lists,
        auto_probes: i.auto_probes,
        target_recall: i.target_recall,
        count: i.count,
        generation: i.generation,
        sequence: i.sequence,
        retrain_threshold: i.retrain_threshold,
        seed: i.seed,
    }
}

/// Reads the sizes and counters of an index.
/// Statuses: common, INVALID_ARGUMENT, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_stats(
    index: *const cyborg_index,
    out_stats: *mut cyborg_index_stats_info,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(index, "index", err, |h| {
        // SAFETY: NULL or the caller's struct.
        let out = unsafe { OutStruct::new(out_stats, "out_stats") }?;
        out.set(stats(&h.index.stats()?));
        Ok(())
    })
}

fn stats(s: &IndexStats) -> cyborg_index_stats_info {
    cyborg_index_stats_info {
        struct_size: 0,
        reserved: 0,
        count: s.count,
        tombstones: s.tombstones,
        deltas: s.deltas,
        delta_items: s.delta_items,
        runs: s.runs,
        stored_bytes: s.stored_bytes,
        resident_bytes: s.resident_bytes,
        cache_bytes: s.cache_bytes,
        cache_hits: s.cache_hits,
        cache_misses: s.cache_misses,
        largest_list_permille: s.largest_list_permille,
        balance_permille: s.balance_permille,
    }
}

/// Counts the items of an index.
/// Statuses: common, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_count(
    index: *const cyborg_index,
    out_count: *mut u64,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(index, "index", err, |h| {
        // SAFETY: NULL or the caller's place for a number.
        let out = unsafe { Out::new(out_count, "out_count") }?;
        out.set(h.index.count()?);
        Ok(())
    })
}
