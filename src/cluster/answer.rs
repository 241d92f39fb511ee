//! The meaning of the server's answers: refusals of a request about one object, and reads that failed.

use http::StatusCode;
use serde_json::Value;

use super::path::Target;
use super::transport::{ApiAnswer, SendError};
use crate::object::live::Live;
use crate::object::read_error::ReadError;
use crate::object::refusal::{FieldConflict, Refusal};
use crate::object::server_message::complaints;

/// The body of an answer that is a `Status` object.
#[derive(Debug)]
pub(super) struct Status {
    body: Value,
}

impl Status {
    fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// The server's message.
    pub(super) fn message(&self) -> &str {
        self.text("/message")
    }

    fn causes(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.body.pointer("/details/causes").and_then(Value::as_array).into_iter().flatten().map(|cause| {
            let text = |field| cause.get(field).and_then(Value::as_str).unwrap_or_default();
            (text("reason"), text("field"), text("message"))
        })
    }
}

impl ApiAnswer {
    /// The body as JSON. Returns `None` if it is not JSON.
    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The body as a `Status`. Returns `None` for anything else, for example the HTML page of a proxy.
    pub(super) fn status_body(&self) -> Option<Status> {
        self.json()
            .filter(|body| body.get("kind").and_then(Value::as_str) == Some("Status"))
            .map(|body| Status { body })
    }

    /// The server's message on one line of at most 2,000 characters. Without a `Status`, this is the body. Without any
    /// text, it names the HTTP status.
    pub(super) fn words(&self) -> String {
        let text = match self.status_body() {
            Some(status) if !status.message().is_empty() => status.message().to_owned(),
            Some(_) => String::new(),
            None => String::from_utf8_lossy(&self.body).into_owned(),
        };
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        match (text.is_empty(), text.char_indices().nth(2_000)) {
            (true, _) => format!("the server answered {}", self.status),
            (false, None) => text,
            (false, Some((end, _))) => format!("{}…", &text[..end]),
        }
    }

    /// The reason why a retry after this 500 cannot help. Returns `None` if it may help.
    fn finality(&self) -> Option<Final> {
        let status = self.status_body().filter(|_| self.status == StatusCode::INTERNAL_SERVER_ERROR)?;
        Final::of(status.message())
    }

    /// Returns `true` if the server called a webhook and the webhook did not answer. Nothing was persisted then.
    fn is_webhooks_failure(&self) -> bool {
        self.status == StatusCode::INTERNAL_SERVER_ERROR
            && self.status_body().is_some_and(|status| status.message().contains("failed calling webhook"))
    }

    /// Returns `true` if the answer shows the effect of the request. Other server errors may hide a write that took
    /// effect or will take effect.
    pub(super) fn is_definite(&self) -> bool {
        !self.status.is_server_error() || self.finality().is_some() || self.is_webhooks_failure()
    }

