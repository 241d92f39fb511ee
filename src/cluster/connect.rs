//! The connection to a cluster: the choice of the cluster and the credentials, and the check that the server answers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt as _};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use serde_json::Value;
use tower::util::option_layer;
use tower::{BoxError, Layer as _, Service};

use super::error::ClusterError;
use super::gate::GateLayer;
use super::identity::{self, ETERNAL, ServerIdentity};
use super::path::{ResourcePath, Target};
use super::request::Call;
use super::settings::ClusterSettings;
use super::transport::{Transport, credentials};

/// The options that select a cluster. This module does not read the environment.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// The kubeconfig files. If two files set the same value, the first file wins. The list is empty if none is
    /// configured.
    pub kubeconfig: Vec<PathBuf>,
    /// The context, or `None` for the current context.
    pub context: Option<String>,
    /// `true` to use the pod's service account if no kubeconfig is configured.
    pub in_cluster: bool,
}

/// A connection to one API server. Clones share the connection.
#[derive(Clone)]
pub struct Cluster {
    pub(super) wire: Transport,
    pub(super) settings: ClusterSettings,
    context: String,
    /// The hash of the address and of the certificates that the server is checked against.
    address: String,
}

impl Cluster {
    /// Connects with the default settings. Asks the server for its version, to check that it answers.
    ///
    /// # Errors
    ///
    /// The options select no usable cluster, or the server cannot be reached or refuses the request.
    pub async fn connect(options: &ConnectOptions) -> Result<Self, ClusterError> {
        Self::connect_with(options, ClusterSettings::default()).await
    }

    /// Connects with the given settings. Asks the server for its version, to check that it answers.
    ///
    /// # Errors
    ///
    /// As for [`Cluster::connect`].
    pub async fn connect_with(options: &ConnectOptions, settings: ClusterSettings) -> Result<Self, ClusterError> {
        let (config, context) = configure(options).await?;
        let client = open(&config, &settings)?;
        let server = config.cluster_url.to_string();
        let address = identity::address(&server, config.root_cert.as_deref().unwrap_or_default());
        let cluster = Self::new(client, &server, context, address, settings);
        let answer = cluster.wire.probe(&Call::get(Target::version())).await;
        let answer = answer.map_err(|error| cluster.wire.failed("ask for the server's version", error))?;
        // A user who may not read the version may still be allowed to read everything else.
        if !answer.status.is_success() && answer.status != http::StatusCode::FORBIDDEN {
            return Err(cluster.wire.refused("ask for the server's version", &answer));
        }
        Ok(cluster)
    }

    /// Uses a service in this process instead of a server. It must be called within a Tokio runtime.
    pub fn over<S>(service: S, settings: ClusterSettings) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
    {
        let server = "in-process";
        let gate = GateLayer::new(settings.request_timeout, "");
        let (client, address) = (kube::Client::new(gate.layer(service), ""), identity::address(server, &[]));
        Self::new(client, server, server.to_owned(), address, settings)
    }

    fn new(client: kube::Client, server: &str, context: String, address: String, settings: ClusterSettings) -> Self {
        let wire = Transport::new(client, server, &settings);
        Self { wire, settings, context, address }
    }

    /// The name of the context in the kubeconfig, or `in-cluster` for a pod's service account.
    pub fn context(&self) -> &str {
        &self.context
    }

    /// The address of the server.
    pub fn server(&self) -> &str {
        self.wire.server()
    }

    /// Asks for the identity of the server. If the user may not read it, the identity has the address alone.
    pub(crate) async fn identity(&self) -> ServerIdentity {
        let call = Call::get(ResourcePath::namespaces().named(ETERNAL));
        let answer = self.wire.send(&call).await.ok().filter(|answer| answer.status == StatusCode::OK);
        let body = answer.and_then(|answer| answer.json());
        let uid = body.as_ref().and_then(|body| body.pointer("/metadata/uid")).and_then(Value::as_str);
        ServerIdentity::new(uid, &self.address)
    }

    /// Adds jitter to a pause between two polls.
    pub(crate) fn spread(&self, pause: Duration) -> Duration {
        self.wire.spread(pause)
    }

    /// The settings of this connection.
    pub fn settings(&self) -> &ClusterSettings {
        &self.settings
    }
}

