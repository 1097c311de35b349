//! Processes that decode and encode: warm, each with one frame at a time, ended when one takes too long, replaced when one crashed.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
};

use filmgate_model::{compute, spawn};
use filmgate_pixels::Error;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::decoding::WorkerOptions;

/// The processes there are.
pub(super) struct Pool {
    options: WorkerOptions,
    seats: Arc<Semaphore>,
    idle: Mutex<Vec<Worker>>,
}

/// What is asked of a worker, over its input and output.
type Answered<T> = io::Result<Result<T, Error>>;

impl Pool {
    pub(super) fn new(options: WorkerOptions) -> Self {
        let seats = Arc::new(Semaphore::new(options.count.max(1)));
        Self { options, seats, idle: Mutex::default() }
    }

    /// Asks a worker once one is free. A question that was begun is answered or cut off at the time limit, whether or not
    /// somebody still waits for it: its worker then serves the next.
    pub(super) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&mut ChildStdin, &mut ChildStdout) -> Answered<T> + Send + 'static,
    ) -> Result<T, Error> {
        let seat = Arc::clone(&self.seats).acquire_owned().await;
        let pool = Arc::clone(self);
        let asked = spawn(async move {
            let answer = pool.ask_one(question).await;
            drop(seat);
            answer
        });
        asked.await.unwrap_or(Err(Error::Crashed))
    }

    async fn ask_one<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&mut ChildStdin, &mut ChildStdout) -> Answered<T> + Send + 'static,
    ) -> Result<T, Error> {
        let mut worker = self.free().await?;
        let process = Arc::clone(&worker.process);
        let answering = compute(move || {
            let answer = question(&mut worker.to, &mut worker.from);
            (worker, answer)
        });
        tokio::pin!(answering);
        let done = tokio::time::timeout(self.options.time_max, &mut answering).await;
        match done {
            Ok(Ok((worker, Ok(answer)))) => {
                self.idle.lock().push(worker);
                answer
            }
            Ok(_) => {
                tell("crashed");
                Err(Error::Crashed)
            }
            Err(_) => {
                process.end();
                // It ends now that its pipes have.
                let _ = answering.await;
                tell("too slow");
                Err(Error::TooSlow { milliseconds_max: self.options.time_max.as_millis() as u64 })
            }
        }
    }

    /// A worker that waits, or a new one.
    async fn free(self: &Arc<Self>) -> Result<Worker, Error> {
        loop {
            let idle = self.idle.lock().pop();
            match idle {
                // One that ended while it waited is passed over.
                Some(worker) if worker.process.is_running() => return Ok(worker),
                Some(_) => {}
                None => break,
            }
        }
        let options = self.options.clone();
        let started = compute(move || Worker::start(&options)).await;
        let started = started.unwrap_or_else(|panicked| Err(io::Error::other(panicked)));
        started.map_err(|error| Error::NoWorker(error.to_string()))
    }
}

fn tell(why: &'static str) {
    tracing::warn!(why, "a process that decodes pixels was ended");
    metrics::counter!("filmgate_pixel_workers_ended_total", "why" => why).increment(1);
}

/// One process and the way to it.
struct Worker {
    to: ChildStdin,
    from: ChildStdout,
    process: Arc<Process>,
}

impl Worker {
    fn start(options: &WorkerOptions) -> io::Result<Self> {
        let mut command = Command::new(&options.program);
        // It needs nothing of ours, least of all secrets from the environment; and what ends us from a terminal lets it finish.
        command.args(&options.arguments).env_clear().process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let ends = (child.stdin.take(), child.stdout.take());
        let process = Arc::new(Process(Mutex::new(child)));
        match ends {
            (Some(to), Some(from)) => Ok(Self { to, from, process }),
            _ => Err(io::Error::other("a process without its pipes")),
        }
    }
}

/// A process that ends with its last handle.
struct Process(Mutex<Child>);

impl Process {
    fn is_running(&self) -> bool {
        matches!(self.0.lock().try_wait(), Ok(None))
    }

    /// Ends it and waits until it has.
    fn end(&self) {
        let mut child = self.0.lock();
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
