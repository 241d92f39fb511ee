//! Lists, reads of single objects, and dry runs. Nothing here can change the cluster. The gate enforces this.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::connect::Cluster;
use super::page;
use super::path::ResourcePath;
use super::request::{self, Call, Effect};
use super::transport::{ApiAnswer, SendError};
use crate::object::ident::ObjectKey;
use crate::object::kinds::Kind;
use crate::object::live::Live;
use crate::object::mark::Root;
use crate::object::read_error::ReadError;
use crate::object::refusal::Refusal;
use crate::plan::question::DryRunAnswer;

/// The number of objects in one page of a list.
const PAGE: usize = 500;

/// The media type for whole objects.
pub(super) const WHOLE: &str = "application/json";

/// The media type for metadata only. A server that does not know this form returns whole objects.
const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

impl Cluster {
    /// Lists the objects of one kind with the root's label, in one namespace or in all namespaces. The list comes from
    /// the server's latest data. Of each object, only the result of `keep` is kept.
    ///
    /// # Errors
    ///
    /// Any failure of the list. A partial list is never returned.
    pub async fn list_owned<T>(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        root: &Root,
        keep: impl Fn(Live) -> T,
    ) -> Result<Vec<T>, ReadError> {
        self.list(kind, namespace, Some(&root.selector()), WHOLE, keep).await
    }

    /// Lists the metadata of all objects of one kind, in one namespace or in all namespaces.
    ///
    /// # Errors
    ///
    /// Any failure of the list. A partial list is never returned.
    pub async fn list_metadata(&self, kind: &Kind, namespace: Option<&str>) -> Result<Vec<Live>, ReadError> {
        self.list(kind, namespace, None, METADATA, std::convert::identity).await
    }

    pub(super) async fn list<T>(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        selector: Option<&str>,
        accept: &'static str,
        keep: impl Fn(Live) -> T,
    ) -> Result<Vec<T>, ReadError> {
        let version = kind.versions.first().map_or("v1", String::as_str);
        let path = ResourcePath::collection(kind, version, namespace);
        let limit = PAGE.to_string();
        let mut restarted = false;
        let mut found = Vec::new();
        let mut next = String::new();
        loop {
            let mut query = vec![("limit", limit.as_str())];
            query.extend(selector.map(|selector| ("labelSelector", selector)));
            if !next.is_empty() {
                query.push(("continue", next.as_str()));
            }
            let target = path.with(&query);
            let answer = self.wire.send(&Call::get(target).accepting(accept)).await;
            let answer = answer.map_err(SendError::into_read_error)?;
            // The server no longer has the version of this list. The list starts again once.
            if answer.status == http::StatusCode::GONE && !restarted {
                (restarted, found, next) = (true, Vec::new(), String::new());
                continue;
            }
            next = take_page(&answer, kind, version, &keep, &mut found)?;
            if next.is_empty() {
                return Ok(found);
            }
        }
    }

    /// Reads one object in the first version of its kind. Returns `None` if the server answers that the object or its
    /// namespace does not exist.
    ///
    /// # Errors
    ///
    /// Any other failure. An error does not show that the object is absent.
    pub async fn get(&self, kind: &Kind, key: &ObjectKey) -> Result<Option<Live>, ReadError> {
        let path = request::object(kind, key).map_err(|refusal| ReadError::Unavailable(refusal.to_string()))?;
        let answer = self.wire.send(&Call::get(path)).await.map_err(SendError::into_read_error)?;
        if answer.is_missing_object() {
            return Ok(None);
        }
        if !answer.status.is_success() {
            return Err(answer.read_error());
        }
        answer.object().map(Some).map_err(|refusal| ReadError::Unavailable(refusal.to_string()))
    }

    /// Asks the server for a dry run of an apply. If the body has a `metadata.uid`, only the object with this uid can
    /// be updated, and nothing can be created.
    ///
    /// # Errors
    ///
    /// The server refuses the apply.
    pub async fn try_apply(&self, kind: &Kind, body: &Value, root: &Root) -> Result<DryRunAnswer, Refusal> {
        let path = request::described(kind, body)?;
        self.ask(&Call::apply(&path, body, root, Effect::DryRun)).await?.written()
    }

    /// Asks the server for a dry run of an apply that takes over every contested field.
    ///
    /// This is only for a plan. It shows the result of an apply after the fields of other managers have become ours.
    ///
    /// # Errors
    ///
    /// The server refuses the apply.
    pub async fn try_forced_apply(&self, kind: &Kind, body: &Value, root: &Root) -> Result<DryRunAnswer, Refusal> {
        let path = request::described(kind, body)?;
        self.ask(&Call::try_forced_apply(&path, body, root)).await?.written()
    }

