//! A batch of queries answers as each of them does alone, whatever is brought together on the way.

mod common;

use std::sync::Arc;

use common::{KEY, QUANTIZERS, clustered, upsert};
use cyborg::engine::*;
use cyborg::exec::Watch;
use cyborg::types::{IdKind, Metric, QuantizerSpec, VectorPrecision};

const DIM: usize = 33;
const ITEMS: usize = 6000;
/// More than go through their lists in one piece of two threads, and no multiple of what is scored together.
const QUERIES: usize = 77;

/// An index with items in lists, items that came later, replaced and deleted ones.
fn prepared(db: &Arc<Db>, name: &str, options: &IndexOptions) -> Arc<Index> {
    let index = db.create_index(name, &KEY, options).unwrap();
    let vectors = clustered(ITEMS, DIM, 5);
    upsert(&index, 0, &vectors[..5000 * DIM], DIM).unwrap();
    assert_eq!(
        index.train(&TrainOptions { n_lists: 60, ..TrainOptions::default() }).unwrap().wait(None),
        JobState::Trained
    );
    upsert(&index, 5000, &vectors[5000 * DIM..], DIM).unwrap();
    upsert(&index, 100, &vectors[300 * DIM..340 * DIM], DIM).unwrap();
    let gone: Vec<u64> = (0..ITEMS as u64).step_by(17).collect();
    index.delete(Ids::U64(&gone)).unwrap();
    index
}

/// Everything that may be told of the answer to query `q`; of what was opened only that something was, since a batch opens
/// a list once for several.
fn told(r: &Results, q: usize) -> (Vec<Vec<u8>>, Vec<u32>, [u64; 3]) {
    let places = r.starts[q]..r.starts[q + 1];
    let s = r.stats[q];
    (
        places.clone().map(|i| r.ids.get(i).to_vec()).collect(),
        r.distances[places].iter().map(|d| d.to_bits()).collect(),
        [u64::from(s.lists_probed), s.vectors_scanned, u64::from(s.reranked)],
    )
}

fn same_alone_and_together(index: &Index, queries: &[f32], what: &str) {
    let ask = |queries: &[f32], o: &QueryOptions| {
        index.query(queries, queries.len() / DIM, DIM as u32, o, &Watch::NONE).unwrap()
    };
    for (top_k, n_probes, target_recall) in
        [(10, 0, 0.0), (10, 0, 0.8), (3, 7, 0.0), (100, 0, 0.0), (10, u32::MAX, 0.0)]
    {
        let o = QueryOptions { top_k, n_probes, target_recall, include: include::DISTANCE, ..QueryOptions::default() };
        let alone: Vec<_> = queries.chunks(DIM).map(|q| told(&ask(q, &o), 0)).collect();
        assert!(alone.iter().all(|(ids, ..)| ids.len() == top_k as usize), "{what}");
        for (threads, n) in [(1, QUERIES), (0, QUERIES), (0, 16), (1, 2)] {
            let together = ask(&queries[..n * DIM], &QueryOptions { threads, ..o });
            for (q, alone) in alone.iter().enumerate().take(n) {
                assert_eq!(told(&together, q), *alone, "{what}: {o:?}, query {q} of {n}");
            }
        }
    }
}

// Results of a batch once depended on how its rounds were cut: the threshold that ends a visit was whatever the buffer of
// candidates had come to.
#[test]
fn every_quantizer_answers_a_batch_as_single_queries() {
    let db = Db::open("memory:", DbOptions { threads: 2, ..DbOptions::default() }).unwrap();
    let queries = clustered(QUERIES, DIM, 6);
    for metric in [Metric::Cosine, Metric::SquaredEuclidean] {
        for quantizer in QUANTIZERS {
            let name = format!("{metric:?} {quantizer:?}");
            let options = IndexOptions {
                metric,
                quantizer: Some(quantizer),
                id_kind: IdKind::U64,
                auto_train_disabled: true,
                ..IndexOptions::default()
            };
            same_alone_and_together(&prepared(&db, &name, &options), &queries, &name);
        }
    }
}

#[test]
fn float16_and_sealed_lists_answer_a_batch_as_single_queries() {
    let queries = clustered(QUERIES, DIM, 7);
    for cache_mode in [CacheMode::Plain, CacheMode::Sealed] {
        let db = Db::open("memory:", DbOptions { threads: 2, cache_mode, ..DbOptions::default() }).unwrap();
        for quantizer in [QuantizerSpec::Flat, QuantizerSpec::SQ4] {
            let name = format!("{cache_mode:?} {quantizer:?}");
            let options = IndexOptions {
                metric: Metric::Cosine,
                quantizer: Some(quantizer),
                vector_precision: VectorPrecision::F16,
                id_kind: IdKind::U64,
                auto_train_disabled: true,
                ..IndexOptions::default()
            };
            same_alone_and_together(&prepared(&db, &name, &options), &queries, &name);
        }
    }
}

