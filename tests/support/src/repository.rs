//! Throw-away git repositories with a fixed author, fixed dates, a temporary HOME, and no user or system configuration.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use ktor_action::git::commit::Commit;
use ktor_action::git::repository::Repository;
use ktor_action::process::Environment;
use tempfile::TempDir;

use crate::temporary_directory;

/// A repository with its own work tree. It is deleted when it is dropped.
pub struct TestRepository {
    directory: TempDir,
}

impl Default for TestRepository {
    fn default() -> Self {
        Self::new()
    }
}

impl TestRepository {
    /// Creates a repository without a commit, on the branch `main`.
    pub fn new() -> Self {
        static EMPTY: LazyLock<RepositoryCopy> = LazyLock::new(|| {
            let repository = TestRepository { directory: temporary_directory() };
            fs::create_dir(repository.top()).unwrap();
            fs::create_dir(repository.home()).unwrap();
            repository.git(["init", "--quiet", "--initial-branch=main", "--template="]);
            repository.copy()
        });
        Self::from(&*EMPTY)
    }

    /// Copies the work tree, the repository and the HOME into memory.
    pub fn copy(&self) -> RepositoryCopy {
        RepositoryCopy(DirectoryCopy::of(self.directory.path()))
    }

    /// Creates a depth-1 checkout of one commit of `origin`, as `actions/checkout` does.
    pub fn checkout(origin: &Self, commit: &Commit) -> Self {
        let clone = Self::new();
        clone.git(["remote", "add", "origin", &origin.url()]);
        let reference = format!("+{commit}:refs/remotes/pull/1/merge");
        clone.git(["fetch", "--quiet", "--no-tags", "--depth=1", "origin", &reference]);
        clone.git(["checkout", "--quiet", "--force", "refs/remotes/pull/1/merge"]);
        clone
    }

    /// Creates a clone with the whole history of `main`.
    pub fn clone_of(origin: &Self) -> Self {
        let clone = Self::new();
        clone.git(["remote", "add", "origin", &origin.url()]);
        clone.git(["pull", "--quiet", "origin", "main"]);
        clone
    }

