//! Orthanc with its DICOMweb plugin, asked the same as the catalogs: as many studies of the same people, an instance each, as a
//! million would take it hours to take in. Its answers come over HTTP; what that costs is measured and taken off.

use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use filmgate_model::Tag;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    part10::{self, CT_IMAGE},
    qido::{PAGE, Question, Times},
    qido_people::Patient,
    receivers::{Receiver, Target},
    report,
};

const ROOT: &str = "1.2.826.0.1.3680043.10.1543.97";
/// Who sends at a time.
const SENDERS: usize = 4;
/// No more questions of a kind are asked after this long, once there were [`QUESTIONS_MIN`].
const KIND_TIME_MAX: Duration = Duration::from_secs(40);
/// Questions of a kind that are asked however long they take.
const QUESTIONS_MIN: usize = 10;
/// How often what HTTP costs is looked at.
const EMPTY_ANSWERS: usize = 100;

/// What Orthanc answered one kind of question with.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) kind: String,
    pub(crate) times: Times,
}

/// Orthanc, filled.
pub(crate) struct Orthanc {
    receiver: Receiver,
    agent: ureq::Agent,
    /// What an answer takes that needs no search.
    http: Duration,
}

impl Orthanc {
    /// Starts one and sends it a study for each.
    ///
    /// # Errors
    /// When it does not hold them all.
    pub(crate) fn fill(work: &Path, hospital: &[Patient]) -> Result<Self> {
        let receiver = Receiver::start(Target::OrthancDicomweb, Path::new(""), work)?;
        let url = format!("http://{}/instances", receiver.web_address());
        let next = AtomicUsize::new(0);
        let send = || -> Result<()> {
            let agent = ureq::Agent::new_with_defaults();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(patient) = hospital.get(number) else { return Ok(()) };
                let mut answer = agent.post(&url).send(&file(number, patient)[..])?;
                answer.body_mut().read_to_string()?;
            }
        };
        thread::scope(|scope| {
            let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(send)).collect();
            senders
                .into_iter()
                .try_for_each(|sender| sender.join().map_err(|_| anyhow!("a sender panicked"))?)
        })?;
        receiver.settle(hospital.len() as u64)?;
        let mut orthanc = Self { receiver, agent: ureq::Agent::new_with_defaults(), http: Duration::ZERO };
        let system = format!("http://{}/system", orthanc.receiver.web_address());
        let mut took = Vec::with_capacity(EMPTY_ANSWERS);
        for _ in 0..EMPTY_ANSWERS {
            let since = Instant::now();
            orthanc.text(&system)?;
            took.push(since.elapsed());
        }
        orthanc.http = Times::of(took, &[]).p50();
        report::progress(&format!("an answer without a search: {:?}", orthanc.http));
        Ok(orthanc)
    }

    /// Asks questions of one kind, as long as there is time.
    ///
    /// # Errors
    /// When an answer is no list, or longer than a page.
    pub(crate) fn ask(&self, kind: &str, questions: &[Question]) -> Result<Row> {
        let (mut took, mut found) = (Vec::new(), Vec::new());
        let began = Instant::now();
        for question in questions {
            if took.len() >= QUESTIONS_MIN && began.elapsed() > KIND_TIME_MAX {
                break;
            }
            let url = self.url(question);
            let since = Instant::now();
            let text = self.text(&url).with_context(|| url.clone())?;
            took.push(since.elapsed().saturating_sub(self.http));
            let rows: Vec<Value> = serde_json::from_str(&text).with_context(|| url.clone())?;
            ensure!(rows.len() <= PAGE as usize, "{kind}: a page is too long");
            found.push(rows.len() as f64);
        }
        Ok(Row { kind: kind.to_owned(), times: Times::of(took, &found) })
    }

    pub(crate) fn end(self) -> Result<()> {
        self.receiver.end()
    }

    fn url(&self, question: &Question) -> String {
        let mut url = format!("{}/studies?limit={PAGE}", self.receiver.dicomweb_root());
        if question.fuzzy {
            url += "&fuzzymatching=true";
        }
        for (tag, text) in &question.asked {
            url += &format!("&{}={}", name(*tag), encoded(text));
        }
        url
    }

    fn text(&self, url: &str) -> Result<String> {
        let mut answer = self.agent.get(url).header("Accept", "application/dicom+json").call()?;
        Ok(answer.body_mut().with_config().limit(u64::MAX).read_to_string()?)
    }
}

fn name(tag: Tag) -> String {
    format!("{:04X}{:04X}", tag.group(), tag.element())
}

/// Bytes that are not plain as `%XX` (RFC 3986 2.1).
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~*".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// The only instance of a study.
fn file(study: usize, patient: &Patient) -> Vec<u8> {
    let instance = format!("{ROOT}.3.{study}");
    part10::file(
        CT_IMAGE,
        &instance,
        &[
            (0x0008_0005, b"CS", b"ISO_IR 192"),
            (0x0008_0016, b"UI", CT_IMAGE.as_bytes()),
            (0x0008_0018, b"UI", instance.as_bytes()),
            (0x0008_0020, b"DA", patient.date.as_bytes()),
            (0x0008_0030, b"TM", patient.time.as_bytes()),
            (0x0008_0050, b"SH", patient.accession.as_bytes()),
            (0x0008_0060, b"CS", patient.modality.as_bytes()),
            (0x0008_0090, b"PN", patient.referring.as_bytes()),
            (0x0008_1030, b"LO", patient.description.as_bytes()),
            (0x0010_0010, b"PN", patient.name.as_bytes()),
            (0x0010_0020, b"LO", patient.id.as_bytes()),
            (0x0010_0030, b"DA", b"19700101"),
            (0x0010_0040, b"CS", b"O"),
            (0x0020_000D, b"UI", format!("{ROOT}.1.{study}").as_bytes()),
            (0x0020_000E, b"UI", format!("{ROOT}.2.{study}").as_bytes()),
            (0x0020_0011, b"IS", b"1"),
            (0x0020_0013, b"IS", b"1"),
        ],
    )
}
