//! What encryption and durability cost: seal and open against the bare AES-256-GCM of aws-lc, and a small durable commit
//! and bulk writes against bare writes with fdatasync, each pair taken in turns in the same run.
//!
//! `cargo bench --bench seal [-- FOLDER]`; the folder is where the store is made (default: the target folder).

use std::fs::File;
use std::hint::black_box;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use aws_lc_rs::aead;
use cyborg::crypto::{Backend, FrameSize, Kind, ObjectRef, Sealed, Vault};

const FRAMES: [(FrameSize, &str); 3] =
    [(FrameSize::K4, "4 KiB"), (FrameSize::K16, "16 KiB"), (FrameSize::K64, "64 KiB")];

fn main() {
    let folder = std::env::args()
        .skip(1)
        .find(|a| !a.starts_with("--"))
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/bench-seal"), PathBuf::from);
    let backend = Backend::open("memory:", false).unwrap();
    let vault = Vault::create(&backend, "bench", &[7; 32], b"").unwrap();
    objects(&vault);
    messages(&vault);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    durable(&folder);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Seconds of one call, in the median of `rounds` turns of all of `work`.
fn turns<const N: usize>(rounds: usize, work: [&mut dyn FnMut(); N]) -> [f64; N] {
    quantiles(rounds, work).map(|[_, median]| median)
}

/// The same with the 10th percentile before the median: what it takes while nothing else uses processor and disk.
fn quantiles<const N: usize>(rounds: usize, mut work: [&mut dyn FnMut(); N]) -> [[f64; 2]; N] {
    let mut taken: [Vec<f64>; N] = std::array::from_fn(|_| Vec::with_capacity(rounds));
    for _ in 0..rounds {
        for (taken, work) in taken.iter_mut().zip(&mut work) {
            let start = Instant::now();
            work();
            taken.push(start.elapsed().as_secs_f64());
        }
    }
    taken.map(|mut t| {
        t.sort_by(f64::total_cmp);
        [t[rounds / 10], t[rounds / 2]]
    })
}

fn bare_key() -> aead::LessSafeKey {
    aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_256_GCM, &[9; 32]).unwrap())
}

/// AES-256-GCM of `plain` in pieces of `payload`, from one buffer into another: the least that sealing can cost.
fn bare_seal(key: &aead::LessSafeKey, plain: &[u8], payload: usize, out: &mut [u8]) {
    for (piece, frame) in plain.chunks(payload).zip(out.chunks_mut(payload + 16)) {
        let nonce = aead::Nonce::assume_unique_for_key([1; 12]);
        let (body, tag) = frame[..piece.len() + 16].split_at_mut(piece.len());
        key.seal_out_of_place_scatter(nonce, aead::Aad::from([0; 37]), piece, body, &[], tag).unwrap();
    }
}

fn objects(vault: &Vault) {
    println!("objects of 4 MiB           seal GB/s   bare   ratio     open GB/s   bare   ratio");
    for (frame, label) in FRAMES {
        let payload = frame.payload();
        let plain = vec![5u8; (4 << 20) / payload * payload];
        let sealed = vault.seal(Kind::Codes, frame, &plain).unwrap();
        let (key, opener) = (bare_key(), vault.opener(&sealed.reference).unwrap());
        let mut out = vec![0; sealed.bytes.len()];
        bare_seal(&key, &plain, payload, &mut out);
        let cipher = out.clone();
        let (mut opened, mut bare_opened) = (vec![0; plain.len()], vec![0; plain.len()]);
        let [seal, bare, open, bare_open] = turns(
            41,
            [
                &mut || drop(black_box(vault.seal(Kind::Codes, frame, &plain).unwrap())),
                &mut || bare_seal(&key, &plain, payload, &mut out),
                &mut || vault.open_frames(&opener, 0, payload, &sealed.bytes[128..], &mut opened).unwrap(),
                &mut || {
                    for (frame, piece) in cipher.chunks(payload + 16).zip(bare_opened.chunks_mut(payload)) {
                        let nonce = aead::Nonce::assume_unique_for_key([1; 12]);
                        let (body, tag) = frame.split_at(piece.len());
                        let tag = &tag[..16];
                        key.open_separate_gather(nonce, aead::Aad::from([0; 37]), body, tag, piece).unwrap();
                    }
                },
            ],
        );
        let rate = |t: f64| plain.len() as f64 / t * 1e-9;
        println!(
            "frames of {label:<16} {:>10.2} {:>6.2} {:>7.2} {:>13.2} {:>6.2} {:>7.2}",
            rate(seal),
            rate(bare),
            bare / seal,
            rate(open),
            rate(bare_open),
            bare_open / open
        );
    }
}

