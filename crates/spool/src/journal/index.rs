//! Which records the journal holds, and where their pieces lie.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use filmgate_model::RecordId;

use super::{
    JournalRecord,
    sync::{Outcome, Ticket},
};

/// Consecutive bytes of a record in one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) record_offset: u64,
    pub(super) segment: u32,
    pub(super) file_offset: u64,
    pub(super) bytes: u32,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record_bytes: u64,
    pub(super) wrapped_key: Box<[u8]>,
    /// In the order of the record's bytes.
    pub(super) pieces: Arc<[Piece]>,
    /// The segments it holds.
    pub(super) segments: Vec<u32>,
    pub(super) frame_bytes: u64,
    pub(super) durable: bool,
    /// Its place in the order of arrival.
    pub(super) order: u64,
}

/// A record whose commit frame is written and waits for a sync.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) record_id: RecordId,
    /// The last sync round that had begun when its last frame was written: a later one makes it durable.
    pub(super) after_round: u64,
    pub(super) ticket: Ticket,
}

#[derive(Default)]
pub(super) struct Index {
    entries: HashMap<RecordId, Entry>,
    arrival: BTreeMap<u64, RecordId>,
    next_order: u64,
    /// Bytes of the frames of all records in here.
    pub(super) frame_bytes: u64,
}

impl Index {
    pub(super) fn insert(&mut self, id: RecordId, mut entry: Entry) {
        entry.order = self.next_order;
        self.next_order += 1;
        self.arrival.insert(entry.order, id);
        self.frame_bytes += entry.frame_bytes;
        self.entries.insert(id, entry);
    }

    pub(super) fn remove(&mut self, id: RecordId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.arrival.remove(&entry.order);
        self.frame_bytes = self.frame_bytes.saturating_sub(entry.frame_bytes);
        Some(entry)
    }

    pub(super) fn has(&self, id: RecordId) -> bool {
        self.entries.contains_key(&id)
    }

    /// The record, durable or not.
    pub(super) fn entry(&self, id: RecordId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// The record, once it is durable.
    pub(super) fn durable(&self, id: RecordId) -> Option<&Entry> {
        self.entries.get(&id).filter(|entry| entry.durable)
    }

    pub(super) fn mark_durable(&mut self, id: RecordId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.durable = true;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Durable records in order of arrival.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (RecordId, &Entry)> {
        self.arrival.values().filter_map(|&id| Some((id, self.durable(id)?)))
    }
}

impl Entry {
    pub(super) fn describe(&self, record_id: RecordId) -> JournalRecord {
        JournalRecord { record_id, record_bytes: self.record_bytes, wrapped_key: self.wrapped_key.to_vec() }
    }
}

impl Pending {
    pub(super) fn resolve(&self, outcome: Outcome) {
        self.ticket.set(outcome);
    }
}
