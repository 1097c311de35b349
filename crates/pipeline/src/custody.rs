//! What people decide about studies: holds, retention, deletions.

use std::sync::Arc;

use filmgate_catalog::{Because, Deletion, DeletionRules, Hold, NewDeletion, Retention};
use filmgate_model::{FactId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Error, Road, error::chain};

/// Rows of a list at most.
const ROWS_MAX: u32 = 1000;

/// How often what was received is entered before a deletion names what there is; while more arrives it need not end.
const INDEX_ROUNDS_MAX: usize = 64;

/// A change that a person asks for, by the command line or over the web.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum CustodyChange {
    /// Nothing of a study goes until this is released.
    PlaceHold {
        /// The study.
        study: String,
        /// Why.
        why: String,
    },
    /// A hold ends.
    ReleaseHold {
        /// The hold.
        hold: FactId,
        /// Why.
        why: String,
    },
    /// A study is kept at least until then.
    Retain {
        /// The study.
        study: String,
        /// Milliseconds since 1970.
        until: Timestamp,
        /// Why.
        why: String,
    },
    /// A study, or one instance of it, is to be deleted.
    RequestDeletion {
        /// The study.
        study: String,
        /// Only this instance, with every copy of it.
        #[serde(default)]
        instance: Option<String>,
        /// Why.
        why: String,
    },
    /// A study is to be deleted, and its keys are to be destroyed without a grace.
    RequestShredding {
        /// The study.
        study: String,
        /// Why.
        why: String,
    },
    /// A deletion is meant.
    ConfirmDeletion {
        /// The deletion.
        deletion: FactId,
    },
    /// A deletion is taken back.
    CancelDeletion {
        /// The deletion.
        deletion: FactId,
        /// Why.
        why: String,
    },
    /// The packs of a study are made anew now.
    Repack {
        /// The study.
        study: String,
        /// Under a new study key.
        #[serde(default)]
        new_key: bool,
    },
}

impl CustodyChange {
    /// What it is, and the study, hold or deletion it is about.
    fn told(&self) -> (&'static str, String) {
        match self {
            Self::PlaceHold { study, .. } => ("place-hold", study.clone()),
            Self::ReleaseHold { hold, .. } => ("release-hold", hold.to_string()),
            Self::Retain { study, .. } => ("retain", study.clone()),
            Self::RequestDeletion { study, .. } => ("request-deletion", study.clone()),
            Self::RequestShredding { study, .. } => ("request-shredding", study.clone()),
            Self::ConfirmDeletion { deletion } => ("confirm-deletion", deletion.to_string()),
            Self::CancelDeletion { deletion, .. } => ("cancel-deletion", deletion.to_string()),
            Self::Repack { study, .. } => ("repack", study.clone()),
        }
    }
}

/// What a change came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// In a sentence.
    pub done: String,
    /// The hold or deletion it is about.
    pub id: Option<FactId>,
}

/// What stands, for people to look at.
#[derive(Debug, Serialize)]
pub struct CustodyShown {
    /// Holds; those that stand first.
    pub holds: Vec<HoldShown>,
    /// Times set for single studies.
    pub retentions: Vec<RetentionShown>,
    /// Years every study is kept: the longest that a node of the site says.
    pub retention_years: u32,
    /// Deletions, the latest first.
    pub deletions: Vec<DeletionShown>,
}

/// A hold.
#[derive(Debug, Serialize)]
pub struct HoldShown {
    hold: FactId,
    study: String,
    who: String,
    why: String,
    placed_at: String,
    released_by: Option<String>,
    released_why: Option<String>,
    released_at: Option<String>,
}

/// A time set for one study.
#[derive(Debug, Serialize)]
pub struct RetentionShown {
    study: String,
    until: String,
    who: String,
    why: String,
    set_at: String,
}

/// A deletion.
#[derive(Debug, Serialize)]
pub struct DeletionShown {
    deletion: FactId,
    study: String,
    instance: Option<String>,
    step: &'static str,
    who: String,
    why: String,
    requested_at: String,
    confirmed_by: Option<String>,
    confirmed_at: Option<String>,
    due_at: Option<String>,
    cancelled_by: Option<String>,
    cancelled_why: Option<String>,
    cancelled_at: Option<String>,
    done_at: Option<String>,
    waits_for: Option<String>,
    keys_gone_at: Option<String>,
    keys_wait_for: Option<String>,
    records: u64,
    records_gone: u64,
}

