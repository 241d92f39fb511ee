//! Commands in comments: `/ktor plan`, `/ktor apply`, `/ktor allow …`, `/ktor delete …`, `/ktor unlock …`, `/ktor help`.

use crate::plan::consent::Wish;
use crate::plan::guard::Guard;

/// The word that every command begins with.
const PREFIX: &str = "/ktor";

/// The smallest number of characters of a digest. A comment prints these many.
const DIGEST: usize = 8;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Explain the commands.
    Help,
    /// Plan the pull request.
    Plan,
    /// Repeat the apply of the branch's last commit.
    Apply,
    /// Release the lock, if this run holds it.
    Unlock(String),
    /// Allow a merge to delete what the plan with this digest keeps.
    Consent(Wish, String),
}

/// The explanation of the commands.
pub(super) const HELP: &str = "\
| command | effect |
|---|---|
| `/ktor plan` | Plans this pull request on the cluster. |
| `/ktor apply` | Repeats the apply of the branch's last commit. |
| `/ktor allow GUARD DIGEST` | Lets the merge delete or replace what the guard keeps in the plan with this digest. |
| `/ktor delete leftovers DIGEST` | Lets the merge delete the leftovers in the plan with this digest. |
| `/ktor delete KIND NAMESPACE/NAME DIGEST` | Lets the merge delete one of these leftovers. |
| `/ktor unlock HOLDER` | Releases the lock, if this run holds it. |
";

/// Parses the first line of a comment. Returns `None` if the comment is no command.
///
/// # Errors
///
/// The comment begins like a command and is not one. The message says what is wrong.
pub(super) fn parse(body: &str) -> Option<Result<Command, String>> {
    let mut words = body.lines().next()?.split_whitespace();
    if words.next()? != PREFIX {
        return None;
    }
    let words: Vec<&str> = words.collect();
    Some(match words.as_slice() {
        [] | ["help"] => Ok(Command::Help),
        ["plan"] => Ok(Command::Plan),
        ["apply"] => Ok(Command::Apply),
        ["unlock", holder @ ..] if !holder.is_empty() => Ok(Command::Unlock(holder.join(" "))),
        ["allow", guard, digest] => match Guard::named().find(|(_, name)| name == guard) {
            Some((guard, _)) => consent(Wish::Guard(guard), digest),
            None => Err(format!("there is no guard {guard}")),
        },
        ["delete", "leftovers", digest] => consent(Wish::Leftovers, digest),
        ["delete", kind, name, digest] => consent(Wish::Leftover(format!("{kind} {name}")), digest),
        _ => Err("it is not a command that is known".to_owned()),
    })
}

fn consent(wish: Wish, digest: &str) -> Result<Command, String> {
    let is_hex = digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hex || digest.len() < DIGEST {
        return Err(format!("{digest} is not the digest of a plan, as its comment prints it"));
    }
    Ok(Command::Consent(wish, digest.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn f15_commands_are_the_first_line_of_a_comment() {
        let digest = "de000eb5";
        let command = |text: &str| parse(text).unwrap().unwrap();
        assert_eq!(command("/ktor"), Command::Help);
        assert_eq!(command("/ktor help\nplease"), Command::Help);
        assert_eq!(command("/ktor plan"), Command::Plan);
        assert_eq!(command("/ktor apply\r\n"), Command::Apply);
        assert_eq!(command("/ktor unlock acme/shop run 7#ab"), Command::Unlock("acme/shop run 7#ab".into()));
        assert_eq!(
            command("/ktor allow volume-deletion de000eb5"),
            Command::Consent(Wish::Guard(Guard::Volume), digest.into())
        );
        assert_eq!(command("/ktor delete leftovers de000eb5"), Command::Consent(Wish::Leftovers, digest.into()));
        assert_eq!(
            command("/ktor delete ConfigMap shop/web de000eb5ff"),
            Command::Consent(Wish::Leftover("ConfigMap shop/web".into()), "de000eb5ff".into())
        );
        for text in ["", "please /ktor plan", "> /ktor plan", "text\n/ktor plan", "/ktorx plan", "`/ktor plan`"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        for text in [
            "/ktor allow volume-deletion",
            "/ktor allow nothing de000eb5",
            "/ktor allow volume-deletion de000eb",
            "/ktor allow volume-deletion DE000EB5",
            "/ktor delete leftovers",
            "/ktor destroy",
            "/ktor plan now",
            "/ktor unlock",
        ] {
            assert!(parse(text).unwrap().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn f15_any_comment_is_read_without_a_panic(text in "(/ktor )?\\PC{0,60}") {
            drop(parse(&text));
        }
    }
}
