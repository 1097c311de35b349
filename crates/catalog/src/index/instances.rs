//! Instances: entering what was received, and where each record stands.

use std::collections::HashSet;

use filmgate_model::{Door, Facts, Identity, InstanceState, Provenance, RecordId, Timestamp, tags};

use super::{batch, filing};
use crate::{
    Catalog, Error,
    book::alarms::{AlarmKind, raise},
    engine::{
        AssertSqlSafe, Connection, Statement, query,
        row::{get, id, signed, word},
    },
    index::copies::{lock_studies_of, refresh_served},
    transition::sources_sql,
};

pub use super::locations::Location;

/// One instance whose record is synced in the journal.
#[derive(Debug, Clone)]
pub struct ReceivedInstance {
    /// Its record.
    pub record_id: RecordId,
    /// What it is filed under.
    pub identity: Identity,
    /// Its indexed attributes.
    pub facts: Facts,
    /// Where it came from.
    pub provenance: Provenance,
    /// Length of the dataset as received.
    pub dataset_bytes: u64,
    /// Length of the sealed record.
    pub record_bytes: u64,
    /// SHA-256 of the dataset as received.
    pub dataset_sha256: [u8; 32],
    /// Digest of the samples or fragments and of whom and what they show, when there are any.
    pub pixel_digest: Option<[u8; 32]>,
    /// Why it is kept apart; `None` for an instance that can be read.
    pub quarantine: Option<String>,
}

/// What the catalog says of a record found in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Never heard of: enter it again.
    Unknown,
    /// Waits to be packed: the journal must keep it.
    Unpacked,
    /// In a pack, dropped as a copy, or deleted: the journal may let it go.
    Settled,
}

