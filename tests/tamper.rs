//! Damage: every single bit of everything stored, every truncation; then the file itself, flipped, cut and zeroed.
//!
//! The rule: an index that opens gives exactly the right data by every path (verification, count, items, exact search),
//! or a clean error; never a panic, never a wrong answer, never WRONG_KEY. At the level of objects the rule is sharper:
//! any change of any object is found, and of a head everything but one of its two copies of the keyslots.

mod harness;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use cyborg::crypto::Backend;
use cyborg::engine::*;
use cyborg::error::{Error, Result};
use cyborg::exec::Watch;
use cyborg::rng::Rng;
use cyborg::store::memory::{MemoryStore, Space};
use cyborg::store::{Head, Name, SpaceId, Store};
use harness::*;
use sha2::{Digest, Sha256};

/// A store with one small index that has everything an index can have: a generation, two runs, tombstones, deltas with
/// payload, a delta that deletes.
struct Small {
    id: SpaceId,
    head: Head,
    objects: HashMap<Name, Arc<Vec<u8>>>,
    model: Model,
}

fn open(store: Arc<dyn Store>) -> Arc<Db> {
    Db::over(Backend::over(store), DbOptions { threads: 1, ..DbOptions::default() })
}

impl Small {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let mut model = Model::new();
        let db = open(Arc::clone(&store) as Arc<dyn Store>);
        let index = db.create_index("small", &KEY, &options()).unwrap();
        fill(&index, &mut model);
        check(&index, &model);
        let s = index.stats().unwrap();
        assert!(s.runs >= 1 && s.deltas >= 2 && s.tombstones >= 1, "{s:?}");
        drop((index, db));
        let id = store.find_space("small").unwrap().unwrap();
        let Space { head, objects } = store.with_space(id, |s| s.clone()).unwrap();
        Self { id, head, objects, model }
    }

    /// A store of its own with the same bytes.
    fn copy(&self) -> Arc<MemoryStore> {
        let store = Arc::new(MemoryStore::new());
        store.create_space("small", self.id, &[], &[]).unwrap();
        store.with_space(self.id, |s| *s = Space { head: self.head.clone(), objects: self.objects.clone() });
        store
    }

    /// Where the copies of the keyslots lie in the head.
    fn keyslots(&self) -> std::ops::Range<usize> {
        let block = usize::from(u16::from_le_bytes([self.head.bytes[6], self.head.bytes[7]]));
        16..16 + 2 * block
    }
}

fn fill(index: &Arc<Index>, model: &mut Model) {
    let mut put = |ids: std::ops::Range<u64>, version| {
        let ids: Vec<u64> = ids.collect();
        upsert(index, &ids, version).unwrap();
        model.extend(ids.iter().map(|&id| (id, version)));
    };
    put(0..12, 1);
    train(index, 2).unwrap();
    put(10..14, 2);
    delete(index, &[3, 4]).unwrap();
    model.retain(|id, _| ![3, 4].contains(id));
}

/// Opens the index and reads everything there is. Wrong data panics.
fn outcome(store: Arc<dyn Store>, model: &Model) -> Result<()> {
    let db = open(store);
    let index = db.open_index("small", &KEY)?;
    read_all(&index, model)
}

/// As [`outcome`], and what reading alone gives: what a query meets, the query itself must find.
fn outcomes(store: Arc<dyn Store>, model: &Model) -> (Result<()>, Result<()>) {
    let db = open(store);
    match db.open_index("small", &KEY) {
        Err(e) => (Err(e.clone()), Err(e)),
        Ok(index) => (index.verify(&Watch::NONE), read_data(&index, model)),
    }
}

/// Runs `f` for every number below `n` on all cores, with something that `make` made for each thread.
fn for_all_with<S>(n: usize, make: impl Fn() -> S + Sync, f: impl Fn(&mut S, usize) + Sync) {
    const STEP: usize = 256;
    let next = AtomicUsize::new(0);
    std::thread::scope(|s| {
        for _ in 0..std::thread::available_parallelism().unwrap().get() {
            s.spawn(|| {
                let mut made = make();
                loop {
                    let start = next.fetch_add(STEP, Ordering::Relaxed);
                    if start >= n {
                        break;
                    }
                    (start..n.min(start + STEP)).for_each(|i| f(&mut made, i));
                }
            });
        }
    });
}

