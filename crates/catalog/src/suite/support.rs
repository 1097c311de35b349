//! Instances to enter, and a view of a whole catalog to compare.

use filmgate_model::{
    Door, FactId, Facts, Identity, IncarnationId, NodeId, PackId, Provenance, RecordId, SiteId, StudyKeyId,
    Tag, Timestamp, tags,
};

use crate::{
    Catalog, CatalogOptions, CopyKind, LogPosition, NewPack, Outgoing, PackedInstance, Query,
    ReceivedInstance,
};

/// The site of the tests.
#[must_use]
pub fn site() -> SiteId {
    SiteId([0x51; 16])
}

/// The node of the tests.
#[must_use]
pub fn node() -> NodeId {
    NodeId([0x4e; 16])
}

/// Options for the site and node of the tests.
#[must_use]
pub fn options() -> CatalogOptions {
    CatalogOptions::new(site(), node())
}

pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000_000);

pub(crate) fn record(number: u8) -> RecordId {
    RecordId([number; 16])
}

pub(crate) fn pack_id(number: u8) -> PackId {
    PackId([number; 16])
}

/// Where the log of the tests stands.
pub(crate) const LOGGED: LogPosition = LogPosition { incarnation: IncarnationId([0x49; 16]), sequence: 1 };

/// The fact that a pack is verified.
pub(crate) fn stated(pack: u8) -> Outgoing {
    Outgoing {
        fact_id: FactId([pack; 16]),
        kind: 1,
        body: vec![pack],
        pack_id: Some(pack_id(pack)),
        goes: None,
    }
}

/// An instance of CT series `study.1`, with more facts on top.
pub(crate) fn instance(number: u8, study: &str, sop: &str, more: &[(Tag, &str)]) -> ReceivedInstance {
    let mut facts = Facts::default();
    let series = format!("{study}.1");
    let usual = [
        (tags::SPECIFIC_CHARACTER_SET, "ISO_IR 192"),
        (tags::STUDY_INSTANCE_UID, study),
        (tags::SERIES_INSTANCE_UID, series.as_str()),
        (tags::SOP_INSTANCE_UID, sop),
        (tags::SOP_CLASS_UID, "1.2.840.10008.5.1.4.1.1.2"),
        (tags::MODALITY, "CT"),
        (tags::PATIENT_ID, "P1"),
    ];
    for (tag, value) in usual.iter().chain(more) {
        facts.insert(*tag, value.as_bytes());
    }
    let provenance = provenance(i64::from(number));
    ReceivedInstance {
        record_id: record(number),
        identity: Identity::of(record(number), &facts, &provenance),
        facts,
        provenance,
        dataset_bytes: 1000,
        record_bytes: 500,
        dataset_sha256: [number; 32],
        pixel_digest: Some([7; 32]),
        quarantine: None,
    }
}

pub(crate) fn provenance(after_ms: i64) -> Provenance {
    Provenance {
        received_at: Timestamp(NOW.0 + after_ms),
        door: Door::CStore,
        calling_ae: "CT_1".to_owned(),
        called_ae: "FILMGATE".to_owned(),
        peer: "192.0.2.1:11112".to_owned(),
        node: node(),
        transfer_syntax_uid: "1.2.840.10008.1.2.1".to_owned(),
        sop_class_uid: String::new(),
        sop_instance_uid: String::new(),
        file_meta: Vec::new(),
    }
}

pub(crate) fn quarantined(mut instance: ReceivedInstance) -> ReceivedInstance {
    instance.quarantine = Some("cut off inside an element".to_owned());
    instance
}

pub(crate) fn new_pack(number: u8, study: &str, quarantine: bool) -> NewPack {
    NewPack {
        pack_id: pack_id(number),
        study_instance_uid: study.to_owned(),
        study_key_id: StudyKeyId([number; 16]),
        quarantine,
        bytes: 10_000,
        sha256: [number; 32],
        created_at: Timestamp(NOW.0 + i64::from(number)),
    }
}

pub(crate) fn packed(number: u8, offset: u64, copy_kind: CopyKind) -> PackedInstance {
    PackedInstance { record_id: record(number), offset, copy_kind }
}

/// Enters one study of `numbers` in pack `pack`.
pub(crate) async fn packed_study(catalog: &Catalog, pack: u8, study: &str, numbers: &[u8]) {
    let received: Vec<_> =
        numbers.iter().map(|number| instance(*number, study, &format!("{study}.1.{number}"), &[])).collect();
    catalog.record_received(&received, NOW).await.expect("receive");
    let entered: Vec<_> =
        numbers.iter().map(|number| packed(*number, 500 * u64::from(*number), CopyKind::First)).collect();
    catalog.record_packed(&new_pack(pack, study, false), &entered, &[], NOW).await.expect("pack");
}

/// All that can be seen of a catalog through its own questions, to compare before and after.
pub(crate) async fn seen(catalog: &Catalog, studies: &[&str]) -> String {
    let mut seen = String::new();
    for known in catalog.known_packs().await.expect("packs") {
        seen += &format!("{:?}\n", catalog.pack(known.pack_id).await.expect("pack"));
    }
    for study in studies {
        for location in catalog.records_of_study(study).await.expect("records") {
            seen += &format!("{location:?}\n");
        }
        seen += &format!("{:?}\n", catalog.instances_of_study(study).await.expect("served").len());
    }
    seen += &format!("{:?}\n", catalog.search_studies(&Query::new()).await.expect("studies"));
    seen += &format!("{:?}\n", catalog.search_series(&Query::new()).await.expect("series"));
    seen += &format!("{:?}\n", catalog.search_instances(&Query::new()).await.expect("instances"));
    seen += &format!("{:?}\n{:?}\n", catalog.alarms().await, catalog.totals().await);
    seen += &format!("{:?}\n", catalog.counts_by_state().await);
    seen
}

/// Proves a pack that was uploaded, and has the log name it.
pub(crate) async fn verified(catalog: &Catalog, pack: u8) {
    catalog.record_proven(pack_id(pack), "main", &["main"], &stated(pack), NOW).await.expect("prove");
    catalog.record_logged(&[stated(pack).fact_id], LOGGED, NOW).await.expect("log");
}
