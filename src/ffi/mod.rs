//! The C ABI, and nothing else: check what came from C, borrow it, call the engine, write the answer out.
//!
//! One file owns one noun, in the order of `include/cyborg.h`, which cbindgen makes of these files (`tests/header.rs`).
//! The `//!` page of a noun's file becomes its banner in the header and every `///` its manual entry, so both are
//! written for C readers. The support files own what all nouns share: `handle` the table that makes a stale handle
//! an error, `guard` the panic boundary, `read` every raw pointer.
//!
//! Invariants: no Rust enum, `bool` or reference is ever received from C; nothing unwinds out; on failure every
//! out-handle is NULL.
#![allow(unsafe_code, reason = "the C boundary takes raw pointers")]
#![allow(non_camel_case_types, reason = "types carry their C names, so that header and source read the same")]
#![allow(clippy::missing_safety_doc, reason = "the contract of every function is its manual entry in the header")]
#![allow(rustdoc::broken_intra_doc_links, reason = "the manual is for C readers, whose brackets are array elements")]

#[cfg(panic = "abort")]
compile_error!("cyborg must be built with panic = \"unwind\": the C boundary turns panics into statuses");

#[cfg(not(target_pointer_width = "64"))]
compile_error!("handles need 64-bit pointers");

mod guard;
mod handle;
mod read;

pub mod call;
pub mod columns;
pub mod db;
pub mod describe;
pub mod error;
pub mod index;
pub mod items;
pub mod model;
pub mod names;
pub mod queue;
pub mod record;
pub mod search;
pub mod training;
pub mod upkeep;
pub mod version;
