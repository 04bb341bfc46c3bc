//! Oracles: float64 distances and a plain Lloyd in float64; the promises of the module's head, one test each.

use std::time::{Duration, Instant};

use super::*;
use crate::exec::CancelToken;
use crate::kernels::{Level, at};
use crate::rng::Rng;

/// `n` rows of a mixture of `middles` bumps.
fn mixture(n: usize, dim: usize, middles: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    let centres: Vec<f32> = (0..middles * dim).map(|_| rng.unit_f32() * 4.0).collect();
    let mut rows = Vec::with_capacity(n * dim);
    for _ in 0..n {
        let m = rng.below(middles) * dim;
        for j in 0..dim {
            rows.push(centres[m + j] + rng.unit_f32() + rng.unit_f32() - 1.0);
        }
    }
    rows
}

fn params(k: usize) -> Params {
    Params { k, max_iters: 100, tolerance: 0.0, seed: 42, spherical: false }
}

fn run(rows: &[f32], dim: usize, params: &Params) -> Clustering {
    cluster(rows, dim, params, &Exec::new(2), &Watch::NONE, &Progress::default()).unwrap()
}

fn squared(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}

/// Checks what holds of every clustering: shapes, means, objective and, where possible, no empty list.
fn check(rows: &[f32], dim: usize, k: usize, found: &Clustering) {
    let n = rows.len() / dim;
    assert_eq!((found.centroids.len(), found.assignment.len()), (k * dim, n));
    let mut sums = vec![0f64; k * dim];
    let mut sizes = vec![0usize; k];
    for (row, &list) in rows.chunks_exact(dim).zip(&found.assignment) {
        sizes[list as usize] += 1;
        let sums = &mut sums[list as usize * dim..][..dim];
        sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    let mut inertia = 0.0;
    for (row, &list) in rows.chunks_exact(dim).zip(&found.assignment) {
        inertia += squared(row, &found.centroids[list as usize * dim..][..dim]);
    }
    for j in 0..k {
        for d in 0..dim {
            if sizes[j] > 0 {
                let mean = sums[j * dim + d] / sizes[j] as f64;
                let got = f64::from(found.centroids[j * dim + d]);
                assert!((mean - got).abs() <= 1e-6 * mean.abs().max(1e-3), "list {j}: {got} is not {mean}");
            }
        }
    }
    let objective = inertia / n as f64;
    assert!((found.objective - objective).abs() <= 1e-5 * objective.max(1e-5), "{} {objective}", found.objective);
    let mut distinct: Vec<Vec<u32>> =
        rows.chunks_exact(dim).map(|row| row.iter().map(|x| x.to_bits()).collect()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    let filled = sizes.iter().filter(|&&size| size > 0).count();
    assert!(filled >= k.min(distinct.len()), "{filled} of {k} lists have rows, {} distinct rows", distinct.len());
}

/// Lloyd's algorithm in float64 from the same number of random rows; gives its objective.
fn plain_lloyd(rows: &[f32], dim: usize, k: usize, iterations: usize) -> f64 {
    let n = rows.len() / dim;
    let mut centroids: Vec<f32> =
        crate::rng::sample_indices(n, k, 5).iter().flat_map(|&i| rows[i as usize * dim..][..dim].to_vec()).collect();
    let mut objective = 0.0;
    for _ in 0..iterations {
        let (mut sums, mut sizes) = (vec![0f64; k * dim], vec![0f64; k]);
        objective = 0.0;
        for row in rows.chunks_exact(dim) {
            let (distance, j) = (0..k)
                .map(|j| (squared(row, &centroids[j * dim..][..dim]), j))
                .min_by(|a, b| a.0.total_cmp(&b.0))
                .unwrap();
            objective += distance / n as f64;
            sizes[j] += 1.0;
            sums[j * dim..][..dim].iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        for j in (0..k).filter(|&j| sizes[j] > 0.0) {
            for d in 0..dim {
                centroids[j * dim + d] = (sums[j * dim + d] / sizes[j]) as f32;
            }
        }
    }
    objective
}

#[test]
fn every_shape_is_clustered_soundly() {
    for dim in [1, 3, 17, 100, 129] {
        for (n, k) in [(1, 1), (2, 1), (2, 2), (9, 4), (31, 15), (40, 20), (41, 40), (300, 17), (1500, 700), (3000, 40)]
        {
            let rows = mixture(n, dim, 12, 3);
            check(&rows, dim, k, &run(&rows, dim, &params(k)));
        }
    }
}

#[test]
fn the_objective_is_that_of_lloyd_in_float64_or_better() {
    for (n, dim, k, middles) in [(4000, 16, 60, 50), (6000, 40, 100, 400)] {
        let rows = mixture(n, dim, middles, 8);
        let found = run(&rows, dim, &params(k));
        let plain = plain_lloyd(&rows, dim, k, 10);
        assert!(found.objective <= plain * 1.01, "{} against {plain}", found.objective);
    }
}

#[test]
fn lists_are_the_same_for_any_threads_and_any_simd_level() {
    let rows = mixture(5000, 19, 30, 1);
    let best = run(&rows, 19, &params(90));
    for threads in [1, 2, 3] {
        for level in Level::ALL {
            let Some(kernels) = at(level) else { continue };
            let exec = Exec::new(threads);
            let found =
                cluster_with(kernels, &rows, 19, &[], &params(90), &exec, &Watch::NONE, &Progress::default()).unwrap();
            let bits = |c: &Clustering| c.centroids.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&found), bits(&best), "{threads} threads, {level:?}");
            assert_eq!(found.assignment, best.assignment);
            assert_eq!(found.objective.to_bits(), best.objective.to_bits());
        }
    }
    let other = run(&rows, 19, &Params { seed: 43, ..params(90) });
    assert_ne!(other.assignment, best.assignment, "the seed matters");
}

#[test]
fn equal_rows_and_duplicates_do_no_harm() {
    let equal = vec![0.25; 300 * 7];
    check(&equal, 7, 100, &run(&equal, 7, &params(100)));
    // 40 distinct rows, each 25 times: lists for all of them, and then the objective is 0.
    let few: Vec<f32> = mixture(40, 5, 40, 2).repeat(25);
    let found = run(&few, 5, &params(40));
    check(&few, 5, 40, &found);
    check(&few, 5, 400, &run(&few, 5, &params(400)));
}

#[test]
fn rows_closer_than_a_byte_step_still_fill_their_lists() {
    // Two far bumps take the whole range; inside a bump rows differ by a millionth of a step.
    let mut rows = Vec::new();
    for i in 0..200 {
        rows.extend([if i % 2 == 0 { 1000.0 } else { 0.0 }, i as f32 * 1e-5, 1.0]);
    }
    check(&rows, 3, 60, &run(&rows, 3, &params(60)));
}

#[test]
fn one_huge_row_does_not_spoil_the_others() {
    let mut rows = mixture(3000, 8, 30, 4);
    rows[8..16].fill(1e12);
    let found = run(&rows, 8, &params(50));
    let mut spread = 0.0;
    for (i, row) in rows.chunks_exact(8).enumerate().filter(|(i, _)| *i != 1) {
        spread += squared(row, &found.centroids[found.assignment[i] as usize * 8..][..8]).min(100.0);
    }
    // Each value of a bump has variance 1/6; a spoilt byte space would leave the variance of the bumps, 4/3.
    assert!(spread / 3000.0 < 8.0 * 0.3, "{}", spread / 3000.0);
}

#[test]
fn passes_and_tolerance_bound_the_work() {
    let rows = mixture(2000, 10, 20, 6);
    for (max_iters, passes) in [(0, 1), (1, 1), (3, 3), (8, 8), (1000, 8)] {
        let found = run(&rows, 10, &Params { max_iters, ..params(60) });
        let end = if max_iters < 8 { EndReason::MaxIters } else { EndReason::Schedule };
        assert_eq!((found.passes, found.end), (passes, end));
        check(&rows, 10, 60, &found);
    }
    let found = run(&rows, 10, &Params { tolerance: 0.5, ..params(60) });
    assert!(found.end == EndReason::Tolerance && found.passes < 8, "{} passes", found.passes);
}

#[test]
fn spherical_centroids_have_length_one_and_lists_are_by_angle() {
    let mut rows = mixture(2000, 12, 20, 6);
    for row in rows.chunks_exact_mut(12) {
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|x| *x /= norm);
    }
    let found = run(&rows, 12, &Params { spherical: true, ..params(40) });
    assert_eq!(found.centroids, run(&rows, 12, &Params { spherical: true, ..params(40) }).centroids);
    for c in found.centroids.chunks_exact(12) {
        assert!((c.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
    }
    // The byte pass that chose the lists saw the means before their last move: a few rows sit at a border.
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    let nearest = |row: &[f32]| {
        let scores: Vec<f32> = found.centroids.chunks_exact(12).map(|c| dot(row, c)).collect();
        (0..40).max_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(b.cmp(&a)))
    };
    let same = rows.chunks_exact(12).zip(&found.assignment).filter(|(row, l)| nearest(row) == Some(**l as usize));
    assert!(same.count() > 1900);
}

#[test]
fn progress_and_refusals() {
    let rows = mixture(500, 4, 5, 1);
    let progress = Progress::default();
    let found = cluster(&rows, 4, &params(20), &Exec::new(1), &Watch::NONE, &progress).unwrap();
    let seen = progress.read();
    assert_eq!((seen.phase, seen.done, seen.total), (Phase::Clustering, 500 * 9, 500 * 9));
    assert_eq!((seen.iteration, seen.objective.to_bits()), (8, found.objective.to_bits()));
    for (rows, dim, k) in [(&rows[..], 0, 1), (&rows[..7], 4, 1), (&rows, 4, 0), (&rows, 4, 501), (&[][..], 4, 1)] {
        let error = cluster(rows, dim, &params(k), &Exec::new(1), &Watch::NONE, &progress).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
    }
}

#[test]
fn cancellation_is_noticed_within_a_tenth_of_a_second() {
    let rows = mixture(60_000, 64, 200, 1);
    // Scalar kernels make the work long enough to be cancelled at every stage.
    let kernels = at(Level::Scalar).unwrap();
    let late = |delay| {
        let cancel = CancelToken::new();
        let watch = Watch { cancel: Some(cancel.clone()), deadline: None };
        let stopper = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(delay));
            cancel.cancel();
            Instant::now()
        });
        let exec = Exec::new(2);
        let result = cluster_with(kernels, &rows, 64, &[], &params(900), &exec, &watch, &Progress::default());
        let ended = Instant::now();
        assert!(matches!(result, Err(Error::Cancelled)), "after {delay} ms");
        ended.saturating_duration_since(stopper.join().unwrap())
    };
    for delay in [0, 5, 20, 80, 200, 400, 800] {
        // A machine busy with other tests may be late once, the algorithm every time.
        let least = (0..4).map(|_| late(delay)).find(|late| *late < Duration::from_millis(100));
        assert!(least.is_some(), "cancelled after {delay} ms, noticed too late");
    }
    let watch = Watch { cancel: None, deadline: Some(Instant::now() + Duration::from_millis(30)) };
    let result = cluster_with(kernels, &rows, 64, &[], &params(900), &Exec::new(1), &watch, &Progress::default());
    assert!(matches!(result, Err(Error::Timeout)));
}

