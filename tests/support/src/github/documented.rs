//! GitHub's own description of its API, as a judge of the requests that the fake gets and of the answers that it gives.
//!
//! `tests/openapi/github.json` has the operations that ktor uses. `tests/openapi/slice` cuts it out of the published
//! description. The GraphQL API is not a part of that description.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde::Deserialize;
use serde_json::{Value, json};

const DESCRIPTION: &str = include_str!("../../../openapi/github.json");

/// The statuses of answers that every operation can have, although few descriptions name them all.
const GENERAL: [u16; 3] = [401, 403, 404];

/// The described operations.
pub struct Documented {
    operations: Vec<Operation>,
    examples: BTreeMap<String, Value>,
}

/// One described operation.
pub struct Operation {
    /// The name that GitHub gives it, for example `issues/create-comment`.
    pub id: String,
    method: String,
    path: String,
    query: BTreeMap<String, Validator>,
    body: Option<Validator>,
    status: u16,
    answer: Validator,
    example: String,
    errors: BTreeMap<u16, Validator>,
}

#[derive(Deserialize)]
struct Description {
    operations: BTreeMap<String, Described>,
    schemas: Value,
    examples: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Described {
    id: String,
    query: BTreeMap<String, Value>,
    body: Option<Value>,
    status: u16,
    answer: Value,
    example: String,
    errors: BTreeMap<u16, Value>,
}

impl Documented {
    /// Returns the description of github.com.
    pub fn github() -> &'static Self {
        static GITHUB: OnceLock<Documented> = OnceLock::new();
        GITHUB.get_or_init(|| {
            let Description { operations, schemas, examples } =
                serde_json::from_str(DESCRIPTION).expect("the description");
            let validator = |schema: Value| {
                // The references of a schema are relative to the whole document.
                let schema = json!({"allOf": [schema], "schemas": schemas});
                jsonschema::validator_for(&schema).expect("a schema")
            };
            let operation = |(name, described): (String, Described)| {
                let (method, path) = name.split_once(' ').expect("a method and a path");
                let Described { id, query, body, status, answer, example, errors } = described;
                Operation {
                    id,
                    method: method.to_owned(),
                    path: path.to_owned(),
                    query: query.into_iter().map(|(name, schema)| (name, validator(schema))).collect(),
                    body: body.map(validator),
                    status,
                    answer: validator(answer),
                    example,
                    errors: errors.into_iter().map(|(status, schema)| (status, validator(schema))).collect(),
                }
            };
            Self { operations: operations.into_iter().map(operation).collect(), examples }
        })
    }

    /// Finds the operation of a request, and checks its query and its body. `path` has no base path.
    ///
    /// # Errors
    ///
    /// The description has no such operation, no such parameter, or no such field in the body.
    pub fn operation(&self, method: &str, path: &str, body: &str) -> Result<&Operation, String> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let meant = |operation: &&Operation| operation.method == method && operation.has_path(path);
        // A fixed segment counts more than a parameter in its place.
        let operation =
            self.operations.iter().filter(meant).min_by_key(|operation| operation.path.matches('{').count());
        let operation = operation.ok_or_else(|| format!("{method} {path} is not a documented operation"))?;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
            let schema = operation.query.get(name);
            let schema = schema.ok_or_else(|| format!("{} has no query parameter {name}", operation.id))?;
            // Numbers and flags are texts in a query.
            let value = text.parse::<Value>().ok().filter(|value| schema.is_valid(value));
            checked(&operation.id, schema, &value.unwrap_or_else(|| json!(text)))?;
        }
        match (&operation.body, body) {
            (_, "") => {}
            (None, _) => return Err(format!("{} takes no body", operation.id)),
            (Some(schema), body) => {
                let body: Value = serde_json::from_str(body).map_err(|error| format!("{}: {error}", operation.id))?;
                checked(&operation.id, schema, &body)?;
            }
        }
        Ok(operation)
    }

    /// Completes an answer with the fields of the documented example that it does not have.
    pub fn completed(&self, operation: &Operation, answer: Value) -> Value {
        match self.examples.get(&operation.example) {
            Some(example) => over(example, answer),
            None => answer,
        }
    }
}

impl Operation {
    /// Checks the status and the body of an answer.
    ///
    /// # Errors
    ///
    /// The description says something else.
    pub fn check_answer(&self, status: u16, answer: &Value) -> Result<(), String> {
        if status == self.status {
            return checked(&format!("the answer of {}", self.id), &self.answer, answer);
        }
        match self.errors.get(&status) {
            Some(schema) => checked(&format!("the answer {status} of {}", self.id), schema, answer),
            None if GENERAL.contains(&status) && answer["message"].is_string() => Ok(()),
            None => Err(format!("{} has no answer {status}", self.id)),
        }
    }

    fn has_path(&self, path: &str) -> bool {
        let (stated, asked): (Vec<_>, Vec<_>) = (self.path.split('/').collect(), path.split('/').collect());
        let fits = |(stated, asked): (&&str, &&str)| stated == asked || (stated.starts_with('{') && !asked.is_empty());
        stated.len() == asked.len() && stated.iter().zip(&asked).all(fits)
    }
}

fn checked(name: &str, schema: &Validator, value: &Value) -> Result<(), String> {
    let wrong: Vec<String> =
        schema.iter_errors(value).map(|error| format!("{}: {}", error.instance_path(), error.masked())).collect();
    if wrong.is_empty() { Ok(()) } else { Err(format!("{name} is not as documented: {}", wrong.join("; "))) }
}

/// Returns a value with the fields of an example that it does not have.
fn over(example: &Value, value: Value) -> Value {
    match (example, value) {
        (Value::Object(example), Value::Object(value)) => {
            let mut fields = example.clone();
            for (name, value) in value {
                let value = example.get(&name).map_or(value.clone(), |example| over(example, value));
                fields.insert(name, value);
            }
            Value::Object(fields)
        }
        (Value::Array(examples), Value::Array(items)) => match examples.first() {
            Some(example) => items.into_iter().map(|item| over(example, item)).collect(),
            None => Value::Array(items),
        },
        (_, value) => value,
    }
}
