//! Attributes that are kept beside the columns: those a site chooses, and those within sequences that QIDO-RS asks for
//! (PS3.18 table 10.6.1-5).

use std::fmt::Write;

use filmgate_model::{Tag, VR, tags};

use super::keys::{Level, has_column};

/// Of what an attribute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttributeOf {
    /// Of the study: the first instance that states one states it for all.
    Study,
    /// Of the series, likewise.
    Series,
    /// Of each instance by itself.
    Instance,
}

/// One such attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAttribute {
    /// Its tag, behind that of the sequence it is in, if it is in one.
    pub path: Vec<Tag>,
    /// How its values are written.
    pub vr: VR,
    pub(crate) level: Level,
}

impl KeptAttribute {
    /// Of what it is.
    #[must_use]
    pub fn of(&self) -> AttributeOf {
        match self.level {
            Level::Study => AttributeOf::Study,
            Level::Series => AttributeOf::Series,
            Level::Instance => AttributeOf::Instance,
        }
    }

    /// `00400275.00400009`, as a query names it (PS3.18 8.3.4.1).
    #[must_use]
    pub fn path_text(&self) -> String {
        let mut text = String::new();
        for tag in &self.path {
            let dot = if text.is_empty() { "" } else { "." };
            // Writing into memory does not fail.
            let _ = write!(text, "{dot}{:04X}{:04X}", tag.group(), tag.element());
        }
        text
    }
}

/// All attributes that are kept so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes(Vec<KeptAttribute>);

impl Default for Attributes {
    /// What the standard asks for of a series (PS3.18 table 10.6.1-5): two of its Request Attributes Sequence.
    fn default() -> Self {
        let asked = |tag, vr| KeptAttribute {
            path: vec![tags::REQUEST_ATTRIBUTES_SEQUENCE, tag],
            vr,
            level: Level::Series,
        };
        Self(vec![
            asked(tags::SCHEDULED_PROCEDURE_STEP_ID, VR::SH),
            asked(tags::REQUESTED_PROCEDURE_ID, VR::SH),
        ])
    }
}

impl Attributes {
    /// Keeps one more, of the dataset itself or within one sequence. Any other path, one that the catalog has a column for,
    /// and one that is kept already, change nothing.
    pub fn keep(&mut self, of: AttributeOf, path: Vec<Tag>, vr: VR) {
        let level = match of {
            AttributeOf::Study => Level::Study,
            AttributeOf::Series => Level::Series,
            AttributeOf::Instance => Level::Instance,
        };
        let has_column = matches!(path.as_slice(), [tag] if has_column(*tag));
        if (1..=2).contains(&path.len()) && !has_column && self.find(&path).is_none() {
            self.0.push(KeptAttribute { path, vr, level });
        }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &KeptAttribute> {
        self.0.iter()
    }

    pub(crate) fn find(&self, path: &[Tag]) -> Option<&KeptAttribute> {
        self.0.iter().find(|kept| kept.path == path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_kept_once_and_none_that_has_a_column() {
        let mut attributes = Attributes::default();
        attributes.keep(AttributeOf::Study, vec![tags::PATIENT_AGE], VR::AS);
        attributes.keep(AttributeOf::Series, vec![tags::PATIENT_AGE], VR::AS);
        attributes.keep(AttributeOf::Study, vec![tags::PATIENT_ID], VR::LO);
        attributes.keep(AttributeOf::Study, Vec::new(), VR::LO);
        let paths: Vec<_> = attributes.iter().map(KeptAttribute::path_text).collect();
        assert_eq!(paths, ["00400275.00400009", "00400275.00401001", "00101010"]);
        assert_eq!(attributes.find(&[tags::PATIENT_AGE]).map(KeptAttribute::of), Some(AttributeOf::Study));
    }
}
