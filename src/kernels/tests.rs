//! One suite, run for every level the CPU has, against the scalar oracle.