#[test]
fn automatic_lists_grow_with_the_root_of_the_data() {
    assert_eq!([0, 1, 2, 3, 4, 100].map(auto_lists), [1, 1, 1, 1, 2, 40]);
    assert_eq!(auto_lists(331_479), 2303);
    assert_eq!(auto_lists(1_000_000), 4000);
    assert_eq!(auto_lists(u64::MAX), MAX_LISTS);
}

#[test]
fn the_memory_estimate_covers_the_large_parts() {
    let (n, dim, k) = (331_479, 100, 2304);
    let rows = (n * (dim + 4 + 8 + 16)) as u64;
    assert!((rows..2 * rows).contains(&memory_estimate(n, dim, k, 1)));
    assert!(memory_estimate(usize::MAX, 65_536, 1, 1) > 1 << 60);
}

/// Mean squared distance of rows to the nearest centroid, in float64.
fn objective(rows: &[f32], dim: usize, centroids: &[f32]) -> f64 {
    let nearest = |row: &[f32]| centroids.chunks_exact(dim).map(|c| squared(row, c)).fold(f64::INFINITY, f64::min);
    rows.chunks_exact(dim).map(nearest).sum::<f64>() / (rows.len() / dim) as f64
}

/// Refines what a sample gave by all rows in mini-batches; gives the passes.
fn refine(rows: &[f32], sample: &[f32], dim: usize, params: &Params, threads: usize) -> (Vec<f32>, Vec<Pass>) {
    let found = run(sample, dim, params);
    let (exec, watch) = (Exec::new(threads), Watch::NONE);
    let fit = (sample, &found.assignment[..]);
    let held_out = mixture(200, dim, 300, 77);
    let n = rows.len() / dim;
    let mut refiner = Refiner::new(found.centroids, fit, dim, &held_out, n, params, (&exec, &watch)).unwrap();
    let mut passes = Vec::new();
    loop {
        rows.chunks(500 * dim).for_each(|batch| refiner.batch(batch).unwrap());
        passes.push(refiner.end_pass().unwrap());
        if passes[passes.len() - 1].end != EndReason::Running {
            return (refiner.finish(), passes);
        }
    }
}

