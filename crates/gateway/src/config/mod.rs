//! Settings: one typed struct, every key with a default and a unit; unknown keys are refused and everything is checked
//! before a port opens.
//!
//! A value comes from the defaults, then the configuration file, then the environment (`FILMGATE__SECTION__KEY`).

mod bucket;
mod catalog;
mod doors;
mod keys;
mod load;
mod peers;
mod pixels;
mod placements;
mod road;
mod secret;
mod text;
mod tls;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

pub(crate) use bucket::{Bucket, BucketKind, CredentialsFrom};
pub(crate) use catalog::{Catalog, Engine};
pub(crate) use doors::{Dicom, PrivateEncoding, Viewer, Web};
pub(crate) use keys::{KeyProvider, Keys, Site};
pub(crate) use load::{Error, load};
pub(crate) use peers::Peers;
pub(crate) use pixels::Pixels;
pub(crate) use road::{
    Book, Cache, Deletion, Memory, Pack, Quarantine, Repack, Retention, Seal, SiteLog, Spool, Upload, Yield,
};
pub(crate) use secret::Secret;
pub(crate) use text::Text;
pub(crate) use tls::{DicomTls, WebTls};

/// Length of a journal segment.
const JOURNAL_SEGMENT_BYTES: u64 = 64 << 20;
/// More threads than any machine has cores for.
const HELPER_THREADS_MAX: usize = 256;
/// What a codec needs for a frame of an ordinary size, and the program itself.
const WORKER_MEMORY_BYTES_MIN: u64 = 256 << 20;

/// Longer than anything on a disk has been kept.
const RETENTION_YEARS_MAX: u32 = 1000;

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    pub(crate) node: Node,
    pub(crate) keys: Keys,
    pub(crate) dicom: Dicom,
    pub(crate) web: Web,
    pub(crate) viewer: Viewer,
    pub(crate) catalog: Catalog,
    pub(crate) peers: Peers,
    pub(crate) bucket: BTreeMap<String, Bucket>,
    pub(crate) spool: Spool,
    pub(crate) pack: Pack,
    pub(crate) upload: Upload,
    pub(crate) site_log: SiteLog,
    pub(crate) book: Book,
    #[serde(rename = "yield")]
    pub(crate) yielding: Yield,
    pub(crate) cache: Cache,
    pub(crate) memory: Memory,
    pub(crate) quarantine: Quarantine,
    pub(crate) repack: Repack,
    pub(crate) deletion: Deletion,
    pub(crate) retention: Retention,
    pub(crate) seal: Seal,
    pub(crate) pixels: Pixels,
    pub(crate) text: Text,
    pub(crate) log: Log,
}

/// Where this node keeps its data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Node {
    pub(crate) data_dir: PathBuf,
    pub(crate) key_file: PathBuf,
    pub(crate) second_dir: PathBuf,
    pub(crate) mirror: Mirror,
    pub(crate) role: Role,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            data_dir: "filmgate-data".into(),
            key_file: PathBuf::new(),
            second_dir: PathBuf::new(),
            mirror: Mirror::Off,
            role: Role::Gateway,
        }
    }
}

/// What this node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Gateway,
    Follow,
}

/// What the second directory is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mirror {
    Off,
    Preferred,
    Required,
}

