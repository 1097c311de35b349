//! What only the catalog holds goes, sealed, into every bucket: who may come in, tokens, the administrator, alarms, sheets
//! that were typed back. A rebuild on an empty machine enters the newest export of every node.
//!
//! | file | what |
//! | --- | --- |
//! | `document` | the rows of the book as an export says them |
//! | `reading` | the exports of a bucket, entered into a catalog |
//!
//! Order, always: log key in every bucket → export put → read back equal → said so in the catalog → older ones of this history
//! deleted. A number is given out once, before anything is put; what a crash leaves is one object more, and the next is made.

mod document;
mod reading;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use filmgate_bucket::{Error as BucketError, Source};
use filmgate_catalog::BookExport;
use filmgate_log::{BookDocument, ExportPlace};
use filmgate_model::{Timestamp, compute};
use parking_lot::Mutex;
use serde::Serialize;
use sha2::{Digest, Sha256};

use self::document::Document;
use crate::{Error, Placement, Road, error::chain};

/// Exports of this history that stay, with the newest.
const KEPT: usize = 4;
/// A node that began an export and gave no sign for so long does not finish it.
const CLAIM_STALE_AFTER: Duration = Duration::from_secs(120);
/// How often it is asked whether the last one stands in every bucket.
const ASK_EVERY: Duration = Duration::from_secs(60 * 60);
/// … and how soon a bucket that could not be asked, or failed, is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// How the export of the book stands.
#[derive(Debug, Clone, Serialize)]
pub struct BookStatus {
    /// When the last one was proven in every bucket; `None` when nothing was exported yet.
    pub exported_at: Option<Timestamp>,
    /// Its name in the bucket.
    pub object: Option<String>,
    /// Where it was proven.
    pub placements: Vec<String>,
    /// Since when something is decided that no export holds, as far as this node has looked; `None` when all is exported.
    pub changed_at: Option<Timestamp>,
    /// Why it cannot be exported now.
    pub problem: Option<String>,
}

/// What this process knows of exports.
#[derive(Default)]
pub(crate) struct Exporting {
    under_way: tokio::sync::Mutex<UnderWay>,
    told: Mutex<Told>,
}

#[derive(Default)]
struct UnderWay {
    /// Sealed, and not in every bucket yet.
    pending: Option<Pending>,
    /// When the last one was looked for in every bucket.
    asked_at: Option<Timestamp>,
    /// A bucket lacks it.
    lacking: bool,
    /// Nothing is tried before.
    not_before: Option<Timestamp>,
    /// A number that stands in a bucket and was not ours to use.
    number_seen: u64,
}

#[derive(Default)]
struct Told {
    changed_at: Option<Timestamp>,
    due_at: Option<Timestamp>,
    problem: Option<String>,
}

struct Pending {
    digest: [u8; 32],
    place: ExportPlace,
    bytes: Bytes,
    done: BTreeSet<String>,
}

impl Road {
    /// Exports the book when it changed a while ago, or when a bucket lacks the last export. True when one was proven in every
    /// bucket. A bucket's failure is no error: it is shown, and tried again.
    ///
    /// # Errors
    /// When disk, keys or the catalog fails.
    pub async fn export_book(self: &Arc<Self>) -> Result<bool, Error> {
        let mut under_way = self.exporting.under_way.lock().await;
        let now = self.clock.now();
        if under_way.not_before.is_some_and(|not_before| now < not_before) {
            return Ok(false);
        }
        self.note_sheet().await?;
        let rows = self.catalog.book_rows().await?;
        let said = compute(move || Document::of(&rows).map(|document| document.to_bytes())).await?;
        let Some(document) = said.transpose()? else { return Ok(false) };
        let last = self.catalog.last_book_export().await?;
        let digest: [u8; 32] = Sha256::digest(&document).into();
        let is_same = last.as_ref().is_some_and(|last| last.digest == digest);
        if is_same {
            self.exporting.told.lock().changed_at = None;
            self.exporting.told.lock().due_at = None;
            self.look_for_last(&mut under_way, last.as_ref()).await;
            if !under_way.lacking {
                under_way.pending = None;
                return Ok(false);
            }
        } else if !self.is_due(now) {
            return Ok(false);
        }
        let exported = self.export(&mut under_way, digest, document).await;
        let problem = match exported {
            Ok(exported) => {
                if exported {
                    let mut told = self.exporting.told.lock();
                    *told = Told::default();
                }
                return Ok(exported);
            }
            Err(error @ (Error::Bucket(_) | Error::NotPlaced { .. })) => chain(&error),
            Err(error) => return Err(error),
        };
        tracing::info!(problem, "the export of the book is put off");
        self.exporting.told.lock().problem = Some(problem);
        under_way.not_before = Some(now.plus(RETRY_AFTER));
        Ok(false)
    }

