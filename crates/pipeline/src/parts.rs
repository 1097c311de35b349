//! A large pack goes in parts. What has arrived is written down, so that after a failure or a restart it is not sent again;
//! what the store has is compared with that, for neither is believed alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use filmgate_bucket::{ListedPart, Multipart, PARTS_MAX, Part, Source};
use filmgate_catalog::{Pack, UploadInParts, UploadedPart};
use filmgate_model::compute;
use futures::{StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;

use crate::{Error, Placement, Road, retrieve::pack_name, upload::is_there};

/// A part that has still to be put.
struct Missing {
    number: u32,
    range: Range<u64>,
    /// What the store has under this number already, if anything.
    listed: Option<ListedPart>,
}

/// Where the parts of an upload go.
struct Target<'a> {
    placement: &'a Placement,
    store: &'a dyn Multipart,
    pack: &'a Pack,
    name: &'a str,
    upload_id: &'a str,
}

/// What an upload finds.
enum Opened {
    /// One that is under way, with the parts the store lists of it.
    Upload(UploadInParts, Vec<ListedPart>),
    /// The object is there.
    Complete,
}

/// Uploads in parts that were open when this run first looked, by name, of each placement.
pub(crate) type OpenBefore = Mutex<BTreeMap<String, BTreeSet<String>>>;

impl Road {
    /// Puts a pack in parts, going on where an earlier try ended.
    pub(crate) async fn put_in_parts(
        self: &Arc<Self>,
        placement: &Placement,
        store: &dyn Multipart,
        pack: &Pack,
        content: &Source,
    ) -> Result<(), Error> {
        let name = pack_name(pack.pack_id);
        let (upload, listed) = match self.open_upload(placement, store, pack, &name).await? {
            Opened::Upload(upload, listed) => (upload, listed),
            Opened::Complete => return Ok(()),
        };
        let target = Target { placement, store, pack, name: &name, upload_id: &upload.upload_id };
        let (there, missing) = compare(&upload, listed, content);
        let parts = self.put_missing(&target, content, there, missing).await?;
        let Err(error) = store.complete(&name, &upload.upload_id, &parts).await else { return Ok(()) };
        if error.is_unclear() && is_there(&placement.bucket, &name, pack.bytes).await? {
            return Ok(());
        }
        // What cannot be completed is begun anew; what was not clear is asked for again.
        if !matches!(error, filmgate_bucket::Error::Unavailable { .. }) {
            store.abort(&name, &upload.upload_id).await?;
            self.catalog.forget_upload_in_parts(pack.pack_id, &placement.name).await?;
        }
        Err(error.into())
    }

