//! A project tree that changes at random, and the objects that it asks for at any time.

use std::collections::BTreeMap;
use std::fs;

use super::random::Random;
use crate::bench::Bench;

/// The kinds of objects in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    ConfigMap,
    Secret,
    ServiceAccount,
    Service,
    Widget,
    Namespace,
}

impl Kind {
    const NAMESPACED: [Self; 5] = [Self::ConfigMap, Self::Secret, Self::ServiceAccount, Self::Service, Self::Widget];

    /// Returns the kind's name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::ServiceAccount => "ServiceAccount",
            Self::Service => "Service",
            Self::Widget => "Widget",
            Self::Namespace => "Namespace",
        }
    }
}

/// The content of a manifest in addition to its name.
#[derive(Clone, Debug)]
struct Wanted {
    project: usize,
    value: usize,
}

/// A directory with a project of its own.
#[derive(Clone, Debug)]
struct Project {
    above: Option<usize>,
    directory: String,
    segment: String,
}

/// A root with its tree.
pub struct World {
    pub bench: Bench,
    pub dice: Random,
    projects: Vec<Project>,
    wanted: BTreeMap<(Kind, String), Wanted>,
    serial: usize,
}

/// The names of objects. They are few, so that a dropped object comes back.
const NAMES: [&str; 4] = ["ant", "bee", "cat", "dog"];

/// The flags that open every guard that a random tree may meet.
pub const GUARDS: [&str; 5] = [
    "--allow-empty",
    "--allow-mass-deletion",
    "--allow-namespace-deletion",
    "--allow-crd-deletion",
    "--allow-replacement",
];

/// Returns the arguments of an apply of the whole root.
pub fn whole() -> Vec<String> {
    let fixed = ["apply", "--yes", "--lock-timeout", "60s", "--readiness-timeout", "20s"];
    fixed.iter().chain(&GUARDS).map(ToString::to_string).collect()
}

impl World {
    /// Creates a world with some objects.
    pub fn new(begins: &str, dice: Random) -> Self {
        let bench = Bench::new(begins);
        let project = |above, name: &str| Project { above, directory: name.to_owned(), segment: name.to_owned() };
        let root = Project { above: None, directory: String::new(), segment: bench.root.clone() };
        let projects = vec![
            root,
            project(Some(0), "api"),
            project(Some(0), "web"),
            project(Some(0), "jobs"),
            project(Some(1), "inner"),
        ];
        let mut world = Self { bench, dice, projects, wanted: BTreeMap::new(), serial: 0 };
        for _ in 0..8 {
            world.add();
        }
        world.write();
        world
    }

    /// Returns the namespace of the world's objects.
    pub fn namespace(&self) -> &str {
        &self.bench.root
    }

    /// Returns the project and value of each desired object, by kind and live name.
    pub fn wanted(&self) -> BTreeMap<(Kind, String), (String, String)> {
        let wanted = self.wanted.iter().map(|((kind, name), Wanted { project, value })| {
            ((*kind, self.live_name(*kind, name)), (self.project(*project), value.to_string()))
        });
        wanted.collect()
    }

    /// Makes up to four random changes.
    pub fn change(&mut self) {
        for _ in 0..self.dice.below(5) {
            match self.dice.below(12) {
                0..=4 => self.add(),
                5..=7 => self.drop_one(),
                8 | 9 => self.move_one(),
                10 => {
                    let project = 1 + self.dice.below(self.projects.len() - 1);
                    self.serial += 1;
                    self.projects[project].segment = format!("s{}", self.serial);
                }
                _ => {
                    let project = 1 + self.dice.below(self.projects.len() - 1);
                    self.serial += 1;
                    self.projects[project].directory = format!("d{}", self.serial);
                }
            }
        }
        self.write();
    }

    /// Returns the arguments of an apply. Some applies have a narrow scope.
    pub fn arguments(&mut self) -> Vec<String> {
        let mut arguments = whole();
        if self.dice.percent(25) {
            let project = self.dice.below(self.projects.len());
            // Without the root, the scope would be empty.
            let flag = if project == 0 || self.dice.percent(50) { "-I" } else { "-X" };
            arguments.extend([flag.to_owned(), self.project(project)]);
        }
        arguments
    }

    fn add(&mut self) {
        let key = if self.dice.percent(4) {
            (Kind::Namespace, "extra".to_owned())
        } else {
            (*self.dice.choose(&Kind::NAMESPACED), (*self.dice.choose(&NAMES)).to_owned())
        };
        self.serial += 1;
        let project = self.dice.below(self.projects.len());
        self.wanted.insert(key, Wanted { project, value: self.serial });
    }

    fn drop_one(&mut self) {
        if let Some(key) = self.one() {
            self.wanted.remove(&key);
        }
    }

    fn move_one(&mut self) {
        let project = self.dice.below(self.projects.len());
        if let Some(wanted) = self.one().and_then(|key| self.wanted.get_mut(&key)) {
            wanted.project = project;
        }
    }

    fn one(&mut self) -> Option<(Kind, String)> {
        if self.wanted.is_empty() {
            return None;
        }
        let index = self.dice.below(self.wanted.len());
        self.wanted.keys().nth(index).cloned()
    }

    fn live_name(&self, kind: Kind, name: &str) -> String {
        if kind == Kind::Namespace { format!("{}-{name}", self.bench.root) } else { name.to_owned() }
    }

    fn project(&self, index: usize) -> String {
        let Project { above, segment, .. } = &self.projects[index];
        above.map_or_else(|| segment.clone(), |above| format!("{}.{segment}", self.project(above)))
    }

    fn directory(&self, index: usize) -> String {
        let Project { above, directory, .. } = &self.projects[index];
        above.map_or_else(String::new, |above| format!("{}{directory}/", self.directory(above)))
    }

    /// Writes the whole tree anew.
    fn write(&self) {
        for entry in fs::read_dir(self.bench.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
        self.bench.write(".ktor.yaml", &format!("project: {}\ncleanup: true\n", self.bench.root));
        for (index, project) in self.projects.iter().enumerate().skip(1) {
            let settings = format!("project: {}\n", project.segment);
            self.bench.write(&format!("{}.ktor.yaml", self.directory(index)), &settings);
        }
        for ((kind, name), Wanted { project, value }) in &self.wanted {
            let file = format!("{}{}-{name}.yaml", self.directory(*project), kind.name());
            self.bench.write(&file, &self.manifest(*kind, name, *value));
        }
    }

    fn manifest(&self, kind: Kind, name: &str, value: usize) -> String {
        let (version, rest) = match kind {
            Kind::ConfigMap => ("v1", format!("data: {{value: '{value}'}}\n")),
            // Half of the Secrets are immutable. A change then needs a replacement.
            Kind::Secret => ("v1", format!("stringData: {{value: '{value}'}}\nimmutable: {}\n", value % 2 == 1)),
            Kind::ServiceAccount | Kind::Namespace => ("v1", String::new()),
            Kind::Service => ("v1", format!("spec: {{clusterIP: None, ports: [{{port: {}}}]}}\n", 80 + value % 9)),
            Kind::Widget => ("chaos.ktor.test/v1", format!("spec: {{size: {value}}}\n")),
        };
        let place =
            if kind == Kind::Namespace { String::new() } else { format!("  namespace: {}\n", self.namespace()) };
        format!(
            "apiVersion: {version}\nkind: {}\nmetadata:\n  name: {}\n{place}  annotations: {{value: '{value}'}}\n{rest}",
            kind.name(),
            self.live_name(kind, name),
        )
    }
}
