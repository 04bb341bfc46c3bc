//! Training: the same lists from the same data, noticed cancellation, clear refusals, and nothing lost while it runs.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::*;
use cyborg::crypto::Backend;
use cyborg::engine::*;
use cyborg::error::Error;
use cyborg::exec::{Phase, Watch};
use cyborg::store::fault::{Fault, FaultStore};
use cyborg::store::memory::MemoryStore;
use cyborg::types::{IdKind, Metric, QuantizerSpec};

fn config(dim: usize, quantizer: QuantizerSpec) -> IndexOptions {
    IndexOptions {
        dimension: dim as u32,
        id_kind: IdKind::U64,
        quantizer: Some(quantizer),
        auto_train_disabled: true,
        ..IndexOptions::default()
    }
}

fn open(threads: usize, o: &IndexOptions) -> (Arc<Db>, Arc<Index>) {
    let db = Db::open("memory:", DbOptions { threads, ..DbOptions::default() }).unwrap();
    let index = db.create_index("a", &KEY, o).unwrap();
    (db, index)
}

fn lists(n_lists: u32) -> TrainOptions {
    TrainOptions { n_lists, ..TrainOptions::default() }
}

fn train(index: &Index, o: &TrainOptions) {
    let job = index.train(o).unwrap();
    assert_eq!(job.wait(Some(Duration::from_secs(120))), JobState::Trained, "{:?}", job.error());
}

/// What queries of all sorts give: ids and bits of distances.
fn answers(index: &Index, queries: &[f32], dim: usize) -> Vec<(Vec<u64>, Vec<u32>)> {
    let n = queries.len() / dim;
    [0, 1, 3]
        .into_iter()
        .map(|n_probes| {
            let o = QueryOptions { top_k: 7, n_probes, ..QueryOptions::default() };
            let r = index.query(queries, n, dim as u32, &o, &Watch::NONE).unwrap();
            let ids = (0..n).flat_map(|q| ids_of(&r, q)).collect();
            (ids, r.distances.iter().map(|d| d.to_bits()).collect())
        })
        .collect()
}

#[test]
fn the_same_seed_and_data_give_the_same_lists_on_any_number_of_threads() {
    let dim = 20;
    let (data, queries) = (clustered(5000, dim, 1), clustered(40, dim, 2));
    for quantizer in [QuantizerSpec::Flat, QuantizerSpec::SQ8] {
        let seen: Vec<_> = [1, 2, 3, 2]
            .into_iter()
            .map(|threads| {
                let (_db, index) = open(threads, &config(dim, quantizer));
                upsert(&index, 0, &data, dim).unwrap();
                train(&index, &TrainOptions { seed: 5, ..lists(60) });
                let (info, stats) = (index.describe().unwrap(), index.stats().unwrap());
                assert_eq!((info.n_lists, info.trained, info.count), (60, true, 5000));
                let shape = (info.auto_probes, stats.largest_list_permille, stats.balance_permille);
                (shape, answers(&index, &queries, dim), list_unsorted(&index))
            })
            .collect();
        assert!(seen.windows(2).all(|w| w[0] == w[1]), "{quantizer:?}");
        // Another seed gives other lists.
        let (_db, index) = open(2, &config(dim, quantizer));
        upsert(&index, 0, &data, dim).unwrap();
        train(&index, &TrainOptions { seed: 6, ..lists(60) });
        assert_ne!(list_unsorted(&index), seen[0].2);
    }
}

/// All ids in the order of rows, which after training is that of the lists.
fn list_unsorted(index: &Index) -> Vec<u8> {
    index.list_ids().unwrap().next_page(usize::MAX).unwrap().data().to_vec()
}

