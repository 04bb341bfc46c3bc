//! From integer sums of `RaBitQ` codes to scores with their error bounds, and the word that holds a vector's factors.
//!
//! One loop for every level, compiled for the instructions of each: its steps keep one order and never fuse, so
//! results are equal bit for bit. The word: the high 20 bits are a positive float `mul` (8 bits of exponent, 12 of
//! fraction), the low 12 a positive float `ratio` (5 bits of exponent from 2^-16 up, 7 of fraction).

use super::LANES;

/// The least `ratio`, 2^-16, as bits of a float32.
const RATIO_BASE: u32 = (127 - 16) << 23;

/// What scores of a list are made with.
#[derive(Clone, Copy, Debug)]
pub struct Finish {
    /// Taken from twice each sum.
    pub centre: i32,
    /// What remains is multiplied with it.
    pub scale: f32,
    /// What ratios are multiplied with.
    pub slack: f32,
    /// Added to every score.
    pub offset: f32,
    /// What terms are multiplied with.
    pub weight: f32,
    /// Byte of a block at which 16 words of factors begin, and behind them 16 float32 terms.
    pub factors: usize,
    /// Bytes from one block to the next.
    pub stride: usize,
}

/// The word of two factors: `mul`, not negative, rounded to the nearest (within `2^-13` of itself, subnormals excepted)
/// or to the greatest there is; `ratio` rounded up (by less than `2^-7` of itself), at least 2^-16 and below 2^16.
#[must_use]
pub fn pack_factors(mul: f32, ratio: f32) -> u32 {
    let mul = (mul.to_bits() + (1 << 10)).min(f32::MAX.to_bits()) >> 11;
    let ratio = ratio.to_bits().max(RATIO_BASE) - RATIO_BASE;
    mul << 12 | ratio.div_ceil(1 << 16).min(0xfff)
}

/// `mul` and `ratio` of [`pack_factors`].
#[inline(always)]
#[must_use]
pub fn unpack_factors(word: u32) -> (f32, f32) {
    (f32::from_bits((word & 0xffff_f000) >> 1), f32::from_bits(((word & 0xfff) << 16) + RATIO_BASE))
}

/// See [`super::Kernels::finish`].
#[inline(always)]
pub(super) fn finish(with: &Finish, sums: &[i32], blocks: &[u8], out: &mut [f32]) {
    let (sums, out) = (sums.as_chunks::<LANES>().0, out.as_chunks_mut::<LANES>().0);
    for (b, (sums, out)) in sums.iter().zip(out).enumerate() {
        let words = &blocks[b * with.stride + with.factors..];
        let (words, terms) = words.split_at(LANES * 4);
        let (words, terms) = (words.as_chunks::<4>().0, terms[..LANES * 4].as_chunks::<4>().0);
        for v in 0..LANES {
            let (mul, ratio) = unpack_factors(u32::from_le_bytes(words[v]));
            let product = with.scale * (sums[v] << 1).wrapping_sub(with.centre) as f32;
            let term = with.weight * f32::from_le_bytes(terms[v]);
            out[v] = with.offset + mul * (product + ratio * with.slack) + term;
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
pub(super) fn finish_avx2(with: &Finish, sums: &[i32], blocks: &[u8], out: &mut [f32]) {
    finish(with, sums, blocks, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
pub(super) fn finish_avx512(with: &Finish, sums: &[i32], blocks: &[u8], out: &mut [f32]) {
    finish(with, sums, blocks, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Level, at};
    use crate::rng::Rng;

    #[test]
    fn factors_come_back_within_their_rounding() {
        for mul in [0.0, 1e-30, 0.3, 1.0, 1.999_99, 7e5, 1e30, f32::MAX] {
            for ratio in [0.004_f32, 0.1, 1.0, 1.999, 300.0] {
                let (m, r) = unpack_factors(pack_factors(mul, ratio));
                assert!((m - mul).abs() <= mul / 8192.0 && m.is_finite(), "{mul} became {m}");
                assert!(r >= ratio && r <= ratio * (1.0 + 1.0 / 128.0), "{ratio} became {r}");
            }
        }
        assert!(unpack_factors(pack_factors(1.0, 1e9)).1 < 65536.0 && unpack_factors(pack_factors(1.0, 0.0)).1 > 0.0);
    }

    #[test]
    fn every_level_finishes_alike() {
        let mut rng = Rng::new(4);
        let (factors, stride) = (64, 192);
        let with = Finish { centre: 77, scale: 0.3, slack: 0.9, offset: -4.0, weight: 0.7, factors, stride };
        let mut blocks = vec![0u8; 3 * stride];
        let sums: Vec<i32> = (0..48).map(|_| rng.next_u64() as i32 >> 12).collect();
        let mut want = Vec::new();
        for (i, &sum) in sums.iter().enumerate() {
            let (mul, ratio, term) = (rng.unit_f32(), rng.unit_f32(), rng.unit_f32() - 0.5);
            let at = i / LANES * stride + factors + i % LANES * 4;
            let word = pack_factors(mul, ratio);
            blocks[at..at + 4].copy_from_slice(&word.to_le_bytes());
            blocks[at + 64..][..4].copy_from_slice(&term.to_le_bytes());
            let (mul, ratio) = unpack_factors(word);
            want.push((-4.0 + mul * (0.3 * (2 * sum - 77) as f32 + ratio * 0.9) + 0.7 * term).to_bits());
        }
        for kernels in Level::ALL.into_iter().filter_map(at) {
            let mut out = vec![0.0; 48];
            kernels.finish(&with, &sums, &blocks, &mut out);
            assert!(out.iter().map(|x| x.to_bits()).eq(want.iter().copied()), "{}", kernels.name());
        }
    }
}
