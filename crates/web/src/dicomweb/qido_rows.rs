//! Rows of the catalog as DICOM JSON, with the attributes that must be answered (PS3.18 tables 10.6.3-3 to 10.6.3-5)
//! and what else the catalog keeps.

use std::collections::BTreeMap;

use filmgate_catalog::{AttributeValues, InstanceRow, SeriesRow, StudyRow};
use filmgate_model::{Tag, VR, json::JsonWriter, tags};

use super::{instance_url, qido_included::Included, series_url, study_url};

/// Attributes of one answer; the model wants them in the order of their tags (PS3.18 F.2.2).
#[derive(Default)]
struct Answer(BTreeMap<Tag, Value>);

/// What is answered of one attribute.
enum Value {
    /// As it would stand in a dataset.
    Plain(VR, Vec<u8>),
    /// As it is written already.
    Written(Vec<u8>),
    /// Items of a sequence by their numbers.
    Items(BTreeMap<u64, Answer>),
}

/// True of attributes that some answer has in any case: nothing more is to be looked for.
pub(super) fn is_answered(tag: Tag) -> bool {
    ANSWERED.contains(&tag)
}

const ANSWERED: [Tag; 46] = [
    tags::SPECIFIC_CHARACTER_SET,
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::STUDY_DATE,
    tags::SERIES_DATE,
    tags::STUDY_TIME,
    tags::SERIES_TIME,
    tags::ACCESSION_NUMBER,
    tags::INSTANCE_AVAILABILITY,
    tags::MODALITY,
    tags::MODALITIES_IN_STUDY,
    tags::SOP_CLASSES_IN_STUDY,
    tags::MANUFACTURER,
    tags::INSTITUTION_NAME,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::STATION_NAME,
    tags::STUDY_DESCRIPTION,
    tags::SERIES_DESCRIPTION,
    tags::RETRIEVE_URL,
    tags::AVAILABLE_TRANSFER_SYNTAX_UID,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::BODY_PART_EXAMINED,
    tags::PROTOCOL_NAME,
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::STUDY_ID,
    tags::SERIES_NUMBER,
    tags::INSTANCE_NUMBER,
    tags::NUMBER_OF_PATIENT_RELATED_STUDIES,
    tags::NUMBER_OF_PATIENT_RELATED_SERIES,
    tags::NUMBER_OF_PATIENT_RELATED_INSTANCES,
    tags::NUMBER_OF_STUDY_RELATED_SERIES,
    tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
    tags::NUMBER_OF_SERIES_RELATED_INSTANCES,
    tags::NUMBER_OF_FRAMES,
    tags::ROWS,
    tags::COLUMNS,
    tags::BITS_ALLOCATED,
    tags::PERFORMED_PROCEDURE_STEP_START_DATE,
    tags::PERFORMED_PROCEDURE_STEP_START_TIME,
    tags::REQUEST_ATTRIBUTES_SEQUENCE,
];

/// A study.
pub(crate) fn study(row: &StudyRow) -> Vec<u8> {
    let mut answer = Answer::default();
    answer.study(row);
    answer.text(tags::RETRIEVE_URL, VR::UR, study_url(&row.study_instance_uid));
    answer.text(tags::INSTANCE_AVAILABILITY, VR::CS, "ONLINE");
    answer.finish()
}

/// A series, with its study where the query named none.
pub(crate) fn series(row: &SeriesRow) -> Vec<u8> {
    let mut answer = Answer::default();
    if let Some(study) = &row.study {
        answer.study(study);
    }
    answer.series(row);
    answer.text(tags::RETRIEVE_URL, VR::UR, series_url(&row.study_instance_uid, &row.series_instance_uid));
    answer.finish()
}

/// An instance, with its study and series where the query named none, and with what else is included.
pub(super) fn instance(row: &InstanceRow, included: Included) -> Vec<u8> {
    let mut answer = Answer::default();
    if let Some(study) = &row.study {
        answer.study(study);
    }
    if let Some(series) = &row.series {
        answer.series(series);
    }
    answer.instance(row);
    let url = instance_url(&row.study_instance_uid, &row.series_instance_uid, &row.sop_instance_uid);
    answer.text(tags::RETRIEVE_URL, VR::UR, url);
    answer.text(tags::INSTANCE_AVAILABILITY, VR::CS, "ONLINE");
    for (tag, written) in included.0 {
        answer.0.entry(tag).or_insert(Value::Written(written));
    }
    answer.finish()
}

