//! The conditions after a finished run: cluster, state and tree agree, and every foreign object is unchanged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Once;

use serde_json::Value;
use support::controlplane::{ControlPlane, User};

use super::world::{GUARDS, World, whole};
use crate::bench::{Bench, Ran};

/// Objects that are not ours, as they were when they were created: uid and resourceVersion by namespace, kind and name.
pub struct Foreign {
    objects: BTreeMap<(String, String, String), (String, String)>,
}

const KINDS: &str = "configmaps,secrets,serviceaccounts,services,widgets.chaos.ktor.test";

impl Foreign {
    /// Creates foreign objects that look like the world's own, in its namespace and in another one.
    pub fn surround(world: &World) -> Self {
        define_widgets(world.bench.plane);
        let (ns, other) = (world.namespace().to_owned(), elsewhere(world));
        let (root, hash) = (&world.bench.root, world.bench.hash());
        let marked = |namespace: &str, name: &str, root: &str, hash: &str| {
            format!(
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: {namespace}\n  \
                 annotations: {{kubernator.io/project: {root}.api}}\n  labels: {{kubernator.io/root: '{hash}'}}\n"
            )
        };
        let plain = |kind: &str, namespace: &str, name: &str| {
            format!("---\napiVersion: v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\n")
        };
        let created = |manager: &str, text: String| {
            world.bench.kubectl(&["create", "--field-manager", manager, "-f", "-"], &text);
        };
        created("someone", format!("---\n{}---\n{}", namespace(&ns), namespace(&other)));
        let mut unmarked = plain("ConfigMap", &ns, "ant-1") + &plain("Secret", &ns, "bees");
        for name in ["ant", "bee", "cat", "dog"] {
            unmarked += &plain("ConfigMap", &other, name);
            unmarked += &plain("Secret", &other, name);
            unmarked += &plain("ServiceAccount", &other, name);
        }
        created("someone", unmarked);
        // A backup tool restored our marks together with everything else.
        created("backup", marked(&ns, "copied", root, &hash) + &marked(&other, "copied", root, &hash));
        let others_root = format!("{root}x");
        created(&format!("ktor-{others_root}"), marked(&ns, "others", &others_root, "0123456789ab"));
        let objects = live(&world.bench, &ns).into_iter().chain(live(&world.bench, &other)).map(|object| {
            let text = |field: &str| object["metadata"][field].as_str().unwrap().to_owned();
            let key = (text("namespace"), object["kind"].as_str().unwrap().to_owned(), text("name"));
            (key, (text("uid"), text("resourceVersion")))
        });
        // Controllers may create these objects in each namespace a moment later.
        let objects = objects.filter(|((_, kind, name), _)| !is_of_the_namespace(kind, name));
        Self { objects: objects.collect() }
    }

    /// Runs applies until they succeed, and compares cluster, state and tree.
    ///
    /// After a dead run, the first run keeps every entry, and the second run settles them.
    pub fn settled(&self, world: &World) {
        finish(world);
        finish(world);
        self.check(world);
        let plan = ["plan", "--detailed-exitcode"].iter().chain(&GUARDS).map(ToString::to_string).collect::<Vec<_>>();
        run(world, &plan).exits(0);
    }

    fn check(&self, world: &World) {
        let wanted = world.wanted();
        let (ns, other) = (world.namespace().to_owned(), elsewhere(world));
        let mut found = BTreeMap::new();
        let mut untouched = BTreeMap::new();
        let everything = live(&world.bench, &ns).into_iter().chain(live(&world.bench, &other));
        for object in everything.chain(namespaces(world)) {
            let metadata = &object["metadata"];
            let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
            let (kind, name) = (object["kind"].as_str().unwrap().to_owned(), text("name"));
            let key = (text("namespace"), kind.clone(), name.clone());
            if self.objects.contains_key(&key) {
                untouched.insert(key, (text("uid"), text("resourceVersion")));
            } else if !is_of_the_namespace(&kind, &name) {
                assert_ne!(text("namespace"), other, "{kind} {name}");
                let mark = |field: &str, name: &str| metadata[field][name].as_str().unwrap_or_default().to_owned();
                assert_eq!(mark("labels", "kubernator.io/root"), world.bench.hash(), "{object:#}");
                let marks = (mark("annotations", "kubernator.io/project"), mark("annotations", "value"));
                found.insert((kind, name), marks);
            }
        }
        let expected: BTreeMap<_, _> =
            wanted.iter().map(|((kind, name), is)| ((kind.name().to_owned(), name.clone()), is.clone())).collect();
        assert_eq!(found, expected, "the cluster has what is wanted and nothing else");
        assert_eq!(untouched, self.objects, "foreign objects are as they were");

        let mut owned: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for ((kind, name), (project, _)) in wanted {
            owned.entry(project).or_default().insert(format!("{} {name}", kind.name()));
        }
        let (finalized, recorded) = world.bench.recorded();
        let recorded: BTreeMap<_, BTreeSet<_>> =
            recorded.into_iter().map(|(project, names)| (project, names.into_iter().collect())).collect();
        assert!(finalized);
        assert_eq!(recorded, owned, "the state records what is owned");
        assert_eq!(world.bench.lease(), None, "no lock is stuck");
    }
}

/// Repeats an apply of the whole root until it succeeds. Only an object that is still being deleted may cause another
/// run.
fn finish(world: &World) {
    for _ in 0..4 {
        let ran = run(world, &whole());
        match ran.code {
            Some(0) => return,
            Some(1) if ran.stderr.contains("being deleted") => {}
            _ => panic!("a run that nothing disturbs fails: {ran:#?}"),
        }
    }
    run(world, &whole()).exits(0);
}

/// Runs the binary and waits for its end.
pub fn run(world: &World, arguments: &[String]) -> Ran {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    world.bench.ktor(&arguments)
}

fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
}

fn elsewhere(world: &World) -> String {
    format!("{}-elsewhere", world.bench.root)
}

fn is_of_the_namespace(kind: &str, name: &str) -> bool {
    matches!((kind, name), ("ConfigMap", "kube-root-ca.crt") | ("ServiceAccount", "default"))
}

fn live(bench: &Bench, namespace: &str) -> Vec<Value> {
    items(&bench.kubectl(&["get", KINDS, "-n", namespace, "-o", "json"], ""))
}

/// Returns the namespaces that the world may have created.
fn namespaces(world: &World) -> Vec<Value> {
    let own = format!("{}-extra", world.bench.root);
    let mut items = items(&world.bench.kubectl(&["get", "namespaces", "-o", "json"], ""));
    items.retain(|item| item["metadata"]["name"] == own.as_str());
    items
}

fn items(text: &str) -> Vec<Value> {
    let list: Value = serde_json::from_str(text).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// Defines the custom kind, once for all worlds.
fn define_widgets(plane: &ControlPlane) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n\
            metadata: {name: widgets.chaos.ktor.test}\nspec:\n  group: chaos.ktor.test\n  scope: Namespaced\n  \
            names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}\n  versions:\n  - name: v1\n    \
            served: true\n    storage: true\n    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, \
            properties: {size: {type: integer}}}}}}\n";
        let kubeconfig = plane.kubeconfig(User::Admin);
        for (arguments, input) in [
            (vec!["apply", "-f", "-"], definition),
            (vec!["wait", "--for=condition=Established", "crd/widgets.chaos.ktor.test"], ""),
        ] {
            let output = plane.kubectl_at(&kubeconfig, &arguments, input);
            assert!(output.status.success(), "{output:?}");
        }
    });
}
