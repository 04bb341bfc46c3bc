//! Whether passes still help queries: held-out rows, asked again after every pass.
//!
//! For each of up to 256 held-out rows the ten nearest of up to 32,768 rows of the sample are found once, by integer
//! products. After a pass a query is taken to scan the lists from the nearest on until it has scanned a fixed number
//! of rows; the recall is the share of the neighbours it met. The number is the one that gave 0.9 after the first pass.
//! It counts rows and not lists, because a large list that was split is cheaper to scan but holds fewer neighbours.
//! Passes end when two in a row bring less than [`LEAST_GAIN`] over the best before them and no relocation is ahead.
//!
//! The number of queries and rows is cut so that finding neighbours takes a sixty-fourth of the products of clustering. Small samples, where that
//! leaves nothing that could tell 0.001 apart, are not measured.

use super::blocks::{Blocks, TOGETHER};
use crate::error::Result;
use crate::exec::{Exec, Watch};
use crate::ivf::TopK;
use crate::ivf::bytes::{ByteCentroids, ByteSpace, stride};
use crate::kernels::Kernels;

/// Gain of a pass below which it did not help.
const LEAST_GAIN: f64 = 0.001;
/// Passes in a row that may not help.
const PATIENCE: u32 = 2;
/// Recall after the first pass.
const FIRST: f64 = 0.9;

const QUERIES: usize = 256;
const LEAST_QUERIES: usize = 64;
const ROWS: usize = 32_768;
const LEAST_ROWS: usize = 4096;
const NEIGHBOURS: usize = 10;
/// Products of clustering for one of comparing queries with rows, which runs a third as fast.
const SHARE: usize = 64;
/// Bytes of rows compared by one work item.
const ITEM: usize = 1 << 18;

/// Queries with their neighbours, and what the passes so far gave.
pub(super) struct Probe {
    queries: Vec<Query>,
    /// The rows that are neighbours of any query, rising.
    rows: Vec<u32>,
    /// Rows that a query scans; set by the first measuring.
    scanned: u32,
    best: f64,
    idle: u32,
}

struct Query {
    code: Vec<i8>,
    /// Positions of its neighbours in `rows`.
    near: Vec<u32>,
}

/// What finding neighbours needs.
pub(super) struct Ground<'a> {
    pub(super) kernels: &'static Kernels,
    pub(super) exec: &'a Exec,
    pub(super) watch: &'a Watch,
    pub(super) space: &'a ByteSpace,
    pub(super) dim: usize,
}

impl Probe {
    /// With `held_out` rows (any number of `dim` values) as queries, for a clustering of `products` products of a row
    /// with a centroid. `encode` writes the bytes of one of the `n` rows of the sample, which are whole groups, and gives
    /// their norm. `None` where there is too little to measure.
    pub(super) fn new(
        ground: &Ground<'_>,
        held_out: &[f32],
        n: usize,
        encode: impl Fn(u32, &mut [u8]) -> i32 + Sync,
        products: usize,
    ) -> Result<Option<Self>> {
        let dim = ground.dim;
        let given = held_out.len() / dim;
        let mut taken = n.min(ROWS);
        let mut asked = given.min(QUERIES).min(products / SHARE / taken.max(1));
        if asked < LEAST_QUERIES {
            asked = given.min(LEAST_QUERIES);
            taken = taken.min(products / SHARE / asked.max(1));
        }
        if asked < LEAST_QUERIES || taken < LEAST_ROWS {
            return Ok(None);
        }
        let codes: Vec<Vec<i8>> =
            (0..asked).map(|i| code(ground, &held_out[i * given / asked * dim..][..dim])).collect();
        let found = nearest(ground, &codes, |i| (i * n / taken) as u32, encode, taken)?;
        let mut rows: Vec<u32> = found.iter().flatten().copied().collect();
        rows.sort_unstable();
        rows.dedup();
        let place = |row: &u32| rows.partition_point(|r| r < row) as u32;
        let queries = codes.into_iter().zip(&found);
        let queries = queries.map(|(code, near)| Query { code, near: near.iter().map(place).collect() }).collect();
        Ok(Some(Self { queries, rows, scanned: 0, best: 0.0, idle: 0 }))
    }