impl Answer {
    fn study(&mut self, row: &StudyRow) {
        self.text(tags::STUDY_INSTANCE_UID, VR::UI, &row.study_instance_uid);
        self.known(tags::STUDY_DATE, VR::DA, &row.study_date);
        self.known(tags::STUDY_TIME, VR::TM, &row.study_time);
        self.known(tags::ACCESSION_NUMBER, VR::SH, &row.accession_number);
        self.text(tags::MODALITIES_IN_STUDY, VR::CS, row.modalities.join("\\"));
        self.known(tags::REFERRING_PHYSICIAN_NAME, VR::PN, &row.referring_physician_name);
        self.known(tags::STUDY_DESCRIPTION, VR::LO, &row.study_description);
        self.known(tags::PATIENT_NAME, VR::PN, &row.patient_name);
        self.known(tags::PATIENT_ID, VR::LO, &row.patient_id);
        if row.issuer_of_patient_id.is_some() {
            self.known(tags::ISSUER_OF_PATIENT_ID, VR::LO, &row.issuer_of_patient_id);
        }
        self.known(tags::PATIENT_BIRTH_DATE, VR::DA, &row.patient_birth_date);
        self.known(tags::PATIENT_SEX, VR::CS, &row.patient_sex);
        self.known(tags::STUDY_ID, VR::SH, &row.study_id);
        self.text(tags::NUMBER_OF_STUDY_RELATED_SERIES, VR::IS, row.series.to_string());
        self.text(tags::NUMBER_OF_STUDY_RELATED_INSTANCES, VR::IS, row.instances.to_string());
        self.kept(&row.attributes);
    }

    fn series(&mut self, row: &SeriesRow) {
        self.text(tags::STUDY_INSTANCE_UID, VR::UI, &row.study_instance_uid);
        self.text(tags::SERIES_INSTANCE_UID, VR::UI, &row.series_instance_uid);
        self.known(tags::MODALITY, VR::CS, &row.modality);
        self.number(tags::SERIES_NUMBER, row.series_number);
        self.known(tags::SERIES_DESCRIPTION, VR::LO, &row.series_description);
        self.known(
            tags::PERFORMED_PROCEDURE_STEP_START_DATE,
            VR::DA,
            &row.performed_procedure_step_start_date,
        );
        self.known(
            tags::PERFORMED_PROCEDURE_STEP_START_TIME,
            VR::TM,
            &row.performed_procedure_step_start_time,
        );
        self.text(tags::NUMBER_OF_SERIES_RELATED_INSTANCES, VR::IS, row.instances.to_string());
        for (tag, vr, value) in [
            (tags::SERIES_DATE, VR::DA, &row.series_date),
            (tags::SERIES_TIME, VR::TM, &row.series_time),
            (tags::MANUFACTURER, VR::LO, &row.manufacturer),
            (tags::INSTITUTION_NAME, VR::LO, &row.institution_name),
            (tags::STATION_NAME, VR::SH, &row.station_name),
            (tags::BODY_PART_EXAMINED, VR::CS, &row.body_part_examined),
            (tags::PROTOCOL_NAME, VR::LO, &row.protocol_name),
        ] {
            if value.is_some() {
                self.known(tag, vr, value);
            }
        }
        self.kept(&row.attributes);
    }

    fn instance(&mut self, row: &InstanceRow) {
        self.text(tags::STUDY_INSTANCE_UID, VR::UI, &row.study_instance_uid);
        self.text(tags::SERIES_INSTANCE_UID, VR::UI, &row.series_instance_uid);
        self.text(tags::SOP_INSTANCE_UID, VR::UI, &row.sop_instance_uid);
        self.text(tags::SOP_CLASS_UID, VR::UI, &row.sop_class_uid);
        self.text(tags::AVAILABLE_TRANSFER_SYNTAX_UID, VR::UI, &row.transfer_syntax_uid);
        self.number(tags::INSTANCE_NUMBER, row.instance_number);
        for (tag, number) in
            [(tags::ROWS, row.rows), (tags::COLUMNS, row.columns), (tags::BITS_ALLOCATED, row.bits_allocated)]
        {
            if let Some(number) = number.and_then(|number| u16::try_from(number).ok()) {
                self.0.insert(tag, Value::Plain(VR::US, number.to_le_bytes().to_vec()));
            }
        }
        if row.number_of_frames.is_some() {
            self.number(tags::NUMBER_OF_FRAMES, row.number_of_frames);
        }
        self.kept(&row.attributes);
    }

