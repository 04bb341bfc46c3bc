//! The recall curve: how many lists must be probed for a wished recall, measured on the index's own data.
//!
//! While training encodes, up to 2,000 vectors that took no part in the clustering are used as queries; when the data
//! has drifted it is measured again (`drift`). For each of
//! their true nearest neighbours the rank of its list in the query's probe order says how many probes find it, so one
//! exact search gives the whole curve. Kept for k = 10 and k = 100; other k use the next greater.

use super::margin::Margins;
use super::results::RecallReading;
use super::wire::{Put, Reader};
use crate::error::{Error, Result};

/// Numbers of results the curve is kept for.
pub(super) const CURVE_K: [usize; 2] = [10, 100];

/// Standard errors added to the target: the curve is measured on a sample.
const GUARD: f64 = 2.0;
/// Standard deviation of the recall of single queries, in units of that of a single neighbour: 0.09 where the mean is near
/// 0.95 on 10,000 GloVe words, and some more for data that is less even. It falls towards 1 as that of a neighbour does.
const SPREAD: f64 = 0.55;
/// Lists that the stopping rule may visit, as a multiple of the probes that reach the target without it.
const WIDER: usize = 2;

/// Recall by number of probes, for each of [`CURVE_K`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct RecallCurve {
    /// Queries measured.
    queries: u32,
    /// For each k, points of rising probes and recall.
    points: [Vec<(u32, f32)>; 2],
    /// The stopping rule for up to [`CURVE_K`]`[0]` results.
    margins: Margins,
}

/// How far a query looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reach {
    /// Most lists visited.
    pub(super) probes: usize,
    /// Lists that would be visited without the stopping rule.
    pub(super) usual: usize,
    /// Where visiting ends before: see [`Margins`].
    pub(super) stop: Option<Stop>,
    /// How many lists are scored whole before fronts of codes are scored first, where they are: see `prune`.
    pub(super) whole: Option<usize>,
}

/// The stopping rule of one query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stop {
    /// Which best vector is compared with lists.
    pub(super) rank: usize,
    /// How much farther than it a list may be, in half squared distances.
    pub(super) margin: f32,
}

impl Reach {
    /// Exactly so many lists.
    pub(super) fn all(probes: usize) -> Self {
        Self { probes, usual: probes, stop: None, whole: None }
    }

    /// The lists of a round that takes one part in `share` of the usual number.
    pub(super) fn round(&self, share: usize) -> usize {
        self.usual.div_ceil(share)
    }
}

impl RecallCurve {
    /// The curve of `ranks[which k][query]`: for each query, the 0-based ranks of the lists that hold its true
    /// neighbours. Points beyond `believed` probes are left out: there the neighbours given are not all there are.
    pub(super) fn measure(ranks: [&[Vec<u32>]; 2], lists: usize, believed: usize, margins: Margins) -> Self {
        let points = ranks.map(|queries| {
            let mut found = vec![0u64; lists];
            queries.iter().flatten().for_each(|&rank| found[rank as usize] += 1);
            let total: u64 = found.iter().sum();
            let (mut points, mut sum) = (Vec::new(), 0);
            for (rank, &n) in found.iter().enumerate() {
                sum += n;
                if n > 0 {
                    points.push((rank as u32 + 1, (sum as f64 / total as f64) as f32));
                }
            }
            points.retain(|&(probes, _)| probes as usize <= believed);
            thin(points)
        });
        Self { queries: ranks[0].len() as u32, points, margins }
    }

    /// Queries measured; 0 = nothing was.
    pub(super) fn queries(&self) -> u32 {
        self.queries
    }

    /// Probes that reach `target` recall for `k` results; all `lists` where nothing was measured.
    pub(super) fn probes(&self, k: usize, target: f32, lists: usize) -> usize {
        let which = CURVE_K.iter().position(|&c| k <= c);
        let points = &self.points[which.unwrap_or(CURVE_K.len() - 1)];
        let target = (target + self.error(target)).min(0.9999);
        let at = points.partition_point(|&(_, recall)| recall < target);
        let probes = points.get(at).map_or(lists, |&(p, _)| p as usize);
        // Beyond the largest k measured the neighbourhood grows with k, at most in proportion.
        let factor = if which.is_none() { k as f64 / CURVE_K[CURVE_K.len() - 1] as f64 } else { 1.0 };
        ((probes as f64 * factor).ceil() as usize).clamp(1, lists)
    }

    /// As [`Self::probes`], with the stopping rule where it was measured and `k` is small enough for it: then up to
    /// [`WIDER`] times as many lists are visited where a query needs them, and fewer on average.
    pub(super) fn reach(&self, k: usize, target: f32, lists: usize) -> Reach {
        let probes = self.probes(k, target, lists);
        let plain = Reach::all(probes);
        let Some(rank) = self.margins.rank().filter(|_| k <= CURVE_K[0] && probes < lists) else { return plain };
        let wide = probes.saturating_mul(WIDER).min(lists);
        let beyond = self.points[0].partition_point(|&(p, _)| p as usize <= wide);
        // What the limit of lists loses, the margin must find.
        let lost = 1.0 - beyond.checked_sub(1).map_or(0.0, |i| self.points[0][i].1);
        match self.margins.margin(target + self.error(target) + lost) {
            Some(margin) => {
                Reach { probes: wide, usual: probes, stop: Some(Stop { rank: rank as usize, margin }), whole: None }
            }
            None => plain,
        }
    }

