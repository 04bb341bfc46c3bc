//! Training: making an index fast
//!
//! An untrained index is searched exactly. Training clusters its vectors into lists, so that a query looks into a few
//! of them only. It runs in the background; upserts, deletes and queries go on meanwhile, and the new lists take over
//! in one step at the end. A job that fails, is cancelled or dies with the process leaves the index as it was.

use std::sync::Arc;
use std::time::Duration;

use super::call::{Call, cyborg_call, cyborg_training_progress, cyborg_training_state};
use super::error::{cyborg_error, cyborg_status};
use super::guard;
use super::handle::{self, Handle, Table};
use super::index::cyborg_index;
use super::read::{Out, OutStruct, Sized32, options};
use crate::engine::{Db, JobReading, JobState, TrainOptions, TrainingJob};
use crate::error::{Error, Result};

/// A training job. It goes on when its handle is freed, until its db is closed.
/// Any thread may use it at any time; cyborg_training_free() must be the last call. Keeps its db alive.
pub struct cyborg_training {
    _private: [u8; 0],
}

/// What a training handle stands for. The job goes first.
pub struct TrainingHandle {
    pub(super) job: Arc<TrainingJob>,
    pub(super) _db: Arc<Db>,
}

static JOBS: Table<TrainingHandle> = Table::new(0xC3);

impl Handle for cyborg_training {
    type Inner = TrainingHandle;
    const WHAT: &'static str = "training job";
    fn table() -> &'static Table<TrainingHandle> {
        &JOBS
    }
}

/// Waits without end: for the timeout of cyborg_training_wait().
pub const CYBORG_WAIT_FOREVER: u64 = 18446744073709551615;

/// How an index is trained; zero in a field = its default. Start from CYBORG_TRAIN_OPTIONS_INIT.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct cyborg_train_options {
    /// sizeof(cyborg_train_options).
    pub struct_size: u32,
    /// Lists to make, at most half the items and CYBORG_MAX_LISTS; 0 = from the number of items.
    pub n_lists: u32,
    /// Vectors read and processed at a time, at most 4 MiB of them; 0 = 2048. Where max_memory_mb does not hold all vectors to
    /// learn from, those it holds are clustered and the centroids are refined by mini-batches of this size.
    pub batch_size: u32,
    /// Most clustering passes; 0 = 100. 8 in memory and 3 of mini-batches are the most that help; where there are
    /// mini-batches, 1 pass of them is made in any case.
    pub max_iters: u32,
    /// Stop when a pass lowers the mean squared distance by less than this fraction; 0 = 1e-6. Whatever it is, passes also end
    /// when the recall of held-out vectors improves no more; cyborg_training_progress says which.
    pub tolerance: f64,
    /// Most memory the job may take, in MiB; 0 = half of the db's memory_limit (none without one), which also bounds a larger
    /// value. Counted: all that is allocated above what the index and its db held when the job began, the new lists included
    /// while the old ones are still there, and 10 MiB for the page caches of the store. Not counted: what queries and upserts
    /// take meanwhile, a single item's metadata and contents, and items that other threads upsert during the job.
    pub max_memory_mb: u64,
    /// Most vectors to learn from, raised to 2 x n_lists where it is less; 0 = as many as help, 256 a list.
    pub max_training_vectors: u64,
    /// Seed of sampling and clustering; 0 = the index's.
    pub seed: u64,
}

// SAFETY: integers and a float, size first.
unsafe impl Sized32 for cyborg_train_options {}

/// How long one look at the cancel token and the deadline is away from the next, and one report from the next.
const LOOK: Duration = Duration::from_millis(5);
const LOOKS_PER_REPORT: u32 = 10;

