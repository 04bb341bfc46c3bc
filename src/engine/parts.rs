//! The objects that a long byte string is sealed in, read unit by unit.
//!
//! A unit is a row of frames of one object. All of them but the last hold the same number of bytes, which is that of the
//! whole string. So a unit is found by arithmetic, and fetched and opened by one call each.

use std::ops::Range;
use std::sync::OnceLock;

use crate::crypto::{ObjectRef, Opener, TAG_LEN, Vault};
use crate::error::{Error, Result};

/// Largest part, in stored bytes, unless one unit is longer: small enough that a job notices a cancellation between two of them, and that the few
/// in hand at a time fit into small bounds of memory.
pub(super) const PART_BYTES: usize = 2 << 20;

/// Where a unit, or some frames of one, stands.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) part: u32,
    /// Its first frame in that part.
    pub(super) first: u32,
    /// Where that frame begins, counted from the first of the part.
    pub(super) at: u64,
    /// Bytes of plaintext.
    pub(super) len: u32,
}

/// Objects with what opens them.
pub(super) struct Parts {
    objects: Vec<ObjectRef>,
    /// Of each object, once it was asked for.
    openers: Vec<OnceLock<Opener>>,
    payload: usize,
}

impl Parts {
    /// Objects whose frames hold `payload` bytes of plaintext each, where not told otherwise.
    pub(super) fn new(objects: Vec<ObjectRef>, payload: usize) -> Self {
        let openers = objects.iter().map(|_| OnceLock::new()).collect();
        Self { objects, openers, payload }
    }

    /// Bytes of plaintext of every frame but the last of a unit.
    pub(super) fn payload(&self) -> usize {
        self.payload
    }

    /// Bytes that `len` bytes of plaintext from the border of a frame on take in the store.
    pub(super) fn stored(&self, len: usize) -> usize {
        len + len.div_ceil(self.payload) * TAG_LEN
    }

    /// The frames that bytes `wanted` of the unit at `place` lie in, and where those begin and end in the unit as stored.
    pub(super) fn frames(&self, place: Place, wanted: Range<usize>) -> Result<(Place, Range<usize>)> {
        if wanted.start > wanted.end || wanted.end > place.len as usize {
            return Err(Error::Corrupt { what: "position in a list" });
        }
        let before = wanted.start / self.payload;
        let start = before * self.payload;
        let end = wanted.end.next_multiple_of(self.payload).min(place.len as usize).max(start);
        let at = self.stored(start);
        let frames = Place {
            part: place.part,
            first: place.first + before as u32,
            at: place.at + at as u64,
            len: (end - start) as u32,
        };
        Ok((frames, at..at + self.stored(end - start)))
    }

    /// What is at `place` as it is stored.
    pub(super) fn fetch(&self, vault: &Vault, place: Place) -> Result<Vec<u8>> {
        vault.fetch(&self.objects[place.part as usize], place.at, self.stored(place.len as usize))
    }

    /// Opens what [`Self::fetch`] gave into `out`, which has the length of `place`.
    pub(super) fn open(&self, vault: &Vault, place: Place, stored: &[u8], out: &mut [u8]) -> Result<()> {
        let part = place.part as usize;
        if let Some(opener) = self.openers[part].get() {
            return vault.open_frames(opener, place.first, self.payload, stored, out);
        }
        let opener = vault.opener(&self.objects[part])?;
        vault.open_frames(self.openers[part].get_or_init(|| opener), place.first, self.payload, stored, out)
    }

    /// [`Self::fetch`] and [`Self::open`].
    pub(super) fn read(&self, vault: &Vault, place: Place, out: &mut [u8]) -> Result<()> {
        self.open(vault, place, &self.fetch(vault, place)?, out)
    }
}
