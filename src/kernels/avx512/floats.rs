//! Float kernels with AVX-512: pairs, rows, the candidate filter, float16. Flat blocks: see `flat.rs`.
//!
//! Stored vectors are float32 or float16, which a load widens: one body for both. Every sum runs in several registers at once, because one FMA takes 4 cycles and two start each cycle.

use std::arch::x86_64::*;

use crate::kernels::LANES;
use crate::types::Similarity;

/// A stored number; `u16` holds the bits of a float16.
pub(super) trait Stored: Copy {
    /// 16 values.
    ///
    /// # Safety
    /// The CPU has the instructions of this level, and 16 values lie at `at`.
    unsafe fn load(at: *const Self) -> __m512;

    /// The values of the lanes in `mask`, 0 in the others.
    ///
    /// # Safety
    /// As for `load`, for the lanes in `mask`; the others are not touched.
    unsafe fn load_some(mask: u16, at: *const Self) -> __m512;
}

impl Stored for f32 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn load(at: *const Self) -> __m512 {
        // SAFETY: as the caller says.
        unsafe { _mm512_loadu_ps(at) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn load_some(mask: u16, at: *const Self) -> __m512 {
        // SAFETY: as the caller says.
        unsafe { _mm512_maskz_loadu_ps(mask, at) }
    }
}

impl Stored for u16 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn load(at: *const Self) -> __m512 {
        // SAFETY: as the caller says.
        _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(at.cast()) })
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn load_some(mask: u16, at: *const Self) -> __m512 {
        // SAFETY: as the caller says.
        _mm512_cvtph_ps(unsafe { _mm256_maskz_loadu_epi16(mask, at.cast()) })
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn dot<T: Stored>(a: &[f32], b: &[T]) -> f32 {
    pair::<T, false>(a, b)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn l2<T: Stored>(a: &[f32], b: &[T]) -> f32 {
    pair::<T, true>(a, b)
}

/// Adds the products (or squared differences) of 16 values to `sum`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn step<const L2: bool>(sum: __m512, x: __m512, y: __m512) -> __m512 {
    if L2 {
        let d = _mm512_sub_ps(x, y);
        _mm512_fmadd_ps(d, d, sum)
    } else {
        _mm512_fmadd_ps(x, y, sum)
    }
}

/// The lanes of a register that hold the last `left` (fewer than 16) values.
#[inline]
fn tail(left: usize) -> u16 {
    (1u16 << left) - 1
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn pair<T: Stored, const L2: bool>(a: &[f32], b: &[T]) -> f32 {
    let n = a.len().min(b.len());
    let (a, b) = (a.as_ptr(), b.as_ptr());
    let mut sums = [_mm512_setzero_ps(); 4];
    let mut j = 0;
    while j + 4 * LANES <= n {
        for (c, sum) in sums.iter_mut().enumerate() {
            let at = j + c * LANES;
            // SAFETY: `at + 16 <= n`, the length of both slices.
            let (x, y) = unsafe { (_mm512_loadu_ps(a.add(at)), T::load(b.add(at))) };
            *sum = step::<L2>(*sum, x, y);
        }
        j += 4 * LANES;
    }
    for sum in &mut sums {
        if j >= n {
            break;
        }
        let mask = if n - j >= LANES { u16::MAX } else { tail(n - j) };
        // SAFETY: the mask keeps the loads inside the `n - j` values left; masked lanes are not touched.
        let (x, y) = unsafe { (_mm512_maskz_loadu_ps(mask, a.add(j)), T::load_some(mask, b.add(j))) };
        *sum = step::<L2>(*sum, x, y);
        j += LANES;
    }
    let [s0, s1, s2, s3] = sums;
    _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn rows<T: Stored>(similarity: Similarity, query: &[f32], rows: &[T], out: &mut [f32]) {
    match similarity {
        Similarity::L2 => rows_by::<T, true>(query, rows, out),
        Similarity::Dot => rows_by::<T, false>(query, rows, out),
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn rows_by<T: Stored, const L2: bool>(query: &[f32], rows: &[T], out: &mut [f32]) {
    let dim = query.len();
    let (four, rest) = out.as_chunks_mut::<4>();
    for (i, out) in four.iter_mut().enumerate() {
        let sums = four_rows::<T, L2>(query, &rows[i * 4 * dim..][..4 * dim]);
        let scores = if L2 { _mm_sub_ps(_mm_setzero_ps(), sums) } else { sums };
        // SAFETY: `out` is four floats.
        unsafe { _mm_storeu_ps(out.as_mut_ptr(), scores) };
    }
    let done = four.len() * 4;
    for (i, out) in rest.iter_mut().enumerate() {
        let sum = pair::<T, L2>(query, &rows[(done + i) * dim..][..dim]);
        *out = if L2 { -sum } else { sum };
    }
}

/// Sums of four rows that follow each other; `rows` holds `4 * query.len()` values. The next four are prefetched.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn four_rows<T: Stored, const L2: bool>(query: &[f32], rows: &[T]) -> __m128 {
    let dim = query.len();
    assert_eq!(rows.len(), 4 * dim);
    let (query, rows) = (query.as_ptr(), rows.as_ptr());
    let mut sums = [[_mm512_setzero_ps(); 4]; 2];
    let mut j = 0;
    while j + 2 * LANES <= dim {
        for (c, sums) in sums.iter_mut().enumerate() {
            let at = j + c * LANES;
            // SAFETY: `at + 16 <= dim`, so the query and each of the four rows have 16 values there.
            let q = unsafe { _mm512_loadu_ps(query.add(at)) };
            for (r, sum) in sums.iter_mut().enumerate() {
                _mm_prefetch::<_MM_HINT_T0>(rows.wrapping_add((4 + r) * dim + at).cast());
                // SAFETY: as above.
                *sum = step::<L2>(*sum, unsafe { T::load(rows.add(r * dim + at)) }, q);
            }
        }
        j += 2 * LANES;
    }
    for sums in &mut sums {
        if j >= dim {
            break;
        }
        let mask = if dim - j >= LANES { u16::MAX } else { tail(dim - j) };
        // SAFETY: the mask keeps every load inside the `dim - j` values left of the query and of each row.
        let q = unsafe { _mm512_maskz_loadu_ps(mask, query.add(j)) };
        for (r, sum) in sums.iter_mut().enumerate() {
            // SAFETY: as above.
            *sum = step::<L2>(*sum, unsafe { T::load_some(mask, rows.add(r * dim + j)) }, q);
        }
        j += LANES;
    }
    let mut halves = [_mm256_setzero_ps(); 4];
    for r in 0..4 {
        let sum = _mm512_add_ps(sums[0][r], sums[1][r]);
        halves[r] = _mm256_add_ps(_mm512_castps512_ps256(sum), _mm512_extractf32x8_ps::<1>(sum));
    }
    let pairs = _mm256_hadd_ps(_mm256_hadd_ps(halves[0], halves[1]), _mm256_hadd_ps(halves[2], halves[3]));
    _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps::<1>(pairs))
}

/// Registers of scores that are tested together.
const TESTED: usize = 4;

/// Candidates are few: one branch asks whether any of 64 scores is one, and only then all 64 are sorted out, without a
/// further branch to guess wrong.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn above(
    scores: &[f32],
    threshold: f32,
    first: u32,
    out_scores: &mut [f32],
    out_index: &mut [u32],
) -> usize {
    assert!(out_scores.len().min(out_index.len()) >= scores.len() + LANES);
    let (out_scores, out_index) = (out_scores.as_mut_ptr(), out_index.as_mut_ptr());
    let least = _mm512_set1_ps(threshold);
    let (many, rest) = scores.as_chunks::<{ TESTED * LANES }>();
    let mut count = 0;
    for (i, scores) in many.iter().enumerate() {
        let mut values = [_mm512_setzero_ps(); TESTED];
        let mut over = [0; TESTED];
        for g in 0..TESTED {
            // SAFETY: 16 of the 64 scores.
            values[g] = unsafe { _mm512_loadu_ps(scores.as_ptr().add(g * LANES)) };
            over[g] = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(values[g], least);
        }
        if over != [0; TESTED] {
            for g in 0..TESTED {
                let first = first.wrapping_add(((i * TESTED + g) * LANES) as u32);
                // SAFETY: `count` is at most the scores seen before, and both outputs have 16 places more than `scores`.
                unsafe { keep(values[g], over[g], first, out_scores.add(count), out_index.add(count)) };
                count += over[g].count_ones() as usize;
            }
        }
    }
    for (i, scores) in rest.chunks(LANES).enumerate() {
        let mask = if scores.len() == LANES { u16::MAX } else { tail(scores.len()) };
        // SAFETY: the mask keeps the load inside the chunk.
        let values = unsafe { _mm512_maskz_loadu_ps(mask, scores.as_ptr()) };
        let over = _mm512_mask_cmp_ps_mask::<_CMP_GT_OQ>(mask, values, least);
        if over != 0 {
            let first = first.wrapping_add(((many.len() * TESTED + i) * LANES) as u32);
            // SAFETY: as above.
            unsafe { keep(values, over, first, out_scores.add(count), out_index.add(count)) };
            count += over.count_ones() as usize;
        }
    }
    count
}

/// Writes the values in `over` and their positions, counted from `first`. `vcompressps` in the register and one full
/// store: the form that writes memory itself is microcode on AMD.
///
/// # Safety
/// The CPU has the instructions of this level, and both outputs have 16 places.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn keep(values: __m512, over: u16, first: u32, scores: *mut f32, index: *mut u32) {
    let lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    let position = _mm512_add_epi32(lanes, _mm512_set1_epi32(first as i32));
    // SAFETY: as the caller says.
    unsafe {
        _mm512_storeu_ps(scores, _mm512_maskz_compress_ps(over, values));
        _mm512_storeu_si512(index.cast(), _mm512_maskz_compress_epi32(over, position));
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn to_f16(values: &[f32], out: &mut [u16]) {
    let n = values.len().min(out.len());
    for j in (0..n).step_by(LANES) {
        let mask = if n - j >= LANES { u16::MAX } else { tail(n - j) };
        // SAFETY: the mask keeps the load and the store inside the `n - j` values left of both slices.
        unsafe {
            let value = _mm512_maskz_loadu_ps(mask, values.as_ptr().add(j));
            let half = _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(value);
            _mm256_mask_storeu_epi16(out.as_mut_ptr().add(j).cast(), mask, half);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) fn from_f16(values: &[u16], out: &mut [f32]) {
    let n = values.len().min(out.len());
    for j in (0..n).step_by(LANES) {
        let mask = if n - j >= LANES { u16::MAX } else { tail(n - j) };
        // SAFETY: the mask keeps the load and the store inside the `n - j` values left of both slices.
        unsafe { _mm512_mask_storeu_ps(out.as_mut_ptr().add(j), mask, u16::load_some(mask, values.as_ptr().add(j))) };
    }
}
