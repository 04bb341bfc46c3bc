//! What the engine sees of a sealed object: its kind, its frame size, and the reference that the manifest carries.

use super::derive::HASH_LEN;
use super::provider::TAG_LEN;
use crate::error::{Error, Result};
use crate::store::Name;

/// What an object holds. The number is part of its key: an object of one kind never opens as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// One committed batch.
    Delta = 1,
    /// Ids of rows.
    Ids = 2,
    /// Full-precision vectors.
    Vectors = 3,
    /// Metadata and contents.
    Payload = 4,
    /// Codes of lists.
    Codes = 5,
    /// Directory of a generation.
    Directory = 6,
    /// Rows that are gone.
    Tombstones = 7,
    /// A trained model.
    Model = 8,
    /// A part of a manifest that is too long for the head.
    Part = 9,
}

impl Kind {
    /// The kind of a stored number.
    pub(crate) fn from_number(n: u8) -> Result<Self> {
        Ok(match n {
            1 => Self::Delta,
            2 => Self::Ids,
            3 => Self::Vectors,
            4 => Self::Payload,
            5 => Self::Codes,
            6 => Self::Directory,
            7 => Self::Tombstones,
            8 => Self::Model,
            9 => Self::Part,
            _ => return Err(Error::Corrupt { what: "object reference (kind)" }),
        })
    }
}

/// Size of the frames of an object: the unit of decryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameSize {
    /// 4096 bytes stored.
    K4 = 0,
    /// 16384 bytes stored.
    K16 = 1,
    /// 65536 bytes stored.
    K64 = 2,
    /// As long as their contents: for what is read piece by piece, by a reader who knows how long the pieces are. The
    /// lengths stand in the object, in a frame before the others. (3 was a size before the first release.)
    Cut = 4,
}

impl FrameSize {
    /// Bytes of a frame in the store; of a piece of a cut object, most bytes.
    #[must_use]
    pub const fn stored(self) -> usize {
        match self {
            Self::K4 => 4096,
            Self::K16 => 16_384,
            Self::K64 | Self::Cut => 65_536,
        }
    }

    /// Bytes of plaintext in a frame: 16 fewer, the tag. Of a piece of a cut object, most bytes.
    #[must_use]
    pub const fn payload(self) -> usize {
        self.stored() - TAG_LEN
    }

    /// The size of a stored number.
    pub(crate) fn from_number(n: u8) -> Result<Self> {
        Ok(match n {
            0 => Self::K4,
            1 => Self::K16,
            2 => Self::K64,
            4 => Self::Cut,
            _ => return Err(Error::Corrupt { what: "object reference (frame size)" }),
        })
    }
}

/// Bytes of a header.
pub(crate) const HEADER_LEN: usize = 128;
/// Most frames of an object.
pub(crate) const MAX_FRAMES: u32 = 1 << 24;
/// Bytes that tell the length of a frame of a cut object.
pub(crate) const LENGTH: usize = 4;

/// Everything needed to find and open an object. Kept in the manifest, so it is itself authenticated: a stored object
/// that differs in anything does not open.
#[derive(Clone, PartialEq, Eq)]
pub struct ObjectRef {
    pub(crate) name: Name,
    pub(crate) kind: Kind,
    pub(crate) frame_size: FrameSize,
    pub(crate) epoch: u32,
    /// Pieces of a cut object, in as many frames; 0 of others.
    pub(crate) pieces: u16,
    pub(crate) payload_len: u64,
    pub(crate) salt: [u8; HASH_LEN],
    pub(crate) digest: [u8; HASH_LEN],
}

impl ObjectRef {
    /// Most pieces of a cut object.
    pub const MAX_PIECES: usize = u16::MAX as usize;

    /// Bytes that [`write`](Self::write) adds.
    pub const ENCODED_LEN: usize = 104;

    /// Name in the store.
    #[must_use]
    pub fn name(&self) -> Name {
        self.name
    }

    /// What it holds.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Size of its frames.
    #[must_use]
    pub fn frame_size(&self) -> FrameSize {
        self.frame_size
    }

