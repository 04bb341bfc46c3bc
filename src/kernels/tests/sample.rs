//! Rows into bytes and sums of rows: at every level, the scalar one too, what a loop over single values gives.

use super::*;
use crate::kernels::{BYTE_ROWS, RowSums};

/// Values of which some are clipped, some lie just inside and some halfway between two bytes.
fn values(dim: usize, rng: &mut Rng) -> Vec<f32> {
    let mut values = floats(dim + 1, rng);
    values.iter_mut().step_by(3).for_each(|x| *x = (*x * 300.0).round() / 2.0);
    values.iter_mut().step_by(5).for_each(|x| *x *= 127.3);
    values.iter_mut().step_by(31).skip(1).for_each(|x| *x *= 1e30);
    values
}

#[test]
fn bytes_are_the_nearest_steps_clipped_at_the_ends() {
    let mut rng = Rng::new(12);
    let (mut inside, mut beyond) = (0, 0);
    for dim in DIMS {
        for turn in 0..12 {
            let (row, scale) = (&values(dim, &mut rng)[1..], [1.0, 0.37, 90.0][turn % 3]);
            let mean = match turn % 2 {
                0 => vec![0.0; dim],
                _ => floats(dim, &mut rng),
            };
            let steps = row.iter().zip(&mean).map(|(x, mean)| (x - mean) * scale);
            let rounded = |step: f32| f64::from(step).clamp(-127.0, 127.0).round_ties_even() as i32;
            let want: Vec<u8> = steps.clone().map(|step| (rounded(step) + 128) as u8).collect();
            let norm: i32 = steps.clone().map(|step| rounded(step).pow(2)).sum();
            let clipped = steps.clone().any(|step| step.abs() > 127.5);
            *if clipped { &mut beyond } else { &mut inside } += 1;
            for k in levels().into_iter().chain([oracle()]) {
                let mut out = vec![7; dim + 2];
                let found = k.to_bytes(row, &mean, scale, &mut out[1..=dim]);
                assert_eq!(found, (norm, clipped), "{k:?} dim {dim}");
                assert_eq!((out[0], out[dim + 1]), (7, 7));
                assert_eq!(out[1..=dim], want, "{k:?} dim {dim}");
            }
        }
    }
    assert!(inside > 20 && beyond > 20, "{inside} rows inside, {beyond} clipped");
}

#[test]
fn sums_of_bytes_are_exact() {
    let mut rng = Rng::new(13);
    for dim in DIMS {
        let rows: Vec<Vec<u8>> = (0..4).map(|_| bytes(dim + 1, &mut rng)).collect();
        for k in levels().into_iter().chain([oracle()]) {
            let mut sums = vec![7u16; dim + 2];
            let rows = [0, 1, 2, 3].map(|r| &rows[r][1..]);
            (0..2).for_each(|_| k.add_bytes(rows, &mut sums[1..=dim]));
            assert_eq!((sums[0], sums[dim + 1]), (7, 7));
            for d in 0..dim {
                let want = 7 + 2 * rows.iter().map(|row| u16::from(row[d])).sum::<u16>();
                assert_eq!(sums[1 + d], want, "{k:?} dim {dim}");
            }
        }
    }
    for k in levels().into_iter().chain([oracle()]) {
        let (full, mut sums) = ([255; 100], [0; 100]);
        (0..BYTE_ROWS / 4).for_each(|_| k.add_bytes([&full; 4], &mut sums));
        assert_eq!(sums, [255 * BYTE_ROWS as u16; 100], "{k:?}");
    }
}

#[test]
fn sums_of_rows_are_added_in_their_order() {
    let mut rng = Rng::new(14);
    for dim in DIMS {
        let rows: Vec<Vec<f32>> = (0..8).map(|_| values(dim, &mut rng)).collect();
        let centre = floats(dim, &mut rng);
        let (mut sums, mut squares) = (vec![0f64; dim], vec![0f64; dim]);
        for row in &rows {
            for d in 0..dim {
                let value = f64::from(row[1 + d]) - f64::from(centre[d]);
                sums[d] += value;
                squares[d] += value * value;
            }
        }
        let bits = |sums: &[f64]| sums.iter().map(|sum| sum.to_bits()).collect::<Vec<u64>>();
        for k in levels().into_iter().chain([oracle()]) {
            let mut got = RowSums { sums: vec![0.0; dim], squares: vec![0.0; dim] };
            for four in rows.as_chunks::<4>().0 {
                k.add_rows([0, 1, 2, 3].map(|r| &four[r][1..]), &centre, &mut got);
            }
            // The centre fills four rows up.
            k.add_rows([&centre; 4], &centre, &mut got);
            assert_eq!(bits(&got.sums), bits(&sums), "{k:?} dim {dim}");
            assert_eq!(bits(&got.squares), bits(&squares), "{k:?} dim {dim}");
        }
    }
}

#[test]
fn wrong_lengths_of_samples_panic() {
    let k = best();
    let sums = |n, m| RowSums { sums: vec![0.0; n], squares: vec![0.0; m] };
    let calls: [&(dyn Fn() + std::panic::RefUnwindSafe); 6] = [
        &|| _ = k.to_bytes(&[0.0; 3], &[0.0; 4], 1.0, &mut [0; 3]),
        &|| _ = k.to_bytes(&[0.0; 3], &[0.0; 3], 1.0, &mut [0; 4]),
        &|| k.add_bytes([&[0; 3], &[0; 3], &[0; 4], &[0; 3]], &mut [0; 3]),
        &|| k.add_rows([&[0.0; 3], &[0.0; 3], &[0.0; 3], &[0.0; 2]], &[0.0; 3], &mut sums(3, 3)),
        &|| k.add_rows([&[0.0; 3]; 4], &[0.0; 3], &mut sums(2, 3)),
        &|| k.add_rows([&[0.0; 3]; 4], &[0.0; 3], &mut sums(3, 4)),
    ];
    for (i, call) in calls.into_iter().enumerate() {
        assert!(std::panic::catch_unwind(call).is_err(), "call {i} went through");
    }
}
