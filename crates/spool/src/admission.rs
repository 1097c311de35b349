//! Whether a new association may come in: pure arithmetic over what is free.

/// What is known of room at one moment; all in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Situation {
    /// Free on the file system of the data directory.
    pub disk_free_bytes: u64,
    /// Committed records not packed yet: each has to be copied into a pack.
    pub unpacked_bytes: u64,
    /// What new frames may take in the journal's pool.
    pub journal_free_bytes: u64,
    /// The journal takes no more records.
    pub journal_closed: bool,
}

/// What has to stay free; all in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserve {
    /// The largest pack that is written at a time.
    pub pack_bytes_max: u64,
    /// For the catalog to grow.
    pub catalog_bytes: u64,
    /// Free room in the journal below which nobody new comes in.
    pub journal_free_bytes_min: u64,
    /// How much more than needed must be free before a gate that closed opens again, in percent of the need.
    pub reopen_percent: u64,
}

impl Default for Reserve {
    fn default() -> Self {
        Self {
            pack_bytes_max: 1 << 30,
            catalog_bytes: 1 << 30,
            journal_free_bytes_min: 128 << 20,
            reopen_percent: 25,
        }
    }
}

/// Why nobody new comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Free disk is less than unpacked journal, largest pack and catalog reserve together.
    DiskFull,
    /// The journal's pool is nearly full.
    JournalFull,
    /// The journal failed or was stopped.
    JournalClosed,
}

/// A gate with hysteresis: once closed for want of room it opens only when there is clearly more than needed.
#[derive(Debug, Clone)]
pub struct Admission {
    reserve: Reserve,
    refusal: Option<Refusal>,
}

impl Admission {
    /// A gate that is open until it is asked.
    #[must_use]
    pub fn new(reserve: Reserve) -> Self {
        Self { reserve, refusal: None }
    }

    /// What has to be free on the disk for a gate that closed to open again; whoever can do without room leaves it.
    #[must_use]
    pub fn disk_free_bytes_wanted(&self, unpacked_bytes: u64) -> u64 {
        with_margin(self.disk_need(unpacked_bytes), self.reserve.reopen_percent)
    }

    fn disk_need(&self, unpacked_bytes: u64) -> u64 {
        unpacked_bytes.saturating_add(self.reserve.pack_bytes_max).saturating_add(self.reserve.catalog_bytes)
    }

    /// Whether a new association may come in now; `None` when it may.
    pub fn refusal(&mut self, now: &Situation) -> Option<Refusal> {
        let margin_percent = if self.refusal.is_some() { self.reserve.reopen_percent } else { 0 };
        let with_margin = |need: u64| with_margin(need, margin_percent);
        let disk_need = self.disk_need(now.unpacked_bytes);
        self.refusal = if now.journal_closed {
            Some(Refusal::JournalClosed)
        } else if now.disk_free_bytes < with_margin(disk_need) {
            Some(Refusal::DiskFull)
        } else if now.journal_free_bytes < with_margin(self.reserve.journal_free_bytes_min) {
            Some(Refusal::JournalFull)
        } else {
            None
        };
        self.refusal
    }
}

fn with_margin(need: u64, margin_percent: u64) -> u64 {
    need.saturating_add(need / 100 * margin_percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESERVE: Reserve = Reserve {
        pack_bytes_max: 1_000,
        catalog_bytes: 1_000,
        journal_free_bytes_min: 400,
        reopen_percent: 25,
    };

    fn situation(disk_free_bytes: u64, journal_free_bytes: u64) -> Situation {
        Situation { disk_free_bytes, unpacked_bytes: 2_000, journal_free_bytes, journal_closed: false }
    }

    #[test]
    fn a_gate_closes_at_the_need_and_opens_well_above_it() {
        let mut gate = Admission::new(RESERVE);
        let mut ask = |free| gate.refusal(&situation(free, 1_000));
        assert_eq!(ask(4_000), None);
        assert_eq!(ask(3_999), Some(Refusal::DiskFull));
        assert_eq!(ask(4_000), Some(Refusal::DiskFull), "no flapping at the edge");
        assert_eq!(ask(4_999), Some(Refusal::DiskFull));
        assert_eq!(ask(5_000), None);
        assert_eq!(ask(4_000), None, "open again down to the need");
        assert_eq!(gate.disk_free_bytes_wanted(2_000), 5_000);
    }

    #[test]
    fn the_journal_has_its_own_gate() {
        let mut gate = Admission::new(RESERVE);
        assert_eq!(gate.refusal(&situation(10_000, 399)), Some(Refusal::JournalFull));
        assert_eq!(gate.refusal(&situation(10_000, 499)), Some(Refusal::JournalFull));
        assert_eq!(gate.refusal(&situation(10_000, 500)), None);
        let closed = Situation { journal_closed: true, ..situation(10_000, 500) };
        assert_eq!(gate.refusal(&closed), Some(Refusal::JournalClosed));
    }
}
