//! Codebooks: the codewords of every sub-quantizer, and Lloyd's algorithm that fits them.
//!
//! A plain float32 k-means of its own: with 16 or 256 clusters in few dimensions all distances are cheap (one pass of
//! [`Kernels::nearest`](crate::kernels::Kernels::nearest) over the sample), while the hierarchy, neighbour lists and
//! byte space of [`crate::kmeans`] serve thousands of lists. Starts by k-means++ (Arthur, Vassilvitskii, SODA 2007).
//! Sub-quantizers are the work items, each with a random stream of its own: results do not depend on the threads.

use std::ops::Range;

use crate::buffer::Buffer;
use crate::error::Result;
use crate::exec::Watch;
use crate::kernels::{LANES, best};
use crate::quant::Sample;
use crate::rng::Rng;
use crate::types::Similarity;

/// Rows a codeword, and rows in all, that codewords are fitted to. On `GloVe` residuals (25 of 256 codewords) half of
/// the rows leave an error 1 % greater.
const ROWS: usize = 1024;
const MOST_ROWS: usize = 1 << 16;
/// Rows a codeword that the start is drawn from.
const START_ROWS: usize = 16;
/// Passes at most: 40 would lower the error by 0.5 % more.
const PASSES: usize = 25;
/// A pass that lowers the error by less than this share is the last.
const TOLERANCE: f64 = 3e-4;
/// Multiplications between two looks at the watch: some milliseconds.
const STEP: usize = 1 << 24;
/// Residuals are cut off here, so that squares stay finite.
const FARTHEST: f32 = 1e18;

/// Items of `cost` values each, read one by one, between two looks at the watch.
pub(super) fn look(cost: usize) -> usize {
    (STEP / 8 / cost.max(1)).max(1)
}

/// How `dim` places are cut into `m` parts, the first `dim % m` of them one longer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Split {
    pub dim: usize,
    pub m: usize,
}

impl Split {
    /// The places of part `j`.
    pub(super) fn part(self, j: usize) -> Range<usize> {
        let (short, longer) = (self.dim / self.m, self.dim % self.m);
        let start = j * short + j.min(longer);
        start..start + short + usize::from(j < longer)
    }
}

/// Residuals of evenly spaced rows of a sample, rotated or not, made part by part: whole they may be large.
pub(super) struct Residuals<'a> {
    pub sample: &'a Sample<'a>,
    rotation: Option<&'a [f32]>,
    taken: usize,
}

impl<'a> Residuals<'a> {
    /// As many as `words` codewords are fitted to.
    pub(super) fn new(sample: &'a Sample<'a>, rotation: Option<&'a [f32]>, words: usize) -> Self {
        Self { sample, rotation, taken: Self::taken(sample.lists.len() as u64, words) as usize }
    }

    /// At most `most` of them.
    pub(super) fn at_most(self, most: usize) -> Self {
        Self { taken: self.taken.min(most), ..self }
    }

    pub(super) fn len(&self) -> usize {
        self.taken
    }

    /// How many of `rows` they are.
    pub(super) fn taken(rows: u64, words: usize) -> u64 {
        rows.min((words * ROWS).min(MOST_ROWS) as u64)
    }

    /// The places `part` in flat blocks; places behind the last row are 0.
    pub(super) fn gather(&self, part: Range<usize>) -> Result<Buffer> {
        let (dim, width) = (self.sample.centroids.dim(), part.len());
        let mut out = Buffer::zeroed(self.taken.next_multiple_of(LANES) * width * 4, "residuals")?;
        let mut whole = Buffer::zeroed((dim + width) * 4, "residual")?;
        let (whole, turned) = whole.f32s_mut().split_at_mut(dim);
        let look = look(if self.rotation.is_some() { dim * width / 8 } else { width });
        for i in 0..self.taken {
            if i.is_multiple_of(look) {
                self.sample.watch.check()?;
            }
            let row = i * self.sample.lists.len() / self.taken;
            let centroid = self.sample.centroids.row(self.sample.lists[row] as usize);
            let row = &self.sample.rows[row * dim..][..dim];
            let subtract = |out: &mut [f32], range: Range<usize>| {
                for ((out, x), c) in out.iter_mut().zip(&row[range.clone()]).zip(&centroid[range]) {
                    *out = (x - c).clamp(-FARTHEST, FARTHEST);
                }
            };
            if let Some(rotation) = self.rotation {
                subtract(whole, 0..dim);
                best().rows(Similarity::Dot, whole, &rotation[part.start * dim..part.end * dim], turned);
            } else {
                subtract(turned, part.clone());
            }
            let block = &mut out.f32s_mut()[i / LANES * width * LANES..][..width * LANES];
            for (values, &x) in block.as_chunks_mut::<LANES>().0.iter_mut().zip(turned.iter()) {
                values[i % LANES] = x;
            }
        }
        Ok(out)
    }
}

