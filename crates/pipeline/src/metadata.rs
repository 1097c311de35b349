//! An instance as DICOM JSON (PS3.18 annex F), made from its stored elements; bulk data is named, not read.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use filmgate_catalog::Location;
use filmgate_model::{Identity, PackId, RecordId, Tag, VR, json::JsonWriter, text::Hint};
use filmgate_seal::{RecordTable, Value, Visitor};
use futures::{StreamExt, stream};

use crate::{Error, OpenRecord, Road};

/// Which generation of this writer made a stored metadata, up to 255; older ones are made anew.
pub const METADATA_VERSION: u32 = 2;

/// Bytes of header chunks from which metadata is made; a dataset with more has its indexed attributes told.
pub(crate) const HEADER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of metadata that are made of one instance: a few deflated bytes can hold a great many elements.
const JSON_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Footers of packs that are read at a time: a study may be in several, and a bucket is far away.
const FOOTERS: usize = 4;
/// Longer metadata of one instance is not kept in memory.
const KEPT_JSON_BYTES_MAX: usize = 1024 * 1024;

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
pub(crate) fn metadata_json(table: &RecordTable, hint: Hint, header: &[u8]) -> Result<Vec<u8>, Error> {
    let identity = Identity::of(table.record_id, &table.facts, &table.provenance);
    let mut writer = MetadataWriter {
        json: JsonWriter::of(&table.facts, hint),
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
            Ok(header) => metadata_json(self.table(), self.hint(), &header),
            Err(error) => Err(error),
        };
        match made {
            Err(Error::MetadataTooLong(_)) => Ok(self.table().facts.to_json(self.hint())),
            made => made,
        }
    }
}

impl Road {
    /// DICOM JSON of many instances, in their order: as kept in memory, else from the packs' footers, else made from the
    /// elements. No pixel chunk is read for it.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub async fn metadata(self: &Arc<Self>, instances: &[Location]) -> Result<Vec<Bytes>, Error> {
        let kept: Vec<_> =
            instances.iter().map(|location| self.kept.metadata.get(&location.record_id)).collect();
        let lacking = instances.iter().zip(&kept).filter(|(_, kept)| kept.is_none());
        let mut asked = HashSet::new();
        let packs = lacking.filter_map(|(location, _)| self.readable_pack_of(location));
        let packs: Vec<PackId> = packs.filter(|pack_id| asked.insert(*pack_id)).collect();
        let mut footers = stream::iter(packs).map(|pack_id| self.packed_metadata(pack_id)).buffered(FOOTERS);
        let mut opened: HashMap<RecordId, Bytes> = HashMap::new();
        while let Some(metadata) = footers.next().await {
            opened.extend(metadata?);
        }
        let mut answers = Vec::with_capacity(instances.len());
        for (location, kept) in instances.iter().zip(kept) {
            if let Some(json) = kept {
                answers.push(json);
                continue;
            }
            let json = match opened.remove(&location.record_id).filter(|json| !json.is_empty()) {
                Some(json) => json,
                None => self.open_found(location).await?.metadata().await?.into(),
            };
            self.keep_metadata(location.record_id, &json);
            answers.push(json);
        }
        // What came along is asked for next, as a rule.
        for (record_id, json) in opened {
            self.keep_metadata(record_id, &json);
        }
        Ok(answers)
    }

    /// Keeps it in memory, unless it is long or empty.
    pub(crate) fn keep_metadata(&self, record_id: RecordId, json: &Bytes) {
        if !json.is_empty() && json.len() <= KEPT_JSON_BYTES_MAX {
            self.kept.metadata.insert(record_id, json.clone());
        }
    }

    /// The same of records that are known by their ids alone.
    ///
    /// # Errors
    /// As [`Road::metadata`].
    pub async fn metadata_of(self: &Arc<Self>, records: &[RecordId]) -> Result<Vec<Bytes>, Error> {
        let mut instances = Vec::with_capacity(records.len());
        for &record_id in records {
            instances.push(self.catalog.locate(record_id).await?.ok_or(Error::NotFound(record_id))?);
        }
        self.metadata(&instances).await
    }

    /// The pack of a record, when this node can read it and the journal has not let go of the record too soon to know it.
    pub(crate) fn readable_pack_of(&self, location: &Location) -> Option<PackId> {
        let readable = !self.journal.contains(location.record_id) && !self.is_held_elsewhere(location);
        location.pack.as_ref().filter(|_| readable).map(|pack| pack.pack_id)
    }
}