    /// Returns the top of the work tree.
    pub fn top(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    /// Returns the temporary HOME, which is outside of the work tree.
    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// Returns the URL from which others clone the repository.
    pub fn url(&self) -> String {
        format!("file://{}", self.top().display())
    }

    /// Returns the environment of a run in this repository.
    pub fn environment(&self) -> Environment {
        let variables = self.variables().map(|(name, value)| (name.into(), value));
        variables.collect()
    }

    /// Opens this repository with the git adapter.
    pub async fn open(&self) -> Repository {
        Repository::discover(&self.top(), None, &self.environment()).await.unwrap().unwrap()
    }

    /// Runs git at the top and returns its output, without white space at the end. Panics if git fails.
    pub fn git<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> String {
        let output = self.try_git(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Runs git at the top and returns its result, even if git fails.
    pub fn try_git<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    /// Adds commits and branches from a stream of `git fast-import`. Leaves the work tree as it is.
    pub fn import(&self, stream: impl AsRef<[u8]>) -> &Self {
        let mut import = self.command();
        import.args(["fast-import", "--quiet"]).stdin(Stdio::piped());
        let mut git = import.spawn().unwrap();
        git.stdin.take().unwrap().write_all(stream.as_ref()).unwrap();
        assert!(git.wait().unwrap().success());
        self
    }

    /// Makes the last commit anew with the current time as the time of its committer, as a forge does when it rebases.
    pub fn touch(&self) -> Commit {
        let mut git = self.command();
        git.env_remove("GIT_COMMITTER_DATE").args(["commit", "--quiet", "--amend", "--no-edit", "--allow-empty"]);
        assert!(git.status().unwrap().success());
        self.head()
    }

    /// Returns a git command at the top.
    fn command(&self) -> Command {
        // With the path of the file, the system starts git without a copy of this process.
        static GIT: LazyLock<PathBuf> = LazyLock::new(|| {
            let path = search_path();
            let files = std::env::split_paths(&path).map(|directory| directory.join("git"));
            files.into_iter().find(|file| file.is_file()).expect("git is on the PATH")
        });
        let mut git = Command::new(&*GIT);
        git.env_clear().envs(self.variables()).current_dir(self.top());
        git.args(["-c", "protocol.file.allow=always", "-c", "core.fsync=none"]);
        git.args(["-c", "gc.auto=0", "-c", "maintenance.auto=false"]);
        git
    }

    /// Writes a file of the work tree and creates the directories above it.
    pub fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> &Self {
        let path = self.top().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// Creates a symbolic link in the work tree.
    pub fn link(&self, path: impl AsRef<Path>, target: impl AsRef<Path>) -> &Self {
        let path = self.top().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
        self
    }

    /// Removes a file or directory of the work tree.
    pub fn remove(&self, path: impl AsRef<Path>) -> &Self {
        let path = self.top().join(path);
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        removed.unwrap();
        self
    }

    /// Moves a file or directory of the work tree.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> &Self {
        let to = self.top().join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::rename(self.top().join(from), to).unwrap();
        self
    }

    /// Commits the whole work tree, even if nothing changed.
    pub fn commit(&self, message: &str) -> Commit {
        self.git(["add", "--all"]);
        self.git(["commit", "--quiet", "--allow-empty", "--message", message]);
        self.head()
    }

    /// Merges a branch with a merge commit, as a forge does.
    pub fn merge(&self, branch: &str) -> Commit {
        self.git(["merge", "--quiet", "--no-ff", "--message", "merge", branch]);
        self.head()
    }

    /// Creates or resets a branch at a revision, and switches to it.
    pub fn branch(&self, name: &str, at: &str) -> &Self {
        self.git(["checkout", "--quiet", "-B", name, at]);
        self
    }

    /// Returns the commit that is checked out.
    pub fn head(&self) -> Commit {
        // A branch has a file of its own as long as nobody packs the references.
        let read = |path: &str| fs::read_to_string(self.top().join(".git").join(path)).ok();
        let named = read("HEAD").and_then(|head| match head.strip_prefix("ref: ") {
            Some(branch) => read(branch.trim_end()),
            None => Some(head),
        });
        let commit = named.and_then(|commit| commit.trim_end().parse().ok());
        commit.unwrap_or_else(|| self.git(["rev-parse", "HEAD"]).parse().unwrap())
    }

    fn variables(&self) -> impl Iterator<Item = (&'static str, std::ffi::OsString)> {
        let fixed = [
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_AUTHOR_NAME", "A Tester"),
            ("GIT_AUTHOR_EMAIL", "tester@example.com"),
            ("GIT_AUTHOR_DATE", "2026-01-02T03:04:05Z"),
            ("GIT_COMMITTER_NAME", "A Tester"),
            ("GIT_COMMITTER_EMAIL", "tester@example.com"),
            ("GIT_COMMITTER_DATE", "2026-01-02T03:04:05Z"),
        ];
        let own = [("PATH", search_path()), ("HOME", self.home().into())];
        fixed.into_iter().map(|(name, value)| (name, value.into())).chain(own)
    }
}

impl From<&RepositoryCopy> for TestRepository {
    fn from(copy: &RepositoryCopy) -> Self {
        let directory = temporary_directory();
        copy.0.write(directory.path());
        Self { directory }
    }
}

/// A copy of a repository in memory. It makes many equal repositories without a run of git.
pub struct RepositoryCopy(DirectoryCopy);

/// A copy of a directory in memory.
pub struct DirectoryCopy(Vec<(PathBuf, Entry)>);

enum Entry {
    Directory,
    File(Vec<u8>, fs::Permissions),
    Link(PathBuf),
}

impl DirectoryCopy {
    /// Copies a directory with everything below it.
    pub fn of(directory: &Path) -> Self {
        let mut entries = Vec::new();
        collect(directory, Path::new(""), &mut entries);
        Self(entries)
    }

    /// Writes the copy into a directory that exists.
    pub fn write(&self, directory: &Path) {
        for (path, entry) in &self.0 {
            let path = directory.join(path);
            match entry {
                Entry::Directory => fs::create_dir(path).unwrap(),
                Entry::Link(target) => symlink(target, path).unwrap(),
                Entry::File(content, permissions) => {
                    fs::write(&path, content).unwrap();
                    fs::set_permissions(path, permissions.clone()).unwrap();
                }
            }
        }
    }
}

fn collect(top: &Path, below: &Path, entries: &mut Vec<(PathBuf, Entry)>) {
    for entry in fs::read_dir(top.join(below)).unwrap() {
        let entry = entry.unwrap();
        let (path, kind) = (below.join(entry.file_name()), entry.file_type().unwrap());
        if kind.is_dir() {
            entries.push((path.clone(), Entry::Directory));
            collect(top, &path, entries);
        } else if kind.is_symlink() {
            entries.push((path, Entry::Link(fs::read_link(entry.path()).unwrap())));
        } else {
            let content = fs::read(entry.path()).unwrap();
            entries.push((path, Entry::File(content, entry.metadata().unwrap().permissions())));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "tests run the git that whoever runs them has")]
fn search_path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap()
}
