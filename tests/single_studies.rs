//! Who may read single studies is shown these and no others: by no search, no address, no link, and no prior that the viewer looks for.

use serde_json::{Value, json};

use crate::support::browser::{self, PIXELS, Visit};
use crate::support::client::{Client, token};
use crate::support::dicom::Image;
use crate::support::gateway::{Gateway, Home};
use crate::support::test_data;
use crate::support::wait_for;
use crate::support::web::find;
use crate::viewer::in_a_study_of_its_own;

/// Two studies of one patient, of one order, and an instance of each; one more has the same UID in both.
struct Two {
    gateway: Gateway,
    home: Home,
    own: Image,
    other: Image,
}

/// A SOP Instance UID that two studies have, as copied films do.
const SHARED: &str = "1.2.826.0.1.3680043.10.1543.70.9";

impl Two {
    fn stored() -> Self {
        let home = Home::new().set("WEB__OPEN_TO", "nobody");
        let mut gateway = home.serve();
        gateway.expect_log("a request was refused");
        let order = |study| Image {
            patient_id: "FG71".into(),
            accession_number: "ORDER-71".into(),
            ..Image::of_study(study, 1)
        };
        let (own, other) = (order(71), order(72));
        let shared = |image: &Image| Image { sop_instance_uid: SHARED.into(), ..image.clone() };
        let mut files = vec![own.write(home.path()), other.write(home.path())];
        for (number, image) in [&own, &other].into_iter().enumerate() {
            let folder = home.path().join(number.to_string());
            std::fs::create_dir(&folder).expect("a folder");
            files.push(shared(image).write(&folder));
        }
        home.send(&gateway, &files);
        let all = token(&home, "all", &["--scope", "admin"]);
        let all = Client::bearing(&gateway, &all);
        wait_for("both are safe", std::time::Duration::from_secs(60), || {
            let status: Value = json_of(&all, "/api/status");
            (status["states"]["verified"] == 4).then_some(())
        });
        Self { gateway, home, own, other }
    }

    /// Somebody who may read the first of them, by a token that is called so.
    fn reader(&self, name: &str) -> Client<'_> {
        let scope = format!("read:{}", self.own.study_instance_uid);
        Client::bearing(&self.gateway, &token(&self.home, name, &["--scope", &scope]))
    }
}

fn json_of(client: &Client<'_>, path: &str) -> Value {
    let mut answer = client.answer(path);
    assert_eq!(answer.status().as_u16(), 200, "{path}");
    serde_json::from_slice(&answer.body_mut().read_to_vec().expect("a body")).expect("JSON")
}

/// Study Instance UIDs of an answer to a search, once each.
fn studies_of(answer: &Value) -> Vec<&str> {
    let studies = answer.as_array().expect("an array").iter();
    let mut studies: Vec<&str> =
        studies.map(|row| row["0020000D"]["Value"][0].as_str().expect("a study")).collect();
    studies.dedup();
    studies
}

/// A path of the document with an instance's UIDs in place of its steps in braces.
fn filled(path: &str, image: &Image) -> String {
    path.replace("{study}", &image.study_instance_uid)
        .replace("{series}", &image.series_instance_uid)
        .replace("{instance}", &image.sop_instance_uid)
        .replace("{frames}", "1")
        .replace("{record}", &"0".repeat(32))
        .replace("/ohif/{path}", "/ohif/index.html")
        .replace("{path}", "7FE00010")
}

