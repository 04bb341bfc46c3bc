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

/// Vectors scanned for each that is kept from which fronts are scored first: among fewer, most blocks hold one that may be
/// among the best.
const PRUNED_FROM: u64 = 128;

/// How many lists queries that look as far as `reach` among `items`, and keep `kept` of them as candidates, score whole before
/// fronts are scored first. `None` where all are.
pub(super) fn whole_lists(g: &Generation, reach: Reach, items: u64, kept: usize) -> Option<usize> {
    let scanned = items.saturating_mul(reach.usual as u64) / g.lists() as u64;
    let whole = reach.usual / NEAREST_SHARE;
    let pays = g.quantizer.fronts().is_some() && whole > 0 && scanned / PRUNED_FROM >= kept as u64;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(fronts: &[f32], least: f32) -> Vec<(usize, usize)> {
        let mut open = Vec::new();
        // What was open before is not.
        open.push(7..9);
        open_blocks(fronts, least, &mut Sieve::default(), &mut open);
        open.iter().map(|blocks| (blocks.start, blocks.end)).collect()
    }

    #[test]
    fn blocks_with_a_front_that_is_good_enough_are_open() {
        let mut fronts = [0.0; 6 * LANES + 1];
        assert_eq!(opened(&fronts, 1.0), []);
        assert_eq!(opened(&fronts, 0.0), [(0, 7)]);
        // Two of one block, one of the next, one just below, the last alone.
        for (i, front) in [(1, 1.0), (15, 2.0), (16, 1.0), (50, 1f32.next_down()), (96, 5.0)] {
            fronts[i] = front;
        }
        assert_eq!(opened(&fronts, 1.0), [(0, 2), (6, 7)]);
        assert_eq!(opened(&fronts, f32::INFINITY), []);
        assert_eq!(opened(&[], 1.0), []);
    }

    /// Fronts may be beyond float32 where the whole is not.
    #[test]
    fn all_blocks_are_open_where_nothing_is_looked_for_yet() {
        for front in [0.0, f32::NAN, f32::NEG_INFINITY] {
            assert_eq!(opened(&[front; LANES + 1], f32::NEG_INFINITY), [(0, 2)]);
        }
        assert_eq!(opened(&[0.0, f32::NAN, f32::INFINITY], 1.0), [(0, 1)]);
    }
}
