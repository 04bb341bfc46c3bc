//! Keys at rest in memory: one locked page per index, out of reach of swap, core dumps and forked children.
//!
//! The page is `memfd_secret` memory where the kernel has it (not even the kernel's own mappings reach it), else locked
//! anonymous memory left out of core dumps; guard pages lie on both sides. A forked child has no such page at all, and a
//! canary that the kernel wipes on fork, together with the process id, turns every use there into [`Error::Forked`]: a
//! wiped key is all zeroes and must never encrypt.
#![allow(unsafe_code, reason = "the locked key pages are made by system calls")]

use std::ptr::{self, NonNull};

use zeroize::Zeroize;

use super::random;
use crate::error::{Error, Result};

const CANARY: u64 = 0x6379_626f_7267_5f31;

/// One page of secret bytes between guard pages, and the canary that tells a child from its parent.
pub(crate) struct SecretPage {
    /// Start of the reservation: guard, secret, guard, canary, guard.
    base: NonNull<u8>,
    page: usize,
    pid: u32,
    /// Whether the kernel wipes the canary on fork; the process id alone decides where it does not.
    wiped_on_fork: bool,
}

// SAFETY: the memory belongs to this value alone; it is written only through `&mut self` and in `drop`.
unsafe impl Send for SecretPage {}
// SAFETY: as above; `&self` only reads.
unsafe impl Sync for SecretPage {}

