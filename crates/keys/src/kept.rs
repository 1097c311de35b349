//! Keys that stand in the bucket too: those of studies and of the log. The folder is the local key cache; the same bytes
//! are an object in every bucket.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use filmgate_model::{LogKeyId, StudyKeyId};
use filmgate_spool::write_durably;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::{
    Error, KeyRing,
    key_file::{Key, Kind, Label},
    ring::read_key_file,
};

/// Keys kept open at once; past it they are read again.
const OPEN_KEYS_MAX: usize = 4096;

/// The generation a key is made in; each re-wrapping counts on.
const FIRST_GENERATION: u32 = 1;

/// Keys that were opened.
#[derive(Default)]
pub(crate) struct OpenKeys(Mutex<BTreeMap<(Kind, [u8; 16]), Key>>);

impl OpenKeys {
    fn get(&self, kind: Kind, id: [u8; 16]) -> Option<Key> {
        self.0.lock().get(&(kind, id)).cloned()
    }

    /// Wipes them all.
    pub(crate) fn wipe(&self) {
        self.0.lock().clear();
    }

    /// Wipes one.
    pub(crate) fn drop_one(&self, kind: Kind, id: [u8; 16]) {
        self.0.lock().remove(&(kind, id));
    }

    fn keep(&self, kind: Kind, id: [u8; 16], key: Key) {
        let mut open = self.0.lock();
        if open.len() >= OPEN_KEYS_MAX {
            open.clear();
        }
        open.insert((kind, id), key);
    }
}

impl KeyRing {
    /// Makes a study key. It is durable in the local key cache when this returns.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn new_study_key(&self) -> Result<StudyKeyId, Error> {
        self.make_kept(Kind::Study).map(StudyKeyId)
    }

    /// A study key of the local key cache.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not there (a bucket may have it: [`KeyRing::adopt_study_key`]),
    /// [`Error::Wrong`], [`Error::Damaged`], [`Error::Newer`], [`Error::Io`].
    pub fn study_key(&self, id: StudyKeyId) -> Result<Zeroizing<[u8; 32]>, Error> {
        self.kept(Kind::Study, id.0)
    }

    /// A study key as the bucket keeps it: the object's name `v1/key/<id>/<generation>` and its bytes. It opens; a
    /// damaged file never reaches a bucket.
    ///
    /// # Errors
    /// As [`KeyRing::study_key`].
    pub fn study_key_object(&self, id: StudyKeyId) -> Result<(String, Vec<u8>), Error> {
        self.kept_object(Kind::Study, id.0)
    }

    /// Takes over a study key from a bucket into the local key cache, where it is durable when this returns. A key
    /// that is there, opens and is not of an earlier generation stays as it is.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the bytes are no study key of this site, [`Error::Wrong`] when they are wrapped under
    /// another site key, [`Error::Newer`], [`Error::Io`].
    pub fn adopt_study_key(&self, object: &[u8]) -> Result<StudyKeyId, Error> {
        self.adopt_kept(Kind::Study, object).map(StudyKeyId)
    }

    /// Makes a key for the bucket's log. It is durable in the local key cache when this returns.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn new_log_key(&self) -> Result<LogKeyId, Error> {
        self.make_kept(Kind::Log).map(LogKeyId)
    }

    /// A log key of the local key cache.
    ///
    /// # Errors
    /// As [`KeyRing::study_key`].
    pub fn log_key(&self, id: LogKeyId) -> Result<Zeroizing<[u8; 32]>, Error> {
        self.kept(Kind::Log, id.0)
    }

    /// A log key as the bucket keeps it; see [`KeyRing::study_key_object`].
    ///
    /// # Errors
    /// As [`KeyRing::study_key`].
    pub fn log_key_object(&self, id: LogKeyId) -> Result<(String, Vec<u8>), Error> {
        self.kept_object(Kind::Log, id.0)
    }

    /// Takes over a log key from a bucket; see [`KeyRing::adopt_study_key`].
    ///
    /// # Errors
    /// As [`KeyRing::adopt_study_key`].
    pub fn adopt_log_key(&self, object: &[u8]) -> Result<LogKeyId, Error> {
        self.adopt_kept(Kind::Log, object).map(LogKeyId)
    }

    fn make_kept(&self, kind: Kind) -> Result<[u8; 16], Error> {
        let id = self.random.array();
        let created_at = self.clock.now();
        let label = Label { kind, site_id: self.site_id, id, generation: FIRST_GENERATION, created_at };
        let key = self.store_new(&label, &kept_file(&self.folder, kind, id))?;
        self.open_keys.keep(kind, id, key);
        Ok(id)
    }

    fn kept(&self, kind: Kind, id: [u8; 16]) -> Result<Key, Error> {
        // Past the lease nothing that was opened is used, wiped yet or not.
        self.site()?;
        self.refuse_shredded(kind, id)?;
        if let Some(key) = self.open_keys.get(kind, id) {
            return Ok(key);
        }
        // Held until it is among the open ones, for the same reason.
        let shredded = self.shredded.read();
        shredded.refuse(kind, id)?;
        let (_, _, key) = self.read_kept(kind, id)?;
        self.open_keys.keep(kind, id, key.clone());
        Ok(key)
    }

    fn kept_object(&self, kind: Kind, id: [u8; 16]) -> Result<(String, Vec<u8>), Error> {
        self.refuse_shredded(kind, id)?;
        let (label, bytes, _) = self.read_kept(kind, id)?;
        Ok((label.object_name(), bytes))
    }

    fn adopt_kept(&self, kind: Kind, object: &[u8]) -> Result<[u8; 16], Error> {
        let origin = Path::new("key object");
        let label = Label::read(object, origin)?;
        // Held until it is stored: a key that is destroyed meanwhile does not come back.
        let shredded = self.shredded.read();
        shredded.refuse(kind, label.id)?;
        let key = self.open_kept(kind, label.id, &label, object, origin)?;
        let cached = self.read_kept(kind, label.id);
        if cached.is_err() || cached.is_ok_and(|(cached, _, _)| cached.generation < label.generation) {
            let path = kept_file(&self.folder, kind, label.id);
            write_durably(&*self.disk, &path, object).map_err(Error::io("write key", path))?;
        }
        self.open_keys.keep(kind, label.id, key);
        Ok(label.id)
    }

    fn read_kept(&self, kind: Kind, id: [u8; 16]) -> Result<(Label, Vec<u8>, Key), Error> {
        let path = kept_file(&self.folder, kind, id);
        let bytes = read_key_file(&*self.disk, &path, kind)?;
        let label = Label::read(&bytes, &path)?;
        let key = self.open_kept(kind, id, &label, &bytes, &path)?;
        Ok((label, bytes, key))
    }

    /// What is opened is what was asked for, whatever the bytes call themselves.
    fn open_kept(
        &self,
        kind: Kind,
        id: [u8; 16],
        stored: &Label,
        bytes: &[u8],
        path: &Path,
    ) -> Result<Key, Error> {
        let asked = Label { kind, site_id: self.site_id, id, ..*stored };
        let site = self.site()?;
        asked.open_under(&site, bytes, path)
    }
}

/// The folder of keys of this kind below the folder of keys.
pub(crate) fn kept_folder(folder: &Path, kind: Kind) -> PathBuf {
    folder.join(if kind == Kind::Log { "log" } else { "study" })
}

/// The file of a key in the local key cache.
pub(crate) fn kept_file(folder: &Path, kind: Kind, id: [u8; 16]) -> PathBuf {
    kept_folder(folder, kind).join(format!("{}.key", hex::encode(id)))
}
