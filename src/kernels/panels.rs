//! Centroids packed for assignment, and the rows assigned to them.
//!
//! A panel holds 32 centroids: for each group of 4 dimensions 128 bytes, byte `c * 4 + k` is dimension `g * 4 + k`
//! of centroid `c` (two 64-byte registers). Invariants: the packed bytes are always whole panels, places behind the
//! last centroid hold zeros and a bias of `i32::MIN`; as ties go to the lower position they never win. A [`Rows`]
//! only exists when every row it names lies inside its bytes.

use crate::buffer::Buffer;
use crate::error::{Error, Result, try_zeroed};
use crate::types::MAX_DIMENSION;

use super::GROUP;

/// Centroids in a panel.
pub(super) const WIDTH: usize = 32;
/// Bytes of one group of 4 dimensions of a panel.
pub(super) const PANEL_GROUP: usize = WIDTH * GROUP;
/// Bytes of panels that every level works through with all rows before it takes the next: they stay in an L2 of
/// 512 KiB beside the rows.
const CACHED: usize = 400 << 10;

/// A centroid and how near it is: greater = nearer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Best {
    /// `bias + sum u q`.
    pub score: i32,
    /// Position in the panels.
    pub position: u32,
}

impl Best {
    /// What any centroid of lower position than all others beats: the start of a search.
    pub(super) const NONE: Self = Self { score: i32::MIN, position: u32::MAX };

    /// Whether it comes before `other`: greater score, then lower position.
    pub(super) fn before(self, other: Self) -> bool {
        (self.score, std::cmp::Reverse(self.position)) > (other.score, std::cmp::Reverse(other.position))
    }

    /// Takes `found` when it comes before.
    #[inline]
    pub(super) fn offer(&mut self, found: Self) {
        if found.before(*self) {
            *self = found;
        }
    }
}

/// Takes `found` into the best two.
#[inline]
pub(super) fn offer2(two: &mut [Best; 2], found: Best) {
    if found.before(two[0]) {
        *two = [found, two[0]];
    } else {
        two[1].offer(found);
    }
}

/// Centroids of one signed byte a dimension with a 32-bit bias each, packed for [`super::Kernels::assign`].
#[derive(Clone, Debug)]
pub struct Panels {
    codes: Buffer,
    bias: Vec<i32>,
    len: usize,
    dim: usize,
}

impl Panels {
    /// Room for `n` centroids (at least 1) of `dim` dimensions (1 to 65536), all zero with the least bias.
    pub fn new(n: usize, dim: usize) -> Result<Self> {
        if n == 0 || n > u32::MAX as usize / 2 {
            return Err(Error::invalid("centroids", n, "1 to 2^31 - 1"));
        }
        if dim == 0 || dim > MAX_DIMENSION as usize {
            return Err(Error::invalid("dimension", dim, "1 to 65536"));
        }
        let panels = n.div_ceil(WIDTH);
        let bytes = panels.saturating_mul(dim.div_ceil(GROUP)).saturating_mul(PANEL_GROUP);
        let codes = Buffer::zeroed(bytes, "centroid panels")?;
        let mut bias: Vec<i32> = try_zeroed(panels * WIDTH, "centroid biases")?;
        bias.fill(i32::MIN);
        Ok(Self { codes, bias, len: n, dim })
    }

    /// Puts a centroid of `dim` values at `position`, replacing what was there. `bias` leaves every score above
    /// `i32::MIN`, which stands for no centroid.
    pub fn set(&mut self, position: usize, centroid: &[i8], bias: i32) {
        assert!(position < self.len, "position {position} of {} centroids", self.len);
        assert_eq!(centroid.len(), self.dim, "centroid of another dimension");
        let start = position / WIDTH * self.panel_bytes() + position % WIDTH * GROUP;
        let places = self.codes.bytes_mut()[start..].chunks_mut(PANEL_GROUP);
        for (place, values) in places.zip(centroid.chunks(GROUP)) {
            place[..values.len()].copy_from_slice(bytemuck::cast_slice(values));
        }
        self.bias[position] = bias;
    }

    /// Puts a centroid at every position: `ids[p]` at `p`, its codes at `ids[p] * stride` of `codes`, padded with 0 to
    /// whole groups. As [`Panels::set`] of each, but four centroids at a time, so that whole registers move.
    pub fn fill(&mut self, ids: &[u32], codes: &[i8], stride: usize, bias: impl Fn(u32) -> i32) {
        assert_eq!(ids.len(), self.len, "one centroid a position");
        let (groups, bytes) = (self.groups(), self.panel_bytes());
        assert!(
            stride.is_multiple_of(GROUP) && stride >= groups * GROUP,
            "stride {stride} for {} dimensions",
            self.dim
        );
        let centroid = |id: u32| &codes[id as usize * stride..][..groups * GROUP];
        for (panel, ids) in self.codes.bytes_mut().chunks_exact_mut(bytes).zip(ids.chunks(WIDTH)) {
            let places: &mut [[Quad; WIDTH / 4]] = bytemuck::cast_slice_mut(panel);
            let (fours, rest) = ids.as_chunks::<4>();
            for (c, &four) in fours.iter().enumerate() {
                interleave(four.map(centroid), places, c);
            }
            for (lane, &id) in rest.iter().enumerate() {
                for (place, group) in places.iter_mut().zip(centroid(id).as_chunks::<GROUP>().0) {
                    place[fours.len()][lane] = bytemuck::cast(*group);
                }
            }
        }
        self.bias.iter_mut().zip(ids).for_each(|(place, &id)| *place = bias(id));
    }

