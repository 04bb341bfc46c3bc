//! Failures of the store, each call of a scenario in turn: a clean error, nothing acknowledged is lost, and the handle
//! goes on or says honestly that it cannot. Then the failures that a file meets: no room, no permission, another writer,
//! gone.

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cyborg::crypto::Backend;
use cyborg::engine::*;
use cyborg::error::{Error, Result};
use cyborg::exec::Watch;
use cyborg::store::Store;
use cyborg::store::fault::{Fault, FaultStore};
use cyborg::store::file::FileStore;
use cyborg::store::memory::MemoryStore;
use harness::*;

fn open(store: &Arc<FaultStore>) -> Arc<Db> {
    Db::over(Backend::over(Arc::clone(store) as Arc<dyn Store>), DbOptions { threads: 1, ..DbOptions::default() })
}

/// What one step may have done when it ended in an error.
struct Step {
    name: &'static str,
    run: fn(&Arc<Db>, &Index) -> Result<()>,
    /// Its effect on the items; the same for all or nothing of it.
    effect: fn(&mut Model),
}

const fn nothing(_: &mut Model) {}

const STEPS: [Step; 11] = [
    Step {
        name: "upsert",
        run: |_, index| upsert(index, &[1, 2, 3], 10).map(drop),
        effect: |m| m.extend([(1, 10), (2, 10), (3, 10)]),
    },
    Step {
        name: "second upsert",
        run: |_, index| upsert(index, &(3..40).collect::<Vec<_>>(), 11).map(drop),
        effect: |m| m.extend((3..40).map(|id| (id, 11))),
    },
    Step {
        name: "delete",
        run: |_, index| delete(index, &[2, 5, 6, 999]).map(drop),
        effect: |m| m.retain(|id, _| ![2, 5, 6].contains(id)),
    },
    Step { name: "train", run: |_, index| train(index, 3), effect: nothing },
    Step {
        name: "upsert after training",
        run: |_, index| upsert(index, &[5, 50, 51], 12).map(drop),
        effect: |m| m.extend([(5, 12), (50, 12), (51, 12)]),
    },
    Step { name: "compact", run: |_, index| index.compact(&Watch::NONE), effect: nothing },
    Step {
        name: "delete after compaction",
        run: |_, index| delete(index, &[7]).map(drop),
        effect: |m| m.retain(|id, _| *id != 7),
    },
    Step { name: "train again", run: |_, index| train(index, 4), effect: nothing },
    Step {
        name: "drop of another index",
        run: |db, _| {
            drop(db.create_index("other", &KEY, &options())?);
            db.drop_index("other", &KEY)
        },
        effect: nothing,
    },
    Step { name: "verify", run: |_, index| index.verify(&Watch::NONE), effect: nothing },
    Step { name: "read", run: |_, index| state(index).map(drop), effect: nothing },
];

