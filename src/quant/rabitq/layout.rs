//! Codes of any number of bits as planes that the kernels know.
//!
//! A code of B bits is cut into planes of 8, 4, 2 or 1 bits, the highest first: the ones in B written as a binary
//! number. Each plane is a code block of [`crate::kernels`], one behind the other.

use std::ops::Range;

use crate::kernels::{LANES, code_bytes, get_codes, group_dims, put_codes};

/// One plane of the codes of a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plane {
    /// 8, 4, 2 or 1.
    pub bits: u32,
    /// Bits of the code below it.
    pub shift: u32,
    /// Its bytes in the block.
    pub start: usize,
    pub end: usize,
}

impl Plane {
    /// Dimensions with those that fill up the last group.
    pub(super) fn padded(self) -> usize {
        (self.end - self.start) / code_bytes(1, self.bits) * group_dims(self.bits)
    }
}

/// Rotated dimensions of vectors of `dim` values: they fill the groups of the widest plane.
pub(super) fn rotated(dim: usize, bits: u8) -> usize {
    dim.next_multiple_of(group_dims(1 << bits.ilog2()))
}

/// The planes of codes of `bits` bits in `len` dimensions, the highest first.
pub(super) fn planes(len: usize, bits: u8) -> impl Iterator<Item = Plane> {
    let all = u32::from(bits);
    let mut end = 0;
    [8, 4, 2, 1].into_iter().filter(move |bits| all & bits != 0).map(move |bits| {
        let start = end;
        end += code_bytes(len, bits);
        Plane { bits, shift: all & (bits - 1), start, end }
    })
}

/// Bytes of all planes of a block.
pub(super) fn plane_bytes(len: usize, bits: u8) -> usize {
    planes(len, bits).map(|plane| plane.end - plane.start).sum()
}

/// Writes the codes `u[j][v]` of the lanes `lanes` into `block`; other lanes keep their bytes. `part` is scratch.
pub(super) fn put(u: &[[u8; LANES]], bits: u8, lanes: Range<usize>, part: &mut Vec<u8>, block: &mut [u8]) {
    for plane in planes(u.len(), bits) {
        let mask = u8::MAX >> (8 - plane.bits);
        for lane in lanes.clone() {
            part.clear();
            part.extend(u.iter().map(|u| (u[lane] >> plane.shift) & mask));
            part.resize(plane.padded(), 0);
            put_codes(plane.bits, part, lane, &mut block[plane.start..plane.end]);
        }
    }
}

/// Reads the codes in `lane` into `u`.
pub(super) fn get(block: &[u8], bits: u8, lane: usize, u: &mut [u8]) {
    let mut part = vec![0; u.len()];
    u.fill(0);
    for plane in planes(u.len(), bits) {
        get_codes(plane.bits, &block[plane.start..plane.end], lane, &mut part);
        u.iter_mut().zip(&part).for_each(|(u, part)| *u |= part << plane.shift);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_are_the_ones_of_the_bits() {
        let of = |bits| planes(100, bits).map(|p| (p.bits, p.shift, p.start / 64, p.end / 64)).collect::<Vec<_>>();
        assert_eq!(of(7), [(4, 3, 0, 13), (2, 1, 13, 20), (1, 0, 20, 24)]);
        assert_eq!(of(8), [(8, 0, 0, 25)]);
        assert_eq!(of(3), [(2, 1, 0, 7), (1, 0, 7, 11)]);
        assert_eq!([1, 2, 3, 4, 5, 6, 7, 8].map(|bits| rotated(100, bits)), [128, 112, 112, 104, 104, 104, 104, 100]);
    }

    #[test]
    fn codes_come_back_and_other_lanes_stay() {
        for bits in 1..=8u8 {
            let len = rotated(37, bits);
            let code = |j: usize, v: usize| ((j * 37 + v * 101 + j * v) % (1 << bits)) as u8;
            let u: Vec<[u8; LANES]> = (0..len).map(|j| std::array::from_fn(|v| code(j, v))).collect();
            let mut block = vec![0xa5; plane_bytes(len, bits)];
            let mut part = Vec::new();
            put(&u, bits, 3..9, &mut part, &mut block);
            assert!(block.iter().filter(|&&b| b == 0xa5).count() >= block.len() * 10 / 16);
            put(&u, bits, 0..16, &mut part, &mut block);
            let mut back = vec![0; len];
            for v in 0..LANES {
                get(&block, bits, v, &mut back);
                assert!(back.iter().zip(&u).all(|(back, u)| *back == u[v]), "{bits} bits");
            }
        }
    }
}
