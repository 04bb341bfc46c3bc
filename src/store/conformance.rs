//! The contract of `store/mod.rs` as one suite, run against every implementation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::fault::FaultStore;
use super::file::FileStore;
use super::memory::MemoryStore;
use super::{Name, Store};
use crate::error::Error;
use crate::store::file::scratch::Scratch;

const A: [u8; 16] = [1; 16];
const B: [u8; 16] = [2; 16];

fn name(n: u64) -> Name {
    let mut out = [0; 24];
    out[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    out[16..].copy_from_slice(&n.to_be_bytes());
    Name(out)
}

/// Bytes that differ from place to place, so that a range taken from the wrong place shows.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = crate::rng::Rng::new(seed);
    (0..len).map(|_| rng.next_u64() as u8).collect()
}

fn each(test: impl Fn(&dyn Store)) {
    test(&MemoryStore::new());
    test(&FaultStore::new(Arc::new(MemoryStore::new())));
    let scratch = Scratch::new();
    test(&FileStore::open(&scratch.path("db"), false).unwrap());
}

#[test]
fn spaces_are_made_listed_found_and_dropped() {
    each(|s| {
        assert_eq!(s.spaces().unwrap(), []);
        assert_eq!(s.find_space("one").unwrap(), None);
        s.create_space("zwei \u{1f600} / \" '", B, b"b", &[]).unwrap();
        s.create_space("one", A, b"a", &[]).unwrap();
        assert!(matches!(s.create_space("one", [9; 16], b"", &[]), Err(Error::AlreadyExists { .. })));
        assert!(matches!(s.create_space("other", A, b"", &[]), Err(Error::AlreadyExists { .. })));
        let listed = s.spaces().unwrap();
        assert_eq!(listed, [("one".to_owned(), A), ("zwei \u{1f600} / \" '".to_owned(), B)]);
        assert_eq!(s.find_space("one").unwrap(), Some(A));
        let head = s.head(A).unwrap().unwrap();
        assert_eq!((head.seq, &head.bytes[..]), (1, &b"a"[..]));
        s.put_new(A, name(1), b"x").unwrap();
        s.put_new(B, name(1), b"y").unwrap();
        assert!(s.drop_space(A).unwrap());
        assert!(!s.drop_space(A).unwrap());
        assert_eq!((s.head(A).unwrap(), s.head_seq(A).unwrap(), s.list(A).unwrap()), (None, None, vec![]));
        assert!(matches!(s.len(A, name(1)), Err(Error::NotFound { .. })));
        assert_eq!(s.len(B, name(1)).unwrap(), 1);
        assert!(matches!(s.commit(A, 1, b"", vec![], &[]), Err(Error::NotFound { .. })));
        assert!(matches!(s.put_new(A, name(2), b""), Err(Error::NotFound { .. })));
        s.create_space("one", [3; 16], b"again", &[]).unwrap();
        assert_eq!(s.list([3; 16]).unwrap(), []);
    });
}

#[test]
fn a_space_is_made_with_its_first_objects_or_not_at_all() {
    each(|s| {
        let (x, y) = (bytes(1, 5000), bytes(2, 300_000));
        s.create_space("i", A, b"1", &[(name(1), &x), (name(2), &y)]).unwrap();
        let mut out = vec![0; y.len()];
        s.get(A, name(2), 0, &mut out).unwrap();
        assert!(out == y && s.len(A, name(1)).unwrap() == 5000);
        assert!(matches!(s.create_space("i", B, b"2", &[(name(3), &x)]), Err(Error::AlreadyExists { .. })));
        assert_eq!((s.head(B).unwrap(), s.list(B).unwrap()), (None, vec![]));
        s.commit(A, 1, b"2", vec![], &[name(1)]).unwrap();
        assert_eq!(s.list(A).unwrap().len(), 1);
    });
}