    /// The rows of the sample whose lists [`Probe::measure`] wants to know, rising.
    pub(super) fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// The recall with centroids `units` (in the units of the space), lists of `sizes` rows, and each of
    /// [`Probe::rows`] in the list that `labels` says.
    pub(super) fn measure(&mut self, ground: &Ground<'_>, units: &[f32], sizes: &[u32], labels: &[u32]) -> Result<f64> {
        let centroids = ByteCentroids::new(units, ground.dim, ground.exec)?;
        let blocks = Blocks::of(&centroids, |i| (-f64::from(centroids.norm(i)) / centroids.factor()) as f32)?;
        let parts: Vec<&[Query]> = self.queries.chunks(16).collect();
        let costs = ground.exec.map(parts.len(), |i| {
            let mut scores = vec![0f32; TOGETHER * blocks.lanes()];
            let mut costs = Vec::with_capacity(parts[i].len() * NEIGHBOURS);
            for queries in parts[i].chunks(TOGETHER) {
                let scores = &mut scores[..queries.len() * blocks.lanes()];
                blocks.scores(ground.kernels, queries.iter().map(|q| &q.code[..]), scores);
                for (q, scores) in queries.iter().zip(scores.chunks_exact(blocks.lanes())) {
                    // What is scanned before a neighbour is met: the lists at least as near as its own.
                    costs.extend(q.near.iter().map(|&place| {
                        let own = scores[labels[place as usize] as usize];
                        scores.iter().zip(sizes).map(|(s, size)| if *s >= own { *size } else { 0 }).sum::<u32>()
                    }));
                }
            }
            costs
        });
        ground.watch.check()?;
        let mut costs: Vec<u32> = costs.into_iter().flatten().collect();
        if self.scanned == 0 {
            costs.sort_unstable();
            self.scanned = costs[((costs.len() as f64 * FIRST) as usize).min(costs.len() - 1)];
        }
        let recall = costs.iter().filter(|&&cost| cost <= self.scanned).count() as f64 / costs.len() as f64;
        self.idle = if recall < self.best + LEAST_GAIN { self.idle + 1 } else { 0 };
        self.best = self.best.max(recall);
        Ok(recall)
    }

    /// Whether the last passes did not help.
    pub(super) fn is_over(&self) -> bool {
        self.idle >= PATIENCE
    }
}

/// The signed bytes of a row, padded with 0 to whole groups.
fn code(ground: &Ground<'_>, row: &[f32]) -> Vec<i8> {
    let mut bytes = vec![0u8; row.len()];
    ground.space.encode(ground.kernels, row, &mut bytes);
    let mut code = vec![0i8; stride(row.len())];
    code.iter_mut().zip(&bytes).for_each(|(code, &u)| *code = (i32::from(u) - 128) as i8);
    code
}

/// For each code the nearest of `taken` rows, the `i`-th of which is `row(i)`, with the bytes that `encode` writes.
fn nearest(
    ground: &Ground<'_>,
    codes: &[Vec<i8>],
    row: impl Fn(usize) -> u32 + Sync,
    encode: impl Fn(u32, &mut [u8]) -> i32 + Sync,
    taken: usize,
) -> Result<Vec<Vec<u32>>> {
    let dim = ground.dim;
    let item = (ITEM / stride(dim)).max(16);
    let parts = ground.exec.map(taken.div_ceil(item), |part| {
        let rows = part * item..taken.min((part + 1) * item);
        let mut blocks = Blocks::new(rows.len(), stride(dim))?;
        let mut bytes = vec![128; stride(dim)];
        for (at, i) in rows.clone().enumerate() {
            let norm = encode(row(i), &mut bytes);
            blocks.set(at, &bytes, -(norm as f32));
        }
        let mut scores = vec![0f32; TOGETHER * blocks.lanes()];
        let mut top = TopK::with_kernels(ground.kernels, NEIGHBOURS);
        let mut found = Vec::with_capacity(codes.len());
        for codes in codes.chunks(TOGETHER) {
            ground.watch.check()?;
            let scores = &mut scores[..codes.len() * blocks.lanes()];
            blocks.scores(ground.kernels, codes.iter().map(|code| &code[..]), scores);
            for scores in scores.chunks_exact(blocks.lanes()) {
                top.offer_all(&scores[..rows.len()]);
                let mut best = Vec::with_capacity(NEIGHBOURS);
                top.finish(&mut best);
                best.iter_mut().for_each(|(_, i)| *i += rows.start as u32);
                found.push(best);
            }
        }
        Ok(found)
    });
    let mut all = vec![Vec::new(); codes.len()];
    for part in parts {
        all.iter_mut().zip(part?).for_each(|(all, found)| all.extend(found));
    }
    let best = |mut found: Vec<(f32, u32)>| {
        found.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        found.iter().take(NEIGHBOURS).map(|&(_, i)| row(i as usize)).collect()
    };
    Ok(all.into_iter().map(best).collect())
}
