use std::time::Duration;

use filmgate_model::{InstanceState, StudyKeyId, Timestamp};

use super::support::{
    LOGGED, NOW, instance, new_pack, pack_id, packed, packed_study, quarantined, record, seen, stated,
};
use crate::{AlarmKind, Catalog, CopyKind, Count, DroppedCopy, Error, PackReason, Standing};

const MAIN: &[&str] = &["main"];
const BOTH: &[&str] = &["main", "second"];

fn after(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

pub(super) async fn studies_are_ready_by_quiet_size_and_age(catalog: &Catalog) {
    catalog.record_received(&[instance(1, "1.2", "1.2.1.1", &[])], NOW).await.expect("receive");
    catalog.record_received(&[instance(2, "1.2", "1.2.1.2", &[])], after(55)).await.expect("receive");
    catalog.record_received(&[instance(3, "1.3", "1.3.1.1", &[])], after(58)).await.expect("receive");
    let ready = |now: Timestamp, size_bytes: u64| async move {
        let studies = catalog.studies_to_pack(now, 10_000, size_bytes, 60_000).await.expect("studies");
        studies.into_iter().map(|study| (study.study_instance_uid, study.reason)).collect::<Vec<_>>()
    };
    let study = |uid: &str, reason| (uid.to_owned(), reason);
    assert_eq!(ready(after(59), 1001).await, []);
    assert_eq!(ready(after(59), 1000).await, [study("1.2", PackReason::Size)]);
    assert_eq!(ready(after(60), 1001).await, [study("1.2", PackReason::Age)]);
    let quiet = [study("1.2", PackReason::Quiet), study("1.3", PackReason::Quiet)];
    assert_eq!(ready(after(68), 1001).await, quiet);
    assert_eq!(ready(Timestamp(0), 1001).await, quiet, "a clock set back makes nobody wait");
    let waiting = catalog.unpacked_studies().await.expect("waiting");
    assert_eq!(
        (waiting.len(), waiting.first().map(|study| (study.bytes, study.records))),
        (2, Some((1000, 2)))
    );
    let sums = catalog.sums_by_state().await.expect("sums");
    assert_eq!(sums[&InstanceState::Received], Count { instances: 3, dataset_bytes: 3000 });
}

pub(super) async fn records_come_in_order_and_within_bounds(catalog: &Catalog) {
    let received: Vec<_> =
        [9, 3, 5].map(|number| instance(number, "1.2", &format!("1.2.1.{number}"), &[])).to_vec();
    catalog.record_received(&received, NOW).await.expect("receive");
    let broken = quarantined(instance(4, "1.2", "1.2.1.4", &[]));
    catalog.record_received(&[broken], NOW).await.expect("receive");
    let listed = |quarantine: bool, bytes_max: u64| async move {
        let records = catalog.records_to_pack("1.2", quarantine, bytes_max).await.expect("records");
        records.into_iter().map(|record| record.record_id).collect::<Vec<_>>()
    };
    assert_eq!(listed(false, u64::MAX).await, [record(9), record(3), record(5)]);
    assert_eq!(listed(false, 1499).await, [record(9), record(3)]);
    assert_eq!(listed(false, 1).await, [record(9)], "the first passes whatever its size");
    assert_eq!(listed(true, 1).await, [record(4)]);
}

pub(super) async fn packing_twice_changes_nothing(catalog: &Catalog) {
    let received = [instance(1, "1.2", "1.2.1.1", &[]), instance(2, "1.2", "1.2.1.1", &[])];
    catalog.record_received(&received, NOW).await.expect("receive");
    let entered = [packed(1, 64, CopyKind::First), packed(2, 564, CopyKind::Conflict)];
    let pack = new_pack(1, "1.2", false);
    catalog.record_packed(&pack, &entered, &[], NOW).await.expect("pack");
    let before = seen(catalog, &["1.2"]).await;
    catalog.record_packed(&pack, &entered, &[], after(9)).await.expect("again");
    assert_eq!(seen(catalog, &["1.2"]).await, before);

    let location = catalog.locate(record(2)).await.expect("locate").expect("known");
    let place = location.pack.expect("packed");
    assert_eq!((place.pack_id, place.offset, place.local), (pack_id(1), 564, true));
    assert_eq!(place.study_key_id, StudyKeyId([1; 16]));
    assert_eq!(catalog.unpacked_studies().await.expect("waiting"), []);
    let in_pack = catalog.records_of_pack(pack_id(1)).await.expect("records");
    assert_eq!(in_pack.iter().map(|location| location.record_id).collect::<Vec<_>>(), [record(1), record(2)]);
    let alarms = catalog.alarms().await.expect("alarms");
    assert_eq!(alarms.len(), 1);
    assert!(
        catalog
            .clear_alarm(AlarmKind::ConflictingInstance, &record(2).to_string(), NOW)
            .await
            .expect("clear")
    );
    assert_eq!(catalog.alarms().await.expect("alarms"), []);
}

pub(super) async fn a_pack_that_came_too_late_enters_nothing(catalog: &Catalog) {
    packed_study(catalog, 1, "1.2", &[1]).await;
    catalog.record_received(&[instance(2, "1.2", "1.2.1.2", &[])], NOW).await.expect("receive");
    let before = seen(catalog, &["1.2"]).await;
    let late = new_pack(2, "1.2", false);
    // Record 2 could be packed, but record 1 is in another pack, and record 3 was never heard of.
    for stranger in [1, 3] {
        let entered = [packed(2, 0, CopyKind::First), packed(stranger, 500, CopyKind::First)];
        let refused = catalog.record_packed(&late, &entered, &[], NOW).await;
        assert!(
            matches!(refused, Err(Error::NotPackable { record_id, .. }) if record_id == record(stranger))
        );
        assert_eq!(seen(catalog, &["1.2"]).await, before, "all or nothing");
    }
    // Nor does a readable record enter a quarantine pack.
    let apart =
        catalog.record_packed(&new_pack(2, "1.2", true), &[packed(2, 0, CopyKind::First)], &[], NOW).await;
    assert!(matches!(apart, Err(Error::NotPackable { .. })));
    assert_eq!(seen(catalog, &["1.2"]).await, before);
}

pub(super) async fn copies_are_dropped_and_counted(catalog: &Catalog) {
    let received: Vec<_> = (1..=3).map(|number| instance(number, "1.2", "1.2.1.1", &[])).collect();
    catalog.record_received(&received, NOW).await.expect("receive");
    let drop = |number, same_as| DroppedCopy { record_id: record(number), same_as: record(same_as) };
    let pack = new_pack(1, "1.2", false);
    let entered = [packed(1, 0, CopyKind::First)];
    for _ in 0..2 {
        catalog.record_packed(&pack, &entered, &[drop(2, 1)], NOW).await.expect("pack");
        catalog.record_dropped(&[drop(3, 1)], NOW).await.expect("drop");
        assert_eq!(catalog.totals().await.expect("totals").copies_dropped, 2);
    }
    assert_eq!(catalog.locate(record(2)).await.expect("locate"), None);
    // A journal that still has the dropped record does not bring it back.
    assert_eq!(catalog.missing_records(&[record(2)]).await.expect("missing"), []);
    let standing = catalog.standing_of(&[record(2)]).await.expect("standing");
    assert_eq!(standing, [(record(2), Standing::Settled)]);
    catalog.record_received(&received, NOW).await.expect("receive again");
    assert_eq!(catalog.locate(record(2)).await.expect("locate"), None);

    // Nothing is dropped against a copy that is gone or damaged, or against itself.
    catalog.record_received(&[instance(4, "1.2", "1.2.1.1", &[])], NOW).await.expect("receive");
    assert!(matches!(catalog.record_dropped(&[drop(4, 9)], NOW).await, Err(Error::CopyGone { .. })));
    assert!(matches!(catalog.record_dropped(&[drop(4, 4)], NOW).await, Err(Error::CopyGone { .. })));
    catalog.mark_damaged(pack_id(1), "flipped bit", NOW).await.expect("damage");
    assert!(matches!(catalog.record_dropped(&[drop(4, 1)], NOW).await, Err(Error::CopyGone { .. })));
    assert!(catalog.locate(record(4)).await.expect("locate").is_some());
    // A packed record is never dropped: it is in a pack for good.
    catalog.record_dropped(&[drop(1, 4)], NOW).await.expect("no effect");
    assert!(catalog.locate(record(1)).await.expect("locate").is_some());
}

pub(super) async fn the_road_of_a_pack(catalog: &Catalog) {
    packed_study(catalog, 1, "1.2", &[1, 2]).await;
    packed_study(catalog, 2, "1.3", &[3]).await;
    let next = |now, exclude: Vec<_>| async move {
        catalog.claim_upload("main", now, &exclude).await.expect("claim").map(|pack| pack.pack_id)
    };
    assert_eq!(next(NOW, vec![]).await, Some(pack_id(1)), "oldest first");
    assert_eq!(next(NOW, vec![pack_id(1)]).await, Some(pack_id(2)));
    assert_eq!(next(NOW, vec![pack_id(1), pack_id(2)]).await, None);

    for _ in 0..2 {
        catalog.upload_failed(pack_id(1), "main", "no route", after(30), after(1)).await.expect("fail");
        let pack = catalog.pack(pack_id(1)).await.expect("pack").expect("known");
        assert_eq!(
            (pack.state, pack.attempts, pack.next_try_at),
            (InstanceState::Retrying, 1, Some(after(30)))
        );
    }
    let retrying = catalog.retrying(9).await.expect("retrying");
    assert_eq!(retrying.iter().map(|pack| pack.reason.as_deref()).collect::<Vec<_>>(), [Some("no route")]);
    assert_eq!(catalog.next_retry_at("main").await.expect("retry"), Some(after(30)));
    assert_eq!(catalog.next_retry_at("second").await.expect("retry"), None);
    let elsewhere = catalog.claim_upload("second", after(1), &[]).await.expect("claim");
    assert_eq!(elsewhere.map(|pack| pack.pack_id), Some(pack_id(1)), "one placement holds up no other");
    assert_eq!(next(after(29), vec![pack_id(2)]).await, None, "not due");
    assert_eq!(next(after(30), vec![]).await, Some(pack_id(1)));
    let counts = catalog.counts_by_state().await.expect("counts");
    assert_eq!(
        (counts.get(&InstanceState::Retrying), counts.get(&InstanceState::Packed)),
        (Some(&2), Some(&1))
    );

    for _ in 0..2 {
        assert!(!catalog.record_uploaded(pack_id(1), "main", BOTH, after(31)).await.expect("upload"));
        assert_eq!(next(after(60), vec![pack_id(2)]).await, None, "it is there");
        let wanting = catalog.claim_upload("second", after(60), &[pack_id(2)]).await.expect("claim");
        assert_eq!(wanting.map(|pack| pack.pack_id), Some(pack_id(1)), "one placement is wanting");
    }
    for _ in 0..2 {
        assert!(catalog.record_uploaded(pack_id(1), "second", BOTH, after(32)).await.expect("upload"));
        for placement in BOTH {
            let waiting = catalog.claim_verification(placement, after(32), &[]).await.expect("claim");
            assert_eq!(waiting.map(|pack| (pack.pack_id, pack.reason)), Some((pack_id(1), None)));
        }
    }
    assert_eq!(catalog.claim_verification("main", after(32), &[pack_id(1)]).await.expect("claim"), None);
    assert!(!catalog.record_evicted(pack_id(1)).await.expect("evict"), "uploaded is not verified");

    for _ in 0..2 {
        assert!(!prove(catalog, 1, "main", BOTH, after(33)).await);
    }
    assert_eq!(catalog.outgoing(9).await.expect("outbox"), []);
    for _ in 0..2 {
        assert!(prove(catalog, 1, "second", BOTH, after(34)).await);
        let pack = catalog.pack(pack_id(1)).await.expect("pack").expect("known");
        assert_eq!(pack.state, InstanceState::Uploaded, "no log names it yet");
        assert_eq!(catalog.outgoing(9).await.expect("outbox"), [stated(1)], "once, whatever is repeated");
        assert_eq!(
            catalog.claim_verification("second", after(34), &[]).await.expect("claim"),
            None,
            "it is proven"
        );
    }
    assert!(!catalog.record_evicted(pack_id(1)).await.expect("evict"), "nor is it to be given up");
    for (moment, newly) in [(35, 1), (99, 0)] {
        assert_eq!(
            catalog.record_logged(&[stated(1).fact_id], LOGGED, after(moment)).await.expect("log"),
            newly
        );
        assert!(prove(catalog, 1, "second", BOTH, after(moment)).await);
        assert_eq!(
            catalog.count_outgoing().await.expect("outbox"),
            0,
            "what is verified is not stated again"
        );
        // An answer to an upload that comes late does not move it back.
        catalog.record_uploaded(pack_id(1), "second", BOTH, after(moment)).await.expect("upload");
        let pack = catalog.pack(pack_id(1)).await.expect("pack").expect("known");
        assert_eq!(pack.state, InstanceState::Verified);
        assert_eq!(pack.placements.iter().filter_map(|place| place.verified_at).max(), Some(after(34)));
    }
    let states: Vec<_> = catalog
        .records_of_study("1.2")
        .await
        .expect("records")
        .iter()
        .map(|location| location.state)
        .collect();
    assert_eq!(states, [InstanceState::Verified; 2]);
    eviction(catalog).await;
}

async fn prove(catalog: &Catalog, pack: u8, placement: &str, required: &[&str], at: Timestamp) -> bool {
    catalog.record_proven(pack_id(pack), placement, required, &stated(pack), at).await.expect("prove")
}

/// Pack 1 is verified, pack 2 is not.
async fn eviction(catalog: &Catalog) {
    let evictable = || async { catalog.evictable(false, 0, 10).await.expect("evictable") };
    assert_eq!(evictable().await.iter().map(|pack| pack.pack_id).collect::<Vec<_>>(), [pack_id(1)]);
    catalog.record_uploaded(pack_id(2), "main", MAIN, NOW).await.expect("upload");
    prove(catalog, 2, "main", MAIN, NOW).await;
    catalog.record_logged(&[stated(2).fact_id], LOGGED, NOW).await.expect("log");
    catalog.record_read(&[pack_id(9), pack_id(1)], after(100)).await.expect("read");
    let order: Vec<_> = evictable().await.iter().map(|pack| pack.pack_id).collect();
    assert_eq!(order, [pack_id(2), pack_id(1)], "the one read longest ago goes first");
    for _ in 0..2 {
        assert!(catalog.record_evicted(pack_id(2)).await.expect("evict"));
    }
    let known = catalog.known_packs().await.expect("packs");
    assert_eq!(known.iter().map(|pack| pack.local).collect::<Vec<_>>(), [true, false]);
    assert_eq!(catalog.totals().await.expect("totals").local_pack_bytes, 10_000);
    assert_eq!(evictable().await.len(), 1);
    let progress = catalog.study_progress(1).await.expect("progress");
    assert_eq!(progress.iter().map(|study| study.study_instance_uid.as_str()).collect::<Vec<_>>(), ["1.3"]);
    let named = catalog.progress_of_studies(&["1.2", "9.9", "1.3"]).await.expect("progress");
    let uids: Vec<&str> = named.iter().map(|study| study.study_instance_uid.as_str()).collect();
    assert_eq!(uids, ["1.2", "1.3"], "what nobody knows is left out");
    assert_eq!(named[1], progress[0]);
}

pub(super) async fn a_placement_that_failed_is_uploaded_again(catalog: &Catalog) {
    packed_study(catalog, 1, "1.2", &[1]).await;
    catalog.record_uploaded(pack_id(1), "main", MAIN, after(1)).await.expect("upload");
    catalog.placement_failed(pack_id(1), "main", "digest differs", after(5), after(2)).await.expect("fail");
    let pack = catalog.claim_upload("main", after(5), &[]).await.expect("claim").expect("due");
    assert_eq!((pack.reason.as_deref(), pack.placements.len()), (Some("digest differs"), 0));
    // A proof for a placement that is forgotten proves nothing.
    assert!(!prove(catalog, 1, "main", MAIN, after(6)).await);
    catalog.record_uploaded(pack_id(1), "main", MAIN, after(6)).await.expect("upload");
    assert!(prove(catalog, 1, "main", MAIN, after(7)).await);
    assert!(!prove(catalog, 1, "main", &[], after(7)).await, "of none");
    // Found wanting before the log accepted it: it goes its way again, and is stated again.
    catalog.placement_failed(pack_id(1), "main", "gone", after(9), after(8)).await.expect("fail");
    assert_eq!(catalog.record_logged(&[stated(1).fact_id], LOGGED, after(9)).await.expect("log"), 0);
    catalog.record_uploaded(pack_id(1), "main", MAIN, after(10)).await.expect("upload");
    assert!(prove(catalog, 1, "main", MAIN, after(11)).await);
    assert_eq!(catalog.record_logged(&[stated(1).fact_id], LOGGED, after(12)).await.expect("log"), 1);
    let unknown = catalog.record_uploaded(pack_id(9), "main", MAIN, NOW).await;
    assert!(matches!(unknown, Err(Error::UnknownPack(id)) if id == pack_id(9)));
}

pub(super) async fn damage_is_an_alarm(catalog: &Catalog) {
    packed_study(catalog, 1, "1.2", &[1]).await;
    for _ in 0..2 {
        catalog.mark_damaged(pack_id(1), "footer does not open", NOW).await.expect("damage");
        let alarms = catalog.alarms().await.expect("alarms");
        assert_eq!(alarms.iter().map(|alarm| alarm.kind).collect::<Vec<_>>(), [AlarmKind::DamagedPack]);
    }
    assert_eq!(
        catalog.claim_upload("main", NOW, &[]).await.expect("claim"),
        None,
        "what is damaged is not uploaded"
    );
    assert!(!catalog.record_evicted(pack_id(1)).await.expect("evict"));
    let location = catalog.locate(record(1)).await.expect("locate").expect("known");
    assert_eq!(
        (location.state, location.reason.as_deref()),
        (InstanceState::Damaged, Some("footer does not open"))
    );

    catalog.record_received(&[instance(2, "1.3", "1.3.1.1", &[])], NOW).await.expect("receive");
    for _ in 0..2 {
        catalog.mark_record_damaged(record(2), "chunk does not open", NOW).await.expect("damage");
        let location = catalog.locate(record(2)).await.expect("locate").expect("known");
        assert_eq!(location.state, InstanceState::Damaged);
    }
    assert_eq!(catalog.unpacked_studies().await.expect("waiting"), [], "nor packed");
}

pub(super) async fn study_keys_are_remembered(catalog: &Catalog) {
    let key = |number| StudyKeyId([number; 16]);
    assert_eq!(catalog.study_key("1.2", false).await.expect("key"), None);
    for _ in 0..2 {
        catalog.remember_study_key("1.2", false, key(1), NOW).await.expect("remember");
        catalog.remember_study_key("1.2", true, key(2), NOW).await.expect("remember");
    }
    assert_eq!(catalog.study_key("1.2", false).await.expect("key"), Some(key(1)));
    assert_eq!(catalog.study_key("1.2", true).await.expect("key"), Some(key(2)));
    catalog.remember_study_key("1.2", false, key(3), after(1)).await.expect("remember");
    assert_eq!(catalog.study_key("1.2", false).await.expect("key"), Some(key(3)), "the newest");
    assert_eq!(catalog.study_key("1.3", false).await.expect("key"), None);
}

/// Whatever language the database sorts by.
pub(super) async fn text_is_ordered_by_its_bytes(catalog: &Catalog) {
    packed_study(catalog, 1, "1.2", &[1]).await;
    for placement in ["b", "ä", "B", "_b", "a"] {
        catalog.record_uploaded(pack_id(1), placement, BOTH, NOW).await.expect("upload");
    }
    let placements = catalog.pack(pack_id(1)).await.expect("pack").expect("known").placements;
    let names: Vec<_> = placements.iter().map(|state| state.placement.as_str()).collect();
    assert_eq!(names, ["B", "_b", "a", "b", "ä"]);
    assert!(!catalog.clear_alarm(AlarmKind::DamagedPack, "PACK", NOW).await.expect("clear"));
}
