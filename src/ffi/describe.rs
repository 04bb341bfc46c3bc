//! Describe: what an index is, how it is trained and how large it is

use super::error::{cyborg_error, cyborg_status};
use super::guard;
use super::index::{
    CYBORG_QUANTIZER_AUTO, cyborg_id_kind, cyborg_index, cyborg_metric, cyborg_quantizer, cyborg_vector_precision,
};
use super::read::{Out, OutStruct, Sized32, slice_mut};
use crate::engine::{IndexInfo, IndexStats};
use crate::error::Error;
use crate::types::QuantizerSpec;

/// Points of a recall curve in cyborg_index_info.
pub const CYBORG_RECALL_POINTS: usize = 16;

/// Configuration and state of an index. Set struct_size (or start from CYBORG_INDEX_INFO_INIT) before passing it in.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct cyborg_index_info {
    /// sizeof(cyborg_index_info).
    pub struct_size: u32,
    /// Elements of a vector, 0 while not known.
    pub dimension: u32,
    /// Metric.
    pub metric: cyborg_metric,
    /// Quantizer of the present lists; FLAT while untrained.
    pub quantizer: cyborg_quantizer,
    /// Its bits: of a dimension for SQ and RABITQ, of a part for PQ; 32 or 16 for FLAT.
    pub quantizer_bits: u32,
    /// Kind of the ids.
    pub id_kind: cyborg_id_kind,
    /// 1 when the index is trained.
    pub trained: u32,
    /// 1 while a training job is queued or running.
    pub training: u32,
    /// 1 when an upsert may start training.
    pub auto_train: u32,
    /// Inverted lists, 1 when untrained.
    pub n_lists: u32,
    /// Lists that would reach target_recall for top_k 10 if every query looked into the same number. A query with n_probes
    /// 0 and top_k up to 10 decides for itself: it looks into up to 3 times as many where it needs them, and fewer on
    /// average. Under INNER_PRODUCT and with RABITQ all look into so many.
    pub auto_probes: u32,
    /// As configured, or the default.
    pub target_recall: f32,
    /// Items.
    pub count: u64,
    /// How often the index was trained; 0 = never.
    pub generation: u64,
    /// Number of the last commit.
    pub sequence: u64,
    /// As configured, or the default.
    pub retrain_threshold: u64,
    /// As configured.
    pub seed: u64,
    /// Quantizer as configured: AUTO where the library chooses.
    pub configured_quantizer: cyborg_quantizer,
    /// Its bits as configured, or the default; 0 for AUTO and FLAT.
    pub configured_bits: u32,
    /// pq_m as configured, 0 = automatic.
    pub configured_m: u32,
    /// pq_rotation as configured.
    pub configured_rotation: u32,
    /// Parts of a vector in the present lists; 0 unless their quantizer is PQ.
    pub quantizer_m: u32,
    /// 1 when the vectors of the present lists were rotated by PQ.
    pub quantizer_rotation: u32,
    /// How vectors are stored.
    pub vector_precision: cyborg_vector_precision,
    /// Bytes of the code of one vector in the present lists; 0 while the dimension is not known.
    pub code_bytes: u32,
    /// Held-out items used as queries when the recall curve of the present lists was measured; 0 = none.
    pub recall_queries: u32,
    /// 0.
    pub reserved: u32,
    /// Up to 16 points of the recall curve, see cyborg_index_recall_curve(): lists looked into, rising; 0 past the last.
    pub recall_at_10_probes: [u32; CYBORG_RECALL_POINTS],
    /// Share of the 10 nearest that lie in so many lists, rising.
    pub recall_at_10: [f32; CYBORG_RECALL_POINTS],
    /// The same for the 100 nearest: lists looked into.
    pub recall_at_100_probes: [u32; CYBORG_RECALL_POINTS],
    /// The same for the 100 nearest: their share.
    pub recall_at_100: [f32; CYBORG_RECALL_POINTS],
}

// SAFETY: integers, floats and arrays of them, size first.
unsafe impl Sized32 for cyborg_index_info {}

