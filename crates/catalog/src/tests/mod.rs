//! The suite over SQLite in memory, in an encrypted file, and PostgreSQL; and what only one of them can show.

mod bounded;
mod differential;
mod file;
mod model;
mod nodes;
mod postgres;
mod reference;
mod states;
mod upgrade;

use filmgate_model::{Timestamp, tags};
use futures::FutureExt;

use crate::{
    Catalog, CopyKind, Query,
    engine::query,
    suite::{self, options, support},
};

pub(crate) const KEY: [u8; 32] = [0x5a; 32];

pub(crate) async fn memory() -> Catalog {
    Catalog::in_memory(&options()).await.expect("catalog in memory")
}

/// Empties a catalog for the next random case.
async fn empty(catalog: &Catalog) {
    catalog.wipe_index().await.expect("wipe");
    let mut writer = catalog.engine.writer().await.expect("writer");
    query("DELETE FROM book_alarms").execute(&mut writer).await.expect("delete");
}

#[tokio::test]
async fn suite_in_memory() {
    suite::run(memory).await;
}

#[tokio::test]
async fn suite_in_memory_blocking() {
    suite::run(|| async {
        let mut options = options();
        options.blocking = true;
        Catalog::in_memory(&options).await.expect("catalog in memory")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suite_in_an_encrypted_file() {
    let folder = tempfile::tempdir().expect("folder");
    let number = std::sync::atomic::AtomicUsize::new(0);
    suite::run(|| async {
        let next = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = folder.path().join(format!("{next}.db"));
        Catalog::open(&path, &KEY, &options()).await.expect("catalog in a file")
    })
    .await;
}

/// In blocking mode the first poll is the last, also past tokio's budget of a task.
#[tokio::test]
async fn blocking_operations_are_ready_at_once() {
    let mut options = options();
    options.blocking = true;
    let catalog = Catalog::in_memory(&options).now_or_never().expect("ready").expect("catalog");
    for number in 1..=200 {
        let received = support::instance(number, "1.2", &format!("1.2.1.{number}"), &[]);
        catalog.record_received(&[received], support::NOW).now_or_never().expect("ready").expect("receive");
    }
    let entered = [support::packed(1, 0, CopyKind::First)];
    let pack = support::new_pack(1, "1.2", false);
    catalog.record_packed(&pack, &entered, &[], support::NOW).now_or_never().expect("ready").expect("pack");
    catalog.claim_upload("main", support::NOW, &[]).now_or_never().expect("ready").expect("claim");
    let query = Query::new().matching(tags::PATIENT_ID, "P*").expect("query");
    let page = catalog.search_instances(&query).now_or_never().expect("ready").expect("search");
    assert_eq!(page.rows.len(), 200);
    assert_eq!(
        catalog.oldest_unverified().now_or_never().expect("ready").expect("oldest"),
        Some(Timestamp(support::NOW.0 + 1))
    );
}
