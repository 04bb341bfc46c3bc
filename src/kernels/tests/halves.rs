//! float16: conversions against the definition of the format, kernels against the oracle.

use super::*;

/// What a float16 means, by the definition; not for NaN.
fn meaning(half: u16) -> f64 {
    let (exponent, fraction) = (i32::from(half >> 10 & 31), f64::from(half & 1023) / 1024.0);
    let size = match exponent {
        0 => fraction * 2f64.powi(-14),
        31 => f64::INFINITY,
        _ => (1.0 + fraction) * 2f64.powi(exponent - 15),
    };
    if half >> 15 == 1 { -size } else { size }
}

fn is_nan(half: u16) -> bool {
    half & 0x7fff > 0x7c00
}

fn narrowed(k: &Kernels, values: &[f32]) -> Vec<u16> {
    let mut out = vec![7; values.len() + 2];
    k.to_f16(values, &mut out[1..=values.len()]);
    assert_eq!((out[0], out[values.len() + 1]), (7, 7));
    out[1..=values.len()].to_vec()
}

#[test]
fn every_float16_is_what_the_format_says_and_comes_back() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    for k in Level::ALL.into_iter().filter_map(at) {
        let mut values = vec![0.0; all.len()];
        k.from_f16(&all, &mut values);
        let back = narrowed(k, &values);
        for ((&half, &value), back) in all.iter().zip(&values).zip(back) {
            if is_nan(half) {
                // NaN becomes a quiet one that keeps its bits, as the instructions do.
                let bits = u32::from(half & 0x8000) << 16 | 0x7fc0_0000 | u32::from(half & 1023) << 13;
                assert_eq!((value.to_bits(), back), (bits, half | 0x200), "{k:?} {half:#x}");
            } else {
                assert_eq!(f64::from(value).to_bits(), meaning(half).to_bits(), "{k:?} {half:#x}");
                assert_eq!(back, half, "{k:?}");
            }
        }
    }
}

#[test]
fn rounding_is_to_the_nearest_and_of_two_to_the_even() {
    let (mut values, mut want) = (Vec::new(), Vec::new());
    // Between each finite float16 and the next, the last of which would be 65536; both signs.
    for half in 0..0x7c00u16 {
        let next = if half == 0x7bff { 65_536.0 } else { meaning(half + 1) };
        let middle = ((meaning(half) + next) / 2.0) as f32;
        let even = half + (half & 1);
        for (value, half) in [(middle, even), (middle.next_down(), half), (middle.next_up(), half + 1)] {
            values.extend([value, -value]);
            want.extend([half, half | 0x8000]);
        }
    }
    let limits = [
        (f32::MAX, 0x7c00),
        (f32::INFINITY, 0x7c00),
        (f32::MIN_POSITIVE, 0),
        (f32::from_bits(1), 0),
        (65_519.996, 0x7bff),
        (f32::from_bits(0x7f80_0001), 0x7e00),
        (f32::from_bits(0x7fff_ffff), 0x7fff),
    ];
    for (value, half) in limits {
        values.extend([value, -value]);
        want.extend([half, half | 0x8000]);
    }
    for k in Level::ALL.into_iter().filter_map(at) {
        for (i, got) in narrowed(k, &values).into_iter().enumerate() {
            assert_eq!(got, want[i], "{k:?} {:e}", values[i]);
        }
    }
}

#[test]
fn any_bits_convert_alike_at_every_level() {
    let mut rng = Rng::new(8);
    for n in [0, 1, 7, 8, 15, 16, 17, 40_001] {
        let values: Vec<f32> = (0..n).map(|_| f32::from_bits(rng.next_u64() as u32)).collect();
        let want = narrowed(oracle(), &values);
        for k in levels() {
            assert_eq!(narrowed(k, &values), want, "{k:?} {n} values");
            let mut out = vec![7.0; n + 2];
            k.from_f16(&want, &mut out[1..=n]);
            assert_eq!((out[0], out[n + 1]), (7.0, 7.0));
        }
    }
}

