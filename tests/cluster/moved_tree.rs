//! Two places whose trees have the same root. The second place is refused until the caller says that the tree moved.

use std::process::{Command, Output};

use ktor_action::git::commit::Commit;
use serde_json::{Value, json};
use support::kubernator::Kubernator;
use support::profile;
use support::repository::TestRepository;
use support::workflow_run::{Event, dispatched};

use super::bench::{Bench, config_map, namespace};
use crate::story::Story;

const SOURCE: &str = "kubernator.io/ktor-source";
const TOKEN: &str = "ghs_canary0123456789";

/// A repository with the root's tree in a directory, and a clone that knows it by a forge's address.
struct Tree<'a> {
    bench: &'a Bench,
    origin: TestRepository,
    clone: TestRepository,
}

impl<'a> Tree<'a> {
    /// Creates a repository with a forge's address. Git replaces this address with that of a local repository.
    fn new(bench: &'a Bench, repository: &str, directory: &str) -> Self {
        let origin = TestRepository::new();
        write(&origin, bench, directory);
        origin.commit(&format!("begin {repository}"));
        let clone = TestRepository::clone_of(&origin);
        let tree = Self { bench, origin, clone };
        tree.call(&format!("https://x-access-token:{TOKEN}@github.com/{repository}.git"));
        tree
    }

    /// Gives the remote another address.
    fn call(&self, address: &str) {
        self.clone.git(["config", "--unset-all", "remote.origin.url"]);
        self.clone.git(["config", "remote.origin.url", address]);
        self.clone.git(["config", &format!("url.{}.insteadOf", self.origin.url()), address]);
    }

    fn ktor(&self, command: &str, directory: &str, arguments: &[&str]) -> (i32, String) {
        let mut ktor = Command::new(env!("CARGO_BIN_EXE_ktor"));
        ktor.args([command, "-p", directory]).args(arguments).env_clear().envs(profile());
        ktor.current_dir(self.clone.top()).env("KUBECONFIG", self.bench.kubeconfig()).env("HOME", self.clone.home());
        let ended: Output = ktor.env("PATH", self.clone.environment().get("PATH").unwrap()).output().unwrap();
        let said = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        assert!(!said.contains(TOKEN), "{said}");
        (ended.status.code().unwrap(), said)
    }

    #[track_caller]
    fn applies(&self, directory: &str, arguments: &[&str]) -> String {
        let (exit, said) = self.ktor("apply", directory, &[&["--yes"], arguments].concat());
        assert_eq!(exit, 0, "{said}");
        said
    }

    /// Asserts that plan and apply are refused, that the message names both places and the option, and that nothing is
    /// written.
    #[track_caller]
    fn is_refused(&self, directory: &str, recorded: &str, here: &str) {
        let before = secrets(self.bench);
        let (exit, planned) = self.ktor("plan", directory, &[]);
        assert_eq!(exit, 3, "{planned}");
        let (exit, applied) = self.ktor("apply", directory, &["--yes"]);
        assert_eq!(exit, 3, "{applied}");
        for said in [planned, applied] {
            assert!(said.contains(recorded) && said.contains(here) && said.contains("--move"), "{said}");
        }
        assert_eq!(secrets(self.bench), before);
        assert_eq!(self.bench.lease(), None);
    }
}

/// Writes the root's tree to a directory.
fn write(repository: &TestRepository, bench: &Bench, directory: &str) {
    let ns = &bench.root;
    repository.write(format!("{directory}/.ktor.yaml"), format!("project: {ns}\ncleanup: true\n"));
    repository.write(format!("{directory}/ns.yaml"), namespace(ns));
    repository.write(format!("{directory}/x.yaml"), config_map(ns, "x", directory));
}

/// Returns the Secrets of the state and of the review key.
fn secrets(bench: &Bench) -> [Value; 2] {
    let name = |kind: &str| format!("secret/kubernator-project-{}{kind}", bench.hash());
    ["", "-review"].map(|kind| bench.get(&name(kind), Some("kubernator-system")).unwrap())
}

/// Asserts that both Secrets record this source.
#[track_caller]
fn recorded(bench: &Bench, source: &str) {
    for secret in secrets(bench) {
        assert_eq!(secret["metadata"]["annotations"][SOURCE], source, "{secret:#}");
        assert!(!secret.to_string().contains(TOKEN));
    }
}

