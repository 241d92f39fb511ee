//! The same through action.yml, run by act.
