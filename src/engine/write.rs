//! Upserts and deletes: concurrent calls grouped into one durable commit.
//!
//! Every call puts its checked request into the queue and then takes the writer's lock. Whoever gets the lock commits
//! what is queued by then as one delta; the others find their request done when they get it. So while one commit
//! waits for the disk the next group gathers, and a lone writer pays for no hand-over.
//!
//! A commit is durable before it is visible: the delta and the new head go to the store in one transaction, then ids,
//! tombstones and snapshot change together under the id map's lock. Everything that can fail comes before the
//! transaction.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hashbrown::HashTable;
use parking_lot::Mutex;

use super::delta::Writes;
use super::generation::Generation;
use super::ids::{IdColumn, IdMap, spread};
use super::index::{Index, WriterState};
use super::intake::{Intake, check_dimension};
use super::load;
use super::manifest::Config;
use super::payload::Entry;
use super::snapshot::Snapshot;
use super::tail::SMALL;
use crate::buffer::{Buffer, Wiped};
use crate::error::{Error, Result, try_with_capacity};

/// Bytes that a group may reach by taking in another call.
const GROUP_BYTES: u64 = 64 << 20;

/// What one call wants written.
pub(super) enum Op {
    Upsert(Intake),
    Delete(IdColumn),
}

impl Op {
    fn ids(&self) -> &IdColumn {
        match self {
            Self::Upsert(intake) => &intake.ids,
            Self::Delete(ids) => ids,
        }
    }

    /// Bytes it adds to a delta, about.
    fn bytes(&self) -> u64 {
        match self {
            Self::Upsert(intake) => intake.ids.memory() + intake.vectors.len() as u64 + intake.data.len() as u64,
            Self::Delete(ids) => ids.memory(),
        }
    }
}

/// What a committed call learns.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    pub(super) inserted: u64,
    pub(super) updated: u64,
    pub(super) superseded: u64,
    pub(super) deleted: u64,
    /// Live items after the commit.
    pub(super) live: u64,
}

/// A queued call.
pub(super) struct Request {
    op: Op,
    answer: Arc<Answer>,
}

/// Where the caller finds what became of it.
type Answer = Mutex<Option<Result<Outcome>>>;

/// The last word of a group on an id.
struct Word<'a> {
    id: &'a [u8],
    /// Of the id, by the index's map.
    tag: u32,
    /// Position in the order of items; `None` = deleted.
    item: Option<usize>,
}

impl Index {
    /// Commits `op`, together with whatever other calls want written at the same time.
    pub(super) fn write(&self, op: Op) -> Result<Outcome> {
        let answer = Arc::new(Answer::default());
        self.queue.lock().push_back(Request { op, answer: Arc::clone(&answer) });
        loop {
            let mut writer = self.writer.lock();
            if let Some(done) = answer.lock().take() {
                return done;
            }
            let group = self.next_group();
            if group.is_empty() {
                return Err(Error::Internal { what: "a request was not answered" });
            }
            let answers: Vec<Arc<Answer>> = group.iter().map(|r| Arc::clone(&r.answer)).collect();
            if let Err(e) = self.commit_group(&mut writer, group) {
                // While the lock is held: who gets it next must find an answer.
                answers.iter().for_each(|answer| {
                    answer.lock().get_or_insert_with(|| Err(e.clone()));
                });
            }
        }
    }

    /// Takes requests off the queue: at least one, and as many as make a delta of a bounded size.
    fn next_group(&self) -> Vec<Request> {
        let mut queue = self.queue.lock();
        let (mut group, mut bytes) = (Vec::new(), 0);
        while let Some(request) = queue.pop_front() {
            bytes += request.op.bytes();
            if bytes > GROUP_BYTES && !group.is_empty() {
                queue.push_front(request);
                break;
            }
            group.push(request);
        }
        group
    }

