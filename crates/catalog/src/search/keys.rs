//! The attributes a search can be keyed on: their level, where they are kept, how they match.

use filmgate_model::{Tag, VR, tags};

use super::{attributes::Attributes, grams::Field};

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
    /// A person's name, folded.
    Name,
    /// A date: equal, or in a range.
    Date,
    /// A time: equal to the precision asked for, or in a range.
    Time,
    /// A number: equal as a number.
    Number,
}

impl Kind {
    /// How an attribute that is kept beside the columns matches. Its numbers are kept as they are written.
    fn of(vr: VR) -> Self {
        match vr {
            VR::UI => Self::Uid,
            VR::CS | VR::AE => Self::Code,
            VR::PN => Self::Name,
            VR::DA => Self::Date,
            VR::TM => Self::Time,
            _ => Self::Text,
        }
    }
}

/// Where the values of an attribute are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a column of its level's table. Of a name, this begins the names of the columns with its folded forms.
    Column(&'static str),
    /// In the table of attributes, under this path.
    Attribute(String),
}

/// An attribute that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) tag: Tag,
    pub(crate) level: Level,
    pub(crate) place: Place,
    pub(crate) kind: Kind,
}

impl Key {
    /// The text of which the gram table has the pieces.
    pub(crate) fn field(&self) -> Option<Field> {
        match self.tag {
            _ if matches!(self.place, Place::Attribute(_)) => None,
            tags::PATIENT_NAME => Some(Field::Name),
            tags::PATIENT_ID => Some(Field::PatientId),
            tags::ACCESSION_NUMBER => Some(Field::AccessionNumber),
            tags::STUDY_DESCRIPTION => Some(Field::StudyDescription),
            _ => None,
        }
    }

    /// Asked of the whole study, whatever the rows are.
    pub(crate) fn is_of_all_the_study(&self) -> bool {
        self.tag == tags::MODALITIES_IN_STUDY || self.tag == tags::SOP_CLASSES_IN_STUDY
    }
}

struct Column {
    tag: Tag,
    level: Level,
    column: &'static str,
    kind: Kind,
}

const fn key(tag: Tag, level: Level, column: &'static str, kind: Kind) -> Column {
    Column { tag, level, column, kind }
}

/// PS3.18 table 10.6.1-5 and what else the catalog keeps. Modalities in Study is a key of the series.
const COLUMNS: &[Column] = &[
    key(tags::STUDY_INSTANCE_UID, Level::Study, "study_instance_uid", Kind::Uid),
    key(tags::STUDY_DATE, Level::Study, "study_date", Kind::Date),
    key(tags::STUDY_TIME, Level::Study, "study_time", Kind::Time),
    key(tags::ACCESSION_NUMBER, Level::Study, "accession_number", Kind::Text),
    key(tags::REFERRING_PHYSICIAN_NAME, Level::Study, "referring", Kind::Name),
    key(tags::PATIENT_NAME, Level::Study, "patient_name", Kind::Name),
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

/// The key for an attribute, given by the tags from the dataset down to it; `None` when it cannot be asked for.
pub(crate) fn key_of(path: &[Tag], attributes: &Attributes) -> Option<Key> {
    let column = COLUMNS.iter().find(|column| [column.tag] == path);
    if let Some(Column { tag, level, column, kind }) = column {
        return Some(Key { tag: *tag, level: *level, place: Place::Column(column), kind: *kind });
    }
    let kept = attributes.find(path)?;
    let tag = *path.last()?;
    Some(Key { tag, level: kept.level, place: Place::Attribute(kept.path_text()), kind: Kind::of(kept.vr) })
}

/// True when an attribute has a column and need not be kept twice.
pub(crate) fn has_column(tag: Tag) -> bool {
    COLUMNS.iter().any(|column| column.tag == tag)
}
