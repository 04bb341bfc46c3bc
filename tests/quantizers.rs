//! Every quantizer through the life of an index: trained, written to after, merged, compacted, reopened; under all
//! metrics and both cache modes, with vectors of both precisions. Recall on real data is in `words.rs`.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::*;
use cyborg::crypto::Backend;
use cyborg::engine::*;
use cyborg::error::{Error, Status};
use cyborg::exec::Watch;
use cyborg::rng::Rng;
use cyborg::store::memory::MemoryStore;
use cyborg::types::{IdKind, Metric, QuantizerSpec, VectorPrecision};

const DIM: usize = 21;
const LISTS: u32 = 12;
const METRICS: [Metric; 4] = [Metric::Euclidean, Metric::SquaredEuclidean, Metric::Cosine, Metric::InnerProduct];

fn options(metric: Metric, quantizer: QuantizerSpec, vector_precision: VectorPrecision) -> IndexOptions {
    let quantizer = Some(quantizer);
    let common = IndexOptions { id_kind: IdKind::U64, auto_train_disabled: true, ..IndexOptions::default() };
    IndexOptions { metric, quantizer, vector_precision, seed: 3, ..common }
}

fn train(index: &Index) {
    let job = index.train(&TrainOptions { n_lists: LISTS, ..TrainOptions::default() }).unwrap();
    assert_eq!(job.wait(None), JobState::Trained, "{:?}", job.error());
}

/// What the items are, beside the index.
struct Items(BTreeMap<u64, Vec<f32>>);

impl Items {
    fn put(&mut self, index: &Index, first: u64, vectors: &[f32]) {
        upsert(index, first, vectors, DIM).unwrap();
        self.0.extend((first..).zip(vectors.chunks(DIM).map(<[f32]>::to_vec)));
    }

    /// Recall at 10 in all lists of what brute force finds.
    fn recall(&self, index: &Index, metric: Metric, rerank_mult: u32) -> f64 {
        let queries = clustered(40, DIM, 77);
        let o = QueryOptions { top_k: 10, n_probes: LISTS, rerank_mult, ..QueryOptions::default() };
        let found = index.query(&queries, 40, DIM as u32, &o, &Watch::NONE).unwrap();
        let hits = queries.chunks(DIM).enumerate().map(|(q, query)| {
            let mut all: Vec<(f64, u64)> = self.0.iter().map(|(id, v)| (distance(metric, query, v), *id)).collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0));
            let got = ids_of(&found, q);
            assert_eq!(got.len(), 10);
            all[..10].iter().filter(|(_, id)| got.contains(id)).count()
        });
        hits.sum::<usize>() as f64 / 400.0
    }

    /// That vectors come back as they were put, rounded as the index says.
    fn check_vectors(&self, index: &Index, o: &IndexOptions) {
        let ids: Vec<u64> = self.0.keys().copied().collect();
        let vectors = index.get(Ids::U64(&ids), include::VECTOR).unwrap().fields.vectors.unwrap();
        for (got, want) in vectors.chunks(DIM).zip(self.0.values()) {
            let norm = if o.metric == Metric::Cosine { want.iter().map(|x| x * x).sum::<f32>().sqrt() } else { 1.0 };
            match (o.vector_precision, o.metric) {
                (VectorPrecision::F16, Metric::Cosine) => {
                    assert!(got.iter().zip(want).all(|(a, b)| *a == half(*a) && (a - b / norm).abs() < 5e-4));
                }
                (VectorPrecision::F16, _) => assert!(got.iter().zip(want).all(|(a, b)| *a == half(*b))),
                _ => assert!(got.iter().zip(want).all(|(a, b)| (a - b / norm).abs() < 1e-5)),
            }
        }
    }
}