    fn commit_group(&self, writer: &mut WriterState, group: Vec<Request>) -> Result<()> {
        self.enter()?;
        self.check_writable()?;
        let current = self.snapshot.load_full();
        let dimension = settle_dimension(&current, &group);
        let (merged, outcomes) = merge(&current, &self.ids.read(), &group)?;
        let answers: Vec<Arc<Answer>> = group.iter().map(|r| Arc::clone(&r.answer)).collect();
        let answer = |live| {
            for (answer, outcome) in answers.iter().zip(&outcomes) {
                answer.lock().get_or_insert(Ok(Outcome { live, ..*outcome }));
            }
        };
        if merged.order.is_empty() && merged.deleted.len() == 0 {
            answer(current.live());
            return Ok(());
        }
        let count = (merged.order.len() + merged.deleted.len()) as u64;
        let (writes, tags) = merged.gather(group, dimension, current.config.id_kind)?;
        let mut next = (*current).clone();
        let mut manifest = writer.manifest.clone();
        manifest.writes = manifest.writes.saturating_add(count);
        next.writes = manifest.writes;
        if next.generation.is_none() && dimension > 0 {
            next.config.dimension = dimension as u32;
            manifest.config.dimension = dimension as u32;
            let Config { metric, vector_precision, .. } = next.config;
            next.generation = Some(Arc::new(Generation::untrained(metric.similarity(), vector_precision, dimension)?));
        }
        let mut code = || match &next.generation {
            Some(g) => {
                current.tail.append(g, &self.shared.callers, current.end, writes.vectors.f32s(), &mut writer.spare)
            }
            None => Ok(current.tail.clone()),
        };
        let seal = || writes.seal(&self.vault);
        // Neither needs the other.
        let (tail, sealed) =
            if writes.ids.len() < SMALL { (code(), seal()) } else { self.shared.callers.join(code, seal) };
        let sealed = sealed?;
        next.tail = tail?;
        self.spare_bytes.store(writer.spare.memory(), Ordering::Relaxed);
        let (delta, deleted) = writes.keep(&self.vault, &self.shared.cache, sealed.reference.clone());
        self.ids.write().reserve(delta.ids.len())?;
        manifest.deltas.push(delta.object.clone());
        load::push(&mut next, delta)?;
        next.seq = self.commit(writer, manifest, vec![sealed])?;
        let live = {
            let mut ids = self.ids.write();
            load::apply(&mut next, &mut ids, &deleted, &tags);
            let live = next.live();
            self.snapshot.store(Arc::new(next));
            live
        };
        answer(live);
        Ok(())
    }
}

/// The dimension of the index, or of the first upsert of the group when none is known; upserts of another dimension
/// are refused here (their intake could not know). 0 when there is still none.
fn settle_dimension(current: &Snapshot, group: &[Request]) -> usize {
    let mut dimension = current.config.dimension;
    for request in group {
        if let Op::Upsert(intake) = &request.op
            && intake.ids.len() > 0
        {
            match check_dimension(intake.dimension as u32, dimension) {
                Ok(d) => dimension = d as u32,
                Err(e) => *request.answer.lock() = Some(Err(e)),
            }
        }
    }
    dimension as usize
}

/// A group reduced to its effect.
struct Merged {
    /// Items that stay, as (request, item).
    order: Vec<(u32, u32)>,
    /// Tags of their ids.
    tags: Vec<u32>,
    /// Ids that the index holds and the group deletes (even if it adds them again).
    deleted: IdColumn,
}

/// The tags of `column`, and which of its ids the index holds. Looked up in a row, with nothing between that waits for an
/// answer: the map is larger than the caches near the core, and so the CPU fetches several places of it at once.
fn looked_up(current: &Snapshot, ids: &IdMap, column: &IdColumn) -> Result<Vec<(u32, bool)>> {
    let mut found: Vec<(u32, bool)> = try_with_capacity(column.len(), "delta")?;
    found.extend((0..column.len()).map(|i| (ids.tag(column.get(i)), false)));
    for (i, (tag, held)) in found.iter_mut().enumerate() {
        *held = ids.find_tagged(*tag, column.get(i), |row| current.id(row)).is_some();
    }
    Ok(found)
}

