//! Reading and writing the plaintext of sealed objects: little-endian, every length checked before it is used.
//!
//! The bytes were authenticated before they come here, so a failure means a defect or a newer writer; it is still
//! `Corrupt` and never a panic.

use crate::error::{Error, Result, try_with_capacity};
use crate::types::QuantizerSpec;

/// Takes values off the front of a byte string.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`; `what` names the object in errors.
    pub(super) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, what }
    }

    /// The next `n` bytes.
    pub(super) fn bytes(&mut self, n: usize) -> Result<&'a [u8]> {
        let (head, tail) = self.bytes.split_at_checked(n).ok_or(Error::Corrupt { what: self.what })?;
        self.bytes = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let what = self.what;
        self.bytes(N)?.try_into().map_err(|_| Error::Corrupt { what })
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn f32(&mut self) -> Result<f32> {
        Ok(f32::from_le_bytes(self.array()?))
    }

    /// A u32 count of things of which each takes at least `size` bytes of what is left: bounds allocations.
    pub(super) fn count(&mut self, size: usize) -> Result<usize> {
        let n = self.u32()? as usize;
        if n.checked_mul(size).is_none_or(|b| b > self.bytes.len()) {
            return Err(Error::Corrupt { what: self.what });
        }
        Ok(n)
    }

    /// `n` u32 values.
    pub(super) fn u32s(&mut self, n: usize) -> Result<Vec<u32>> {
        let bytes = self.bytes(n.checked_mul(4).ok_or(Error::Corrupt { what: self.what })?)?;
        let mut v = try_with_capacity(n, self.what)?;
        v.extend(bytes.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])));
        Ok(v)
    }

    /// `n` f32 values.
    pub(super) fn f32s(&mut self, n: usize) -> Result<Vec<f32>> {
        let bytes = self.bytes(n.checked_mul(4).ok_or(Error::Corrupt { what: self.what })?)?;
        let mut v = try_with_capacity(n, self.what)?;
        v.extend(bytes.chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])));
        Ok(v)
    }

    /// A quantizer as [`Put::put_quantizer`] wrote it; whether its parameters go together is for the caller to check.
    pub(super) fn quantizer(&mut self) -> Result<Option<QuantizerSpec>> {
        Ok(match (self.u8()?, self.u8()?, self.u32()?, self.u8()?) {
            (0, 0, 0, 0) => None,
            (1, 0, 0, 0) => Some(QuantizerSpec::Flat),
            (2, bits, 0, 0) => Some(QuantizerSpec::Sq { bits }),
            (3, bits, m, rotation @ 0..=1) => Some(QuantizerSpec::Pq { m, bits, rotation: rotation == 1 }),
            (4, bits, 0, 0) => Some(QuantizerSpec::RaBitQ { bits }),
            _ => return Err(Error::Corrupt { what: self.what }),
        })
    }

    /// What has not been read.
    pub(super) fn rest(&mut self) -> &mut &'a [u8] {
        &mut self.bytes
    }

    /// That nothing is left over.
    pub(super) fn end(self) -> Result<()> {
        if self.bytes.is_empty() { Ok(()) } else { Err(Error::Corrupt { what: self.what }) }
    }
}

/// Appends values to a byte string.
pub(super) trait Put {
    fn put_u8(&mut self, v: u8);
    fn put_u32(&mut self, v: u32);
    fn put_u64(&mut self, v: u64);
    fn put_f32(&mut self, v: f32);
    fn put_f32s(&mut self, v: &[f32]);
    /// u8 kind (0 = none chosen), u8 bits, u32 sub-vectors, u8 1 = rotation.
    fn put_quantizer(&mut self, v: Option<QuantizerSpec>);
}

impl Put for Vec<u8> {
    fn put_u8(&mut self, v: u8) {
        self.push(v);
    }

    fn put_u32(&mut self, v: u32) {
        self.extend_from_slice(&v.to_le_bytes());
    }

    fn put_u64(&mut self, v: u64) {
        self.extend_from_slice(&v.to_le_bytes());
    }

    fn put_f32(&mut self, v: f32) {
        self.extend_from_slice(&v.to_le_bytes());
    }

    fn put_f32s(&mut self, v: &[f32]) {
        self.reserve(v.len() * 4);
        if cfg!(target_endian = "little") {
            self.extend_from_slice(bytemuck::cast_slice(v));
        } else {
            v.iter().for_each(|&x| self.put_f32(x));
        }
    }

    fn put_quantizer(&mut self, v: Option<QuantizerSpec>) {
        let (m, rotation) = match v {
            Some(QuantizerSpec::Pq { m, rotation, .. }) => (m, rotation),
            _ => (0, false),
        };
        self.put_u8(v.map_or(0, |q| q.kind() as u8));
        self.put_u8(v.map_or(0, QuantizerSpec::bits));
        self.put_u32(m);
        self.put_u8(rotation.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_put_and_refuses_what_is_short_or_long() {
        let mut b = Vec::new();
        b.put_u8(1);
        b.put_u32(2);
        b.put_u64(3);
        b.put_f32s(&[1.5, -2.0]);
        let mut r = Reader::new(&b, "test");
        assert_eq!((r.u8().unwrap(), r.u32().unwrap(), r.u64().unwrap()), (1, 2, 3));
        assert_eq!(r.f32s(2).unwrap(), [1.5, -2.0]);
        r.end().unwrap();
        let mut r = Reader::new(&b[..12], "test");
        assert!(r.bytes(13).is_err() && r.u64().is_ok() && r.end().is_err());
        assert!(Reader::new(&[255, 255, 255, 255, 0], "test").count(1).is_err());
        assert!(Reader::new(&b, "test").f32s(usize::MAX / 2).is_err());
    }
}
