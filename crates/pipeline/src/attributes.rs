//! Attributes the catalog keeps beside its columns, found in an instance's metadata (DICOM JSON).

use filmgate_catalog::{AttributeValues, Attributes, InstanceAttributes, KeptAttribute};
use filmgate_model::{Identity, Tag};
use filmgate_seal::RecordTable;
use serde_json::Value;

/// What an instance states of them; `None` when that is nothing, as with most.
pub(crate) fn stated(
    attributes: &Attributes,
    table: &RecordTable,
    metadata: &[u8],
) -> Option<InstanceAttributes> {
    // Looking for a name costs far less than reading all there is.
    let text = std::str::from_utf8(metadata).ok()?;
    let named: Vec<&KeptAttribute> = attributes
        .iter()
        .filter(|kept| kept.path.first().is_some_and(|tag| text.contains(&format!("\"{}\":", name(*tag)))))
        .collect();
    if named.is_empty() {
        return None;
    }
    let dataset: Value = serde_json::from_str(text).ok()?;
    let identity = Identity::of(table.record_id, &table.facts, &table.provenance);
    let attributes: Vec<AttributeValues> = named
        .into_iter()
        .map(|kept| AttributeValues { attribute: kept.clone(), values: values(&dataset, &kept.path) })
        .filter(|stated| !stated.values.is_empty())
        .collect();
    (!attributes.is_empty()).then_some(InstanceAttributes {
        study_instance_uid: identity.study_instance_uid,
        series_instance_uid: identity.series_instance_uid,
        sop_instance_uid: identity.sop_instance_uid,
        attributes,
    })
}

/// Values by their number; within a sequence the first of each item, by the item's number.
fn values(dataset: &Value, path: &[Tag]) -> Vec<(u64, String)> {
    match path {
        [tag] => (0..).zip(texts(dataset, *tag)).filter(|(_, value)| !value.is_empty()).collect(),
        [sequence, tag] => {
            let items = dataset.pointer(&format!("/{}/Value", name(*sequence))).and_then(Value::as_array);
            let items = (0..).zip(items.into_iter().flatten());
            let first =
                items.filter_map(|(number, item)| Some((number, texts(item, *tag).into_iter().next()?)));
            first.filter(|(_, value)| !value.is_empty()).collect()
        }
        _ => Vec::new(),
    }
}

fn texts(dataset: &Value, tag: Tag) -> Vec<String> {
    let values = dataset.pointer(&format!("/{}/Value", name(tag))).and_then(Value::as_array);
    values.into_iter().flatten().map(text).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.replace('\0', ""),
        Value::Number(number) => number.to_string(),
        Value::Object(groups) => {
            let group = |name| groups.get(name).and_then(Value::as_str).unwrap_or_default();
            let name = format!("{}={}={}", group("Alphabetic"), group("Ideographic"), group("Phonetic"));
            name.trim_end_matches('=').replace('\0', "")
        }
        _ => String::new(),
    }
}

fn name(tag: Tag) -> String {
    format!("{:04X}{:04X}", tag.group(), tag.element())
}

#[cfg(test)]
mod tests {
    use filmgate_model::tags;
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_told_by_their_number_and_those_of_items_by_the_item() {
        let dataset = json!({
            "00080008": {"vr": "CS", "Value": ["ORIGINAL", null, "AXIAL"]},
            "00101010": {"vr": "AS"},
            "00321032": {"vr": "PN", "Value": [{"Alphabetic": "Wang^Li", "Ideographic": "王^丽"}]},
            "00400275": {"vr": "SQ", "Value": [
                {"00401001": {"vr": "SH", "Value": ["R1"]}},
                {},
                {"00401001": {"vr": "SH", "Value": ["R3", "R4"]}, "00400009": {"vr": "SH", "Value": ["S3"]}},
            ]},
        });
        let told = |path: &[Tag]| values(&dataset, path);
        let pairs = |pairs: &[(u64, &str)]| -> Vec<_> {
            pairs.iter().map(|(number, text)| (*number, (*text).to_owned())).collect()
        };
        assert_eq!(told(&[tags::IMAGE_TYPE]), pairs(&[(0, "ORIGINAL"), (2, "AXIAL")]));
        assert_eq!(told(&[tags::PATIENT_AGE]), []);
        assert_eq!(told(&[tags::REQUESTING_PHYSICIAN]), pairs(&[(0, "Wang^Li=王^丽")]));
        let within = |tag| told(&[tags::REQUEST_ATTRIBUTES_SEQUENCE, tag]);
        assert_eq!(within(tags::REQUESTED_PROCEDURE_ID), pairs(&[(0, "R1"), (2, "R3")]));
        assert_eq!(within(tags::SCHEDULED_PROCEDURE_STEP_ID), pairs(&[(2, "S3")]));
    }
}
