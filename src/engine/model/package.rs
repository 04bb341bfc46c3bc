//! Export and import: a trained model as one sealed byte string (FORMAT.md, "Package"), to be carried to another store.
//!
//! ```text
//! plaintext  u8 version, u32 length, record (without reference and uses), then the trained part to the end
//! ```

use zeroize::Zeroizing;

use super::keeper::Keeper;
use super::record::Record;
use super::registry::{info, open};
use super::{ModelInfo, ModelState, check_id};
use crate::crypto::Package;
use crate::engine::db::Db;
use crate::engine::generation::Generation;
use crate::engine::manifest::Config;
use crate::engine::options::IndexOptions;
use crate::engine::wire::{Put, Reader};
use crate::error::{Error, Result, try_with_capacity};

const VERSION: u8 = 1;
const DAMAGED: Error = Error::Corrupt { what: "package" };

impl Db {
    /// Seals a CREATED model under `package_key` (32 bytes), to be imported wherever that key is known.
    pub fn export_model(&self, id: &str, key: &[u8], package_key: &[u8]) -> Result<Vec<u8>> {
        self.shared.enter()?;
        let mut running = self.shared.models.running.lock();
        let model = open(&self.shared, &mut running, id, key)?;
        let trained = model.trained()?;
        let record = Record { info: model.record().info, ..Record::default() }.write();
        let mut plain = Zeroizing::new(try_with_capacity(5 + record.len() + trained.len(), "package")?);
        plain.put_u8(VERSION);
        plain.put_u32(record.len() as u32);
        plain.extend_from_slice(&record);
        plain.extend_from_slice(trained.bytes());
        model.package(package_key, &plain)
    }

    /// Makes a model of a package: opened with `package_key`, sealed anew under `key`, with the id it was exported under
    /// or another.
    pub fn import_model(&self, package: &[u8], package_key: &[u8], id: Option<&str>, key: &[u8]) -> Result<ModelInfo> {
        self.shared.enter()?;
        let package = Package::open(package_key, package)?;
        let id = id.unwrap_or(&package.name);
        check_id(id)?;
        let mut r = Reader::new(&package.bytes, "package");
        match r.u8()? {
            VERSION => {}
            v => return Err(Error::Version { what: "package", got: v.into(), supported: VERSION.into() }),
        }
        let len = r.count(1)?;
        let record = Record::read(id, r.bytes(len)?)?;
        let trained = *r.rest();
        let generation = Generation::read(trained)?;
        let i = &record.info;
        let fits = i.state == ModelState::Created
            && record.trained.is_none()
            && record.uses.is_empty()
            && i.n_lists as usize == generation.lists()
            && i.quantizer.is_some();
        if !fits || !generation.fits_first(&config(i, &generation)?) {
            return Err(DAMAGED);
        }
        let _running = self.shared.models.running.lock();
        let keeper = Keeper::create(&self.shared.backend, id, key, record, Some(trained))?;
        info(&self.shared, &keeper)
    }
}

/// What an index made from the model would be configured as, but for what is the index's own affair.
fn config(info: &ModelInfo, generation: &Generation) -> Result<Config> {
    let vector_precision = generation.quantizer.precision().unwrap_or_default();
    let ModelInfo { dimension, metric, quantizer, .. } = *info;
    Config::new(&IndexOptions { dimension, metric, quantizer, vector_precision, ..IndexOptions::default() })
}