    /// Returns `true` if a retry may help.
    pub(super) fn is_transient(&self) -> bool {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => true,
            StatusCode::INTERNAL_SERVER_ERROR => self.finality().is_none(),
            _ => false,
        }
    }

    /// Returns `true` if the answer is a 404 about an object or its namespace. A 404 in plain text, or with a `Status`
    /// that names nothing, is about a path. It only means that the kind is not served there.
    pub(super) fn is_missing_object(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
            && self
                .status_body()
                .is_some_and(|status| status.text("/reason") == "NotFound" && !status.text("/details/name").is_empty())
    }

    /// The object in a successful answer.
    pub(super) fn object(&self) -> Result<Live, Refusal> {
        match self.json() {
            Some(body) if body.get("metadata").is_some() => Ok(Live { body }),
            _ => Err(Refusal::Unavailable(format!("the server answered {} without an object", self.status))),
        }
    }

    /// The reason why a request to this target was refused. If the target is itself a missing namespace, the reason is
    /// `Absent`. If the target is an object in a missing namespace, the reason is `NoNamespace`.
    pub(super) fn refusal_of(&self, target: &Target) -> Refusal {
        match self.refusal() {
            Refusal::NoNamespace(words) if target.is_namespace() => Refusal::Absent(words),
            refusal => refusal,
        }
    }

    /// The reason why a request about an object in a namespace was refused.
    pub(super) fn refusal(&self) -> Refusal {
        let status = self.status_body();
        let causes = || status.iter().flat_map(Status::causes).map(|(_, field, message)| (field, message));
        let mut words = self.words();
        let cause =
            |wanted: &str| status.as_ref().is_some_and(|status| status.causes().any(|(reason, _, _)| reason == wanted));
        if is_denial(&words) {
            return Refusal::Denied(words);
        }
        if self.status == StatusCode::UNPROCESSABLE_ENTITY {
            words = complaints(causes()).unwrap_or(words);
        }
        match self.status {
            StatusCode::UNAUTHORIZED => {
                Refusal::Forbidden(format!("{words}: the credentials are missing, wrong or expired"))
            }
            StatusCode::FORBIDDEN if cause("NamespaceTerminating") || words.contains(CRD_TERMINATING) => {
                Refusal::Terminating(words)
            }
            // Some 403 answers are not about rights. Quotas and pod security use this status too.
            StatusCode::FORBIDDEN if status.is_none() || words.contains(": User \"") => Refusal::Forbidden(words),
            StatusCode::FORBIDDEN => Refusal::Denied(words),
            StatusCode::METHOD_NOT_ALLOWED if words.contains(CRD_TERMINATING) => Refusal::Terminating(words),
            StatusCode::NOT_FOUND if self.is_missing_object() => {
                if status.is_some_and(|status| status.text("/details/kind") == "namespaces") {
                    Refusal::NoNamespace(words)
                } else {
                    Refusal::Absent(words)
                }
            }
            StatusCode::NOT_FOUND | StatusCode::NOT_ACCEPTABLE => Refusal::NoKind(words),
            StatusCode::CONFLICT => {
                let contested: Vec<FieldConflict> =
                    status.iter().flat_map(Status::causes).filter_map(contested).collect();
                if contested.is_empty() { Refusal::Changed(words) } else { Refusal::Conflict(contested) }
            }
            // The uid comes from us and never from the manifest. Another object with this name exists now.
            StatusCode::UNPROCESSABLE_ENTITY
                if status.is_some_and(|status| status.causes().any(|(_, field, _)| field == "metadata.uid")) =>
            {
                Refusal::Changed(words)
            }
            StatusCode::TOO_MANY_REQUESTS => Refusal::Unavailable(words),
            StatusCode::UNPROCESSABLE_ENTITY => Refusal::Invalid(words),
            status if status.is_client_error() => Refusal::Malformed(words),
            _ => match self.finality() {
                Some(Final::Mistake) => Refusal::Malformed(words),
                Some(Final::TooLarge) => Refusal::TooLarge(words),
                Some(Final::Unreadable) => Refusal::Unreadable(words),
                None => Refusal::Unavailable(words),
            },
        }
    }

    /// The reason why a read failed.
    pub(super) fn read_error(&self) -> ReadError {
        let words = self.words();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                ReadError::Forbidden(format!("{words}: the credentials are missing, wrong or expired"))
            }
            StatusCode::FORBIDDEN => ReadError::Forbidden(words),
            StatusCode::NOT_FOUND if !self.is_missing_object() => ReadError::Gone,
            _ => ReadError::Unavailable(words),
        }
    }
}

/// A kind of 500 that is definite: the same request always gets the same answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Final {
    /// The manifest is wrong, but the server answers with an error of its own.
    Mistake,
    /// The object is larger than the server can store or forward.
    TooLarge,
    /// The server cannot convert the live object or its managed fields to the version that is applied.
    Unreadable,
}

impl Final {
    /// Recognizes the messages in the server's code that merges fields and stores objects.
    fn of(message: &str) -> Option<Self> {
        const TOO_LARGE: [&str; 3] = [
            "etcdserver: request is too large",
            "trying to send message larger than max",
            "received message larger than max",
        ];
        const MISTAKES: [&str; 3] = [
            "failed to create typed patch object",
            "failed to convert new object",
            "failed to create typed new object",
        ];
        const UNREADABLE: [&str; 9] = [
            "failed to convert live object",
            "failed to create typed live object",
            "failed to convert merged object",
            "failed to convert last applied",
            "failed to prune fields",
            "failed to update ManagedFields",
            "failed to compare objects",
            "failed to merge config",
            "failed to decode managed fields",
        ];
        let begins = |words: &[&str]| words.iter().any(|words| message.starts_with(words));
        if TOO_LARGE.iter().any(|words| message.contains(words)) {
            Some(Self::TooLarge)
        } else if begins(&MISTAKES) {
            Some(Self::Mistake)
        } else if begins(&UNREADABLE) || is_about_fields(message) {
            Some(Self::Unreadable)
        } else {
            None
        }
    }
}

