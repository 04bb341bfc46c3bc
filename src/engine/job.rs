//! A training job as its callers see it: state, progress, cancellation, end.
//!
//! A job is queued, then running, then over, and over for good: trained, failed or cancelled. A queued job that is
//! cancelled is over at once, though its turn has not come.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::options::{LogLevel, TrainOptions};
use super::results::{JobKind, JobReading, JobState};
use super::shared::Shared;
use crate::error::{Error, Result};
use crate::exec::{CancelToken, Progress, Watch};

/// A queued, running or ended training. Handles may be dropped at any time; that neither cancels nor waits.
pub struct TrainingJob {
    pub(super) kind: JobKind,
    /// Of the index, or the id of the model.
    pub(super) name: String,
    pub(super) options: TrainOptions,
    pub(super) progress: Progress,
    cancel: CancelToken,
    /// Who asked first that it stop.
    stopped: OnceLock<StoppedBy>,
    queued: Instant,
    state: Mutex<State>,
    ended: Condvar,
    /// See [`Self::hold`].
    hold: OnceLock<u64>,
}

#[derive(Clone, Copy, PartialEq)]
enum StoppedBy {
    Caller,
    Closing,
}

#[derive(Default)]
struct State {
    state: JobState,
    error: Option<Error>,
    elapsed: Duration,
}

impl TrainingJob {
    pub(super) fn new(kind: JobKind, name: &str, options: TrainOptions) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            options,
            progress: Progress::default(),
            cancel: CancelToken::new(),
            stopped: OnceLock::new(),
            queued: Instant::now(),
            state: Mutex::default(),
            ended: Condvar::new(),
            hold: OnceLock::new(),
        }
    }

    /// A job that was not even queued.
    pub(super) fn refused(kind: JobKind, name: &str, options: TrainOptions, e: Error) -> Self {
        let job = Self::new(kind, name, options);
        job.settle(&mut job.state.lock(), Err(e));
        job
    }

    /// State, phase and numbers.
    pub fn read(&self) -> JobReading {
        let state = self.state.lock();
        let elapsed = if state.state.is_over() { state.elapsed } else { self.queued.elapsed() };
        JobReading { state: state.state, progress: self.progress.read(), elapsed_ms: elapsed.as_millis() as u64 }
    }

    /// Why it failed or was cancelled, once it was.
    pub fn error(&self) -> Option<Error> {
        self.state.lock().error.clone()
    }

    /// Waits until it ended or the time is over (`None`: until it ended). Gives the state then.
    pub fn wait(&self, timeout: Option<Duration>) -> JobState {
        let deadline = timeout.and_then(|t| Instant::now().checked_add(t));
        let mut state = self.state.lock();
        while !state.state.is_over() {
            match deadline {
                Some(d) if self.ended.wait_until(&mut state, d).timed_out() => break,
                Some(_) => {}
                None => self.ended.wait(&mut state),
            }
        }
        state.state
    }

    /// Asks the job to stop: at once while it is queued, within 100 ms of work while it runs. No effect once it ended.
    pub fn cancel(&self) {
        self.stop(StoppedBy::Caller);
    }

    /// Asks the same, because the db is being closed.
    pub(super) fn close(&self) {
        self.stop(StoppedBy::Closing);
    }

    /// Whether a caller cancelled it, and not the closing of the db before.
    pub(super) fn was_cancelled(&self) -> bool {
        self.stopped.get() == Some(&StoppedBy::Caller)
    }

    fn stop(&self, by: StoppedBy) {
        let _ = self.stopped.set(by);
        self.cancel.cancel();
        let mut state = self.state.lock();
        if state.state == JobState::Queued {
            self.settle(&mut state, Err(Error::Cancelled));
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.state.lock().state.is_over()
    }

    /// Of a job that failed or was cancelled: the items above which an upsert may start another, a quarter more than
    /// the first upsert after its end saw. What failed would fail again, and what was cancelled is not wanted: not
    /// before it is another index. 0 for any other job.
    pub(super) fn hold(&self, items: u64) -> u64 {
        match self.state.lock().state {
            JobState::Failed | JobState::Cancelled => *self.hold.get_or_init(|| items + items / 4),
            _ => 0,
        }
    }

    /// Does `work`, unless the job was cancelled while it was queued, and ends with its result.
    pub(super) fn run(&self, shared: &Shared, work: impl FnOnce(&Watch) -> Result<()>) {
        if !self.begin() {
            return;
        }
        shared.log(LogLevel::Info, "train", "training begins");
        let watch = Watch { cancel: Some(self.cancel.clone()), deadline: None };
        // A panic here must not take the worker thread along: other jobs wait for it.
        let panicked = Err(Error::Internal { what: "training panicked" });
        let result = match catch_unwind(AssertUnwindSafe(|| work(&watch))).unwrap_or(panicked) {
            // It came upon the closed db before the closing came to it.
            Err(Error::Closed { .. }) if shared.closing.is_cancelled() => Err(Error::Cancelled),
            result => result,
        };
        match &result {
            Ok(()) => shared.log(LogLevel::Info, "train", "training ends: published"),
            Err(e) => shared.log(LogLevel::Warn, "train", &format!("training ends: {e}")),
        }
        self.settle(&mut self.state.lock(), result);
    }

    /// Leaves the queue; whether there is something to do.
    fn begin(&self) -> bool {
        let mut state = self.state.lock();
        let queued = state.state == JobState::Queued;
        if queued {
            state.state = JobState::Running;
        }
        queued
    }

    fn settle(&self, state: &mut State, result: Result<()>) {
        state.state = match &result {
            Ok(()) => JobState::Trained,
            Err(Error::Cancelled) => JobState::Cancelled,
            Err(_) => JobState::Failed,
        };
        state.error = result.err();
        state.elapsed = self.queued.elapsed();
        self.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Backend;
    use crate::engine::DbOptions;

    #[test]
    fn a_queued_job_is_over_when_it_is_cancelled_and_never_begins() {
        let job = TrainingJob::new(JobKind::Index, "a", TrainOptions::default());
        assert_eq!((job.read().state, job.hold(100)), (JobState::Queued, 0));
        job.cancel();
        assert_eq!(job.wait(Some(Duration::ZERO)), JobState::Cancelled);
        assert!(matches!(job.error(), Some(Error::Cancelled)));
        assert!(!job.begin());
        // The first to ask is who stopped it.
        job.close();
        assert!(job.was_cancelled());
        // Counted from the first look after the end.
        assert_eq!((job.hold(100), job.hold(1000)), (125, 125));
    }

    /// A closing db marks itself closed before it cancels its jobs. A job whose turn came in between met `Closed` at its
    /// first step, and was told to have failed.
    #[test]
    fn a_job_that_meets_a_closed_db_before_it_is_cancelled_was_cancelled() {
        let shared = Shared::new(Backend::open("memory:", false).unwrap(), &DbOptions::default());
        let job = TrainingJob::new(JobKind::Index, "a", TrainOptions::default());
        job.run(&shared, |_| {
            shared.close();
            shared.enter()
        });
        assert_eq!(job.wait(Some(Duration::ZERO)), JobState::Cancelled);
        assert!(matches!(job.error(), Some(Error::Cancelled)));
        // An index that was deleted is another matter: nothing is being closed.
        let shared = Shared::new(Backend::open("memory:", false).unwrap(), &DbOptions::default());
        let job = TrainingJob::new(JobKind::Index, "a", TrainOptions::default());
        job.run(&shared, |_| Err(Error::Closed { what: "index" }));
        assert_eq!(job.wait(Some(Duration::ZERO)), JobState::Failed);
    }
}
