//! Which state may follow which. The one table; every guard in a `WHERE` clause is made from it.

use filmgate_model::InstanceState::{self, *};

/// From each state, the states an instance (and the pack that holds it) may move to.
const TRANSITIONS: &[(InstanceState, &[InstanceState])] = &[
    (Received, &[Packed, Quarantined, Damaged, Deleted, Absent]),
    (Packed, &[Uploaded, Retrying, Damaged, Deleted, Absent]),
    (Uploaded, &[Verified, Retrying, Damaged, Deleted, Absent]),
    // A scrub that finds a placement wanting has it uploaded again.
    (Verified, &[Retrying, Damaged, Deleted, Absent]),
    (Retrying, &[Uploaded, Verified, Damaged, Deleted, Absent]),
    (Quarantined, &[Damaged, Deleted, Absent]),
    // Repaired from another copy.
    (Damaged, &[Retrying, Verified, Deleted, Absent]),
    (Deleted, &[]),
    // Whatever it was when its node left.
    (Absent, &[Received, Packed, Uploaded, Verified, Retrying, Quarantined, Damaged, Deleted]),
];

/// True when an instance may move from one state to another. Staying is not a move.
#[must_use]
pub fn may_become(from: InstanceState, to: InstanceState) -> bool {
    TRANSITIONS.iter().any(|(state, next)| *state == from && next.contains(&to))
}

/// The states from which `to` may be reached, as SQL text for `state IN (…)`; words of ours, nothing from outside.
pub(crate) fn sources_sql(to: InstanceState) -> String {
    let sources = InstanceState::ALL.into_iter().filter(|from| may_become(*from, to));
    let quoted: Vec<String> = sources.map(|from| format!("'{from}'")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_is_decided_and_the_rules_hold() {
        for from in InstanceState::ALL {
            assert!(!may_become(from, from), "staying in {from} is not a move");
            assert!(!may_become(Deleted, from), "nothing comes back from deleted");
            assert_eq!(may_become(from, Deleted), from != Deleted, "anything can be deleted once: {from}");
            for to in InstanceState::ALL {
                let listed = sources_sql(to).contains(&format!("'{from}'"));
                assert_eq!(listed, may_become(from, to), "{from} to {to}");
            }
        }
    }

    #[test]
    fn nothing_is_verified_that_was_not_uploaded() {
        for from in [Received, Packed, Quarantined, Deleted] {
            assert!(!may_become(from, Verified), "{from}");
        }
        for from in [Packed, Uploaded, Verified, Retrying] {
            assert!(!may_become(from, Received) && !may_become(from, Quarantined), "{from} never goes back");
        }
    }

    #[test]
    fn the_table_names_every_state_once() {
        let listed: Vec<_> = TRANSITIONS.iter().map(|(state, _)| *state).collect();
        assert_eq!(
            listed,
            [Received, Packed, Uploaded, Verified, Retrying, Quarantined, Damaged, Deleted, Absent]
        );
    }
}
