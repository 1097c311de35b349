//! What is known of one instance: the attributes the catalog keeps, and where the instance came from.

use std::collections::BTreeMap;

use dicom_core::{Tag, VR, dictionary::DataDictionary};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use sha2::{Digest, Sha256};

use crate::{
    NodeId, RecordId, Timestamp,
    json::JsonWriter,
    text::{Charset, Hint},
};

/// Top-level attributes that are kept from a dataset as it passes: what QIDO-RS answers from (PS3.18 10.6.3.3)
/// and what describes the samples.
pub const INDEXED_TAGS: &[Tag] = &[
    tags::SPECIFIC_CHARACTER_SET,
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::STUDY_DATE,
    tags::SERIES_DATE,
    tags::ACQUISITION_DATE,
    tags::CONTENT_DATE,
    tags::STUDY_TIME,
    tags::SERIES_TIME,
    tags::CONTENT_TIME,
    tags::ACCESSION_NUMBER,
    tags::MODALITY,
    tags::MANUFACTURER,
    tags::INSTITUTION_NAME,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::STATION_NAME,
    tags::STUDY_DESCRIPTION,
    tags::SERIES_DESCRIPTION,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::PATIENT_AGE,
    tags::BODY_PART_EXAMINED,
    tags::PROTOCOL_NAME,
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::STUDY_ID,
    tags::SERIES_NUMBER,
    tags::INSTANCE_NUMBER,
    tags::SAMPLES_PER_PIXEL,
    tags::PHOTOMETRIC_INTERPRETATION,
    tags::PLANAR_CONFIGURATION,
    tags::NUMBER_OF_FRAMES,
    tags::ROWS,
    tags::COLUMNS,
    tags::BITS_ALLOCATED,
    tags::BITS_STORED,
    tags::PIXEL_REPRESENTATION,
    tags::PERFORMED_PROCEDURE_STEP_START_DATE,
    tags::PERFORMED_PROCEDURE_STEP_START_TIME,
];

/// Bytes kept of one attribute's value: of longer text the beginning, of anything else that is longer nothing.
pub const FACT_BYTES_MAX: usize = 1024;
/// Characters of a UID at most (PS3.5 9.1).
const UID_CHARACTERS_MAX: usize = 64;

/// Raw values of [`INDEXED_TAGS`] as received; 16-bit numbers (VR US) are little endian whatever the dataset was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    values: BTreeMap<(u16, u16), Vec<u8>>,
    hint: Hint,
}

impl Facts {
    /// Keeps a value. Of one longer than [`FACT_BYTES_MAX`] the beginning is kept, when that says something by itself; else
    /// it is left out.
    pub fn insert(&mut self, tag: Tag, value: &[u8]) {
        match value.get(..FACT_BYTES_MAX) {
            Some(beginning) if value.len() > FACT_BYTES_MAX => {
                if Self::keeps_beginning_of(tag) {
                    self.values.insert((tag.group(), tag.element()), whole_characters(beginning).to_vec());
                }
            }
            _ => _ = self.values.insert((tag.group(), tag.element()), value.to_vec()),
        }
    }

    /// True for text that people write: the beginning of a name says something, that of a UID names another thing.
    #[must_use]
    pub fn keeps_beginning_of(tag: Tag) -> bool {
        matches!(vr_of(tag), VR::PN | VR::LO | VR::SH)
    }

    /// The value as received.
    #[must_use]
    pub fn raw(&self, tag: Tag) -> Option<&[u8]> {
        self.values.get(&(tag.group(), tag.element())).map(Vec::as_slice)
    }

    /// Every kept value, by tag.
    pub fn iter(&self) -> impl Iterator<Item = (Tag, &[u8])> {
        self.values.iter().map(|(&(group, element), value)| (Tag(group, element), value.as_slice()))
    }

    /// The same attributes, their text read by what is known besides of their sender.
    #[must_use]
    pub fn read_by(mut self, hint: Hint) -> Self {
        self.hint = hint;
        self
    }

    /// What is known of their text besides what they state.
    #[must_use]
    pub fn hint(&self) -> Hint {
        self.hint
    }

    /// In what their text is, told from all of it together.
    #[must_use]
    pub fn charset(&self) -> Charset {
        self.charset_by(self.hint)
    }

    /// The same, by something else that is known.
    #[must_use]
    pub fn charset_by(&self, hint: Hint) -> Charset {
        let stated = self.raw(tags::SPECIFIC_CHARACTER_SET).unwrap_or_default();
        let samples = self.iter().filter(|(tag, value)| !value.is_ascii() && is_text(vr_of(*tag)));
        Charset::of(stated, samples.map(|(_, value)| value), hint)
    }