    /// Bytes of plaintext, without padding.
    #[must_use]
    pub fn payload_len(&self) -> u64 {
        self.payload_len
    }

    /// Number of frames, at least 1; of a cut object, with that of the lengths.
    #[must_use]
    pub fn frames(&self) -> u32 {
        match self.frame_size {
            FrameSize::Cut => u32::from(self.pieces) + 1,
            size => frames_for(self.payload_len, size),
        }
    }

    /// Pieces of a cut object; 0 of others.
    #[must_use]
    pub fn pieces(&self) -> usize {
        self.pieces.into()
    }

    /// Bytes of the frame that tells the lengths of a cut object's pieces; 0 of others.
    pub(crate) fn table_bytes(&self) -> usize {
        match self.frame_size {
            FrameSize::Cut => self.pieces() * LENGTH + TAG_LEN,
            _ => 0,
        }
    }

    /// Bytes it takes in the store.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        let frames = match self.frame_size {
            FrameSize::Cut => (self.table_bytes() + self.pieces() * TAG_LEN) as u64 + self.payload_len,
            size => u64::from(self.frames()) * size.stored() as u64,
        };
        HEADER_LEN as u64 + frames
    }

    /// Bytes of plaintext in `frames` frames from `first` on, or the error for frames it does not have. Not of cut objects.
    pub fn plain_len(&self, first: u32, frames: u32) -> Result<usize> {
        let whole = self.frame_size != FrameSize::Cut;
        let end = first.checked_add(frames).filter(|&end| whole && end <= self.frames());
        let end = end.ok_or(Error::Internal { what: "frames outside the object" })?;
        let payload = self.frame_size.payload() as u64;
        let end = (u64::from(end) * payload).min(self.payload_len);
        Ok((end - (u64::from(first) * payload).min(end)) as usize)
    }

    /// Appends the [`ENCODED_LEN`](Self::ENCODED_LEN) bytes of a manifest entry.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.name.0);
        out.extend_from_slice(&[self.kind as u8, self.frame_size as u8]);
        out.extend_from_slice(&self.pieces.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.payload_len.to_le_bytes());
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&self.digest);
    }

    /// Takes a manifest entry off the front of `bytes`.
    pub fn read(bytes: &mut &[u8]) -> Result<Self> {
        const DAMAGED: Error = Error::Corrupt { what: "object reference" };
        let (entry, rest) = bytes.split_first_chunk::<{ Self::ENCODED_LEN }>().ok_or(DAMAGED)?;
        let payload_len = u64::from_le_bytes(part(entry, 32));
        let frame_size = FrameSize::from_number(entry[25])?;
        let pieces = u16::from_le_bytes(part(entry, 26));
        let most = match frame_size {
            FrameSize::Cut if pieces > 0 => u32::from(pieces),
            FrameSize::K4 | FrameSize::K16 | FrameSize::K64 if pieces == 0 => MAX_FRAMES,
            _ => return Err(DAMAGED),
        };
        if payload_len > u64::from(most) * frame_size.payload() as u64 || payload_len < u64::from(pieces) {
            return Err(DAMAGED);
        }
        let read = Self {
            name: Name(part(entry, 0)),
            kind: Kind::from_number(entry[24])?,
            frame_size,
            epoch: u32::from_le_bytes(part(entry, 28)),
            pieces,
            payload_len,
            salt: part(entry, 40),
            digest: part(entry, 72),
        };
        *bytes = rest;
        Ok(read)
    }
}

impl std::fmt::Debug for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?}, {} bytes", self.kind, self.name, self.payload_len)
    }
}

/// Frames needed for `payload_len` bytes. The caller has checked it against [`MAX_FRAMES`].
pub(crate) fn frames_for(payload_len: u64, frame_size: FrameSize) -> u32 {
    payload_len.div_ceil(frame_size.payload() as u64).max(1) as u32
}

/// `N` bytes at `at`; the caller has checked the length.
pub(crate) fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}
