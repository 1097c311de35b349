//! The catalog made again from bucket and keys alone: what the logs name, then packs no log names, then what is on the local
//! disk. Order of entry is the order in which the packs were made, so that of several copies of an instance the same one is
//! served as before.
//!
//! What no bucket holds cannot come back: instances that were never verified, and how many copies were dropped because the
//! same bytes were kept already.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use filmgate_catalog::{FoundInstance, FoundPack};
use filmgate_log::{PackStanding, PackVerified};
use filmgate_model::{InstanceState, NodeId, PackId, Timestamp, compute};
use filmgate_seal::{PackFooter, PackKind};
use futures::{Stream, StreamExt, stream};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    Error, Placement, Road, Texts, attributes::Told, copies::Kinds, error::chain, index::received_instance,
    log::SiteLogs, retrieve::pack_name, said, verify::pieces,
};

/// Footers fetched at a time.
const READS: usize = 16;
/// Packs entered in one transaction, about: small ones are many, large ones few.
const WINDOW_INSTANCES: usize = 8192;
/// Pages of the catalog kept in memory meanwhile: every window touches most pages of the indexes.
const PAGES_BYTES: u64 = 64 * 1024 * 1024;
/// A node that was not heard of for so many heartbeats does not finish what it began.
const DEAD_AFTER_BEATS: u32 = 10;
const PACKS: &str = "v1/pack/";

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RebuildProgress {
    /// Packs to read.
    pub packs: u64,
    /// … of these, done with.
    pub packs_done: u64,
    /// Instances entered.
    pub instances: u64,
}

/// What a rebuild found and did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Rebuilt {
    /// Batches read of the logs.
    pub batches: u64,
    /// Packs entered that a log names.
    pub packs: u64,
    /// Packs entered that no log names: they are proven and named next.
    pub packs_unnamed: u64,
    /// Instances entered.
    pub instances: u64,
    /// Exports of the book entered: users, tokens, rules of callers, alarms.
    pub books: u64,
    /// What a person has to look at; empty when everything came back.
    pub problems: Vec<String>,
}

/// A pack to be entered.
struct Candidate {
    pack: PackVerified,
    named: bool,
    /// When it was made, or the oldest of those whose records it took over.
    began_at: Timestamp,
}

/// Packs that are entered in one transaction.
#[derive(Default)]
struct Window {
    found: Vec<FoundPack>,
    told: Vec<Told>,
    /// Packs it took, those among them that do not open too.
    packs: u64,
    problems: Vec<String>,
}

impl Candidate {
    fn new(pack: PackVerified, named: bool) -> Self {
        Self { named, began_at: pack.created_at, pack }
    }
}

impl Road {
    /// Empties what the catalog derives, then makes it again. What is authoritative in it stays. Cut off, it is begun again.
    ///
    /// # Errors
    /// When catalog, disk or every bucket fails. What single packs and logs lack is a problem of the answer.
    pub async fn rebuild(
        self: &Arc<Self>,
        mut tell: impl FnMut(RebuildProgress) + Send,
    ) -> Result<Rebuilt, Error> {
        self.catalog.wipe_index().await?;
        let logs = self.hear_past().await?;
        let mut rebuilt = Rebuilt { batches: logs.batches, ..Rebuilt::default() };
        let stopped = logs.stopped.iter();
        rebuilt.problems.extend(stopped.map(|(incarnation, why)| format!("log {incarnation} stops: {why}")));
        rebuilt.books = self.enter_books(None, &mut rebuilt.problems).await?;
        let listed = self.list_everywhere(PACKS).await?;
        let mut packs = self.named_packs(&logs, &mut rebuilt.problems);
        packs.extend(self.unnamed_packs(&logs, &listed, &mut rebuilt.problems).await?);
        packs.sort_by_key(|candidate| (!candidate.named, candidate.began_at, candidate.pack.pack_id));
        self.catalog.keep_pages(Some(PAGES_BYTES)).await?;
        let entered = self.enter_all(packs, &mut rebuilt, &mut tell).await;
        self.catalog.keep_pages(None).await?;
        entered?;
        self.enter_keys(&logs.merge, None).await?;
        self.enter_leaving(&logs.merge, &listed, None).await?;
        self.enter_custody(&logs.merge, &logs.merge.studies().collect::<Vec<_>>()).await?;
        self.note_local_packs().await?;
        self.recover().await?;
        self.note_past_entered().await?;
        Ok(rebuilt)
    }

    /// The logs, and what they say of keys and rules entered at once: nothing is entered under a key that is destroyed.
    async fn hear_past(self: &Arc<Self>) -> Result<SiteLogs, Error> {
        let mut logs = self.read_logs().await?;
        self.take_pending(&mut logs).await?;
        self.load_shredded().await?;
        self.hear_shredded(&logs).await?;
        self.hear_rules(&logs.merge).await?;
        Ok(logs)
    }

