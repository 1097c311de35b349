//! Landing keys: what wraps the keys of records in the journal. One a day, destroyed when nothing needs it any more,
//! so that what a disk still holds of overwritten segments is beyond reach.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use filmgate_model::{LandingKeyId, RecordId, SiteId, Timestamp};
use filmgate_seal::{RecordKey, WRAPPED_KEY_BYTES, WrappingKey, unwrap_key, wrap_key};
use filmgate_spool::Disk;

use crate::{
    Error, KeyRing,
    key_file::{Key, Kind, Label},
    ring::{landing_folder, read_key_file},
    site::SiteKeys,
};

/// How long a landing key is used for new records.
const ROTATION_MS: u64 = 24 * 60 * 60 * 1000;

const BLOB_VERSION: u8 = 0;
/// Version and landing key id, before the wrapped key.
const BLOB_HEAD_BYTES: usize = 1 + 16;

/// The landing keys of a node.
#[derive(Default)]
pub(crate) struct LandingKeys {
    keys: BTreeMap<LandingKeyId, Landing>,
    current: Option<LandingKeyId>,
    /// The one before the current: a record may be wrapped under it and on its way into the journal still, where
    /// nobody who asks what is in use would see it. It goes one rotation later.
    previous: Option<LandingKeyId>,
}

#[derive(Clone)]
struct Landing {
    created_at: Timestamp,
    key: Key,
}

impl LandingKeys {
    /// Reads every landing key of the folder. One that does not open is left where it is and said; what it wraps is
    /// reported when it is asked for.
    pub(crate) fn list(
        disk: &dyn Disk,
        folder: &Path,
        site_id: SiteId,
        site: &SiteKeys,
    ) -> Result<Self, Error> {
        let inside = landing_folder(folder);
        let names = disk.read_dir(&inside).map_err(Error::io("list landing keys", &inside))?;
        let mut listed = Self::default();
        for id in names.iter().filter_map(|name| name.strip_suffix(".key")?.parse().ok()) {
            match read_landing(disk, folder, site_id, site, id) {
                Ok(landing) => _ = listed.keys.insert(id, landing),
                Err(error @ Error::Io { .. }) => return Err(error),
                Err(error) => {
                    tracing::error!(landing_key_id = %id, error = %error, "a landing key does not open")
                }
            }
        }
        listed.current =
            listed.keys.iter().max_by_key(|(id, landing)| (landing.created_at, **id)).map(|(id, _)| *id);
        Ok(listed)
    }
}

impl LandingKeys {
    /// Wipes them; which one is the current one stays known.
    pub(crate) fn wipe(&mut self) {
        self.keys.clear();
    }

    /// Takes them up again.
    pub(crate) fn open_again(&mut self, listed: Self) {
        self.keys = listed.keys;
        self.current = listed.current;
    }
}

impl KeyRing {
    /// Wraps a record's key for its commit frame in the journal: version, landing key id, wrapped key; 78 bytes.
    /// A new landing key is durable before this returns.
    ///
    /// # Errors
    /// [`Error::Io`] when a new landing key cannot be written: then the record must not be acknowledged.
    pub fn wrap_landing(&self, record_id: RecordId, key: &RecordKey) -> Result<Vec<u8>, Error> {
        let (id, landing) = self.current_landing()?;
        let mut blob = Vec::with_capacity(BLOB_HEAD_BYTES + WRAPPED_KEY_BYTES);
        blob.push(BLOB_VERSION);
        blob.extend_from_slice(id.as_bytes());
        let (wrapping, associated_data) = self.record_wrapping(&landing.key, record_id, &blob);
        blob.extend_from_slice(&wrap_key(&wrapping, key.as_bytes(), &associated_data, &self.random));
        Ok(blob)
    }

    /// The record's key in what [`KeyRing::wrap_landing`] gave.
    ///
    /// # Errors
    /// [`Error::RecordKey`] when the blob is damaged or another record's; [`Error::Missing`] and [`Error::Damaged`]
    /// when its landing key is; [`Error::Io`].
    pub fn unwrap_landing(&self, record_id: RecordId, blob: &[u8]) -> Result<RecordKey, Error> {
        let id = self.landing_key_id_of(blob).ok_or(Error::RecordKey(record_id))?;
        let landing = self.landing_key(id)?;
        let (head, wrapped) = blob.split_at_checked(BLOB_HEAD_BYTES).ok_or(Error::RecordKey(record_id))?;
        let (wrapping, associated_data) = self.record_wrapping(&landing.key, record_id, head);
        let key =
            unwrap_key(&wrapping, wrapped, &associated_data).map_err(|_| Error::RecordKey(record_id))?;
        Ok(RecordKey::from_bytes(*key))
    }

    /// The landing key a blob names; `None` when it is no such blob.
    #[must_use]
    pub fn landing_key_id_of(&self, blob: &[u8]) -> Option<LandingKeyId> {
        let (&version, rest) = blob.split_first()?;
        let (id, wrapped) = rest.split_first_chunk()?;
        (version == BLOB_VERSION && wrapped.len() == WRAPPED_KEY_BYTES).then_some(LandingKeyId(*id))
    }

