//! The reason why a workload is not ready, taken from its newest pod.

use std::convert::identity;

use serde_json::Value;

use super::connect::Cluster;
use super::observe::WHOLE;
use crate::object::ident::{GroupKind, ObjectKey};
use crate::object::kinds::{Kind, Kinds};
use crate::object::live::Live;

/// The reason why a workload is not ready. The text is untrusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotReadyReason {
    /// The reason in one line.
    pub reason: String,
    /// `true` if waiting does not help.
    pub is_final: bool,
}

/// The reasons of a waiting container that depend only on the name of its image.
const FINAL: [&str; 2] = ["InvalidImageName", "ErrImageNeverPull"];

/// The reasons of a waiting container that is about to start.
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

impl Cluster {
    /// Finds the reason why a workload is not ready. Reads the newest pod that has a problem, or the newest warning
    /// about the workload if there are no pods.
    ///
    /// Returns `None` if no reason is known, for example because the user may not read pods.
    pub(crate) async fn trouble(&self, kind: &Kind, key: &ObjectKey) -> Option<NotReadyReason> {
        let workload = self.get(kind, key).await.ok()??;
        let selector = selector(&workload)?;
        let namespace = key.namespace.as_deref();
        let kinds = Kinds::builtin();
        let (pod, event) = (kinds.get(&GroupKind::new("", "Pod"))?, kinds.get(&GroupKind::new("", "Event"))?);
        let pods = self.list(pod, namespace, Some(&selector), WHOLE, identity).await.ok()?;
        if pods.is_empty() {
            let events = self.list(event, namespace, None, WHOLE, identity).await.ok()?;
            return told(&events, workload.uid());
        }
        newest(&pods)
    }
}

/// The label selector for the pods of a workload.
fn selector(workload: &Live) -> Option<String> {
    let labels = workload.body.pointer("/spec/selector/matchLabels")?.as_object()?;
    let pairs = labels.iter().map(|(name, value)| Some(format!("{name}={}", value.as_str()?)));
    pairs.collect::<Option<Vec<_>>>().filter(|pairs| !pairs.is_empty()).map(|pairs| pairs.join(","))
}

/// The reason of the newest pod that has one.
fn newest(pods: &[Live]) -> Option<NotReadyReason> {
    let mut pods: Vec<&Live> = pods.iter().filter(|pod| !pod.is_terminating()).collect();
    pods.sort_by_key(|pod| std::cmp::Reverse(text(&pod.body, "/metadata/creationTimestamp").to_owned()));
    pods.into_iter().find_map(|pod| {
        let (reason, is_final) = troubled(&pod.body)?;
        Some(NotReadyReason {
            reason: format!("pod {}: {}", text(&pod.body, "/metadata/name"), line(&reason)),
            is_final,
        })
    })
}

