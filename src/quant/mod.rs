//! Quantizers: how the vectors of a list are coded, and how a block of codes is scored.
//!
//! One scheme a file, each a `Scheme`, closed under [`Quantizer`]. All code 16 vectors to a block in the layouts of
//! [`crate::kernels`]. Scores are on the scale of [`Similarity`], greater = nearer, so lists of any scheme rank
//! together with exact scores. Knows no files: [`Quantizer::write`] and [`Quantizer::read`] are the bytes the engine
//! seals, drawn in FORMAT.md.

mod auto;
mod flat;
mod fronts;
mod pq;
mod prepared;
mod rabitq;
mod rotation;
mod sq;
#[cfg(test)]
mod tests;

pub use flat::Flat;
pub use fronts::Fronts;
pub use pq::Pq;
pub use prepared::{Group, Prepared};
pub use rabitq::RaBitQ;
pub use sq::Sq;

use crate::error::{Error, Result};
use crate::exec::{Exec, Watch};
use crate::ivf::Centroids;
use crate::kernels::{Kernels, LANES};
use crate::types::{MAX_DIMENSION, QuantizerKind, QuantizerSpec, Similarity, VectorPrecision};

/// Bytes of the head of a written quantizer: kind u8, similarity u8, zero u16, dimension u32.
const HEAD: usize = 8;
/// Bytes that a thread fits levels of [`Sq`] in: 8192 residuals of 16 dimensions.
const SQ_WORKING: u64 = 8192 * 16 * 4;

/// What a quantizer is fitted to, and with what.
#[derive(Clone, Copy)]
pub struct Sample<'a> {
    /// `n x dim` values, at least one row.
    pub rows: &'a [f32],
    /// The list of each row.
    pub lists: &'a [u32],
    /// Centroids of the lists.
    pub centroids: &'a Centroids,
    /// The same seed and rows give the same quantizer.
    pub seed: u64,
    /// Threads to use.
    pub exec: &'a Exec,
    /// Looked at within some milliseconds of work.
    pub watch: &'a Watch,
}

impl Sample<'_> {
    /// Mean of the centroids.
    fn origin(&self) -> Vec<f32> {
        let mut sums = vec![0f64; self.centroids.dim()];
        for centroid in self.centroids.rows().chunks_exact(self.centroids.dim()) {
            sums.iter_mut().zip(centroid).for_each(|(sum, &c)| *sum += f64::from(c));
        }
        sums.iter().map(|sum| (sum / self.centroids.len() as f64) as f32).collect()
    }
}

/// One way of coding vectors.
trait Scheme {
    /// With all parameters filled in.
    fn spec(&self) -> QuantizerSpec;

    /// Values of a vector.
    fn dim(&self) -> usize;

    /// What its scores are.
    fn similarity(&self) -> Similarity;

    /// Bytes of a block of 16 vectors, a multiple of 64.
    fn block_bytes(&self) -> usize;

    /// Candidates to rank again, as a multiple of k; 0 for exact scores.
    fn default_rerank_mult(&self) -> u32;

    /// See [`Quantizer::code_error`].
    fn code_error(&self) -> Option<f64> {
        None
    }

    /// See [`Quantizer::spread`].
    fn spread(&self, _prepared: &Prepared, _score: f32) -> Option<f32> {
        None
    }

    /// Whether scores are upper bounds, see [`Quantizer::scores_are_bounds`].
    fn scores_are_bounds(&self) -> bool {
        false
    }

    /// See [`Quantizer::encode`]; lengths were checked.
    fn encode(&self, centroid: &[f32], rows: &[f32], first_lane: usize, out: &mut [u8]);

    /// Makes `prepared.query` ready.
    fn prepare(&self, _prepared: &mut Prepared) {}

    /// See [`Quantizer::score`].
    fn score(&self, kernels: &Kernels, prepared: &Prepared, centroid: &[f32], blocks: &[u8], out: &mut [f32]);

    /// See [`Quantizer::score_many`].
    fn score_many(&self, kernels: &Kernels, group: &mut Group<'_>, centroid: &[f32], blocks: &[u8], out: &mut [f32]) {
        for (out, prepared) in out.chunks_exact_mut(out.len() / group.prepared.len()).zip(group.prepared) {
            self.score(kernels, prepared, centroid, blocks, out);
        }
    }

