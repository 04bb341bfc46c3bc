//! Items: what an index holds
//!
//! An item is an id, a vector, metadata (a JSON object) and contents (bytes or text); the last two are optional, and
//! all four are stored encrypted. Items travel in columns: byte strings are one data buffer and count + 1 offsets, the
//! string of item i being data[offsets[i] .. offsets[i + 1]]. A batch is taken whole or not at all.

use std::ffi::c_char;
use std::sync::Arc;

use super::call::{Call, cyborg_call};
use super::columns::{cyborg_contents_kind, cyborg_include, cyborg_items};
use super::error::{cyborg_error, cyborg_status};
use super::guard::{self, quiet};
use super::index::{IndexHandle, cyborg_index};
use super::read::{Out, OutStruct, Sized32, block, input, options, reserved, slice, slice_mut};
use crate::engine::{Batch, Cursor, Db, Ids, Strings, UpsertResult};
use crate::error::{Error, Result};
use crate::types::IdKind;

/// Longest id in bytes.
pub const CYBORG_MAX_ID_LEN: u32 = 4096;
/// Longest metadata of an item in bytes.
pub const CYBORG_MAX_METADATA_LEN: u32 = 1048576;
/// Longest contents of an item in bytes.
pub const CYBORG_MAX_CONTENTS_LEN: u32 = 16777216;
/// Room for any text of cyborg_upsert_message() with its NUL.
pub const CYBORG_UPSERT_MESSAGE_LEN: u32 = 128;
/// Most bytes in one call: vectors, ids, metadata and contents together.
pub const CYBORG_MAX_BATCH_BYTES: u64 = 1073741824;

/// Ids, as byte strings or as numbers, whichever the index has. Start from CYBORG_IDS_INIT.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct cyborg_ids {
    /// sizeof(cyborg_ids).
    pub struct_size: u32,
    /// Must be 0.
    pub reserved: u32,
    /// Number of ids.
    pub count: usize,
    /// Byte strings one after the other, or NULL.
    pub ids: *const u8,
    /// Bytes at ids.
    pub ids_len: usize,
    /// count + 1 offsets into ids, or NULL.
    pub id_offsets: *const u64,
    /// count numbers, or NULL.
    pub id_numbers: *const u64,
}

// SAFETY: integers and nullable pointers, size first.
unsafe impl Sized32 for cyborg_ids {}

/// Items to upsert, in columns. Optional columns may be NULL: then no item has them. Start from CYBORG_BATCH_INIT.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct cyborg_batch {
    /// sizeof(cyborg_batch).
    pub struct_size: u32,
    /// Elements of each vector, 1 to CYBORG_MAX_DIMENSION: the index's, or, where that is not known yet, what it will be.
    pub dimension: u32,
    /// Number of items.
    pub count: usize,
    /// count x dimension finite values, item by item.
    pub vectors: *const f32,
    /// Ids as byte strings of 1 to CYBORG_MAX_ID_LEN bytes (CYBORG_ID_KIND_BYTES), otherwise NULL. The last of equal
    /// ids in a batch wins.
    pub ids: *const u8,
    /// Bytes at ids.
    pub ids_len: usize,
    /// count + 1 offsets into ids.
    pub id_offsets: *const u64,
    /// Ids as count numbers (CYBORG_ID_KIND_U64), otherwise NULL.
    pub id_numbers: *const u64,
    /// Metadata: UTF-8 JSON objects of at most CYBORG_MAX_METADATA_LEN bytes, an empty string = none. May be NULL.
    pub metadata: *const c_char,
    /// Bytes at metadata.
    pub metadata_len: usize,
    /// count + 1 offsets into metadata.
    pub metadata_offsets: *const u64,
    /// Contents of at most CYBORG_MAX_CONTENTS_LEN bytes an item. May be NULL.
    pub contents: *const u8,
    /// Bytes at contents.
    pub contents_len: usize,
    /// count + 1 offsets into contents.
    pub contents_offsets: *const u64,
    /// count kinds; NULL = CYBORG_CONTENTS_BYTES wherever contents are not empty.
    pub contents_kinds: *const cyborg_contents_kind,
}

// SAFETY: integers and nullable pointers, size first.
unsafe impl Sized32 for cyborg_batch {}