/// A reading in C's form.
pub(super) fn reading(r: &JobReading) -> cyborg_training_progress {
    cyborg_training_progress {
        struct_size: size_of::<cyborg_training_progress>() as u32,
        state: r.state as i32,
        phase: r.progress.phase as i32,
        iteration: r.progress.iteration,
        done: r.progress.done,
        total: r.progress.total,
        objective: r.progress.objective,
        elapsed_ms: r.elapsed_ms,
        vectors_used: r.progress.vectors,
        recall: r.progress.recall,
        end_reason: r.progress.end as i32,
        reserved: 0,
    }
}

fn train_options(o: &cyborg_train_options) -> TrainOptions {
    TrainOptions {
        n_lists: o.n_lists,
        batch_size: o.batch_size,
        max_iters: o.max_iters,
        tolerance: o.tolerance,
        max_memory_mb: o.max_memory_mb,
        max_training_vectors: o.max_training_vectors,
        seed: o.seed,
    }
}

/// The outcome of a job that ended, or that it has not.
fn outcome(job: &TrainingJob) -> Result<()> {
    match job.read().state {
        JobState::Trained => Ok(()),
        JobState::Queued | JobState::Running => Err(Error::TrainingInProgress),
        JobState::Cancelled => Err(job.error().unwrap_or(Error::Cancelled)),
        JobState::Failed => Err(job.error().unwrap_or(Error::Internal { what: "a failed job without a reason" })),
    }
}

/// Waits for a job on the caller's thread, which is also where progress is reported.
fn follow(job: &TrainingJob, call: &Call) -> Result<()> {
    if call.is_idle() {
        job.wait(None);
        return outcome(job);
    }
    let mut looks = 0;
    while matches!(job.wait(Some(LOOK)), JobState::Queued | JobState::Running) {
        if let Err(stop) = call.watch.check() {
            job.cancel();
            // A job that ended before it noticed has done its work.
            return if job.wait(None) == JobState::Cancelled { Err(stop) } else { outcome(job) };
        }
        if looks % LOOKS_PER_REPORT == 0 {
            call.report(&job.read());
        }
        looks = looks.wrapping_add(1);
    }
    call.report(&job.read());
    outcome(job)
}

/// Trains an index, or trains it anew. Jobs of a db run one after the other in the order they came, see
/// cyborg_db_training_jobs(). With out_job it starts a job and returns at once; free the job with
/// cyborg_training_free(). With out_job NULL it returns when training has ended, watching call (which a started job
/// does not: use cyborg_training_cancel()). options and call may be NULL.
/// Statuses: common, INVALID_ARGUMENT (cyborg_error_field(), _value() and _allowed() tell), UNSUPPORTED,
/// TRAINING_IN_PROGRESS, INSUFFICIENT_VECTORS (below 2 x n_lists; cyborg_error_needed() and _got() tell), CANCELLED,
/// TIMEOUT, store. NO_MEMORY when max_memory_mb is below what the job is estimated to need, in bytes likewise.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_train(
    index: *mut cyborg_index,
    options: *const cyborg_train_options,
    call: *const cyborg_call,
    out_job: *mut *mut cyborg_training,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    // SAFETY: NULL or the caller's place for a handle.
    let out = unsafe { Out::handle(out_job, "out_job") }.ok();
    guard::on(index, "index", err, |h| {
        // SAFETY: NULL, or what the manual asks for.
        let (options, call) = unsafe { (self::options(options, "options")?, Call::new(call)?) };
        call.watch.check()?;
        let job = h.index.train(&train_options(&options))?;
        match out {
            None => follow(&job, &call),
            Some(out) => {
                out.set(handle::insert(TrainingHandle { job, _db: Arc::clone(&h.db) })?);
                Ok(())
            }
        }
    })
}

