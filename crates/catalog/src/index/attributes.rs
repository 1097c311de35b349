//! Attributes that are kept beside the columns. They stand in the metadata of a pack, so they are known once an instance is
//! packed; whoever makes a pack, or finds one, enters them before the pack.

use std::collections::HashSet;

use super::batch;
use crate::{
    AttributeOf, AttributeValues, Catalog, Error,
    engine::{AssertSqlSafe, Connection, query},
    search::fold::{folded, words},
};
use filmgate_model::VR;

/// What an instance states of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceAttributes {
    /// Its study.
    pub study_instance_uid: String,
    /// Its series.
    pub series_instance_uid: String,
    /// Itself.
    pub sop_instance_uid: String,
    /// Each attribute it states, with its values.
    pub attributes: Vec<AttributeValues>,
}

/// Characters kept of a value.
const VALUE_CHARACTERS_MAX: usize = 1024;
/// Values kept of an attribute.
const VALUES_MAX: usize = 64;

impl Catalog {
    /// Enters what instances state; what is known already stays as it is.
    ///
    /// # Errors
    /// When a statement fails; then nothing was entered.
    pub async fn record_attributes(&self, instances: &[InstanceAttributes]) -> Result<(), Error> {
        let mut seen = HashSet::new();
        let stated =
            instances.iter().flat_map(|instance| instance.attributes.iter().map(move |one| (instance, one)));
        let new: Vec<_> = stated
            .map(|(instance, stated)| (uids(instance, stated.attribute.of()), stated))
            .filter(|(uids, stated)| {
                !stated.values.is_empty() && seen.insert((*uids, stated.attribute.path_text()))
            })
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        self.engine
            .run("record attributes", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                let studies: Vec<&str> = new.iter().map(|((study, _, _), _)| *study).collect();
                transaction.lock_studies(self.site(), &studies).await?;
                for (uids, stated) in &new {
                    self.insert_attribute(&mut transaction, *uids, stated).await?;
                }
                transaction.commit().await
            })
            .await
    }

    /// The first one that states it states all its values.
    async fn insert_attribute(
        &self,
        writer: &mut Connection,
        (study, series, sop): (&str, &str, &str),
        stated: &AttributeValues,
    ) -> Result<(), Error> {
        let values: Vec<_> = stated.values.iter().take(VALUES_MAX).collect();
        let sql = format!(
            "INSERT INTO index_attributes (site_id, study_instance_uid, series_instance_uid, sop_instance_uid, path,
                value_number, value, folded, words)
             SELECT $1, $2, $3, $4, $5, v.column1, v.column2, v.column3, v.column4 FROM (VALUES {}) AS v
             WHERE NOT EXISTS (SELECT 1 FROM index_attributes WHERE site_id = $1 AND study_instance_uid = $2
                AND series_instance_uid = $3 AND sop_instance_uid = $4 AND path = $5)",
            batch::values(6, 4, values.len())
        );
        let path = stated.attribute.path_text();
        let mut insert =
            query(AssertSqlSafe(sql)).bind(self.site()).bind(study).bind(series).bind(sop).bind(&path);
        for (number, value) in values {
            let value: String = value.chars().take(VALUE_CHARACTERS_MAX).collect();
            let kept = match stated.attribute.vr {
                VR::DA => value.replace('.', ""),
                VR::TM => value.replace(':', ""),
                _ => value,
            };
            let is_name = stated.attribute.vr == VR::PN;
            let (folded, words) = (is_name.then(|| folded(&kept)), is_name.then(|| words(&kept)));
            let number = i64::try_from(*number).unwrap_or(i64::MAX);
            insert = insert.bind(number).bind(kept).bind(folded).bind(words);
        }
        insert.execute(writer).await?;
        Ok(())
    }
}

fn uids(instance: &InstanceAttributes, of: AttributeOf) -> (&str, &str, &str) {
    let InstanceAttributes { study_instance_uid, series_instance_uid, sop_instance_uid, .. } = instance;
    match of {
        AttributeOf::Study => (study_instance_uid, "", ""),
        AttributeOf::Series => (study_instance_uid, series_instance_uid, ""),
        AttributeOf::Instance => (study_instance_uid, series_instance_uid, sop_instance_uid),
    }
}
