//! The runs of workflows by `act`, on a runner without containers. What needs a forge's cloud or a cloud's cluster has a
//! stand-in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::controlplane::act;
use support::profile;
use support::repository::TestRepository;
use tempfile::TempDir;

/// The files of the action.
const ACTION: [&str; 4] = ["action.yml", "summary/action.yml", ".github/install.sh", ".github/ktor.sha256"];

/// The variable that is set if the forge gives an identity to the job. Runs for strangers get none.
pub const IDENTITY: &str = "STAND_IN_IDENTITY";

/// The variable with the path of the kubeconfig that a sign-in writes.
pub const KUBECONFIG: &str = "STAND_IN_KUBECONFIG";

/// The actions of others, and the script that takes the place of each. `act` makes the first checkout of a job itself, so
/// the one here is of another repository. Each input is a variable.
const STAND_INS: &[(&str, &[&str], &str)] = &[
    (
        "actions/checkout",
        &["repository", "ref", "path"],
        r#"[ "$repository@$ref" = karellen/ktor-action@v1 ] && cp -r "$STAND_IN_ACTION" "$path""#,
    ),
    (
        "actions/upload-artifact",
        &["name", "path"],
        r#"mkdir -p "$STAND_IN_ARTIFACTS/$name" && cp -r "$path/." "$STAND_IN_ARTIFACTS/$name""#,
    ),
    (
        "actions/download-artifact",
        &["pattern", "path"],
        r#"mkdir -p "$path"; for found in "$STAND_IN_ARTIFACTS"/$pattern; do [ ! -d "$found" ] || cp -r "$found" "$path"; done"#,
    ),
    (
        "aws-actions/configure-aws-credentials",
        &["role-to-assume", "aws-region"],
        r#"[ "$STAND_IN_IDENTITY" ] && [ "$role_to_assume" ] && echo SIGNED_IN=aws >>"$GITHUB_ENV""#,
    ),
    (
        "azure/login",
        &["client-id", "tenant-id", "subscription-id"],
        r#"[ "$STAND_IN_IDENTITY" ] && [ "$client_id" ] && echo SIGNED_IN=az >>"$GITHUB_ENV""#,
    ),
    (
        "azure/use-kubelogin",
        &["kubelogin-version"],
        r#"[ "$kubelogin_version" ] && echo HAS_KUBELOGIN=true >>"$GITHUB_ENV""#,
    ),
    (
        "google-github-actions/auth",
        &["workload_identity_provider", "service_account"],
        r#"[ "$STAND_IN_IDENTITY" ] && [ "$workload_identity_provider" ] && echo SIGNED_IN=google >>"$GITHUB_ENV""#,
    ),
    // Google's action writes into the checkout, and says so in its output and in the variable.
    (
        "google-github-actions/get-gke-credentials",
        &["cluster_name", "location"],
        r#"[ "$SIGNED_IN" = google ] && [ "$cluster_name" ] && file=$GITHUB_WORKSPACE/gha-kubeconfig-1 &&
           cp "$STAND_IN_KUBECONFIG" "$file" && echo "kubeconfig_path=$file" >>"$GITHUB_OUTPUT" &&
           echo "KUBECONFIG=$file" >>"$GITHUB_ENV""#,
    ),
];

/// The programs of clouds, and what takes their place.
const PROGRAMS: &[(&str, &str)] = &[
    (
        "aws",
        r#"[ "$SIGNED_IN" = aws ] && [ "$1 $2 $3 $5" = "eks update-kubeconfig --name --kubeconfig" ] &&
           cp "$STAND_IN_KUBECONFIG" "$6""#,
    ),
    (
        "az",
        r#"[ "$SIGNED_IN" = az ] && [ "$1 $2 $3 $5 $7" = "aks get-credentials --resource-group --name --file" ] &&
           cp "$STAND_IN_KUBECONFIG" "$8""#,
    ),
    (
        "kubelogin",
        r#"[ "$HAS_KUBELOGIN" ] && [ "$*" = "convert-kubeconfig --login azurecli" ] && [ -s "$KUBECONFIG" ]"#,
    ),
];

