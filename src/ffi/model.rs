//! Models: trained once, used by many indexes
//!
//! A model is what training makes of an index's vectors: lists and a quantizer, kept under an id and a key of its own.
//! cyborg_index_create() with a model_id makes an index that is trained before it has its first item. The index takes a
//! copy, sealed under its own key, and needs the model no more. A model can be carried to another store as a package.

use std::ffi::c_char;
use std::sync::Arc;
use std::time::Duration;

use super::db::{cyborg_db, key_bytes, key_named, names_of};
use super::error::{cyborg_error, cyborg_status};
use super::guard;
use super::handle;
use super::index::{cyborg_index, cyborg_index_options, cyborg_quantizer, quantizer};
use super::names::cyborg_names;
use super::read::{Out, Sized32, options, reserved, slice, text, zeroed};
use super::record::{cyborg_model_record, cyborg_model_state};
use super::training::{CYBORG_WAIT_FOREVER, TrainingHandle, cyborg_training};
use crate::engine::{ModelOptions, TrainOptions};
use crate::error::{Error, Result};

/// Longest id of a model in bytes.
pub const CYBORG_MAX_MODEL_ID_LEN: u32 = 200;
/// Longest description of a model in characters.
pub const CYBORG_MAX_MODEL_DESCRIPTION: u32 = 1000;

/// How a model is trained; zero in a field = its default. Start from CYBORG_MODEL_OPTIONS_INIT.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct cyborg_model_options {
    /// sizeof(cyborg_model_options).
    pub struct_size: u32,
    /// Lists to make, at most half the source's items and CYBORG_MAX_LISTS; 0 = from the number of items.
    pub n_lists: u32,
    /// How the vectors of indexes made from it are coded; 0 = AUTO.
    pub quantizer: cyborg_quantizer,
    /// As in cyborg_index_options.
    pub sq_bits: u32,
    /// As in cyborg_index_options.
    pub pq_m: u32,
    /// As in cyborg_index_options.
    pub pq_bits: u32,
    /// As in cyborg_index_options.
    pub pq_rotation: u32,
    /// As in cyborg_index_options.
    pub rabitq_bits: u32,
    /// Rows of the source read at a time; 0 = 10000. Never more than 4 MiB of vectors.
    pub search_size: u32,
    /// Vectors processed at a time; 0 = 2048.
    pub batch_size: u32,
    /// Most clustering passes; 0 = 100. As in cyborg_train_options: where there are mini-batches, 1 pass of them is made in any
    /// case.
    pub max_iters: u32,
    /// Must be 0.
    pub reserved: u32,
    /// Stop when a pass lowers the mean squared distance by less than this fraction; 0 = 1e-6.
    pub tolerance: f64,
    /// Most memory the job may take, in MiB; 0 = half of the db's memory_limit (none without one), which also bounds a
    /// larger value.
    pub max_memory_mb: u64,
    /// Most vectors to learn from, raised to 2 x n_lists where it is less; 0 = as many as help, 256 a list.
    pub max_training_vectors: u64,
    /// Seed of sampling and clustering; 0 = the source's.
    pub seed: u64,
    /// Anything: UTF-8 of at most CYBORG_MAX_MODEL_DESCRIPTION characters, NUL-terminated; NULL = none.
    pub description: *const c_char,
}

// SAFETY: integers, a float and a nullable pointer, size first.
unsafe impl Sized32 for cyborg_model_options {}

/// A bit of cyborg_model_delete(): stop the model's training first.
pub const CYBORG_MODEL_DELETE_CANCEL_FIRST: u32 = 1;

/// A model on its way to another store: sealed bytes. You own it and free it with cyborg_model_package_free().
/// Never changes, so any thread may read it; outlives every handle.
pub struct cyborg_model_package {
    bytes: Vec<u8>,
}

