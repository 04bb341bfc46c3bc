//! Search: the nearest items
//!
//! A query never waits for writers or training. Fewer than top_k items is no error. Results come nearest first, equally
//! near ones in the order of their ids (numbers by value). Which of several equally near items stand at the very end of a
//! list cut off by top_k may change with a merge or a training.

use std::ffi::c_char;

use super::call::{Call, cyborg_call};
use super::columns::{CYBORG_INCLUDE_DISTANCE, columns, contents_kind, cyborg_columns, cyborg_contents_kind};
use super::columns::{cyborg_include, id_numbers, string, vector};
use super::error::{cyborg_error, cyborg_status};
use super::guard::{self, quiet};
use super::index::cyborg_index;
use super::read::{Out, OutStruct, Sized32, block, flag, options, slice_mut};
use crate::engine::{QueryOptions, Results};
use crate::error::{Error, Result};

/// Results of a query when top_k is 0.
pub const CYBORG_DEFAULT_TOP_K: u32 = 100;
/// Most results of one query.
pub const CYBORG_MAX_TOP_K: u32 = 10000;

/// How a query is answered; zero in a field = its default. Start from CYBORG_QUERY_OPTIONS_INIT.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct cyborg_query_options {
    /// sizeof(cyborg_query_options).
    pub struct_size: u32,
    /// Most results of each query, 1 to CYBORG_MAX_TOP_K; 0 = CYBORG_DEFAULT_TOP_K.
    pub top_k: u32,
    /// Lists to look into; 0 = as many as this query needs for target_recall. More is slower and finds more; all of them
    /// make the search exact up to the quantizer.
    pub n_probes: u32,
    /// Candidates reranked by their full vectors, as a multiple of top_k. 0 = the quantizer's default; of scalar codes (but
    /// under inner product) those are then left out that are so far behind the results that few results are missed (at
    /// most 1 in 1000 where it was measured). RABITQ always leaves out those whose bounds say that they are no results.
    pub rerank_mult: u32,
    /// Sum of CYBORG_INCLUDE_ bits; 0 = ids only.
    pub include: cyborg_include,
    /// 1 = several queries run on the caller's thread, as a single one always does; 0 or more = on all of the db's.
    pub threads: u32,
    /// 1 = only items at a distance of at most radius. Default 0.
    pub has_radius: u32,
    /// Largest distance, when has_radius is 1.
    pub radius: f32,
    /// Recall that n_probes 0 aims at, above 0 and below 1; 0 = the index's target_recall. What the quantizer usually loses
    /// with its default rerank_mult is made up for by more lists.
    pub target_recall: f32,
}

// SAFETY: integers and a float, size first.
unsafe impl Sized32 for cyborg_query_options {}

/// Work done for one query. Set struct_size (or start from CYBORG_QUERY_STATS_INIT) before passing it in.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct cyborg_query_stats {
    /// sizeof(cyborg_query_stats).
    pub struct_size: u32,
    /// Lists looked into.
    pub lists_probed: u32,
    /// Vectors scored by their codes.
    pub vectors_scanned: u64,
    /// Bytes decrypted. What a batch decrypts once for several of its queries counts for the first of them.
    pub bytes_opened: u64,
    /// Candidates reranked by their full vectors.
    pub reranked: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: integers, size first.
unsafe impl Sized32 for cyborg_query_stats {}

/// Results of one or more queries. You own it and free it with cyborg_results_free().
/// Belongs to one thread at a time; outlives every handle.
pub struct cyborg_results {
    results: Results,
    numbers: Option<Vec<u64>>,
    has_distances: bool,
}

impl cyborg_results {
    /// Row of result `rank` of `query`.
    fn row(&self, query: usize, rank: usize) -> Option<usize> {
        let starts = &self.results.starts;
        let (start, end) = (*starts.get(query)?, *starts.get(query.checked_add(1)?)?);
        start.checked_add(rank).filter(|&row| row < end)
    }
}

fn query_options(o: &cyborg_query_options) -> Result<QueryOptions> {
    if o.top_k > CYBORG_MAX_TOP_K {
        return Err(Error::invalid("top_k", o.top_k, "1 to 10,000, or 0 for 100"));
    }
    Ok(QueryOptions {
        top_k: if o.top_k == 0 { CYBORG_DEFAULT_TOP_K } else { o.top_k },
        n_probes: o.n_probes,
        rerank_mult: o.rerank_mult,
        include: o.include,
        radius: o.radius,
        has_radius: flag(o.has_radius, "has_radius")?,
        threads: o.threads,
        target_recall: o.target_recall,
    })
}

