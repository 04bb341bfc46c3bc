//! Stored bytes that were changed, cut, moved or made up are found out, and are never taken for a wrong key.

use super::*;
use crate::store::{Head, Store};

#[test]
fn every_flipped_bit_and_every_truncation_of_an_object_is_found() {
    let (store, backend) = bench();
    let (vault, objects) = small(&backend);
    let mut flips = 0;
    for (r, plain) in &objects {
        let good = store.with_space(vault.uuid(), |s| Arc::clone(&s.objects[&r.name()])).unwrap();
        let set = |bytes: Vec<u8>| {
            store.with_space(vault.uuid(), |s| s.objects.insert(r.name(), Arc::new(bytes))).unwrap();
        };
        for bit in 0..good.len() * 8 {
            let mut bad = good.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            set(bad);
            assert!(corrupt(vault.verify(r)), "bit {bit}");
            // A read of the frame itself finds it too; only the header is not read with it.
            let frame = (bit / 8).checked_sub(128).map(|at| (at / 4096) as u32);
            if let Some(frame) = frame {
                let mut out = vec![1; r.plain_len(frame, 1).unwrap()];
                assert!(corrupt(read(&vault, r, frame, 1, &mut out)), "bit {bit}");
                assert!(out.iter().all(|&b| b == 0));
            }
            flips += 1;
        }
        for len in 0..good.len() {
            set(good[..len].to_vec());
            assert!(corrupt(vault.verify(r)) && corrupt(vault.read_all(r)), "length {len}");
        }
        set([&good[..], &[0]].concat());
        assert!(corrupt(vault.verify(r)));
        set(good.to_vec());
        assert!(vault.read_all(r).unwrap().bytes() == *plain);
    }
    assert!(flips > 100_000);
}

#[test]
fn every_flipped_bit_and_every_truncation_of_a_cut_object_is_found() {
    let (store, backend) = bench();
    let vault = Vault::create(&backend, "x", &KEY, b"").unwrap();
    let plain = bytes(9, 400);
    let sealed = vault.seal_cut(Kind::Codes, &plain, &[150, 150, 100]).unwrap();
    vault.put(&sealed).unwrap();
    let r = &sealed.reference;
    let set = |bytes: Vec<u8>| {
        store.with_space(vault.uuid(), |s| s.objects.insert(r.name(), Arc::new(bytes))).unwrap();
    };
    for bit in 0..sealed.bytes.len() * 8 {
        let mut bad = sealed.bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        set(bad);
        assert!(corrupt(vault.verify(r)) && corrupt(vault.read_all(r)), "bit {bit}");
    }
    for len in 0..sealed.bytes.len() {
        set(sealed.bytes[..len].to_vec());
        assert!(corrupt(vault.verify(r)), "cut to {len}");
    }
    let mut more = sealed.bytes.clone();
    more.push(0);
    set(more);
    assert!(corrupt(vault.verify(r)));
    // Another cut of the same bytes, as a reference or as an object, is another object.
    let mut forged = r.clone();
    forged.pieces = 4;
    set(sealed.bytes.clone());
    assert!(corrupt(vault.verify(&forged)) && vault.verify(r).is_ok());
}

#[test]
fn every_flipped_bit_and_every_truncation_of_the_head_is_found_or_survived_and_is_never_a_wrong_key() {
    let (store, backend) = bench();
    let (vault, _) = small(&backend);
    let id = vault.uuid();
    let good = store.head(id).unwrap().unwrap();
    let set = |bytes: Vec<u8>| store.with_space(id, |s| s.head = Head { seq: good.seq, bytes }).unwrap();
    let block = usize::from(u16::from_le_bytes([good.bytes[6], good.bytes[7]]));
    let slots = 16..16 + 2 * block;
    let mut survived = 0;
    for bit in 0..good.bytes.len() * 8 {
        let mut bad = good.bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let twice = slots.contains(&(bit / 8)).then(|| {
            let mut twice = bad.clone();
            let at = if bit / 8 < 16 + block { bit / 8 + block } else { bit / 8 - block };
            twice[at] ^= 1 << (bit % 8);
            twice
        });
        set(bad);
        match reopen(&backend) {
            Ok(manifest) => {
                assert!(slots.contains(&(bit / 8)), "bit {bit} went unnoticed");
                assert_eq!(manifest, b"second");
                survived += 1;
            }
            Err(Error::Corrupt { .. }) => assert!(!slots.contains(&(bit / 8)), "bit {bit}"),
            Err(e) => panic!("bit {bit}: {e}"),
        }
        if let Some(twice) = twice {
            set(twice);
            assert!(corrupt(reopen(&backend)), "bit {bit} in both copies");
        }
    }
    assert_eq!(survived, 16 * block);
    for len in 0..good.bytes.len() {
        set(good.bytes[..len].to_vec());
        assert!(corrupt(reopen(&backend)), "length {len}");
    }
    set([&good.bytes[..], &[0]].concat());
    assert!(corrupt(reopen(&backend)));
    set(good.bytes.clone());
    assert_eq!(reopen(&backend).unwrap(), b"second");
}

#[test]
fn a_newer_format_is_named_as_such() {
    let (store, backend) = bench();
    let (vault, _) = small(&backend);
    store.with_space(vault.uuid(), |s| {
        s.head.bytes[4] = 2;
        let check = derive::sha256(&s.head.bytes[..8]);
        s.head.bytes[8..16].copy_from_slice(&check[..8]);
    });
    assert!(matches!(reopen(&backend), Err(Error::Version { got: 2, supported: 1, .. })));
}

