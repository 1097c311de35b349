//! The routes over a real road: what is sent comes back byte for byte, from the journal, a pack and a bucket.

#[path = "router/copies.rs"]
mod copies;
#[path = "router/frames.rs"]
mod frames;
#[path = "router/openapi.rs"]
mod openapi;
#[path = "router/pictures.rs"]
mod pictures;
mod support;
#[path = "router/syntaxes.rs"]
mod syntaxes;

use std::time::Duration;

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use bytes::Bytes;
use filmgate_spool::Reserve;
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use support::{Gateway, dataset, fixture, fixtures, multipart};

const ANY_DICOM: &str = r#"multipart/related; type="application/dicom"; transfer-syntax=*"#;
const JSON: &str = "application/dicom+json";

/// Path of an instance, taken from what a search says of it.
fn url_of(instance: &Value) -> String {
    instance["00081190"]["Value"][0].as_str().expect("a Retrieve URL").to_owned()
}

fn uid_of(instance: &Value, tag: &str) -> String {
    instance[tag]["Value"][0].as_str().expect("a UID").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fixture_that_is_sent_comes_back_byte_for_byte() {
    let gateway = Gateway::new().await;
    let mut sent = 0;
    for entry in
        std::fs::read_dir(fixtures()).expect("fixtures").flatten().filter(|entry| entry.path().is_file())
    {
        let file = std::fs::read(entry.path()).expect("a file");
        let answer = gateway.store("/dicomweb/studies", &[&file]).await;
        assert_eq!(answer.status, StatusCode::OK, "{:?}: {}", entry.file_name(), answer.text());
        let stored = &answer.json()["00081199"]["Value"][0];
        for settled in [false, true] {
            if settled {
                gateway.settle().await;
            }
            let back = gateway.get(&url_of(stored), ANY_DICOM).await;
            assert_eq!(back.status, StatusCode::OK, "{:?}: {}", entry.file_name(), back.text());
            let parts = back.parts();
            assert_eq!(parts.len(), 1);
            assert!(
                parts[0].0.starts_with("Content-Type: application/dicom; transfer-syntax=1.2.840."),
                "{}",
                parts[0].0
            );
            assert!(parts[0].1 == file, "{:?} came back different", entry.file_name());
        }
        sent += 1;
    }
    assert!(sent > 10, "{sent} fixtures");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_comes_back_with_each_instance_once() {
    let gateway = Gateway::new().await;
    let files = [fixture("ct-head-phantom/025.dcm"), fixture("ct-head-phantom/026.dcm")];
    let all = [files[0].as_slice(), &files[1], &files[0]];
    let answer = gateway.store("/dicomweb/studies", &all).await;
    assert_eq!(answer.json()["00081199"]["Value"].as_array().map(Vec::len), Some(3), "{}", answer.text());
    let study = url_of(&answer.json());
    let series = gateway.get(&format!("{study}/series"), JSON).await.json();
    for url in [study.clone(), url_of(&series[0])] {
        for settled in [false, true] {
            if settled {
                gateway.settle().await;
            }
            let back = gateway.get(&url, "*/*").await;
            assert!(
                back.header("content-type")
                    .starts_with(r#"multipart/related; type="application/dicom"; boundary="#)
            );
            let mut datasets: Vec<_> = back.parts().into_iter().map(|(_, file)| file).collect();
            datasets.sort();
            let mut expected = files.to_vec();
            expected.sort();
            assert!(datasets == expected, "{url}");
            let metadata = gateway.get(&format!("{url}/metadata"), JSON).await;
            assert_eq!(metadata.json().as_array().map(Vec::len), Some(2));
            let found = gateway.get(&format!("{url}/instances"), JSON).await.json();
            assert_eq!(found.as_array().map(Vec::len), Some(2));
        }
    }
    assert_eq!(series[0]["00201209"]["Value"][0], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_by_name_date_and_uid() {
    let gateway = Gateway::new().await;
    for name in ["ct-small.dcm", "sc-gb18030-chinese.dcm", "mr-utf8-chinese.dcm"] {
        gateway.store("/dicomweb/studies", &[&fixture(name)]).await;
    }
    let all = gateway.get("/dicomweb/studies", JSON).await;
    assert_eq!(all.header("content-type"), JSON);
    let all = all.json();
    let all = all.as_array().expect("an array");
    assert!(all.len() >= 2, "{all:?}");
    for study in all {
        let uid = uid_of(study, "0020000D");
        for query in [
            format!("StudyInstanceUID={uid}"),
            format!("0020000D={uid},1.2.3"),
            format!("0020000d=1.2.3%5C{uid}"),
        ] {
            let found = gateway.get(&format!("/dicomweb/studies?{query}"), JSON).await.json();
            assert_eq!(found, json!([study]), "{query}");
        }
        let name = study["00100010"]["Value"][0]["Alphabetic"].as_str().expect("a name");
        let start: String = name.chars().take(2).collect();
        let query = format!("/dicomweb/series?PatientName={}*", encoded(&start.to_lowercase()));
        let found = gateway.get(&query, JSON).await.json();
        assert!(found.as_array().expect("rows").iter().any(|row| uid_of(row, "0020000D") == uid), "{query}");
    }
    let cut = gateway.get("/dicomweb/studies?limit=1&offset=0", JSON).await;
    assert!(cut.header("warning").starts_with("299 filmgate"));
    let last = gateway.get(&format!("/dicomweb/studies?limit=9&offset={}", all.len() - 1), JSON).await;
    assert_eq!(last.json(), json!([all[all.len() - 1]]));
    assert_eq!(last.header("warning"), "");
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_the_catalog_does_not_keep_come_from_the_instance() {
    let gateway = Gateway::new().await;
    gateway.store("/dicomweb/studies", &[&fixture("ct-small.dcm")]).await;
    let found = async |query: &str| gateway.get(&format!("/dicomweb/instances?{query}"), JSON).await;
    let plain = found("").await.json();
    assert_eq!(plain[0].get("00180050"), None);
    for query in [
        "includefield=SliceThickness",
        "includefield=00080060,00180050",
        "includefield=all&includefield=00180050",
    ] {
        let answer = found(query).await;
        assert_eq!(answer.header("warning"), "", "{query}");
        assert!(answer.json()[0]["00180050"]["Value"][0].is_number(), "{query}");
    }
    let unknown = found("includefield=SliceThickness,NoSuchThing").await;
    assert!(unknown.header("warning").contains("left out: NoSuchThing"));
    let studies = gateway.get("/dicomweb/studies?includefield=00180050", JSON).await;
    assert_eq!((studies.header("warning"), studies.json()[0].get("00180050")), ("", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_matched_fuzzily_when_asked() {
    let gateway = Gateway::new().await;
    for name in ["sc-gb18030-chinese.dcm", "mr-utf8-chinese.dcm"] {
        gateway.store("/dicomweb/studies", &[&fixture(name)]).await;
    }
    for study in gateway.get("/dicomweb/studies", JSON).await.json().as_array().expect("rows") {
        let name = study["00100010"]["Value"][0]["Alphabetic"].as_str().expect("a name");
        let words: Vec<&str> = name.split('^').rev().filter(|word| !word.is_empty()).collect();
        let asked = encoded(&words.join(" ").to_uppercase());
        for (fuzzy, expected) in [("true", true), ("false", words.len() == 1)] {
            let query = format!("/dicomweb/studies?PatientName={asked}&fuzzymatching={fuzzy}");
            let answer = gateway.get(&query, JSON).await;
            assert_eq!(answer.header("warning"), "");
            let found = answer.json();
            let found =
                found.as_array().expect("rows").iter().any(|row| row["0020000D"] == study["0020000D"]);
            assert_eq!(found, expected, "{query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_search_may_be_answered_as_is_weighed() {
    let gateway = Gateway::new().await;
    for (path, accept, status) in [
        ("/dicomweb/studies", "text/html, application/dicom+json;q=0.1", 200),
        ("/dicomweb/studies", "application/*;q=0.5, text/html", 200),
        ("/dicomweb/studies", "*/*, application/dicom+json;q=0, application/json;q=0", 406),
        ("/dicomweb/studies", "multipart/related; type=\"application/dicom+xml\"", 406),
        ("/dicomweb/studies?accept=application/dicom%2Bjson", "text/html", 200),
        ("/dicomweb/studies?accept=text/html", "application/dicom+json", 406),
    ] {
        let answer = gateway.get(path, accept).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {accept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_without_results_is_an_empty_array_and_nonsense_is_told() {
    let gateway = Gateway::new().await;
    let none = gateway.get("/dicomweb/studies?PatientID=nobody&includefield=all", "application/json").await;
    assert_eq!((none.status, none.json()), (StatusCode::OK, json!([])));
    let ignored = gateway.get("/dicomweb/instances?EthnicGroup=x", JSON).await;
    assert!(ignored.header("warning").contains("00102160"));
    for (path, accept, status) in [
        ("/dicomweb/studies?StudyDate=yesterday", JSON, 400),
        ("/dicomweb/studies?limit=some", JSON, 400),
        ("/dicomweb/studies", "application/dicom+xml", 406),
        ("/dicomweb/studies/1.2.3", ANY_DICOM, 404),
        ("/dicomweb/studies/1.2.3/metadata", JSON, 404),
        ("/api/records/00", "*/*", 400),
        ("/api/records/00000000000000000000000000000000", "*/*", 404),
        ("/nowhere", "*/*", 404),
    ] {
        let answer = gateway.get(path, accept).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        assert!(answer.json()["message"].as_str().is_some_and(|message| message.len() > 10), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_answered_as_stored_or_as_asked_for() {
    let gateway = Gateway::new().await;
    let file = fixture("cr-jpeg2000.dcm");
    let url = url_of(&gateway.store("/dicomweb/studies", &[&file]).await.json()["00081199"]["Value"][0]);
    let stored = gateway.get(&url, "application/dicom; transfer-syntax=*").await;
    assert_eq!(stored.header("content-type"), "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.91");
    assert_eq!(stored.header("content-length"), file.len().to_string());
    assert!(stored.body == file);
    // Without a syntax the default is meant (PS3.18 table 8.7.3-4).
    for accept in ["application/dicom", "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"] {
        let native = gateway.get(&url, accept).await;
        assert_eq!(native.status, StatusCode::OK, "{accept}: {}", native.text());
        assert_eq!(native.header("content-type"), "application/dicom; transfer-syntax=1.2.840.10008.1.2.1");
        let samples = gateway.get(&format!("{url}/frames/1"), "application/octet-stream").await;
        assert!(native.body.ends_with(&samples.body) && samples.body.len() > 1000, "{accept}");
    }
    let other = gateway.get(&url, "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50").await;
    assert_eq!(other.status, StatusCode::NOT_ACCEPTABLE);
    assert!(other.text().contains("1.2.840.10008.1.2.4.91"), "{}", other.text());
    assert_eq!(gateway.get(&url, "image/jpeg").await.status, StatusCode::NOT_ACCEPTABLE);
    let study = url.split("/series/").next().expect("a study");
    assert_eq!(gateway.get(study, "application/dicom").await.status, StatusCode::NOT_ACCEPTABLE);
    let pixels = gateway.get(&format!("{url}/bulkdata/7FE00010"), "*/*").await;
    assert!(pixels.parts()[0].0.contains("image/jp2"), "{}", pixels.parts()[0].0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_data_is_where_the_metadata_says() {
    let gateway = Gateway::new().await;
    let file = fixture("ct-head-phantom/025.dcm");
    let url = url_of(&gateway.store("/dicomweb/studies", &[&file]).await.json()["00081199"]["Value"][0]);
    for settled in [false, true] {
        if settled {
            gateway.settle().await;
        }
        let metadata = gateway.get(&format!("{url}/metadata"), JSON).await.json();
        let number = |tag: &str| metadata[0][tag]["Value"][0].as_u64().expect("a number");
        let uri = metadata[0]["7FE00010"]["BulkDataURI"].as_str().expect("a BulkDataURI").to_owned();
        let pixels = gateway.get(&uri, "*/*").await;
        assert_eq!(pixels.header("content-type"), "application/octet-stream");
        assert_eq!(
            pixels.body.len() as u64,
            number("00280010") * number("00280011") * number("00280100") / 8
        );
        assert!(
            dataset(&file).windows(pixels.body.len()).any(|window| window == pixels.body),
            "other pixels"
        );
        let in_parts = gateway.get(&uri, r#"multipart/related; type="application/octet-stream""#).await;
        assert!(in_parts.parts()[0].1 == pixels.body);
        assert_eq!(gateway.get(&format!("{uri}/1"), "*/*").await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_instance_of_a_request_has_its_own_outcome() {
    let gateway = Gateway::new().await;
    let whole = fixture("ct-small.dcm");
    let cut = &whole[..whole.len() - 1000];
    let answer = gateway.store("/dicomweb/studies", &[&whole, b"hello, this is no image", cut]).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    let json = answer.json();
    assert_eq!(json["00081199"]["Value"].as_array().map(Vec::len), Some(1));
    assert_eq!(json["00081198"]["Value"][0]["00081197"]["Value"][0], 0xc000);
    assert_eq!(json["0008119A"]["Value"][0]["00081197"]["Value"][0], 0xc000);
    // What could not be understood is kept apart, and no answer of DICOMweb shows it.
    let records = gateway.get("/api/records", "*/*").await.json();
    let records = records.as_array().expect("records");
    assert_eq!(records.len(), 2);
    assert!(records.iter().all(|record| record["calling_ae"] == "tester"));
    let quarantined =
        records.iter().find(|record| record["state"] == "quarantined").expect("a quarantined record");
    let path = format!("/api/records/{}", quarantined["record_id"].as_str().expect("an id"));
    let kept = gateway.get(&path, "*/*").await;
    assert!(kept.body == cut);
    assert_eq!(
        kept.header("x-filmgate-dataset-sha256"),
        quarantined["dataset_sha256"].as_str().expect("a digest")
    );
    let offset: usize = kept.header("x-filmgate-dataset-offset").parse().expect("an offset");
    assert!(&kept.body[offset..] == dataset(cut));
    assert_eq!(kept.header("x-filmgate-dataset-bytes"), dataset(cut).len().to_string());
    let study = quarantined["study_instance_uid"].as_str().expect("a study");
    let of_study = gateway.get(&format!("/api/studies/{study}/records"), "*/*").await.json();
    assert_eq!(of_study.as_array().map(Vec::len), Some(2));
    let found = gateway.get("/dicomweb/instances", JSON).await.json();
    assert_eq!(found.as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_bound_to_a_study_takes_no_other() {
    let gateway = Gateway::new().await;
    let file = fixture("ct-small.dcm");
    let answer = gateway.store("/dicomweb/studies/1.2.3", &[&file]).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(answer.json()["00081198"]["Value"][0]["00081197"]["Value"][0], 0xa900);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_or_stalls_stores_only_what_was_complete() {
    let gateway = Gateway::new().await;
    let file = fixture("ct-small.dcm");
    let body = multipart(&[&file, &file]);
    let cut = Bytes::from(body[..body.len() - 500].to_vec());
    let broken = stream::iter([Ok(cut.clone()), Err(std::io::Error::other("the line is dead"))]);
    let answer = gateway.store_body("/dicomweb/studies", Body::from_stream(broken)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    let stalled = stream::iter([Ok::<_, std::io::Error>(cut)]).chain(stream::pending());
    let answer = tokio::time::timeout(
        Duration::from_secs(30),
        gateway.store_body("/dicomweb/studies", Body::from_stream(stalled)),
    );
    assert_eq!(answer.await.expect("it does not hang").status, StatusCode::ACCEPTED);
    while gateway.road.index_received().await.expect("the index") > 0 {}
    let records = gateway.get("/api/records", "*/*").await.json();
    assert_eq!(records.as_array().map(Vec::len), Some(2), "one of each request");
    assert_eq!(gateway.road.journal().room().uncommitted_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_drips_is_given_up_and_its_turn_goes_to_others() {
    let gateway = Gateway::new().await;
    let body = multipart(&[&fixture("ct-small.dcm")]);
    let drips = stream::iter(body.clone()).then(|byte| async move {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok::<_, std::io::Error>(Bytes::copy_from_slice(&[byte]))
    });
    let dripping = gateway.store_body("/dicomweb/studies", Body::from_stream(drips));
    let answer = tokio::time::timeout(Duration::from_secs(30), dripping).await.expect("it does not hang");
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT, "{}", answer.text());
    assert_eq!(gateway.road.journal().room().uncommitted_bytes, 0);
    let answer = gateway.store_body("/dicomweb/studies", Body::from(body)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_store_request_says_what_would_be() {
    let gateway = Gateway::new().await;
    for (body, status) in [("", 400), ("--frontier--\r\n", 400), ("no parts at all", 400)] {
        let answer = gateway.store_body("/dicomweb/studies", Body::from(body)).await;
        assert_eq!(answer.status.as_u16(), status, "{body:?}: {}", answer.text());
    }
    let bare = Request::post("/dicomweb/studies")
        .header("host", "localhost")
        .header("content-type", "application/dicom");
    let answer = gateway.ask(bare.body(Body::from(fixture("ct-small.dcm"))).expect("a request")).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(answer.text().contains("multipart/related"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_a_sender_is_asked_to_come_again() {
    let gateway = Gateway::with_reserve(Reserve { catalog_bytes: u64::MAX, ..Reserve::default() }).await;
    let answer = gateway.store("/dicomweb/studies", &[&fixture("ct-small.dcm")]).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.header("retry-after").parse::<u32>().is_ok());
    let ready = gateway.get("/readyz", "*/*").await;
    assert_eq!((ready.status.as_u16(), &ready.json()["journal"]), (503, &json!("has no room")));
    assert_eq!(gateway.get("/healthz", "*/*").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_shows_how_it_stands() {
    let gateway = Gateway::new().await;
    gateway.store("/dicomweb/studies", &[&fixture("ct-small.dcm")]).await;
    gateway.settle().await;
    assert_eq!(gateway.get("/readyz", "*/*").await.json()["ready"], true);
    let status = gateway.get("/api/status", "*/*").await.json();
    assert_eq!(status["states"]["verified"], 1);
    assert_eq!(status["states"].as_object().map(serde_json::Map::len), Some(9));
    assert_eq!(status["send_to"]["ae_title"], "FILMGATE");
    let metrics = gateway.get("/metrics", "*/*").await.text();
    assert!(metrics.lines().any(|line| line == r#"filmgate_instances{state="verified"} 1"#), "{metrics}");
    let post = Request::post("/api/verify?deep=true").header("host", "localhost");
    let report = gateway.ask(post.body(Body::empty()).expect("a request")).await.json();
    assert_eq!((&report["records"], &report["findings"]), (&json!(1), &json!([])));
    let page = gateway.get("/", "text/html").await;
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    for asset in ["/assets/status.css", "/assets/status.js", "/assets/icon.svg"] {
        assert!(page.text().contains(asset));
        assert_eq!(gateway.get(asset, "*/*").await.status, StatusCode::OK, "{asset}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_names_and_other_sites_are_not_answered() {
    let gateway = Gateway::new().await;
    let elsewhere = Request::get("/dicomweb/studies").header("host", "evil.example");
    let answer = gateway.ask(elsewhere.body(Body::empty()).expect("a request")).await;
    assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST);
    let forged =
        Request::post("/api/verify").header("host", "localhost").header("sec-fetch-site", "cross-site");
    assert_eq!(
        gateway.ask(forged.body(Body::empty()).expect("a request")).await.status,
        StatusCode::FORBIDDEN
    );
}
