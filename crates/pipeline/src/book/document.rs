//! The rows of the book as an export says them: JSON, by the table of `crates/log/FORMAT.md`. What is read of it is checked,
//! never trusted.

use filmgate_catalog::{AeRule, BookAlarm, BookRows, Token};
use filmgate_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Error;

/// How its form is told from later ones.
const VERSION: u32 = 0;

/// What an export says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Document {
    version: u32,
    administrator: Option<Administrator>,
    tokens: Vec<TokenSaid>,
    rules: Vec<RuleSaid>,
    forgotten: Vec<Forgotten>,
    sheets: Vec<SheetSaid>,
    alarms: Vec<AlarmSaid>,
}

/// Read first: of a later version nothing else is looked at.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Administrator {
    password_hash: String,
    changed_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct TokenSaid {
    token_id: String,
    name: String,
    digest: String,
    scope: String,
    created_at: Timestamp,
    created_by: String,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct RuleSaid {
    calling_ae: String,
    allowed: bool,
    addresses: Vec<String>,
    called_ae: Option<String>,
    fingerprint: Option<String>,
    common_name: String,
    associations_max: u32,
    changed_at: Timestamp,
    changed_by: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Forgotten {
    calling_ae: String,
    at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SheetSaid {
    subject: String,
    at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct AlarmSaid {
    kind: String,
    subject: String,
    detail: String,
    raised_at: Timestamp,
    cleared_at: Option<Timestamp>,
}

impl Document {
    /// The rows as they are said; `None` when nothing was decided yet.
    pub(super) fn of(rows: &BookRows) -> Option<Self> {
        if rows.is_empty() {
            return None;
        }
        let administrator = rows.administrator.clone();
        Some(Self {
            version: VERSION,
            administrator: administrator
                .map(|(password_hash, changed_at)| Administrator { password_hash, changed_at }),
            tokens: rows.tokens.iter().map(token_said).collect(),
            rules: rows.rules.iter().map(rule_said).collect(),
            forgotten: rows
                .forgotten
                .iter()
                .map(|(calling_ae, at)| Forgotten { calling_ae: calling_ae.to_string(), at: *at })
                .collect(),
            sheets: rows
                .sheets
                .iter()
                .map(|(subject, at)| SheetSaid { subject: subject.clone(), at: *at })
                .collect(),
            alarms: rows.alarms.iter().map(alarm_said).collect(),
        })
    }

    /// Its bytes: the same for the same rows.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        Ok(serde_json::to_vec(self).map_err(std::io::Error::other)?)
    }

    /// The rows that an export says.
    ///
    /// # Errors
    /// [`Error::BookDocument`] when it is of another version, or something in it is not what it must be.
    pub(super) fn rows_of(bytes: &[u8]) -> Result<BookRows, Error> {
        let wrong = |what: String| Error::BookDocument(what);
        let Versioned { version } =
            serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        if version != VERSION {
            return Err(wrong(format!("it is of version {version}, and this program reads {VERSION}")));
        }
        let document: Self = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        document.rows().map_err(|member| wrong(format!("its {member} is malformed")))
    }

    fn rows(self) -> Result<BookRows, &'static str> {
        let title = |text: &str| text.parse().map_err(|_| "calling_ae");
        let forgotten = self.forgotten.iter().map(|said| Ok((title(&said.calling_ae)?, said.at)));
        Ok(BookRows {
            administrator: self.administrator.map(|said| (said.password_hash, said.changed_at)),
            tokens: self.tokens.into_iter().map(TokenSaid::token).collect::<Result<_, _>>()?,
            rules: self.rules.into_iter().map(RuleSaid::rule).collect::<Result<_, _>>()?,
            forgotten: forgotten.collect::<Result<_, &'static str>>()?,
            sheets: self.sheets.into_iter().map(|said| (said.subject, said.at)).collect(),
            // What a later version raises is raised again by it.
            alarms: self.alarms.into_iter().filter_map(AlarmSaid::alarm).collect(),
        })
    }
}

fn token_said(token: &Token) -> TokenSaid {
    TokenSaid {
        token_id: hex::encode(token.token_id),
        name: token.name.clone(),
        digest: hex::encode(token.digest),
        scope: token.scope.clone(),
        created_at: token.created_at,
        created_by: token.created_by.clone(),
        expires_at: token.expires_at,
        revoked_at: token.revoked_at,
    }
}

fn rule_said(rule: &AeRule) -> RuleSaid {
    RuleSaid {
        calling_ae: rule.calling_ae.to_string(),
        allowed: rule.allowed,
        addresses: rule.addresses.clone(),
        called_ae: rule.called_ae.as_ref().map(ToString::to_string),
        fingerprint: rule.fingerprint.map(hex::encode),
        common_name: rule.common_name.clone(),
        associations_max: rule.associations_max,
        changed_at: rule.changed_at,
        changed_by: rule.changed_by.clone(),
    }
}

fn alarm_said(alarm: &BookAlarm) -> AlarmSaid {
    AlarmSaid {
        kind: alarm.kind.as_str().to_owned(),
        subject: alarm.subject.clone(),
        detail: alarm.detail.clone(),
        raised_at: alarm.raised_at,
        cleared_at: alarm.cleared_at,
    }
}

impl TokenSaid {
    fn token(self) -> Result<Token, &'static str> {
        Ok(Token {
            token_id: bytes_of(&self.token_id).ok_or("token_id")?,
            name: self.name,
            digest: bytes_of(&self.digest).ok_or("digest")?,
            scope: self.scope,
            created_at: self.created_at,
            created_by: self.created_by,
            expires_at: self.expires_at,
            last_used_at: None,
            revoked_at: self.revoked_at,
        })
    }
}

impl RuleSaid {
    fn rule(self) -> Result<AeRule, &'static str> {
        let fingerprint = self.fingerprint.map(|digits| bytes_of(&digits).ok_or("fingerprint"));
        let called_ae = self.called_ae.map(|title| title.parse().map_err(|_| "called_ae"));
        Ok(AeRule {
            calling_ae: self.calling_ae.parse().map_err(|_| "calling_ae")?,
            allowed: self.allowed,
            addresses: self.addresses,
            called_ae: called_ae.transpose()?,
            fingerprint: fingerprint.transpose()?,
            common_name: self.common_name,
            associations_max: self.associations_max,
            changed_at: self.changed_at,
            changed_by: self.changed_by,
        })
    }
}

