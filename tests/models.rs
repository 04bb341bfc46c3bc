//! Reusable models: from training to indexes that are trained from birth, and everything that may come in between.

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::*;
use cyborg::crypto::Backend;
use cyborg::engine::*;
use cyborg::error::{Error, Result};
use cyborg::exec::Watch;
use cyborg::rng::Rng;
use cyborg::store::Store;
use cyborg::store::fault::{Fault, FaultStore};
use cyborg::store::memory::MemoryStore;
use cyborg::types::{IdKind, Metric, QuantizerSpec, VectorPrecision};

const MODEL_KEY: [u8; 32] = [8; 32];
const OTHER_KEY: [u8; 32] = [9; 32];

fn options(metric: Metric, dim: usize) -> IndexOptions {
    IndexOptions {
        dimension: dim as u32,
        metric,
        id_kind: IdKind::U64,
        auto_train_disabled: true,
        ..IndexOptions::default()
    }
}

/// What is left to say of an index that a model says the rest of.
fn bare() -> IndexOptions {
    IndexOptions { id_kind: IdKind::U64, auto_train_disabled: true, ..IndexOptions::default() }
}

fn open(place: &Place) -> Arc<Db> {
    Db::open(&place.url, DbOptions { threads: 2, ..DbOptions::default() }).unwrap()
}

fn source(db: &Arc<Db>, n: usize) -> Arc<Index> {
    let index = db.create_index("source", &KEY, &options(Metric::Euclidean, 8)).unwrap();
    upsert(&index, 0, &clustered(n, 8, 1), 8).unwrap();
    index
}

fn model_options(n_lists: u32) -> ModelOptions<'static> {
    ModelOptions { train: TrainOptions { n_lists, ..TrainOptions::default() }, ..ModelOptions::default() }
}

/// Trains model "m" and waits for it.
fn train(index: &Index, db: &Db, o: &ModelOptions<'_>) -> ModelInfo {
    index.train_model(Some("m"), &MODEL_KEY, o).unwrap();
    assert_eq!(db.wait_for_model("m", &MODEL_KEY, None).unwrap(), ModelState::Created);
    db.model_info("m", &MODEL_KEY).unwrap()
}

/// Recall@10 of automatic probes over every 40th of `vectors` (that are items 0, 1, ...), and the share of the items
/// scanned.
fn recall(index: &Index, metric: Metric, vectors: &[f32], dim: usize) -> (f64, f64) {
    let queries: Vec<&[f32]> = vectors.chunks_exact(dim).step_by(40).collect();
    let o = QueryOptions { top_k: 10, ..QueryOptions::default() };
    let r = index.query(&queries.concat(), queries.len(), dim as u32, &o, &Watch::NONE).unwrap();
    let n = vectors.len() / dim;
    let (mut hits, mut scanned) = (0, 0);
    for (q, query) in queries.iter().enumerate() {
        let mut all: Vec<(f64, u64)> =
            vectors.chunks_exact(dim).zip(0..).map(|(v, id)| (distance(metric, query, v), id)).collect();
        all.select_nth_unstable_by(10, |a, b| a.0.total_cmp(&b.0));
        let found = ids_of(&r, q);
        hits += all[..10].iter().filter(|(_, id)| found.contains(id)).count();
        scanned += r.stats[q].vectors_scanned;
    }
    (hits as f64 / (10 * queries.len()) as f64, scanned as f64 / (queries.len() * n) as f64)
}

