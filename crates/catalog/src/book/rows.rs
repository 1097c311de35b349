//! The rows of the book that neither the log nor a pack carries, all at once: what an export holds, and how it is entered
//! where something is known already.
//!
//! Each row goes by its own clock. What revokes, denies or clears wins a tie, and a revocation wins always, so that entering
//! the same rows twice, or those of several nodes in any order, ends in the same book. Log-ins, set-up links and callers
//! that wait for a decision are in none: they are asked for again.

use filmgate_model::{AeTitle, Timestamp};

use super::alarms::AlarmKind;
use crate::{
    AeRule, Catalog, Error, Token,
    book::ae,
    engine::{
        Connection, Row, query,
        row::{get, optional_time, time, word},
    },
};

/// Alarms that are taken along at most: those that stand, then the latest.
const ALARMS_MAX: i64 = 10_000;

/// What an export holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BookRows {
    /// The administrator's password, hashed, and since when it is so.
    pub administrator: Option<(String, Timestamp)>,
    /// Tokens, those that were revoked among them. When each was used last is not taken along.
    pub tokens: Vec<Token>,
    /// Rules of callers.
    pub rules: Vec<AeRule>,
    /// Callers whose rule was taken away, and when.
    pub forgotten: Vec<(AeTitle, Timestamp)>,
    /// Recovery sheets that were typed back, and when.
    pub sheets: Vec<(String, Timestamp)>,
    /// Alarms.
    pub alarms: Vec<BookAlarm>,
}

/// An alarm, cleared or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookAlarm {
    /// What it is about.
    pub kind: AlarmKind,
    /// The record or pack.
    pub subject: String,
    /// What was seen.
    pub detail: String,
    /// Since when.
    pub raised_at: Timestamp,
    /// When a person had seen to it.
    pub cleared_at: Option<Timestamp>,
}

