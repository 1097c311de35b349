//! What the local disk reports.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use crate::Room;

pub(crate) fn sync_round(took: Duration) {
    counter!("filmgate_journal_sync_rounds_total").increment(1);
    histogram!("filmgate_journal_sync_seconds").record(took.as_secs_f64());
}

pub(crate) fn written(bytes: u64) {
    counter!("filmgate_journal_written_bytes_total").increment(bytes);
}

pub(crate) fn failure() {
    counter!("filmgate_journal_failures_total").increment(1);
}

pub(crate) fn room(room: &Room) {
    gauge!("filmgate_journal_free_bytes").set(room.free_bytes as f64);
    gauge!("filmgate_journal_unpacked_bytes").set(room.unpacked_bytes as f64);
    gauge!("filmgate_journal_uncommitted_bytes").set(room.uncommitted_bytes as f64);
    gauge!("filmgate_journal_records").set(room.records as f64);
}

pub(crate) fn mirror_dropped() {
    counter!("filmgate_mirror_failures_total").increment(1);
}
