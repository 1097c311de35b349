//! Finding out what a server does, by trying it on objects of our own under `v1/probe/`, which are taken away again.

use aws_sdk_s3::{
    primitives::{ByteStream, DateTime},
    types::{ObjectLockEnabled, ObjectLockMode},
};
use bytes::Bytes;

use super::{Role, S3Bucket, checksums::Checksums, errors::told};
use crate::{Error, Probe, ProbeToken};

/// Where probes stand.
const FOLDER: &str = "v1/probe/";
/// What is put, and what is stated instead of its digests.
const CONTENT: &[u8] = b"filmgate probe";
const OTHER: &[u8] = b"filmgate probe, other content";
/// How long the object that is to be locked stays so, in milliseconds.
const LOCK_MS: i64 = 5_000;

/// An object of a probe that was put; its version when the server names one, which does not mean that it keeps them.
struct Put(Option<String>);

impl Put {
    fn new(version_id: Option<&str>) -> Self {
        Self(version_id.filter(|id| !id.is_empty() && *id != "null").map(str::to_owned))
    }
}

impl S3Bucket {
    /// Tries everything a [`Probe`] tells.
    pub(super) async fn find_out(&self, token: &ProbeToken) -> Result<Probe, Error> {
        let name = |what: &str| format!("{FOLDER}{}-{what}", token.token);
        let (right, wrong) = (Checksums::now(CONTENT), Checksums::now(OTHER));
        let wrong_sha256 = Checksums { sha256: wrong.sha256, ..right.clone() };
        let wrong_md5 = Checksums { md5: wrong.md5, ..right.clone() };
        let (honours_conditions, keeps_versions) = self.replaces(&name("twice"), &right).await?;
        Ok(Probe {
            checks_sha256: !self.stands(&name("sha256"), wrong_sha256).await?,
            checks_md5: !self.stands(&name("md5"), wrong_md5).await?,
            honours_conditions,
            keeps_versions: keeps_versions || self.is_said_to_version().await?,
            locks_objects: self.locks(&name("lock"), &right, token).await?,
        })
    }

    /// What is found must do for what the bucket is for; else what to do is said.
    pub(super) fn refuse_unfit(&self, probe: &Probe) -> Result<(), Error> {
        let bucket = &self.bucket;
        let unfit = match self.role {
            Role::Keys if probe.keeps_versions => format!(
                "bucket {bucket} keeps versions, so a deleted key would stay: name another in keys_bucket, one that \
                 never had versioning"
            ),
            Role::Keys if probe.locks_objects => format!(
                "bucket {bucket} locks objects, so a key could not be deleted: name another in keys_bucket, one \
                 without object lock"
            ),
            Role::Packs { require_object_lock: true } if !probe.locks_objects => format!(
                "bucket {bucket} does not lock objects (one that should have been locked could be deleted), and \
                 require_object_lock asks for it: make a bucket with object lock on a server that has it, or take \
                 the setting back"
            ),
            _ => return Ok(()),
        };
        Err(Error::Unfit(unfit))
    }

