//! Aligns two sequences: finds the unchanged items, which keep their order, and the items that moved.
//!
//! For long sequences, the cost is at most the number of items times its logarithm. For short sequences, the result is
//! the shortest difference.

use std::collections::HashMap;
use std::hash::Hash;

use similar::{Algorithm, DiffOp, capture_diff_slices};

/// The maximum number of items, both sides together, for which the shortest difference is computed.
const FEW: usize = 4_000;

/// Pairs of places: the place before and the place after.
pub(crate) type Pairs = Vec<(usize, usize)>;

/// Lists the items that stay as they are, as places before and after. Both places rise.
pub(crate) fn unchanged<T: Eq + Hash>(before: &[T], after: &[T]) -> Pairs {
    let start = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let (old, new) = (&before[start..], &after[start..]);
    let end = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[..old.len() - end], &new[..new.len() - end]);
    let mut pairs: Pairs = (0..start).map(|at| (at, at)).collect();
    let middle = if old.len() + new.len() <= FEW { shortest(old, new) } else { rising(occurrences(old, new)) };
    pairs.extend(middle.into_iter().map(|(a, b)| (start + a, start + b)));
    pairs.extend((0..end).rev().map(|back| (before.len() - 1 - back, after.len() - 1 - back)));
    pairs
}

fn shortest<T: Eq + Hash>(before: &[T], after: &[T]) -> Pairs {
    // The algorithm requires ordered items but never uses the order.
    let mut numbers = HashMap::new();
    let mut number = |item| {
        let next = numbers.len();
        *numbers.entry(item).or_insert(next)
    };
    let old: Vec<usize> = before.iter().map(&mut number).collect();
    let new: Vec<usize> = after.iter().map(&mut number).collect();
    let equal = capture_diff_slices(Algorithm::Myers, &old, &new).into_iter().filter_map(|operation| match operation {
        DiffOp::Equal { old_index, new_index, len } => Some((0..len).map(move |at| (old_index + at, new_index + at))),
        _ => None,
    });
    equal.flatten().collect()
}

/// Pairs the n-th occurrence of an item before with its n-th occurrence after. The pairs rise in the place after.
fn occurrences<T: Eq + Hash>(before: &[T], after: &[T]) -> Pairs {
    let mut places: HashMap<&T, std::collections::VecDeque<usize>> = HashMap::new();
    for (at, item) in before.iter().enumerate() {
        places.entry(item).or_default().push_back(at);
    }
    let pairs = after.iter().enumerate().filter_map(|(at, item)| Some((places.get_mut(item)?.pop_front()?, at)));
    pairs.collect()
}

/// The largest subset of the pairs that rises in both places, that is, the items that keep their order. The given pairs
/// must rise in the place after.
pub(crate) fn rising(pairs: Pairs) -> Pairs {
    // ends[n]: the pair that ends a rising run of n + 1 pairs and has the smallest place before.
    let mut ends: Vec<usize> = Vec::new();
    let mut previous: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
    for (at, (before, _)) in pairs.iter().enumerate() {
        let run = ends.partition_point(|end| pairs[*end].0 < *before);
        previous.push(run.checked_sub(1).map(|run| ends[run]));
        if run == ends.len() { ends.push(at) } else { ends[run] = at }
    }
    let mut kept = Vec::new();
    let mut last = ends.last().copied();
    while let Some(at) = last {
        kept.push(pairs[at]);
        last = previous[at];
    }
    kept.reverse();
    kept
}

/// Lists the items that are not unchanged and that exist at another place after, as places before and after.
pub(crate) fn moved<T: Eq + Hash>(before: &[T], after: &[T], unchanged: &[(usize, usize)]) -> Pairs {
    let (mut stays, mut stayed) = (vec![false; before.len()], vec![false; after.len()]);
    for (a, b) in unchanged {
        (stays[*a], stayed[*b]) = (true, true);
    }
    let mut places: HashMap<&T, Vec<usize>> = HashMap::new();
    for at in (0..before.len()).rev().filter(|at| !stays[*at]) {
        places.entry(&before[at]).or_default().push(at);
    }
    let gone = (0..after.len()).filter(|at| !stayed[*at]);
    gone.filter_map(|at| Some((places.get_mut(&after[at])?.pop()?, at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_alignment(before: &[u8], after: &[u8], pairs: &[(usize, usize)]) -> bool {
        pairs.iter().all(|(a, b)| before[*a] == after[*b])
            && pairs.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 < two[1].1)
    }

    /// The reference for the test: the length of the longest common subsequence.
    fn most(before: &[u8], after: &[u8]) -> usize {
        let mut best = vec![vec![0; after.len() + 1]; before.len() + 1];
        for a in 0..before.len() {
            for b in 0..after.len() {
                best[a + 1][b + 1] =
                    if before[a] == after[b] { best[a][b] + 1 } else { best[a][b + 1].max(best[a + 1][b]) };
            }
        }
        best[before.len()][after.len()]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn r9_a_short_sequence_keeps_as_much_as_it_can(
            before in prop::collection::vec(0u8..6, 0..12),
            after in prop::collection::vec(0u8..6, 0..12),
        ) {
            let pairs = unchanged(&before, &after);
            prop_assert!(is_alignment(&before, &after, &pairs), "{:?}", pairs);
            prop_assert_eq!(pairs.len(), most(&before, &after));
            let long = rising(occurrences(&before, &after));
            prop_assert!(is_alignment(&before, &after, &long), "{:?}", long);
            let moved = moved(&before, &after, &pairs);
            prop_assert!(moved.iter().all(|(a, b)| before[*a] == after[*b]));
        }

        #[test]
        fn r9_a_long_sequence_with_one_item_more_keeps_all_others(
            items in prop::collection::vec(0u16..4_000, 2_100..2_200),
            at in 0usize..2_100,
        ) {
            let mut more = items.clone();
            more.insert(at, 9_999);
            prop_assert_eq!(unchanged(&items, &more).len(), items.len());
            prop_assert_eq!(unchanged(&more, &items).len(), items.len());
        }
    }
}
