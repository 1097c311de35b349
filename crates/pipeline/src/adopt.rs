//! A dead node's data directory: what its journal and its packs hold and no bucket has for sure becomes this node's work,
//! and what it was to delete, to merge and to tell is this node's to do.
//!
//! Order: facts it had yet to tell are read → what the logs name is entered → packs copied and synced → records of the
//! journal copied and synced, each under its own id → taken over in the catalog, in one commit → entered. Cut anywhere it is
//! begun again: a copy that is there is not made twice, and a record counts once by its id.

use std::{collections::BTreeSet, sync::Arc};

use filmgate_catalog::{Catalog, Outgoing, TakeOver};
use filmgate_keys::KeyRing;
use filmgate_log::{Author, Body, Fact, HybridClock, PackStanding, Stated};
use filmgate_model::{IncarnationId, InstanceState, NodeId, PackId, RecordId, compute};
use filmgate_spool::{Journal, JournalRecord, PackFolder, Ticket};
use serde::Serialize;

use crate::{Error, Road, error::chain, log::SiteLogs, rebuild::Rebuilt, telling};

/// Read of a pack or record at once.
const PIECE_BYTES: u64 = 1 << 20;
/// Records copied into the journal before it is waited until they are synced.
const RECORDS_AT_ONCE: usize = 64;
/// Facts read at once of what a dead node had yet to tell.
const FACTS_AT_ONCE: u32 = 100_000;

/// A dead node's data directory, opened.
pub struct DeadNode {
    /// Its keys.
    pub keys: Arc<KeyRing>,
    /// Its journal.
    pub journal: Arc<Journal>,
    /// Its packs.
    pub packs: PackFolder,
    /// Its own catalog; `None` when it shared this node's, or it is lost.
    pub catalog: Option<Catalog>,
}

/// What came of an adoption.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Adopted {
    /// Records copied from its journal.
    pub records: u64,
    /// Packs copied from its disk.
    pub packs: u64,
    /// Packs that the logs name and that were not known here.
    pub packs_known: u64,
    /// Facts it had yet to tell.
    pub facts: u64,
    /// What stays where it is until a person has looked.
    pub problems: Vec<String>,
}

impl Road {
    /// Takes over from a dead node whose data directory is at hand.
    ///
    /// # Errors
    /// When disk, catalog or every bucket fails, or the journal has no room: begun again it goes on. What single records
    /// and packs lack is a problem of the answer.
    pub async fn adopt_node(self: &Arc<Self>, dead: DeadNode) -> Result<Adopted, Error> {
        let mut adopted = Adopted::default();
        let dead = Arc::new(dead);
        let node_id = dead.keys.node_id();
        let mut logs = self.read_logs_of_dead(&mut adopted).await?;
        let mut facts = self.facts_of_adoption(&logs, node_id)?;
        let untold = untold(&dead).await?;
        adopted.facts = untold.len() as u64;
        facts.extend(untold);
        self.take_for_said(&mut logs, &facts)?;
        let earlier = self.taken_over(&logs);
        self.enter_what_it_made(&logs, &mut adopted).await?;
        let copied = self.copy_packs(&dead, &logs, &mut adopted).await?;
        self.copy_records(&dead, &mut adopted).await?;
        let from =
            TakeOver { node_id, with_directory: true, earlier: &earlier, copied: &copied, facts: &facts };
        self.catalog.take_over(&from, self.clock.now()).await?;
        self.enter_custody(&logs.merge, &logs.merge.studies().collect::<Vec<_>>()).await?;
        self.recover().await?;
        self.tell_log();
        Ok(adopted)
    }

    /// Takes over from a node whose data directory is lost for good. What only it held stays held by a node that is away.
    ///
    /// # Errors
    /// When catalog or every bucket fails: begun again it goes on.
    pub async fn adopt_lost_node(self: &Arc<Self>, node_id: NodeId) -> Result<Adopted, Error> {
        let mut adopted = Adopted::default();
        let mut logs = self.read_logs_of_dead(&mut adopted).await?;
        let facts = self.facts_of_adoption(&logs, node_id)?;
        self.take_for_said(&mut logs, &facts)?;
        let earlier = self.taken_over(&logs);
        self.enter_what_it_made(&logs, &mut adopted).await?;
        let from = TakeOver { node_id, with_directory: false, earlier: &earlier, copied: &[], facts: &facts };
        self.catalog.take_over(&from, self.clock.now()).await?;
        self.enter_custody(&logs.merge, &logs.merge.studies().collect::<Vec<_>>()).await?;
        self.recover().await?;
        self.tell_log();
        Ok(adopted)
    }

