//! Holds, deletions and packs made of packs, against a model of who may lose what: by the record, from the moment the
//! catalog's commit said so.

use std::{collections::BTreeSet, sync::Arc};

use filmgate_catalog::{Because, Deletion, DeletionStep, Error as CatalogError, Location};
use filmgate_model::{FactId, InstanceState, RecordId, Timestamp};
use filmgate_pipeline::{Error, Repack, Road};
use sha2::{Digest, Sha256};

use super::{Check, DELETION_GRACE, Run};

/// What was decided so far.
#[derive(Debug, Default)]
pub(super) struct Custody {
    /// Deletions, and the records each named.
    deletions: Vec<(FactId, BTreeSet<RecordId>)>,
    /// Holds that stand, and their studies.
    holds: Vec<(FactId, String)>,
    /// Acknowledged records that had been dropped when a deletion named the one they stand for, and which that is.
    stood_for: Vec<(RecordId, RecordId)>,
    /// Records whose bytes may be gone: named by a deletion that was found to have taken them.
    gone: BTreeSet<RecordId>,
    /// Studies under hold when they were looked at last, with what had gone of them by then.
    held_since: Vec<(FactId, String, BTreeSet<RecordId>)>,
}

impl Custody {
    /// True when the record was deleted by somebody's decision, by itself or with the one it was dropped for.
    pub(super) fn is_gone(&self, record_id: RecordId) -> bool {
        let stood_for =
            |(dropped, named): &(RecordId, RecordId)| *dropped == record_id && self.gone.contains(named);
        self.gone.contains(&record_id) || self.stood_for.iter().any(stood_for)
    }
}

fn because() -> Because {
    Because { who: "dr".to_owned(), why: "wrong patient".to_owned() }
}

impl Run {
    /// One of the things people do, or the worker that carries them out.
    pub(super) fn take_custody(&mut self) -> Check {
        match self.random.below(18) {
            0 | 1 => self.request_deletion()?,
            2..5 => self.decide_deletion()?,
            5 => self.place_hold()?,
            6 | 7 => self.release_hold()?,
            8..13 => self.repack_some()?,
            _ => self.carry_out()?,
        }
        Ok(())
    }

    fn request_deletion(&mut self) -> Check {
        let road = self.road()?;
        let study = format!("1.2.{}", 1 + self.random.below(3));
        let rows = self.wait(self.catalog.records_of_study(&study)).map_err(|error| error.to_string())?;
        let one = rows.get(self.random.below(2 * rows.len() as u64 + 1) as usize);
        let sop = one.map(|row| row.sop_instance_uid.clone());
        match self.wait(road.request_deletion(&study, sop.as_deref(), &because())) {
            Ok(deletion) => {
                let rows =
                    self.wait(self.catalog.records_of_study(&study)).map_err(|error| error.to_string())?;
                let named = rows.into_iter().filter(|row| row.deletion_id == Some(deletion.deletion_id));
                self.tally.decided += 1;
                let named: Vec<_> = named.collect();
                self.note_dropped(&named)?;
                let named = named.iter().map(|row| row.record_id).collect();
                self.custody.deletions.push((deletion.deletion_id, named));
                Ok(())
            }
            Err(error) => self.expect_refusal(error),
        }
    }

    /// What was dropped before somebody asked goes with what it was dropped for.
    fn note_dropped(&mut self, named: &[Location]) -> Check {
        for (record_id, sent) in self.acknowledged.clone() {
            let sha256: [u8; 32] = Sha256::digest(&sent.dataset).into();
            let same = |row: &&Location| {
                row.sop_instance_uid == sent.sop_instance_uid && row.dataset_sha256 == sha256
            };
            let waits = self.road()?.journal().contains(record_id);
            let row = self.wait(self.catalog.locate(record_id)).map_err(|error| error.to_string())?;
            if !waits && row.is_none() {
                let stands_for = named.iter().filter(same).map(|row| (record_id, row.record_id));
                self.custody.stood_for.extend(stands_for);
            }
        }
        Ok(())
    }

    pub(super) fn is_held(&self, study: &str) -> bool {
        self.custody.holds.iter().any(|(_, held)| held == study)
    }

