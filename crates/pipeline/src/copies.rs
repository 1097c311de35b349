//! What becomes of an instance whose SOP Instance UID is known already.
//!
//! The same bytes again change nothing. The same image in another wrapping is kept as a variant. Other content is kept
//! too, and raises an alarm; what came first is what viewers get.

use std::collections::HashMap;

use filmgate_catalog::{Copy as KnownCopy, CopyKind, DroppedCopy, ReceivedInstance, RecordToPack};
use filmgate_model::{InstanceState, RecordId};

/// Records sorted by what becomes of them.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    /// To be packed, and as what.
    pub(crate) packed: Vec<(RecordToPack, CopyKind)>,
    /// To be dropped: each has the same bytes as another that stays.
    pub(crate) dropped: Vec<DroppedCopy>,
}

/// Sorts the records of one pack, in order of arrival, against the copies known before; `stays` says of a known copy
/// whether it is durable and opens, which a copy must be for another to be dropped against it.
pub(crate) fn sort(
    records: Vec<RecordToPack>,
    known: &[KnownCopy],
    stays: impl Fn(RecordId) -> bool,
) -> Sorted {
    let mut by_uid: HashMap<String, Vec<Candidate>> = HashMap::new();
    for copy in known {
        by_uid.entry(copy.sop_instance_uid.clone()).or_default().push(Candidate::known(copy, &stays));
    }
    let mut sorted = Sorted::default();
    for record in records {
        let copies = by_uid.entry(record.sop_instance_uid.clone()).or_default();
        let same = copies.iter().find(|copy| copy.stays && copy.dataset_sha256 == record.dataset_sha256);
        // What a deletion names goes by itself, not as a copy of something that stays.
        if let Some(same) = same.filter(|_| !record.to_be_deleted) {
            sorted.dropped.push(DroppedCopy { record_id: record.record_id, same_as: same.record_id });
            continue;
        }
        let beside: Vec<_> = copies.iter().collect();
        let kind = kind_beside(&beside, &record.dataset_sha256, record.pixel_digest.as_ref());
        // What goes into the same pack is as durable as the record that would be dropped against it.
        copies.push(Candidate::packed(&record));
        sorted.packed.push((record, kind));
    }
    sorted
}

/// What instances that stay in any case are among the copies known so far, one after the other.
pub(crate) struct Kinds(HashMap<String, Vec<Candidate>>);

impl Kinds {
    /// Beside these.
    pub(crate) fn of(known: &[KnownCopy]) -> Self {
        let mut by_uid: HashMap<String, Vec<Candidate>> = HashMap::new();
        for copy in known {
            by_uid.entry(copy.sop_instance_uid.clone()).or_default().push(Candidate::known(copy, |_| true));
        }
        Self(by_uid)
    }

    /// What the next one is; it is one of the known from then on.
    pub(crate) fn next(&mut self, row: &ReceivedInstance) -> CopyKind {
        let copies = self.0.entry(row.identity.sop_instance_uid.clone()).or_default();
        // Entered a second time it is not beside itself.
        let others: Vec<_> = copies.iter().filter(|copy| copy.record_id != row.record_id).collect();
        let kind = kind_beside(&others, &row.dataset_sha256, row.pixel_digest.as_ref());
        copies.push(Candidate {
            record_id: row.record_id,
            dataset_sha256: row.dataset_sha256,
            pixel_digest: row.pixel_digest,
            stays: true,
        });
        kind
    }
}

struct Candidate {
    record_id: RecordId,
    dataset_sha256: [u8; 32],
    pixel_digest: Option<[u8; 32]>,
    stays: bool,
}

impl Candidate {
    fn known(copy: &KnownCopy, stays: impl Fn(RecordId) -> bool) -> Self {
        let durable = matches!(
            copy.state,
            InstanceState::Packed
                | InstanceState::Uploaded
                | InstanceState::Verified
                | InstanceState::Retrying
        );
        Self {
            record_id: copy.record_id,
            dataset_sha256: copy.dataset_sha256,
            pixel_digest: copy.pixel_digest,
            stays: durable && !copy.to_be_deleted && stays(copy.record_id),
        }
    }

    fn packed(record: &RecordToPack) -> Self {
        Self {
            record_id: record.record_id,
            dataset_sha256: record.dataset_sha256,
            pixel_digest: record.pixel_digest,
            stays: !record.to_be_deleted,
        }
    }
}

/// First of its UID; or the same pixels as another; or other content. Equal bytes beside a copy that does not open
/// are no conflict either: they are its replacement.
fn kind_beside(
    copies: &[&Candidate],
    dataset_sha256: &[u8; 32],
    pixel_digest: Option<&[u8; 32]>,
) -> CopyKind {
    let same_pixels = |copy: &Candidate| pixel_digest.is_some() && copy.pixel_digest.as_ref() == pixel_digest;
    let same_bytes = |copy: &Candidate| copy.dataset_sha256 == *dataset_sha256;
    match copies {
        [] => CopyKind::First,
        copies if copies.iter().any(|copy| same_pixels(copy) || same_bytes(copy)) => CopyKind::Variant,
        _ => CopyKind::Conflict,
    }
}

#[cfg(test)]
mod tests {
    use filmgate_model::{NodeId, Random, Timestamp};

    use super::*;

