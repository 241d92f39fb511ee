//! Shortens and cleans messages of the API server about one object, for use in reports.

/// The words that the server puts before a rejected value.
const COMPLAINTS: [&str; 9] = [
    "Invalid value",
    "Unsupported value",
    "Duplicate value",
    "Required value",
    "Forbidden",
    "Too long",
    "Too many",
    "Not found",
    "Internal error",
];

/// The words with which the server says that a field cannot be changed.
const FIXED: [&str; 5] = [
    "field is immutable",
    "may not change once set",
    "is immutable after creation",
    "may not be changed in an update",
    "pod updates may not change fields",
];

/// The prefix of the generated names that are used for dry-run creates.
pub(crate) const PROBE: &str = "ktor-probe-";

/// The text that replaces a message which cannot be shown.
const WITHHELD: &str = "the server's message is not shown, because it may contain secrets or data of other owners";

/// The highest number of complaints about one object that are shown. The others are counted.
const MOST_COMPLAINTS: usize = 5;

/// The longest value that is shown with a complaint, in bytes.
const LONGEST_VALUE: usize = 60;

/// Formats the causes of a refusal as one sentence. A cause is a field and a message about it. Returns `None` if no
/// cause names a field.
pub(crate) fn complaints<'a>(causes: impl Iterator<Item = (&'a str, &'a str)>) -> Option<String> {
    let mut told: Vec<String> = Vec::new();
    for (field, message) in causes.filter(|(field, _)| !field.is_empty()) {
        let line = format!("{field}: {}", without_dumps(message));
        if !told.contains(&line) {
            told.push(line);
        }
    }
    let more = told.len().saturating_sub(MOST_COMPLAINTS);
    told.truncate(MOST_COMPLAINTS);
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    (!told.is_empty()).then(|| told.join("; "))
}

/// Removes Go and JSON dumps of objects from a message. Also removes what differs between two identical requests:
/// generated names, addresses, and numbers that depend on other objects.
pub(crate) fn readable(text: &str, name: &str) -> String {
    let text = without_dumps(&with_own_name(text, name));
    let text = without(&text, ", used: ", quota_end);
    let text = without(&text, ", limited: ", quota_end);
    let text = without(&text, " has ", |rest| counted(rest, " resource instances"));
    let text = without(&text, " in ", |rest| counted(rest, " resource instances"));
    ["dial", "read", "write"].iter().fold(text, |text, verb| without(&text, &format!("{verb} tcp "), address_end))
}

/// Reduces a message to the rejected fields and the name of the component that refuses. The result contains no values.
/// It is for objects that have secrets or are not ours. Replacing only the secret values would not be enough, because a
/// gap in a message can confirm a guess.
pub(crate) fn bare(text: &str) -> String {
    if let Some(denied) = denied(text).or_else(|| forbidden(text)) {
        return denied;
    }
    let quoteless = quoteless(text);
    let mut told: Vec<String> = Vec::new();
    for (at, complaint) in found(&quoteless) {
        let field = quoteless[..at].rsplit(char::is_whitespace).next().unwrap_or_default();
        let is_path = |c: char| c.is_ascii_alphanumeric() || "._-/[]*~\"'".contains(c);
        if !field.is_empty() && field.chars().all(is_path) {
            let line = format!("{}: {complaint}", without_keys(field.trim_start_matches('[')));
            if !told.contains(&line) {
                told.push(line);
            }
        }
    }
    // The server's messages about fields that cannot be changed differ by kind.
    if told.is_empty() {
        told.extend(FIXED.iter().filter(|fixed| quoteless.contains(*fixed)).map(ToString::to_string).take(1));
    }
    if told.is_empty() { WITHHELD.to_owned() } else { format!("{}; values are not shown", told.join("; ")) }
}

