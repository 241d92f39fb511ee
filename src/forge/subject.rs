//! Reads the number of a pull request from the subject of the commit that a forge made for its merge.
//!
//! The subject is untrusted: everyone can write a commit with any subject. The number is only a question to the forge.

/// Returns the number of the pull request that the subject of a merge names: `Merge pull request #41 from …`, or the last
/// `(#41)` of a squashed commit. Returns `None` if it names none.
pub(crate) fn pull_number(subject: &str) -> Option<u64> {
    let merge = subject.strip_prefix("Merge pull request ").and_then(|rest| {
        // Gitea writes the title first: Merge pull request 'Title' (#41) from branch into main.
        let named = rest.split_whitespace().next()?;
        number(named.strip_prefix('#')?)
    });
    merge.or_else(|| {
        let marks = subject.match_indices("(#").map(|(at, mark)| &subject[at + mark.len()..]);
        marks.filter_map(|rest| number(rest.split_once(')')?.0)).last()
    })
}

fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if is_number { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn f10_the_subjects_of_merges_name_their_pull_requests() {
        for (subject, expected) in [
            ("Merge pull request #41 from acme/branch", Some(41)),
            ("Merge pull request 'Add a Till (#7)' (#41) from branch into main", Some(41)),
            ("Add a Till (#41)", Some(41)),
            ("Revert \"Add a Till (#40)\" (#41)", Some(41)),
            ("Add a Till (#41) (#x)", Some(41)),
            ("Merge branch 'main' into next", None),
            ("Fix #41", None),
            ("Add (#41", None),
            ("Add (#)", None),
            ("Add (#0)", None),
            ("Add (#041)", None),
            ("Add (#-1)", None),
            ("Add (#99999999999999999999999)", None),
            ("", None),
        ] {
            assert_eq!(pull_number(subject), expected, "{subject:?}");
        }
    }

    proptest! {
        #[test]
        fn any_subject_is_read_without_a_panic(subject in "\\PC{0,60}", number in 1_u64..1_000_000) {
            let _ = pull_number(&subject);
            let squashed = format!("{subject} (#{number})");
            prop_assert!(subject.starts_with("Merge pull request #") || pull_number(&squashed) == Some(number));
        }
    }
}
