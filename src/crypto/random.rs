//! Randomness from the system, hedged: a stuck or cloned generator still cannot make a (key, nonce) pair come twice.
//!
//! A hedged value is an HMAC under a secret of the keyset over 32 random bytes, the process id, the monotonic clock, a
//! counter of this process and whatever the value is for (for a salt: the name and a fingerprint of the plaintext). With good
//! randomness it is random; with none it still differs for every call of every process and for every plaintext.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::derive::Hmac256;
use crate::error::{Error, Result};

static CALLS: AtomicU64 = AtomicU64::new(0);

#[cfg(test)]
thread_local! {
    /// Set by tests: the system's generator gives only this byte on this thread.
    pub(crate) static STUCK: std::cell::Cell<Option<u8>> = const { std::cell::Cell::new(None) };
}

/// Fills `out` from the system's generator.
pub(crate) fn fill(out: &mut [u8]) -> Result<()> {
    #[cfg(test)]
    if let Some(byte) = STUCK.get() {
        out.fill(byte);
        return Ok(());
    }
    getrandom::fill(out).map_err(|e| Error::Io { context: "reading random bytes", detail: e.to_string() })
}

/// A name that nobody has: 20 characters that are safe in a URL, from 120 random bits. Not secret.
pub fn random_id() -> Result<String> {
    let mut bytes = [0u8; 15];
    fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// 32 bytes that no one without `key` can tell from random ones and that never come twice.
pub(crate) fn hedged(key: &[u8; 32], parts: &[&[u8]]) -> Result<[u8; 32]> {
    let mut random = zeroize::Zeroizing::new([0u8; 32]);
    fill(&mut *random)?;
    let mut mac = Hmac256::new(key);
    mac.update(&*random);
    mac.update(&std::process::id().to_le_bytes());
    mac.update(&clock().to_le_bytes());
    mac.update(&CALLS.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    for part in parts {
        mac.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    Ok(mac.finish())
}

/// Nanoseconds of a clock that does not stand still, mixed of the monotonic and the wall clock: only to differ, never to
/// order or to time anything.
fn clock() -> u128 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let ran = START.get_or_init(Instant::now).elapsed().as_nanos();
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    wall << 64 ^ wall >> 64 ^ ran
}
