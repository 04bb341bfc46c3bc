//! Answering queries from a snapshot: choose lists, scan their codes, rerank, resolve.
//!
//! A query runs on one thread. A batch is cut into pieces that run on the db's threads; the results do not depend on
//! the cut. Memory is reused from query to query; what was decrypted for a query is wiped after it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::curve::Reach;
use super::fields;
use super::generation::Generation;
use super::index::Index;
use super::intake::{check_dimension, take_vector};
use super::options::{QueryOptions, include};
use super::prune::whole_lists;
use super::rerank::{Reranker, Wanted};
use super::results::{QueryStats, Results, StringColumn};
use super::scan::Scanner;
use super::snapshot::Snapshot;
use super::visit::Visit;
use crate::error::{Error, Result, try_with_capacity};
use crate::exec::Watch;
use crate::ivf::ProbeScratch;
use crate::types::{IdKind, MAX_TOP_K, Metric};

/// Results of a query unless asked otherwise.
const DEFAULT_TOP_K: u32 = 100;
/// Bytes that the memory of a query or of a piece of a batch may hold to be kept for the next one.
const KEPT_SCRATCH: usize = 12 << 20;
/// Candidates reranked at least, unless asked otherwise: twice a `top_k` of one or two is too few.
const LEAST_CANDIDATES: u64 = 20;
/// Most queries that go through their lists together, and most bytes of their candidates. Many look into the same list;
/// more share less of the cache.
const PIECE: usize = 1024;
const PIECE_BYTES: usize = 6 << 20;
/// Most pairs of a list and a query that looks into it that a piece brings together, each some 20 bytes.
const PIECE_PAIRS: usize = 1 << 19;

/// Memory that queries reuse.
#[derive(Default)]
pub(super) struct QueryScratch {
    probe: ProbeScratch,
    visits: Vec<Visit>,
    scanner: Scanner,
    found: Vec<(f32, u32)>,
}

/// A query's options with everything filled in.
struct Plan {
    wanted: Wanted,
    reach: Reach,
    /// Vectors kept while scanning, no fewer than candidates.
    kept: usize,
    /// Candidates to rerank; equal to `top_k` where codes are exact.
    candidates: usize,
}

/// What is nearest to a query with its distance, nearest first: rows, or what they were resolved to.
struct Answer<T = u32> {
    found: Vec<(f32, T)>,
    stats: QueryStats,
}

impl Index {
    /// The nearest items of each query (`n_queries x dimension` values). Never an error because fewer than `top_k`
    /// items exist.
    pub fn query(
        &self,
        queries: &[f32],
        n_queries: usize,
        dimension: u32,
        options: &QueryOptions,
        watch: &Watch,
    ) -> Result<Results> {
        self.reading(|| self.query_once(queries, n_queries, dimension, options, watch))
    }

    fn query_once(
        &self,
        queries: &[f32],
        n_queries: usize,
        dimension: u32,
        options: &QueryOptions,
        watch: &Watch,
    ) -> Result<Results> {
        let (snapshot, answers) = self.answer(queries, n_queries, dimension, options, |_, row| Ok(row), watch)?;
        let total = answers.iter().map(|a| a.found.len()).sum();
        let mut results = Results {
            id_kind: snapshot.config.id_kind,
            dimension: snapshot.config.dimension,
            starts: try_with_capacity(n_queries + 1, "results")?,
            ids: StringColumn::default(),
            distances: try_with_capacity(total, "results")?,
            fields: Default::default(),
            stats: answers.iter().map(|a| a.stats).collect(),
        };
        results.starts.push(0);
        let mut rows = try_with_capacity(total, "results")?;
        for answer in &answers {
            for &(distance, row) in &answer.found {
                results.ids.push(snapshot.id(row))?;
                results.distances.push(distance);
                rows.push(Some(row));
            }
            results.starts.push(rows.len());
        }
        results.fields = fields::fetch(&snapshot, &rows, options.include & !include::DISTANCE)?;
        Ok(results)
    }

