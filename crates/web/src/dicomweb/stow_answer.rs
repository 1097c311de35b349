//! What a STOW-RS request is answered (PS3.18 10.5.3 and annex I.2): a dataset with what was stored and what was not.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use filmgate_model::{Identity, Tag, VR, json::JsonWriter, tags};
use filmgate_pipeline::{Error as RoadError, Received, Verdict};

use super::{DICOM_JSON, instance_url, study_url};
use crate::Error;

/// Why an instance is not stored (PS3.18 table I.2-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No room.
    OutOfResources,
    /// It is not of the study, or not the instance, it was announced as.
    Mismatch,
    /// It could not be read as an instance.
    NotUnderstood,
    /// Something else went wrong, or it is larger than is taken.
    Processing,
}

impl Failure {
    /// The failure a step of the road ended with. It is logged here: the answer has only a number for it.
    pub(crate) fn of(error: &RoadError) -> Self {
        if error.is_no_room() {
            return Self::OutOfResources;
        }
        if matches!(error, RoadError::OtherStudy) {
            return Self::Mismatch;
        }
        tracing::error!(
            error = error as &dyn std::error::Error,
            "an instance sent by STOW-RS was not stored"
        );
        Self::Processing
    }

    fn reason(self) -> u16 {
        match self {
            Self::OutOfResources => 0xa700,
            Self::Mismatch => 0xa900,
            Self::NotUnderstood => 0xc000,
            Self::Processing => 0x0110,
        }
    }
}

/// What became of one instance.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    sop_class_uid: String,
    sop_instance_uid: String,
    /// What it is filed under, or why it failed.
    result: Result<Identity, Failure>,
    /// The study it is of, when it could be read.
    study: Option<String>,
}

impl Outcome {
    /// An instance that is durable, by its verdict.
    pub(crate) fn received(received: &Received) -> Self {
        let identity = received.identity.clone();
        let result = match received.verdict {
            Verdict::Accepted => Ok(identity.clone()),
            Verdict::Mismatched(_) => Err(Failure::Mismatch),
            Verdict::NotUnderstood(_) => Err(Failure::NotUnderstood),
        };
        Self {
            sop_class_uid: identity.sop_class_uid,
            sop_instance_uid: identity.sop_instance_uid,
            result,
            study: Some(identity.study_instance_uid),
        }
    }

    /// An instance that is not kept.
    pub(crate) fn failed(sop_class_uid: String, sop_instance_uid: String, failure: Failure) -> Self {
        Self { sop_class_uid, sop_instance_uid, result: Err(failure), study: None }
    }

    /// Something that could not even be told apart.
    pub(crate) fn unidentified() -> Self {
        Self::failed(String::new(), String::new(), Failure::NotUnderstood)
    }
}

/// The outcomes of one request.
pub(crate) struct Answer {
    /// The study the request is bound to.
    study: Option<String>,
    outcomes: Vec<Outcome>,
}

impl Answer {
    /// Nothing came yet.
    pub(crate) fn new(study: Option<String>) -> Self {
        Self { study, outcomes: Vec::new() }
    }

    /// The study the request is bound to.
    pub(crate) fn study(&self) -> Option<String> {
        self.study.clone()
    }

    /// True while no instance has an outcome.
    pub(crate) fn is_empty(&self) -> bool {
        self.outcomes.is_empty()
    }

    /// Adds an outcome.
    pub(crate) fn push(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }

    /// The response: 200 when all were stored, 202 when some were, 409 when none was, 503 when only room was lacking.
    pub(crate) fn respond(&self) -> Result<Response, Error> {
        let mut failures = self.outcomes.iter().filter_map(|outcome| outcome.result.as_ref().err());
        let failed = failures.clone().count();
        if failed > 0
            && failed == self.outcomes.len()
            && failures.all(|failure| *failure == Failure::OutOfResources)
        {
            return Err(Error::NoRoom);
        }
        let status = match failed {
            0 => StatusCode::OK,
            failed if failed < self.outcomes.len() => StatusCode::ACCEPTED,
            _ => StatusCode::CONFLICT,
        };
        let content_type = (header::CONTENT_TYPE, HeaderValue::from_static(DICOM_JSON));
        Ok((status, [content_type], self.json()).into_response())
    }

    fn json(&self) -> Vec<u8> {
        let mut json = JsonWriter::default();
        if let Some(study) = self.one_study() {
            json.element(tags::RETRIEVE_URL, VR::UR, study_url(study).as_bytes());
        }
        let (identified, others): (Vec<&Outcome>, Vec<&Outcome>) =
            self.outcomes.iter().partition(|outcome| !outcome.sop_instance_uid.is_empty());
        let failed =
            identified.iter().filter_map(|outcome| Some((*outcome, *outcome.result.as_ref().err()?)));
        let stored = identified.iter().filter_map(|outcome| outcome.result.as_ref().ok());
        let others = others.iter().filter_map(|outcome| outcome.result.as_ref().err());
        sequence(&mut json, tags::FAILED_SOP_SEQUENCE, failed, |json, (outcome, failure)| {
            references(json, &outcome.sop_class_uid, &outcome.sop_instance_uid);
            json.element(tags::FAILURE_REASON, VR::US, &failure.reason().to_le_bytes());
        });
        sequence(&mut json, tags::REFERENCED_SOP_SEQUENCE, stored, |json, identity| {
            references(json, &identity.sop_class_uid, &identity.sop_instance_uid);
            let Identity { study_instance_uid, series_instance_uid, sop_instance_uid, .. } = identity;
            let url = instance_url(study_instance_uid, series_instance_uid, sop_instance_uid);
            json.element(tags::RETRIEVE_URL, VR::UR, url.as_bytes());
        });
        // What has no SOP Instance UID cannot be in the sequence of failed instances (PS3.18 table I.2-1).
        sequence(&mut json, tags::OTHER_FAILURES_SEQUENCE, others, |json, failure| {
            json.element(tags::FAILURE_REASON, VR::US, &failure.reason().to_le_bytes());
        });
        json.finish()
    }