    fn record(n: u8, uid: &str, sha: u8, pixels: Option<u8>) -> RecordToPack {
        RecordToPack {
            record_id: RecordId([n; 16]),
            series_instance_uid: "1.2".into(),
            sop_instance_uid: uid.into(),
            dataset_sha256: [sha; 32],
            pixel_digest: pixels.map(|pixels| [pixels; 32]),
            transfer_syntax_uid: String::new(),
            calling_ae: String::new(),
            record_bytes: 10,
            received_at: Timestamp(i64::from(n)),
            to_be_deleted: false,
        }
    }

    fn known(n: u8, uid: &str, sha: u8, pixels: Option<u8>, state: InstanceState) -> KnownCopy {
        KnownCopy {
            record_id: RecordId([n; 16]),
            node_id: NodeId([0; 16]),
            study_instance_uid: String::new(),
            series_instance_uid: String::new(),
            sop_instance_uid: uid.into(),
            transfer_syntax_uid: String::new(),
            dataset_sha256: [sha; 32],
            pixel_digest: pixels.map(|pixels| [pixels; 32]),
            state,
            quarantine: state == InstanceState::Quarantined,
            packed: true,
            copy_kind: CopyKind::First,
            calling_ae: String::new(),
            to_be_deleted: false,
        }
    }

    fn kinds(sorted: &Sorted) -> Vec<CopyKind> {
        sorted.packed.iter().map(|(_, kind)| *kind).collect()
    }

    #[test]
    fn the_same_bytes_again_change_nothing() {
        let again = vec![record(1, "1", 7, Some(1)), record(2, "1", 7, Some(1)), record(3, "1", 7, Some(1))];
        let sorted = sort(again, &[], |_| true);
        assert_eq!(kinds(&sorted), [CopyKind::First]);
        let dropped: Vec<_> =
            sorted.dropped.iter().map(|dropped| (dropped.record_id.0[0], dropped.same_as.0[0])).collect();
        assert_eq!(dropped, [(2, 1), (3, 1)]);
    }

    #[test]
    fn a_copy_is_dropped_only_against_one_that_stays() {
        for (state, stays, drops) in [
            (InstanceState::Verified, true, 1),
            (InstanceState::Packed, true, 1),
            (InstanceState::Verified, false, 0),
            (InstanceState::Deleted, true, 0),
            (InstanceState::Damaged, true, 0),
            (InstanceState::Received, true, 0),
            (InstanceState::Quarantined, true, 0),
        ] {
            let before = [known(9, "1", 7, None, state)];
            let sorted = sort(vec![record(1, "1", 7, None)], &before, |_| stays);
            assert_eq!(sorted.dropped.len(), drops, "{state} {stays}");
            assert_eq!(sorted.packed.len(), 1 - drops);
        }
    }

    /// What was sent again after somebody asked to delete the first must not go with it, wherever either is by then.
    #[test]
    fn nothing_is_dropped_that_a_deletion_names_or_against_it() {
        let named = |record: RecordToPack| RecordToPack { to_be_deleted: true, ..record };
        let before = KnownCopy { to_be_deleted: true, ..known(9, "1", 7, None, InstanceState::Verified) };
        let sorted = sort(vec![record(1, "1", 7, None)], &[before], |_| true);
        assert_eq!((kinds(&sorted), sorted.dropped.len()), (vec![CopyKind::Variant], 0));
        let sorted = sort(vec![named(record(1, "1", 7, None)), record(2, "1", 7, None)], &[], |_| true);
        assert_eq!((sorted.packed.len(), sorted.dropped.len()), (2, 0));
        let before = [known(9, "1", 7, None, InstanceState::Verified)];
        let sorted = sort(vec![named(record(1, "1", 7, None))], &before, |_| true);
        assert_eq!((sorted.packed.len(), sorted.dropped.len()), (1, 0));
    }

    #[test]
    fn other_wrapping_is_a_variant_and_other_content_a_conflict() {
        let before = [known(9, "1", 7, Some(3), InstanceState::Verified)];
        let arriving = vec![
            record(1, "1", 8, Some(3)),
            record(2, "1", 9, Some(4)),
            record(3, "1", 10, None),
            record(4, "2", 7, Some(3)),
        ];
        let sorted = sort(arriving, &before, |_| true);
        let expected = [CopyKind::Variant, CopyKind::Conflict, CopyKind::Conflict, CopyKind::First];
        assert_eq!(kinds(&sorted), expected);
    }

    /// Whatever arrives, each record is either packed or dropped against one that is packed or stays.
    #[test]
    fn nothing_is_dropped_against_something_dropped() {
        let random = Random::seeded(5);
        for _ in 0..200 {
            let arriving: Vec<_> = (0..12)
                .map(|n| record(n, ["1", "2"][random.below(2) as usize], random.below(3) as u8, None))
                .collect();
            let before = [known(99, "1", random.below(3) as u8, None, InstanceState::Verified)];
            let sorted = sort(arriving, &before, |_| true);
            let kept: Vec<_> = sorted
                .packed
                .iter()
                .map(|(record, _)| record.record_id)
                .chain([RecordId([99; 16])])
                .collect();
            assert_eq!(sorted.packed.len() + sorted.dropped.len(), 12);
            assert!(sorted.dropped.iter().all(|dropped| kept.contains(&dropped.same_as)));
        }
    }
}
