//! The simulated site: one API server, the wires of its actors, what happens to each request, and what is watched.
//!
//! Every actor's requests arrive here, in process, under virtual time. An actor that crashes sends nothing more: so the
//! server as it stood before and after each request, kept aside, is every crash of a run at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request as Wired, Response};
use jiff::{SignedDuration, Timestamp};
use ktor_action::cluster::connect::KeySource;
use ktor_action::cluster::{Cluster, ClusterSettings};
use ktor_action::run::interrupt::Interrupter;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use tower::{BoxError, service_fn};

use super::invariant;
use super::model::{Answer, Request, World};

/// Where the lock's Lease stands: the root is `demo`.
pub const LEASE: &str =
    "/apis/coordination.k8s.io/v1/namespaces/kubernator-system/leases/kubernator-project-89e495e7941c-lock";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kubernator-system/leases";
/// Where the review key stands, and the commits once more.
pub const REVIEW_KEY: &str = "/api/v1/namespaces/kubernator-system/secrets/kubernator-project-89e495e7941c-review";
/// Where the state stands.
pub const STATE: &str = "/api/v1/namespaces/kubernator-system/secrets/kubernator-project-89e495e7941c";

/// What becomes of one request. One that is on its way arrives, whether or not its actor still waits for an answer.
#[derive(Clone, Debug)]
pub enum Fate {
    /// It never arrives, and the connection breaks.
    Lost,
    /// It takes effect, and the connection breaks before the answer.
    Unanswered,
    /// The server answers this status and does nothing.
    Refused(u16),
    /// It arrives so much later.
    Slow(Duration),
    /// It takes effect, and the answer comes so much later.
    AnsweredLate(Duration),
    /// A list's first page comes, and the next never does.
    Partial,
    /// It stays on its way until it is told to go on; then it arrives.
    Stalled(Arc<Notify>),
    /// It takes effect; its answer stays on its way until it is told to go on.
    StalledAnswer(Arc<Notify>),
}

/// What someone else does to the server.
#[derive(Clone)]
pub struct Hand(Arc<Doing>);

type Doing = dyn Fn(&mut World, Timestamp) + Send + Sync;

impl Hand {
    pub fn new(does: impl Fn(&mut World, Timestamp) + Send + Sync + 'static) -> Self {
        Self(Arc::new(does))
    }
}

impl std::fmt::Debug for Hand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("someone else's hand")
    }
}

/// An actor's end of the wire.
#[derive(Clone, Debug, Default)]
pub struct Fates {
    /// By the number of the actor's request, from 0.
    pub at: BTreeMap<usize, Fate>,
    /// By the number of the actor's renewal, from 0.
    pub renewals: BTreeMap<usize, Fate>,
    /// How late every answer comes, but for those about the lock.
    pub pace: Duration,
    /// BaseTree this request of the actor, what is on its way arrives.
    pub arrival: Option<usize>,
    /// BaseTree this request of the actor, someone else does something.
    pub hand: Option<(usize, Hand)>,
    /// As this request of the actor arrives, the actor is told to stop.
    pub interrupt: Option<(usize, Arc<Interrupter>)>,
    /// BaseTree this request of the actor, the other actor's stalled request goes on.
    pub wakes: Option<(usize, Arc<Notify>)>,
    /// The commit that this actor applies, counted along the branch: it is held to the order of commits then.
    pub commit: Option<usize>,
    /// How far the clock of the server that this actor talks to is ahead.
    pub skew_hours: i64,
}

/// The server at a moment at which the actor may crash.
#[derive(Clone)]
pub struct Moment {
    /// The number of the request.
    pub number: usize,
    /// The request's first line.
    pub line: String,
    pub when: When,
    pub world: World,
    /// The request, where it left and has not arrived.
    pub under_way: Option<Flying>,
    /// How many crash points are this very world: reads in between change nothing.
    pub points: usize,
}

/// When, beside the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    BaseTree,
    After,
    Flying,
}

