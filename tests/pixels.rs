//! Codecs run in processes of their own: what crashes, hangs or fills one costs its frame, and the next frame is decoded.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use filmgate_pipeline::{Decoding, DecodingOptions, WorkerOptions};
use filmgate_pixels::{Error, Frame, HTJ2K_LOSSLESS, ImagePixel, Photometric, Sample};
use tokio::runtime::Runtime;

const JPEG_LS: &str = "1.2.840.10008.1.2.4.80";
const MEMORY_BYTES_MAX: u64 = 512 << 20;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// What the gateway starts.
fn arguments() -> Vec<OsString> {
    ["pixel-worker".into(), "--memory-bytes-max".into(), MEMORY_BYTES_MAX.to_string().into()].into()
}

fn workers(count: usize) -> WorkerOptions {
    let program = env!("CARGO_BIN_EXE_filmgate").into();
    WorkerOptions { program, arguments: arguments(), count, time_max: Duration::from_secs(30) }
}

/// A worker that does `first` the first time, and what it ought to do from then on.
fn failing_once(folder: &Path, first: &str, time_max: Duration) -> WorkerOptions {
    let (flag, program) = (folder.join("failed"), env!("CARGO_BIN_EXE_filmgate"));
    let script = format!(
        "if [ -e '{flag}' ]; then exec '{program}' pixel-worker --memory-bytes-max {MEMORY_BYTES_MAX}; fi; : > '{flag}'; {first}",
        flag = flag.display()
    );
    WorkerOptions {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        count: 1,
        time_max,
    }
}

fn decoding(workers: WorkerOptions) -> Decoding {
    Decoding::new(DecodingOptions { workers: Some(workers), bytes_in_flight_max: 64 << 20 })
}

/// A frame that compresses and is not flat.
fn frame(rows: u32, columns: u32) -> Frame {
    let samples = (0..rows * columns).map(|number| (number % 977 + number / columns) as u16);
    Frame {
        rows,
        columns,
        samples: 1,
        sample: Sample::U16,
        bits_stored: 16,
        photometric: Photometric::Monochrome2,
        bytes: samples.flat_map(u16::to_le_bytes).collect(),
    }
}

fn image(frame: &Frame) -> ImagePixel {
    ImagePixel {
        rows: frame.rows,
        columns: frame.columns,
        samples: 1,
        photometric: frame.photometric,
        planar: false,
        sample: frame.sample,
        bits_stored: frame.bits_stored,
        high_bit: frame.bits_stored - 1,
        frames: 1,
    }
}

/// Encodes and decodes again.
async fn there_and_back(decoding: &Decoding, syntax: &str, frame: &Frame) -> Result<Frame, Error> {
    let bytes = decoding.encode(syntax, frame.clone()).await?;
    decoding.decode(syntax, &image(frame), bytes::Bytes::from(bytes)).await
}

#[test]
fn frames_are_encoded_and_decoded_by_two_processes_for_many_who_ask() {
    let decoding = decoding(workers(2));
    runtime().block_on(async {
        let asked = (0..16).map(|number| {
            let decoding = decoding.clone();
            filmgate_model::spawn(async move {
                let frame = frame(100 + number, 200);
                for syntax in [JPEG_LS, HTJ2K_LOSSLESS, "1.2.840.10008.1.2.5"] {
                    assert!(there_and_back(&decoding, syntax, &frame).await.as_ref() == Ok(&frame));
                }
            })
        });
        let asked: Vec<_> = asked.collect();
        for asked in asked {
            asked.await.expect("all came back");
        }
        // A refusal is no crash.
        let refused =
            decoding.decode(JPEG_LS, &image(&frame(2, 2)), bytes::Bytes::from_static(b"no codestream")).await;
        assert!(matches!(refused, Err(Error::Malformed(_))), "{refused:?}");
    });
}

#[test]
fn a_process_that_crashes_costs_its_frame_and_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    for first in [
        "kill -9 $$",
        "exit 3",
        "head -c 20 > /dev/null; kill -11 $$",
        "echo this is no answer; cat > /dev/null",
    ] {
        let decoding = decoding(failing_once(folder.path(), first, Duration::from_secs(30)));
        let frame = frame(64, 64);
        runtime().block_on(async {
            assert_eq!(there_and_back(&decoding, JPEG_LS, &frame).await, Err(Error::Crashed), "{first}");
            assert!(there_and_back(&decoding, JPEG_LS, &frame).await.as_ref() == Ok(&frame), "{first}");
        });
        std::fs::remove_file(folder.path().join("failed")).expect("it failed once");
    }
}

#[test]
fn a_process_that_hangs_is_ended_in_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let time_max = Duration::from_secs(2);
    let decoding = decoding(failing_once(folder.path(), "exec sleep 600", time_max));
    let frame = frame(64, 64);
    runtime().block_on(async {
        let asked = Instant::now();
        let slow = there_and_back(&decoding, JPEG_LS, &frame).await;
        assert_eq!(slow, Err(Error::TooSlow { milliseconds_max: 2000 }));
        assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
        assert!(there_and_back(&decoding, JPEG_LS, &frame).await.as_ref() == Ok(&frame));
    });
}

#[test]
fn a_process_takes_no_more_memory_than_it_may() {
    let decoding = decoding(WorkerOptions { time_max: Duration::from_secs(60), ..workers(1) });
    runtime().block_on(async {
        // A small codestream of many samples, each of which takes four bytes and more to decode.
        let flat = Frame { bytes: vec![0; 2 * 12_000 * 12_000], ..frame(0, 0) };
        let flat = Frame { rows: 12_000, columns: 12_000, ..flat };
        let encoded = decoding.encode(HTJ2K_LOSSLESS, flat).await;
        assert!(encoded.is_err(), "it took more than it may");
        let small = frame(64, 64);
        assert!(there_and_back(&decoding, HTJ2K_LOSSLESS, &small).await.as_ref() == Ok(&small));
    });
}

#[test]
fn without_a_program_there_is_an_error_and_what_needs_none_goes_on() {
    let missing = WorkerOptions { program: "/nowhere/filmgate".into(), ..workers(1) };
    let decoding = decoding(missing);
    let frame = frame(8, 8);
    runtime().block_on(async {
        let refused = there_and_back(&decoding, JPEG_LS, &frame).await;
        assert!(matches!(refused, Err(Error::NoWorker(_))), "{refused:?}");
        assert!(there_and_back(&decoding, "1.2.840.10008.1.2.5", &frame).await.as_ref() == Ok(&frame));
    });
}
