//! Asking for memory ahead of its use.

/// Asks the CPU to bring `len` bytes from `at` on into its nearest cache. Nothing happens where it cannot; the address need
/// not be of anything.
#[inline]
pub fn prefetch<T>(at: *const T, len: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..len).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, of SSE, which every x86-64 CPU has; it reads nothing that the program sees and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast::<i8>().wrapping_add(line)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (at, len);
}
