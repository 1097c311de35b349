//! The parts put together in order: directory, keys, disk, catalog, buckets, road; then what a crash left is settled.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use filmgate_bucket::{Bucket, LocalBucket, S3Bucket, S3Client};
use filmgate_catalog::{Catalog, CatalogOptions};
use filmgate_keys::{Kek, KeyRing};
use filmgate_model::{Clock, Encoding, Random};
use filmgate_pipeline::{
    Cached, CallerSettings, Callers, Decoding, IdleCores, KeptSettings, Parts, Placement, Recovered, Road,
    Roles,
};
use filmgate_seal::SealOptions;
use filmgate_spool::{
    Admission, Disk, Journal, JournalOptions, MirrorMode, MirroredDisk, PackFolder, RealDisk, Reserve, Side,
};
use filmgate_web::{UserSettings, Users};

use crate::{
    adopted,
    config::{BucketKind, Engine, Mirror, PrivateEncoding, Role, Settings, milliseconds},
    data_dir::{self, DataDir},
    kek, peers,
    site::{self, Destiny},
};

/// How long a placement may take to be tried before the doors open without it.
const PROBE_AT_START: Duration = Duration::from_secs(5);

/// Folders of the data directory that the second directory has too.
const MIRRORED: [&str; 8] =
    ["journal", "packs", "log", "keys", "keys/landing", "keys/study", "keys/log", "keys/signing"];

/// A gateway with everything open but its doors.
pub(crate) struct Gateway {
    pub(crate) data_dir: DataDir,
    /// Held as well, so that no two gateways mix in one second directory.
    _second_dir: Option<DataDir>,
    pub(crate) road: Arc<Road>,
    pub(crate) callers: Arc<Callers>,
    pub(crate) users: Arc<Users>,
    /// The secret of this machine's command line.
    pub(crate) admin_token: String,
    /// What was put in order; `None` while that waits for a bucket.
    pub(crate) recovered: Option<Recovered>,
    /// What opens the keys of the site.
    pub(crate) kek: Arc<Kek>,
}

/// Opens the data directory and all that is in it, and puts in order what the last run left.
pub(crate) async fn open(settings: &Settings) -> anyhow::Result<Gateway> {
    let mut gateway = open_unsettled(settings).await?;
    gateway.recovered = gateway.road.settle().await.context("put in order what the last run left")?;
    Ok(gateway)
}

/// The same, and nothing is put in order: for a rebuild, which comes first.
pub(crate) async fn open_unsettled(settings: &Settings) -> anyhow::Result<Gateway> {
    let data_dir = DataDir::take(&settings.node.data_dir)?;
    adopted::refuse(&settings.node.data_dir)?;
    let mirrored = settings.node.mirror != Mirror::Off;
    let second_dir = if mirrored { take_second(settings)? } else { None };
    let (clock, random) = (Clock::system(), Random::system());
    let root = &settings.node.data_dir;
    let was_empty = is_empty(root);
    let disk = open_disk(settings)?;
    let placements = open_placements(settings)?;
    let (keys, kek) = open_keys(settings, was_empty, &placements, &disk, &clock, &random).await?;
    if kek.is_elsewhere() {
        keys.lease_for(milliseconds(settings.keys.lease_ms));
    }
    let keys = Arc::new(keys);
    let journal_options = JournalOptions {
        bytes_max: settings.spool.bytes_max,
        ready_segments: settings.spool.ready_segments,
        ..JournalOptions::default()
    };
    let (journal, _) =
        Journal::open(Arc::clone(&disk), &root.join("journal"), journal_options, &clock, &random)
            .context("open the journal")?;
    let packs = PackFolder::open_folder(Arc::clone(&disk), &root.join("packs"))
        .context("open the folder of packs")?;
    let cache = &settings.cache;
    // Never mirrored: what is cached is no copy, and must not cost one.
    let plain: Arc<dyn Disk> = Arc::new(RealDisk);
    let cached = Cached::open(&plain, &root.join("cache"), cache.ranges_bytes_max, cache.footers_bytes_max);
    let catalog = Arc::new(open_catalog(settings, &keys).await?);
    let callers = Callers::open(Arc::clone(&catalog), clock.clone(), caller_settings(settings)).await?;
    let (users, admin_token) =
        Users::new(Arc::clone(&catalog), clock.clone(), random.clone(), user_settings(settings));
    let road = Road::new(Parts {
        clock,
        random,
        journal,
        disk,
        data_dir: root.clone(),
        log_dir: root.join("log"),
        packs,
        cached,
        keys,
        catalog,
        placements,
        admission: Admission::new(reserve(settings)),
        seal: seal_options(settings),
        idle_cores: Some(idle_cores(settings)?),
        peers: peers::open(&settings.peers)?,
        decoding: Decoding::new(settings.pixels.options()),
        settings: road_settings(settings),
    });
    refuse_unfit(&road).await?;
    // Before anybody else could take the bucket for an empty one.
    if was_empty && let Err(error) = road.place_site_keys().await {
        tracing::warn!(error = &error as &dyn std::error::Error, "a bucket lacks the keys of the site");
    }
    Ok(Gateway {
        data_dir,
        _second_dir: second_dir,
        road,
        callers: Arc::new(callers),
        users: Arc::new(users),
        admin_token,
        recovered: None,
        kek: Arc::new(kek),
    })
}