    /// See [`Quantizer::fronts`].
    fn fronts(&self) -> Option<&dyn Fronts> {
        None
    }

    /// Writes into `out` the vector in `lane` of `block`.
    fn decode(&self, centroid: &[f32], block: &[u8], lane: usize, out: &mut [f32]);

    /// Appends what follows the head.
    fn write(&self, _out: &mut Vec<u8>) {}
}

/// How the vectors of an index are coded.
#[derive(Clone, Debug, PartialEq)]
pub enum Quantizer {
    /// The vectors themselves.
    Flat(Flat),
    /// Residuals of 8, 4 or 2 bits a dimension.
    Sq(Sq),
    /// Product quantization of residuals.
    Pq(Pq),
    /// Rotated residuals of 1 to 8 bits a dimension, with error bounds.
    RaBitQ(RaBitQ),
}

impl Quantizer {
    /// Fits a quantizer of `spec`, whose parameters are filled in, to a sample. `Flat` is of float32.
    pub fn train(spec: QuantizerSpec, similarity: Similarity, sample: &Sample<'_>) -> Result<Self> {
        let dim = sample.centroids.dim();
        spec.check(dim as u32)?;
        let n = sample.lists.len();
        if Some(sample.rows.len()) != n.checked_mul(dim) || n == 0 {
            return Err(Error::invalid("row values", sample.rows.len(), "at least one row, one list per row"));
        }
        if let Some(&list) = sample.lists.iter().find(|&&list| list as usize >= sample.centroids.len()) {
            return Err(Error::invalid("list", list, "below the number of centroids"));
        }
        match spec.resolve(dim as u32) {
            QuantizerSpec::Flat => Ok(Self::flat(similarity, dim, VectorPrecision::F32)),
            QuantizerSpec::Sq { bits } => Sq::train(bits, similarity, sample).map(Self::Sq),
            QuantizerSpec::Pq { m, bits, rotation } => Pq::train(similarity, (m, bits, rotation), sample).map(Self::Pq),
            QuantizerSpec::RaBitQ { bits } => Ok(Self::RaBitQ(RaBitQ::train(bits, similarity, sample))),
        }
    }

    /// Most bytes that [`Quantizer::train`] allocates for a sample of `rows` rows of `dim` values on `threads` threads,
    /// the quantizer included.
    #[must_use]
    pub fn fit_memory(spec: QuantizerSpec, dim: usize, rows: u64, threads: usize) -> u64 {
        let working = match spec.resolve(dim as u32) {
            QuantizerSpec::Flat => 0,
            QuantizerSpec::Sq { .. } => threads as u64 * SQ_WORKING,
            QuantizerSpec::Pq { m, bits, rotation } => Pq::fit_memory(dim, (m, bits, rotation), rows, threads as u64),
            QuantizerSpec::RaBitQ { .. } => dim as u64 * 8,
        };
        working + Self::memory(spec, dim)
    }

    /// Bytes of a quantizer, the spare ones of its vectors included.
    #[must_use]
    pub fn memory(spec: QuantizerSpec, dim: usize) -> u64 {
        match spec.resolve(dim as u32) {
            QuantizerSpec::Flat => 0,
            QuantizerSpec::Pq { m, bits, rotation } => Pq::memory(dim as u64, (m, bits, rotation)),
            // Some floats for each dimension; RaBitQ's rotation is of signs.
            QuantizerSpec::Sq { .. } | QuantizerSpec::RaBitQ { .. } => dim as u64 * 64,
        }
    }

    fn scheme(&self) -> &dyn Scheme {
        match self {
            Self::Flat(flat) => flat,
            Self::Sq(sq) => sq,
            Self::Pq(pq) => pq,
            Self::RaBitQ(rabitq) => rabitq,
        }
    }

    /// The quantizer that codes nothing: exact scores, nothing to train. Float16 rounds vectors, so its scores are exact
    /// for those that were rounded before.
    #[must_use]
    pub fn flat(similarity: Similarity, dim: usize, precision: VectorPrecision) -> Self {
        Self::Flat(Flat::new(similarity, dim, precision))
    }