#[test]
fn scores_of_float16_are_those_of_the_widened_vectors() {
    let mut rng = Rng::new(9);
    for dim in DIMS {
        for n in COUNTS {
            let query = &floats(dim + 1, &mut rng)[1..];
            let halves = narrowed(best(), &floats(n * LANES * dim, &mut rng));
            let mut wide = vec![0.0; halves.len()];
            best().from_f16(&halves, &mut wide);
            for similarity in [L2, Dot] {
                for k in Level::ALL.into_iter().filter_map(at) {
                    // A level adds in one order whatever is stored, so even the roundings are the same.
                    let (mut got, mut want) = (vec![7.0; n * LANES + 2], vec![7.0; n * LANES + 2]);
                    k.flat16_blocks(similarity, query, &halves, &mut got[1..=n * LANES]);
                    k.flat_blocks(similarity, query, &wide, &mut want[1..=n * LANES]);
                    assert_eq!(got, want, "{k:?} {n} blocks, dim {dim}");
                    let (mut got, mut want) = (vec![7.0; n + 2], vec![7.0; n + 2]);
                    k.rows16(similarity, query, &halves[..n * dim], &mut got[1..=n]);
                    k.rows(similarity, query, &wide[..n * dim], &mut want[1..=n]);
                    assert_eq!(got, want, "{k:?} {n} rows, dim {dim}");
                }
            }
            for k in Level::ALL.into_iter().filter_map(at).filter(|_| n > 0) {
                assert_eq!(k.dot16(query, &halves[..dim]), k.dot(query, &wide[..dim]), "{k:?} dim {dim}");
                assert_eq!(k.l2_16(query, &halves[..dim]), k.l2(query, &wide[..dim]), "{k:?} dim {dim}");
            }
        }
    }
}

#[test]
fn scores_widen_every_float16() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    for k in Level::ALL.into_iter().filter_map(at) {
        // Of one dimension, times 1: a score is the number itself. Loops widen by other means than conversions may.
        let (mut blocks, mut tile) = (vec![7.0; 1 << 16], vec![7.0; 2 << 16]);
        k.flat16_blocks(Dot, &[1.0], &all, &mut blocks);
        k.flat16_tile(Dot, &[1.0, 1.0], 1, &all, &mut tile);
        // Rows of 16 and of one dimension go through loops of their own.
        let (mut rows, mut wide) = (vec![7.0; 1 << 16], vec![0; 16 << 16]);
        let mut long_rows = rows.clone();
        wide.iter_mut().skip(3).step_by(16).zip(&all).for_each(|(place, &half)| *place = half);
        k.rows16(Dot, &[1.0], &all, &mut rows);
        k.rows16(Dot, &[1.0; 16], &wide, &mut long_rows);
        for scores in [&blocks, &tile[..1 << 16], &tile[1 << 16..], &rows, &long_rows] {
            for (&half, &score) in all.iter().zip(scores) {
                let same = if is_nan(half) { score.is_nan() } else { f64::from(score) == meaning(half) };
                assert!(same, "{k:?} {half:#x}: {score:e}");
            }
        }
        // Of no dimension: nothing to widen.
        let mut none = [7.0; LANES];
        k.flat16_blocks(L2, &[], &[], &mut none);
        assert_eq!(none, [0.0; LANES], "{k:?}");
    }
}

#[test]
fn wrong_lengths_of_float16_panic() {
    let k = best();
    let calls: [&(dyn Fn() + std::panic::RefUnwindSafe); 6] = [
        &|| _ = k.dot16(&[0.0; 3], &[0; 4]),
        &|| _ = k.l2_16(&[0.0; 5], &[0; 4]),
        &|| k.rows16(L2, &[0.0; 3], &[0; 5], &mut [0.0; 2]),
        &|| k.flat16_blocks(Dot, &[0.0; 3], &[0; 47], &mut [0.0; 16]),
        &|| k.to_f16(&[0.0; 3], &mut [0; 2]),
        &|| k.from_f16(&[0; 3], &mut [0.0; 4]),
    ];
    for (i, call) in calls.into_iter().enumerate() {
        assert!(std::panic::catch_unwind(call).is_err(), "call {i} went through");
    }
}
