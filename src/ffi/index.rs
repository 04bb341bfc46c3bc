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
use super::read::{Out, Sized32, flag, options, reserved, text};
use crate::engine::{Db, Index, IndexOptions};
use crate::error::{Error, Result};
use crate::types::{IdKind, Metric, QuantizerSpec, VectorPrecision};

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

/// How vectors are coded in lists once an index is trained: one of the CYBORG_QUANTIZER_ numbers. A query reads the codes
/// of the lists it looks into, so their size decides its speed and the memory of the cache. Full vectors are stored
/// beside codes (FLAT excepted) and read for the best candidates only: those are ranked again, so distances are exact.
/// Take AUTO unless you have measured. Below, d is the dimension; cyborg_index_info.code_bytes tells the bytes.
pub type cyborg_quantizer = i32;

/// The library's choice, made anew by each training; cyborg_index_describe() tells it.
pub const CYBORG_QUANTIZER_AUTO: cyborg_quantizer = 0;
/// Full vectors, exact: for small indexes, and where no neighbour in the lists looked into may be lost. 4 d bytes a
/// vector, 2 d with vector_precision F16; stored once.
pub const CYBORG_QUANTIZER_FLAT: cyborg_quantizer = 1;
/// Scalar codes of sq_bits bits a dimension. The quickest to train and, at 4 bits, the quickest to search at high recall.
/// d sq_bits / 8 bytes a vector, rounded up to whole groups of 4 bytes; 4 more under the euclidean metrics.
pub const CYBORG_QUANTIZER_SQ: cyborg_quantizer = 2;
/// Product quantization: pq_m parts of a vector, each the nearest of 2^pq_bits learned values. The smallest codes where
/// dimensions depend on each other; training takes longest. pq_m pq_bits / 8 bytes a vector, and a few more.
pub const CYBORG_QUANTIZER_PQ: cyborg_quantizer = 3;
/// RaBitQ: rabitq_bits bits a dimension after a random rotation, with an error bound for each vector, so that only
/// candidates which can still be results are ranked again. Needs no even data. d rabitq_bits / 8 bytes a vector, and
/// some 8 more.
pub const CYBORG_QUANTIZER_RABITQ: cyborg_quantizer = 4;

/// How vectors are stored: one of the CYBORG_VECTOR_PRECISION_ numbers, 0 = F32.
pub type cyborg_vector_precision = i32;

/// float32, as given.
pub const CYBORG_VECTOR_PRECISION_F32: cyborg_vector_precision = 1;
/// float16: half the bytes, three decimal digits. Vectors are rounded when they are taken in, and come back rounded;
/// an element beyond -65504 to 65504 is refused.
pub const CYBORG_VECTOR_PRECISION_F16: cyborg_vector_precision = 2;

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
    /// Bits a dimension of quantizer SQ: 8, 4 or 2; 0 = 8. Must be 0 with another quantizer.
    pub sq_bits: u32,
    /// What ids are; 0 = BYTES.
    pub id_kind: cyborg_id_kind,
    /// 1 = never start training from an upsert. Default 0.
    pub auto_train_disabled: u32,
    /// Recall at 10 that automatic probes aim at, above 0 and below 1; 0 = 0.95.
    pub target_recall: f32,
    /// Items that an untrained index, or a list on average, may hold before an upsert starts training; 0 = 10000.
    pub retrain_threshold: u64,
    /// Seed of sampling, clustering and quantizers: the same seed and items give the same lists and codes. Default 0.
    pub seed: u64,
    /// Parts of a vector that quantizer PQ codes, 1 to the dimension, which they need not divide; 0 = half the
    /// dimension with pq_bits 4, a quarter with 8. Must be 0 with another quantizer.
    pub pq_m: u32,
    /// Bits of the code of a part, 4 or 8; 0 = 4, which is scanned far quicker. Must be 0 with another quantizer than PQ.
    pub pq_bits: u32,
    /// 1 = quantizer PQ learns a rotation that evens out its parts (OPQ): better codes for data whose dimensions depend
    /// on each other, and a longer training; at most 2048 dimensions. Default 0, and must be with another quantizer.
    pub pq_rotation: u32,
    /// Bits a dimension of quantizer RABITQ, 1 to 8; 0 = 4. Must be 0 with another quantizer.
    pub rabitq_bits: u32,
    /// How vectors are stored; 0 = F32.
    pub vector_precision: cyborg_vector_precision,
    /// Must be 0.
    pub reserved: u32,
    /// Makes the index from this model: trained from birth. dimension, metric and quantizer (with its parameters) are the
    /// model's then and must be 0 here. NUL-terminated; NULL = no model.
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

fn index_options(o: &cyborg_index_options) -> Result<IndexOptions> {
    reserved(o.reserved)?;
    Ok(IndexOptions {
        dimension: o.dimension,
        metric: if o.metric == 0 { Metric::default() } else { Metric::from_number(o.metric)? },
        quantizer: quantizer(o)?,
        vector_precision: match o.vector_precision {
            0 | CYBORG_VECTOR_PRECISION_F32 => VectorPrecision::F32,
            CYBORG_VECTOR_PRECISION_F16 => VectorPrecision::F16,
            n => return Err(Error::invalid("vector_precision", n, "0 default, 1 F32, 2 F16")),
        },
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

/// The quantizer asked for. A parameter of another one is refused, since it would do nothing.
pub(super) fn quantizer(o: &cyborg_index_options) -> Result<Option<QuantizerSpec>> {
    let parameters = [
        ("sq_bits", o.sq_bits, CYBORG_QUANTIZER_SQ, "0 unless the quantizer is SQ"),
        ("pq_m", o.pq_m, CYBORG_QUANTIZER_PQ, "0 unless the quantizer is PQ"),
        ("pq_bits", o.pq_bits, CYBORG_QUANTIZER_PQ, "0 unless the quantizer is PQ"),
        ("pq_rotation", o.pq_rotation, CYBORG_QUANTIZER_PQ, "0 unless the quantizer is PQ"),
        ("rabitq_bits", o.rabitq_bits, CYBORG_QUANTIZER_RABITQ, "0 unless the quantizer is RABITQ"),
    ];
    if !(CYBORG_QUANTIZER_AUTO..=CYBORG_QUANTIZER_RABITQ).contains(&o.quantizer) {
        return Err(Error::Unsupported { what: "this quantizer" });
    }
    if let Some(&(field, got, _, allowed)) = parameters.iter().find(|p| p.1 != 0 && p.2 != o.quantizer) {
        return Err(Error::invalid(field, got, allowed));
    }
    // A number of bits that no byte holds is no number of bits that any scheme takes.
    let bits = |given: u32, default: u8| if given == 0 { default } else { u8::try_from(given).unwrap_or(u8::MAX) };
    Ok(match o.quantizer {
        CYBORG_QUANTIZER_FLAT => Some(QuantizerSpec::Flat),
        CYBORG_QUANTIZER_SQ => Some(QuantizerSpec::Sq { bits: bits(o.sq_bits, 8) }),
        CYBORG_QUANTIZER_PQ => {
            let rotation = flag(o.pq_rotation, "pq_rotation")?;
            Some(QuantizerSpec::Pq { m: o.pq_m, bits: bits(o.pq_bits, 4), rotation })
        }
        CYBORG_QUANTIZER_RABITQ => Some(QuantizerSpec::RaBitQ { bits: bits(o.rabitq_bits, 4) }),
        _ => None,
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
