//! What the logs say beyond which packs there are, entered into a catalog that does not know it: what people decided about
//! studies, and packs that were replaced or go.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use filmgate_catalog::{Because, CustodyFound, DeletionFound, FoundKey, FoundPack, Hold, NewPack, Retention};
use filmgate_log::{
    DeletionStated, HoldStated, KeptStated, Merge, PackStanding, PackVerified, StudyStanding, Target, Why,
};
use filmgate_model::{FactId, InstanceState, NodeId, PackId, StudyKeyId};

use crate::{Error, Placement, Road, retrieve::pack_name};

/// Studies entered at a time.
const STUDIES_AT_ONCE: usize = 256;

impl Road {
    /// Enters what the logs say of holds, times to keep and deletions of these studies, and brings it to their records.
    pub(crate) async fn enter_custody(&self, merge: &Merge, studies: &[&str]) -> Result<(), Error> {
        for some in studies.chunks(STUDIES_AT_ONCE) {
            let found: Vec<_> = some.iter().map(|study| custody(study, merge.study(study))).collect();
            self.catalog.restore_custody(&found).await?;
        }
        if !studies.is_empty() {
            self.catalog.restore_deletions(self.clock.now()).await?;
        }
        Ok(())
    }

    /// Follows replacements and deletions of packs the catalog knows. Those that cannot be followed before something else
    /// is known are given back.
    pub(crate) async fn follow_packs(
        self: &Arc<Self>,
        merge: &Merge,
        packs: BTreeSet<PackId>,
    ) -> Result<BTreeSet<PackId>, Error> {
        let mut later = BTreeSet::new();
        for pack_id in packs {
            let known = self.catalog.pack(pack_id).await?;
            if known.is_some_and(|known| known.state != InstanceState::Deleted)
                && !self.follow_pack(merge, pack_id).await?
            {
                later.insert(pack_id);
            }
        }
        Ok(later)
    }

    async fn follow_pack(self: &Arc<Self>, merge: &Merge, pack_id: PackId) -> Result<bool, Error> {
        let now = self.clock.now();
        // What lives moves before the rest goes.
        if let Some(by) = merge.replaced_by(pack_id) {
            let Some(other) = self.catalog.pack(by).await? else { return Ok(false) };
            let footer = self.read_footer(by, other.bytes, None).await?;
            let records: Vec<_> =
                footer.records.iter().map(|record| (record.record_id, record.offset)).collect();
            self.catalog.follow_replacement(pack_id, by, &records, now).await?;
            self.contents.remove(&pack_id);
        }
        match merge.pack(pack_id) {
            PackStanding::Deleted(_) => {
                self.catalog.follow_deletion(pack_id, now).await?;
                self.forget_pack(pack_id).await?;
                Ok(true)
            }
            PackStanding::Replaced { .. } => Ok(true),
            // What would make it so may not have been read yet.
            PackStanding::Unknown | PackStanding::Live(_) | PackStanding::Disputed(_) => Ok(false),
        }
    }

    /// Enters the keys of packs that live no more and that nobody destroyed, of this node or of all: copies of such packs open
    /// until they are.
    pub(crate) async fn enter_keys(&self, merge: &Merge, of_node: Option<NodeId>) -> Result<(), Error> {
        let (mut gone, mut living) = (BTreeMap::<StudyKeyId, FoundKey>::new(), BTreeSet::new());
        for (_, standing) in merge.packs() {
            let pack = match standing {
                PackStanding::Deleted(pack) | PackStanding::Replaced { pack, .. } => pack,
                PackStanding::Live(pack) | PackStanding::Disputed(pack) => {
                    living.insert(pack.study_key_id);
                    continue;
                }
                PackStanding::Unknown => continue,
            };
            let node_id = self.keeper_of(merge, pack.owner);
            if of_node.is_some_and(|wanted| wanted != node_id)
                || !merge.shredded(pack.study_key_id).is_empty()
            {
                continue;
            }
            let found = gone.entry(pack.study_key_id).or_insert_with(|| FoundKey {
                study_key_id: pack.study_key_id,
                node_id,
                study_instance_uid: pack.study_instance_uid.clone(),
                quarantine: pack.quarantine,
                since: pack.created_at,
            });
            found.since = found.since.min(pack.created_at);
        }
        let gone: Vec<_> = gone.into_values().filter(|key| !living.contains(&key.study_key_id)).collect();
        Ok(self.catalog.restore_study_keys(&gone).await?)
    }

