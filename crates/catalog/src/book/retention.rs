//! Times to keep single studies, beside the site's own period.

use filmgate_model::Timestamp;

use super::{custody::Because, telling::Told};
use crate::{
    Catalog, Error,
    engine::{
        query,
        row::{get, time},
    },
};

/// A time set for one study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// The study.
    pub study_instance_uid: String,
    /// Nothing of it goes before.
    pub keep_until: Timestamp,
    /// Who set it, and why.
    pub because: Because,
    /// When it was set.
    pub set_at: Timestamp,
}

impl Catalog {
    /// Keeps a study at least until a time; it can be prolonged later, not shortened.
    ///
    /// # Errors
    /// [`Error::Shorter`], [`Error::Unsaid`]; or when a statement fails.
    pub async fn set_retention(
        &self,
        study_instance_uid: &str,
        keep_until: Timestamp,
        because: &Because,
        at: Timestamp,
    ) -> Result<(), Error> {
        because.check()?;
        self.engine
            .run("set a retention", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                self.take_custody(&mut transaction, study_instance_uid).await?;
                let known = query(
                    "SELECT keep_until FROM book_retention WHERE site_id = $1 AND study_instance_uid = $2",
                )
                .bind(self.site())
                .bind(study_instance_uid)
                .fetch_optional(&mut transaction)
                .await?;
                let known = known.map(|row| time(&row, "keep_until")).transpose()?;
                if let Some(known) = known.filter(|known| *known > keep_until) {
                    return Err(Error::Shorter { study: study_instance_uid.to_owned(), keep_until: known });
                }
                query(
                    "INSERT INTO book_retention (site_id, study_instance_uid, keep_until, who, why, set_at)
                     VALUES ($1, $2, $3, $4, $5, $6)
                     ON CONFLICT (site_id, study_instance_uid) DO UPDATE SET keep_until = excluded.keep_until,
                        who = excluded.who, why = excluded.why, set_at = excluded.set_at",
                )
                .bind(self.site())
                .bind(study_instance_uid)
                .bind(keep_until.0)
                .bind(&because.who)
                .bind(&because.why)
                .bind(at.0)
                .execute(&mut transaction)
                .await?;
                let told = Told::Kept { study: study_instance_uid, until: keep_until, because };
                self.tell(&mut transaction, &told, at).await?;
                transaction.commit().await
            })
            .await
    }

    /// Times set for single studies, the latest first.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn retentions(&self, limit: u32) -> Result<Vec<Retention>, Error> {
        self.engine
            .run("list retentions", async {
                let mut reader = self.engine.reader().await?;
                let rows = query(
                    "SELECT study_instance_uid, keep_until, who, why, set_at FROM book_retention WHERE site_id = $1
                     ORDER BY set_at DESC, study_instance_uid LIMIT $2",
                )
                .bind(self.site())
                .bind(i64::from(limit))
                .fetch_all(&mut reader)
                .await?;
                let retentions = rows.iter().map(|row| {
                    Ok(Retention {
                        study_instance_uid: get(row, "study_instance_uid")?,
                        keep_until: time(row, "keep_until")?,
                        because: Because { who: get(row, "who")?, why: get(row, "why")? },
                        set_at: time(row, "set_at")?,
                    })
                });
                retentions.collect()
            })
            .await
    }
}
