//! The manifest: what one commit of an index consists of. It is the plaintext of the head that the vault seals.
//!
//! ```text
//! u8 version
//! u32 dimension, u8 metric, quantizer as in `wire` (none = automatic), u8 id kind,
//! u8 flags (1 = no auto-training, 2 = vectors in float16), u64 retrain threshold, f32 target recall, u64 seed
//! u64 items written or deleted so far
//! u8 length, id of the model it was made from (0 = none)
//! u8 has generation, [reference]
//! u32 runs, x reference of the directory
//! u8 has tombstones, [reference]
//! u32 deltas, x reference
//! ```
//!
//! Lengths stay small: a run is one reference however large it is, and there are few runs and at most some dozen
//! deltas.

use super::options::IndexOptions;
use super::wire::{Put, Reader};
use crate::crypto::ObjectRef;
use crate::error::{Error, Result};
use crate::types::{IdKind, MAX_DIMENSION, Metric, QuantizerSpec, VectorPrecision};

const VERSION: u8 = 3;
const NO_AUTO_TRAIN: u8 = 1;
const FLOAT16: u8 = 2;

/// Items that may gather before training starts by itself, unless configured.
const DEFAULT_RETRAIN_THRESHOLD: u64 = 10_000;
/// Recall that automatic probes aim at, unless configured.
const DEFAULT_TARGET_RECALL: f32 = 0.95;

/// Configuration of an index, fixed at creation (the dimension at the first upsert).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Config {
    /// 0 = not yet known.
    pub(super) dimension: u32,
    pub(super) metric: Metric,
    /// `None` = the library's choice, made at training.
    pub(super) quantizer: Option<QuantizerSpec>,
    pub(super) vector_precision: VectorPrecision,
    pub(super) id_kind: IdKind,
    pub(super) auto_train: bool,
    pub(super) retrain_threshold: u64,
    pub(super) target_recall: f32,
    pub(super) seed: u64,
}

impl Config {
    /// Checks what a caller asked for and fills in the defaults.
    pub(super) fn new(o: &IndexOptions) -> Result<Self> {
        if o.dimension > MAX_DIMENSION {
            return Err(Error::invalid("dimension", o.dimension, "1 to 65536, or 0 to take it from the first upsert"));
        }
        if !(0.0..1.0).contains(&o.target_recall) {
            return Err(Error::invalid("target_recall", o.target_recall, "above 0 and below 1, or 0 for 0.95"));
        }
        if let Some(quantizer) = o.quantizer {
            quantizer.check(o.dimension)?;
        }
        Ok(Self {
            dimension: o.dimension,
            metric: o.metric,
            quantizer: o.quantizer,
            vector_precision: o.vector_precision,
            id_kind: o.id_kind,
            auto_train: !o.auto_train_disabled,
            retrain_threshold: if o.retrain_threshold == 0 { DEFAULT_RETRAIN_THRESHOLD } else { o.retrain_threshold },
            target_recall: if o.target_recall == 0.0 { DEFAULT_TARGET_RECALL } else { o.target_recall },
            seed: o.seed,
        })
    }
}

/// The objects of one commit.
#[derive(Clone)]
pub(super) struct Manifest {
    pub(super) config: Config,
    /// Items written or deleted in the life of the index: how far it is from where its recall was measured.
    pub(super) writes: u64,
    /// Id of the model it was made from.
    pub(super) model: Option<String>,
    pub(super) generation: Option<ObjectRef>,
    pub(super) runs: Vec<ObjectRef>,
    pub(super) tombstones: Option<ObjectRef>,
    pub(super) deltas: Vec<ObjectRef>,
}

impl Manifest {
    /// The manifest of an empty index.
    pub(super) fn empty(config: Config) -> Self {
        Self {
            config,
            writes: 0,
            model: None,
            generation: None,
            runs: Vec::new(),
            tombstones: None,
            deltas: Vec::new(),
        }
    }

    /// The plaintext of the head.
    pub(super) fn write(&self) -> Vec<u8> {
        let c = &self.config;
        let mut out = Vec::with_capacity(256 + (self.runs.len() + self.deltas.len()) * ObjectRef::ENCODED_LEN);
        out.put_u8(VERSION);
        out.put_u32(c.dimension);
        out.put_u8(c.metric as u8);
        out.put_quantizer(c.quantizer);
        let float16 = c.vector_precision == VectorPrecision::F16;
        let flags = [(!c.auto_train, NO_AUTO_TRAIN), (float16, FLOAT16)];
        out.put_u8(c.id_kind as u8);
        out.put_u8(flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum());
        out.put_u64(c.retrain_threshold);
        out.put_f32(c.target_recall);
        out.put_u64(c.seed);
        out.put_u64(self.writes);
        let model = self.model.as_deref().unwrap_or_default();
        out.put_u8(model.len() as u8);
        out.extend_from_slice(model.as_bytes());
        put_optional(&mut out, self.generation.as_ref());
        put_all(&mut out, &self.runs);
        put_optional(&mut out, self.tombstones.as_ref());
        put_all(&mut out, &self.deltas);
        out
    }