// It asserted milliseconds, which a machine busy with other tests does not keep to. What holds on any machine: a job ends
// in the phase in which it was cancelled, or at the first step of the next.
#[test]
fn cancellation_is_noticed_in_every_phase_and_leaves_nothing_behind() {
    let dim = 100;
    let (data, queries) = (clustered(60_000, dim, 1), clustered(5, dim, 2));
    let fresh = || {
        let (db, index) = open(2, &config(dim, QuantizerSpec::SQ8));
        for (i, part) in data.chunks(20_000 * dim).enumerate() {
            upsert(&index, i as u64 * 20_000, part, dim).unwrap();
        }
        index.compact(&Watch::NONE).unwrap();
        (db, index)
    };
    let state =
        |index: &Index| (index.describe().unwrap(), index.stats().unwrap().stored_bytes, answers(index, &queries, dim));
    let (mut db, mut index) = fresh();
    let mut before = state(&index);
    let mut struck = Vec::new();
    for phase in [Phase::Queued, Phase::Sampling, Phase::Clustering, Phase::Quantizer, Phase::Encoding] {
        for delay in [0, 15, 60] {
            let job = index.train(&lists(800)).unwrap();
            while (job.read().progress.phase as i32) < phase as i32
                && job.wait(Some(Duration::ZERO)) != JobState::Trained
            {
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_millis(delay));
            job.cancel();
            let cancelled = job.read().progress;
            let ended = job.wait(Some(Duration::from_secs(120)));
            if ended == JobState::Trained {
                // This thread was kept waiting until the job had come to its end.
                (db, index) = fresh();
                before = state(&index);
                continue;
            }
            assert_eq!(ended, JobState::Cancelled, "{phase:?} {cancelled:?}");
            assert!(matches!(job.error(), Some(Error::Cancelled)));
            let last = job.read().progress;
            assert!(last.phase as i32 <= cancelled.phase as i32 + 1, "{cancelled:?} and went on to {last:?}");
            assert!(last.iteration <= cancelled.iteration + 1, "{cancelled:?} and went on to {last:?}");
            struck.push(cancelled.phase);
        }
    }
    for phase in [Phase::Sampling, Phase::Clustering, Phase::Encoding] {
        assert!(struck.contains(&phase), "no job was cancelled in {phase:?}: {struck:?}");
    }
    assert_eq!(state(&index), before, "cancelled jobs left something behind");
    index.verify(&Watch::NONE).unwrap();
    db.close();
}

#[test]
fn refusals_say_what_is_needed_and_change_nothing() {
    let (_db, index) = open(2, &config(4, QuantizerSpec::SQ8));
    assert!(matches!(index.train(&lists(0)), Err(Error::InsufficientVectors { needed: 2, got: 0 })));
    upsert(&index, 0, &clustered(99, 4, 1), 4).unwrap();
    let before = index.describe().unwrap();
    let e = index.train(&lists(50)).map(|_| ()).unwrap_err();
    assert!(matches!(e, Error::InsufficientVectors { needed: 100, got: 99 }), "{e}");
    for bad in [
        lists(u32::MAX),
        TrainOptions { tolerance: f64::NAN, ..lists(2) },
        TrainOptions { tolerance: -1.0, ..lists(2) },
    ] {
        assert!(matches!(index.train(&bad), Err(Error::InvalidArgument { .. })), "{bad:?}");
    }
    let e = index.train(&TrainOptions { max_memory_mb: 1, ..lists(2) }).map(|_| ()).unwrap_err();
    let (needed, got) = e.needed_got().unwrap();
    assert!(matches!(e, Error::NoMemory { .. }) && needed > got && got == 1 << 20, "{e}");
    assert_eq!(index.describe().unwrap(), before);
    // Ranges that look odd but are fine.
    train(&index, &TrainOptions { batch_size: u32::MAX, max_iters: u32::MAX, max_memory_mb: u64::MAX, ..lists(3) });
    train(&index, &TrainOptions { batch_size: 1, max_iters: 1, max_training_vectors: 1, ..lists(49) });
    assert_eq!(index.describe().unwrap().n_lists, 49);
    assert_eq!(index.describe().unwrap().generation, 2);
}

