//! Training: a new generation made beside the old one and put in its place at the end.
//!
//! Steps of a job: merge what is unmerged; pin the runs; draw a seeded sample and, apart from it, some held-out rows;
//! cluster; fit the quantizer; assign and encode every pinned row into a new run, measuring exact neighbours of the
//! held-out rows on the way; rewrite what came since under the new generation; publish. Upserts, deletes and queries
//! go on throughout on the old generation. Nothing is visible before the last step, so a job that fails or is
//! cancelled leaves only unreferenced objects.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use zeroize::Zeroizing;

use super::calibrate::{Calibrator, HeldOut};
use super::curve::{CURVE_K, RecallCurve};
use super::generation::Generation;
use super::index::Index;
use super::job::TrainingJob;
use super::options::{LogLevel, TrainOptions};
use super::plan::TrainPlan;
use super::rebuild::{Rebuild, Rebuilt};
use super::snapshot::Snapshot;
use super::workers::Lane;
use crate::crypto::Kind;
use crate::error::{Error, Result, try_with_capacity};
use crate::exec::{Phase, Watch};
use crate::ivf::Centroids;
use crate::kmeans;
use crate::quant::{Quantizer, Sample};
use crate::rng::{Rng, sample_indices};
use crate::types::{Metric, QuantizerSpec};

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
        let s = self.snapshot.load_full();
        let mut slot = self.job.lock();
        if slot.as_ref().is_some_and(|j| !j.is_over()) {
            return Err(Error::TrainingInProgress);
        }
        self.plan(options, &s.config, s.live(), s.id_bytes())?;
        let job = Arc::new(TrainingJob::new(*options));
        let me = self.me.upgrade().ok_or(Error::Closed { what: "index" })?;
        let at_work = Arc::clone(&job);
        self.shared.workers.submit(Lane::Train, Box::new(move || me.run_job(&at_work)))?;
        *slot = Some(Arc::clone(&job));
        Ok(job)
    }

    /// Starts training if an upsert made the index outgrow its lists. Whether a job was started, and the number of
    /// items above which one is.
    pub(super) fn train_if_outgrown(&self, live: u64) -> (bool, u64) {
        let s = self.snapshot.load();
        let threshold = retrain_threshold(s.config.retrain_threshold, s.generation.as_deref());
        // A job that failed would fail again, and one that was cancelled is not wanted: not before it is another index.
        let threshold = threshold.max(self.train_again_above.load(Ordering::Relaxed));
        if !s.config.auto_train || live <= threshold {
            return (false, threshold);
        }
        let options = TrainOptions { seed: s.config.seed, ..TrainOptions::default() };
        drop(s);
        // Refusals are no news here: a job is at work, or the db is closing.
        (self.train(&options).is_ok(), threshold)
    }

    /// A watch for background work without a token of its own.
    pub(super) fn closing_watch(&self) -> Watch {
        Watch { cancel: Some(self.shared.closing.clone()), deadline: None }
    }

    fn run_job(&self, job: &TrainingJob) {
        let watch = job.watch();
        let result = watch.check().and_then(|()| {
            job.begin();
            self.shared.log(LogLevel::Info, "train", "training begins");
            // A panic here must not take the worker thread along: other jobs wait for it.
            catch_unwind(AssertUnwindSafe(|| self.train_now(job, &watch)))
                .unwrap_or(Err(Error::Internal { what: "training panicked" }))
        });
        self.pinned_runs.store(0, Ordering::Release);
        let live = self.snapshot.load().live();
        self.train_again_above.store(if result.is_ok() { 0 } else { live + live / 4 }, Ordering::Relaxed);
        match &result {
            Ok(()) => self.shared.log(LogLevel::Info, "train", "training ends: published"),
            Err(e) => self.shared.log(LogLevel::Warn, "train", &format!("training ends: {e}")),
        }
        job.end(result);
        // Old objects go when no query uses them any more; what is still in use goes with a later commit.
        if let Err(e) = self.collect_garbage() {
            self.shared.log(LogLevel::Warn, "train", &format!("old objects stay for now: {e}"));
        }
        self.merge_if_due();
    }

    fn train_now(&self, job: &TrainingJob, watch: &Watch) -> Result<()> {
        self.enter()?;
        let (pinned, plan) = self.pin(job, watch)?;
        let (mut generation, mut calibrator) = self.learn(job, watch, &pinned, &plan)?;

        // Every row is assigned, then encoded.
        job.progress.enter(Phase::Encoding, 2 * u64::from(pinned.runs_end()));
        let whole = 0..pinned.runs.len();
        let first =
            self.recode(job, watch, Arc::clone(&pinned), whole, 0, &generation, &plan, Some(&mut calibrator))?;
        job.progress.enter(Phase::Calibrating, 0);
        generation.curve = calibrator.curve(&generation.centroids, &first, &self.shared.exec, watch)?;
        drop(pinned);

        job.progress.enter(Phase::Publishing, 0);
        let _merging = self.lock_merging(watch)?;
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
        let _merging = self.lock_merging(watch)?;
        let mut round = 0;
        loop {
            let runs = self.snapshot.load().runs.len();
            if !self.snapshot.load().deltas.is_empty() {
                self.rewrite(runs..runs, watch)?;
            }
            let s = self.snapshot.load_full();
            match self.plan(&job.options, &s.config, s.live_in_runs(), s.id_bytes()) {
                // Most of the items were replaced meanwhile and lie in deltas again.
                Err(Error::InsufficientVectors { .. }) if !s.deltas.is_empty() && round < CATCH_UP_ROUNDS => round += 1,
                plan => {
                    let plan = plan?;
                    self.pinned_runs.store(s.runs.len(), Ordering::Release);
                    return Ok((s, plan));
                }
            }
        }
    }

    /// Samples, clusters, fits the quantizer.
    fn learn(
        &self,
        job: &TrainingJob,
        watch: &Watch,
        s: &Arc<Snapshot>,
        plan: &TrainPlan,
    ) -> Result<(Generation, Calibrator)> {
        let dim = s.config.dimension as usize;
        let similarity = s.config.metric.similarity();
        job.progress.enter(Phase::Sampling, u64::from(s.runs_end()));
        let (sample, held_out) = self.draw(job, watch, s, plan)?;
        let params = kmeans::Params {
            k: plan.n_lists,
            max_iters: plan.max_iters,
            tolerance: plan.tolerance,
            seed: plan.seed,
            // Unit vectors are nearest by angle, so their lists are chosen by angle too: a sixth fewer vectors are
            // scanned for the same recall (benches/compare).
            spherical: s.config.metric == Metric::Cosine,
        };
        let found = kmeans::cluster(&sample, dim, &params, &self.shared.exec, watch, &job.progress)?;
        let (rows, assignment) = shuffle(&found.centroids, found.assignment, dim, plan.seed);
        job.progress.enter(Phase::Quantizer, 0);
        let centroids = Centroids::new(dim, rows)?;
        let spec = s.config.quantizer.unwrap_or(QuantizerSpec::SQ8).resolve(dim as u32);
        let exec = &self.shared.exec;
        let fit = Sample { rows: &sample, lists: &assignment, centroids: &centroids, seed: plan.seed, exec, watch };
        let quantizer = Quantizer::train(spec, similarity, &fit)?;
        watch.check()?;
        let number = s.generation.as_ref().map_or(0, |g| g.number) + 1;
        let candidates = CURVE_K[0] * quantizer.default_rerank_mult().max(1) as usize;
        let calibrator = Calibrator::new(s.config.metric, &centroids, &held_out, candidates, exec, watch)?;
        let generation = Generation { number, items: s.live(), centroids, quantizer, curve: RecallCurve::default() };
        Ok((generation, calibrator))
    }

    /// The sample's vectors, and the held-out rows with theirs.
    #[allow(clippy::type_complexity, reason = "two columns of one sample")]
    fn draw(
        &self,
        job: &TrainingJob,
        watch: &Watch,
        s: &Arc<Snapshot>,
        plan: &TrainPlan,
    ) -> Result<(Zeroizing<Vec<f32>>, Vec<HeldOut>)> {
        let dim = s.config.dimension as usize;
        let live = s.live_in_runs() as usize;
        let total = (plan.sample + plan.held_out).min(live);
        let chosen = sample_indices(live, total, plan.seed);
        let apart = sample_indices(total, plan.held_out.min(total), plan.seed ^ 1);
        let mut sample = Zeroizing::new(try_with_capacity((total - apart.len()) * dim, "training sample")?);
        let mut held_out = Vec::with_capacity(apart.len());
        let rebuild = Rebuild {
            index: self,
            pinned: Arc::clone(s),
            runs: 0..s.runs.len(),
            deltas: 0,
            // Not used for reading; any generation will do.
            to: s.generation.as_deref().ok_or(Error::Internal { what: "no generation" })?,
            page_rows: plan.page_rows,
            budget: plan.budget,
            watch,
            progress: &job.progress,
        };
        let (mut ordinal, mut next, mut next_apart) = (0u32, 0usize, 0usize);
        rebuild.for_each_page(&mut |first, vectors| {
            job.progress.advance((vectors.len() / dim) as u64);
            for (row, v) in (first..).zip(vectors.chunks_exact(dim)) {
                if s.tombstones.contains(row) {
                    continue;
                }
                if chosen.get(next) == Some(&ordinal) {
                    if apart.get(next_apart).is_some_and(|&a| a as usize == next) {
                        held_out.push((row, Zeroizing::new(v.to_vec())));
                        next_apart += 1;
                    } else {
                        sample.extend_from_slice(v);
                    }
                    next += 1;
                }
                ordinal += 1;
            }
            Ok(())
        })?;
        Ok((sample, held_out))
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

/// The number of items above which an index trains by itself: `per_list` while untrained; then `per_list` a list, or
/// where the automatic number of lists, which grows with the root of the items, would be twice what it was, whichever
/// comes first. Never before it has grown by a quarter: under a small `per_list` the rule would hold again at once.
fn retrain_threshold(per_list: u64, generation: Option<&Generation>) -> u64 {
    match generation.filter(|g| g.number > 0) {
        None => per_list,
        Some(g) => {
            let full = per_list.saturating_mul(g.lists() as u64);
            full.min(g.items.saturating_mul(4).max(per_list)).max(g.items.saturating_add(g.items / 4))
        }
    }
}

/// Lists in random order: neighbours in space must not be neighbours in the store.
fn shuffle(centroids: &[f32], mut assignment: Vec<u32>, dim: usize, seed: u64) -> (Vec<f32>, Vec<u32>) {
    let n = centroids.len() / dim;
    let mut rng = Rng::stream(seed, 2);
    let mut order: Vec<u32> = (0..n as u32).collect();
    for i in (1..n).rev() {
        order.swap(i, rng.below(i + 1));
    }
    let mut place = vec![0u32; n];
    let mut rows = Vec::with_capacity(centroids.len());
    for (new, &old) in order.iter().enumerate() {
        place[old as usize] = new as u32;
        rows.extend_from_slice(&centroids[old as usize * dim..(old as usize + 1) * dim]);
    }
    assignment.iter_mut().for_each(|list| *list = place[*list as usize]);
    (rows, assignment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn training_is_due_by_items_a_list_or_by_growth() {
        let mut g = Generation::untrained(crate::types::Similarity::L2, 2).unwrap();
        assert_eq!(retrain_threshold(10_000, None), 10_000);
        assert_eq!(retrain_threshold(10_000, Some(&g)), 10_000);
        g.number = 1;
        g.centroids = Centroids::new(2, vec![0.0; 2 * 400]).unwrap();
        g.items = 10_001;
        assert_eq!(retrain_threshold(10_000, Some(&g)), 40_004);
        // Lists chosen by hand, few or many, do not set off a storm.
        g.items = 5_000_000;
        assert_eq!(retrain_threshold(10_000, Some(&g)), 6_250_000);
        g.items = 100;
        assert_eq!(retrain_threshold(10_000, Some(&g)), 10_000);
        // Nor does a small threshold, whose 400 lists are full as soon as they are made.
        g.items = 10_000;
        assert_eq!(retrain_threshold(10, Some(&g)), 12_500);
    }

    #[test]
    fn shuffling_keeps_rows_with_their_centroids() {
        let centroids: Vec<f32> = (0..20).map(|i| i as f32).collect();
        let (rows, assignment) = shuffle(&centroids, vec![3, 0, 9], 2, 7);
        for (list, old) in assignment.iter().zip([3, 0, 9]) {
            assert_eq!(rows[*list as usize * 2], (old * 2) as f32);
        }
        assert_ne!(rows, centroids);
    }
}
