//! Rewriting a range of rows as one run in list order. Merge, compaction and training are this one operation.
//!
//! Input: a pinned snapshot, a range of its runs and some of its first deltas, and the generation to code for. Dead
//! rows are dropped, the rest is assigned, sorted by list, renumbered densely from the range's first row, encoded and
//! written. Nothing is visible before `publish` names the new run. Vectors are gathered list group by list group, so
//! memory stays within a budget however large the range is: a group costs one streaming pass over the range.

use std::ops::Range;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::blob::{Blob, BlobWriter, frame_for};
use super::drafts::Drafts;
use super::extents::{Extents, rows_per_extent};
use super::generation::Generation;
use super::ids::IdColumn;
use super::index::Index;
use super::payload::{ENTRY, Entry, PayloadReader};
use super::region::Scratch;
use super::run::{Run, RunParts};
use super::snapshot::Snapshot;
use crate::buffer::Buffer;
use crate::crypto::{FrameSize, Kind};
use crate::error::{Error, Result, try_with_capacity, try_zeroed};
use crate::exec::{Progress, Watch};
use crate::kernels::LANES;

/// Stands for "dropped" where a row or list is expected.
pub(super) const DROPPED: u32 = u32::MAX;

/// Extents encoded by one work item.
const GRAIN: usize = 8;
/// Bytes of vectors encoded between two looks at the watch.
const STEP_BYTES: usize = 8 << 20;
/// Multiplications of an assignment between two looks at the watch: some milliseconds.
const STEP_WORK: usize = 1 << 30;
/// Bytes of payload copied between two looks at the watch.
const STEP_PAYLOAD: u64 = 4 << 20;

/// What to rewrite, and how.
pub(super) struct Rebuild<'a> {
    pub(super) index: &'a Index,
    pub(super) pinned: Arc<Snapshot>,
    pub(super) runs: Range<usize>,
    /// Number of leading deltas; more than 0 only when `runs` reaches the end.
    pub(super) deltas: usize,
    pub(super) to: &'a Generation,
    /// Rows read and assigned at a time.
    pub(super) page_rows: usize,
    /// Bytes of vectors held at a time.
    pub(super) budget: u64,
    pub(super) watch: &'a Watch,
    pub(super) progress: &'a Progress,
}

/// A range rewritten but not yet published.
pub(super) struct Rebuilt {
    pub(super) pinned: Arc<Snapshot>,
    pub(super) runs: Range<usize>,
    pub(super) deltas: usize,
    /// Absent when no row was live.
    pub(super) run: Option<Arc<Run>>,
    /// First row of the range in `pinned`.
    pub(super) first: u32,
    /// Row in the new run of each row of the range, or [`DROPPED`].
    pub(super) map: Vec<u32>,
    /// List of each row of the range, or [`DROPPED`].
    pub(super) lists: Vec<u32>,
    /// The objects of the run, until a manifest names them.
    pub(super) drafts: Drafts,
}

/// A page of vectors on its way through: first row, vectors row-major.
pub(super) type Observer<'o> = &'o mut dyn FnMut(u32, &[f32]) -> Result<()>;

/// Which part of the range a page comes from.
enum Piece {
    Extent { run: usize, extent: usize },
    Delta { delta: usize, rows: Range<u32> },
}

