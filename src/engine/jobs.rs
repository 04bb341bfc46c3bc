//! The training queue of a db: which jobs are queued or running, in their order.
//!
//! One worker takes jobs in the order they came, whoever asked for them: an index that trains again and again goes to
//! the end of the queue each time and keeps nobody waiting for more than one of its trainings.

use std::sync::Arc;

use parking_lot::Mutex;

use super::job::TrainingJob;
use super::results::{JobState, ListedJob};
use super::workers::{Lane, Task, Workers};
use crate::error::{Error, Result};

/// The jobs of a db that are not over.
#[derive(Default)]
pub(super) struct Jobs {
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    /// In the order of the worker's channel; those over are dropped now and then.
    jobs: Vec<Arc<TrainingJob>>,
    closed: bool,
}

impl Jobs {
    /// Queues `job`, which `task` will run.
    pub(super) fn submit(&self, workers: &Workers, job: &Arc<TrainingJob>, task: Task) -> Result<()> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(Error::Closed { what: "db" });
        }
        // Under the lock, so that list and channel have one order.
        workers.submit(Lane::Train, task)?;
        queue.jobs.retain(|j| !j.is_over());
        queue.jobs.push(Arc::clone(job));
        Ok(())
    }

    /// What is running and queued, in order.
    pub(super) fn list(&self) -> Vec<ListedJob> {
        let queue = self.queue.lock();
        let (mut listed, mut place) = (Vec::new(), 0);
        for job in &queue.jobs {
            let reading = job.read();
            if reading.state.is_over() {
                continue;
            }
            place += u32::from(reading.state == JobState::Queued);
            let place = if reading.state == JobState::Queued { place } else { 0 };
            listed.push(ListedJob { name: job.name.clone(), kind: job.kind, place, reading });
        }
        listed
    }

    /// Cancels every job and takes no more.
    pub(super) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        queue.jobs.iter().for_each(|job| job.close());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::super::options::TrainOptions;
    use super::super::results::JobKind;
    use super::*;
    use crate::crypto::Backend;
    use crate::engine::{DbOptions, shared::Shared};

    #[test]
    fn jobs_run_in_order_and_are_listed_in_it() {
        let shared = Arc::new(Shared::new(Backend::open("memory:", false).unwrap(), &DbOptions::default()));
        let (go, wait) = channel::<()>();
        let (tell, told) = channel();
        let mut wait = Some(wait);
        let jobs: Vec<_> = ["c", "a", "b", "a"]
            .into_iter()
            .map(|name| {
                let job = Arc::new(TrainingJob::new(JobKind::Index, name, TrainOptions::default()));
                let (at_work, tell, first, with) = (Arc::clone(&job), tell.clone(), wait.take(), Arc::clone(&shared));
                let task = move || {
                    at_work.run(&with, |_| {
                        tell.send(at_work.name.clone()).unwrap();
                        first.map_or(Ok(()), |first| first.recv().map_err(|_| Error::Cancelled))
                    });
                };
                shared.jobs.submit(&shared.workers, &job, Box::new(task)).unwrap();
                job
            })
            .collect();
        assert_eq!(told.recv().unwrap(), "c");
        let seen = |jobs: &Jobs| jobs.list().into_iter().map(|j| (j.name, j.place)).collect::<Vec<_>>();
        assert_eq!(seen(&shared.jobs), [("c".into(), 0), ("a".into(), 1), ("b".into(), 2), ("a".into(), 3)]);
        jobs[1].cancel();
        assert_eq!(seen(&shared.jobs), [("c".into(), 0), ("b".into(), 1), ("a".into(), 2)]);
        go.send(()).unwrap();
        assert_eq!(jobs[3].wait(None), JobState::Trained);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), ["b", "a"]);
        assert!(shared.jobs.list().is_empty());
        shared.jobs.close();
        let late = shared.jobs.submit(&shared.workers, &jobs[0], Box::new(|| ()));
        assert!(matches!(late, Err(Error::Closed { .. })));
        shared.workers.close();
    }
}
