//! The authoritative half: what nothing else could rebuild.

pub(crate) mod ae;
pub(crate) mod alarms;