/// Takes the second directory; one that cannot be used is an error only where it is required.
fn take_second(settings: &Settings) -> anyhow::Result<Option<DataDir>> {
    match DataDir::take(&settings.node.second_dir) {
        Err(error @ data_dir::Error::Io { .. }) if settings.node.mirror == Mirror::Preferred => {
            tracing::error!(error = &error as &dyn std::error::Error, "the second directory cannot be used");
            Ok(None)
        }
        taken => taken.map(Some).context("open the second directory"),
    }
}

fn user_settings(settings: &Settings) -> UserSettings {
    let web = &settings.web;
    UserSettings {
        session_idle: milliseconds(web.session_idle_ms),
        session_lifetime: milliseconds(web.session_lifetime_ms),
        set_up_lifetime: milliseconds(web.set_up_link_lifetime_ms),
        login_failures_max: web.login_failures_max,
        password_memory_kib: web.password_memory_kib,
        password_passes: web.password_passes,
    }
}

fn caller_settings(settings: &Settings) -> CallerSettings {
    CallerSettings {
        known: settings.dicom.known_callers.clone(),
        accept_unknown: settings.dicom.accept_unknown_callers,
        remembered_max: settings.dicom.callers_remembered_max,
    }
}

/// What has to stay free before another association is let in.
fn reserve(settings: &Settings) -> Reserve {
    Reserve {
        pack_bytes_max: settings.pack.size_bytes.saturating_mul(2),
        catalog_bytes: settings.spool.catalog_reserve_bytes,
        ..Reserve::default()
    }
}

fn open_disk(settings: &Settings) -> anyhow::Result<Arc<dyn Disk>> {
    let node = &settings.node;
    if node.mirror == Mirror::Off {
        return Ok(Arc::new(RealDisk));
    }
    let mode = if node.mirror == Mirror::Required { MirrorMode::Required } else { MirrorMode::Preferred };
    let side = |root: &Path| Side { disk: Arc::new(RealDisk), root: root.to_owned() };
    let mirrored = MirroredDisk::open(side(&node.data_dir), side(&node.second_dir), mode, &MIRRORED);
    Ok(Arc::new(mirrored.context("open the second directory")?))
}