/// Plays the group's requests in order against the ids that the index holds.
fn merge(current: &Snapshot, ids: &IdMap, group: &[Request]) -> Result<(Merged, Vec<Outcome>)> {
    let most: usize = group.iter().map(|request| request.op.ids().len()).sum();
    let mut last: HashTable<Word<'_>> = HashTable::new();
    let needed = (most * size_of::<Word<'_>>()) as u64;
    let refused = |_| Error::NoMemory { what: "delta", needed, got: 0 };
    last.try_reserve(most, |word| spread(word.tag)).map_err(refused)?;
    let mut order: Vec<Option<(u32, u32)>> = try_with_capacity(most, "delta")?;
    let mut tags: Vec<u32> = try_with_capacity(most, "delta")?;
    let mut deleted = IdColumn::empty(current.config.id_kind);
    let mut outcomes = vec![Outcome::default(); group.len()];
    for (r, request) in group.iter().enumerate() {
        if request.answer.lock().is_some() {
            continue;
        }
        let out = &mut outcomes[r];
        let upsert = matches!(request.op, Op::Upsert(_));
        let column = request.op.ids();
        for (i, (tag, held)) in looked_up(current, ids, column)?.into_iter().enumerate() {
            let id = column.get(i);
            let word = last.find_mut(spread(tag), |word| word.tag == tag && word.id == id);
            let before = word.as_ref().map(|word| word.item);
            let item = upsert.then_some(order.len());
            if upsert {
                match before {
                    Some(Some(before)) => match order[before].take() {
                        Some((same, _)) if same as usize == r => out.superseded += 1,
                        _ => out.updated += 1,
                    },
                    Some(None) => out.inserted += 1,
                    None if held => out.updated += 1,
                    None => out.inserted += 1,
                }
                order.push(Some((r as u32, i as u32)));
                tags.push(tag);
            } else {
                match before {
                    Some(None) => continue,
                    Some(Some(before)) => order[before] = None,
                    None if held => {}
                    None => continue,
                }
                // Replacing marks the old row by itself; only an id that ends absent, or did before, is listed.
                if held {
                    deleted.push(id);
                }
                out.deleted += 1;
            }
            match word {
                Some(word) => word.item = item,
                None => {
                    last.insert_unique(spread(tag), Word { id, tag, item }, |word| spread(word.tag));
                }
            }
        }
    }
    let mut stay = order.iter().map(Option::is_some);
    tags.retain(|_| stay.next().unwrap_or_default());
    Ok((Merged { order: order.into_iter().flatten().collect(), tags, deleted }, outcomes))
}

impl Merged {
    /// The columns of the delta, and the tags of its items.
    fn gather(
        self,
        mut group: Vec<Request>,
        dimension: usize,
        kind: crate::types::IdKind,
    ) -> Result<(Writes, Vec<u32>)> {
        // One upsert alone, of which everything stays: its columns are those of the delta.
        let alone = group.len() == 1 && group[0].op.ids().len() == self.order.len();
        if alone && let Some(Request { op: Op::Upsert(Intake { ids, vectors, entries, data, .. }), .. }) = group.pop() {
            return Ok((Writes { dimension, ids, deleted: self.deleted, vectors, entries, data }, self.tags));
        }
        let batch = |r: u32| match &group[r as usize].op {
            Op::Upsert(intake) => Some(intake),
            Op::Delete(_) => None,
        };
        let items = || self.order.iter().filter_map(|&(r, i)| Some((batch(r)?, i as usize)));
        let count = self.order.len();
        let mut ids = IdColumn::with_capacity(kind, count)?;
        let mut vectors = Buffer::zeroed(count * dimension * 4, "delta")?;
        let has_payload = items().any(|(b, _)| !b.entries.is_empty());
        let (mut entries, mut data) = (Vec::new(), Wiped::default());
        if has_payload {
            let size: usize = items().filter_map(|(b, i)| b.entries.get(i)).map(Entry::len).sum();
            entries = try_with_capacity(count, "delta")?;
            data = Wiped::new(try_with_capacity(size, "delta")?);
        }
        for ((b, i), vector) in items().zip(vectors.f32s_mut().chunks_exact_mut(dimension.max(1))) {
            ids.push(b.ids.get(i));
            vector.copy_from_slice(&b.vectors.f32s()[i * dimension..(i + 1) * dimension]);
            if has_payload {
                let entry = b.entries.get(i).copied().unwrap_or_default();
                let from = entry.at as usize;
                entries.push(Entry { at: data.len() as u64, ..entry });
                data.extend_from_slice(&b.data[from..from + entry.len()]);
            }
        }
        Ok((Writes { dimension, ids, deleted: self.deleted, vectors, entries, data }, self.tags))
    }
}
