//! What the machine can do at best: loops that only multiply in registers, and a plain read of memory.

use std::hint::black_box;

/// Multiply-adds of one register-only loop: its function and how many it does.
pub type Loop = (fn() -> u64, &'static str);

/// Float32 multiply-adds at the widest the CPU has.
pub fn float_peak() -> Loop {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: handed out only where the CPU has its instructions, as just asked.
            return (|| unsafe { x86::fma512() }, "512-bit FMA");
        }
        if is_x86_feature_detected!("fma") {
            // SAFETY: handed out only where the CPU has its instructions, as just asked.
            return (|| unsafe { x86::fma256() }, "256-bit FMA");
        }
    }
    (plain_floats, "plain multiply and add")
}

/// Byte multiply-adds at the widest the CPU has.
pub fn byte_peak() -> Loop {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512vnni") {
            // SAFETY: handed out only where the CPU has its instructions, as just asked.
            return (|| unsafe { x86::vnni512() }, "512-bit vpdpbusd");
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: handed out only where the CPU has its instructions, as just asked.
            return (|| unsafe { x86::madd256() }, "256-bit vpmaddwd");
        }
    }
    (plain_floats, "plain multiply and add")
}

/// Reads every byte once; gives the number of bytes.
pub fn read(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the CPU has AVX-512.
        return unsafe { x86::read512(bytes) };
    }
    let (words, _) = bytes.as_chunks::<64>();
    let mut sums = [0u64; 8];
    for word in words {
        for (sum, part) in sums.iter_mut().zip(word.as_chunks::<8>().0) {
            *sum ^= u64::from_ne_bytes(*part);
        }
    }
    black_box(sums);
    bytes.len() as u64
}

fn plain_floats() -> u64 {
    let mut sums = [black_box(1.0f32); 32];
    let (x, y) = (black_box(0.999f32), black_box(1e-3f32));
    for _ in 0..ROUNDS {
        sums.iter_mut().for_each(|sum| *sum = *sum * x + y);
    }
    black_box(sums);
    ROUNDS * 32
}

const ROUNDS: u64 = 20_000;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::ROUNDS;
    use std::arch::x86_64::*;
    use std::hint::black_box;

    /// Registers in flight: more than latency times starts a cycle.
    const CHAINS: usize = 12;

    macro_rules! register_loop {
        ($name:ident, $features:literal, $start:expr, $step:expr, $per:expr) => {
            #[target_feature(enable = $features)]
            pub fn $name() -> u64 {
                let (x, y) = (black_box($start), black_box($start));
                let mut sums = [x; CHAINS];
                for _ in 0..ROUNDS {
                    for sum in &mut sums {
                        *sum = $step(*sum, x, y);
                    }
                }
                black_box(sums);
                ROUNDS * CHAINS as u64 * $per
            }
        };
    }

    register_loop!(fma512, "avx512f", _mm512_set1_ps(0.5), |s, x, y| _mm512_fmadd_ps(x, y, s), 16);
    register_loop!(fma256, "avx2,fma", _mm256_set1_ps(0.5), |s, x, y| _mm256_fmadd_ps(x, y, s), 8);
    register_loop!(vnni512, "avx512f,avx512vnni", _mm512_set1_epi8(1), |s, x, y| _mm512_dpbusd_epi32(s, x, y), 64);
    // Four products need two multiplications of 16-bit pairs and two additions.
    register_loop!(
        madd256,
        "avx2",
        _mm256_set1_epi8(1),
        |s, x, y| _mm256_add_epi32(s, _mm256_madd_epi16(x, _mm256_xor_si256(y, s))),
        16
    );

    /// Four pieces at once: the prefetchers of one core follow several streams faster than one.
    #[target_feature(enable = "avx512f")]
    pub fn read512(bytes: &[u8]) -> u64 {
        let lines = bytes.as_chunks::<64>().0;
        let quarter = lines.len() / 4;
        let mut sums = [_mm512_setzero_si512(); 8];
        for at in (0..quarter / 2 * 2).step_by(2) {
            for (c, sum) in sums.iter_mut().enumerate() {
                let line = lines[c / 2 * quarter..][at + c % 2].as_ptr();
                // SAFETY: a line of 64 bytes.
                *sum = _mm512_xor_si512(*sum, unsafe { _mm512_loadu_si512(line.cast()) });
            }
        }
        black_box(sums);
        (quarter / 2 * 2 * 4 * 64) as u64
    }
}