    /// The kept attributes as DICOM JSON: what is left to say of an instance whose elements cannot be told.
    #[must_use]
    pub fn to_json(&self, hint: Hint) -> Vec<u8> {
        let mut json = JsonWriter::of(self, hint);
        for (tag, value) in self.iter() {
            json.element(tag, vr_of(tag), value);
        }
        json.finish()
    }

    /// The value as text, decoded by [`Facts::charset`], without padding; `None` when absent or empty.
    #[must_use]
    pub fn text(&self, tag: Tag) -> Option<String> {
        let value = self.raw(tag)?;
        // As nearly every value is.
        let plain = |byte: &u8| byte.is_ascii() && !matches!(byte, 0x1b | b'\\' | b'~');
        let text = match std::str::from_utf8(value) {
            Ok(text) if value.iter().all(plain) => text.into(),
            _ => self.charset().decode(vr_of(tag), value).text,
        };
        let text = text.trim_matches([' ', '\0']);
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The first value of a 16-bit number (VR US).
    #[must_use]
    pub fn number(&self, tag: Tag) -> Option<u16> {
        let bytes = self.raw(tag)?.first_chunk()?;
        Some(u16::from_le_bytes(*bytes))
    }

    /// The first value of an integer string (VR IS).
    #[must_use]
    pub fn integer(&self, tag: Tag) -> Option<i64> {
        self.text(tag)?.split('\\').next()?.trim().parse().ok()
    }
}

/// Without the beginning of a character that UTF-8 would go on with.
fn whole_characters(beginning: &[u8]) -> &[u8] {
    match std::str::from_utf8(beginning) {
        Err(error) if error.error_len().is_none() => &beginning[..error.valid_up_to()],
        _ => beginning,
    }
}

fn vr_of(tag: Tag) -> VR {
    let entry = StandardDataDictionary.by_tag(tag);
    entry.and_then(|entry| entry.vr.exact()).unwrap_or(VR::UN)
}

/// True for values that are text, in the stated character set or, by mistake, in any.
fn is_text(vr: VR) -> bool {
    !matches!(vr, VR::US | VR::SS | VR::UN)
}

/// By which door an instance came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Door {
    /// C-STORE as SCP.
    CStore,
    /// STOW-RS.
    Stow,
}

/// Where an instance came from and how it was announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// When its first byte arrived.
    pub received_at: Timestamp,
    /// By which door.
    pub door: Door,
    /// Who sent it: the calling AE title, or the name of a web client; may be empty.
    pub calling_ae: String,
    /// Who was called; may be empty.
    pub called_ae: String,
    /// Address of the sender.
    pub peer: String,
    /// Which node received it.
    pub node: NodeId,
    /// The transfer syntax its bytes are in, as negotiated or as its file meta information says.
    pub transfer_syntax_uid: String,
    /// Affected SOP Class UID of the command, or the file meta information's; may be empty.
    pub sop_class_uid: String,
    /// Affected SOP Instance UID of the command, or the file meta information's; may be empty.
    pub sop_instance_uid: String,
    /// Preamble and group 0002 as received; empty when none came (C-STORE sends none).
    pub file_meta: Vec<u8>,
}

impl Provenance {
    /// Of a dataset of which nothing is told but the transfer syntax it is in: no sender, no time, no announcement.
    #[must_use]
    pub fn untold(transfer_syntax_uid: &str) -> Self {
        Self {
            received_at: Timestamp(0),
            door: Door::CStore,
            calling_ae: String::new(),
            called_ae: String::new(),
            peer: String::new(),
            node: NodeId([0; 16]),
            transfer_syntax_uid: transfer_syntax_uid.to_owned(),
            sop_class_uid: String::new(),
            sop_instance_uid: String::new(),
            file_meta: Vec::new(),
        }
    }
}

/// The identifiers an instance is filed under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Study Instance UID; one made from the record id when the dataset has none.
    pub study_instance_uid: String,
    /// Series Instance UID; one made from the record id when the dataset has none.
    pub series_instance_uid: String,
    /// SOP Instance UID of the dataset, else of the command; one made from the record id when neither has any.
    pub sop_instance_uid: String,
    /// SOP Class UID of the dataset, else of the command; may be empty.
    pub sop_class_uid: String,
}