#[test]
fn the_smallest_indexes_train_merge_and_answer() {
    for quantizer in [QuantizerSpec::Flat, QuantizerSpec::SQ8] {
        for dim in [1usize, 3] {
            let (_db, index) = open(2, &config(dim, quantizer));
            upsert(&index, 0, &[], dim).unwrap();
            let o = QueryOptions::default();
            let ask = |k: usize| {
                let r = index.query(&vec![0.5; dim], 1, dim as u32, &o, &Watch::NONE).unwrap();
                assert_eq!(r.starts, [0, k]);
            };
            ask(0);
            index.compact(&Watch::NONE).unwrap();
            upsert(&index, 0, &vec![0.0; dim], dim).unwrap();
            ask(1);
            assert!(matches!(index.train(&lists(1)), Err(Error::InsufficientVectors { needed: 2, got: 1 })));
            upsert(&index, 1, &vec![1.0; dim], dim).unwrap();
            train(&index, &lists(1));
            ask(2);
            train(&index, &lists(0));
            // Equal vectors: fewer distinct ones than lists.
            upsert(&index, 2, &vec![1.0; dim * 30], dim).unwrap();
            train(&index, &lists(16));
            ask(32);
            index.delete(Ids::U64(&(0..32).collect::<Vec<_>>())).unwrap();
            ask(0);
            assert!(matches!(index.train(&lists(1)), Err(Error::InsufficientVectors { needed: 2, got: 0 })));
            index.compact(&Watch::NONE).unwrap();
            let stats = index.stats().unwrap();
            assert_eq!((stats.runs, stats.deltas, stats.tombstones, stats.count), (0, 0, 0, 0));
            ask(0);
            upsert(&index, 7, &vec![2.0; dim], dim).unwrap();
            ask(1);
            index.verify(&Watch::NONE).unwrap();
        }
    }
}

#[test]
fn upserts_start_training_when_the_threshold_is_passed_and_only_then() {
    let o = IndexOptions { auto_train_disabled: false, retrain_threshold: 500, ..config(4, QuantizerSpec::SQ8) };
    let (db, index) = open(2, &o);
    let data = clustered(3000, 4, 1);
    let first = upsert(&index, 0, &data[..500 * 4], 4).unwrap();
    assert_eq!((first.training_triggered, first.vector_count, first.threshold), (false, 500, 500));
    let next = upsert(&index, 500, &data[..4], 4).unwrap();
    assert_eq!((next.training_triggered, next.vector_count, next.threshold), (true, 501, 500));
    wait_idle(&db, &index);
    let info = index.describe().unwrap();
    assert!(info.trained && info.n_lists > 1);
    // Trained: not again until it has grown well.
    let mut triggered = 0;
    for i in 0..100u64 {
        triggered += u32::from(upsert(&index, 501 + i, &data[..4], 4).unwrap().training_triggered);
    }
    assert_eq!(triggered, 0);
    let grown = upsert(&index, 601, &data[601 * 4..], 4).unwrap();
    assert!(grown.training_triggered && grown.vector_count > grown.threshold, "{grown:?}");
    wait_idle(&db, &index);
    assert_eq!(index.describe().unwrap().generation, 2);
    // Deleting never starts it, and an index that may not never does.
    let (_db, quiet) = open(2, &IndexOptions { auto_train_disabled: true, ..o });
    let result = upsert(&quiet, 0, &data, 4).unwrap();
    assert_eq!((result.training_triggered, result.threshold), (false, 500));
    assert!(!quiet.is_training().unwrap() && !quiet.describe().unwrap().auto_train);
}

