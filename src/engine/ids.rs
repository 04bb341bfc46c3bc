//! Ids in memory: columns of ids by position, and the map from an id to the row that holds it now.
//!
//! The map keeps 8 bytes an entry, a row and 32 bits of the id's hash; the id itself stands once, in the column of
//! its run or delta. With the table's slack that is 10 to 20 bytes an item beside the column (8 bytes and the id).

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::wire::Reader;
use crate::error::{Error, Result, try_with_capacity};
use crate::types::{IdKind, MAX_ID_LEN};

/// Lengths written together.
const LENGTHS: usize = 4096;

/// Ids by position, in their stored form (numbers as 8 little-endian bytes).
pub(super) enum IdColumn {
    /// One data buffer and `len + 1` offsets.
    Bytes { data: Vec<u8>, offsets: Vec<u64> },
    /// 8 bytes an id.
    U64(Vec<[u8; 8]>),
}

impl IdColumn {
    /// An empty column with room for `n` ids.
    pub(super) fn with_capacity(kind: IdKind, n: usize) -> Result<Self> {
        Ok(match kind {
            IdKind::Bytes => {
                let mut offsets = try_with_capacity(n + 1, "ids")?;
                offsets.push(0);
                Self::Bytes { data: Vec::new(), offsets }
            }
            IdKind::U64 => Self::U64(try_with_capacity(n, "ids")?),
        })
    }

    /// An empty column.
    pub(super) fn empty(kind: IdKind) -> Self {
        match kind {
            IdKind::Bytes => Self::Bytes { data: Vec::new(), offsets: vec![0] },
            IdKind::U64 => Self::U64(Vec::new()),
        }
    }

