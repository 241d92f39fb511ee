//! The reasons why a cluster cannot be used at all. The server's words about one object are a `Refusal` or a
//! `ReadError` instead.

use std::error::Error;
use std::path::PathBuf;

/// A cluster that cannot be reached, identified, or trusted to answer. Each says what to do about it.
///
/// Texts from outside are the server's or a plugin's words: untrusted, and free of what was sent.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Neither a kubeconfig nor a pod to run in.
    #[error("find a cluster: no kubeconfig is configured")]
    NoKubeconfig,
    /// None of the configured files exists.
    #[error("find a cluster: no kubeconfig at {}", list(.paths))]
    MissingKubeconfig {
        /// The configured files.
        paths: Vec<PathBuf>,
    },
    /// A file cannot be read.
    #[error("read the kubeconfig {}; correct it or remove it from KUBECONFIG", .path.display())]
    UnreadableKubeconfig {
        /// The file.
        path: PathBuf,
        /// The message of the system.
        #[source]
        source: std::io::Error,
    },
    /// A kubeconfig's content is wrong. The content itself is never shown: it holds credentials.
    #[error("use the kubeconfig: {detail}; correct it")]
    InvalidKubeconfig {
        /// The error in the kubeconfig.
        detail: String,
    },
    /// Several contexts and none of them current.
    #[error("choose a context: the kubeconfig makes none current, and has {}", .available.join(", "))]
    NoContext {
        /// The contexts there are.
        available: Vec<String>,
    },
    /// No context at all.
    #[error("choose a context: the kubeconfig has none; add a cluster to it")]
    EmptyKubeconfig,
    /// A context that the kubeconfig does not have.
    #[error("use the context {context}: the kubeconfig has no such context, only {}", .available.join(", "))]
    UnknownContext {
        /// The name that was asked for.
        context: String,
        /// The contexts there are.
        available: Vec<String>,
    },
    /// Not in a pod, or one without a service account's token.
    #[error("use the pod's service account")]
    InCluster {
        /// The missing part.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A proxy is configured for the cluster.
    #[error("use the kubeconfig: proxy-url is not supported; remove it from the cluster's entry")]
    Proxy,
    /// The kubeconfig's credential plugin did not deliver.
    #[error("get credentials from {command}: {detail}; run it by hand to see why")]
    ExecPlugin {
        /// The plugin's command, without arguments and environment.
        command: String,
        /// The failure of the plugin.
        detail: String,
    },
    /// 401.
    #[error(
        "authenticate to {server}: it does not accept the credentials; they are missing, wrong or expired: renew them"
    )]
    Unauthorized {
        /// The server's address.
        server: String,
    },
    /// Credentials that cannot even be sent.
    #[error("use the credentials for {server}: {detail}; correct the user's entry in the kubeconfig")]
    Credentials {
        /// The server's address.
        server: String,
        /// The problem of the credentials.
        detail: String,
    },
    /// The server's certificate is not one that the kubeconfig trusts.
    #[error("trust {server}: {detail}; correct certificate-authority in the kubeconfig")]
    Untrusted {
        /// The server's address.
        server: String,
        /// The problem of the certificate.
        detail: String,
    },
    /// No connection or no answer.
    #[error("reach {server}: {detail}; check the address, the network and that the server is up")]
    Unreachable {
        /// The server's address.
        server: String,
        /// The failure of the connection.
        detail: String,
    },
    /// No right to do something that every run needs.
    #[error("{operation}: no permission ({detail}); grant it to the user of the kubeconfig")]
    Forbidden {
        /// The operation that was tried.
        operation: String,
        /// The server's words.
        detail: String,
    },
    /// The server answered something else than what the operation needs.
    #[error("{operation}: {detail}")]
    ApiAnswer {
        /// The operation that was tried.
        operation: String,
        /// The server's words.
        detail: String,
    },
    /// No answer carried a `Date`, and another clock would not do for a Lease.
    #[error(
        "write the lock: {server} sends no Date header, so its time is unknown; connect to it without the proxy between"
    )]
    NoServerTime {
        /// The server's address.
        server: String,
    },
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
