//! Pixels decoded and encoded off the async threads, bounded by bytes in flight; by codecs that may crash in processes of their
//! own.

mod pool;

use std::{
    borrow::Cow,
    ffi::OsString,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use filmgate_model::compute;
use filmgate_pixels::{Error, Frame, FrameData, ImagePixel, worker};

use tokio::sync::OwnedSemaphorePermit;

use crate::flight::Flight;
use pool::Pool;

/// Where codecs that may crash run, and how much at a time.
#[derive(Debug, Clone)]
pub struct DecodingOptions {
    /// Their processes; `None` runs them here, as a simulation does.
    pub workers: Option<WorkerOptions>,
    /// Bytes of frames that are decoded and encoded at a time, stored and decoded ones together.
    pub bytes_in_flight_max: u64,
}

impl Default for DecodingOptions {
    fn default() -> Self {
        Self { workers: None, bytes_in_flight_max: 512 << 20 }
    }
}

/// The processes of codecs.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// A program that does [`worker::serve`] over its standard input and output.
    pub program: PathBuf,
    /// What it is called with.
    pub arguments: Vec<OsString>,
    /// How many there are at most; each waits, warm, for the next frame.
    pub count: usize,
    /// One that takes longer for a frame is ended.
    pub time_max: Duration,
}

/// One frame as its instance stores it.
#[derive(Debug, Clone)]
pub struct FrameBytes {
    /// Its bytes in order; fragments one after another.
    pub pieces: Vec<Bytes>,
    /// See [`FrameData::first_bit`].
    pub first_bit: u8,
    /// See [`FrameData::words`].
    pub words: bool,
}

impl From<Bytes> for FrameBytes {
    fn from(bytes: Bytes) -> Self {
        Self { pieces: vec![bytes], first_bit: 0, words: false }
    }
}

impl FrameBytes {
    fn data(&self) -> FrameData<'_> {
        let bytes = match self.pieces.as_slice() {
            [whole] => Cow::Borrowed(whole.as_ref()),
            pieces => Cow::Owned(pieces.concat()),
        };
        FrameData { bytes, first_bit: self.first_bit, words: self.words }
    }
}

/// Memory that a frame may take meanwhile.
type Room = Option<OwnedSemaphorePermit>;

/// Decodes and encodes; cheap to clone.
#[derive(Clone)]
pub struct Decoding {
    flight: Arc<Flight>,
    pool: Option<Arc<Pool>>,
}

impl Default for Decoding {
    /// Everything in this process.
    fn default() -> Self {
        Self::new(DecodingOptions::default())
    }
}

impl Decoding {
    /// Starts no process: the first frame that needs one does.
    #[must_use]
    pub fn new(options: DecodingOptions) -> Self {
        Self {
            flight: Arc::new(Flight::new(options.bytes_in_flight_max)),
            pool: options.workers.map(|workers| Arc::new(Pool::new(workers))),
        }
    }

    /// Decodes one frame.
    ///
    /// # Errors
    /// As [`filmgate_pixels::decode`]; and when its process crashed, took too long or could not be started.
    pub async fn decode(
        &self,
        transfer_syntax_uid: &str,
        image: &ImagePixel,
        frame: impl Into<FrameBytes>,
    ) -> Result<Frame, Error> {
        let frame = frame.into();
        match self.pool_for(transfer_syntax_uid) {
            Some(pool) => {
                self.by_worker(pool, transfer_syntax_uid, image, frame).await.map(|(frame, _)| frame)
            }
            None => self.decode_then(transfer_syntax_uid, image, frame, |frame| frame).await,
        }
    }