#[test]
fn a_job_that_was_cancelled_is_not_started_again_by_the_next_upsert() {
    let o = IndexOptions { auto_train_disabled: false, retrain_threshold: 2000, ..config(16, QuantizerSpec::SQ8) };
    let (db, begun, go) = held("memory:");
    let index = db.create_index("a", &KEY, &o).unwrap();
    let data = clustered(9000, 16, 1);
    assert!(upsert(&index, 0, &data[..4000 * 16], 16).unwrap().training_triggered);
    begun.recv().unwrap();
    go.send(()).unwrap();
    // There is no handle of that job: the next one waits behind it and is refused until then.
    while index.is_training().unwrap() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let job = index.train(&lists(100)).unwrap();
    begun.recv().unwrap();
    job.cancel();
    go.send(()).unwrap();
    assert_eq!(job.wait(None), JobState::Cancelled);
    let next = upsert(&index, 4000, &data[4000 * 16..4001 * 16], 16).unwrap();
    assert!(!next.training_triggered && next.threshold >= 4001, "{next:?}");
    drop(db);
}

/// Every refusal was dropped, and every upsert planned the same job anew for ever.
#[test]
fn an_automatic_training_that_is_refused_is_logged_once_and_held_back() {
    let warned = Arc::new(AtomicUsize::new(0));
    let log: LogSink = Arc::new({
        let warned = Arc::clone(&warned);
        move |level, target, message| {
            let refusal =
                (level, target) == (LogLevel::Warn, "train") && message.starts_with("training does not begin: ");
            warned.fetch_add(usize::from(refusal), Ordering::SeqCst);
        }
    });
    let options = DbOptions { threads: 1, memory_limit: 2 << 20, log: Some(log), ..DbOptions::default() };
    let db = Db::open("memory:", options).unwrap();
    let o = IndexOptions { auto_train_disabled: false, retrain_threshold: 500, ..config(4, QuantizerSpec::SQ8) };
    let index = db.create_index("a", &KEY, &o).unwrap();
    let data = clustered(700, 4, 1);
    let first = upsert(&index, 0, &data[..504 * 4], 4).unwrap();
    assert_eq!((first.training_triggered, first.threshold), (false, 630));
    for i in 504..630 {
        assert!(!upsert(&index, i, &data[..4], 4).unwrap().training_triggered);
    }
    assert_eq!(warned.load(Ordering::SeqCst), 1);
    assert!(!index.is_training().unwrap());
    let last = index.last_training().unwrap();
    assert!(matches!((last.read().state, last.error()), (JobState::Failed, Some(Error::NoMemory { .. }))));
    // Another index by now.
    upsert(&index, 630, &data[..4], 4).unwrap();
    assert_eq!(warned.load(Ordering::SeqCst), 2);
    // Who asks is told.
    assert!(matches!(index.train(&lists(4)), Err(Error::NoMemory { .. })));
}

