//! One query on its way through the lists: which it looks into next, and when it has seen enough.
//!
//! Lists are visited in rounds. Without a stopping rule there is one round, of the nearest lists. With it (`margin`) the
//! first round takes half of the lists that would be visited without the rule. What it found says how far lists may be: those
//! that are near enough are then sorted, and visited a few at a time while that distance, which each round may
//! shorten, leaves any. So no more lists are put into order than have a chance. Near enough is measured to the means of lists;
//! the order is by centroids. (Under cosine, where the two differ, ordered by means 5 % more vectors were scanned for the same
//! recall on 331,479 GloVe words: wide lists come last then, and they are the larger ones.)
//!
//! Invariant: which lists a query visits depends on the query and the snapshot alone, not on the order inside a round and
//! not on other queries of its batch: so a batch may bring its queries together list by list, and answers as single
//! queries do.

use std::cmp::Ordering;

use super::curve::{Reach, Stop};
use super::generation::Generation;
use super::margin::half_square;
use super::results::QueryStats;
use crate::buffer::wipe_values;
use crate::ivf::{Kept, ProbeScratch};
use crate::quant::Prepared;

/// Shares of the usual lists that the first and the later rounds take, as divisors.
const FIRST_SHARE: usize = 2;
const LATER_SHARE: usize = 12;

/// Where a query is. Reused from query to query.
#[derive(Default)]
pub(super) struct Visit {
    /// As stored vectors are: of length 1 under cosine.
    pub(super) query: Vec<f32>,
    pub(super) prepared: Prepared,
    /// The best candidates by code.
    pub(super) nearest: Kept,
    pub(super) stats: QueryStats,
    /// Under a stopping rule, until the second round: `-|q - c|^2 / 2` of the centroid c of every list.
    halves: Vec<f32>,
    /// Lists that may be visited: without a stopping rule the nearest eighth first, with it nearest first; from the second
    /// round on each with `-|q - m|^2 / 2` of its mean m.
    lists: Vec<(f32, u32)>,
    /// How many of them were visited.
    visited: usize,
    /// How many of them this round takes.
    round: usize,
}

impl Visit {
    /// Starts on `self.query`, looking as far as `reach` says and keeping the `kept` best.
    pub(super) fn begin(&mut self, g: &Generation, reach: Reach, kept: usize, probe: &mut ProbeScratch) {
        match reach.stop {
            None => g.centroids.probe_unsorted(&self.query, reach.probes, probe, &mut self.lists),
            Some(_) => {
                g.centroids.all(&self.query, probe, &mut self.halves);
                probe.top.reset(reach.round(FIRST_SHARE));
                probe.top.offer_all(&self.halves);
                probe.top.finish(&mut self.lists);
            }
        }
        g.quantizer.prepare(&self.query, &mut self.prepared);
        self.nearest.reset(kept);
        self.stats = QueryStats::default();
        (self.visited, self.round) = (0, 0);
    }

    /// The lists of the next round; none when the query has seen enough.
    pub(super) fn next_round(&mut self, g: &Generation, reach: Reach, probe: &mut ProbeScratch) -> &[(f32, u32)] {
        let first = self.visited + self.round == 0;
        self.visited += self.round;
        self.round = self.lists.len() - self.visited;
        if let Some(stop) = reach.stop
            && !first
        {
            self.look_further(g, reach, stop, probe);
        }
        self.stats.lists_probed += self.round as u32;
        &self.lists[self.visited..self.visited + self.round]
    }

    /// Chooses the lists of a later round among those that what was found so far leaves.
    fn look_further(&mut self, g: &Generation, reach: Reach, stop: Stop, probe: &mut ProbeScratch) {
        let enough = half_square(g.quantizer.similarity(), self.nearest.nth_best(stop.rank)) - stop.margin;
        if !self.halves.is_empty() {
            // The first time: all that are near enough and were not in the first round.
            let (halves, last) = (&self.halves, self.lists.last().map_or(0, |&(_, list)| list));
            let before = |a: u32, b: u32| {
                // The order of `TopK`, in which the two zeros are equal. None of them is a NaN.
                let [x, y] = [a, b].map(|list| halves[list as usize]);
                y.partial_cmp(&x).unwrap_or(Ordering::Equal).then(a.cmp(&b))
            };
            self.lists.clear();
            g.half_squares(halves, &mut probe.spare);
            probe.top.at_least(&probe.spare, enough, &mut self.lists);
            self.lists.retain(|&(_, list)| before(last, list) == Ordering::Less);
            self.lists.sort_unstable_by(|a, b| before(a.1, b.1));
            self.lists.truncate(reach.probes.saturating_sub(self.visited));
            self.halves.clear();
            self.visited = 0;
        } else {
            let mut kept = self.visited;
            for i in self.visited..self.lists.len() {
                self.lists[kept] = self.lists[i];
                kept += usize::from(self.lists[i].0 >= enough);
            }
            self.lists.truncate(kept);
        }
        self.round = (self.lists.len() - self.visited).min(reach.round(LATER_SHARE));
    }

    /// Bytes held, about.
    pub(super) fn memory(&self) -> usize {
        (self.nearest.capacity() + self.lists.capacity()) * 8 + self.halves.capacity() * 4 + self.query.capacity() * 16
    }

    /// Overwrites the query.
    pub(super) fn wipe(&mut self) {
        wipe_values(&mut self.query);
        self.prepared.wipe();
    }
}
