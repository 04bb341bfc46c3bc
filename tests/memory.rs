//! `max_memory_mb` is a bound that holds: what training allocates, counted by the allocator of this program.
//!
//! Counted are the bytes that Rust code holds above the level before the job. SQLite allocates by itself and is bounded by
//! its settings; the estimate sets 10 MiB aside for it, which are added here. One test, so that nothing else allocates.

mod common;
#[path = "support/counting.rs"]
mod counting;

use std::time::Duration;

use common::*;
use counting::peak_of;
use cyborg::engine::*;
use cyborg::error::Error;
use cyborg::exec::{EndReason, Watch};
use cyborg::types::{Metric, QuantizerSpec};

const MIB: usize = 1 << 20;
/// Set aside for SQLite.
const STORE: usize = 10 * MIB;

fn bound(mib: usize) -> TrainOptions {
    TrainOptions { max_memory_mb: mib as u64, n_lists: 700, ..TrainOptions::default() }
}

fn train(index: &Index, o: &TrainOptions) -> (JobReading, usize) {
    peak_of(|| {
        let job = index.train(o).unwrap();
        assert_eq!(job.wait(Some(Duration::from_secs(300))), JobState::Trained, "{:?}", job.error());
        job.read()
    })
}

/// Upserts `range` of `vectors`, with metadata.
fn fill(index: &Index, vectors: &[f32], dim: usize, range: std::ops::Range<usize>) {
    for start in range.clone().step_by(5000) {
        let rows = start..range.end.min(start + 5000);
        let ids = Column::new(rows.clone().map(|i| format!("word {i}")));
        let metadata = Column::new(rows.clone().map(|i| format!("{{\"row\": {i}}}")));
        let batch = Batch {
            dimension: dim as u32,
            vectors: &vectors[rows.start * dim..rows.end * dim],
            ids: Ids::Bytes(ids.strings()),
            metadata: Some(metadata.strings()),
            contents: None,
            contents_kinds: None,
        };
        index.upsert(&batch, &Watch::NONE).unwrap();
    }
}

#[test]
fn the_peak_of_a_training_keeps_to_its_bound() {
    let dim = 100;
    let mut vectors = words();
    // Five times the words, each time moved a little: what is counted is bytes, not meaning.
    let mut rng = cyborg::rng::Rng::new(3);
    let once = vectors.clone();
    for _ in 0..4 {
        vectors.extend(once.iter().map(|x| x + 0.02 * (rng.unit_f32() - 0.5)));
    }
    drop(once);
    let n = vectors.len() / dim;
    // Few parts, so that each is large; the rotation on top.
    let pq = |rotation| QuantizerSpec::Pq { m: 4, bits: 8, rotation };
    for quantizer in [QuantizerSpec::SQ8, QuantizerSpec::Flat, pq(false), pq(true)] {
        let place = Place::file();
        let db = Db::open(&place.url, DbOptions { threads: 2, ..DbOptions::default() }).unwrap();
        let o = IndexOptions {
            dimension: dim as u32,
            metric: Metric::Cosine,
            quantizer: Some(quantizer),
            auto_train_disabled: true,
            ..IndexOptions::default()
        };
        let index = db.create_index("a", &KEY, &o).unwrap();
        fill(&index, &vectors, dim, 0..n - 5000);
        index.compact(&Watch::NONE).unwrap();

        // Too little is refused with what would do, and that is enough.
        let refused = index.train(&bound(8)).map(drop).unwrap_err();
        let (needed, got) = refused.needed_got().unwrap();
        assert!(matches!(refused, Error::NoMemory { .. }) && got == 8 << 20, "{refused}");
        let least = (needed as usize).div_ceil(MIB);
        assert!(least <= 50, "{quantizer:?}: {least} MiB");

        // Coding by codewords is slow: the bounds that are near what it takes.
        let slow = matches!(quantizer, QuantizerSpec::Pq { .. });
        let bounds = [least, 64, 96, 0];
        for &mib in &bounds[..if slow { 2 } else { 4 }] {
            let (read, peak) = train(&index, &bound(mib));
            assert!(mib == 0 || peak + STORE <= mib * MIB, "{quantizer:?}: {peak} bytes, bound {mib} MiB");
            // All rows are learned from in any case: those that do not fit pass by.
            assert_eq!(read.progress.vectors, (n - 5000 - 2000) as u64);
            assert_ne!(read.progress.end, EndReason::Running);
        }
        // Unmerged batches are merged by the job, within its bound.
        fill(&index, &vectors, dim, n - 5000..n);
        let (_, peak) = train(&index, &bound(64));
        assert!(peak + STORE <= 64 * MIB, "{quantizer:?}: {peak} bytes with a merge");
        assert_eq!(index.count().unwrap(), n as u64);
        index.verify(&Watch::NONE).unwrap();
        let ids = Column::new(["word 0", "word 77777"]);
        let items = index.get(Ids::Bytes(ids.strings()), include::METADATA).unwrap();
        let metadata = items.fields.metadata.unwrap();
        assert_eq!((metadata.get(0), metadata.get(1)), (&b"{\"row\": 0}"[..], &b"{\"row\": 77777}"[..]));
    }
}
