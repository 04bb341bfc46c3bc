//! A generation: one trained layout. Centroids, quantizer and the recall curve measured when it was made.
//!
//! ```text
//! object  u8 version, u64 number, u64 items when trained, u64 writes when the curve was measured, u32 lists, u32 dimension,
//!         f32 x lists x dimension centroids, u8 has resultants, [f32 x lists], u8 has biases of the order,
//!         [f32 x lists], u8 has biases of the stopping rule, [f32 x lists], u32 length, quantizer, recall curve
//! ```

use super::bias::Biases;
use super::curve::RecallCurve;
use super::manifest::Config;
use super::wire::{Put, Reader};
use crate::error::{Error, Result};
use crate::ivf::{Centroids, Relative};
use crate::quant::Quantizer;
use crate::types::{MAX_DIMENSION, MAX_LISTS, Metric, Similarity, VectorPrecision};

const VERSION: u8 = 3;
/// The version that has no biases.
const UNBIASED: u8 = 2;
/// How many times less than the squared error of codes that of a rounded centroid must be to stand for it. Both meet the
/// query less a near vector, or vectors of length 1: with all scores of a list off by it, it adds less than 1 % to their
/// spread. (The rounding of the query, about that of codes of 8 bits, is not counted.)
const FAR_BELOW: f64 = 64.0;
/// What making up for codes does not raise a wished recall above.
const MOST_RECALL: f32 = 0.9999;

/// One layout of an index. Number 0 is the untrained one: a single list, flat codes, exact search.
pub(super) struct Generation {
    pub(super) number: u64,
    /// Items the index held when this was trained: what growth is measured against.
    pub(super) items: u64,
    /// Items that had been written or deleted when the curve was measured, see `drift`.
    pub(super) measured_at: u64,
    pub(super) centroids: Centroids,
    /// Where centroids were scaled to length 1: how long the mean of each list's unit vectors is. Else empty.
    pub(super) resultants: Vec<f32>,
    /// What lists promise beyond their distance.
    pub(super) biases: Biases,
    pub(super) quantizer: Quantizer,
    pub(super) curve: RecallCurve,
}

impl Generation {
    /// Generation 0 of an index of `dim` dimensions.
    pub(super) fn untrained(similarity: Similarity, precision: VectorPrecision, dim: usize) -> Result<Self> {
        Ok(Self {
            number: 0,
            items: 0,
            measured_at: 0,
            centroids: Centroids::new(dim, vec![0.0; dim])?,
            resultants: Vec::new(),
            biases: Biases::default(),
            quantizer: Quantizer::flat(similarity, dim, precision),
            curve: RecallCurve::default(),
        })
    }

    /// Whether it can be a trained layout of an index of `config`: what one object says and another must not deny.
    pub(super) fn fits(&self, config: &Config) -> bool {
        let Config { dimension, metric, quantizer, vector_precision, .. } = *config;
        self.number > 0
            && self.centroids.dim() == dimension as usize
            && self.quantizer.similarity() == metric.similarity()
            && quantizer.is_none_or(|spec| spec.resolve(dimension) == self.quantizer.spec())
            && self.quantizer.precision().is_none_or(|precision| precision == vector_precision)
            && (self.resultants.is_empty() || metric == Metric::Cosine)
            && (self.biases.is_none() || metric != Metric::InnerProduct)
    }

    /// As [`Self::fits`], for the trained part of a model: the first generation of an index that has written nothing.
    pub(super) fn fits_first(&self, config: &Config) -> bool {
        self.number == 1 && self.measured_at == 0 && self.fits(config)
    }

    /// Number of lists.
    pub(super) fn lists(&self) -> usize {
        self.centroids.len()
    }

    /// Writes into `out` `-|q - m|^2 / 2` of the mean m of every list, from their coarse scores. It differs from that of the
    /// centroid where centroids were scaled to length 1 (and q has it too): the mean of a wide list is short, and farther from
    /// any query.
    pub(super) fn half_squares(&self, scores: &[f32], relative: &Relative, out: &mut Vec<f32>) {
        out.clear();
        let halves = scores.iter().map(|&score| relative.half_square(score));
        if self.resultants.is_empty() {
            out.extend(halves);
        } else {
            out.extend(halves.zip(&self.resultants).map(|(half, r)| r * (half + 1.0) - 0.5 * (1.0 + r * r)));
        }
    }

    /// Whether the coarse score of a list stands for the exact score of its centroid, which is then not read.
    pub(super) fn coarse_suffices(&self) -> bool {
        // Not under inner product: there what the rounding of the query adds grows with centroids, and long ones win.
        let alike = self.quantizer.similarity() == Similarity::L2 || !self.resultants.is_empty();
        alike && self.quantizer.code_error().is_some_and(|error| self.centroids.rounding() * FAR_BELOW <= error)
    }

