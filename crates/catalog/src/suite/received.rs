use filmgate_model::{Facts, Identity, InstanceState, tags};

use super::support::{
    LOGGED, NOW, instance, new_pack, pack_id, packed, packed_study, provenance, quarantined, record, seen,
    stated,
};
use crate::{
    Catalog, CopyKind, Query, Standing,
    engine::{AssertSqlSafe, query, row::unsigned},
};

pub(super) async fn arrivals_are_entered_once(catalog: &Catalog) {
    let received = [instance(1, "1.2", "1.2.1.1", &[]), instance(2, "1.2", "1.2.1.2", &[])];
    catalog.record_received(&received, NOW).await.expect("receive");
    let before = seen(catalog, &["1.2"]).await;
    catalog.record_received(&received, NOW.plus(std::time::Duration::from_secs(5))).await.expect("again");
    assert_eq!(seen(catalog, &["1.2"]).await, before, "what is known stays as it is");

    let missing = catalog.missing_records(&[record(1), record(9), record(2)]).await.expect("missing");
    assert_eq!(missing, [record(9)]);
    let location = catalog.locate(record(1)).await.expect("locate").expect("known");
    assert_eq!(
        (location.state, location.dataset_bytes, location.pack),
        (InstanceState::Received, 1000, None)
    );
    assert_eq!(location.received_at, provenance(1).received_at);
    assert_eq!(catalog.locate(record(9)).await.expect("locate"), None);
    assert_eq!(catalog.oldest_unverified().await.expect("oldest"), Some(provenance(1).received_at));
}

pub(super) async fn the_first_arrival_is_served(catalog: &Catalog) {
    // Two arrivals of one UID before either is packed, then the second turns out to be something else.
    let received = [instance(2, "1.2", "1.2.1.1", &[]), instance(1, "1.2", "1.2.1.1", &[])];
    catalog.record_received(&received, NOW).await.expect("receive");
    let served = || async { catalog.served_instance(Some("1.2"), None, "1.2.1.1").await.expect("served") };
    assert_eq!(served().await.expect("one").record_id, record(2), "by arrival, not by id");
    assert_eq!(catalog.instances_of_study("1.2").await.expect("list").len(), 1);

    let entered = [packed(2, 0, CopyKind::First), packed(1, 500, CopyKind::Conflict)];
    catalog.record_packed(&new_pack(1, "1.2", false), &entered, &[], NOW).await.expect("pack");
    assert_eq!(served().await.expect("one").record_id, record(2));
    assert_eq!(catalog.alarms().await.expect("alarms").len(), 1, "a conflict is an alarm");

    // The same UID in another study answers there, and never twice in one.
    catalog.record_received(&[instance(3, "1.3", "1.2.1.1", &[])], NOW).await.expect("receive");
    let copies = catalog.copies_of(&["1.2.1.1"]).await.expect("copies");
    let kinds: Vec<_> = copies.iter().map(|copy| (copy.record_id, copy.copy_kind)).collect();
    let (first, conflict) = (CopyKind::First, CopyKind::Conflict);
    assert_eq!(kinds, [(record(2), first), (record(1), conflict), (record(3), first)]);
    assert_eq!(catalog.instances_of_study("1.3").await.expect("list").len(), 1);
    let anywhere = catalog.served_instance(None, None, "1.2.1.1").await.expect("served").expect("one");
    assert_eq!(anywhere.record_id, record(2));
    assert_eq!(
        catalog.records_of_study("1.2").await.expect("records").len(),
        2,
        "export sees the conflict too"
    );
}

