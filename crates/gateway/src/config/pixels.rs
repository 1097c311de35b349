//! How pixels are decoded and encoded.

use filmgate_pipeline::{DecodingOptions, WorkerOptions};
use serde::{Deserialize, Serialize};

use super::milliseconds;

/// Decoding, rendering, transcoding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Pixels {
    pub(crate) bytes_in_flight_max: u64,
    pub(crate) workers: usize,
    pub(crate) worker_memory_bytes_max: u64,
    pub(crate) worker_timeout_ms: u64,
}

impl Default for Pixels {
    fn default() -> Self {
        Self {
            bytes_in_flight_max: 512 << 20,
            workers: 0,
            worker_memory_bytes_max: 4 << 30,
            worker_timeout_ms: 30_000,
        }
    }
}

impl Pixels {
    /// With processes of this very program, by a name that stands for it even after an update has put another in its place.
    pub(crate) fn options(&self) -> DecodingOptions {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers = WorkerOptions {
            program: "/proc/self/exe".into(),
            arguments: vec![
                "pixel-worker".into(),
                "--memory-bytes-max".into(),
                self.worker_memory_bytes_max.to_string().into(),
            ],
            count: if self.workers == 0 { cores } else { self.workers },
            time_max: milliseconds(self.worker_timeout_ms),
        };
        DecodingOptions { workers: Some(workers), bytes_in_flight_max: self.bytes_in_flight_max }
    }
}