    /// Confirms a deletion, or takes it back.
    fn decide_deletion(&mut self) -> Check {
        let road = self.road()?;
        let number = self.random.below(self.custody.deletions.len() as u64) as usize;
        let Some((deletion_id, _)) = self.custody.deletions.get(number).cloned() else { return Ok(()) };
        let decided = match self.random.below(4) {
            0 => self.wait(road.cancel_deletion(deletion_id, &because())),
            _ => self.wait(road.confirm_deletion(deletion_id, "chief")),
        };
        match decided {
            Ok(deletion) => {
                self.tally.decided += 1;
                self.check_hidden(&deletion)
            }
            Err(error) => self.expect_refusal(error),
        }
    }

    /// What is confirmed is in no answer at once.
    fn check_hidden(&self, deletion: &Deletion) -> Check {
        if deletion.step() != DeletionStep::Confirmed {
            return Ok(());
        }
        let study = &deletion.study_instance_uid;
        let said = self.wait(self.catalog.instances_of_study(study)).map_err(|error| error.to_string())?;
        match said.iter().find(|row| row.deletion_id == Some(deletion.deletion_id)) {
            Some(row) => Err(format!("record {} is deleted and still said", row.record_id)),
            None => Ok(()),
        }
    }

    fn place_hold(&mut self) -> Check {
        let road = self.road()?;
        let study = format!("1.2.{}", 1 + self.random.below(3));
        let placed = self.wait(road.place_hold(&study, &because())).map_err(|error| error.to_string())?;
        self.tally.held += 1;
        self.note_gone()?;
        self.custody.holds.push((placed.hold_id, study.clone()));
        self.custody.held_since.push((placed.hold_id, study, self.custody.gone.clone()));
        Ok(())
    }

    fn release_hold(&mut self) -> Check {
        let road = self.road()?;
        let number = self.random.below(self.custody.holds.len() as u64) as usize;
        if number >= self.custody.holds.len() {
            return Ok(());
        }
        self.note_gone()?;
        let (hold_id, _) = self.custody.holds.swap_remove(number);
        self.custody.held_since.retain(|(held, ..)| *held != hold_id);
        self.wait(road.release_hold(hold_id, &because())).map_err(|error| error.to_string())
    }

    pub(super) fn release_all_holds(&mut self) -> Check {
        while !self.custody.holds.is_empty() {
            self.release_hold()?;
        }
        Ok(())
    }

    /// Merges, as the worker does and as a person may ask for it.
    fn repack_some(&mut self) -> Check {
        let road = self.road()?;
        let repacks = match self.random.below(2) {
            0 => self.repacks_of_some_study(&road),
            _ => self.wait(road.next_merge()).map(|merge| merge.into_iter().collect()),
        };
        if self.random.below(4) == 0 {
            self.disk.cut_power_in(1 + self.random.below(60));
        }
        for repack in repacks.map_err(|error| error.to_string())? {
            match self.wait(road.repack(&repack)) {
                Ok(repacked) => self.tally.repacked += repacked.records as u64,
                Err(error) => self.tolerate(Err(error))?,
            }
            if self.disk.power_is_off() {
                break;
            }
        }
        Ok(())
    }

    /// Of the first study, from a random one on, that has packs to be made anew.
    fn repacks_of_some_study(&self, road: &Arc<Road>) -> Result<Vec<Repack>, Error> {
        let (first, new_key) = (self.random.below(3), self.random.below(2) == 0);
        for number in first..first + 3 {
            let study = format!("1.2.{}", 1 + number % 3);
            let repacks = self.wait(road.repacks_of_study(&study, new_key))?;
            if !repacks.is_empty() {
                return Ok(repacks);
            }
        }
        Ok(Vec::new())
    }

    /// One round of the worker that deletes.
    pub(super) fn carry_out(&mut self) -> Check {
        let road = self.road()?;
        match self.wait(road.settle_repacks()) {
            Ok(switched) => self.tally.switched += switched,
            Err(error) => self.tolerate(Err(error))?,
        }
        match self.wait(road.delete_due()) {
            Ok(deleted) => self.tally.given_up += deleted.given_up as u64,
            Err(error) => self.tolerate(Err(error))?,
        }
        self.check_verified()?;
        self.note_gone()
    }

