//! GitHub and look-alikes: the event, the sticky comment, workflow commands.
//!
//! Adapter: `octocrab::Error` never leaves it.
