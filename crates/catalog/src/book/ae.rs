//! Who may associate: rules by calling AE title, callers that no rule knows, and whether the door is learning.

use filmgate_model::{AeTitle, Timestamp};

use crate::{
    Catalog, Error,
    book::alarms::{self, AlarmKind},
    engine::{
        Connection, Row, query,
        row::{get, optional_fixed, signed, time, unsigned, word},
    },
};

/// What holds for callers under one AE title. Every condition that is set must be met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AeRule {
    /// The title it is about.
    pub calling_ae: AeTitle,
    /// False: never, whatever the rest says.
    pub allowed: bool,
    /// Networks it may call from, as they were given; none is anywhere.
    pub addresses: Vec<String>,
    /// The called AE title it must use; `None` is whatever the door answers to.
    pub called_ae: Option<AeTitle>,
    /// SHA-256 of the certificate it must show.
    pub fingerprint: Option<[u8; 32]>,
    /// Common name its certificate's subject must have; empty is any.
    pub common_name: String,
    /// Associations at a time; 0 is no limit of its own.
    pub associations_max: u32,
    /// Since when.
    pub changed_at: Timestamp,
    /// Who said so: a user, a token or the command line.
    pub changed_by: String,
}

/// A caller that no rule knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AeCaller {
    /// Its title.
    pub calling_ae: AeTitle,
    /// Where it called from.
    pub address: String,
    /// Whom it called, the last time.
    pub called_ae: AeTitle,
    /// SHA-256 of the certificate it showed then.
    pub fingerprint: Option<[u8; 32]>,
    /// Common name of that certificate's subject.
    pub common_name: String,
    /// Why it was refused then; empty when it was let in.
    pub reason: String,
    /// How often it was refused.
    pub refused: u64,
    /// How often it was let in, while the door was learning.
    pub let_in: u64,
    /// When it came first.
    pub first_at: Timestamp,
    /// And last.
    pub last_at: Timestamp,
}

/// All that is known of callers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AeBook {
    /// By calling AE title.
    pub rules: Vec<AeRule>,
    /// Until when the door learns, if it was told to.
    pub learning_ends_at: Option<Timestamp>,
}

