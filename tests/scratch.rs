//! What queries keep for the next one is bounded: counted by the allocator of this program. One test, so that nothing else
//! allocates.

mod common;
#[path = "support/counting.rs"]
mod counting;

use common::*;
use counting::{peak_of, used};
use cyborg::engine::*;
use cyborg::exec::Watch;
use cyborg::types::{IdKind, Metric, QuantizerSpec};

const MIB: usize = 1 << 20;
/// What the memory of one query may hold to be kept, and something for what is not scratch.
const KEPT: usize = 13 * MIB;

// The largest `top_k` with the most candidates takes some 16 bytes of scratch for each item of the index. Nothing but the
// bound on what is kept stands between one such query and its memory for as long as the index is open.
#[test]
fn a_query_with_the_largest_top_k_does_not_keep_its_memory() {
    let (dim, items) = (2, 1_200_000);
    let db = Db::open("memory:", DbOptions { threads: 2, ..DbOptions::default() }).unwrap();
    let options = IndexOptions {
        metric: Metric::SquaredEuclidean,
        quantizer: Some(QuantizerSpec::SQ8),
        id_kind: IdKind::U64,
        auto_train_disabled: true,
        ..IndexOptions::default()
    };
    let index = db.create_index("many", &KEY, &options).unwrap();
    let vectors = clustered(items, dim, 1);
    upsert(&index, 0, &vectors, dim).unwrap();
    let job = index.train(&TrainOptions { n_lists: 16, ..TrainOptions::default() }).unwrap();
    assert_eq!(job.wait(None), JobState::Trained, "{:?}", job.error());
    let small = QueryOptions { top_k: 10, n_probes: 16, ..QueryOptions::default() };
    let large = QueryOptions { top_k: 10_000, rerank_mult: 1000, ..small };
    // Pools, one small scratch for each thread, and all that will be read in the cache.
    index.query(&vectors[..64 * dim], 64, dim as u32, &small, &Watch::NONE).unwrap();
    let ids: Vec<u64> = (0..items as u64).collect();
    for ids in ids.chunks(100_000) {
        index.get(Ids::U64(ids), include::VECTOR).unwrap();
    }
    let cached = || index.stats().unwrap().cache_bytes;
    let before = (used(), cached());
    for queries in [1, 2] {
        let ask = || {
            let found = index.query(&vectors[..queries * dim], queries, dim as u32, &large, &Watch::NONE).unwrap();
            assert_eq!(found.starts[queries], queries * 10_000);
            assert!(found.stats.iter().all(|s| s.reranked as usize == items));
        };
        let ((), peak) = peak_of(ask);
        let kept = used().saturating_sub(before.0);
        assert_eq!(cached(), before.1);
        assert!(peak > KEPT, "{peak} bytes: too little to tell");
        assert!(kept < KEPT, "{kept} bytes kept after {queries} queries of {peak}");
    }
}
