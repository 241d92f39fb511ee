//! The commands that ktor prints, as real shells read them.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use ktor_action::report::escape::{inert, logged, visible};
use ktor_action::report::shell::{quoted, quoted_path};
use proptest::prelude::*;
use support::profile;

/// Returns the installed shells. A person who pastes a command has one of these.
fn shells() -> Vec<&'static str> {
    let is_there = |shell: &&str| Command::new(shell).args(["-c", ":"]).status().is_ok_and(|status| status.success());
    let found: Vec<&str> = ["sh", "bash", "dash", "zsh", "ksh"].into_iter().filter(is_there).collect();
    assert!(found.contains(&"sh"));
    found
}

/// Returns the words that a shell makes of a command, and the number of files that it left in an empty directory.
fn words(shell: &str, command: &str) -> (Vec<Vec<u8>>, usize) {
    let directory = support::temporary_directory();
    let script = format!(r#"show() {{ for word; do printf '%s\0' "$word"; done; }}; show {command}"#);
    let ran = Command::new(shell).args(["-c", &script]).current_dir(directory.path()).output().unwrap();
    assert!(ran.status.success() && ran.stderr.is_empty(), "{shell}: {command}: {ran:?}");
    let mut words: Vec<Vec<u8>> = ran.stdout.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    assert_eq!(words.pop(), Some(Vec::new()));
    (words, std::fs::read_dir(directory.path()).unwrap().count())
}

/// Generates texts from pieces that a shell, a log or Markdown may interpret.
fn texts() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just("$(touch pwned)"),
        Just("`touch pwned`"),
        Just("$HOME"),
        Just("${IFS}"),
        Just("'"),
        Just("''"),
        Just("\""),
        Just("\\"),
        Just("\\'"),
        Just("\\012"),
        Just("\n"),
        Just("\r"),
        Just("\t"),
        Just(" "),
        Just("  "),
        Just("-"),
        Just("--holder=x"),
        Just("; touch pwned"),
        Just("& touch pwned"),
        Just("| tee pwned"),
        Just("> pwned"),
        Just("<"),
        Just("*"),
        Just("?"),
        Just("[a]"),
        Just("{a,b}"),
        Just("~"),
        Just("~root"),
        Just("!"),
        Just("!!"),
        Just("#"),
        Just("##[error]"),
        Just("::error::x"),
        Just(":"),
        Just("%s"),
        Just("%"),
        Just("="),
        Just("octo/shop#7"),
        Just("run 7"),
        Just("ü"),
        Just("\u{202e}"),
        Just("\u{200b}"),
        Just("\u{a0}"),
        Just("\u{1b}[31m"),
        Just("7"),
    ];
    let piece = prop_oneof![pieces.prop_map(str::to_owned), "[^\\x00]"];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

/// Runs `ktor plan` on a directory, with `programs` first on the path. Returns its exit code and its standard error.
fn planned(directory: &Path, programs: &Path) -> (Option<i32>, String) {
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display());
    let mut ktor = Command::new(env!("CARGO_BIN_EXE_ktor"));
    ktor.args(["plan", "--offline", "--base", "HEAD", "-p"]).arg(directory).env_clear().envs(profile());
    let ran = ktor.env("PATH", path).env("HOME", programs).current_dir(programs).output().unwrap();
    (ran.status.code(), String::from_utf8(ran.stderr).unwrap())
}

