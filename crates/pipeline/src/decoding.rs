//! Pixels decoded and encoded off the async threads, bounded by bytes in flight; by codecs that may crash in processes of their
//! own.

mod pool;

use std::{borrow::Cow, ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use filmgate_model::compute;
use filmgate_pixels::{Error, Frame, FrameData, ImagePixel, worker};

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
    fn length(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }

    fn data(&self) -> FrameData<'_> {
        let bytes = match self.pieces.as_slice() {
            [whole] => Cow::Borrowed(whole.as_ref()),
            pieces => Cow::Owned(pieces.concat()),
        };
        FrameData { bytes, first_bit: self.first_bit, words: self.words }
    }
}

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
        self.decode_then(transfer_syntax_uid, image, frame, |frame| frame).await
    }

    /// The same, and goes on with the frame at once where it is: each way off the async threads and back costs something.
    ///
    /// # Errors
    /// As [`Decoding::decode`]; and when `then` panicked.
    pub async fn decode_then<T: Send + 'static>(
        &self,
        transfer_syntax_uid: &str,
        image: &ImagePixel,
        frame: impl Into<FrameBytes>,
        then: impl FnOnce(Frame) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (syntax, image, frame) = (transfer_syntax_uid.to_owned(), image.clone(), frame.into());
        // It is held by the work itself, which goes on when nobody waits for it any more.
        let room = self.flight.take_owned(image.frame_bytes() + frame.length()).await;
        match self.pool_for(&syntax) {
            Some(pool) => {
                let answer = pool.ask(move |to, from| {
                    let answer = worker::decode((to, from), &syntax, &image, frame.data())?;
                    Ok(answer.map(|frame| (frame, room)))
                });
                let (frame, room) = answer.await?;
                // No longer a matter of the worker, which has the next to serve.
                here(move || {
                    let _room = room;
                    Ok(then(frame))
                })
                .await
            }
            None => {
                here(move || {
                    let _room = room;
                    filmgate_pixels::decode(&syntax, &image, frame.data()).map(then)
                })
                .await
            }
        }
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

async fn here<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    compute(work).await.unwrap_or(Err(Error::Crashed))
}