    /// Number of centroids.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "there is at least one")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Dimensions of a centroid.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Groups of 4 dimensions of a panel.
    pub(super) fn groups(&self) -> usize {
        self.dim.div_ceil(GROUP)
    }

    /// Number of panels.
    pub(super) fn count(&self) -> usize {
        self.bias.len() / WIDTH
    }

    /// Runs of panels, each small enough to stay in the L2 cache while all rows pass.
    pub(super) fn runs(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        let step = (CACHED / self.panel_bytes()).max(1);
        (0..self.count()).step_by(step).map(move |start| start..(start + step).min(self.count()))
    }

    /// The codes of panel `p`: `groups() * 128` bytes on a 64-byte border.
    pub(super) fn codes(&self, p: usize) -> &[i8] {
        let bytes = self.panel_bytes();
        bytemuck::cast_slice(&self.codes.bytes()[p * bytes..][..bytes])
    }

    /// The biases of panel `p`.
    pub(super) fn bias(&self, p: usize) -> &[i32; WIDTH] {
        &self.bias.as_chunks().0[p]
    }

    fn panel_bytes(&self) -> usize {
        self.groups() * PANEL_GROUP
    }
}

/// One group of four centroids that follow each other.
type Quad = [u32; 4];

/// Writes four centroids as quad `at` of every group: a transposition of 4 x 4 words at a time.
#[inline]
fn interleave(four: [&[i8]; 4], places: &mut [[Quad; WIDTH / 4]], at: usize) {
    let four = four.map(|codes| codes.as_chunks::<GROUP>().0.as_chunks::<4>());
    let (steps, rest) = places.as_chunks_mut::<4>();
    for (s, places) in steps.iter_mut().enumerate() {
        let groups = transposed(four.map(|(steps, _)| bytemuck::cast(steps[s])));
        places.iter_mut().zip(groups).for_each(|(place, group)| place[at] = group);
    }
    for (g, place) in rest.iter_mut().enumerate() {
        place[at] = four.map(|(_, rest)| bytemuck::cast(rest[g]));
    }
}

/// The four words at each place of four quads. By name: left to itself the compiler moves word by word.
#[cfg(target_arch = "x86_64")]
#[inline]
fn transposed(quads: [Quad; 4]) -> [Quad; 4] {
    use std::arch::x86_64::{_mm_unpackhi_epi32, _mm_unpackhi_epi64, _mm_unpacklo_epi32, _mm_unpacklo_epi64};
    let [a, b, c, d] = quads.map(bytemuck::cast);
    // SAFETY: these are of SSE2, which every x86-64 CPU has.
    let words = unsafe {
        let (low, high) = (_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b));
        let (low_cd, high_cd) = (_mm_unpacklo_epi32(c, d), _mm_unpackhi_epi32(c, d));
        let [first, second] = [_mm_unpacklo_epi64(low, low_cd), _mm_unpackhi_epi64(low, low_cd)];
        [first, second, _mm_unpacklo_epi64(high, high_cd), _mm_unpackhi_epi64(high, high_cd)]
    };
    words.map(bytemuck::cast)
}

/// The four words at each place of four quads.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn transposed([a, b, c, d]: [Quad; 4]) -> [Quad; 4] {
    [0, 1, 2, 3].map(|g| [a[g], b[g], c[g], d[g]])
}

/// Rows of bytes named by an index, each known to hold the bytes of a panel's groups.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    bytes: &'a [u8],
    stride: usize,
    index: &'a [u32],
    width: usize,
}

impl<'a> Rows<'a> {
    /// Panics unless every row of `index` has the bytes that `panels` needs inside `bytes`.
    pub(super) fn new(bytes: &'a [u8], stride: usize, index: &'a [u32], panels: &Panels) -> Self {
        let width = panels.groups() * GROUP;
        assert!(stride.is_multiple_of(GROUP) && stride >= width, "stride {stride} for {} dimensions", panels.dim);
        if let Some(&last) = index.iter().max() {
            let end = (last as usize).checked_mul(stride).and_then(|start| start.checked_add(width));
            assert!(end.is_some_and(|end| end <= bytes.len()), "row {last} is not inside the rows");
        }
        Self { bytes, stride, index, width }
    }

    /// Number of rows named.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// The bytes of row `index[i]`, as many as the groups of a panel need.
    #[inline]
    pub(super) fn row(&self, i: usize) -> &'a [u8] {
        &self.bytes[self.index[i] as usize * self.stride..][..self.width]
    }
}
