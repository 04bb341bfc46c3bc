//! The end: exact means in float32 from the rows themselves, the exact objective, and no list left empty.
//!
//! The byte passes cannot tell rows apart that differ by less than a step. Where that left lists without rows, rows
//! far from their mean get lists of their own, as long as there are distinct rows to be had. A row too far out for
//! the bytes does not count in the mean of a list that has others: it would drag the centroid away from all of them.

use std::collections::HashSet;

use super::Job;
use super::lists::Lists;
use crate::error::{Result, try_with_capacity, try_zeroed};
use crate::kernels::{Kernels, RowSums, prefetch};

/// Rows of a work item, about.
const ROWS: usize = 1024;
/// Most bytes of a row that are asked for ahead: the CPU goes on by itself.
const AHEAD: usize = 2048;
/// Values read between two looks at the watch.
const VALUES: usize = 1 << 20;

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
    let centre = job.rows.space.mean();
    let values = |row: u32| &rows[row as usize * dim..][..dim];
    let runs = lists.runs(ROWS);
    let parts = job.exec.map(runs.len(), |i| {
        let mut means: Vec<f32> = try_with_capacity(runs[i].len() * dim, "means")?;
        let mut inertia = 0.0;
        let mut sums = Sums::new(job.kernels, centre);
        for j in runs[i].clone() {
            sums.clear();
            let (near, apart): (Vec<u32>, Vec<u32>) = lists.of(j).iter().partition(|&&row| !job.rows.is_outlier(row));
            let (near, apart) = if near.is_empty() { (apart, near) } else { (near, apart) };
            for piece in near.chunks((VALUES / dim).clamp(4, ROWS)) {
                job.watch.check()?;
                sums.add(piece, values);
            }
            inertia += sums.mean(near.len(), &mut means);
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

/// Sums of rows about the centre of the bytes.
struct Sums<'a> {
    kernels: &'static Kernels,
    centre: &'a [f32],
    sums: RowSums,
}

impl<'a> Sums<'a> {
    fn new(kernels: &'static Kernels, centre: &'a [f32]) -> Self {
        Self { kernels, centre, sums: RowSums { sums: vec![0.0; centre.len()], squares: vec![0.0; centre.len()] } }
    }

    fn clear(&mut self) {
        self.sums.sums.fill(0.0);
        self.sums.squares.fill(0.0);
    }

    /// Adds the rows `index`, four by four.
    fn add<'r>(&mut self, index: &[u32], values: impl Fn(u32) -> &'r [f32]) {
        let (fours, rest) = index.as_chunks::<4>();
        for (f, four) in fours.iter().enumerate() {
            for &row in fours.get(f + 1).map_or(rest, |next| next) {
                prefetch(values(row).as_ptr(), (self.centre.len() * 4).min(AHEAD));
            }
            self.kernels.add_rows(four.map(&values), self.centre, &mut self.sums);
        }
        if !rest.is_empty() {
            // The centre itself adds nothing.
            let last = [0, 1, 2, 3].map(|i| rest.get(i).map_or(self.centre, |&row| values(row)));
            self.kernels.add_rows(last, self.centre, &mut self.sums);
        }
    }

    /// Appends the mean of the `n` rows added to `means`; gives the sum of their squared distances to it.
    fn mean(&self, n: usize, means: &mut Vec<f32>) -> f64 {
        let size = n.max(1) as f64;
        let mut norm = 0.0;
        for (sum, &centre) in self.sums.sums.iter().zip(self.centre) {
            let mean = sum / size;
            norm += mean * mean;
            means.push((mean + f64::from(centre)) as f32);
        }
        (self.sums.squares.iter().sum::<f64>() - size * norm).max(0.0)
    }
}

fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}

/// Gives each list of `empty` one of the rows farthest from their means, no two equal and none equal to the first row
/// of its list, which stays. Says whether any row moved.
fn give_rows(job: &Job, rows: &[f32], means: &[f32], empty: &[usize], lists: &mut Lists) -> Result<bool> {
    let dim = job.rows.dim;
    let k = lists.len();
    let values = |i: u32| &rows[i as usize * dim..][..dim];
    let bits = |i: u32| values(i).iter().map(|x| x.to_bits());
    let mut labels: Vec<u32> = try_zeroed(lists.order().len(), "labels")?;
    let mut far: Vec<(f64, usize)> = Vec::new();
    for j in 0..k {
        job.watch.check()?;
        labels[lists.range(j)].fill(j as u32);
        for (p, &row) in lists.range(j).zip(lists.of(j)).skip(1) {
            if !bits(row).eq(bits(lists.of(j)[0])) {
                far.push((squared_distance(values(row), &means[j * dim..][..dim]), p));
            }
        }
    }
    far.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut given: HashSet<Vec<u32>> = HashSet::new();
    let mut empty = empty.iter();
    for (_, p) in far {
        if given.insert(bits(lists.order()[p]).collect()) {
            let Some(&to) = empty.next() else { break };
            labels[p] = to as u32;
        }
    }
    lists.regroup(job.watch, k, |p| labels[p])?;
    Ok(!given.is_empty())
}