    /// As [`Self::query`] for ids that are numbers, into the caller's arrays: query `q` fills `counts[q]` and the
    /// places from `q * top_k` of `ids` and `distances` (which may be empty).
    #[allow(clippy::too_many_arguments, reason = "mirrors the C function, whose arrays are its results")]
    pub fn query_into(
        &self,
        queries: &[f32],
        n_queries: usize,
        dimension: u32,
        options: &QueryOptions,
        ids: &mut [u64],
        distances: &mut [f32],
        counts: &mut [u32],
        watch: &Watch,
    ) -> Result<()> {
        let top_k = if options.top_k == 0 { DEFAULT_TOP_K } else { options.top_k } as usize;
        let needed = (n_queries as u64).saturating_mul(top_k as u64);
        let short = |what, needed, got: usize| Error::BufferTooSmall { what, needed, got: got as u64 };
        if (ids.len() as u64) < needed {
            return Err(short("out_ids", needed, ids.len()));
        }
        if !distances.is_empty() && (distances.len() as u64) < needed {
            return Err(short("out_distances", needed, distances.len()));
        }
        if counts.len() < n_queries {
            return Err(short("out_counts", n_queries as u64, counts.len()));
        }
        if options.include & !include::DISTANCE != 0 {
            return Err(Error::invalid("include", options.include, "0 or DISTANCE for query_into"));
        }
        if self.snapshot.load().config.id_kind != IdKind::U64 {
            return Err(Error::Unsupported { what: "query_into for ids that are byte strings" });
        }
        let number = |snapshot: &Snapshot, row| {
            let id = snapshot.id(row).first_chunk().ok_or(Error::Internal { what: "an id of wrong length" })?;
            Ok(u64::from_le_bytes(*id))
        };
        let answer = || self.answer(queries, n_queries, dimension, options, number, watch);
        let (_, answers) = self.reading(answer)?;
        for (q, answer) in answers.iter().enumerate() {
            counts[q] = answer.found.len() as u32;
            for (i, &(distance, id)) in answer.found.iter().enumerate() {
                ids[q * top_k + i] = id;
                if let Some(d) = distances.get_mut(q * top_k + i) {
                    *d = distance;
                }
            }
        }
        Ok(())
    }

    /// The answers of all queries, each row found `resolve`d on the thread that found it.
    fn answer<T: Send>(
        &self,
        queries: &[f32],
        n_queries: usize,
        dimension: u32,
        options: &QueryOptions,
        resolve: impl Fn(&Snapshot, u32) -> Result<T> + Sync,
        watch: &Watch,
    ) -> Result<(Arc<Snapshot>, Vec<Answer<T>>)> {
        let snapshot = self.current()?;
        let dim = check_dimension(dimension, snapshot.config.dimension)?;
        let needed = (n_queries as u64).saturating_mul(dim as u64);
        if queries.len() as u64 != needed {
            return Err(Error::BufferTooSmall { what: "queries", needed, got: queries.len() as u64 });
        }
        check_options(options)?;
        watch.check()?;
        let Some(generation) = snapshot.generation.clone() else {
            let none = || Answer { found: Vec::new(), stats: QueryStats::default() };
            return Ok((snapshot, (0..n_queries).map(|_| none()).collect()));
        };
        let plan = Plan::new(options, &snapshot, &generation);
        let threads = if options.threads == 1 { 1 } else { self.shared.callers.threads() };
        let size = plan.piece(n_queries, threads, generation.lists());
        let piece = |i: usize| -> Result<Vec<Answer<T>>> {
            let mut scratch = self.scratch.lock().pop().unwrap_or_default();
            let numbers = i * size..n_queries.min((i + 1) * size);
            let n = numbers.len();
            let queries = &queries[numbers.start * dim..numbers.end * dim];
            let answers = scratch.run(queries, numbers, &snapshot, &generation, &plan, watch);
            self.cache_hits.fetch_add(scratch.scanner.scratch.take_hits(), Ordering::Relaxed);
            scratch.wipe(n);
            if scratch.is_small(n) {
                self.scratch.lock().push(scratch);
            }
            answers?.into_iter().map(|answer| answer.resolve(|row| resolve(&snapshot, row))).collect()
        };
        let pieces = n_queries.div_ceil(size);
        let mut answers = try_with_capacity(n_queries, "results")?;
        if threads == 1 || pieces == 1 {
            (0..pieces).try_for_each(|i| piece(i).map(|part| answers.extend(part)))?;
        } else {
            for part in self.shared.callers.map(pieces, piece) {
                answers.extend(part?);
            }
        }
        Ok((snapshot, answers))
    }
}

