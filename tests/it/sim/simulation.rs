//! The simulated site: one API server, the connections of its actors, the fate of each request, and the checks.
//!
//! Every actor's requests arrive here, in process, under virtual time. An actor that crashes sends nothing more. Copies
//! of the server before and after each request therefore give every crash of a run at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use http::{Method, Request as Wired, Response};
use jiff::{SignedDuration, Timestamp};
use ktor_action::cluster::settings::KeySource;
use ktor_action::cluster::{Cluster, ClusterSettings};
use ktor_action::run::interrupt::Interrupter;
use kube::client::Body;
use serde_json::{Value, json};
use support::model::{Answer, Content, Request, World};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use tower::{BoxError, service_fn};

use super::invariant;

/// The path of the lock's Lease. The root is `demo`.
pub const LEASE: &str =
    "/apis/coordination.k8s.io/v1/namespaces/kubernator-system/leases/kubernator-project-89e495e7941c-lock";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kubernator-system/leases";
/// The path of the review key's Secret, which also records the commits.
pub const REVIEW_KEY: &str = "/api/v1/namespaces/kubernator-system/secrets/kubernator-project-89e495e7941c-review";
/// The path of the state's Secret.
pub const STATE: &str = "/api/v1/namespaces/kubernator-system/secrets/kubernator-project-89e495e7941c";

/// The fate of one request. A request that is under way arrives even if its actor no longer waits for an answer.
#[derive(Clone, Debug)]
pub enum Fate {
    /// The request never arrives, and the connection breaks.
    Lost,
    /// The request takes effect, and the connection breaks before the answer.
    Unanswered,
    /// The server answers this status and does nothing.
    Refused(u16),
    /// The request arrives after this delay.
    Slow(Duration),
    /// The request takes effect, and the answer comes after this delay.
    AnsweredLate(Duration),
    /// The first page of a list comes, and the next page never does.
    Partial,
    /// The request stays under way until it is told to go on. Then it arrives.
    Stalled(Arc<Notify>),
    /// The request takes effect. Its answer stays under way until it is told to go on.
    StalledAnswer(Arc<Notify>),
}

/// An action of another client on the server.
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

/// The fates and events on the connection of one actor.
#[derive(Clone, Debug, Default)]
pub struct Fates {
    /// The fates by the number of the actor's request, from 0.
    pub at: BTreeMap<usize, Fate>,
    /// The fates by the number of the actor's renewal of the lock, from 0.
    pub renewals: BTreeMap<usize, Fate>,
    /// The delay of every answer, except the answers about the lock.
    pub pace: Duration,
    /// The number of the actor's request before which the requests under way arrive.
    pub arrival: Option<usize>,
    /// The number of the actor's request before which another client acts, and the action.
    pub hand: Option<(usize, Hand)>,
    /// The number of the actor's request at which the actor is told to stop.
    pub interrupt: Option<(usize, Arc<Interrupter>)>,
    /// The number of the actor's request before which the other actor's stalled request goes on.
    pub wakes: Option<(usize, Arc<Notify>)>,
    /// The number of the commit that this actor applies, counted along the branch. If set, the actor must keep the
    /// order of commits.
    pub commit: Option<usize>,
    /// The number of hours by which the clock of this actor's server is ahead.
    pub skew_hours: i64,
}

impl Fates {
    /// Returns `true` if the connection loses and delays nothing, and nobody else acts.
    pub fn are_plain(&self) -> bool {
        let Self { at, renewals, arrival, hand, interrupt, wakes, .. } = self;
        let nothing = at.is_empty() && renewals.is_empty() && arrival.is_none();
        nothing && hand.is_none() && interrupt.is_none() && wakes.is_none()
    }
}

/// The server at a moment at which the actor may crash.
#[derive(Clone)]
pub struct Moment {
    /// The number of the request.
    pub number: usize,
    /// The method and the path of the request.
    pub line: String,
    pub when: When,
    pub world: World,
    /// The request, if it was sent and has not arrived.
    pub under_way: Option<Flying>,
    /// The number of crash points that have exactly this server. Reads in between change nothing.
    pub points: usize,
}

/// The position of a moment relative to its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    Before,
    After,
    Flying,
}

/// The actor whose requests come over one connection.
struct Actor {
    name: Arc<str>,
    fates: Fates,
    count: Arc<AtomicUsize>,
    renewals: AtomicUsize,
}