impl Rebuild<'_> {
    fn rows(&self) -> Range<u32> {
        let s = &self.pinned;
        let start = s.runs.get(self.runs.start).map_or(s.runs_end(), |(base, _)| *base);
        let end = match self.deltas {
            0 => s.runs[..self.runs.end].last().map_or(start, |(base, run)| base + run.len()),
            n => s.deltas[n - 1].0 + s.deltas[n - 1].1.len(),
        };
        start..end
    }

    /// The pieces of the range in row order, with their first row.
    fn pieces(&self) -> Vec<(u32, Piece)> {
        let s = &self.pinned;
        let mut pieces = Vec::new();
        for run in self.runs.clone() {
            let (base, r) = &s.runs[run];
            pieces.extend(
                (0..r.extents.len()).map(|e| (base + r.extents.rows(e).start, Piece::Extent { run, extent: e })),
            );
        }
        pieces.extend(self.delta_pieces());
        pieces
    }

    fn delta_pieces(&self) -> impl Iterator<Item = (u32, Piece)> {
        let step = u32::try_from(self.page_rows).unwrap_or(u32::MAX).max(1);
        self.pinned.deltas[..self.deltas].iter().enumerate().flat_map(move |(delta, (base, d))| {
            let rows = move |start: u32| start..d.len().min(start.saturating_add(step));
            (0..d.len())
                .step_by(step as usize)
                .map(move |start| (base + start, Piece::Delta { delta, rows: rows(start) }))
        })
    }

    /// Calls `f(first row, vectors)` for consecutive pages that cover the range, dead rows included.
    pub(super) fn for_each_page(&self, f: Observer<'_>) -> Result<()> {
        self.pages(self.pieces(), f)
    }

    fn pages(&self, pieces: Vec<(u32, Piece)>, f: Observer<'_>) -> Result<()> {
        let s = &self.pinned;
        let Some(from) = &s.generation else { return Ok(()) };
        let dim = from.quantizer.dim();
        let mut scratch = Scratch::default();
        let longest = rows_per_extent(1) as usize;
        let mut page = Buffer::zeroed(0, "page")?;
        let (mut first, mut filled) = (0u32, 0usize);
        for (row, piece) in pieces {
            self.watch.check()?;
            match piece {
                Piece::Extent { run, extent } => {
                    let run = &s.runs[run].1;
                    let n = run.extents.rows(extent).len();
                    if filled > 0 && filled + n > self.page_rows.max(n) {
                        f(first, &page.f32s()[..filled * dim])?;
                        filled = 0;
                    }
                    let needed = (filled + n) * dim * 4;
                    if page.len() < needed {
                        let room = needed.max((self.page_rows + longest.min(n)) * dim * 4);
                        let mut grown = Buffer::zeroed(room, "page")?;
                        grown.bytes_mut()[..page.len()].copy_from_slice(page.bytes());
                        page = grown;
                    }
                    if filled == 0 {
                        first = row;
                    }
                    run.extent_vectors(from, extent, &mut scratch, &mut page.f32s_mut()[filled * dim..])?;
                    filled += n;
                }
                Piece::Delta { delta, rows } => {
                    if filled > 0 {
                        f(first, &page.f32s()[..filled * dim])?;
                        filled = 0;
                    }
                    let vectors = s.deltas[delta].1.vectors.f32s();
                    f(row, &vectors[rows.start as usize * dim..rows.end as usize * dim])?;
                }
            }
        }
        if filled > 0 {
            f(first, &page.f32s()[..filled * dim])?;
        }
        Ok(())
    }

    /// Does it. `observe` sees every page that is assigned to lists, once: all of them under a new generation.
    pub(super) fn run(self, observe: Observer<'_>) -> Result<Rebuilt> {
        let rows = self.rows();
        let lists = self.assign(&rows, observe)?;
        let n_lists = self.to.lists();
        let mut lens = try_zeroed::<u32>(n_lists, "rebuild")?;
        lists.iter().filter(|&&l| l != DROPPED).for_each(|&l| lens[l as usize] += 1);
        // Counting sort: `map` is the place of each row, `order` the row at each place.
        let mut next = try_with_capacity(n_lists, "rebuild")?;
        let mut live = 0u32;
        for &len in &lens {
            next.push(live);
            live += len;
        }
        let mut map = try_with_capacity(lists.len(), "rebuild")?;
        let mut order = try_zeroed::<u32>(live as usize, "rebuild")?;
        for (i, &list) in lists.iter().enumerate() {
            if list == DROPPED {
                map.push(DROPPED);
            } else {
                let place = &mut next[list as usize];
                order[*place as usize] = rows.start + i as u32;
                map.push(*place);
                *place += 1;
            }
        }
        let drafts = Drafts::new(&self.index.vault);
        let run = match live {
            0 => None,
            _ => Some(Arc::new(self.write(&drafts, &rows, lens, &map, &order)?)),
        };
        let (pinned, runs, deltas) = (self.pinned, self.runs, self.deltas);
        Ok(Rebuilt { pinned, runs, deltas, run, first: rows.start, map, lists, drafts })
    }

    /// The list of every row of the range.
    fn assign(&self, rows: &Range<u32>, observe: Observer<'_>) -> Result<Vec<u32>> {
        let s = &self.pinned;
        let dim = self.to.quantizer.dim();
        let mut lists = try_zeroed::<u32>(rows.len(), "rebuild")?;
        let step = (STEP_WORK / (dim * self.to.lists())).max(LANES);
        let same = s.generation.as_deref().is_some_and(|from| std::ptr::eq(from, self.to));
        // Under the same centroids a run's rows are in their lists already; only deltas are read.
        for (base, run) in &s.runs[self.runs.clone()] {
            for e in 0..if same { run.extents.len() } else { 0 } {
                let list = run.extents.list_of(e) as u32;
                let at = run.extents.rows(e);
                let start = (base - rows.start) as usize;
                lists[start + at.start as usize..start + at.end as usize].fill(list);
            }
        }
        let pieces = if same { self.delta_pieces().collect() } else { self.pieces() };
        self.pages(pieces, &mut |first, vectors| {
            let (at, n) = ((first - rows.start) as usize, vectors.len() / dim);
            for (vectors, lists) in vectors.chunks(step * dim).zip(lists[at..at + n].chunks_mut(step)) {
                self.watch.check()?;
                self.to.centroids.assign(vectors, &self.index.shared.exec, lists)?;
            }
            observe(first, vectors)?;
            self.progress.advance(n as u64);
            Ok(())
        })?;
        for row in s.tombstones.iter().filter(|r| rows.contains(r)) {
            lists[(row - rows.start) as usize] = DROPPED;
        }
        Ok(lists)
    }

    fn write(&self, drafts: &Drafts, rows: &Range<u32>, lens: Vec<u32>, map: &[u32], order: &[u32]) -> Result<Run> {
        let s = &self.pinned;
        let quantizer = &self.to.quantizer;
        let dim = quantizer.dim();
        let row_bytes = (quantizer.block_bytes() / LANES).max(if quantizer.needs_rerank() { dim * 4 } else { 0 });
        let rows_per_extent = rows_per_extent(row_bytes);
        let extents = Extents::new(&lens, rows_per_extent)?;
        let mean_codes = order.len() / extents.len().max(1) * quantizer.block_bytes() / LANES;
        let frame = match mean_codes {
            0..0x2_0000 => FrameSize::K4,
            0x2_0000..0x8_0000 => FrameSize::K16,
            _ => FrameSize::K64,
        };
        let mut codes = BlobWriter::new(drafts, Kind::Codes, frame);
        let mut vectors = quantizer.needs_rerank().then(|| BlobWriter::new(drafts, Kind::Vectors, FrameSize::K4));
        let mut done = 0;
        while done < extents.len() {
            let group = self.next_group(&extents, done, dim);
            let staged = self.gather(rows, map, extents.rows(group.start).start..extents.rows(group.end - 1).end)?;
            self.write_group(&extents, group.clone(), &staged, &mut codes, vectors.as_mut())?;
            done = group.end;
        }
        let codes = codes.finish()?;
        let vectors = vectors.map(BlobWriter::finish).transpose()?;
        let payload = self.write_payload(drafts, rows, map, order.len())?;
        let mut ids = IdColumn::with_capacity(s.config.id_kind, order.len())?;
        order.iter().for_each(|&row| ids.push(s.id(row)));
        let mut bytes = Zeroizing::new(Vec::new());
        ids.write(&mut bytes);
        let mut writer = BlobWriter::new(drafts, Kind::Ids, frame_for(bytes.len()));
        writer.push(&bytes)?;
        let parts = RunParts {
            dimension: dim as u32,
            rows_per_extent,
            list_lens: lens,
            ids: writer.finish()?,
            codes,
            vectors,
            payload,
        };
        self.watch.check()?;
        let bytes = parts.write();
        let directory = drafts.put(Kind::Directory, frame_for(bytes.len()), &bytes)?;
        Run::new(&self.index.vault, &self.index.shared.cache, self.to, directory, parts, ids)
    }

    /// As many extents from `start` on as the budget holds, at least one.
    fn next_group(&self, extents: &Extents, start: usize, dim: usize) -> Range<usize> {
        let first = extents.rows(start).start;
        let most = (self.budget / (dim as u64 * 4)).max(1);
        let mut end = start + 1;
        while end < extents.len() && u64::from(extents.rows(end).end - first) <= most {
            end += 1;
        }
        start..end
    }

    /// The vectors of the new rows `wanted`, in their new order.
    fn gather(&self, rows: &Range<u32>, map: &[u32], wanted: Range<u32>) -> Result<Buffer> {
        let dim = self.to.quantizer.dim();
        let mut staged = Buffer::zeroed(wanted.len() * dim * 4, "rebuild")?;
        let out = staged.f32s_mut();
        self.for_each_page(&mut |first, vectors| {
            let at = (first - rows.start) as usize;
            for (&place, v) in map[at..].iter().zip(vectors.chunks_exact(dim)) {
                if wanted.contains(&place) {
                    let to = (place - wanted.start) as usize * dim;
                    out[to..to + dim].copy_from_slice(v);
                }
            }
            Ok(())
        })?;
        Ok(staged)
    }

    /// Encodes and writes extents `group`, whose vectors are `staged`.
    fn write_group(
        &self,
        extents: &Extents,
        group: Range<usize>,
        staged: &Buffer,
        codes: &mut BlobWriter<'_>,
        mut vectors: Option<&mut BlobWriter<'_>>,
    ) -> Result<()> {
        let (g, dim) = (self.to, self.to.quantizer.dim());
        let block = g.quantizer.block_bytes();
        let first = extents.rows(group.start).start;
        let of = |e: usize| {
            let rows = extents.rows(e);
            let (start, end) = ((rows.start - first) as usize * dim, (rows.end - first) as usize * dim);
            &staged.f32s()[start..end]
        };
        // Enough work for all threads, little enough memory and time.
        let step = (STEP_BYTES / (dim * 4)) as u32;
        let mut start = group.start;
        while start < group.end {
            self.watch.check()?;
            let mut end = start + 1;
            while end < group.end && extents.rows(end).end - extents.rows(start).start <= step {
                end += 1;
            }
            let encoded = self.index.shared.exec.map((end - start).div_ceil(GRAIN), |i| {
                let range = start + i * GRAIN..end.min(start + (i + 1) * GRAIN);
                let encode = |e: usize| -> Result<Buffer> {
                    let vectors = of(e);
                    let mut out = Buffer::zeroed((vectors.len() / dim).div_ceil(LANES) * block, "rebuild")?;
                    g.quantizer.encode(g.centroids.row(extents.list_of(e)), vectors, 0, out.bytes_mut());
                    Ok(out)
                };
                range.map(encode).collect::<Result<Vec<_>>>()
            });
            for blocks in encoded {
                for blocks in blocks? {
                    codes.push(blocks.bytes())?;
                    codes.align()?;
                }
            }
            self.watch.check()?;
            if let Some(vectors) = &mut vectors {
                for e in start..end {
                    push_f32s(vectors, of(e))?;
                    vectors.align()?;
                }
            }
            start = end;
        }
        Ok(())
    }

    /// Payload in the old order, with an index in the new one: contents are read front to back, once.
    fn write_payload(
        &self,
        drafts: &Drafts,
        rows: &Range<u32>,
        map: &[u32],
        live: usize,
    ) -> Result<Option<(Blob, Blob)>> {
        let s = &self.pinned;
        let runs = s.runs[self.runs.clone()].iter().map(|(base, r)| (*base, r.len(), r.payload.as_ref()));
        let deltas = s.deltas[..self.deltas].iter().map(|(base, d)| (*base, d.len(), d.payload.as_ref()));
        let parts: Vec<_> = runs.chain(deltas).collect();
        if parts.iter().all(|(_, _, payload)| payload.is_none()) {
            return Ok(None);
        }
        let mut data = BlobWriter::new(drafts, Kind::Payload, FrameSize::K16);
        let mut entries = try_zeroed::<Entry>(live, "rebuild")?;
        let (mut at, mut bytes, mut checked) = (0u64, Zeroizing::new(Vec::new()), 0);
        for (base, len, payload) in parts {
            let Some(payload) = payload else { continue };
            let mut reader = PayloadReader::new(payload);
            for row in 0..len {
                if row.is_multiple_of(256) || at - checked > STEP_PAYLOAD {
                    self.watch.check()?;
                    checked = at;
                }
                let place = map[(base + row - rows.start) as usize];
                if place == DROPPED {
                    continue;
                }
                let entry = reader.read(row, &mut bytes)?;
                data.push(&bytes)?;
                entries[place as usize] = Entry { at, ..entry };
                at += bytes.len() as u64;
            }
        }
        let mut index = BlobWriter::new(drafts, Kind::Payload, FrameSize::K4);
        for piece in entries.chunks(4096) {
            let mut bytes = Vec::with_capacity(piece.len() * ENTRY);
            piece.iter().for_each(|e| e.write(&mut bytes));
            index.push(&bytes)?;
        }
        Ok(Some((index.finish()?, data.finish()?)))
    }
}

