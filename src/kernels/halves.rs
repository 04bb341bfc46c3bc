//! float16 (IEEE 754 binary16) by integer operations, for the levels without instructions for it.
//!
//! Same bits as the instructions give, for NaN too: a quiet one that keeps the leading bits. No step meets a subnormal
//! float32, so the results do not depend on how the host's process treats those.

/// Exponent of the least normal float16, 2^-14, in a float32.
const LEAST: u32 = 113 << 23;
/// Sum with it rounds a value below 2^-14 to a multiple of 2^-24, found in the low bits.
const HALF: u32 = 126 << 23;
const INFINITY: u32 = 255 << 23;

/// The value of a float16, exactly.
#[inline(always)]
pub(super) fn widen(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let bits = u32::from(half & 0x7fff) << 13;
    let normal = bits + (112 << 23);
    let small = (f32::from_bits(bits + LEAST) - f32::from_bits(LEAST)).to_bits();
    let quiet = if bits > 31 << 23 { 1 << 22 } else { 0 };
    let value = if bits < 1 << 23 { small } else { normal };
    f32::from_bits(sign | if bits < 31 << 23 { value } else { bits | INFINITY | quiet })
}

/// The float16 nearest to `value`, of two equally near ones the even; from 65520 on infinity.
#[inline(always)]
pub(super) fn narrow(value: f32) -> u16 {
    let bits = value.to_bits() & 0x7fff_ffff;
    let sign = (value.to_bits() >> 16 & 0x8000) as u16;
    let small = (f32::from_bits(bits) + f32::from_bits(HALF)).to_bits().wrapping_sub(HALF);
    let normal = (bits.wrapping_sub(112 << 23).wrapping_add(0xfff + (bits >> 13 & 1)) >> 13).min(0x7c00);
    let finite = if bits < LEAST { small } else { normal };
    let half = if bits > INFINITY { 0x7e00 | bits >> 13 & 0x3ff } else { finite };
    sign | half as u16
}
