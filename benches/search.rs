//! Queries against a trained index over `memory:`: plain and sealed cache, one at a time and in batches.
//!
//! `cargo bench --bench search [-- DIR [--flat] [--seconds 0.3] [--targets 0.9,0.95,0.99] [--probes N] [--only plain|sealed]]`: DIR holds `base.npy` and `queries.npy` (make it with
//! benches/compare/dataset.py); without it the committed words serve. Recall is against an exact search of the same index.
//! Every line has the bytes of codes a query reads, and for the sealed cache the bytes it opens, so that it can be set
//! against the rate of memory and of AES that are printed first.

use std::time::Instant;

#[path = "data/mod.rs"]
mod data;
#[path = "kernels/limits.rs"]
#[allow(dead_code, reason = "shared with the bench of the kernels, which uses all of it")]
mod limits;

use cyborg::engine::{Batch, CacheMode, Db, DbOptions, Ids, Index, IndexOptions, QueryOptions, TrainOptions, include};
use cyborg::exec::Watch;
use cyborg::ivf::{Centroids, ProbeScratch};
use cyborg::types::{IdKind, Metric, QuantizerSpec};
use data::Data;

const KEY: [u8; 32] = [7; 32];
const K: usize = 10;
const ROUNDS: usize = 5;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let value = |name: &str| args.iter().position(|a| a == name).map(|i| args[i + 1].as_str());
    let seconds: f64 = value("--seconds").map_or(0.3, |s| s.parse().expect("--seconds is a number"));
    let data = Data::load(args.first().filter(|a| !a.starts_with("--")).map(String::as_str), usize::MAX);
    let quantizer = args.iter().any(|a| a == "--flat").then_some(QuantizerSpec::Flat);
    let memory = {
        let bytes = vec![1u8; 256 << 20];
        let once = |_| {
            let t = Instant::now();
            limits::read(&bytes) as f64 / t.elapsed().as_secs_f64()
        };
        (0..5).map(once).fold(0.0, f64::max)
    };
    println!("{} vectors of {} dimensions, cosine; memory read {:.1} GB/s", data.len(), data.dim, memory / 1e9);

    let (_plain_db, plain) = build(&data, quantizer, CacheMode::Plain);
    let (_sealed_db, sealed) = build(&data, quantizer, CacheMode::Sealed);
    let info = plain.describe().unwrap();
    println!("{} lists, {} bytes a code", info.n_lists, info.code_bytes);
    coarse(&data, info.n_lists as usize);

    let few = data.n_queries().min(1000);
    let exact = QueryOptions { n_probes: u32::MAX >> 8, rerank_mult: 30, top_k: K as u32, ..QueryOptions::default() };
    let truth = ids(&plain, &data, few, &exact);
    println!(
        "cache   target  recall  lists scanned rerank    QPS  p50us p99us  code GB/s  opened KB  batch 1t  batch 2t  2t/1t"
    );
    let targets = value("--targets").unwrap_or("0.90,0.95,0.99").split(',');
    for target in targets.map(|t| t.parse().expect("targets are numbers")) {
        let both = [("plain", &plain), ("sealed", &sealed)];
        for (name, index) in both.into_iter().filter(|(name, _)| value("--only").is_none_or(|only| only == *name)) {
            let o = QueryOptions {
                top_k: K as u32,
                target_recall: target,
                n_probes: value("--probes").map_or(0, |n| n.parse().expect("--probes is a number")),
                include: include::DISTANCE,
                threads: 1,
                ..QueryOptions::default()
            };
            line(name, index, &data, &o, &truth, few, seconds, f64::from(info.code_bytes));
        }
    }
}

