//! From a manifest to memory: opening an index, and following a writer in a process that only reads.

use std::sync::Arc;

use parking_lot::RwLock;

use super::delta::Delta;
use super::generation::Generation;
use super::ids::{IdColumn, IdMap};
use super::manifest::{Config, Manifest};
use super::run::Run;
use super::shared::Shared;
use super::snapshot::Snapshot;
use super::tail::Spare;
use super::tombstones::Tombstones;
use crate::crypto::{ObjectRef, Vault};
use crate::error::{Error, Result};

/// What an opening gives.
pub(super) struct Loaded {
    pub(super) manifest: Manifest,
    pub(super) snapshot: Snapshot,
    pub(super) ids: IdMap,
}

/// Loads what `bytes`, the manifest of commit `seq`, names.
pub(super) fn load(shared: &Shared, vault: &Arc<Vault>, seq: u64, bytes: &[u8]) -> Result<Loaded> {
    let manifest = Manifest::read(bytes)?;
    let mut snapshot = Snapshot { writes: manifest.writes, ..Snapshot::empty(manifest.config, seq) };
    let mut ids = IdMap::default();
    snapshot.generation = open_generation(vault, &manifest)?;
    if let Some(generation) = &snapshot.generation {
        for directory in &manifest.runs {
            let run = Run::open(vault, &shared.cache, generation, manifest.config.id_kind, directory.clone())?;
            let base = snapshot.end;
            snapshot.end = grow(base, run.len())?;
            snapshot.runs.push((base, Arc::new(run)));
        }
        if let Some(object) = &manifest.tombstones {
            snapshot.tombstones = Tombstones::read(vault.read_all(object)?.bytes(), snapshot.end)?;
        }
        ids.reserve(snapshot.live() as usize)?;
        for row in 0..snapshot.end {
            if !snapshot.tombstones.contains(row) && ids.insert(snapshot.id(row), row, |r| snapshot.id(r)).is_some() {
                return Err(Error::Corrupt { what: "ids (one twice)" });
            }
        }
        for object in &manifest.deltas {
            let opened = Delta::open(vault, &shared.cache, manifest.config.id_kind, object.clone())?;
            replay(shared, &mut snapshot, &mut ids, opened)?;
        }
    } else if !manifest.runs.is_empty() || !manifest.deltas.is_empty() {
        return Err(Error::Corrupt { what: "manifest" });
    }
    Ok(Loaded { manifest, snapshot, ids })
}

/// What a newer manifest brings, read but not yet put to use: nothing that can fail is left to do.
pub(super) enum Newer {
    /// Only deltas were added: the snapshot with their codes in its tail, and the deltas with the ids they delete.
    Deltas(Manifest, Snapshot, Vec<(Delta, IdColumn)>),
    /// Anything else.
    All(Loaded),
}

/// Reads what a newer manifest has beyond `old`, the state of `snapshot`. Makes room in `ids` but changes nothing there.
pub(super) fn follow(
    shared: &Shared,
    vault: &Arc<Vault>,
    (old, snapshot): (&Manifest, &Snapshot),
    ids: &RwLock<IdMap>,
    seq: u64,
    bytes: &[u8],
) -> Result<Newer> {
    let manifest = Manifest::read(bytes)?;
    let extends = old.config == manifest.config
        && old.generation == manifest.generation
        && old.runs == manifest.runs
        // A merge of deltas that only delete leaves all runs and changes these alone.
        && old.tombstones == manifest.tombstones
        && manifest.deltas.starts_with(&old.deltas);
    if !extends {
        return Ok(Newer::All(load(shared, vault, seq, bytes)?));
    }
    let mut next = Snapshot { seq, writes: manifest.writes, ..snapshot.clone() };
    let mut deltas = Vec::new();
    for object in &manifest.deltas[old.deltas.len()..] {
        let (delta, deleted) = Delta::open(vault, &shared.cache, manifest.config.id_kind, object.clone())?;
        code(shared, &mut next, &delta)?;
        next.end = grow(next.end, delta.len())?;
        deltas.push((delta, deleted));
    }
    ids.write().reserve((next.end - snapshot.end) as usize)?;
    next.end = snapshot.end;
    Ok(Newer::Deltas(manifest, next, deltas))
}