/// A hold that was just placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The hold.
    pub hold_id: FactId,
    /// Records of the study that a deletion had taken before it came.
    pub records_gone: u64,
}

impl Road {
    /// Makes a change that `who` asks for; it holds when this is answered.
    ///
    /// # Errors
    /// What stands against it, with what to do; or when catalog or disk fail.
    pub async fn change_custody(
        self: &Arc<Self>,
        change: &CustodyChange,
        who: &str,
    ) -> Result<Changed, Error> {
        if self.is_follower() {
            return Err(Error::DecidesNothing);
        }
        let changed = self.make_change(change, who).await;
        // Others hear of it soon.
        self.tell_log();
        match &changed {
            Ok(changed) => {
                tracing::info!(target: "audit", event = "custody-changed", by = who, what = changed.done);
            }
            Err(error) => {
                let (asked, about) = change.told();
                let why = chain(error);
                tracing::info!(target: "audit", event = "custody-refused", by = who, asked, about, why);
            }
        }
        changed
    }

    async fn make_change(self: &Arc<Self>, change: &CustodyChange, who: &str) -> Result<Changed, Error> {
        let because = |why: &str| Because { who: who.to_owned(), why: why.to_owned() };
        match change {
            CustodyChange::PlaceHold { study, why } => {
                let placed = self.place_hold(study, &because(why)).await?;
                Ok(placed.told(study))
            }
            CustodyChange::ReleaseHold { hold, why } => {
                self.release_hold(*hold, &because(why)).await?;
                Ok(Changed { done: format!("hold {hold} is released"), id: Some(*hold) })
            }
            CustodyChange::Retain { study, until, why } => {
                self.set_retention(study, *until, &because(why)).await?;
                Ok(Changed { done: format!("study {study} is kept until {until}"), id: None })
            }
            CustodyChange::RequestDeletion { study, instance, why } => {
                let asked = self.request_deletion(study, instance.as_deref(), &because(why)).await?;
                Ok(asked_told(&asked))
            }
            CustodyChange::RequestShredding { study, why } => {
                let asked = self.request_shredding(study, &because(why)).await?;
                let keys = self.catalog.count_keys_of(study).await?;
                tracing::info!(target: "audit", event = "shredding-asked", by = who, deletion = %asked.deletion_id, keys);
                Ok(shredding_told(&asked, keys))
            }
            CustodyChange::ConfirmDeletion { deletion } => {
                let confirmed = self.confirm_deletion(*deletion, who).await?;
                if confirmed.shreds {
                    tracing::info!(target: "audit", event = "shredding-confirmed", by = who, deletion = %deletion);
                }
                Ok(confirmed_told(&confirmed))
            }
            CustodyChange::CancelDeletion { deletion, why } => {
                let back = self.cancel_deletion(*deletion, &because(why)).await?;
                let left = back.records.saturating_sub(back.records_gone);
                let done = format!("deletion {deletion} is cancelled; {left} records are as before");
                Ok(Changed { done, id: Some(*deletion) })
            }
            CustodyChange::Repack { study, new_key } => self.repack_study(study, *new_key).await,
        }
    }

    async fn repack_study(self: &Arc<Self>, study: &str, new_key: bool) -> Result<Changed, Error> {
        let (mut packs, mut records, mut unreadable) = (0, 0, 0);
        for repack in self.repacks_of_study(study, new_key).await? {
            let repacked = self.repack(&repack).await?;
            packs += usize::from(repacked.records > 0);
            records += repacked.records;
            unreadable += repacked.unreadable;
        }
        let mut done = format!("{records} records of study {study} are on their way into {packs} new packs");
        if unreadable > 0 {
            done +=
                &format!("; {unreadable} open in no copy and stay where they are (filmgate verify --deep)");
        }
        Ok(Changed { done, id: None })
    }

