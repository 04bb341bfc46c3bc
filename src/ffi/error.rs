//! Statuses and errors
//!
//! Every function that can fail returns a cyborg_status and takes `cyborg_error **err` last. Pass NULL if the number
//! is enough. Otherwise *err is set: to NULL on success, to an object that you own on failure. It holds the status, one
//! line of text and the numbers behind it; it is not tied to a thread.

use std::ffi::{CString, c_char};

use super::guard::quiet;
use crate::error::{Category, Error, Status};

/// Outcome of a call: 0 is success, anything else is one of the CYBORG_STATUS_ numbers below. The numbers are frozen;
/// later versions may add others, so treat an unknown one like CYBORG_STATUS_INTERNAL.
pub type cyborg_status = i32;

/// Success.
pub const CYBORG_STATUS_OK: cyborg_status = 0;
/// A required pointer was NULL. (HTTP 422)
pub const CYBORG_STATUS_NULL_ARGUMENT: cyborg_status = 10;
/// A handle that was freed, or never was one of this kind. (HTTP 422)
pub const CYBORG_STATUS_INVALID_HANDLE: cyborg_status = 11;
/// A value outside its documented range; cyborg_error_item_index() tells which item of a batch. (HTTP 422)
pub const CYBORG_STATUS_INVALID_ARGUMENT: cyborg_status = 12;
/// The dimension is not that of the index; needed and got are set. (HTTP 422)
pub const CYBORG_STATUS_DIMENSION_MISMATCH: cyborg_status = 13;
/// A buffer of the caller is too short; needed and got are set. (HTTP 422)
pub const CYBORG_STATUS_BUFFER_TOO_SMALL: cyborg_status = 14;
/// Valid, but not in this version or build; also a field of a newer struct than this library knows. (HTTP 422)
pub const CYBORG_STATUS_UNSUPPORTED: cyborg_status = 15;
/// No such index or model. (HTTP 404)
pub const CYBORG_STATUS_NOT_FOUND: cyborg_status = 20;
/// The name is taken. (HTTP 409)
pub const CYBORG_STATUS_ALREADY_EXISTS: cyborg_status = 21;
/// A training job of this index is queued or running. (HTTP 409)
pub const CYBORG_STATUS_TRAINING_IN_PROGRESS: cyborg_status = 22;
/// Training needs at least 2 x n_lists vectors; needed and got are set. (HTTP 422)
pub const CYBORG_STATUS_INSUFFICIENT_VECTORS: cyborg_status = 23;
/// The object changed, or is in use in a way that forbids the call. (HTTP 409)
pub const CYBORG_STATUS_CONFLICT: cyborg_status = 24;
/// The db was closed, or the index was dropped. (HTTP 409)
pub const CYBORG_STATUS_CLOSED: cyborg_status = 25;
/// The process forked after the db was opened; only the parent may go on using it. (HTTP 500)
pub const CYBORG_STATUS_FORKED: cyborg_status = 26;
/// An earlier CYBORG_STATUS_INTERNAL left this handle unusable: free it. (HTTP 500)
pub const CYBORG_STATUS_POISONED: cyborg_status = 27;
/// A model that is still being trained. (HTTP 409)
pub const CYBORG_STATUS_MODEL_NOT_READY: cyborg_status = 28;
/// A model whose training failed; the message tells why. (HTTP 409)
pub const CYBORG_STATUS_MODEL_FAILED: cyborg_status = 29;
/// The store failed to read or write. (HTTP 500)
pub const CYBORG_STATUS_IO: cyborg_status = 30;
/// Another process or handle has the store open for writing; try again later. (HTTP 503)
pub const CYBORG_STATUS_BUSY: cyborg_status = 31;
/// Another writer took the store over; this db can only read from now on. (HTTP 500)
pub const CYBORG_STATUS_FENCED: cyborg_status = 32;
/// A write on a db that was opened read-only, or became so after a failed sync. (HTTP 500)
pub const CYBORG_STATUS_READ_ONLY: cyborg_status = 33;
/// The store is full; what was there before can still be read. (HTTP 500)
pub const CYBORG_STATUS_NO_SPACE: cyborg_status = 34;
/// The store does not keep the promises that a durable commit needs. (HTTP 500)
pub const CYBORG_STATUS_STORE_UNSAFE: cyborg_status = 35;
/// The key does not open this index. (HTTP 401)
pub const CYBORG_STATUS_WRONG_KEY: cyborg_status = 40;
/// Stored bytes are not what was written. (HTTP 500)
pub const CYBORG_STATUS_CORRUPT: cyborg_status = 41;
/// The store shows an older state than this process has seen; needed = newest seen, got = found. (HTTP 500)
pub const CYBORG_STATUS_ROLLBACK: cyborg_status = 42;
/// Written by a newer version of the format; needed = newest readable, got = found. (HTTP 500)
pub const CYBORG_STATUS_VERSION: cyborg_status = 50;
/// The cancel token of the call, or cyborg_training_cancel(), stopped the work. (HTTP 503)
pub const CYBORG_STATUS_CANCELLED: cyborg_status = 60;
/// The deadline of the call passed. (HTTP 503)
pub const CYBORG_STATUS_TIMEOUT: cyborg_status = 61;
/// Memory was refused by the system or by a limit; needed and got are set. The handle stays usable. (HTTP 503)
pub const CYBORG_STATUS_NO_MEMORY: cyborg_status = 70;
/// A defect of the library. The handle of the call is poisoned, the process is not harmed. (HTTP 500)
pub const CYBORG_STATUS_INTERNAL: cyborg_status = 90;

