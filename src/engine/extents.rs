//! Where the rows of a run lie: lists cut into extents.
//!
//! Rows of a run are dense and in list order, so a list is a range of rows. A list is cut into extents of
//! `rows_per_extent` rows (a multiple of 16; the last may be shorter), the grain of reading and caching: most lists
//! are one extent, the single list of an untrained index is many. Codes and vectors of an extent are a unit of their cut
//! each, so where an extent is stored follows from the list lengths alone.

use std::ops::Range;

use crate::error::{Error, Result, try_with_capacity};
use crate::kernels::LANES;

/// Bytes of codes or vectors an extent should hold at most.
const EXTENT_BYTES: usize = 1 << 20;

/// The cut of one run.
pub(super) struct Extents {
    /// First row of each extent, and the number of rows.
    starts: Vec<u32>,
    /// First extent of each list, and the number of extents.
    first: Vec<u32>,
}

/// Rows an extent should have when a row takes `row_bytes` (the larger of its code and its vector).
pub(super) fn rows_per_extent(row_bytes: usize) -> u32 {
    ((EXTENT_BYTES / row_bytes.max(1)) / LANES * LANES).clamp(LANES, 1 << 16) as u32
}

impl Extents {
    /// Cuts lists of the given lengths.
    pub(super) fn new(lens: &[u32], rows_per_extent: u32) -> Result<Self> {
        let corrupt = Error::Corrupt { what: "list lengths" };
        if rows_per_extent == 0 || !(rows_per_extent as usize).is_multiple_of(LANES) {
            return Err(corrupt);
        }
        let total: usize = lens.iter().map(|l| l.div_ceil(rows_per_extent) as usize).sum();
        let mut starts = try_with_capacity(total + 1, "extents")?;
        let mut first = try_with_capacity(lens.len() + 1, "extents")?;
        let mut row = 0u32;
        for &len in lens {
            first.push(starts.len() as u32);
            let end = row.checked_add(len).ok_or(Error::Corrupt { what: "list lengths" })?;
            while row < end {
                starts.push(row);
                row = end.min(row.saturating_add(rows_per_extent));
            }
        }
        first.push(starts.len() as u32);
        starts.push(row);
        Ok(Self { starts, first })
    }

    /// Number of lists.
    pub(super) fn lists(&self) -> usize {
        self.first.len() - 1
    }

    /// Number of extents.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Number of rows.
    pub(super) fn row_count(&self) -> u32 {
        self.starts[self.len()]
    }

    /// The extents of `list`.
    pub(super) fn of_list(&self, list: usize) -> Range<usize> {
        self.first[list] as usize..self.first[list + 1] as usize
    }

    /// Rows in `list`.
    pub(super) fn list_len(&self, list: usize) -> u32 {
        self.starts[self.first[list + 1] as usize] - self.starts[self.first[list] as usize]
    }

    /// The rows of extent `e`.
    pub(super) fn rows(&self, e: usize) -> Range<u32> {
        self.starts[e]..self.starts[e + 1]
    }

    /// The extent that holds `row`.
    pub(super) fn of_row(&self, row: u32) -> usize {
        self.starts.partition_point(|&s| s <= row) - 1
    }

    /// The list that extent `e` belongs to.
    pub(super) fn list_of(&self, e: usize) -> usize {
        self.first.partition_point(|&f| f as usize <= e) - 1
    }

    /// Rows of every extent.
    pub(super) fn sizes(&self) -> impl ExactSizeIterator<Item = usize> {
        self.starts.windows(2).map(|w| (w[1] - w[0]) as usize)
    }

    /// Bytes held.
    pub(super) fn memory(&self) -> u64 {
        (self.starts.capacity() + self.first.capacity()) as u64 * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_lies_in_its_extent_and_list() {
        let lens = [5u32, 0, 40, 16, 0, 0, 17, 1, 0];
        let x = Extents::new(&lens, 16).unwrap();
        assert_eq!((x.lists(), x.row_count()), (9, 79));
        let mut row = 0;
        for (list, &len) in lens.iter().enumerate() {
            assert_eq!(x.list_len(list), len);
            let rows: Vec<u32> = x.of_list(list).flat_map(|e| x.rows(e)).collect();
            assert!(rows.iter().copied().eq(row..row + len));
            for r in rows {
                let e = x.of_row(r);
                assert!(x.rows(e).contains(&r) && x.rows(e).len() <= 16);
                assert_eq!(x.list_of(e), list);
            }
            row += len;
        }
        assert_eq!(x.sizes().collect::<Vec<_>>(), [5, 16, 16, 8, 16, 16, 1, 1]);
        assert!(Extents::new(&[u32::MAX, 1], 16).is_err() && Extents::new(&[1], 8).is_err());
    }
}
