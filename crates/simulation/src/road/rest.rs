//! How a run ends: nothing fails any more, and everything must come to rest verified, readable and said once.

use std::collections::BTreeSet;

use filmgate_bucket::Bucket;
use filmgate_catalog::DeletionStep;
use filmgate_model::{InstanceState, PackId, RecordId, Timestamp};

use super::{Check, ROUNDS_TO_REST, Run, Unread};
use crate::Faults;

impl Run {
    /// With nothing failing any more, everything must end verified, readable and said once.
    pub(super) fn come_to_rest(&mut self) -> Check {
        self.faults = Faults::default();
        *self.bucket_faults.lock() = 0;
        self.disk.cut_power();
        self.restart()?;
        if self.random.below(2) == 0 {
            self.release_all_holds()?;
        }
        self.go_on_until_at_rest()?;
        self.evict()?;
        self.check_named()?;
        self.check_no_upload_is_left()?;
        self.check_everything()?;
        self.lose_the_catalog()
    }

    pub(super) fn go_on_until_at_rest(&mut self) -> Check {
        for round in 0.. {
            self.clock.shift_ms(10_000);
            self.sync_round()?;
            self.index()?;
            self.pack()?;
            self.upload()?;
            self.verify()?;
            self.log()?;
            self.carry_out()?;
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
        Ok(())
    }

    /// What was begun in parts was ended, whatever answers were lost in between.
    fn check_no_upload_is_left(&self) -> Check {
        self.clock.shift_ms(4 * 24 * 60 * 60 * 1000);
        self.wait(self.road()?.tidy_uploads()).map_err(|error| error.to_string())?;
        let Some(parts) = self.store.parts() else { return Ok(()) };
        match self.wait(parts.list_uploads("")).map_err(|error| error.to_string())?.first() {
            None => Ok(()),
            Some(open) => Err(format!("at rest, and an upload of {} is open", open.name)),
        }
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
        Ok(moving == 0 && self.nothing_is_due()? && self.road()?.journal().records().is_empty())
    }

    /// Nothing is on its way from pack to pack, into the log or out of the bucket, and no deletion waits that nothing forbids.
    fn nothing_is_due(&self) -> Result<bool, String> {
        let told = |error: filmgate_catalog::Error| error.to_string();
        let now = self.clock.now();
        let going = self.wait(self.catalog.packs_going(Timestamp(i64::MAX), 1)).map_err(told)?;
        let untold = self.wait(self.catalog.count_outgoing()).map_err(told)?;
        let replaced = self.wait(self.catalog.replaced_packs(Timestamp(i64::MAX), 0, 1)).map_err(told)?;
        let switching = self.wait(self.catalog.packs_to_switch()).map_err(told)?;
        let failed = self.wait(self.catalog.failed_repacks()).map_err(told)?;
        let deletions = self.wait(self.catalog.deletions(None, 1000)).map_err(told)?;
        let waits = deletions.iter().any(|deletion| {
            deletion.step() == DeletionStep::Confirmed
                && (!deletion.is_due(now) || !self.is_held(&deletion.study_instance_uid))
        });
        Ok(!waits
            && untold == 0
            && going.is_empty()
            && replaced.is_empty()
            && switching.is_empty()
            && failed.is_empty())
    }

    pub(super) fn check_everything(&mut self) -> Check {
        for (record_id, sent) in self.acknowledged.clone() {
            if self.custody.is_gone(record_id) {
                self.check_gone(record_id)?;
                continue;
            }
            match self.wait(self.read_back(record_id, &sent)) {
                Ok(()) => self.tally.read += 1,
                Err(Unread::Different(what) | Unread::Failed(what)) => {
                    return Err(format!("at rest: {what}"));
                }
            }
        }
        self.check_bucket()?;
        self.check_states()?;
        self.check_nothing_waits()?;
        self.check_said_once()
    }

    /// What was deleted is not given out any more.
    fn check_gone(&self, record_id: RecordId) -> Check {
        match self.wait(self.road()?.open(record_id)) {
            Ok(_) => Err(format!("record {record_id} is deleted and still opens")),
            Err(_) => Ok(()),
        }
    }

    /// Every object of the bucket is named by a pack that is not gone: deletions leave nothing behind.
    fn check_bucket(&self) -> Check {
        let stored = self.wait(self.store.list("v1/pack/")).map_err(|error| error.to_string())?;
        for object in stored {
            let pack_id = object.name.rsplit('/').next().and_then(|id| id.parse::<PackId>().ok());
            let Some(pack_id) = pack_id else { return Err(format!("{} is no pack", object.name)) };
            let pack = self.wait(self.catalog.pack(pack_id)).map_err(|error| error.to_string())?;
            if pack.as_ref().is_none_or(|pack| pack.state == InstanceState::Deleted) {
                return Err(format!(
                    "at rest: {} is in the bucket and nobody names it: {pack:?}",
                    object.name
                ));
            }
        }
        Ok(())
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

    /// No answer has an instance twice, and every instance that is not kept apart, deleted or hidden is in its study's.
    fn check_said_once(&self) -> Check {
        let (mut said, mut expected) = (BTreeSet::new(), BTreeSet::new());
        for study in ["1.2.1", "1.2.2", "1.2.3"] {
            let instances =
                self.wait(self.catalog.instances_of_study(study)).map_err(|error| error.to_string())?;
            for instance in instances {
                if !said.insert(instance.sop_instance_uid.clone()) {
                    return Err(format!("instance {} is said twice", instance.sop_instance_uid));
                }
            }
            let rows = self.wait(self.catalog.records_of_study(study)).map_err(|error| error.to_string())?;
            let visible = rows.into_iter().filter(|row| !row.hidden && !row.quarantine);
            expected.extend(visible.map(|row| row.sop_instance_uid));
        }
        match expected.symmetric_difference(&said).next() {
            Some(sop) => Err(format!("instance {sop} is said: {}", said.contains(sop))),
            None => Ok(()),
        }
    }
}
