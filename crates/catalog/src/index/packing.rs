//! From journal to pack: which studies are ready, which of their records go in, and what became of them.

use filmgate_model::{InstanceState, PackId, RecordId, StudyKeyId, Timestamp};

use super::{
    batch,
    copies::{CopyKind, lock_studies_of, refresh_served, refresh_served_in},
};
use crate::{
    Catalog, Error,
    book::alarms::{AlarmKind, raise},
    engine::{
        AssertSqlSafe, Connection, Row, query,
        row::{fixed, get, id, optional_fixed, signed, time, unsigned},
    },
    transition::sources_sql,
};

/// Why a study is packed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackReason {
    /// Nothing came for a while.
    Quiet,
    /// Enough for a pack is there.
    Size,
    /// Its oldest record has waited long enough.
    Age,
}

/// A study with records to pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StudyToPack {
    /// The study.
    pub study_instance_uid: String,
    /// Its quarantined records, which go in packs of their own.
    pub quarantine: bool,
    /// Bytes of its unpacked records.
    pub bytes: u64,
    /// How many there are.
    pub records: u64,
    /// When the catalog heard of the oldest.
    pub oldest_at: Timestamp,
    /// When the catalog heard of the newest.
    pub newest_at: Timestamp,
    /// Why now.
    pub reason: PackReason,
}

/// A record to pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordToPack {
    /// The record.
    pub record_id: RecordId,
    /// Its series.
    pub series_instance_uid: String,
    /// Its SOP Instance UID.
    pub sop_instance_uid: String,
    /// SHA-256 of the dataset as received.
    pub dataset_sha256: [u8; 32],
    /// Digest of the samples or fragments.
    pub pixel_digest: Option<[u8; 32]>,
    /// Its transfer syntax.
    pub transfer_syntax_uid: String,
    /// Who sent it.
    pub calling_ae: String,
    /// Length of the sealed record.
    pub record_bytes: u64,
    /// When its first byte arrived.
    pub received_at: Timestamp,
    /// A deletion names it: nothing may be dropped against it.
    pub to_be_deleted: bool,
}

/// A pack whose file is synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPack {
    /// The pack.
    pub pack_id: PackId,
    /// The study its records are of.
    pub study_instance_uid: String,
    /// The key its footer is sealed under.
    pub study_key_id: StudyKeyId,
    /// Holds quarantined records.
    pub quarantine: bool,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
}

/// A record that is in the new pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedInstance {
    /// The record.
    pub record_id: RecordId,
    /// Where it begins in the pack.
    pub offset: u64,
    /// What it is among the copies of its UID.
    pub copy_kind: CopyKind,
}

/// A record that brought nothing new and is not in the pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DroppedCopy {
    /// The record.
    pub record_id: RecordId,
    /// The kept record with the same bytes.
    pub same_as: RecordId,
}

