//! How often what happened.

/// How often what happened, so that a clean run is known to have tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RoadTally {
    /// Instances acknowledged.
    pub acknowledged: u64,
    /// … of these, kept apart.
    pub quarantined: u64,
    /// Instances refused or given up.
    pub refused: u64,
    /// Ends of the process.
    pub restarts: u64,
    /// Packs made.
    pub packs: u64,
    /// Copies dropped.
    pub dropped: u64,
    /// Uploads put off.
    pub put_off: u64,
    /// Packs verified.
    pub verified: u64,
    /// Packs evicted.
    pub evicted: u64,
    /// Unknown packs that a start took away or entered.
    pub settled: u64,
    /// Instances read back whole.
    pub read: u64,
    /// Units of work put off because instances were arriving.
    pub yielded: u64,
}

impl RoadTally {
    /// Adds another run's counts.
    pub fn add(&mut self, run: &Self) {
        self.acknowledged += run.acknowledged;
        self.quarantined += run.quarantined;
        self.refused += run.refused;
        self.restarts += run.restarts;
        self.packs += run.packs;
        self.dropped += run.dropped;
        self.put_off += run.put_off;
        self.verified += run.verified;
        self.evicted += run.evicted;
        self.settled += run.settled;
        self.read += run.read;
        self.yielded += run.yielded;
    }
}
