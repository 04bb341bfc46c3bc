//! The cache of units: slots owned by what they cache, one byte budget for a whole db, eviction by a clock.
//!
//! A slot is found by index, not by hashing: a lookup is one atomic load, which a search does for every list it
//! probes. What it holds can be asked for ahead of its use, by addresses kept beside it that nothing is read through. Slots die with their owner (a run replaced by a rebuild), so nothing in the cache is ever stale. The clock
//! holds weak references and gives a slot that was used since it last came by a second round. Codes, of which a query reads
//! most, go last: there are two clocks, and theirs turns only when nothing else is left. Only content bytes are counted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::{ArcSwapOption, Guard};
use parking_lot::Mutex;

use super::options::CacheMode;
use super::shelf::{Memory, Shelf};
use crate::kernels::prefetch;

/// Misses of parts for one that fills its slot where the budget is used up.
const ADMIT: u64 = 16;

/// What a slot holds.
pub(super) enum Held {
    /// Plaintext, wiped when dropped.
    Plain(Memory),
    /// Frames as stored.
    Sealed(Memory),
}

impl Held {
    fn memory(&self) -> &Memory {
        match self {
            Self::Plain(memory) | Self::Sealed(memory) => memory,
        }
    }

    fn bytes(&self) -> &[u8] {
        self.memory().bytes()
    }

    fn len(&self) -> u64 {
        self.bytes().len() as u64
    }
}

/// What goes first when the budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Codes of lists: kept while there is anything else.
    Codes,
    /// Vectors and payload, of which a query reads a few rows.
    Rows,
}

/// The budget that all slots of a db share.
pub(super) struct Cache {
    mode: CacheMode,
    budget: u64,
    used: AtomicU64,
    /// Bytes that shelves may hand out.
    shelved: AtomicU64,
    clocks: Mutex<Clocks>,
}

/// A clock for each [`Class`].
#[derive(Default)]
struct Clocks {
    codes: Clock,
    rows: Clock,
}

/// Filled slots in the order in which they are looked at.
#[derive(Default)]
struct Clock {
    entries: VecDeque<(Weak<Slots>, u32)>,
    /// Entries that were alive when the dead ones were last thrown out.
    alive: usize,
}

impl Clock {
    /// Adds an entry. Entries die with their owners; they are thrown out when they are half of all.
    fn push(&mut self, slots: Weak<Slots>, i: u32) {
        self.entries.push_back((slots, i));
        if self.entries.len() > 2 * self.alive + 64 {
            self.entries.retain(|(slots, _)| slots.strong_count() > 0);
            self.alive = self.entries.len();
        }
    }
}

impl Cache {
    /// A cache of at most `budget` bytes.
    pub(super) fn new(mode: CacheMode, budget: u64) -> Arc<Self> {
        Arc::new(Self { mode, budget, used: AtomicU64::new(0), shelved: AtomicU64::new(0), clocks: Mutex::default() })
    }

    /// A shelf for `bytes`. Shelves take half of the budget at most: what stands on them is not evicted.
    fn shelf(&self, bytes: u64) -> Option<Shelf> {
        let more = |shelved: u64| shelved.checked_add(bytes).filter(|&shelved| shelved <= self.budget / 2);
        let shelf = Shelf::new(bytes)?;
        self.shelved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok().then_some(shelf)
    }

    /// Evicts until the budget is kept: rows, then codes.
    fn shrink(&self, clocks: &mut Clocks) {
        self.turn(&mut clocks.rows.entries);
        self.turn(&mut clocks.codes.entries);
    }

    /// Evicts from one clock. Bounded: every entry is looked at no more than twice.
    fn turn(&self, clock: &mut VecDeque<(Weak<Slots>, u32)>) {
        for _ in 0..2 * clock.len() {
            if self.used.load(Ordering::Relaxed) <= self.budget {
                return;
            }
            let Some((weak, i)) = clock.pop_front() else { return };
            let Some(slots) = weak.upgrade() else { continue };
            if slots.slots[i as usize].hot.swap(false, Ordering::Relaxed) {
                clock.push_back((weak, i));
            } else {
                slots.clear(i as usize);
            }
        }
    }
}

#[derive(Default)]
#[repr(align(32))]
struct Slot {
    data: ArcSwapOption<Held>,
    hot: AtomicBool,
    /// Where the last [`Held`] is or was and where its bytes are, to be prefetched and nothing else: a lookup that followed
    /// the way there would wait for each step.
    held: AtomicPtr<Held>,
    bytes: AtomicPtr<u8>,
}

/// The slots of one owner.
pub(super) struct Slots {
    cache: Arc<Cache>,
    class: Class,
    slots: Box<[Slot]>,
    /// Where what is cached is kept while there is room; made when it is first asked for, by when the run that this one
    /// replaces may have given its own up.
    shelf: OnceLock<Option<Shelf>>,
    /// Bytes that it is made for.
    shelved: u64,
    bytes: AtomicU64,
    misses: AtomicU64,
}

