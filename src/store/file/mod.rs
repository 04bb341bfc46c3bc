//! The `file:` store: one SQLite file, one writing process, many reading ones.
//!
//! Write-ahead log with `synchronous=FULL`: a commit is on the disk when it returns. Objects lie in rows of at most
//! `CHUNK` bytes, so that a range is read without its object. The writer holds a lock on `PATH-lock` for life; a second
//! one, also of this process, is [`Error::Busy`]. After a failed sync nothing that the system says about the file can be
//! believed, so the store turns read-only. How a read-only store reads beside a writer without making a file: `reader.rs`.

mod reader;
mod schema;
#[cfg(test)]
pub(crate) mod scratch;
#[cfg(test)]
mod tests;

use std::fs::{File, Metadata, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, ffi, params};

use self::reader::Readers;
use super::{Caps, Head, Name, SpaceId, Store, range_end};
use crate::error::{Error, Result};

/// Bytes of an object in one row. A range that crosses rows takes one step more for each.
const CHUNK: usize = 256 << 10;
/// Bits of a row id that count the rows of one object.
const CHUNK_BITS: u32 = 20;
/// Object numbers that a writer takes at a time, so that a number is never used twice, not even after a crash.
const LEASE: i64 = 1 << 20;
/// Longest object: its rows must not run into the numbers of the next.
const MAX_OBJECT: u64 = (CHUNK as u64) << CHUNK_BITS;
/// What the lock file says once the store beside it was made: an empty file is then damage and not a new store.
const MARK: &[u8] = b"cyborg store lock\n";

const NO_SPACE: Error = Error::NotFound { what: "index" };
const NO_OBJECT: Error = Error::NotFound { what: "object" };

/// A store in one SQLite file.
pub struct FileStore {
    path: PathBuf,
    // Readers close before the writer, the writer before the lock: so the last to close is the one that may empty the log.
    readers: Readers,
    writer: Option<Writer>,
}

struct Writer {
    inner: Mutex<Inner>,
    /// A sync failed: nothing is written any more.
    broken: AtomicBool,
    /// Device and inode of the file that was opened.
    identity: (u64, u64),
    _lock: Lock,
}

struct Inner {
    connection: Connection,
    /// Object numbers that may be given out: next, end.
    lease: (i64, i64),
}

impl FileStore {
    /// Opens the store at `path`; a missing one is made, unless `read_only`.
    pub fn open(path: &Path, read_only: bool) -> Result<Self> {
        if path.as_os_str().is_empty() {
            return Err(Error::invalid("path", "empty", "a file name"));
        }
        if read_only {
            let readers = Readers::new(path, true);
            readers.with(schema::check)?;
            return Ok(Self { path: path.to_owned(), readers, writer: None });
        }
        let (mut lock, marked) = take_lock(path)?;
        if marked && std::fs::metadata(path).is_ok_and(|m| m.len() == 0) {
            return Err(Error::Corrupt { what: "store file (empty)" });
        }
        let mut connection = schema::open_writer(path, last_chunk())?;
        if !marked {
            lock.file.write_all(MARK).and_then(|()| lock.file.sync_all()).map_err(io("writing the lock file"))?;
        }
        let identity = identity(&std::fs::metadata(path).map_err(io("opening the store"))?);
        let lease = schema::lease(&mut connection, LEASE)?;
        let inner = Mutex::new(Inner { connection, lease });
        let writer = Some(Writer { inner, broken: AtomicBool::new(false), identity, _lock: lock });
        Ok(Self { path: path.to_owned(), readers: Readers::new(path, false), writer })
    }

    /// Runs one durable transaction.
    fn write<T>(
        &self,
        context: &'static str,
        f: impl FnOnce(&Transaction<'_>, &mut (i64, i64)) -> Result<T>,
    ) -> Result<T> {
        let writer = self.writer()?;
        let mut inner = writer.inner.lock();
        let Inner { connection, lease } = &mut *inner;
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql(context))?;
        let out = f(&tx, lease)?;
        tx.commit().map_err(|e| {
            let full = e.sqlite_error_code() == Some(ErrorCode::DiskFull);
            if !full {
                writer.broken.store(true, Ordering::Release);
            }
            sql(context)(e)
        })?;
        Ok(out)
    }

