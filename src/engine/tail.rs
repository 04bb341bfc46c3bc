//! The tail: codes of deltas, already at their trained place.
//!
//! For each list a chain of chunks of codes with their row numbers, the newest first. The tail is persistent: an append
//! copies the pages of lists that its batch falls into and the last, small chunk of each of those lists, so it costs in
//! proportion to the batch and every snapshot keeps its own view.
//!
//! A batch falls into hundreds of lists, and a chunk for each is memory to be asked for and given back. So the chunks
//! that an append replaces are kept ([`Spare`]), and the next one writes over those that no snapshot holds any more.

use std::sync::Arc;

use parking_lot::Mutex;

use super::generation::Generation;
use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::exec::Exec;
use crate::kernels::{LANES, prefetch};

/// Lists in a page.
const PAGE: usize = 32;
/// A chunk this long is not appended to any more.
const FULL: usize = 32;
/// Blocks of the longest chunk that is appended to.
const MOST_BLOCKS: usize = FULL.div_ceil(LANES);
/// Bytes of codes that are kept as spare, at most.
const SPARE_BYTES: usize = 8 << 20;
/// Lists encoded by one work item.
const GRAIN: usize = 32;
/// Bytes of the counts in front of what an `Arc` holds.
const COUNTS: usize = 2 * size_of::<usize>();
/// How many lists ahead of its use a chunk is asked for.
const AHEAD: usize = 2;
/// Items below which no other thread is woken.
pub(super) const SMALL: usize = 64;

/// Codes of some rows of one list.
pub(super) struct Chunk {
    /// Row of each code.
    pub(super) rows: Vec<u32>,
    /// Code blocks, as many as the rows need; lanes past the rows are arbitrary.
    pub(super) blocks: Buffer,
    /// The chunk before it, full.
    before: Option<Arc<Chunk>>,
}

impl Chunk {
    /// An empty one with room for `blocks` blocks of `block` bytes.
    fn new(blocks: usize, block: usize) -> Result<Self> {
        let rows = Vec::with_capacity(blocks * LANES);
        Ok(Self { rows, blocks: Buffer::zeroed(blocks * block, "tail")?, before: None })
    }

    /// Asks for what it holds.
    fn ask_for_all(&self) {
        prefetch(self.rows.as_ptr(), self.rows.len() * size_of::<u32>());
        prefetch(self.blocks.bytes().as_ptr(), self.blocks.len());
    }
}

/// Asks for where a chunk says what it holds and how many have it.
fn ask_for(chunk: &Arc<Chunk>) {
    prefetch(Arc::as_ptr(chunk).wrapping_byte_sub(COUNTS), COUNTS + size_of::<Chunk>());
}

impl Drop for Chunk {
    /// One by one: left to the compiler, a long chain would go by recursion.
    fn drop(&mut self) {
        let mut before = self.before.take();
        while let Some(chunk) = before {
            before = Arc::into_inner(chunk).and_then(|mut chunk| chunk.before.take());
        }
    }
}

/// The newest chunk of each list.
type Page = [Option<Arc<Chunk>>; PAGE];

/// Codes of all unmerged rows, by list.
#[derive(Clone, Default)]
pub(super) struct Tail {
    pages: Vec<Option<Arc<Page>>>,
    bytes: u64,
}

impl Tail {
    /// The chunks of `list`, the newest first.
    pub(super) fn list(&self, list: usize) -> impl Iterator<Item = &Chunk> {
        std::iter::successors(self.newest(list).map(|chunk| &**chunk), |chunk| chunk.before.as_deref())
    }

    fn newest(&self, list: usize) -> Option<&Arc<Chunk>> {
        self.pages.get(list / PAGE)?.as_ref()?[list % PAGE].as_ref()
    }

    /// Bytes of all chunks.
    pub(super) fn memory(&self) -> u64 {
        self.bytes
    }

