//! The road of packs into the buckets: claimed, uploaded, tried again, found damaged.

use filmgate_model::{InstanceState, PackId, Timestamp};

use super::{
    copies::refresh_served,
    packs::{COLUMNS, Pack, pack},
    placements::{forget, note_uploaded, placements_of},
    tries::{clear_try, note_try, tries_of},
    upload_parts::forget_upload,
};
use crate::{
    Catalog, Error,
    book::alarms::{AlarmKind, raise},
    engine::{
        AssertSqlSafe, Connection, query,
        row::{get, id, signed, word},
    },
    transition::{may_become, sources_sql},
};

/// A placement ($3) that is to be tried later ($4 is now). No delay is as long as a day (86,400,000 ms): a time so far
/// ahead was written before the clock was set back.
const DUE: &str = "NOT EXISTS (SELECT 1 FROM index_tries tried
                    WHERE tried.pack_id = index_packs.pack_id AND tried.placement = $3
                        AND tried.next_try_at > $4 AND tried.next_try_at <= $4 + 86400000)";

impl Catalog {
    /// The oldest pack of this node to put in a placement: not there yet, and not to be tried later. Those in `exclude`
    /// are in flight.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn claim_upload(
        &self,
        placement: &str,
        now: Timestamp,
        exclude: &[PackId],
    ) -> Result<Option<Pack>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} WHERE site_id = $1 AND node_id = $2 AND state IN ('packed', 'retrying')
                AND NOT EXISTS (SELECT 1 FROM index_placements have
                    WHERE have.pack_id = index_packs.pack_id AND have.placement = $3)
                AND {DUE}
             ORDER BY created_at, pack_id"
        );
        self.first_pack("claim an upload", sql, placement, now, exclude).await
    }

    /// The oldest pack of this node that was put in a placement and is not proven equal there yet. Those in `exclude`
    /// are in flight.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn claim_verification(
        &self,
        placement: &str,
        now: Timestamp,
        exclude: &[PackId],
    ) -> Result<Option<Pack>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} WHERE site_id = $1 AND node_id = $2 AND state IN ('packed', 'uploaded', 'retrying')
                AND EXISTS (SELECT 1 FROM index_placements have
                    WHERE have.pack_id = index_packs.pack_id AND have.placement = $3
                        AND have.verified_at IS NULL)
                AND {DUE}
             ORDER BY created_at, pack_id"
        );
        self.first_pack("claim a verification", sql, placement, now, exclude).await
    }

    /// Packs of this node whose upload or verification is tried again, oldest first.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn retrying(&self, limit: u32) -> Result<Vec<Pack>, Error> {
        self.packs_in(InstanceState::Retrying, "", limit).await
    }

    async fn packs_in(
        &self,
        state: InstanceState,
        and: &'static str,
        limit: u32,
    ) -> Result<Vec<Pack>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} WHERE site_id = $1 AND node_id = $2 AND state = $3 {and}
             ORDER BY created_at, pack_id LIMIT $4"
        );
        self.engine
            .run("list packs in a state", async {
                let mut reader = self.engine.reader().await?;
                let rows = query(AssertSqlSafe(sql))
                    .bind(self.site())
                    .bind(self.node())
                    .bind(state.as_str())
                    .bind(i64::from(limit))
                    .fetch_all(&mut reader)
                    .await?;
                let mut packs = Vec::with_capacity(rows.len());
                for row in &rows {
                    packs.push(pack(&mut reader, row).await?);
                }
                Ok(packs)
            })
            .await
    }

    /// A pack was put in a placement. With all of `required` put, pack and instances become uploaded: true then.
    ///
    /// # Errors
    /// [`Error::UnknownPack`]; or when a statement fails.
    pub async fn record_uploaded<S: AsRef<str> + Sync>(
        &self,
        pack_id: PackId,
        placement: &str,
        required: &[S],
        at: Timestamp,
    ) -> Result<bool, Error> {
        self.engine
            .run("record an upload", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                state_of(&mut transaction, pack_id).await?;
                note_uploaded(&mut transaction, self.site(), pack_id, placement, at).await?;
                clear_try(&mut transaction, pack_id, placement).await?;
                forget_upload(&mut transaction, pack_id, placement).await?;
                let done = settle(&mut transaction, pack_id, required, at).await?;
                transaction.commit().await?;
                Ok(done)
            })
            .await
    }

    /// An upload to a placement, or a verification in it, failed and is tried again at `next_try_at`.
    ///
    /// # Errors
    /// [`Error::UnknownPack`]; or when a statement fails.
    pub async fn upload_failed(
        &self,
        pack_id: PackId,
        placement: &str,
        reason: &str,
        next_try_at: Timestamp,
        at: Timestamp,
    ) -> Result<(), Error> {
        self.engine
            .run("record a failed upload", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                state_of(&mut transaction, pack_id).await?;
                note_try(&mut transaction, self.site(), pack_id, placement, reason, next_try_at).await?;
                retry(&mut transaction, pack_id, at).await?;
                transaction.commit().await
            })
            .await
    }

    /// What a placement holds is not the pack: the placement is forgotten and the pack uploaded again.
    ///
    /// # Errors
    /// [`Error::UnknownPack`]; or when a statement fails.
    pub async fn placement_failed(
        &self,
        pack_id: PackId,
        placement: &str,
        reason: &str,
        next_try_at: Timestamp,
        at: Timestamp,
    ) -> Result<(), Error> {
        self.engine
            .run("record a failed placement", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                state_of(&mut transaction, pack_id).await?;
                forget(&mut transaction, pack_id, placement).await?;
                note_try(&mut transaction, self.site(), pack_id, placement, reason, next_try_at).await?;
                retry(&mut transaction, pack_id, at).await?;
                transaction.commit().await
            })
            .await
    }

    /// The bytes of a pack no longer open: pack and instances become damaged, an alarm is raised.
    ///
    /// # Errors
    /// [`Error::UnknownPack`]; or when a statement fails.
    pub async fn mark_damaged(&self, pack_id: PackId, reason: &str, at: Timestamp) -> Result<(), Error> {
        self.engine
            .run("record a damaged pack", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                let study = study_of(&mut transaction, pack_id).await?;
                transaction.lock_studies(self.site(), &[&study]).await?;
                move_pack(&mut transaction, pack_id, InstanceState::Damaged, Some(reason), None, at).await?;
                self.refresh_served_of(&mut transaction, pack_id).await?;
                let subject = pack_id.to_string();
                raise(&mut transaction, self.site(), AlarmKind::DamagedPack, &subject, reason, at).await?;
                transaction.commit().await
            })
            .await
    }

    /// Lets another copy answer for each instance of a pack that has one.
    async fn refresh_served_of(&self, writer: &mut Connection, pack_id: PackId) -> Result<(), Error> {
        let instances = query(
            "SELECT DISTINCT study_instance_uid, sop_instance_uid FROM index_instances WHERE pack_id = $1",
        )
        .bind(pack_id.as_bytes().as_slice())
        .fetch_all(&mut *writer)
        .await?;
        for row in &instances {
            let (study, sop) = (get(row, "study_instance_uid")?, get(row, "sop_instance_uid")?);
            refresh_served(writer, self.site(), study, sop).await?;
        }
        Ok(())
    }

    async fn first_pack(
        &self,
        doing: &'static str,
        sql: String,
        placement: &str,
        now: Timestamp,
        exclude: &[PackId],
    ) -> Result<Option<Pack>, Error> {
        // Those in flight are a handful, so that many rows more are enough to find one that is not.
        let limit = exclude.len().saturating_add(1);
        self.engine
            .run(doing, async {
                let mut reader = self.engine.reader().await?;
                let rows = query(AssertSqlSafe(format!("{sql} LIMIT {limit}")))
                    .bind(self.site())
                    .bind(self.node())
                    .bind(placement)
                    .bind(now.0)
                    .fetch_all(&mut reader)
                    .await?;
                for row in &rows {
                    if !exclude.contains(&PackId(id(row, "pack_id")?)) {
                        return Ok(Some(pack(&mut reader, row).await?));
                    }
                }
                Ok(None)
            })
            .await
    }
}

