//! Drift: measuring the recall curve anew when the data is no longer what it was measured on.
//!
//! The manifest counts the items written or deleted in the life of the index, the generation keeps the count at which
//! its curve was measured. When more than a quarter of the present items (and 1,000 at least) were written or deleted
//! since, the background lane merges what is unmerged, draws up to 2,000 live rows as queries, finds their exact
//! neighbours by one pass over the lists, and publishes the generation with what they teach, new biases and a new curve: same
//! number, centroids and codes. So measuring costs every write a bounded share of a pass. Upserts and queries go on; a training, which brings
//! a curve of its own, is waited for. Until the one commit that names it the old curve serves. No memory bound applies: held
//! are some MiB of rows, the queries, on each thread what a comparison takes (see `compare`), and what biases take
//! (`bias::memory`).

use std::ops::Range;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::bias::Biases;
use super::blob::frame_for;
use super::calibrate::{Calibrator, HeldOut};
use super::curve::RecallCurve;
use super::generation::Generation;
use super::index::{Index, Retired};
use super::options::LogLevel;
use super::region::Scratch;
use super::run::Run;
use super::snapshot::Snapshot;
use crate::buffer::Buffer;
use crate::crypto::Kind;
use crate::error::Result;
use crate::exec::Watch;
use crate::rng::sample_indices;

/// Share of the present items, as a divisor, and number of items whose writing makes the curve doubtful.
const SHARE: u64 = 4;
const LEAST: u64 = 1000;
/// Most queries.
const QUERIES: usize = 2000;
/// Bytes of vectors read between two looks at the watch.
const STEP_BYTES: usize = 2 << 20;
/// Rows passed over between two looks at the watch.
const STEP_ROWS: u32 = 1 << 20;

impl Index {
    /// Whether the curve should be measured anew, and no training is about to do so.
    pub(super) fn curve_is_due(&self, s: &Snapshot) -> bool {
        let Some(g) = s.generation.as_deref().filter(|g| g.number > 0) else { return false };
        let since = s.writes.saturating_sub(g.measured_at);
        since >= LEAST && since > s.live() / SHARE && self.job.lock().as_ref().is_none_or(|job| job.is_over())
    }

    /// Measures the curve on the runs and publishes it.
    pub(super) fn measure_if_due(&self, watch: &Watch) -> Result<()> {
        let s = self.snapshot.load_full();
        let Some(g) = s.generation.clone().filter(|_| self.curve_is_due(&s)) else { return Ok(()) };
        let exec = &self.shared.exec;
        let queries = draw(&s, &g, watch)?;
        let mut calibrator = Calibrator::new(s.config.metric, &g, queries, exec, watch)?;
        let mut page = Page::new(&g)?;
        for (base, run) in &s.runs {
            let dead = |row| s.tombstones.contains(row);
            let mut next = 0;
            while next < run.extents.len() {
                watch.check()?;
                let step = step(run, next, g.quantizer.dim());
                next = step.end;
                calibrator.observe(&run.extents, step.clone(), page.read(run, step)?, *base, dead, exec, watch)?;
            }
        }
        let list_of = |row: u32| {
            let (base, run) = &s.runs[s.runs.partition_point(|(base, _)| *base <= row) - 1];
            run.extents.list_of(run.extents.of_row(row - base))
        };
        // Rows that are dead count: they are scanned too.
        let len = |list| s.runs.iter().map(|(_, run)| run.extents.list_len(list)).sum();
        let (biases, curve) = calibrator.calibrate(&g, |row| row, list_of, len, exec, watch)?;
        self.publish_curve(&g, &biases, &curve, s.writes)
    }

