//! k-means: groups the rows of a sample into `k` lists of near rows.
//!
//! Works on one byte a dimension: a hierarchical start, seven passes over neighbour lists with two relocations
//! between them, one full pass, then exact float32 means. `rows` and `blocks` hold the bytes, `assign` the products,
//! `hierarchy` the start, `neighbours` and `relocate` the passes, `lists` the grouping, `recall` says whether passes
//! still help, `finish` is the end. [`Refiner`] goes on from there with rows that do not fit into memory.
//!
//! Invariants: the same rows, parameters and seed give the same bits for any number of threads and at any SIMD level
//! (integer sums, fixed work items, random streams per item, ties to the lower number); the watch is looked at
//! within a few milliseconds of work; nothing is kept of a cancelled call.

mod assign;
mod blocks;
mod finish;
mod hierarchy;
mod lists;
mod neighbours;
mod recall;
mod refine;
mod relocate;
mod rows;
#[cfg(test)]
mod tests;

use crate::error::{Error, Result, try_zeroed};
use crate::exec::{EndReason, Exec, Phase, Progress, Watch};
use crate::ivf::bytes::ByteCentroids;
use crate::kernels::{Best, Kernels, best};
use crate::types::{MAX_DIMENSION, MAX_LISTS};
use assign::assign_all;
use lists::{Lists, means};
use neighbours::Neighbours;
use recall::{Ground, Probe};
pub use refine::{Pass, Refiner};
use relocate::{accounts, relocate};
use rows::Rows;

/// Rows of the sample that a list needs at most: more change the objective by less than the seed does.
pub const ROWS_PER_LIST: usize = 256;

/// The passes before the full one: neighbours looked at, and whether lists are relocated after.
const PASSES: [(usize, bool); 7] =
    [(256, false), (64, false), (64, true), (64, false), (64, true), (64, false), (64, false)];

/// What to compute.
#[derive(Clone, Debug)]
pub struct Params {
    /// Number of lists: 1 to the number of rows, at most 2^20.
    pub k: usize,
    /// Most passes after the start, the last of them full; 8 or more run the whole schedule, 0 counts as 1.
    pub max_iters: u32,
    /// A pass that lowers the objective by less than this share goes over to the full pass at once; 0 never does.
    pub tolerance: f64,
    /// The same seed gives the same lists.
    pub seed: u64,
    /// Scale centroids to unit length before the full pass and at the end: for rows of unit length whose lists are
    /// chosen by angle. The mean of scattered rows is short, and would lose rows to its neighbours.
    pub spherical: bool,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Clustering {
    /// `k x dim` means of the lists (of their rows but outliers, where there are both).
    pub centroids: Vec<f32>,
    /// The list of each row. None is empty when there are at least `k` distinct rows.
    pub assignment: Vec<u32>,
    /// Mean squared distance of the rows to the centroids of their lists.
    pub objective: f64,
    /// Passes run after the start.
    pub passes: u32,
    /// Recall of the held-out rows after the last pass; 0 where it was not measured.
    pub recall: f64,
    /// Why there were no more passes.
    pub end: EndReason,
}

/// What every step needs.
struct Job<'a> {
    kernels: &'static Kernels,
    exec: &'a Exec,
    watch: &'a Watch,
    rows: &'a Rows,
    seed: u64,
}

/// The number of lists for `n` vectors: about `4 sqrt(n)`, which makes choosing lists and scanning them cost about the
/// same; at most `n / 2` (training needs two vectors a list) and 2^20, at least 1.
#[must_use]
pub fn auto_lists(n: u64) -> u32 {
    let lists = (4.0 * (n as f64).sqrt()).round() as u64;
    lists.min(n / 2).clamp(1, u64::from(MAX_LISTS)) as u32
}

/// The most bytes [`cluster`] holds at a time beside `rows` on `threads` threads, about; never less than it needs.
#[must_use]
pub fn memory_estimate(n: usize, dim: usize, k: usize, threads: usize) -> u64 {
    let (n, dim, k) = (n as u64, dim as u64, k as u64);
    let bytes = n.saturating_mul(dim.next_multiple_of(4));
    // Norms, order, spare order, labels; best two of every row.
    let per_row = n.saturating_mul(4 * 4 + 16);
    // Float means twice, codes, blocks or panels; of each thread the scores of some lists against all.
    let scores = 4 * blocks::TOGETHER as u64 * threads as u64;
    let per_list = k.saturating_mul(dim.saturating_mul(4 + 4 + 1 + 2).saturating_add(128 + scores));
    bytes.saturating_add(per_row).saturating_add(per_list).saturating_add(4 << 20)
}