    /// Number of ids.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bytes { offsets, .. } => offsets.len() - 1,
            Self::U64(v) => v.len(),
        }
    }

    /// Id `i`.
    pub(super) fn get(&self, i: usize) -> &[u8] {
        match self {
            Self::Bytes { data, offsets } => &data[offsets[i] as usize..offsets[i + 1] as usize],
            Self::U64(v) => &v[i],
        }
    }

    /// Appends an id that was checked to be of this column's kind.
    pub(super) fn push(&mut self, id: &[u8]) {
        match self {
            Self::Bytes { data, offsets } => {
                data.extend_from_slice(id);
                offsets.push(data.len() as u64);
            }
            Self::U64(v) => {
                let mut n = [0; 8];
                n.copy_from_slice(id);
                v.push(n);
            }
        }
    }

    /// Bytes held.
    pub(super) fn memory(&self) -> u64 {
        match self {
            Self::Bytes { data, offsets } => (data.capacity() + offsets.capacity() * 8) as u64,
            Self::U64(v) => v.capacity() as u64 * 8,
        }
    }

    /// Makes room for ids of `bytes` bytes together, where their length is not known from their number.
    pub(super) fn reserve_data(&mut self, bytes: usize) -> Result<()> {
        if let Self::Bytes { data, .. } = self {
            let refused = Error::NoMemory { what: "ids", needed: bytes as u64, got: 0 };
            data.try_reserve_exact(bytes).map_err(|_| refused)?;
        }
        Ok(())
    }

    /// Bytes of the stored form.
    pub(super) fn stored_len(&self) -> usize {
        match self {
            Self::Bytes { data, offsets } => 4 + (offsets.len() - 1) * 2 + data.len(),
            Self::U64(v) => 4 + v.len() * 8,
        }
    }

    /// Hands out the ids in their stored form, piece by piece: a u32 count, then u16 lengths and bytes, or 8 bytes each.
    pub(super) fn write_pieces(&self, mut put: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        put(&(self.len() as u32).to_le_bytes())?;
        match self {
            Self::Bytes { data, offsets } => {
                let mut lengths = Vec::with_capacity(LENGTHS * 2);
                for piece in (0..self.len()).step_by(LENGTHS) {
                    lengths.clear();
                    for w in offsets[piece..offsets.len().min(piece + LENGTHS + 1)].windows(2) {
                        lengths.extend_from_slice(&((w[1] - w[0]) as u16).to_le_bytes());
                    }
                    put(&lengths)?;
                }
                put(data)
            }
            Self::U64(v) => put(bytemuck::cast_slice(v)),
        }
    }

    /// Appends the stored form.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        // Appending does not fail.
        let _ = self.write_pieces(|piece| {
            out.extend_from_slice(piece);
            Ok(())
        });
    }

    /// Reads what [`Self::write`] wrote.
    pub(super) fn read(r: &mut Reader<'_>, kind: IdKind) -> Result<Self> {
        let corrupt = Error::Corrupt { what: "ids" };
        match kind {
            IdKind::U64 => {
                let n = r.count(8)?;
                let mut v: Vec<[u8; 8]> = try_with_capacity(n, "ids")?;
                v.extend_from_slice(bytemuck::cast_slice(r.bytes(n * 8)?));
                Ok(Self::U64(v))
            }
            IdKind::Bytes => {
                let n = r.count(3)?;
                let mut offsets: Vec<u64> = try_with_capacity(n + 1, "ids")?;
                let mut end = 0u64;
                offsets.push(0);
                for l in r.bytes(n * 2)?.chunks_exact(2) {
                    let l = u16::from_le_bytes([l[0], l[1]]);
                    if l == 0 || usize::from(l) > MAX_ID_LEN {
                        return Err(corrupt);
                    }
                    end += u64::from(l);
                    offsets.push(end);
                }
                let bytes = r.bytes(usize::try_from(end).map_err(|_| corrupt)?)?;
                let mut data = try_with_capacity(bytes.len(), "ids")?;
                data.extend_from_slice(bytes);
                Ok(Self::Bytes { data, offsets })
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Entry {
    row: u32,
    tag: u32,
}

/// Id -> row of its live version. Which id a row holds is asked of the caller.
#[derive(Default)]
pub(super) struct IdMap {
    table: HashTable<Entry>,
    hasher: RandomState,
}

/// The table's 64-bit hash of an entry, from the 32 bits kept.
pub(super) fn spread(tag: u32) -> u64 {
    u64::from(tag).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl IdMap {
    /// 32 bits of the hash of `id`. Keyed at random, since callers choose the ids; the same as long as the map lives.
    pub(super) fn tag(&self, id: &[u8]) -> u32 {
        (self.hasher.hash_one(id) >> 32) as u32
    }

    /// The tags of a column.
    pub(super) fn tags(&self, ids: &IdColumn) -> Vec<u32> {
        (0..ids.len()).map(|i| self.tag(ids.get(i))).collect()
    }

    /// Makes room for `n` more ids.
    pub(super) fn reserve(&mut self, n: usize) -> Result<()> {
        let needed = (n * (size_of::<Entry>() + 1)) as u64;
        let e = Error::NoMemory { what: "id map", needed, got: 0 };
        self.table.try_reserve(n, |e| spread(e.tag)).map_err(|_| e)
    }

    /// Number of ids.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Bytes held.
    pub(super) fn memory(&self) -> u64 {
        self.table.capacity() as u64 * (size_of::<Entry>() as u64 + 1) * 8 / 7
    }

    /// The row of `id`; `id_of(row)` gives the id that a row holds.
    pub(super) fn find<'a>(&self, id: &[u8], id_of: impl Fn(u32) -> &'a [u8]) -> Option<u32> {
        self.find_tagged(self.tag(id), id, id_of)
    }

    /// As [`Self::find`], where the tag of `id` is known.
    pub(super) fn find_tagged<'a>(&self, tag: u32, id: &[u8], id_of: impl Fn(u32) -> &'a [u8]) -> Option<u32> {
        self.table.find(spread(tag), |e| e.tag == tag && id_of(e.row) == id).map(|e| e.row)
    }

    /// Makes `row` the row of `id`; the row it had.
    pub(super) fn insert<'a>(&mut self, id: &[u8], row: u32, id_of: impl Fn(u32) -> &'a [u8]) -> Option<u32> {
        self.insert_tagged(self.tag(id), id, row, id_of)
    }

    /// As [`Self::insert`], where the tag of `id` is known.
    pub(super) fn insert_tagged<'a>(
        &mut self,
        tag: u32,
        id: &[u8],
        row: u32,
        id_of: impl Fn(u32) -> &'a [u8],
    ) -> Option<u32> {
        match self.table.find_mut(spread(tag), |e| e.tag == tag && id_of(e.row) == id) {
            Some(e) => Some(std::mem::replace(&mut e.row, row)),
            None => {
                self.table.insert_unique(spread(tag), Entry { row, tag }, |e| spread(e.tag));
                None
            }
        }
    }

    /// Forgets `id`; the row it had.
    pub(super) fn remove<'a>(&mut self, id: &[u8], id_of: impl Fn(u32) -> &'a [u8]) -> Option<u32> {
        let tag = self.tag(id);
        let found = self.table.find_entry(spread(tag), |e| e.tag == tag && id_of(e.row) == id);
        found.ok().map(|e| e.remove().0.row)
    }

    /// Gives every id the row `f(its row)`, after rows were renumbered.
    pub(super) fn renumber(&mut self, f: impl Fn(u32) -> u32) {
        self.table.iter_mut().for_each(|e| e.row = f(e.row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn a_column_reads_what_it_wrote() {
        for kind in [IdKind::Bytes, IdKind::U64] {
            let mut c = IdColumn::with_capacity(kind, 0).unwrap();
            for i in 0..300u64 {
                match kind {
                    IdKind::U64 => c.push(&i.to_le_bytes()),
                    IdKind::Bytes => c.push(format!("id-{}", i * i).as_bytes()),
                }
            }
            let mut bytes = Vec::new();
            c.write(&mut bytes);
            assert_eq!(bytes.len(), c.stored_len());
            let mut r = Reader::new(&bytes, "ids");
            let d = IdColumn::read(&mut r, kind).unwrap();
            r.end().unwrap();
            assert!((0..300).all(|i| c.get(i) == d.get(i)) && d.len() == 300);
            for cut in 0..bytes.len() {
                assert!(IdColumn::read(&mut Reader::new(&bytes[..cut], "ids"), kind).is_err());
            }
        }
    }

    #[test]
    fn the_map_equals_a_hash_map() {
        let mut column = IdColumn::with_capacity(IdKind::Bytes, 0).unwrap();
        let (mut map, mut model) = (IdMap::default(), HashMap::new());
        let mut rng = crate::rng::Rng::new(9);
        for row in 0..5000u32 {
            let id = format!("k{}", rng.below(700)).into_bytes();
            column.push(&id);
            let id_of = |r: u32| column.get(r as usize);
            if rng.below(4) == 0 {
                assert_eq!(map.remove(&id, id_of), model.remove(&id));
            } else {
                assert_eq!(map.insert(&id, row, id_of), model.insert(id.clone(), row));
            }
            assert_eq!(map.find(&id, id_of), model.get(&id).copied());
            assert_eq!(map.len(), model.len());
        }
        map.renumber(|r| r);
        assert!(model.iter().all(|(id, &row)| map.find(id, |r| column.get(r as usize)) == Some(row)));
    }
}
