//! What a person sees: the list of studies, the image viewer, the page for what that does not show, and a study as a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;

use crate::support::browser::{self, PIXELS, Seen, Visit};
use crate::support::cloud::Cloud;
use crate::support::dicom::File;
use crate::support::gateway::{Gateway, Home};
use crate::support::process::finish;
use crate::support::test_data::{self, Sample};
use crate::support::web::find;
use crate::support::{files_below, fixtures, root};

const SOON: Duration = Duration::from_secs(60);

/// Studies that are images in the viewer, and one file of each by which its study is known.
pub(crate) const DRAWN: [(&str, &str); 8] = [
    ("ct", "ct-series/philips-phantom-54/001.dcm"),
    ("mr", "mr-series/"),
    ("jpeg2000", "syntaxes/misc/ct-jpeg2000-lossless.dcm"),
    ("jpeg-ls", "syntaxes/mr-384-mono16/jpeg-ls-lossless.dcm"),
    ("rle", "syntaxes/enhanced-mr-10-frames/rle.dcm"),
    ("palette", "objects/us-palette-2-frames-rle.dcm"),
    ("us-30-frames", "objects/us-multiframe-ybr-jpeg-30.dcm"),
    ("enhanced-mr", "objects/enhanced-mr-siemens-xa.dcm"),
];

/// Saves a report as the viewer saves measurements.
const STORE_REPORT: &str = include_str!("browser/store-report.js");

/// A video. Its study is that of the 30 frames, which the test makes another.
const VIDEO: &str = "derived/us-30-frames-h264-hp-41.dcm";

/// Studies that open in a page of ours, and what is to be seen of them there.
const OURS: [(&str, &str, &str); 4] = [
    ("pdf", "objects/encapsulated-pdf.dcm", "iframe"),
    ("ecg", "objects/ecg-12-lead.dcm", ".waves svg polyline"),
    ("report", "objects/sr-basic-text.dcm", ".tree li"),
    ("malformed-report", "objects/sr-comprehensive.dcm", ".tree li"),
];

pub(crate) fn sample<'a>(samples: &'a [Sample], name: &str) -> &'a Sample {
    samples.iter().find(|sample| sample.name.starts_with(name)).unwrap_or_else(|| panic!("no sample {name}"))
}

/// Everything the visits need, and the study of each.
fn studies(samples: &[Sample]) -> (Vec<PathBuf>, BTreeMap<&'static str, String>) {
    let named = DRAWN.iter().copied().chain(OURS.iter().map(|(name, path, _)| (*name, *path)));
    let studies: BTreeMap<&str, String> =
        named.map(|(name, path)| (name, sample(samples, path).study_instance_uid.clone())).collect();
    let one =
        |path: &str| DRAWN.iter().any(|(_, own)| *own == path) || OURS.iter().any(|(_, own, _)| *own == path);
    let series =
        |sample: &&Sample| sample.name.starts_with("ct-series/") || sample.name.starts_with("mr-series/");
    let wanted = samples.iter().filter(|sample| series(sample) || one(&sample.name));
    (wanted.map(|sample| sample.path.clone()).collect(), studies)
}

/// Where an address leads, without going there.
fn leads_to(gateway: &Gateway, path: &str) -> (u16, String) {
    let agent: Agent = Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into();
    let answer = agent.get(gateway.web.url(path)).call().expect("an answer");
    let to = answer.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or_default();
    (answer.status().as_u16(), to.to_owned())
}

