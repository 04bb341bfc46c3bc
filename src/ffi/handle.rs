//! The handle table: what C holds as `cyborg_db *` is a tagged slot number, never an address.
//!
//! A handle is `tag (8 bits) | generation (31) | slot (24) | 1`: the tag tells the kind, the generation how often the
//! slot was used, and the odd last bit keeps it from ever looking like an aligned pointer. Freeing a handle moves its
//! slot to the next generation, so a stale, twice-freed or foreign handle is found out by comparison and nothing is
//! ever dereferenced. A slot whose generations are used up is retired.
//!
//! A lookup hands out an `Arc`, so `free` on one thread never pulls an object from under a call on another. The lock
//! is held for the lookup only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

use crate::error::{Error, Result};

const SLOT_BITS: u32 = 24;
const GENERATION_BITS: u32 = 31;
const MAX_SLOTS: usize = 1 << SLOT_BITS;
const LAST_GENERATION: u32 = (1 << GENERATION_BITS) - 1;

/// A lock held for nanoseconds that cannot be had for this long was held by a thread that a fork left behind.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// An opaque C type whose pointers are handles.
pub(super) trait Handle: Sized + 'static {
    /// What the handle stands for.
    type Inner: Send + Sync + 'static;
    /// Kind of object, in errors.
    const WHAT: &'static str;
    /// The table that owns the objects.
    fn table() -> &'static Table<Self::Inner>;
}

/// An object in the table.
#[derive(Debug)]
pub(super) struct Entry<T> {
    value: T,
    poisoned: AtomicBool,
    pid: u32,
}

impl<T> Entry<T> {
    /// The object itself.
    pub(super) fn value(&self) -> &T {
        &self.value
    }

    /// Makes every later lookup fail with `Poisoned`.
    pub(super) fn poison(&self) {
        self.poisoned.store(true, Ordering::Release);
    }
}

/// All live objects of one kind.
#[derive(Debug)]
pub(super) struct Table<T> {
    tag: u8,
    slots: RwLock<Slots<T>>,
}

#[derive(Debug)]
struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    entry: Option<Arc<Entry<T>>>,
}

impl<T> Table<T> {
    pub(super) const fn new(tag: u8) -> Self {
        Self { tag, slots: RwLock::new(Slots { slots: Vec::new(), free: Vec::new() }) }
    }

    fn encode(&self, slot: usize, generation: u32) -> usize {
        usize::from(self.tag) << 56 | (generation as usize) << (SLOT_BITS + 1) | slot << 1 | 1
    }

    /// Slot and generation of a handle of this kind.
    fn decode(&self, handle: usize) -> Option<(usize, u32)> {
        let ours = handle & 1 == 1 && handle >> 56 == usize::from(self.tag);
        let generation = (handle >> (SLOT_BITS + 1)) as u32 & LAST_GENERATION;
        ours.then_some(((handle >> 1) & (MAX_SLOTS - 1), generation))
    }

    fn insert(&self, value: T) -> Result<usize> {
        let entry = Arc::new(Entry { value, poisoned: AtomicBool::new(false), pid: std::process::id() });
        let mut guard = self.slots.try_write_for(LOCK_PATIENCE).ok_or(Error::Forked)?;
        let Slots { slots, free } = &mut *guard;
        let slot = match free.pop() {
            Some(slot) => slot as usize,
            None => {
                // Room in both, so that `remove` never allocates.
                let room = slots.len() < MAX_SLOTS
                    && slots.try_reserve(1).is_ok()
                    && free.try_reserve(slots.capacity()).is_ok();
                if !room {
                    let (needed, got) = (slots.len() as u64 + 1, MAX_SLOTS as u64);
                    return Err(Error::NoMemory { what: "the handle table", needed, got });
                }
                slots.push(Slot { generation: 0, entry: None });
                slots.len() - 1
            }
        };
        slots[slot].entry = Some(entry);
        Ok(self.encode(slot, slots[slot].generation))
    }

    fn get(&self, handle: usize, what: &'static str, kind: &'static str) -> Result<Arc<Entry<T>>> {
        let invalid = Error::InvalidHandle { what };
        let Some((slot, generation)) = self.decode(handle) else { return Err(invalid) };
        let slots = self.slots.try_read_for(LOCK_PATIENCE).ok_or(Error::Forked)?;
        let found = slots.slots.get(slot).filter(|s| s.generation == generation).and_then(|s| s.entry.clone());
        drop(slots);
        let entry = found.ok_or(invalid)?;
        if entry.pid != std::process::id() {
            return Err(Error::Forked);
        }
        if entry.poisoned.load(Ordering::Acquire) {
            return Err(Error::Poisoned { what: kind });
        }
        Ok(entry)
    }

