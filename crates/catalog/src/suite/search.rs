use filmgate_model::{RecordId, Tag, tags};

use super::support::{NOW, instance, quarantined};
use crate::{AttributeValues, Catalog, Error, InstanceAttributes, Query, ReceivedInstance, engine::query};

/// Studies found by one key, by their UIDs in order of text.
async fn found(catalog: &Catalog, tag: Tag, text: &str) -> Vec<String> {
    studies(catalog, &Query::new().matching(tag, text).expect("a value that can be matched")).await
}

/// Studies found, likewise.
async fn studies(catalog: &Catalog, query: &Query) -> Vec<String> {
    let page = catalog.search_studies(query).await.expect("search");
    let mut uids: Vec<_> = page.rows.into_iter().map(|row| row.study_instance_uid).collect();
    uids.sort_unstable();
    uids
}

async fn enter(catalog: &Catalog, studies: &[(&str, &[(Tag, &str)])]) {
    let received: Vec<_> = studies
        .iter()
        .zip(1..)
        .map(|((study, facts), number)| instance(number, study, &format!("{study}.1.{number}"), facts))
        .collect();
    catalog.record_received(&received, NOW).await.expect("receive");
}

pub(super) async fn names(catalog: &Catalog) {
    enter(
        catalog,
        &[
            ("1.1", &[(tags::PATIENT_NAME, "Wang^XiaoDong=王^小东"), (tags::PATIENT_ID, "100%_A")]),
            ("1.2", &[(tags::PATIENT_NAME, "王^小丽^^"), (tags::PATIENT_ID, "100xyA")]),
            ("1.3", &[(tags::PATIENT_NAME, "WANGLER^Hans"), (tags::PATIENT_ID, "p%")]),
            ("1.4", &[(tags::PATIENT_NAME, "Müller_!^Änne"), (tags::PATIENT_ID, "P%")]),
        ],
    )
    .await;
    let name = async |text: &str| found(catalog, tags::PATIENT_NAME, text).await;
    assert_eq!(name("王*").await, ["1.1", "1.2"], "in whatever component group");
    assert_eq!(name("王^小?").await, ["1.1", "1.2"]);
    assert_eq!(name("王^小东").await, ["1.1"]);
    assert_eq!(name("王^小丽").await, ["1.2"], "empty trailing components do not count");
    assert_eq!(name("wang*").await, ["1.1", "1.3"], "case does not count");
    assert_eq!(name("WANG^*").await, ["1.1"]);
    assert_eq!(name("Wang^*=王^*").await, ["1.1"]);
    assert_eq!(name("=王*").await, ["1.1"], "asked of the second group alone");
    assert_eq!(name("müller_!^*").await, ["1.4"]);
    assert_eq!(name("M%").await, Vec::<String>::new(), "a percent sign is a percent sign");
    assert_eq!(name("*小*").await, ["1.1", "1.2"]);
    assert_eq!(name("王").await, Vec::<String>::new(), "without a wildcard all of it counts");
    assert_eq!(name("*").await.len(), 4);

    let id = async |text: &str| found(catalog, tags::PATIENT_ID, text).await;
    assert_eq!(id("100%_A").await, ["1.1"]);
    assert_eq!(id("100%_*").await, ["1.1"]);
    assert_eq!(id("100??A").await, ["1.1", "1.2"]);
    assert_eq!(id("p*").await, ["1.3"], "case counts in everything but names");
    assert_eq!(id("P%").await, ["1.4"]);
    let row = catalog.search_studies(&Query::new().within_study("1.2")).await.expect("search").rows.pop();
    assert_eq!(row.and_then(|row| row.patient_name).as_deref(), Some("王^小丽^^"), "answered as received");
}

