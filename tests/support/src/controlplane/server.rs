//! The processes of one control plane: their flags, their files, and their start.

use std::{
    fmt::Display,
    fs::{self, File},
    io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};

use super::{binaries::Binaries, watchdog::Watchdog};

/// The flags of etcd. It listens on unix sockets in its folder, so it needs no port and no other program can reach it.
const ETCD: &[&str] = &[
    "--data-dir=etcd",
    "--unsafe-no-fsync",
    "--log-level=error",
    "--name=default",
    "--listen-client-urls=unix://client.sock:0",
    "--advertise-client-urls=unix://client.sock:0",
    "--listen-peer-urls=unix://peer.sock:0",
    "--initial-advertise-peer-urls=unix://peer.sock:0",
    "--initial-cluster=default=unix://peer.sock:0",
];

const API_SERVER: &[&str] = &[
    "--etcd-servers=unix://client.sock:0",
    // The API server makes its own authority here, and a serving certificate for 127.0.0.1 that the authority signs.
    "--cert-dir=certificates",
    "--bind-address=127.0.0.1",
    "--advertise-address=127.0.0.1",
    "--endpoint-reconciler-type=none",
    "--service-cluster-ip-range=10.0.0.0/16",
    "--token-auth-file=tokens.csv",
    "--authorization-mode=RBAC",
    "--service-account-issuer=https://kubernetes.default.svc",
    "--service-account-key-file=service-accounts.pub",
    "--service-account-signing-key-file=service-accounts.key",
    "--allow-privileged=true",
    "--profiling=false",
];

const CONTROLLERS: &[&str] = &[
    "--kubeconfig=admin.kubeconfig",
    // Without this flag, Deployments stay at 0/0 and namespaces are never deleted.
    "--use-service-account-credentials=true",
    "--service-account-private-key-file=service-accounts.key",
    "--root-ca-file=certificates/apiserver.crt",
    "--leader-elect=false",
    "--secure-port=0",
    "--kube-api-qps=200",
    "--kube-api-burst=400",
];

const SCHEDULER: &[&str] = &["--kubeconfig=admin.kubeconfig", "--leader-elect=false", "--secure-port=0"];

const KUBELETS: &[&str] = &[
    "--kubeconfig=admin.kubeconfig",
    "--config=kubelets.yaml",
    "--manage-all-nodes=true",
    "--node-ip=127.0.0.1",
    // Without a lease, every node is declared dead after 50 s, and then again and again.
    "--node-lease-duration-seconds=40",
];

const STAGES: &str = include_str!("../../../controlplane/kubelets.yaml");

/// The time that one step of the start may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);

