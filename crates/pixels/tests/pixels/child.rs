//! Codecs in C and C++, and what is not ours: broken codestreams are given to them in another process, as the gateway does.

use std::{
    io::{self, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use filmgate_pixels::{Error, Frame, FrameData, decode, worker};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::malformed::{check, stored};

/// Set for the process that is to serve.
const SERVES: &str = "FILMGATE_TEST_SERVES_PIXELS";
/// As the gateway's default.
const MEMORY_BYTES_MAX: u64 = 4 << 30;

const FILES: &[&str] = &[
    "syntaxes/mr-small/jpeg-ls-lossless.dcm",
    "syntaxes/sc-rgb-small/jpeg-ls-near-line.dcm",
    "syntaxes/misc/jpeg-ls-rgb-ilv0.dcm",
    "syntaxes/mr-small/jpeg2000-lossless.dcm",
    "syntaxes/sc-rgb-small/jpeg2000-lossy.dcm",
    "derived/ct-small-htj2k-lossless-rpcl.dcm",
    "derived/ct-small-htj2k-lossy.dcm",
    "derived/sc-rgb-jpeg-xl-lossless.dcm",
    "derived/sc-rgb-jpeg-xl-lossy.dcm",
];

/// Not a test: what the child does.
#[test]
fn serves_when_it_is_a_child() {
    if std::env::var_os(SERVES).is_none() {
        return;
    }
    let limit = Rlimit { current: Some(MEMORY_BYTES_MAX), maximum: Some(MEMORY_BYTES_MAX) };
    setrlimit(Resource::As, limit).expect("a limit");
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).expect("a limit");
    let input = io::stdin().as_fd().try_clone_to_owned().expect("the socket");
    let socket = UnixStream::from(input);
    worker::serve(&mut &socket, &mut &socket).expect("the test asks");
}

/// A child and the way to it.
struct Worker {
    child: Child,
    socket: UnixStream,
}

impl Worker {
    fn start() -> Self {
        let (ours, theirs) = UnixStream::pair().expect("sockets");
        ours.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args(["--exact", "child::serves_when_it_is_a_child"]).env(SERVES, "1");
        command
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self { child: command.spawn().expect("a process"), socket: ours }
    }

    fn decode(&self, file: &crate::files::Stored, bytes: &[u8]) -> io::Result<Result<Frame, Error>> {
        let (mut to, mut from) = (&self.socket, &self.socket);
        worker::decode((&mut to, &mut from), &file.syntax, &file.image, FrameData::of(bytes))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_crashes_a_codec_costs_one_worker_and_the_next_goes_on() {
    let (mut worker, mut lost, mut refused, mut decoded) = (Worker::start(), 0, 0, 0);
    for path in FILES {
        let Some(file) = stored(path) else { return };
        let bytes = file.frames().next().expect("a frame").bytes.to_vec();
        let whole = decode(&file.syntax, &file.image, FrameData::of(&bytes)).expect("a frame");
        assert_eq!(worker.decode(&file, &bytes).expect("a worker"), Ok(whole.clone()), "{path}");
        let mut ask = |broken: &[u8]| match worker.decode(&file, broken) {
            Ok(answer) => {
                check(&file.image, &answer);
                if answer.is_ok() {
                    decoded += 1
                } else {
                    refused += 1
                }
                answer.ok()
            }
            Err(_) => {
                lost += 1;
                worker = Worker::start();
                None
            }
        };
        for length in (0..bytes.len()).step_by((bytes.len() / 20).max(1)) {
            if let Some(frame) = ask(&bytes[..length]) {
                // What is missing may be the marker of the end alone.
                assert!(frame == whole || length + 64 > bytes.len(), "{path} of {length} bytes");
            }
        }
        let mut broken = bytes.clone();
        for bit in
            (0..(bytes.len() * 8).min(800)).step_by(17).chain((800..bytes.len() * 8).step_by(bytes.len()))
        {
            broken[bit / 8] ^= 1 << (bit % 8);
            ask(&broken);
            broken[bit / 8] ^= 1 << (bit % 8);
        }
    }
    let mut outcome = io::stderr();
    let _ =
        writeln!(outcome, "broken codestreams: {refused} refused, {decoded} decoded, {lost} workers lost");
}

#[test]
fn a_worker_that_is_asked_nonsense_ends() {
    let mut worker = Worker::start();
    worker.socket.write_all(&[0; 64]).expect("it listens");
    let mut answer = Vec::new();
    let _ = worker.socket.read_to_end(&mut answer);
    assert!(answer.is_empty() && worker.child.wait().is_ok());
}