fn for_all(n: usize, f: impl Fn(usize) + Sync) {
    for_all_with(n, || (), |(), i| f(i));
}

#[test]
fn every_flipped_bit_and_every_cut_of_an_object_is_found() {
    let small = Small::new();
    outcome(small.copy(), &small.model).unwrap();
    let kinds: std::collections::BTreeSet<u8> = small.objects.values().map(|o| o[7]).collect();
    assert!(kinds.len() >= 6, "few kinds of objects: {kinds:?}");
    let unread = AtomicU64::new(0);
    for (name, good) in &small.objects {
        let set = |store: &MemoryStore, bytes: Arc<Vec<u8>>| {
            store.with_space(small.id, |s| s.objects.insert(*name, bytes));
        };
        let found = |outcome: (Result<()>, Result<()>), what: &str, at: usize| match outcome {
            (Err(Error::Corrupt { .. }), Err(Error::Corrupt { .. })) => {}
            // Headers, and lengths and padding of cut objects, are for verification alone; reading by the manifest's word
            // gives the right data.
            (Err(Error::Corrupt { .. }), Ok(())) => drop(unread.fetch_add(1, Ordering::Relaxed)),
            other => panic!("{name:?}, {what} {at}: {other:?}"),
        };
        let flipped = |bit: usize| {
            let mut bad = good.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            Arc::new(bad)
        };
        let cut = |len: usize| Arc::new(good[..len].to_vec());

        let missing = small.copy();
        missing.with_space(small.id, |s| s.objects.remove(name));
        let at_opening = open(Arc::clone(&missing) as _).open_index("small", &KEY).is_err();
        assert!(matches!(outcome(missing, &small.model), Err(Error::Corrupt { .. })), "{name:?} is missing");
        if at_opening {
            let try_with = |store: &mut Arc<MemoryStore>, bytes| {
                set(store, bytes);
                outcomes(Arc::clone(store) as _, &small.model)
            };
            let make = || small.copy();
            for_all_with(good.len() * 8, make, |store, bit| found(try_with(store, flipped(bit)), "bit", bit));
            for_all_with(good.len(), make, |store, len| found(try_with(store, cut(len)), "length", len));
        } else {
            // What an opening does not read can be damaged under an open index, as long as nothing of it is cached.
            let make = || {
                let store = small.copy();
                let options = DbOptions { threads: 1, cache_bytes: 1, ..DbOptions::default() };
                let db = Db::over(Backend::over(Arc::clone(&store) as _), options);
                let index = db.open_index("small", &KEY).unwrap();
                check(&index, &small.model);
                (store, db, index)
            };
            let try_with = |(store, _, index): &mut (Arc<MemoryStore>, Arc<Db>, Arc<Index>), bytes| {
                set(store, bytes);
                (index.verify(&Watch::NONE), read_data(index, &small.model))
            };
            for_all_with(good.len() * 8, make, |open, bit| found(try_with(open, flipped(bit)), "bit", bit));
            for_all_with(good.len(), make, |open, len| found(try_with(open, cut(len)), "length", len));
        }
        let store = small.copy();
        set(&store, Arc::new([&good[..], &[0]].concat()));
        found(outcomes(store, &small.model), "length", good.len() + 1);
    }
    // Bits of headers are all that reading does not see, and of cut objects (frame size 4) bits and cuts of the frame of
    // lengths (of a few pieces here) and of the last piece, each with its tag.
    let unseen = |o: &[u8]| 8 * 128 + if o[8] == 4 { 9 * ((256 + 16) + (4096 + 16)) } else { 0 };
    let most: u64 = small.objects.values().map(|o| unseen(o)).sum();
    assert!(unread.load(Ordering::Relaxed) <= most, "{unread:?} changes of bytes that reading does not see");
}