    /// The same, and goes on with the frame at once where it is: each way off the async threads and back costs something.
    ///
    /// # Errors
    /// As [`Decoding::decode`]; [`Error::Failed`] when `then` panicked.
    pub async fn decode_then<T: Send + 'static>(
        &self,
        transfer_syntax_uid: &str,
        image: &ImagePixel,
        frame: impl Into<FrameBytes>,
        then: impl FnOnce(Frame) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let frame = frame.into();
        if let Some(pool) = self.pool_for(transfer_syntax_uid) {
            let (frame, room) = self.by_worker(pool, transfer_syntax_uid, image, frame).await?;
            // No longer a matter of the worker, which has the next to serve.
            let drawn = move || {
                let _room = room;
                going_on(then, frame)
            };
            return here(drawn).await;
        }
        let room = self.room_for(image, &frame).await;
        let (syntax, image) = (transfer_syntax_uid.to_owned(), image.clone());
        here(move || {
            let _room = room;
            going_on(then, filmgate_pixels::decode(&syntax, &image, frame.data())?)
        })
        .await
    }

    async fn by_worker(
        &self,
        pool: &Arc<Pool>,
        transfer_syntax_uid: &str,
        image: &ImagePixel,
        frame: FrameBytes,
    ) -> Result<(Frame, Room), Error> {
        let room = self.room_for(image, &frame).await;
        let (syntax, image) = (transfer_syntax_uid.to_owned(), image.clone());
        pool.ask(move |to, from| {
            let answer = worker::decode((to, from), &syntax, &image, frame.data())?;
            Ok(answer.map(|frame| (frame, room)))
        })
        .await
    }

    /// It is held by the work itself, which goes on when nobody waits for it any more.
    async fn room_for(&self, image: &ImagePixel, frame: &FrameBytes) -> Room {
        self.flight.take_owned(image.frame_bytes() + length(&frame.pieces)).await
    }

    /// Encodes one frame without loss.
    ///
    /// # Errors
    /// As [`filmgate_pixels::encode`]; and when its process crashed, took too long or could not be started.
    pub async fn encode(&self, transfer_syntax_uid: &str, frame: Frame) -> Result<Vec<u8>, Error> {
        let syntax = transfer_syntax_uid.to_owned();
        let room = self.flight.take_owned(2 * frame.bytes.len() as u64).await;
        match self.pool_for(&syntax) {
            Some(pool) => {
                pool.ask(move |to, from| {
                    let _room = room;
                    worker::encode((to, from), &syntax, &frame)
                })
                .await
            }
            None => {
                here(move || {
                    let _room = room;
                    filmgate_pixels::encode(&syntax, &frame)
                })
                .await
            }
        }
    }

    fn pool_for(&self, transfer_syntax_uid: &str) -> Option<&Arc<Pool>> {
        self.pool.as_ref().filter(|_| worker::needs_worker(transfer_syntax_uid))
    }
}

/// What is done with a decoded frame. A panic there says nothing of the pixels.
fn going_on<T>(then: impl FnOnce(Frame) -> T, frame: Frame) -> Result<T, Error> {
    let done = catch_unwind(AssertUnwindSafe(|| then(frame)));
    done.map_err(|_| {
        tracing::error!("what went on with a decoded frame panicked");
        Error::Failed
    })
}

async fn here<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    compute(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a codec panicked in this process");
        Err(Error::Crashed)
    })
}

/// Bytes of all pieces.
pub(crate) fn length(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use filmgate_model::uids::EXPLICIT_VR_LITTLE_ENDIAN;
    use filmgate_pixels::{Photometric, Sample};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_over_a_decoded_frame_is_not_told_of_its_pixels() {
        let image = ImagePixel {
            rows: 1,
            columns: 2,
            samples: 1,
            photometric: Photometric::Monochrome2,
            planar: false,
            sample: Sample::U8,
            bits_stored: 8,
            high_bit: 7,
            frames: 1,
        };
        let decoding = Decoding::default();
        let pixels = || Bytes::from_static(&[1, 2]);
        let decoded = decoding.decode(EXPLICIT_VR_LITTLE_ENDIAN, &image, pixels()).await.expect("decoded");
        assert_eq!(decoded.bytes, [1, 2]);
        let drawn = decoding.decode_then(EXPLICIT_VR_LITTLE_ENDIAN, &image, pixels(), |_| panic!("a defect"));
        assert_eq!(drawn.await.map(|(): ()| ()), Err(Error::Failed));
        let short = decoding.decode_then(EXPLICIT_VR_LITTLE_ENDIAN, &image, Bytes::new(), |_| ());
        assert!(matches!(short.await, Err(Error::Malformed(_))));
    }
}