impl Slots {
    /// `n` empty slots. Of `shelved` bytes in all what they hold is kept side by side; 0 = nothing is.
    pub(super) fn new(cache: &Arc<Cache>, class: Class, n: usize, shelved: u64) -> Arc<Self> {
        Arc::new(Self {
            shelf: OnceLock::new(),
            shelved,
            cache: Arc::clone(cache),
            class,
            slots: (0..n).map(|_| Slot::default()).collect(),
            bytes: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        })
    }

    /// Number of slots.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether plaintext or ciphertext is to be inserted.
    pub(super) fn mode(&self) -> CacheMode {
        self.cache.mode
    }

    /// Where memory for what is to be inserted is taken from first.
    pub(super) fn shelf(&self) -> Option<&Shelf> {
        self.shelf.get_or_init(|| self.cache.shelf(self.shelved)).as_ref()
    }

    /// What slot `i` holds.
    pub(super) fn get(&self, i: usize) -> Option<Guard<Option<Arc<Held>>>> {
        let slot = &self.slots[i];
        let held = slot.data.load();
        if held.is_none() {
            self.misses.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        if !slot.hot.load(Ordering::Relaxed) {
            slot.hot.store(true, Ordering::Relaxed);
        }
        Some(held)
    }

    /// Asks for the memory of slot `i` itself.
    pub(super) fn prefetch_slot(&self, i: usize) {
        prefetch(&raw const self.slots[i], size_of::<Slot>());
    }

    /// Asks for the memory of bytes `at..at + len` of what slot `i` holds, if it does.
    pub(super) fn prefetch(&self, i: usize, at: usize, len: usize) {
        let slot = &self.slots[i];
        let bytes = slot.bytes.load(Ordering::Relaxed);
        if !bytes.is_null() {
            prefetch(slot.held.load(Ordering::Relaxed), size_of::<Held>());
            prefetch(bytes.wrapping_add(at), len);
        }
    }

    /// As [`Self::get`], but does not count as a use.
    pub(super) fn peek(&self, i: usize) -> Guard<Option<Arc<Held>>> {
        self.slots[i].data.load()
    }

    /// Whether a slot of `len` bytes that was not found, and of which only a part is wanted, should be filled: where there is
    /// room, and else now and then, so that what is asked for often gets in and the rest does not drive it out.
    pub(super) fn admits(&self, len: usize) -> bool {
        let room = self.cache.budget.saturating_sub(self.cache.used.load(Ordering::Relaxed));
        len as u64 <= room || self.misses.load(Ordering::Relaxed).is_multiple_of(ADMIT)
    }

    /// Fills slot `i`, unless the whole budget is smaller than that.
    pub(super) fn insert(self: &Arc<Self>, i: usize, held: Arc<Held>) {
        let (len, stays) = (held.len(), held.memory().is_shelved());
        if len > self.cache.budget {
            return;
        }
        let mut clocks = self.cache.clocks.lock();
        if self.slots[i].data.load().is_some() {
            return; // another thread was faster
        }
        self.slots[i].held.store(Arc::as_ptr(&held).cast_mut(), Ordering::Relaxed);
        self.slots[i].bytes.store(held.bytes().as_ptr().cast_mut(), Ordering::Relaxed);
        self.slots[i].data.store(Some(held));
        self.bytes.fetch_add(len, Ordering::Relaxed);
        self.cache.used.fetch_add(len, Ordering::Relaxed);
        if self.cache.budget != u64::MAX {
            let clock = match self.class {
                Class::Codes => &mut clocks.codes,
                Class::Rows => &mut clocks.rows,
            };
            if !stays {
                clock.push(Arc::downgrade(self), i as u32);
            }
            self.cache.shrink(&mut clocks);
        }
    }

    /// Slots that hold a piece of the shelf.
    #[cfg(test)]
    pub(super) fn shelved(&self) -> usize {
        (0..self.len()).filter(|&i| self.peek(i).as_deref().is_some_and(|held| held.memory().is_shelved())).count()
    }

    fn clear(&self, i: usize) {
        if let Some(held) = self.slots[i].data.swap(None) {
            self.slots[i].bytes.store(std::ptr::null_mut(), Ordering::Relaxed);
            self.bytes.fetch_sub(held.len(), Ordering::Relaxed);
            self.cache.used.fetch_sub(held.len(), Ordering::Relaxed);
        }
    }

    /// Content bytes held, and misses since the owner was made.
    pub(super) fn usage(&self) -> (u64, u64) {
        (self.bytes.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        self.cache.used.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
        if let Some(Some(_)) = self.shelf.get() {
            self.cache.shelved.fetch_sub(self.shelved, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(n: usize) -> Arc<Held> {
        Arc::new(Held::Plain(Memory::zeroed(n, None).unwrap()))
    }

    #[test]
    fn the_clock_forgets_owners_that_are_gone() {
        let cache = Cache::new(CacheMode::Plain, 1 << 20);
        for _ in 0..1000 {
            let slots = Slots::new(&cache, Class::Rows, 10, 0);
            (0..10).for_each(|i| slots.insert(i, held(10)));
        }
        assert!(cache.clocks.lock().rows.entries.len() < 200);
        assert_eq!(cache.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn keeps_its_budget_and_prefers_what_is_used() {
        let cache = Cache::new(CacheMode::Plain, 1000);
        let slots = Slots::new(&cache, Class::Rows, 100, 0);
        for i in 0..100 {
            slots.insert(i, held(100));
            assert!(cache.used.load(Ordering::Relaxed) <= 1000);
            let _ = slots.get(0);
        }
        assert!(slots.get(0).is_some(), "the slot used throughout stayed");
        assert!(slots.get(50).is_none());
        slots.insert(60, held(1001));
        assert!(slots.get(60).is_none(), "larger than the budget");
        assert_eq!(slots.usage().0, cache.used.load(Ordering::Relaxed));
        drop(slots);
        assert_eq!(cache.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn asking_ahead_is_harmless_whatever_a_slot_holds() {
        let cache = Cache::new(CacheMode::Plain, 1000);
        let slots = Slots::new(&cache, Class::Rows, 20, 0);
        (0..20).for_each(|i| slots.insert(i, held(100)));
        for i in 0..20 {
            slots.prefetch_slot(i);
            slots.prefetch(i, 0, 100);
            slots.prefetch(i, usize::MAX - 10, 1 << 20);
        }
        assert!((0..20).any(|i| slots.peek(i).is_none()), "some were evicted");
        assert!((0..20).all(|i| slots.peek(i).is_none() == slots.slots[i].bytes.load(Ordering::Relaxed).is_null()));
    }

    #[test]
    fn codes_stay_while_there_is_anything_else() {
        let cache = Cache::new(CacheMode::Plain, 1000);
        let (codes, rows) = (Slots::new(&cache, Class::Codes, 10, 0), Slots::new(&cache, Class::Rows, 100, 0));
        (0..5).for_each(|i| codes.insert(i, held(100)));
        (0..100).for_each(|i| rows.insert(i, held(100)));
        assert_eq!((codes.usage().0, rows.usage().0), (500, 500));
        (5..10).for_each(|i| codes.insert(i, held(100)));
        assert_eq!((codes.usage().0, rows.usage().0), (1000, 0));
        rows.insert(0, held(100));
        assert!(rows.peek(0).is_none() && codes.usage().0 == 1000, "the newcomer goes first");
    }

    /// Half of the budget at most is on shelves, of runs that are there; what is on them stays and counts.
    #[test]
    fn what_is_shelved_is_not_evicted_and_keeps_to_half_of_the_budget() {
        const MB: u64 = 1 << 20;
        let cache = Cache::new(CacheMode::Plain, 10 * MB);
        let slots = |bytes| Slots::new(&cache, Class::Codes, 100, bytes);
        let (none, small, first, second) = (slots(0), slots(MB), slots(3 * MB), slots(3 * MB));
        assert!(none.shelf().is_none() && small.shelf().is_none());
        let shelf = first.shelf();
        assert!(shelf.is_some() && second.shelf().is_none(), "six of ten are too much");
        let piece = || Arc::new(Held::Plain(Memory::zeroed(100_000, shelf).unwrap()));
        (0..20).for_each(|i| first.insert(i, piece()));
        (0..100).for_each(|i| second.insert(i, Arc::new(Held::Plain(Memory::zeroed(200_000, None).unwrap()))));
        assert!((0..20).all(|i| first.get(i).is_some()) && first.usage().0 == 2_000_000);
        let used = cache.used.load(Ordering::Relaxed);
        assert!(used <= 10 * MB && used == 2_000_000 + second.usage().0);
        drop(first);
        assert_eq!(cache.shelved.load(Ordering::Relaxed), 0);
        assert!(slots(5 * MB).shelf().is_some() && cache.used.load(Ordering::Relaxed) == second.usage().0);
    }

    #[test]
    fn a_part_of_what_is_not_there_fills_its_slot_where_there_is_room_and_seldom_where_not() {
        let cache = Cache::new(CacheMode::Plain, 1000);
        let slots = Slots::new(&cache, Class::Rows, 100, 0);
        assert!(slots.admits(1000));
        (0..10).for_each(|i| slots.insert(i, held(100)));
        let admitted = (0..160).filter(|_| slots.get(50).is_none() && slots.admits(100)).count();
        assert_eq!(admitted as u64, 160 / ADMIT);
    }
}
