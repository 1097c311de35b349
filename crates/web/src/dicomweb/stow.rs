//! STOW-RS (PS3.18 10.5): instances in a `multipart/related` body, each received as it arrives.
//!
//! An instance is answered as stored only when it is durable, as at the other door. While one is being synced the next
//! is read already.

use std::{collections::VecDeque, future::ready, net::SocketAddr, time::Duration};

use axum::{
    body::{Body, BodyDataStream},
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, header},
    response::Response,
};
use bytes::Bytes;
use filmgate_model::{Door, Progress, Provenance};
use filmgate_pipeline::Refusal;
use futures::StreamExt;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout},
};

use super::{
    DICOM,
    media_type::MediaType,
    multipart::{Event, Malformed, Reader},
    stow_answer::{Answer, Outcome},
    stow_part::{Ending, Part},
};
use crate::{Error, extract::Path, router::App};

/// Instances that wait for their sync while the next is read.
const SYNCS_WAITING_MAX: usize = 4;
/// How much of a refused body is read before the answer.
const PASSED_OVER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long a refused body is read before the answer.
const PASSED_OVER_TIME_MAX: Duration = Duration::from_secs(2);

/// Instances of any study.
pub(crate) async fn store(State(app): State<App>, request: Request) -> Result<Response, Error> {
    take(&app, None, request).await
}

/// Instances of one study; others are refused.
pub(crate) async fn store_in_study(
    State(app): State<App>,
    Path(study): Path<String>,
    request: Request,
) -> Result<Response, Error> {
    take(&app, Some(study), request).await
}

async fn take(app: &App, study: Option<String>, request: Request) -> Result<Response, Error> {
    // Answered as DICOM JSON whatever is accepted: no instance is refused for the form of its answer.
    let reader = reader_for(request.headers())?;
    let announced = announced_by(app, &request);
    let _turn = match admit(app).await {
        Ok(turn) => turn,
        Err(error) => {
            pass_over(request.into_body()).await;
            return Err(error);
        }
    };
    let mut store = Store {
        app,
        announced,
        progress: Progress::new(app.settings().request_pace),
        part: None,
        ending: VecDeque::new(),
        answer: Answer::new(study),
    };
    let read = store.read(reader, request.into_body()).await;
    store.settle(0).await;
    match read {
        Ok(()) => {}
        // Nobody hears what is answered to a body that broke off, unless only its frame is wrong.
        Err(error) if store.answer.is_empty() => return Err(error),
        Err(_) => store.answer.push(Outcome::unidentified()),
    }
    store.answer.respond()
}

/// Leave to take instances in: neither too many requests nor too little room.
async fn admit(app: &App) -> Result<OwnedSemaphorePermit, Error> {
    let turn = app.store_turn().await?;
    match app.road().refusal()? {
        None => Ok(turn),
        Some(Refusal::NoRoom) => Err(Error::NoRoom),
        Some(Refusal::KeysLocked) => Err(Error::KeysLocked),
    }
}

/// Reads some of a body that is not taken: a sender in the middle of it would else find its connection gone, and no
/// answer.
async fn pass_over(body: Body) {
    let read = body.into_data_stream().take_while(|piece| ready(piece.is_ok())).scan(0, |bytes, piece| {
        *bytes += piece.map_or(0, |piece| piece.len());
        ready((*bytes < PASSED_OVER_BYTES_MAX).then_some(()))
    });
    // Whether it ended or the time did, the answer follows.
    let _ = timeout(PASSED_OVER_TIME_MAX, read.count()).await;
}

/// A reader for the body, or why it is not taken.
fn reader_for(headers: &HeaderMap) -> Result<Reader, Error> {
    const TAKEN: &str = r#"instances are taken as multipart/related; type="application/dicom"; boundary=..."#;
    let stated = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = stated.and_then(MediaType::parse).ok_or(Error::UnsupportedMediaType(TAKEN))?;
    // `type` names the parts; some senders leave it out.
    let parts = media_type.parameter("type").unwrap_or(DICOM);
    if media_type.essence != "multipart/related" || !parts.trim().eq_ignore_ascii_case(DICOM) {
        return Err(Error::UnsupportedMediaType(TAKEN));
    }
    let boundary = media_type.parameter("boundary").unwrap_or_default();
    Reader::new(boundary).map_err(malformed)
}

fn malformed(error: Malformed) -> Error {
    Error::BadRequest(error.to_string())
}