    /// This tail with `vectors` added as rows `first_row..`. What it replaces is left in `spare`.
    pub(super) fn append(
        &self,
        g: &Generation,
        exec: &Exec,
        first_row: u32,
        vectors: &[f32],
        spare: &mut Spare,
    ) -> Result<Self> {
        let n = vectors.len() / g.quantizer.dim();
        if n == 0 {
            return Ok(self.clone());
        }
        let mut lists = vec![0u32; n];
        g.centroids.assign(vectors, exec, &mut lists)?;
        // List before position: items of a list stay in their order.
        let mut order: Vec<u64> = (0u64..).zip(&lists).map(|(i, &list)| u64::from(list) << 32 | i).collect();
        order.sort_unstable();
        let groups: Vec<&[u64]> = order.chunk_by(|&a, &b| a >> 32 == b >> 32).collect();
        let work: Vec<&[&[u64]]> = groups.chunks(GRAIN).collect();
        let serial = Exec::new(1);
        let exec = if n < SMALL { &serial } else { exec };
        let pool = Mutex::new(std::mem::take(spare));
        let encoded = exec.map(work.len(), |i| self.extend(g, first_row, work[i], vectors, &pool));
        *spare = pool.into_inner();
        let mut next = self.clone();
        for part in encoded {
            for (list, chunk) in part? {
                let grown = chunk.blocks.len();
                let replaced = self.unfinished(list);
                next.bytes += (grown - replaced.map_or(0, |last| last.blocks.len())) as u64;
                replaced.into_iter().for_each(|last| spare.keep(last));
                next.install(list, chunk);
            }
        }
        Ok(next)
    }

    /// The newest chunk of `list`, if it is appended to.
    fn unfinished(&self, list: usize) -> Option<&Arc<Chunk>> {
        self.newest(list).filter(|chunk| chunk.rows.len() < FULL)
    }

    /// For each group of `groups`, which are one list and item numbers: the list and its newest chunk with the group's
    /// `vectors` in it, written over one of `pool` where there is one of the length.
    fn extend(
        &self,
        g: &Generation,
        first_row: u32,
        groups: &[&[u64]],
        vectors: &[f32],
        pool: &Mutex<Spare>,
    ) -> Result<Vec<(usize, Arc<Chunk>)>> {
        let (dim, block) = (g.quantizer.dim(), g.quantizer.block_bytes());
        let list_of = |group: &[u64]| (group[0] >> 32) as usize;
        // Chunks lie anywhere in memory: all that is looked at first is asked for before, so that the CPU waits once.
        groups.iter().filter_map(|group| self.newest(list_of(group))).for_each(ask_for);
        let needed = |group: &[u64]| {
            let taken = self.unfinished(list_of(group)).map_or(0, |last| last.rows.len());
            (taken + group.len()).div_ceil(LANES)
        };
        let wanted = Spare::count(groups.iter().map(|group| needed(group)));
        let mut spare = pool.lock().take(wanted);
        spare.chunks.iter().flatten().for_each(ask_for);
        let longest = groups.iter().map(|group| group.len()).max().unwrap_or_default();
        let mut gathered = Buffer::zeroed(longest * dim * 4, "tail")?;
        let extend_one = |(i, group): (usize, &&[u64])| {
            if let Some(list) = groups.get(i + AHEAD).map(|group| list_of(group)) {
                self.unfinished(list).into_iter().for_each(|last| last.ask_for_all());
                prefetch(g.centroids.row(list).as_ptr(), dim * 4);
            }
            let list = list_of(group);
            let mut chunk = spare.chunk(needed(group), block)?;
            let Chunk { rows, blocks, before } = unique(&mut chunk)?;
            let last = self.unfinished(list);
            let taken = last.map_or(0, |last| last.rows.len());
            rows.clear();
            if let Some(last) = last {
                rows.extend_from_slice(&last.rows);
                blocks.bytes_mut()[..last.blocks.len()].copy_from_slice(last.blocks.bytes());
            }
            *before =
                if last.is_some() { last.and_then(|last| last.before.clone()) } else { self.newest(list).cloned() };
            let gathered = &mut gathered.f32s_mut()[..group.len() * dim];
            for (to, &item) in gathered.chunks_exact_mut(dim).zip(*group) {
                let item = item as u32;
                rows.push(first_row + item);
                to.copy_from_slice(&vectors[item as usize * dim..][..dim]);
            }
            let out = &mut blocks.bytes_mut()[taken / LANES * block..];
            g.quantizer.encode(g.centroids.row(list), gathered, taken % LANES, out);
            Ok((list, chunk))
        };
        groups.iter().enumerate().map(extend_one).collect()
    }

