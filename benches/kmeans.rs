//! Clustering: wall time, objective and balance, and the assignment product against the machine's integer peak.
//!
//! `cargo bench --bench kmeans -- [--data FILE.npy] [--cosine] [--k 2304] [--threads 2] [--runs 3]
//! [--held-out 0] [--out FILE.fvecs]`
//!
//! `--cosine` normalises the rows first. Without `--data` a seeded mixture of Gaussians, 100,000 x 100. Balance is
//! k * sum(size^2) / n^2, 1 = even lists.
//! `--out` writes the centroids of the last run, for measuring scanned vectors with another library's probes.

#[path = "data/mod.rs"]
mod data;

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use cyborg::exec::{Exec, Progress, Watch};
use cyborg::ivf::Centroids;
use cyborg::kernels::{self, Level, Panels};
use cyborg::kmeans::{Params, auto_lists, cluster_until, memory_estimate};
use cyborg::rng::Rng;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1));
    let (mut rows, dim) = match value("--data") {
        Some(path) => {
            let (dim, rows) = data::npy(Path::new(path), usize::MAX);
            (rows, dim)
        }
        None => (mixture(100_000, 100, 500), 100),
    };
    let cosine = args.iter().any(|a| a == "--cosine");
    if cosine {
        for row in rows.chunks_exact_mut(dim) {
            let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
            row.iter_mut().for_each(|x| *x /= norm);
        }
    }
    // Rows evenly over the data: what the recall rule asks for.
    let wanted = value("--held-out").map_or(Ok(0), |s| s.parse::<usize>())?;
    let every = (rows.len() / dim).checked_div(wanted).unwrap_or(usize::MAX);
    let (mut kept, mut held_out) = (Vec::with_capacity(rows.len()), Vec::new());
    for (i, row) in rows.chunks_exact(dim).enumerate() {
        if i % every == every - 1 { &mut held_out } else { &mut kept }.extend_from_slice(row);
    }
    let rows = kept;
    let n = rows.len() / dim;
    let k = value("--k").map_or(Ok(auto_lists(n as u64) as usize), |s| s.parse())?;
    let threads = value("--threads").map_or(Ok(2), |s| s.parse())?;
    let runs = value("--runs").map_or(Ok(3), |s| s.parse::<u64>())?;
    println!("{n} x {dim}, {k} lists, {threads} threads, kernels {}", kernels::best().name());
    println!(
        "memory estimate {:.1} MB beside {:.1} MB of rows",
        memory_estimate(n, dim, k, threads) as f64 / 1e6,
        rows.len() as f64 * 4e-6
    );

    let exec = Exec::new(threads);
    let mut centroids = Vec::new();
    for seed in 0..runs {
        let params = Params { k, max_iters: 100, tolerance: 1e-6, seed, spherical: cosine };
        let (start, cpu) = (Instant::now(), cpu_seconds());
        let found = cluster_until(&rows, dim, &held_out, &params, &exec, &Watch::NONE, &Progress::default())?;
        let wall = start.elapsed().as_secs_f64();
        let mut sizes = vec![0f64; k];
        found.assignment.iter().for_each(|&list| sizes[list as usize] += 1.0);
        let balance = k as f64 * sizes.iter().map(|s| s * s).sum::<f64>() / (n as f64).powi(2);
        println!(
            "seed {seed}: cluster {wall:.3} s (CPU {:.2} s), objective {:.6}, balance {balance:.3}, {} passes, recall {:.4}, {:?}",
            cpu_seconds() - cpu,
            found.objective,
            found.passes,
            found.recall,
            found.end
        );
        let start = Instant::now();
        let mut lists = vec![0; n];
        Centroids::new(dim, found.centroids.clone())?.assign(&rows, &exec, &mut lists)?;
        let wall = start.elapsed().as_secs_f64();
        let same = lists.iter().zip(&found.assignment).filter(|(a, b)| a == b).count();
        println!(
            "        assign all rows {wall:.3} s ({:.0} vectors/s), {:.4} in their training list",
            n as f64 / wall,
            same as f64 / n as f64
        );
        centroids = found.centroids;
    }
    product(dim, k)?;
    if let Some(path) = value("--out") {
        let mut bytes = Vec::new();
        for row in centroids.chunks_exact(dim) {
            bytes.extend_from_slice(&(dim as u32).to_le_bytes());
            row.iter().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes()));
        }
        std::fs::write(path, bytes)?;
    }
    Ok(())
}

