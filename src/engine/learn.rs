//! The learning half of a training: from pinned rows to centroids, a quantizer and the queries of the calibration.
//!
//! One pass over the rows draws, by seeded selection, the held-out rows and the part of the rows to learn from that fits
//! into memory. That part is clustered. When there are more rows to learn from, they pass by again as mini-batches that
//! refine the centroids, a pass at a time, until the tolerance, the recall of held-out rows or the number of passes ends
//! it. Who is drawn is decided anew by the same generators in every pass, so nothing is kept for each row.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::bias::Biases;
use super::calibrate::{Calibrator, HeldOut};
use super::curve::RecallCurve;
use super::generation::Generation;
use super::index::Index;
use super::job::TrainingJob;
use super::plan::TrainPlan;
use super::rebuild::Rebuild;
use super::snapshot::Snapshot;
use crate::error::{Error, Result, try_with_capacity, try_zeroed};
use crate::exec::{EndReason, Phase, Watch};
use crate::ivf::Centroids;
use crate::kernels;
use crate::kmeans::{self, Clustering, Params, Refiner};
use crate::quant::{Quantizer, Sample};
use crate::rng::{Rng, Selection};
use crate::types::{Metric, QuantizerSpec};

/// Held-out rows that clustering measures its recall with.
const ASKED: usize = 256;

/// What a row is for.
enum Role {
    /// A query of the calibration.
    HeldOut,
    /// Learned from, and part of the resident sample.
    Resident,
    /// Learned from as it passes by.
    Passing,
}

/// One learning.
pub(super) struct Learning<'a> {
    pub(super) index: &'a Index,
    pub(super) job: &'a TrainingJob,
    pub(super) watch: &'a Watch,
    pub(super) pinned: &'a Arc<Snapshot>,
    pub(super) plan: &'a TrainPlan,
}

