//! What a pack says of itself: the footer from the local pack, else as it was kept, else from the first placement whose copy
//! is sound. With it every record of the pack can be opened, so that a frame costs no more than its own chunks.
//!
//! A pack that leaves the local disk leaves its header and footer in the cache; one that never was here is asked for them
//! once.

use std::{collections::HashMap, sync::Arc};

use bytes::{Bytes, BytesMut};
use filmgate_catalog::Pack;
use filmgate_model::{PackId, RecordId, StudyKeyId, Timestamp, compute};
use filmgate_seal::{PACK_HEADER_BYTES, PACK_TRAILER_BYTES, PackFooter, PackHeader, PackKind};

use crate::{
    Error, Placement, Road,
    error::chain,
    ranges::Of,
    retrieve::{PackContents, is_absent, pack_name},
};

/// Read of a pack's end at once: the footer of most, and all of a small one; up to the larger for a long pack.
const TAIL_BYTES: u64 = 256 * 1024;
const LONG_TAIL_BYTES: u64 = 4 * 1024 * 1024;
/// The footer takes about so little of a pack of images, and mostly less.
const TAIL_SHARE: u64 = 64;

/// Header, footer blocks and trailer of a pack, one behind the other.
#[derive(Clone)]
struct SealedFooter(Bytes);

impl SealedFooter {
    fn new(header: &[u8], footer: &[u8]) -> Self {
        let mut bytes = BytesMut::with_capacity(header.len() + footer.len());
        bytes.extend_from_slice(header);
        bytes.extend_from_slice(footer);
        Self(bytes.freeze())
    }
}

impl Road {
    /// The tables of a pack, from memory or its footer. Who asks for the same meanwhile waits for it.
    pub(crate) async fn pack_contents(self: &Arc<Self>, pack_id: PackId) -> Result<Arc<PackContents>, Error> {
        let make = async {
            let footer = self.pack_footer(pack_id).await?;
            Ok(Arc::new(PackContents::of(footer, &self.settings.texts).0))
        };
        self.contents.get_or_insert_async(&pack_id, make).await
    }

    /// The metadata kept of every record in a pack (DICOM JSON). Who reads it will open the records next.
    pub(crate) async fn packed_metadata(
        self: &Arc<Self>,
        pack_id: PackId,
    ) -> Result<HashMap<RecordId, Bytes>, Error> {
        let (contents, metadata) = PackContents::of(self.pack_footer(pack_id).await?, &self.settings.texts);
        self.contents.insert(pack_id, Arc::new(contents));
        Ok(metadata)
    }

    /// The opened footer of a pack: everything it says of its records.
    pub(crate) async fn pack_footer(self: &Arc<Self>, pack_id: PackId) -> Result<PackFooter, Error> {
        let pack = self.catalog.pack(pack_id).await?;
        let pack = pack.ok_or(Error::Differs { pack_id, what: "the catalog does not know it" })?;
        let rotten = match self.footer_here(pack_id).await {
            Ok(Some(footer)) => return Ok(footer),
            Ok(None) => None,
            Err(error @ (Error::Seal(_) | Error::Spool(_))) => Some(error),
            Err(error) => return Err(error),
        };
        if let Some(footer) = self.kept_footer(pack_id).await? {
            metrics::counter!("filmgate_cached_reads_total", "of" => Of::Footer.as_str()).increment(1);
            return Ok(footer);
        }
        let placed = self.footer_elsewhere(&pack).await;
        let Some(rotten) = rotten else { return placed };
        let footer = placed.map_err(|placed| rotten.unless_passing(placed))?;
        self.local_is_rotten(pack_id).await?;
        Ok(footer)
    }

