//! The secret parts of an object, and the object without them, as it may be shown.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::items::keyed;
use crate::project::pointer::Step;

/// The text that is shown instead of a secret value.
pub(crate) const SECRET: &str = "(secret)";

/// The secret places of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mask {
    /// The value as a whole.
    Secret,
    /// Places below it, by the field's name or the item's number.
    Below(BTreeMap<String, Mask>),
}

/// The secret places of two versions of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Masks {
    /// Those of the earlier version.
    pub before: Option<Mask>,
    /// Those of the later version.
    pub after: Option<Mask>,
    /// The rules that found something, by their number, whichever version it was in.
    pub rules: BTreeSet<usize>,
}

/// One rule and the number it is known by.
#[derive(Clone, Copy)]
struct Rule<'a> {
    number: usize,
    steps: &'a [Step],
}

/// The way in which rules treat the items of lists.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Numbers {
    /// A number is the item at that place.
    Exact,
    /// A number is every item: items may have moved, and what was secret stays so.
    Any,
}

/// Finds what the rules make secret in two versions of an object.
///
/// A number in a rule is the item of that place, in each version by itself, as long as the list's items stand where
/// they stood. Once an item moved, came or went, it is every item of the list: the server merges lists, and a value
/// that was secret must not show because it stands at another place now.
///
/// Where an item or a field of any name is itself secret, so is the list or the object: its length and names would
/// tell.
pub(crate) fn masks(rules: &[Vec<Step>], before: Option<&Value>, after: Option<&Value>) -> Masks {
    let numbered = rules.iter().enumerate().map(|(number, steps)| Rule { number, steps });
    let numbered: Vec<Rule<'_>> = numbered.collect();
    let mut found = BTreeSet::new();
    let (before, after) = both(&numbered, before, after, Numbers::Exact, &mut found);
    Masks { before, after, rules: found }
}

fn both(
    rules: &[Rule<'_>],
    before: Option<&Value>,
    after: Option<&Value>,
    numbers: Numbers,
    found: &mut BTreeSet<usize>,
) -> (Option<Mask>, Option<Mask>) {
    if rules.is_empty() {
        return (None, None);
    }
    match (before, after) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            if let Some(secret) = whole(rules, |step| matches!(step, None | Some(Step::Any)), found) {
                return (Some(secret.clone()), Some(secret));
            }
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            let (mut was, mut is) = (BTreeMap::new(), BTreeMap::new());
            for name in names {
                let below = matching(rules, |step| matches!(step, Step::Any) || *step == Step::Name(name.clone()));
                let (old, new) = both(&below, old.get(name), new.get(name), numbers, found);
                was.extend(old.map(|mask| (name.clone(), mask)));
                is.extend(new.map(|mask| (name.clone(), mask)));
            }
            (parts(was), parts(is))
        }
        (Some(Value::Array(old)), Some(Value::Array(new)))
            if numbers == Numbers::Exact && stand_still(rules, old, new) =>
        {
            let (mut was, mut is) = (BTreeMap::new(), BTreeMap::new());
            if let Some(secret) = whole(rules, |step| matches!(step, None | Some(Step::Any)), found) {
                return (Some(secret.clone()), Some(secret));
            }
            for at in 0..old.len().max(new.len()) {
                let below = matching(rules, |step| matches!(step, Step::Any) || step.index() == Some(at));
                let (old, new) = both(&below, old.get(at), new.get(at), numbers, found);
                was.extend(old.map(|mask| (at.to_string(), mask)));
                is.extend(new.map(|mask| (at.to_string(), mask)));
            }
            (parts(was), parts(is))
        }
        // The same kind of list, and its items moved.
        (Some(Value::Array(_)), Some(Value::Array(_))) => {
            (one(rules, before, Numbers::Any, found), one(rules, after, Numbers::Any, found))
        }
        _ => (one(rules, before, numbers, found), one(rules, after, numbers, found)),
    }
}

/// Finds what is secret in one version alone.
fn one(rules: &[Rule<'_>], value: Option<&Value>, numbers: Numbers, found: &mut BTreeSet<usize>) -> Option<Mask> {
    let value = value.filter(|_| !rules.is_empty())?;
    match value {
        Value::Object(map) => whole(rules, |step| matches!(step, None | Some(Step::Any)), found).or_else(|| {
            let below = |name: &String, child| {
                let below = matching(rules, |step| matches!(step, Step::Any) || *step == Step::Name(name.clone()));
                one(&below, Some(child), numbers, found).map(|mask| (name.clone(), mask))
            };
            let mut below = below;
            parts(map.iter().filter_map(|(name, child)| below(name, child)).collect())
        }),
        Value::Array(items) => {
            let is_item =
                |step: &Step| matches!(step, Step::Any) || (numbers == Numbers::Any && step.index().is_some());
            whole(rules, |step| step.is_none_or(is_item), found).or_else(|| {
                let mut below = BTreeMap::new();
                for (at, item) in items.iter().enumerate() {
                    let rules = matching(rules, |step| is_item(step) || step.index() == Some(at));
                    below.extend(one(&rules, Some(item), numbers, found).map(|mask| (at.to_string(), mask)));
                }
                parts(below)
            })
        }
        _ => whole(rules, |step| step.is_none(), found),
    }
}

/// Returns `true` if a rule ends here, or with a last step that `is_last` says makes all of this secret.
fn whole(rules: &[Rule<'_>], is_last: impl Fn(Option<&Step>) -> bool, found: &mut BTreeSet<usize>) -> Option<Mask> {
    let mut ending = rules.iter().filter(|rule| rule.steps.len() <= 1 && is_last(rule.steps.first())).peekable();
    ending.peek()?;
    found.extend(ending.map(|rule| rule.number));
    Some(Mask::Secret)
}

fn matching<'a>(rules: &[Rule<'a>], is_met: impl Fn(&Step) -> bool) -> Vec<Rule<'a>> {
    let met = rules.iter().filter_map(|rule| {
        let (first, steps) = rule.steps.split_first()?;
        is_met(first).then_some(Rule { number: rule.number, steps })
    });
    met.collect()
}

