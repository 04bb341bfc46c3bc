//! Several processes on one file: one writes, many read, a second writer is kept out, a forked child may do nothing.
//!
//! The test runs itself as its readers. The writer's commits are numbered, each batch writes all its ids with that
//! number, and deletes and rewrites happen between; so a reader can tell a committed state from a mixture.

mod harness;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cyborg::engine::*;
use cyborg::error::{Error, Result};
use cyborg::exec::Watch;
use harness::*;

const ROLE: &str = "CYBORG_PROCESS";
/// Ids that every batch writes anew.
const IDS: u64 = 40;
/// Seconds that the writer writes.
const WRITING: u64 = 4;
/// Processes that read while one writes.
const READERS: usize = 3;

fn open(path: &str, read_only: bool) -> Result<Arc<Db>> {
    Db::open(path, DbOptions { threads: 1, read_only, ..DbOptions::default() })
}

/// This test again in a process of its own.
fn spawn(test: &str, role: &str, scratch: &Scratch) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(ROLE, format!("{role} {}", scratch.file("db").display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn role() -> Option<(String, String)> {
    let role = std::env::var(ROLE).ok()?;
    let (role, path) = role.split_once(' ')?;
    Some((role.to_owned(), path.to_owned()))
}

/// Whether this process runs `test` only. If not, one that does is run, to success: a fork copies the locks of other tests'
/// threads as they are, for ever held.
fn alone(test: &str, scratch: &Scratch) -> bool {
    if role().is_some() {
        return true;
    }
    let out = spawn(test, "alone", scratch).wait_with_output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    false
}

/// States of the writer that a reader must have seen to have shown something.
const STATES: u64 = 4;
/// What a reader says when it has.
const SEEN: &str = "reader: seen enough";

/// Reads until the writer has written the last version, each time a state of one commit and never an older one.
fn follow(path: &str) {
    let db = open(path, true).unwrap();
    let index = db.open_index("main", &KEY).unwrap();
    let (mut newest, mut states, mut reads) = (0, 0, 0);
    let patience = Instant::now() + Duration::from_secs(60 + WRITING * soak() as u64);
    let mut verified = Instant::now();
    while newest < u64::MAX / 2 {
        assert!(Instant::now() < patience, "the writer does not end");
        // One call each, so each is of one state: all items of a version, or without those that are deleted.
        let all: Vec<u64> = (0..IDS).collect();
        let items = index.get(Ids::U64(&all), include::ALL).unwrap();
        let version = same_version(&items.fields.metadata.unwrap());
        assert!(version == 0 || version >= newest, "{version} after {newest}");
        if version > newest {
            states += 1;
            if states == STATES {
                println!("\n{SEEN}");
            }
        }
        newest = newest.max(version);
        let q = QueryOptions {
            top_k: IDS as u32,
            n_probes: 1 << 20,
            rerank_mult: 100,
            include: include::ALL,
            ..QueryOptions::default()
        };
        let r = index.query(&vector(1, 1), 1, DIM as u32, &q, &Watch::NONE).unwrap();
        let version = same_version(&r.fields.metadata.unwrap());
        assert!(version == 0 || version >= newest, "a query sees {version} after {newest}");
        newest = newest.max(version);
        if verified.elapsed() > Duration::from_millis(300) {
            index.verify(&Watch::NONE).unwrap();
            verified = Instant::now();
        }
        reads += 1;
    }
    assert!(states >= STATES, "the reader saw {states} states");
    println!("\nreader: {reads} reads, {states} states");
}

/// The one version of all that is there. 0 = nothing is.
fn same_version(metadata: &StringColumn) -> u64 {
    let mut versions: Vec<u64> = (0..metadata.len())
        .filter_map(|i| {
            std::str::from_utf8(metadata.get(i)).unwrap().strip_prefix(r#"{"v":"#)?.strip_suffix('}')?.parse().ok()
        })
        .collect();
    versions.dedup();
    assert!(versions.len() <= 1, "versions of one state: {versions:?}");
    versions.pop().unwrap_or(0)
}

#[test]
fn readers_of_other_processes_see_committed_states_in_order_while_one_writes() {
    match role() {
        Some((role, path)) if role == "reader" => return follow(&path),
        Some((_, path)) => {
            assert!(matches!(open(&path, false).map(drop), Err(Error::Busy)));
            return;
        }
        None => {}
    }
    const TEST: &str = "readers_of_other_processes_see_committed_states_in_order_while_one_writes";
    let scratch = Scratch::new("processes");
    let db = open(&scratch.url("db"), false).unwrap();
    let index = db.create_index("main", &KEY, &options()).unwrap();
    let all: Vec<u64> = (0..IDS).collect();
    upsert(&index, &all, 1).unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let mut reader = spawn(TEST, "reader", &scratch);
            let (out, seen) = (BufReader::new(reader.stdout.take().unwrap()), Arc::clone(&seen));
            let listening = std::thread::spawn(move || {
                let heard = out.lines().map(std::result::Result::unwrap);
                heard.inspect(|line| _ = seen.fetch_add(usize::from(line == SEEN), Ordering::SeqCst)).collect()
            });
            (reader, listening)
        })
        .collect();
    assert!(spawn(TEST, "writer", &scratch).wait().unwrap().success(), "a second writer must find the store busy");
    assert!(matches!(open(&scratch.url("db"), false).map(drop), Err(Error::Busy)), "also in this process");

    // Writes as fast as they go, deletions, merges by the dozen, compaction and training.
    let end = Instant::now() + Duration::from_secs(WRITING * soak() as u64);
    // On a busy machine longer, until there was something to see and all readers saw some of it.
    let mut version = 1;
    while Instant::now() < end
        || (version <= 100 || seen.load(Ordering::SeqCst) < READERS)
            && !readers.iter().any(|(_, listening): &(_, JoinHandle<Vec<String>>)| listening.is_finished())
    {
        version += 1;
        upsert(&index, &all, version).unwrap();
        match version % 50 {
            7 => drop(delete(&index, &[3, 4, 5]).unwrap()),
            13 => drop(delete(&index, &all).unwrap()),
            30 => index.compact(&Watch::NONE).unwrap(),
            40 => train(&index, 4).unwrap(),
            _ => {}
        }
    }
    upsert(&index, &all, u64::MAX / 2).unwrap();
    for (mut reader, listening) in readers {
        let said = listening.join().unwrap();
        assert!(reader.wait().unwrap().success(), "{said:#?}");
    }
    check(&index, &all.iter().map(|&id| (id, u64::MAX / 2)).collect());
}

/// A merge of deltas that only delete changes nothing but the tombstones. A reader that was at the state before the
/// deletions took the merged state for its own and kept showing what was deleted.
#[test]
fn a_reader_sees_deletions_that_were_merged_before_it_looked() {
    let scratch = Scratch::new("merged-deletions");
    let writer = open(&scratch.url("db"), false).unwrap();
    let index = writer.create_index("main", &KEY, &options()).unwrap();
    upsert(&index, &(0..200).collect::<Vec<_>>(), 1).unwrap();
    index.compact(&Watch::NONE).unwrap();
    let reader = open(&scratch.url("db"), true).unwrap();
    let read = reader.open_index("main", &KEY).unwrap();
    assert_eq!(read.count().unwrap(), 200);
    for id in 0..65 {
        delete(&index, &[id]).unwrap();
    }
    let patience = Instant::now() + Duration::from_secs(20);
    while index.stats().unwrap().deltas > 0 {
        assert!(Instant::now() < patience, "no merge");
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(150));
    check(&read, &(65..200).map(|id| (id, 1)).collect());
}

/// A writer deletes what it replaced without asking readers of other processes. One that still was at the old state and
/// had to read from it took that for damage.
#[test]
fn a_reader_at_an_old_state_goes_on_when_its_objects_are_gone() {
    let scratch = Scratch::new("overtaken");
    let writer = open(&scratch.url("db"), false).unwrap();
    let index = writer.create_index("main", &KEY, &options()).unwrap();
    let ids: Vec<u64> = (0..100).collect();
    upsert(&index, &ids, 1).unwrap();
    index.compact(&Watch::NONE).unwrap();
    for version in 2..30 {
        // Nothing is cached, so every read goes to the store.
        let options = DbOptions { threads: 1, read_only: true, cache_bytes: 1, ..DbOptions::default() };
        let reader = Db::open(&scratch.url("db"), options).unwrap();
        let read = reader.open_index("main", &KEY).unwrap();
        assert_eq!(read.count().unwrap(), 100); // it has just looked, and will not look again for a while
        upsert(&index, &ids, version).unwrap();
        index.compact(&Watch::NONE).unwrap();
        match version % 3 {
            0 => {
                read.verify(&Watch::NONE).unwrap();
                // Verification has seen the newest head; that must not keep the reader from going there.
                std::thread::sleep(Duration::from_millis(120));
                check(&read, &ids.iter().map(|&id| (id, version)).collect());
            }
            1 => check(&read, &ids.iter().map(|&id| (id, version)).collect()),
            _ => {
                let found = read.get(Ids::U64(&ids), include::ALL).unwrap();
                assert_eq!(same_version(&found.fields.metadata.unwrap()), version);
            }
        }
    }
}

/// Verification beside writers: what was replaced meanwhile is not damage.
#[test]
fn verification_beside_a_writer_finds_no_damage() {
    let scratch = Scratch::new("verify");
    let db = open(&scratch.url("db"), false).unwrap();
    let index = db.create_index("main", &KEY, &options()).unwrap();
    let ids: Vec<u64> = (0..100).collect();
    upsert(&index, &ids, 1).unwrap();
    let (stop, verified) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|s| {
        let verify = || {
            while stop.load(Ordering::Relaxed) == 0 {
                index.verify(&Watch::NONE).unwrap();
                verified.fetch_add(1, Ordering::Relaxed);
            }
        };
        let verifying = [s.spawn(verify), s.spawn(verify)];
        let end = Instant::now() + Duration::from_secs(3);
        let mut version = 1;
        // On a busy machine longer, until there was something to see.
        let few = || verified.load(Ordering::Relaxed) <= 10;
        while (Instant::now() < end || few()) && !verifying.iter().any(|v| v.is_finished()) {
            version += 1;
            upsert(&index, &ids[..version as usize % 100 + 1], version).unwrap();
            match version % 10 {
                5 => train(&index, 3).unwrap(),
                _ => index.compact(&Watch::NONE).unwrap(),
            }
        }
        stop.store(1, Ordering::Relaxed);
    });
}