/// What can be done about an error: one of the CYBORG_CATEGORY_ numbers.
pub type cyborg_category = i32;

/// The call was wrong: mend the arguments.
pub const CYBORG_CATEGORY_INPUT: cyborg_category = 1;
/// The object is in a state that forbids the call.
pub const CYBORG_CATEGORY_STATE: cyborg_category = 2;
/// The same call may succeed later.
pub const CYBORG_CATEGORY_TRANSIENT: cyborg_category = 3;
/// The same call will fail again until something outside is mended.
pub const CYBORG_CATEGORY_PERMANENT: cyborg_category = 4;
/// Wrong key, damage or rollback.
pub const CYBORG_CATEGORY_SECURITY: cyborg_category = 5;

const STATUSES: [(Status, &std::ffi::CStr, u32); 29] = [
    (Status::NullArgument, c"NULL_ARGUMENT", 422),
    (Status::InvalidHandle, c"INVALID_HANDLE", 422),
    (Status::InvalidArgument, c"INVALID_ARGUMENT", 422),
    (Status::DimensionMismatch, c"DIMENSION_MISMATCH", 422),
    (Status::BufferTooSmall, c"BUFFER_TOO_SMALL", 422),
    (Status::Unsupported, c"UNSUPPORTED", 422),
    (Status::NotFound, c"NOT_FOUND", 404),
    (Status::AlreadyExists, c"ALREADY_EXISTS", 409),
    (Status::TrainingInProgress, c"TRAINING_IN_PROGRESS", 409),
    (Status::InsufficientVectors, c"INSUFFICIENT_VECTORS", 422),
    (Status::Conflict, c"CONFLICT", 409),
    (Status::Closed, c"CLOSED", 409),
    (Status::Forked, c"FORKED", 500),
    (Status::Poisoned, c"POISONED", 500),
    (Status::ModelNotReady, c"MODEL_NOT_READY", 409),
    (Status::ModelFailed, c"MODEL_FAILED", 409),
    (Status::Io, c"IO", 500),
    (Status::Busy, c"BUSY", 503),
    (Status::Fenced, c"FENCED", 500),
    (Status::ReadOnly, c"READ_ONLY", 500),
    (Status::NoSpace, c"NO_SPACE", 500),
    (Status::StoreUnsafe, c"STORE_UNSAFE", 500),
    (Status::WrongKey, c"WRONG_KEY", 401),
    (Status::Corrupt, c"CORRUPT", 500),
    (Status::Rollback, c"ROLLBACK", 500),
    (Status::Version, c"VERSION", 500),
    (Status::Cancelled, c"CANCELLED", 503),
    (Status::Timeout, c"TIMEOUT", 503),
    (Status::NoMemory, c"NO_MEMORY", 503),
];

