//! Assignment: which centroid each row is nearest to, by integer products in cancellable pieces.
//!
//! [`Answer`] lets one pass serve both kernels, best one and best two.

use super::Job;
use super::lists::{Lists, means};
use super::rows::Rows;
use crate::error::{Result, try_zeroed};
use crate::ivf::bytes::ByteCentroids;
use crate::kernels::{Best, Kernels, Panels};
use crate::rng::{Rng, sample_indices};

/// Rows that pass a panel together (they stay in the L1 cache).
const ROWS: usize = 480;
/// Products between two looks at the watch: a millisecond with VNNI, 30 ms without any SIMD.
pub(super) const PRODUCTS: usize = 1 << 28;

/// What a pass finds for a row.
pub(super) trait Answer: Copy + Default + Send {
    /// Runs the kernel that gives this answer.
    fn assign(kernels: &Kernels, rows: &Rows, index: &[u32], panels: &Panels, out: &mut [Self]);
    /// Turns positions in panels into numbers of centroids.
    fn rename(&mut self, ids: &[u32]);
}

impl Answer for Best {
    fn assign(kernels: &Kernels, rows: &Rows, index: &[u32], panels: &Panels, out: &mut [Self]) {
        kernels.assign(rows.bytes(), rows.stride, index, panels, out);
    }
    fn rename(&mut self, ids: &[u32]) {
        self.position = ids[self.position as usize];
    }
}

impl Answer for [Best; 2] {
    fn assign(kernels: &Kernels, rows: &Rows, index: &[u32], panels: &Panels, out: &mut [Self]) {
        kernels.assign2(rows.bytes(), rows.stride, index, panels, out);
    }
    fn rename(&mut self, ids: &[u32]) {
        self.iter_mut().for_each(|best| best.rename(ids));
    }
}

/// How many rows to assign to `k` centroids between two looks at the watch.
fn piece(k: usize, dim: usize) -> usize {
    (PRODUCTS / k.saturating_mul(dim).max(1)).clamp(12, ROWS)
}

/// Assigns the rows `index` on the caller's thread.
pub(super) fn assign_here<A: Answer>(job: &Job, index: &[u32], panels: &Panels, out: &mut [A]) -> Result<()> {
    let piece = piece(panels.len(), job.rows.dim);
    for (index, out) in index.chunks(piece).zip(out.chunks_mut(piece)) {
        job.watch.check()?;
        A::assign(job.kernels, job.rows, index, panels, out);
    }
    Ok(())
}

/// Assigns the rows `index` to all centroids of `panels`.
pub(super) fn assign_all(job: &Job, index: &[u32], panels: &Panels) -> Result<Vec<Best>> {
    let mut out: Vec<Best> = try_zeroed(index.len(), "answers")?;
    let piece = piece(panels.len(), job.rows.dim);
    job.exec.for_each_chunk(&mut out, piece, |i, out| {
        if job.watch.check().is_ok() {
            Best::assign(job.kernels, job.rows, &index[i * piece..][..out.len()], panels, out);
        }
    });
    job.watch.check()?;
    Ok(out)
}

/// What [`lloyd`] found: the means in byte units, and the last assignment to the means before them.
pub(super) struct Found {
    pub(super) means: Vec<f32>,
    /// One a row of the index.
    pub(super) answers: Vec<Best>,
    /// What scores of the answers are divided by, see [`ByteCentroids::factor`].
    pub(super) factor: f64,
}

/// `iterations` (at least 1) of Lloyd's algorithm over the rows `index` from `k` random ones of them; nothing for no
/// rows.
pub(super) fn lloyd(job: &Job, index: &[u32], k: usize, iterations: u32, rng: &mut Rng) -> Result<Found> {
    let dim = job.rows.dim;
    let mut found = Found { means: try_zeroed(k * dim, "means")?, answers: Vec::new(), factor: 1.0 };
    if k == 0 {
        return Ok(found);
    }
    let seeds = sample_indices(index.len(), k, rng.next_u64());
    for (mean, &p) in found.means.chunks_exact_mut(dim).zip(&seeds) {
        mean.iter_mut().zip(job.rows.row(index[p as usize])).for_each(|(m, &u)| *m = f32::from(u) - 128.0);
    }
    for _ in 0..iterations {
        let centroids = ByteCentroids::new(&found.means, dim, job.exec)?;
        found.answers = assign_all(job, index, &centroids.panels()?)?;
        found.factor = centroids.factor();
        let mut lists = Lists::one(index.to_vec())?;
        lists.regroup(job.watch, k, |p| found.answers[p].position)?;
        found.means = means(job, &lists)?;
    }
    Ok(found)
}
