//! `ktor state …`: shows a root's state, and makes changes to it that the tree cannot express.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::args::state::{
    ChangeArgs, ListArgs, MvArgs, OrphansArgs, RebuildArgs, RmArgs, RootArgs, StateCommand, StateFormat, StateShowArgs,
};
use crate::cli::connection::{connect_for, own_run, own_run_name};
use crate::cli::consent;
use crate::cli::console::Console;
use crate::cli::env::Variables;
use crate::cli::output::document;
use crate::cli::progress::Progress;
use crate::cli::signal::on_signals;
use crate::cluster::connect::Cluster;
use crate::cluster::lock::{HeldLock, LockRequest};
use crate::conclusion::exit::Exit;
use crate::conclusion::failure::{Failure, preparing};
use crate::object::ident::ObjectKey;
use crate::object::mark::Root;
use crate::project::scope::{Scope, ScopeRequest};
use crate::report::escape::logged;
use crate::report::json::v1::FORMAT_VERSION;
use crate::report::state::{self as report, EntryDocument, LockDocument, StateDocument};
use crate::report::wording::{self, counted};
use crate::run::acquire::acquire_lock;
use crate::run::decide::decide;
use crate::run::inspect::{Inspected, inspect};
use crate::run::interrupt::Interrupt;
use crate::run::rebuild::{Damaged, rebuild};
use crate::run::rename::{RenameRequest, rename_project, rename_root};
use crate::run::unmanage::unmanage;
use crate::run::workspace::Workspace;
use crate::state::rename::Renaming;
use crate::state::transition::Start;

/// Runs a command of `ktor state`.
///
/// # Errors
///
/// Anything that stops the command before its end.
pub(crate) async fn run(command: &StateCommand, variables: &Variables, console: &Console) -> Result<Exit, Failure> {
    match command {
        StateCommand::Show(args) => show(args, variables, console).await,
        StateCommand::List(args) => list(args, variables, console).await,
        StateCommand::Orphans(args) => orphans(args, variables, console).await,
        StateCommand::Rebuild(args) => rebuilt(args, variables, console).await,
        StateCommand::Mv(args) => moved(args, variables, console).await,
        StateCommand::Rm(args) => removed(args, variables, console).await,
    }
}

async fn show(args: &StateShowArgs, variables: &Variables, console: &Console) -> Result<Exit, Failure> {
    let project = Workspace::open(&args.root.path, args.root.target.as_deref(), &variables.for_programs()).await?;
    let cluster = connect_for(&project, &args.root.cluster, None, variables, console).await?;
    let namespace = &project.sources.tree.settings().state_namespace;
    let Inspected { prior, finalized, run, integrity, holder } = inspect(&cluster, namespace, &project.root).await?;
    let mut projects = BTreeMap::new();
    for (project, _) in prior.entries.iter() {
        *projects.entry(project).or_default() += 1;
    }
    let shown = StateDocument {
        format_version: FORMAT_VERSION,
        root: project.root.segment().as_str(),
        state: format!("{namespace}/{}", project.root.state_name()),
        exists: prior.exists,
        finalized,
        settled: prior.start == Start::Settled,
        ledger: prior.commits.ledger.current(),
        run: run.as_deref(),
        digest: integrity,
        projects,
        lock: holder.as_ref().map(|holder| LockDocument {
            holder: &holder.identity,
            since: holder.since.as_ref().map(ToString::to_string),
            run: holder.run_url.as_deref(),
        }),
    };
    console.report(&match args.output {
        StateFormat::Terminal => report::shown(&shown),
        StateFormat::Json => document(&shown)?,
    });
    Ok(Exit::Success)
}

async fn list(args: &ListArgs, variables: &Variables, console: &Console) -> Result<Exit, Failure> {
    let project =
        Workspace::open(&args.project.path, args.project.target.as_deref(), &variables.for_programs()).await?;
    let cluster = connect_for(&project, &args.cluster, None, variables, console).await?;
    let namespace = &project.sources.tree.settings().state_namespace;
    let entries = inspect(&cluster, namespace, &project.root).await?.prior.entries;
    let request = ScopeRequest {
        include: args.project.include_project.clone(),
        exclude: args.project.exclude_project.clone(),
        touched: None,
    };
    let mut known = project.sources.tree.projects();
    known.extend(entries.projects().cloned());
    let scope = Scope::resolve(&request, &known, &BTreeSet::new());
    let scope = scope.map_err(|error| Failure::usage(error.to_string()))?;
    let listed: Vec<_> = report::entries(&entries).into_iter().filter(|entry| scope.contains(entry.project)).collect();
    print(args.output, &project.root, &listed, &[], console)
}

