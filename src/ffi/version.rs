//! Version
//!
//! The header you compile with and the library you run with may differ: compare CYBORG_ABI_VERSION with
//! cyborg_abi_version() at start-up.

use std::ffi::{CString, c_char};
use std::sync::OnceLock;

use super::error::c_text;

/// Major version of this header.
pub const CYBORG_VERSION_MAJOR: u32 = 0;
/// Minor version of this header.
pub const CYBORG_VERSION_MINOR: u32 = 1;
/// Patch version of this header.
pub const CYBORG_VERSION_PATCH: u32 = 0;
/// The three parts in one number that can be compared: major * 1000000 + minor * 1000 + patch.
pub const CYBORG_VERSION_NUMBER: u32 =
    CYBORG_VERSION_MAJOR * 1000000 + CYBORG_VERSION_MINOR * 1000 + CYBORG_VERSION_PATCH;
/// Version of the binary interface, the number in the name of the shared library (libcyborg.so.0). Libraries of one
/// number only ever add to it; 0 may still change with every minor version.
pub const CYBORG_ABI_VERSION: u32 = 0;

/// Version of the library that is running, as "major.minor.patch". Static text.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn cyborg_version() -> *const c_char {
    const TEXT: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    TEXT.as_ptr().cast()
}

/// CYBORG_ABI_VERSION of the library that is running.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn cyborg_abi_version() -> u32 {
    CYBORG_ABI_VERSION
}

/// What is running, as words of the form key=value with one space between: version, simd (instruction set in use), aes
/// (provider of AES-256-GCM), features. For logs and bug reports; new words may be added. Static text.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn cyborg_build_info() -> *const c_char {
    static TEXT: OnceLock<CString> = OnceLock::new();
    let render = || {
        // The feature chooses the provider, see `crypto::provider`.
        let (aes, features) =
            if cfg!(feature = "fast-crypto") { ("aws-lc", "fast-crypto") } else { ("aes-gcm", "none") };
        let simd = crate::kernels::best().name();
        c_text(&format!("version={} simd={simd} aes={aes} features={features}", env!("CARGO_PKG_VERSION")))
    };
    TEXT.get_or_init(render).as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_package() {
        let parts = format!("{CYBORG_VERSION_MAJOR}.{CYBORG_VERSION_MINOR}.{CYBORG_VERSION_PATCH}");
        assert_eq!(parts, env!("CARGO_PKG_VERSION"));
        assert_eq!(CYBORG_VERSION_NUMBER, 1000);
        // SAFETY: static, terminated.
        let text = unsafe { std::ffi::CStr::from_ptr(cyborg_version()) };
        assert_eq!(text.to_str().unwrap(), parts);
    }
}
