//! Which site an empty data directory becomes a node of: the buckets say, for a site is theirs. Nothing is made before all
//! that could speak against it was asked.

use std::{collections::BTreeMap, path::Path};

use filmgate_bucket::{Bucket, Error as BucketError};
use filmgate_keys::{Kek, KeyRing, SiteObject};
use filmgate_model::SiteId;
use filmgate_pipeline::Placement;
use filmgate_spool::{Disk, RealDisk};

use crate::{
    build,
    config::{Settings, Site},
    kek,
};

/// Below it stand all keys of a bucket.
const KEYS: &str = "v1/key/";

/// What an empty data directory becomes.
#[derive(Debug)]
pub(crate) enum Destiny {
    /// The first node of a new site.
    New,
    /// Another node of this site.
    Join(Box<SiteObject>),
}

/// Why an empty data directory must not become anything.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "cannot tell whether bucket {placement} belongs to a site: it cannot be asked. Nothing was made. Start again when \
         the bucket is there, or correct bucket.{placement}"
    )]
    Unknown { placement: String, source: BucketError },
    #[error(
        "bucket {placement} belongs to site {site_id}, and its keys need another key of keys ({kek}). Nothing was made. \
         Bring the key that belongs to it here (node.key_file; after `filmgate key rotate --kek`, the one made then), or \
         have it from the recovery sheet (`filmgate key restore`); or name another bucket, or set keys.site = \"new\" for \
         a second site in this bucket"
    )]
    Locked { placement: String, site_id: SiteId, kek: String },
    #[error(
        "the buckets hold the keys of {}: say which one this node is of with keys.site", list(.0)
    )]
    Several(Vec<SiteId>),
    #[error(
        "no bucket holds the keys of site {0}, which keys.site asks for: correct it, or name the bucket that does"
    )]
    NotThere(SiteId),
    #[error(
        "bucket {placement} holds keys of studies, but no keys of a site that could open them. Start on the data \
         directory they were made with, which puts them there, or name another bucket, or set keys.site = \"new\" for \
         another site in this bucket"
    )]
    Orphaned { placement: String },
    #[error(
        "no bucket holds the keys of a site, so there is nothing to bring back from them. Nothing was made. Correct the \
         settings of [bucket.NAME], or start a new site with `filmgate serve`"
    )]
    Nothing,
    #[error("the keys of a site in bucket {placement} cannot be read: bring back a copy of {object}")]
    Damaged { placement: String, object: String, source: filmgate_keys::Error },
}

fn list(sites: &[SiteId]) -> String {
    sites.iter().map(|site| format!("site {site}")).collect::<Vec<_>>().join(" and ")
}

/// Asks every bucket whose it is.
///
/// # Errors
/// See [`Error`]; nothing was made then.
pub(crate) async fn destiny(
    placements: &[Placement],
    kek: Option<&Kek>,
    asked: Site,
) -> Result<Destiny, Error> {
    if asked == Site::New {
        return Ok(Destiny::New);
    }
    let mut sites: BTreeMap<SiteId, (String, SiteObject)> = BTreeMap::new();
    let mut unsettled = None;
    for placement in placements {
        match sites_of(placement).await {
            Ok(found) => found.into_iter().for_each(|object| newest(&mut sites, &placement.name, object)),
            Err(error) => drop(unsettled.get_or_insert(error)),
        }
    }
    let found = match asked {
        Site::Named(id) => sites.remove(&id),
        _ if sites.len() > 1 => return Err(Error::Several(sites.into_keys().collect())),
        _ => sites.into_values().next(),
    };
    match (found, unsettled, asked) {
        (Some((placement, object)), _, _) => join(placement, object, kek),
        (None, Some(error), _) => Err(error),
        (None, None, Site::Named(id)) => Err(Error::NotThere(id)),
        (None, None, _) => Ok(Destiny::New),
    }
}

/// For what brings a site back on an empty machine: refuses where there is none.
///
/// # Errors
/// [`Error::Nothing`], or as [`destiny`]; or when a setting of a bucket cannot be used.
pub(crate) async fn refuse_new(settings: &Settings) -> anyhow::Result<()> {
    if KeyRing::exists(&RealDisk, &settings.node.data_dir.join("keys"))? {
        return Ok(());
    }
    let placements = build::open_placements(settings)?;
    match destiny(&placements, kek::open(settings)?.as_ref(), settings.keys.site).await? {
        Destiny::Join(_) => Ok(()),
        Destiny::New => Err(Error::Nothing.into()),
    }
}

