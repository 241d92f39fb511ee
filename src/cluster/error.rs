//! The reasons why a cluster cannot be used. The reasons why a request about one object fails are a `Refusal` or a
//! `ReadError` instead.

use std::error::Error;
use std::path::PathBuf;

/// A cluster that cannot be reached, identified or used. Each message says what to do.
///
/// The details come from the server or from a credential plugin. They are untrusted, and contain nothing of what was
/// sent.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No kubeconfig is configured, and the process may not use a pod's service account.
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
    /// The content of a kubeconfig is wrong. The message never contains the content, because it may hold credentials.
    #[error("use the kubeconfig: {detail}; correct it")]
    InvalidKubeconfig {
        /// The error in the kubeconfig.
        detail: String,
    },
    /// There are several contexts, and none of them is current.
    #[error("choose a context: the kubeconfig sets no current context; use one of {}", .available.join(", "))]
    NoContext {
        /// The contexts in the kubeconfig.
        available: Vec<String>,
    },
    /// The kubeconfig has no context.
    #[error("choose a context: the kubeconfig has none; add a cluster to it")]
    EmptyKubeconfig,
    /// The requested context is not in the kubeconfig.
    #[error("use the context {context}: the kubeconfig has no such context, only {}", .available.join(", "))]
    UnknownContext {
        /// The requested context.
        context: String,
        /// The contexts in the kubeconfig.
        available: Vec<String>,
    },
    /// The process is not in a pod, or the pod has no service account token.
    #[error("use the pod's service account")]
    InCluster {
        /// The cause.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The kubeconfig sets a proxy for the cluster.
    #[error("use the kubeconfig: proxy-url is not supported; remove it from the cluster's entry")]
    Proxy,
    /// The credential plugin of the kubeconfig failed.
    #[error("get credentials from {command}: {detail}; run it by hand to see why")]
    ExecPlugin {
        /// The command of the plugin, without arguments and environment.
        command: String,
        /// The failure of the plugin.
        detail: String,
    },
    /// The server answered with status 401.
    #[error(
        "authenticate to {server}: it does not accept the credentials; they are missing, wrong or expired: renew them"
    )]
    Unauthorized {
        /// The server's address.
        server: String,
    },
    /// The credentials cannot be sent.
    #[error("use the credentials for {server}: {detail}; correct the user's entry in the kubeconfig")]
    Credentials {
        /// The server's address.
        server: String,
        /// The problem with the credentials.
        detail: String,
    },
    /// The server's certificate is not trusted by the kubeconfig.
    #[error("trust {server}: {detail}; correct certificate-authority in the kubeconfig")]
    Untrusted {
        /// The server's address.
        server: String,
        /// The problem with the certificate.
        detail: String,
    },
    /// The server cannot be reached, or does not answer.
    #[error("reach {server}: {detail}; check the address, the network and that the server is up")]
    Unreachable {
        /// The server's address.
        server: String,
        /// The failure of the connection.
        detail: String,
    },
    /// The user has no permission for an operation that every run needs.
    #[error("{operation}: no permission ({detail}); grant it to the user of the kubeconfig")]
    Forbidden {
        /// The operation that failed.
        operation: String,
        /// The server's message.
        detail: String,
    },
    /// The server's answer does not allow the operation to continue.
    #[error("{operation}: {detail}")]
    ApiAnswer {
        /// The operation that failed.
        operation: String,
        /// The server's message.
        detail: String,
    },
    /// No answer had a `Date` header. The time in a Lease must be the server's time.
    #[error(
        "write the lock: {server} sends no Date header, so its time is unknown; connect without a proxy in between"
    )]
    NoServerTime {
        /// The server's address.
        server: String,
    },
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
