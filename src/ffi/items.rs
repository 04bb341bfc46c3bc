//! Items: what an index holds
//!
//! An item is an id, a vector, metadata (a JSON object) and contents (bytes or text); the last two are optional, and
//! all four are stored encrypted. Items travel in columns: byte strings are one data buffer and count + 1 offsets, the
//! string of item i being data[offsets[i] .. offsets[i + 1]]. A batch is taken whole or not at all.

use std::ffi::c_char;
use std::sync::Arc;

use super::call::{Call, cyborg_call};
use super::error::{cyborg_error, cyborg_status};
use super::guard::{self, quiet};
use super::index::{IndexHandle, cyborg_index};
use super::read::{Out, OutStruct, Sized32, block, input, reserved, slice, slice_mut};
use crate::engine::{Batch, Cursor, Db, Fields, Ids, Items, StringColumn, Strings, UpsertResult};
use crate::error::{Error, Result};
use crate::types::IdKind;

/// Longest id in bytes.
pub const CYBORG_MAX_ID_LEN: u32 = 4096;
/// Longest metadata of an item in bytes.
pub const CYBORG_MAX_METADATA_LEN: u32 = 1048576;
/// Longest contents of an item in bytes.
pub const CYBORG_MAX_CONTENTS_LEN: u32 = 16777216;
/// Most bytes in one call: vectors, ids, metadata and contents together.
pub const CYBORG_MAX_BATCH_BYTES: u64 = 1073741824;

/// What contents are: one of the CYBORG_CONTENTS_ numbers.
pub type cyborg_contents_kind = u8;

/// No contents.
pub const CYBORG_CONTENTS_NONE: cyborg_contents_kind = 0;
/// Any bytes.
pub const CYBORG_CONTENTS_BYTES: cyborg_contents_kind = 1;
/// UTF-8 text.
pub const CYBORG_CONTENTS_TEXT: cyborg_contents_kind = 2;

/// What to give back beside ids, as bits that can be added.
pub type cyborg_include = u32;

/// Distances (queries only).
pub const CYBORG_INCLUDE_DISTANCE: cyborg_include = 1;
/// Metadata.
pub const CYBORG_INCLUDE_METADATA: cyborg_include = 2;
/// Contents and their kind.
pub const CYBORG_INCLUDE_CONTENTS: cyborg_include = 4;
/// Vectors; under the cosine metric the normalised ones.
pub const CYBORG_INCLUDE_VECTOR: cyborg_include = 8;
/// All of them.
pub const CYBORG_INCLUDE_ALL: cyborg_include = 15;

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
    /// Items that have to be passed for training to start.
    pub threshold: u64,
}

// SAFETY: integers, size first.
unsafe impl Sized32 for cyborg_upsert_result {}

/// All columns of a result at once. Set struct_size (or start from CYBORG_COLUMNS_INIT) before passing it in. Pointers
/// are borrowed from the object asked, and NULL where it has no such column.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct cyborg_columns {
    /// sizeof(cyborg_columns).
    pub struct_size: u32,
    /// Elements of each vector.
    pub dimension: u32,
    /// Number of rows: items, or results of all queries together.
    pub rows: usize,
    /// Number of queries; 0 for items.
    pub queries: usize,
    /// queries + 1 positions: the results of query q are the rows starts[q] .. starts[q + 1]. NULL for items.
    pub starts: *const usize,
    /// Ids one after the other; numbers as 8 little-endian bytes.
    pub ids: *const u8,
    /// rows + 1 offsets into ids.
    pub id_offsets: *const u64,
    /// Ids as numbers; NULL unless the index has CYBORG_ID_KIND_U64.
    pub id_numbers: *const u64,
    /// 1 for each item that was found, otherwise 0; NULL for query results.
    pub found: *const u8,
    /// Distances; NULL for items and when not included.
    pub distances: *const f32,
    /// Metadata one after the other; NULL when not included.
    pub metadata: *const c_char,
    /// rows + 1 offsets into metadata.
    pub metadata_offsets: *const u64,
    /// Contents one after the other; NULL when not included.
    pub contents: *const u8,
    /// rows + 1 offsets into contents.
    pub contents_offsets: *const u64,
    /// A CYBORG_CONTENTS_ number for each row; NULL when contents are not included.
    pub contents_kinds: *const cyborg_contents_kind,
    /// rows x dimension values; NULL when not included.
    pub vectors: *const f32,
}

