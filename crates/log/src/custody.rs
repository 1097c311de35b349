//! What people decided about studies, as all facts together say it: holds, times to keep, deletions.

use std::collections::{BTreeMap, BTreeSet};

use filmgate_model::{FactId, RecordId, Timestamp};

use crate::{
    Author, Fact, Stamp, Target, Why,
    body::Body,
    merge::{Moment, Refusal, Refused, refused},
};

/// Everything that was stated of custody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CustodyFacts {
    studies: BTreeMap<String, StudyFacts>,
    deletions: BTreeMap<FactId, DeletionFacts>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct StudyFacts {
    requests: BTreeSet<(Moment, Target, Why)>,
    holds: BTreeSet<(Moment, Why)>,
    releases: BTreeSet<(FactId, Moment, Why)>,
    retentions: BTreeSet<(Moment, Timestamp, Why)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct DeletionFacts {
    /// Of which it was asked for; one, unless ids repeat.
    studies: BTreeSet<String>,
    records: BTreeSet<RecordId>,
    confirmed: BTreeSet<(Moment, Timestamp, Why, Author)>,
    withdrawn: BTreeSet<(Moment, Why)>,
    done: BTreeSet<Moment>,
}

/// A hold as it was stated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldStated {
    /// The hold.
    pub hold: FactId,
    /// Since when.
    pub at: Stamp,
    /// Who placed it, and why.
    pub why: Why,
    /// When it was released first, by whom and why.
    pub released: Option<(Stamp, Why)>,
}

/// A time to keep a study, as it was stated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptStated {
    /// Nothing goes before.
    pub until: Timestamp,
    /// When it was stated.
    pub at: Stamp,
    /// Who set it, and why.
    pub why: Why,
}

/// A deletion as it was stated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletionStated {
    /// What it was asked for.
    pub target: Target,
    /// When.
    pub at: Stamp,
    /// Who asked, and why.
    pub why: Why,
    /// The records it names: these go, and nothing that came later.
    pub records: BTreeSet<RecordId>,
    /// The first confirmation that no hold and no retention stood against.
    pub confirmed: Option<ConfirmedStated>,
    /// When it was taken back, by whom and why.
    pub withdrawn: Option<(Stamp, Why)>,
    /// When the last of what it names had gone.
    pub done: Option<Stamp>,
}

/// A confirmation as it was stated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfirmedStated {
    /// When: what is named is hidden from then on.
    pub at: Stamp,
    /// Nothing goes before.
    pub due_at: Timestamp,
    /// Who confirmed it.
    pub why: Why,
}

/// What binds a study and what is to be deleted of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StudyStanding {
    /// Every hold, those that were released among them.
    pub holds: Vec<HoldStated>,
    /// The latest time until which it must be kept.
    pub kept: Option<KeptStated>,
    /// Every deletion, by its request.
    pub deletions: BTreeMap<FactId, DeletionStated>,
}

impl StudyStanding {
    /// The hold that stands longest.
    #[must_use]
    pub fn held(&self) -> Option<&HoldStated> {
        self.holds.iter().find(|hold| hold.released.is_none())
    }
}

impl CustodyFacts {
    /// Takes a fact in. One of another matter changes nothing.
    pub(crate) fn take(&mut self, fact: &Fact, author: Author) {
        let moment = (fact.stamp, fact.id);
        match &fact.body {
            Body::DeleteRequested { target, why } => {
                let stated = (moment, target.clone(), why.clone());
                self.of_study(target.study()).requests.insert(stated);
                self.of_deletion(fact.id).studies.insert(target.study().to_owned());
            }
            Body::DeleteNames { request, records } => self.of_deletion(*request).records.extend(records),
            Body::DeleteConfirmed { request, due_at, why } => {
                self.of_deletion(*request).confirmed.insert((moment, *due_at, why.clone(), author));
            }
            Body::DeleteWithdrawn { request, why } => {
                self.of_deletion(*request).withdrawn.insert((moment, why.clone()));
            }
            Body::DeleteDone { request } => {
                self.of_deletion(*request).done.insert(moment);
            }
            Body::Hold { study, why } => {
                self.of_study(study).holds.insert((moment, why.clone()));
            }
            Body::HoldReleased { hold, study, why } => {
                self.of_study(study).releases.insert((*hold, moment, why.clone()));
            }
            Body::Retention { study, until, why } => {
                self.of_study(study).retentions.insert((moment, *until, why.clone()));
            }
            _ => {}
        }
    }

