//! Checks a custom resource against the schema in its CRD's manifest, before a server knows that schema.
//!
//! The check refuses only what a server certainly refuses: unknown fields, wrong types, missing required fields, values
//! outside an enum or limits, and forbidden nulls. Rules, formats, patterns and combined schemas are left to the
//! server.

use serde_json::{Map, Value};

use crate::object::ident::split_api_version;

/// The reason why an object does not fit the schema of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// The CRD does not serve the object's version.
    Version {
        /// The object's version.
        wanted: String,
        /// The versions that the CRD serves.
        served: Vec<String>,
    },
    /// A field, and the error in it.
    Field(String),
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Version { wanted, served } => write!(f, "it serves {} and not {wanted}", served.join(", ")),
            Self::Field(text) => f.write_str(text),
        }
    }
}

/// The schema that a CRD has for an object's version; `None` if the version has no schema. It is an error if the CRD
/// does not serve the version.
fn schema_for<'a>(definition: &'a Value, body: &Value) -> Result<Option<&'a Value>, Misfit> {
    let (_, version) = split_api_version(body.get("apiVersion").and_then(Value::as_str).unwrap_or_default());
    let versions = definition.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten();
    let served: Vec<&Value> = versions.filter(|one| one.get("served").and_then(Value::as_bool) == Some(true)).collect();
    let name = |one: &Value| one.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    match served.iter().find(|one| name(one) == version) {
        Some(found) => Ok(found.pointer("/schema/openAPIV3Schema")),
        None => {
            let (wanted, served) = (version.to_owned(), served.into_iter().map(name).collect());
            Err(Misfit::Version { wanted, served })
        }
    }
}

/// Returns `true` if two states of a CRD have the same rules for an object's version. Rules are what [`check`] leaves
/// to the server.
pub(crate) fn has_same_rules(one: &Value, other: &Value, body: &Value) -> bool {
    let rules = |definition| {
        let mut found = Vec::new();
        if let Ok(Some(schema)) = schema_for(definition, body) {
            rules_of(schema, &mut Vec::new(), &mut found);
        }
        found
    };
    rules(one) == rules(other)
}

/// Collects the rules of a schema besides types, fields and limits, each with its place.
fn rules_of<'a>(schema: &'a Value, path: &mut Vec<String>, found: &mut Vec<(String, &'a str, &'a Value)>) {
    const RULES: [&str; 10] = [
        "x-kubernetes-validations",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "pattern",
        "format",
        "multipleOf",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
    ];
    found.extend(RULES.iter().filter_map(|rule| Some((path.concat(), *rule, schema.get(rule)?))));
    let fields = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let fields = fields.map(|(name, schema)| (format!(".{name}"), schema));
    let inner = [("[]", "items"), ("{}", "additionalProperties")];
    let inner = inner.iter().filter_map(|(name, field)| Some(((*name).to_owned(), schema.get(field)?)));
    for (name, schema) in fields.chain(inner) {
        path.push(name);
        rules_of(schema, path, found);
        path.pop();
    }
}

/// Checks an object against its CRD.
///
/// # Errors
///
/// Returns the first field that no server with this CRD accepts, or the object's version if the CRD does not serve it.
pub(crate) fn check(definition: &Value, body: &Value) -> Result<(), Misfit> {
    let Some(schema) = schema_for(definition, body)? else { return Ok(()) };
    fits(schema, body, &mut Vec::new(), Level::Object).map_err(Misfit::Field)
}

/// The level of a value: a whole object, which has the fields that every kind has, or a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Object,
    Field,
}

/// The fields of every object that no schema has to declare.
const EVERYWHERE: [&str; 3] = ["apiVersion", "kind", "metadata"];

fn fits(schema: &Value, value: &Value, path: &mut Vec<String>, level: Level) -> Result<(), String> {
    let flag = |name: &str| schema.get(name).and_then(Value::as_bool).unwrap_or_default();
    let wrong = |path: &[String], what: &str| Err(format!("{}: {what}", shown(path)));
    if value.is_null() {
        let is_allowed = flag("nullable") || schema.get("default").is_some() || schema.get("type").is_none();
        return if is_allowed { Ok(()) } else { wrong(path, "null is not allowed here: leave the field out") };
    }
    if flag("x-kubernetes-int-or-string") {
        return if value.is_string() || is_integer(value) { Ok(()) } else { wrong(path, "not an integer or a string") };
    }
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    let is_of_type = match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => is_integer(value),
        "number" => value.is_number(),
        _ => true,
    };
    if !is_of_type {
        return wrong(path, &format!("{} where the schema wants {kind}", type_of(value)));
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.iter().any(|one| same(one, value))
    {
        let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        return wrong(path, &format!("not one of {}", allowed.join(", ")));
    }
    match value {
        Value::Object(fields) => map_fits(schema, fields, path, level),
        Value::Array(items) => list_fits(schema, items, path),
        Value::String(text) => {
            let length = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
            within(schema, ["minLength", "maxLength"], length)
                .or_else(|what| wrong(path, &format!("{what} characters")))
        }
        Value::Number(_) => number_fits(schema, value).or_else(|what| wrong(path, &what)),
        Value::Null | Value::Bool(_) => Ok(()),
    }
}

