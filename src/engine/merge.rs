//! Merging deltas into runs, and compaction: keeping an index small and quick without retraining.
//!
//! A merge is due when there are more than 64 deltas, or when they hold more than 5 % of the items and more than 32 MiB
//! (so that a small index is not rewritten over and over); it takes the last runs along that are at most twice as
//! large as what is merged behind them. So runs at least double from one to the next before: few runs, and every item is
//! rewritten a number of times that grows with the logarithm of the index. When most rows are dead a merge is due that
//! takes everything. When the recall curve is due to be measured anew (`drift`) a merge comes first, and the measuring is
//! its last step.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::index::Index;
use super::options::LogLevel;
use super::rebuild::Rebuild;
use super::snapshot::Snapshot;
use super::workers::Lane;
use crate::error::{Error, Result};
use crate::exec::{Progress, Watch};

/// Deltas an index may have.
const MAX_DELTAS: usize = 64;
/// Share of the items that deltas may hold, as a divisor.
const DELTA_SHARE: u64 = 20;
/// Bytes of deltas below which their share does not matter.
const MIN_MERGE_BYTES: u64 = 32 << 20;
/// Dead rows that are kept even when most are.
const MIN_DEAD: u64 = 4096;
/// Deltas to come before a merge that failed is tried again.
const RETRY_DELTAS: usize = 16;
/// Rows read at a time by merges and compactions.
pub(super) const PAGE_ROWS: usize = 2048;
/// Bytes of vectors that a merge or compaction holds at a time.
pub(super) const BUDGET: u64 = 256 << 20;

impl Index {
    /// Queues a merge if one is due and none is queued.
    pub(super) fn merge_if_due(&self) {
        let s = self.snapshot.load_full();
        let hold = self.merge_again_at.load(Ordering::Relaxed);
        if s.deltas.len() >= hold
            && (self.is_due(&s) || self.curve_is_due(&s))
            && !self.merge_queued.swap(true, Ordering::AcqRel)
        {
            let Some(me) = self.me.upgrade() else { return };
            let task = move || {
                me.merge_queued.store(false, Ordering::Release);
                let merged = me.merge_now(&me.closing_watch());
                let hold = if merged.is_ok() { 0 } else { me.snapshot.load().deltas.len() + RETRY_DELTAS };
                me.merge_again_at.store(hold, Ordering::Relaxed);
                if let Err(e) = merged.and_then(|()| me.collect_garbage())
                    && !matches!(e, Error::Closed { .. } | Error::Cancelled)
                {
                    me.shared.log(LogLevel::Error, "merge", &e.to_string());
                }
            };
            // A db that is closing takes no task, and needs none.
            if self.shared.workers.submit(Lane::Merge, Box::new(task)).is_err() {
                self.merge_queued.store(false, Ordering::Release);
            }
        }
    }

    /// Merges while a merge is due, and once before the recall curve is measured; measures it when that is due.
    fn merge_now(&self, watch: &Watch) -> Result<()> {
        let mut before_measuring = self.curve_is_due(&self.snapshot.load());
        loop {
            let merging = self.merging.take(watch)?;
            self.enter()?;
            let s = self.snapshot.load_full();
            let due = self.is_due(&s) || (std::mem::take(&mut before_measuring) && !s.deltas.is_empty());
            if due {
                let pinned = self.pinned_runs.load(Ordering::Acquire);
                let runs = if pinned == 0 && mostly_dead(&s) { 0..s.runs.len() } else { tail_runs(&s, pinned) };
                drop(s);
                self.rewrite(runs, watch)?;
            }
            // Under steady writes the next merge is due at once: a training that waits has its turn between the two, and
            // so has measuring.
            drop(merging);
            self.measure_if_due(watch)?;
            if !due {
                return Ok(());
            }
        }
    }

    fn is_due(&self, s: &Snapshot) -> bool {
        s.deltas.len() > MAX_DELTAS
            || (s.delta_items() > s.live() / DELTA_SHARE && s.delta_bytes() + s.tail.memory() > MIN_MERGE_BYTES)
            // A training reads the runs, and drops what is dead by itself.
            || (mostly_dead(s) && self.pinned_runs.load(Ordering::Acquire) == 0)
    }

    /// Rewrites `runs` (which reach the end) and all deltas as one run of the same generation.
    pub(super) fn rewrite(&self, runs: Range<usize>, watch: &Watch) -> Result<()> {
        self.rewrite_within(runs, BUDGET.min(self.shared.job_memory), watch)
    }

    /// [`Index::rewrite`] with `budget` bytes of vectors held at a time.
    pub(super) fn rewrite_within(&self, runs: Range<usize>, budget: u64, watch: &Watch) -> Result<()> {
        let pinned = self.snapshot.load_full();
        let Some(generation) = pinned.generation.clone() else { return Ok(()) };
        let deltas = pinned.deltas.len();
        let rebuild = Rebuild {
            index: self,
            pinned,
            runs,
            deltas,
            to: &generation,
            page_rows: PAGE_ROWS,
            budget,
            watch,
            progress: &Progress::default(),
        };
        let rebuilt = rebuild.run(None)?;
        self.publish(&[rebuilt], None)
    }

    /// Folds everything into one run, drops what is dead and gives the space back. Waits for a merge at work; refused
    /// while a training is.
    pub fn compact(&self, watch: &Watch) -> Result<()> {
        self.enter()?;
        self.compact_now(watch).map_err(|e| self.cause(e))
    }

    fn compact_now(&self, watch: &Watch) -> Result<()> {
        self.check_writable()?;
        if self.is_training()? {
            return Err(Error::TrainingInProgress);
        }
        {
            let _merging = self.merging.take(watch)?;
            // Training pins its runs under this lock.
            if self.pinned_runs.load(Ordering::Acquire) > 0 {
                return Err(Error::TrainingInProgress);
            }
            let s = self.snapshot.load_full();
            if s.runs.len() > 1 || !s.deltas.is_empty() || !s.tombstones.is_empty() {
                drop(s);
                self.rewrite(0..self.snapshot.load().runs.len(), watch)?;
            }
        }
        self.collect_garbage()?;
        self.vault.reclaim()
    }
}

fn mostly_dead(s: &Snapshot) -> bool {
    s.tombstones.count() > s.live() + MIN_DEAD
}

/// The last runs to take into a merge, leaving the first `pinned` alone.
fn tail_runs(s: &Snapshot, pinned: usize) -> Range<usize> {
    let mut size = s.delta_items();
    let mut start = s.runs.len();
    while start > pinned && u64::from(s.runs[start - 1].1.len()) <= 2 * size {
        start -= 1;
        size += u64::from(s.runs[start].1.len());
    }
    start..s.runs.len()
}
