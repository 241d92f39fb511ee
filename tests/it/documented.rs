//! The judge of the fake forge: GitHub's own description of the requests that ktor sends and of their answers.

use serde_json::{Value, json};
use support::github::Documented;

/// The name of a change of an answer, and the change.
type Change = (&'static str, fn(&mut Value));

const COMMENTS: &str = "/repos/acme/shop/issues/7/comments";

#[test]
fn requests_that_github_does_not_document_are_found() {
    let check = |method: &str, path: &str, body: &str| {
        Documented::github().operation(method, path, body).map(|operation| operation.id.as_str())
    };
    let commented = format!("{COMMENTS}?per_page=100&page=2");
    for (method, path, body, expected) in [
        ("GET", commented.as_str(), "", "issues/list-comments"),
        ("POST", COMMENTS, r#"{"body":"x"}"#, "issues/create-comment"),
        ("GET", "/repos/acme/shop/issues/comments/7", "", "issues/get-comment"),
        ("GET", "/repos/acme/shop/compare/a...b?per_page=1", "", "repos/compare-commits-with-basehead"),
        ("POST", "/repos/acme/shop/actions/runs/7/rerun", "", "actions/re-run-workflow"),
        ("POST", "/repos/acme/shop/statuses/a", r#"{"state":"error","context":"x"}"#, "repos/create-commit-status"),
    ] {
        assert_eq!(check(method, path, body), Ok(expected), "{method} {path}");
    }
    for (method, path, body, expected) in [
        ("PUT", COMMENTS, "", "is not a documented operation"),
        ("GET", "/repos/acme/shop/issues/7/comments/8", "", "is not a documented operation"),
        ("GET", "/repos/acme//issues/7/comments", "", "is not a documented operation"),
        ("GET", &format!("{COMMENTS}?limit=50"), "", "has no query parameter limit"),
        ("GET", &format!("{COMMENTS}?page=two"), "", "is not as documented"),
        ("GET", "/repos/acme/shop/pulls?state=merged", "", "is not as documented"),
        ("GET", COMMENTS, "{}", "takes no body"),
        ("POST", COMMENTS, "{", "EOF"),
        ("POST", COMMENTS, "{}", "is not as documented"),
        ("POST", COMMENTS, r#"{"body":"x","text":"y"}"#, "is not as documented"),
        ("POST", COMMENTS, r#"{"body":7}"#, "is not as documented"),
        ("POST", "/repos/acme/shop/statuses/a", r#"{"state":"warning"}"#, "is not as documented"),
    ] {
        let found = check(method, path, body).unwrap_err();
        assert!(found.contains(expected), "{method} {path}: {found}");
    }
}

#[test]
fn answers_that_github_does_not_document_are_found() {
    let github = Documented::github();
    let operation = github.operation("GET", COMMENTS, "").unwrap();
    let answer = |change: fn(&mut Value)| {
        let mut answer = github.completed(operation, json!([{"id": 1, "body": "one"}, {"id": 2, "body": "two"}]));
        change(&mut answer[1]);
        operation.check_answer(200, &answer)
    };
    assert_eq!(answer(|_| {}), Ok(()));
    let changes: [Change; 4] = [
        ("a missing field", |comment| drop(comment.as_object_mut().unwrap().remove("html_url"))),
        ("another type", |comment| comment["id"] = json!("2")),
        ("an unexpected null", |comment| comment["created_at"] = json!(null)),
        ("another value", |comment| comment["author_association"] = json!("STRANGER")),
    ];
    for (name, change) in changes {
        assert!(answer(change).unwrap_err().contains("/1"), "{name}");
    }
    let message = json!({"message": "Not Found"});
    assert_eq!(operation.check_answer(404, &message), Ok(()));
    assert!(operation.check_answer(201, &message).unwrap_err().contains("has no answer 201"));
    assert!(operation.check_answer(200, &json!({})).is_err());
    // The user of a deleted account is null where the description allows it.
    let answer = github.completed(operation, json!([{"id": 1, "user": null}]));
    assert_eq!(operation.check_answer(200, &answer), Ok(()));
}
