//! Walking over the ids of one state of an index.

use std::sync::Arc;

use super::index::Index;
use super::results::StringColumn;
use super::snapshot::Snapshot;
use crate::error::Result;
use crate::types::IdKind;

/// Ids of one state of an index, in no particular order; later writes do not show.
pub struct Cursor {
    pub(super) index: Arc<Index>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) row: u32,
}

impl Cursor {
    /// Up to `limit` further ids (numbers as 8 little-endian bytes); an empty page is the end.
    pub fn next_page(&mut self, limit: usize) -> Result<StringColumn> {
        self.index.enter()?;
        let mut page = StringColumn::default();
        while page.len() < limit && self.row < self.snapshot.end {
            if !self.snapshot.tombstones.contains(self.row) {
                page.push(self.snapshot.id(self.row))?;
            }
            self.row += 1;
        }
        Ok(page)
    }

    /// Ids in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.snapshot.live()
    }

    /// Whether ids are byte strings or numbers.
    #[must_use]
    pub fn id_kind(&self) -> IdKind {
        self.snapshot.config.id_kind
    }
}
