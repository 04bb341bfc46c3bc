//! Sealed bytes read through the cache, unit by unit.
//!
//! A unit is the grain of caching: an extent of a list, or one frame of payload. In plain
//! mode a unit is opened once and kept; in sealed mode its frames are kept as stored and opened for each use into
//! scratch memory that the reader wipes.

use std::ops::Deref;
use std::sync::Arc;

use arc_swap::Guard;

use super::blob::Blob;
use super::cache::{Cache, Class, Held, Slots};
use super::cut::Cut;
use super::options::CacheMode;
use super::parts::{Parts, Place};
use super::shelf::Memory;
use crate::buffer::{Buffer, LINE, wipe};
use crate::crypto::Vault;
use crate::error::{Error, Result};
use crate::kernels::prefetch;

/// Reusable memory for what a query opens; wiped by [`Scratch::wipe`] and on drop.
#[derive(Default)]
pub(super) struct Scratch {
    buffer: Buffer,
    used: usize,
    /// Bytes opened since the last wipe.
    pub(super) opened: u64,
    hits: u64,
}

impl Scratch {
    fn take(&mut self, len: usize) -> Result<&mut [u8]> {
        if self.buffer.len() < len {
            self.buffer = Buffer::zeroed(len.next_power_of_two(), "scratch")?;
        }
        self.used = self.used.max(len);
        self.opened += len as u64;
        Ok(&mut self.buffer.bytes_mut()[..len])
    }

    /// Units found in the cache since last asked.
    pub(super) fn take_hits(&mut self) -> u64 {
        std::mem::take(&mut self.hits)
    }

    /// Bytes held.
    pub(super) fn capacity(&self) -> usize {
        self.buffer.len()
    }

    /// Overwrites what was opened.
    pub(super) fn wipe(&mut self) {
        wipe(&mut self.buffer.bytes_mut()[..self.used]);
        (self.used, self.opened) = (0, 0);
    }
}

/// Plaintext of a unit, from the cache, from scratch memory or just opened.
pub(super) enum Unit<'a> {
    Cached(Guard<Option<Arc<Held>>>),
    Fresh(Arc<Held>),
    Scratch(&'a [u8]),
}

impl Deref for Unit<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let held = match self {
            Self::Cached(guard) => guard.as_deref(),
            Self::Fresh(held) => Some(&**held),
            Self::Scratch(bytes) => return bytes,
        };
        match held {
            Some(Held::Plain(memory)) => memory.bytes(),
            Some(Held::Sealed(_)) | None => &[],
        }
    }
}

/// Sealed units with their cache slots.
pub(super) struct Region {
    vault: Arc<Vault>,
    parts: Parts,
    units: Units,
    slots: Arc<Slots>,
}

enum Units {
    /// Cut to their contents.
    Cut(Vec<Place>),
    /// The frames of a blob.
    Frames(Blob),
}

impl Region {
    /// Reads `cut` in its units, which have the lengths `lens`.
    pub(super) fn of_units(
        vault: &Arc<Vault>,
        cache: &Arc<Cache>,
        class: Class,
        cut: Cut,
        lens: impl ExactSizeIterator<Item = usize>,
    ) -> Result<Self> {
        let (parts, places) = cut.places(lens)?;
        // Each query reads many codes, but few rows.
        let shelved = match class {
            Class::Codes => {
                places.iter().map(|place| parts.stored(place.len as usize).next_multiple_of(LINE) as u64).sum()
            }
            Class::Rows => 0,
        };
        let slots = Slots::new(cache, class, places.len(), shelved);
        Ok(Self { vault: Arc::clone(vault), parts, units: Units::Cut(places), slots })
    }

    /// Reads `blob` frame by frame.
    pub(super) fn by_frame(vault: &Arc<Vault>, cache: &Arc<Cache>, blob: Blob) -> Self {
        let slots = Slots::new(cache, Class::Rows, blob.frames() as usize, 0);
        Self { vault: Arc::clone(vault), parts: blob.parts(), units: Units::Frames(blob), slots }
    }

