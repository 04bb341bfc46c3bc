//! Training: a new generation made beside the old one and put in its place at the end.
//!
//! Steps of a job: merge what is unmerged; pin the runs; learn centroids and quantizer from a sample (`learn`); assign and encode every pinned row into a new run, measuring exact neighbours of the
//! held-out rows on the way; rewrite what came since under the new generation; publish. Upserts, deletes and queries
//! go on throughout on the old generation. Nothing is visible before the last step, so a job that fails or is
//! cancelled leaves only unreferenced objects.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::calibrate::Calibrator;
use super::generation::Generation;
use super::index::Index;
use super::job::TrainingJob;
use super::learn::Learning;
use super::options::{LogLevel, TrainOptions};
use super::plan::{TrainPlan, Wanted};
use super::rebuild::{Rebuild, Rebuilt};
use super::results::JobKind;
use super::snapshot::Snapshot;
use crate::crypto::Kind;
use crate::error::{Error, Result};
use crate::exec::{Phase, Watch};

/// Rounds of catching up with writers before the last one is done under the writer's lock.
const CATCH_UP_ROUNDS: usize = 8;
/// Items that may be coded under the writer's lock.
const CATCH_UP_ITEMS: u64 = 4096;

impl Index {
    /// Starts a job and returns at once. Refused at once: bad options, too few vectors, too little memory, a job that
    /// is queued or running.
    pub fn train(&self, options: &TrainOptions) -> Result<Arc<TrainingJob>> {
        self.enter()?;
        self.check_writable()?;
        self.start(&mut self.job.lock(), options)
    }

    /// Queues a job and leaves it in `slot`, the index's own.
    fn start(&self, slot: &mut Option<Arc<TrainingJob>>, options: &TrainOptions) -> Result<Arc<TrainingJob>> {
        if slot.as_ref().is_some_and(|j| !j.is_over()) {
            return Err(Error::TrainingInProgress);
        }
        let s = self.snapshot.load_full();
        self.plan(&self.wanted(options), &s.config, s.live(), s.id_bytes())?;
        let job = Arc::new(TrainingJob::new(JobKind::Index, self.name(), *options));
        let me = self.me.upgrade().ok_or(Error::Closed { what: "index" })?;
        let at_work = Arc::clone(&job);
        self.shared.jobs.submit(&self.shared.workers, &job, Box::new(move || me.run_job(&at_work)))?;
        *slot = Some(Arc::clone(&job));
        Ok(job)
    }

    /// Starts training if an upsert made the index outgrow its lists. Whether a job was started, and the number of
    /// items above which one is.
    pub(super) fn train_if_outgrown(&self, live: u64) -> (bool, u64) {
        let s = self.snapshot.load_full();
        let threshold = retrain_threshold(&s);
        if !s.config.auto_train || live <= threshold {
            return (false, threshold);
        }
        let options = TrainOptions { seed: s.config.seed, ..TrainOptions::default() };
        drop(s);
        let mut slot = self.job.lock();
        // Looked at again: of many upserts that get here one starts a job, and when that job ends it is no longer due.
        let threshold = retrain_threshold(&self.snapshot.load()).max(slot.as_ref().map_or(0, |job| job.hold(live)));
        if live <= threshold {
            return (false, threshold);
        }
        let e = match self.start(&mut slot, &options) {
            Ok(_) => return (true, threshold),
            // No news: a job is at work, or the db is closing.
            Err(Error::TrainingInProgress | Error::Closed { .. }) => return (false, threshold),
            Err(e) => e,
        };
        // Nobody asked, so nobody is told but the log; a job that failed holds the next one back.
        let refused = TrainingJob::refused(JobKind::Index, self.name(), options, e.clone());
        let threshold = refused.hold(live);
        *slot = Some(Arc::new(refused));
        drop(slot);
        self.shared.log(LogLevel::Warn, "train", &format!("training does not begin: {e}"));
        (false, threshold)
    }

    /// A watch for background work without a token of its own.
    pub(super) fn closing_watch(&self) -> Watch {
        Watch { cancel: Some(self.shared.closing.clone()), deadline: None }
    }

    fn run_job(&self, job: &TrainingJob) {
        job.run(&self.shared, |watch| {
            // Before the job is over: who waited for it may compact.
            let _unpin = Unpin(&self.pinned_runs);
            self.train_now(job, watch)
        });
        self.tidy();
    }

    /// What a job leaves to be done: old objects go when no query uses them any more (what is still in use goes with a
    /// later commit), and what came meanwhile may be due for a merge.
    pub(super) fn tidy(&self) {
        if let Err(e) = self.collect_garbage() {
            self.shared.log(LogLevel::Warn, "train", &format!("old objects stay for now: {e}"));
        }
        self.merge_if_due();
    }

