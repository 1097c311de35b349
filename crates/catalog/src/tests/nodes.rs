//! Two nodes on one PostgreSQL: each does its own jobs, and together they serve one copy of each instance.

use std::sync::Arc;

use filmgate_model::{InstanceState, NodeId, tags};

use crate::{
    Catalog, CatalogOptions, CopyKind, Error, PostgresOptions, Query, ReceivedInstance,
    suite::{
        self,
        postgres::TestDatabase,
        support::{LOGGED, NOW, instance, new_pack, pack_id, packed, packed_study, record, stated},
    },
};

const OTHER: NodeId = NodeId([0x4f; 16]);

async fn of_node(database: &TestDatabase, node_id: NodeId) -> Catalog {
    let options = CatalogOptions::new(suite::site(), node_id);
    Catalog::connect(&PostgresOptions::new(database.url()), &options).await.expect("catalog in PostgreSQL")
}

fn from(node_id: NodeId, mut instance: ReceivedInstance) -> ReceivedInstance {
    instance.provenance.node = node_id;
    instance
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_sees_to_its_own_records_packs_and_disk() {
    let Some(database) = TestDatabase::create().await else { return };
    let (here, there) = (of_node(&database, suite::node()).await, of_node(&database, OTHER).await);
    packed_study(&here, 1, "1.2", &[1]).await;
    here.record_received(&[instance(2, "1.2", "1.2.1.2", &[])], NOW).await.expect("receive");

    assert_eq!(there.unpacked_studies().await.expect("waiting"), []);
    assert_eq!(there.claim_upload("main", NOW, &[]).await.expect("claim"), None);
    assert_eq!(there.known_packs().await.expect("packs"), []);
    assert_eq!(there.totals().await.expect("totals").local_pack_bytes, 0);
    let seen_there = there.locate(record(1)).await.expect("locate").expect("known");
    assert_eq!(seen_there.pack.map(|pack| pack.local), Some(false), "on the other node's disk");
    assert_eq!(there.pack(pack_id(1)).await.expect("pack").map(|pack| pack.local), Some(false));
    let seen_here = here.locate(record(1)).await.expect("locate").expect("known");
    assert_eq!(seen_here.pack.map(|pack| pack.local), Some(true));
    assert_eq!(there.counts_by_state().await.expect("counts")[&InstanceState::Packed], 1, "over the site");

    here.record_uploaded(pack_id(1), "main", &["main"], NOW).await.expect("upload");
    assert_eq!(there.claim_verification("main", NOW, &[]).await.expect("claim"), None);
    here.record_proven(pack_id(1), "main", &["main"], &stated(1), NOW).await.expect("prove");
    here.record_logged(&[stated(1).fact_id], LOGGED, NOW).await.expect("log");
    assert_eq!(there.evictable(false, 0, 9).await.expect("evictable"), []);

    // A copy on the other disk is that node's to give up, and only that.
    there.record_cached(pack_id(1), NOW).await.expect("cache");
    assert_eq!(there.evictable(false, 0, 9).await.expect("evictable").len(), 1);
    let known = there.known_packs().await.expect("packs");
    assert_eq!(known.iter().map(|pack| (pack.own, pack.local)).collect::<Vec<_>>(), [(false, true)]);
    assert!(there.record_evicted(pack_id(1)).await.expect("evict"));
    assert_eq!(there.totals().await.expect("totals").local_pack_bytes, 0);
    assert_eq!(here.totals().await.expect("totals").local_pack_bytes, 10_000);
    assert!(here.pack(pack_id(1)).await.expect("pack").expect("known").local);
    let unknown = there.record_cached(pack_id(9), NOW).await;
    assert!(matches!(unknown, Err(Error::UnknownPack(_))));
    database.remove().await;
}

/// Both receive the same studies, in opposite order, at once, and pack and damage them: no deadlock, one copy served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_race_serve_each_instance_once() {
    const ROUNDS: u8 = 20;
    let Some(database) = TestDatabase::create().await else { return };
    let catalogs = [of_node(&database, suite::node()).await, of_node(&database, OTHER).await];
    let tasks: Vec<_> = catalogs
        .into_iter()
        .zip([suite::node(), OTHER])
        .zip(0_u8..)
        .map(|((catalog, node_id), side)| {
            filmgate_model::spawn(async move {
                for round in 0..ROUNDS {
                    race(&catalog, node_id, side, round).await;
                }
                catalog
            })
        })
        .collect();
    let mut catalogs = Vec::new();
    for task in tasks {
        catalogs.push(task.await.expect("neither node fails"));
    }
    let rows = catalogs[0].search_instances(&Query::new()).await.expect("search").rows;
    let mut uids: Vec<_> = rows.iter().map(|row| (&row.study_instance_uid, &row.sop_instance_uid)).collect();
    uids.sort_unstable();
    uids.dedup();
    assert_eq!((uids.len(), rows.len()), (usize::from(ROUNDS) * 6, usize::from(ROUNDS) * 6));
    let counts = catalogs[1].counts_by_state().await.expect("counts");
    assert_eq!(counts.values().sum::<u64>(), u64::from(ROUNDS) * 12, "each arrival is counted once");
    assert_eq!(counts[&InstanceState::Damaged], u64::from(ROUNDS) * 2);
    database.remove().await;
}