/// The configuration of the selected cluster, and the name of its context.
async fn configure(options: &ConnectOptions) -> Result<(kube::Config, String), ClusterError> {
    if options.kubeconfig.is_empty() {
        if !options.in_cluster {
            return Err(ClusterError::NoKubeconfig);
        }
        let config =
            kube::Config::incluster().map_err(|source| ClusterError::InCluster { source: Box::new(source) })?;
        return Ok((config, "in-cluster".to_owned()));
    }
    let kubeconfig = read(&options.kubeconfig)?;
    let context = choose_context(&kubeconfig, options.context.as_deref())?;
    let chosen =
        kubeconfig.contexts.iter().find(|entry| entry.name == context).and_then(|entry| entry.context.as_ref());
    let cluster = chosen.and_then(|chosen| kubeconfig.clusters.iter().find(|entry| entry.name == chosen.cluster));
    if cluster.and_then(|entry| entry.cluster.as_ref()).is_some_and(|cluster| cluster.proxy_url.is_some()) {
        return Err(ClusterError::Proxy);
    }
    let choice = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &choice).await.map_err(|error| {
        let detail = describe(&error);
        ClusterError::InvalidKubeconfig { detail }
    })?;
    Ok((config, context))
}

/// Merges the kubeconfig files that exist, as kubectl does.
fn read(paths: &[PathBuf]) -> Result<Kubeconfig, ClusterError> {
    let mut merged: Option<Kubeconfig> = None;
    for path in paths.iter().filter(|path| !path.as_os_str().is_empty()) {
        let next = match Kubeconfig::read_from(path) {
            Ok(next) => next,
            Err(KubeconfigError::ReadConfig(source, _)) if source.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(path, error)),
        };
        merged = Some(match merged {
            None => next,
            Some(merged) => merged.merge(next).map_err(|error| unreadable(path, error))?,
        });
    }
    merged.ok_or_else(|| ClusterError::MissingKubeconfig { paths: paths.to_vec() })
}

fn unreadable(path: &Path, error: KubeconfigError) -> ClusterError {
    match error {
        KubeconfigError::ReadConfig(source, _) => ClusterError::UnreadableKubeconfig { path: path.to_owned(), source },
        other => ClusterError::InvalidKubeconfig { detail: format!("{}: {}", path.display(), describe(&other)) },
    }
}

/// Describes an error in a kubeconfig without quoting the file.
fn describe(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::Parse(error) => match error.location() {
            Some(at) => format!("line {}, column {} is not valid in a kubeconfig", at.line(), at.column()),
            None => "it is not the YAML of a kubeconfig".to_owned(),
        },
        KubeconfigError::LoadClusterOfContext(_) => "the context names a cluster that it does not have".to_owned(),
        KubeconfigError::LoadCertificateAuthority(_) | KubeconfigError::ParseCertificates(_) => {
            "the cluster's certificate-authority cannot be read".to_owned()
        }
        KubeconfigError::LoadClientCertificate(_) => "the user's client-certificate cannot be read".to_owned(),
        KubeconfigError::LoadClientKey(_) => "the user's client-key cannot be read".to_owned(),
        KubeconfigError::MissingClusterUrl | KubeconfigError::ParseClusterUrl(_) => {
            "the cluster's server is missing or is not a valid address".to_owned()
        }
        KubeconfigError::ParseProxyUrl(_) => "the proxy is not a valid address".to_owned(),
        KubeconfigError::KindMismatch | KubeconfigError::ApiVersionMismatch => {
            "it is of another kind than the files before it".to_owned()
        }
        _ => "it cannot be used".to_owned(),
    }
}

/// The requested context, or else the current one, or else the only one.
fn choose_context(kubeconfig: &Kubeconfig, asked: Option<&str>) -> Result<String, ClusterError> {
    let available: Vec<String> = kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
    let current = kubeconfig.current_context.as_deref().filter(|context| !context.is_empty());
    match (asked.or(current), available.as_slice()) {
        (_, []) => Err(ClusterError::EmptyKubeconfig),
        (Some(context), _) if available.iter().any(|name| name == context) => Ok(context.to_owned()),
        (Some(context), _) => Err(ClusterError::UnknownContext { context: context.to_owned(), available }),
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(ClusterError::NoContext { available }),
    }
}