/// # Safety
/// The description is NULL or NUL-terminated.
unsafe fn model_options<'a>(o: &cyborg_model_options) -> Result<ModelOptions<'a>> {
    reserved(o.reserved)?;
    let coded = cyborg_index_options {
        quantizer: o.quantizer,
        sq_bits: o.sq_bits,
        pq_m: o.pq_m,
        pq_bits: o.pq_bits,
        pq_rotation: o.pq_rotation,
        rabitq_bits: o.rabitq_bits,
        ..zeroed()
    };
    Ok(ModelOptions {
        train: TrainOptions {
            n_lists: o.n_lists,
            batch_size: o.batch_size,
            max_iters: o.max_iters,
            tolerance: o.tolerance,
            max_memory_mb: o.max_memory_mb,
            max_training_vectors: o.max_training_vectors,
            seed: o.seed,
        },
        quantizer: quantizer(&coded)?,
        search_size: o.search_size,
        // SAFETY: passed on.
        description: unsafe { optional_text(o.description, "description") }?.unwrap_or_default(),
    })
}

/// Text that need not be there.
///
/// # Safety
/// `p` is NULL or NUL-terminated.
pub(super) unsafe fn optional_text<'a>(p: *const c_char, what: &'static str) -> Result<Option<&'a str>> {
    // SAFETY: passed on.
    if p.is_null() { Ok(None) } else { unsafe { text(p, what) }.map(Some) }
}

/// Trains a model from an index's vectors and returns at once; the record, in state TRAINING, is durable then. The
/// job merges the source's unmerged batches first (its own upkeep) and only reads it otherwise; it may be
/// written to, trained and queried meanwhile. model_id is 1 to CYBORG_MAX_MODEL_ID_LEN bytes of
/// UTF-8 and stays readable in the store; NULL = a random one of 20 characters safe in a URL. key is CYBORG_KEY_LEN bytes
/// that the model is sealed under. options may be NULL. *out_job (out_job may be NULL) takes a handle for progress, free it
/// with cyborg_training_free(); *out_record (out_record may be NULL) the record, which tells the id. Closing the db stops
/// the job; the model is then FAILED, INTERRUPTED.
/// Statuses: common, INVALID_ARGUMENT, UNSUPPORTED, ALREADY_EXISTS, INSUFFICIENT_VECTORS (below 2 x n_lists), NO_MEMORY,
/// store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_model_train(
    source: *mut cyborg_index,
    model_id: *const c_char,
    key: *const u8,
    key_len: usize,
    options: *const cyborg_model_options,
    out_job: *mut *mut cyborg_training,
    out_record: *mut *mut cyborg_model_record,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    // SAFETY: NULL or the caller's places for a handle and an object.
    let (out_job, out_record) =
        unsafe { (Out::handle(out_job, "out_job").ok(), Out::handle(out_record, "out_record").ok()) };
    guard::on(source, "source", err, |h| {
        // SAFETY: NULL, or what the manual asks for.
        let (id, key, options) = unsafe {
            let options = self::options(options, "options")?;
            (optional_text(model_id, "model_id")?, key_bytes(key, key_len)?, model_options(&options)?)
        };
        let (job, info) = h.index.train_model(id, key, &options)?;
        if let Some(out) = out_record {
            out.give(cyborg_model_record::new(&info));
        }
        if let Some(out) = out_job {
            out.set(handle::insert(TrainingHandle { job, _db: Arc::clone(&h.db) })?);
        }
        Ok(())
    })
}

/// Reads the record of a model. A model whose training died with its process is found FAILED, INTERRUPTED by the first
/// process that can write and reads it; one that only reads shows TRAINING until then.
/// Statuses: common, INVALID_ARGUMENT, NOT_FOUND, WRONG_KEY, VERSION, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_model_info(
    db: *mut cyborg_db,
    model_id: *const c_char,
    key: *const u8,
    key_len: usize,
    out_record: *mut *mut cyborg_model_record,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    // SAFETY: NULL or the caller's place for an object.
    let out = unsafe { Out::handle(out_record, "out_record") };
    guard::on(db, "db", err, |db| {
        // SAFETY: NULL, or what the manual asks for.
        let (id, key) = unsafe { (text(model_id, "model_id")?, key_bytes(key, key_len)?) };
        out?.give(cyborg_model_record::new(&db.model_info(id, key)?));
        Ok(())
    })
}