impl Actor {
    /// Reads a request from the connection and finds its fate.
    async fn sends(&self, wired: Wired<Body>) -> Result<Sent, BoxError> {
        let (parts, body) = wired.into_parts();
        let body = body.collect_bytes().await?.to_vec();
        let request = Request { method: parts.method, target: parts.uri.to_string(), body };
        let number = self.count.fetch_add(1, Relaxed);
        let mut fate = self.fates.at.get(&number);
        if request.method == Method::PUT && path_of(&request.target) == LEASE {
            fate = fate.or(self.fates.renewals.get(&self.renewals.fetch_add(1, Relaxed)));
        }
        Ok(Sent { number, persists: is_persisting(&request), fate: fate.cloned(), request: Arc::new(request) })
    }
}

/// A request that an actor sent.
struct Sent {
    number: usize,
    request: Arc<Request>,
    /// `true` if the request changes anything.
    persists: bool,
    fate: Option<Fate>,
}

impl Sent {
    fn is_about_lock(&self) -> bool {
        path_of(&self.request.target).starts_with(LEASES)
    }
}

/// The time that a request is under way.
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

/// A request that was sent and has not arrived.
#[derive(Clone)]
pub struct Flying(Arc<Request>);

/// An entry of the journal.
enum Entry {
    /// A request arrived and was answered.
    Answer {
        actor: Arc<str>,
        number: usize,
        request: Arc<Request>,
        status: u16,
        fate: Option<Fate>,
    },
    Note(String),
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Answer { actor, number, request, status, fate } => {
                write!(f, "{actor} {number} {}: {status}", line_of(request))?;
                fate.as_ref().map_or(Ok(()), |fate| write!(f, " ({fate:?})"))
            }
            Self::Note(line) => f.write_str(line),
        }
    }
}

/// The situation of a site: runs that begin in equal situations do the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Situation {
    server: u64,
    late: BTreeSet<String>,
}

/// The site. Clones share it.
#[derive(Clone)]
pub struct Simulation(Arc<Mutex<Inside>>);

struct Inside {
    world: World,
    started: Instant,
    flying: Vec<Flying>,
    /// The number of requests that arrive on their own after a delay.
    delayed: usize,
    moments: Option<Vec<Moment>>,
    /// The paths that late requests changed. Unrecorded objects at these paths are no violation until the next sweep.
    late: Vec<String>,
    journal: Vec<Entry>,
    violations: Vec<String>,
}