/// Builds the layers of the client. The gate is the last layer before the socket, after authentication.
fn open(config: &kube::Config, settings: &ClusterSettings) -> Result<kube::Client, ClusterError> {
    let server = || config.cluster_url.to_string();
    let failed = |error| match error {
        kube::Error::Auth(error) => match config.auth_info.exec.as_ref().and_then(|exec| exec.command.clone()) {
            Some(command) => ClusterError::ExecPlugin { command, detail: credentials(&error) },
            None => ClusterError::Credentials { server: server(), detail: credentials(&error) },
        },
        kube::Error::InferKubeconfig(error) => ClusterError::InvalidKubeconfig { detail: describe(&error) },
        kube::Error::RustlsTls(error) => ClusterError::InvalidKubeconfig { detail: error.to_string() },
        _ => ClusterError::InvalidKubeconfig { detail: "its user or cluster entry cannot be used".to_owned() },
    };
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(settings.request_timeout / 2));
    connector.set_nodelay(true);
    connector.set_keepalive(Some(Duration::from_secs(30)));
    let connector = config.rustls_https_connector_with_connector(connector).map_err(failed)?;
    let pool = Pool::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_mins(1)).build(connector);

    let service = GateLayer::new(settings.request_timeout, config.cluster_url.path()).layer(pool);
    let service = config.extra_headers_layer().map_err(failed)?.layer(service);
    let service = option_layer(config.auth_layer().map_err(failed)?).layer(service);
    let service = config.base_uri_layer().layer(service);
    // The namespace of the kubeconfig is never used. The namespace comes from the object or from the project.
    Ok(kube::Client::new(service, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "{clusters: [{name: c, cluster: {server: 'https://one'}}], users: [{name: u, user: {}}], \
                       contexts: [{name: one, context: {cluster: c, user: u, namespace: never}}]}";
    const TWO: &str = "{contexts: [{name: two, context: {cluster: none, user: u}}]}";

    /// The context and server that these kubeconfigs select, or the error.
    async fn chosen(files: &[&str], context: Option<&str>) -> String {
        let directory = tempfile::tempdir().unwrap();
        let mut kubeconfig = Vec::new();
        for (index, content) in files.iter().enumerate() {
            let path = directory.path().join(index.to_string());
            // Empty content stands for a missing file.
            if !content.is_empty() {
                std::fs::write(&path, content).unwrap();
            }
            kubeconfig.push(path);
        }
        let options = ConnectOptions { kubeconfig, context: context.map(str::to_owned), in_cluster: false };
        match configure(&options).await {
            Ok((config, context)) => format!("{context} at {}", config.cluster_url),
            Err(error) => error.to_string().replace(&format!("{}/", directory.path().display()), ""),
        }
    }

    #[tokio::test]
    async fn b4_which_cluster_is_meant() {
        let proxied = ONE.replace("server:", "proxy-url: 'http://p', server:");
        for (files, context, expected) in [
            (vec![ONE], None, "one at https://one/"),
            (vec!["", ONE], None, "one at https://one/"),
            (vec![ONE, TWO], Some("one"), "one at https://one/"),
            (vec!["{current-context: one}", ONE, TWO], None, "one at https://one/"),
            (vec![], None, "no kubeconfig is configured"),
            (vec!["", ""], None, "no kubeconfig at 0, 1"),
            (vec![ONE, TWO], None, "sets no current context; use one of one, two"),
            (vec![ONE], Some("three"), "no such context, only one"),
            (vec!["{}"], None, "the kubeconfig has none; add a cluster to it"),
            (vec![ONE, TWO], Some("two"), "the context names a cluster that it does not have; correct it"),
            (vec![proxied.as_str()], None, "proxy-url is not supported; remove it from the cluster's entry"),
        ] {
            let found = chosen(&files, context).await;
            assert!(found.ends_with(expected), "{files:?} {context:?}: {found}");
        }
    }

    #[tokio::test]
    async fn p5_a_broken_kubeconfig_is_not_quoted() {
        let canary = ONE.replace("user: {}", "user: {token: [canary]}");
        let found = chosen(&[&canary], None).await;
        assert_eq!(found, "use the kubeconfig: 0: line 1, column 91 is not valid in a kubeconfig; correct it");
        let found = chosen(&["token: \"canary\nx: ]"], None).await;
        assert!(found.contains("is not valid in a kubeconfig") && !found.contains("canary"), "{found}");
    }

    #[tokio::test]
    async fn p5_a_failing_credential_plugin_is_named_and_its_output_is_not_shown() {
        let exec = "user: {exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: sh, \
                    args: ['-c', 'echo canary; echo canary >&2; exit 3']}}";
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        std::fs::write(&path, ONE.replace("user: {}", exec)).unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = ConnectOptions { kubeconfig: vec![path], ..ConnectOptions::default() };
        let error = Cluster::connect(&options).await.err().unwrap();
        assert_eq!(
            error.to_string(),
            "get credentials from sh: the credential plugin failed (exit status: 3); run it by hand to see why"
        );
        assert!(!format!("{error:?}").contains("canary"));
    }
}