    fn of_study(&mut self, study: &str) -> &mut StudyFacts {
        self.studies.entry(study.to_owned()).or_default()
    }

    fn of_deletion(&mut self, request: FactId) -> &mut DeletionFacts {
        self.deletions.entry(request).or_default()
    }

    pub(crate) fn study_of<'a>(&'a self, body: &'a Body) -> Option<&'a str> {
        match body {
            Body::DeleteRequested { target, .. } => Some(target.study()),
            Body::Hold { study, .. } | Body::HoldReleased { study, .. } | Body::Retention { study, .. } => {
                Some(study)
            }
            Body::DeleteNames { request, .. }
            | Body::DeleteConfirmed { request, .. }
            | Body::DeleteWithdrawn { request, .. }
            | Body::DeleteDone { request } => {
                self.deletions.get(request).and_then(|deletion| deletion.studies.first()).map(String::as_str)
            }
            _ => None,
        }
    }

    pub(crate) fn studies(&self) -> impl Iterator<Item = &str> {
        self.studies.keys().map(String::as_str)
    }

    pub(crate) fn study(&self, study_instance_uid: &str) -> StudyStanding {
        let Some(facts) = self.studies.get(study_instance_uid) else { return StudyStanding::default() };
        let mut deletions = BTreeMap::new();
        for ((at, request), target, why) in &facts.requests {
            deletions.entry(*request).or_insert_with(|| self.deletion(facts, *at, *request, target, why));
        }
        StudyStanding { holds: facts.holds(), kept: facts.kept(), deletions }
    }

    fn deletion(
        &self,
        facts: &StudyFacts,
        at: Stamp,
        request: FactId,
        target: &Target,
        why: &Why,
    ) -> DeletionStated {
        let said = self.deletions.get(&request).cloned().unwrap_or_default();
        let valid = said.confirmed.into_iter().find(|(moment, ..)| !facts.binds_at(*moment));
        DeletionStated {
            target: target.clone(),
            at,
            why: why.clone(),
            records: said.records,
            confirmed: valid.map(|((at, _), due_at, why, _)| ConfirmedStated { at, due_at, why }),
            withdrawn: said.withdrawn.into_iter().next().map(|((at, _), why)| (at, why)),
            done: said.done.into_iter().next().map(|(at, _)| at),
        }
    }

    /// Confirmations that changed nothing because the study was held or had to be kept.
    pub(crate) fn refused(&self) -> impl Iterator<Item = Refused> {
        self.studies.values().flat_map(|facts| {
            let confirmed =
                facts.requests.iter().filter_map(|((_, request), ..)| self.deletions.get(request));
            let void =
                confirmed.flat_map(|said| &said.confirmed).filter(|(moment, ..)| facts.binds_at(*moment));
            void.map(|((_, id), _, _, author)| refused(*id, "delete-confirmed", *author, Refusal::Held))
        })
    }
}

impl StudyFacts {
    fn holds(&self) -> Vec<HoldStated> {
        let mut known = BTreeSet::new();
        let once = self.holds.iter().filter(|((_, hold), _)| known.insert(*hold));
        let holds = once.map(|((at, hold), why)| HoldStated {
            hold: *hold,
            at: *at,
            why: why.clone(),
            released: self
                .releases
                .iter()
                .find(|(released, ..)| released == hold)
                .map(|(_, (at, _), why)| (*at, why.clone())),
        });
        holds.collect()
    }

    fn kept(&self) -> Option<KeptStated> {
        let longest = self.retentions.iter().max_by_key(|(moment, until, _)| (*until, *moment));
        longest.map(|((at, _), until, why)| KeptStated { until: *until, at: *at, why: why.clone() })
    }

    /// True when at that moment a hold stood that had not been released, or a time to keep it was not over.
    fn binds_at(&self, moment: Moment) -> bool {
        let released =
            |hold: FactId| self.releases.iter().any(|(released, at, _)| *released == hold && *at < moment);
        let held = self.holds.iter().any(|(hold, _)| *hold < moment && !released(hold.1));
        held || self.retentions.iter().any(|(at, until, _)| *at < moment && *until > moment.0.time())
    }
}