#[test]
fn a_study_is_followed_and_comes_as_one_file() {
    let home = Home::new();
    let gateway = home.serve();
    let folder = root().join("fixtures/dicom/ct-head-phantom");
    let files: Vec<PathBuf> = fixtures().into_iter().filter(|file| file.starts_with(&folder)).collect();
    home.send(&gateway, &files);
    let records = gateway.settled(files.len());
    let study = records[0].study_instance_uid.as_ref().expect("a study");

    let progress: Value =
        gateway.web.get(&format!("/api/studies/{study}/progress"), "application/json").ok().json();
    let all = files.len();
    assert_eq!((&progress["arrived"], &progress["verified"]), (&json!(all), &json!(all)));
    let list: Value = gateway.web.get(&format!("/api/progress?study=9.9&study={study}"), "*/*").ok().json();
    assert_eq!(list, json!([progress]));
    assert_eq!(gateway.web.get("/api/studies/9.9/progress", "*/*").status, 404);

    let zip = home.path().join("study.zip");
    let answer = gateway.web.get(&format!("/api/studies/{study}/zip"), "*/*").ok();
    assert_eq!(answer.content_type, "application/zip");
    std::fs::write(&zip, &answer.body).expect("written");
    // Read by somebody else's program, every byte checked.
    let python = "import sys, zipfile, os\nz = zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\n\
                  z.extractall(sys.argv[2])\nprint(len(z.namelist()))";
    let out = home.path().join("unpacked");
    let read_back = finish(Command::new("python3").args(["-c", python]).arg(&zip).arg(&out), SOON).ended(0);
    assert_eq!(read_back.out.trim(), all.to_string());
    let mut came: Vec<Vec<u8>> = Vec::new();
    for file in files_below(&out) {
        assert_eq!(
            file.parent().and_then(|series| series.parent()),
            Some(out.as_path()),
            "a folder per series"
        );
        came.push(File::read(&file).dataset().to_vec());
    }
    let mut went: Vec<Vec<u8>> = files.iter().map(|file| File::read(file).dataset().to_vec()).collect();
    came.sort();
    went.sort();
    assert!(came == went, "a dataset differs");
    assert_eq!(gateway.web.get("/api/studies/9.9/zip", "*/*").status, 404);

    // Without a viewer every study opens in a page of ours, which says so.
    let study_page = format!("/view?study={study}");
    assert_eq!(leads_to(&gateway, &format!("/viewer?study={study}")), (303, study_page));
    assert_eq!(leads_to(&gateway, "/viewer"), (303, "/studies".into()));
    assert_eq!(leads_to(&gateway, "/viewer?study=9.9").0, 404);
    assert_eq!(leads_to(&gateway, "/viewer?accession=NONE-SUCH").0, 404);
    assert_eq!(leads_to(&gateway, "/ohif/viewer").0, 404);
    assert_eq!(leads_to(&gateway, "/ohif/"), (303, "/studies".into()));
    let told: Value = gateway.web.get("/api/viewer", "*/*").ok().json();
    assert_eq!(told["installed"], false);
    gateway.stop();
}

#[test]
fn what_a_person_sees() {
    let (Some(samples), Some(viewer)) = (test_data::samples(), browser::viewer()) else { return };
    let home = Home::new().set("VIEWER__PATH", viewer);
    let gateway = home.serve();
    let (files, studies) = studies(&samples);
    let video = home.path().join("video.dcm");
    let video_study = in_a_study_of_its_own(sample(&samples, VIDEO), &video);
    home.send(&gateway, &files);
    home.send(&gateway, &[&video]);
    gateway.settled(files.len() + 1);
    the_viewer_is_served(&gateway, &studies["ct"]);

    let mut visits = vec![
        Visit::to("list-1280", "/studies", ".study .safe").sized(1280, 900),
        Visit::to("list-390", "/studies", ".study .safe").sized(390, 844),
        Visit::to("list-english", "/studies", ".study .safe").in_language("en"),
        Visit::to("list-found", "/studies", ".study")
            .then(json!({ "fill": "#id", "value": "no such patient" }))
            .then(json!({ "click": "button[type=submit]", "waits": "#list:empty", "evaluate": "document.getElementById('told').textContent" })),
        Visit::to("list-download", format!("/view?study={}", studies["ct"]), "#save")
            .then(json!({ "download": "#save" })),
        Visit::to("missing", "/viewer?study=9.9", "a[href='/studies']"),
    ];
    visits.extend(
        DRAWN.iter().map(|(name, _)| Visit::to(*name, format!("/viewer?study={}", studies[name]), PIXELS)),
    );
    visits.extend(
        OURS.iter()
            .map(|(name, _, waits)| Visit::to(*name, format!("/viewer?study={}", studies[name]), waits)),
    );
    visits.push(Visit::to("video", format!("/viewer?study={video_study}"), PIXELS));
    let ct = format!("/viewer?study={}", studies["ct"]);
    visits.push(Visit::to("saved", ct.clone(), PIXELS).then(json!({ "evaluate": STORE_REPORT })));
    visits.push(Visit::to("saved-again", ct.clone(), PIXELS));
    let Some(seen) = browser::visit(&gateway.web, &visits) else { return };
    let seen: BTreeMap<&str, &Seen> = seen.iter().map(|seen| (seen.name.as_str(), seen)).collect();
    for (name, page) in &seen {
        // A page that is not there is told to the console by the browser itself.
        if *name != "missing" {
            page.well();
        }
    }
    the_list_is_well(&seen);
    for (name, _) in DRAWN {
        assert!(seen[name].address.starts_with("/ohif/viewer?StudyInstanceUIDs="), "{:#?}", seen[name]);
        assert!(seen[name].text.contains("检查列表"), "no way back: {}", seen[name].text);
    }
    for name in OURS.iter().map(|(name, ..)| *name).chain(["video"]) {
        assert!(seen[name].address.starts_with("/view?study="), "{:#?}", seen[name]);
    }
    // What was saved came back; as the viewer would fail over it, it is left to the page of ours.
    let saved = seen["saved"].acted.as_str().expect("a report that was found");
    let address = &seen["saved-again"].address;
    assert!(address.contains("SeriesInstanceUIDs=") && !address.contains(saved), "{address}");
    gateway.stop();
}