    /// Asks the server for a dry run that changes the object with this uid from `from` to `to`. `from` is about the
    /// live object. The status and the metadata that only the server writes are left out.
    ///
    /// The answer contains the defaults that the server sets for fields which `to` lacks.
    ///
    /// # Errors
    ///
    /// The server refuses the change, or the object has another uid.
    pub async fn try_replace(
        &self,
        kind: &Kind,
        uid: &str,
        from: &Value,
        to: &Value,
        root: &Root,
    ) -> Result<DryRunAnswer, Refusal> {
        let path = request::described(kind, to)?;
        let mut operations = vec![json!({"op": "test", "path": "/metadata/uid", "value": uid})];
        let nothing = Value::Null;
        let (old, new) = (from.get("metadata").unwrap_or(&nothing), to.get("metadata").unwrap_or(&nothing));
        let names = ["annotations", "finalizers", "labels", "ownerReferences"];
        operations.extend(names.iter().filter_map(|name| replacing("/metadata/", name, old, new)));
        let content = from.as_object().into_iter().chain(to.as_object()).flat_map(serde_json::Map::keys);
        let content: BTreeSet<&String> =
            content.filter(|name| !["apiVersion", "kind", "metadata", "status"].contains(&name.as_str())).collect();
        operations.extend(content.into_iter().filter_map(|name| replacing("/", name, from, to)));
        self.ask(&Call::json_patch(&path, &json!(operations), root, Effect::DryRun)).await?.written()
    }

    /// Asks the server for a dry run that replaces the object by exactly this body. The body must have the
    /// resourceVersion that was read.
    pub(crate) async fn try_put(&self, kind: &Kind, body: &Value, root: &Root) -> Result<DryRunAnswer, Refusal> {
        let path = request::described(kind, body)?;
        let manager = root.field_manager();
        let target = path.with(&[("fieldManager", manager.as_str()), ("dryRun", "All")]);
        self.ask(&Call::put(target, body)).await?.written()
    }

    /// Asks the server for a dry run that creates the object under a generated name.
    ///
    /// This shows if a field is immutable or if the manifest is wrong. A refusal here proves nothing.
    ///
    /// # Errors
    ///
    /// The server refuses the object.
    pub async fn try_as_new(&self, kind: &Kind, body: &Value, root: &Root) -> Result<(), Refusal> {
        let (collection, _) = request::described_in(kind, body)?;
        let mut body = body.clone();
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["name", "uid", "resourceVersion"] {
                metadata.remove(field);
            }
            metadata.insert("generateName".to_owned(), json!("ktor-probe-"));
        }
        let manager = root.field_manager();
        let query = [("fieldManager", manager.as_str()), ("fieldValidation", "Strict"), ("dryRun", "All")];
        let target = collection.with(&query);
        self.ask(&Call::post(target, &body)).await.map(drop)
    }

    /// Asks the server for a dry run that deletes exactly this object.
    ///
    /// # Errors
    ///
    /// The server refuses the deletion.
    pub async fn try_delete(
        &self,
        kind: &Kind,
        key: &ObjectKey,
        uid: &str,
        resource_version: &str,
    ) -> Result<(), Refusal> {
        let path = request::object(kind, key)?;
        self.ask(&Call::delete(path, uid, resource_version, Effect::DryRun)).await.map(drop)
    }

    async fn ask(&self, call: &Call) -> Result<ApiAnswer, Refusal> {
        let answer = self.wire.send(call).await.map_err(SendError::into_refusal)?;
        if answer.status.is_success() { Ok(answer) } else { Err(answer.refusal_of(&call.target)) }
    }
}

impl ApiAnswer {
    /// The object after the dry run of a write.
    fn written(self) -> Result<DryRunAnswer, Refusal> {
        Ok(DryRunAnswer { created: self.status == http::StatusCode::CREATED, live: self.object()? })
    }
}

/// The operation of a JSON patch that gives a field the value it has in `to`. Returns `None` if neither side has the
/// field.
fn replacing(above: &str, name: &str, from: &Value, to: &Value) -> Option<Value> {
    let path = format!("{above}{}", name.replace('~', "~0").replace('/', "~1"));
    match (from.get(name), to.get(name)) {
        (_, Some(value)) => Some(json!({"op": "add", "path": path, "value": value})),
        (Some(_), None) => Some(json!({"op": "remove", "path": path})),
        (None, None) => None,
    }
}

