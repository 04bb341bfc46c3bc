//! Gives the shared library its name and its list of exported symbols.
//!
//! The name carries the ABI number (`CYBORG_ABI_VERSION`): a program linked with `libcyborg.so.0` never loads a library
//! that broke what it relies on. The version script leaves `cyborg_*` visible and nothing else, so that no symbol of the
//! Rust runtime, SQLite or the crypto library meets one of the host's.

use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/ffi/exports.map");
    let var = |name: &str| std::env::var(name).unwrap_or_default();
    let root = PathBuf::from(var("CARGO_MANIFEST_DIR"));
    match var("CARGO_CFG_TARGET_OS").as_str() {
        "linux" | "android" | "freebsd" | "netbsd" | "openbsd" => {
            println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcyborg.so.0");
            let map = root.join("src/ffi/exports.map");
            println!("cargo::rustc-cdylib-link-arg=-Wl,--version-script={}", map.display());
        }
        "macos" => println!("cargo::rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libcyborg.0.dylib"),
        _ => {}
    }
}
