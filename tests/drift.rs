//! The recall curve follows the data: measured anew once a quarter of the items was written since, and only then.

mod common;

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use common::*;
use cyborg::crypto::Backend;
use cyborg::engine::*;
use cyborg::exec::Watch;
use cyborg::rng::Rng;
use cyborg::store::fault::{Fault, FaultStore};
use cyborg::store::memory::MemoryStore;
use cyborg::types::{IdKind, Metric, QuantizerSpec};

const DIM: usize = 16;
/// Items trained on, and items of another kind written after it.
const OLD: usize = 6000;
const NEW: usize = 8000;

fn options(quantizer: QuantizerSpec) -> IndexOptions {
    IndexOptions {
        dimension: DIM as u32,
        id_kind: IdKind::U64,
        quantizer: Some(quantizer),
        auto_train_disabled: true,
        ..IndexOptions::default()
    }
}

/// Vectors without any clusters, in the space that those of `clustered` lie in.
fn even(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    (0..n * DIM).map(|_| rng.unit_f32() * 4.0 - 2.0).collect()
}

fn train(index: &Index) {
    let job = index.train(&TrainOptions { n_lists: 96, ..TrainOptions::default() }).unwrap();
    assert_eq!(job.wait(Some(Duration::from_secs(240))), JobState::Trained, "{:?}", job.error());
}