    /// Attributes kept beside the columns. Values within a sequence are told by its items again.
    fn kept(&mut self, kept: &[AttributeValues]) {
        for AttributeValues { attribute, values } in kept {
            let vr = attribute.vr;
            match attribute.path.as_slice() {
                [tag] => {
                    let values: Vec<&str> = values.iter().map(|(_, value)| value.as_str()).collect();
                    self.0.insert(*tag, kept_value(vr, &values));
                }
                [sequence, tag] => {
                    let items = self.0.entry(*sequence).or_insert_with(|| Value::Items(BTreeMap::new()));
                    let Value::Items(items) = items else { continue };
                    for (number, value) in values {
                        items.entry(*number).or_default().0.insert(*tag, kept_value(vr, &[value]));
                    }
                }
                // None is kept from deeper down.
                _ => {}
            }
        }
    }

    fn text(&mut self, tag: Tag, vr: VR, value: impl AsRef<str>) {
        self.0.insert(tag, Value::Plain(vr, value.as_ref().as_bytes().to_vec()));
    }

    /// An attribute that must be there, without a value when none is known.
    fn known(&mut self, tag: Tag, vr: VR, value: &Option<String>) {
        self.text(tag, vr, value.as_deref().unwrap_or_default());
    }

    fn number(&mut self, tag: Tag, number: Option<i64>) {
        self.text(tag, VR::IS, number.map(|number| number.to_string()).unwrap_or_default());
    }

    fn finish(mut self) -> Vec<u8> {
        self.text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192");
        let mut json = JsonWriter::default();
        self.write(&mut json);
        json.finish()
    }

    fn write(&self, json: &mut JsonWriter) {
        for (tag, value) in &self.0 {
            match value {
                Value::Plain(vr, value) => json.element(*tag, *vr, value),
                Value::Written(written) => json.written(*tag, written),
                Value::Items(items) => {
                    json.begin_sequence(*tag);
                    for item in items.values() {
                        json.begin_item();
                        item.write(json);
                        json.end_item();
                    }
                    json.end_sequence();
                }
            }
        }
    }
}

/// Values that are kept as text, whatever they are in a dataset.
fn kept_value(vr: VR, values: &[&str]) -> Value {
    let quote = match vr {
        VR::US | VR::SS | VR::UL | VR::SL | VR::UV | VR::SV | VR::FL | VR::FD => "",
        VR::AT => "\"",
        _ => return Value::Plain(vr, values.join("\\").into_bytes()),
    };
    // As the metadata had them: numbers, or the hexadecimal digits of a tag (PS3.18 F.2.3).
    let sound =
        |value: &&&str| value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let values = values.iter().filter(sound).map(|value| format!("{quote}{value}{quote}"));
    let values = values.collect::<Vec<_>>().join(",");
    Value::Written(format!("{{\"vr\":\"{vr}\",\"Value\":[{values}]}}").into_bytes())
}

#[cfg(test)]
mod tests {
    use filmgate_model::{InstanceState, RecordId, Timestamp};
    use serde_json::Value as Json;

    use super::*;

    fn study_row() -> StudyRow {
        StudyRow {
            study_instance_uid: "1.2".into(),
            study_date: Some("20260102".into()),
            modalities: vec!["CT".into(), "SR".into()],
            patient_name: Some("Wang^XiaoDong=王^小东".into()),
            patient_id: Some("P\"1".into()),
            series: 2,
            instances: 7,
            ..StudyRow::default()
        }
    }

    fn read(json: &[u8]) -> Json {
        serde_json::from_slice(json).expect("valid JSON")
    }

    fn has_all(json: &Json, required: &[&str]) {
        for tag in required {
            assert!(json.get(tag).is_some(), "{tag} is missing");
        }
    }

