//! Jitter: spreads the pauses of many runs, so that they do not ask the server at the same moment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The jitter of one connection: each pause gets its own share.
#[derive(Debug)]
pub(super) struct Jitter {
    seed: Option<u64>,
    /// The number of pauses so far.
    turns: AtomicU64,
}

impl Jitter {
    /// Creates the jitter of this seed. Without a seed, no pause changes.
    pub(super) fn new(seed: Option<u64>) -> Self {
        Self { seed, turns: AtomicU64::new(0) }
    }

    /// Changes a pause by up to a quarter in either direction.
    pub(super) fn spread(&self, pause: Duration) -> Duration {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        self.seed.map_or(pause, |seed| spread(pause, seed, turn))
    }
}

/// The pause with a change that depends only on the arguments. The seed differs between runs, and the turn between the
/// pauses of one run.
fn spread(pause: Duration, seed: u64, turn: u64) -> Duration {
    // The finalizer of the SplitMix64 generator: each bit of the result depends on each bit of the input.
    let mut bits = seed ^ turn.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    // 0 to 512 stand for three quarters to five quarters.
    let part = u32::try_from(bits % 513).unwrap_or_default();
    pause / 4 * 3 + pause / 1024 * part
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_pause_changes_by_a_quarter_at_most(seed in any::<u64>(), turn in any::<u64>(), millis in 0_u64..100_000) {
            let pause = Duration::from_millis(millis);
            let changed = spread(pause, seed, turn);
            prop_assert!(changed >= pause * 3 / 4 && changed <= pause * 5 / 4, "{pause:?} {changed:?}");
        }
    }

    #[test]
    fn pauses_differ_between_runs_and_between_turns() {
        let second = Duration::from_secs(1);
        let one_run = Jitter::new(Some(7));
        let turns: BTreeSet<Duration> = (0..100).map(|_| one_run.spread(second)).collect();
        let runs: BTreeSet<Duration> = (0..100).map(|seed| Jitter::new(Some(seed)).spread(second)).collect();
        assert!(turns.len() > 70 && runs.len() > 70, "{} {}", turns.len(), runs.len());
    }

    #[test]
    fn without_a_seed_no_pause_changes() {
        let jitter = Jitter::new(None);
        assert_eq!([1, 2].map(|seconds| jitter.spread(Duration::from_secs(seconds)).as_secs()), [1, 2]);
    }
}
