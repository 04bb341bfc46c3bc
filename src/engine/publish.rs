//! Publication: rebuilt ranges take the place of what they were made from, in one commit.
//!
//! Under the writer's lock everything that happened since the rebuild pinned its snapshot is carried over: rows that
//! died since are mapped to their new numbers and marked, deltas that came since are coded anew behind the new runs,
//! and the id map is renumbered. Then one commit names the new objects; the old ones are retired. A crash at any point
//! leaves the old state or the new.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::delta::Delta;
use super::generation::Generation;
use super::index::{Index, Retired};
use super::rebuild::{DROPPED, Rebuilt};
use super::run::Run;
use super::snapshot::Snapshot;
use super::tail::{Spare, Tail};
use super::{blob, load};
use crate::crypto::{Kind, Sealed};
use crate::error::Result;

/// Old row numbers to new ones.
struct Renumbering<'a> {
    /// Rebuilt ranges in row order, each with the row its new run begins at.
    ranges: Vec<(&'a Rebuilt, u32)>,
    /// Runs and deltas that stay: first and last row of old, first row of new.
    kept: Vec<(u32, u32, u32)>,
}

impl Renumbering<'_> {
    /// The new number of `row`, [`DROPPED`] if it is gone.
    fn row(&self, row: u32) -> u32 {
        for (rebuilt, base) in &self.ranges {
            if rebuilt.rows().contains(&row) {
                let place = rebuilt.map[(row - rebuilt.first) as usize];
                return if place == DROPPED { DROPPED } else { base + place };
            }
        }
        let at = self.kept.partition_point(|&(first, ..)| first <= row);
        match at.checked_sub(1).map(|i| self.kept[i]) {
            Some((first, end, base)) if row < end => base + (row - first),
            _ => DROPPED,
        }
    }
}

impl Index {
    /// Publishes `rebuilt`, adjacent ranges in row order. With a new `generation` (and its sealed object) they must
    /// cover all runs. The caller holds `merging`.
    pub(super) fn publish(&self, rebuilt: &[Rebuilt], generation: Option<(Arc<Generation>, Sealed)>) -> Result<()> {
        let mut writer = self.writer.lock();
        self.enter()?;
        let current = self.snapshot.load_full();
        let (Some(first), Some(last)) = (rebuilt.first(), rebuilt.last()) else { return Ok(()) };
        let covers_all = first.runs.start == 0 && last.runs.end == current.runs.len();
        if !rebuilt.iter().all(|r| r.still_fits(&current)) || (generation.is_some() && !covers_all) {
            return Err(Rebuilt::overtaken());
        }
        let gone_deltas = rebuilt.iter().map(|r| r.deltas).max().unwrap_or(0);
        let mut next = Snapshot { writes: current.writes, ..Snapshot::empty(current.config, current.seq) };
        next.generation = generation.as_ref().map(|(g, _)| Arc::clone(g)).or_else(|| current.generation.clone());
        let Some(g) = next.generation.clone() else { return Ok(()) };

        // Runs and deltas in their new order, and how rows move.
        let mut moves = Renumbering { ranges: Vec::new(), kept: Vec::new() };
        let keep_run = |next: &mut Snapshot, moves: &mut Renumbering<'_>, base: u32, run: &Arc<Run>| -> Result<()> {
            moves.kept.push((base, base + run.len(), next.end));
            next.runs.push((next.end, Arc::clone(run)));
            next.end = load::grow(next.end, run.len())?;
            Ok(())
        };
        for (base, run) in &current.runs[..first.runs.start] {
            keep_run(&mut next, &mut moves, *base, run)?;
        }
        for r in rebuilt {
            moves.ranges.push((r, next.end));
            if let Some(run) = &r.run {
                next.runs.push((next.end, Arc::clone(run)));
                next.end = load::grow(next.end, r.live())?;
            }
        }
        for (base, run) in &current.runs[last.runs.end..] {
            keep_run(&mut next, &mut moves, *base, run)?;
        }
        next.tail = Tail::default();
        // What stays of spare chunks would keep the chains of the old tail, or of this one if it is given up.
        writer.spare = Spare::default();
        self.spare_bytes.store(0, Ordering::Relaxed);
        let mut replaced = Spare::default();
        for (base, delta) in &current.deltas[gone_deltas..] {
            moves.kept.push((*base, base + delta.len(), next.end));
            next.tail = next.tail.append(&g, &self.shared.callers, next.end, delta.vectors.f32s(), &mut replaced)?;
            next.deltas.push((next.end, Arc::clone(delta)));
            next.end = load::grow(next.end, delta.len())?;
        }
        for row in current.tombstones.iter().map(|row| moves.row(row)).filter(|&row| row != DROPPED) {
            next.tombstones.insert(row);
        }

        // The manifest, and what it puts.
        let mut manifest = writer.manifest.clone();
        let mut puts = Vec::new();
        let mut retired = retired(&current, rebuilt, gone_deltas);
        manifest.runs = next.runs.iter().map(|(_, run)| run.directory().clone()).collect();
        manifest.deltas = next.deltas.iter().map(|(_, delta)| delta.object.clone()).collect();
        let dead = next.tombstones.write(next.runs_end());
        let any_dead = next.tombstones.iter().next().is_some_and(|row| row < next.runs_end());
        let tombstones =
            if any_dead { Some(self.vault.seal(Kind::Tombstones, blob::frame_for(dead.len()), &dead)?) } else { None };
        let old = std::mem::replace(&mut manifest.tombstones, tombstones.as_ref().map(|s| s.reference.clone()));
        retired.extend(old.map(|object| Retired { objects: vec![object], unused: Box::new(|| true) }));
        puts.extend(tombstones);
        if let Some((_, sealed)) = generation {
            let old = manifest.generation.replace(sealed.reference.clone());
            retired.extend(old.map(|object| Retired { objects: vec![object], unused: Box::new(|| true) }));
            puts.push(sealed);
        }
        puts.extend(rebuilt.iter().flat_map(|r| r.drafts.take_waiting()));
        let committed = self.commit(&mut writer, manifest, puts);
        if committed.is_ok() || self.vault.in_doubt() {
            rebuilt.iter().for_each(|r| r.drafts.keep());
        }
        next.seq = committed?;

        let mut ids = self.ids.write();
        ids.renumber(|row| moves.row(row));
        self.snapshot.store(Arc::new(next));
        drop(ids);
        drop(current);
        self.retire(&mut writer, retired);
        Ok(())
    }
}

/// What the publication replaces, to be deleted when no snapshot uses it.
fn retired(current: &Snapshot, rebuilt: &[Rebuilt], gone_deltas: usize) -> Vec<Retired> {
    let runs = rebuilt.iter().flat_map(|r| &current.runs[r.runs.clone()]).map(|(_, run): &(u32, Arc<Run>)| {
        let weak = Arc::downgrade(run);
        Retired { objects: run.objects().cloned().collect(), unused: Box::new(move || weak.strong_count() == 0) }
    });
    let deltas = current.deltas[..gone_deltas].iter().map(|(_, delta): &(u32, Arc<Delta>)| {
        let weak = Arc::downgrade(delta);
        Retired { objects: vec![delta.object.clone()], unused: Box::new(move || weak.strong_count() == 0) }
    });
    runs.chain(deltas).collect()
}