/// Lists every complaint in a text, with the position of the colon before it.
fn found(text: &str) -> Vec<(usize, &'static str)> {
    let schema = ["field not declared in schema", "duplicate entries for key", "expected "];
    let all = COMPLAINTS.iter().chain(&FIXED).chain(&schema).copied();
    let mut found: Vec<(usize, &str)> = all
        .flat_map(|complaint| {
            let places = text.match_indices(": ").map(|(at, _)| at);
            places.filter(move |at| text[at + 2..].starts_with(complaint)).map(move |at| (at, complaint))
        })
        .map(|(at, complaint)| (at, if complaint == "expected " { "not of the expected type" } else { complaint }))
        .collect();
    found.sort_unstable();
    found
}

/// The refusal by a webhook, policy or quota, for example `admission webhook "x" denied the request`. It does not
/// contain the message of the webhook itself.
fn denied(text: &str) -> Option<String> {
    let framed = |begin: &str, quote: char, end: &str| {
        let (_, rest) = text.split_once(begin)?;
        let (name, rest) = rest.split_once(quote)?;
        (is_name(name) && rest.contains(end)).then(|| format!("{begin}{name}{quote} {end}; its message is not shown"))
    };
    framed("admission webhook \"", '"', "denied the request")
        .or_else(|| framed("failed calling webhook \"", '"', "failed to call webhook"))
        .or_else(|| framed("ValidatingAdmissionPolicy '", '\'', "denied request"))
        .or_else(|| framed("violates PodSecurity \"", '"', ""))
        .or_else(|| {
            let (_, rest) = text.split_once("exceeded quota: ")?;
            let name = rest.split([',', ' ']).next().filter(|name| is_name(name))?;
            Some(format!("exceeded quota: {name}"))
        })
}

/// The refusal for missing rights, for example `User "x" cannot patch resource "secrets" in API group "" in the
/// namespace "y"`, or the message that an object is not found.
fn forbidden(text: &str) -> Option<String> {
    if let Some((_, rest)) = text.split_once(": User \"") {
        let end = ["at the cluster scope", "in the namespace \""].into_iter().find_map(|end| {
            let after = rest.find(end)? + end.len();
            let close = if end.ends_with('"') { rest[after..].find('"')? + 1 } else { 0 };
            Some(after + close)
        })?;
        return Some(format!("User \"{}", &rest[..end]));
    }
    let (kind, rest) = text.split_once(" \"")?;
    let (name, rest) = rest.split_once('"')?;
    (is_name(kind) && is_name(name) && rest == " not found").then(|| text.to_owned())
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-:/".contains(c))
}

/// The path of a field, with `[*]` instead of the keys and numbers of items.
fn without_keys(path: &str) -> String {
    let mut bare = String::new();
    let mut depth = 0;
    for character in path.chars() {
        match character {
            '[' => {
                depth += 1;
                if depth == 1 {
                    bare.push_str("[*]");
                }
            }
            ']' => depth -= 1,
            character if depth <= 0 => bare.push(character),
            _ => {}
        }
    }
    bare
}

/// The text with empty quotes instead of quoted texts.
fn quoteless(text: &str) -> String {
    let mut bare = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('"') {
        bare.push_str(&rest[..=at]);
        let quoted = quoted_end(&rest[at..]);
        bare.push('"');
        rest = &rest[at + quoted..];
    }
    bare + rest
}

