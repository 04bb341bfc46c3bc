//! Passes over neighbour lists: a row of list j looks only among the centroids nearest to centroid j.
//!
//! Such a pass costs `width / k` of a full one and its product stays in the L1 and L2 caches, which pays for seven
//! of them. The neighbours are found anew for each pass: a k x k integer product.

use super::Job;
use super::assign::{Answer, assign_here};
use super::blocks::Blocks;
use super::lists::Lists;
use crate::error::{Result, try_zeroed};
use crate::ivf::TopK;
use crate::ivf::bytes::ByteCentroids;
use crate::kernels::{Best, Panels};

/// Rows in one work item, about.
const ITEM: usize = 2048;

/// The centroids of a pass, laid out for finding the nearest of one another.
pub(super) struct Neighbours<'a> {
    centroids: &'a ByteCentroids,
    blocks: Blocks,
}

/// Memory of one work item.
pub(super) struct Scratch {
    products: Vec<i32>,
    scores: Vec<f32>,
    top: TopK,
    /// The centroids found last, in rising order.
    pub(super) ids: Vec<u32>,
}

impl<'a> Neighbours<'a> {
    pub(super) fn new(centroids: &'a ByteCentroids) -> Result<Self> {
        let mut blocks = Blocks::new(centroids.len(), centroids.codes(0).len())?;
        for i in 0..centroids.len() {
            blocks.set(i, centroids.codes(i).iter().map(|&code| (i32::from(code) + 128) as u8));
        }
        Ok(Self { centroids, blocks })
    }

    pub(super) fn scratch(&self, job: &Job) -> Result<Scratch> {
        Ok(Scratch {
            products: try_zeroed(self.blocks.lanes(), "centroid products")?,
            scores: try_zeroed(self.centroids.len(), "centroid products")?,
            top: TopK::with_kernels(job.kernels, 0),
            ids: Vec::new(),
        })
    }

    /// Leaves the `width` centroids nearest to centroid `j`, itself among them, in `scratch.ids`.
    pub(super) fn find(&self, job: &Job, j: usize, width: usize, scratch: &mut Scratch) {
        let codes = self.centroids.codes(j);
        self.blocks.products(job.kernels, codes, &mut scratch.products);
        // Blocks hold q + 128, so 128 sum q comes off; then 2 <a, b> - |b|^2 ranks as the distance does.
        let shift: i32 = 128 * codes.iter().map(|&q| i32::from(q)).sum::<i32>();
        for (i, (score, product)) in scratch.scores.iter_mut().zip(&scratch.products).enumerate() {
            *score = (2 * (product - shift) - self.centroids.norm(i)) as f32;
        }
        scratch.top.reset(width);
        scratch.top.offer_all(&scratch.scores);
        scratch.top.finish_rows(&mut scratch.ids);
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
        for j in run {
            job.watch.check()?;
            let rows = lists.of(j);
            let (part, tail) = out.split_at_mut(rows.len());
            out = tail;
            if rows.is_empty() {
                continue;
            }
            self.find(job, j, width, &mut scratch);
            for (position, &i) in scratch.ids.iter().enumerate() {
                self.centroids.pack(i as usize, position, &mut panels);
            }
            assign_here(job, rows, &panels, part)?;
            part.iter_mut().for_each(|answer| answer.rename(&scratch.ids));
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
        self.find(job, j, width.min(self.centroids.len()), &mut scratch);
        scratch.ids.retain(|&i| keep(i));
        if scratch.ids.is_empty() {
            scratch.ids.extend((0..self.centroids.len() as u32).filter(|&i| keep(i)));
        }
        let mut panels = Panels::new(scratch.ids.len(), job.rows.dim)?;
        for (position, &i) in scratch.ids.iter().enumerate() {
            self.centroids.pack(i as usize, position, &mut panels);
        }
        let mut answers = vec![Best::default(); rows.len()];
        assign_here(job, rows, &panels, &mut answers)?;
        Ok(answers.iter().map(|best| scratch.ids[best.position as usize]).collect())
    }
}