pub(super) async fn dates_times_and_numbers(catalog: &Catalog) {
    enter(
        catalog,
        &[
            (
                "1.1",
                &[(tags::STUDY_DATE, "20240131"), (tags::STUDY_TIME, "1030"), (tags::SERIES_NUMBER, "7 ")],
            ),
            (
                "1.2",
                &[
                    (tags::STUDY_DATE, "2024.02.01"),
                    (tags::STUDY_TIME, "105959.5"),
                    (tags::SERIES_NUMBER, "x"),
                ],
            ),
            ("1.3", &[(tags::STUDY_DATE, "20250101"), (tags::STUDY_TIME, "110000")]),
            ("1.4", &[]),
        ],
    )
    .await;
    let date = async |text: &str| found(catalog, tags::STUDY_DATE, text).await;
    assert_eq!(date("20240101-20241231").await, ["1.1", "1.2"]);
    assert_eq!(date("20240131-20240201").await, ["1.1", "1.2"], "both ends included");
    assert_eq!(date("-20240131").await, ["1.1"]);
    assert_eq!(date("20240201-").await, ["1.2", "1.3"]);
    assert_eq!(date("20240201").await, ["1.2"]);
    assert_eq!(date("").await.len(), 4);
    let time = async |text: &str| found(catalog, tags::STUDY_TIME, text).await;
    assert_eq!(time("1030-1059").await, ["1.1", "1.2"], "the whole last minute");
    assert_eq!(time("10").await, ["1.1", "1.2"]);
    assert_eq!(time("11:00").await, ["1.3"]);
    assert_eq!(found(catalog, tags::SERIES_NUMBER, "07").await, ["1.1"]);
    let refused = Query::new().matching(tags::STUDY_DATE, "yesterday");
    assert!(matches!(refused, Err(Error::Unmatchable { tag: tags::STUDY_DATE })));
}

pub(super) async fn lists_levels_and_counts(catalog: &Catalog) {
    let mut received = vec![
        instance(1, "1.1", "1.1.1.1", &[(tags::INSTANCE_NUMBER, "10"), (tags::STUDY_DESCRIPTION, "Thorax")]),
        instance(2, "1.1", "1.1.1.2", &[(tags::INSTANCE_NUMBER, "9")]),
        instance(3, "1.1", "1.1.2.1", &[(tags::SERIES_INSTANCE_UID, "1.1.2"), (tags::MODALITY, "SR")]),
        instance(4, "1.2", "1.2.1.1", &[(tags::MODALITY, "MR")]),
        instance(5, "1.1", "1.1.1.1", &[]),
    ];
    received.push(quarantined(instance(6, "1.1", "1.1.1.6", &[(tags::MODALITY, "PT")])));
    catalog.record_received(&received, NOW).await.expect("receive");

    assert_eq!(found(catalog, tags::MODALITIES_IN_STUDY, "SR").await, ["1.1"]);
    assert_eq!(found(catalog, tags::MODALITIES_IN_STUDY, "MR,SR").await, ["1.1", "1.2"]);
    assert_eq!(found(catalog, tags::MODALITIES_IN_STUDY, "PT").await, Vec::<String>::new());
    assert_eq!(found(catalog, tags::STUDY_INSTANCE_UID, "1.2,1.9").await, ["1.2"]);
    assert_eq!(
        found(catalog, tags::STUDY_INSTANCE_UID, "1.?").await,
        Vec::<String>::new(),
        "no patterns in UIDs"
    );
    assert_eq!(found(catalog, tags::SOP_INSTANCE_UID, "1.2.1.1").await, ["1.2"]);
    assert_eq!(found(catalog, tags::STUDY_DESCRIPTION, "Tho*x").await, ["1.1"]);

    let row = catalog.search_studies(&Query::new().within_study("1.1")).await.expect("search").rows.pop();
    let row = row.expect("the study");
    assert_eq!((row.series, row.instances, row.modalities), (2, 3, vec!["CT".to_owned(), "SR".to_owned()]));

    let series = catalog.search_series(&Query::new().within_study("1.1")).await.expect("search");
    let listed: Vec<_> =
        series.rows.iter().map(|row| (row.series_instance_uid.as_str(), row.instances)).collect();
    assert_eq!(listed, [("1.1.1", 2), ("1.1.2", 1)]);
    assert!(series.rows.iter().all(|row| row.study.is_none()), "the query names the study");
    let all =
        Query::new().matching(tags::PATIENT_ID, "P1").and_then(|query| query.matching(tags::MODALITY, "MR"));
    let series = catalog.search_series(&all.expect("query")).await.expect("search");
    let studies: Vec<_> =
        series.rows.iter().filter_map(|row| row.study.as_ref()).map(|study| study.instances).collect();
    assert_eq!(studies, [1]);

    let within = Query::new().within_study("1.1").within_series("1.1.1");
    let instances = catalog.search_instances(&within).await.expect("search");
    let numbers: Vec<_> = instances.rows.iter().map(|row| row.instance_number).collect();
    assert_eq!(numbers, [Some(9), Some(10)], "as numbers, and each UID once");
    let sr = Query::new().matching(tags::MODALITIES_IN_STUDY, "SR").expect("query");
    let instances = catalog.search_instances(&sr).await.expect("search");
    assert_eq!(instances.rows.len(), 3, "all of the study that has one");
    assert!(instances.rows.iter().all(|row| row.study.is_some() && row.series.is_some()));

    let odd = Query::new().matching(tags::PATIENT_WEIGHT, "70").expect("query");
    assert_eq!(odd.ignored(), [vec![tags::PATIENT_WEIGHT]]);
    assert_eq!(catalog.search_studies(&odd).await.expect("search").rows.len(), 2);
}