    /// Puts `biases` and `curve` in the place of those of `old`, if that is still the present generation.
    fn publish_curve(
        &self,
        old: &Arc<Generation>,
        biases: &Biases,
        curve: &RecallCurve,
        measured_at: u64,
    ) -> Result<()> {
        let bytes = old.write_with(biases, curve, measured_at);
        // As an opening would read it: the rest of the generation is the old one's, to the bit.
        let generation = Arc::new(Generation::read(&bytes)?);
        let sealed = self.vault.seal(Kind::Directory, frame_for(bytes.len()), &bytes)?;
        let mut writer = self.writer.lock();
        self.enter()?;
        let current = self.snapshot.load_full();
        if !current.generation.as_ref().is_some_and(|g| Arc::ptr_eq(g, old)) {
            // A training was faster, and measured too.
            return Ok(());
        }
        let mut manifest = writer.manifest.clone();
        let gone = manifest.generation.replace(sealed.reference.clone());
        let seq = self.commit(&mut writer, manifest, vec![sealed])?;
        let next = Snapshot { seq, generation: Some(generation), ..(*current).clone() };
        // Rows stay as they are, so the id map does.
        self.snapshot.store(Arc::new(next));
        self.retire(&mut writer, gone.map(|object| Retired { objects: vec![object], unused: Box::new(|| true) }));
        self.shared.log(LogLevel::Info, "merge", &format!("recall measured anew with {} queries", curve.queries()));
        Ok(())
    }
}

/// As many extents of `run` from `start` on as make a step, at least one.
fn step(run: &Run, start: usize, dim: usize) -> Range<usize> {
    let first = run.extents.rows(start).start;
    let most = (STEP_BYTES / (dim * 4)) as u32;
    let mut end = start + 1;
    while end < run.extents.len() && run.extents.rows(end).end - first <= most {
        end += 1;
    }
    start..end
}

/// Random live rows of the runs with their vectors.
fn draw(s: &Snapshot, g: &Generation, watch: &Watch) -> Result<Vec<HeldOut>> {
    let dim = g.quantizer.dim();
    let chosen = sample_indices(s.live_in_runs() as usize, QUERIES, s.config.seed ^ s.writes);
    let (mut drawn, mut page) = (Vec::with_capacity(chosen.len()), Page::new(g)?);
    let mut ordinal = 0u32;
    for (base, run) in &s.runs {
        let mut at_hand = None;
        for row in 0..run.len() {
            if row.is_multiple_of(STEP_ROWS) {
                watch.check()?;
            }
            if s.tombstones.contains(base + row) {
                continue;
            }
            if chosen.get(drawn.len()) == Some(&ordinal) {
                let e = run.extents.of_row(row);
                if at_hand != Some(e) {
                    watch.check()?;
                    page.read(run, e..e + 1)?;
                    at_hand = Some(e);
                }
                let at = (row - run.extents.rows(e).start) as usize * dim;
                drawn.push((base + row, Zeroizing::new(page.vectors.f32s()[at..at + dim].to_vec())));
            }
            ordinal += 1;
        }
    }
    Ok(drawn)
}

/// Vectors of some extents, read past the cache.
struct Page<'a> {
    g: &'a Generation,
    scratch: Scratch,
    vectors: Buffer,
}

impl<'a> Page<'a> {
    fn new(g: &'a Generation) -> Result<Self> {
        Ok(Self { g, scratch: Scratch::default(), vectors: Buffer::zeroed(0, "page")? })
    }

    /// The vectors of `extents`, row by row.
    fn read(&mut self, run: &Run, extents: Range<usize>) -> Result<&[f32]> {
        let dim = self.g.quantizer.dim();
        let first = run.extents.rows(extents.start).start;
        let at = |row: u32| (row - first) as usize * dim;
        let values = at(run.extents.rows(extents.end - 1).end);
        if self.vectors.len() < values * 4 {
            self.vectors = Buffer::zeroed(values * 4, "page")?;
        }
        for e in extents {
            let out = &mut self.vectors.f32s_mut()[at(run.extents.rows(e).start)..];
            run.extent_vectors(self.g, e, &mut self.scratch, out)?;
        }
        Ok(&self.vectors.f32s()[..values])
    }
}
