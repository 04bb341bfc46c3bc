//! Calls that only look: items by id, ids, counts, configuration, sizes, verification.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::cursor::Cursor;
use super::fields;
use super::index::Index;
use super::job::TrainingJob;
use super::load;
use super::manifest::{Config, Manifest};
use super::options::{Ids, include};
use super::results::{IndexInfo, IndexStats, Items, StringColumn};
use super::snapshot::Snapshot;
use crate::error::{Error, Result};
use crate::exec::Watch;
use crate::kernels::LANES;
use crate::types::QuantizerSpec;

impl Index {
    /// The rows of `ids` (`None` = not there) and the snapshot they belong to.
    pub(super) fn rows_of(&self, ids: Ids<'_>) -> Result<(Arc<Snapshot>, Vec<Option<u32>>)> {
        self.current()?;
        let map = self.ids.read();
        let snapshot = self.snapshot.load_full();
        ids.check(snapshot.config.id_kind)?;
        let rows = (0..ids.len()).map(|i| ids.with(i, |id| map.find(id, |row| snapshot.id(row)))).collect();
        Ok((snapshot, rows))
    }

    /// Whether each id is there.
    pub fn contains(&self, ids: Ids<'_>) -> Result<Vec<bool>> {
        Ok(self.rows_of(ids)?.1.iter().map(Option::is_some).collect())
    }

    /// Items by id, with the columns asked for (bits of [`mod@include`]).
    pub fn get(&self, ids: Ids<'_>, include: u32) -> Result<Items> {
        if include & !include::ALL != 0 {
            return Err(Error::invalid("include", include, "a sum of the include bits"));
        }
        self.reading(|| self.fetch(ids, include))
    }

    fn fetch(&self, ids: Ids<'_>, include: u32) -> Result<Items> {
        let (snapshot, rows) = self.rows_of(ids)?;
        let mut asked = StringColumn::default();
        (0..ids.len()).try_for_each(|i| ids.with(i, |id| asked.push(id)))?;
        Ok(Items {
            id_kind: snapshot.config.id_kind,
            dimension: snapshot.config.dimension,
            found: rows.iter().map(Option::is_some).collect(),
            ids: asked,
            fields: fields::fetch(&snapshot, &rows, include)?,
        })
    }

    /// A cursor over the ids of the present state.
    pub fn list_ids(&self) -> Result<Cursor> {
        let index = self.me.upgrade().ok_or(Error::Closed { what: "index" })?;
        Ok(Cursor { snapshot: self.current()?, index, row: 0 })
    }

    /// Number of items.
    pub fn count(&self) -> Result<u64> {
        Ok(self.current()?.live())
    }

    /// Whether a training job is queued or running.
    pub fn is_training(&self) -> Result<bool> {
        self.enter()?;
        Ok(self.job.lock().as_ref().is_some_and(|j| !j.is_over()))
    }

    /// The present or last job in this process, whoever started it; `NotFound` while there has been none. Also one that an
    /// upsert would have started and that was refused.
    pub fn last_training(&self) -> Result<Arc<TrainingJob>> {
        self.enter()?;
        self.job.lock().clone().ok_or(Error::NotFound { what: "training job" })
    }

    /// Whether there is a trained generation.
    pub fn is_trained(&self) -> Result<bool> {
        Ok(self.current()?.generation.as_ref().is_some_and(|g| g.number > 0))
    }