    /// The cache slots.
    pub(super) fn slots(&self) -> &Slots {
        &self.slots
    }

    fn place(&self, unit: usize) -> Result<Place> {
        match &self.units {
            Units::Cut(places) => Ok(places[unit]),
            Units::Frames(blob) => blob.place(unit as u64),
        }
    }

    /// The plaintext of `unit`.
    pub(super) fn unit<'s>(&self, unit: usize, scratch: &'s mut Scratch) -> Result<Unit<'s>> {
        if let Some(guard) = self.slots.get(unit) {
            scratch.hits += 1;
            if let Some(Held::Sealed(stored)) = guard.as_deref() {
                let place = self.place(unit)?;
                let out = scratch.take(place.len as usize)?;
                self.parts.open(&self.vault, place, stored.bytes(), out)?;
                return Ok(Unit::Scratch(out));
            }
            return Ok(Unit::Cached(guard));
        }
        self.fill(unit, scratch)
    }

    /// As [`Self::unit`], for a unit that was looked for and not found.
    fn fill<'s>(&self, unit: usize, scratch: &'s mut Scratch) -> Result<Unit<'s>> {
        let place = self.place(unit)?;
        let len = place.len as usize;
        match self.slots.mode() {
            CacheMode::Plain => {
                let mut memory = Memory::zeroed(len, self.slots.shelf())?;
                self.parts.read(&self.vault, place, memory.bytes_mut())?;
                scratch.opened += len as u64;
                let held = Arc::new(Held::Plain(memory));
                self.slots.insert(unit, Arc::clone(&held));
                Ok(Unit::Fresh(held))
            }
            CacheMode::Sealed => {
                let stored = self.parts.fetch(&self.vault, place)?;
                let out = scratch.take(len)?;
                self.parts.open(&self.vault, place, &stored, out)?;
                let stored = Memory::stored(stored, self.slots.shelf());
                self.slots.insert(unit, Arc::new(Held::Sealed(stored)));
                Ok(Unit::Scratch(out))
            }
        }
    }

    /// Bytes `at..at + len` of `unit`. In sealed mode only the frames they lie in are opened, and in both modes only those
    /// are read of a unit that is not cached and shall not be.
    pub(super) fn part<'s>(&self, unit: usize, at: usize, len: usize, scratch: &'s mut Scratch) -> Result<Part<'s>> {
        let frames = || {
            let place = self.place(unit)?;
            self.parts.frames(place, at..at + len).map(|(frames, within)| (place, frames, within))
        };
        let offset = at % self.parts.payload();
        let unit = match self.slots.get(unit) {
            Some(guard) => {
                scratch.hits += 1;
                if let Some(Held::Sealed(stored)) = guard.as_deref() {
                    let (_, frames, within) = frames()?;
                    let out = scratch.take(frames.len as usize)?;
                    self.parts.open(&self.vault, frames, &stored.bytes()[within], out)?;
                    return Ok(Part { unit: Unit::Scratch(out), at: offset, len });
                }
                Unit::Cached(guard)
            }
            None => {
                let (place, frames, _) = frames()?;
                if frames.len < place.len && !self.slots.admits(place.len as usize) {
                    let out = scratch.take(frames.len as usize)?;
                    self.parts.read(&self.vault, frames, out)?;
                    return Ok(Part { unit: Unit::Scratch(out), at: offset, len });
                }
                self.fill(unit, scratch)?
            }
        };
        match unit.len() < at + len {
            true => Err(Error::Corrupt { what: "position in a list" }),
            false => Ok(Part { unit, at, len }),
        }
    }

    /// Asks for the memory that [`Self::prefetch`] of `unit` will look at.
    pub(super) fn prefetch_slot(&self, unit: usize) {
        self.slots.prefetch_slot(unit);
        if let (CacheMode::Sealed, Units::Cut(places)) = (self.slots.mode(), &self.units) {
            prefetch(&raw const places[unit], size_of::<Place>());
        }
    }

    /// Asks for the memory that [`Self::part`] will read, if it is cached.
    pub(super) fn prefetch(&self, unit: usize, at: usize, len: usize) {
        match self.slots.mode() {
            CacheMode::Plain => self.slots.prefetch(unit, at, len),
            CacheMode::Sealed => {
                let frames = self.place(unit).and_then(|place| self.parts.frames(place, at..at + len));
                if let Ok((_, within)) = frames {
                    self.slots.prefetch(unit, within.start, within.len());
                }
            }
        }
    }

    /// Asks for `len` bytes of memory where `unit` begins as it is cached, if it is.
    pub(super) fn prefetch_front(&self, unit: usize, len: usize) {
        self.slots.prefetch(unit, 0, len);
    }

    /// The plaintext of `unit` without filling the cache: for jobs that read everything once.
    pub(super) fn stream<'s>(&self, unit: usize, scratch: &'s mut Scratch) -> Result<Unit<'s>> {
        if self.slots.peek(unit).is_some() {
            return self.unit(unit, scratch);
        }
        let place = self.place(unit)?;
        let out = scratch.take(place.len as usize)?;
        self.parts.read(&self.vault, place, out)?;
        Ok(Unit::Scratch(out))
    }

    /// Appends bytes `at..at + len` of a region whose units are frames.
    pub(super) fn append_range(&self, at: u64, len: usize, scratch: &mut Scratch, out: &mut Vec<u8>) -> Result<()> {
        self.by_frames(at, len, out, |unit, offset, n, out| {
            out.extend_from_slice(&self.part(unit, offset, n, scratch)?);
            Ok(())
        })
    }

    /// Cuts bytes `at..at + len` at frame borders: calls `f(frame, offset in it, bytes, out)`.
    fn by_frames(
        &self,
        mut at: u64,
        len: usize,
        out: &mut Vec<u8>,
        mut f: impl FnMut(usize, usize, usize, &mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let payload = self.parts.payload() as u64;
        let end = at.saturating_add(len as u64);
        if end > self.slots.len() as u64 * payload {
            return Err(Error::Corrupt { what: "payload position" });
        }
        out.try_reserve(len).map_err(|_| Error::NoMemory { what: "payload", needed: len as u64, got: 0 })?;
        while at < end {
            let n = (payload - at % payload).min(end - at);
            f((at / payload) as usize, (at % payload) as usize, n as usize, out)?;
            at += n;
        }
        Ok(())
    }
}

/// Reads a region whose units are frames front to back, opening each frame once and caching none.
pub(super) struct Sequential<'a> {
    region: &'a Region,
    scratch: Scratch,
    frame: Option<usize>,
}

impl<'a> Sequential<'a> {
    /// A reader of `region`.
    pub(super) fn new(region: &'a Region) -> Self {
        Self { region, scratch: Scratch::default(), frame: None }
    }

    /// Appends bytes `at..at + len`.
    pub(super) fn append(&mut self, at: u64, len: usize, out: &mut Vec<u8>) -> Result<()> {
        let Self { region, scratch, frame } = self;
        let payload = region.parts.payload();
        region.by_frames(at, len, out, |unit, offset, n, out| {
            if *frame != Some(unit) {
                *frame = None;
                region.parts.read(&region.vault, region.place(unit)?, scratch.take(payload)?)?;
                *frame = Some(unit);
            }
            out.extend_from_slice(&scratch.buffer.bytes()[offset..offset + n]);
            Ok(())
        })
    }
}

/// Some bytes of a unit.
pub(super) struct Part<'a> {
    unit: Unit<'a>,
    at: usize,
    len: usize,
}

impl Deref for Part<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.unit[self.at..self.at + self.len]
    }
}
