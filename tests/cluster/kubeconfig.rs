//! A kubeconfig in the repository. Anyone who can change a file there could otherwise choose the cluster.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use support::github::FakeGitHub;
use support::repository::TestRepository;
use support::workflow_run::{Event, WorkflowRun, opened, pushed};

use super::bench::{Bench, config_map, namespace};

/// Writes a kubeconfig that gets its credentials from a program. The program leaves the file `pwned`.
fn planted(file: &Path, pwned: &Path) {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:1'}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{exec: {{apiVersion: \
         client.authentication.k8s.io/v1, interactiveMode: Never, command: /bin/sh, args: ['-c', 'touch {}']}}}}}}]\n",
        pwned.display()
    );
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

#[test]
fn x15_the_action_refuses_a_kubeconfig_of_the_checkout_however_it_is_named() {
    let (forge, files) = (FakeGitHub::start(), tempfile::tempdir().unwrap());
    let folder = files.path().canonicalize().unwrap();
    let (pwned, outside) = (folder.join("pwned"), folder.join("outside"));
    let repository = TestRepository::new();
    let top = repository.top().canonicalize().unwrap();
    repository.write("k8s/.ktor.yaml", "project: demo\n");
    let base = repository.commit("base");
    for file in ["kube/config", "~/.kube/config", ".kube/config", "k8s/config"] {
        planted(&top.join(file), &pwned);
    }
    planted(&outside.join("config"), &pwned);
    symlink(outside.join("config"), top.join("link")).unwrap();
    symlink(&outside, top.join("folder")).unwrap();
    symlink("/proc/self/cwd/kube", top.join("process")).unwrap();
    let head = repository.commit("head");
    symlink(top.join("kube/config"), outside.join("back")).unwrap();
    symlink(&top, outside.join("tree")).unwrap();
    symlink(top.join("folder"), outside.join("through")).unwrap();

    let at = |file: &str| top.join(file).display().to_string();
    let beside = |file: &str| outside.join(file).display().to_string();
    let list = |names: &[&str]| names.join(":");
    let (input, variable) = ("KTOR_INPUT_KUBECONFIG", "KUBECONFIG");
    let ways = [
        (input, at("kube/config")),
        (input, "kube/config".to_owned()),
        (input, "./k8s/../kube/config".to_owned()),
        (input, format!("../{}/kube/config", top.file_name().unwrap().display())),
        (input, "/proc/self/cwd/kube/config".to_owned()),
        (input, "link".to_owned()),
        (input, at("folder/config")),
        (input, "process/config".to_owned()),
        (input, beside("back")),
        (input, beside("tree/k8s/config")),
        (input, beside("through/config")),
        // No shell expands the tilde: this is a directory with that name.
        (input, "~/.kube/config".to_owned()),
        (variable, at("kube/config")),
        (variable, list(&[&beside("config"), "kube/config"])),
        (variable, list(&["", "/nowhere", "", &at("k8s/config"), &beside("config")])),
        (variable, list(&[&beside("config"), &beside("back")])),
        (variable, "~/.kube/config".to_owned()),
    ];
    let act = |number: u64, event: &Event, (name, value): &(&str, String)| {
        let folder = folder.join(number.to_string());
        let run = WorkflowRun { ktor: env!("CARGO_BIN_EXE_ktor"), forge: &forge, folder, number };
        run.act(&repository, event, None, &[(*name, value.as_str())])
    };
    let mut run = 0;
    for event in [opened(&head, &base), pushed(&base, &head)] {
        for way @ (name, value) in &ways {
            run += 1;
            let ran = act(run, &event, way);
            assert_eq!(ran.exit, 64, "{name}={value}: {}", ran.log);
            assert!(ran.log.contains("lies in the checkout"), "{name}={value}: {}", ran.log);
            assert!(!pwned.exists(), "{name}={value} was used");
        }
        // The same file outside the repository is used.
        run += 1;
        let used = [(input, beside("config")), (variable, list(&[&at("absent"), &beside("config")]))];
        let ran = act(run, &event, &used[usize::try_from(run).unwrap() % 2]);
        assert!(ran.exit == 1 && !ran.log.contains("lies in"), "{}", ran.log);
        assert!(pwned.exists());
        fs::remove_file(&pwned).unwrap();
    }
}

#[test]
fn x15_on_a_laptop_a_kubeconfig_of_the_repository_is_used_and_told() {
    let bench = Bench::new("own-config");
    let ns = bench.root.clone();
    bench.write("ns.yaml", &namespace(&ns)).write("x.yaml", &config_map(&ns, "x", "1"));
    let config = bench.path().join("kube.config");
    fs::copy(bench.kubeconfig(), &config).unwrap();
    symlink(bench.kubeconfig(), bench.path().join("link.config")).unwrap();
    let top = bench.path().canonicalize().unwrap();
    let told = |file: &str| format!("the kubeconfig {} lies in {}", top.join(file).display(), top.display());
    for (file, arguments) in [
        ("kube.config", &["plan", "--kubeconfig", "kube.config"][..]),
        ("./kube.config", &["plan", "--kubeconfig", "./kube.config"]),
        ("link.config", &["plan", "--kubeconfig", "link.config"]),
        ("kube.config", &["apply", "--yes", "--kubeconfig", "kube.config"]),
        ("kube.config", &["state", "show", "--kubeconfig", "kube.config"]),
        ("kube.config", &["unlock", "--kubeconfig", "kube.config"]),
    ] {
        let ran = bench.ktor(arguments).exits(0);
        assert_eq!(ran.stderr.matches("the kubeconfig").count(), 1, "{ran:#?}");
        assert!(ran.stderr.contains(&told(file.trim_start_matches("./"))), "{ran:#?}");
    }
    let ran = bench.ktor(&["plan"]).exits(0);
    assert!(!ran.stderr.contains("the kubeconfig"), "{ran:#?}");
}
