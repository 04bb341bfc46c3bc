//! When a query has seen enough lists: a stopping rule that adapts to each query, calibrated like the number of probes.
//!
//! A list is worth visiting while its mean is not much farther than the R-th best vector found so far: lists with
//! `-|q - m|^2 / 2 + bias < t - margin` are left out (`bias`: what each list promises beyond its distance), where `t` is `-|q - x|^2 / 2` of that R-th best (`visit`). Queries in dense
//! regions stop early, those in thin ones go on, so that for the same recall fewer vectors are scanned than with one number
//! of probes for all.
//!
//! Calibration is one pass over what the recall curve needs anyway: for each true neighbour of a held-out query the gap
//! between its final `t` and its list says which margin finds it. The running `t` of a search with exact scores is never
//! above the final one, so such a search leaves out no list that was counted. Scores of codes are estimates: where some
//! of the R best are too high, `t` is above that of the vectors themselves and the visit may end a little early. How much
//! that loses is not calibrated: `tests/words.rs` holds every scheme to the wished recall with the rule at work. Upper
//! bounds are too high on purpose, so with them (`RaBitQ`) no visit ends early.

use super::curve::CURVE_K;
use super::wire::{Put, Reader};
use crate::error::{Error, Result, try_with_capacity};
use crate::types::Similarity;

/// R. On 331,479 `GloVe` words 40 scanned 3 % fewer vectors than 100 for recall 0.953, and as many for 0.970 and 0.981.
pub(super) const RANK: usize = 40;
/// Points kept: by recall, closer to each other towards 1.
const POINTS: usize = 96;
/// Recall of the first point.
const FROM: f64 = 0.5;

/// Margin by wished recall, for up to 10 results.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Margins {
    /// R: which best vector is compared with lists; 0 = nothing was measured.
    rank: u32,
    /// Points of rising recall and margin: (recall, margin).
    points: Vec<(f32, f32)>,
}

/// `-|q - x|^2 / 2` of a score between a query and a vector of the same length 1, or of an L2 score.
pub(super) fn half_square(similarity: Similarity, score: f32) -> f32 {
    match similarity {
        Similarity::L2 => 0.5 * score,
        Similarity::Dot => score - 1.0,
    }
}

impl Margins {
    /// From the gap of every true neighbour, in any order; `rank` is R.
    pub(super) fn measure(rank: u32, mut gaps: Vec<f32>) -> Self {
        gaps.retain(|gap| !gap.is_nan());
        if gaps.is_empty() || rank == 0 {
            return Self::default();
        }
        gaps.sort_unstable_by(f32::total_cmp);
        let mut points: Vec<(f32, f32)> = Vec::with_capacity(POINTS);
        for i in 0..POINTS {
            // 1 - recall falls by the same factor from point to point, from 0.5 to 0.0005.
            let missed = (1.0 - FROM) * 1e-3f64.powf(i as f64 / (POINTS - 1) as f64);
            let at = (((1.0 - missed) * gaps.len() as f64).ceil() as usize).clamp(1, gaps.len());
            let point = ((at as f64 / gaps.len() as f64) as f32, gaps[at - 1].clamp(-1e30, f32::MAX));
            if points.last().is_none_or(|last| last.0 < point.0) {
                points.push(point);
            }
        }
        Self { rank, points }
    }

    /// R, where anything was measured.
    pub(super) fn rank(&self) -> Option<u32> {
        (self.rank > 0).then_some(self.rank)
    }

    /// The margin that finds `recall` of the neighbours, between two points in proportion; `None` beyond what was measured.
    pub(super) fn margin(&self, recall: f32) -> Option<f32> {
        let at = self.points.partition_point(|&(r, _)| r < recall);
        let &(next, margin) = self.points.get(at)?;
        let Some(&(last, from)) = at.checked_sub(1).and_then(|before| self.points.get(before)) else {
            return Some(margin);
        };
        Some(from + (margin - from) * ((recall - last) / (next - last)))
    }

    /// Appends the margins.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.put_u32(self.rank);
        out.put_u32(self.points.len() as u32);
        for &(recall, margin) in &self.points {
            out.put_f32(recall);
            out.put_f32(margin);
        }
    }

    /// Reads what [`Self::write`] wrote.
    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self> {
        let corrupt = Error::Corrupt { what: "margins" };
        let rank = r.u32()?;
        let n = r.count(8)?;
        let mut points: Vec<(f32, f32)> = try_with_capacity(n, "margins")?;
        for _ in 0..n {
            let point = (r.f32()?, r.f32()?);
            let rises = points.last().is_none_or(|last| last.0 < point.0 && last.1 <= point.1);
            if !(rises && point.0 > 0.0 && point.0 <= 1.0 && point.1.is_finite()) {
                return Err(corrupt);
            }
            points.push(point);
        }
        // A query keeps as many candidates as the rank says.
        if (rank == 0) != points.is_empty() || rank as usize > CURVE_K[CURVE_K.len() - 1] {
            return Err(corrupt);
        }
        Ok(Self { rank, points })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_margin_finds_the_share_of_neighbours_it_says() {
        let gaps: Vec<f32> = (0..10_000).map(|i| ((i * 7919) % 10_000) as f32 / 10_000.0).collect();
        let margins = Margins::measure(40, gaps.clone());
        assert_eq!(margins.rank(), Some(40));
        for recall in [0.5, 0.9, 0.95, 0.99, 0.999] {
            let margin = margins.margin(recall).unwrap();
            let found = gaps.iter().filter(|&&gap| gap <= margin).count() as f32 / 10_000.0;
            // Gaps are even here, so that between two points they rise in proportion.
            assert!(found >= recall - 2e-4 && found < recall + 2e-4, "{recall}: {found}");
        }
        assert!(margins.margin(0.99999).is_none() && Margins::default().margin(0.5).is_none());
        assert!(Margins::measure(40, Vec::new()).rank().is_none());
        let mut bytes = Vec::new();
        margins.write(&mut bytes);
        assert_eq!(Margins::read(&mut Reader::new(&bytes, "margins")).unwrap(), margins);
        for cut in 0..bytes.len() {
            assert!(Margins::read(&mut Reader::new(&bytes[..cut], "margins")).is_err());
        }
        bytes[0] = 0;
        assert!(Margins::read(&mut Reader::new(&bytes, "margins")).is_err(), "points without a rank");
    }

    // The rank was not bounded: a package that its maker had crafted made the first query allocate gigabytes.
    #[test]
    fn margins_that_nothing_measured_are_refused() {
        let read = |rank: u32, points: &[(f32, f32)]| {
            let mut bytes = Vec::new();
            Margins { rank, points: points.to_vec() }.write(&mut bytes);
            Margins::read(&mut Reader::new(&bytes, "margins"))
        };
        assert!(read(100, &[(0.5, 0.1), (1.0, 0.1)]).is_ok());
        for rank in [101, 1 << 30, u32::MAX] {
            assert!(matches!(read(rank, &[(0.5, 0.1)]), Err(Error::Corrupt { .. })), "{rank}");
        }
        for points in
            [[(0.0, 0.1), (0.5, 0.2)], [(0.5, 0.1), (1.5, 0.2)], [(0.5, 0.1), (0.5, 0.2)], [(0.5, 0.2), (0.6, 0.1)]]
        {
            assert!(read(100, &points).is_err(), "{points:?}");
        }
        assert!(read(100, &[(f32::NAN, 0.1)]).is_err() && read(100, &[(0.5, f32::INFINITY)]).is_err());
    }
}