/// Finds the items nearest to each of n_queries vectors of dimension finite values, one after the other in queries.
/// options and call may be NULL. Free the results with cyborg_results_free().
/// Statuses: common, INVALID_ARGUMENT, DIMENSION_MISMATCH, UNSUPPORTED, CANCELLED, TIMEOUT, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_query(
    index: *mut cyborg_index,
    queries: *const f32,
    n_queries: usize,
    dimension: u32,
    options: *const cyborg_query_options,
    call: *const cyborg_call,
    out_results: *mut *mut cyborg_results,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    // SAFETY: NULL or the caller's place for a handle.
    let out = unsafe { Out::handle(out_results, "out_results") };
    guard::on(index, "index", err, |h| {
        // SAFETY: NULL, or what the manual asks for.
        let (queries, options, call) = unsafe {
            let queries = block(queries, n_queries, dimension, "queries")?;
            (queries, query_options(&self::options(options, "options")?)?, Call::new(call)?)
        };
        let out = out?;
        let results = h.index.query(queries, n_queries, dimension, &options, &call.watch)?;
        let numbers = id_numbers(results.id_kind, &results.ids);
        let has_distances = options.include & CYBORG_INCLUDE_DISTANCE != 0;
        out.give(cyborg_results { results, numbers, has_distances });
        Ok(())
    })
}

/// Like cyborg_index_query(), for an index of CYBORG_ID_KIND_U64 and without allocating: the results of query q are
/// written from position q * top_k of out_ids and out_distances (n_queries x top_k elements each; out_distances may be
/// NULL), their number to out_counts[q] (n_queries elements). Places beyond a query's number are not defined. After an
/// error the contents of all three are not defined. include must be 0 or DISTANCE.
/// Statuses: common, INVALID_ARGUMENT, DIMENSION_MISMATCH, UNSUPPORTED, CANCELLED, TIMEOUT, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_query_into(
    index: *mut cyborg_index,
    queries: *const f32,
    n_queries: usize,
    dimension: u32,
    options: *const cyborg_query_options,
    call: *const cyborg_call,
    out_ids: *mut u64,
    out_distances: *mut f32,
    out_counts: *mut u32,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(index, "index", err, |h| {
        // SAFETY: NULL, or what the manual asks for.
        let (queries, options, call) = unsafe {
            let queries = block(queries, n_queries, dimension, "queries")?;
            (queries, query_options(&self::options(options, "options")?)?, Call::new(call)?)
        };
        let places = n_queries.saturating_mul(options.top_k as usize);
        let distances = if out_distances.is_null() { 0 } else { places };
        // SAFETY: as above.
        let (ids, distances, counts) = unsafe {
            let ids = slice_mut(out_ids, places, "out_ids")?;
            let distances = slice_mut(out_distances, distances, "out_distances")?;
            (ids, distances, slice_mut(out_counts, n_queries, "out_counts")?)
        };
        h.index.query_into(queries, n_queries, dimension, &options, ids, distances, counts, &call.watch)
    })
}

/// Number of queries that were answered. NULL gives 0.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_results_queries(results: *const cyborg_results) -> usize {
    // SAFETY: NULL or results that the caller has not freed.
    unsafe { results.as_ref() }.map_or(0, |r| r.results.starts.len().saturating_sub(1))
}

/// Number of results of query `query` (from 0), at most top_k; 0 when there is no such query.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_results_count(results: *const cyborg_results, query: usize) -> usize {
    // SAFETY: NULL or results that the caller has not freed.
    let starts = unsafe { results.as_ref() }.map(|r| r.results.starts.as_slice()).unwrap_or_default();
    query.checked_add(1).and_then(|next| Some(starts.get(next)? - starts.get(query)?)).unwrap_or(0)
}

/// Id of result `rank` (0 = nearest) of query `query`, *out_len (may be NULL) bytes borrowed from the results; numbers
/// as 8 little-endian bytes. NULL when there is no such result.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_results_id(
    results: *const cyborg_results,
    query: usize,
    rank: usize,
    out_len: *mut usize,
) -> *const u8 {
    // SAFETY: NULL or results that the caller has not freed; a length's place or NULL.
    unsafe {
        let found = results.as_ref().and_then(|r| Some((&r.results.ids, r.row(query, rank)?)));
        string(found.map(|f| f.0), found.map_or(0, |f| f.1), out_len)
    }
}

/// Id of a result as a number, 0 when ids are byte strings or there is no such result.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_results_id_u64(results: *const cyborg_results, query: usize, rank: usize) -> u64 {
    // SAFETY: NULL or results that the caller has not freed.
    let results = unsafe { results.as_ref() };
    results.and_then(|r| r.numbers.as_ref()?.get(r.row(query, rank)?).copied()).unwrap_or(0)
}

