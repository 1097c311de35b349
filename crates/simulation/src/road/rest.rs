//! How a run ends: nothing fails any more, and everything must come to rest verified, readable and said once.

use std::collections::BTreeSet;

use filmgate_model::InstanceState;

use super::{Check, ROUNDS_TO_REST, Run, Unread};
use crate::Faults;

impl Run {
    /// With nothing failing any more, everything must end verified, readable and said once.
    pub(super) fn come_to_rest(&mut self) -> Check {
        self.faults = Faults::default();
        *self.bucket_faults.lock() = 0;
        self.disk.cut_power();
        self.restart()?;
        for round in 0.. {
            self.clock.shift_ms(10_000);
            self.sync_round()?;
            self.index()?;
            self.pack()?;
            self.upload()?;
            self.verify()?;
            if self.is_at_rest()? {
                break;
            }
            if round == ROUNDS_TO_REST {
                return Err(format!(
                    "does not come to rest: {:?}",
                    self.wait(self.catalog.counts_by_state())
                ));
            }
        }
        self.evict()?;
        self.check_everything()
    }

    fn is_at_rest(&self) -> Result<bool, String> {
        let states = self.wait(self.catalog.counts_by_state()).map_err(|error| error.to_string())?;
        let moving = [
            InstanceState::Received,
            InstanceState::Packed,
            InstanceState::Uploaded,
            InstanceState::Retrying,
        ];
        let moving: u64 = moving.iter().map(|state| states.get(state).copied().unwrap_or(0)).sum();
        Ok(moving == 0 && self.road()?.journal().records().is_empty())
    }

    fn check_everything(&mut self) -> Check {
        for (record_id, sent) in self.acknowledged.clone() {
            match self.wait(self.read_back(record_id, &sent)) {
                Ok(()) => self.tally.read += 1,
                Err(Unread::Different(what) | Unread::Failed(what)) => {
                    return Err(format!("at rest: {what}"));
                }
            }
        }
        self.check_states()?;
        self.check_nothing_waits()?;
        self.check_said_once()
    }

    /// Everything opens but what never was acknowledged and got lost on a failing disk.
    fn check_states(&self) -> Check {
        let report = self.wait(self.road()?.verify_all(true)).map_err(|error| error.to_string())?;
        let damaged = |state| state == InstanceState::Damaged;
        match report.findings.iter().find(|finding| !damaged(finding.state)) {
            Some(finding) => Err(format!("at rest: record {} {}", finding.record_id, finding.problem)),
            None => Ok(()),
        }
    }

    /// Nothing is said to be on its way any more.
    fn check_nothing_waits(&self) -> Check {
        let status = self.wait(self.road()?.status()).map_err(|error| error.to_string())?;
        match (status.waiting.instances, status.waiting.dataset_bytes) {
            (0, 0) => Ok(()),
            _ => Err(format!("at rest, and said to be on its way: {:?}", status.waiting)),
        }
    }

    /// No answer has an instance twice, and every acknowledged one that is not kept apart is in its study's.
    fn check_said_once(&self) -> Check {
        let mut said = BTreeSet::new();
        for study in ["1.2.1", "1.2.2", "1.2.3"] {
            let instances =
                self.wait(self.catalog.instances_of_study(study)).map_err(|error| error.to_string())?;
            for instance in instances {
                if !said.insert(instance.sop_instance_uid.clone()) {
                    return Err(format!("instance {} is said twice", instance.sop_instance_uid));
                }
            }
        }
        let silent =
            self.acknowledged.values().find(|sent| !sent.broken && !said.contains(&sent.sop_instance_uid));
        match silent {
            Some(sent) => {
                Err(format!("instance {} was acknowledged and is in no answer", sent.sop_instance_uid))
            }
            None => Ok(()),
        }
    }
}
