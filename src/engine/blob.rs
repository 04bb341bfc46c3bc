//! A byte string of any length, sealed as a row of objects of at most 2 MiB.
//!
//! A blob is addressed by frame: frame `f` lies in part `f / part_frames`. Every part but the last has `part_frames`
//! frames, so no table is needed; a blob that is one object of another maker is one part, however long. What is stored together is written through a [`BlobWriter`], which holds one part
//! of plaintext at a time and wipes it. Parts are small enough that a job notices a cancellation between two of them, and
//! that the few of them in hand at a time fit into small bounds of memory.

use std::sync::OnceLock;

use super::drafts::Drafts;
use super::wire::{Put, Reader};
use crate::buffer::Wiped;
use crate::crypto::{FrameSize, Kind, ObjectRef, Opener, Vault};
use crate::error::{Error, Result, try_with_capacity};

/// Largest part of a blob, in stored bytes.
pub(super) const PART_BYTES: usize = 2 << 20;

/// A sealed byte string. Its length is a whole number of frames.
#[derive(Clone)]
pub(super) struct Blob {
    parts: Vec<ObjectRef>,
    /// What opens each part, once it was asked for.
    openers: Vec<OnceLock<Opener>>,
    frame: FrameSize,
    frames: u64,
    /// Frames of every part but the last.
    per_part: u64,
}

fn part_frames(frame: FrameSize) -> u64 {
    (PART_BYTES / (frame.stored())) as u64
}

impl Blob {
    fn new(parts: Vec<ObjectRef>, frame: FrameSize, frames: u64, per_part: u64) -> Self {
        let openers = parts.iter().map(|_| OnceLock::new()).collect();
        Self { parts, openers, frame, frames, per_part }
    }

    /// A blob of one object.
    pub(super) fn single(object: ObjectRef) -> Self {
        let (frame, frames) = (object.frame_size(), u64::from(object.frames()));
        Self::new(vec![object], frame, frames, frames)
    }

    /// Plaintext bytes of a frame.
    pub(super) fn frame_payload(&self) -> usize {
        self.frame.payload()
    }

    /// Number of frames.
    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    /// The objects it is made of.
    pub(super) fn objects(&self) -> &[ObjectRef] {
        &self.parts
    }

    /// Cuts `first..first + count` where parts meet: calls `f(number of the part, first frame in it, frames, frames before)`.
    fn pieces(&self, first: u64, count: u64, mut f: impl FnMut(usize, u32, u32, u64) -> Result<()>) -> Result<()> {
        if first.checked_add(count).is_none_or(|end| end > self.frames) {
            return Err(Error::Corrupt { what: "frame number" });
        }
        let mut done = 0;
        while done < count {
            let (part, at) = ((first + done) / self.per_part, (first + done) % self.per_part);
            let n = (self.per_part - at).min(count - done);
            f(part as usize, at as u32, n as u32, done)?;
            done += n;
        }
        Ok(())
    }

    /// Opens frames `first..` into `out`, whose length is a whole number of frames.
    pub(super) fn read(&self, vault: &Vault, first: u64, out: &mut [u8]) -> Result<()> {
        let payload = self.frame.payload();
        debug_assert_eq!(out.len() % payload, 0);
        self.pieces(first, (out.len() / payload) as u64, |part, at, n, done| {
            let start = done as usize * payload;
            vault.read(&self.parts[part], at, n, &mut out[start..start + n as usize * payload])
        })
    }

