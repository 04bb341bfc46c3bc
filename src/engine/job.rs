//! A training job as its callers see it: state, progress, cancellation, end.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::options::TrainOptions;
use super::results::{JobReading, JobState};
use crate::error::Error;
use crate::exec::{CancelToken, Progress, Watch};

/// A queued, running or ended training of one index. Handles may be dropped at any time; that neither cancels nor
/// waits.
pub struct TrainingJob {
    pub(super) options: TrainOptions,
    pub(super) progress: Progress,
    cancel: CancelToken,
    started: Instant,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    state: JobState,
    error: Option<Error>,
    elapsed: Duration,
}

impl TrainingJob {
    pub(super) fn new(options: TrainOptions) -> Self {
        Self {
            options,
            progress: Progress::default(),
            cancel: CancelToken::new(),
            started: Instant::now(),
            state: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    /// State, phase and numbers.
    pub fn read(&self) -> JobReading {
        let state = self.state.lock();
        let elapsed = if is_over(state.state) { state.elapsed } else { self.started.elapsed() };
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
        while !is_over(state.state) {
            match deadline {
                Some(d) if self.ended.wait_until(&mut state, d).timed_out() => break,
                Some(_) => {}
                None => self.ended.wait(&mut state),
            }
        }
        state.state
    }

    /// Asks the job to stop; noticed within 100 ms of work. No effect once it ended.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    pub(super) fn is_over(&self) -> bool {
        is_over(self.state.lock().state)
    }

    pub(super) fn watch(&self) -> Watch {
        Watch { cancel: Some(self.cancel.clone()), deadline: None }
    }

    pub(super) fn begin(&self) {
        self.state.lock().state = JobState::Running;
    }

    pub(super) fn end(&self, result: Result<(), Error>) {
        let mut state = self.state.lock();
        state.state = match &result {
            Ok(()) => JobState::Trained,
            Err(Error::Cancelled) => JobState::Cancelled,
            Err(_) => JobState::Failed,
        };
        state.error = result.err();
        state.elapsed = self.started.elapsed();
        self.ended.notify_all();
    }
}

fn is_over(state: JobState) -> bool {
    !matches!(state, JobState::Queued | JobState::Running)
}
