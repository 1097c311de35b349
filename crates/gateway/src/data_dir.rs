//! The data directory: held by one process at a time, which leaves word of where it answers.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::OpenOptionsExt,
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
    /// True when the web door speaks TLS.
    #[serde(default)]
    pub(crate) web_tls: bool,
    /// The secret by which the gateway knows the command line of its own machine; in a file of its own that only its
    /// user may read.
    #[serde(skip)]
    pub(crate) admin_token: String,
}

impl Running {
    /// Where the web door answers, for programs of this machine.
    pub(crate) fn web_base(&self) -> String {
        let mut address = self.web;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() {
                Ipv4Addr::LOCALHOST.into()
            } else {
                Ipv6Addr::LOCALHOST.into()
            });
        }
        format!("{}://{address}", if self.web_tls { "https" } else { "http" })
    }
}

/// Beside run.json, where the secret of the command line stands.
const ADMIN_TOKEN: &str = "admin-token";

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
        let _ = fs::remove_file(self.path.join(ADMIN_TOKEN));
    }

    /// Leaves word of where this process answers.
    pub(crate) fn announce(&self, running: &Running) -> io::Result<()> {
        let token =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path.join(ADMIN_TOKEN));
        token?.write_all(running.admin_token.as_bytes())?;
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
            let mut running: Running = serde_json::from_slice(&word).map_err(|error| io(error.into()))?;
            running.admin_token = fs::read_to_string(path.join(ADMIN_TOKEN)).map_err(io)?;
            Ok(Some(running))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn one_process_holds_a_directory() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("data");
        assert!(matches!(running(&path), Err(Error::Absent(_))));
        let held = DataDir::take(&path).expect("taken");
        let address: SocketAddr = ([127, 0, 0, 1], 1).into();
        let token = "a secret".to_owned();
        let here =
            Running { dicom: address, dicom_tls: None, web: address, web_tls: true, admin_token: token };
        held.announce(&here).expect("announced");
        let mode = fs::metadata(path.join(ADMIN_TOKEN)).expect("the secret").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(DataDir::take(&path), Err(Error::InUse(_))));
        let found = running(&path).expect("asked").expect("a gateway");
        assert_eq!(
            (found.web_base().as_str(), found.admin_token.as_str()),
            ("https://127.0.0.1:1", "a secret")
        );
        drop(held);
        assert!(running(&path).expect("asked").is_none());
    }
}