// SAFETY: integers and nullable pointers, size first.
unsafe impl Sized32 for cyborg_columns {}

/// Items fetched from an index. You own it and free it with cyborg_items_free().
/// Belongs to one thread at a time; outlives every handle.
pub struct cyborg_items {
    items: Items,
    numbers: Option<Vec<u64>>,
    found: Vec<u8>,
}

/// A walk over the ids of an index as they were when it began, whatever is written meanwhile. You own it and free it
/// with cyborg_cursor_free(). Belongs to one thread at a time; keeps its db alive.
pub struct cyborg_cursor {
    cursor: Cursor,
    id_kind: IdKind,
    poisoned: bool,
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
/// Statuses: common, INVALID_ARGUMENT, UNSUPPORTED, BUFFER_TOO_SMALL.
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
/// Statuses: common.
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
        let id_kind = h.index.describe()?.id_kind;
        let cursor = h.index.list_ids()?;
        out.give(cyborg_cursor { cursor, id_kind, poisoned: false, _db: Arc::clone(&h.db) });
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
        // SAFETY: made by `Box::into_raw` in this library; the caller gives up ownership.
        quiet(|| drop(unsafe { Box::from_raw(cursor) }));
    }
}

/// Numbers of a column of 8-byte ids.
pub(super) fn id_numbers(kind: IdKind, ids: &StringColumn) -> Option<Vec<u64>> {
    let number = |id: &[u8]| id.try_into().map_or(0, u64::from_le_bytes);
    (kind == IdKind::U64).then(|| (0..ids.len()).map(|i| number(ids.get(i))).collect())
}

/// First element of a column that is there. An empty column is not NULL.
fn first<T>(column: Option<&[T]>) -> *const T {
    column.map_or(std::ptr::null(), <[T]>::as_ptr)
}

/// The columns that items and query results share.
pub(super) fn columns(dimension: u32, ids: &StringColumn, numbers: Option<&[u64]>, fields: &Fields) -> cyborg_columns {
    let (metadata, contents) = (fields.metadata.as_ref(), fields.contents.as_ref());
    cyborg_columns {
        struct_size: 0,
        dimension,
        rows: ids.len(),
        queries: 0,
        starts: std::ptr::null(),
        ids: ids.data().as_ptr(),
        id_offsets: ids.offsets().as_ptr(),
        id_numbers: first(numbers),
        found: std::ptr::null(),
        distances: std::ptr::null(),
        metadata: first(metadata.map(StringColumn::data)).cast(),
        metadata_offsets: first(metadata.map(StringColumn::offsets)),
        contents: first(contents.map(StringColumn::data)),
        contents_offsets: first(contents.map(StringColumn::offsets)),
        contents_kinds: match contents {
            Some(_) => fields.contents_kinds.as_ptr().cast(),
            None => std::ptr::null(),
        },
        vectors: first(fields.vectors.as_deref()),
    }
}

/// Gives string `i` of a column to the caller.
///
/// # Safety
/// `out_len` is NULL or writable.
pub(super) unsafe fn string(column: Option<&StringColumn>, i: usize, out_len: *mut usize) -> *const u8 {
    let s = column.filter(|c| i < c.len()).map(|c| c.get(i));
    if !out_len.is_null() {
        // SAFETY: not NULL, the caller's place for a length.
        unsafe { out_len.write_unaligned(s.map_or(0, <[u8]>::len)) };
    }
    first(s)
}

/// Gives the kind of contents `i` to the caller.
///
/// # Safety
/// `out_kind` is NULL or writable.
pub(super) unsafe fn contents_kind(fields: Option<&Fields>, i: usize, out_kind: *mut cyborg_contents_kind) {
    if !out_kind.is_null() {
        let kind = fields.and_then(|f| f.contents_kinds.get(i));
        // SAFETY: not NULL, the caller's place for a kind.
        unsafe { out_kind.write(kind.map_or(CYBORG_CONTENTS_NONE, |&k| k as u8)) };
    }
}

/// Gives vector `i` to the caller, NULL when there is none.
pub(super) fn vector(fields: &Fields, dimension: u32, i: usize) -> *const f32 {
    let dimension = dimension as usize;
    let start = i.saturating_mul(dimension);
    first(fields.vectors.as_deref().and_then(|v| v.get(start..start.saturating_add(dimension))))
}

impl cyborg_items {
    fn new(items: Items) -> Self {
        let numbers = id_numbers(items.id_kind, &items.ids);
        let found = items.found.iter().map(|&f| u8::from(f)).collect();
        Self { items, numbers, found }
    }

