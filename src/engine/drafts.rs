//! Objects that no manifest names yet: what a rebuild has written so far.
//!
//! The first few megabytes wait in memory and are stored by the commit that names them, so a small merge costs one
//! durable step and not one for every object; what is more than that is stored at once.
//!
//! Until a commit names them they exist for nobody, so a rebuild that fails, is cancelled, panics or comes too late
//! takes them away again when it is dropped. [`Drafts::keep`] ends that: from then on the manifest speaks for them.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::crypto::{FrameSize, Kind, ObjectRef, Sealed, Vault};
use crate::error::Result;

/// Sealed bytes that may wait for the commit.
const WAITING_BYTES: usize = 4 << 20;

/// Objects of one rebuild.
pub(super) struct Drafts {
    vault: Arc<Vault>,
    objects: Mutex<Objects>,
}

#[derive(Default)]
struct Objects {
    stored: Vec<ObjectRef>,
    waiting: Vec<Sealed>,
    waiting_bytes: usize,
}

impl Drafts {
    /// None yet.
    pub(super) fn new(vault: &Arc<Vault>) -> Self {
        Self { vault: Arc::clone(vault), objects: Mutex::default() }
    }

    /// Seals an object and stores it, now or with the commit.
    pub(super) fn put(&self, kind: Kind, frame: FrameSize, plaintext: &[u8]) -> Result<ObjectRef> {
        let sealed = self.vault.seal(kind, frame, plaintext)?;
        let reference = sealed.reference.clone();
        let mut objects = self.objects.lock();
        if objects.waiting_bytes + sealed.bytes.len() <= WAITING_BYTES {
            objects.waiting_bytes += sealed.bytes.len();
            objects.waiting.push(sealed);
            return Ok(reference);
        }
        // Noted first: a store that reports a failure may have stored it all the same.
        objects.stored.push(reference.clone());
        drop(objects);
        self.vault.put(&sealed)?;
        Ok(reference)
    }

    /// The objects that wait to be stored by the commit.
    pub(super) fn take_waiting(&self) -> Vec<Sealed> {
        std::mem::take(&mut self.objects.lock().waiting)
    }

    /// Leaves the stored objects where they are: a manifest names them, or may.
    pub(super) fn keep(&self) {
        self.objects.lock().stored.clear();
    }
}

impl Drop for Drafts {
    fn drop(&mut self) {
        let objects = &self.objects.get_mut().stored;
        if !objects.is_empty() {
            // What cannot be removed now is swept at the next opening.
            let _ = self.vault.delete(objects);
        }
    }
}