/// Six instances of two studies and two patients, from the front on one node and from the back on the other.
async fn race(catalog: &Catalog, node_id: NodeId, side: u8, round: u8) {
    let number = |place: u8| side * 120 + round * 6 + place + 1;
    let mut received: Vec<_> = (0..6_u8)
        .map(|place| {
            let study = format!("1.{round}.{}", place % 2);
            let patient = format!("P{}", place % 2);
            let facts = [(tags::PATIENT_ID, patient.as_str())];
            from(node_id, instance(number(place), &study, &format!("{study}.1.{place}"), &facts))
        })
        .collect();
    if side == 1 {
        received.reverse();
    }
    catalog.record_received(&received, NOW).await.expect("receive");
    let study = format!("1.{round}.0");
    let entered = [0, 2, 4].map(|place| packed(number(place), u64::from(place) * 500, CopyKind::First));
    catalog
        .record_packed(&new_pack(side * 100 + round + 1, &study, false), &entered, &[], NOW)
        .await
        .expect("pack");
    catalog.mark_record_damaged(record(number(1)), "flipped", NOW).await.expect("damage");
}

/// The database is away for a while: operations fail as ones to be tried again, and then go on by themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_cut_is_an_error_to_try_again() {
    let Some(database) = TestDatabase::create().await else { return };
    let catalog = Arc::new(of_node(&database, suite::node()).await);
    packed_study(&catalog, 1, "1.2", &[1]).await;
    for _ in 0..3 {
        database.cut_connections().await;
        let cut = catalog.record_received(&[instance(2, "1.2", "1.2.1.2", &[])], NOW).await;
        if let Err(error) = cut {
            assert!(matches!(error, Error::Away { .. }) && !error.is_permanent(), "{error:?}");
        }
    }
    // Each connection of the pool fails once at most.
    let mut tries = 0;
    while let Err(error) = catalog.record_received(&[instance(2, "1.2", "1.2.1.2", &[])], NOW).await {
        assert!(!error.is_permanent(), "{error:?}");
        tries += 1;
        assert!(tries < 20, "{error:?}");
    }
    assert_eq!(catalog.instances_of_study("1.2").await.expect("list").len(), 2);
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_keep_a_catalog_is_refused() {
    let Some(database) = TestDatabase::create().await else { return };
    let connect = async |url: String| {
        let options = CatalogOptions::new(suite::site(), suite::node());
        Catalog::connect(&PostgresOptions::new(url), &options).await.err().expect("refused")
    };
    let url = database.url();
    let nobody = connect(url.replace(database.name(), "filmgate_no_such_database")).await;
    assert!(matches!(nobody, Error::Connect(_)) && nobody.is_permanent(), "{nobody:?}");
    let nonsense = connect("postgres://secret:password@[".to_owned()).await;
    assert!(matches!(nonsense, Error::PostgresUrl) && nonsense.is_permanent());
    assert!(!format!("{nonsense:?}{nonsense}").contains("secret"), "no password is told");
    database.alter("synchronous_commit = off").await;
    let unsynced = connect(url).await;
    assert!(matches!(unsynced, Error::Unfit { what } if what.contains("synchronous_commit")), "{unsynced:?}");
    database.remove().await;
}
