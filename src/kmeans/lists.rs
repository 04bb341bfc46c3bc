//! Which rows are in which list, and the means of lists.
//!
//! Rows are kept sorted by list, so a pass over a list reads one slice, and a regrouping is one counting sort. Means
//! are sums of integers: the order of rows and the number of threads do not change a bit of them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Job;
use crate::error::{Result, try_zeroed};
use crate::exec::Watch;
use crate::kernels::BYTE_ROWS;

/// Rows regrouped between two looks at the watch.
const REGROUPED: usize = 1 << 18;

/// Rows grouped by list: list `j` holds `order[starts[j]..starts[j + 1]]`.
pub(super) struct Lists {
    order: Vec<u32>,
    starts: Vec<u32>,
    spare: Vec<u32>,
}

impl Lists {
    /// One list of the rows `order`.
    pub(super) fn one(order: Vec<u32>) -> Result<Self> {
        let spare = try_zeroed(order.len(), "rows in list order")?;
        Ok(Self { starts: vec![0, order.len() as u32], order, spare })
    }

    /// Makes `k` lists: the row at place `p` of the order goes to list `label(p)`.
    pub(super) fn regroup(&mut self, watch: &Watch, k: usize, label: impl Fn(usize) -> u32) -> Result<()> {
        let n = self.order.len();
        let pieces = || (0..n).step_by(REGROUPED).map(|first| first..(first + REGROUPED).min(n));
        let mut starts: Vec<u32> = try_zeroed(k + 1, "list borders")?;
        for piece in pieces() {
            watch.check()?;
            piece.for_each(|p| starts[label(p) as usize + 1] += 1);
        }
        for j in 0..k {
            starts[j + 1] += starts[j];
        }
        let mut next = starts.clone();
        for piece in pieces() {
            watch.check()?;
            for p in piece {
                let place = &mut next[label(p) as usize];
                self.spare[*place as usize] = self.order[p];
                *place += 1;
            }
        }
        std::mem::swap(&mut self.order, &mut self.spare);
        self.starts = starts;
        Ok(())
    }

    /// Number of lists.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The places of list `j` in the order.
    pub(super) fn range(&self, j: usize) -> std::ops::Range<usize> {
        self.starts[j] as usize..self.starts[j + 1] as usize
    }

    /// The rows of list `j`.
    pub(super) fn of(&self, j: usize) -> &[u32] {
        &self.order[self.range(j)]
    }

    /// Rows in list `j`.
    pub(super) fn size(&self, j: usize) -> usize {
        self.range(j).len()
    }

    /// All rows, list by list.
    pub(super) fn order(&self) -> &[u32] {
        &self.order
    }

    /// Borders of work items: runs of lists of together about `rows` rows, at most 64 lists.
    pub(super) fn runs(&self, rows: usize) -> Vec<std::ops::Range<usize>> {
        let mut runs = Vec::new();
        let mut first = 0;
        for j in 1..=self.len() {
            if j == self.len() || j - first >= 64 || self.starts[j] - self.starts[first] >= rows as u32 {
                runs.push(first..j);
                first = j;
            }
        }
        runs
    }
}

/// The mean of each list in byte units (`u - 128`). A list without rows takes half of a large one.
pub(super) fn means(job: &Job, lists: &Lists) -> Result<Vec<f32>> {
    let dim = job.rows.dim;
    let mut means: Vec<f32> = try_zeroed(lists.len() * dim, "means")?;
    let together = if lists.order.len() / lists.len() >= 512 { 1 } else { 8 };
    job.exec.for_each_chunk(&mut means, together * dim, |i, means| {
        let mut shorts = vec![0u16; dim];
        let mut totals = vec![0u64; dim];
        let zero = vec![0u8; dim];
        for (j, mean) in (i * together..).zip(means.chunks_exact_mut(dim)) {
            let scale = 1.0 / lists.size(j).max(1) as f64;
            let mean_of = |total: f64| (total * scale - 128.0) as f32;
            totals.fill(0);
            shorts.fill(0);
            for rows in lists.of(j).chunks(BYTE_ROWS) {
                if job.watch.check().is_err() {
                    return;
                }
                shorts.fill(0);
                add_rows(job, rows, &zero, &mut shorts);
                if rows.len() < lists.size(j) {
                    totals.iter_mut().zip(&shorts).for_each(|(total, &short)| *total += u64::from(short));
                }
            }
            if lists.size(j) <= BYTE_ROWS {
                // As below, but without 64-bit sums, which become floats one by one.
                mean.iter_mut().zip(&shorts).for_each(|(mean, &short)| *mean = mean_of(f64::from(short)));
            } else {
                mean.iter_mut().zip(&totals).for_each(|(mean, &total)| *mean = mean_of(total as f64));
            }
        }
    });
    job.watch.check()?;
    fill_empty(&mut means, dim, lists);
    Ok(means)
}

/// Adds the bytes of at most [`BYTE_ROWS`] rows to `sums`, four by four; `zero` is a row that adds nothing.
fn add_rows(job: &Job, index: &[u32], zero: &[u8], sums: &mut [u16]) {
    let (fours, rest) = index.as_chunks::<4>();
    for (f, four) in fours.iter().enumerate() {
        fours.get(f + 1).map_or(rest, |next| next).iter().for_each(|&i| job.rows.prefetch(i));
        job.kernels.add_bytes(four.map(|i| job.rows.row(i)), sums);
    }
    if !rest.is_empty() {
        let last = [0, 1, 2, 3].map(|i| rest.get(i).map_or(zero, |&i| job.rows.row(i)));
        job.kernels.add_bytes(last, sums);
    }
}

/// Gives every empty list half of the list that is largest then: both means move half a unit apart.
fn fill_empty(means: &mut [f32], dim: usize, lists: &Lists) {
    let empty: Vec<usize> = (0..lists.len()).filter(|&j| lists.size(j) == 0).collect();
    if empty.is_empty() {
        return;
    }
    let mut largest: BinaryHeap<_> = (0..lists.len()).map(|j| (lists.size(j), Reverse(j))).collect();
    for j in empty {
        let Some((size, Reverse(from))) = largest.pop() else { return };
        for d in 0..dim {
            let half = if d % 2 == 0 { 0.5 } else { -0.5 };
            means[j * dim + d] = means[from * dim + d] + half;
            means[from * dim + d] -= half;
        }
        largest.push((size.div_ceil(2), Reverse(from)));
        largest.push((size / 2, Reverse(j)));
    }
}
