//! Every raw pointer that C hands in is turned into something checked here: options, columns, texts, outputs.
//!
//! What can be checked is (NULL, alignment, overflow, struct sizes, UTF-8); that a non-NULL pointer leads to as much
//! memory as the manual says is the caller's promise, and the only one.

use std::ffi::{CStr, c_char};
use std::ptr::NonNull;

use crate::error::{Error, Result};
use crate::types::MAX_BATCH_BYTES;

/// Largest `struct_size` that is not taken for garbage.
const MAX_STRUCT: usize = 4096;

/// A plain C struct that starts with `uint32_t struct_size`.
///
/// # Safety
/// `repr(C)`, the first field is a `u32`, and the all-zero bit pattern is a valid value.
pub(super) unsafe trait Sized32: Copy {}

/// All fields 0 or NULL.
pub(super) fn zeroed<T: Sized32>() -> T {
    // SAFETY: `Sized32` promises that all-zero is valid.
    unsafe { std::mem::zeroed() }
}

/// Reads a struct by its own `struct_size`: NULL = all zero; a shorter one has its missing fields zero; a longer one is
/// accepted when what this version does not know is zero.
///
/// # Safety
/// `p` is NULL or leads to `struct_size` readable bytes.
pub(super) unsafe fn options<T: Sized32>(p: *const T, what: &'static str) -> Result<T> {
    if p.is_null() {
        return Ok(zeroed());
    }
    // SAFETY: the caller's struct starts with its size.
    let given = unsafe { p.cast::<u32>().read_unaligned() } as usize;
    check_size(given, what)?;
    // SAFETY: the caller's struct is `given` bytes long.
    let bytes = unsafe { std::slice::from_raw_parts(p.cast::<u8>(), given) };
    let known = given.min(size_of::<T>());
    if bytes[known..].iter().any(|&b| b != 0) {
        return Err(Error::Unsupported { what: "a field of a longer struct_size" });
    }
    let mut value = zeroed::<T>();
    // SAFETY: `known` is at most the size of both sides, and `T` takes any bytes it was compiled with: integers, floats
    // and pointers.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), (&raw mut value).cast::<u8>(), known) };
    Ok(value)
}

/// Like [`options`], but the struct must be there.
///
/// # Safety
/// As [`options`].
pub(super) unsafe fn input<T: Sized32>(p: *const T, what: &'static str) -> Result<T> {
    if p.is_null() {
        return Err(Error::NullArgument { what });
    }
    // SAFETY: passed on.
    unsafe { options(p, what) }
}

fn check_size(given: usize, what: &'static str) -> Result<()> {
    if (size_of::<u32>()..=MAX_STRUCT).contains(&given) {
        return Ok(());
    }
    Err(Error::invalid(what, format_args!("a struct with struct_size {given}"), "its sizeof, see CYBORG_..._INIT"))
}

/// An out-struct: keeps the caller's size and is written once, so that a failing call changes nothing.
pub(super) struct OutStruct<T> {
    at: NonNull<T>,
    given: usize,
}

impl<T: Sized32> OutStruct<T> {
    /// # Safety
    /// `p` is NULL or leads to `struct_size` readable and writable bytes until the call returns.
    pub(super) unsafe fn new(p: *mut T, what: &'static str) -> Result<Self> {
        let at = NonNull::new(p).ok_or(Error::NullArgument { what })?;
        // SAFETY: the caller's struct starts with its size.
        let given = unsafe { p.cast::<u32>().read_unaligned() } as usize;
        check_size(given, what)?;
        Ok(Self { at, given })
    }

    /// # Safety
    /// As [`Self::new`], but NULL means that the caller does not want it.
    pub(super) unsafe fn optional(p: *mut T, what: &'static str) -> Result<Option<Self>> {
        if p.is_null() {
            return Ok(None);
        }
        // SAFETY: passed on.
        unsafe { Self::new(p, what) }.map(Some)
    }

