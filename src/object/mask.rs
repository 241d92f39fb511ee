//! The secret parts of an object, and a view of the object that hides them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::items::keyed;
use crate::project::pointer::Step;

/// The text that is shown instead of a secret value.
pub(crate) const SECRET: &str = "(secret)";

/// The secret parts of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mask {
    /// The whole value is secret.
    Secret,
    /// Parts of the value are secret. The key is the name of a field or the number of an item.
    Below(BTreeMap<String, Mask>),
}

/// The secret parts of two versions of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Masks {
    /// The mask of the earlier version.
    pub before: Option<Mask>,
    /// The mask of the later version.
    pub after: Option<Mask>,
    /// The numbers of the rules that matched in either version.
    pub rules: BTreeSet<usize>,
}

/// A rule and its number.
#[derive(Clone, Copy)]
struct Rule<'a> {
    number: usize,
    steps: &'a [Step],
}

/// The meaning of numbers in rules for the items of lists.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Numbers {
    /// A number matches the item at this position.
    Exact,
    /// A number matches every item, because items may have moved and a secret item must stay secret.
    Any,
}

/// Finds the secret parts of two versions of an object.
///
/// A number in a rule matches the item at this position in each version, as long as all items of the list have kept
/// their
/// positions. If an item moved, appeared or disappeared, the number matches every item of the list. The server merges
/// lists, so a secret value can be at another position, and it must not be shown there.
///
/// If a rule makes every item of a list or every field of an object secret, the whole list or object is secret.
/// Otherwise
/// its length or its names would be shown.
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
        // Both versions are lists, and items have moved.
        (Some(Value::Array(_)), Some(Value::Array(_))) => {
            (one(rules, before, Numbers::Any, found), one(rules, after, Numbers::Any, found))
        }
        _ => (one(rules, before, numbers, found), one(rules, after, numbers, found)),
    }
}

/// Finds the secret parts of one version on its own.
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

/// Returns [`Mask::Secret`] if a rule ends here, or if its last step makes the whole value secret. `is_last` decides,
/// and
/// gets `None` for a rule that ends here.
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

/// Returns `true` if each item of a list kept its position. Items are compared by a key that is not secret.
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

/// A view of a value through a mask.
#[derive(Clone, Copy, Debug)]
pub struct MaskedView<'a> {
    /// The value with its secrets. It must not be shown.
    value: &'a Value,
    mask: Option<&'a Mask>,
}

impl<'a> MaskedView<'a> {
    /// Makes the view of a value. Without a mask, the view hides nothing.
    pub(crate) fn new(value: &'a Value, mask: Option<&'a Mask>) -> Self {
        Self { value, mask }
    }

    /// Returns `true` if the whole value is secret.
    pub(crate) fn is_secret(self) -> bool {
        matches!(self.mask, Some(Mask::Secret))
    }

    /// Returns `true` if no part of the value is secret.
    pub(crate) fn is_open(self) -> bool {
        self.mask.is_none()
    }

    /// The value with its secrets. Callers may use its type and its names, but must not show it.
    pub(crate) fn value(self) -> &'a Value {
        self.value
    }

    /// The view of a field.
    pub(crate) fn field(self, name: &str) -> Option<Self> {
        Some(Self { value: self.value.get(name)?, mask: self.below(name) })
    }

    /// The views of the items. The result is empty if the value is not a list.
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

    /// Returns `true` if two values are equal apart from their secrets.
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

    /// The text that represents the value in comparisons. Two values have the same text if and only if they are alike.
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
