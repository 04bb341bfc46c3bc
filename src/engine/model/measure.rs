//! The biases and the recall curve of a model, measured where it was trained.
//!
//! An index measures its curve while it encodes; a model encodes nothing. So a sample of the same size is read once more,
//! assigned, and compared with the held-out rows as [`Calibrator`] compares those of an index. A sample is thinner than
//! the source, so neighbours lie farther apart and the curve asks for rather too many probes than too few. An index made
//! from the model measures anew by the rule of `drift`, which holds for it as soon as it has 1,000 items.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::engine::bias::Biases;
use crate::engine::calibrate::Calibrator;
use crate::engine::curve::RecallCurve;
use crate::engine::extents::{Extents, rows_per_extent};
use crate::engine::generation::Generation;
use crate::engine::index::Index;
use crate::engine::plan::TrainPlan;
use crate::engine::rebuild::{Rebuild, STEP_WORK};
use crate::engine::snapshot::Snapshot;
use crate::error::{Result, try_with_capacity, try_zeroed};
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
    /// Rows in hand, at most `room`: their number in the source and their vectors, and room for these in list order.
    room: usize,
    rows: Vec<u32>,
    vectors: Zeroizing<Vec<f32>>,
    sorted: Zeroizing<Vec<f32>>,
    /// The number under which each row of the source was compared, and the list of each number.
    numbers: Vec<u32>,
    lists: Vec<u32>,
}

/// Reads a sample of `plan`'s size and calibrates `generation` on it: its biases and its curve.
pub(super) fn calibrate(
    index: &Index,
    s: &Arc<Snapshot>,
    plan: &TrainPlan,
    generation: &Generation,
    calibrator: Calibrator,
    watch: &Watch,
    progress: &Progress,
) -> Result<(Biases, RecallCurve)> {
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
        rows: try_with_capacity(room, "recall curve")?,
        vectors: Zeroizing::new(try_with_capacity(room * dim, "recall curve")?),
        sorted: Zeroizing::new(try_zeroed(room * dim, "recall curve")?),
        numbers: try_filled(s.runs_end() as usize)?,
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
    let Stage { calibrator, numbers, lists, vectors, sorted, .. } = stage;
    drop((vectors, sorted));
    let mut lens = try_zeroed::<u32>(generation.lists(), "recall curve")?;
    lists.iter().for_each(|&list| lens[list as usize] += 1);
    let (itself, list_of) = (|row: u32| numbers[row as usize], |number: u32| lists[number as usize] as usize);
    calibrator.calibrate(generation, itself, list_of, |list| lens[list], &index.shared.exec, watch)
}

/// A number for each of `n` rows that none has: what was not compared.
fn try_filled(n: usize) -> Result<Vec<u32>> {
    let mut numbers = try_zeroed::<u32>(n, "recall curve")?;
    numbers.fill(u32::MAX);
    Ok(numbers)
}

impl Stage<'_> {
    fn push(&mut self, row: u32, vector: &[f32]) -> Result<()> {
        self.rows.push(row);
        self.vectors.extend_from_slice(vector);
        if self.rows.len() == self.room { self.compare() } else { Ok(()) }
    }

    /// Assigns the rows in hand, brings them into list order and compares them.
    fn compare(&mut self) -> Result<()> {
        let (dim, n) = (self.dim, self.rows.len());
        if n == 0 {
            return Ok(());
        }
        let mut lists = try_zeroed::<u32>(n, "recall curve")?;
        let step = (STEP_WORK / (dim * self.generation.lists())).max(LANES);
        for (vectors, lists) in self.vectors.chunks(step * dim).zip(lists.chunks_mut(step)) {
            self.watch.check()?;
            self.generation.centroids.assign(vectors, self.exec, lists)?;
        }
        let mut order = try_with_capacity(n, "recall curve")?;
        order.extend(0..n as u32);
        order.sort_unstable_by_key(|&i| (lists[i as usize], i));
        let mut lens = try_zeroed::<u32>(self.generation.lists(), "recall curve")?;
        let base = self.lists.len() as u32;
        for (to, &from) in self.sorted.chunks_exact_mut(dim).zip(&order) {
            let (from, list) = (from as usize, lists[from as usize]);
            to.copy_from_slice(&self.vectors[from * dim..(from + 1) * dim]);
            self.numbers[self.rows[from] as usize] = self.lists.len() as u32;
            self.lists.push(list);
            lens[list as usize] += 1;
        }
        let extents = Extents::new(&lens, rows_per_extent(dim * 4))?;
        let (all, vectors) = (0..extents.len(), &self.sorted[..n * dim]);
        self.calibrator.observe(&extents, all, vectors, base, |_| false, self.exec, self.watch)?;
        self.rows.clear();
        self.vectors.clear();
        Ok(())
    }
}
