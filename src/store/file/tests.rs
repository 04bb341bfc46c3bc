use super::*;
use std::time::Instant;

#[test]
#[ignore]
fn tune() {
    let dir = std::path::PathBuf::from("target/tune"); let _ = std::fs::remove_dir_all(&dir); std::fs::create_dir_all(&dir).unwrap();
    let p = dir.join("db");
    let s = FileStore::open(&p, false).unwrap();
    let id = [1u8; 16];
    s.create_space("x", id, &[0; 3000]).unwrap();
    let mut n = 0u64; let mut name = || { n += 1; let h: [u8;32] = { use sha2::Digest; sha2::Sha256::digest(n.to_le_bytes()).into() }; let mut x = [0u8; 24]; x.copy_from_slice(&h[..24]); Name(x) };
    let big: Vec<u8> = (0..4_194_432u32).map(|i| (i.wrapping_mul(2654435761) >> 9) as u8).collect();
    let small = vec![9u8; 4224]; let head = vec![8u8; 3500];
    let mut seq = 1;
    for round in 0..2 {
    let mut d: Vec<f64> = (0..600).map(|_| { let t = Instant::now(); s.commit(id, seq, &head, &[(name(), &small)], &[]).unwrap(); seq += 1; t.elapsed().as_secs_f64() * 1e3 }).collect();
    let sum: f64 = d.iter().sum();
    d.sort_by(f64::total_cmp);
    println!("small commit p50 {:.3} p90 {:.3} p99 {:.3} mean {:.3} ms wal {}", d[300], d[540], d[594], sum/600.0, std::fs::metadata(reader::beside(&p, "-wal")).unwrap().len());
    let names: Vec<Name> = (0..48).map(|_| name()).collect();
    let t = Instant::now();
    for n in &names { s.put_new(id, *n, &big).unwrap(); }
    println!("bulk put 4 MB: {:.0} MB/s wal {}", 48.0 * 4.194 / t.elapsed().as_secs_f64(), std::fs::metadata(reader::beside(&p, "-wal")).unwrap().len());
    let mut out = vec![0u8; 4 << 20];
    let t = Instant::now();
    for n in &names { s.get(id, *n, 128, &mut out).unwrap(); }
    println!("get 4 MB: {:.0} MB/s", 48.0 * 4.194 / t.elapsed().as_secs_f64());
    let mut r = crate::rng::Rng::new(1);
    for k in [4096usize, 16384, 65536] {
        let t = Instant::now();
        for _ in 0..3000 { let n = names[r.below(48)]; let off = 128 + r.below((4 << 20) / k) * k; s.get(id, n, off as u64, &mut out[..k]).unwrap(); }
        println!("get {k}: {:.1} us", t.elapsed().as_secs_f64() / 3000.0 * 1e6);
    }
    if round == 1 {
        let t = Instant::now(); s.delete(id, &names).unwrap(); println!("delete 48x4MB {:.1} ms", t.elapsed().as_secs_f64() * 1e3);
        let t = Instant::now(); s.reclaim().unwrap(); println!("reclaim {:.1} ms size {}", t.elapsed().as_secs_f64() * 1e3, s.size().unwrap());
    }
    }
    drop(s);
    println!("{:?}", std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>());
}
