//! Scanning lists for the queries that want them, and what a query leaves to be ranked.
//!
//! The queries of a batch go through their rounds together. In each round they are brought together list by list: the codes
//! of a list are opened and read once in it, for all queries that look into it. A query that comes alone takes its lists in its
//! own order, near ones first.

use std::ops::Range;

use super::curve::Reach;
use super::generation::Generation;
use super::prune::open_blocks;
use super::region::Scratch;
use super::snapshot::Snapshot;
use super::visit::Visit;
use crate::buffer::wipe_values;
use crate::error::{Error, Result};
use crate::exec::Watch;
use crate::ivf::{ProbeScratch, Sieve};
use crate::kernels::{self, LANES};
use crate::quant::{Group, Prepared};

/// Queries scored together against the codes of a list.
const TILE: usize = 16;
/// How far ahead of the next list it is asked where lists are cached.
const AHEAD: usize = 3;
/// Bytes of the next list's codes that are asked for: where they begin. The CPU follows from there; more would keep the list
/// that is being scored from coming.
const CODES: usize = 1024;
/// Bytes of the next list's centroid that are asked for: all of it up to 512 dimensions.
const CENTROID: usize = 2048;

/// Memory that scans reuse.
#[derive(Default)]
pub(super) struct Scanner {
    /// What was opened.
    pub(super) scratch: Scratch,
    work: Work,
    wanted: Wanted,
}

/// What the queries of a batch look into in a round.
#[derive(Default)]
struct Wanted {
    /// By list, of one list in the order of queries. Of a query that comes alone in its own order.
    pairs: Vec<Pair>,
    /// Where the next pair of each list goes.
    places: Vec<u32>,
}

/// A list and a query that looks into it.
#[derive(Clone, Copy, Default)]
struct Pair {
    list: u32,
    visit: u32,
    /// Of the list for the query, see [`Visit::lists`].
    coarse: f32,
}

impl Wanted {
    /// Brings the lists of all `visits` together, in two passes over them: they are counted, then put where they belong.
    fn gather(&mut self, lists: usize, visits: &[Visit]) {
        self.pairs.clear();
        let pair = |visit, (list, coarse)| Pair { list, visit, coarse };
        if let [visit] = visits {
            self.pairs.extend(visit.lists().map(|list| pair(0, list)));
            return;
        }
        self.places.clear();
        self.places.resize(lists, 0);
        visits.iter().flat_map(Visit::lists).for_each(|(list, _)| self.places[list as usize] += 1);
        let mut before = 0;
        for place in &mut self.places {
            before += std::mem::replace(place, before);
        }
        self.pairs.resize(before as usize, Pair::default());
        for (visit, i) in visits.iter().zip(0..) {
            for list in visit.lists() {
                let place = &mut self.places[list.0 as usize];
                self.pairs[*place as usize] = pair(i, list);
                *place += 1;
            }
        }
    }
}

/// What scoring a list works with.
#[derive(Default)]
struct Work {
    scores: Vec<f32>,
    /// Blocks that fronts leave open.
    open: Vec<Range<usize>>,
    /// Queries side by side.
    gathered: Vec<f32>,
    sieve: Sieve,
}

impl Scanner {
    /// Overwrites what remains of the queries.
    pub(super) fn wipe(&mut self) {
        self.scratch.wipe();
        wipe_values(&mut self.work.gathered);
    }

    /// Bytes held, about.
    pub(super) fn memory(&self) -> usize {
        let wanted = self.wanted.pairs.capacity() * size_of::<Pair>() + self.wanted.places.capacity() * 4;
        let open = self.work.open.capacity() * size_of::<Range<usize>>();
        self.scratch.capacity() + wanted + open + (self.work.scores.capacity() + self.work.gathered.capacity()) * 4
    }

    /// Takes all `visits`, which have begun, to their end.
    pub(super) fn run(
        &mut self,
        s: &Snapshot,
        g: &Generation,
        reach: Reach,
        visits: &mut [Visit],
        probe: &mut ProbeScratch,
        watch: &Watch,
    ) -> Result<()> {
        let mut wanted = std::mem::take(&mut self.wanted);
        let front = g.quantizer.fronts().map_or(CODES, |fronts| fronts.front_bytes().min(CODES));
        loop {
            let mut any = false;
            for visit in &mut *visits {
                any |= visit.next_round(g, reach, probe);
            }
            if !any {
                break;
            }
            wanted.gather(g.lists(), visits);
            let mut next = 0;
            for group in wanted.pairs.chunk_by(|a, b| a.list == b.list) {
                next += group.len();
                // Where a list is cached is asked for some lists before, the list itself one before.
                if let Some(pair) = wanted.pairs.get(next + AHEAD) {
                    s.runs.iter().for_each(|(_, run)| run.prefetch_list(pair.list as usize));
                }
                if let Some(pair) = wanted.pairs.get(next) {
                    let len = if visits[pair.visit as usize].is_pruned() { front } else { CODES };
                    s.runs.iter().for_each(|(_, run)| run.prefetch_codes(pair.list as usize, len));
                    if g.reads_centroids() {
                        let centroid = g.centroids.row(pair.list as usize);
                        kernels::prefetch(centroid.as_ptr(), size_of_val(centroid).min(CENTROID));
                    }
                }
                self.list(s, g, group, visits, watch)?;
            }
        }
        self.wanted = wanted;
        Ok(())
    }