impl Catalog {
    /// Studies of this node with unpacked records that are ready, the one that waits longest first: nothing new for
    /// `quiet_ms`, at least `size_bytes`, or the oldest `age_ms` old. Distances of time count both ways, so that
    /// a clock set back does not make records wait.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn studies_to_pack(
        &self,
        now: Timestamp,
        quiet_ms: u64,
        size_bytes: u64,
        age_ms: u64,
    ) -> Result<Vec<StudyToPack>, Error> {
        let waiting = self.unpacked_studies().await?;
        let ready = waiting.into_iter().filter_map(|mut study| {
            study.reason = reason_to_pack(&study, now, quiet_ms, size_bytes, age_ms)?;
            Some(study)
        });
        Ok(ready.collect())
    }

    /// Every study of this node with unpacked records, the one that waits longest first, ready or not: what the
    /// pressure trigger and a shutdown pack. The reason given is age.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn unpacked_studies(&self) -> Result<Vec<StudyToPack>, Error> {
        self.engine
            .run("list studies to pack", async {
                let mut reader = self.engine.reader().await?;
                let query = query(UNPACKED_STUDIES).bind(self.site()).bind(self.node());
                query.fetch_all(&mut reader).await?.iter().map(study_to_pack).collect()
            })
            .await
    }

    /// Unpacked records of a study in order of arrival, up to `bytes_max` of them, at least one when there is any.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn records_to_pack(
        &self,
        study_instance_uid: &str,
        quarantine: bool,
        bytes_max: u64,
    ) -> Result<Vec<RecordToPack>, Error> {
        self.engine
            .run("list records to pack", async {
                let mut reader = self.engine.reader().await?;
                let query = query(UNPACKED_RECORDS)
                    .bind(self.site())
                    .bind(self.node())
                    .bind(study_instance_uid)
                    .bind(quarantine)
                    .bind(i64::try_from(bytes_max).unwrap_or(i64::MAX));
                query.fetch_all(&mut reader).await?.iter().map(record_to_pack).collect()
            })
            .await
    }

    /// Enters a pack whose file is synced: its records become packed (quarantined ones stay quarantined), copies
    /// that brought nothing new leave, a conflict raises an alarm. All or nothing.
    ///
    /// # Errors
    /// [`Error::NotPackable`], [`Error::CopyGone`] and [`Error::KeyShredded`] when the catalog has moved on since the
    /// records were listed: nothing is entered, the pack is to be unlinked and made again.
    pub async fn record_packed(
        &self,
        pack: &NewPack,
        packed: &[PackedInstance],
        dropped: &[DroppedCopy],
        at: Timestamp,
    ) -> Result<(), Error> {
        self.engine
            .run("record a pack", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                transaction.lock_studies(self.site(), &[&pack.study_instance_uid]).await?;
                self.insert_pack(&mut transaction, pack, at).await?;
                let parameters_max = transaction.parameters_max(ENTER_PARAMETERS_MAX);
                for run in batch::runs(packed, ENTER_COLUMNS, parameters_max) {
                    self.enter(&mut transaction, pack, run, at).await?;
                }
                refresh_served_in(&mut transaction, self.site(), pack.pack_id).await?;
                for copy in dropped {
                    self.drop_copy(&mut transaction, *copy, at).await?;
                }
                transaction.commit().await
            })
            .await
    }

    /// Copies that need no pack of their own: every record left of a study equals one that is kept.
    ///
    /// # Errors
    /// [`Error::CopyGone`] when a kept copy is not there any more; nothing is dropped then.
    pub async fn record_dropped(&self, dropped: &[DroppedCopy], at: Timestamp) -> Result<(), Error> {
        self.engine
            .run("drop copies", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                let records: Vec<RecordId> = dropped.iter().map(|copy| copy.record_id).collect();
                lock_studies_of(&mut transaction, self.site(), &records).await?;
                for copy in dropped {
                    self.drop_copy(&mut transaction, *copy, at).await?;
                }
                transaction.commit().await
            })
            .await
    }

    pub(super) async fn insert_pack(
        &self,
        writer: &mut Connection,
        pack: &NewPack,
        at: Timestamp,
    ) -> Result<(), Error> {
        self.refuse_shredded(&mut *writer, pack.study_key_id).await?;
        let entered = query(
            "INSERT INTO index_packs (pack_id, site_id, node_id, study_instance_uid, study_key_id, quarantine, bytes,
                sha256, created_at, state, state_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'packed', $10)
             ON CONFLICT (pack_id) DO NOTHING",
        )
        .bind(pack.pack_id.as_bytes().as_slice())
        .bind(self.site())
        .bind(self.node())
        .bind(&pack.study_instance_uid)
        .bind(pack.study_key_id.as_bytes().as_slice())
        .bind(pack.quarantine)
        .bind(signed(pack.bytes, "a pack")?)
        .bind(pack.sha256.as_slice())
        .bind(pack.created_at.0)
        .bind(at.0)
        .execute(&mut *writer)
        .await?;
        if entered.rows_affected() == 0 {
            return Ok(());
        }
        query(
            "INSERT INTO index_local_packs (pack_id, node_id, site_id, bytes, last_read_at)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (pack_id, node_id) DO NOTHING",
        )
        .bind(pack.pack_id.as_bytes().as_slice())
        .bind(self.node())
        .bind(self.site())
        .bind(signed(pack.bytes, "a pack")?)
        .bind(at.0)
        .execute(writer)
        .await?;
        Ok(())
    }

    async fn enter(
        &self,
        writer: &mut Connection,
        pack: &NewPack,
        run: &[PackedInstance],
        at: Timestamp,
    ) -> Result<(), Error> {
        let text = format!(
            "UPDATE index_instances SET pack_id = $1, pack_offset = v.column2, copy_kind = v.column3, state_at = $2,
                state = CASE WHEN quarantine THEN state ELSE 'packed' END
             FROM (VALUES {{rows}}) AS v
             WHERE record_id = v.column1 AND pack_id IS NULL AND quarantine = $3
                AND (state IN ({}) OR (quarantine AND state = 'quarantined'))",
            sources_sql(InstanceState::Packed)
        );
        let mut query = query(AssertSqlSafe(batch::over_rows(writer, &text, ENTER_COLUMNS, run.len())));
        for instance in run {
            query = query
                .bind(instance.record_id.as_bytes().as_slice())
                .bind(signed(instance.offset, "a pack")?)
                .bind(instance.copy_kind.as_str());
        }
        let query = query.bind(pack.pack_id.as_bytes().as_slice()).bind(at.0).bind(pack.quarantine);
        let entered = query.execute(&mut *writer).await?.rows_affected();
        if entered != run.len() as u64 {
            for instance in run {
                already_entered(writer, pack.pack_id, instance).await?;
            }
        }
        for conflict in run.iter().filter(|instance| instance.copy_kind == CopyKind::Conflict) {
            self.raise_conflict(writer, conflict.record_id, at).await?;
        }
        Ok(())
    }

    async fn raise_conflict(
        &self,
        writer: &mut Connection,
        record_id: RecordId,
        at: Timestamp,
    ) -> Result<(), Error> {
        let row = query("SELECT sop_instance_uid FROM index_instances WHERE record_id = $1")
            .bind(record_id.as_bytes().as_slice())
            .fetch_optional(&mut *writer)
            .await?;
        let sop = row.as_ref().map(|row| get(row, "sop_instance_uid")).transpose()?;
        let (subject, detail) = (record_id.to_string(), sop.unwrap_or_default());
        raise(writer, self.site(), AlarmKind::ConflictingInstance, &subject, detail, at).await
    }

    async fn drop_copy(
        &self,
        writer: &mut Connection,
        copy: DroppedCopy,
        at: Timestamp,
    ) -> Result<(), Error> {
        let gone = Error::CopyGone { record_id: copy.record_id, same_as: copy.same_as };
        // Changes nothing, and makes whoever would name the kept copy in a deletion wait until this is decided.
        let kept = query(
            "UPDATE index_instances SET served = served
             WHERE record_id = $1 AND state NOT IN ('deleted', 'damaged', 'absent') AND deletion_id IS NULL",
        )
        .bind(copy.same_as.as_bytes().as_slice())
        .execute(&mut *writer)
        .await?;
        if kept.rows_affected() == 0 || copy.same_as == copy.record_id {
            return Err(gone);
        }
        let left = query(
            "DELETE FROM index_instances WHERE record_id = $1 AND pack_id IS NULL AND deletion_id IS NULL
             RETURNING study_instance_uid, sop_instance_uid",
        )
        .bind(copy.record_id.as_bytes().as_slice())
        .fetch_optional(&mut *writer)
        .await?;
        let Some(left) = left else {
            // Dropped before, by an earlier run of this; or named by a deletion meanwhile.
            let there =
                query("SELECT record_id FROM index_instances WHERE record_id = $1 AND pack_id IS NULL")
                    .bind(copy.record_id.as_bytes().as_slice());
            return match there.fetch_optional(&mut *writer).await? {
                Some(_) => Err(gone),
                None => Ok(()),
            };
        };
        query(
            "INSERT INTO index_dropped_copies (record_id, site_id, same_as, dropped_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (record_id) DO NOTHING",
        )
        .bind(copy.record_id.as_bytes().as_slice())
        .bind(self.site())
        .bind(copy.same_as.as_bytes().as_slice())
        .bind(at.0)
        .execute(&mut *writer)
        .await?;
        let (study, sop) = (get(&left, "study_instance_uid")?, get(&left, "sop_instance_uid")?);
        refresh_served(writer, self.site(), study, sop).await
    }
}