/// Runs all steps with `fault` planted, then reads; heals; runs on; reopens. Gives whether the fault struck.
fn scenario(store: &Arc<FaultStore>, at: u64, fault: Fault) -> bool {
    let place = format!("{fault:?} at call {at}");
    let mut struck = false;
    let start = store.calls();
    store.plant(at, fault);
    let db = open(store);
    // Models that the index may be at: one as long as every outcome is known.
    let mut may_be = vec![Model::new()];
    let index = match db.create_index("main", &KEY, &options()) {
        Ok(index) => index,
        Err(e) => {
            clean(&e, fault, &place);
            store.heal();
            // Not made, or made and the answer lost.
            match db.create_index("main", &KEY, &options()) {
                Err(Error::AlreadyExists { .. }) => db.open_index("main", &KEY).unwrap(),
                other => other.unwrap_or_else(|e| panic!("{place}: {e}")),
            }
        }
    };
    for step in &STEPS {
        let done = (step.run)(&db, &index);
        let effect = |m: &Model| {
            let mut after = m.clone();
            (step.effect)(&mut after);
            after
        };
        match done {
            Ok(()) => may_be = may_be.iter().map(effect).collect(),
            Err(e) => {
                clean(&e, fault, &format!("{place}, {}", step.name));
                struck = true;
                if fault == Fault::Applied || fault == Fault::Torn {
                    may_be.extend(may_be.iter().map(effect).collect::<Vec<_>>());
                }
                // What the handle shows is one of the states, also when the step failed.
                let found = state(&index).unwrap_or_else(|e| damaged(e, fault, &place));
                assert!(
                    fault == Fault::Dead || fault == Fault::Torn || may_be.contains(&found),
                    "{place}, {}",
                    step.name
                );
                if fault != Fault::Torn && fault != Fault::Dead {
                    // The fault is over, so the same step works: the handle is usable.
                    if step.name == "drop of another index" {
                        let _ = db.drop_index("other", &KEY);
                    }
                    (step.run)(&db, &index).unwrap_or_else(|e| panic!("{place}, {} again: {e}", step.name));
                    may_be = vec![effect(&found)];
                    check(&index, &may_be[0]);
                }
            }
        }
    }
    struck |= store.calls() > start + at;
    drop(index);
    db.close();
    store.heal();
    let reopened = open(store).open_index("main", &KEY).and_then(|index| {
        index.verify(&Watch::NONE)?;
        let found = state(&index)?;
        upsert(&index, &[77], 99)?;
        Ok(found)
    });
    match reopened {
        Ok(found) => assert!(may_be.contains(&found), "{place}: {found:?}"),
        // A store that tears and says nothing is found out, not believed.
        Err(Error::Corrupt { .. } | Error::NotFound { .. }) if fault == Fault::Torn => {}
        Err(e) => panic!("{place}: {e}"),
    }
    struck
}

fn damaged(e: Error, fault: Fault, place: &str) -> Model {
    assert!(fault == Fault::Torn || fault == Fault::Dead, "{place}: {e}");
    Model::new()
}

/// That `e` says what the store said, or that it is damaged where the store lied.
fn clean(e: &Error, fault: Fault, place: &str) {
    let fits = match fault {
        Fault::Full => matches!(e, Error::NoSpace { .. } | Error::Io { .. }),
        Fault::Torn => matches!(e, Error::Corrupt { .. } | Error::AlreadyExists { .. }),
        Fault::Dead => matches!(e, Error::Io { .. } | Error::InsufficientVectors { .. } | Error::Closed { .. }),
        Fault::Fail | Fault::Applied => matches!(e, Error::Io { .. } | Error::AlreadyExists { .. }),
    };
    assert!(fits, "{place}: {e}");
}

fn every_call(fault: Fault) {
    let mut at = 0;
    loop {
        let store = Arc::new(FaultStore::new(Arc::new(MemoryStore::new())));
        if !scenario(&store, at, fault) {
            break;
        }
        at += 1;
    }
    assert!(at > 60, "the scenario makes only {at} calls");
}

#[test]
fn every_call_that_fails_is_a_clean_error_and_loses_nothing() {
    every_call(Fault::Fail);
}

#[test]
fn every_call_that_finds_no_room_is_a_clean_error_and_loses_nothing() {
    every_call(Fault::Full);
}

#[test]
fn every_call_that_was_applied_and_reported_as_failed_leaves_a_known_state() {
    every_call(Fault::Applied);
}

#[test]
fn every_call_that_tears_is_found_out() {
    every_call(Fault::Torn);
}

#[test]
fn a_store_that_dies_at_any_call_comes_back_with_what_was_acknowledged() {
    every_call(Fault::Dead);
}

