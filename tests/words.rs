//! Recall on real data: GloVe words (tests/data), of which some are held out as queries the index has never seen.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use cyborg::engine::*;
use cyborg::exec::Watch;
use cyborg::types::{IdKind, Metric, QuantizerSpec};
use sha2::{Digest, Sha256};

const KEY: [u8; 32] = [3; 32];
const K: usize = 10;
/// Every 40th word is a query: 500, of all frequencies.
const EVERY: usize = 40;

struct Words {
    dim: usize,
    base: Vec<f32>,
    queries: Vec<f32>,
    /// The K nearest of each query by cosine, nearest first, as positions in `base`.
    nearest: Vec<Vec<u64>>,
}

static FILE: &[u8] = include_bytes!("data/words.bin");
static WORDS: LazyLock<Words> = LazyLock::new(|| read(FILE));

fn number(at: usize) -> usize {
    u32::from_le_bytes(FILE[at..at + 4].try_into().unwrap()) as usize
}

fn read(file: &[u8]) -> Words {
    let (count, dim) = (number(12), number(16));
    let codes = 24 + 4 * count;
    let (mut base, mut queries) = (Vec::new(), Vec::new());
    for i in 0..count {
        let scale = f32::from_le_bytes(file[24 + 4 * i..][..4].try_into().unwrap());
        let row = file[codes + i * dim..][..dim].iter().map(|&c| f32::from(c.cast_signed()) * scale);
        if i % EVERY == 0 { queries.extend(row) } else { base.extend(row) }
    }
    let unit = |rows: &[f32]| -> Vec<f32> {
        let norms = rows.chunks(dim).map(|r| r.iter().map(|x| x * x).sum::<f32>().sqrt());
        rows.chunks(dim).zip(norms).flat_map(|(r, n)| r.iter().map(move |x| x / n)).collect()
    };
    let rows = unit(&base);
    let nearest = unit(&queries)
        .chunks(dim)
        .map(|q| {
            let score = |r: &[f32]| q.iter().zip(r).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
            let mut all: Vec<(f64, u64)> = rows.chunks(dim).zip(0..).map(|(r, i)| (-score(r), i)).collect();
            all.select_nth_unstable_by(K, |a, b| a.0.total_cmp(&b.0));
            all.truncate(K);
            all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
            all.into_iter().map(|(_, i)| i).collect()
        })
        .collect();
    Words { dim, base, queries, nearest }
}

fn trained(quantizer: QuantizerSpec) -> (Arc<Db>, Arc<Index>) {
    let db = Db::open("memory:", DbOptions::default()).unwrap();
    let options = IndexOptions {
        metric: Metric::Cosine,
        quantizer: Some(quantizer),
        id_kind: IdKind::U64,
        auto_train_disabled: true,
        ..IndexOptions::default()
    };
    let index = db.create_index("words", &KEY, &options).unwrap();
    let ids: Vec<u64> = (0..(WORDS.base.len() / WORDS.dim) as u64).collect();
    let batch = Batch {
        dimension: WORDS.dim as u32,
        vectors: &WORDS.base,
        ids: Ids::U64(&ids),
        metadata: None,
        contents: None,
        contents_kinds: None,
    };
    index.upsert(&batch, &Watch::NONE).unwrap();
    assert_eq!(index.train(&TrainOptions::default()).unwrap().wait(None), JobState::Trained);
    (db, index)
}

/// Recall@10 over all queries, and the vectors scanned for one.
fn recall(index: &Index, n_probes: u32) -> (f64, f64) {
    reranked(index, n_probes, 0)
}

/// The same with another number of candidates.
fn reranked(index: &Index, n_probes: u32, rerank_mult: u32) -> (f64, f64) {
    let n = WORDS.nearest.len();
    let options = QueryOptions { top_k: K as u32, n_probes, rerank_mult, ..QueryOptions::default() };
    let found = index.query(&WORDS.queries, n, WORDS.dim as u32, &options, &Watch::NONE).unwrap();
    let id = |i: usize| u64::from_le_bytes(found.ids.get(i).try_into().unwrap());
    let hits = |q: usize| (found.starts[q]..found.starts[q + 1]).filter(|&i| WORDS.nearest[q].contains(&id(i))).count();
    let scanned: u64 = found.stats.iter().map(|s| s.vectors_scanned).sum();
    ((0..n).map(hits).sum::<usize>() as f64 / (n * K) as f64, scanned as f64 / n as f64)
}

