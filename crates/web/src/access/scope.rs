//! What somebody may.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// One kind of thing that may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

/// A word is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no scope: read, store, operate or admin")]
pub struct ParseScopeError(String);

impl FromStr for Scope {
    type Err = ParseScopeError;

    fn from_str(word: &str) -> Result<Self, ParseScopeError> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == word)
            .ok_or_else(|| ParseScopeError(word.to_owned()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Several scopes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// Of these.
    #[must_use]
    pub fn of(mut scopes: Vec<Scope>) -> Self {
        scopes.sort_unstable();
        scopes.dedup();
        Self(scopes)
    }

    /// As they are stored: words with a space between. One that is not known any more is no scope.
    #[must_use]
    pub fn parse(words: &str) -> Self {
        Self::of(words.split_whitespace().filter_map(|word| word.parse().ok()).collect())
    }

    /// True when `needed` is among them.
    #[must_use]
    pub fn holds(&self, needed: Scope) -> bool {
        self.0.contains(&needed) || self.0.contains(&Scope::Admin)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.0.iter().map(|scope| scope.as_str()).collect();
        f.write_str(&words.join(" "))
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
    Token(String, Scopes),
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
            Self::Token(_, scopes) => scopes.holds(needed),
            Self::Peer(_) => needed == Scope::Read,
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
        let token = |words| Asker::Token("t".into(), Scopes::parse(words));
        let may = |asker: &Asker| Scope::ALL.map(|scope| asker.may(scope));
        assert_eq!(may(&token("read")), [true, false, false, false]);
        assert_eq!(may(&token("store read")), [true, true, false, false]);
        assert_eq!(may(&token("operate")), [false, false, true, false]);
        assert_eq!(may(&token("admin")), [true; 4]);
        assert_eq!(may(&token("everything")), [false; 4]);
        assert_eq!(may(&Asker::Peer("b".into())), [true, false, false, false]);
        assert_eq!(may(&Asker::Nobody), [false; 4]);
        assert_eq!(may(&Asker::Administrator), [true; 4]);
    }
}