    /// The writer, as long as what it writes can be read again: not after a failed sync, and not into a file that was
    /// removed or replaced.
    fn writer(&self) -> Result<&Writer> {
        let writer = self.writer.as_ref().ok_or(Error::ReadOnly { why: "it was opened so" })?;
        if writer.broken.load(Ordering::Acquire) {
            return Err(Error::ReadOnly { why: "an earlier write could not be made durable" });
        }
        let now = std::fs::metadata(&self.path).map_err(io("writing (the store file has vanished)"))?;
        if identity(&now) != writer.identity {
            let detail = "the store file was replaced by another".to_owned();
            return Err(Error::Io { context: "writing", detail });
        }
        Ok(writer)
    }

    /// Number and length of an object.
    fn find(c: &Connection, id: SpaceId, name: Name) -> Result<(i64, u64)> {
        let mut find =
            c.prepare_cached("SELECT id, len FROM object WHERE space = ?1 AND name = ?2").map_err(sql("reading"))?;
        let found = find.query_row(params![id, name.0], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)));
        let (row, len) = found.optional().map_err(sql("reading"))?.ok_or(NO_OBJECT)?;
        Ok((row, u64::try_from(len).map_err(|_| Error::Corrupt { what: "store file (length of an object)" })?))
    }
}

fn put(tx: &Transaction<'_>, lease: &mut (i64, i64), id: SpaceId, name: Name, bytes: &[u8]) -> Result<()> {
    const TEXT: &str = "INSERT INTO object(id, space, name, len, bytes) VALUES(?1, ?2, ?3, ?4, ?5)";
    if bytes.len() as u64 > MAX_OBJECT {
        return Err(Error::invalid("object length", bytes.len(), "at most 256 GiB"));
    }
    if lease.0 >= lease.1 {
        *lease = schema::extend_lease(tx, LEASE)?;
    }
    let number = lease.0 << CHUNK_BITS;
    lease.0 += 1;
    let mut insert = tx.prepare_cached(TEXT).map_err(sql("writing"))?;
    let (first, rest) = bytes.split_at(bytes.len().min(CHUNK));
    insert.execute(params![number, id, name.0, bytes.len() as i64, first]).map_err(|e| {
        match e.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => Error::AlreadyExists { what: "object" },
            _ => sql("writing")(e),
        }
    })?;
    for (row, chunk) in (number + 1..).zip(rest.chunks(CHUNK)) {
        let none = rusqlite::types::Null;
        insert.execute(params![row, none, none, none, chunk]).map_err(sql("writing"))?;
    }
    Ok(())
}