/// The rate of the assignment product on one thread, against the peak where it is known how to measure it.
fn product(dim: usize, k: usize) -> Result<(), Box<dyn Error>> {
    let stride = dim.next_multiple_of(4);
    let mut rng = Rng::new(1);
    let rows: Vec<u8> = (0..480 * stride).map(|_| rng.next_u64() as u8).collect();
    let index: Vec<u32> = (0..480).collect();
    let mut panels = Panels::new(k, dim)?;
    for i in 0..k {
        let centroid: Vec<i8> = (0..dim).map(|_| (rng.next_u64() % 255) as i8).collect();
        panels.set(i, &centroid, 0);
    }
    let mut out = vec![Default::default(); 480];
    let peak = integer_peak();
    for level in Level::ALL {
        let Some(kernels) = kernels::at(level) else { continue };
        let mut best = f64::INFINITY;
        for _ in 0..if level == Level::Scalar { 1 } else { 15 } {
            let start = Instant::now();
            kernels.assign(&rows, stride, &index, &panels, &mut out);
            best = best.min(start.elapsed().as_secs_f64());
        }
        let rate = 2.0 * 480.0 * k as f64 * dim as f64 / best / 1e9;
        let ratio = peak.map_or(String::new(), |peak| format!(", {:.2} of the VNNI peak {peak:.0}", rate / peak));
        println!("assign {:>8}: {rate:.1} Gop/s on one thread{ratio}", kernels.name());
    }
    Ok(())
}

/// Gop/s of `vpdpbusd` from registers on one thread; `None` without the instruction.
#[cfg(target_arch = "x86_64")]
fn integer_peak() -> Option<f64> {
    use std::arch::x86_64::{_mm512_add_epi32, _mm512_dpbusd_epi32, _mm512_reduce_add_epi32, _mm512_set1_epi32};
    const TURNS: usize = 2_000_000;
    #[target_feature(enable = "avx512f,avx512vnni")]
    fn turns() -> i32 {
        let u = _mm512_set1_epi32(std::hint::black_box(0x0102_0304));
        let q = _mm512_set1_epi32(std::hint::black_box(0x0101_0101));
        let mut sums = [_mm512_set1_epi32(0); 16];
        for _ in 0..TURNS {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, u, q);
            }
        }
        _mm512_reduce_add_epi32(sums.into_iter().fold(u, |a, b| _mm512_add_epi32(a, b)))
    }
    if !(is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni")) {
        return None;
    }
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        // SAFETY: the CPU has the instructions, looked up above.
        std::hint::black_box(unsafe { turns() });
        best = best.min(start.elapsed().as_secs_f64());
    }
    Some(TURNS as f64 * 16.0 * 128.0 / best / 1e9)
}

#[cfg(not(target_arch = "x86_64"))]
fn integer_peak() -> Option<f64> {
    None
}

/// CPU time of this process, in steps of 10 ms: steadier than the wall on a shared machine. NaN where /proc is
/// missing.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    if ticks.len() == 2 { (ticks[0] + ticks[1]) / 100.0 } else { f64::NAN }
}

fn mixture(n: usize, dim: usize, centres: usize) -> Vec<f32> {
    let mut rng = Rng::new(7);
    // The sum of 4 uniform numbers is near enough to a Gaussian.
    let mut gauss = move || (0..4).map(|_| rng.unit_f32() - 0.5).sum::<f32>();
    let middles: Vec<f32> = (0..centres * dim).map(|_| gauss()).collect();
    let mut rng = Rng::new(8);
    (0..n)
        .flat_map(|_| (rng.below(centres) * dim..).take(dim).collect::<Vec<_>>())
        .map(|i| middles[i] + gauss())
        .collect()
}
