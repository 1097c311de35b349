//! An instance as DICOM JSON (PS3.18 annex F), made from its stored elements; bulk data is named, not read.

use std::{collections::HashMap, sync::Arc};

use filmgate_model::{Identity, PackId, RecordId, Tag, VR, json::JsonWriter};
use filmgate_seal::{RecordTable, Value, Visitor};

use crate::{Error, OpenRecord, Road};

/// Which generation of this writer made a stored metadata; older ones are made anew.
pub const METADATA_VERSION: u32 = 1;

/// Bytes of header chunks from which metadata is made; a dataset with more has its indexed attributes told.
pub(crate) const HEADER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of metadata that are made of one instance: a few deflated bytes can hold a great many elements.
const JSON_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Writes events of the stored elements as JSON.
struct MetadataWriter {
    json: JsonWriter,
    /// Where bulk data of the instance is fetched.
    bulk_base: String,
    /// Tags and item numbers from the dataset down to the open item.
    path: Vec<String>,
    /// Items begun in each open sequence.
    items: Vec<usize>,
}

impl Visitor for MetadataWriter {
    fn element(&mut self, tag: Tag, vr: VR, value: Value<'_>) {
        if self.is_full() {
            return;
        }
        match value {
            Value::Bytes(bytes) => self.json.element(tag, vr, bytes),
            Value::Bulk { .. } => {
                let below: String = self.path.iter().map(|step| format!("{step}/")).collect();
                let uri = format!("{}/{below}{:04X}{:04X}", self.bulk_base, tag.group(), tag.element());
                self.json.bulk(tag, vr, &uri);
            }
        }
    }

    fn sequence_start(&mut self, tag: Tag) {
        if self.is_full() {
            return;
        }
        self.json.begin_sequence(tag);
        self.path.push(format!("{:04X}{:04X}", tag.group(), tag.element()));
        self.items.push(0);
    }

    fn item_start(&mut self) {
        if self.is_full() {
            return;
        }
        self.json.begin_item();
        if let Some(count) = self.items.last_mut() {
            *count += 1;
            self.path.push(count.to_string());
        }
    }

    fn item_end(&mut self) {
        if self.is_full() {
            return;
        }
        self.json.end_item();
        self.path.pop();
    }

    fn sequence_end(&mut self) {
        if self.is_full() {
            return;
        }
        self.json.end_sequence();
        self.path.pop();
        self.items.pop();
    }
}

impl MetadataWriter {
    /// Past its limit nothing more is written: what there is will not be used.
    fn is_full(&self) -> bool {
        self.json.bytes() > JSON_BYTES_MAX
    }
}

/// The metadata of a record whose header chunks are at hand.
pub(crate) fn metadata_json(table: &RecordTable, header: &[u8]) -> Result<Vec<u8>, Error> {
    let identity = Identity::of(table.record_id, &table.facts, &table.provenance);
    let mut writer = MetadataWriter {
        json: JsonWriter::default(),
        bulk_base: format!(
            "/dicomweb/studies/{}/series/{}/instances/{}/bulkdata",
            identity.study_instance_uid, identity.series_instance_uid, identity.sop_instance_uid
        ),
        path: Vec::new(),
        items: Vec::new(),
    };
    filmgate_seal::visit(table, header, &mut writer)?;
    if writer.is_full() {
        return Err(Error::MetadataTooLong(JSON_BYTES_MAX));
    }
    Ok(writer.json.finish())
}

impl OpenRecord {
    /// The instance as DICOM JSON, made from its elements; from the indexed ones alone when there are too many.
    ///
    /// # Errors
    /// When its elements cannot be fetched or read.
    pub async fn metadata(&self) -> Result<Vec<u8>, Error> {
        let made = match self.header(HEADER_BYTES_MAX).await {
            Ok(header) => metadata_json(self.table(), &header),
            Err(error) => Err(error),
        };
        match made {
            Err(Error::MetadataTooLong(_)) => {
                let mut json = JsonWriter::default();
                self.table().facts.write_json(&mut json);
                Ok(json.finish())
            }
            made => made,
        }
    }
}

impl Road {
    /// DICOM JSON of many instances, in their order: from the packs' footers where it is kept, else made from the
    /// elements. No pixel chunk is read for it.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub async fn metadata(self: &Arc<Self>, records: &[RecordId]) -> Result<Vec<Vec<u8>>, Error> {
        let mut kept: HashMap<RecordId, Vec<u8>> = HashMap::new();
        let mut asked = std::collections::HashSet::new();
        let mut answers = Vec::with_capacity(records.len());
        for &record_id in records {
            if !kept.contains_key(&record_id)
                && !self.journal.contains(record_id)
                && let Some(pack_id) = self.readable_pack_of(record_id).await?
                && asked.insert(pack_id)
            {
                kept.extend(self.packed_metadata(pack_id).await?);
            }
            answers.push(match kept.remove(&record_id) {
                Some(json) if !json.is_empty() => json,
                _ => self.open(record_id).await?.metadata().await?,
            });
        }
        Ok(answers)
    }

    /// The pack of a record, when this node can read it.
    async fn readable_pack_of(&self, record_id: RecordId) -> Result<Option<PackId>, Error> {
        let location = self.catalog.locate(record_id).await?;
        let readable = location.filter(|location| !self.is_held_elsewhere(location));
        Ok(readable.and_then(|location| location.pack).map(|pack| pack.pack_id))
    }
}