    /// What a measured recall near `target` may be wrong by.
    fn error(&self, target: f32) -> f32 {
        let target = f64::from(target);
        (GUARD * SPREAD * (target * (1.0 - target) / f64::from(self.queries.max(1))).sqrt()) as f32
    }

    /// The curve as callers see it.
    pub(super) fn reading(&self) -> RecallReading {
        let [at_10, at_100] = self.points.clone();
        RecallReading { queries: self.queries, at_10, at_100 }
    }

    /// Appends the curve.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.put_u32(self.queries);
        for points in &self.points {
            out.put_u32(points.len() as u32);
            for &(probes, recall) in points {
                out.put_u32(probes);
                out.put_f32(recall);
            }
        }
        self.margins.write(out);
    }

    /// Reads what [`Self::write`] wrote.
    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self> {
        let mut curve = Self { queries: r.u32()?, ..Self::default() };
        for points in &mut curve.points {
            let n = r.count(8)?;
            for _ in 0..n {
                let point = (r.u32()?, r.f32()?);
                let last: (u32, f32) = points.last().copied().unwrap_or_default();
                let rises = last.0 < point.0 && last.1 <= point.1;
                if !(rises && point.1 > 0.0 && point.1 <= 1.0) {
                    return Err(Error::Corrupt { what: "recall curve" });
                }
                points.push(point);
            }
        }
        curve.margins = Margins::read(r)?;
        Ok(curve)
    }
}

/// Every point where probes are few, then only those at least 1 % further: some hundred points for any number of lists.
fn thin(points: Vec<(u32, f32)>) -> Vec<(u32, f32)> {
    let last = points.last().copied();
    let mut kept: Vec<(u32, f32)> = Vec::new();
    for p in points {
        if kept.last().is_none_or(|k| p.0 as f32 >= k.0 as f32 * 1.01) || Some(p) == last {
            kept.push(p);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_smallest_number_of_probes_that_reaches_the_target() {
        // 1,000 queries; neighbour i of 10 lies in the list of rank i: recall is probes / 10.
        let queries = vec![(0..10).collect::<Vec<u32>>(); 1000];
        let margins = Margins::measure(20, (0..10_000).map(|i| i as f32 / 10_000.0).collect());
        let curve = RecallCurve::measure([&queries, &queries], 50, 50, margins.clone());
        assert_eq!(curve.probes(10, 0.68, 50), 7);
        assert_eq!(curve.probes(5, 0.95, 50), 10);
        assert_eq!(curve.probes(1000, 0.45, 50), 50);
        assert_eq!(RecallCurve::default().probes(10, 0.9, 50), 50);
        let half = RecallCurve::measure([&queries, &queries], 50, 7, Margins::default());
        assert_eq!((half.probes(5, 0.65, 50), half.probes(5, 0.95, 50)), (7, 50));
        assert_eq!(half.reach(5, 0.65, 50), Reach::all(7));
        let reach = curve.reach(10, 0.68, 50);
        let stop = reach.stop.unwrap();
        assert!(reach.probes == 14 && stop.rank == 20 && (0.68..0.75).contains(&stop.margin), "{reach:?}");
        assert_eq!(curve.reach(11, 0.69, 50).stop, None, "measured for 10 results");
        let mut bytes = Vec::new();
        curve.write(&mut bytes);
        assert_eq!(RecallCurve::read(&mut Reader::new(&bytes, "curve")).unwrap(), curve);
        for cut in 0..bytes.len() {
            assert!(RecallCurve::read(&mut Reader::new(&bytes[..cut], "curve")).is_err());
        }
    }

    #[test]
    fn a_curve_that_nothing_measured_is_refused() {
        let read = |points: [(u32, f32); 2]| {
            let mut bytes = Vec::new();
            RecallCurve { queries: 9, points: [points.to_vec(), Vec::new()], ..RecallCurve::default() }
                .write(&mut bytes);
            RecallCurve::read(&mut Reader::new(&bytes, "curve"))
        };
        assert!(read([(1, 0.5), (2, 1.0)]).is_ok());
        let bad = [(1, 0.4), (2, 1.1), (2, f32::NAN), (2, -0.1)];
        assert!(bad.iter().all(|&second| read([(1, 0.5), second]).is_err()));
        assert!(read([(0, 0.5), (2, 0.6)]).is_err() && read([(1, 0.0), (2, 0.6)]).is_err());
    }

    #[test]
    fn thinning_keeps_the_ends() {
        let points: Vec<(u32, f32)> = (1..=5000).map(|i| (i, i as f32 / 5000.0)).collect();
        let kept = thin(points);
        assert!(kept.len() < 800 && kept[0].0 == 1 && kept[kept.len() - 1] == (5000, 1.0));
    }
}
