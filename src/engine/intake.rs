//! Intake: from a caller's borrowed batch to checked, owned columns. A bad batch changes nothing and names its item.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::ids::IdColumn;
use super::manifest::Config;
use super::options::{Batch, Ids, Strings};
use super::payload::Entry;
use crate::buffer::{Buffer, Wiped};
use crate::error::{Error, Result, try_with_capacity, try_zeroed};
use crate::kernels;
use crate::types::{
    ContentsKind, MAX_BATCH_BYTES, MAX_CONTENTS_LEN, MAX_DIMENSION, MAX_F16, MAX_METADATA_LEN, Metric, VectorPrecision,
};

/// Squared lengths whose inverse roots float32 holds with all its digits.
const USUAL: std::ops::Range<f32> = 1e-20..1e20;

/// A checked batch.
pub(super) struct Intake {
    pub(super) dimension: usize,
    pub(super) ids: IdColumn,
    /// Items x dimension; of length 1 each under cosine, rounded to the index's precision.
    pub(super) vectors: Buffer,
    /// One an item, or none at all when no item has metadata or contents.
    pub(super) entries: Vec<Entry>,
    pub(super) data: Wiped,
}

impl Intake {
    /// Checks and copies `batch` for an index of `config`, whose dimension may still be 0.
    pub(super) fn new(batch: &Batch<'_>, config: &Config) -> Result<Self> {
        let count = batch.ids.len();
        let dimension = check_dimension(batch.dimension, config.dimension)?;
        if let Some(quantizer) = config.quantizer {
            // The dimension may be new, and then its quantizer was not checked against it.
            quantizer.check(dimension as u32)?;
        }
        let needed = count as u64 * dimension as u64;
        if batch.vectors.len() as u64 != needed {
            return Err(Error::BufferTooSmall { what: "vectors", needed, got: batch.vectors.len() as u64 });
        }
        let bytes = |s: Option<Strings<'_>>| s.map_or(0, |s| s.total_len());
        let ids = match batch.ids {
            Ids::Bytes(s) => s.total_len(),
            Ids::U64(n) => n.len() as u64 * 8,
        };
        let total = needed * 4 + ids + bytes(batch.metadata) + bytes(batch.contents);
        if total > MAX_BATCH_BYTES {
            return Err(Error::invalid("batch", format_args!("{total} bytes"), "at most 1 GiB"));
        }
        batch.ids.check(config.id_kind)?;
        let mut ids = IdColumn::with_capacity(config.id_kind, count)?;
        (0..count).for_each(|i| batch.ids.with(i, |id| ids.push(id)));
        let vectors = take_vectors(batch.vectors, dimension, config)?;
        let (entries, data) = take_payload(batch, count)?;
        Ok(Self { dimension, ids, vectors, entries, data })
    }
}

/// The dimension of a batch or query, if it is that of the index (0 = not yet known).
pub(super) fn check_dimension(got: u32, expected: u32) -> Result<usize> {
    if got == 0 || got > MAX_DIMENSION {
        return Err(Error::invalid("dimension", got, "1 to 65536"));
    }
    if expected != 0 && got != expected {
        return Err(Error::DimensionMismatch { expected, got });
    }
    Ok(got as usize)
}

/// Copies vectors; refuses NaN and infinities, and zero vectors under cosine, which are normalised. Rounded here, once,
/// so that codes, rerank, calibration and export all see the same values.
fn take_vectors(vectors: &[f32], dimension: usize, config: &Config) -> Result<Buffer> {
    let mut out = Buffer::zeroed(vectors.len() * 4, "batch")?;
    let rows = out.f32s_mut().chunks_exact_mut(dimension).zip(vectors.chunks_exact(dimension));
    let mut halves = Zeroizing::new(vec![0u16; dimension]);
    for (i, (to, from)) in rows.enumerate() {
        take_vector(from, to, config.metric)
            .map_err(|got| Error::item(i, "vector", got, "finite values, not all 0 under cosine"))?;
        if config.vector_precision == VectorPrecision::F16 {
            if let Some(x) = to.iter().find(|x| x.abs() > MAX_F16) {
                return Err(Error::item(i, "vector", x, "values of -65504 to 65504 under vector_precision F16"));
            }
            kernels::best().to_f16(to, &mut halves);
            kernels::best().from_f16(&halves, to);
        }
    }
    Ok(out)
}

/// Copies one vector, normalised under cosine; the error says what is wrong with it.
pub(super) fn take_vector(from: &[f32], to: &mut [f32], metric: Metric) -> std::result::Result<(), &'static str> {
    if metric == Metric::Cosine {
        let square = kernels::best().dot(from, from);
        if USUAL.contains(&square) {
            // Finite, so every value is.
            let scale = 1.0 / square.sqrt();
            to.iter_mut().zip(from).for_each(|(to, x)| *to = x * scale);
            return Ok(());
        }
    }
    if !all_finite(from) {
        return Err("not finite");
    }
    to.copy_from_slice(from);
    if metric == Metric::Cosine {
        // Scaled first: squares of huge or tiny values leave the range of float32.
        let largest = from.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        if largest == 0.0 {
            return Err("zero");
        }
        to.iter_mut().for_each(|x| *x /= largest);
        let scale = 1.0 / kernels::best().dot(to, to).sqrt();
        to.iter_mut().for_each(|x| *x *= scale);
    }
    Ok(())
}