/// Sizes and counters of an index. Set struct_size (or start from CYBORG_INDEX_STATS_INFO_INIT) before passing it in.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct cyborg_index_stats_info {
    /// sizeof(cyborg_index_stats_info).
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Items.
    pub count: u64,
    /// Rows of replaced or deleted items that no merge has dropped yet.
    pub tombstones: u64,
    /// Committed batches not merged yet.
    pub deltas: u64,
    /// Items in them.
    pub delta_items: u64,
    /// Merged runs.
    pub runs: u64,
    /// Bytes of the index's objects in the store, those about to be deleted included. Counted anew by each call.
    pub stored_bytes: u64,
    /// Bytes of ids, batches and directories in memory.
    pub resident_bytes: u64,
    /// Bytes of this index in the cache.
    pub cache_bytes: u64,
    /// Cache hits since opening.
    pub cache_hits: u64,
    /// Cache misses of the present runs; a merge or training starts them anew.
    pub cache_misses: u64,
    /// Largest list divided by the mean list length, in thousandths; 0 when untrained.
    pub largest_list_permille: u64,
    /// n_lists * sum(length^2) / count^2, in thousandths (1000 = all lists alike); 0 when untrained.
    pub balance_permille: u64,
    /// Items written or deleted in the life of the index.
    pub writes: u64,
    /// What writes was when the recall curve, which chooses automatic probes, was measured; 0 when untrained, and in an
    /// index made from a model until its own was measured. It is measured in training, and again in the background when
    /// more than a quarter of the present items, and 1000 at least, were written or deleted since.
    pub curve_writes: u64,
    /// Queries the recall curve was measured with; 0 = it was not, and automatic probes look into all lists.
    pub curve_queries: u64,
}

// SAFETY: integers, size first.
unsafe impl Sized32 for cyborg_index_stats_info {}

/// Reads the configuration and state of an index.
/// Statuses: common, INVALID_ARGUMENT, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_describe(
    index: *const cyborg_index,
    out_info: *mut cyborg_index_info,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(index, "index", err, |h| {
        // SAFETY: NULL or the caller's struct.
        let out = unsafe { OutStruct::new(out_info, "out_info") }?;
        out.set(info(&h.index.describe()?));
        Ok(())
    })
}

fn info(i: &IndexInfo) -> cyborg_index_info {
    let bits = match i.coded {
        QuantizerSpec::Flat => 8 * i.vector_precision.bytes() as u32,
        other => other.bits().into(),
    };
    let (m, rotation) = parts(i.coded);
    let (configured_m, configured_rotation) = i.quantizer.map_or((0, 0), parts);
    let (recall_at_10_probes, recall_at_10) = summary(&i.recall.at_10);
    let (recall_at_100_probes, recall_at_100) = summary(&i.recall.at_100);
    cyborg_index_info {
        struct_size: 0,
        dimension: i.dimension,
        metric: i.metric as i32,
        quantizer: i.coded.kind() as i32,
        quantizer_bits: bits,
        id_kind: i.id_kind as i32,
        trained: u32::from(i.trained),
        training: u32::from(i.training),
        auto_train: u32::from(i.auto_train),
        n_lists: i.n_lists,
        auto_probes: i.auto_probes,
        target_recall: i.target_recall,
        count: i.count,
        generation: i.generation,
        sequence: i.sequence,
        retrain_threshold: i.retrain_threshold,
        seed: i.seed,
        configured_quantizer: i.quantizer.map_or(CYBORG_QUANTIZER_AUTO, |q| q.kind() as i32),
        configured_bits: i.quantizer.map_or(0, |q| q.bits().into()),
        configured_m,
        configured_rotation,
        quantizer_m: m,
        quantizer_rotation: rotation,
        vector_precision: i.vector_precision as i32,
        code_bytes: i.code_bytes,
        recall_queries: i.recall.queries,
        reserved: 0,
        recall_at_10_probes,
        recall_at_10,
        recall_at_100_probes,
        recall_at_100,
    }
}

/// Sub-vectors and rotation of PQ, 0 for others.
fn parts(quantizer: QuantizerSpec) -> (u32, u32) {
    match quantizer {
        QuantizerSpec::Pq { m, rotation, .. } => (m, rotation.into()),
        _ => (0, 0),
    }
}

