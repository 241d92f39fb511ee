//! Tests of ownership and the lock on a real API server, under kills, signals, contention and a hostile network.
//!
//! A seed decides what happens, and each test prints it. `KTOR_CHAOS_SEED` and `KTOR_CHAOS_ROUNDS` choose other values.

mod check;
mod kills;
mod lock;
mod network;
pub mod random;
mod script;
mod signals;
mod world;
