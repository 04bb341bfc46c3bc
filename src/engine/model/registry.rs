//! The models of a db: what is being trained in this process, and the calls that find a model by its id.
//!
//! One lock is held for every look at a record and every change of one, so changes of one process never compete. A
//! record in state TRAINING whose job is not in this table has no job at all where this process holds the writer's
//! place: it is written FAILED, INTERRUPTED before anybody is shown it. A process that only reads cannot tell a job at
//! work from one that died with its process, and shows what is stored.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::keeper::Keeper;
use super::record::Use;
use super::{FailureCode, ModelInfo, ModelState, check_id, id_of};
use crate::crypto::Backend;
use crate::engine::db::Db;
use crate::engine::job::TrainingJob;
use crate::engine::options::LogLevel;
use crate::engine::shared::Shared;
use crate::error::{Error, Result};

/// Models in training, by id.
#[derive(Default)]
pub(in crate::engine) struct Models {
    pub(super) running: Mutex<Running>,
}

/// The table under the lock.
pub(super) type Running = HashMap<String, AtWork>;

/// A job that is queued or running, and the record it will finish.
pub(super) struct AtWork {
    pub(super) job: Arc<TrainingJob>,
    pub(super) keeper: Arc<Keeper>,
}

/// Milliseconds since 1970 UTC, for people.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// Of the indexes made from a model those that still exist: the same ones, not others of their names.
pub(super) fn existing(backend: &Backend, mut uses: Vec<Use>) -> Result<Vec<Use>> {
    if !uses.is_empty() {
        let there = backend.uuids()?;
        uses.retain(|used| there.get(&used.name) == Some(&used.uuid));
    }
    Ok(uses)
}

/// The open record of model `id`.
pub(super) fn open(shared: &Shared, running: &mut Running, id: &str, key: &[u8]) -> Result<Arc<Keeper>> {
    check_id(id)?;
    if let Some(AtWork { job, keeper }) = running.get(id) {
        let (job, keeper) = (Arc::clone(job), Arc::clone(keeper));
        keeper.check_key(key)?;
        if job.is_over() {
            reap(shared, running, &job);
        }
        return Ok(keeper);
    }
    let keeper = Keeper::open(&shared.backend, id, key)?;
    if keeper.state() == ModelState::Training && !keeper.read_only() {
        keeper.failed(FailureCode::Interrupted, "training did not complete: the process ended", now())?;
    }
    Ok(Arc::new(keeper))
}

/// Takes `job` out of the table, where it is: unless its model was deleted, or another of that id is being trained.
pub(super) fn take(running: &mut Running, job: &Arc<TrainingJob>) -> Option<AtWork> {
    let there = running.get(&job.name).is_some_and(|at_work| Arc::ptr_eq(&at_work.job, job));
    if there { running.remove(&job.name) } else { None }
}

/// Takes a job that is over out of the table: one that was cancelled before its turn never wrote its end.
pub(super) fn reap(shared: &Shared, running: &mut Running, job: &Arc<TrainingJob>) {
    if let Some(at_work) = take(running, job) {
        fail(shared, &at_work, &job.error().unwrap_or(Error::Cancelled));
    }
}

/// Writes FAILED for `e`. A record that cannot be written now says TRAINING, and is found interrupted when it is next read.
/// A job that a caller cancelled was cancelled, though the db was closed before it came to its end.
pub(super) fn fail(shared: &Shared, at_work: &AtWork, e: &Error) {
    let closing = shared.closing.is_cancelled();
    let (code, why) = match e {
        Error::Cancelled | Error::Closed { .. } if at_work.job.was_cancelled() => {
            (FailureCode::Cancelled, Error::Cancelled.to_string())
        }
        Error::Cancelled | Error::Closed { .. } if closing => {
            (FailureCode::Interrupted, "training did not complete: the db was closed".to_owned())
        }
        Error::Cancelled => (FailureCode::Cancelled, e.to_string()),
        Error::NoMemory { .. } => (FailureCode::Memory, e.to_string()),
        Error::InsufficientVectors { .. } | Error::Closed { .. } | Error::Corrupt { .. } | Error::NotFound { .. } => {
            (FailureCode::Data, e.to_string())
        }
        _ => (FailureCode::Internal, e.to_string()),
    };
    if let Err(e) = at_work.keeper.failed(code, &why, now()) {
        shared.log(LogLevel::Warn, "model", &format!("the end of a training was not recorded: {e}"));
    }
}

