//! How text is read that is not in the character set its dataset states.

use std::{collections::BTreeMap, sync::Arc};

use filmgate_model::{AeTitle, text::Repertoire};
use serde::{Deserialize, Serialize};

use super::Error;

/// Reading text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Text {
    pub(crate) guess: bool,
    /// Calling AE title → term of Specific Character Set. Upper and lower case are alike: a variable's name has only one.
    pub(crate) charsets: BTreeMap<String, String>,
}

impl Default for Text {
    fn default() -> Self {
        Self { guess: true, charsets: BTreeMap::new() }
    }
}

impl Text {
    /// Refuses what is no AE title or no character set.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |ae: &str, why: String| Err(Error::Value { key: format!("text.charsets.{ae}"), why });
        for (ae, term) in &self.charsets {
            if let Err(error) = ae.parse::<AeTitle>() {
                return refuse(ae, error.to_string());
            }
            if Repertoire::named(term).is_none() {
                return refuse(ae, format!("{term:?} is no character set, such as GB18030 or ISO_IR 192"));
            }
        }
        let by_capitals = self.charsets.keys().map(|ae| ae.to_ascii_uppercase());
        let mut seen = std::collections::BTreeSet::new();
        for ae in by_capitals {
            if !seen.insert(ae.clone()) {
                return refuse(&ae, "it is there twice".into());
            }
        }
        Ok(())
    }

    /// The same as the road takes it.
    pub(crate) fn texts(&self) -> filmgate_pipeline::Texts {
        let named = self
            .charsets
            .iter()
            .filter_map(|(ae, term)| Some((ae.trim().to_ascii_uppercase(), Repertoire::named(term)?)));
        filmgate_pipeline::Texts { guess: self.guess, charsets: Arc::new(named.collect()) }
    }
}
