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
    Hkdf::<Sha256>::new(Some(salt), key).expand(&info[..at], out).map_err(|_| REFUSED)
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
