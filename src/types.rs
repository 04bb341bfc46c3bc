//! Small validated types and the limits of the library, shared by every floor.

use crate::error::{Error, Result};

/// Largest dimension of a vector.
pub const MAX_DIMENSION: u32 = 65_536;
/// Largest dimension that product quantization rotates: learning takes the cube of it.
pub const MAX_ROTATED_DIMENSION: u32 = 2048;
/// Longest id in bytes.
pub const MAX_ID_LEN: usize = 4096;
/// Longest contents of an item in bytes.
pub const MAX_CONTENTS_LEN: usize = 16 << 20;
/// Longest metadata of an item in bytes.
pub const MAX_METADATA_LEN: usize = 1 << 20;
/// Most bytes in one batch (vectors, ids, metadata and contents together).
pub const MAX_BATCH_BYTES: u64 = 1 << 30;
/// Most results of one query.
pub const MAX_TOP_K: u32 = 10_000;
/// Most inverted lists of an index.
pub const MAX_LISTS: u32 = 1 << 20;
/// Longest index name in bytes.
pub const MAX_NAME_LEN: usize = 255;
/// Longest id of a model in bytes.
pub const MAX_MODEL_ID_LEN: usize = 200;
/// Longest description of a model in characters.
pub const MAX_MODEL_DESCRIPTION: usize = 1000;
/// Bytes in a key.
pub const KEY_LEN: usize = 32;

/// How far apart two vectors are. A distance is always lower = nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(i32)]
pub enum Metric {
    /// `sqrt(sum (a - b)^2)`.
    #[default]
    Euclidean = 1,
    /// `sum (a - b)^2`.
    SquaredEuclidean = 2,
    /// `1 - cos(a, b)`. Vectors are normalised when they are taken in.
    Cosine = 3,
    /// Minus the dot product.
    InnerProduct = 4,
}

impl Metric {
    /// The metric of a stable number.
    pub fn from_number(n: i32) -> Result<Self> {
        match n {
            1 => Ok(Self::Euclidean),
            2 => Ok(Self::SquaredEuclidean),
            3 => Ok(Self::Cosine),
            4 => Ok(Self::InnerProduct),
            _ => Err(Error::invalid("metric", n, "1 euclidean, 2 squared_euclidean, 3 cosine, 4 inner_product")),
        }
    }

    /// How candidates are ranked inside the library.
    #[must_use]
    pub fn similarity(self) -> Similarity {
        match self {
            Self::Euclidean | Self::SquaredEuclidean => Similarity::L2,
            Self::Cosine | Self::InnerProduct => Similarity::Dot,
        }
    }

    /// The distance a caller sees for an internal score (greater = nearer, see [`Similarity`]).
    #[must_use]
    pub fn distance(self, score: f32) -> f32 {
        match self {
            Self::Euclidean => (-score).max(0.0).sqrt(),
            Self::SquaredEuclidean => (-score).max(0.0),
            Self::Cosine => 1.0 - score,
            Self::InnerProduct => -score,
        }
    }

    /// The internal score a caller's distance stands for: the inverse of [`Metric::distance`].
    #[must_use]
    pub fn score(self, distance: f32) -> f32 {
        match self {
            Self::Euclidean => -(distance * distance),
            Self::SquaredEuclidean | Self::InnerProduct => -distance,
            Self::Cosine => 1.0 - distance,
        }
    }
}

/// What a score is. Inside the library a score is always greater = nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Similarity {
    /// `-sum (a - b)^2`.
    L2,
    /// `sum a b`.
    Dot,
}

/// Schemes of coding vectors inside lists; their numbers in the format and in the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum QuantizerKind {
    /// The vectors themselves.
    Flat = 1,
    /// Scalar residual codes.
    Sq = 2,
    /// Product quantization of residuals.
    Pq = 3,
    /// RaBitQ: rotated residuals of a few bits a dimension, with an error bound for each vector.
    RaBitQ = 4,
}

/// A scheme of coding vectors with its parameters. All but `Flat` rerank candidates from the stored vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum QuantizerSpec {
    /// The vectors themselves.
    #[default]
    Flat,
    /// Scalar residual codes of 8, 4 or 2 bits a dimension.
    Sq {
        /// 8, 4 or 2.
        bits: u8,
    },
    /// Product quantization of residuals.
    Pq {
        /// Sub-vectors, 1 to the dimension; 0 = as many as [`QuantizerSpec::resolve`] says.
        m: u32,
        /// Bits of a sub-vector's code, 4 or 8.
        bits: u8,
        /// Whether vectors are rotated first, by a rotation learned from the sample (OPQ).
        rotation: bool,
    },
    /// RaBitQ codes of 1 to 8 bits a dimension.
    RaBitQ {
        /// 1 to 8.
        bits: u8,
    },
}

