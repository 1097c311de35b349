//! Times to keep single studies, beside the site's own period; and how long that is for every node.

use filmgate_model::{NodeId, Timestamp};

use super::{custody::Because, telling::Told};
use crate::{
    Catalog, Error,
    engine::{
        Connection, query,
        row::{get, id, time, unsigned},
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

/// Years every study is kept, as one node says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionRule {
    /// The node.
    pub node_id: NodeId,
    /// The years.
    pub years: u32,
    /// When it said so.
    pub stated_at: Timestamp,
}

impl Catalog {
    /// What nodes say of the years every study is kept, the latest word of each; nodes that others took over from say nothing
    /// any more.
    ///
    /// # Errors
    /// When a statement fails; then nothing changed.
    pub async fn note_retention_rules(
        &self,
        rules: &[RetentionRule],
        taken_over: &[NodeId],
    ) -> Result<(), Error> {
        self.engine
            .run("write down how long nodes keep studies", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                for rule in rules {
                    query(
                        "INSERT INTO book_retention_rules (site_id, node_id, years, stated_at) VALUES ($1, $2, $3, $4)
                         ON CONFLICT (site_id, node_id) DO UPDATE SET years = excluded.years,
                            stated_at = excluded.stated_at
                         WHERE book_retention_rules.stated_at <= excluded.stated_at",
                    )
                    .bind(self.site())
                    .bind(rule.node_id.as_bytes().as_slice())
                    .bind(i64::from(rule.years))
                    .bind(rule.stated_at.0)
                    .execute(&mut transaction)
                    .await?;
                }
                for node_id in taken_over {
                    query("DELETE FROM book_retention_rules WHERE site_id = $1 AND node_id = $2")
                        .bind(self.site())
                        .bind(node_id.as_bytes().as_slice())
                        .execute(&mut transaction)
                        .await?;
                }
                transaction.commit().await
            })
            .await
    }

    /// The longest that another node says; `None` when none says anything.
    pub(crate) async fn longest_rule(&self, reader: &mut Connection) -> Result<Option<RetentionRule>, Error> {
        let row = query(
            "SELECT node_id, years, stated_at FROM book_retention_rules WHERE site_id = $1 AND node_id <> $2
             ORDER BY years DESC, node_id LIMIT 1",
        )
        .bind(self.site())
        .bind(self.node())
        .fetch_optional(reader)
        .await?;
        let rule = row.map(|row| {
            let years =
                u32::try_from(unsigned(&row, "years")?).map_err(|_| Error::Corrupt { column: "years" })?;
            let node_id = NodeId(id(&row, "node_id")?);
            Ok(RetentionRule { node_id, years, stated_at: time(&row, "stated_at")? })
        });
        rule.transpose()
    }

    /// The longest that another node of the site says every study is kept.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn longest_retention_elsewhere(&self) -> Result<Option<RetentionRule>, Error> {
        self.engine
            .run("look up how long nodes keep studies", async {
                let mut reader = self.engine.reader().await?;
                self.longest_rule(&mut reader).await
            })
            .await
    }

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
