//! Bytes by name, without meaning: the [`Store`] trait, its contract, and the engines behind it.
//!
//! A store holds *spaces* (one space = one index). A space has a catalog entry (name and 16-byte id), one *head* (a short
//! value with a sequence number, the only mutable thing) and *objects* (immutable values under names that are never used
//! twice). Everything that comes here is sealed already: only `crypto` may call this module, and nothing here knows a key.
//!
//! # Contract
//! Every implementation passes the one suite in `conformance.rs`.
//! - **G1** `commit` is `Ok` only when the new head and all its puts and deletes are durable and seen by any later `head`.
//! - **G2** `commit` with a stale `expect_seq` gives [`Error::Fenced`] and changes nothing.
//! - **G3** At most one commit succeeds for each `expect_seq` of a space, ever.
//! - **G4** Any other error of `commit` means *unknown*: `head` tells which. The change is there wholly or not at all.
//! - **G5** An object that can be read is byte for byte what was put until it is deleted; a range is read whole or is an error.
//! - **G6** `head` never goes back for one client; the vault remembers the last and refuses an older one.
//! - **G7** A crash at any moment leaves, at worst, objects that no head names.
//! - **G8** All calls may be made from many threads at once.

pub mod fault;
pub mod file;
pub mod memory;

#[cfg(test)]
mod conformance;

use std::fmt;

use crate::error::{Error, Result};

/// Id of a space: 16 random bytes, never used twice. Also the uuid of the index.
pub type SpaceId = [u8; 16];

/// Name of an object: 16 random bytes, then the sequence number of the head it was made on (big-endian). Never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(pub [u8; 24]);

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// The head of a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// 1 when the space is made, one more with each commit.
    pub seq: u64,
    /// What the last commit gave.
    pub bytes: Vec<u8>,
}

/// What a store promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// What was acknowledged survives the end of the process and the loss of power.
    pub durable: bool,
    /// Other processes may read while this one writes.
    pub shared: bool,
    /// Longest object in bytes.
    pub max_object: u64,
}

/// A store. See the module for the contract; all methods are synchronous and may be called from many threads.
pub trait Store: Send + Sync {
    /// What this store promises.
    fn caps(&self) -> Caps;

    /// Whether every write gives [`Error::ReadOnly`].
    fn read_only(&self) -> bool;

    /// Name and id of every space, in order of name. A damaged entry is [`Error::Corrupt`], never left out.
    fn spaces(&self) -> Result<Vec<(String, SpaceId)>>;

    /// The id of the space called `name`.
    fn find_space(&self, name: &str) -> Result<Option<SpaceId>>;

    /// Makes a space with head 1 and the objects `puts`, durably and in one step. [`Error::AlreadyExists`] when the name or
    /// the id is taken.
    fn create_space(&self, name: &str, id: SpaceId, head: &[u8], puts: &[(Name, &[u8])]) -> Result<()>;

    /// Removes a space and all it holds in one step. `false` when there was none.
    fn drop_space(&self, id: SpaceId) -> Result<bool>;

    /// The head, `None` when there is no such space.
    fn head(&self, id: SpaceId) -> Result<Option<Head>>;

    /// The sequence number of the head only: the cheap question of a process that waits for changes.
    fn head_seq(&self, id: SpaceId) -> Result<Option<u64>>;

    /// One durable step: adds `puts`, removes `deletes` (absent ones are no error) and sets the head, whose number becomes
    /// `expect_seq + 1`. [`Error::Fenced`] when the head is not `expect_seq`, [`Error::NotFound`] without the space,
    /// [`Error::AlreadyExists`] when an object of that name is there or two of `puts` share one; none of these changes
    /// anything. The objects are handed over, so that a store that keeps them as they are need not copy them.
    fn commit(
        &self,
        id: SpaceId,
        expect_seq: u64,
        head: &[u8],
        puts: Vec<(Name, Vec<u8>)>,
        deletes: &[Name],
    ) -> Result<()>;

    /// Adds an object, durable when `Ok`. [`Error::AlreadyExists`] when the name is taken.
    fn put_new(&self, id: SpaceId, name: Name, bytes: &[u8]) -> Result<()>;

    /// Fills `out` with the bytes from `offset` on. [`Error::NotFound`] without the object, [`Error::Corrupt`] when it is
    /// shorter than the range.
    fn get(&self, id: SpaceId, name: Name, offset: u64, out: &mut [u8]) -> Result<()>;

    /// Length of an object in bytes.
    fn len(&self, id: SpaceId, name: Name) -> Result<u64>;

    /// Name and length of every object of the space, in any order. Empty without the space.
    fn list(&self, id: SpaceId) -> Result<Vec<(Name, u64)>>;

    /// Removes objects; absent ones are no error.
    fn delete(&self, id: SpaceId, names: &[Name]) -> Result<()>;

    /// Gives the room of removed things back to the system.
    fn reclaim(&self) -> Result<()>;

    /// Bytes the store takes on its medium.
    fn size(&self) -> Result<u64>;
}

/// The end of a range, or the error for one that runs out of an object of `len` bytes.
fn range_end(offset: u64, wanted: usize, len: u64) -> Result<u64> {
    offset
        .checked_add(wanted as u64)
        .filter(|&end| end <= len)
        .ok_or(Error::Corrupt { what: "object (shorter than its reference)" })
}