/// Whether no value is infinite or NaN: both have all bits of the exponent set. One pass of whole registers, where a sum
/// or a search would go value by value.
fn all_finite(values: &[f32]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    values.iter().fold(0, |bad, x| bad | u32::from(x.to_bits() & EXPONENT == EXPONENT)) == 0
}

fn take_payload(batch: &Batch<'_>, count: usize) -> Result<(Vec<Entry>, Wiped)> {
    let columns = [("metadata", batch.metadata), ("contents", batch.contents)];
    for (field, column) in columns {
        if let Some(c) = column
            && c.len() != count
        {
            return Err(Error::BufferTooSmall { what: field, needed: count as u64, got: c.len() as u64 });
        }
    }
    if let Some(kinds) = batch.contents_kinds
        && kinds.len() != count
    {
        return Err(Error::BufferTooSmall { what: "content_types", needed: count as u64, got: kinds.len() as u64 });
    }
    let total: u64 = columns.iter().filter_map(|(_, c)| Some(c.as_ref()?.total_len())).sum();
    let kinds_only = batch.contents_kinds.is_some_and(|k| k.iter().any(|&k| k != 0));
    if total == 0 && !kinds_only {
        return Ok((Vec::new(), Wiped::default()));
    }
    let mut entries = try_with_capacity(count, "batch")?;
    let mut data = Wiped::new(try_with_capacity(total as usize, "batch")?);
    for i in 0..count {
        let metadata = batch.metadata.map_or(&[][..], |m| m.get(i));
        let contents = batch.contents.map_or(&[][..], |c| c.get(i));
        check_metadata(i, metadata)?;
        let kind = check_contents(i, contents, batch.contents_kinds.map(|k| k[i]))?;
        let at = data.len() as u64;
        data.extend_from_slice(metadata);
        data.extend_from_slice(contents);
        entries.push(Entry { at, metadata: metadata.len() as u32, contents: contents.len() as u32, kind });
    }
    Ok((entries, data))
}

fn check_metadata(item: usize, metadata: &[u8]) -> Result<()> {
    const ALLOWED: &str = "a JSON object in UTF-8 of at most 1 MiB";
    if metadata.is_empty() {
        return Ok(());
    }
    if metadata.len() > MAX_METADATA_LEN {
        return Err(Error::item(item, "metadata", format_args!("{} bytes", metadata.len()), ALLOWED));
    }
    // Parsed without building values: nothing of it is copied.
    let text = std::str::from_utf8(metadata).unwrap_or_default();
    let object = text.trim_ascii_start().starts_with('{');
    match serde_json::from_str::<&serde_json::value::RawValue>(text) {
        Ok(_) if object => Ok(()),
        _ => Err(Error::item(item, "metadata", "something else", ALLOWED)),
    }
}

fn check_contents(item: usize, contents: &[u8], kind: Option<u8>) -> Result<ContentsKind> {
    if contents.len() > MAX_CONTENTS_LEN {
        return Err(Error::item(item, "contents", format_args!("{} bytes", contents.len()), "at most 16 MiB"));
    }
    let kind = match kind {
        None if contents.is_empty() => ContentsKind::None,
        None => ContentsKind::Bytes,
        Some(n) => ContentsKind::from_number(n)
            .ok_or_else(|| Error::item(item, "content type", n, "0 none, 1 bytes, 2 text"))?,
    };
    match kind {
        ContentsKind::None if !contents.is_empty() => {
            Err(Error::item(item, "content type", "none with contents", "bytes or text where contents are not empty"))
        }
        ContentsKind::Text if std::str::from_utf8(contents).is_err() => {
            Err(Error::item(item, "contents", "not UTF-8", "UTF-8 where the type is text"))
        }
        _ => Ok(kind),
    }
}

/// The vectors of standard, padded base64 of `count x dimension` little-endian float32 values.
pub(super) fn decode_base64(text: &[u8], count: usize, dimension: u32) -> Result<Vec<f32>> {
    let needed = count as u64 * u64::from(dimension) * 4;
    if needed > MAX_BATCH_BYTES {
        return Err(Error::invalid("batch", format_args!("{needed} bytes"), "at most 1 GiB"));
    }
    // The length is checked before anything is allocated: 4 characters carry 3 bytes.
    if text.len() as u64 != needed.div_ceil(3) * 4 {
        return Err(Error::BufferTooSmall {
            what: "vectors_base64",
            needed: needed.div_ceil(3) * 4,
            got: text.len() as u64,
        });
    }
    let mut bytes = Zeroizing::new(try_zeroed::<u8>(needed.div_ceil(3) as usize * 3, "batch")?);
    let allowed = "standard padded base64 of count x dimension float32 values";
    let len =
        STANDARD.decode_slice(text, &mut bytes).map_err(|_| Error::invalid("vectors_base64", "malformed", allowed))?;
    if len as u64 != needed {
        return Err(Error::BufferTooSmall { what: "vectors_base64", needed, got: len as u64 });
    }
    Ok(bytes[..len].chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect())
}
