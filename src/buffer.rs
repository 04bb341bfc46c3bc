//! Memory for codes, vectors and other plaintext: aligned to cache lines, zeroized when dropped.

use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, Zeroable};
use zeroize::optimization_barrier;

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
        wipe(bytemuck::cast_slice_mut(&mut self.lines));
    }
}

/// A growing byte string that is wiped when it goes, with the room it did not use. What it leaves behind when it grows is
/// not: reserve first.
#[derive(Default)]
pub struct Wiped(Vec<u8>);

impl Wiped {
    /// Takes `bytes` over.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Empties it; the room stays.
    pub fn wipe(&mut self) {
        let room = self.0.capacity();
        self.0.clear();
        self.0.resize(room, 0);
        optimization_barrier(&self.0[..]);
        self.0.clear();
    }
}

impl Deref for Wiped {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Wiped {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// Overwrites `bytes` with zeroes that the compiler must not leave out. As fast as memory: what `zeroize` does instead is
/// one volatile store an element, so a byte at a time.
pub fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    optimization_barrier(bytes);
}

/// Empties `values` after overwriting all of their room as [`wipe`] does, also where longer ones stood before; the room
/// stays.
pub fn wipe_values<T: Pod>(values: &mut Vec<T>) {
    values.resize(values.capacity(), T::zeroed());
    wipe(bytemuck::cast_slice_mut(values));
    values.clear();
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

    #[test]
    fn wiping_leaves_zeroes_and_the_room() {
        let mut bytes = [7; 130];
        wipe(&mut bytes[1..129]);
        assert!(bytes[1..129].iter().all(|&b| b == 0) && bytes[0] == 7 && bytes[129] == 7);
        let mut w = Wiped::new(Vec::with_capacity(100));
        w.extend_from_slice(&[7; 90]);
        let room = (w.capacity(), w.as_ptr());
        w.wipe();
        assert!(w.is_empty() && (w.capacity(), w.as_ptr()) == room);
        let full = w.capacity();
        w.resize(full, 1);
        assert!(w.iter().all(|&b| b == 1));
    }
}
