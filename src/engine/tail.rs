//! The tail: codes of deltas, already at their trained place.
//!
//! For each list a chain of chunks of codes with their row numbers, the newest first. The tail is persistent: an append
//! copies the pages of lists that its batch falls into and the last, small chunk of each of those lists, so it costs in
//! proportion to the batch and every snapshot keeps its own view.

use std::sync::Arc;

use super::generation::Generation;
use crate::buffer::Buffer;
use crate::error::Result;
use crate::exec::Exec;
use crate::kernels::LANES;

/// Lists in a page.
const PAGE: usize = 32;
/// A chunk this long is not appended to any more.
const FULL: usize = 32;
/// Lists encoded by one work item.
const GRAIN: usize = 32;
/// Items below which no other thread is woken.
pub(super) const SMALL: usize = 64;

/// Codes of some rows of one list.
pub(super) struct Chunk {
    /// Row of each code.
    pub(super) rows: Vec<u32>,
    /// Code blocks; lanes past the rows are arbitrary.
    pub(super) blocks: Buffer,
    /// The chunk before it, full.
    before: Option<Arc<Chunk>>,
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

    /// This tail with `vectors` added as rows `first_row..`.
    pub(super) fn append(&self, g: &Generation, exec: &Exec, first_row: u32, vectors: &[f32]) -> Result<Self> {
        let n = vectors.len() / g.quantizer.dim();
        let mut lists = vec![0u32; n];
        g.centroids.assign(vectors, exec, &mut lists)?;
        // List before position: items of a list stay in their order.
        let mut order: Vec<u64> = (0u64..).zip(&lists).map(|(i, &list)| u64::from(list) << 32 | i).collect();
        order.sort_unstable();
        let groups: Vec<&[u64]> = order.chunk_by(|&a, &b| a >> 32 == b >> 32).collect();
        let work: Vec<&[&[u64]]> = groups.chunks(GRAIN).collect();
        let serial = Exec::new(1);
        let exec = if n < SMALL { &serial } else { exec };
        let encoded = exec.map(work.len(), |i| self.extend(g, first_row, work[i], vectors));
        let mut next = self.clone();
        for part in encoded {
            for (list, chunk, grown) in part? {
                next.install(list, chunk, grown);
            }
        }
        Ok(next)
    }

    /// For each group of `groups`, which are one list and item numbers: the list, its newest chunk with the group's
    /// `vectors` in it, and by how many bytes it grew.
    fn extend(
        &self,
        g: &Generation,
        first_row: u32,
        groups: &[&[u64]],
        vectors: &[f32],
    ) -> Result<Vec<(usize, Arc<Chunk>, usize)>> {
        let (dim, block) = (g.quantizer.dim(), g.quantizer.block_bytes());
        let longest = groups.iter().map(|group| group.len()).max().unwrap_or_default();
        let mut gathered = Buffer::zeroed(longest * dim * 4, "tail")?;
        let extend_one = |group: &&[u64]| {
            let list = (group[0] >> 32) as usize;
            let newest = self.newest(list);
            let last = newest.filter(|chunk| chunk.rows.len() < FULL);
            let taken = last.map_or(0, |chunk| chunk.rows.len());
            let mut rows = Vec::with_capacity(taken + group.len());
            let mut blocks = Buffer::zeroed((taken + group.len()).div_ceil(LANES) * block, "tail")?;
            if let Some(last) = last {
                rows.extend_from_slice(&last.rows);
                blocks.bytes_mut()[..last.blocks.len()].copy_from_slice(last.blocks.bytes());
            }
            let gathered = &mut gathered.f32s_mut()[..group.len() * dim];
            for (to, &item) in gathered.chunks_exact_mut(dim).zip(*group) {
                let item = item as u32;
                rows.push(first_row + item);
                to.copy_from_slice(&vectors[item as usize * dim..][..dim]);
            }
            let out = &mut blocks.bytes_mut()[taken / LANES * block..];
            g.quantizer.encode(g.centroids.row(list), gathered, taken % LANES, out);
            let before = if last.is_some() { last.and_then(|last| last.before.clone()) } else { newest.cloned() };
            let grown = blocks.len() - last.map_or(0, |last| last.blocks.len());
            Ok((list, Arc::new(Chunk { rows, blocks, before }), grown))
        };
        groups.iter().map(extend_one).collect()
    }

    fn install(&mut self, list: usize, chunk: Arc<Chunk>, grown: usize) {
        if self.pages.len() <= list / PAGE {
            self.pages.resize(list / PAGE + 1, None);
        }
        let page = self.pages[list / PAGE].get_or_insert_with(|| Arc::new([const { None }; PAGE]));
        Arc::make_mut(page)[list % PAGE] = Some(chunk);
        self.bytes += grown as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Similarity, VectorPrecision};

    /// 2000 rows in appends of 1 to 90, seen by snapshots along the way: each finds all its rows, once, with their codes.
    #[test]
    fn every_snapshot_keeps_all_its_rows_and_no_later_ones() {
        let g = Generation::untrained(Similarity::Dot, VectorPrecision::F32, 2).unwrap();
        let mut tails = vec![(0u32, Tail::default())];
        let mut end = 0u32;
        for i in 0.. {
            if end >= 2000 {
                break;
            }
            let n = 1 + i * 37 % 90;
            let vectors: Vec<f32> = (end..end + n).flat_map(|row| [row as f32, -(row as f32)]).collect();
            let next = tails[tails.len() - 1].1.append(&g, &Exec::new(1), end, &vectors).unwrap();
            end += n;
            tails.push((end, next));
        }
        for (end, tail) in &tails {
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
            assert!(seen.iter().copied().eq(0..*end));
            assert_eq!(bytes, tail.memory());
            assert!(tail.list(7).next().is_none() && tail.list(70).next().is_none());
        }
    }

    #[test]
    fn a_chain_of_any_length_goes_without_recursion() {
        let link = |before| Some(Arc::new(Chunk { rows: Vec::new(), blocks: Buffer::default(), before }));
        drop((0..1_000_000).fold(None, |before, _| link(before)));
    }
}
