//! Buckets that keep what is deleted as an old version: there an object is gone when its last version is.

use aws_sdk_s3::types::BucketVersioningStatus;

use super::{S3Bucket, errors::told};
use crate::Error;

/// Lists of up to 1,000 versions; ours are written once, so one is usual.
const ROUNDS_MAX: u32 = 16;

impl S3Bucket {
    /// Deletes every version of an object, and every mark that it was deleted. One that is locked is an error, and stays
    /// until its lock ends.
    pub(super) async fn delete_versions(&self, name: &str) -> Result<(), Error> {
        let key = self.key(name)?;
        for _ in 0..ROUNDS_MAX {
            let list = self.client.quick().list_object_versions().bucket(&self.bucket).prefix(&key);
            let listed = list.send().await.map_err(|error| told(name, error))?;
            let versions = listed
                .versions()
                .iter()
                .map(|version| (version.key(), version.version_id().map(str::to_owned)));
            let marks =
                listed.delete_markers().iter().map(|mark| (mark.key(), mark.version_id().map(str::to_owned)));
            let ours: Vec<_> =
                versions.chain(marks).filter(|(of, _)| *of == Some(&key)).map(|(_, id)| id).collect();
            if ours.is_empty() {
                return Ok(());
            }
            for version_id in ours {
                let delete = self.client.quick().delete_object().bucket(&self.bucket).key(&key);
                let deleted = delete.set_version_id(version_id).send().await;
                deleted.map_err(|error| told(name, error))?;
            }
        }
        Err(Error::Rejected(format!("versions of {name} are still listed after they were deleted")))
    }

    /// Whether versions are kept, or were once: those stay when versioning is suspended. Believed only where it asks for
    /// more care.
    pub(super) async fn is_said_to_version(&self) -> Result<bool, Error> {
        let asked = self.client.quick().get_bucket_versioning().bucket(&self.bucket).send().await;
        match asked.map_err(|error| told("the bucket's versioning", error)) {
            Ok(answer) => Ok(matches!(
                answer.status(),
                Some(BucketVersioningStatus::Enabled | BucketVersioningStatus::Suspended)
            )),
            // Answered, and not with versions: some servers do not know the question, some forbid it.
            Err(Error::NotFound(_) | Error::Rejected(_) | Error::Denied(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
