//! Deletions: asked for, confirmed by another call, hidden at once, carried out after a grace in which each can be taken
//! back. What goes is what was named when it was asked for, record by record.

use filmgate_model::{FactId, RecordId, Timestamp};

use super::{custody::Because, telling::Told};
use crate::{
    Catalog, Error,
    engine::{
        AssertSqlSafe, Connection, Row, query,
        row::{get, id, optional_time, time, unsigned},
    },
    index::copies::refresh_served,
};

/// A deletion to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDeletion {
    /// Its id for ever.
    pub deletion_id: FactId,
    /// The study.
    pub study_instance_uid: String,
    /// One instance of it, with every copy of it; `None` for all of the study.
    pub sop_instance_uid: Option<String>,
    /// The keys of the study are meant as well: no grace once it is confirmed, and it may name no record at all.
    pub shreds: bool,
    /// Who asks, and why.
    pub because: Because,
}

/// The site's rules of deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletionRules {
    /// Whoever asked may not confirm.
    pub two_people: bool,
    /// Nothing goes before so many milliseconds after it was confirmed.
    pub grace_ms: u64,
    /// Years the site keeps every study.
    pub retention_years: u32,
}

/// Where a deletion stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletionStep {
    /// Asked for; everything is as before.
    Requested,
    /// Confirmed: hidden, and gone after its time.
    Confirmed,
    /// Taken back.
    Cancelled,
    /// Carried out.
    Done,
}

impl DeletionStep {
    /// The word for it in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
            Self::Done => "done",
        }
    }
}

/// A deletion and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// The deletion.
    pub deletion_id: FactId,
    /// The study.
    pub study_instance_uid: String,
    /// One instance of it; `None` for all of the study.
    pub sop_instance_uid: Option<String>,
    /// The keys of the study are meant as well: without a grace.
    pub shreds: bool,
    /// Who asked, and why.
    pub because: Because,
    /// When.
    pub requested_at: Timestamp,
    /// Who confirmed it, and when.
    pub confirmed: Option<(String, Timestamp)>,
    /// Nothing goes before.
    pub due_at: Option<Timestamp>,
    /// Who took it back and why, and when.
    pub cancelled: Option<(Because, Timestamp)>,
    /// When the last of it went.
    pub done_at: Option<Timestamp>,
    /// What keeps it from being carried out.
    pub waits_for: Option<String>,
    /// When the last key of what it named was given up; never, when it names one instance.
    pub keys_gone_at: Option<Timestamp>,
    /// What keeps a key, once it is carried out.
    pub keys_wait_for: Option<String>,
    /// Records it names.
    pub records: u64,
    /// Those that are gone.
    pub records_gone: u64,
}

impl Deletion {
    /// Where it stands.
    #[must_use]
    pub fn step(&self) -> DeletionStep {
        match (&self.cancelled, self.done_at, &self.confirmed) {
            (Some(_), ..) => DeletionStep::Cancelled,
            (_, Some(_), _) => DeletionStep::Done,
            (_, _, Some(_)) => DeletionStep::Confirmed,
            _ => DeletionStep::Requested,
        }
    }

    /// True once it is confirmed, not taken back, and its time has come.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.step() == DeletionStep::Confirmed && self.due_at.is_some_and(|due_at| due_at <= now)
    }
}

const COLUMNS: &str = "d.deletion_id, d.study_instance_uid, d.sop_instance_uid, d.who, d.why, d.requested_at,
    d.confirmed_by, d.confirmed_at, d.due_at, d.cancelled_by, d.cancelled_why, d.cancelled_at, d.done_at, d.waits_for,
    d.shreds, d.keys_gone_at, d.keys_wait_for,
    (SELECT COUNT(*) FROM book_deletion_records r WHERE r.deletion_id = d.deletion_id) AS records,
    (SELECT COUNT(*) FROM book_deletion_records r WHERE r.deletion_id = d.deletion_id AND r.deleted_at IS NOT NULL)
        AS records_gone
    FROM book_deletions d";