/// What callers are shown of a record.
pub(super) fn info(shared: &Shared, keeper: &Keeper) -> Result<ModelInfo> {
    let record = keeper.record();
    let mut info = record.info;
    info.id = keeper.id().to_owned();
    info.used_by = existing(&shared.backend, record.uses)?.into_iter().map(|used| used.name).collect();
    Ok(info)
}

impl Db {
    /// State and numbers of a model.
    pub fn model_info(&self, id: &str, key: &[u8]) -> Result<ModelInfo> {
        self.shared.enter()?;
        let mut running = self.shared.models.running.lock();
        info(&self.shared, &*open(&self.shared, &mut running, id, key)?)
    }

    /// Ids of all models, in any state. They are not secret: listing needs no key.
    pub fn list_models(&self) -> Result<Vec<String>> {
        self.shared.enter()?;
        Ok(self.shared.backend.list()?.iter().filter_map(|space| id_of(space)).map(str::to_owned).collect())
    }

    /// Waits until a model's training has ended or the time is over (`None`: until it has ended), and gives the state
    /// then. Where no job of this process trains it, the state is given at once.
    pub fn wait_for_model(&self, id: &str, key: &[u8], timeout: Option<Duration>) -> Result<ModelState> {
        self.shared.enter()?;
        if let Some(job) = self.job_of(id, key)? {
            job.wait(timeout);
        }
        Ok(self.model_info(id, key)?.state)
    }

    /// Asks a model's training to stop; it becomes FAILED, CANCELLED. No effect once it has ended. `ReadOnly` where this
    /// process only reads and the record says that it is being trained: another process may be at it.
    pub fn cancel_model(&self, id: &str, key: &[u8]) -> Result<()> {
        self.shared.enter()?;
        let mut running = self.shared.models.running.lock();
        let keeper = open(&self.shared, &mut running, id, key)?;
        let Some(job) = running.get(id).map(|at_work| Arc::clone(&at_work.job)) else {
            return match keeper.state() {
                ModelState::Training => Err(Error::ReadOnly { why: "another process trains the model" }),
                _ => Ok(()),
            };
        };
        job.cancel();
        if job.is_over() {
            reap(&self.shared, &mut running, &job);
        }
        Ok(())
    }

    fn job_of(&self, id: &str, key: &[u8]) -> Result<Option<Arc<TrainingJob>>> {
        let mut running = self.shared.models.running.lock();
        open(&self.shared, &mut running, id, key)?;
        Ok(running.get(id).map(|at_work| Arc::clone(&at_work.job)))
    }

    /// Removes a model. `Conflict` while indexes made from it exist, which the error names (they would not miss it), and
    /// while it is being trained, unless `cancel_first`: then the training is stopped, and its end changes nothing.
    pub fn delete_model(&self, id: &str, key: &[u8], cancel_first: bool) -> Result<()> {
        self.shared.enter()?;
        let mut running = self.shared.models.running.lock();
        let keeper = open(&self.shared, &mut running, id, key)?;
        if running.contains_key(id) && !cancel_first {
            return Err(Error::Conflict { what: "the model is being trained" });
        }
        let indexes = info(&self.shared, &keeper)?.used_by;
        if !indexes.is_empty() {
            return Err(Error::ModelInUse { indexes });
        }
        keeper.destroy()?;
        if let Some(at_work) = running.remove(id) {
            at_work.job.cancel();
        }
        Ok(())
    }
}
