//! How a run ends a second time: the catalog is lost, and from bucket, keys and what the disk holds everything is as it was,
//! after a start alone and after a rebuild: what was deleted stays so, what is held is held, and nothing is there twice or
//! left behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use filmgate_catalog::Catalog;
use filmgate_model::{FactId, InstanceState};

use super::{Check, Run, catalog_options};

/// What people decided: where each deletion stands, and holds that stand.
type Decided = (BTreeMap<FactId, &'static str>, BTreeSet<FactId>);

impl Run {
    /// At rest.
    pub(super) fn lose_the_catalog(&mut self) -> Check {
        let (said, decided) = (self.all_said()?, self.all_decided()?);
        for rebuilds in [false, true] {
            let how = if rebuilds { "a rebuild" } else { "a start" };
            let options = catalog_options(self.seed);
            let catalog = self.runtime.block_on(Catalog::in_memory(&options));
            self.catalog = Arc::new(catalog.map_err(|error| error.to_string())?);
            self.restart()?;
            let road = self.road()?;
            let mut problems = Vec::new();
            if rebuilds {
                let rebuilt = self.wait(road.rebuild(|_| {})).map_err(|error| format!("rebuild: {error}"))?;
                problems = rebuilt.problems;
            }
            self.check_as_before(&said, &decided)
                .map_err(|what| format!("after {how} without a catalog: {what}, {problems:?}"))?;
        }
        Ok(())
    }

    fn check_as_before(&mut self, said: &BTreeSet<String>, decided: &Decided) -> Check {
        self.go_on_until_at_rest()?;
        let again = self.all_decided()?;
        if again != *decided {
            return Err(format!("decided was {decided:?}, and is {again:?}"));
        }
        let again = self.all_said()?;
        if again != *said {
            let differ: Vec<_> = said.symmetric_difference(&again).collect();
            return Err(format!("other instances are said: {differ:?}"));
        }
        self.check_everything()
    }

    fn all_said(&self) -> Result<BTreeSet<String>, String> {
        let mut said = BTreeSet::new();
        for study in ["1.2.1", "1.2.2", "1.2.3"] {
            let rows =
                self.wait(self.catalog.instances_of_study(study)).map_err(|error| error.to_string())?;
            // What nobody was told to be safe and a failing disk lost is listed by the catalog that saw it, and by no other.
            let whole = rows.into_iter().filter(|row| row.state != InstanceState::Damaged);
            said.extend(whole.map(|row| row.sop_instance_uid));
        }
        Ok(said)
    }

    fn all_decided(&self) -> Result<Decided, String> {
        let told = |error: filmgate_catalog::Error| error.to_string();
        let deletions = self.wait(self.catalog.deletions(None, 1000)).map_err(told)?.into_iter();
        let holds = self.wait(self.catalog.holds(None, 1000)).map_err(told)?.into_iter();
        Ok((
            deletions.map(|deletion| (deletion.deletion_id, deletion.step().as_str())).collect(),
            holds.filter(|hold| hold.released.is_none()).map(|hold| hold.hold_id).collect(),
        ))
    }
}
