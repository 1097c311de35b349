//! What somebody may.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One kind of thing that may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// See studies, instances, states and figures.
    Read,
    /// Send instances.
    Store,
    /// Verify, hold, keep and delete, and see how the gateway is set up.
    Operate,
    /// Change who may do what; holds the other scopes too.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Read, Self::Store, Self::Operate, Self::Admin];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Store => "store",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

/// What a token is good for: a scope, or to read single studies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grant {
    /// All that the scope is.
    Scope(Scope),
    /// To read the study of this UID, and nothing else: `read:UID`. A version that does not know the word opens nothing for it.
    Study(String),
}

impl Grant {
    fn study(uid: &str) -> Option<Self> {
        // As PS3.5 9.1 has it, but for what is met instead: other letters. A space would end the word.
        let fits = |character: char| !character.is_whitespace() && !character.is_control();
        let is_uid = (1..=UID_CHARACTERS_MAX).contains(&uid.chars().count()) && uid.chars().all(fits);
        is_uid.then(|| Self::Study(uid.to_owned()))
    }
}

/// Characters of a UID (PS3.5 9.1).
const UID_CHARACTERS_MAX: usize = 64;

/// A word is nothing that can be granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no scope: read, store, operate, admin, or read:UID for a single study")]
pub struct ParseGrantError(String);

impl FromStr for Grant {
    type Err = ParseGrantError;

    fn from_str(word: &str) -> Result<Self, ParseGrantError> {
        let grant = match word.strip_prefix("read:") {
            Some(uid) => Self::study(uid),
            None => Scope::ALL.into_iter().find(|scope| scope.as_str() == word).map(Self::Scope),
        };
        grant.ok_or_else(|| ParseGrantError(word.to_owned()))
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scope(scope) => scope.fmt(f),
            Self::Study(uid) => write!(f, "read:{uid}"),
        }
    }
}

impl Serialize for Grant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Everything that a token is good for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants(BTreeSet<Grant>);

impl Grants {
    /// As they are stored: words with a space between. One that is not known any more grants nothing.
    #[must_use]
    pub fn parse(words: &str) -> Self {
        words.split_whitespace().filter_map(|word| word.parse().ok()).collect()
    }

    /// True when all of `needed` is granted.
    #[must_use]
    pub fn holds(&self, needed: Scope) -> bool {
        let has = |scope| self.0.contains(&Grant::Scope(scope));
        has(needed) || has(Scope::Admin)
    }

    /// Single studies that may be read.
    #[must_use]
    pub fn studies(&self) -> BTreeSet<String> {
        let study = |grant: &Grant| match grant {
            Grant::Study(uid) => Some(uid.clone()),
            Grant::Scope(_) => None,
        };
        self.0.iter().filter_map(study).collect()
    }
}

impl FromIterator<Grant> for Grants {
    fn from_iter<I: IntoIterator<Item = Grant>>(grants: I) -> Self {
        Self(grants.into_iter().collect())
    }
}

impl fmt::Display for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(Grant::to_string).collect();
        f.write_str(&words.join(" "))
    }
}

/// The studies that somebody may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readable {
    /// Every study there is.
    All,
    /// These alone; of the others not even that they are here.
    Only(BTreeSet<String>),
}

impl Readable {
    /// True when the study may be read.
    #[must_use]
    pub fn has(&self, study_instance_uid: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(studies) => studies.contains(study_instance_uid),
        }
    }

    /// True when there is any study that may be read.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.only().is_none_or(|studies| !studies.is_empty())
    }

    /// The studies, where they are counted.
    #[must_use]
    pub fn only(&self) -> Option<&BTreeSet<String>> {
        match self {
            Self::All => None,
            Self::Only(studies) => Some(studies),
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asker {
    /// Nobody that is known.
    Nobody,
    /// Somebody on this machine, where the settings let that suffice.
    ThisMachine,
    /// The command line of this machine.
    CommandLine,
    /// The bearer of a token of this name.
    Token(String, Grants),
    /// The administrator, logged in.
    Administrator,
    /// Another node, by the common name of its certificate.
    Peer(String),
}

impl Asker {
    /// What it may. A peer sees everything and changes nothing.
    #[must_use]
    pub fn may(&self, needed: Scope) -> bool {
        match self {
            Self::Nobody => false,
            Self::ThisMachine | Self::CommandLine | Self::Administrator => true,
            Self::Token(_, grants) => grants.holds(needed),
            Self::Peer(_) => needed == Scope::Read,
        }
    }

    /// The studies it may read.
    #[must_use]
    pub fn readable(&self) -> Readable {
        match self {
            _ if self.may(Scope::Read) => Readable::All,
            Self::Token(_, grants) => Readable::Only(grants.studies()),
            _ => Readable::Only(BTreeSet::new()),
        }
    }

    /// As the log and a rule name it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Nobody => "nobody".into(),
            Self::ThisMachine => "this machine".into(),
            Self::CommandLine => "command line".into(),
            Self::Token(name, _) => format!("token {name}"),
            Self::Administrator => "administrator".into(),
            Self::Peer(name) => format!("peer {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_may_what_it_may_and_no_more() {
        let token = |words| Asker::Token("t".into(), Grants::parse(words));
        let may = |asker: &Asker| Scope::ALL.map(|scope| asker.may(scope));
        assert_eq!(may(&token("read")), [true, false, false, false]);
        assert_eq!(may(&token("store read")), [true, true, false, false]);
        assert_eq!(may(&token("operate")), [false, false, true, false]);
        assert_eq!(may(&token("admin")), [true; 4]);
        assert_eq!(may(&token("everything")), [false; 4]);
        assert_eq!(may(&Asker::Peer("b".into())), [true, false, false, false]);
        assert_eq!(may(&Asker::Nobody), [false; 4]);
        assert_eq!(may(&Asker::Administrator), [true; 4]);
        assert_eq!(may(&token("read:1.2.3 store")), [false, true, false, false]);
    }

    #[test]
    fn single_studies_are_read_and_no_others() {
        let readable = |words| Asker::Token("t".into(), Grants::parse(words)).readable();
        let two = readable("read:1.2.3 read:1.2.4");
        assert!(
            two.has("1.2.3") && two.has("1.2.4") && !two.has("1.2") && !two.has("1.2.3.4") && !two.has("")
        );
        assert_eq!(readable("read read:1.2.3"), Readable::All);
        assert_eq!(readable("store"), Readable::Only(BTreeSet::new()));
        assert_eq!(Asker::Nobody.readable(), Readable::Only(BTreeSet::new()));
        assert_eq!(Asker::Peer("b".into()).readable(), Readable::All);
    }

    #[test]
    fn what_is_granted_is_written_as_it_is_read() {
        let words = "read:1.2.3 store";
        let granted: Vec<Grant> = words.split(' ').map(|word| word.parse().expect("a grant")).collect();
        assert_eq!(Grants::from_iter(granted), Grants::parse(words));
        assert_eq!(Grants::parse("store read:1.2.3").to_string(), "store read:1.2.3");
        let too_long = format!("read:{}", "1".repeat(65));
        for word in ["read:", "read:1 2", "read:1\n", "write", "store:1.2", &too_long] {
            assert!(word.parse::<Grant>().is_err(), "{word:?}");
        }
    }
}
