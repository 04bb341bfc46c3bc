//! Rewriting a range of rows as one run in list order. Merge, compaction and training are this one operation.
//!
//! Input: a pinned snapshot, a range of its runs and some of its first deltas, and the generation to code for. Dead
//! rows are dropped, the rest is assigned, sorted by list, renumbered densely from the range's first row, encoded and
//! written. Nothing is visible before `publish` names the new run. Vectors are gathered list group by list group, so
//! memory stays within a budget however large the range is: a group costs one streaming pass over the range.

use std::ops::Range;
use std::sync::Arc;

use super::calibrate::Calibrator;
use super::drafts::Drafts;
use super::extents::rows_per_extent;
use super::generation::Generation;
use super::index::Index;
use super::region::Scratch;
use super::run::Run;
use super::snapshot::Snapshot;
use crate::buffer::Buffer;
use crate::error::{Error, Result, try_with_capacity, try_zeroed};
use crate::exec::{Progress, Watch};
use crate::kernels::LANES;

/// Stands for "dropped" where a row or list is expected.
pub(super) const DROPPED: u32 = u32::MAX;

/// Multiplications of an assignment between two looks at the watch: some milliseconds.
pub(super) const STEP_WORK: usize = 1 << 30;

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

    /// Does it. `calibrator` sees every row once.
    pub(super) fn run(self, calibrator: Option<&mut Calibrator>) -> Result<Rebuilt> {
        let rows = self.rows();
        let mut map = self.assign(&rows)?;
        let n_lists = self.to.lists();
        let mut lens = try_zeroed::<u32>(n_lists, "rebuild")?;
        map.iter().filter(|&&l| l != DROPPED).for_each(|&l| lens[l as usize] += 1);
        // Counting sort: `map` turns from the list of each row to its place, `order` is the row at each place.
        let mut next = try_with_capacity(n_lists, "rebuild")?;
        let mut live = 0u32;
        for &len in &lens {
            next.push(live);
            live += len;
        }
        let mut order = try_zeroed::<u32>(live as usize, "rebuild")?;
        for (row, place) in (rows.start..).zip(map.iter_mut()).filter(|(_, list)| **list != DROPPED) {
            let next = &mut next[*place as usize];
            order[*next as usize] = row;
            *place = *next;
            *next += 1;
        }
        let drafts = Drafts::new(&self.index.vault, self.index.shared.exec.threads());
        let run = match live {
            0 => None,
            _ => Some(Arc::new(self.write(&drafts, &rows, lens, &map, &order, calibrator)?)),
        };
        drafts.settle()?;
        let (pinned, runs, deltas) = (self.pinned, self.runs, self.deltas);
        Ok(Rebuilt { pinned, runs, deltas, run, first: rows.start, map, drafts })
    }

    /// The list of every row of the range.
    fn assign(&self, rows: &Range<u32>) -> Result<Vec<u32>> {
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
            self.progress.advance(n as u64);
            Ok(())
        })?;
        for row in s.tombstones.iter().filter(|r| rows.contains(r)) {
            lists[(row - rows.start) as usize] = DROPPED;
        }
        Ok(lists)
    }
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