pub(super) async fn pages_are_stable(catalog: &Catalog) {
    let dated: Vec<_> = (1..=7).map(|day| (format!("1.{day}"), format!("2024010{}", day % 3 + 1))).collect();
    for ((study, date), number) in dated.iter().zip(1..) {
        let received = instance(number, study, &format!("{study}.1.1"), &[(tags::STUDY_DATE, date)]);
        catalog.record_received(&[received], NOW).await.expect("receive");
    }
    let uids = async |limit, offset| {
        let page = catalog.search_studies(&Query::new().page(limit, offset)).await.expect("search");
        (page.rows.into_iter().map(|row| row.study_instance_uid).collect::<Vec<_>>(), page.more)
    };
    let (all, more) = uids(100, 0).await;
    assert_eq!(
        (all.as_slice(), more),
        (["1.5", "1.2", "1.7", "1.4", "1.1", "1.6", "1.3"].map(String::from).as_slice(), false)
    );
    let (first, more) = uids(3, 0).await;
    assert_eq!((first.as_slice(), more), (&all[..3], true));
    let (rest, more) = uids(4, 3).await;
    assert_eq!((rest.as_slice(), more), (&all[3..], false));
    assert_eq!(uids(4, 99).await, (Vec::new(), false));
    assert_eq!(uids(0, 0).await, (Vec::new(), true));
}

pub(super) async fn fuzzy_names(catalog: &Catalog) {
    enter(
        catalog,
        &[
            ("1.1", &[(tags::PATIENT_NAME, "Wang^XiaoDong=王^小东")]),
            ("1.2", &[(tags::PATIENT_NAME, "Müller-Lüdenscheidt^Änne")]),
            ("1.3", &[(tags::PATIENT_NAME, "O'Brien^Wanda")]),
        ],
    )
    .await;
    let name = async |text: &str| {
        let query = Query::new().fuzzy(true).matching(tags::PATIENT_NAME, text).expect("a name");
        let page = catalog.search_studies(&query).await.expect("search");
        let mut uids: Vec<_> = page.rows.into_iter().map(|row| row.study_instance_uid).collect();
        uids.sort_unstable();
        uids
    };
    assert_eq!(name("wan").await, ["1.1", "1.3"], "the beginning of any word");
    assert_eq!(name("XIAODONG WANG").await, ["1.1"], "in any order");
    assert_eq!(name("wangxiao").await, ["1.1"], "or of a group in one piece");
    assert_eq!(name("王小").await, ["1.1"]);
    assert_eq!(name("东").await, ["1.1"], "anywhere in a script without spaces");
    assert_eq!(name("anne muller").await, ["1.2"], "without accents");
    assert_eq!(name("Ludenscheidt").await, ["1.2"]);
    assert_eq!(name("obrien").await, ["1.3"]);
    assert_eq!(name("ang").await, Vec::<String>::new());
    assert_eq!(name("*ang").await, ["1.1"], "anywhere behind an asterisk");
    assert_eq!(name("wang li").await, Vec::<String>::new(), "every word counts");
}

