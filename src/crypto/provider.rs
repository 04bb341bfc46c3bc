//! AES-256-GCM: one seam, two providers with the same bytes on disk.
//!
//! `aws-lc` (feature `fast-crypto`, the default) runs at the speed of the hardware; the pure-Rust provider is always
//! compiled: it is what runs without the feature and the cross-check in tests. Nothing above this file names a crate.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
#[cfg(feature = "fast-crypto")]
use aws_lc_rs::aead as lc;

use crate::error::{Error, Result};

/// Bytes in a key.
pub(crate) const KEY_LEN: usize = 32;
/// Bytes in a nonce.
pub(crate) const NONCE_LEN: usize = 12;
/// Bytes that sealing adds.
pub(crate) const TAG_LEN: usize = 16;

/// Which implementation works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    /// aws-lc's assembler.
    #[cfg(feature = "fast-crypto")]
    AwsLc,
    /// Pure Rust with the processor's AES instructions where it has them.
    Portable,
}

impl Provider {
    /// The one in use.
    #[cfg(feature = "fast-crypto")]
    pub(crate) const DEFAULT: Self = Self::AwsLc;
    /// The one in use.
    #[cfg(not(feature = "fast-crypto"))]
    pub(crate) const DEFAULT: Self = Self::Portable;
}

/// A key ready for use: its schedule lives on the heap and is wiped by the provider on drop.
pub(crate) struct AeadKey(Inner);

enum Inner {
    #[cfg(feature = "fast-crypto")]
    AwsLc(lc::LessSafeKey),
    Portable(Box<Aes256Gcm>),
}

const REFUSED: Error = Error::Internal { what: "the AES-GCM provider refused" };

impl AeadKey {
    /// The schedule of `key` for the provider in use.
    pub(crate) fn new(key: &[u8; KEY_LEN]) -> Result<Self> {
        Self::with(Provider::DEFAULT, key)
    }

    /// The schedule of `key` for one provider.
    pub(crate) fn with(provider: Provider, key: &[u8; KEY_LEN]) -> Result<Self> {
        Ok(Self(match provider {
            #[cfg(feature = "fast-crypto")]
            Provider::AwsLc => {
                let key = lc::UnboundKey::new(&lc::AES_256_GCM, key).map_err(|_| REFUSED)?;
                Inner::AwsLc(lc::LessSafeKey::new(key))
            }
            Provider::Portable => Inner::Portable(Box::new(Aes256Gcm::new(key.into()))),
        }))
    }

    /// Encrypts `plaintext` into `out`, which is [`TAG_LEN`] longer: ciphertext, then tag. A (key, nonce) pair must
    /// never come twice; the callers in this crate give every key one salt and every message of a key its number.
    pub(crate) fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], plaintext: &[u8], out: &mut [u8]) -> Result<()> {
        if out.len() != plaintext.len() + TAG_LEN {
            return Err(Error::Internal { what: "seal: output of the wrong length" });
        }
        let (body, tag) = out.split_at_mut(plaintext.len());
        match &self.0 {
            #[cfg(feature = "fast-crypto")]
            Inner::AwsLc(key) => {
                let nonce = lc::Nonce::assume_unique_for_key(*nonce);
                let aad = lc::Aad::from(aad);
                key.seal_out_of_place_scatter(nonce, aad, plaintext, body, &[], tag).map_err(|_| REFUSED)
            }
            Inner::Portable(key) => {
                let buffer = InOutBuf::new(plaintext, body).map_err(|_| REFUSED)?;
                let made = key.encrypt_inout_detached(nonce.into(), aad, buffer).map_err(|_| REFUSED)?;
                tag.copy_from_slice(&made);
                Ok(())
            }
        }
    }

    /// Decrypts `sealed` (ciphertext, then tag) into `out`. `false` when it is not authentic; `out` is then all zero.
    #[must_use]
    pub(crate) fn open(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], sealed: &[u8], out: &mut [u8]) -> bool {
        if sealed.len() != out.len() + TAG_LEN {
            out.fill(0);
            return false;
        }
        let (body, tag) = sealed.split_at(out.len());
        let authentic = match &self.0 {
            #[cfg(feature = "fast-crypto")]
            Inner::AwsLc(key) => {
                let nonce = lc::Nonce::assume_unique_for_key(*nonce);
                key.open_separate_gather(nonce, lc::Aad::from(aad), body, tag, out).is_ok()
            }
            Inner::Portable(key) => match (InOutBuf::new(body, out), <&[u8; TAG_LEN]>::try_from(tag)) {
                (Ok(buffer), Ok(tag)) => key.decrypt_inout_detached(nonce.into(), aad, buffer, tag.into()).is_ok(),
                _ => false,
            },
        };
        if !authentic {
            out.fill(0);
        }
        authentic
    }
}