/// Returns `true` if each line of a message is a field and an error about it, for example `.spec.x: field not declared
/// in schema`.
fn is_about_fields(message: &str) -> bool {
    let is_about_field = |line: &str| {
        line.starts_with('.') && line.split_once(": ").is_some_and(|(field, _)| !field.contains(char::is_whitespace))
    };
    let lines = message.strip_prefix("errors:").unwrap_or(message);
    let mut lines = lines.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
    lines.peek().is_some() && lines.all(is_about_field)
}

const CRD_TERMINATING: &str = "custom resource definition is terminating";

/// Returns `true` if a webhook or a policy refused the request. The frame of the message is fixed, but the webhook
/// chooses the status.
fn is_denial(words: &str) -> bool {
    let webhook = words.contains("admission webhook \"") && words.contains("denied the request");
    let policy = words.contains("AdmissionPolicy '") && words.contains("denied request");
    webhook || policy
}

/// Parses a cause like `conflict with "kubectl" using apps/v1` about `.spec.replicas`.
fn contested((reason, field, message): (&str, &str, &str)) -> Option<FieldConflict> {
    (reason == "FieldManagerConflict").then(|| FieldConflict {
        field: field.to_owned(),
        manager: message.split('"').nth(1).unwrap_or("another manager").to_owned(),
    })
}

impl SendError {
    /// Converts the error to the refusal of a request that needs no lock.
    pub(super) fn into_refusal(self) -> Refusal {
        match self {
            // This is a defect in ktor and not in the cluster. Nothing was sent, so the message is shown as it is.
            Self::NotPermitted(detail) => Refusal::Invalid(detail),
            Self::Fenced => Refusal::Unavailable("the lock is lost".to_owned()),
            Self::NoAnswer(failure) => Refusal::Unavailable(failure.to_string()),
        }
    }

