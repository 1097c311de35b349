//! What came: whether it is one of the answers that will do, and whether its bytes are what was sent.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Subject;
use super::expected::{Given, What};
use crate::support::dicom::File;
use crate::support::peers;
use crate::support::process::finish;
use crate::support::web::{Answer, Part};

const DEADLINE: Duration = Duration::from_secs(300);
/// Two decoders of one lossy codestream are apart by so many grey levels on average, at most.
const LOSSY_APART_MAX: f64 = 1.0;
/// So far JPEG XL led away from the only image that others can decode.
const DEEP_JPEG_XL_APART_MAX: f64 = 18.0;

/// What became of one request.
pub(super) struct Outcome {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) told: String,
    pub(super) well: bool,
    /// What is decoded of it, and how far from what was sent it may be.
    check: Option<(usize, f64)>,
}

impl Outcome {
    pub(super) fn of(answer: &Answer, subject: &Subject, allowed: &[Given], checks: &mut Checks) -> Self {
        let seen = examine(answer, subject, allowed, checks);
        let content_type = answer.content_type.split("; boundary").next().unwrap_or_default().to_owned();
        let (well, told, check) = match seen {
            Ok(Seen::Is(told)) => (true, told, None),
            Ok(Seen::ToDecode(number)) => (true, String::new(), Some((number, apart_max(subject)))),
            Err(why) => (false, format!("wrong: {why}"), None),
        };
        Self { status: answer.status, content_type, told, well, check }
    }

    /// Says what was found when the bytes were decoded.
    pub(super) fn complete(&mut self, found: &[Found]) {
        let Some((number, apart_max)) = self.check else { return };
        match found[number].judged(apart_max) {
            Ok(told) => self.told = told,
            Err(why) => (self.well, self.told) = (false, format!("wrong: {why}")),
        }
    }
}

fn apart_max(subject: &Subject) -> f64 {
    match subject.sample.lossy {
        false => 0.0,
        true if subject.reference != subject.sample.path => DEEP_JPEG_XL_APART_MAX,
        true => LOSSY_APART_MAX,
    }
}

enum Seen {
    Is(String),
    ToDecode(usize),
}

/// A body with what was said of it.
struct Body {
    parts: bool,
    /// The media type of each.
    types: Vec<String>,
    locations: Vec<Option<String>>,
    bytes: Vec<Vec<u8>>,
}

fn examine(
    answer: &Answer,
    subject: &Subject,
    allowed: &[Given],
    checks: &mut Checks,
) -> Result<Seen, String> {
    if allowed.is_empty() {
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let reason = said["message"].as_str().unwrap_or_default();
        // What has no frames is not there in any form.
        let refused = answer.status == 406 || answer.status == 404 && said["error"] == "no-such-frame";
        return match (refused, reason.is_empty()) {
            (true, false) => Ok(Seen::Is(format!("refused: {reason}"))),
            _ => Err(format!("not refused with a reason: {reason}")),
        };
    }
    if answer.status != 200 {
        return Err(answer.text());
    }
    let varies = answer.header("vary").unwrap_or_default().to_ascii_lowercase();
    if answer.header("etag").is_some() && !varies.split(',').any(|name| name.trim() == "accept") {
        return Err("kept by caches whatever is accepted".to_owned());
    }
    let body = Body::of(answer)?;
    let given = allowed.iter().find(|given| body.is(given));
    let given = given.ok_or_else(|| format!("answered as {:?}, not as {allowed:?}", body.types.first()))?;
    let sample = &subject.sample;
    match &given.what {
        What::Instances(uid) => {
            let [file] = &body.bytes[..] else { return Err(format!("{} instances", body.bytes.len())) };
            let file = File::new(file.clone());
            if file.transfer_syntax_uid != *uid {
                return Err(format!("a file in {}", file.transfer_syntax_uid));
            }
            if *uid == sample.transfer_syntax_uid {
                let same = file.dataset() == subject.file.dataset();
                return if same { Ok(Seen::Is("as sent".into())) } else { Err("changed".into()) };
            }
            let numbers: Vec<u32> = (1..=sample.frames).collect();
            Ok(Seen::ToDecode(checks.add(subject, &numbers, "file", &body.bytes)))
        }
        What::Frames(numbers, uid) => {
            if body.bytes.len() != numbers.len() {
                return Err(format!("{} frames, not {numbers:?}", body.bytes.len()));
            }
            for (number, location) in numbers.iter().zip(&body.locations) {
                let place = format!("/instances/{}/frames/{number}", sample.sop_instance_uid);
                if body.parts && !location.as_ref().is_some_and(|location| location.ends_with(&place)) {
                    return Err(format!("frame {number} is said to be {location:?}"));
                }
            }
            Ok(Seen::ToDecode(checks.add(subject, numbers, uid, &body.bytes)))
        }
        What::Video(_) => Ok(Seen::ToDecode(checks.add(subject, &[], "stream", &body.bytes))),
        What::Value => Ok(Seen::ToDecode(checks.add(subject, &[], "value", &body.bytes))),
        What::Pictures(count, side_max) => {
            if body.bytes.len() != *count as usize {
                return Err(format!("{} pictures, not {count}", body.bytes.len()));
            }
            let kind = given.media_type.trim_start_matches("image/");
            let sides = side_max.map_or(String::new(), |side| format!(",{side}"));
            Ok(Seen::ToDecode(checks.add(subject, &[], &format!("picture,{kind}{sides}"), &body.bytes)))
        }
        What::Json => {
            let datasets: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
            match datasets.as_array().map(Vec::as_slice) {
                Some([one]) if one["00080018"]["Value"][0] == sample.sop_instance_uid.as_str() => {
                    Ok(Seen::Is("metadata".into()))
                }
                _ => Err("other metadata".into()),
            }
        }
    }
}

