//! The end: exact means in float32 from the rows themselves, the exact objective, and no list left empty.
//!
//! The byte passes cannot tell rows apart that differ by less than a step. Where that left lists without rows, rows far from
//! their mean get lists of their own, as long as there are distinct rows to be had. A row too far out for the bytes
//! does not count in the mean of a list that has others: it would drag the centroid away from all of them.

use std::collections::HashSet;

use super::Job;
use super::lists::Lists;
use crate::error::{Result, try_with_capacity, try_zeroed};

/// Rows read between two looks at the watch.
const ROWS: usize = 1024;

/// Means of the lists and the sum of squared distances to them.
pub(super) struct Finished {
    pub(super) means: Vec<f32>,
    pub(super) inertia: f64,
}

/// Exact means of `rows` grouped by `lists`. The lists change only when one of them is empty.
pub(super) fn finish(job: &Job, rows: &[f32], lists: &mut Lists) -> Result<Finished> {
    loop {
        let finished = exact_means(job, rows, lists)?;
        let empty: Vec<usize> = (0..lists.len()).filter(|&j| lists.size(j) == 0).collect();
        if empty.is_empty() || !give_rows(job, rows, &finished.means, &empty, lists)? {
            return Ok(finished);
        }
    }
}

fn exact_means(job: &Job, rows: &[f32], lists: &Lists) -> Result<Finished> {
    let dim = job.rows.dim;
    let values = |row: u32| &rows[row as usize * dim..][..dim];
    let runs = lists.runs(ROWS);
    let parts = job.exec.map(runs.len(), |i| {
        let mut means: Vec<f32> = try_with_capacity(runs[i].len() * dim, "means")?;
        let mut inertia = 0.0;
        let mut sums = vec![0f64; dim];
        for j in runs[i].clone() {
            sums.fill(0.0);
            let (mut squares, mut apart) = (0.0, Vec::new());
            for piece in lists.of(j).chunks(ROWS) {
                job.watch.check()?;
                for &row in piece {
                    if job.rows.is_outlier(row) {
                        apart.push(row);
                    } else {
                        squares += add_centred(values(row), job.rows.space.mean(), &mut sums);
                    }
                }
            }
            if apart.len() == lists.size(j) {
                for row in apart.drain(..) {
                    squares += add_centred(values(row), job.rows.space.mean(), &mut sums);
                }
            }
            let size = (lists.size(j) - apart.len()).max(1) as f64;
            let mut mean_norm = 0.0;
            for (sum, &centre) in sums.iter().zip(job.rows.space.mean()) {
                let mean = sum / size;
                mean_norm += mean * mean;
                means.push((mean + f64::from(centre)) as f32);
            }
            inertia += (squares - size * mean_norm).max(0.0);
            let mean = &means[means.len() - dim..];
            inertia += apart.iter().map(|&row| squared_distance(values(row), mean)).sum::<f64>();
        }
        Ok((means, inertia))
    });
    let mut finished = Finished { means: try_with_capacity(lists.len() * dim, "means")?, inertia: 0.0 };
    for part in parts {
        let (means, inertia) = part?;
        finished.means.extend_from_slice(&means);
        finished.inertia += inertia;
    }
    Ok(finished)
}

/// Adds `row - centre` to `sums` and gives its squared length. In float64 the difference of two float32 is exact
/// enough that equal rows have themselves as their mean.
fn add_centred(row: &[f32], centre: &[f32], sums: &mut [f64]) -> f64 {
    let mut squares = [0f64; 4];
    for (d, ((&x, &m), sum)) in row.iter().zip(centre).zip(sums).enumerate() {
        let value = f64::from(x) - f64::from(m);
        *sum += value;
        squares[d % 4] += value * value;
    }
    squares.iter().sum()
}

fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}

/// Gives each list of `empty` one of the rows farthest from their means, no two equal and never a list's last row.
/// Says whether any row moved.
fn give_rows(job: &Job, rows: &[f32], means: &[f32], empty: &[usize], lists: &mut Lists) -> Result<bool> {
    let dim = job.rows.dim;
    let k = lists.len();
    let row = |i: u32| &rows[i as usize * dim..][..dim];
    let mut labels: Vec<u32> = try_zeroed(lists.order().len(), "labels")?;
    let mut far: Vec<(f32, u32)> = Vec::new();
    for j in 0..k {
        labels[lists.range(j)].fill(j as u32);
        job.watch.check()?;
        for p in lists.range(j) {
            let distance = job.kernels.l2(row(lists.order()[p]), &means[j * dim..][..dim]);
            if distance > 0.0 && lists.size(j) > 1 {
                far.push((distance, p as u32));
            }
        }
    }
    far.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut left: Vec<usize> = (0..k).map(|j| lists.size(j)).collect();
    let mut given: HashSet<Vec<u32>> = HashSet::new();
    let mut empty = empty.iter();
    for (_, p) in far {
        let from = labels[p as usize] as usize;
        let bits = row(lists.order()[p as usize]).iter().map(|x| x.to_bits()).collect();
        if left[from] > 1 && given.insert(bits) {
            let Some(&to) = empty.next() else { break };
            labels[p as usize] = to as u32;
            left[from] -= 1;
        }
    }
    lists.regroup(k, |p| labels[p])?;
    Ok(!given.is_empty())
}
