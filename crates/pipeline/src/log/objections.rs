//! What the logs of other nodes have against a deletion: a hold or a time to keep the study; or that one of them was not
//! heard of since the deletion was due, and may have placed a hold that is not here yet.

use std::{sync::Arc, time::Duration};

use filmgate_catalog::{Deletion, RetentionRule};
use filmgate_log::{Merge, PackStanding};
use filmgate_model::NodeId;

use super::SiteLogs;
use crate::{Error, Road};

/// Other nodes' logs are read again after this, while a deletion waits for them.
const READ_EVERY: Duration = Duration::from_secs(10);

impl Road {
    /// Why a due deletion may not be carried out for all that other nodes know; `None` when nothing is against it.
    ///
    /// # Errors
    /// When no placement can be asked.
    pub(crate) async fn others_may_object(
        self: &Arc<Self>,
        deletion: &Deletion,
    ) -> Result<Option<String>, Error> {
        let own = self.log.told.lock().map(|(incarnation, _)| incarnation);
        if self.incarnations().await?.keys().all(|incarnation| Some(*incarnation) == own) {
            return Ok(None);
        }
        let logs = self.logs_for_deletions().await?;
        if let Some((incarnation, why)) = logs.stopped.iter().next() {
            return Ok(Some(format!("log {incarnation} cannot be read to its end ({why})")));
        }
        let due_at = deletion.due_at.unwrap_or(deletion.requested_at);
        for incarnation in logs.chains.keys().filter(|incarnation| !logs.merge.is_adopted(**incarnation)) {
            let heartbeat = logs.merge.heartbeat(*incarnation);
            let ours = Some(*incarnation) == own
                || heartbeat.as_ref().is_some_and(|heartbeat| heartbeat.node == self.node_id());
            if !ours && heartbeat.as_ref().is_none_or(|heartbeat| heartbeat.stamp.time() <= due_at) {
                let node = heartbeat.map_or_else(
                    || "of a node not heard of".to_owned(),
                    |heartbeat| format!("of node {}", heartbeat.node),
                );
                return Ok(Some(format!(
                    "log {incarnation} {node} says nothing since this was due: it may hold the study; start that node, or adopt its data directory"
                )));
            }
        }
        let standing = logs.merge.study(&deletion.study_instance_uid);
        if let Some(held) = standing.held() {
            let (who, why) = (&held.why.who, &held.why.reason);
            return Ok(Some(format!("another node's log holds the study, by {who}: {why}")));
        }
        let keep_until = standing.kept.map(|kept| kept.until).filter(|until| *until > self.clock.now());
        Ok(keep_until.map(|keep_until| format!("another node's log keeps the study until {keep_until}")))
    }

    /// Why the keys of a study that was deleted may still be needed for all that the logs know: what is against deleting,
    /// and packs of the study that this catalog lacks, as after a restore; `None` when nothing is.
    ///
    /// # Errors
    /// When no placement can be asked.
    pub(crate) async fn keys_may_be_needed(
        self: &Arc<Self>,
        deletion: &Deletion,
    ) -> Result<Option<String>, Error> {
        if let Some(why) = self.others_may_object(deletion).await? {
            return Ok(Some(why));
        }
        let logs = self.logs_for_deletions().await?;
        for (pack_id, standing) in logs.merge.packs() {
            let (PackStanding::Live(pack)
            | PackStanding::Disputed(pack)
            | PackStanding::Replaced { pack, .. }) = standing
            else {
                continue;
            };
            let of_study = pack.study_instance_uid == deletion.study_instance_uid;
            if of_study && self.catalog.pack(pack_id).await?.is_none() {
                return Ok(Some(format!(
                    "the log in the bucket has pack {pack_id} of the study, which this catalog lacks: `filmgate rebuild` \
                     enters it"
                )));
            }
        }
        Ok(None)
    }

    /// How long the others keep every study binds this node as well: the catalog asks for it in every transaction that lets
    /// something go.
    pub(crate) async fn hear_rules(&self, merge: &Merge) -> Result<(), Error> {
        let rules = merge.retention_rules().filter(|(node_id, ..)| *node_id != self.node_id());
        let rules: Vec<_> = rules
            .map(|(node_id, years, stamp)| RetentionRule { node_id, years, stated_at: stamp.time() })
            .collect();
        let taken_over: Vec<NodeId> = merge.taken_over().filter(|node| *node != self.node_id()).collect();
        if rules.is_empty() && taken_over.is_empty() {
            return Ok(());
        }
        Ok(self.catalog.note_retention_rules(&rules, &taken_over).await?)
    }

    /// All logs, read not long ago.
    async fn logs_for_deletions(self: &Arc<Self>) -> Result<Arc<SiteLogs>, Error> {
        let now = self.clock.now();
        let read = self.log.objections.lock().clone();
        if let Some((_, logs)) = read.filter(|(at, _)| now >= *at && now.since(*at) < READ_EVERY) {
            return Ok(logs);
        }
        let logs = Arc::new(self.read_logs().await?);
        self.hear_rules(&logs.merge).await?;
        *self.log.objections.lock() = Some((now, Arc::clone(&logs)));
        Ok(logs)
    }
}
