//! Memory for what a cache keeps longest: side by side on huge pages.
//!
//! A query reads lists of some KiB from all over the codes of a run. On pages of 4 KiB nearly every list costs a walk through
//! the page tables, or several; on pages of 2 MiB the CPU remembers them all. A shelf takes chunks of memory from the system and
//! hands out pieces of them, front to back. A piece is wiped when it is given up; its place is not used again, and a chunk goes
//! back to the system when all its pieces are given up and the shelf is gone. So the cache evicts nothing that stands on a
//! shelf: it would gain no memory.

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

use crate::buffer::{Buffer, LINE, wipe};
use crate::error::Result;
use crate::kernels::{HUGE_PAGE, huge_pages};

/// Bytes of a chunk: more than `malloc` takes out of what it holds already (glibc: 32 MiB at most), so that no page of it was
/// touched before. What is never used of it is never touched.
const CHUNK: usize = 40 << 20;
/// Longest piece. Longer ones gain nothing.
const PIECE: usize = 1 << 20;
/// Bytes below which huge pages are not worth it.
const LEAST: u64 = HUGE_PAGE as u64;

/// Hands out pieces.
pub(super) struct Shelf {
    left: Mutex<Left>,
}

struct Left {
    chunk: BytesMut,
    /// Bytes that may still be handed out.
    bytes: u64,
}

impl Shelf {
    /// For pieces of `bytes` in all, each rounded up to [`LINE`]; `None` where that is not worth it.
    pub(super) fn new(bytes: u64) -> Option<Self> {
        (bytes >= LEAST).then(|| Self { left: Mutex::new(Left { chunk: BytesMut::new(), bytes }) })
    }

    /// `len` zeroes on a border of 64 bytes; `None` where the shelf is used up or the system refuses.
    fn take(&self, len: usize) -> Option<Shelved> {
        let size = len.next_multiple_of(LINE);
        let mut left = self.left.lock();
        if size > PIECE || size as u64 > left.bytes {
            return None;
        }
        if left.chunk.capacity() < size {
            left.chunk = chunk()?;
        }
        left.bytes -= size as u64;
        let rest = left.chunk.split_off(size);
        let mut piece = std::mem::replace(&mut left.chunk, rest);
        drop(left);
        // Within what was split off: nothing is allocated or moved.
        piece.resize(len, 0);
        Some(Shelved(piece))
    }
}

/// An empty chunk that begins on the border of a huge page.
fn chunk() -> Option<BytesMut> {
    let mut room: Vec<u8> = Vec::new();
    room.try_reserve_exact(CHUNK).ok()?;
    huge_pages(room.as_ptr(), CHUNK);
    let before = room.as_ptr().addr().wrapping_neg() % HUGE_PAGE;
    Bytes::from(room).try_into_mut().ok().map(|mut room| room.split_off(before))
}

/// A piece of a shelf.
pub(super) struct Shelved(BytesMut);

impl Drop for Shelved {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Memory of what is cached, wiped when it goes.
pub(super) enum Memory {
    Alone(Buffer),
    Shelved(Shelved),
    /// Ciphertext as the store gave it.
    Stored(Vec<u8>),
}

impl Memory {
    /// `len` zeroes, from `shelf` where there is room.
    pub(super) fn zeroed(len: usize, shelf: Option<&Shelf>) -> Result<Self> {
        match shelf.and_then(|shelf| shelf.take(len)) {
            Some(piece) => Ok(Self::Shelved(piece)),
            None => Ok(Self::Alone(Buffer::zeroed(len, "cache")?)),
        }
    }

    /// `stored` itself, or on `shelf` where there is room.
    pub(super) fn stored(stored: Vec<u8>, shelf: Option<&Shelf>) -> Self {
        match shelf.and_then(|shelf| shelf.take(stored.len())) {
            Some(mut piece) => {
                piece.0.copy_from_slice(&stored);
                Self::Shelved(piece)
            }
            None => Self::Stored(stored),
        }
    }