impl Catalog {
    /// Enters what was received, all or nothing. What is known already stays as it is, and so do its patient, study and
    /// series: they may have been taken away since.
    ///
    /// # Errors
    /// When a statement fails; then none of them was entered.
    pub async fn record_received(&self, received: &[ReceivedInstance], at: Timestamp) -> Result<(), Error> {
        self.engine
            .run("record received instances", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                self.enter_received(&mut transaction, received, at).await?;
                transaction.commit().await
            })
            .await
    }

    /// The same of what was found on the disk again: it may be older than decisions about it, and what a deletion hides is
    /// hidden from the first moment. [`Catalog::restore_deletions`] does the rest.
    ///
    /// # Errors
    /// When a statement fails; then none of them was entered.
    pub async fn record_recovered(&self, found: &[ReceivedInstance], at: Timestamp) -> Result<(), Error> {
        self.engine
            .run("record recovered instances", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                self.enter_received(&mut transaction, found, at).await?;
                self.hide_deleted(&mut transaction, found).await?;
                transaction.commit().await
            })
            .await
    }

    async fn enter_received(
        &self,
        writer: &mut Connection,
        received: &[ReceivedInstance],
        at: Timestamp,
    ) -> Result<(), Error> {
        let studies: Vec<&str> =
            received.iter().map(|instance| instance.identity.study_instance_uid.as_str()).collect();
        writer.lock_studies(self.site(), &studies).await?;
        let before = last_arrival(&mut *writer).await?;
        let parameters_max = writer.parameters_max(INSERT_PARAMETERS_MAX);
        let mut entered = 0;
        for run in batch::runs(received, INSERT_COLUMNS, parameters_max) {
            entered += self.insert_run(&mut *writer, run, at).await?;
        }
        let mut new: Vec<&ReceivedInstance> = received.iter().collect();
        if entered != received.len() as u64 {
            new = self.entered_after(&mut *writer, before, new).await?;
        }
        filing::file(writer, self.site(), &new).await
    }

    /// Those of `records` that are neither in the catalog nor dropped as copies: what a journal brings back after
    /// a crash before the catalog's commit.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn missing_records(&self, records: &[RecordId]) -> Result<Vec<RecordId>, Error> {
        let standings = self.standing_of(records).await?;
        Ok(standings
            .into_iter()
            .filter(|(_, standing)| *standing == Standing::Unknown)
            .map(|(id, _)| id)
            .collect())
    }

    /// What the catalog says of each of `records`, in their order.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn standing_of(&self, records: &[RecordId]) -> Result<Vec<(RecordId, Standing)>, Error> {
        self.engine
            .run("compare journal and catalog", async {
                let mut reader = self.engine.reader().await?;
                let mut standings = Vec::with_capacity(records.len());
                for record_id in records {
                    standings.push((*record_id, standing(&mut reader, *record_id).await?));
                }
                Ok(standings)
            })
            .await
    }

    /// Keeps a received instance apart: its record turned out not to be readable as an instance.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn quarantine(&self, record_id: RecordId, reason: &str, at: Timestamp) -> Result<(), Error> {
        self.move_record(record_id, InstanceState::Quarantined, reason, at).await
    }

    /// A record in the journal no longer opens: it is damaged and raises an alarm.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn mark_record_damaged(
        &self,
        record_id: RecordId,
        reason: &str,
        at: Timestamp,
    ) -> Result<(), Error> {
        self.move_record(record_id, InstanceState::Damaged, reason, at).await
    }

    async fn move_record(
        &self,
        record_id: RecordId,
        to: InstanceState,
        reason: &str,
        at: Timestamp,
    ) -> Result<(), Error> {
        let sql = format!(
            "UPDATE index_instances SET state = $1, state_at = $2, reason = $3, next_try_at = NULL,
                quarantine = (quarantine OR $1 = 'quarantined')
             WHERE record_id = $4 AND state IN ({})
             RETURNING study_instance_uid, sop_instance_uid",
            sources_sql(to)
        );
        self.engine
            .run("move an instance to another state", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                lock_studies_of(&mut transaction, self.site(), &[record_id]).await?;
                let moved = query(AssertSqlSafe(sql))
                    .bind(to.as_str())
                    .bind(at.0)
                    .bind(reason)
                    .bind(record_id.as_bytes().as_slice())
                    .fetch_optional(&mut transaction)
                    .await?;
                if let Some(row) = moved {
                    let (study, sop) = (get(&row, "study_instance_uid")?, get(&row, "sop_instance_uid")?);
                    refresh_served(&mut transaction, self.site(), study, sop).await?;
                    if to == InstanceState::Damaged {
                        let subject = record_id.to_string();
                        raise(&mut transaction, self.site(), AlarmKind::DamagedRecord, &subject, reason, at)
                            .await?;
                    }
                }
                transaction.commit().await
            })
            .await
    }

    /// Those of `received` that came into the catalog after arrival `before`.
    async fn entered_after<'r>(
        &self,
        writer: &mut Connection,
        before: i64,
        received: Vec<&'r ReceivedInstance>,
    ) -> Result<Vec<&'r ReceivedInstance>, Error> {
        let mut entered = HashSet::new();
        for run in batch::runs(&received, 1, RECORDS_AT_ONCE) {
            let sql = format!(
                "SELECT record_id FROM index_instances WHERE arrival_number > $1 AND record_id IN {}",
                batch::values(2, run.len(), 1)
            );
            let mut asked = query(AssertSqlSafe(sql)).bind(before);
            for instance in run {
                asked = asked.bind(instance.record_id.as_bytes().as_slice());
            }
            for row in &asked.fetch_all(&mut *writer).await? {
                entered.insert(RecordId(id(row, "record_id")?));
            }
        }
        Ok(received.into_iter().filter(|instance| entered.contains(&instance.record_id)).collect())
    }

    /// A statement sees the rows that were there before it: what repeats a UID goes in by itself, so that one is served.
    async fn insert_run(
        &self,
        writer: &mut Connection,
        run: &[ReceivedInstance],
        at: Timestamp,
    ) -> Result<u64, Error> {
        let uid = |instance: &ReceivedInstance| {
            let identity = &instance.identity;
            (identity.study_instance_uid.clone(), identity.sop_instance_uid.clone())
        };
        if run.iter().map(uid).collect::<HashSet<_>>().len() == run.len() {
            return self.insert(writer, run, at).await;
        }
        let mut entered = 0;
        for instance in run {
            entered += self.insert(writer, std::slice::from_ref(instance), at).await?;
        }
        Ok(entered)
    }

    async fn insert(
        &self,
        writer: &mut Connection,
        run: &[ReceivedInstance],
        at: Timestamp,
    ) -> Result<u64, Error> {
        let mut query = query(AssertSqlSafe(batch::over_rows(writer, INSERT, INSERT_COLUMNS, run.len())));
        for instance in run {
            let state = match instance.quarantine {
                Some(_) => InstanceState::Quarantined,
                None => InstanceState::Received,
            };
            query = bind_instance(query, instance, state)?;
        }
        Ok(query.bind(self.site()).bind(at.0).execute(writer).await?.rows_affected())
    }
}

