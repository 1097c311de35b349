//! Re-wrapping: another key of keys over the site's keys, another site key over all others. Each step makes new bytes; what
//! was there before goes only when those are known to be everywhere.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use filmgate_model::Timestamp;
use filmgate_spool::{Disk, write_durably};
use zeroize::Zeroizing;

use crate::{
    Error, Kek, KeyRing,
    kept::{kept_file, kept_folder},
    key_file::{Kind, Label, wrapped_under},
    ring::{catalog_file, landing_folder, read_key_file},
    signing::signing_folder,
    site::{SiteKeys, SiteObject},
};

/// A key object that was made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrapped {
    /// Its name in the bucket: the next generation.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl KeyRing {
    /// The same site keys under another key of keys, as the next generation. Nothing is kept yet: see
    /// [`KeyRing::take_site`].
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::KekAway`], [`Error::KekRefused`].
    pub fn site_under(&self, kek: &Kek) -> Result<SiteObject, Error> {
        self.next_site(&*self.site()?, kek)
    }

    /// The site's keys and a new one, which wraps from then on, as the next generation. Nothing is kept yet.
    ///
    /// # Errors
    /// As [`KeyRing::site_under`].
    pub fn site_with_new_key(&self, kek: &Kek) -> Result<SiteObject, Error> {
        let site = self.site()?;
        self.next_site(&site.with_new(Zeroizing::new(self.random.array()), self.clock.now()), kek)
    }

    /// The site's newest key alone, as the next generation: what is wrapped under the others does not open any more once
    /// this is taken. Nothing is kept yet.
    ///
    /// # Errors
    /// As [`KeyRing::site_under`].
    pub fn site_without_old_keys(&self, kek: &Kek) -> Result<SiteObject, Error> {
        self.next_site(&self.site()?.newest_alone(), kek)
    }

    /// Numbers of the site's keys and when each was made; the last one wraps what is new.
    ///
    /// # Errors
    /// [`Error::Locked`].
    pub fn site_key_numbers(&self) -> Result<Vec<(u32, Timestamp)>, Error> {
        Ok(self.site()?.all().iter().map(|site_key| (site_key.number, site_key.created_at)).collect())
    }

    /// Which site key a key object is wrapped under; `None` when it is none of the site's.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Damaged`], [`Error::Newer`].
    pub fn site_key_of(&self, object: &[u8]) -> Result<Option<u32>, Error> {
        Label::read(object, Path::new("key object"))?;
        let site = self.site()?;
        Ok(wrapped_under(object).and_then(|check| site.named(check)).map(|site_key| site_key.number))
    }

    /// The next generation of a study's or the log's key object, wrapped under the newest site key; `None` when it is
    /// already. The key inside is the same, so that nothing sealed under it changes.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it is no such key of this site, [`Error::Wrong`], [`Error::Newer`], [`Error::Locked`].
    pub fn rewrap(&self, object: &[u8]) -> Result<Option<Rewrapped>, Error> {
        let origin = Path::new("key object");
        let label = Label::read(object, origin)?;
        if !label.kind.is_in_bucket() {
            return Err(Error::Damaged { path: origin.to_owned(), problem: "it is no key of a bucket" });
        }
        self.refuse_shredded(label.kind, label.id)?;
        let rewrapped = self.rewrap_stored(object, origin)?;
        let next = Label { generation: label.generation + 1, ..label };
        Ok(rewrapped.map(|bytes| Rewrapped { name: next.object_name(), bytes }))
    }

    /// Puts a later generation of a key in place of the one in the local key cache; a key that is not there stays away.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Damaged`], [`Error::Newer`], [`Error::Shredded`].
    pub fn replace_cached(&self, object: &[u8]) -> Result<(), Error> {
        let label = Label::read(object, Path::new("key object"))?;
        let shredded = self.shredded.read();
        shredded.refuse(label.kind, label.id)?;
        let path = kept_file(&self.folder, label.kind, label.id);
        if !self.disk.exists(&path).map_err(Error::io("look for key", &path))? {
            return Ok(());
        }
        if let Ok(bytes) = read_key_file(&*self.disk, &path, label.kind)
            && let Ok(cached) = Label::read(&bytes, &path)
            && cached.generation >= label.generation
        {
            return Ok(());
        }
        write_durably(&*self.disk, &path, object).map_err(Error::io("write key", path))
    }

    /// Identifier and generation of every study's and log key of the local key cache that can be read: what a bucket may
    /// not have yet.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn cached_keys(&self) -> Result<Vec<(String, u32)>, Error> {
        let mut keys = Vec::new();
        for kind in [Kind::Study, Kind::Log] {
            for path in files_in(&*self.disk, &kept_folder(&self.folder, kind))? {
                let label =
                    read_key_file(&*self.disk, &path, kind).and_then(|bytes| Label::read(&bytes, &path));
                match label {
                    Ok(label) if self.refuse_shredded(label.kind, label.id).is_err() => {}
                    Ok(label) => keys.push((hex::encode(label.id), label.generation)),
                    Err(error @ Error::Io { .. }) => return Err(error),
                    Err(error) => tracing::error!(error = %error, "a key of the local cache is left out"),
                }
            }
        }
        Ok(keys)
    }

    /// The bytes of a study's or log key of the local key cache; `None` when it is not there or cannot be read.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn cached_object(&self, id: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(id) = hex::decode(id).ok().and_then(|id| <[u8; 16]>::try_from(id).ok()) else {
            return Ok(None);
        };
        for kind in [Kind::Study, Kind::Log] {
            if self.refuse_shredded(kind, id).is_err() {
                continue;
            }
            let path = kept_file(&self.folder, kind, id);
            match read_key_file(&*self.disk, &path, kind) {
                Ok(bytes) if Label::read(&bytes, &path).is_ok() => return Ok(Some(bytes)),
                Err(error @ Error::Io { .. }) => return Err(error),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Wraps the keys of this data directory alone (journal, signatures, catalog) under the newest site key, and the cached
    /// ones of studies and logs that are under a site key that was given up; how many were not yet. A site key nothing
    /// needs any more then goes.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Locked`]. One that does not open is said and left.
    pub fn rewrap_local(&self) -> Result<usize, Error> {
        // Held, so that no key of the journal is destroyed or made meanwhile.
        let _landing = self.landing.lock();
        let site = self.site()?;
        let mut rewrapped = 0;
        for (path, kind) in local_files(&*self.disk, &self.folder)? {
            if kind.is_in_bucket() && site.earlier().is_empty() {
                continue;
            }
            let shredded = self.shredded.read();
            let kept = |bytes: &[u8]| Label::read(bytes, &path).map(|label| shredded.refuse(kind, label.id));
            match read_key_file(&*self.disk, &path, kind)
                .and_then(|bytes| kept(&bytes)?.map(|()| bytes))
                .and_then(|bytes| self.rewrap_stored(&bytes, &path))
            {
                Ok(Some(bytes)) => {
                    write_durably(&*self.disk, &path, &bytes).map_err(Error::io("write key", path))?;
                    rewrapped += 1;
                }
                Ok(None) | Err(Error::Missing { .. } | Error::Shredded(_)) => {}
                Err(error @ (Error::Io { .. } | Error::Locked { .. })) => return Err(error),
                Err(error) => tracing::error!(error = %error, "a key is left as it is"),
            }
        }
        self.give_up_earlier()?;
        Ok(rewrapped)
    }

    /// True when two key objects are wrappings of one key, whichever of the site's keys they are under; false when
    /// `other` is damaged, or another key's.
    ///
    /// # Errors
    /// [`Error::Wrong`] when a site key that is not here opens one of them; [`Error::Newer`], [`Error::Locked`];
    /// [`Error::Damaged`] when it is `object` that is.
    pub fn is_same_key(&self, object: &[u8], other: &[u8]) -> Result<bool, Error> {
        let origin = Path::new("key object");
        let site = self.site()?;
        let open = |bytes: &[u8]| {
            let label = Label { site_id: self.site_id, ..Label::read(bytes, origin)? };
            Ok((label.kind, label.id, label.open_under(&site, bytes, origin)?))
        };
        let ours = open(object)?;
        match open(other) {
            Ok(theirs) => Ok(ours == theirs),
            Err(Error::Damaged { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// True when a site key was made longer than this ago: what was re-wrapped since had time to get about.
    ///
    /// # Errors
    /// [`Error::Locked`].
    pub fn is_settled(&self, grace: Duration) -> Result<bool, Error> {
        let site = self.site()?;
        Ok(self.clock.now().since(site.current().created_at) >= grace)
    }

    fn next_site(&self, site: &SiteKeys, kek: &Kek) -> Result<SiteObject, Error> {
        let generation = self.site_object().generation() + 1;
        SiteObject::seal(site, generation, kek, self.clock.now(), &self.random)
    }

    fn rewrap_stored(&self, bytes: &[u8], path: &Path) -> Result<Option<Vec<u8>>, Error> {
        let label = Label { site_id: self.site_id, ..Label::read(bytes, path)? };
        let site = self.site()?;
        let key = label.open_under(&site, bytes, path)?;
        if wrapped_under(bytes)
            .and_then(|check| site.named(check))
            .is_some_and(|by| by.number == site.current().number)
        {
            return Ok(None);
        }
        let next = Label { generation: label.generation + 1, ..label };
        Ok(Some(next.seal(&site.current().key, &key, &self.random)))
    }
}

/// Every file of a key that is wrapped under a site key.
pub(crate) fn local_files(disk: &dyn Disk, folder: &Path) -> Result<Vec<(PathBuf, Kind)>, Error> {
    let mut files = vec![(catalog_file(folder), Kind::Catalog)];
    for (inside, kind) in [
        (landing_folder(folder), Kind::Landing),
        (signing_folder(folder), Kind::Signing),
        (kept_folder(folder, Kind::Study), Kind::Study),
        (kept_folder(folder, Kind::Log), Kind::Log),
    ] {
        files.extend(files_in(disk, &inside)?.into_iter().map(|path| (path, kind)));
    }
    Ok(files)
}

fn files_in(disk: &dyn Disk, folder: &Path) -> Result<BTreeSet<PathBuf>, Error> {
    let names = disk.read_dir(folder).map_err(Error::io("list keys", folder))?;
    Ok(names.iter().filter(|name| name.ends_with(".key")).map(|name| folder.join(name)).collect())
}
