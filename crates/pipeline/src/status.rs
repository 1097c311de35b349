//! How the road stands: what the status page, `filmgate status` and the metrics show.

use std::{collections::BTreeMap, time::Duration};

use filmgate_catalog::Pack;
use filmgate_model::{InstanceState, NodeId, PackId, RecordId, SiteId, Timestamp};
use serde::Serialize;

use crate::{
    BookStatus, Error, FollowStatus, KeysStatus, LogStatus, NodeStatus, Notice, Placement, Probed, Road,
};

/// States between receipt and verification.
const ON_THEIR_WAY: [InstanceState; 4] =
    [InstanceState::Received, InstanceState::Packed, InstanceState::Uploaded, InstanceState::Retrying];

/// Rows shown of each list.
const ROWS_MAX: u32 = 50;

/// The road at one moment.
#[derive(Debug, Serialize)]
pub struct Status {
    /// When this was asked.
    pub at: Timestamp,
    /// The site.
    pub site_id: SiteId,
    /// Who answers.
    pub node_id: NodeId,
    /// Instances in each state; every state is there.
    pub states: BTreeMap<InstanceState, u64>,
    /// What is received and not verified yet; nothing when everything is safe elsewhere.
    pub waiting: Waiting,
    /// When the oldest instance that is not verified was received.
    pub oldest_unverified_at: Option<Timestamp>,
    /// Arrivals that were dropped because the same bytes are kept.
    pub copies_dropped: u64,
    /// Which database the catalog is in: `sqlite` or `postgresql`.
    pub catalog: &'static str,
    /// Instances kept beside another with the same pixels in other wrapping.
    pub variants: u64,
    /// Instances kept beside another with other content under the same UID.
    pub conflicts: u64,
    /// Instances hidden until their deletion is carried out.
    pub hidden: u64,
    /// Room on the local disk.
    pub spool: SpoolStatus,
    /// The keys, and who keeps them.
    pub keys: KeysStatus,
    /// The buckets every pack must reach.
    pub placements: Vec<PlacementStatus>,
    /// The nodes of the site, and what only they hold.
    pub nodes: Vec<NodeStatus>,
    /// The bucket's log as this node writes it.
    pub log: LogStatus,
    /// What only the catalog holds, and when it was exported last.
    pub book: BookStatus,
    /// How far a follower is behind; absent where nothing is followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follow: Option<FollowStatus>,
    /// Packs that wait for another try.
    pub retrying: Vec<RetryingPack>,
    /// Instances that could not be understood, newest first.
    pub quarantined: Vec<Quarantined>,
    /// What somebody should look at, newest first.
    pub alarms: Vec<Alarm>,
    /// What somebody should do in good time.
    pub notices: Vec<Notice>,
}

/// A placement, and what it was found to do.
#[derive(Debug, Serialize)]
pub struct PlacementStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Absent until it was asked; see [`Probed`].
    pub probe: Option<Probed>,
}

/// Instances between receipt and verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// How many.
    pub instances: u64,
    /// Bytes of their datasets as received.
    pub dataset_bytes: u64,
    /// How long the oldest waits, in milliseconds; 0 when none does.
    pub oldest_ms: u64,
}

/// Room on the local disk, in bytes.
#[derive(Debug, Serialize)]
pub struct SpoolStatus {
    /// What the journal may take.
    pub bytes_max: u64,
    /// What it takes of that, in segments that hold records.
    pub used_bytes: u64,
    /// Of instances that are not in a pack yet.
    pub unpacked_bytes: u64,
    /// Of instances that are still arriving.
    pub uncommitted_bytes: u64,
    /// Free on the disk.
    pub disk_free_bytes: u64,
    /// Packs on the local disk.
    pub packs_bytes: u64,
    /// Kept of packs that are elsewhere; no copy that counts.
    pub cached_bytes: u64,
    /// True when associations are accepted.
    pub accepting: bool,
}

/// A pack that waits for another try.
#[derive(Debug, Serialize)]
pub struct RetryingPack {
    /// The pack.
    pub pack_id: PackId,
    /// Tries that failed.
    pub attempts: u64,
    /// Why the last one did.
    pub reason: String,
    /// When the next one is.
    pub next_try_at: Option<Timestamp>,
    /// How it stands in each placement.
    pub placements: Vec<PlacementOfPack>,
}

/// How a pack stands in one placement.
#[derive(Debug, Serialize)]
pub struct PlacementOfPack {
    /// The placement.
    pub name: String,
    /// It was put there.
    pub uploaded: bool,
    /// It was proven equal there.
    pub verified: bool,
    /// Tries in a row that failed.
    pub attempts: u64,
    /// Why the last one did.
    pub reason: Option<String>,
    /// When the next one is.
    pub next_try_at: Option<Timestamp>,
}

/// An instance kept apart.
#[derive(Debug, Serialize)]
pub struct Quarantined {
    /// Its record.
    pub record_id: RecordId,
    /// Why.
    pub reason: String,
    /// When it came.
    pub received_at: Timestamp,
    /// Size of its dataset.
    pub dataset_bytes: u64,
}

