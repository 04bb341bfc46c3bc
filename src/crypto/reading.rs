//! The reading half of the vault: ranges of frames, whole objects, verification.

use std::sync::Arc;

use subtle::ConstantTimeEq;

use super::envelope::ObjectKey;
use super::object::{HEADER_LEN, ObjectRef};
use super::vault::Vault;
use crate::buffer::Buffer;
use crate::error::{Error, Result, try_zeroed};

/// Object keys that are kept; a derivation costs about 2 us.
const CACHED_KEYS: usize = 1 << 14;
/// The derived key of one object, wiped with the last clone. Of use to the vault alone, which looks first whether this is the
/// process that may.
#[derive(Clone)]
pub struct Opener(Arc<ObjectKey>);

/// Frames that are read at a time when a whole object is read.
const PIECE: usize = 1 << 20;

impl Vault {
    /// Reads and opens `frames` frames from `first` on into `out`, whose length is
    /// [`plain_len(first, frames)`](ObjectRef::plain_len).
    pub fn read(&self, reference: &ObjectRef, first: u32, frames: u32, out: &mut [u8]) -> Result<()> {
        let sealed = self.fetch(reference, first, frames)?;
        self.open_frames(reference, first, &sealed, out)
    }

    /// Reads a whole object and checks its digest too.
    pub fn read_all(&self, reference: &ObjectRef) -> Result<Buffer> {
        let len = usize::try_from(reference.payload_len).map_err(|_| Error::Corrupt { what: "object (length)" })?;
        let mut out = Buffer::zeroed(len, "object")?;
        let mut rest = out.bytes_mut();
        self.walk(reference, |key, first, sealed, plain_len| {
            let (piece, after) = std::mem::take(&mut rest).split_at_mut(plain_len);
            rest = after;
            key.open(first, sealed, piece)
        })?;
        Ok(out)
    }

    /// Reads a whole object and checks every byte of it.
    pub fn verify(&self, reference: &ObjectRef) -> Result<()> {
        let mut scratch = Buffer::zeroed(reference.payload_len.min(PIECE as u64) as usize, "scratch")?;
        self.walk(reference, |key, first, sealed, plain_len| {
            key.open(first, sealed, &mut scratch.bytes_mut()[..plain_len])
        })
    }

    /// Reads an object in pieces of whole frames, hands each to `each` (key, first frame, sealed bytes, length of their
    /// plaintext), and checks length, header and digest.
    fn walk(
        &self,
        reference: &ObjectRef,
        mut each: impl FnMut(&ObjectKey, u32, &[u8], usize) -> Result<()>,
    ) -> Result<()> {
        const DAMAGED: Error = Error::Corrupt { what: "object" };
        let key = self.key(reference)?;
        let stored = reference.frame_size.stored();
        if self.store.len(self.id, reference.name).map_err(lost)? != reference.stored_bytes() {
            return Err(Error::Corrupt { what: "object (length)" });
        }
        let mut header = [0u8; HEADER_LEN];
        self.store.get(self.id, reference.name, 0, &mut header).map_err(lost)?;
        if header != *key.header() {
            return Err(Error::Corrupt { what: "object (header)" });
        }
        let mut digest = key.digest();
        let step = (PIECE / stored) as u32;
        let mut first = 0;
        while first < reference.frames() {
            let frames = step.min(reference.frames() - first);
            let sealed = self.fetch(reference, first, frames)?;
            each(&key, first, &sealed, reference.plain_len(first, frames)?)?;
            key.digest_frames(&mut digest, &sealed);
            first += frames;
        }
        if bool::from(digest.finish().ct_eq(&reference.digest)) { Ok(()) } else { Err(DAMAGED) }
    }

    /// Reads frames as they are stored, for a cache of ciphertext.
    pub fn fetch(&self, reference: &ObjectRef, first: u32, frames: u32) -> Result<Vec<u8>> {
        self.keys.check_pid()?;
        reference.plain_len(first, frames)?;
        let stored = reference.frame_size.stored();
        let mut sealed = try_zeroed(frames as usize * stored, "sealed frames")?;
        let offset = HEADER_LEN as u64 + u64::from(first) * stored as u64;
        self.store.get(self.id, reference.name, offset, &mut sealed).map_err(lost)?;
        Ok(sealed)
    }

    /// Opens frames that [`fetch`](Self::fetch) gave. `out` as in [`read`](Self::read); all zero after an error.
    pub fn open_frames(&self, reference: &ObjectRef, first: u32, sealed: &[u8], out: &mut [u8]) -> Result<()> {
        self.key(reference)?.open(first, sealed, out)
    }

    /// What [`open_with`](Self::open_with) needs, for who opens frames of one object again and again.
    pub fn opener(&self, reference: &ObjectRef) -> Result<Opener> {
        Ok(Opener(self.key(reference)?))
    }

    /// As [`open_frames`](Self::open_frames), without looking for the key of the object.
    pub fn open_with(&self, opener: &Opener, first: u32, sealed: &[u8], out: &mut [u8]) -> Result<()> {
        self.keys.check()?;
        opener.0.open(first, sealed, out)
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