    fn train_now(&self, job: &TrainingJob, watch: &Watch) -> Result<()> {
        self.enter()?;
        job.progress.enter(Phase::Sampling, 0);
        let (pinned, plan) = self.pin(job, watch)?;
        let learning = Learning { index: self, job, watch, pinned: &pinned, plan: &plan };
        let (mut generation, mut calibrator) = learning.run()?;

        // Every row is assigned, then encoded.
        job.progress.enter(Phase::Encoding, 2 * u64::from(pinned.runs_end()));
        let whole = 0..pinned.runs.len();
        let first =
            self.recode(job, watch, Arc::clone(&pinned), whole, 0, &generation, &plan, Some(&mut calibrator))?;
        job.progress.enter(Phase::Calibrating, 0);
        (generation.biases, generation.curve) =
            calibrator.calibrate_on(&first, &generation, &self.shared.exec, watch)?;
        drop(pinned);

        job.progress.enter(Phase::Publishing, 0);
        let _merging = self.merging.take(watch)?;
        let mut parts = vec![first];
        for _ in 0..CATCH_UP_ROUNDS {
            let now = self.snapshot.load_full();
            let runs = parts.last().map_or(0, |p| p.runs.end)..now.runs.len();
            let taken = parts.last().map_or(0, |p| p.deltas);
            let rows_left: u64 = now.deltas[taken..].iter().map(|(_, d)| u64::from(d.len())).sum();
            if runs.is_empty() && rows_left <= CATCH_UP_ITEMS {
                break;
            }
            // One part for everything after the pinned runs: it is small, so doing it again is cheap.
            parts.truncate(1);
            let runs = parts[0].runs.end..now.runs.len();
            let deltas = now.deltas.len();
            let part = self.recode(job, watch, now, runs, deltas, &generation, &plan, None)?;
            parts.push(part);
        }
        let bytes = generation.write();
        let sealed = self.vault.seal(Kind::Directory, super::blob::frame_for(bytes.len()), &bytes)?;
        watch.check()?;
        self.publish(&parts, Some((Arc::new(generation), sealed)))
    }

    /// Merges what is unmerged, and pins the runs: the job reads nothing else. Plans for what they hold.
    fn pin(&self, job: &TrainingJob, watch: &Watch) -> Result<(Arc<Snapshot>, TrainPlan)> {
        self.settled(&self.wanted(&job.options), watch, |s| self.pinned_runs.store(s.runs.len(), Ordering::Release))
    }

    /// Merges what is unmerged, and gives a snapshot with a plan for what its runs hold. No merge begins before `pin`
    /// returns.
    pub(super) fn settled(
        &self,
        wanted: &Wanted<'_>,
        watch: &Watch,
        pin: impl FnOnce(&Snapshot),
    ) -> Result<(Arc<Snapshot>, TrainPlan)> {
        let _merging = self.merging.take(watch)?;
        let mut round = 0;
        loop {
            let s = self.snapshot.load_full();
            if !s.deltas.is_empty() {
                // The merge is part of the job, and keeps to its memory.
                let budget = self.plan(wanted, &s.config, s.live(), s.id_bytes())?.budget;
                let runs = s.runs.len();
                drop(s);
                self.rewrite_within(runs..runs, budget, watch)?;
            }
            let s = self.snapshot.load_full();
            match self.plan(wanted, &s.config, s.live_in_runs(), s.id_bytes()) {
                // Most of the items were replaced meanwhile and lie in deltas again.
                Err(Error::InsufficientVectors { .. }) if !s.deltas.is_empty() && round < CATCH_UP_ROUNDS => round += 1,
                plan => {
                    let plan = plan?;
                    pin(&s);
                    return Ok((s, plan));
                }
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one rebuild")]
    fn recode(
        &self,
        job: &TrainingJob,
        watch: &Watch,
        pinned: Arc<Snapshot>,
        runs: std::ops::Range<usize>,
        deltas: usize,
        to: &Generation,
        plan: &TrainPlan,
        calibrator: Option<&mut Calibrator>,
    ) -> Result<Rebuilt> {
        let (page_rows, budget, progress) = (plan.page_rows, plan.budget, &job.progress);
        Rebuild { index: self, pinned, runs, deltas, to, page_rows, budget, watch, progress }.run(calibrator)
    }
}

/// Lets merges have all runs again.
struct Unpin<'a>(&'a AtomicUsize);

impl Drop for Unpin<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}

/// The number of items above which an index trains by itself: the configured number a list while untrained; then that
/// number a list, or where the automatic number of lists, which grows with the root of the items, would be twice what
/// it was, whichever comes first. Never before it has grown by a quarter: under a small number the rule would hold
/// again at once.
fn retrain_threshold(s: &Snapshot) -> u64 {
    threshold(s.config.retrain_threshold, s.generation.as_deref())
}

fn threshold(per_list: u64, generation: Option<&Generation>) -> u64 {
    match generation.filter(|g| g.number > 0) {
        None => per_list,
        Some(g) => {
            let full = per_list.saturating_mul(g.lists() as u64);
            full.min(g.items.saturating_mul(4).max(per_list)).max(g.items.saturating_add(g.items / 4))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ivf::Centroids;
    use crate::types::{Similarity, VectorPrecision};

    #[test]
    fn training_is_due_by_items_a_list_or_by_growth() {
        let mut g = Generation::untrained(Similarity::L2, VectorPrecision::F32, 2).unwrap();
        assert_eq!(threshold(10_000, None), 10_000);
        assert_eq!(threshold(10_000, Some(&g)), 10_000);
        g.number = 1;
        g.centroids = Centroids::new(2, vec![0.0; 2 * 400]).unwrap();
        g.items = 10_001;
        assert_eq!(threshold(10_000, Some(&g)), 40_004);
        // Lists chosen by hand, few or many, do not set off a storm.
        g.items = 5_000_000;
        assert_eq!(threshold(10_000, Some(&g)), 6_250_000);
        g.items = 100;
        assert_eq!(threshold(10_000, Some(&g)), 10_000);
        // Nor does a small threshold, whose 400 lists are full as soon as they are made.
        g.items = 10_000;
        assert_eq!(threshold(10, Some(&g)), 12_500);
    }
}
