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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn namespace(name: &str) -> ObjectKey {
        ObjectKey { group: String::new(), kind: "Namespace".into(), namespace: None, name: name.into() }
    }

    fn kind(name: &str) -> Kind {
        let group_kind = GroupKind::new("", name);
        Kinds::builtin().get(&group_kind).unwrap().clone()
    }

    fn config(namespace: &str, name: &str) -> Live {
        Live {
            body: json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": name}}),
        }
    }

    /// Carries out the inquiry. Returns the questions, a line each, and the contents.
    fn asked(
        kinds: &Kinds,
        holders: Vec<(ObjectKey, &Live)>,
        answer: impl Fn(&str) -> Result<Vec<Live>, ReadError>,
    ) -> (Vec<String>, BTreeMap<ObjectKey, Collateral>) {
        let mut inquiry = ContentsInquiry::new(kinds, holders);
        let mut lines = Vec::new();
        loop {
            let questions = inquiry.next();
            if questions.is_empty() {
                return (lines, inquiry.end(kinds));
            }
            for question in questions {
                let Request::List(kind, namespace) = &question.request else { panic!("{question:?}") };
                let line = format!("{} in {}", kind.group_kind, namespace.as_deref().unwrap_or("all"));
                let answer = answer(&line);
                lines.push(line);
                inquiry.learn(question, Answer::Listed(answer));
            }
        }
    }

    #[test]
    fn few_namespaces_are_listed_one_by_one_and_many_together() {
        let live = Live { body: json!({"kind": "Namespace"}) };
        let kinds = Kinds::new([kind("ConfigMap"), kind("Secret")], BTreeSet::new());
        for count in [1, FEW, FEW + 1] {
            let names: Vec<String> = (0..count).map(|number| format!("n{number}")).collect();
            let holders = names.iter().map(|name| (namespace(name), &live)).collect();
            let (lines, contents) = asked(&kinds, holders, |line| {
                Ok(match line.split_once(" in ").unwrap() {
                    ("ConfigMap", "all") => names.iter().map(|name| config(name, "web")).collect(),
                    ("ConfigMap", name) => vec![config(name, "web")],
                    _ => Vec::new(),
                })
            });
            assert_eq!(lines.len(), if count > FEW { 2 } else { 2 * count });
            assert_eq!(contents.len(), count);
            for (key, content) in contents {
                let found: Vec<_> = content.found.keys().map(|key| key.namespace.clone()).collect();
                assert_eq!((found, content.listed.len()), (vec![Some(key.name)], 2));
                assert!(content.unseen.is_empty());
            }
        }
    }

    #[test]
    fn a_kind_that_may_not_be_listed_in_the_whole_cluster_is_listed_in_each_namespace() {
        let live = Live { body: json!({"kind": "Namespace"}) };
        let kinds = Kinds::new([kind("ConfigMap"), kind("Secret")], ["shop.dev".to_owned()].into());
        let names: Vec<String> = (0..=FEW).map(|number| format!("n{number}")).collect();
        let holders = names.iter().map(|name| (namespace(name), &live)).collect();
        let (lines, contents) = asked(&kinds, holders, |line| match line.split_once(" in ").unwrap() {
            ("Secret", "all") => Ok(Vec::new()),
            ("ConfigMap", "n0") => Ok(vec![config("n0", "web")]),
            ("ConfigMap", "n1") => Err(ReadError::Gone),
            _ => Err(ReadError::Forbidden("no".to_owned())),
        });
        assert_eq!(lines.len(), 2 + names.len());
        let silent = "the server of shop.dev does not answer".to_owned();
        assert_eq!(contents[&namespace("n0")].found.len(), 1);
        assert_eq!(contents[&namespace("n0")].unseen, std::slice::from_ref(&silent));
        assert_eq!(contents[&namespace("n1")].unseen, std::slice::from_ref(&silent));
        let refused = "ConfigMap could not be listed: no permission to read: no".to_owned();
        assert_eq!(contents[&namespace("n2")].unseen, [refused, silent]);
    }

    #[test]
    fn the_objects_of_an_established_crd_that_is_not_served_are_not_known() {
        let key = ObjectKey {
            group: "apiextensions.k8s.io".into(),
            kind: "CustomResourceDefinition".into(),
            namespace: None,
            name: "tills.shop.dev".into(),
        };
        let definition = |is_established: bool| {
            let status = if is_established { "True" } else { "False" };
            Live {
                body: json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "spec": {"group": "shop.dev", "scope": "Namespaced", "names": {"kind": "Till", "plural": "tills"},
                    "versions": [{"name": "v1", "served": true, "storage": true}]},
                "status": {"conditions": [{"type": "Established", "status": status},
                    {"type": "NamesAccepted", "status": "True"}]}}),
            }
        };
        let kinds = Kinds::default();
        for (is_established, answer, unseen) in [
            (true, Ok(Vec::new()), vec![]),
            (true, Err(ReadError::Gone), vec!["Till.shop.dev is not served"]),
            (false, Err(ReadError::Gone), vec![]),
            (
                true,
                Err(ReadError::Unavailable("no".to_owned())),
                vec!["Till.shop.dev could not be listed: no answer: no"],
            ),
        ] {
            let live = definition(is_established);
            let (lines, contents) = asked(&kinds, vec![(key.clone(), &live)], |_| answer.clone());
            assert_eq!(lines, ["Till.shop.dev in all"]);
            assert_eq!(contents[&key].unseen, unseen);
        }
        let nothing = Live { body: json!({"spec": {"versions": []}}) };
        let (lines, contents) = asked(&kinds, vec![(key.clone(), &nothing)], |_| Ok(Vec::new()));
        assert!(lines.is_empty());
        assert_eq!(contents[&key].unseen, ["it serves no version"]);
    }
}
