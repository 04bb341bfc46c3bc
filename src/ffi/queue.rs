//! Training list: what a db trains
//!
//! What cyborg_db_training_jobs() gives: the jobs that run or wait, in the order they run.

use std::ffi::{CString, c_char};

use super::call::cyborg_training_progress;
use super::error::{c_text, cyborg_error, cyborg_status};
use super::guard::{self, quiet};
use super::read::OutStruct;
use super::training;
use crate::engine::ListedJob;
use crate::error::{Error, Result};

/// A list of training jobs as they were when it was made. You own it and free it with cyborg_training_list_free().
/// Never changes, so any thread may read it; outlives every handle.
pub struct cyborg_training_list {
    jobs: Vec<Job>,
}

struct Job {
    name: CString,
    kind: cyborg_training_kind,
    place: u32,
    progress: cyborg_training_progress,
}

/// What a job trains: one of the CYBORG_TRAINING_KIND_ numbers.
pub type cyborg_training_kind = i32;

/// An index.
pub const CYBORG_TRAINING_KIND_INDEX: cyborg_training_kind = 1;
/// A model.
pub const CYBORG_TRAINING_KIND_MODEL: cyborg_training_kind = 2;

impl cyborg_training_list {
    pub(super) fn new(jobs: &[ListedJob]) -> Self {
        let job = |j: &ListedJob| Job {
            name: c_text(&j.name),
            kind: j.kind as i32,
            place: j.place,
            progress: training::reading(&j.reading),
        };
        Self { jobs: jobs.iter().map(job).collect() }
    }
}

/// # Safety
/// NULL or a list that the caller has not freed.
unsafe fn job<'a>(list: *const cyborg_training_list, i: usize) -> Option<&'a Job> {
    // SAFETY: passed on.
    unsafe { list.as_ref() }?.jobs.get(i)
}

/// Number of jobs. NULL gives 0.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_training_list_count(list: *const cyborg_training_list) -> usize {
    // SAFETY: NULL or a list that the caller has not freed.
    unsafe { list.as_ref() }.map_or(0, |l| l.jobs.len())
}

/// Name of the index that job i trains, or id of the model, NUL-terminated UTF-8 borrowed from the list; NULL when
/// there is no job i. *out_len (may be NULL) is its length in bytes.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_training_list_name(
    list: *const cyborg_training_list,
    i: usize,
    out_len: *mut usize,
) -> *const c_char {
    // SAFETY: NULL or a list that the caller has not freed.
    let name = unsafe { job(list, i) }.map(|j| &j.name);
    if !out_len.is_null() {
        // SAFETY: not NULL, the caller's place for a length.
        unsafe { out_len.write_unaligned(name.map_or(0, |n| n.as_bytes().len())) };
    }
    name.map_or(std::ptr::null(), |n| n.as_ptr())
}

/// What job i trains, one of CYBORG_TRAINING_KIND_; 0 when there is no job i.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_training_list_kind(
    list: *const cyborg_training_list,
    i: usize,
) -> cyborg_training_kind {
    // SAFETY: NULL or a list that the caller has not freed.
    unsafe { job(list, i) }.map_or(0, |j| j.kind)
}

/// Place of job i in the queue: 0 = it runs (or there is no job i), 1 = the next to run, and so on.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_training_list_place(list: *const cyborg_training_list, i: usize) -> u32 {
    // SAFETY: NULL or a list that the caller has not freed.
    unsafe { job(list, i) }.map_or(0, |j| j.place)
}

/// Reads state (QUEUED or RUNNING) and progress of job i.
/// Statuses: NULL_ARGUMENT, INVALID_ARGUMENT (no job i, or a wrong struct_size).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_training_list_progress(
    list: *const cyborg_training_list,
    i: usize,
    out_progress: *mut cyborg_training_progress,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::run(err, || -> Result<()> {
        if list.is_null() {
            return Err(Error::NullArgument { what: "list" });
        }
        // SAFETY: a list that the caller has not freed; NULL or the caller's struct.
        let (job, out) = unsafe { (job(list, i), OutStruct::new(out_progress, "out_progress")?) };
        out.set(job.ok_or_else(|| Error::invalid("i", i, "below cyborg_training_list_count()"))?.progress);
        Ok(())
    })
}

/// Frees a list. NULL is allowed.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_training_list_free(list: *mut cyborg_training_list) {
    if !list.is_null() {
        // SAFETY: made by `Box::into_raw` in this library; the caller gives up ownership.
        quiet(|| drop(unsafe { Box::from_raw(list) }));
    }
}