    fn of_ids(ids: StringColumn, id_kind: IdKind) -> Self {
        Self::new(Items { id_kind, dimension: 0, found: vec![true; ids.len()], ids, fields: Fields::default() })
    }
}

/// Number of items, found or not. NULL gives 0.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_items_count(items: *const cyborg_items) -> usize {
    // SAFETY: NULL or items that the caller has not freed.
    unsafe { items.as_ref() }.map_or(0, |i| i.found.len())
}

/// 1 when item i was found, otherwise 0.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_items_found(items: *const cyborg_items, i: usize) -> u32 {
    // SAFETY: NULL or items that the caller has not freed.
    unsafe { items.as_ref() }.and_then(|t| t.found.get(i)).map_or(0, |&f| u32::from(f))
}

/// Id of item i, *out_len (may be NULL) bytes borrowed from the items; numbers as 8 little-endian bytes. NULL when there
/// is no such item.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_items_id(items: *const cyborg_items, i: usize, out_len: *mut usize) -> *const u8 {
    // SAFETY: NULL or items that the caller has not freed; a length's place or NULL.
    unsafe { string(items.as_ref().map(|t| &t.items.ids), i, out_len) }
}

/// Id of item i as a number, 0 when ids are byte strings or there is no such item.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_items_id_u64(items: *const cyborg_items, i: usize) -> u64 {
    // SAFETY: NULL or items that the caller has not freed.
    let numbers = unsafe { items.as_ref() }.and_then(|t| t.numbers.as_ref());
    numbers.and_then(|n| n.get(i)).copied().unwrap_or(0)
}

/// Metadata of item i, *out_len (may be NULL) bytes of JSON as they were given, not NUL-terminated, borrowed from the
/// items; length 0 when the item has none, NULL when it was not included or there is no such item.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_items_metadata(
    items: *const cyborg_items,
    i: usize,
    out_len: *mut usize,
) -> *const c_char {
    // SAFETY: NULL or items that the caller has not freed; a length's place or NULL.
    unsafe { string(items.as_ref().and_then(|t| t.items.fields.metadata.as_ref()), i, out_len) }.cast()
}

/// Contents of item i, *out_len (may be NULL) bytes as they were given, not NUL-terminated, borrowed from the items;
/// NULL when they were not included or there is no such item. *out_kind (may be NULL) is their kind.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_items_contents(
    items: *const cyborg_items,
    i: usize,
    out_len: *mut usize,
    out_kind: *mut cyborg_contents_kind,
) -> *const u8 {
    // SAFETY: NULL or items that the caller has not freed; places for a length and a kind, or NULL.
    unsafe {
        let fields = items.as_ref().map(|t| &t.items.fields);
        contents_kind(fields, i, out_kind);
        string(fields.and_then(|f| f.contents.as_ref()), i, out_len)
    }
}

/// Vector of item i, as many values as the index has dimensions, borrowed from the items; NULL when it was not included
/// or there is no such item.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_items_vector(items: *const cyborg_items, i: usize) -> *const f32 {
    // SAFETY: NULL or items that the caller has not freed.
    let items = unsafe { items.as_ref() }.map(|t| &t.items);
    items.map_or(std::ptr::null(), |t| vector(&t.fields, t.dimension, i))
}

/// Gives all columns at once, for bindings that want no call per item. The pointers live as long as the items.
/// Statuses: NULL_ARGUMENT, INVALID_ARGUMENT.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_items_columns(
    items: *const cyborg_items,
    out_columns: *mut cyborg_columns,
    err: *mut *mut cyborg_error,
) -> cyborg_status {
    guard::run(err, || {
        // SAFETY: NULL or items that the caller has not freed; NULL or the caller's struct.
        let (items, out) = unsafe { (items.as_ref(), OutStruct::new(out_columns, "out_columns")?) };
        let t = items.ok_or(Error::NullArgument { what: "items" })?;
        let shared = columns(t.items.dimension, &t.items.ids, t.numbers.as_deref(), &t.items.fields);
        out.set(cyborg_columns { found: t.found.as_ptr(), ..shared });
        Ok(())
    })
}

/// Frees items. NULL is allowed.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cyborg_items_free(items: *mut cyborg_items) {
    if !items.is_null() {
        // SAFETY: made by `Box::into_raw` in this library; the caller gives up ownership.
        quiet(|| drop(unsafe { Box::from_raw(items) }));
    }
}