/// Lists the ids of all models in the store, in any state, in alphabetical order. Needs no key.
/// Statuses: common, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_model_list(
    db: *mut cyborg_db,
    out_ids: *mut *mut cyborg_names,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    names_of(db, out_ids, "out_ids", err, |db| db.list_models())
}

/// Waits until the training of a model has ended or timeout_ms milliseconds have passed (CYBORG_WAIT_FOREVER = until it
/// has ended), and writes the state it then has to *out_state (may be NULL). That the time is over is no error, nor that
/// the model failed. Where this process does not train it, the state is given at once.
/// Statuses: common, INVALID_ARGUMENT, NOT_FOUND (also when it is deleted meanwhile), WRONG_KEY, VERSION, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_model_wait(
    db: *mut cyborg_db,
    model_id: *const c_char,
    key: *const u8,
    key_len: usize,
    timeout_ms: u64,
    out_state: *mut cyborg_model_state,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(db, "db", err, |db| {
        // SAFETY: NULL, or what the manual asks for.
        let (id, key) = unsafe { (text(model_id, "model_id")?, key_bytes(key, key_len)?) };
        let timeout = (timeout_ms != CYBORG_WAIT_FOREVER).then(|| Duration::from_millis(timeout_ms));
        let state = db.wait_for_model(id, key, timeout)?;
        // SAFETY: NULL or the caller's place for a state.
        if let Ok(out) = unsafe { Out::new(out_state, "out_state") } {
            out.set(state as i32);
        }
        Ok(())
    })
}

/// Asks the training of a model to stop: at once while it is queued, within 100 ms while it is at work. The model is then
/// FAILED, CANCELLED. One whose training has ended stays as it is. READ_ONLY where this process only reads and the record says
/// TRAINING: the process that trains it must be asked.
/// Statuses: common, INVALID_ARGUMENT, NOT_FOUND, WRONG_KEY, VERSION, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_model_cancel(
    db: *mut cyborg_db,
    model_id: *const c_char,
    key: *const u8,
    key_len: usize,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(db, "db", err, |db| {
        // SAFETY: NULL, or what the manual asks for.
        let (id, key) = unsafe { (text(model_id, "model_id")?, key_bytes(key, key_len)?) };
        db.cancel_model(id, key)
    })
}

/// Deletes a model for good; its id can be used again at once. flags is 0 or a sum of CYBORG_MODEL_DELETE_ bits. Refused
/// with CONFLICT while indexes made from it exist, which the message names (they have copies and would not miss it), and
/// while it is being trained, unless CANCEL_FIRST is given.
/// Statuses: common, INVALID_ARGUMENT, NOT_FOUND, WRONG_KEY, CONFLICT, VERSION, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_model_delete(
    db: *mut cyborg_db,
    model_id: *const c_char,
    key: *const u8,
    key_len: usize,
    flags: u32,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(db, "db", err, |db| {
        // SAFETY: NULL, or what the manual asks for.
        let (id, key) = unsafe { (text(model_id, "model_id")?, key_bytes(key, key_len)?) };
        if flags & !CYBORG_MODEL_DELETE_CANCEL_FIRST != 0 {
            return Err(Error::invalid("flags", flags, "0 or CYBORG_MODEL_DELETE_CANCEL_FIRST"));
        }
        db.delete_model(id, key, flags & CYBORG_MODEL_DELETE_CANCEL_FIRST != 0)
    })
}

