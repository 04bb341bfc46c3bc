//! The record of a model: the plaintext of its head (FORMAT.md, "Model").
//!
//! ```text
//! u8 version, u8 state, u8 failure code (0 = none), u64 created at, u64 finished at
//! u32 dimension, u8 metric, quantizer as in `wire` (none = not yet chosen)
//! u32 lists, u64 seed, u64 vectors used, u32 passes, f64 objective, u64 bytes of the trained part, u32 format
//! text error, text description, text source, text library (each u32 length, UTF-8)
//! u8 has a trained part, [reference]
//! u32 uses, x (16 uuid of the index, text its name)
//! ```

use super::{FailureCode, ModelInfo, ModelState};
use crate::crypto::ObjectRef;
use crate::engine::wire::{Put, Reader};
use crate::error::{Error, Result};
use crate::types::{MAX_DIMENSION, MAX_LISTS, Metric};

const VERSION: u8 = 1;
const DAMAGED: Error = Error::Corrupt { what: "model record" };

/// An index made from the model.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Use {
    pub(super) uuid: [u8; 16],
    pub(super) name: String,
}

/// Everything one commit of a model consists of.
#[derive(Clone, Debug, PartialEq, Default)]
pub(super) struct Record {
    /// As callers see it, but for the id (the name of the space tells it) and `used_by`.
    pub(super) info: ModelInfo,
    pub(super) trained: Option<ObjectRef>,
    pub(super) uses: Vec<Use>,
}

impl Record {
    /// The plaintext of the head.
    pub(super) fn write(&self) -> Vec<u8> {
        let i = &self.info;
        let texts = [&i.error, &i.description, &i.source, &i.library];
        let mut out = Vec::with_capacity(256 + texts.iter().map(|t| t.len()).sum::<usize>() + self.uses.len() * 64);
        out.put_u8(VERSION);
        out.put_u8(i.state as u8);
        out.put_u8(i.failure.map_or(0, |code| code as u8));
        out.put_u64(i.created_at);
        out.put_u64(i.finished_at);
        out.put_u32(i.dimension);
        out.put_u8(i.metric as u8);
        out.put_quantizer(i.quantizer);
        out.put_u32(i.n_lists);
        out.put_u64(i.seed);
        out.put_u64(i.vectors_used);
        out.put_u32(i.passes);
        out.put_u64(i.objective.to_bits());
        out.put_u64(i.bytes);
        out.put_u32(i.format);
        texts.iter().for_each(|text| put_text(&mut out, text));
        out.put_u8(self.trained.is_some().into());
        if let Some(object) = &self.trained {
            object.write(&mut out);
        }
        out.put_u32(self.uses.len() as u32);
        for used in &self.uses {
            out.extend_from_slice(&used.uuid);
            put_text(&mut out, &used.name);
        }
        out
    }

    /// Reads the plaintext of the head of model `id`.
    pub(super) fn read(id: &str, bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes, "model record");
        match r.u8()? {
            VERSION => {}
            v => return Err(Error::Version { what: "model", got: v.into(), supported: VERSION.into() }),
        }
        let state = match r.u8()? {
            1 => ModelState::Training,
            2 => ModelState::Created,
            3 => ModelState::Failed,
            _ => return Err(DAMAGED),
        };
        let failure = match r.u8()? {
            0 => None,
            1 => Some(FailureCode::Interrupted),
            2 => Some(FailureCode::Cancelled),
            3 => Some(FailureCode::Memory),
            4 => Some(FailureCode::Data),
            5 => Some(FailureCode::Internal),
            _ => return Err(DAMAGED),
        };
        let (created_at, finished_at, dimension) = (r.u64()?, r.u64()?, r.u32()?);
        let metric = Metric::from_number(r.u8()?.into()).map_err(|_| DAMAGED)?;
        let quantizer = r.quantizer()?;
        let info = ModelInfo {
            id: id.to_owned(),
            state,
            failure,
            created_at,
            finished_at,
            dimension,
            metric,
            quantizer,
            n_lists: r.u32()?,
            seed: r.u64()?,
            vectors_used: r.u64()?,
            passes: r.u32()?,
            objective: f64::from_bits(r.u64()?),
            bytes: r.u64()?,
            format: r.u32()?,
            error: text(&mut r)?,
            description: text(&mut r)?,
            source: text(&mut r)?,
            library: text(&mut r)?,
            used_by: Vec::new(),
        };
        let trained = match r.u8()? {
            0 => None,
            1 => Some(ObjectRef::read(r.rest())?),
            _ => return Err(DAMAGED),
        };
        let mut uses = Vec::new();
        for _ in 0..r.count(20)? {
            let uuid = r.bytes(16)?.try_into().map_err(|_| DAMAGED)?;
            uses.push(Use { uuid, name: text(&mut r)? });
        }
        r.end()?;
        let sound = (1..=MAX_DIMENSION).contains(&info.dimension)
            && (1..=MAX_LISTS).contains(&info.n_lists)
            && info.quantizer.is_none_or(|q| q.check(info.dimension).is_ok())
            && (info.state != ModelState::Created || info.quantizer.is_some())
            && (info.state == ModelState::Failed) == info.failure.is_some();
        if sound { Ok(Self { info, trained, uses }) } else { Err(DAMAGED) }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.put_u32(text.len() as u32);
    out.extend_from_slice(text.as_bytes());
}

fn text(r: &mut Reader<'_>) -> Result<String> {
    let len = r.count(1)?;
    str::from_utf8(r.bytes(len)?).map(str::to_owned).map_err(|_| DAMAGED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::QuantizerSpec;

    #[test]
    fn reads_what_it_wrote_and_refuses_any_cut() {
        let pq = QuantizerSpec::Pq { m: 3, bits: 4, rotation: true };
        let rabitq = QuantizerSpec::RaBitQ { bits: 2 };
        for quantizer in [None, Some(QuantizerSpec::Flat), Some(QuantizerSpec::SQ4), Some(pq), Some(rabitq)] {
            let failed = quantizer.is_none();
            let record = Record {
                info: ModelInfo {
                    id: "m".into(),
                    state: if failed { ModelState::Failed } else { ModelState::Created },
                    failure: failed.then_some(FailureCode::Data),
                    error: "too few".into(),
                    created_at: 1,
                    finished_at: 2,
                    description: "a, b; \u{e9}".into(),
                    source: "index".into(),
                    dimension: 7,
                    metric: Metric::Cosine,
                    quantizer,
                    n_lists: 9,
                    seed: 4,
                    vectors_used: 5,
                    passes: 6,
                    objective: 0.25,
                    bytes: 8,
                    format: 1,
                    library: "0.1.0".into(),
                    used_by: Vec::new(),
                },
                trained: None,
                uses: vec![Use { uuid: [3; 16], name: "used".into() }],
            };
            let bytes = record.write();
            assert_eq!(Record::read("m", &bytes).unwrap(), record);
            for cut in 0..bytes.len() {
                assert!(Record::read("m", &bytes[..cut]).is_err(), "cut at {cut}");
            }
            let newer = [&[VERSION + 1], &bytes[1..]].concat();
            assert!(matches!(Record::read("m", &newer), Err(Error::Version { .. })));
        }
    }
}
