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
use crate::error::Result;
use crate::exec::Watch;
use crate::ivf::{Kept, ProbeScratch, Relative, TOGETHER};
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
    /// What coarse scores of lists are relative to.
    relative: Relative,
    /// Under a stopping rule: the coarse score of every list.
    coarse: Vec<f32>,
    /// Lists that may be visited: without a stopping rule the nearest eighth first, with it nearest first. Each with its
    /// coarse score, under a stopping rule from the second round on with `-|q - m|^2 / 2` of its mean m.
    lists: Vec<(f32, u32)>,
    /// Whether the second round was reached.
    further: bool,
    /// How many of them were visited.
    visited: usize,
    /// How many of them this round takes.
    round: usize,
}

impl Visit {
    /// Starts `visits` on their queries, looking as far as `reach` says and keeping the `kept` best of each.
    pub(super) fn begin(
        visits: &mut [Self],
        g: &Generation,
        (reach, kept): (Reach, usize),
        probe: &mut ProbeScratch,
        watch: &Watch,
    ) -> Result<()> {
        for visits in visits.chunks_mut(TOGETHER) {
            watch.check()?;
            g.centroids.score(visits.iter().map(|visit| &visit.query[..]), probe);
            for (i, visit) in visits.iter_mut().enumerate() {
                visit.begin_one(i, g, reach, probe);
                g.quantizer.prepare(&visit.query, &mut visit.prepared);
                visit.nearest.reset(kept);
                visit.stats = QueryStats::default();
                (visit.visited, visit.round, visit.further) = (0, 0, false);
            }
        }
        Ok(())
    }

    /// Chooses the lists of the first round by the `i`-th of the scores in `probe`.
    fn begin_one(&mut self, i: usize, g: &Generation, reach: Reach, probe: &mut ProbeScratch) {
        self.coarse.clear();
        if reach.stop.is_none() {
            self.relative = g.centroids.choose(i, reach.probes, probe, &mut self.lists);
            return;
        }
        let (scores, relative) = g.centroids.scores(i, probe);
        self.coarse.extend_from_slice(scores);
        self.relative = relative;
        probe.top.reset(reach.round(FIRST_SHARE));
        probe.top.offer_all(&self.coarse);
        probe.top.finish(&mut self.lists);
    }

    /// Takes the lists of the next round; whether there are any: none when the query has seen enough.
    pub(super) fn next_round(&mut self, g: &Generation, reach: Reach, probe: &mut ProbeScratch) -> bool {
        let first = self.visited + self.round == 0;
        self.visited += self.round;
        self.round = self.lists.len() - self.visited;
        if let Some(stop) = reach.stop
            && !first
        {
            self.look_further(g, reach, stop, probe);
        }
        self.stats.lists_probed += self.round as u32;
        self.round > 0
    }

    /// The lists of this round, each with the coarse score of its centroid.
    pub(super) fn lists(&self) -> impl Iterator<Item = (u32, f32)> {
        let lists = &self.lists[self.visited..self.visited + self.round];
        lists.iter().map(|&(score, list)| (list, self.coarse.get(list as usize).copied().unwrap_or(score)))
    }

    /// What the centroid of `list` scores, from its coarse `score`.
    pub(super) fn own_score(&self, g: &Generation, list: u32, score: f32) -> f32 {
        g.centroids.own_score(g.quantizer.similarity(), list, score, &self.relative)
    }

    /// Chooses the lists of a later round among those that what was found so far leaves.
    fn look_further(&mut self, g: &Generation, reach: Reach, stop: Stop, probe: &mut ProbeScratch) {
        let enough = half_square(g.quantizer.similarity(), self.nearest.nth_best(stop.rank)) - stop.margin;
        if !self.further {
            // The first time: all that are near enough and were not in the first round.
            let (coarse, last) = (&self.coarse, self.lists.last().map_or(0, |&(_, list)| list));
            let before = |a: u32, b: u32| {
                // The order of `TopK`, in which the two zeros are equal. None of them is a NaN.
                let [x, y] = [a, b].map(|list| coarse[list as usize]);
                y.partial_cmp(&x).unwrap_or(Ordering::Equal).then(a.cmp(&b))
            };
            self.lists.clear();
            g.half_squares(coarse, &self.relative, &mut probe.spare);
            probe.top.at_least(&probe.spare, enough, &mut self.lists);
            self.lists.retain(|&(_, list)| before(last, list) == Ordering::Less);
            self.lists.sort_unstable_by(|a, b| before(a.1, b.1));
            self.lists.truncate(reach.probes.saturating_sub(self.visited));
            self.further = true;
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
        (self.nearest.capacity() + self.lists.capacity()) * 8 + self.coarse.capacity() * 4 + self.query.capacity() * 16
    }

    /// Overwrites the query.
    pub(super) fn wipe(&mut self) {
        wipe_values(&mut self.query);
        self.prepared.wipe();
        self.relative = Relative::default();
    }
}