/// The highest generation of a site's keys that any bucket holds, whole or not; 0 when none does.
///
/// # Errors
/// [`Error::Unknown`] when one cannot be asked.
pub(crate) async fn newest_generation(placements: &[Placement], site_id: SiteId) -> Result<u32, Error> {
    let prefix = format!("{KEYS}{site_id}/");
    let mut newest = 0;
    for placement in placements {
        let found = placement.keys.list(&prefix).await;
        let found = found.map_err(|source| Error::Unknown { placement: placement.name.clone(), source })?;
        let generations = found.iter().filter_map(|object| object.name.strip_prefix(&prefix)?.parse().ok());
        newest = newest.max(generations.max().unwrap_or(0));
    }
    Ok(newest)
}

/// Takes the site's keys from a bucket for a data directory whose own do not open with `kek`; false when no bucket has
/// later ones that do.
///
/// # Errors
/// When those open and something here needs the ones before; or when the disk fails.
pub(crate) async fn take_newest(
    placements: &[Placement],
    disk: &dyn Disk,
    folder: &Path,
    kek: &Kek,
) -> Result<bool, filmgate_keys::Error> {
    let (site_id, generation) = KeyRing::site_of(disk, folder)?;
    for placement in placements {
        // What cannot be asked now has nothing to give; another may.
        let found = sites_of(placement).await.unwrap_or_default();
        let newer =
            found.iter().filter(|object| object.site_id() == site_id && object.generation() > generation);
        if let Some(newer) =
            newer.max_by_key(|object| object.generation()).filter(|newer| kek.is(newer.kek()))
        {
            KeyRing::take_unopened(disk, folder, kek, newer)?;
            tracing::warn!(
                generation = newer.generation(),
                "another node changed the key of keys; its keys are taken over"
            );
            return Ok(true);
        }
    }
    Ok(false)
}

fn join(placement: String, object: SiteObject, kek: Option<&Kek>) -> Result<Destiny, Error> {
    if kek.is_some_and(|kek| kek.is(object.kek())) {
        return Ok(Destiny::Join(Box::new(object)));
    }
    Err(Error::Locked { placement, site_id: object.site_id(), kek: object.kek().to_string() })
}

fn newest(sites: &mut BTreeMap<SiteId, (String, SiteObject)>, placement: &str, object: SiteObject) {
    let known = sites.get(&object.site_id()).map_or(0, |(_, known)| known.generation());
    if object.generation() > known {
        sites.insert(object.site_id(), (placement.to_owned(), object));
    }
}

/// The whole keys of sites in a bucket. One generation that is damaged does not matter beside one that is whole.
async fn sites_of(placement: &Placement) -> Result<Vec<SiteObject>, Error> {
    let unknown = |source| Error::Unknown { placement: placement.name.clone(), source };
    let objects = placement.keys.list(KEYS).await.map_err(unknown)?;
    let mut found = Vec::new();
    let mut damaged = None;
    for object in objects.iter().filter(|object| SiteObject::may_have_length(object.bytes)) {
        match read_site(&*placement.keys, &object.name, object.bytes).await.map_err(unknown)? {
            Ok(site) if site.name() == object.name => found.push(site),
            Ok(_) => {}
            Err(source) => damaged = Some((object.name.clone(), source)),
        }
    }
    match damaged {
        _ if !found.is_empty() => Ok(found),
        Some((object, source)) => Err(Error::Damaged { placement: placement.name.clone(), object, source }),
        None if objects.is_empty() => Ok(found),
        None => Err(Error::Orphaned { placement: placement.name.clone() }),
    }
}

async fn read_site(
    bucket: &dyn Bucket,
    name: &str,
    bytes: u64,
) -> Result<Result<SiteObject, filmgate_keys::Error>, BucketError> {
    let object = bucket.get(name, 0..bytes).await?;
    Ok(SiteObject::read(&object, Path::new(name)))
}
