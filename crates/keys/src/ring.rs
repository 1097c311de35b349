//! The ring: the site's keys, opened once, and what is derived from them or wrapped under them.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use filmgate_model::{Clock, NodeId, Random, SiteId, Timestamp};
use filmgate_seal::derive;
use filmgate_spool::{Disk, read_file, write_durably};
use parking_lot::{Mutex, RwLock};
use zeroize::Zeroizing;

use crate::{
    Error, Kek,
    kept::{OpenKeys, kept_folder},
    key_file::{self, KEY_FILE_BYTES, Key, Kind, Label},
    landing::LandingKeys,
    node::{read_node, write_node},
    sheet::Sheet,
    shred::Shredded,
    signing::signing_folder,
    site::{SITE_OBJECT_BYTES_MAX, SiteKeys, SiteObject},
    take::open_site,
};

/// The keys of a node, opened.
pub struct KeyRing {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) folder: PathBuf,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) site_id: SiteId,
    pub(crate) landing: Mutex<LandingKeys>,
    pub(crate) open_keys: OpenKeys,
    pub(crate) shredded: Shredded,
    pub(crate) held: RwLock<Held>,
    pub(crate) site_object: RwLock<Arc<SiteObject>>,
    node_id: NodeId,
    catalog_key: Key,
}

/// The site's keys, opened; none once their lease has ended.
pub(crate) struct Held {
    pub(crate) site: Option<Arc<SiteKeys>>,
    /// Files of the site keys that were given up and are needed still.
    pub(crate) earlier_files: Vec<PathBuf>,
    pub(crate) heard_at: Timestamp,
    pub(crate) lease: Option<Duration>,
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

    /// Makes a new site: its id, its first key, and a node id for an empty data directory. Durable when this returns.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is a site key already; [`Error::KekAway`], [`Error::KekRefused`]; [`Error::Io`].
    pub fn create(
        disk: Arc<dyn Disk>,
        folder: &Path,
        kek: &Kek,
        clock: &Clock,
        random: &Random,
    ) -> Result<Self, Error> {
        if Self::exists(&*disk, folder)? {
            return Err(Error::Exists(site_file(folder)));
        }
        let (site_id, node_id) = (SiteId::random(random), NodeId::random(random));
        let now = clock.now();
        let site = SiteKeys::first(site_id, Zeroizing::new(random.array()), now);
        let object = SiteObject::seal(&site, 1, kek, now, random)?;
        settle(&*disk, folder, &site, &object, node_id, &Zeroizing::new(random.array()), clock, random)?;
        Self::open(disk, folder, kek, clock, random)
    }

    /// Makes an empty data directory a new node of a site whose keys are at hand: what a bucket keeps of them, as its
    /// bytes. Durable when this returns.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is a site key already; [`Error::Wrong`] when `kek` does not open the object;
    /// [`Error::Damaged`], [`Error::Newer`], [`Error::KekAway`], [`Error::KekRefused`], [`Error::Io`].
    pub fn join(
        disk: Arc<dyn Disk>,
        folder: &Path,
        kek: &Kek,
        object: &SiteObject,
        clock: &Clock,
        random: &Random,
    ) -> Result<Self, Error> {
        if Self::exists(&*disk, folder)? {
            return Err(Error::Exists(site_file(folder)));
        }
        let site = object.open(kek, Path::new(&object.name()))?;
        let catalog_key = Zeroizing::new(random.array());
        settle(&*disk, folder, &site, object, NodeId::random(random), &catalog_key, clock, random)?;
        Self::open(disk, folder, kek, clock, random)
    }

    /// Makes an empty data directory a new node of a site from its recovery sheet, for a sheet that carries the keys of
    /// the site: they are wrapped under `kek` as `generation`, which must be above any the buckets hold.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is a site key already, or when the sheet carries a key file: that is saved, and the
    /// site joined; [`Error::KekAway`], [`Error::KekRefused`], [`Error::Io`].
    pub fn restore(
        disk: Arc<dyn Disk>,
        folder: &Path,
        kek: &Kek,
        sheet: &Sheet,
        generation: u32,
        clock: &Clock,
        random: &Random,
    ) -> Result<Self, Error> {
        let site = sheet.site_keys().ok_or_else(|| Error::Exists(site_file(folder)))?;
        let object = SiteObject::seal(site, generation, kek, clock.now(), random)?;
        Self::join(disk, folder, kek, &object, clock, random)
    }

