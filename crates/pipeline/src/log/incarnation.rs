//! Which run of batches a data directory writes, and the last of its batches, on the local disk.
//!
//! `log/incarnation.json` names the run and its keys; `log/<incarnation>-<sequence>.batch` is a batch as it was put, byte for
//! byte. Each is written as a whole or not at all, and synced, before anything depends on it.

use std::{io, path::PathBuf, sync::Arc};

use filmgate_log::{BATCH_BYTES_MAX, Place};
use filmgate_model::{IncarnationId, LogKeyId};
use filmgate_spool::{Disk, read_file, write_durably};
use serde::{Deserialize, Serialize};

use crate::Error;

/// Bytes of the file at most.
const INCARNATION_BYTES_MAX: u64 = 4096;
/// How its form is told from later ones.
const VERSION: u32 = 0;

/// A run of batches and the key they are sealed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Incarnation {
    version: u32,
    pub(crate) incarnation: IncarnationId,
    pub(crate) log_key: LogKeyId,
}

impl Incarnation {
    pub(crate) fn new(incarnation: IncarnationId, log_key: LogKeyId) -> Self {
        Self { version: VERSION, incarnation, log_key }
    }
}

/// The folder of the log on the local disk.
pub(crate) struct LogFolder {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
}

impl LogFolder {
    pub(crate) fn new(disk: Arc<dyn Disk>, folder: PathBuf) -> Self {
        Self { disk, folder }
    }

    /// The run this directory writes; `None` when it has not begun one. What is found is durable from then on.
    pub(crate) fn load(&self) -> Result<Option<Incarnation>, Error> {
        self.disk.create_dir_all(&self.folder)?;
        self.disk.sync_dir(&self.folder)?;
        let bytes = match read_file(&*self.disk, &self.state_file(), INCARNATION_BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let read: Incarnation = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        if read.version != VERSION {
            return Err(wrong(format!("log/incarnation.json is of version {}", read.version)).into());
        }
        Ok(Some(read))
    }

    /// Begins a run: durable when this returns. The batches of an earlier one are in the bucket, or are its no more.
    pub(crate) fn begin(&self, incarnation: &Incarnation) -> Result<(), Error> {
        let bytes = serde_json::to_vec(incarnation).map_err(io::Error::other)?;
        write_durably(&*self.disk, &self.state_file(), &bytes)?;
        self.remove(|place| place.incarnation != incarnation.incarnation)
    }

    /// The last batch of a run that is here.
    pub(crate) fn last(&self, incarnation: IncarnationId) -> Result<Option<(Place, Vec<u8>)>, Error> {
        let places = self.places()?.into_iter().filter(|place| place.incarnation == incarnation);
        let Some(place) = places.max() else { return Ok(None) };
        Ok(Some((place, read_file(&*self.disk, &self.file(place), BATCH_BYTES_MAX as u64)?)))
    }

    /// Keeps a batch: durable when this returns.
    pub(crate) fn keep(&self, place: Place, batch: &[u8]) -> Result<(), Error> {
        Ok(write_durably(&*self.disk, &self.file(place), batch)?)
    }

    /// Lets go what came before a batch that is accepted everywhere.
    pub(crate) fn prune(&self, accepted: Place) -> Result<(), Error> {
        self.remove(|place| place.incarnation == accepted.incarnation && place.sequence < accepted.sequence)
    }

    fn remove(&self, which: impl Fn(&Place) -> bool) -> Result<(), Error> {
        for place in self.places()?.into_iter().filter(which) {
            self.disk.remove_file(&self.file(place))?;
        }
        Ok(())
    }

    fn places(&self) -> Result<Vec<Place>, Error> {
        Ok(self.disk.read_dir(&self.folder)?.iter().filter_map(|name| place_of(name)).collect())
    }

    fn state_file(&self) -> PathBuf {
        self.folder.join("incarnation.json")
    }

    fn file(&self, place: Place) -> PathBuf {
        self.folder.join(format!("{}-{:020}.batch", place.incarnation, place.sequence))
    }
}

fn place_of(name: &str) -> Option<Place> {
    let (incarnation, sequence) = name.strip_suffix(".batch")?.split_once('-')?;
    Some(Place { incarnation: incarnation.parse().ok()?, sequence: sequence.parse().ok()? })
}