    /// Converts the error to the error of a read.
    pub(super) fn into_read_error(self) -> ReadError {
        ReadError::Unavailable(self.into_refusal().into_message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(status: u16, body: &str) -> ApiAnswer {
        let status = StatusCode::from_u16(status).unwrap();
        ApiAnswer { status, body: body.as_bytes().to_vec(), retry_after: None, after_unknown: false }
    }

    fn check(status: u16, body: &Value, expected: &str) {
        let mut status_body = json!({"kind": "Status"});
        status_body.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let refusal = answer(status, &status_body.to_string()).refusal();
        let debug = format!("{refusal:?}");
        assert_eq!(debug.split('(').next().unwrap(), expected, "{status} {body}: {debug}");
    }

    #[test]
    fn a_namespace_that_is_gone_is_missing_itself_and_what_lies_in_it_misses_its_namespace() {
        let status = json!({"kind": "Status", "reason": "NotFound", "message": "namespaces \"x\" not found",
            "details": {"name": "x", "kind": "namespaces"}});
        let answer = answer(404, &status.to_string());
        for (target, is_itself) in [
            ("/api/v1/namespaces/x", true),
            ("/api/v1/namespaces/x?fieldManager=ktor-demo", true),
            ("/api/v1/namespaces/x/configmaps/x", false),
            ("/apis/x.dev/v1/namespaces/x", false),
        ] {
            let refusal = answer.refusal_of(&Target::raw(target));
            assert_eq!(matches!(refusal, Refusal::Absent(_)), is_itself, "{target}: {refusal:?}");
            assert_eq!(matches!(refusal, Refusal::NoNamespace(_)), !is_itself, "{target}: {refusal:?}");
        }
    }

    #[test]
    fn refusals_are_told_apart() {
        let forbidden = |text| json!({"reason": "Forbidden", "message": text});
        let cause = |cause| json!({"message": "x", "details": {"name": "x", "causes": [cause]}});
        check(403, &forbidden("deployments.apps \"x\" is forbidden: User \"u\" cannot patch resource"), "Forbidden");
        check(403, &forbidden("pods \"x\" is forbidden: exceeded quota: q"), "Denied");
        check(403, &forbidden("pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\""), "Denied");
        check(403, &cause(json!({"reason": "NamespaceTerminating"})), "Terminating");
        check(403, &forbidden("create not allowed while custom resource definition is terminating"), "Terminating");
        check(400, &json!({"message": "admission webhook \"a.b\" denied the request: no"}), "Denied");
        check(
            422,
            &json!({"message": "x is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"}),
            "Denied",
        );
        check(
            404,
            &json!({"reason": "NotFound", "message": "namespaces \"x\" not found",
            "details": {"name": "x", "kind": "namespaces"}}),
            "NoNamespace",
        );
        check(
            404,
            &json!({"reason": "NotFound", "message": "the server could not find the requested resource",
            "details": {}}),
            "NoKind",
        );
        check(409, &json!({"reason": "Conflict", "message": "uid mismatch"}), "Changed");
        check(409, &json!({"reason": "AlreadyExists", "message": "x"}), "Changed");
        // Another object has this name now. The manifest is not the cause.
        check(422, &cause(json!({"reason": "FieldValueInvalid", "field": "metadata.uid"})), "Changed");
        check(422, &cause(json!({"reason": "FieldValueInvalid", "field": "spec.selector"})), "Invalid");
        check(400, &json!({"reason": "BadRequest", "message": "x"}), "Malformed");
        check(
            500,
            &json!({"message": "failed to create typed patch object (x): .spec.y: field not declared"}),
            "Malformed",
        );
        check(500, &json!({"message": ".spec.access: field not declared in schema"}), "Unreadable");
        check(500, &json!({"message": "etcdserver: request is too large"}), "TooLarge");
        check(500, &json!({"reason": "InternalError", "message": "failed calling webhook \"x\""}), "Unavailable");
        check(500, &json!({"message": "etcdserver: request timed out"}), "Unavailable");
        check(503, &json!({"message": "the server is currently unable to handle the request"}), "Unavailable");
        check(504, &json!({"message": "request did not complete within the allotted timeout"}), "Unavailable");
        check(429, &json!({"message": "too many requests"}), "Unavailable");
        check(401, &json!({"message": "Unauthorized"}), "Forbidden");
    }

    #[test]
    fn a3_conflicts_name_fields_and_managers() {
        let body = json!({"kind": "Status", "reason": "Conflict", "details": {"name": "x", "causes": [
            {"reason": "FieldManagerConflict", "field": ".spec.replicas",
             "message": "conflict with \"hpa\" with subresource \"scale\" using apps/v1"},
            {"reason": "FieldManagerConflict", "field": ".data.a", "message": "conflict with \"kubectl\" using v1"}]}});
        let Refusal::Conflict(contested) = answer(409, &body.to_string()).refusal() else { panic!() };
        let contested: Vec<_> = contested.iter().map(|one| (one.field.as_str(), one.manager.as_str())).collect();
        assert_eq!(contested, [(".spec.replicas", "hpa"), (".data.a", "kubectl")]);
    }

    #[test]
    fn a_404_proves_absence_only_when_it_names_the_object() {
        let named = r#"{"kind":"Status","reason":"NotFound","message":"x","details":{"name":"x","kind":"configmaps"}}"#;
        let unnamed = r#"{"kind":"Status","reason":"NotFound","message":"x","details":{}}"#;
        for (body, missing) in
            [(named, true), (unnamed, false), ("404 page not found\n", false), ("<html>", false), ("", false)]
        {
            let answer = answer(404, body);
            assert_eq!(answer.is_missing_object(), missing, "{body}");
            assert_eq!(answer.read_error() == ReadError::Gone, !missing, "{body}");
            assert_eq!(matches!(answer.refusal(), Refusal::NoKind(_)), !missing, "{body}");
        }
        assert!(!answer(503, named).is_missing_object());
    }

    #[test]
    fn words_are_one_readable_line() {
        assert_eq!(answer(502, "<html>\n  Bad\r\n::gateway</html>").words(), "<html> Bad ::gateway</html>");
        assert_eq!(answer(502, "").words(), "the server answered 502 Bad Gateway");
        assert!(answer(502, &"ü".repeat(5_000)).words().chars().count() == 2_001);
    }
}
