//! Finds the repository of a directory. Git does not search for it by itself.
//!
//! **Invariant:** nothing that a commit can hold is taken for a repository. Git refuses a `.git` in a commit. But git
//! takes any directory with the files of a bare repository for one, and obeys the configuration in it. Therefore only a
//! `.git` at the top of a work tree counts here. A `.git` does not count if the files of its directory belong to a
//! repository further up.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::command::{self, Transports};
use super::error::GitError;
use super::repository::{Repository, ran};
use crate::process::{Environment, Program};
use crate::project::snapshot::printable;

/// A work tree that git opens, with its top directory.
struct Found {
    top: PathBuf,
    /// The real directory that `.git` is, or that it points to.
    git_dir: PathBuf,
    environment: Environment,
}

impl Repository {
    /// Finds the repository that contains `directory`. Returns `None` if there is none.
    ///
    /// Git sees only the variables of `environment` that [`super::reads_variable`] accepts. If `directory` is below
    /// `boundary`, the search does not go above `boundary`.
    ///
    /// # Errors
    ///
    /// A directory cannot be read, git does not open the repository, or the tree could have made the repository.
    pub async fn discover(
        directory: &Path,
        boundary: Option<&Path>,
        environment: &Environment,
    ) -> Result<Option<Self>, GitError> {
        let environment = command::environment(environment);
        let start = real(directory)?;
        let boundary = boundary.and_then(|boundary| boundary.canonicalize().ok());
        let mut chosen = Ok(None);
        for top in tops(&start, boundary.as_deref(), &environment)?.into_iter().rev() {
            if let Ok(Some(outer)) = &chosen
                && holds(outer, &top).await
            {
                continue;
            }
            match open(&top, &environment).await {
                Ok(None) => {}
                found => chosen = found,
            }
        }
        let Some(found) = chosen? else { return Ok(None) };
        Self::opened(found).await.map(Some)
    }

    async fn opened(Found { top, git_dir, environment }: Found) -> Result<Self, GitError> {
        let environment = environment.with("GIT_DIR", top.join(".git")).with("GIT_WORK_TREE", top.as_os_str());
        let mut repository = Self { top, environment, tree_configuration: None };
        repository.tree_configuration = repository.configured_by_tree(&git_dir).await?;
        Ok(repository)
    }

    /// Finds a configuration file that git reads and that is a file of the work tree, for example because of an
    /// `include.path`. Anyone who may change the tree could name programs in this file.
    async fn configured_by_tree(&self, git_dir: &Path) -> Result<Option<PathBuf>, GitError> {
        let list = self.git().arguments(["config", "--list", "--name-only", "--show-origin", "-z"]);
        let listed = self.read(list, || "look at git's configuration".to_owned()).await?;
        let own = [git_dir.to_owned(), common_dir(git_dir)];
        // Origins and names alternate in the list.
        let origins: BTreeSet<&[u8]> = command::records(&listed).step_by(2).collect();
        let files = origins.into_iter().filter_map(|origin| origin.strip_prefix(b"file:")).map(command::path);
        let mut real = files.filter_map(|file| file.canonicalize().ok());
        Ok(real.find(|file| file.starts_with(&self.top) && !own.iter().any(|own| file.starts_with(own))))
    }
}

/// Returns the directories from `start` upwards that have a `.git`, the innermost first. Returns an error if `start` is
/// inside a git directory.
fn tops(start: &Path, boundary: Option<&Path>, environment: &Environment) -> Result<Vec<PathBuf>, GitError> {
    let ceilings = ceilings(environment);
    let across =
        environment.get("GIT_DISCOVERY_ACROSS_FILESYSTEM").is_some_and(|value| value == "1" || value == "true");
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    let boundary = boundary.filter(|boundary| start.starts_with(boundary));
    let mut tops = Vec::new();
    for (index, directory) in start.ancestors().enumerate() {
        let beyond = boundary.is_some_and(|boundary| !directory.starts_with(boundary));
        let stopped = index > 0 && (ceilings.contains(directory) || !across && device(directory) != device(start));
        if beyond || stopped {
            break;
        }
        if tops.is_empty() && directory.file_name().is_some_and(|name| name == ".git") && is_git_dir(directory) {
            return Err(GitError::NoWorkTree { directory: start.to_owned() });
        }
        if fs::symlink_metadata(directory.join(".git")).is_ok() {
            tops.push(directory.to_owned());
        }
    }
    Ok(tops)
}

fn ceilings(environment: &Environment) -> BTreeSet<PathBuf> {
    let list = environment.get("GIT_CEILING_DIRECTORIES").unwrap_or_default();
    let absolute = command::absolute_paths(list);
    absolute.map(|path| path.canonicalize().unwrap_or(path)).collect()
}

fn is_git_dir(directory: &Path) -> bool {
    ["HEAD", "objects", "refs"].iter().all(|name| directory.join(name).exists())
}

