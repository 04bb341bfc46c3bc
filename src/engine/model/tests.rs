//! A record changes hands by compare-and-set only.

use zeroize::Zeroizing;

use super::keeper::{Keeper, Trained};
use super::record::{Record, Use};
use super::*;
use crate::crypto::Backend;
use crate::engine::db::Db;
use crate::engine::generation::Generation;
use crate::engine::options::{DbOptions, IndexOptions};
use crate::types::{Similarity, VectorPrecision};

const KEY: [u8; 32] = [7; 32];

fn training() -> Record {
    let info = ModelInfo { dimension: 3, n_lists: 1, description: "d".into(), ..ModelInfo::default() };
    Record { info, ..Record::default() }
}

fn trained() -> Trained {
    let generation = Generation::untrained(Similarity::L2, VectorPrecision::F32, 3).unwrap();
    let quantizer = Some(generation.quantizer.spec());
    let info = ModelInfo { dimension: 3, n_lists: 1, quantizer, vectors_used: 9, ..ModelInfo::default() };
    Trained { info, bytes: Zeroizing::new(generation.write()) }
}

fn make(backend: &Backend, id: &str) -> Keeper {
    Keeper::create(backend, id, &KEY, training(), None).unwrap()
}

fn state(backend: &Backend, id: &str) -> ModelState {
    Keeper::open(backend, id, &KEY).unwrap().state()
}

#[test]
fn a_record_ends_once() {
    let backend = Backend::open("memory:", false).unwrap();
    let m = make(&backend, "m");
    assert!(matches!(m.trained(), Err(Error::ModelNotReady)));
    m.created(&trained(), 5).unwrap();
    assert!(matches!(m.created(&trained(), 6), Err(Error::Conflict { .. })));
    assert!(matches!(m.failed(FailureCode::Internal, "late", 6), Err(Error::Conflict { .. })));
    let again = Keeper::open(&backend, "m", &KEY).unwrap();
    let info = again.record().info;
    assert_eq!((info.state, info.finished_at, info.vectors_used), (ModelState::Created, 5, 9));
    assert_eq!(info.description, "d", "what the caller said stays");
    assert_eq!(again.trained().unwrap().bytes(), &trained().bytes[..]);

    let f = make(&backend, "f");
    f.failed(FailureCode::Cancelled, "why", 7).unwrap();
    assert!(matches!(f.created(&trained(), 8), Err(Error::Conflict { .. })));
    assert!(matches!(f.trained(), Err(Error::ModelFailed { why }) if why == "why"));
    assert!(matches!(
        Keeper::create(&backend, "f", &KEY, training(), None),
        Err(Error::AlreadyExists { what: "model" })
    ));
}

/// A job that outlived its record: another process found the record without a job and failed it, or deleted it, and may
/// have begun another model of that id.
#[test]
fn a_late_job_changes_neither_a_failed_nor_a_deleted_nor_another_record() {
    let backend = Backend::open("memory:", false).unwrap();
    let late = make(&backend, "m");
    let other = Keeper::open(&backend, "m", &KEY).unwrap();
    other.failed(FailureCode::Interrupted, "the process ended", 1).unwrap();
    assert!(matches!(late.created(&trained(), 2), Err(Error::Fenced)));
    assert!(matches!(late.failed(FailureCode::Internal, "late", 2), Err(Error::Fenced)));
    assert_eq!(state(&backend, "m"), ModelState::Failed);
    assert_eq!(Keeper::open(&backend, "m", &KEY).unwrap().record().info.failure, Some(FailureCode::Interrupted));

    let late = make(&backend, "n");
    Keeper::open(&backend, "n", &KEY).unwrap().destroy().unwrap();
    assert!(matches!(late.created(&trained(), 2), Err(Error::NotFound { what: "model" })));
    assert!(matches!(Keeper::open(&backend, "n", &KEY), Err(Error::NotFound { what: "model" })));
    make(&backend, "n");
    assert!(matches!(late.created(&trained(), 2), Err(Error::NotFound { .. })));
    assert!(matches!(late.failed(FailureCode::Internal, "late", 2), Err(Error::NotFound { .. })));
    assert_eq!(state(&backend, "n"), ModelState::Training);
}

#[test]
fn uses_that_are_gone_count_for_nothing() {
    let backend = Backend::open("memory:", false).unwrap();
    let index = |name: &str| crate::crypto::Vault::create(&backend, name, &KEY, b"").unwrap();
    let m = make(&backend, "m");
    m.created(&trained(), 1).unwrap();
    let of = |name: &str, uuid| Use { uuid, name: name.into() };
    let uses = vec![of("a", index("a").uuid()), of("b", [1; 16]), of("c", index("c").uuid())];
    m.set_uses(uses.clone()).unwrap();
    index("b");
    let kept = Keeper::open(&backend, "m", &KEY).unwrap().record().uses;
    assert_eq!(kept, uses);
    assert_eq!(registry::existing(&backend, kept).unwrap(), [uses[0].clone(), uses[2].clone()]);
    backend.drop_index("a").unwrap();
    assert_eq!(registry::existing(&backend, uses.clone()).unwrap(), [uses[2].clone()]);
}

// A record and its trained part were compared in dimension and lists only: a crafted package that said cosine beside an
// L2 quantizer made an index whose distances were nonsense.
#[test]
fn a_trained_part_that_denies_its_record_makes_no_model_and_no_index() {
    let db = Db::open("memory:", DbOptions::default()).unwrap();
    let made = |id: &str, metric: Metric, number: u64| {
        let generation =
            Generation { number, ..Generation::untrained(Similarity::L2, VectorPrecision::F32, 3).unwrap() };
        let mut record = training();
        (record.info.state, record.info.metric) = (ModelState::Created, metric);
        record.info.quantizer = Some(QuantizerSpec::Flat);
        Keeper::create(&db.shared.backend, id, &KEY, record, Some(&generation.write())).unwrap();
        let package = db.export_model(id, &KEY, &KEY).unwrap();
        let imported = db.import_model(&package, &KEY, Some(&format!("{id} again")), &KEY).map(|_| ());
        let index = db.create_index_from_model(id, &KEY, &IndexOptions::default(), id, &KEY).map(|_| ());
        [imported, index]
    };
    assert!(made("good", Metric::SquaredEuclidean, 1).iter().all(Result::is_ok));
    for (id, metric, number) in [("cosine", Metric::Cosine, 1), ("untrained", Metric::Euclidean, 0)] {
        for refused in made(id, metric, number) {
            assert!(matches!(refused, Err(Error::Corrupt { .. })), "{id}: {refused:?}");
        }
    }
    assert_eq!(db.list_indexes().unwrap(), ["good"]);
}

#[test]
fn names_of_models_are_no_names_of_indexes() {
    assert_eq!(id_of(&space("a b")), Some("a b"));
    assert_eq!(id_of("a b"), None);
    assert!(is_index("a b") && is_index("model") && !is_index(&space("a")));
    assert!(check_id(&"i".repeat(MAX_MODEL_ID_LEN)).is_ok());
    for bad in [String::new(), "a\u{1}b".into(), "a\n".into(), "i".repeat(MAX_MODEL_ID_LEN + 1)] {
        assert!(check_id(&bad).is_err(), "{bad:?}");
    }
    assert!(crate::types::MAX_NAME_LEN >= space(&"i".repeat(MAX_MODEL_ID_LEN)).len());
    assert!(check_description(&"\u{e9}".repeat(1000)).is_ok() && check_description(&"e".repeat(1001)).is_err());
}