    /// Scans one list for the visits of `group`.
    fn list(
        &mut self,
        s: &Snapshot,
        g: &Generation,
        group: &[Pair],
        visits: &mut [Visit],
        watch: &Watch,
    ) -> Result<()> {
        let Some(&Pair { list, visit: first, .. }) = group.first() else { return Ok(()) };
        let dead = &s.tombstones;
        let opened = self.scratch.opened;
        for (base, run) in &s.runs {
            for e in run.extents.of_list(list as usize) {
                watch.check()?;
                let rows = run.extents.rows(e);
                let row = |i: u32| base + rows.start + i;
                let codes = run.codes(e, &mut self.scratch)?;
                let scored = (&codes[..], rows.len());
                if dead.is_empty() {
                    score(g, list, scored, group, visits, &mut self.work, |i| Some(row(i)))?;
                } else {
                    let live = |i| Some(row(i)).filter(|&row| !dead.contains(row));
                    score(g, list, scored, group, visits, &mut self.work, live)?;
                }
            }
        }
        for chunk in s.tail.list(list as usize) {
            let live = |i: u32| Some(chunk.rows[i as usize]).filter(|&row| !dead.contains(row));
            let scored = (chunk.blocks.bytes(), chunk.rows.len());
            score(g, list, scored, group, visits, &mut self.work, live)?;
        }
        // What is opened for several queries counts for the first of them.
        visits[first as usize].stats.bytes_opened += self.scratch.opened - opened;
        Ok(())
    }
}

/// Scores `codes` of `n` vectors of `list` for the visits of `group`. `row` gives the row of a position, unless it is dead.
fn score(
    g: &Generation,
    list: u32,
    (codes, n): (&[u8], usize),
    group: &[Pair],
    visits: &mut [Visit],
    Work { scores, open, gathered, sieve }: &mut Work,
    row: impl Fn(u32) -> Option<u32>,
) -> Result<()> {
    let lanes = n.next_multiple_of(LANES);
    let block = g.quantizer.block_bytes();
    let codes = codes.get(..lanes / LANES * block).ok_or(Error::Corrupt { what: "codes" })?;
    let centroid = g.centroids.row(list as usize);
    for tile in group.chunks(TILE) {
        if scores.len() < tile.len() * lanes {
            scores.resize(tile.len() * lanes, 0.0);
        }
        let scores = &mut scores[..tile.len() * lanes];
        let prepared: [&Prepared; TILE] =
            std::array::from_fn(|i| &visits[tile[i.min(tile.len() - 1)].visit as usize].prepared);
        let mut own = [0.0; TILE];
        let own = &mut own[..tile.len()];
        let known = g.coarse_suffices();
        if known {
            for (own, pair) in own.iter_mut().zip(tile) {
                *own = visits[pair.visit as usize].own_score(g, list, pair.coarse);
            }
        }
        let centroid_scores = known.then_some(&*own);
        let mut together = Group { prepared: &prepared[..tile.len()], centroid_scores, gathered };
        // A single block is scored whole at once.
        let pruned = n > LANES && tile.iter().any(|pair| visits[pair.visit as usize].is_pruned());
        let Some(fronts) = g.quantizer.fronts().filter(|_| pruned) else {
            g.quantizer.score_many(kernels::best(), &mut together, centroid, codes, scores);
            for (pair, scores) in tile.iter().zip(scores.chunks_exact(lanes)) {
                let visit = &mut visits[pair.visit as usize];
                visit.nearest.offer_with(&scores[..n], &row, sieve);
                visit.stats.vectors_scanned += n as u64;
            }
            continue;
        };
        let mut least = [f32::NEG_INFINITY; TILE];
        let least = &mut least[..tile.len()];
        least.iter_mut().zip(tile).for_each(|(least, pair)| *least = visits[pair.visit as usize].least);
        fronts.score_fronts(kernels::best(), &together, centroid, codes, least, scores);
        for (i, (pair, scores)) in tile.iter().zip(scores.chunks_exact_mut(lanes)).enumerate() {
            let visit = &mut visits[pair.visit as usize];
            visit.stats.vectors_scanned += n as u64;
            open_blocks(&scores[..n], least[i], sieve, open);
            for blocks in &*open {
                let (first, end) = (blocks.start * LANES, blocks.end * LANES);
                let codes = &codes[blocks.start * block..blocks.end * block];
                let centroid_scores = known.then_some(&own[i..=i]);
                let mut alone = Group { prepared: &[&visit.prepared], centroid_scores, gathered };
                let scores = &mut scores[first..end];
                g.quantizer.score_many(kernels::best(), &mut alone, centroid, codes, scores);
                visit.nearest.offer_with(&scores[..end.min(n) - first], |i| row(first as u32 + i), sieve);
            }
        }
    }
    Ok(())
}