fn life(metric: Metric, quantizer: QuantizerSpec, mode: CacheMode, precision: VectorPrecision) {
    let what = format!("{metric:?} {quantizer:?} {mode:?} {precision:?}");
    let store = Arc::new(MemoryStore::new());
    let open = || {
        let o = DbOptions { threads: 2, cache_mode: mode, cache_bytes: 200 << 10, ..DbOptions::default() };
        Db::over(Backend::over(Arc::clone(&store) as _), o)
    };
    let o = options(metric, quantizer, precision);
    let db = open();
    let index = db.create_index("a", &KEY, &o).unwrap();
    let mut items = Items(BTreeMap::new());
    items.put(&index, 0, &clustered(1200, DIM, 1));
    assert_eq!(index.describe().unwrap().coded, QuantizerSpec::Flat);
    train(&index);
    // All candidates are reranked: only bounds that fail lose any, and rounding to float16 swaps near ones.
    let floor = match (quantizer, precision) {
        (QuantizerSpec::RaBitQ { .. }, _) => 0.95,
        (_, VectorPrecision::F16) => 0.98,
        _ => 1.0,
    };
    let check = |index: &Index, items: &Items, stage: &str| {
        let recall = items.recall(index, metric, 1000);
        assert!(recall >= floor, "{what} {stage}: recall {recall}");
        items.check_vectors(index, &o);
        index.verify(&Watch::NONE).unwrap();
    };
    check(&index, &items, "trained");
    // Upserts into a trained index are coded at once: new ones, replaced ones, and some deleted.
    items.put(&index, 1100, &clustered(150, DIM, 2));
    let gone: Vec<u64> = (0..50).collect();
    assert_eq!(index.delete(Ids::U64(&gone)).unwrap(), 50);
    items.0.retain(|id, _| *id >= 50);
    check(&index, &items, "written to");
    drop((index, db));
    let db = open();
    let index = db.open_index("a", &KEY).unwrap();
    check(&index, &items, "reopened");
    index.compact(&Watch::NONE).unwrap();
    check(&index, &items, "compacted");
    // Codes of the tail and of runs are the same codes.
    items.put(&index, 5000, &clustered(30, DIM, 5));
    let tail = items.recall(&index, metric, 1);
    index.compact(&Watch::NONE).unwrap();
    // Equal codes are told apart by row, which compaction changes: a result or two may differ.
    let run = items.recall(&index, metric, 1);
    assert!((run - tail).abs() < 0.01, "{what}: {tail} from the tail, {run} from a run");
    let info = index.describe().unwrap();
    assert_eq!((info.quantizer, info.coded), (Some(quantizer), quantizer.resolve(DIM as u32)), "{what}");
    assert_eq!(info.vector_precision, precision);
}

#[test]
fn euclidean_metrics() {
    for quantizer in QUANTIZERS {
        life(Metric::Euclidean, quantizer, CacheMode::Plain, VectorPrecision::F32);
        life(Metric::SquaredEuclidean, quantizer, CacheMode::Sealed, VectorPrecision::F16);
    }
}

#[test]
fn cosine() {
    for quantizer in QUANTIZERS {
        life(Metric::Cosine, quantizer, CacheMode::Plain, VectorPrecision::F16);
        life(Metric::Cosine, quantizer, CacheMode::Sealed, VectorPrecision::F32);
    }
}

#[test]
fn inner_product() {
    for quantizer in QUANTIZERS {
        life(Metric::InnerProduct, quantizer, CacheMode::Plain, VectorPrecision::F32);
        life(Metric::InnerProduct, quantizer, CacheMode::Sealed, VectorPrecision::F16);
    }
}

#[test]
fn the_same_seed_and_items_give_the_same_results_on_any_number_of_threads() {
    for quantizer in QUANTIZERS {
        for metric in METRICS {
            let results = [1, 3].map(|threads| {
                let db = Db::open("memory:", DbOptions { threads, ..DbOptions::default() }).unwrap();
                let index = db.create_index("a", &KEY, &options(metric, quantizer, VectorPrecision::F32)).unwrap();
                upsert(&index, 0, &clustered(900, DIM, 1), DIM).unwrap();
                train(&index);
                let o = QueryOptions { top_k: 20, n_probes: 3, rerank_mult: 1, ..QueryOptions::default() };
                let r = index.query(&clustered(30, DIM, 9), 30, DIM as u32, &o, &Watch::NONE).unwrap();
                ((0..30).map(|q| ids_of(&r, q)).collect::<Vec<_>>(), r.distances)
            });
            assert_eq!(results[0], results[1], "{quantizer:?} {metric:?}");
        }
    }
}

