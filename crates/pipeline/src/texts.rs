//! How the text of instances is read (settings `text.*`).

use std::{collections::BTreeMap, sync::Arc};

use filmgate_model::{
    Provenance,
    text::{Hint, Repertoire},
};

use crate::{METADATA_VERSION, Road};

/// What is known of text besides what its datasets state.
///
/// It is asked whenever text is read, and nothing of it is kept with an instance. The catalog has what text was read as
/// when the instance was entered; a rebuild enters all anew. Metadata in a pack bears a stamp of it and is made anew when
/// that is another now.
#[derive(Debug, Clone)]
pub struct Texts {
    /// Text in another set than the stated one is recognised.
    pub guess: bool,
    /// By the calling AE title, in capitals: what the sender's text is in where its datasets state nothing or a single-byte
    /// set.
    pub charsets: Arc<BTreeMap<String, Repertoire>>,
}

impl Default for Texts {
    fn default() -> Self {
        Self { guess: true, charsets: Arc::default() }
    }
}

impl Texts {
    /// What is known of an instance's text by where it came from.
    #[must_use]
    pub fn hint(&self, provenance: &Provenance) -> Hint {
        let instead = match self.charsets.is_empty() {
            true => None,
            false => self.charsets.get(&provenance.calling_ae.trim().to_ascii_uppercase()).copied(),
        };
        Hint { instead, guess: self.guess }
    }

    /// What they say, written out: an answer with text is another one once this is.
    #[must_use]
    pub fn told(&self) -> String {
        format!("{self:?}")
    }
}

impl Road {
    /// How text is read.
    #[must_use]
    pub fn texts(&self) -> &Texts {
        &self.settings.texts
    }
}

/// What stored metadata is stamped with: the version of its generator, and what its text was read as. Metadata with
/// another stamp is made anew.
#[must_use]
pub(crate) fn stamp(table: &filmgate_seal::RecordTable, hint: Hint) -> u32 {
    METADATA_VERSION | table.facts.charset_by(hint).stamp() << 8
}
