//! Mini-batches: centroids of a sample that fits into memory, refined by rows that do not.
//!
//! Sculley, "Web-scale k-means clustering" (WWW 2010): rows pass by in batches; a batch is assigned to the centroids as they
//! are, then each of its rows draws its centroid towards it by one over the number of rows the list has met. A pass
//! begins with a quarter of the numbers that the pass before (or the sample) ended with, so that what the centroids were
//! learned from first fades. Assignment is the integer product of [`super::assign`]; rows too far out for the bytes move
//! nothing. Everything is a function of rows, batches and centroids, whatever the number of threads.

use super::recall::{Ground, Probe};
use super::{Params, to_unit_length};
use crate::buffer::Buffer;
use crate::error::{Error, Result, try_zeroed};
use crate::exec::{EndReason, Exec, Watch};
use crate::ivf::bytes::{ByteCentroids, ByteSpace, stride};
use crate::kernels::{Best, Kernels, Panels, best};

/// Share of its count that a list begins a pass with, as a divisor.
const FADE: u32 = 4;
/// Most passes: each reads every row and costs a full assignment.
pub(super) const PASSES: u32 = 3;
/// Rows assigned by one work item.
const ITEM: usize = 480;

/// Centroids being refined.
pub struct Refiner<'a> {
    kernels: &'static Kernels,
    exec: &'a Exec,
    watch: &'a Watch,
    params: &'a Params,
    dim: usize,
    sample: &'a [f32],
    space: ByteSpace,
    centroids: Vec<f32>,
    /// Rows that each list has met, faded.
    weights: Vec<f32>,
    /// Rows of each list in this pass.
    sizes: Vec<u32>,
    /// Sum of squared distances in this pass, and rows counted in it.
    inertia: f64,
    rows: u64,
    objective: f64,
    passes: u32,
    probe: Option<Probe>,
}

/// What a pass gave.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Mean squared distance of the rows to their centroids, each as it was when the row came by.
    pub objective: f64,
    /// Recall of held-out rows, see [`crate::exec::ProgressReading::recall`].
    pub recall: Option<f64>,
    /// Why this was the last pass, if it was.
    pub end: EndReason,
}