/// Neither pack nor footer is on the local disk when the viewer opens it.
#[test]
fn a_study_that_is_only_in_the_bucket_is_seen() {
    let (Some(samples), Some(viewer)) = (test_data::samples(), browser::viewer()) else { return };
    let Some(cloud) = Cloud::told() else { return };
    let home = cloud.set(Home::new(), "MAIN").keeps_no_packs().set("VIEWER__PATH", viewer);
    let gateway = home.serve();
    let series: Vec<&Sample> =
        samples.iter().filter(|sample| sample.name.starts_with("ct-series/")).collect();
    let files: Vec<&Path> = series.iter().map(|sample| sample.path.as_path()).collect();
    home.send(&gateway, &files);
    gateway.settled(files.len());
    gateway.wait_until_cold();
    gateway.stop();
    std::fs::remove_dir_all(home.data_dir().join("cache")).expect("empty the cache");

    let gateway = home.serve();
    cloud.proxy.forget();
    let address = format!("/viewer?study={}", series[0].study_instance_uid);
    let Some(seen) = browser::visit(&gateway.web, &[Visit::to("only-in-the-bucket", address, PIXELS)]) else {
        return;
    };
    let [seen] = &seen[..] else { panic!("{seen:#?}") };
    assert!(seen.well().address.starts_with("/ohif/viewer?StudyInstanceUIDs="), "{seen:#?}");
    let reads = cloud.pack_reads();
    println!("{reads} requests for {} slices", series.len());
    assert!((2..series.len() / 2).contains(&reads), "{reads} requests for {} slices", series.len());
    gateway.stop();
}

/// Writes a sample with another Study Instance UID, as long as its own; gives that.
pub(crate) fn in_a_study_of_its_own(sample: &Sample, to: &Path) -> String {
    let (own, mut bytes) = (&sample.study_instance_uid, std::fs::read(&sample.path).expect("read"));
    let at = find(&bytes, own.as_bytes()).expect("its Study Instance UID");
    let last = at + own.len() - 1;
    bytes[last] = if bytes[last] == b'1' { b'2' } else { b'1' };
    let study = String::from_utf8(bytes[at..=last].to_vec()).expect("digits");
    std::fs::write(to, bytes).expect("written");
    study
}

fn the_list_is_well(seen: &BTreeMap<&str, &Seen>) {
    for name in ["list-1280", "list-390", "list-english"] {
        assert!(seen[name].overflow <= 0, "{name} is {} wider than its window", seen[name].overflow);
    }
    assert!(seen["list-1280"].text.contains("全部安全存储"), "{}", seen["list-1280"].text);
    assert!(seen["list-english"].text.contains("all safe in storage"), "{}", seen["list-english"].text);
    assert!(seen["list-found"].acted == "没有符合条件的检查。", "{:?}", seen["list-found"].acted);
    let saved = seen["list-download"].acted.as_str().expect("the name of a file");
    assert!(saved.starts_with("study-") && saved.ends_with(".zip"), "{saved}");
}

/// Its files, compressed and under its policy; a path of its own is its page, a file that is not there is none.
fn the_viewer_is_served(gateway: &Gateway, study: &str) {
    let agent: Agent = Agent::config_builder().http_status_as_error(false).build().into();
    let get = |path: &str| {
        let asked = agent.get(gateway.web.url(path)).header("accept-encoding", "br, gzip");
        let answer = asked.call().expect("an answer");
        let header = |name: &str| {
            answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        (
            answer.status().as_u16(),
            header("content-type"),
            header("content-security-policy"),
            header("cache-control"),
        )
    };
    let (status, content_type, policy, caching) = get(&format!("/ohif/viewer?StudyInstanceUIDs={study}"));
    assert_eq!(
        (status, content_type.as_str(), caching.as_str()),
        (200, "text/html; charset=utf-8", "no-cache")
    );
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("'unsafe-eval'"), "{policy}");
    for missing in
        ["/ohif/missing.js", "/ohif/ort/ort.wasm", "/ohif/manifest-of-files.json", "/ohif/..%2fx.js"]
    {
        assert_eq!(get(missing).0, 404, "{missing}");
    }
    assert_eq!(get("/ohif/app-config.js").1, "text/javascript; charset=utf-8");
    let page = gateway.web.get("/ohif/", "*/*");
    assert_eq!(page.status, 200, "led to the list");
}