/// Gives a handle to the index's present or last job in this process, whoever started it: also one that an upsert started, and
/// one that an upsert would have started and that was refused (FAILED; cyborg_training_result() tells why). Free it with
/// cyborg_training_free().
/// Statuses: common, NOT_FOUND while there has been none.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_training(
    index: *const cyborg_index,
    out_job: *mut *mut cyborg_training,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    // SAFETY: NULL or the caller's place for a handle.
    let out = unsafe { Out::handle(out_job, "out_job") };
    guard::on(index, "index", err, |h| {
        let (out, job) = (out?, h.index.last_training()?);
        out.set(handle::insert(TrainingHandle { job, _db: Arc::clone(&h.db) })?);
        Ok(())
    })
}

/// Writes 1 to *out_is_training while a job of the index is queued or running, otherwise 0.
/// Statuses: common.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_is_training(
    index: *const cyborg_index,
    out_is_training: *mut u32,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(index, "index", err, |h| {
        // SAFETY: NULL or the caller's place for a number.
        let out = unsafe { Out::new(out_is_training, "out_is_training") }?;
        out.set(u32::from(h.index.is_training()?));
        Ok(())
    })
}

/// Writes 1 to *out_is_trained when the index has been trained, otherwise 0.
/// Statuses: common, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_is_trained(
    index: *const cyborg_index,
    out_is_trained: *mut u32,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(index, "index", err, |h| {
        // SAFETY: NULL or the caller's place for a number.
        let out = unsafe { Out::new(out_is_trained, "out_is_trained") }?;
        out.set(u32::from(h.index.is_trained()?));
        Ok(())
    })
}

/// Reads state and progress of a job without waiting.
/// Statuses: NULL_ARGUMENT, INVALID_HANDLE, INVALID_ARGUMENT, FORKED, POISONED.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_training_poll(
    job: *mut cyborg_training,
    out_progress: *mut cyborg_training_progress,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(job, "job", err, |h| {
        // SAFETY: NULL or the caller's struct.
        let out = unsafe { OutStruct::new(out_progress, "out_progress") }?;
        out.set(reading(&h.job.read()));
        Ok(())
    })
}

/// Waits until a job has ended or timeout_ms milliseconds have passed (CYBORG_WAIT_FOREVER = until it has ended), and
/// writes the state it then has to *out_state (may be NULL). That the time is over is no error: the state is QUEUED or
/// RUNNING then. That the job failed is none either: see cyborg_training_result().
/// Statuses: NULL_ARGUMENT, INVALID_HANDLE, FORKED, POISONED.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_training_wait(
    job: *mut cyborg_training,
    timeout_ms: u64,
    out_state: *mut cyborg_training_state,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(job, "job", err, |h| {
        let timeout = (timeout_ms != CYBORG_WAIT_FOREVER).then(|| Duration::from_millis(timeout_ms));
        let state = h.job.wait(timeout);
        // SAFETY: NULL or the caller's place for a state.
        if let Ok(out) = unsafe { Out::new(out_state, "out_state") } {
            out.set(state as i32);
        }
        Ok(())
    })
}

/// Tells how a job ended: OK when the index is trained, otherwise the status and error that ended it.
/// Statuses: NULL_ARGUMENT, INVALID_HANDLE, FORKED, POISONED, TRAINING_IN_PROGRESS while it has not ended, CANCELLED,
/// INSUFFICIENT_VECTORS (items were deleted meanwhile), CONFLICT, NO_MEMORY, CLOSED, INTERNAL, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_training_result(
    job: *mut cyborg_training,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(job, "job", err, |h| outcome(&h.job))
}

/// Asks a job to stop: one that waits for its turn ends at once, one that runs within 100 ms; cyborg_training_wait()
/// tells when. A job that has ended stays as it is.
/// Statuses: NULL_ARGUMENT, INVALID_HANDLE, FORKED, POISONED.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_training_cancel(
    job: *mut cyborg_training,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(job, "job", err, |h| {
        h.job.cancel();
        Ok(())
    })
}

/// Frees a job handle; neither cancels the job nor waits for it. NULL and stale handles are allowed.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_training_free(job: *mut cyborg_training) {
    handle::free(job);
}
