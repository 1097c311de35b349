//! `filmgate adopt`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use clap::Args;
use filmgate_catalog::{Catalog, CatalogOptions};
use filmgate_keys::KeyRing;
use filmgate_model::NodeId;
use filmgate_pipeline::{Adopted, DeadNode, Road};
use filmgate_spool::{Disk, Journal, JournalOptions, PackFolder, RealDisk};

use super::{SettingsFrom, local, runtime};
use crate::{
    adopted,
    build::{self, Gateway},
    config::{Engine, Settings},
    data_dir::DataDir,
    failure, logging,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    settings: SettingsFrom,
    /// The dead node's data directory, or the second directory it mirrored it to.
    #[arg(value_name = "DIR", required_unless_present = "lost")]
    dir: Option<PathBuf>,
    /// The node's id, when its data directory is lost for good: what it had verified and was to do is taken over.
    #[arg(long, value_name = "NODE", conflicts_with = "dir")]
    lost: Option<NodeId>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Runs beside no gateway, neither on this node's data directory nor on the one to adopt. Running it again goes on where
/// it was cut.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let settings = arguments.settings.load()?;
    logging::start(&settings.log)?;
    local::refuse_running(&settings)?;
    let adopted = runtime()?.block_on(async {
        let gateway = build::open(&settings).await?;
        if gateway.road.is_follower() {
            bail!("a follower adopts nothing: run this at a gateway of the site");
        }
        match (&arguments.dir, arguments.lost) {
            (Some(dir), _) => adopt_directory(&settings, &gateway, dir).await,
            (None, Some(node_id)) => {
                refuse_living(&gateway.road, node_id).await?;
                Ok(gateway.road.adopt_lost_node(node_id).await?)
            }
            (None, None) => bail!("name the data directory to adopt"),
        }
    })?;
    tell(&adopted, arguments.json)?;
    Ok(if adopted.problems.is_empty() { failure::DONE } else { failure::SOME_FAILED })
}

async fn adopt_directory(settings: &Settings, gateway: &Gateway, dir: &Path) -> anyhow::Result<Adopted> {
    if !dir.join("keys").is_dir() {
        bail!("{} is no data directory of a gateway: it has no keys", dir.display());
    }
    let _held = DataDir::take(dir)
        .with_context(|| format!("adopt {}: the gateway on it must not run", dir.display()))?;
    let own = gateway.road.node_id();
    let by = adopted::by(dir)?;
    if let Some(by) = by.as_ref().filter(|by| by.node_id != own) {
        bail!("node {} adopts this directory or has done so: go on there", by.node_id);
    }
    let dead = open_dead(settings, gateway, dir).await?;
    refuse_living(&gateway.road, dead.keys.node_id()).await?;
    if by.is_some_and(|by| by.done) {
        return Ok(Adopted::default());
    }
    // From here on nobody serves it.
    adopted::mark(dir, own, false)?;
    let came = gateway.road.adopt_node(dead).await?;
    if came.problems.is_empty() {
        adopted::mark(dir, own, true)?;
    }
    Ok(came)
}

async fn open_dead(settings: &Settings, gateway: &Gateway, dir: &Path) -> anyhow::Result<DeadNode> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let (clock, random) = (gateway.road.clock().clone(), filmgate_model::Random::system());
    let keys = KeyRing::open(Arc::clone(&disk), &dir.join("keys"), &gateway.kek, &clock, &random)
        .with_context(|| format!("open the keys of {} with this site's key of keys", dir.display()))?;
    if keys.site_id() != gateway.road.keys().site_id() {
        bail!("{} is of another site: its keys are not those of this one", dir.display());
    }
    if keys.node_id() == gateway.road.node_id() {
        bail!("{} is a copy of this node's own data directory: there is nothing to take over", dir.display());
    }
    let options = JournalOptions { bytes_max: settings.spool.bytes_max, ..JournalOptions::default() };
    let (journal, _) = Journal::open(Arc::clone(&disk), &dir.join("journal"), options, &clock, &random)
        .context("open its journal")?;
    let packs = PackFolder::open_folder(disk, &dir.join("packs")).context("open its packs")?;
    let catalog = open_catalog(settings, dir, &keys).await?;
    Ok(DeadNode { keys: Arc::new(keys), journal, packs, catalog })
}

/// Its own catalog, where it had one: what it decided and had yet to tell is nowhere else.
async fn open_catalog(settings: &Settings, dir: &Path, keys: &KeyRing) -> anyhow::Result<Option<Catalog>> {
    let Engine::Sqlite(_) = settings.catalog.engine(dir)? else { return Ok(None) };
    let file = dir.join("catalog.db");
    if !fs::exists(&file)? {
        return Ok(None);
    }
    let options = CatalogOptions::new(keys.site_id(), keys.node_id());
    let opened = Catalog::open(&file, &keys.catalog_key(), &options).await;
    Ok(Some(opened.with_context(|| {
        format!("open its catalog {}; if that is damaged, move it aside: records and packs are adopted without it", file.display())
    })?))
}

async fn refuse_living(road: &Road, node_id: NodeId) -> anyhow::Result<()> {
    if node_id == road.node_id() {
        bail!("node {node_id} is this one");
    }
    if road.nodes().await?.iter().any(|node| node.node_id == node_id && node.present) {
        bail!(
            "node {node_id} was there a moment ago: stop it, and wait until it counts as absent (peers.absent_after_ms)"
        );
    }
    Ok(())
}

fn tell(adopted: &Adopted, json: bool) -> anyhow::Result<()> {
    if json {
        failure::print_json(&serde_json::to_value(adopted)?);
        return Ok(());
    }
    for problem in &adopted.problems {
        failure::print(problem);
    }
    let Adopted { records, packs, packs_known, facts, .. } = adopted;
    failure::print(&format!(
        "{records} records of the journal and {packs} packs were taken over, {packs_known} verified packs are known now, \
         {facts} facts will be told; the rest goes on once this gateway serves."
    ));
    Ok(())
}
