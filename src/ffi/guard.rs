//! The panic boundary: every exported body runs in here, and nothing unwinds into C.
//!
//! A panic becomes `CYBORG_STATUS_INTERNAL` with the place it came from (never its text, which may render data) and
//! poisons the handle it happened on. The process-wide panic hook is wrapped once: panics on a thread inside the guard
//! or on a thread of the library (named `cyborg-...`) print nothing, all others go to the host's hook as before.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::{CYBORG_STATUS_OK, cyborg_error, cyborg_status};
use super::handle::{self, Handle};
use crate::error::{Error, Result};

thread_local! {
    /// How many guards this thread is inside.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// Whether this thread is inside a log callback.
    static IN_LOG: Cell<bool> = const { Cell::new(false) };
    /// Where the last panic on this thread came from.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs the body of a fallible function and renders its outcome.
pub(super) fn run(err: *mut *mut cyborg_error, body: impl FnOnce() -> Result<()>) -> cyborg_status {
    finish(err, catch(body))
}

/// Like [`run`], on the live object of `handle`, which a panic poisons. `what` names the parameter.
pub(super) fn on<H: Handle>(
    handle: *const H,
    what: &'static str,
    err: *mut *mut cyborg_error,
    body: impl FnOnce(&H::Inner) -> Result<()>,
) -> cyborg_status {
    let mut entry = None;
    let outcome = catch(|| {
        let live = entry.insert(handle::get(handle, what)?);
        body(live.value())
    });
    if let (Outcome::Panicked(_), Some(entry)) = (&outcome, &entry) {
        entry.poison();
    }
    let status = finish(err, outcome);
    // The handle may have been freed meanwhile, and dropping the last reference runs the engine's closing code.
    quiet(|| drop(entry));
    status
}

/// Runs a body that cannot fail; `None` after a panic.
pub(super) fn quiet<R>(body: impl FnOnce() -> R) -> Option<R> {
    enter(|| panic::catch_unwind(AssertUnwindSafe(body)).ok())
}

/// Runs a log callback: what it calls of the library is refused.
pub(super) fn in_log(callback: impl FnOnce()) {
    let before = IN_LOG.replace(true);
    callback();
    IN_LOG.set(before);
}

enum Outcome {
    Done(Result<()>),
    Panicked(Option<String>),
}

fn catch(body: impl FnOnce() -> Result<()>) -> Outcome {
    if IN_LOG.get() {
        return Outcome::Done(Err(Error::Conflict { what: "a log callback must not call the library" }));
    }
    enter(|| match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => Outcome::Done(result),
        Err(payload) => {
            // A payload is the panicking code's object and may panic again when dropped.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(payload)));
            Outcome::Panicked(PLACE.take())
        }
    })
}

fn finish(err: *mut *mut cyborg_error, outcome: Outcome) -> cyborg_status {
    let error = match outcome {
        Outcome::Done(Ok(())) => None,
        Outcome::Done(Err(e)) => Some(cyborg_error::new(&e)),
        Outcome::Panicked(place) => Some(cyborg_error::panicked(place.as_deref())),
    };
    let status = error.as_ref().map_or(CYBORG_STATUS_OK, cyborg_error::status);
    if !err.is_null() {
        let object = error.map_or(std::ptr::null_mut(), |e| Box::into_raw(Box::new(e)));
        // SAFETY: `err` is not NULL, and the caller promises that it then points to a writable pointer.
        unsafe { err.write_unaligned(object) };
    }
    status
}

fn enter<R>(body: impl FnOnce() -> R) -> R {
    install_hook();
    DEPTH.set(DEPTH.get() + 1);
    let result = body();
    DEPTH.set(DEPTH.get() - 1);
    result
}

fn install_hook() {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    // A host that calls from a destructor during its own unwinding may not change the hook now; a later call will.
    if INSTALLED.load(Ordering::Acquire) || std::thread::panicking() || INSTALLED.swap(true, Ordering::AcqRel) {
        return;
    }
    panic::set_hook(filter(panic::take_hook()));
}

type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// A hook that keeps the library's own panics from `host`.
fn filter(host: Hook) -> Hook {
    Box::new(move |info| {
        if DEPTH.get() > 0 {
            PLACE.set(info.location().map(|l| format!("{}:{}", l.file(), l.line())));
        } else if !std::thread::current().name().is_some_and(|n| n.starts_with("cyborg-")) {
            host(info);
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::super::error::*;
    use super::super::handle::Table;
    use super::*;

    struct probe;
    static PROBES: Table<()> = Table::new(0x7F);
    impl Handle for probe {
        type Inner = ();
        const WHAT: &'static str = "probe";
        fn table() -> &'static Table<()> {
            &PROBES
        }
    }

    /// One test, since the panic hook is the process's; it counts its own panics only, since other tests run beside it.
    #[test]
    fn a_panic_becomes_a_status_poisons_the_handle_and_reaches_no_hook() {
        static SEEN: AtomicUsize = AtomicUsize::new(0);
        const OURS: &str = "a planted panic";
        let count: Hook = Box::new(|info| {
            let planted = info.payload().downcast_ref::<&str>().is_some_and(|p| *p == OURS);
            SEEN.fetch_add(usize::from(planted), Ordering::Relaxed);
        });
        install_hook();
        let before = panic::take_hook();
        panic::set_hook(filter(count));

        let h = handle::insert::<probe>(()).unwrap();
        let mut err = std::ptr::null_mut();
        let status = on(h, "probe", &raw mut err, |()| panic::panic_any(OURS));
        assert_eq!(status, CYBORG_STATUS_INTERNAL);
        // SAFETY: the guard just made this error.
        let message = unsafe { std::ffi::CStr::from_ptr(cyborg_error_message(err)) }.to_str().unwrap().to_owned();
        assert!(message.starts_with("internal error: panic at ") && message.contains("guard.rs:"), "{message}");
        assert!(!message.contains(OURS), "the text of a panic may render data");
        // SAFETY: as above; freed once.
        unsafe { cyborg_error_free(err) };
        assert_eq!(on(h, "probe", std::ptr::null_mut(), |()| Ok(())), CYBORG_STATUS_POISONED);
        handle::free(h);
        assert_eq!(on(h, "probe", std::ptr::null_mut(), |()| Ok(())), CYBORG_STATUS_INVALID_HANDLE);
        assert!(quiet(|| panic::panic_any(OURS)).is_none());
        let worker = std::thread::Builder::new().name("cyborg-worker".into()).spawn(|| panic::panic_any(OURS));
        assert!(worker.unwrap().join().is_err());
        assert_eq!(SEEN.load(Ordering::Relaxed), 0, "the host's hook saw a panic of the library");

        assert!(std::thread::spawn(|| panic::panic_any(OURS)).join().is_err());
        assert_eq!(SEEN.load(Ordering::Relaxed), 1, "the host's own panics still reach its hook");
        panic::set_hook(before);
    }

    #[test]
    fn a_log_callback_cannot_call_back() {
        in_log(|| assert_eq!(run(std::ptr::null_mut(), || Ok(())), CYBORG_STATUS_CONFLICT));
        assert_eq!(run(std::ptr::null_mut(), || Ok(())), CYBORG_STATUS_OK);
    }
}
