//! One byte a dimension: the space in which rows meet centroids as an integer product.
//!
//! A row is `u = round((x - mean) / step) + 128` (u8), a centroid `q = round(factor * c)` (i8) where `c` is the
//! centroid in the same units. Then `bias + sum u q` with `bias = round(-|q|^2 / (2 factor)) - 128 sum q` ranks
//! centroids as their distance does: `|x - c|^2 = |x|^2 - 2 score / factor` in units of `step^2`. All sums are
//! integers, so results are equal bit for bit on every machine; the few float steps keep one order and never fuse. A
//! score fits 32 bits at every dimension: see [`greatest_code`].

use crate::error::{Result, try_zeroed};
use crate::exec::Exec;
pub(crate) use crate::kernels::round;
use crate::kernels::{Kernels, Panels, best, prefetch};

/// Rows looked at to fit the space.
const FIT_ROWS: usize = 8192;
/// Values looked at to fit the space, as long as that leaves [`FIT_LEAST`] rows.
const FIT_VALUES: usize = 1 << 22;
const FIT_LEAST: usize = 256;
/// One row in so many, at least one, may be an outlier.
const FIT_BEYOND: usize = 2048;
/// Dimensions whose mean is one work item, and rows whose reach is one.
const FIT_DIMS: usize = 64;
const FIT_ITEM: usize = 256;
/// Centroids that one work item turns into bytes.
const CODED: usize = 64;
/// Most bytes of a row that are asked for ahead.
const AHEAD: usize = 2048;

/// Bytes from one byte row to the next: whole groups of 4, as the kernels ask.
pub(crate) const fn stride(dim: usize) -> usize {
    dim.next_multiple_of(4)
}

/// The greatest centroid code at a dimension. Up to 32768 dimensions `1.5 * 127^2 * dim` and the bias stay inside
/// 32 bits; above, 6 bits and a sign do.
fn greatest_code(dim: usize) -> f32 {
    if dim > 32_768 { 63.0 } else { 127.0 }
}

/// Where bytes lie: the mean of each dimension and one step for all.
#[derive(Clone, Debug)]
pub(crate) struct ByteSpace {
    mean: Vec<f32>,
    step: f32,
}

impl ByteSpace {
    /// Fits the space to evenly spaced rows of `rows` (`n x dim`, at least one row). The step reaches the value
    /// farthest from its mean, outliers excepted: one huge row must not take the resolution from all others. A row is
    /// an outlier when it reaches 1.5 times farther than all but [`FIT_BEYOND`] of the rows.
    pub(crate) fn fit(rows: &[f32], dim: usize, exec: &Exec) -> Self {
        let n = rows.len() / dim;
        let taken = n.min(FIT_ROWS).min((FIT_VALUES / dim).max(FIT_LEAST));
        let sample = |i: usize| &rows[i * n / taken * dim..][..dim];
        let reach = |mean: &[f32]| -> Vec<f32> {
            let mut reached = vec![0f32; taken];
            exec.for_each_chunk(&mut reached, FIT_ITEM, |item, reached| {
                for (i, reached) in (item * FIT_ITEM..).zip(reached) {
                    ahead(sample((i + 1).min(taken - 1)));
                    *reached = farthest(sample(i), mean);
                }
            });
            reached
        };
        let mut mean = mean_of(dim, exec, || (0..taken).map(sample));
        let mut reached = reach(&mean);
        let mut limit = common_reach(&reached);
        if reached.iter().any(|&r| r > limit) {
            // Outliers shift the mean too: once more without them.
            mean = mean_of(dim, exec, || (0..taken).filter(|&i| reached[i] <= limit).map(sample));
            reached = reach(&mean);
            limit = common_reach(&reached);
        }
        let step = reached.iter().copied().filter(|&r| r <= limit).fold(0f32, f32::max) / 127.0;
        // A step too small to divide by says that all rows are equal.
        Self { mean, step: if step.is_normal() { step } else { 1.0 } }
    }

    /// The mean of each dimension.
    pub(crate) fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// The length of one unit.
    pub(crate) fn step(&self) -> f32 {
        self.step
    }

    /// Writes the `dim` bytes of `row`; gives `sum (u - 128)^2` and whether a value was clipped.
    pub(crate) fn encode(&self, kernels: &Kernels, row: &[f32], out: &mut [u8]) -> (i32, bool) {
        kernels.to_bytes(row, &self.mean, 1.0 / self.step, out)
    }

    /// `centroid` in the units of the space, where a byte `u` stands for `u - 128`.
    pub(crate) fn units(&self, centroid: &[f32], out: &mut [f32]) {
        for ((&c, &mean), out) in centroid.iter().zip(&self.mean).zip(out) {
            *out = (c - mean) / self.step;
        }
    }
}

/// The mean of some rows; zeros without any. Each dimension is added up in the order of the rows, whatever the threads.
fn mean_of<'a, R: Iterator<Item = &'a [f32]>>(dim: usize, exec: &Exec, rows: impl Fn() -> R + Sync) -> Vec<f32> {
    let mut means = vec![0f32; dim];
    exec.for_each_chunk(&mut means, FIT_DIMS, |item, means| {
        let (mut sums, mut count) = ([0f64; FIT_DIMS], 0usize);
        let part = |row: &'a [f32]| &row[item * FIT_DIMS..][..means.len()];
        let mut rows = rows().map(part).peekable();
        while let Some(row) = rows.next() {
            rows.peek().copied().into_iter().for_each(ahead);
            sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
            count += 1;
        }
        means.iter_mut().zip(&sums).for_each(|(mean, sum)| *mean = (sum / count.max(1) as f64) as f32);
    });
    means
}

