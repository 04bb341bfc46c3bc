//! The life of an index through the Rust API: what was written is there, found, replaced, deleted, and survives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cyborg::crypto::Backend;
use cyborg::engine::*;
use cyborg::error::{Error, Status};
use cyborg::exec::Watch;
use cyborg::rng::Rng;
use cyborg::store::memory::MemoryStore;
use cyborg::types::{IdKind, Metric, QuantizerSpec};

const KEY: [u8; 32] = [7; 32];

fn options(dimension: u32, metric: Metric) -> IndexOptions {
    IndexOptions { dimension, metric, auto_train_disabled: true, ..IndexOptions::default() }
}

fn vectors(n: usize, dim: usize, seed: u64) -> Vec<f32> {
    // Clustered, as real data is.
    let mut rng = Rng::new(seed);
    let mut centre = Rng::new(99);
    let centres: Vec<f32> = (0..32 * dim).map(|_| centre.unit_f32() * 4.0 - 2.0).collect();
    (0..n)
        .flat_map(|_| {
            let c = rng.below(32) * dim;
            (0..dim).map(|j| centres[c + j] + rng.unit_f32() - 0.5).collect::<Vec<_>>()
        })
        .collect()
}

fn upsert(index: &Index, first: u64, vectors: &[f32], dim: u32) -> UpsertResult {
    let ids: Vec<u64> = (first..first + (vectors.len() / dim as usize) as u64).collect();
    let batch =
        Batch { dimension: dim, vectors, ids: Ids::U64(&ids), metadata: None, contents: None, contents_kinds: None };
    index.upsert(&batch, &Watch::NONE).unwrap()
}

fn ids_of(r: &Results, q: usize) -> Vec<u64> {
    (r.starts[q]..r.starts[q + 1]).map(|i| u64::from_le_bytes(r.ids.get(i).try_into().unwrap())).collect()
}

fn exact(model: &BTreeMap<u64, Vec<f32>>, query: &[f32], metric: Metric, k: usize) -> Vec<(f64, u64)> {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    let mut all: Vec<(f64, u64)> = model
        .iter()
        .map(|(id, v)| {
            let d = match metric {
                Metric::SquaredEuclidean | Metric::Euclidean => {
                    let d: f64 = v.iter().zip(query).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum();
                    if metric == Metric::Euclidean { d.sqrt() } else { d }
                }
                Metric::Cosine => 1.0 - dot(v, query) / (dot(v, v) * dot(query, query)).sqrt(),
                Metric::InnerProduct => -dot(v, query),
            };
            (d, *id)
        })
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    all.truncate(k);
    all
}

#[test]
fn exact_search_equals_brute_force_under_every_metric() {
    for metric in [Metric::Euclidean, Metric::SquaredEuclidean, Metric::Cosine, Metric::InnerProduct] {
        let db = Db::open("memory:", DbOptions::default()).unwrap();
        let o = IndexOptions { id_kind: IdKind::U64, ..options(37, metric) };
        let index = db.create_index("a", &KEY, &o).unwrap();
        let data = vectors(700, 37, 1);
        upsert(&index, 0, &data[..300 * 37], 37);
        upsert(&index, 300, &data[300 * 37..], 37);
        let model: BTreeMap<u64, Vec<f32>> = data.chunks(37).enumerate().map(|(i, v)| (i as u64, v.to_vec())).collect();
        let queries = vectors(20, 37, 2);
        let q = QueryOptions { top_k: 10, include: include::DISTANCE, ..QueryOptions::default() };
        let r = index.query(&queries, 20, 37, &q, &Watch::NONE).unwrap();
        for (i, query) in queries.chunks(37).enumerate() {
            let want = exact(&model, query, metric, 10);
            assert_eq!(ids_of(&r, i), want.iter().map(|w| w.1).collect::<Vec<_>>(), "{metric:?}");
            for (j, w) in want.iter().enumerate() {
                assert!((f64::from(r.distances[r.starts[i] + j]) - w.0).abs() < 1e-3 * w.0.abs().max(1.0));
            }
        }
    }
}

