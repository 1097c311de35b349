//! Attributes the catalog keeps beside its columns, found in an instance's metadata (DICOM JSON).

use std::sync::Arc;

use filmgate_catalog::{AttributeValues, Attributes, InstanceAttributes, KeptAttribute};
use filmgate_model::{Identity, PackId, Tag};
use filmgate_seal::{PackFooter, RecordTable};
use futures::{StreamExt, stream};
use serde_json::Value;

use crate::{Error, OpenRecord, Road, error::chain, open_record::Place, receive::Verdict, texts};

/// Records whose elements are read at a time.
const READS: usize = 16;

/// What a pack tells of the attributes of a record.
pub(crate) enum Told {
    Stated(InstanceAttributes),
    /// By metadata of an older writer, or whose text reads otherwise by now, or that was too long to be kept: its elements
    /// tell.
    Anew(Box<OpenRecord>),
}

impl Road {
    /// What the footer of a pack tells of its records, in their order.
    pub(crate) fn told_in(self: &Arc<Self>, pack_id: PackId, footer: &PackFooter) -> Vec<Told> {
        let kept = self.catalog.attributes();
        let end =
            |record: &filmgate_seal::PackedRecord| record.offset.saturating_add(record.table.record_bytes);
        let records_end = footer.records.iter().map(end).max().unwrap_or_default();
        let records = footer.records.iter().filter(|record| Verdict::of(&record.table).reason().is_none());
        let told = records.filter_map(|record| {
            let hint = self.settings.texts.hint(&record.table.provenance);
            if record.metadata_generator == texts::stamp(&record.table, hint) {
                return stated(&kept, &record.table, &record.metadata_json).map(Told::Stated);
            }
            // Which elements there are does not depend on how their text is read.
            if !record.metadata_json.is_empty() && named(&kept, &record.metadata_json).is_empty() {
                return None;
            }
            let place = Place::Pack { pack_id, offset: record.offset, records_end, local: true };
            let table = Arc::new(record.table.clone());
            Some(Told::Anew(Box::new(OpenRecord::new(self, record.key.clone(), table, place))))
        });
        told.collect()
    }

    /// Enters what packs tell, in its order. A record that does not open by itself says nothing, and is told of.
    ///
    /// # Errors
    /// When the catalog fails, or what has to be read cannot be fetched now.
    pub(crate) async fn record_told(&self, told: Vec<Told>) -> Result<(), Error> {
        let kept = self.catalog.attributes();
        let read = stream::iter(told).map(|told| async {
            match told {
                Told::Stated(attributes) => Ok(Some(attributes)),
                Told::Anew(opened) => match opened.metadata().await {
                    Ok(json) => Ok(stated(&kept, opened.table(), &json)),
                    Err(error) if error.is_permanent() => {
                        let record_id = opened.table().record_id;
                        tracing::error!(%record_id, error = chain(&error), "the attributes of a record cannot be read");
                        Ok(None)
                    }
                    Err(error) => Err(error),
                },
            }
        });
        let read: Vec<Result<Option<InstanceAttributes>, Error>> = read.buffered(READS).collect().await;
        let stated: Vec<_> = read.into_iter().filter_map(Result::transpose).collect::<Result<_, _>>()?;
        Ok(self.catalog.record_attributes(&stated).await?)
    }
}

/// What an instance states of them; `None` when that is nothing, as with most.
pub(crate) fn stated(
    attributes: &Attributes,
    table: &RecordTable,
    metadata: &[u8],
) -> Option<InstanceAttributes> {
    let named = named(attributes, metadata);
    if named.is_empty() {
        return None;
    }
    let dataset: Value = serde_json::from_slice(metadata).ok()?;
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

/// Those that metadata may have values of: looking for a name costs far less than reading all there is.
fn named<'a>(attributes: &'a Attributes, metadata: &[u8]) -> Vec<&'a KeptAttribute> {
    let Ok(text) = std::str::from_utf8(metadata) else { return Vec::new() };
    let may_state = |tag: &Tag| text.contains(&format!("\"{}\":", name(*tag)));
    attributes.iter().filter(|kept| kept.path.first().is_some_and(may_state)).collect()
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