    /// Enters what this node decided and put into buckets and does not know, since its data directory or its catalog was
    /// lost or restored from an older copy: packs its log names, those it had put there and not named yet, and all that
    /// was decided.
    pub(crate) async fn enter_own_past(self: &Arc<Self>) -> Result<(), Error> {
        let logs = self.hear_past().await?;
        let mut rebuilt = Rebuilt::default();
        let listed = self.list_everywhere(PACKS).await?;
        let mut packs = self.named_packs(&logs, &mut rebuilt.problems);
        packs.retain(|candidate| candidate.pack.owner == self.node_id());
        packs.extend(self.unnamed_packs(&logs, &listed, &mut rebuilt.problems).await?);
        let mut unknown = Vec::new();
        for candidate in packs {
            if self.catalog.pack(candidate.pack.pack_id).await?.is_none() {
                unknown.push(candidate);
            }
        }
        unknown.sort_by_key(|candidate| (candidate.began_at, candidate.pack.pack_id));
        self.enter_all(unknown, &mut rebuilt, &mut |_| {}).await?;
        self.follow_packs(&logs.merge, logs.merge.packs().map(|(pack_id, _)| pack_id).collect()).await?;
        self.enter_keys(&logs.merge, Some(self.node_id())).await?;
        self.enter_leaving(&logs.merge, &listed, Some(self.node_id())).await?;
        self.enter_custody(&logs.merge, &logs.merge.studies().collect::<Vec<_>>()).await?;
        self.note_local_packs().await?;
        // A token that was revoked after the copy was made is revoked.
        self.enter_books(Some(self.node_id()), &mut rebuilt.problems).await?;
        for problem in &rebuilt.problems {
            tracing::error!(problem, "something of the past of this data directory does not come back");
        }
        tracing::info!(
            packs = rebuilt.packs + rebuilt.packs_unnamed,
            instances = rebuilt.instances,
            "what this node did is known again"
        );
        Ok(())
    }

    /// Enters packs that a log names, in the order they were made.
    pub(crate) async fn enter_named(
        self: &Arc<Self>,
        packs: Vec<PackVerified>,
        rebuilt: &mut Rebuilt,
    ) -> Result<(), Error> {
        let mut packs: Vec<Candidate> = packs.into_iter().map(|pack| Candidate::new(pack, true)).collect();
        packs.sort_by_key(|candidate| (candidate.began_at, candidate.pack.pack_id));
        self.enter_all(packs, rebuilt, &mut |_| {}).await
    }

    /// Packs that count, of those the logs name.
    fn named_packs(&self, logs: &SiteLogs, problems: &mut Vec<String>) -> Vec<Candidate> {
        let (mut packs, mut began) = (Vec::new(), BTreeMap::<PackId, Timestamp>::new());
        for (pack_id, standing) in logs.merge.packs() {
            match standing {
                // Deleted with its key, whether its node had the time to say the first or not.
                PackStanding::Live(pack) | PackStanding::Disputed(pack)
                    if !logs.merge.shredded(pack.study_key_id).is_empty() => {}
                PackStanding::Live(pack) => packs.push(Candidate::new(pack.clone(), true)),
                PackStanding::Disputed(pack) => {
                    problems.push(format!(
                        "pack {pack_id}: the logs disagree about it; what was said first counts"
                    ));
                    packs.push(Candidate::new(pack.clone(), true));
                }
                PackStanding::Replaced { pack, .. } | PackStanding::Deleted(pack) => {
                    if let Some(by) = logs.merge.replaced_by(pack_id) {
                        let oldest = began.entry(by).or_insert(pack.created_at);
                        *oldest = (*oldest).min(pack.created_at);
                    }
                }
                PackStanding::Unknown => {}
            }
        }
        for candidate in &mut packs {
            let oldest = began.get(&candidate.pack.pack_id).copied();
            candidate.began_at = oldest.map_or(candidate.began_at, |oldest| oldest.min(candidate.began_at));
            candidate.pack.owner = self.keeper_of(&logs.merge, candidate.pack.owner);
        }
        packs
    }

