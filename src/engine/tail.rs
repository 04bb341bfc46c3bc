//! The tail: codes of deltas, already at their trained place.
//!
//! For each list a few chunks of codes with their row numbers. The tail is persistent: an append copies the pages of
//! lists that its batch falls into and the last, small chunk of each of those lists, so it costs in proportion to the
//! batch and every snapshot keeps its own view.

use std::sync::Arc;

use super::generation::Generation;
use crate::buffer::Buffer;
use crate::error::Result;
use crate::exec::Exec;
use crate::kernels::LANES;

/// Lists in a page.
const PAGE: usize = 64;
/// A chunk this long is not appended to any more.
const FULL: usize = 64;
/// Lists encoded by one work item.
const GRAIN: usize = 32;

/// Codes of some rows of one list.
pub(super) struct Chunk {
    /// Row of each code.
    pub(super) rows: Vec<u32>,
    /// Code blocks; lanes past the rows are arbitrary.
    pub(super) blocks: Buffer,
}

type Page = [Vec<Arc<Chunk>>; PAGE];

/// Codes of all unmerged rows, by list.
#[derive(Clone, Default)]
pub(super) struct Tail {
    pages: Vec<Option<Arc<Page>>>,
    bytes: u64,
}

impl Tail {
    /// The chunks of `list`.
    pub(super) fn list(&self, list: usize) -> &[Arc<Chunk>] {
        match self.pages.get(list / PAGE) {
            Some(Some(page)) => &page[list % PAGE],
            _ => &[],
        }
    }

    /// Bytes of all chunks.
    pub(super) fn memory(&self) -> u64 {
        self.bytes
    }

    /// This tail with `vectors` added as rows `first_row..`.
    pub(super) fn append(&self, g: &Generation, exec: &Exec, first_row: u32, vectors: &[f32]) -> Result<Self> {
        let dim = g.quantizer.dim();
        let n = vectors.len() / dim;
        let mut lists = vec![0u32; n];
        g.centroids.assign(vectors, exec, &mut lists)?;
        let mut order: Vec<u32> = (0..n as u32).collect();
        order.sort_by_key(|&i| lists[i as usize]);
        let groups: Vec<&[u32]> = order.chunk_by(|&a, &b| lists[a as usize] == lists[b as usize]).collect();
        let encode = |group: &[u32]| {
            let list = lists[group[0] as usize] as usize;
            let last = self.list(list).last().filter(|c| c.rows.len() < FULL);
            Ok((list, last.is_some(), extend(g, list, last.map(|c| &**c), first_row, group, vectors)?))
        };
        let work: Vec<&[&[u32]]> = groups.chunks(GRAIN).collect();
        let serial = Exec::new(1);
        let exec = if n < FULL { &serial } else { exec };
        let encoded = exec.map(work.len(), |i| work[i].iter().map(|group| encode(group)).collect::<Result<Vec<_>>>());
        let mut next = self.clone();
        for part in encoded {
            for (list, replace, chunk) in part? {
                next.install(list, replace, chunk);
            }
        }
        Ok(next)
    }

    fn install(&mut self, list: usize, replace: bool, chunk: Chunk) {
        if self.pages.len() <= list / PAGE {
            self.pages.resize(list / PAGE + 1, None);
        }
        let page = self.pages[list / PAGE].get_or_insert_with(|| Arc::new([const { Vec::new() }; PAGE]));
        let chunks = &mut Arc::make_mut(page)[list % PAGE];
        let old = if replace { chunks.pop() } else { None };
        self.bytes += chunk.blocks.len() as u64 - old.map_or(0, |c| c.blocks.len() as u64);
        chunks.push(Arc::new(chunk));
    }
}

/// The chunk of the rows in `last`, if any, and of the vectors numbered `group`.
fn extend(
    g: &Generation,
    list: usize,
    last: Option<&Chunk>,
    first_row: u32,
    group: &[u32],
    vectors: &[f32],
) -> Result<Chunk> {
    let (dim, block) = (g.quantizer.dim(), g.quantizer.block_bytes());
    let before = last.map_or(0, |c| c.rows.len());
    let mut rows = Vec::with_capacity(before + group.len());
    let mut blocks = Buffer::zeroed((before + group.len()).div_ceil(LANES) * block, "tail")?;
    if let Some(last) = last {
        rows.extend_from_slice(&last.rows);
        blocks.bytes_mut()[..last.blocks.len()].copy_from_slice(last.blocks.bytes());
    }
    rows.extend(group.iter().map(|&i| first_row + i));
    let mut gathered = Buffer::zeroed(group.len() * dim * 4, "tail")?;
    for (v, &i) in gathered.f32s_mut().chunks_exact_mut(dim).zip(group) {
        v.copy_from_slice(&vectors[i as usize * dim..(i as usize + 1) * dim]);
    }
    let out = &mut blocks.bytes_mut()[before / LANES * block..];
    g.quantizer.encode(g.centroids.row(list), gathered.f32s(), before % LANES, out);
    Ok(Chunk { rows, blocks })
}