impl Simulation {
    /// Creates a site with this server and nothing under way.
    pub fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(Inside {
            world,
            started: Instant::now(),
            flying: Vec::new(),
            delayed: 0,
            moments: None,
            late: Vec::new(),
            journal: Vec::new(),
            violations: Vec::new(),
        })))
    }

    /// Creates a site with this server and, if given, a request under way.
    pub fn with_flying(world: World, flying: Option<Flying>) -> Self {
        let site = Self::new(world);
        site.0.lock().unwrap().flying.extend(flying);
        site
    }

    /// Creates a site that continues earlier ones: a request may be under way, and late requests may have changed paths
    /// that no run has looked at since.
    pub fn going_on(world: World, flying: Option<Flying>, late: Vec<String>) -> Self {
        let site = Self::with_flying(world, flying);
        site.0.lock().unwrap().late = late;
        site
    }

    /// Returns the paths that late requests changed.
    pub fn late(&self) -> Vec<String> {
        self.0.lock().unwrap().late.clone()
    }

    /// Starts to keep every moment at which the next actor may crash.
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
        self.0.lock().unwrap().journal.iter().map(ToString::to_string).collect()
    }

    pub fn violations(&self) -> Vec<String> {
        self.0.lock().unwrap().violations.clone()
    }

    /// Returns `true` if no request is under way.
    pub fn is_quiet(&self) -> bool {
        let inside = self.0.lock().unwrap();
        inside.flying.is_empty() && inside.delayed == 0
    }

    /// Returns everything on which later runs and their checks depend. Returns `None` if a request is still under way.
    pub fn situation(&self) -> Option<Situation> {
        self.is_quiet().then(|| {
            let inside = self.0.lock().unwrap();
            Situation { server: inside.world.digest(), late: inside.late.iter().cloned().collect() }
        })
    }

    /// Changes the server as known runs changed another server from `start` to `end`.
    pub fn change_like(&self, start: &World, end: &World) {
        let mut inside = self.0.lock().unwrap();
        inside.world = inside.world.changed_like(start, end);
        inside.journal.push(Entry::Note("the next runs are known from an equal server".to_owned()));
    }

    /// Adds violations that were found beside the requests.
    pub fn add_violations(&self, violations: Vec<String>) {
        self.0.lock().unwrap().violations.extend(violations);
    }

    /// Lets the requests that are still under way arrive now.
    pub fn arrive(&self) {
        self.0.lock().unwrap().arrive();
    }

    /// Connects a new actor. Returns its cluster and the count of the requests that it has made so far.
    pub fn connect(&self, name: &str, fates: Fates) -> (Cluster, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let actor =
            Arc::new(Actor { name: name.into(), fates, count: Arc::clone(&count), renewals: AtomicUsize::new(0) });
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
            // The actor that was woken acts first.
            sleep(Duration::from_millis(1)).await;
        }
        self.leaves(&actor, &sent);
        let delay = match sent.fate.clone() {
            Some(Fate::Lost) => {
                self.note(format!("{name} {} {}: lost", sent.number, line_of(&sent.request)));
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
                site.0.lock().unwrap().delayed += 1;
                tokio::spawn(async move {
                    delay.over().await;
                    let answer = site.arrives(&actor, &sent, waiting.is_closed());
                    site.0.lock().unwrap().delayed -= 1;
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
        let body = Body::from(answer.body.text());
        Ok(Response::builder().status(answer.status).header("date", date).body(body).unwrap())
    }

    /// Handles the departure of a request from its actor.
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
        inside.keep(sent, When::Before, None);
        if sent.persists {
            inside.keep(sent, When::Flying, Some(Flying(Arc::clone(&sent.request))));
        }
    }

    /// Handles the arrival of a request. The request is late if its actor no longer waits.
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
        inside.journal.push(Entry::Answer {
            actor: Arc::clone(&actor.name),
            number: sent.number,
            request: Arc::clone(&sent.request),
            status: answer.status,
            fate: sent.fate.clone(),
        });
        if sent.persists {
            inside.keep(sent, When::After, None);
        }
        (answer, now)
    }

    fn note(&self, line: String) {
        self.0.lock().unwrap().journal.push(Entry::Note(line));
    }
}

impl Inside {
    /// Returns the time on a server's clock that is `skew_hours` ahead.
    fn now(&self, skew_hours: i64) -> Timestamp {
        static FIRST: LazyLock<Timestamp> = LazyLock::new(|| "2031-05-06T07:08:09Z".parse().unwrap());
        *FIRST + SignedDuration::try_from(self.started.elapsed()).unwrap() + SignedDuration::from_hours(skew_hours)
    }

    /// **Invariant (one writer):** an actor sends a request that changes anything only while it holds the lock.
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
        for Flying(request) in std::mem::take(&mut self.flying) {
            self.late.push(path_of(&request.target).to_owned());
            let now = self.now(0);
            let answer = self.land(&request, now, "late", None);
            self.journal.push(Entry::Note(format!("late {}: {}", line_of(&request), answer.status)));
        }
    }

    fn keep(&mut self, sent: &Sent, when: When, under_way: Option<Flying>) {
        let Some(moments) = &mut self.moments else { return };
        // A read changes nothing. A crash before it is the same as a crash after the request before it.
        if when == When::Before
            && let Some(last) = moments.iter_mut().rev().find(|moment| moment.when != When::Flying)
        {
            last.points += 1;
            return;
        }
        let (number, line) = (sent.number, line_of(&sent.request));
        moments.push(Moment { number, line, when, world: self.world.clone(), under_way, points: 1 });
    }
}

/// Returns the method and the path of a request.
fn line_of(request: &Request) -> String {
    format!("{} {}", request.method, path_of(&request.target))
}

/// Returns the path of a request's target, without the query.
pub fn path_of(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

/// Returns `true` if a request changes anything, judged by its content.
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
    let body = json!({"kind": "Status", "code": status, "reason": reason, "message": "no"});
    Answer { status, body: Content::Value(body) }
}

/// Cuts a list in half and promises a rest that the server never sends.
fn halve(answer: &mut Answer) {
    if let Content::List { items, rest, .. } = &mut answer.body {
        items.truncate(items.len() / 2);
        *rest = Some("never");
    }
}
