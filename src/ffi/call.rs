//! Long calls: cancellation, deadline, progress
//!
//! Functions that may take long accept a `const cyborg_call *`, NULL for none. A call that is cancelled or late stops
//! within some 10 ms of work with CYBORG_STATUS_CANCELLED or CYBORG_STATUS_TIMEOUT, and nothing was changed.

use std::ffi::c_void;
use std::time::{Duration, Instant};

use super::error::{cyborg_error, cyborg_status};
use super::handle::{self, Handle, Table};
use super::read::{Out, Sized32, options, reserved};
use super::{guard, training};
use crate::error::Result;
use crate::exec::{CancelToken, Watch};

/// A switch that stops calls: one token may be watched by any number of them, and stays set once it is.
/// Any thread may use it at any time; it may be freed while calls still watch it.
pub struct cyborg_cancel {
    _private: [u8; 0],
}

static TOKENS: Table<CancelToken> = Table::new(0xC4);

impl Handle for cyborg_cancel {
    type Inner = CancelToken;
    const WHAT: &'static str = "cancel token";
    fn table() -> &'static Table<CancelToken> {
        &TOKENS
    }
}

/// State of a training job: one of the CYBORG_TRAINING_ numbers.
pub type cyborg_training_state = i32;

/// Waiting for a worker.
pub const CYBORG_TRAINING_QUEUED: cyborg_training_state = 1;
/// At work.
pub const CYBORG_TRAINING_RUNNING: cyborg_training_state = 2;
/// Ended well: queries use the new lists.
pub const CYBORG_TRAINING_TRAINED: cyborg_training_state = 3;
/// Ended with an error, see cyborg_training_result(); the index is as it was.
pub const CYBORG_TRAINING_FAILED: cyborg_training_state = 4;
/// Ended on request; the index is as it was.
pub const CYBORG_TRAINING_CANCELLED: cyborg_training_state = 5;

/// What a training job is doing: one of the CYBORG_PHASE_ numbers, in this order.
pub type cyborg_phase = i32;

/// Waiting for a worker.
pub const CYBORG_PHASE_QUEUED: cyborg_phase = 1;
/// Reading the sample; units are vectors.
pub const CYBORG_PHASE_SAMPLING: cyborg_phase = 2;
/// Clustering; units are those of the algorithm.
pub const CYBORG_PHASE_CLUSTERING: cyborg_phase = 3;
/// Fitting the quantizer.
pub const CYBORG_PHASE_QUANTIZER: cyborg_phase = 4;
/// Assigning and encoding all items; units are items.
pub const CYBORG_PHASE_ENCODING: cyborg_phase = 5;
/// Measuring recall against the number of probes.
pub const CYBORG_PHASE_CALIBRATING: cyborg_phase = 6;
/// Writing and publishing.
pub const CYBORG_PHASE_PUBLISHING: cyborg_phase = 7;

/// Why clustering ended: one of the CYBORG_END_ numbers.
pub type cyborg_training_end = i32;

/// It has not.
pub const CYBORG_END_RUNNING: cyborg_training_end = 0;
/// Every pass that was planned was made.
pub const CYBORG_END_SCHEDULE: cyborg_training_end = 1;
/// max_iters passes were made, and they were fewer than planned.
pub const CYBORG_END_MAX_ITERS: cyborg_training_end = 2;
/// A pass lowered the objective by less than tolerance.
pub const CYBORG_END_TOLERANCE: cyborg_training_end = 3;
/// Two passes in a row raised the recall of held-out vectors by less than 0.001.
pub const CYBORG_END_RECALL: cyborg_training_end = 4;

/// One reading of a training job. Set struct_size (or start from CYBORG_TRAINING_PROGRESS_INIT) before passing it in.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct cyborg_training_progress {
    /// sizeof(cyborg_training_progress).
    pub struct_size: u32,
    /// State of the job.
    pub state: cyborg_training_state,
    /// Present phase.
    pub phase: cyborg_phase,
    /// Clustering pass, from 1; 0 before.
    pub iteration: u32,
    /// Units done in this phase.
    pub done: u64,
    /// Units in this phase, 0 while not known.
    pub total: u64,
    /// Mean squared distance to the centroid after the last pass; 0 before.
    pub objective: f64,
    /// Milliseconds since the job was queued.
    pub elapsed_ms: u64,
    /// Vectors the centroids are learned from; 0 before.
    pub vectors_used: u64,
    /// Recall, 0 to 1, of held-out vectors after the last pass, when lists are scanned that hold a fixed number of vectors
    /// (so many that the first pass had 0.9). For comparing passes; 0 where too few vectors are at hand to tell.
    pub recall: f64,
    /// Why clustering ended.
    pub end_reason: cyborg_training_end,
    /// 0.
    pub reserved: u32,
}

