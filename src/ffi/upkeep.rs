//! Upkeep
//!
//! The library merges and cleans up by itself; these are for those who want it now, or want to be sure.

use super::call::{Call, cyborg_call};
use super::error::{cyborg_error, cyborg_status};
use super::guard;
use super::index::cyborg_index;

/// Folds all batches and runs of an index into one, drops what was replaced or deleted, and gives the space back to the
/// file system. Queries and upserts go on meanwhile. call may be NULL.
/// Statuses: common, INVALID_ARGUMENT, UNSUPPORTED, CONFLICT, TRAINING_IN_PROGRESS, CANCELLED, TIMEOUT, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_compact(
    index: *mut cyborg_index,
    call: *const cyborg_call,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(index, "index", err, |h| {
        // SAFETY: NULL, or what the manual asks for.
        let call = unsafe { Call::new(call) }?;
        h.index.compact(&call.watch)
    })
}

/// Reads and authenticates every stored object of an index. The error names the first that is damaged. call may be NULL.
/// Statuses: common, INVALID_ARGUMENT, UNSUPPORTED, CANCELLED, TIMEOUT, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_verify(
    index: *mut cyborg_index,
    call: *const cyborg_call,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(index, "index", err, |h| {
        // SAFETY: NULL, or what the manual asks for.
        let call = unsafe { Call::new(call) }?;
        h.index.verify(&call.watch)
    })
}
