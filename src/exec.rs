//! Running work: data-parallel loops on the db's own pool, cancellation, deadlines and progress.
//!
//! Algorithms see [`Exec`] and never a pool. With one thread everything runs on the caller's thread and no pool is
//! ever made; otherwise the pool is made at the first parallel loop and its threads are joined when the last `Exec`
//! goes. Work items are cut by the algorithm, not by the number of threads, so results do not depend on it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Instant;

use rayon::prelude::*;

use crate::error::{Error, Result};

/// A handle on the db's data-parallel threads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Exec(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    threads: usize,
    pool: OnceLock<Option<Pool>>,
}

/// A rayon pool whose threads are waited for: rayon's own drop only tells them to end, and a host that unloads the
/// library next would pull their code from under them.
#[derive(Debug)]
struct Pool {
    pool: Option<rayon::ThreadPool>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// `None` when the system refuses threads.
    fn new(threads: usize) -> Option<Self> {
        let mut handles = Vec::new();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .spawn_handler(|thread| {
                let named = std::thread::Builder::new().name(format!("cyborg-{}", thread.index()));
                handles.push(named.spawn(|| thread.run())?);
                Ok(())
            })
            .build()
            .ok();
        Some(Self { pool: Some(pool?), threads: handles })
    }

    fn install<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(f),
            None => f(),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.pool = None;
        for thread in self.threads.drain(..) {
            // The last `Exec` may go on a thread of the pool, which cannot wait for itself.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl Exec {
    /// Loops on up to `threads` threads; 0 = one per core the process may use.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        Self(Arc::new(Shared { threads, pool: OnceLock::new() }))
    }

    /// The number of threads that loops may use.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.0.threads
    }

    fn pool(&self) -> Option<&Pool> {
        if self.0.threads < 2 {
            return None;
        }
        // A system that refuses threads still gets its result, on the caller's thread.
        self.0.pool.get_or_init(|| Pool::new(self.0.threads)).as_ref()
    }

    /// Calls `f(i)` for every `i` in `0..n`, in any order; the first error in order of `i` is returned.
    pub fn try_for_each<F>(&self, n: usize, f: F) -> Result<()>
    where
        F: Fn(usize) -> Result<()> + Sync,
    {
        match self.pool() {
            Some(pool) if n > 1 => pool.install(|| {
                (0..n).into_par_iter().with_max_len(1).map(&f).find_first(Result::is_err).unwrap_or(Ok(()))
            }),
            _ => (0..n).try_for_each(f),
        }
    }

    /// `f(0), f(1), ... f(n - 1)` in order.
    pub fn map<T: Send, F: Fn(usize) -> T + Sync>(&self, n: usize, f: F) -> Vec<T> {
        match self.pool() {
            Some(pool) if n > 1 => pool.install(|| (0..n).into_par_iter().with_max_len(1).map(&f).collect()),
            _ => (0..n).map(f).collect(),
        }
    }

    /// Runs both, at the same time where there are threads.
    pub fn join<A: Send, B: Send>(&self, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
        match self.pool() {
            Some(pool) => pool.install(|| rayon::join(a, b)),
            None => (a(), b()),
        }
    }

    /// Cuts `data` into pieces of `size` elements (the last may be shorter) and calls `f(piece number, piece)`.
    pub fn for_each_chunk<T: Send, F>(&self, data: &mut [T], size: usize, f: F)
    where
        F: Fn(usize, &mut [T]) + Sync,
    {
        debug_assert!(size > 0);
        match self.pool() {
            Some(pool) if data.len() > size => {
                pool.install(|| data.par_chunks_mut(size).enumerate().with_max_len(1).for_each(|(i, c)| f(i, c)));
            }
            _ => data.chunks_mut(size).enumerate().for_each(|(i, c)| f(i, c)),
        }
    }
}

/// Set once by anyone, seen by all clones.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks all work that watches this token to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was set.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What a long call watches: a token, a deadline, both or neither.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// Stops the call with [`Error::Cancelled`].
    pub cancel: Option<CancelToken>,
    /// Stops the call with [`Error::Timeout`].
    pub deadline: Option<Instant>,
}

impl Watch {
    /// Watches nothing.
    pub const NONE: Self = Self { cancel: None, deadline: None };

    /// Whether the call should go on. To be asked at least once for every few milliseconds of work.
    pub fn check(&self) -> Result<()> {
        if self.cancel.as_ref().is_some_and(CancelToken::is_cancelled) {
            return Err(Error::Cancelled);
        }
        if self.deadline.is_some_and(|d| Instant::now() >= d) {
            return Err(Error::Timeout);
        }
        Ok(())
    }
}

/// What a training job is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i32)]
pub enum Phase {
    /// Waiting for a worker.
    #[default]
    Queued = 1,
    /// Reading the sample from the store.
    Sampling = 2,
    /// Clustering.
    Clustering = 3,
    /// Fitting the quantizer.
    Quantizer = 4,
    /// Assigning and encoding all items.
    Encoding = 5,
    /// Measuring recall against the number of probes.
    Calibrating = 6,
    /// Writing and publishing.
    Publishing = 7,
}

/// Why clustering ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i32)]
pub enum EndReason {
    /// It has not.
    #[default]
    Running = 0,
    /// Every pass that was planned was made.
    Schedule = 1,
    /// The wished most passes were made, and they were fewer.
    MaxIters = 2,
    /// A pass lowered the objective by less than the tolerance.
    Tolerance = 3,
    /// Two passes in a row raised the recall of held-out rows by less than 0.001.
    Recall = 4,
}

