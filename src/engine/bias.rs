//! What lists promise beyond their distance: a bias for each, which queries add to its score when they choose lists.
//!
//! Queries look for lists by the distance of their centroid, which says on average how many neighbours a list has, but not of
//! each list: a wide one, or one in a region where queries find many neighbours, has more at the same distance. The held-out
//! rows and their true neighbours show which. It is a regression of counts: a row of list l is expected to be a neighbour of
//! query q with probability `exp(a z + b)`, z the score of l for q less what q compares it with. Of the neighbours only the
//! fifth with the least z counts, since that is where it is decided which lists are visited: with z cut into bins, a and
//! b fit the share of rows in each that are neighbours. Then a list with H neighbours where E were expected is as good as one
//! whose score is `ln(H / E) / a` greater. The list gets three quarters of that, with 10 neighbours as expected thrown in, so
//! that lists of which little is known stay what they are.
//!
//! There are two biases, since lists are chosen in two ways. *Order*: the score is that of the centroid, and what it is
//! compared with that of the list at which the middle of the neighbours that count lies. *Stopping rule* (`margin`): the score
//! is that of the mean, compared with the R-th best vector. Under inner product there are none: scores are in proportion to
//! the query there, biases are not.
//!
//! Biases that were fitted to a query's own neighbours flatter it. So each half of the held-out rows has biases of the other
//! half as well, by which the recall curve is measured. Where one of the two halves tells nothing that is clear, there are none.

use std::sync::atomic::{AtomicU32, Ordering};

use super::calibrate::Query;
use super::generation::Generation;
use super::wire::{Put, Reader};
use crate::error::{Error, Result, try_with_capacity, try_zeroed};
use crate::exec::{Exec, Watch};
use crate::ivf::{ProbeScratch, Relative, biased};

/// Bins of z.
const BINS: usize = 16;
/// The neighbours that count, as a divisor: those in the farthest lists. Of them as many again, as a divisor, are left out as
/// stray.
const FAR_SHARE: usize = 5;
const STRAY_SHARE: usize = 40;
/// Neighbours thrown in as expected.
const PRIOR: f64 = 10.0;
/// What is taken of what counts say: a query may have many neighbours in one list, which count as if they were independent.
/// (benches/METHOD.md has what half of it and all of it save.)
const TAKEN: f64 = 0.75;
/// How many times its standard error a slope must be.
const CLEAR: f64 = 3.0;
/// Lists taken between two looks at the watch.
const STEP: usize = 4096;
/// Queries of a work item.
const GRAIN: usize = 32;
/// Queries, as a divisor, that tell where the middle of the neighbours that count lies.
const ASKED_SHARE: usize = 4;

/// The biases of a generation: of each kind one for each list, in units of `|q - c|^2 / 2`, or none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Biases {
    /// For the order of lists.
    pub(super) order: Vec<f32>,
    /// For the stopping rule.
    pub(super) near: Vec<f32>,
}

/// The biases of all held-out rows, and for each half of them those of the other half: query i is of half i mod 2.
pub(super) struct Learned {
    pub(super) all: Biases,
    pub(super) of_others: [Biases; 2],
}

impl Biases {
    /// Whether lists are taken as they are.
    pub(super) fn is_none(&self) -> bool {
        self.order.is_empty() && self.near.is_empty()
    }

    /// By what `list` is ordered, from its coarse `score`.
    pub(super) fn ordered_by(&self, list: u32, score: f32) -> f32 {
        self.order.get(list as usize).map_or(score, |&bias| biased(score, bias))
    }

    /// Turns the half squares of the means of all lists into what the stopping rule judges them by.
    pub(super) fn judge(&self, halves: &mut [f32]) {
        halves.iter_mut().zip(&self.near).for_each(|(half, &bias)| *half = biased(*half, bias));
    }