/// What is logged, to standard error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    pub(crate) filter: String,
    pub(crate) format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Text }
    }
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl Settings {
    /// The defaults with the one placement every gateway has.
    pub(crate) fn defaults() -> Self {
        let main = Bucket::default();
        Self { bucket: BTreeMap::from([("main".to_owned(), main)]), ..Self::default() }
    }

    /// Refuses what cannot work, before anything is opened.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |key: &'static str, why: String| Err(Error::Value { key: key.to_owned(), why });
        self.web.check_openness()?;
        self.web.tls.check()?;
        for (key, value) in [
            ("dicom.associations_max", self.dicom.associations_max as u64),
            ("dicom.connections_max", self.dicom.connections_max as u64),
            ("pixels.bytes_in_flight_max", self.pixels.bytes_in_flight_max),
            ("pixels.worker_timeout_ms", self.pixels.worker_timeout_ms),
            ("dicom.artim_ms", self.dicom.artim_ms),
            ("dicom.callers_remembered_max", u64::from(self.dicom.callers_remembered_max)),
            ("dicom.association_idle_timeout_ms", self.dicom.association_idle_timeout_ms),
            ("dicom.association_progress_window_ms", self.dicom.association_progress_window_ms),
            ("web.session_idle_ms", self.web.session_idle_ms),
            ("web.session_lifetime_ms", self.web.session_lifetime_ms),
            ("web.set_up_link_lifetime_ms", self.web.set_up_link_lifetime_ms),
            ("web.login_failures_max", u64::from(self.web.login_failures_max)),
            ("web.connections_max", self.web.connections_max as u64),
            ("web.request_head_timeout_ms", self.web.request_head_timeout_ms),
            ("web.request_progress_window_ms", self.web.request_progress_window_ms),
            ("web.request_timeout_ms", self.web.request_timeout_ms),
            ("web.answer_stall_timeout_ms", self.web.answer_stall_timeout_ms),
            ("web.stow_requests_max", self.web.stow_requests_max as u64),
            ("web.stow_instance_bytes_max", self.web.stow_instance_bytes_max),
            ("web.streams_max", self.web.streams_max.into()),
            ("web.retrieve_requests_max", self.web.retrieve_requests_max as u64),
        ] {
            if value == 0 {
                return refuse(key, "with 0 nothing could be received".into());
            }
        }
        if self.dicom.connections_max <= self.dicom.associations_max {
            return refuse(
                "dicom.connections_max",
                "it must be more than dicom.associations_max, or nobody could ask for another association"
                    .into(),
            );
        }
        let (connections, associations) =
            (self.dicom.connections_per_peer_max, self.dicom.associations_per_peer_max);
        if connections != 0 && connections <= associations {
            return refuse(
                "dicom.connections_per_peer_max",
                "it must be more than dicom.associations_per_peer_max, or 0".into(),
            );
        }
        if self.upload.retry_delay_min_ms > self.upload.retry_delay_max_ms {
            return refuse("upload.retry_delay_min_ms", "it is longer than upload.retry_delay_max_ms".into());
        }
        if self.site_log.gather_ms > 10_000 {
            return refuse("site_log.gather_ms", "what is safe is to be said so within 10 s at most".into());
        }
        if self.site_log.heartbeat_ms < 1_000 {
            return refuse("site_log.heartbeat_ms", "each is an object in the bucket: 1000 at least".into());
        }
        if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&self.log.filter) {
            return refuse("log.filter", error.to_string());
        }
        self.dicom.check_openness()?;
        self.dicom.tls.check()?;
        self.keys.check()?;
        self.peers.check()?;
        self.text.check()?;
        self.check_folders()?;
        self.check_uploads()?;
        if self.bucket.is_empty() {
            return refuse("bucket", "there must be at least one placement, such as [bucket.main]".into());
        }
        if !(4096..=16 << 20).contains(&self.dicom.max_pdu_bytes) {
            return refuse(
                "dicom.max_pdu_bytes",
                format!("{} is not within 4096 and 16777216", self.dicom.max_pdu_bytes),
            );
        }
        self.check_journal()?;
        if self.seal.helper_threads > HELPER_THREADS_MAX {
            return refuse("seal.helper_threads", format!("more than {HELPER_THREADS_MAX} help nobody"));
        }
        if self.pixels.workers > HELPER_THREADS_MAX {
            return refuse("pixels.workers", format!("more than {HELPER_THREADS_MAX} help nobody"));
        }
        if self.pixels.worker_memory_bytes_max < WORKER_MEMORY_BYTES_MIN {
            return refuse(
                "pixels.worker_memory_bytes_max",
                format!("{WORKER_MEMORY_BYTES_MIN} is the least that decodes"),
            );
        }
        if self.pack.size_bytes == 0 || self.pack.size_bytes > self.spool.bytes_max / 2 {
            return refuse("pack.size_bytes", "it must lie within 1 and half of spool.bytes_max".into());
        }
        if self.repack.small_pack_bytes > self.pack.size_bytes {
            return refuse(
                "repack.small_pack_bytes",
                "it is more than pack.size_bytes: every pack would be a small one".into(),
            );
        }
        if self.retention.years > RETENTION_YEARS_MAX {
            return refuse("retention.years", format!("it is more than {RETENTION_YEARS_MAX}"));
        }
        if self.yielding.nice > 19 {
            return refuse("yield.nice", format!("{} is not within 0 and 19", self.yielding.nice));
        }
        if self.yielding.gather_ms > 10_000 {
            return refuse("yield.gather_ms", "what was received is to be found within 10 s at most".into());
        }
        if !(-7..=19).contains(&self.seal.zstd_level) {
            return refuse("seal.zstd_level", format!("{} is not within -7 and 19", self.seal.zstd_level));
        }
        if self.node.mirror != Mirror::Off && self.node.second_dir.as_os_str().is_empty() {
            return refuse("node.second_dir", "node.mirror asks for it, and it is empty".into());
        }
        self.catalog.check(&self.node.data_dir)
    }

    fn check_journal(&self) -> Result<(), Error> {
        let refuse = |key: &str, why: String| Err(Error::Value { key: key.to_owned(), why });
        let segments = self.spool.bytes_max / JOURNAL_SEGMENT_BYTES;
        if segments < 4 {
            return refuse(
                "spool.bytes_max",
                format!("{} is below 268435456, four segments", self.spool.bytes_max),
            );
        }
        if self.spool.ready_segments as u64 > segments {
            return refuse(
                "spool.ready_segments",
                format!("spool.bytes_max leaves room for {segments} in all"),
            );
        }
        Ok(())
    }

    /// Folders that must not lie in each other.
    fn check_folders(&self) -> Result<(), Error> {
        let refuse = |key: &str, why: &str| Err(Error::Value { key: key.to_owned(), why: why.to_owned() });
        let data_dir = &self.node.data_dir;
        if self.key_file().starts_with(data_dir) {
            return refuse(
                "node.key_file",
                "a key inside the data directory protects nothing that is stored there",
            );
        }
        let second = &self.node.second_dir;
        if self.node.mirror != Mirror::Off && (second.starts_with(data_dir) || data_dir.starts_with(second)) {
            return refuse("node.second_dir", "it and the data directory must not lie in each other");
        }
        self.check_placements()
    }

    /// The key of keys: beside the data directory unless set.
    pub(crate) fn key_file(&self) -> PathBuf {
        if !self.node.key_file.as_os_str().is_empty() {
            return self.node.key_file.clone();
        }
        let data_dir = &self.node.data_dir;
        let mut name = data_dir.file_name().unwrap_or_default().to_owned();
        name.push(".key");
        data_dir.with_file_name(name)
    }
}