/// Parameters of one record that enters a pack.
const ENTER_COLUMNS: usize = 3;
/// Parameters of one statement: SQLite looks each up among all when it prepares the text.
const ENTER_PARAMETERS_MAX: usize = 64 * ENTER_COLUMNS;

/// The second run of the same operation finds its own work; anything else means the catalog has moved on.
async fn already_entered(
    writer: &mut Connection,
    pack_id: PackId,
    instance: &PackedInstance,
) -> Result<(), Error> {
    let same = query(
        "SELECT record_id FROM index_instances WHERE record_id = $1 AND pack_id = $2 AND pack_offset = $3",
    )
    .bind(instance.record_id.as_bytes().as_slice())
    .bind(pack_id.as_bytes().as_slice())
    .bind(signed(instance.offset, "a pack")?)
    .fetch_optional(writer)
    .await?;
    same.map(|_| ()).ok_or(Error::NotPackable { record_id: instance.record_id, pack_id })
}

fn reason_to_pack(
    study: &StudyToPack,
    now: Timestamp,
    quiet_ms: u64,
    size_bytes: u64,
    age_ms: u64,
) -> Option<PackReason> {
    if study.bytes >= size_bytes {
        Some(PackReason::Size)
    } else if now.0.abs_diff(study.newest_at.0) >= quiet_ms {
        Some(PackReason::Quiet)
    } else if now.0.abs_diff(study.oldest_at.0) >= age_ms {
        Some(PackReason::Age)
    } else {
        None
    }
}