    async fn read_logs_of_dead(self: &Arc<Self>, adopted: &mut Adopted) -> Result<SiteLogs, Error> {
        let logs = self.read_logs().await?;
        let stopped = logs.stopped.iter();
        adopted.problems.extend(stopped.map(|(incarnation, why)| format!("log {incarnation} stops: {why}")));
        Ok(logs)
    }

    /// One for each history of the node, so that nobody waits to hear of it any more.
    fn facts_of_adoption(&self, logs: &SiteLogs, node: NodeId) -> Result<Vec<Outgoing>, Error> {
        let its = |incarnation: &IncarnationId| {
            logs.merge.heartbeat(*incarnation).is_some_and(|heartbeat| heartbeat.node == node)
        };
        let mut histories: Vec<_> = logs.chains.keys().copied().filter(its).collect();
        if histories.is_empty() {
            // It never told anything, and what it made is this node's all the same.
            histories.push(IncarnationId([0; 16]));
        }
        let facts = histories.into_iter().map(|incarnation| {
            telling::outgoing(None, &Body::NodeAdopted { node, incarnation }).map_err(Error::from)
        });
        facts.collect()
    }

    /// Nodes for whose packs this node stands by now.
    fn taken_over(&self, logs: &SiteLogs) -> Vec<NodeId> {
        let owners: BTreeSet<NodeId> = logs
            .merge
            .packs()
            .filter_map(|(_, standing)| match standing {
                PackStanding::Unknown => None,
                PackStanding::Live(pack) | PackStanding::Disputed(pack) | PackStanding::Deleted(pack) => {
                    Some(pack.owner)
                }
                PackStanding::Replaced { pack, .. } => Some(pack.owner),
            })
            .collect();
        let own = self.node_id();
        owners.into_iter().filter(|owner| *owner != own && logs.merge.acts_for(own, *owner)).collect()
    }

    /// What is about to be told counts here already.
    fn take_for_said(&self, logs: &mut SiteLogs, facts: &[Outgoing]) -> Result<(), Error> {
        let (mut clock, now) = (HybridClock::default(), self.clock.now());
        let roles = self.settings.roles;
        let author = Author { node: self.node_id(), incarnation: IncarnationId([0; 16]), roles };
        for fact in facts {
            let body = Body::from_bytes(fact.kind, &fact.body)?;
            let fact = Fact { id: fact.fact_id, stamp: clock.stamp(now), supersedes: Vec::new(), body };
            logs.merge.take(&Stated { fact, author });
        }
        Ok(())
    }

    /// Packs of the dead node that the logs name, where the catalogs were not one.
    async fn enter_what_it_made(
        self: &Arc<Self>,
        logs: &SiteLogs,
        adopted: &mut Adopted,
    ) -> Result<(), Error> {
        let mut packs = Vec::new();
        for (pack_id, standing) in logs.merge.packs() {
            if let PackStanding::Live(pack) = standing
                && pack.owner != self.node_id()
                && logs.merge.acts_for(self.node_id(), pack.owner)
                && self.catalog.pack(pack_id).await?.is_none()
            {
                let mut pack = pack.clone();
                pack.owner = self.node_id();
                packs.push(pack);
            }
        }
        let mut rebuilt = Rebuilt::default();
        self.enter_named(packs, &mut rebuilt).await?;
        let listed = self.list_everywhere("v1/pack/").await?;
        self.enter_leaving(&logs.merge, &listed, None).await?;
        adopted.packs_known = rebuilt.packs;
        adopted.problems.append(&mut rebuilt.problems);
        Ok(())
    }

