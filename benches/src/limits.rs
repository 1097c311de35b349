//! What the machine can do at most, measured beside the runs: one thread each, a second or less.

use std::{
    fs::{self, File},
    hint::black_box,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::FileExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{AeadInOut, Nonce},
};
use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How long a rate is measured.
const MEASURE_FOR: Duration = Duration::from_millis(500);
/// Buffer of the loopback transfer, as large as a PDU.
const TRANSFER_BYTES: usize = 128 << 10;
/// As large as a chunk.
const CHUNK_BYTES: usize = 256 << 10;
const COPY_BYTES: usize = 64 << 20;
/// Blocks overwritten and synced.
const SYNCS: usize = 60;
const SYNC_FILE_BYTES: usize = 32 << 20;

/// Rates in MB/s (10^6), times in milliseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Limits {
    pub(crate) loopback_tcp_mb_per_s: f64,
    pub(crate) memcpy_mb_per_s: f64,
    pub(crate) aes_256_gcm_mb_per_s: f64,
    pub(crate) sha_256_mb_per_s: f64,
    pub(crate) blake3_mb_per_s: f64,
    /// Half of all syncs of an overwritten block took no longer.
    pub(crate) fdatasync_4_kib_ms: f64,
    pub(crate) fdatasync_512_kib_ms: f64,
}

impl Limits {
    /// Measures; files are written under `work`.
    pub(crate) fn measure(work: &Path) -> Result<Self> {
        let (short, long) = sync_times(work)?;
        Ok(Self {
            loopback_tcp_mb_per_s: loopback()?,
            memcpy_mb_per_s: memcpy(),
            aes_256_gcm_mb_per_s: aes_256_gcm()?,
            sha_256_mb_per_s: sha_256(),
            blake3_mb_per_s: blake3(),
            fdatasync_4_kib_ms: short,
            fdatasync_512_kib_ms: long,
        })
    }

    /// The better of two measurements, each figure on its own: what disturbs a machine only ever takes from it.
    pub(crate) fn best(self, other: Self) -> Self {
        Self {
            loopback_tcp_mb_per_s: self.loopback_tcp_mb_per_s.max(other.loopback_tcp_mb_per_s),
            memcpy_mb_per_s: self.memcpy_mb_per_s.max(other.memcpy_mb_per_s),
            aes_256_gcm_mb_per_s: self.aes_256_gcm_mb_per_s.max(other.aes_256_gcm_mb_per_s),
            sha_256_mb_per_s: self.sha_256_mb_per_s.max(other.sha_256_mb_per_s),
            blake3_mb_per_s: self.blake3_mb_per_s.max(other.blake3_mb_per_s),
            fdatasync_4_kib_ms: self.fdatasync_4_kib_ms.min(other.fdatasync_4_kib_ms),
            fdatasync_512_kib_ms: self.fdatasync_512_kib_ms.min(other.fdatasync_512_kib_ms),
        }
    }

    /// Name, value and unit of each.
    pub(crate) fn rows(&self) -> [(&'static str, String); 7] {
        let rate = |rate: f64| format!("{rate:.0} MB/s");
        let time = |ms: f64| format!("{ms:.2} ms");
        [
            ("loopback TCP, 128 KiB writes", rate(self.loopback_tcp_mb_per_s)),
            ("memcpy, 64 MiB", rate(self.memcpy_mb_per_s)),
            ("AES-256-GCM, 256 KiB", rate(self.aes_256_gcm_mb_per_s)),
            ("SHA-256", rate(self.sha_256_mb_per_s)),
            ("BLAKE3", rate(self.blake3_mb_per_s)),
            ("overwrite 4 KiB + fdatasync, p50", time(self.fdatasync_4_kib_ms)),
            ("overwrite 512 KiB + fdatasync, p50", time(self.fdatasync_512_kib_ms)),
        ]
    }
}

/// MB/s of work that handles `bytes` at a time.
fn rate(bytes: usize, mut work: impl FnMut()) -> f64 {
    work();
    let (started, mut times) = (Instant::now(), 0u64);
    while started.elapsed() < MEASURE_FOR {
        work();
        times += 1;
    }
    times as f64 * bytes as f64 / 1e6 / started.elapsed().as_secs_f64()
}

fn loopback() -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut outgoing = TcpStream::connect(listener.local_addr()?)?;
    let (mut incoming, _) = listener.accept()?;
    let reader = thread::spawn(move || {
        let mut buffer = vec![0; TRANSFER_BYTES];
        while incoming.read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
    });
    let buffer = vec![7; TRANSFER_BYTES];
    let mut sent = Ok(());
    let rate = rate(TRANSFER_BYTES, || {
        if sent.is_ok() {
            sent = outgoing.write_all(&buffer);
        }
    });
    drop(outgoing);
    reader.join().map_err(|_| anyhow!("reading from the loopback failed"))?;
    sent?;
    Ok(rate)
}

fn memcpy() -> f64 {
    let from = vec![7u8; COPY_BYTES];
    let mut to = vec![0u8; COPY_BYTES];
    rate(COPY_BYTES, || black_box(&mut to).copy_from_slice(black_box(&from)))
}

fn aes_256_gcm() -> Result<f64> {
    let cipher = Aes256Gcm::new(&[7; 32].into());
    let nonce = Nonce::<Aes256Gcm>::default();
    let mut chunk = vec![7u8; CHUNK_BYTES];
    let mut failed = false;
    let rate = rate(CHUNK_BYTES, || {
        failed |= cipher.encrypt_inout_detached(&nonce, b"", chunk.as_mut_slice().into()).is_err();
    });
    if failed { Err(anyhow!("AES-256-GCM refused a chunk")) } else { Ok(rate) }
}

fn sha_256() -> f64 {
    let chunk = vec![7u8; CHUNK_BYTES];
    rate(CHUNK_BYTES, || {
        black_box(Sha256::digest(black_box(&chunk)));
    })
}

fn blake3() -> f64 {
    let chunk = vec![7u8; CHUNK_BYTES];
    rate(CHUNK_BYTES, || {
        black_box(blake3::hash(black_box(&chunk)));
    })
}

/// Medians for 4 KiB and 512 KiB written over blocks that were written and synced before.
fn sync_times(work: &Path) -> Result<(f64, f64)> {
    fs::create_dir_all(work)?;
    let file = tempfile::tempfile_in(work)?;
    file.write_all_at(&vec![1; SYNC_FILE_BYTES], 0)?;
    file.sync_all()?;
    Ok((overwrite(&file, 4 << 10)?, overwrite(&file, 512 << 10)?))
}

fn overwrite(file: &File, bytes: usize) -> Result<f64> {
    let block = vec![2; bytes];
    let mut times = Vec::with_capacity(SYNCS);
    for turn in 0..SYNCS {
        let started = Instant::now();
        file.write_all_at(&block, (turn * bytes % SYNC_FILE_BYTES) as u64)?;
        file.sync_data()?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(crate::report::median(&times))
}