#[test]
fn float16_takes_half_the_bytes_in_the_store_and_in_memory() {
    // 64 dimensions: frames are filled, so that what is counted is vectors.
    let dim = 64;
    for quantizer in [QuantizerSpec::Flat, QuantizerSpec::SQ4, QuantizerSpec::RaBitQ { bits: 1 }] {
        let sizes = [VectorPrecision::F32, VectorPrecision::F16].map(|precision| {
            let db = Db::open("memory:", DbOptions::default()).unwrap();
            let index = db.create_index("a", &KEY, &options(Metric::Euclidean, quantizer, precision)).unwrap();
            upsert(&index, 0, &clustered(20_000, dim, 1), dim).unwrap();
            let job = index.train(&TrainOptions { n_lists: 8, ..TrainOptions::default() }).unwrap();
            assert_eq!(job.wait(None), JobState::Trained);
            // Through the cache, all of it.
            let ids: Vec<u64> = (0..20_000).collect();
            index.get(Ids::U64(&ids), include::VECTOR).unwrap();
            let (stats, info) = (index.stats().unwrap(), index.describe().unwrap());
            // What training replaced counts until it is deleted, which is put off while anything still holds it. The
            // float16 index once in a while had more bytes than the float32 one here, read right after the training.
            let stored = |_| {
                index.compact(&Watch::NONE).unwrap();
                std::thread::sleep(Duration::from_millis(5));
                index.stats().unwrap().stored_bytes
            };
            let stored = (0..20).map(stored).min().unwrap();
            let code = if quantizer == QuantizerSpec::Flat { 0 } else { 20_000 * u64::from(info.code_bytes) };
            // Beside vectors: codes, ids, and borders of frames.
            (stored - code, stats.cache_bytes, info.code_bytes)
        });
        let [(stored, cached, code), (stored16, cached16, code16)] = sizes;
        let vectors = 20_000 * dim as u64 * 4;
        assert!(stored - stored16 > vectors * 45 / 100, "{quantizer:?}: {stored} and {stored16} stored");
        assert!(cached16 < cached * 55 / 100, "{quantizer:?}: {cached} and {cached16} cached");
        assert!(quantizer != QuantizerSpec::Flat || (code, code16) == (256, 128));
    }
}

#[test]
fn a_value_that_float16_cannot_hold_is_refused_by_item() {
    let db = Db::open("memory:", DbOptions::default()).unwrap();
    let halves = |metric| options(metric, QuantizerSpec::Flat, VectorPrecision::F16);
    let index = db.create_index("a", &KEY, &halves(Metric::Euclidean)).unwrap();
    for bad in [65_504.1f32, -65_519.0, 1e30] {
        let e = upsert(&index, 0, &[1.0, 2.0, 3.0, bad], 2).unwrap_err();
        assert_eq!((e.status(), e.item_index()), (Status::InvalidArgument, Some(1)), "{e}");
        assert!(e.to_string().contains("65504"), "{e}");
    }
    assert_eq!(index.count().unwrap(), 0);
    upsert(&index, 0, &[65_504.0, -65_504.0], 2).unwrap();
    // Queries are not rounded, and not bounded; nor are values that are normalised first.
    let r = index.query(&[1e6, 1.0], 1, 2, &QueryOptions::default(), &Watch::NONE).unwrap();
    assert_eq!(ids_of(&r, 0), [0]);
    let cosine = db.create_index("b", &KEY, &halves(Metric::Cosine)).unwrap();
    upsert(&cosine, 0, &[3e30, 4e30], 2).unwrap();
    let items = cosine.get(Ids::U64(&[0]), include::VECTOR).unwrap();
    assert_eq!(items.fields.vectors.unwrap(), [half(0.6), half(0.8)]);
}