fn messages(vault: &Vault) {
    println!("\nsingle messages               seal us   open us   bare seal us   (an object of one piece)");
    for len in [100usize, 500, 1500, 4080, 16_000, 65_000] {
        let plain = vec![5u8; len];
        let sealed = vault.seal_cut(Kind::Codes, &plain, &[len as u32]).unwrap();
        let (opener, body) = (vault.opener(&sealed.reference).unwrap(), &sealed.bytes[sealed.bytes.len() - len - 16..]);
        let (key, mut out, mut opened) = (bare_key(), vec![0; len + 16], vec![0; len]);
        let [seal, open, bare] = turns(
            2001,
            [
                &mut || drop(black_box(vault.seal_cut(Kind::Codes, &plain, &[len as u32]).unwrap())),
                &mut || vault.open_frames(&opener, 1, len, body, &mut opened).unwrap(),
                &mut || bare_seal(&key, &plain, len, &mut out),
            ],
        );
        println!("{len:>6} bytes {:>25.2} {:>9.2} {:>14.2}", seal * 1e6, open * 1e6, bare * 1e6);
    }
}

fn durable(folder: &Path) {
    let backend = Backend::open(folder.join("db").to_str().unwrap(), false).unwrap();
    let vault = Vault::create(&backend, "bench", &[7; 32], b"").unwrap();
    let (batch, manifest) = (vec![1u8; 1500], vec![2u8; 3000]);
    let commit = || {
        let sealed = vault.seal(Kind::Delta, FrameSize::K4, &batch).unwrap();
        vault.commit(&manifest, vec![sealed], &[]).unwrap();
    };
    // The same bytes written over in a file that has its length already, as the log has after its first round.
    let mut file =
        File::options().read(true).write(true).create(true).truncate(true).open(folder.join("bare")).unwrap();
    file.write_all(&vec![0; 16 << 20]).unwrap();
    file.sync_all().unwrap();
    let record = vec![3u8; 4224 + 4608];
    let mut at = 0;
    let mut write = || {
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&record).unwrap();
        file.sync_data().unwrap();
        at = (at + record.len() as u64) % (15 << 20);
    };
    // Fill the log once, so that what is measured is a log that is written over.
    (0..400).for_each(|_| commit());
    let [ours, bare] = quantiles(501, [&mut || commit(), &mut || write()]);
    println!("\nsmall durable commit (1.5 KB object, 3 KB manifest), p10 and p50 ms");
    println!("  cyborg {:.3} {:.3}", ours[0] * 1e3, ours[1] * 1e3);
    println!("  bare write + fdatasync of the same bytes {:.3} {:.3}", bare[0] * 1e3, bare[1] * 1e3);
    println!("  ratio {:.2} {:.2}", ours[0] / bare[0], ours[1] / bare[1]);

    let payload = FrameSize::K64.payload();
    let sealed: Vec<Sealed> =
        (0..60).map(|_| vault.seal(Kind::Codes, FrameSize::K64, &vec![4; 64 * payload]).unwrap()).collect();
    let mut next = sealed.iter();
    let mut put = || vault.put(next.next().unwrap()).unwrap();
    let (mut bulk, big) = (File::create(folder.join("bulk")).unwrap(), &sealed[0].bytes);
    let mut append = || {
        bulk.write_all(big).unwrap();
        bulk.sync_data().unwrap();
    };
    let [ours, bare] = turns(60, [&mut || put(), &mut || append()]);
    let mb = big.len() as f64 * 1e-6;
    println!("\nobjects of 4 MB, each durable: {:.0} MB/s;  bare append + fdatasync: {:.0} MB/s", mb / ours, mb / bare);
    for (frames, label) in [(1, "one frame of 64 KiB"), (64, "the whole object")] {
        let mut out = vec![0; frames as usize * payload];
        let mut turn = 0;
        let [read] = turns(
            301,
            [&mut || {
                turn = (turn + 17) % (sealed.len() * 64);
                let first = if frames == 1 { (turn % 64) as u32 } else { 0 };
                read(&vault, &sealed[turn / 64].reference, first, frames, &mut out);
            }],
        );
        println!("read and open {label}: {:.1} us, {:.2} GB/s", read * 1e6, out.len() as f64 / read * 1e-9);
    }
    // Rows of 800 bytes in random order, as a query that reranks reads them.
    let (mut out, lens) = (vec![0; 800], [800; 1000]);
    let small = vault.seal_cut(Kind::Vectors, &vec![6; 800_000], &lens).unwrap();
    vault.put(&small).unwrap();
    let opener = vault.opener(&small.reference).unwrap();
    let mut turn = 0u32;
    let [read] = turns(
        3001,
        [&mut || {
            turn = (turn + 617) % 1000;
            let at = (lens.len() * 4 + 16) as u64 + u64::from(turn) * 816;
            let sealed = vault.fetch(&small.reference, at, 816).unwrap();
            vault.open_frames(&opener, turn + 1, 800, &sealed, &mut out).unwrap();
        }],
    );
    println!("read and open one piece of 800 bytes: {:.1} us", read * 1e6);
}

/// Reads and opens whole frames.
fn read(vault: &Vault, r: &ObjectRef, first: u32, frames: u32, out: &mut [u8]) {
    let (stored, payload) = (r.frame_size().stored(), r.frame_size().payload());
    let sealed = vault.fetch(r, u64::from(first) * stored as u64, frames as usize * stored).unwrap();
    vault.open_frames(&vault.opener(r).unwrap(), first, payload, &sealed, out).unwrap();
}