pub(super) async fn quarantined_arrivals_stay_out_of_sight(catalog: &Catalog) {
    let broken = quarantined(instance(1, "1.2", "1.2.1.1", &[]));
    catalog.record_received(&[broken], NOW).await.expect("receive");
    assert_eq!(catalog.served_instance(None, None, "1.2.1.1").await.expect("served"), None);
    assert_eq!(catalog.search_studies(&Query::new()).await.expect("search").rows, []);

    // A good copy arrives later and is served; one that turns out broken makes way for the next.
    let good = [instance(2, "1.2", "1.2.1.1", &[]), instance(3, "1.2", "1.2.1.1", &[])];
    catalog.record_received(&good, NOW).await.expect("receive");
    catalog.quarantine(record(2), "unreadable after all", NOW).await.expect("quarantine");
    let served = catalog.served_instance(None, None, "1.2.1.1").await.expect("served").expect("one");
    assert_eq!(served.record_id, record(3));

    // Quarantined records go in packs of their own and stay what they are.
    let studies = catalog.studies_to_pack(NOW, 0, 1, 0).await.expect("studies");
    let listed: Vec<_> = studies.iter().map(|study| (study.quarantine, study.records)).collect();
    assert_eq!(listed, [(false, 1), (true, 2)]);
    let entered = [packed(1, 0, CopyKind::First), packed(2, 500, CopyKind::First)];
    catalog.record_packed(&new_pack(1, "1.2", true), &entered, &[], NOW).await.expect("pack");
    let location = catalog.locate(record(1)).await.expect("locate").expect("known");
    assert_eq!(location.state, InstanceState::Quarantined);
    assert_eq!(location.pack.map(|pack| pack.pack_id), Some(pack_id(1)));
    catalog.record_uploaded(pack_id(1), "main", &["main"], NOW).await.expect("upload");
    catalog.record_proven(pack_id(1), "main", &["main"], &stated(1), NOW).await.expect("verify");
    catalog.record_logged(&[stated(1).fact_id], LOGGED, NOW).await.expect("log");
    let location = catalog.locate(record(1)).await.expect("locate").expect("known");
    assert_eq!(location.state, InstanceState::Quarantined, "in the bucket and still kept apart");
    assert_eq!(catalog.totals().await.expect("totals").quarantine_bytes, 1000);
    let apart = catalog.quarantined(9).await.expect("quarantined");
    assert_eq!(apart.iter().map(|location| location.record_id).collect::<Vec<_>>(), [record(2), record(1)]);
    assert_eq!(catalog.search_instances(&Query::new()).await.expect("search").rows.len(), 1);
}

pub(super) async fn records_without_identifiers_share_no_patient(catalog: &Catalog) {
    let mut received = Vec::new();
    for (number, name) in [(1, "Known^One"), (2, "Other^Two")] {
        let mut nameless = instance(number, "", "", &[(tags::PATIENT_NAME, name), (tags::PATIENT_ID, "")]);
        nameless.identity = Identity::of(record(number), &Facts::default(), &nameless.provenance);
        received.push(nameless);
    }
    catalog.record_received(&received, NOW).await.expect("receive");
    let page = catalog.search_studies(&Query::new()).await.expect("search");
    let mut names: Vec<_> = page.rows.iter().filter_map(|row| row.patient_name.as_deref()).collect();
    names.sort_unstable();
    assert_eq!(names, ["Known^One", "Other^Two"], "each with its own synthetic study and its own name");
}

pub(super) async fn sites_and_wipes(catalog: &Catalog) {
    packed_study(catalog, 1, "1.2", &[1, 2]).await;
    catalog.mark_damaged(pack_id(1), "footer does not open", NOW).await.expect("damage");
    let walked = catalog.records_after(None, 1).await.expect("walk");
    assert_eq!(walked.iter().map(|location| location.record_id).collect::<Vec<_>>(), [record(1)]);
    let walked = catalog.records_after(Some(record(1)), 9).await.expect("walk");
    assert_eq!(walked.iter().map(|location| location.record_id).collect::<Vec<_>>(), [record(2)]);
    assert_eq!(catalog.unpacked_after(None, 9).await.expect("walk"), []);
    assert_eq!(catalog.packs_by_age().await.expect("packs"), [pack_id(1)]);
    let standings = catalog.standing_of(&[record(1), record(9)]).await.expect("standing");
    assert_eq!(standings, [(record(1), Standing::Settled), (record(9), Standing::Unknown)]);

    catalog.wipe_index().await.expect("wipe");
    catalog.wipe_index().await.expect("wipe again");
    let sums = catalog.sums_by_state().await.expect("sums");
    assert!(sums.values().all(|count| count.instances == 0 && count.dataset_bytes == 0));
    assert_eq!(catalog.known_packs().await.expect("packs"), []);
    assert_eq!(catalog.locate(record(1)).await.expect("locate"), None);
    assert_eq!(catalog.alarms().await.expect("alarms").len(), 1, "the book half stays");
    packed_study(catalog, 1, "1.2", &[1, 2]).await;
    assert_eq!(
        catalog.instances_of_study("1.2").await.expect("list").len(),
        2,
        "and the index can be filled again"
    );
}

