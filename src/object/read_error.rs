//! The failure of a read.

/// The reason why a read failed. The failure does not show that an object is absent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum ReadError {
    /// The user has no permission to read. The text is the server's message.
    #[error("no permission to read: {0}")]
    Forbidden(String),
    /// The server does not serve the kind at the path of the request.
    #[error("the server does not serve this kind")]
    Gone,
    /// The server did not answer, even after retries.
    #[error("no answer: {0}")]
    Unavailable(String),
}
