//! The training queue: fair order, places, cancellation of what waits, closing, and automatic jobs without a storm.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::*;
use cyborg::engine::*;
use cyborg::error::Error;
use cyborg::exec::Watch;
use cyborg::types::{IdKind, QuantizerSpec};

const PATIENCE: Duration = Duration::from_secs(240);

fn options(dim: usize) -> IndexOptions {
    IndexOptions {
        dimension: dim as u32,
        id_kind: IdKind::U64,
        quantizer: Some(QuantizerSpec::SQ8),
        auto_train_disabled: true,
        ..IndexOptions::default()
    }
}

fn db() -> Arc<Db> {
    Db::open("memory:", DbOptions { threads: 2, ..DbOptions::default() }).unwrap()
}

/// Training that takes seconds: nobody waits for its end.
fn long() -> TrainOptions {
    TrainOptions { n_lists: 900, max_iters: 1_000_000, tolerance: 1e-300, ..TrainOptions::default() }
}

fn filled(db: &Arc<Db>, name: &str, n: usize, dim: usize) -> Arc<Index> {
    let index = db.create_index(name, &KEY, &options(dim)).unwrap();
    upsert(&index, 0, &clustered(n, dim, 1), dim).unwrap();
    index
}

fn listed(db: &Db) -> Vec<(String, u32)> {
    db.training_jobs().unwrap().into_iter().map(|job| (job.name, job.place)).collect()
}

