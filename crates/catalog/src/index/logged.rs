//! The end of a pack's road: proven equal in every placement, then named by the bucket's log, and only then verified.

use filmgate_model::{FactId, InstanceState, PackId, Timestamp};

use super::{
    placements::{note_verified, placements_of},
    tries::clear_try,
    uploads::{move_pack, settle, state_of},
};
use crate::{
    Catalog, Error, LogPosition, Outgoing,
    engine::{Connection, query, row::optional_id},
};

impl Catalog {
    /// A pack was proven equal in a placement. With all of `required` proven, `fact` goes to the outbox: true then. It is
    /// verified when that is in the log: [`Catalog::record_logged`].
    ///
    /// # Errors
    /// [`Error::UnknownPack`]; or when a statement fails.
    pub async fn record_proven<S: AsRef<str> + Sync>(
        &self,
        pack_id: PackId,
        placement: &str,
        required: &[S],
        fact: &Outgoing,
        at: Timestamp,
    ) -> Result<bool, Error> {
        self.engine
            .run("record a proof", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                let state = state_of(&mut transaction, pack_id).await?;
                note_verified(&mut transaction, pack_id, placement, at).await?;
                clear_try(&mut transaction, pack_id, placement).await?;
                let placements = placements_of(&mut transaction, pack_id).await?;
                let proven = |name: &S| {
                    placements
                        .iter()
                        .any(|have| have.placement == name.as_ref() && have.verified_at.is_some())
                };
                let done = !required.is_empty() && required.iter().all(proven);
                if done && state != InstanceState::Verified {
                    // Whatever held it up before, it is in every bucket now.
                    move_pack(&mut transaction, pack_id, InstanceState::Uploaded, None, None, at).await?;
                    self.put_out(&mut transaction, fact, at).await?;
                } else if !done {
                    settle(&mut transaction, pack_id, required, at).await?;
                }
                transaction.commit().await?;
                Ok(done)
            })
            .await
    }

    /// Facts were accepted by every placement's log, in the batch at `position`: they leave the outbox, and the packs they
    /// name are verified, all in one commit. How many packs that are. Facts that left before change nothing.
    ///
    /// # Errors
    /// When a statement fails; then nothing was changed.
    pub async fn record_logged(
        &self,
        facts: &[FactId],
        position: LogPosition,
        at: Timestamp,
    ) -> Result<u64, Error> {
        self.engine
            .run("record what was logged", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                let mut verified = 0;
                for fact_id in facts {
                    if let Some(pack_id) = leave(&mut transaction, *fact_id).await? {
                        note_logged(&mut transaction, pack_id, at).await?;
                        verified += u64::from(verify(&mut transaction, pack_id, at).await?);
                    }
                }
                self.set_log_position(&mut transaction, position).await?;
                transaction.commit().await?;
                Ok(verified)
            })
            .await
    }
}

/// Takes a fact out of the outbox; the pack it names.
async fn leave(writer: &mut Connection, fact_id: FactId) -> Result<Option<PackId>, Error> {
    let row = query("DELETE FROM book_outbox WHERE fact_id = $1 RETURNING pack_id")
        .bind(fact_id.as_bytes().as_slice())
        .fetch_optional(writer)
        .await?;
    let pack_id = row.map(|row| optional_id(&row, "pack_id")).transpose()?.flatten();
    Ok(pack_id.map(PackId))
}

/// A batch names the pack.
pub(crate) async fn note_logged(
    writer: &mut Connection,
    pack_id: PackId,
    at: Timestamp,
) -> Result<(), Error> {
    query("UPDATE index_packs SET logged_at = $2 WHERE pack_id = $1 AND logged_at IS NULL")
        .bind(pack_id.as_bytes().as_slice())
        .bind(at.0)
        .execute(writer)
        .await?;
    Ok(())
}

/// An uploaded pack is verified now; one that was found wanting meanwhile goes its way again.
async fn verify(writer: &mut Connection, pack_id: PackId, at: Timestamp) -> Result<bool, Error> {
    match state_of(writer, pack_id).await {
        Ok(InstanceState::Uploaded) => {
            move_pack(writer, pack_id, InstanceState::Verified, None, None, at).await?;
            Ok(true)
        }
        Ok(_) | Err(Error::UnknownPack(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
