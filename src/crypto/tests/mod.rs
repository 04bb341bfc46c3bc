//! What SECURITY.md claims, tried at the level of stored bytes over the memory store: one file a claim.

mod damage;
mod history;
mod objects;
mod secrets;

use std::sync::Arc;

use super::*;
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::store::memory::MemoryStore;

const KEY: [u8; 32] = [7; 32];

fn bench() -> (Arc<MemoryStore>, Backend) {
    let store = Arc::new(MemoryStore::new());
    (Arc::clone(&store), Backend::over(store))
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    (0..len).map(|_| rng.next_u64() as u8).collect()
}

/// An index "x" with three objects, its manifest naming them.
fn small(backend: &Backend) -> (Vault, Vec<(ObjectRef, Vec<u8>)>) {
    let vault = Vault::create(backend, "x", &KEY, b"first").unwrap();
    let mut objects = Vec::new();
    let mut puts = Vec::new();
    for (kind, len) in [(Kind::Delta, 100), (Kind::Codes, 5000), (Kind::Ids, 4080)] {
        let plain = bytes(len as u64, len);
        let sealed = vault.seal(kind, FrameSize::K4, &plain).unwrap();
        objects.push((sealed.reference.clone(), plain));
        puts.push(sealed);
    }
    vault.commit(b"second", puts, &[]).unwrap();
    (vault, objects)
}

fn corrupt<T>(r: Result<T>) -> bool {
    matches!(r, Err(Error::Corrupt { .. }))
}

/// Reads `frames` frames of one size from `first` on, without the padding of the last.
fn read(vault: &Vault, r: &ObjectRef, first: u32, frames: u32, out: &mut [u8]) -> Result<()> {
    let (stored, payload) = (r.frame_size().stored(), r.frame_size().payload());
    let sealed = vault.fetch(r, u64::from(first) * stored as u64, frames as usize * stored)?;
    let mut padded = vec![9; frames as usize * payload];
    let opened = vault.open_frames(&vault.opener(r)?, first, payload, &sealed, &mut padded);
    out.copy_from_slice(&padded[..out.len()]);
    opened
}

/// Opens "x", reads everything, and says what came out.
fn reopen(backend: &Backend) -> Result<Vec<u8>> {
    Vault::open(backend, "x", &KEY).map(|(_, m)| m.bytes.to_vec())
}