#[test]
fn nothing_opens_in_another_place() {
    let (store, backend) = bench();
    let (vault, objects) = small(&backend);
    let id = vault.uuid();
    let (a, b) = (&objects[1].0, &objects[2].0);
    let kept = store.with_space(id, |s| s.clone()).unwrap();
    let restore = || store.with_space(id, |s| *s = kept.clone()).unwrap();

    // Two objects change places.
    store.with_space(id, |s| {
        let (x, y) = (Arc::clone(&s.objects[&a.name()]), Arc::clone(&s.objects[&b.name()]));
        s.objects.insert(a.name(), y);
        s.objects.insert(b.name(), x);
    });
    assert!(corrupt(vault.read_all(a)) && corrupt(vault.read_all(b)));
    restore();

    // Two frames of an object change places; its last frame is cut off; its first is repeated.
    for change in [0, 1, 2] {
        store.with_space(id, |s| {
            let mut bytes = s.objects[&a.name()].to_vec();
            match change {
                0 => {
                    let (x, y) = bytes[128..].split_at_mut(4096);
                    x.swap_with_slice(y);
                }
                1 => bytes.truncate(128 + 4096),
                _ => bytes.copy_within(128..128 + 4096, 128 + 4096),
            }
            s.objects.insert(a.name(), Arc::new(bytes));
        });
        assert!(corrupt(vault.read_all(a)) && corrupt(vault.verify(a)));
        assert!(corrupt(read(&vault, a, 1, 1, &mut vec![0; a.plain_len(1, 1).unwrap()])));
        restore();
    }

    // The same plaintext sealed again, under the name of the first: an older version cannot come back.
    let again = vault.seal(a.kind(), a.frame_size(), &objects[1].1).unwrap();
    store.with_space(id, |s| s.objects.insert(a.name(), Arc::new(again.bytes.clone())));
    assert!(corrupt(vault.read_all(a)));
    restore();

    // A reference of another kind, or with the salt of another object, opens nothing.
    let mut forged = a.clone();
    forged.kind = Kind::Ids;
    assert!(corrupt(vault.read_all(&forged)));
    forged = a.clone();
    forged.salt = b.salt;
    assert!(corrupt(vault.read_all(&forged)));
    assert!(vault.read_all(a).is_ok());

    // Another index under the same key: neither its head nor its objects fit, nor this one under its name.
    let other = Vault::create(&backend, "y", &KEY, b"other").unwrap();
    let foreign = store.head(other.uuid()).unwrap().unwrap();
    store.with_space(id, |s| s.head = foreign);
    assert!(corrupt(reopen(&backend)));
    restore();
    let bytes = Arc::clone(&kept.objects[&a.name()]);
    store.with_space(other.uuid(), |s| s.objects.insert(a.name(), bytes));
    assert!(corrupt(other.read_all(a)));
    store.rename("x", "z");
    assert!(corrupt(Vault::open(&backend, "z", &KEY)));
}

/// Keyslots and manifests made by someone who can compute an unkeyed check: refused, without a panic.
#[test]
fn hostile_heads_are_refused() {
    let (store, backend) = bench();
    let (vault, _) = small(&backend);
    let id = vault.uuid();
    let good = store.head(id).unwrap().unwrap().bytes;
    let block = usize::from(u16::from_le_bytes([good[6], good[7]]));
    let mut rng = Rng::new(17);
    for round in 0..20_000 {
        let mut slots = good[16..16 + block].to_vec();
        if round % 2 == 0 {
            slots.truncate(rng.below(block + 1).max(32));
        }
        for _ in 0..rng.below(4) {
            let at = rng.below(slots.len());
            slots[at] = rng.next_u64() as u8;
        }
        let body = slots.len() - 32;
        let sum = derive::sha256(&slots[..body]);
        slots[body..].copy_from_slice(&sum);
        let mut head = good[..6].to_vec();
        head.extend_from_slice(&(slots.len() as u16).to_le_bytes());
        let check = derive::sha256(&head);
        head.extend_from_slice(&check[..8]);
        head.extend_from_slice(&slots);
        head.extend_from_slice(&slots);
        head.extend_from_slice(&good[16 + 2 * block..][..rng.below(good.len() - 16 - 2 * block + 1)]);
        let same = head == good;
        store.with_space(id, |s| s.head.bytes = head);
        assert!(same || reopen(&backend).is_err());
    }
}

#[test]
fn hostile_references_are_refused() {
    let mut rng = Rng::new(11);
    for _ in 0..20_000 {
        let len = rng.below(ObjectRef::ENCODED_LEN + 8);
        let mut encoded: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
        if let Some(kind) = encoded.get_mut(24) {
            *kind %= 12;
        }
        if let Some(size) = encoded.get_mut(25) {
            *size %= 6;
        }
        let cut = encoded.get(25) == Some(&(FrameSize::Cut as u8));
        if encoded.len() > 40 {
            encoded[26..28].fill(if cut { rng.below(3) as u8 } else { 0 });
            encoded[36..40].fill(0);
        }
        if let Ok(r) = ObjectRef::read(&mut &encoded[..]) {
            assert!(r.frames() >= 1 && r.frames() <= object::MAX_FRAMES);
            let fits = r.payload_len() <= u64::from(r.frames() - u32::from(cut)) * r.frame_size().payload() as u64;
            assert!(fits && cut == (r.pieces() > 0));
            assert!(cut || r.plain_len(0, r.frames()).unwrap() as u64 == r.payload_len());
        }
    }
}
