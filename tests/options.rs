//! Training options: each does what include/cyborg.h says of it.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use cyborg::engine::*;
use cyborg::exec::{EndReason, Watch};
use cyborg::types::{IdKind, Metric, QuantizerSpec};

const DIM: usize = 32;
const N: usize = 30_000;

fn index() -> (Arc<Db>, Arc<Index>) {
    let db = Db::open("memory:", DbOptions { threads: 2, ..DbOptions::default() }).unwrap();
    let o = IndexOptions {
        dimension: DIM as u32,
        id_kind: IdKind::U64,
        metric: Metric::Euclidean,
        quantizer: Some(QuantizerSpec::SQ8),
        auto_train_disabled: true,
        ..IndexOptions::default()
    };
    let index = db.create_index("a", &KEY, &o).unwrap();
    upsert(&index, 0, &clustered(N, DIM, 1), DIM).unwrap();
    (db, index)
}

fn train(index: &Index, o: &TrainOptions) -> JobReading {
    let job = index.train(o).unwrap();
    assert_eq!(job.wait(Some(Duration::from_secs(120))), JobState::Trained, "{:?}", job.error());
    job.read()
}

fn lists(n_lists: u32) -> TrainOptions {
    TrainOptions { n_lists, ..TrainOptions::default() }
}

/// All ids in the order of rows, which is that of the lists.
fn order(index: &Index) -> Vec<u8> {
    index.list_ids().unwrap().next_page(usize::MAX).unwrap().data().to_vec()
}

#[test]
fn n_lists_is_the_number_of_lists_and_0_is_four_roots_of_the_items() {
    let (_db, index) = index();
    train(&index, &lists(77));
    assert_eq!(index.describe().unwrap().n_lists, 77);
    train(&index, &lists(0));
    assert_eq!(index.describe().unwrap().n_lists, (4.0 * (N as f64).sqrt()).round() as u32);
}

#[test]
fn max_iters_bounds_the_passes_and_more_of_them_find_better_lists() {
    let (_db, index) = index();
    let one = train(&index, &TrainOptions { max_iters: 1, ..lists(300) }).progress;
    let three = train(&index, &TrainOptions { max_iters: 3, ..lists(300) }).progress;
    let all = train(&index, &lists(300)).progress;
    assert_eq!((one.iteration, one.end), (1, EndReason::MaxIters));
    assert_eq!((three.iteration, three.end), (3, EndReason::MaxIters));
    assert!(all.iteration > 3 && matches!(all.end, EndReason::Schedule | EndReason::Recall), "{all:?}");
    assert!(one.objective > three.objective && three.objective > all.objective, "{one:?} {three:?} {all:?}");
}

#[test]
fn a_large_tolerance_ends_the_passes_early_and_says_so() {
    let (_db, index) = index();
    let read = train(&index, &TrainOptions { tolerance: 0.5, ..lists(300) }).progress;
    assert_eq!((read.end, read.iteration), (EndReason::Tolerance, 3));
}

#[test]
fn max_training_vectors_is_how_many_are_learned_from() {
    let (_db, index) = index();
    let few = train(&index, &TrainOptions { max_training_vectors: 3000, ..lists(100) }).progress;
    assert_eq!(few.vectors, 3000);
    // Never fewer than two a list; without it 256 a list, held-out ones apart.
    assert_eq!(train(&index, &TrainOptions { max_training_vectors: 1, ..lists(100) }).progress.vectors, 200);
    assert_eq!(train(&index, &lists(50)).progress.vectors, 50 * 256);
    assert_eq!(train(&index, &lists(1000)).progress.vectors, (N - N / 20) as u64);
}

#[test]
fn what_does_not_fit_into_memory_is_learned_from_in_mini_batches_of_batch_size() {
    let (dim, n) = (256, 60_000);
    let db = Db::open("memory:", DbOptions { threads: 2, ..DbOptions::default() }).unwrap();
    let o = IndexOptions {
        dimension: dim as u32,
        id_kind: IdKind::U64,
        quantizer: Some(QuantizerSpec::SQ8),
        auto_train_disabled: true,
        ..IndexOptions::default()
    };
    let index = db.create_index("a", &KEY, &o).unwrap();
    let data = clustered(n, dim, 1);
    upsert(&index, 0, &data, dim).unwrap();
    index.compact(&Watch::NONE).unwrap();
    let refused = index.train(&TrainOptions { max_memory_mb: 1, ..lists(400) }).map(drop).unwrap_err();
    let least = refused.needed_got().unwrap().0.div_ceil(1 << 20);
    let whole = train(&index, &lists(400)).progress;
    let tight = TrainOptions { max_memory_mb: least, ..lists(400) };
    let parts = train(&index, &tight).progress;
    assert_eq!(parts.vectors, whole.vectors);
    assert!(parts.iteration > whole.iteration, "passes of mini-batches come on top: {parts:?} {whole:?}");
    // The same lists for the same seed and batches; others for other batches.
    let first = order(&index);
    train(&index, &tight);
    let second = order(&index);
    train(&index, &TrainOptions { batch_size: 512, ..tight });
    assert_ne!(order(&index), second);
    // Rows lie in another order after each training, so the same is asked of two indexes.
    let again = db.create_index("b", &KEY, &o).unwrap();
    upsert(&again, 0, &data, dim).unwrap();
    again.compact(&Watch::NONE).unwrap();
    train(&again, &lists(400));
    train(&again, &tight);
    assert!(order(&again) == first);
}

#[test]
fn a_seed_gives_its_lists_again_and_another_seed_others() {
    let of = |seed: u64| {
        let (_db, index) = index();
        train(&index, &TrainOptions { seed, ..lists(100) });
        order(&index)
    };
    let first = of(1);
    assert!(of(1) == first && of(2) != first);
}
