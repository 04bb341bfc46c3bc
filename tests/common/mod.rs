//! What the tests of data and threads share: places for a db, items made from numbers, brute force, words.
#![allow(dead_code, reason = "every test uses its own part")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cyborg::engine::*;
use cyborg::error::Result;
use cyborg::exec::Watch;
use cyborg::rng::Rng;
use cyborg::types::{Metric, QuantizerSpec};

pub const KEY: [u8; 32] = [7; 32];

/// Every scheme with every number of bits that codes in a way of its own.
pub const QUANTIZERS: [QuantizerSpec; 12] = [
    QuantizerSpec::Flat,
    QuantizerSpec::SQ8,
    QuantizerSpec::SQ4,
    QuantizerSpec::SQ2,
    QuantizerSpec::Pq { m: 0, bits: 4, rotation: false },
    QuantizerSpec::Pq { m: 0, bits: 8, rotation: false },
    QuantizerSpec::Pq { m: 0, bits: 4, rotation: true },
    QuantizerSpec::RaBitQ { bits: 1 },
    QuantizerSpec::RaBitQ { bits: 2 },
    QuantizerSpec::RaBitQ { bits: 3 },
    QuantizerSpec::RaBitQ { bits: 4 },
    QuantizerSpec::RaBitQ { bits: 8 },
];

/// `x` rounded to float16, halves to even, by the definition of the format.
pub fn half(x: f32) -> f32 {
    // 10 bits behind the leading one, 24 bits behind the point at least.
    let step = f64::from(x.abs()).log2().floor().max(-14.0) - 10.0;
    ((f64::from(x) / step.exp2()).round_ties_even() * step.exp2()) as f32
}

/// How much longer than usual long tests take: `CYBORG_SOAK`, 1 unless set (`make soak`).
pub fn soak() -> f64 {
    std::env::var("CYBORG_SOAK").ok().and_then(|s| s.parse().ok()).unwrap_or(1.0)
}

/// Where a db lies; a folder is removed in the end.
pub struct Place {
    pub url: String,
    folder: Option<PathBuf>,
}

impl Place {
    pub fn memory() -> Self {
        Self { url: "memory:".into(), folder: None }
    }

    pub fn file() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("cyborg-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        Self { url: format!("file:{}", folder.join("db").display()), folder: Some(folder) }
    }

    pub fn is_file(&self) -> bool {
        self.folder.is_some()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// A db of one thread whose training worker says so when a job begins, and stops there until it is let go.
pub fn held(url: &str) -> (Arc<Db>, Receiver<()>, Sender<()>) {
    let (tell, told) = channel();
    let (go, wait) = channel();
    let wait = Mutex::new(wait);
    let log: LogSink = Arc::new(move |_, target, message| {
        if (target, message) == ("train", "training begins") && tell.send(()).is_ok() {
            let _ = wait.lock().unwrap().recv_timeout(Duration::from_secs(60));
        }
    });
    let db = Db::open(url, DbOptions { threads: 1, log: Some(log), ..DbOptions::default() }).unwrap();
    (db, told, go)
}

/// Byte strings for a [`Strings`] column.
#[derive(Default)]
pub struct Column {
    data: Vec<u8>,
    offsets: Vec<u64>,
}

impl Column {
    pub fn new<T: AsRef<[u8]>>(strings: impl IntoIterator<Item = T>) -> Self {
        let mut c = Self { data: Vec::new(), offsets: vec![0] };
        for s in strings {
            c.data.extend_from_slice(s.as_ref());
            c.offsets.push(c.data.len() as u64);
        }
        c
    }

    pub fn strings(&self) -> Strings<'_> {
        Strings::new("column", &self.data, &self.offsets).unwrap()
    }
}

/// Vectors around 32 centres, as real data is.
pub fn clustered(n: usize, dim: usize, seed: u64) -> Vec<f32> {
    let (mut rng, mut centre) = (Rng::new(seed), Rng::new(99));
    let centres: Vec<f32> = (0..32 * dim).map(|_| centre.unit_f32() * 4.0 - 2.0).collect();
    let mut out = Vec::with_capacity(n * dim);
    for _ in 0..n {
        let c = rng.below(32) * dim;
        out.extend((0..dim).map(|j| centres[c + j] + rng.unit_f32() - 0.5));
    }
    out
}

/// Upserts `vectors` as items `first..` without metadata or contents.
pub fn upsert(index: &Index, first: u64, vectors: &[f32], dim: usize) -> Result<UpsertResult> {
    let ids: Vec<u64> = (first..first + (vectors.len() / dim) as u64).collect();
    let ids = Ids::U64(&ids);
    let batch = Batch { dimension: dim as u32, vectors, ids, metadata: None, contents: None, contents_kinds: None };
    index.upsert(&batch, &Watch::NONE)
}

/// Ids of the results of query `q`, for ids that are numbers.
pub fn ids_of(r: &Results, q: usize) -> Vec<u64> {
    (r.starts[q]..r.starts[q + 1]).map(|i| u64::from_le_bytes(r.ids.get(i).try_into().unwrap())).collect()
}

/// All ids of the index, sorted.
pub fn list_all(index: &Index) -> Vec<Vec<u8>> {
    let mut cursor = index.list_ids().unwrap();
    let mut ids = Vec::new();
    loop {
        let page = cursor.next_page(97).unwrap();
        if page.is_empty() {
            break;
        }
        ids.extend((0..page.len()).map(|i| page.get(i).to_vec()));
    }
    ids.sort_unstable();
    ids
}

/// The distance of two vectors, in float64.
pub fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    let square = || a.iter().zip(b).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum::<f64>();
    match metric {
        Metric::SquaredEuclidean => square(),
        Metric::Euclidean => square().sqrt(),
        Metric::Cosine => 1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt(),
        Metric::InnerProduct => -dot(a, b),
    }
}

/// The 20,000 words of `tests/data/words.bin`: their vectors, row by row, of 100 dimensions.
pub fn words() -> Vec<f32> {
    let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/words.bin")).unwrap();
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!((&bytes[..8], u32_at(8)), (&b"CYBWORDS"[..], 1));
    let (count, dim) = (u32_at(12), u32_at(16));
    let (scales, codes) = (24, 24 + 4 * count);
    let mut out = Vec::with_capacity(count * dim);
    for i in 0..count {
        let scale = f32::from_bits(u32_at(scales + 4 * i) as u32);
        out.extend(bytes[codes + i * dim..codes + (i + 1) * dim].iter().map(|&c| f32::from(c as i8) * scale));
    }
    out
}
