//! A byte string of any length, sealed as a row of objects of at most 2 MiB in frames of one size.
//!
//! Frame `f` lies in part `f / part_frames`. Every part but the last has `part_frames` frames, so no table is needed; a blob
//! that is one object of another maker is one part, however long. What is stored together is written through a
//! [`BlobWriter`], which holds one part of plaintext at a time and wipes it.

use super::drafts::Drafts;
use super::parts::{PART_BYTES, Parts, Place};
use super::wire::{Put, Reader};
use crate::buffer::Wiped;
use crate::crypto::{FrameSize, Kind, ObjectRef, Vault};
use crate::error::{Error, Result, try_with_capacity};

/// A sealed byte string. Its length is a whole number of frames.
#[derive(Clone)]
pub(super) struct Blob {
    parts: Vec<ObjectRef>,
    frame: FrameSize,
    frames: u64,
    /// Frames of every part but the last.
    per_part: u64,
}

fn part_frames(frame: FrameSize) -> u64 {
    (PART_BYTES / (frame.stored())) as u64
}

impl Blob {
    /// A blob of one object.
    pub(super) fn single(object: ObjectRef) -> Self {
        let (frame, frames) = (object.frame_size(), u64::from(object.frames()));
        Self { parts: vec![object], frame, frames, per_part: frames }
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

    /// Its objects with what opens them.
    pub(super) fn parts(&self) -> Parts {
        Parts::new(self.parts.clone(), self.frame.payload())
    }

    /// Where frame `f` stands.
    pub(super) fn place(&self, f: u64) -> Result<Place> {
        if f >= self.frames {
            return Err(Error::Corrupt { what: "frame number" });
        }
        let first = f % self.per_part;
        let at = first * self.frame.stored() as u64;
        Ok(Place { part: (f / self.per_part) as u32, first: first as u32, at, len: self.frame.payload() as u32 })
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
        let n = r.count(ObjectRef::ENCODED_LEN)?;
        if frame == FrameSize::Cut || n as u64 != frames.div_ceil(part_frames(frame)) {
            return Err(Error::Corrupt { what: "directory" });
        }
        let mut parts = try_with_capacity(n, "directory")?;
        for _ in 0..n {
            parts.push(ObjectRef::read(r.rest())?);
        }
        if parts.iter().any(|part| part.frame_size() != frame)
            || parts.iter().map(|part| u64::from(part.frames())).sum::<u64>() != frames
        {
            return Err(Error::Corrupt { what: "directory" });
        }
        Ok(Self { parts, frame, frames, per_part: part_frames(frame) })
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
            grow(&mut self.pending, n, part)?;
            self.pending.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            if self.pending.len() == part {
                self.seal()?;
            }
        }
        Ok(())
    }

    /// Fills the frame begun with zeroes.
    fn align(&mut self) -> Result<()> {
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
        Ok(Blob { parts: std::mem::take(&mut self.parts), frame: self.frame, frames: self.frames, per_part })
    }
}

/// Makes room for `n` bytes more, by doubling up to `most`, without leaving plaintext behind in the old place.
pub(super) fn grow(pending: &mut Wiped, n: usize, most: usize) -> Result<()> {
    if pending.capacity() - pending.len() < n {
        let needed = pending.len() + n;
        let mut grown = Wiped::new(try_with_capacity((needed.max(64 << 10) * 2).min(most).max(needed), "object")?);
        grown.extend_from_slice(pending);
        *pending = grown;
    }
    Ok(())
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
