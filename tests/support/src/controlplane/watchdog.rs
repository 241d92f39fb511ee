//! A group of processes and a folder that end with this process, however it ends: by a return, a panic, or SIGKILL.
//!
//! A static is never dropped, and a killed process runs no code. Therefore a separate shell cleans up. It has the
//! reading end of a pipe, and only this process has the writing end. The shell acts when the kernel closes the pipe.

use std::{
    io::{self, BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// The script of the shell. It creates a folder below `$1`. When its standard input ends, it kills the group `$2` and
/// removes the folder.
const SCRIPT: &str = r#"
trap '' HUP INT TERM PIPE
folder=$(mktemp -d "$1/ktor-controlplane.XXXXXX") || exit 1
echo "$folder"
while read -r _; do :; done
kill -KILL "-$2" 2>/dev/null
tries=0
while rm -rf "$folder" 2>/dev/null; [ -e "$folder" ] && [ "$tries" -lt 50 ]; do
  tries=$((tries + 1))
  sleep 0.1
done
"#;

/// Watches over a group of processes and their folder.
#[derive(Debug)]
pub struct Watchdog {
    /// The process that gives the group its number. It also ends when its pipe is closed.
    leader: Child,
    shell: Child,
    folder: PathBuf,
}

impl Watchdog {
    /// Starts to watch over an empty group and a new, empty, private folder.
    pub fn start() -> io::Result<Self> {
        let leader = Command::new("sh").args(["-c", "read -r _"]).stdin(Stdio::piped()).process_group(0).spawn()?;
        // The shell has its own group, so that neither a terminal's signals nor its own kill reach it.
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "watchdog"])
            .arg(std::env::temp_dir())
            .arg(leader.id().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let mut line = String::new();
        if let Some(output) = shell.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let folder = PathBuf::from(line.trim_end());
        if folder.is_dir() {
            Ok(Self { leader, shell, folder })
        } else {
            Err(io::Error::other("no temporary folder could be made"))
        }
    }

    /// Returns the folder, which is removed when the processes end.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a process in the group.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let group = i32::try_from(self.leader.id()).map_err(io::Error::other)?;
        command.process_group(group).spawn()
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
        let _ = self.leader.wait();
    }
}
