//! The tables of the `file:` store (FORMAT.md, "File store"), and the questions asked of them when it is opened.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use super::sql;
use crate::error::{Error, Result};
use crate::store::SpaceId;

/// `application_id` of the file: "CYB1".
const APPLICATION: i32 = 0x4359_4231;
/// `user_version` of the file.
const VERSION: i32 = 1;
/// Bytes of a page.
const PAGE: u32 = 16384;
/// Bytes of log after which a commit moves it into the file; the log is then written over from its start.
const LOG_BYTES: u32 = 16 << 20;

const TABLES: &str = "
    CREATE TABLE meta(one INTEGER PRIMARY KEY CHECK(one = 1), spaces INTEGER NOT NULL, next_object INTEGER NOT NULL);
    INSERT INTO meta VALUES(1, 0, 1);
    CREATE TABLE space(
        number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, sum BLOB NOT NULL,
        seq INTEGER NOT NULL, head BLOB NOT NULL);
    CREATE TABLE object(id INTEGER PRIMARY KEY, space BLOB, name BLOB, len INTEGER, bytes BLOB NOT NULL);
    CREATE UNIQUE INDEX object_name ON object(space, name) WHERE name IS NOT NULL;
";

/// Opens the file for writing, makes the tables where there are none, and ends removals that a crash cut short.
pub(super) fn open_writer(path: &Path, last_chunk: i64) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut c = Connection::open_with_flags(path, flags).map_err(sql("opening the store"))?;
    prepare(&c)?;
    let empty = identify(&c)?;
    // Page size and vacuum mode bind only while the file is empty.
    let settings = format!(
        "PRAGMA page_size = {PAGE}; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = {}; PRAGMA journal_size_limit = -1; PRAGMA cache_size = -8192;",
        LOG_BYTES / PAGE
    );
    c.execute_batch(&settings).map_err(sql("opening the store"))?;
    let mode: String =
        c.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(sql("opening the store"))?;
    if mode != "wal" {
        return Err(Error::StoreUnsafe { why: "the file system refuses a write-ahead log" });
    }
    if empty {
        let tx = c.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql("making the store"))?;
        let marks = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};");
        tx.execute_batch(TABLES).and_then(|()| tx.execute_batch(&marks)).map_err(sql("making the store"))?;
        tx.commit().map_err(sql("making the store"))?;
    }
    catalog(&c)?;
    let tx = c.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql("opening the store"))?;
    remove_erased(&tx, last_chunk)?;
    tx.commit().map_err(sql("opening the store"))?;
    Ok(c)
}

/// Settings of every connection.
pub(super) fn prepare(c: &Connection) -> Result<()> {
    let wait = std::time::Duration::from_secs(5);
    c.busy_timeout(wait).map_err(sql("opening the store"))?;
    c.set_prepared_statement_cache_capacity(32);
    // No map of the file: another process may cut it short, and reading beyond the end of a map kills the host.
    c.execute_batch("PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;")
        .map_err(sql("opening the store"))
}

/// Refuses what is not ours or newer than we read, and a catalog that is damaged.
pub(super) fn check(c: &Connection) -> Result<()> {
    if identify(c)? {
        return Err(Error::Corrupt { what: "store file (empty)" });
    }
    catalog(c).map(drop)
}

/// Whether the file holds nothing yet. An error unless it is empty or ours.
fn identify(c: &Connection) -> Result<bool> {
    let number = |what: &str| -> Result<i32> {
        c.query_row(&format!("PRAGMA {what}"), [], |row| row.get(0)).map_err(sql("opening the store"))
    };
    let (application, version) = (number("application_id")?, number("user_version")?);
    let tables = c.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    let tables = tables.map_err(sql("opening the store"))?;
    match (application, version) {
        (0, 0) if tables == 0 => Ok(true),
        (APPLICATION, VERSION) => Ok(false),
        (APPLICATION, newer) if newer > VERSION => {
            let got = newer.unsigned_abs();
            Err(Error::Version { what: "store file", got, supported: VERSION.unsigned_abs() })
        }
        _ => Err(Error::Corrupt { what: "store file (not a cyborg store)" }),
    }
}

/// The check of a catalog entry: a changed name or id is damage, not another index.
fn sum(name: &str, id: &SpaceId) -> [u8; 32] {
    Sha256::new().chain_update(b"cyborg1/catalog").chain_update(id).chain_update(name).finalize().into()
}

