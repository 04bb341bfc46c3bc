use super::*;
#[test]
fn round_trip() {
    let b = Backend::open("memory:", false).unwrap();
    let v = Vault::create(&b, "x", &[7; 32], b"one").unwrap();
    let s = v.seal(Kind::Delta, FrameSize::K4, &[3; 10000]).unwrap();
    assert_eq!(v.commit(b"two", &[s], &[]).unwrap(), 2);
    let (v2, m) = Vault::open(&b, "x", &[7; 32]).unwrap();
    assert_eq!((m.seq, &m.bytes[..]), (2, &b"two"[..]));
    assert!(matches!(Vault::open(&b, "x", &[8; 32]), Err(crate::error::Error::WrongKey)));
    drop(v2);
}