impl<'a> Refiner<'a> {
    /// From `centroids` learned on `sample`, whose rows are in the lists `assignment`. `held_out` rows measure recall;
    /// none = it is not measured. `rows` are to come in each pass.
    pub fn new(
        centroids: Vec<f32>,
        (sample, assignment): (&'a [f32], &[u32]),
        dim: usize,
        held_out: &[f32],
        rows: usize,
        params: &'a Params,
        (exec, watch): (&'a Exec, &'a Watch),
    ) -> Result<Self> {
        if dim == 0 || sample.len() < dim || centroids.len() != params.k * dim || assignment.len() != sample.len() / dim
        {
            return Err(Error::invalid("row values", sample.len(), "whole rows, one list a row, k centroids"));
        }
        let kernels = best();
        let space = ByteSpace::fit(sample, dim, exec);
        let mut weights: Vec<f32> = try_zeroed(params.k, "list weights")?;
        assignment.iter().for_each(|&list| weights[list as usize] += 1.0 / FADE as f32);
        let sizes = try_zeroed(params.k, "list sizes")?;
        let probe = {
            let ground = Ground { kernels, exec, watch, space: &space, dim };
            let row = |row: u32, bytes: &mut [u8]| {
                space.encode(kernels, &sample[row as usize * dim..][..dim], &mut bytes[..dim]).0
            };
            Probe::new(&ground, held_out, sample.len() / dim, row, rows.saturating_mul(params.k))?
        };
        Ok(Self {
            kernels,
            exec,
            watch,
            params,
            dim,
            sample,
            space,
            centroids,
            weights,
            sizes,
            inertia: 0.0,
            rows: 0,
            objective: f64::INFINITY,
            passes: 0,
            probe,
        })
    }

    /// Takes a mini-batch of rows.
    pub fn batch(&mut self, rows: &[f32]) -> Result<()> {
        let (dim, stride) = (self.dim, stride(self.dim));
        let n = rows.len() / dim;
        let (panels, factor) = self.panels()?;
        let mut bytes = Buffer::zeroed(n * stride, "byte rows")?;
        let mut outliers = vec![false; n];
        let places = bytes.bytes_mut().chunks_exact_mut(stride).zip(&mut outliers);
        for (row, (bytes, outlier)) in rows.chunks_exact(dim).zip(places) {
            let (norm, clipped) = self.space.encode(self.kernels, row, &mut bytes[..dim]);
            *outlier = clipped;
            self.inertia += if clipped { 0.0 } else { f64::from(norm) };
        }
        let index: Vec<u32> = (0..n as u32).collect();
        let mut answers = vec![Best::default(); n];
        self.exec.for_each_chunk(&mut answers, ITEM, |i, out| {
            if self.watch.check().is_ok() {
                self.kernels.assign(bytes.bytes(), stride, &index[i * ITEM..][..out.len()], &panels, out);
            }
        });
        self.watch.check()?;
        for ((row, answer), outlier) in rows.chunks_exact(dim).zip(&answers).zip(outliers) {
            let list = answer.position as usize;
            self.sizes[list] += 1;
            if outlier {
                continue;
            }
            self.rows += 1;
            self.inertia -= 2.0 * f64::from(answer.score) / factor;
            self.weights[list] += 1.0;
            let rate = 1.0 / self.weights[list];
            let centroid = &mut self.centroids[list * dim..][..dim];
            centroid.iter_mut().zip(row).for_each(|(c, x)| *c += rate * (x - *c));
        }
        Ok(())
    }

    /// Ends a pass.
    pub fn end_pass(&mut self) -> Result<Pass> {
        let step = f64::from(self.space.step());
        let objective = self.inertia.max(0.0) * step * step / self.rows.max(1) as f64;
        let recall = self.recall()?;
        self.passes += 1;
        let gained = self.objective - objective;
        let met = self.passes > 1 && self.params.tolerance > 0.0 && gained <= self.params.tolerance * self.objective;
        let end = if met {
            EndReason::Tolerance
        } else if self.probe.as_ref().is_some_and(Probe::is_over) {
            EndReason::Recall
        } else if self.passes >= PASSES {
            EndReason::Schedule
        } else {
            EndReason::Running
        };
        for (weight, size) in self.weights.iter_mut().zip(&mut self.sizes) {
            *weight = std::mem::take(size) as f32 / FADE as f32;
        }
        (self.objective, self.inertia, self.rows) = (objective, 0.0, 0);
        Ok(Pass { objective, recall, end })
    }

    /// The centroids.
    #[must_use]
    pub fn finish(mut self) -> Vec<f32> {
        if self.params.spherical {
            to_unit_length(&mut self.centroids, self.dim);
        }
        self.centroids
    }

    /// The centroids in the units of the space.
    fn units(&self) -> Result<Vec<f32>> {
        let dim = self.dim;
        let mut units: Vec<f32> = try_zeroed(self.centroids.len(), "centroids")?;
        let mut unit = vec![0f32; dim];
        for (centroid, units) in self.centroids.chunks_exact(dim).zip(units.chunks_exact_mut(dim)) {
            unit.copy_from_slice(centroid);
            if self.params.spherical {
                to_unit_length(&mut unit, dim);
            }
            self.space.units(&unit, units);
        }
        Ok(units)
    }

    /// All centroids packed, and what scores are divided by.
    fn panels(&self) -> Result<(Panels, f64)> {
        let centroids = ByteCentroids::new(&self.units()?, self.dim, self.exec)?;
        Ok((centroids.panels()?, centroids.factor()))
    }

    fn recall(&mut self) -> Result<Option<f64>> {
        let Some(mut probe) = self.probe.take() else { return Ok(None) };
        let (dim, stride) = (self.dim, stride(self.dim));
        let rows = probe.rows();
        let mut bytes = Buffer::zeroed(rows.len() * stride, "byte rows")?;
        for (&row, bytes) in rows.iter().zip(bytes.bytes_mut().chunks_exact_mut(stride)) {
            self.space.encode(self.kernels, &self.sample[row as usize * dim..][..dim], &mut bytes[..dim]);
        }
        let index: Vec<u32> = (0..rows.len() as u32).collect();
        let mut answers = vec![Best::default(); rows.len()];
        self.kernels.assign(bytes.bytes(), stride, &index, &self.panels()?.0, &mut answers);
        let labels: Vec<u32> = answers.iter().map(|best| best.position).collect();
        let (kernels, exec, watch) = (self.kernels, self.exec, self.watch);
        let ground = Ground { kernels, exec, watch, space: &self.space, dim };
        let recall = probe.measure(&ground, &self.units()?, &self.sizes, &labels)?;
        self.probe = Some(probe);
        Ok(Some(recall))
    }
}