    /// Appends the biases.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for biases in [&self.order, &self.near] {
            out.put_u8(u8::from(!biases.is_empty()));
            out.put_f32s(biases);
        }
    }

    /// Reads what [`Self::write`] wrote for so many `lists`.
    pub(super) fn read(r: &mut Reader<'_>, lists: usize) -> Result<Self> {
        let corrupt = Error::Corrupt { what: "biases" };
        let mut one = || match r.u8()? {
            0 => Ok(Vec::new()),
            1 => r.f32s(lists),
            _ => Err(corrupt.clone()),
        };
        let biases = Self { order: one()?, near: one()? };
        if !biases.order.iter().chain(&biases.near).all(|bias| bias.is_finite()) {
            return Err(corrupt);
        }
        Ok(biases)
    }
}

/// Bytes that learning the biases of so many `lists` takes on so many `threads`, and measuring a curve with them.
pub(super) fn memory(lists: u64, threads: u64) -> u64 {
    // All biases and the lengths of lists; two tallies, and scores and z on each thread; or scores, what is chosen from them
    // and the order of lists on each thread.
    lists * (7 * 4 + (2 * 4 * (BINS as u64 + 1) + threads * 12).max(threads * 40))
}

/// Learns biases for the lists of `g`, whatever biases it has, from `queries` whose neighbours are known. `lens` are the rows
/// of each list.
pub(super) fn learn(queries: &[Query], g: &Generation, lens: &[u32], exec: &Exec, watch: &Watch) -> Result<Learned> {
    let scoring = Scoring { queries, g, exec, watch };
    let order = View { near: false, from: scoring.cuts()? };
    let near = View { near: true, from: queries.iter().map(|q| q.reached).collect() };
    let order = scoring.fit(&order, lens)?;
    let near = scoring.fit(&near, lens)?;
    let [all, of_0, of_1] = together(order, near);
    Ok(Learned { all, of_others: [of_1, of_0] })
}

/// The biases of all, of the first half and of the second, of both kinds.
fn together(order: [Vec<f32>; 3], near: [Vec<f32>; 3]) -> [Biases; 3] {
    let mut near = near.into_iter();
    order.map(|order| Biases { order, near: near.next().unwrap_or_default() })
}

/// A way in which lists are chosen.
struct View {
    /// By the means of lists, else by centroids.
    near: bool,
    /// What each query compares lists with; a query without it is left out.
    from: Vec<Option<f32>>,
}

/// Queries and the lists that they score.
struct Scoring<'a> {
    queries: &'a [Query],
    g: &'a Generation,
    exec: &'a Exec,
    watch: &'a Watch,
}

