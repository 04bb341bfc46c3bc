//! A generation: one trained layout. Centroids, quantizer and the recall curve measured when it was made.
//!
//! ```text
//! object  u8 version, u64 number, u64 items when trained, u32 lists, u32 dimension,
//!         f32 x lists x dimension centroids, u32 length, quantizer, recall curve
//! ```

use super::curve::RecallCurve;
use super::wire::{Put, Reader};
use crate::error::{Error, Result};
use crate::ivf::Centroids;
use crate::quant::Quantizer;
use crate::types::{MAX_DIMENSION, MAX_LISTS, Similarity, VectorPrecision};

const VERSION: u8 = 1;

/// One layout of an index. Number 0 is the untrained one: a single list, flat codes, exact search.
pub(super) struct Generation {
    pub(super) number: u64,
    /// Items the index held when this was trained: what growth is measured against.
    pub(super) items: u64,
    pub(super) centroids: Centroids,
    pub(super) quantizer: Quantizer,
    pub(super) curve: RecallCurve,
}

impl Generation {
    /// Generation 0 of an index of `dim` dimensions.
    pub(super) fn untrained(similarity: Similarity, precision: VectorPrecision, dim: usize) -> Result<Self> {
        Ok(Self {
            number: 0,
            items: 0,
            centroids: Centroids::new(dim, vec![0.0; dim])?,
            quantizer: Quantizer::flat(similarity, dim, precision),
            curve: RecallCurve::default(),
        })
    }

    /// Number of lists.
    pub(super) fn lists(&self) -> usize {
        self.centroids.len()
    }

    /// Plaintext of the generation object.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u8(VERSION);
        out.put_u64(self.number);
        out.put_u64(self.items);
        out.put_u32(self.centroids.len() as u32);
        out.put_u32(self.centroids.dim() as u32);
        out.put_f32s(self.centroids.rows());
        let mut quantizer = Vec::new();
        self.quantizer.write(&mut quantizer);
        out.put_u32(quantizer.len() as u32);
        out.extend_from_slice(&quantizer);
        self.curve.write(&mut out);
        out
    }

    /// Reads a generation object.
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes, "generation");
        let corrupt = Error::Corrupt { what: "generation" };
        match r.u8()? {
            VERSION => {}
            v => return Err(Error::Version { what: "generation", got: v.into(), supported: VERSION.into() }),
        }
        let (number, items) = (r.u64()?, r.u64()?);
        let (lists, dim) = (r.u32()?, r.u32()?);
        if !(1..=MAX_LISTS).contains(&lists) || !(1..=MAX_DIMENSION).contains(&dim) {
            return Err(corrupt);
        }
        let rows = r.f32s(lists as usize * dim as usize)?;
        let len = r.count(1)?;
        let quantizer = Quantizer::read(r.bytes(len)?)?;
        let curve = RecallCurve::read(&mut r)?;
        r.end()?;
        if quantizer.dim() != dim as usize {
            return Err(corrupt);
        }
        Ok(Self { number, items, centroids: Centroids::new(dim as usize, rows)?, quantizer, curve })
    }
}
