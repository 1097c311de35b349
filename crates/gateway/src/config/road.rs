//! What lies between the doors and the buckets: journal, packs, uploads, the log, the cache, and what is kept how long.

use serde::{Deserialize, Serialize};

/// The journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Spool {
    pub(crate) bytes_max: u64,
    pub(crate) ready_segments: usize,
    pub(crate) catalog_reserve_bytes: u64,
}

impl Default for Spool {
    fn default() -> Self {
        Self { bytes_max: 16 << 30, ready_segments: 4, catalog_reserve_bytes: 256 << 20 }
    }
}

/// When the records of a study become a pack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Pack {
    pub(crate) quiet_ms: u64,
    pub(crate) size_bytes: u64,
    pub(crate) age_ms: u64,
}

impl Default for Pack {
    fn default() -> Self {
        Self { quiet_ms: 10_000, size_bytes: 64 << 20, age_ms: 60_000 }
    }
}

/// Uploads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Upload {
    pub(crate) retry_delay_min_ms: u64,
    pub(crate) retry_delay_max_ms: u64,
    pub(crate) part_size_bytes: u64,
    pub(crate) parts_in_flight: usize,
    pub(crate) packs_in_flight: usize,
    pub(crate) abandoned_after_ms: u64,
}

impl Default for Upload {
    fn default() -> Self {
        Self {
            retry_delay_min_ms: 1_000,
            retry_delay_max_ms: 300_000,
            part_size_bytes: 8 << 20,
            parts_in_flight: 4,
            packs_in_flight: 4,
            abandoned_after_ms: 259_200_000,
        }
    }
}

/// The log in the bucket, by which the nodes of a site know of each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SiteLog {
    pub(crate) gather_ms: u64,
    pub(crate) heartbeat_ms: u64,
    pub(crate) follow_poll_ms: u64,
    pub(crate) follow_list_ms: u64,
}

impl Default for SiteLog {
    fn default() -> Self {
        Self { gather_ms: 500, heartbeat_ms: 60_000, follow_poll_ms: 1_000, follow_list_ms: 5_000 }
    }
}

/// What only the catalog holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Book {
    pub(crate) export_after_ms: u64,
}

impl Default for Book {
    fn default() -> Self {
        Self { export_after_ms: 60_000 }
    }
}

/// How what is done behind the journal yields to receipt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Yield {
    pub(crate) bytes_per_second: u64,
    pub(crate) quiet_ms: u64,
    pub(crate) gather_ms: u64,
    pub(crate) nice: u8,
}

impl Default for Yield {
    fn default() -> Self {
        Self { bytes_per_second: 16 << 20, quiet_ms: 1_000, gather_ms: 400, nice: 10 }
    }
}

/// What is kept on the local disk though it is safe elsewhere: verified packs, and what was read of packs that left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Cache {
    pub(crate) free_bytes_min: u64,
    pub(crate) bytes_max: u64,
    pub(crate) ranges_bytes_max: u64,
    pub(crate) footers_bytes_max: u64,
    pub(crate) read_bytes_max: u64,
    pub(crate) read_ahead_bytes: u64,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            free_bytes_min: 4 << 30,
            bytes_max: 1 << 40,
            ranges_bytes_max: 16 << 30,
            footers_bytes_max: 4 << 30,
            read_bytes_max: 8 << 20,
            read_ahead_bytes: 4 << 20,
        }
    }
}

/// What is kept in memory of what was opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Memory {
    pub(crate) metadata_bytes_max: u64,
    pub(crate) frames_bytes_max: u64,
    pub(crate) rendered_bytes_max: u64,
    pub(crate) warm_series_max: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            metadata_bytes_max: 128 << 20,
            frames_bytes_max: 256 << 20,
            rendered_bytes_max: 64 << 20,
            warm_series_max: 32,
        }
    }
}

/// What cannot be understood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Quarantine {
    pub(crate) bytes_max: u64,
}

impl Default for Quarantine {
    fn default() -> Self {
        Self { bytes_max: 4 << 30 }
    }
}

/// When packs are made of packs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Repack {
    pub(crate) small_pack_bytes: u64,
    pub(crate) after_ms: u64,
    pub(crate) grace_ms: u64,
}

impl Default for Repack {
    fn default() -> Self {
        Self { small_pack_bytes: 8 << 20, after_ms: 21_600_000, grace_ms: 600_000 }
    }
}

/// How something is deleted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Deletion {
    pub(crate) two_people: bool,
    pub(crate) grace_ms: u64,
}

impl Default for Deletion {
    fn default() -> Self {
        Self { two_people: false, grace_ms: 604_800_000 }
    }
}

/// How long everything is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Retention {
    pub(crate) years: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { years: 30 }
    }
}

/// Sealing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Seal {
    pub(crate) zstd_level: i32,
    pub(crate) helper_threads: usize,
}

impl Default for Seal {
    fn default() -> Self {
        Self { zstd_level: 1, helper_threads: 0 }
    }
}
