//! The options of a simulated run: one of a few small trees, a scope, and cleanup on or off.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use ktor_action::process::Environment;
use ktor_action::process::engine::Policy;
use ktor_action::project::path::ProjectPath;
use ktor_action::project::scope::ScopeRequest;
use ktor_action::project::tree::Cleanup;
use ktor_action::run::sources::{Engines, Origin, Sources};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The namespace of every namespaced object.
pub const NAMESPACE: &str = "shop";

/// The trees. The objects `x`, `y` and `w` appear, disappear and move between trees. `z` is in every tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tree {
    /// `demo.a`: x, y; `demo.b`: z.
    Whole,
    /// `demo.a`: x; `demo.b`: z.
    Dropped,
    /// `demo.a`: x; `demo.b`: y, z.
    Moved,
    /// `demo.a`: x with another value, w; `demo.b`: z.
    Renewed,
    /// `demo.a`: x; `demo.b`: z, and a file that cannot be read. The content of that file is not known.
    Broken,
    /// `demo.b`: z. There is no `demo.a`.
    Bare,
    /// `demo.a`: x, an immutable y; `demo.b`: z.
    Sealed,
    /// The same as `Sealed`, with another value in the immutable y.
    Resealed,
}

impl Tree {
    const ALL: [Self; 8] = [
        Self::Whole,
        Self::Dropped,
        Self::Moved,
        Self::Renewed,
        Self::Broken,
        Self::Bare,
        Self::Sealed,
        Self::Resealed,
    ];

    /// Returns the tree's name in a script.
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Dropped => "dropped",
            Self::Moved => "moved",
            Self::Renewed => "renewed",
            Self::Broken => "broken",
            Self::Bare => "bare",
            Self::Sealed => "sealed",
            Self::Resealed => "resealed",
        }
    }

    /// Returns the files except the settings. Each file has one object.
    fn files(self) -> &'static [(&'static str, String)] {
        static FILES: LazyLock<[Vec<(&'static str, String)>; 8]> = LazyLock::new(|| Tree::ALL.map(Tree::written));
        &FILES[self as usize]
    }

    fn written(self) -> Vec<(&'static str, String)> {
        let config = |name: &str, value: &str| object("ConfigMap", "v1", name, &json!({"data": {"value": value}}));
        let sealed =
            |value: &str| object("ConfigMap", "v1", "y", &json!({"data": {"value": value}, "immutable": true}));
        let z = ("b/z.json", object("Secret", "v1", "z", &json!({"data": {"key": "dmFsdWU="}})));
        let role = json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]});
        match self {
            Self::Whole => vec![("a/x.json", config("x", "1")), ("a/y.json", config("y", "1")), z],
            Self::Dropped => vec![("a/x.json", config("x", "1")), z],
            Self::Moved => vec![("a/x.json", config("x", "1")), ("b/y.json", config("y", "1")), z],
            Self::Renewed => {
                let w = object("ClusterRole", "rbac.authorization.k8s.io/v1", "w", &role);
                vec![("a/x.json", config("x", "2")), ("a/w.json", w), z]
            }
            Self::Broken => vec![("a/x.json", config("x", "1")), ("b/y.json", "{".to_owned()), z],
            Self::Bare => vec![z],
            Self::Sealed => vec![("a/x.json", config("x", "1")), ("a/y.json", sealed("1")), z],
            Self::Resealed => vec![("a/x.json", config("x", "1")), ("a/y.json", sealed("2")), z],
        }
    }

    /// Returns the projects whose files differ between this tree and another one.
    pub fn touched(self, other: Self) -> BTreeSet<ProjectPath> {
        let (ours, theirs): (BTreeSet<_>, BTreeSet<_>) =
            (self.files().iter().collect(), other.files().iter().collect());
        let differing = ours.symmetric_difference(&theirs);
        differing.map(|(path, _)| format!("demo.{}", &path[..1]).parse().unwrap()).collect()
    }

    /// Returns the API paths of the desired objects.
    pub fn desired(self) -> Vec<&'static str> {
        let files = self.files();
        let paths = files.iter().filter(|(_, text)| text.len() > 1).map(|(file, _)| match &file[2..3] {
            "x" => "/api/v1/namespaces/shop/configmaps/x",
            "y" => "/api/v1/namespaces/shop/configmaps/y",
            "z" => "/api/v1/namespaces/shop/secrets/z",
            _ => "/apis/rbac.authorization.k8s.io/v1/clusterroles/w",
        });
        paths.collect()
    }

    /// Returns the manifest of a desired object, given its API path.
    pub fn manifest(self, path: &str) -> Value {
        let name = path.rsplit('/').next().unwrap();
        let files = self.files();
        let (_, text) = files.iter().find(|(file, _)| file[2..].starts_with(name)).unwrap();
        serde_json::from_str(text).unwrap()
    }

    /// Returns the project whose mark the object has in this tree.
    pub fn project_of(self, path: &str) -> &'static str {
        let name = path.rsplit('/').next().unwrap();
        let files = self.files();
        let (file, _) = files.iter().find(|(file, _)| file[2..].starts_with(name)).unwrap();
        if file.starts_with("a/") { "demo.a" } else { "demo.b" }
    }
}

