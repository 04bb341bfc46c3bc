//! What the cache keeps and how changes no answer.

mod common;

use common::{KEY, clustered, upsert};
use cyborg::engine::*;
use cyborg::exec::Watch;
use cyborg::types::{IdKind, Metric, QuantizerSpec};

const DIM: usize = 32;
const ITEMS: usize = 24_000;

/// Codes of more than 2 MiB, which stand side by side on huge pages where they all fit into the cache; under a small budget
/// each stands alone, under the smallest nothing stays.
#[test]
fn answers_are_the_same_wherever_codes_stand() {
    let (vectors, queries) = (clustered(ITEMS, DIM, 5), clustered(200, DIM, 6));
    let mut told = Vec::new();
    for cache_mode in [CacheMode::Plain, CacheMode::Sealed] {
        for cache_bytes in [0, 16 << 20, 1 << 20, 1] {
            let db = Db::open("memory:", DbOptions { cache_mode, cache_bytes, ..DbOptions::default() }).unwrap();
            let options = IndexOptions {
                metric: Metric::SquaredEuclidean,
                quantizer: Some(QuantizerSpec::Flat),
                id_kind: IdKind::U64,
                auto_train_disabled: true,
                ..IndexOptions::default()
            };
            let index = db.create_index("cached", &KEY, &options).unwrap();
            upsert(&index, 0, &vectors, DIM).unwrap();
            let train = TrainOptions { n_lists: 150, ..TrainOptions::default() };
            assert_eq!(index.train(&train).unwrap().wait(None), JobState::Trained);
            let wanted = QueryOptions { top_k: 10, n_probes: 30, ..QueryOptions::default() };
            let all = QueryOptions { n_probes: u32::MAX, ..wanted };
            // The second time from what the first has left in the cache.
            for o in [wanted, all, wanted] {
                let found = index.query(&queries, 200, DIM as u32, &o, &Watch::NONE).unwrap();
                told.push((found.ids.data().to_vec(), found.distances.iter().map(|d| d.to_bits()).collect::<Vec<_>>()));
            }
            let held = index.stats().unwrap().cache_bytes;
            let most = if cache_bytes == 0 { u64::MAX } else { cache_bytes };
            assert!(held <= most && (held >= (ITEMS * DIM * 4) as u64 || cache_bytes == 1 || cache_bytes == 1 << 20));
        }
    }
    assert!(told.iter().all(|(ids, _)| ids.len() == 200 * 10 * 8));
    for (i, answers) in told.iter().enumerate() {
        assert_eq!(answers, &told[i % 3 % 2], "{i}");
    }
}
