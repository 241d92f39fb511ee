//! The consents in the comments of a pull request. A comment is itself the consent: an apply reads it again.

use super::command::{Command, parse};
use super::job::Job;
use crate::forge::{Permission, Pull, Remark};
use crate::plan::consent::{Consent, Wish};
use crate::plan::name_set::NameKey;
use crate::plan::signature::Statement;

impl Job<'_> {
    /// Returns the consents that the comments of a pull request give for its signed plan.
    pub(super) async fn consents(&self, pull: &Pull, statement: &Statement, key: &NameKey) -> Vec<Consent> {
        if statement.kept.is_empty() {
            return Vec::new();
        }
        let mut consents = Vec::new();
        for remark in self.reporter.remarks(pull.number).await {
            let Some(Ok(Command::Consent(wish, digest))) = parse(&remark.body) else { continue };
            if !statement.digest.starts_with(&digest) {
                continue;
            }
            let Some(objects) = wish.group().and_then(|group| statement.kept.get(group)) else { continue };
            match self.refused(&remark, &pull.author).await {
                None => {
                    let (objects, key) = (objects.clone(), key.clone());
                    consents.push(Consent { wish, objects, key, pull: pull.number });
                }
                Some(why) => {
                    self.notice(&format!("a comment of {} in #{} does not count: {why}", remark.login, pull.number));
                }
            }
        }
        consents
    }

    /// Returns the reason why the author of a comment may not command, or why the comment does not count. `author` is
    /// the author of the pull request.
    pub(super) async fn refused(&self, remark: &Remark, author: &str) -> Option<String> {
        if remark.is_bot {
            return Some("it is by a bot".to_owned());
        }
        if remark.is_edited() {
            return Some("it was edited".to_owned());
        }
        let is_consent = matches!(parse(&remark.body), Some(Ok(Command::Consent(..))));
        if is_consent && self.options.consent_of_others && remark.login.eq_ignore_ascii_case(author) {
            return Some("the author of a pull request cannot consent to it here".to_owned());
        }
        match self.reporter.permission(&remark.login).await {
            Ok(Permission::Write | Permission::Admin) => None,
            Ok(Permission::Read | Permission::None) => Some("only someone with write access can do this".to_owned()),
            Err(why) => Some(format!("the forge does not tell who has write access: {why}")),
        }
    }
}

/// The words for the objects that a consent is about.
pub(super) fn described(wish: &Wish) -> String {
    match wish {
        Wish::Guard(guard) => format!("what the guard {} keeps", guard.name().unwrap_or_default()),
        Wish::Leftovers => "the leftovers".to_owned(),
        Wish::Leftover(object) => format!("the leftover {object}"),
    }
}
