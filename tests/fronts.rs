//! Queries that look at so many vectors that the fronts of their codes are scored first.

mod common;

use std::sync::Arc;

use common::{KEY, upsert};
use cyborg::engine::*;
use cyborg::exec::Watch;
use cyborg::rng::Rng;
use cyborg::types::{IdKind, Metric, QuantizerSpec};

const DIM: usize = 192;
const ITEMS: usize = 16_000;
const LISTS: u32 = 50;
/// Fewer lists have too few vectors for fronts to be scored first.
const DEEP: u32 = 32;
const QUERIES: usize = 40;
const K: usize = 10;

/// Vectors of length 1, so that all metrics have the same neighbours, that are in no clusters: queries scan many. Later
/// dimensions matter less and less.
fn scattered(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    let mut value = |i: usize| {
        let sum: f32 = (0..4).map(|_| rng.unit_f32() - 0.5).sum();
        sum / (1.0 + (i % DIM) as f32 / 8.0).sqrt()
    };
    let mut vectors: Vec<f32> = (0..n * DIM).map(&mut value).collect();
    for vector in vectors.chunks_mut(DIM) {
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|x| *x /= length);
    }
    vectors
}

/// Items in lists, some replaced, some deleted, some not yet merged.
fn prepared(mode: CacheMode, metric: Metric, vectors: &[f32]) -> (Arc<Db>, Arc<Index>) {
    let options = DbOptions { threads: 2, cache_mode: mode, ..DbOptions::default() };
    let db = Db::open("memory:", options).unwrap();
    let options = IndexOptions {
        metric,
        quantizer: Some(QuantizerSpec::SQ2),
        id_kind: IdKind::U64,
        auto_train_disabled: true,
        ..IndexOptions::default()
    };
    let index = db.create_index("a", &KEY, &options).unwrap();
    upsert(&index, 0, vectors, DIM).unwrap();
    let options = TrainOptions { n_lists: LISTS, ..TrainOptions::default() };
    assert_eq!(index.train(&options).unwrap().wait(None), JobState::Trained);
    upsert(&index, 100, &vectors[300 * DIM..340 * DIM], DIM).unwrap();
    let gone: Vec<u64> = (0..ITEMS as u64).step_by(17).collect();
    index.delete(Ids::U64(&gone)).unwrap();
    (db, index)
}

fn ask(index: &Index, queries: &[f32], top_k: usize, n_probes: u32) -> Results {
    let o = QueryOptions {
        top_k: top_k as u32,
        n_probes,
        target_recall: if n_probes == 0 { 0.98 } else { 0.0 },
        include: include::DISTANCE,
        ..QueryOptions::default()
    };
    index.query(queries, queries.len() / DIM, DIM as u32, &o, &Watch::NONE).unwrap()
}

fn answer(r: &Results, q: usize) -> (Vec<Vec<u8>>, Vec<u32>, [u64; 3]) {
    let (places, s) = (r.starts[q]..r.starts[q + 1], r.stats[q]);
    (
        places.clone().map(|i| r.ids.get(i).to_vec()).collect(),
        r.distances[places].iter().map(|d| d.to_bits()).collect(),
        [u64::from(s.lists_probed), s.vectors_scanned, u64::from(s.reranked)],
    )
}

/// Which vectors a query scores whole follows from rounds, not from the other queries of its batch nor from where codes are
/// kept. 0 lists: as many as the stopping rule says, which has rounds of its own.
#[test]
fn a_batch_and_a_sealed_cache_answer_as_single_queries_of_a_plain_one() {
    let queries = scattered(QUERIES, 6);
    let (items, more) = (scattered(ITEMS, 5), scattered(300, 7));
    let of = |mode| prepared(mode, Metric::Cosine, &items);
    let ((_a, plain), (_b, sealed)) = (of(CacheMode::Plain), of(CacheMode::Sealed));
    for index in [&plain, &sealed] {
        upsert(index, ITEMS as u64, &more, DIM).unwrap();
        index.delete(Ids::U64(&[1, 2, 3, ITEMS as u64 + 1])).unwrap();
    }
    for (top_k, n_probes) in [(K, 0), (1, 0), (K, DEEP), (K, LISTS)] {
        let together = ask(&plain, &queries, top_k, n_probes);
        let opened = ask(&sealed, &queries, top_k, n_probes);
        let stopped = together.stats.iter().any(|s| s.lists_probed != together.stats[0].lists_probed);
        assert_eq!(stopped, n_probes == 0, "the stopping rule");
        let scanned: u64 = together.stats.iter().map(|s| s.vectors_scanned).sum();
        assert!(scanned >= (QUERIES * 60 * 128) as u64, "{scanned} are too few for fronts to be scored first");
        for (q, query) in queries.chunks(DIM).enumerate() {
            let alone = answer(&ask(&plain, query, top_k, n_probes), 0);
            assert_eq!(alone.0.len(), top_k);
            assert_eq!(answer(&together, q), alone, "{top_k} of {n_probes} together");
            assert_eq!(answer(&opened, q), alone, "{top_k} of {n_probes} sealed");
            assert_eq!(answer(&ask(&sealed, query, top_k, n_probes), 0), alone, "{top_k} of {n_probes} sealed, alone");
        }
    }
}