/// The reason why a control plane did not start.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says it")]
pub enum StartError {
    #[error("find what a control plane is made of")]
    Programs(#[source] super::binaries::BinariesError),
    #[error("prepare the control plane's {subject}")]
    Prepare { subject: &'static str, source: io::Error },
    #[error("start {program}")]
    Spawn { program: &'static str, source: io::Error },
    #[error("keep {program} running, which ended with {status} after it had said:\n{log}")]
    Ended { program: &'static str, status: ExitStatus, log: String },
    #[error("see {what} within {} s", PATIENCE.as_secs())]
    Late { what: &'static str },
    #[error("create what every control plane of the tests has")]
    Create(#[source] kube::Error),
}

impl StartError {
    /// Returns `true` if another process took the port after it was found free and before it was used.
    pub fn lost_the_port(&self) -> bool {
        matches!(self, Self::Ended { log, .. } if log.contains("address already in use"))
    }
}

/// The running processes. They end with their owner or with this process.
#[derive(Debug)]
pub struct Servers {
    binaries: Binaries,
    watchdog: Watchdog,
    running: Vec<(&'static str, Child)>,
}

impl Servers {
    /// Prepares a folder for servers that accept these bearer tokens, given as the lines of a token file.
    pub fn prepare(binaries: Binaries, tokens: &str) -> Result<Self, StartError> {
        let watchdog = Watchdog::start().map_err(|source| StartError::Prepare { subject: "watchdog", source })?;
        let write = |subject: &'static str, content: &str| {
            fs::write(watchdog.folder().join(subject), content)
                .map_err(|source| StartError::Prepare { subject, source })
        };
        let (private, public) = key_pair()?;
        write("service-accounts.key", &private)?;
        write("service-accounts.pub", &public)?;
        write("tokens.csv", tokens)?;
        write("kubelets.yaml", STAGES)?;
        Ok(Self { binaries, watchdog, running: Vec::new() })
    }

    /// Starts etcd, and the API server on a port of the loopback interface.
    pub fn start_api(&mut self, port: u16) -> Result<(), StartError> {
        self.spawn("etcd", ETCD, &[])?;
        self.spawn("kube-apiserver", API_SERVER, &[format!("--secure-port={port}")])
    }

    /// Starts the controllers, the scheduler and kwok. The folder must contain the administrator's kubeconfig.
    pub fn start_controllers(&mut self) -> Result<(), StartError> {
        self.spawn("kube-controller-manager", CONTROLLERS, &[])?;
        self.spawn("kube-scheduler", SCHEDULER, &[])?;
        self.spawn("kwok", KUBELETS, &[])
    }

    /// Returns the folder of the servers' files, which is also their working directory.
    pub fn folder(&self) -> &Path {
        self.watchdog.folder()
    }

    /// Returns the path of a program that belongs to the control plane.
    pub fn program(&self, name: &str) -> PathBuf {
        self.binaries.path(name)
    }

    /// Returns the process IDs of the servers.
    pub fn pids(&self) -> Vec<u32> {
        self.running.iter().map(|(_, process)| process.id()).collect()
    }

    /// Waits until a condition holds. Fails if a server ends or if the wait takes longer than `PATIENCE`.
    pub async fn wait(&mut self, what: &'static str, mut holds: impl AsyncFnMut() -> bool) -> Result<(), StartError> {
        let begun = Instant::now();
        while !holds().await {
            self.check()?;
            if begun.elapsed() > PATIENCE {
                return Err(StartError::Late { what });
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Ok(())
    }

    fn spawn(&mut self, program: &'static str, flags: &[&str], more: &[String]) -> Result<(), StartError> {
        let begin = || {
            let log = File::create(self.log(program))?;
            let mut command = Command::new(self.binaries.path(program));
            command.args(flags).args(more).current_dir(self.folder());
            command.env_clear().env("HOME", self.folder()).env("PATH", "/usr/bin:/bin");
            // The API server spends almost half of its time on collecting garbage. A machine for tests has memory.
            command.env("GOGC", "400");
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
            self.watchdog.spawn(&mut command)
        };
        let process = begin().map_err(|source| StartError::Spawn { program, source })?;
        self.running.push((program, process));
        Ok(())
    }

    fn check(&mut self) -> Result<(), StartError> {
        let ended = self
            .running
            .iter_mut()
            .find_map(|(program, process)| process.try_wait().ok().flatten().map(|status| (*program, status)));
        let Some((program, status)) = ended else { return Ok(()) };
        let log = fs::read(self.log(program)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let last = log.lines().rev().take(12).collect::<Vec<_>>();
        let log = last.into_iter().rev().collect::<Vec<_>>().join("\n");
        Err(StartError::Ended { program, status, log })
    }

    fn log(&self, program: &str) -> PathBuf {
        self.folder().join(program).with_extension("log")
    }
}

/// Finds a port on which no process listens. Another process may take the port first, and the caller must handle that.
pub fn free_port() -> Result<u16, StartError> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    bound.map(|address| address.port()).map_err(|source| StartError::Prepare { subject: "port", source })
}

/// Creates a random bearer token, which cannot be guessed.
pub fn random_token() -> Result<String, StartError> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|error| StartError::Prepare { subject: "tokens", source: io::Error::other(error.to_string()) })?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// Creates a P-256 key pair. Returns the private and the public key, as PEM.
fn key_pair() -> Result<(String, String), StartError> {
    // The start of a SubjectPublicKeyInfo of the curve P-256, up to the point itself.
    const POINT_FOLLOWS: [u8; 26] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    let random = SystemRandom::new();
    let failed = |error: &dyn Display| StartError::Prepare {
        subject: "service-account key",
        source: io::Error::other(error.to_string()),
    };
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let private = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|error| failed(&error))?;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, private.as_ref(), &random).map_err(|error| failed(&error))?;
    let public = [&POINT_FOLLOWS, pair.public_key().as_ref()].concat();
    Ok((pem("PRIVATE KEY", private.as_ref()), pem("PUBLIC KEY", &public)))
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(der))
}
