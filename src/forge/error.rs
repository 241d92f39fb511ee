//! The errors of the forge. They replace `octocrab::Error`, which stays within the client.

use std::time::Duration;

/// A failure of the forge, its event or its environment. The message completes the phrase "failed to".
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// A variable that the runner sets is absent or invalid.
    #[error("read the run's environment: {name} {problem}")]
    Environment {
        /// The variable's name.
        name: &'static str,
        /// The problem with the variable.
        problem: &'static str,
    },
    /// The event's payload is not valid JSON.
    #[error("read the payload of the {event} event")]
    Payload {
        /// The event's name.
        event: String,
        /// The parser's error, with its position.
        #[source]
        source: serde_json::Error,
    },
    /// A field of the event's payload is absent or has the wrong type.
    #[error("read the payload of the {event} event: `{field}` is not {expected}")]
    Field {
        /// The event's name.
        event: String,
        /// The dotted path of the field.
        field: String,
        /// The expected kind of value.
        expected: &'static str,
    },
    /// The token is empty, or has a character that is not allowed in an HTTP header. The error does not contain the
    /// token.
    #[error("use the token: it is empty, or holds a character that no token has")]
    Token,
    /// The API's address is not usable.
    #[error("use {url:?} as the address of the forge's API: {problem}")]
    Address {
        /// The address as it was given.
        url: String,
        /// The problem with the address.
        problem: &'static str,
    },
    /// The HTTP client could not be created.
    #[error("set up a client for {url}")]
    Client {
        /// The API's address.
        url: String,
        /// The reason.
        #[source]
        source: Cause,
    },
    /// A request failed, also after its retries.
    #[error("{operation}")]
    Call {
        /// The operation, for example `list the comments of #7`.
        operation: String,
        /// The failure of the last attempt.
        #[source]
        source: Cause,
    },
    /// A list has more pages than the limit.
    #[error("{operation}: there are more than {pages} pages")]
    Endless {
        /// The operation.
        operation: String,
        /// The number of pages that were read.
        pages: u32,
    },
    /// The token writes under another login than the one that the caller named.
    #[error("use {named} as the author of comments: the token writes as {found}")]
    OtherAuthor {
        /// The login that the caller named.
        named: String,
        /// The login that the forge tells.
        found: String,
    },
    /// The run has already made all its content writes.
    #[error("{operation}: the run has made its {limit} content writes")]
    TooManyWrites {
        /// The operation that was not sent.
        operation: String,
        /// The maximum number of content writes.
        limit: u8,
    },
    /// A comment is too long to be sent.
    #[error("{operation}: it has {characters} characters, the limit is {limit}")]
    TooLong {
        /// The operation that was not sent.
        operation: String,
        /// The length of the comment in characters, including its hidden lines.
        characters: usize,
        /// The maximum length in characters.
        limit: usize,
    },
}

impl ForgeError {
    /// Returns the HTTP status of the forge's error answer, or `None` for any other failure. A rate limit that the run
    /// cannot wait for has no status here, so that callers do not take it for a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Call { source: Cause::Refused { status, .. }, .. } => Some(*status),
            _ => None,
        }
    }
}

/// The reason why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The forge answered with an error.
    #[error("the forge answered {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The forge's own message, shortened. It is untrusted text.
        message: String,
    },
    /// The forge asks for a wait that is longer than the run may wait.
    #[error("the forge answered {status} and asks to wait {} s, more than this run can wait: {message}", wait.as_secs())]
    Limited {
        /// The HTTP status.
        status: u16,
        /// The wait that the forge asks for.
        wait: Duration,
        /// The forge's own message, shortened. It is untrusted text.
        message: String,
    },
    /// No answer arrived within the time limit of one attempt, which is the field's value.
    #[error("no answer came within {} s", .0.as_secs())]
    Silent(Duration),
    /// The connection failed or was lost.
    #[error("the connection failed: {0}")]
    Transport(String),
    /// The answer does not have the documented shape.
    #[error("the answer is not what the API documents: {0}")]
    Malformed(String),
}
