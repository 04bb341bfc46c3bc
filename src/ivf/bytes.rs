//! One byte a dimension: the space in which rows meet centroids as an integer product.
//!
//! A row is `u = round((x - mean) / step) + 128` (u8), a centroid `q = round(factor * c)` (i8) where `c` is the
//! centroid in the same units. Then `bias + sum u q` with `bias = round(-|q|^2 / (2 factor)) - 128 sum q` ranks
//! centroids as their distance does: `|x - c|^2 = |x|^2 - 2 score / factor` in units of `step^2`. All sums are
//! integers, so results are equal bit for bit on every machine; the few float steps keep one order and never fuse. A
//! score fits 32 bits at every dimension: see [`greatest_code`].

use crate::error::{Result, try_zeroed};
use crate::kernels::Panels;

/// Rows looked at to fit the space.
const FIT_ROWS: usize = 8192;
/// Values looked at to fit the space, as long as that leaves [`FIT_LEAST`] rows.
const FIT_VALUES: usize = 1 << 22;
const FIT_LEAST: usize = 256;
/// One row in so many, at least one, may be an outlier.
const FIT_BEYOND: usize = 2048;
/// Adding it to a float32 of at most 2^22 rounds to the nearest whole number, found in the low bits of the sum.
/// `f32::round` is a call on baseline x86-64; this compiles to one vector add.
const ROUND: f32 = 12_582_912.0;

/// Bytes from one byte row to the next: whole groups of 4, as the kernels ask.
pub(crate) const fn stride(dim: usize) -> usize {
    dim.next_multiple_of(4)
}

/// The greatest centroid code at a dimension. Up to 32768 dimensions `1.5 * 127^2 * dim` and the bias stay inside
/// 32 bits; above, 6 bits and a sign do.
fn greatest_code(dim: usize) -> f32 {
    if dim > 32_768 { 63.0 } else { 127.0 }
}

/// `value`, at most 2^22 in size, rounded to the nearest whole number (halves to even).
#[inline]
pub(crate) fn round(value: f32) -> i32 {
    (value + ROUND).to_bits() as i32 - ROUND.to_bits() as i32
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
    pub(crate) fn fit(rows: &[f32], dim: usize) -> Self {
        let n = rows.len() / dim;
        let taken = n.min(FIT_ROWS).min((FIT_VALUES / dim).max(FIT_LEAST));
        let sample = |i: usize| &rows[i * n / taken * dim..][..dim];
        let reach = |mean: &[f32]| -> Vec<f32> {
            let spread = |i| farthest(sample(i), mean);
            (0..taken).map(spread).collect()
        };
        let mut mean = mean_of(dim, (0..taken).map(sample));
        let mut reached = reach(&mean);
        let mut limit = common_reach(&reached);
        if reached.iter().any(|&r| r > limit) {
            // Outliers shift the mean too: once more without them.
            mean = mean_of(dim, (0..taken).filter(|&i| reached[i] <= limit).map(sample));
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
    pub(crate) fn encode(&self, row: &[f32], out: &mut [u8]) -> (i32, bool) {
        let scale = 1.0 / self.step;
        let mut clipped = 0;
        for ((&x, &mean), out) in row.iter().zip(&self.mean).zip(out.iter_mut()) {
            let value = (x - mean) * scale;
            clipped |= u32::from(value.abs() > 127.5);
            *out = (round(value.clamp(-127.0, 127.0)) + 128) as u8;
        }
        // A loop of its own: together neither would become vector code.
        let square = |&u: &u8| (i32::from(u) - 128) * (i32::from(u) - 128);
        (out.iter().map(square).sum(), clipped != 0)
    }

    /// `centroid` in the units of the space, where a byte `u` stands for `u - 128`.
    pub(crate) fn units(&self, centroid: &[f32], out: &mut [f32]) {
        for ((&c, &mean), out) in centroid.iter().zip(&self.mean).zip(out) {
            *out = (c - mean) / self.step;
        }
    }
}

/// The mean of some rows; zeros without any.
fn mean_of<'a>(dim: usize, rows: impl Iterator<Item = &'a [f32]>) -> Vec<f32> {
    let (mut sums, mut count) = (vec![0f64; dim], 0usize);
    for row in rows {
        sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
        count += 1;
    }
    sums.iter().map(|sum| (sum / count.max(1) as f64) as f32).collect()
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
    pub(crate) fn new(centroids: &[f32], dim: usize) -> Result<Self> {
        let n = centroids.len() / dim;
        let mut codes: Vec<i8> = try_zeroed(n * stride(dim), "byte centroids")?;
        let mut biases: Vec<i32> = try_zeroed(n, "byte centroids")?;
        let mut norms: Vec<i32> = try_zeroed(n, "byte centroids")?;
        let zero = vec![0f32; dim];
        let greatest = centroids.chunks_exact(dim).map(|c| farthest(c, &zero)).fold(0f32, f32::max);
        let top = greatest_code(dim);
        let factor = if greatest > 1e-3 { top / greatest } else { 1.0 };
        for (i, (centroid, codes)) in centroids.chunks_exact(dim).zip(codes.chunks_exact_mut(stride(dim))).enumerate() {
            let (mut sum, mut norm) = (0i32, 0i32);
            for (&c, code) in centroid.iter().zip(codes) {
                let q = round((c * factor).clamp(-top, top));
                sum += q;
                norm += q * q;
                *code = q as i8;
            }
            biases[i] = (-0.5 * f64::from(norm) / f64::from(factor)).round() as i32 - 128 * sum;
            norms[i] = norm;
        }
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
