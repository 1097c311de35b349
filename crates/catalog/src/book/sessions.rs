//! The one administrator of a site: the link that makes a person it, and the hash of the password; log-ins that last, of the
//! administrator and by tokens.

use filmgate_model::Timestamp;

use crate::{
    Catalog, Error,
    engine::{
        query,
        row::{get, optional_fixed, time},
    },
};

/// A log-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// When it was used last, to the minute.
    pub last_used_at: Timestamp,
    /// When it ends, used or not.
    pub ends_at: Timestamp,
    /// SHA-256 of the token it was made by; `None` for the administrator's.
    pub token_digest: Option<[u8; 32]>,
}

impl Catalog {
    /// The administrator's password, hashed; `None` before the set-up.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn password_hash(&self) -> Result<Option<String>, Error> {
        self.engine
            .run("read the password's hash", async {
                let mut reader = self.engine.reader().await?;
                let statement = query("SELECT password_hash FROM book_administrator WHERE site_id = $1");
                let row = statement.bind(self.site()).fetch_optional(&mut reader).await?;
                let hash: Option<String> = row.as_ref().map(|row| get(row, "password_hash")).transpose()?;
                Ok(hash.filter(|hash| !hash.is_empty()))
            })
            .await
    }

    /// Opens a set-up link, instead of the one before: whoever brings what has this digest sets the password.
    ///
    /// # Errors
    /// When the statement fails.
    pub async fn open_set_up(
        &self,
        digest: &[u8; 32],
        ends_at: Timestamp,
        at: Timestamp,
    ) -> Result<(), Error> {
        self.engine
            .run("open a set-up link", async {
                let mut writer = self.engine.writer().await?;
                query(
                    "INSERT INTO book_administrator (site_id, password_hash, set_up_digest, set_up_ends_at, changed_at)
                     VALUES ($1, '', $2, $3, $4)
                     ON CONFLICT (site_id) DO UPDATE SET set_up_digest = excluded.set_up_digest,
                         set_up_ends_at = excluded.set_up_ends_at",
                )
                .bind(self.site())
                .bind(digest.as_slice())
                .bind(ends_at.0)
                .bind(at.0)
                .execute(&mut writer)
                .await?;
                Ok(())
            })
            .await
    }

    /// Sets the password, once for a link that is still open; every log-in ends. False when the link is no good.
    ///
    /// # Errors
    /// When a statement fails; then nothing changed.
    pub async fn set_up(&self, digest: &[u8; 32], password_hash: &str, at: Timestamp) -> Result<bool, Error> {
        self.engine
            .run("set the administrator's password", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                let set = query(
                    "UPDATE book_administrator SET password_hash = $3, set_up_digest = NULL, set_up_ends_at = NULL,
                         changed_at = $4
                     WHERE site_id = $1 AND set_up_digest = $2 AND set_up_ends_at > $4",
                )
                .bind(self.site())
                .bind(digest.as_slice())
                .bind(password_hash)
                .bind(at.0)
                .execute(&mut transaction)
                .await?;
                if set.rows_affected() == 0 {
                    return Ok(false);
                }
                query("DELETE FROM book_sessions WHERE site_id = $1")
                    .bind(self.site())
                    .execute(&mut transaction)
                    .await?;
                transaction.commit().await?;
                Ok(true)
            })
            .await
    }

    /// Whether a link of this digest is open now.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn is_set_up_open(&self, digest: &[u8; 32], at: Timestamp) -> Result<bool, Error> {
        self.engine
            .run("look for a set-up link", async {
                let mut reader = self.engine.reader().await?;
                let row = query(
                    "SELECT site_id FROM book_administrator
                     WHERE site_id = $1 AND set_up_digest = $2 AND set_up_ends_at > $3",
                )
                .bind(self.site())
                .bind(digest.as_slice())
                .bind(at.0)
                .fetch_optional(&mut reader)
                .await?;
                Ok(row.is_some())
            })
            .await
    }

    /// Enters a log-in, which is used at once; those that are over go.
    ///
    /// # Errors
    /// When a statement fails; then nothing changed.
    pub async fn add_session(&self, digest: &[u8; 32], session: &Session) -> Result<(), Error> {
        let at = session.last_used_at;
        self.engine
            .run("add a log-in", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                query("DELETE FROM book_sessions WHERE site_id = $1 AND ends_at <= $2")
                    .bind(self.site())
                    .bind(at.0)
                    .execute(&mut transaction)
                    .await?;
                query(
                    "INSERT INTO book_sessions (site_id, digest, created_at, last_used_at, ends_at, token_digest)
                     VALUES ($1, $2, $3, $3, $4, $5)",
                )
                .bind(self.site())
                .bind(digest.as_slice())
                .bind(at.0)
                .bind(session.ends_at.0)
                .bind(session.token_digest.as_ref().map(<[u8; 32]>::as_slice))
                .execute(&mut transaction)
                .await?;
                transaction.commit().await
            })
            .await
    }

    /// The log-in of this digest, over or not.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn session(&self, digest: &[u8; 32]) -> Result<Option<Session>, Error> {
        self.engine
            .run("find a log-in", async {
                let mut reader = self.engine.reader().await?;
                let statement = query(
                    "SELECT last_used_at, ends_at, token_digest FROM book_sessions
                     WHERE site_id = $1 AND digest = $2",
                );
                let row =
                    statement.bind(self.site()).bind(digest.as_slice()).fetch_optional(&mut reader).await?;
                let session = row.as_ref().map(|row| {
                    Ok(Session {
                        last_used_at: time(row, "last_used_at")?,
                        ends_at: time(row, "ends_at")?,
                        token_digest: optional_fixed(row, "token_digest")?,
                    })
                });
                session.transpose()
            })
            .await
    }

    /// A log-in was used.
    ///
    /// # Errors
    /// When the statement fails.
    pub async fn session_used(&self, digest: &[u8; 32], at: Timestamp) -> Result<(), Error> {
        self.engine
            .run("write down that a log-in was used", async {
                let mut writer = self.engine.writer().await?;
                query("UPDATE book_sessions SET last_used_at = $2 WHERE digest = $1")
                    .bind(digest.as_slice())
                    .bind(at.0)
                    .execute(&mut writer)
                    .await?;
                Ok(())
            })
            .await
    }

    /// Ends a log-in.
    ///
    /// # Errors
    /// When the statement fails.
    pub async fn end_session(&self, digest: &[u8; 32]) -> Result<(), Error> {
        self.engine
            .run("end a log-in", async {
                let mut writer = self.engine.writer().await?;
                query("DELETE FROM book_sessions WHERE digest = $1")
                    .bind(digest.as_slice())
                    .execute(&mut writer)
                    .await?;
                Ok(())
            })
            .await
    }
}
