//! One suite for every bucket.

use std::sync::Arc;

use bytes::Bytes;

use crate::{Bucket, Error, LocalBucket, MemoryBucket, Multipart, PIECE_BYTES, Source, s3::tests::Server};

async fn behaves(bucket: Arc<dyn Bucket>) {
    let name = "v1/pack/00ff";
    assert!(bucket.head(name).await.expect("head").is_none());
    assert!(matches!(bucket.get(name, 0..1).await, Err(Error::NotFound(_))));
    bucket.delete(name).await.expect("deleting nothing is no error");

    let big: Vec<u8> = (0..PIECE_BYTES + 3).map(|n| (n % 251) as u8).collect();
    bucket.put(name, &Source::from_bytes(big.clone())).await.expect("put");
    assert_eq!(bucket.head(name).await.expect("head").map(|object| object.bytes), Some(big.len() as u64));
    let end = big.len() as u64;
    assert_eq!(bucket.get(name, end - 5..end).await.expect("tail").as_ref(), &big[big.len() - 5..]);
    assert!(bucket.get(name, 3..3).await.expect("empty range").is_empty());
    assert!(matches!(bucket.get(name, 0..end + 1).await, Err(Error::Short { bytes, .. }) if bytes == end));

    let again = bucket.put(name, &Source::from_bytes("other")).await;
    assert!(matches!(again, Err(Error::Exists(_))), "names are never reused");
    assert_eq!(bucket.get(name, 0..4).await.expect("first stays").as_ref(), &big[..4]);

    bucket.put("v1/key/aa/1", &Source::from_bytes("k")).await.expect("put");
    bucket.put("v1/pack/00aa", &Source::from_bytes("")).await.expect("an empty object");
    let names = |prefix: &'static str| {
        let bucket = Arc::clone(&bucket);
        async move {
            let found = bucket.list(prefix).await.expect("list");
            found.into_iter().map(|object| object.name).collect::<Vec<_>>()
        }
    };
    assert_eq!(names("v1/pack/").await, ["v1/pack/00aa", "v1/pack/00ff"]);
    assert_eq!(names("").await.len(), 3);
    bucket.delete(name).await.expect("delete");
    assert_eq!(names("v1/pack/").await, ["v1/pack/00aa"]);
    for bad in ["", "/etc/passwd", "v1/../x", "v1//x", "a b", "v1/.hidden"] {
        assert!(matches!(bucket.put(bad, &Source::from_bytes("x")).await, Err(Error::Name(_))), "{bad:?}");
    }
    let broken = Source::new(4, |_| Err(std::io::ErrorKind::Other.into()));
    assert!(bucket.put("v1/pack/bad", &broken).await.is_err());
    assert!(bucket.head("v1/pack/bad").await.expect("head").is_none(), "a failed put leaves no object");
}

/// The smallest part that is not the last, in most servers.
const PART_BYTES: usize = 5 << 20;

/// An upload is resumed by what the store lists, and leaves nothing behind.
async fn takes_parts(bucket: &dyn Bucket) {
    let parts = bucket.parts().expect("it takes parts");
    let name = "v1/pack/0123";
    let content: Bytes = (0..2 * PART_BYTES + 7).map(|n| (n % 253) as u8).collect::<Vec<_>>().into();
    let part =
        |number: usize| content.slice((number - 1) * PART_BYTES..content.len().min(number * PART_BYTES));
    let upload_id = parts.begin(name).await.expect("begin");
    let third = parts.put_part(name, &upload_id, 3, part(3)).await.expect("a part");
    let first = parts.put_part(name, &upload_id, 1, part(1)).await.expect("a part");
    let listed = parts.list_parts(name, &upload_id).await.expect("list");
    assert_eq!(listed.iter().map(|part| part.number).collect::<Vec<_>>(), [1, 3]);
    assert!(first.is_listed_as(&listed[0]) && third.is_listed_as(&listed[1]));
    assert!(listed[0].is(&part(1)) && !listed[0].is(&part(2)), "a part is known by its content");
    assert!(!first.is_listed_as(&listed[1]));
    assert!(bucket.head(name).await.expect("head").is_none(), "there is no object yet");
    let open = parts.list_uploads("v1/pack/").await.expect("uploads");
    assert_eq!(
        open.iter().map(|open| (&*open.name, &open.upload_id)).collect::<Vec<_>>(),
        [(name, &upload_id)]
    );
    let second = parts.put_part(name, &upload_id, 2, part(2)).await.expect("a part");
    parts.complete(name, &upload_id, &[first, second, third]).await.expect("complete");
    assert_eq!(bucket.head(name).await.expect("head").map(|object| object.bytes), Some(content.len() as u64));
    let seam = PART_BYTES as u64 - 3..PART_BYTES as u64 + 3;
    assert_eq!(
        bucket.get(name, seam.clone()).await.expect("get"),
        content.slice(seam.start as usize..seam.end as usize)
    );
    nothing_is_left(parts).await;

    let given_up = parts.begin("v1/pack/4567").await.expect("begin");
    parts.put_part("v1/pack/4567", &given_up, 1, part(3)).await.expect("a part");
    parts.abort("v1/pack/4567", &given_up).await.expect("abort");
    parts.abort("v1/pack/4567", &given_up).await.expect("twice is no error");
    for gone in [
        parts.list_parts("v1/pack/4567", &given_up).await.map(|_| ()),
        parts.put_part("v1/pack/4567", &given_up, 1, part(3)).await.map(|_| ()),
    ] {
        assert!(matches!(gone, Err(Error::UploadGone(_))), "{gone:?}");
    }
    nothing_is_left(parts).await;
}

async fn nothing_is_left(parts: &dyn Multipart) {
    assert_eq!(parts.list_uploads("v1/").await.expect("uploads"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_folder_behaves() {
    let folder = tempfile::tempdir().expect("a folder");
    behaves(Arc::new(LocalBucket::new(folder.path().join("bucket")))).await;
}

#[tokio::test]
async fn memory_behaves() {
    behaves(Arc::new(MemoryBucket::default())).await;
    takes_parts(&MemoryBucket::in_parts()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_behaves() {
    let Some(server) = Server::told() else { return };
    behaves(Arc::new(server.bucket("").await)).await;
    behaves(Arc::new(server.bucket("hospital-a/").await)).await;
    takes_parts(&server.bucket("").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_folder_that_is_away_is_unavailable_and_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("bucket");
    let bucket = LocalBucket::new(&root);
    bucket.put("v1/pack/00", &Source::from_bytes("x")).await.expect("put");
    let away = folder.path().join("away");
    std::fs::rename(&root, &away).expect("unmount");
    for outcome in [
        bucket.put("v1/pack/01", &Source::from_bytes("y")).await,
        bucket.head("v1/pack/00").await.map(|_| ()),
    ] {
        assert!(matches!(outcome, Err(Error::Unavailable { .. })), "{outcome:?}");
    }
    assert!(!root.exists(), "nothing is written where the share should be");
    std::fs::rename(&away, &root).expect("mount");
    assert!(bucket.head("v1/pack/00").await.expect("head").is_some());
}