async fn orphans(args: &OrphansArgs, variables: &Variables, console: &Console) -> Result<Exit, Failure> {
    let project =
        Workspace::open(&args.project.path, args.project.target.as_deref(), &variables.for_programs()).await?;
    let cluster = connect_for(&project, &args.cluster, None, variables, console).await?;
    let request = project.request(&args.project.scope(), &args.policy.options(), None, own_run(variables));
    let decided = decide(&cluster, &request, &project.sources).await?;
    let plan = &decided.plan;
    let mut listed: Vec<EntryDocument<'_>> = plan
        .cleanup
        .iter()
        .map(|change| report::entry(&change.project, &change.ident, Some(report::held_back(change))))
        .collect();
    let excluded = decided.pending.entries().iter();
    let excluded =
        excluded.filter(|(project, ident)| !plan.scope.contains(project) && !decided.desired.contains_key(&ident.key));
    listed.extend(
        excluded.map(|(project, ident)| report::entry(project, &ident, Some("its project is out of scope".to_owned()))),
    );
    let refusals = plan.refusals.iter().map(|doubt| format!("An apply would be refused: {}", wording::doubt(doubt)));
    let notices: Vec<String> = plan.notices.iter().map(wording::notice).chain(refusals).collect();
    print(args.output, &project.root, &listed, &notices, console)
}

fn print(
    format: StateFormat,
    root: &Root,
    listed: &[EntryDocument<'_>],
    notices: &[String],
    console: &Console,
) -> Result<Exit, Failure> {
    match format {
        StateFormat::Terminal => {
            for notice in notices {
                console.notice(notice);
            }
            console.report(&report::lines(listed));
        }
        StateFormat::Json => console.report(&document(&report::document(root.segment().as_str(), listed, notices))?),
    }
    Ok(Exit::Success)
}

async fn rebuilt(args: &RebuildArgs, variables: &Variables, console: &Console) -> Result<Exit, Failure> {
    let site = StateContext::open(&args.root, &args.change, variables, console).await?;
    site.consent(&format!("Record every live object that carries the mark of root {}?", site.root)).await?;
    let damaged = if args.replace_damaged { Damaged::Replaced } else { Damaged::Refused };
    let lock = site.hold(&site.root).await?;
    let result = rebuild(&site.cluster, &lock, (&site.namespace, &site.root, &site.run), damaged).await;
    drop(lock.release().await);
    let rebuilt = result?;
    let mut text = format!(
        "{} recorded, {} of them found by their mark\n",
        counted(rebuilt.recorded, "object"),
        rebuilt.added.len()
    );
    let added: Vec<_> = rebuilt.added.iter().map(|(project, ident)| report::entry(project, ident, None)).collect();
    text.push_str(&report::lines(&added));
    console.report(&text);
    for (key, why) in &rebuilt.skipped {
        console.notice(&format!("{key} is left out: {why}"));
    }
    if rebuilt.unlisted.is_empty() {
        return Ok(Exit::Success);
    }
    let mut error = Failure::new(Exit::Failure, "the rebuild is partial: run it again when every kind can be listed");
    error.messages.extend(rebuilt.unlisted.iter().map(wording::notice));
    Err(error)
}

async fn removed(args: &RmArgs, variables: &Variables, console: &Console) -> Result<Exit, Failure> {
    let site = StateContext::open(&args.root, &args.change, variables, console).await?;
    let keys: BTreeSet<ObjectKey> = args.objects.iter().cloned().collect();
    site.consent(&format!("Stop managing {} of root {}?", counted(keys.len(), "object"), site.root)).await?;
    let lock = site.hold(&site.root).await?;
    let identity = (site.namespace.as_str(), &site.root, site.run.as_str());
    let result = unmanage(&site.cluster, &lock, identity, &keys, &site.interrupt).await;
    drop(lock.release().await);
    let released = result?;
    console
        .report(&released.released.iter().map(|key| format!("{} released\n", logged(&key.word()))).collect::<String>());
    left("could not be released and stays in the state", &released.failed)
}

async fn moved(args: &MvArgs, variables: &Variables, console: &Console) -> Result<Exit, Failure> {
    let site = StateContext::open(&args.root, &args.change, variables, console).await?;
    let renaming = Renaming { from: args.from.clone(), to: args.to.clone() };
    let (old, new) = (Root::new(args.from.root()), Root::new(args.to.root()));
    let whole = args.from.parent().is_none() && args.to.parent().is_none();
    if old != new && !whole {
        return Err(Failure::usage("a project keeps its root: rename it within the root, or the root as a whole"));
    }
    if site.root != old && site.root != new {
        return Err(Failure::usage(format!("the tree is root {}'s: run in that of {old} with -p DIR", site.root)));
    }
    if renaming.of(&args.to).is_some() {
        return Err(Failure::usage(format!("{} is inside {}: choose another name", args.to, args.from)));
    }
    site.consent(&format!("Rename {} to {}?", args.from, args.to)).await?;
    let request = RenameRequest { namespace: &site.namespace, renaming: &renaming, run: &site.run };
    let result = if old == new {
        let lock = site.hold(&old).await?;
        let result = rename_project(&site.cluster, &lock, request, &site.interrupt).await;
        drop(lock.release().await);
        result
    } else {
        let (old_lock, new_lock) = site.hold_both(&old, &new).await?;
        let result = rename_root(&site.cluster, (&old_lock, &new_lock), request, &site.interrupt).await;
        drop(new_lock.release().await);
        drop(old_lock.release().await);
        result
    };
    let renamed = result?;
    console.report(&format!("{} renamed to {}\n", counted(renamed.count, "object"), args.to));
    left(&format!("still carries the mark of {}", args.from), &renamed.failed)?;
    if renamed.unlisted.is_empty() {
        return Ok(Exit::Success);
    }
    let mut error = Failure::new(Exit::Failure, "some kinds could not be listed: run the command again");
    error.messages.extend(renamed.unlisted.iter().map(wording::notice));
    Err(error)
}

/// Returns an error with one message for each object that was left unchanged, or success if there is none.
fn left(how: &str, failed: &BTreeMap<ObjectKey, String>) -> Result<Exit, Failure> {
    if failed.is_empty() {
        return Ok(Exit::Success);
    }
    let messages = failed.iter().map(|(key, why)| format!("{key} {how}: {why}")).collect();
    Err(Failure { exit: Exit::Failure, messages, place: None })
}

/// The values that every command that changes a state needs.
struct StateContext<'a> {
    cluster: Cluster,
    root: Root,
    namespace: String,
    run: String,
    change: &'a ChangeArgs,
    interrupt: Interrupt,
    console: &'a Console,
}

