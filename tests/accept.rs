//! What is answered to every Accept: the resources of images in every transfer syntax that somebody's decoder reads, in all forms that
//! a client can ask for, beside the tables of PS3.18 8.7.3. What comes is decoded by other people's programs and is what was sent.
//!
//! The outcome is `target/accept-matrix.tsv`: file × resource × Accept.

mod answered;
mod asked;
mod expected;

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use crate::support::dicom::File;
use crate::support::gateway::{Gateway, Home};
use crate::support::root;
use crate::support::test_data::{self, Sample};
use crate::support::web::find;
use answered::{Checks, Outcome};
use asked::Accept;
use expected::Given;

const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
/// Images of which all forms are decoded in little time, and of more than a few pixels.
const PIXEL_BYTES: std::ops::Range<u64> = 1_000..2_000_000;
/// They cannot be decoded, and are answered as they are stored or not at all.
const VIDEOS: [&str; 3] = [
    "derived/us-30-frames-mpeg2-mp-ml.dcm",
    "derived/us-30-frames-h264-hp-41.dcm",
    "derived/us-30-frames-hevc-main-51.dcm",
];
/// Who asks at a time.
const CLIENTS: usize = 4;

/// An image that was sent.
struct Subject {
    /// With UIDs of its own, and the path of the file that has them.
    sample: Sample,
    file: File,
    /// A file of the same samples that others can decode.
    reference: PathBuf,
}

/// A request, and the answers that will do: none is a refusal.
struct Request {
    resource: &'static str,
    url: String,
    accept: String,
    allowed: Vec<Given>,
}

/// The transfer syntax in which an instance comes that is stored in one.
type Comes<'a> = &'a dyn Fn(&str) -> String;

/// What became of a request.
struct Row {
    file: String,
    syntax: String,
    resource: &'static str,
    accept: String,
    outcome: Outcome,
}

impl Row {
    fn line(&self) -> String {
        let clean = |cell: &str| cell.replace(['\t', '\n', '\r'], " ");
        let Outcome { status, content_type, told, .. } = &self.outcome;
        let Self { file, syntax, resource, accept, .. } = self;
        format!("{file}\t{syntax}\t{resource}\t{accept}\t{status}\t{content_type}\t{}", clean(told))
    }
}

#[test]
fn every_accept_is_answered_by_the_book() {
    let Some(samples) = test_data::samples() else { return };
    let home = Home::new().set("WEB__RETRIEVE_REQUESTS_MAX", 64);
    let gateway = home.serve();
    let subjects = subjects(&samples, home.path());
    let syntaxes: HashSet<&str> =
        subjects.iter().map(|subject| subject.sample.transfer_syntax_uid.as_str()).collect();
    assert!(syntaxes.len() >= 23, "only {syntaxes:?}");
    let paths: Vec<&Path> = subjects.iter().map(|subject| subject.sample.path.as_path()).collect();
    home.send(&gateway, &paths);
    gateway.settled(paths.len());
    let rows: Vec<Row> = thread::scope(|scope| {
        let shares = (0..CLIENTS).map(|client| {
            let (subjects, gateway, home) = (&subjects, &gateway, &home);
            scope.spawn(move || {
                let own = subjects.iter().skip(client).step_by(CLIENTS);
                ask(gateway, own, &home.path().join(format!("answers-{client}")))
            })
        });
        let shares: Vec<_> = shares.collect();
        shares.into_iter().flat_map(|share| share.join().expect("a share of the matrix")).collect()
    });
    write_table(&rows);
    let wrong: Vec<String> = rows.iter().filter(|row| !row.outcome.well).map(Row::line).collect();
    assert!(
        wrong.is_empty(),
        "{} of {} are wrong:\n{}",
        wrong.len(),
        rows.len(),
        wrong[..wrong.len().min(100)].join("\n")
    );
    gateway.stop();
}

