//! Objects in memory, for simulations: durable as the caller keeps the value.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use crate::{
    Bucket, Error, ListedPart, Multipart, ObjectInfo, OpenUpload, Part, Source, is_object_name,
    multipart::etag_of,
};

/// A bucket that lives as long as the value.
#[derive(Default)]
pub struct MemoryBucket {
    objects: Mutex<BTreeMap<String, Bytes>>,
    uploads: Mutex<Uploads>,
    /// True when large objects are taken in parts.
    in_parts: bool,
}

/// Uploads under way.
#[derive(Default)]
struct Uploads {
    begun: u64,
    open: BTreeMap<(String, String), BTreeMap<u32, Bytes>>,
}

impl MemoryBucket {
    /// A bucket that takes large objects in parts.
    #[must_use]
    pub fn in_parts() -> Self {
        Self { in_parts: true, ..Self::default() }
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_upload<T>(
        &self,
        name: &str,
        upload_id: &str,
        work: impl FnOnce(&mut BTreeMap<u32, Bytes>) -> T,
    ) -> Result<T, Error> {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        let upload = uploads.open.get_mut(&(name.to_owned(), upload_id.to_owned()));
        upload.map(work).ok_or_else(|| Error::UploadGone(name.to_owned()))
    }

    fn close_upload(&self, name: &str, upload_id: &str) -> Option<BTreeMap<u32, Bytes>> {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.open.remove(&(name.to_owned(), upload_id.to_owned()))
    }

    /// Changes the bytes of an object behind everybody's back.
    pub fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(object) = self.objects().get_mut(name) {
            let mut bytes = object.to_vec();
            change(&mut bytes);
            *object = bytes.into();
        }
    }
}

#[async_trait]
impl Bucket for MemoryBucket {
    async fn put(&self, name: &str, content: &Source) -> Result<(), Error> {
        if !is_object_name(name) {
            return Err(Error::Name(name.to_owned()));
        }
        let mut whole = BytesMut::new();
        for piece in content.pieces() {
            whole.extend_from_slice(&content.read(piece).map_err(Error::Source)?);
        }
        let mut objects = self.objects();
        if objects.contains_key(name) {
            return Err(Error::Exists(name.to_owned()));
        }
        objects.insert(name.to_owned(), whole.freeze());
        Ok(())
    }

    async fn get(&self, name: &str, range: Range<u64>) -> Result<Bytes, Error> {
        let objects = self.objects();
        let object = objects.get(name).ok_or_else(|| Error::NotFound(name.to_owned()))?;
        let bytes = object.len() as u64;
        if range.start > range.end || range.end > bytes {
            return Err(Error::Short { name: name.to_owned(), bytes });
        }
        // Both ends lie within a length that is a usize.
        Ok(object.slice(range.start as usize..range.end as usize))
    }

    async fn head(&self, name: &str) -> Result<Option<ObjectInfo>, Error> {
        let bytes = self.objects().get(name).map(|object| object.len() as u64);
        Ok(bytes.map(|bytes| ObjectInfo { name: name.to_owned(), bytes }))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, Error> {
        let objects = self.objects();
        let found = objects.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
        Ok(found
            .map(|(name, object)| ObjectInfo { name: name.clone(), bytes: object.len() as u64 })
            .collect())
    }

    async fn delete(&self, name: &str) -> Result<(), Error> {
        self.objects().remove(name);
        Ok(())
    }

    fn parts(&self) -> Option<&dyn Multipart> {
        self.in_parts.then_some(self)
    }
}

#[async_trait]
impl Multipart for MemoryBucket {
    async fn begin(&self, name: &str) -> Result<String, Error> {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.begun += 1;
        let upload_id = format!("{:08}", uploads.begun);
        uploads.open.insert((name.to_owned(), upload_id.clone()), BTreeMap::new());
        Ok(upload_id)
    }

    async fn put_part(
        &self,
        name: &str,
        upload_id: &str,
        number: u32,
        content: Bytes,
    ) -> Result<Part, Error> {
        let part = Part::of(number, &content, etag_of(&content));
        self.with_upload(name, upload_id, |parts| parts.insert(number, content))?;
        Ok(part)
    }

    async fn list_parts(&self, name: &str, upload_id: &str) -> Result<Vec<ListedPart>, Error> {
        let listed = |(&number, content): (&u32, &Bytes)| ListedPart {
            number,
            bytes: content.len() as u64,
            etag: etag_of(content),
        };
        self.with_upload(name, upload_id, |parts| parts.iter().map(listed).collect())
    }

    async fn complete(&self, name: &str, upload_id: &str, parts: &[Part]) -> Result<(), Error> {
        let arrived = self.with_upload(name, upload_id, |parts| parts.clone())?;
        let mut whole = BytesMut::new();
        for (number, part) in (1..).zip(parts) {
            let content =
                arrived.get(&number).filter(|content| part.number == number && part.etag == etag_of(content));
            whole.extend_from_slice(content.ok_or_else(|| Error::Changed(name.to_owned()))?);
        }
        self.close_upload(name, upload_id);
        self.objects().insert(name.to_owned(), whole.freeze());
        Ok(())
    }

    async fn abort(&self, name: &str, upload_id: &str) -> Result<(), Error> {
        self.close_upload(name, upload_id);
        Ok(())
    }

    async fn list_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>, Error> {
        let uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = uploads.open.keys().filter(|(name, _)| name.starts_with(prefix));
        let open = |(name, upload_id): &(String, String)| OpenUpload {
            name: name.clone(),
            upload_id: upload_id.clone(),
            begun_at_ms: 0,
        };
        Ok(ours.map(open).collect())
    }
}