/// Lets git open the work tree at `top`. Git also checks the owner. Returns `None` if git finds no repository there.
async fn open(top: &Path, environment: &Environment) -> Result<Option<Found>, GitError> {
    let dot_git = top.join(".git");
    if dot_git.is_dir() && !is_git_dir(&dot_git) {
        return Ok(None);
    }
    let operation = || format!("open the git repository of {}", printable(top));
    let mut limited = command::transports(environment.clone(), Transports::None);
    if let Some(parent) = top.parent() {
        limited = limited.with("GIT_CEILING_DIRECTORIES", parent);
    }
    let search = command::git(&limited).directory(top).arguments(["rev-parse", "--show-toplevel"]);
    let output = search.run().await.map_err(|source| ran(operation, source))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        // If a `.git` file is broken, git says "not a git repository: PATH". This is an error.
        if said.contains("not a git repository (or any") || said.contains("cannot use bare repository") {
            return Ok(None);
        }
        let (directory, source) = (top.to_owned(), output.failure());
        return Err(if said.contains("dubious ownership") {
            let repository = untrusted(&said).unwrap_or_else(|| directory.clone());
            GitError::DubiousOwnership { directory, repository, source }
        } else if said.contains("must be run in a work tree") {
            GitError::NoWorkTree { directory }
        } else {
            ran(operation, source)
        });
    }
    if command::path(output.stdout.strip_suffix(b"\n").unwrap_or(&output.stdout)) != top {
        return Err(GitError::NoWorkTree { directory: top.to_owned() });
    }
    let git_dir = git_dir(top)?;
    // The files of a work tree can come from anyone. A real `.git` directory cannot, because no commit can hold one.
    if git_dir.starts_with(top) && git_dir != dot_git {
        return Err(GitError::InTree { directory: top.to_owned(), git_dir });
    }
    Ok(Some(Found { top: top.to_owned(), git_dir, environment: environment.clone() }))
}

/// Returns the real directory that `.git` is, or that the file of that name points to.
fn git_dir(top: &Path) -> Result<PathBuf, GitError> {
    let path = top.join(".git");
    let named = match fs::read(&path) {
        Ok(text) => {
            let target = text.strip_prefix(b"gitdir:").unwrap_or(&text).trim_ascii();
            top.join(command::path(target))
        }
        Err(_) => path,
    };
    real(&named)
}

/// Returns the directory that all work trees of a repository share. Without linked work trees, this is `git_dir`.
fn common_dir(git_dir: &Path) -> PathBuf {
    let named = fs::read(git_dir.join("commondir")).ok();
    let named = named.map(|text| git_dir.join(command::path(text.trim_ascii())));
    named.and_then(|path| path.canonicalize().ok()).unwrap_or_else(|| git_dir.to_owned())
}

/// Returns `true` if the commit of `outer` has files in `directory`, or in the directory that its `.git` points to.
/// These files, and everything beside them, then belong to that commit. The directory of a submodule does not count.
async fn holds(outer: &Found, directory: &Path) -> bool {
    let target = git_dir(directory).ok().filter(|target| !target.starts_with(&outer.git_dir));
    for path in [Some(directory.to_owned()), target.filter(|target| !target.starts_with(directory))] {
        let Some(path) = path.as_deref().and_then(|path| path.strip_prefix(&outer.top).ok()) else { continue };
        let hidden = path.components().any(|part| part == Component::Normal(".git".as_ref()));
        if !hidden && is_directory_of_head(outer, path).await {
            return true;
        }
    }
    false
}

/// Returns `true` if HEAD has a directory at this path. If HEAD cannot be read, returns `false`. The directory is then
/// examined on its own.
async fn is_directory_of_head(outer: &Found, path: &Path) -> bool {
    let environment = command::transports(outer.environment.clone(), Transports::None)
        .with("GIT_DIR", outer.top.join(".git"))
        .with("GIT_WORK_TREE", outer.top.as_os_str());
    let list: Program = command::git(&environment).arguments(["ls-tree", "-z", "--full-tree", "HEAD", "--"]);
    let listed = list.arguments([path]).stdout().await.unwrap_or_default();
    command::records(&listed).any(|record| record.starts_with(b"040000 tree "))
}

fn real(path: &Path) -> Result<PathBuf, GitError> {
    path.canonicalize().map_err(|source| GitError::Directory { directory: path.to_owned(), source })
}

/// Returns the directory that git names when it does not trust the owner.
fn untrusted(said: &str) -> Option<PathBuf> {
    let (_, rest) = said.split_once("dubious ownership in repository at '")?;
    let (directory, _) = rest.split_once("'\n")?;
    Some(command::path(std::ffi::OsStr::new(directory).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_untrusted_directory_is_read_from_what_git_says() {
        let said = "fatal: detected dubious ownership in repository at '/github/work space'\nTo add an exception…\n";
        assert_eq!(untrusted(said), Some("/github/work space".into()));
        assert_eq!(untrusted("fatal: something else"), None);
    }
}
