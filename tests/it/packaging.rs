//! The files that are shipped with the binary agree with it: action.yml, the README, the examples, CI. The list of
//! scenarios agrees with the tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::{ArgAction, CommandFactory};
use ktor_action::cli::args::Cli;
use ktor_action::conclusion::exit::Exit;
use ktor_action::plan::guard::Guard;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::architecture::rust_files;

#[derive(Deserialize)]
struct Action {
    inputs: BTreeMap<String, Described>,
    outputs: BTreeMap<String, Described>,
    runs: Runs,
}

#[derive(Deserialize)]
struct Described {
    description: String,
    default: Option<String>,
    value: Option<String>,
}

#[derive(Deserialize)]
struct Runs {
    using: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    id: String,
    shell: String,
    env: BTreeMap<String, String>,
    run: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Returns the action of a command: its file is `action.yml` or `summary/action.yml`.
fn action_of(command: &str) -> Action {
    let file = if command == "action" { "action.yml".to_owned() } else { format!("{command}/action.yml") };
    serde_saphyr::from_str(&read(&file)).unwrap()
}

fn action() -> Action {
    action_of("action")
}

/// Returns the rows of the README's table whose first heading is `heading`. The cells have no code marks.
fn table(heading: &str) -> Vec<Vec<String>> {
    let readme = read("README.md");
    let rows: Vec<Vec<String>> = readme
        .lines()
        .skip_while(|line| !line.starts_with(&format!("| {heading} |")))
        .skip(2)
        .map_while(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|row| row.split(" | ").map(|cell| cell.replace('`', "")).collect())
        .collect();
    assert!(!rows.is_empty(), "the README has a table of {heading}");
    rows
}

/// Returns the README's fenced blocks in a language.
fn blocks(language: &str) -> Vec<String> {
    let readme = read("README.md");
    let opening = format!("```{language}\n");
    readme.split(&opening).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn f8_inputs_are_arguments_and_rows_of_the_readme() {
    check_inputs("action", "");
    check_inputs("summary", "summary ");
}

/// Compares the inputs and outputs of an action with the command's options and with the README's tables.
fn check_inputs(command: &str, table_prefix: &str) {
    let action = action_of(command);
    let cli = Cli::command();
    let arguments: BTreeMap<String, (Option<String>, String)> = cli
        .find_subcommand(command)
        .unwrap()
        .get_arguments()
        .map(|argument| {
            let default = match argument.get_action() {
                ArgAction::SetTrue => Some("false".to_owned()),
                _ => argument.get_default_values().first().map(|value| value.to_str().unwrap().to_owned()),
            };
            let help = argument.get_help().unwrap().to_string();
            (argument.get_long().unwrap().to_owned(), (default, help + "."))
        })
        .collect();
    let inputs: BTreeMap<_, _> = action
        .inputs
        .iter()
        .map(|(name, input)| {
            // Only the runner knows the value of this default.
            let default = input.default.clone().filter(|value| value != "${{ github.token }}");
            (name.clone(), (default, input.description.clone()))
        })
        .collect();
    assert_eq!(inputs, arguments);

    let rows: BTreeMap<_, _> = table(&format!("{table_prefix}input"))
        .into_iter()
        .map(|row| (row[0].clone(), (row[1].clone(), row[2].clone())))
        .collect();
    let documented = action
        .inputs
        .into_iter()
        .map(|(name, input)| (name, (input.default.unwrap_or_else(|| "–".to_owned()), input.description)))
        .collect();
    assert_eq!(rows, documented);
    let rows: BTreeMap<_, _> =
        table(&format!("{table_prefix}output")).into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let outputs = action.outputs.into_iter().map(|(name, output)| (name, output.description)).collect();
    assert_eq!(rows, outputs);
}

#[test]
fn f8_inputs_reach_the_script_as_variables_alone_and_the_binary_takes_the_shells_place() {
    check_script("action");
    check_script("summary");
}

fn check_script(command: &str) {
    let action = action_of(command);
    assert_eq!(action.runs.using, "composite");
    let [step] = &action.runs.steps[..] else { panic!("one step") };
    assert_eq!(step.shell, "bash");
    let expected: BTreeMap<_, _> = action
        .inputs
        .keys()
        .map(|name| {
            let variable = format!("KTOR_INPUT_{}", name.replace('-', "_").to_uppercase());
            (variable, format!("${{{{ inputs.{name} }}}}"))
        })
        .collect();
    assert_eq!(step.env, expected);
    assert!(!step.run.contains("${{"), "{}", step.run);
    assert_eq!(step.run.lines().last(), Some(&*format!("exec \"$bin\" {command}")));
    // The script runs the installer of this repository, from the folder of the action.
    let folder = if command == "action" { root().to_owned() } else { root().join(command) };
    let installer = step.run.split_once("$GITHUB_ACTION_PATH/").unwrap().1.split('"').next().unwrap();
    let installer = folder.join(installer).canonicalize().unwrap();
    assert_eq!(installer, root().join(".github/install.sh").canonicalize().unwrap());
    for (name, output) in &action.outputs {
        assert_eq!(output.value, Some(format!("${{{{ steps.{}.outputs.{name} }}}}", step.id)));
    }
}

#[test]
fn the_readme_lists_every_exit_code_in_their_order_of_precedence() {
    let mut exits = [
        Exit::Success,
        Exit::ChangesPending,
        Exit::Failure,
        Exit::Interrupted,
        Exit::Refused,
        Exit::Locked,
        Exit::Usage,
    ];
    for exit in exits {
        // A new exit code does not compile until it is added here. It also belongs in the list above.
        match exit {
            Exit::Success | Exit::ChangesPending | Exit::Failure | Exit::Interrupted => {}
            Exit::Refused | Exit::Locked | Exit::Usage => {}
        }
    }
    let mut codes: Vec<String> = exits.iter().map(|exit| exit.code().to_string()).collect();
    codes.sort_by_key(|code| code.parse::<u8>().unwrap());
    let listed: Vec<String> = table("exit code").into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(listed, codes);

    exits.sort();
    let order: Vec<String> = exits.iter().rev().map(|exit| exit.code().to_string()).collect();
    assert!(read("README.md").contains(&format!("the first of {} counts", order.join(", "))), "{order:?}");
}

#[test]
fn the_readme_lists_every_command_and_every_guard() {
    let cli = Cli::command();
    let mut commands: Vec<String> = cli
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|command| format!("ktor {}", command.get_name()))
        .collect();
    let mut listed: Vec<String> = table("command").into_iter().map(|row| row[0].clone()).collect();
    commands.sort();
    listed.sort();
    assert_eq!(listed, commands);

    let guards = Guard::named().map(|(guard, name)| {
        let prevents = guard.prevents();
        vec![format!("{}{}.", prevents[..1].to_uppercase(), &prevents[1..]), format!("--allow-{name}")]
    });
    assert_eq!(table("guard prevents"), guards.collect::<Vec<_>>());
}

#[test]
fn the_readmes_workflow_is_short_and_never_cancels_an_apply() {
    #[derive(Deserialize)]
    struct Workflow {
        on: BTreeMap<String, serde_json::Value>,
        permissions: BTreeMap<String, String>,
        #[serde(default)]
        concurrency: BTreeMap<String, String>,
        jobs: BTreeMap<String, serde_json::Value>,
    }
    let blocks = blocks("yaml");
    let [block, commands, matrix, drift] = &blocks[..] else { panic!("four workflows") };
    assert!(block.lines().count() <= 14, "{block}");
    let workflow: Workflow = serde_saphyr::from_str(block).unwrap();
    assert_eq!(workflow.on.keys().collect::<Vec<_>>(), ["pull_request", "push"]);
    let commands: Workflow = serde_saphyr::from_str(commands).unwrap();
    assert_eq!(commands.on.keys().collect::<Vec<_>>(), ["issue_comment"]);
    // Anyone can write a comment. A group of its own keeps it from cancelling a plan or an apply.
    assert!(commands.concurrency["group"].contains("comment.id") && commands.permissions == workflow.permissions);
    assert!(commands.jobs["ktor"]["if"].as_str().unwrap().contains("startsWith(github.event.comment.body, '/ktor')"));
    let drift: Workflow = serde_saphyr::from_str(drift).unwrap();
    assert_eq!(drift.on.keys().collect::<Vec<_>>(), ["schedule"]);
    assert_eq!(drift.permissions.keys().collect::<Vec<_>>(), ["contents", "issues"]);
    let permissions: Vec<_> = workflow.permissions.iter().map(|(name, level)| format!("{name}: {level}")).collect();
    assert_eq!(permissions, ["contents: read", "pull-requests: write"]);
    assert_eq!(workflow.concurrency["cancel-in-progress"], "${{ github.event_name == 'pull_request' }}");
    let steps = &workflow.jobs["ktor"]["steps"];
    let inputs = steps.as_array().unwrap().last().unwrap()["with"].as_object().unwrap();
    let known = action().inputs;
    assert!(inputs.keys().all(|name| known.contains_key(name)), "{inputs:?}");

    let matrix: Workflow = serde_saphyr::from_str(matrix).unwrap();
    assert_eq!((&matrix.on, &matrix.concurrency), (&workflow.on, &workflow.concurrency));
    // Each job has its own permissions. The last one needs no file of the repository.
    assert!(matrix.permissions.is_empty(), "{:?}", matrix.permissions);
    let permissions = ["ktor", "summary"].map(|job| &matrix.jobs[job]["permissions"]);
    assert_eq!(permissions, [&json!(workflow.permissions), &json!({"pull-requests": "write"})]);
    let steps = |job: &str| matrix.jobs[job]["steps"].as_array().unwrap().clone();
    let of_action = |steps: &[serde_json::Value], name: &str| {
        let is_meant = |step: &&serde_json::Value| step["uses"].as_str().unwrap().starts_with(&format!("{name}@"));
        steps.iter().find(is_meant).unwrap()["with"].as_object().unwrap().clone()
    };
    let (plan, last) = (steps("ktor"), steps("summary"));
    let inputs = of_action(&plan, "karellen/ktor-action");
    assert!(inputs.keys().all(|name| known.contains_key(name)), "{inputs:?}");
    let summary = action_of("summary");
    let inputs = of_action(&last, "karellen/ktor-action/summary");
    assert!(inputs.keys().all(|name| summary.inputs.contains_key(name)), "{inputs:?}");
    // The folder of the download is the one that the summary reads, and its check always reports on a pull request.
    let folder = of_action(&last, "actions/download-artifact")["path"].as_str().unwrap().to_owned();
    assert_eq!(Some(folder), summary.inputs["plans"].default);
    assert!(of_action(&plan, "actions/upload-artifact")["path"].as_str().unwrap().contains("outputs.plans"));
    assert!(matrix.jobs["summary"]["if"].as_str().unwrap().starts_with("always()"));
}

#[test]
fn ci_runs_the_readmes_commands() {
    let script = read(".ci/run");
    let blocks = blocks("console");
    assert_eq!(blocks.len(), 2);
    for command in blocks.iter().map(|block| block.trim()) {
        let ends = ["", "instrumented ", "tested "].map(|within| format!("' {within}{command}"));
        let step = |line: &str| line.starts_with("step ") && ends.iter().any(|end| line.ends_with(end));
        assert!(script.lines().any(step), "{command}");
    }
    assert!(read(".github/workflows/ci.yml").contains("run: .ci/run\n"));
}

#[test]
fn the_example_prints_a_pull_requests_comment() {
    let script = root().join("examples/pull-request.sh");
    let output = Command::new(script).env("KTOR_BIN", env!("CARGO_BIN_EXE_ktor")).output().unwrap();
    let comment = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for deleted in ["Service ", "Deployment ", "Promotion.shop.example.com "] {
        assert!(comment.lines().any(|line| line.starts_with(&format!("| `{deleted}"))), "{comment}");
    }
    assert!(comment.contains("payment") && !comment.contains("not-a-real-key"), "{comment}");
}

/// A copy of the installer with its own table of checksums, and a server's folder with one release.
struct Release {
    folder: tempfile::TempDir,
    sum: String,
}

const BINARY: &str = "#!/bin/sh\necho genuine\n";

impl Release {
    fn new() -> Self {
        let folder = support::temporary_directory();
        let sum: String = Sha256::digest(BINARY).iter().map(|byte| format!("{byte:02x}")).collect();
        let release = Self { folder, sum };
        fs::create_dir_all(release.path("action")).unwrap();
        fs::copy(root().join(".github/install.sh"), release.path("action/install.sh")).unwrap();
        let lines = ["x86_64", "aarch64"].map(|arch| {
            fs::create_dir_all(release.served(arch).parent().unwrap()).unwrap();
            fs::write(release.served(arch), BINARY).unwrap();
            format!("{}  v9.9.9/ktor-{arch}-linux-musl\n", release.sum)
        });
        fs::write(release.path("action/ktor.sha256"), format!("# a comment\n{}", lines.concat())).unwrap();
        release
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn served(&self, arch: &str) -> PathBuf {
        self.path(&format!("server/karellen/ktor-action/releases/download/v9.9.9/ktor-{arch}-linux-musl"))
    }

    fn installed(&self) -> PathBuf {
        self.path(&format!("temp/ktor/{}/ktor-{}-linux-musl", self.sum, std::env::consts::ARCH))
    }

    fn serve(&self, bytes: &str) {
        fs::write(self.served(std::env::consts::ARCH), bytes).unwrap();
    }

    fn install(&self, variables: &[(&str, &str)]) -> Output {
        // A shell reads the script. If the system started it, a test that starts a program at the same time could hold it
        // open for writing.
        Command::new("bash")
            .arg(self.path("action/install.sh"))
            .env_remove("KTOR_BIN")
            .env("RUNNER_TEMP", self.path("temp"))
            .env("GITHUB_SERVER_URL", format!("file://{}", self.path("server").display()))
            .envs(variables.iter().copied())
            .output()
            .unwrap()
    }

    #[track_caller]
    fn accepts(&self) {
        let output = self.install(&[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), self.installed().to_str().unwrap());
        assert_eq!(Command::new(self.installed()).output().unwrap().stdout, b"genuine\n");
    }

    #[track_caller]
    fn refuses(&self, why: &str) {
        let output = self.install(&[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{said}");
        assert!(said.contains("::error title=ktor::") && said.contains(why), "{said}");
    }
}

#[test]
fn f8_a_flipped_byte_refuses_to_run() {
    let flipped = BINARY.replace("genuine", "fenuine");
    let release = Release::new();
    release.serve(&flipped);
    release.refuses("not those that this revision of the action lists");
    assert!(!release.installed().exists());

    release.serve(BINARY);
    release.accepts();
    // The installer also verifies a binary that is already there, and fetches it again if it is the wrong one.
    fs::write(release.installed(), &flipped).unwrap();
    release.accepts();
    fs::write(release.installed(), &flipped).unwrap();
    release.serve(&flipped);
    release.refuses("not those that this revision of the action lists");
    fs::remove_file(release.served(std::env::consts::ARCH)).unwrap();
    release.refuses("cannot download");

    // A correct binary is not fetched again.
    fs::write(release.installed(), BINARY).unwrap();
    release.accepts();
}

#[test]
fn f8_only_what_the_table_lists_or_the_caller_names_is_run() {
    let release = Release::new();
    fs::write(release.path("action/ktor.sha256"), "# nothing\n").unwrap();
    release.refuses("lists no released binary");

    let own = env!("CARGO_BIN_EXE_ktor");
    let output = release.install(&[("KTOR_BIN", own)]);
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), own);
    assert!(!release.install(&[("KTOR_BIN", "/nonexistent/ktor")]).status.success());
}

#[test]
fn the_shipped_table_is_sound() {
    for line in read(".github/ktor.sha256").lines().filter(|line| !line.starts_with('#')) {
        let (sum, file) = line.split_once("  ").unwrap();
        assert!(sum.len() == 64 && sum.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{line}");
        let (version, name) = file.split_once('/').unwrap();
        assert!(version.starts_with('v') && name.starts_with("ktor-") && name.ends_with("-linux-musl"), "{line}");
    }
}

/// A row of the list of scenarios.
struct Scenario {
    id: String,
    files: Vec<String>,
}

/// Returns the rows of the tables in a list of scenarios.
fn scenarios(list: &str) -> Vec<Scenario> {
    let rows =
        list.lines().filter(|line| line.starts_with('|') && !["| id |", "|---"].iter().any(|s| line.starts_with(s)));
    let scenario = |row: &str| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [id, behavior, files] = cells[..] else { panic!("a row has an id, a behavior and files: {row}") };
        assert!(!behavior.is_empty(), "a row says what happens: {row}");
        let files = files.split_whitespace().map(|file| file.replace(['`', ','], "")).collect();
        Scenario { id: id.to_owned(), files }
    };
    rows.map(scenario).collect()
}

/// Returns the ids in the names of the tests in a file, as the list writes them. A name begins with its ids, and may
/// have another one after `_and_`.
fn ids_of_tests(text: &str) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim_start) {
        is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let Some(signature) = line.strip_prefix("fn ").or_else(|| line.strip_prefix("async fn ")) else { continue };
        if std::mem::take(&mut is_test) {
            let name = signature.split('(').next().unwrap();
            let words: Vec<&str> = name.split('_').collect();
            let first = words.iter().take_while(|word| is_id(word));
            let further = words.windows(2).filter(|pair| is_id(words[0]) && pair[0] == "and" && is_id(pair[1]));
            ids.extend(first.chain(further.map(|pair| &pair[1])).map(|id| id.to_uppercase()));
        }
    }
    ids
}