    /// Takes the object out; `None` for a handle that is not live. The object goes when its last call returns.
    fn remove(&self, handle: usize) -> Option<Arc<Entry<T>>> {
        let (slot, generation) = self.decode(handle)?;
        let mut guard = self.slots.try_write_for(LOCK_PATIENCE)?;
        let Slots { slots, free } = &mut *guard;
        let place = slots.get_mut(slot).filter(|s| s.generation == generation)?;
        let entry = place.entry.take()?;
        if place.generation < LAST_GENERATION {
            place.generation += 1;
            free.push(slot as u32);
        }
        Some(entry)
    }
}

/// Puts an object into its table; the result is what C gets.
pub(super) fn insert<H: Handle>(inner: H::Inner) -> Result<*mut H> {
    Ok(std::ptr::without_provenance_mut(H::table().insert(inner)?))
}

/// The live object of a handle. `what` names the parameter in errors.
pub(super) fn get<H: Handle>(handle: *const H, what: &'static str) -> Result<Arc<Entry<H::Inner>>> {
    if handle.is_null() {
        return Err(Error::NullArgument { what });
    }
    H::table().get(handle.addr(), what, H::WHAT)
}

/// Frees a handle; a handle that is NULL or not live is left alone.
pub(super) fn free<H: Handle>(handle: *mut H) {
    super::guard::quiet(|| {
        if let Some(entry) = H::table().remove(handle.addr()) {
            if entry.pid == std::process::id() {
                drop(entry);
            } else {
                // After a fork the object belongs to the parent: its threads do not exist here, and closing its files
                // would disturb the parent. The child's copy is left as it is.
                let _ = std::mem::ManuallyDrop::new(entry);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_lives_from_insert_to_remove() {
        let table = Table::new(0xC1);
        let a = table.insert("a").unwrap();
        let b = table.insert("b").unwrap();
        assert_ne!(a, b);
        assert_eq!(*table.get(a, "x", "x").unwrap().value(), "a");
        assert!(table.remove(a).is_some());
        assert!(table.remove(a).is_none(), "a second free finds nothing");
        assert!(matches!(table.get(a, "x", "x"), Err(Error::InvalidHandle { what: "x" })));
        let c = table.insert("c").unwrap();
        assert_ne!(a, c, "the slot is reused, the handle is not");
        assert!(table.get(a, "x", "x").is_err());
        assert_eq!(*table.get(c, "x", "x").unwrap().value(), "c");
    }

    #[test]
    fn foreign_values_are_refused() {
        let (table, other) = (Table::new(0xC1), Table::new(0xC2));
        let h = table.insert(1).unwrap();
        let far = other.insert(1).unwrap();
        for bad in [0, 1, 8, h ^ 1, h + 2, h | 1 << 40, far, usize::MAX, &raw const table as usize] {
            assert!(table.get(bad, "x", "x").is_err(), "{bad:#x}");
            assert!(table.remove(bad).is_none(), "{bad:#x}");
        }
        assert!(table.get(h, "x", "x").is_ok());
    }

    #[test]
    fn a_used_up_slot_is_retired() {
        let table = Table::new(0xC1);
        table.insert(()).unwrap();
        table.slots.write().slots[0].generation = LAST_GENERATION;
        let last = table.encode(0, LAST_GENERATION);
        assert!(table.remove(last).is_some());
        assert!(table.get(last, "x", "x").is_err());
        assert_eq!(table.decode(table.insert(()).unwrap()), Some((1, 0)));
    }

    #[test]
    fn a_poisoned_handle_can_only_be_freed() {
        let table = Table::new(0xC1);
        let h = table.insert(()).unwrap();
        table.get(h, "x", "index").unwrap().poison();
        assert!(matches!(table.get(h, "x", "index"), Err(Error::Poisoned { what: "index" })));
        assert!(table.remove(h).is_some());
    }

    #[test]
    fn free_on_one_thread_leaves_a_call_on_another_its_object() {
        let table = Table::new(0xC1);
        let h = table.insert(vec![1, 2, 3]).unwrap();
        let held = table.get(h, "x", "x").unwrap();
        std::thread::scope(|s| {
            s.spawn(|| assert!(table.remove(h).is_some()));
        });
        assert_eq!(held.value(), &[1, 2, 3]);
    }
}
