//! Biases beside what was put into the data, and the recall that is promised with them.

use zeroize::Zeroizing;

use super::*;
use crate::engine::calibrate::{Calibrator, HeldOut};
use crate::engine::curve::RecallCurve;
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

    /// Every eighth row as a query, each compared with its near rows.
    fn observed(&self, metric: Metric, exec: &Exec) -> Calibrator {
        let rows = self.rows.chunks_exact(DIM);
        let held_out: Vec<HeldOut> =
            (0..).zip(rows).step_by(8).map(|(i, row)| (i, Zeroizing::new(row.to_vec()))).collect();
        let mut calibrator = Calibrator::new(metric, &self.g, held_out, exec, &Watch::NONE).unwrap();
        let all = 0..self.extents.len();
        calibrator.observe(&self.extents, all, &self.rows, 0, |_| false, exec, &Watch::NONE).unwrap();
        calibrator
    }

    fn list_of(&self, row: u32) -> usize {
        self.extents.list_of(self.extents.of_row(row))
    }

    fn calibrated(&self, metric: Metric, threads: usize) -> (Biases, RecallCurve) {
        let exec = Exec::new(threads);
        let len = |list| self.lens[list];
        let calibrator = self.observed(metric, &exec);
        calibrator.calibrate(&self.g, |row| row, |row| self.list_of(row), len, &exec, &Watch::NONE).unwrap()
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
                hits += near[..10].iter().filter(|&&(_, row)| self.list_of(row) == list as usize).count();
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
    let scene = Scene::new();
    let (biases, curve) = scene.calibrated(Metric::Euclidean, 2);
    for biases in [&biases.order, &biases.near] {
        let mean = |odd: usize| {
            biases.iter().skip(odd).step_by(2).map(|&bias| f64::from(bias)).sum::<f64>() / (LISTS / 2) as f64
        };
        assert!(mean(1) > mean(0) + 0.005, "{} for wide lists, {} for others", mean(1), mean(0));
    }
    let probes = curve.probes(10, 0.9, LISTS);
    let (before, less) = scene.visited(&[], 0.9, probes);
    let (after, recall) = scene.visited(&biases.order, 0.9, probes);
    assert!(after < 0.95 * before, "{after} rows visited, {before} without biases");
    assert!((0.89..0.95).contains(&recall) && less < recall, "recall {recall} for 0.9, {less} without biases");
    for threads in [1, 5] {
        assert!(scene.calibrated(Metric::Euclidean, threads) == (biases.clone(), curve.clone()), "{threads} threads");
    }
    let (none, curve) = scene.calibrated(Metric::InnerProduct, 2);
    assert!(none.is_none() && curve.queries() > 0);
}

// A curve that is measured with biases that know its own queries promises too much.
#[test]
fn what_one_half_of_the_queries_says_is_for_the_other_half() {
    let scene = Scene::new();
    let exec = Exec::new(2);
    let mut calibrator = scene.observed(Metric::Euclidean, &exec);
    calibrator.locate(|row| row, |row| scene.list_of(row), &exec);
    // The first half finds nothing in lists 1, 5, 9, ..., the second nothing in 3, 7, 11, ...
    let missing = |i: usize| 2 * (i % 2) + 1;
    for (i, query) in calibrator.queries.iter_mut().enumerate() {
        query.lists.retain(|&list| list as usize % 4 != missing(i));
    }
    let learned = learn(&calibrator.queries, &scene.g, &scene.lens, &exec, &Watch::NONE).unwrap();
    for half in 0..2 {
        let of_others = &learned.of_others[half];
        for (biases, all) in [(&of_others.order, &learned.all.order), (&of_others.near, &learned.all.near)] {
            let mean = |biases: &[f32], first| biases.iter().skip(first).step_by(4).sum::<f32>() / (LISTS / 4) as f32;
            let (own, others) = (missing(half), missing(half + 1));
            assert!(mean(biases, own) > mean(biases, others) + 0.02, "half {half}");
            let apart = (mean(all, own) - mean(all, others)).abs();
            assert!(apart < 0.5 * (mean(biases, own) - mean(biases, others)), "half {half}: {apart} of all");
        }
    }
}

#[test]
fn each_half_is_measured_with_what_the_other_says() {
    let scene = Scene::new();
    let exec = Exec::new(2);
    let mut calibrator = scene.observed(Metric::Euclidean, &exec);
    calibrator.locate(|row| row, |row| scene.list_of(row), &exec);
    let learned = learn(&calibrator.queries, &scene.g, &scene.lens, &exec, &Watch::NONE).unwrap();
    let measured = |of: &(dyn Fn(usize) -> usize + Sync)| {
        let biases = [&learned.of_others[0], &learned.of_others[1], &learned.all];
        calibrator.measure(&scene.g, |query| biases[of(query)], &exec, &Watch::NONE).unwrap()
    };
    let (_, curve) = scene.calibrated(Metric::Euclidean, 2);
    assert!(curve == measured(&|query| query % 2));
    assert!(curve != measured(&|query| (query + 1) % 2) && curve != measured(&|_| 2));
}

