//! The recall curve of a model, measured where it was trained.
//!
//! An index measures its curve while it encodes; a model encodes nothing. So the rows of the sample are read once more,
//! assigned, and compared with the held-out rows as [`Calibrator`] compares those of an index. A sample is thinner than
//! the source, so neighbours lie farther apart and the curve asks for rather too many probes than too few.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::engine::calibrate::{Calibrator, Part};
use crate::engine::curve::RecallCurve;
use crate::engine::generation::Generation;
use crate::engine::index::Index;
use crate::engine::plan::TrainPlan;
use crate::engine::rebuild::{Rebuild, STEP_WORK};
use crate::engine::snapshot::Snapshot;
use crate::error::{Error, Result, try_with_capacity, try_zeroed};
use crate::exec::{Exec, Progress, Watch};
use crate::kernels::LANES;
use crate::rng::sample_indices;

/// Bytes of vectors that are assigned and compared at a time: many rows of a list side by side, within the job's memory.
const STAGE_BYTES: u64 = 32 << 20;

/// Rows of the sample read so far.
struct Stage<'a> {
    generation: &'a Generation,
    calibrator: Calibrator,
    exec: &'a Exec,
    watch: &'a Watch,
    dim: usize,
    /// Rows in hand: at most `room`, the first of them number `rows.len() - staged` of all.
    room: usize,
    vectors: Zeroizing<Vec<f32>>,
    sorted: Zeroizing<Vec<f32>>,
    /// Of all rows compared: their row in the source, and their list.
    rows: Vec<u32>,
    lists: Vec<u32>,
}

/// Reads the sample of `plan` again and measures.
pub(super) fn curve(
    index: &Index,
    s: &Arc<Snapshot>,
    plan: &TrainPlan,
    generation: &Generation,
    calibrator: Calibrator,
    watch: &Watch,
    progress: &Progress,
) -> Result<RecallCurve> {
    let dim = generation.centroids.dim();
    let live = s.live_in_runs() as usize;
    let chosen = sample_indices(live, plan.sample.min(live), plan.seed);
    let room = ((plan.budget.min(2 * STAGE_BYTES) / 2) as usize / (dim * 4)).clamp(LANES, chosen.len().max(LANES));
    let mut stage = Stage {
        generation,
        calibrator,
        exec: &index.shared.exec,
        watch,
        dim,
        room,
        vectors: Zeroizing::new(try_with_capacity(room * dim, "recall curve")?),
        sorted: Zeroizing::new(try_zeroed(room * dim, "recall curve")?),
        rows: try_with_capacity(chosen.len(), "recall curve")?,
        lists: try_with_capacity(chosen.len(), "recall curve")?,
    };
    let rebuild = Rebuild {
        index,
        pinned: Arc::clone(s),
        runs: 0..s.runs.len(),
        deltas: 0,
        // Not used for reading.
        to: generation,
        page_rows: plan.page_rows,
        budget: plan.budget,
        watch,
        progress,
    };
    let (mut ordinal, mut next) = (0u32, 0usize);
    rebuild.for_each_page(&mut |first, vectors| {
        for (row, vector) in (first..).zip(vectors.chunks_exact(dim)) {
            if s.tombstones.contains(row) {
                continue;
            }
            if chosen.get(next) == Some(&ordinal) {
                stage.push(row, vector)?;
                progress.advance(1);
                next += 1;
            }
            ordinal += 1;
        }
        Ok(())
    })?;
    stage.compare()?;
    let Stage { calibrator, rows, lists, .. } = stage;
    let list_of = |found: u32| lists[found as usize] as usize;
    let is_itself = |found: u32, query: u32| rows[found as usize] == query;
    calibrator.measure(&generation.centroids, list_of, is_itself, &index.shared.exec, watch)
}

impl Stage<'_> {
    fn push(&mut self, row: u32, vector: &[f32]) -> Result<()> {
        self.vectors.extend_from_slice(vector);
        self.rows.push(row);
        if self.vectors.len() == self.room * self.dim { self.compare() } else { Ok(()) }
    }

    /// Assigns the rows in hand, sorts them by list and compares them.
    fn compare(&mut self) -> Result<()> {
        let (dim, n) = (self.dim, self.vectors.len() / self.dim);
        let base = self.rows.len() - n;
        let mut lists = try_zeroed::<u32>(n, "recall curve")?;
        let step = (STEP_WORK / (dim * self.generation.lists())).max(LANES);
        for (vectors, lists) in self.vectors.chunks(step * dim).zip(lists.chunks_mut(step)) {
            self.watch.check()?;
            self.generation.centroids.assign(vectors, self.exec, lists)?;
        }
        let mut order: Vec<u32> = (0..n as u32).collect();
        order.sort_unstable_by_key(|&i| (lists[i as usize], i));
        let rows: Vec<u32> = order.iter().map(|&i| self.rows[base + i as usize]).collect();
        self.rows[base..].copy_from_slice(&rows);
        for (to, &from) in self.sorted.chunks_exact_mut(dim).zip(&order) {
            to.copy_from_slice(&self.vectors[from as usize * dim..(from as usize + 1) * dim]);
        }
        self.lists.extend(order.iter().map(|&i| lists[i as usize]));
        let first = u32::try_from(base).map_err(|_| Error::Unsupported { what: "a sample of 2^32 rows" })?;
        let mut at = 0;
        let parts: Vec<Part<'_>> = self.lists[base..]
            .chunk_by(|a, b| a == b)
            .map(|same| {
                let part = Part {
                    list: same[0] as usize,
                    first: first + at as u32,
                    vectors: &self.sorted[at * dim..(at + same.len()) * dim],
                };
                at += same.len();
                part
            })
            .collect();
        self.calibrator.compare(&parts, self.exec, self.watch)?;
        self.vectors.clear();
        Ok(())
    }
}