/// The newest warning about an object.
fn told(events: &[Live], uid: &str) -> Option<NotReadyReason> {
    let about =
        |event: &&Live| text(&event.body, "/involvedObject/uid") == uid && text(&event.body, "/type") == "Warning";
    let time = |event: &&Live| {
        let times = ["/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
        times.iter().map(|time| text(&event.body, time)).find(|time| !time.is_empty()).unwrap_or_default().to_owned()
    };
    let event = events.iter().filter(about).max_by_key(time)?;
    let reason = format!("{}: {}", text(&event.body, "/reason"), text(&event.body, "/message"));
    Some(NotReadyReason { reason: line(&reason), is_final: false })
}

fn troubled(pod: &Value) -> Option<(String, bool)> {
    if text(pod, "/status/phase") == "Failed" {
        return Some((format!("{} {}", text(pod, "/status/reason"), text(pod, "/status/message")), false))
            .filter(|(reason, _)| !reason.trim().is_empty())
            .or_else(|| containers(pod).find_map(container));
    }
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let unscheduled = conditions
        .into_iter()
        .find(|condition| text(condition, "/type") == "PodScheduled" && text(condition, "/status") == "False");
    // A final reason comes before one that may pass.
    let found: Vec<(String, bool)> = containers(pod).filter_map(container).collect();
    let last = found.iter().find(|(_, is_final)| *is_final).or(found.first()).cloned();
    match (last, unscheduled) {
        (Some((reason, true)), _) => Some((reason, true)),
        (_, Some(condition)) => {
            Some((format!("{}: {}", text(condition, "/reason"), text(condition, "/message")), false))
        }
        (found, None) => found,
    }
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
    lists.into_iter().filter_map(|list| pod.pointer(list)?.as_array()).flatten()
}

fn container(status: &Value) -> Option<(String, bool)> {
    let name = text(status, "/name");
    let ended = |at: &str| {
        let code = status.pointer(&format!("{at}/exitCode"))?.as_i64().filter(|code| *code != 0)?;
        Some(format!("ended with exit code {code} ({})", text(status, &format!("{at}/reason"))))
    };
    let reason = text(status, "/state/waiting/reason");
    if !reason.is_empty() && !STARTING.contains(&reason) {
        let message = text(status, "/state/waiting/message");
        let before = ended("/lastState/terminated").map(|ended| format!(", it {ended}")).unwrap_or_default();
        let is_final = FINAL.contains(&reason);
        return Some((format!("container {name}: {reason}{before}: {message}"), is_final));
    }
    if let Some(ended) = ended("/state/terminated") {
        return Some((format!("container {name} {ended}"), false));
    }
    let is_running = status.pointer("/state/running").is_some();
    let is_ready = status.get("ready").and_then(Value::as_bool) == Some(true);
    (is_running && !is_ready).then(|| (format!("container {name} runs and is not ready"), false))
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The text as one line of at most 400 characters.
fn line(words: &str) -> String {
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let words = words.trim_end_matches([':', ' ']);
    match words.char_indices().nth(400) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, created: &str, status: Value) -> Live {
        Live { body: json!({"metadata": {"name": name, "creationTimestamp": created}, "status": status}) }
    }

    #[test]
    fn r13_the_newest_pods_reason_is_told_and_only_what_no_time_heals_is_final() {
        let check = |status: Value, expected: Option<(&str, bool)>| {
            let old = pod(
                "old",
                "2031-01-01T00:00:00Z",
                json!({"containerStatuses": [{"name": "c",
                "state": {"waiting": {"reason": "Old"}}}]}),
            );
            let new = pod("new", "2031-01-02T00:00:00Z", status.clone());
            let found = newest(&[old, new]);
            let found = found.as_ref().map(|found| (found.reason.as_str(), found.is_final));
            assert_eq!(found, expected.or(Some(("pod old: container c: Old", false))), "{status}");
        };
        let waiting = |reason: &str, message: &str| {
            json!({"containerStatuses": [{"name": "c",
            "state": {"waiting": {"reason": reason, "message": message}}}]})
        };
        check(
            json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1 nodes are available:\n no"}]}),
            Some(("pod new: Unschedulable: 0/1 nodes are available: no", false)),
        );
        check(
            waiting("ImagePullBackOff", "Back-off pulling image \"x\""),
            Some(("pod new: container c: ImagePullBackOff: Back-off pulling image \"x\"", false)),
        );
        check(waiting("InvalidImageName", "no"), Some(("pod new: container c: InvalidImageName: no", true)));
        check(waiting("ErrImageNeverPull", "no"), Some(("pod new: container c: ErrImageNeverPull: no", true)));
        check(
            json!({"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
            "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}}}]}),
            Some(("pod new: container c: CrashLoopBackOff, it ended with exit code 3 (Error): back-off", false)),
        );
        check(
            json!({"initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]}),
            Some(("pod new: container i ended with exit code 1 (Error)", false)),
        );
        check(
            json!({"containerStatuses": [{"name": "c", "ready": false, "state": {"running": {}}}]}),
            Some(("pod new: container c runs and is not ready", false)),
        );
        check(
            json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}),
            Some(("pod new: Evicted low on memory", false)),
        );
        // The new pod is about to start or works, so the reason comes from the older pod.
        check(waiting("ContainerCreating", ""), None);
        check(json!({"containerStatuses": [{"name": "c", "ready": true, "state": {"running": {}}}]}), None);
    }

    #[test]
    fn r13_without_a_pod_the_newest_warning_about_the_workload_is_told() {
        let event = |uid: &str, kind: &str, time: &str, message: &str| Live {
            body: json!({"involvedObject": {"uid": uid}, "type": kind, "lastTimestamp": time, "reason": "FailedCreate",
                "message": message}),
        };
        let events = [
            event("u", "Warning", "2", "exceeded quota: q"),
            event("u", "Warning", "1", "old"),
            event("u", "Normal", "3", "fine"),
            event("v", "Warning", "4", "another's"),
        ];
        assert_eq!(told(&events, "u").unwrap().reason, "FailedCreate: exceeded quota: q");
        assert_eq!(told(&events, "w"), None);
    }
}