/// The end of the quoted text at the start of `text`, including the quotes.
fn quoted_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// Replaces dumps in braces, together with the type name before them, and values that are too long by an ellipsis.
fn without_dumps(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '"']) {
        let before = &rest[..at];
        if rest[at..].starts_with('"') {
            let end = at + quoted_end(&rest[at..]);
            let is_value = COMPLAINTS.iter().any(|complaint| before.ends_with(&format!("{complaint}: ")));
            if is_value && end - at > LONGEST_VALUE {
                kept.push_str(before);
                kept.push('…');
            } else {
                kept.push_str(&rest[..end]);
            }
            rest = &rest[end..];
            continue;
        }
        let kind = before.rfind(|c: char| c.is_whitespace() || c == '"').map_or(0, |space| space + 1);
        // Templates and patterns have braces too. They are short and are not dumps.
        let end = at + balanced_end(&rest[at..]);
        let inside = &rest[at..end];
        let is_dump = inside[1..].contains([':', '"', '{']) || !inside.ends_with('}');
        if is_dump || before[kind..].contains(['.', '&', ']']) {
            kept.push_str(&before[..kind]);
            kept.push('…');
        } else {
            kept.push_str(&rest[..end]);
        }
        rest = &rest[end..];
    }
    kept.push_str(rest);
    // "Invalid value: …: reason" becomes just the reason.
    let kept = COMPLAINTS.iter().fold(kept, |kept, complaint| kept.replace(&format!("{complaint}: …: "), ""));
    let kept = kept.replace("(…)", "…");
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The end of the braces that open at the start of `text`, or the end of the text if they are not closed.
fn balanced_end(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(character) = text[at..].chars().next() {
        match character {
            '"' => {
                at += quoted_end(&text[at..]);
                continue;
            }
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += character.len_utf8();
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

fn with_own_name(text: &str, name: &str) -> String {
    let mut parts = text.split(PROBE);
    let mut told = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        told.push_str(name);
        told.push_str(part.trim_start_matches(|c: char| c.is_ascii_alphanumeric()));
    }
    told
}

/// Removes each part that starts with `begin`, together with the text after it whose length `length` returns. If
/// `length` returns `None`, the part stays.
fn without(text: &str, begin: &str, length: impl Fn(&str) -> Option<usize>) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(begin) {
        let after = at + begin.len();
        let taken = length(&rest[after..]);
        kept.push_str(&rest[..if taken.is_some() { at } else { after }]);
        rest = &rest[after + taken.unwrap_or_default()..];
    }
    kept + rest
}

/// The length of a text like `cpu=1,memory=2Gi`.
fn quota_end(rest: &str) -> Option<usize> {
    let end = rest.find(", ").or_else(|| rest.find([' ', ';'])).unwrap_or(rest.len());
    rest[..end].contains('=').then_some(end)
}

/// The length of a text like `3 resource instances`.
fn counted(rest: &str, noun: &str) -> Option<usize> {
    let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|digits| *digits > 0)?;
    rest[digits..].starts_with(noun).then_some(digits + noun.len())
}