    /// Puts an object with digests that are wrong; true when the server let it stand.
    async fn stands(&self, name: &str, checksums: Checksums) -> Result<bool, Error> {
        match self.put_probe(name, checksums).await {
            Ok(put) => self.take_away(name, &put).await.map(|()| true),
            // Servers refuse with different codes.
            Err(Error::Changed(_) | Error::Rejected(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts an object twice, to be new each time: whether the second was refused, and whether versions are kept.
    async fn replaces(&self, name: &str, checksums: &Checksums) -> Result<(bool, bool), Error> {
        let first = self.put_probe(name, checksums.clone()).await?;
        let second = self.put_probe(name, checksums.clone()).await;
        let keeps_versions = self.outlives_its_deletion(name, &first).await?;
        self.take_away(name, &first).await?;
        match second {
            Ok(second) => self.take_away(name, &second).await.map(|()| (false, keeps_versions)),
            Err(Error::Exists(_)) => Ok((true, keeps_versions)),
            Err(error) => Err(error),
        }
    }

    /// Deletes an object the usual way; true when its version can still be read, or nobody says that it cannot.
    async fn outlives_its_deletion(&self, name: &str, put: &Put) -> Result<bool, Error> {
        let Some(version_id) = &put.0 else { return Ok(false) };
        let delete = self.client.quick().delete_object().bucket(&self.bucket).key(self.key(name)?);
        let deleted = delete.send().await.map_err(|error| told(name, error))?;
        let head = self.client.quick().head_object().bucket(&self.bucket).key(self.key(name)?);
        let found = match head.version_id(version_id).send().await.map_err(|error| told(name, error)) {
            Ok(_) | Err(Error::Denied(_) | Error::Rejected(_)) => true,
            Err(Error::NotFound(_)) => false,
            Err(error) => return Err(error),
        };
        // Where versions are kept a deletion is one of them, and goes too.
        if found {
            self.take_away(name, &Put::new(deleted.version_id())).await?;
        }
        Ok(found)
    }

    async fn put_probe(&self, name: &str, checksums: Checksums) -> Result<Put, Error> {
        let put = self.client.quick().put_object().bucket(&self.bucket).key(self.key(name)?);
        let put = put.if_none_match("*").set_content_md5(checksums.md5).checksum_sha256(checksums.sha256);
        let put = put.body(ByteStream::from(Bytes::from_static(CONTENT))).send().await;
        put.map(|put| Put::new(put.version_id())).map_err(|error| told(name, error))
    }

    /// Deletes an object, and with it the version that was put.
    async fn take_away(&self, name: &str, put: &Put) -> Result<(), Error> {
        let delete = self.client.quick().delete_object().bucket(&self.bucket).key(self.key(name)?);
        let deleted = delete.set_version_id(put.0.clone()).send().await;
        deleted.map(|_| ()).map_err(|error| told(name, error))
    }

    /// Locks an object and tries to delete it; true when that is refused.
    async fn locks(&self, name: &str, right: &Checksums, token: &ProbeToken) -> Result<bool, Error> {
        // Where it is not even claimed, the put would be refused.
        if !self.is_said_to_lock().await? {
            return Ok(false);
        }
        self.take_away_old_locks(token).await;
        let until = DateTime::from_millis(token.at_ms.saturating_add(LOCK_MS));
        let put = self.client.quick().put_object().bucket(&self.bucket).key(self.key(name)?);
        let put = put.object_lock_mode(ObjectLockMode::Governance).object_lock_retain_until_date(until);
        let put = put.set_content_md5(right.md5.clone()).checksum_sha256(&right.sha256);
        let put = put.body(ByteStream::from(Bytes::from_static(CONTENT))).send().await;
        let put = match put.map_err(|error| told(name, error)) {
            Ok(put) => Put::new(put.version_id()),
            // It claims to lock, and takes no lock.
            Err(Error::Rejected(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        match self.take_away(name, &put).await {
            Ok(()) => Ok(false),
            Err(Error::Denied(_) | Error::Rejected(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn is_said_to_lock(&self) -> Result<bool, Error> {
        let asked = self.client.quick().get_object_lock_configuration().bucket(&self.bucket).send().await;
        match asked.map_err(|error| told("the bucket's object lock", error)) {
            Ok(answer) => {
                let lock = answer.object_lock_configuration().and_then(|lock| lock.object_lock_enabled());
                Ok(lock == Some(&ObjectLockEnabled::Enabled))
            }
            // Answered, and not with a lock.
            Err(Error::NotFound(_) | Error::Rejected(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What earlier probes locked is free by now. One that cannot be taken away stays for the next.
    async fn take_away_old_locks(&self, token: &ProbeToken) {
        let prefix = format!("{}{FOLDER}", self.client.prefix);
        let list = self.client.quick().list_object_versions().bucket(&self.bucket).prefix(prefix);
        let Ok(versions) = list.send().await else { return };
        for version in versions.versions() {
            let put_at = version.last_modified().and_then(|at| at.to_millis().ok());
            if put_at.is_none_or(|at| at.saturating_add(2 * LOCK_MS) > token.at_ms) {
                continue;
            }
            let delete = self.client.quick().delete_object().bucket(&self.bucket);
            let delete = delete.set_key(version.key().map(str::to_owned));
            let deleted = delete.set_version_id(version.version_id().map(str::to_owned)).send().await;
            if let Err(error) = deleted {
                tracing::debug!(error = %told(FOLDER, error), "an old probe stays");
            }
        }
    }
}
