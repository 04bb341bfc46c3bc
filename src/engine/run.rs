//! A run: an immutable, sealed range of items in list order, with their codes.
//!
//! A run is made by a rebuild (merge, compaction, training) and named in the manifest by its directory object, which
//! lists everything else. Resident are the directory and the ids; codes, vectors and payload are read through the
//! cache. Rows are local to the run here, `0..count`; a snapshot adds the base.
//!
//! ```text
//! directory  u8 version, u32 count, u32 dimension, u32 rows per extent, u32 lists, u32 x lists lengths,
//!            blob ids, cut codes, u8 flags (1 = vectors, 2 = payload, 4 = vectors in float16),
//!            [cut vectors], [blob payload index, blob payload]
//! ```

use std::sync::Arc;

use super::blob::Blob;
use super::cache::{Cache, Class};
use super::cut::Cut;
use super::extents::Extents;
use super::generation::Generation;
use super::ids::IdColumn;
use super::payload::Payload;
use super::region::{Part, Region, Scratch, Unit};
use super::wire::{Put, Reader};
use crate::crypto::{ObjectRef, Vault};
use crate::error::{Error, Result};
use crate::kernels::{self, LANES};
use crate::types::{IdKind, VectorPrecision};

const VERSION: u8 = 3;
const HAS_VECTORS: u8 = 1;
const HAS_PAYLOAD: u8 = 2;
const FLOAT16: u8 = 4;

/// Codes of an extent end on a border of so many bytes: how much is read of a list tells its length no closer.
pub(super) const GRANULE: usize = 1024;

/// Bytes of the codes of `rows` rows in blocks of `block` bytes, with the zeroes behind them.
pub(super) fn codes_len(rows: usize, block: usize) -> usize {
    (rows.div_ceil(LANES) * block).next_multiple_of(GRANULE)
}

/// What the directory object of a run lists.
pub(super) struct RunParts {
    pub(super) dimension: u32,
    pub(super) rows_per_extent: u32,
    pub(super) list_lens: Vec<u32>,
    pub(super) ids: Blob,
    pub(super) codes: Cut,
    /// Absent where the codes are the vectors (flat).
    pub(super) vectors: Option<Cut>,
    /// Of `vectors`.
    pub(super) precision: VectorPrecision,
    /// Index and data; absent when no item has metadata or contents.
    pub(super) payload: Option<(Blob, Blob)>,
}

impl RunParts {
    /// Plaintext of the directory object.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u8(VERSION);
        out.put_u32(self.list_lens.iter().sum());
        out.put_u32(self.dimension);
        out.put_u32(self.rows_per_extent);
        out.put_u32(self.list_lens.len() as u32);
        self.list_lens.iter().for_each(|&l| out.put_u32(l));
        self.ids.write(&mut out);
        self.codes.write(&mut out);
        let float16 = self.vectors.is_some() && self.precision == VectorPrecision::F16;
        let flags = [(self.vectors.is_some(), HAS_VECTORS), (self.payload.is_some(), HAS_PAYLOAD), (float16, FLOAT16)];
        out.put_u8(flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum());
        if let Some(v) = &self.vectors {
            v.write(&mut out);
        }
        if let Some((index, data)) = &self.payload {
            index.write(&mut out);
            data.write(&mut out);
        }
        out
    }

    fn read(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes, "run directory");
        match r.u8()? {
            VERSION => {}
            v => return Err(Error::Version { what: "run directory", got: v.into(), supported: VERSION.into() }),
        }
        let count = r.u32()?;
        let (dimension, rows_per_extent) = (r.u32()?, r.u32()?);
        let lists = r.count(4)?;
        let list_lens = r.u32s(lists)?;
        if list_lens.iter().map(|&l| u64::from(l)).sum::<u64>() != u64::from(count) {
            return Err(Error::Corrupt { what: "run directory" });
        }
        let (ids, codes) = (Blob::describe(&mut r)?, Cut::describe(&mut r)?);
        let flags = r.u8()?;
        let precision = if flags & FLOAT16 == 0 { VectorPrecision::F32 } else { VectorPrecision::F16 };
        if flags & !(HAS_VECTORS | HAS_PAYLOAD | FLOAT16) != 0 || flags & (HAS_VECTORS | FLOAT16) == FLOAT16 {
            return Err(Error::Corrupt { what: "run directory" });
        }
        let vectors = (flags & HAS_VECTORS != 0).then(|| Cut::describe(&mut r)).transpose()?;
        let payload = match flags & HAS_PAYLOAD != 0 {
            true => Some((Blob::describe(&mut r)?, Blob::describe(&mut r)?)),
            false => None,
        };
        r.end()?;
        Ok(Self { dimension, rows_per_extent, list_lens, ids, codes, vectors, precision, payload })
    }

    fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        let blobs = std::iter::once(&self.ids).chain(self.payload.iter().flat_map(|(i, d)| [i, d]));
        let cuts = std::iter::once(&self.codes).chain(&self.vectors);
        blobs.flat_map(Blob::objects).chain(cuts.flat_map(Cut::objects))
    }
}

