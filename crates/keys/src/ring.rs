//! A node's keys, opened.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use filmgate_model::{Clock, LandingKeyId, NodeId, Random, RecordId, SiteId, StudyKeyId, Timestamp};
use filmgate_seal::{KEY_BYTES, RecordKey, WrappingKey, derive, unwrap_key, wrap_key};
use filmgate_spool::{Disk, read_file, write_durably};
use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::{
    Error, Kek,
    files::{FILE_BYTES_MAX, LandingFile, SiteFile, StudyFile},
};

/// How long new records are wrapped by one landing key.
const LANDING_KEY_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

type Key = Zeroizing<[u8; KEY_BYTES]>;

/// The keys of one node. Methods that read or make a key use the disk and block.
pub struct KeyRing {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    clock: Clock,
    random: Random,
    site_id: SiteId,
    node_id: NodeId,
    site_key: Key,
    landing: Mutex<Landing>,
    studies: Mutex<HashMap<StudyKeyId, Key>>,
}

/// Landing keys in use; the current one wraps what arrives.
#[derive(Default)]
struct Landing {
    current: Option<(LandingKeyId, Timestamp)>,
    keys: HashMap<LandingKeyId, WrappingKey>,
}

impl KeyRing {
    /// True when the folder has a site key.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn exists(disk: &dyn Disk, dir: &Path) -> Result<bool, Error> {
        let path = site_path(dir);
        disk.exists(&path).map_err(|source| Error::Io { path, source })
    }

    /// Makes the keys of a new node: site key, site id and node id.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(
        disk: Arc<dyn Disk>,
        dir: &Path,
        kek: &Kek,
        clock: &Clock,
        random: &Random,
    ) -> Result<Self, Error> {
        let io = |source| Error::Io { path: dir.to_owned(), source };
        for folder in [dir.join("landing"), dir.join("study")] {
            disk.create_dir_all(&folder).map_err(io)?;
        }
        let (site_id, node_id) = (SiteId::random(random), NodeId::random(random));
        let site_key = Zeroizing::new(random.array::<KEY_BYTES>());
        let wrapping = WrappingKey::derive(kek.as_bytes(), "site key", site_id.as_bytes());
        let associated_data = SiteFile::associated_data(site_id, node_id);
        let wrapped = wrap_key(&wrapping, &site_key, &associated_data, random);
        let file = SiteFile { site_id, node_id, wrapped };
        write_durably(&*disk, &site_path(dir), &file.to_bytes()).map_err(io)?;
        Self::open(disk, dir, kek, clock, random)
    }

    /// Opens the keys of a node.
    ///
    /// # Errors
    /// [`Error::NoSiteKey`], [`Error::WrongKek`], [`Error::Damaged`], [`Error::Io`].
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        kek: &Kek,
        clock: &Clock,
        random: &Random,
    ) -> Result<Self, Error> {
        let path = site_path(dir);
        let bytes = match read_file(&*disk, &path, FILE_BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::NoSiteKey(path)),
            read => read.map_err(|source| Error::Io { path: path.clone(), source })?,
        };
        let file = SiteFile::read(&bytes).ok_or_else(|| Error::Damaged(path.clone()))?;
        let wrapping = WrappingKey::derive(kek.as_bytes(), "site key", file.site_id.as_bytes());
        let associated_data = SiteFile::associated_data(file.site_id, file.node_id);
        let site_key =
            unwrap_key(&wrapping, &file.wrapped, &associated_data).map_err(|_| Error::WrongKek(path))?;
        let ring = Self {
            disk,
            dir: dir.to_owned(),
            clock: clock.clone(),
            random: random.clone(),
            site_id: file.site_id,
            node_id: file.node_id,
            site_key,
            landing: Mutex::default(),
            studies: Mutex::default(),
        };
        ring.load_landing_keys()?;
        Ok(ring)
    }

    /// The site this node belongs to.
    #[must_use]
    pub fn site_id(&self) -> SiteId {
        self.site_id
    }

    /// This node.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// The key of the catalog's file.
    #[must_use]
    pub fn catalog_key(&self) -> Zeroizing<[u8; KEY_BYTES]> {
        Zeroizing::new(derive(&self.site_key, "catalog", self.node_id.as_bytes()))
    }

    /// Wraps a record's key for the journal: landing key id, then the wrapped key.
    ///
    /// # Errors
    /// [`Error::Io`] when a new landing key, due once a day, cannot be written.
    pub fn wrap_landing(&self, record_id: RecordId, key: &RecordKey) -> Result<Vec<u8>, Error> {
        let mut landing = self.landing.lock();
        let id = self.current_landing_key(&mut landing)?;
        let wrapping = landing.keys.get(&id).ok_or(Error::NoLandingKey(id))?;
        let wrapped = wrap_key(wrapping, key.as_bytes(), &self.record_data(record_id), &self.random);
        Ok([id.as_bytes().as_slice(), &wrapped].concat())
    }

    /// The record's key again.
    ///
    /// # Errors
    /// [`Error::NoLandingKey`], [`Error::RecordKey`].
    pub fn unwrap_landing(&self, record_id: RecordId, blob: &[u8]) -> Result<RecordKey, Error> {
        let cut = || Error::RecordKey(filmgate_seal::Error::Forged);
        let id = Self::landing_key_id_of(blob).ok_or_else(cut)?;
        let landing = self.landing.lock();
        let wrapping = landing.keys.get(&id).ok_or(Error::NoLandingKey(id))?;
        let wrapped = blob.get(id.0.len()..).unwrap_or_default();
        let key = unwrap_key(wrapping, wrapped, &self.record_data(record_id)).map_err(Error::RecordKey)?;
        Ok(RecordKey::from_bytes(*key))
    }

    /// Which landing key wrapped a record's key.
    #[must_use]
    pub fn landing_key_id_of(blob: &[u8]) -> Option<LandingKeyId> {
        blob.first_chunk().map(|id| LandingKeyId(*id))
    }

    /// Destroys landing keys that wrap nothing any more: all but those in use and the current one. The file is unlinked;
    /// overwriting it first would promise what journaling disks do not keep.
    ///
    /// # Errors
    /// [`Error::Io`]; a key whose file stays is tried again at the next call.
    pub fn retire_landing(&self, in_use: &[LandingKeyId]) -> Result<(), Error> {
        let mut landing = self.landing.lock();
        let current = landing.current.map(|(id, _)| id);
        let unused = landing.keys.keys().filter(|id| Some(**id) != current && !in_use.contains(id));
        for id in unused.copied().collect::<Vec<_>>() {
            self.remove(&self.landing_path(id))?;
            landing.keys.remove(&id);
        }
        Ok(())
    }

    /// Makes the key of a study, durable when this returns.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn new_study_key(&self) -> Result<StudyKeyId, Error> {
        let id = StudyKeyId::random(&self.random);
        let key = Zeroizing::new(self.random.array::<KEY_BYTES>());
        let associated_data = StudyFile::associated_data(self.site_id, id);
        let wrapped = wrap_key(&self.study_wrapping(id), &key, &associated_data, &self.random);
        let file = StudyFile { site_id: self.site_id, id, wrapped };
        self.write(&self.study_path(id), &file.to_bytes())?;
        self.studies.lock().insert(id, key);
        Ok(id)
    }

    /// The key of a study.
    ///
    /// # Errors
    /// [`Error::NoStudyKey`], [`Error::Damaged`], [`Error::Io`].
    pub fn study_key(&self, id: StudyKeyId) -> Result<Zeroizing<[u8; KEY_BYTES]>, Error> {
        if let Some(key) = self.studies.lock().get(&id) {
            return Ok(key.clone());
        }
        let key = self.open_study_key(id, &self.study_file(id)?)?;
        self.studies.lock().insert(id, key.clone());
        Ok(key)
    }

    /// The key object of a study: its name in every bucket, and its bytes.
    ///
    /// # Errors
    /// As [`KeyRing::study_key`].
    pub fn study_key_object(&self, id: StudyKeyId) -> Result<(String, Vec<u8>), Error> {
        let bytes = self.study_file(id)?;
        // What does not open must not be spread.
        self.open_study_key(id, &bytes)?;
        Ok((StudyFile::object_name(id), bytes))
    }

    /// Takes in a key object that came from a bucket.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it does not open, [`Error::Io`].
    pub fn adopt_study_key(&self, id: StudyKeyId, object: &[u8]) -> Result<(), Error> {
        let key = self.open_study_key(id, object)?;
        self.write(&self.study_path(id), object)?;
        self.studies.lock().insert(id, key);
        Ok(())
    }

    fn load_landing_keys(&self) -> Result<(), Error> {
        let folder = self.dir.join("landing");
        let names =
            self.disk.read_dir(&folder).map_err(|source| Error::Io { path: folder.clone(), source })?;
        let mut landing = self.landing.lock();
        for name in names.iter().filter(|name| name.ends_with(".key")) {
            let path = folder.join(name);
            let damaged = || Error::Damaged(path.clone());
            let bytes = self.read(&path)?.ok_or_else(damaged)?;
            let file = LandingFile::read(&bytes).ok_or_else(damaged)?;
            let associated_data = LandingFile::associated_data(self.site_id, file.id, file.created_at);
            let key = unwrap_key(&self.landing_wrapping(file.id), &file.wrapped, &associated_data)
                .map_err(|_| damaged())?;
            landing.enter(file.id, file.created_at, &key);
        }
        Ok(())
    }

    fn current_landing_key(&self, landing: &mut Landing) -> Result<LandingKeyId, Error> {
        let now = self.clock.now();
        match landing.current {
            Some((id, created_at)) if now.since(created_at) < LANDING_KEY_LIFE => Ok(id),
            _ => self.new_landing_key(landing, now),
        }
    }

    fn new_landing_key(&self, landing: &mut Landing, created_at: Timestamp) -> Result<LandingKeyId, Error> {
        let id = LandingKeyId::random(&self.random);
        let key = Zeroizing::new(self.random.array::<KEY_BYTES>());
        let associated_data = LandingFile::associated_data(self.site_id, id, created_at);
        let wrapped = wrap_key(&self.landing_wrapping(id), &key, &associated_data, &self.random);
        let file = LandingFile { id, created_at, wrapped };
        self.write(&self.landing_path(id), &file.to_bytes())?;
        landing.enter(id, created_at, &key);
        landing.current = Some((id, created_at));
        Ok(id)
    }

    fn study_file(&self, id: StudyKeyId) -> Result<Vec<u8>, Error> {
        self.read(&self.study_path(id))?.ok_or(Error::NoStudyKey(id))
    }

    fn open_study_key(&self, id: StudyKeyId, bytes: &[u8]) -> Result<Key, Error> {
        let damaged = || Error::Damaged(self.study_path(id));
        let file = StudyFile::read(bytes).filter(|file| file.id == id && file.site_id == self.site_id);
        let associated_data = StudyFile::associated_data(self.site_id, id);
        let wrapped = file.ok_or_else(damaged)?.wrapped;
        unwrap_key(&self.study_wrapping(id), &wrapped, &associated_data).map_err(|_| damaged())
    }

    fn landing_wrapping(&self, id: LandingKeyId) -> WrappingKey {
        WrappingKey::derive(&self.site_key, "landing key", id.as_bytes())
    }

    fn study_wrapping(&self, id: StudyKeyId) -> WrappingKey {
        WrappingKey::derive(&self.site_key, "study key", id.as_bytes())
    }

    /// What a record's key belongs to.
    fn record_data(&self, record_id: RecordId) -> Vec<u8> {
        [self.site_id.as_bytes().as_slice(), record_id.as_bytes()].concat()
    }

    fn landing_path(&self, id: LandingKeyId) -> PathBuf {
        self.dir.join("landing").join(format!("{id}.key"))
    }

    fn study_path(&self, id: StudyKeyId) -> PathBuf {
        self.dir.join("study").join(format!("{id}.key"))
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, Error> {
        match read_file(&*self.disk, path, FILE_BYTES_MAX) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Io { path: path.to_owned(), source }),
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        write_durably(&*self.disk, path, bytes).map_err(|source| Error::Io { path: path.to_owned(), source })
    }

    fn remove(&self, path: &Path) -> Result<(), Error> {
        let folder = path.parent().unwrap_or(&self.dir);
        match self.disk.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.disk.sync_dir(folder),
        }
        .map_err(|source| Error::Io { path: path.to_owned(), source })
    }
}

impl Landing {
    /// Enters a key; the newest is the current one.
    fn enter(&mut self, id: LandingKeyId, created_at: Timestamp, key: &[u8; KEY_BYTES]) {
        self.keys.insert(id, WrappingKey::derive(key, "record key", id.as_bytes()));
        if self.current.is_none_or(|(_, newest)| newest < created_at) {
            self.current = Some((id, created_at));
        }
    }
}

fn site_path(dir: &Path) -> PathBuf {
    dir.join("site.key")
}
