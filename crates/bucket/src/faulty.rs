//! A bucket that misbehaves by plan, around any other.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Bucket, Error, ListedPart, Multipart, ObjectInfo, OpenUpload, Part, Source};

/// Which call is about to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// [`Bucket::put`].
    Put,
    /// [`Bucket::get`].
    Get,
    /// [`Bucket::head`].
    Head,
    /// [`Bucket::list`].
    List,
    /// [`Bucket::delete`].
    Delete,
    /// [`Multipart::begin`].
    Begin,
    /// [`Multipart::put_part`].
    PutPart,
    /// [`Multipart::list_parts`].
    ListParts,
    /// [`Multipart::complete`].
    Complete,
    /// [`Multipart::abort`].
    Abort,
    /// [`Multipart::list_uploads`].
    ListUploads,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it goes through.
    None,
    /// It fails and did not happen.
    Before,
    /// It happened, and the answer was lost.
    After,
    /// It answers with a flipped bit (reads), or stores one (writes) and says it went well.
    Corrupt,
}

type Plan = dyn Fn(Operation, &str) -> Fault + Send + Sync;

/// A bucket whose every call first asks a plan.
pub struct FaultyBucket {
    inner: Arc<dyn Bucket>,
    plan: Box<Plan>,
}

impl FaultyBucket {
    /// Wraps `inner`; `plan` decides each call by its kind and the object's name.
    pub fn new(
        inner: Arc<dyn Bucket>,
        plan: impl Fn(Operation, &str) -> Fault + Send + Sync + 'static,
    ) -> Self {
        Self { inner, plan: Box::new(plan) }
    }

    fn inner_parts(&self, name: &str) -> Result<&dyn Multipart, Error> {
        self.inner.parts().ok_or_else(|| Error::UploadGone(name.to_owned()))
    }

    fn before(&self, operation: Operation, name: &str) -> Result<Fault, Error> {
        match (self.plan)(operation, name) {
            Fault::Before => Err(lost(operation)),
            fault => Ok(fault),
        }
    }
}

fn lost(operation: Operation) -> Error {
    Error::Unavailable { reason: format!("planned fault at {operation:?}"), retry_after: None }
}

fn after<T>(fault: Fault, operation: Operation, answer: T) -> Result<T, Error> {
    if fault == Fault::After { Err(lost(operation)) } else { Ok(answer) }
}

/// Bits that writes and reads flip; not the same, so that the one never mends the other.
const FLIPPED_BY_WRITE: u8 = 1;
const FLIPPED_BY_READ: u8 = 2;

fn flip_a_bit(bytes: &[u8], bit: u8) -> Bytes {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= bit;
    }
    bytes.into()
}

#[async_trait]
impl Bucket for FaultyBucket {
    async fn put(&self, name: &str, content: &Source) -> Result<(), Error> {
        let fault = self.before(Operation::Put, name)?;
        if fault == Fault::Corrupt {
            let content = content.clone();
            let bytes = content.bytes();
            let flipped = Source::new(bytes, move |range| {
                content.read(range).map(|piece| flip_a_bit(&piece, FLIPPED_BY_WRITE))
            });
            return self.inner.put(name, &flipped).await;
        }
        self.inner.put(name, content).await?;
        after(fault, Operation::Put, ())
    }

    async fn get(&self, name: &str, range: Range<u64>) -> Result<Bytes, Error> {
        let fault = self.before(Operation::Get, name)?;
        let bytes = self.inner.get(name, range).await?;
        let bytes = if fault == Fault::Corrupt { flip_a_bit(&bytes, FLIPPED_BY_READ) } else { bytes };
        after(fault, Operation::Get, bytes)
    }

    async fn head(&self, name: &str) -> Result<Option<ObjectInfo>, Error> {
        let fault = self.before(Operation::Head, name)?;
        after(fault, Operation::Head, self.inner.head(name).await?)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, Error> {
        let fault = self.before(Operation::List, prefix)?;
        after(fault, Operation::List, self.inner.list(prefix).await?)
    }

    async fn delete(&self, name: &str) -> Result<(), Error> {
        let fault = self.before(Operation::Delete, name)?;
        self.inner.delete(name).await?;
        after(fault, Operation::Delete, ())
    }

    async fn versions_left(&self, prefix: &str) -> Result<usize, Error> {
        let fault = self.before(Operation::List, prefix)?;
        after(fault, Operation::List, self.inner.versions_left(prefix).await?)
    }

    fn parts(&self) -> Option<&dyn Multipart> {
        self.inner.parts().map(|_| self as &dyn Multipart)
    }
}

#[async_trait]
impl Multipart for FaultyBucket {
    async fn begin(&self, name: &str) -> Result<String, Error> {
        let fault = self.before(Operation::Begin, name)?;
        after(fault, Operation::Begin, self.inner_parts(name)?.begin(name).await?)
    }

    async fn put_part(
        &self,
        name: &str,
        upload_id: &str,
        number: u32,
        content: Bytes,
    ) -> Result<Part, Error> {
        let fault = self.before(Operation::PutPart, name)?;
        let content = if fault == Fault::Corrupt { flip_a_bit(&content, FLIPPED_BY_WRITE) } else { content };
        let part = self.inner_parts(name)?.put_part(name, upload_id, number, content).await?;
        after(fault, Operation::PutPart, part)
    }

    async fn list_parts(&self, name: &str, upload_id: &str) -> Result<Vec<ListedPart>, Error> {
        let fault = self.before(Operation::ListParts, name)?;
        after(fault, Operation::ListParts, self.inner_parts(name)?.list_parts(name, upload_id).await?)
    }

    async fn complete(&self, name: &str, upload_id: &str, parts: &[Part]) -> Result<(), Error> {
        let fault = self.before(Operation::Complete, name)?;
        self.inner_parts(name)?.complete(name, upload_id, parts).await?;
        after(fault, Operation::Complete, ())
    }

    async fn abort(&self, name: &str, upload_id: &str) -> Result<(), Error> {
        let fault = self.before(Operation::Abort, name)?;
        self.inner_parts(name)?.abort(name, upload_id).await?;
        after(fault, Operation::Abort, ())
    }

    async fn list_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>, Error> {
        let fault = self.before(Operation::ListUploads, prefix)?;
        after(fault, Operation::ListUploads, self.inner_parts(prefix)?.list_uploads(prefix).await?)
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::MemoryBucket;

    #[test]
    fn each_fault_does_what_it_says() {
        let inner = Arc::new(MemoryBucket::default());
        let with = |fault| FaultyBucket::new(inner.clone(), move |_, _| fault);
        assert!(block_on(with(Fault::Before).put("a", &Source::from_bytes("x"))).is_err());
        assert!(block_on(inner.head("a")).expect("head").is_none());
        assert!(block_on(with(Fault::After).put("a", &Source::from_bytes("x"))).is_err());
        assert!(block_on(inner.head("a")).expect("head").is_some());
        assert!(block_on(with(Fault::Corrupt).put("b", &Source::from_bytes("xyz"))).is_ok());
        assert_ne!(block_on(inner.get("b", 0..3)).expect("get").as_ref(), b"xyz");
        assert_eq!(block_on(with(Fault::None).get("a", 0..1)).expect("get").as_ref(), b"x");
    }
}