    /// What stands, of one study when asked so.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn show_custody(&self, study: Option<&str>) -> Result<CustodyShown, Error> {
        let retentions = self.retentions().await?.into_iter();
        let elsewhere = self.catalog.longest_retention_elsewhere().await?;
        let retentions = retentions.filter(|one| study.is_none_or(|study| study == one.study_instance_uid));
        Ok(CustodyShown {
            holds: self.holds(study).await?.into_iter().map(HoldShown::from).collect(),
            retentions: retentions.map(RetentionShown::from).collect(),
            retention_years: self.settings.retention_years.max(elsewhere.map_or(0, |rule| rule.years)),
            deletions: self.deletions(study).await?.into_iter().map(DeletionShown::from).collect(),
        })
    }

    /// Nothing of the study goes from now on until the hold is released.
    ///
    /// # Errors
    /// When who or why is missing, or the catalog cannot be written.
    pub async fn place_hold(&self, study: &str, because: &Because) -> Result<Placed, Error> {
        let hold_id = FactId::random(&self.random);
        let records_gone = self.catalog.place_hold(hold_id, study, because, self.clock.now()).await?;
        Ok(Placed { hold_id, records_gone })
    }

    /// Ends a hold.
    ///
    /// # Errors
    /// When there is none, when who or why is missing, or the catalog cannot be written.
    pub async fn release_hold(&self, hold_id: FactId, because: &Because) -> Result<(), Error> {
        Ok(self.catalog.release_hold(hold_id, because, self.clock.now()).await?)
    }

    /// Holds; those that stand first.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn holds(&self, study: Option<&str>) -> Result<Vec<Hold>, Error> {
        Ok(self.catalog.holds(study, ROWS_MAX).await?)
    }

    /// Keeps a study at least until then.
    ///
    /// # Errors
    /// When it is kept longer already, when who or why is missing, or the catalog cannot be written.
    pub async fn set_retention(&self, study: &str, until: Timestamp, because: &Because) -> Result<(), Error> {
        Ok(self.catalog.set_retention(study, until, because, self.clock.now()).await?)
    }

    /// Times set for single studies.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn retentions(&self) -> Result<Vec<Retention>, Error> {
        Ok(self.catalog.retentions(ROWS_MAX).await?)
    }

    /// Asks to delete a study, or one instance of it. Nothing goes before it is confirmed.
    ///
    /// # Errors
    /// When it is held or must be kept, when there is nothing of it, or the catalog cannot be written.
    pub async fn request_deletion(
        &self,
        study: &str,
        instance: Option<&str>,
        because: &Because,
    ) -> Result<Deletion, Error> {
        self.ask_to_delete(study, instance, false, because).await
    }

    /// Asks to delete a study and to destroy its keys, once it is confirmed without a grace. A study of which only keys
    /// are left can be named as well.
    ///
    /// # Errors
    /// When it is held or must be kept, when there is nothing of it, or the catalog cannot be written.
    pub async fn request_shredding(&self, study: &str, because: &Because) -> Result<Deletion, Error> {
        self.ask_to_delete(study, None, true, because).await
    }

    async fn ask_to_delete(
        &self,
        study: &str,
        instance: Option<&str>,
        shreds: bool,
        because: &Because,
    ) -> Result<Deletion, Error> {
        // What was received and is not entered yet came before this as well.
        for _ in 0..INDEX_ROUNDS_MAX {
            if self.index_received().await? == 0 {
                break;
            }
        }
        let new = NewDeletion {
            deletion_id: FactId::random(&self.random),
            study_instance_uid: study.to_owned(),
            sop_instance_uid: instance.map(str::to_owned),
            shreds,
            because: because.clone(),
        };
        Ok(self.catalog.request_deletion(&new, self.deletion_rules(), self.clock.now()).await?)
    }

    /// Confirms a deletion: hidden at once, gone after the grace.
    ///
    /// # Errors
    /// When it does not stand so, when it is held or must be kept, or the catalog cannot be written.
    pub async fn confirm_deletion(&self, deletion_id: FactId, who: &str) -> Result<Deletion, Error> {
        let now = self.clock.now();
        Ok(self.catalog.confirm_deletion(deletion_id, who, self.deletion_rules(), now).await?)
    }

    /// Takes a deletion back.
    ///
    /// # Errors
    /// When it is over, or the catalog cannot be written.
    pub async fn cancel_deletion(&self, deletion_id: FactId, because: &Because) -> Result<Deletion, Error> {
        Ok(self.catalog.cancel_deletion(deletion_id, because, self.clock.now()).await?)
    }

    /// Deletions, the latest first.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn deletions(&self, study: Option<&str>) -> Result<Vec<Deletion>, Error> {
        Ok(self.catalog.deletions(study, ROWS_MAX).await?)
    }

    fn deletion_rules(&self) -> DeletionRules {
        DeletionRules {
            two_people: self.settings.deletion_two_people,
            grace_ms: u64::try_from(self.settings.deletion_grace.as_millis()).unwrap_or(u64::MAX),
            retention_years: self.settings.retention_years,
        }
    }
}

