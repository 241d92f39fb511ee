//! A real Kubernetes control plane: etcd, the API server, the controllers, the scheduler, and kwok in place of the
//! kubelets.
//!
//! Each test process starts one, on loopback, with throw-away data. It ends when that process ends.

pub mod binaries;
mod recorder;
mod server;
mod watchdog;

use std::{
    error::Error,
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::api::core::v1::{Namespace, Node, ServiceAccount};
use kube::{Api, Client, Config, api::PostParams};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::json;

pub use binaries::{Binaries, BinariesError, Module, act, cache, gitea, once, short};
pub use recorder::{Entry, Fault, Gate, Recorder};
pub use server::{StartError, free_port, random_token};
pub use watchdog::Watchdog;

use server::Servers;

/// A user of the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// The user who may do everything.
    Admin,
    /// The user who may read everything and change nothing.
    Reader,
    /// The user who may do nothing at all.
    Nobody,
}

impl User {
    const ALL: [Self; 3] = [Self::Admin, Self::Reader, Self::Nobody];

    /// Returns the user's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Reader => "reader",
            Self::Nobody => "nobody",
        }
    }

    fn groups(self) -> &'static str {
        match self {
            Self::Admin => "system:masters",
            Self::Reader | Self::Nobody => "",
        }
    }
}

/// A running control plane. When it is dropped, it ends and leaves nothing.
#[derive(Debug)]
pub struct ControlPlane {
    servers: Servers,
    url: String,
    ca_pem: String,
    tokens: [String; 3],
}

impl ControlPlane {
    /// Returns the control plane of this process. The first call starts it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
        match SHARED.get_or_init(|| Self::start().map_err(|error| sentence(&error))) {
            Ok(plane) => plane,
            Err(sentence) => panic!("{sentence}"),
        }
    }

    /// Starts a separate control plane for the caller.
    pub fn start() -> Result<Self, StartError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let binaries = Binaries::locate().map_err(StartError::Programs)?;
        // Other processes look for free ports too. A process that loses the race tries again.
        for _ in 0..4 {
            match Self::start_on(binaries.clone(), free_port()?) {
                Err(error) if error.lost_the_port() => {}
                started_or_not => return started_or_not,
            }
        }
        Self::start_on(binaries, free_port()?)
    }

    fn start_on(binaries: Binaries, port: u16) -> Result<Self, StartError> {
        let tokens = [random_token()?, random_token()?, random_token()?];
        let lines = User::ALL
            .map(|user| format!("{},{},{},\"{}\"\n", tokens[user as usize], user.name(), user.name(), user.groups()));
        let mut servers = Servers::prepare(binaries, &lines.concat())?;
        servers.start_api(port)?;
        let url = format!("https://127.0.0.1:{port}");
        let mut plane = Self { servers, url, ca_pem: String::new(), tokens };
        // The caller may be on a runtime, on which nothing may block. A new thread is not on a runtime.
        let ready = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|source| StartError::Prepare { subject: "runtime", source })?;
            runtime.block_on(plane.become_ready())
        };
        match std::thread::scope(|scope| scope.spawn(ready).join()) {
            Ok(result) => result.map(|()| plane),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    async fn become_ready(&mut self) -> Result<(), StartError> {
        let certificate = self.servers.folder().join("certificates/apiserver.crt");
        self.servers
            .wait("the API server's certificate", async || {
                self.ca_pem = authority(&fs::read_to_string(&certificate).unwrap_or_default());
                !self.ca_pem.is_empty()
            })
            .await?;
        for user in User::ALL {
            self.write_kubeconfig(&self.url, user, &self.kubeconfig(user))
                .map_err(|source| StartError::Prepare { subject: "kubeconfig", source })?;
        }
        let client = self.client();
        self.servers.wait("a ready API server", async || healthy(&client).await).await?;
        self.servers.start_controllers()?;
        create_fixtures(&client).await.map_err(StartError::Create)?;
        self.servers.wait("a ready node", async || node_ready(&client).await).await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(client, "default");
        self.servers.wait("the default service account", async || accounts.get("default").await.is_ok()).await
    }

    /// Returns the URL of the API server.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the certificate of the authority that signed the API server's certificate, as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Returns the paths of the serving certificate for 127.0.0.1 and of its key. Other servers under the same
    /// authority use them.
    pub fn serving_pem(&self) -> (PathBuf, PathBuf) {
        let folder = self.servers.folder().join("certificates");
        (folder.join("apiserver.crt"), folder.join("apiserver.key"))
    }

    /// Returns a user's bearer token.
    pub fn token(&self, user: User) -> &str {
        &self.tokens[user as usize]
    }

    /// Returns the path of a user's kubeconfig.
    pub fn kubeconfig(&self, user: User) -> PathBuf {
        self.servers.folder().join(format!("{}.kubeconfig", user.name()))
    }

    /// Returns a folder that is deleted with the control plane.
    pub fn folder(&self) -> &Path {
        self.servers.folder()
    }

    /// Returns the process IDs of the servers.
    pub fn pids(&self) -> Vec<u32> {
        self.servers.pids()
    }

    /// Returns the path of the kubectl that belongs to the control plane.
    pub fn kubectl_path(&self) -> PathBuf {
        self.servers.program("kubectl")
    }

    /// Runs kubectl as the administrator.
    pub fn kubectl(&self, arguments: &[&str]) -> Output {
        self.kubectl_with(arguments, "")
    }

    /// Runs kubectl as the administrator, with `input` on its standard input.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Output {
        self.kubectl_at(&self.kubeconfig(User::Admin), arguments, input)
    }

    /// Runs kubectl with a kubeconfig, and with `input` on its standard input.
    pub fn kubectl_at(&self, kubeconfig: &Path, arguments: &[&str], input: &str) -> Output {
        let run = || -> io::Result<Output> {
            let mut process = Command::new(self.kubectl_path())
                .args(arguments)
                .current_dir(self.folder())
                .env_clear()
                .env("HOME", self.folder())
                .env("KUBECONFIG", kubeconfig)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            let mut stdin = process.stdin.take();
            std::thread::scope(|scope| {
                // kubectl may end before it has read all of its input. Then its output tells the reason, so a failed
                // write is ignored.
                scope.spawn(move || stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes())));
                process.wait_with_output()
            })
        };
        run().unwrap_or_else(|error| panic!("failed to run kubectl: {error}"))
    }

    /// Returns a new client of the administrator, for the runtime on which it is made.
    pub fn client(&self) -> Client {
        self.client_of(User::Admin)
    }

    /// Returns a new client of a user, for the runtime on which it is made.
    pub fn client_of(&self, user: User) -> Client {
        self.client_at(&self.url, Some(user))
    }

    /// Creates a namespace with a unique name that begins with `begins`, and waits until pods can start in it.
    pub async fn namespace(&self, begins: &str) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{begins}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let client = self.client();
        create::<Namespace>(&Api::all(client.clone()), json!({"metadata": {"name": name}}))
            .await
            .unwrap_or_else(|error| panic!("failed to create the namespace {name}: {error}"));
        let accounts: Api<ServiceAccount> = Api::namespaced(client, &name);
        for _ in 0..2400 {
            if accounts.get("default").await.is_ok() {
                return name;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("failed to see the default service account of {name} within a minute")
    }

    fn client_at(&self, url: &str, user: Option<User>) -> Client {
        let uri = url.parse().unwrap_or_else(|error| panic!("failed to read the URL {url}: {error}"));
        let mut config = Config::new(uri);
        config.root_cert =
            Some(CertificateDer::pem_slice_iter(self.ca_pem.as_bytes()).flatten().map(|der| der.to_vec()).collect());
        config.auth_info.token = user.map(|user| self.token(user).to_owned().into());
        // The client does not retry, so it sends exactly the requests of the test.
        config.default_retry = false;
        Client::try_from(config).unwrap_or_else(|error| panic!("failed to make a client of {url}: {error}"))
    }

    fn write_kubeconfig(&self, url: &str, user: User, path: &Path) -> io::Result<()> {
        let authority = BASE64_STANDARD.encode(&self.ca_pem);
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority-data": authority}}],
            "users": [{"name": user.name(), "user": {"token": self.token(user)}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user.name()}}],
            "current-context": "test",
        });
        fs::write(path, kubeconfig.to_string())
    }
}