    /// How often it is to be looked whether the book changed.
    #[must_use]
    pub fn book_look(&self) -> Duration {
        (self.settings.book_export_after / 4).clamp(Duration::from_millis(100), RETRY_AFTER)
    }

    /// Nodes that see a change at the same moment do not all act at the same moment.
    fn is_due(&self, now: Timestamp) -> bool {
        let mut told = self.exporting.told.lock();
        let after = u64::try_from(self.settings.book_export_after.as_millis()).unwrap_or(u64::MAX);
        told.changed_at.get_or_insert(now);
        let due_at = *told.due_at.get_or_insert_with(|| {
            let wait = after / 2 + self.random.below(after / 2 + 1);
            now.plus(Duration::from_millis(wait))
        });
        now >= due_at
    }

    /// That a sheet was typed back stands in the folder of keys of the node it was typed at, and so in its own words here.
    async fn note_sheet(self: &Arc<Self>) -> Result<(), Error> {
        let road = Arc::clone(self);
        let Some((subject, at)) = compute(move || road.keys.sheet_confirmation()).await? else {
            return Ok(());
        };
        Ok(self.catalog.note_sheet(&subject, at).await?)
    }

    async fn look_for_last(&self, under_way: &mut UnderWay, last: Option<&BookExport>) {
        let (now, Some(last)) = (self.clock.now(), last) else { return };
        if under_way.lacking || under_way.asked_at.is_some_and(|asked| now.since(asked) < ASK_EVERY) {
            return;
        }
        under_way.asked_at = Some(now);
        let name = ExportPlace { incarnation: last.incarnation, number: last.number }.object_name();
        for placement in &self.placements {
            match placement.bucket.head(&name).await {
                Ok(Some(_)) => {}
                Ok(None) => {
                    tracing::info!(placement = placement.name, "the last export of the book is not there");
                    under_way.lacking = true;
                }
                // It is asked again before long.
                Err(_) => under_way.asked_at = None,
            }
        }
        if under_way.asked_at.is_none() && !under_way.lacking {
            under_way.not_before = Some(now.plus(RETRY_AFTER));
        }
    }

