//! Attributes of an answer that are taken from an instance's metadata, as they stand there.

use std::collections::BTreeMap;

use filmgate_model::Tag;
use serde_json::value::RawValue;

/// Elements of DICOM JSON by their tags, each written already.
#[derive(Debug, Default)]
pub(super) struct Included(pub(super) BTreeMap<Tag, Vec<u8>>);

impl Included {
    /// Those of `wanted` that the metadata has; none when it cannot be read.
    pub(super) fn of(metadata: &[u8], wanted: &[Tag]) -> Self {
        let Ok(mut elements) = serde_json::from_slice::<BTreeMap<&str, &RawValue>>(metadata) else {
            return Self::default();
        };
        let found = wanted.iter().filter_map(|tag| {
            let name = format!("{:04X}{:04X}", tag.group(), tag.element());
            Some((*tag, elements.remove(name.as_str())?.get().as_bytes().to_vec()))
        });
        Self(found.collect())
    }
}

#[cfg(test)]
mod tests {
    use filmgate_model::tags;

    use super::*;

    #[test]
    fn elements_stay_as_they_are_written() {
        let metadata = br#"{"00180050":{"vr":"DS","Value":[1.50]},"00201041":{"vr":"DS"}}"#;
        let included = Included::of(metadata, &[tags::SLICE_THICKNESS, tags::MODALITY]);
        assert_eq!(included.0[&tags::SLICE_THICKNESS], br#"{"vr":"DS","Value":[1.50]}"#);
        assert_eq!(included.0.len(), 1);
        assert!(Included::of(b"nonsense", &[tags::MODALITY]).0.is_empty());
    }
}