#[test]
fn mini_batches_improve_on_the_sample_and_come_near_full_assignment() {
    let (dim, params) = (24, params(200));
    let rows = mixture(24_000, dim, 300, 11);
    let sample = &rows[..24_000 / 8 * dim];
    let (refined, passes) = refine(&rows, sample, dim, &params, 2);
    let before = objective(&rows, dim, &run(sample, dim, &params).centroids);
    let after = objective(&rows, dim, &refined);
    let full = objective(&rows, dim, &run(&rows, dim, &params).centroids);
    assert!(after < before - 0.5 * (before - full), "sample {before}, refined {after}, full {full}");
    assert!(passes.len() > 1 && passes[0].objective < before, "{passes:?}");
    let last = &passes[passes.len() - 1];
    assert!((after..after * 1.05).contains(&last.objective), "{passes:?} {after}");
    for threads in [1, 3] {
        assert_eq!(refine(&rows, sample, dim, &params, threads).0, refined, "{threads} threads");
    }
    // A tolerance ends the passes.
    let (_, passes) = refine(&rows, sample, dim, &Params { tolerance: 0.5, ..params }, 2);
    assert_eq!((passes.len(), passes[1].end), (2, EndReason::Tolerance));
}

#[test]
fn recall_of_held_out_rows_is_measured_and_ends_passes_that_no_longer_help() {
    // Eighty tight bumps and eighty lists: after the first passes there is nothing left to win.
    let (dim, params) = (8, params(500));
    let rows = mixture(40_000, dim, 80, 5);
    let held_out = mixture(300, dim, 80, 6);
    let progress = Progress::default();
    let with = |held_out: &[f32], threads: usize| {
        cluster_until(&rows, dim, held_out, &params, &Exec::new(threads), &Watch::NONE, &progress).unwrap()
    };
    let found = with(&held_out, 2);
    assert!((0.8..=1.0).contains(&found.recall), "{}", found.recall);
    let read = progress.read();
    assert_eq!((read.recall.to_bits(), read.end), (found.recall.to_bits(), found.end));
    let again = with(&held_out, 3);
    assert_eq!((again.recall, again.end, again.assignment), (found.recall, found.end, found.assignment));
    // Without held-out rows there is no such rule.
    let blind = with(&[], 2);
    assert_eq!((blind.recall, blind.end, blind.passes), (0.0, EndReason::Schedule, 8));
    // Rows without any structure: no pass helps for long.
    assert!(found.passes <= blind.passes);
}

