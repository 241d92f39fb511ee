//! Reads the addresses of a remote, for callers that need the identity of the repository. Does not contact the remote.

use super::command;
use super::error::GitError;
use super::repository::{Repository, is_plain};

impl Repository {
    /// Returns the addresses of a remote: the address that is configured, and the address that git makes of it with
    /// `url.….insteadOf`. Returns no address if there is no such remote.
    ///
    /// The addresses may contain credentials.
    ///
    /// # Errors
    ///
    /// The text cannot be the name of a remote, or git fails.
    pub(crate) async fn remote_addresses(&self, remote: &str) -> Result<Vec<String>, GitError> {
        if !is_plain(remote) {
            return Err(GitError::NotARemote { remote: remote.to_owned() });
        }
        let operation = || format!("look up the address of {remote:?}");
        let key = format!("remote.{remote}.url");
        let configured = self.run(self.git().arguments(["config", "-z", "--get-all", &key]), operation).await?;
        if !configured.status.success() {
            return Ok(Vec::new());
        }
        let made = ["ls-remote", "--get-url", "--end-of-options", remote];
        let made = self.read(self.git().arguments(made), operation).await?;
        // Git fetches from the first configured address.
        let first = command::records(&configured.stdout).next().map(<[u8]>::to_vec);
        let texts = first.into_iter().chain([made.strip_suffix(b"\n").unwrap_or(&made).to_vec()]);
        Ok(texts.filter_map(|text| String::from_utf8(text).ok()).collect())
    }
}