impl Body {
    fn of(answer: &Answer) -> Result<Self, String> {
        if !answer.content_type.starts_with("multipart/related;") {
            return Ok(Self {
                parts: false,
                types: vec![answer.content_type.clone()],
                locations: vec![None],
                bytes: vec![answer.body.clone()],
            });
        }
        let root = answer.content_type.split("type=\"").nth(1).and_then(|rest| rest.split('"').next());
        let root = root.ok_or("the type of the parts is not said")?.to_owned();
        let parts = answer.whole_parts();
        let of = |name: &str| -> Vec<Option<String>> {
            parts.iter().map(|part: &Part| part.header(name).map(str::to_owned)).collect()
        };
        let types: Option<Vec<String>> = of("content-type").into_iter().collect();
        let types = types.ok_or("a part does not say its type")?;
        if types.iter().any(|each| essence(each) != essence(&root)) {
            return Err(format!("parts of {types:?} under {root}"));
        }
        let locations = of("content-location");
        Ok(Self { parts: true, types, locations, bytes: parts.into_iter().map(|part| part.body).collect() })
    }

    /// True when it is in this form, as far as what is said of it tells.
    fn is(&self, given: &Given) -> bool {
        let syntax = match &given.what {
            What::Instances(uid) | What::Frames(_, uid) | What::Video(uid) => Some(uid.as_str()),
            _ => None,
        };
        let is_type = |told: &String| {
            let told_syntax = told.split("transfer-syntax=").nth(1).map(|uid| uid.trim_matches('"'));
            essence(told) == given.media_type && (syntax.is_none() || told_syntax == syntax)
        };
        given.parts.is_none_or(|parts| parts == self.parts) && self.types.iter().all(is_type)
    }
}

fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

/// What was found of an answer that was decoded.
#[derive(Debug, Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(super) struct Found {
    /// The samples are those known.
    equal: bool,
    /// The bytes are those that were sent.
    as_sent: Option<bool>,
    /// How far the samples are from those of the file that was sent, on average.
    mean: Option<f64>,
    /// Of a picture: columns × rows.
    picture: Option<String>,
    error: Option<String>,
}

impl Found {
    pub(super) fn judged(&self, apart_max: f64) -> Result<String, String> {
        if self.as_sent == Some(false) {
            return Err("other bytes than were sent".into());
        }
        match self {
            Self { picture: Some(size), .. } => Ok(format!("picture: {size}")),
            Self { equal: true, .. } => Ok("equal".into()),
            Self { mean: Some(mean), .. } if *mean <= apart_max => Ok(format!("close: {mean:.3} apart")),
            Self { mean: Some(mean), .. } => Err(format!("{mean:.3} apart")),
            Self { as_sent: Some(true), .. } => Ok("as sent".into()),
            Self { error, .. } => Err(error.clone().unwrap_or_else(|| "other samples than are known".into())),
        }
    }
}

/// Answers to be decoded, each once however often it came.
pub(super) struct Checks {
    folder: PathBuf,
    known: HashMap<[u8; 32], usize>,
    lines: Vec<String>,
}

impl Checks {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), known: HashMap::new(), lines: Vec::new() }
    }

    pub(super) fn add(
        &mut self,
        subject: &Subject,
        numbers: &[u32],
        form: &str,
        answers: &[Vec<u8>],
    ) -> usize {
        let mut digest = Sha256::new();
        for piece in [
            subject.sample.sop_instance_uid.as_bytes(),
            form.as_bytes(),
            &format!("{numbers:?}").into_bytes(),
        ] {
            digest.update(piece);
        }
        for answer in answers {
            digest.update((answer.len() as u64).to_le_bytes());
            digest.update(answer);
        }
        let next = self.lines.len();
        let number = *self.known.entry(digest.finalize().into()).or_insert(next);
        if number == next {
            let write = |(place, answer): (usize, &Vec<u8>)| {
                let path = self.folder.join(format!("{next}-{place}"));
                std::fs::write(&path, answer).expect("write an answer");
                path.display().to_string()
            };
            let paths: Vec<String> = answers.iter().enumerate().map(write).collect();
            let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
            let (source, reference) = (subject.sample.path.display(), subject.reference.display());
            let known = &subject.sample.pixel_sha256;
            let (numbers, paths) = (numbers.join(","), paths.join(","));
            self.lines.push(format!("{source}\t{reference}\t{known}\t{numbers}\t{form}\t{paths}"));
        }
        number
    }

    /// Decodes them.
    pub(super) fn run(self) -> Vec<Found> {
        let list = self.folder.join("list");
        std::fs::write(&list, self.lines.join("\n") + "\n").expect("write the list of answers");
        let mut decode = peers::python("decode.py", &[&list.display().to_string()]);
        let found: Vec<Found> = finish(&mut decode, DEADLINE).ended(0).lines();
        assert_eq!(found.len(), self.lines.len(), "an answer was not looked at");
        found
    }
}