pub(super) async fn moments(catalog: &Catalog) {
    let day = |date, time| [(tags::STUDY_DATE, date), (tags::STUDY_TIME, time)];
    enter(
        catalog,
        &[
            ("1.1", &day("20240101", "0700")),
            ("1.2", &day("20240101", "2300")),
            ("1.3", &day("20240102", "0300")),
            ("1.4", &day("20240103", "0700")),
            ("1.5", &day("20240103", "")),
            ("1.6", &day("20240102", "")),
        ],
    )
    .await;
    let within = async |combining: bool| {
        let query = Query::new()
            .combining_dates_and_times(combining)
            .matching(tags::STUDY_DATE, "20240101-20240103")
            .and_then(|query| query.matching(tags::STUDY_TIME, "0800-1000"));
        let page = catalog.search_studies(&query.expect("a query")).await.expect("search");
        page.rows.into_iter().map(|row| row.study_instance_uid).collect::<Vec<_>>()
    };
    assert_eq!(
        within(true).await,
        ["1.4", "1.3", "1.6", "1.2"],
        "from eight of the first day to ten of the last"
    );
    assert_eq!(within(false).await, Vec::<String>::new(), "between eight and ten of any of the days");
}

pub(super) async fn what_a_study_learns_later_is_found(catalog: &Catalog) {
    enter(catalog, &[("1.1", &[(tags::PATIENT_ID, "")])]).await;
    assert_eq!(found(catalog, tags::PATIENT_NAME, "*小*").await, Vec::<String>::new());
    let late = [
        (tags::PATIENT_NAME, "Wang^Xiao=王^小"),
        (tags::ACCESSION_NUMBER, "ACC77"),
        (tags::STUDY_DESCRIPTION, "胸部平扫"),
    ];
    let received = instance(2, "1.1", "1.1.1.2", &late);
    catalog.record_received(&[received], NOW).await.expect("receive");
    for (tag, text) in [
        (tags::PATIENT_NAME, "*小*"),
        (tags::PATIENT_NAME, "*g^x*"),
        (tags::PATIENT_ID, "*1*"),
        (tags::ACCESSION_NUMBER, "*C7*"),
        (tags::STUDY_DESCRIPTION, "*部平*"),
    ] {
        assert_eq!(found(catalog, tag, text).await, ["1.1"], "{text}");
    }
    assert_eq!(found(catalog, tags::STUDY_DESCRIPTION, "*平部*").await, Vec::<String>::new());
}

/// A modality and a date are found together whichever of them was told first.
pub(super) async fn modalities_within_dates(catalog: &Catalog) {
    let tell = async |number: u8, study: &str, said: &[(Tag, &str)]| {
        let sop = format!("{study}.1.{number}");
        catalog.record_received(&[instance(number, study, &sop, said)], NOW).await.expect("receive");
    };
    tell(1, "1.1", &[(tags::MODALITY, "MR"), (tags::STUDY_DATE, "")]).await;
    tell(2, "1.1", &[(tags::STUDY_DATE, "20240131")]).await;
    tell(3, "1.2", &[(tags::MODALITY, ""), (tags::STUDY_DATE, "20240201")]).await;
    tell(4, "1.2", &[(tags::MODALITY, "MR")]).await;
    tell(5, "1.3", &[(tags::MODALITY, "CT"), (tags::STUDY_DATE, "20240201")]).await;
    tell(6, "1.4", &[(tags::MODALITY, "MR"), (tags::STUDY_DATE, "20250101")]).await;
    for (modalities, dates, expected) in [
        ("MR", "20240131-20240201", &["1.1", "1.2"][..]),
        ("MR", "20240201-", &["1.2", "1.4"]),
        ("MR", "-20240131", &["1.1"]),
        ("CT,MR", "20240201", &["1.2", "1.3"]),
        ("CT,MR,SR", "", &["1.1", "1.2", "1.3", "1.4"]),
        ("M", "20240101-20241231", &[]),
        ("SR", "20240101-20241231", &[]),
    ] {
        let query = Query::new().matching(tags::MODALITIES_IN_STUDY, modalities);
        let query = query.and_then(|query| query.matching(tags::STUDY_DATE, dates)).expect("query");
        assert_eq!(studies(catalog, &query).await, expected, "{modalities} {dates}");
    }
}

