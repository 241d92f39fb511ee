//! The forge's access token. It is printed as `[redacted]` and never serialized.

use std::fmt;

use super::ForgeError;

/// An access token.
///
/// It has no `Serialize`, and both `Debug` and `Display` hide it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Creates a token from the text of an environment variable, without the white space around it.
    ///
    /// A text that is not valid in an HTTP header is an error. The error does not quote the text.
    pub fn new(text: &str) -> Result<Self, ForgeError> {
        let text = text.trim();
        if text.is_empty() || !text.chars().all(|c| c.is_ascii_graphic()) {
            return Err(ForgeError::Token);
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the secret text. It is only for a request's header, a child process's environment and the runner's mask.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p5_a_token_never_prints_itself() {
        let token = Token::new(" ghs_canary\n").unwrap();
        assert_eq!(format!("{token} {token:?} {:?}", Some(&token)), "[redacted] [redacted] Some([redacted])");
        assert_eq!(token.expose(), "ghs_canary");
    }

    #[test]
    fn p5_a_text_that_is_no_token_is_refused_unquoted() {
        for text in ["", "  ", "ghs_canary\r\nX-Evil: 1", "ghs canary", "ghs_cänary"] {
            let error = Token::new(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary"), "{text:?}");
        }
    }
}
