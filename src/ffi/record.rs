//! Model records: what is known of a model
//!
//! A record is one reading of a model: its state, numbers and texts as they were at that moment. Records are encrypted
//! under the model's key; only ids of models are readable in the store.

use std::ffi::{CString, c_char};

use super::error::{c_text, cyborg_error, cyborg_status};
use super::guard;
use super::index::{cyborg_metric, cyborg_quantizer};
use super::read::{OutStruct, Sized32};
use crate::engine::ModelInfo;
use crate::error::Error;
use crate::types::QuantizerSpec;

/// State of a model: one of the CYBORG_MODEL_STATE_ numbers.
pub type cyborg_model_state = i32;

/// Its training is queued or at work.
pub const CYBORG_MODEL_STATE_TRAINING: cyborg_model_state = 1;
/// Trained: indexes can be made from it.
pub const CYBORG_MODEL_STATE_CREATED: cyborg_model_state = 2;
/// Its training ended without a model; failure_code and cyborg_model_record_error() tell why. It can only be deleted.
pub const CYBORG_MODEL_STATE_FAILED: cyborg_model_state = 3;

/// Why a model failed: one of the CYBORG_MODEL_FAILURE_ numbers, 0 = it did not.
pub type cyborg_model_failure = i32;

/// The process ended, or the db was closed, before the training did.
pub const CYBORG_MODEL_FAILURE_INTERRUPTED: cyborg_model_failure = 1;
/// It was cancelled.
pub const CYBORG_MODEL_FAILURE_CANCELLED: cyborg_model_failure = 2;
/// Memory was refused by the system or by a limit.
pub const CYBORG_MODEL_FAILURE_MEMORY: cyborg_model_failure = 3;
/// The source would not do: too few vectors were left, it was dropped, or it is damaged.
pub const CYBORG_MODEL_FAILURE_DATA: cyborg_model_failure = 4;
/// The store failed, or the library has a defect.
pub const CYBORG_MODEL_FAILURE_INTERNAL: cyborg_model_failure = 5;

/// One reading of a model. You own it and free it with cyborg_model_record_free().
/// Never changes, so any thread may read it; outlives every handle.
pub struct cyborg_model_record {
    details: cyborg_model_details,
    id: CString,
    description: CString,
    error: CString,
    source: CString,
    library: CString,
}

/// The numbers of a record. Set struct_size (or start from CYBORG_MODEL_DETAILS_INIT) before passing it in.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct cyborg_model_details {
    /// sizeof(cyborg_model_details).
    pub struct_size: u32,
    /// State.
    pub state: cyborg_model_state,
    /// Why it failed; 0 unless FAILED.
    pub failure_code: cyborg_model_failure,
    /// Elements of a vector.
    pub dimension: u32,
    /// Metric of the index it was trained from, and of those made from it.
    pub metric: cyborg_metric,
    /// How vectors are coded; AUTO while the library has not yet chosen.
    pub quantizer: cyborg_quantizer,
    /// Bits a dimension (SQ, RABITQ), or of a sub-vector's code (PQ). 32 for FLAT, whose vectors an index made from the
    /// model stores with its own vector_precision.
    pub quantizer_bits: u32,
    /// Sub-vectors of PQ, 0 for other quantizers.
    pub pq_m: u32,
    /// 1 when PQ rotates vectors first.
    pub pq_rotation: u32,
    /// Inverted lists.
    pub n_lists: u32,
    /// Clustering passes; 0 while training.
    pub passes: u32,
    /// Version of the format it was written in.
    pub format_version: u32,
    /// Indexes made from it that exist.
    pub used_by: u32,
    /// 0.
    pub reserved: u32,
    /// Seed of sampling and clustering.
    pub seed: u64,
    /// When training was asked for, in milliseconds since 1970 UTC.
    pub created_at: u64,
    /// When the state became what it is; 0 while training.
    pub finished_at: u64,
    /// Vectors that were clustered; 0 while training.
    pub vectors_used: u64,
    /// Bytes of the trained part.
    pub bytes: u64,
    /// Mean squared distance of those vectors to the centroids of their lists.
    pub objective: f64,
}

// SAFETY: integers and a float, size first.
unsafe impl Sized32 for cyborg_model_details {}