#[test]
fn every_flipped_bit_and_every_cut_of_the_head_is_found_or_survived_and_is_never_a_wrong_key() {
    let small = Small::new();
    let with = |bytes: Vec<u8>| {
        let store = small.copy();
        store.with_space(small.id, |s| s.head.bytes = bytes);
        outcome(store, &small.model)
    };
    let slots = small.keyslots();
    for_all(small.head.bytes.len() * 8, |bit| {
        let mut bad = small.head.bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        match with(bad.clone()) {
            // One copy of the keyslots is enough, and the data is the right one: `outcome` has looked.
            Ok(()) => assert!(slots.contains(&(bit / 8)), "bit {bit} went unnoticed"),
            Err(Error::Corrupt { .. }) => assert!(!slots.contains(&(bit / 8)), "bit {bit}"),
            Err(e) => panic!("bit {bit}: {e}"),
        }
        if slots.contains(&(bit / 8)) {
            // The same bit of both copies.
            let half = slots.len() / 2;
            let twin = if bit / 8 < slots.start + half { bit / 8 + half } else { bit / 8 - half };
            bad[twin] ^= 1 << (bit % 8);
            assert!(matches!(with(bad), Err(Error::Corrupt { .. })), "bit {bit} of both copies");
        }
    });
    for_all(small.head.bytes.len(), |len| {
        assert!(matches!(with(small.head.bytes[..len].to_vec()), Err(Error::Corrupt { .. })), "length {len}");
    });
    assert!(matches!(with([&small.head.bytes[..], &[0]].concat()), Err(Error::Corrupt { .. })));
    for bit in 0..64 {
        let store = small.copy();
        store.with_space(small.id, |s| s.head.seq ^= 1 << bit);
        assert!(matches!(outcome(store, &small.model), Err(Error::Corrupt { .. })), "bit {bit} of the number");
    }
}

#[test]
fn objects_and_heads_do_not_stand_in_for_each_other() {
    let small = Small::new();
    let names: Vec<Name> = small.objects.keys().copied().collect();
    for a in &names {
        for b in names.iter().filter(|b| *b != a) {
            let store = small.copy();
            store.with_space(small.id, |s| s.objects.insert(*a, Arc::clone(&small.objects[b])));
            assert!(matches!(outcome(store, &small.model), Err(Error::Corrupt { .. })), "{b:?} for {a:?}");
        }
    }
    let other = Small::new();
    let store = small.copy();
    store.with_space(small.id, |s| s.head = other.head.clone());
    assert!(matches!(outcome(store, &small.model), Err(Error::Corrupt { .. })), "the head of another index");
    let store = small.copy();
    store.rename("small", "other");
    let db = open(store);
    assert!(matches!(db.open_index("other", &KEY).map(drop), Err(Error::Corrupt { .. })), "another name");
}

/// Versions are read before anything that a newer version may have changed.
#[test]
fn a_newer_format_is_told_from_damage() {
    let small = Small::new();
    let mut newer = small.head.bytes.clone();
    newer[4..6].copy_from_slice(&2u16.to_le_bytes());
    let check = Sha256::digest(&newer[..8]);
    newer[8..16].copy_from_slice(&check[..8]);
    let store = small.copy();
    store.with_space(small.id, |s| s.head.bytes = newer);
    let e = outcome(store, &small.model).unwrap_err();
    assert!(matches!(e, Error::Version { got: 2, supported: 1, .. }), "{e}");

    let mut newer = small.head.bytes.clone();
    let slots = small.keyslots();
    let half = slots.len() / 2;
    for at in [slots.start, slots.start + half] {
        newer[at + 4..at + 6].copy_from_slice(&2u16.to_le_bytes());
        let sum = Sha256::digest(&newer[at..at + half - 32]);
        newer[at + half - 32..at + half].copy_from_slice(&sum);
    }
    let store = small.copy();
    store.with_space(small.id, |s| s.head.bytes = newer);
    let e = outcome(store, &small.model).unwrap_err();
    assert!(matches!(e, Error::Version { .. }), "{e}");

    let scratch = Scratch::new("newer");
    drop(Db::open(&scratch.url("db"), DbOptions::default()).unwrap());
    rusqlite::Connection::open(scratch.file("db")).unwrap().execute_batch("PRAGMA user_version = 2").unwrap();
    for read_only in [false, true] {
        let e = Db::open(&scratch.url("db"), DbOptions { read_only, ..DbOptions::default() }).map(drop).unwrap_err();
        assert!(matches!(e, Error::Version { .. }), "{e}");
    }
}

