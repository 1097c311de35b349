//! The bucket of one gateway: a folder, or buckets of a real S3 server behind a proxy that can take them away.

use std::net::SocketAddr;
use std::path::PathBuf;

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
    pub(crate) fn on_s3() -> Self {
        let server = S3::told().expect("an S3 server for the bucket");
        let upstream = server.endpoint.strip_prefix("http://").expect("plain HTTP on loopback");
        let upstream: SocketAddr = upstream.trim_end_matches('/').parse().expect("an address");
        let proxy = Proxy::before(upstream).expect("a proxy");
        let (packs, keys) = (server.make_bucket(), server.make_bucket());
        Self::S3 { server, proxy, packs, keys }
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

    /// The name of every pack in it.
    pub(crate) fn packs(&self) -> Vec<String> {
        match self {
            Self::Folder { packs, .. } => {
                let files = files_below(&packs.join("v1/pack"));
                files.iter().map(|file| file.display().to_string()).collect()
            }
            Self::S3 { server, packs, .. } => {
                let listing = server.ask("GET", &format!("/{packs}?list-type=2&prefix=v1%2Fpack%2F"));
                assert!(
                    listing.contains("<IsTruncated>false"),
                    "more packs than one answer lists: {listing}"
                );
                let names = listing.split("<Key>").skip(1);
                names.filter_map(|rest| rest.split("</Key>").next()).map(str::to_owned).collect()
            }
        }
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
