//! Ownership and the lock on a real API server, under kills, signals, contention and a hostile network.
//!
//! What happens is drawn from a seed that each test prints. `KTOR_CHAOS_SEED` and `KTOR_CHAOS_ROUNDS` choose others.

mod check;
mod kills;
mod lock;
mod network;
pub mod random;
mod script;
mod signals;
mod world;
