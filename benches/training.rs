//! What the memory and the number of lists of a training cost, in time and in vectors scanned for recall@10 0.95.
//!
//! `cargo bench --bench training -- memory DIR [MiB ...]`: for each bound (0 = none) the peak of what Rust allocates above the
//! level before, the growth of the process (which holds SQLite's caches too, and after the first bound what the
//! allocator kept: one bound a call measures it), the time, and what queries scan afterwards.
//! `cargo bench --bench training -- lists DIR [n ...]`: rules for the number of lists, each with the time of the training and
//! queries a second of one thread. DIR holds `base.npy` and `queries.npy` (make them with benches/compare/dataset.py).

#[path = "../tests/support/counting.rs"]
mod counting;
#[path = "data/mod.rs"]
mod data;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use counting::peak_of;
use cyborg::engine::{
    Batch, Db, DbOptions, Ids, Index, IndexOptions, JobReading, JobState, QueryOptions, Results, TrainOptions, include,
};
use cyborg::exec::Watch;
use cyborg::types::{IdKind, Metric, QuantizerSpec};
use data::{Data, npy};

const KEY: [u8; 32] = [7; 32];
const QUERIES: usize = 1000;
const TARGET: f64 = 0.95;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let [what, dir, sizes @ ..] = &args[..] else {
        println!("nothing to do: give memory or lists, and the folder of the dataset");
        return;
    };
    let sizes: Vec<usize> = sizes.iter().map(|n| n.parse().expect("n is a number")).collect();
    let queries = npy(&Path::new(dir).join("queries.npy"), QUERIES);
    let folder = std::env::temp_dir().join(format!("cyborg-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (bounds, sizes) = if what == "memory" { (sizes, Vec::new()) } else { (Vec::new(), sizes) };
    for n in if sizes.is_empty() { vec![usize::MAX] } else { sizes } {
        let (dim, base) = npy(&Path::new(dir).join("base.npy"), n);
        let data = Data { dim, base, queries: queries.1.clone() };
        println!("\n{} vectors of {dim} dimensions, cosine, {QUERIES} queries", data.base.len() / dim);
        match what.as_str() {
            "memory" => memory(&data, &folder, &bounds),
            _ => lists(&data, &folder),
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

fn memory(data: &Data, folder: &Path, bounds: &[usize]) {
    let (_db, index, truth) = filled(data, folder, QuantizerSpec::SQ8);
    println!("| bound MiB | peak MB | process MB | s | passes | resident | recall there | end | scanned for 0.95 |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for &mb in if bounds.is_empty() { &[64, 96, 128, 256, 1024, 0] } else { bounds } {
        let resident = resident();
        let sampler = Sampler::start();
        let t = Instant::now();
        let o = TrainOptions { max_memory_mb: mb as u64, ..TrainOptions::default() };
        let (read, peak) = peak_of(|| train(&index, &o));
        let took = t.elapsed().as_secs_f64();
        let grown = sampler.most().saturating_sub(resident);
        let (probes, scanned) = scanned(&index, data, &truth);
        let p = read.progress;
        println!(
            "| {mb} | {:.1} | {:.1} | {took:.2} | {} | {} | {:.4} | {:?} | {scanned:.0} ({probes} lists) |",
            peak as f64 / 1e6,
            grown as f64 / 1e6,
            p.iteration,
            p.vectors,
            p.recall,
            p.end
        );
    }
}

fn lists(data: &Data, folder: &Path) {
    let n = data.base.len() / data.dim;
    println!("| quantizer | rule | lists | training s | probes for 0.95 | scanned | queries/s |");
    println!("|---|---|---|---|---|---|---|");
    let root = (n as f64).sqrt();
    let rules = [
        ("sqrt n", root),
        ("2 sqrt n", 2.0 * root),
        ("4 sqrt n", 4.0 * root),
        ("8 sqrt n", 8.0 * root),
        ("16 sqrt n", 16.0 * root),
        ("n / 100", n as f64 / 100.0),
    ];
    for quantizer in [QuantizerSpec::Flat, QuantizerSpec::SQ8] {
        let (_db, index, truth) = filled(data, folder, quantizer);
        for (rule, lists) in rules {
            let t = Instant::now();
            train(&index, &TrainOptions { n_lists: (lists as u32).min(n as u32 / 2), ..TrainOptions::default() });
            let took = t.elapsed().as_secs_f64();
            let (probes, scanned) = scanned(&index, data, &truth);
            let rate = (0..3).map(|_| rate(&index, data, probes)).fold(0.0, f64::max);
            println!("| {quantizer:?} | {rule} | {} | {took:.2} | {probes} | {scanned:.0} | {rate:.0} |", lists as u32);
        }
    }
}

/// An index of all vectors, and the ten nearest of every query.
fn filled(data: &Data, folder: &Path, quantizer: QuantizerSpec) -> (Arc<Db>, Arc<Index>, Vec<Vec<u8>>) {
    let path = folder.join(format!("{quantizer:?}-{}.db", data.base.len()));
    let db = Db::open(&format!("file:{}", path.display()), DbOptions::default()).unwrap();
    let o = IndexOptions {
        dimension: data.dim as u32,
        metric: Metric::Cosine,
        quantizer: Some(quantizer),
        id_kind: IdKind::U64,
        auto_train_disabled: true,
        ..IndexOptions::default()
    };
    let index = db.create_index("bench", &KEY, &o).unwrap();
    for (i, vectors) in data.base.chunks(10_000 * data.dim).enumerate() {
        let first = i as u64 * 10_000;
        let ids: Vec<u64> = (first..first + (vectors.len() / data.dim) as u64).collect();
        let ids = Ids::U64(&ids);
        let dimension = data.dim as u32;
        let batch = Batch { dimension, vectors, ids, metadata: None, contents: None, contents_kinds: None };
        index.upsert(&batch, &Watch::NONE).unwrap();
    }
    index.compact(&Watch::NONE).unwrap();
    let truth = (0..10).flat_map(|part| {
        let few = QUERIES / 10;
        let r = ask(&index, data, part * few..(part + 1) * few, 1);
        (0..few).map(move |q| near(&r, q)).collect::<Vec<_>>()
    });
    let truth = truth.collect();
    (db, index, truth)
}

fn train(index: &Index, o: &TrainOptions) -> JobReading {
    let job = index.train(o).unwrap();
    assert_eq!(job.wait(None), JobState::Trained, "{:?}", job.error());
    job.read()
}

fn ask(index: &Index, data: &Data, queries: std::ops::Range<usize>, n_probes: usize) -> Results {
    let o =
        QueryOptions { top_k: 10, n_probes: n_probes as u32, include: include::DISTANCE, ..QueryOptions::default() };
    let vectors = &data.queries[queries.start * data.dim..queries.end * data.dim];
    index.query(vectors, queries.len(), data.dim as u32, &o, &Watch::NONE).unwrap()
}

/// Ids of query `q`, one behind the other.
fn near(r: &Results, q: usize) -> Vec<u8> {
    (r.starts[q]..r.starts[q + 1]).flat_map(|i| r.ids.get(i).to_vec()).collect()
}

/// The least lists for recall@10 of [`TARGET`], and the vectors scanned at exactly that, interpolated.
fn scanned(index: &Index, data: &Data, truth: &[Vec<u8>]) -> (usize, f64) {
    let at = |n_probes: usize| {
        let r = ask(index, data, 0..QUERIES, n_probes);
        let hits = (0..QUERIES).map(|q| {
            let found = near(&r, q);
            let want: Vec<&[u8]> = truth[q].chunks(8).collect();
            found.chunks(8).filter(|id| want.contains(id)).count()
        });
        let recall = hits.sum::<usize>() as f64 / (QUERIES * 10) as f64;
        (recall, r.stats.iter().map(|s| s.vectors_scanned as f64).sum::<f64>() / QUERIES as f64)
    };
    let (mut low, mut high) = (0, index.describe().unwrap().n_lists as usize);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if at(middle).0 >= TARGET { high = middle } else { low = middle }
    }
    let (below, above) = (if low == 0 { (0.0, 0.0) } else { at(low) }, at(high));
    let part = (TARGET - below.0) / (above.0 - below.0).max(1e-9);
    (high, below.1 + part.min(1.0) * (above.1 - below.1))
}

/// Queries a second, one after the other on one thread.
fn rate(index: &Index, data: &Data, n_probes: usize) -> f64 {
    let t = Instant::now();
    (0..QUERIES).for_each(|q| drop(ask(index, data, q..q + 1, n_probes)));
    QUERIES as f64 / t.elapsed().as_secs_f64()
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

/// Looks at the size of the process every few milliseconds.
struct Sampler(Arc<AtomicUsize>, std::thread::JoinHandle<usize>);

impl Sampler {
    fn start() -> Self {
        let stop = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&stop);
        let look = move || {
            let mut most = 0;
            while seen.load(Relaxed) == 0 {
                most = most.max(resident());
                std::thread::sleep(Duration::from_millis(2));
            }
            most
        };
        Self(stop, std::thread::spawn(look))
    }

    fn most(self) -> usize {
        self.0.store(1, Relaxed);
        self.1.join().unwrap()
    }
}