    /// Frames `first..first + count` as they are stored.
    pub(super) fn fetch(&self, vault: &Vault, first: u64, count: u64) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        self.pieces(first, count, |part, at, n, _| {
            let piece = vault.fetch(&self.parts[part], at, n)?;
            if all.is_empty() {
                all = piece;
            } else {
                all.extend_from_slice(&piece);
            }
            Ok(())
        })?;
        Ok(all)
    }

    /// Opens stored frames `first..` into `out`, whose length is a whole number of frames.
    pub(super) fn open(&self, vault: &Vault, first: u64, stored: &[u8], out: &mut [u8]) -> Result<()> {
        let payload = self.frame.payload();
        self.pieces(first, (out.len() / payload) as u64, |part, at, n, done| {
            let (start, n) = (done as usize, n as usize);
            let stored = &stored[start * self.frame.stored()..(start + n) * self.frame.stored()];
            let out = &mut out[start * payload..(start + n) * payload];
            if let Some(opener) = self.openers[part].get() {
                return vault.open_with(opener, at, stored, out);
            }
            let opener = vault.opener(&self.parts[part])?;
            vault.open_with(self.openers[part].get_or_init(|| opener), at, stored, out)
        })
    }

    /// All of it, for objects that are read once at opening.
    pub(super) fn read_all(&self, vault: &Vault) -> Result<Wiped> {
        let mut out = Wiped::new(try_with_capacity(self.frames as usize * self.frame.payload(), "object")?);
        for part in &self.parts {
            out.extend_from_slice(vault.read_all(part)?.bytes());
        }
        Ok(out)
    }

    /// Appends a description for a directory.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.put_u8(self.frame as u8);
        out.put_u64(self.frames);
        out.put_u32(self.parts.len() as u32);
        self.parts.iter().for_each(|p| p.write(out));
    }

    /// Reads what [`Self::write`] wrote.
    pub(super) fn describe(r: &mut Reader<'_>) -> Result<Self> {
        let frame = FrameSize::from_number(r.u8()?)?;
        let frames = r.u64()?;
        let n = r.count(32)?;
        if n as u64 != frames.div_ceil(part_frames(frame)) {
            return Err(Error::Corrupt { what: "directory" });
        }
        let mut parts = try_with_capacity(n, "directory")?;
        for _ in 0..n {
            parts.push(ObjectRef::read(r.rest())?);
        }
        Ok(Self::new(parts, frame, frames, part_frames(frame)))
    }
}

/// Writes a blob front to back.
pub(super) struct BlobWriter<'a> {
    drafts: &'a Drafts,
    kind: Kind,
    frame: FrameSize,
    pending: Wiped,
    parts: Vec<ObjectRef>,
    frames: u64,
}

impl<'a> BlobWriter<'a> {
    /// A writer of objects of `kind` in frames of `frame`.
    pub(super) fn new(drafts: &'a Drafts, kind: Kind, frame: FrameSize) -> Self {
        Self { drafts, kind, frame, pending: Wiped::default(), parts: Vec::new(), frames: 0 }
    }

    /// Appends bytes.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        let part = part_frames(self.frame) as usize * self.frame.payload();
        while !bytes.is_empty() {
            let n = bytes.len().min(part - self.pending.len());
            self.reserve(n, part)?;
            self.pending.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            if self.pending.len() == part {
                self.seal()?;
            }
        }
        Ok(())
    }

    /// Grows by doubling without leaving plaintext behind in the old place.
    fn reserve(&mut self, n: usize, part: usize) -> Result<()> {
        if self.pending.capacity() - self.pending.len() < n {
            let room = ((self.pending.len() + n).max(64 << 10) * 2).min(part);
            let mut grown = Wiped::new(try_with_capacity(room, "object")?);
            grown.extend_from_slice(&self.pending);
            self.pending = grown;
        }
        Ok(())
    }

    /// Fills the frame begun with zeroes, so that what follows starts on a frame border.
    pub(super) fn align(&mut self) -> Result<()> {
        let over = self.pending.len() % self.frame.payload();
        if over == 0 {
            return Ok(());
        }
        let zeroes = vec![0; self.frame.payload() - over];
        self.push(&zeroes)
    }

    fn seal(&mut self) -> Result<()> {
        self.parts.push(self.drafts.put(self.kind, self.frame, &self.pending)?);
        self.frames += (self.pending.len() / self.frame.payload()) as u64;
        self.pending.wipe();
        Ok(())
    }

    /// Ends the blob; an empty one gets one frame of zeroes.
    pub(super) fn finish(mut self) -> Result<Blob> {
        if self.parts.is_empty() && self.pending.is_empty() {
            self.push(&[0])?;
        }
        self.align()?;
        if !self.pending.is_empty() {
            self.seal()?;
        }
        let per_part = part_frames(self.frame);
        Ok(Blob::new(std::mem::take(&mut self.parts), self.frame, self.frames, per_part))
    }
}

/// The frame size for data of `len` bytes that is read as a whole: small for small things, since the last frame is
/// padded.
pub(super) fn frame_for(len: usize) -> FrameSize {
    match len {
        0..0x1_0000 => FrameSize::K4,
        0x1_0000..0x10_0000 => FrameSize::K16,
        _ => FrameSize::K64,
    }
}
