//! The head of an index: a preamble, the keyslots twice, and the sealed manifest (FORMAT.md, "Head").
//!
//! The manifest authenticates everything else. Its own sealing binds the sequence number, the name and uuid of the index,
//! the preamble and the keyslots; its plaintext carries the digest of the head before it, so heads form a chain.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::derive::{HASH_LEN, hkdf, key_at, sha256};
use super::envelope::seal_once;
use super::keys::Keyset;
use super::keyslot::Keyslots;
use super::object::part;
use super::provider::{AeadKey, NONCE_LEN, TAG_LEN};
use super::{FORMAT, random};
use crate::error::{Error, Result, try_zeroed};
use crate::store::SpaceId;

const MAGIC: [u8; 4] = *b"CYBH";
/// Magic 4, format 2, length of a keyslot block 2, the first 8 bytes of the SHA-256 of these. Frozen for all formats.
const PREAMBLE: usize = 16;
/// Epoch 4, salt 32, commitment 32; ciphertext and tag follow.
const ENVELOPE: usize = 68;
/// Digest of the head before 32, length of the engine's bytes 4.
const INNER: usize = 36;
/// The plaintext is padded to a multiple of this, so that its length says little.
const PAD: usize = 512;
/// Longest manifest.
pub(crate) const MAX_MANIFEST: usize = 64 << 20;

/// Which head is sealed or opened: everything that its manifest is bound to.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) uuid: &'a SpaceId,
    pub(crate) name: &'a str,
    pub(crate) seq: u64,
}

/// An opened manifest.
pub(crate) struct Opened {
    /// Digest of the head before; zero for the first.
    pub(crate) previous: [u8; HASH_LEN],
    /// The engine's bytes.
    pub(crate) bytes: Zeroizing<Vec<u8>>,
}

/// The bytes of a head.
pub(crate) fn seal(
    place: Place<'_>,
    keys: &Keyset,
    slots: &Keyslots,
    previous: &[u8; HASH_LEN],
    manifest: &[u8],
) -> Result<Vec<u8>> {
    if manifest.len() > MAX_MANIFEST {
        return Err(Error::invalid("manifest length", manifest.len(), "at most 64 MiB"));
    }
    let plain_len = (INNER + manifest.len()).next_multiple_of(PAD);
    let block = slots.bytes();
    let block_len = u16::try_from(block.len()).map_err(|_| Error::Internal { what: "too many keyslots" })?;
    let envelope_at = PREAMBLE + 2 * block.len();
    let mut out = try_zeroed::<u8>(envelope_at + ENVELOPE + plain_len + TAG_LEN, "head")?;
    out[..4].copy_from_slice(&MAGIC);
    out[4..6].copy_from_slice(&FORMAT.to_le_bytes());
    out[6..8].copy_from_slice(&block_len.to_le_bytes());
    let check = sha256(&out[..8]);
    out[8..PREAMBLE].copy_from_slice(&check[..8]);
    out[PREAMBLE..PREAMBLE + block.len()].copy_from_slice(block);
    out[PREAMBLE + block.len()..envelope_at].copy_from_slice(block);

    let (before, envelope) = out.split_at_mut(envelope_at);
    let (fields, text) = envelope.split_at_mut(ENVELOPE);
    text[..HASH_LEN].copy_from_slice(previous);
    text[HASH_LEN..INNER].copy_from_slice(&(manifest.len() as u32).to_le_bytes());
    text[INNER..INNER + manifest.len()].copy_from_slice(manifest);
    let epoch = keys.epoch();
    let salt = random::hedged(keys.hedge()?, &[b"cyborg1/manifest salt", &place.seq.to_le_bytes(), &sha256(text)])?;
    let (key, commitment) = derive(keys, &place, epoch, &salt)?;
    fields[..4].copy_from_slice(&epoch.to_le_bytes());
    fields[4..36].copy_from_slice(&salt);
    fields[36..].copy_from_slice(&commitment);
    seal_once(&key, &aad(&place, &before[..PREAMBLE], block, epoch), text)?;
    Ok(out)
}

