//! The one error type of the library and its stable numbers.
//!
//! An [`Error`] carries values, never prose built elsewhere: the message is rendered here, on one line, and holds
//! no key, vector, metadata or contents. [`Status`] is the number C sees; numbers are frozen, families leave gaps.

use std::fmt;

/// Result of every fallible operation of the library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Stable status numbers, the same in C (`CYBORG_STATUS_*`), Go and every binding. Never renumbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
#[allow(missing_docs, reason = "each name is explained once, on its C constant")]
pub enum Status {
    NullArgument = 10,
    InvalidHandle = 11,
    InvalidArgument = 12,
    DimensionMismatch = 13,
    BufferTooSmall = 14,
    Unsupported = 15,
    NotFound = 20,
    AlreadyExists = 21,
    TrainingInProgress = 22,
    InsufficientVectors = 23,
    Conflict = 24,
    Closed = 25,
    Forked = 26,
    Poisoned = 27,
    ModelNotReady = 28,
    ModelFailed = 29,
    Io = 30,
    Busy = 31,
    Fenced = 32,
    ReadOnly = 33,
    NoSpace = 34,
    StoreUnsafe = 35,
    WrongKey = 40,
    Corrupt = 41,
    Rollback = 42,
    Version = 50,
    Cancelled = 60,
    Timeout = 61,
    NoMemory = 70,
    Internal = 90,
}

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Category {
    /// The call was wrong: mend the arguments.
    Input = 1,
    /// The object is in a state that forbids the call.
    State = 2,
    /// The same call may succeed later.
    Transient = 3,
    /// The same call will fail again until something outside is mended.
    Permanent = 4,
    /// Wrong key, damage or rollback.
    Security = 5,
}

