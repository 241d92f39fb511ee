//! A scenario of crashes as a script: one line that can be read, printed with a counterexample, and played again.

use std::fmt;

use super::choice::Choice;
use super::simulation::When;

/// What happens next to the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub choice: Choice,
    /// The request at which the run crashes; it comes to its end where there is none.
    pub crash: Option<(usize, When)>,
}

/// Steps in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script(pub Vec<Step>);

impl Script {
    /// The script with one more step.
    pub fn then(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    /// Reads a script whose runs are of the given choices.
    ///
    /// # Errors
    ///
    /// The step that cannot be understood.
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
    let when = [When::BaseTree, When::After, When::Flying].into_iter().find(|known| known.to_string() == when)?;
    Some((number.parse().ok()?, when))
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BaseTree => "before",
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
