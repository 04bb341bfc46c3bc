//! The writing half of a rebuild: from rows in their new order to the sealed objects of a run.
//!
//! Codes and vectors go extent by extent, each cut to its length; payload stays in the old order behind an index in the
//! new one, so it is read front to back once.

use std::ops::Range;

use zeroize::Zeroizing;

use super::blob::{Blob, BlobWriter, frame_for};
use super::calibrate::Calibrator;
use super::cut::CutWriter;
use super::drafts::Drafts;
use super::extents::{Extents, rows_per_extent};
use super::ids::IdColumn;
use super::payload::{Entry, PayloadReader};
use super::rebuild::{DROPPED, Rebuild};
use super::run::{Run, RunParts, codes_len};
use crate::buffer::Buffer;
use crate::crypto::{FrameSize, Kind};
use crate::error::{Result, try_zeroed};
use crate::kernels::{self, LANES};
use crate::types::{IdKind, VectorPrecision};

/// Extents encoded by one work item.
const GRAIN: usize = 8;
/// Bytes of vectors encoded between two looks at the watch: at most, and as a share of the budget.
const STEP_BYTES: u64 = 8 << 20;
const STEP_SHARE: u64 = 4;
/// Codes in a frame: lists of 16 KiB are read as a whole, long ones a part at a time where one vector is wanted.
const CODES: FrameSize = FrameSize::K16;
/// The same where extents are so long that they are only read as a whole: in an untrained index.
const LONG: FrameSize = FrameSize::K64;
const LONG_MEAN: usize = 512 << 10;
/// Vectors in a frame: as many as fit into that many bytes, at least one. A query reads single ones.
const VECTOR_BYTES: usize = 1008;
/// Entries of payload brought into order at a time, however small the budget.
const LEAST_WINDOW: usize = 4096;
/// Bytes of payload copied between two looks at the watch.
const STEP_PAYLOAD: u64 = 4 << 20;

