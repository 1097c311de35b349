//! Holds: nothing of a study goes while one stands.

use filmgate_model::{FactId, Timestamp};

use super::{custody::Because, telling::Told};
use crate::{
    Catalog, Error,
    engine::{
        Row, query,
        row::{get, id, optional_time, time, unsigned},
    },
};

/// A hold on a study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The hold.
    pub hold_id: FactId,
    /// The study.
    pub study_instance_uid: String,
    /// Who placed it, and why.
    pub because: Because,
    /// Since when.
    pub placed_at: Timestamp,
    /// Who released it and why, and when.
    pub released: Option<(Because, Timestamp)>,
}

const COLUMNS: &str =
    "hold_id, study_instance_uid, who, why, placed_at, released_by, released_why, released_at
    FROM book_holds";

impl Catalog {
    /// Places a hold. How many records of the study had gone before it came.
    ///
    /// # Errors
    /// [`Error::Unsaid`]; or when a statement fails.
    pub async fn place_hold(
        &self,
        hold_id: FactId,
        study_instance_uid: &str,
        because: &Because,
        at: Timestamp,
    ) -> Result<u64, Error> {
        because.check()?;
        self.engine
            .run("place a hold", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                self.take_custody(&mut transaction, study_instance_uid).await?;
                query(
                    "INSERT INTO book_holds (hold_id, site_id, study_instance_uid, who, why, placed_at)
                     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (hold_id) DO NOTHING",
                )
                .bind(hold_id.as_bytes().as_slice())
                .bind(self.site())
                .bind(study_instance_uid)
                .bind(&because.who)
                .bind(&because.why)
                .bind(at.0)
                .execute(&mut transaction)
                .await?;
                let told = Told::HoldPlaced { hold_id, study: study_instance_uid, because };
                self.tell(&mut transaction, &told, at).await?;
                let gone = query(
                    "SELECT COUNT(*) AS gone FROM index_instances
                     WHERE site_id = $1 AND study_instance_uid = $2 AND state = 'deleted'",
                )
                .bind(self.site())
                .bind(study_instance_uid)
                .fetch_one(&mut transaction)
                .await?;
                transaction.commit().await?;
                unsigned(&gone, "gone")
            })
            .await
    }

    /// Releases a hold; what it held back goes its way again.
    ///
    /// # Errors
    /// [`Error::NoSuchHold`], [`Error::Unsaid`]; or when a statement fails.
    pub async fn release_hold(&self, hold_id: FactId, because: &Because, at: Timestamp) -> Result<(), Error> {
        because.check()?;
        self.engine
            .run("release a hold", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                let released = query(
                    "UPDATE book_holds SET released_by = $3, released_why = $4, released_at = $5
                     WHERE site_id = $1 AND hold_id = $2 AND released_at IS NULL RETURNING study_instance_uid",
                )
                .bind(self.site())
                .bind(hold_id.as_bytes().as_slice())
                .bind(&because.who)
                .bind(&because.why)
                .bind(at.0)
                .fetch_optional(&mut transaction)
                .await?
                .ok_or(Error::NoSuchHold(hold_id))?;
                let study = get(&released, "study_instance_uid")?;
                self.tell(&mut transaction, &Told::HoldReleased { hold_id, study, because }, at).await?;
                transaction.commit().await
            })
            .await
    }

    /// Holds, those that stand first, the latest first; of one study when asked so.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn holds(&self, study_instance_uid: Option<&str>, limit: u32) -> Result<Vec<Hold>, Error> {
        self.engine
            .run("list holds", async {
                let mut reader = self.engine.reader().await?;
                let sql = format!(
                    "SELECT {COLUMNS} WHERE site_id = $1 AND ($2 IS NULL OR study_instance_uid = $2)
                     ORDER BY CASE WHEN released_at IS NULL THEN 0 ELSE 1 END, placed_at DESC, hold_id LIMIT $3"
                );
                let rows = query(crate::engine::AssertSqlSafe(sql))
                    .bind(self.site())
                    .bind(study_instance_uid)
                    .bind(i64::from(limit))
                    .fetch_all(&mut reader)
                    .await?;
                rows.iter().map(hold).collect()
            })
            .await
    }
}

fn hold(row: &Row) -> Result<Hold, Error> {
    let released = match optional_time(row, "released_at")? {
        Some(at) => Some((Because { who: get(row, "released_by")?, why: get(row, "released_why")? }, at)),
        None => None,
    };
    Ok(Hold {
        hold_id: FactId(id(row, "hold_id")?),
        study_instance_uid: get(row, "study_instance_uid")?,
        because: Because { who: get(row, "who")?, why: get(row, "why")? },
        placed_at: time(row, "placed_at")?,
        released,
    })
}