/// One image as seven instances of a series, each in another transfer syntax.
#[test]
fn a_series_in_many_syntaxes_comes_in_one_or_in_each() {
    const GROUP: &str = "syntaxes/mr-384-mono16/";
    let Some(samples) = test_data::samples() else { return };
    let home = Home::new();
    let gateway = home.serve();
    let group = samples.iter().filter(|sample| sample.name.starts_with(GROUP)).enumerate();
    let subject = |(place, sample): (usize, &Sample)| {
        let sample = as_another_instance(sample, place, home.path());
        Subject { file: File::read(&sample.path), reference: sample.path.clone(), sample }
    };
    let subjects: Vec<Subject> = group.map(subject).collect();
    assert!(subjects.len() >= 7, "only {}", subjects.len());
    let paths: Vec<&Path> = subjects.iter().map(|subject| subject.sample.path.as_path()).collect();
    home.send(&gateway, &paths);
    gateway.settled(paths.len());
    let (little, jpeg_ls, j2k) = (asked::LITTLE, "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90");
    let range = |syntax: &str| format!("multipart/related; type=\"application/dicom\"{syntax}");
    let named = |uid: &str| range(&format!("; transfer-syntax={uid}"));
    let any = range("; transfer-syntax=*");
    let each = |stored: &str| stored.to_owned();
    let j2k_or_little = |stored: &str| if stored == j2k { j2k.to_owned() } else { little.to_owned() };
    let asked: [(String, Comes<'_>); 6] = [
        (any.clone(), &each),
        (format!("{};q=0.9, {any};q=0.1", named("1.2.840.10008.1.2.4.92")), &each),
        (range(""), &|_| little.to_owned()),
        (named(jpeg_ls), &|_| jpeg_ls.to_owned()),
        (format!("{};q=0.2, {};q=0.3", named(little), named(jpeg_ls)), &|_| jpeg_ls.to_owned()),
        (format!("{}, {};q=0.5", named(j2k), named(little)), &j2k_or_little),
    ];
    let first = &subjects[0].sample;
    let url = format!("/dicomweb/studies/{}/series/{}", first.study_instance_uid, first.series_instance_uid);
    let scratch = home.path().join("answers");
    fs::create_dir_all(&scratch).expect("make a folder for answers");
    let mut checks = Checks::new(&scratch);
    for (accept, syntax_of) in asked {
        let parts = gateway.web.get(&url, &accept).ok().parts();
        assert_eq!(parts.len(), subjects.len(), "{accept}");
        for part in parts {
            let file = File::new(part.clone());
            let is_it = |subject: &&Subject| subject.sample.sop_instance_uid == file.sop_instance_uid;
            let subject = subjects.iter().find(is_it).expect("one of those that were sent");
            let syntax = syntax_of(&subject.sample.transfer_syntax_uid);
            assert_eq!(file.transfer_syntax_uid, syntax, "{accept}");
            checks.add(subject, &[1], "file", &[part]);
        }
    }
    for found in checks.run() {
        assert_eq!(found.judged(0.0).as_deref(), Ok("equal"));
    }
    let refused = gateway.web.get(&url, &named(j2k));
    assert!(refused.status == 406 && refused.text().contains("1.2.840.10008.1.2.5"), "{}", refused.text());
    gateway.stop();
}

/// Of each transfer syntax, and of each kind of samples in it, the smallest image with one frame and the one with several.
fn subjects(samples: &[Sample], folder: &Path) -> Vec<Subject> {
    let mut smallest: BTreeMap<_, &Sample> = BTreeMap::new();
    for sample in samples {
        let known = !sample.pixel_sha256.is_empty() && PIXEL_BYTES.contains(&sample.pixel_bytes);
        let video = VIDEOS.contains(&sample.name.as_str());
        let named = ![&sample.study_instance_uid, &sample.series_instance_uid, &sample.sop_instance_uid]
            .contains(&&String::new());
        if !sample.readable || !named || !(known || video) {
            continue;
        }
        let kind =
            (&sample.transfer_syntax_uid, sample.frames > 1, &sample.photometric, sample.bits_allocated);
        let found = smallest.entry(kind).or_insert(sample);
        if sample.pixel_bytes < found.pixel_bytes {
            *found = sample;
        }
    }
    let named = |name: &str| samples.iter().find(|sample| sample.name == name).expect("in the manifest");
    let subject = |(place, sample): (usize, &&Sample)| {
        let own = in_a_study_of_its_own(sample, place, folder);
        let deep_jpeg_xl =
            sample.transfer_syntax_uid.starts_with("1.2.840.10008.1.2.4.11") && sample.bits_allocated > 8;
        let reference = match deep_jpeg_xl {
            true => named("syntaxes/enhanced-mr-10-frames/explicit-le.dcm").path.clone(),
            false => own.path.clone(),
        };
        Subject { file: File::read(&own.path), reference, sample: own }
    };
    smallest.values().enumerate().map(subject).collect()
}

/// Files of one image in many syntaxes share their UIDs: each is written with others, as long as its own.
fn in_a_study_of_its_own(sample: &Sample, place: usize, folder: &Path) -> Sample {
    let mut own = sample.clone();
    // Nothing can be changed within what is deflated, and these two are of different studies.
    if sample.transfer_syntax_uid == DEFLATED {
        return own;
    }
    let mut bytes = fs::read(&sample.path).expect("read a file of the test data");
    let mut uids = [&sample.sop_instance_uid, &sample.series_instance_uid, &sample.study_instance_uid]
        .map(String::clone);
    for number in 0..uids.len() {
        let (old, new) = (uids[number].clone(), renamed(&uids[number], place));
        replace(&mut bytes, &old, &new);
        uids.iter_mut().for_each(|uid| *uid = uid.replace(&old, &new));
    }
    [own.sop_instance_uid, own.series_instance_uid, own.study_instance_uid] = uids;
    own.path = folder.join(format!("subject-{place}.dcm"));
    fs::write(&own.path, bytes).expect("write a file to send");
    own
}

/// As an instance of its own in the study and series it is in.
fn as_another_instance(sample: &Sample, place: usize, folder: &Path) -> Sample {
    let mut own = sample.clone();
    let mut bytes = fs::read(&sample.path).expect("read a file of the test data");
    own.sop_instance_uid = renamed(&sample.sop_instance_uid, place);
    replace(&mut bytes, &sample.sop_instance_uid, &own.sop_instance_uid);
    own.path = folder.join(format!("instance-{place}.dcm"));
    fs::write(&own.path, bytes).expect("write a file to send");
    own
}

/// A UID with two other digits at its end, by which no component begins with 0.
fn renamed(uid: &str, place: usize) -> String {
    format!("{}{}", &uid[..uid.len() - 2], 10 + place)
}

/// Puts one text in the place of another that is as long, wherever it stands.
fn replace(bytes: &mut [u8], old: &str, new: &str) {
    let mut at = 0;
    while let Some(step) = find(&bytes[at..], old.as_bytes()) {
        at += step;
        bytes[at..at + old.len()].copy_from_slice(new.as_bytes());
        at += old.len();
    }
}

fn ask<'a>(gateway: &Gateway, subjects: impl Iterator<Item = &'a Subject>, scratch: &Path) -> Vec<Row> {
    fs::create_dir_all(scratch).expect("make a folder for answers");
    let mut checks = Checks::new(scratch);
    let mut rows = Vec::new();
    for subject in subjects {
        for request in requests(&subject.sample) {
            let answer = gateway.web.get(&request.url, &request.accept);
            let outcome = Outcome::of(&answer, subject, &request.allowed, &mut checks);
            rows.push(Row {
                file: subject.sample.name.clone(),
                syntax: subject.sample.transfer_syntax_uid.clone(),
                resource: request.resource,
                accept: request.accept,
                outcome,
            });
        }
    }
    let found = checks.run();
    rows.iter_mut().for_each(|row| row.outcome.complete(&found));
    rows
}

