//! The attributes a search can be keyed on: their level, their column, how they match.

use filmgate_model::{Tag, tags};

/// What rows are of. Ordered from the study down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Level {
    /// One row a study.
    Study,
    /// One row a series.
    Series,
    /// One row an instance.
    Instance,
}

/// How an attribute's values match (PS3.4 C.2.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A UID: equal, or one of a list.
    Uid,
    /// Text: equal, or with wildcards.
    Text,
    /// A code: as text, also one of a list.
    Code,
    /// A person's name; its column is the folded one.
    Name,
    /// A date: equal, or in a range.
    Date,
    /// A time: equal to the precision asked for, or in a range.
    Time,
    /// A number: equal as a number.
    Number,
}

/// An attribute that can be asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) tag: Tag,
    pub(crate) level: Level,
    pub(crate) column: &'static str,
    pub(crate) kind: Kind,
}

const fn key(tag: Tag, level: Level, column: &'static str, kind: Kind) -> Key {
    Key { tag, level, column, kind }
}

/// PS3.18 table 10.6.1-5 and what else the catalog keeps. Modalities in Study is a key of the series.
const KEYS: &[Key] = &[
    key(tags::STUDY_INSTANCE_UID, Level::Study, "study_instance_uid", Kind::Uid),
    key(tags::STUDY_DATE, Level::Study, "study_date", Kind::Date),
    key(tags::STUDY_TIME, Level::Study, "study_time", Kind::Time),
    key(tags::ACCESSION_NUMBER, Level::Study, "accession_number", Kind::Text),
    key(tags::REFERRING_PHYSICIAN_NAME, Level::Study, "referring_folded", Kind::Name),
    key(tags::PATIENT_NAME, Level::Study, "patient_name_folded", Kind::Name),
    key(tags::PATIENT_ID, Level::Study, "patient_id", Kind::Text),
    key(tags::ISSUER_OF_PATIENT_ID, Level::Study, "issuer", Kind::Text),
    key(tags::PATIENT_BIRTH_DATE, Level::Study, "patient_birth_date", Kind::Date),
    key(tags::PATIENT_SEX, Level::Study, "patient_sex", Kind::Code),
    key(tags::STUDY_ID, Level::Study, "study_id", Kind::Text),
    key(tags::STUDY_DESCRIPTION, Level::Study, "study_description", Kind::Text),
    key(tags::MODALITIES_IN_STUDY, Level::Series, "modality", Kind::Code),
    key(tags::SERIES_INSTANCE_UID, Level::Series, "series_instance_uid", Kind::Uid),
    key(tags::MODALITY, Level::Series, "modality", Kind::Code),
    key(tags::SERIES_NUMBER, Level::Series, "series_number", Kind::Number),
    key(tags::SERIES_DESCRIPTION, Level::Series, "series_description", Kind::Text),
    key(tags::SERIES_DATE, Level::Series, "series_date", Kind::Date),
    key(tags::SERIES_TIME, Level::Series, "series_time", Kind::Time),
    key(tags::BODY_PART_EXAMINED, Level::Series, "body_part_examined", Kind::Code),
    key(tags::PROTOCOL_NAME, Level::Series, "protocol_name", Kind::Text),
    key(tags::STATION_NAME, Level::Series, "station_name", Kind::Text),
    key(tags::PERFORMED_PROCEDURE_STEP_START_DATE, Level::Series, "performed_date", Kind::Date),
    key(tags::PERFORMED_PROCEDURE_STEP_START_TIME, Level::Series, "performed_time", Kind::Time),
    key(tags::SOP_INSTANCE_UID, Level::Instance, "sop_instance_uid", Kind::Uid),
    key(tags::SOP_CLASS_UID, Level::Instance, "sop_class_uid", Kind::Uid),
    key(tags::SOP_CLASSES_IN_STUDY, Level::Instance, "sop_class_uid", Kind::Uid),
    key(tags::INSTANCE_NUMBER, Level::Instance, "instance_number", Kind::Number),
    key(tags::NUMBER_OF_FRAMES, Level::Instance, "number_of_frames", Kind::Number),
];

/// The key for an attribute; `None` when it cannot be asked for.
pub(crate) fn key_of(tag: Tag) -> Option<Key> {
    KEYS.iter().find(|key| key.tag == tag).copied()
}
