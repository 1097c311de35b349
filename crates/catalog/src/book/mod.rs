//! The authoritative half: what nothing else could rebuild.

pub(crate) mod ae;
pub(crate) mod alarms;
pub(crate) mod sessions;
pub(crate) mod tokens;
