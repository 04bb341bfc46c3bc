//! Key derivation: HKDF-SHA-256 (RFC 5869) and HMAC-SHA-256, the same whatever provider encrypts.
//!
//! Every derivation is separated from every other by its `info`: length-prefixed fields, the first `"cyborg1/<purpose>"`,
//! the second the uuid of the index.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Bytes in a salt, a commitment and a digest.
pub(crate) const HASH_LEN: usize = 32;

/// Fills `out` with HKDF-SHA-256 of `key` under `salt`, for one purpose. A field is at most 255 bytes.
pub(crate) fn hkdf(key: &[u8], salt: &[u8], fields: &[&[u8]], out: &mut [u8]) -> Result<()> {
    const REFUSED: Error = Error::Internal { what: "HKDF refused its input" };
    let mut info = [0u8; 256];
    let mut at = 0;
    for field in fields {
        let end = at + 1 + field.len();
        let place = info.get_mut(at..end).ok_or(REFUSED)?;
        place[0] = u8::try_from(field.len()).map_err(|_| REFUSED)?;
        place[1..].copy_from_slice(field);
        at = end;
    }
    extract_expand(key, salt, &info[..at], out)
}

/// HKDF-SHA-256 as RFC 5869 has it.
fn extract_expand(key: &[u8], salt: &[u8], info: &[u8], out: &mut [u8]) -> Result<()> {
    const TOO_LONG: Error = Error::Internal { what: "HKDF refused its output length" };
    Hkdf::<Sha256>::new(Some(salt), key).expand(info, out).map_err(|_| TOO_LONG)
}

/// HMAC-SHA-256 that is fed piece by piece.
pub(crate) struct Hmac256(Hmac<Sha256>);

impl Hmac256 {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        // A 32-byte key is below the block length, for which `new` cannot fail and does not hash.
        let mut block = zeroize::Zeroizing::new([0u8; 64]);
        block[..32].copy_from_slice(key);
        Self(Hmac::new((&*block).into()))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(bytes);
        self
    }

    pub(crate) fn finish(self) -> [u8; HASH_LEN] {
        self.0.finalize().into_bytes().into()
    }
}

/// SHA-256, for checks that hold no secret.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; HASH_LEN] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// RFC 5869, appendices A.1 and A.3.
    #[test]
    fn hkdf_gives_the_published_vectors() {
        let mut out = [0; 42];
        let salt: Vec<u8> = (0..0x0d).collect();
        let info: Vec<u8> = (0xf0..0xfa).collect();
        extract_expand(&[0x0b; 22], &salt, &info, &mut out).unwrap();
        let expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
        assert_eq!(hex(&out), expected);
        extract_expand(&[0x0b; 22], &[], &[], &mut out).unwrap();
        let expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8";
        assert_eq!(hex(&out), expected);
    }

    /// RFC 4231, test case 1, whose 20-byte key HMAC pads with zeroes; FIPS 180-2, "abc".
    #[test]
    fn hmac_and_sha256_give_the_published_vectors() {
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let mut mac = Hmac256::new(&key);
        mac.update(b"Hi ").update(b"There");
        assert_eq!(hex(&mac.finish()), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
        assert_eq!(hex(&sha256(b"abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn fields_are_separated_by_their_lengths() {
        let derive = |fields: &[&[u8]]| {
            let mut out = [0; 32];
            hkdf(&[1; 32], &[2; 32], fields, &mut out).unwrap();
            out
        };
        assert_ne!(derive(&[b"ab", b"c"]), derive(&[b"a", b"bc"]));
        assert_ne!(derive(&[b"ab"]), derive(&[b"ab", b""]));
        assert!(hkdf(&[1; 32], &[], &[&[0; 256]], &mut [0; 32]).is_err());
        assert!(hkdf(&[1; 32], &[], &[&[0; 200], &[0; 200]], &mut [0; 32]).is_err());
    }
}
