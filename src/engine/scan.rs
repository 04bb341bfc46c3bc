//! Scanning lists for the queries that want them, and what a query leaves to be ranked.
//!
//! The queries of a batch go through their rounds together. In each round they are brought together list by list: the codes
//! of a list are opened and read once, for all queries that look into it. A query that comes alone takes its lists in its
//! own order, near ones first.

use super::curve::Reach;
use super::generation::Generation;
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
/// Bytes of the next list's centroid that are asked for: all of it up to 512 dimensions.
const CENTROID: usize = 2048;

/// Memory that scans reuse.
#[derive(Default)]
pub(super) struct Scanner {
    /// What was opened.
    pub(super) scratch: Scratch,
    work: Work,
    /// The lists of a round with the position of a query that wants each.
    wanted: Vec<(u32, u32)>,
}

/// What scoring a list works with.
#[derive(Default)]
struct Work {
    scores: Vec<f32>,
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
        loop {
            wanted.clear();
            for (visit, i) in visits.iter_mut().zip(0..) {
                wanted.extend(visit.next_round(g, reach, probe).iter().map(|&(_, list)| (list, i)));
            }
            if wanted.is_empty() {
                break;
            }
            if visits.len() > 1 {
                wanted.sort_unstable();
            }
            let mut next = 0;
            for group in wanted.chunk_by(|a, b| a.0 == b.0) {
                next += group.len();
                // Where a list is cached is asked for some lists before, the list itself one before.
                if let Some(&(list, _)) = wanted.get(next + AHEAD) {
                    s.runs.iter().for_each(|(_, run)| run.prefetch_list(list as usize));
                }
                if let Some(&(list, _)) = wanted.get(next) {
                    s.runs.iter().for_each(|(_, run)| run.prefetch_codes(list as usize));
                    let centroid = g.centroids.row(list as usize);
                    kernels::prefetch(centroid.as_ptr(), size_of_val(centroid).min(CENTROID));
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
        group: &[(u32, u32)],
        visits: &mut [Visit],
        watch: &Watch,
    ) -> Result<()> {
        let Some(&(list, first)) = group.first() else { return Ok(()) };
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
    group: &[(u32, u32)],
    visits: &mut [Visit],
    Work { scores, gathered, sieve }: &mut Work,
    row: impl Fn(u32) -> Option<u32>,
) -> Result<()> {
    let lanes = n.next_multiple_of(LANES);
    let bytes = lanes / LANES * g.quantizer.block_bytes();
    let codes = codes.get(..bytes).ok_or(Error::Corrupt { what: "codes" })?;
    let centroid = g.centroids.row(list as usize);
    for tile in group.chunks(TILE) {
        if scores.len() < tile.len() * lanes {
            scores.resize(tile.len() * lanes, 0.0);
        }
        let scores = &mut scores[..tile.len() * lanes];
        let prepared: [&Prepared; TILE] =
            std::array::from_fn(|i| &visits[tile[i.min(tile.len() - 1)].1 as usize].prepared);
        let mut together = Group { prepared: &prepared[..tile.len()], gathered };
        g.quantizer.score_many(kernels::best(), &mut together, centroid, codes, scores);
        for (&(_, visit), scores) in tile.iter().zip(scores.chunks_exact(lanes)) {
            let visit = &mut visits[visit as usize];
            visit.nearest.offer_with(&scores[..n], &row, sieve);
            visit.stats.vectors_scanned += n as u64;
        }
    }
    Ok(())
}