impl Catalog {
    /// The rules, and until when the door learns.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn ae_book(&self) -> Result<AeBook, Error> {
        self.engine
            .run("read the rules of callers", async {
                let mut reader = self.engine.reader().await?;
                let rules = query("SELECT * FROM book_ae_rules WHERE site_id = $1 ORDER BY calling_ae")
                    .bind(self.site())
                    .fetch_all(&mut reader)
                    .await?;
                let learning = query("SELECT ends_at FROM book_ae_learning WHERE site_id = $1")
                    .bind(self.site())
                    .fetch_optional(&mut reader)
                    .await?;
                Ok(AeBook {
                    rules: rules.iter().map(rule).collect::<Result<_, _>>()?,
                    learning_ends_at: learning.as_ref().map(|row| time(row, "ends_at")).transpose()?,
                })
            })
            .await
    }

    /// Sets the rule of a title, instead of the one before. Callers under it that wait for a decision have theirs.
    ///
    /// # Errors
    /// When a statement fails; then nothing changed.
    pub async fn set_ae_rule(&self, rule: &AeRule) -> Result<(), Error> {
        self.engine
            .run("set a rule of callers", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                set_rule(&mut transaction, self.site(), rule).await?;
                query("DELETE FROM book_ae_forgotten WHERE site_id = $1 AND calling_ae = $2")
                    .bind(self.site())
                    .bind(rule.calling_ae.as_str())
                    .execute(&mut transaction)
                    .await?;
                query("DELETE FROM book_ae_callers WHERE site_id = $1 AND calling_ae = $2")
                    .bind(self.site())
                    .bind(rule.calling_ae.as_str())
                    .execute(&mut transaction)
                    .await?;
                transaction.commit().await
            })
            .await
    }

    /// Forgets the rule of a title and what is remembered of callers under it. False when nothing was.
    ///
    /// # Errors
    /// When a statement fails; then nothing changed.
    pub async fn forget_ae(&self, calling_ae: &AeTitle, at: Timestamp) -> Result<bool, Error> {
        self.engine
            .run("forget a caller", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                let mut forgotten = 0;
                for statement in [
                    "DELETE FROM book_ae_rules WHERE site_id = $1 AND calling_ae = $2",
                    "DELETE FROM book_ae_callers WHERE site_id = $1 AND calling_ae = $2",
                ] {
                    let deleted = query(statement)
                        .bind(self.site())
                        .bind(calling_ae.as_str())
                        .execute(&mut transaction)
                        .await?;
                    forgotten += deleted.rows_affected();
                }
                if forgotten > 0 {
                    note_forgotten(&mut transaction, self.site(), calling_ae, at).await?;
                }
                transaction.commit().await?;
                Ok(forgotten > 0)
            })
            .await
    }

    /// The door learns until then; an alarm says so for as long.
    ///
    /// # Errors
    /// When the statement fails.
    pub async fn learn_ae(&self, ends_at: Timestamp, at: Timestamp, by: &str) -> Result<(), Error> {
        self.engine
            .run("let the door learn", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                query(
                    "INSERT INTO book_ae_learning (site_id, ends_at, changed_at, changed_by)
                     VALUES ($1, $2, $3, $4)
                     ON CONFLICT (site_id) DO UPDATE SET ends_at = excluded.ends_at,
                         changed_at = excluded.changed_at, changed_by = excluded.changed_by",
                )
                .bind(self.site())
                .bind(ends_at.0)
                .bind(at.0)
                .bind(by)
                .execute(&mut transaction)
                .await?;
                let (subject, detail) = (format!("until {ends_at}"), "unknown callers are let in");
                alarms::raise(&mut transaction, self.site(), AlarmKind::DoorLearning, &subject, detail, at)
                    .await?;
                transaction.commit().await
            })
            .await
    }

    /// The door learns no more.
    ///
    /// # Errors
    /// When a statement fails; then nothing changed.
    pub async fn end_ae_learning(&self, at: Timestamp) -> Result<(), Error> {
        self.engine
            .run("let the door learn no more", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                query("DELETE FROM book_ae_learning WHERE site_id = $1")
                    .bind(self.site())
                    .execute(&mut transaction)
                    .await?;
                query(
                    "UPDATE book_alarms SET cleared_at = $3
                     WHERE site_id = $1 AND kind = $2 AND cleared_at IS NULL",
                )
                .bind(self.site())
                .bind(AlarmKind::DoorLearning.as_str())
                .bind(at.0)
                .execute(&mut transaction)
                .await?;
                transaction.commit().await
            })
            .await
    }

    /// Callers that wait for a decision, the last to come first.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn ae_callers(&self) -> Result<Vec<AeCaller>, Error> {
        self.engine
            .run("list callers", async {
                let mut reader = self.engine.reader().await?;
                let rows = query(
                    "SELECT * FROM book_ae_callers WHERE site_id = $1 ORDER BY last_at DESC, calling_ae, address",
                )
                .bind(self.site())
                .fetch_all(&mut reader)
                .await?;
                rows.iter().map(caller).collect()
            })
            .await
    }

    /// Adds what was seen of callers to what is remembered, and keeps of all those the last `callers_max`.
    ///
    /// # Errors
    /// When a statement fails; then nothing was written down.
    pub async fn remember_ae_callers(&self, seen: &[AeCaller], callers_max: u32) -> Result<(), Error> {
        self.engine
            .run("remember callers", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                for caller in seen {
                    query(
                        "INSERT INTO book_ae_callers (site_id, calling_ae, address, called_ae, fingerprint,
                             common_name, reason, refused, let_in, first_at, last_at)
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
                         ON CONFLICT (site_id, calling_ae, address) DO UPDATE SET
                             called_ae = excluded.called_ae, fingerprint = excluded.fingerprint,
                             common_name = excluded.common_name, reason = excluded.reason,
                             refused = book_ae_callers.refused + excluded.refused,
                             let_in = book_ae_callers.let_in + excluded.let_in, last_at = excluded.last_at",
                    )
                    .bind(self.site())
                    .bind(caller.calling_ae.as_str())
                    .bind(caller.address.as_str())
                    .bind(caller.called_ae.as_str())
                    .bind(caller.fingerprint.as_ref().map(|fingerprint| fingerprint.as_slice()))
                    .bind(caller.common_name.as_str())
                    .bind(caller.reason.as_str())
                    .bind(signed(caller.refused, "a count of callers")?)
                    .bind(signed(caller.let_in, "a count of callers")?)
                    .bind(caller.first_at.0)
                    .bind(caller.last_at.0)
                    .execute(&mut transaction)
                    .await?;
                }
                query(
                    "DELETE FROM book_ae_callers WHERE site_id = $1 AND last_at < (
                         SELECT last_at FROM book_ae_callers WHERE site_id = $1
                         ORDER BY last_at DESC LIMIT 1 OFFSET $2)",
                )
                .bind(self.site())
                .bind(i64::from(callers_max.saturating_sub(1)))
                .execute(&mut transaction)
                .await?;
                transaction.commit().await
            })
            .await
    }
}