impl AlarmSaid {
    fn alarm(self) -> Option<BookAlarm> {
        Some(BookAlarm {
            kind: self.kind.parse().ok()?,
            subject: self.subject,
            detail: self.detail,
            raised_at: self.raised_at,
            cleared_at: self.cleared_at,
        })
    }
}

fn bytes_of<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use filmgate_catalog::AlarmKind;

    use super::*;

    fn rows() -> BookRows {
        BookRows {
            administrator: Some(("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA".into(), Timestamp(7))),
            tokens: vec![Token {
                token_id: [0xA1; 16],
                name: "viewer".into(),
                digest: [0xB2; 32],
                scope: "read".into(),
                created_at: Timestamp(1),
                created_by: "ann".into(),
                expires_at: None,
                last_used_at: None,
                revoked_at: Some(Timestamp(2)),
            }],
            rules: vec![AeRule {
                calling_ae: "CT_1".parse().expect("a title"),
                allowed: true,
                addresses: vec!["10.0.0.0/8".into()],
                called_ae: Some("FILMGATE".parse().expect("a title")),
                fingerprint: Some([0xC3; 32]),
                common_name: "放射科".into(),
                associations_max: 3,
                changed_at: Timestamp(3),
                changed_by: "ann".into(),
            }],
            forgotten: vec![("MR_1".parse().expect("a title"), Timestamp(4))],
            sheets: vec![("site-key-1".into(), Timestamp(5))],
            alarms: vec![BookAlarm {
                kind: AlarmKind::DamagedPack,
                subject: "d4".into(),
                detail: "rotten".into(),
                raised_at: Timestamp(6),
                cleared_at: None,
            }],
        }
    }

    /// As the first version said it. Stored formats are never rewritten: this has to be read for ever.
    const SAID: &str = include_str!("../../../../fixtures/book/v0.json");

    #[test]
    fn what_the_first_version_said_is_read_and_said_so_still() {
        assert_eq!(Document::rows_of(SAID.as_bytes()).expect("rows"), rows());
        let said = Document::of(&rows()).expect("a document").to_bytes().expect("bytes");
        let said: serde_json::Value = serde_json::from_slice(&said).expect("JSON");
        assert_eq!(said, serde_json::from_str::<serde_json::Value>(SAID).expect("JSON"));
        assert_eq!(Document::of(&BookRows::default()), None);
    }

    #[test]
    fn what_is_not_a_document_is_told_as_such() {
        let refused = |said: String| Document::rows_of(said.as_bytes()).expect_err("refused").to_string();
        assert!(refused(SAID.replace("\"version\": 0", "\"version\": 9")).contains("of version 9"));
        assert!(refused(SAID.replace("\"CT_1\"", "\"A TITLE THAT IS TOO LONG\"")).contains("calling_ae"));
        assert!(refused(SAID.replace(&"b2".repeat(32), "b2")).contains("digest"));
        assert!(refused(SAID.replace(&"c3".repeat(32), "zz")).contains("fingerprint"));
        for odd in ["", "[]", "{}", "{\"version\":0}", &SAID[..SAID.len() / 2]] {
            refused(odd.to_owned());
        }
        let of_later = SAID.replace("damaged-pack", "what-comes-later");
        assert_eq!(Document::rows_of(of_later.as_bytes()).expect("rows").alarms, []);
    }
}
