//! Training of a model: the first half of an index's training, without the rebuild.
//!
//! The source merges what is unmerged (its own upkeep) and lends a snapshot; the job samples, clusters, fits the quantizer
//! and measures a recall curve. The snapshot keeps what it reads alive, so the source may be written to, trained and
//! compacted meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::keeper::{Keeper, Trained};
use super::record::Record;
use super::registry::{self, AtWork, now};
use super::{ModelInfo, ModelOptions, ModelState, check_description, check_id, measure};
use crate::crypto::{self, FORMAT};
use crate::engine::index::Index;
use crate::engine::job::TrainingJob;
use crate::engine::learn::Learning;
use crate::engine::manifest::Config;
use crate::engine::plan::Wanted;
use crate::engine::results::JobKind;
use crate::engine::snapshot::Snapshot;
use crate::error::{Error, Result};
use crate::exec::{Phase, Watch};

/// Rows read at a time unless asked otherwise.
const SEARCH_SIZE: u32 = 10_000;

impl ModelOptions<'_> {
    fn wanted(&self) -> Wanted<'_> {
        let page_rows = if self.search_size == 0 { SEARCH_SIZE } else { self.search_size };
        Wanted { options: &self.train, quantizer: self.quantizer, page_rows }
    }
}

impl Index {
    /// Trains a model from this index's vectors, under an id (`None`: a random one) and a key of its own. Returns at once;
    /// the record is durable then. Refused at once: what [`Index::train`] refuses, a taken id, a description that is too
    /// long. The job stops when the db is closed.
    pub fn train_model(
        &self,
        id: Option<&str>,
        key: &[u8],
        options: &ModelOptions<'_>,
    ) -> Result<(Arc<TrainingJob>, ModelInfo)> {
        self.enter()?;
        self.check_writable()?;
        check_description(options.description)?;
        let s = self.snapshot.load_full();
        if let Some(quantizer) = options.quantizer {
            quantizer.check(s.config.dimension)?;
        }
        let plan = self.plan(&options.wanted(), &s.config, s.live(), s.id_bytes())?;
        let id = match id {
            Some(id) => id.to_owned(),
            None => crypto::random_id()?,
        };
        check_id(&id)?;
        let info = ModelInfo {
            id: id.clone(),
            state: ModelState::Training,
            created_at: now(),
            description: options.description.to_owned(),
            source: self.name().to_owned(),
            dimension: s.config.dimension,
            metric: s.config.metric,
            quantizer: options.quantizer,
            n_lists: plan.n_lists as u32,
            seed: plan.seed,
            format: FORMAT.into(),
            library: env!("CARGO_PKG_VERSION").to_owned(),
            ..ModelInfo::default()
        };
        drop(s);
        let mut running = self.shared.models.running.lock();
        let record = Record { info, ..Record::default() };
        let keeper = Arc::new(Keeper::create(&self.shared.backend, &id, key, record, None)?);
        let job = Arc::new(TrainingJob::new(JobKind::Model, &id, options.train));
        let at_work = Arc::clone(&job);
        let options = ModelOptions { description: "", ..*options };
        let submitted = self.me.upgrade().ok_or(Error::Closed { what: "index" }).and_then(|me| {
            let task = move || me.run_model(&at_work, &options);
            self.shared.jobs.submit(&self.shared.workers, &job, Box::new(task))
        });
        if let Err(e) = submitted {
            // Nothing was begun, so nothing is to be seen of it; a record that stays says that it was interrupted.
            let _ = keeper.destroy();
            return Err(e);
        }
        running.insert(id, AtWork { job: Arc::clone(&job), keeper: Arc::clone(&keeper) });
        Ok((job, registry::info(&self.shared, &keeper)?))
    }

    fn run_model(&self, job: &Arc<TrainingJob>, options: &ModelOptions<'_>) {
        job.run(&self.shared, |watch| {
            let work = AssertUnwindSafe(|| self.train_model_now(job, watch, options));
            let panicked = Err(Error::Internal { what: "training panicked" });
            let result = catch_unwind(work).unwrap_or(panicked).map_err(|e| self.cause(e));
            // Before the job is over: who waited for it finds the record as it ended.
            self.finish_model(job, result)
        });
        registry::reap(&self.shared, &mut self.shared.models.running.lock(), job);
        // The job held a snapshot, and may have merged.
        self.tidy();
    }

    /// Writes the end of a job into its record, unless it was deleted meanwhile.
    fn finish_model(&self, job: &Arc<TrainingJob>, result: Result<Trained>) -> Result<()> {
        let mut running = self.shared.models.running.lock();
        let at_work = registry::take(&mut running, job).ok_or(Error::Cancelled)?;
        let outcome = result.and_then(|trained| at_work.keeper.created(&trained, now()));
        if let Err(e) = &outcome {
            registry::fail(&self.shared, &at_work, e);
        }
        outcome
    }

    fn train_model_now(&self, job: &TrainingJob, watch: &Watch, options: &ModelOptions<'_>) -> Result<Trained> {
        self.enter()?;
        let (pinned, plan) = self.settled(&options.wanted(), watch, |_| ())?;
        // What is learned from the source is coded as the model says, not as the source is.
        let config = Config { quantizer: options.quantizer, ..pinned.config };
        let pinned = Arc::new(Snapshot { config, ..Snapshot::clone(&pinned) });
        let learning = Learning { index: self, job, watch, pinned: &pinned, plan: &plan };
        let (mut generation, calibrator) = learning.run()?;
        let learned = job.progress.read();
        job.progress.enter(Phase::Calibrating, plan.sample as u64);
        (generation.biases, generation.curve) =
            measure::calibrate(self, &pinned, &plan, &generation, calibrator, watch, &job.progress)?;
        job.progress.enter(Phase::Publishing, 0);
        // The first of an index that has written nothing yet.
        (generation.number, generation.measured_at) = (1, 0);
        let bytes = Zeroizing::new(generation.write());
        let info = ModelInfo {
            dimension: config.dimension,
            metric: config.metric,
            quantizer: Some(generation.quantizer.spec()),
            n_lists: generation.lists() as u32,
            seed: plan.seed,
            vectors_used: plan.learned as u64,
            passes: learned.iteration,
            objective: learned.objective,
            bytes: bytes.len() as u64,
            ..ModelInfo::default()
        };
        watch.check()?;
        Ok(Trained { info, bytes })
    }
}