/// Something a person should look at.
#[derive(Debug, Serialize)]
pub struct Alarm {
    /// What it is about.
    pub kind: &'static str,
    /// The record or pack.
    pub subject: String,
    /// What was seen; never a patient's data.
    pub detail: String,
    /// Since when.
    pub raised_at: Timestamp,
}

impl Road {
    /// How things stand now.
    ///
    /// # Errors
    /// When catalog or disk cannot be asked.
    pub async fn status(&self) -> Result<Status, Error> {
        // Before the catalog is asked: what enters it meanwhile is counted twice rather than not at all.
        let not_entered = self.not_entered();
        let totals = self.catalog.totals().await?;
        let sums = self.catalog.sums_by_state().await?;
        let count = |state| (state, sums.get(&state).copied().unwrap_or_default().instances);
        let (at, oldest_unverified_at) = (self.clock.now(), self.catalog.oldest_unverified().await?);
        let on_their_way = ON_THEIR_WAY.iter().filter_map(|state| sums.get(state)).chain([&not_entered]);
        let oldest = oldest_unverified_at.map_or(Duration::ZERO, |oldest| at.since(oldest));
        Ok(Status {
            at,
            site_id: self.keys.site_id(),
            node_id: self.keys.node_id(),
            states: InstanceState::ALL.into_iter().map(count).collect(),
            waiting: Waiting {
                instances: on_their_way.clone().map(|count| count.instances).sum(),
                dataset_bytes: on_their_way.map(|count| count.dataset_bytes).sum(),
                oldest_ms: u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX),
            },
            oldest_unverified_at,
            copies_dropped: totals.copies_dropped,
            variants: totals.variants,
            conflicts: totals.conflicts,
            hidden: totals.hidden,
            spool: self.spool_status(totals.local_pack_bytes)?,
            catalog: self.catalog.engine_name(),
            keys: self.keys_status(),
            placements: self.placements.iter().map(|placement| self.placement_status(placement)).collect(),
            nodes: self.nodes().await?,
            log: self.log_status().await?,
            book: self.book_status().await?,
            follow: self.follow_status(),
            retrying: self.retrying().await?,
            quarantined: self.quarantined().await?,
            alarms: self.alarms().await?,
            notices: self.notices(),
        })
    }

    fn spool_status(&self, packs_bytes: u64) -> Result<SpoolStatus, Error> {
        let room = self.journal.room();
        Ok(SpoolStatus {
            bytes_max: room.pool_bytes_max,
            used_bytes: room.pool_bytes_max.saturating_sub(room.free_bytes),
            unpacked_bytes: room.unpacked_bytes,
            uncommitted_bytes: room.uncommitted_bytes,
            disk_free_bytes: self.disk_free_bytes()?,
            packs_bytes,
            cached_bytes: self.cached.bytes(),
            accepting: self.refusal()?.is_none(),
        })
    }

    fn placement_status(&self, placement: &Placement) -> PlacementStatus {
        let name = placement.name.clone();
        PlacementStatus { probe: self.probed_of(&name), name }
    }

    async fn retrying(&self) -> Result<Vec<RetryingPack>, Error> {
        let rows = self.catalog.retrying(ROWS_MAX).await?.into_iter().map(|pack| RetryingPack {
            placements: self.placements.iter().map(|placement| of_pack(&placement.name, &pack)).collect(),
            pack_id: pack.pack_id,
            attempts: pack.attempts,
            reason: pack.reason.unwrap_or_default(),
            next_try_at: pack.next_try_at,
        });
        Ok(rows.collect())
    }

    async fn quarantined(&self) -> Result<Vec<Quarantined>, Error> {
        let rows = self.catalog.quarantined(ROWS_MAX).await?.into_iter().map(|record| Quarantined {
            record_id: record.record_id,
            reason: record.reason.unwrap_or_default(),
            received_at: record.received_at,
            dataset_bytes: record.dataset_bytes,
        });
        Ok(rows.collect())
    }

    async fn alarms(&self) -> Result<Vec<Alarm>, Error> {
        let rows =
            self.catalog.alarms().await?.into_iter().rev().take(ROWS_MAX as usize).map(|alarm| Alarm {
                kind: alarm.kind.as_str(),
                subject: alarm.subject,
                detail: alarm.detail,
                raised_at: alarm.raised_at,
            });
        Ok(self.keeper_alarm().into_iter().chain(self.changed_alarm()).chain(rows).collect())
    }
}

fn of_pack(name: &str, pack: &Pack) -> PlacementOfPack {
    let have = pack.placements.iter().find(|have| have.placement == name);
    let tried = pack.tries.iter().find(|tried| tried.placement == name);
    PlacementOfPack {
        name: name.to_owned(),
        uploaded: have.is_some(),
        verified: have.is_some_and(|have| have.verified_at.is_some()),
        attempts: tried.map_or(0, |tried| tried.attempts),
        reason: tried.map(|tried| tried.reason.clone()),
        next_try_at: tried.map(|tried| tried.next_try_at),
    }
}