/// Merges run in the background after the 65th delta: their failures are told to the log alone.
#[test]
fn a_merge_that_fails_at_any_call_changes_nothing_and_is_done_again() {
    let mut at = 0;
    loop {
        let store = Arc::new(FaultStore::new(Arc::new(MemoryStore::new())));
        let mut model = Model::new();
        let failed = Arc::new(AtomicBool::new(false));
        let log: LogSink = {
            let failed = Arc::clone(&failed);
            Arc::new(move |level, target, _| {
                failed.fetch_or(level == LogLevel::Error && target == "merge", Ordering::SeqCst);
            })
        };
        let backend = Backend::over(Arc::clone(&store) as Arc<dyn Store>);
        let db = Db::over(backend, DbOptions { threads: 1, log: Some(log), ..DbOptions::default() });
        let index = db.create_index("main", &KEY, &options()).unwrap();
        for id in 0..64 {
            upsert(&index, &[id], id + 1).unwrap();
            model.insert(id, id + 1);
        }
        // The commit is the first call, those of the merge follow.
        let before = store.calls();
        let written = index.describe().unwrap().sequence + 1;
        store.plant(1 + at, Fault::Fail);
        upsert(&index, &[64], 1).unwrap();
        model.insert(64, 1);
        // Asked without a call to the store, which would draw the fault upon itself.
        until(|| failed.load(Ordering::SeqCst) || index.describe().unwrap().sequence > written);
        db.close(); // waits for the end of the merge's task
        let calls = store.calls() - before;
        store.heal();
        drop((index, db));
        let db = open(&store);
        let index = db.open_index("main", &KEY).unwrap();
        check(&index, &model);
        // Due again at the opening, and done.
        until(|| index.stats().unwrap().deltas == 0);
        check(&index, &model);
        if calls <= 1 + at {
            break;
        }
        at += 1;
    }
    assert!(at >= 6, "a merge of {at} calls");
}

fn until(what: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !what() {
        assert!(Instant::now() < patience);
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn file(scratch: &Scratch) -> Result<Arc<Db>> {
    Db::open(&scratch.url("db"), DbOptions { threads: 1, ..DbOptions::default() })
}

#[test]
fn a_second_writer_is_busy_and_a_reader_is_not() {
    let scratch = Scratch::new("busy");
    let db = file(&scratch).unwrap();
    let index = db.create_index("main", &KEY, &options()).unwrap();
    upsert(&index, &[1], 1).unwrap();
    assert!(matches!(file(&scratch).map(drop), Err(Error::Busy)));
    let reader = Db::open(&scratch.url("db"), DbOptions { read_only: true, ..DbOptions::default() }).unwrap();
    let read = reader.open_index("main", &KEY).unwrap();
    check(&read, &Model::from([(1, 1)]));
    for e in [
        upsert(&read, &[2], 2).map(drop),
        delete(&read, &[1]).map(drop),
        train(&read, 1),
        read.compact(&Watch::NONE),
        reader.create_index("x", &KEY, &options()).map(drop),
        reader.drop_index("main", &KEY),
    ] {
        assert!(matches!(e, Err(Error::ReadOnly { .. })), "{e:?}");
    }
    upsert(&index, &[2], 2).unwrap();
    drop((index, db));
    let db = file(&scratch).unwrap();
    check(&db.open_index("main", &KEY).unwrap(), &Model::from([(1, 1), (2, 2)]));
}

#[test]
fn a_file_that_vanishes_or_is_replaced_takes_no_more_writes() {
    let scratch = Scratch::new("vanished");
    let db = file(&scratch).unwrap();
    let index = db.create_index("main", &KEY, &options()).unwrap();
    upsert(&index, &[1], 1).unwrap();
    std::fs::rename(scratch.file("db"), scratch.file("elsewhere")).unwrap();
    let e = upsert(&index, &[2], 2).unwrap_err();
    assert!(matches!(e, Error::Io { .. }), "{e}");
    std::fs::write(scratch.file("db"), b"something else").unwrap();
    let e = upsert(&index, &[2], 2).unwrap_err();
    assert!(matches!(e, Error::Io { .. }), "{e}");
    check(&index, &Model::from([(1, 1)]));
    // It comes back, and all goes on.
    std::fs::rename(scratch.file("elsewhere"), scratch.file("db")).unwrap();
    upsert(&index, &[2], 2).unwrap();
    drop((index, db));
    check(&file(&scratch).unwrap().open_index("main", &KEY).unwrap(), &Model::from([(1, 1), (2, 2)]));
    assert!(matches!(
        Db::open(&scratch.url("no/such/folder/db"), DbOptions::default()).map(drop),
        Err(Error::Io { .. })
    ));
}

/// A full file system, made by a limit on the size of files in a child of its own.
#[test]
fn a_full_store_refuses_cleanly_and_works_again_when_there_is_room() {
    const CHILD: &str = "CYBORG_FULL_CHILD";
    let Ok(path) = std::env::var(CHILD) else {
        let scratch = Scratch::new("full");
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["a_full_store_refuses_cleanly_and_works_again_when_there_is_room", "--exact", "--nocapture"])
            .env(CHILD, scratch.file("db"))
            .status()
            .unwrap();
        assert!(status.success());
        return;
    };
    let limit = |bytes: u64| {
        let mut r = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: plain calls on a struct of our own; this process runs one test.
        unsafe {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            assert_eq!(libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut r), 0);
            r.rlim_cur = bytes.min(r.rlim_max);
            assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const r), 0);
        }
    };
    let mut model = Model::new();
    {
        let db = Db::open(&path, DbOptions { threads: 1, ..DbOptions::default() }).unwrap();
        let index = db.create_index("main", &KEY, &options()).unwrap();
        limit(2 << 20);
        let mut refusals = 0;
        for n in 0..200u64 {
            let ids: Vec<u64> = (n * 50..n * 50 + 50).collect();
            match upsert(&index, &ids, n + 1) {
                Ok(_) => model.extend(ids.iter().map(|&id| (id, n + 1))),
                Err(e) => {
                    let honest = matches!(e, Error::NoSpace { .. } | Error::Io { .. } | Error::ReadOnly { .. });
                    assert!(honest, "{e}");
                    refusals += 1;
                    if refusals == 1 {
                        check(&index, &model);
                    }
                }
            }
        }
        assert!(refusals > 0 && !model.is_empty());
        check(&index, &model);
        limit(u64::MAX);
        // Usable again, or honestly read-only until it is opened anew.
        match upsert(&index, &[1 << 40], 7) {
            Ok(_) => drop(model.insert(1 << 40, 7)),
            Err(e) => assert!(matches!(e, Error::ReadOnly { .. }), "{e}"),
        }
        check(&index, &model);
    }
    let db = Db::open(&path, DbOptions { threads: 1, ..DbOptions::default() }).unwrap();
    let index = db.open_index("main", &KEY).unwrap();
    check(&index, &model);
    upsert(&index, &[1 << 41], 8).unwrap();
    model.insert(1 << 41, 8);
    check(&index, &model);
}

