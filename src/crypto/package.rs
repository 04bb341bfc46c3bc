//! The package: one byte string sealed under a caller's key, to be carried from store to store (FORMAT.md, "Package").
//!
//! It stands alone: no store, no head and no keyset is needed to open it, only its key. A fresh salt gives every package a
//! key of its own, so the nonce is 0. An *unkeyed* check over the header tells damage from a wrong key, a commitment tells
//! a wrong key from damage behind the header, and the name it was sealed under is authenticated with all the rest.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::derive::{HASH_LEN, hkdf, key_at, sha256};
use super::envelope::seal_once;
use super::object::part;
use super::provider::{AeadKey, NONCE_LEN, TAG_LEN};
use super::vault::{Vault, check_key};
use super::{FORMAT, SUITE, random};
use crate::error::{Error, Result, try_zeroed};

const MAGIC: [u8; 4] = *b"CYBP";
/// Magic 4, format 2, suite 1, length of the name 1, length of the plaintext 8, salt 32, commitment 32; then the name, and
/// the SHA-256 of all before it.
const FIXED: usize = 80;
/// Longest plaintext: well inside of what one message of AES-GCM may hold.
const MAX_PLAIN: u64 = 32 << 30;

const DAMAGED: Error = Error::Corrupt { what: "package" };

/// What a package held.
#[derive(Debug)]
pub struct Package {
    /// The name it was sealed under.
    pub name: String,
    /// The plaintext, wiped on drop.
    pub bytes: Zeroizing<Vec<u8>>,
}

impl Vault {
    /// Seals `plaintext` under `key` (32 bytes) and `name` (1 to 255 bytes). What comes of it is bound to neither this vault
    /// nor its store, which only lend their randomness.
    pub fn package(&self, key: &[u8], name: &str, plaintext: &[u8]) -> Result<Vec<u8>> {
        check_key(key)?;
        self.keys.check_pid()?;
        let name_len = u8::try_from(name.len()).ok().filter(|&n| n > 0);
        let name_len = name_len.ok_or(Error::Internal { what: "package: a name of this length" })?;
        if plaintext.len() as u64 > MAX_PLAIN {
            return Err(Error::invalid("package length", plaintext.len(), "at most 32 GiB"));
        }
        let header_len = FIXED + name.len() + HASH_LEN;
        let mut out = try_zeroed::<u8>(header_len + plaintext.len() + TAG_LEN, "package")?;
        let (header, text) = out.split_at_mut(header_len);
        text[..plaintext.len()].copy_from_slice(plaintext);
        let salt = random::hedged(self.keys.hedge()?, &[b"cyborg1/package salt", &self.fingerprint(plaintext)?])?;
        let (aead, commitment) = derive(key, &salt, name)?;
        header[..4].copy_from_slice(&MAGIC);
        header[4..6].copy_from_slice(&FORMAT.to_le_bytes());
        header[6..8].copy_from_slice(&[SUITE, name_len]);
        header[8..16].copy_from_slice(&(plaintext.len() as u64).to_le_bytes());
        header[16..48].copy_from_slice(&salt);
        header[48..FIXED].copy_from_slice(&commitment);
        header[FIXED..FIXED + name.len()].copy_from_slice(name.as_bytes());
        let check = sha256(&header[..FIXED + name.len()]);
        header[FIXED + name.len()..].copy_from_slice(&check);
        seal_once(&aead, header, text)?;
        Ok(out)
    }
}