/// Returns `true` for one or two letters with a number after them, for example `o2`.
fn is_id(word: &str) -> bool {
    let number = word.trim_start_matches(|c: char| c.is_ascii_lowercase());
    (1..=2).contains(&(word.len() - number.len())) && !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit())
}

/// Compares a list of scenarios with the files that have tests of each id, and returns what is wrong in the list.
fn wrong_in_list(list: &[Scenario], tests: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let missing = tests.iter().filter_map(|(id, files)| match list.iter().filter(|row| row.id == *id).count() {
        0 => Some(format!("{id} has tests in {files:?} and no row")),
        1 => None,
        rows => Some(format!("{id} has {rows} rows")),
    });
    let rotten = list.iter().flat_map(|row| match tests.get(&row.id) {
        None => vec![format!("{} has no test", row.id)],
        Some(_) if row.files.is_empty() => vec![format!("the row of {} names no file", row.id)],
        Some(files) => {
            let wrong = row.files.iter().filter(|file| !files.contains(*file));
            wrong.map(|file| format!("{file} has no test of {}", row.id)).collect()
        }
    });
    missing.chain(rotten).collect()
}

#[test]
fn the_list_of_scenarios_has_every_id_of_a_test_once() {
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    rust_files(&root().join("tests"), &mut files);
    let mut tests: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in &files {
        let file = path.strip_prefix(root()).unwrap().to_str().unwrap();
        for id in ids_of_tests(&fs::read_to_string(path).unwrap()) {
            tests.entry(id).or_default().insert(file.to_owned());
        }
    }
    assert!(tests.len() > 80, "{tests:?}");
    let wrong = wrong_in_list(&scenarios(&read("tests/SCENARIOS.md")), &tests);
    assert!(wrong.is_empty(), "in tests/SCENARIOS.md:\n{}", wrong.join("\n"));
}

