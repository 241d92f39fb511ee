//! The faults of the fake forge: an error, a broken connection, or no answer at all, for one request.

use serde_json::json;

/// A fault of the next request that matches.
#[derive(Clone, Debug)]
pub struct Fault {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) applied: bool,
    pub(super) how: How,
}

/// The reaction of the fake to a request that a fault matches.
#[derive(Clone, Debug)]
pub(super) enum How {
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: String },
    Drop,
    Hang,
}

impl Fault {
    /// Answers the next `method` request whose path contains `path` with `status`.
    pub fn answer(method: &'static str, path: &str, status: u16) -> Self {
        let body = json!({"message": "scripted fault"}).to_string();
        Self { method, path: path.to_owned(), applied: false, how: How::Answer { status, headers: Vec::new(), body } }
    }

    /// Breaks the connection instead of an answer.
    pub fn drop(method: &'static str, path: &str) -> Self {
        Self { method, path: path.to_owned(), applied: false, how: How::Drop }
    }

    /// Never answers.
    pub fn hang(method: &'static str, path: &str) -> Self {
        Self { method, path: path.to_owned(), applied: false, how: How::Hang }
    }

    /// Lets the request take effect in spite of the fault.
    #[must_use]
    pub fn applied(self) -> Self {
        Self { applied: true, ..self }
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let How::Answer { headers, .. } = &mut self.how {
            headers.push((name, value.to_owned()));
        }
        self
    }

    /// Replaces the answer's body.
    #[must_use]
    pub fn body(mut self, text: &str) -> Self {
        if let How::Answer { body, .. } = &mut self.how {
            text.clone_into(body);
        }
        self
    }
}
