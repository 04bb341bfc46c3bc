//! An open record and the only way to change it: a commit that expects the head this keeper has seen.
//!
//! Two keepers of one record may be open: a job's, and that of a later process or of a model that took the same id. Only
//! the one that saw the newest head can commit; the other gets `Fenced`, or `NotFound` where the model was deleted, since
//! the space of the new one has another uuid.

use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::record::{Record, Use};
use super::{FailureCode, ModelInfo, ModelState, of_model, space};
use crate::buffer::Buffer;
use crate::crypto::{Backend, Kind, Sealed, Vault};
use crate::engine::blob::frame_for;
use crate::error::{Error, Result};

/// A record that is open.
pub(super) struct Keeper {
    vault: Vault,
    id: String,
    record: Mutex<Record>,
}

/// What a training brought about.
pub(super) struct Trained {
    /// The record's numbers; state, times and texts are the keeper's.
    pub(super) info: ModelInfo,
    /// Plaintext of the trained part.
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

impl Keeper {
    /// Makes a model, durably; with `trained`, the plaintext of its trained part, in the same step.
    pub(super) fn create(
        backend: &Backend,
        id: &str,
        key: &[u8],
        mut record: Record,
        trained: Option<&[u8]>,
    ) -> Result<Self> {
        let vault = Vault::create_with(backend, &space(id), key, |vault| {
            let sealed = trained.map(|bytes| vault.seal(Kind::Model, frame_for(bytes.len()), bytes)).transpose()?;
            record.trained = sealed.as_ref().map(|s| s.reference.clone());
            Ok((Zeroizing::new(record.write()), sealed.into_iter().collect()))
        });
        Ok(Self { vault: vault.map_err(of_model)?, id: id.to_owned(), record: Mutex::new(record) })
    }

    /// Opens the model of that id.
    pub(super) fn open(backend: &Backend, id: &str, key: &[u8]) -> Result<Self> {
        let (vault, head) = Vault::open(backend, &space(id), key).map_err(of_model)?;
        let record = Mutex::new(Record::read(id, &head.bytes)?);
        Ok(Self { vault, id: id.to_owned(), record })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The record as last read or written here.
    pub(super) fn record(&self) -> Record {
        self.record.lock().clone()
    }

    pub(super) fn state(&self) -> ModelState {
        self.record.lock().info.state
    }

    pub(super) fn check_key(&self, key: &[u8]) -> Result<()> {
        self.vault.check_key(key)
    }

    pub(super) fn read_only(&self) -> bool {
        self.vault.read_only()
    }

    /// Seals bytes to be carried to another store.
    pub(super) fn package(&self, key: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
        self.vault.package(key, &self.id, plaintext)
    }

    /// The plaintext of the trained part. Another error tells why there is none.
    pub(super) fn trained(&self) -> Result<Buffer> {
        let record = self.record();
        match record.info.state {
            ModelState::Training => Err(Error::ModelNotReady),
            ModelState::Failed => Err(Error::ModelFailed { why: record.info.error }),
            ModelState::Created => {
                let object = record.trained.ok_or(Error::Corrupt { what: "model record" })?;
                self.vault.read_all(&object).map_err(of_model)
            }
        }
    }

    /// One durable step from the record that was seen to what `change` makes of it.
    fn change(&self, puts: Vec<Sealed>, change: impl FnOnce(&mut Record)) -> Result<()> {
        let mut record = self.record.lock();
        let mut next = record.clone();
        change(&mut next);
        self.vault.commit(&Zeroizing::new(next.write()), puts, &[]).map_err(of_model)?;
        *record = next;
        Ok(())
    }

    fn check_training(&self) -> Result<()> {
        match self.state() {
            ModelState::Training => Ok(()),
            _ => Err(Error::Conflict { what: "the model's training has ended already" }),
        }
    }

    /// From TRAINING to CREATED.
    pub(super) fn created(&self, trained: &Trained, now: u64) -> Result<()> {
        self.check_training()?;
        let sealed = self.vault.seal(Kind::Model, frame_for(trained.bytes.len()), &trained.bytes)?;
        let object = sealed.reference.clone();
        self.change(vec![sealed], |record| {
            let old = std::mem::replace(&mut record.info, trained.info.clone());
            record.info.state = ModelState::Created;
            record.info.finished_at = now;
            (record.info.id, record.info.created_at) = (old.id, old.created_at);
            (record.info.description, record.info.source) = (old.description, old.source);
            (record.info.library, record.info.format) = (old.library, old.format);
            record.trained = Some(object);
        })
    }

    /// From TRAINING to FAILED.
    pub(super) fn failed(&self, code: FailureCode, why: &str, now: u64) -> Result<()> {
        self.check_training()?;
        self.change(vec![], |record| {
            record.info.state = ModelState::Failed;
            record.info.failure = Some(code);
            record.info.error = why.to_owned();
            record.info.finished_at = now;
        })
    }

    /// Writes down which indexes were made from the model.
    pub(super) fn set_uses(&self, uses: Vec<Use>) -> Result<()> {
        self.change(vec![], |record| record.uses = uses)
    }

    /// Removes the model.
    pub(super) fn destroy(&self) -> Result<()> {
        self.vault.destroy().map_err(of_model)
    }
}