fn map_fits(schema: &Value, fields: &Map<String, Value>, path: &mut Vec<String>, level: Level) -> Result<(), String> {
    let flag = |name: &str| schema.get(name).and_then(Value::as_bool).unwrap_or_default();
    let declared = schema.get("properties").and_then(Value::as_object).filter(|declared| !declared.is_empty());
    let others = schema.get("additionalProperties");
    let is_object = level == Level::Object || flag("x-kubernetes-embedded-resource");
    // A map without any declared field accepts any field. So does a map in which the server preserves unknown fields.
    let is_open = flag("x-kubernetes-preserve-unknown-fields")
        || declared.is_none() && others.is_none()
        || others.and_then(Value::as_bool) == Some(true);
    let named = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    for name in named.filter(|name| !(is_object && EVERYWHERE.contains(name))) {
        let has_default = declared.and_then(|declared| declared.get(name)?.get("default")).is_some();
        if !fields.contains_key(name) && !has_default {
            return Err(format!("{}.{name}: required and missing", prefix(path)));
        }
    }
    for (name, value) in fields.iter().filter(|(name, _)| !(is_object && EVERYWHERE.contains(&name.as_str()))) {
        path.push(format!(".{name}"));
        match (declared.and_then(|declared| declared.get(name)), others.filter(|others| others.is_object())) {
            (Some(schema), _) | (None, Some(schema)) => fits(schema, value, path, Level::Field)?,
            (None, None) if is_open => {}
            (None, None) => return Err(format!("{}: the schema has no such field", shown(path))),
        }
        path.pop();
    }
    let count = u64::try_from(fields.len()).unwrap_or(u64::MAX);
    within(schema, ["minProperties", "maxProperties"], count).map_err(|what| format!("{}: {what} fields", shown(path)))
}

fn list_fits(schema: &Value, items: &[Value], path: &mut Vec<String>) -> Result<(), String> {
    let count = u64::try_from(items.len()).unwrap_or(u64::MAX);
    within(schema, ["minItems", "maxItems"], count).map_err(|what| format!("{}: {what} items", shown(path)))?;
    let Some(schema) = schema.get("items") else { return Ok(()) };
    for (index, item) in items.iter().enumerate() {
        path.push(format!("[{index}]"));
        fits(schema, item, path, Level::Field)?;
        path.pop();
    }
    Ok(())
}

fn number_fits(schema: &Value, value: &Value) -> Result<(), String> {
    let flag = |name: &str| schema.get(name).and_then(Value::as_bool).unwrap_or_default();
    let (Some(number), limit) = (value.as_f64(), |name: &str| schema.get(name).and_then(Value::as_f64)) else {
        return Ok(());
    };
    match (limit("minimum"), limit("maximum")) {
        (Some(least), _) if number < least || (flag("exclusiveMinimum") && number <= least) => {
            Err(format!("less than {least} allows"))
        }
        (_, Some(most)) if number > most || (flag("exclusiveMaximum") && number >= most) => {
            Err(format!("more than {most} allows"))
        }
        _ => Ok(()),
    }
}

fn within(schema: &Value, [least, most]: [&str; 2], count: u64) -> Result<(), String> {
    let limit = |name: &str| schema.get(name).and_then(Value::as_u64);
    match (limit(least), limit(most)) {
        (Some(least), _) if count < least => Err(format!("fewer than {least}")),
        (_, Some(most)) if count > most => Err(format!("more than {most}")),
        _ => Ok(()),
    }
}

