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
    /// Packs read back equal.
    pub verified: u64,
    /// … of these, named in the log and verified.
    pub logged: u64,
    /// Packs evicted.
    pub evicted: u64,
    /// Unknown packs that a start took away or entered.
    pub settled: u64,
    /// Instances read back whole.
    pub read: u64,
    /// Records copied into packs made of packs.
    pub repacked: u64,
    /// Records read from such a pack from then on.
    pub switched: u64,
    /// Deletions asked for, confirmed or taken back.
    pub decided: u64,
    /// Holds placed.
    pub held: u64,
    /// What somebody wanted to delete and a hold or a rule forbade.
    pub forbidden: u64,
    /// Packs given up because nothing names them any more.
    pub given_up: u64,
    /// Deletions carried out to the end.
    pub deletions: u64,
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
        self.logged += run.logged;
        self.evicted += run.evicted;
        self.settled += run.settled;
        self.read += run.read;
        self.repacked += run.repacked;
        self.switched += run.switched;
        self.decided += run.decided;
        self.held += run.held;
        self.forbidden += run.forbidden;
        self.given_up += run.given_up;
        self.deletions += run.deletions;
        self.yielded += run.yielded;
    }
}