/// A run of a workflow that has ended.
#[derive(Debug)]
pub struct ActRan {
    /// Everything that the run printed.
    pub log: String,
    /// The jobs that ran, and `true` for those that succeeded. A job of a matrix has a number at its end.
    pub jobs: BTreeMap<String, bool>,
}

/// A runner: a folder with the stand-ins.
pub struct Runner {
    folder: TempDir,
}

/// A run of a workflow that has not started.
pub struct ActRun<'a> {
    /// The checkout, with the workflow.
    pub directory: &'a Path,
    /// The name of the event.
    pub event: &'a str,
    /// The payload of the event.
    pub payload: &'a Value,
    /// The job's token.
    pub token: &'a str,
    /// The variables that the runner sets.
    pub variables: Vec<(&'static str, String)>,
    /// The secrets of the repository.
    pub secrets: Vec<(String, String)>,
}

impl Runner {
    /// Creates a runner.
    pub fn new() -> Self {
        let runner = Self { folder: tempfile::tempdir().unwrap() };
        copy_the_action(&runner.path("action"));
        for (name, inputs, script) in STAND_INS {
            let declared: String =
                inputs.iter().map(|input| format!("  {input}: {{description: An input.}}\n")).collect();
            let variable = |input: &str| input.replace('-', "_");
            let variables: String = inputs
                .iter()
                .map(|input| format!("        {}: ${{{{ inputs.{input} }}}}\n", variable(input)))
                .collect();
            let text = format!(
                "name: stand-in\ndescription: A stand-in.\ninputs:\n{declared}outputs:\n  kubeconfig_path:\n    description: \
                 A path.\n    value: ${{{{ steps.do.outputs.kubeconfig_path }}}}\nruns:\n  using: composite\n  steps:\n    - \
                 id: do\n      shell: bash\n      env:\n{variables}      run: |\n        {}\n",
                script.replace('\n', "\n        ")
            );
            let folder = runner.path("actions").join(name);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("action.yml"), text).unwrap();
        }
        fs::create_dir(runner.path("bin")).unwrap();
        for (name, script) in PROGRAMS {
            let file = runner.path("bin").join(name);
            fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        runner
    }