/// The length of a text like `10.0.0.1:443: ` or `10.0.0.2:5000->10.0.0.1:443: `.
fn address_end(rest: &str) -> Option<usize> {
    let end = rest.find(": ").map(|end| end + 2)?;
    rest[..end].chars().all(|c| c.is_ascii_hexdigit() || ".:[]->% ".contains(c)).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r5_causes_are_told_without_the_dump_of_the_object() {
        let pod = "Invalid value: core.PodTemplateSpec{ObjectMeta:v1.ObjectMeta{Name:\"\", Labels:map[string]string{\"a\":\"}\"}}, \
                   Spec:core.PodSpec{Volumes:[]core.Volume(nil), Grace:(*int64)(0xc00a1b2c30)}}: field is immutable";
        let claim = "Forbidden: spec is immutable after creation except resources.requests\n  core.PersistentVolumeClaimSpec{\n \
                     \t... // 2 identical fields\n  Resources: {Requests: {s\"storage\": {i: resource.int64Amount{value: 1}}}},\n  }";
        for (field, message, expected) in [
            ("spec.template", pod, "spec.template: field is immutable"),
            ("spec", claim, "spec: Forbidden: spec is immutable after creation except resources.requests …"),
            (
                "spec.ports[0].port",
                "Invalid value: 80000: must be between 1 and 65535, inclusive",
                "spec.ports[0].port: Invalid value: 80000: must be between 1 and 65535, inclusive",
            ),
            (
                "spec.selector",
                "Invalid value: {\"matchLabels\":{\"app\":\"x: y\"}}: field is immutable",
                "spec.selector: field is immutable",
            ),
            ("spec.a", "Invalid value: \"short\": no", "spec.a: Invalid value: \"short\": no"),
            ("spec.b", "Invalid value: &core.PodTemplateSpec{ObjectMeta:v1.Obj", "spec.b: Invalid value: …"),
            ("spec.c", "Required value", "spec.c: Required value"),
        ] {
            assert_eq!(complaints([(field, message)].into_iter()).unwrap(), expected);
        }
        let long = format!("Invalid value: {:?}: too long", "x".repeat(200));
        assert_eq!(complaints([("a", long.as_str()), ("a", long.as_str())].into_iter()).unwrap(), "a: too long");
        let fields: Vec<String> = (0..9).map(|at| format!("f{at}")).collect();
        let many = complaints(fields.iter().map(|field| (field.as_str(), "Required value"))).unwrap();
        assert!(many.ends_with("f4: Required value; and 4 more"), "{many}");
        assert_eq!(complaints([("", "x")].into_iter()), None);
    }

    #[test]
    fn r5_no_generated_name_or_live_number_is_repeated() {
        for (text, expected) in [
            ("Service \"ktor-probe-qwp9t\" is invalid", "Service \"web\" is invalid"),
            (
                "pods \"ktor-probe-x\" is forbidden: exceeded quota: q, requested: cpu=2,memory=1Gi, used: cpu=3,memory=2Gi, \
                 limited: cpu=4,memory=9Gi",
                "pods \"web\" is forbidden: exceeded quota: q, requested: cpu=2,memory=1Gi",
            ),
            (
                "exceeded quota: q, requested: pods=1, used: pods=3, limited: pods=3",
                "exceeded quota: q, requested: pods=1",
            ),
            (
                "Some resources are remaining: pods. has 3 resource instances, secrets. has 12 resource instances",
                "Some resources are remaining: pods., secrets.",
            ),
            (
                "failed to call webhook: Post \"https://h.x.svc:443/a?timeout=10s\": dial tcp 10.96.1.7:443: connect: refused",
                "failed to call webhook: Post \"https://h.x.svc:443/a?timeout=10s\": connect: refused",
            ),
            ("read tcp 127.0.0.1:51514->10.0.0.1:443: i/o timeout", "i/o timeout"),
            ("he has 3 apples in 2 bags, used: all of them", "he has 3 apples in 2 bags, used: all of them"),
            ("pattern {a} and ${b} stay", "pattern {a} and ${b} stay"),
            (
                ".spec.port: expected string, got &value.valueUnstructured{Value:80}",
                ".spec.port: expected string, got …",
            ),
        ] {
            assert_eq!(readable(text, "web"), expected);
        }
    }

    #[test]
    fn x5_bare_words_name_fields_and_who_refuses_and_quote_nothing() {
        for (text, expected) in [
            (
                "data[.dockerconfigjson]: Invalid value: \"canary\": invalid character 'c' looking for beginning of value",
                "data[*]: Invalid value; values are not shown",
            ),
            (
                "Secret \"s\" is invalid: [metadata.labels: Invalid value: \"canary a: Forbidden\": no, data: Forbidden: immutable]",
                "metadata.labels: Invalid value; data: Forbidden; values are not shown",
            ),
            (
                "admission webhook \"a.b\" denied the request: canary",
                "admission webhook \"a.b\" denied the request; its message is not shown",
            ),
            (
                "x is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: canary",
                "ValidatingAdmissionPolicy 'p' denied request; its message is not shown",
            ),
            (
                "secrets \"s\" is forbidden: User \"ci\" cannot patch resource \"secrets\" in API group \"\" in the namespace \"x\": canary",
                "User \"ci\" cannot patch resource \"secrets\" in API group \"\" in the namespace \"x\"",
            ),
            ("spec.selector: field is immutable", "spec.selector: field is immutable; values are not shown"),
            ("canary may not change once set", "may not change once set; values are not shown"),
            ("exceeded quota: q, requested: secrets=1, used: secrets=3, limited: secrets=3", "exceeded quota: q"),
            ("namespaces \"x\" not found", "namespaces \"x\" not found"),
            (
                "failed to create typed patch object (x/s; v1, Kind=Secret): .data.k: expected string, got &value.valueUnstructured{Value:\"canary\"}",
                ".data.k: not of the expected type; values are not shown",
            ),
            ("anything else: canary", WITHHELD),
            ("canary", WITHHELD),
        ] {
            assert_eq!(bare(text), expected);
        }
    }
}
