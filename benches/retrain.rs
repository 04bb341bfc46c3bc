//! Upserts while an index is trained anew: their latency beside that of the same upserts without a training.
//!
//! `cargo bench --bench retrain -- --data FILE.npy [--n 100000] [--store memory|file] [--batch 1] [--rounds 3]
//! [--idle 5] [--threads 2]`
//!
//! Four writers replace random items, `batch` a call, and four readers ask one query after the other, all as fast as
//! they can; idle stretches and trainings take turns. The goal is a p99 of at most 3 x the idle one. Also said: in
//! which phase of the training the slow upserts fell, and that queries never fell back to scanning everything.

#[path = "data/mod.rs"]
mod data;

use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cyborg::engine::{Batch, Db, DbOptions, Ids, Index, IndexOptions, JobState, QueryOptions, TrainOptions};
use cyborg::exec::Watch;
use cyborg::rng::Rng;
use cyborg::types::{IdKind, Metric};

/// Phase of no training.
const IDLE: i32 = 0;
const STOP: i32 = -1;
const PHASES: [&str; 8] =
    ["idle", "queued", "sampling", "clustering", "quantizer", "encoding", "calibrating", "publishing"];

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).map(String::as_str);
    let number = |name: &str, default: usize| value(name).map_or(Ok(default), str::parse);
    let (rows, dim) = match value("--data") {
        Some(path) => {
            let (dim, rows) = data::npy(Path::new(path), usize::MAX);
            (rows, dim)
        }
        None => (noise(100_000 * 100), 100),
    };
    let n = number("--n", 100_000)?.min(rows.len() / dim);
    let (batch, rounds, idle) = (number("--batch", 1)?, number("--rounds", 3)?, number("--idle", 5)?);
    let folder = std::env::temp_dir().join(format!("cyborg-retrain-{}", std::process::id()));
    let store = value("--store").unwrap_or("memory");
    let url = match store {
        "memory" => "memory:".to_owned(),
        _ => {
            std::fs::create_dir_all(&folder)?;
            format!("file:{}", folder.join("db").display())
        }
    };
    let outcome = run(&url, &rows[..n * dim], dim, batch, rounds, idle, number("--threads", 2)?);
    let _ = std::fs::remove_dir_all(&folder);
    println!("store {store}, {n} x {dim}, batches of {batch}");
    outcome
}

