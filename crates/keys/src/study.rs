//! Study keys: one for a study as this node received it, one for each quarantine pack. The folder is the local key
//! cache; the same bytes are an object in every bucket.

use std::path::{Path, PathBuf};

use filmgate_model::StudyKeyId;
use filmgate_spool::write_durably;
use zeroize::Zeroizing;

use crate::{
    Error, KeyRing,
    key_file::{Key, Kind, Label},
    ring::{read_key_file, study_folder},
};

/// Keys kept open at once; past it they are read again.
const OPEN_KEYS_MAX: usize = 4096;

/// Re-wrapping will count on; there is no rotation yet.
const GENERATION: u32 = 1;

impl KeyRing {
    /// Makes a study key. It is durable in the local key cache when this returns.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn new_study_key(&self) -> Result<StudyKeyId, Error> {
        let id = StudyKeyId::random(&self.random);
        let created_at = self.clock.now();
        let label =
            Label { kind: Kind::Study, site_id: self.site_id, id: id.0, generation: GENERATION, created_at };
        let key = self.store_new(&label, &study_file(&self.folder, id))?;
        self.keep_open(id, key);
        Ok(id)
    }

    /// A study key of the local key cache.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not there (a bucket may have it: [`KeyRing::adopt_study_key`]),
    /// [`Error::Wrong`], [`Error::Damaged`], [`Error::Newer`], [`Error::Io`].
    pub fn study_key(&self, id: StudyKeyId) -> Result<Zeroizing<[u8; 32]>, Error> {
        if let Some(key) = self.studies.lock().get(&id) {
            return Ok(key.clone());
        }
        let (_, _, key) = self.read_study(id)?;
        self.keep_open(id, key.clone());
        Ok(key)
    }

    /// A study key as the bucket keeps it: the object's name `v1/key/<id>/<generation>` and its bytes. It opens; a
    /// damaged file never reaches a bucket.
    ///
    /// # Errors
    /// As [`KeyRing::study_key`].
    pub fn study_key_object(&self, id: StudyKeyId) -> Result<(String, Vec<u8>), Error> {
        let (label, bytes, _) = self.read_study(id)?;
        Ok((label.object_name(), bytes))
    }

    /// Takes over a study key from a bucket into the local key cache, where it is durable when this returns. A key
    /// that is there and opens stays as it is.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the bytes are no study key of this site, [`Error::Wrong`] when they are wrapped under
    /// another site key, [`Error::Newer`], [`Error::Io`].
    pub fn adopt_study_key(&self, object: &[u8]) -> Result<StudyKeyId, Error> {
        let origin = Path::new("study key object");
        let label = Label::read(object, origin)?;
        let id = StudyKeyId(label.id);
        let key = self.open_study(id, &label, object, origin)?;
        if self.read_study(id).is_err() {
            let path = study_file(&self.folder, id);
            write_durably(&*self.disk, &path, object).map_err(Error::io("write key", path))?;
        }
        self.keep_open(id, key);
        Ok(id)
    }

    fn read_study(&self, id: StudyKeyId) -> Result<(Label, Vec<u8>, Key), Error> {
        let path = study_file(&self.folder, id);
        let bytes = read_key_file(&*self.disk, &path, Kind::Study)?;
        let label = Label::read(&bytes, &path)?;
        let key = self.open_study(id, &label, &bytes, &path)?;
        Ok((label, bytes, key))
    }

    /// What is opened is what was asked for, whatever the bytes call themselves.
    fn open_study(&self, id: StudyKeyId, stored: &Label, bytes: &[u8], path: &Path) -> Result<Key, Error> {
        let asked = Label { kind: Kind::Study, site_id: self.site_id, id: id.0, ..*stored };
        asked.open(&self.site_key, bytes, path)
    }

    fn keep_open(&self, id: StudyKeyId, key: Key) {
        let mut studies = self.studies.lock();
        if studies.len() >= OPEN_KEYS_MAX {
            studies.clear();
        }
        studies.insert(id, key);
    }
}

fn study_file(folder: &Path, id: StudyKeyId) -> PathBuf {
    study_folder(folder).join(format!("{id}.key"))
}
