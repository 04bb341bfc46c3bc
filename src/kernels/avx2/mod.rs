//! The AVX2 + FMA + F16C level: 8 lanes a register, a block of 16 vectors is two of them.
//!
//! Bytes are multiplied as 16-bit halves (`vpmaddwd`): `vpmaddubsw` would saturate. Functions here are `unsafe` to
//! call from outside only because their instructions must exist; [`super::level`] sees to that.

mod assign;
mod codes;
mod flat;
mod floats;
pub(super) mod pq;

use super::{Kernels, Level, Table, bounds, sample};

pub(super) static KERNELS: Kernels = Kernels {
    level: Level::Avx2,
    table: Table {
        dot: floats::dot,
        l2: floats::l2,
        rows: floats::rows,
        flat_blocks: flat::flat_blocks,
        flat_tile: flat::flat_tile,
        dot16: floats::dot,
        l2_16: floats::l2,
        rows16: floats::rows,
        flat16_blocks: flat::flat_blocks,
        flat16_tile: flat::flat_tile,
        to_f16: floats::to_f16,
        from_f16: floats::from_f16,
        code_blocks: codes::code_blocks,
        sq_blocks: codes::sq_blocks,
        sq_tile: codes::sq_tile,
        finish: bounds::finish_avx2,
        above: floats::above,
        assign: assign::assign,
        assign2: assign::assign2,
        pq4_blocks: pq::pq4_blocks,
        pq8_blocks: pq::pq8_blocks,
        nearest: pq::nearest,
        to_bytes: sample::avx2::to_bytes,
        add_bytes: sample::avx2::add_bytes,
        add_rows: sample::avx2::add_rows,
    },
};