/// Codewords of all sub-quantizers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Codebooks {
    split: Split,
    words: usize,
    /// Flat blocks of 16 codewords: value `i` of codeword `k` of part `j` at
    /// `part(j).start * words + (k / 16 * len + i) * 16 + k % 16`, `len` the places of the part.
    values: Vec<f32>,
    /// `-|codeword|^2 / 2`, what makes the greatest product the nearest.
    bias: Vec<f32>,
}

impl Codebooks {
    /// Takes codewords, `words` of each part in flat blocks, part by part.
    pub(super) fn new(split: Split, words: usize, values: Vec<f32>) -> Self {
        let mut bias = Vec::with_capacity(split.m * words);
        for j in 0..split.m {
            let part = split.part(j);
            bias.extend(biases(part.len(), &values[part.start * words..part.end * words]));
        }
        Self { split, words, values, bias }
    }

    /// Fits `words` codewords a part.
    pub(super) fn train(split: Split, words: usize, residuals: &Residuals<'_>) -> Result<Self> {
        let Sample { seed, exec, watch, .. } = *residuals.sample;
        let parts = exec.map(split.m, |j| {
            let values = residuals.gather(split.part(j))?;
            let part = Part { values: values.f32s(), rows: residuals.len(), dim: split.part(j).len(), words };
            let mut book = part.start(&mut Rng::stream(seed, j as u64), watch)?;
            part.lloyd(&mut book, PASSES, watch)?;
            Ok(book)
        });
        let mut values = Vec::with_capacity(split.dim * words);
        for part in parts {
            values.extend(part?);
        }
        Ok(Self::new(split, words, values))
    }

    /// Most bytes that [`Self::train`] allocates for `rows` rows on `threads` threads: a part of the residuals, its codes
    /// and the sums of its clusters each, and the codewords twice, by part and in one piece.
    pub(super) fn fit_memory(split: Split, words: usize, rows: u64, threads: u64) -> u64 {
        let (dim, words, width) = (split.dim as u64, words as u64, split.part(0).len() as u64);
        let taken = Residuals::taken(rows, words as usize).next_multiple_of(LANES as u64);
        let part = taken * (width * 4 + 1) + words * (width * 16 + 4 * START_ROWS as u64) + (dim + width) * 4;
        threads.min(split.m as u64) * part + words * dim * 8
    }

    pub(super) fn split(&self) -> Split {
        self.split
    }

    pub(super) fn words(&self) -> usize {
        self.words
    }

    /// All codewords.
    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    /// The codewords of part `j`, flat blocks.
    pub(super) fn of(&self, j: usize) -> &[f32] {
        let part = self.split.part(j);
        &self.values[part.start * self.words..part.end * self.words]
    }

    /// Value `i` of codeword `code` of part `j`.
    #[inline]
    pub(super) fn value(&self, j: usize, code: u8, i: usize) -> f32 {
        let part = self.split.part(j);
        self.values[part.start * self.words + place(part.len(), usize::from(code), i)]
    }

    /// The codewords of part `j` nearest to the vectors of flat blocks.
    pub(super) fn nearest(&self, j: usize, blocks: &[f32], out: &mut [u8]) {
        best().nearest(self.of(j), &self.bias[j * self.words..][..self.words], blocks, out);
    }
}

/// Where value `i` of vector `v` lies in flat blocks of `dim` places.
#[inline]
fn place(dim: usize, v: usize, i: usize) -> usize {
    (v / LANES * dim + i) * LANES + v % LANES
}

