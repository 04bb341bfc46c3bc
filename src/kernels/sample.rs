//! Rows of a sample as they come: float32 values into bytes, and sums of rows, in bytes and in float32.
//!
//! One loop for every level, compiled for the instructions of each: dimensions are what goes side by side, so each sum is
//! added up in the order of the rows and results are equal bit for bit.

use super::Kernels;

/// Adding it to a float32 of at most 2^22 rounds to the nearest whole number, found in the low bits of the sum.
/// `f32::round` is a call on baseline x86-64; this compiles to one vector add.
const ROUND: f32 = 12_582_912.0;
/// Most rows of bytes in a sum: so many times 255 just fits 16 bits.
pub const BYTE_ROWS: usize = 256;

/// Sums of float32 rows in float64, about a centre so that squares do not cancel.
#[derive(Clone, Debug, Default)]
pub struct RowSums {
    /// `sum (x - centre)` of each dimension.
    pub sums: Vec<f64>,
    /// `sum (x - centre)^2` of each dimension: one chain of additions for all would be slower than the rest.
    pub squares: Vec<f64>,
}

/// `value`, at most 2^22 in size, rounded to the nearest whole number (halves to even).
#[inline(always)]
#[must_use]
pub fn round(value: f32) -> i32 {
    (value + ROUND).to_bits() as i32 - ROUND.to_bits() as i32
}

impl Kernels {
    /// Writes `round((x - mean) * scale) + 128`, clipped to 1 to 255, of each value of `row`; gives the sum of the squares
    /// of these numbers less 128, wrapping at 32 bits, and whether a value was clipped by more than its rounding.
    /// Lengths are equal.
    pub fn to_bytes(&self, row: &[f32], mean: &[f32], scale: f32, out: &mut [u8]) -> (i32, bool) {
        assert!(row.len() == mean.len() && row.len() == out.len(), "one mean and one place a value");
        // SAFETY: `at` gave the table out, so the CPU has its instructions; the loop looks at its bounds itself.
        unsafe { (self.table.to_bytes)(row, mean, scale, out) }
    }

    /// Adds the bytes of `rows`, each as long as `sums`, to `sums`, which wrap at 16 bits: see [`BYTE_ROWS`].
    pub fn add_bytes(&self, rows: [&[u8]; 4], sums: &mut [u16]) {
        assert!(rows.iter().all(|row| row.len() == sums.len()), "rows of another length");
        // SAFETY: as in `to_bytes`.
        unsafe { (self.table.add_bytes)(rows, sums) }
    }

    /// Adds `rows`, each as long as `centre`, to `sums`, which have been as long from the start.
    pub fn add_rows(&self, rows: [&[f32]; 4], centre: &[f32], sums: &mut RowSums) {
        let lengths = [sums.sums.len(), sums.squares.len()];
        assert!(lengths == [centre.len(); 2], "sums of another length");
        assert!(rows.iter().all(|row| row.len() == centre.len()), "rows of another length");
        // SAFETY: as in `to_bytes`.
        unsafe { (self.table.add_rows)(rows, centre, sums) }
    }
}

#[inline(always)]
pub(super) fn to_bytes(row: &[f32], mean: &[f32], scale: f32, out: &mut [u8]) -> (i32, bool) {
    let mut clipped = 0;
    for ((&x, &mean), out) in row.iter().zip(mean).zip(out.iter_mut()) {
        let value = (x - mean) * scale;
        clipped |= u32::from(value.abs() > 127.5);
        *out = (round(value.clamp(-127.0, 127.0)) + 128) as u8;
    }
    // A loop of its own: together neither would become vector code.
    let square = |&u: &u8| (i32::from(u) - 128) * (i32::from(u) - 128);
    (out.iter().map(square).fold(0, i32::wrapping_add), clipped != 0)
}

/// Four rows to each load and store of the sums.
#[inline(always)]
pub(super) fn add_bytes([a, b, c, d]: [&[u8]; 4], sums: &mut [u16]) {
    for ((((sum, &a), &b), &c), &d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        let four = u16::from(a) + u16::from(b) + u16::from(c) + u16::from(d);
        *sum = sum.wrapping_add(four);
    }
}

/// Four rows to each load and store of the sums.
#[inline(always)]
pub(super) fn add_rows(rows: [&[f32]; 4], centre: &[f32], sums: &mut RowSums) {
    let rows = rows.map(|row| &row[..centre.len()]);
    let places = sums.sums.iter_mut().zip(&mut sums.squares).zip(centre);
    for (d, ((sum, square), &centre)) in places.enumerate() {
        for row in rows {
            let value = f64::from(row[d]) - f64::from(centre);
            *sum += value;
            *square += value * value;
        }
    }
}

/// The loops of this file for one level.
#[cfg(target_arch = "x86_64")]
macro_rules! level {
    ($name:ident, $features:literal) => {
        pub(super) mod $name {
            use crate::kernels::RowSums;

            #[target_feature(enable = $features)]
            pub(in crate::kernels) fn to_bytes(row: &[f32], mean: &[f32], scale: f32, out: &mut [u8]) -> (i32, bool) {
                super::to_bytes(row, mean, scale, out)
            }

            #[target_feature(enable = $features)]
            pub(in crate::kernels) fn add_bytes(rows: [&[u8]; 4], sums: &mut [u16]) {
                super::add_bytes(rows, sums);
            }

            #[target_feature(enable = $features)]
            pub(in crate::kernels) fn add_rows(rows: [&[f32]; 4], centre: &[f32], sums: &mut RowSums) {
                super::add_rows(rows, centre, sums);
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
level!(avx2, "avx2");
#[cfg(target_arch = "x86_64")]
level!(avx512, "avx512f,avx512bw,avx512vl,avx512dq");