/// Permissions mean nothing to root, so a child gives its rights away first.
#[test]
fn a_folder_without_permission_is_read_only() {
    const CHILD: &str = "CYBORG_READ_ONLY_CHILD";
    use std::os::unix::fs::PermissionsExt;
    let Ok(path) = std::env::var(CHILD) else {
        let scratch = Scratch::new("read-only");
        {
            let db = file(&scratch).unwrap();
            upsert(&db.create_index("main", &KEY, &options()).unwrap(), &[1, 2], 1).unwrap();
        }
        let allow = |file: &str, mode| {
            std::fs::set_permissions(scratch.file(file), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        allow("db", 0o444);
        allow("db-lock", 0o444);
        allow("", 0o555);
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["a_folder_without_permission_is_read_only", "--exact", "--nocapture"])
            .env(CHILD, scratch.file("db"))
            .status()
            .unwrap();
        allow("", 0o755);
        assert!(status.success());
        return;
    };
    // SAFETY: changes the rights of this process, which runs one test.
    if unsafe { libc::geteuid() } == 0 {
        // SAFETY: as above.
        assert_eq!(unsafe { libc::setresuid(65534, 65534, 65534) }, 0);
    }
    let e = Db::open(&path, DbOptions::default()).map(drop).unwrap_err();
    assert!(matches!(e, Error::ReadOnly { .. }), "{e}");
    let e = Db::open(&format!("{path}-new"), DbOptions::default()).map(drop).unwrap_err();
    assert!(matches!(e, Error::ReadOnly { .. }), "{e}");
    let db = Db::open(&path, DbOptions { read_only: true, ..DbOptions::default() }).unwrap();
    check(&db.open_index("main", &KEY).unwrap(), &Model::from([(1, 1), (2, 1)]));
}

/// A store of its own for each fault on a file: what SQLite makes of it, the engine must bear too.
#[test]
fn a_file_store_that_dies_at_any_call_comes_back() {
    for at in (0..200).step_by(7) {
        let scratch = Scratch::new(&format!("dies-{at}"));
        let inner = Arc::new(FileStore::open(&scratch.file("db"), false).unwrap());
        if !scenario(&Arc::new(FaultStore::new(inner)), at, Fault::Dead) {
            break;
        }
    }
}