/// Whose requests come over a connection.
struct Actor {
    name: String,
    fates: Fates,
    count: Arc<AtomicUsize>,
    renewals: AtomicUsize,
}

impl Actor {
    /// Takes a request off the wire.
    async fn sends(&self, wired: Wired<Body>) -> Result<Sent, BoxError> {
        let (parts, body) = wired.into_parts();
        let body = body.collect_bytes().await?.to_vec();
        let request = Request { method: parts.method, target: parts.uri.to_string(), body };
        let number = self.count.fetch_add(1, Relaxed);
        let mut fate = self.fates.at.get(&number);
        if request.method == Method::PUT && path_of(&request.target) == LEASE {
            fate = fate.or(self.fates.renewals.get(&self.renewals.fetch_add(1, Relaxed)));
        }
        Ok(Sent {
            number,
            line: format!("{} {}", request.method, path_of(&request.target)),
            persists: is_persisting(&request),
            fate: fate.cloned(),
            request: Arc::new(request),
        })
    }
}

/// A request of an actor.
struct Sent {
    number: usize,
    line: String,
    request: Arc<Request>,
    /// True if it changes anything.
    persists: bool,
    fate: Option<Fate>,
}

impl Sent {
    fn is_about_lock(&self) -> bool {
        path_of(&self.request.target).starts_with(LEASES)
    }
}

/// How long a request is on its way.
enum Delay {
    Until(Instant),
    Gate(Arc<Notify>),
}

impl Delay {
    async fn over(self) {
        match self {
            Self::Until(then) => sleep_until(then).await,
            Self::Gate(gate) => gate.notified().await,
        }
    }
}

/// A request that left its actor and has not arrived.
#[derive(Clone)]
pub struct Flying {
    request: Arc<Request>,
    line: String,
}

/// The site. Clones share it.
#[derive(Clone)]
pub struct Simulation(Arc<Mutex<Inside>>);

struct Inside {
    world: World,
    started: Instant,
    flying: Vec<Flying>,
    moments: Option<Vec<Moment>>,
    /// Paths that a late request changed: what they hold is nobody's fault until the next sweep.
    late: Vec<String>,
    journal: Vec<String>,
    violations: Vec<String>,
}