#[test]
fn every_address_shows_the_one_study_and_nothing_of_another() {
    let two = Two::stored();
    let reader = two.reader("of one");
    let all = Client::bearing(&two.gateway, &token(&two.home, "of all", &["--scope", "admin"]));
    let document = json_of(&all, "/api/openapi.json");
    let paths = document["paths"].as_object().expect("paths");
    let with_get = paths.iter().filter(|(_, item)| item["get"].is_object()).map(|(path, _)| path.as_str());
    // Everything by which a query string could name the other study.
    let Image { study_instance_uid: study, series_instance_uid: series, sop_instance_uid: sop, .. } =
        &two.other;
    let queries = [
        String::new(),
        format!("?study={study}&StudyInstanceUID={study}&studyUID={study}&requestType=WADO&objectUID={sop}"),
        format!("?requestType=WADO&objectUID={sop}&seriesUID={series}&PatientID={}", two.other.patient_id),
        format!("?SOPInstanceUID={sop}&SeriesInstanceUID={series}"),
        "?PatientName=*Study72*&limit=0".to_owned(),
    ];
    let (mut of_study, mut others) = (0, 0);
    for path in with_get {
        let names_a_study = path.contains("{study}");
        for query in &queries {
            let address = format!("{}{query}", filled(path, &two.other));
            let mut answer = reader.answer(&address);
            let status = answer.status().as_u16();
            // The list of every record of a study is for who runs the gateway, and so is what needs another scope.
            assert!(!names_a_study || status == 403, "{address}: {status}");
            let told = format!("{:?}", answer.headers()).into_bytes();
            let body = answer.body_mut().read_to_vec().unwrap_or_default();
            let told = String::from_utf8_lossy(&[told, body].concat()).into_owned();
            for of_other in [sop, series, study, &two.other.patient_name] {
                assert!(!told.contains(of_other.as_str()), "{address}: {told}");
            }
            assert!(
                path != "/wado" || !query.contains("requestType") || status == 404,
                "{address}: {status}"
            );
            assert_eq!(reader.head(&address), status, "HEAD {address}");
        }
        if names_a_study {
            let status = reader.get(&filled(path, &two.own));
            // It has no bulk value beside its pixels, whose place is known.
            if path == "/api/studies/{study}/records" {
                assert_eq!(status, 403, "{path}");
                continue;
            }
            assert!(matches!(status, 200 | 404 | 406), "{path}: {status}");
            of_study += usize::from(status == 200);
        } else {
            others += 1;
        }
    }
    assert!(of_study >= 14 && others > 30, "{of_study} of a study, {others} others");
    let closed =
        ["/api/status", "/api/records", "/metrics", "/api/openapi.json", "/api/custody", "/api/tokens"];
    assert_eq!(closed.map(|path| reader.get(path)), [403; 6]);
    two.gateway.stop();
}

#[test]
fn searches_find_the_studies_that_may_be_read() {
    let two = Two::stored();
    let reader = two.reader("of one");
    let (own, other) = (&two.own, &two.other);
    // As the viewer looks for priors.
    let priors =
        format!("/dicomweb/studies?00100020={}&limit=101&offset=0&fuzzymatching=false", own.patient_id);
    let all = Client::bearing(&two.gateway, &token(&two.home, "of all", &["--scope", "read"]));
    assert_eq!(studies_of(&json_of(&all, &priors)).len(), 2);
    for search in [priors.as_str(), "/dicomweb/studies", "/dicomweb/series", "/dicomweb/instances"] {
        assert_eq!(studies_of(&json_of(&reader, search)), [&own.study_instance_uid], "{search}");
    }
    let named = |image: &Image| {
        json_of(&reader, &format!("/dicomweb/studies?StudyInstanceUID={}", image.study_instance_uid))
    };
    assert_eq!((studies_of(&named(own)).len(), named(other)), (1, json!([])));
    let both =
        format!("/dicomweb/studies?StudyInstanceUID={},{}", own.study_instance_uid, other.study_instance_uid);
    assert_eq!(studies_of(&json_of(&reader, &both)), [&own.study_instance_uid]);
    let progress =
        format!("/api/progress?study={}&study={}", own.study_instance_uid, other.study_instance_uid);
    assert_eq!(json_of(&reader, &progress).as_array().map(Vec::len), Some(1));
    // By WADO-URI an instance need not be named with its study.
    let object = |image: &Image| format!("/wado?requestType=WADO&objectUID={}", image.sop_instance_uid);
    assert_eq!((reader.get(&object(own)), reader.get(&object(other))), (200, 404));
    let shared =
        reader.answer(&format!("/wado?requestType=WADO&objectUID={SHARED}&contentType=application/dicom"));
    assert_eq!(shared.status().as_u16(), 200);
    let shared = shared.into_body().read_to_vec().expect("a file");
    assert!(find(&shared, b"Phantom^Study71").is_some() && find(&shared, b"Phantom^Study72").is_none());
    // One of the order's two studies, so there is nothing to choose from.
    let leads = |client: &Client<'_>| {
        let answer = client.answer("/viewer?accession=ORDER-71");
        answer.headers()["location"].to_str().expect("text").to_owned()
    };
    assert_eq!(leads(&reader), format!("/view?study={}", own.study_instance_uid));
    assert_eq!(leads(&all), "/studies?accession=ORDER-71");
    let entered = |image: &Image| reader.get(&format!("/viewer?study={}", image.study_instance_uid));
    assert_eq!((entered(own), entered(other)), (303, 404));
    // A page that is not for them leads to one that is.
    let page = reader.answer("/");
    assert_eq!(
        (page.status().as_u16(), &page.headers()["location"]),
        (303, &"/studies".parse().expect("a header"))
    );
    two.gateway.stop();
}