    /// What is said to be verified is in a pack that is: it was not moved into another before that was.
    fn check_verified(&self) -> Check {
        let mut packs = BTreeSet::new();
        for study in ["1.2.1", "1.2.2", "1.2.3"] {
            let rows = self.wait(self.catalog.records_of_study(study)).map_err(|error| error.to_string())?;
            let verified = rows.iter().filter(|row| row.state == InstanceState::Verified);
            packs.extend(verified.filter_map(|row| row.pack.as_ref().map(|pack| pack.pack_id)));
        }
        for pack_id in packs {
            let pack = self.wait(self.catalog.pack(pack_id)).map_err(|error| error.to_string())?;
            if pack.is_none_or(|pack| pack.state != InstanceState::Verified) {
                return Err(format!("a record is verified and its pack {pack_id} is not"));
            }
        }
        Ok(())
    }

    /// Whatever is deleted must have been named, confirmed, past its grace, and under no hold since before.
    fn note_gone(&mut self) -> Check {
        for (deletion_id, named) in self.custody.deletions.clone() {
            let known = self.wait(self.catalog.deletion(deletion_id)).map_err(|error| error.to_string())?;
            let known = known.ok_or_else(|| format!("deletion {deletion_id} is not known any more"))?;
            for record_id in named.iter().filter(|record_id| !self.custody.gone.contains(*record_id)) {
                let row = self.wait(self.catalog.locate(*record_id)).map_err(|error| error.to_string())?;
                // A record that one deletion named and let go another may have taken.
                let taken = |row: &Location| {
                    row.state == InstanceState::Deleted && row.deletion_id == Some(deletion_id)
                };
                if row.as_ref().is_some_and(taken) {
                    self.check_deletion(&known, *record_id)?;
                }
            }
            let deleted = self.deleted_of(&named)?;
            if known.step() == DeletionStep::Done && !deleted.is_subset(&self.custody.gone) {
                self.tally.deletions += 1;
            }
            self.custody.gone.extend(deleted);
        }
        Ok(())
    }

    fn deleted_of(&self, named: &BTreeSet<RecordId>) -> Result<BTreeSet<RecordId>, String> {
        let mut deleted = BTreeSet::new();
        for record_id in named {
            let row = self.wait(self.catalog.locate(*record_id)).map_err(|error| error.to_string())?;
            if row.is_some_and(|row| row.state == InstanceState::Deleted) {
                deleted.insert(*record_id);
            }
        }
        Ok(deleted)
    }

    fn check_deletion(&self, deletion: &Deletion, record_id: RecordId) -> Check {
        let Some((_, confirmed_at)) = &deletion.confirmed else {
            return Err(format!("record {record_id} was deleted and nobody had confirmed that"));
        };
        let due_at = confirmed_at.plus(DELETION_GRACE);
        if self.latest() < due_at {
            return Err(format!("record {record_id} was deleted before its grace was over"));
        }
        let study = &deletion.study_instance_uid;
        let held = self
            .custody
            .held_since
            .iter()
            .any(|(_, held, gone_before)| held == study && !gone_before.contains(&record_id));
        if held { Err(format!("record {record_id} was deleted under a hold")) } else { Ok(()) }
    }

    /// The latest time the run's clock ever showed: it is set back as well.
    fn latest(&self) -> Timestamp {
        self.latest_seen.max(self.clock.now())
    }

    /// A hold, or a deletion that stands otherwise, may forbid what was asked; a failing disk may too.
    fn expect_refusal(&mut self, error: Error) -> Check {
        match error {
            Error::Catalog(CatalogError::Held { .. } | CatalogError::Retained { .. }) => {
                self.tally.forbidden += 1;
                Ok(())
            }
            Error::Catalog(CatalogError::NothingToDelete(_) | CatalogError::NotOpen { .. }) => Ok(()),
            other => self.tolerate(Err(other)),
        }
    }
}