    /// Opens the keys of a data directory.
    ///
    /// # Errors
    /// [`Error::Missing`] without a site key, [`Error::Wrong`] when `kek` is not the one it was made with,
    /// [`Error::Damaged`], [`Error::Newer`], [`Error::KekAway`], [`Error::KekRefused`], [`Error::Io`].
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        kek: &Kek,
        clock: &Clock,
        random: &Random,
    ) -> Result<Self, Error> {
        let path = site_file(folder);
        let mut bytes = read_site_file(&*disk, &path)?;
        make_folders(&*disk, folder)?;
        if bytes.starts_with(key_file::MAGIC) {
            settle_old(&*disk, folder, &bytes, kek, clock, random)?;
            bytes = read_site_file(&*disk, &path)?;
        }
        let object = SiteObject::read(&bytes, &path)?;
        let site_id = object.site_id();
        let (site, earlier_files) = open_site(&*disk, folder, kek, &object)?;
        let node_id = read_node(&*disk, folder)?;
        sync_folders(&*disk, folder)?;
        let landing = LandingKeys::list(&*disk, folder, site_id, &site)?;
        let catalog_key = open_catalog_key(&*disk, folder, &site, site_id, node_id, clock, random)?;
        let is_behind = !earlier_files.is_empty();
        let held = Held { site: Some(Arc::new(site)), earlier_files, heard_at: clock.now(), lease: None };
        let ring = Self {
            disk,
            folder: folder.to_owned(),
            clock: clock.clone(),
            random: random.clone(),
            site_id,
            landing: Mutex::new(landing),
            open_keys: OpenKeys::default(),
            shredded: Shredded::default(),
            held: RwLock::new(held),
            site_object: RwLock::new(Arc::new(object)),
            node_id,
            catalog_key,
        };
        if is_behind && let Err(error) = ring.rewrap_local() {
            tracing::error!(error = %error, "keys under a site key that was given up are not wrapped anew yet");
        }
        Ok(ring)
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

    /// The site's keys as every placement has to keep them.
    #[must_use]
    pub fn site_object(&self) -> Arc<SiteObject> {
        Arc::clone(&self.site_object.read())
    }

    /// The key the catalog's file is encrypted under; it stays the same when the site key changes.
    #[must_use]
    pub fn catalog_key(&self) -> Zeroizing<[u8; 32]> {
        self.catalog_key.clone()
    }

    /// The site's keys, opened, while their lease lasts.
    pub(crate) fn site(&self) -> Result<Arc<SiteKeys>, Error> {
        let held = self.held.read();
        let over = held.lease.is_some_and(|lease| self.clock.now().since(held.heard_at) >= lease);
        match &held.site {
            Some(site) if !over => Ok(Arc::clone(site)),
            _ => Err(Error::Locked { heard_at: held.heard_at }),
        }
    }

    /// Wraps a fresh key under the site's and makes it durable before anyone may use it.
    pub(crate) fn store_new(&self, label: &Label, path: &Path) -> Result<Key, Error> {
        let site = self.site()?;
        let key = Zeroizing::new(self.random.array());
        // Held until it is stored: the site key it is wrapped under does not go meanwhile.
        let held = self.held.read();
        let site = held.site.as_ref().unwrap_or(&site);
        store(&*self.disk, label, path, site, &key, &self.random)?;
        Ok(key)
    }
}

/// Writes what makes a folder a node of a site; the site's keys last, for a folder with them is whole.
#[expect(clippy::too_many_arguments, reason = "each is one thing that is written or written with")]
fn settle(
    disk: &dyn Disk,
    folder: &Path,
    site: &SiteKeys,
    object: &SiteObject,
    node_id: NodeId,
    catalog_key: &Key,
    clock: &Clock,
    random: &Random,
) -> Result<(), Error> {
    make_folders(disk, folder)?;
    write_node(disk, folder, node_id)?;
    let label = catalog_label(object.site_id(), node_id, clock);
    store(disk, &label, &catalog_file(folder), site, catalog_key, random)?;
    let path = site_file(folder);
    write_durably(disk, &path, object.bytes()).map_err(Error::io("write site key", path))
}

