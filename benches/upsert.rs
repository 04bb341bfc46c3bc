//! Upserts into a trained index over `memory:`, against the bare work that cannot be left out, and what sealing costs.
//!
//! `cargo bench --bench upsert [-- DIR [n]]`: DIR holds `base.npy` (make it with benches/compare/dataset.py),
//! `n` is the most vectors to use; without it a seeded mixture of Gaussians of 100 and one of 384
//! dimensions. The quantizer is the one that AUTO takes, the metric cosine, every item new.
//!
//! *Limit*: the same batches, as the caller has them, assigned to as many centroids of the same data
//! (`Centroids::assign`), grouped by list and encoded into blocks (`Quantizer::encode`), on as many threads; no ids, no
//! sealing, no copy kept, no snapshot. Upsert and limit take turns batch by batch; the ratio is of the medians.
//! Goal at 1,000: 0.7.
//!
//! *Sealing overhead*: time of an upsert over the time it would take if bytes were copied where they are sealed. A
//! provider that copies does not exist in the library and must not, so the second is found from outside: T the median
//! of an upsert; S of sealing an object of the delta's length (`Vault::seal`) and a head of the manifest's length
//! (`Vault::commit` without objects); C of copying the same bytes into fresh memory. The overhead is T / (T - S + C),
//! rather too high, since the commit of a head does more than seal it. Goal at 1,000: 1.3.
//!
//! *Stages* are the bare parts, each timed alone, in turns with the rest; what they leave of the upsert is ids,
//! gathering, snapshots and threads. The first figures are of upserts between merges (the deltas are folded outside
//! of the time), those *with merges* of an unbroken row of upserts with the library merging beside, as users have it.

#[path = "data/mod.rs"]
mod data;

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use cyborg::crypto::{Backend, FrameSize, Kind, ObjectRef, Vault};
use cyborg::engine::{Batch, Db, DbOptions, Ids, Index, IndexOptions, JobState, TrainOptions};
use cyborg::exec::{Exec, Progress, Watch};
use cyborg::ivf::Centroids;
use cyborg::kernels::{self, LANES};
use cyborg::kmeans::{Params, cluster};
use cyborg::quant::{Quantizer, Sample};
use cyborg::rng::Rng;
use cyborg::types::{IdKind, Metric, QuantizerSpec, Similarity};

const KEY: [u8; 32] = [7; 32];
/// Batch sizes, each with the upserts between two foldings: below what makes a merge due.
const SIZES: [(usize, usize); 3] = [(100, 60), (1_000, 30), (10_000, 3)];
/// Foldings.
const WINDOWS: usize = 3;
/// Turns that a figure needs.
const LEAST: usize = 3;
/// Upserts in a row with merges beside.
const IN_A_ROW: usize = 200;
/// Rows a list that the limit's centroids are learned from: enough for lists of a usual size.
const LEARN: usize = 40;
/// Lists encoded by one work item.
const GRAIN: usize = 32;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let most = args.get(1).map_or(usize::MAX, |n| n.parse().expect("n is a number"));
    match args.first() {
        Some(dir) => bench(&mut read(Path::new(dir), most)),
        None => [(130_000, 100), (50_000, 384)].iter().for_each(|&(n, dim)| bench(&mut mixture(n, dim, 400))),
    }
}

struct Data {
    dim: usize,
    rows: Vec<f32>,
    /// Where the next batch begins.
    next: usize,
}

impl Data {
    fn len(&self) -> usize {
        self.rows.len() / self.dim
    }

    /// The next `n` rows, from the front again after the last; no list sees one row much more often than another.
    fn batch(&mut self, n: usize) -> std::ops::Range<usize> {
        if self.next + n > self.len() {
            self.next = 0;
        }
        self.next += n;
        (self.next - n) * self.dim..self.next * self.dim
    }
}

fn bench(data: &mut Data) {
    println!("{} vectors of {} dimensions, cosine, kernels {}", data.len(), data.dim, kernels::best().name());
    println!("threads  batch   upsert/s    limit/s  ratio (goal 0.7)   sealing (goal 1.3)   with merges/s  of limit");
    for threads in [1, 2] {
        let bare = Bare::learn(data, threads);
        for (size, window) in SIZES {
            if turns(data.len(), size, window) >= LEAST {
                measure(data, &bare, threads, size, window);
            }
        }
    }
    println!();
}

/// Turns of a batch size: fewer than make the library measure its recall curve anew, after a quarter of the items.
fn turns(items: usize, size: usize, window: usize) -> usize {
    (WINDOWS * window).min((items / 4 - 1) / size)
}