    /// True when there are landing keys beside the current one and the one before it: only then is there anything for
    /// [`KeyRing::retire_landing`] to do.
    #[must_use]
    pub fn has_older_landing(&self) -> bool {
        let landing = self.landing.lock();
        let newest = usize::from(landing.current.is_some()) + usize::from(landing.previous.is_some());
        landing.keys.len() > newest
    }

    /// Destroys landing keys that nothing in the journal needs: all but those `in_use`, the current one and the one
    /// before it. Returns how many went.
    ///
    /// The file is unlinked and the folder synced. It is not overwritten first: neither flash nor a copying file
    /// system would put the new bytes where the old ones are. What stays on the medium is wrapped under the site key.
    ///
    /// # Errors
    /// [`Error::Io`]; what was not destroyed is the next time.
    pub fn retire_landing(&self, in_use: &[LandingKeyId]) -> Result<usize, Error> {
        let mut landing = self.landing.lock();
        let kept = |id: &LandingKeyId| {
            in_use.contains(id) || landing.current == Some(*id) || landing.previous == Some(*id)
        };
        let idle: Vec<_> = landing.keys.keys().filter(|id| !kept(id)).copied().collect();
        if idle.is_empty() {
            return Ok(0);
        }
        for id in &idle {
            let path = landing_file(&self.folder, *id);
            match self.disk.remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("destroy landing key", path)(error));
                }
                _ => {}
            }
            landing.keys.remove(id);
        }
        let inside = landing_folder(&self.folder);
        self.disk.sync_dir(&inside).map_err(Error::io("sync folder", inside))?;
        Ok(idle.len())
    }

    /// True when a landing key is there that was made before then: what the journal holds of before may open with it.
    #[must_use]
    pub fn has_landing_before(&self, at: Timestamp) -> bool {
        self.landing.lock().keys.values().any(|landing| landing.created_at <= at)
    }

    /// Makes the next landing key when the current one has had its day, as the next record that is received would.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Locked`].
    pub fn turn_landing(&self) -> Result<(), Error> {
        if self.landing.lock().current.is_none() {
            return Ok(());
        }
        self.current_landing().map(drop)
    }

    /// The key new records are wrapped under; made when there is none or the last one has had its day. Distance of
    /// time counts both ways, so that a clock set back does not keep a key in use for ever.
    fn current_landing(&self) -> Result<(LandingKeyId, Landing), Error> {
        self.site()?;
        let now = self.clock.now();
        let mut landing = self.landing.lock();
        let current = landing.current.and_then(|id| Some((id, landing.keys.get(&id)?.clone())));
        if let Some((id, key)) = current
            && now.0.abs_diff(key.created_at.0) < ROTATION_MS
        {
            return Ok((id, key));
        }
        let id = LandingKeyId::random(&self.random);
        let key = self.store_new(&label(self.site_id, id, now), &landing_file(&self.folder, id))?;
        let made = Landing { created_at: now, key };
        landing.keys.insert(id, made.clone());
        landing.previous = landing.current.replace(id);
        Ok((id, made))
    }

    fn landing_key(&self, id: LandingKeyId) -> Result<Landing, Error> {
        self.site()?;
        if let Some(landing) = self.landing.lock().keys.get(&id) {
            return Ok(landing.clone());
        }
        // Not there when the folder was listed: brought back since, or missing or damaged, which the error tells.
        let site = self.site()?;
        let landing = read_landing(&*self.disk, &self.folder, self.site_id, &site, id)?;
        self.landing.lock().keys.insert(id, landing.clone());
        Ok(landing)
    }

    /// Each record has a wrapping key of its own, so that the number of records under a landing key has no limit.
    fn record_wrapping(&self, landing: &Key, record_id: RecordId, head: &[u8]) -> (WrappingKey, Vec<u8>) {
        let wrapping = WrappingKey::derive(landing, "wrap record key in journal", record_id.as_bytes());
        (wrapping, [head, self.site_id.as_bytes(), record_id.as_bytes()].concat())
    }
}

fn read_landing(
    disk: &dyn Disk,
    folder: &Path,
    site_id: SiteId,
    site: &SiteKeys,
    id: LandingKeyId,
) -> Result<Landing, Error> {
    let path = landing_file(folder, id);
    let bytes = read_key_file(disk, &path, Kind::Landing)?;
    let Label { created_at, generation, .. } = Label::read(&bytes, &path)?;
    let key = Label { generation, ..label(site_id, id, created_at) }.open_under(site, &bytes, &path)?;
    Ok(Landing { created_at, key })
}

fn label(site_id: SiteId, id: LandingKeyId, created_at: Timestamp) -> Label {
    Label { kind: Kind::Landing, site_id, id: id.0, generation: 1, created_at }
}

fn landing_file(folder: &Path, id: LandingKeyId) -> PathBuf {
    landing_folder(folder).join(format!("{id}.key"))
}
