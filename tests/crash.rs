//! kill -9 at random moments: nothing that was acknowledged is lost, nothing is half there, and the store goes on.
//!
//! The test runs itself as a child that writes, deletes, trains, compacts, makes and drops indexes on a file, and says
//! on a pipe what it begins and what is done. The parent kills it at a moment drawn from a seed, opens the same file and
//! holds it against the model: what was done is there; what was begun is there wholly or not at all. One store goes
//! through many crashes. `CYBORG_SOAK=10` kills ten times as often.

mod harness;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cyborg::engine::*;
use cyborg::error::Error;
use cyborg::exec::Watch;
use cyborg::rng::Rng;
use cyborg::store::Store;
use cyborg::store::file::FileStore;
use harness::*;

const CHILD: &str = "CYBORG_CRASH_CHILD";
const NAME: &str = "killed_at_any_moment_an_index_keeps_what_it_acknowledged";
const CYCLES: usize = 200;
/// Crashes that one store goes through.
const LIVES: usize = 25;
/// Stores at a time.
const LANES: usize = 2;
/// Threads of the child that write; thread `t` owns the ids with `id % WRITERS == t`.
const WRITERS: u64 = 2;
const IDS: u64 = 250;
/// Ids that only the parent writes.
const PARENT: u64 = 1 << 40;

#[test]
fn killed_at_any_moment_an_index_keeps_what_it_acknowledged() {
    if let Ok(job) = std::env::var(CHILD) {
        child(&job);
    }
    let cycles = CYCLES * soak().min(10);
    let scratch = Scratch::new("crash");
    let tally = Tally::default();
    std::thread::scope(|s| {
        for lane in 0..LANES {
            let (scratch, tally) = (&scratch, &tally);
            s.spawn(move || {
                (lane * LIVES..cycles).step_by(LANES * LIVES).for_each(|first| live(scratch, first, tally));
            });
        }
    });
    println!("{tally:?}");
    // A run that never met the interesting moments has shown nothing.
    assert_eq!(tally.kills.load(Ordering::Relaxed), cycles as u64);
    for (what, n) in tally.moments() {
        assert!(n > 0, "no kill struck {what}: {tally:?}");
    }
}

