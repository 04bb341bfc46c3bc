//! One query on its way through the lists: which it looks into next, and when it has seen enough.
//!
//! Lists are visited in rounds, nearest first. Without a stopping rule there is one round. With it (`margin`) the first
//! round takes half of the lists that would be visited without the rule, and the later ones a sixteenth each; between two
//! rounds the rank-th best vector so far is selected, and of the lists that are left those stay that are not farther than it
//! by more than the margin. A query that has none left is answered.
//!
//! Invariant: which lists a query visits depends on the query and the snapshot alone, not on the order inside a round and
//! not on other queries of its batch: so a batch may bring its queries together list by list, and answers as single
//! queries do.

use std::cmp::Ordering;

use zeroize::Zeroize;

use super::curve::Reach;
use super::generation::Generation;
use super::margin::half_square;
use super::results::QueryStats;
use crate::ivf::{Kept, ProbeScratch};
use crate::quant::Prepared;

/// Shares of the lists that the first and the later rounds take, as divisors.
const FIRST_SHARE: usize = 2;
const LATER_SHARE: usize = 16;

/// Where a query is. Reused from query to query.
#[derive(Default)]
pub(super) struct Visit {
    /// As stored vectors are: of length 1 under cosine.
    pub(super) query: Vec<f32>,
    pub(super) prepared: Prepared,
    /// The best candidates by code.
    pub(super) nearest: Kept,
    pub(super) stats: QueryStats,
    /// Lists that may be visited, nearest first, each with its `-|q - m|^2 / 2`.
    lists: Vec<(f32, u32)>,
    /// How many of them were.
    visited: usize,
    /// How many of them this round takes.
    round: usize,
}

impl Visit {
    /// Starts on `self.query`, looking as far as `reach` says and keeping the `kept` best.
    pub(super) fn begin(&mut self, g: &Generation, reach: Reach, kept: usize, probe: &mut ProbeScratch) {
        g.centroids.probe(&self.query, reach.probes, probe, &mut self.lists);
        if reach.stop.is_some() {
            self.lists.iter_mut().for_each(|(half, list)| *half = g.half_square(*list, *half));
        }
        g.quantizer.prepare(&self.query, &mut self.prepared);
        self.nearest.reset(kept);
        self.stats = QueryStats::default();
        (self.visited, self.round) = (0, 0);
    }

    /// The lists of the next round; none when the query has seen enough.
    pub(super) fn next_round(&mut self, g: &Generation, reach: Reach) -> &[(f32, u32)] {
        self.visited += self.round;
        self.round = match reach.stop {
            None => self.lists.len() - self.visited,
            Some(_) if self.visited == 0 => reach.round(FIRST_SHARE),
            Some(stop) => {
                self.nearest.select();
                let enough = half_square(g.quantizer.similarity(), self.nearest.threshold()) - stop.margin;
                let mut kept = self.visited;
                for i in self.visited..self.lists.len() {
                    // What cannot be compared, beyond the range of float32, is looked into.
                    if self.lists[i].0.partial_cmp(&enough) != Some(Ordering::Less) {
                        self.lists[kept] = self.lists[i];
                        kept += 1;
                    }
                }
                self.lists.truncate(kept);
                reach.round(LATER_SHARE)
            }
        };
        self.round = self.round.min(self.lists.len() - self.visited);
        self.stats.lists_probed += self.round as u32;
        &self.lists[self.visited..self.visited + self.round]
    }

    /// Bytes held, about.
    pub(super) fn memory(&self) -> usize {
        (self.nearest.capacity() + self.lists.capacity()) * 8 + self.query.capacity() * 16
    }

    /// Overwrites the query.
    pub(super) fn wipe(&mut self) {
        self.query.zeroize();
        self.prepared.wipe();
    }
}
