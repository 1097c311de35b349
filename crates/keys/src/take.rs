//! Taking over the site's keys of a later generation, which may have given up a site key that files of this data directory
//! still need: a node that was away during a whole rotation. Such a site key stays beside, in `site.key.<generation>`, until
//! every file that names it is wrapped anew; a process that is killed meanwhile goes on at its next start.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use filmgate_model::SiteId;
use filmgate_spool::{Disk, write_durably};

use crate::{
    Error, Kek, KeyRing,
    key_file::{CHECK_BYTES, Label, check_of, wrapped_under},
    landing::LandingKeys,
    ring::{Held, read_key_file, read_site_file, site_file},
    rotate::local_files,
    site::{SiteKey, SiteKeys, SiteObject},
};

/// What the site keys that stay beside are called, before the generation.
const EARLIER: &str = "site.key.";

impl KeyRing {
    /// Takes over the site's keys of a later generation; durable when this returns. An earlier one changes nothing. A site
    /// key that is in them no more and that keys of this data directory still need is kept until those are wrapped anew,
    /// which is tried at once.
    ///
    /// # Errors
    /// [`Error::Wrong`] when `kek` does not open it; [`Error::OtherSite`]; [`Error::Damaged`]; [`Error::Io`].
    pub fn take_site(&self, kek: &Kek, object: &SiteObject) -> Result<(), Error> {
        let name = PathBuf::from(object.name());
        if object.site_id() != self.site_id {
            return Err(Error::OtherSite { path: name });
        }
        if object.generation() <= self.site_object().generation() {
            return Ok(());
        }
        let site = object.open(kek, &name)?;
        // Both held throughout, so that no key is made under a site key that goes meanwhile.
        let mut landing = self.landing.lock();
        let mut held = self.held.write();
        let site = self.keep_needed(&mut held, kek, site)?;
        let path = site_file(&self.folder);
        write_durably(&*self.disk, &path, object.bytes()).map_err(Error::io("write site key", path))?;
        let site = Arc::new(site);
        held.site = Some(Arc::clone(&site));
        held.heard_at = self.clock.now();
        *self.site_object.write() = Arc::new(object.clone());
        drop(held);
        landing.open_again(LandingKeys::list(&*self.disk, &self.folder, self.site_id, &site)?);
        drop(landing);
        if !site.earlier().is_empty() {
            self.rewrap_local()?;
        }
        Ok(())
    }

    /// The keys to take over, with those of before that `site` lacks and some file needs; these are durable then.
    fn keep_needed(&self, held: &mut Held, kek: &Kek, site: SiteKeys) -> Result<SiteKeys, Error> {
        let ours = self.site_object();
        let before = match &held.site {
            Some(before) => Arc::clone(before),
            None => {
                let (before, files) = open_site(&*self.disk, &self.folder, kek, &ours)?;
                held.earlier_files = files;
                Arc::new(before)
            }
        };
        let mut needed = before.lacking_in(&site);
        if needed.is_empty() {
            return Ok(site);
        }
        let named = named_by_files(&*self.disk, &self.folder)?;
        needed.retain(|site_key| named.contains(&check_of(&site_key.key, self.site_id)));
        if needed.is_empty() {
            return Ok(site);
        }
        tracing::warn!(
            generation = ours.generation(),
            "keys of this data directory are wrapped under a site key that is given up; it stays until they are wrapped anew"
        );
        let path = self.folder.join(format!("{EARLIER}{}", ours.generation()));
        let too_many = || Error::Damaged { path: path.clone(), problem: "it cannot hold these site keys" };
        let kept = SiteKeys::of(self.site_id, needed.clone()).ok_or_else(too_many)?;
        let kept = SiteObject::seal(&kept, ours.generation(), kek, self.clock.now(), &self.random)?;
        write_durably(&*self.disk, &path, kept.bytes()).map_err(Error::io("write site key", &path))?;
        held.earlier_files.push(path);
        Ok(site.and_earlier(needed))
    }