impl cyborg_model_record {
    pub(super) fn new(i: &ModelInfo) -> Self {
        let (bits, pq_m, pq_rotation) = match i.quantizer {
            None => (0, 0, false),
            Some(QuantizerSpec::Flat) => (32, 0, false),
            Some(QuantizerSpec::Sq { bits } | QuantizerSpec::RaBitQ { bits }) => (bits, 0, false),
            Some(QuantizerSpec::Pq { m, bits, rotation }) => (bits, m, rotation),
        };
        let details = cyborg_model_details {
            struct_size: 0,
            state: i.state as i32,
            failure_code: i.failure.map_or(0, |code| code as i32),
            dimension: i.dimension,
            metric: i.metric as i32,
            quantizer: i.quantizer.map_or(0, |q| q.kind() as i32),
            quantizer_bits: bits.into(),
            pq_m,
            pq_rotation: pq_rotation.into(),
            n_lists: i.n_lists,
            passes: i.passes,
            format_version: i.format,
            used_by: i.used_by.len() as u32,
            reserved: 0,
            seed: i.seed,
            created_at: i.created_at,
            finished_at: i.finished_at,
            vectors_used: i.vectors_used,
            bytes: i.bytes,
            objective: i.objective,
        };
        Self {
            details,
            id: c_text(&i.id),
            description: c_text(&i.description),
            error: c_text(&i.error),
            source: c_text(&i.source),
            library: c_text(&i.library),
        }
    }
}

/// Reads the numbers of a record.
/// Statuses: NULL_ARGUMENT, INVALID_ARGUMENT.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_model_record_details(
    record: *const cyborg_model_record,
    out_details: *mut cyborg_model_details,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::run(err, || {
        // SAFETY: NULL or a record that the caller has not freed.
        let record = unsafe { record.as_ref() }.ok_or(Error::NullArgument { what: "record" })?;
        // SAFETY: NULL or the caller's struct.
        let out = unsafe { OutStruct::new(out_details, "out_details") }?;
        out.set(record.details);
        Ok(())
    })
}

/// A text of a record and its length; NULL for no record.
///
/// # Safety
/// `record` is NULL or not freed, `out_len` NULL or writable.
unsafe fn text_of(
    record: *const cyborg_model_record,
    out_len: *mut usize,
    text: impl FnOnce(&cyborg_model_record) -> &CString,
) -> *const c_char {
    // SAFETY: NULL or a record that the caller has not freed.
    let text = unsafe { record.as_ref() }.map(text);
    if !out_len.is_null() {
        // SAFETY: not NULL, the caller's place for a length.
        unsafe { out_len.write_unaligned(text.map_or(0, |t| t.as_bytes().len())) };
    }
    text.map_or(std::ptr::null(), |t| t.as_ptr())
}

/// Id of the model, NUL-terminated UTF-8 borrowed from the record, as are all texts of it; NULL for a NULL record.
/// *out_len (may be NULL) is its length in bytes.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_model_record_id(
    record: *const cyborg_model_record,
    out_len: *mut usize,
) -> *const c_char {
    // SAFETY: passed on.
    unsafe { text_of(record, out_len, |r| &r.id) }
}

/// Description as it was given, "" for none.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_model_record_description(
    record: *const cyborg_model_record,
    out_len: *mut usize,
) -> *const c_char {
    // SAFETY: passed on.
    unsafe { text_of(record, out_len, |r| &r.description) }
}

/// What made the model fail, one line; "" unless FAILED.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_model_record_error(
    record: *const cyborg_model_record,
    out_len: *mut usize,
) -> *const c_char {
    // SAFETY: passed on.
    unsafe { text_of(record, out_len, |r| &r.error) }
}

/// Name of the index it was trained from.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_model_record_source(
    record: *const cyborg_model_record,
    out_len: *mut usize,
) -> *const c_char {
    // SAFETY: passed on.
    unsafe { text_of(record, out_len, |r| &r.source) }
}

/// Version of the library that trained it: "0.1.0".
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_model_record_library_version(
    record: *const cyborg_model_record,
    out_len: *mut usize,
) -> *const c_char {
    // SAFETY: passed on.
    unsafe { text_of(record, out_len, |r| &r.library) }
}

/// Frees a record. NULL is allowed.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_model_record_free(record: *mut cyborg_model_record) {
    if !record.is_null() {
        // SAFETY: made by `Box::into_raw` in this library; the caller gives up ownership.
        guard::quiet(|| drop(unsafe { Box::from_raw(record) }));
    }
}