/// A server accepts 1.0 as an integer.
fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn same(one: &Value, other: &Value) -> bool {
    one == other || one.as_f64().zip(other.as_f64()).is_some_and(|(one, other)| one.total_cmp(&other).is_eq())
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn prefix(path: &[String]) -> String {
    path.concat()
}

fn shown(path: &[String]) -> String {
    if path.is_empty() { ".".to_owned() } else { prefix(path) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn definition() -> Value {
        json!({"spec": {"versions": [{"name": "v1", "served": true, "schema": {"openAPIV3Schema": {"type": "object",
            "properties": {"spec": {"type": "object", "required": ["size"], "properties": {
                "size": {"type": "integer", "minimum": 1, "maximum": 9},
                "port": {"x-kubernetes-int-or-string": true},
                "mode": {"type": "string", "enum": ["a", "b"], "maxLength": 3},
                "tags": {"type": "object", "additionalProperties": {"type": "string"}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "empty": {"type": "object"},
                "items": {"type": "array", "maxItems": 2, "items": {"type": "object",
                    "properties": {"id": {"type": "string"}}}},
                "none": {"type": "string", "nullable": true},
                "filled": {"type": "string", "default": "x"}}}}}}},
            {"name": "v2", "served": false}]}})
    }

    /// Each case was sent to a real server with this CRD. The server refused it if a field is given here.
    #[test]
    fn r2_the_schema_refuses_what_the_server_refuses_and_nothing_else() {
        let check = |spec: Value| {
            check(
                &definition(),
                &json!({"apiVersion": "w.dev/v1", "kind": "Till",
            "metadata": {"name": "t"}, "spec": spec}),
            )
            .map_err(|misfit| misfit.to_string())
        };
        for (spec, field) in [
            (json!({"size": 1}), None),
            (json!({"size": 1.0}), None),
            (json!({"size": 1, "free": {"a": 1}, "empty": {"a": 1}, "none": null, "filled": null}), None),
            (json!({"size": 1, "port": "x", "tags": {"a": "1"}, "items": [{"id": "x"}, {}]}), None),
            (json!({"size": 1.5}), Some(".spec.size: number where")),
            (json!({"size": "1"}), Some(".spec.size: string where")),
            (json!({"size": 0}), Some(".spec.size: less than 1")),
            (json!({"size": 10}), Some(".spec.size: more than 9")),
            (json!({}), Some(".spec.size: required")),
            (json!({"size": 1, "bogus": 1}), Some(".spec.bogus: the schema has no such field")),
            (json!({"size": 1, "port": true}), Some(".spec.port: not an integer or a string")),
            (json!({"size": 1, "port": 1.5}), Some(".spec.port: not an integer or a string")),
            (json!({"size": 1, "mode": "c"}), Some(".spec.mode: not one of \"a\", \"b\"")),
            (json!({"size": 1, "mode": null}), Some(".spec.mode: null is not allowed")),
            (json!({"size": 1, "tags": {"a": 1}}), Some(".spec.tags.a: number where")),
            (json!({"size": 1, "tags": {"a": null}}), Some(".spec.tags.a: null")),
            (json!({"size": 1, "items": [{"id": "x", "m": 1}]}), Some(".spec.items[0].m: the schema has no such")),
            (json!({"size": 1, "items": [null]}), Some(".spec.items[0]: null")),
            (json!({"size": 1, "items": [{}, {}, {}]}), Some(".spec.items: more than 2 items")),
            (json!({"size": 1, "items": {}}), Some(".spec.items: object where")),
            (json!(null), Some(".spec: null")),
            (json!([]), Some(".spec: array where")),
        ] {
            match (check(spec.clone()), field) {
                (Ok(()), None) => {}
                (Err(told), Some(field)) if told.starts_with(field) => {}
                (told, _) => panic!("{spec}: {told:?}"),
            }
        }
    }

    #[test]
    fn r2_a_version_that_the_crd_does_not_serve_and_a_field_beside_spec_are_named() {
        let body = |version: &str| json!({"apiVersion": format!("w.dev/{version}"), "spec": {"size": 1}});
        assert_eq!(
            check(&definition(), &body("v2")),
            Err(Misfit::Version { wanted: "v2".to_owned(), served: vec!["v1".to_owned()] })
        );
        let mut beside = body("v1");
        beside["other"] = json!(1);
        assert_eq!(check(&definition(), &beside).unwrap_err().to_string(), ".other: the schema has no such field");
    }

    proptest! {
        /// For any values, a field passes if it is declared with the type of its value, and is refused under another
        /// name.
        #[test]
        fn r2_what_is_declared_passes_and_what_is_not_is_named(
            fields in proptest::collection::btree_map("[a-d]{1,3}", 0..4_u8, 0..5),
            extra in "[e-h]{1,3}",
        ) {
            let value = |kind: u8| [json!("x"), json!(3), json!(true), json!([{"x": 1}])][usize::from(kind)].clone();
            let schema = |kind: u8| {
                let list = json!({"type": "array", "items": {"type": "object", "properties": {"x": {"type": "integer"}}}});
                [json!({"type": "string"}), json!({"type": "integer"}), json!({"type": "boolean"}), list]
                    [usize::from(kind)].clone()
            };
            let declared: Map<String, Value> = fields.iter().map(|(name, kind)| (name.clone(), schema(*kind))).collect();
            let filled: Map<String, Value> = fields.iter().map(|(name, kind)| (name.clone(), value(*kind))).collect();
            let crd = json!({"spec": {"versions": [{"name": "v1", "served": true, "schema": {"openAPIV3Schema":
                {"type": "object", "properties": {"spec": {"type": "object", "properties": declared}}}}}]}});
            let mut body = json!({"apiVersion": "w.dev/v1", "spec": filled});
            prop_assert_eq!(check(&crd, &body), Ok(()));
            if !fields.is_empty() {
                body["spec"][&extra] = json!(1);
                let told = check(&crd, &body).unwrap_err().to_string();
                let expected = format!(".spec.{extra}: ");
                prop_assert!(told.starts_with(&expected), "{}", told);
            }
        }
    }
}
