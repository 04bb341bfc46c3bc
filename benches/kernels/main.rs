//! Rates of the distance kernels, level by level, as a share of what the machine can do.
//!
//! The limits (multiply-adds in registers, bytes read from memory) are measured in the same run, interleaved with the
//! kernels, and every figure is the best of several rounds: other users of the machine only ever slow a round down.
//! Arguments: a number is the dimension (default 128), a word keeps only the kernels whose line holds it:
//! `cargo bench --bench kernels -- 384 assign`.

mod limits;
mod lists;

use std::hint::black_box;
use std::time::{Duration, Instant};

use cyborg::buffer::Buffer;
use cyborg::kernels::{Best, CodeBlocks, CodeQuery, Kernels, LANES, Level, Panels, at, code_bytes, group_dims};
use cyborg::rng::Rng;
use cyborg::types::Similarity;

/// Rounds each figure is the best of.
const ROUNDS: usize = 9;
/// Least time of one sample.
const SAMPLE: Duration = Duration::from_millis(2);
/// Bytes that stay in L2 beside the query.
const CACHED: usize = 256 << 10;
/// Bytes walked through in turn, so that a piece has left the caches before it is read again.
const MEMORY: usize = 1 << 30;
/// The piece of them read by one call.
const PIECE: usize = 16 << 20;
/// Bytes of the rows that are assigned, as many as a training sample has.
const ROWS: usize = 128 << 20;
/// Centroids of the assignment.
const CENTROIDS: usize = 2304;

#[derive(Clone, Copy, PartialEq)]
enum Limit {
    Floats,
    Bytes,
    Memory,
    Cache,
    None,
}

/// One figure: does some work and gives how much, in multiply-adds or bytes.
struct Case<'a> {
    name: String,
    limit: Limit,
    unit: &'static str,
    /// Bytes read for each unit of work, where both are worth knowing.
    bytes: Option<f64>,
    work: Box<dyn FnMut() -> u64 + 'a>,
    best: f64,
}

fn main() {
    let arguments = || std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    let dim = arguments().find_map(|arg| arg.parse().ok()).unwrap_or(128usize);
    let words: Vec<String> = arguments().filter(|arg| arg.parse::<usize>().is_err()).collect();
    let memory = random_floats(MEMORY);
    let mut cases = limit_cases(&memory);
    let limit_count = cases.len();
    for kernels in Level::ALL.into_iter().filter_map(at) {
        float_cases(kernels, dim, &memory, &mut cases);
        byte_cases(kernels, dim, &memory, &mut cases);
        lists::tile_cases(kernels, dim, &memory, &mut cases);
        lists::sq_cases(kernels, dim, &memory, &mut cases);
        lists::above_cases(kernels, &mut cases);
    }
    let mut place = 0;
    cases.retain(|case| {
        place += 1;
        place <= limit_count || words.iter().all(|word| case.name.contains(word.as_str()))
    });
    for _ in 0..ROUNDS {
        for case in &mut cases {
            case.best = case.best.max(sample(&mut case.work));
        }
    }
    println!("dimension {dim}, best of {ROUNDS} interleaved rounds");
    println!("{:<44} {:>10}  {:<12} of limit", "kernel", "rate", "unit");
    let limits: Vec<(Limit, f64)> = cases[..limit_count].iter().map(|case| (case.limit, case.best)).collect();
    for case in &cases {
        let limit = limits.iter().find(|limit| limit.0 == case.limit);
        let share = limit.map_or(String::new(), |limit| format!("{:6.1} %", case.best / limit.1 * 100.0));
        let bytes = case.bytes.map_or(String::new(), |bytes| format!("{:8.2} GB/s", case.best * bytes / 1e9));
        println!("{:<44} {:>10.2}  {:<12} {share}{bytes}", case.name, case.best / 1e9, case.unit);
    }
    print_ratios(&cases, Level::Portable, Level::Avx2);
}

