//! An index made from a model: trained from birth.
//!
//! The model's lists and quantizer become generation 1 of the new index, a copy sealed under the index's own key and
//! named by its first manifest, so the index is there with them or not at all and outlives the model. The model's record
//! learns of the index first: a crash between the two leaves a name in it that no index has, which counts for nothing.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::record::Use;
use super::registry::{existing, open};
use crate::crypto::{Kind, Vault};
use crate::engine::blob::frame_for;
use crate::engine::db::{Db, check_name};
use crate::engine::generation::Generation;
use crate::engine::index::Index;
use crate::engine::manifest::{Config, Manifest};
use crate::engine::options::IndexOptions;
use crate::error::{Error, Result};
use crate::quant::Quantizer;
use crate::types::Metric;

impl Db {
    /// Makes an index that is trained as model `model_id` is, and that `key` opens. Dimension, metric and quantizer are the
    /// model's; in `options` they must be left at their defaults. `ModelNotReady` and `ModelFailed` for a model that is
    /// not CREATED.
    pub fn create_index_from_model(
        self: &Arc<Self>,
        name: &str,
        key: &[u8],
        options: &IndexOptions,
        model_id: &str,
        model_key: &[u8],
    ) -> Result<Arc<Index>> {
        const INHERITED: &str = "unset beside model_id: the model has it";
        self.shared.enter()?;
        check_name(name)?;
        if options.dimension != 0 {
            return Err(Error::invalid("dimension", options.dimension, INHERITED));
        }
        if options.metric != Metric::default() {
            return Err(Error::invalid("metric", options.metric as i32, INHERITED));
        }
        if let Some(quantizer) = options.quantizer {
            return Err(Error::invalid("quantizer", quantizer.kind() as i32, INHERITED));
        }
        let mut running = self.shared.models.running.lock();
        let model = open(&self.shared, &mut running, model_id, model_key)?;
        let trained = model.trained()?;
        let mut generation = Generation::read(trained.bytes())?;
        let info = model.record().info;
        let inherited =
            IndexOptions { dimension: info.dimension, metric: info.metric, quantizer: info.quantizer, ..*options };
        let mut manifest = Manifest::empty(Config::new(&inherited)?);
        manifest.model = Some(model_id.to_owned());
        if generation.quantizer.precision().is_some() {
            // Flat codes are the stored vectors, and how these are stored is the index's affair.
            let (similarity, dim) = (generation.quantizer.similarity(), generation.quantizer.dim());
            generation.quantizer = Quantizer::flat(similarity, dim, options.vector_precision);
        }
        if !generation.fits_first(&manifest.config) || info.quantizer.is_none() {
            return Err(Error::Corrupt { what: "model" });
        }
        let mut open = self.open.lock();
        Vault::create_with(&self.shared.backend, name, key, |vault| {
            let bytes = Zeroizing::new(generation.write());
            let sealed = vault.seal(Kind::Directory, frame_for(bytes.len()), &bytes)?;
            manifest.generation = Some(sealed.reference.clone());
            let mut uses = existing(&self.shared.backend, model.record().uses)?;
            uses.push(Use { uuid: vault.uuid(), name: name.to_owned() });
            model.set_uses(uses)?;
            Ok((Zeroizing::new(manifest.write()), vec![sealed]))
        })?;
        self.open_locked(&mut open, name, key)
    }
}
