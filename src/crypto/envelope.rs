//! The sealed object: a plaintext header and frames, of one size or cut to their contents (FORMAT.md, "Sealed object").
//!
//! Every object has its own key, derived from the data key, its salt, its kind, its name and the uuid of the index; the
//! nonce of a frame is its number. So no key takes random nonces, nothing is ever counted on disk, and a frame opens only
//! at its own place of its own object of its own index. The header is never trusted: it is rebuilt from the reference,
//! which the manifest authenticates, and enters every frame through its hash.

use zeroize::Zeroizing;

use super::derive::{HASH_LEN, Hmac256, hkdf, key_at, sha256};
use super::keys::Keyset;
use super::object::{FrameSize, HEADER_LEN, MAX_FRAMES, ObjectRef};
use super::provider::{AeadKey, NONCE_LEN, TAG_LEN};
use super::{FORMAT, SUITE};
use crate::buffer::Buffer;
use crate::error::{Error, Result, try_with_capacity};
use crate::store::SpaceId;

const MAGIC: [u8; 4] = *b"CYBO";
const UNFIT: Error = Error::Internal { what: "open: buffers do not fit the frames" };
/// Nonces are frame numbers. (1 is kept for providers that insist on making their own.)
const NONCE_COUNTER: u8 = 0;

/// The only way to encrypt a single message: in place, under a key made for it, with nonce 0. The last bytes of `text`
/// take the tag.
pub(crate) fn seal_once(key: &AeadKey, aad: &[u8], text: &mut [u8]) -> Result<()> {
    const SHORT: Error = Error::Internal { what: "seal: no room for a tag" };
    let (text, tag) = text.split_last_chunk_mut::<TAG_LEN>().ok_or(SHORT)?;
    *tag = key.seal(&[0; NONCE_LEN], aad, text)?;
    Ok(())
}

/// What is derived for one object. Cached by the vault, so that opening a frame costs no derivation.
pub(crate) struct ObjectKey {
    aead: AeadKey,
    digest_key: Zeroizing<[u8; 32]>,
    header: [u8; HEADER_LEN],
    header_hash: [u8; HASH_LEN],
    frames: u32,
    /// The reference it was made from: the same name with anything else different needs another key.
    made_for: ObjectRef,
}

impl ObjectKey {
    /// Derives what `reference` needs; its digest is not looked at.
    pub(crate) fn derive(keys: &Keyset, uuid: &SpaceId, reference: &ObjectRef) -> Result<Self> {
        let mut out = Zeroizing::new([0u8; 96]);
        let fields: [&[u8]; 4] = [b"cyborg1/object", uuid, &[reference.kind as u8], &reference.name.0];
        hkdf(keys.data(reference.epoch)?, &reference.salt, &fields, &mut *out)?;
        let frames = reference.frames();
        let mut header = [0u8; HEADER_LEN];
        header[..4].copy_from_slice(&MAGIC);
        header[4..6].copy_from_slice(&FORMAT.to_le_bytes());
        header[6] = SUITE;
        header[7] = reference.kind as u8;
        header[8] = reference.frame_size as u8;
        header[9] = NONCE_COUNTER;
        header[12..16].copy_from_slice(&reference.epoch.to_le_bytes());
        if reference.frame_size != FrameSize::Cut {
            // Of a cut object the number would tell how long its pieces are.
            header[16..20].copy_from_slice(&frames.to_le_bytes());
        }
        header[20..44].copy_from_slice(&reference.name.0);
        header[44..76].copy_from_slice(&reference.salt);
        header[76..108].copy_from_slice(&out[32..64]);
        Ok(Self {
            aead: AeadKey::new(key_at(&*out, 0)?)?,
            digest_key: Zeroizing::new(*key_at(&*out, 64)?),
            header_hash: sha256(&header),
            header,
            frames,
            made_for: reference.clone(),
        })
    }

    pub(crate) fn is_for(&self, reference: &ObjectRef) -> bool {
        self.made_for == *reference
    }

    /// The stored header.
    pub(crate) fn header(&self) -> &[u8; HEADER_LEN] {
        &self.header
    }

    fn nonce(frame: u32) -> [u8; NONCE_LEN] {
        let mut nonce = [0; NONCE_LEN];
        nonce[8..].copy_from_slice(&frame.to_be_bytes());
        nonce
    }

    fn aad(&self, frame: u32) -> [u8; HASH_LEN + 5] {
        let mut aad = [0; HASH_LEN + 5];
        aad[..HASH_LEN].copy_from_slice(&self.header_hash);
        aad[HASH_LEN..HASH_LEN + 4].copy_from_slice(&frame.to_be_bytes());
        aad[HASH_LEN + 4] = u8::from(frame + 1 == self.frames);
        aad
    }