impl Catalog {
    /// Asks for a deletion: names every record of the study or of the instance, in every copy, that is here now and that
    /// no other deletion names, and those that were dropped because they equal one of them: a journal may hold them still.
    /// Nothing changes but that no copy is dropped against any of them any more.
    ///
    /// # Errors
    /// [`Error::Held`], [`Error::Retained`], [`Error::NothingToDelete`], [`Error::Unsaid`]; or when a statement fails.
    pub async fn request_deletion(
        &self,
        new: &NewDeletion,
        rules: DeletionRules,
        at: Timestamp,
    ) -> Result<Deletion, Error> {
        new.because.check()?;
        self.engine
            .run("ask for a deletion", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                self.take_custody(&mut transaction, &new.study_instance_uid).await?;
                if self.name_records(&mut transaction, new, at).await? == 0
                    && !(new.shreds && self.count_keys(&mut transaction, &new.study_instance_uid).await? > 0)
                {
                    let uid = new.sop_instance_uid.as_ref().unwrap_or(&new.study_instance_uid);
                    return Err(Error::NothingToDelete(uid.clone()));
                }
                self.refuse_if_bound(
                    &mut transaction,
                    &new.study_instance_uid,
                    new.deletion_id,
                    rules.retention_years,
                    at,
                )
                .await?;
                let records = named_by(&mut transaction, new.deletion_id).await?;
                let told = Told::DeletionRequested { new, records: &records };
                self.tell(&mut transaction, &told, at).await?;
                let deletion = self.deletion_in(&mut transaction, new.deletion_id).await?;
                transaction.commit().await?;
                Ok(deletion)
            })
            .await
    }

    async fn name_records(
        &self,
        writer: &mut Connection,
        new: &NewDeletion,
        at: Timestamp,
    ) -> Result<u64, Error> {
        query(
            "INSERT INTO book_deletions
                (deletion_id, site_id, study_instance_uid, sop_instance_uid, who, why, requested_at, shreds)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (deletion_id) DO NOTHING",
        )
        .bind(new.deletion_id.as_bytes().as_slice())
        .bind(self.site())
        .bind(&new.study_instance_uid)
        .bind(new.sop_instance_uid.as_deref())
        .bind(&new.because.who)
        .bind(&new.because.why)
        .bind(at.0)
        .bind(new.shreds)
        .execute(&mut *writer)
        .await?;
        query(
            "UPDATE index_instances SET deletion_id = $1
             WHERE site_id = $2 AND study_instance_uid = $3 AND ($4 IS NULL OR sop_instance_uid = $4)
                AND deletion_id IS NULL AND state <> 'deleted'",
        )
        .bind(new.deletion_id.as_bytes().as_slice())
        .bind(self.site())
        .bind(&new.study_instance_uid)
        .bind(new.sop_instance_uid.as_deref())
        .execute(&mut *writer)
        .await?;
        let named = query(
            "INSERT INTO book_deletion_records (deletion_id, record_id)
             SELECT deletion_id, record_id FROM index_instances WHERE deletion_id = $1
             ON CONFLICT (deletion_id, record_id) DO NOTHING",
        )
        .bind(new.deletion_id.as_bytes().as_slice())
        .execute(&mut *writer)
        .await?;
        query(
            "INSERT INTO book_deletion_records (deletion_id, record_id)
             SELECT i.deletion_id, d.record_id FROM index_instances i
             JOIN index_dropped_copies d ON d.same_as = i.record_id WHERE i.deletion_id = $1
             ON CONFLICT (deletion_id, record_id) DO NOTHING",
        )
        .bind(new.deletion_id.as_bytes().as_slice())
        .execute(&mut *writer)
        .await?;
        Ok(named.rows_affected())
    }

    /// Confirms a deletion: what it names is found and served no more, and goes when the grace is over.
    ///
    /// # Errors
    /// [`Error::NoSuchDeletion`], [`Error::NotOpen`], [`Error::SamePerson`], [`Error::Held`], [`Error::Retained`],
    /// [`Error::Unsaid`]; or when a statement fails.
    pub async fn confirm_deletion(
        &self,
        deletion_id: FactId,
        who: &str,
        rules: DeletionRules,
        at: Timestamp,
    ) -> Result<Deletion, Error> {
        if who.trim().is_empty() {
            return Err(Error::Unsaid("who you are"));
        }
        self.engine
            .run("confirm a deletion", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                let known = self.deletion_in_custody(&mut transaction, deletion_id).await?;
                refuse_unless(&known, DeletionStep::Requested)?;
                if rules.two_people && known.because.who.trim() == who.trim() {
                    return Err(Error::SamePerson(deletion_id));
                }
                let study = &known.study_instance_uid;
                self.refuse_if_bound(&mut transaction, study, deletion_id, rules.retention_years, at).await?;
                let grace_ms = if known.shreds { 0 } else { rules.grace_ms };
                let due_at = at.0.saturating_add(i64::try_from(grace_ms).unwrap_or(i64::MAX));
                query(
                    "UPDATE book_deletions SET confirmed_by = $2, confirmed_at = $3, due_at = $4
                     WHERE deletion_id = $1",
                )
                .bind(deletion_id.as_bytes().as_slice())
                .bind(who)
                .bind(at.0)
                .bind(due_at)
                .execute(&mut transaction)
                .await?;
                query("UPDATE index_instances SET hidden = TRUE, served = FALSE WHERE deletion_id = $1")
                    .bind(deletion_id.as_bytes().as_slice())
                    .execute(&mut transaction)
                    .await?;
                self.let_others_answer(&mut transaction, deletion_id).await?;
                let told = Told::DeletionConfirmed { deletion_id, who, due_at: Timestamp(due_at) };
                self.tell(&mut transaction, &told, at).await?;
                let deletion = self.deletion_in(&mut transaction, deletion_id).await?;
                transaction.commit().await?;
                Ok(deletion)
            })
            .await
    }

    /// Takes a deletion back: what has not gone is as it was before.
    ///
    /// # Errors
    /// [`Error::NoSuchDeletion`], [`Error::NotOpen`], [`Error::Unsaid`]; or when a statement fails.
    pub async fn cancel_deletion(
        &self,
        deletion_id: FactId,
        because: &Because,
        at: Timestamp,
    ) -> Result<Deletion, Error> {
        because.check()?;
        self.engine
            .run("take a deletion back", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                let known = self.deletion_in_custody(&mut transaction, deletion_id).await?;
                if known.step() != DeletionStep::Confirmed {
                    refuse_unless(&known, DeletionStep::Requested)?;
                }
                query(
                    "UPDATE book_deletions SET cancelled_by = $2, cancelled_why = $3, cancelled_at = $4,
                        waits_for = NULL
                     WHERE deletion_id = $1",
                )
                .bind(deletion_id.as_bytes().as_slice())
                .bind(&because.who)
                .bind(&because.why)
                .bind(at.0)
                .execute(&mut transaction)
                .await?;
                self.unname(&mut transaction, deletion_id).await?;
                self.tell(&mut transaction, &Told::DeletionCancelled { deletion_id, because }, at).await?;
                let deletion = self.deletion_in(&mut transaction, deletion_id).await?;
                transaction.commit().await?;
                Ok(deletion)
            })
            .await
    }

    /// What a deletion names and has not taken is as it was before.
    pub(crate) async fn unname(&self, writer: &mut Connection, deletion_id: FactId) -> Result<(), Error> {
        query(
            "DELETE FROM book_deletion_records WHERE deletion_id = $1 AND record_id IN (
                SELECT d.record_id FROM index_instances i JOIN index_dropped_copies d ON d.same_as = i.record_id
                WHERE i.deletion_id = $1 AND i.state <> 'deleted')",
        )
        .bind(deletion_id.as_bytes().as_slice())
        .execute(&mut *writer)
        .await?;
        query("UPDATE index_instances SET hidden = FALSE WHERE deletion_id = $1 AND state <> 'deleted'")
            .bind(deletion_id.as_bytes().as_slice())
            .execute(&mut *writer)
            .await?;
        self.let_others_answer(writer, deletion_id).await?;
        query("UPDATE index_instances SET deletion_id = NULL WHERE deletion_id = $1 AND state <> 'deleted'")
            .bind(deletion_id.as_bytes().as_slice())
            .execute(writer)
            .await?;
        Ok(())
    }

    /// Decides anew who answers for each UID that a deletion names.
    pub(crate) async fn let_others_answer(
        &self,
        writer: &mut Connection,
        deletion_id: FactId,
    ) -> Result<(), Error> {
        let rows = query(
            "SELECT DISTINCT i.study_instance_uid, i.sop_instance_uid FROM index_instances i
             WHERE i.deletion_id = $1 AND EXISTS (SELECT 1 FROM index_instances other
                WHERE other.site_id = i.site_id AND other.study_instance_uid = i.study_instance_uid
                    AND other.sop_instance_uid = i.sop_instance_uid AND other.hidden = FALSE)",
        )
        .bind(deletion_id.as_bytes().as_slice())
        .fetch_all(&mut *writer)
        .await?;
        for row in &rows {
            let (study, sop) = (get(row, "study_instance_uid")?, get(row, "sop_instance_uid")?);
            refresh_served(writer, self.site(), study, sop).await?;
        }
        Ok(())
    }

    /// A deletion; `None` when it is not known.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn deletion(&self, deletion_id: FactId) -> Result<Option<Deletion>, Error> {
        self.engine
            .run("read a deletion", async {
                let mut reader = self.engine.reader().await?;
                match self.deletion_in(&mut reader, deletion_id).await {
                    Err(Error::NoSuchDeletion(_)) => Ok(None),
                    known => known.map(Some),
                }
            })
            .await
    }

    /// Deletions, the latest first; of one study when asked so.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn deletions(&self, study: Option<&str>, limit: u32) -> Result<Vec<Deletion>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} WHERE d.site_id = $1 AND ($2 IS NULL OR d.study_instance_uid = $2)
             ORDER BY d.requested_at DESC, d.deletion_id LIMIT $3"
        );
        self.engine
            .run("list deletions", async {
                let mut reader = self.engine.reader().await?;
                let query = query(AssertSqlSafe(sql)).bind(self.site()).bind(study).bind(i64::from(limit));
                query.fetch_all(&mut reader).await?.iter().map(deletion).collect()
            })
            .await
    }

    /// Deletions whose time has come, the one that waits longest first, behind the first `skip`.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn deletions_due(&self, now: Timestamp, skip: u32, limit: u32) -> Result<Vec<Deletion>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} WHERE d.site_id = $1 AND d.due_at IS NOT NULL AND d.due_at <= $2
                AND d.cancelled_at IS NULL AND d.done_at IS NULL
             ORDER BY d.due_at, d.deletion_id LIMIT $3 OFFSET $4"
        );
        self.engine
            .run("list deletions that are due", async {
                let mut reader = self.engine.reader().await?;
                let query = query(AssertSqlSafe(sql))
                    .bind(self.site())
                    .bind(now.0)
                    .bind(i64::from(limit))
                    .bind(i64::from(skip));
                query.fetch_all(&mut reader).await?.iter().map(deletion).collect()
            })
            .await
    }

    /// Writes down what keeps a deletion from being carried out; `None` when nothing does.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn deletion_waits(&self, deletion_id: FactId, waits_for: Option<&str>) -> Result<(), Error> {
        self.engine
            .run("write down what a deletion waits for", async {
                let mut writer = self.engine.writer().await?;
                query(
                    "UPDATE book_deletions SET waits_for = $2
                     WHERE deletion_id = $1 AND done_at IS NULL AND COALESCE(waits_for, '') <> COALESCE($2, '')",
                )
                .bind(deletion_id.as_bytes().as_slice())
                .bind(waits_for)
                .execute(&mut writer)
                .await?;
                Ok(())
            })
            .await
    }

    /// The deletion as it stands once nobody else can change it.
    pub(crate) async fn deletion_in_custody(
        &self,
        writer: &mut Connection,
        deletion_id: FactId,
    ) -> Result<Deletion, Error> {
        let known = self.deletion_in(writer, deletion_id).await?;
        self.take_custody(writer, &known.study_instance_uid).await?;
        self.deletion_in(writer, deletion_id).await
    }

    pub(crate) async fn deletion_in(
        &self,
        reader: &mut Connection,
        deletion_id: FactId,
    ) -> Result<Deletion, Error> {
        let row =
            query(AssertSqlSafe(format!("SELECT {COLUMNS} WHERE d.site_id = $1 AND d.deletion_id = $2")))
                .bind(self.site())
                .bind(deletion_id.as_bytes().as_slice())
                .fetch_optional(reader)
                .await?;
        deletion(&row.ok_or(Error::NoSuchDeletion(deletion_id))?)
    }
}