#[test]
fn more_parts_than_dimensions_are_refused_by_the_first_upsert() {
    // The dimension is not known at creation, and training would have been the first to notice.
    let db = Db::open("memory:", DbOptions::default()).unwrap();
    let pq = QuantizerSpec::Pq { m: 5, bits: 8, rotation: false };
    let index = db.create_index("a", &KEY, &options(Metric::Euclidean, pq, VectorPrecision::F32)).unwrap();
    let e = upsert(&index, 0, &[1.0, 2.0, 3.0, 4.0], 4).unwrap_err();
    assert!(matches!(e, Error::InvalidArgument { .. }) && e.to_string().contains("pq_m"), "{e}");
    upsert(&index, 0, &[1.0, 2.0, 3.0, 4.0, 5.0], 5).unwrap();
}

#[test]
fn an_automatic_quantizer_is_chosen_anew_by_each_training_and_told() {
    let db = Db::open("memory:", DbOptions::default()).unwrap();
    let o = IndexOptions { quantizer: None, ..options(Metric::Cosine, QuantizerSpec::Flat, VectorPrecision::F32) };
    let index = db.create_index("a", &KEY, &o).unwrap();
    for n in [600, 1200] {
        upsert(&index, 0, &clustered(n, DIM, 1), DIM).unwrap();
        train(&index);
        let info = index.describe().unwrap();
        let chosen = QuantizerSpec::automatic(DIM as u32, n as u64, Metric::Cosine.similarity());
        assert_eq!((info.quantizer, info.coded), (None, chosen.resolve(DIM as u32)));
    }
}

#[test]
fn estimates_far_below_the_results_are_left_unread_unless_a_number_is_asked_for() {
    let queries = clustered(200, DIM, 9);
    for (quantizer, mult) in [(QuantizerSpec::SQ4, 4), (QuantizerSpec::SQ2, 30)] {
        for metric in [Metric::Cosine, Metric::Euclidean, Metric::InnerProduct] {
            let db = Db::open("memory:", DbOptions::default()).unwrap();
            let index = db.create_index("a", &KEY, &options(metric, quantizer, VectorPrecision::F32)).unwrap();
            upsert(&index, 0, &clustered(3000, DIM, 1), DIM).unwrap();
            train(&index);
            let ask = |rerank_mult| {
                let o = QueryOptions { top_k: 10, n_probes: LISTS, rerank_mult, ..QueryOptions::default() };
                index.query(&queries, 200, DIM as u32, &o, &Watch::NONE).unwrap()
            };
            let (all, some) = (ask(mult), ask(0));
            let read = |r: &Results| r.stats.iter().map(|s| u64::from(s.reranked)).sum::<u64>();
            assert_eq!(read(&all), 200 * 10 * u64::from(mult));
            if metric == Metric::InnerProduct {
                assert_eq!(read(&some), read(&all), "the longest win, and their codes are worse than others'");
            } else {
                // Of 40 candidates few lie far enough behind in these clusters, of 300 most do.
                let most = if quantizer == QuantizerSpec::SQ2 { read(&all) / 2 } else { read(&all) };
                assert!((200 * 20..=most).contains(&read(&some)), "{quantizer:?} {metric:?}: {}", read(&some));
            }
            let same = (0..200).map(|q| ids_of(&all, q).iter().filter(|&id| ids_of(&some, q).contains(id)).count());
            let same = same.sum::<usize>();
            assert!(same >= 1980, "{quantizer:?} {metric:?}: {same} of 2000 results are those of all candidates");
        }
    }
}