fn remove(tx: &Transaction<'_>, id: SpaceId, names: &[Name]) -> Result<()> {
    let mut delete = tx.prepare_cached("DELETE FROM object WHERE id BETWEEN ?1 AND ?2").map_err(sql("deleting"))?;
    for name in names {
        match FileStore::find(tx, id, *name) {
            Ok((row, _)) => drop(delete.execute(params![row, row | last_chunk()]).map_err(sql("deleting"))?),
            Err(Error::NotFound { .. }) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

const fn last_chunk() -> i64 {
    (1 << CHUNK_BITS) - 1
}

impl Store for FileStore {
    fn caps(&self) -> Caps {
        Caps { durable: true, shared: true, max_object: MAX_OBJECT }
    }

    fn read_only(&self) -> bool {
        self.writer.as_ref().is_none_or(|w| w.broken.load(Ordering::Acquire))
    }

    fn spaces(&self) -> Result<Vec<(String, SpaceId)>> {
        self.readers.with(schema::catalog)
    }

    fn find_space(&self, name: &str) -> Result<Option<SpaceId>> {
        // The catalog is read whole: only so can a damaged entry not pass for an absent one.
        let found = self.readers.with(schema::catalog)?;
        Ok(found.into_iter().find(|(other, _)| other == name).map(|(_, id)| id))
    }

    fn create_space(&self, name: &str, id: SpaceId, head: &[u8], puts: &[(Name, &[u8])]) -> Result<()> {
        self.write("creating an index", |tx, lease| {
            schema::add_space(tx, name, id, head, last_chunk())?;
            puts.iter().try_for_each(|(name, bytes)| put(tx, lease, id, *name, bytes))
        })
    }

    fn drop_space(&self, id: SpaceId) -> Result<bool> {
        // The keys first, in a commit of their own. From there on the index is gone, whatever happens next.
        if !self.write("dropping an index", |tx, _| schema::erase_space(tx, id))? {
            return Ok(false);
        }
        self.write("dropping an index", |tx, _| schema::remove_erased(tx, last_chunk()))?;
        self.checkpoint()?;
        Ok(true)
    }

    fn head(&self, id: SpaceId) -> Result<Option<Head>> {
        self.readers.with(|c| {
            let text = "SELECT seq, head FROM space WHERE id = ?1 AND seq != 0";
            let mut select = c.prepare_cached(text).map_err(sql("reading a head"))?;
            let found = select.query_row([id], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?))).optional();
            Ok(found.map_err(sql("reading a head"))?.map(|(seq, bytes)| Head { seq: seq.cast_unsigned(), bytes }))
        })
    }

    fn head_seq(&self, id: SpaceId) -> Result<Option<u64>> {
        self.readers.with(|c| {
            let mut select =
                c.prepare_cached("SELECT seq FROM space WHERE id = ?1 AND seq != 0").map_err(sql("reading a head"))?;
            let found = select.query_row([id], |row| row.get::<_, i64>(0)).optional().map_err(sql("reading a head"))?;
            Ok(found.map(i64::cast_unsigned))
        })
    }

    fn commit(
        &self,
        id: SpaceId,
        expect_seq: u64,
        head: &[u8],
        puts: Vec<(Name, Vec<u8>)>,
        deletes: &[Name],
    ) -> Result<()> {
        self.write("committing", |tx, lease| {
            let text = "UPDATE space SET seq = seq + 1, head = ?3 WHERE id = ?1 AND seq = ?2";
            let mut update = tx.prepare_cached(text).map_err(sql("committing"))?;
            if update.execute(params![id, expect_seq.cast_signed(), head]).map_err(sql("committing"))? != 1 {
                let there = tx.query_row("SELECT 1 FROM space WHERE id = ?1 AND seq != 0", [id], |_| Ok(())).optional();
                return Err(if there.map_err(sql("committing"))?.is_some() { Error::Fenced } else { NO_SPACE });
            }
            puts.into_iter().try_for_each(|(name, bytes)| put(tx, lease, id, name, &bytes))?;
            remove(tx, id, deletes)
        })
    }

    fn put_new(&self, id: SpaceId, name: Name, bytes: &[u8]) -> Result<()> {
        self.write("writing an object", |tx, lease| {
            let mut there =
                tx.prepare_cached("SELECT 1 FROM space WHERE id = ?1 AND seq != 0").map_err(sql("writing"))?;
            there.query_row([id], |_| Ok(())).optional().map_err(sql("writing"))?.ok_or(NO_SPACE)?;
            put(tx, lease, id, name, bytes)
        })
    }

    fn get(&self, id: SpaceId, name: Name, offset: u64, out: &mut [u8]) -> Result<()> {
        self.readers.with(|c| {
            let (number, len) = Self::find(c, id, name)?;
            range_end(offset, out.len(), len)?;
            let (mut row, mut at) = (number + (offset / CHUNK as u64) as i64, (offset % CHUNK as u64) as usize);
            let mut rest = &mut *out;
            while !rest.is_empty() {
                let (piece, after) = rest.split_at_mut(rest.len().min(CHUNK - at));
                let blob = c.blob_open("main", "object", "bytes", row, true).map_err(|e| match e {
                    // Deleted since the row was found.
                    rusqlite::Error::SqliteFailure(f, _) if f.code == ErrorCode::Unknown => NO_OBJECT,
                    e => sql("reading an object")(e),
                })?;
                blob.read_at_exact(piece, at).map_err(sql("reading an object"))?;
                (rest, row, at) = (after, row + 1, 0);
            }
            Ok(())
        })
    }

    fn len(&self, id: SpaceId, name: Name) -> Result<u64> {
        self.readers.with(|c| Ok(Self::find(c, id, name)?.1))
    }

    fn list(&self, id: SpaceId) -> Result<Vec<(Name, u64)>> {
        self.readers.with(|c| {
            let text = "SELECT name, len FROM object WHERE space = ?1 AND name IS NOT NULL";
            let mut select = c.prepare_cached(text).map_err(sql("listing"))?;
            let rows = select.query_map([id], |row| Ok((Name(row.get(0)?), row.get::<_, i64>(1)?.cast_unsigned())));
            rows.map_err(sql("listing"))?.collect::<rusqlite::Result<_>>().map_err(sql("listing"))
        })
    }

    fn delete(&self, id: SpaceId, names: &[Name]) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        self.write("deleting", |tx, _| remove(tx, id, names))
    }

    fn reclaim(&self) -> Result<()> {
        {
            let inner = self.writer()?.inner.lock();
            let mut vacuum = inner.connection.prepare("PRAGMA incremental_vacuum").map_err(sql("giving room back"))?;
            let mut rows = vacuum.query([]).map_err(sql("giving room back"))?;
            while rows.next().map_err(sql("giving room back"))?.is_some() {}
        }
        self.checkpoint()
    }

    fn size(&self) -> Result<u64> {
        let main = std::fs::metadata(&self.path).map_err(io("measuring the store"))?.len();
        let log = std::fs::metadata(reader::beside(&self.path, "-wal")).map_or(0, |m| m.len());
        Ok(main + log)
    }
}

