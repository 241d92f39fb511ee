//! Asks the API server what a plan needs to know. Writes nothing and decides nothing.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt};

use crate::cluster::connect::Cluster;
use crate::object::ident::ObjectKey;
use crate::object::kinds::Kinds;
use crate::object::live::Live;
use crate::object::mark::Root;
use crate::plan::build::PlanRequest;
use crate::plan::collateral::Collateral;
use crate::plan::contents::ContentsInquiry;
use crate::plan::inquiry::Inquiry;
use crate::plan::observed::Observed;
use crate::plan::question::{Answer, Question, Request, looked_up, lookup};

/// Observes everything that the plan of a request depends on and that is not in `observed` yet.
pub(crate) async fn observe(cluster: &Cluster, served: &Kinds, request: PlanRequest<'_>, observed: &mut Observed) {
    let mut inquiry = Inquiry::new(request, served);
    loop {
        let questions = inquiry.next(observed);
        if questions.is_empty() {
            return;
        }
        for (question, answer) in answers(cluster, request.root, questions).await {
            inquiry.learn(observed, question, answer);
        }
    }
}

/// Reads those of the given objects that no list showed. A consistent read of each object tells whether it is gone.
pub(crate) async fn look(
    cluster: &Cluster,
    root: &Root,
    observed: &mut Observed,
    keys: impl IntoIterator<Item = ObjectKey>,
) {
    let mut questions = Vec::new();
    for key in keys.into_iter().filter(|key| !observed.looks.contains_key(key)).collect::<Vec<_>>() {
        match lookup(&key, &observed.kinds) {
            Ok(question) => questions.push(question),
            Err(look) => drop(observed.looks.insert(key, look)),
        }
    }
    for (question, answer) in answers(cluster, root, questions).await {
        let look = looked_up(&question.about, answer, &observed.kinds);
        observed.looks.insert(question.about, look);
    }
}

/// Lists the contents of namespaces and CRDs, each as it was read.
pub(crate) async fn contents(
    cluster: &Cluster,
    root: &Root,
    kinds: &Kinds,
    holders: Vec<(ObjectKey, &Live)>,
) -> BTreeMap<ObjectKey, Collateral> {
    let mut inquiry = ContentsInquiry::new(kinds, holders);
    loop {
        let questions = inquiry.next();
        if questions.is_empty() {
            return inquiry.end(kinds);
        }
        for (question, answer) in answers(cluster, root, questions).await {
            inquiry.learn(question, answer);
        }
    }
}

/// Sends questions, as many at once as the settings allow. The answers come in any order.
async fn answers(cluster: &Cluster, root: &Root, questions: Vec<Question>) -> Vec<(Question, Answer)> {
    stream::iter(questions)
        .map(|question| async move {
            let answer = ask(cluster, root, &question).await;
            (question, answer)
        })
        .buffer_unordered(cluster.settings().concurrency)
        .collect()
        .await
}

async fn ask(cluster: &Cluster, root: &Root, Question { about, request }: &Question) -> Answer {
    match request {
        Request::Get(kind) => Answer::Read(cluster.get(kind, about).await),
        Request::List(kind, namespace) => Answer::Listed(cluster.list_metadata(kind, namespace.as_deref()).await),
        Request::Apply(kind, body) => Answer::Written(cluster.try_apply(kind, body, root).await),
        Request::ForcedApply(kind, body) => Answer::Written(cluster.try_forced_apply(kind, body, root).await),
        Request::Patch { kind, uid, from, to } => Answer::Written(cluster.try_replace(kind, uid, from, to, root).await),
        Request::Put(kind, body) => Answer::Written(cluster.try_put(kind, body, root).await),
        Request::Create(kind, body) => Answer::Permitted(cluster.try_as_new(kind, body, root).await),
        Request::Delete { kind, uid, resource_version } => {
            Answer::Permitted(cluster.try_delete(kind, about, uid, resource_version).await)
        }
    }
}
