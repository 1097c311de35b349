//! The suite over a real PostgreSQL, and what only several nodes on one database can show.

use std::sync::Mutex;

use crate::{
    Catalog, PostgresOptions,
    suite::{self, options, postgres::TestDatabase},
};

pub(super) async fn open(database: &TestDatabase) -> Catalog {
    Catalog::connect(&PostgresOptions::new(database.url()), &options()).await.expect("catalog in PostgreSQL")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suite_in_postgresql() {
    let Some(first) = TestDatabase::create().await else { return };
    let databases = Mutex::new(vec![first]);
    suite::run(|| async {
        let database = TestDatabase::create().await.expect("there was a server");
        let catalog = open(&database).await;
        databases.lock().expect("not poisoned").push(database);
        catalog
    })
    .await;
    for database in databases.into_inner().expect("not poisoned") {
        database.remove().await;
    }
}

/// Whoever comes second finds the schema made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_together_make_one_schema() {
    let Some(database) = TestDatabase::create().await else { return };
    let starts: Vec<_> = (0..6).map(|_| open(&database)).collect();
    for catalog in futures::future::join_all(starts).await {
        assert_eq!(catalog.engine_name(), "postgresql");
        catalog.close().await.expect("close");
    }
    database.remove().await;
}