#[test]
fn x15_another_repository_or_directory_of_the_same_root_is_refused_until_it_is_said_to_have_moved() {
    let bench = &Bench::new("placed");
    let shop = Tree::new(bench, "acme/shop", "k8s");
    shop.applies("k8s", &[]);
    recorded(bench, "github.com/acme/shop//k8s");
    let at_k8s = "k8s of github.com/acme/shop";

    // The tree is also in another directory of the same commit, which must not count as already applied.
    write(&shop.origin, bench, "deploy");
    shop.origin.commit("twice");
    shop.clone.git(["pull", "--quiet", "origin", "main"]);
    shop.is_refused("deploy", at_k8s, "deploy of github.com/acme/shop");
    let said = shop.applies("deploy", &["--move"]);
    assert!(said.contains("The tree moved") && said.contains(at_k8s), "{said}");
    recorded(bench, "github.com/acme/shop//deploy");
    shop.is_refused("k8s", "deploy of github.com/acme/shop", at_k8s);
    shop.applies("k8s", &["--move"]);

    // These addresses mean the same repository.
    for address in ["git@github.com:Acme/Shop.git", "ssh://git@ssh.github.com:443/acme/shop"] {
        shop.call(address);
        shop.applies("k8s", &[]);
        recorded(bench, "github.com/acme/shop//k8s");
    }

    // The repository was renamed. The first apply under the new name needs the option once.
    shop.call("https://github.com/acme/store.git");
    shop.is_refused("k8s", at_k8s, "k8s of github.com/acme/store");
    shop.applies("k8s", &["--move"]);
    recorded(bench, "github.com/acme/store//k8s");
    shop.applies("k8s", &[]);

    // The tree is in another repository, whose history has nothing in common. The message about the place comes first.
    let other = Tree::new(bench, "acme/other", "k8s");
    other.is_refused("k8s", "k8s of github.com/acme/store", "k8s of github.com/acme/other");
    let (exit, said) = other.ktor("apply", "k8s", &["--yes", "--move"]);
    assert!(exit == 3 && said.contains("accept-history"), "{exit}: {said}");
    recorded(bench, "github.com/acme/store//k8s");
    let head = other.clone.head();
    other.applies("k8s", &["--move", "--accept-history", head.as_str()]);
    recorded(bench, "github.com/acme/other//k8s");
    shop.is_refused("k8s", "k8s of github.com/acme/other", "k8s of github.com/acme/store");
}

#[test]
fn x15_a_place_that_is_not_known_refuses_nothing_and_is_recorded_as_soon_as_it_is() {
    let bench = &Bench::new("unplaced");
    let shop = Tree::new(bench, "acme/shop", "k8s");
    // These addresses give the repository no name that others know.
    for address in [shop.origin.url(), "work:acme/shop".to_owned()] {
        shop.call(&address);
        shop.applies("k8s", &[]);
        assert_eq!(
            secrets(bench).map(|secret| secret["metadata"]["annotations"][SOURCE].clone()),
            [Value::Null, Value::Null]
        );
    }
    shop.call("https://github.com/acme/shop.git");
    shop.applies("k8s", &[]);
    recorded(bench, "github.com/acme/shop//k8s");
    // A known source stays recorded after a run that does not know its source, and after a run outside a repository.
    shop.call(&shop.origin.url());
    shop.applies("k8s", &[]);
    recorded(bench, "github.com/acme/shop//k8s");
    bench.write("ns.yaml", &namespace(&bench.root)).write("x.yaml", &config_map(&bench.root, "x", "plain"));
    bench.apply();
    recorded(bench, "github.com/acme/shop//k8s");
}

#[test]
fn x15_kubernator_which_drops_what_the_state_says_does_not_make_the_place_unknown() {
    let bench = &Bench::new("rewritten");
    let shop = Tree::new(bench, "acme/shop", "k8s");
    shop.clone.write("k8s/.kubernator.py", Kubernator::root_script(&bench.root, true));
    shop.applies("k8s", &[]);
    recorded(bench, "github.com/acme/shop//k8s");
    let run =
        Kubernator::shared().command(&shop.clone.top().join("k8s"), bench.kubeconfig(), &["--yes", "apply"]).spawn();
    Bench::finished(run.unwrap()).exits(0);
    let [state, key] = secrets(bench);
    assert_eq!(state["metadata"]["annotations"][SOURCE], Value::Null);
    assert_eq!(key["metadata"]["annotations"][SOURCE], "github.com/acme/shop//k8s");
    let other = Tree::new(bench, "acme/other", "k8s");
    other.is_refused("k8s", "k8s of github.com/acme/shop", "k8s of github.com/acme/other");
    shop.applies("k8s", &[]);
    recorded(bench, "github.com/acme/shop//k8s");
}

