//! Repeatable random numbers: a small generator and its seed.

use std::time::Duration;

/// A stream of numbers that depends only on its seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Creates the stream with this number for a seed.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut dice = Self(seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        dice.next();
        dice
    }

    /// Returns the next number of SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap();
        usize::try_from(self.next() % end).unwrap()
    }

    /// Returns `true` in this percentage of calls.
    pub fn percent(&mut self, chances: usize) -> bool {
        self.below(100) < chances
    }

    /// Returns a duration shorter than `end`.
    pub fn moment(&mut self, end: Duration) -> Duration {
        let micros = usize::try_from(end.as_micros()).unwrap().max(1);
        Duration::from_micros(u64::try_from(self.below(micros)).unwrap())
    }

    /// Returns one of several values.
    pub fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Returns the seed of this process. `KTOR_CHAOS_SEED` repeats a run that showed an error.
pub fn seed() -> u64 {
    number("KTOR_CHAOS_SEED").unwrap_or(20_261_124)
}

/// Returns the number of rounds. `cargo test` uses the default.
pub fn rounds(default: usize) -> usize {
    number("KTOR_CHAOS_ROUNDS").map_or(default, |rounds| usize::try_from(rounds).unwrap())
}

#[expect(clippy::disallowed_methods, reason = "the product reads its environment in cli::env; this is no product code")]
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}
