//! Asking the system for larger pages.

/// Size and border of the pages that [`huge_pages`] asks for.
pub const HUGE_PAGE: usize = 2 << 20;

/// Asks the system to back what lies of `len` bytes from `at` on in whole pages of 2 MiB by such pages, once they are
/// touched. Nothing happens where it cannot or must not (Linux: `transparent_hugepage/enabled` is `never`); the address
/// need not be of anything.
pub fn huge_pages<T>(at: *const T, len: usize) {
    #[cfg(target_os = "linux")]
    {
        let at = at.cast::<u8>();
        let before = at.addr().wrapping_neg() % HUGE_PAGE;
        let len = len.saturating_sub(before) / HUGE_PAGE * HUGE_PAGE;
        if len > 0 {
            let first = at.wrapping_add(before).cast_mut().cast();
            // SAFETY: advice on how memory is kept. It changes no byte of it, and fails where there is none.
            unsafe { libc::madvise(first, len, libc::MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (at, len);
}
