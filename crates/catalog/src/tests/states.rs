//! Random operations in random order: states move only along the table, each operation run twice changes nothing
//! more, nothing answers twice, and only what is verified leaves the disk.

use std::collections::{BTreeMap, BTreeSet};

use filmgate_model::{InstanceState, PackId, RecordId, Timestamp};
use proptest::{prelude::*, test_runner::TestRunner};

use super::{empty, memory, postgres};
use crate::{
    Catalog, CopyKind, DroppedCopy, Query,
    engine::{
        query,
        row::{unsigned, word},
    },
    may_become,
    suite::postgres::TestDatabase,
    suite::support::{LOGGED, NOW, instance, new_pack, pack_id, packed, quarantined, record, seen, stated},
};

const STUDIES: [&str; 2] = ["1.1", "1.2"];
const RECORDS: u8 = 6;
const PACKS: u8 = 4;

#[derive(Debug, Clone)]
enum Operation {
    Receive { record: u8, quarantine: bool },
    Pack { pack: u8, study: usize, quarantine: bool, kind: CopyKind },
    Drop { record: u8, same_as: u8 },
    Quarantine { record: u8 },
    DamageRecord { record: u8 },
    Upload { pack: u8 },
    Fail { pack: u8 },
    FailPlacement { pack: u8 },
    Verify { pack: u8 },
    Log { pack: u8 },
    Damage { pack: u8 },
    Evict { pack: u8 },
    Read { pack: u8 },
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let (record, pack) = (1..=RECORDS, 1..=PACKS);
    let kind = prop_oneof![Just(CopyKind::First), Just(CopyKind::Variant), Just(CopyKind::Conflict)];
    prop_oneof![
        4 => (record.clone(), any::<bool>()).prop_map(|(record, quarantine)| Receive { record, quarantine }),
        4 => (pack.clone(), 0..STUDIES.len(), any::<bool>(), kind)
            .prop_map(|(pack, study, quarantine, kind)| Pack { pack, study, quarantine, kind }),
        1 => (record.clone(), record.clone()).prop_map(|(record, same_as)| Drop { record, same_as }),
        1 => record.clone().prop_map(|record| Quarantine { record }),
        1 => record.prop_map(|record| DamageRecord { record }),
        3 => pack.clone().prop_map(|pack| Upload { pack }),
        2 => pack.clone().prop_map(|pack| Fail { pack }),
        1 => pack.clone().prop_map(|pack| FailPlacement { pack }),
        3 => pack.clone().prop_map(|pack| Verify { pack }),
        3 => pack.clone().prop_map(|pack| Log { pack }),
        1 => pack.clone().prop_map(|pack| Damage { pack }),
        2 => pack.clone().prop_map(|pack| Evict { pack }),
        1 => pack.prop_map(|pack| Read { pack }),
    ]
}

/// Records come in pairs of one SOP Instance UID, so that copies meet.
fn received(number: u8, quarantine: bool) -> crate::ReceivedInstance {
    let study = STUDIES[usize::from(number) % 2];
    let instance = instance(number, study, &format!("{study}.1.{}", number % 4), &[]);
    if quarantine { quarantined(instance) } else { instance }
}

/// Runs one operation; refusals are fine, the catalog must only stay in order.
async fn apply(catalog: &Catalog, operation: &Operation, at: Timestamp) {
    let main = &["main"];
    match *operation {
        Operation::Receive { record, quarantine } => {
            catalog.record_received(&[received(record, quarantine)], at).await.expect("receive");
        }
        Operation::Pack { pack, study, quarantine, kind } => {
            let waiting = catalog.records_to_pack(STUDIES[study], quarantine, 1200).await.expect("records");
            let entered: Vec<_> = waiting
                .iter()
                .zip(1..)
                .map(|(next, number)| packed(next.record_id.0[0], number * 500, kind))
                .collect();
            let known = catalog.pack(pack_id(pack)).await.expect("pack").is_some();
            if !entered.is_empty() && !known {
                let pack = new_pack(pack, STUDIES[study], quarantine);
                catalog.record_packed(&pack, &entered, &[], at).await.expect("pack");
            }
        }
        Operation::Drop { record: number, same_as } => {
            let copy = DroppedCopy { record_id: record(number), same_as: record(same_as) };
            catalog.record_dropped(&[copy], at).await.ok();
        }
        Operation::Quarantine { record: number } => {
            catalog.quarantine(record(number), "odd", at).await.expect("quarantine");
        }
        Operation::DamageRecord { record: number } => {
            catalog.mark_record_damaged(record(number), "flipped", at).await.expect("damage");
        }
        Operation::Upload { pack } => drop(catalog.record_uploaded(pack_id(pack), "main", main, at).await),
        Operation::Fail { pack } => {
            drop(catalog.upload_failed(pack_id(pack), "main", "no route", at, at).await)
        }
        Operation::FailPlacement { pack } => {
            drop(catalog.placement_failed(pack_id(pack), "main", "differs", at, at).await);
        }
        Operation::Verify { pack } => {
            drop(catalog.record_proven(pack_id(pack), "main", main, &stated(pack), at).await);
        }
        Operation::Log { pack } => {
            catalog.record_logged(&[stated(pack).fact_id], LOGGED, at).await.expect("log");
        }
        Operation::Damage { pack } => drop(catalog.mark_damaged(pack_id(pack), "flipped", at).await),
        Operation::Evict { pack } => drop(catalog.record_evicted(pack_id(pack)).await),
        Operation::Read { pack } => catalog.record_read(&[pack_id(pack)], at).await.expect("read"),
    }
}

type States = (BTreeMap<RecordId, InstanceState>, BTreeMap<PackId, (InstanceState, bool)>);

