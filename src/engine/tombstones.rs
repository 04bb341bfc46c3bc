//! Which rows are dead: replaced or deleted, but not yet dropped by a rebuild.
//!
//! A bitmap in pages of 32,768 rows behind `Arc`s. Marking rows copies only the pages they fall in, so a commit costs
//! in proportion to its batch and every snapshot keeps its own view.

use std::sync::Arc;

use super::wire::{Put, Reader};
use crate::error::{Error, Result};

const PAGE_ROWS: usize = 1 << 15;
const WORDS: usize = PAGE_ROWS / 64;

type Page = [u64; WORDS];

/// A persistent set of rows.
#[derive(Clone, Default)]
pub(super) struct Tombstones {
    pages: Vec<Option<Arc<Page>>>,
    count: u64,
}

impl Tombstones {
    /// Number of dead rows.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Whether no row is dead.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether `row` is dead.
    pub(super) fn contains(&self, row: u32) -> bool {
        let (page, bit) = (row as usize / PAGE_ROWS, row as usize % PAGE_ROWS);
        match self.pages.get(page) {
            Some(Some(p)) => p[bit / 64] >> (bit % 64) & 1 == 1,
            _ => false,
        }
    }

    /// Marks `row` dead; whether it was alive.
    pub(super) fn insert(&mut self, row: u32) -> bool {
        let (page, bit) = (row as usize / PAGE_ROWS, row as usize % PAGE_ROWS);
        if self.pages.len() <= page {
            self.pages.resize(page + 1, None);
        }
        let page = Arc::make_mut(self.pages[page].get_or_insert_with(|| Arc::new([0; WORDS])));
        let fresh = page[bit / 64] >> (bit % 64) & 1 == 0;
        page[bit / 64] |= 1 << (bit % 64);
        self.count += u64::from(fresh);
        fresh
    }

    /// The dead rows in rising order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let words = self.pages.iter().enumerate().filter_map(|(i, p)| Some((i, p.as_ref()?)));
        words.flat_map(|(i, p)| {
            p.iter().enumerate().flat_map(move |(w, &word)| {
                let base = (i * PAGE_ROWS + w * 64) as u32;
                std::iter::successors((word != 0).then_some(word), |&x| {
                    let x = x & (x - 1);
                    (x != 0).then_some(x)
                })
                .map(move |x| base + x.trailing_zeros())
            })
        })
    }

    /// Plaintext of a tombstone object: the dead rows below `end`, as a count and rising row numbers (FORMAT.md).
    pub(super) fn write(&self, end: u32) -> Vec<u8> {
        let rows: Vec<u32> = self.iter().take_while(|&r| r < end).collect();
        let mut out = Vec::with_capacity(4 + rows.len() * 4);
        out.put_u32(rows.len() as u32);
        rows.iter().for_each(|&r| out.put_u32(r));
        out
    }

    /// Reads a tombstone object of an index whose runs end at row `end`.
    pub(super) fn read(bytes: &[u8], end: u32) -> Result<Self> {
        let mut r = Reader::new(bytes, "tombstones");
        let n = r.count(4)?;
        let rows = r.u32s(n)?;
        r.end()?;
        if rows.windows(2).any(|w| w[0] >= w[1]) || rows.last().is_some_and(|&x| x >= end) {
            return Err(Error::Corrupt { what: "tombstones" });
        }
        let mut t = Self::default();
        rows.into_iter().for_each(|x| {
            t.insert(x);
        });
        Ok(t)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn equals_a_set_and_clones_keep_their_view() {
        let mut rng = crate::rng::Rng::new(3);
        let (mut t, mut model) = (Tombstones::default(), BTreeSet::new());
        let mut old = (t.clone(), model.clone());
        for i in 0..3000 {
            let row = rng.below(200_000) as u32;
            assert_eq!(t.insert(row), model.insert(row));
            if i == 1500 {
                old = (t.clone(), model.clone());
            }
        }
        for (t, model) in [(&t, &model), (&old.0, &old.1)] {
            assert!(t.iter().eq(model.iter().copied()));
            assert_eq!(t.count() as usize, model.len());
            let read = Tombstones::read(&t.write(200_000), 200_000).unwrap();
            assert!(read.iter().eq(model.iter().copied()));
        }
        assert!(Tombstones::read(&t.write(200_000), 10).is_err());
    }
}
