//! Which role may state what. A batch carries the roles of its node, sealed and signed with the facts.

use crate::body::Body;

/// A role of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Role {
    /// Receives instances.
    Receive = 0,
    /// Puts packs into buckets.
    Upload = 1,
    /// Fetches what is missing.
    Pull = 2,
    /// Answers queries, serves instances, and is where people decide.
    Retrieve = 3,
    /// Prints film.
    Film = 4,
    /// Watches over the others.
    Watch = 5,
    /// Follows the log and serves from the bucket; states nothing.
    Follow = 6,
    /// Faces the internet; sees no log.
    Share = 7,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 8] = [
        Self::Receive,
        Self::Upload,
        Self::Pull,
        Self::Retrieve,
        Self::Film,
        Self::Watch,
        Self::Follow,
        Self::Share,
    ];

    /// The word for it in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Upload => "upload",
            Self::Pull => "pull",
            Self::Retrieve => "retrieve",
            Self::Film => "film",
            Self::Watch => "watch",
            Self::Follow => "follow",
            Self::Share => "share",
        }
    }
}

/// The roles of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Roles(u16);

impl Roles {
    /// Every role of a gateway that stands alone: all but follow and share.
    pub const GATEWAY: Self = Self(0b0011_1111);

    /// Roles from their bits: role `n` is bit `n`. Bits of roles not known here stay.
    #[must_use]
    pub fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Their bits.
    #[must_use]
    pub fn bits(self) -> u16 {
        self.0
    }

    /// With one more role.
    #[must_use]
    pub fn with(self, role: Role) -> Self {
        Self(self.0 | 1 << role as u8)
    }

    /// True when the role is among them.
    #[must_use]
    pub fn has(self, role: Role) -> bool {
        self.0 & 1 << role as u8 != 0
    }

    /// True when a node of these roles may state such a fact. Of packs there is more to it: see
    /// [`crate::Merge::pack`].
    #[must_use]
    pub fn may_state(self, body: &Body) -> bool {
        allowed(body).iter().any(|role| self.has(*role))
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        roles.into_iter().fold(Self::default(), Self::with)
    }
}

/// The table. `follow` and `share` stand in no row: they state nothing.
fn allowed(body: &Body) -> &'static [Role] {
    use Role::{Film, Pull, Receive, Retrieve, Upload, Watch};
    match body {
        Body::PackVerified(_) | Body::PackReplaced { .. } | Body::PackDeleted { .. } => &[Upload],
        Body::NodeAdopted { .. } => &[Upload],
        Body::KeyGeneration { .. } | Body::KeyShredded { .. } => &[Receive, Upload],
        Body::DeleteRequested { .. }
        | Body::DeleteNames { .. }
        | Body::DeleteConfirmed { .. }
        | Body::DeleteWithdrawn { .. }
        | Body::Hold { .. }
        | Body::HoldReleased { .. }
        | Body::Retention { .. }
        | Body::Correction(_) => &[Retrieve],
        Body::RetentionRule { .. } => &[Receive, Upload],
        Body::DeleteDone { .. } => &[Upload],
        Body::Heartbeat { .. } => &[Receive, Upload, Pull, Retrieve, Film, Watch],
        // What it means is not known here, so neither is who may say it: whoever knows decides.
        Body::Unknown { .. } => &Role::ALL,
    }
}

#[cfg(test)]
mod tests {
    use filmgate_model::{FactId, PackId};

    use super::*;

    #[test]
    fn followers_and_shares_state_nothing_that_is_known() {
        let outside = Roles::default().with(Role::Follow).with(Role::Share);
        let heartbeat = Body::Heartbeat { read: Vec::new() };
        let hold = Body::HoldReleased { hold: FactId([0; 16]), study: "1.2".into(), why: Default::default() };
        let deleted = Body::PackDeleted { pack_id: PackId([0; 16]), why: Default::default() };
        for body in [&heartbeat, &hold, &deleted] {
            assert!(!outside.may_state(body), "{body:?}");
            assert!(Roles::GATEWAY.may_state(body), "{body:?}");
        }
        assert!(!Roles::GATEWAY.has(Role::Follow) && !Roles::GATEWAY.has(Role::Share));
        let receiver: Roles = [Role::Receive].into_iter().collect();
        assert!(
            receiver.may_state(&heartbeat) && !receiver.may_state(&deleted) && !receiver.may_state(&hold)
        );
    }
}
