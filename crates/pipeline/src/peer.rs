//! Between the nodes of a site: what only one of them holds, it gives to the others as it is, sealed, with the key wrapped
//! under what they share. So every way out (DICOMweb, export, film) works for an instance of another node.
//!
//! What is in a bucket never takes this way. A node that is away keeps what it holds: that is shown, and comes back with
//! the node or with `filmgate adopt`.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use filmgate_bucket::Bucket;
use filmgate_catalog::{Location, Node, RetentionRule};
use filmgate_keys::PEER_KEY_BYTES;
use filmgate_model::{InstanceState, NodeId, RecordId, Timestamp};
use filmgate_seal::{RecordKey, RecordTable};
use parking_lot::Mutex;
use serde::Serialize;

use crate::{Error, OpenRecord, Road, open_record::Place};

/// Bytes that one node gives another at a time; longer ranges are asked for in pieces.
pub const HELD_RANGE_BYTES_MAX: u64 = 8 << 20;
/// Length of what [`Road::held_key`] gives: the record's length, and its wrapped key.
const HELD_KEY_BYTES: usize = 8 + PEER_KEY_BYTES;

/// Makes a store of the address of a node; what it speaks is not this crate's business.
pub type Reach = Box<dyn Fn(&str) -> Arc<dyn Bucket> + Send + Sync>;

/// How the other nodes of the site are reached.
pub struct Peers {
    /// Where they reach this one; `None` when it gives them nothing.
    pub own_url: Option<String>,
    /// How a store is made of an address; `None` when none is asked.
    pub reach: Option<Reach>,
    /// How often this node says that it is here.
    pub announce_every: Duration,
    /// A node that has not said for so long that it is here is away.
    pub absent_after: Duration,
}

impl Default for Peers {
    /// Alone.
    fn default() -> Self {
        Self {
            own_url: None,
            reach: None,
            announce_every: Duration::from_secs(5),
            absent_after: Duration::from_secs(20),
        }
    }
}

/// The other nodes, and the stores that were made for them.
pub(crate) struct KnownPeers {
    peers: Peers,
    started_at: Timestamp,
    open: Mutex<HashMap<String, Arc<dyn Bucket>>>,
    /// How long this node keeps every study was said.
    rule_stated: AtomicBool,
}

impl KnownPeers {
    pub(crate) fn new(peers: Peers, started_at: Timestamp) -> Self {
        Self { peers, started_at, open: Mutex::default(), rule_stated: AtomicBool::new(false) }
    }

    fn store(&self, url: &str) -> Option<Arc<dyn Bucket>> {
        let reach = self.peers.reach.as_ref()?;
        Some(Arc::clone(self.open.lock().entry(url.to_owned()).or_insert_with(|| reach(url))))
    }
}

/// A node of the site as it stands.
#[derive(Debug, Clone, Serialize)]
pub struct NodeStatus {
    /// The node.
    pub node_id: NodeId,
    /// It is the one that answers.
    pub this: bool,
    /// It was here not long ago.
    pub present: bool,
    /// When it was last here.
    pub last_seen_at: Option<Timestamp>,
    /// Instances that only it holds for sure.
    pub held: u64,
}