    fn install(&mut self, list: usize, chunk: Arc<Chunk>) {
        if self.pages.len() <= list / PAGE {
            self.pages.resize(list / PAGE + 1, None);
        }
        let page = self.pages[list / PAGE].get_or_insert_with(|| Arc::new([const { None }; PAGE]));
        Arc::make_mut(page)[list % PAGE] = Some(chunk);
    }
}

/// What `chunk` holds, to be written: nobody else has it.
fn unique(chunk: &mut Arc<Chunk>) -> Result<&mut Chunk> {
    Arc::get_mut(chunk).ok_or(Error::Internal { what: "a spare chunk is in use" })
}

/// Chunks that others took the place of, by their number of blocks. Snapshots may still hold them: whoever takes one
/// looks.
#[derive(Default)]
pub(super) struct Spare {
    chunks: [Vec<Arc<Chunk>>; MOST_BLOCKS],
    bytes: usize,
}

impl Spare {
    /// Takes note of `chunk`, unless there is enough already.
    fn keep(&mut self, chunk: &Arc<Chunk>) {
        let bytes = chunk.blocks.len();
        if self.bytes + bytes <= SPARE_BYTES
            && let Some(chunks) = self.chunks.get_mut(chunk.rows.len().div_ceil(LANES).wrapping_sub(1))
        {
            self.bytes += bytes;
            chunks.push(Arc::clone(chunk));
        }
    }

    /// Bytes of codes held, about: what is written over in the meantime keeps its length.
    pub(super) fn memory(&self) -> usize {
        self.bytes
    }

    /// How many chunks of each number of blocks `wanted` names.
    fn count(wanted: impl Iterator<Item = usize>) -> [usize; MOST_BLOCKS] {
        let mut counts = [0; MOST_BLOCKS];
        wanted.filter_map(|blocks| counts.get_mut(blocks.wrapping_sub(1)).map(|n| *n += 1)).for_each(drop);
        counts
    }

    /// Hands out as many chunks of each number of blocks as `wanted` says, while there are any.
    fn take(&mut self, wanted: [usize; MOST_BLOCKS]) -> Self {
        let mut taken = Self::default();
        for ((taken, chunks), count) in taken.chunks.iter_mut().zip(&mut self.chunks).zip(wanted) {
            *taken = chunks.split_off(chunks.len() - count.min(chunks.len()));
            self.bytes -= taken.iter().map(|chunk| chunk.blocks.len()).sum::<usize>();
        }
        taken
    }