/// Groups `rows` (`n x dim`, finite; `n` below 2^32, dimension 1 to 65536) into `params.k` lists on the threads of
/// `exec`.
///
/// Uses every row: a caller with more than [`ROWS_PER_LIST`] rows a list samples first. Enters [`Phase::Clustering`]
/// with rows x passes as units. Errors: `InvalidArgument`, `Cancelled`, `Timeout`, `NoMemory`; nothing is kept then.
pub fn cluster(
    rows: &[f32],
    dim: usize,
    params: &Params,
    exec: &Exec,
    watch: &Watch,
    progress: &Progress,
) -> Result<Clustering> {
    cluster_until(rows, dim, &[], params, exec, watch, progress)
}

/// As [`cluster`]; the recall of `held_out` rows (`m x dim`, none of them in `rows`) is measured after every pass and ends
/// the passes when two in a row bring less than 0.001. Some hundred rows suffice; more are not used.
pub fn cluster_until(
    rows: &[f32],
    dim: usize,
    held_out: &[f32],
    params: &Params,
    exec: &Exec,
    watch: &Watch,
    progress: &Progress,
) -> Result<Clustering> {
    cluster_with(best(), rows, dim, held_out, params, exec, watch, progress)
}

/// [`cluster_until`] with the kernels of one SIMD level.
#[allow(clippy::too_many_arguments, reason = "those of cluster_until and the kernels")]
fn cluster_with(
    kernels: &'static Kernels,
    rows: &[f32],
    dim: usize,
    held_out: &[f32],
    params: &Params,
    exec: &Exec,
    watch: &Watch,
    progress: &Progress,
) -> Result<Clustering> {
    if dim == 0 || dim > MAX_DIMENSION as usize {
        return Err(Error::invalid("dimension", dim, "1 to 65536"));
    }
    let n = rows.len() / dim;
    if n * dim != rows.len() || u32::try_from(n).is_err() || !held_out.len().is_multiple_of(dim) {
        return Err(Error::invalid("row values", rows.len(), "whole rows, fewer than 2^32"));
    }
    if params.k == 0 || params.k > n || params.k > MAX_LISTS as usize {
        return Err(Error::invalid("k", params.k, "1 to the number of rows, at most 2^20"));
    }
    watch.check()?;
    let most = (params.max_iters.max(1) as usize).min(PASSES.len() + 1);
    progress.enter(Phase::Clustering, (n * (most + 1)) as u64);
    let bytes = Rows::new(kernels, rows, dim, exec, watch)?;
    let job = Job { kernels, exec, watch, rows: &bytes, seed: params.seed };
    let ground = Ground { kernels, exec, watch, space: &bytes.space, dim };
    let widths: usize = PASSES[..most - 1].iter().map(|(width, _)| params.k.min(*width)).sum();
    let mut probe =
        Probe::new(&ground, held_out, n, |row, out| bytes.copy(row, out), n.saturating_mul(widths + params.k))?;
    let (mut centres, mut lists) = hierarchy::start(&job, params.k)?;
    progress.advance(n as u64);

    let mut objective = f64::INFINITY;
    let mut passes = 0;
    let mut end = if most > PASSES.len() { EndReason::Schedule } else { EndReason::MaxIters };
    for (round, &(width, relocates)) in PASSES[..most - 1].iter().enumerate() {
        let found = pass(&job, &mut centres, &mut lists, width, relocates, round)?;
        passes += 1;
        progress.advance(n as u64);
        progress.pass(passes, found);
        // A relocation starts anew: the pass after it is not compared with the one before.
        let comparable = round > 0 && !PASSES[round - 1].1;
        if comparable && params.tolerance > 0.0 && objective - found <= params.tolerance * objective {
            end = EndReason::Tolerance;
            break;
        }
        objective = found;
        if let Some(probe) = &mut probe {
            progress.recall(recall(&ground, probe, &centres, &lists)?);
            // A relocation to come is worth its pass whatever recall did before: it costs 3 to 4 % of vectors scanned to
            // leave it out.
            let relocations_ahead = PASSES[round..most - 1].iter().any(|&(_, relocates)| relocates);
            if probe.is_over() && !relocations_ahead {
                end = EndReason::Recall;
                break;
            }
        }
    }
    if params.spherical {
        to_unit_length(&mut centres, dim);
    }
    let full = ByteCentroids::new(&centres, dim, exec)?.panels()?;
    let answers = assign_all(&job, lists.order(), &full)?;
    lists.regroup(watch, params.k, |p| answers[p].position)?;
    drop((full, answers, centres));
    passes += 1;
    let mut finished = finish::finish(&job, rows, &mut lists)?;
    if params.spherical {
        to_unit_length(&mut finished.means, dim);
    }
    let objective = finished.inertia / n as f64;
    progress.advance(n as u64);
    progress.pass(passes, objective);
    let mut last = 0.0;
    if let Some(probe) = &mut probe {
        let mut units: Vec<f32> = try_zeroed(finished.means.len(), "means")?;
        for (mean, units) in finished.means.chunks_exact(dim).zip(units.chunks_exact_mut(dim)) {
            bytes.space.units(mean, units);
        }
        last = recall(&ground, probe, &units, &lists)?;
        progress.recall(last);
    }
    progress.ended(end);

    let mut assignment: Vec<u32> = try_zeroed(n, "assignment")?;
    for j in 0..lists.len() {
        lists.of(j).iter().for_each(|&row| assignment[row as usize] = j as u32);
    }
    Ok(Clustering { centroids: finished.means, assignment, objective, passes, recall: last, end })
}