impl QuantizerSpec {
    /// Scalar residual codes of 8 bits.
    pub const SQ8: Self = Self::Sq { bits: 8 };
    /// Scalar residual codes of 4 bits.
    pub const SQ4: Self = Self::Sq { bits: 4 };
    /// Scalar residual codes of 2 bits.
    pub const SQ2: Self = Self::Sq { bits: 2 };

    /// Its scheme.
    #[must_use]
    pub fn kind(self) -> QuantizerKind {
        match self {
            Self::Flat => QuantizerKind::Flat,
            Self::Sq { .. } => QuantizerKind::Sq,
            Self::Pq { .. } => QuantizerKind::Pq,
            Self::RaBitQ { .. } => QuantizerKind::RaBitQ,
        }
    }

    /// Checks the parameters; `dim` 0 = not yet known.
    pub fn check(self, dim: u32) -> Result<()> {
        match self {
            Self::Sq { bits } if ![8, 4, 2].contains(&bits) => Err(Error::invalid("sq_bits", bits, "8, 4 or 2")),
            Self::Pq { bits, .. } if ![4, 8].contains(&bits) => Err(Error::invalid("pq_bits", bits, "4 or 8")),
            Self::Pq { m, .. } if m > if dim == 0 { MAX_DIMENSION } else { dim } => {
                Err(Error::invalid("pq_m", m, "at most the dimension, or 0 for automatic"))
            }
            Self::Pq { rotation: true, .. } if dim > MAX_ROTATED_DIMENSION => {
                Err(Error::invalid("dimension", dim, "at most 2048 with pq_rotation"))
            }
            Self::RaBitQ { bits } if !(1..=8).contains(&bits) => Err(Error::invalid("rabitq_bits", bits, "1 to 8")),
            _ => Ok(()),
        }
    }

    /// Bits of a value in a code; 0 for `Flat`, whose values are as wide as stored vectors.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::Flat => 0,
            Self::Sq { bits } | Self::Pq { bits, .. } | Self::RaBitQ { bits } => bits,
        }
    }

    /// With everything filled in for vectors of `dim` values: two dimensions a sub-vector of 4 bits, four of 8 bits.
    #[must_use]
    pub fn resolve(self, dim: u32) -> Self {
        match self {
            Self::Pq { m: 0, bits, rotation } => {
                Self::Pq { m: dim.div_ceil(if bits == 4 { 2 } else { 4 }).max(1), bits, rotation }
            }
            other => other,
        }
    }
}

/// How stored vectors are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(i32)]
pub enum VectorPrecision {
    /// float32, as given.
    #[default]
    F32 = 1,
    /// Rounded to float16 (IEEE 754 binary16) when they are taken in: half the bytes.
    F16 = 2,
}

/// Largest finite float16.
pub const MAX_F16: f32 = 65_504.0;

impl VectorPrecision {
    /// Bytes of a stored value.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}

/// Whether ids are byte strings or numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(i32)]
pub enum IdKind {
    /// 1 to 4096 bytes.
    #[default]
    Bytes = 1,
    /// 64-bit numbers, kept as 8 little-endian bytes.
    U64 = 2,
}

/// What contents were given as; kept and given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum ContentsKind {
    /// No contents.
    #[default]
    None = 0,
    /// Arbitrary bytes.
    Bytes = 1,
    /// UTF-8 text.
    Text = 2,
}

impl ContentsKind {
    /// The kind of a stored or given number.
    #[must_use]
    pub fn from_number(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::None),
            1 => Some(Self::Bytes),
            2 => Some(Self::Text),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_and_score_are_inverse() {
        for m in [Metric::Euclidean, Metric::SquaredEuclidean, Metric::Cosine, Metric::InnerProduct] {
            assert_eq!(Metric::from_number(m as i32).unwrap(), m);
            for d in [0.0f32, 0.25, 1.5] {
                assert!((m.distance(m.score(d)) - d).abs() < 1e-6, "{m:?}");
            }
        }
        assert!(Metric::from_number(0).is_err());
    }
}
