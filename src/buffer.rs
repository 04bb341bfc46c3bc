//! Memory for codes, vectors and other plaintext: aligned to cache lines, zeroized when dropped.

use bytemuck::{Pod, Zeroable};
use zeroize::Zeroize;

use crate::error::{Result, try_zeroed};

/// Alignment of every buffer, and the unit of its length.
pub const LINE: usize = 64;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

impl Default for Line {
    fn default() -> Self {
        Self([0; LINE])
    }
}

/// Zeroed bytes on a 64-byte border. Contents are wiped on drop and never printed.
#[derive(Clone, Default)]
pub struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// `len` zero bytes. `what` names them in the error when the system refuses.
    pub fn zeroed(len: usize, what: &'static str) -> Result<Self> {
        Ok(Self { lines: try_zeroed(len.div_ceil(LINE), what)?, len })
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }

    /// The bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }

    /// The bytes as float32 values; a tail shorter than a value is left out.
    #[must_use]
    pub fn f32s(&self) -> &[f32] {
        &bytemuck::cast_slice(&self.lines)[..self.len / 4]
    }

    /// The bytes as float32 values, to be written; a tail shorter than a value is left out.
    pub fn f32s_mut(&mut self) -> &mut [f32] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len / 4]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // By words: wiping is volatile, one store an element, and bytes would take eight times as long.
        let words: &mut [u64] = bytemuck::cast_slice_mut(&mut self.lines);
        words.zeroize();
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_aligned_zeroed_and_says_nothing_of_its_contents() {
        for len in [0usize, 1, 63, 64, 65, 1000] {
            let mut b = Buffer::zeroed(len, "test").unwrap();
            assert_eq!(b.bytes().as_ptr().addr() % LINE, 0);
            assert_eq!((b.len(), b.bytes().len(), b.f32s().len()), (len, len, len / 4));
            b.bytes_mut().fill(7);
            assert_eq!(format!("{b:?}"), format!("Buffer({len} bytes)"));
        }
    }
}