/// An opened run.
pub(super) struct Run {
    directory: ObjectRef,
    objects: Vec<ObjectRef>,
    pub(super) ids: IdColumn,
    pub(super) extents: Extents,
    codes: Region,
    vectors: Option<Region>,
    precision: VectorPrecision,
    pub(super) payload: Option<Payload>,
    dimension: usize,
}

/// The values of a stored vector.
pub(super) enum Values<'a> {
    F32(&'a [f32]),
    F16(&'a [u16]),
}

impl<'a> Values<'a> {
    /// Of bytes on a border of their type, as every frame starts on one.
    fn new(bytes: &'a [u8], precision: VectorPrecision) -> Self {
        match precision {
            VectorPrecision::F32 => Self::F32(bytemuck::cast_slice(bytes)),
            VectorPrecision::F16 => Self::F16(bytemuck::cast_slice(bytes)),
        }
    }

    fn copy_to(&self, out: &mut [f32]) {
        match self {
            Self::F32(values) => out.copy_from_slice(values),
            Self::F16(values) => kernels::best().from_f16(values, out),
        }
    }
}

/// A stored vector.
pub(super) struct Stored<'s> {
    bytes: Part<'s>,
    precision: VectorPrecision,
}

impl Stored<'_> {
    pub(super) fn values(&self) -> Values<'_> {
        Values::new(&self.bytes, self.precision)
    }
}

impl Run {
    /// Opens the run whose directory object is `directory`, coded by `generation`.
    pub(super) fn open(
        vault: &Arc<Vault>,
        cache: &Arc<Cache>,
        generation: &Generation,
        id_kind: IdKind,
        directory: ObjectRef,
    ) -> Result<Self> {
        let bytes = vault.read_all(&directory)?;
        let parts = RunParts::read(bytes.bytes())?;
        let ids = parts.ids.read_all(vault)?;
        let ids = IdColumn::read(&mut Reader::new(&ids, "ids"), id_kind)?;
        Self::new(vault, cache, generation, directory, parts, ids)
    }

    /// A run whose ids are at hand.
    pub(super) fn new(
        vault: &Arc<Vault>,
        cache: &Arc<Cache>,
        generation: &Generation,
        directory: ObjectRef,
        parts: RunParts,
        ids: IdColumn,
    ) -> Result<Self> {
        let quantizer = &generation.quantizer;
        let extents = Extents::new(&parts.list_lens, parts.rows_per_extent)?;
        let dimension = quantizer.dim();
        if parts.dimension as usize != dimension
            || extents.lists() != generation.centroids.len()
            || ids.len() != extents.row_count() as usize
            || parts.vectors.is_some() != quantizer.needs_rerank()
            // What is read from the border of a frame on stands on one of its type in memory.
            || !parts.codes.payload().is_multiple_of(LANES)
            || parts.vectors.as_ref().is_some_and(|v| !v.payload().is_multiple_of(parts.precision.bytes()))
        {
            return Err(Error::Corrupt { what: "run directory" });
        }
        let objects = parts.objects().cloned().collect();
        let block = quantizer.block_bytes();
        let lens = extents.sizes().map(|n| codes_len(n, block));
        let codes = Region::of_units(vault, cache, Class::Codes, parts.codes, lens)?;
        let vectors = match parts.vectors {
            Some(cut) => {
                let lens = extents.sizes().map(|n| n * dimension * parts.precision.bytes());
                Some(Region::of_units(vault, cache, Class::Rows, cut, lens)?)
            }
            None => None,
        };
        let payload = match parts.payload {
            Some((index, data)) => Some(Payload::new(vault, cache, index, data, ids.len())?),
            None => None,
        };
        let precision = parts.precision;
        Ok(Self { directory, objects, ids, extents, codes, vectors, precision, payload, dimension })
    }

    /// Number of rows.
    pub(super) fn len(&self) -> u32 {
        self.extents.row_count()
    }

    /// The object that names all others.
    pub(super) fn directory(&self) -> &ObjectRef {
        &self.directory
    }

