//! What a run may be asked to do: one of a few small trees, a scope, and what else happens to a project in between.

use std::collections::BTreeSet;

use ktor_action::project::path::ProjectPath;
use ktor_action::project::scope::ScopeRequest;
use ktor_action::project::tree::Cleanup;
use ktor_action::run::sources::{Origin, Sources};
use serde_json::{Value, json};

/// The namespace of every object.
pub const NAMESPACE: &str = "shop";

/// The trees. `x`, `y` and `w` are the objects that come, go and move; `z` stays but in `bare`.
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
    /// `demo.a`: x; `demo.b`: a file that cannot be read, z. What it held is not known.
    Broken,
    /// `demo.b`: z; there is no `demo.a` any more.
    Bare,
    /// `demo.a`: x, y, which may not be changed any more; `demo.b`: z.
    Sealed,
    /// The same with another y, which may not be changed either.
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

    /// The tree's name in a script.
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

    /// The files beside the settings, each with one object.
    fn files(self) -> Vec<(&'static str, String)> {
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

    /// The projects whose files another tree has otherwise.
    pub fn touched(self, other: Self) -> BTreeSet<ProjectPath> {
        let (ours, theirs): (BTreeSet<_>, BTreeSet<_>) =
            (self.files().into_iter().collect(), other.files().into_iter().collect());
        let differing = ours.symmetric_difference(&theirs);
        differing.map(|(path, _)| format!("demo.{}", &path[..1]).parse().unwrap()).collect()
    }

    /// The paths of the desired objects on the server.
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

    /// The manifest of a desired object.
    pub fn manifest(self, path: &str) -> Value {
        let name = path.rsplit('/').next().unwrap();
        let files = self.files();
        let (_, text) = files.iter().find(|(file, _)| file[2..].starts_with(name)).unwrap();
        serde_json::from_str(text).unwrap()
    }

    /// The project whose mark an object of this tree carries.
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
pub struct Forest(Vec<(Tree, Sources)>);

impl Forest {
    /// Writes the trees down and loads them as a run does.
    pub async fn grow() -> Self {
        let mut trees = Vec::new();
        for tree in Tree::ALL {
            let folder = tempfile::tempdir().unwrap();
            let write = |path: &str, text: &str| {
                let path = folder.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            };
            write(".ktor.yaml", &format!("project: demo\ncleanup: true\nnamespace: {NAMESPACE}\n"));
            for (path, text) in tree.files() {
                let project = &path[..1];
                write(&format!("{project}/.ktor.yaml"), &format!("project: {project}\n"));
                write(path, &text);
            }
            trees.push((tree, Sources::load(Origin::WorkTree(folder.path())).await.unwrap()));
        }
        Self(trees)
    }

    pub fn sources(&self, tree: Tree) -> &Sources {
        &self.0.iter().find(|(name, _)| *name == tree).unwrap().1
    }
}

/// What a run is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Choice {
    pub tree: Tree,
    /// The one project that is included; the whole root where there is none.
    pub only: Option<&'static str>,
    pub cleanup: Cleaning,
}

/// The root's `cleanup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cleaning {
    On,
    Off,
}

impl Choice {
    /// The whole root of a tree, with cleanup.
    pub const fn of(tree: Tree) -> Self {
        Self { tree, only: None, cleanup: Cleaning::On }
    }

    /// One project of a tree.
    pub const fn only(tree: Tree, project: &'static str) -> Self {
        Self { tree, only: Some(project), cleanup: Cleaning::On }
    }

    /// The whole root of a tree, without cleanup.
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
