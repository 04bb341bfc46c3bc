//! What was sealed comes back, whole and in parts, in frames of every size and in frames cut to their contents.

use super::*;
use crate::store::Store;

#[test]
fn objects_of_every_size_come_back_whole_and_in_parts() {
    let (store, backend) = bench();
    let vault = Vault::create(&backend, "x", &KEY, b"").unwrap();
    for frame in [FrameSize::K4, FrameSize::K16, FrameSize::K64] {
        let payload = frame.payload();
        assert_eq!(frame.stored(), payload + 16);
        for len in [0, 1, payload - 1, payload, payload + 1, 3 * payload, 20 * payload + 7] {
            let plain = bytes(len as u64, len);
            let sealed = vault.seal(Kind::Vectors, frame, &plain).unwrap();
            let r = sealed.reference.clone();
            assert_eq!(sealed.bytes.len() as u64, r.stored_bytes());
            assert_eq!((r.payload_len(), r.frames() as usize), (len as u64, len.div_ceil(payload).max(1)));
            vault.put(&sealed).unwrap();
            assert!(vault.read_all(&r).unwrap().bytes() == plain);
            vault.verify(&r).unwrap();
            let mut encoded = Vec::new();
            r.write(&mut encoded);
            let mut rest = &encoded[..];
            assert_eq!(ObjectRef::read(&mut rest).unwrap(), r);
            assert!(rest.is_empty() && encoded.len() == ObjectRef::ENCODED_LEN);
            for first in 0..r.frames() {
                for frames in 1..=(r.frames() - first).min(3) {
                    let mut out = vec![0; r.plain_len(first, frames).unwrap()];
                    read(&vault, &r, first, frames, &mut out).unwrap();
                    let from = first as usize * payload;
                    assert!(out == plain[from..from + out.len()]);
                }
            }
            assert!(read(&vault, &r, r.frames(), 1, &mut []).is_err());
            vault.delete(std::slice::from_ref(&r)).unwrap();
            assert!(corrupt(vault.read_all(&r)));
        }
    }
    assert_eq!(store.list(vault.uuid()).unwrap(), []);
}

/// Borders of pieces fall before, on and behind those of frames; some pieces are empty.
#[test]
fn a_plaintext_in_pieces_is_sealed_as_a_whole_one() {
    let (_, backend) = bench();
    let vault = Vault::create(&backend, "x", &KEY, b"").unwrap();
    let payload = FrameSize::K4.payload();
    for lens in [
        &[][..],
        &[0],
        &[0, 1, 0, 0],
        &[payload, payload],
        &[21, 3 * payload, 5],
        &[1, payload - 1, payload, 0, 2 * payload + 1],
        &[payload - 1, 2, 3, payload, 4 * payload, 100],
    ] {
        let plain: Vec<Vec<u8>> = (7..).zip(lens).map(|(seed, &len)| bytes(seed, len)).collect();
        let pieces: Vec<&[u8]> = plain.iter().map(|piece| &piece[..]).collect();
        let sealed = vault.seal_pieces(Kind::Delta, FrameSize::K4, &pieces).unwrap();
        let whole = vault.seal(Kind::Delta, FrameSize::K4, &plain.concat()).unwrap();
        assert_eq!(sealed.reference.payload_len(), whole.reference.payload_len());
        assert_eq!(sealed.bytes.len(), whole.bytes.len());
        vault.put(&sealed).unwrap();
        assert!(vault.read_all(&sealed.reference).unwrap().bytes() == plain.concat());
        vault.verify(&sealed.reference).unwrap();
    }
}

/// Lengths of frames of cut objects.
fn cuts() -> Vec<Vec<u32>> {
    let most = FrameSize::Cut.payload() as u32;
    let mixed = (0..3000).map(|i| 1 + i * 7919 % 700).collect();
    vec![vec![1], vec![most], vec![1, most, 1, 16, 15, 17], vec![most; 20], mixed, vec![1; ObjectRef::MAX_PIECES]]
}