/// A data directory of the first versions: its one file named the node as well, and the key of its catalog was derived
/// from the site's. The same keys, in the form of today, take its place.
fn settle_old(
    disk: &dyn Disk,
    folder: &Path,
    bytes: &[u8],
    kek: &Kek,
    clock: &Clock,
    random: &Random,
) -> Result<(), Error> {
    let path = site_file(folder);
    let label = Label::read(bytes, &path)?;
    if label.kind != Kind::Site {
        return Err(Error::Damaged { path, problem: "it is another key's" });
    }
    let Kek::File(key_file) = kek else {
        let advice = "start once with keys.provider = \"file\", then change the key of keys with `filmgate key rotate --kek`";
        return Err(Error::KekRefused {
            keeper: "keeper",
            reason: "this data directory has a key file".to_owned(),
            advice,
        });
    };
    let key = label.open(key_file.as_bytes(), bytes, &path)?;
    let (site_id, node_id) = (label.site_id, NodeId(label.id));
    let catalog_key = Zeroizing::new(derive(&key, "catalog file", node_id.as_bytes()));
    let site = SiteKeys::first(site_id, key, label.created_at);
    let object = SiteObject::seal(&site, 1, kek, clock.now(), random)?;
    settle(disk, folder, &site, &object, node_id, &catalog_key, clock, random)
}

/// The key of the catalog file. One that is gone is made anew: the catalog it belonged to does not open then, and says
/// what to do.
fn open_catalog_key(
    disk: &dyn Disk,
    folder: &Path,
    site: &SiteKeys,
    site_id: SiteId,
    node_id: NodeId,
    clock: &Clock,
    random: &Random,
) -> Result<Key, Error> {
    let path = catalog_file(folder);
    match read_key_file(disk, &path, Kind::Catalog) {
        Ok(bytes) => {
            let Label { created_at, generation, .. } = Label::read(&bytes, &path)?;
            Label { created_at, generation, ..catalog_label(site_id, node_id, clock) }
                .open_under(site, &bytes, &path)
        }
        Err(Error::Missing { .. }) => {
            tracing::warn!(path = %path.display(), "the catalog's key is gone and is made anew");
            let key = Zeroizing::new(random.array());
            store(disk, &catalog_label(site_id, node_id, clock), &path, site, &key, random)?;
            Ok(key)
        }
        Err(error) => Err(error),
    }
}

fn catalog_label(site_id: SiteId, node_id: NodeId, clock: &Clock) -> Label {
    Label { kind: Kind::Catalog, site_id, id: node_id.0, generation: 1, created_at: clock.now() }
}

/// Wraps a key under the current site key and makes it durable.
fn store(
    disk: &dyn Disk,
    label: &Label,
    path: &Path,
    site: &SiteKeys,
    key: &Key,
    random: &Random,
) -> Result<(), Error> {
    let bytes = label.seal(&site.current().key, key, random);
    write_durably(disk, path, &bytes).map_err(Error::io("write key", path))
}

pub(crate) fn read_site_file(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, Error> {
    read_bounded(disk, path, Kind::Site, SITE_OBJECT_BYTES_MAX)
}

/// The bytes of a stored key, its length not trusted.
pub(crate) fn read_key_file(disk: &dyn Disk, path: &Path, kind: Kind) -> Result<Vec<u8>, Error> {
    read_bounded(disk, path, kind, KEY_FILE_BYTES)
}

fn read_bounded(disk: &dyn Disk, path: &Path, kind: Kind, bytes_max: usize) -> Result<Vec<u8>, Error> {
    read_file(disk, path, bytes_max as u64).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::Missing { what: kind.what(), path: path.to_owned() },
        io::ErrorKind::FileTooLarge => {
            Error::Damaged { path: path.to_owned(), problem: "its length is wrong" }
        }
        _ => Error::Io { doing: "read key", path: path.to_owned(), source },
    })
}

pub(crate) fn site_file(folder: &Path) -> PathBuf {
    folder.join("site.key")
}

pub(crate) fn catalog_file(folder: &Path) -> PathBuf {
    folder.join("catalog.key")
}

/// A process killed between a rename and the folder's sync leaves a name that a power cut can still take away; nothing
/// may be wrapped by such a key before its name is durable.
fn sync_folders(disk: &dyn Disk, folder: &Path) -> Result<(), Error> {
    disk.sync_dir(folder).map_err(Error::io("sync folder of keys", folder))?;
    for inside in folders(folder) {
        disk.sync_dir(&inside).map_err(Error::io("sync folder of keys", inside))?;
    }
    Ok(())
}

fn make_folders(disk: &dyn Disk, folder: &Path) -> Result<(), Error> {
    for inside in folders(folder) {
        disk.create_dir_all(&inside).map_err(Error::io("make folder", inside))?;
    }
    Ok(())
}

/// Every folder below the folder of keys.
fn folders(folder: &Path) -> [PathBuf; 4] {
    [
        landing_folder(folder),
        kept_folder(folder, Kind::Study),
        kept_folder(folder, Kind::Log),
        signing_folder(folder),
    ]
}

pub(crate) fn landing_folder(folder: &Path) -> PathBuf {
    folder.join("landing")
}
