//! Fetching the optional columns of chosen rows: metadata, contents, vectors.

use super::generation::Generation;
use super::options::include;
use super::payload::Entry;
use super::region::Scratch;
use super::results::{Fields, StringColumn};
use super::snapshot::{Place, Snapshot};
use crate::error::{Error, Result, try_zeroed};
use crate::types::ContentsKind;

/// The columns of `rows` that the bits of `wanted` ask for; a row that is `None` gets empty values.
pub(super) fn fetch(snapshot: &Snapshot, rows: &[Option<u32>], wanted: u32) -> Result<Fields> {
    let mut fields = Fields::default();
    let mut scratch = Scratch::default();
    if wanted & (include::METADATA | include::CONTENTS) != 0 {
        let mut metadata = (wanted & include::METADATA != 0).then(StringColumn::default);
        let mut contents = (wanted & include::CONTENTS != 0).then(StringColumn::default);
        let mut bytes = Vec::new();
        for row in rows {
            let place = row.and_then(|row| snapshot.locate(row).payload());
            let entry = place.map(|(p, row)| p.entry(row, &mut scratch)).transpose()?.unwrap_or_default();
            let Entry { at, metadata: meta_len, contents: contents_len, kind } = entry;
            let mut push = |column: &mut Option<StringColumn>, at: u64, len: u32| -> Result<()> {
                let Some(column) = column else { return Ok(()) };
                bytes.clear();
                if let Some((payload, _)) = place {
                    payload.append(at, len as usize, &mut scratch, &mut bytes)?;
                }
                column.push(&bytes)
            };
            push(&mut metadata, at, meta_len)?;
            push(&mut contents, at + u64::from(meta_len), contents_len)?;
            if contents.is_some() {
                fields.contents_kinds.push(if row.is_some() { kind } else { ContentsKind::None });
            }
        }
        (fields.metadata, fields.contents) = (metadata, contents);
    }
    if wanted & include::VECTOR != 0 {
        let dimension = snapshot.config.dimension as usize;
        let len =
            rows.len().checked_mul(dimension).ok_or(Error::NoMemory { what: "vectors", needed: u64::MAX, got: 0 })?;
        let mut vectors = try_zeroed(len, "vectors")?;
        if let Some(g) = &snapshot.generation {
            for (row, out) in rows.iter().zip(vectors.chunks_exact_mut(dimension)) {
                if let Some(row) = row {
                    vector(snapshot, g, *row, &mut scratch, out)?;
                }
            }
        }
        fields.vectors = Some(vectors);
    }
    Ok(fields)
}

/// Copies the vector of `row` to `out`.
pub(super) fn vector(s: &Snapshot, g: &Generation, row: u32, scratch: &mut Scratch, out: &mut [f32]) -> Result<()> {
    match s.locate(row) {
        Place::Run(run, row) => run.vector(g, row, scratch, out),
        Place::Delta(delta, row) => {
            out.copy_from_slice(delta.vector(row));
            Ok(())
        }
    }
}
