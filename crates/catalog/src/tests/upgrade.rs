//! A catalog that an older version filled: what searches need beside the text is made when it is opened.

use filmgate_model::tags;
use sqlx::{AssertSqlSafe, Connection, Executor};

use super::{KEY, postgres};
use crate::{
    Catalog, Query,
    engine::{migrations_before, old_file},
    suite::{options, postgres::TestDatabase},
};

/// The first migration that the older version did not have.
const SEARCH: i64 = 40;
const STUDIES: usize = 1203;

fn rows(blob: impl Fn(u8) -> String) -> Vec<String> {
    let mut statements = Vec::new();
    for number in 0..STUDIES {
        let (site, record) = (blob(0x51), format!("{number:032x}"));
        let record = blob(0x52).replace(&"52".repeat(16), &record);
        statements.push(format!(
            "INSERT INTO index_studies (site_id, study_instance_uid, patient_id, patient_name, patient_name_folded,
                study_date, accession_number, first_received_at)
             VALUES ({site}, '1.2.{number}', 'P{number}', 'Wang^Nr{number}=王^小{number}', '=old=', '20240101',
                'ACC{number}', {number})"
        ));
        let modality = if number % 3 == 0 { "CT" } else { "MR" };
        statements.push(format!(
            "INSERT INTO index_series (site_id, study_instance_uid, series_instance_uid, modality)
             VALUES ({site}, '1.2.{number}', '1.2.{number}.1', '{modality}')"
        ));
        statements.push(format!(
            "INSERT INTO index_instances (record_id, site_id, node_id, study_instance_uid, series_instance_uid,
                sop_instance_uid, sop_class_uid, transfer_syntax_uid, dataset_bytes, record_bytes, dataset_sha256,
                received_at, calling_ae, called_ae, peer, door, state, state_at, quarantine, served)
             VALUES ({record}, {site}, {site}, '1.2.{number}', '1.2.{number}.1', '1.2.{number}.1.1', '1.2', '1.2', 1, 1,
                {site}, 1, '', '', '', 'c-store', 'received', 1, FALSE, TRUE)"
        ));
    }
    statements
}

async fn check(catalog: &Catalog) {
    for (tag, text, found) in [
        (tags::PATIENT_NAME, "*小1200*", 1),
        (tags::PATIENT_NAME, "*王*", STUDIES),
        (tags::PATIENT_NAME, "wang^nr7", 1),
        (tags::PATIENT_ID, "*120*", 5),
        (tags::ACCESSION_NUMBER, "*CC1202", 1),
        (tags::MODALITIES_IN_STUDY, "CT", STUDIES / 3),
    ] {
        let query = Query::new().matching(tag, text).expect("can be asked");
        assert_eq!(catalog.search_studies(&query).await.expect("search").rows.len(), found, "{text}");
    }
    let fuzzy = Query::new().fuzzy(true).matching(tags::PATIENT_NAME, "nr55 wan").expect("can be asked");
    assert_eq!(
        catalog.search_studies(&fuzzy).await.expect("search").rows.len(),
        11,
        "nr55 and nr550 to nr559"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_file_is_searched_like_a_new_one() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("catalog.db");
    let mut old = old_file(&path, &KEY, SEARCH).await;
    let insert = rows(|byte| format!("X'{}'", format!("{byte:02x}").repeat(16))).join(";\n");
    old.execute(AssertSqlSafe(format!("BEGIN;\n{insert};\nCOMMIT"))).await.expect("old rows");
    old.close().await.expect("close");
    let catalog = Catalog::open(&path, &KEY, &options()).await.expect("catalog");
    check(&catalog).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_database_is_searched_like_a_new_one() {
    let Some(database) = TestDatabase::create().await else { return };
    let mut old = sqlx::PgConnection::connect(&database.url()).await.expect("connect");
    migrations_before(SEARCH).run_direct(None, &mut old, false).await.expect("old schema");
    let insert = rows(|byte| format!("'\\x{}'::bytea", format!("{byte:02x}").repeat(16))).join(";\n");
    old.execute(AssertSqlSafe(format!("BEGIN;\n{insert};\nCOMMIT"))).await.expect("old rows");
    old.close().await.expect("close");
    let catalog = postgres::open(&database).await;
    check(&catalog).await;
    drop(catalog);
    database.remove().await;
}
