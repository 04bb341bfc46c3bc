//! A store that fails on demand, around any other. For tests, also those outside the crate.
//!
//! Every call that reaches the inner store is counted; the fault strikes the call whose number was set. So a test runs its
//! scenario with the fault at call 0, 1, 2, ... until it passes untouched.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::{Caps, Head, Name, SpaceId, Store};
use crate::error::{Error, Result};

/// What happens at the chosen call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails and does nothing.
    Fail,
    /// The call fails for want of room and does nothing.
    Full,
    /// The call does its work and then reports a failure: a time-out that was applied.
    Applied,
    /// A write loses its second half and reports success; a read reports success with its second half zero.
    Torn,
    /// From this call on everything fails: the process is as good as dead.
    Dead,
}

/// A store with a fault planted in it.
pub struct FaultStore {
    inner: Arc<dyn Store>,
    calls: AtomicU64,
    plan: Mutex<Option<(u64, Fault)>>,
}

impl FaultStore {
    /// `inner`, without a fault yet.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, calls: AtomicU64::new(0), plan: Mutex::new(None) }
    }

    /// Plants `fault` at the call that comes after `after` others from now on, in place of an earlier one.
    pub fn plant(&self, after: u64, fault: Fault) {
        *self.plan.lock() = Some((self.calls() + after, fault));
    }

    /// Takes the fault away.
    pub fn heal(&self) {
        *self.plan.lock() = None;
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// The fault of this call, if it has one.
    fn strike(&self) -> Option<Fault> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        match *self.plan.lock() {
            Some((at, fault)) if call == at || (call > at && fault == Fault::Dead) => Some(fault),
            _ => None,
        }
    }

    /// A call that only reads, or whose tearing means nothing.
    fn call<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.strike() {
            None | Some(Fault::Torn) => work(),
            Some(Fault::Applied) => work().and(Err(failed("it was done"))),
            Some(Fault::Full) => Err(Error::NoSpace { context: "planted fault" }),
            Some(Fault::Fail | Fault::Dead) => Err(failed("nothing was done")),
        }
    }
}

fn failed(detail: &str) -> Error {
    Error::Io { context: "planted fault", detail: detail.to_owned() }
}

/// What a torn store keeps of a write: its first half, at the length of the whole.
fn tear(mut bytes: Vec<u8>) -> Vec<u8> {
    let kept = bytes.len() / 2;
    bytes[kept..].fill(0);
    bytes
}

impl Store for FaultStore {
    fn caps(&self) -> Caps {
        self.inner.caps()
    }

    fn read_only(&self) -> bool {
        self.inner.read_only()
    }

    fn spaces(&self) -> Result<Vec<(String, SpaceId)>> {
        self.call(|| self.inner.spaces())
    }

    fn find_space(&self, name: &str) -> Result<Option<SpaceId>> {
        self.call(|| self.inner.find_space(name))
    }

    fn create_space(&self, name: &str, id: SpaceId, head: &[u8], puts: &[(Name, &[u8])]) -> Result<()> {
        self.call(|| self.inner.create_space(name, id, head, puts))
    }

    fn drop_space(&self, id: SpaceId) -> Result<bool> {
        self.call(|| self.inner.drop_space(id))
    }

    fn head(&self, id: SpaceId) -> Result<Option<Head>> {
        self.call(|| self.inner.head(id))
    }

    fn head_seq(&self, id: SpaceId) -> Result<Option<u64>> {
        self.call(|| self.inner.head_seq(id))
    }

    fn commit(
        &self,
        id: SpaceId,
        expect_seq: u64,
        head: &[u8],
        puts: Vec<(Name, Vec<u8>)>,
        deletes: &[Name],
    ) -> Result<()> {
        match self.strike() {
            None => self.inner.commit(id, expect_seq, head, puts, deletes),
            Some(Fault::Torn) => {
                let puts = puts.into_iter().map(|(name, bytes)| (name, tear(bytes))).collect();
                self.inner.commit(id, expect_seq, head, puts, deletes)
            }
            Some(Fault::Applied) => {
                self.inner.commit(id, expect_seq, head, puts, deletes).and(Err(failed("it was done")))
            }
            Some(Fault::Full) => Err(Error::NoSpace { context: "planted fault" }),
            Some(Fault::Fail | Fault::Dead) => Err(failed("nothing was done")),
        }
    }

    fn put_new(&self, id: SpaceId, name: Name, bytes: &[u8]) -> Result<()> {
        match self.strike() {
            None => self.inner.put_new(id, name, bytes),
            Some(Fault::Torn) => self.inner.put_new(id, name, &tear(bytes.to_vec())),
            Some(Fault::Applied) => self.inner.put_new(id, name, bytes).and(Err(failed("it was done"))),
            Some(Fault::Full) => Err(Error::NoSpace { context: "planted fault" }),
            Some(Fault::Fail | Fault::Dead) => Err(failed("nothing was done")),
        }
    }

    fn get(&self, id: SpaceId, name: Name, offset: u64, out: &mut [u8]) -> Result<()> {
        match self.strike() {
            None => self.inner.get(id, name, offset, out),
            Some(Fault::Torn) => {
                self.inner.get(id, name, offset, out)?;
                let kept = out.len() / 2;
                out[kept..].fill(0);
                Ok(())
            }
            Some(_) => Err(failed("nothing was read")),
        }
    }

    fn len(&self, id: SpaceId, name: Name) -> Result<u64> {
        self.call(|| self.inner.len(id, name))
    }

    fn list(&self, id: SpaceId) -> Result<Vec<(Name, u64)>> {
        self.call(|| self.inner.list(id))
    }

    fn delete(&self, id: SpaceId, names: &[Name]) -> Result<()> {
        self.call(|| self.inner.delete(id, names))
    }

    fn reclaim(&self) -> Result<()> {
        self.call(|| self.inner.reclaim())
    }

    fn size(&self) -> Result<u64> {
        self.call(|| self.inner.size())
    }
}