/// What went wrong, as an object that you own and free with cyborg_error_free().
/// Never changes, so any thread may read it; outlives every handle.
pub struct cyborg_error {
    status: Status,
    category: Category,
    message: CString,
    item_index: Option<u64>,
    numbers: Option<(u64, u64)>,
    /// Field, value and what is allowed.
    field: Option<[CString; 3]>,
}

impl cyborg_error {
    pub(super) fn new(error: &Error) -> Self {
        Self {
            status: error.status(),
            category: error.category(),
            message: c_text(&error.to_string()),
            item_index: error.item_index(),
            numbers: error.needed_got(),
            field: error.field().map(|(field, value, allowed)| [field, value, allowed].map(c_text)),
        }
    }

    /// The error of a body that panicked at `place` (`file:line`).
    pub(super) fn panicked(place: Option<&str>) -> Self {
        let message = format!("internal error: panic at {}", place.unwrap_or("an unknown place"));
        Self { message: c_text(&message), ..Self::new(&Error::Internal { what: "panic" }) }
    }

    pub(super) fn status(&self) -> cyborg_status {
        self.status as cyborg_status
    }
}

/// `text` on one line, with a terminator.
pub(super) fn c_text(text: &str) -> CString {
    let clean: Vec<u8> = text.bytes().map(|b| if b < b' ' { b' ' } else { b }).collect();
    CString::new(clean).unwrap_or_default()
}

/// Status of an error, the same number that the failed call returned. NULL gives CYBORG_STATUS_OK.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_error_status(error: *const cyborg_error) -> cyborg_status {
    // SAFETY: NULL or an error that the caller has not freed.
    unsafe { error.as_ref() }.map_or(CYBORG_STATUS_OK, cyborg_error::status)
}

/// Category of an error, one of CYBORG_CATEGORY_. NULL gives 0.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_error_category(error: *const cyborg_error) -> cyborg_category {
    // SAFETY: NULL or an error that the caller has not freed.
    unsafe { error.as_ref() }.map_or(0, |e| e.category as cyborg_category)
}

/// One line of UTF-8 that says what is wrong and with which value; never holds keys, ids, vectors, metadata or
/// contents. Borrowed from the error, never NULL; NULL gives "".
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_error_message(error: *const cyborg_error) -> *const c_char {
    // SAFETY: NULL or an error that the caller has not freed.
    unsafe { error.as_ref() }.map_or(c"".as_ptr(), |e| e.message.as_ptr())
}

/// Position in its batch of the item that the error is about, -1 when it is not about one.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_error_item_index(error: *const cyborg_error) -> i64 {
    // SAFETY: NULL or an error that the caller has not freed.
    let item = unsafe { error.as_ref() }.and_then(|e| e.item_index);
    item.and_then(|i| i64::try_from(i).ok()).unwrap_or(-1)
}

/// How much was needed (vectors, bytes, elements, the index's dimension; see the status), 0 where that has no meaning.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_error_needed(error: *const cyborg_error) -> u64 {
    // SAFETY: NULL or an error that the caller has not freed.
    unsafe { error.as_ref() }.and_then(|e| e.numbers).map_or(0, |(needed, _)| needed)
}

/// How much there was instead, 0 where that has no meaning.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_error_got(error: *const cyborg_error) -> u64 {
    // SAFETY: NULL or an error that the caller has not freed.
    unsafe { error.as_ref() }.and_then(|e| e.numbers).map_or(0, |(_, got)| got)
}

/// Name of the parameter or option that an INVALID_ARGUMENT is about: "tolerance". Borrowed from the error; NULL when
/// it is not about one.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_error_field(error: *const cyborg_error) -> *const c_char {
    // SAFETY: NULL or an error that the caller has not freed.
    unsafe { part(error, 0) }
}

