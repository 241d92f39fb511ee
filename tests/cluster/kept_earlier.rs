//! An object that an earlier pull request removed and a guard kept. Each later run reports it in a notice, and it never
//! fails the check of an unrelated change.

use ktor_action::git::commit::Commit;
use ktor_action::object::mark::Root;
use ktor_action::project::path::Segment;
use serde_json::json;
use support::repository::TestRepository;
use support::workflow_run::{Event, Ran, dispatched, pushed};

use crate::story::Story;

const NOTICE: &str = "An earlier change left 1 object as it is";
const NO_COMMIT: &str = "0000000000000000000000000000000000000000";

/// A kind of object that a guard keeps.
#[derive(Clone, Copy)]
struct Guarded {
    /// The kind, as `kubectl` names it.
    kind: &'static str,
    manifest: fn(&str) -> String,
    /// The input that opens the guard.
    allowed: &'static str,
}

const CLAIM: Guarded = Guarded {
    kind: "persistentvolumeclaim",
    manifest: |name| {
        let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec})
            .to_string()
    },
    allowed: "KTOR_INPUT_ALLOW_VOLUME_DELETION",
};

const NAMESPACE: Guarded = Guarded {
    kind: "namespace",
    manifest: |name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).to_string(),
    allowed: "KTOR_INPUT_ALLOW_NAMESPACE_DELETION",
};

/// A story in which a merged pull request removed a guarded object, and the run of its push kept the object.
struct Kept {
    story: Story,
    guarded: Guarded,
    name: String,
    /// The push of the merge.
    push: Event,
    /// The event of the closed pull request. The forge sends it in addition to the push.
    closed: Event,
    merged: Commit,
}

impl Kept {
    fn new(root: &str, guarded: Guarded) -> Self {
        let (story, name) = (Story::new(root), format!("{root}-kept"));
        let (event, commit) = story.push(|story| {
            story.config("web", "one").origin.write("k8s/guarded.yaml", (guarded.manifest)(&name));
        });
        let ran = story.run(&event, &commit);
        assert_eq!((ran.exit, ran.output("kept")), (0, "0"), "{}", ran.log);
        let (opened, merge) = story.propose("opened", |story| {
            story.remove("guarded");
        });
        let ran = story.run(&opened, &merge);
        assert_eq!((ran.exit, ran.output("kept")), (3, "1"), "it is the pull request's own: {}", ran.log);
        let (closed, merged) = story.merge();
        let kept = Self { push: pushed(&commit, &merged), closed, story, guarded, name, merged };
        let ran = kept.story.run(&kept.push, &kept.merged);
        assert_eq!((ran.exit, ran.output("kept")), (3, "1"), "{}", ran.log);
        assert!(ran.log.contains(&format!("{} stays as it is", kept.named())), "{}", ran.log);
        assert!(!ran.summary.contains(NOTICE), "{}", ran.summary);
        assert!(kept.is_live());
        kept
    }

    /// Returns the object's name in reports.
    fn named(&self) -> String {
        let kind = if self.guarded.kind == "namespace" { "Namespace" } else { "PersistentVolumeClaim" };
        match kind {
            "Namespace" => format!("{kind} {}", self.name),
            _ => format!("{kind} {}/{}", self.story.root, self.name),
        }
    }

    fn is_live(&self) -> bool {
        let live = self.story.plane.kubectl(&["get", self.guarded.kind, &self.name, "-n", &self.story.root]);
        live.status.success()
    }

    /// Pushes an unrelated change. If `before` is given, the event names it as the commit before the push.
    fn unrelated(&self, value: &str, before: Option<&str>) -> (Event, Commit) {
        let (mut event, commit) = self.story.push(|story| {
            story.config("web", value);
        });
        if let Some(before) = before {
            event.payload()["before"] = json!(before);
        }
        (event, commit)
    }

    /// Removes the annotations that Kubernator does not know from the state, as the next write of Kubernator does.
    fn forget(&self) {
        let (plane, secret) = (self.story.plane, Root::new(Segment::new(&self.story.root).unwrap()).state_name());
        let found = plane.kubectl(&["get", "secret", &secret, "-n", "kubernator-system", "-o", "json"]);
        let found: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
        let names = found["metadata"]["annotations"].as_object().unwrap().keys();
        let ours: Vec<String> =
            names.filter(|name| name.starts_with("kubernator.io/ktor-")).map(|name| format!("{name}-")).collect();
        assert!(!ours.is_empty());
        let mut arguments = vec!["annotate", "secret", &secret, "-n", "kubernator-system"];
        arguments.extend(ours.iter().map(String::as_str));
        assert!(plane.kubectl(&arguments).status.success());
    }

    /// Asserts that the run succeeded, applied its change, and reported the kept object once.
    #[track_caller]
    fn is_told_once(&self, ran: &Ran, value: &str) {
        let Ran { exit, log, summary, .. } = ran;
        assert_eq!((*exit, ran.output("result"), ran.output("kept")), (0, "applied", "1"), "{log}\n{summary}");
        assert_eq!(self.story.live()["web"], value);
        assert!(self.is_live());
        assert_eq!(summary.matches(NOTICE).count(), 1, "{summary}");
        assert_eq!(summary.matches("earlier change").count(), 1, "{summary}");
        assert!(!log.contains("::error"), "{log}");
    }
}

