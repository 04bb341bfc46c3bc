//! The order of heads: a store that goes back is found out, and one that fails at any call loses nothing acknowledged.

use super::*;
use crate::store::Store;
use crate::store::fault::{Fault, FaultStore};

#[test]
fn a_store_that_goes_back_or_forks_is_found_out() {
    let (store, backend) = bench();
    let (vault, _) = small(&backend);
    let id = vault.uuid();
    let second = store.with_space(id, |s| s.clone()).unwrap();
    vault.commit(b"third", vec![], &[]).unwrap();
    let third = store.with_space(id, |s| s.clone()).unwrap();
    let show = |space: &crate::store::memory::Space| store.with_space(id, |s| *s = space.clone()).unwrap();

    show(&second);
    assert!(matches!(vault.load(), Err(Error::Rollback { seen: 3, got: 2 })));
    assert!(matches!(vault.newer(), Err(Error::Rollback { seen: 3, got: 2 })));
    assert!(matches!(vault.commit(b"no", vec![], &[]), Err(Error::Fenced)));
    // The old head under the new number.
    store.with_space(id, |s| s.head.seq = 3);
    assert!(corrupt(vault.load()));

    // Another writer goes on from the second head: same numbers, another history.
    show(&second);
    let (twin, _) = Vault::open(&backend, "x", &KEY).unwrap();
    twin.commit(b"other third", vec![], &[]).unwrap();
    assert!(matches!(vault.load(), Err(Error::Rollback { seen: 3, got: 3 })));
    twin.commit(b"other fourth", vec![], &[]).unwrap();
    assert!(matches!(vault.load(), Err(Error::Rollback { seen: 3, got: 4 })));

    // The true history is still followed, also over several heads at once.
    show(&third);
    assert_eq!(&vault.load().unwrap().bytes[..], b"third");
    let (writer, _) = Vault::open(&backend, "x", &KEY).unwrap();
    assert!(!vault.newer().unwrap());
    writer.commit(b"fourth", vec![], &[]).unwrap();
    writer.commit(b"fifth", vec![], &[]).unwrap();
    assert!(vault.newer().unwrap());
    assert_eq!(vault.load().unwrap().seq, 5);
    // And the loser of a race is fenced without having changed anything.
    let late = Vault::open(&backend, "x", &KEY).unwrap().0;
    writer.commit(b"sixth", vec![], &[]).unwrap();
    assert!(matches!(late.commit(b"no", vec![], &[]), Err(Error::Fenced)));
    assert_eq!(reopen(&backend).unwrap(), b"sixth");
}

#[test]
fn a_sweep_takes_what_an_earlier_process_left_and_nothing_else() {
    let (_, backend) = bench();
    let (vault, objects) = small(&backend);
    let left = vault.seal(Kind::Codes, FrameSize::K16, b"never committed").unwrap();
    vault.put(&left).unwrap();
    let live: Vec<ObjectRef> = objects.iter().map(|(r, _)| r.clone()).collect();
    assert_eq!(vault.sweep(&live).unwrap(), 0);
    drop(vault);
    let (vault, _) = Vault::open(&backend, "x", &KEY).unwrap();
    let mine = vault.seal(Kind::Codes, FrameSize::K16, b"to be committed").unwrap();
    vault.put(&mine).unwrap();
    assert_eq!(vault.sweep(&live).unwrap(), 1);
    live.iter().chain([&mine.reference]).for_each(|r| vault.verify(r).unwrap());
    assert!(corrupt(vault.verify(&left.reference)));
}

/// A manifest whose commit failed, and how.
type Failed = (Vec<u8>, Error);

/// The scenario of the fault loop. Returns the manifests that were acknowledged, in order, and the one that failed.
fn scenario(backend: &Backend) -> (Vec<Vec<u8>>, Option<Failed>) {
    let mut acked = Vec::new();
    let mut run = || -> Result<(), Failed> {
        let vault = Vault::create(backend, "x", &KEY, &[]).map_err(|e| (vec![], e))?;
        acked.push(vec![]);
        let mut live: Vec<ObjectRef> = Vec::new();
        for round in 0..4u64 {
            let mut manifest = Vec::new();
            let sealed = vault.seal(Kind::Delta, FrameSize::K4, &bytes(round, 6000)).map_err(|e| (vec![], e))?;
            let early = vault.seal(Kind::Codes, FrameSize::K4, &bytes(round, 100)).map_err(|e| (vec![], e))?;
            let old: Vec<ObjectRef> = if round == 2 { live.drain(..1).collect() } else { vec![] };
            live.extend([sealed.reference.clone(), early.reference.clone()]);
            live.iter().for_each(|r| r.write(&mut manifest));
            let done = vault.put(&early).and_then(|()| vault.commit(&manifest, vec![sealed], &old));
            done.map_err(|e| (manifest.clone(), e))?;
            acked.push(manifest);
        }
        Ok(())
    };
    let failed = run().err();
    (acked, failed)
}

#[test]
fn a_fault_at_any_call_loses_nothing_that_was_acknowledged() {
    for fault in [Fault::Fail, Fault::Full, Fault::Applied, Fault::Dead] {
        for at in 0.. {
            let store = Arc::new(FaultStore::new(Arc::new(MemoryStore::new())));
            let backend = Backend::over(Arc::clone(&store) as Arc<dyn Store>);
            store.plant(at, fault);
            let (acked, failed) = scenario(&backend);
            let reached = store.calls() > at;
            store.heal();
            match Vault::open(&backend, "x", &KEY) {
                Err(Error::NotFound { .. }) => assert!(acked.is_empty(), "{fault:?} at {at}"),
                Err(e) => panic!("{fault:?} at {at}: {e}"),
                Ok((vault, manifest)) => {
                    let found = manifest.bytes.to_vec();
                    let unknown = failed.as_ref().is_some_and(|(attempt, _)| *attempt == found);
                    assert!(acked.last() == Some(&found) || unknown, "{fault:?} at {at}");
                    let mut rest = &found[..];
                    let mut live = Vec::new();
                    while !rest.is_empty() {
                        live.push(ObjectRef::read(&mut rest).unwrap());
                    }
                    live.iter().for_each(|r| vault.verify(r).unwrap());
                    vault.sweep(&live).unwrap();
                    assert_eq!(vault.stored_bytes().unwrap(), live.iter().map(ObjectRef::stored_bytes).sum::<u64>());
                    vault.commit(b"goes on", vec![], &[]).unwrap();
                }
            }
            if !reached {
                assert!(failed.is_none() && acked.len() == 5);
                break;
            }
        }
    }
}

#[test]
fn a_commit_that_was_applied_but_not_acknowledged_is_followed() {
    let store = Arc::new(FaultStore::new(Arc::new(MemoryStore::new())));
    let backend = Backend::over(Arc::clone(&store) as Arc<dyn Store>);
    let vault = Vault::create(&backend, "x", &KEY, b"1").unwrap();
    // The store says it failed, and answers when it is asked: acknowledged after all.
    store.plant(0, Fault::Applied);
    assert_eq!(vault.commit(b"2", vec![], &[]).unwrap(), 2);
    // It failed and is gone for a while: an error now, and the next commit goes on from what is there.
    store.plant(0, Fault::Dead);
    assert!(matches!(vault.commit(b"3", vec![], &[]), Err(Error::Io { .. })));
    store.heal();
    assert_eq!(vault.commit(b"three", vec![], &[]).unwrap(), 3);
    assert_eq!(&vault.load().unwrap().bytes[..], b"three");
}