    /// Runs the workflow of a checkout.
    pub fn run(&self, run: ActRun<'_>) -> ActRan {
        let act = act().unwrap_or_else(|error| panic!("failed to {error}"));
        // act keeps its own files below HOME.
        let elsewhere = TestRepository::new();
        let file = elsewhere.home().join("event.json");
        fs::write(&file, run.payload.to_string()).unwrap();
        let mut command = Command::new(act);
        command.arg(run.event).args(["--container-daemon-socket", "-", "--no-cache-server"]);
        for label in ["ubuntu-latest", "ktor-runners"] {
            command.args(["-P", &format!("{label}=-self-hosted")]);
        }
        command.arg("-e").arg(file).args(["-s", &format!("GITHUB_TOKEN={}", run.token)]);
        for (name, value) in &run.secrets {
            command.args(["-s", &format!("{name}={value}")]);
        }
        let workflow = fs::read_to_string(run.directory.join(".github/workflows/ktor.yaml")).unwrap();
        for action in used_actions(&workflow) {
            let (name, _) = action.split_once('@').unwrap();
            let folder =
                if name == "karellen/ktor-action" { self.path("action") } else { self.path("actions").join(name) };
            assert!(folder.join("action.yml").is_file(), "the action {name} has no stand-in: add one to STAND_INS");
            // The address of Gitea ends with a slash, so that there the path of a repository begins with two of them.
            for prefix in ["", "/"] {
                command.args(["--local-repository", &format!("{prefix}{action}={}", folder.display())]);
            }
        }
        let profile = profile().into_iter().map(|(name, file)| (name, file.into_string().unwrap()));
        let path = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let own = [
            ("KTOR_BIN", env!("CARGO_BIN_EXE_ktor").to_owned()),
            ("STAND_IN_ACTION", path("action")),
            ("STAND_IN_ARTIFACTS", elsewhere.home().join("artifacts").to_str().unwrap().to_owned()),
        ];
        for (name, value) in run.variables.into_iter().chain(profile).chain(own) {
            command.args(["--env", &format!("{name}={value}")]);
        }
        let environment = elsewhere.environment();
        let search = environment.get("PATH").unwrap().to_str().unwrap();
        command.env_clear().current_dir(run.directory);
        command.env("PATH", format!("{}:{search}", path("bin"))).env("HOME", elsewhere.home());
        command.env("XDG_CACHE_HOME", elsewhere.home().join("cache")).env("TMPDIR", elsewhere.home());
        let output = command.stdin(Stdio::null()).output().unwrap();
        let log = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        let jobs = ended_jobs(&log);
        assert_eq!(output.status.success(), jobs.values().all(|succeeded| *succeeded), "{log}");
        assert!(!log.contains(run.token), "{log}");
        ActRan { log: log.into_owned(), jobs }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl ActRan {
    /// Checks which jobs ran, and that each of them succeeded.
    #[track_caller]
    pub fn succeeded(self, jobs: &[&str]) -> Self {
        let expected: BTreeMap<String, bool> = jobs.iter().map(|job| ((*job).to_owned(), true)).collect();
        assert_eq!(self.jobs, expected, "{}", self.log);
        self
    }

    /// Checks which jobs ran, and that at least one of them failed.
    #[track_caller]
    pub fn failed(self, jobs: &[(&str, bool)]) -> Self {
        let expected: BTreeMap<String, bool> = jobs.iter().map(|(job, ended)| ((*job).to_owned(), *ended)).collect();
        assert!(
            self.jobs == expected && expected.values().any(|succeeded| !succeeded),
            "{:?}\n{}",
            self.jobs,
            self.log
        );
        self
    }
}

/// Returns the repositories of the actions that a workflow uses, each with its ref.
pub fn used_actions(workflow: &str) -> BTreeSet<String> {
    let workflow: Value = serde_saphyr::from_str(workflow).unwrap();
    let jobs = workflow["jobs"].as_object().unwrap().values();
    let steps = jobs.flat_map(|job| job["steps"].as_array().unwrap());
    let used = steps.filter_map(|step| step["uses"].as_str()).filter(|action| !action.starts_with("./"));
    let repository = |action: &str| {
        let (path, reference) = action.split_once('@').unwrap_or_else(|| panic!("{action} has no ref"));
        let mut names = path.splitn(3, '/');
        format!("{}/{}@{reference}", names.next().unwrap(), names.next().unwrap())
    };
    used.map(repository).collect()
}

/// Returns the names of the actions that have a stand-in.
pub fn stand_ins() -> BTreeSet<&'static str> {
    STAND_INS.iter().map(|(name, ..)| *name).collect()
}

/// Copies the action of this repository into a folder.
pub fn copy_the_action(folder: &Path) {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ACTION {
        let to = folder.join(file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(own.join(file), to).unwrap();
    }
}

/// Reads from the log which jobs ended, and how. Each line begins with the workflow and the job in brackets.
fn ended_jobs(log: &str) -> BTreeMap<String, bool> {
    let ended = |line: &str| {
        let (name, rest) = line.strip_prefix('[')?.split_once(']')?;
        let succeeded = rest.contains("Job succeeded");
        let job = name.rsplit('/').next()?.trim().to_owned();
        (succeeded || rest.contains("Job failed")).then_some((job, succeeded))
    };
    log.lines().filter_map(ended).collect()
}