#[test]
fn ids_are_read_from_the_names_of_tests_alone() {
    for (text, expected) in [
        ("#[test]\nfn o2_a() {", &["O2"][..]),
        ("    #[tokio::test(start_paused = true)]\n    async fn x15_a() {", &["X15"]),
        ("#[test]\nfn a1_b2_c_d3() {", &["A1", "B2"]),
        ("#[test]\nfn a1_b_and_c2_d() {", &["A1", "C2"]),
        ("#[test]\n#[cfg(unix)]\nfn ab1_c() {", &["AB1"]),
        ("#[test]\nfn a() {}\nfn a1_b() {", &[]),
        ("fn a1_b() {", &[]),
        ("#[test]\nfn abc1_d() {", &[]),
        ("#[test]\nfn v_and_v1() {", &[]),
        ("#[test]\nfn a1b_c() {", &[]),
        ("text(\"#[test]\\nfn a1_b() {}\")", &[]),
    ] {
        assert_eq!(ids_of_tests(text).into_iter().collect::<Vec<_>>(), expected, "{text}");
    }
}

#[test]
fn a_list_of_scenarios_that_disagrees_with_the_tests_is_wrong() {
    #[track_caller]
    fn check(rows: &[&str], expected: &[&str]) {
        let tests = [("A1", &["x.rs", "y.rs"][..]), ("B2", &["y.rs"])];
        let tests = tests.map(|(id, files)| (id.to_owned(), files.iter().map(ToString::to_string).collect()));
        let list = format!("# A title\n\n| id | behavior | tests |\n|---|---|---|\n{}\n", rows.join("\n"));
        assert_eq!(wrong_in_list(&scenarios(&list), &tests.into()), expected);
    }
    let (a, b) = ("| A1 | Does a. | `x.rs`, `y.rs` |", "| B2 | Does b. | `y.rs` |");
    check(&[a, b], &[]);
    check(&["| A1 | Does a. | `y.rs` |", b], &[]);
    check(&[a], &["B2 has tests in {\"y.rs\"} and no row"]);
    check(&[a, b, b], &["B2 has 2 rows"]);
    check(&[a, b, "| C3 | Does c. | `x.rs` |"], &["C3 has no test"]);
    check(&[a, "| B2 | Does b. | `x.rs`, `y.rs`, `z.rs` |"], &["x.rs has no test of B2", "z.rs has no test of B2"]);
    check(&[a, "| B2 | Does b. |  |"], &["the row of B2 names no file"]);
}