/// What an upsert did. Set struct_size (or start from CYBORG_UPSERT_RESULT_INIT) before passing it in.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct cyborg_upsert_result {
    /// sizeof(cyborg_upsert_result).
    pub struct_size: u32,
    /// 1 when this upsert started a training job.
    pub training_triggered: u32,
    /// Items whose id was new.
    pub inserted: u64,
    /// Items that replaced one.
    pub updated: u64,
    /// Items of the batch that a later item of the same id overrode.
    pub superseded: u64,
    /// Items in the index now.
    pub vector_count: u64,
    /// Items that have to be passed for training to start. See cyborg_upsert_message().
    pub threshold: u64,
}

// SAFETY: integers, size first.
unsafe impl Sized32 for cyborg_upsert_result {}

/// A walk over the ids of an index as they were when it began, whatever is written meanwhile. You own it and free it
/// with cyborg_cursor_free(). Belongs to one thread at a time; keeps its db alive.
pub struct cyborg_cursor {
    cursor: Cursor,
    id_kind: IdKind,
    poisoned: bool,
    pid: u32,
    _db: Arc<Db>,
}

/// Ids per page when the caller does not say.
const PAGE: usize = 1000;

/// A column of byte strings of the caller, `None` when all of it is NULL.
///
/// # Safety
/// Non-NULL pointers lead to `len` bytes and `count + 1` offsets.
unsafe fn strings<'a>(
    field: &'static str,
    data: *const u8,
    len: usize,
    offsets: *const u64,
    count: usize,
) -> Result<Option<Strings<'a>>> {
    if offsets.is_null() {
        return if data.is_null() { Ok(None) } else { Err(Error::NullArgument { what: offsets_of(field) }) };
    }
    let n = count.checked_add(1).ok_or_else(|| Error::invalid("count", count, "what memory can hold"))?;
    // SAFETY: promised by the caller.
    let (data, offsets) = unsafe { (slice(data, len, field)?, slice(offsets, n, offsets_of(field))?) };
    Strings::new(field, data, offsets).map(Some)
}

fn offsets_of(field: &str) -> &'static str {
    match field {
        "ids" => "id_offsets",
        "metadata" => "metadata_offsets",
        _ => "contents_offsets",
    }
}

/// # Safety
/// Non-NULL pointers of `o` lead to what its manual says.
unsafe fn ids<'a>(o: &cyborg_ids) -> Result<Ids<'a>> {
    reserved(o.reserved)?;
    // SAFETY: promised by the caller.
    let bytes = unsafe { strings("ids", o.ids, o.ids_len, o.id_offsets, o.count) }?;
    match (bytes, o.id_numbers.is_null()) {
        (Some(s), true) => Ok(Ids::Bytes(s)),
        (Some(_), false) => Err(Error::invalid("ids", "given as byte strings and as numbers", "one of the two")),
        (None, true) if o.count > 0 => Err(Error::NullArgument { what: "ids" }),
        // SAFETY: promised by the caller.
        (None, _) => unsafe { slice(o.id_numbers, o.count, "id_numbers") }.map(Ids::U64),
    }
}

/// # Safety
/// Non-NULL pointers of `b` lead to what its manual says.
unsafe fn batch<'a>(b: &cyborg_batch, with_vectors: bool) -> Result<Batch<'a>> {
    let id_columns = cyborg_ids {
        struct_size: size_of::<cyborg_ids>() as u32,
        reserved: 0,
        count: b.count,
        ids: b.ids,
        ids_len: b.ids_len,
        id_offsets: b.id_offsets,
        id_numbers: b.id_numbers,
    };
    if !with_vectors && !b.vectors.is_null() {
        return Err(Error::invalid("vectors", "given beside base64", "NULL"));
    }
    let rows = if with_vectors { b.count } else { 0 };
    // SAFETY: promised by the caller.
    unsafe {
        Ok(Batch {
            dimension: b.dimension,
            vectors: block(b.vectors, rows, b.dimension, "vectors")?,
            ids: ids(&id_columns)?,
            metadata: strings("metadata", b.metadata.cast(), b.metadata_len, b.metadata_offsets, b.count)?,
            contents: strings("contents", b.contents, b.contents_len, b.contents_offsets, b.count)?,
            contents_kinds: match b.contents_kinds.is_null() {
                true => None,
                false => Some(slice(b.contents_kinds, b.count, "contents_kinds")?),
            },
        })
    }
}