impl Scoring<'_> {
    /// `f(i, query i, coarse scores of all lists, what they are relative to)` of all queries, in order.
    fn map<T: Send>(&self, f: impl Fn(usize, &Query, &[f32], &Relative) -> Result<T> + Sync) -> Result<Vec<T>> {
        let pieces = self.exec.map(self.queries.len().div_ceil(GRAIN), |piece| {
            let mut scratch = ProbeScratch::new();
            let queries = (piece * GRAIN..).zip(self.queries.chunks(GRAIN).nth(piece).unwrap_or_default());
            let answer = |(i, query): (usize, &Query)| {
                self.watch.check()?;
                self.g.centroids.score(std::iter::once(&query.vector[..]), &mut scratch);
                let (scores, relative) = self.g.centroids.scores(0, &scratch);
                f(i, query, scores, &relative)
            };
            queries.map(answer).collect::<Result<Vec<T>>>()
        });
        let mut all = try_with_capacity(self.queries.len(), "biases")?;
        for piece in pieces {
            all.extend(piece?);
        }
        Ok(all)
    }

    /// The coarse score of each query's list at which the middle of the neighbours that count lies, by rank.
    fn cuts(&self) -> Result<Vec<Option<f32>>> {
        let of_neighbours = self.map(|i, query, scores, _| {
            if !i.is_multiple_of(ASKED_SHARE) {
                return Ok(Vec::new());
            }
            let mut sorted = copy(scores)?;
            sorted.sort_unstable_by(|a, b| b.total_cmp(a));
            let rank = |&list: &u32| sorted.partition_point(|&score| score > scores[list as usize]);
            Ok(query.lists.iter().map(rank).collect())
        })?;
        let mut ranks: Vec<usize> = of_neighbours.concat();
        if ranks.is_empty() {
            return Ok(vec![None; self.queries.len()]);
        }
        let middle = ranks.len() - 1 - ranks.len() / FAR_SHARE / 2;
        let middle = *ranks.select_nth_unstable(middle).1;
        self.map(|_, _, scores, _| {
            let mut scores = copy(scores)?;
            Ok(Some(*scores.select_nth_unstable_by(middle, |a, b| b.total_cmp(a)).1))
        })
    }

    /// z of every list for a query.
    fn distances(&self, view: &View, from: f32, scores: &[f32], relative: &Relative) -> Result<Vec<f32>> {
        let mut z = try_with_capacity(scores.len(), "biases")?;
        if view.near {
            self.g.half_squares(scores, relative, &mut z);
        } else {
            z.extend_from_slice(scores);
        }
        z.iter_mut().for_each(|z| *z -= from);
        Ok(z)
    }

    /// The biases by `view` of all queries, of the first half, and of the second; all empty where one of these tells nothing.
    fn fit(&self, view: &View, lens: &[u32]) -> Result<[Vec<f32>; 3]> {
        let of_neighbours = self.map(|i, query, scores, relative| {
            let Some(from) = view.from[i] else { return Ok(Vec::new()) };
            let z = self.distances(view, from, scores, relative)?;
            Ok(query.lists.iter().map(|&list| z[list as usize]).collect())
        })?;
        let mut z: Vec<f32> = of_neighbours.concat();
        z.retain(|z| z.is_finite());
        z.sort_unstable_by(f32::total_cmp);
        let far = z.len() / FAR_SHARE;
        let ends = z.get(far / STRAY_SHARE).zip(z.get(far));
        let Some((&least, &most)) = ends.filter(|(least, most)| least < most) else { return Ok(Default::default()) };
        let bin = |z: f32| {
            let bin = ((z - least) / (most - least) * BINS as f32) as usize;
            (least..=most).contains(&z).then_some(bin.min(BINS - 1))
        };
        let halves = [Tally::new(lens.len())?, Tally::new(lens.len())?];
        self.map(|i, query, scores, relative| {
            let Some(from) = view.from[i] else { return Ok(()) };
            let (z, half) = (self.distances(view, from, scores, relative)?, &halves[i % 2]);
            for (list, &z) in z.iter().enumerate().filter(|&(list, _)| query.compared(list)) {
                if let Some(bin) = bin(z) {
                    half.visits[list * BINS + bin].fetch_add(1, Ordering::Relaxed);
                }
            }
            for &list in &query.lists {
                if let Some(bin) = bin(z[list as usize]) {
                    half.neighbours[list as usize].fetch_add(1, Ordering::Relaxed);
                    half.by_bin[bin].fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(())
        })?;
        let width = f64::from(most - least) / BINS as f64;
        let mut found = <[Vec<f32>; 3]>::default();
        let [first, second] = &halves;
        for (found, tallies) in found.iter_mut().zip([&[first, second][..], &[first], &[second]]) {
            match biases(tallies, lens, width, self.watch)? {
                Some(biases) => *found = biases,
                None => return Ok(Default::default()),
            }
        }
        Ok(found)
    }
}

fn copy(scores: &[f32]) -> Result<Vec<f32>> {
    let mut copy = try_with_capacity(scores.len(), "biases")?;
    copy.extend_from_slice(scores);
    Ok(copy)
}

/// What was counted of some queries. Counts do not depend on the order in which threads add to them.
struct Tally {
    /// How many queries each list lies in each bin for.
    visits: Vec<AtomicU32>,
    /// Neighbours in each list, of queries for which it lies in a bin, and in all lists of a bin.
    neighbours: Vec<AtomicU32>,
    by_bin: [AtomicU32; BINS],
}

impl Tally {
    fn new(lists: usize) -> Result<Self> {
        let zeros = |n: usize| -> Result<Vec<AtomicU32>> {
            let mut zeros = try_with_capacity(n, "biases")?;
            zeros.resize_with(n, AtomicU32::default);
            Ok(zeros)
        };
        Ok(Self { visits: zeros(lists * BINS)?, neighbours: zeros(lists)?, by_bin: Default::default() })
    }
}

/// The sum of a count over `tallies`.
fn sum<'t>(tallies: &[&'t Tally], count: impl Fn(&'t Tally) -> &'t AtomicU32) -> f64 {
    tallies.iter().map(|&tally| f64::from(count(tally).load(Ordering::Relaxed))).sum()
}