/// Opens a damaged file and reads everything. Wrong data panics.
fn file_outcome(path: &Path, model: &Model, read_only: bool) -> Result<()> {
    let options = DbOptions { threads: 1, read_only, ..DbOptions::default() };
    let db = Db::open(path.to_str().unwrap(), options)?;
    let index = db.open_index("small", &KEY)?;
    read_all(&index, model)?;
    if !read_only {
        // Writing on a damaged file: done and readable, or refused.
        upsert(&index, &[99], 9)?;
        let mut after = model.clone();
        after.insert(99, 9);
        read_all(&index, &after)?;
    }
    Ok(())
}

#[test]
fn a_damaged_file_gives_the_right_data_or_a_clean_error() {
    let scratch = Scratch::in_memory("tamper");
    let mut model = Model::new();
    {
        let db = Db::open(&scratch.url("good"), DbOptions { threads: 1, ..DbOptions::default() }).unwrap();
        fill(&db.create_index("small", &KEY, &options()).unwrap(), &mut model);
    }
    let good = std::fs::read(scratch.file("good")).unwrap();
    file_outcome(&scratch.file("good"), &model, true).unwrap();
    let (right, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let flips = 1500 * soak();
    let cuts = 300;
    let pages = good.len() / 4096;
    for_all_slowly(flips + cuts + pages, |i| {
        let mut rng = Rng::stream(11, i as u64);
        let mut bad = good.clone();
        let what = if i < flips {
            // One bit, or a handful; every other one in the first pages, where SQLite keeps its own.
            let bits = [1, 1, 1, 8, 64][rng.below(5)];
            let within = if rng.below(2) == 0 { 16384 } else { bad.len() };
            (0..bits).for_each(|_| bad[rng.below(within)] ^= 1 << rng.below(8));
            "flip"
        } else if i < flips + cuts {
            // Around the borders of pages, and anywhere.
            let at = rng.below(bad.len());
            bad.truncate(if i % 3 == 0 { at / 4096 * 4096 } else { at });
            "cut"
        } else {
            let at = (i - flips - cuts) * 4096;
            bad[at..at + 4096].fill(0);
            "zeroes"
        };
        let path = scratch.file(&format!("bad{i}"));
        std::fs::write(&path, bad).unwrap();
        // As the maker of the file left it: with its lock file, which tells an emptied store from a new one.
        std::fs::copy(scratch.file("good-lock"), scratch.file(&format!("bad{i}-lock"))).unwrap();
        for read_only in [true, false] {
            match file_outcome(&path, &model, read_only) {
                Ok(()) => right.fetch_add(1, Ordering::Relaxed),
                Err(
                    Error::WrongKey | Error::NotFound { .. } | Error::Internal { .. } | Error::InvalidArgument { .. },
                ) => {
                    panic!("{what} {i}: {:?}", file_outcome(&path, &model, read_only))
                }
                Err(e) => {
                    let honest = matches!(e, Error::Corrupt { .. } | Error::Version { .. } | Error::ReadOnly { .. });
                    assert!(honest, "{what} {i}, read only {read_only}: {e}");
                    refused.fetch_add(1, Ordering::Relaxed)
                }
            };
        }
        for suffix in ["", "-lock", "-wal", "-shm"] {
            let _ = std::fs::remove_file(scratch.file(&format!("bad{i}{suffix}")));
        }
    });
    println!("{right:?} right, {refused:?} refused");
    assert!(right.into_inner() > 0 && refused.into_inner() > 100);
}

/// As [`for_all`], for work that takes long each.
fn for_all_slowly(n: usize, f: impl Fn(usize) + Sync) {
    let lanes = 8;
    std::thread::scope(|s| {
        for lane in 0..lanes {
            let f = &f;
            s.spawn(move || (lane..n).step_by(lanes).for_each(f));
        }
    });
}
