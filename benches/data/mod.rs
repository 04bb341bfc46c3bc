//! Real vectors for the benches: a folder of benches/compare/dataset.py, or the committed words.
#![allow(dead_code, reason = "shared by benches that use different parts of it")]

use std::path::Path;

/// Vectors row by row; queries are not among the base.
pub struct Data {
    pub dim: usize,
    pub base: Vec<f32>,
    pub queries: Vec<f32>,
}

impl Data {
    /// Up to `most` vectors of `base.npy`, evenly over it, with all of `queries.npy` in folder `from`; without a folder the words.
    pub fn load(from: Option<&str>, most: usize) -> Self {
        let Some(dir) = from.map(Path::new) else { return words() };
        let (dim, base) = npy(&dir.join("base.npy"), most);
        let (of_queries, queries) = npy(&dir.join("queries.npy"), usize::MAX);
        assert_eq!(dim, of_queries, "base and queries of two dimensions");
        Self { dim, base, queries }
    }

    /// Number of vectors of the base.
    pub fn len(&self) -> usize {
        self.base.len() / self.dim
    }

    /// Query `q`.
    pub fn query(&self, q: usize) -> &[f32] {
        &self.queries[q * self.dim..(q + 1) * self.dim]
    }

    /// Number of queries.
    pub fn n_queries(&self) -> usize {
        self.queries.len() / self.dim
    }
}

/// Dimension and values of up to `most` rows of a .npy file (version 1, little-endian float32, row-major, 2 axes), evenly over
/// it: vectors may stand in an order, as words do by how common they are.
pub fn npy(path: &Path, most: usize) -> (usize, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert!(bytes.starts_with(b"\x93NUMPY\x01"), "{}: not a .npy file of version 1", path.display());
    let head = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = std::str::from_utf8(&bytes[10..head]).unwrap();
    assert!(text.contains("'<f4'") && text.contains("'fortran_order': False"), "{}: {text}", path.display());
    let shape = text.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
    let shape: Vec<usize> = shape.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    let [rows, dim] = shape[..] else { panic!("{}: {text}", path.display()) };
    let (values, taken) = (bytes[head..].as_chunks::<4>().0, rows.min(most));
    let values = (0..taken).flat_map(|i| &values[i * rows / taken * dim..][..dim]);
    (dim, values.map(|&b| f32::from_le_bytes(b)).collect())
}

/// The committed words; every twentieth is a query and not in the base. Layout: tests/data/README.md.
pub fn words() -> Data {
    let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/words.bin")).unwrap();
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let (count, dim) = (u32_at(12), u32_at(16));
    let mut data = Data { dim, base: Vec::new(), queries: Vec::new() };
    for i in 0..count {
        let scale = f32::from_le_bytes(bytes[24 + i * 4..28 + i * 4].try_into().unwrap());
        let row = bytes[24 + count * 4 + i * dim..][..dim].iter().map(|&c| f32::from(c.cast_signed()) * scale);
        if i % 20 == 0 { data.queries.extend(row) } else { data.base.extend(row) }
    }
    data
}