async fn study_of(writer: &mut Connection, pack_id: PackId) -> Result<String, Error> {
    let row = query("SELECT study_instance_uid FROM index_packs WHERE pack_id = $1")
        .bind(pack_id.as_bytes().as_slice())
        .fetch_optional(writer)
        .await?;
    get(&row.ok_or(Error::UnknownPack(pack_id))?, "study_instance_uid")
}

pub(super) async fn state_of(writer: &mut Connection, pack_id: PackId) -> Result<InstanceState, Error> {
    let row = query("SELECT state FROM index_packs WHERE pack_id = $1")
        .bind(pack_id.as_bytes().as_slice())
        .fetch_optional(writer)
        .await?;
    word(&row.ok_or(Error::UnknownPack(pack_id))?, "state")
}

/// Where a pack stands after something went well in one placement: uploaded once it is in all, true then; retrying
/// while another is to be tried again.
pub(super) async fn settle<S: AsRef<str> + Sync>(
    writer: &mut Connection,
    pack_id: PackId,
    required: &[S],
    at: Timestamp,
) -> Result<bool, Error> {
    let placements = placements_of(writer, pack_id).await?;
    let everywhere =
        required.iter().all(|name| placements.iter().any(|have| have.placement == name.as_ref()));
    let tries = tries_of(writer, pack_id).await?;
    if everywhere && tries.is_empty() {
        move_pack(writer, pack_id, InstanceState::Uploaded, None, None, at).await?;
    } else if state_of(writer, pack_id).await? == InstanceState::Retrying
        && let Some(next) = tries.first()
    {
        let (reason, next) = (Some(next.reason.as_str()), Some(next.next_try_at));
        move_pack(writer, pack_id, InstanceState::Retrying, reason, next, at).await?;
    }
    Ok(everywhere)
}