#[test]
fn an_index_from_a_model_is_trained_from_birth_and_finds_what_it_should() {
    let (words, dim) = (words(), 100);
    // One half trains the model, the other fills the index: a model serves data it has not seen.
    let half = |parity| words.chunks_exact(dim).skip(parity).step_by(2).flatten().copied().collect::<Vec<f32>>();
    let (first, second) = (&half(0)[..], &half(1)[..]);
    for quantizer in [Some(QuantizerSpec::Flat), Some(QuantizerSpec::SQ8), None] {
        let place = Place::memory();
        let db = open(&place);
        let index = db.create_index("source", &KEY, &options(Metric::Cosine, dim)).unwrap();
        upsert(&index, 0, first, dim).unwrap();
        let before = db.list_indexes().unwrap();
        let o = ModelOptions { quantizer, description: "halves of words, \u{e9}", ..model_options(0) };
        let (job, at_once) = index.train_model(Some("m"), &MODEL_KEY, &o).unwrap();
        assert_eq!((at_once.state, at_once.finished_at), (ModelState::Training, 0));
        assert_eq!(job.wait(None), JobState::Trained, "{:?}", job.error());
        let info = db.model_info("m", &MODEL_KEY).unwrap();
        assert_eq!((info.state, info.failure, info.error.as_str()), (ModelState::Created, None, ""));
        assert_eq!((info.dimension, info.metric, info.source.as_str()), (100, Metric::Cosine, "source"));
        assert_eq!(info.n_lists, 400, "four times the root of 10,000");
        assert!(quantizer.is_none() || info.quantizer == quantizer);
        assert!(info.quantizer.is_some() && info.passes > 1 && info.objective > 0.0 && info.vectors_used > 9000);
        assert!(info.created_at > 1_700_000_000_000 && info.finished_at >= info.created_at);
        assert!(info.bytes > 400 * 100 * 4 && info.format == 1 && info.library == env!("CARGO_PKG_VERSION"));
        assert_eq!(info.description, "halves of words, \u{e9}");
        assert_eq!((db.list_models().unwrap(), db.list_indexes().unwrap()), (vec!["m".to_owned()], before));
        assert!(!index.is_trained().unwrap(), "the source is as it was");

        // How vectors are stored is the index's affair, also where the codes are the vectors.
        let flat = quantizer == Some(QuantizerSpec::Flat);
        let vector_precision = if flat { VectorPrecision::F16 } else { VectorPrecision::F32 };
        let o = IndexOptions { vector_precision, ..bare() };
        let made = db.create_index_from_model("made", &OTHER_KEY, &o, "m", &MODEL_KEY).unwrap();
        let d = made.describe().unwrap();
        assert!(d.trained && d.count == 0 && d.generation == 1 && d.n_lists == info.n_lists);
        assert_eq!((d.dimension, d.metric, d.quantizer), (100, Metric::Cosine, info.quantizer));
        assert_eq!((d.model.as_deref(), d.vector_precision), (Some("m"), vector_precision));
        assert!(!flat || d.code_bytes == 200, "{} bytes a code", d.code_bytes);
        assert!(d.auto_probes < info.n_lists / 2, "{} probes by the model's curve", d.auto_probes);
        upsert(&made, 0, second, dim).unwrap();
        let (found, scanned) = recall(&made, Metric::Cosine, second, dim);
        println!("{quantizer:?}: recall {found:.4}, scanned {scanned:.3}, {} probes", d.auto_probes);
        assert!(found > 0.93 && scanned < 0.5, "{quantizer:?}: recall {found}, scanned {scanned}");
        // And so does one whose items were merged into runs, and one that is trained later on its own items.
        made.compact(&Watch::NONE).unwrap();
        let (found, _) = recall(&made, Metric::Cosine, second, dim);
        assert!(found > 0.93, "{quantizer:?}, compacted: recall {found}");
        assert_eq!(made.train(&TrainOptions::default()).unwrap().wait(None), JobState::Trained);
        assert_eq!(made.describe().unwrap().generation, 2);
        assert!(recall(&made, Metric::Cosine, second, dim).0 > 0.93);
    }
}