/// Keys are made only for a directory without keys, and only when no bucket says otherwise: data whose key is gone is
/// never overlaid by a new one.
async fn open_keys(
    settings: &Settings,
    was_empty: bool,
    placements: &[Placement],
    disk: &Arc<dyn Disk>,
    clock: &Clock,
    random: &Random,
) -> anyhow::Result<(KeyRing, Kek)> {
    let folder = settings.node.data_dir.join("keys");
    if !was_empty || KeyRing::exists(&**disk, &folder)? {
        let kek = kek::existing(settings)?;
        let open = || KeyRing::open(Arc::clone(disk), &folder, &kek, clock, random);
        let keys = match open() {
            // The key of keys was changed on another node, and the new one is here.
            Err(wrong @ filmgate_keys::Error::Wrong { .. }) => {
                site::take_newest(placements, &**disk, &folder, &kek).await?.then(open).ok_or(wrong)??
            }
            opened => opened?,
        };
        return Ok((keys, kek));
    }
    let found = kek::open(settings)?;
    match site::destiny(placements, found.as_ref(), settings.keys.site).await? {
        Destiny::New => {
            let kek = kek::existing_or_new(settings, random)?;
            Ok((KeyRing::create(Arc::clone(disk), &folder, &kek, clock, random)?, kek))
        }
        Destiny::Join(object) => {
            let kek = kek::existing(settings)?;
            tracing::info!(site_id = %object.site_id(), "this data directory joins the site of its bucket");
            Ok((KeyRing::join(Arc::clone(disk), &folder, &kek, &object, clock, random)?, kek))
        }
    }
}

/// True when nothing but what this process made stands in the directory.
fn is_empty(data_dir: &Path) -> bool {
    let ours = |name: &std::ffi::OsStr| name == "lock" || name == "run.json" || name == "keys";
    std::fs::read_dir(data_dir).is_ok_and(|entries| entries.flatten().all(|entry| ours(&entry.file_name())))
}

async fn open_catalog(settings: &Settings, keys: &KeyRing) -> anyhow::Result<Catalog> {
    let teller = Some(filmgate_pipeline::tell as filmgate_catalog::Teller);
    let options = CatalogOptions {
        teller,
        attributes: settings.catalog.attributes()?,
        search_time_max: Duration::from_millis(settings.catalog.search_time_max_ms),
        pages_bytes: settings.catalog.pages_bytes,
        ..CatalogOptions::new(keys.site_id(), keys.node_id())
    };
    match settings.catalog.engine(&settings.node.data_dir)? {
        Engine::Postgres(database) => {
            Catalog::connect(&database, &options).await.context("open the catalog (catalog.url)")
        }
        Engine::Sqlite(file) => {
            Catalog::open(&file, &keys.catalog_key(), &options).await.with_context(|| {
                format!(
                    "open the catalog {}; if the file is damaged, move it and its -wal and -shm aside: \
                     `filmgate rebuild` makes it again from the buckets, local packs and journal",
                    file.display()
                )
            })
        }
    }
}

pub(crate) fn open_placements(settings: &Settings) -> anyhow::Result<Vec<Placement>> {
    let open = |(name, bucket): (&String, &crate::config::Bucket)| {
        let (store, keys): (Arc<dyn Bucket>, Arc<dyn Bucket>) = match bucket.kind {
            BucketKind::Local => (
                Arc::new(LocalBucket::new(settings.bucket_path(name, bucket))),
                Arc::new(LocalBucket::new(settings.bucket_keys_path(name, bucket))),
            ),
            BucketKind::S3 => {
                let client = S3Client::new(&settings.s3(name, bucket)?)
                    .with_context(|| format!("use the settings of bucket.{name}"))?;
                let packs = filmgate_bucket::Role::Packs { require_object_lock: bucket.require_object_lock };
                (
                    Arc::new(S3Bucket::new(&client, &bucket.bucket, packs)),
                    Arc::new(S3Bucket::new(&client, bucket.keys_bucket(), filmgate_bucket::Role::Keys)),
                )
            }
        };
        Ok(Placement { name: name.clone(), bucket: store, keys })
    };
    settings.bucket.iter().map(open).collect()
}

/// A placement that must not be used ends the start; one that does not answer now is asked when it does.
async fn refuse_unfit(road: &Road) -> anyhow::Result<()> {
    for placement in road.placements() {
        match tokio::time::timeout(PROBE_AT_START, road.probe(placement)).await {
            Ok(Ok(_)) => {}
            Ok(Err(filmgate_pipeline::Error::Bucket(error @ filmgate_bucket::Error::Unfit(_)))) => {
                return Err(error).with_context(|| format!("use the placement {}", placement.name));
            }
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, placement = placement.name, "a placement cannot be used now");
            }
            Err(_) => tracing::warn!(placement = placement.name, "a placement does not answer"),
        }
    }
    Ok(())
}

