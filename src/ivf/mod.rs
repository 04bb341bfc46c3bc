//! Inverted lists: which list a vector belongs to, which lists a query visits, and which candidates survive a scan.
//!
//! Owns the centroids of a generation ([`Centroids`]), the top-k of a scan ([`TopK`]) and the one-byte space in
//! which rows and centroids meet (`bytes`, shared with [`crate::kmeans`]). Knows no codes, files or keys. Everything
//! here is a pure function of its input: no result depends on threads, SIMD level or the order of a scan.

pub(crate) mod bytes;
mod centroids;
mod coarse;
#[cfg(test)]
mod tests;
mod topk;

pub use centroids::{Centroids, NEAREST_SHARE};
pub(crate) use coarse::quantise_query;
pub use coarse::{ProbeScratch, Relative, TOGETHER, biased};
pub use topk::TopK;
pub(crate) use topk::{Kept, Sieve};
