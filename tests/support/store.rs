//! The bucket of one gateway: a folder, or buckets of a real S3 server behind a proxy that can take them away.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use filmgate_faults::{Fault, Proxy};

use super::files_below;
use super::servers::S3;

/// Where a gateway keeps its packs and keys for good.
pub(crate) enum Store {
    /// Two folders.
    Folder { packs: PathBuf, keys: PathBuf },
    /// Two buckets nobody else uses.
    S3 { server: S3, proxy: Proxy, packs: String, keys: String },
}

impl Store {
    /// On the server that the environment tells of, if there is one.
    pub(crate) fn on_s3() -> Option<Self> {
        let server = S3::told()?;
        let upstream = server.endpoint.strip_prefix("http://").expect("plain HTTP on loopback");
        let upstream: SocketAddr = upstream.trim_end_matches('/').parse().expect("an address");
        let proxy = Proxy::before(upstream).expect("a proxy");
        let (packs, keys) = (server.make_bucket(), server.make_bucket());
        Some(Self::S3 { server, proxy, packs, keys })
    }

    /// What `[bucket.main]` says of it.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Folder { packs, .. } => {
                vec![("KIND", "local".to_owned()), ("PATH", packs.display().to_string())]
            }
            Self::S3 { server, proxy, packs, keys } => vec![
                ("KIND", "s3".to_owned()),
                ("BUCKET", packs.clone()),
                ("KEYS_BUCKET", keys.clone()),
                ("ENDPOINT", format!("http://{}", proxy.address())),
                ("REGION", server.region.clone()),
                ("ACCESS_KEY_ID", server.access_key.clone()),
                ("SECRET_ACCESS_KEY", server.secret_key.clone()),
            ],
        }
    }

    /// The name of every pack in it: of a folder, where its file is.
    pub(crate) fn packs(&self) -> Vec<String> {
        let names = self.names("v1/pack/");
        match self {
            Self::Folder { packs, .. } => {
                names.iter().map(|name| packs.join(name).display().to_string()).collect()
            }
            Self::S3 { .. } => names,
        }
    }

    /// The name of every object below a prefix that ends in a slash, sorted.
    pub(crate) fn names(&self, prefix: &str) -> Vec<String> {
        match self {
            Self::Folder { packs, .. } => {
                let below = |file: &PathBuf| Some(file.strip_prefix(packs).ok()?.display().to_string());
                let mut names: Vec<_> =
                    files_below(&packs.join(Path::new(prefix))).iter().filter_map(below).collect();
                names.sort();
                names
            }
            Self::S3 { server, packs, .. } => server.names(packs, prefix),
        }
    }

    /// Loses an object of the bucket of packs.
    pub(crate) fn lose(&self, name: &str) {
        match self {
            Self::Folder { packs, .. } => std::fs::remove_file(packs.join(name)).expect("lose an object"),
            Self::S3 { server, packs, .. } => drop(server.ask("DELETE", &format!("/{packs}/{name}"))),
        }
    }

    /// See [`S3::has`]; a folder has nothing of the kind.
    pub(crate) fn has(&self, what: &str) -> bool {
        matches!(self, Self::S3 { server, .. } if server.has(what))
    }

    /// From here on the bucket of packs keeps what is replaced or deleted in it; on a server only.
    pub(crate) fn keep_versions(&self) {
        let Self::S3 { server, packs, .. } = self else { panic!("a folder keeps no versions") };
        server.keep_versions(packs);
    }

    /// Name and id of every version below a prefix, and how many marks of deletion; on a server only.
    pub(crate) fn versions(&self, prefix: &str) -> (Vec<(String, String)>, usize) {
        let Self::S3 { server, packs, .. } = self else { panic!("a folder keeps no versions") };
        server.versions(packs, prefix)
    }

    /// How often each pack was put, whole or by the completion of its parts, and the server said that it was; of a folder
    /// nobody counts.
    pub(crate) fn times_put(&self) -> BTreeMap<String, usize> {
        let mut times = BTreeMap::new();
        let Self::S3 { proxy, packs, .. } = self else { return times };
        for passed in proxy.passed().iter().filter(|passed| passed.status == Some(200)) {
            let request = &passed.request;
            let name = request.target.strip_prefix(&format!("/{packs}/")).unwrap_or_default();
            let name = name.split('?').next().unwrap_or_default();
            let whole = request.method == "PUT" && request.parameter("partNumber").is_none();
            let completes = request.method == "POST" && request.parameter("uploadId").is_some();
            if name.starts_with("v1/pack/") && (whole || completes) {
                *times.entry(name.to_owned()).or_default() += 1;
            }
        }
        times
    }

    /// From here on nothing can be put into it. What a gateway may complain of for that.
    pub(crate) fn take_away(&self) -> &[&str] {
        match self {
            // A file where the folder of packs should be.
            Self::Folder { packs, .. } => {
                let packs = packs.join("v1/pack");
                std::fs::create_dir_all(packs.parent().expect("a parent")).expect("make the bucket");
                let _ = std::fs::remove_dir(&packs);
                std::fs::write(&packs, "no folder").expect("take the bucket away");
                &["content"]
            }
            Self::S3 { proxy, .. } => {
                proxy.always(Fault::Refuse);
                &["content", "the site's keys in the buckets were not looked at"]
            }
        }
    }

    /// It is there again, with what was in it.
    pub(crate) fn bring_back(&self) {
        match self {
            Self::Folder { packs, .. } => {
                std::fs::remove_file(packs.join("v1/pack")).expect("bring the bucket back");
            }
            Self::S3 { proxy, .. } => proxy.always(Fault::Pass),
        }
    }
}
