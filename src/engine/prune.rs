//! Which blocks of a list are scored whole, where the fronts of their codes are scored first.
//!
//! This follows from [`Visit::least`], which is set between rounds, so it depends on the query and the snapshot alone. A
//! block of 16 vectors is scored whole or not at all: the rest of it is some lines of memory side by side.
//!
//! [`Visit::least`]: super::visit::Visit::least

use std::ops::Range;

use super::curve::Reach;
use super::generation::Generation;
use crate::ivf::{NEAREST_SHARE, Sieve};
use crate::kernels::LANES;

/// Vectors scanned for each candidate from which fronts are scored first: among fewer, most blocks hold one that may be
/// among the best.
const PRUNED_FROM: u64 = 128;

/// How many lists queries that look as far as `reach` among `items` score whole before fronts are scored first. `None`
/// where all are.
pub(super) fn whole_lists(g: &Generation, reach: Reach, items: u64, candidates: usize) -> Option<usize> {
    let scanned = items.saturating_mul(reach.usual as u64) / g.lists() as u64;
    let whole = reach.usual / NEAREST_SHARE;
    let pays = g.quantizer.fronts().is_some() && whole > 0 && scanned / PRUNED_FROM >= candidates as u64;
    pays.then_some(whole)
}

/// Puts into `open` the blocks with a front that scores `least` or more, side by side where they are.
pub(super) fn open_blocks(fronts: &[f32], least: f32, sieve: &mut Sieve, open: &mut Vec<Range<usize>>) {
    open.clear();
    if least == f32::NEG_INFINITY {
        // All, whatever fronts score: they may be beyond float32.
        open.push(0..fronts.len().div_ceil(LANES));
        return;
    }
    sieve.above(fronts, least.next_down(), |_, i| {
        let block = i as usize / LANES;
        match open.last_mut() {
            Some(last) if last.end > block => {}
            Some(last) if last.end == block => last.end += 1,
            _ => open.push(block..block + 1),
        }
    });
}
