//! Placements: where they are, and what of them cannot work.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use filmgate_bucket::{S3Credentials, S3Settings};

use super::{Bucket, BucketKind, CredentialsFrom, Error, Settings, milliseconds};

/// The smallest part most servers take, but for the last of an object.
const PART_BYTES_MIN: u64 = 5 << 20;
/// The largest.
const PART_BYTES_MAX: u64 = 5 << 30;

fn refuse<T>(key: &str, why: impl Into<String>) -> Result<T, Error> {
    Err(Error::Value { key: key.to_owned(), why: why.into() })
}

impl Settings {
    /// The folder of a placement: in the data directory unless set.
    pub(crate) fn bucket_path(&self, name: &str, bucket: &Bucket) -> PathBuf {
        if bucket.path.as_os_str().is_empty() {
            self.node.data_dir.join("bucket").join(name)
        } else {
            bucket.path.clone()
        }
    }

    /// The folder of a placement's keys: beside that of its packs unless set.
    pub(crate) fn bucket_keys_path(&self, name: &str, bucket: &Bucket) -> PathBuf {
        if !bucket.keys_path.as_os_str().is_empty() {
            return bucket.keys_path.clone();
        }
        let path = self.bucket_path(name, bucket);
        let mut keys = path.file_name().unwrap_or_default().to_owned();
        keys.push("-keys");
        path.with_file_name(keys)
    }

    /// No two placements may share a place, nor packs and keys.
    pub(super) fn check_placements(&self) -> Result<(), Error> {
        let (mut folders, mut buckets) = (Vec::new(), Vec::new());
        for (name, bucket) in &self.bucket {
            match bucket.kind {
                BucketKind::Local => self.check_local(name, bucket, &mut folders)?,
                BucketKind::S3 => check_s3(name, bucket, &mut buckets)?,
            }
        }
        Ok(())
    }

    fn check_local(&self, name: &str, bucket: &Bucket, taken: &mut Vec<PathBuf>) -> Result<(), Error> {
        let data_dir = &self.node.data_dir;
        let ours = ["journal", "packs", "keys"].map(|folder| data_dir.join(folder));
        for (key, path) in
            [("path", self.bucket_path(name, bucket)), ("keys_path", self.bucket_keys_path(name, bucket))]
        {
            let key = format!("bucket.{name}.{key}");
            if path == *data_dir || ours.iter().any(|folder| path.starts_with(folder)) {
                return refuse(&key, "it is a folder of the data directory's own");
            }
            if taken.iter().any(|other| path.starts_with(other) || other.starts_with(&path)) {
                return refuse(&key, "it and another bucket's folder must not lie in each other");
            }
            taken.push(path);
        }
        Ok(())
    }

    /// What uploads may take.
    pub(super) fn check_uploads(&self) -> Result<(), Error> {
        let upload = &self.upload;
        if !(PART_BYTES_MIN..=PART_BYTES_MAX).contains(&upload.part_size_bytes) {
            return refuse("upload.part_size_bytes", "servers take parts of 5242880 to 5368709120 bytes");
        }
        for (key, value) in [
            ("upload.parts_in_flight", upload.parts_in_flight),
            ("upload.packs_in_flight", upload.packs_in_flight),
        ] {
            if !(1..=64).contains(&value) {
                return refuse(key, "it is not within 1 and 64");
            }
        }
        Ok(())
    }

    /// How the server of a placement is reached. Reads the files that are named.
    pub(crate) fn s3(&self, name: &str, bucket: &Bucket) -> Result<S3Settings, Error> {
        let ca_file = &bucket.ca_file;
        let ca_pem = if ca_file.as_os_str().is_empty() { None } else { Some(read(ca_file)?) };
        Ok(S3Settings {
            endpoint: (!bucket.endpoint.is_empty()).then(|| bucket.endpoint.clone()),
            region: bucket.region.clone(),
            path_style: bucket.path_style,
            ca_pem,
            credentials: credentials(name, bucket)?,
            prefix: bucket.prefix.clone(),
            connect_timeout: milliseconds(bucket.connect_timeout_ms),
            read_timeout: milliseconds(bucket.read_timeout_ms),
            stall_timeout: milliseconds(bucket.stall_timeout_ms),
            operation_timeout: milliseconds(bucket.operation_timeout_ms),
            part_size_bytes: self.upload.part_size_bytes,
        })
    }
}

impl Bucket {
    /// The S3 bucket of its keys: that of its packs with `-keys` behind it unless set.
    pub(crate) fn keys_bucket(&self) -> String {
        if self.keys_bucket.is_empty() { format!("{}-keys", self.bucket) } else { self.keys_bucket.clone() }
    }
}

/// Where objects of one kind go.
#[derive(PartialEq)]
struct Taken {
    endpoint: String,
    bucket: String,
    prefix: String,
    keys: bool,
}

impl Taken {
    /// Prefixes tell sites apart; packs and keys never share a bucket.
    fn collides(&self, other: &Self) -> bool {
        let same_bucket = self.endpoint == other.endpoint && self.bucket == other.bucket;
        same_bucket && (self.keys != other.keys || self.prefix == other.prefix)
    }
}