fn wait_idle(db: &Db) {
    let end = Instant::now() + PATIENCE;
    while !db.training_jobs().unwrap().is_empty() {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn jobs_are_listed_in_the_order_they_run_and_a_cancelled_one_leaves_at_once() {
    let db = db();
    let dim = 32;
    let indexes: Vec<_> = ["d", "a", "c", "b"].iter().map(|name| filled(&db, name, 20_000, dim)).collect();
    let jobs: Vec<_> = indexes.iter().map(|index| index.train(&long()).unwrap()).collect();
    while jobs[0].read().state == JobState::Queued {
        std::thread::yield_now();
    }
    let all = db.training_jobs().unwrap();
    let seen: Vec<_> = all.iter().map(|j| (j.name.as_str(), j.place, j.reading.state, j.kind)).collect();
    let queued = JobState::Queued;
    assert_eq!(seen[0], ("d", 0, JobState::Running, JobKind::Index));
    assert_eq!(
        seen[1..],
        ["a", "c", "b"].map(|n| n).iter().zip(1..).map(|(n, p)| (*n, p, queued, JobKind::Index)).collect::<Vec<_>>()
    );
    assert_eq!(db.training_status().unwrap(), ["a", "b", "c", "d"]);
    // What waits ends at once, while the job before it goes on.
    jobs[2].cancel();
    assert_eq!(jobs[2].wait(Some(Duration::ZERO)), JobState::Cancelled);
    assert!(matches!(jobs[2].error(), Some(Error::Cancelled)) && !indexes[2].is_training().unwrap());
    assert_eq!(listed(&db), [("d".into(), 0), ("a".into(), 1), ("b".into(), 2)]);
    // Its index goes to the end when it is trained again.
    let again = indexes[2].train(&long()).unwrap();
    assert_eq!(listed(&db)[3], ("c".into(), 3));
    for job in jobs.iter().chain([&again]) {
        job.cancel();
        assert_eq!(job.wait(Some(PATIENCE)), JobState::Cancelled);
    }
    wait_idle(&db);
    assert!(indexes.iter().all(|index| !index.is_trained().unwrap()));
}

/// One index trains in a loop, as soon as it may; the jobs of others, explicit and automatic, still get their turn.
#[test]
fn an_index_that_trains_in_a_loop_keeps_nobody_waiting_for_more_than_one_of_its_trainings() {
    let db = db();
    let dim = 16;
    let greedy = filled(&db, "greedy", 4000, dim);
    let other = filled(&db, "other", 2000, dim);
    let auto = IndexOptions { auto_train_disabled: false, retrain_threshold: 1000, ..options(dim) };
    let auto = db.create_index("auto", &KEY, &auto).unwrap();
    let small = TrainOptions { n_lists: 40, ..TrainOptions::default() };
    let mut trained = 0;
    let mut job = greedy.train(&small).unwrap();
    let others = other.train(&small).unwrap();
    assert!(upsert(&auto, 0, &clustered(1001, dim, 3), dim).unwrap().training_triggered);
    while !(other.is_trained().unwrap() && auto.is_trained().unwrap()) {
        assert_eq!(job.wait(Some(PATIENCE)), JobState::Trained);
        trained += 1;
        job = greedy.train(&small).unwrap();
    }
    assert_eq!(others.wait(Some(PATIENCE)), JobState::Trained);
    // Its first job ran before them, and one more may run while the loop looks.
    assert!(trained <= 3, "{trained} trainings of one index went before");
    job.wait(Some(PATIENCE));
    wait_idle(&db);
}

#[test]
fn closing_ends_running_and_queued_jobs_and_their_handles_stay_usable() {
    let db = db();
    let dim = 64;
    let indexes: Vec<_> = (0..4).map(|i| filled(&db, &format!("i{i}"), 20_000, dim)).collect();
    let jobs: Vec<_> = indexes.iter().map(|index| index.train(&long()).unwrap()).collect();
    while jobs[0].read().state == JobState::Queued {
        std::thread::yield_now();
    }
    db.close();
    for job in &jobs {
        // Nothing is left to wait for: the threads are joined.
        assert_eq!(job.wait(Some(Duration::ZERO)), JobState::Cancelled, "{:?}", job.error());
        assert!(matches!(job.error(), Some(Error::Cancelled)));
        job.cancel();
        assert_eq!(job.read().elapsed_ms, job.read().elapsed_ms);
    }
    assert!(matches!(db.training_jobs(), Err(Error::Closed { .. })));
    assert!(matches!(indexes[0].train(&long()), Err(Error::Closed { .. })));
}

/// Eight threads push an index over its threshold, item by item and in large batches: one job is made, told to one of
/// the upserts; the next only after the index has grown on.
#[test]
fn upserts_of_many_threads_start_one_job() {
    for batch in [1usize, 400] {
        let dim = 8;
        let log = Arc::new(AtomicU64::new(0));
        let begun = Arc::clone(&log);
        let sink: LogSink = Arc::new(move |_, target, text| {
            begun.fetch_add(u64::from(target == "train" && text == "training begins"), Ordering::Relaxed);
        });
        let db = Db::open("memory:", DbOptions { threads: 2, log: Some(sink), ..DbOptions::default() }).unwrap();
        let o = IndexOptions { auto_train_disabled: false, retrain_threshold: 2000, ..options(dim) };
        let index = db.create_index("a", &KEY, &o).unwrap();
        // The threads end between the threshold of an untrained index and that of a trained one.
        let (mut next, end) = (1600usize, 2400usize);
        if batch > 1 {
            next = 0;
        }
        upsert(&index, 1_000_000, &clustered(next, dim, 1), dim).unwrap();
        let total = if batch > 1 { 8 * batch } else { end - next };
        let (given, triggered) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    loop {
                        let first = given.fetch_add(batch as u64, Ordering::Relaxed);
                        if first >= total as u64 {
                            break;
                        }
                        let r = upsert(&index, first, &clustered(batch, dim, first), dim).unwrap();
                        if r.training_triggered {
                            assert!(r.vector_count > r.threshold, "{r:?}");
                            triggered.fetch_add(1, Ordering::Relaxed);
                        }
                        assert!(db.training_jobs().unwrap().len() <= 1);
                    }
                });
            }
        });
        wait_idle(&db);
        let (triggered, begun) = (triggered.into_inner(), log.load(Ordering::Relaxed));
        assert_eq!(triggered, begun, "batches of {batch}");
        // Trained at 2,000 items or soon after, the next is due at 8,000; at most once more where batches are large.
        assert_eq!(begun, index.describe().unwrap().generation, "batches of {batch}");
        assert!(begun == 1 || (batch > 1 && begun == 2), "{begun} jobs, batches of {batch}");
        assert_eq!(index.count().unwrap(), (next + total) as u64);
        index.verify(&Watch::NONE).unwrap();
    }
}

#[test]
fn an_index_told_not_to_train_by_itself_trains_when_asked() {
    let db = db();
    let dim = 8;
    for off in [false, true] {
        let o = IndexOptions { auto_train_disabled: off, retrain_threshold: 500, ..options(dim) };
        let index = db.create_index(if off { "off" } else { "on" }, &KEY, &o).unwrap();
        let r = upsert(&index, 0, &clustered(2000, dim, 1), dim).unwrap();
        assert_eq!((r.training_triggered, r.vector_count, r.threshold), (!off, 2000, 500));
        wait_idle(&db);
        assert_eq!(index.is_trained().unwrap(), !off);
        let job = index.train(&TrainOptions { n_lists: 10, ..TrainOptions::default() }).unwrap();
        assert_eq!(job.wait(Some(PATIENCE)), JobState::Trained);
        assert_eq!(index.describe().unwrap().n_lists, 10);
    }
}