    /// How codes that are the vectors themselves keep them; `None` for the others.
    #[must_use]
    pub fn precision(&self) -> Option<VectorPrecision> {
        match self {
            Self::Flat(flat) => Some(flat.precision()),
            _ => None,
        }
    }

    /// Which scheme, with all parameters filled in.
    #[must_use]
    pub fn spec(&self) -> QuantizerSpec {
        self.scheme().spec()
    }

    /// Values of a vector.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.scheme().dim()
    }

    /// What its scores are.
    #[must_use]
    pub fn similarity(&self) -> Similarity {
        self.scheme().similarity()
    }

    /// Bytes of a block of 16 vectors, a multiple of 64.
    #[must_use]
    pub fn block_bytes(&self) -> usize {
        self.scheme().block_bytes()
    }

    /// Whether scores are estimates, so that the best must be ranked again by the vectors themselves.
    #[must_use]
    pub fn needs_rerank(&self) -> bool {
        !matches!(self, Self::Flat(_))
    }

    /// Candidates to rank again, as a multiple of k; 0 for exact scores.
    #[must_use]
    pub fn default_rerank_mult(&self) -> u32 {
        self.scheme().default_rerank_mult()
    }

    /// Recall at 10 that codes and ranking again [`Quantizer::default_rerank_mult`] times k candidates lose against the
    /// vectors themselves in the same lists, as measured: see the constants of the schemes, and `tests/words.rs`, which
    /// measures it for all of them.
    #[must_use]
    pub fn default_loss(&self) -> f32 {
        match self.spec() {
            QuantizerSpec::Flat | QuantizerSpec::Sq { bits: 8 } => 0.0,
            QuantizerSpec::Sq { bits: 4 } => 0.001,
            QuantizerSpec::Sq { .. } => 0.003,
            QuantizerSpec::Pq { bits: 4, .. } => 0.007,
            QuantizerSpec::Pq { .. } => 0.004,
            QuantizerSpec::RaBitQ { bits: 1 } => 0.012,
            QuantizerSpec::RaBitQ { .. } => 0.003,
        }
    }

    /// Expected squared distance of a vector from what its code says, at least; `None` where it is not known or scores use
    /// no score of the centroid. A score of the centroid whose error is far below serves as well as the exact one.
    #[must_use]
    pub fn code_error(&self) -> Option<f64> {
        self.scheme().code_error()
    }

    /// The usual error (one standard deviation) of a score of the prepared query about `score`; `None` where it is not known.
    #[must_use]
    pub fn spread(&self, prepared: &Prepared, score: f32) -> Option<f32> {
        self.scheme().spread(prepared, score)
    }

    /// Whether scores are upper bounds that hold with high probability: ranking again from the greatest down may stop
    /// at the first that is below the k-th best exact score.
    #[must_use]
    pub fn scores_are_bounds(&self) -> bool {
        self.scheme().scores_are_bounds()
    }

    /// Codes `rows` (`n x dim`), vectors of the list of `centroid`, into the lanes `first_lane..first_lane + n` of the
    /// blocks `out`. Other lanes keep their bytes, so a partly filled block can be filled up.
    pub fn encode(&self, centroid: &[f32], rows: &[f32], first_lane: usize, out: &mut [u8]) {
        let scheme = self.scheme();
        let n = rows.len() / scheme.dim();
        assert_eq!(rows.len(), n * scheme.dim(), "rows are not whole");
        assert!((first_lane + n).div_ceil(LANES) * scheme.block_bytes() <= out.len(), "blocks shorter than rows");
        scheme.encode(centroid, rows, first_lane, out);
    }

    /// Makes `query` (`dim` values) ready; once a query, whatever the number of lists.
    pub fn prepare(&self, query: &[f32], out: &mut Prepared) {
        assert_eq!(query.len(), self.dim(), "query of another dimension");
        out.query.clear();
        out.query.extend_from_slice(query);
        self.scheme().prepare(out);
    }

    /// Scores the `out.len()` lanes of `blocks` (on a 4-byte border; 64 is faster), codes of the list of `centroid`.
    /// Lanes that were never filled score arbitrarily.
    pub fn score(&self, kernels: &Kernels, prepared: &Prepared, centroid: &[f32], blocks: &[u8], out: &mut [f32]) {
        self.scheme().score(kernels, prepared, centroid, blocks, out);
    }

    /// As [`Quantizer::score`] for several queries at once: the scores of each follow each other in `out`, which has as
    /// many places for each of them. Every score is the one that `score` gives, but for the error of `centroid_scores`
    /// where they are given; it does not depend on the other queries.
    pub fn score_many(
        &self,
        kernels: &Kernels,
        group: &mut Group<'_>,
        centroid: &[f32],
        blocks: &[u8],
        out: &mut [f32],
    ) {
        if group.prepared.is_empty() || out.is_empty() {
            return;
        }
        assert!(out.len().is_multiple_of(group.prepared.len()), "places are not alike");
        assert!(group.centroid_scores.is_none_or(|scores| scores.len() == group.prepared.len()), "a score for each");
        self.scheme().score_many(kernels, group, centroid, blocks, out);
    }

    /// How vectors are scored by a part of their codes, where they can be.
    #[must_use]
    pub fn fronts(&self) -> Option<&dyn Fronts> {
        self.scheme().fronts()
    }

    /// Writes into `out` (`dim` values) the vector at `position` of the list of `centroid`, as its code says: exact
    /// for flat codes of float32, see the schemes for the error of the others.
    pub fn decode(&self, centroid: &[f32], blocks: &[u8], position: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.dim(), "vector of another dimension");
        let block = &blocks[position / LANES * self.block_bytes()..][..self.block_bytes()];
        self.scheme().decode(centroid, block, position % LANES, out);
    }

    /// Appends the bytes that [`Quantizer::read`] takes.
    pub fn write(&self, out: &mut Vec<u8>) {
        let similarity = match self.similarity() {
            Similarity::L2 => 1,
            Similarity::Dot => 2,
        };
        out.extend_from_slice(&[self.spec().kind() as u8, similarity, 0, 0]);
        out.extend_from_slice(&(self.dim() as u32).to_le_bytes());
        self.scheme().write(out);
    }

    /// The quantizer of `bytes`, which hold it and nothing else; anything else is `Corrupt`.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let corrupt = Error::Corrupt { what: "quantizer" };
        let Some((head, body)) = bytes.split_first_chunk::<HEAD>() else { return Err(corrupt) };
        let [kind, similarity, 0, 0, d0, d1, d2, d3] = *head else { return Err(corrupt) };
        let similarity = match similarity {
            1 => Similarity::L2,
            2 => Similarity::Dot,
            _ => return Err(corrupt),
        };
        let dim = u32::from_le_bytes([d0, d1, d2, d3]);
        if dim == 0 || dim > MAX_DIMENSION {
            return Err(corrupt);
        }
        let dim = dim as usize;
        let read = match kind {
            k if k == QuantizerKind::Flat as u8 => Flat::read(similarity, dim, body).map(Self::Flat),
            k if k == QuantizerKind::Sq as u8 => Sq::read(similarity, dim, body).map(Self::Sq),
            k if k == QuantizerKind::Pq as u8 => Pq::read(similarity, dim, body).map(Self::Pq),
            k if k == QuantizerKind::RaBitQ as u8 => RaBitQ::read(similarity, dim, body).map(Self::RaBitQ),
            _ => None,
        };
        read.ok_or(corrupt)
    }
}

/// Calls `f(row, lane, block)` for every row that [`Scheme::encode`] is given, for schemes that code row by row.
fn each_lane(
    (dim, block_bytes): (usize, usize),
    rows: &[f32],
    first_lane: usize,
    out: &mut [u8],
    mut f: impl FnMut(&[f32], usize, &mut [u8]),
) {
    for (position, row) in (first_lane..).zip(rows.chunks_exact(dim)) {
        f(row, position % LANES, &mut out[position / LANES * block_bytes..][..block_bytes]);
    }
}

/// The first 4 bytes of `bytes`, which the caller knows to be there.
fn four(bytes: &[u8]) -> [u8; 4] {
    bytes.first_chunk().copied().unwrap_or_default()
}