/// A query that finds too little in its nearest lists scores the others whole, beside queries that do not.
#[test]
fn a_query_that_found_nothing_yet_answers_in_a_batch_as_alone() {
    let (_db, index) = prepared(CacheMode::Plain, Metric::Cosine, &scattered(ITEMS, 5));
    let queries = scattered(QUERIES, 6);
    // All that is in the eighth of its lists that is scored whole.
    let o = QueryOptions { top_k: 5000, n_probes: DEEP / 8, rerank_mult: 1, ..QueryOptions::default() };
    let near = index.query(&queries[..DIM], 1, DIM as u32, &o, &Watch::NONE).unwrap();
    let near: Vec<u64> = common::ids_of(&near, 0);
    assert!((100..5000).contains(&near.len()));
    index.delete(Ids::U64(&near)).unwrap();
    let together = ask(&index, &queries, K, DEEP);
    for (q, query) in queries.chunks(DIM).enumerate() {
        let alone = answer(&ask(&index, query, K, DEEP), 0);
        assert_eq!(alone.0.len(), K);
        assert_eq!(answer(&together, q), alone, "query {q}");
    }
}

/// Items in groups of ten, each near the others of its group: their queries find them but for one in fifty at most.
#[test]
fn what_is_not_scored_whole_holds_hardly_any_result() {
    let centres = scattered(ITEMS / K, 5);
    let mut rng = Rng::new(8);
    let mut near = |centre: &[f32]| -> Vec<f32> {
        let vector: Vec<f32> = centre.iter().map(|x| x + (rng.unit_f32() - 0.5) * 0.08).collect();
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.iter().map(|x| x / length).collect()
    };
    let items: Vec<f32> =
        centres.chunks(DIM).flat_map(|centre| (0..K).flat_map(|_| near(centre)).collect::<Vec<_>>()).collect();
    // Behind those that are replaced.
    let groups = 60..60 + QUERIES;
    let queries: Vec<f32> = groups.clone().flat_map(|group| near(&centres[group * DIM..][..DIM])).collect();
    let (_db, index) = prepared(CacheMode::Plain, Metric::Cosine, &items);
    let r = ask(&index, &queries, K, LISTS);
    let (mut found, mut live) = (0, 0);
    for (q, group) in groups.enumerate() {
        found += common::ids_of(&r, q).iter().filter(|&&id| id as usize / K == group).count();
        live += (group * K..(group + 1) * K).filter(|id| id % 17 != 0).count();
    }
    println!("{found} of {live} found");
    assert!(found * 50 >= live * 49, "{found} of {live}");
}

/// That fronts are scored first is seen only where they mislead: by vectors that are near a query in the rest of their
/// dimensions and far from it in the first, as hardly any is. Only under cosine they are.
#[test]
fn fronts_hide_what_only_the_rest_promises() {
    let mut rng = Rng::new(9);
    let root = (DIM as f32).sqrt();
    let queries: Vec<f32> = (0..QUERIES * DIM).map(|_| if rng.unit_f32() < 0.5 { -1.0 } else { 1.0 } / root).collect();
    let hidden: Vec<f32> =
        (0..QUERIES * DIM).map(|i| queries[i] * if i % DIM < DIM / 2 { -0.5 } else { 1.75f32.sqrt() }).collect();
    for metric in [Metric::Cosine, Metric::SquaredEuclidean, Metric::InnerProduct] {
        let (_db, index) = prepared(CacheMode::Plain, metric, &scattered(ITEMS, 5));
        upsert(&index, 1 << 40, &hidden, DIM).unwrap();
        // Among the others of their lists: a block by itself is scored whole.
        index.compact(&Watch::NONE).unwrap();
        let found = |rerank_mult| {
            let o = QueryOptions { top_k: 1, n_probes: LISTS, rerank_mult, ..QueryOptions::default() };
            let r = index.query(&queries, QUERIES, DIM as u32, &o, &Watch::NONE).unwrap();
            (0..QUERIES).filter(|&q| common::ids_of(&r, q) == [(1 << 40) + q as u64]).count()
        };
        let (pruned, whole) = (found(100), found(300));
        println!("{metric:?}: {pruned} found, {whole} where all is scored whole");
        assert_eq!(whole, QUERIES, "{metric:?}");
        if metric == Metric::Cosine {
            assert!(pruned * 2 <= QUERIES, "{pruned} of {QUERIES}");
        } else {
            assert_eq!(pruned, QUERIES, "{metric:?}, where all is scored whole");
        }
    }
}