/// Seals a CREATED model under package_key (CYBORG_KEY_LEN bytes) as bytes to be carried to another store: encrypted,
/// authenticated, and bound to the model's id, which stays readable. Free the package with cyborg_model_package_free().
/// Statuses: common, INVALID_ARGUMENT, NOT_FOUND, WRONG_KEY, MODEL_NOT_READY, MODEL_FAILED, NO_MEMORY, VERSION, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_model_export(
    db: *mut cyborg_db,
    model_id: *const c_char,
    key: *const u8,
    key_len: usize,
    package_key: *const u8,
    package_key_len: usize,
    out_package: *mut *mut cyborg_model_package,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    // SAFETY: NULL or the caller's place for an object.
    let out = unsafe { Out::handle(out_package, "out_package") };
    guard::on(db, "db", err, |db| {
        // SAFETY: NULL, or what the manual asks for.
        let (id, key, package_key) = unsafe {
            let package_key = key_named(package_key, package_key_len, ["package_key", "package_key_len"])?;
            (text(model_id, "model_id")?, key_bytes(key, key_len)?, package_key)
        };
        out?.give(cyborg_model_package { bytes: db.export_model(id, key, package_key)? });
        Ok(())
    })
}

/// Bytes of a package, borrowed from it; *out_len (may be NULL) is their number. NULL and 0 for a NULL package.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_model_package_data(
    package: *const cyborg_model_package,
    out_len: *mut usize,
) -> *const u8 {
    // SAFETY: NULL or a package that the caller has not freed.
    let bytes = unsafe { package.as_ref() }.map(|p| &p.bytes);
    if !out_len.is_null() {
        // SAFETY: not NULL, the caller's place for a length.
        unsafe { out_len.write_unaligned(bytes.map_or(0, Vec::len)) };
    }
    bytes.map_or(std::ptr::null(), |b| b.as_ptr())
}

/// Frees a package. NULL is allowed.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_model_package_free(package: *mut cyborg_model_package) {
    if !package.is_null() {
        // SAFETY: made by `Box::into_raw` in this library; the caller gives up ownership.
        guard::quiet(|| drop(unsafe { Box::from_raw(package) }));
    }
}

/// Makes a model of a package: opens data with package_key, the key it was exported under, and seals the model anew under
/// key. model_id NULL = the id it was exported under. The record keeps times and numbers of the training. *out_record
/// (out_record may be NULL) takes it.
/// Statuses: common, INVALID_ARGUMENT, ALREADY_EXISTS, WRONG_KEY (package_key), CORRUPT (data is no whole package),
/// VERSION, NO_MEMORY, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_model_import(
    db: *mut cyborg_db,
    data: *const u8,
    data_len: usize,
    package_key: *const u8,
    package_key_len: usize,
    model_id: *const c_char,
    key: *const u8,
    key_len: usize,
    out_record: *mut *mut cyborg_model_record,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    // SAFETY: NULL or the caller's place for an object.
    let out = unsafe { Out::handle(out_record, "out_record") }.ok();
    guard::on(db, "db", err, |db| {
        // SAFETY: NULL, or what the manual asks for.
        let (data, package_key, id, key) = unsafe {
            let package_key = key_named(package_key, package_key_len, ["package_key", "package_key_len"])?;
            (
                slice(data, data_len, "data")?,
                package_key,
                optional_text(model_id, "model_id")?,
                key_bytes(key, key_len)?,
            )
        };
        let info = db.import_model(data, package_key, id, key)?;
        if let Some(out) = out {
            out.give(cyborg_model_record::new(&info));
        }
        Ok(())
    })
}

/// Tells which model an index was made from: a list of its id, empty for an index made without one. The model may have been
/// deleted since. Free the list with cyborg_names_free().
/// Statuses: common.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_model(
    index: *const cyborg_index,
    out_ids: *mut *mut cyborg_names,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    // SAFETY: NULL or the caller's place for an object.
    let out = unsafe { Out::handle(out_ids, "out_ids") };
    guard::on(index, "index", err, |h| {
        out?.give(cyborg_names::new(h.index.model()?.into_iter().collect()));
        Ok(())
    })
}