/// Waits until the curve was measured at a count other than `before`.
fn wait_measured(index: &Index, before: u64) -> IndexStats {
    let end = Instant::now() + Duration::from_secs(240);
    loop {
        let stats = index.stats().unwrap();
        if stats.curve_writes != before {
            return stats;
        }
        assert!(Instant::now() < end, "{stats:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Recall@10 of automatic probes, by brute force in the test.
fn recall(index: &Index, items: &[f32], queries: &[f32], n_probes: u32) -> f64 {
    let n = queries.len() / DIM;
    let o = QueryOptions { top_k: 10, n_probes, ..QueryOptions::default() };
    let found = index.query(queries, n, DIM as u32, &o, &Watch::NONE).unwrap();
    let mut hits = 0;
    for (q, query) in queries.chunks_exact(DIM).enumerate() {
        let distances = items.chunks_exact(DIM).map(|v| distance(Metric::SquaredEuclidean, query, v));
        let mut order: Vec<(f64, u64)> = distances.zip(0..).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0));
        let found = ids_of(&found, q);
        hits += order[..10].iter().filter(|(_, id)| found.contains(id)).count();
    }
    hits as f64 / (10 * n) as f64
}

#[test]
fn automatic_probes_reach_the_target_again_after_the_data_has_drifted() {
    // Flat: a curve says which lists to look into. Codes fitted to the old data are another matter, for a training.
    let db = Db::open("memory:", DbOptions { threads: 2, ..DbOptions::default() }).unwrap();
    let index = db.create_index("a", &KEY, &options(QuantizerSpec::Flat)).unwrap();
    let mut items = clustered(OLD, DIM, 1);
    upsert(&index, 0, &items, DIM).unwrap();
    train(&index);
    let trained = index.describe().unwrap();
    let first = index.stats().unwrap();
    assert_eq!((first.writes, first.curve_writes), (OLD as u64, OLD as u64));
    assert!(first.curve_queries > 0);
    // Under a quarter: nothing happens.
    let new = even(NEW, 2);
    upsert(&index, OLD as u64, &new[..1400 * DIM], DIM).unwrap();
    assert_eq!(index.stats().unwrap().curve_writes, OLD as u64);

    let rest: Vec<u64> = (OLD as u64 + 1400..(OLD + NEW) as u64).collect();
    upsert(&index, rest[0], &new[1400 * DIM..], DIM).unwrap();
    items.extend_from_slice(&new);
    let second = wait_measured(&index, OLD as u64);
    assert_eq!(second.curve_writes, (OLD + NEW) as u64);
    assert_eq!(second.curve_queries, 2000);
    let now = index.describe().unwrap();
    assert_eq!((now.generation, now.n_lists), (trained.generation, trained.n_lists));
    assert!(now.auto_probes > trained.auto_probes, "{} then {}", trained.auto_probes, now.auto_probes);

    // The curve that training measured would miss the target; the new one does not.
    let queries = [clustered(100, DIM, 3), even(140, 4)].concat();
    let without = recall(&index, &items, &queries, trained.auto_probes);
    let with = recall(&index, &items, &queries, 0);
    assert!(without < 0.93, "recall {without} with {} probes", trained.auto_probes);
    assert!(with >= 0.95, "recall {with} with {} probes", now.auto_probes);
    index.verify(&Watch::NONE).unwrap();
}

#[test]
fn deletes_count_and_dead_rows_are_no_neighbours() {
    let place = Place::file();
    let db = Db::open(&place.url, DbOptions { threads: 2, ..DbOptions::default() }).unwrap();
    let index = db.create_index("a", &KEY, &options(QuantizerSpec::SQ8)).unwrap();
    // Few of many clusters stay: what was deleted, and is still in the lists, must not be found.
    let items = [clustered(OLD, DIM, 1), even(NEW, 2)].concat();
    upsert(&index, 0, &items, DIM).unwrap();
    train(&index);
    let before = index.stats().unwrap().curve_writes;
    let gone: Vec<u64> = (OLD as u64..(OLD + NEW / 2) as u64).collect();
    index.delete(Ids::U64(&gone)).unwrap();
    let after = wait_measured(&index, before);
    assert_eq!(after.curve_writes, before + gone.len() as u64);
    let probes = index.describe().unwrap().auto_probes;
    assert!(probes > 0);
    // It is what the next opening reads.
    drop((index, db));
    let db = Db::open(&place.url, DbOptions { threads: 2, ..DbOptions::default() }).unwrap();
    let index = db.open_index("a", &KEY).unwrap();
    let read = index.stats().unwrap();
    assert_eq!((read.writes, read.curve_writes, read.curve_queries), (after.writes, after.curve_writes, 2000));
    assert_eq!(index.describe().unwrap().auto_probes, probes);
    index.verify(&Watch::NONE).unwrap();
}

/// The store fails at the first call of merge and measuring, then at the second, and so on: the old curve serves until
/// the new one is there, and no object is left over.
#[test]
fn a_measuring_that_fails_leaves_the_old_curve_and_is_made_up_for() {
    let old_items = 2000;
    let data = clustered(old_items, DIM, 1);
    let more = even(1200, 2);
    let mut at = 0;
    loop {
        let store = Arc::new(FaultStore::new(Arc::new(MemoryStore::new())));
        let (tell, told) = channel();
        let open = || {
            // Merging tells of a failure, and of a curve.
            let tell = tell.clone();
            let log: LogSink = Arc::new(move |_, target, _| {
                if target == "merge" {
                    let _ = tell.send(());
                }
            });
            Db::over(
                Backend::over(Arc::clone(&store) as _),
                DbOptions { threads: 1, log: Some(log), ..DbOptions::default() },
            )
        };
        let db = open();
        let index = db.create_index("a", &KEY, &options(QuantizerSpec::SQ8)).unwrap();
        upsert(&index, 0, &data, DIM).unwrap();
        train(&index);
        let old = index.describe().unwrap().auto_probes;
        upsert(&index, old_items as u64, &more[..600 * DIM], DIM).unwrap();
        // The commit of the upsert takes the first calls; the background lane the rest.
        let first = store.calls();
        store.plant(at, Fault::Fail);
        let upserted = upsert(&index, old_items as u64 + 600, &more[600 * DIM..], DIM).is_ok();
        if upserted {
            told.recv_timeout(Duration::from_secs(240)).unwrap();
        }
        db.close();
        let struck = store.calls() > first + at;
        store.heal();
        drop((index, db));
        let db = open();
        let index = db.open_index("a", &KEY).unwrap();
        let stats = index.stats().unwrap();
        if stats.curve_writes == old_items as u64 {
            assert_eq!(index.describe().unwrap().auto_probes, old);
        }
        if upserted {
            let stats = wait_measured(&index, old_items as u64);
            assert_eq!(stats.curve_writes, old_items as u64 + 1200);
        }
        index.verify(&Watch::NONE).unwrap();
        if !struck {
            break;
        }
        at += 1 + at / 8;
        assert!(at < 500);
    }
    assert!(at > 3);
}
