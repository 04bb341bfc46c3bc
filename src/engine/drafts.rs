//! Objects that are stored but not yet named by a manifest: what a rebuild has written so far.
//!
//! Until a commit names them they exist for nobody, so a rebuild that fails, is cancelled, panics or comes too late
//! takes them away again when it is dropped. [`Drafts::keep`] ends that: from then on the manifest speaks for them.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::crypto::{FrameSize, Kind, ObjectRef, Vault};
use crate::error::Result;

/// Objects of one rebuild.
pub(super) struct Drafts {
    vault: Arc<Vault>,
    objects: Mutex<Vec<ObjectRef>>,
}

impl Drafts {
    /// None yet.
    pub(super) fn new(vault: &Arc<Vault>) -> Self {
        Self { vault: Arc::clone(vault), objects: Mutex::default() }
    }

    /// Seals and stores an object.
    pub(super) fn put(&self, kind: Kind, frame: FrameSize, plaintext: &[u8]) -> Result<ObjectRef> {
        let sealed = self.vault.seal(kind, frame, plaintext)?;
        // Noted first: a store that reports a failure may have stored it all the same.
        self.objects.lock().push(sealed.reference.clone());
        self.vault.put(&sealed)?;
        Ok(sealed.reference)
    }

    /// Leaves the objects where they are: a manifest names them, or may.
    pub(super) fn keep(&self) {
        self.objects.lock().clear();
    }
}

impl Drop for Drafts {
    fn drop(&mut self) {
        let objects = self.objects.get_mut();
        if !objects.is_empty() {
            // What cannot be removed now is swept at the next opening.
            let _ = self.vault.delete(objects);
        }
    }
}
