//! Db: an opened store
//!
//! One process opens a store for writing at a time; others may open it read-only beside it. A store holds any number
//! of indexes, each under its own key. Names of indexes are the only thing in it that is not encrypted.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::error::{c_text, cyborg_error, cyborg_status};
use super::guard;
use super::handle::{self, Handle, Table};
use super::names::cyborg_names;
use super::queue::cyborg_training_list;
use super::read::{Out, Sized32, flag, options, slice, text};
use crate::engine::{CacheMode, Db, DbOptions, LogLevel, LogSink};
use crate::error::{Error, Result};

/// An opened store. It is closed when its db handle and all index, training and cursor objects made from it are freed,
/// in any order; cyborg_db_close() ends its work before that.
/// Any thread may use it at any time; cyborg_db_free() must be the last call.
pub struct cyborg_db {
    _private: [u8; 0],
}

static DBS: Table<Arc<Db>> = Table::new(0xC1);

impl Handle for cyborg_db {
    type Inner = Arc<Db>;
    const WHAT: &'static str = "db";
    fn table() -> &'static Table<Arc<Db>> {
        &DBS
    }
}

/// How the cache keeps inverted lists: one of the CYBORG_CACHE_MODE_ numbers, 0 = PLAIN.
pub type cyborg_cache_mode = i32;

/// Decrypted, and wiped when evicted. Fastest.
pub const CYBORG_CACHE_MODE_PLAIN: cyborg_cache_mode = 1;
/// As ciphertext, decrypted for each query into memory that is wiped after it.
pub const CYBORG_CACHE_MODE_SEALED: cyborg_cache_mode = 2;

/// Importance of a log record: one of the CYBORG_LOG_ numbers.
pub type cyborg_log_level = i32;

/// Something failed that no call can report, a background merge for example.
pub const CYBORG_LOG_ERROR: cyborg_log_level = 1;
/// Worth a look.
pub const CYBORG_LOG_WARN: cyborg_log_level = 2;
/// Training begins and ends; an opening removed what a crash had left.
pub const CYBORG_LOG_INFO: cyborg_log_level = 3;

/// Receives log records: level, target ("train", "merge", ...) and one line of text, both NUL-terminated UTF-8 that is
/// gone when the function returns. Called from any thread, also from several at once. It must not call the library
/// (which answers CYBORG_STATUS_CONFLICT) and must return normally (no longjmp, no C++ exception). Records never hold
/// keys, ids, vectors, metadata or contents.
pub type cyborg_log_fn = Option<
    unsafe extern "C" fn(user: *mut c_void, level: cyborg_log_level, target: *const c_char, message: *const c_char),
>;

/// How a db is opened. Start from CYBORG_DB_OPTIONS_INIT.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct cyborg_db_options {
    /// sizeof(cyborg_db_options).
    pub struct_size: u32,
    /// Threads for parallel work and for background jobs; 0 = one per core, 1 = parallel parts run on the caller's.
    pub threads: u32,
    /// Half of it bounds the cache, half each training job and the vectors a merge holds, in bytes; ids, unmerged batches
    /// and the scratch of queries are not counted. 0 = no limit.
    pub memory_limit: u64,
    /// Bytes the cache of lists and vectors may hold; 0 = no limit of its own. Codes of lists are kept before vectors.
    pub cache_bytes: u64,
    /// How the cache keeps lists; 0 = PLAIN.
    pub cache_mode: cyborg_cache_mode,
    /// 1 = do not take the writer's place; every write then gives CYBORG_STATUS_READ_ONLY. Default 0.
    pub read_only: u32,
    /// Receives log records until the store is closed; NULL = none.
    pub log: cyborg_log_fn,
    /// First argument of log.
    pub log_user: *mut c_void,
}

// SAFETY: integers and nullable pointers, size first.
unsafe impl Sized32 for cyborg_db_options {}

/// The caller's log argument, which the caller promised to keep usable from any thread.
struct LogUser(*mut c_void);
// SAFETY: the manual of `cyborg_log_fn` says that it is called from any thread, also from several at once.
unsafe impl Send for LogUser {}
// SAFETY: as above.
unsafe impl Sync for LogUser {}

impl LogUser {
    /// The pointer; a method, so that closures capture the whole wrapper.
    fn get(&self) -> *mut c_void {
        self.0
    }
}

fn log_sink(log: cyborg_log_fn, user: *mut c_void) -> Option<LogSink> {
    let log = log?;
    let user = LogUser(user);
    Some(Arc::new(move |level: LogLevel, target: &str, message: &str| {
        let (target, message) = (c_text(target), c_text(message));
        // SAFETY: the caller's function with the caller's argument; the texts live until it returns.
        guard::in_log(|| unsafe { log(user.get(), level as i32, target.as_ptr(), message.as_ptr()) });
    }))
}

fn db_options(o: &cyborg_db_options) -> Result<DbOptions> {
    Ok(DbOptions {
        threads: o.threads as usize,
        memory_limit: o.memory_limit,
        cache_bytes: o.cache_bytes,
        cache_mode: match o.cache_mode {
            0 | CYBORG_CACHE_MODE_PLAIN => CacheMode::Plain,
            CYBORG_CACHE_MODE_SEALED => CacheMode::Sealed,
            n => return Err(Error::invalid("cache_mode", n, "0 default, 1 plain, 2 sealed")),
        },
        read_only: flag(o.read_only, "read_only")?,
        log: log_sink(o.log, o.log_user),
    })
}

