//! Columns: what comes back
//!
//! Items and query results are objects that hold columns; accessors read one place of a column, and the _columns
//! functions hand out whole ones. What was not asked for with CYBORG_INCLUDE_ bits is NULL.

use std::ffi::c_char;

use super::error::{cyborg_error, cyborg_status};
use super::guard::{self, quiet};
use super::read::{OutStruct, Sized32};
use crate::engine::{Fields, Items, StringColumn};
use crate::error::Error;
use crate::types::IdKind;

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

impl cyborg_items {
    pub(super) fn new(items: Items) -> Self {
        let numbers = id_numbers(items.id_kind, &items.ids);
        let found = items.found.iter().map(|&f| u8::from(f)).collect();
        Self { items, numbers, found }
    }

    pub(super) fn of_ids(ids: StringColumn, id_kind: IdKind) -> Self {
        Self::new(Items { id_kind, dimension: 0, found: vec![true; ids.len()], ids, fields: Fields::default() })
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