impl Package {
    /// Opens what [`Vault::package`] made. [`Error::Corrupt`] for bytes that are no whole package, [`Error::Version`],
    /// [`Error::WrongKey`].
    pub fn open(key: &[u8], package: &[u8]) -> Result<Self> {
        check_key(key)?;
        let fixed = package.first_chunk::<FIXED>().ok_or(DAMAGED)?;
        if fixed[..4] != MAGIC {
            return Err(DAMAGED);
        }
        let header_len = FIXED + usize::from(fixed[7]) + HASH_LEN;
        let (header, sealed) = package.split_at_checked(header_len).ok_or(DAMAGED)?;
        let (fields, check) = header.split_at(header_len - HASH_LEN);
        if sha256(fields) != *check {
            return Err(DAMAGED);
        }
        let format = u16::from_le_bytes([fixed[4], fixed[5]]);
        if format > FORMAT || fixed[6] > SUITE {
            return Err(Error::Version { what: "package", got: format.into(), supported: FORMAT.into() });
        }
        // Before anything of that length is allocated: it is the length of what the caller holds.
        let plain_len = sealed.len().checked_sub(TAG_LEN).ok_or(DAMAGED)?;
        if plain_len as u64 != u64::from_le_bytes(part(fixed, 8)) || plain_len as u64 > MAX_PLAIN {
            return Err(DAMAGED);
        }
        let name = str::from_utf8(&fields[FIXED..]).ok().filter(|name| !name.is_empty()).ok_or(DAMAGED)?;
        let (aead, commitment) = derive(key, &part(fixed, 16), name)?;
        if !bool::from(commitment.ct_eq(&fixed[48..])) {
            return Err(Error::WrongKey);
        }
        let mut bytes = Zeroizing::new(try_zeroed::<u8>(plain_len, "package")?);
        if !aead.open(&[0; NONCE_LEN], header, sealed, &mut bytes) {
            return Err(DAMAGED);
        }
        Ok(Self { name: name.to_owned(), bytes })
    }
}

/// Key and commitment of one package. The name goes in by its hash: a field of a derivation is short.
fn derive(key: &[u8], salt: &[u8; HASH_LEN], name: &str) -> Result<(AeadKey, [u8; HASH_LEN])> {
    let mut out = Zeroizing::new([0u8; 64]);
    hkdf(key, salt, &[b"cyborg1/package", &sha256(name.as_bytes())], &mut *out)?;
    Ok((AeadKey::new(key_at(&*out, 0)?)?, part(&*out, 32)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::crypto::Backend;
    use crate::store::memory::MemoryStore;

    const KEY: [u8; 32] = [3; 32];

    fn vault() -> Vault {
        Vault::create(&Backend::over(Arc::new(MemoryStore::new())), "x", &[7; 32], b"").unwrap()
    }

    #[test]
    fn a_package_opens_with_its_key_and_no_other() {
        let vault = vault();
        for len in [0, 1, 100, 70_000] {
            let plain: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let package = vault.package(&KEY, "a name", &plain).unwrap();
            let opened = Package::open(&KEY, &package).unwrap();
            assert_eq!((opened.name.as_str(), &opened.bytes[..]), ("a name", &plain[..]));
            assert!(matches!(Package::open(&[4; 32], &package), Err(Error::WrongKey)));
            assert!(matches!(Package::open(&[4; 31], &package), Err(Error::InvalidArgument { .. })));
            assert_ne!(package, vault.package(&KEY, "a name", &plain).unwrap(), "no two are alike");
            assert!(plain.len() < 16 || !package.windows(16).any(|w| w == &plain[..16]));
        }
        assert!(vault.package(&KEY, "", b"").is_err() && vault.package(&KEY, &"n".repeat(256), b"").is_err());
    }

    /// Damage is damage: never a wrong key, never anything of the plaintext.
    #[test]
    fn every_flipped_bit_and_every_cut_is_damage() {
        let package = vault().package(&KEY, "name", b"a small plaintext").unwrap();
        for at in 0..package.len() {
            for bit in 0..8 {
                let mut bad = package.clone();
                bad[at] ^= 1 << bit;
                let e = Package::open(&KEY, &bad).unwrap_err();
                assert!(matches!(e, Error::Corrupt { .. }), "byte {at}, bit {bit}: {e}");
            }
            assert!(matches!(Package::open(&KEY, &package[..at]), Err(Error::Corrupt { .. })), "cut at {at}");
        }
        let longer = [&package[..], &[0]].concat();
        assert!(matches!(Package::open(&KEY, &longer), Err(Error::Corrupt { .. })));
    }

    #[test]
    fn a_package_of_a_newer_format_says_so() {
        let mut package = vault().package(&KEY, "name", b"plain").unwrap();
        package[4] = 2;
        let check = sha256(&package[..FIXED + 4]);
        package[FIXED + 4..FIXED + 4 + HASH_LEN].copy_from_slice(&check);
        assert!(matches!(Package::open(&KEY, &package), Err(Error::Version { got: 2, .. })));
    }
}
