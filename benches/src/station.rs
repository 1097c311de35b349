//! The road of the gateway in this process, its doors left out: so that one step of it can be timed alone.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, ensure};
use filmgate_bucket::Role;
use filmgate_catalog::{Catalog, CatalogOptions};
use filmgate_keys::{Kek, KeyRing};
use filmgate_model::{Clock, PackId, Provenance, Random, compute};
use filmgate_pipeline::{Cached, Parts, Peers, Placement, Road, Settings};
use filmgate_seal::SealOptions;
use filmgate_spool::{Admission, Disk, Journal, JournalOptions, PackFolder, RealDisk, Reserve};
use futures::{StreamExt, stream::FuturesUnordered};
use tempfile::TempDir;

use crate::cloud::{Plain, Server, bucket_name};

/// Where the group length of a file's head is (PS3.10 7.1), and how long its element is.
const GROUP_LENGTH_AT: usize = 140;
const GROUP_LENGTH_END: usize = 144;

/// A road with one placement, in a folder that goes with it.
pub(crate) struct Station {
    road: Arc<Road>,
    placement: Placement,
    folder: TempDir,
}

impl Station {
    /// With fresh buckets on the server and the gateway's defaults, except that studies are packed at once.
    pub(crate) async fn new(work: &Path, server: &Server, plain: &Plain) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix(crate::LEFTOVER_PREFIX).tempdir_in(work)?;
        let settings = Settings { pack_quiet: std::time::Duration::ZERO, ..Settings::default() };
        let (bucket, keys_bucket) = (bucket_name("packs"), bucket_name("keys"));
        for name in [&bucket, &keys_bucket] {
            plain.make_bucket(name).await?;
        }
        let part = settings.part_size_bytes;
        let packs = server.bucket(&bucket, Role::Packs { require_object_lock: false }, part)?;
        let placement = Placement {
            name: "main".to_owned(),
            bucket: Arc::new(packs),
            keys: Arc::new(server.bucket(&keys_bucket, Role::Keys, part)?),
        };
        let road = road(folder.path(), placement.clone(), settings).await?;
        road.probe(&placement).await?;
        road.place_site_keys().await?;
        Ok(Self { road, placement, folder })
    }

    /// Receives files and packs them; how many packs that makes.
    pub(crate) async fn receive(&self, files: Vec<std::path::PathBuf>) -> Result<usize> {
        let (road, count) = (Arc::clone(&self.road), files.len());
        compute(move || files.iter().try_for_each(|file| receive(&road, file))).await??;
        while self.road.index_received().await? > 0 {}
        let mut packed = 0;
        loop {
            let studies = self.road.studies_to_pack().await?;
            if studies.is_empty() {
                break;
            }
            for study in studies {
                packed += self.road.pack(&study).await?.records;
            }
        }
        ensure!(packed == count, "{packed} of {count} instances were packed");
        Ok(self.packs()?.len())
    }

    /// Puts every pack in the bucket, as many packs at a time as the gateway does.
    pub(crate) async fn upload(&self, packs_in_flight: usize) -> Result<usize> {
        let (mut at_work, mut uploaded): (Vec<PackId>, usize) = (Vec::new(), 0);
        let mut flying = FuturesUnordered::new();
        loop {
            while flying.len() < packs_in_flight
                && let Some(pack) = self.road.next_upload(&self.placement, &at_work).await?
            {
                at_work.push(pack.pack_id);
                let (road, placement) = (Arc::clone(&self.road), self.placement.clone());
                flying.push(filmgate_model::spawn(async move { road.upload(&placement, &pack).await }));
            }
            match flying.next().await {
                Some(done) => {
                    ensure!(done??, "an upload failed");
                    uploaded += 1;
                }
                None => return Ok(uploaded),
            }
        }
    }

    /// The packs' bytes.
    pub(crate) fn packs(&self) -> Result<Vec<bytes::Bytes>> {
        let entries = std::fs::read_dir(self.folder.path().join("packs"))?;
        entries.map(|entry| Ok(std::fs::read(entry?.path())?.into())).collect()
    }
}

async fn road(folder: &Path, placement: Placement, settings: Settings) -> Result<Arc<Road>> {
    let (clock, random) = (Clock::system(), Random::system());
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let kek = Kek::random(&random);
    let keys = KeyRing::create(Arc::clone(&disk), &folder.join("keys"), &kek, &clock, &random)?;
    let journal_dir = folder.join("journal");
    let (journal, _) =
        Journal::open(Arc::clone(&disk), &journal_dir, JournalOptions::default(), &clock, &random)?;
    let options = CatalogOptions::new(keys.site_id(), keys.node_id());
    let catalog = Catalog::open(&folder.join("catalog.db"), &keys.catalog_key(), &options).await?;
    Ok(Road::new(Parts {
        idle_cores: None,
        decoding: filmgate_pipeline::Decoding::default(),
        peers: Peers::default(),
        clock,
        random,
        journal,
        packs: PackFolder::open_folder(Arc::clone(&disk), &folder.join("packs"))?,
        cached: Cached::open(&disk, &folder.join("cache"), 0, 0),
        disk,
        data_dir: folder.to_owned(),
        log_dir: folder.join("log"),
        keys: Arc::new(keys),
        catalog: Arc::new(catalog),
        placements: vec![placement],
        admission: Admission::new(Reserve::default()),
        seal: SealOptions::default(),
        settings,
    }))
}

/// A file of explicit VR little endian; its group 0002 is not kept.
fn receive(road: &Arc<Road>, path: &Path) -> Result<()> {
    let file = std::fs::read(path)?;
    let length = file.get(GROUP_LENGTH_AT..GROUP_LENGTH_END).and_then(|bytes| bytes.first_chunk());
    let length = u32::from_le_bytes(*length.context("a file's head")?) as usize;
    let dataset = file.get(GROUP_LENGTH_END + length..).context("a dataset behind its head")?;
    let provenance = Provenance {
        received_at: road.clock().now(),
        node: road.node_id(),
        ..Provenance::untold("1.2.840.10008.1.2.1")
    };
    let mut receiving = road.receive(provenance)?;
    receiving.push(dataset)?;
    receiving.finish()?.wait()?;
    Ok(())
}
