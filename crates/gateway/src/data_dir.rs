//! The data directory: held by one process at a time, which leaves word of where it answers.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// The data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("data directory {} is in use by another filmgate", .0.display())]
    InUse(PathBuf),
    #[error("a gateway is starting on data directory {}; try again in a moment", .0.display())]
    Starting(PathBuf),
    #[error("data directory {} cannot be used", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("no gateway runs on data directory {}, and it does not exist", .0.display())]
    Absent(PathBuf),
}

impl Error {
    /// True when another setting would help.
    pub(crate) fn is_configuration(&self) -> bool {
        matches!(self, Self::InUse(_) | Self::Absent(_))
    }
}

/// Where a running gateway answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) dicom: SocketAddr,
    /// DICOM over TLS, where that is open.
    #[serde(default)]
    pub(crate) dicom_tls: Option<SocketAddr>,
    pub(crate) web: SocketAddr,
}

/// A data directory held by this process, until dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Takes the directory, making it when it is not there.
    pub(crate) fn take(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(io)?;
        let options = OpenOptions::new().create(true).truncate(false).write(true).open(path.join("lock"));
        let lock = options.map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {
                let taken = Self { path: path.to_owned(), _lock: lock };
                // A killed gateway's word is not where this one answers.
                taken.withdraw();
                Ok(taken)
            }
            Err(TryLockError::WouldBlock) => Err(Error::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }

    fn withdraw(&self) {
        // It is not there in most cases.
        let _ = fs::remove_file(self.path.join("run.json"));
    }

    /// Leaves word of where this process answers.
    pub(crate) fn announce(&self, running: &Running) -> io::Result<()> {
        fs::write(self.path.join("run.json"), serde_json::to_vec(running)?)
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        self.withdraw();
    }
}

/// The gateway that holds the directory now; `None` when none does.
pub(crate) fn running(path: &Path) -> Result<Option<Running>, Error> {
    if !path.is_dir() {
        return Err(Error::Absent(path.to_owned()));
    }
    match DataDir::take(path) {
        Ok(_) => Ok(None),
        Err(Error::InUse(_)) => {
            let io = |source| Error::Io { path: path.to_owned(), source };
            let word = match fs::read(path.join("run.json")) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(Error::Starting(path.to_owned()));
                }
                read => read.map_err(io)?,
            };
            serde_json::from_slice(&word).map(Some).map_err(|error| io(error.into()))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_holds_a_directory() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("data");
        assert!(matches!(running(&path), Err(Error::Absent(_))));
        let held = DataDir::take(&path).expect("taken");
        let address: SocketAddr = ([127, 0, 0, 1], 1).into();
        held.announce(&Running { dicom: address, dicom_tls: None, web: address }).expect("announced");
        assert!(matches!(DataDir::take(&path), Err(Error::InUse(_))));
        assert_eq!(running(&path).expect("asked").map(|running| running.web), Some(address));
        drop(held);
        assert!(running(&path).expect("asked").is_none());
    }
}