/// A deletion takes patient, study and series away; the journal's rows of it, entered again, do not bring them back.
pub(super) async fn what_is_known_is_not_filed_again(catalog: &Catalog) {
    let received = [instance(1, "1.2", "1.2.1.1", &[]), instance(2, "1.2", "1.2.1.2", &[])];
    catalog.record_received(&received, NOW).await.expect("receive");
    let mut writer = catalog.engine.writer().await.expect("writer");
    for table in ["index_patients", "index_studies", "index_series"] {
        query(AssertSqlSafe(format!("DELETE FROM {table}"))).execute(&mut writer).await.expect("delete");
    }
    drop(writer);
    let filed = async |table: &str| {
        let mut reader = catalog.engine.reader().await.expect("reader");
        let sql = AssertSqlSafe(format!("SELECT COUNT(*) AS rows FROM {table}"));
        let row = query(sql).fetch_one(&mut reader).await.expect("count");
        unsigned(&row, "rows").expect("a count")
    };
    catalog.record_received(&received, NOW).await.expect("again");
    for table in ["index_patients", "index_studies", "index_series"] {
        assert_eq!(filed(table).await, 0, "{table}");
    }
    // One that is new among them is filed, and only it.
    let mut more = received.to_vec();
    more.push(instance(3, "1.3", "1.3.1.1", &[(tags::PATIENT_ID, "P3")]));
    catalog.record_received(&more, NOW).await.expect("again");
    for table in ["index_patients", "index_studies", "index_series"] {
        assert_eq!(filed(table).await, 1, "{table}");
    }
}

/// PostgreSQL takes no more than 2,704 bytes into a row of an index. Half-width katakana are a byte each where they come from
/// (JIS X 0201) and three in the catalog; these do not compress.
pub(super) async fn what_is_absurdly_long_is_found_by_its_beginning(catalog: &Catalog) {
    let mut seed = 1_u32;
    let mut letter = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) as u8
    };
    let mut absurd = || (0..2000).map(|_| 0xB1 + letter() % 40).collect::<Vec<u8>>();
    let beginning = |bytes: &[u8], characters: usize| {
        let text = bytes[..characters].iter().map(|byte| char::from_u32(0xFEC0 + u32::from(*byte)));
        text.flatten().collect::<String>()
    };
    let long = [tags::PATIENT_ID, tags::ISSUER_OF_PATIENT_ID, tags::PATIENT_NAME, tags::ACCESSION_NUMBER]
        .map(|tag| (tag, absurd()));
    let uid = (0..500).map(|_| format!("{}.", 1 + letter() % 9)).collect::<String>() + "1";
    let mut received = [1, 2].map(|number| {
        let mut received = instance(number, &uid, &format!("{uid}.{number}"), &[]);
        received.facts.insert(tags::SPECIFIC_CHARACTER_SET, b"ISO_IR 13");
        received.facts.insert(tags::STUDY_DESCRIPTION, &long[0].1);
        long.iter().for_each(|(tag, value)| received.facts.insert(*tag, value));
        received
    });
    catalog.record_received(&received, NOW).await.expect("receive");
    let study = received[0].identity.study_instance_uid.clone();
    assert_eq!(catalog.instances_of_study(&study).await.expect("list").len(), 2, "in one study");
    for (tag, value) in long.iter().filter(|(tag, _)| *tag != tags::ISSUER_OF_PATIENT_ID) {
        for pattern in [beginning(value, 20) + "*", format!("*{}*", &beginning(value, 200)[60..])] {
            let query = Query::new().matching(*tag, &pattern).expect("a pattern");
            let found = catalog.search_studies(&query).await.expect("search").rows;
            assert_eq!(found.len(), 1, "{tag} {pattern}");
        }
    }
    let whole = beginning(&long[0].1, 2000);
    let query = Query::new().matching(tags::PATIENT_ID, &whole).expect("a value");
    assert_eq!(catalog.search_studies(&query).await.expect("search").rows.len(), 1, "all of it, as well");
    // It goes the way of the others.
    received.iter_mut().zip(3..).for_each(|(received, number)| received.record_id = record(number));
    catalog.record_received(&received, NOW).await.expect("copies");
    let pack = new_pack(1, &study, false);
    catalog.remember_study_key(&study, false, pack.study_key_id, NOW).await.expect("remember");
    let entered = [packed(1, 64, CopyKind::First), packed(2, 564, CopyKind::First)];
    catalog.record_packed(&pack, &entered, &[], NOW).await.expect("pack");
}