impl Answer {
    /// Puts what each row is `resolve`d to into its place.
    fn resolve<T>(self, resolve: impl Fn(u32) -> Result<T>) -> Result<Answer<T>> {
        let found = self.found.into_iter().map(|(distance, row)| Ok((distance, resolve(row)?)));
        Ok(Answer { found: found.collect::<Result<_>>()?, stats: self.stats })
    }
}

fn check_options(o: &QueryOptions) -> Result<()> {
    if o.top_k > MAX_TOP_K {
        return Err(Error::invalid("top_k", o.top_k, "1 to 10000, or 0 for 100"));
    }
    if o.rerank_mult > 1000 {
        return Err(Error::invalid("rerank_mult", o.rerank_mult, "0 to 1000"));
    }
    if o.include & !include::ALL != 0 {
        return Err(Error::invalid("include", o.include, "a sum of the include bits"));
    }
    if !(0.0..1.0).contains(&o.target_recall) {
        return Err(Error::invalid("target_recall", o.target_recall, "above 0 and below 1, or 0 for the index's"));
    }
    if o.has_radius && o.radius.is_nan() {
        return Err(Error::invalid("radius", "NaN", "a distance"));
    }
    Ok(())
}

impl Plan {
    fn new(o: &QueryOptions, s: &Snapshot, g: &Generation) -> Self {
        let top_k = if o.top_k == 0 { DEFAULT_TOP_K } else { o.top_k } as usize;
        // No more than there are: bounds the memory of a large top_k on a small index.
        let top_k = (top_k as u64).min(s.live()) as usize;
        let target = g.target(if o.target_recall == 0.0 { s.config.target_recall } else { o.target_recall });
        let mut reach = match o.n_probes {
            // The stopping rule was measured with scores, which bounds exceed.
            0 if g.quantizer.scores_are_bounds() => Reach::all(g.curve.probes(top_k.max(1), target, g.lists())),
            0 => g.curve.reach(top_k.max(1), target, g.lists()),
            n => Reach::all((n as usize).min(g.lists())),
        };
        let most = match o.rerank_mult {
            0 => (top_k as u64 * u64::from(g.quantizer.default_rerank_mult())).max(LEAST_CANDIDATES),
            mult => top_k as u64 * u64::from(mult),
        };
        // The stopping rule compares lists with the vector of its own rank.
        let least = reach.stop.map_or(0, |stop| stop.rank);
        let candidates = match g.quantizer.needs_rerank() {
            true => most.min(s.live()) as usize,
            false => top_k,
        };
        let radius = if o.has_radius { o.radius } else { f32::INFINITY };
        // Under inner product long vectors win, whose codes are off by more than others'.
        let all = o.rerank_mult != 0 || s.config.metric == Metric::InnerProduct;
        let kept = candidates.max(least);
        // Under inner product long vectors win there as well, of which fronts say too little.
        if s.config.metric != Metric::InnerProduct {
            reach.whole = whole_lists(g, reach, s.live(), kept);
        }
        let wanted = Wanted { top_k, radius, all };
        Self { wanted, reach, kept, candidates }
    }

    /// Queries of a batch of `n` that one of `threads` threads takes at a time.
    fn piece(&self, n: usize, threads: usize, lists: usize) -> usize {
        let lists = if self.reach.stop.is_some() { lists } else { 0 };
        let fits = PIECE_BYTES / (self.kept * 16 + lists * 4 + 1);
        piece_size(n, threads, fits.min(PIECE_PAIRS / self.reach.probes.max(1)).clamp(1, PIECE))
    }
}

/// The size of pieces of up to `most` of `n` queries: all about equal, and as many for each of the `threads`. (As large as may
/// be, three pieces of 413, 413 and 174 keep two threads busy for the time of 587 queries of 1,000.)
fn piece_size(n: usize, threads: usize, most: usize) -> usize {
    let pieces = n.max(1).div_ceil(most).next_multiple_of(threads.max(1));
    n.div_ceil(pieces).max(1)
}

impl QueryScratch {
    /// Overwrites what remains of the `n` queries it answered.
    fn wipe(&mut self, n: usize) {
        self.scanner.wipe();
        self.visits.iter_mut().take(n).for_each(Visit::wipe);
        self.probe.wipe();
    }

