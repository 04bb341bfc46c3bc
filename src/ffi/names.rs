//! Names: lists of text
//!
//! What cyborg_db_list_indexes() and cyborg_db_training_status() give.

use std::ffi::{CString, c_char};

use super::error::c_text;
use super::guard::quiet;

/// A list of index names, in alphabetical order. You own it and free it with cyborg_names_free().
/// Never changes, so any thread may read it; outlives every handle.
pub struct cyborg_names {
    names: Vec<CString>,
}

impl cyborg_names {
    pub(super) fn new(mut names: Vec<String>) -> Self {
        names.sort_unstable();
        Self { names: names.iter().map(|n| c_text(n)).collect() }
    }
}

/// Number of names. NULL gives 0.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_names_count(names: *const cyborg_names) -> usize {
    // SAFETY: NULL or a list that the caller has not freed.
    unsafe { names.as_ref() }.map_or(0, |n| n.names.len())
}

/// Name at position i from 0, NUL-terminated UTF-8 borrowed from the list; NULL when there is none. *out_len (may be
/// NULL) is its length in bytes.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_names_at(names: *const cyborg_names, i: usize, out_len: *mut usize) -> *const c_char {
    // SAFETY: NULL or a list that the caller has not freed.
    let name = unsafe { names.as_ref() }.and_then(|n| n.names.get(i));
    if !out_len.is_null() {
        // SAFETY: not NULL, the caller's place for a length.
        unsafe { out_len.write_unaligned(name.map_or(0, |n| n.as_bytes().len())) };
    }
    name.map_or(std::ptr::null(), |n| n.as_ptr())
}

/// Frees a list of names. NULL is allowed.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_names_free(names: *mut cyborg_names) {
    if !names.is_null() {
        // SAFETY: made by `Box::into_raw` in this library; the caller gives up ownership.
        quiet(|| drop(unsafe { Box::from_raw(names) }));
    }
}