    /// Copies the packs that are not known to be safe; those that are here now, and their lengths.
    async fn copy_packs(
        self: &Arc<Self>,
        dead: &Arc<DeadNode>,
        logs: &SiteLogs,
        adopted: &mut Adopted,
    ) -> Result<Vec<(PackId, u64)>, Error> {
        let mut copied = Vec::new();
        for (pack_id, bytes) in dead.packs.list()? {
            let known = self.catalog.pack(pack_id).await?;
            let is_safe = known
                .is_some_and(|pack| matches!(pack.state, InstanceState::Verified | InstanceState::Deleted));
            if is_safe || !matches!(logs.merge.pack(pack_id), PackStanding::Unknown) {
                continue;
            }
            let (road, from) = (Arc::clone(self), Arc::clone(dead));
            match compute(move || road.copy_pack(&from, pack_id)).await? {
                Ok(was_there) => {
                    adopted.packs += u64::from(!was_there);
                    copied.push((pack_id, bytes));
                }
                Err(error) if error.is_permanent() => {
                    adopted.problems.push(format!("pack {pack_id} cannot be copied: {}", chain(&error)));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(copied)
    }

    /// Copies a pack and its key; true when it was here already. Blocks on the disk.
    fn copy_pack(&self, dead: &DeadNode, pack_id: PackId) -> Result<bool, Error> {
        let pack = dead.packs.open(pack_id)?;
        let bytes = pack.pack_bytes();
        let header = pack.read(0..bytes.min(filmgate_seal::PACK_HEADER_BYTES as u64))?;
        let header = filmgate_seal::pack_header(&header)?;
        // The key first: a pack nobody could open is of no use.
        let (_, key) = dead.keys.study_key_object(header.study_key_id)?;
        self.keys.adopt_study_key(&key)?;
        if self.packs.contains(pack_id)? {
            return Ok(true);
        }
        let mut file = self.packs.create(pack_id)?;
        for piece in pieces(bytes) {
            file.write(&pack.read(piece)?)?;
        }
        file.finish()?;
        Ok(false)
    }

    /// Copies the records of its journal that are in no pack.
    async fn copy_records(
        self: &Arc<Self>,
        dead: &Arc<DeadNode>,
        adopted: &mut Adopted,
    ) -> Result<(), Error> {
        if dead.journal.room().kept_segments > 0 {
            let kept = "parts of its journal cannot be read; what lies in them stays there";
            adopted.problems.push(kept.to_owned());
        }
        let records = dead.journal.records();
        let ids: Vec<RecordId> = records.iter().map(|record| record.record_id).collect();
        let settled: BTreeSet<RecordId> = self.settled_of(&ids).await?;
        let wanted: Vec<JournalRecord> = records
            .into_iter()
            .filter(|record| !settled.contains(&record.record_id) && !self.journal.contains(record.record_id))
            .collect();
        for some in wanted.chunks(RECORDS_AT_ONCE) {
            let (road, from, some) = (Arc::clone(self), Arc::clone(dead), some.to_vec());
            let (records, mut problems) = compute(move || road.copy_some(&from, &some)).await??;
            adopted.records += records;
            adopted.problems.append(&mut problems);
        }
        Ok(())
    }

    async fn settled_of(&self, records: &[RecordId]) -> Result<BTreeSet<RecordId>, Error> {
        let standings = self.catalog.standing_of(records).await?.into_iter();
        let settled = standings.filter(|(_, standing)| *standing == filmgate_catalog::Standing::Settled);
        Ok(settled.map(|(record_id, _)| record_id).collect())
    }

    /// Copies records and waits until all are synced; how many, and what is wrong with the others.
    fn copy_some(&self, dead: &DeadNode, records: &[JournalRecord]) -> Result<(u64, Vec<String>), Error> {
        let (mut tickets, mut problems) = (Vec::with_capacity(records.len()), Vec::new());
        for record in records {
            match self.copy_record(dead, record) {
                Ok(ticket) => tickets.push(ticket),
                Err(error) if error.is_permanent() => {
                    let id = record.record_id;
                    problems.push(format!("record {id} cannot be copied: {}", chain(&error)));
                }
                Err(error) => return Err(error),
            }
        }
        for ticket in &tickets {
            self.journal.wait(ticket)?;
        }
        Ok((tickets.len() as u64, problems))
    }

    fn copy_record(&self, dead: &DeadNode, record: &JournalRecord) -> Result<Ticket, Error> {
        let record_id = record.record_id;
        let key = dead.keys.unwrap_landing(record_id, &record.wrapped_key)?;
        let wrapped = self.keys.wrap_landing(record_id, &key)?;
        let mut writer = self.journal.begin(record_id)?;
        for piece in pieces(record.record_bytes) {
            writer.write(&dead.journal.read(record_id, piece)?)?;
        }
        Ok(writer.commit(&wrapped)?)
    }
}

/// What it had decided and yet to tell. That packs are verified is found out again.
async fn untold(dead: &DeadNode) -> Result<Vec<Outgoing>, Error> {
    let Some(catalog) = &dead.catalog else { return Ok(Vec::new()) };
    let facts = catalog.outgoing(FACTS_AT_ONCE).await?.into_iter();
    Ok(facts.filter(|fact| fact.pack_id.is_none()).collect())
}

fn pieces(bytes: u64) -> impl Iterator<Item = std::ops::Range<u64>> {
    let starts = (0..bytes.div_ceil(PIECE_BYTES)).map(|piece| piece * PIECE_BYTES);
    starts.map(move |start| start..bytes.min(start + PIECE_BYTES))
}