/// Milliseconds of a setting.
pub(crate) fn milliseconds(setting: u64) -> Duration {
    Duration::from_millis(setting)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// `config/filmgate.toml` shows every key with its default.
    #[test]
    fn the_configuration_file_equals_the_defaults() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/filmgate.toml");
        let text = std::fs::read_to_string(path).expect("config/filmgate.toml");
        let shown: toml::Table = text.parse().expect("TOML");
        let defaults = toml::Table::try_from(Settings::defaults()).expect("defaults");
        assert_eq!(shown, defaults);
    }

    #[test]
    fn what_cannot_work_is_refused_by_its_key() {
        let refused = |change: fn(&mut Settings)| {
            let mut settings = Settings::defaults();
            change(&mut settings);
            settings.check().expect_err("refused").to_string()
        };
        assert!(Settings::defaults().check().is_ok());
        assert!(refused(|s| s.web.bind = ([0, 0, 0, 0], 80).into()).contains("web.bind"));
        let everybody = |s: &mut Settings| {
            s.web.bind = ([0, 0, 0, 0], 443).into();
            s.web.open_to = filmgate_web::OpenTo::Everybody;
            s.web.tls.enabled = true;
        };
        assert!(refused(everybody).contains("web.open_to"));
        assert!(refused(|s| s.web.tls.enabled = true).contains("web.tls.certificate"));
        let open_to_all = |s: &mut Settings| {
            s.dicom.bind = ([0, 0, 0, 0], 104).into();
            s.dicom.allow_plain = true;
            s.dicom.accept_unknown_callers = true;
        };
        assert!(refused(|s| s.dicom.bind = ([0, 0, 0, 0], 104).into()).contains("dicom.allow_plain"));
        assert!(refused(open_to_all).contains("dicom.insecure"));
        let anonymous = |s: &mut Settings| {
            s.dicom.accept_unknown_callers = true;
            s.dicom.tls = DicomTls {
                enabled: true,
                bind: ([0, 0, 0, 0], 2762).into(),
                certificate: "c".into(),
                key: "k".into(),
                require_client_certificate: false,
                ..DicomTls::default()
            };
        };
        assert!(refused(anonymous).contains("dicom.insecure"));
        assert!(refused(|s| s.dicom.tls.enabled = true).contains("dicom.tls.certificate"));
        assert!(refused(|s| s.bucket.clear()).contains("bucket"));
        assert!(refused(|s| s.dicom.max_pdu_bytes = 1).contains("dicom.max_pdu_bytes"));
        assert!(refused(|s| s.catalog.connections_max = 0).contains("catalog.connections_max"));

        assert!(refused(|s| s.node.mirror = Mirror::Required).contains("node.second_dir"));
        assert!(refused(|s| s.dicom.associations_max = 0).contains("dicom.associations_max"));
        assert!(refused(|s| s.dicom.connections_max = 64).contains("dicom.connections_max"));
        assert!(refused(|s| s.dicom.connections_per_peer_max = 48).contains("connections_per_peer_max"));
        assert!(refused(|s| s.spool.bytes_max = 128 << 20).contains("spool.bytes_max"));
        assert!(refused(|s| s.spool.ready_segments = 257).contains("spool.ready_segments"));
        assert!(refused(|s| s.seal.helper_threads = 1000).contains("seal.helper_threads"));
        assert!(refused(|s| s.pixels.workers = 1000).contains("pixels.workers"));
        assert!(refused(|s| s.pixels.worker_memory_bytes_max = 1).contains("pixels.worker_memory"));
        assert!(refused(|s| s.web.stow_requests_max = 0).contains("web.stow_requests_max"));
        assert!(refused(|s| s.upload.retry_delay_min_ms = u64::MAX).contains("upload.retry_delay_min_ms"));
        assert!(refused(|s| s.yielding.nice = 20).contains("yield.nice"));
        assert!(refused(|s| s.yielding.gather_ms = 60_000).contains("yield.gather_ms"));
        assert!(
            refused(|s| drop(s.text.charsets.insert("CT".into(), "X".into()))).contains("text.charsets.CT")
        );
        let twice = |s: &mut Settings| {
            for ae in ["CT_1", "ct_1"] {
                s.text.charsets.insert(ae.into(), "GBK".into());
            }
        };
        assert!(refused(twice).contains("text.charsets.CT_1"));
        assert!(refused(|s| s.log.filter = "%%%".into()).contains("log.filter"));
        assert!(refused(|s| s.node.key_file = "filmgate-data/key".into()).contains("node.key_file"));
        let in_packs = |s: &mut Settings| {
            s.bucket.insert("x".into(), Bucket { path: "filmgate-data/packs/b".into(), ..Bucket::default() });
        };
        assert!(refused(in_packs).contains("bucket.x.path"));
        let keys_in_packs = |s: &mut Settings| {
            let bucket = Bucket { path: "/b".into(), keys_path: "/b/keys".into(), ..Bucket::default() };
            s.bucket.insert("x".into(), bucket);
        };
        assert!(refused(keys_in_packs).contains("bucket.x.keys_path"));
        let packs_in_keys = |s: &mut Settings| {
            s.bucket.insert("main-keys".into(), Bucket::default());
        };
        assert!(refused(packs_in_keys).contains("bucket.main-keys.path"));
    }

    #[test]
    fn files_lie_in_or_beside_the_data_directory() {
        let mut settings = Settings::defaults();
        settings.node.data_dir = "/srv/filmgate".into();
        assert_eq!(settings.key_file(), Path::new("/srv/filmgate.key"));

        let mut bucket = Bucket::default();
        assert_eq!(settings.bucket_keys_path("main", &bucket), Path::new("/srv/filmgate/bucket/main-keys"));
        bucket.path = "/mnt/nas/packs/".into();
        assert_eq!(settings.bucket_keys_path("main", &bucket), Path::new("/mnt/nas/packs-keys"));
        bucket.keys_path = "/mnt/other".into();
        assert_eq!(settings.bucket_keys_path("main", &bucket), Path::new("/mnt/other"));
    }
}
