//! The product's own functions over a disk that loses power between any two operations, driven by a seed.
//!
//! A run is one thread and one seed: the same seed gives the same run. What the functions promise is held against a
//! plain model; the first broken promise ends the run with a [`Violation`] that names seed and step.
//!
//! | module | what |
//! | --- | --- |
//! | `disk` | [`CrashingDisk`]: unsynced writes get lost or torn, names too, and calls fail |
//! | `inode` | a file's bytes before and after a power cut |
//! | `machine` | one or two such disks that lose power together |
//! | `journal` | [`journal_simulation`]: the journal under interleaved writers, crashes and restarts |
//! | `road` | [`road_tally`]: the whole road, from bytes that arrive to bytes that are given back |
//!
//! For tests and `cargo xtask simulate` alone.

mod disk;
mod inode;
mod journal;
mod machine;
mod road;

pub use disk::{CrashingDisk, Faults};
pub use journal::{JournalTally, journal_simulation, journal_tally};
pub use road::{RoadTally, road_tally};

/// A promise was broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}, step {step}: {what}")]
pub struct Violation {
    /// Replays the run.
    pub seed: u64,
    /// The action after which it showed.
    pub step: u64,
    /// What was promised and not kept.
    pub what: String,
}