fn wait_idle(db: &Db, index: &Index) {
    let end = Instant::now() + Duration::from_secs(60);
    while index.is_training().unwrap() {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(db.training_status().unwrap().is_empty());
}

#[test]
fn one_job_an_index_and_the_db_lists_them() {
    let dim = 8;
    let (db, begun, go) = held("memory:");
    let a = db.create_index("a", &KEY, &config(dim, QuantizerSpec::SQ8)).unwrap();
    let b = db.create_index("b", &KEY, &config(dim, QuantizerSpec::Flat)).unwrap();
    let idle = db.create_index("c", &KEY, &config(dim, QuantizerSpec::Flat)).unwrap();
    let data = clustered(2000, dim, 1);
    for index in [&a, &b] {
        upsert(index, 0, &data, dim).unwrap();
    }
    let (job_a, job_b) = (a.train(&lists(40)).unwrap(), b.train(&lists(40)).unwrap());
    begun.recv().unwrap();
    assert_eq!(db.training_status().unwrap(), ["a", "b"]);
    assert!(a.is_training().unwrap() && b.is_training().unwrap() && !idle.is_training().unwrap());
    assert!(matches!(a.train(&lists(4)), Err(Error::TrainingInProgress)));
    assert!(matches!(a.compact(&Watch::NONE), Err(Error::TrainingInProgress)));
    assert_eq!((job_a.read().state, job_b.read().state), (JobState::Running, JobState::Queued));
    // A queued job can be cancelled before it begins.
    job_b.cancel();
    go.send(()).unwrap();
    assert_eq!(job_a.wait(Some(Duration::from_secs(60))), JobState::Trained);
    assert_eq!(job_b.wait(Some(Duration::from_secs(60))), JobState::Cancelled);
    assert!(!b.is_trained().unwrap());
    wait_idle(&db, &a);
}

#[test]
fn progress_goes_through_the_phases_in_order() {
    let dim = 48;
    let (_db, index) = open(2, &config(dim, QuantizerSpec::SQ8));
    upsert(&index, 0, &clustered(30_000, dim, 1), dim).unwrap();
    let (mut job, mut phases) = (index.train(&lists(300)).unwrap(), Vec::new());
    // Who looks from outside may sleep through a phase: then it looks at another training.
    for _ in 0..50 {
        let mut seen = vec![job.read()];
        while job.wait(Some(Duration::from_micros(300))) != JobState::Trained {
            seen.push(job.read());
            assert!(
                matches!(job.read().state, JobState::Queued | JobState::Running | JobState::Trained),
                "{:?}",
                job.error()
            );
        }
        assert!(seen.windows(2).all(|w| w[0].progress.phase as i32 <= w[1].progress.phase as i32));
        assert!(seen.windows(2).all(|w| w[0].progress.iteration <= w[1].progress.iteration));
        assert!(seen.windows(2).all(|w| w[0].elapsed_ms <= w[1].elapsed_ms));
        phases.extend(seen.iter().map(|r| r.progress.phase));
        if phases.contains(&Phase::Clustering) && phases.contains(&Phase::Encoding) {
            break;
        }
        job = index.train(&lists(300)).unwrap();
    }
    assert!(phases.contains(&Phase::Clustering) && phases.contains(&Phase::Encoding), "{phases:?}");
    let end = job.read();
    assert!(end.progress.iteration > 0 && end.progress.objective > 0.0);
    assert_eq!(job.read().elapsed_ms, end.elapsed_ms, "the clock stops");
}

#[test]
fn closing_a_db_cancels_its_jobs_and_waits_for_them() {
    let dim = 64;
    let (db, index) = open(2, &config(dim, QuantizerSpec::SQ8));
    upsert(&index, 0, &clustered(40_000, dim, 1), dim).unwrap();
    for delay in [0, 40] {
        let (db, index) = match delay {
            0 => (Arc::clone(&db), Arc::clone(&index)),
            _ => {
                let (db, index) = open(2, &config(dim, QuantizerSpec::SQ8));
                upsert(&index, 0, &clustered(40_000, dim, 1), dim).unwrap();
                (db, index)
            }
        };
        let job = index.train(&lists(600)).unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        db.close();
        // It was over when that returned, and not because it had come to its end.
        assert_eq!(job.wait(Some(Duration::ZERO)), JobState::Cancelled, "{:?}", job.error());
        assert!(matches!(index.train(&lists(2)), Err(Error::Closed { .. })));
        assert!(matches!(index.count(), Err(Error::Closed { .. })));
        db.close();
    }
}

#[test]
fn a_job_of_a_dropped_index_fails_and_the_others_go_on() {
    let dim = 32;
    let (db, begun, go) = held("memory:");
    let data = clustered(20_000, dim, 1);
    // Dropped before the first step of the job, then in the middle of it.
    for at_work in [false, true] {
        let index = db.create_index("a", &KEY, &config(dim, QuantizerSpec::SQ8)).unwrap();
        upsert(&index, 0, &data, dim).unwrap();
        let job = index.train(&lists(400)).unwrap();
        begun.recv().unwrap();
        if at_work {
            go.send(()).unwrap();
            while (job.read().progress.phase as i32) < Phase::Clustering as i32 {
                std::thread::yield_now();
            }
        }
        db.drop_index("a", &KEY).unwrap();
        if !at_work {
            go.send(()).unwrap();
        }
        let state = job.wait(Some(Duration::from_secs(60)));
        // In the middle, unless this thread was kept waiting until its end.
        let late = at_work && state == JobState::Trained;
        assert!(late || matches!(state, JobState::Cancelled | JobState::Failed), "{state:?}");
        assert!(matches!(index.count(), Err(Error::Closed { .. })));
        // The name is free again.
        let again = db.create_index("a", &KEY, &config(dim, QuantizerSpec::SQ8)).unwrap();
        upsert(&again, 0, &data[..100 * dim], dim).unwrap();
        go.send(()).unwrap();
        train(&again, &lists(5));
        begun.recv().unwrap();
        db.drop_index("a", &KEY).unwrap();
    }
}

#[test]
fn a_panic_in_the_log_callback_ends_no_job_and_no_thread() {
    let log: LogSink = Arc::new(|_, _, _| panic!("planted"));
    let db = Db::open("memory:", DbOptions { threads: 1, log: Some(log), ..DbOptions::default() }).unwrap();
    let index = db.create_index("a", &KEY, &config(4, QuantizerSpec::Flat)).unwrap();
    upsert(&index, 0, &clustered(100, 4, 1), 4).unwrap();
    train(&index, &lists(5));
    train(&index, &lists(6));
}

/// The store fails at the first call of a job, then at the second, and so on until the job gets through.
#[test]
fn a_job_that_fails_says_why_and_leaves_the_old_generation_and_no_objects() {
    let dim = 100;
    for fault in [Fault::Fail, Fault::Full, Fault::Applied] {
        let store = Arc::new(FaultStore::new(Arc::new(MemoryStore::new())));
        let open =
            || Db::over(Backend::over(Arc::clone(&store) as _), DbOptions { threads: 2, ..DbOptions::default() });
        let db = open();
        let index = db.create_index("a", &KEY, &config(dim, QuantizerSpec::SQ8)).unwrap();
        upsert(&index, 0, &clustered(12_000, dim, 1), dim).unwrap();
        // One run of several objects, and a tail that every job has to merge.
        train(&index, &TrainOptions { max_iters: 2, ..lists(8) });
        index.compact(&Watch::NONE).unwrap();
        let queries = clustered(5, dim, 2);
        let (answered, generation) = (answers(&index, &queries, dim), index.describe().unwrap().generation);
        let stored = index.stats().unwrap().stored_bytes;
        let o = TrainOptions { max_iters: 2, ..lists(16) };
        let mut at = 0;
        loop {
            store.plant(at, fault);
            let job = index.train(&o).unwrap();
            let state = job.wait(Some(Duration::from_secs(60)));
            let struck = store.calls() > at;
            store.heal();
            if state == JobState::Trained {
                break;
            }
            assert_eq!(state, JobState::Failed, "{fault:?} at call {at}");
            let why = job.error().unwrap();
            assert!(matches!(why, Error::Io { .. } | Error::NoSpace { .. } | Error::Corrupt { .. }), "{why}");
            assert_eq!(index.describe().unwrap().generation, generation, "{fault:?} at call {at}");
            if at % 5 == 0 {
                assert_eq!(answers(&index, &queries, dim), answered, "{fault:?} at call {at}");
            }
            assert_eq!(
                index.stats().unwrap().stored_bytes,
                stored,
                "{fault:?} at call {at} of {}: {why}",
                store.calls()
            );
            assert!(struck && at < 2000);
            // Every call of the last, telling ones; a few of the many alike before them.
            at += 1 + at / 12;
        }
        assert!(at > 10);
        assert_eq!(index.describe().unwrap().generation, generation + 1);
        index.verify(&Watch::NONE).unwrap();
        let answered = answers(&index, &queries, dim);
        drop((index, db));
        let db = open();
        let index = db.open_index("a", &KEY).unwrap();
        assert_eq!(answers(&index, &queries, dim), answered);
    }
}

#[test]
fn training_goes_on_beside_writers_and_readers() {
    let dim = 24;
    let (_db, index) = open(2, &config(dim, QuantizerSpec::SQ8));
    upsert(&index, 0, &clustered(8000, dim, 1), dim).unwrap();
    train(&index, &lists(39));
    let stop = AtomicBool::new(false);
    let fresh = clustered(2000, dim, 7);
    std::thread::scope(|scope| {
        let (index, stop, fresh) = (&index, &stop, &fresh);
        for w in 0..4u64 {
            scope.spawn(move || {
                // Every writer replaces its own 500 items over and over, with vectors that tell them apart.
                while !stop.load(Ordering::Relaxed) {
                    for at in (0..500).step_by(50) {
                        let row = (w as usize * 500 + at) * dim;
                        upsert(index, 100_000 + w * 500 + at as u64, &fresh[row..row + 50 * dim], dim).unwrap();
                    }
                }
            });
            scope.spawn(move || {
                let o = QueryOptions { top_k: 5, ..QueryOptions::default() };
                let queries = clustered(16, dim, w);
                while !stop.load(Ordering::Relaxed) {
                    let r = index.query(&queries, 16, dim as u32, &o, &Watch::NONE).unwrap();
                    assert_eq!(r.starts[16], 16 * 5);
                    // Served by the old lists, then by the new: never by a look at everything.
                    assert!(r.stats.iter().all(|s| s.lists_probed < 39 && s.vectors_scanned < 9000), "{:?}", r.stats);
                }
            });
        }
        for round in 0..4 {
            train(index, &lists(40 + round));
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(index.describe().unwrap().generation, 5);
    assert_eq!(index.count().unwrap(), 10_000);
    // Nothing of the five generations and their runs is left but what the last is made of, once nobody reads it.
    let (_other, alone) = open(2, &config(dim, QuantizerSpec::SQ8));
    upsert(&alone, 0, &clustered(10_000, dim, 1), dim).unwrap();
    train(&alone, &lists(43));
    alone.compact(&Watch::NONE).unwrap();
    let enough = alone.stats().unwrap().stored_bytes * 5 / 4;
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        index.compact(&Watch::NONE).unwrap();
        let stored = index.stats().unwrap().stored_bytes;
        if stored < enough {
            break;
        }
        assert!(Instant::now() < end, "{stored} bytes, {enough} are enough");
        std::thread::sleep(Duration::from_millis(20));
    }
    let ids: Vec<u64> = (100_000..102_000).collect();
    let items = index.get(Ids::U64(&ids), include::VECTOR).unwrap();
    assert_eq!(items.fields.vectors.unwrap(), fresh);
    index.verify(&Watch::NONE).unwrap();
}

#[test]
fn automatic_probes_reach_the_target_on_held_out_words() {
    let dim = 100;
    let words = words();
    let (held_out, indexed) = words.split_at(400 * dim);
    for quantizer in [QuantizerSpec::Flat, QuantizerSpec::SQ8] {
        let o = IndexOptions { metric: Metric::Cosine, ..config(dim, quantizer) };
        let (_db, index) = open(2, &o);
        upsert(&index, 0, indexed, dim).unwrap();
        let all = |n_probes| QueryOptions { top_k: 10, n_probes, ..QueryOptions::default() };
        let exact = index.query(held_out, 400, dim as u32, &all(1), &Watch::NONE).unwrap();
        train(&index, &lists(0));
        let info = index.describe().unwrap();
        let found = index.query(held_out, 400, dim as u32, &all(0), &Watch::NONE).unwrap();
        let hits: usize = (0..400)
            .map(|q| {
                let want = ids_of(&exact, q);
                ids_of(&found, q).iter().filter(|id| want.contains(id)).count()
            })
            .sum();
        let recall = hits as f64 / 4000.0;
        assert!(recall >= 0.95, "{quantizer:?}: recall {recall} with {} of {} lists", info.auto_probes, info.n_lists);
        assert!(info.auto_probes < info.n_lists / 2, "{} of {} lists", info.auto_probes, info.n_lists);
    }
}