fn measure(data: &mut Data, bare: &Bare, threads: usize, size: usize, window: usize) {
    let db = Db::open("memory:", DbOptions { threads, ..DbOptions::default() }).unwrap();
    let index = trained(&db, data);
    assert_eq!(index.describe().unwrap().n_lists as usize, bare.centroids.len());
    let mut next_id = data.len() as u64;
    let mut sealing = Sealing::new(data.dim, size, window);
    let mut taken: [Vec<f64>; 8] = std::array::from_fn(|_| Vec::new());
    for turn in 0..turns(data.len(), size, window) {
        if turn % window == 0 {
            index.compact(&Watch::NONE).unwrap();
        }
        let rows = data.batch(size);
        let rows = &data.rows[rows];
        let assigned = bare.assign(rows);
        let times = [
            clocked(|| upsert(&index, rows, data.dim, &mut next_id)),
            clocked(|| drop(black_box(bare.encode(rows, &bare.assign(rows))))),
            clocked(|| drop(black_box(normalise(rows, data.dim)))),
            clocked(|| drop(black_box(bare.assign(rows)))),
            clocked(|| drop(black_box(bare.encode(rows, &assigned)))),
            clocked(|| sealing.object()),
            clocked(|| sealing.head()),
            clocked(|| sealing.copy()),
        ];
        taken.iter_mut().zip(times).for_each(|(taken, time)| taken.push(time));
        assert!(index.stats().unwrap().deltas > 0, "a merge ran");
    }
    let [upsert_s, limit, normalise, assign, encode, object, head, copy] = taken.map(median);

    index.compact(&Watch::NONE).unwrap();
    let in_a_row = IN_A_ROW.min(data.len() / 2 / size);
    let start = Instant::now();
    for _ in 0..in_a_row {
        let rows = data.batch(size);
        upsert(&index, &data.rows[rows], data.dim, &mut next_id);
    }
    let with_merges = start.elapsed().as_secs_f64() / in_a_row as f64;

    let rate = |seconds: f64| size as f64 / seconds;
    println!(
        "{threads:>7} {size:>6} {:>10.0} {:>10.0} {:>6.2} {:>29.2} {:>18.0} {:>9.2}",
        rate(upsert_s),
        rate(limit),
        limit / upsert_s,
        upsert_s / (upsert_s - object - head + copy),
        rate(with_merges),
        limit / with_merges
    );
    let [upsert_us, normalise, assign, encode, object, head, copy] =
        [upsert_s, normalise, assign, encode, object, head, copy].map(|s| s * 1e6);
    println!(
        "        us of one: upsert {upsert_us:.0} = intake {normalise:.0} + assign {assign:.0} + encode {encode:.0} + seal \
         {object:.0} + commit {head:.0} + rest {:.0}; a copy of the bytes sealed {copy:.0}",
        upsert_us - normalise - assign - encode - object - head
    );
}

