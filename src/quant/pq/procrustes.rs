//! The orthogonal matrix nearest to a square one: the orthogonal factor of its polar decomposition, which solves the
//! orthogonal Procrustes problem (Schönemann, Psychometrika 1966).
//!
//! Newton's iteration with scaling (Higham, SIAM J. Sci. Stat. Comput. 1986): `X <- (g X + X^-T / g) / 2` in float64,
//! about 8 inversions whatever the matrix; each corrects the rounding of those before.

use crate::error::{Result, try_zeroed};
use crate::exec::{Exec, Watch};

/// Steps at most; 10 do for a condition of 10^16.
const STEPS: usize = 30;
/// Elements that one thread works through in a step of an inversion: less is not worth waking another.
const PIECE: usize = 1 << 15;

/// Replaces `a` (`n x n`, row by row) by the orthogonal matrix nearest to it. `false`, and `a` is left arbitrary, when
/// it is singular or not finite.
pub(super) fn nearest_orthogonal(a: &mut [f64], n: usize, exec: &Exec, watch: &Watch) -> Result<bool> {
    let mut inverse: Vec<f64> = try_zeroed(a.len(), "rotation")?;
    for _ in 0..STEPS {
        inverse.copy_from_slice(a);
        if !invert(&mut inverse, n, exec, watch)? {
            return Ok(false);
        }
        let norm = |a: &[f64]| a.iter().map(|x| x * x).sum::<f64>().sqrt();
        // Brings the singular values together about 1; near the end it would only disturb.
        let scale = (norm(&inverse) / norm(a)).sqrt();
        let scale = if (scale - 1.0).abs() < 1e-2 { 1.0 } else { scale };
        let mut moved = 0f64;
        for i in 0..n {
            for j in 0..n {
                let new = 0.5 * (scale * a[i * n + j] + inverse[j * n + i] / scale);
                moved += (new - a[i * n + j]).powi(2);
                a[i * n + j] = new;
            }
        }
        if !moved.is_finite() {
            return Ok(false);
        }
        if moved <= 1e-20 * n as f64 {
            break;
        }
    }
    Ok(true)
}

/// Replaces `a` by its inverse, by Gauss-Jordan elimination with partial pivoting; `false` when a pivot is 0.
fn invert(a: &mut [f64], n: usize, exec: &Exec, watch: &Watch) -> Result<bool> {
    let rows = (PIECE / n).max(1);
    let mut pivot: Vec<f64> = try_zeroed(n, "rotation")?;
    let mut swaps = Vec::with_capacity(n);
    for p in 0..n {
        watch.check()?;
        let size = |i: &usize| a[i * n + p].abs();
        let Some(top) = (p..n).max_by(|i, j| size(i).total_cmp(&size(j))) else { return Ok(false) };
        let value = a[top * n + p];
        if value == 0.0 || !value.is_finite() {
            return Ok(false);
        }
        swaps.push(top);
        if top != p {
            let (before, after) = a.split_at_mut(top * n);
            before[p * n..][..n].swap_with_slice(&mut after[..n]);
        }
        let row = &mut a[p * n..][..n];
        row[p] = 1.0;
        row.iter_mut().for_each(|x| *x /= value);
        pivot.copy_from_slice(row);
        exec.for_each_chunk(a, rows * n, |piece, chunk| {
            let others = chunk.chunks_exact_mut(n).zip(piece * rows..).filter(|(_, i)| *i != p);
            for (row, _) in others {
                let factor = std::mem::take(&mut row[p]);
                row.iter_mut().zip(&pivot).for_each(|(x, &y)| *x -= factor * y);
            }
        });
    }
    for (p, &top) in swaps.iter().enumerate().rev().filter(|(p, top)| p != *top) {
        a.chunks_exact_mut(n).for_each(|row| row.swap(p, top));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn random(n: usize, rng: &mut Rng) -> Vec<f64> {
        (0..n * n).map(|_| f64::from(rng.unit_f32()) - 0.5).collect()
    }

    /// `a b^T`.
    fn times_transposed(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
        let product = |i: usize, j: usize| (0..n).map(|k| a[i * n + k] * b[j * n + k]).sum();
        (0..n * n).map(|at| product(at / n, at % n)).collect()
    }

    fn orthogonal(n: usize, rng: &mut Rng) -> Vec<f64> {
        let mut a = random(n, rng);
        assert!(nearest_orthogonal(&mut a, n, &Exec::new(1), &Watch::NONE).unwrap());
        a
    }

    #[test]
    fn what_was_stretched_is_found_again() {
        let mut rng = Rng::new(5);
        for n in [1, 2, 3, 17, 60] {
            for condition in [1.0f64, 1e3, 1e9] {
                // U P with P = V S V^T: the nearest orthogonal matrix is U.
                let (u, v) = (orthogonal(n, &mut rng), orthogonal(n, &mut rng));
                let stretched: Vec<f64> =
                    (0..n * n).map(|at| v[at] * condition.powf(-((at % n) as f64) / n as f64)).collect();
                let p = times_transposed(&stretched, &v, n);
                let mut a = times_transposed(&u, &p, n);
                assert!(nearest_orthogonal(&mut a, n, &Exec::new(1), &Watch::NONE).unwrap());
                let unit = times_transposed(&a, &a, n);
                for at in 0..n * n {
                    let want = if at / n == at % n { 1.0 } else { 0.0 };
                    assert!((unit[at] - want).abs() < 1e-12, "n {n}, condition {condition}: not orthogonal");
                    let off = (a[at] - u[at]).abs();
                    assert!(off < 1e-14 * condition * n as f64 + 1e-12, "n {n}, condition {condition}: off by {off}");
                }
            }
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let a = random(300, &mut Rng::new(6));
        let solve = |threads| {
            let mut a = a.clone();
            assert!(nearest_orthogonal(&mut a, 300, &Exec::new(threads), &Watch::NONE).unwrap());
            a
        };
        assert_eq!(solve(1), solve(3));
    }

    #[test]
    fn singular_matrices_are_said_to_be() {
        for a in [vec![0.0; 9], vec![1.0; 9], vec![f64::NAN; 9]] {
            assert!(!nearest_orthogonal(&mut a.clone(), 3, &Exec::new(1), &Watch::NONE).unwrap(), "{a:?}");
        }
    }
}