impl Placed {
    fn told(self, study: &str) -> Changed {
        let mut done = format!("study {study} is under hold {}", self.hold_id);
        if self.records_gone > 0 {
            done += &format!("; {} of its records had been deleted before", self.records_gone);
        }
        Changed { done, id: Some(self.hold_id) }
    }
}

fn asked_told(asked: &Deletion) -> Changed {
    let (id, records) = (asked.deletion_id, asked.records);
    let done = format!(
        "deletion {id} names {records} records; nothing changes before: filmgate delete confirm {id}"
    );
    Changed { done, id: Some(id) }
}

fn shredding_told(asked: &Deletion, keys: u64) -> Changed {
    let (id, records, study) = (asked.deletion_id, asked.records, &asked.study_instance_uid);
    let done = format!(
        "deletion {id} names {records} records and the {keys} keys of study {study}; nothing changes before: filmgate delete \
         confirm {id}. Then they go at once, and nothing brings them back"
    );
    Changed { done, id: Some(id) }
}

fn confirmed_told(confirmed: &Deletion) -> Changed {
    let (id, records) = (confirmed.deletion_id, confirmed.records);
    if confirmed.shreds {
        let done = format!(
            "{records} records are hidden now and go with the keys of the study; how far that is: filmgate key shredded \
             --study {}",
            confirmed.study_instance_uid
        );
        return Changed { done, id: Some(id) };
    }
    let due_at = confirmed.due_at.unwrap_or_default();
    let done = format!(
        "{records} records are hidden now and go after {due_at}; until then: filmgate delete cancel {id}"
    );
    Changed { done, id: Some(id) }
}

impl From<Hold> for HoldShown {
    fn from(hold: Hold) -> Self {
        let (released, released_at) = hold.released.unzip();
        let (released_by, released_why) = released.map(|because| (because.who, because.why)).unzip();
        Self {
            hold: hold.hold_id,
            study: hold.study_instance_uid,
            who: hold.because.who,
            why: hold.because.why,
            placed_at: hold.placed_at.to_string(),
            released_by,
            released_why,
            released_at: released_at.map(|at| at.to_string()),
        }
    }
}

impl From<Retention> for RetentionShown {
    fn from(retention: Retention) -> Self {
        Self {
            study: retention.study_instance_uid,
            until: retention.keep_until.to_string(),
            who: retention.because.who,
            why: retention.because.why,
            set_at: retention.set_at.to_string(),
        }
    }
}

impl From<Deletion> for DeletionShown {
    fn from(deletion: Deletion) -> Self {
        let told = |at: Timestamp| at.to_string();
        let step = deletion.step().as_str();
        let (confirmed_by, confirmed_at) = deletion.confirmed.unzip();
        let (cancelled, cancelled_at) = deletion.cancelled.unzip();
        let (cancelled_by, cancelled_why) = cancelled.map(|because| (because.who, because.why)).unzip();
        Self {
            deletion: deletion.deletion_id,
            study: deletion.study_instance_uid,
            instance: deletion.sop_instance_uid,
            step,
            who: deletion.because.who,
            why: deletion.because.why,
            requested_at: told(deletion.requested_at),
            confirmed_by,
            confirmed_at: confirmed_at.map(told),
            due_at: deletion.due_at.map(told),
            cancelled_by,
            cancelled_why,
            cancelled_at: cancelled_at.map(told),
            done_at: deletion.done_at.map(told),
            waits_for: deletion.waits_for,
            keys_gone_at: deletion.keys_gone_at.map(told),
            keys_wait_for: deletion.keys_wait_for,
            records: deletion.records,
            records_gone: deletion.records_gone,
        }
    }
}