/// Everything that can go wrong, with the values that say why.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A required pointer was NULL (C only).
    #[error("{what} is NULL")]
    NullArgument {
        /// Parameter name.
        what: &'static str,
    },
    /// A handle that is stale, freed or foreign (C only).
    #[error("{what} is not a live handle")]
    InvalidHandle {
        /// Parameter name.
        what: &'static str,
    },
    /// A field outside its documented range.
    #[error("{field} is {got}, allowed: {allowed}")]
    InvalidArgument {
        /// Field or parameter name.
        field: &'static str,
        /// What was given, rendered without payload bytes.
        got: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// One item of a batch is not acceptable; the whole batch was refused.
    #[error("item {item}: {field} is {got}, allowed: {allowed}")]
    InvalidItem {
        /// Position of the item in the batch.
        item: u64,
        /// Field of the item.
        field: &'static str,
        /// What was given, rendered without payload bytes.
        got: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The dimension of a batch or query is not that of the index.
    #[error("dimension is {got}, the index has {expected}")]
    DimensionMismatch {
        /// Dimension of the index.
        expected: u32,
        /// Dimension given.
        got: u32,
    },
    /// A caller's buffer is too short.
    #[error("{what} holds {got}, {needed} needed")]
    BufferTooSmall {
        /// Parameter name.
        what: &'static str,
        /// Elements needed.
        needed: u64,
        /// Elements given.
        got: u64,
    },
    /// Valid, but not by this version or this build.
    #[error("{what} is not supported by this version")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
    },
    /// No such index or item.
    #[error("no {what} of that name")]
    NotFound {
        /// Kind of thing looked for.
        what: &'static str,
    },
    /// The name is taken.
    #[error("{what} exists already")]
    AlreadyExists {
        /// Kind of thing.
        what: &'static str,
    },
    /// A training job of this index is queued or running.
    #[error("the index is being trained")]
    TrainingInProgress,
    /// Training needs at least `2 * n_lists` vectors.
    #[error("training needs {needed} vectors, the index has {got}")]
    InsufficientVectors {
        /// Vectors needed.
        needed: u64,
        /// Vectors present.
        got: u64,
    },
    /// The object changed or is in use in a way that forbids the call.
    #[error("{what}")]
    Conflict {
        /// What is in the way.
        what: &'static str,
    },
    /// A model that indexes were made from, which still exist.
    #[error("the model is in use by {}", list(indexes))]
    ModelInUse {
        /// Names of the indexes.
        indexes: Vec<String>,
    },
    /// A model that is still being trained.
    #[error("the model is being trained")]
    ModelNotReady,
    /// A model whose training failed.
    #[error("the model has failed: {why}")]
    ModelFailed {
        /// The reason its record gives.
        why: String,
    },
    /// The handle was closed, or its index dropped.
    #[error("the {what} is closed")]
    Closed {
        /// `"db"` or `"index"`.
        what: &'static str,
    },
    /// The process forked after the db was opened; only the parent may use it.
    #[error("the db was opened by another process (fork)")]
    Forked,
    /// An earlier panic left this handle unusable.
    #[error("an earlier internal error left the {what} unusable, free it")]
    Poisoned {
        /// Kind of handle.
        what: &'static str,
    },
    /// The store failed.
    #[error("store: {context}: {detail}")]
    Io {
        /// What was being done.
        context: &'static str,
        /// The operating system's or engine's words.
        detail: String,
    },
    /// Another process or handle holds the store for writing.
    #[error("the store is held by another writer")]
    Busy,
    /// Another writer took the store over.
    #[error("another writer took over the store")]
    Fenced,
    /// A write on a db that was opened (or fell) read-only.
    #[error("the db is read-only: {why}")]
    ReadOnly {
        /// Reason.
        why: &'static str,
    },
    /// The store has no room.
    #[error("the store is full: {context}")]
    NoSpace {
        /// What was being done.
        context: &'static str,
    },
    /// The store does not keep the promises a commit needs.
    #[error("the store cannot be trusted with commits: {why}")]
    StoreUnsafe {
        /// Reason.
        why: &'static str,
    },
    /// The key opens none of the index's keyslots.
    #[error("wrong key")]
    WrongKey,
    /// Stored bytes are not what was written.
    #[error("stored data is damaged: {what}")]
    Corrupt {
        /// Which object or field.
        what: &'static str,
    },
    /// The store shows an older state than one already seen.
    #[error("the store went back in time: head {got}, seen {seen}")]
    Rollback {
        /// Newest sequence number seen.
        seen: u64,
        /// Sequence number found.
        got: u64,
    },
    /// Written by a newer version of the format.
    #[error("{what} has format version {got}, this library reads up to {supported}")]
    Version {
        /// Which object.
        what: &'static str,
        /// Version found.
        got: u32,
        /// Newest version read.
        supported: u32,
    },
    /// A cancel token was set.
    #[error("cancelled")]
    Cancelled,
    /// A deadline passed.
    #[error("the deadline passed")]
    Timeout,
    /// An allocation was refused, by the system or by a limit.
    #[error("{what} needs {needed} bytes, {got} allowed")]
    NoMemory {
        /// What the memory was for.
        what: &'static str,
        /// Bytes needed.
        needed: u64,
        /// Bytes available or allowed.
        got: u64,
    },
    /// A defect of the library.
    #[error("internal error: {what}")]
    Internal {
        /// What was found.
        what: &'static str,
    },
}

impl Error {
    /// A field outside its range. `got` must not render payload bytes.
    pub(crate) fn invalid(field: &'static str, got: impl fmt::Display, allowed: &'static str) -> Self {
        Self::InvalidArgument { field, got: got.to_string(), allowed }
    }

    /// An item outside its range. `got` must not render payload bytes.
    pub(crate) fn item(item: usize, field: &'static str, got: impl fmt::Display, allowed: &'static str) -> Self {
        Self::InvalidItem { item: item as u64, field, got: got.to_string(), allowed }
    }