impl Road {
    /// Says that this node is here.
    ///
    /// # Errors
    /// When the catalog cannot be written.
    pub async fn announce(&self) -> Result<(), Error> {
        let (peers, now) = (&self.peers, self.clock.now());
        self.catalog.announce_node(peers.peers.own_url.as_deref(), peers.started_at, now).await?;
        if !peers.rule_stated.load(Ordering::Relaxed) {
            // Whoever shares the catalog is bound by it at once; others hear of it by the log.
            let years = self.settings.retention_years;
            let rule = RetentionRule { node_id: self.node_id(), years, stated_at: now };
            self.catalog.note_retention_rules(&[rule], &[]).await?;
            peers.rule_stated.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// How often it should.
    #[must_use]
    pub fn announce_every(&self) -> Duration {
        self.peers.peers.announce_every
    }

    /// Every node of the site that is known.
    ///
    /// # Errors
    /// When the catalog cannot be asked.
    pub async fn nodes(&self) -> Result<Vec<NodeStatus>, Error> {
        let nodes = self.catalog.nodes().await?.into_iter().map(|node| NodeStatus {
            node_id: node.node_id,
            this: node.node_id == self.node_id(),
            present: self.is_present(&node),
            last_seen_at: node.last_seen_at,
            held: node.held,
        });
        Ok(nodes.collect())
    }

    fn is_present(&self, node: &Node) -> bool {
        let near = |seen: Timestamp| self.clock.now().since(seen) <= self.peers.peers.absent_after;
        node.node_id == self.node_id() || node.last_seen_at.is_some_and(near)
    }

    /// What a record's state is called where it is shown: one that only an absent node holds is absent.
    #[must_use]
    pub fn shown_state(&self, location: &Location, nodes: &[NodeStatus]) -> InstanceState {
        let away = nodes.iter().any(|node| node.node_id == location.node_id && !node.present);
        if away && self.is_held_elsewhere(location) { InstanceState::Absent } else { location.state }
    }

    /// True when the bytes are to be had from another node only.
    pub(crate) fn is_held_elsewhere(&self, location: &Location) -> bool {
        let placed = location.pack.as_ref().is_some_and(|pack| pack.placed);
        location.node_id != self.node_id() && !placed && location.state != InstanceState::Deleted
    }

    /// For another node: the record's length (8 bytes, little endian) and its key, wrapped for a node of this site. Only
    /// what this node holds itself.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it does not; or when it cannot be read.
    pub async fn held_key(self: &Arc<Self>, record_id: RecordId) -> Result<Vec<u8>, Error> {
        let record = self.held(record_id).await?;
        let wrapped = self.keys.wrap_for_peer(record_id, record.key())?;
        Ok([record.table().record_bytes.to_le_bytes().as_slice(), &wrapped].concat())
    }

    /// For another node: a record that this one holds itself, to give its sealed bytes.
    ///
    /// # Errors
    /// As [`Road::held_key`].
    pub async fn held(self: &Arc<Self>, record_id: RecordId) -> Result<OpenRecord, Error> {
        let record = self.open(record_id).await?;
        if record.is_elsewhere() { Err(Error::NotFound(record_id)) } else { Ok(record) }
    }

    /// Key and table of a record that another node holds.
    pub(crate) async fn held_elsewhere(
        self: &Arc<Self>,
        record_id: RecordId,
        node_id: NodeId,
    ) -> Result<(RecordKey, RecordTable), Error> {
        self.opened_by_peer(record_id, node_id).await.map_err(|error| error.held_by(node_id, record_id))
    }

    async fn opened_by_peer(
        self: &Arc<Self>,
        record_id: RecordId,
        node_id: NodeId,
    ) -> Result<(RecordKey, RecordTable), Error> {
        let answer = self.ask_peer(node_id, record_id, "key", 0..HELD_KEY_BYTES as u64).await?;
        let (length, wrapped) =
            answer.split_first_chunk::<8>().ok_or(Error::Held { record_id, node_id, source: None })?;
        let (end, key) = (u64::from_le_bytes(*length), self.keys.unwrap_from_peer(record_id, wrapped)?);
        let trailer_start = end.saturating_sub(filmgate_seal::TRAILER_BYTES as u64);
        let trailer = self.ask_peer(node_id, record_id, "sealed", trailer_start..end).await?;
        let range = filmgate_seal::table_range(end, &trailer)?;
        let sealed = self.ask_peer(node_id, record_id, "sealed", range).await?;
        let table = filmgate_seal::open_table(&key, record_id, &sealed)?;
        Ok((key, table))
    }

    /// A range of what another node gives of a record.
    pub(crate) async fn ask_peer(
        &self,
        node_id: NodeId,
        record_id: RecordId,
        what: &str,
        range: Range<u64>,
    ) -> Result<Bytes, Error> {
        let held = |error: Error| error.held_by(node_id, record_id);
        let url = self.catalog.node_url(node_id).await.map_err(|error| held(error.into()))?;
        let store = url.and_then(|url| self.peers.store(&url));
        let store = store.ok_or(Error::Held { record_id, node_id, source: None })?;
        let name = format!("records/{record_id}/{what}");
        let mut bytes = BytesMut::new();
        for piece in pieces(range) {
            bytes.extend_from_slice(&store.get(&name, piece).await.map_err(|error| held(error.into()))?);
        }
        Ok(bytes.freeze())
    }
}

/// A range in pieces of what is given at a time.
fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let (count, end) = ((range.end.saturating_sub(range.start)).div_ceil(HELD_RANGE_BYTES_MAX), range.end);
    (0..count)
        .map(move |n| range.start + n * HELD_RANGE_BYTES_MAX)
        .map(move |start| start..end.min(start.saturating_add(HELD_RANGE_BYTES_MAX)))
}

impl Place {
    /// True when another node gives the bytes.
    pub(crate) fn is_elsewhere(self) -> bool {
        matches!(self, Self::Peer { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_range_is_asked_for_in_pieces_that_are_given() {
        let all = |range| pieces(range).collect::<Vec<_>>();
        assert_eq!(all(5..5), []);
        assert_eq!(all(5..9), Vec::from_iter(Some(5..9)));
        let (start, long) = (7, 2 * HELD_RANGE_BYTES_MAX + 1);
        let asked = all(start..start + long);
        assert_eq!(asked.len(), 3);
        assert!(asked.iter().all(|piece| piece.end - piece.start <= HELD_RANGE_BYTES_MAX));
        assert!(asked.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert_eq!((asked[0].start, asked[2].end), (start, start + long));
        assert_eq!(all(u64::MAX - 1..u64::MAX), Vec::from_iter(Some(u64::MAX - 1..u64::MAX)));
    }
}