impl Learning<'_> {
    /// Samples, clusters, fits the quantizer.
    pub(super) fn run(&self) -> Result<(Generation, Calibrator)> {
        let Self { index, job, watch, pinned: s, plan } = *self;
        let (exec, progress) = (&index.shared.exec, &job.progress);
        let dim = s.config.dimension as usize;
        progress.enter(Phase::Sampling, u64::from(s.runs_end()));
        let (sample, held_out) = self.draw()?;
        let params = Params {
            k: plan.n_lists,
            max_iters: plan.max_iters,
            tolerance: plan.tolerance,
            seed: plan.seed,
            // Unit vectors are nearest by angle, so their lists are chosen by angle too: a sixth fewer vectors are
            // scanned for the same recall (benches/compare).
            spherical: s.config.metric == Metric::Cosine,
        };
        let asked = self.asked(&held_out)?;
        progress.learns_from(plan.learned as u64);
        // A sample that is refined later is clustered to the end: relocations come late and mini-batches make none.
        let measured = if plan.learned > plan.sample { &[] } else { &asked[..] };
        let mut found = kmeans::cluster_until(&sample, dim, measured, &params, exec, watch, progress)?;
        if plan.learned > plan.sample {
            self.refine(&mut found, &sample, &asked, &params)?;
        }
        drop(asked);
        let (rows, assignment) = shuffle(&found.centroids, found.assignment, dim, plan.seed);
        drop(found.centroids);
        progress.enter(Phase::Quantizer, 0);
        let mut centroids = Centroids::new(dim, rows)?;
        if s.config.metric == Metric::InnerProduct {
            centroids = centroids.ranked_by_product()?;
        }
        let similarity = s.config.metric.similarity();
        let automatic = || QuantizerSpec::automatic(dim as u32, s.live(), similarity);
        let spec = s.config.quantizer.unwrap_or_else(automatic).resolve(dim as u32);
        let fit = Sample { rows: &sample, lists: &assignment, centroids: &centroids, seed: plan.seed, exec, watch };
        let quantizer = match spec {
            QuantizerSpec::Flat => Quantizer::flat(similarity, dim, s.config.vector_precision),
            _ => Quantizer::train(spec, similarity, &fit)?,
        };
        let resultants = match params.spherical {
            true => resultants(&sample, &assignment, &centroids),
            false => Vec::new(),
        };
        drop((sample, assignment));
        watch.check()?;
        let number = s.generation.as_ref().map_or(0, |g| g.number) + 1;
        let (items, curve, measured_at) = (s.live(), RecallCurve::default(), s.writes);
        let biases = Biases::default();
        let generation = Generation { number, items, centroids, resultants, biases, quantizer, curve, measured_at };
        let calibrator = Calibrator::new(s.config.metric, &generation, held_out, exec, watch)?;
        Ok((generation, calibrator))
    }

    /// The resident sample's vectors, and the held-out rows with theirs.
    fn draw(&self) -> Result<(Zeroizing<Vec<f32>>, Vec<HeldOut>)> {
        let dim = self.pinned.config.dimension as usize;
        let mut sample = Zeroizing::new(try_with_capacity(self.plan.sample * dim, "training sample")?);
        let mut held_out = try_with_capacity(self.plan.held_out, "held-out rows")?;
        self.each_drawn(true, |row, vector, role| {
            match role {
                Role::HeldOut => held_out.push((row, Zeroizing::new(vector.to_vec()))),
                Role::Resident => sample.extend_from_slice(vector),
                Role::Passing => {}
            }
            Ok(())
        })?;
        Ok((sample, held_out))
    }

    /// Calls `f(row, vector, role)` for every row that was drawn, in the order of rows.
    fn each_drawn(&self, report: bool, mut f: impl FnMut(u32, &[f32], Role) -> Result<()>) -> Result<()> {
        let Self { index, job, watch, pinned: s, plan } = *self;
        let dim = s.config.dimension as usize;
        let (live, total) = (s.live_in_runs() as usize, plan.learned + plan.held_out);
        let mut drawn = Selection::new(live, total, plan.seed);
        let mut held_out = Selection::new(total, plan.held_out, plan.seed ^ 1);
        let mut resident = Selection::new(plan.learned, plan.sample, plan.seed ^ 2);
        let rebuild = Rebuild {
            index,
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
        rebuild.for_each_page(&mut |first, vectors| {
            if report {
                job.progress.advance((vectors.len() / dim) as u64);
            }
            for (row, vector) in (first..).zip(vectors.chunks_exact(dim)) {
                if s.tombstones.contains(row) || !drawn.take() {
                    continue;
                }
                let role = if held_out.take() {
                    Role::HeldOut
                } else if resident.take() {
                    Role::Resident
                } else {
                    Role::Passing
                };
                f(row, vector, role)?;
            }
            Ok(())
        })
    }

    /// Some of the held-out vectors, row by row.
    fn asked(&self, held_out: &[HeldOut]) -> Result<Zeroizing<Vec<f32>>> {
        let n = held_out.len().min(ASKED);
        let mut asked = Zeroizing::new(try_with_capacity(n * self.pinned.config.dimension as usize, "held-out rows")?);
        (0..n).for_each(|i| asked.extend_from_slice(&held_out[i * held_out.len() / n].1));
        Ok(asked)
    }

    /// Refines the centroids of `found` by mini-batches of all rows to learn from, and assigns the sample anew.
    fn refine(&self, found: &mut Clustering, sample: &[f32], asked: &[f32], params: &Params) -> Result<()> {
        let (plan, progress, exec) = (self.plan, &self.job.progress, &self.index.shared.exec);
        let dim = self.pinned.config.dimension as usize;
        let start = std::mem::take(&mut found.centroids);
        let fit = (sample, &found.assignment[..]);
        let mut refiner = Refiner::new(start, fit, dim, asked, plan.learned, params, (exec, self.watch))?;
        let mut batch = Zeroizing::new(try_with_capacity(plan.batch_rows * dim, "mini-batch")?);
        progress.ended(EndReason::Running);
        progress.enter(Phase::Clustering, plan.learned as u64);
        loop {
            progress.enter(Phase::Clustering, plan.learned as u64);
            self.each_drawn(false, |_, vector, role| {
                if matches!(role, Role::HeldOut) {
                    return Ok(());
                }
                batch.extend_from_slice(vector);
                if batch.len() == plan.batch_rows * dim {
                    refiner.batch(&batch)?;
                    progress.advance(plan.batch_rows as u64);
                    batch.clear();
                }
                Ok(())
            })?;
            if !batch.is_empty() {
                refiner.batch(&batch)?;
                batch.clear();
            }
            let pass = refiner.end_pass()?;
            found.passes += 1;
            progress.pass(found.passes, pass.objective);
            pass.recall.into_iter().for_each(|recall| progress.recall(recall));
            let end = match pass.end {
                EndReason::Running if found.passes >= plan.max_iters => EndReason::MaxIters,
                end => end,
            };
            if end != EndReason::Running {
                progress.ended(end);
                break;
            }
        }
        drop(batch);
        found.centroids = refiner.finish();
        let mut rows = try_with_capacity(found.centroids.len(), "centroids")?;
        rows.extend_from_slice(&found.centroids);
        let centroids = Centroids::new(dim, rows)?;
        let mut assignment = try_zeroed(found.assignment.len(), "assignment")?;
        for (rows, lists) in sample.chunks(plan.batch_rows * dim).zip(assignment.chunks_mut(plan.batch_rows)) {
            self.watch.check()?;
            centroids.assign(rows, exec, lists)?;
        }
        found.assignment = assignment;
        Ok(())
    }
}

/// The mean resultant length of each list, as statistics of directions call it: how long the mean of its unit vectors
/// is along the unit centroid. 1 = all alike.
fn resultants(rows: &[f32], lists: &[u32], centroids: &Centroids) -> Vec<f32> {
    let mut sums = vec![(0f64, 0u32); centroids.len()];
    for (row, &list) in rows.chunks_exact(centroids.dim()).zip(lists) {
        let (sum, count) = &mut sums[list as usize];
        *sum += f64::from(kernels::best().dot(row, centroids.row(list as usize)));
        *count += 1;
    }
    sums.iter().map(|&(sum, count)| if count > 0 { (sum / f64::from(count)) as f32 } else { 1.0 }).collect()
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
    fn shuffling_keeps_rows_with_their_centroids() {
        let centroids: Vec<f32> = (0..20).map(|i| i as f32).collect();
        let (rows, assignment) = shuffle(&centroids, vec![3, 0, 9], 2, 7);
        for (list, old) in assignment.iter().zip([3, 0, 9]) {
            assert_eq!(rows[*list as usize * 2], (old * 2) as f32);
        }
        assert_ne!(rows, centroids);
    }
}
