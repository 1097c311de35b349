//! `seal`: what a core seals and opens, beside plain zstd on the same pixels. Times are of the thread's own CPU.

use std::{fs, hint::black_box, path::PathBuf};

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{AeadInOut, Nonce, inout::InOutBuf},
};
use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use filmgate_model::{Provenance, RecordId, part10};
use filmgate_seal::{
    Codec, RecordKey, RecordSealer, RecordTable, SampleShape, SealOptions, decode_samples, encode_samples,
    open_chunk,
};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::{
    Places,
    data::{Files, Kind, Set},
    goals::Goal,
    limits::Limits,
    machine::Machine,
    process::{Account, own_cpu_seconds},
    report::{self, median},
    rounds::{self, Contest, Shared},
};

/// Files of a kind that are sealed; together more than any cache holds.
const FILES_MAX: usize = 108;
/// Bytes handled for one sample at least.
const SAMPLE_BYTES: usize = 200_000_000;
/// Bytes pushed at a time, as they come out of a PDU.
const PUSH_BYTES: usize = 128 << 10;
const ID: RecordId = RecordId([1; 16]);
const KEY: [u8; 32] = [2; 32];

#[derive(Debug, Args)]
pub(crate) struct Seal {
    #[command(flatten)]
    places: Places,
    /// The folder of test data the files are made of
    #[arg(long)]
    test_data: PathBuf,
}

/// What is done with the pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    ZstdEncode,
    Encode,
    EncodeAndEncrypt,
    Instance,
    ZstdDecode,
    Decode,
    OpenChunk,
}

impl Work {
    const ALL: [Self; 7] = [
        Self::ZstdEncode,
        Self::Encode,
        Self::EncodeAndEncrypt,
        Self::Instance,
        Self::ZstdDecode,
        Self::Decode,
        Self::OpenChunk,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::ZstdEncode => "pixels by zstd 1",
            Self::Encode => "pixels by the split predictor",
            Self::EncodeAndEncrypt => "the same, AES-256-GCM",
            Self::Instance => "whole instances: read, SHA-256, BLAKE3, split predictor, AES-256-GCM, table",
            Self::ZstdDecode => "pixels back from zstd",
            Self::Decode => "pixels back from the split predictor",
            Self::OpenChunk => "chunks opened: AES-256-GCM, split predictor",
        }
    }

    /// MB/s a core is meant to reach.
    fn goal(self, kind: Kind) -> Option<f64> {
        let (ct, mr) = match self {
            Self::EncodeAndEncrypt => (700.0, 450.0),
            Self::Decode => (1000.0, 700.0),
            Self::OpenChunk => (850.0, 600.0),
            _ => return None,
        };
        Some(if kind == Kind::Ct { ct } else { mr })
    }
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Sample {
    /// 10^6 raw bytes in a second of the thread's CPU time.
    mb_per_cpu_s: f64,
    other_cpu_share: f64,
}

