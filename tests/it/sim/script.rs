//! A scenario of crashes as a script: one readable line that is printed with a counterexample and can be replayed.

use std::fmt;

use super::choice::Choice;
use super::simulation::When;

/// One step of a script: a run, and the moment at which it crashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub choice: Choice,
    /// The request at which the run crashes. If `None`, the run finishes.
    pub crash: Option<(usize, When)>,
}

/// The steps of a scenario, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script(pub Vec<Step>);

impl Script {
    /// Returns the script with one more step.
    pub fn then(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    /// Parses a script whose runs have the given choices.
    ///
    /// # Errors
    ///
    /// Returns the step that cannot be parsed.
    pub fn parse(text: &str, choices: &[Choice]) -> Result<Self, String> {
        let step = |text: &str| {
            let (choice, crash) = match text.split_once(" @") {
                Some((choice, crash)) => (choice, Some(crash)),
                None => (text, None),
            };
            let choice = choices.iter().find(|known| known.to_string() == choice).ok_or_else(|| text.to_owned())?;
            let crash = crash.map(|crash| moment(crash).ok_or_else(|| text.to_owned())).transpose()?;
            Ok(Step { choice: *choice, crash })
        };
        text.split("; ").filter(|text| !text.is_empty()).map(step).collect::<Result<_, _>>().map(Self)
    }
}

fn moment(text: &str) -> Option<(usize, When)> {
    let (number, when) = text.split_once(' ')?;
    let when = [When::Before, When::After, When::Flying].into_iter().find(|known| known.to_string() == when)?;
    Some((number.parse().ok()?, when))
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::After => "after",
            Self::Flying => "flying",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.choice)?;
        match self.crash {
            Some((number, when)) => write!(f, " @{number} {when}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&steps.join("; "))
    }
}
