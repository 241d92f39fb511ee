//! Searches the schemas of charts for references to other documents, which Helm would read from the network and from the
//! machine.

use std::path::Path;

use serde_json::Value;

use crate::project::snapshot::{SourceError, SourcePlace};

/// The file with the schema of a chart's values.
pub(super) const SCHEMA_FILE: &str = "values.schema.json";

/// The fields that refer to a schema.
const REFERENCES: [&str; 4] = ["$ref", "$dynamicRef", "$recursiveRef", "$schema"];

/// The addresses of the schemas that every validator knows.
const KNOWN: [&str; 2] = ["http://json-schema.org/", "https://json-schema.org/"];

/// The greatest depth of a schema. Values below are not searched, and no reader accepts them.
const MOST_DEPTH: usize = 128;

/// Returns the error of the first reference that leads out of a schema.
pub(super) fn outside(path: &Path, bytes: &[u8]) -> Option<SourceError> {
    // Helm itself reports a schema that is not JSON.
    let schema: Value = serde_json::from_slice(bytes).ok()?;
    let (mut own, mut references) = (Vec::new(), Vec::new());
    collect(&schema, 0, &mut own, &mut references);
    let is_inside = |reference: &&str| {
        let document = reference.split('#').next().unwrap_or_default();
        document.is_empty()
            || KNOWN.iter().any(|known| document.starts_with(known))
            || own.iter().any(|id| id.split('#').next() == Some(document))
    };
    let reference = references.into_iter().find(|reference| !is_inside(reference))?;
    let shown: String = reference.chars().take(200).flat_map(char::escape_debug).collect();
    let message = format!(
        "the schema refers to {shown}, which Helm would read from elsewhere: copy it into the schema, or set `schema: false` \
         for the release"
    );
    Some(SourceError::new(place_of(path, bytes, reference), message))
}

fn collect<'a>(value: &'a Value, depth: usize, own: &mut Vec<&'a str>, references: &mut Vec<&'a str>) {
    if depth > MOST_DEPTH {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if REFERENCES.contains(&name.as_str()) => references.push(text),
                    Value::String(text) if name == "$id" || name == "id" => own.push(text),
                    _ => collect(value, depth + 1, own, references),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, depth + 1, own, references)),
        _ => {}
    }
}

fn place_of(path: &Path, bytes: &[u8], reference: &str) -> SourcePlace {
    let text = String::from_utf8_lossy(bytes);
    let quoted = Value::from(reference).to_string();
    match text.find(&quoted) {
        Some(start) => {
            let before = &text[..start];
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            SourcePlace::new(path, before.matches('\n').count() + 1, column)
        }
        None => SourcePlace::whole(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(schema: &str) -> Option<String> {
        outside(Path::new("c/values.schema.json"), schema.as_bytes()).map(|error| error.to_string())
    }

    #[test]
    fn k3_references_to_other_documents_are_refused_at_their_place() {
        for reference in [
            "https://example.com/x.json",
            "http://127.0.0.1:1/x",
            "file:///etc/passwd",
            "file:///values.schema.json#/x",
            "other.json#/definitions/a",
            "../x",
            "urn:x",
        ] {
            let error = found(&format!("{{\"properties\":\n {{\"a\": {{\"$ref\": \"{reference}\"}}}}}}")).unwrap();
            let expected =
                format!("c/values.schema.json:2:17: the schema refers to {reference}, which Helm would read");
            assert!(error.starts_with(&expected), "{error}");
        }
        assert!(found(r#"{"$schema": "https://example.com/s"}"#).is_some());
        assert!(found(r#"{"allOf": [{"not": {"$dynamicRef": "https://x"}}]}"#).is_some());
    }

    #[test]
    fn k3_references_within_the_schema_and_to_known_schemas_are_fine() {
        for schema in [
            r##"{"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#/definitions/a"}"##,
            r##"{"$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": "#"}"##,
            r#"{"$id": "https://x/y", "$ref": "https://x/y#/definitions/a"}"#,
            r#"{"properties": {"$ref": {"type": "string"}}}"#,
            "not json",
        ] {
            assert_eq!(found(schema), None, "{schema}");
        }
    }
}