#[test]
fn cut_objects_come_back_whole_and_in_parts() {
    let (_, backend) = bench();
    let vault = Vault::create(&backend, "x", &KEY, b"").unwrap();
    for lens in cuts() {
        let len = lens.iter().sum::<u32>() as usize;
        let plain = bytes(len as u64, len);
        let sealed = vault.seal_cut(Kind::Codes, &plain, &lens).unwrap();
        let r = sealed.reference.clone();
        // Header, a table of lengths with its tag, and every frame with its own: nothing is padded.
        assert_eq!(sealed.bytes.len(), 128 + 4 * lens.len() + 16 + len + 16 * lens.len());
        assert_eq!(sealed.bytes.len() as u64, r.stored_bytes());
        assert_eq!(sealed.bytes[16..20], [0; 4], "the header tells how many pieces there are");
        assert_eq!((r.payload_len(), r.frames() as usize, r.pieces()), (len as u64, lens.len() + 1, lens.len()));
        vault.put(&sealed).unwrap();
        assert!(vault.read_all(&r).unwrap().bytes() == plain);
        vault.verify(&r).unwrap();
        let mut encoded = Vec::new();
        r.write(&mut encoded);
        assert_eq!(ObjectRef::read(&mut &encoded[..]).unwrap(), r);
        let opener = vault.opener(&r).unwrap();
        let (mut at, mut from) = (r.table_bytes() as u64, 0);
        for (frame, &len) in (1..).zip(&lens).take(100) {
            let stored = vault.fetch(&r, at, len as usize + 16).unwrap();
            let mut out = vec![0; len as usize];
            vault.open_frames(&opener, frame, len as usize, &stored, &mut out).unwrap();
            assert!(out == plain[from..from + out.len()]);
            // At the place of another frame it does not open, and leaves nothing behind.
            if lens.len() > 1 {
                let other = if frame == 1 { 2 } else { frame - 1 };
                assert!(corrupt(vault.open_frames(&opener, other, len as usize, &stored, &mut out)));
                assert!(out.iter().all(|&b| b == 0));
            }
            (at, from) = (at + stored.len() as u64, from + out.len());
        }
        assert!(vault.fetch(&r, r.stored_bytes() - 128, 1).is_err());
        assert!(vault.fetch(&r, u64::MAX, 1).is_err());
    }
    for lens in [&[][..], &[0], &[5, 0], &[4], &[6], &[FrameSize::Cut.payload() as u32 + 1]] {
        assert!(vault.seal_cut(Kind::Codes, &[1; 5], lens).is_err(), "{lens:?}");
    }
    assert!(vault.seal_cut(Kind::Codes, &[1; 1 << 16], &[1; 1 << 16]).is_err());
    assert!(vault.seal(Kind::Codes, FrameSize::Cut, &[1; 100]).is_err());
    let r = vault.seal_cut(Kind::Codes, &[1; 100], &[50, 50]).unwrap().reference;
    assert!(r.plain_len(0, 1).is_err() && read(&vault, &r, 1, 1, &mut [0; 50]).is_err());
    assert!(matches!(r.plain_len(0, 1), Err(Error::Internal { .. })));
}

/// Sealed by who has the key, with lengths that are none: found before anything is cut by them.
#[test]
fn lengths_that_do_not_add_up_are_damage() {
    let (_, backend) = bench();
    let vault = Vault::create(&backend, "x", &KEY, b"").unwrap();
    let plain = bytes(4, 100);
    for lens in [[50, 50], [60, 50], [100, 0], [40, 50], [1 << 31, 100], [u32::MAX, 101]] {
        let table = lens.map(u32::to_le_bytes).concat();
        let payloads = [table.len(), 50, 50].into_iter();
        let sealed = vault.seal_frames(Kind::Codes, FrameSize::Cut, 2, 100, &[&table, &plain], payloads).unwrap();
        vault.put(&sealed).unwrap();
        let (read, verified) = (vault.read_all(&sealed.reference), vault.verify(&sealed.reference));
        if lens == [50, 50] {
            assert!(read.unwrap().bytes() == plain && verified.is_ok());
        } else {
            let what = "object (lengths)";
            assert!(matches!(read, Err(Error::Corrupt { what: w }) if w == what), "{lens:?}");
            assert!(matches!(verified, Err(Error::Corrupt { what: w }) if w == what), "{lens:?}");
        }
    }
}

/// Frames of one length in a row are opened by one call, the last may be shorter; any other cut opens nothing.
#[test]
fn a_row_of_frames_opens_by_its_own_cut_alone() {
    let (_, backend) = bench();
    let vault = Vault::create(&backend, "x", &KEY, b"").unwrap();
    let plain = bytes(3, 1000);
    let sealed = vault.seal_cut(Kind::Codes, &plain, &[300, 300, 300, 100]).unwrap();
    let r = &sealed.reference;
    let (opener, stored) = (vault.opener(r).unwrap(), &sealed.bytes[128 + r.table_bytes()..]);
    let mut out = vec![0; 1000];
    vault.open_frames(&opener, 1, 300, stored, &mut out).unwrap();
    assert!(out == plain);
    for payload in [0, 1, 100, 299, 301, 334, 500, 1000] {
        assert!(vault.open_frames(&opener, 1, payload, stored, &mut out).is_err(), "{payload}");
    }
    assert!(vault.open_frames(&opener, 2, 300, stored, &mut out).is_err(), "beyond the last frame");
    assert!(vault.open_frames(&opener, 1, 300, &stored[..stored.len() - 1], &mut out).is_err());
}