impl SecretPage {
    /// A page of zeroes.
    pub(crate) fn new() -> Result<Self> {
        let refused = || {
            let detail = std::io::Error::last_os_error().to_string();
            Error::Io { context: "making a locked key page", detail }
        };
        // SAFETY: asks for a number only.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096).max(4096);
        // SAFETY: a fresh private reservation; no existing mapping is touched.
        let base = unsafe {
            libc::mmap(ptr::null_mut(), 5 * page, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
        };
        if base == libc::MAP_FAILED {
            return Err(refused());
        }
        let base = NonNull::new(base.cast::<u8>()).ok_or_else(refused)?;
        let mut made = Self { base, page, pid: std::process::id(), wiped_on_fork: false };
        let writable = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the fourth page of our own reservation.
        if unsafe { libc::mprotect(made.at(3).cast(), page, writable) } != 0 {
            return Err(refused());
        }
        #[cfg(target_os = "linux")]
        {
            // SAFETY: advice about the canary page, which is ours.
            made.wiped_on_fork = unsafe { libc::madvise(made.at(3).cast(), page, libc::MADV_WIPEONFORK) } == 0;
        }
        // SAFETY: the canary page is mapped, writable and aligned for u64.
        unsafe { made.at(3).cast::<u64>().write_volatile(CANARY) };
        if !made.map_secret() {
            // SAFETY: the second page of our own reservation; lock and advice may be refused by limits, which leaves
            // ordinary memory: weaker, but the index works.
            unsafe {
                if libc::mprotect(made.at(1).cast(), page, writable) != 0 {
                    return Err(refused());
                }
                libc::mlock(made.at(1).cast(), page);
                #[cfg(target_os = "linux")]
                libc::madvise(made.at(1).cast(), page, libc::MADV_DONTDUMP);
            }
        }
        #[cfg(target_os = "linux")]
        // SAFETY: advice about the secret page, which is ours; a child gets no copy of it.
        unsafe {
            libc::madvise(made.at(1).cast(), page, libc::MADV_DONTFORK);
        }
        Ok(made)
    }

    /// Puts `memfd_secret` memory in the place of the secret page, where the kernel has it.
    #[cfg(target_os = "linux")]
    fn map_secret(&mut self) -> bool {
        let Ok(len) = libc::off_t::try_from(self.page) else { return false };
        // SAFETY: the descriptor is ours and closed on every path; MAP_FIXED replaces a page of our own reservation.
        unsafe {
            let Ok(fd) = i32::try_from(libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC)) else { return false };
            if fd < 0 {
                return false;
            }
            let flags = libc::MAP_SHARED | libc::MAP_FIXED;
            let mapped = libc::ftruncate(fd, len) == 0
                && libc::mmap(self.at(1).cast(), self.page, libc::PROT_READ | libc::PROT_WRITE, flags, fd, 0)
                    != libc::MAP_FAILED;
            libc::close(fd);
            mapped
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn map_secret(&mut self) -> bool {
        false
    }

    fn at(&self, page: usize) -> *mut u8 {
        // SAFETY: callers name one of the five pages of the reservation.
        unsafe { self.base.as_ptr().add(page * self.page) }
    }

    /// [`Error::Forked`] in a child of the process that made the page.
    pub(crate) fn check(&self) -> Result<()> {
        // SAFETY: the canary page stays mapped, also in a child, until drop.
        let canary = unsafe { self.at(3).cast::<u64>().read_volatile() };
        if canary == CANARY && (self.wiped_on_fork || self.pid == std::process::id()) {
            Ok(())
        } else {
            Err(Error::Forked)
        }
    }

    /// The same with the process id asked in any case: for everything that encrypts.
    pub(crate) fn check_pid(&self) -> Result<()> {
        self.check()?;
        if self.pid == std::process::id() { Ok(()) } else { Err(Error::Forked) }
    }

    /// The secret bytes.
    pub(crate) fn bytes(&self) -> Result<&[u8]> {
        self.check()?;
        // SAFETY: checked above that this process made the page, so it is mapped and readable for `page` bytes.
        Ok(unsafe { std::slice::from_raw_parts(self.at(1), self.page) })
    }

    /// The secret bytes, to be filled.
    pub(crate) fn bytes_mut(&mut self) -> Result<&mut [u8]> {
        self.check()?;
        // SAFETY: as in `bytes`, and `&mut self` makes it the only reference.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.at(1), self.page) })
    }
}

impl Drop for SecretPage {
    fn drop(&mut self) {
        // In a child the secret page is not mapped: there is nothing to wipe, only the reservation to give back.
        let in_parent = self.check_pid().is_ok();
        // SAFETY: no reference outlives `self`; the five pages are one reservation of our own.
        unsafe {
            if in_parent {
                std::slice::from_raw_parts_mut(self.at(1), self.page).zeroize();
            }
            libc::munmap(self.base.as_ptr().cast(), 5 * self.page);
        }
    }
}

/// Most data keys of a keyset.
pub(crate) const MAX_EPOCHS: usize = 16;

/// The keys of an index: the hedge key, the id key and one data key per live epoch, all in one locked page.
pub(crate) struct Keyset {
    page: SecretPage,
    epochs: Vec<u32>,
}

/// Bytes 0..32 are the id key: part of the format, kept for lookups by id, not used by this version.
const HEDGE_AT: usize = 32;
const DATA_AT: usize = 64;

impl Keyset {
    /// Fresh keys, epoch 1.
    pub(crate) fn generate() -> Result<Self> {
        let mut page = SecretPage::new()?;
        let place = std::ptr::from_ref(&page).addr().to_le_bytes();
        for (i, key) in page.bytes_mut()?[..96].chunks_exact_mut(32).enumerate() {
            let mut seed = zeroize::Zeroizing::new([0u8; 32]);
            random::fill(&mut *seed)?;
            let mut made = random::hedged(&seed, &[b"cyborg1/keyset", &[i as u8], &place])?;
            key.copy_from_slice(&made);
            made.zeroize();
        }
        Ok(Self { page, epochs: vec![1] })
    }

    /// Bytes of [`write`](Self::write).
    pub(crate) fn encoded_len(&self) -> usize {
        1 + 64 + 36 * self.epochs.len()
    }

    /// Plaintext of a wrapped keyset: number of epochs, id key, hedge key, then epoch number and data key of each.
    pub(crate) fn write(&self, out: &mut [u8]) -> Result<()> {
        const SHORT: Error = Error::Internal { what: "keyset: output of the wrong length" };
        let keys = self.page.bytes()?;
        let (count, rest) = out.split_first_mut().ok_or(SHORT)?;
        *count = self.epochs.len() as u8;
        if rest.len() != self.encoded_len() - 1 {
            return Err(SHORT);
        }
        rest[..64].copy_from_slice(&keys[..64]);
        for (i, (entry, epoch)) in rest[64..].chunks_exact_mut(36).zip(&self.epochs).enumerate() {
            entry[..4].copy_from_slice(&epoch.to_le_bytes());
            entry[4..].copy_from_slice(&keys[DATA_AT + 32 * i..][..32]);
        }
        Ok(())
    }

    /// The reverse of [`write`](Self::write).
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        const DAMAGED: Error = Error::Corrupt { what: "keyset" };
        let (&count, rest) = bytes.split_first().ok_or(DAMAGED)?;
        let count = usize::from(count);
        if count == 0 || count > MAX_EPOCHS || rest.len() != 64 + 36 * count {
            return Err(DAMAGED);
        }
        let mut page = SecretPage::new()?;
        let mut epochs = Vec::with_capacity(count);
        let keys = page.bytes_mut()?;
        keys[..64].copy_from_slice(&rest[..64]);
        for (i, entry) in rest[64..].chunks_exact(36).enumerate() {
            epochs.push(u32::from_le_bytes(super::object::part(entry, 0)));
            keys[DATA_AT + 32 * i..][..32].copy_from_slice(&entry[4..]);
        }
        Ok(Self { page, epochs })
    }

    /// The epoch that new objects take: the last.
    pub(crate) fn epoch(&self) -> u32 {
        self.epochs.last().copied().unwrap_or(0)
    }

    /// The data key of `epoch`.
    pub(crate) fn data(&self, epoch: u32) -> Result<&[u8; 32]> {
        let at = self.epochs.iter().position(|&e| e == epoch);
        let at = at.ok_or(Error::Corrupt { what: "object reference (key epoch)" })?;
        self.key(DATA_AT + 32 * at)
    }

    /// The key of hedged values.
    pub(crate) fn hedge(&self) -> Result<&[u8; 32]> {
        self.key(HEDGE_AT)
    }

    fn key(&self, at: usize) -> Result<&[u8; 32]> {
        let key = self.page.bytes()?[at..].first_chunk::<32>();
        key.ok_or(Error::Internal { what: "keyset: key outside its page" })
    }

    /// [`Error::Forked`] in a child process. A memory read.
    pub(crate) fn check(&self) -> Result<()> {
        self.page.check()
    }

    /// [`Error::Forked`] in a child process, asking the system too.
    pub(crate) fn check_pid(&self) -> Result<()> {
        self.page.check_pid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyset_survives_writing_and_refuses_other_lengths() {
        let keys = Keyset::generate().unwrap();
        let mut out = vec![0; keys.encoded_len()];
        keys.write(&mut out).unwrap();
        let read = Keyset::read(&out).unwrap();
        assert_eq!(keys.data(1).unwrap(), read.data(1).unwrap());
        assert_eq!(keys.hedge().unwrap(), read.hedge().unwrap());
        assert_ne!(keys.data(1).unwrap(), keys.hedge().unwrap());
        assert_ne!(keys.data(1).unwrap(), &[0; 32]);
        assert!(matches!(keys.data(2), Err(Error::Corrupt { .. })));
        for len in 0..out.len() {
            assert!(Keyset::read(&out[..len]).is_err());
        }
        out[0] = 2;
        assert!(Keyset::read(&out).is_err());
    }

    /// The kernel's own account of the mapping that holds `address`: its flags line.
    #[cfg(target_os = "linux")]
    fn flags_of(address: usize) -> String {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in maps.lines() {
            if let Some((from, to)) = line.split(' ').next().and_then(|r| r.split_once('-'))
                && let (Ok(from), Ok(to)) = (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16))
            {
                inside = (from..to).contains(&address);
            }
            if inside && line.starts_with("VmFlags:") {
                return format!("{line} ");
            }
        }
        String::new()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_secret_page_is_locked_and_neither_dumped_nor_inherited() {
        let mut page = SecretPage::new().unwrap();
        page.bytes_mut().unwrap()[0] = 7;
        let flags = flags_of(page.at(1).addr());
        for flag in [" dc ", " lo "] {
            assert!(flags.contains(flag), "{flag} missing in {flags}");
        }
        // memfd_secret memory is never dumped; ordinary memory carries the flag.
        assert!(flags.contains(" dd ") || flags.contains(" sh "), "{flags}");
        assert!(flags_of(page.at(3).addr()).contains(" wf "), "canary not wiped on fork");
    }

    #[test]
    fn a_child_process_is_told_apart_and_sees_no_key() {
        let keys = Keyset::generate().unwrap();
        // SAFETY: the child touches no lock and no heap: it reads the canary, asks for its id and leaves.
        let status = unsafe {
            let child = libc::fork();
            if child == 0 {
                let forked = |r: Result<()>| matches!(r, Err(Error::Forked));
                let told = forked(keys.check())
                    && forked(keys.check_pid())
                    && matches!(keys.hedge(), Err(Error::Forked))
                    && matches!(keys.data(1), Err(Error::Forked));
                libc::_exit(if told { 0 } else { 1 });
            }
            let mut status = -1;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            status
        };
        assert_eq!(status, 0);
        keys.check_pid().unwrap();
    }
}
