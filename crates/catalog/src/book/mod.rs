//! The authoritative half: what nothing else could rebuild.

pub(crate) mod adopting;
pub(crate) mod ae;
pub(crate) mod alarms;
pub(crate) mod custody;
pub(crate) mod deletions;
pub(crate) mod exports;
pub(crate) mod holds;
pub(crate) mod key_rotations;
pub(crate) mod log_positions;
pub(crate) mod nodes;
pub(crate) mod outbox;
pub(crate) mod restoring;
pub(crate) mod retention;
pub(crate) mod rows;
pub(crate) mod sessions;
pub(crate) mod shredding;
pub(crate) mod telling;
pub(crate) mod tokens;