/// `-|codeword|^2 / 2` of codewords in flat blocks.
fn biases(dim: usize, book: &[f32]) -> Vec<f32> {
    let square = |k| (0..dim).map(|i| f64::from(book[place(dim, k, i)]).powi(2)).sum::<f64>();
    (0..book.len() / dim).map(|k| (-0.5 * square(k)) as f32).collect()
}

/// One part of the residuals, to which one codebook is fitted.
pub(super) struct Part<'a> {
    /// Flat blocks.
    pub values: &'a [f32],
    pub rows: usize,
    pub dim: usize,
    pub words: usize,
}

impl Part<'_> {
    /// Codewords to begin with: rows, each drawn with the square of its distance to those drawn before as its weight.
    /// Where all distances are 0 (fewer rows than codewords) rows repeat.
    pub(super) fn start(&self, rng: &mut Rng, watch: &Watch) -> Result<Vec<f32>> {
        let dim = self.dim;
        let taken = self.rows.min(self.words * START_ROWS);
        let row = |i: usize, j: usize| self.values[place(dim, i * self.rows / taken, j)];
        let mut book = vec![0f32; self.words * dim];
        let mut distances = vec![f32::MAX; taken];
        let mut chosen = rng.below(taken);
        let look = look(dim);
        for k in 0..self.words {
            (0..dim).for_each(|j| book[place(dim, k, j)] = row(chosen, j));
            let mut total = 0f64;
            for (i, distance) in distances.iter_mut().enumerate() {
                if i.is_multiple_of(look) {
                    watch.check()?;
                }
                let new: f32 = (0..dim).map(|j| (row(i, j) - row(chosen, j)).powi(2)).sum();
                *distance = distance.min(new);
                total += f64::from(*distance);
            }
            let mut left = f64::from(rng.unit_f32()) * total;
            let drawn = distances.iter().position(|&distance| {
                left -= f64::from(distance);
                left < 0.0
            });
            chosen = drawn.unwrap_or_else(|| rng.below(taken));
        }
        Ok(book)
    }

    /// Moves codewords to the means of the rows nearest to them, at most `passes` times. One without rows stays.
    pub(super) fn lloyd(&self, book: &mut [f32], passes: usize, watch: &Watch) -> Result<()> {
        let (dim, words) = (self.dim, self.words);
        let mut codes = vec![0u8; self.rows.next_multiple_of(LANES)];
        let look = look(dim);
        let mut squares = 0f64;
        for values in self.values.chunks(look * dim) {
            watch.check()?;
            values.iter().for_each(|&x| squares += f64::from(x) * f64::from(x));
        }
        let (mut sums, mut counts) = (vec![0f64; words * dim], vec![0u32; words]);
        let mut before = f64::INFINITY;
        for _ in 0..passes {
            self.codes(book, &mut codes, watch)?;
            sums.fill(0.0);
            counts.fill(0);
            for (i, &code) in codes[..self.rows].iter().enumerate() {
                if i.is_multiple_of(look) {
                    watch.check()?;
                }
                counts[usize::from(code)] += 1;
                let sums = &mut sums[usize::from(code) * dim..][..dim];
                let block = &self.values[i / LANES * dim * LANES..][..dim * LANES];
                for (sum, values) in sums.iter_mut().zip(block.as_chunks::<LANES>().0) {
                    *sum += f64::from(values[i % LANES]);
                }
            }
            // The squares of the distances to the means, by what the means leave of the squares of the rows.
            let mut error = squares;
            for (k, (sums, &count)) in sums.chunks_exact(dim).zip(&counts).enumerate().filter(|(_, (_, n))| **n > 0) {
                for (j, sum) in sums.iter().enumerate() {
                    error -= sum * sum / f64::from(count);
                    book[place(dim, k, j)] = (sum / f64::from(count)) as f32;
                }
            }
            if before.is_finite() && before - error <= TOLERANCE * before {
                break;
            }
            before = error;
        }
        Ok(())
    }

    /// The codes of all rows.
    pub(super) fn codes(&self, book: &[f32], codes: &mut [u8], watch: &Watch) -> Result<()> {
        let bias = biases(self.dim, book);
        let step = (STEP / (self.words * self.dim)).next_multiple_of(LANES);
        for (codes, values) in codes.chunks_mut(step).zip(self.values.chunks(step * self.dim)) {
            watch.check()?;
            best().nearest(book, &bias, values, codes);
        }
        Ok(())
    }
}