#[test]
fn a_link_logs_in_until_its_token_ends() {
    let mut two = Two::stored();
    two.gateway.expect_log("a wrong password, link or token");
    let scope = format!("read:{}", two.own.study_instance_uid);
    let secret = token(&two.home, "the ward", &["--scope", &scope]);
    let nobody = Client::new(&two.gateway);
    let log_in = |body: Value| nobody.post_json("/api/login", &body);
    let mut answer = log_in(json!({ "token": secret }));
    assert_eq!(answer.status().as_u16(), 200);
    let cookie = answer.headers()["set-cookie"].to_str().expect("a cookie").to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let body: Value =
        serde_json::from_slice(&answer.body_mut().read_to_vec().expect("a body")).expect("JSON");
    assert_eq!(body["to"], format!("/viewer?study={}", two.own.study_instance_uid));
    let inside =
        Client::new(&two.gateway).with("cookie", cookie.split(';').next().expect("a pair").to_owned());
    let study = |image: &Image| format!("/dicomweb/studies/{}/metadata", image.study_instance_uid);
    let seen = || [inside.get(&study(&two.own)), inside.get(&study(&two.other)), inside.get("/api/status")];
    assert_eq!(seen(), [200, 403, 403]);
    let session = json_of(&inside, "/api/session");
    assert_eq!((&session["by_token"], &session["reads_all"]), (&json!(true), &json!(false)));
    let again = || {
        let answer = log_in(json!({ "token": secret }));
        let cookie = answer.headers()["set-cookie"].to_str().expect("a cookie").to_owned();
        Client::new(&two.gateway).with("cookie", cookie.split(';').next().expect("a pair").to_owned())
    };
    // A log-in of its own, which ends alone.
    let left = again();
    assert_eq!(left.post_json("/api/logout", &json!({})).status().as_u16(), 200);
    assert_eq!((left.get(&study(&two.own)), inside.get(&study(&two.own))), (401, 200));
    two.home.run(&["token", "revoke", "the ward"]).ended(0);
    assert_eq!(seen(), [401; 3]);
    assert_eq!(inside.get("/studies"), 303, "where to log in");
    let refused = |body: Value| log_in(body).status().as_u16();
    assert_eq!(refused(json!({ "token": secret })), 403);
    assert_eq!(refused(json!({ "token": "fg_0", "password": "x" })), 400);
    assert_eq!(refused(json!({})), 400);
    let store = token(&two.home, "a modality", &["--scope", "store"]);
    assert_eq!(refused(json!({ "token": store })), 403, "it reads nothing");
    // What the command line of this machine is known by is no log-in.
    let local = std::fs::read_to_string(two.home.data_dir().join("admin-token")).expect("its secret");
    assert_eq!(refused(json!({ "token": local.trim() })), 403);
    let log = two.gateway.log();
    assert!(log.contains("logged-in") && !log.contains(&secret[3..]), "{log}");
    two.gateway.stop();
}