/// Asks for a row, which lies anywhere in memory.
fn ahead(row: &[f32]) {
    prefetch(row.as_ptr(), (row.len() * 4).min(AHEAD));
}

/// The greatest distance of a value of `row` from that of `from`. Each lane has a maximum of its own: a single chain waits
/// for itself.
fn farthest(row: &[f32], from: &[f32]) -> f32 {
    let mut most = [0f32; 16];
    let mut take = |row: &[f32], from: &[f32]| {
        for ((most, x), m) in most.iter_mut().zip(row).zip(from) {
            let distance = (x - m).abs();
            *most = if distance > *most { distance } else { *most };
        }
    };
    let ((rows, rest), (froms, rest_from)) = (row.as_chunks::<16>(), from.as_chunks::<16>());
    rows.iter().zip(froms).for_each(|(row, from)| take(row, from));
    take(rest, rest_from);
    most.into_iter().fold(0.0, f32::max)
}

/// 1.5 times what all rows but the possible outliers reach; no limit when those rows are equal.
fn common_reach(reached: &[f32]) -> f32 {
    let mut reached = reached.to_vec();
    let rank = reached.len().saturating_sub(1 + reached.len().div_ceil(FIT_BEYOND));
    let common = *reached.select_nth_unstable_by(rank, f32::total_cmp).1;
    if common > 0.0 { 1.5 * common } else { f32::INFINITY }
}

/// Centroids of one signed byte a dimension, with what makes a product a score.
pub(crate) struct ByteCentroids {
    dim: usize,
    /// `n` rows of [`stride`] codes, padding 0.
    codes: Vec<i8>,
    /// Per centroid, see the head of this file.
    biases: Vec<i32>,
    /// `sum q^2` per centroid.
    norms: Vec<i32>,
    factor: f32,
}

impl ByteCentroids {
    /// From `n` centroids of `dim` values in the units of a [`ByteSpace`].
    pub(crate) fn new(centroids: &[f32], dim: usize, exec: &Exec) -> Result<Self> {
        let n = centroids.len() / dim;
        let mut codes: Vec<i8> = try_zeroed(n * stride(dim), "byte centroids")?;
        let mut biases: Vec<i32> = try_zeroed(n, "byte centroids")?;
        let mut norms: Vec<i32> = try_zeroed(n, "byte centroids")?;
        let zero = vec![0f32; dim];
        let kernels = best();
        let items: Vec<&[f32]> = centroids.chunks(CODED * dim).collect();
        let greatest = |i: usize| items[i].chunks_exact(dim).map(|c| farthest(c, &zero)).fold(0f32, f32::max);
        let greatest = exec.map(items.len(), greatest).into_iter().fold(0f32, f32::max);
        let top = greatest_code(dim);
        let factor = if greatest > 1e-3 { top / greatest } else { 1.0 };
        let places = codes.chunks_mut(CODED * stride(dim)).zip(biases.chunks_mut(CODED).zip(norms.chunks_mut(CODED)));
        let mut coded: Vec<_> = items.into_iter().zip(places).collect();
        exec.for_each_chunk(&mut coded, 1, |_, item| {
            for (centroids, (codes, (biases, norms))) in item {
                let codes = centroids.chunks_exact(dim).zip(codes.chunks_exact_mut(stride(dim)));
                for ((centroid, codes), (bias, size)) in codes.zip(biases.iter_mut().zip(norms.iter_mut())) {
                    // As a row about zero, whose bytes less 128 are the codes: no code is beyond the greatest.
                    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut codes[..dim]);
                    let (norm, _) = kernels.to_bytes(centroid, &zero, factor, bytes);
                    bytes.iter_mut().for_each(|u| *u ^= 0x80);
                    let sum: i32 = codes.iter().map(|&q| i32::from(q)).sum();
                    *bias = (-0.5 * f64::from(norm) / f64::from(factor)).round() as i32 - 128 * sum;
                    *size = norm;
                }
            }
        });
        Ok(Self { dim, codes, biases, norms, factor })
    }

    /// Number of centroids.
    pub(crate) fn len(&self) -> usize {
        self.biases.len()
    }

    /// The codes of centroid `i`, padded with 0 to whole groups.
    pub(crate) fn codes(&self, i: usize) -> &[i8] {
        &self.codes[i * stride(self.dim)..][..stride(self.dim)]
    }

    /// `sum q^2` of centroid `i`.
    pub(crate) fn norm(&self, i: usize) -> i32 {
        self.norms[i]
    }

    /// What a score is divided by to give `<x, c> - |c|^2 / 2`.
    pub(crate) fn factor(&self) -> f64 {
        f64::from(self.factor)
    }

    /// Puts the centroids `ids` into `panels`, each at its position in `ids`.
    pub(crate) fn pack(&self, ids: &[u32], panels: &mut Panels) {
        panels.fill(ids, &self.codes, stride(self.dim), |i| self.biases[i as usize]);
    }

    /// All centroids, packed at their own positions.
    pub(crate) fn panels(&self) -> Result<Panels> {
        let mut panels = Panels::new(self.len(), self.dim)?;
        let ids: Vec<u32> = (0..self.len() as u32).collect();
        self.pack(&ids, &mut panels);
        Ok(panels)
    }
}