#[test]
fn a_commit_is_whole_or_nothing_and_wins_its_number_once() {
    each(|s| {
        s.create_space("i", A, b"1", &[]).unwrap();
        s.put_new(A, name(0), b"old").unwrap();
        let (x, y) = (bytes(1, 5000), bytes(2, 300_000));
        s.commit(A, 1, b"2", vec![(name(1), x.clone()), (name(2), y.clone())], &[name(0), name(99)]).unwrap();
        assert_eq!(s.head(A).unwrap().unwrap().seq, 2);
        assert!(matches!(s.get(A, name(0), 0, &mut [0; 3]), Err(Error::NotFound { .. })));
        for (n, content) in [(name(1), &x), (name(2), &y)] {
            let mut read = vec![0; content.len()];
            s.get(A, n, 0, &mut read).unwrap();
            assert!(read == *content);
        }
        // Stale, and a name that is taken or comes twice: nothing of any step is there afterwards.
        for stale in [1, 3] {
            let commit = s.commit(A, stale, b"no", vec![(name(3), x.clone())], &[name(1)]);
            assert!(matches!(commit, Err(Error::Fenced)));
        }
        for taken in [name(1), name(3)] {
            let commit = s.commit(A, 2, b"no", vec![(name(3), x.clone()), (taken, y.clone())], &[name(2)]);
            assert!(matches!(commit, Err(Error::AlreadyExists { .. })));
        }
        assert!(matches!(s.len(A, name(3)), Err(Error::NotFound { .. })));
        assert_eq!(s.head(A).unwrap().unwrap().bytes, b"2");
        let mut list = s.list(A).unwrap();
        list.sort();
        let mut expected = [(name(1), 5000), (name(2), 300_000)];
        expected.sort();
        assert_eq!(list, expected);
    });
}

#[test]
fn what_a_commit_hands_over_is_kept_in_memory_and_not_copied() {
    // There were two commits: one of objects lent, and one of objects handed over that only the memory store had, so that
    // behind a planted fault upserts were copied and went by another way than without.
    let memory = Arc::new(MemoryStore::new());
    let behind = FaultStore::new(Arc::clone(&memory) as Arc<dyn Store>);
    memory.create_space("i", A, b"", &[]).unwrap();
    for (seq, s) in [(1, &*memory as &dyn Store), (2, &behind)] {
        let content = bytes(seq, 5000);
        let place = content.as_ptr();
        s.commit(A, seq, b"", vec![(name(seq), content)], &[]).unwrap();
        assert_eq!(memory.with_space(A, |space| space.objects[&name(seq)].as_ptr()), Some(place));
    }
}

#[test]
fn objects_are_immutable_and_ranges_are_whole() {
    each(|s| {
        s.create_space("i", A, b"", &[]).unwrap();
        // Around the borders of chunk rows and of pages.
        for (n, len) in [0, 1, 4095, 16384, 262_143, 262_144, 262_145, 524_288, 1_000_003].into_iter().enumerate() {
            let (n, content) = (name(n as u64), bytes(n as u64, len));
            s.put_new(A, n, &content).unwrap();
            assert!(matches!(s.put_new(A, n, b"other"), Err(Error::AlreadyExists { .. })));
            assert_eq!(s.len(A, n).unwrap(), len as u64);
            for (from, to) in [(0, len), (len / 2, len), (len / 3, len / 2), (len, len), (0, len.min(1))] {
                let mut out = vec![0; to - from];
                s.get(A, n, from as u64, &mut out).unwrap();
                assert!(out == content[from..to], "{len}: {from}..{to}");
            }
            for (offset, wanted) in [(len as u64, 1), (0, len + 1), (u64::MAX, 1), (u64::MAX, 0), (len as u64 + 1, 0)] {
                let got = s.get(A, n, offset, &mut vec![0; wanted]);
                assert!(matches!(got, Err(Error::Corrupt { .. })), "{len}: {offset}+{wanted}");
            }
        }
        s.delete(A, &[name(0), name(5), name(77)]).unwrap();
        assert!(matches!(s.get(A, name(5), 0, &mut []), Err(Error::NotFound { .. })));
        assert_eq!(s.list(A).unwrap().len(), 7);
        s.reclaim().unwrap();
        let mut out = vec![0; 1_000_003];
        s.get(A, name(8), 0, &mut out).unwrap();
        assert!(out == bytes(8, 1_000_003));
        assert!(s.size().unwrap() > 1_000_003);
    });
}