/// Pages of a modality among more studies than are looked at in one go, beside what the order of the answer is.
pub(super) async fn the_newest_of_a_modality(catalog: &Catalog) {
    const STUDIES: usize = 900;
    let date = |number: usize| format!("{}{:02}{:02}", 2020 + number % 4, 1 + number % 12, 1 + number % 28);
    let modality = |number: usize| if number.is_multiple_of(3) { "MR" } else { "CT" };
    let name = |number: usize| if number.is_multiple_of(50) { "Rare^Anna" } else { "Common^Hans" };
    let received: Vec<_> = (0..STUDIES)
        .map(|number| {
            let study = format!("1.7.{number:04}");
            let said = [
                (tags::STUDY_DATE, &*date(number)),
                (tags::MODALITY, modality(number)),
                (tags::PATIENT_NAME, name(number)),
            ];
            let record_id = RecordId((number as u128 + 1).to_be_bytes());
            ReceivedInstance { record_id, ..instance(1, &study, &format!("{study}.1.1"), &said) }
        })
        .collect();
    for some in received.chunks(300) {
        catalog.record_received(some, NOW).await.expect("receive");
    }
    for (asked, piece, from, to) in [
        ("CT", "", "", ""),
        ("MR", "", "", ""),
        ("CT", "omm", "", ""),
        ("CT", "ommon^h", "20210101", "20221231"),
        ("MR", "are", "", ""),
        ("CT", "mm", "20200601", ""),
        ("MR", "", "", "20211231"),
        ("CT,MR", "omm", "20230101", ""),
        ("US", "omm", "", ""),
    ] {
        let mut expected: Vec<(String, String)> = (0..STUDIES)
            .filter(|&number| asked.split(',').any(|asked| asked == modality(number)))
            .filter(|&number| name(number).to_lowercase().contains(piece))
            .filter(|&number| {
                (from.is_empty() || *date(number) >= *from) && (to.is_empty() || *date(number) <= *to)
            })
            .map(|number| (date(number), format!("1.7.{number:04}")))
            .collect();
        expected.sort_by(|one, other| other.cmp(one));
        for (limit, offset) in [(5, 0), (20, 0), (20, 30), (101, 0), (400, 100), (1000, 0)] {
            let mut query = Query::new().matching(tags::MODALITIES_IN_STUDY, asked).expect("query");
            for (tag, text) in [
                (tags::PATIENT_NAME, format!("*{piece}*")),
                (
                    tags::STUDY_DATE,
                    if from.len() + to.len() > 0 { format!("{from}-{to}") } else { String::new() },
                ),
            ] {
                query = query.matching(tag, &text).expect("query");
            }
            let page = catalog.search_studies(&query.page(limit, offset)).await.expect("search");
            let found: Vec<_> = page.rows.into_iter().map(|row| row.study_instance_uid).collect();
            let (limit, offset) = (limit as usize, offset as usize);
            let here = expected.iter().skip(offset).take(limit).map(|(_, study)| study.clone());
            assert_eq!(found, here.collect::<Vec<_>>(), "{asked} {piece} {from}-{to}, {limit} from {offset}");
            assert_eq!(page.more, expected.len() > offset + limit);
        }
    }
}

