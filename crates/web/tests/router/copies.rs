//! What one node says of copies: its own, those of a bucket that is away, and those of another node.

use std::{fs, path::PathBuf, sync::atomic::Ordering};

use axum::{body::Body, http::Request};
use filmgate_bucket::{Bucket, LocalBucket, Source};
use filmgate_catalog::{CopyKind, Location, NewPack, PackedInstance, ReceivedInstance};
use filmgate_model::{
    Facts, Identity, InstanceState, NodeId, PackId, Provenance, RecordId, StudyKeyId, Timestamp,
};

use crate::support::{Answer, Gateway, fixture};

async fn ranged(gateway: &Gateway, record_id: RecordId, range: &str) -> Answer {
    let request = Request::get(format!("/api/peer/records/{record_id}/sealed"));
    let request = request.header("host", "localhost").header("range", format!("bytes={range}"));
    gateway.ask(request.body(Body::empty()).expect("a request")).await
}

async fn records(gateway: &Gateway) -> Vec<Location> {
    gateway.road.catalog().records_after(None, 9).await.expect("the catalog")
}

fn packs(gateway: &Gateway) -> Vec<PathBuf> {
    let entries = fs::read_dir(gateway.path().join("packs")).expect("packs").flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_reads_a_sealed_record_by_ranges() {
    let gateway = Gateway::new().await;
    gateway.store("/dicomweb/studies", &[&fixture("ct-small.dcm")]).await;
    let (record_id, bytes) = (records(&gateway).await[0].record_id, records(&gateway).await[0].record_bytes);
    let whole = ranged(&gateway, record_id, &format!("0-{}", bytes - 1)).await;
    assert_eq!((whole.status.as_u16(), whole.body.len() as u64), (206, bytes));
    assert_eq!(whole.header("content-length"), bytes.to_string());
    let first = ranged(&gateway, record_id, "0-99").await;
    let rest = ranged(&gateway, record_id, &format!("100-{}", bytes - 1)).await;
    assert!([first.body, rest.body].concat() == whole.body, "other bytes by ranges");
    for past in [format!("0-{bytes}"), format!("{}-{}", u64::MAX - 9, u64::MAX - 1)] {
        assert_eq!(ranged(&gateway, record_id, &past).await.status.as_u16(), 400, "{past}");
    }
}

/// A pack that rotted on the disk is whole in the bucket: while that is away nothing is known to be damaged, and when it
/// is back its copy serves.
#[tokio::test(flavor = "multi_thread")]
async fn what_rotted_here_is_not_damaged_while_the_bucket_is_away() {
    for rot_from in [0, 200] {
        let gateway = Gateway::new().await;
        gateway.store("/dicomweb/studies", &[&fixture("ct-small.dcm")]).await;
        gateway.settle().await;
        let packs = packs(&gateway);
        assert_eq!(packs.len(), 1);
        let mut bytes = fs::read(&packs[0]).expect("a pack");
        let rot_to = if rot_from == 0 { bytes.len() } else { rot_from + 8 };
        bytes[rot_from..rot_to].iter_mut().for_each(|byte| *byte ^= 0x55);
        fs::write(&packs[0], bytes).expect("rot it");

        gateway.away.store(true, Ordering::SeqCst);
        let report = gateway.road.verify_all(true).await.expect("a report");
        assert_eq!(report.findings.len(), 1, "rot from {rot_from}");
        assert_eq!(
            records(&gateway).await[0].state,
            InstanceState::Verified,
            "{}",
            report.findings[0].problem
        );

        gateway.away.store(false, Ordering::SeqCst);
        let report = gateway.road.verify_all(true).await.expect("a report");
        assert!(report.findings.is_empty(), "{:?}", report.findings);
    }
}

/// One that this node received and cannot open is damaged; one of another node is a finding, and that node's to judge.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_marks_only_its_own_records_damaged() {
    const OTHER: NodeId = NodeId([0x4f; 16]);
    let gateway = Gateway::new().await;
    let own = gateway.road.node_id();
    for (number, node) in [(1, own), (2, OTHER)] {
        enter_unreadable(&gateway, number, node).await;
    }
    let report = gateway.road.verify_all(false).await.expect("a report");
    assert_eq!(report.findings.len(), 2, "{:?}", report.findings);
    for row in records(&gateway).await {
        assert_eq!(row.state == InstanceState::Damaged, row.node_id == own, "{row:?}");
    }
}

/// Enters a record in a pack that stands in the bucket and does not open.
async fn enter_unreadable(gateway: &Gateway, number: u8, node: NodeId) {
    let (catalog, now) = (gateway.road.catalog(), Timestamp(1_700_000_000_000));
    let (record_id, pack_id) = (RecordId([number; 16]), PackId([number; 16]));
    let (facts, provenance) =
        (Facts::default(), Provenance { node, ..Provenance::untold("1.2.840.10008.1.2.1") });
    let received = ReceivedInstance {
        record_id,
        identity: Identity::of(record_id, &facts, &provenance),
        facts,
        provenance,
        dataset_bytes: 1000,
        record_bytes: 500,
        dataset_sha256: [number; 32],
        pixel_digest: None,
        quarantine: None,
    };
    let study_instance_uid = received.identity.study_instance_uid.clone();
    catalog.record_received(&[received], now).await.expect("received");
    let pack = NewPack {
        pack_id,
        study_instance_uid,
        study_key_id: StudyKeyId([number; 16]),
        quarantine: false,
        bytes: 10_000,
        sha256: [number; 32],
        created_at: now,
    };
    let packed = PackedInstance { record_id, offset: 500, copy_kind: CopyKind::First };
    catalog.record_packed(&pack, &[packed], &[], now).await.expect("packed");
    catalog.record_uploaded(pack_id, "main", &["main"], now).await.expect("uploaded");
    let bucket = LocalBucket::new(gateway.path().join("bucket"));
    let nonsense = Source::from_bytes(vec![number; 10_000]);
    bucket.put(&format!("v1/pack/{pack_id}"), &nonsense).await.expect("an object");
}