    /// Whether it stands on a shelf.
    pub(super) fn is_shelved(&self) -> bool {
        matches!(self, Self::Shelved(_))
    }

    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Alone(buffer) => buffer.bytes(),
            Self::Shelved(piece) => &piece.0,
            Self::Stored(bytes) => bytes,
        }
    }

    /// The bytes, to be written.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Alone(buffer) => buffer.bytes_mut(),
            Self::Shelved(piece) => &mut piece.0,
            Self::Stored(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_aligned_zeroed_apart_and_no_more_than_there_are() {
        let shelf = Shelf::new(LEAST).unwrap();
        let mut pieces: Vec<Shelved> = (0..).map_while(|i| shelf.take(1000 * (i % 3) + 1000)).collect();
        let taken: usize = pieces.iter().map(|piece| piece.0.len().next_multiple_of(LINE)).sum();
        assert!(taken <= LEAST as usize && taken + 3008 > LEAST as usize, "{taken}");
        for (i, piece) in pieces.iter_mut().enumerate() {
            assert!(piece.0.as_ptr().addr().is_multiple_of(LINE) && piece.0.iter().all(|&b| b == 0));
            piece.0.fill(i as u8);
        }
        assert!(pieces.iter().enumerate().all(|(i, piece)| piece.0.iter().all(|&b| b == i as u8)));
        let side_by_side =
            |a: &Shelved, b: &Shelved| a.0.as_ptr().addr() + a.0.len().next_multiple_of(LINE) == b.0.as_ptr().addr();
        assert!(pieces.windows(2).all(|p| side_by_side(&p[0], &p[1])));
        assert!(pieces[0].0.as_ptr().addr().is_multiple_of(HUGE_PAGE));
    }

    #[test]
    fn what_does_not_fit_stands_alone() {
        assert!(Shelf::new(LEAST - 1).is_none());
        let shelf = Shelf::new(2 * CHUNK as u64);
        let shelf = shelf.as_ref();
        assert!(matches!(Memory::zeroed(PIECE + 1, shelf).unwrap(), Memory::Alone(_)));
        assert!(matches!(Memory::zeroed(100, None).unwrap(), Memory::Alone(_)));
        let stored = |shelf| Memory::stored((0..100).collect(), shelf);
        assert!(matches!(stored(None), Memory::Stored(_)) && matches!(stored(shelf), Memory::Shelved(_)));
        assert!([stored(None), stored(shelf)].iter().all(|memory| memory.bytes().iter().copied().eq(0..100)));
        // Over the end of a chunk and on to the next.
        let pieces: Vec<Memory> = (0..60).map(|_| Memory::zeroed(PIECE, shelf).unwrap()).collect();
        assert!(pieces.iter().all(|piece| matches!(piece, Memory::Shelved(_)) && piece.bytes() == vec![0; PIECE]));
    }

    /// Codes of a run, decrypted or as stored, come to stand on a shelf once they are read.
    #[test]
    fn cached_codes_of_a_run_stand_on_a_shelf() {
        use crate::engine::{Batch, CacheMode, Db, DbOptions, Ids, IndexOptions, QueryOptions, TrainOptions};
        use crate::exec::Watch;
        let (n, dim) = (20_000, 32);
        let mut rng = crate::rng::Rng::new(1);
        let vectors: Vec<f32> = (0..n * dim).map(|_| rng.below(1000) as f32).collect();
        let ids: Vec<u64> = (0..n as u64).collect();
        for cache_mode in [CacheMode::Plain, CacheMode::Sealed] {
            let db = Db::open("memory:", DbOptions { cache_mode, threads: 1, ..DbOptions::default() }).unwrap();
            let options = IndexOptions {
                quantizer: Some(crate::types::QuantizerSpec::Flat),
                metric: crate::types::Metric::SquaredEuclidean,
                id_kind: crate::types::IdKind::U64,
                auto_train_disabled: true,
                ..IndexOptions::default()
            };
            let index = db.create_index("shelved", &[7; 32], &options).unwrap();
            let batch = Batch {
                dimension: dim as u32,
                vectors: &vectors,
                ids: Ids::U64(&ids),
                metadata: None,
                contents: None,
                contents_kinds: None,
            };
            index.upsert(&batch, &Watch::NONE).unwrap();
            index.train(&TrainOptions { n_lists: 100, ..TrainOptions::default() }).unwrap().wait(None);
            let o = QueryOptions { n_probes: u32::MAX, ..QueryOptions::default() };
            index.query(&vectors[..dim], 1, dim as u32, &o, &Watch::NONE).unwrap();
            let snapshot = index.snapshot.load();
            let held = snapshot.runs.iter().map(|(_, run)| run.shelved_codes()).sum::<usize>();
            assert!(held >= 90, "{held} of 100 lists");
        }
    }
}