/// Everything that is asked about one image.
fn requests(sample: &Sample) -> Vec<Request> {
    let study = format!("/dicomweb/studies/{}", sample.study_instance_uid);
    let series = format!("{study}/series/{}", sample.series_instance_uid);
    let instance = format!("{series}/instances/{}", sample.sop_instance_uid);
    let mut all = Vec::new();
    let mut add = |resource, url: &str, accepts: Vec<Accept>, expected: &dyn Fn(&Accept) -> Vec<Given>| {
        for accept in accepts {
            let allowed = expected(&accept);
            all.push(Request { resource, url: url.to_owned(), accept: accept.header, allowed });
        }
    };
    for (resource, url, alone) in
        [("study", &study, false), ("series", &series, false), ("instance", &instance, true)]
    {
        add(resource, url, asked::instances(), &|accept| expected::instances(sample, alone, &accept.wants));
    }
    let last = sample.frames;
    for (resource, numbers) in [("frame", vec![last]), ("frames", vec![last, 1])] {
        if numbers.len() > 1 && last == 1 {
            continue;
        }
        let list: Vec<String> = numbers.iter().map(u32::to_string).collect();
        let url = format!("{instance}/frames/{}", list.join(","));
        add(resource, &url, asked::frames(), &|accept| expected::frames(sample, &numbers, &accept.wants));
    }
    if is_in_pixel_data(sample) {
        let url = format!("{instance}/bulkdata/7FE00010");
        add("pixel data", &url, asked::frames(), &|accept| expected::pixel_data(sample, &accept.wants));
    }
    let levels = [("study", &study), ("series", &series), ("instance", &instance)];
    for (level, url) in levels {
        let metadata = |accept: &Accept| expected::metadata(&accept.wants);
        add(
            ["study's metadata", "series' metadata", "instance's metadata"][place(level)],
            &format!("{url}/metadata"),
            asked::metadata(),
            &metadata,
        );
        let rendered = |accept: &Accept| expected::pictures(sample, sample.frames, None, &accept.wants);
        add(
            ["study rendered", "series rendered", "instance rendered"][place(level)],
            &format!("{url}/rendered"),
            asked::pictures(),
            &rendered,
        );
        let small = |accept: &Accept| expected::pictures(sample, sample.frames, Some(128), &accept.wants);
        add(
            ["study's thumbnail", "series' thumbnail", "instance's thumbnail"][place(level)],
            &format!("{url}/thumbnail"),
            asked::pictures(),
            &small,
        );
    }
    let frame = format!("{instance}/frames/{last}");
    add("frame rendered", &format!("{frame}/rendered"), asked::pictures(), &|accept| {
        expected::pictures(sample, 1, None, &accept.wants)
    });
    add("frame's thumbnail", &format!("{frame}/thumbnail?viewport=64%2C64"), asked::pictures(), &|accept| {
        expected::pictures(sample, 1, Some(64), &accept.wants)
    });
    all.extend(objects(sample));
    all
}