    /// Reads the plaintext of a head.
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes, "manifest");
        let corrupt = |()| Error::Corrupt { what: "manifest" };
        match r.u8()? {
            VERSION => {}
            v => return Err(Error::Version { what: "manifest", got: v.into(), supported: VERSION.into() }),
        }
        let (dimension, metric) = (r.u32()?, Metric::from_number(r.u8()?.into()).map_err(|_| corrupt(()))?);
        let (quantizer, id_kind, flags) = (r.quantizer()?, r.u8()?, r.u8()?);
        if flags & !(NO_AUTO_TRAIN | FLOAT16) != 0 || quantizer.is_some_and(|q| q.check(dimension).is_err()) {
            return Err(corrupt(()));
        }
        let config = Config {
            dimension,
            metric,
            quantizer,
            vector_precision: if flags & FLOAT16 == 0 { VectorPrecision::F32 } else { VectorPrecision::F16 },
            id_kind: match id_kind {
                1 => IdKind::Bytes,
                2 => IdKind::U64,
                _ => return Err(corrupt(())),
            },
            auto_train: flags & NO_AUTO_TRAIN == 0,
            retrain_threshold: r.u64()?,
            target_recall: r.f32()?,
            seed: r.u64()?,
        };
        let writes = r.u64()?;
        let len = usize::from(r.u8()?);
        let model = str::from_utf8(r.bytes(len)?).map_err(|_| corrupt(()))?;
        let model = (len > 0).then(|| model.to_owned());
        let generation = optional(&mut r)?;
        let runs = all(&mut r)?;
        let tombstones = optional(&mut r)?;
        let deltas = all(&mut r)?;
        r.end()?;
        if config.dimension > MAX_DIMENSION {
            return Err(corrupt(()));
        }
        Ok(Self { config, writes, model, generation, runs, tombstones, deltas })
    }
}

fn put_optional(out: &mut Vec<u8>, object: Option<&ObjectRef>) {
    out.put_u8(object.is_some().into());
    if let Some(o) = object {
        o.write(out);
    }
}

fn put_all(out: &mut Vec<u8>, objects: &[ObjectRef]) {
    out.put_u32(objects.len() as u32);
    objects.iter().for_each(|o| o.write(out));
}

fn optional(r: &mut Reader<'_>) -> Result<Option<ObjectRef>> {
    match r.u8()? {
        0 => Ok(None),
        1 => Ok(Some(ObjectRef::read(r.rest())?)),
        _ => Err(Error::Corrupt { what: "manifest" }),
    }
}

fn all(r: &mut Reader<'_>) -> Result<Vec<ObjectRef>> {
    let n = r.count(ObjectRef::ENCODED_LEN)?;
    (0..n).map(|_| ObjectRef::read(r.rest())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_wrote_and_refuses_any_cut() {
        let pq = Some(QuantizerSpec::Pq { m: 3, bits: 4, rotation: true });
        let rabitq = Some(QuantizerSpec::RaBitQ { bits: 5 });
        for quantizer in [pq, rabitq, Some(QuantizerSpec::Flat), Some(QuantizerSpec::SQ2), None] {
            for vector_precision in [VectorPrecision::F32, VectorPrecision::F16] {
                let o = IndexOptions { dimension: 7, seed: 9, quantizer, vector_precision, ..IndexOptions::default() };
                let config = Config::new(&o).unwrap();
                assert_eq!(Manifest::read(&Manifest::empty(config).write()).unwrap().config, config);
            }
        }
        let config = Config::new(&IndexOptions { dimension: 7, seed: 9, ..IndexOptions::default() }).unwrap();
        let made = Manifest { writes: 1 << 40, model: Some("a model".into()), ..Manifest::empty(config) };
        let bytes = made.write();
        let read = Manifest::read(&bytes).unwrap();
        assert_eq!((read.config, read.writes, read.model), (config, 1 << 40, made.model));
        for cut in 0..bytes.len() {
            assert!(Manifest::read(&bytes[..cut]).is_err());
        }
        let newer = [&[VERSION + 1], &bytes[1..]].concat();
        assert!(matches!(Manifest::read(&newer), Err(Error::Version { .. })));
    }

    #[test]
    fn a_configuration_outside_its_ranges_is_refused() {
        let bad = [
            IndexOptions { dimension: 65_537, ..IndexOptions::default() },
            IndexOptions { target_recall: 1.0, ..IndexOptions::default() },
            IndexOptions { target_recall: f32::NAN, ..IndexOptions::default() },
            IndexOptions { quantizer: Some(QuantizerSpec::Sq { bits: 3 }), ..IndexOptions::default() },
            IndexOptions { quantizer: Some(QuantizerSpec::RaBitQ { bits: 9 }), ..IndexOptions::default() },
            IndexOptions {
                dimension: 7,
                quantizer: Some(QuantizerSpec::Pq { m: 8, bits: 8, rotation: false }),
                ..IndexOptions::default()
            },
        ];
        assert!(bad.iter().all(|o| Config::new(o).is_err()));
    }
}
