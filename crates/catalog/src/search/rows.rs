//! What a search answers with.

use filmgate_model::{InstanceState, RecordId, Timestamp};

use super::attributes::KeptAttribute;
use crate::{
    Error,
    engine::{
        Row,
        row::{get, id, time, unsigned, word},
    },
};

/// The values of an attribute that is kept beside the columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeValues {
    /// Which it is.
    pub attribute: KeptAttribute,
    /// Its values, each with its number from 0 on; within a sequence, the number of the item it is from.
    pub values: Vec<(u64, String)>,
}

/// A study (PS3.18 table 10.6.3-3). Text is decoded; what the modality did not say is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StudyRow {
    /// (0020,000D)
    pub study_instance_uid: String,
    /// (0008,0020)
    pub study_date: Option<String>,
    /// (0008,0030)
    pub study_time: Option<String>,
    /// (0008,0050)
    pub accession_number: Option<String>,
    /// (0008,0061)
    pub modalities: Vec<String>,
    /// (0008,0090)
    pub referring_physician_name: Option<String>,
    /// (0010,0010)
    pub patient_name: Option<String>,
    /// (0010,0020)
    pub patient_id: Option<String>,
    /// (0010,0021)
    pub issuer_of_patient_id: Option<String>,
    /// (0010,0030)
    pub patient_birth_date: Option<String>,
    /// (0010,0040)
    pub patient_sex: Option<String>,
    /// (0020,0010)
    pub study_id: Option<String>,
    /// (0008,1030)
    pub study_description: Option<String>,
    /// (0020,1206)
    pub series: u64,
    /// (0020,1208)
    pub instances: u64,
    /// What else is kept of it.
    pub attributes: Vec<AttributeValues>,
}

/// A series (PS3.18 table 10.6.3-4).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeriesRow {
    /// (0020,000D)
    pub study_instance_uid: String,
    /// (0020,000E)
    pub series_instance_uid: String,
    /// (0008,0060)
    pub modality: Option<String>,
    /// (0020,0011)
    pub series_number: Option<i64>,
    /// (0008,103E)
    pub series_description: Option<String>,
    /// (0008,0021)
    pub series_date: Option<String>,
    /// (0008,0031)
    pub series_time: Option<String>,
    /// (0018,0015)
    pub body_part_examined: Option<String>,
    /// (0018,1030)
    pub protocol_name: Option<String>,
    /// (0008,0070)
    pub manufacturer: Option<String>,
    /// (0008,0080)
    pub institution_name: Option<String>,
    /// (0008,1010)
    pub station_name: Option<String>,
    /// (0040,0244)
    pub performed_procedure_step_start_date: Option<String>,
    /// (0040,0245)
    pub performed_procedure_step_start_time: Option<String>,
    /// (0020,1209)
    pub instances: u64,
    /// What else is kept of it.
    pub attributes: Vec<AttributeValues>,
    /// Its study, when the query named none.
    pub study: Option<StudyRow>,
}

/// An instance (PS3.18 table 10.6.3-5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRow {
    /// Its record.
    pub record_id: RecordId,
    /// (0020,000D)
    pub study_instance_uid: String,
    /// (0020,000E)
    pub series_instance_uid: String,
    /// (0008,0018)
    pub sop_instance_uid: String,
    /// (0008,0016); may be empty.
    pub sop_class_uid: String,
    /// The transfer syntax it is stored in (0008,3002).
    pub transfer_syntax_uid: String,
    /// (0020,0013)
    pub instance_number: Option<i64>,
    /// (0028,0010)
    pub rows: Option<i64>,
    /// (0028,0011)
    pub columns: Option<i64>,
    /// (0028,0100)
    pub bits_allocated: Option<i64>,
    /// (0028,0008)
    pub number_of_frames: Option<i64>,
    /// Length of the dataset as received.
    pub dataset_bytes: u64,
    /// When its first byte arrived.
    pub received_at: Timestamp,
    /// Where it stands.
    pub state: InstanceState,
    /// What else is kept of it.
    pub attributes: Vec<AttributeValues>,
    /// Its study, when the query named none.
    pub study: Option<StudyRow>,
    /// Its series, when the query named none.
    pub series: Option<SeriesRow>,
}

/// Of a study's own columns.
pub(crate) fn study(row: &Row) -> Result<StudyRow, Error> {
    Ok(StudyRow {
        study_instance_uid: get(row, "study_instance_uid")?,
        study_date: get(row, "study_date")?,
        study_time: get(row, "study_time")?,
        accession_number: get(row, "accession_number")?,
        modalities: Vec::new(),
        referring_physician_name: get(row, "referring_physician_name")?,
        patient_name: get(row, "patient_name")?,
        patient_id: get(row, "patient_id")?,
        issuer_of_patient_id: get(row, "issuer")?,
        patient_birth_date: get(row, "patient_birth_date")?,
        patient_sex: get(row, "patient_sex")?,
        study_id: get(row, "study_id")?,
        study_description: get(row, "study_description")?,
        series: 0,
        instances: 0,
        attributes: Vec::new(),
    })
}

/// Of a series' own columns.
pub(crate) fn series(row: &Row) -> Result<SeriesRow, Error> {
    Ok(SeriesRow {
        study_instance_uid: get(row, "study_instance_uid")?,
        series_instance_uid: get(row, "series_instance_uid")?,
        modality: get(row, "modality")?,
        series_number: get(row, "series_number")?,
        series_description: get(row, "series_description")?,
        series_date: get(row, "series_date")?,
        series_time: get(row, "series_time")?,
        body_part_examined: get(row, "body_part_examined")?,
        protocol_name: get(row, "protocol_name")?,
        manufacturer: get(row, "manufacturer")?,
        institution_name: get(row, "institution_name")?,
        station_name: get(row, "station_name")?,
        performed_procedure_step_start_date: get(row, "performed_date")?,
        performed_procedure_step_start_time: get(row, "performed_time")?,
        instances: 0,
        attributes: Vec::new(),
        study: None,
    })
}

/// Of an instance's own columns.
pub(crate) fn instance(row: &Row) -> Result<InstanceRow, Error> {
    Ok(InstanceRow {
        record_id: RecordId(id(row, "record_id")?),
        study_instance_uid: get(row, "study_instance_uid")?,
        series_instance_uid: get(row, "series_instance_uid")?,
        sop_instance_uid: get(row, "sop_instance_uid")?,
        sop_class_uid: get(row, "sop_class_uid")?,
        transfer_syntax_uid: get(row, "transfer_syntax_uid")?,
        instance_number: get(row, "instance_number")?,
        rows: get(row, "pixel_rows")?,
        columns: get(row, "pixel_columns")?,
        bits_allocated: get(row, "bits_allocated")?,
        number_of_frames: get(row, "number_of_frames")?,
        dataset_bytes: unsigned(row, "dataset_bytes")?,
        received_at: time(row, "received_at")?,
        state: word(row, "state")?,
        attributes: Vec::new(),
        study: None,
        series: None,
    })
}
