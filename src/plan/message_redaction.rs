//! Redaction of the server's messages in a plan. A plan shows only the important words, and for some objects it shows
//! nothing that the server quoted.

use std::collections::BTreeSet;

use serde_json::Value;

use super::change::Change;
use super::decision::{Blocked, Create, Decision, Keep, Unknown};
use super::observed::{Lookup, Observed};
use crate::object::ident::ObjectKey;
use crate::object::live::Live;
use crate::object::manifest::Manifest;
use crate::object::mark::{Ownership, Root, managed_fields};
use crate::object::redact::{Adopted, Redactor};
use crate::object::refusal::{FieldConflict, Refusal};
use crate::object::server_message::{bare, readable};

/// Redacts the server's message in the decision about an object.
///
/// If an object has secrets, or is not owned by this root and the redactor hides adopted objects, nothing that the
/// server quotes is shown. Removing only the secret words would tell which words are secret.
pub(crate) fn put(change: &mut Change, observed: &Observed, desired: Option<&Value>, root: &Root, redactor: &Redactor) {
    let key = &change.ident.key;
    let words = |text: &str| told(text, key, observed, desired, root, redactor);
    let put = |refusal: &mut Refusal, is_about_its_fields: bool| {
        *refusal = refusal
            .clone()
            .map_message(|text| if is_about_its_fields { words(text) } else { readable(text, &key.name) });
    };
    match &mut change.decision {
        Decision::Replace(refusal)
        | Decision::Keep(Keep::Irreplaceable(refusal, _) | Keep::ReplacementWithheld(refusal, _)) => put(refusal, true),
        Decision::Blocked(Blocked::Refused(refused)) => {
            // These messages are about finding or reading an object.
            let is_about_its_fields = !matches!(
                refused.refusal,
                Refusal::NoNamespace(_)
                    | Refusal::Absent(_)
                    | Refusal::NoKind(_)
                    | Refusal::NoVersion(_)
                    | Refusal::Terminating(_)
                    | Refusal::Unavailable(_)
            );
            put(&mut refused.refusal, is_about_its_fields);
        }
        Decision::Create(Create::AfterItsEnd(holders)) => {
            for holder in holders {
                *holder = readable(holder, &key.name);
            }
        }
        Decision::Blocked(Blocked::Unknown(Unknown::Message(text)))
        | Decision::Keep(Keep::Unknown(Unknown::Message(text))) => *text = readable(text, &key.name),
        _ => {}
    }
}

/// The server's message about a request, as far as it may be shown for the object.
fn told(
    text: &str,
    key: &ObjectKey,
    observed: &Observed,
    desired: Option<&Value>,
    root: &Root,
    redactor: &Redactor,
) -> String {
    let live = observed.live(key);
    let is_ours = match (observed.looks.get(key), observed.owner(key, root)) {
        (_, Some(owner)) => matches!(owner, Ownership::Ours(_)),
        (Some(Lookup::Unknown(_)), None) => false,
        _ => true,
    };
    let bodies: Vec<&Value> = live.map(|live| &live.body).into_iter().chain(desired).collect();
    let is_guarded = redactor.has_secrets(&key.kind, &bodies) || !(is_ours || redactor.adopted() == Adopted::Shown);
    if is_guarded { bare(text) } else { readable(text, &key.name) }
}

/// A conflict in which all secret fields of one place count as one field. A list of the contested secret fields would
/// tell which guesses about them are wrong.
pub(crate) fn folded(refusal: &Refusal, live: Option<&Live>, manifest: &Manifest, redactor: &Redactor) -> Refusal {
    let Refusal::Conflict(contested) = refusal else { return refusal.clone() };
    let places = redactor.secrets(&manifest.ident.key.kind, live.map(|live| &live.body), Some(&manifest.body)).places;
    let place_of = |contested: &FieldConflict| {
        let field = general(contested.field.trim_start_matches('.'));
        places.iter().find(|place| {
            let below = field.strip_prefix(general(place).as_str());
            below.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    };
    let mut told: Vec<FieldConflict> = Vec::new();
    for one in contested {
        let one = match place_of(one) {
            Some(place) => FieldConflict { field: format!(".{place}"), manager: managers(place, live) },
            None => one.clone(),
        };
        if !told.contains(&one) {
            told.push(one);
        }
    }
    Refusal::Conflict(told)
}

/// A path with `[*]` for each item.
fn general(path: &str) -> String {
    let mut general = String::new();
    let mut depth = 0_usize;
    for character in path.chars() {
        match character {
            '[' => {
                if depth == 0 {
                    general.push_str("[*]");
                }
                depth += 1;
            }
            ']' => depth = depth.saturating_sub(1),
            character if depth == 0 => general.push(character),
            _ => {}
        }
    }
    general
}

/// The names of all managers that own any field below the first part of a place.
fn managers(place: &str, live: Option<&Live>) -> String {
    let first = place.split(['.', '[']).next().unwrap_or_default();
    let field = format!("f:{first}");
    let holders = live
        .into_iter()
        .flat_map(managed_fields)
        .filter(|entry| entry.pointer("/fieldsV1").is_some_and(|fields| fields.get(&field).is_some()));
    let holders: BTreeSet<&str> = holders.filter_map(|entry| entry.get("manager")?.as_str()).collect();
    if holders.is_empty() { "another manager".to_owned() } else { holders.into_iter().collect::<Vec<_>>().join(" or ") }
}