    async fn export(
        self: &Arc<Self>,
        under_way: &mut UnderWay,
        digest: [u8; 32],
        document: Vec<u8>,
    ) -> Result<bool, Error> {
        if under_way.pending.as_ref().is_none_or(|pending| pending.digest != digest) {
            under_way.pending = self.make_export(under_way, digest, document).await?;
        }
        let Some(pending) = &mut under_way.pending else { return Ok(false) };
        let (mut failed, mut taken) = (None, false);
        for placement in &self.placements {
            if pending.done.contains(&placement.name) {
                continue;
            }
            match place_export(placement, pending).await {
                Ok(true) => _ = pending.done.insert(placement.name.clone()),
                Ok(false) => taken = true,
                Err(error) => failed = Some(error),
            }
        }
        if taken {
            // A catalog restored from a copy counts anew: what stands there is somebody's, and another number is ours.
            under_way.number_seen = self.highest_number(pending.place).await?.max(pending.place.number);
            under_way.pending = None;
            return Ok(false);
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let export = BookExport {
            digest,
            node_id: self.keys.node_id(),
            incarnation: pending.place.incarnation,
            number: pending.place.number,
            placements: pending.done.iter().cloned().collect(),
            exported_at: self.clock.now(),
        };
        self.catalog.finish_book_export(&export).await?;
        under_way.lacking = false;
        under_way.asked_at = Some(self.clock.now());
        under_way.pending = None;
        metrics::counter!("filmgate_book_exports_total").increment(1);
        let object = ExportPlace { incarnation: export.incarnation, number: export.number }.object_name();
        tracing::info!(object, "what only the catalog holds is in every bucket");
        self.prune_exports(&export).await;
        Ok(true)
    }

    /// `None` while the log has not been opened, or another node makes one.
    async fn make_export(
        self: &Arc<Self>,
        under_way: &UnderWay,
        digest: [u8; 32],
        document: Vec<u8>,
    ) -> Result<Option<Pending>, Error> {
        // Only once a batch is accepted everywhere: its key is in every bucket then, and the history is not that of a copy.
        let road = Arc::clone(self);
        let settled = compute(move || road.settled_history()).await??;
        let Some((incarnation, log_key)) = settled else { return Ok(None) };
        let (now, anew) = (self.clock.now(), under_way.lacking);
        let stale = now.minus(CLAIM_STALE_AFTER);
        let claimed =
            self.catalog.claim_book_export(&digest, anew, under_way.number_seen, stale, now).await?;
        let Some(number) = claimed else { return Ok(None) };
        let (road, place) = (Arc::clone(self), ExportPlace { incarnation, number });
        let sealed = compute(move || {
            let key = road.log_key(log_key)?;
            let book = BookDocument { node: road.keys.node_id(), made_at: now, document };
            Ok::<_, Error>(book.seal(road.keys.site_id(), place, &key, &road.random)?)
        });
        Ok(Some(Pending { digest, place, bytes: sealed.await??.into(), done: BTreeSet::new() }))
    }

    /// The highest number of an export of this history in any bucket.
    async fn highest_number(&self, place: ExportPlace) -> Result<u64, Error> {
        let listed = self.list_everywhere(&folder(place)).await?;
        Ok(listed
            .keys()
            .filter_map(|name| ExportPlace::of_object(name))
            .map(|at| at.number)
            .max()
            .unwrap_or(0))
    }

    /// Deletes exports of this history before the newest, which was just proven everywhere; what cannot be deleted now is
    /// looked at after the next.
    async fn prune_exports(&self, newest: &BookExport) {
        let newest = ExportPlace { incarnation: newest.incarnation, number: newest.number };
        for placement in &self.placements {
            let pruned = async {
                let listed = placement.bucket.list(&folder(newest)).await?;
                let places = listed.iter().filter_map(|object| ExportPlace::of_object(&object.name));
                let mut older: Vec<_> = places.filter(|place| place.number < newest.number).collect();
                older.sort();
                let kept = KEPT.saturating_sub(1);
                for place in older.iter().rev().skip(kept) {
                    placement.bucket.delete(&place.object_name()).await?;
                }
                Ok::<_, BucketError>(())
            };
            if let Err(error) = pruned.await {
                tracing::info!(
                    placement = placement.name,
                    error = &error as &dyn std::error::Error,
                    "older exports of the book are not deleted yet"
                );
            }
        }
    }

    /// How the export stands.
    pub(crate) async fn book_status(&self) -> Result<BookStatus, Error> {
        let last = self.catalog.last_book_export().await?;
        let told = self.exporting.told.lock();
        let place =
            last.as_ref().map(|last| ExportPlace { incarnation: last.incarnation, number: last.number });
        Ok(BookStatus {
            exported_at: last.as_ref().map(|last| last.exported_at),
            object: place.map(|place| place.object_name()),
            placements: last.map(|last| last.placements).unwrap_or_default(),
            changed_at: told.changed_at,
            problem: told.problem.clone(),
        })
    }
}

/// The folder of a history's exports.
fn folder(place: ExportPlace) -> String {
    format!("{}{}/", ExportPlace::FOLDER, place.incarnation)
}

/// Puts an export and reads it back. False when something else stands under its name, which stays.
async fn place_export(placement: &Placement, pending: &Pending) -> Result<bool, Error> {
    let (bucket, name) = (&placement.bucket, pending.place.object_name());
    let length = pending.bytes.len() as u64;
    if bucket.head(&name).await?.is_none() {
        match bucket.put(&name, &Source::from_bytes(pending.bytes.clone())).await {
            Ok(()) | Err(BucketError::Exists(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    match bucket.get(&name, 0..length).await {
        Ok(read) if read == pending.bytes => Ok(true),
        Ok(_) | Err(BucketError::Short { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
