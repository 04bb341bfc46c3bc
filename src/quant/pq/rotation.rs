//! The learned rotation (OPQ; Ge, He, Ke, Sun, CVPR 2013): alternately codebooks for the rotated residuals, and the
//! rotation that brings the residuals nearest to their codewords.
//!
//! Both steps lower the same error. The second is an orthogonal Procrustes problem; a small multiple of the present
//! rotation is added to its matrix, which keeps it regular where residuals or codewords do not span all dimensions and
//! only ever holds the solution back.

use super::codebooks::{Codebooks, Part, Residuals, Split, look};
use super::procrustes::nearest_orthogonal;
use crate::buffer::Buffer;
use crate::error::{Error, Result, try_zeroed};
use crate::kernels::{LANES, best};
use crate::quant::Sample;
use crate::rng::Rng;
use crate::types::{MAX_ROTATED_DIMENSION, Similarity};

/// Turns of the alternation.
const TURNS: usize = 16;
/// Passes of Lloyd's algorithm a turn, from the codewords of the turn before.
const PASSES: usize = 3;
/// Rows a codeword, and values in all, that the rotation is learned from.
const ROWS: usize = 64;
const VALUES: usize = 1 << 24;
/// Share of the present rotation in the next problem.
const HOLD: f64 = 1e-6;

/// A rotation of the residuals of `sample` for codebooks of `words` codewords: `dim x dim`, row by row.
pub(super) fn learn(split: Split, words: usize, sample: &Sample<'_>) -> Result<Vec<f32>> {
    let Split { dim, m } = split;
    if dim > MAX_ROTATED_DIMENSION as usize {
        return Err(Error::invalid("pq_rotation", "true", "false, or at most 2048 dimensions"));
    }
    let mut rotation: Vec<f64> = try_zeroed(dim * dim, "rotation")?;
    (0..dim).for_each(|i| rotation[i * dim + i] = 1.0);
    let residuals = Residuals::new(sample, None, words).at_most(most_rows(dim, words));
    let rows = residuals.len();
    let mut plain = Buffer::zeroed(rows * dim * 4, "residuals")?;
    to_rows(residuals.gather(0..dim)?.f32s(), plain.f32s_mut(), dim);
    let plain = plain.f32s();
    let mut books: Vec<Vec<f32>> = Vec::new();
    for _ in 0..TURNS {
        let turned = Turned::new(plain, dim, &rotation, sample)?;
        let fitted = sample.exec.map(m, |j| {
            let values = turned.part(split, j)?;
            let part = Part { values: values.f32s(), rows, dim: split.part(j).len(), words };
            let mut book = match books.get(j) {
                Some(book) => book.clone(),
                None => part.start(&mut Rng::stream(sample.seed, j as u64), sample.watch)?,
            };
            part.lloyd(&mut book, PASSES, sample.watch)?;
            let mut codes = vec![0; rows.next_multiple_of(LANES)];
            part.codes(&book, &mut codes, sample.watch)?;
            codes.truncate(rows);
            Ok((book, codes))
        });
        let (fitted, codes): (Vec<_>, Vec<_>) = fitted.into_iter().collect::<Result<Vec<_>>>()?.into_iter().unzip();
        let whole = Codebooks::new(split, words, fitted.concat());
        books = fitted;
        let mut next = correlation(&whole, &codes, plain, sample)?;
        let size = next.iter().map(|x| x * x).sum::<f64>().sqrt() / (dim as f64).sqrt();
        next.iter_mut().zip(&rotation).for_each(|(x, r)| *x += HOLD * size * r);
        if !nearest_orthogonal(&mut next, dim, sample.exec, sample.watch)? {
            break;
        }
        rotation = next;
    }
    Ok(rotation.into_iter().map(|x| x as f32).collect())
}

