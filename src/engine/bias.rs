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
//! half as well, by which the recall curve is measured.

use std::sync::atomic::{AtomicU32, Ordering};

use super::calibrate::Query;
use super::generation::Generation;
use super::wire::{Put, Reader};
use crate::error::{Error, Result, try_with_capacity, try_zeroed};
use crate::exec::{Exec, Watch};
use crate::ivf::{ProbeScratch, Relative};

/// Bins of z.
const BINS: usize = 16;
/// The neighbours that count, as a divisor: those in the farthest lists. Of them as many again, as a divisor, are left out as
/// stray.
const FAR_SHARE: usize = 5;
const STRAY_SHARE: usize = 40;
/// Neighbours thrown in as expected.
const PRIOR: f64 = 10.0;
/// What is taken of what counts say. On three datasets half of it and all of it save less; all of it loses where a query
/// has many neighbours in one list, which count as if they were independent.
const TAKEN: f64 = 0.75;
/// Queries of a work item.
const GRAIN: usize = 32;
/// Queries, as a divisor, that tell where the middle of the neighbours that count lies.
const ASKED_SHARE: usize = 4;

/// The biases of a generation: one for each list, in units of `|q - c|^2 / 2`, or none.
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
        self.order.is_empty()
    }

    /// By what `list` is ordered, from its coarse `score`.
    pub(super) fn ordered_by(&self, list: u32, score: f32) -> f32 {
        self.order.get(list as usize).map_or(score, |bias| score + bias)
    }

    /// By what the stopping rule judges `list`, from the half square of its mean.
    pub(super) fn judged_by(&self, list: u32, half: f32) -> f32 {
        self.near.get(list as usize).map_or(half, |bias| half + bias)
    }

    /// As [`Self::judged_by`] for all lists.
    pub(super) fn judge(&self, halves: &mut [f32]) {
        halves.iter_mut().zip(&self.near).for_each(|(half, bias)| *half += bias);
    }

    /// Appends the biases.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.put_u8(u8::from(!self.is_none()));
        out.put_f32s(&self.order);
        out.put_f32s(&self.near);
    }

    /// Reads what [`Self::write`] wrote for so many `lists`.
    pub(super) fn read(r: &mut Reader<'_>, lists: usize) -> Result<Self> {
        let corrupt = Error::Corrupt { what: "biases" };
        let biases = match r.u8()? {
            0 => return Ok(Self::default()),
            1 => Self { order: r.f32s(lists)?, near: r.f32s(lists)? },
            _ => return Err(corrupt),
        };
        if !biases.order.iter().chain(&biases.near).all(|bias| bias.is_finite()) {
            return Err(corrupt);
        }
        Ok(biases)
    }
}