#[allow(clippy::too_many_arguments, reason = "one line of the table")]
fn line(name: &str, index: &Index, data: &Data, o: &QueryOptions, truth: &[u64], few: usize, seconds: f64, code: f64) {
    let found = ids(index, data, few, o);
    let hits = found.chunks(K).zip(truth.chunks(K)).map(|(f, t)| f.iter().filter(|id| t.contains(id)).count());
    let recall = hits.sum::<usize>() as f64 / truth.len() as f64;
    let r = index.query(&data.queries[..few * data.dim], few, data.dim as u32, o, &Watch::NONE).unwrap();
    let mean = |f: &dyn Fn(&cyborg::engine::QueryStats) -> f64| r.stats.iter().map(f).sum::<f64>() / few as f64;
    let (lists, scanned) = (mean(&|s| f64::from(s.lists_probed)), mean(&|s| s.vectors_scanned as f64));
    let (reranked, opened) = (mean(&|s| f64::from(s.reranked)), mean(&|s| s.bytes_opened as f64));
    let (mut out, mut distances, mut count) = ([0u64; K], [0f32; K], [0u32; 1]);
    let mut times = Vec::new();
    let mut rounds = Vec::new();
    let mut q = 0;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut n = 0;
        while start.elapsed().as_secs_f64() < seconds {
            let t = Instant::now();
            index
                .query_into(data.query(q), 1, data.dim as u32, o, &mut out, &mut distances, &mut count, &Watch::NONE)
                .unwrap();
            times.push(t.elapsed().as_nanos() as u64);
            q = (q + 1) % data.n_queries();
            n += 1;
        }
        rounds.push(f64::from(n) / start.elapsed().as_secs_f64());
    }
    times.sort_unstable();
    let qps = median(&mut rounds);
    let at = |share: f64| times[(times.len() as f64 * share) as usize] as f64 / 1e3;
    let (p50, p99) = (at(0.5), at(0.99));
    let mut batches = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (threads, rates) in [1, 0].into_iter().zip(&mut batches) {
            let o = QueryOptions { threads, ..*o };
            let t = Instant::now();
            let n = data.n_queries().min(4000);
            ids(index, data, n, &o);
            rates.push(n as f64 / t.elapsed().as_secs_f64());
        }
    }
    let [one, two] = batches.map(|mut rates| median(&mut rates));
    println!(
        "{name:7} {:.2}   {recall:.4} {lists:6.1} {scanned:7.0} {reranked:6.0} {qps:6.0} {p50:6.1} {p99:5.0} {:10.1} {:10.1} {one:9.0} {two:9.0}   {:.2}",
        o.target_recall,
        scanned * code * qps / 1e9,
        opened / 1e3,
        two / one
    );
}

/// The coarse step alone: ranking the centroids of that many random rows.
fn coarse(data: &Data, lists: usize) {
    let step = data.len() / lists;
    let rows: Vec<f32> =
        (0..lists).flat_map(|i| data.base[i * step * data.dim..][..data.dim].iter().copied()).collect();
    let centroids = Centroids::new(data.dim, rows).unwrap();
    let (mut scratch, mut out) = (ProbeScratch::new(), Vec::new());
    for probes in [lists / 32, lists / 8] {
        let t = Instant::now();
        let n = data.n_queries().min(5000);
        for q in 0..n {
            centroids.score(std::iter::once(data.query(q)), &mut scratch);
            centroids.choose(0, probes, &[], &mut scratch, &mut out);
        }
        println!("coarse: {probes} of {lists} lists in {:.1} us", t.elapsed().as_secs_f64() * 1e6 / n as f64);
    }
}

fn build(
    data: &Data,
    quantizer: Option<QuantizerSpec>,
    cache_mode: CacheMode,
) -> (std::sync::Arc<Db>, std::sync::Arc<Index>) {
    let db = Db::open("memory:", DbOptions { cache_mode, ..DbOptions::default() }).unwrap();
    let options = IndexOptions {
        dimension: data.dim as u32,
        metric: Metric::Cosine,
        quantizer,
        id_kind: IdKind::U64,
        auto_train_disabled: true,
        ..IndexOptions::default()
    };
    let index = db.create_index("bench", &KEY, &options).unwrap();
    for (i, vectors) in data.base.chunks(10_000 * data.dim).enumerate() {
        let first = i as u64 * 10_000;
        let ids: Vec<u64> = (first..first + (vectors.len() / data.dim) as u64).collect();
        let batch = Batch {
            dimension: data.dim as u32,
            vectors,
            ids: Ids::U64(&ids),
            metadata: None,
            contents: None,
            contents_kinds: None,
        };
        index.upsert(&batch, &Watch::NONE).unwrap();
    }
    let job = index.train(&TrainOptions::default()).unwrap();
    job.wait(None);
    assert!(job.error().is_none(), "{:?}", job.error());
    (db, index)
}

/// The ids found for the first `n` queries, `K` each.
fn ids(index: &Index, data: &Data, n: usize, o: &QueryOptions) -> Vec<u64> {
    let (mut ids, mut distances, mut counts) = (vec![0; n * K], vec![0.0; n * K], vec![0; n]);
    let queries = &data.queries[..n * data.dim];
    index.query_into(queries, n, data.dim as u32, o, &mut ids, &mut distances, &mut counts, &Watch::NONE).unwrap();
    ids
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_unstable_by(f64::total_cmp);
    rates[rates.len() / 2]
}
