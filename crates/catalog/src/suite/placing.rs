use std::time::Duration;

use filmgate_model::{InstanceState, Timestamp};

use super::support::{LOGGED, NOW, pack_id, packed_study, stated};
use crate::{Catalog, GivenUpUpload, UploadedPart};

const BOTH: &[&str] = &["main", "second"];

fn after(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

/// Where pack 1 stands, and what it waits for.
async fn standing(catalog: &Catalog) -> (InstanceState, Option<String>, Option<Timestamp>) {
    let pack = catalog.pack(pack_id(1)).await.expect("pack").expect("known");
    (pack.state, pack.reason, pack.next_try_at)
}

pub(super) async fn one_placement_holds_up_no_other(catalog: &Catalog) {
    packed_study(catalog, 1, "1.2", &[1]).await;
    let away = |attempt: u64, next| async move {
        for _ in 0..2 {
            catalog.upload_failed(pack_id(1), "second", "away", next, NOW).await.expect("fail");
        }
        let pack = catalog.pack(pack_id(1)).await.expect("pack").expect("known");
        assert_eq!((pack.attempts_in("second"), pack.attempts_in("main")), (attempt, 0));
    };
    away(1, after(10)).await;
    assert!(!catalog.record_uploaded(pack_id(1), "main", BOTH, after(1)).await.expect("upload"));
    let retrying = |next| (InstanceState::Retrying, Some("away".to_owned()), Some(next));
    assert_eq!(standing(catalog).await, retrying(after(10)));
    // It is proven where it is, before it is anywhere else.
    let claimed = catalog.claim_verification("main", after(2), &[]).await.expect("claim");
    assert_eq!(claimed.map(|pack| pack.pack_id), Some(pack_id(1)));
    assert!(!catalog.record_proven(pack_id(1), "main", BOTH, &stated(1), after(2)).await.expect("prove"));
    assert_eq!(standing(catalog).await, retrying(after(10)));
    away(2, after(20)).await;
    assert_eq!(catalog.claim_verification("main", after(30), &[]).await.expect("claim"), None, "done there");
    assert_eq!(catalog.claim_upload("second", after(19), &[]).await.expect("claim"), None, "not due");

    assert!(catalog.record_uploaded(pack_id(1), "second", BOTH, after(20)).await.expect("upload"));
    assert_eq!(standing(catalog).await, (InstanceState::Uploaded, None, None));
    // The reading back fails there once.
    catalog.upload_failed(pack_id(1), "second", "away", after(30), after(21)).await.expect("fail");
    assert_eq!(standing(catalog).await, retrying(after(30)));
    assert_eq!(catalog.claim_upload("second", after(30), &[]).await.expect("claim"), None, "it is there");
    assert!(catalog.claim_verification("second", after(30), &[]).await.expect("claim").is_some());
    assert!(catalog.record_proven(pack_id(1), "second", BOTH, &stated(1), after(30)).await.expect("prove"));
    assert_eq!(standing(catalog).await, (InstanceState::Uploaded, None, None), "no log names it yet");
    catalog.record_logged(&[stated(1).fact_id], LOGGED, after(31)).await.expect("log");
    assert_eq!(standing(catalog).await, (InstanceState::Verified, None, None));
    assert_eq!(catalog.next_retry_at("second").await.expect("retry"), None);
}

fn part(number: u32) -> UploadedPart {
    UploadedPart { number, bytes: 100, etag: format!("e{number}"), sha256: [number as u8; 32] }
}

pub(super) async fn parts_are_remembered(catalog: &Catalog) {
    packed_study(catalog, 1, "1.2", &[1]).await;
    packed_study(catalog, 2, "1.3", &[2]).await;
    let of = |placement: &'static str| async move {
        let upload = catalog.upload_in_parts(pack_id(1), placement).await.expect("upload");
        upload
            .map(|upload| (upload.upload_id, upload.parts.iter().map(|part| part.number).collect::<Vec<_>>()))
    };
    assert_eq!(of("main").await, None);
    catalog.record_upload_begun(pack_id(1), "main", "first", 100, NOW).await.expect("begin");
    for number in [3, 1, 3] {
        catalog.record_part(pack_id(1), "main", "first", &part(number)).await.expect("part");
    }
    assert_eq!(of("main").await, Some(("first".to_owned(), vec![1, 3])));
    let stored = catalog.upload_in_parts(pack_id(1), "main").await.expect("upload").expect("under way");
    assert_eq!((stored.part_bytes, &stored.parts[1]), (100, &part(3)));
    assert_eq!(of("second").await, None);
    assert!(catalog.is_known_upload("main", "first").await.expect("known"));
    assert!(!catalog.is_known_upload("second", "first").await.expect("known"));

    catalog.record_upload_begun(pack_id(1), "main", "again", 100, NOW).await.expect("begin");
    catalog.record_part(pack_id(1), "main", "first", &part(2)).await.expect("of an upload that is over");
    assert_eq!(of("main").await, Some(("again".to_owned(), vec![])));
    catalog.record_part(pack_id(1), "main", "again", &part(2)).await.expect("part");
    catalog.record_uploaded(pack_id(1), "main", BOTH, NOW).await.expect("upload");
    assert_eq!(of("main").await, None, "what is put is no upload any more");

    catalog.record_upload_begun(pack_id(2), "main", "lost", 100, NOW).await.expect("begin");
    assert_eq!(catalog.uploads_given_up("main").await.expect("given up"), []);
    catalog.mark_damaged(pack_id(2), "flipped bit", NOW).await.expect("damage");
    let lost = GivenUpUpload { pack_id: pack_id(2), upload_id: "lost".to_owned() };
    assert_eq!(catalog.uploads_given_up("main").await.expect("given up"), [lost]);
    catalog.forget_upload_in_parts(pack_id(2), "main").await.expect("forget");
    assert_eq!(catalog.uploads_given_up("main").await.expect("given up"), []);
}