fn parts(below: BTreeMap<String, Mask>) -> Option<Mask> {
    (!below.is_empty()).then_some(Mask::Below(below))
}

/// Returns `true` if each item of a list stands where it stood, by a key that is no secret.
fn stand_still(rules: &[Rule<'_>], before: &[Value], after: &[Value]) -> bool {
    let is_secret = |field: &str| {
        rules.iter().any(|rule| match rule.steps {
            [_] => true,
            [_, Step::Any] => true,
            [_, Step::Name(name)] => name == field,
            _ => false,
        })
    };
    keyed(before, after, is_secret).is_some_and(|keyed| keyed.before == keyed.after)
}

/// A value seen through a mask.
#[derive(Clone, Copy, Debug)]
pub struct MaskedView<'a> {
    /// The value itself, secrets included: not to be shown.
    value: &'a Value,
    mask: Option<&'a Mask>,
}

impl<'a> MaskedView<'a> {
    /// A value of which the mask hides something.
    pub(crate) fn new(value: &'a Value, mask: Option<&'a Mask>) -> Self {
        Self { value, mask }
    }

    /// Returns `true` if all of it is secret.
    pub(crate) fn is_secret(self) -> bool {
        matches!(self.mask, Some(Mask::Secret))
    }

    /// Returns `true` if none of it is secret.
    pub(crate) fn is_open(self) -> bool {
        self.mask.is_none()
    }

    /// The value, whose own secrets are still in it: for its kind and its names, never for showing.
    pub(crate) fn value(self) -> &'a Value {
        self.value
    }

    /// A field of it.
    pub(crate) fn field(self, name: &str) -> Option<Self> {
        Some(Self { value: self.value.get(name)?, mask: self.below(name) })
    }

    /// Its items, where it is a list.
    pub(crate) fn items(self) -> Vec<Self> {
        let items = self.value.as_array().into_iter().flatten().enumerate();
        items.map(|(at, value)| Self { value, mask: self.mask.and_then(|_| self.below(&at.to_string())) }).collect()
    }

    fn below(self, name: &str) -> Option<&'a Mask> {
        match self.mask? {
            Mask::Secret => self.mask,
            Mask::Below(below) => below.get(name),
        }
    }

    /// Returns `true` if two values are the same but for their secrets.
    pub(crate) fn is_like(self, other: Self) -> bool {
        if self.is_open() && other.is_open() {
            return self.value == other.value;
        }
        match (self.is_secret(), other.is_secret()) {
            (true, true) => return true,
            (false, false) => {}
            _ => return false,
        }
        match (self.value, other.value) {
            (Value::Object(a), Value::Object(b)) => {
                let stated = |side: Self, name: &str| side.field(name).filter(|field| !field.is_secret());
                a.keys().chain(b.keys()).all(|name| match (stated(self, name), stated(other, name)) {
                    (Some(a), Some(b)) => a.is_like(b),
                    (None, None) => true,
                    _ => false,
                })
            }
            (Value::Array(a), Value::Array(b)) => {
                a.len() == b.len() && self.items().into_iter().zip(other.items()).all(|(a, b)| a.is_like(b))
            }
            (a, b) => a == b,
        }
    }

    /// The text that stands for the value in comparisons. Two values have the same text if and only if they are alike.
    pub(crate) fn fingerprint(self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    /// The value as it may be shown, with the text `(secret)` for each secret within it.
    pub(crate) fn shown(self) -> Value {
        match self.value {
            _ if self.is_secret() => Value::from(SECRET),
            Value::Object(map) if !self.is_open() => {
                let fields = map.keys().filter_map(|name| Some((name.clone(), self.field(name)?.shown())));
                Value::Object(fields.collect())
            }
            Value::Array(_) if !self.is_open() => self.items().into_iter().map(Self::shown).collect(),
            value => value.clone(),
        }
    }

    /// Writes compact JSON without the secrets.
    fn write(self, text: &mut String) {
        match self.value {
            _ if self.is_secret() => {}
            Value::Object(map) if !self.is_open() => {
                text.push('{');
                for (name, _) in map {
                    let Some(field) = self.field(name).filter(|field| !field.is_secret()) else {
                        continue;
                    };
                    if !text.ends_with('{') {
                        text.push(',');
                    }
                    text.push_str(&Value::from(name.as_str()).to_string());
                    text.push(':');
                    field.write(text);
                }
                text.push('}');
            }
            Value::Array(_) if !self.is_open() => {
                text.push('[');
                for (at, item) in self.items().into_iter().enumerate() {
                    if at > 0 {
                        text.push(',');
                    }
                    item.write(text);
                }
                text.push(']');
            }
            value => text.push_str(&value.to_string()),
        }
    }
}