/// Gives the parameters of an instance's row their values, [`INSERT_COLUMNS`] of them.
pub(super) fn bind_instance<'q>(
    statement: Statement<'q>,
    instance: &'q ReceivedInstance,
    state: InstanceState,
) -> Result<Statement<'q>, Error> {
    let ReceivedInstance { identity, facts, provenance, .. } = instance;
    Ok(statement
        .bind(instance.record_id.as_bytes().as_slice())
        .bind(provenance.node.as_bytes().as_slice())
        .bind(&identity.study_instance_uid)
        .bind(&identity.series_instance_uid)
        .bind(&identity.sop_instance_uid)
        .bind(&identity.sop_class_uid)
        .bind(&provenance.transfer_syntax_uid)
        .bind(facts.integer(tags::INSTANCE_NUMBER))
        .bind(facts.number(tags::ROWS).map(i64::from))
        .bind(facts.number(tags::COLUMNS).map(i64::from))
        .bind(facts.number(tags::BITS_ALLOCATED).map(i64::from))
        .bind(facts.integer(tags::NUMBER_OF_FRAMES).filter(|frames| *frames >= 0))
        .bind(signed(instance.dataset_bytes, "a dataset")?)
        .bind(signed(instance.record_bytes, "a record")?)
        .bind(instance.dataset_sha256.as_slice())
        .bind(instance.pixel_digest.as_ref().map(<[u8; 32]>::as_slice))
        .bind(provenance.received_at.0)
        .bind(&provenance.calling_ae)
        .bind(&provenance.called_ae)
        .bind(&provenance.peer)
        .bind(door(provenance.door))
        .bind(state.as_str())
        .bind(instance.quarantine.as_deref())
        .bind(instance.quarantine.is_some()))
}

/// Parameters of one row.
pub(super) const INSERT_COLUMNS: usize = 24;
/// Records asked for in one statement.
const RECORDS_AT_ONCE: usize = 64;
/// Parameters of one statement.
const INSERT_PARAMETERS_MAX: usize = 64 * INSERT_COLUMNS;

/// A record dropped as a copy before does not come back (counted, not joined: rows keep their order); the first arrival
/// of a UID is the one served.
const INSERT: &str = "
INSERT INTO index_instances (
    site_id, state_at, record_id, node_id, study_instance_uid, series_instance_uid, sop_instance_uid, sop_class_uid,
    transfer_syntax_uid, instance_number, pixel_rows, pixel_columns, bits_allocated, number_of_frames, dataset_bytes,
    record_bytes, dataset_sha256, pixel_digest, received_at, calling_ae, called_ae, peer, door, state, reason,
    quarantine, served)
SELECT $1, $2, v.column1, v.column2, v.column3, v.column4, v.column5, v.column6, v.column7, v.column8, v.column9,
    v.column10, v.column11, v.column12, v.column13, v.column14, v.column15, v.column16, v.column17, v.column18,
    v.column19, v.column20, v.column21, v.column22, v.column23, v.column24,
    NOT v.column24 AND NOT EXISTS (
        SELECT 1 FROM index_instances
        WHERE site_id = $1 AND study_instance_uid = v.column3 AND sop_instance_uid = v.column5 AND served = TRUE)
FROM (VALUES {rows}) AS v
WHERE (SELECT COUNT(*) FROM index_dropped_copies WHERE record_id = v.column1) = 0
ON CONFLICT (record_id) DO NOTHING";

/// The number of the last arrival the catalog heard of; 0 when there is none.
async fn last_arrival(reader: &mut Connection) -> Result<i64, Error> {
    let row = query("SELECT COALESCE(MAX(arrival_number), 0) AS last FROM index_instances")
        .fetch_one(reader)
        .await?;
    get(&row, "last")
}

async fn standing(reader: &mut Connection, record_id: RecordId) -> Result<Standing, Error> {
    let found = query(
        "SELECT state, pack_id IS NOT NULL AS packed FROM index_instances WHERE record_id = $1
         UNION ALL SELECT 'deleted', TRUE FROM index_dropped_copies WHERE record_id = $1",
    )
    .bind(record_id.as_bytes().as_slice())
    .fetch_optional(reader)
    .await?;
    let Some(row) = found else { return Ok(Standing::Unknown) };
    let state: InstanceState = word(&row, "state")?;
    let packed: bool = get(&row, "packed")?;
    Ok(if packed || state == InstanceState::Deleted { Standing::Settled } else { Standing::Unpacked })
}

fn door(door: Door) -> &'static str {
    match door {
        Door::CStore => "c-store",
        Door::Stow => "stow",
    }
}
