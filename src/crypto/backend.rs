//! An opened store as the engine sees it: where indexes live, without a way to read or write bytes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::file::FileStore;
use crate::store::memory::MemoryStore;

/// An opened store. Cheap to clone; the store closes with the last clone and the last vault on it.
#[derive(Clone)]
pub struct Backend {
    store: Arc<dyn Store>,
    /// The process that opened it: a child must not touch the file its parent has open.
    pid: u32,
}

impl Backend {
    /// Opens `memory:` (a new, empty store) or `file:PATH`; anything else is taken as a path. A file is made when there is
    /// none, unless `read_only`. [`Error::Busy`] when another handle or process writes to it.
    pub fn open(url: &str, read_only: bool) -> Result<Self> {
        let store: Arc<dyn Store> = match url.split_once(':') {
            Some(("memory", "")) if read_only => {
                return Err(Error::invalid("url", url, "\"memory:\" cannot be opened read-only"));
            }
            Some(("memory", "")) => Arc::new(MemoryStore::new()),
            Some(("file", path)) => Arc::new(FileStore::open(Path::new(path), read_only)?),
            Some((scheme, rest)) if rest.starts_with("//") || scheme == "memory" => {
                return Err(Error::invalid("url", url, "\"memory:\", \"file:PATH\" or a path"));
            }
            _ => Arc::new(FileStore::open(Path::new(url), read_only)?),
        };
        Ok(Self::over(store))
    }

    /// A backend over any store. For tests with faults.
    #[doc(hidden)]
    #[must_use]
    pub fn over(store: Arc<dyn Store>) -> Self {
        Self { store, pid: std::process::id() }
    }

    /// Names of all indexes, in order.
    pub fn list(&self) -> Result<Vec<String>> {
        Ok(self.store()?.spaces()?.into_iter().map(|(name, _)| name).collect())
    }

    /// Whether there is an index of that name.
    pub fn contains(&self, name: &str) -> Result<bool> {
        Ok(self.store()?.find_space(name)?.is_some())
    }

    /// Names of all indexes with their uuids, which no other index ever has. Not secret.
    pub fn uuids(&self) -> Result<HashMap<String, [u8; 16]>> {
        Ok(self.store()?.spaces()?.into_iter().collect())
    }

    /// Removes an index without its key, for what no key opens any more. [`Error::NotFound`] when there is none.
    pub fn drop_index(&self, name: &str) -> Result<()> {
        const NONE: Error = Error::NotFound { what: "index" };
        let id = self.store()?.find_space(name)?.ok_or(NONE)?;
        if self.store()?.drop_space(id)? { Ok(()) } else { Err(NONE) }
    }

    /// Whether every write gives [`Error::ReadOnly`].
    #[must_use]
    pub fn read_only(&self) -> bool {
        self.store.read_only()
    }

    /// Whether what was acknowledged survives the process.
    #[must_use]
    pub fn durable(&self) -> bool {
        self.store.caps().durable
    }

    /// Gives the room of removed objects back to the system.
    pub fn reclaim(&self) -> Result<()> {
        self.store()?.reclaim()
    }

    /// Bytes the store takes on its medium.
    pub fn size(&self) -> Result<u64> {
        self.store()?.size()
    }

    /// The store, or [`Error::Forked`] in a child process.
    pub(super) fn store(&self) -> Result<&Arc<dyn Store>> {
        if self.pid == std::process::id() { Ok(&self.store) } else { Err(Error::Forked) }
    }
}
