//! The portable level: the crate `wide`, which compiles to 128-bit registers on every x86-64 and aarch64.
//!
//! Wholly safe code in the shape of the other levels: the readable form of what the intrinsics do.

mod assign;
mod codes;
mod floats;
mod pq;

use super::{Kernels, Level, Table, bounds, sample};

pub(super) static KERNELS: Kernels = Kernels {
    level: Level::Portable,
    table: Table {
        dot: floats::dot,
        l2: floats::l2,
        rows: floats::rows,
        flat_blocks: floats::flat_blocks,
        flat_tile: floats::flat_tile,
        dot16: floats::dot,
        l2_16: floats::l2,
        rows16: floats::rows,
        flat16_blocks: floats::flat16_blocks,
        flat16_tile: floats::flat16_tile,
        to_f16: floats::to_f16,
        from_f16: floats::from_f16,
        code_blocks: codes::code_blocks,
        sq_blocks: codes::sq_blocks,
        sq_tile: codes::sq_tile,
        finish: bounds::finish,
        above: floats::above,
        assign: assign::assign,
        assign2: assign::assign2,
        pq4_blocks: pq::pq4_blocks,
        pq8_blocks: pq::pq8_blocks,
        nearest: pq::nearest,
        to_bytes: sample::to_bytes,
        add_bytes: sample::add_bytes,
        add_rows: sample::add_rows,
    },
};