    #[test]
    fn a_study_answers_with_what_the_standard_requires() {
        let json = read(&study(&study_row()));
        has_all(
            &json,
            &[
                "00080005", "00080020", "00080030", "00080050", "00080056", "00080061", "00080090",
                "00081190", "00100010", "00100020", "00100030", "00100040", "0020000D", "00200010",
                "00201206", "00201208",
            ],
        );
        assert_eq!(json["00080005"]["Value"][0], "ISO_IR 192");
        assert_eq!(json["00080061"]["Value"], serde_json::json!(["CT", "SR"]));
        assert_eq!(json["00100010"]["Value"][0]["Ideographic"], "王^小东");
        assert_eq!(json["00100020"]["Value"][0], "P\"1");
        assert_eq!(json["00080050"], serde_json::json!({"vr": "SH"}));
        assert_eq!(json["00201208"]["Value"][0], 7);
        assert_eq!(json["00081190"]["Value"][0], "/dicomweb/studies/1.2");
    }

    #[test]
    fn a_series_brings_its_study_only_when_that_was_not_named() {
        let mut row = SeriesRow {
            study_instance_uid: "1.2".into(),
            series_instance_uid: "1.3".into(),
            modality: Some("CT".into()),
            series_number: Some(4),
            instances: 5,
            ..SeriesRow::default()
        };
        let json = read(&series(&row));
        has_all(
            &json,
            &[
                "00080005", "00080060", "0008103E", "00081190", "0020000E", "00200011", "00201209",
                "00400244", "00400245",
            ],
        );
        assert_eq!(json["00200011"]["Value"][0], 4);
        assert!(json.get("00100020").is_none());
        row.study = Some(study_row());
        let json = read(&series(&row));
        assert_eq!(json["00100020"]["Value"][0], "P\"1");
        assert_eq!(json["00081190"]["Value"][0], "/dicomweb/studies/1.2/series/1.3");
    }

    #[test]
    fn what_is_kept_as_text_is_answered_as_what_it_is() {
        let written = |vr, values: &[&str]| {
            let mut answer = Answer::default();
            answer.0.insert(tags::PIXEL_REPRESENTATION, kept_value(vr, values));
            read(&answer.finish())["00280103"].clone()
        };
        assert_eq!(written(VR::US, &["1", "0"]), serde_json::json!({"vr": "US", "Value": [1, 0]}));
        assert_eq!(written(VR::FD, &["-1.5e3"]), serde_json::json!({"vr": "FD", "Value": [-1500.0]}));
        assert_eq!(written(VR::AT, &["00280010"]), serde_json::json!({"vr": "AT", "Value": ["00280010"]}));
        assert_eq!(written(VR::CS, &["A", "B"]), serde_json::json!({"vr": "CS", "Value": ["A", "B"]}));
        assert_eq!(written(VR::DS, &["1.5"]), serde_json::json!({"vr": "DS", "Value": [1.5]}));
    }

    #[test]
    fn an_instance_answers_with_what_the_standard_requires() {
        let row = InstanceRow {
            record_id: RecordId([1; 16]),
            study_instance_uid: "1.2".into(),
            series_instance_uid: "1.3".into(),
            sop_instance_uid: "1.4".into(),
            sop_class_uid: "1.2.840.10008.5.1.4.1.1.2".into(),
            transfer_syntax_uid: "1.2.840.10008.1.2.1".into(),
            instance_number: Some(1),
            rows: Some(512),
            columns: Some(512),
            bits_allocated: Some(16),
            number_of_frames: Some(3),
            dataset_bytes: 10,
            received_at: Timestamp(0),
            state: InstanceState::Received,
            attributes: Vec::new(),
            study: None,
            series: None,
        };
        let json = read(&instance(&row, Included::default()));
        has_all(
            &json,
            &[
                "00080005", "00080016", "00080018", "00080056", "00081190", "00200013", "00280008",
                "00280010", "00280011", "00280100",
            ],
        );
        assert_eq!(json["00280010"], serde_json::json!({"vr": "US", "Value": [512]}));
        assert_eq!(json["00081190"]["Value"][0], "/dicomweb/studies/1.2/series/1.3/instances/1.4");
    }
}