/// The figure that automatic probes aim at is 0.95; 500 queries estimate it to about 0.007. Probes once aimed at it with
/// the lists alone, so that an index of coarse codes fell short by what these lose.
#[test]
fn automatic_probes_reach_the_wished_recall_on_unseen_words() {
    let quantizers = [
        QuantizerSpec::Flat,
        QuantizerSpec::SQ8,
        QuantizerSpec::SQ4,
        QuantizerSpec::SQ2,
        QuantizerSpec::Pq { m: 0, bits: 4, rotation: false },
        QuantizerSpec::Pq { m: 0, bits: 8, rotation: false },
        QuantizerSpec::RaBitQ { bits: 1 },
        QuantizerSpec::RaBitQ { bits: 2 },
        QuantizerSpec::RaBitQ { bits: 4 },
    ];
    let all = WORDS.base.len() / WORDS.dim;
    let mut missed = String::new();
    for quantizer in quantizers {
        let (_db, index) = trained(quantizer);
        let (automatic, scanned) = recall(&index, 0);
        if automatic < 0.935 || scanned >= all as f64 / 5.0 {
            writeln!(missed, "{quantizer:?}: recall {automatic}, {scanned} of {all} scanned").unwrap();
        }
    }
    assert!(missed.is_empty(), "{missed}");
}

// The curve was believed to an eighth of the lists only, and 0.99 needs more: every list was looked into.
#[test]
fn a_high_wish_does_not_look_into_everything() {
    let (_db, index) = trained(QuantizerSpec::SQ4);
    let n = WORDS.nearest.len();
    let options = QueryOptions { top_k: K as u32, target_recall: 0.99, ..QueryOptions::default() };
    let found = index.query(&WORDS.queries, n, WORDS.dim as u32, &options, &Watch::NONE).unwrap();
    let scanned: u64 = found.stats.iter().map(|s| s.vectors_scanned).sum();
    let all = WORDS.base.len() / WORDS.dim;
    assert!(scanned < (n * all / 2) as u64, "{} of {all} scanned", scanned / n as u64);
}

#[test]
fn every_list_probed_is_as_good_as_exact_search() {
    let (_db, index) = trained(QuantizerSpec::Flat);
    let (flat, scanned) = recall(&index, u32::MAX);
    assert_eq!((flat, scanned as usize), (1.0, WORDS.base.len() / WORDS.dim));
    let (_db, index) = trained(QuantizerSpec::SQ8);
    let (sq8, _) = recall(&index, u32::MAX);
    assert!(sq8 >= 0.998, "codes and rerank lose {}", 1.0 - sq8);
}

/// Recall at 10 in all lists: by codes alone (as many candidates as results), and reranked as the quantizer does by
/// default. Floors are what was measured less 0.01.
#[test]
fn every_quantizer_keeps_its_recall() {
    let pq = |m, bits, rotation| QuantizerSpec::Pq { m, bits, rotation };
    let floors = [
        (QuantizerSpec::SQ8, 0.98, 0.995),
        (QuantizerSpec::SQ4, 0.908, 0.99),
        (QuantizerSpec::SQ2, 0.754, 0.99),
        (pq(0, 4, false), 0.775, 0.99),
        (pq(0, 8, false), 0.794, 0.99),
        (pq(0, 4, true), 0.778, 0.99),
        (QuantizerSpec::RaBitQ { bits: 1 }, 0.646, 0.985),
        (QuantizerSpec::RaBitQ { bits: 2 }, 0.806, 0.988),
        (QuantizerSpec::RaBitQ { bits: 4 }, 0.935, 0.989),
        (QuantizerSpec::RaBitQ { bits: 8 }, 0.985, 0.99),
    ];
    let mut low = String::new();
    for (quantizer, codes, default) in floors {
        let (_db, index) = trained(quantizer);
        let found = [reranked(&index, u32::MAX, 1).0, recall(&index, u32::MAX).0];
        if found[0] < codes || found[1] < default {
            writeln!(low, "{quantizer:?}: {found:?}, at least {codes} and {default} wanted").unwrap();
        }
    }
    assert!(low.is_empty(), "{low}");
}

#[test]
fn the_committed_words_are_those_that_the_readme_names() {
    let sum = Sha256::digest(FILE).iter().fold(String::new(), |mut s, b| {
        write!(s, "{b:02x}").unwrap();
        s
    });
    let readme = include_str!("data/README.md");
    assert!(readme.contains(&sum), "words.bin has sha256 {sum}");
    assert_eq!((&FILE[..8], number(8), number(12), number(16)), (&b"CYBWORDS"[..], 1, 20_000, 100));
    let (count, dim, text) = (number(12), number(16), number(20));
    assert_eq!(FILE.len(), 24 + 4 * count + count * dim + 4 * (count + 1) + text);
}