/// All entries of the catalog in order of name, each checked, and their number against the one kept aside.
pub(super) fn catalog(c: &Connection) -> Result<Vec<(String, SpaceId)>> {
    const DAMAGED: Error = Error::Corrupt { what: "store file (catalog)" };
    let context = "reading the catalog";
    let damaged = |e: rusqlite::Error| match sql(context)(e) {
        Error::Corrupt { .. } => DAMAGED,
        other => other,
    };
    // One statement, so one state of the file, also beside a writer.
    let text = "SELECT (SELECT spaces FROM meta WHERE one = 1), s.name, s.id, s.sum
                FROM (SELECT 1) LEFT JOIN space s NOT INDEXED ON s.seq != 0";
    let mut select = c.prepare_cached(text).map_err(damaged)?;
    let mut rows = select.query([]).map_err(damaged)?;
    let (mut found, mut expected) = (Vec::new(), 0);
    while let Some(row) = rows.next().map_err(damaged)? {
        expected = row.get::<_, i64>(0).map_err(damaged)?;
        let Some(name) = row.get::<_, Option<String>>(1).map_err(damaged)? else { continue };
        let id: SpaceId = row.get(2).map_err(damaged)?;
        if row.get::<_, [u8; 32]>(3).map_err(damaged)? != sum(&name, &id) {
            return Err(DAMAGED);
        }
        found.push((name, id));
    }
    if usize::try_from(expected) != Ok(found.len()) {
        return Err(DAMAGED);
    }
    found.sort_unstable();
    Ok(found)
}

/// Adds a space with head 1.
pub(super) fn add_space(tx: &Transaction<'_>, name: &str, id: SpaceId, head: &[u8], last_chunk: i64) -> Result<()> {
    remove_erased(tx, last_chunk)?;
    let text = "INSERT INTO space(id, name, sum, seq, head) VALUES(?1, ?2, ?3, 1, ?4)";
    tx.execute(text, params![id, name, sum(name, &id), head]).map_err(|e| match e.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => Error::AlreadyExists { what: "index" },
        _ => sql("creating an index")(e),
    })?;
    tx.execute("UPDATE meta SET spaces = spaces + 1", []).map_err(sql("creating an index"))?;
    Ok(())
}

/// Overwrites the head of a space, keys and all, and takes the space out of the catalog: number 0 stands for "gone".
/// Whether there was one. The rest is for [`remove_erased`], in a transaction of its own: pages that one transaction
/// writes and frees are never written.
pub(super) fn erase_space(tx: &Transaction<'_>, id: SpaceId) -> Result<bool> {
    let context = "dropping an index";
    let text = "UPDATE space SET seq = 0, head = zeroblob(length(head)) WHERE id = ?1 AND seq != 0";
    if tx.execute(text, [id]).map_err(sql(context))? == 0 {
        return Ok(false);
    }
    tx.execute("UPDATE meta SET spaces = spaces - 1", []).map_err(sql(context))?;
    Ok(true)
}

/// Removes all erased spaces and their objects.
pub(super) fn remove_erased(tx: &Transaction<'_>, last_chunk: i64) -> Result<()> {
    let context = "dropping an index";
    let numbers: Vec<i64> = {
        let text = "SELECT id FROM object WHERE space IN (SELECT id FROM space WHERE seq = 0) AND name IS NOT NULL";
        let mut select = tx.prepare(text).map_err(sql(context))?;
        let rows = select.query_map([], |row| row.get(0)).map_err(sql(context))?;
        rows.collect::<rusqlite::Result<_>>().map_err(sql(context))?
    };
    let mut delete = tx.prepare("DELETE FROM object WHERE id BETWEEN ?1 AND ?2").map_err(sql(context))?;
    for number in numbers {
        delete.execute(params![number, number | last_chunk]).map_err(sql(context))?;
    }
    tx.execute("DELETE FROM space WHERE seq = 0", []).map_err(sql(context))?;
    Ok(())
}

/// Takes `count` object numbers that no one has taken before.
pub(super) fn lease(c: &mut Connection, count: i64) -> Result<(i64, i64)> {
    let tx = c.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql("opening the store"))?;
    let lease = extend_lease(&tx, count)?;
    tx.commit().map_err(sql("opening the store"))?;
    Ok(lease)
}

/// The same inside a transaction.
pub(super) fn extend_lease(tx: &Transaction<'_>, count: i64) -> Result<(i64, i64)> {
    const SPENT: Error = Error::Corrupt { what: "store file (object numbers)" };
    let context = "taking object numbers";
    let kept: i64 = tx.query_row("SELECT next_object FROM meta", [], |row| row.get(0)).map_err(sql(context))?;
    let used = tx.query_row("SELECT max(id) FROM object", [], |row| row.get::<_, Option<i64>>(0)).optional();
    let used = used.map_err(sql(context))?.flatten().map_or(0, |id| (id >> super::CHUNK_BITS) + 1);
    let from = kept.max(used);
    let to = from.checked_add(count).filter(|&to| from > 0 && to < 1 << (63 - super::CHUNK_BITS)).ok_or(SPENT)?;
    tx.execute("UPDATE meta SET next_object = ?1", [to]).map_err(sql(context))?;
    Ok((from, to))
}