/// The bias of every list by what `tallies` counted together, with bins of `width`; none where that is not clear.
fn biases(tallies: &[&Tally], lens: &[u32], width: f64, watch: &Watch) -> Result<Option<Vec<f32>>> {
    let visits = |list: usize, bin: usize| sum(tallies, |tally| &tally.visits[list * BINS + bin]);
    let mut rows = [0.0; BINS];
    for (list, &len) in lens.iter().enumerate() {
        if list.is_multiple_of(STEP) {
            watch.check()?;
        }
        rows.iter_mut().enumerate().for_each(|(bin, rows)| *rows += f64::from(len) * visits(list, bin));
    }
    let found: [f64; BINS] = std::array::from_fn(|bin| sum(tallies, |tally| &tally.by_bin[bin]));
    let Some((slope, start)) = line(&found, &rows) else { return Ok(None) };
    let share: [f64; BINS] = std::array::from_fn(|bin| (start + slope * bin as f64).exp());
    // No list is moved farther than all bins together are wide.
    let most = BINS as f64;
    let mut biases = try_zeroed::<f32>(lens.len(), "biases")?;
    for (list, (&len, bias)) in lens.iter().zip(&mut biases).enumerate() {
        if list.is_multiple_of(STEP) {
            watch.check()?;
        }
        let expected = f64::from(len) * (0..BINS).map(|bin| share[bin] * visits(list, bin)).sum::<f64>();
        let ratio = (sum(tallies, |tally| &tally.neighbours[list]) + PRIOR) / (expected + PRIOR);
        *bias = ((TAKEN * ratio.ln() / slope).clamp(-most, most) * width) as f32;
    }
    Ok(biases.iter().all(|bias| bias.is_finite()).then_some(biases))
}

/// Slope and start of the line through the logarithms of `found / rows` by bin, each weighed with what was found, that is with
/// one over its variance. None unless it clearly rises.
fn line(found: &[f64; BINS], rows: &[f64; BINS]) -> Option<(f64, f64)> {
    let points = || {
        let points = (0..BINS).filter(|&bin| found[bin] > 0.0 && rows[bin] > 0.0);
        points.map(|bin| (bin as f64, (found[bin] / rows[bin]).ln(), found[bin]))
    };
    let weight: f64 = points().map(|(_, _, w)| w).sum();
    let x = points().map(|(x, _, w)| x * w).sum::<f64>() / weight;
    let y = points().map(|(_, y, w)| y * w).sum::<f64>() / weight;
    let spread = points().map(|(a, _, w)| w * (a - x) * (a - x)).sum::<f64>();
    let slope = points().map(|(a, b, w)| w * (a - x) * (b - y)).sum::<f64>() / spread;
    (slope * spread.sqrt() > CLEAR).then_some((slope, y - slope * x))
}

#[cfg(test)]
mod tests;
