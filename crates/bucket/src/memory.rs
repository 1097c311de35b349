//! Objects in memory, for simulations: durable as the caller keeps the value.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use crate::{Bucket, Error, ObjectInfo, Source, is_object_name};

/// A bucket that lives as long as the value.
#[derive(Default)]
pub struct MemoryBucket(Mutex<BTreeMap<String, Bytes>>);

impl MemoryBucket {
    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
}