/// Some points of a curve, first and last included, evenly by their place: the curve is denser where probes are few.
fn summary(curve: &[(u32, f32)]) -> ([u32; CYBORG_RECALL_POINTS], [f32; CYBORG_RECALL_POINTS]) {
    let (mut probes, mut recalls) = ([0; CYBORG_RECALL_POINTS], [0.0; CYBORG_RECALL_POINTS]);
    let n = curve.len().min(CYBORG_RECALL_POINTS);
    for i in 0..n {
        let at = if n < 2 { 0 } else { i * (curve.len() - 1) / (n - 1) };
        (probes[i], recalls[i]) = curve[at];
    }
    (probes, recalls)
}

/// Reads the recall curve of the present lists, measured by training, or anew in the background after many writes (see
/// curve_writes of cyborg_index_stats_info): how much of the true k nearest neighbours lie in the lists that a query
/// with so many n_probes looks into. k is 10 or 100. Writes n points, rising, into out_probes and out_recalls, which
/// have room for capacity, and n into out_count; n is 0 while untrained and where too few items were there to measure.
/// With capacity 0 the arrays may be NULL and n alone is told. What codes lose comes on top, and rerank makes up for it.
/// Statuses: common, INVALID_ARGUMENT, BUFFER_TOO_SMALL (needed, got), store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_recall_curve(
    index: *const cyborg_index,
    k: u32,
    out_probes: *mut u32,
    out_recalls: *mut f32,
    capacity: usize,
    out_count: *mut usize,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(index, "index", err, |h| {
        // SAFETY: NULL, or the caller's places for `capacity` numbers and one.
        let (probes, recalls, count) = unsafe {
            (
                slice_mut(out_probes, capacity, "out_probes")?,
                slice_mut(out_recalls, capacity, "out_recalls")?,
                Out::new(out_count, "out_count")?,
            )
        };
        let recall = h.index.describe()?.recall;
        let curve = match k {
            10 => recall.at_10,
            100 => recall.at_100,
            _ => return Err(Error::invalid("k", k, "10 or 100")),
        };
        if capacity > 0 && capacity < curve.len() {
            let (needed, got) = (curve.len() as u64, capacity as u64);
            return Err(Error::BufferTooSmall { what: "out_probes", needed, got });
        }
        for ((point, probes), recall) in curve.iter().zip(probes).zip(recalls) {
            (*probes, *recall) = *point;
        }
        count.set(curve.len());
        Ok(())
    })
}

/// Reads the sizes and counters of an index.
/// Statuses: common, INVALID_ARGUMENT, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_stats(
    index: *const cyborg_index,
    out_stats: *mut cyborg_index_stats_info,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(index, "index", err, |h| {
        // SAFETY: NULL or the caller's struct.
        let out = unsafe { OutStruct::new(out_stats, "out_stats") }?;
        out.set(stats(&h.index.stats()?));
        Ok(())
    })
}

fn stats(s: &IndexStats) -> cyborg_index_stats_info {
    cyborg_index_stats_info {
        struct_size: 0,
        reserved: 0,
        count: s.count,
        tombstones: s.tombstones,
        deltas: s.deltas,
        delta_items: s.delta_items,
        runs: s.runs,
        stored_bytes: s.stored_bytes,
        resident_bytes: s.resident_bytes,
        cache_bytes: s.cache_bytes,
        cache_hits: s.cache_hits,
        cache_misses: s.cache_misses,
        largest_list_permille: s.largest_list_permille,
        balance_permille: s.balance_permille,
        writes: s.writes,
        curve_writes: s.curve_writes,
        curve_queries: s.curve_queries,
    }
}

/// Counts the items of an index.
/// Statuses: common, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_count(
    index: *const cyborg_index,
    out_count: *mut u64,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(index, "index", err, |h| {
        // SAFETY: NULL or the caller's place for a number.
        let out = unsafe { Out::new(out_count, "out_count") }?;
        out.set(h.index.count()?);
        Ok(())
    })
}