    /// The footer of a pack in a bucket, which is kept.
    async fn footer_elsewhere(self: &Arc<Self>, pack: &Pack) -> Result<PackFooter, Error> {
        let told = self.header_told(pack.pack_id, pack.study_key_id, pack.created_at, pack.quarantine);
        let (sealed, footer) = self.placed_footer(pack.pack_id, pack.bytes, Some(&told)).await?;
        let (road, pack_id) = (Arc::clone(self), pack.pack_id);
        compute(move || road.keep_footer(pack_id, &sealed)).await?;
        Ok(footer)
    }

    /// A pack's footer as a placement has it now, whatever is kept here.
    ///
    /// # Errors
    /// When no placement has a sound copy and its key: the error of one that may have it once it answers.
    pub(crate) async fn read_footer(
        self: &Arc<Self>,
        pack_id: PackId,
        bytes: u64,
        told: Option<&PackHeader>,
    ) -> Result<PackFooter, Error> {
        self.placed_footer(pack_id, bytes, told).await.map(|(_, footer)| footer)
    }

    /// Opens a pack's footer where the pack is, whatever is kept of it.
    ///
    /// # Errors
    /// As [`Road::read_footer`].
    pub(crate) async fn check_footer(self: &Arc<Self>, pack_id: PackId) -> Result<(), Error> {
        if matches!(self.footer_here(pack_id).await, Ok(Some(_))) {
            return Ok(());
        }
        let pack = self.catalog.pack(pack_id).await?;
        let pack = pack.ok_or(Error::Differs { pack_id, what: "the catalog does not know it" })?;
        self.read_footer(pack_id, pack.bytes, None).await.map(drop)
    }

    /// A pack's header by what is told of it: it need not be fetched where that is so.
    pub(crate) fn header_told(
        &self,
        pack_id: PackId,
        study_key_id: StudyKeyId,
        created_at: Timestamp,
        quarantine: bool,
    ) -> PackHeader {
        let kind = if quarantine { PackKind::Quarantine } else { PackKind::Study };
        PackHeader { pack_id, site_id: self.keys.site_id(), study_key_id, created_at, kind }
    }

    async fn placed_footer(
        self: &Arc<Self>,
        pack_id: PackId,
        bytes: u64,
        told: Option<&PackHeader>,
    ) -> Result<(SealedFooter, PackFooter), Error> {
        let mut failed: Option<Error> = None;
        for placement in &self.placements {
            match self.footer_in(placement, pack_id, bytes, told).await {
                Ok(read) => return Ok(read),
                Err(error) => failed = Some(failed.filter(Error::may_pass).unwrap_or(error)),
            }
        }
        Err(failed.unwrap_or(Error::Differs { pack_id, what: "there is no placement" }))
    }

    async fn footer_in(
        self: &Arc<Self>,
        placement: &Placement,
        pack_id: PackId,
        bytes: u64,
        told: Option<&PackHeader>,
    ) -> Result<(SealedFooter, PackFooter), Error> {
        let name = pack_name(pack_id);
        let read = |range| self.object_bytes(placement, &name, range, Of::Footer);
        let cut = Error::Differs { pack_id, what: "it is too short for a pack" };
        let tail_start = bytes.saturating_sub(tail_bytes(bytes));
        let tail = read(tail_start..bytes).await?;
        let trailer = tail.len().checked_sub(PACK_TRAILER_BYTES).and_then(|at| tail.get(at..)).ok_or(cut)?;
        let range = filmgate_seal::footer_range(bytes, trailer)?;
        let footer = match range.start.checked_sub(tail_start) {
            // Within the tail, which ends where the pack does.
            Some(start) => tail.slice(start as usize..),
            None => read(range).await?,
        };
        if let Some(told) = told.filter(|_| tail_start > 0) {
            let sealed = SealedFooter::new(&told.to_bytes(), &footer);
            match self.open_footer(pack_id, sealed.clone()).await {
                // Something else was told than stands there: older versions noted another time.
                Err(Error::Seal(_)) => {}
                opened => return opened.map(|opened| (sealed, opened)),
            }
        }
        let header = match tail_start {
            0 => tail.slice(..tail.len().min(PACK_HEADER_BYTES)),
            _ => read(0..PACK_HEADER_BYTES as u64).await?,
        };
        let sealed = SealedFooter::new(&header, &footer);
        Ok((sealed.clone(), self.open_footer(pack_id, sealed).await?))
    }