fn upsert_result(r: &UpsertResult) -> cyborg_upsert_result {
    cyborg_upsert_result {
        struct_size: 0,
        training_triggered: u32::from(r.training_triggered),
        inserted: r.inserted,
        updated: r.updated,
        superseded: r.superseded,
        vector_count: r.vector_count,
        threshold: r.threshold,
    }
}

/// Says in one line of text that an upsert started training, with the numbers of result: "Training started (vectors:
/// 10001, threshold: 10000)"; the text is empty when it did not. Writes at most buffer_len bytes to buffer, the last of
/// them a NUL, and gives the length of the whole text without it, which is below CYBORG_UPSERT_MESSAGE_LEN; as
/// snprintf() does. NULL as result, a wrong struct_size or a NULL buffer of length 0 are allowed.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_upsert_message(
    result: *const cyborg_upsert_result,
    buffer: *mut c_char,
    buffer_len: usize,
) -> usize {
    // SAFETY: NULL or the caller's struct.
    let r = unsafe { options(result, "result") }.unwrap_or(upsert_result(&UpsertResult::default()));
    let text = match r.training_triggered {
        0 => String::new(),
        _ => format!("Training started (vectors: {}, threshold: {})", r.vector_count, r.threshold),
    };
    // SAFETY: NULL or the caller's buffer of so many bytes.
    if let Ok([to @ .., end]) = unsafe { slice_mut(buffer.cast::<u8>(), buffer_len, "buffer") } {
        let n = text.len().min(to.len());
        to[..n].copy_from_slice(&text.as_bytes()[..n]);
        *to.get_mut(n).unwrap_or(end) = 0;
    }
    text.len()
}

/// Adds items, replacing those whose id is there already, as a whole: an item's metadata and contents are those of the
/// batch or none. When it returns, the batch is durable and the next query sees it. It never waits for training.
/// out_result may be NULL.
/// Statuses: common, INVALID_ARGUMENT, DIMENSION_MISMATCH, UNSUPPORTED, CANCELLED, TIMEOUT, store. A refused item is
/// named by cyborg_error_item_index(), and nothing of the batch was taken.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_upsert(
    index: *mut cyborg_index,
    batch: *const cyborg_batch,
    call: *const cyborg_call,
    out_result: *mut cyborg_upsert_result,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(index, "index", err, |h| {
        // SAFETY: NULL, or what the manual asks for.
        let (out, call, batch) = unsafe {
            let columns = input(batch, "batch")?;
            (OutStruct::optional(out_result, "out_result")?, Call::new(call)?, self::batch(&columns, true)?)
        };
        let result = h.index.upsert(&batch, &call.watch)?;
        if let Some(out) = out {
            out.set(upsert_result(&result));
        }
        Ok(())
    })
}

/// Like cyborg_index_upsert(), with the vectors as standard base64 (with padding) of count x dimension little-endian
/// float32 values; batch->vectors must be NULL. A text of another length is an error.
/// Statuses: as cyborg_index_upsert(), and BUFFER_TOO_SMALL.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_upsert_base64(
    index: *mut cyborg_index,
    batch: *const cyborg_batch,
    vectors_base64: *const c_char,
    vectors_base64_len: usize,
    call: *const cyborg_call,
    out_result: *mut cyborg_upsert_result,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(index, "index", err, |h| {
        // SAFETY: NULL, or what the manual asks for.
        let (out, call, batch, text) = unsafe {
            let columns = input(batch, "batch")?;
            let text = slice(vectors_base64.cast::<u8>(), vectors_base64_len, "vectors_base64")?;
            (OutStruct::optional(out_result, "out_result")?, Call::new(call)?, self::batch(&columns, false)?, text)
        };
        let result = h.index.upsert_base64(&batch, text, &call.watch)?;
        if let Some(out) = out {
            out.set(upsert_result(&result));
        }
        Ok(())
    })
}

/// Fetches items by id, in the order asked for; ids that are not there are marked as not found. include is a sum of
/// CYBORG_INCLUDE_ bits (DISTANCE has no effect). Free the items with cyborg_items_free().
/// Statuses: common, INVALID_ARGUMENT, UNSUPPORTED, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_get(
    index: *mut cyborg_index,
    ids: *const cyborg_ids,
    include: cyborg_include,
    out_items: *mut *mut cyborg_items,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    // SAFETY: NULL or the caller's place for a handle.
    let out = unsafe { Out::handle(out_items, "out_items") };
    guard::on(index, "index", err, |h| {
        // SAFETY: NULL, or what the manual asks for.
        let ids = unsafe { self::ids(&input(ids, "ids")?) }?;
        let out = out?;
        out.give(cyborg_items::new(h.index.get(ids, include)?));
        Ok(())
    })
}