impl Newer {
    /// Brings `ids` up to date and gives manifest and snapshot of the same state.
    pub(super) fn apply(self, ids: &mut IdMap) -> (Manifest, Snapshot) {
        match self {
            Self::All(loaded) => {
                *ids = loaded.ids;
                (loaded.manifest, loaded.snapshot)
            }
            Self::Deltas(manifest, mut snapshot, deltas) => {
                for (delta, deleted) in deltas {
                    let base = snapshot.end;
                    snapshot.end = base + delta.len();
                    let tags = ids.tags(&delta.ids);
                    snapshot.deltas.push((base, Arc::new(delta)));
                    apply(&mut snapshot, ids, &deleted, &tags);
                }
                (manifest, snapshot)
            }
        }
    }
}

fn open_generation(vault: &Vault, manifest: &Manifest) -> Result<Option<Arc<Generation>>> {
    let dimension = manifest.config.dimension;
    let generation = match &manifest.generation {
        Some(object) => {
            let generation = Generation::read(vault.read_all(object)?.bytes())?;
            if !generation.fits(&manifest.config) {
                return Err(Error::Corrupt { what: "generation" });
            }
            generation
        }
        None if dimension == 0 => return Ok(None),
        None => {
            let Config { metric, vector_precision, .. } = manifest.config;
            Generation::untrained(metric.similarity(), vector_precision, dimension as usize)?
        }
    };
    Ok(Some(Arc::new(generation)))
}

/// Adds a delta read from the store: codes, rows, ids, tombstones.
fn replay(shared: &Shared, snapshot: &mut Snapshot, ids: &mut IdMap, opened: (Delta, IdColumn)) -> Result<()> {
    let (delta, deleted) = opened;
    code(shared, snapshot, &delta)?;
    ids.reserve(delta.ids.len())?;
    let tags = ids.tags(&delta.ids);
    push(snapshot, delta)?;
    apply(snapshot, ids, &deleted, &tags);
    Ok(())
}

/// Adds the codes of `delta` to the tail, as those of the rows from the snapshot's end on.
fn code(shared: &Shared, snapshot: &mut Snapshot, delta: &Delta) -> Result<()> {
    let Some(generation) = &snapshot.generation else {
        return Err(Error::Corrupt { what: "manifest" });
    };
    if delta.vectors.len() != delta.ids.len() * generation.quantizer.dim() * 4 {
        return Err(Error::Corrupt { what: "delta" });
    }
    let vectors = delta.vectors.f32s();
    snapshot.tail = snapshot.tail.append(generation, &shared.exec, snapshot.end, vectors, &mut Spare::default())?;
    Ok(())
}

/// Appends `delta`, whose codes are in the tail already, and its rows.
pub(super) fn push(snapshot: &mut Snapshot, delta: Delta) -> Result<()> {
    let base = snapshot.end;
    snapshot.end = grow(base, delta.len())?;
    snapshot.deltas.push((base, Arc::new(delta)));
    Ok(())
}

/// Carries the effect of the last delta over to `ids` and the tombstones: first its deletions, then its items, whose ids
/// have these `tags`.
pub(super) fn apply(snapshot: &mut Snapshot, ids: &mut IdMap, deleted: &IdColumn, tags: &[u32]) {
    let mut tombstones = std::mem::take(&mut snapshot.tombstones);
    let snapshot_ref = &*snapshot;
    let id_of = |row| snapshot_ref.id(row);
    for i in 0..deleted.len() {
        if let Some(row) = ids.remove(deleted.get(i), id_of) {
            tombstones.insert(row);
        }
    }
    if let Some((base, delta)) = snapshot_ref.deltas.last() {
        for (i, &tag) in (0..delta.len()).zip(tags) {
            if let Some(old) = ids.insert_tagged(tag, delta.ids.get(i as usize), base + i, id_of) {
                tombstones.insert(old);
            }
        }
    }
    snapshot.tombstones = tombstones;
}

/// Row numbers are 32 bits and dense, so the limit is 2^32 - 1 items (dead ones not yet dropped included).
pub(super) fn grow(end: u32, by: u32) -> Result<u32> {
    end.checked_add(by).filter(|&e| e < u32::MAX).ok_or(Error::Unsupported { what: "an index of 2^32 rows" })
}

/// Every object that `manifest` and what it names keep alive.
pub(super) fn live_objects(manifest: &Manifest, snapshot: &Snapshot) -> Vec<ObjectRef> {
    let mut live: Vec<ObjectRef> = Vec::new();
    live.extend(manifest.generation.iter().chain(&manifest.tombstones).chain(&manifest.deltas).cloned());
    live.extend(snapshot.runs.iter().flat_map(|(_, run)| run.objects().cloned()));
    live
}