    async fn open_footer(
        self: &Arc<Self>,
        pack_id: PackId,
        SealedFooter(sealed): SealedFooter,
    ) -> Result<PackFooter, Error> {
        let header = filmgate_seal::pack_header(&sealed)?;
        if header.pack_id != pack_id || header.site_id != self.keys.site_id() {
            return Err(Error::Differs { pack_id, what: "another pack stands under its name" });
        }
        let study_key = self.study_key(header.study_key_id).await?;
        let open = move || {
            let footer = sealed.get(PACK_HEADER_BYTES..).unwrap_or_default();
            filmgate_seal::open_footer(&study_key, &header, footer)
        };
        Ok(compute(open).await??)
    }

    /// From the local pack; `None` when there is none.
    async fn footer_here(self: &Arc<Self>, pack_id: PackId) -> Result<Option<PackFooter>, Error> {
        let road = Arc::clone(self);
        let Some(sealed) = compute(move || road.sealed_footer_here(pack_id)).await?? else { return Ok(None) };
        self.open_footer(pack_id, sealed).await.map(Some)
    }

    /// Blocks on the disk.
    fn sealed_footer_here(&self, pack_id: PackId) -> Result<Option<SealedFooter>, Error> {
        let file = match self.packs.open(pack_id) {
            Err(error) if is_absent(&error) => return Ok(None),
            opened => opened?,
        };
        let bytes = file.pack_bytes();
        let header = file.read(0..PACK_HEADER_BYTES as u64)?;
        let trailer = file.read(bytes.saturating_sub(PACK_TRAILER_BYTES as u64)..bytes)?;
        let footer = file.read(filmgate_seal::footer_range(bytes, &trailer)?)?;
        Ok(Some(SealedFooter::new(&header, &footer)))
    }

    /// As it was kept; `None` when it was not. What does not open any more is forgotten.
    async fn kept_footer(self: &Arc<Self>, pack_id: PackId) -> Result<Option<PackFooter>, Error> {
        let road = Arc::clone(self);
        let kept = compute(move || road.cached.footers.read(pack_id, &(0..1), u64::MAX)).await?;
        let Some(kept) = kept else { return Ok(None) };
        match self.open_footer(pack_id, SealedFooter(kept.into())).await {
            Err(error @ (Error::Seal(_) | Error::Differs { .. })) => {
                tracing::warn!(%pack_id, reason = chain(&error), "a footer in the cache does not open; it is fetched again");
                let road = Arc::clone(self);
                compute(move || road.cached.footers.forget(pack_id, &(0..u64::MAX))).await?;
                Ok(None)
            }
            opened => opened.map(Some),
        }
    }

    /// Keeps what opens the records of a local pack that is about to leave; blocks on the disk.
    pub(crate) fn keep_footer_here(&self, pack_id: PackId) {
        match self.sealed_footer_here(pack_id) {
            Ok(Some(sealed)) => self.keep_footer(pack_id, &sealed),
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%pack_id, error = &error as &dyn std::error::Error, "its footer is not kept");
            }
        }
    }

    fn keep_footer(&self, pack_id: PackId, SealedFooter(sealed): &SealedFooter) {
        if !self.cache_may_take(sealed.len()) {
            return;
        }
        if let Err(error) = self.cached.footers.keep(pack_id, 0, sealed) {
            tracing::debug!(%pack_id, error = &error as &dyn std::error::Error, "a footer is not kept");
        }
    }
}

fn tail_bytes(pack_bytes: u64) -> u64 {
    (pack_bytes / TAIL_SHARE).clamp(TAIL_BYTES, LONG_TAIL_BYTES)
}
