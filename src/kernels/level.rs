//! The instruction sets kernels are written for, and the choice of one, made once.
//!
//! Invariant: [`at`] and [`best`] give a table out only when the CPU (and the system, for wide registers) has every
//! instruction its functions were compiled for. Everything else in `kernels` relies on this for soundness.

use std::sync::OnceLock;

use super::{Kernels, portable, scalar};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// An instruction set, from the slowest to the fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Plain Rust, floats summed in float64: the oracle of the tests.
    Scalar,
    /// 128-bit registers by the crate `wide`, on every target.
    Portable,
    /// x86-64 with AVX2, FMA and F16C.
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
        Level::Portable => Some(&portable::KERNELS),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => {
            (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c"))
                .then_some(&avx2::KERNELS)
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => (is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vnni"))
        .then_some(&avx512::KERNELS),
        #[cfg(not(target_arch = "x86_64"))]
        Level::Avx2 | Level::Avx512 => None,
    }
}

/// The fastest kernels of this CPU. The choice is made by the first call and kept.
#[must_use]
pub fn best() -> &'static Kernels {
    static BEST: OnceLock<&'static Kernels> = OnceLock::new();
    BEST.get_or_init(|| Level::ALL.into_iter().rev().find_map(at).unwrap_or(&scalar::KERNELS))
}
