//! What only a file can show: it is encrypted, a wrong key is refused, a commit survives, readers see it.

use std::path::Path;

use filmgate_model::{InstanceState, tags};

use super::KEY;
use crate::{
    Catalog, CatalogOptions, Error, Query,
    engine::{query, row::get},
    suite::{
        options,
        support::{NOW, instance, pack_id, packed_study, record},
    },
};

const NAME: &str = "Encrypted^Zebedäus";
const ACCESSION: &str = "ACC-0815-4711";

async fn open(path: &Path) -> Catalog {
    Catalog::open(path, &KEY, &options()).await.expect("open")
}

fn holds(folder: &Path, needle: &[u8]) -> bool {
    let files = std::fs::read_dir(folder).expect("folder");
    files
        .map(|file| std::fs::read(file.expect("entry").path()).expect("read"))
        .any(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
}

#[tokio::test]
async fn neither_file_nor_wal_holds_plaintext() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("catalog.db");
    let catalog = open(&path).await;
    let facts = [(tags::PATIENT_NAME, NAME), (tags::ACCESSION_NUMBER, ACCESSION)];
    catalog.record_received(&[instance(1, "1.2", "1.2.1.1", &facts)], NOW).await.expect("receive");
    let wal = std::fs::metadata(folder.path().join("catalog.db-wal")).expect("a WAL").len();
    assert!(wal > 0, "the rows are in the WAL now");
    let needles = [NAME.as_bytes(), ACCESSION.as_bytes(), b"index_studies", b"SQLite format 3"];
    for needle in needles {
        assert!(!holds(folder.path(), needle), "{} in the WAL", String::from_utf8_lossy(needle));
    }
    catalog.close().await.expect("close");
    for needle in needles {
        assert!(!holds(folder.path(), needle), "{} in the file", String::from_utf8_lossy(needle));
    }
    let catalog = open(&path).await;
    let row = catalog.search_studies(&Query::new()).await.expect("search").rows.pop().expect("the study");
    assert_eq!(row.patient_name.as_deref(), Some(NAME));
}

#[tokio::test]
async fn a_wrong_key_is_refused_with_advice() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("catalog.db");
    open(&path).await.close().await.expect("close");
    let before = std::fs::read(&path).expect("read");
    for key in [[0; 32], [0x5b; 32]] {
        let error = Catalog::open(&path, &key, &options()).await.err().expect("refused");
        assert!(matches!(error, Error::WrongKey { .. }), "{error}");
        assert!(error.is_permanent() && error.to_string().contains("bring back the key"), "{error}");
    }
    assert_eq!(std::fs::read(&path).expect("read"), before, "and the file is as it was");
    std::fs::write(&path, b"not a catalog at all, and long enough to look like one".repeat(100))
        .expect("write");
    assert!(matches!(Catalog::open(&path, &KEY, &options()).await.err(), Some(Error::WrongKey { .. })));
    let nowhere = Catalog::open(&folder.path().join("no/such/folder.db"), &KEY, &options()).await.err();
    assert!(matches!(&nowhere, Some(error @ Error::Open { .. }) if !error.is_permanent()), "{nowhere:?}");
}

/// A commit that returned is in the file or its WAL: a copy of both, taken while the catalog is open, has it.
#[tokio::test]
async fn what_was_committed_survives_without_a_close() {
    let (folder, copy) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    let catalog = open(&folder.path().join("catalog.db")).await;
    packed_study(&catalog, 1, "1.2", &[1, 2, 3]).await;
    for name in ["catalog.db", "catalog.db-wal"] {
        std::fs::copy(folder.path().join(name), copy.path().join(name)).expect("copy");
    }
    let copied = open(&copy.path().join("catalog.db")).await;
    assert_eq!(copied.instances_of_study("1.2").await.expect("list").len(), 3);
}

#[tokio::test]
async fn those_who_read_share_the_memory_for_pages() {
    let folder = tempfile::tempdir().expect("folder");
    let options = CatalogOptions { readers: 2, pages_bytes: 64 << 20, ..options() };
    let catalog = Catalog::open(&folder.path().join("catalog.db"), &KEY, &options).await.expect("open");
    let mut reader = catalog.engine.reader().await.expect("a reader");
    let row = query("PRAGMA cache_size").fetch_one(&mut reader).await.expect("a row");
    // KiB, below zero.
    assert_eq!(get::<i64>(&row, "cache_size").expect("a number"), -(32 << 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_go_on_while_others_write() {
    let folder = tempfile::tempdir().expect("folder");
    let catalog = std::sync::Arc::new(open(&folder.path().join("catalog.db")).await);
    let tasks: Vec<_> = (0..8_u8)
        .map(|task| {
            let catalog = catalog.clone();
            filmgate_model::spawn(async move {
                for step in 0..20_u8 {
                    let number = task * 20 + step + 1;
                    let received = instance(number, "1.2", &format!("1.2.1.{number}"), &[]);
                    catalog.record_received(&[received], NOW).await.expect("receive");
                    assert!(
                        catalog.locate(record(number)).await.expect("locate").is_some(),
                        "own writes are seen"
                    );
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("task");
    }
    assert_eq!(catalog.search_instances(&Query::new()).await.expect("search").rows.len(), 160);
}

/// Files of earlier schemas open, and what they knew is known: `fixtures/catalog` is a promise.
#[tokio::test]
async fn files_of_earlier_schemas_open() {
    for schema in ["0001", "0002"] {
        let fixture =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../fixtures/catalog/{schema}.db"));
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("catalog.db");
        std::fs::copy(fixture, &path).expect("a fixture");
        for _ in 0..2 {
            let catalog = open(&path).await;
            what_a_fixture_knows(&catalog).await;
            catalog.close().await.expect("close");
        }
    }
}

/// Two verified packs, the second of them evicted, and a damaged record.
async fn what_a_fixture_knows(catalog: &Catalog) {
    let packs = catalog.known_packs().await.expect("packs");
    let known: Vec<_> = packs.iter().map(|pack| (pack.pack_id, pack.own, pack.local)).collect();
    assert_eq!(known, [(pack_id(1), true, true), (pack_id(2), true, false)]);
    assert_eq!(catalog.totals().await.expect("totals").local_pack_bytes, 10_000);
    assert_eq!(catalog.evictable(false, 0, 9).await.expect("evictable").len(), 1);
    let counts = catalog.counts_by_state().await.expect("counts");
    assert_eq!((counts[&InstanceState::Verified], counts[&InstanceState::Damaged]), (3, 1));
    let place = catalog.locate(record(2)).await.expect("locate").expect("known").pack.expect("packed");
    assert_eq!((place.pack_id, place.offset, place.local, place.placed), (pack_id(1), 1000, true, true));
    let pack = catalog.pack(pack_id(1)).await.expect("pack").expect("known");
    assert!(pack.placements.iter().all(|placement| placement.verified_at.is_some()));
    let query = Query::new().matching(tags::PATIENT_NAME, "old*").expect("query");
    let rows = catalog.search_studies(&query).await.expect("search").rows;
    assert_eq!(rows.iter().map(|row| (row.series, row.instances)).collect::<Vec<_>>(), [(1, 2)]);
    assert_eq!(catalog.alarms().await.expect("alarms").len(), 1);
}
