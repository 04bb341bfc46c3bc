//! The AVX-512 level (F, BW, VL, DQ, VNNI): 16 lanes a register, masked tails, `vpdpbusd` for bytes.
//!
//! A block of 16 vectors is one register wide, so scans need no horizontal step. Functions here are `unsafe` to call
//! from outside only because their instructions must exist; [`super::level`] sees to that.

mod assign;
mod codes;
mod flat;
mod floats;
mod pq;

use super::{Kernels, Level, Table, bounds, sample};

pub(super) static KERNELS: Kernels = Kernels {
    level: Level::Avx512,
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
        finish: bounds::finish_avx512,
        above: floats::above,
        assign: assign::assign,
        assign2: assign::assign2,
        pq4_blocks: pq::pq4_blocks,
        pq8_blocks: pq::pq8_blocks,
        nearest: pq::nearest,
        to_bytes: sample::avx512::to_bytes,
        add_bytes: sample::avx512::add_bytes,
        add_rows: sample::avx512::add_rows,
    },
};