impl<'a> StateContext<'a> {
    async fn open(
        root: &RootArgs,
        change: &'a ChangeArgs,
        variables: &Variables,
        console: &'a Console,
    ) -> Result<Self, Failure> {
        if !change.yes && !consent::is_interactive() {
            return Err(Failure::usage("not a terminal: pass --yes to change the state without confirmation"));
        }
        let interrupt = on_signals(console);
        let prepared = preparing(&interrupt, async {
            let project = Workspace::open(&root.path, root.target.as_deref(), &variables.for_programs()).await?;
            let namespace = project.sources.tree.settings().state_namespace.clone();
            Ok((connect_for(&project, &root.cluster, None, variables, console).await?, project.root, namespace))
        });
        let (cluster, root, namespace) = prepared.await?;
        let run = own_run_name(variables);
        Ok(Self { cluster, root, namespace, run, change, interrupt, console })
    }

    async fn consent(&self, question: &str) -> Result<(), Failure> {
        if self.change.yes || preparing(&self.interrupt, async { Ok(consent::ask(question).await) }).await? {
            return Ok(());
        }
        Err(Failure::new(Exit::Refused, "the change was not approved; nothing was changed"))
    }

    async fn hold(&self, root: &Root) -> Result<HeldLock, Failure> {
        let request = LockRequest {
            namespace: self.namespace.clone(),
            root: root.clone(),
            holder: self.run.clone(),
            timeout: self.change.lock_timeout,
            run_url: None,
        };
        let progress = Progress::new(self.console);
        Ok(acquire_lock(&self.cluster, &request, &self.interrupt, &|event| progress.tell(event)).await?)
    }

    /// Acquires both locks, always in the same order, so that two renames never wait for each other.
    async fn hold_both(&self, old: &Root, new: &Root) -> Result<(HeldLock, HeldLock), Failure> {
        let old_first = old.lock_name() < new.lock_name();
        let (first, second) = if old_first { (old, new) } else { (new, old) };
        let held = self.hold(first).await?;
        match self.hold(second).await {
            Ok(other) if old_first => Ok((held, other)),
            Ok(other) => Ok((other, held)),
            Err(error) => {
                drop(held.release().await);
                Err(error)
            }
        }
    }
}
