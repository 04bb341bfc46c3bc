//! The only door to storage: whatever passes here is sealed on the way out and authenticated on the way in.
//!
//! The engine holds a [`Vault`] (one index: a space of a store and its keys) made from a [`Backend`] (an opened store) and
//! never sees either store or key. The format is FORMAT.md, what it protects against is SECURITY.md.
//! From the bottom: `provider` (AES-256-GCM), `derive` (HKDF, HMAC), `random` (hedged salts), `keys` (locked pages),
//! `keyslot`, `envelope` (objects), `head` (manifests), `vault` and
//! its half that reads, `reading`, and `package`, sealed bytes that leave the store.

mod backend;
mod derive;
mod envelope;
mod head;
mod keys;
mod keyslot;
mod object;
mod package;
mod provider;
mod random;
mod reading;
mod vault;

#[cfg(test)]
mod tests;

pub use backend::Backend;
pub(crate) use object::LENGTH;
pub use object::{FrameSize, Kind, ObjectRef};
pub use package::Package;
pub(crate) use provider::TAG_LEN;
pub use random::random_id;
pub use reading::Opener;
pub use vault::{Manifest, Sealed, Vault};

/// Version of the format that is written, and the newest that is read.
pub(crate) const FORMAT: u16 = 1;
/// The cipher suite: AES-256-GCM, HKDF-SHA-256, HMAC-SHA-256.
const SUITE: u8 = 1;
