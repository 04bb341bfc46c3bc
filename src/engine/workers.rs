//! Background threads of a db: one that trains, one that merges, each fed by a channel in order of arrival.
//!
//! Merging has its own thread so that a long training never lets deltas pile up. A thread is made when the first task
//! for it comes. Closing takes no more tasks, waits for the tasks queued, whose jobs were
//! cancelled before and end at once. A forked child has neither thread and leaves the channels alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, unbounded};
use parking_lot::Mutex;

use crate::error::{Error, Result};

/// A unit of background work.
pub(super) type Task = Box<dyn FnOnce() + Send>;

/// Which thread a task is for.
#[derive(Clone, Copy)]
pub(super) enum Lane {
    Train,
    Merge,
}

#[derive(Default)]
struct Thread {
    sender: Option<Sender<Task>>,
    handle: Option<JoinHandle<()>>,
    closed: bool,
}

/// The threads of a db.
#[derive(Default)]
pub(super) struct Workers {
    lanes: [Mutex<Thread>; 2],
}

impl Workers {
    /// Queues `task`.
    pub(super) fn submit(&self, lane: Lane, task: Task) -> Result<()> {
        let mut thread = self.lanes[lane as usize].lock();
        if thread.closed {
            return Err(Error::Closed { what: "db" });
        }
        if thread.sender.is_none() {
            let (sender, receiver) = unbounded::<Task>();
            let name = match lane {
                Lane::Train => "cyborg-train",
                Lane::Merge => "cyborg-merge",
            };
            // A task that panics must not take the thread along: others wait for it.
            let run = move || receiver.into_iter().for_each(|task| drop(catch_unwind(AssertUnwindSafe(task))));
            let handle = std::thread::Builder::new().name(name.into()).spawn(run);
            thread.handle = Some(handle.map_err(|_| Error::NoMemory { what: "worker thread", needed: 1, got: 0 })?);
            thread.sender = Some(sender);
        }
        match &thread.sender {
            Some(sender) => sender.send(task).map_err(|_| Error::Internal { what: "worker thread ended" }),
            None => Err(Error::Internal { what: "worker thread missing" }),
        }
    }

    /// Takes no more tasks and waits for the threads. Tasks still queued run first: their jobs were cancelled.
    pub(super) fn close(&self) {
        for lane in &self.lanes {
            let handle = {
                let mut thread = lane.lock();
                thread.closed = true;
                thread.sender = None;
                thread.handle.take()
            };
            if let Some(handle) = handle
                && handle.thread().id() != std::thread::current().id()
            {
                // Panics of tasks were caught; what is left to do is to end.
                let _ = handle.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_task_that_panics_does_not_stop_the_next_one() {
        let workers = Workers::default();
        let seen = Arc::new(AtomicUsize::new(0));
        let after = Arc::clone(&seen);
        workers.submit(Lane::Merge, Box::new(|| panic!("planted"))).unwrap();
        workers.submit(Lane::Merge, Box::new(move || after.store(1, Ordering::Relaxed))).unwrap();
        workers.close();
        assert_eq!(seen.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn runs_tasks_in_order_and_joins() {
        let workers = Workers::default();
        let seen = Arc::new(AtomicUsize::new(0));
        for i in 0..100 {
            let seen = Arc::clone(&seen);
            let task = Box::new(move || assert_eq!(seen.fetch_add(1, Ordering::Relaxed), i));
            workers.submit(Lane::Merge, task).unwrap();
        }
        workers.close();
        assert_eq!(seen.load(Ordering::Relaxed), 100);
        assert!(matches!(workers.submit(Lane::Train, Box::new(|| ())), Err(Error::Closed { .. })));
    }
}