/// Returns the last certificate of a complete chain of two, which signed the other one. Returns an empty text if the
/// chain is not complete.
fn authority(chain: &str) -> String {
    let complete = chain.matches("-----END CERTIFICATE-----").count() == 2;
    let last = chain.rfind("-----BEGIN CERTIFICATE-----").filter(|_| complete);
    last.map(|begin| chain[begin..].to_owned()).unwrap_or_default()
}

async fn healthy(client: &Client) -> bool {
    let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else { return false };
    client.request_text(request).await.is_ok_and(|answer| answer == "ok")
}

async fn node_ready(client: &Client) -> bool {
    let nodes: Api<Node> = Api::all(client.clone());
    let conditions = nodes.get("node").await.ok().and_then(|node| node.status).and_then(|status| status.conditions);
    conditions.iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Creates the node that pods run on, and the role and the binding that let the reader read.
async fn create_fixtures(client: &Client) -> Result<(), kube::Error> {
    let reader = "reader";
    create::<Node>(&Api::all(client.clone()), json!({"metadata": {"name": "node"}})).await?;
    create::<k8s_openapi::api::rbac::v1::ClusterRole>(
        &Api::all(client.clone()),
        json!({
            "metadata": {"name": reader},
            "rules": [
                {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
                {"nonResourceURLs": ["*"], "verbs": ["get"]},
            ],
        }),
    )
    .await?;
    create::<k8s_openapi::api::rbac::v1::ClusterRoleBinding>(
        &Api::all(client.clone()),
        json!({
            "metadata": {"name": reader},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": reader},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": User::Reader.name()}],
        }),
    )
    .await
}

async fn create<K>(api: &Api<K>, object: serde_json::Value) -> Result<(), kube::Error>
where
    K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let object = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
    api.create(&PostParams::default(), &object).await.map(drop)
}

/// Renders an error and all its sources as one sentence.
pub fn sentence(error: &dyn Error) -> String {
    let mut text = format!("failed to {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