    /// A chunk of `blocks` blocks of `block` bytes that nobody else holds: a spare one or a new one. Its contents are
    /// arbitrary.
    fn chunk(&mut self, blocks: usize, block: usize) -> Result<Arc<Chunk>> {
        if let Some(chunks) = self.chunks.get_mut(blocks.wrapping_sub(1)) {
            while let Some(mut chunk) = chunks.pop() {
                // Another quantizer has blocks of another length.
                if chunk.blocks.len() == blocks * block && Arc::get_mut(&mut chunk).is_some() {
                    chunks.last().into_iter().for_each(|next| next.ask_for_all());
                    return Ok(chunk);
                }
            }
        }
        Ok(Arc::new(Chunk::new(blocks, block)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Similarity, VectorPrecision};

    /// That `tail` has rows `0..end` in list 0, each once and with its codes, and says how long it is.
    fn check(g: &Generation, end: u32, tail: &Tail) {
        let (mut seen, mut bytes) = (Vec::new(), 0);
        for chunk in tail.list(0) {
            bytes += chunk.blocks.len() as u64;
            for (i, &row) in chunk.rows.iter().enumerate() {
                let mut vector = [0.0; 2];
                g.quantizer.decode(g.centroids.row(0), chunk.blocks.bytes(), i, &mut vector);
                assert_eq!(vector, [row as f32, -(row as f32)]);
                seen.push(row);
            }
        }
        seen.sort_unstable();
        assert!(seen.iter().copied().eq(0..end));
        assert_eq!(bytes, tail.memory());
        assert!(tail.list(7).next().is_none() && tail.list(70).next().is_none());
    }

    fn vectors(rows: std::ops::Range<u32>) -> Vec<f32> {
        rows.flat_map(|row| [row as f32, -(row as f32)]).collect()
    }

    /// 2000 rows in appends of 1 to 90, seen by snapshots along the way.
    #[test]
    fn every_snapshot_keeps_all_its_rows_and_no_later_ones() {
        let g = Generation::untrained(Similarity::Dot, VectorPrecision::F32, 2).unwrap();
        let mut spare = Spare::default();
        let mut tails = vec![(0u32, Tail::default())];
        let mut end = 0u32;
        for i in 0.. {
            if end >= 2000 {
                break;
            }
            let n = 1 + i * 37 % 90;
            let rows = vectors(end..end + n);
            let next = tails[tails.len() - 1].1.append(&g, &Exec::new(1), end, &rows, &mut spare).unwrap();
            end += n;
            tails.push((end, next));
        }
        tails.iter().for_each(|(end, tail)| check(&g, *end, tail));
    }

    /// Appends of 1 to 4 rows under snapshots that are held for a while, as readers do, or given up before they are seen,
    /// as after a commit that failed.
    #[test]
    fn only_chunks_that_no_snapshot_holds_are_written_over() {
        let g = Generation::untrained(Similarity::Dot, VectorPrecision::F32, 2).unwrap();
        let mut rng = crate::rng::Rng::new(4);
        let (mut spare, mut held) = (Spare::default(), vec![(0, Tail::default())]);
        let mut now = (0, Tail::default());
        for _ in 0..3000 {
            let end = now.0 + 1 + rng.below(4) as u32;
            let next = now.1.append(&g, &Exec::new(1), now.0, &vectors(now.0..end), &mut spare).unwrap();
            if rng.below(8) > 0 {
                let old = std::mem::replace(&mut now, (end, next));
                if rng.below(4) == 0 {
                    held.push(old);
                }
            }
            if rng.below(4) == 0 {
                let (end, tail) = held.swap_remove(rng.below(held.len()));
                check(&g, end, &tail);
                held.push((end, tail));
            }
            if held.len() > 6 {
                held.swap_remove(rng.below(6));
            }
            check(&g, now.0, &now.1);
        }
    }

    /// What a list had before an append is written over by the next one.
    #[test]
    fn a_row_of_appends_uses_the_same_chunks_again() {
        let g = Generation::untrained(Similarity::Dot, VectorPrecision::F32, 2).unwrap();
        let (mut spare, mut tail) = (Spare::default(), Tail::default());
        let mut places = Vec::new();
        for row in 0..12 {
            tail = tail.append(&g, &Exec::new(1), row, &vectors(row..row + 1), &mut spare).unwrap();
            places.push(tail.newest(0).map(Arc::as_ptr));
            check(&g, row + 1, &tail);
        }
        assert_eq!(places[2..], [&places[..2]; 5].concat());
        assert_eq!(spare.chunks.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0]);
        let held = spare.memory();
        assert!(held > 0 && held == spare.chunks.iter().flatten().map(|chunk| chunk.blocks.len()).sum::<usize>());
        // What deletes alone leaves them as they are; what needs others leaves them too.
        tail = tail.append(&g, &Exec::new(1), 12, &[], &mut spare).unwrap();
        assert_eq!(spare.memory(), held);
        tail = tail.append(&g, &Exec::new(1), 12, &vectors(12..32), &mut spare).unwrap();
        check(&g, 32, &tail);
        assert_eq!(spare.chunks.iter().map(Vec::len).collect::<Vec<_>>(), [2, 0]);
    }

    #[test]
    fn a_chain_of_any_length_goes_without_recursion() {
        let link = |before| Some(Arc::new(Chunk { rows: Vec::new(), blocks: Buffer::default(), before }));
        drop((0..1_000_000).fold(None, |before, _| link(before)));
    }
}
