//! Float kernels with AVX2, FMA and F16C: pairs, rows, the candidate filter, float16. Flat blocks: see `flat.rs`.
//!
//! Stored vectors are float32 or float16, which a load widens: one body for both. Every sum runs in several registers at once, because one FMA takes 4 cycles and two start each cycle.

use std::arch::x86_64::*;

use crate::types::Similarity;

/// Floats in a register.
pub(super) const WIDTH: usize = 8;

/// A stored number; `u16` holds the bits of a float16.
pub(super) trait Stored: Copy {
    /// 8 values.
    ///
    /// # Safety
    /// The CPU has the instructions of this level, and 8 values lie at `at`.
    unsafe fn load(at: *const Self) -> __m256;

    /// The first `left` values (8 when there are more), then 0.
    ///
    /// # Safety
    /// As for `load`, for `left` values; nothing behind them is touched.
    unsafe fn load_some(left: usize, at: *const Self) -> __m256;
}

impl Stored for f32 {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn load(at: *const Self) -> __m256 {
        // SAFETY: as the caller says.
        unsafe { _mm256_loadu_ps(at) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn load_some(left: usize, at: *const Self) -> __m256 {
        // SAFETY: as the caller says.
        unsafe { _mm256_maskload_ps(at, first_lanes(left)) }
    }
}

impl Stored for u16 {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn load(at: *const Self) -> __m256 {
        // SAFETY: as the caller says.
        _mm256_cvtph_ps(unsafe { _mm_loadu_si128(at.cast()) })
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn load_some(left: usize, at: *const Self) -> __m256 {
        let mut some = [0u16; WIDTH];
        // SAFETY: as the caller says, and at most 8 values are copied into 8 places.
        unsafe { std::ptr::copy_nonoverlapping(at, some.as_mut_ptr(), left.min(WIDTH)) };
        // SAFETY: 8 values.
        unsafe { Self::load(some.as_ptr()) }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn dot<T: Stored>(a: &[f32], b: &[T]) -> f32 {
    pair::<T, false>(a, b)
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn l2<T: Stored>(a: &[f32], b: &[T]) -> f32 {
    pair::<T, true>(a, b)
}

/// Adds the products (or squared differences) of 8 values to `sum`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn step<const L2: bool>(sum: __m256, x: __m256, y: __m256) -> __m256 {
    if L2 {
        let d = _mm256_sub_ps(x, y);
        _mm256_fmadd_ps(d, d, sum)
    } else {
        _mm256_fmadd_ps(x, y, sum)
    }
}

/// A mask of the first `left` (at most 8) lanes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn first_lanes(left: usize) -> __m256i {
    _mm256_cmpgt_epi32(_mm256_set1_epi32(left.min(WIDTH) as i32), _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0))
}

/// The sums of four registers, in order.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn four_sums(s: [__m256; 4]) -> __m128 {
    let pairs = _mm256_hadd_ps(_mm256_hadd_ps(s[0], s[1]), _mm256_hadd_ps(s[2], s[3]));
    _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps::<1>(pairs))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn pair<T: Stored, const L2: bool>(a: &[f32], b: &[T]) -> f32 {
    let n = a.len().min(b.len());
    let (a, b) = (a.as_ptr(), b.as_ptr());
    let mut sums = [_mm256_setzero_ps(); 4];
    let mut j = 0;
    while j + 4 * WIDTH <= n {
        for (c, sum) in sums.iter_mut().enumerate() {
            let at = j + c * WIDTH;
            // SAFETY: `at + 8 <= n`, the length of both slices.
            let (x, y) = unsafe { (_mm256_loadu_ps(a.add(at)), T::load(b.add(at))) };
            *sum = step::<L2>(*sum, x, y);
        }
        j += 4 * WIDTH;
    }
    for sum in &mut sums {
        if j >= n {
            break;
        }
        // SAFETY: `n - j` values are left of both slices.
        let (x, y) = unsafe { (f32::load_some(n - j, a.add(j)), T::load_some(n - j, b.add(j))) };
        *sum = step::<L2>(*sum, x, y);
        j += WIDTH;
    }
    let four = four_sums(sums);
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn rows<T: Stored>(similarity: Similarity, query: &[f32], rows: &[T], out: &mut [f32]) {
    match similarity {
        Similarity::L2 => rows_by::<T, true>(query, rows, out),
        Similarity::Dot => rows_by::<T, false>(query, rows, out),
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
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
#[target_feature(enable = "avx2,fma,f16c")]
fn four_rows<T: Stored, const L2: bool>(query: &[f32], rows: &[T]) -> __m128 {
    let dim = query.len();
    assert_eq!(rows.len(), 4 * dim);
    let (query, rows) = (query.as_ptr(), rows.as_ptr());
    let mut sums = [[_mm256_setzero_ps(); 4]; 2];
    let mut j = 0;
    while j + 2 * WIDTH <= dim {
        for (c, sums) in sums.iter_mut().enumerate() {
            let at = j + c * WIDTH;
            // SAFETY: `at + 8 <= dim`, so the query and each of the four rows have 8 values there.
            let q = unsafe { _mm256_loadu_ps(query.add(at)) };
            for (r, sum) in sums.iter_mut().enumerate() {
                if c == 0 {
                    _mm_prefetch::<_MM_HINT_T0>(rows.wrapping_add((4 + r) * dim + at).cast());
                }
                // SAFETY: as above.
                *sum = step::<L2>(*sum, unsafe { T::load(rows.add(r * dim + at)) }, q);
            }
        }
        j += 2 * WIDTH;
    }
    for sums in &mut sums {
        if j >= dim {
            break;
        }
        // SAFETY: `dim - j` values are left of the query and of each row.
        let q = unsafe { f32::load_some(dim - j, query.add(j)) };
        for (r, sum) in sums.iter_mut().enumerate() {
            // SAFETY: as above.
            *sum = step::<L2>(*sum, unsafe { T::load_some(dim - j, rows.add(r * dim + j)) }, q);
        }
        j += WIDTH;
    }
    for r in 0..4 {
        sums[0][r] = _mm256_add_ps(sums[0][r], sums[1][r]);
    }
    four_sums(sums[0])
}

/// Scores that are tested together.
const TESTED: usize = 4 * WIDTH;

/// Candidates are few, so one branch tests 32 scores, and the bits of the rare hits are walked.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn above(
    scores: &[f32],
    threshold: f32,
    first: u32,
    out_scores: &mut [f32],
    out_index: &mut [u32],
) -> usize {
    let least = _mm256_set1_ps(threshold);
    let mut count = 0;
    let mut walk = |scores: &[f32], mut over: u32, before: usize| {
        while over != 0 {
            let lane = over.trailing_zeros() as usize;
            out_scores[count] = scores[lane];
            out_index[count] = first.wrapping_add((before + lane) as u32);
            count += 1;
            over &= over - 1;
        }
    };
    let (many, rest) = scores.as_chunks::<TESTED>();
    for (i, scores) in many.iter().enumerate() {
        let mut over = 0;
        for (g, scores) in scores.as_chunks::<WIDTH>().0.iter().enumerate() {
            // SAFETY: 8 values.
            let values = unsafe { _mm256_loadu_ps(scores.as_ptr()) };
            over |= (_mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(values, least)) as u32) << (g * WIDTH);
        }
        walk(scores, over, i * TESTED);
    }
    for (i, scores) in rest.chunks(WIDTH).enumerate() {
        // SAFETY: the mask keeps the load inside the chunk.
        let values = unsafe { _mm256_maskload_ps(scores.as_ptr(), first_lanes(scores.len())) };
        let over = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(values, least)) as u32;
        walk(scores, over & ((1 << scores.len()) - 1), many.len() * TESTED + i * WIDTH);
    }
    count
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn to_f16(values: &[f32], out: &mut [u16]) {
    for (values, out) in values.chunks(WIDTH).zip(out.chunks_mut(WIDTH)) {
        // SAFETY: the chunk holds that many values.
        let some = unsafe { f32::load_some(values.len(), values.as_ptr()) };
        let mut halves = [0u16; WIDTH];
        // SAFETY: 8 places.
        unsafe { _mm_storeu_si128(halves.as_mut_ptr().cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(some)) };
        out.copy_from_slice(&halves[..out.len()]);
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn from_f16(values: &[u16], out: &mut [f32]) {
    for (values, out) in values.chunks(WIDTH).zip(out.chunks_mut(WIDTH)) {
        let mut floats = [0f32; WIDTH];
        // SAFETY: the chunk holds that many values, and there are 8 places.
        unsafe { _mm256_storeu_ps(floats.as_mut_ptr(), u16::load_some(values.len(), values.as_ptr())) };
        out.copy_from_slice(&floats[..out.len()]);
    }
}