/// After a try that failed and was noted: a pack that may be tried again is retrying, until the try that is due first.
async fn retry(writer: &mut Connection, pack_id: PackId, at: Timestamp) -> Result<(), Error> {
    let from = state_of(writer, pack_id).await?;
    if from != InstanceState::Retrying && !may_become(from, InstanceState::Retrying) {
        return Ok(());
    }
    // What was found wanting is not stated; when it is proven again it will be.
    query("DELETE FROM book_outbox WHERE pack_id = $1")
        .bind(pack_id.as_bytes().as_slice())
        .execute(&mut *writer)
        .await?;
    let tries = tries_of(writer, pack_id).await?;
    let attempts = signed(tries.iter().map(|tried| tried.attempts).sum(), "a number of tries")?;
    query("UPDATE index_packs SET attempts = $2 WHERE pack_id = $1")
        .bind(pack_id.as_bytes().as_slice())
        .bind(attempts)
        .execute(&mut *writer)
        .await?;
    let next = tries.first().map(|tried| (tried.reason.as_str(), tried.next_try_at)).unzip();
    move_pack(writer, pack_id, InstanceState::Retrying, next.0, next.1, at).await
}

/// Moves a pack and its instances, each only along the table of transitions; quarantined instances therefore stay
/// while their pack goes to the bucket. One that stands there already gets the new reason and time.
pub(super) async fn move_pack(
    writer: &mut Connection,
    pack_id: PackId,
    to: InstanceState,
    reason: Option<&str>,
    next_try_at: Option<Timestamp>,
    at: Timestamp,
) -> Result<(), Error> {
    for table in ["index_packs", "index_instances"] {
        let sql = format!(
            "UPDATE {table} SET reason = $2, next_try_at = $3, state = $4,
                state_at = CASE WHEN state = $4 THEN state_at ELSE $5 END
             WHERE pack_id = $1 AND (state = $4 OR state IN ({}))",
            sources_sql(to)
        );
        query(AssertSqlSafe(sql))
            .bind(pack_id.as_bytes().as_slice())
            .bind(reason)
            .bind(next_try_at.map(|time| time.0))
            .bind(to.as_str())
            .bind(at.0)
            .execute(&mut *writer)
            .await?;
    }
    Ok(())
}