#[test]
fn byte_rows_filled_by_many_threads_are_those_encoded_one_by_one() {
    for (n, dim) in [(1, 3), (2048, 5), (5000, 30)] {
        let mut rows = mixture(n, dim, 9, 4);
        // Far beyond the last item's other rows, where there are enough to say what is usual.
        rows[(n - 1) * dim] += 1e6;
        for threads in [1, 3] {
            let bytes = Rows::new(best(), &rows, dim, &Exec::new(threads), &Watch::NONE).unwrap();
            assert_eq!((bytes.len(), bytes.bytes().len()), (n, n * bytes.stride));
            // On the border they were written from: a copy would stand on any.
            assert_eq!(bytes.bytes().as_ptr().addr() % crate::buffer::LINE, 0);
            let (mut want, mut total) = (vec![0; bytes.stride], 0);
            for (i, row) in rows.chunks_exact(dim).enumerate() {
                let (norm, clipped) = bytes.space.encode(best(), row, &mut want[..dim]);
                let mut copy = vec![7; bytes.stride];
                assert_eq!((bytes.copy(i as u32, &mut copy), bytes.is_outlier(i as u32)), (norm, clipped), "row {i}");
                assert_eq!(copy, want, "row {i} of {n}");
                total += i64::from(norm);
            }
            assert_eq!(bytes.total_norm(), total);
            assert_eq!(bytes.is_outlier(n as u32 - 1), n > 1);
        }
    }
}