    /// The stable number.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::NullArgument { .. } => Status::NullArgument,
            Self::InvalidHandle { .. } => Status::InvalidHandle,
            Self::InvalidArgument { .. } | Self::InvalidItem { .. } => Status::InvalidArgument,
            Self::DimensionMismatch { .. } => Status::DimensionMismatch,
            Self::BufferTooSmall { .. } => Status::BufferTooSmall,
            Self::Unsupported { .. } => Status::Unsupported,
            Self::NotFound { .. } => Status::NotFound,
            Self::AlreadyExists { .. } => Status::AlreadyExists,
            Self::TrainingInProgress => Status::TrainingInProgress,
            Self::InsufficientVectors { .. } => Status::InsufficientVectors,
            Self::Conflict { .. } | Self::ModelInUse { .. } => Status::Conflict,
            Self::ModelNotReady => Status::ModelNotReady,
            Self::ModelFailed { .. } => Status::ModelFailed,
            Self::Closed { .. } => Status::Closed,
            Self::Forked => Status::Forked,
            Self::Poisoned { .. } => Status::Poisoned,
            Self::Io { .. } => Status::Io,
            Self::Busy => Status::Busy,
            Self::Fenced => Status::Fenced,
            Self::ReadOnly { .. } => Status::ReadOnly,
            Self::NoSpace { .. } => Status::NoSpace,
            Self::StoreUnsafe { .. } => Status::StoreUnsafe,
            Self::WrongKey => Status::WrongKey,
            Self::Corrupt { .. } => Status::Corrupt,
            Self::Rollback { .. } => Status::Rollback,
            Self::Version { .. } => Status::Version,
            Self::Cancelled => Status::Cancelled,
            Self::Timeout => Status::Timeout,
            Self::NoMemory { .. } => Status::NoMemory,
            Self::Internal { .. } => Status::Internal,
        }
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn category(&self) -> Category {
        match self.status() {
            Status::NullArgument
            | Status::InvalidHandle
            | Status::InvalidArgument
            | Status::DimensionMismatch
            | Status::BufferTooSmall
            | Status::Unsupported => Category::Input,
            Status::NotFound
            | Status::AlreadyExists
            | Status::TrainingInProgress
            | Status::InsufficientVectors
            | Status::Conflict
            | Status::Closed
            | Status::Forked
            | Status::Poisoned
            | Status::ModelNotReady
            | Status::ModelFailed => Category::State,
            Status::Busy | Status::Cancelled | Status::Timeout | Status::NoMemory => Category::Transient,
            Status::Io
            | Status::Fenced
            | Status::ReadOnly
            | Status::NoSpace
            | Status::StoreUnsafe
            | Status::Version
            | Status::Internal => Category::Permanent,
            Status::WrongKey | Status::Corrupt | Status::Rollback => Category::Security,
        }
    }

    /// Position of the offending item in its batch, where the error is about one.
    #[must_use]
    pub fn item_index(&self) -> Option<u64> {
        match self {
            Self::InvalidItem { item, .. } => Some(*item),
            _ => None,
        }
    }

    /// Field, value given and what is allowed, where the error is about a field.
    #[must_use]
    pub fn field(&self) -> Option<(&'static str, &str, &'static str)> {
        match self {
            Self::InvalidArgument { field, got, allowed } | Self::InvalidItem { field, got, allowed, .. } => {
                Some((field, got, allowed))
            }
            _ => None,
        }
    }

    /// The numbers `(needed, got)`, where the error is about a quantity.
    #[must_use]
    pub fn needed_got(&self) -> Option<(u64, u64)> {
        match self {
            Self::InsufficientVectors { needed, got }
            | Self::BufferTooSmall { needed, got, .. }
            | Self::NoMemory { needed, got, .. } => Some((*needed, *got)),
            Self::DimensionMismatch { expected, got } => Some((u64::from(*expected), u64::from(*got))),
            Self::Version { supported, got, .. } => Some((u64::from(*supported), u64::from(*got))),
            Self::Rollback { seen, got } => Some((*seen, *got)),
            _ => None,
        }
    }
}

/// Names in a row, as many as a line of text can hold.
fn list(names: &[String]) -> String {
    const MOST: usize = 20;
    let shown = names[..names.len().min(MOST)].join(", ");
    if names.len() > MOST { format!("{shown} and {} more", names.len() - MOST) } else { shown }
}

/// Allocates a vector of `len` zeroes, or says how much was wanted. For every size that comes from input or disk.
pub(crate) fn try_zeroed<T: Clone + Default>(len: usize, what: &'static str) -> Result<Vec<T>> {
    let mut v = try_with_capacity(len, what)?;
    v.resize(len, T::default());
    Ok(v)
}

/// Reserves room for `len` elements, or says how much was wanted. For every size that comes from input or disk.
pub(crate) fn try_with_capacity<T>(len: usize, what: &'static str) -> Result<Vec<T>> {
    let mut v = Vec::new();
    v.try_reserve_exact(len).map_err(|_| Error::NoMemory {
        what,
        needed: (len as u64).saturating_mul(size_of::<T>() as u64),
        got: 0,
    })?;
    Ok(v)
}
