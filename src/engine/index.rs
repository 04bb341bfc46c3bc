//! An open index: its committed state, the writer's side of it, and the calls that need no file of their own.
//!
//! Lock order: the db's `models.running` < its table of open indexes < `merging` < `writer` < `ids`; `writer` < `job` <
//! the locks of the db's queue of jobs, which also come after `models.running`; `queue` stands alone. Readers take the
//! snapshot (one atomic load) and, where they start from ids, the id map for as long as the lookup; snapshot and id map change together
//! under the id map's write lock, so a reader that holds it sees both of one commit.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use zeroize::Zeroizing;

use super::ids::{IdColumn, IdMap};
use super::intake::{Intake, decode_base64};
use super::job::TrainingJob;
use super::load::{self, Loaded};
use super::manifest::Manifest;
use super::options::{Batch, Ids};
use super::results::UpsertResult;
use super::search::QueryScratch;
use super::shared::Shared;
use super::snapshot::Snapshot;
use super::tail::Spare;
use super::turns::Turns;
use super::write::{Op, Request};
use crate::buffer::Wiped;
use crate::crypto::{ObjectRef, Sealed, Vault};
use crate::error::{Error, Result};
use crate::exec::Watch;

/// How long a process that only reads may answer from what it knows before it looks for a newer commit.
const REFRESH: Duration = Duration::from_millis(100);
/// How often such a process tries again when the writing process replaces what it is reading.
const FOLLOW_ATTEMPTS: usize = 5;

/// An open index. Any method may be called from any thread at any time.
pub struct Index {
    pub(super) me: Weak<Index>,
    pub(super) shared: Arc<Shared>,
    pub(super) vault: Arc<Vault>,
    pub(super) snapshot: ArcSwap<Snapshot>,
    pub(super) ids: RwLock<IdMap>,
    pub(super) writer: Mutex<WriterState>,
    pub(super) queue: Mutex<VecDeque<Request>>,
    /// Held by whoever replaces runs: a merge, a compaction, the end of a training.
    pub(super) merging: Turns,
    /// Leading runs that a training reads and merges must leave alone.
    pub(super) pinned_runs: AtomicUsize,
    pub(super) merge_queued: AtomicBool,
    /// Deltas below which no merge is tried, after one that failed.
    pub(super) merge_again_at: AtomicUsize,
    /// The last job, queued, running or over.
    pub(super) job: Mutex<Option<Arc<TrainingJob>>>,
    /// Id of the model it was made from.
    pub(super) model: Option<String>,
    pub(super) scratch: Mutex<Vec<QueryScratch>>,
    pub(super) cache_hits: AtomicU64,
    /// Bytes of codes that [`WriterState::spare`] holds.
    pub(super) spare_bytes: AtomicUsize,
    dropped: AtomicBool,
    /// Processes that only read: when a newer commit was last looked for.
    looked: Mutex<Instant>,
}

/// What only a committer touches.
pub(super) struct WriterState {
    pub(super) manifest: Manifest,
    /// What the next append to the tail may write over.
    pub(super) spare: Spare,
    retired: Vec<Retired>,
}

/// Objects that the newest manifest does not name, to be deleted when no snapshot uses them.
pub(super) struct Retired {
    pub(super) objects: Vec<ObjectRef>,
    pub(super) unused: Box<dyn Fn() -> bool + Send>,
}