/// Seconds of `work`.
fn clocked(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// An index that holds all of `data`, trained.
fn trained(db: &Arc<Db>, data: &Data) -> Arc<Index> {
    let options = IndexOptions {
        dimension: data.dim as u32,
        metric: Metric::Cosine,
        id_kind: IdKind::U64,
        auto_train_disabled: true,
        ..IndexOptions::default()
    };
    let index = db.create_index("bench", &KEY, &options).unwrap();
    let mut id = 0;
    for rows in data.rows.chunks(20_000 * data.dim) {
        upsert(&index, rows, data.dim, &mut id);
    }
    let job = index.train(&TrainOptions::default()).unwrap();
    assert_eq!(job.wait(None), JobState::Trained, "{:?}", job.error());
    index
}

fn upsert(index: &Index, rows: &[f32], dim: usize, next_id: &mut u64) {
    let ids: Vec<u64> = (*next_id..*next_id + (rows.len() / dim) as u64).collect();
    *next_id += ids.len() as u64;
    let batch = Batch {
        dimension: dim as u32,
        vectors: rows,
        ids: Ids::U64(&ids),
        metadata: None,
        contents: None,
        contents_kinds: None,
    };
    index.upsert(&batch, &Watch::NONE).unwrap();
}

/// What is left of intake without its checks: vectors copied and brought to length 1.
fn normalise(rows: &[f32], dim: usize) -> Vec<f32> {
    let mut out = rows.to_vec();
    for row in out.chunks_exact_mut(dim) {
        let scale = 1.0 / kernels::best().dot(row, row).sqrt();
        row.iter_mut().for_each(|x| *x *= scale);
    }
    out
}

/// The limit: centroids and quantizer as the index has them, and nothing else.
struct Bare {
    exec: Exec,
    centroids: Centroids,
    quantizer: Quantizer,
}

impl Bare {
    fn learn(data: &Data, threads: usize) -> Self {
        let (dim, n) = (data.dim, data.len());
        let (exec, watch) = (Exec::new(threads), Watch::NONE);
        let k = cyborg::kmeans::auto_lists(n as u64) as usize;
        let sample = normalise(&data.rows[..n.min(k * LEARN) * dim], dim);
        let params = Params { k, max_iters: 100, tolerance: 1e-6, seed: 1, spherical: true };
        let found = cluster(&sample, dim, &params, &exec, &watch, &Progress::default()).unwrap();
        let centroids = Centroids::new(dim, found.centroids).unwrap();
        let spec = QuantizerSpec::automatic(dim as u32, n as u64, Similarity::Dot);
        let fit = Sample {
            rows: &sample,
            lists: &found.assignment,
            centroids: &centroids,
            seed: 1,
            exec: &exec,
            watch: &watch,
        };
        let quantizer = Quantizer::train(spec, Similarity::Dot, &fit).unwrap();
        Self { exec, centroids, quantizer }
    }

    fn assign(&self, rows: &[f32]) -> Vec<u32> {
        let mut lists = vec![0; rows.len() / self.centroids.dim()];
        self.centroids.assign(rows, &self.exec, &mut lists).unwrap();
        lists
    }

    /// Blocks of all lists that `rows` fall into.
    fn encode(&self, rows: &[f32], lists: &[u32]) -> Vec<Vec<u8>> {
        let dim = self.centroids.dim();
        let mut order: Vec<u32> = (0..lists.len() as u32).collect();
        order.sort_unstable_by_key(|&i| (lists[i as usize], i));
        let groups: Vec<&[u32]> = order.chunk_by(|&a, &b| lists[a as usize] == lists[b as usize]).collect();
        let work: Vec<&[&[u32]]> = groups.chunks(GRAIN).collect();
        self.exec.map(work.len(), |i| {
            let blocks = |group: &[u32]| group.len().div_ceil(LANES) * self.quantizer.block_bytes();
            let mut out = vec![0; work[i].iter().map(|group| blocks(group)).sum()];
            let mut gathered = Vec::new();
            let mut at = 0;
            for group in work[i] {
                gathered.clear();
                group.iter().for_each(|&row| gathered.extend_from_slice(&rows[row as usize * dim..][..dim]));
                let centroid = self.centroids.row(lists[group[0] as usize] as usize);
                self.quantizer.encode(centroid, &gathered, 0, &mut out[at..]);
                at += blocks(group);
            }
            out
        })
    }
}

/// What an upsert seals, sealed alone.
struct Sealing {
    vault: Vault,
    frame: FrameSize,
    delta: Vec<u8>,
    manifest: Vec<u8>,
}

impl Sealing {
    /// For batches of `size` and manifests as they are on the mean of a window: two runs, half of the deltas.
    fn new(dim: usize, size: usize, window: usize) -> Self {
        let vault = Vault::create(&Backend::open("memory:", false).unwrap(), "bench", &KEY, b"").unwrap();
        let delta = vec![5; 29 + size * (dim * 4 + 8)];
        let frame = match delta.len() {
            0..0x1_0000 => FrameSize::K4,
            0x1_0000..0x10_0000 => FrameSize::K16,
            _ => FrameSize::K64,
        };
        Self { vault, frame, delta, manifest: vec![6; 80 + (2 + window / 2) * ObjectRef::ENCODED_LEN] }
    }

    fn object(&self) {
        black_box(self.vault.seal(Kind::Delta, self.frame, &self.delta).unwrap());
    }

    fn head(&mut self) {
        self.vault.commit(&self.manifest, vec![], &[]).unwrap();
    }

    fn copy(&self) {
        black_box((self.delta.clone(), self.manifest.clone()));
    }
}

fn read(dir: &Path, most: usize) -> Data {
    let (dim, rows) = data::npy(&dir.join("base.npy"), most);
    Data { dim, rows, next: 0 }
}

fn mixture(n: usize, dim: usize, centres: usize) -> Data {
    let mut rng = Rng::new(7);
    // The sum of 4 uniform numbers is near enough to a Gaussian.
    let gauss = |rng: &mut Rng| (0..4).map(|_| rng.unit_f32() - 0.5).sum::<f32>();
    let middles: Vec<f32> = (0..centres * dim).map(|_| gauss(&mut rng)).collect();
    let mut rows = Vec::with_capacity(n * dim);
    for _ in 0..n {
        let middle = rng.below(centres) * dim;
        (middle..middle + dim).for_each(|i| rows.push(middles[i] + gauss(&mut rng)));
    }
    Data { dim, rows, next: 0 }
}
