//! A byte string in units that are sealed without padding: the codes, or the vectors, of the extents of a run.
//!
//! A unit is cut into frames of `payload` bytes, the last of what remains, and lies in one object. A query that reads a list
//! opens its bytes and no others. Where a unit stands follows from the lengths of all, which the reader knows; so nothing
//! but the objects is written down. An object ends with a piece of zeroes that no unit has, so that its size tells of units
//! no more than a number of steps of 4 KiB: exact sizes of several objects would give the length of a vector.

use super::blob::grow;
use super::drafts::Drafts;
use super::parts::{PART_BYTES, Parts, Place};
use super::wire::{Put, Reader};
use crate::buffer::Wiped;
use crate::crypto::{FrameSize, Kind, LENGTH, ObjectRef, TAG_LEN};
use crate::error::{Error, Result, try_with_capacity};

/// The objects of a byte string that is cut into units.
pub(super) struct Cut {
    objects: Vec<ObjectRef>,
    payload: u32,
}

/// Sizes of objects are so many bytes apart.
const STEP: usize = 4096;

/// How full a part is. Reader and writer go by it.
#[derive(Default)]
struct Filled {
    frames: usize,
    stored: usize,
}

impl Filled {
    /// Adds a unit, unless a new part has to begin with it.
    fn takes(&mut self, unit: usize, payload: usize) -> bool {
        let frames = self.frames + unit.div_ceil(payload);
        let stored = self.stored + unit + unit.div_ceil(payload) * TAG_LEN;
        let fits = self.frames == 0 || (frames < ObjectRef::MAX_PIECES && stored <= PART_BYTES);
        if fits {
            (self.frames, self.stored) = (frames, stored);
        }
        fits
    }

    /// Bytes of the last piece, 1 to [`STEP`].
    fn padding(&self) -> usize {
        STEP - (self.stored + self.frames * LENGTH) % STEP
    }
}

impl Cut {
    /// The objects it is made of.
    pub(super) fn objects(&self) -> &[ObjectRef] {
        &self.objects
    }

    /// Bytes of plaintext of every frame but the last of a unit.
    pub(super) fn payload(&self) -> usize {
        self.payload as usize
    }

    /// Where units of the lengths `lens` stand, with the parts.
    pub(super) fn places(self, lens: impl ExactSizeIterator<Item = usize>) -> Result<(Parts, Vec<Place>)> {
        const DAMAGED: Error = Error::Corrupt { what: "directory" };
        let payload = self.payload as usize;
        let mut places = try_with_capacity(lens.len(), "directory")?;
        let (mut part, mut filled, mut bytes) = (0, Filled::default(), 0u64);
        let ends = |part: usize, filled: &Filled, bytes: u64| {
            let fits = |object: &&ObjectRef| {
                object.pieces() == filled.frames + 1 && object.payload_len() == bytes + filled.padding() as u64
            };
            self.objects.get(part).filter(fits).ok_or(DAMAGED)
        };
        for len in lens {
            let (mut first, mut at) = (filled.frames, filled.stored);
            if !filled.takes(len, payload) {
                ends(part, &filled, bytes)?;
                (part, filled, bytes, first, at) = (part + 1, Filled::default(), 0, 0, 0);
                filled.takes(len, payload);
            }
            bytes += len as u64;
            let table = self.objects.get(part).ok_or(DAMAGED)?.table_bytes();
            let at = (table + at) as u64;
            places.push(Place { part: part as u32, first: 1 + first as u32, at, len: len as u32 });
        }
        let used = if places.is_empty() { 0 } else { ends(part, &filled, bytes).map(|_| part + 1)? };
        if used != self.objects.len() {
            return Err(DAMAGED);
        }
        Ok((Parts::new(self.objects, payload), places))
    }

    /// Appends a description for a directory.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.put_u32(self.payload);
        out.put_u32(self.objects.len() as u32);
        self.objects.iter().for_each(|p| p.write(out));
    }

    /// Reads what [`Self::write`] wrote.
    pub(super) fn describe(r: &mut Reader<'_>) -> Result<Self> {
        let payload = r.u32()?;
        let n = r.count(ObjectRef::ENCODED_LEN)?;
        let mut objects = try_with_capacity(n, "directory")?;
        for _ in 0..n {
            objects.push(ObjectRef::read(r.rest())?);
        }
        let sound = (1..=FrameSize::Cut.payload()).contains(&(payload as usize));
        if sound && objects.iter().all(|o| o.frame_size() == FrameSize::Cut) {
            return Ok(Self { objects, payload });
        }
        Err(Error::Corrupt { what: "directory" })
    }
}

/// Writes units one after the other. Holds one part of plaintext at a time and wipes it.
pub(super) struct CutWriter<'a> {
    drafts: &'a Drafts,
    kind: Kind,
    payload: usize,
    pending: Wiped,
    /// Lengths of the frames of what is pending.
    lens: Vec<u32>,
    filled: Filled,
    objects: Vec<ObjectRef>,
}

impl<'a> CutWriter<'a> {
    /// A writer of objects of `kind` in frames of at most `payload` bytes of plaintext.
    pub(super) fn new(drafts: &'a Drafts, kind: Kind, payload: usize) -> Self {
        let payload = payload.clamp(1, FrameSize::Cut.payload());
        let (pending, lens, filled, objects) = Default::default();
        Self { drafts, kind, payload, pending, lens, filled, objects }
    }