/// Whoever may see some studies finds these, whatever they ask for.
pub(super) async fn only_the_studies_of_a_list(catalog: &Catalog) {
    enter(catalog, &[("1.1", &[]), ("1.2", &[]), ("1.3", &[])]).await;
    let of = |uids: &[&str]| Query::new().of_studies(uids.iter().map(|uid| (*uid).to_owned()));
    assert_eq!(studies(catalog, &of(&["1.1", "1.3", "1.9"])).await.len(), 2);
    assert_eq!(studies(catalog, &of(&[])).await, Vec::<String>::new());
    let both = of(&["1.1"]).matching(tags::STUDY_INSTANCE_UID, "1.1,1.2").expect("query");
    assert_eq!(studies(catalog, &both).await, ["1.1"]);
    let other = of(&["1.1"]).within_study("1.2");
    assert_eq!(studies(catalog, &other).await, Vec::<String>::new());
    for query in [of(&["1.2"]), of(&["1.2"]).page(1, 0)] {
        let series = catalog.search_series(&query).await.expect("search").rows;
        let instances = catalog.search_instances(&query).await.expect("search").rows;
        assert!(series.iter().all(|row| row.study_instance_uid == "1.2") && !series.is_empty());
        assert!(instances.iter().all(|row| row.study_instance_uid == "1.2") && !instances.is_empty());
    }
}

pub(super) async fn a_series_without_instances_answers_for_nothing(catalog: &Catalog) {
    let received = [
        instance(1, "1.1", "1.1.1.1", &[]),
        instance(2, "1.1", "1.1.2.1", &[(tags::SERIES_INSTANCE_UID, "1.1.2"), (tags::MODALITY, "SR")]),
    ];
    catalog.record_received(&received, NOW).await.expect("receive");
    assert_eq!(found(catalog, tags::MODALITIES_IN_STUDY, "SR").await, ["1.1"]);
    let mut writer = catalog.engine.writer().await.expect("writer");
    let gone = "UPDATE index_instances SET served = FALSE WHERE sop_instance_uid = '1.1.2.1'";
    query(gone).execute(&mut writer).await.expect("delete");
    drop(writer);
    assert_eq!(found(catalog, tags::MODALITIES_IN_STUDY, "SR").await, Vec::<String>::new());
    assert_eq!(found(catalog, tags::MODALITIES_IN_STUDY, "CT").await, ["1.1"]);
}

pub(super) async fn attributes_within_sequences(catalog: &Catalog) {
    let received = [instance(1, "1.1", "1.1.1.1", &[]), instance(2, "1.2", "1.2.1.1", &[])];
    catalog.record_received(&received, NOW).await.expect("receive");
    let path = [tags::REQUEST_ATTRIBUTES_SEQUENCE, tags::REQUESTED_PROCEDURE_ID];
    let kept = catalog.attributes();
    let attribute = kept.iter().find(|kept| kept.path == path).expect("kept in any case");
    let stated = |study: &str, values: &[(u64, &str)]| InstanceAttributes {
        study_instance_uid: study.to_owned(),
        series_instance_uid: format!("{study}.1"),
        sop_instance_uid: format!("{study}.1.1"),
        attributes: vec![AttributeValues {
            attribute: attribute.clone(),
            values: values.iter().map(|(number, value)| (*number, (*value).to_owned())).collect(),
        }],
    };
    let first = [stated("1.1", &[(0, "R1"), (2, "R3")]), stated("1.2", &[(0, "R1")])];
    catalog.record_attributes(&first).await.expect("attributes");
    catalog.record_attributes(&[stated("1.2", &[(0, "R9"), (1, "R10")])]).await.expect("once more");
    for (text, studies) in
        [("R1", &["1.1", "1.2"][..]), ("R3", &["1.1"]), ("R*", &["1.1", "1.2"]), ("R9", &[])]
    {
        let query = catalog.query().matching_path(&path, text).expect("a key");
        assert!(query.ignored().is_empty());
        let page = catalog.search_series(&query).await.expect("search");
        let found: Vec<_> = page.rows.iter().map(|row| row.study_instance_uid.as_str()).collect();
        assert_eq!(found, studies, "{text}");
    }
    let page = catalog.search_series(&Query::new().within_study("1.1")).await.expect("search");
    let values: Vec<_> =
        page.rows.iter().flat_map(|row| &row.attributes).map(|one| one.values.clone()).collect();
    assert_eq!(values, [[(0, "R1".to_owned()), (2, "R3".to_owned())]]);
}