async fn named_by(reader: &mut Connection, deletion_id: FactId) -> Result<Vec<RecordId>, Error> {
    let rows = query("SELECT record_id FROM book_deletion_records WHERE deletion_id = $1 ORDER BY record_id")
        .bind(deletion_id.as_bytes().as_slice())
        .fetch_all(reader)
        .await?;
    rows.iter().map(|row| Ok(RecordId(id(row, "record_id")?))).collect()
}

pub(crate) fn refuse_unless(deletion: &Deletion, step: DeletionStep) -> Result<(), Error> {
    let standing = match deletion.step() {
        found if found == step => return Ok(()),
        DeletionStep::Requested => "not confirmed yet",
        DeletionStep::Confirmed => "confirmed already; filmgate delete cancel takes it back",
        DeletionStep::Cancelled => "cancelled; ask for it again",
        DeletionStep::Done => "carried out; what it named is gone",
    };
    Err(Error::NotOpen { deletion_id: deletion.deletion_id, standing })
}

fn deletion(row: &Row) -> Result<Deletion, Error> {
    let confirmed = match optional_time(row, "confirmed_at")? {
        Some(at) => Some((get(row, "confirmed_by")?, at)),
        None => None,
    };
    let cancelled = match optional_time(row, "cancelled_at")? {
        Some(at) => Some((Because { who: get(row, "cancelled_by")?, why: get(row, "cancelled_why")? }, at)),
        None => None,
    };
    Ok(Deletion {
        deletion_id: FactId(id(row, "deletion_id")?),
        study_instance_uid: get(row, "study_instance_uid")?,
        sop_instance_uid: get(row, "sop_instance_uid")?,
        because: Because { who: get(row, "who")?, why: get(row, "why")? },
        requested_at: time(row, "requested_at")?,
        confirmed,
        due_at: optional_time(row, "due_at")?,
        cancelled,
        done_at: optional_time(row, "done_at")?,
        waits_for: get(row, "waits_for")?,
        shreds: get(row, "shreds")?,
        keys_gone_at: optional_time(row, "keys_gone_at")?,
        keys_wait_for: get(row, "keys_wait_for")?,
        records: unsigned(row, "records")?,
        records_gone: unsigned(row, "records_gone")?,
    })
}
