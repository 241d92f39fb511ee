//! Chance that can be repeated: a small generator and the seed it starts from.

use std::time::Duration;

/// A stream of numbers that its seed decides.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream number `stream` of a seed.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut dice = Self(seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        dice.next();
        dice
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap();
        usize::try_from(self.next() % end).unwrap()
    }

    /// Whether something of so many chances in a hundred happens.
    pub fn percent(&mut self, chances: usize) -> bool {
        self.below(100) < chances
    }

    /// A time shorter than `end`.
    pub fn moment(&mut self, end: Duration) -> Duration {
        let micros = usize::try_from(end.as_micros()).unwrap().max(1);
        Duration::from_micros(u64::try_from(self.below(micros)).unwrap())
    }

    /// One of several.
    pub fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// The seed of this run; the one that is given is for finding out what another one has shown.
pub fn seed() -> u64 {
    number("KTOR_CHAOS_SEED").unwrap_or(20_261_124)
}

/// How many rounds to play; the default is what `cargo test` plays.
pub fn rounds(default: usize) -> usize {
    number("KTOR_CHAOS_ROUNDS").map_or(default, |rounds| usize::try_from(rounds).unwrap())
}

#[expect(clippy::disallowed_methods, reason = "the product reads its environment in cli::env; this is no product code")]
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}
