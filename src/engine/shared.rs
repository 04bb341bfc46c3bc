//! What all indexes of one db share: store, threads, cache, log, and whether the db may still be used.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::cache::Cache;
use super::jobs::Jobs;
use super::model::Models;
use super::options::{DbOptions, LogLevel, LogSink};
use super::workers::Workers;
use crate::crypto::Backend;
use crate::error::{Error, Result};
use crate::exec::{CancelToken, Exec};

/// The common part of a db and its indexes.
pub(super) struct Shared {
    pub(super) backend: Backend,
    /// For loops of background work, which may keep its threads busy for long.
    pub(super) exec: Exec,
    /// For loops of calls: an upsert that waited for a thread of `exec` would wait for a whole step of a training.
    pub(super) callers: Exec,
    pub(super) cache: Arc<Cache>,
    pub(super) workers: Workers,
    pub(super) jobs: Jobs,
    /// Models that are being trained.
    pub(super) models: Models,
    /// Bytes a training job may take when its options set no limit; `u64::MAX` = no limit.
    pub(super) job_memory: u64,
    log: Option<LogSink>,
    pid: u32,
    /// Set when the db closes, for background work that has no token of its own.
    pub(super) closing: CancelToken,
    closed: AtomicBool,
}

impl Shared {
    /// What is shared by the indexes of `backend`.
    pub(super) fn new(backend: Backend, options: &DbOptions) -> Self {
        let limit = |n: u64| if n == 0 { u64::MAX } else { n };
        // Half of the limit for the cache, half for jobs: ids, deltas and scratch are small beside both.
        let half = limit(options.memory_limit.div_ceil(2));
        Self {
            backend,
            exec: Exec::new(options.threads),
            callers: Exec::new(options.threads),
            cache: Cache::new(options.cache_mode, limit(options.cache_bytes).min(half)),
            workers: Workers::default(),
            jobs: Jobs::default(),
            models: Models::default(),
            job_memory: half,
            log: options.log.clone(),
            pid: std::process::id(),
            closing: CancelToken::new(),
            closed: AtomicBool::new(false),
        }
    }

    /// That the db is open and this is the process that opened it. First step of every call.
    pub(super) fn enter(&self) -> Result<()> {
        if std::process::id() != self.pid {
            return Err(Error::Forked);
        }
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed { what: "db" });
        }
        Ok(())
    }

    /// Marks the db closed; whether it was open.
    pub(super) fn close(&self) -> bool {
        self.closing.cancel();
        !self.closed.swap(true, Ordering::AcqRel)
    }

    /// Whether this is a forked child, where threads and locks of the parent must be left alone.
    pub(super) fn is_forked(&self) -> bool {
        std::process::id() != self.pid
    }

    /// Sends a record to the log callback, if there is one.
    pub(super) fn log(&self, level: LogLevel, target: &str, message: &str) {
        if let Some(sink) = &self.log {
            // A caller's panic must not end a job before its waiters are told.
            let _ = catch_unwind(AssertUnwindSafe(|| sink(level, target, message)));
        }
    }
}