/// Adds what `keep` keeps of the objects of a page, each with its apiVersion and kind. Returns the token of the next
/// page, which is empty after the last page.
fn take_page<T>(
    answer: &ApiAnswer,
    kind: &Kind,
    version: &str,
    keep: impl Fn(Live) -> T,
    found: &mut Vec<T>,
) -> Result<String, ReadError> {
    if !answer.status.is_success() {
        return Err(answer.read_error());
    }
    let group = &kind.group_kind.group;
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let before = found.len();
    let next = page::read(&answer.body, &mut |mut body| {
        body["apiVersion"] = json!(api_version);
        body["kind"] = json!(kind.group_kind.kind);
        found.push(keep(Live { body }));
    });
    next.ok_or_else(|| {
        found.truncate(before);
        ReadError::Unavailable("the server's answer is not a list".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, Fault, root};
    use super::*;
    use crate::object::ident::GroupKind;
    use crate::object::kinds::Kinds;
    use http::Method;

    const ALL: &str = "/apis/apps/v1/deployments";

    fn kind() -> Kind {
        Kinds::builtin().get(&GroupKind::new("apps", "Deployment")).unwrap().clone()
    }

    fn page(names: &[&str], next: &str) -> Fault {
        let items: Vec<Value> = names.iter().map(|name| json!({"metadata": {"name": name}})).collect();
        Fault::ApiAnswer(200, json!({"metadata": {"continue": next}, "items": items}))
    }

    async fn names(fake: &Fake) -> Result<Vec<String>, ReadError> {
        let found = fake.cluster().list_owned(&kind(), None, &root(), std::convert::identity).await?;
        assert!(found.iter().all(|live| live.body["apiVersion"] == "apps/v1" && live.body["kind"] == "Deployment"));
        Ok(found.iter().map(|live| live.body["metadata"]["name"].as_str().unwrap().to_owned()).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn every_page_of_a_list_is_read_from_the_latest_data() {
        let fake = Fake::new();
        fake.fail(Method::GET, ALL, page(&["a", "b"], "t/=+1"));
        fake.fail(Method::GET, ALL, page(&["c"], ""));
        assert_eq!(names(&fake).await.unwrap(), ["a", "b", "c"]);
        let selector = "labelSelector=kubernator.io%2Froot%3D89e495e7941c";
        let first = format!("GET {ALL}&limit=500&{selector}");
        assert_eq!(fake.journal(), [first.clone(), format!("{first}&continue=t%2F%3D%2B1")]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_grew_too_old_begins_anew_once() {
        let fake = Fake::new();
        let gone = || Fault::ApiAnswer(410, json!({"kind": "Status", "reason": "Expired", "message": "too old"}));
        fake.fail(Method::GET, ALL, page(&["a"], "t"));
        fake.fail(Method::GET, ALL, gone());
        fake.fail(Method::GET, ALL, page(&["b"], "t"));
        fake.fail(Method::GET, ALL, page(&["c"], ""));
        assert_eq!(names(&fake).await.unwrap(), ["b", "c"]);
        for fault in [page(&["a"], "t"), gone(), gone(), page(&["a"], "")] {
            fake.fail(Method::GET, ALL, fault);
        }
        assert!(matches!(names(&fake).await, Err(ReadError::Unavailable(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_read_is_never_an_empty_one() {
        let forbidden = json!({"kind": "Status", "message": "no"});
        for (fault, expected) in [
            (Fault::ApiAnswer(403, forbidden), ReadError::Forbidden("no".to_owned())),
            (Fault::ApiAnswer(404, json!("404 page not found")), ReadError::Gone),
            (Fault::RetryAfter(503, 3600), ReadError::Unavailable("{}".to_owned())),
            (
                Fault::ApiAnswer(200, json!("hello")),
                ReadError::Unavailable("the server's answer is not a list".to_owned()),
            ),
        ] {
            let fake = Fake::new();
            fake.fail(Method::GET, ALL, fault);
            assert_eq!(names(&fake).await, Err(expected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_servers_word_about_the_object_is_absence() {
        let key = ObjectKey {
            group: "apps".into(),
            kind: "Deployment".into(),
            namespace: Some("a".into()),
            name: "x".into(),
        };
        let fake = Fake::new();
        assert_eq!(fake.cluster().get(&kind(), &key).await, Ok(None));
        fake.fail(Method::GET, "/deployments/x", Fault::ApiAnswer(404, json!("404 page not found")));
        assert_eq!(fake.cluster().get(&kind(), &key).await, Err(ReadError::Gone));
    }
}