#[test]
fn an_index_outlives_its_model() {
    let place = Place::file();
    let vectors = clustered(2000, 8, 1);
    {
        let db = open(&place);
        let index = source(&db, 2000);
        train(&index, &db, &model_options(16));
        let made = db.create_index_from_model("made", &OTHER_KEY, &bare(), "m", &MODEL_KEY).unwrap();
        upsert(&made, 0, &vectors, 8).unwrap();
        assert!(matches!(db.open_index("made", &MODEL_KEY), Err(Error::WrongKey)), "sealed under its own key");
        drop((index, made));
        db.close();
    }
    // No call deletes a model in use; a hand in the store does.
    Backend::open(&place.url, false).unwrap().drop_index("\u{1}model\u{1}m").unwrap();
    let db = open(&place);
    assert!(db.list_models().unwrap().is_empty());
    let made = db.open_index("made", &OTHER_KEY).unwrap();
    made.verify(&Watch::NONE).unwrap();
    let d = made.describe().unwrap();
    assert_eq!((d.generation, d.n_lists, d.model.as_deref()), (1, 16, Some("m")));
    assert!(recall(&made, Metric::Euclidean, &vectors, 8).0 > 0.93);
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_made() {
    let place = Place::memory();
    let db = open(&place);
    let index = source(&db, 1000);
    let refused = |o: &ModelOptions<'_>| index.train_model(Some("m"), &MODEL_KEY, o).map(drop).unwrap_err();
    let field = |e: Error| match e {
        Error::InvalidArgument { field, .. } => field,
        e => panic!("{e}"),
    };
    assert!(matches!(refused(&model_options(501)), Error::InsufficientVectors { needed: 1002, got: 1000 }));
    assert_eq!(field(refused(&ModelOptions { description: &"x".repeat(1001), ..model_options(4) })), "description");
    let quantizer = Some(QuantizerSpec::Pq { m: 9, bits: 8, rotation: false });
    assert_eq!(field(refused(&ModelOptions { quantizer, ..model_options(4) })), "pq_m");
    let small = TrainOptions { max_memory_mb: 1, ..TrainOptions::default() };
    assert!(matches!(refused(&ModelOptions { train: small, ..ModelOptions::default() }), Error::NoMemory { .. }));
    for id in ["", "a\u{1}b", &"x".repeat(201)] {
        assert_eq!(
            field(index.train_model(Some(id), &MODEL_KEY, &model_options(4)).map(drop).unwrap_err()),
            "model_id"
        );
    }
    assert!(index.train_model(Some("m"), &MODEL_KEY[..31], &model_options(4)).is_err());
    assert!(db.list_models().unwrap().is_empty(), "nothing was left of any of these");
    let empty = db.create_index("empty", &KEY, &bare()).unwrap();
    let e = empty.train_model(None, &MODEL_KEY, &model_options(0)).map(drop).unwrap_err();
    assert!(matches!(e, Error::InsufficientVectors { got: 0, .. }), "{e}");

    train(&index, &db, &model_options(4));
    assert!(matches!(refused(&model_options(4)), Error::AlreadyExists { what: "model" }));
    assert!(matches!(db.model_info("m", &KEY), Err(Error::WrongKey)));
    assert!(matches!(db.model_info("n", &MODEL_KEY), Err(Error::NotFound { what: "model" })));
    assert!(matches!(db.delete_model("m", &KEY, true), Err(Error::WrongKey)));
    assert!(matches!(db.cancel_model("m", &KEY), Err(Error::WrongKey)));
    assert!(matches!(db.export_model("m", &KEY, &KEY), Err(Error::WrongKey)));
    let create = |o: IndexOptions| db.create_index_from_model("x", &KEY, &o, "m", &MODEL_KEY).map(drop);
    assert_eq!(field(create(IndexOptions { dimension: 8, ..bare() }).unwrap_err()), "dimension");
    assert_eq!(field(create(IndexOptions { metric: Metric::Cosine, ..bare() }).unwrap_err()), "metric");
    assert_eq!(field(create(IndexOptions { quantizer: Some(QuantizerSpec::SQ8), ..bare() }).unwrap_err()), "quantizer");
    assert_eq!(field(create(IndexOptions { target_recall: 2.0, ..bare() }).unwrap_err()), "target_recall");
    let wrong = db.create_index_from_model("x", &KEY, &bare(), "m", &KEY).map(drop);
    assert!(matches!(wrong, Err(Error::WrongKey)));
    let taken = db.create_index_from_model("source", &KEY, &bare(), "m", &MODEL_KEY).map(drop);
    assert!(matches!(taken, Err(Error::AlreadyExists { what: "index" })));
    assert_eq!(db.list_indexes().unwrap(), ["empty", "source"]);
    assert!(db.model_info("m", &MODEL_KEY).unwrap().used_by.is_empty());
    // A model's place in the store is no index, whoever knows its name.
    assert!(matches!(db.open_index("\u{1}model\u{1}m", &MODEL_KEY), Err(Error::InvalidArgument { .. })));
    assert!(matches!(db.drop_index("\u{1}model\u{1}m", &MODEL_KEY), Err(Error::InvalidArgument { .. })));
}

#[test]
fn deleting_a_model_names_the_indexes_that_were_made_from_it() {
    let place = Place::memory();
    let db = open(&place);
    let index = source(&db, 1000);
    train(&index, &db, &model_options(4));
    for name in ["one", "two", "three"] {
        db.create_index_from_model(name, &KEY, &bare(), "m", &MODEL_KEY).unwrap();
    }
    let e = db.delete_model("m", &MODEL_KEY, true).unwrap_err();
    assert!(matches!(&e, Error::ModelInUse { indexes } if indexes == &["one", "two", "three"]));
    assert_eq!(e.status(), cyborg::error::Status::Conflict);
    assert_eq!(e.to_string(), "the model is in use by one, two, three");
    db.drop_index("two", &KEY).unwrap();
    // Another index of that name has nothing to do with the model.
    db.create_index("two", &KEY, &bare()).unwrap();
    assert_eq!(db.model_info("m", &MODEL_KEY).unwrap().used_by, ["one", "three"]);
    db.drop_index("one", &KEY).unwrap();
    db.drop_index("three", &KEY).unwrap();
    db.delete_model("m", &MODEL_KEY, false).unwrap();
    assert!(matches!(db.model_info("m", &MODEL_KEY), Err(Error::NotFound { .. })));
    // The id can be used at once.
    assert_eq!(train(&index, &db, &model_options(5)).n_lists, 5);
}

#[test]
fn a_model_in_training_is_not_ready_and_can_be_cancelled_deleted_and_begun_anew() {
    let place = Place::memory();
    let (db, begun, go) = held(&place.url);
    let index = source(&db, 1000);
    let (first, _) = index.train_model(Some("m"), &MODEL_KEY, &model_options(4)).unwrap();
    begun.recv().unwrap();
    let (second, _) = index.train_model(Some("queued"), &MODEL_KEY, &model_options(4)).unwrap();
    let kinds: Vec<_> = db.training_jobs().unwrap().into_iter().map(|j| (j.name, j.kind)).collect();
    assert_eq!(kinds, [("m".into(), JobKind::Model), ("queued".into(), JobKind::Model)]);
    assert!(db.training_status().unwrap().is_empty(), "no index is being trained");
    let zero = Some(Duration::ZERO);
    assert_eq!(db.wait_for_model("m", &MODEL_KEY, zero).unwrap(), ModelState::Training);
    let made = db.create_index_from_model("x", &KEY, &bare(), "m", &MODEL_KEY).map(drop);
    assert!(matches!(made, Err(Error::ModelNotReady)));
    assert!(matches!(db.export_model("m", &MODEL_KEY, &KEY), Err(Error::ModelNotReady)));
    let e = db.delete_model("m", &MODEL_KEY, false).unwrap_err();
    assert!(matches!(e, Error::Conflict { what: "the model is being trained" }));

    // Before its turn: cancelled by its job's handle, and over at once.
    second.cancel();
    let info = db.model_info("queued", &MODEL_KEY).unwrap();
    assert_eq!((info.state, info.failure), (ModelState::Failed, Some(FailureCode::Cancelled)));
    db.delete_model("queued", &MODEL_KEY, false).unwrap();

    // At work: deleted, and another of the same id begun. The late end of the first changes nothing.
    db.delete_model("m", &MODEL_KEY, true).unwrap();
    assert!(matches!(db.model_info("m", &MODEL_KEY), Err(Error::NotFound { .. })));
    let (third, info) = index.train_model(Some("m"), &OTHER_KEY, &model_options(5)).unwrap();
    assert_eq!(info.state, ModelState::Training);
    go.send(()).unwrap();
    assert_eq!(first.wait(None), JobState::Cancelled);
    begun.recv().unwrap();
    assert_eq!(db.wait_for_model("m", &OTHER_KEY, zero).unwrap(), ModelState::Training);
    go.send(()).unwrap();
    assert_eq!(third.wait(None), JobState::Trained);
    assert_eq!(db.model_info("m", &OTHER_KEY).unwrap().n_lists, 5);

    // At work and cancelled by id.
    index.train_model(Some("c"), &MODEL_KEY, &model_options(4)).unwrap();
    begun.recv().unwrap();
    db.cancel_model("c", &MODEL_KEY).unwrap();
    go.send(()).unwrap();
    assert_eq!(db.wait_for_model("c", &MODEL_KEY, None).unwrap(), ModelState::Failed);
    let info = db.model_info("c", &MODEL_KEY).unwrap();
    assert_eq!((info.failure, info.error.as_str()), (Some(FailureCode::Cancelled), "cancelled"));
    assert!(info.finished_at >= info.created_at);
    db.cancel_model("c", &MODEL_KEY).unwrap();
    let made = db.create_index_from_model("x", &KEY, &bare(), "c", &MODEL_KEY).map(drop);
    assert!(matches!(made, Err(Error::ModelFailed { why }) if why == "cancelled"));
    assert!(matches!(db.export_model("c", &MODEL_KEY, &KEY), Err(Error::ModelFailed { .. })));
}

/// The plan was made for the source's quantizer and pages, and the model's put in afterwards.
#[test]
fn a_model_is_planned_as_it_is_made() {
    let db = open(&Place::memory());
    let index = source(&db, 4000);
    let needed = |search_size, quantizer| {
        let train = TrainOptions { n_lists: 4, max_memory_mb: 1, ..TrainOptions::default() };
        let o = ModelOptions { train, quantizer, search_size, ..ModelOptions::default() };
        let e = index.train_model(None, &MODEL_KEY, &o).map(drop).unwrap_err();
        assert!(matches!(e, Error::NoMemory { .. }), "{e}");
        e.needed_got().unwrap().0
    };
    let flat = Some(QuantizerSpec::Flat);
    assert!(needed(1000, flat) > needed(10, flat));
    let pq = Some(QuantizerSpec::Pq { m: 1, bits: 8, rotation: true });
    assert!(needed(1000, pq) > needed(1000, flat));
    assert!(db.list_models().unwrap().is_empty());
}

#[test]
fn a_source_that_goes_away_fails_its_model_and_nothing_else() {
    let place = Place::memory();
    let (db, begun, go) = held(&place.url);
    let index = source(&db, 1000);
    let (job, info) = index.train_model(None, &MODEL_KEY, &model_options(4)).unwrap();
    assert!(info.id.len() == 20 && info.id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
    begun.recv().unwrap();
    db.drop_index("source", &KEY).unwrap();
    go.send(()).unwrap();
    assert_eq!(job.wait(None), JobState::Failed);
    let info = db.model_info(&info.id, &MODEL_KEY).unwrap();
    assert_eq!((info.state, info.failure), (ModelState::Failed, Some(FailureCode::Data)));
}

#[test]
fn closing_the_db_interrupts_models_for_good() {
    let place = Place::file();
    let (db, begun, go) = held(&place.url);
    let index = source(&db, 1000);
    let start = |id| index.train_model(Some(id), &MODEL_KEY, &model_options(4)).unwrap().0;
    let [_, queued] = ["at work", "queued"].map(start);
    // Cancelled in the queue and never looked at again: the closing finds it over, and it stays what it was.
    index.train_model(Some("cancelled"), &MODEL_KEY, &model_options(4)).unwrap().0.cancel();
    begun.recv().unwrap();
    // Who only reads cannot stop what another trains.
    let reader = Db::open(&place.url, DbOptions { read_only: true, ..DbOptions::default() }).unwrap();
    assert!(matches!(reader.cancel_model("queued", &MODEL_KEY), Err(Error::ReadOnly { .. })));
    drop(reader);
    let closing = std::thread::spawn({
        let db = Arc::clone(&db);
        move || db.close()
    });
    // The closing has come to all jobs when it has come to the one that waits. The one at work was once let go 50 ms after
    // the closing began, and on a busy machine had ended by itself before it was cancelled.
    assert_eq!(queued.wait(None), JobState::Cancelled);
    go.send(()).unwrap();
    closing.join().unwrap();
    drop((index, db));
    // Also for a process that only reads: it was written when the db was closed.
    let db = Db::open(&place.url, DbOptions { read_only: true, ..DbOptions::default() }).unwrap();
    for id in ["at work", "queued"] {
        let info = db.model_info(id, &MODEL_KEY).unwrap();
        assert_eq!((info.state, info.failure), (ModelState::Failed, Some(FailureCode::Interrupted)), "{id}");
        assert_eq!(info.error, "training did not complete: the db was closed");
    }
    let info = db.model_info("cancelled", &MODEL_KEY).unwrap();
    assert_eq!((info.failure, info.error.as_str()), (Some(FailureCode::Cancelled), "cancelled"));
    db.cancel_model("queued", &MODEL_KEY).unwrap();
    assert_eq!(db.list_models().unwrap(), ["at work", "cancelled", "queued"]);
    assert!(matches!(db.delete_model("queued", &MODEL_KEY, false), Err(Error::ReadOnly { .. })));
}

#[test]
fn a_package_carries_a_model_to_another_store_and_key() {
    let place = Place::memory();
    let db = open(&place);
    let index = source(&db, 2000);
    let info = train(&index, &db, &ModelOptions { description: "carried", ..model_options(8) });
    let package = db.export_model("m", &MODEL_KEY, &OTHER_KEY).unwrap();
    let elsewhere = open(&Place::memory());
    let wrong = elsewhere.import_model(&package, &MODEL_KEY, None, &KEY);
    assert!(matches!(wrong, Err(Error::WrongKey)));
    let imported = elsewhere.import_model(&package, &OTHER_KEY, None, &KEY).unwrap();
    assert_eq!(imported, info, "everything but the key is as it was");
    assert!(matches!(elsewhere.model_info("m", &MODEL_KEY), Err(Error::WrongKey)));
    assert_eq!(elsewhere.model_info("m", &KEY).unwrap(), info);
    let again = elsewhere.import_model(&package, &OTHER_KEY, None, &KEY);
    assert!(matches!(again, Err(Error::AlreadyExists { what: "model" })));
    let renamed = elsewhere.import_model(&package, &OTHER_KEY, Some("n"), &KEY).unwrap();
    assert_eq!(renamed, ModelInfo { id: "n".into(), ..info });
    assert!(elsewhere.import_model(&package, &OTHER_KEY, Some(""), &KEY).is_err());

    // An index of the imported model codes and searches as one of the first.
    let vectors = clustered(1000, 8, 2);
    let answers = |db: &Arc<Db>, key: &[u8; 32]| {
        let index = db.create_index_from_model("made", &KEY, &bare(), "m", key).unwrap();
        upsert(&index, 0, &vectors, 8).unwrap();
        let o = QueryOptions { top_k: 5, n_probes: 3, ..QueryOptions::default() };
        let r = index.query(&vectors[..80], 10, 8, &o, &Watch::NONE).unwrap();
        (0..10).map(|q| ids_of(&r, q)).collect::<Vec<_>>()
    };
    assert_eq!(answers(&db, &MODEL_KEY), answers(&elsewhere, &KEY));
    let in_use = db.export_model("m", &MODEL_KEY, &OTHER_KEY).unwrap();
    let imported = open(&Place::memory()).import_model(&in_use, &OTHER_KEY, None, &KEY).unwrap();
    assert!(imported.used_by.is_empty(), "what is made of it here is nobody's business there");
}

/// A small package with any one byte changed, or cut anywhere, is damage: no wrong key, no model, no crash.
#[test]
fn a_damaged_package_is_refused_wherever_it_is_damaged() {
    let place = Place::memory();
    let db = open(&place);
    let index = db.create_index("source", &KEY, &options(Metric::Euclidean, 2)).unwrap();
    upsert(&index, 0, &clustered(60, 2, 1), 2).unwrap();
    train(&index, &db, &model_options(2));
    let package = db.export_model("m", &MODEL_KEY, &OTHER_KEY).unwrap();
    assert!(package.len() < 4096, "{} bytes", package.len());
    let refused = |bytes: &[u8]| {
        let e = db.import_model(bytes, &OTHER_KEY, Some("bad"), &KEY).unwrap_err();
        assert!(matches!(e, Error::Corrupt { .. }), "{e}");
    };
    for at in 0..package.len() {
        let mut bad = package.clone();
        bad[at] ^= 1 << (at % 8);
        refused(&bad);
        refused(&package[..at]);
    }
    assert_eq!(db.list_models().unwrap(), ["m"]);
}

/// Every byte that a store keeps of a model, changed: told as damage, never shown.
#[test]
fn a_damaged_model_is_found_out() {
    let store = Arc::new(MemoryStore::new());
    let as_store: Arc<dyn Store> = Arc::clone(&store) as _;
    let db = Db::over(Backend::over(as_store), DbOptions { threads: 1, ..DbOptions::default() });
    let index = db.create_index("source", &KEY, &options(Metric::Euclidean, 2)).unwrap();
    upsert(&index, 0, &clustered(60, 2, 1), 2).unwrap();
    let info = train(&index, &db, &model_options(2));
    let id = store.find_space("\u{1}model\u{1}m").unwrap().unwrap();
    let whole = store.with_space(id, |s| s.clone()).unwrap();
    let use_it = || -> Result<ModelInfo> {
        let info = db.model_info("m", &MODEL_KEY)?;
        db.export_model("m", &MODEL_KEY, &OTHER_KEY)?;
        Ok(info)
    };
    for at in 0..whole.head.bytes.len() {
        store.with_space(id, |s| s.head.bytes[at] ^= 1 << (at % 8));
        match use_it() {
            // Keyslots are stored twice: damage of one copy is survived.
            Ok(found) => assert_eq!(found, info, "byte {at} of the head"),
            Err(e) => assert!(matches!(e, Error::Corrupt { .. } | Error::Version { .. }), "byte {at} of the head: {e}"),
        }
        store.with_space(id, |s| *s = whole.clone());
    }
    assert_eq!(whole.objects.len(), 1, "one object is the model");
    for (name, bytes) in &whole.objects {
        for at in 0..bytes.len() {
            let mut bad = bytes.to_vec();
            bad[at] ^= 1 << (at % 8);
            store.with_space(id, |s| s.objects.insert(*name, Arc::new(bad)));
            assert!(matches!(use_it(), Err(Error::Corrupt { .. })), "byte {at} of the object");
        }
        store.with_space(id, |s| s.objects.remove(name));
        assert!(matches!(use_it(), Err(Error::Corrupt { .. })));
    }
    store.with_space(id, |s| *s = whole.clone());
    assert_eq!(use_it().unwrap(), info);
}

/// A store that fails at any one call: an index made from a model is there and trained or not there at all, and the model
/// knows of it; a training ends in a record that says so, or in one that is found interrupted.
#[test]
fn a_failing_store_leaves_no_half_index_and_no_model_in_between() {
    for fault in [Fault::Fail, Fault::Applied] {
        for after in 0.. {
            let store = Arc::new(FaultStore::new(Arc::new(MemoryStore::new())));
            let as_store: Arc<dyn Store> = Arc::clone(&store) as _;
            let db = Db::over(Backend::over(as_store), DbOptions { threads: 1, ..DbOptions::default() });
            let index = db.create_index("source", &KEY, &options(Metric::Euclidean, 2)).unwrap();
            upsert(&index, 0, &clustered(60, 2, 1), 2).unwrap();
            index.compact(&Watch::NONE).unwrap();

            store.plant(after, fault);
            let begun = index.train_model(Some("m"), &MODEL_KEY, &model_options(2));
            if let Ok((job, _)) = &begun {
                job.wait(None);
            }
            store.heal();
            let untouched = match db.model_info("m", &MODEL_KEY) {
                Ok(info) => {
                    assert_ne!(info.state, ModelState::Training, "{fault:?} {after}");
                    let created = info.state == ModelState::Created;
                    db.delete_model("m", &MODEL_KEY, false).unwrap();
                    created
                }
                Err(e) => {
                    assert!(begun.is_err() && matches!(e, Error::NotFound { .. }), "{fault:?} {after}: {e}");
                    false
                }
            };

            train(&index, &db, &model_options(2));
            store.plant(after, fault);
            let made = db.create_index_from_model("made", &KEY, &bare(), "m", &MODEL_KEY);
            store.heal();
            let there = db.list_indexes().unwrap().contains(&"made".to_owned());
            assert!(there || made.is_err(), "{fault:?} {after}");
            if there {
                let opened = db.open_index("made", &KEY).unwrap();
                assert!(opened.is_trained().unwrap(), "{fault:?} {after}: half an index");
                let e = db.delete_model("m", &MODEL_KEY, false).unwrap_err();
                assert!(matches!(e, Error::ModelInUse { .. }), "{fault:?} {after}: {e}");
            } else {
                db.delete_model("m", &MODEL_KEY, false).unwrap();
            }
            if untouched && made.is_ok() && after > 40 {
                break;
            }
        }
    }
}

const CHILD: &str = "CYBORG_MODEL_CHILD";
const NAME: &str = "killed_while_training_a_model_is_whole_or_interrupted";

/// Trains models one after another until it is killed; with "hold" it stops at the first, at work.
fn child(job: &str) -> ! {
    let (how, path) = job.split_once(' ').unwrap();
    let hold = how == "hold";
    let log: LogSink = Arc::new(move |_, target, message| {
        if hold && (target, message) == ("train", "training begins") {
            println!("\nmodel at-work");
            std::thread::sleep(Duration::from_secs(60));
        }
    });
    let db =
        Db::open(&format!("file:{path}"), DbOptions { threads: 1, log: Some(log), ..DbOptions::default() }).unwrap();
    let index = match db.open_index("source", &KEY) {
        Ok(index) => index,
        Err(_) => source(&db, 1500),
    };
    for n in 0.. {
        let id = if hold { "held".to_owned() } else { format!("{}-{n}", std::process::id()) };
        println!("\nbegin {id}");
        index.train_model(Some(&id), &MODEL_KEY, &model_options(12)).unwrap();
        println!("\nmodel {id}");
        assert_eq!(db.wait_for_model(&id, &MODEL_KEY, None).unwrap(), ModelState::Created);
        println!("\ndone {id}");
    }
    std::process::exit(1);
}

/// kill -9 at a moment that is surely within a training, then at random ones.
#[test]
fn killed_while_training_a_model_is_whole_or_interrupted() {
    if let Ok(job) = std::env::var(CHILD) {
        child(&job);
    }
    let place = Place::file();
    let path = place.url.strip_prefix("file:").unwrap();
    let mut rng = Rng::new(2026);
    for cycle in 0..8 {
        let how = if cycle == 0 { "hold" } else { "run" };
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([NAME, "--exact", "--nocapture"])
            .env(CHILD, format!("{how} {path}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(std::result::Result::ok);
        let first = if cycle == 0 { "model at-work" } else { "model " };
        let mut said: Vec<String> = Vec::new();
        while !said.last().is_some_and(|line| line.starts_with(first)) {
            said.push(lines.next().expect("the child lives"));
        }
        std::thread::sleep(Duration::from_micros(rng.below(60_000) as u64));
        child.kill().unwrap();
        said.extend(lines);
        child.wait().unwrap();

        if cycle == 0 {
            // A process that only reads cannot know, and shows what is stored.
            let db = Db::open(&place.url, DbOptions { read_only: true, ..DbOptions::default() }).unwrap();
            assert_eq!(db.model_info("held", &MODEL_KEY).unwrap().state, ModelState::Training);
            assert_eq!(db.wait_for_model("held", &MODEL_KEY, None).unwrap(), ModelState::Training);
        }
        let db = open(&place);
        let models = db.list_models().unwrap();
        for line in &said {
            match line.split_once(' ') {
                Some(("model", id)) if id != "at-work" => assert!(models.contains(&id.to_owned()), "{id} was durable"),
                Some(("done", id)) => assert_eq!(db.model_info(id, &MODEL_KEY).unwrap().state, ModelState::Created),
                _ => {}
            }
        }
        for id in models {
            let info = db.model_info(&id, &MODEL_KEY).unwrap();
            let made = db.create_index_from_model("made", &KEY, &bare(), &id, &MODEL_KEY);
            match info.state {
                ModelState::Created => {
                    upsert(&made.unwrap(), 0, &clustered(50, 8, 3), 8).unwrap();
                    db.drop_index("made", &KEY).unwrap();
                }
                ModelState::Failed => {
                    assert_eq!(info.failure, Some(FailureCode::Interrupted));
                    assert_eq!(info.error, "training did not complete: the process ended");
                    assert!(matches!(made.map(drop), Err(Error::ModelFailed { .. })));
                }
                ModelState::Training => panic!("{id} is in training without a job"),
            }
            // It was written, not only said.
            let reader = Db::open(&place.url, DbOptions { read_only: true, ..DbOptions::default() }).unwrap();
            assert_eq!(reader.model_info(&id, &MODEL_KEY).unwrap().state, info.state);
            assert!(cycle > 0 || (id == "held" && info.state == ModelState::Failed));
            db.delete_model(&id, &MODEL_KEY, false).unwrap();
        }
        db.open_index("source", &KEY).unwrap().verify(&Watch::NONE).unwrap();
    }
}
