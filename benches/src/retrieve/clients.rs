//! The clients: one in this process, and Python's `requests` as the programs of a hospital use it. Both keep their connections,
//! ask for nothing compressed, and look into every body once the clock has stopped.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Barrier, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use super::answers::Holds;
use crate::process::{self, Owned, Tree};

const SCRIPT: &str = include_str!("client.py");
/// What a buffer grows by when a body is longer than was expected.
const GROWTH_BYTES: usize = 1 << 20;
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Steps taken from one queue by so many clients.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Pass {
    pub(super) clients: usize,
    pub(super) steps: Vec<Step>,
}

/// Requests, one after the other, timed together.
pub(super) type Step = Vec<Request>;

/// A request and what its answer must hold.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Request {
    /// Behind the root.
    pub(super) path: String,
    pub(super) accept: &'static str,
    #[serde(flatten)]
    pub(super) holds: Holds,
    /// How long the body is, about.
    #[serde(skip)]
    pub(super) body_bytes: usize,
}

/// How long a pass took.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Timed {
    /// From the first request to the last byte.
    pub(super) seconds: f64,
    /// Of each step.
    pub(super) step_seconds: Vec<f64>,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ClientKind {
    /// A thread of this process for each client, HTTP/1.1
    Rust,
    /// A thread of one Python process for each client, `requests`
    Python,
}

impl ClientKind {
    pub(super) const ALL: [Self; 2] = [Self::Rust, Self::Python];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Python => "Python",
        }
    }

    pub(super) fn start(self, python: &Path) -> Result<Client> {
        Ok(match self {
            Self::Rust => Client::Rust(Threads::default()),
            Self::Python => Client::Python(Box::new(Python::start(python)?)),
        })
    }
}

/// A client that runs.
pub(super) enum Client {
    Rust(Threads),
    Python(Box<Python>),
}

impl Client {
    /// # Errors
    /// When an answer is not what it must be.
    pub(super) fn run(&mut self, root: &str, pass: &Pass) -> Result<Timed> {
        match self {
            Self::Rust(threads) => threads.run(root, pass),
            Self::Python(python) => python.run(root, pass),
        }
    }

    /// User and system time it took so far.
    pub(super) fn cpu_seconds(&mut self) -> Result<f64> {
        match self {
            Self::Rust(_) => process::own_cpu_seconds(),
            Self::Python(python) => python.tree.cpu_seconds(),
        }
    }
}

/// One agent, with its connection, for each client; bodies stay in buffers that were written before.
#[derive(Default)]
pub(super) struct Threads {
    agents: Vec<ureq::Agent>,
    buffers: Vec<Vec<u8>>,
}

/// A step before and after it was taken.
struct Taken {
    bodies: Vec<Vec<u8>>,
    content_types: Vec<String>,
    seconds: f64,
}

impl Threads {
    fn run(&mut self, root: &str, pass: &Pass) -> Result<Timed> {
        while self.agents.len() < pass.clients {
            let config = ureq::Agent::config_builder().timeout_global(Some(ANSWER_WITHIN));
            self.agents.push(config.build().new_agent());
        }
        let taken: Vec<Mutex<Taken>> =
            pass.steps.iter().map(|step| Mutex::new(self.prepared(step))).collect();
        let (next, start) = (AtomicUsize::new(0), Barrier::new(pass.clients));
        let work = |agent: &ureq::Agent| -> Result<(Instant, Instant)> {
            start.wait();
            let started = Instant::now();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let (Some(step), Some(slot)) = (pass.steps.get(number), taken.get(number)) else {
                    return Ok((started, Instant::now()));
                };
                slot.lock().unwrap_or_else(PoisonError::into_inner).take(agent, root, step)?;
            }
        };
        let times = thread::scope(|scope| {
            let clients: Vec<_> =
                self.agents[..pass.clients].iter().map(|agent| scope.spawn(|| work(agent))).collect();
            let ended =
                clients.into_iter().map(|client| client.join().map_err(|_| anyhow!("a client failed"))?);
            ended.collect::<Result<Vec<_>>>()
        })?;
        let (first, last) = (times.iter().map(|time| time.0).min(), times.iter().map(|time| time.1).max());
        let seconds = (last.context("a client")? - first.context("a client")?).as_secs_f64();
        let mut step_seconds = Vec::with_capacity(taken.len());
        for (step, taken) in pass.steps.iter().zip(taken) {
            let taken = taken.into_inner().unwrap_or_else(PoisonError::into_inner);
            for ((request, body), content_type) in step.iter().zip(&taken.bodies).zip(&taken.content_types) {
                request
                    .holds
                    .check(content_type, body)
                    .with_context(|| format!("the answer to {}", request.path))?;
            }
            step_seconds.push(taken.seconds);
            self.buffers.extend(taken.bodies);
        }
        Ok(Timed { seconds, step_seconds })
    }

    /// Buffers whose pages are there already.
    fn prepared(&mut self, step: &Step) -> Taken {
        let bodies = step.iter().map(|request| {
            let mut buffer = self.buffers.pop().unwrap_or_default();
            buffer.resize(request.body_bytes.max(1), 0);
            buffer
        });
        Taken { bodies: bodies.collect(), content_types: Vec::with_capacity(step.len()), seconds: 0.0 }
    }
}

impl Taken {
    fn take(&mut self, agent: &ureq::Agent, root: &str, step: &Step) -> Result<()> {
        let started = Instant::now();
        for (request, body) in step.iter().zip(&mut self.bodies) {
            let asked = agent.get(format!("{root}{}", request.path)).header("accept", request.accept);
            let answer = asked.header("accept-encoding", "identity").call();
            let mut answer = answer.with_context(|| format!("ask for {}", request.path))?;
            read_into(&mut answer.body_mut().as_reader(), body)?;
            let content_type = answer.headers().get("content-type").and_then(|value| value.to_str().ok());
            self.content_types.push(content_type.unwrap_or_default().to_owned());
        }
        self.seconds = started.elapsed().as_secs_f64();
        Ok(())
    }
}

fn read_into(reader: &mut impl Read, body: &mut Vec<u8>) -> Result<()> {
    let mut at = 0;
    loop {
        if at == body.len() {
            body.resize(at + GROWTH_BYTES, 0);
        }
        match reader.read(&mut body[at..])? {
            0 => break,
            read => at += read,
        }
    }
    body.truncate(at);
    Ok(())
}

/// A Python process that is told a pass in a line and answers with its times in one.
pub(super) struct Python {
    tree: Tree,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _process: Owned,
}

#[derive(Serialize)]
struct Told<'a> {
    root: &'a str,
    #[serde(flatten)]
    pass: &'a Pass,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Timed(Timed),
    Failed { error: String },
}

impl Python {
    fn start(python: &Path) -> Result<Self> {
        let mut command = Command::new(python);
        command.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("start Python")?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let process = Owned::new(child);
        let mut output = BufReader::new(output.context("its output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        if line.trim() != "ready" {
            bail!("Python is not ready: its packages are those of tests/peers/requirements.txt");
        }
        Ok(Self {
            tree: Tree::new(process.pid()),
            input: input.context("its input")?,
            output,
            _process: process,
        })
    }

    fn run(&mut self, root: &str, pass: &Pass) -> Result<Timed> {
        let mut line = serde_json::to_vec(&Told { root, pass })?;
        line.push(b'\n');
        self.input.write_all(&line)?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        match serde_json::from_str(&line).context("what Python says")? {
            Answer::Timed(timed) => Ok(timed),
            Answer::Failed { error } => bail!("{error}"),
        }
    }
}
