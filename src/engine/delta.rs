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
use crate::buffer::{Buffer, Wiped};
use crate::crypto::{Kind, ObjectRef, Sealed, Vault};
use crate::error::{Error, Result, try_with_capacity};
use crate::types::{IdKind, MAX_DIMENSION};

const VERSION: u8 = 1;
/// Bytes before the ids.
const HEAD: usize = 1 + 4 + 8 + 8;

/// Items and deletions of one commit, as columns.
pub(super) struct Writes {
    pub(super) dimension: usize,
    pub(super) ids: IdColumn,
    pub(super) deleted: IdColumn,
    /// Items x dimension.
    pub(super) vectors: Buffer,
    /// One entry an item, or none at all when no item has metadata or contents.
    pub(super) entries: Vec<payload::Entry>,
    pub(super) data: Wiped,
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
    /// Seals the writes. What is large is sealed from where it lies.
    pub(super) fn seal(&self, vault: &Vault) -> Result<Sealed> {
        let room = HEAD + self.ids.stored_len() + self.deleted.stored_len();
        let mut front = Wiped::new(try_with_capacity(room, "delta")?);
        let (index_at, data_at) = self.payload_at().unwrap_or_default();
        front.put_u8(VERSION);
        front.put_u32(self.dimension as u32);
        front.put_u64(index_at);
        front.put_u64(data_at);
        self.ids.write(&mut front);
        self.deleted.write(&mut front);
        let mut index = Wiped::new(try_with_capacity(self.entries.len() * payload::ENTRY, "delta")?);
        self.entries.iter().for_each(|e| e.write(&mut index));
        let mut swapped = Wiped::default();
        let vectors = if cfg!(target_endian = "little") {
            self.vectors.bytes()
        } else {
            swapped.put_f32s(self.vectors.f32s());
            &swapped
        };
        // Whole frames, so that any frame can be opened alone.
        let len = front.len() + vectors.len() + index.len() + self.data.len();
        let frame = frame_for(len);
        let padding = vec![0; len.next_multiple_of(frame.payload()) - len];
        vault.seal_pieces(Kind::Delta, frame, &[&front, vectors, &index, &self.data, &padding])
    }

    /// Where in the object the payload index and its data begin.
    fn payload_at(&self) -> Option<(u64, u64)> {
        let index_at = HEAD + self.ids.stored_len() + self.deleted.stored_len() + self.vectors.len();
        let data_at = index_at + self.entries.len() * payload::ENTRY;
        (data_at > index_at).then_some((index_at as u64, data_at as u64))
    }

    /// The form in memory of what was sealed as `object`, with the ids deleted.
    pub(super) fn keep(self, vault: &Arc<Vault>, cache: &Arc<Cache>, object: ObjectRef) -> (Delta, IdColumn) {
        let blob = Blob::single(object.clone());
        let payload = self.payload_at().map(|(index, data)| Payload::within(vault, cache, &blob, index, data));
        (Delta { object, ids: self.ids, vectors: self.vectors, payload, dimension: self.dimension }, self.deleted)
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
        let values = r.bytes(ids.len() * dimension as usize * 4)?;
        let mut vectors = Buffer::zeroed(values.len(), "delta")?;
        for (value, bytes) in vectors.f32s_mut().iter_mut().zip(values.as_chunks().0) {
            *value = f32::from_le_bytes(*bytes);
        }
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