/// Writes little-endian float32 values.
fn push_f32s(writer: &mut BlobWriter<'_>, values: &[f32]) -> Result<()> {
    if cfg!(target_endian = "little") {
        return writer.push(bytemuck::cast_slice(values));
    }
    values.iter().try_for_each(|v| writer.push(&v.to_le_bytes()))
}

impl Rebuilt {
    /// Rows of the range.
    pub(super) fn rows(&self) -> Range<u32> {
        self.first..self.first + self.map.len() as u32
    }

    /// Rows of the new run.
    pub(super) fn live(&self) -> u32 {
        self.run.as_ref().map_or(0, |r| r.len())
    }

    /// Whether `current` still begins its range with what was read.
    pub(super) fn still_fits(&self, current: &Snapshot) -> bool {
        let same_runs = self.runs.clone().all(|i| {
            current
                .runs
                .get(i)
                .is_some_and(|(base, run)| *base == self.pinned.runs[i].0 && Arc::ptr_eq(run, &self.pinned.runs[i].1))
        });
        let same_deltas = (0..self.deltas).all(|i| {
            current
                .deltas
                .get(i)
                .is_some_and(|(base, d)| *base == self.pinned.deltas[i].0 && Arc::ptr_eq(d, &self.pinned.deltas[i].1))
        });
        same_runs && same_deltas
    }

    /// An error for a publication that came too late.
    pub(super) fn overtaken() -> Error {
        Error::Conflict { what: "the index was rebuilt meanwhile" }
    }
}