impl Identity {
    /// Files an instance: its own identifiers first, then the command's, then ones made from its record id
    /// (a UUID-derived UID, PS3.5 B.2), so that no instance is ever without. One that is longer than a UID can be is
    /// replaced by one made from it: what is said to belong together is filed together.
    #[must_use]
    pub fn of(record_id: RecordId, facts: &Facts, provenance: &Provenance) -> Self {
        let synthetic = || uuid_derived(record_id.0);
        let stated = |tag| facts.text(tag).map(within_limit);
        let announced = |uid: &str| (!uid.is_empty()).then(|| within_limit(uid.to_owned()));
        Self {
            study_instance_uid: stated(tags::STUDY_INSTANCE_UID).unwrap_or_else(synthetic),
            series_instance_uid: stated(tags::SERIES_INSTANCE_UID).unwrap_or_else(synthetic),
            sop_instance_uid: stated(tags::SOP_INSTANCE_UID)
                .or_else(|| announced(&provenance.sop_instance_uid))
                .unwrap_or_else(synthetic),
            sop_class_uid: stated(tags::SOP_CLASS_UID)
                .or_else(|| announced(&provenance.sop_class_uid))
                .unwrap_or_default(),
        }
    }
}

fn within_limit(uid: String) -> String {
    if uid.len() <= UID_CHARACTERS_MAX {
        return uid;
    }
    let digest: [u8; 32] = Sha256::digest(&uid).into();
    digest.first_chunk().map_or(uid, |beginning| uuid_derived(*beginning))
}

fn uuid_derived(bytes: [u8; 16]) -> String {
    format!("2.25.{}", u128::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_text_and_numbers() {
        let mut facts = Facts::default();
        facts.insert(tags::SPECIFIC_CHARACTER_SET, b"ISO_IR 192");
        facts.insert(tags::PATIENT_NAME, "王^小东 ".as_bytes());
        facts.insert(tags::ROWS, &[0, 2]);
        facts.insert(tags::NUMBER_OF_FRAMES, b"12 ");
        facts.insert(tags::STUDY_ID, b"  ");
        assert_eq!(facts.text(tags::PATIENT_NAME).as_deref(), Some("王^小东"));
        assert_eq!(facts.number(tags::ROWS), Some(512));
        assert_eq!(facts.integer(tags::NUMBER_OF_FRAMES), Some(12));
        assert_eq!(facts.text(tags::STUDY_ID), None);
        let json: serde_json::Value = serde_json::from_slice(&facts.to_json(Hint::default())).expect("JSON");
        assert_eq!(json["00280010"], serde_json::json!({"vr": "US", "Value": [512]}));
        assert_eq!(json["00100010"]["Value"][0]["Alphabetic"], "王^小东");
    }

    #[test]
    fn of_long_text_the_beginning_is_kept_and_of_anything_else_nothing() {
        let mut facts = Facts::default();
        facts.insert(tags::SPECIFIC_CHARACTER_SET, b"ISO_IR 192");
        facts.insert(tags::PATIENT_NAME, "王".repeat(500).as_bytes());
        facts.insert(tags::STUDY_DESCRIPTION, &[b'x'; FACT_BYTES_MAX + 1]);
        facts.insert(tags::PATIENT_ID, &[b'y'; FACT_BYTES_MAX]);
        facts.insert(tags::STUDY_INSTANCE_UID, &[b'1'; FACT_BYTES_MAX + 1]);
        assert_eq!(facts.text(tags::PATIENT_NAME), Some("王".repeat(FACT_BYTES_MAX / 3)));
        assert_eq!(facts.text(tags::STUDY_DESCRIPTION), Some("x".repeat(FACT_BYTES_MAX)));
        assert_eq!(facts.text(tags::PATIENT_ID), Some("y".repeat(FACT_BYTES_MAX)));
        assert_eq!(facts.raw(tags::STUDY_INSTANCE_UID), None);
    }

    #[test]
    fn a_uid_that_is_too_long_is_replaced_by_one_made_of_it() {
        let provenance = Provenance::untold("1.2.840.10008.1.2.1");
        let identity = |record: u8, study: &str| {
            let mut facts = Facts::default();
            facts.insert(tags::STUDY_INSTANCE_UID, study.as_bytes());
            Identity::of(RecordId([record; 16]), &facts, &provenance)
        };
        let (longest, longer) = ("1.".repeat(31) + "12", "1.".repeat(32) + "1");
        assert_eq!(identity(1, &longest).study_instance_uid, longest);
        let made = identity(1, &longer).study_instance_uid;
        assert!(made.starts_with("2.25.") && made.len() <= UID_CHARACTERS_MAX, "{made}");
        assert_eq!(identity(2, &longer).study_instance_uid, made);
        assert_ne!(identity(1, &("1.".repeat(32) + "2")).study_instance_uid, made);
        assert_ne!(identity(1, &longer).series_instance_uid, identity(2, &longer).series_instance_uid);
    }
}
