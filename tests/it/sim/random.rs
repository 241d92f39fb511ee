//! Long random histories of one root, beyond what can be enumerated. One history is a life. It has up to six runs of
//! any tree and scope that crash, fail, stall and are disturbed, with runs of Kubernator and actions of other clients
//! in between. The seed determines the whole life. A failure prints the seed and the life.

use std::time::Duration;

use support::announce;
use support::model::World;

use super::choice::{Choice, Forest, Tree};
use super::crashes::{beginning, fail_on};
use super::history::{Run, run, settle};
use super::invariant::foreigners;
use super::other_actors::{kubernator, recreate};
use super::simulation::{Fate, Fates, Flying, Hand, Simulation};

const TREES: [Tree; 8] =
    [Tree::Whole, Tree::Dropped, Tree::Moved, Tree::Renewed, Tree::Broken, Tree::Bare, Tree::Sealed, Tree::Resealed];
/// The trees that Kubernator applies. The sealed trees are left out: they would make another client's copy immutable,
/// and ktor never replaces an object that is not ours.
const THEIRS: [Tree; 5] = [Tree::Whole, Tree::Dropped, Tree::Moved, Tree::Renewed, Tree::Bare];
/// The trees without a source that cannot be read.
const GOALS: [Tree; 7] =
    [Tree::Whole, Tree::Dropped, Tree::Moved, Tree::Renewed, Tree::Bare, Tree::Sealed, Tree::Resealed];

/// A pseudo-random sequence that its seed determines: splitmix64.
struct Random(u64);

impl Random {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }

    fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).unwrap()
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    fn choice(&mut self) -> Choice {
        let tree = self.of(&TREES);
        match self.below(5) {
            0 => Choice::only(tree, "demo.a"),
            1 => Choice::only(tree, "demo.b"),
            2 => Choice::keeping(tree),
            _ => Choice::of(tree),
        }
    }

    fn fate(&mut self) -> Fate {
        match self.below(8) {
            0 => Fate::Lost,
            1 => Fate::Unanswered,
            2 => Fate::Refused(self.of(&[409, 422, 429, 500, 503])),
            3 => Fate::Partial,
            4 => Fate::Slow(Duration::from_secs(self.below(150))),
            _ => Fate::AnsweredLate(Duration::from_secs(self.below(150))),
        }
    }
}

/// The result of a life so far.
struct Life {
    world: World,
    /// The request that a dead run sent and that has not arrived.
    flying: Option<Flying>,
    /// The paths that late requests changed and that no run has looked at since.
    late: Vec<String>,
    script: Vec<String>,
}

impl Life {
    fn site(&self) -> Simulation {
        Simulation::going_on(self.world.clone(), self.flying.clone(), self.late.clone())
    }

    fn fail_on(&self, violations: &[String], site: &Simulation, seed: u64) {
        fail_on(violations, site, &format!("seed {seed}: {}", self.script.join("; ")));
    }

    /// Makes one run, to its end or to a moment of it at which it dies.
    async fn run(&mut self, forest: &Forest, dice: &mut Random, number: usize) -> Simulation {
        let (site, known) = (self.site(), self.late.len());
        let mut fates = Fates { skew_hours: dice.of(&[0, 0, 10, -10]), ..Fates::default() };
        let faults = dice.of(&[0, 0, 1, 2, 3]);
        for _ in 0..faults {
            fates.at.insert(dice.index(60), dice.fate());
        }
        if dice.one_in(6) {
            fates.hand = Some((dice.index(60), Hand::new(recreate)));
        }
        if self.flying.is_some() {
            fates.arrival = Some(dice.index(60));
        }
        let choice = dice.choice();
        let interrupt = dice.one_in(8).then(|| dice.index(60));
        self.script.push(format!("{choice}, {fates:?}, interrupted at {interrupt:?}"));
        // A moment does not say which late requests had arrived by then. A run in which a late request arrives
        // therefore never dies.
        let dies = self.flying.is_none() && dice.one_in(2);
        if dies {
            site.watch_moments();
        }
        let ended = run(&site, forest, &Run { fates, interrupt, ..Run::of(format!("run-{number}"), choice) }).await;
        site.arrive();
        (self.world, self.flying, self.late) = (site.world(), None, site.late());
        if dies {
            let mut moments = site.take_moments();
            let moment = moments.swap_remove(dice.index(moments.len()));
            self.script.push(format!("died at its request {} {}", moment.number, moment.when));
            (self.world, self.flying) = (moment.world, moment.under_way);
        } else if ended.result.is_ok() {
            // A request that arrived during the run may have come after the run looked for such requests, so its path
            // stays.
            self.late.drain(..known);
        }
        site
    }
}

async fn live(forest: &Forest, seed: u64) {
    let mut dice = Random(seed);
    let mut life = Life { world: beginning(), flying: None, late: Vec::new(), script: Vec::new() };
    for number in 0..2 + dice.index(5) {
        let site = life.run(forest, &mut dice, number).await;
        life.fail_on(&site.violations(), &site, seed);
        let now = "2031-05-07T07:08:09Z".parse().unwrap();
        if dice.one_in(5) {
            let tree = dice.of(&THEIRS);
            life.script.push(format!("Kubernator: {}", tree.name()));
            kubernator(&mut life.world, tree, now);
        }
        if dice.one_in(6) {
            life.script.push("y is made anew".to_owned());
            recreate(&mut life.world, now);
        }
    }
    let goal = dice.of(&GOALS);
    let site = life.site();
    site.arrive();
    let mut violations = settle(&site, forest, goal).await;
    if foreigners(&site.world()) != foreigners(&beginning()) {
        violations.push("nothing foreign is touched: someone else's object changed".to_owned());
    }
    life.script.push(format!("settle on {}", goal.name()));
    life.fail_on(&violations, &site, seed);
}

/// Returns the number in an environment variable, or the default if the variable is not set. A person can set the
/// number of lives and the first seed.
#[expect(clippy::disallowed_methods, reason = "the product reads its environment in cli::env; this is no product code")]
fn asked(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Makes the lives of the even or of the odd seeds.
async fn live_all(is_even: bool) {
    let forest = Forest::grow().await;
    let (lives, first) = (asked("KTOR_LIVES", 250), asked("KTOR_SEED", 1));
    let seeds: Vec<u64> = (first..first + lives).filter(|seed| seed.is_multiple_of(2) == is_even).collect();
    for seed in &seeds {
        live(&forest, *seed).await;
    }
    let which = if is_even { "even" } else { "odd" };
    announce(&format!("simulator: random lives: {} of {which} seeds from {first}", seeds.len()));
}

#[tokio::test(start_paused = true)]
async fn o2_o13_random_lives_of_even_seeds_end_settled() {
    live_all(true).await;
}

#[tokio::test(start_paused = true)]
async fn o2_o13_random_lives_of_odd_seeds_end_settled() {
    live_all(false).await;
}