    /// Packs in a bucket that no log names: put there before a crash, or by a node whose log is broken.
    async fn unnamed_packs(
        self: &Arc<Self>,
        logs: &SiteLogs,
        listed: &BTreeMap<String, Vec<(&Placement, u64)>>,
        problems: &mut Vec<String>,
    ) -> Result<Vec<Candidate>, Error> {
        let mut found = Vec::new();
        for (name, places) in listed {
            let Some(pack_id) = name.strip_prefix(PACKS).and_then(|id| id.parse::<PackId>().ok()) else {
                continue;
            };
            let Some((first, bytes)) = places.first() else { continue };
            // One that is here is entered by what is here: its object may have gone wrong on the way and was not read back.
            let spoken_of = !matches!(logs.merge.pack(pack_id), PackStanding::Unknown);
            if spoken_of || logs.merge.is_said_gone(pack_id) || self.is_on_disk(pack_id).await? {
                continue;
            }
            match self.describe(first, pack_id, *bytes).await {
                // Its node lives and is about to name it.
                Ok((_, node)) if self.is_alive(logs, node) => {}
                Ok((pack, _)) => found.push(Candidate::new(pack, false)),
                Err(Error::Keys(filmgate_keys::Error::Shredded(_))) => {}
                Err(error) if error.is_permanent() || matches!(error, Error::Keys(_)) => {
                    problems
                        .push(format!("pack {pack_id} is in no log and does not open: {}", chain(&error)));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// What a log would say of a pack, from its object alone; all of it is read.
    async fn describe(
        self: &Arc<Self>,
        placement: &Placement,
        pack_id: PackId,
        bytes: u64,
    ) -> Result<(PackVerified, NodeId), Error> {
        let footer = self.read_footer(pack_id, bytes, None).await?;
        self.open_every_record(placement, pack_id, &footer).await?;
        let mut digest = Sha256::new();
        for piece in pieces(bytes) {
            let piece = placement.bucket.get(&pack_name(pack_id), piece).await?;
            digest = compute(move || digest.chain_update(&piece)).await?;
        }
        let texts = &self.settings.texts;
        let first = footer.records.first().map(|record| received_instance(&record.table, texts).identity);
        let node = footer.records.first().map_or(self.node_id(), |record| record.table.provenance.node);
        let pack = PackVerified {
            pack_id,
            owner: self.keys.node_id(),
            study_key_id: footer.study_key_id,
            study_instance_uid: first.map(|identity| identity.study_instance_uid).unwrap_or_default(),
            quarantine: footer.kind == PackKind::Quarantine,
            bytes,
            sha256: digest.finalize().into(),
            created_at: footer.created_at,
        };
        Ok((pack, node))
    }

    async fn is_on_disk(self: &Arc<Self>, pack_id: PackId) -> Result<bool, Error> {
        let road = Arc::clone(self);
        Ok(compute(move || road.packs.open(pack_id).is_ok()).await?)
    }

    /// Nothing vouches for a pack that no log names but what is in it: each record must open to what was received.
    async fn open_every_record(
        &self,
        placement: &Placement,
        pack_id: PackId,
        footer: &PackFooter,
    ) -> Result<(), Error> {
        let name = pack_name(pack_id);
        for record in &footer.records {
            let mut digest = Sha256::new();
            for (number, chunk) in (0u32..).zip(&record.table.chunks) {
                let start = record.offset.saturating_add(chunk.record_offset);
                let range = start..start.saturating_add(u64::from(chunk.sealed_bytes));
                let sealed = placement.bucket.get(&name, range).await?;
                let (key, record_id, chunk) = (record.key.clone(), record.record_id, chunk.clone());
                let opened =
                    compute(move || filmgate_seal::open_chunk(&key, record_id, number, &chunk, &sealed));
                digest.update(opened.await??);
            }
            if <[u8; 32]>::from(digest.finalize()) != record.table.dataset_sha256 {
                return Err(Error::NotAsReceived(record.record_id));
            }
        }
        Ok(())
    }

    /// True when another node was heard of lately.
    fn is_alive(&self, logs: &SiteLogs, node: NodeId) -> bool {
        let heard = logs.merge.last_heard_of(node);
        node != self.node_id()
            && heard.is_some_and(|stamp| {
                self.clock.now().since(stamp.time()) < self.settings.log_heartbeat * DEAD_AFTER_BEATS
            })
    }

    /// Reads footers, some at a time, and enters what they say in windows, in order.
    async fn enter_all(
        self: &Arc<Self>,
        packs: Vec<Candidate>,
        rebuilt: &mut Rebuilt,
        tell: &mut (impl FnMut(RebuildProgress) + Send),
    ) -> Result<(), Error> {
        let mut progress = RebuildProgress { packs: packs.len() as u64, ..RebuildProgress::default() };
        let mut footers = stream::iter(packs)
            .map(|candidate| async move {
                let pack = &candidate.pack;
                let told =
                    self.header_told(pack.pack_id, pack.study_key_id, pack.created_at, pack.quarantine);
                let read = self.read_footer(pack.pack_id, pack.bytes, Some(&told)).await;
                (candidate, read)
            })
            .buffered(READS);
        // While one window is written the next is read.
        let mut next = self.next_window(&mut footers).await?;
        while let Some(window) = next {
            progress.packs_done += window.packs;
            let (entered, following) =
                futures::join!(self.enter_window(window, rebuilt), self.next_window(&mut footers));
            progress.instances += entered?;
            tell(progress);
            next = following?;
        }
        Ok(())
    }

    /// What the next footers say, some thousand instances of them, in order; `None` at the end.
    async fn next_window(
        self: &Arc<Self>,
        footers: &mut (impl Stream<Item = (Candidate, Result<PackFooter, Error>)> + Unpin),
    ) -> Result<Option<Window>, Error> {
        let (mut read, mut waiting) = (Vec::new(), 0);
        let mut window = Window::default();
        while waiting < WINDOW_INSTANCES
            && let Some((candidate, footer)) = footers.next().await
        {
            window.packs += 1;
            match footer {
                Ok(footer) => {
                    waiting += footer.records.len();
                    read.push((candidate, footer));
                }
                Err(error) => window.problems.push(unreadable(&candidate.pack, &error)),
            }
        }
        if window.packs == 0 {
            return Ok(None);
        }
        let placements: Vec<String> = self.placement_names().into_iter().map(str::to_owned).collect();
        let road = Arc::clone(self);
        let make = move || {
            let told =
                read.iter().flat_map(|(candidate, footer)| road.told_in(candidate.pack.pack_id, footer));
            window.told = told.collect();
            let texts = &road.settings.texts;
            let found = read
                .into_iter()
                .map(|(candidate, footer)| found_pack(&candidate, footer, &placements, texts));
            window.found = found.collect();
            window
        };
        Ok(Some(compute(make).await?))
    }

    async fn enter_window(&self, window: Window, rebuilt: &mut Rebuilt) -> Result<u64, Error> {
        let Window { mut found, told, problems, .. } = window;
        rebuilt.problems.extend(problems);
        self.judge_copies(&mut found).await?;
        let instances = found.iter().map(|found| found.instances.len() as u64).sum();
        self.record_told(told).await?;
        let entered = self.catalog.record_found(&found, self.clock.now()).await?;
        let unnamed = found.iter().filter(|found| found.state != InstanceState::Verified).count() as u64;
        rebuilt.packs += entered.saturating_sub(unnamed);
        rebuilt.packs_unnamed += unnamed;
        rebuilt.instances += instances;
        Ok(instances)
    }

    /// What each record is beside those that came before it.
    async fn judge_copies(&self, found: &mut [FoundPack]) -> Result<(), Error> {
        let uids = found.iter().filter(|found| !found.pack.quarantine).flat_map(|found| &found.instances);
        let uids: BTreeSet<&str> =
            uids.map(|found| found.instance.identity.sop_instance_uid.as_str()).collect();
        let known = self.catalog.packed_copies_of(&uids.into_iter().collect::<Vec<_>>()).await?;
        let mut kinds = Kinds::of(&known);
        for pack in found.iter_mut().filter(|found| !found.pack.quarantine) {
            for record in &mut pack.instances {
                record.copy_kind = kinds.next(&record.instance);
            }
        }
        Ok(())
    }

    /// Local copies of what was entered serve on.
    async fn note_local_packs(&self) -> Result<(), Error> {
        for (pack_id, _) in self.packs.list()? {
            if self.catalog.pack(pack_id).await?.is_some() {
                self.catalog.record_cached(pack_id, self.clock.now()).await?;
            }
        }
        Ok(())
    }
}

fn found_pack(candidate: &Candidate, footer: PackFooter, placements: &[String], texts: &Texts) -> FoundPack {
    let pack = &candidate.pack;
    let mut instances: Vec<FoundInstance> = footer
        .records
        .iter()
        .map(|record| FoundInstance {
            instance: received_instance(&record.table, texts),
            offset: record.offset,
            copy_kind: filmgate_catalog::CopyKind::First,
        })
        .collect();
    // As they arrived, whatever order they stand in.
    instances.sort_by_key(|found| (found.instance.provenance.received_at, found.instance.record_id));
    FoundPack {
        pack: said::new_pack(pack),
        node_id: pack.owner,
        state: if candidate.named { InstanceState::Verified } else { InstanceState::Uploaded },
        placements: placements.to_vec(),
        instances,
    }
}

fn unreadable(pack: &PackVerified, error: &Error) -> String {
    let what = match error {
        Error::Keys(_) => format!(
            "its key {} is not to be had: bring back the bucket of keys, or a copy of v1/key/{}/, and run rebuild again",
            pack.study_key_id, pack.study_key_id
        ),
        _ => "bring back its object, or look at the bucket, and run rebuild again".to_owned(),
    };
    format!("pack {} of {} bytes does not open ({}); {what}", pack.pack_id, pack.bytes, chain(error))
}
