//! Reading connections: a pool, and the two ways a read-only store reads.
//!
//! *Live*: the log and its index lie beside the file (a writer runs, or ran and was killed): ordinary connections, which
//! see every commit. *Quiet*: there is no log, so no writer. SQLite would make one; instead the file is opened as
//! immutable, and each read is bracketed by a stamp of the file: when a writer came or went meanwhile, the read is done
//! again. A writer makes its log before it touches the file, so no change can pass unseen. No file is ever made.

use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};

use super::{io, schema, sql};
use crate::error::{Error, Result};

/// Idle connections that are kept.
const IDLE: usize = 16;
/// How often a read that was overtaken is done again.
const RETRIES: usize = 100;

/// The reading connections of a store.
pub(super) struct Readers {
    path: PathBuf,
    /// Whether no file may be made: there is no writer of our own.
    alone: bool,
    idle: Mutex<Vec<(Stamp, Connection)>>,
}

/// What tells whether an idle connection still sees the file as it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stamp {
    Live,
    Quiet { inode: u64, len: u64, changed: (i64, i64) },
}

impl Readers {
    pub(super) fn new(path: &Path, alone: bool) -> Self {
        Self { path: path.to_owned(), alone, idle: Mutex::default() }
    }

    /// Calls `f` with a connection.
    pub(super) fn with<T>(&self, mut f: impl FnMut(&Connection) -> Result<T>) -> Result<T> {
        for _ in 0..RETRIES {
            let stamp = self.stamp()?;
            let connection = match self.take(stamp) {
                Some(connection) => connection,
                None => self.connect(stamp)?,
            };
            let out = f(&connection);
            if stamp == Stamp::Live || self.stamp()? == stamp {
                let mut idle = self.idle.lock();
                if idle.len() < IDLE {
                    idle.push((stamp, connection));
                }
                return out;
            }
        }
        Err(Error::Busy)
    }

    /// An idle connection that sees the present file; those that do not are closed.
    fn take(&self, stamp: Stamp) -> Option<Connection> {
        let mut idle = self.idle.lock();
        if idle.iter().any(|(other, _)| *other != stamp) {
            idle.retain(|(other, _)| *other == stamp);
        }
        idle.pop().map(|(_, connection)| connection)
    }

    fn stamp(&self) -> Result<Stamp> {
        if !self.alone || self.idle.lock().last().is_some_and(|(stamp, _)| *stamp == Stamp::Live) {
            // A live connection keeps the log from being removed: live is for ever.
            return Ok(Stamp::Live);
        }
        let file = std::fs::metadata(&self.path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::NotFound { what: "store file" },
            _ => io("opening the store")(e),
        })?;
        if !file.is_file() {
            return Err(Error::Io { context: "opening the store", detail: "not a file".to_owned() });
        }
        let log = std::fs::metadata(beside(&self.path, "-wal")).map_or(None, |m| Some(m.len()));
        match (log, beside(&self.path, "-shm").exists()) {
            (Some(_), true) => Ok(Stamp::Live),
            (Some(1..), false) => {
                Err(Error::ReadOnly { why: "it was not closed; open it for writing once to recover it" })
            }
            _ => Ok(Stamp::Quiet { inode: file.ino(), len: file.len(), changed: (file.mtime(), file.mtime_nsec()) }),
        }
    }

    fn connect(&self, stamp: Stamp) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = match stamp {
            Stamp::Live => Connection::open_with_flags(&self.path, flags),
            Stamp::Quiet { .. } => {
                Connection::open_with_flags(immutable(&self.path), flags | OpenFlags::SQLITE_OPEN_URI)
            }
        };
        let connection = opened.map_err(sql("opening the store"))?;
        schema::prepare(&connection)?;
        connection.execute_batch("PRAGMA cache_size = -1024").map_err(sql("opening the store"))?;
        Ok(connection)
    }
}

/// `path` with something appended to its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// The URI of a file that is promised not to change.
fn immutable(path: &Path) -> String {
    let mut uri = String::from("file:");
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => uri.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(uri, "%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    uri
}
