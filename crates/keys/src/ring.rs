//! The ring: the site's key, opened once, and what is derived from it.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use filmgate_model::{Clock, NodeId, Random, SiteId, StudyKeyId};
use filmgate_seal::derive;
use filmgate_spool::{Disk, read_file, write_durably};
use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::{
    Error, Kek,
    key_file::{KEY_FILE_BYTES, Key, Kind, Label},
    landing::LandingKeys,
};

/// The keys of a node, opened.
pub struct KeyRing {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) folder: PathBuf,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) site_id: SiteId,
    pub(crate) site_key: Key,
    pub(crate) landing: Mutex<LandingKeys>,
    pub(crate) studies: Mutex<BTreeMap<StudyKeyId, Key>>,
    node_id: NodeId,
}

impl KeyRing {
    /// True when the folder holds a site key, whole or not.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn exists(disk: &dyn Disk, folder: &Path) -> Result<bool, Error> {
        let path = site_file(folder);
        disk.exists(&path).map_err(Error::io("look for site key", path))
    }

    /// Makes a site key, a site id and a node id for an empty data directory. Durable when this returns.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is a site key already; [`Error::Io`].
    pub fn create(
        disk: Arc<dyn Disk>,
        folder: &Path,
        kek: &Kek,
        clock: &Clock,
        random: &Random,
    ) -> Result<Self, Error> {
        let path = site_file(folder);
        if Self::exists(&*disk, folder)? {
            return Err(Error::Exists(path));
        }
        make_folders(&*disk, folder)?;
        let (site_id, node_id) = (SiteId::random(random), NodeId::random(random));
        let label =
            Label { kind: Kind::Site, site_id, id: node_id.0, generation: 1, created_at: clock.now() };
        let site_key = Zeroizing::new(random.array());
        let bytes = label.seal(kek.as_bytes(), &site_key, random);
        write_durably(&*disk, &path, &bytes).map_err(Error::io("write site key", path))?;
        Self::open(disk, folder, kek, clock, random)
    }

    /// Opens the keys of a data directory.
    ///
    /// # Errors
    /// [`Error::Missing`] without a site key, [`Error::Wrong`] when `kek` is not the one it was made with,
    /// [`Error::Damaged`], [`Error::Newer`], [`Error::Io`].
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        kek: &Kek,
        clock: &Clock,
        random: &Random,
    ) -> Result<Self, Error> {
        let path = site_file(folder);
        let bytes = read_key_file(&*disk, &path, Kind::Site)?;
        let label = Label::read(&bytes, &path)?;
        if label.kind != Kind::Site {
            return Err(Error::Damaged { path, problem: "it is another key's" });
        }
        let site_key = label.open(kek.as_bytes(), &bytes, &path)?;
        make_folders(&*disk, folder)?;
        sync_folders(&*disk, folder)?;
        let landing = LandingKeys::list(&*disk, folder, label.site_id, &site_key)?;
        Ok(Self {
            disk,
            folder: folder.to_owned(),
            clock: clock.clone(),
            random: random.clone(),
            site_id: label.site_id,
            site_key,
            landing: Mutex::new(landing),
            studies: Mutex::default(),
            node_id: NodeId(label.id),
        })
    }

    /// The site these keys are of.
    #[must_use]
    pub fn site_id(&self) -> SiteId {
        self.site_id
    }

    /// The node this data directory is.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// The key the catalog's file is encrypted under.
    #[must_use]
    pub fn catalog_key(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(derive(&self.site_key, "catalog file", self.node_id.as_bytes()))
    }

    /// Wraps a fresh key under the site's and makes it durable before anyone may use it.
    pub(crate) fn store_new(&self, label: &Label, path: &Path) -> Result<Key, Error> {
        let key = Zeroizing::new(self.random.array());
        let bytes = label.seal(&self.site_key, &key, &self.random);
        write_durably(&*self.disk, path, &bytes).map_err(Error::io("write key", path))?;
        Ok(key)
    }
}

/// The bytes of a stored key, its length not trusted.
pub(crate) fn read_key_file(disk: &dyn Disk, path: &Path, kind: Kind) -> Result<Vec<u8>, Error> {
    read_file(disk, path, KEY_FILE_BYTES as u64).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::Missing { what: kind.what(), path: path.to_owned() },
        io::ErrorKind::FileTooLarge => {
            Error::Damaged { path: path.to_owned(), problem: "its length is wrong" }
        }
        _ => Error::Io { doing: "read key", path: path.to_owned(), source },
    })
}

fn site_file(folder: &Path) -> PathBuf {
    folder.join("site.key")
}

/// A process killed between a rename and the folder's sync leaves a name that a power cut can still take away; nothing
/// may be wrapped by such a key before its name is durable.
fn sync_folders(disk: &dyn Disk, folder: &Path) -> Result<(), Error> {
    for folder in [folder.to_owned(), landing_folder(folder), study_folder(folder)] {
        disk.sync_dir(&folder).map_err(Error::io("sync folder of keys", folder))?;
    }
    Ok(())
}

fn make_folders(disk: &dyn Disk, folder: &Path) -> Result<(), Error> {
    for folder in [landing_folder(folder), study_folder(folder)] {
        disk.create_dir_all(&folder).map_err(Error::io("make folder", folder))?;
    }
    Ok(())
}

pub(crate) fn landing_folder(folder: &Path) -> PathBuf {
    folder.join("landing")
}

pub(crate) fn study_folder(folder: &Path) -> PathBuf {
    folder.join("study")
}
