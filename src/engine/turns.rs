//! The right to replace runs: a lock that is had in order of arrival, by waiters that may give up.
//!
//! Under steady writes a merge is always due, so the merge lane takes this lock again as soon as it has let go. A mutex
//! can hand over only to a waiter that sleeps in it, and ours wake again and again to look whether they were cancelled.
//! Here a waiter keeps its place in the queue, asleep or not.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::Result;
use crate::exec::Watch;

/// How often a waiter looks whether it was cancelled.
const POLL: Duration = Duration::from_millis(20);

/// The lock.
#[derive(Default)]
pub(super) struct Turns {
    queue: Mutex<Queue>,
    moved: Condvar,
}

#[derive(Default)]
struct Queue {
    held: bool,
    /// Numbers of those that wait, in order of arrival.
    waiting: VecDeque<u64>,
    next: u64,
}

/// The lock, held until this is dropped.
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    /// Waits for all that came before, or until `watch` ends the waiting.
    pub(super) fn take(&self, watch: &Watch) -> Result<Turn<'_>> {
        let mut queue = self.queue.lock();
        let mine = queue.next;
        queue.next += 1;
        queue.waiting.push_back(mine);
        loop {
            if let Err(e) = watch.check() {
                queue.waiting.retain(|&number| number != mine);
                // Who stood behind may be the first now.
                self.moved.notify_all();
                return Err(e);
            }
            if !queue.held && queue.waiting.front() == Some(&mine) {
                queue.waiting.pop_front();
                queue.held = true;
                return Ok(Turn(self));
            }
            self.moved.wait_for(&mut queue, POLL);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.queue.lock().held = false;
        self.0.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::exec::CancelToken;

    fn wait_for(turns: &Turns, waiters: usize) {
        while turns.queue.lock().waiting.len() < waiters {
            std::thread::yield_now();
        }
    }

    /// This was a mutex, which the merge lane handed on to a waiter that slept in it at that moment. A training woke each
    /// 20 ms to look whether it was cancelled, and on one busy core was seldom back asleep in time: beside four writers
    /// it had not begun after minutes (`training_goes_on_beside_writers_and_readers`).
    #[test]
    fn who_lets_go_and_takes_again_comes_after_who_waits() {
        let (turns, order) = (Turns::default(), Mutex::new(Vec::new()));
        let first = turns.take(&Watch::NONE).unwrap();
        std::thread::scope(|scope| {
            for (waiters, name) in [(1, "training"), (2, "compaction")] {
                let (turns, order) = (&turns, &order);
                scope.spawn(move || {
                    let _turn = turns.take(&Watch::NONE).unwrap();
                    order.lock().push(name);
                });
                wait_for(turns, waiters);
            }
            drop(first);
            let _again = turns.take(&Watch::NONE).unwrap();
            order.lock().push("merge");
        });
        assert_eq!(order.into_inner(), ["training", "compaction", "merge"]);
    }

    #[test]
    fn who_gives_up_leaves_the_queue_to_those_behind() {
        let turns = Turns::default();
        let first = turns.take(&Watch::NONE).unwrap();
        let cancel = CancelToken::new();
        let watch = Watch { cancel: Some(cancel.clone()), deadline: None };
        std::thread::scope(|scope| {
            let gives_up = scope.spawn(|| turns.take(&watch).map(drop));
            wait_for(&turns, 1);
            let behind = scope.spawn(|| turns.take(&Watch::NONE).map(drop));
            wait_for(&turns, 2);
            cancel.cancel();
            assert!(matches!(gives_up.join().unwrap(), Err(Error::Cancelled)));
            drop(first);
            behind.join().unwrap().unwrap();
        });
        // Nobody is left over, and who is cancelled already does not get it, free or not.
        assert!(matches!(turns.take(&watch), Err(Error::Cancelled)));
        drop(turns.take(&Watch::NONE).unwrap());
        assert!(turns.queue.lock().waiting.is_empty());
    }
}