    /// Configuration and state.
    pub fn describe(&self) -> Result<IndexInfo> {
        let training = self.is_training()?;
        let s = self.current()?;
        let Config { dimension, metric, quantizer, vector_precision, id_kind, auto_train, .. } = s.config;
        let Config { retrain_threshold, target_recall, seed, .. } = s.config;
        let generation = s.generation.as_deref();
        let n_lists = generation.map_or(1, |g| g.lists());
        let auto_probes = generation.map_or(1, |g| g.curve.probes(10, g.target(target_recall), n_lists));
        Ok(IndexInfo {
            name: self.name().to_owned(),
            model: self.model.clone(),
            dimension,
            metric,
            quantizer,
            coded: generation.map_or(QuantizerSpec::Flat, |g| g.quantizer.spec()),
            code_bytes: generation.map_or(0, |g| g.quantizer.block_bytes() / LANES) as u32,
            vector_precision,
            id_kind,
            trained: generation.is_some_and(|g| g.number > 0),
            training,
            auto_train,
            count: s.live(),
            n_lists: n_lists as u32,
            auto_probes: auto_probes as u32,
            recall: generation.map_or_else(Default::default, |g| g.curve.reading()),
            generation: generation.map_or(0, |g| g.number),
            sequence: s.seq,
            retrain_threshold,
            target_recall,
            seed,
        })
    }

    /// Id of the model it was made from, which may be gone.
    pub fn model(&self) -> Result<Option<String>> {
        self.enter()?;
        Ok(self.model.clone())
    }

    /// Sizes and counters.
    pub fn stats(&self) -> Result<IndexStats> {
        let s = self.current()?;
        let mut stats = IndexStats {
            count: s.live(),
            tombstones: s.tombstones.count(),
            deltas: s.deltas.len() as u64,
            delta_items: s.delta_items(),
            runs: s.runs.len() as u64,
            stored_bytes: self.vault.stored_bytes()?,
            resident_bytes: s.delta_bytes()
                + s.tail.memory()
                + self.spare_bytes.load(Ordering::Relaxed) as u64
                + self.ids.read().memory(),
            cache_hits: self.cache_hits.load(Ordering::Relaxed),
            writes: s.writes,
            curve_writes: s.generation.as_ref().map_or(0, |g| g.measured_at),
            curve_queries: s.generation.as_ref().map_or(0, |g| g.curve.queries().into()),
            ..IndexStats::default()
        };
        let lists = s.generation.as_ref().map_or(1, |g| g.lists());
        let mut sizes = vec![0u64; lists];
        for (_, run) in &s.runs {
            let (resident, cached, misses) = run.memory();
            stats.resident_bytes += resident;
            stats.cache_bytes += cached;
            stats.cache_misses += misses;
            sizes.iter_mut().enumerate().for_each(|(l, size)| *size += u64::from(run.extents.list_len(l)));
        }
        let total: u64 = sizes.iter().sum();
        if s.generation.as_ref().is_some_and(|g| g.number > 0) && total > 0 {
            let mean = total as f64 / lists as f64;
            let squares: f64 = sizes.iter().map(|&n| (n as f64).powi(2)).sum();
            stats.largest_list_permille = (sizes.iter().max().copied().unwrap_or(0) as f64 / mean * 1000.0) as u64;
            stats.balance_permille = (squares / (mean * total as f64) * 1000.0) as u64;
        }
        Ok(stats)
    }

    /// Reads and authenticates every live object; the error is that of the first that is damaged.
    pub fn verify(&self, watch: &Watch) -> Result<()> {
        self.current()?;
        let (manifest, s) = self.committed();
        self.verify_head()?;
        for object in load::live_objects(&manifest, &s) {
            watch.check()?;
            if let Err(e) = self.vault.verify(&object) {
                // It may have been replaced and deleted since.
                if self.vault.read_only() {
                    self.catch_up()?;
                }
                let (manifest, s) = self.committed();
                if load::live_objects(&manifest, &s).contains(&object) {
                    return Err(self.cause(e));
                }
            }
        }
        Ok(())
    }

    /// That the head is authentic and, for a writer, its own: adopting another's would let the next commit overwrite it.
    fn verify_head(&self) -> Result<()> {
        let _no_commit = self.writer.lock();
        if !self.vault.read_only() && self.vault.newer()? {
            return Err(Error::Fenced);
        }
        self.vault.load().map(|_| ())
    }

    /// Manifest and snapshot of one commit.
    fn committed(&self) -> (Manifest, Arc<Snapshot>) {
        let writer = self.writer.lock();
        (writer.manifest.clone(), self.snapshot.load_full())
    }
}