    /// Whether scoring a list reads its centroid.
    pub(super) fn reads_centroids(&self) -> bool {
        self.quantizer.needs_rerank() && !self.coarse_suffices()
    }

    /// The share of the neighbours that must lie in the lists of a query for `recall` of them among its results: codes
    /// lose some.
    pub(super) fn target(&self, recall: f32) -> f32 {
        (recall + self.quantizer.default_loss()).min(MOST_RECALL.max(recall))
    }

    /// Plaintext of the generation object.
    pub(super) fn write(&self) -> Vec<u8> {
        self.write_with(&self.biases, &self.curve, self.measured_at)
    }

    /// Plaintext of the object of this generation with other `biases` and another `curve`.
    pub(super) fn write_with(&self, biases: &Biases, curve: &RecallCurve, measured_at: u64) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u8(VERSION);
        out.put_u64(self.number);
        out.put_u64(self.items);
        out.put_u64(measured_at);
        out.put_u32(self.centroids.len() as u32);
        out.put_u32(self.centroids.dim() as u32);
        out.put_f32s(self.centroids.rows());
        out.put_u8(u8::from(!self.resultants.is_empty()));
        out.put_f32s(&self.resultants);
        biases.write(&mut out);
        let mut quantizer = Vec::new();
        self.quantizer.write(&mut quantizer);
        out.put_u32(quantizer.len() as u32);
        out.extend_from_slice(&quantizer);
        curve.write(&mut out);
        out
    }

    /// Reads a generation object.
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes, "generation");
        let corrupt = Error::Corrupt { what: "generation" };
        let version = r.u8()?;
        match version {
            UNBIASED | VERSION => {}
            v => return Err(Error::Version { what: "generation", got: v.into(), supported: VERSION.into() }),
        }
        let (number, items, measured_at) = (r.u64()?, r.u64()?, r.u64()?);
        let (lists, dim) = (r.u32()?, r.u32()?);
        if !(1..=MAX_LISTS).contains(&lists) || !(1..=MAX_DIMENSION).contains(&dim) {
            return Err(corrupt);
        }
        let rows = r.f32s(lists as usize * dim as usize)?;
        let resultants = match r.u8()? {
            0 => Vec::new(),
            1 => r.f32s(lists as usize)?,
            _ => return Err(corrupt),
        };
        let biases = match version {
            UNBIASED => Biases::default(),
            _ => Biases::read(&mut r, lists as usize)?,
        };
        let len = r.count(1)?;
        let quantizer = Quantizer::read(r.bytes(len)?)?;
        let curve = RecallCurve::read(&mut r)?;
        r.end()?;
        if quantizer.dim() != dim as usize || !resultants.iter().all(|r| r.is_finite()) {
            return Err(corrupt);
        }
        let mut centroids = Centroids::new(dim as usize, rows)?;
        // Under inner product, that is: cosine has resultants.
        if quantizer.similarity() == Similarity::Dot && resultants.is_empty() {
            centroids = centroids.ranked_by_product()?;
        }
        Ok(Self { number, items, measured_at, centroids, resultants, biases, quantizer, curve })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::options::IndexOptions;
    use crate::exec::{Exec, Watch};
    use crate::quant::Sample;
    use crate::rng::Rng;
    use crate::types::QuantizerSpec;

    #[test]
    fn a_generation_fits_the_configuration_it_was_trained_for_and_no_other() {
        let made = |number, resultants| {
            let untrained = Generation::untrained(Similarity::Dot, VectorPrecision::F32, 3).unwrap();
            Generation { number, resultants, ..untrained }
        };
        let fits = |g: &Generation, o: IndexOptions| g.fits(&Config::new(&o).unwrap());
        let cosine = IndexOptions { dimension: 3, metric: Metric::Cosine, ..IndexOptions::default() };
        let flat = IndexOptions { quantizer: Some(QuantizerSpec::Flat), ..cosine };
        assert!(fits(&made(1, vec![1.0]), cosine) && fits(&made(2, Vec::new()), flat));
        assert!(!fits(&made(0, Vec::new()), cosine), "untrained ones are not stored");
        let inner = IndexOptions { metric: Metric::InnerProduct, ..cosine };
        assert!(fits(&made(1, Vec::new()), inner) && !fits(&made(1, vec![1.0]), inner));
        // Under inner product there are no biases, whose scores would be of one length of query.
        let biases = Biases { order: vec![0.0], near: vec![0.0] };
        assert!(fits(&Generation { biases: biases.clone(), ..made(1, vec![1.0]) }, cosine));
        assert!(!fits(&Generation { biases, ..made(1, Vec::new()) }, inner));
        for other in [
            IndexOptions { metric: Metric::Euclidean, ..cosine },
            IndexOptions { dimension: 4, ..cosine },
            IndexOptions { quantizer: Some(QuantizerSpec::SQ8), ..cosine },
            IndexOptions { vector_precision: VectorPrecision::F16, ..cosine },
        ] {
            assert!(!fits(&made(1, Vec::new()), other), "{other:?}");
        }
    }

    // Builds before biases wrote version 2, which has no place for them.
    #[test]
    fn a_generation_is_read_as_written_with_biases_and_without() {
        let untrained = Generation::untrained(Similarity::Dot, VectorPrecision::F32, 3).unwrap();
        let biases = Biases { order: vec![0.5], near: vec![-0.25] };
        let g = Generation { number: 1, resultants: vec![0.75], biases: biases.clone(), ..untrained };
        let read = Generation::read(&g.write()).unwrap();
        assert_eq!((&read.biases, &read.resultants, read.number), (&biases, &g.resultants, 1));
        let mut bytes = g.write_with(&Biases::default(), &g.curve, 0);
        let at = 1 + 8 + 8 + 8 + 4 + 4 + 3 * 4 + 1 + 4;
        assert_eq!(bytes.drain(at..at + 2).collect::<Vec<u8>>(), [0, 0]);
        assert!(Generation::read(&bytes).is_err(), "version 3 says whether there are biases");
        bytes[0] = UNBIASED;
        let read = Generation::read(&bytes).unwrap();
        assert!(read.biases.is_none() && read.resultants == g.resultants);
        bytes[0] = 1;
        assert!(matches!(Generation::read(&bytes), Err(Error::Version { got: 1, .. })));
    }

    #[test]
    fn coarse_scores_stand_for_exact_ones_where_codes_are_far_coarser() {
        let (exec, dim) = (Exec::new(1), 8);
        let trained = |spread: f32, spec| {
            let mut rng = Rng::new(3);
            let rows: Vec<f32> = (0..40 * dim).map(|_| rng.unit_f32()).collect();
            let centroids = Centroids::new(dim, rows.clone()).unwrap();
            let lists: Vec<u32> = (0..4000).map(|i| i % 40).collect();
            let member = |&list: &u32| rows[list as usize * dim..][..dim].to_vec();
            let rows: Vec<f32> = lists.iter().flat_map(member).map(|x| x + spread * (rng.unit_f32() - 0.5)).collect();
            let (seed, watch) = (1, &Watch::NONE);
            let sample = Sample { rows: &rows, lists: &lists, centroids: &centroids, seed, exec: &exec, watch };
            let quantizer = Quantizer::train(spec, Similarity::L2, &sample).unwrap();
            let untrained = Generation::untrained(Similarity::L2, VectorPrecision::F32, dim).unwrap();
            Generation { number: 1, centroids, quantizer, ..untrained }
        };
        let told = |spread, spec| {
            let g = trained(spread, spec);
            (g.coarse_suffices(), g.reads_centroids())
        };
        assert_eq!(told(1.0, QuantizerSpec::SQ2), (true, false));
        assert_eq!(told(1.0, QuantizerSpec::SQ4), (true, false));
        assert_eq!(told(1.0, QuantizerSpec::SQ8), (false, true));
        assert_eq!(told(0.02, QuantizerSpec::SQ2), (false, true), "lists much narrower than their distances");
        assert_eq!(told(1.0, QuantizerSpec::RaBitQ { bits: 1 }), (false, true));
        assert_eq!(told(1.0, QuantizerSpec::Flat), (false, false));
        let dot = |resultants| {
            let g = trained(1.0, QuantizerSpec::SQ2);
            let mut bytes = Vec::new();
            g.quantizer.write(&mut bytes);
            bytes[1] = 2; // Of the similarity: a product.
            Generation { quantizer: Quantizer::read(&bytes).unwrap(), resultants, ..g }
        };
        assert!(!dot(Vec::new()).coarse_suffices(), "inner product");
        assert!(dot(vec![0.9; 40]).coarse_suffices(), "cosine");
    }

    #[test]
    fn lists_make_up_for_what_codes_lose() {
        let flat = Generation::untrained(Similarity::Dot, VectorPrecision::F32, 3).unwrap();
        assert_eq!((flat.target(0.95), flat.target(0.99999)), (0.95, 0.99999));
    }
}