    /// Every object of the run, its directory first.
    pub(super) fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        std::iter::once(&self.directory).chain(&self.objects)
    }

    /// Asks for the memory that [`Self::prefetch_codes`] of `list` will look at.
    pub(super) fn prefetch_list(&self, list: usize) {
        self.extents.of_list(list).take(1).for_each(|e| self.codes.prefetch_slot(e));
    }

    /// Asks for `len` bytes of memory where the codes of `list` begin, if they are cached.
    pub(super) fn prefetch_codes(&self, list: usize, len: usize) {
        self.extents.of_list(list).take(1).for_each(|e| self.codes.prefetch_front(e, len));
    }

    /// The code blocks of extent `e`.
    pub(super) fn codes<'s>(&self, e: usize, scratch: &'s mut Scratch) -> Result<Unit<'s>> {
        self.codes.unit(e, scratch)
    }

    /// Position and length of the vector of `row` among the vectors of its extent `e`, in bytes.
    fn vector_at(&self, e: usize, row: u32) -> (usize, usize) {
        let len = self.dimension * self.precision.bytes();
        ((row - self.extents.rows(e).start) as usize * len, len)
    }

    /// The vector of `row` of extent `e`, of a run that keeps vectors beside codes.
    pub(super) fn stored_vector<'s>(&self, e: usize, row: u32, scratch: &'s mut Scratch) -> Result<Stored<'s>> {
        let vectors = self.vectors.as_ref().ok_or(Error::Internal { what: "a run without vectors" })?;
        let (at, len) = self.vector_at(e, row);
        Ok(Stored { bytes: vectors.part(e, at, len, scratch)?, precision: self.precision })
    }

    /// The extent of `row`. Asks for the memory that [`Self::prefetch_vector`] of it will look at.
    pub(super) fn find_vector(&self, row: u32) -> usize {
        let e = self.extents.of_row(row);
        if let Some(vectors) = &self.vectors {
            vectors.prefetch_slot(e);
        }
        e
    }

    /// Asks for the memory that [`Self::stored_vector`] will read, if it is cached.
    pub(super) fn prefetch_vector(&self, e: usize, row: u32) {
        if let Some(vectors) = &self.vectors {
            let (at, len) = self.vector_at(e, row);
            vectors.prefetch(e, at, len);
        }
    }

    /// Copies the vector of `row` to `out`.
    pub(super) fn vector(&self, g: &Generation, row: u32, scratch: &mut Scratch, out: &mut [f32]) -> Result<()> {
        if self.vectors.is_some() {
            self.stored_vector(self.extents.of_row(row), row, scratch)?.values().copy_to(out);
            return Ok(());
        }
        let e = self.extents.of_row(row);
        let at = (row - self.extents.rows(e).start) as usize;
        // One block is enough: a vector's values stand in its block only.
        let block = g.quantizer.block_bytes();
        let part = self.codes.part(e, at / LANES * block, block, scratch)?;
        g.quantizer.decode(g.centroids.row(self.extents.list_of(e)), &part, at % LANES, out);
        Ok(())
    }

    /// Copies all vectors of extent `e`, row-major, to the front of `out`; does not fill the cache.
    pub(super) fn extent_vectors(
        &self,
        g: &Generation,
        e: usize,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> Result<()> {
        let rows = self.extents.rows(e).len();
        let out = &mut out[..rows * self.dimension];
        if let Some(vectors) = &self.vectors {
            let unit = vectors.stream(e, scratch)?;
            Values::new(&unit[..out.len() * self.precision.bytes()], self.precision).copy_to(out);
            return Ok(());
        }
        let unit = self.codes.stream(e, scratch)?;
        let centroid = g.centroids.row(self.extents.list_of(e));
        for (i, v) in out.chunks_exact_mut(self.dimension).enumerate() {
            g.quantizer.decode(centroid, &unit, i, v);
        }
        Ok(())
    }

    /// Extents whose codes stand on a shelf.
    #[cfg(test)]
    pub(super) fn shelved_codes(&self) -> usize {
        self.codes.slots().shelved()
    }

    /// Bytes resident beside the cache, bytes cached, cache misses.
    pub(super) fn memory(&self) -> (u64, u64, u64) {
        let mut cached = self.codes.slots().usage();
        for u in self.vectors.iter().map(|v| v.slots().usage()).chain(self.payload.iter().map(Payload::usage)) {
            cached = (cached.0 + u.0, cached.1 + u.1);
        }
        (self.ids.memory() + self.extents.memory(), cached.0, cached.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs of version 2 had codes and vectors in frames of one size; a build of now must say so, not call them damaged.
    #[test]
    fn a_directory_of_another_version_is_named_as_such() {
        for version in [0, 1, 2, 4, 255] {
            let read = RunParts::read(&[version; 64]).map(|_| ());
            assert!(
                matches!(read, Err(Error::Version { got, supported: 3, .. }) if got == u32::from(version)),
                "{version}"
            );
        }
    }

    #[test]
    fn codes_end_on_a_border_and_never_short() {
        for (rows, block) in [(1, 1), (16, 832), (17, 832), (200, 832), (164, 6400), (15, 1024)] {
            let (len, blocks) = (codes_len(rows, block), rows.div_ceil(LANES) * block);
            assert!(len.is_multiple_of(GRANULE) && (blocks..blocks + GRANULE).contains(&len));
        }
    }
}
