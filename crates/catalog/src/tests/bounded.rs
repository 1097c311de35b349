//! A search that takes too long is ended, and the connection serves on.

use std::time::Duration;

use filmgate_model::tags;

use super::KEY;
use crate::{
    Catalog, CatalogOptions, Error, PostgresOptions, Query,
    engine::query,
    suite::{
        options,
        postgres::TestDatabase,
        support::{NOW, instance},
    },
};

const STUDIES: u8 = 250;
/// So often there are twice as many: looking at 64,000 studies takes either database longer than a millisecond.
const DOUBLED: u32 = 8;

async fn fill(catalog: &Catalog) {
    let received: Vec<_> = (1..=STUDIES)
        .map(|number| instance(number, &format!("1.{number}"), &format!("1.{number}.1.1"), &[]))
        .collect();
    catalog.record_received(&received, NOW).await.expect("receive");
    let mut writer = catalog.engine.writer().await.expect("writer");
    for time in 1..=DOUBLED {
        query(
            "INSERT INTO index_studies (site_id, study_instance_uid, study_id, first_received_at, folded_by)
             SELECT site_id, study_instance_uid || $1, 'S', first_received_at, 1 FROM index_studies",
        )
        .bind(format!(".9.{time}"))
        .execute(&mut writer)
        .await
        .expect("more studies");
    }
}

async fn check(catalog: &Catalog) {
    // No index knows it, so that all studies are looked at.
    let broad = Query::new().matching(tags::STUDY_ID, "*nothing has this*").expect("a query");
    for _ in 0..6 {
        let ended = catalog.search_studies(&broad).await;
        assert!(matches!(ended, Err(Error::TookTooLong { doing: "search studies" })), "{ended:?}");
    }
    let standings = catalog.standing_of(&[]).await.expect("the connections serve on");
    assert_eq!(standings, []);
    assert_eq!(catalog.instances_of_study("1.1").await.expect("list").len(), 1);
}

fn hasty() -> CatalogOptions {
    CatalogOptions { search_time_max: Duration::from_micros(1), ..options() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_ends_a_search_in_time() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("catalog.db");
    let catalog = Catalog::open(&path, &KEY, &hasty()).await.expect("catalog");
    fill(&catalog).await;
    check(&catalog).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_ends_a_search_in_time() {
    let Some(database) = TestDatabase::create().await else { return };
    let catalog = Catalog::connect(&PostgresOptions::new(database.url()), &hasty()).await.expect("catalog");
    fill(&catalog).await;
    check(&catalog).await;
    drop(catalog);
    database.remove().await;
}