    /// Seals `pieces`, which one behind the other are the whole plaintext: header and frames, and the digest. A frame takes
    /// as many bytes of plaintext as `payloads` says, one after the other; what is missing in the last is zero.
    pub(crate) fn seal(
        &self,
        pieces: &[&[u8]],
        payloads: impl Iterator<Item = usize>,
    ) -> Result<(Vec<u8>, [u8; HASH_LEN])> {
        // All the room at once: no plaintext is left behind by a buffer that moves while it grows.
        let mut out = try_with_capacity(self.made_for.stored_bytes() as usize, "sealed object")?;
        out.extend_from_slice(&self.header);
        let mut digest = self.digest();
        let mut plain = Pieces { first: &[], rest: pieces };
        for (i, payload) in (0..self.frames).zip(payloads) {
            let from = out.len();
            // Frame by frame, so that it is in the nearest cache when it is written over.
            out.resize(from + payload, 0);
            let text = &mut out[from..];
            let tag = match plain.whole(payload) {
                Some(piece) => self.aead.seal_into(&Self::nonce(i), &self.aad(i), piece, text)?,
                None => {
                    plain.fill(text);
                    self.aead.seal(&Self::nonce(i), &self.aad(i), text)?
                }
            };
            out.extend_from_slice(&tag);
            digest.update(&tag);
        }
        Ok((out, digest.finish()))
    }

    /// Opens consecutive frames from `first` on into `out`: all of `payload` bytes of plaintext, but the last may have fewer.
    pub(crate) fn open(&self, first: u32, payload: usize, sealed: &[u8], out: &mut [u8]) -> Result<()> {
        let frames = out.len().div_ceil(payload.max(1));
        if sealed.len() != out.len() + frames * TAG_LEN || u64::from(first) + frames as u64 > u64::from(self.frames) {
            return Err(UNFIT);
        }
        let sealed = sealed.chunks(payload + TAG_LEN);
        for ((i, frame), piece) in (first..).zip(sealed).zip(out.chunks_mut(payload.max(1))) {
            if !self.aead.open(&Self::nonce(i), &self.aad(i), frame, piece) {
                out.fill(0);
                return Err(Error::Corrupt { what: "object (a frame is not authentic)" });
            }
        }
        Ok(())
    }

    /// Opens one frame into `out`, which is as long as its plaintext without padding.
    pub(crate) fn open_one(&self, frame: u32, sealed: &[u8], out: &mut [u8]) -> Result<()> {
        let payload = self.made_for.frame_size.payload();
        if self.made_for.frame_size == FrameSize::Cut || out.len() == payload {
            return self.open(frame, out.len(), sealed, out);
        }
        let mut padded = Buffer::zeroed(payload, "frame")?;
        let opened = self.open(frame, payload, sealed, padded.bytes_mut());
        // All zero where it did not open.
        out.copy_from_slice(padded.bytes().get(..out.len()).ok_or(UNFIT)?);
        opened
    }

    /// The digest of the object, to be fed the tags in order: HMAC over header and tags.
    pub(crate) fn digest(&self) -> Hmac256 {
        let mut mac = Hmac256::new(&self.digest_key);
        mac.update(&self.header);
        mac
    }

    /// Feeds the tag of a stored frame.
    pub(crate) fn digest_frame(digest: &mut Hmac256, sealed: &[u8]) {
        digest.update(&sealed[sealed.len().saturating_sub(TAG_LEN)..]);
    }
}

/// What is left of a plaintext in pieces.
struct Pieces<'a> {
    first: &'a [u8],
    rest: &'a [&'a [u8]],
}

impl<'a> Pieces<'a> {
    /// The next `len` bytes, if they lie side by side.
    fn whole(&mut self, len: usize) -> Option<&'a [u8]> {
        self.skip();
        let (whole, first) = self.first.split_at_checked(len)?;
        self.first = first;
        Some(whole)
    }

    /// Copies the next bytes to the front of `out`, as many as there are.
    fn fill(&mut self, mut out: &mut [u8]) {
        self.skip();
        while !out.is_empty() && !self.first.is_empty() {
            let n = out.len().min(self.first.len());
            let (to, after) = out.split_at_mut(n);
            to.copy_from_slice(&self.first[..n]);
            (self.first, out) = (&self.first[n..], after);
            self.skip();
        }
    }

    /// Leaves in `first` what is not empty, unless nothing is left.
    fn skip(&mut self) {
        while let (true, [next, rest @ ..]) = (self.first.is_empty(), self.rest) {
            (self.first, self.rest) = (next, rest);
        }
    }
}

/// [`Error::InvalidArgument`] for a plaintext with more frames than an object may have.
pub(crate) fn check_len(len: usize, payload: usize) -> Result<()> {
    if len as u64 > u64::from(MAX_FRAMES) * payload as u64 {
        return Err(Error::invalid("object length", len, "at most 2^24 frames"));
    }
    Ok(())
}