impl BookRows {
    /// True when nothing was decided yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Catalog {
    /// Everything an export holds, always in the same order.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn book_rows(&self) -> Result<BookRows, Error> {
        // What people have decided is read by the operations that show it; each is bounded by what people do.
        let mut tokens = self.tokens().await?;
        tokens.iter_mut().for_each(|token| token.last_used_at = None);
        let rules = self.ae_book().await?.rules;
        self.engine
            .run("read the book", async {
                let mut reader = self.engine.reader().await?;
                let administrator = query(
                    "SELECT password_hash, changed_at FROM book_administrator
                     WHERE site_id = $1 AND password_hash <> ''",
                )
                .bind(self.site())
                .fetch_optional(&mut reader)
                .await?;
                let forgotten = query(
                    "SELECT calling_ae, forgotten_at FROM book_ae_forgotten WHERE site_id = $1 ORDER BY calling_ae",
                )
                .bind(self.site())
                .fetch_all(&mut reader)
                .await?;
                let sheets = query(
                    "SELECT subject, confirmed_at FROM book_sheets WHERE site_id = $1 ORDER BY subject",
                )
                .bind(self.site())
                .fetch_all(&mut reader)
                .await?;
                // That the door learns is over where the book is read again.
                let alarms = query(
                    "SELECT kind, subject, detail, raised_at, cleared_at FROM book_alarms
                     WHERE site_id = $1 AND kind <> $2
                     ORDER BY CASE WHEN cleared_at IS NULL THEN 0 ELSE 1 END, raised_at DESC, kind, subject LIMIT $3",
                )
                .bind(self.site())
                .bind(AlarmKind::DoorLearning.as_str())
                .bind(ALARMS_MAX)
                .fetch_all(&mut reader)
                .await?;
                Ok(BookRows {
                    administrator: administrator
                        .map(|row| Ok::<_, Error>((get(&row, "password_hash")?, time(&row, "changed_at")?)))
                        .transpose()?,
                    tokens,
                    rules,
                    forgotten: forgotten
                        .iter()
                        .map(|row| Ok((word(row, "calling_ae")?, time(row, "forgotten_at")?)))
                        .collect::<Result<_, Error>>()?,
                    sheets: sheets
                        .iter()
                        .map(|row| Ok((get(row, "subject")?, time(row, "confirmed_at")?)))
                        .collect::<Result<_, Error>>()?,
                    alarms: alarms.iter().map(alarm).collect::<Result<_, _>>()?,
                })
            })
            .await
    }

    /// Enters the rows of an export beside what is known.
    ///
    /// # Errors
    /// When a statement fails; then nothing changed.
    pub async fn enter_book(&self, rows: &BookRows) -> Result<(), Error> {
        self.engine
            .run("enter what was exported of the book", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                if let Some((password_hash, changed_at)) = &rows.administrator {
                    self.enter_administrator(&mut transaction, password_hash, *changed_at).await?;
                }
                for token in &rows.tokens {
                    self.enter_token(&mut transaction, token).await?;
                }
                for (calling_ae, at) in &rows.forgotten {
                    self.enter_forgotten(&mut transaction, calling_ae, *at).await?;
                }
                for rule in &rows.rules {
                    self.enter_rule(&mut transaction, rule).await?;
                }
                for (subject, at) in &rows.sheets {
                    enter_sheet(&mut transaction, self.site(), subject, *at).await?;
                }
                for alarm in &rows.alarms {
                    self.enter_alarm(&mut transaction, alarm).await?;
                }
                transaction.commit().await
            })
            .await
    }

    /// A recovery sheet was typed back.
    ///
    /// # Errors
    /// When the statement fails.
    pub async fn note_sheet(&self, subject: &str, confirmed_at: Timestamp) -> Result<(), Error> {
        self.engine
            .run("write down that a sheet is right", async {
                let mut writer = self.engine.writer().await?;
                enter_sheet(&mut writer, self.site(), subject, confirmed_at).await
            })
            .await
    }

    /// Whoever was logged in under another password is not any more.
    async fn enter_administrator(
        &self,
        writer: &mut Connection,
        password_hash: &str,
        changed_at: Timestamp,
    ) -> Result<(), Error> {
        let entered = query(
            "INSERT INTO book_administrator (site_id, password_hash, changed_at) VALUES ($1, $2, $3)
             ON CONFLICT (site_id) DO UPDATE SET password_hash = excluded.password_hash,
                changed_at = excluded.changed_at
             WHERE book_administrator.password_hash = '' OR book_administrator.changed_at < excluded.changed_at",
        )
        .bind(self.site())
        .bind(password_hash)
        .bind(changed_at.0)
        .execute(&mut *writer)
        .await?;
        if entered.rows_affected() > 0 {
            query("DELETE FROM book_sessions WHERE site_id = $1").bind(self.site()).execute(writer).await?;
        }
        Ok(())
    }

    /// A name that another token has meanwhile gets the beginning of this one's identifier behind it.
    async fn enter_token(&self, writer: &mut Connection, token: &Token) -> Result<(), Error> {
        let taken =
            query("SELECT token_id FROM book_tokens WHERE site_id = $1 AND name = $2 AND token_id <> $3")
                .bind(self.site())
                .bind(token.name.as_str())
                .bind(token.token_id.as_slice())
                .fetch_optional(&mut *writer)
                .await?;
        let name = match taken {
            Some(_) => {
                let id: String = token.token_id[..4].iter().map(|byte| format!("{byte:02x}")).collect();
                format!("{}-{id}", token.name)
            }
            None => token.name.clone(),
        };
        query(
            "INSERT INTO book_tokens (site_id, token_id, name, digest, scope, created_at, created_by, expires_at,
                revoked_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (token_id) DO UPDATE SET revoked_at = CASE
                WHEN book_tokens.revoked_at IS NULL OR book_tokens.revoked_at > excluded.revoked_at
                THEN excluded.revoked_at ELSE book_tokens.revoked_at END",
        )
        .bind(self.site())
        .bind(token.token_id.as_slice())
        .bind(name)
        .bind(token.digest.as_slice())
        .bind(token.scope.as_str())
        .bind(token.created_at.0)
        .bind(token.created_by.as_str())
        .bind(token.expires_at.map(|at| at.0))
        .bind(token.revoked_at.map(|at| at.0))
        .execute(writer)
        .await?;
        Ok(())
    }

    async fn enter_forgotten(
        &self,
        writer: &mut Connection,
        calling_ae: &AeTitle,
        at: Timestamp,
    ) -> Result<(), Error> {
        query("DELETE FROM book_ae_rules WHERE site_id = $1 AND calling_ae = $2 AND changed_at <= $3")
            .bind(self.site())
            .bind(calling_ae.as_str())
            .bind(at.0)
            .execute(&mut *writer)
            .await?;
        ae::note_forgotten(writer, self.site(), calling_ae, at).await
    }

    async fn enter_rule(&self, writer: &mut Connection, rule: &AeRule) -> Result<(), Error> {
        let newer = query(
            "SELECT calling_ae FROM book_ae_rules WHERE site_id = $1 AND calling_ae = $2
                AND (changed_at > $3 OR (changed_at = $3 AND ($4 OR allowed = FALSE)))
             UNION ALL
             SELECT calling_ae FROM book_ae_forgotten WHERE site_id = $1 AND calling_ae = $2 AND forgotten_at >= $3",
        )
        .bind(self.site())
        .bind(rule.calling_ae.as_str())
        .bind(rule.changed_at.0)
        .bind(rule.allowed)
        .fetch_optional(&mut *writer)
        .await?;
        match newer {
            Some(_) => Ok(()),
            None => ae::set_rule(writer, self.site(), rule).await,
        }
    }

    async fn enter_alarm(&self, writer: &mut Connection, alarm: &BookAlarm) -> Result<(), Error> {
        query(
            "INSERT INTO book_alarms (site_id, kind, subject, detail, raised_at, cleared_at)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (site_id, kind, subject) DO UPDATE SET
                cleared_at = COALESCE(book_alarms.cleared_at, excluded.cleared_at)",
        )
        .bind(self.site())
        .bind(alarm.kind.as_str())
        .bind(alarm.subject.as_str())
        .bind(alarm.detail.as_str())
        .bind(alarm.raised_at.0)
        .bind(alarm.cleared_at.map(|at| at.0))
        .execute(writer)
        .await?;
        Ok(())
    }
}

async fn enter_sheet(
    writer: &mut Connection,
    site: &[u8],
    subject: &str,
    confirmed_at: Timestamp,
) -> Result<(), Error> {
    query(
        "INSERT INTO book_sheets (site_id, subject, confirmed_at) VALUES ($1, $2, $3)
         ON CONFLICT (site_id, subject) DO UPDATE SET confirmed_at = excluded.confirmed_at
         WHERE book_sheets.confirmed_at < excluded.confirmed_at",
    )
    .bind(site)
    .bind(subject)
    .bind(confirmed_at.0)
    .execute(writer)
    .await?;
    Ok(())
}

fn alarm(row: &Row) -> Result<BookAlarm, Error> {
    Ok(BookAlarm {
        kind: word(row, "kind")?,
        subject: get(row, "subject")?,
        detail: get(row, "detail")?,
        raised_at: time(row, "raised_at")?,
        cleared_at: optional_time(row, "cleared_at")?,
    })
}
