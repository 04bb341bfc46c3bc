//! One committed state of an index, immutable. Readers hold it by `Arc` and never wait for writers.
//!
//! Rows are numbered through: run 0, run 1, ..., delta 0, delta 1, ... Every run and delta is dense, so a row finds
//! its place by binary search over the bases. A publication (rebuild) renumbers rows; a snapshot's rows mean nothing
//! to another snapshot.

use std::cmp::Ordering;
use std::sync::Arc;

use super::delta::Delta;
use super::generation::Generation;
use super::manifest::Config;
use super::payload::Payload;
use super::run::Run;
use super::tail::Tail;
use super::tombstones::Tombstones;
use crate::types::IdKind;

/// A committed state.
#[derive(Clone)]
pub(super) struct Snapshot {
    /// Configuration; the dimension is 0 until the first upsert when it was not given.
    pub(super) config: Config,
    /// Sequence number of the commit.
    pub(super) seq: u64,
    /// Items written or deleted in the life of the index.
    pub(super) writes: u64,
    /// Absent until the dimension is known.
    pub(super) generation: Option<Arc<Generation>>,
    /// Runs with the row they begin at.
    pub(super) runs: Vec<(u32, Arc<Run>)>,
    /// Deltas with the row they begin at.
    pub(super) deltas: Vec<(u32, Arc<Delta>)>,
    /// Codes of the deltas.
    pub(super) tail: Tail,
    /// Rows that are replaced or deleted.
    pub(super) tombstones: Tombstones,
    /// Number of rows.
    pub(super) end: u32,
}

/// Where a row lies.
pub(super) enum Place<'a> {
    Run(&'a Run, u32),
    Delta(&'a Delta, u32),
}

impl<'a> Place<'a> {
    /// The payload of the run or delta and the row in it.
    pub(super) fn payload(&self) -> Option<(&'a Payload, u32)> {
        match self {
            Self::Run(run, row) => run.payload.as_ref().map(|p| (p, *row)),
            Self::Delta(delta, row) => delta.payload.as_ref().map(|p| (p, *row)),
        }
    }
}

impl Snapshot {
    /// An index without items.
    pub(super) fn empty(config: Config, seq: u64) -> Self {
        Self {
            seq,
            writes: 0,
            config,
            generation: None,
            runs: Vec::new(),
            deltas: Vec::new(),
            tail: Tail::default(),
            tombstones: Tombstones::default(),
            end: 0,
        }
    }

    /// Number of live items.
    pub(super) fn live(&self) -> u64 {
        u64::from(self.end) - self.tombstones.count()
    }

    /// Number of live items in runs.
    pub(super) fn live_in_runs(&self) -> u64 {
        let end = self.runs_end();
        u64::from(end) - self.tombstones.iter().take_while(|&row| row < end).count() as u64
    }

    /// Number of items in deltas.
    pub(super) fn delta_items(&self) -> u64 {
        u64::from(self.end - self.runs_end())
    }

    /// One past the last row of the runs.
    pub(super) fn runs_end(&self) -> u32 {
        self.runs.last().map_or(0, |(base, run)| base + run.len())
    }

    /// Bytes of vectors and ids in deltas.
    pub(super) fn delta_bytes(&self) -> u64 {
        self.deltas.iter().map(|(_, d)| d.memory()).sum()
    }

    /// Bytes of all ids.
    pub(super) fn id_bytes(&self) -> u64 {
        let runs = self.runs.iter().map(|(_, run)| run.ids.memory());
        runs.chain(self.deltas.iter().map(|(_, delta)| delta.ids.memory())).sum()
    }

    /// Where `row` lies.
    pub(super) fn locate(&self, row: u32) -> Place<'_> {
        debug_assert!(row < self.end);
        if row < self.runs_end() {
            let (base, run) = &self.runs[self.runs.partition_point(|(base, _)| *base <= row) - 1];
            return Place::Run(run, row - base);
        }
        let (base, delta) = &self.deltas[self.deltas.partition_point(|(base, _)| *base <= row) - 1];
        Place::Delta(delta, row - base)
    }

    /// The order of the ids of two rows: of byte strings by byte, of numbers by value.
    pub(super) fn compare_ids(&self, a: u32, b: u32) -> Ordering {
        let (a, b) = (self.id(a), self.id(b));
        match self.config.id_kind {
            IdKind::Bytes => a.cmp(b),
            // Little-endian: the last byte weighs most.
            IdKind::U64 => a.iter().rev().cmp(b.iter().rev()),
        }
    }

    /// The id that `row` holds.
    pub(super) fn id(&self, row: u32) -> &[u8] {
        match self.locate(row) {
            Place::Run(run, row) => run.ids.get(row as usize),
            Place::Delta(delta, row) => delta.ids.get(row as usize),
        }
    }
}