    /// Appends a unit.
    pub(super) fn push(&mut self, unit: &[u8]) -> Result<()> {
        if !self.filled.takes(unit.len(), self.payload) {
            self.seal()?;
            self.filled.takes(unit.len(), self.payload);
        }
        grow(&mut self.pending, unit.len(), PART_BYTES)?;
        self.pending.extend_from_slice(unit);
        self.lens.extend(unit.chunks(self.payload).map(|frame| frame.len() as u32));
        Ok(())
    }

    fn seal(&mut self) -> Result<()> {
        let padding = self.filled.padding();
        grow(&mut self.pending, padding, PART_BYTES)?;
        self.pending.extend_from_slice(&[0; STEP][..padding]);
        self.lens.push(padding as u32);
        self.objects.push(self.drafts.put_cut(self.kind, &self.pending, &self.lens)?);
        self.pending.wipe();
        self.lens.clear();
        self.filled = Filled::default();
        Ok(())
    }

    /// Ends it.
    pub(super) fn finish(mut self) -> Result<Cut> {
        if !self.lens.is_empty() {
            self.seal()?;
        }
        Ok(Cut { objects: std::mem::take(&mut self.objects), payload: self.payload as u32 })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::crypto::{Backend, Vault};
    use crate::rng::Rng;

    /// Writes `units`, and reads the description back.
    fn written(drafts: &Drafts, payload: usize, units: &[Vec<u8>]) -> Cut {
        let mut writer = CutWriter::new(drafts, Kind::Codes, payload);
        units.iter().for_each(|unit| writer.push(unit).unwrap());
        let mut bytes = Vec::new();
        writer.finish().unwrap().write(&mut bytes);
        let mut r = Reader::new(&bytes, "test");
        let cut = Cut::describe(&mut r).unwrap();
        r.end().unwrap();
        cut
    }

    fn again(cut: &Cut) -> Cut {
        Cut { objects: cut.objects.clone(), payload: cut.payload }
    }

    #[test]
    fn every_range_of_every_unit_is_found_in_whatever_part_it_lies() {
        let backend = Backend::open("memory:", false).unwrap();
        let vault = Arc::new(Vault::create(&backend, "cut", &[7; 32], b"").unwrap());
        let drafts = Drafts::new(&vault, 1);
        let mut rng = Rng::new(3);
        // Frames of one byte meet the limit of pieces, long ones that of bytes; one unit is longer than a part.
        for (payload, n, longest) in
            [(1, 40, 5000), (800, 300, 60_000), (16_368, 200, 60_000), (65_520, 3, PART_BYTES * 2)]
        {
            let units: Vec<Vec<u8>> =
                (0..n).map(|_| (0..1 + rng.below(longest)).map(|_| rng.next_u64() as u8).collect()).collect();
            let cut = written(&drafts, payload, &units);
            for waiting in drafts.take_waiting() {
                vault.put(&waiting).unwrap();
            }
            cut.objects().iter().for_each(|object| vault.verify(object).unwrap());
            let sizes: Vec<u64> = cut.objects().iter().map(|object| object.stored_bytes() % STEP as u64).collect();
            assert!(sizes.windows(2).all(|w| w[0] == w[1]), "sizes tell more than steps: {sizes:?}");
            assert!(cut.objects().len() > 1);
            let lens = || units.iter().map(Vec::len);
            let (parts, places) = again(&cut).places(lens()).unwrap();
            for (unit, &place) in units.iter().zip(&places) {
                let mut out = vec![0; unit.len()];
                let stored = parts.fetch(&vault, place).unwrap();
                parts.open(&vault, place, &stored, &mut out).unwrap();
                assert!(out == *unit);
                let start = rng.below(unit.len());
                let end = (start + rng.below(2000)).min(unit.len());
                let (frames, within) = parts.frames(place, start..end).unwrap();
                let mut some = vec![0; frames.len as usize];
                parts.open(&vault, frames, &stored[within], &mut some).unwrap();
                let mut read = vec![0; frames.len as usize];
                parts.read(&vault, frames, &mut read).unwrap();
                assert!(read == some && some[start % payload..][..end - start] == unit[start..end]);
                assert!(parts.frames(place, start..unit.len() + 1).is_err());
            }
            // Lengths of too many or too few units are found before anything is read.
            let wrong = |lens: Vec<usize>| matches!(again(&cut).places(lens.into_iter()), Err(Error::Corrupt { .. }));
            assert!(wrong(lens().skip(1).collect()) && wrong(lens().chain([1]).collect()) && wrong(vec![]));
            // One byte more may vanish in the padding; then the unit does not open.
            let mut longer: Vec<usize> = lens().collect();
            longer[n / 2] += 1;
            if let Ok((parts, places)) = again(&cut).places(longer.iter().copied()) {
                let mut out = vec![0; longer[n / 2]];
                assert!(matches!(parts.read(&vault, places[n / 2], &mut out), Err(Error::Corrupt { .. })));
            }
        }
        for payload in [0, 1, 65_520, 65_521, u32::MAX] {
            let read = Cut::describe(&mut Reader::new(&[payload.to_le_bytes(), [0; 4]].concat(), "test"));
            assert_eq!(read.is_ok(), (1..=65_520).contains(&payload));
        }
        let mut frames = vec![100, 0, 0, 0, 1, 0, 0, 0];
        drafts.put(Kind::Codes, FrameSize::K4, &[1]).unwrap().write(&mut frames);
        assert!(Cut::describe(&mut Reader::new(&frames, "test")).is_err(), "an object that is not cut");
        let none = written(&drafts, 100, &[]);
        assert!(none.objects().is_empty() && again(&none).places([].into_iter()).unwrap().1.is_empty());
        assert!(none.places([1].into_iter()).is_err());
    }
}