// A piece of a batch brings together so many pairs of a query and a list: with many lists that cuts a batch long before
// its number of queries does, and no test had so many.
#[test]
fn a_batch_that_is_cut_because_of_its_many_lists_answers_as_single_queries() {
    const DIM: usize = 4;
    const LISTS: u32 = 2000;
    let queries = clustered(600, DIM, 11);
    for (cache_mode, quantizer) in [
        (CacheMode::Plain, QuantizerSpec::SQ8),
        (CacheMode::Plain, QuantizerSpec::RaBitQ { bits: 4 }),
        (CacheMode::Sealed, QuantizerSpec::Flat),
    ] {
        let db = Db::open("memory:", DbOptions { threads: 2, cache_mode, ..DbOptions::default() }).unwrap();
        let options = IndexOptions {
            metric: Metric::SquaredEuclidean,
            quantizer: Some(quantizer),
            id_kind: IdKind::U64,
            auto_train_disabled: true,
            ..IndexOptions::default()
        };
        let index = db.create_index("many lists", &KEY, &options).unwrap();
        upsert(&index, 0, &clustered(ITEMS, DIM, 5), DIM).unwrap();
        let trained = index.train(&TrainOptions { n_lists: LISTS, ..TrainOptions::default() }).unwrap().wait(None);
        assert_eq!((trained, index.describe().unwrap().n_lists), (JobState::Trained, LISTS));
        let ask = |queries: &[f32], threads| {
            let o = QueryOptions { top_k: 5, n_probes: LISTS, threads, ..QueryOptions::default() };
            index.query(queries, queries.len() / DIM, DIM as u32, &o, &Watch::NONE).unwrap()
        };
        let alone: Vec<_> = queries.chunks(DIM).map(|q| told(&ask(q, 1), 0)).collect();
        assert!(alone.iter().all(|(ids, _, [lists, ..])| (ids.len(), *lists) == (5, u64::from(LISTS))));
        for threads in [1, 0] {
            let together = ask(&queries, threads);
            for (q, alone) in alone.iter().enumerate() {
                assert_eq!(told(&together, q), *alone, "{cache_mode:?} {quantizer:?}, {threads} threads, query {q}");
            }
        }
        // That it was cut: each piece opens the lists for itself.
        if cache_mode == CacheMode::Sealed {
            let opened = |n: usize| ask(&queries[..n * DIM], 1).stats.iter().map(|s| s.bytes_opened).sum::<u64>();
            let (whole, cut) = (opened(100), opened(600));
            assert!(whole > 0 && cut >= 2 * whole, "{cut} bytes opened for 600 queries, {whole} for 100");
        }
    }
}

// In a sealed cache a list is opened once for all queries of a batch that look into it.
#[test]
fn a_sealed_batch_opens_less_than_its_queries_do() {
    let db = Db::open("memory:", DbOptions { cache_mode: CacheMode::Sealed, ..DbOptions::default() }).unwrap();
    let options = IndexOptions {
        metric: Metric::Cosine,
        quantizer: Some(QuantizerSpec::Flat),
        id_kind: IdKind::U64,
        auto_train_disabled: true,
        ..IndexOptions::default()
    };
    let index = prepared(&db, "sealed", &options);
    let queries = clustered(QUERIES, DIM, 8);
    let opened = |queries: &[f32]| {
        let o = QueryOptions { top_k: 10, n_probes: 20, threads: 1, ..QueryOptions::default() };
        let r = index.query(queries, queries.len() / DIM, DIM as u32, &o, &Watch::NONE).unwrap();
        r.stats.iter().map(|s| s.bytes_opened).sum::<u64>()
    };
    let alone: u64 = queries.chunks(DIM).map(opened).sum();
    let together = opened(&queries);
    assert!(together > 0 && together * 3 < alone, "{together} together, {alone} alone");
}

// A sealed query once opened a quarter more than it scanned: lists and rows lay in frames of one size.
#[test]
fn a_sealed_query_opens_the_lists_and_rows_it_reads_and_little_more() {
    let db = Db::open("memory:", DbOptions { cache_mode: CacheMode::Sealed, ..DbOptions::default() }).unwrap();
    let options = IndexOptions {
        metric: Metric::Cosine,
        quantizer: Some(QuantizerSpec::SQ4),
        id_kind: IdKind::U64,
        auto_train_disabled: true,
        ..IndexOptions::default()
    };
    let index = db.create_index("cut", &KEY, &options).unwrap();
    upsert(&index, 0, &clustered(ITEMS, DIM, 5), DIM).unwrap();
    let trained = index.train(&TrainOptions { n_lists: 60, ..TrainOptions::default() }).unwrap().wait(None);
    assert_eq!(trained, JobState::Trained);
    let code = u64::from(index.describe().unwrap().code_bytes);
    let queries = clustered(QUERIES, DIM, 8);
    let o = QueryOptions { top_k: 10, n_probes: 20, threads: 1, ..QueryOptions::default() };
    // The first answers fill the cache, whole extents at a time.
    for cached in [false, true] {
        for query in queries.chunks(DIM) {
            let s = index.query(query, 1, DIM as u32, &o, &Watch::NONE).unwrap().stats[0];
            let lists = u64::from(s.lists_probed);
            // A list: whole blocks of 16 codes, then up to 1 KiB. A row: those that share its 1,008 bytes.
            let most = s.vectors_scanned * code + lists * (15 * code + 1023) + u64::from(s.reranked) * 1008;
            let least = s.vectors_scanned * code + u64::from(s.reranked) * DIM as u64 * 4;
            let fits = (least..=most).contains(&s.bytes_opened);
            assert!(!cached || fits, "{} of {least} to {most}", s.bytes_opened);
        }
    }
}