    /// Enters packs, of this node or of all, of which the logs say that nothing is read from them any more and that a bucket
    /// still holds: whoever owns them takes their bytes away.
    pub(crate) async fn enter_leaving(
        &self,
        merge: &Merge,
        listed: &BTreeMap<String, Vec<(&Placement, u64)>>,
        of_node: Option<NodeId>,
    ) -> Result<(), Error> {
        for (pack_id, standing) in merge.packs() {
            let (pack, by) = match standing {
                PackStanding::Deleted(pack) => (pack, None),
                PackStanding::Replaced { pack, by } => (pack, Some(by)),
                PackStanding::Unknown | PackStanding::Live(_) | PackStanding::Disputed(_) => continue,
            };
            let Some(places) = listed.get(&pack_name(pack_id)) else { continue };
            let node_id = self.keeper_of(merge, pack.owner);
            if of_node.is_some_and(|wanted| wanted != node_id) {
                continue;
            }
            let found = FoundPack {
                pack: new_pack(pack),
                node_id,
                state: if by.is_some() { InstanceState::Verified } else { InstanceState::Deleted },
                placements: places.iter().map(|(placement, _)| placement.name.clone()).collect(),
                instances: Vec::new(),
            };
            self.catalog.record_leaving(&found, by, self.clock.now()).await?;
        }
        Ok(())
    }

    /// Whose a pack is now: this node's, when it took over from its owner.
    pub(crate) fn keeper_of(&self, merge: &Merge, owner: NodeId) -> NodeId {
        if merge.acts_for(self.node_id(), owner) { self.node_id() } else { owner }
    }
}

/// A pack as the catalog enters it.
pub(crate) fn new_pack(pack: &PackVerified) -> NewPack {
    NewPack {
        pack_id: pack.pack_id,
        study_instance_uid: pack.study_instance_uid.clone(),
        study_key_id: pack.study_key_id,
        quarantine: pack.quarantine,
        bytes: pack.bytes,
        sha256: pack.sha256,
        created_at: pack.created_at,
    }
}

fn custody(study: &str, standing: StudyStanding) -> CustodyFound {
    CustodyFound {
        study_instance_uid: study.to_owned(),
        holds: standing.holds.into_iter().map(|stated| hold(study, stated)).collect(),
        retention: standing.kept.map(|stated| retention(study, stated)),
        deletions: standing.deletions.into_iter().map(|(id, stated)| deletion(id, stated)).collect(),
    }
}

fn hold(study: &str, stated: HoldStated) -> Hold {
    Hold {
        hold_id: stated.hold,
        study_instance_uid: study.to_owned(),
        because: because(stated.why),
        placed_at: stated.at.time(),
        released: stated.released.map(|(at, why)| (because(why), at.time())),
    }
}

fn retention(study: &str, stated: KeptStated) -> Retention {
    Retention {
        study_instance_uid: study.to_owned(),
        keep_until: stated.until,
        because: because(stated.why),
        set_at: stated.at.time(),
    }
}

fn deletion(deletion_id: FactId, stated: DeletionStated) -> DeletionFound {
    let sop_instance_uid = match stated.target {
        Target::Study(_) => None,
        Target::Instance { sop, .. } => Some(sop),
    };
    DeletionFound {
        deletion_id,
        sop_instance_uid,
        because: because(stated.why),
        requested_at: stated.at.time(),
        records: stated.records.into_iter().collect(),
        confirmed: stated.confirmed.map(|said| (said.why.who, said.at.time(), said.due_at)),
        cancelled: stated.withdrawn.map(|(at, why)| (because(why), at.time())),
        done_at: stated.done.map(|at| at.time()),
    }
}

fn because(why: Why) -> Because {
    Because { who: why.who, why: why.reason }
}