#[test]
fn a_trained_index_finds_what_brute_force_finds_and_survives_reopening() {
    for (metric, quantizer) in [
        (Metric::Euclidean, QuantizerSpec::SQ8),
        (Metric::Cosine, QuantizerSpec::SQ8),
        (Metric::InnerProduct, QuantizerSpec::Flat),
        (Metric::SquaredEuclidean, QuantizerSpec::Flat),
    ] {
        let dir = std::env::temp_dir().join(format!("cyborg-life-{}-{metric:?}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).unwrap();
        let url = format!("file:{}", dir.join("db").display());
        let mut model = BTreeMap::new();
        let dim = 24;
        let queries = vectors(50, dim, 3);
        {
            let db = Db::open(&url, DbOptions::default()).unwrap();
            let o = IndexOptions { id_kind: IdKind::U64, quantizer: Some(quantizer), ..options(dim as u32, metric) };
            let index = db.create_index("a", &KEY, &o).unwrap();
            let data = vectors(6000, dim, 1);
            for (b, batch) in data.chunks(1500 * dim).enumerate() {
                upsert(&index, b as u64 * 1500, batch, dim as u32);
            }
            model.extend(data.chunks(dim).enumerate().map(|(i, v)| (i as u64, v.to_vec())));
            let job = index.train(&TrainOptions { n_lists: 40, ..TrainOptions::default() }).unwrap();
            assert!(matches!(index.train(&TrainOptions::default()), Err(Error::TrainingInProgress)));
            // Writes go on while it trains.
            let more = vectors(500, dim, 5);
            upsert(&index, 5800, &more, dim as u32);
            model.extend(more.chunks(dim).enumerate().map(|(i, v)| (5800 + i as u64, v.to_vec())));
            let gone: Vec<u64> = (0..300).collect();
            assert_eq!(index.delete(Ids::U64(&gone)).unwrap(), 300);
            gone.iter().for_each(|id| {
                model.remove(id);
            });
            assert_eq!(job.wait(Some(Duration::from_secs(60))), JobState::Trained, "{:?}", job.error());
            assert!(index.is_trained().unwrap());
            check(&index, &model, &queries, metric, dim);
            let late = vectors(200, dim, 6);
            upsert(&index, 0, &late, dim as u32);
            model.extend(late.chunks(dim).enumerate().map(|(i, v)| (i as u64, v.to_vec())));
            check(&index, &model, &queries, metric, dim);
            index.verify(&Watch::NONE).unwrap();
        }
        let db = Db::open(&url, DbOptions::default()).unwrap();
        assert!(matches!(db.open_index("a", &[8; 32]).map(|_| ()), Err(Error::WrongKey)));
        let index = db.open_index("a", &KEY).unwrap();
        assert!(index.is_trained().unwrap());
        check(&index, &model, &queries, metric, dim);
        index.compact(&Watch::NONE).unwrap();
        let s = index.stats().unwrap();
        assert_eq!((s.deltas, s.tombstones, s.runs), (0, 0, 1));
        check(&index, &model, &queries, metric, dim);
        index.verify(&Watch::NONE).unwrap();
        drop((index, db));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

fn check(index: &Arc<Index>, model: &BTreeMap<u64, Vec<f32>>, queries: &[f32], metric: Metric, dim: usize) {
    assert_eq!(index.count().unwrap() as usize, model.len());
    let n = queries.len() / dim;
    let all = QueryOptions { top_k: 10, n_probes: 1 << 20, include: include::DISTANCE, ..QueryOptions::default() };
    let r = index.query(queries, n, dim as u32, &all, &Watch::NONE).unwrap();
    let auto = QueryOptions { n_probes: 0, ..all };
    let a = index.query(queries, n, dim as u32, &auto, &Watch::NONE).unwrap();
    let (mut full, mut probed) = (0, 0);
    for (i, query) in queries.chunks(dim).enumerate() {
        let want: Vec<u64> = exact(model, query, metric, 10).iter().map(|w| w.1).collect();
        full += ids_of(&r, i).iter().filter(|id| want.contains(id)).count();
        probed += ids_of(&a, i).iter().filter(|id| want.contains(id)).count();
    }
    assert!(full as f64 / (n * 10) as f64 >= 0.99, "{metric:?} all lists: {full} of {}", n * 10);
    assert!(probed as f64 / (n * 10) as f64 >= 0.90, "{metric:?} automatic probes: {probed} of {}", n * 10);
    // Every id is listed once, and its vector is what was put.
    let mut cursor = index.list_ids().unwrap();
    let mut seen = Vec::new();
    loop {
        let page = cursor.next_page(700).unwrap();
        if page.is_empty() {
            break;
        }
        seen.extend((0..page.len()).map(|i| u64::from_le_bytes(page.get(i).try_into().unwrap())));
    }
    seen.sort_unstable();
    assert!(seen.iter().eq(model.keys()));
    let items = index.get(Ids::U64(&seen), include::VECTOR).unwrap();
    for (i, v) in items.fields.vectors.unwrap().chunks(dim).enumerate() {
        let want = &model[&seen[i]];
        let norm = if metric == Metric::Cosine { want.iter().map(|x| x * x).sum::<f32>().sqrt() } else { 1.0 };
        assert!(v.iter().zip(want).all(|(a, b)| (a - b / norm).abs() < 1e-5));
    }
}

#[test]
fn a_group_of_metadata_and_contents_comes_back_as_it_was_given() {
    let db = Db::open("memory:", DbOptions::default()).unwrap();
    let index = db.create_index("a", &KEY, &options(0, Metric::Euclidean)).unwrap();
    let batch = Batch {
        dimension: 2,
        vectors: &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        ids: Ids::Bytes(Strings::new("ids", b"abcx", &[0, 2, 3, 4]).unwrap()),
        metadata: Some(Strings::new("metadata", br#"{"n":1}"#, &[0, 7, 7, 7]).unwrap()),
        contents: Some(Strings::new("contents", b"hello\xff", &[0, 5, 5, 6]).unwrap()),
        contents_kinds: Some(&[2, 0, 1]),
    };
    let done = index.upsert(&batch, &Watch::NONE).unwrap();
    assert_eq!((done.inserted, done.updated, done.vector_count), (3, 0, 3));
    let ids = Ids::Bytes(Strings::new("ids", b"xabnocx", &[0, 1, 3, 5, 6]).unwrap());
    for round in 0..2 {
        let items = index.get(ids, include::ALL).unwrap();
        assert_eq!(items.found, [true, true, false, true]);
        let (m, c) = (items.fields.metadata.unwrap(), items.fields.contents.unwrap());
        assert_eq!((m.get(0), m.get(1), m.get(3)), (&b""[..], &br#"{"n":1}"#[..], &b""[..]));
        assert_eq!((c.get(0), c.get(1), c.get(2), c.get(3)), (&b"\xff"[..], &b"hello"[..], &b""[..], &b""[..]));
        if round == 0 {
            index.compact(&Watch::NONE).unwrap();
        }
    }
    let wrong = index.query(&[1.0, 2.0, 3.0], 1, 3, &QueryOptions::default(), &Watch::NONE).map(|_| ());
    assert_eq!(wrong.unwrap_err().status(), Status::DimensionMismatch);
}

#[test]
fn equally_near_items_come_by_id_before_and_after_a_merge() {
    // Rows are renumbered by a merge; results once followed rows, so they changed with every compaction.
    let db = Db::open("memory:", DbOptions::default()).unwrap();
    let o = IndexOptions { id_kind: IdKind::U64, ..options(2, Metric::Euclidean) };
    let index = db.create_index("a", &KEY, &o).unwrap();
    for id in [300, 2, 256, 1] {
        upsert(&index, id, &[1.0, 1.0], 2);
    }
    upsert(&index, 2, &[1.0, 1.0], 2);
    for _ in 0..2 {
        let r = index.query(&[0.0, 0.0], 1, 2, &QueryOptions::default(), &Watch::NONE).unwrap();
        assert_eq!(ids_of(&r, 0), [1, 2, 256, 300]);
        index.compact(&Watch::NONE).unwrap();
    }
}

#[test]
fn an_index_trained_on_a_handful_still_finds_what_comes_later() {
    // SQ8 steps fitted to 4 items clipped every later vector, so that an item was not its own nearest neighbour.
    let db = Db::open("memory:", DbOptions::default()).unwrap();
    let o = IndexOptions { id_kind: IdKind::U64, ..options(16, Metric::Euclidean) };
    let index = db.create_index("a", &KEY, &o).unwrap();
    let data = vectors(1000, 16, 8);
    upsert(&index, 0, &data[..4 * 16], 16);
    assert_eq!(
        index.train(&TrainOptions { n_lists: 2, ..TrainOptions::default() }).unwrap().wait(None),
        JobState::Trained
    );
    upsert(&index, 4, &data[4 * 16..], 16);
    let q = QueryOptions { top_k: 1, n_probes: 2, ..QueryOptions::default() };
    let r = index.query(&data, 1000, 16, &q, &Watch::NONE).unwrap();
    let own = (0..1000).filter(|&i| ids_of(&r, i as usize) == [i]).count();
    assert!(own >= 990, "{own} of 1000 found themselves");
}

#[test]
fn a_cursor_ends_with_its_index() {
    // It went on giving ids after the index was dropped or the db closed.
    let db = Db::open("memory:", DbOptions::default()).unwrap();
    let o = IndexOptions { id_kind: IdKind::U64, ..options(2, Metric::Euclidean) };
    let index = db.create_index("a", &KEY, &o).unwrap();
    upsert(&index, 0, &[1.0, 2.0, 3.0, 4.0], 2);
    let mut cursor = index.list_ids().unwrap();
    assert_eq!(cursor.next_page(1).unwrap().len(), 1);
    db.drop_index("a", &KEY).unwrap();
    assert_eq!(cursor.next_page(1).map(|_| ()).unwrap_err().status(), Status::Closed);
}

#[test]
fn automatic_probes_reach_the_target_where_neighbours_are_far_apart() {
    // Under inner product the winners are long vectors in any list, and points without clusters have neighbours in most
    // lists; a curve measured within the nearest quarter of the lists promised too much for both.
    for (metric, dim) in [(Metric::InnerProduct, 16), (Metric::Euclidean, 48)] {
        let db = Db::open("memory:", DbOptions::default()).unwrap();
        let o = IndexOptions { id_kind: IdKind::U64, ..options(dim as u32, metric) };
        let index = db.create_index("a", &KEY, &o).unwrap();
        let mut rng = Rng::new(4);
        let mut cloud = |n: usize| -> Vec<f32> {
            let sum = |rng: &mut Rng| (0..6).map(|_| rng.unit_f32()).sum::<f32>() - 3.0;
            (0..n).flat_map(|i| (0..dim).map(|_| sum(&mut rng) * (1 + i % 3) as f32).collect::<Vec<_>>()).collect()
        };
        upsert(&index, 0, &cloud(20_000), dim as u32);
        let job = index.train(&TrainOptions { n_lists: 560, ..TrainOptions::default() }).unwrap();
        assert_eq!(job.wait(None), JobState::Trained);
        let queries = cloud(300);
        let auto = QueryOptions { top_k: 10, ..QueryOptions::default() };
        let exact = QueryOptions { n_probes: 560, rerank_mult: 20, ..auto };
        let run = |o: &QueryOptions| index.query(&queries, 300, dim as u32, o, &Watch::NONE).unwrap();
        let (got, want) = (run(&auto), run(&exact));
        let found: usize = (0..300)
            .map(|q| {
                let want = ids_of(&want, q);
                ids_of(&got, q).iter().filter(|id| want.contains(id)).count()
            })
            .sum();
        assert!(found >= 2820, "{metric:?}: {found} of 3000, {} probes", index.describe().unwrap().auto_probes);
    }
}

#[test]
fn a_writer_that_lost_its_place_is_told_and_overwrites_nothing() {
    // `verify` adopted the other writer's head, and the next upsert went over its commits without a word.
    let store = Arc::new(MemoryStore::new());
    let open = || Db::over(Backend::over(Arc::clone(&store) as _), DbOptions::default());
    let (old, new) = (open(), open());
    let o = IndexOptions { id_kind: IdKind::U64, ..options(2, Metric::Euclidean) };
    let lost = old.create_index("a", &KEY, &o).unwrap();
    upsert(&new.open_index("a", &KEY).unwrap(), 7, &[1.0, 2.0], 2);
    assert_eq!(lost.verify(&Watch::NONE).unwrap_err().status(), Status::Fenced);
    let batch = Batch {
        dimension: 2,
        vectors: &[3.0, 4.0],
        ids: Ids::U64(&[8]),
        metadata: None,
        contents: None,
        contents_kinds: None,
    };
    assert_eq!(lost.upsert(&batch, &Watch::NONE).unwrap_err().status(), Status::Fenced);
    let fresh = open();
    let index = fresh.open_index("a", &KEY).unwrap();
    assert_eq!(index.contains(Ids::U64(&[7, 8])).unwrap(), [true, false]);
}

#[test]
fn a_reader_of_an_index_that_was_dropped_elsewhere_is_told_that_it_is_closed() {
    let dir = std::env::temp_dir().join(format!("cyborg-dropped-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir(&dir).unwrap();
    let url = format!("file:{}", dir.join("db").display());
    let writer = Db::open(&url, DbOptions::default()).unwrap();
    writer.create_index("a", &KEY, &options(2, Metric::Euclidean)).unwrap();
    let reader = Db::open(&url, DbOptions { read_only: true, ..DbOptions::default() }).unwrap();
    let index = reader.open_index("a", &KEY).unwrap();
    writer.drop_index("a", &KEY).unwrap();
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(index.count().unwrap_err().status(), Status::Closed);
    drop((index, reader, writer));
    std::fs::remove_dir_all(&dir).unwrap();
}

/// Metadata of a batch of more than 8 MiB could not be read: the delta is one object, and was taken for one of several
/// parts as a run's blobs are, so a frame behind the first part's length was looked for in a second part.
#[test]
fn metadata_of_a_large_batch_is_read_from_its_delta() {
    let (dim, n) = (100, 25_000);
    let db = Db::open("memory:", DbOptions::default()).unwrap();
    let o = IndexOptions {
        dimension: dim as u32,
        id_kind: IdKind::U64,
        auto_train_disabled: true,
        ..IndexOptions::default()
    };
    let index = db.create_index("a", &KEY, &o).unwrap();
    let ids: Vec<u64> = (0..n as u64).collect();
    let (mut data, mut offsets) = (String::new(), vec![0]);
    for i in 0..n {
        data += &format!("{{\"row\": {i}}}");
        offsets.push(data.len() as u64);
    }
    let vectors = vectors(n, dim, 1);
    let batch = Batch {
        dimension: dim as u32,
        vectors: &vectors,
        ids: Ids::U64(&ids),
        metadata: Some(Strings::new("metadata", data.as_bytes(), &offsets).unwrap()),
        contents: None,
        contents_kinds: None,
    };
    index.upsert(&batch, &Watch::NONE).unwrap();
    let last = index.get(Ids::U64(&[n as u64 - 1]), include::METADATA).unwrap().fields.metadata.unwrap();
    assert_eq!(last.get(0), format!("{{\"row\": {}}}", n - 1).as_bytes());
}