impl Index {
    /// Puts what was loaded to use.
    pub(super) fn new(shared: Arc<Shared>, vault: Arc<Vault>, loaded: Loaded) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            shared,
            vault,
            snapshot: ArcSwap::from_pointee(loaded.snapshot),
            ids: RwLock::new(loaded.ids),
            model: loaded.manifest.model.clone(),
            writer: Mutex::new(WriterState { manifest: loaded.manifest, spare: Spare::default(), retired: Vec::new() }),
            queue: Mutex::default(),
            merging: Turns::default(),
            pinned_runs: AtomicUsize::new(0),
            merge_queued: AtomicBool::new(false),
            merge_again_at: AtomicUsize::new(0),
            job: Mutex::default(),
            scratch: Mutex::default(),
            cache_hits: AtomicU64::new(0),
            spare_bytes: AtomicUsize::new(0),
            dropped: AtomicBool::new(false),
            looked: Mutex::new(Instant::now()),
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.vault.name()
    }

    /// That the index may be used: not closed, not dropped, not in a forked child.
    pub(super) fn enter(&self) -> Result<()> {
        self.shared.enter()?;
        if self.dropped.load(Ordering::Acquire) {
            return Err(Error::Closed { what: "index" });
        }
        Ok(())
    }

    /// What to tell of a call that failed with `e`: of an index dropped or closed meanwhile, just that.
    pub(super) fn cause(&self, e: Error) -> Error {
        self.enter().err().unwrap_or(e)
    }

    /// Whether calls give `Closed` from now on.
    pub(super) fn set_dropped(&self, dropped: bool) {
        self.dropped.store(dropped, Ordering::Release);
    }

    pub(super) fn cancel_job(&self) {
        if let Some(job) = &*self.job.lock() {
            job.cancel();
        }
    }

    pub(super) fn check_writable(&self) -> Result<()> {
        if self.vault.read_only() {
            return Err(Error::ReadOnly { why: "it was opened so" });
        }
        Ok(())
    }

    /// The state to answer from: in a process that only reads, brought up to date now and then.
    pub(super) fn current(&self) -> Result<Arc<Snapshot>> {
        self.enter()?;
        if self.vault.read_only() {
            self.follow().map_err(|e| match e {
                // The writing process dropped it.
                Error::NotFound { .. } => Error::Closed { what: "index" },
                e => e,
            })?;
        }
        Ok(self.snapshot.load_full())
    }

    fn follow(&self) -> Result<()> {
        // Another thread that is already looking does it for this one too.
        let Some(mut looked) = self.looked.try_lock() else { return Ok(()) };
        if self.is_behind() || looked.elapsed() >= REFRESH {
            *looked = Instant::now();
            self.catch_up()?;
        }
        Ok(())
    }

    /// Whether a newer head was seen than the one in memory: reading what it names failed the last time.
    fn is_behind(&self) -> bool {
        self.snapshot.load().seq != self.vault.seq()
    }

    /// Brings memory up to the newest commit of the writing process.
    pub(super) fn catch_up(&self) -> Result<()> {
        let mut writer = self.writer.lock();
        // The writer may replace runs and delete their objects while they are read here; then the next manifest
        // names others.
        for attempt in 0.. {
            if !self.is_behind() && !self.vault.newer()? {
                break;
            }
            let head = self.vault.load()?;
            let known = (&writer.manifest, &**self.snapshot.load());
            match load::follow(&self.shared, &self.vault, known, &self.ids, head.seq, &head.bytes) {
                Ok(newer) => {
                    let mut ids = self.ids.write();
                    let (manifest, snapshot) = newer.apply(&mut ids);
                    writer.manifest = manifest;
                    self.snapshot.store(Arc::new(snapshot));
                    break;
                }
                Err(e) if attempt == FOLLOW_ATTEMPTS || !self.vault.newer()? => return Err(e),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Runs `read`, and again from a newer state if what it read was deleted under its hands: in a process that only
    /// reads, the writing process does not know which state is in use here.
    pub(super) fn reading<T>(&self, mut read: impl FnMut() -> Result<T>) -> Result<T> {
        for _ in 0..FOLLOW_ATTEMPTS {
            let seen = self.snapshot.load().seq;
            match read() {
                Err(Error::Corrupt { what }) if self.vault.read_only() => {
                    self.catch_up().map_err(|e| self.cause(e))?;
                    if self.snapshot.load().seq == seen {
                        return Err(Error::Corrupt { what });
                    }
                }
                other => return other.map_err(|e| self.cause(e)),
            }
        }
        read().map_err(|e| self.cause(e))
    }

    /// Makes `manifest` the newest, with `puts`, in one durable step; deletes what was retired and is unused now.
    pub(super) fn commit(&self, writer: &mut WriterState, manifest: Manifest, puts: Vec<Sealed>) -> Result<u64> {
        let (unused, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut writer.retired).into_iter().partition(|r| (r.unused)());
        writer.retired = kept;
        let deletes: Vec<ObjectRef> = unused.iter().flat_map(|r| r.objects.iter().cloned()).collect();
        match self.vault.commit(&Wiped::new(manifest.write()), puts, &deletes) {
            Ok(seq) => {
                writer.manifest = manifest;
                Ok(seq)
            }
            Err(e) => {
                writer.retired.extend(unused);
                Err(e)
            }
        }
    }

    /// Hands objects over to later deletion.
    pub(super) fn retire(&self, writer: &mut WriterState, retired: impl IntoIterator<Item = Retired>) {
        writer.retired.extend(retired);
    }

    /// Deletes what was retired and is unused now.
    pub(super) fn collect_garbage(&self) -> Result<()> {
        let mut writer = self.writer.lock();
        let (unused, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut writer.retired).into_iter().partition(|r| (r.unused)());
        writer.retired = kept;
        let deletes: Vec<ObjectRef> = unused.iter().flat_map(|r| r.objects.iter().cloned()).collect();
        if !deletes.is_empty()
            && let Err(e) = self.vault.delete(&deletes)
        {
            writer.retired.extend(unused);
            return Err(e);
        }
        Ok(())
    }

    /// Adds or replaces the items of `batch`, durably; all or nothing. Starts training when the index has grown past
    /// its threshold and may.
    pub fn upsert(&self, batch: &Batch<'_>, watch: &Watch) -> Result<UpsertResult> {
        self.enter()?;
        self.check_writable()?;
        watch.check()?;
        let config = self.snapshot.load().config;
        let intake = Intake::new(batch, &config)?;
        watch.check()?;
        let done = self.write(Op::Upsert(intake)).map_err(|e| self.cause(e))?;
        self.merge_if_due();
        let (training_triggered, threshold) = self.train_if_outgrown(done.live);
        Ok(UpsertResult {
            inserted: done.inserted,
            updated: done.updated,
            superseded: done.superseded,
            training_triggered,
            vector_count: done.live,
            threshold,
        })
    }

    /// As [`Self::upsert`], with the vectors as standard base64 of `count x dimension` little-endian float32 values;
    /// `batch.vectors` must be empty.
    pub fn upsert_base64(&self, batch: &Batch<'_>, vectors_base64: &[u8], watch: &Watch) -> Result<UpsertResult> {
        self.enter()?;
        let vectors = Zeroizing::new(decode_base64(vectors_base64, batch.ids.len(), batch.dimension)?);
        self.upsert(&Batch { vectors: &vectors, ..*batch }, watch)
    }

    /// Removes items, durably; the number that were there.
    pub fn delete(&self, ids: Ids<'_>) -> Result<u64> {
        self.enter()?;
        self.check_writable()?;
        let kind = self.snapshot.load().config.id_kind;
        ids.check(kind)?;
        let mut column = IdColumn::with_capacity(kind, ids.len())?;
        (0..ids.len()).for_each(|i| ids.with(i, |id| column.push(id)));
        let done = self.write(Op::Delete(column)).map_err(|e| self.cause(e))?;
        self.merge_if_due();
        Ok(done.deleted)
    }
}
