//! Random histories of an index against a map and brute force: after every step the two say the same.
//!
//! Under all metrics, both kinds of ids, all quantizers, both precisions, both stores and both cache modes. Searches look
//! into all lists and rerank all candidates, so they must be exact (RaBitQ excepted, whose bounds may fail); metadata, contents and their kinds come back byte for byte.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::*;
use cyborg::engine::*;
use cyborg::error::Error;
use cyborg::exec::Watch;
use cyborg::rng::Rng;
use cyborg::types::{IdKind, Metric, QuantizerSpec, VectorPrecision};
use proptest::collection::vec;
use proptest::prelude::*;

/// One step. Items and ids are given by small numbers, so that histories meet the same ids again.
#[derive(Clone, Debug)]
enum Step {
    /// Ids and a seed for the rest.
    Upsert(Vec<u8>, u64),
    Delete(Vec<u8>),
    Get(Vec<u8>),
    Query(u64, u32),
    Train(u32, u64),
    Compact,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ids = |most| vec(0..120u8, 0..most);
    let step = prop_oneof![
        6 => (ids(40), any::<u64>()).prop_map(|(ids, seed)| Step::Upsert(ids, seed)),
        2 => ids(25).prop_map(Step::Delete),
        2 => ids(10).prop_map(Step::Get),
        3 => (any::<u64>(), 1..40u32).prop_map(|(seed, k)| Step::Query(seed, k)),
        2 => (0..30u32, any::<u64>()).prop_map(|(n, seed)| Step::Train(n, seed)),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
    ];
    vec(step, 1..30)
}

/// What an item is. The vector is as given; under cosine the index gives back the normalised one.
#[derive(Clone, Debug, PartialEq)]
struct Item {
    vector: Vec<f32>,
    metadata: Vec<u8>,
    contents: Vec<u8>,
    kind: u8,
}

impl Item {
    fn new(rng: &mut Rng, dim: usize) -> Self {
        // Few different values: equal vectors and equal distances happen. Never all 0, which cosine refuses.
        let mut vector: Vec<f32> = (0..dim).map(|_| rng.below(7) as f32 - 3.0).collect();
        vector[0] += 0.5;
        let metadata = match rng.below(3) {
            0 => Vec::new(),
            1 => b"{}".to_vec(),
            _ => format!("{{\"k\": [{}, \"\u{e9}\"] }}", rng.below(1000)).into_bytes(),
        };
        let kind = rng.below(3) as u8;
        let len = [0, 1, 50, 6000][rng.below(4)];
        let contents = match kind {
            0 => Vec::new(),
            1 => (0..len).map(|_| rng.below(256) as u8).collect(),
            _ => "h\u{e9}".repeat(len / 3).into_bytes(),
        };
        Self { vector, metadata, contents, kind }
    }
}

#[derive(Clone, Copy, Debug)]
struct Setup {
    metric: Metric,
    id_kind: IdKind,
    quantizer: QuantizerSpec,
    precision: VectorPrecision,
    file: bool,
    mode: CacheMode,
    dim: usize,
    cache_bytes: u64,
}

fn setups() -> impl Strategy<Value = Setup> {
    let metrics = [Metric::Euclidean, Metric::SquaredEuclidean, Metric::Cosine, Metric::InnerProduct];
    let coding = (0..QUANTIZERS.len(), any::<bool>());
    let choices = (0..4usize, any::<bool>(), coding, any::<bool>(), any::<bool>(), 0..4usize, any::<bool>());
    choices.prop_map(move |(m, u64_ids, (q, half), file, sealed, dim, tiny)| Setup {
        metric: metrics[m],
        id_kind: if u64_ids { IdKind::U64 } else { IdKind::Bytes },
        quantizer: QUANTIZERS[q],
        precision: if half { VectorPrecision::F16 } else { VectorPrecision::F32 },
        file,
        mode: if sealed { CacheMode::Sealed } else { CacheMode::Plain },
        dim: [1, 2, 7, 33][dim],
        cache_bytes: if tiny { 20 << 10 } else { 0 },
    })
}

/// An id in its stored form.
fn id(kind: IdKind, n: u8) -> Vec<u8> {
    match kind {
        IdKind::U64 => (u64::from(n) << 40 | 7).to_le_bytes().to_vec(),
        // Of many lengths, with bytes of all sorts, and prefixes of one another.
        IdKind::Bytes => (0..=n).map(|i| i.wrapping_mul(37)).collect(),
    }
}

struct Pair {
    setup: Setup,
    place: Place,
    db: Arc<Db>,
    index: Arc<Index>,
    model: BTreeMap<Vec<u8>, Item>,
}

impl Pair {
    fn open_db(setup: &Setup, place: &Place) -> Arc<Db> {
        let o =
            DbOptions { threads: 1, cache_mode: setup.mode, cache_bytes: setup.cache_bytes, ..DbOptions::default() };
        Db::open(&place.url, o).unwrap()
    }