impl Simulation {
    /// A site with this server and nothing under way.
    pub fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(Inside {
            world,
            started: Instant::now(),
            flying: Vec::new(),
            moments: None,
            late: Vec::new(),
            journal: Vec::new(),
            violations: Vec::new(),
        })))
    }

    /// The same with a request under way.
    pub fn with_flying(world: World, flying: Option<Flying>) -> Self {
        let site = Self::new(world);
        site.0.lock().unwrap().flying.extend(flying);
        site
    }

    /// The same, where other sites left something under way, or arrived late and not looked at since.
    pub fn going_on(world: World, flying: Option<Flying>, late: Vec<String>) -> Self {
        let site = Self::with_flying(world, flying);
        site.0.lock().unwrap().late = late;
        site
    }

    /// Paths that late requests changed.
    pub fn late(&self) -> Vec<String> {
        self.0.lock().unwrap().late.clone()
    }

    /// Keeps every moment at which the next actor may crash.
    pub fn watch_moments(&self) {
        self.0.lock().unwrap().moments = Some(Vec::new());
    }

    pub fn take_moments(&self) -> Vec<Moment> {
        self.0.lock().unwrap().moments.take().unwrap_or_default()
    }

    pub fn world(&self) -> World {
        self.0.lock().unwrap().world.clone()
    }

    pub fn journal(&self) -> Vec<String> {
        self.0.lock().unwrap().journal.clone()
    }

    pub fn violations(&self) -> Vec<String> {
        self.0.lock().unwrap().violations.clone()
    }

    /// What is still under way arrives now.
    pub fn arrive(&self) {
        self.0.lock().unwrap().arrive();
    }

    /// A new actor's connection, and the count of the requests that it made so far.
    pub fn connect(&self, name: &str, fates: Fates) -> (Cluster, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let actor =
            Arc::new(Actor { name: name.to_owned(), fates, count: Arc::clone(&count), renewals: AtomicUsize::new(0) });
        let site = self.clone();
        let service = service_fn(move |wired: Wired<Body>| {
            let (site, actor) = (site.clone(), Arc::clone(&actor));
            async move { site.handle(actor, wired).await }
        });
        let keys = KeySource::Given([7; 32]);
        let settings =
            ClusterSettings { keys, readiness_timeout: Duration::from_secs(20), ..ClusterSettings::default() };
        (Cluster::over(service, settings), count)
    }

    async fn handle(&self, actor: Arc<Actor>, wired: Wired<Body>) -> Result<Response<Body>, BoxError> {
        let sent = actor.sends(wired).await?;
        let Actor { name, fates, .. } = &*actor;
        if let Some((_, interrupter)) = fates.interrupt.as_ref().filter(|(at, _)| *at == sent.number) {
            interrupter.interrupt();
        }
        if let Some((_, wake)) = fates.wakes.as_ref().filter(|(at, _)| *at == sent.number) {
            wake.notify_one();
            // Whoever was woken acts first.
            sleep(Duration::from_millis(1)).await;
        }
        self.leaves(&actor, &sent);
        let delay = match sent.fate.clone() {
            Some(Fate::Lost) => {
                self.note(format!("{name} {} {}: lost", sent.number, sent.line));
                return Err("connection reset".into());
            }
            Some(Fate::Slow(delay)) => Some(Delay::Until(Instant::now() + delay)),
            Some(Fate::Stalled(gate)) => Some(Delay::Gate(gate)),
            _ => None,
        };
        let fate = sent.fate.clone();
        let late = if sent.is_about_lock() { Duration::ZERO } else { fates.pace };
        let (answer, now) = match delay {
            None => self.arrives(&actor, &sent, false),
            Some(delay) => {
                let (waiting, answered) = oneshot::channel();
                let site = self.clone();
                tokio::spawn(async move {
                    delay.over().await;
                    let answer = site.arrives(&actor, &sent, waiting.is_closed());
                    drop(waiting.send(answer));
                });
                answered.await?
            }
        };
        match fate {
            Some(Fate::Unanswered) => return Err("connection reset".into()),
            Some(Fate::AnsweredLate(delay)) => sleep(delay).await,
            Some(Fate::StalledAnswer(gate)) => gate.notified().await,
            _ => sleep(late).await,
        }
        let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap();
        let text = match &answer.body {
            Value::String(text) => text.clone(),
            body => body.to_string(),
        };
        Ok(Response::builder().status(answer.status).header("date", date).body(Body::from(text.into_bytes())).unwrap())
    }

    /// A request leaves its actor.
    fn leaves(&self, actor: &Actor, sent: &Sent) {
        let mut inside = self.0.lock().unwrap();
        if actor.fates.arrival == Some(sent.number) {
            inside.arrive();
        }
        if let Some((_, hand)) = actor.fates.hand.as_ref().filter(|(at, _)| *at == sent.number) {
            let now = inside.now(0);
            (hand.0)(&mut inside.world, now);
        }
        inside.leaves(&actor.name, &sent.request, sent.persists);
        inside.keep(sent.number, &sent.line, When::BaseTree, None);
        if sent.persists {
            let flying = Flying { request: Arc::clone(&sent.request), line: sent.line.clone() };
            inside.keep(sent.number, &sent.line, When::Flying, Some(flying));
        }
    }

    /// A request arrives; late, where its actor waits no more.
    fn arrives(&self, actor: &Actor, sent: &Sent, is_late: bool) -> (Answer, Timestamp) {
        let mut inside = self.0.lock().unwrap();
        let now = inside.now(actor.fates.skew_hours);
        if is_late && sent.persists {
            inside.late.push(path_of(&sent.request.target).to_owned());
        }
        let answer = match sent.fate {
            Some(Fate::Refused(status)) => refusal(status),
            _ => {
                let mut answer = inside.land(&sent.request, now, &actor.name, actor.fates.commit);
                if matches!(sent.fate, Some(Fate::Partial)) && sent.request.target.contains("limit=") {
                    halve(&mut answer);
                }
                answer
            }
        };
        let told = sent.fate.as_ref().map(|fate| format!(" ({fate:?})")).unwrap_or_default();
        inside.journal.push(format!("{} {} {}: {}{told}", actor.name, sent.number, sent.line, answer.status));
        if sent.persists {
            inside.keep(sent.number, &sent.line, When::After, None);
        }
        (answer, now)
    }

    fn note(&self, line: String) {
        self.0.lock().unwrap().journal.push(line);
    }
}

