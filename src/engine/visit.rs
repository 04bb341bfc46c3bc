//! One query on its way through the lists: which it looks into next, and when it has seen enough.
//!
//! Without a stopping rule there is one round, of the nearest lists. With it (`margin`) there are two: the first takes half of
//! the lists that would be visited without the rule, and what it found says how far lists may be for the second, which takes
//! all that are near enough. (More rounds, in which that distance would shrink further, scanned 0.5 % fewer vectors and took
//! longer.) Where fronts of codes are scored first (`prune`), the nearest lists are a round of their own before these: the
//! worst of their best says what a front must promise in the others. Near enough is measured to the means of lists;
//! the order is by centroids, and each has biases of its own (`bias`), which count wherever lists are called near here. (Under
//! cosine, where the two differ, ordered by means 5 % more vectors were scanned for the same recall on 331,479 GloVe words,
//! before there were biases: wide lists come last then, and they are the larger ones.)
//!
//! Invariant: which lists a query visits depends on the query and the snapshot alone, not on the order inside a round and
//! not on other queries of its batch: so a batch may bring its queries together list by list, and answers as single
//! queries do.

use std::cmp::Ordering;
use std::ops::Range;

use super::curve::{Reach, Stop};
use super::generation::Generation;
use super::margin::half_square;
use super::results::QueryStats;
use crate::buffer::wipe_values;
use crate::error::Result;
use crate::exec::Watch;
use crate::ivf::{Kept, ProbeScratch, Relative, TOGETHER};
use crate::quant::Prepared;

/// Share of the usual lists that come before the stopping rule is asked, as a divisor.
const FIRST_SHARE: usize = 2;

/// Where a query is. Reused from query to query.
#[derive(Default)]
pub(super) struct Visit {
    /// As stored vectors are: of length 1 under cosine.
    pub(super) query: Vec<f32>,
    pub(super) prepared: Prepared,
    /// The best candidates by code.
    pub(super) nearest: Kept,
    /// Where fronts of codes are scored first: the score below which a vector is not among the best any more. Minus infinity
    /// where whole codes are.
    pub(super) least: f32,
    pub(super) stats: QueryStats,
    /// What coarse scores of lists are relative to.
    relative: Relative,
    /// Under a stopping rule: the coarse score of every list.
    coarse: Vec<f32>,
    /// Lists of this round and those chosen with it, each with its coarse score where `coarse` is empty. Before the stopping
    /// rule is asked nearest first; without one the nearest eighth comes first.
    lists: Vec<(f32, u32)>,
    /// Those of this round.
    now: Range<usize>,
    /// How many of the first are a round of their own.
    whole: usize,
    /// Whether there was a round, and whether the stopping rule was asked.
    begun: bool,
    stopped: bool,
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
                visit.now = 0..0;
                (visit.begun, visit.stopped) = (false, false);
            }
        }
        Ok(())
    }

    /// Chooses the first lists by the `i`-th of the scores in `probe`.
    fn begin_one(&mut self, i: usize, g: &Generation, reach: Reach, probe: &mut ProbeScratch) {
        self.coarse.clear();
        if reach.stop.is_none() {
            self.relative = g.centroids.choose(i, reach.probes, &g.biases.order, probe, &mut self.lists);
        } else {
            self.relative = g.centroids.rank(i, reach.round(FIRST_SHARE), &g.biases.order, probe, &mut self.lists);
            self.coarse.extend_from_slice(g.centroids.scores(i, probe).0);
        }
        self.whole = reach.whole.map_or(self.lists.len(), |whole| whole.min(self.lists.len()));
    }

    /// Takes the lists of the next round; whether there are any: none when the query has seen enough.
    pub(super) fn next_round(&mut self, g: &Generation, reach: Reach, probe: &mut ProbeScratch) -> bool {
        let begun = std::mem::replace(&mut self.begun, true);
        self.now = self.now.end..if begun { self.lists.len() } else { self.whole };
        if let (true, false, Some(stop)) = (self.now.is_empty(), self.stopped, reach.stop) {
            self.stopped = true;
            self.look_further(g, reach, stop, probe);
            self.now = 0..self.lists.len();
        }
        self.least = f32::NEG_INFINITY;
        if begun && reach.whole.is_some() {
            self.nearest.select();
            self.least = self.nearest.threshold();
        }
        self.stats.lists_probed += self.now.len() as u32;
        !self.now.is_empty()
    }

    /// Whether fronts of codes are scored first in this round.
    pub(super) fn is_pruned(&self) -> bool {
        self.least > f32::NEG_INFINITY
    }

    /// The lists of this round, each with the coarse score of its centroid.
    pub(super) fn lists(&self) -> impl Iterator<Item = (u32, f32)> {
        self.lists[self.now.clone()]
            .iter()
            .map(|&(score, list)| (list, self.coarse.get(list as usize).copied().unwrap_or(score)))
    }

    /// What the centroid of `list` scores, from its coarse `score`.
    pub(super) fn own_score(&self, g: &Generation, list: u32, score: f32) -> f32 {
        g.centroids.own_score(g.quantizer.similarity(), list, score, &self.relative)
    }

    /// Chooses the lists of the last round: those that what was found so far leaves, of too many the nearest.
    fn look_further(&mut self, g: &Generation, reach: Reach, stop: Stop, probe: &mut ProbeScratch) {
        let enough = half_square(g.quantizer.similarity(), self.nearest.nth_best(stop.rank)) - stop.margin;
        let (coarse, last) = (&self.coarse, self.lists.last().map_or(0, |&(_, list)| list));
        let order = |a: u32, b: u32| {
            // The order of `TopK`, in which the two zeros are equal. None of them is a NaN.
            let [x, y] = [a, b].map(|list| g.biases.ordered_by(list, coarse[list as usize]));
            y.partial_cmp(&x).unwrap_or(Ordering::Equal).then(a.cmp(&b))
        };
        let most = reach.probes.saturating_sub(self.lists.len());
        self.lists.clear();
        g.half_squares(coarse, &self.relative, &mut probe.spare);
        g.biases.judge(&mut probe.spare);
        probe.top.at_least(&probe.spare, enough, &mut self.lists);
        self.lists.retain(|&(_, list)| order(last, list) == Ordering::Less);
        if self.lists.len() > most {
            self.lists.select_nth_unstable_by(most, |a, b| order(a.1, b.1));
            self.lists.truncate(most);
        }
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
        self.least = f32::NEG_INFINITY;
    }
}