    /// The upload that is under way, else a new one; with it what the store lists of its parts.
    async fn open_upload(
        &self,
        placement: &Placement,
        store: &dyn Multipart,
        pack: &Pack,
        name: &str,
    ) -> Result<Opened, Error> {
        let known = self.catalog.upload_in_parts(pack.pack_id, &placement.name).await?;
        let is_first_try = known.is_none() && pack.attempts_in(&placement.name) == 0;
        if is_first_try && !self.was_begun_before(placement, store, name).await? {
            return self.begun(placement, pack, store.begin(name).await?, Vec::new()).await;
        }
        // An earlier try may have got through, its answer lost; and what is there in another size is nobody's.
        match placement.bucket.head(name).await? {
            Some(object) if object.bytes == pack.bytes => return Ok(Opened::Complete),
            Some(_) => placement.bucket.delete(name).await?,
            None => {}
        }
        if let Some(upload) = known {
            match store.list_parts(name, &upload.upload_id).await {
                Ok(listed) => return Ok(Opened::Upload(upload, listed)),
                // Somebody gave it up.
                Err(filmgate_bucket::Error::UploadGone(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let upload_id = self.begin_once(store, name).await?;
        let listed = store.list_parts(name, &upload_id).await?;
        self.begun(placement, pack, upload_id, listed).await
    }

    async fn begun(
        &self,
        placement: &Placement,
        pack: &Pack,
        upload_id: String,
        listed: Vec<ListedPart>,
    ) -> Result<Opened, Error> {
        let part_bytes = part_bytes(pack.bytes, self.settings.part_size_bytes);
        let (pack_id, now) = (pack.pack_id, self.clock.now());
        self.catalog.record_upload_begun(pack_id, &placement.name, &upload_id, part_bytes, now).await?;
        Ok(Opened::Upload(UploadInParts { upload_id, part_bytes, parts: Vec::new() }, listed))
    }

    /// True when an upload of this name was open as this run first looked: an earlier one began it, and did not live to
    /// write that down. What this run begins it knows of, so the store is asked once.
    async fn was_begun_before(
        &self,
        placement: &Placement,
        store: &dyn Multipart,
        name: &str,
    ) -> Result<bool, Error> {
        if let Some(names) = self.open_before.lock().get(&placement.name) {
            return Ok(names.contains(name));
        }
        let names = store.list_uploads(PACKS).await?.into_iter().map(|upload| upload.name).collect();
        Ok(self.open_before.lock().entry(placement.name.clone()).or_insert(names).contains(name))
    }

    /// Takes over an upload of this name whose beginning was not answered: the name is this pack's alone. Begins one when
    /// there is none, and gives up others.
    async fn begin_once(&self, store: &dyn Multipart, name: &str) -> Result<String, Error> {
        let mut open = store.list_uploads(name).await?;
        open.retain(|upload| upload.name == name);
        let Some(first) = open.pop() else { return Ok(store.begin(name).await?) };
        for other in open {
            store.abort(name, &other.upload_id).await?;
        }
        Ok(first.upload_id)
    }

    /// Puts what is missing, some parts at a time; the whole list in order. After a failure those in flight still arrive.
    async fn put_missing(
        self: &Arc<Self>,
        target: &Target<'_>,
        content: &Source,
        mut parts: Vec<Part>,
        missing: Vec<Missing>,
    ) -> Result<Vec<Part>, Error> {
        let (mut missing, mut failed) = (missing.into_iter(), None);
        let mut flying = FuturesUnordered::new();
        loop {
            while failed.is_none()
                && flying.len() < self.settings.parts_in_flight
                && let Some(next) = missing.next()
            {
                flying.push(self.put_part(target, content, next));
            }
            match flying.next().await {
                Some(Ok(part)) => parts.push(part),
                Some(Err(error)) => failed = failed.or(Some(error)),
                None => break,
            }
        }
        parts.sort_by_key(|part| part.number);
        failed.map_or(Ok(parts), Err)
    }

    async fn put_part(
        self: &Arc<Self>,
        target: &Target<'_>,
        content: &Source,
        missing: Missing,
    ) -> Result<Part, Error> {
        let Missing { number, range, listed } = missing;
        let bytes = range.end - range.start;
        self.rest_for(bytes, target.pack.created_at).await;
        let _flight = self.flight.take(bytes).await;
        let content = content.clone();
        let content: Bytes = compute(move || content.read(range)).await??;
        let part = match listed {
            Some(listed) if listed.is(&content) => {
                compute(move || Part::of(number, &content, listed.etag)).await?
            }
            _ => {
                let part = target.store.put_part(target.name, target.upload_id, number, content).await?;
                metrics::counter!("filmgate_uploaded_parts_total").increment(1);
                part
            }
        };
        let (pack_id, placement) = (target.pack.pack_id, &target.placement.name);
        self.catalog.record_part(pack_id, placement, target.upload_id, &stored(&part)).await?;
        Ok(part)
    }

    /// Gives up uploads in parts that lead nowhere: of packs that need them no longer, and those nobody remembers, once
    /// they are older than any upload takes; how many.
    ///
    /// # Errors
    /// When the catalog cannot be asked; a store that is away is looked after the next time.
    pub async fn tidy_uploads(&self) -> Result<usize, Error> {
        let mut given_up = 0;
        for placement in &self.placements {
            let Some(store) = placement.bucket.parts() else { continue };
            match self.tidy_placement(placement, store).await {
                Ok(some) => given_up += some,
                Err(error @ Error::Catalog(_)) => return Err(error),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::info!(error, placement = placement.name, "uploads are tidied up later");
                }
            }
        }
        Ok(given_up)
    }

    async fn tidy_placement(&self, placement: &Placement, store: &dyn Multipart) -> Result<usize, Error> {
        let mut given_up = 0;
        for upload in self.catalog.uploads_given_up(&placement.name).await? {
            store.abort(&pack_name(upload.pack_id), &upload.upload_id).await?;
            self.catalog.forget_upload_in_parts(upload.pack_id, &placement.name).await?;
            given_up += 1;
        }
        let (now, age) = (self.clock.now(), self.settings.upload_abandoned_after);
        for open in store.list_uploads(PACKS).await? {
            let begun_at = filmgate_model::Timestamp(open.begun_at_ms);
            if now.since(begun_at) < age
                || self.catalog.is_known_upload(&placement.name, &open.upload_id).await?
            {
                continue;
            }
            tracing::warn!(
                placement = placement.name,
                object = open.name,
                "an upload nobody remembers is given up"
            );
            store.abort(&open.name, &open.upload_id).await?;
            given_up += 1;
        }
        Ok(given_up)
    }
}

/// Where packs are.
const PACKS: &str = "v1/pack/";

/// Which parts are there, as we and the store both know them, and which have to be put.
fn compare(upload: &UploadInParts, listed: Vec<ListedPart>, content: &Source) -> (Vec<Part>, Vec<Missing>) {
    let (mut there, mut missing) = (Vec::new(), Vec::new());
    for (number, range) in (1..).zip(content.parts(upload.part_bytes)) {
        let listed = listed.iter().find(|listed| listed.number == number);
        let kept = upload.parts.iter().find(|part| part.number == number).map(known);
        match (kept, listed) {
            (Some(part), Some(listed))
                if part.is_listed_as(listed) && part.bytes == range.end - range.start =>
            {
                there.push(part);
            }
            (_, listed) => missing.push(Missing { number, range, listed: listed.cloned() }),
        }
    }
    (there, missing)
}

/// A pack longer than the most parts of the usual size has larger ones, by whole MiB.
fn part_bytes(pack_bytes: u64, part_size_bytes: u64) -> u64 {
    let least = pack_bytes.div_ceil(PARTS_MAX);
    if least <= part_size_bytes { part_size_bytes } else { least.next_multiple_of(1 << 20) }
}

fn known(part: &UploadedPart) -> Part {
    Part { number: part.number, bytes: part.bytes, etag: part.etag.clone(), sha256: part.sha256 }
}

fn stored(part: &Part) -> UploadedPart {
    UploadedPart { number: part.number, bytes: part.bytes, etag: part.etag.clone(), sha256: part.sha256 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_pack_fits_in_the_parts_a_store_takes() {
        let usual = 8 << 20;
        assert_eq!(part_bytes(1, usual), usual);
        assert_eq!(part_bytes(PARTS_MAX * usual, usual), usual);
        let larger = part_bytes(PARTS_MAX * usual + 1, usual);
        assert_eq!(larger, 9 << 20);
        for pack in [1 << 40, (1 << 42) + 5] {
            assert!(u64::div_ceil(pack, part_bytes(pack, usual)) <= PARTS_MAX);
        }
    }

    #[test]
    fn a_part_is_there_when_we_and_the_store_say_so() {
        let content = Source::from_bytes(vec![7; 25]);
        let part = |number: u32, bytes: u64| {
            let start = (number as usize - 1) * 10;
            Part::of(number, &[7; 25][start..start + bytes as usize], format!("e{number}"))
        };
        let listed = |part: &Part, etag: &str| ListedPart {
            number: part.number,
            bytes: part.bytes,
            etag: etag.to_owned(),
        };
        let (first, second, third) = (part(1, 10), part(2, 10), part(3, 5));
        let upload = UploadInParts {
            upload_id: "u".into(),
            part_bytes: 10,
            parts: vec![stored(&first), stored(&second)],
        };
        let seen = vec![listed(&first, "e1"), listed(&second, "other"), listed(&third, "e3")];
        let (there, missing) = compare(&upload, seen, &content);
        assert_eq!(there, [first]);
        assert_eq!(missing.iter().map(|part| part.number).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(missing[1].range, 20..25);
        let (there, missing) = compare(&upload, Vec::new(), &content);
        assert_eq!((there.len(), missing.len()), (0, 3), "what the store has lost is put again");
    }
}
