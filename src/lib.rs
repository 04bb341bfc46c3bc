//! cyborg: an encrypted vector index that programs link.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr))]

pub mod buffer;
pub mod crypto;
pub mod engine;
pub mod error;
pub mod exec;
pub mod ffi;
pub mod ivf;
pub mod kernels;
pub mod kmeans;
pub mod quant;
pub mod rng;
#[doc(hidden)]
pub mod store;
pub mod types;
