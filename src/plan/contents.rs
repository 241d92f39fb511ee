//! Asks for the contents of namespaces and CRDs before they are deleted, because their contents are deleted with them.

use std::collections::{BTreeMap, BTreeSet};

use super::collateral::{Collateral, counts};
use super::question::{Answer, Question, Request};
use crate::object::ident::{GroupKind, ObjectKey};
use crate::object::kinds::{Kind, Kinds, defined_kind};
use crate::object::live::Live;
use crate::object::read_error::ReadError;
use crate::object::readiness::{Readiness, readiness};

/// The largest number of namespaces that are listed one by one. For more namespaces, each kind is listed once in the
/// whole cluster.
const FEW: usize = 8;

/// The inquiry about the contents of several namespaces and CRDs.
#[derive(Debug, Default)]
pub(crate) struct ContentsInquiry {
    questions: Vec<Question>,
    contents: BTreeMap<ObjectKey, Collateral>,
    /// The namespaces that are listed together, each with its name.
    together: BTreeMap<String, ObjectKey>,
    /// The kind that each CRD defines, and whether the server should serve it.
    defined: BTreeMap<ObjectKey, (GroupKind, bool)>,
}

impl ContentsInquiry {
    /// Begins the inquiry about namespaces and CRDs, each as it was read.
    pub(crate) fn new<'a>(kinds: &Kinds, holders: impl IntoIterator<Item = (ObjectKey, &'a Live)>) -> Self {
        let (namespaces, definitions): (Vec<_>, Vec<_>) = holders.into_iter().partition(|(key, _)| key.is_namespace());
        let mut inquiry = Self::default();
        for (key, live) in definitions {
            let content = inquiry.contents.entry(key.clone()).or_default();
            let Some(defined) = defined_kind(&live.body) else {
                content.unseen.push("it serves no version".to_owned());
                continue;
            };
            let kind = kinds.get(&defined.group_kind).unwrap_or(&defined).clone();
            let is_established = readiness(live) == Readiness::Ready;
            inquiry.defined.insert(key.clone(), (defined.group_kind, is_established));
            inquiry.questions.push(Question { about: key, request: Request::List(kind, None) });
        }
        let held = || kinds.iter().filter(|kind| kind.namespaced && kind.manageable && counts(&kind.group_kind));
        let is_together = namespaces.len() > FEW;
        for (key, _) in &namespaces {
            inquiry.contents.insert(key.clone(), Collateral::default());
            if is_together {
                inquiry.together.insert(key.name.clone(), key.clone());
            } else {
                inquiry.questions.extend(held().map(|kind| within(key, kind)));
            }
        }
        if let Some((key, _)) = namespaces.first().filter(|_| is_together) {
            let list = |kind: &Kind| Question { about: key.clone(), request: Request::List(kind.clone(), None) };
            inquiry.questions.extend(held().map(list));
        }
        inquiry
    }

    /// Returns the next questions. There are none at the end.
    pub(crate) fn next(&mut self) -> Vec<Question> {
        std::mem::take(&mut self.questions)
    }

    /// Takes the answer to a question.
    pub(crate) fn learn(&mut self, question: Question, answer: Answer) {
        let Question { about, request: Request::List(kind, namespace) } = question else { return };
        let answer = match answer {
            Answer::Listed(answer) => answer,
            _ => Err(ReadError::Unavailable("the answer is about something else".to_owned())),
        };
        if about.is_namespace() && namespace.is_none() {
            self.learn_together(&kind, answer);
            return;
        }
        let content = self.contents.entry(about).or_default();
        match answer {
            Ok(found) => {
                content.found.extend(found.into_iter().map(|live| (kind.key_of(&live), live)));
                content.listed.insert(kind.group_kind);
            }
            Err(ReadError::Gone) => {}
            Err(error) => content.unseen.push(format!("{} could not be listed: {error}", kind.group_kind)),
        }
    }

    /// Takes the answer to the list of a kind in the whole cluster.
    fn learn_together(&mut self, kind: &Kind, answer: Result<Vec<Live>, ReadError>) {
        match answer {
            Ok(found) => {
                for live in found {
                    let key = kind.key_of(&live);
                    let holder = key.namespace.as_ref().and_then(|namespace| self.together.get(namespace));
                    if let Some(content) = holder.and_then(|holder| self.contents.get_mut(holder)) {
                        content.found.insert(key, live);
                    }
                }
                for holder in self.together.values() {
                    self.contents.entry(holder.clone()).or_default().listed.insert(kind.group_kind.clone());
                }
            }
            Err(ReadError::Gone) => {}
            // Credentials that may not list a kind in the whole cluster may still list it in each namespace.
            Err(_) => self.questions.extend(self.together.values().map(|key| within(key, kind))),
        }
    }

    /// Returns the contents. They name everything that could not be listed.
    pub(crate) fn end(mut self, kinds: &Kinds) -> BTreeMap<ObjectKey, Collateral> {
        let silent: BTreeSet<String> =
            kinds.unavailable().map(|group| format!("the server of {group} does not answer")).collect();
        for (key, content) in &mut self.contents {
            if key.is_namespace() {
                content.unseen.extend(silent.iter().cloned());
            }
            // Once a CRD is established, the server should serve its kind. If the server does not serve it, objects of
            // the kind may still exist.
            if let Some((defined, true)) = self.defined.get(key)
                && !content.listed.contains(defined)
                && content.unseen.is_empty()
            {
                content.unseen.push(format!("{defined} is not served"));
            }
            content.unseen.sort();
        }
        self.contents
    }
}

/// Asks for the objects of a kind in one namespace.
fn within(namespace: &ObjectKey, kind: &Kind) -> Question {
    let request = Request::List(kind.clone(), Some(namespace.name.clone()));
    Question { about: namespace.clone(), request }
}
