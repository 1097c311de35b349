//! What all facts come to, whatever order they came in and however often.
//!
//! The state is sets, by subject; what follows from them is judged when it is asked for, never when a fact arrives. So no
//! rule can depend on the order of arrival, and the property test in `tests/` has little to find.

use std::collections::{BTreeMap, BTreeSet};

use filmgate_model::{FactId, IncarnationId, NodeId, PackId, StudyKeyId};

use crate::{
    Author, Body, Correction, PackVerified, Stamp, Stated, StudyStanding, Why, body::KindName,
    custody::CustodyFacts,
};

/// When something was stated, exactly: no two facts are equal in it.
pub(crate) type Moment = (Stamp, FactId);

/// Everything that was stated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merge {
    packs: BTreeMap<PackId, PackFacts>,
    custody: CustodyFacts,
    adopters: BTreeMap<NodeId, BTreeSet<NodeId>>,
    adopted_incarnations: BTreeSet<IncarnationId>,
    shredded: BTreeMap<StudyKeyId, BTreeSet<(Moment, NodeId, Why)>>,
    keys: BTreeMap<StudyKeyId, BTreeSet<String>>,
    generations: BTreeMap<[u8; 16], u32>,
    heartbeats: BTreeMap<IncarnationId, LatestHeartbeat>,
    rules: BTreeMap<NodeId, (Moment, u32)>,
    corrections: BTreeMap<String, BTreeSet<Stated>>,
    unknown: BTreeSet<Stated>,
    refused: BTreeSet<Refused>,
}

/// Its latest is kept: an earlier one says nothing more.
type LatestHeartbeat = (Moment, Author, Vec<(IncarnationId, u64)>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct PackFacts {
    verified: BTreeSet<(Moment, PackVerified, Author)>,
    replaced: BTreeSet<(Moment, PackId, Author)>,
    deleted: BTreeSet<(Moment, Author)>,
}

/// A fact that changes nothing, and why: for people to look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Refused {
    /// The fact.
    pub fact: FactId,
    /// Its kind.
    pub kind: KindName,
    /// Who stated it.
    pub author: Author,
    /// Why.
    pub why: Refusal,
}

/// Why a fact changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// The roles of its author do not allow it.
    Role,
    /// Its author neither made the pack nor took over from who did.
    NotOwner,
    /// The study was held, or had to be kept, when the deletion was confirmed.
    Held,
}

