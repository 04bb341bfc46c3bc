//! Codes of a vector in and out of its lane of a code block, the layout of which is drawn in [`super`]; the query they meet.
//!
//! A group holds four bytes of a vector, and the parts of a byte are shifted alike, so codes move four at a time.

use super::{GROUP, GROUP_BYTES, LANES, TERM_BYTES};

/// A query that SQ blocks are scored against: a score is `scale * sum u codes + offset`.
#[derive(Clone, Copy)]
pub struct CodeQuery<'a> {
    /// The query in signed bytes, padded with 0 to a multiple of [`group_dims`].
    pub codes: &'a [i8],
    /// What one step of codes and query is worth.
    pub scale: f32,
    /// Added to every score.
    pub offset: f32,
}

/// SQ blocks that follow each other.
#[derive(Clone, Copy)]
pub struct CodeBlocks<'a> {
    /// Code groups, as many as the queries have or more, of which these meet the first; then, if any, terms.
    pub bytes: &'a [u8],
    /// From one block to the next.
    pub stride: usize,
    /// Whether the last 64 bytes of a block are 16 little-endian float32 values, added to the scores of its vectors.
    pub terms: bool,
}

impl<'a> CodeBlocks<'a> {
    /// Those of vectors of `dim` codes of `bits`.
    #[must_use]
    pub fn new(bits: u32, dim: usize, terms: bool, bytes: &'a [u8]) -> Self {
        Self { bytes, stride: code_bytes(dim, bits) + if terms { TERM_BYTES } else { 0 }, terms }
    }

    /// Block `b`, and what follows it inside its stride.
    #[inline(always)]
    pub(super) fn block(&self, b: usize) -> &'a [u8] {
        &self.bytes[b * self.stride..][..self.stride]
    }
}

/// A tile of queries where they share no work: `score(query, its row of out)` for each.
pub(super) fn one_by_one(queries: &[CodeQuery<'_>], out: &mut [f32], score: impl Fn(&CodeQuery<'_>, &mut [f32])) {
    let row = out.len() / queries.len().max(1);
    if row > 0 {
        queries.iter().zip(out.chunks_exact_mut(row)).for_each(|(query, out)| score(query, out));
    }
}

/// Dimensions in a group of a block of codes of `bits`.
#[must_use]
pub const fn group_dims(bits: u32) -> usize {
    32 / bits as usize
}

/// Bytes of a block of `dim` codes of `bits`, without terms.
#[must_use]
pub const fn code_bytes(dim: usize, bits: u32) -> usize {
    dim.div_ceil(group_dims(bits)) * GROUP_BYTES
}

/// Writes `codes`, each less than `2^bits` and padded with 0 to whole groups, into `lane` of `block`. Other lanes keep
/// their bytes.
pub fn put_codes(bits: u32, codes: &[u8], lane: usize, block: &mut [u8]) {
    assert_eq!(codes.len() % group_dims(bits), 0, "codes are not padded to whole groups");
    match bits {
        8 => put::<1>(codes, lane, block),
        4 => put::<2>(codes, lane, block),
        2 => put::<4>(codes, lane, block),
        _ => put::<8>(codes, lane, block),
    }
}

/// [`put_codes`] of a known number of parts in a byte: no inner loop is left.
fn put<const PARTS: usize>(codes: &[u8], lane: usize, block: &mut [u8]) {
    let groups = codes.as_chunks::<GROUP>().0.as_chunks::<PARTS>().0;
    let places = block.as_chunks_mut::<GROUP>().0.as_chunks_mut::<LANES>().0;
    for (group, places) in groups.iter().zip(places) {
        let parts = (0u32..).zip(group);
        let bytes = parts.fold(0, |bytes, (part, &four)| bytes | u32::from_le_bytes(four) << (part * 8 / PARTS as u32));
        places[lane] = bytes.to_le_bytes();
    }
}

/// Reads the first `codes.len()` codes in `lane` of `block`: the inverse of [`put_codes`].
pub fn get_codes(bits: u32, block: &[u8], lane: usize, codes: &mut [u8]) {
    let parts = 8 / bits as usize;
    for (i, four) in codes.chunks_mut(GROUP).enumerate() {
        let bytes = &block[i / parts * GROUP_BYTES + lane * GROUP..][..GROUP];
        for (code, byte) in four.iter_mut().zip(bytes) {
            *code = byte >> ((i % parts) as u32 * bits) & (u8::MAX >> (8 - bits));
        }
    }
}