    /// The study of the request, or of every instance that has one.
    fn one_study(&self) -> Option<&str> {
        if let Some(study) = &self.study {
            return Some(study);
        }
        let mut studies = self.outcomes.iter().filter_map(|outcome| outcome.study.as_deref());
        let first = studies.next()?;
        studies.all(|study| study == first).then_some(first)
    }
}

fn references(json: &mut JsonWriter, sop_class_uid: &str, sop_instance_uid: &str) {
    json.element(tags::REFERENCED_SOP_CLASS_UID, VR::UI, sop_class_uid.as_bytes());
    json.element(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, sop_instance_uid.as_bytes());
}

/// A sequence with an item for each of `items`; none at all without items.
fn sequence<T>(
    json: &mut JsonWriter,
    tag: Tag,
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut JsonWriter, T),
) {
    let mut items = items.peekable();
    if items.peek().is_none() {
        return;
    }
    json.begin_sequence(tag);
    for item in items {
        json.begin_item();
        write(json, item);
        json.end_item();
    }
    json.end_sequence();
}

#[cfg(test)]
mod tests {
    use filmgate_model::RecordId;
    use serde_json::{Value, json};

    use super::*;

    fn received(study: &str, sop: &str, verdict: Verdict) -> Outcome {
        let identity = Identity {
            study_instance_uid: study.into(),
            series_instance_uid: "1.3".into(),
            sop_instance_uid: sop.into(),
            sop_class_uid: "1.2.840.10008.5.1.4.1.1.2".into(),
        };
        Outcome::received(&Received { record_id: RecordId([1; 16]), identity, verdict, dataset_bytes: 1 })
    }

    fn answer(study: Option<&str>, outcomes: Vec<Outcome>) -> Answer {
        let mut answer = Answer::new(study.map(str::to_owned));
        outcomes.into_iter().for_each(|outcome| answer.push(outcome));
        answer
    }

    fn told(answer: &Answer) -> (u16, Value) {
        let status = answer.respond().map_or(503, |response| response.status().as_u16());
        (status, serde_json::from_slice(&answer.json()).expect("valid JSON"))
    }

    #[test]
    fn what_was_stored_is_referenced() {
        let (status, json) = told(&answer(None, vec![received("1.2", "1.4", Verdict::Accepted)]));
        assert_eq!(status, 200);
        assert_eq!(json["00081190"]["Value"][0], "/dicomweb/studies/1.2");
        let stored = &json["00081199"]["Value"][0];
        assert_eq!(stored["00081155"]["Value"][0], "1.4");
        assert_eq!(stored["00081190"]["Value"][0], "/dicomweb/studies/1.2/series/1.3/instances/1.4");
        assert!(json.get("00081198").is_none());
    }

    #[test]
    fn what_failed_has_its_reason() {
        let broken = received("1.2", "1.5", Verdict::NotUnderstood("cut off".into()));
        let full = Outcome::failed("1.9".into(), "1.6".into(), Failure::OutOfResources);
        let outcomes = vec![received("1.2", "1.4", Verdict::Accepted), broken, full, Outcome::unidentified()];
        let (status, json) = told(&answer(None, outcomes));
        assert_eq!(status, 202);
        let reasons: Vec<_> = json["00081198"]["Value"]
            .as_array()
            .expect("items")
            .iter()
            .map(|item| &item["00081197"])
            .collect();
        assert_eq!(
            reasons,
            [&json!({"vr": "US", "Value": [0xc000]}), &json!({"vr": "US", "Value": [0xa700]})]
        );
        assert_eq!(json["0008119A"]["Value"][0]["00081197"]["Value"][0], 0xc000);
    }

    /// PS3.18 10.5.1.2: it is refused before it is kept.
    #[test]
    fn an_instance_of_another_study_failed() {
        let elsewhere = Outcome::failed("1.7".into(), "1.4".into(), Failure::of(&RoadError::OtherStudy));
        let (status, json) = told(&answer(Some("1.2"), vec![elsewhere]));
        assert_eq!(status, 409);
        assert_eq!(json["00081198"]["Value"][0]["00081197"]["Value"][0], 0xa900);
        assert!(json.get("00081199").is_none());
    }

    #[test]
    fn when_only_room_is_lacking_the_sender_comes_again() {
        let full = || Outcome::failed("1.9".into(), "1.6".into(), Failure::OutOfResources);
        assert_eq!(told(&answer(None, vec![full(), full()])).0, 503);
        assert_eq!(told(&answer(None, vec![full(), Outcome::unidentified()])).0, 409);
    }
}