#[test]
fn c5_what_a_merged_pull_request_left_kept_is_one_notice_in_every_later_push() {
    for (root, guarded) in [("kept-claim", CLAIM), ("kept-namespace", NAMESPACE)] {
        let kept = Kept::new(root, guarded);
        for value in ["two", "three", "four"] {
            let (event, commit) = kept.unrelated(value, None);
            kept.is_told_once(&kept.story.run(&event, &commit), value);
            // The same push again: something is left to do, so the run checks it. This is no failure of the push.
            kept.is_told_once(&kept.story.run(&event, &commit), value);
        }
    }
}

#[test]
fn c5_what_was_kept_earlier_turns_no_push_red_whatever_its_event_says_of_the_commit_before() {
    let kept = Kept::new("kept-before", CLAIM);
    // This commit was pushed, then replaced by a forced push before its run began. The remote no longer has it.
    kept.story.origin.branch("replaced", "main");
    let gone = kept.story.config("web", "replaced").origin.commit("replaced");
    kept.story.origin.branch("main", "main");
    kept.story.origin.git(["branch", "--quiet", "-D", "replaced"]);
    kept.story.origin.git(["reflog", "expire", "--expire=now", "--all"]);
    kept.story.origin.git(["gc", "--quiet", "--prune=now"]);
    assert!(!kept.story.origin.try_git(["cat-file", "-e", gone.as_str()]).status.success());
    let befores = [NO_COMMIT, "0123456789012345678901234567890123456789", gone.as_str()];
    for (number, before) in befores.into_iter().enumerate() {
        for is_forgotten in [false, true] {
            if is_forgotten {
                kept.forget();
            }
            let value = format!("{number} {is_forgotten}");
            let (event, commit) = kept.unrelated(&value, Some(before));
            kept.is_told_once(&kept.story.run(&event, &commit), &value);
        }
    }
}

#[test]
fn c5_what_was_kept_earlier_turns_no_plan_and_no_dispatch_red() {
    let kept = Kept::new("kept-plans", CLAIM);
    for is_forgotten in [false, true] {
        if is_forgotten {
            kept.forget();
        }
        let head = kept.story.origin.head();
        kept.is_told_once(&kept.story.run(&dispatched(&head, "refs/heads/main"), &head), "one");
    }
    let (opened, merge) = kept.story.propose("opened", |story| {
        story.config("web", "two");
    });
    let ran = kept.story.run(&opened, &merge);
    assert_eq!((ran.exit, ran.output("result"), ran.output("kept")), (0, "changes", "1"), "{}", ran.log);
    let body = kept.story.comment().body;
    assert_eq!((body.matches(NOTICE).count(), ran.summary.matches(NOTICE).count()), (1, 1), "{body}");
    let (closed, merged) = kept.story.merge();
    kept.is_told_once(&kept.story.run(&closed, &merged), "two");
}

#[test]
fn f11_a_rerun_of_what_was_kept_is_still_about_it() {
    let kept = Kept::new("kept-again", CLAIM);
    let ran = kept.story.run(&kept.push, &kept.merged);
    assert_eq!((ran.exit, ran.output("kept")), (3, "1"), "{}", ran.log);
    // The event of the closed pull request, whose run comes after the run of the push.
    for is_forgotten in [false, true] {
        if is_forgotten {
            kept.forget();
        }
        let ran = kept.story.run(&kept.closed, &kept.merged);
        assert_eq!((ran.exit, ran.output("kept")), (3, "1"), "{}", ran.log);
    }
}

#[test]
fn c5_what_was_kept_goes_once_its_guard_is_opened_and_is_told_no_more() {
    for (root, guarded) in [("kept-opened", CLAIM), ("kept-opened-ns", NAMESPACE)] {
        let kept = Kept::new(root, guarded);
        let story = &kept.story;
        let allowed = [(guarded.allowed, "true"), ("KTOR_INPUT_ALLOW_UNREVIEWED_DELETIONS", "true")];
        // Two reasons keep the object. The input for only one of them does not allow the deletion.
        for (value, inputs) in [("two", &allowed[..1]), ("three", &allowed[1..])] {
            let (event, commit) = kept.unrelated(value, None);
            let checkout = TestRepository::checkout(&story.origin, &commit);
            kept.is_told_once(&story.run_with(&checkout, &event, Some(&story.kubeconfig()), inputs), value);
        }
        let (event, commit) = kept.unrelated("four", None);
        let checkout = TestRepository::checkout(&story.origin, &commit);
        let ran = story.run_with(&checkout, &event, Some(&story.kubeconfig()), &allowed);
        assert_eq!((ran.exit, ran.output("result"), ran.output("kept")), (0, "applied", "0"), "{}", ran.log);
        assert!(!kept.is_live() && !ran.summary.contains(NOTICE), "{}", ran.summary);
        let (event, commit) = kept.unrelated("five", None);
        let ran = story.run(&event, &commit);
        assert_eq!((ran.exit, ran.output("result"), ran.output("kept")), (0, "applied", "0"), "{}", ran.log);
        assert!(!ran.summary.contains(NOTICE) && !ran.summary.contains(&kept.name), "{}", ran.summary);
        let ran = story.run(&event, &commit);
        assert_eq!((ran.exit, ran.output("result")), (0, "nothing"), "{}", ran.log);
    }
}