impl Shared for Sample {
    fn other_cpu_share(&self) -> f64 {
        self.other_cpu_share
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Row {
    files: String,
    work: String,
    mb_per_cpu_s: f64,
    samples: Vec<Sample>,
}

/// Stored bytes of all pixels of a kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Size {
    files: String,
    raw_bytes: usize,
    zstd_bytes: usize,
    split_bytes: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Results {
    machine: Machine,
    limits: Limits,
    rounds: u32,
    rows: Vec<Row>,
    sizes: Vec<Size>,
    goals: Vec<Goal>,
}

/// A chunk of pixels in every form it takes.
struct Chunk {
    number: u32,
    raw: Vec<u8>,
    shape: SampleShape,
    codec: Codec,
    packed: Vec<u8>,
    zstd: Vec<u8>,
}

/// One file: its dataset, its record, its chunks of pixels.
struct Instance {
    dataset: Vec<u8>,
    provenance: Provenance,
    table: RecordTable,
    record: Vec<u8>,
    chunks: Vec<Chunk>,
}

struct Load {
    kind: Kind,
    instances: Vec<Instance>,
}

impl Seal {
    pub(crate) fn run(&self) -> Result<()> {
        let _turn = self.places.take_turn()?;
        let machine = Machine::look(&self.places.work, &[])?;
        let limits = Limits::measure(&self.places.work)?;
        let rounds = self.places.rounds();
        let mut contests = Vec::new();
        for kind in Kind::ALL {
            let set = Set::prepare(kind, true, &self.test_data, &self.places.work)?;
            contests.push(Contest::new(Load::read(kind, &set.measured)?, Work::ALL.into_iter()));
        }
        rounds::run_all(&mut contests, rounds, self.places.patience, |load, work| {
            let sample = load.sample(work)?;
            let line = format!("{}, {}: {:.0} MB/s", load.kind.name(), work.name(), sample.mb_per_cpu_s);
            Ok((sample, line))
        })?;
        let sizes: Vec<Size> = contests.iter().map(|contest| contest.load.size()).collect();
        let rows: Vec<(Kind, Work, Row)> = contests.into_iter().flat_map(rows_of).collect();
        let goals = goals(&rows, &sizes);
        let rows = rows.into_iter().map(|(.., row)| row).collect();
        let results = Results { machine, limits, rounds, rows, sizes, goals };
        report::publish(&self.places, "seal", self.places.quick, &results, &results.tables())
    }
}

fn rows_of(contest: Contest<Load, Work, Sample>) -> Vec<(Kind, Work, Row)> {
    let kind = contest.load.kind;
    let row = |(work, samples): (Work, Vec<Sample>)| {
        let speeds: Vec<f64> = samples.iter().map(|sample| sample.mb_per_cpu_s).collect();
        let (files, name) = (kind.name().to_owned(), work.name().to_owned());
        (kind, work, Row { files, work: name, mb_per_cpu_s: median(&speeds), samples })
    };
    contest.runs.into_iter().map(row).collect()
}

fn goals(rows: &[(Kind, Work, Row)], sizes: &[Size]) -> Vec<Goal> {
    let speeds = rows.iter().filter_map(|(kind, work, row)| {
        Some(Goal {
            what: format!("{}, {}", kind.name(), work.name()),
            at_least: true,
            bound: work.goal(*kind)?,
            unit: "MB/s per core".into(),
            measured: Some(row.mb_per_cpu_s),
        })
    });
    let sizes = sizes.iter().zip([0.65, 0.92]).map(|(size, bound)| Goal {
        what: format!("{}, stored pixels / plain zstd 1", size.files),
        at_least: false,
        bound,
        unit: "×".into(),
        measured: Some(size.split_bytes as f64 / size.zstd_bytes as f64),
    });
    speeds.chain(sizes).collect()
}

impl Load {
    fn read(kind: Kind, files: &Files) -> Result<Self> {
        let paths = files.names.iter().take(FILES_MAX).map(|name| files.folder.join(name));
        let instances = paths.map(|path| Instance::of(&fs::read(path)?)).collect::<Result<_>>()?;
        Ok(Self { kind, instances })
    }

    fn chunks(&self) -> impl Iterator<Item = (&Instance, &Chunk)> {
        self.instances.iter().flat_map(|instance| instance.chunks.iter().map(move |chunk| (instance, chunk)))
    }

    fn size(&self) -> Size {
        let sum = |bytes: fn(&Chunk) -> usize| self.chunks().map(|(_, chunk)| bytes(chunk)).sum();
        Size {
            files: self.kind.name().to_owned(),
            raw_bytes: sum(|chunk| chunk.raw.len()),
            zstd_bytes: sum(|chunk| chunk.zstd.len()),
            split_bytes: sum(|chunk| chunk.packed.len()),
        }
    }

    /// Does the work over all files until enough bytes have gone through.
    fn sample(&self, work: Work) -> Result<Sample> {
        let mut bytes = 0;
        let (account, own) = (Account::open()?, own_cpu_seconds()?);
        let started = cpu_seconds();
        while bytes < SAMPLE_BYTES {
            bytes += self.once(work)?;
        }
        let seconds = cpu_seconds() - started;
        let other_cpu_share = account.other_share(own_cpu_seconds()? - own)?;
        Ok(Sample { mb_per_cpu_s: bytes as f64 / 1e6 / seconds, other_cpu_share })
    }

    /// All files once; the raw bytes that went through.
    fn once(&self, work: Work) -> Result<usize> {
        let mut bytes = 0;
        let mut out = Vec::new();
        if work == Work::Instance {
            for instance in &self.instances {
                out.clear();
                instance.seal(&mut out);
                bytes += instance.dataset.len();
            }
            return Ok(bytes);
        }
        for (instance, chunk) in self.chunks() {
            out.clear();
            chunk.handle(work, instance, &mut out)?;
            black_box(&out);
            bytes += chunk.raw.len();
        }
        Ok(bytes)
    }
}

impl Instance {
    fn of(file: &[u8]) -> Result<Self> {
        let head = part10::read_file_head(file).context("a DICOM file")?;
        let provenance = Provenance::untold(&head.transfer_syntax_uid);
        let dataset = file.get(head.dataset_offset..).context("a dataset")?.to_vec();
        let mut record = Vec::new();
        let table = seal(&dataset, provenance.clone(), &mut record);
        let shaped = (0u32..).zip(&table.chunks).filter(|(_, chunk)| chunk.shape.is_some());
        let chunks = shaped.map(|(number, entry)| {
            let start = usize::try_from(entry.dataset_offset)?;
            let raw = dataset.get(start..start + entry.raw_bytes as usize).context("a chunk's bytes")?;
            Chunk::of(number, raw, entry.shape.clone().unwrap_or_default())
        });
        let chunks = chunks.collect::<Result<Vec<_>>>()?;
        ensure!(!chunks.is_empty(), "a file without native pixels");
        Ok(Self { provenance, table, record, chunks, dataset })
    }

    fn seal(&self, out: &mut Vec<u8>) {
        black_box(seal(&self.dataset, self.provenance.clone(), out));
    }
}

/// As the door does it: bytes are put where the sealer wants them.
fn seal(dataset: &[u8], provenance: Provenance, out: &mut Vec<u8>) -> RecordTable {
    let mut sealer = RecordSealer::new(ID, RecordKey::from_bytes(KEY), provenance, &SealOptions::default());
    let mut rest = dataset;
    while !rest.is_empty() {
        let space = sealer.space();
        let now = rest.len().min(space.len()).min(PUSH_BYTES);
        space[..now].copy_from_slice(&rest[..now]);
        sealer.arrived(now, out);
        rest = &rest[now..];
    }
    sealer.finish(out)
}

impl Chunk {
    fn of(number: u32, raw: &[u8], mut shape: SampleShape) -> Result<Self> {
        let mut packed = Vec::new();
        shape.plane_coders.clear();
        let codec = encode_samples(raw, &mut shape, 1, &mut packed);
        Ok(Self { number, raw: raw.to_vec(), shape, codec, packed, zstd: zstd::bulk::compress(raw, 1)? })
    }

    fn handle(&self, work: Work, instance: &Instance, out: &mut Vec<u8>) -> Result<()> {
        match work {
            Work::ZstdEncode => *out = zstd::bulk::compress(&self.raw, 1)?,
            Work::Encode | Work::EncodeAndEncrypt => {
                encode_samples(&self.raw, &mut self.shape.clone(), 1, out);
                if work == Work::EncodeAndEncrypt {
                    encrypt(out)?;
                }
            }
            Work::ZstdDecode => *out = zstd::bulk::decompress(&self.zstd, self.raw.len())?,
            Work::Decode => {
                *out = decode_samples(self.codec, self.packed.clone(), self.raw.len(), Some(&self.shape))?;
            }
            Work::OpenChunk => {
                let entry = instance.table.chunks.get(self.number as usize).context("a chunk")?;
                let start = usize::try_from(entry.record_offset)?;
                let sealed = instance.record.get(start..start + entry.sealed_bytes as usize);
                let sealed = sealed.context("a sealed chunk")?;
                *out = open_chunk(&RecordKey::from_bytes(KEY), ID, self.number, entry, sealed)?;
            }
            Work::Instance => {}
        }
        Ok(())
    }
}

fn encrypt(bytes: &mut [u8]) -> Result<()> {
    let cipher = Aes256Gcm::new(&KEY.into());
    let sealed = cipher.encrypt_inout_detached(&Nonce::<Aes256Gcm>::default(), &[], InOutBuf::from(bytes));
    sealed.map(|tag| _ = black_box(tag)).map_err(|_| anyhow!("too long to encrypt"))
}

/// CPU time of this thread.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

impl Results {
    fn tables(&self) -> String {
        let mut speeds = report::Table::new(&["files", "work", "MB per CPU second"]);
        for row in &self.rows {
            speeds.row(&[row.files.clone(), row.work.clone(), format!("{:.0}", row.mb_per_cpu_s)]);
        }
        let mut sizes = report::Table::new(&["files", "pixels, MB", "zstd 1", "as sealed"]);
        for size in &self.sizes {
            let ratio = |bytes: usize| format!("{:.2} : 1", size.raw_bytes as f64 / bytes as f64);
            let raw = format!("{:.0}", size.raw_bytes as f64 / 1e6);
            sizes.row(&[size.files.clone(), raw, ratio(size.zstd_bytes), ratio(size.split_bytes)]);
        }
        let mut goals = report::Table::new(&["goal", "wanted", "measured", ""]);
        for goal in &self.goals {
            goals.row(&goal.cells());
        }
        let shares = self.rows.iter().flat_map(|row| &row.samples).map(|sample| sample.other_cpu_share);
        format!(
            "{}{}\n{}\n{}\n{}",
            report::heading(&self.machine, &self.limits, self.rounds),
            report::disturbance(shares),
            speeds.text(),
            sizes.text(),
            goals.text()
        )
    }
}
