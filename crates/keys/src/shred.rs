//! Keys of studies that are destroyed. From the moment one is named here it opens nothing, is taken over from no bucket,
//! wrapped anew by no rotation and given to no bucket, whatever a copy brings back of it.

use std::{collections::HashSet, io};

use filmgate_model::StudyKeyId;
use parking_lot::{RwLock, RwLockReadGuard};

use crate::{
    Error, KeyRing,
    kept::{kept_file, kept_folder},
    key_file::Kind,
};

/// The keys that are destroyed.
#[derive(Default)]
pub(crate) struct Shredded(RwLock<ShreddedIds>);

/// Their identifiers, while nobody adds one.
#[derive(Default)]
pub(crate) struct ShreddedIds(HashSet<[u8; 16]>);

impl Shredded {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, ShreddedIds> {
        // Taken again by whoever holds it, so nobody who waits to write may stand between.
        self.0.read_recursive()
    }
}

impl ShreddedIds {
    /// # Errors
    /// [`Error::Shredded`] for the key of a study that is destroyed.
    pub(crate) fn refuse(&self, kind: Kind, id: [u8; 16]) -> Result<(), Error> {
        if kind == Kind::Study && self.0.contains(&id) {
            Err(Error::Shredded(StudyKeyId(id)))
        } else {
            Ok(())
        }
    }
}

impl KeyRing {
    /// These keys are destroyed: none of them is used, kept or taken over from now on. What is on the disk of them stays
    /// for [`KeyRing::shred_study_key`].
    pub fn note_shredded(&self, keys: &[StudyKeyId]) {
        self.shredded.0.write().0.extend(keys.iter().map(|id| id.0));
        for id in keys {
            self.open_keys.drop_one(Kind::Study, id.0);
        }
    }

    /// True when this key is destroyed.
    #[must_use]
    pub fn is_shredded(&self, id: StudyKeyId) -> bool {
        self.refuse_shredded(Kind::Study, id.0).is_err()
    }

    /// Destroys this node's copy of a study's key, in memory and in the local key cache. False when a second directory
    /// may still hold it, because it was dropped: it is caught up at the next start, and this is to be called again.
    ///
    /// The file is unlinked and the folder synced; it is not overwritten, for the reason [`KeyRing::retire_landing`]
    /// gives. What stays on the medium is wrapped under the site key.
    ///
    /// # Errors
    /// [`Error::Io`]; the key is of no use any more all the same.
    pub fn shred_study_key(&self, id: StudyKeyId) -> Result<bool, Error> {
        self.note_shredded(&[id]);
        let path = kept_file(&self.folder, Kind::Study, id.0);
        match self.disk.remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("destroy study key", path)(error));
            }
            _ => {}
        }
        let inside = kept_folder(&self.folder, Kind::Study);
        self.disk.sync_dir(&inside).map_err(Error::io("sync folder", inside))?;
        Ok(self.disk.is_whole())
    }

    /// The same for keys that were destroyed before, where a copy brought them back.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn shred_again(&self, keys: &[StudyKeyId]) -> Result<(), Error> {
        self.note_shredded(keys);
        for id in keys {
            let path = kept_file(&self.folder, Kind::Study, id.0);
            if self.disk.exists(&path).map_err(Error::io("look for key", &path))? {
                self.shred_study_key(*id)?;
            }
        }
        Ok(())
    }

    /// # Errors
    /// [`Error::Shredded`] for the key of a study that is destroyed.
    pub(crate) fn refuse_shredded(&self, kind: Kind, id: [u8; 16]) -> Result<(), Error> {
        self.shredded.read().refuse(kind, id)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, sync::Arc};

    use filmgate_model::{Clock, Random, RecordId, Timestamp};
    use filmgate_seal::RecordKey;
    use filmgate_spool::RealDisk;

    use super::*;
    use crate::Kek;

    const DAY_MS: i64 = 24 * 60 * 60 * 1000;

    fn ring(folder: &Path, kek: &Kek, clock: &Clock) -> KeyRing {
        let (disk, random) = (Arc::new(RealDisk), Random::seeded(7));
        match KeyRing::exists(&*disk, folder).expect("look") {
            true => KeyRing::open(disk, folder, kek, clock, &random),
            false => KeyRing::create(disk, folder, kek, clock, &random),
        }
        .expect("the keys")
    }

    #[test]
    fn a_key_that_was_destroyed_comes_back_from_nowhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let (kek, clock) = (Kek::random(&Random::seeded(1)), Clock::manual(Timestamp(1_700_000_000_000)));
        let keys = folder.path().join("keys");
        let ring_of = ring(&keys, &kek, &clock);
        let (gone, stays) =
            (ring_of.new_study_key().expect("a key"), ring_of.new_study_key().expect("a key"));
        let (_, object) = ring_of.study_key_object(gone).expect("its object");
        let file = keys.join(format!("study/{gone}.key"));
        let copy = fs::read(&file).expect("its file");
        let next = ring_of.site_with_new_key(&kek).expect("another site key");

        assert!(ring_of.shred_study_key(gone).expect("destroy"));
        assert!(ring_of.shred_study_key(gone).expect("again"), "twice is as once");
        assert!(!file.exists());
        let refused =
            |error: Error| matches!(error, Error::Shredded(id) if id == gone && error.is_permanent());
        fs::write(&file, &copy).expect("a copy comes back");
        assert!(refused(ring_of.study_key(gone).expect_err("gone")));
        assert!(refused(ring_of.study_key_object(gone).expect_err("gone")));
        assert!(refused(ring_of.adopt_study_key(&object).expect_err("gone")));
        assert!(refused(ring_of.replace_cached(&object).expect_err("gone")));
        ring_of.take_site(&kek, &next).expect("rotate");
        assert!(refused(ring_of.rewrap(&object).expect_err("gone")));
        assert_eq!(ring_of.cached_object(&gone.to_string()).expect("look"), None);
        assert!(ring_of.cached_keys().expect("list").iter().all(|(id, _)| *id != gone.to_string()));
        ring_of.study_key(stays).expect("the other stays");

        let reopened = ring(&keys, &kek, &clock);
        reopened.shred_again(&[gone]).expect("take it away");
        assert!(!file.exists());
        reopened.study_key(stays).expect("the other stays");
    }

    #[test]
    fn what_the_journal_held_before_opens_until_its_landing_keys_have_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let (kek, clock) = (Kek::random(&Random::seeded(1)), Clock::manual(Timestamp(1_700_000_000_000)));
        let ring = ring(&folder.path().join("keys"), &kek, &clock);
        let record_id = RecordId([1; 16]);
        assert!(!ring.has_landing_before(clock.now()), "nothing was received");
        ring.wrap_landing(record_id, &RecordKey::random(&Random::seeded(2))).expect("wrap");
        let at = clock.now();
        for day in 0..2 {
            assert!(ring.has_landing_before(at), "day {day}");
            clock.shift_ms(DAY_MS);
            ring.turn_landing().expect("turn");
            ring.retire_landing(&[]).expect("retire");
        }
        assert!(!ring.has_landing_before(at), "without one more record");
    }
}