fn seal_options(settings: &Settings) -> SealOptions {
    let encoding = |private: PrivateEncoding| match private {
        PrivateEncoding::ExplicitLittle => Encoding::ExplicitLittle,
        PrivateEncoding::ExplicitBig => Encoding::ExplicitBig,
        PrivateEncoding::ImplicitLittle => Encoding::ImplicitLittle,
    };
    let private =
        settings.dicom.private_syntaxes.iter().map(|(uid, private)| (uid.clone(), encoding(*private)));
    SealOptions {
        zstd_level: settings.seal.zstd_level,
        private_syntaxes: Arc::new(private.collect()),
        ..SealOptions::default()
    }
}

/// One helper less than there are cores: the last one receives.
fn idle_cores(settings: &Settings) -> anyhow::Result<Arc<IdleCores>> {
    let others = std::thread::available_parallelism().map_or(0, |cores| cores.get() - 1);
    let helpers = if settings.seal.helper_threads == 0 { others } else { settings.seal.helper_threads };
    IdleCores::start(helpers).context("start the threads that help to seal")
}

fn roles(settings: &Settings) -> Roles {
    match settings.node.role {
        Role::Gateway => Roles::GATEWAY,
        Role::Follow => {
            [filmgate_pipeline::Role::Retrieve, filmgate_pipeline::Role::Follow].into_iter().collect()
        }
    }
}

fn road_settings(settings: &Settings) -> filmgate_pipeline::Settings {
    filmgate_pipeline::Settings {
        pack_quiet: milliseconds(settings.pack.quiet_ms),
        pack_size_bytes: settings.pack.size_bytes,
        pack_age: milliseconds(settings.pack.age_ms),
        retry_delay_min: milliseconds(settings.upload.retry_delay_min_ms),
        retry_delay_max: milliseconds(settings.upload.retry_delay_max_ms),
        part_size_bytes: settings.upload.part_size_bytes,
        parts_in_flight: settings.upload.parts_in_flight,
        upload_abandoned_after: milliseconds(settings.upload.abandoned_after_ms),
        cache_free_bytes_min: settings.cache.free_bytes_min,
        cache_bytes_max: settings.cache.bytes_max,
        read_bytes_max: settings.cache.read_bytes_max,
        read_ahead_bytes: settings.cache.read_ahead_bytes,
        quarantine_bytes_max: settings.quarantine.bytes_max,
        small_pack_bytes: settings.repack.small_pack_bytes,
        repack_after: milliseconds(settings.repack.after_ms),
        repack_grace: milliseconds(settings.repack.grace_ms),
        deletion_two_people: settings.deletion.two_people,
        deletion_grace: milliseconds(settings.deletion.grace_ms),
        retention_years: settings.retention.years,
        book_export_after: milliseconds(settings.book.export_after_ms),
        yielding: filmgate_pipeline::Yielding {
            bytes_per_second: settings.yielding.bytes_per_second,
            quiet: milliseconds(settings.yielding.quiet_ms),
            gather: milliseconds(settings.yielding.gather_ms),
        },
        require_backup: settings.keys.require_backup,
        kept: KeptSettings {
            metadata_bytes_max: settings.memory.metadata_bytes_max,
            frames_bytes_max: settings.memory.frames_bytes_max,
            rendered_bytes_max: settings.memory.rendered_bytes_max,
            warm_series_max: settings.memory.warm_series_max,
        },
        roles: roles(settings),
        log_gather: milliseconds(settings.site_log.gather_ms),
        log_heartbeat: milliseconds(settings.site_log.heartbeat_ms),
        follow_poll: milliseconds(settings.site_log.follow_poll_ms),
        follow_list: milliseconds(settings.site_log.follow_list_ms),
        texts: settings.text.texts(),
    }
}