/// Opens a store, or makes it when it does not exist. url is "memory:" (gone when the db is), "file:PATH", or a plain
/// path, which means a file. Beside the file PATH there may be PATH-wal, PATH-shm and PATH-lock.
/// Statuses: NULL_ARGUMENT, INVALID_ARGUMENT, UNSUPPORTED, NOT_FOUND (read_only), NO_MEMORY, VERSION, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_db_open(
    url: *const c_char,
    options: *const cyborg_db_options,
    out_db: *mut *mut cyborg_db,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    // SAFETY: NULL or the caller's place for a handle.
    let out = unsafe { Out::handle(out_db, "out_db") };
    guard::run(err, || {
        // SAFETY: NULL, or what the manual asks for.
        let (url, options) = unsafe { (text(url, "url")?, self::options(options, "options")?) };
        let out = out?;
        let db = Db::open(url, db_options(&options)?)?;
        out.set(handle::insert(db)?);
        Ok(())
    })
}

/// Closes a db now: cancels its training jobs and waits for background work. Calls under way finish or give
/// CYBORG_STATUS_CLOSED, as does every later call on the db and what was made from it. The handles must still be freed,
/// which is also when the file is free for another writer. Closing twice changes nothing.
/// Statuses: common.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_db_close(db: *mut cyborg_db, err: *mut *mut cyborg_error) -> cyborg_status {
    guard::on(db, "db", err, |db| {
        db.close();
        Ok(())
    })
}

/// Frees a db handle. NULL and stale handles are allowed; never fails. Indexes opened from it stay usable.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_db_free(db: *mut cyborg_db) {
    handle::free(db);
}

/// Lists the names of all indexes in the store, in alphabetical order. Needs no key.
/// Statuses: common, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_db_list_indexes(
    db: *mut cyborg_db,
    out_names: *mut *mut cyborg_names,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    names_of(db, out_names, "out_names", err, |db| db.list_indexes())
}

/// Lists the names of the indexes that this db is training, or has queued for it, in alphabetical order.
/// Statuses: common.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_db_training_status(
    db: *mut cyborg_db,
    out_indexes_training: *mut *mut cyborg_names,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    names_of(db, out_indexes_training, "out_indexes_training", err, |db| db.training_status())
}

/// Lists the training jobs of this db that run or wait, in the order they run, with their progress, as they are at this
/// moment. Jobs run one after the other in the order they were started, by a call or by an upsert. Free the list with
/// cyborg_training_list_free().
/// Statuses: common.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_db_training_jobs(
    db: *mut cyborg_db,
    out_jobs: *mut *mut cyborg_training_list,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    // SAFETY: NULL or the caller's place for a handle.
    let out = unsafe { Out::handle(out_jobs, "out_jobs") };
    guard::on(db, "db", err, |db| {
        let out = out?;
        out.give(cyborg_training_list::new(&db.training_jobs()?));
        Ok(())
    })
}

pub(super) fn names_of(
    db: *mut cyborg_db,
    out: *mut *mut cyborg_names,
    what: &'static str,
    err: *mut *mut cyborg_error,
    ask: impl FnOnce(&Db) -> Result<Vec<String>>,
) -> cyborg_status {
    // SAFETY: NULL or the caller's place for a handle.
    let out = unsafe { Out::handle(out, what) };
    guard::on(db, "db", err, |db| {
        let out = out?;
        out.give(cyborg_names::new(ask(db)?));
        Ok(())
    })
}

/// Deletes an index and all it holds, for good: its stored keys go first, so that what the disk may still keep cannot
/// be read. key is the index's key of 32 bytes. Open handles of the index give CYBORG_STATUS_CLOSED from then on.
/// Statuses: common, INVALID_ARGUMENT, NOT_FOUND, WRONG_KEY, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_db_drop_index(
    db: *mut cyborg_db,
    name: *const c_char,
    key: *const u8,
    key_len: usize,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(db, "db", err, |db| {
        // SAFETY: NULL, or what the manual asks for.
        let (name, key) = unsafe { (text(name, "name")?, key_bytes(key, key_len)?) };
        db.drop_index(name, key)
    })
}

/// The caller's key; the engine copies it and checks its length.
///
/// # Safety
/// `key` is NULL or leads to `len` bytes.
pub(super) unsafe fn key_bytes<'a>(key: *const u8, len: usize) -> Result<&'a [u8]> {
    // SAFETY: passed on.
    unsafe { key_named(key, len, ["key", "key_len"]) }
}

/// Another key of the caller's, whose parameters have these names.
///
/// # Safety
/// As [`key_bytes`].
pub(super) unsafe fn key_named<'a>(key: *const u8, len: usize, names: [&'static str; 2]) -> Result<&'a [u8]> {
    if key.is_null() {
        return Err(Error::NullArgument { what: names[0] });
    }
    if len != crate::types::KEY_LEN {
        return Err(Error::invalid(names[1], len, "32"));
    }
    // SAFETY: not NULL, 32 bytes.
    unsafe { slice(key, len, names[0]) }
}