#[test]
fn many_threads_race_and_one_wins_each_number() {
    each(|s| {
        s.create_space("i", A, b"", &[]).unwrap();
        let wins = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for t in 0..4u64 {
                let wins = &wins;
                scope.spawn(move || {
                    for i in 0..40u64 {
                        let object = name(t * 1000 + i + 1);
                        let content = bytes(t, 2000);
                        let seq = s.head_seq(A).unwrap().unwrap();
                        match s.commit(A, seq, &seq.to_le_bytes(), vec![(object, content.clone())], &[]) {
                            Ok(()) => {
                                wins.fetch_add(1, Ordering::SeqCst);
                                let mut out = vec![0; 2000];
                                s.get(A, object, 0, &mut out).unwrap();
                                assert!(out == content);
                            }
                            Err(Error::Fenced) => assert!(matches!(s.len(A, object), Err(Error::NotFound { .. }))),
                            Err(e) => panic!("{e}"),
                        }
                    }
                });
            }
        });
        let head = s.head(A).unwrap().unwrap();
        assert_eq!(head.seq, 1 + u64::from(wins.load(Ordering::SeqCst)));
        assert_eq!(head.bytes, (head.seq - 1).to_le_bytes());
        assert_eq!(s.list(A).unwrap().len() as u64, head.seq - 1);
    });
}

#[test]
fn faults_strike_once_where_they_were_planted() {
    use super::fault::Fault;
    let s = FaultStore::new(Arc::new(MemoryStore::new()));
    s.create_space("i", A, b"", &[]).unwrap();
    s.plant(1, Fault::Applied);
    s.put_new(A, name(1), b"one").unwrap();
    assert!(matches!(s.put_new(A, name(2), b"two"), Err(Error::Io { .. })));
    assert_eq!(s.len(A, name(2)).unwrap(), 3);
    s.plant(0, Fault::Torn);
    s.put_new(A, name(3), b"four").unwrap();
    let mut out = [9; 4];
    s.get(A, name(3), 0, &mut out).unwrap();
    assert_eq!(&out, b"fo\0\0");
    // A commit is one call, however many objects it puts, and is torn in each of them.
    let before = s.calls();
    s.plant(1, Fault::Torn);
    s.commit(A, 1, b"", vec![(name(4), b"1234".to_vec()), (name(5), b"123".to_vec())], &[]).unwrap();
    s.commit(A, 2, b"", vec![(name(6), b"1234".to_vec()), (name(7), b"123".to_vec())], &[]).unwrap();
    assert_eq!(s.calls(), before + 2);
    for (n, expected) in [(4, b"1234".as_slice()), (5, b"123"), (6, b"12\0\0"), (7, b"1\0\0")] {
        let mut out = vec![9; expected.len()];
        s.get(A, name(n), 0, &mut out).unwrap();
        assert_eq!(out, expected);
    }
    s.plant(0, Fault::Applied);
    assert!(matches!(s.commit(A, 3, b"", vec![], &[name(4)]), Err(Error::Io { .. })));
    assert_eq!(s.head_seq(A).unwrap(), Some(4));
    assert!(matches!(s.len(A, name(4)), Err(Error::NotFound { .. })));
    s.plant(0, Fault::Full);
    assert!(matches!(s.commit(A, 4, b"", vec![(name(8), b"8".to_vec())], &[]), Err(Error::NoSpace { .. })));
    assert_eq!(s.head_seq(A).unwrap(), Some(4));
    assert!(matches!(s.len(A, name(8)), Err(Error::NotFound { .. })));
    s.plant(1, Fault::Dead);
    s.len(A, name(1)).unwrap();
    assert!(s.len(A, name(1)).is_err() && s.head(A).is_err());
    s.heal();
    assert_eq!(s.len(A, name(1)).unwrap(), 3);
}