/// Rates of `level` as a share of those of `other`, for the float kernels that read vectors.
fn print_ratios(cases: &[Case], level: Level, other: Level) {
    let tail =
        |case: &Case, level: Level| case.name.strip_prefix(level.name()).map(|tail| tail.trim_start().to_owned());
    for case in cases.iter().filter(|case| matches!(case.limit, Limit::Cache | Limit::Memory)) {
        let Some(name) = tail(case, level).filter(|name| !name.contains("bits")) else { continue };
        if let Some(with) = cases.iter().find(|case| tail(case, other).as_ref() == Some(&name)) {
            println!("{:<44} {:>10.2}", format!("{} / {}: {name}", level.name(), other.name()), case.best / with.best);
        }
    }
}

/// Work a second of one sample.
fn sample(work: &mut dyn FnMut() -> u64) -> f64 {
    let (start, mut done) = (Instant::now(), 0);
    loop {
        done += work();
        let spent = start.elapsed();
        if spent >= SAMPLE {
            return done as f64 / spent.as_secs_f64();
        }
    }
}

fn limit_cases(memory: &Buffer) -> Vec<Case<'_>> {
    let ((floats, float_name), (bytes, byte_name)) = (limits::float_peak(), limits::byte_peak());
    let mut at = 0;
    let read = move || limits::read(next(memory.bytes(), &mut at, PIECE));
    let cached = || limits::read(&memory.bytes()[..CACHED]);
    vec![
        case(format!("limit: {float_name}"), Limit::Floats, "G madd/s", floats),
        case(format!("limit: {byte_name}"), Limit::Bytes, "G madd/s", bytes),
        case("limit: memory read".into(), Limit::Memory, "GB/s", read),
        case("limit: L2 read".into(), Limit::Cache, "GB/s", cached),
    ]
}

fn float_cases<'a>(kernels: &'static Kernels, dim: usize, memory: &'a Buffer, cases: &mut Vec<Case<'a>>) {
    let query: Vec<f32> = (0..dim).map(|j| j as f32 / dim as f32 - 0.5).collect();
    for (similarity, form) in [(Similarity::Dot, "dot"), (Similarity::L2, "l2")] {
        for (blocks, half, shape) in [
            (false, false, "rows"),
            (true, false, "flat_blocks"),
            (false, true, "rows16"),
            (true, true, "flat16_blocks"),
        ] {
            for (bytes, place, limit) in [(CACHED, "cache", Limit::Cache), (PIECE, "memory", Limit::Memory)] {
                let width = if half { 2 } else { 4 };
                let n = bytes / width / dim / LANES * LANES;
                let (query, mut out, mut at) = (query.clone(), vec![0.0; n], 0);
                let all = if limit == Limit::Memory { memory.bytes() } else { &memory.bytes()[..CACHED] };
                let work = move || {
                    let data = next(all, &mut at, n * dim * width);
                    match (blocks, half) {
                        (true, false) => kernels.flat_blocks(similarity, &query, bytemuck::cast_slice(data), &mut out),
                        (false, false) => kernels.rows(similarity, &query, bytemuck::cast_slice(data), &mut out),
                        (true, true) => kernels.flat16_blocks(similarity, &query, bytemuck::cast_slice(data), &mut out),
                        (false, true) => kernels.rows16(similarity, &query, bytemuck::cast_slice(data), &mut out),
                    }
                    black_box(&mut out);
                    (n * dim * width) as u64
                };
                let name = format!("{:<9} {shape} {form}, {place}", kernels.name());
                cases.push(case(name, limit, "GB/s", work));
            }
        }
    }
}