// SAFETY: integers and floats, size first.
unsafe impl Sized32 for cyborg_training_progress {}

/// Receives progress. Called on the thread of the call, about every 50 ms. It may call any function of the library
/// except freeing the handles in use by the call, and must return normally (no longjmp, no C++ exception).
pub type cyborg_progress_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, progress: *const cyborg_training_progress)>;

/// How a long call may be stopped and watched. Start from CYBORG_CALL_INIT.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct cyborg_call {
    /// sizeof(cyborg_call).
    pub struct_size: u32,
    /// Must be 0.
    pub reserved: u32,
    /// Stops the call when it is set; NULL = none.
    pub cancel: *const cyborg_cancel,
    /// Stops the call this many milliseconds after it began; 0 = no deadline.
    pub deadline_ms: u64,
    /// Receives progress of cyborg_index_train(); the other calls report none. NULL = none.
    pub progress: cyborg_progress_fn,
    /// First argument of progress.
    pub user: *mut c_void,
}

// SAFETY: integers and nullable pointers, size first.
unsafe impl Sized32 for cyborg_call {}

/// A `cyborg_call` checked.
pub(super) struct Call {
    pub(super) watch: Watch,
    progress: cyborg_progress_fn,
    user: *mut c_void,
}

impl Call {
    /// # Safety
    /// `call` is NULL or leads to `struct_size` readable bytes.
    pub(super) unsafe fn new(call: *const cyborg_call) -> Result<Self> {
        // SAFETY: passed on.
        let call = unsafe { options(call, "call") }?;
        reserved(call.reserved)?;
        let cancel = match call.cancel.is_null() {
            true => None,
            false => Some(handle::get(call.cancel, "cancel")?.value().clone()),
        };
        // A deadline beyond what the clock can count is none.
        let after = Some(call.deadline_ms).filter(|&ms| ms > 0).map(Duration::from_millis);
        let deadline = after.and_then(|d| Instant::now().checked_add(d));
        Ok(Self { watch: Watch { cancel, deadline }, progress: call.progress, user: call.user })
    }

    /// Whether anybody wants to stop or watch the call.
    pub(super) fn is_idle(&self) -> bool {
        self.watch.cancel.is_none() && self.watch.deadline.is_none() && self.progress.is_none()
    }

    /// Hands a reading to the progress callback.
    pub(super) fn report(&self, reading: &crate::engine::JobReading) {
        if let Some(progress) = self.progress {
            let reading = training::reading(reading);
            // SAFETY: the caller's function, with the caller's argument, on the caller's thread.
            unsafe { progress(self.user, &raw const reading) };
        }
    }
}

/// Makes a cancel token that is not set. Free it with cyborg_cancel_free().
/// Statuses: NULL_ARGUMENT, NO_MEMORY.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_cancel_create(
    out_cancel: *mut *mut cyborg_cancel,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::run(err, || {
        // SAFETY: NULL or the caller's place for a handle.
        let out = unsafe { Out::handle(out_cancel, "out_cancel") }?;
        out.set(handle::insert(CancelToken::new())?);
        Ok(())
    })
}

/// Sets a token: every call that watches it stops. Setting it again changes nothing. Not for signal handlers.
/// Statuses: NULL_ARGUMENT, INVALID_HANDLE.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_cancel_set(cancel: *const cyborg_cancel, err: *mut *mut cyborg_error) -> cyborg_status {
    guard::on(cancel, "cancel", err, |token| {
        token.cancel();
        Ok(())
    })
}

/// Writes 1 to *out_is_set when the token was set, otherwise 0.
/// Statuses: NULL_ARGUMENT, INVALID_HANDLE.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_cancel_is_set(
    cancel: *const cyborg_cancel,
    out_is_set: *mut u32,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(cancel, "cancel", err, |token| {
        // SAFETY: NULL or the caller's place for a number.
        let out = unsafe { Out::new(out_is_set, "out_is_set") }?;
        out.set(u32::from(token.is_cancelled()));
        Ok(())
    })
}

/// Frees a token without setting it. NULL and stale handles are allowed.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_cancel_free(cancel: *mut cyborg_cancel) {
    handle::free(cancel);
}
