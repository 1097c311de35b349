//! Segments written ahead of need.
//!
//! Syncing blocks that were written before costs no commit of the file system's own journal; a file that grows does,
//! at every sync. So free segments are written full of zeros while nothing arrives, and receipt finds them ready.

use std::{sync::Arc, time::Duration};

use super::{Journal, State, pool::segment_name};
use crate::{
    Error,
    disk::{DiskFile, Open},
};

/// Zeros written at a time.
const PIECE_BYTES: usize = 1 << 20;
/// Nothing may have arrived for so long.
const QUIET: Duration = Duration::from_secs(1);
/// How soon after a failure, a full disk above all.
const AFTER_FAILURE: Duration = Duration::from_secs(30);

impl Journal {
    /// Adds one segment, written and synced, when fewer than [`super::JournalOptions::ready_segments`] are free, the
    /// pool may grow and the disk has room for as much again. False when there was nothing to do.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::NoRoom`]; the pool is as before.
    pub fn prepare_segment(&self) -> Result<bool, Error> {
        let ready_bytes = self.options.segment_bytes.saturating_mul(self.options.ready_segments as u64);
        let Some(id) = self.begin_to_prepare() else { return Ok(false) };
        let path = self.dir.join(segment_name(id));
        let made = match self.disk.free_bytes(&self.dir).map_err(Error::io("ask for free bytes")) {
            Ok(free_bytes) if free_bytes / 2 < ready_bytes => Ok(None),
            Ok(_) => self.write_zeros(&path).map(Some),
            Err(error) => Err(error),
        };
        let mut state = self.state.lock();
        state.pool.preparing = false;
        match made {
            Ok(Some(file)) if state.pool.add_ready(id, Arc::clone(&file)) => return Ok(true),
            Ok(None) => return Ok(false),
            Ok(Some(_)) | Err(_) => {}
        }
        drop(state);
        // Nobody needs what is left of it, and a start takes it for an empty segment.
        let _ = self.disk.remove_file(&path);
        made.map(|_| false)
    }

    fn write_zeros(&self, path: &std::path::Path) -> Result<Arc<dyn DiskFile>, Error> {
        let file =
            self.disk.open(path, Open::ReadWriteCreate).map_err(Error::io("create journal segment"))?;
        let zeros = vec![0; PIECE_BYTES];
        let mut offset = 0;
        while offset < self.options.segment_bytes {
            let left = usize::try_from(self.options.segment_bytes - offset).unwrap_or(PIECE_BYTES);
            let piece = zeros.get(..left.min(PIECE_BYTES)).unwrap_or_default();
            file.write_at(piece, offset).map_err(Error::io("write journal segment ahead"))?;
            offset += piece.len() as u64;
        }
        file.sync().map_err(Error::io("sync journal segment"))?;
        self.disk.sync_dir(&self.dir).map_err(Error::io("sync journal folder"))?;
        Ok(file)
    }

    fn begin_to_prepare(&self) -> Option<u32> {
        let mut state = self.state.lock();
        let wanted = !state.is_closed() && self.wants_segment(&state);
        if wanted { state.pool.take_id_to_prepare() } else { None }
    }

    fn wants_segment(&self, state: &State) -> bool {
        state.pool.ready() < self.options.ready_segments
    }

    /// Keeps segments ready until [`Journal::stop`], only while nothing arrives. For a thread of its own.
    pub fn run_prepare_thread(&self) {
        let mut state = self.state.lock();
        // The first ones before the first instance, the others when none has come for a while.
        let mut begun_before = state.begun;
        while !state.stopping {
            let is_quiet = state.begun == begun_before && !state.is_busy();
            begun_before = state.begun;
            let rest = if !is_quiet || !self.wants_segment(&state) {
                QUIET
            } else {
                drop(state);
                let made = self.prepare_segment();
                if let Err(error) = &made {
                    tracing::warn!(
                        error = error as &dyn std::error::Error,
                        "a journal segment was not prepared"
                    );
                }
                state = self.state.lock();
                if matches!(made, Ok(true)) { Duration::ZERO } else { AFTER_FAILURE }
            };
            if !rest.is_zero() && !state.stopping {
                self.stopped.wait_for(&mut state, rest);
            }
        }
    }
}

impl State {
    /// Instances are being written or wait for their sync.
    fn is_busy(&self) -> bool {
        !self.writing.is_empty() || !self.pending.is_empty()
    }
}
