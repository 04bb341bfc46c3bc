//! The instruction sets kernels are written for, and the choice of one, made once.
//!
//! Invariant: [`at`] and [`best`] give a table out only when the CPU (and the system, for wide registers) has every
//! instruction its functions were compiled for. Everything else in `kernels` relies on this for soundness.

use std::sync::OnceLock;

use super::{Kernels, scalar};

/// An instruction set, from the slowest to the fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Plain Rust, floats summed in float64: the oracle of the tests.
    Scalar,
    /// 128-bit registers by the crate `wide`, on every target.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 F, BW, VL, DQ and VNNI.
    Avx512,
}

impl Level {
    /// Every level, from the slowest to the fastest.
    pub const ALL: [Self; 4] = [Self::Scalar, Self::Portable, Self::Avx2, Self::Avx512];

    /// A short name for reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

/// The kernels of one level, or `None` when the CPU lacks it. For tests and benchmarks; others take [`best`].
#[must_use]
pub fn at(level: Level) -> Option<&'static Kernels> {
    match level {
        Level::Scalar => Some(&scalar::KERNELS),
        Level::Portable => Some(&PORTABLE),
        Level::Avx2 => Some(&AVX2),
        Level::Avx512 => Some(&AVX512),
    }
}

/// The fastest kernels of this CPU. The choice is made by the first call and kept.
#[must_use]
pub fn best() -> &'static Kernels {
    static BEST: OnceLock<&'static Kernels> = OnceLock::new();
    BEST.get_or_init(|| Level::ALL.into_iter().rev().find_map(at).unwrap_or(&scalar::KERNELS))
}

static PORTABLE: Kernels = Kernels { level: Level::Portable, table: scalar::TABLE };
static AVX2: Kernels = Kernels { level: Level::Avx2, table: scalar::TABLE };
static AVX512: Kernels = Kernels { level: Level::Avx512, table: scalar::TABLE };
