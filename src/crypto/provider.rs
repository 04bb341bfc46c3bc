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
    #[cfg_attr(
        all(feature = "fast-crypto", not(test)),
        allow(dead_code, reason = "the cross-check in tests, and what runs without the feature")
    )]
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
pub(crate) struct AeadKey {
    inner: Inner,
    /// Tests keep account of every (key, nonce) that seals.
    #[cfg(test)]
    fingerprint: [u8; 32],
}

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
        let inner = match provider {
            #[cfg(feature = "fast-crypto")]
            Provider::AwsLc => {
                let key = lc::UnboundKey::new(&lc::AES_256_GCM, key).map_err(|_| REFUSED)?;
                Inner::AwsLc(lc::LessSafeKey::new(key))
            }
            Provider::Portable => Inner::Portable(Box::new(Aes256Gcm::new(key.into()))),
        };
        Ok(Self {
            inner,
            #[cfg(test)]
            fingerprint: super::derive::sha256(key),
        })
    }

    /// Encrypts `text` in place and gives the tag. A (key, nonce) pair must never come twice; the callers in this crate
    /// give every key one salt and every message of a key its number.
    pub(crate) fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], text: &mut [u8]) -> Result<[u8; TAG_LEN]> {
        #[cfg(test)]
        tests::enter(self.fingerprint, *nonce);
        self.encrypt(nonce, aad, text)
    }

    /// As [`seal`](Self::seal), from `plain` into `out` of the same length: encrypting and copying are one pass.
    pub(crate) fn seal_into(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        plain: &[u8],
        out: &mut [u8],
    ) -> Result<[u8; TAG_LEN]> {
        #[cfg(test)]
        tests::enter(self.fingerprint, *nonce);
        self.encrypt_into(nonce, aad, plain, out)
    }

    fn encrypt_into(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], plain: &[u8], out: &mut [u8]) -> Result<[u8; TAG_LEN]> {
        let mut tag = [0; TAG_LEN];
        match &self.inner {
            #[cfg(feature = "fast-crypto")]
            Inner::AwsLc(key) => {
                let nonce = lc::Nonce::assume_unique_for_key(*nonce);
                key.seal_out_of_place_scatter(nonce, lc::Aad::from(aad), plain, out, &[], &mut tag)
                    .map_err(|_| REFUSED)?;
            }
            Inner::Portable(key) => {
                let buffer = InOutBuf::new(plain, out).map_err(|_| REFUSED)?;
                tag.copy_from_slice(&key.encrypt_inout_detached(nonce.into(), aad, buffer).map_err(|_| REFUSED)?);
            }
        }
        Ok(tag)
    }

    /// A keyed fingerprint of `bytes` at the speed of GHASH, several times that of SHA-256: the tag of an empty message
    /// with `bytes` beside it. The nonce is always the same, so the result must not leave the process; it only feeds an
    /// HMAC (a universal hash under a PRF).
    pub(crate) fn fingerprint(&self, bytes: &[u8]) -> Result<[u8; TAG_LEN]> {
        self.encrypt(&[0xff; NONCE_LEN], bytes, &mut [])
    }

    fn encrypt(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], text: &mut [u8]) -> Result<[u8; TAG_LEN]> {
        let mut out = [0; TAG_LEN];
        match &self.inner {
            #[cfg(feature = "fast-crypto")]
            Inner::AwsLc(key) => {
                let nonce = lc::Nonce::assume_unique_for_key(*nonce);
                let tag = key.seal_in_place_separate_tag(nonce, lc::Aad::from(aad), text).map_err(|_| REFUSED)?;
                out.copy_from_slice(tag.as_ref());
            }
            Inner::Portable(key) => {
                let tag = key.encrypt_inout_detached(nonce.into(), aad, text.into()).map_err(|_| REFUSED)?;
                out.copy_from_slice(&tag);
            }
        }
        Ok(out)
    }

    /// Decrypts `sealed` (ciphertext, then tag) into `out`. `false` when it is not authentic; `out` is then all zero.
    #[must_use]
    pub(crate) fn open(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], sealed: &[u8], out: &mut [u8]) -> bool {
        if sealed.len() != out.len() + TAG_LEN {
            out.fill(0);
            return false;
        }
        let (body, tag) = sealed.split_at(out.len());
        let authentic = match &self.inner {
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::{LazyLock, Mutex};

    use super::*;

    type Pair = ([u8; 32], [u8; NONCE_LEN]);
    static LEDGER: LazyLock<Mutex<HashSet<Pair>>> = LazyLock::new(Mutex::default);

    /// Panics when a (key, nonce) pair seals twice in the whole test process, whichever test does it.
    pub(super) fn enter(fingerprint: [u8; 32], nonce: [u8; NONCE_LEN]) {
        assert!(LEDGER.lock().unwrap().insert((fingerprint, nonce)), "a (key, nonce) pair came twice");
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    fn providers() -> Vec<Provider> {
        vec![
            #[cfg(feature = "fast-crypto")]
            Provider::AwsLc,
            Provider::Portable,
        ]
    }

    /// Test cases 13 to 16 of "The Galois/Counter Mode of Operation" (McGrew and Viega), those with a 256-bit key and
    /// a 96-bit nonce: key, nonce, aad, plaintext, ciphertext, tag.
    fn vectors() -> Vec<[Vec<u8>; 6]> {
        let key = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
        let plain = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
                     1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255";
        let sealed = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
                      8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad";
        let zero = "00".repeat(32);
        let nonce = "cafebabefacedbaddecaf888";
        let aad = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
        [
            [&zero[..], &zero[..24], "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"],
            [
                &zero,
                &zero[..24],
                "",
                &zero[..32],
                "cea7403d4d606b6e074ec5d3baf39d18",
                "d0d1c8a799996bf0265b98b5d48ab919",
            ],
            [key, nonce, "", plain, sealed, "b094dac5d93471bdec1a502270e3cc6c"],
            [key, nonce, aad, &plain[..120], &sealed[..120], "76fc6ece0f4e1768cddf8853bb2d551b"],
        ]
        .map(|case| case.map(hex))
        .into()
    }

    /// Ciphertext and tag, without an entry in the ledger.
    fn sealed(key: &AeadKey, nonce: &[u8; NONCE_LEN], aad: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut out = plain.to_vec();
        let tag = key.encrypt(nonce, aad, &mut out).unwrap();
        out.extend_from_slice(&tag);
        out
    }

    #[test]
    fn both_providers_give_the_published_vectors() {
        for provider in providers() {
            for [key, nonce, aad, plain, cipher, tag] in vectors() {
                let key = AeadKey::with(provider, &key.try_into().unwrap()).unwrap();
                let nonce = nonce.try_into().unwrap();
                let out = sealed(&key, &nonce, &aad, &plain);
                assert_eq!(out, [&cipher[..], &tag].concat(), "{provider:?}");
                let mut copy = vec![7; plain.len()];
                let copy_tag = key.encrypt_into(&nonce, &aad, &plain, &mut copy).unwrap();
                assert_eq!((copy, &copy_tag[..]), (cipher, &tag[..]), "{provider:?}");
                assert!(key.encrypt_into(&nonce, &aad, &plain, &mut vec![0; plain.len() + 1]).is_err());
                let mut back = vec![0; plain.len()];
                assert!(key.open(&nonce, &aad, &out, &mut back));
                assert_eq!(back, plain);
            }
        }
    }

    /// In the manner of Wycheproof: every bit of ciphertext, tag, nonce and aad, and every truncation, must matter.
    #[test]
    fn nothing_altered_opens_and_nothing_leaks_when_it_does_not() {
        for provider in providers() {
            let [key, nonce, aad, plain, cipher, tag] = vectors().pop().unwrap();
            let key = AeadKey::with(provider, &key.try_into().unwrap()).unwrap();
            let nonce: [u8; NONCE_LEN] = nonce.try_into().unwrap();
            let sealed = [cipher, tag].concat();
            let refused = |nonce: &[u8; NONCE_LEN], aad: &[u8], sealed: &[u8]| {
                let mut out = vec![9; plain.len()];
                !key.open(nonce, aad, sealed, &mut out) && out.iter().all(|&b| b == 0)
            };
            let flipped = |bytes: &[u8], bit: usize| {
                let mut bytes = bytes.to_vec();
                bytes[bit / 8] ^= 1 << (bit % 8);
                bytes
            };
            for bit in 0..sealed.len() * 8 {
                assert!(refused(&nonce, &aad, &flipped(&sealed, bit)), "{provider:?} bit {bit}");
            }
            for bit in 0..aad.len() * 8 {
                assert!(refused(&nonce, &flipped(&aad, bit), &sealed));
            }
            for bit in 0..NONCE_LEN * 8 {
                assert!(refused(&flipped(&nonce, bit).try_into().unwrap(), &aad, &sealed));
            }
            assert!(refused(&nonce, &aad[1..], &sealed) && refused(&nonce, &[], &sealed));
            for len in 0..sealed.len() {
                assert!(refused(&nonce, &aad, &sealed[..len]));
            }
        }
    }

    #[test]
    fn each_provider_opens_what_the_other_sealed() {
        let mut rng = crate::rng::Rng::new(5);
        let mut random = |len: usize| (0..len).map(|_| rng.next_u64() as u8).collect::<Vec<u8>>();
        for len in [0, 1, 15, 16, 17, 255, 4080, 4081, 65520, 100_003] {
            let key: [u8; KEY_LEN] = random(32).try_into().unwrap();
            let nonce: [u8; NONCE_LEN] = random(12).try_into().unwrap();
            let (aad, plain) = (random(len % 40), random(len));
            let made: Vec<Vec<u8>> = providers()
                .into_iter()
                .map(|p| sealed(&AeadKey::with(p, &key).unwrap(), &nonce, &aad, &plain))
                .collect();
            for bytes in &made {
                assert!(*bytes == made[0], "{len}");
                for p in providers() {
                    let mut out = vec![0; len];
                    assert!(AeadKey::with(p, &key).unwrap().open(&nonce, &aad, bytes, &mut out));
                    assert!(out == plain);
                }
            }
        }
    }
}