impl Rebuild<'_> {
    pub(super) fn write(
        &self,
        drafts: &Drafts,
        rows: &Range<u32>,
        lens: Vec<u32>,
        map: &[u32],
        order: &[u32],
        mut calibrator: Option<&mut Calibrator>,
    ) -> Result<Run> {
        let s = &self.pinned;
        let quantizer = &self.to.quantizer;
        let dim = quantizer.dim();
        let precision = s.config.vector_precision;
        let row_bytes =
            (quantizer.block_bytes() / LANES).max(if quantizer.needs_rerank() { dim * precision.bytes() } else { 0 });
        let rows_per_extent = rows_per_extent(row_bytes);
        let extents = Extents::new(&lens, rows_per_extent)?;
        let mean_codes = order.len() / extents.len().max(1) * quantizer.block_bytes() / LANES;
        let frame = if mean_codes < LONG_MEAN { CODES } else { LONG };
        let mut codes = CutWriter::new(drafts, Kind::Codes, frame.payload());
        let row = dim * precision.bytes();
        let mut vectors =
            quantizer.needs_rerank().then(|| CutWriter::new(drafts, Kind::Vectors, (VECTOR_BYTES / row).max(1) * row));
        let mut done = 0;
        while done < extents.len() {
            let group = self.next_group(&extents, done, dim);
            let staged = self.gather(rows, map, extents.rows(group.start).start..extents.rows(group.end - 1).end)?;
            self.write_group(
                &extents,
                group.clone(),
                &staged,
                &mut codes,
                vectors.as_mut(),
                calibrator.as_deref_mut(),
            )?;
            done = group.end;
        }
        let codes = codes.finish()?;
        let vectors = vectors.map(CutWriter::finish).transpose()?;
        let payload = self.write_payload(drafts, rows, map, order.len())?;
        let mut ids = IdColumn::with_capacity(s.config.id_kind, order.len())?;
        if s.config.id_kind == IdKind::Bytes {
            ids.reserve_data(order.iter().map(|&row| s.id(row).len()).sum())?;
        }
        order.iter().for_each(|&row| ids.push(s.id(row)));
        let mut writer = BlobWriter::new(drafts, Kind::Ids, frame_for(ids.stored_len()));
        ids.write_pieces(|piece| writer.push(piece))?;
        let parts = RunParts {
            dimension: dim as u32,
            rows_per_extent,
            list_lens: lens,
            ids: writer.finish()?,
            codes,
            vectors,
            precision,
            payload,
        };
        self.watch.check()?;
        let bytes = parts.write();
        let directory = drafts.put(Kind::Directory, frame_for(bytes.len()), &bytes)?;
        Run::new(&self.index.vault, &self.index.shared.cache, self.to, directory, parts, ids)
    }

    /// As many extents from `start` on as the budget holds, at least one.
    fn next_group(&self, extents: &Extents, start: usize, dim: usize) -> Range<usize> {
        let first = extents.rows(start).start;
        let most = (self.budget / (dim as u64 * 4)).max(1);
        let mut end = start + 1;
        while end < extents.len() && u64::from(extents.rows(end).end - first) <= most {
            end += 1;
        }
        start..end
    }

    /// The vectors of the new rows `wanted`, in their new order.
    fn gather(&self, rows: &Range<u32>, map: &[u32], wanted: Range<u32>) -> Result<Buffer> {
        let dim = self.to.quantizer.dim();
        let mut staged = Buffer::zeroed(wanted.len() * dim * 4, "rebuild")?;
        let out = staged.f32s_mut();
        self.for_each_page(&mut |first, vectors| {
            let at = (first - rows.start) as usize;
            for (&place, v) in map[at..].iter().zip(vectors.chunks_exact(dim)) {
                if wanted.contains(&place) {
                    let to = (place - wanted.start) as usize * dim;
                    out[to..to + dim].copy_from_slice(v);
                }
            }
            Ok(())
        })?;
        Ok(staged)
    }

    /// Encodes and writes extents `group`, whose vectors are `staged`.
    fn write_group(
        &self,
        extents: &Extents,
        group: Range<usize>,
        staged: &Buffer,
        codes: &mut CutWriter<'_>,
        mut vectors: Option<&mut CutWriter<'_>>,
        mut calibrator: Option<&mut Calibrator>,
    ) -> Result<()> {
        let (g, dim) = (self.to, self.to.quantizer.dim());
        let block = g.quantizer.block_bytes();
        let first = extents.rows(group.start).start;
        let of = |e: usize| {
            let rows = extents.rows(e);
            let (start, end) = ((rows.start - first) as usize * dim, (rows.end - first) as usize * dim);
            &staged.f32s()[start..end]
        };
        // Enough work for all threads, little enough memory and time.
        let step = ((self.budget / STEP_SHARE).min(STEP_BYTES) / (dim as u64 * 4)) as u32;
        let mut start = group.start;
        while start < group.end {
            self.watch.check()?;
            let mut end = start + 1;
            while end < group.end && extents.rows(end).end - extents.rows(start).start <= step {
                end += 1;
            }
            if let Some(calibrator) = &mut calibrator {
                let at = (extents.rows(start).start - first) as usize * dim;
                let exec = &self.index.shared.exec;
                calibrator.observe(extents, start..end, &staged.f32s()[at..], 0, |_| false, exec, self.watch)?;
            }
            let encoded = self.index.shared.exec.map((end - start).div_ceil(GRAIN), |i| {
                let range = start + i * GRAIN..end.min(start + (i + 1) * GRAIN);
                let encode = |e: usize| -> Result<Buffer> {
                    let vectors = of(e);
                    let mut out = Buffer::zeroed(codes_len(vectors.len() / dim, block), "rebuild")?;
                    g.quantizer.encode(g.centroids.row(extents.list_of(e)), vectors, 0, out.bytes_mut());
                    Ok(out)
                };
                range.map(encode).collect::<Result<Vec<_>>>()
            });
            for blocks in encoded {
                for blocks in blocks? {
                    codes.push(blocks.bytes())?;
                }
            }
            self.watch.check()?;
            if let Some(vectors) = &mut vectors {
                let mut halves = Zeroizing::new(Vec::new());
                for e in start..end {
                    match self.pinned.config.vector_precision {
                        VectorPrecision::F32 => vectors.push(bytemuck::cast_slice(of(e)))?,
                        VectorPrecision::F16 => {
                            halves.resize(of(e).len(), 0u16);
                            kernels::best().to_f16(of(e), &mut halves);
                            vectors.push(bytemuck::cast_slice(&halves))?;
                        }
                    }
                }
            }
            self.progress.advance(u64::from(extents.rows(end - 1).end - extents.rows(start).start));
            start = end;
        }
        Ok(())
    }

    /// Payload in the old order, with an index in the new one: contents are read front to back, once.
    fn write_payload(
        &self,
        drafts: &Drafts,
        rows: &Range<u32>,
        map: &[u32],
        live: usize,
    ) -> Result<Option<(Blob, Blob)>> {
        let s = &self.pinned;
        let runs = s.runs[self.runs.clone()].iter().map(|(base, r)| (*base, r.len(), r.payload.as_ref()));
        let deltas = s.deltas[..self.deltas].iter().map(|(base, d)| (*base, d.len(), d.payload.as_ref()));
        let parts: Vec<_> = runs.chain(deltas).collect();
        if parts.iter().all(|(_, _, payload)| payload.is_none()) {
            return Ok(None);
        }
        let mut data = BlobWriter::new(drafts, Kind::Payload, FrameSize::K16);
        let mut index = BlobWriter::new(drafts, Kind::Payload, FrameSize::K4);
        // The index comes out in the new order, window by window: what the old index says is read once for each of them,
        // the payload itself with the first.
        let window = (self.budget as usize / size_of::<Entry>()).clamp(LEAST_WINDOW, live.max(LEAST_WINDOW));
        let mut entries = try_zeroed::<Entry>(window.min(live), "rebuild")?;
        let mut bytes = Zeroizing::new(Vec::new());
        for start in (0..live).step_by(window) {
            entries.truncate(live - start);
            entries.fill(Entry::default());
            let (mut at, mut checked) = (0u64, 0);
            for (base, len, payload) in &parts {
                let Some(payload) = payload else { continue };
                let mut reader = PayloadReader::new(payload);
                for row in 0..*len {
                    if row.is_multiple_of(256) || at - checked > STEP_PAYLOAD {
                        self.watch.check()?;
                        checked = at;
                    }
                    let place = map[(base + row - rows.start) as usize];
                    if place == DROPPED {
                        continue;
                    }
                    let entry = if start == 0 {
                        let entry = reader.read(row, &mut bytes)?;
                        data.push(&bytes)?;
                        entry
                    } else {
                        reader.entry(row, &mut bytes)?
                    };
                    if let Some(slot) = (place as usize).checked_sub(start).and_then(|i| entries.get_mut(i)) {
                        *slot = Entry { at, ..entry };
                    }
                    at += entry.len() as u64;
                }
            }
            for piece in entries.chunks(4096) {
                bytes.clear();
                piece.iter().for_each(|e| e.write(&mut bytes));
                index.push(&bytes)?;
            }
        }
        Ok(Some((index.finish()?, data.finish()?)))
    }
}