/// Progress of a job, written by one thread and read by any.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU32,
    done: AtomicU64,
    total: AtomicU64,
    iteration: AtomicU32,
    objective: AtomicU64,
    recall: AtomicU64,
    end: AtomicU32,
    vectors: AtomicU64,
}

/// One reading of [`Progress`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProgressReading {
    /// Present phase.
    pub phase: Phase,
    /// Units done in this phase.
    pub done: u64,
    /// Units in this phase, 0 when not known.
    pub total: u64,
    /// Clustering pass, from 1.
    pub iteration: u32,
    /// Mean squared distance to the centroid after the last pass; 0 before.
    pub objective: f64,
    /// Recall of held-out rows after the last pass, within a fixed number of rows scanned; 0 where it is not measured.
    pub recall: f64,
    /// Why clustering ended.
    pub end: EndReason,
    /// Vectors that the centroids are learned from; 0 before.
    pub vectors: u64,
}

impl Progress {
    /// Enters `phase`, which has `total` units.
    pub fn enter(&self, phase: Phase, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        self.phase.store(phase as u32, Ordering::Release);
    }

    /// Adds `units` to what is done.
    pub fn advance(&self, units: u64) {
        self.done.fetch_add(units, Ordering::Relaxed);
    }

    /// Reports the end of clustering pass `iteration` with its `objective`.
    pub fn pass(&self, iteration: u32, objective: f64) {
        self.iteration.store(iteration, Ordering::Relaxed);
        self.objective.store(objective.to_bits(), Ordering::Relaxed);
    }

    /// Reports the recall of held-out rows after a pass.
    pub fn recall(&self, recall: f64) {
        self.recall.store(recall.to_bits(), Ordering::Relaxed);
    }

    /// Reports why clustering ended.
    pub fn ended(&self, end: EndReason) {
        self.end.store(end as u32, Ordering::Relaxed);
    }

    /// Reports how many vectors the centroids are learned from.
    pub fn learns_from(&self, vectors: u64) {
        self.vectors.store(vectors, Ordering::Relaxed);
    }

    /// The present values.
    pub fn read(&self) -> ProgressReading {
        let phase = match self.phase.load(Ordering::Acquire) {
            2 => Phase::Sampling,
            3 => Phase::Clustering,
            4 => Phase::Quantizer,
            5 => Phase::Encoding,
            6 => Phase::Calibrating,
            7 => Phase::Publishing,
            _ => Phase::Queued,
        };
        let end = match self.end.load(Ordering::Relaxed) {
            1 => EndReason::Schedule,
            2 => EndReason::MaxIters,
            3 => EndReason::Tolerance,
            4 => EndReason::Recall,
            _ => EndReason::Running,
        };
        ProgressReading {
            phase,
            done: self.done.load(Ordering::Relaxed),
            total: self.total.load(Ordering::Relaxed),
            iteration: self.iteration.load(Ordering::Relaxed),
            objective: f64::from_bits(self.objective.load(Ordering::Relaxed)),
            recall: f64::from_bits(self.recall.load(Ordering::Relaxed)),
            end,
            vectors: self.vectors.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_give_the_same_on_one_thread_and_on_many() {
        for threads in [1, 2, 5] {
            let exec = Exec::new(threads);
            assert_eq!(exec.map(100, |i| i * i)[99], 9801);
            assert_eq!(exec.join(|| exec.map(9, |i| i).len(), || "b"), (9, "b"));
            let mut v = vec![0u32; 1003];
            exec.for_each_chunk(&mut v, 10, |i, c| c.fill(i as u32));
            assert!(v.iter().enumerate().all(|(i, &x)| x as usize == i / 10));
            let e = exec.try_for_each(50, |i| if i >= 20 { Err(Error::invalid("i", i, "below 20")) } else { Ok(()) });
            assert_eq!(e.unwrap_err().to_string(), "i is 20, allowed: below 20");
        }
    }

    #[test]
    fn threads_are_gone_when_the_last_exec_is() {
        let threads = || {
            std::fs::read_dir("/proc/self/task").map_or(0, |tasks| {
                let name = |t: std::fs::DirEntry| std::fs::read_to_string(t.path().join("comm")).unwrap_or_default();
                tasks.flatten().map(name).filter(|n| n.trim() == "cyborg-46").count()
            })
        };
        let exec = Exec::new(47);
        exec.map(100, |i| i);
        drop(exec);
        // The system takes a moment to forget a thread that was joined.
        let patience = Instant::now() + std::time::Duration::from_secs(5);
        while threads() > 0 && Instant::now() < patience {
            std::thread::yield_now();
        }
        assert_eq!(threads(), 0);
    }

    #[test]
    fn a_watch_tells_cancellation_from_a_deadline() {
        let cancel = CancelToken::new();
        let w = Watch { cancel: Some(cancel.clone()), deadline: None };
        assert!(w.check().is_ok());
        cancel.cancel();
        assert!(matches!(w.check(), Err(Error::Cancelled)));
        let w = Watch { cancel: None, deadline: Some(Instant::now()) };
        assert!(matches!(w.check(), Err(Error::Timeout)));
    }
}