fn check_s3(name: &str, bucket: &Bucket, taken: &mut Vec<Taken>) -> Result<(), Error> {
    let key = |key: &str| format!("bucket.{name}.{key}");
    if bucket.bucket.is_empty() {
        return refuse(&key("bucket"), "the name of an S3 bucket is wanting");
    }
    let url = &bucket.endpoint;
    if !url.is_empty() && !url.starts_with("http://") && !url.starts_with("https://") {
        return refuse(&key("endpoint"), format!("{url:?} begins with neither http:// nor https://"));
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let mut steps = bucket.prefix.split('/').rev();
    let ends_in_slash = steps.next().is_some_and(str::is_empty);
    if !ends_in_slash || steps.any(|step| step.is_empty() || !step.bytes().all(is_plain)) {
        return refuse(
            &key("prefix"),
            "it is letters, digits, - and _, and ends in a slash, such as site-a/",
        );
    }
    for (which, milliseconds) in [
        ("connect_timeout_ms", bucket.connect_timeout_ms),
        ("read_timeout_ms", bucket.read_timeout_ms),
        ("stall_timeout_ms", bucket.stall_timeout_ms),
        ("operation_timeout_ms", bucket.operation_timeout_ms),
    ] {
        if milliseconds == 0 {
            return refuse(&key(which), "with 0 nothing could be asked");
        }
    }
    for (which, bucket_name, keys) in
        [("bucket", bucket.bucket.clone(), false), ("keys_bucket", bucket.keys_bucket(), true)]
    {
        let (endpoint, prefix) = (bucket.endpoint.clone(), bucket.prefix.clone());
        let place = Taken { endpoint, bucket: bucket_name, prefix, keys };
        if taken.iter().any(|other| place.collides(other)) {
            return refuse(
                &key(which),
                "that bucket is taken: by another placement, or by packs, which keys must not share",
            );
        }
        taken.push(place);
    }
    Ok(())
}

fn credentials(name: &str, bucket: &Bucket) -> Result<S3Credentials, Error> {
    let of_environment = |variable: &str| env::var(variable).ok().filter(|value| !value.is_empty());
    let (id, secret, token) = match bucket.credentials {
        CredentialsFrom::Environment => (
            of_environment("AWS_ACCESS_KEY_ID").unwrap_or_default(),
            of_environment("AWS_SECRET_ACCESS_KEY").unwrap_or_default(),
            of_environment("AWS_SESSION_TOKEN"),
        ),
        CredentialsFrom::Settings => (bucket.access_key_id.clone(), secret_of(bucket)?, None),
    };
    if id.is_empty() || secret.is_empty() {
        let variable = format!("FILMGATE__BUCKET__{}__SECRET_ACCESS_KEY", name.to_ascii_uppercase());
        return refuse(
            &format!("bucket.{name}.credentials"),
            format!(
                "there are none: set access_key_id and secret_access_key_file (or the variable {variable}), or set \
                 credentials = \"environment\" and AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ),
        );
    }
    Ok(S3Credentials {
        access_key_id: id,
        secret_access_key: filmgate_bucket::Secret::new(secret),
        session_token: token.map(filmgate_bucket::Secret::new),
    })
}

fn secret_of(bucket: &Bucket) -> Result<String, Error> {
    if bucket.secret_access_key_file.as_os_str().is_empty() {
        return Ok(bucket.secret_access_key.reveal().to_owned());
    }
    let file = read(&bucket.secret_access_key_file)?;
    Ok(String::from_utf8_lossy(&file).trim().to_owned())
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(change: impl FnOnce(&mut Bucket)) -> Settings {
        let bucket = Bucket { kind: BucketKind::S3, bucket: "packs".into(), ..Bucket::default() };
        let mut settings = Settings::defaults();
        settings.bucket.insert("main".into(), bucket);
        change(settings.bucket.get_mut("main").expect("just put there"));
        settings
    }

    #[test]
    fn a_server_is_checked_before_it_is_asked() {
        s3(|_| ()).check().expect("fine");
        s3(|b| b.prefix = "hospital-a/ct/".into()).check().expect("fine");
        let refused = |settings: Settings| settings.check().expect_err("refused").to_string();
        assert!(refused(s3(|b| b.bucket.clear())).contains("bucket.main.bucket"));
        assert!(refused(s3(|b| b.keys_bucket = "packs".into())).contains("bucket.main.keys_bucket"));
        assert!(refused(s3(|b| b.endpoint = "s3.example".into())).contains("bucket.main.endpoint"));
        for prefix in ["a", "/", "/a/", "a//", "a b/", "../"] {
            assert!(refused(s3(|b| b.prefix = prefix.into())).contains("bucket.main.prefix"), "{prefix}");
        }
        assert!(refused(s3(|b| b.read_timeout_ms = 0)).contains("bucket.main.read_timeout_ms"));
        let mut twice = s3(|_| ());
        twice.bucket.insert("second".into(), twice.bucket["main"].clone());
        assert!(refused(twice).contains("bucket.second.bucket"));
        let mut small = s3(|_| ());
        small.upload.part_size_bytes = 1 << 20;
        assert!(refused(small).contains("upload.part_size_bytes"));
        let mut none = s3(|_| ());
        none.upload.parts_in_flight = 0;
        assert!(refused(none).contains("upload.parts_in_flight"));
    }

    #[test]
    fn credentials_come_from_settings_or_a_file_and_are_not_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secret");
        fs::write(&file, "hidden-in-a-file\n").expect("write");
        let settings = s3(|bucket| {
            bucket.access_key_id = "id".into();
            bucket.secret_access_key_file = file;
        });
        let shown = toml::to_string(&s3(|bucket| bucket.secret_access_key = "hidden".into())).expect("TOML");
        assert!(!shown.contains("hidden"), "{shown}");
        let opened = settings.s3("main", &settings.bucket["main"]).expect("settings");
        assert_eq!(opened.credentials.access_key_id, "id");
        assert!(!format!("{opened:?}").contains("hidden"));
        let none = s3(|_| ());
        let refused = none.s3("main", &none.bucket["main"]).expect_err("no credentials").to_string();
        assert!(refused.contains("FILMGATE__BUCKET__MAIN__SECRET_ACCESS_KEY"), "{refused}");
        assert_eq!(none.bucket["main"].keys_bucket(), "packs-keys");
    }
}
