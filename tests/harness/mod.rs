//! Shared by the tests of crashes and damage: items that can be told from id and version, and the reading of a whole
//! index that knows what it must find.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cyborg::engine::*;
use cyborg::error::{Error, Result};
use cyborg::exec::Watch;
use cyborg::rng::Rng;
use cyborg::types::IdKind;

pub const KEY: [u8; 32] = [7; 32];
pub const DIM: usize = 8;

/// What an index holds: the version of each id. Everything else of an item follows from these two.
pub type Model = BTreeMap<u64, u64>;

/// A folder of its own, removed at the end unless the test failed.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        Self::under(&std::env::temp_dir(), name)
    }

    /// In memory where the system has such a folder: for many small files whose durability is not the question.
    pub fn in_memory(name: &str) -> Self {
        let shm = Path::new("/dev/shm");
        if shm.is_dir() { Self::under(shm, name) } else { Self::new(name) }
    }

    fn under(folder: &Path, name: &str) -> Self {
        let path = folder.join(format!("cyborg-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn url(&self, name: &str) -> String {
        format!("file:{}", self.file(name).display())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// How many times as long as in `make test` the long tests run: `CYBORG_SOAK`, 1 by default.
pub fn soak() -> usize {
    std::env::var("CYBORG_SOAK").map_or(1, |n| n.parse().expect("CYBORG_SOAK is a number"))
}

pub fn options() -> IndexOptions {
    IndexOptions { dimension: DIM as u32, id_kind: IdKind::U64, auto_train_disabled: true, ..IndexOptions::default() }
}

pub fn vector(id: u64, version: u64) -> Vec<f32> {
    let mut rng = Rng::stream(id, version);
    (0..DIM).map(|_| rng.unit_f32() * 2.0 - 1.0).collect()
}

fn metadata(version: u64) -> String {
    format!(r#"{{"v":{version}}}"#)
}

/// Contents of every length up to 40, now and then none, once in a while longer than a frame.
fn contents(id: u64, version: u64) -> Vec<u8> {
    let mut rng = Rng::stream(id ^ 0x5a5a, version);
    let len = if rng.below(64) == 0 { 5000 } else { rng.below(40) };
    (0..len).map(|_| rng.next_u64() as u8).collect()
}

/// Writes `ids` in one batch, all with `version`.
pub fn upsert(index: &Index, ids: &[u64], version: u64) -> Result<UpsertResult> {
    let vectors: Vec<f32> = ids.iter().flat_map(|&id| vector(id, version)).collect();
    let (mut meta, mut meta_at, mut data, mut data_at) = (Vec::new(), vec![0], Vec::new(), vec![0]);
    for &id in ids {
        meta.extend(metadata(version).bytes());
        meta_at.push(meta.len() as u64);
        data.extend(contents(id, version));
        data_at.push(data.len() as u64);
    }
    let batch = Batch {
        dimension: DIM as u32,
        vectors: &vectors,
        ids: Ids::U64(ids),
        metadata: Some(Strings::new("metadata", &meta, &meta_at)?),
        contents: Some(Strings::new("contents", &data, &data_at)?),
        contents_kinds: None,
    };
    index.upsert(&batch, &Watch::NONE)
}

pub fn delete(index: &Index, ids: &[u64]) -> Result<u64> {
    index.delete(Ids::U64(ids))
}

/// Trains and waits for the end.
pub fn train(index: &Index, n_lists: u32) -> Result<()> {
    let job = index.train(&TrainOptions { n_lists, ..TrainOptions::default() })?;
    match job.wait(None) {
        JobState::Trained => Ok(()),
        state => Err(job.error().unwrap_or_else(|| panic!("{state:?} without a reason"))),
    }
}

pub fn ids_of(column: &StringColumn) -> Vec<u64> {
    (0..column.len()).map(|i| u64::from_le_bytes(column.get(i).try_into().unwrap())).collect()
}

/// Reads the whole index. Panics when an item is not what its id and version say: that is wrong data, the one thing
/// that no failure excuses.
pub fn state(index: &Index) -> Result<Model> {
    let mut cursor = index.list_ids()?;
    let mut ids = Vec::new();
    loop {
        let page = cursor.next_page(1000)?;
        if page.is_empty() {
            break;
        }
        ids.extend(ids_of(&page));
    }
    let items = index.get(Ids::U64(&ids), include::ALL)?;
    let (meta, data) = (items.fields.metadata.unwrap(), items.fields.contents.unwrap());
    let vectors = items.fields.vectors.unwrap();
    let mut model = Model::new();
    for (i, &id) in ids.iter().enumerate() {
        if !items.found[i] {
            continue; // deleted since it was listed; a caller without other writers sees it by the count
        }
        let text = std::str::from_utf8(meta.get(i)).unwrap();
        let version = text.strip_prefix(r#"{"v":"#).and_then(|t| t.strip_suffix('}')).and_then(|n| n.parse().ok());
        let version = version.unwrap_or_else(|| panic!("metadata of {id} is {text:?}"));
        assert_eq!(vectors[i * DIM..(i + 1) * DIM], vector(id, version), "vector of {id}, version {version}");
        assert_eq!(data.get(i), contents(id, version), "contents of {id}, version {version}");
        assert!(model.insert(id, version).is_none(), "{id} is listed twice");
    }
    Ok(model)
}

/// Reads everything by every path there is and compares with `model`: verification, then [`read_data`].
pub fn read_all(index: &Index, model: &Model) -> Result<()> {
    index.verify(&Watch::NONE)?;
    read_data(index, model)
}

/// Count, items and exact search.
pub fn read_data(index: &Index, model: &Model) -> Result<()> {
    let found = state(index)?;
    assert_eq!(&found, model, "the items");
    assert_eq!(index.count()?, model.len() as u64);
    let asked: Vec<(u64, u64)> = model.iter().step_by(1 + model.len() / 8).map(|(a, b)| (*a, *b)).collect();
    let queries: Vec<f32> = asked.iter().flat_map(|&(id, version)| vector(id, version)).collect();
    // All lists and every candidate reranked: exact, also where the codes were fitted to a handful of items.
    let (n_probes, rerank_mult) = (1 << 20, 1000);
    let q =
        QueryOptions { top_k: 3, n_probes, rerank_mult, include: include::ALL, threads: 1, ..QueryOptions::default() };
    let r = index.query(&queries, asked.len(), DIM as u32, &q, &Watch::NONE)?;
    for (i, (id, _)) in asked.iter().enumerate() {
        let found = (r.starts[i]..r.starts[i + 1]).map(|at| u64::from_le_bytes(r.ids.get(at).try_into().unwrap()));
        assert_eq!(found.clone().count(), model.len().min(3));
        assert_eq!(found.clone().next(), Some(*id), "the nearest of an item is itself");
        assert!(r.distances[r.starts[i]] < 1e-3);
    }
    Ok(())
}

/// [`read_all`] of an index that nothing happened to.
pub fn check(index: &Arc<Index>, model: &Model) {
    read_all(index, model).unwrap();
}

/// Whether `e` is one of the errors that damage may give.
pub fn is_clean_damage(e: &Error) -> bool {
    matches!(e, Error::Corrupt { .. } | Error::Version { .. } | Error::Rollback { .. })
}
