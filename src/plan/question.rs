//! The questions that a plan asks the API server, and its answers. No question changes an object.

use serde_json::Value;

use super::observed::Lookup;
use crate::object::ident::ObjectKey;
use crate::object::kinds::{Kind, Kinds};
use crate::object::live::Live;
use crate::object::read_error::ReadError;
use crate::object::refusal::Refusal;

/// A question about one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The object that the question is about.
    pub about: ObjectKey,
    /// The request that answers it.
    pub request: Request,
}

/// A read or a dry run.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// A read of the object, in the first version of the kind.
    Get(Kind),
    /// A list of the metadata of all objects of a kind, in one namespace or in all namespaces.
    List(Kind, Option<String>),
    /// A dry run of an apply of this body.
    Apply(Kind, Value),
    /// A dry run of an apply of this body that takes over every contested field.
    ForcedApply(Kind, Value),
    /// A dry run that changes the object with this uid from one body to another.
    Patch {
        /// The kind, in the version of both bodies.
        kind: Kind,
        /// The uid of the object.
        uid: String,
        /// The body as it was read.
        from: Value,
        /// The wanted body.
        to: Value,
    },
    /// A dry run that replaces the object by exactly this body.
    Put(Kind, Value),
    /// A dry run that creates an object with this body under a generated name.
    Create(Kind, Value),
    /// A dry run that deletes the object with this uid and resourceVersion.
    Delete {
        /// The kind of the object.
        kind: Kind,
        /// The uid of the object.
        uid: String,
        /// The resourceVersion of the object.
        resource_version: String,
    },
}

/// The answer to a question. A question that got no answer has an answer too: the reason.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The answer to [`Request::Get`]. `None` if the server says that the object or its namespace does not exist.
    Read(Result<Option<Live>, ReadError>),
    /// The answer to [`Request::List`].
    Listed(Result<Vec<Live>, ReadError>),
    /// The answer to the dry run of a write: the object after it.
    Written(Result<DryRunAnswer, Refusal>),
    /// The answer to [`Request::Create`] and [`Request::Delete`].
    Permitted(Result<(), Refusal>),
}

/// The answer to the dry run of a write.
#[derive(Clone, Debug, PartialEq)]
pub struct DryRunAnswer {
    /// `true` if the write would create the object.
    pub created: bool,
    /// The object after the write.
    pub live: Live,
}

/// Asks for an object that no list showed. If the object cannot be read because its kind is not known, returns what is
/// known about it instead.
pub(crate) fn lookup(key: &ObjectKey, kinds: &Kinds) -> Result<Question, Lookup> {
    match kinds.get(&key.group_kind()) {
        Some(kind) => Ok(Question { about: key.clone(), request: Request::Get(kind.clone()) }),
        None if kinds.is_conclusive_for(&key.group) => Err(Lookup::Absent),
        None => Err(Lookup::Unknown(format!("the server of {} does not answer", key.group))),
    }
}

/// Returns what the answer to a [`lookup`] tells about the object. Only a consistent read shows that it is gone.
pub(crate) fn looked_up(key: &ObjectKey, answer: Answer, kinds: &Kinds) -> Lookup {
    match answer {
        Answer::Read(Ok(Some(live))) => Lookup::Live(live),
        Answer::Read(Ok(None)) => Lookup::Absent,
        Answer::Read(Err(ReadError::Gone)) if kinds.is_conclusive_for(&key.group) => Lookup::Absent,
        Answer::Read(Err(error)) => Lookup::Unknown(error.to_string()),
        Answer::Listed(_) | Answer::Written(_) | Answer::Permitted(_) => {
            Lookup::Unknown("the answer is about something else".to_owned())
        }
    }
}

/// The answers about one object so far, in the order of their questions.
///
/// A judgement asks them for each answer that it needs. It begins anew after each new answer, and asks the same
/// questions again, until there is an answer to all of them.
#[derive(Debug)]
pub(super) struct Told<'a> {
    about: &'a ObjectKey,
    answers: std::slice::Iter<'a, Answer>,
}

/// A question that is not answered yet.
pub(super) type Open = Box<Question>;

impl<'a> Told<'a> {
    pub(super) fn new(about: &'a ObjectKey, answers: &'a [Answer]) -> Self {
        Self { about, answers: answers.iter() }
    }

    /// The answer to the next question.
    fn next(&mut self, request: impl FnOnce() -> Request) -> Result<&'a Answer, Open> {
        let about = self.about;
        self.answers.next().ok_or_else(|| Box::new(Question { about: about.clone(), request: request() }))
    }

    /// The object after the dry run of a write.
    pub(super) fn write(&mut self, request: impl FnOnce() -> Request) -> Result<Result<DryRunAnswer, Refusal>, Open> {
        Ok(match self.next(request)? {
            Answer::Written(answer) => answer.clone(),
            _ => Err(mistaken()),
        })
    }

    /// The answer to the dry run of a creation or deletion.
    pub(super) fn permit(&mut self, request: impl FnOnce() -> Request) -> Result<Result<(), Refusal>, Open> {
        Ok(match self.next(request)? {
            Answer::Permitted(answer) => answer.clone(),
            _ => Err(mistaken()),
        })
    }

    /// The object as it is now.
    pub(super) fn read(&mut self, kind: &Kind) -> Result<Result<Option<Live>, ReadError>, Open> {
        Ok(match self.next(|| Request::Get(kind.clone()))? {
            Answer::Read(answer) => answer.clone(),
            _ => Err(ReadError::Unavailable(mistaken().to_string())),
        })
    }
}

/// The refusal that stands for an answer to another question.
fn mistaken() -> Refusal {
    Refusal::Unavailable("the answer is about something else".to_owned())
}