#[test]
fn x15_a_renamed_root_keeps_its_place() {
    let bench = &Bench::new("named");
    let shop = Tree::new(bench, "acme/shop", "k8s");
    shop.applies("k8s", &[]);
    let renamed = Bench::of_root(&format!("{}-anew", bench.root));
    bench.ktor(&["state", "mv", "--yes", &bench.root, &renamed.root]).exits(0);
    recorded(&renamed, "github.com/acme/shop//k8s");
}

#[test]
fn x15_the_action_refuses_another_directory_or_repository_in_the_plan_and_in_the_apply() {
    let story = Story::new("action-placed");
    let (event, commit) = story.push(|story| {
        story.config("web", "one");
    });
    let ran = story.run(&event, &commit);
    assert_eq!((ran.exit, ran.output("result")), (0, "applied"), "{}", ran.log);
    let settings = std::fs::read_to_string(story.origin.top().join("k8s/.ktor.yaml")).unwrap();
    let twice = |story: &Story| {
        story.origin.write("deploy/.ktor.yaml", &settings);
        let web =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"value": "two"}});
        story.origin.write("deploy/web.yaml", web.to_string());
    };
    let run = |event: &Event, commit: &Commit, inputs: &[(&str, &str)]| {
        let inputs = [&[("KTOR_INPUT_PATH", "deploy")], inputs].concat();
        story.run_with(&TestRepository::checkout(&story.origin, commit), event, Some(&story.kubeconfig()), &inputs)
    };
    let refused = |text: &str| {
        assert!(
            text.contains("k8s of 127.0.0.1/acme/shop") && text.contains("deploy of 127.0.0.1/acme/shop"),
            "{text}"
        );
        assert!(text.contains("--move"), "{text}");
    };

    let (opened, merge) = story.propose("opened", twice);
    let ran = run(&opened, &merge, &[]);
    assert_eq!(ran.exit, 3, "{}", ran.log);
    refused(&ran.log);
    refused(&story.comment().body);
    // A pull request from a fork does not reach the cluster, so its tree is not compared with a state.
    let ran = run(&opened.clone().forked(), &merge, &[]);
    assert_eq!(ran.exit, 0, "{}", ran.log);
    let ran = run(&opened, &merge, &[("KTOR_INPUT_MOVE", "true")]);
    assert_eq!((ran.exit, ran.output("result")), (0, "changes"), "{}", ran.log);
    assert!(story.comment().body.contains("The tree moved"), "{}", story.comment().body);

    let (closed, merged) = story.merge();
    let before = story.versions();
    let ran = run(&closed, &merged, &[]);
    assert_eq!((ran.exit, ran.output("result")), (3, "refused"), "{}", ran.log);
    refused(&ran.log);
    // The repository was renamed, and the forge already uses its new name.
    let renamed = [("GITHUB_REPOSITORY", "acme/store"), ("KTOR_INPUT_PATH", "k8s"), ("KTOR_INPUT_TOKEN", "")];
    let ran = run(&closed, &merged, &renamed);
    assert_eq!(ran.exit, 3, "{}", ran.log);
    assert!(ran.log.contains("k8s of 127.0.0.1/acme/store") && ran.log.contains("--move"), "{}", ran.log);
    assert_eq!(story.versions(), before);

    let ran = run(&closed, &merged, &[("KTOR_INPUT_MOVE", "true")]);
    assert_eq!((ran.exit, ran.output("result")), (0, "applied"), "{}", ran.log);
    assert_eq!(story.live()["web"], "two");
    // The old directory at the applied commit is another place. It must not count as already applied.
    let head = story.origin.head();
    for event in [&closed, &dispatched(&head, "refs/heads/main")] {
        assert_eq!(story.run(event, &head).exit, 3);
    }
    assert_eq!(story.live()["web"], "two");
}
