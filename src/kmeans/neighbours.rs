//! Passes over neighbour lists: a row of list j looks only among the centroids nearest to centroid j.
//!
//! Such a pass costs `width / k` of a full one and its product stays in the L1 and L2 caches, which pays for seven
//! of them. The neighbours are found anew for each pass: a k x k integer product.

use super::Job;
use super::assign::{Answer, PRODUCTS, assign_here};
use super::blocks::{Blocks, TOGETHER};
use super::lists::Lists;
use crate::error::{Result, try_zeroed};
use crate::ivf::TopK;
use crate::ivf::bytes::ByteCentroids;
use crate::kernels::{Best, Panels};

/// Rows in one work item, about.
const ITEM: usize = 2048;
/// Rows of a list that are asked for before its neighbours are chosen; assigning them asks for those behind.
const AHEAD: usize = 12;

/// The centroids of a pass, laid out for finding the nearest of one another.
pub(super) struct Neighbours<'a> {
    centroids: &'a ByteCentroids,
    blocks: Blocks,
}

/// Memory of one work item.
struct Scratch {
    /// Of all centroids to some, [`Blocks::lanes`] apart.
    scores: Vec<f32>,
    top: TopK,
    /// The centroids found last, in rising order.
    ids: Vec<u32>,
}

impl<'a> Neighbours<'a> {
    pub(super) fn new(centroids: &'a ByteCentroids) -> Result<Self> {
        // 2 <a, b> - |b|^2 ranks centroids b about a as their distance does.
        let blocks = Blocks::of(centroids, |i| -(centroids.norm(i) as f32))?;
        Ok(Self { centroids, blocks })
    }

    fn scratch(&self, job: &Job) -> Result<Scratch> {
        Ok(Scratch {
            scores: try_zeroed(self.together() * self.blocks.lanes(), "centroid products")?,
            top: TopK::with_kernels(job.kernels, 0),
            ids: Vec::new(),
        })
    }

    /// Centroids that are scored against all in one go.
    fn together(&self) -> usize {
        (PRODUCTS / self.centroids.len().saturating_mul(self.centroids.codes(0).len())).clamp(1, TOGETHER)
    }

    /// Scores all centroids against those of `lists`, at most [`Neighbours::together`].
    fn score(&self, job: &Job, lists: &[usize], scratch: &mut Scratch) {
        let codes = lists.iter().map(|&j| self.centroids.codes(j));
        self.blocks.scores(job.kernels, codes, &mut scratch.scores[..lists.len() * self.blocks.lanes()]);
    }

    /// Leaves the `width` centroids nearest to the `at`-th of those scored, itself among them, in `scratch.ids`.
    fn choose(&self, at: usize, width: usize, scratch: &mut Scratch) {
        let Scratch { scores, top, ids } = scratch;
        top.best_rows(&scores[at * self.blocks.lanes()..][..self.centroids.len()], width, ids);
    }

    /// For every row the nearest of the `width` neighbours of its list's centroid; one answer a place of the order.
    pub(super) fn pass<A: Answer>(&self, job: &Job, lists: &Lists, width: usize) -> Result<Vec<A>> {
        let width = width.min(self.centroids.len());
        let mut answers: Vec<A> = try_zeroed(lists.order().len(), "answers")?;
        let runs = lists.runs(ITEM);
        let mut items = Vec::with_capacity(runs.len());
        let mut rest = answers.as_mut_slice();
        for run in runs {
            let rows = run.clone().map(|j| lists.size(j)).sum();
            let (part, tail) = std::mem::take(&mut rest).split_at_mut(rows);
            rest = tail;
            items.push((run, part, Ok(())));
        }
        job.exec.for_each_chunk(&mut items, 1, |_, item| {
            for (run, part, result) in item {
                *result = self.pass_lists(job, lists, width, run.clone(), part);
            }
        });
        items.into_iter().try_for_each(|(_, _, result)| result)?;
        Ok(answers)
    }

    fn pass_lists<A: Answer>(
        &self,
        job: &Job,
        lists: &Lists,
        width: usize,
        run: std::ops::Range<usize>,
        mut out: &mut [A],
    ) -> Result<()> {
        let mut scratch = self.scratch(job)?;
        let mut panels = Panels::new(width, job.rows.dim)?;
        let filled: Vec<usize> = run.filter(|&j| lists.size(j) > 0).collect();
        for together in filled.chunks(self.together()) {
            job.watch.check()?;
            self.score(job, together, &mut scratch);
            for (at, &j) in together.iter().enumerate() {
                let rows = lists.of(j);
                let (part, tail) = out.split_at_mut(rows.len());
                out = tail;
                rows.iter().take(AHEAD).for_each(|&row| job.rows.prefetch(row));
                self.choose(at, width, &mut scratch);
                self.centroids.pack(&scratch.ids, &mut panels);
                assign_here(job, rows, &panels, part)?;
                part.iter_mut().for_each(|answer| answer.rename(&scratch.ids));
            }
        }
        Ok(())
    }

    /// For each row of `rows`, which are in list `j`, the nearest of its centroid's neighbours that `keep` allows.
    pub(super) fn nearest_kept(
        &self,
        job: &Job,
        rows: &[u32],
        j: usize,
        width: usize,
        keep: impl Fn(u32) -> bool,
    ) -> Result<Vec<u32>> {
        let mut scratch = self.scratch(job)?;
        self.score(job, &[j], &mut scratch);
        self.choose(0, width.min(self.centroids.len()), &mut scratch);
        scratch.ids.retain(|&i| keep(i));
        if scratch.ids.is_empty() {
            scratch.ids.extend((0..self.centroids.len() as u32).filter(|&i| keep(i)));
        }
        let mut panels = Panels::new(scratch.ids.len(), job.rows.dim)?;
        self.centroids.pack(&scratch.ids, &mut panels);
        let mut answers = vec![Best::default(); rows.len()];
        assign_here(job, rows, &panels, &mut answers)?;
        Ok(answers.iter().map(|best| scratch.ids[best.position as usize]).collect())
    }
}