fn place(level: &str) -> usize {
    ["study", "series", "instance"].iter().position(|name| *name == level).expect("a level")
}

/// By WADO-URI, where the query says what Accept says elsewhere.
fn objects(sample: &Sample) -> impl Iterator<Item = Request> {
    let base = format!(
        "/wado?requestType=WADO&studyUID={}&seriesUID={}&objectUID={}",
        sample.study_instance_uid, sample.series_instance_uid, sample.sop_instance_uid
    );
    let picture = |header: &str| {
        let wants =
            asked::pictures().into_iter().find(|accept| accept.header == header).expect("it is asked for");
        expected::pictures(sample, 1, None, &wants.wants)
    };
    // By itself what shows nothing is the instance.
    let unsaid = match sample.pixel_sha256.is_empty() {
        true => expected::object(sample, None),
        false => picture("*/*"),
    };
    let mut asked = vec![
        (String::new(), unsaid),
        ("&contentType=image%2Fjpeg".into(), picture("image/jpeg")),
        ("&contentType=image%2Fpng".into(), picture("image/png")),
        ("&contentType=image%2Fgif%2Cimage%2Fpng".into(), picture("image/png")),
        ("&contentType=video%2Fquicktime".into(), vec![]),
        ("&contentType=application%2Fdicom".into(), expected::object(sample, None)),
        ("&contentType=application%2Fdicom&transferSyntax=%2A".into(), expected::object(sample, Some("*"))),
    ];
    asked.extend(asked::SYNTAXES.map(|uid| {
        (
            format!("&contentType=application%2Fdicom&transferSyntax={uid}"),
            expected::object(sample, Some(uid)),
        )
    }));
    asked.into_iter().map(move |(query, allowed)| Request {
        resource: "WADO-URI",
        url: format!("{base}{query}"),
        accept: if query.is_empty() { "*/*".into() } else { query },
        allowed,
    })
}

/// Its samples are in (7FE0,0010): those of real numbers are in other elements.
fn is_in_pixel_data(sample: &Sample) -> bool {
    !expected::is_real(sample)
}

fn write_table(rows: &[Row]) {
    let mut lines: Vec<String> = rows.iter().map(Row::line).collect();
    lines.sort();
    let target = root().join("target");
    fs::create_dir_all(&target).expect("make the folder of the table");
    let path = target.join("accept-matrix.tsv");
    let head = "file\tstored in\tresource\tAccept\tstatus\tContent-Type\toutcome";
    fs::write(&path, format!("{head}\n{}\n", lines.join("\n"))).expect("write the table");
    let mut kinds: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for row in rows {
        let kind = row.outcome.told.split([':', ' ']).next().unwrap_or_default().to_owned();
        *kinds.entry((row.resource, kind)).or_default() += 1;
    }
    let mut summary = String::new();
    for ((resource, kind), count) in kinds {
        let _ = writeln!(summary, "{count:>6}  {resource}: {kind}");
    }
    println!("{}: {} answers\n{summary}", path.display(), rows.len());
}