/// Dropping an index takes two transactions. A crash between them left a name that could be neither opened (CORRUPT)
/// nor dropped nor made anew.
#[test]
fn a_drop_cut_short_is_as_good_as_done() {
    let scratch = Scratch::new("half-drop");
    let open = || Db::open(&scratch.url("db"), DbOptions { threads: 1, ..DbOptions::default() }).unwrap();
    {
        let db = open();
        for name in ["kept", "gone"] {
            upsert(&db.create_index(name, &KEY, &options()).unwrap(), &[1, 2], 3).unwrap();
        }
    }
    // What the first transaction does.
    let sql = rusqlite::Connection::open(scratch.file("db")).unwrap();
    sql.execute_batch(
        "BEGIN; UPDATE space SET seq = 0, head = zeroblob(length(head)) WHERE name = 'gone';
         UPDATE meta SET spaces = spaces - 1; COMMIT;",
    )
    .unwrap();
    let objects = |sql: &rusqlite::Connection| {
        sql.query_row("SELECT count(*) FROM object", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(objects(&sql), 2);
    drop(sql);
    {
        let reader = Db::open(&scratch.url("db"), DbOptions { read_only: true, ..DbOptions::default() }).unwrap();
        assert_eq!(reader.list_indexes().unwrap(), ["kept"]);
        assert!(matches!(reader.open_index("gone", &KEY).map(drop), Err(Error::NotFound { .. })));
    }
    let db = open();
    assert_eq!(objects(&rusqlite::Connection::open(scratch.file("db")).unwrap()), 1);
    assert_eq!(db.list_indexes().unwrap(), ["kept"]);
    assert!(matches!(db.drop_index("gone", &KEY), Err(Error::NotFound { .. })));
    check(&db.create_index("gone", &KEY, &options()).unwrap(), &Model::new());
    check(&db.open_index("kept", &KEY).unwrap(), &Model::from([(1, 3), (2, 3)]));
}

/// What the kills struck.
#[derive(Debug, Default)]
struct Tally {
    kills: AtomicU64,
    acknowledged: AtomicU64,
    in_flight: AtomicU64,
    applied: AtomicU64,
    writing: AtomicU64,
    training: AtomicU64,
    compacting: AtomicU64,
    dropping: AtomicU64,
    opening: AtomicU64,
    swept: AtomicU64,
    merged: AtomicU64,
}

impl Tally {
    fn moments(&self) -> [(&'static str, u64); 8] {
        let n = |a: &AtomicU64| a.load(Ordering::Relaxed);
        [
            ("a write that was durable and not acknowledged", n(&self.applied)),
            ("nothing but writes", n(&self.writing)),
            ("a training", n(&self.training)),
            ("a compaction", n(&self.compacting)),
            ("the drop of an index", n(&self.dropping)),
            ("an opening", n(&self.opening)),
            ("a rebuild, leaving objects behind", n(&self.swept)),
            ("an index that had merged", n(&self.merged)),
        ]
    }
}

/// What a writer of the child may have done.
#[derive(Clone, Debug)]
struct Op {
    /// 0 = delete.
    version: u64,
    ids: Vec<u64>,
}

impl Op {
    fn apply(&self, model: &mut Model) {
        for id in &self.ids {
            if self.version == 0 {
                model.remove(id);
            } else {
                model.insert(*id, self.version);
            }
        }
    }
}

/// One store from its making through its crashes.
fn live(scratch: &Scratch, first: usize, tally: &Tally) {
    let path = scratch.file(&format!("db{first}"));
    let mut model = Model::new();
    for cycle in first..first + LIVES {
        let mut rng = Rng::stream(2026, cycle as u64);
        let said = run_and_kill(&path, cycle, &mut rng, tally);
        let in_flight = replay(&said, &mut model, tally);
        reopen(&path, cycle, &mut model, &in_flight, tally);
    }
    for suffix in ["", "-wal", "-shm", "-lock"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
}

/// Runs the child up to a moment of its life and gives everything it said.
fn run_and_kill(path: &Path, cycle: usize, rng: &mut Rng, tally: &Tally) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture"])
        .env(CHILD, format!("{cycle} {}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut said = Vec::new();
    // Which moment: a line to wait for, how many of them, and how long after it the kill comes at most.
    let (wait_for, count, micros) = match rng.below(12) {
        0 => ("", 0, 8_000),
        1 => ("open", 1, 10_000),
        2..=4 => ("done", 1 + rng.below(120), 4_000),
        5 => ("done", 66 + rng.below(80), 4_000),
        6..=8 => ("train", 1 + rng.below(2), 40_000),
        9..=10 => ("compact", 1, 20_000),
        _ => ("drop", 1, 10_000),
    };
    let mut left = count;
    while left > 0 {
        let line = lines.next().unwrap_or_else(|| panic!("cycle {cycle}: the child died by itself: {said:?}"));
        left -= usize::from(line.starts_with(wait_for));
        said.push(line);
    }
    std::thread::sleep(Duration::from_micros(rng.below(micros) as u64));
    child.kill().unwrap();
    said.extend(lines);
    let status = child.wait().unwrap();
    assert!(status.code().is_none(), "cycle {cycle}: the child ended by itself: {status}, {said:?}");
    let _ = tally.kills.fetch_add(1, Ordering::Relaxed);
    said
}

/// Carries what the child said was done over to the model; gives what was begun and not done, by writer.
fn replay(said: &[String], model: &mut Model, tally: &Tally) -> Vec<Option<Op>> {
    let mut begun: Vec<Option<Op>> = vec![None; WRITERS as usize];
    let (mut at_work, mut opened) = ("", false);
    for line in said {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut numbers = rest.split(' ').filter_map(|n| n.parse::<u64>().ok());
        match word {
            "open" => opened = true,
            "begin" => {
                let t = numbers.next().unwrap() as usize;
                begun[t] = Some(Op { version: numbers.next().unwrap(), ids: numbers.collect() });
            }
            "done" => {
                begun[numbers.next().unwrap() as usize].take().unwrap().apply(model);
                tally.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            "train" | "compact" | "drop" => at_work = word,
            "rest" => at_work = "",
            _ => {}
        }
    }
    let struck = match at_work {
        "train" => &tally.training,
        "compact" => &tally.compacting,
        "drop" => &tally.dropping,
        _ if !opened => &tally.opening,
        _ => &tally.writing,
    };
    struck.fetch_add(1, Ordering::Relaxed);
    tally.in_flight.fetch_add(begun.iter().flatten().count() as u64, Ordering::Relaxed);
    begun
}

/// Opens what the crash left and holds it against the model, which learns what became of the writes in flight.
fn reopen(path: &Path, cycle: usize, model: &mut Model, in_flight: &[Option<Op>], tally: &Tally) {
    let url = format!("file:{}", path.display());
    let swept = Arc::new(AtomicU64::new(0));
    let log: LogSink = {
        let swept = Arc::clone(&swept);
        Arc::new(move |level, target, message| {
            assert!(level != LogLevel::Error, "{target}: {message}");
            if let (Some(n), "open") = (message.split(' ').next().and_then(|n| n.parse::<u64>().ok()), target) {
                swept.fetch_add(n, Ordering::Relaxed);
            }
        })
    };
    let db = Db::open(&url, DbOptions { threads: 1, log: Some(log), ..DbOptions::default() })
        .unwrap_or_else(|e| panic!("cycle {cycle}: {e}"));
    let index = match db.open_index("main", &KEY) {
        Ok(index) => index,
        // Killed before the index was made.
        Err(Error::NotFound { .. }) if model.is_empty() && in_flight.iter().all(Option::is_none) => {
            db.create_index("main", &KEY, &options()).unwrap()
        }
        Err(e) => panic!("cycle {cycle}: {e}"),
    };
    let found = state(&index).unwrap();
    for (t, op) in in_flight.iter().enumerate() {
        let part = |m: &Model| m.iter().filter(|(id, _)| **id % WRITERS == t as u64).map(|(a, b)| (*a, *b)).collect();
        let (now, before): (Model, Model) = (part(&found), part(model));
        if let Some(op) = op {
            let mut after = before.clone();
            op.apply(&mut after);
            assert!(now == before || now == after, "cycle {cycle}: half a batch: {op:?}\n{now:?}\n{before:?}");
            if now == after && now != before {
                tally.applied.fetch_add(1, Ordering::Relaxed);
                op.apply(model);
            }
        }
    }
    assert_eq!(&found, model, "cycle {cycle}");
    check(&index, model);

    // An index that was being made or dropped is there or not; either way its name can be used.
    for name in db.list_indexes().unwrap().iter().filter(|n| *n != "main") {
        db.open_index(name, &KEY)
            .unwrap_or_else(|e| panic!("cycle {cycle}: {name}: {e}"))
            .verify(&Watch::NONE)
            .unwrap();
        db.drop_index(name, &KEY).unwrap();
    }
    drop(db.create_index("side", &KEY, &options()).unwrap_or_else(|e| panic!("cycle {cycle}: {e}")));
    db.drop_index("side", &KEY).unwrap();

    // It can be written to, and holds nothing that it does not need.
    let (id, version) = (PARENT + cycle as u64 % 7, 1_000_000 * (cycle as u64 + 1));
    upsert(&index, &[id], version).unwrap();
    model.insert(id, version);
    tally.swept.fetch_add(u64::from(swept.load(Ordering::Relaxed) > 0), Ordering::Relaxed);
    tally.merged.fetch_add(u64::from(index.stats().unwrap().runs > 0), Ordering::Relaxed);
    let uuid = FileStore::open(path, true).unwrap().find_space("main").unwrap().unwrap();
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        // A run is at most a directory, ids, codes, vectors and payload in two parts.
        let s = index.stats().unwrap();
        let objects = FileStore::open(path, true).unwrap().list(uuid).unwrap().len() as u64;
        if objects <= s.deltas + 6 * s.runs + 2 {
            break;
        }
        assert!(Instant::now() < patience, "cycle {cycle}: {objects} objects for {s:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(index);
    db.close();
    drop(db);
    let bytes = std::fs::metadata(path).unwrap().len();
    assert!(bytes < 24 << 20, "cycle {cycle}: the file has grown to {bytes} bytes");
}

/// One line to the parent, before what it announces or after what it acknowledges.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(1); // no parent any more
    }
}

fn child(job: &str) -> ! {
    let (cycle, path) = job.split_once(' ').unwrap();
    let cycle: u64 = cycle.parse().unwrap();
    say(""); // what the test harness said has no end of line
    let db = Db::open(&format!("file:{path}"), DbOptions { threads: 1, ..DbOptions::default() }).unwrap();
    let index = match db.open_index("main", &KEY) {
        Err(Error::NotFound { .. }) => db.create_index("main", &KEY, &options()).unwrap(),
        other => other.unwrap(),
    };
    say("open");
    std::thread::scope(|s| {
        for t in 0..WRITERS {
            let index = &index;
            s.spawn(move || write(index, t, cycle));
        }
        s.spawn(|| keep(&db, &index, cycle));
        // An orphan must not run for ever; who has a parent may take long where a machine is busy.
        std::thread::sleep(Duration::from_secs(300));
        std::process::exit(1);
    });
    unreachable!();
}

fn write(index: &Index, t: u64, cycle: u64) {
    let mut rng = Rng::stream(cycle, t);
    for n in 1.. {
        let len = [1, 1, 1, 2, 20][rng.below(5)];
        let mut ids: Vec<u64> = (0..len).map(|_| rng.below(IDS as usize) as u64 * WRITERS + t).collect();
        ids.sort_unstable();
        ids.dedup();
        let version = if rng.below(5) == 0 { 0 } else { (cycle + 1) * 1_000_000 + n };
        let list: Vec<String> = ids.iter().map(u64::to_string).collect();
        say(&format!("begin {t} {version} {}", list.join(" ")));
        if version == 0 {
            delete(index, &ids).unwrap();
        } else {
            upsert(index, &ids, version).unwrap();
        }
        say(&format!("done {t}"));
    }
}

/// Trains, compacts, makes and drops an index, rests.
fn keep(db: &Arc<Db>, index: &Arc<Index>, cycle: u64) {
    let mut rng = Rng::stream(cycle, 77);
    loop {
        match rng.below(4) {
            0 => {
                let options = TrainOptions { n_lists: 2 + rng.below(6) as u32, ..TrainOptions::default() };
                match index.train(&options) {
                    Ok(job) => {
                        say("train");
                        let ended = job.wait(None);
                        assert!(ended == JobState::Trained || is_few(job.error()), "{:?}", job.error());
                    }
                    Err(e) => assert!(is_few(Some(e.clone())), "{e}"),
                }
            }
            1 => {
                say("compact");
                index.compact(&Watch::NONE).unwrap();
            }
            2 => {
                say("drop");
                let side = db.create_index("side", &KEY, &options()).unwrap();
                upsert(&side, &[1, 2, 3], 1).unwrap();
                db.drop_index("side", &KEY).unwrap();
            }
            _ => {
                say("rest");
                std::thread::sleep(Duration::from_millis(rng.below(60) as u64));
            }
        }
        say("rest");
    }
}

fn is_few(e: Option<Error>) -> bool {
    matches!(e, Some(Error::InsufficientVectors { .. }))
}
