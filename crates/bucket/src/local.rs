//! A bucket in a folder of a local or mounted file system.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Bucket, Error, ObjectInfo, Source, blocking::blocking, is_object_name};

/// Names of files that are being written end so; they are no objects.
const UNFINISHED: &str = ".unfinished";

/// Objects as files below one folder, names as paths.
#[derive(Debug, Clone)]
pub struct LocalBucket {
    root: PathBuf,
}

impl LocalBucket {
    /// A bucket in this folder, which is made when it is not there and can be. One that cannot be used now, a share that
    /// is not mounted say, fails when it is used, and may come back.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        if let Err(error) = fs::create_dir_all(&root) {
            tracing::warn!(%error, folder = %root.display(), "the bucket's folder cannot be used now");
        }
        Self { root }
    }

    async fn off_thread<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce(&Path, &Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        if !is_object_name(name) {
            return Err(Error::Name(name.to_owned()));
        }
        let (root, path) = (self.root.clone(), self.root.join(name));
        let done = blocking(move || if root.is_dir() { Some(work(&root, &path)) } else { None }).await?;
        let away = || Error::Unavailable {
            reason: format!("the bucket's folder {} is not there", self.root.display()),
            retry_after: None,
        };
        done.ok_or_else(away)?.map_err(|error| Error::of_io(name, error))
    }
}

#[async_trait]
impl Bucket for LocalBucket {
    async fn put(&self, name: &str, content: &Source) -> Result<(), Error> {
        let content = content.clone();
        self.off_thread(name, move |root, path| write_object(root, path, &content)).await
    }

    async fn get(&self, name: &str, range: Range<u64>) -> Result<Bytes, Error> {
        let owned = name.to_owned();
        let read = self.off_thread(name, move |_, path| read_range(path, &range)).await?;
        read.map_err(|bytes| Error::Short { name: owned, bytes })
    }

    async fn head(&self, name: &str) -> Result<Option<ObjectInfo>, Error> {
        match self.off_thread(name, |_, path| fs::metadata(path)).await {
            Ok(found) if found.is_file() => {
                Ok(Some(ObjectInfo { name: name.to_owned(), bytes: found.len() }))
            }
            Ok(_) | Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, Error> {
        let (root, prefix) = (self.root.clone(), prefix.to_owned());
        let listed = blocking(move || {
            let mut found = Vec::new();
            walk(&root, &root, &prefix, &mut found)?;
            found.sort_by(|a: &ObjectInfo, b| a.name.cmp(&b.name));
            Ok(found)
        });
        listed.await?.map_err(|error: io::Error| Error::of_io("the bucket's folder", error))
    }

    async fn delete(&self, name: &str) -> Result<(), Error> {
        let deleted =
            self.off_thread(name, |_, path| fs::remove_file(path).and_then(|()| sync_parent(path))).await;
        match deleted {
            Err(Error::NotFound(_)) => Ok(()),
            other => other,
        }
    }
}

/// Writes beside, syncs, links into place without replacing, syncs the folder.
fn write_object(root: &Path, path: &Path, content: &Source) -> io::Result<()> {
    let folder = path.parent().unwrap_or(root);
    make_folder(root, folder)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(UNFINISHED);
    let beside = PathBuf::from(beside);
    let written = write_beside(&beside, content).and_then(|()| fs::hard_link(&beside, path));
    let cleaned = fs::remove_file(&beside);
    written.and(cleaned)?;
    sync_parent(path)
}

fn write_beside(beside: &Path, content: &Source) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(beside)?;
    for piece in content.pieces() {
        file.write_all(&content.read(piece)?)?;
    }
    file.sync_all()
}

/// Makes a folder below the root, each new level synced in its parent.
fn make_folder(root: &Path, folder: &Path) -> io::Result<()> {
    if folder == root || folder.is_dir() {
        return Ok(());
    }
    make_folder(root, folder.parent().unwrap_or(root))?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_parent(folder),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// The range, or the file's size when it ends before.
fn read_range(path: &Path, range: &Range<u64>) -> io::Result<Result<Bytes, u64>> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let Some(length) = range.end.checked_sub(range.start).filter(|_| range.end <= bytes) else {
        return Ok(Err(bytes));
    };
    let mut buffer = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut buffer, range.start)?;
    Ok(Ok(buffer.into()))
}

fn walk(root: &Path, folder: &Path, prefix: &str, found: &mut Vec<ObjectInfo>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) else { continue };
        let kind = entry.metadata()?;
        if kind.is_dir() && (prefix.starts_with(name) || name.starts_with(prefix)) {
            walk(root, &path, prefix, found)?;
        } else if kind.is_file() && name.starts_with(prefix) && !name.ends_with(UNFINISHED) {
            found.push(ObjectInfo { name: name.to_owned(), bytes: kind.len() });
        }
    }
    Ok(())
}