#[test]
fn a_forked_child_is_refused_everywhere_and_the_parent_goes_on() {
    let scratch = Scratch::new("fork");
    if !alone("a_forked_child_is_refused_everywhere_and_the_parent_goes_on", &scratch) {
        return;
    }
    let db = open(&scratch.url("db"), false).unwrap();
    let index = db.create_index("main", &KEY, &options()).unwrap();
    let ids: Vec<u64> = (0..100).collect();
    upsert(&index, &ids, 1).unwrap();
    train(&index, 4).unwrap(); // the worker threads exist
    upsert(&index, &ids[..10], 2).unwrap();
    let q = QueryOptions::default();
    // SAFETY: the child only makes calls that must return at once, and leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let refused = |r: Result<()>| matches!(r, Err(Error::Forked));
        let mut failed = 0;
        for (i, ok) in [
            refused(upsert(&index, &[1], 3).map(drop)),
            refused(delete(&index, &[1]).map(drop)),
            refused(index.get(Ids::U64(&[1]), include::ALL).map(drop)),
            refused(index.contains(Ids::U64(&[1])).map(drop)),
            refused(index.query(&vector(1, 1), 1, DIM as u32, &q, &Watch::NONE).map(drop)),
            refused(index.list_ids().map(drop)),
            refused(index.count().map(drop)),
            refused(index.stats().map(drop)),
            refused(index.describe().map(drop)),
            refused(index.verify(&Watch::NONE)),
            refused(index.compact(&Watch::NONE)),
            refused(index.is_trained().map(drop)),
            refused(index.is_training().map(drop)),
            refused(index.train(&TrainOptions::default()).map(drop)),
            refused(db.list_indexes().map(drop)),
            refused(db.training_status().map(drop)),
            refused(db.open_index("main", &KEY).map(drop)),
            refused(db.create_index("x", &KEY, &options()).map(drop)),
            refused(db.drop_index("main", &KEY)),
        ]
        .into_iter()
        .enumerate()
        {
            if !ok && failed == 0 {
                failed = i as i32 + 1;
            }
        }
        db.close();
        drop((index, db));
        // SAFETY: leaves without running what the parent has registered.
        unsafe { libc::_exit(failed) };
    }
    let mut status = 0;
    // SAFETY: waits for our own child.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert!(libc::WIFEXITED(status), "the child died: {status}");
    assert_eq!(libc::WEXITSTATUS(status), 0, "number of the call that was not refused");
    let mut model: Model = ids.iter().map(|&id| (id, if id < 10 { 2 } else { 1 })).collect();
    check(&index, &model);
    upsert(&index, &[7], 4).unwrap();
    model.insert(7, 4);
    assert!(matches!(open(&scratch.url("db"), false).map(drop), Err(Error::Busy)), "the child gave the lock away");
    index.compact(&Watch::NONE).unwrap();
    drop((index, db));
    check(&open(&scratch.url("db"), false).unwrap().open_index("main", &KEY).unwrap(), &model);
}

/// Children share the lock file of their parent. One that the host forked while the db was open (every program it starts
/// is such a child for a moment) kept the lock after the parent had closed the db, and the next opening was `Busy`.
#[test]
fn a_forked_child_does_not_keep_the_lock_of_a_db_that_was_closed() {
    let scratch = Scratch::new("fork-lock");
    if !alone("a_forked_child_does_not_keep_the_lock_of_a_db_that_was_closed", &scratch) {
        return;
    }
    let db = open(&scratch.url("db"), false).unwrap();
    drop(db.create_index("main", &KEY, &options()).unwrap());
    // SAFETY: the child does nothing but wait to be killed.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        loop {
            // SAFETY: sleeps.
            unsafe { libc::pause() };
        }
    }
    drop(db);
    let again = open(&scratch.url("db"), false).map(drop);
    // SAFETY: our own child, which nothing has waited for yet.
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        libc::waitpid(pid, std::ptr::null_mut(), 0);
    }
    again.unwrap();
}