    /// Whether it is worth keeping after `n` queries: one with many candidates must not hold its memory for ever.
    fn is_small(&self, n: usize) -> bool {
        let visits: usize = self.visits.iter().take(n).map(Visit::memory).sum();
        visits + self.found.capacity() * 8 + self.scanner.memory() + self.probe.memory() <= KEPT_SCRATCH
    }

    /// Answers `queries`, which are those of the numbers `numbers` of their batch.
    fn run(
        &mut self,
        queries: &[f32],
        numbers: Range<usize>,
        s: &Snapshot,
        g: &Generation,
        plan: &Plan,
        watch: &Watch,
    ) -> Result<Vec<Answer>> {
        let (dim, n) = (g.quantizer.dim(), numbers.len());
        if self.visits.len() < n {
            self.visits.resize_with(n, Visit::default);
        }
        let visits = &mut self.visits[..n];
        for ((visit, query), number) in visits.iter_mut().zip(queries.chunks_exact(dim)).zip(numbers) {
            visit.query.resize(dim, 0.0);
            take_vector(query, &mut visit.query, s.config.metric)
                .map_err(|got| Error::item(number, "query", got, "finite values, not all 0 under cosine"))?;
        }
        Visit::begin(visits, g, (plan.reach, plan.kept), &mut self.probe, watch)?;
        if plan.wanted.top_k > 0 {
            self.scanner.run(s, g, plan.reach, visits, &mut self.probe, watch)?;
        }
        visits.iter_mut().map(|visit| self.scanner.answer(s, g, plan, visit, &mut self.found)).collect()
    }
}

impl Scanner {
    /// Ranks the candidates that `visit` has gathered.
    fn answer(
        &mut self,
        s: &Snapshot,
        g: &Generation,
        plan: &Plan,
        visit: &mut Visit,
        found: &mut Vec<(f32, u32)>,
    ) -> Result<Answer> {
        let mut stats = visit.stats;
        found.clear();
        found.extend(visit.nearest.best().take(plan.candidates));
        if g.quantizer.needs_rerank() {
            let opened = self.scratch.opened;
            let Visit { query, prepared, .. } = &*visit;
            let mut reranker = Reranker { snapshot: s, generation: g, query, prepared, scratch: &mut self.scratch };
            stats.reranked = reranker.rank(plan.wanted, found)?;
            stats.bytes_opened += self.scratch.opened - opened;
        }
        let metric = s.config.metric;
        // Compared as distances, so that what is told to be at the radius is inside.
        let found = found.iter().map(|&(score, row)| (metric.distance(score), row));
        let mut rows: Vec<_> = found.take_while(|(distance, _)| *distance <= plan.wanted.radius).collect();
        // Rows are renumbered by merges, ids are not: equally near items come in the order of their ids.
        for equal in rows.chunk_by_mut(|a, b| a.0 == b.0).filter(|equal| equal.len() > 1) {
            equal.sort_unstable_by(|a, b| s.compare_ids(a.1, b.1));
        }
        Ok(Answer { found: rows, stats })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Pieces were as large as may be and the last one was what was left, so threads waited for each other: two gained 1.6
    // instead of nearly 2 where a batch was cut because each query keeps the scores of all lists.
    #[test]
    fn pieces_give_threads_as_much_to_do() {
        assert_eq!(
            [(1000, 2, 413), (1000, 1, 413), (1000, 2, 1024)].map(|(n, t, most)| piece_size(n, t, most)),
            [250, 334, 500]
        );
        for n in [0, 1, 2, 7, 64, 1000, 1001, 4096] {
            for threads in [1, 2, 3, 8] {
                for most in [1, 2, 100, 413, 1024] {
                    let size = piece_size(n, threads, most);
                    assert!((1..=most).contains(&size), "{n} {threads} {most}");
                    // The thread with the most pieces has at most a query a piece more than its share.
                    let pieces = n.div_ceil(size);
                    let rounds = pieces.div_ceil(threads);
                    assert!(
                        (rounds * size).saturating_sub(rounds) <= n.div_ceil(threads),
                        "{n} {threads} {most}: {size}"
                    );
                }
            }
        }
    }
}