/// Learns the biases of `g`, which has none yet, from `queries` whose neighbours are known. `lens` are the rows of each list.
pub(super) fn learn(queries: &[Query], g: &Generation, lens: &[u32], exec: &Exec, watch: &Watch) -> Result<Learned> {
    let scoring = Scoring { queries, g, exec, watch };
    let order = View { near: false, from: scoring.cuts()? };
    let near = View { near: true, from: queries.iter().map(|q| q.reached).collect() };
    let [order, near] = [scoring.fit(&order, lens)?, scoring.fit(&near, lens)?];
    let [all, first, second] = std::array::from_fn(|i| Biases { order: order[i].clone(), near: near[i].clone() });
    // Those of half 0 are for half 1.
    Ok(Learned { all, of_others: [second, first] })
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
    fn map<T: Send>(&self, f: impl Fn(usize, &Query, &[f32], &Relative) -> T + Sync) -> Result<Vec<T>> {
        let pieces = self.exec.map(self.queries.len().div_ceil(GRAIN), |piece| {
            let mut scratch = ProbeScratch::new();
            let queries = (piece * GRAIN..).zip(self.queries.chunks(GRAIN).nth(piece).unwrap_or_default());
            let answer = |(i, query): (usize, &Query)| {
                self.watch.check()?;
                self.g.centroids.score(std::iter::once(&query.vector[..]), &mut scratch);
                let (scores, relative) = self.g.centroids.scores(0, &scratch);
                Ok(f(i, query, scores, &relative))
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
                return Vec::new();
            }
            let mut sorted = scores.to_vec();
            sorted.sort_unstable_by(|a, b| b.total_cmp(a));
            let rank = |&list: &u32| sorted.partition_point(|&score| score > scores[list as usize]);
            query.lists.iter().map(rank).collect()
        })?;
        let mut ranks: Vec<usize> = of_neighbours.concat();
        if ranks.is_empty() {
            return Ok(vec![None; self.queries.len()]);
        }
        let middle = ranks.len() - 1 - ranks.len() / FAR_SHARE / 2;
        let middle = *ranks.select_nth_unstable(middle).1;
        self.map(|_, _, scores, _| {
            let mut scores = scores.to_vec();
            Some(*scores.select_nth_unstable_by(middle, |a, b| b.total_cmp(a)).1)
        })
    }

    /// z of every list for a query.
    fn distances(&self, view: &View, from: f32, scores: &[f32], relative: &Relative) -> Vec<f32> {
        let mut z = Vec::new();
        if view.near {
            self.g.half_squares(scores, relative, &mut z);
        } else {
            z.extend_from_slice(scores);
        }
        z.iter_mut().for_each(|z| *z -= from);
        z
    }

    /// The biases by `view` of all queries, of the first half, and of the second.
    fn fit(&self, view: &View, lens: &[u32]) -> Result<[Vec<f32>; 3]> {
        let of_neighbours = self.map(|i, query, scores, relative| {
            let Some(from) = view.from[i] else { return Vec::new() };
            let z = self.distances(view, from, scores, relative);
            query.lists.iter().map(|&list| z[list as usize]).collect()
        })?;
        let mut z: Vec<f32> = of_neighbours.concat();
        z.retain(|z| z.is_finite());
        z.sort_unstable_by(f32::total_cmp);
        let none = || try_zeroed::<f32>(lens.len(), "biases");
        let far = z.len() / FAR_SHARE;
        let Some((&least, &most)) = z.get(far / STRAY_SHARE).zip(z.get(far)).filter(|(least, most)| least < most)
        else {
            return Ok([none()?, none()?, none()?]);
        };
        let bin = |z: f32| {
            let bin = ((z - least) / (most - least) * BINS as f32) as usize;
            (least..=most).contains(&z).then_some(bin.min(BINS - 1))
        };
        let halves = [Tally::new(lens.len())?, Tally::new(lens.len())?];
        self.map(|i, query, scores, relative| {
            let Some(from) = view.from[i] else { return };
            let (z, half) = (self.distances(view, from, scores, relative), &halves[i % 2]);
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
        })?;
        let width = f64::from(most - least) / BINS as f64;
        let [first, second] = &halves;
        Ok([biases(&[first, second], lens, width)?, biases(&[first], lens, width)?, biases(&[second], lens, width)?])
    }
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

/// The bias of every list by what `tallies` counted together, with bins of `width`; none where they tell nothing.
fn biases(tallies: &[&Tally], lens: &[u32], width: f64) -> Result<Vec<f32>> {
    let sum = |counts: &dyn Fn(&Tally) -> &AtomicU32| -> f64 {
        tallies.iter().map(|&tally| f64::from(counts(tally).load(Ordering::Relaxed))).sum()
    };
    let mut biases = try_zeroed::<f32>(lens.len(), "biases")?;
    let mut rows = [0.0; BINS];
    for (list, &len) in lens.iter().enumerate() {
        for (bin, rows) in rows.iter_mut().enumerate() {
            *rows += f64::from(len) * sum(&|tally| &tally.visits[list * BINS + bin]);
        }
    }
    let found: [f64; BINS] = std::array::from_fn(|bin| sum(&|tally| &tally.by_bin[bin]));
    let Some((slope, start)) = line(&found, &rows) else { return Ok(biases) };
    let share: [f64; BINS] = std::array::from_fn(|bin| (start + slope * bin as f64).exp());
    for (list, (&len, bias)) in lens.iter().zip(&mut biases).enumerate() {
        let visits = (0..BINS).map(|bin| share[bin] * sum(&|tally| &tally.visits[list * BINS + bin]));
        let expected = f64::from(len) * visits.sum::<f64>();
        let ratio = (sum(&|tally| &tally.neighbours[list]) + PRIOR) / (expected + PRIOR);
        *bias = (TAKEN * ratio.ln() / slope * width) as f32;
    }
    // A line that is all but level says nothing.
    if !biases.iter().all(|bias| bias.is_finite()) {
        biases.fill(0.0);
    }
    Ok(biases)
}

/// Slope, which must rise, and start of the line through the logarithms of `found / rows` by bin, each weighed with what was
/// found.
fn line(found: &[f64; BINS], rows: &[f64; BINS]) -> Option<(f64, f64)> {
    let points = || {
        let points = (0..BINS).filter(|&bin| found[bin] > 0.0 && rows[bin] > 0.0);
        points.map(|bin| (bin as f64, (found[bin] / rows[bin]).ln(), found[bin]))
    };
    let weight: f64 = points().map(|(_, _, w)| w).sum();
    let x = points().map(|(x, _, w)| x * w).sum::<f64>() / weight;
    let y = points().map(|(_, y, w)| y * w).sum::<f64>() / weight;
    let slope = points().map(|(a, b, w)| w * (a - x) * (b - y)).sum::<f64>()
        / points().map(|(a, _, w)| w * (a - x) * (a - x)).sum::<f64>();
    (slope > 0.0).then_some((slope, y - slope * x))
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::engine::calibrate::{Calibrator, HeldOut};
    use crate::engine::extents::Extents;
    use crate::ivf::Centroids;
    use crate::rng::Rng;
    use crate::types::{Metric, Similarity, VectorPrecision};

    const DIM: usize = 6;
    const LISTS: usize = 256;

    /// Rows in list order about the centroids of a generation, those of odd lists twice as far from them as others, and
    /// queries drawn as rows are. Everything lies close together, so that neighbours are in many lists.
    struct Scene {
        g: Generation,
        extents: Extents,
        lens: Vec<u32>,
        rows: Vec<f32>,
        centres: Vec<f32>,
    }

    impl Scene {
        fn new() -> Self {
            let mut rng = Rng::new(5);
            let centres: Vec<f32> = (0..LISTS * DIM).map(|_| rng.unit_f32()).collect();
            let lens: Vec<u32> = (0..LISTS as u32).map(|list| 30 + list % 7).collect();
            let mut rows = Vec::new();
            for (list, &len) in lens.iter().enumerate() {
                (0..len).for_each(|_| rows.extend(row(&mut rng, &centres, list)));
            }
            let untrained = Generation::untrained(Similarity::L2, VectorPrecision::F32, DIM).unwrap();
            let g = Generation { number: 1, centroids: Centroids::new(DIM, centres.clone()).unwrap(), ..untrained };
            let extents = Extents::new(&lens, 1024).unwrap();
            Self { g, extents, lens, rows, centres }
        }

        /// Calibrates the generation with every eighth row.
        fn calibrate(&mut self, metric: Metric) {
            let (exec, watch) = (Exec::new(2), Watch::NONE);
            let rows = self.rows.chunks_exact(DIM);
            let held_out: Vec<HeldOut> =
                (0..).zip(rows).step_by(8).map(|(i, row)| (i, Zeroizing::new(row.to_vec()))).collect();
            let mut calibrator = Calibrator::new(metric, &self.g, held_out, &exec, &watch).unwrap();
            calibrator.observe(&self.extents, 0..self.extents.len(), &self.rows, 0, |_| false, &exec, &watch).unwrap();
            let list_of = |row| self.extents.list_of(self.extents.of_row(row));
            calibrator.calibrate(&mut self.g, |row| row, list_of, &self.lens, &exec, &watch).unwrap();
        }

        /// For fresh queries, the rows visited for `recall` of their 10 neighbours in the order by `biases`, and the recall
        /// of that many `probes`.
        fn visited(&self, biases: &[f32], recall: f64, probes: usize) -> (f64, f64) {
            let (mut found, mut visited) = (vec![0.0; LISTS], vec![0.0; LISTS]);
            let (mut scratch, mut order) = (ProbeScratch::new(), Vec::new());
            let mut rng = Rng::new(9);
            for i in 0..600 {
                let query = row(&mut rng, &self.centres, i % LISTS);
                let distance = |row: &[f32]| -> f32 { row.iter().zip(&query).map(|(x, q)| (x - q) * (x - q)).sum() };
                let mut near: Vec<(f32, u32)> = self.rows.chunks_exact(DIM).map(distance).zip(0..).collect();
                near.select_nth_unstable_by(9, |a, b| a.0.total_cmp(&b.0));
                self.g.centroids.score(std::iter::once(&query[..]), &mut scratch);
                self.g.centroids.rank(0, LISTS, biases, &mut scratch, &mut order);
                let (mut hits, mut rows) = (0, 0);
                for (rank, &(_, list)) in order.iter().enumerate() {
                    let of_row = |row: u32| self.extents.list_of(self.extents.of_row(row));
                    hits += near[..10].iter().filter(|&&(_, row)| of_row(row) == list as usize).count();
                    rows += self.lens[list as usize];
                    found[rank] += hits as f64 / 6000.0;
                    visited[rank] += f64::from(rows) / 600.0;
                }
            }
            let at = found.iter().position(|&found| found >= recall).unwrap();
            (visited[at], found[probes - 1])
        }
    }

    fn row(rng: &mut Rng, centres: &[f32], list: usize) -> Vec<f32> {
        let width = if list % 2 == 1 { 1.0 } else { 0.25 };
        centres[list * DIM..][..DIM].iter().map(|c| c + width * (rng.unit_f32() - 0.5)).collect()
    }

    #[test]
    fn wide_lists_come_sooner_and_fewer_rows_are_visited_for_a_recall() {
        let mut scene = Scene::new();
        scene.calibrate(Metric::Euclidean);
        let biases = scene.g.biases.clone();
        for biases in [&biases.order, &biases.near] {
            let mean = |odd: usize| {
                biases.iter().skip(odd).step_by(2).map(|&bias| f64::from(bias)).sum::<f64>() / (LISTS / 2) as f64
            };
            assert!(mean(1) > mean(0) + 0.005, "{} for wide lists, {} for others", mean(1), mean(0));
        }
        let probes = scene.g.curve.probes(10, 0.9, LISTS);
        let (before, _) = scene.visited(&[], 0.9, probes);
        let (after, recall) = scene.visited(&biases.order, 0.9, probes);
        assert!(after < 0.95 * before, "{after} rows visited, {before} without biases");
        // The curve was measured with biases that did not know its queries.
        assert!((0.88..0.96).contains(&recall), "recall {recall} for 0.9");
        let mut again = Scene::new();
        again.calibrate(Metric::Euclidean);
        assert!(again.g.biases == biases && again.g.curve == scene.g.curve, "threads make no difference");
        let mut product = Scene::new();
        product.calibrate(Metric::InnerProduct);
        assert!(product.g.biases.is_none() && product.g.curve.queries() > 0);
    }

    /// What was counted of lists that lie in each bin for `visits` queries, and that hold `times` the neighbours expected where
    /// a row of bin b is one with probability `exp(b / 4) / 1000`.
    fn tally(visits: u32, times: &[f64], len: u32) -> Tally {
        let tally = Tally::new(times.len()).unwrap();
        for (list, times) in times.iter().enumerate() {
            let mut neighbours = 0.0;
            for bin in 0..BINS {
                tally.visits[list * BINS + bin].store(visits, Ordering::Relaxed);
                let expected = f64::from(visits * len) * (bin as f64 / 4.0).exp() / 1000.0;
                neighbours += expected * times;
                tally.by_bin[bin].fetch_add((expected * times) as u32, Ordering::Relaxed);
            }
            tally.neighbours[list].store(neighbours as u32, Ordering::Relaxed);
        }
        tally
    }

    #[test]
    fn a_list_with_more_neighbours_than_expected_is_as_good_as_a_nearer_one() {
        let times = [1.0, 2.0, 0.5, 0.5];
        let (tally, none) = (tally(1000, &times, 100), Tally::new(4).unwrap());
        let found = biases(&[&tally], &[100; 4], 0.1).unwrap();
        // Bins are 0.1 wide and a row's chance grows e-fold in 4 of them.
        for (bias, times) in found.iter().zip(times) {
            let want = TAKEN * f64::ln(times) * 0.4;
            assert!((f64::from(*bias) - want).abs() < 1e-3, "{bias} for {want}");
        }
        assert_eq!(biases(&[&none, &tally], &[100; 4], 0.1).unwrap(), found);
        assert_eq!(biases(&[&none], &[100; 4], 0.1).unwrap(), [0.0; 4], "nothing was seen");
        assert_eq!(biases(&[&tally], &[0; 4], 0.1).unwrap(), [0.0; 4], "no rows");
    }

    #[test]
    fn lists_of_which_little_is_known_stay_what_they_are() {
        let far: Vec<f32> = [10, 100, 1000]
            .map(|visits| {
                let tally = tally(visits, &[1.0, 2.0], 1);
                biases(&[&tally], &[1; 2], 0.1).unwrap()[1]
            })
            .to_vec();
        assert!(far[0].abs() < 0.02 && far[0] <= far[1] && far[1] < far[2] && far[2] < 0.4, "{far:?}");
    }

    #[test]
    fn biases_are_read_as_written_and_refused_otherwise() {
        let biases = Biases { order: vec![0.5, -0.25, 0.0], near: vec![1.0, 2.0, -3.0] };
        for biases in [&biases, &Biases::default()] {
            let mut bytes = Vec::new();
            biases.write(&mut bytes);
            let mut r = Reader::new(&bytes, "test");
            assert_eq!(&Biases::read(&mut r, 3).unwrap(), biases);
            r.end().unwrap();
            for cut in 0..bytes.len() {
                assert!(Biases::read(&mut Reader::new(&bytes[..cut], "test"), 3).is_err());
            }
        }
        for bad in [f32::NAN, f32::INFINITY] {
            for i in 0..2 {
                let mut biases = biases.clone();
                [&mut biases.order, &mut biases.near][i][1] = bad;
                let mut bytes = Vec::new();
                biases.write(&mut bytes);
                assert!(Biases::read(&mut Reader::new(&bytes, "test"), 3).is_err());
            }
        }
        assert!(Biases::read(&mut Reader::new(&[2], "test"), 0).is_err());
        assert_eq!((biases.ordered_by(1, 1.0), biases.judged_by(1, 1.0)), (0.75, 3.0));
        assert_eq!((Biases::default().ordered_by(1, 1.0), Biases::default().judged_by(1, 1.0)), (1.0, 1.0));
        let mut halves = [1.0, 1.0, 1.0];
        biases.judge(&mut halves);
        assert_eq!(halves, [2.0, 3.0, -2.0]);
    }
}