    fn new(setup: Setup) -> Self {
        let place = if setup.file { Place::file() } else { Place::memory() };
        let db = Self::open_db(&setup, &place);
        let o = IndexOptions {
            metric: setup.metric,
            quantizer: Some(setup.quantizer),
            vector_precision: setup.precision,
            id_kind: setup.id_kind,
            auto_train_disabled: true,
            ..IndexOptions::default()
        };
        let index = db.create_index("model", &KEY, &o).unwrap();
        Self { setup, place, db, index, model: BTreeMap::new() }
    }

    /// Calls `f` with `ids` in the form that the index takes.
    fn with_ids<R>(&self, ids: &[u8], f: impl FnOnce(Ids<'_>) -> R) -> R {
        let stored: Vec<Vec<u8>> = ids.iter().map(|&n| id(self.setup.id_kind, n)).collect();
        match self.setup.id_kind {
            IdKind::U64 => {
                let numbers: Vec<u64> = stored.iter().map(|b| u64::from_le_bytes(b[..].try_into().unwrap())).collect();
                f(Ids::U64(&numbers))
            }
            IdKind::Bytes => f(Ids::Bytes(Column::new(&stored).strings())),
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Upsert(ids, seed) => self.upsert(ids, *seed),
            Step::Delete(ids) => {
                let deleted = self.with_ids(ids, |ids| self.index.delete(ids)).unwrap();
                let known = ids.iter().filter(|&&n| self.model.remove(&id(self.setup.id_kind, n)).is_some()).count();
                assert_eq!(deleted, known as u64);
            }
            Step::Get(ids) => self.get(ids),
            Step::Query(seed, k) => self.query(*seed, *k as usize),
            Step::Train(n_lists, seed) => {
                let o = TrainOptions { n_lists: *n_lists, seed: *seed, ..TrainOptions::default() };
                let needed = u64::from(*n_lists).max(1) * 2;
                match self.index.train(&o) {
                    Ok(job) => assert_eq!(job.wait(None), JobState::Trained, "{:?}", job.error()),
                    Err(Error::InsufficientVectors { needed: n, got }) => {
                        assert_eq!((n, got), (needed, self.model.len() as u64));
                        assert!(got < needed);
                    }
                    Err(e) => panic!("{e}"),
                }
            }
            Step::Compact => {
                self.index.compact(&Watch::NONE).unwrap();
                let stats = self.index.stats().unwrap();
                assert_eq!((stats.deltas, stats.tombstones), (0, 0));
            }
            Step::Reopen if self.setup.file => {
                let Self { setup, place, db, index, model } =
                    std::mem::replace(self, Self::new(Setup { file: false, ..self.setup }));
                drop((index, db));
                let db = Self::open_db(&setup, &place);
                let index = db.open_index("model", &KEY).unwrap();
                *self = Self { setup, place, db, index, model };
            }
            // What a second opening gives is the same index.
            Step::Reopen => self.index = self.db.open_index("model", &KEY).unwrap(),
        }
    }

    fn upsert(&mut self, ids: &[u8], seed: u64) {
        let mut rng = Rng::new(seed);
        let dim = self.setup.dim;
        let items: Vec<Item> = ids.iter().map(|_| Item::new(&mut rng, dim)).collect();
        let plain = seed.is_multiple_of(3);
        let items: Vec<Item> = match plain {
            true => items.into_iter().map(|i| Item { metadata: vec![], contents: vec![], kind: 0, ..i }).collect(),
            false => items,
        };
        let vectors: Vec<f32> = items.iter().flat_map(|i| i.vector.clone()).collect();
        let (metadata, contents) =
            (Column::new(items.iter().map(|i| &i.metadata)), Column::new(items.iter().map(|i| &i.contents)));
        let kinds: Vec<u8> = items.iter().map(|i| i.kind).collect();
        let done = self.with_ids(ids, |ids| {
            let batch = Batch {
                dimension: dim as u32,
                vectors: &vectors,
                ids,
                metadata: (!plain).then(|| metadata.strings()),
                contents: (!plain).then(|| contents.strings()),
                contents_kinds: (!plain).then_some(&kinds[..]),
            };
            self.index.upsert(&batch, &Watch::NONE).unwrap()
        });
        let before = self.model.len();
        let mut replaced = std::collections::BTreeSet::new();
        for (&n, item) in ids.iter().zip(items) {
            let id = id(self.setup.id_kind, n);
            if self.model.contains_key(&id) {
                replaced.insert(id.clone());
            }
            self.model.insert(id, item);
        }
        let inserted = (self.model.len() - before) as u64;
        assert_eq!((done.inserted, done.vector_count), (inserted, self.model.len() as u64));
        assert_eq!(done.inserted + done.updated + done.superseded, ids.len() as u64);
    }

    /// The vector that the index gives back for `given`.
    fn check_vector(&self, got: &[f32], given: &[f32]) {
        if self.setup.metric == Metric::Cosine {
            let norm = given.iter().map(|x| x * x).sum::<f32>().sqrt();
            let off = if self.setup.precision == VectorPrecision::F16 { 5e-4 } else { 1e-6 };
            assert!(got.iter().zip(given).all(|(a, b)| (a - b / norm).abs() < off));
        } else {
            // Small numbers of few bits are the same in float16.
            assert_eq!(got, given);
        }
    }

    fn get(&self, ids: &[u8]) {
        let dim = self.setup.dim;
        let items = self.with_ids(ids, |ids| self.index.get(ids, include::ALL)).unwrap();
        let there = self.with_ids(ids, |ids| self.index.contains(ids)).unwrap();
        assert_eq!(there, items.found);
        let f = &items.fields;
        let (metadata, contents) = (f.metadata.as_ref().unwrap(), f.contents.as_ref().unwrap());
        for (i, &n) in ids.iter().enumerate() {
            let id = id(self.setup.id_kind, n);
            assert_eq!(items.ids.get(i), id);
            let want = self.model.get(&id);
            assert_eq!(items.found[i], want.is_some());
            let none = Item { vector: vec![], metadata: vec![], contents: vec![], kind: 0 };
            let want = want.unwrap_or(&none);
            assert_eq!((metadata.get(i), contents.get(i)), (&want.metadata[..], &want.contents[..]));
            assert_eq!(f.contents_kinds[i] as u8, want.kind);
            if items.found[i] {
                self.check_vector(&f.vectors.as_ref().unwrap()[i * dim..(i + 1) * dim], &want.vector);
            }
        }
    }

    fn query(&self, seed: u64, k: usize) {
        let (dim, metric) = (self.setup.dim, self.setup.metric);
        let mut rng = Rng::new(seed);
        let query = Item::new(&mut rng, dim).vector;
        let mut want: Vec<f64> = self.model.values().map(|i| distance(metric, &query, &i.vector)).collect();
        want.sort_by(f64::total_cmp);
        let all = QueryOptions { top_k: k as u32, n_probes: u32::MAX, rerank_mult: 1000, ..QueryOptions::default() };
        let ask = |o: &QueryOptions| self.index.query(&query, 1, dim as u32, o, &Watch::NONE).unwrap();
        let near = |got: f64, want: f64| (got - want).abs() <= 2e-3 * want.abs().max(1.0);
        let exact = !matches!(self.setup.quantizer, QuantizerSpec::RaBitQ { .. });
        let r = ask(&QueryOptions { include: include::ALL, ..all });
        assert_eq!(r.ids.len(), want.len().min(k));
        let (metadata, vectors) = (r.fields.metadata.as_ref().unwrap(), r.fields.vectors.as_ref().unwrap());
        for i in 0..r.ids.len() {
            let got = f64::from(r.distances[i]);
            assert!(near(got, want[i]) || (!exact && got > want[i]), "{got} instead of {}", want[i]);
            let item = &self.model[r.ids.get(i)];
            assert!(near(got, distance(metric, &query, &item.vector)), "the distance is not that of the item");
            assert_eq!(metadata.get(i), item.metadata);
            self.check_vector(&vectors[i * dim..(i + 1) * dim], &item.vector);
            // Nearest first; equally near ones by id, numbers by value.
            let key = |i: usize| match self.setup.id_kind {
                IdKind::Bytes => r.ids.get(i).to_vec(),
                IdKind::U64 => r.ids.get(i).iter().rev().copied().collect(),
            };
            assert!(i == 0 || (r.distances[i - 1], key(i - 1)) < (r.distances[i], key(i)));
        }
        let mut ids: Vec<&[u8]> = (0..r.ids.len()).map(|i| r.ids.get(i)).collect();
        ids.sort_unstable();
        assert!(ids.windows(2).all(|w| w[0] != w[1]));
        // Within a radius: what was found before, up to it.
        if let Some(&radius) = r.distances.get(r.distances.len() / 2) {
            let within = ask(&QueryOptions { radius, has_radius: true, ..all });
            let expected = r.distances.iter().filter(|&&d| d <= radius).count();
            assert!(!exact || within.distances == r.distances[..expected]);
            assert!(within.distances.iter().all(|&d| d <= radius));
        }
        // Fewer probes and automatic ones find items that are there, in order.
        for n_probes in [0, 1] {
            let r = ask(&QueryOptions { n_probes, ..all });
            assert!((0..r.ids.len()).all(|i| self.model.contains_key(r.ids.get(i))));
            assert!(r.distances.windows(2).all(|w| w[0] <= w[1]));
        }
    }

    fn check(&self) {
        assert!(list_all(&self.index).iter().eq(self.model.keys()));
        assert_eq!(self.index.count().unwrap(), self.model.len() as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_leaves_what_the_model_says(setup in setups(), steps in steps()) {
        let mut pair = Pair::new(setup);
        for step in &steps {
            pair.step(step);
            pair.check();
        }
        pair.get(&(0..120).collect::<Vec<_>>());
        pair.query(1, 20);
        pair.index.verify(&Watch::NONE).unwrap();
    }
}

/// 400 histories, more for `make soak`.
fn cases() -> u32 {
    (400.0 * soak()) as u32
}
