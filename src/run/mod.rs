//! Sequences: what a plan run and a reconcile run do, in which order.
//!
//! Decides nothing itself (that is the plan's part), speaks to no forge, and produces no text for people.

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
