//! What stays hidden: from who has another key, from who sees all that is stored, and under a generator that is stuck.

use super::*;
use crate::crypto::random::STUCK;
use crate::store::Name;

#[test]
fn wrong_keys_are_wrong_keys() {
    let (_, backend) = bench();
    let (vault, _) = small(&backend);
    let mut rng = Rng::new(3);
    for i in 0..10_000u32 {
        let mut key = [0; 32];
        key.iter_mut().for_each(|b| *b = rng.next_u64() as u8);
        if i < 256 {
            key = KEY;
            key[i as usize / 8] ^= 1 << (i % 8);
        }
        assert!(matches!(Vault::open(&backend, "x", &key), Err(Error::WrongKey)));
        assert!(matches!(vault.check_key(&key), Err(Error::WrongKey)));
    }
    vault.check_key(&KEY).unwrap();
    assert!(matches!(Vault::open(&backend, "x", &KEY[..31]), Err(Error::InvalidArgument { .. })));
    assert!(matches!(Vault::open(&backend, "none", &KEY), Err(Error::NotFound { .. })));
    assert!(matches!(Vault::create(&backend, "x", &KEY, b""), Err(Error::AlreadyExists { .. })));
    assert!(matches!(Vault::create(&backend, "", &KEY, b""), Err(Error::InvalidArgument { .. })));
    vault.destroy().unwrap();
    assert!(matches!(Vault::open(&backend, "x", &KEY), Err(Error::NotFound { .. })));
    assert!(matches!(vault.load(), Err(Error::NotFound { .. })));
}

/// Whatever seals in the test process enters a ledger that panics when a (key, nonce) pair comes twice (`provider.rs`);
/// here with a generator that only ever gives one byte.
#[test]
fn a_stuck_random_generator_repeats_nothing() {
    STUCK.set(Some(0x42));
    let (store, backend) = bench();
    let (vault, _) = small(&backend);
    let mut names = std::collections::HashSet::new();
    for i in 0..200 {
        let sealed = vault.seal(Kind::Delta, FrameSize::K4, b"always the same").unwrap();
        assert!(names.insert(sealed.reference.name()));
        assert!(names.insert(Name(object::part(&sealed.reference.salt, 0))));
        if i % 20 == 0 {
            vault.commit(b"always the same", vec![sealed], &[]).unwrap();
        }
    }
    // A machine restored from its image goes on from the same state.
    let image = store.with_space(vault.uuid(), |s| s.clone()).unwrap();
    let (one, _) = Vault::open(&backend, "x", &KEY).unwrap();
    one.commit(b"after the image", vec![], &[]).unwrap();
    store.with_space(vault.uuid(), |s| *s = image);
    let (two, _) = Vault::open(&backend, "x", &KEY).unwrap();
    two.commit(b"after the image", vec![], &[]).unwrap();
    let (_, another) = bench();
    small(&another);
    STUCK.set(None);
}

#[test]
fn no_plaintext_reaches_the_store_and_sizes_tell_only_frames() {
    let (store, backend) = bench();
    let marker = b"marker-marker-marker-marker-marker";
    let vault = Vault::create(&backend, "x", &KEY, marker).unwrap();
    let lens: Vec<u64> = [34usize, 2000, 4080]
        .into_iter()
        .map(|len| {
            let plain: Vec<u8> = marker.iter().copied().cycle().take(len).collect();
            let sealed = vault.seal(Kind::Payload, FrameSize::K4, &plain).unwrap();
            vault.commit(&plain, vec![sealed], &[]).unwrap();
            vault.stored_bytes().unwrap()
        })
        .collect();
    assert_eq!(lens, [4224, 8448, 12672]);
    store.with_space(vault.uuid(), |s| {
        let all = s.objects.values().map(|o| &o[..]).chain([&s.head.bytes[..]]);
        for stored in all {
            assert!(!stored.windows(8).any(|w| marker.windows(8).any(|m| m == w) || w == &KEY[..8]));
        }
    });
}