impl FileStore {
    /// Moves everything from the log into the file and empties the log, as far as readers of other processes let it.
    fn checkpoint(&self) -> Result<()> {
        let inner = self.writer()?.inner.lock();
        inner.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(sql("emptying the log"))
    }
}

/// The writer's lock. It belongs to the open file, which every child that the host forks shares, if only until it
/// becomes another program: so it is given back, not just closed, or children would hold it on. A child's copy is not
/// its to give.
struct Lock {
    file: File,
    pid: u32,
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.pid == std::process::id() {
            // Closing the file, next, is the other way to give it back.
            let _ = self.file.unlock();
        }
    }
}

/// Locks `PATH-lock` for life and says whether it carries the mark.
fn take_lock(path: &Path) -> Result<(Lock, bool)> {
    let beside = reader::beside(path, "-lock");
    let opened = File::options().read(true).write(true).create(true).truncate(false).open(beside);
    let file = opened.map_err(io("opening the lock file"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Error::Busy),
        Err(TryLockError::Error(e)) => return Err(io("locking the store")(e)),
    }
    let mut lock = Lock { file, pid: std::process::id() };
    let mut found = Vec::new();
    lock.file.read_to_end(&mut found).map_err(io("reading the lock file"))?;
    Ok((lock, found.starts_with(MARK)))
}

fn identity(m: &Metadata) -> (u64, u64) {
    (m.dev(), m.ino())
}

/// Turns an error of the system into ours.
fn io(context: &'static str) -> impl Fn(std::io::Error) -> Error {
    use std::io::ErrorKind;
    move |e| match e.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Error::ReadOnly { why: "no permission to write there" }
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::NoSpace { context },
        _ => Error::Io { context, detail: e.to_string() },
    }
}

/// Turns an error of SQLite into ours.
fn sql(context: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |e| match e.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Error::NoSpace { context },
        Some(ErrorCode::ReadOnly) => Error::ReadOnly { why: "no permission to write there" },
        // Our statements are fixed: what SQLite finds wrong with them is wrong with the stored schema.
        Some(
            ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::Unknown
            | ErrorCode::TooBig
            | ErrorCode::TypeMismatch,
        ) => Error::Corrupt { what: "store file" },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Busy,
        Some(ErrorCode::OutOfMemory) => Error::NoMemory { what: "store", needed: 0, got: 0 },
        Some(ErrorCode::SystemIoFailure)
            if matches!(e.sqlite_error().map(|f| f.extended_code), Some(ffi::SQLITE_IOERR_SHORT_READ)) =>
        {
            Error::Corrupt { what: "store file (truncated)" }
        }
        Some(_) => Error::Io { context, detail: e.to_string() },
        // Values of a wrong type or length, missing tables: what is stored is not what we wrote.
        None => Error::Corrupt { what: "store file" },
    }
}
