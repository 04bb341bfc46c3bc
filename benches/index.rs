//! Upsert, train, query and reopen of a whole index, each beside a limit measured in the same run.
//!
//! `cargo bench --bench index [-- DIR [n]]`: DIR holds `base.npy` and `queries.npy` (make them with
//! benches/compare/dataset.py); without it the committed words serve. Limits: writing as many bytes with fdatasync
//! (upsert), the byte multiply-adds of comparing every sampled row with every centroid once at the rate of registers
//! (train: the one full pass that cannot be avoided), reading as many bytes from memory (query).

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

#[path = "data/mod.rs"]
mod data;
#[path = "kernels/limits.rs"]
#[allow(dead_code, reason = "shared with the bench of the kernels, which uses all of it")]
mod limits;

use cyborg::engine::{Batch, Db, DbOptions, Ids, Index, IndexOptions, QueryOptions, TrainOptions, include};
use cyborg::exec::Watch;
use cyborg::types::{IdKind, Metric, QuantizerSpec};
use data::Data;

const KEY: [u8; 32] = [7; 32];
const BATCH: usize = 10_000;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let most = args.get(1).map_or(usize::MAX, |n| n.parse().expect("n is a number"));
    let data = Data::load(args.first().map(String::as_str), most);
    let n = data.len();
    println!(
        "{n} vectors of {} dimensions, cosine, {} threads",
        data.dim,
        std::thread::available_parallelism().unwrap()
    );
    let dir = std::env::temp_dir().join(format!("cyborg-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for quantizer in [QuantizerSpec::Flat, QuantizerSpec::SQ8] {
        println!("-- {quantizer:?}");
        bench(&data, quantizer, &dir);
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

fn bench(data: &Data, quantizer: QuantizerSpec, dir: &Path) {
    let dim = data.dim;
    let n = data.base.len() / dim;
    let url = format!("file:{}", dir.join(format!("{quantizer:?}.db")).display());
    let db = Db::open(&url, DbOptions::default()).unwrap();
    let options = IndexOptions {
        dimension: dim as u32,
        metric: Metric::Cosine,
        quantizer: Some(quantizer),
        id_kind: IdKind::U64,
        auto_train_disabled: true,
        ..IndexOptions::default()
    };
    let index = db.create_index("bench", &KEY, &options).unwrap();

    let t = Instant::now();
    upsert(&index, data, 0..n);
    report("upsert untrained", n, t.elapsed(), Some((raw_writes(dir, data), "bare writes + fdatasync")));

    let before = index.query(&data.queries[..dim], 1, dim as u32, &QueryOptions::default(), &Watch::NONE);
    assert_eq!(before.unwrap().ids.len(), 100);

    let t = Instant::now();
    let job = index.train(&TrainOptions::default()).unwrap();
    let mut phase = job.read().progress.phase;
    let mut since = Instant::now();
    while job.wait(Some(Duration::from_millis(5))) as i32 <= 2 {
        let now = job.read().progress.phase;
        if now != phase {
            println!("   {phase:?} {:.2} s", since.elapsed().as_secs_f64());
            (phase, since) = (now, Instant::now());
        }
    }
    println!("   {phase:?} {:.2} s", since.elapsed().as_secs_f64());
    assert!(job.error().is_none(), "{:?}", job.error());
    let took = t.elapsed();
    let s = index.stats().unwrap();
    let info = index.describe().unwrap();
    let products = n as f64 * f64::from(info.n_lists) * dim as f64;
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let pass = Duration::from_secs_f64(products / (rate(limits::byte_peak().0) * threads));
    report("train", n, took, Some((pass, limits::byte_peak().1)));
    println!(
        "   {} lists, balance {:.2}, automatic probes {}",
        info.n_lists,
        s.balance_permille as f64 / 1000.0,
        info.auto_probes
    );

    let t = Instant::now();
    upsert(&index, data, 0..n / 8);
    report("upsert trained (replacing)", n / 8, t.elapsed(), None);

    queries(&index, data);
    println!(
        "   resident {:.1} MB by our count, stored {:.1} MB",
        {
            let s = index.stats().unwrap();
            (s.resident_bytes + s.cache_bytes) as f64 / 1e6
        },
        index.stats().unwrap().stored_bytes as f64 / 1e6
    );
    drop((index, db));
    let t = Instant::now();
    let db = Db::open(&url, DbOptions::default()).unwrap();
    let index = db.open_index("bench", &KEY).unwrap();
    println!("reopen: {:.3} s for {} items", t.elapsed().as_secs_f64(), index.count().unwrap());
}

fn upsert(index: &Index, data: &Data, range: std::ops::Range<usize>) {
    let dim = data.dim;
    for start in range.clone().step_by(BATCH) {
        let end = range.end.min(start + BATCH);
        let ids: Vec<u64> = (start as u64..end as u64).collect();
        let batch = Batch {
            dimension: dim as u32,
            vectors: &data.base[start * dim..end * dim],
            ids: Ids::U64(&ids),
            metadata: None,
            contents: None,
            contents_kinds: None,
        };
        index.upsert(&batch, &Watch::NONE).unwrap();
    }
}

/// Time to append as many bytes as the vectors, batch by batch, each made durable.
fn raw_writes(dir: &Path, data: &Data) -> Duration {
    let mut file = std::fs::File::create(dir.join("raw")).unwrap();
    let t = Instant::now();
    for batch in data.base.chunks(BATCH * data.dim) {
        file.write_all(bytemuck::cast_slice(batch)).unwrap();
        file.sync_data().unwrap();
    }
    t.elapsed()
}

fn report(what: &str, n: usize, took: Duration, limit: Option<(Duration, &str)>) {
    let s = took.as_secs_f64();
    print!("{what}: {s:.2} s, {:.0} vectors/s", n as f64 / s);
    match limit {
        Some((l, name)) => println!(", {:.2} of {name} ({:.2} s)", l.as_secs_f64() / s, l.as_secs_f64()),
        None => println!(),
    }
}

fn queries(index: &Index, data: &Data) {
    let dim = data.dim;
    let all = data.queries.len() / dim;
    let few = all.min(1000);
    let o = QueryOptions { top_k: 10, include: include::DISTANCE, threads: 1, ..QueryOptions::default() };
    let exact = QueryOptions { n_probes: u32::MAX >> 8, ..o };
    let memory = memory_rate();
    let truth = index
        .query(&data.queries[..few * dim], few, dim as u32, &QueryOptions { threads: 0, ..exact }, &Watch::NONE)
        .unwrap();
    let probes = index.describe().unwrap().auto_probes;
    for n_probes in [0, probes / 2, probes * 2] {
        let o = QueryOptions { n_probes, ..o };
        let one =
            |q: usize| index.query(&data.queries[q * dim..(q + 1) * dim], 1, dim as u32, &o, &Watch::NONE).unwrap();
        (0..few).for_each(|q| {
            one(q);
        });
        let (mut times, mut found, mut scanned) = (Vec::new(), 0, 0);
        for q in 0..few {
            let t = Instant::now();
            let r = one(q);
            times.push(t.elapsed().as_nanos() as u64);
            scanned += r.stats[0].vectors_scanned;
            let want: Vec<&[u8]> = (truth.starts[q]..truth.starts[q + 1]).map(|i| truth.ids.get(i)).collect();
            found += (0..r.ids.len()).filter(|&i| want.contains(&r.ids.get(i))).count();
        }
        let total: u64 = times.iter().sum();
        times.sort_unstable();
        let code = f64::from(index.describe().unwrap().code_bytes);
        let read = scanned as f64 * code * 1e9 / total as f64;
        println!(
            "query {n_probes} probes: recall@10 {:.4}, {:.0}/s, p50 {:.0} us, p99 {:.0} us, {} vectors scanned, codes read at \
             {:.1} GB/s, {:.2} of memory",
            found as f64 / (few * 10) as f64,
            1e9 * few as f64 / total as f64,
            times[few / 2] as f64 / 1e3,
            times[few * 99 / 100] as f64 / 1e3,
            scanned / few as u64,
            read / 1e9,
            read / memory,
        );
    }
    for threads in [1, 0] {
        let t = Instant::now();
        index.query(&data.queries, all, dim as u32, &QueryOptions { threads, ..o }, &Watch::NONE).unwrap();
        println!("query batch of {all}, threads {threads}: {:.0}/s", all as f64 / t.elapsed().as_secs_f64());
    }
}

/// Units a second of a loop that says how many it does; the best of some tries.
fn rate(f: impl Fn() -> u64) -> f64 {
    let once = || {
        let t = Instant::now();
        f() as f64 / t.elapsed().as_secs_f64()
    };
    (0..20).map(|_| once()).fold(0.0, f64::max)
}

/// Bytes a second of one thread that reads memory larger than the caches.
fn memory_rate() -> f64 {
    let bytes = vec![1u8; 512 << 20];
    rate(|| limits::read(&bytes))
}
