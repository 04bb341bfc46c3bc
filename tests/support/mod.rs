//! Shared by the tests of the C side: making the header, running compilers and programs.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod header;
pub mod tools;
