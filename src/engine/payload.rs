//! Metadata and contents of the items of a run or delta.
//!
//! An index of 16 bytes a row (u64 position, u32 metadata length, u32 contents length with the kind in the top two
//! bits) points into the data, where an item's metadata and contents stand one behind the other. Both are read by
//! frame, on demand.

use std::sync::Arc;

use super::blob::Blob;
use super::cache::Cache;
use super::region::{Region, Scratch, Sequential};
use super::wire::Put;
use crate::crypto::Vault;
use crate::error::{Error, Result};
use crate::types::ContentsKind;

/// Bytes of an index entry. Divides the payload of every frame size, so that an entry never straddles frames.
pub(super) const ENTRY: usize = 16;

/// Where the payload of one item stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) at: u64,
    pub(super) metadata: u32,
    pub(super) contents: u32,
    pub(super) kind: ContentsKind,
}

impl Entry {
    /// Bytes of metadata and contents together.
    pub(super) fn len(&self) -> usize {
        self.metadata as usize + self.contents as usize
    }

    /// Appends the entry.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.put_u64(self.at);
        out.put_u32(self.metadata);
        out.put_u32(self.contents | (self.kind as u32) << 30);
    }

    fn read(b: &[u8]) -> Result<Self> {
        let corrupt = Error::Corrupt { what: "payload index" };
        let (Some(at), Some(m), Some(c)) =
            (b.first_chunk::<8>(), b[8..].first_chunk::<4>(), b[12..].first_chunk::<4>())
        else {
            return Err(corrupt);
        };
        let c = u32::from_le_bytes(*c);
        let kind = ContentsKind::from_number((c >> 30) as u8).ok_or(corrupt)?;
        Ok(Self { at: u64::from_le_bytes(*at), metadata: u32::from_le_bytes(*m), contents: c & 0x3fff_ffff, kind })
    }
}

/// The payload of a run or delta.
pub(super) struct Payload {
    index: Region,
    data: Region,
    /// Where in the blobs the index and the data begin: not 0 when both lie inside one delta object.
    index_at: u64,
    data_at: u64,
}

impl Payload {
    /// The payload of a run of `rows` rows.
    pub(super) fn new(vault: &Arc<Vault>, cache: &Arc<Cache>, index: Blob, data: Blob, rows: usize) -> Result<Self> {
        if index.frames() * (index.frame_payload() as u64) < rows as u64 * ENTRY as u64 {
            return Err(Error::Corrupt { what: "payload index" });
        }
        let (index, data) = (Region::by_frame(vault, cache, index), Region::by_frame(vault, cache, data));
        Ok(Self { index, data, index_at: 0, data_at: 0 })
    }

    /// The payload inside a delta object: the index from byte `index_at`, the data from byte `data_at`.
    pub(super) fn within(vault: &Arc<Vault>, cache: &Arc<Cache>, object: &Blob, index_at: u64, data_at: u64) -> Self {
        let region = || Region::by_frame(vault, cache, object.clone());
        Self { index: region(), data: region(), index_at, data_at }
    }

    /// Where the payload of `row` stands.
    pub(super) fn entry(&self, row: u32, scratch: &mut Scratch) -> Result<Entry> {
        let mut bytes = Vec::with_capacity(ENTRY);
        self.index.append_range(self.index_at + u64::from(row) * ENTRY as u64, ENTRY, scratch, &mut bytes)?;
        Entry::read(&bytes)
    }

    /// Appends bytes `at..at + len` of the data.
    pub(super) fn append(&self, at: u64, len: usize, scratch: &mut Scratch, out: &mut Vec<u8>) -> Result<()> {
        self.data.append_range(self.data_at + at, len, scratch, out)
    }

    /// Bytes cached and cache misses.
    pub(super) fn usage(&self) -> (u64, u64) {
        let (a, b) = (self.index.slots().usage(), self.data.slots().usage());
        (a.0 + b.0, a.1 + b.1)
    }
}

/// Reads the payload of rows front to back, without filling the cache.
pub(super) struct PayloadReader<'a> {
    payload: &'a Payload,
    index: Sequential<'a>,
    data: Sequential<'a>,
}

impl<'a> PayloadReader<'a> {
    /// From the first row on.
    pub(super) fn new(payload: &'a Payload) -> Self {
        Self { payload, index: Sequential::new(&payload.index), data: Sequential::new(&payload.data) }
    }

    /// Where the payload of `row` stands. Uses `out` as memory.
    pub(super) fn entry(&mut self, row: u32, out: &mut Vec<u8>) -> Result<Entry> {
        out.clear();
        self.index.append(self.payload.index_at + u64::from(row) * ENTRY as u64, ENTRY, out)?;
        Entry::read(out)
    }

    /// Leaves metadata and contents of `row` in `out`.
    pub(super) fn read(&mut self, row: u32, out: &mut Vec<u8>) -> Result<Entry> {
        let entry = self.entry(row, out)?;
        out.clear();
        self.data.append(self.payload.data_at + entry.at, entry.len(), out)?;
        Ok(entry)
    }
}