fn run(
    url: &str,
    rows: &[f32],
    dim: usize,
    batch: usize,
    rounds: usize,
    idle: usize,
    threads: usize,
) -> Result<(), Box<dyn Error>> {
    let n = rows.len() / dim;
    let db = Db::open(url, DbOptions { threads, ..DbOptions::default() })?;
    let options = IndexOptions {
        dimension: dim as u32,
        metric: Metric::Cosine,
        id_kind: IdKind::U64,
        auto_train_disabled: true,
        ..IndexOptions::default()
    };
    let index = db.create_index("bench", &[7; 32], &options)?;
    for (i, part) in rows.chunks(5000 * dim).enumerate() {
        upsert(&index, i as u64 * 5000, part, dim)?;
    }
    train(&index, &AtomicI32::new(IDLE))?;
    let (phase, probed, scanned_all) = (AtomicI32::new(IDLE), AtomicU32::new(0), AtomicBool::new(false));
    let (mut trainings, mut samples) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        let (index, phase, probed, scanned_all) = (&*index, &phase, &probed, &scanned_all);
        let n_lists = index.describe()?.n_lists;
        let writers: Vec<_> = (0..4u64)
            .map(|w| {
                scope.spawn(move || {
                    let (mut rng, mut seen) = (Rng::new(w), Vec::new());
                    while phase.load(Ordering::Relaxed) != STOP {
                        let first = rng.below(n - batch);
                        let vectors = &rows[first * dim..(first + batch) * dim];
                        let (before, start) = (phase.load(Ordering::Relaxed), Instant::now());
                        upsert(index, first as u64, vectors, dim).expect("an upsert");
                        let (took, after) = (start.elapsed(), phase.load(Ordering::Relaxed));
                        seen.push((before.max(after), took));
                    }
                    seen
                })
            })
            .collect();
        for r in 0..4u64 {
            scope.spawn(move || {
                let mut rng = Rng::new(100 + r);
                let o = QueryOptions { top_k: 10, ..QueryOptions::default() };
                while phase.load(Ordering::Relaxed) != STOP {
                    let at = rng.below(n) * dim;
                    let found = index.query(&rows[at..at + dim], 1, dim as u32, &o, &Watch::NONE).expect("a query");
                    probed.fetch_max(found.stats[0].lists_probed, Ordering::Relaxed);
                    scanned_all.fetch_or(found.stats[0].lists_probed >= n_lists, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..rounds {
            std::thread::sleep(Duration::from_secs(idle as u64));
            let start = Instant::now();
            train(index, phase)?;
            trainings.push(start.elapsed().as_secs_f64());
            phase.store(IDLE, Ordering::Relaxed);
        }
        phase.store(STOP, Ordering::Relaxed);
        for writer in writers {
            samples.extend(writer.join().expect("a writer"));
        }
        Ok(())
    })?;
    index.verify(&Watch::NONE)?;
    report(&samples, &trainings);
    println!("at most {} lists probed, all of them: {}", probed.into_inner(), scanned_all.into_inner());
    Ok(())
}

fn report(samples: &[(i32, Duration)], trainings: &[f64]) {
    let of = |at_work: bool| {
        let mut times: Vec<f64> =
            samples.iter().filter(|s| (s.0 > IDLE) == at_work).map(|s| s.1.as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        times
    };
    let (idle, busy) = (of(false), of(true));
    let at =
        |times: &[f64], q: f64| times.get(((times.len() as f64 * q) as usize).min(times.len().max(1) - 1)).copied();
    for (what, q) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
        let (a, b) = (at(&idle, q).unwrap_or(f64::NAN), at(&busy, q).unwrap_or(f64::NAN));
        println!("{what:>6}: idle {a:.3} ms, training {b:.3} ms, ratio {:.2}", b / a);
    }
    println!("{} upserts idle, {} during trainings of {trainings:.2?} s", idle.len(), busy.len());
    let slow = 3.0 * at(&idle, 0.99).unwrap_or(f64::NAN);
    for (i, name) in PHASES.iter().enumerate() {
        let all: Vec<f64> = samples.iter().filter(|s| s.0 == i as i32).map(|s| s.1.as_secs_f64() * 1e3).collect();
        let over = all.iter().filter(|&&t| t > slow).count();
        let worst = all.iter().copied().fold(0.0, f64::max);
        println!("  {name:>12}: {:>7} upserts, {over:>5} above 3 x the idle p99, worst {worst:.2} ms", all.len());
    }
}

/// Trains, telling the phase.
fn train(index: &Index, phase: &AtomicI32) -> Result<(), Box<dyn Error>> {
    let job = index.train(&TrainOptions::default())?;
    while !job.wait(Some(Duration::from_micros(500))).is_over() {
        phase.store(job.read().progress.phase as i32, Ordering::Relaxed);
    }
    match job.read().state {
        JobState::Trained => Ok(()),
        state => Err(format!("{state:?}: {:?}", job.error()).into()),
    }
}

fn upsert(index: &Index, first: u64, vectors: &[f32], dim: usize) -> cyborg::error::Result<()> {
    let ids: Vec<u64> = (first..first + (vectors.len() / dim) as u64).collect();
    let ids = Ids::U64(&ids);
    let batch = Batch { dimension: dim as u32, vectors, ids, metadata: None, contents: None, contents_kinds: None };
    index.upsert(&batch, &Watch::NONE).map(|_| ())
}

fn noise(values: usize) -> Vec<f32> {
    let mut rng = Rng::new(7);
    (0..values).map(|_| rng.unit_f32() - 0.5).collect()
}
