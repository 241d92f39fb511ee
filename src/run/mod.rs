//! The sequences of steps that a plan run and a reconcile run perform.
//!
//! This module makes no decisions (the `plan` module does), calls no forge, and produces no text for people.

pub(crate) mod acquire;
pub mod ancestry;
pub(crate) mod apply;
pub(crate) mod charts;
pub(crate) mod cleanup;
pub(crate) mod context;
pub mod decide;
pub(crate) mod drift;
pub(crate) mod editor;
pub mod ended;
pub mod error;
pub mod events;
pub(crate) mod freeze;
pub(crate) mod inspect;
pub mod interrupt;
pub mod judged;
pub(crate) mod listing;
pub(crate) mod migrate;
pub(crate) mod observe;
pub(crate) mod options;
pub(crate) mod rebuild;
pub mod reconcile;
pub mod record;
pub(crate) mod remove;
pub(crate) mod rename;
pub mod review;
pub mod sources;
pub(crate) mod unmanage;
pub(crate) mod waits;
pub mod workspace;
pub(crate) mod write;
pub(crate) mod write_error;

mod shards;