impl Inside {
    /// The time by the clock of a server that is so far ahead.
    fn now(&self, skew_hours: i64) -> Timestamp {
        let first: Timestamp = "2031-05-06T07:08:09Z".parse().unwrap();
        first + SignedDuration::try_from(self.started.elapsed()).unwrap() + SignedDuration::from_hours(skew_hours)
    }

    /// **Invariant (one writer):** what changes anything leaves its actor only while the actor has the lock.
    fn leaves(&mut self, name: &str, request: &Request, persists: bool) {
        let path = path_of(&request.target);
        if !persists || path.starts_with(LEASES) || path == "/api/v1/namespaces" {
            return;
        }
        let holder = self.world.object(LEASE).and_then(|lease| lease["spec"]["holderIdentity"].as_str());
        if holder != Some(name) {
            let violation = format!("one writer: {name} sends {} {path} while {holder:?} has the lock", request.method);
            self.violations.push(violation);
        }
    }

    fn land(&mut self, request: &Request, now: Timestamp, name: &str, commit: Option<usize>) -> Answer {
        if !is_persisting(request) {
            return self.world.answer(request, now);
        }
        let before = self.world.clone();
        let answer = self.world.answer(request, now);
        if answer.status < 300 {
            let landing = invariant::Landing { request, before: &before, after: &self.world, late: &self.late, commit };
            self.violations.extend(invariant::landing(landing).into_iter().map(|what| format!("{what} ({name})")));
        }
        answer
    }

    fn arrive(&mut self) {
        for Flying { request, line } in std::mem::take(&mut self.flying) {
            self.late.push(path_of(&request.target).to_owned());
            let now = self.now(0);
            let answer = self.land(&request, now, "late", None);
            self.journal.push(format!("late {line}: {}", answer.status));
        }
    }

    fn keep(&mut self, number: usize, line: &str, when: When, under_way: Option<Flying>) {
        let Some(moments) = &mut self.moments else { return };
        // A read changes nothing: crashing before it is crashing after what came before.
        if when == When::BaseTree
            && let Some(last) = moments.iter_mut().rev().find(|moment| moment.when != When::Flying)
        {
            last.points += 1;
            return;
        }
        let line = line.to_owned();
        moments.push(Moment { number, line, when, world: self.world.clone(), under_way, points: 1 });
    }
}

/// The path of a request's target.
pub fn path_of(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

/// Returns `true` if a request changes anything, judged by what is in it.
pub fn is_persisting(request: &Request) -> bool {
    if request.method == Method::GET {
        return false;
    }
    if request.method == Method::DELETE {
        let options: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        return options["dryRun"] != json!(["All"]);
    }
    !request.target.contains("dryRun=All")
}

fn refusal(status: u16) -> Answer {
    let reason = match status {
        409 => "Conflict",
        422 => "Invalid",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    Answer { status, body: json!({"kind": "Status", "code": status, "reason": reason, "message": "no"}) }
}

/// Half of a list, and a promise of the rest that the server does not keep.
fn halve(answer: &mut Answer) {
    if let Some(items) = answer.body.get_mut("items").and_then(Value::as_array_mut) {
        items.truncate(items.len() / 2);
        answer.body["metadata"]["continue"] = json!("never");
    }
}
