//! Tokens of the API: named, scoped, expiring. What is kept is a digest; the token itself is told once and nowhere kept.

use filmgate_model::Timestamp;

use crate::{
    Catalog, Error,
    engine::{
        Row, query,
        row::{fixed, get, optional_time, time},
    },
};

/// A token, but for the token itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its identifier.
    pub token_id: [u8; 16],
    /// What people call it; one name is used once.
    pub name: String,
    /// SHA-256 of it.
    pub digest: [u8; 32],
    /// What it is good for: words with a space between.
    pub scope: String,
    /// Since when.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// Until when; `None` is for ever.
    pub expires_at: Option<Timestamp>,
    /// When it was used last, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// Since when it is good for nothing.
    pub revoked_at: Option<Timestamp>,
}

impl Catalog {
    /// Enters a token. False when its name is taken.
    ///
    /// # Errors
    /// When the statement fails.
    pub async fn add_token(&self, token: &Token) -> Result<bool, Error> {
        self.engine
            .run("add a token", async {
                let mut writer = self.engine.writer().await?;
                let added = query(
                    "INSERT INTO book_tokens (site_id, token_id, name, digest, scope, created_at, created_by, expires_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                     ON CONFLICT (site_id, name) DO NOTHING",
                )
                .bind(self.site())
                .bind(token.token_id.as_slice())
                .bind(token.name.as_str())
                .bind(token.digest.as_slice())
                .bind(token.scope.as_str())
                .bind(token.created_at.0)
                .bind(token.created_by.as_str())
                .bind(token.expires_at.map(|at| at.0))
                .execute(&mut writer)
                .await?;
                Ok(added.rows_affected() > 0)
            })
            .await
    }

    /// Every token, revoked and expired ones too, by name.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn tokens(&self) -> Result<Vec<Token>, Error> {
        self.engine
            .run("list tokens", async {
                let mut reader = self.engine.reader().await?;
                let statement = query("SELECT * FROM book_tokens WHERE site_id = $1 ORDER BY name");
                let rows = statement.bind(self.site()).fetch_all(&mut reader).await?;
                rows.iter().map(token).collect()
            })
            .await
    }

    /// The token of this digest, if it is good now.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn token_of(&self, digest: &[u8; 32], at: Timestamp) -> Result<Option<Token>, Error> {
        self.engine
            .run("find a token", async {
                let mut reader = self.engine.reader().await?;
                let row = query(
                    "SELECT * FROM book_tokens WHERE site_id = $1 AND digest = $2 AND revoked_at IS NULL
                         AND (expires_at IS NULL OR expires_at > $3)",
                )
                .bind(self.site())
                .bind(digest.as_slice())
                .bind(at.0)
                .fetch_optional(&mut reader)
                .await?;
                row.as_ref().map(token).transpose()
            })
            .await
    }

    /// A token was used.
    ///
    /// # Errors
    /// When the statement fails.
    pub async fn token_used(&self, token_id: &[u8; 16], at: Timestamp) -> Result<(), Error> {
        self.engine
            .run("write down that a token was used", async {
                let mut writer = self.engine.writer().await?;
                query("UPDATE book_tokens SET last_used_at = $2 WHERE token_id = $1")
                    .bind(token_id.as_slice())
                    .bind(at.0)
                    .execute(&mut writer)
                    .await?;
                Ok(())
            })
            .await
    }

    /// From now on a token is good for nothing. False when there is none of that name, or it was so before.
    ///
    /// # Errors
    /// When the statement fails.
    pub async fn revoke_token(&self, name: &str, at: Timestamp) -> Result<bool, Error> {
        self.engine
            .run("revoke a token", async {
                let mut writer = self.engine.writer().await?;
                let revoked = query(
                    "UPDATE book_tokens SET revoked_at = $3
                     WHERE site_id = $1 AND name = $2 AND revoked_at IS NULL",
                )
                .bind(self.site())
                .bind(name)
                .bind(at.0)
                .execute(&mut writer)
                .await?;
                Ok(revoked.rows_affected() > 0)
            })
            .await
    }
}

fn token(row: &Row) -> Result<Token, Error> {
    Ok(Token {
        token_id: fixed(row, "token_id")?,
        name: get(row, "name")?,
        digest: fixed(row, "digest")?,
        scope: get(row, "scope")?,
        created_at: time(row, "created_at")?,
        created_by: get(row, "created_by")?,
        expires_at: optional_time(row, "expires_at")?,
        last_used_at: optional_time(row, "last_used_at")?,
        revoked_at: optional_time(row, "revoked_at")?,
    })
}