// Told from the first candidates alone, the error of estimates came out near 0 where those were of one cluster narrower than
// the steps of codes, which are all off by the same: nearer items of other such clusters were left unread.
#[test]
fn clusters_narrower_than_the_steps_of_codes_lose_no_results() {
    let (dim, n) = (24, 3000);
    let mut rng = Rng::new(12);
    // Groups of 30 near items, some hundred of them to a list.
    let groups: Vec<f32> = (0..n / 30 * dim).map(|_| rng.unit_f32() - 0.5).collect();
    let mut near = |spread: f32, group: usize| -> Vec<f32> {
        groups[group * dim..][..dim].iter().map(|x| x + spread * (rng.unit_f32() - 0.5)).collect()
    };
    let items: Vec<f32> = (0..n).flat_map(|i| near(0.002, i % (n / 30))).collect();
    // Between two groups, so that results are of both.
    let queries: Vec<f32> = (0..100)
        .flat_map(|q| {
            let (a, b) = (near(0.1, q), near(0.1, (q * 7 + 3) % (n / 30)));
            a.iter().zip(&b).map(|(a, b)| (a + b) / 2.0).collect::<Vec<_>>()
        })
        .collect();
    for metric in [Metric::Cosine, Metric::Euclidean] {
        let db = Db::open("memory:", DbOptions::default()).unwrap();
        let o = IndexOptions { dimension: dim as u32, ..options(metric, QuantizerSpec::SQ2, VectorPrecision::F32) };
        let index = db.create_index("a", &KEY, &o).unwrap();
        upsert(&index, 0, &items, dim).unwrap();
        let job = index.train(&TrainOptions { n_lists: 2, ..TrainOptions::default() }).unwrap();
        assert_eq!(job.wait(None), JobState::Trained, "{:?}", job.error());
        let ask = |rerank_mult| {
            let o = QueryOptions { top_k: 10, n_probes: 2, rerank_mult, ..QueryOptions::default() };
            index.query(&queries, 100, dim as u32, &o, &Watch::NONE).unwrap()
        };
        let (all, some) = (ask(30), ask(0));
        let read = some.stats.iter().map(|s| u64::from(s.reranked)).sum::<u64>();
        assert!(read < 100 * 300, "{metric:?}: all were read");
        let same = (0..100).map(|q| ids_of(&all, q).iter().filter(|&id| ids_of(&some, q).contains(id)).count());
        let same = same.sum::<usize>();
        assert!(same >= 990, "{metric:?}: {same} of 1000 results are those of all candidates, {read} read");
    }
}

#[test]
fn bounds_leave_candidates_unread_and_the_counters_say_so() {
    let db = Db::open("memory:", DbOptions::default()).unwrap();
    let ask = |quantizer, radius: Option<f32>| {
        let name = format!("{quantizer:?}{radius:?}");
        let index = db.create_index(&name, &KEY, &options(Metric::Euclidean, quantizer, VectorPrecision::F32)).unwrap();
        upsert(&index, 0, &clustered(3000, DIM, 1), DIM).unwrap();
        train(&index);
        let o = QueryOptions {
            top_k: 10,
            n_probes: LISTS,
            rerank_mult: 50,
            has_radius: radius.is_some(),
            radius: radius.unwrap_or(0.0),
            ..QueryOptions::default()
        };
        let r = index.query(&clustered(20, DIM, 9), 20, DIM as u32, &o, &Watch::NONE).unwrap();
        assert!(r.distances.iter().all(|&d| d <= radius.unwrap_or(f32::INFINITY)));
        r.stats.iter().map(|s| u64::from(s.reranked)).sum::<u64>()
    };
    assert_eq!(ask(QuantizerSpec::SQ8, None), 20 * 500);
    let bounded = ask(QuantizerSpec::RaBitQ { bits: 8 }, None);
    assert!((20 * 10..20 * 60).contains(&bounded), "{bounded} of 10000 reranked");
    // Nothing lies so near, and the bounds know it.
    assert!(ask(QuantizerSpec::RaBitQ { bits: 8 }, Some(0.01)) < 20);
}