async fn states(catalog: &Catalog) -> States {
    let mut records = BTreeMap::new();
    for study in STUDIES {
        for location in catalog.records_of_study(study).await.expect("records") {
            records.insert(location.record_id, location.state);
        }
    }
    let packs = catalog.known_packs().await.expect("packs");
    (records, packs.into_iter().map(|pack| (pack.pack_id, (pack.state, pack.local))).collect())
}

fn check_moves(before: &States, after: &States, operation: &Operation) {
    for (record, from) in &before.0 {
        let Some(to) = after.0.get(record) else {
            assert!(matches!(operation, Operation::Drop { .. }), "{record} vanished");
            continue;
        };
        assert!(from == to || may_become(*from, *to), "{record}: {from} to {to}");
    }
    for (record, state) in &after.0 {
        let starts = matches!(state, InstanceState::Received | InstanceState::Quarantined);
        assert!(before.0.contains_key(record) || starts, "{record} began as {state}");
    }
    for (pack, (from, was_local)) in &before.1 {
        let (to, local) = after.1.get(pack).expect("packs stay");
        assert!(from == to || may_become(*from, *to), "{pack}: {from} to {to}");
        assert!(
            *local || !was_local || *from == InstanceState::Verified,
            "{pack} left the disk while {from}"
        );
    }
}

/// What is kept of counts is what counting gives.
async fn check_counts(catalog: &Catalog) {
    let kept = catalog.sums_by_state().await.expect("sums");
    let counted = query(
        "SELECT state, COUNT(*) AS instances, CAST(SUM(dataset_bytes) AS BIGINT) AS bytes FROM index_instances
         GROUP BY state",
    )
    .fetch_all(&mut catalog.engine.writer().await.expect("writer"))
    .await
    .expect("counted");
    let mut expected: BTreeMap<_, _> = kept.keys().map(|state| (*state, (0, 0))).collect();
    for row in &counted {
        let sums = (unsigned(row, "instances").expect("sum"), unsigned(row, "bytes").expect("sum"));
        expected.insert(word(row, "state").expect("a state"), sums);
    }
    let kept: BTreeMap<_, _> =
        kept.into_iter().map(|(state, count)| (state, (count.instances, count.dataset_bytes))).collect();
    assert_eq!(kept, expected);
}

async fn check_answers(catalog: &Catalog) {
    let page = catalog.search_instances(&Query::new()).await.expect("search");
    let uids: BTreeSet<_> =
        page.rows.iter().map(|row| (&row.study_instance_uid, &row.sop_instance_uid)).collect();
    assert_eq!(uids.len(), page.rows.len(), "nothing answers twice");
    for row in &page.rows {
        let shown = catalog.locate(row.record_id).await.expect("locate").expect("known");
        assert!(
            !shown.quarantine && shown.state != InstanceState::Quarantined,
            "{} is kept apart",
            row.record_id
        );
        let (study, sop) = (Some(shown.study_instance_uid.as_str()), shown.sop_instance_uid.as_str());
        let served = catalog.served_instance(study, None, sop).await.expect("served").expect("one");
        assert_eq!(served.record_id, row.record_id);
        let copies = catalog.copies_of(&[sop]).await.expect("copies");
        // One that opens comes before one that does not, whatever else it is.
        let rank = |state, copy_kind| (state == InstanceState::Damaged, copy_kind);
        let mut others = copies.iter().filter(|copy| !copy.quarantine && copy.packed && shown.pack.is_some());
        assert!(
            others.all(|copy| rank(copy.state, copy.copy_kind) >= rank(shown.state, shown.copy_kind)),
            "{} is not the best copy",
            row.record_id
        );
    }
    // Each study and series that shows has an instance that shows.
    let studies = catalog.search_studies(&Query::new()).await.expect("search").rows;
    let shown: BTreeSet<_> = page.rows.iter().map(|row| row.study_instance_uid.as_str()).collect();
    assert_eq!(studies.iter().map(|row| row.study_instance_uid.as_str()).collect::<BTreeSet<_>>(), shown);
    assert_eq!(studies.iter().map(|row| row.instances).sum::<u64>(), page.rows.len() as u64);
}

async fn check(catalog: &Catalog, operations: &[Operation]) {
    for (operation, step) in operations.iter().zip(1..) {
        let at = Timestamp(NOW.0 + step);
        let before = states(catalog).await;
        apply(catalog, operation, at).await;
        check_moves(&before, &states(catalog).await, operation);
        check_answers(catalog).await;
        check_counts(catalog).await;
        // Packing again would take the next records; every other operation repeats itself exactly.
        if !matches!(operation, Operation::Pack { .. }) {
            let once = seen(catalog, &STUDIES).await;
            apply(catalog, operation, at).await;
            assert_eq!(seen(catalog, &STUDIES).await, once, "{operation:?} twice");
        }
    }
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    prop::collection::vec(operation(), 1..40)
}

#[test]
fn operations_in_any_order_keep_the_catalog_in_order() {
    let mut runner = TestRunner::new(ProptestConfig { cases: 64, ..ProptestConfig::default() });
    runner
        .run(&operations(), |operations| {
            futures::executor::block_on(async { check(&memory().await, &operations).await });
            Ok(())
        })
        .expect("order");
}

#[test]
fn operations_in_any_order_keep_postgresql_in_order() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let Some(database) = runtime.block_on(TestDatabase::create()) else { return };
    let catalog = runtime.block_on(postgres::open(&database));
    let mut runner = TestRunner::new(ProptestConfig { cases: 12, ..ProptestConfig::default() });
    runner
        .run(&operations(), |operations| {
            runtime.block_on(async {
                empty(&catalog).await;
                check(&catalog, &operations).await;
            });
            Ok(())
        })
        .expect("order");
    runtime.block_on(database.remove());
}
