//! Keyslots: how the caller's key opens the keyset (FORMAT.md, "Keyslots").
//!
//! A slot derives a wrapping key and a commitment from the caller's key; the commitment tells a wrong key from damage. The
//! block of slots ends in an *unkeyed* SHA-256, so that damage is known as damage before any key is tried, and it is
//! stored twice in every head.

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

use super::derive::{HASH_LEN, hkdf, key_at, sha256};
use super::envelope::seal_once;
use super::keys::{Keyset, MAX_EPOCHS};
use super::provider::{AeadKey, NONCE_LEN, TAG_LEN};
use super::{FORMAT, SUITE, random};
use crate::error::{Error, Result};
use crate::store::SpaceId;

const MAGIC: [u8; 4] = *b"CYBK";
/// Magic 4, format 2, suite 1, slots 1, uuid 16, zero 8.
const BLOCK_HEADER: usize = 32;
/// Role 1, zero 1, wrapped length 2, slot id 4, salt 32, commitment 32.
const SLOT_HEADER: usize = 72;
/// Role of the one kind of slot that v1 writes: may read and write.
const ROLE_OWNER: u8 = 1;
const WRAPPED_MAX: usize = 1 + 64 + 36 * MAX_EPOCHS + TAG_LEN;

const DAMAGED: Error = Error::Corrupt { what: "keyslots" };

/// A block of keyslots whose check was right.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Keyslots {
    bytes: Vec<u8>,
}

/// What one slot derives from the caller's key.
struct SlotKeys(Zeroizing<[u8; 64]>);

impl SlotKeys {
    fn derive(key: &[u8], uuid: &SpaceId, slot: &[u8]) -> Result<Self> {
        let mut out = Zeroizing::new([0u8; 64]);
        hkdf(key, &slot[8..40], &[b"cyborg1/slot", uuid, &slot[..8]], &mut *out)?;
        Ok(Self(out))
    }

    fn wrapping(&self) -> Result<AeadKey> {
        AeadKey::new(key_at(&*self.0, 0)?)
    }

    fn commitment(&self) -> &[u8] {
        &self.0[32..]
    }
}

impl Keyslots {
    /// One slot that opens `keys` with `key`.
    pub(crate) fn create(uuid: &SpaceId, key: &[u8], keys: &Keyset) -> Result<Self> {
        let wrapped_len = keys.encoded_len() + TAG_LEN;
        let mut slot = vec![0u8; SLOT_HEADER + wrapped_len];
        slot[0] = ROLE_OWNER;
        slot[2..4].copy_from_slice(&(wrapped_len as u16).to_le_bytes());
        slot[4..8].copy_from_slice(&1u32.to_le_bytes());
        slot[8..40].copy_from_slice(&random::hedged(keys.hedge()?, &[b"cyborg1/slot salt", uuid])?);
        let derived = SlotKeys::derive(key, uuid, &slot)?;
        slot[40..72].copy_from_slice(derived.commitment());
        let (header, wrapped) = slot.split_at_mut(SLOT_HEADER);
        keys.write(&mut wrapped[..keys.encoded_len()])?;
        seal_once(&derived.wrapping()?, &aad(uuid, header), wrapped)?;

        let mut bytes = Vec::with_capacity(BLOCK_HEADER + slot.len() + HASH_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&[SUITE, 1]);
        bytes.extend_from_slice(uuid);
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&slot);
        bytes.extend_from_slice(&sha256(&bytes));
        Ok(Self { bytes })
    }

    /// The block of a head, from its two copies. Either may be damaged, not both, and whole ones must agree.
    pub(crate) fn read(uuid: &SpaceId, a: &[u8], b: &[u8]) -> Result<Self> {
        let whole = |copy: &[u8]| copy.split_last_chunk::<HASH_LEN>().is_some_and(|(body, sum)| sha256(body) == *sum);
        let bytes = match (whole(a), whole(b)) {
            (true, true) if a != b => return Err(DAMAGED),
            (true, _) => a,
            (false, true) => b,
            (false, false) => return Err(DAMAGED),
        };
        // A block that is shorter than its header and check may still carry a check that fits.
        let head = bytes.first_chunk::<BLOCK_HEADER>().filter(|_| bytes.len() >= BLOCK_HEADER + HASH_LEN);
        let head = head.ok_or(DAMAGED)?;
        let slots = Self { bytes: bytes.to_vec() };
        let format = u16::from_le_bytes([head[4], head[5]]);
        if head[..4] != MAGIC || head[8..24] != uuid[..] {
            return Err(DAMAGED);
        }
        if format > FORMAT || head[6] > SUITE {
            return Err(Error::Version { what: "keyslots", got: format.into(), supported: FORMAT.into() });
        }
        if slots.iter().count() != usize::from(head[7]) {
            return Err(DAMAGED);
        }
        Ok(slots)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The slots, until one runs out of the block.
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[BLOCK_HEADER..self.bytes.len() - HASH_LEN];
        std::iter::from_fn(move || {
            let wrapped = usize::from(u16::from_le_bytes([*rest.get(2)?, *rest.get(3)?]));
            if !(TAG_LEN..=WRAPPED_MAX).contains(&wrapped) {
                return None;
            }
            let (slot, after) = rest.split_at_checked(SLOT_HEADER + wrapped)?;
            rest = after;
            Some(slot)
        })
    }

    /// The position of the slot that `key` fits. All slots are tried, whichever fits, and compared in constant time.
    fn fitting(&self, uuid: &SpaceId, key: &[u8]) -> Result<usize> {
        let mut found = Choice::from(0);
        let mut at = 0u32;
        for (i, slot) in self.iter().enumerate() {
            let fits = SlotKeys::derive(key, uuid, slot)?.commitment().ct_eq(&slot[40..72]);
            at.conditional_assign(&(i as u32), fits & !found);
            found |= fits;
        }
        if bool::from(found) { Ok(at as usize) } else { Err(Error::WrongKey) }
    }

    /// [`Error::WrongKey`] unless `key` fits a slot.
    pub(crate) fn check(&self, uuid: &SpaceId, key: &[u8]) -> Result<()> {
        self.fitting(uuid, key).map(drop)
    }

    /// The keyset. [`Error::WrongKey`] when `key` fits no slot; [`Error::Corrupt`] when it fits and the slot does not open.
    pub(crate) fn unlock(&self, uuid: &SpaceId, key: &[u8]) -> Result<Keyset> {
        let slot = self.iter().nth(self.fitting(uuid, key)?).ok_or(DAMAGED)?;
        let (header, wrapped) = slot.split_at(SLOT_HEADER);
        let mut plain = Zeroizing::new(vec![0u8; wrapped.len() - TAG_LEN]);
        let derived = SlotKeys::derive(key, uuid, slot)?;
        if !derived.wrapping()?.open(&[0; NONCE_LEN], &aad(uuid, header), wrapped, &mut plain) {
            return Err(DAMAGED);
        }
        Keyset::read(&plain)
    }
}

fn aad(uuid: &SpaceId, header: &[u8]) -> Vec<u8> {
    [&b"cyborg1/slot"[..], uuid, header].concat()
}
