//! From residuals to codes and factors, 16 vectors at a time, one to a lane.
//!
//! A rotated residual `z` is coded as the `y` on the grid of halves `-(2^B - 1) / 2 .. (2^B - 1) / 2` of least angle
//! to it. That `y` is `t z` rounded for some scale `t` (arXiv 2409.09913, which tries every `t` at which a rounding
//! changes). We try [`TRIES`] scales across the range that holds the best one and as many around the best of those:
//! of the squared sine of the exact search it costs 0.1 % at up to 4 bits, 1.3 % at 6, 3 % at 7 and 10 % at 8 (104
//! dimensions), where the rounding of the query weighs more.

use super::{EPSILON, LEAST_SINES};
use crate::ivf::bytes::round;
use crate::kernels::{LANES, pack_factors, unpack_factors};
use crate::types::Similarity;

/// A value of each of 16 vectors.
pub(super) type Lanes = [f32; LANES];

/// Scales tried in each of two rounds.
const TRIES: usize = 6;
/// Best distance of two levels of a uniform quantizer for normal values, for 2 to 8 bits (Max, 1960).
const NORMAL_STEP: [f32; 7] = [0.9957, 0.5860, 0.3352, 0.1881, 0.1041, 0.0569, 0.0308];

/// What is kept of a vector beside its code.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Factors {
    /// `mul` and `ratio`, see [`pack_factors`].
    pub word: u32,
    /// Of the score, see the head of [`super`].
    pub term: f32,
}

/// Codes rotated residuals `z[j][v]`, given in units of `unit[v]`, into `u`, and gives their factors. `centre` is the
/// rotated centroid, under L2 from the origin.
pub(super) fn encode(
    z: &[Lanes],
    unit: &Lanes,
    centre: &[f32],
    (similarity, bits): (Similarity, u8),
    u: &mut [[u8; LANES]],
) -> [Factors; LANES] {
    let half = 1i32 << (bits - 1);
    let top = half as f32 - 0.5;
    let t = if bits == 1 { [1.0; LANES] } else { scales(z, bits) };
    let (mut zz, mut zy, mut yy) = ([0f64; LANES], [0f64; LANES], [0f64; LANES]);
    let (mut cz, mut cy) = ([0f64; LANES], [0f64; LANES]);
    for ((z, &c), u) in z.iter().zip(centre).zip(u) {
        let c = f64::from(c);
        for v in 0..LANES {
            let size = level(z[v].abs() * t[v], top);
            let y = if z[v] < 0.0 { -size } else { size };
            u[v] = (round(y - 0.5) + half) as u8;
            let (z, y) = (f64::from(z[v]), f64::from(y));
            zz[v] += z * z;
            zy[v] += z * y;
            yy[v] += y * y;
            cz[v] += c * z;
            cy[v] += c * y;
        }
    }
    let deviation = EPSILON / ((z.len() - 1) as f64).sqrt();
    let least = LEAST_SINES[usize::from(bits) - 1];
    std::array::from_fn(|v| {
        let unit = f64::from(unit[v]);
        let mul = if zz[v] > 0.0 { unit * zz[v] / zy[v] } else { 0.0 };
        let sine = if zz[v] > 0.0 { (1.0 - zy[v] * zy[v] / (zz[v] * yy[v])).max(0.0) } else { 0.0 };
        let ratio = deviation * (yy[v] * sine.max(least)).sqrt();
        let word = pack_factors(mul as f32, ratio as f32);
        let coded = f64::from(unpack_factors(word).0) * cy[v];
        let term = match similarity {
            Similarity::L2 => -2.0 * coded - unit * unit * zz[v],
            Similarity::Dot => unit * cz[v] - coded,
        };
        Factors { word, term: term.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32 }
    })
}

/// The level `0.5, 1.5, .. top` nearest to `x`, not negative.
#[inline(always)]
fn level(x: f32, top: f32) -> f32 {
    // Not `f32::min`, which must look for NaN.
    let x = if x < top { x } else { top };
    round(x - 0.5) as f32 + 0.5
}

/// Of each lane the best scale found. Where the best lies, all of 600 normal vectors of 32 to 1024 dimensions say: for
/// few bits near the scale at which levels suit normal values, for many near the one that just clips nothing.
fn scales(z: &[Lanes], bits: u8) -> Lanes {
    let half = (1i32 << (bits - 1)) as f32;
    let (mut most, mut norm) = ([0f32; LANES], [0f32; LANES]);
    for z in z {
        for v in 0..LANES {
            let size = z[v].abs();
            most[v] = if size > most[v] { size } else { most[v] };
            norm[v] += size * size;
        }
    }
    let root = (z.len() as f32).sqrt() / NORMAL_STEP[usize::from(bits) - 2];
    let (mut first, mut step) = ([0f32; LANES], [0f32; LANES]);
    for v in 0..LANES {
        if norm[v] > 0.0 {
            let (normal, whole) = (root / norm[v].sqrt(), half / most[v]);
            first[v] = (0.75 * normal).max(0.8 * whole);
            step[v] = ((1.2 * normal).max(1.03 * whole) - first[v]) / (TRIES - 1) as f32;
        }
    }
    let mut best = Best { t: first, quality: [0.0; LANES] };
    for i in 0..TRIES {
        best.offer(z, half - 0.5, std::array::from_fn(|v| first[v] + i as f32 * step[v]));
    }
    let around = best.t;
    for i in 0..TRIES {
        let place = (2 * i + 1) as f32 / TRIES as f32 - 1.0;
        best.offer(z, half - 0.5, std::array::from_fn(|v| around[v] + place * step[v]));
    }
    best.t
}

/// The best scales so far.
struct Best {
    t: Lanes,
    quality: Lanes,
}

impl Best {
    /// Takes the scales `t` where they make a smaller angle.
    fn offer(&mut self, z: &[Lanes], top: f32, t: Lanes) {
        let (mut zy, mut yy) = ([0f32; LANES], [0f32; LANES]);
        for z in z {
            for v in 0..LANES {
                let size = z[v].abs();
                let y = level(size * t[v], top);
                zy[v] += size * y;
                yy[v] += y * y;
            }
        }
        for v in 0..LANES {
            let quality = zy[v] * zy[v] / yy[v];
            if quality > self.quality[v] {
                (self.t[v], self.quality[v]) = (t[v], quality);
            }
        }
    }
}