/// Sets the rule of a title, instead of the one before.
pub(super) async fn set_rule(writer: &mut Connection, site: &[u8], rule: &AeRule) -> Result<(), Error> {
    query(
        "INSERT INTO book_ae_rules (site_id, calling_ae, allowed, addresses, called_ae, fingerprint,
             common_name, associations_max, changed_at, changed_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (site_id, calling_ae) DO UPDATE SET
             allowed = excluded.allowed, addresses = excluded.addresses,
             called_ae = excluded.called_ae, fingerprint = excluded.fingerprint,
             common_name = excluded.common_name, associations_max = excluded.associations_max,
             changed_at = excluded.changed_at, changed_by = excluded.changed_by",
    )
    .bind(site)
    .bind(rule.calling_ae.as_str())
    .bind(rule.allowed)
    .bind(rule.addresses.join(" "))
    .bind(rule.called_ae.as_ref().map_or("", AeTitle::as_str))
    .bind(rule.fingerprint.as_ref().map(|fingerprint| fingerprint.as_slice()))
    .bind(rule.common_name.as_str())
    .bind(i64::from(rule.associations_max))
    .bind(rule.changed_at.0)
    .bind(rule.changed_by.as_str())
    .execute(writer)
    .await?;
    Ok(())
}

/// What was forgotten leaves a trace, so that an older export does not bring it back.
pub(super) async fn note_forgotten(
    writer: &mut Connection,
    site: &[u8],
    calling_ae: &AeTitle,
    at: Timestamp,
) -> Result<(), Error> {
    query(
        "INSERT INTO book_ae_forgotten (site_id, calling_ae, forgotten_at) VALUES ($1, $2, $3)
         ON CONFLICT (site_id, calling_ae) DO UPDATE SET forgotten_at = excluded.forgotten_at
         WHERE book_ae_forgotten.forgotten_at < excluded.forgotten_at",
    )
    .bind(site)
    .bind(calling_ae.as_str())
    .bind(at.0)
    .execute(writer)
    .await?;
    Ok(())
}

fn rule(row: &Row) -> Result<AeRule, Error> {
    let called: &str = get(row, "called_ae")?;
    let called_ae = if called.is_empty() { None } else { Some(word(row, "called_ae")?) };
    let addresses: &str = get(row, "addresses")?;
    let limit = unsigned(row, "associations_max")?;
    Ok(AeRule {
        calling_ae: word(row, "calling_ae")?,
        allowed: get(row, "allowed")?,
        addresses: addresses.split_whitespace().map(str::to_owned).collect(),
        called_ae,
        fingerprint: optional_fixed(row, "fingerprint")?,
        common_name: get(row, "common_name")?,
        associations_max: u32::try_from(limit).map_err(|_| Error::Corrupt { column: "associations_max" })?,
        changed_at: time(row, "changed_at")?,
        changed_by: get(row, "changed_by")?,
    })
}

fn caller(row: &Row) -> Result<AeCaller, Error> {
    Ok(AeCaller {
        calling_ae: word(row, "calling_ae")?,
        address: get(row, "address")?,
        called_ae: word(row, "called_ae")?,
        fingerprint: optional_fixed(row, "fingerprint")?,
        common_name: get(row, "common_name")?,
        reason: get(row, "reason")?,
        refused: unsigned(row, "refused")?,
        let_in: unsigned(row, "let_in")?,
        first_at: time(row, "first_at")?,
        last_at: time(row, "last_at")?,
    })
}
