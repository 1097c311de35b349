//! `filmgate verify`: every record the catalog knows, pack by pack, so that each footer is opened once however many records there
//! are.

use std::{collections::HashSet, sync::Arc};

use filmgate_catalog::Location;
use filmgate_model::{InstanceState, PackId, RecordId};
use futures::{StreamExt, stream};
use sha2::{Digest, Sha256};

use crate::{Error, OpenRecord, Road, error::chain};

/// Records that are read at a time: one is opened while the next is fetched.
const AT_ONCE: usize = 4;
/// Records in no pack that are asked for at a time.
const PAGE: u32 = 500;

/// What became of one record under `filmgate verify`.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Finding {
    /// The record.
    pub record_id: RecordId,
    /// Its state.
    pub state: InstanceState,
    /// What is wrong with it.
    pub problem: String,
}

/// What `filmgate verify` found.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct VerifyReport {
    /// Records looked at.
    pub records: u64,
    /// Bytes of datasets opened and compared with their digest.
    pub dataset_bytes: u64,
    /// Everything that is not as it should be.
    pub findings: Vec<Finding>,
}

impl Road {
    /// Looks at every record the catalog knows: that it opens, and with `deep` that every byte does. One of this node that
    /// does not is damaged from then on, and raises an alarm; what is wrong with another node's is told, and is that
    /// node's to judge: it may have what this one cannot read.
    ///
    /// What moves to another pack meanwhile is looked at there, too.
    ///
    /// # Errors
    /// When the catalog cannot be asked; what is wrong with a record is a finding.
    pub async fn verify_all(self: &Arc<Self>, deep: bool) -> Result<VerifyReport, Error> {
        let mut report = VerifyReport::default();
        // In no pack yet; a pack that takes them in meanwhile comes later, and they are known by then.
        let (mut unpacked, mut after) = (HashSet::new(), None);
        loop {
            let page = self.catalog.unpacked_after(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.record_id);
            unpacked.extend(page.iter().map(|row| row.record_id));
            self.look_at(page, deep, &mut report).await?;
        }
        let mut seen = HashSet::new();
        loop {
            let mut packs = self.catalog.packs_by_age().await?;
            packs.retain(|pack_id| seen.insert(*pack_id));
            if packs.is_empty() {
                return Ok(report);
            }
            for pack_id in packs {
                let mut rows = self.catalog.records_of_pack(pack_id).await?;
                rows.retain(|row| row.state != InstanceState::Deleted && !unpacked.contains(&row.record_id));
                self.look_at(rows, deep, &mut report).await?;
            }
        }
    }

    /// Looks at records, some at a time; the footer of a pack is looked at with the first of them.
    async fn look_at(
        self: &Arc<Self>,
        rows: Vec<Location>,
        deep: bool,
        report: &mut VerifyReport,
    ) -> Result<(), Error> {
        let mut opened_packs = HashSet::new();
        if deep {
            let packs: HashSet<PackId> =
                rows.iter().filter_map(|row| Some(row.pack.as_ref()?.pack_id)).collect();
            for pack_id in packs {
                if self.check_footer(pack_id).await.is_ok() {
                    opened_packs.insert(pack_id);
                }
            }
        }
        let opened_packs = &opened_packs;
        let check = |row: Location| async move {
            let checked = self.check_located(&row, deep, opened_packs).await;
            (row, checked)
        };
        let mut looked_at = stream::iter(rows).map(check).buffered(AT_ONCE);
        while let Some((row, checked)) = looked_at.next().await {
            report.records += 1;
            match checked {
                Ok(bytes) => report.dataset_bytes += bytes,
                Err(error) => {
                    let problem = chain(&error);
                    if error.is_permanent() && row.node_id == self.node_id() {
                        self.catalog.mark_record_damaged(row.record_id, &problem, self.clock.now()).await?;
                    }
                    report.findings.push(Finding { record_id: row.record_id, state: row.state, problem });
                }
            }
        }
        Ok(())
    }

    async fn check_located(
        self: &Arc<Self>,
        row: &Location,
        deep: bool,
        opened_packs: &HashSet<PackId>,
    ) -> Result<u64, Error> {
        let opened = self.open_found(row).await?;
        if !deep {
            return Ok(0);
        }
        if let Some(pack_id) = opened.pack_id().filter(|pack_id| !opened_packs.contains(pack_id)) {
            self.check_footer(pack_id).await?;
        }
        check_every_byte(opened).await
    }

    /// Opens every byte of a record and compares the dataset with its digest, and opens the footer of its pack: where the pack
    /// is now, not as it is cached. The dataset's size.
    ///
    /// # Errors
    /// When a byte cannot be fetched or opened, or the digest differs.
    pub(crate) async fn check_deep(
        self: &Arc<Self>,
        record_id: RecordId,
        opened_packs: &mut HashSet<PackId>,
    ) -> Result<u64, Error> {
        let opened = self.open(record_id).await?;
        if let Some(pack_id) = opened.pack_id().filter(|pack_id| !opened_packs.contains(pack_id)) {
            self.check_footer(pack_id).await?;
            opened_packs.insert(pack_id);
        }
        check_every_byte(opened).await
    }
}

async fn check_every_byte(opened: OpenRecord) -> Result<u64, Error> {
    let opened = opened.of_copies_only();
    opened.will_read(0..u64::MAX);
    let mut digest = Sha256::new();
    let mut number = 0;
    while let Some(chunk) = opened.chunk(number).await? {
        digest.update(&chunk);
        number += 1;
    }
    let table = opened.table();
    if <[u8; 32]>::from(digest.finalize()) == table.dataset_sha256 {
        Ok(table.dataset_bytes)
    } else {
        Err(Error::NotAsReceived(table.record_id))
    }
}