#[test]
fn x15_the_commands_that_name_a_directory_work_when_they_are_pasted() {
    let folder = support::temporary_directory();
    let programs = folder.path().join("bin");
    std::fs::create_dir(&programs).unwrap();
    for name in ["plain", "it's", "$(touch pwned)", "a `touch pwned` b", "new\nline", "two  spaces", "-dash", "ü;#"] {
        let top = folder.path().join(name).canonicalize().unwrap_or_else(|_| folder.path().join(name));
        std::fs::create_dir_all(top.join("below")).unwrap();
        let git = |arguments: &[&str]| {
            let mut git = Command::new("git");
            let ran = git.args(arguments).current_dir(&top).env("HOME", &programs).output().unwrap();
            assert!(ran.status.success(), "{ran:?}");
        };
        std::fs::write(top.join(".ktor.yaml"), "project: demo\n").unwrap();
        std::fs::write(top.join("below/.ktor.yaml"), "project: below\n").unwrap();
        git(&["init", "--quiet"]);

        // A sub-project is run from its root.
        let (exit, said) = planned(&top.join("below"), &programs);
        assert_eq!(exit, Some(64), "{said}");
        let (_, options) = said.trim_end().rsplit_once("run with ").unwrap();
        let expected = ["-p", top.to_str().unwrap(), "-I", "demo.below"].map(|word| word.as_bytes().to_vec());
        for shell in shells() {
            assert_eq!(words(shell, options), (expected.to_vec(), 0), "{shell}: {options}");
        }

        // Git does not trust this repository.
        let script = "#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec /usr/bin/git \"$@\"\n";
        std::fs::write(programs.join("git"), script).unwrap();
        std::fs::set_permissions(programs.join("git"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let (exit, said) = planned(&top, &programs);
        std::fs::remove_file(programs.join("git")).unwrap();
        assert_eq!(exit, Some(1), "{said}");
        let command = said.split_once("run `").unwrap().1.split_once("` first, as the same user").unwrap().0;
        let expected = ["git", "config", "--global", "--add", "safe.directory", top.to_str().unwrap()];
        for shell in shells() {
            assert_eq!(
                words(shell, command),
                (expected.map(|word| word.as_bytes().to_vec()).to_vec(), 0),
                "{shell}: {command}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// Every shell reads the word as the text, alone and after an option, and runs nothing.
    #[test]
    fn x15_a_shell_reads_back_what_was_quoted_and_runs_nothing(text in texts()) {
        let word = quoted(&text);
        for shell in shells() {
            let (found, files) = words(shell, &format!("{word} --holder={word} end"));
            let expected = [text.clone(), format!("--holder={text}"), "end".to_owned()];
            // Until 2024, POSIX had no printable word for a text that ends with a newline.
            let is_read = !text.ends_with('\n') || ["bash", "ksh", "zsh"].contains(&shell);
            prop_assert!(!is_read || found == expected.map(String::into_bytes), "{}: {}", shell, word);
            prop_assert_eq!((found.len(), files), (3, 0), "{}: {}", shell, word);
        }
    }

    /// No sink changes the word, so a person can paste it from a log or a comment.
    #[test]
    fn x15_a_quoted_word_passes_every_sink_unchanged(text in texts()) {
        let word = quoted(&text);
        prop_assert!(word.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'`'), "{}", word);
        prop_assert_eq!(visible(&word), word.clone());
        prop_assert_eq!(logged(&format!("ktor unlock --holder={word}")), format!("ktor unlock --holder={word}"));
        prop_assert!(!word.contains("::") && !word.contains("##"), "{}", word);
        let spaces = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        prop_assert_eq!(spaces(&word), word.trim().to_owned());
        // A comment adds only Markdown's code marks and the spaces beside them.
        let bare = |text: &str| text.replace(['`', ' '], "");
        prop_assert_eq!(bare(&inert(&word)), bare(&word));
    }

    /// A path consists of bytes, which need not be text.
    #[test]
    fn x15_a_path_of_any_bytes_is_read_back(bytes in proptest::collection::vec(1..=u8::MAX, 0..12)) {
        let path = [b"/".to_vec(), bytes, b"x".to_vec()].concat();
        for shell in shells() {
            let (found, files) = words(shell, &quoted_path(Path::new(OsStr::from_bytes(&path))));
            prop_assert_eq!((found, files), (vec![path.clone()], 0), "{}: {:?}", shell, std::ffi::OsString::from_vec(path));
        }
    }
}