    /// Writes all fields the caller knows but `struct_size`, and zero to those only the caller knows.
    pub(super) fn set(self, value: T) {
        const HEAD: usize = size_of::<u32>();
        let known = self.given.min(size_of::<T>());
        let to = self.at.as_ptr().cast::<u8>();
        // SAFETY: `new` was promised `given` writable bytes; `known` is at most that and the size of `value`.
        unsafe {
            std::ptr::copy_nonoverlapping((&raw const value).cast::<u8>().add(HEAD), to.add(HEAD), known - HEAD);
            to.add(known).write_bytes(0, self.given - known);
        }
    }
}

/// One output value.
pub(super) struct Out<T>(NonNull<T>);

impl<T> Out<T> {
    /// # Safety
    /// `p` is NULL or writable until the call returns.
    pub(super) unsafe fn new(p: *mut T, what: &'static str) -> Result<Self> {
        NonNull::new(p).map(Self).ok_or(Error::NullArgument { what })
    }

    pub(super) fn set(self, value: T) {
        // SAFETY: `new` was promised a writable place.
        unsafe { self.0.as_ptr().write_unaligned(value) };
    }
}

impl<T> Out<*mut T> {
    /// An out-handle: NULL from now on, unless the call succeeds.
    ///
    /// # Safety
    /// As [`Out::new`].
    pub(super) unsafe fn handle(p: *mut *mut T, what: &'static str) -> Result<Self> {
        // SAFETY: passed on.
        let out = unsafe { Self::new(p, what) }?;
        // SAFETY: `new` was promised a writable place.
        unsafe { out.0.as_ptr().write_unaligned(std::ptr::null_mut()) };
        Ok(out)
    }

    /// Gives an owned object to the caller.
    pub(super) fn give(self, object: T) {
        self.set(Box::into_raw(Box::new(object)));
    }
}

fn check_block<T>(p: *const T, len: usize, what: &'static str) -> Result<()> {
    if p.is_null() {
        return Err(Error::NullArgument { what });
    }
    if !p.is_aligned() {
        return Err(Error::invalid(what, "an address that is not aligned", "the alignment of its type"));
    }
    if len > isize::MAX as usize / size_of::<T>() {
        return Err(Error::invalid(what, format_args!("{len} elements"), "what memory can hold"));
    }
    Ok(())
}

/// A block of `len` elements; NULL is allowed only when `len` is 0.
///
/// # Safety
/// `p` leads to `len` elements that do not change until the call returns.
pub(super) unsafe fn slice<'a, T>(p: *const T, len: usize, what: &'static str) -> Result<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    check_block(p, len, what)?;
    // SAFETY: checked for NULL, alignment and size; the caller promises the rest.
    Ok(unsafe { std::slice::from_raw_parts(p, len) })
}

/// A block of `len` elements to write; NULL is allowed only when `len` is 0.
///
/// # Safety
/// `p` leads to `len` initialised elements that nobody else touches until the call returns.
pub(super) unsafe fn slice_mut<'a, T>(p: *mut T, len: usize, what: &'static str) -> Result<&'a mut [T]> {
    if len == 0 {
        return Ok(&mut []);
    }
    check_block(p, len, what)?;
    // SAFETY: checked for NULL, alignment and size; the caller promises the rest.
    Ok(unsafe { std::slice::from_raw_parts_mut(p, len) })
}

/// `rows x columns` values, at most a batch's worth.
///
/// # Safety
/// As `slice`.
pub(super) unsafe fn block<'a>(p: *const f32, rows: usize, columns: u32, what: &'static str) -> Result<&'a [f32]> {
    let len = (rows as u64).checked_mul(u64::from(columns)).filter(|&n| n <= MAX_BATCH_BYTES / 4);
    let Some(len) = len else {
        return Err(Error::invalid(what, format_args!("{rows} x {columns} values"), "at most 1 GiB a call"));
    };
    // SAFETY: passed on.
    unsafe { slice(p, len as usize, what) }
}

