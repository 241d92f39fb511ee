//! What may go wrong between us and the forge. `octocrab::Error` ends here.

use std::time::Duration;

/// A failure of the forge, its event or its environment; reads after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// A variable that the runner sets is absent or unusable.
    #[error("read the run's environment: {name} {problem}")]
    Environment {
        /// The variable's name.
        name: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The event's payload is no JSON.
    #[error("read the payload of the {event} event")]
    Payload {
        /// The event's name.
        event: String,
        /// Where the JSON breaks.
        #[source]
        source: serde_json::Error,
    },
    /// A field of the event's payload is absent or of another type.
    #[error("read the payload of the {event} event: `{field}` is not {expected}")]
    Field {
        /// The event's name.
        event: String,
        /// The dotted path of the field.
        field: String,
        /// What should stand there.
        expected: &'static str,
    },
    /// The token could not stand in a header. Its text is not part of the error.
    #[error("use the token: it is empty, or holds a character that no token has")]
    Token,
    /// The API's address cannot be used.
    #[error("use {url:?} as the address of the forge's API: {problem}")]
    Address {
        /// The address as given.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// No client could be set up.
    #[error("set up a client for {url}")]
    Client {
        /// The API's address.
        url: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// A request was not answered as hoped for, retries included.
    #[error("{operation}")]
    Call {
        /// What was asked, as `list the comments of #7`.
        operation: String,
        /// The last attempt's answer.
        #[source]
        source: Cause,
    },
    /// A list has more pages than anyone would read.
    #[error("{operation}: there are more than {pages} pages")]
    Endless {
        /// What was asked.
        operation: String,
        /// How many pages were read.
        pages: u32,
    },
    /// The run has used up its content writes.
    #[error("{operation}: the run has made its {limit} content writes")]
    TooManyWrites {
        /// What would have been written.
        operation: String,
        /// The limit.
        limit: u8,
    },
    /// A comment is too long to be sent.
    #[error("{operation}: it has {characters} characters, the limit is {limit}")]
    TooLong {
        /// What would have been written.
        operation: String,
        /// How long it is, hidden lines included.
        characters: usize,
        /// The limit.
        limit: usize,
    },
}

impl ForgeError {
    /// The HTTP status with which the forge refused for good, where it did.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Call { source: Cause::Refused { status, .. }, .. } => Some(*status),
            _ => None,
        }
    }
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The forge answered with an error.
    #[error("the forge answered {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The forge's own words, shortened. Untrusted text.
        message: String,
    },
    /// The forge asks for a longer wait than the run can afford.
    #[error("the forge answered {status} and asks to wait {} s, more than this run can wait: {message}", wait.as_secs())]
    Limited {
        /// The HTTP status.
        status: u16,
        /// The wait that it asked for.
        wait: Duration,
        /// The forge's own words, shortened. Untrusted text.
        message: String,
    },
    /// No answer came in time.
    #[error("no answer came within {} s", .0.as_secs())]
    Silent(Duration),
    /// The connection could not be made, or broke.
    #[error("the connection failed: {0}")]
    Transport(String),
    /// The answer is not what the API documents.
    #[error("the answer is not what the API documents: {0}")]
    Malformed(String),
}