fn object(kind: &str, version: &str, name: &str, rest: &Value) -> String {
    let mut body = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}});
    body.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    body.to_string()
}

/// Every tree, loaded once.
pub struct Forest {
    trees: Arc<[(Tree, Sources)]>,
}

impl Forest {
    /// Loads the trees, or takes those that another test loaded.
    pub async fn grow() -> Self {
        static TREES: OnceCell<Arc<[(Tree, Sources)]>> = OnceCell::const_new();
        let trees = TREES.get_or_init(async || Self::load().await.into()).await;
        Self { trees: Arc::clone(trees) }
    }

    /// Writes each tree to a temporary folder and loads it as a run does.
    async fn load() -> Vec<(Tree, Sources)> {
        let mut trees = Vec::new();
        for tree in Tree::ALL {
            let folder = support::temporary_directory();
            let write = |path: &str, text: &str| {
                let path = folder.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            };
            write(".ktor.yaml", &format!("project: demo\ncleanup: true\nnamespace: {NAMESPACE}\n"));
            for (path, text) in tree.files() {
                let project = &path[..1];
                write(&format!("{project}/.ktor.yaml"), &format!("project: {project}\n"));
                write(path, text);
            }
            trees.push((
                tree,
                Sources::load(
                    Origin::WorkTree { root: folder.path(), top: folder.path() },
                    None,
                    &Engines::new(Environment::default(), Policy::OWN),
                )
                .await
                .unwrap(),
            ));
        }
        trees
    }

    pub fn sources(&self, tree: Tree) -> &Sources {
        &self.trees.iter().find(|(name, _)| *name == tree).unwrap().1
    }
}

/// The options of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Choice {
    pub tree: Tree,
    /// If set, the only project in scope. Otherwise the whole root is in scope.
    pub only: Option<&'static str>,
    pub cleanup: Cleaning,
}

/// The value of the root's `cleanup` setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cleaning {
    On,
    Off,
}

impl Choice {
    /// Selects the whole root of a tree, with cleanup.
    pub const fn of(tree: Tree) -> Self {
        Self { tree, only: None, cleanup: Cleaning::On }
    }

    /// Selects one project of a tree, with cleanup.
    pub const fn only(tree: Tree, project: &'static str) -> Self {
        Self { tree, only: Some(project), cleanup: Cleaning::On }
    }

    /// Selects the whole root of a tree, without cleanup.
    pub const fn keeping(tree: Tree) -> Self {
        Self { tree, only: None, cleanup: Cleaning::Off }
    }

    pub fn scope(self) -> ScopeRequest {
        let include = self.only.map(|project| project.parse().unwrap());
        ScopeRequest { include: include.into_iter().collect(), ..ScopeRequest::default() }
    }

    pub fn cleanup(self) -> Cleanup {
        match self.cleanup {
            Cleaning::On => Cleanup::On,
            Cleaning::Off => Cleanup::Off,
        }
    }
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.tree.name())?;
        if let Some(project) = self.only {
            write!(f, " -I {project}")?;
        }
        f.write_str(if self.cleanup == Cleaning::Off { " without cleanup" } else { "" })
    }
}