/// How a pack stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackStanding<'a> {
    /// Nobody who may has said that it is verified.
    Unknown,
    /// It is verified and counts.
    Live(&'a PackVerified),
    /// Different things are said of it under one name: a person decides, and nothing of it is deleted.
    Disputed(&'a PackVerified),
    /// Its records are in another pack, which lives.
    Replaced {
        /// What it was.
        pack: &'a PackVerified,
        /// The pack that counts instead.
        by: PackId,
    },
    /// It is gone, or will be.
    Deleted(&'a PackVerified),
}

/// A sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat<'a> {
    /// When.
    pub stamp: Stamp,
    /// Of which node.
    pub node: NodeId,
    /// How far it had read the others then.
    pub read: &'a [(IncarnationId, u64)],
}

/// Which correction of a subject counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head<'a> {
    /// Nobody corrected it.
    None,
    /// The one that nobody superseded.
    One(&'a Correction),
    /// Several that nobody superseded: a person decides, and until then nothing is released. The facts to supersede.
    Undecided(Vec<FactId>),
}

impl Merge {
    /// Nothing was stated.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a fact in.
    pub fn take(&mut self, stated: &Stated) {
        let Stated { fact, author } = stated;
        if !author.roles.may_state(&fact.body) {
            self.refused.insert(refused(fact.id, fact.body.name(), *author, Refusal::Role));
            return;
        }
        let (moment, author) = ((fact.stamp, fact.id), *author);
        match &fact.body {
            Body::PackVerified(pack) => {
                self.keys.entry(pack.study_key_id).or_default().insert(pack.study_instance_uid.clone());
                self.of_pack(pack.pack_id).verified.insert((moment, pack.clone(), author));
            }
            Body::PackReplaced { replaced, by } => {
                for pack_id in replaced {
                    self.of_pack(*pack_id).replaced.insert((moment, *by, author));
                }
            }
            Body::PackDeleted { pack_id, .. } => {
                self.of_pack(*pack_id).deleted.insert((moment, author));
            }
            Body::DeleteRequested { .. }
            | Body::DeleteNames { .. }
            | Body::DeleteConfirmed { .. }
            | Body::DeleteWithdrawn { .. }
            | Body::DeleteDone { .. }
            | Body::Hold { .. }
            | Body::HoldReleased { .. }
            | Body::Retention { .. } => self.custody.take(fact, author),
            Body::KeyShredded { study_key_id, why } => {
                let known = self.shredded.entry(*study_key_id).or_default();
                known.insert((moment, author.node, why.clone()));
            }
            Body::KeyGeneration { key_id, generation } => {
                let known = self.generations.entry(*key_id).or_default();
                *known = (*known).max(*generation);
            }
            Body::NodeAdopted { node, incarnation } => {
                self.adopters.entry(*node).or_default().insert(author.node);
                self.adopted_incarnations.insert(*incarnation);
            }
            Body::RetentionRule { years } => {
                let known = self.rules.entry(author.node).or_insert((moment, *years));
                *known = (*known).max((moment, *years));
            }
            Body::Heartbeat { read } => self.note_heartbeat(moment, author, read),
            Body::Correction(correction) => {
                self.corrections.entry(correction.subject.clone()).or_default().insert(stated.clone());
            }
            Body::Unknown { .. } => {
                self.unknown.insert(stated.clone());
            }
        }
    }

    fn of_pack(&mut self, pack_id: PackId) -> &mut PackFacts {
        self.packs.entry(pack_id).or_default()
    }

    fn note_heartbeat(&mut self, moment: Moment, author: Author, read: &[(IncarnationId, u64)]) {
        let heartbeat = (moment, author, read.to_vec());
        let known = self.heartbeats.entry(author.incarnation).or_insert_with(|| heartbeat.clone());
        if heartbeat > *known {
            *known = heartbeat;
        }
    }

    /// True when `node` may speak for what `owner` made: it is that node, or took over from it, be it by way of others.
    #[must_use]
    pub fn acts_for(&self, node: NodeId, owner: NodeId) -> bool {
        let (mut seen, mut next) = (BTreeSet::new(), vec![owner]);
        while let Some(one) = next.pop() {
            if one == node {
                return true;
            }
            if seen.insert(one) {
                next.extend(self.adopters.get(&one).into_iter().flatten());
            }
        }
        false
    }

    /// How a pack stands.
    #[must_use]
    pub fn pack(&self, pack_id: PackId) -> PackStanding<'_> {
        let Some((pack, disputed, facts)) = self.verified(pack_id) else { return PackStanding::Unknown };
        if disputed {
            return PackStanding::Disputed(pack);
        }
        if facts.deleted.iter().any(|(_, author)| self.acts_for(author.node, pack.owner)) {
            return PackStanding::Deleted(pack);
        }
        match self.replacement(pack_id) {
            Some(by) => PackStanding::Replaced { pack, by },
            None => PackStanding::Live(pack),
        }
    }

    /// True when somebody said that a pack's bytes go, whoever may say so: of one that was never verified nobody else knows
    /// whose it is.
    #[must_use]
    pub fn is_said_gone(&self, pack_id: PackId) -> bool {
        self.packs.get(&pack_id).is_some_and(|facts| !facts.deleted.is_empty())
    }

    /// The pack that holds the records of this one now, whether this one is gone or not.
    #[must_use]
    pub fn replaced_by(&self, pack_id: PackId) -> Option<PackId> {
        self.replacement(pack_id)
    }

    /// The study a fact of custody is about; `None` for another fact, or when its request was not read yet.
    #[must_use]
    pub fn study_of<'a>(&'a self, body: &'a Body) -> Option<&'a str> {
        self.custody.study_of(body)
    }

    /// Every pack somebody spoke of, and how it stands.
    pub fn packs(&self) -> impl Iterator<Item = (PackId, PackStanding<'_>)> {
        self.packs.keys().map(|pack_id| (*pack_id, self.pack(*pack_id)))
    }

    /// What was first said of a pack by one who may, and whether others who may say something else.
    fn verified(&self, pack_id: PackId) -> Option<(&PackVerified, bool, &PackFacts)> {
        let facts = self.packs.get(&pack_id)?;
        let mut said = facts
            .verified
            .iter()
            .filter(|(_, pack, author)| self.acts_for(author.node, pack.owner))
            .map(|(_, pack, _)| pack);
        let first = said.next()?;
        let differs = |pack: &PackVerified| {
            (pack.sha256, pack.bytes, pack.study_key_id) != (first.sha256, first.bytes, first.study_key_id)
        };
        Some((first, said.any(differs), facts))
    }

    /// The pack at the end of the replacements of this one. `None` when there is none, or it is not there: packs that
    /// replace each other in a circle all stay.
    fn replacement(&self, pack_id: PackId) -> Option<PackId> {
        let (mut seen, mut at) = (BTreeSet::from([pack_id]), pack_id);
        loop {
            let (pack, disputed, facts) = self.verified(at)?;
            let by = facts
                .replaced
                .iter()
                .find(|(_, _, author)| self.acts_for(author.node, pack.owner))
                .map(|(_, by, _)| *by);
            match by {
                Some(by) if seen.insert(by) => at = by,
                Some(_) => return None,
                None => {
                    let gone = facts.deleted.iter().any(|(_, author)| self.acts_for(author.node, pack.owner));
                    return (at != pack_id && !disputed && !gone).then_some(at);
                }
            }
        }
    }

    /// What binds a study and what is to be deleted of it.
    #[must_use]
    pub fn study(&self, study_instance_uid: &str) -> StudyStanding {
        self.custody.study(study_instance_uid)
    }

    /// Every study somebody asked to delete, hold or keep something of.
    pub fn studies(&self) -> impl Iterator<Item = &str> {
        self.custody.studies()
    }

    /// Nodes that have destroyed their copy of a study's key; empty when it was not shredded.
    #[must_use]
    pub fn shredded(&self, study_key_id: StudyKeyId) -> BTreeSet<NodeId> {
        self.shredded.get(&study_key_id).into_iter().flatten().map(|(_, node, _)| *node).collect()
    }

    /// Every key that somebody destroyed, who asked for it, and why, as it was said first.
    pub fn shredded_keys(&self) -> impl Iterator<Item = (StudyKeyId, &Why)> {
        self.shredded.iter().filter_map(|(study_key_id, said)| {
            let (_, _, why) = said.first()?;
            Some((*study_key_id, why))
        })
    }

    /// The study whose packs were sealed under a key, as the logs tell; `None` for a key of no pack that was verified.
    #[must_use]
    pub fn study_of_key(&self, study_key_id: StudyKeyId) -> Option<&str> {
        self.keys.get(&study_key_id)?.first().map(String::as_str)
    }

    /// Every node that was heard of and was not taken over by another: who may have a copy of a key.
    #[must_use]
    pub fn nodes(&self) -> BTreeSet<NodeId> {
        let of_heartbeats = self.heartbeats.values().map(|(_, author, _)| author.node);
        of_heartbeats.filter(|node| !self.adopters.contains_key(node)).collect()
    }

    /// Years every study is kept, as each node said last that was not taken over by another, and when.
    pub fn retention_rules(&self) -> impl Iterator<Item = (NodeId, u32, Stamp)> {
        let of_living = self.rules.iter().filter(|(node, _)| !self.adopters.contains_key(node));
        of_living.map(|(node, ((stamp, _), years))| (*node, *years, *stamp))
    }

    /// Nodes that others took over from.
    pub fn taken_over(&self) -> impl Iterator<Item = NodeId> {
        self.adopters.keys().copied()
    }

    /// The latest generation stated of a key.
    #[must_use]
    pub fn generation(&self, key_id: &[u8; 16]) -> Option<u32> {
        self.generations.get(key_id).copied()
    }

    /// The last sign of life of an incarnation.
    #[must_use]
    pub fn heartbeat(&self, incarnation: IncarnationId) -> Option<Heartbeat<'_>> {
        let ((stamp, _), author, read) = self.heartbeats.get(&incarnation)?;
        Some(Heartbeat { stamp: *stamp, node: author.node, read })
    }

    /// The last sign of life of a node, over all its incarnations.
    #[must_use]
    pub fn last_heard_of(&self, node: NodeId) -> Option<Stamp> {
        let of_node = self.heartbeats.values().filter(|(_, author, _)| author.node == node);
        of_node.map(|((stamp, _), _, _)| *stamp).max()
    }

    /// Incarnations that ended with the adoption of their node.
    #[must_use]
    pub fn is_adopted(&self, incarnation: IncarnationId) -> bool {
        self.adopted_incarnations.contains(&incarnation)
    }

    /// Which correction of a subject counts.
    #[must_use]
    pub fn head(&self, subject: &str) -> Head<'_> {
        let Some(stated) = self.corrections.get(subject) else { return Head::None };
        let superseded: BTreeSet<FactId> =
            stated.iter().flat_map(|stated| stated.fact.supersedes.iter().copied()).collect();
        let mut heads: Vec<_> =
            stated.iter().filter(|stated| !superseded.contains(&stated.fact.id)).collect();
        if heads.is_empty() {
            // Corrections that supersede each other in a circle.
            heads = stated.iter().collect();
        }
        match heads.as_slice() {
            [Stated { fact: crate::Fact { body: Body::Correction(correction), .. }, .. }] => {
                Head::One(correction)
            }
            heads => Head::Undecided(heads.iter().map(|stated| stated.fact.id).collect()),
        }
    }

    /// Facts of kinds that a newer version knows.
    pub fn unknown(&self) -> impl Iterator<Item = &Stated> {
        self.unknown.iter()
    }

    /// Every fact that changes nothing although it was meant to.
    #[must_use]
    pub fn refused(&self) -> BTreeSet<Refused> {
        let mut all = self.refused.clone();
        for facts in self.packs.values() {
            self.refuse_of_pack(facts, &mut all);
        }
        all.extend(self.custody.refused());
        all
    }

    fn refuse_of_pack(&self, facts: &PackFacts, all: &mut BTreeSet<Refused>) {
        for ((_, id), pack, author) in &facts.verified {
            if !self.acts_for(author.node, pack.owner) {
                all.insert(refused(*id, "pack-verified", *author, Refusal::NotOwner));
            }
        }
        // Of a pack nobody has stated yet there is nothing to say.
        let owners: BTreeSet<NodeId> = facts.verified.iter().map(|(_, pack, _)| pack.owner).collect();
        let stranger = |author: &Author| {
            !owners.is_empty() && !owners.iter().any(|owner| self.acts_for(author.node, *owner))
        };
        for ((_, id), _, author) in facts.replaced.iter().filter(|(_, _, author)| stranger(author)) {
            all.insert(refused(*id, "pack-replaced", *author, Refusal::NotOwner));
        }
        for ((_, id), author) in facts.deleted.iter().filter(|(_, author)| stranger(author)) {
            all.insert(refused(*id, "pack-deleted", *author, Refusal::NotOwner));
        }
    }
}

pub(crate) fn refused(fact: FactId, kind: KindName, author: Author, why: Refusal) -> Refused {
    Refused { fact, kind, author, why }
}
