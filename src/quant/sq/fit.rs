//! The levels of a dimension: the middle and the step of least squared error on a sample.
//!
//! Evenly spaced levels are a line from codes to values. For given codes the best line is a regression, and coding
//! anew with it never increases the error: Lloyd's iteration, held to a line. It finds the nearest minimum only, so it
//! starts from the best of several ranges, which cut off more or less of the tails. (The step that is best for a
//! normal distribution doubles the error where dimensions are skewed.)

use crate::error::{Result, try_zeroed};
use crate::ivf::bytes::round;
use crate::quant::Sample;

/// Residuals a dimension is fitted to.
const ROWS: usize = 8192;
/// Values fitted to in all, while that leaves a row.
const VALUES: usize = 1 << 24;
/// Dimensions fitted by one work item: their values share cache lines.
const TOGETHER: usize = 16;
/// Shares of the residuals cut off at each end by the ranges tried.
const CUTS: [f64; 7] = [0.0, 0.0001, 0.0005, 0.005, 0.02, 0.06, 0.1];
/// Regressions after the best range.
const ROUNDS: usize = 8;

/// Middle and step of every dimension.
pub(super) fn levels(bits: u32, sample: &Sample<'_>) -> Result<Vec<(f32, f32)>> {
    let Sample { rows, lists, centroids, .. } = *sample;
    let (n, dim) = (lists.len(), centroids.dim());
    let taken = n.min(ROWS).min((VALUES / dim).max(1));
    let largest = rows.iter().fold(0.0f32, |m, x| m.max(x.abs())).clamp(1e-6, f32::MAX / 512.0);
    let mut levels = vec![(0.0, 0.0); dim];
    let mut items: Vec<_> = levels.chunks_mut(TOGETHER).map(|levels| (levels, Ok(()))).collect();
    sample.exec.for_each_chunk(&mut items, 1, |item, one| {
        for (levels, result) in one {
            *result = sample.watch.check().and_then(|()| {
                let first = item * TOGETHER;
                let mut columns: Vec<f32> = try_zeroed(taken * levels.len(), "residuals")?;
                for i in 0..taken {
                    let row = i * n / taken;
                    let centroid = &centroids.row(lists[row] as usize)[first..];
                    let values = rows[row * dim + first..].iter().zip(centroid).take(levels.len());
                    values.enumerate().for_each(|(k, (x, c))| columns[k * taken + i] = x - c);
                }
                let columns = columns.chunks_exact_mut(taken);
                levels.iter_mut().zip(columns).for_each(|(level, values)| *level = fit(bits, values, largest));
                Ok(())
            });
        }
    });
    items.into_iter().try_for_each(|(_, result)| result)?;
    Ok(levels)
}

/// The levels for `values`, residuals of data no value of which is greater than `largest`.
fn fit(bits: u32, values: &mut [f32], largest: f32) -> (f32, f32) {
    values.sort_unstable_by(f32::total_cmp);
    let (last, half) = (values.len() - 1, super::half(bits));
    let ranges = CUTS.map(|cut| {
        let out = (cut * values.len() as f64) as usize;
        Line::new(bits, values[out], values[last - out])
    });
    let ranges = ranges.into_iter().filter(|line| line.step.is_normal()).map(|line| (line.error(values), line));
    let Some((mut least, mut line)) = ranges.min_by(|a, b| a.0.total_cmp(&b.0)) else {
        // A dimension without any spread is exact at a level, and still codes vectors that come later.
        let step = largest / (half + 0.5);
        return (values[0] - 0.5 * step, step);
    };
    for _ in 0..ROUNDS {
        let Some(next) = line.regress(values) else { break };
        let error = next.error(values);
        if error >= least {
            break;
        }
        (least, line) = (error, next);
    }
    (line.middle, line.step * widen(bits, values.len()))
}

/// How much a step fitted to `n` values is widened, because few rows understate what later ones bring. On `GloVe` 1.08
/// was best for 4 bits and 128 rows, 1.02 for 512, nothing to gain for 2 bits; many levels lose little by it.
fn widen(bits: u32, n: usize) -> f32 {
    (1.0 + (1 << (bits - 1)) as f32 / n as f32).min(4.0)
}

/// Evenly spaced levels: code `u` stands for `middle + step * (u - half)`.
#[derive(Clone, Copy)]
struct Line {
    half: f32,
    middle: f32,
    step: f32,
}

impl Line {
    /// Levels from `low` to `high`.
    fn new(bits: u32, low: f32, high: f32) -> Self {
        let half = super::half(bits);
        Self { half, middle: 0.5 * low + 0.5 * high, step: (high - low) / (2.0 * half) }
    }

    /// The level of `value`: its code less half of the greatest.
    #[inline(always)]
    fn level(&self, inverse: f32, value: f32) -> f32 {
        round(((value - self.middle) * inverse).clamp(-self.half, self.half) + self.half) as f32 - self.half
    }

    /// The squared error of `values`, summed in a fixed order.
    fn error(&self, values: &[f32]) -> f64 {
        let inverse = 1.0 / self.step;
        let error = |value: f32| self.middle + self.level(inverse, value) * self.step - value;
        let (chunks, rest) = values.as_chunks::<16>();
        let mut sums = [0f32; 16];
        for chunk in chunks {
            sums.iter_mut().zip(chunk).for_each(|(sum, &value)| *sum += error(value) * error(value));
        }
        sums.iter().copied().chain(rest.iter().map(|&value| error(value) * error(value))).map(f64::from).sum()
    }

    /// The levels of least squared error for the codes that these give `values`.
    fn regress(&self, values: &[f32]) -> Option<Self> {
        let (inverse, n) = (1.0 / self.step, values.len() as f64);
        let [mut u, mut x, mut uu, mut ux] = [0f64; 4];
        for &value in values {
            let (level, value) = (f64::from(self.level(inverse, value)), f64::from(value));
            u += level;
            x += value;
            uu += level * level;
            ux += level * value;
        }
        let step = (ux - u * x / n) / (uu - u * u / n);
        let next = Self { middle: ((x - step * u) / n) as f32, step: step as f32, ..*self };
        (next.middle.is_finite() && next.step.is_normal() && next.step > 0.0).then_some(next)
    }
}