/// Distance of a result, lower = nearer; NaN when it was not included or there is no such result.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_results_distance(results: *const cyborg_results, query: usize, rank: usize) -> f32 {
    // SAFETY: NULL or results that the caller has not freed.
    let results = unsafe { results.as_ref() }.filter(|r| r.has_distances);
    results.and_then(|r| r.results.distances.get(r.row(query, rank)?).copied()).unwrap_or(f32::NAN)
}

/// Metadata of a result, *out_len (may be NULL) bytes of JSON as they were given, not NUL-terminated, borrowed from the
/// results; length 0 when the item has none, NULL when it was not included or there is no such result.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_results_metadata(
    results: *const cyborg_results,
    query: usize,
    rank: usize,
    out_len: *mut usize,
) -> *const c_char {
    // SAFETY: NULL or results that the caller has not freed; a length's place or NULL.
    unsafe {
        let found = results.as_ref().and_then(|r| Some((r.results.fields.metadata.as_ref()?, r.row(query, rank)?)));
        string(found.map(|f| f.0), found.map_or(0, |f| f.1), out_len).cast()
    }
}

/// Contents of a result, *out_len (may be NULL) bytes as they were given, not NUL-terminated, borrowed from the results;
/// NULL when they were not included or there is no such result. *out_kind (may be NULL) is their kind.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_results_contents(
    results: *const cyborg_results,
    query: usize,
    rank: usize,
    out_len: *mut usize,
    out_kind: *mut cyborg_contents_kind,
) -> *const u8 {
    // SAFETY: NULL or results that the caller has not freed; places for a length and a kind, or NULL.
    unsafe {
        let found = results.as_ref().and_then(|r| Some((&r.results.fields, r.row(query, rank)?)));
        contents_kind(found.map(|f| f.0), found.map_or(0, |f| f.1), out_kind);
        string(found.and_then(|f| f.0.contents.as_ref()), found.map_or(0, |f| f.1), out_len)
    }
}

/// Vector of a result, as many values as the index has dimensions, borrowed from the results; NULL when it was not
/// included or there is no such result.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_results_vector(
    results: *const cyborg_results,
    query: usize,
    rank: usize,
) -> *const f32 {
    // SAFETY: NULL or results that the caller has not freed.
    let found = unsafe { results.as_ref() }.and_then(|r| Some((&r.results, r.row(query, rank)?)));
    found.map_or(std::ptr::null(), |(r, row)| vector(&r.fields, r.dimension, row))
}

/// Tells what work a query took.
/// Statuses: NULL_ARGUMENT, INVALID_ARGUMENT (no such query).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_results_stats(
    results: *const cyborg_results,
    query: usize,
    out_stats: *mut cyborg_query_stats,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::run(err, || {
        // SAFETY: NULL or results that the caller has not freed; NULL or the caller's struct.
        let (results, out) = unsafe { (results.as_ref(), OutStruct::new(out_stats, "out_stats")?) };
        let r = results.ok_or(Error::NullArgument { what: "results" })?;
        let s = r
            .results
            .stats
            .get(query)
            .ok_or_else(|| Error::invalid("query", query, "below cyborg_results_queries()"))?;
        out.set(cyborg_query_stats {
            struct_size: 0,
            lists_probed: s.lists_probed,
            vectors_scanned: s.vectors_scanned,
            bytes_opened: s.bytes_opened,
            reranked: s.reranked,
            reserved: 0,
        });
        Ok(())
    })
}

/// Gives all columns at once, for bindings that want no call per result. The pointers live as long as the results.
/// Statuses: NULL_ARGUMENT, INVALID_ARGUMENT.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_results_columns(
    results: *const cyborg_results,
    out_columns: *mut cyborg_columns,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::run(err, || {
        // SAFETY: NULL or results that the caller has not freed; NULL or the caller's struct.
        let (results, out) = unsafe { (results.as_ref(), OutStruct::new(out_columns, "out_columns")?) };
        let r = results.ok_or(Error::NullArgument { what: "results" })?;
        let t = &r.results;
        out.set(cyborg_columns {
            queries: t.starts.len().saturating_sub(1),
            starts: t.starts.as_ptr(),
            distances: if r.has_distances { t.distances.as_ptr() } else { std::ptr::null() },
            ..columns(t.dimension, &t.ids, r.numbers.as_deref(), &t.fields)
        });
        Ok(())
    })
}

/// Frees results. NULL is allowed.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_results_free(results: *mut cyborg_results) {
    if !results.is_null() {
        // SAFETY: made by `Box::into_raw` in this library; the caller gives up ownership.
        quiet(|| drop(unsafe { Box::from_raw(results) }));
    }
}
