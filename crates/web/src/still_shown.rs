//! A long answer is on its way for minutes: what is deleted meanwhile does not go out any more.

use std::collections::HashSet;

use filmgate_model::RecordId;
use filmgate_pipeline::Road;

use crate::Error;

/// Records asked for at a time: what goes out within a moment.
const AT_ONCE: usize = 16;

/// The records of an answer in the order they go out in.
pub(crate) struct StillShown {
    records: Vec<RecordId>,
    next: usize,
    shown: HashSet<RecordId>,
}

impl StillShown {
    pub(crate) fn new(records: impl IntoIterator<Item = RecordId>) -> Self {
        Self { records: records.into_iter().collect(), next: 0, shown: HashSet::new() }
    }

    /// True when the next record of the answer may go out.
    pub(crate) async fn next(&mut self, road: &Road) -> Result<bool, Error> {
        let Some(left) = self.records.get(self.next..).filter(|left| !left.is_empty()) else {
            return Ok(false);
        };
        if self.next.is_multiple_of(AT_ONCE) {
            self.shown = road.catalog().shown(left.get(..AT_ONCE).unwrap_or(left)).await?;
        }
        self.next += 1;
        Ok(left.first().is_some_and(|record_id| self.shown.contains(record_id)))
    }
}