/// NUL-terminated UTF-8 text.
///
/// # Safety
/// `p` is NULL or leads to a NUL-terminated string that does not change until the call returns.
pub(super) unsafe fn text<'a>(p: *const c_char, what: &'static str) -> Result<&'a str> {
    if p.is_null() {
        return Err(Error::NullArgument { what });
    }
    // SAFETY: not NULL, and the caller promises the terminator.
    let text = unsafe { CStr::from_ptr(p) };
    text.to_str().map_err(|_| Error::invalid(what, "not UTF-8", "UTF-8 text"))
}

/// A truth value of the ABI.
pub(super) fn flag(value: u32, field: &'static str) -> Result<bool> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        n => Err(Error::invalid(field, n, "0 or 1")),
    }
}

/// A field kept for later versions.
pub(super) fn reserved(value: u32) -> Result<()> {
    if value == 0 { Ok(()) } else { Err(Error::Unsupported { what: "a reserved field that is not 0" }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Status;

    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(C)]
    struct Sample {
        struct_size: u32,
        a: u32,
        b: u64,
    }
    // SAFETY: integers only, size first.
    unsafe impl Sized32 for Sample {}

    #[repr(C)]
    struct Longer {
        base: Sample,
        tail: u64,
    }

    fn read(s: &Longer) -> Result<Sample> {
        // SAFETY: every size used below is at most that of `Longer`.
        unsafe { options(&raw const s.base, "sample") }
    }

    #[test]
    fn a_struct_is_read_by_its_own_size() {
        let mut s = Longer { base: Sample { struct_size: 16, a: 1, b: 2 }, tail: 7 };
        assert_eq!(read(&s).unwrap(), s.base);
        s.base.struct_size = 8;
        assert_eq!(read(&s).unwrap(), Sample { struct_size: 8, a: 1, b: 0 });
        s.base.struct_size = 24;
        assert_eq!(read(&s).unwrap_err().status(), Status::Unsupported);
        s.tail = 0;
        assert_eq!(read(&s).unwrap().b, 2);
        for bad in [0, 3, 4097, u32::MAX] {
            s.base.struct_size = bad;
            assert_eq!(read(&s).unwrap_err().status(), Status::InvalidArgument);
        }
        // SAFETY: NULL is allowed.
        assert_eq!(unsafe { options::<Sample>(std::ptr::null(), "s") }.unwrap().b, 0);
    }

    #[test]
    fn an_out_struct_is_written_up_to_its_own_size() {
        let value = Sample { struct_size: 0, a: 5, b: 6 };
        for (size, expect) in [(8, (5, 9, 9)), (16, (5, 6, 9)), (24, (5, 6, 0))] {
            let mut s = Longer { base: Sample { struct_size: size, a: 9, b: 9 }, tail: 9 };
            // SAFETY: every size used is at most that of `Longer`.
            unsafe { OutStruct::new((&raw mut s).cast::<Sample>(), "s") }.unwrap().set(value);
            assert_eq!(s.base.struct_size, size);
            assert_eq!((s.base.a, s.base.b, s.tail), expect);
        }
    }

    #[test]
    fn blocks_are_checked() {
        let v = [1.0f32; 4];
        let odd = v.as_ptr().wrapping_byte_add(1);
        // SAFETY: refused before they are read, or 4 values long.
        unsafe {
            assert_eq!(slice(v.as_ptr(), 4, "v").unwrap(), &v);
            assert!(slice::<f32>(std::ptr::null(), 0, "v").unwrap().is_empty());
            assert_eq!(slice::<f32>(std::ptr::null(), 1, "v").unwrap_err().status(), Status::NullArgument);
            assert_eq!(slice(odd, 1, "v").unwrap_err().status(), Status::InvalidArgument);
            assert_eq!(slice(v.as_ptr(), usize::MAX, "v").unwrap_err().status(), Status::InvalidArgument);
            assert_eq!(block(v.as_ptr(), usize::MAX, u32::MAX, "v").unwrap_err().status(), Status::InvalidArgument);
            assert_eq!(text(c"\xff".as_ptr(), "t").unwrap_err().status(), Status::InvalidArgument);
        }
    }
}
