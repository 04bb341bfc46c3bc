//! Relocation: lists that are hardly missed are given up, and their centroids split lists that are too large.
//!
//! Lloyd's algorithm cannot move a centroid from where there are too many to where there are too few. Cost of giving
//! list j up: what its rows lose by going to their second best. Worth of splitting it: what 2-means gain. Both are
//! weighted by size / average size, so that large lists, which cost most to search, are split first.

use super::Job;
use super::assign::lloyd;
use super::lists::Lists;
use super::neighbours::Neighbours;
use crate::error::{Result, try_zeroed};
use crate::kernels::Best;
use crate::rng::Rng;

/// Share of the lists whose split is tried.
const TRIED: f64 = 0.06;
/// Most lists relocated at once, as a share.
const MOVED: f64 = 0.03;
/// How much more a split must gain than the removal costs: both are estimates.
const MARGIN: f64 = 1.1;
/// Iterations of the 2-means that splits a list.
const SPLIT_ITERATIONS: u32 = 4;

/// What a pass says of a list. Sums of integers: no order of rows changes them.
#[derive(Clone, Copy, Default)]
pub(super) struct Account {
    norms: i64,
    best: i64,
    lead: i64,
    size: u32,
}

impl Account {
    /// Sum of squared distances of the list's rows to their centroid, in byte units.
    pub(super) fn inertia(&self, factor: f64) -> f64 {
        self.norms as f64 - 2.0 * self.best as f64 / factor
    }
}

/// Sums up, list by list, what a pass found for the rows in the order of `lists`.
pub(super) fn accounts(job: &Job, lists: &Lists, answers: &[[Best; 2]]) -> Result<Vec<Account>> {
    let mut accounts: Vec<Account> = try_zeroed(lists.len(), "list accounts")?;
    for (p, (&row, [best, second])) in lists.order().iter().zip(answers).enumerate() {
        if p % (1 << 18) == 0 {
            job.watch.check()?;
        }
        let account = &mut accounts[best.position as usize];
        account.norms += job.rows.norm(row);
        account.best += i64::from(best.score);
        account.lead += i64::from(best.score) - i64::from(second.score);
        account.size += 1;
    }
    Ok(accounts)
}

/// A list to be split: what that is worth, and which half each of its rows goes to.
struct Split {
    list: usize,
    gain: f64,
    second_half: Vec<bool>,
}

/// Regroups `lists` (grouped by what the pass found, see [`accounts`]) with some lists given up for halves of others.
/// `round` numbers the relocations of a clustering.
pub(super) fn relocate(
    job: &Job,
    neighbours: &Neighbours,
    factor: f64,
    accounts: &[Account],
    lists: &mut Lists,
    width: usize,
    round: u64,
) -> Result<()> {
    let k = lists.len();
    let most = (MOVED * k as f64) as usize;
    if most == 0 {
        return Ok(());
    }
    let average = lists.order().len() as f64 / k as f64;
    let weight = |j: usize| f64::from(accounts[j].size) / average;
    let splits = splits(job, factor, accounts, lists, weight, round)?;
    let is_split: Vec<bool> = marks(k, splits.iter().map(|split| split.list));
    let mut cheap: Vec<(f64, usize)> =
        (0..k).filter(|&j| !is_split[j]).map(|j| (2.0 * accounts[j].lead as f64 / factor * weight(j), j)).collect();
    cheap.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let moves: Vec<(&Split, usize)> = splits
        .iter()
        .zip(&cheap)
        .take(most)
        .take_while(|(split, (cost, _))| split.gain > MARGIN * cost)
        .map(|(split, &(_, removed))| (split, removed))
        .collect();

    let is_removed = marks(k, moves.iter().map(|&(_, removed)| removed));
    let keep = |i: u32| !is_removed[i as usize];
    let orphans = job.exec.map(moves.len(), |m| {
        let removed = moves[m].1;
        match lists.of(removed) {
            [] => Ok(Vec::new()),
            rows => neighbours.nearest_kept(job, rows, removed, width, keep),
        }
    });
    let mut labels: Vec<u32> = try_zeroed(lists.order().len(), "labels")?;
    for j in 0..k {
        labels[lists.range(j)].fill(j as u32);
    }
    for ((split, removed), orphans) in moves.iter().zip(orphans) {
        labels[lists.range(*removed)].copy_from_slice(&orphans?);
        for (label, &second) in labels[lists.range(split.list)].iter_mut().zip(&split.second_half) {
            if second {
                *label = *removed as u32;
            }
        }
    }
    lists.regroup(job.watch, k, |p| labels[p])
}

/// Splits of the lists of greatest inertia and size, greatest gain first.
fn splits(
    job: &Job,
    factor: f64,
    accounts: &[Account],
    lists: &Lists,
    weight: impl Fn(usize) -> f64 + Sync,
    round: u64,
) -> Result<Vec<Split>> {
    let k = lists.len();
    let inertia = |j: usize| accounts[j].inertia(factor).max(0.0);
    let mut tried: Vec<(f64, usize)> = (0..k).map(|j| (inertia(j) * f64::from(accounts[j].size), j)).collect();
    tried.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    tried.truncate((TRIED * k as f64).ceil() as usize);
    tried.retain(|&(_, j)| lists.size(j) >= 4);
    let splits = job.exec.map(tried.len(), |i| {
        let list = tried[i].1;
        let rows = lists.of(list);
        let mut rng = Rng::stream(job.seed, (1 + round) << 32 | list as u64);
        let halves = lloyd(job, rows, 2, SPLIT_ITERATIONS, &mut rng)?;
        let norms: i64 = rows.iter().map(|&row| job.rows.norm(row)).sum();
        let best: i64 = halves.answers.iter().map(|best| i64::from(best.score)).sum();
        let after = norms as f64 - 2.0 * best as f64 / halves.factor;
        Ok(Split {
            list,
            gain: (inertia(list) - after) * weight(list),
            second_half: halves.answers.iter().map(|best| best.position == 1).collect(),
        })
    });
    let mut splits: Vec<Split> = splits.into_iter().collect::<Result<_>>()?;
    splits.sort_by(|a, b| b.gain.total_cmp(&a.gain).then(a.list.cmp(&b.list)));
    Ok(splits)
}

/// `k` flags, set for `lists`.
fn marks(k: usize, lists: impl Iterator<Item = usize>) -> Vec<bool> {
    let mut marks = vec![false; k];
    lists.for_each(|j| marks[j] = true);
    marks
}
