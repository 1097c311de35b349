//! What a pack in a bucket says of itself: read without the catalog, from the first placement whose copy is sound.

use std::sync::Arc;

use filmgate_model::{PackId, compute};
use filmgate_seal::{PACK_HEADER_BYTES, PACK_TRAILER_BYTES, PackFooter};

use crate::{Error, Placement, Road, retrieve::pack_name};

/// Read of a pack's end at once: the footer of most, and all of a small one.
const TAIL_BYTES: u64 = 256 * 1024;

impl Road {
    /// Opens the footer of a pack of `bytes` bytes.
    ///
    /// # Errors
    /// That of the last placement, when none has a sound copy and its key.
    pub(crate) async fn read_footer(
        self: &Arc<Self>,
        pack_id: PackId,
        bytes: u64,
    ) -> Result<PackFooter, Error> {
        let mut last = Error::Differs { pack_id, what: "there is no placement" };
        for placement in &self.placements {
            match self.footer_in(placement, pack_id, bytes).await {
                Ok(footer) => return Ok(footer),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn footer_in(
        self: &Arc<Self>,
        placement: &Placement,
        pack_id: PackId,
        bytes: u64,
    ) -> Result<PackFooter, Error> {
        let name = pack_name(pack_id);
        let cut = Error::Differs { pack_id, what: "it is too short for a pack" };
        let tail_start = bytes.saturating_sub(TAIL_BYTES);
        let tail = placement.bucket.get(&name, tail_start..bytes).await?;
        let header = match tail_start {
            0 => tail.clone(),
            _ => placement.bucket.get(&name, 0..PACK_HEADER_BYTES as u64).await?,
        };
        let header = filmgate_seal::pack_header(&header)?;
        if header.pack_id != pack_id || header.site_id != self.keys.site_id() {
            return Err(Error::Differs { pack_id, what: "another pack stands under its name" });
        }
        let trailer = tail.len().checked_sub(PACK_TRAILER_BYTES).and_then(|at| tail.get(at..)).ok_or(cut)?;
        let range = filmgate_seal::footer_range(bytes, trailer)?;
        let footer = match range.start.checked_sub(tail_start) {
            // Within the tail, which ends where the pack does.
            Some(start) => tail.slice(start as usize..(range.end - tail_start) as usize),
            None => placement.bucket.get(&name, range).await?,
        };
        let study_key = self.study_key(header.study_key_id).await?;
        Ok(compute(move || filmgate_seal::open_footer(&study_key, &header, &footer)).await??)
    }
}
