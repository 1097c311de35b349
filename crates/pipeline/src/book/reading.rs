//! The exports of a bucket, entered into a catalog: of each history the newest that opens.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use filmgate_bucket::Error as BucketError;
use filmgate_catalog::BookRows;
use filmgate_log::{BookDocument, EXPORT_BYTES_MAX, ExportHead, ExportPlace};
use filmgate_model::{IncarnationId, NodeId, compute};

use super::Document;
use crate::{Error, Placement, Road, error::chain};

/// Objects of exports by history, the newest first.
type Listed<'a> = BTreeMap<IncarnationId, BTreeMap<Reverse<u64>, Vec<&'a Placement>>>;

/// At most so much is fetched of an object that calls itself an export.
const FETCHED_BYTES_MAX: u64 = EXPORT_BYTES_MAX as u64 + 1;

impl Road {
    /// Enters the newest export of every history that opens; with `of_node`, of those this node wrote. How many were
    /// entered. What does not open is told in `problems` and stops nothing.
    ///
    /// # Errors
    /// When the catalog or disk fails, or no placement can be asked.
    pub(crate) async fn enter_books(
        self: &Arc<Self>,
        of_node: Option<NodeId>,
        problems: &mut Vec<String>,
    ) -> Result<u64, Error> {
        let listed = self.list_everywhere(ExportPlace::FOLDER).await?;
        let mut histories = Listed::new();
        for (name, places) in &listed {
            match ExportPlace::of_object(name) {
                Some(place) => {
                    let history = histories.entry(place.incarnation).or_default();
                    history.insert(Reverse(place.number), places.iter().map(|(at, _)| *at).collect());
                }
                None => {
                    problems.push(format!("{name} is no export of the book, by its name; it is left alone"))
                }
            }
        }
        let mut entered = 0;
        for (incarnation, exports) in histories {
            for (Reverse(number), placements) in exports {
                let place = ExportPlace { incarnation, number };
                match self.read_export(place, &placements).await {
                    Ok((node, _)) if of_node.is_some_and(|wanted| wanted != node) => break,
                    Ok((_, rows)) => {
                        self.catalog.enter_book(&rows).await?;
                        self.take_sheets(&rows).await?;
                        entered += 1;
                        break;
                    }
                    Err(error @ (Error::Catalog(_) | Error::Cut(_))) => return Err(error),
                    Err(error) => problems.push(format!(
                        "{} does not open ({}): users, tokens and rules of callers come from the one before, if there is one",
                        place.object_name(),
                        chain(&error)
                    )),
                }
            }
        }
        Ok(entered)
    }

    /// What an export says, from the first placement whose copy is sound.
    async fn read_export(
        self: &Arc<Self>,
        place: ExportPlace,
        placements: &[&Placement],
    ) -> Result<(NodeId, BookRows), Error> {
        let mut problem = Error::NotPlaced { name: place.object_name() };
        for placement in placements {
            let read = match fetch(placement, &place.object_name()).await {
                Ok(bytes) => self.read_copy_of(place, bytes).await,
                Err(error) => Err(error.into()),
            };
            match read {
                Ok(read) => return Ok(read),
                Err(error) => problem = error,
            }
        }
        Err(problem)
    }

    async fn read_copy_of(
        self: &Arc<Self>,
        place: ExportPlace,
        bytes: Bytes,
    ) -> Result<(NodeId, BookRows), Error> {
        let head = ExportHead::read(&bytes, self.keys.site_id(), place)?;
        let key = self.log_key_by(head.log_key_id, 0).await?;
        compute(move || {
            let book = BookDocument::open(&bytes, &head, &key)?;
            Ok((book.node, Document::rows_of(&book.document)?))
        })
        .await?
    }

    /// A sheet of the keys in use, typed back at a node that is gone, was typed back.
    async fn take_sheets(self: &Arc<Self>, rows: &BookRows) -> Result<(), Error> {
        let (road, sheets) = (Arc::clone(self), rows.sheets.clone());
        let taken = compute(move || {
            for (subject, at) in &sheets {
                road.keys.take_sheet_confirmation(subject, *at)?;
            }
            Ok::<_, Error>(())
        });
        taken.await?
    }
}

async fn fetch(placement: &Placement, name: &str) -> Result<Bytes, BucketError> {
    let object = placement.bucket.head(name).await?;
    let object = object.ok_or_else(|| BucketError::NotFound(name.to_owned()))?;
    // A longer one is refused by its length.
    placement.bucket.get(name, 0..object.bytes.min(FETCHED_BYTES_MAX)).await
}
