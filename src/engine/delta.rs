//! A delta: one committed group of writes, not yet merged.
//!
//! One sealed object holds the items upserted and the ids deleted. Deletions come first, then items; an item replaces
//! whatever its id named. That is all an opening needs to replay it. In memory a delta keeps ids and vectors; metadata
//! and contents are read from the object on demand.
//!
//! ```text
//! object  u8 version, u32 dimension, u64 payload index position (0 = no payload), u64 payload data position,
//!         ids of items, ids deleted, f32 x items x dimension vectors, payload index, payload data, zeroes to a frame
//! ```

use std::sync::Arc;

use super::blob::{Blob, frame_for};
use super::cache::Cache;
use super::ids::IdColumn;
use super::payload::{self, Payload};
use super::wire::{Put, Reader};
use crate::buffer::Buffer;
use crate::crypto::{Kind, ObjectRef, Sealed, Vault};
use crate::error::{Error, Result, try_with_capacity};
use crate::types::{IdKind, MAX_DIMENSION};
use zeroize::Zeroizing;

const VERSION: u8 = 1;

/// Items and deletions of one commit, as columns.
pub(super) struct Writes {
    pub(super) dimension: usize,
    pub(super) ids: IdColumn,
    pub(super) deleted: IdColumn,
    /// Items x dimension.
    pub(super) vectors: Buffer,
    /// One entry an item, or none at all when no item has metadata or contents.
    pub(super) entries: Vec<payload::Entry>,
    pub(super) data: Zeroizing<Vec<u8>>,
}

/// A committed group in memory.
pub(super) struct Delta {
    pub(super) object: ObjectRef,
    pub(super) ids: IdColumn,
    pub(super) vectors: Buffer,
    pub(super) payload: Option<Payload>,
    dimension: usize,
}

impl Writes {
    /// Seals the writes and gives their form in memory, with the ids deleted.
    pub(super) fn seal(self, vault: &Arc<Vault>, cache: &Arc<Cache>) -> Result<(Sealed, Delta, IdColumn)> {
        let room = 64
            + (self.ids.memory() + self.deleted.memory()) as usize
            + self.vectors.len()
            + self.entries.len() * payload::ENTRY
            + self.data.len();
        let mut out = Zeroizing::new(try_with_capacity(room + (1 << 16), "delta")?);
        out.put_u8(VERSION);
        out.put_u32(self.dimension as u32);
        let at = out.len();
        out.put_u64(0);
        out.put_u64(0);
        self.ids.write(&mut out);
        self.deleted.write(&mut out);
        out.put_f32s(self.vectors.f32s());
        let (mut index_at, mut data_at) = (0, 0);
        if !self.entries.is_empty() {
            index_at = out.len() as u64;
            self.entries.iter().for_each(|e| e.write(&mut out));
            data_at = out.len() as u64;
            out.extend_from_slice(&self.data);
            out[at..at + 8].copy_from_slice(&index_at.to_le_bytes());
            out[at + 8..at + 16].copy_from_slice(&data_at.to_le_bytes());
        }
        // Whole frames, so that any frame can be opened alone.
        let frame = frame_for(out.len());
        let padded = out.len().next_multiple_of(frame.payload());
        out.resize(padded, 0);
        let sealed = vault.seal(Kind::Delta, frame, &out)?;
        let object = sealed.reference.clone();
        let blob = Blob::single(object.clone());
        let payload = (index_at > 0).then(|| Payload::within(vault, cache, &blob, index_at, data_at));
        let delta = Delta { object, ids: self.ids, vectors: self.vectors, payload, dimension: self.dimension };
        Ok((sealed, delta, self.deleted))
    }
}

impl Delta {
    /// Opens a delta; also gives the ids deleted.
    pub(super) fn open(
        vault: &Arc<Vault>,
        cache: &Arc<Cache>,
        id_kind: IdKind,
        object: ObjectRef,
    ) -> Result<(Self, IdColumn)> {
        let bytes = vault.read_all(&object)?;
        let mut r = Reader::new(bytes.bytes(), "delta");
        match r.u8()? {
            VERSION => {}
            v => return Err(Error::Version { what: "delta", got: v.into(), supported: VERSION.into() }),
        }
        let dimension = r.u32()?;
        let (index_at, data_at) = (r.u64()?, r.u64()?);
        let ids = IdColumn::read(&mut r, id_kind)?;
        let deleted = IdColumn::read(&mut r, id_kind)?;
        if dimension > MAX_DIMENSION || (dimension == 0 && ids.len() > 0) {
            return Err(Error::Corrupt { what: "delta" });
        }
        let values = r.f32s(ids.len() * dimension as usize)?;
        let mut vectors = Buffer::zeroed(values.len() * 4, "delta")?;
        vectors.f32s_mut().copy_from_slice(&values);
        drop(Zeroizing::new(values));
        let blob = Blob::single(object.clone());
        let payload = (index_at > 0).then(|| Payload::within(vault, cache, &blob, index_at, data_at));
        Ok((Self { object, ids, vectors, payload, dimension: dimension as usize }, deleted))
    }

    /// Number of items.
    pub(super) fn len(&self) -> u32 {
        self.ids.len() as u32
    }

    /// The vector of item `i`.
    pub(super) fn vector(&self, i: u32) -> &[f32] {
        let at = i as usize * self.dimension;
        &self.vectors.f32s()[at..at + self.dimension]
    }

    /// Bytes resident.
    pub(super) fn memory(&self) -> u64 {
        self.ids.memory() + self.vectors.len() as u64
    }
}