#[test]
fn queries_that_say_nothing_leave_lists_as_they_are() {
    let scene = Scene::new();
    let exec = Exec::new(1);
    let mut calibrator = scene.observed(Metric::Euclidean, &exec);
    calibrator.locate(|row| row, |row| scene.list_of(row), &exec);
    for few in [1, 0] {
        calibrator.queries.truncate(few);
        let learned = learn(&calibrator.queries, &scene.g, &scene.lens, &exec, &Watch::NONE).unwrap();
        assert!(learned.all.is_none() && learned.of_others.iter().all(Biases::is_none), "{few} queries");
    }
    // As many neighbours near and far: no line that clearly rises.
    for rise in [0.0, -0.25] {
        let (tally, lens) = tally(&[Counted(100, 1000, 1.0), Counted(100, 1000, 2.0)], rise);
        assert_eq!(biases(&[&tally], &lens, 0.1, &Watch::NONE).unwrap(), None);
    }
}

/// A list of so many rows that lies in each bin for so many queries, with so many times the neighbours expected.
#[derive(Clone, Copy)]
struct Counted(u32, u32, f64);

/// What was counted of `lists` where a row of bin b is expected to be a neighbour with probability `exp(b rise) / 1000`, and
/// their rows.
fn tally(lists: &[Counted], rise: f64) -> (Tally, Vec<u32>) {
    let tally = Tally::new(lists.len()).unwrap();
    let mut by_bin = [0.0; BINS];
    for (list, &Counted(len, visits, times)) in lists.iter().enumerate() {
        let mut neighbours = 0.0;
        for (bin, by_bin) in by_bin.iter_mut().enumerate() {
            tally.visits[list * BINS + bin].store(visits, Ordering::Relaxed);
            let found = f64::from(visits * len) * (bin as f64 * rise).exp() / 1000.0 * times;
            neighbours += found;
            *by_bin += found;
        }
        tally.neighbours[list].store(neighbours as u32, Ordering::Relaxed);
    }
    by_bin.iter().zip(&tally.by_bin).for_each(|(&n, count)| count.store(n as u32, Ordering::Relaxed));
    (tally, lists.iter().map(|list| list.0).collect())
}

#[test]
fn a_list_with_more_neighbours_than_expected_is_as_good_as_a_nearer_one() {
    let told = |tallies: &[&Tally], lens: &[u32]| biases(tallies, lens, 0.1, &Watch::NONE).unwrap();
    let times = [1.0, 2.0, 0.5, 0.5];
    let (tally, lens) = tally(&times.map(|times| Counted(100, 1000, times)), 0.25);
    let none = Tally::new(4).unwrap();
    let found = told(&[&tally], &lens).unwrap();
    // Bins are 0.1 wide and a row's chance grows e-fold in 4 of them.
    for (bias, times) in found.iter().zip(times) {
        let want = TAKEN * f64::ln(times) * 0.4;
        assert!((f64::from(*bias) - want).abs() < 2e-3, "{bias} for {want}");
    }
    assert_eq!(told(&[&none, &tally], &lens), Some(found));
    assert_eq!(told(&[&none], &lens), None, "nothing was seen");
    assert_eq!(told(&[&tally], &[0; 4]), None, "no rows");
}

#[test]
fn lists_of_which_little_is_known_stay_what_they_are() {
    // Twice the neighbours expected, of which there are 2, 19, 190 and 1,900, beside a list that is known well.
    let doubled = [1, 10, 100, 1000].map(|visits| Counted(10, visits, 2.0));
    let (tally, lens) = tally(&[&[Counted(1000, 1000, 1.0)], &doubled[..]].concat(), 0.25);
    let found = biases(&[&tally], &lens, 0.1, &Watch::NONE).unwrap().unwrap();
    let want = (TAKEN * f64::ln(2.0) * 0.4) as f32;
    assert!(found.is_sorted() && found[0].abs() < 0.01, "{found:?}");
    assert!(found[1] > 0.0 && found[1] < 0.2 * want && found[4] > 0.9 * want, "{found:?}");
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
    assert_eq!((biases.ordered_by(1, 1.0), Biases::default().ordered_by(1, 1.0)), (0.75, 1.0));
    let far = Biases { order: vec![-1e38], near: vec![-1e38] };
    assert_eq!(far.ordered_by(0, -f32::MAX), -f32::MAX, "which TopK keeps");
    let mut halves = [-f32::MAX];
    far.judge(&mut halves);
    assert_eq!(halves, [-f32::MAX]);
    let mut halves = [1.0, 1.0, 1.0];
    biases.judge(&mut halves);
    assert_eq!(halves, [2.0, 3.0, -2.0]);
}