fn byte_cases<'a>(kernels: &'static Kernels, dim: usize, memory: &'a Buffer, cases: &mut Vec<Case<'a>>) {
    let mut rng = Rng::new(1);
    let padded = dim.next_multiple_of(4);
    let query: Vec<i8> = (0..padded).map(|_| rng.next_u64() as i8).collect();
    for (bytes, place, limit) in [(CACHED, "cache", Limit::Bytes), (PIECE, "memory", Limit::Memory)] {
        for (bits, terms) in [1, 2, 4, 8].into_iter().flat_map(|bits| [(bits, false), (bits, true)]) {
            let stride = code_bytes(dim, bits) + if terms { 64 } else { 0 };
            let n = bytes / stride * LANES;
            let mut query = query.clone();
            query.resize(dim.next_multiple_of(group_dims(bits)), 0);
            let (mut sums, mut out, mut at) = (vec![0; n], vec![0.0; n], 0);
            let all = if limit == Limit::Memory { memory.bytes() } else { &memory.bytes()[..CACHED] };
            let work = move || {
                let blocks = next(all, &mut at, n / LANES * stride);
                match terms {
                    true => {
                        let query = CodeQuery { codes: &query, scale: 0.5, offset: 1.0 };
                        kernels.sq_blocks(bits, &query, CodeBlocks::new(bits, dim, true, blocks), &mut out);
                    }
                    false => kernels.code_blocks(bits, &query, blocks, stride, &mut sums),
                }
                black_box((&mut out, &mut sums));
                if limit == Limit::Memory { (n / LANES * stride) as u64 } else { (n * query.len()) as u64 }
            };
            let shape = if terms { "sq_blocks" } else { "code_blocks" };
            let name = format!("{:<9} {shape} {bits} bits, {place}", kernels.name());
            let unit = if limit == Limit::Memory { "GB/s" } else { "G madd/s" };
            cases.push(case(name, limit, unit, work));
        }
    }
    for centroids in [CENTROIDS, 64] {
        for two in [false, true] {
            let mut panels = Panels::new(centroids, dim).expect("panels");
            for p in 0..centroids {
                let centroid: Vec<i8> = (0..dim).map(|_| rng.next_u64() as i8).collect();
                panels.set(p, &centroid, -(p as i32));
            }
            let n = if kernels.level() == Level::Scalar { 12 } else { 480 };
            let mut turn = 0;
            let (mut best, mut pairs) = (vec![Best::default(); n], vec![[Best::default(); 2]; n]);
            let all = ROWS / padded;
            // Rows taken here and there, as those of a list are.
            let index: Vec<u32> = (0..all / n * n).map(|i| ((i * 1009) % all) as u32).collect();
            let work = move || {
                let index = &index[turn * n..][..n];
                turn = (turn + 1) % (all / n);
                match two {
                    true => kernels.assign2(memory.bytes(), padded, index, &panels, &mut pairs),
                    false => kernels.assign(memory.bytes(), padded, index, &panels, &mut best),
                }
                black_box((&mut best, &mut pairs));
                (n * centroids * dim) as u64
            };
            let name =
                format!("{:<9} {}, {centroids} centroids", kernels.name(), if two { "assign2" } else { "assign" });
            cases.push(case(name, Limit::Bytes, "G madd/s", work));
        }
    }
}

fn case<'a>(name: String, limit: Limit, unit: &'static str, work: impl FnMut() -> u64 + 'a) -> Case<'a> {
    Case { name, limit, unit, bytes: None, work: Box::new(work), best: 0.0 }
}

/// The next `len` bytes of `all`, from the start again at its end.
fn next<'a>(all: &'a [u8], at: &mut usize, len: usize) -> &'a [u8] {
    if *at + len > all.len() {
        *at = 0;
    }
    let piece = &all[*at..*at + len];
    *at += len;
    piece
}

/// Floats in (-1, 1); as bytes they are as good as any.
fn random_floats(bytes: usize) -> Buffer {
    let mut buffer = Buffer::zeroed(bytes, "bench data").expect("memory for the bench");
    let mut rng = Rng::new(7);
    let seed: Vec<f32> = (0..1 << 16).map(|_| rng.unit_f32() * 2.0 - 1.0).collect();
    for piece in buffer.f32s_mut().chunks_mut(seed.len()) {
        piece.copy_from_slice(&seed[..piece.len()]);
    }
    buffer
}