    /// Gives up the site keys that stayed beside, unless a file needs one still.
    pub(crate) fn give_up_earlier(&self) -> Result<(), Error> {
        let mut held = self.held.write();
        let Some(site) = held.site.clone().filter(|_| !held.earlier_files.is_empty()) else { return Ok(()) };
        let named = named_by_files(&*self.disk, &self.folder)?;
        if site.earlier().iter().any(|it| named.contains(&check_of(&it.key, self.site_id))) {
            tracing::error!(
                "a site key that was given up stays, for a key that is wrapped under it was left as it is"
            );
            return Ok(());
        }
        for path in &held.earlier_files {
            match self.disk.remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("give up site key", path)(error));
                }
                _ => {}
            }
        }
        self.disk.sync_dir(&self.folder).map_err(Error::io("sync folder of keys", &self.folder))?;
        held.earlier_files.clear();
        held.site = Some(Arc::new(site.without_earlier()));
        Ok(())
    }

    /// The site whose keys stand in a data directory and their generation, without opening them.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`], [`Error::Newer`], [`Error::Io`].
    pub fn site_of(disk: &dyn Disk, folder: &Path) -> Result<(SiteId, u32), Error> {
        let path = site_file(folder);
        let object = SiteObject::read(&read_site_file(disk, &path)?, &path)?;
        Ok((object.site_id(), object.generation()))
    }

    /// Takes over the site's keys of a later generation in a data directory whose own do not open with `kek`: the key of
    /// keys was changed while it was away. Durable when this returns.
    ///
    /// # Errors
    /// [`Error::Wrong`] when `kek` does not open these either, or when a file here needs a site key that is not in them:
    /// then the key of keys of before is needed once more. [`Error::OtherSite`], [`Error::Damaged`], [`Error::Io`].
    pub fn take_unopened(
        disk: &dyn Disk,
        folder: &Path,
        kek: &Kek,
        object: &SiteObject,
    ) -> Result<(), Error> {
        let path = site_file(folder);
        let (site_id, generation) = Self::site_of(disk, folder)?;
        if object.site_id() != site_id {
            return Err(Error::OtherSite { path: PathBuf::from(object.name()) });
        }
        let site = object.open(kek, Path::new(&object.name()))?;
        let named = named_by_files(disk, folder)?;
        let lacks = named.iter().any(|check| site.named(*check).is_none());
        if object.generation() <= generation || lacks {
            return Err(Error::Wrong { path });
        }
        write_durably(disk, &path, object.bytes()).map_err(Error::io("write site key", path))
    }
}

/// The site keys that whole key files of this data directory name.
fn named_by_files(disk: &dyn Disk, folder: &Path) -> Result<BTreeSet<[u8; CHECK_BYTES]>, Error> {
    let mut named = BTreeSet::new();
    for (path, kind) in local_files(disk, folder)? {
        match read_key_file(disk, &path, kind) {
            Ok(bytes) if Label::read(&bytes, &path).is_ok() => named.extend(wrapped_under(&bytes)),
            Err(error @ Error::Io { .. }) => return Err(error),
            _ => {}
        }
    }
    Ok(named)
}

/// The site's keys, opened, with those that stay beside; and the files of these.
pub(crate) fn open_site(
    disk: &dyn Disk,
    folder: &Path,
    kek: &Kek,
    object: &SiteObject,
) -> Result<(SiteKeys, Vec<PathBuf>), Error> {
    let mut site = object.open(kek, &site_file(folder))?;
    let mut files = Vec::new();
    for name in disk.read_dir(folder).map_err(Error::io("list keys", folder))? {
        if name.strip_prefix(EARLIER).is_none_or(|generation| generation.parse::<u32>().is_err()) {
            continue;
        }
        let path = folder.join(name);
        match open_earlier(disk, &path, kek, object.site_id()) {
            Ok(earlier) => {
                site = site.and_earlier(earlier);
                files.push(path);
            }
            Err(error) if error.is_permanent() => {
                tracing::error!(error = %error, "a site key that was kept for its files does not open");
            }
            Err(error) => return Err(error),
        }
    }
    Ok((site, files))
}

fn open_earlier(disk: &dyn Disk, path: &Path, kek: &Kek, site_id: SiteId) -> Result<Vec<SiteKey>, Error> {
    let object = SiteObject::read(&read_site_file(disk, path)?, path)?;
    if object.site_id() != site_id {
        return Err(Error::OtherSite { path: path.to_owned() });
    }
    Ok(object.open(kek, path)?.all().to_vec())
}