/// The value that the field of cyborg_error_field() had, as text: "-1"; for data its size or kind, never the data.
/// Borrowed from the error; NULL without a field.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_error_value(error: *const cyborg_error) -> *const c_char {
    // SAFETY: NULL or an error that the caller has not freed.
    unsafe { part(error, 1) }
}

/// What the field of cyborg_error_field() may be, as text: "0 or more, 0 for 1e-6". Borrowed from the error; NULL
/// without a field.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_error_allowed(error: *const cyborg_error) -> *const c_char {
    // SAFETY: NULL or an error that the caller has not freed.
    unsafe { part(error, 2) }
}

/// # Safety
/// NULL or an error that the caller has not freed.
unsafe fn part(error: *const cyborg_error, which: usize) -> *const c_char {
    // SAFETY: passed on.
    let field = unsafe { error.as_ref() }.and_then(|e| e.field.as_ref());
    field.map_or(std::ptr::null(), |parts| parts[which].as_ptr())
}

/// Frees an error. NULL is allowed.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_error_free(error: *mut cyborg_error) {
    if !error.is_null() {
        // SAFETY: made by `Box::into_raw` in this library; the caller gives up ownership.
        quiet(|| drop(unsafe { Box::from_raw(error) }));
    }
}

/// Name of a status without its prefix: "OK", "WRONG_KEY", ...; "UNKNOWN" for a number that is none. Static text.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn cyborg_status_name(status: cyborg_status) -> *const c_char {
    let name = match status {
        CYBORG_STATUS_OK => c"OK",
        CYBORG_STATUS_INTERNAL => c"INTERNAL",
        _ => STATUSES.iter().find(|s| s.0 as cyborg_status == status).map_or(c"UNKNOWN", |s| s.1),
    };
    name.as_ptr()
}

/// The HTTP code that a server should answer with for a status: 200, 401, 404, 409, 422, 500 or 503. Unknown numbers
/// give 500.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn cyborg_status_http(status: cyborg_status) -> u32 {
    match status {
        CYBORG_STATUS_OK => 200,
        _ => STATUSES.iter().find(|s| s.0 as cyborg_status == status).map_or(500, |s| s.2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_values_on_one_line() {
        let e = cyborg_error::new(&Error::item(3, "id", "0\nbytes", "1 to 4096"));
        // SAFETY: `e` is alive; NULL is allowed.
        unsafe {
            assert_eq!(cyborg_error_status(&e), CYBORG_STATUS_INVALID_ARGUMENT);
            assert_eq!(cyborg_error_category(&e), CYBORG_CATEGORY_INPUT);
            assert_eq!(cyborg_error_item_index(&e), 3);
            assert!(!std::ffi::CStr::from_ptr(cyborg_error_message(&e)).to_str().unwrap().contains('\n'));
            assert_eq!(cyborg_error_status(std::ptr::null()), CYBORG_STATUS_OK);
            assert_eq!(cyborg_error_item_index(std::ptr::null()), -1);
        }
        // SAFETY: `e` is alive, and none of the three is NULL.
        let part = |f: unsafe extern "C" fn(*const cyborg_error) -> *const c_char| unsafe {
            std::ffi::CStr::from_ptr(f(&e)).to_str().unwrap().to_owned()
        };
        assert_eq!(
            [cyborg_error_field, cyborg_error_value, cyborg_error_allowed].map(part),
            ["id", "0 bytes", "1 to 4096"]
        );
        let e = cyborg_error::new(&Error::InsufficientVectors { needed: 8, got: 3 });
        // SAFETY: `e` is alive; NULL is allowed.
        unsafe { assert!(cyborg_error_field(&e).is_null() && cyborg_error_allowed(std::ptr::null()).is_null()) };
        // SAFETY: `e` is alive.
        unsafe { assert_eq!((cyborg_error_needed(&e), cyborg_error_got(&e), cyborg_error_item_index(&e)), (8, 3, -1)) };
    }
}