/// The recall of the held-out rows of `probe`.
fn recall(ground: &Ground<'_>, probe: &mut Probe, units: &[f32], lists: &Lists) -> Result<f64> {
    let sizes: Vec<u32> = (0..lists.len()).map(|j| lists.size(j) as u32).collect();
    // The rows asked for are few: a bit each finds them among all.
    let mut asked = vec![0u64; lists.order().len().div_ceil(64)];
    probe.rows().iter().for_each(|&row| asked[row as usize / 64] |= 1 << (row % 64));
    let mut labels = vec![0u32; probe.rows().len()];
    for j in 0..lists.len() {
        for &row in lists.of(j) {
            if asked[row as usize / 64] >> (row % 64) & 1 == 1 {
                labels[probe.rows().partition_point(|&r| r < row)] = j as u32;
            }
        }
    }
    probe.measure(ground, units, &sizes, &labels)
}

/// Scales every centroid but a zero one to length 1.
fn to_unit_length(centroids: &mut [f32], dim: usize) {
    for centroid in centroids.chunks_exact_mut(dim) {
        let norm = centroid.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        if norm > 0.0 {
            centroid.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
        }
    }
}

/// One pass over neighbour lists. Gives the mean squared distance to the centroids before their means moved.
fn pass(
    job: &Job,
    centres: &mut Vec<f32>,
    lists: &mut Lists,
    width: usize,
    relocates: bool,
    round: usize,
) -> Result<f64> {
    let k = lists.len();
    let centroids = ByteCentroids::new(centres, job.rows.dim, job.exec)?;
    let neighbours = Neighbours::new(&centroids)?;
    let factor = centroids.factor();
    let inertia = if relocates {
        let answers: Vec<[Best; 2]> = neighbours.pass(job, lists, width)?;
        let accounts = accounts(job, lists, &answers)?;
        lists.regroup(job.watch, k, |p| answers[p][0].position)?;
        drop(answers);
        relocate(job, &neighbours, factor, &accounts, lists, width, round as u64)?;
        accounts.iter().map(|account| account.inertia(factor)).sum()
    } else {
        let answers: Vec<Best> = neighbours.pass(job, lists, width)?;
        lists.regroup(job.watch, k, |p| answers[p].position)?;
        let best: i64 = answers.iter().map(|best| i64::from(best.score)).sum();
        job.rows.total_norm() as f64 - 2.0 * best as f64 / factor
    };
    *centres = means(job, lists)?;
    let step = f64::from(job.rows.space.step());
    Ok(inertia.max(0.0) * step * step / job.rows.len() as f64)
}