#[test]
fn the_viewer_opens_by_a_link_and_finds_no_prior_that_is_not_for_its_bearer() {
    let (Some(samples), Some(viewer)) = (test_data::samples(), browser::viewer()) else { return };
    let home = Home::new().set("VIEWER__PATH", viewer).set("WEB__OPEN_TO", "nobody");
    let gateway = home.serve();
    let series: Vec<_> =
        samples.iter().filter(|sample| sample.name.starts_with("ct-series/")).take(8).collect();
    let prior = home.path().join("prior.dcm");
    let prior_study = in_a_study_of_its_own(series[0], &prior);
    let files: Vec<_> = series.iter().map(|sample| sample.path.clone()).chain([prior]).collect();
    home.send(&gateway, &files);
    let study = &series[0].study_instance_uid;
    let link = |name: &str, scopes: &[&str]| {
        let options: Vec<&str> = scopes.iter().flat_map(|scope| ["--scope", scope]).collect();
        format!("/login#{}", token(&home, name, &options))
    };
    let one = format!("read:{study}");
    let other = format!("read:{prior_study}");
    // What the viewer asks for priors, asked once more from its page.
    let priors = r#"(async () => {
        const study = new URLSearchParams(location.search).get("StudyInstanceUIDs");
        const ask = async (query) => (await fetch(`/dicomweb/studies?${query}`)).json();
        const [{ "00100020": { Value: [patient] } }] = await ask(`StudyInstanceUID=${study}`);
        return (await ask(`00100020=${encodeURIComponent(patient)}`)).length;
    })()"#;
    let visits = [
        Visit::to("link-to-one", link("one", &[&one]), PIXELS).then(json!({ "evaluate": priors })),
        Visit::to("link-to-two", link("two", &[&one, &other]), ".study:nth-child(2)"),
        Visit::to("link-and-out", link("out", &[&one, &other]), "#leave:not([hidden])")
            .then(json!({ "click": "#leave", "waits": "#form" }))
            .then(json!({ "evaluate": "fetch('/dicomweb/studies').then((answer) => answer.status)" })),
        // Who is logged in already is asked first.
        Visit::to("link-beside", link("first", &[&one, &other]), ".study:nth-child(2)")
            .then(json!({ "evaluate": format!("location.assign('{}')", link("second", &[&one])) }))
            .then(json!({ "waits": "#by-link:not([hidden])", "evaluate": "document.getElementById('who').textContent" })),
        Visit::to("link-that-is-no-good", "/login#fg_0", "#told:not([hidden])"),
        Visit::to("log-in", "/login", "#by-token")
            .sized(390, 844)
            .then(json!({ "click": "#by-token summary" })),
    ];
    let Some(seen) = browser::visit(&gateway.web, &visits) else { return };
    let [to_one, to_two, out, beside, no_good, log_in] = &seen[..] else { panic!("{seen:#?}") };
    assert!(to_one.well().address.starts_with("/ohif/viewer?StudyInstanceUIDs="), "{to_one:#?}");
    assert_eq!(to_one.acted, 1, "{to_one:#?}");
    assert_eq!(to_two.well().address, "/studies");
    assert!(!to_two.text.contains("网关状态"), "{}", to_two.text);
    // Nothing is open any more, which the browser tells its console.
    assert_eq!((out.address.as_str(), &out.acted), ("/login", &json!(401)), "{out:#?}");
    assert_eq!((beside.address.as_str(), &beside.acted), ("/login", &json!("token first")), "{beside:#?}");
    assert!(no_good.text.contains("令牌已失效") && no_good.address == "/login", "{no_good:#?}");
    assert!(log_in.well().overflow <= 0);
    drop(gateway);
}
