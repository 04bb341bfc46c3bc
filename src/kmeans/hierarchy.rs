//! The start: few coarse lists, each clustered by itself into its share of k.
//!
//! A product over n x k is replaced by one over n x c for c coarse lists and one over n x k / c. The passes that follow mend
//! the borders between coarse lists, but not all that they did. So there are fewer borders than with c = sqrt(k), where both
//! products together would be least. The work items are the coarse lists, each with its own random stream, so the result
//! does not depend on threads; a list that holds most of the rows still runs on all of them, because the loops inside an
//! item are parallel too.

use super::Job;
use super::assign::{assign_all, lloyd};
use super::lists::Lists;
use crate::error::{Result, try_with_capacity};
use crate::ivf::bytes::ByteCentroids;
use crate::rng::{Rng, sample_indices};

/// Below this many lists the start is plain: there is nothing to divide.
const PLAIN: usize = 16;
/// Coarse lists, as a share of sqrt(k), and the fewest. With all of sqrt(k) 2 % more vectors are scanned for a recall on one
/// of three datasets, see benches/METHOD.md.
const COARSE_SHARE: f64 = 0.3;
const COARSE_LEAST: usize = 2;
/// Rows a coarse list is trained on.
const COARSE_ROWS: usize = 256;
const COARSE_ITERATIONS: u32 = 5;
const FINE_ITERATIONS: u32 = 4;

/// A first clustering of all rows: `k` means in byte units and the lists they were made from.
pub(super) fn start(job: &Job, k: usize) -> Result<(Vec<f32>, Lists)> {
    let n = job.rows.len();
    let mut lists = Lists::one((0..n as u32).collect())?;
    let mut rng = Rng::stream(job.seed, 0);
    if k < PLAIN {
        let found = lloyd(job, lists.order(), k, FINE_ITERATIONS, &mut rng)?;
        lists.regroup(job.watch, k, |p| found.answers[p].position)?;
        return Ok((found.means, lists));
    }
    let coarse = ((k as f64).sqrt() * COARSE_SHARE).round() as usize;
    let coarse = coarse.max(COARSE_LEAST);
    let sample = sample_indices(n, COARSE_ROWS * coarse, rng.next_u64());
    let found = lloyd(job, &sample, coarse, COARSE_ITERATIONS, &mut rng)?;
    let panels = ByteCentroids::new(&found.means, job.rows.dim, job.exec)?.panels()?;
    let answers = assign_all(job, lists.order(), &panels)?;
    lists.regroup(job.watch, coarse, |p| answers[p].position)?;
    drop(answers);

    let sizes: Vec<usize> = (0..coarse).map(|j| lists.size(j)).collect();
    let shares = shares(&sizes, k);
    let parts = job.exec.map(coarse, |j| {
        let mut rng = Rng::stream(job.seed, 1 + j as u64);
        lloyd(job, lists.of(j), shares[j], FINE_ITERATIONS, &mut rng)
    });
    let mut means = try_with_capacity(k * job.rows.dim, "means")?;
    let mut labels: Vec<u32> = try_with_capacity(n, "labels")?;
    let mut first = 0;
    for (part, share) in parts.into_iter().zip(&shares) {
        let part = part?;
        means.extend_from_slice(&part.means);
        labels.extend(part.answers.iter().map(|best| first + best.position));
        first += *share as u32;
    }
    lists.regroup(job.watch, k, |p| labels[p])?;
    Ok((means, lists))
}

/// Divides `k` among lists in proportion to their sizes (largest remainder), at least 1 and at most its size to each
/// list that has rows. The sizes sum to at least `k`, and at most `k` lists have rows.
fn shares(sizes: &[usize], k: usize) -> Vec<usize> {
    let n: usize = sizes.iter().sum();
    let ideal = |j: usize| sizes[j] as f64 * k as f64 / n as f64;
    let mut shares: Vec<usize> = (0..sizes.len()).map(|j| (ideal(j) as usize).max(1).min(sizes[j])).collect();
    let mut given: usize = shares.iter().sum();
    let lack = |j: usize, share: usize| ideal(j) - share as f64;
    while given != k {
        let candidates = (0..sizes.len()).filter(|&j| if given < k { shares[j] < sizes[j] } else { shares[j] > 1 });
        let ranked = candidates.map(|j| (lack(j, shares[j]), j));
        if given < k {
            let Some((_, j)) = ranked.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1))) else { break };
            (shares[j], given) = (shares[j] + 1, given + 1);
        } else {
            let Some((_, j)) = ranked.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))) else { break };
            (shares[j], given) = (shares[j] - 1, given - 1);
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::shares;

    #[test]
    fn shares_follow_sizes_and_never_exceed_them() {
        assert_eq!(shares(&[10, 0, 30, 60], 10), [1, 0, 3, 6]);
        assert_eq!(shares(&[1, 1, 98], 50), [1, 1, 48]);
        assert_eq!(shares(&[3, 4, 5], 12), [3, 4, 5]);
        assert_eq!(shares(&[1, 1, 1, 997], 4), [1, 1, 1, 1]);
        for k in 3..40 {
            let s = shares(&[7, 13, 20], k);
            assert_eq!(s.iter().sum::<usize>(), k);
            assert!(s.iter().zip([7, 13, 20]).all(|(&s, size)| (1..=size).contains(&s)));
        }
    }
}