const UNPACKED_STUDIES: &str = "
SELECT study_instance_uid, quarantine, CAST(SUM(record_bytes) AS BIGINT) AS bytes, COUNT(*) AS records,
    MIN(state_at) AS oldest_at, MAX(state_at) AS newest_at
FROM index_instances
WHERE site_id = $1 AND node_id = $2 AND pack_id IS NULL AND state IN ('received', 'quarantined')
GROUP BY study_instance_uid, quarantine ORDER BY MIN(state_at), study_instance_uid, quarantine";

/// A running sum ends the list; the first record passes whatever its size.
const UNPACKED_RECORDS: &str = "
SELECT * FROM (
    SELECT record_id, series_instance_uid, sop_instance_uid, dataset_sha256, pixel_digest, transfer_syntax_uid,
        calling_ae, record_bytes, received_at, arrival_number, deletion_id IS NOT NULL AS to_be_deleted,
        CAST(SUM(record_bytes) OVER (ORDER BY arrival_number) AS BIGINT) AS bytes_so_far
    FROM index_instances
    WHERE site_id = $1 AND node_id = $2 AND study_instance_uid = $3 AND quarantine = $4 AND pack_id IS NULL
        AND state IN ('received', 'quarantined')
) AS waiting
WHERE bytes_so_far <= $5 OR bytes_so_far = record_bytes ORDER BY arrival_number";

fn study_to_pack(row: &Row) -> Result<StudyToPack, Error> {
    Ok(StudyToPack {
        study_instance_uid: get(row, "study_instance_uid")?,
        quarantine: get(row, "quarantine")?,
        bytes: unsigned(row, "bytes")?,
        records: unsigned(row, "records")?,
        oldest_at: time(row, "oldest_at")?,
        newest_at: time(row, "newest_at")?,
        reason: PackReason::Age,
    })
}

fn record_to_pack(row: &Row) -> Result<RecordToPack, Error> {
    Ok(RecordToPack {
        record_id: RecordId(id(row, "record_id")?),
        series_instance_uid: get(row, "series_instance_uid")?,
        sop_instance_uid: get(row, "sop_instance_uid")?,
        dataset_sha256: fixed(row, "dataset_sha256")?,
        pixel_digest: optional_fixed(row, "pixel_digest")?,
        transfer_syntax_uid: get(row, "transfer_syntax_uid")?,
        calling_ae: get(row, "calling_ae")?,
        record_bytes: unsigned(row, "record_bytes")?,
        received_at: time(row, "received_at")?,
        to_be_deleted: get(row, "to_be_deleted")?,
    })
}