/// What is known of an instance before its first byte.
fn announced_by(app: &App, request: &Request) -> Provenance {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    Provenance {
        received_at: app.road().clock().now(),
        door: Door::Stow,
        calling_ae: client_name(request.headers()),
        called_ae: String::new(),
        peer: peer.map(|ConnectInfo(address)| address.to_string()).unwrap_or_default(),
        node: app.road().node_id(),
        transfer_syntax_uid: String::new(),
        sop_class_uid: String::new(),
        sop_instance_uid: String::new(),
        file_meta: Vec::new(),
    }
}

/// The name a web client gives itself, cut to what an AE title may be: the product of `User-Agent`.
fn client_name(headers: &HeaderMap) -> String {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let product = agent.split(['/', ' ']).next().unwrap_or_default();
    product.chars().filter(|character| character.is_ascii_graphic() && *character != '\\').take(16).collect()
}

/// One request at work.
struct Store<'a> {
    app: &'a App,
    announced: Provenance,
    /// Of the body.
    progress: Progress,
    /// The instance that is arriving.
    part: Option<Part>,
    /// Those that are complete and wait for their sync.
    ending: VecDeque<Ending>,
    answer: Answer,
}

impl Store<'_> {
    async fn read(&mut self, mut reader: Reader, body: Body) -> Result<(), Error> {
        let mut pieces = body.into_data_stream();
        while let Some(piece) = self.next_piece(&mut pieces).await? {
            reader.push(&piece);
            while let Some(event) = reader.next().map_err(malformed)? {
                self.on_event(event).await;
            }
        }
        reader.finish().map_err(malformed)?;
        if self.answer.is_empty() && self.ending.is_empty() {
            return Err(Error::BadRequest("the body holds no instance".to_owned()));
        }
        Ok(())
    }

    /// The next of the body. Only the wait for it counts against the client, not our work on what came.
    async fn next_piece(&mut self, pieces: &mut BodyDataStream) -> Result<Option<Bytes>, Error> {
        let began = Instant::now();
        let piece = match timeout(self.progress.patience(), pieces.next()).await {
            Ok(piece) => piece.transpose().map_err(|_| Error::BrokenOff)?,
            Err(_) => Some(Bytes::new()),
        };
        if let Some(piece) = &piece
            && let Err(slow) = self.progress.waited(began.elapsed(), piece.len() as u64)
        {
            tracing::warn!(peer = %self.announced.peer, %slow, "a STOW-RS request was given up");
            return Err(slow.into());
        }
        Ok(piece)
    }

    async fn on_event(&mut self, event: Event) {
        match event {
            Event::Part(_) => {
                let received_at = self.app.road().clock().now();
                let announced = Provenance { received_at, ..self.announced.clone() };
                let bytes_max = self.app.settings().stow_instance_bytes_max;
                self.part = Some(Part::new(self.app.road(), announced, bytes_max, self.answer.study()));
            }
            Event::Data(bytes) => {
                if let Some(part) = &mut self.part {
                    part.push(bytes).await;
                }
            }
            Event::PartEnd => {
                if let Some(part) = self.part.take() {
                    self.ending.push_back(part.finish().await);
                    self.settle(SYNCS_WAITING_MAX).await;
                }
            }
        }
    }

    /// Waits until no more than so many instances wait for their sync.
    async fn settle(&mut self, waiting_max: usize) {
        while self.ending.len() > waiting_max {
            if let Some(ending) = self.ending.pop_front() {
                let outcome = ending.outcome().await;
                self.answer.push(outcome);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        [(name, HeaderValue::from_static(value))].into_iter().collect()
    }

    #[test]
    fn only_dicom_in_parts_is_taken() {
        for (content_type, taken) in [
            (r#"multipart/related; type="application/dicom"; boundary=x"#, true),
            ("multipart/related; boundary=x", true),
            (r#"multipart/related; type="application/dicom+json"; boundary=x"#, false),
            ("multipart/form-data; boundary=x", false),
            ("application/dicom", false),
        ] {
            assert_eq!(
                reader_for(&headers(header::CONTENT_TYPE, content_type)).is_ok(),
                taken,
                "{content_type}"
            );
        }
        assert!(matches!(reader_for(&HeaderMap::new()), Err(Error::UnsupportedMediaType(_))));
        let boundless = headers(header::CONTENT_TYPE, "multipart/related; type=application/dicom");
        assert!(matches!(reader_for(&boundless), Err(Error::BadRequest(_))));
    }

    #[test]
    fn a_client_is_known_by_its_product() {
        let name = |agent| client_name(&headers(header::USER_AGENT, agent));
        assert_eq!(name("python-requests/2.31"), "python-requests");
        assert_eq!(name("Mozilla/5.0 (X11)"), "Mozilla");
        assert_eq!(name("averyveryverylongname"), "averyveryverylon");
        assert_eq!(client_name(&HeaderMap::new()), "");
    }
}
