//! Objects that no manifest names yet: what a rebuild has written so far.
//!
//! The first few megabytes wait in memory and are stored by the commit that names them, so a small merge costs one
//! durable step and not one for every object. What is more than that is stored by a thread of its own, so that the
//! next part is encoded while the disk takes the last one.
//!
//! Until a commit names them they exist for nobody, so a rebuild that fails, is cancelled, panics or comes too late
//! takes them away again when it is dropped. [`Drafts::keep`] ends that: from then on the manifest speaks for them.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};
use parking_lot::Mutex;

use crate::crypto::{FrameSize, Kind, ObjectRef, Sealed, Vault};
use crate::error::{Error, Result};

/// Sealed bytes that may wait for the commit.
pub(super) const WAITING_BYTES: usize = 4 << 20;

/// Objects of one rebuild.
pub(super) struct Drafts {
    vault: Arc<Vault>,
    objects: Mutex<Objects>,
    /// Absent: whoever puts also stores, for a db of one thread.
    storing: Option<Mutex<Storing>>,
}

/// The thread that stores, made with the first object for it.
#[derive(Default)]
struct Storing {
    sender: Option<Sender<Sealed>>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Default)]
struct Objects {
    stored: Vec<ObjectRef>,
    waiting: Vec<Sealed>,
    waiting_bytes: usize,
}

impl Drafts {
    /// None yet.
    pub(super) fn new(vault: &Arc<Vault>, threads: usize) -> Self {
        let storing = (threads > 1).then(Mutex::default);
        Self { vault: Arc::clone(vault), objects: Mutex::default(), storing }
    }

    /// Seals an object and stores it, now or with the commit.
    pub(super) fn put(&self, kind: Kind, frame: FrameSize, plaintext: &[u8]) -> Result<ObjectRef> {
        self.take(self.vault.seal(kind, frame, plaintext)?)
    }

    /// As [`Self::put`], in frames of the lengths `lens`.
    pub(super) fn put_cut(&self, kind: Kind, plaintext: &[u8], lens: &[u32]) -> Result<ObjectRef> {
        self.take(self.vault.seal_cut(kind, plaintext, lens)?)
    }

    fn take(&self, sealed: Sealed) -> Result<ObjectRef> {
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
        match &self.storing {
            Some(storing) => storing.lock().hand_over(&self.vault, sealed)?,
            None => self.vault.put(&sealed)?,
        }
        Ok(reference)
    }

    /// Waits until everything put is stored; the error of what could not be.
    pub(super) fn settle(&self) -> Result<()> {
        self.storing.as_ref().map_or(Ok(()), |storing| storing.lock().join())
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

impl Storing {
    fn hand_over(&mut self, vault: &Arc<Vault>, sealed: Sealed) -> Result<()> {
        if self.thread.is_none() {
            let (sender, receiver) = bounded::<Sealed>(1);
            let vault = Arc::clone(vault);
            let store = move || receiver.into_iter().try_for_each(|sealed| vault.put(&sealed));
            let thread = std::thread::Builder::new().name("cyborg-store".into()).spawn(store);
            self.thread = Some(thread.map_err(|_| Error::NoMemory { what: "store thread", needed: 1, got: 0 })?);
            self.sender = Some(sender);
        }
        match &self.sender {
            // The thread ends early only with an error.
            Some(sender) if sender.send(sealed).is_ok() => Ok(()),
            _ => Err(self.join().err().unwrap_or(Error::Internal { what: "store thread ended" })),
        }
    }

    fn join(&mut self) -> Result<()> {
        self.sender = None;
        let panicked = Err(Error::Internal { what: "store thread panicked" });
        self.thread.take().map_or(Ok(()), |thread| thread.join().unwrap_or(panicked))
    }
}

impl Drop for Drafts {
    fn drop(&mut self) {
        // Whatever it says, what it stored is taken away below.
        let _ = self.settle();
        let objects = &self.objects.get_mut().stored;
        if !objects.is_empty() {
            // What cannot be removed now is swept at the next opening.
            let _ = self.vault.delete(objects);
        }
    }
}