/// Tells for each id whether the index has it: 1 or 0 in out_found, which holds out_found_len >= ids->count bytes.
/// Statuses: common, INVALID_ARGUMENT, UNSUPPORTED, BUFFER_TOO_SMALL, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_contains(
    index: *mut cyborg_index,
    ids: *const cyborg_ids,
    out_found: *mut u8,
    out_found_len: usize,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(index, "index", err, |h| {
        // SAFETY: NULL, or what the manual asks for.
        let ids = unsafe { self::ids(&input(ids, "ids")?) }?;
        if out_found_len < ids.len() {
            let (needed, got) = (ids.len() as u64, out_found_len as u64);
            return Err(Error::BufferTooSmall { what: "out_found", needed, got });
        }
        // SAFETY: as above; the buffer is at least as long.
        let out = unsafe { slice_mut(out_found, ids.len(), "out_found") }?;
        for (to, found) in out.iter_mut().zip(h.index.contains(ids)?) {
            *to = u8::from(found);
        }
        Ok(())
    })
}

/// Deletes items by id, durably. *out_deleted (may be NULL) is how many were there; ids that were not are no error.
/// Statuses: common, INVALID_ARGUMENT, UNSUPPORTED, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_delete(
    index: *mut cyborg_index,
    ids: *const cyborg_ids,
    out_deleted: *mut u64,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::on(index, "index", err, |h| {
        // SAFETY: NULL, or what the manual asks for.
        let ids = unsafe { self::ids(&input(ids, "ids")?) }?;
        let deleted = h.index.delete(ids)?;
        // SAFETY: NULL or the caller's place for a number.
        if let Ok(out) = unsafe { Out::new(out_deleted, "out_deleted") } {
            out.set(deleted);
        }
        Ok(())
    })
}

/// Starts a walk over all ids, see cyborg_cursor_next(). Free the cursor with cyborg_cursor_free().
/// Statuses: common, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_index_list_ids(
    index: *mut cyborg_index,
    out_cursor: *mut *mut cyborg_cursor,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    // SAFETY: NULL or the caller's place for a handle.
    let out = unsafe { Out::handle(out_cursor, "out_cursor") };
    guard::on(index, "index", err, |h: &IndexHandle| {
        let out = out?;
        let cursor = h.index.list_ids()?;
        let (id_kind, pid) = (cursor.id_kind(), std::process::id());
        out.give(cyborg_cursor { cursor, id_kind, poisoned: false, pid, _db: Arc::clone(&h.db) });
        Ok(())
    })
}

/// Fetches the next ids, at most limit of them (0 = 1000), as items without other columns; an object of 0 items at the
/// end. Free it with cyborg_items_free().
/// Statuses: NULL_ARGUMENT, CLOSED, FORKED, POISONED, NO_MEMORY, INTERNAL, store.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_cursor_next(
    cursor: *mut cyborg_cursor,
    limit: usize,
    out_items: *mut *mut cyborg_items,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    // SAFETY: NULL or the caller's place for a handle.
    let out = unsafe { Out::handle(out_items, "out_items") };
    guard::run(err, || {
        // SAFETY: NULL or a cursor that the caller has not freed and that no other thread uses now.
        let cursor = unsafe { cursor.as_mut() }.ok_or(Error::NullArgument { what: "cursor" })?;
        let out = out?;
        if std::mem::replace(&mut cursor.poisoned, true) {
            return Err(Error::Poisoned { what: "cursor" });
        }
        let page = cursor.cursor.next_page(if limit == 0 { PAGE } else { limit });
        cursor.poisoned = false;
        out.give(cyborg_items::of_ids(page?, cursor.id_kind));
        Ok(())
    })
}

/// Frees a cursor. NULL is allowed.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_cursor_free(cursor: *mut cyborg_cursor) {
    if !cursor.is_null() {
        quiet(|| {
            // SAFETY: made by `Box::into_raw` in this library; the caller gives up ownership.
            let cursor = unsafe { Box::from_raw(cursor) };
            if cursor.pid != std::process::id() {
                // After a fork what it keeps alive belongs to the parent, see `handle::free`.
                let _ = std::mem::ManuallyDrop::new(cursor);
            }
        });
    }
}