/// Most bytes that [`learn`] allocates for a sample of `rows` rows on `threads` threads.
pub(super) fn fit_memory(split: Split, words: usize, rows: u64, threads: u64) -> u64 {
    let (dim, m, width) = (split.dim as u64, split.m as u64, split.part(0).len() as u64);
    let taken = rows.min(most_rows(split.dim, words) as u64).next_multiple_of(LANES as u64);
    let (words, threads) = (words as u64, threads.min(m));
    // Residuals, rotated ones, parts of those, and codes; codewords of this turn, of the last one and in one piece; the
    // sums of the rows of codewords; matrices in float64: the rotation, the next one in parts and whole, its inverse.
    let residuals = taken * (2 * dim * 4 + threads * (width * 4 + 1) + m);
    residuals + words * dim * 12 + threads * words * (dim * 8 + width * 8) + dim * dim * 36
}

/// Rows that a rotation is learned from.
fn most_rows(dim: usize, words: usize) -> usize {
    (words * ROWS).min((VALUES / dim).max(words))
}

/// Flat blocks as rows.
fn to_rows(blocks: &[f32], rows: &mut [f32], dim: usize) {
    for (i, row) in rows.chunks_exact_mut(dim).enumerate() {
        let block = &blocks[i / LANES * dim * LANES..][..dim * LANES];
        row.iter_mut().zip(block.as_chunks::<LANES>().0).for_each(|(x, values)| *x = values[i % LANES]);
    }
}

/// Residuals after a rotation, row by row.
struct Turned {
    values: Buffer,
    dim: usize,
}

impl Turned {
    fn new(plain: &[f32], dim: usize, rotation: &[f64], sample: &Sample<'_>) -> Result<Self> {
        let rotation: Vec<f32> = rotation.iter().map(|&x| x as f32).collect();
        let mut values = Buffer::zeroed(plain.len() * 4, "residuals")?;
        sample.exec.for_each_chunk(values.f32s_mut(), 64 * dim, |piece, out| {
            if sample.watch.check().is_err() {
                return;
            }
            for (row, out) in plain[piece * 64 * dim..].chunks_exact(dim).zip(out.chunks_exact_mut(dim)) {
                best().rows(Similarity::Dot, row, &rotation, out);
            }
        });
        sample.watch.check()?;
        Ok(Self { values, dim })
    }

    /// Part `j` in flat blocks.
    fn part(&self, split: Split, j: usize) -> Result<Buffer> {
        let part = split.part(j);
        let rows = self.values.f32s().chunks_exact(self.dim);
        let mut out = Buffer::zeroed(rows.len().next_multiple_of(LANES) * part.len() * 4, "residuals")?;
        for (i, row) in rows.enumerate() {
            let block = &mut out.f32s_mut()[i / LANES * part.len() * LANES..][..part.len() * LANES];
            let places = block.as_chunks_mut::<LANES>().0.iter_mut();
            places.zip(&row[part.clone()]).for_each(|(values, &x)| values[i % LANES] = x);
        }
        Ok(out)
    }
}

/// `sum y x^T` over all rows `x` with their codewords `y`: the sum of the rows of each codeword first.
fn correlation(books: &Codebooks, codes: &[Vec<u8>], plain: &[f32], sample: &Sample<'_>) -> Result<Vec<f64>> {
    let (split, words) = (books.split(), books.words());
    let dim = split.dim;
    let parts = sample.exec.map(split.m, |j| {
        let mut sums: Vec<f64> = try_zeroed(words * dim, "rotation")?;
        let look = look(dim);
        for (i, (row, &code)) in plain.chunks_exact(dim).zip(&codes[j]).enumerate() {
            if i.is_multiple_of(look) {
                sample.watch.check()?;
            }
            let sums = &mut sums[usize::from(code) * dim..][..dim];
            sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        let mut out: Vec<f64> = try_zeroed(split.part(j).len() * dim, "rotation")?;
        for (i, out) in out.chunks_exact_mut(dim).enumerate() {
            sample.watch.check()?;
            for (code, sums) in sums.chunks_exact(dim).enumerate() {
                let y = f64::from(books.value(j, code as u8, i));
                out.iter_mut().zip(sums).for_each(|(out, sum)| *out += y * sum);
            }
        }
        Ok(out)
    });
    let mut out = Vec::with_capacity(dim * dim);
    for part in parts {
        out.extend(part?);
    }
    Ok(out)
}