/// The two parts of a head: its keyslots and its sealed manifest, which opens with their keys.
pub(crate) fn split<'a>(uuid: &SpaceId, head: &'a [u8]) -> Result<(Keyslots, &'a [u8])> {
    const DAMAGED: Error = Error::Corrupt { what: "head" };
    let (preamble, rest) = head.split_first_chunk::<PREAMBLE>().ok_or(DAMAGED)?;
    if preamble[..4] != MAGIC || sha256(&preamble[..8])[..8] != preamble[8..] {
        return Err(DAMAGED);
    }
    let format = u16::from_le_bytes([preamble[4], preamble[5]]);
    if format > FORMAT {
        return Err(Error::Version { what: "index", got: format.into(), supported: FORMAT.into() });
    }
    let block = usize::from(u16::from_le_bytes([preamble[6], preamble[7]]));
    let (a, rest) = rest.split_at_checked(block).ok_or(DAMAGED)?;
    let (b, envelope) = rest.split_at_checked(block).ok_or(DAMAGED)?;
    Ok((Keyslots::read(uuid, a, b)?, envelope))
}

/// Opens the manifest of the head `head`, which [`split`] took apart.
pub(crate) fn open(place: Place<'_>, keys: &Keyset, head: &[u8], slots: &Keyslots, envelope: &[u8]) -> Result<Opened> {
    const DAMAGED: Error = Error::Corrupt { what: "manifest" };
    let (fields, sealed) = envelope.split_first_chunk::<ENVELOPE>().ok_or(DAMAGED)?;
    let plain_len = sealed.len().checked_sub(TAG_LEN).filter(|&n| n >= INNER).ok_or(DAMAGED)?;
    let epoch = u32::from_le_bytes(part(fields, 0));
    let (key, commitment) = derive(keys, &place, epoch, &part(fields, 4)).map_err(|e| match e {
        Error::Corrupt { .. } => DAMAGED,
        other => other,
    })?;
    if !bool::from(commitment.ct_eq(&fields[36..])) {
        return Err(DAMAGED);
    }
    let mut plain = Zeroizing::new(try_zeroed::<u8>(plain_len, "manifest")?);
    let aad = aad(&place, &head[..PREAMBLE], slots.bytes(), epoch);
    if !key.open(&[0; NONCE_LEN], &aad, sealed, &mut plain) {
        return Err(DAMAGED);
    }
    let previous = part(&plain, 0);
    let len = u32::from_le_bytes(part(&plain, HASH_LEN)) as usize;
    let end = len.checked_add(INNER).filter(|&end| end <= plain.len()).ok_or(DAMAGED)?;
    plain.copy_within(INNER..end, 0);
    plain.truncate(len);
    Ok(Opened { previous, bytes: plain })
}

/// Key and commitment of one manifest.
fn derive(keys: &Keyset, place: &Place<'_>, epoch: u32, salt: &[u8; HASH_LEN]) -> Result<(AeadKey, [u8; HASH_LEN])> {
    let mut out = Zeroizing::new([0u8; 64]);
    hkdf(keys.data(epoch)?, salt, &[b"cyborg1/manifest", place.uuid], &mut *out)?;
    Ok((AeadKey::new(key_at(&*out, 0)?)?, part(&*out, 32)))
}

fn aad(place: &Place<'_>, preamble: &[u8], slots: &[u8], epoch: u32) -> Vec<u8> {
    let name = place.name.as_bytes();
    [
        &b"cyborg1/manifest"[..],
        preamble,
        &sha256(slots),
        place.uuid,
        &place.seq.to_le_bytes(),
        &epoch.to_le_bytes(),
        &(name.len() as u64).to_le_bytes(),
        name,
    ]
    .concat()
}
