//! A db: an opened store with the indexes that are open in it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::index::Index;
use super::load;
use super::manifest::{Config, Manifest};
use super::model;
use super::options::{DbOptions, IndexOptions, LogLevel};
use super::results::{JobKind, ListedJob};
use super::shared::Shared;
use crate::crypto::{Backend, Vault};
use crate::error::{Error, Result};
use crate::types::MAX_NAME_LEN;

/// An opened store. Any method may be called from any thread at any time.
pub struct Db {
    pub(super) shared: Arc<Shared>,
    /// Indexes in use, by name; one `Index` each, however often it is opened.
    pub(super) open: Mutex<HashMap<String, Weak<Index>>>,
}

impl Db {
    /// Opens `memory:`, `file:PATH` or a plain path. The first process to open a file for writing keeps others out of
    /// that place (`Busy`) but not from reading.
    pub fn open(url: &str, options: DbOptions) -> Result<Arc<Self>> {
        Ok(Self::over(Backend::open(url, options.read_only)?, options))
    }

    /// A db over a store that is open. For tests with faults.
    #[doc(hidden)]
    #[must_use]
    pub fn over(backend: Backend, options: DbOptions) -> Arc<Self> {
        Arc::new(Self { shared: Arc::new(Shared::new(backend, &options)), open: Mutex::default() })
    }

    /// Names of all indexes. They are not secret: listing needs no key.
    pub fn list_indexes(&self) -> Result<Vec<String>> {
        self.shared.enter()?;
        let mut names = self.shared.backend.list()?;
        names.retain(|name| model::is_index(name));
        Ok(names)
    }

    /// Names of the indexes whose training is queued or running, sorted.
    pub fn training_status(&self) -> Result<Vec<String>> {
        let jobs = self.training_jobs()?.into_iter().filter(|job| job.kind == JobKind::Index);
        let mut names: Vec<String> = jobs.map(|job| job.name).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The jobs that run or wait, in the order they run.
    pub fn training_jobs(&self) -> Result<Vec<ListedJob>> {
        self.shared.enter()?;
        Ok(self.shared.jobs.list())
    }

    /// Makes an empty index that `key` (32 bytes) opens.
    pub fn create_index(self: &Arc<Self>, name: &str, key: &[u8], options: &IndexOptions) -> Result<Arc<Index>> {
        self.shared.enter()?;
        check_name(name)?;
        let manifest = Manifest::empty(Config::new(options)?);
        let mut open = self.open.lock();
        Vault::create(&self.shared.backend, name, key, &manifest.write())?;
        self.open_locked(&mut open, name, key)
    }

    /// Opens an index; a second opening gives the same one.
    pub fn open_index(self: &Arc<Self>, name: &str, key: &[u8]) -> Result<Arc<Index>> {
        self.shared.enter()?;
        check_name(name)?;
        let mut open = self.open.lock();
        if let Some(index) = open.get(name).and_then(Weak::upgrade)
            && index.enter().is_ok()
        {
            index.vault.check_key(key)?;
            return Ok(index);
        }
        self.open_locked(&mut open, name, key)
    }

    pub(super) fn open_locked(
        &self,
        open: &mut HashMap<String, Weak<Index>>,
        name: &str,
        key: &[u8],
    ) -> Result<Arc<Index>> {
        open.retain(|_, index| index.strong_count() > 0);
        let (vault, mut head) = Vault::open(&self.shared.backend, name, key)?;
        let vault = Arc::new(vault);
        let loaded = loop {
            match load::load(&self.shared, &vault, head.seq, &head.bytes) {
                // A writing process replaced what is being read here: the newest manifest names the rest.
                Err(Error::Corrupt { .. }) if vault.read_only() && vault.newer()? => head = vault.load()?,
                loaded => break loaded?,
            }
        };
        if !vault.read_only() {
            // What a crash left behind is named by nothing.
            let swept = vault.sweep(&load::live_objects(&loaded.manifest, &loaded.snapshot))?;
            if swept > 0 {
                self.shared.log(LogLevel::Info, "open", &format!("{swept} unreferenced objects removed"));
            }
        }
        let index = Index::new(Arc::clone(&self.shared), vault, loaded);
        open.insert(name.to_owned(), Arc::downgrade(&index));
        index.merge_if_due();
        Ok(index)
    }

    /// Removes an index and everything in it. Handles on it give `Closed` from then on.
    pub fn drop_index(&self, name: &str, key: &[u8]) -> Result<()> {
        self.shared.enter()?;
        check_name(name)?;
        let mut open = self.open.lock();
        let index = open.get(name).and_then(Weak::upgrade).filter(|index| index.enter().is_ok());
        match index {
            Some(index) => {
                index.vault.check_key(key)?;
                index.check_writable()?;
                // No commit is under way while this is held, and none follows. A failure leaves the index as it was.
                let _writer = index.writer.lock();
                // Before the objects go: a call that misses one must be told that the index is gone, not that it is
                // damaged.
                index.set_dropped(true);
                if let Err(e) = index.vault.destroy() {
                    index.set_dropped(false);
                    return Err(e);
                }
                index.cancel_job();
            }
            None => Vault::open(&self.shared.backend, name, key)?.0.destroy()?,
        }
        open.remove(name);
        Ok(())
    }

    /// Cancels jobs and waits for background work. Later calls on the db and its indexes give `Closed`; calls under way
    /// end by themselves. The store itself is closed when the last handle on the db, its indexes and cursors is gone.
    /// Idempotent.
    pub fn close(&self) {
        // In a forked child the threads and locks belong to the parent.
        if self.shared.is_forked() || !self.shared.close() {
            return;
        }
        self.shared.jobs.close();
        self.shared.workers.close();
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        self.close();
    }
}

pub(super) fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > MAX_NAME_LEN {
        return Err(Error::invalid("name", format_args!("{} bytes", name.len()), "1 to 255 bytes of UTF-8"));
    }
    if name.chars().any(char::is_control) {
        return Err(Error::invalid("name", "one with control characters", "no control characters"));
    }
    Ok(())
}
