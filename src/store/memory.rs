//! The `memory:` store: maps behind one lock. Nothing survives the last handle.
//!
//! Also the bench for tampering: tests reach every stored byte through [`MemoryStore::with_space`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;

use super::{Caps, Head, Name, SpaceId, Store, range_end};
use crate::error::{Error, Result};

/// A store in memory.
#[derive(Default)]
pub struct MemoryStore {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    catalog: BTreeMap<String, SpaceId>,
    spaces: HashMap<SpaceId, Space>,
}

/// What a space holds.
#[derive(Clone)]
#[doc(hidden)]
pub struct Space {
    pub head: Head,
    pub objects: HashMap<Name, Arc<Vec<u8>>>,
}

const NO_SPACE: Error = Error::NotFound { what: "index" };
const NO_OBJECT: Error = Error::NotFound { what: "object" };

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Hands out a space to be looked at or damaged. For tests.
    #[doc(hidden)]
    pub fn with_space<T>(&self, id: SpaceId, f: impl FnOnce(&mut Space) -> T) -> Option<T> {
        self.inner.write().spaces.get_mut(&id).map(f)
    }

    /// Gives a space another name without telling it. For tests.
    #[doc(hidden)]
    pub fn rename(&self, from: &str, to: &str) {
        let mut inner = self.inner.write();
        if let Some(id) = inner.catalog.remove(from) {
            inner.catalog.insert(to.to_owned(), id);
        }
    }
}

impl Store for MemoryStore {
    fn caps(&self) -> Caps {
        Caps { durable: false, shared: false, max_object: 1 << 40 }
    }

    fn read_only(&self) -> bool {
        false
    }

    fn spaces(&self) -> Result<Vec<(String, SpaceId)>> {
        Ok(self.inner.read().catalog.iter().map(|(name, id)| (name.clone(), *id)).collect())
    }

    fn find_space(&self, name: &str) -> Result<Option<SpaceId>> {
        Ok(self.inner.read().catalog.get(name).copied())
    }

    fn create_space(&self, name: &str, id: SpaceId, head: &[u8], puts: &[(Name, &[u8])]) -> Result<()> {
        let mut inner = self.inner.write();
        if inner.catalog.contains_key(name) || inner.spaces.contains_key(&id) {
            return Err(Error::AlreadyExists { what: "index" });
        }
        inner.catalog.insert(name.to_owned(), id);
        let head = Head { seq: 1, bytes: head.to_vec() };
        let objects = puts.iter().map(|(name, bytes)| (*name, Arc::new(bytes.to_vec()))).collect();
        inner.spaces.insert(id, Space { head, objects });
        Ok(())
    }

    fn drop_space(&self, id: SpaceId) -> Result<bool> {
        let mut inner = self.inner.write();
        inner.catalog.retain(|_, other| *other != id);
        Ok(inner.spaces.remove(&id).is_some())
    }

    fn head(&self, id: SpaceId) -> Result<Option<Head>> {
        Ok(self.inner.read().spaces.get(&id).map(|s| s.head.clone()))
    }

    fn head_seq(&self, id: SpaceId) -> Result<Option<u64>> {
        Ok(self.inner.read().spaces.get(&id).map(|s| s.head.seq))
    }

    fn commit(
        &self,
        id: SpaceId,
        expect_seq: u64,
        head: &[u8],
        puts: Vec<(Name, Vec<u8>)>,
        deletes: &[Name],
    ) -> Result<()> {
        let mut inner = self.inner.write();
        let space = inner.spaces.get_mut(&id).ok_or(NO_SPACE)?;
        if space.head.seq != expect_seq {
            return Err(Error::Fenced);
        }
        let twice = |i: usize| puts[..i].iter().any(|(name, _)| *name == puts[i].0);
        if (0..puts.len()).any(|i| space.objects.contains_key(&puts[i].0) || twice(i)) {
            return Err(Error::AlreadyExists { what: "object" });
        }
        space.objects.extend(puts.into_iter().map(|(name, bytes)| (name, Arc::new(bytes))));
        for name in deletes {
            space.objects.remove(name);
        }
        space.head = Head { seq: expect_seq + 1, bytes: head.to_vec() };
        Ok(())
    }

    fn put_new(&self, id: SpaceId, name: Name, bytes: &[u8]) -> Result<()> {
        let mut inner = self.inner.write();
        let space = inner.spaces.get_mut(&id).ok_or(NO_SPACE)?;
        if space.objects.contains_key(&name) {
            return Err(Error::AlreadyExists { what: "object" });
        }
        space.objects.insert(name, Arc::new(bytes.to_vec()));
        Ok(())
    }

    fn get(&self, id: SpaceId, name: Name, offset: u64, out: &mut [u8]) -> Result<()> {
        let object = {
            let inner = self.inner.read();
            let space = inner.spaces.get(&id).ok_or(NO_OBJECT)?;
            space.objects.get(&name).cloned().ok_or(NO_OBJECT)?
        };
        let end = range_end(offset, out.len(), object.len() as u64)?;
        out.copy_from_slice(&object[offset as usize..end as usize]);
        Ok(())
    }

    fn len(&self, id: SpaceId, name: Name) -> Result<u64> {
        let inner = self.inner.read();
        let space = inner.spaces.get(&id).ok_or(NO_OBJECT)?;
        space.objects.get(&name).map(|o| o.len() as u64).ok_or(NO_OBJECT)
    }

    fn list(&self, id: SpaceId) -> Result<Vec<(Name, u64)>> {
        let inner = self.inner.read();
        let Some(space) = inner.spaces.get(&id) else { return Ok(Vec::new()) };
        Ok(space.objects.iter().map(|(name, o)| (*name, o.len() as u64)).collect())
    }

    fn delete(&self, id: SpaceId, names: &[Name]) -> Result<()> {
        if let Some(space) = self.inner.write().spaces.get_mut(&id) {
            for name in names {
                space.objects.remove(name);
            }
        }
        Ok(())
    }

    fn reclaim(&self) -> Result<()> {
        for space in self.inner.write().spaces.values_mut() {
            space.objects.shrink_to_fit();
        }
        Ok(())
    }

    fn size(&self) -> Result<u64> {
        let bytes = |s: &Space| s.head.bytes.len() as u64 + s.objects.values().map(|o| o.len() as u64).sum::<u64>();
        Ok(self.inner.read().spaces.values().map(bytes).sum())
    }
}
