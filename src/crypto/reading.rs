//! The reading half of the vault: ranges of frames, whole objects, verification.

use std::sync::Arc;

use subtle::ConstantTimeEq;

use super::derive::Hmac256;
use super::envelope::ObjectKey;
use super::object::{FrameSize, HEADER_LEN, LENGTH, ObjectRef, part};
use super::provider::TAG_LEN;
use super::vault::Vault;
use crate::buffer::Buffer;
use crate::error::{Error, Result, try_zeroed};

/// Object keys that are kept; a derivation costs about 2 us.
const CACHED_KEYS: usize = 1 << 14;
/// The derived key of one object, wiped with the last clone. Of use to the vault alone, which looks first whether this is the
/// process that may.
#[derive(Clone)]
pub struct Opener(Arc<ObjectKey>);

/// Bytes that are read at a time when a whole object is read.
const PIECE: usize = 1 << 20;

impl Vault {
    /// Reads a whole object and checks its digest too.
    pub fn read_all(&self, reference: &ObjectRef) -> Result<Buffer> {
        let len = usize::try_from(reference.payload_len).map_err(|_| Error::Corrupt { what: "object (length)" })?;
        let mut out = Buffer::zeroed(len, "object")?;
        let mut rest = out.bytes_mut();
        self.walk(reference, |key, frame, sealed, len| {
            let (piece, after) = std::mem::take(&mut rest).split_at_mut(len);
            rest = after;
            key.open_one(frame, sealed, piece)
        })?;
        Ok(out)
    }

    /// Reads a whole object and checks every byte of it.
    pub fn verify(&self, reference: &ObjectRef) -> Result<()> {
        let most = reference.payload_len.min(reference.frame_size.payload() as u64);
        let mut scratch = Buffer::zeroed(most as usize, "scratch")?;
        self.walk(reference, |key, frame, sealed, len| key.open_one(frame, sealed, &mut scratch.bytes_mut()[..len]))
    }

    /// Reads an object, hands each frame to `each` (key, its number, sealed bytes, length of the plaintext), and checks
    /// length, header and digest.
    fn walk(
        &self,
        reference: &ObjectRef,
        mut each: impl FnMut(&ObjectKey, u32, &[u8], usize) -> Result<()>,
    ) -> Result<()> {
        const DAMAGED: Error = Error::Corrupt { what: "object" };
        let key = self.key(reference)?;
        if self.store.len(self.id, reference.name).map_err(lost)? != reference.stored_bytes() {
            return Err(Error::Corrupt { what: "object (length)" });
        }
        let mut header = [0u8; HEADER_LEN];
        self.store.get(self.id, reference.name, 0, &mut header).map_err(lost)?;
        if header != *key.header() {
            return Err(Error::Corrupt { what: "object (header)" });
        }
        let mut digest = key.digest();
        let table = self.lengths(reference, &key, &mut digest)?;
        let plain_len = |frame: u32| match &table {
            Some(table) => Ok(u32::from_le_bytes(part(table.bytes(), (frame - 1) as usize * LENGTH)) as usize),
            None => reference.plain_len(frame, 1),
        };
        let stored_len = |len: usize| if table.is_some() { len + TAG_LEN } else { reference.frame_size.stored() };
        let (mut frame, mut at) = (u32::from(table.is_some()), reference.table_bytes() as u64);
        while frame < reference.frames() {
            // As many as fit, so that the store is not asked for every small one.
            let (mut end, mut bytes) = (frame, 0);
            while end < reference.frames() {
                let more = stored_len(plain_len(end)?);
                if bytes > 0 && bytes + more > PIECE {
                    break;
                }
                (end, bytes) = (end + 1, bytes + more);
            }
            let sealed = self.fetch(reference, at, bytes)?;
            at += bytes as u64;
            let mut rest = &sealed[..];
            for frame in frame..end {
                let len = plain_len(frame)?;
                let (one, after) = rest.split_at(stored_len(len));
                rest = after;
                each(&key, frame, one, len)?;
                ObjectKey::digest_frame(&mut digest, one);
            }
            frame = end;
        }
        if bool::from(digest.finish().ct_eq(&reference.digest)) { Ok(()) } else { Err(DAMAGED) }
    }

    /// The first frame of a cut object: the lengths of the others, which add up to that of the object. None of any other.
    fn lengths(&self, reference: &ObjectRef, key: &ObjectKey, digest: &mut Hmac256) -> Result<Option<Buffer>> {
        if reference.frame_size != FrameSize::Cut {
            return Ok(None);
        }
        let sealed = self.fetch(reference, 0, reference.table_bytes())?;
        let mut table = Buffer::zeroed(reference.pieces() * LENGTH, "object")?;
        key.open_one(0, &sealed, table.bytes_mut())?;
        ObjectKey::digest_frame(digest, &sealed);
        let lens = || table.bytes().as_chunks::<LENGTH>().0.iter().map(|&len| u32::from_le_bytes(len));
        let sound = lens().all(|len| (1..=FrameSize::Cut.payload()).contains(&(len as usize)))
            && lens().map(u64::from).sum::<u64>() == reference.payload_len;
        if sound { Ok(Some(table)) } else { Err(Error::Corrupt { what: "object (lengths)" }) }
    }

    /// Reads `len` bytes of an object as they are stored, from `at` on, counted from the first frame.
    pub fn fetch(&self, reference: &ObjectRef, at: u64, len: usize) -> Result<Vec<u8>> {
        self.keys.check_pid()?;
        let offset = at.checked_add(HEADER_LEN as u64);
        let end = offset.and_then(|offset| offset.checked_add(len as u64));
        let offset = offset.filter(|_| end.is_some_and(|end| end <= reference.stored_bytes()));
        let offset = offset.ok_or(Error::Internal { what: "bytes outside the object" })?;
        let mut sealed = try_zeroed(len, "sealed frames")?;
        self.store.get(self.id, reference.name, offset, &mut sealed).map_err(lost)?;
        Ok(sealed)
    }

    /// What [`open_frames`](Self::open_frames) needs; for who opens frames of one object again and again.
    pub fn opener(&self, reference: &ObjectRef) -> Result<Opener> {
        Ok(Opener(self.key(reference)?))
    }

    /// Opens frames that [`fetch`](Self::fetch) gave, from number `first` on, all of `payload` bytes of plaintext but the last, which
    /// may have fewer. `out` is as long as they are together; all zero after an error.
    pub fn open_frames(
        &self,
        opener: &Opener,
        first: u32,
        payload: usize,
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<()> {
        self.keys.check()?;
        opener.0.open(first, payload, sealed, out)
    }

    /// The derived key of an object, cached.
    fn key(&self, reference: &ObjectRef) -> Result<Arc<ObjectKey>> {
        self.keys.check()?;
        if let Some(key) = self.cache.read().get(&reference.name)
            && key.is_for(reference)
        {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(ObjectKey::derive(&self.keys, &self.id, reference)?);
        let mut cache = self.cache.write();
        if cache.len() >= CACHED_KEYS {
            cache.clear();
        }
        cache.insert(reference.name, Arc::clone(&key));
        Ok(key)
    }
}

/// An object that a manifest names and the store does not have is damage.
fn lost(e: Error) -> Error {
    match e {
        Error::NotFound { .. } => Error::Corrupt { what: "object (missing)" },
        other => other,
    }
}
