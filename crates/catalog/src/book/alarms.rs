//! Alarms: what a person should look at. Each is raised once for its subject and stays until cleared.

use std::str::FromStr;

use filmgate_model::Timestamp;

use crate::{
    Catalog, Error,
    engine::{
        Connection, query,
        row::{get, time, word},
    },
};

/// What an alarm is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlarmKind {
    /// Other content came under a known SOP Instance UID; the subject is the later record.
    ConflictingInstance,
    /// A pack no longer opens; the subject is the pack.
    DamagedPack,
    /// A record that no pack holds yet no longer opens, or is gone; the subject is the record.
    DamagedRecord,
    /// The DICOM door lets unknown callers in; the subject is until when.
    DoorLearning,
    /// Other nodes destroy a key that packs of this node are sealed under; the subject is the key.
    KeyStillNeeded,
    /// A node's log in the bucket has a gap, or a batch that is not sound; the subject is its incarnation.
    LogStopped,
}

impl AlarmKind {
    const ALL: [Self; 6] = [
        Self::ConflictingInstance,
        Self::DamagedPack,
        Self::DamagedRecord,
        Self::DoorLearning,
        Self::KeyStillNeeded,
        Self::LogStopped,
    ];

    /// The word for it in the catalog and in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConflictingInstance => "conflicting-instance",
            Self::DamagedPack => "damaged-pack",
            Self::DamagedRecord => "damaged-record",
            Self::DoorLearning => "door-learning",
            Self::KeyStillNeeded => "key-still-needed",
            Self::LogStopped => "log-stopped",
        }
    }
}

impl FromStr for AlarmKind {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word).ok_or(())
    }
}

/// An alarm that is not cleared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// What it is about.
    pub kind: AlarmKind,
    /// The record or pack.
    pub subject: String,
    /// A UID or a reason; never a patient's data.
    pub detail: String,
    /// Since when.
    pub raised_at: Timestamp,
}

impl Catalog {
    /// Alarms that are not cleared, oldest first.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn alarms(&self) -> Result<Vec<Alarm>, Error> {
        self.engine
            .run("list alarms", async {
                let mut reader = self.engine.reader().await?;
                let rows = query(
                    "SELECT kind, subject, detail, raised_at FROM book_alarms
                     WHERE site_id = $1 AND cleared_at IS NULL ORDER BY raised_at, kind, subject",
                )
                .bind(self.site())
                .fetch_all(&mut reader)
                .await?;
                let alarms = rows.iter().map(|row| {
                    let (kind, raised_at) = (word(row, "kind")?, time(row, "raised_at")?);
                    Ok(Alarm { kind, subject: get(row, "subject")?, detail: get(row, "detail")?, raised_at })
                });
                alarms.collect()
            })
            .await
    }

    /// Raises an alarm; raised once, whatever is repeated.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn raise_alarm(
        &self,
        kind: AlarmKind,
        subject: &str,
        detail: &str,
        at: Timestamp,
    ) -> Result<(), Error> {
        self.engine
            .run("raise an alarm", async {
                let mut writer = self.engine.writer().await?;
                raise(&mut writer, self.site(), kind, subject, detail, at).await
            })
            .await
    }

    /// A person has seen to it. False when there is no such alarm.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn clear_alarm(&self, kind: AlarmKind, subject: &str, at: Timestamp) -> Result<bool, Error> {
        self.engine
            .run("clear an alarm", async {
                let mut writer = self.engine.writer().await?;
                let cleared = query(
                    "UPDATE book_alarms SET cleared_at = $4
                     WHERE site_id = $1 AND kind = $2 AND subject = $3 AND cleared_at IS NULL",
                )
                .bind(self.site())
                .bind(kind.as_str())
                .bind(subject)
                .bind(at.0)
                .execute(&mut writer)
                .await?;
                Ok(cleared.rows_affected() > 0)
            })
            .await
    }
}

/// Raises an alarm within the operation that found its cause; raised once, whatever is repeated.
pub(crate) async fn raise(
    writer: &mut Connection,
    site: &[u8],
    kind: AlarmKind,
    subject: &str,
    detail: &str,
    at: Timestamp,
) -> Result<(), Error> {
    query(
        "INSERT INTO book_alarms (site_id, kind, subject, detail, raised_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (site_id, kind, subject) DO NOTHING",
    )
    .bind(site)
    .bind(kind.as_str())
    .bind(subject)
    .bind(detail)
    .bind(at.0)
    .execute(writer)
    .await?;
    Ok(())
}
