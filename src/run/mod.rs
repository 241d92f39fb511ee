//! The sequences of steps that a plan run and a reconcile run perform.
//!
//! This module makes no decisions (the `plan` module does), calls no forge, and produces no text for people.

pub mod acquire;
pub mod apply;
pub mod cleanup;
pub mod collateral;
pub mod decide;
pub mod editor;
pub mod error;
pub mod in_place;
pub mod inspect;
pub mod interrupt;
pub mod listing;
pub mod migrate;
pub mod observe;
pub mod rebuild;
pub mod reconcile;
pub mod record;
pub mod remove;
pub mod rename;
pub mod sources;
pub mod unmanage;
pub mod waits;
pub mod write;

mod shards;
