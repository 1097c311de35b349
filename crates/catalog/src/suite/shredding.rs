//! Keys of what was deleted.

use std::time::Duration;

use filmgate_model::{FactId, NodeId, StudyKeyId, Timestamp};

use super::support::{NOW, instance, new_pack, node, pack_id, packed, packed_study, stated, verified};
use crate::{
    Because, Catalog, CopyKind, DeletionRules, Error, KeysGivenUp, NewDeletion, NewPack, Outgoing, ShredPlace,
};

const MAIN: &[&str] = &["main"];
const RULES: DeletionRules = DeletionRules { two_people: false, grace_ms: 60_000, retention_years: 0 };

fn after(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

fn because() -> Because {
    Because { who: "ann".to_owned(), why: "a court's order".to_owned() }
}

fn key(number: u8) -> StudyKeyId {
    StudyKeyId([number; 16])
}

fn shredding(number: u8) -> NewDeletion {
    NewDeletion {
        deletion_id: FactId([number; 16]),
        study_instance_uid: "1.2".to_owned(),
        sop_instance_uid: None,
        shreds: true,
        because: because(),
    }
}

async fn verified_pack(catalog: &Catalog, pack: u8) {
    catalog.record_uploaded(pack_id(pack), "main", MAIN, NOW).await.expect("upload");
    verified(catalog, pack).await;
}

async fn ask_and_confirm(catalog: &Catalog, number: u8, at: Timestamp) -> FactId {
    let asked = catalog.request_deletion(&shredding(number), RULES, at).await.expect("ask");
    let confirmed = catalog.confirm_deletion(asked.deletion_id, "ben", RULES, at).await.expect("confirm");
    assert_eq!(confirmed.due_at, Some(at), "it has no grace");
    asked.deletion_id
}

async fn give_up(catalog: &Catalog, id: FactId, at: Timestamp) -> KeysGivenUp {
    catalog.give_up_keys(id, MAIN, 0, at).await.expect("give up")
}

pub(super) async fn keys_go_with_the_last_pack_under_them(catalog: &Catalog) {
    packed_study(catalog, 1, "1.2", &[1, 2]).await;
    verified_pack(catalog, 1).await;
    let used = catalog.pack(pack_id(1)).await.expect("read").expect("known").study_key_id;
    catalog.remember_study_key("1.2", false, used, NOW).await.expect("remember");
    assert_eq!(catalog.study_key("1.2", false).await.expect("look"), Some(used));
    // Came after the deletion was asked for, and before it was confirmed: under the same key.
    let asked = catalog.request_deletion(&shredding(9), RULES, NOW).await.expect("ask");
    catalog.record_received(&[instance(3, "1.2", "1.2.1.3", &[])], NOW).await.expect("receive");
    let late = NewPack { study_key_id: used, ..new_pack(2, "1.2", false) };
    catalog.record_packed(&late, &[packed(3, 64, CopyKind::First)], &[], NOW).await.expect("pack");
    verified_pack(catalog, 2).await;
    let id = asked.deletion_id;
    catalog.confirm_deletion(id, "ben", RULES, after(1)).await.expect("confirm");
    assert_eq!(catalog.study_key("1.2", false).await.expect("look"), None, "what comes now gets another key");
    assert_eq!(catalog.deletions_with_keys(10).await.expect("look"), [], "nothing has gone yet");
    assert_eq!(give_up(catalog, id, after(2)).await, KeysGivenUp::default());

    assert_eq!(catalog.give_up_pack(pack_id(1), 0, 0, after(2)).await.expect("give up"), None);
    assert_eq!(catalog.deletions_with_keys(10).await.expect("look"), [id]);
    let waits = give_up(catalog, id, after(3)).await;
    assert!(waits.keys.is_empty() && waits.waits_for.is_some_and(|why| why.contains("--new-key")));
    assert_eq!(catalog.shredded_keys(None, 10).await.expect("list"), []);

    let id = ask_and_confirm(catalog, 10, after(4)).await;
    assert_eq!(catalog.give_up_pack(pack_id(2), 0, 0, after(4)).await.expect("give up"), None);
    let hold = FactId([40; 16]);
    catalog.place_hold(hold, "1.2", &because(), after(4)).await.expect("hold");
    let held = give_up(catalog, id, after(5)).await;
    assert!(held.keys.is_empty() && held.waits_for.is_some_and(|why| why.contains("hold")));
    catalog.release_hold(hold, &because(), after(5)).await.expect("release");
    let gone = give_up(catalog, id, after(6)).await;
    assert_eq!((gone.keys, gone.waits_for), (vec![used], None));
    assert_eq!(give_up(catalog, id, after(7)).await.keys, [], "once");

    let refused = NewPack { study_key_id: used, ..new_pack(5, "1.2", false) };
    let refused = catalog.record_packed(&refused, &[], &[], after(8)).await;
    assert!(matches!(refused, Err(Error::KeyShredded(id)) if id == used), "{refused:?}");
    assert!(catalog.pack(pack_id(5)).await.expect("read").is_none());
    let empty = catalog.request_deletion(&shredding(11), RULES, after(9)).await;
    assert!(matches!(empty, Err(Error::NothingToDelete(_))), "{empty:?}");
}

pub(super) async fn places_are_emptied_one_by_one(catalog: &Catalog) {
    let other = NodeId([0x11; 16]);
    // Only keys are left of the study: they can be named all the same.
    catalog.remember_study_key("1.2", false, key(7), NOW).await.expect("remember");
    catalog.announce_node(None, NOW, NOW).await.expect("announce");
    let id = ask_and_confirm(catalog, 9, NOW).await;
    catalog.delete_unpacked(id, 0, NOW).await.expect("carry out");
    assert_eq!(give_up(catalog, id, after(1)).await.keys, [key(7)]);
    assert_eq!(catalog.shredded_key_ids(None, 10).await.expect("list"), [key(7)]);
    assert_eq!(catalog.shredded_key_ids(Some(key(7)), 10).await.expect("list"), []);
    catalog.wait_for_node(key(7), other).await.expect("wait");

    let due = catalog.places_to_empty(after(1), 10).await.expect("list");
    let [own, bucket, journal] = &due[..] else { panic!("{due:?}") };
    assert_eq!(own.place, ShredPlace::Node(node()), "its own copy first");
    assert_eq!(
        (&bucket.place, &journal.place),
        (&ShredPlace::Bucket("main".into()), &ShredPlace::Journal(node()))
    );
    assert!(bucket.node_before.is_some());
    let fact = Outgoing { pack_id: None, ..stated(9) };
    catalog.place_emptied(key(7), &own.place, Some(&fact), after(2)).await.expect("done");
    catalog
        .place_emptied(
            key(7),
            &own.place,
            Some(&Outgoing { fact_id: FactId([8; 16]), ..fact.clone() }),
            after(3),
        )
        .await
        .expect("again");
    assert_eq!(catalog.outgoing(10).await.expect("outbox"), [fact], "stated once, with the place");
    catalog.place_waits(key(7), &journal.place, "its day", after(60)).await.expect("wait");
    let due = catalog.places_to_empty(after(3), 10).await.expect("list");
    assert_eq!(due.len(), 1, "{due:?}");
    assert_eq!(due[0].node_before, Some(ShredPlace::Node(other)));
    catalog.place_emptied(key(7), &ShredPlace::Node(other), None, after(4)).await.expect("heard");
    assert_eq!(catalog.places_to_empty(after(5), 10).await.expect("list")[0].node_before, None);

    let told = catalog.shredded_keys(Some("1.2"), 10).await.expect("list");
    let done = |place: &ShredPlace| {
        told[0].places.iter().find(|known| known.place == *place).map(|known| known.done_at)
    };
    assert_eq!(done(&ShredPlace::Node(node())), Some(Some(after(2))));
    assert_eq!(done(&ShredPlace::Bucket("main".into())), Some(None));
    assert_eq!(told[0].because, because());

    // A key a log names.
    for (new, moment) in [(true, 5), (false, 6)] {
        let heard = catalog.hear_shredded(key(8), "1.8", &because(), MAIN, after(moment)).await;
        assert_eq!(heard.expect("hear"), new);
    }
    let told = catalog.shredded_keys(Some("1.8"), 10).await.expect("list");
    let places: Vec<_> = told[0].places.iter().map(|known| known.place.to_string()).collect();
    assert_eq!(places, ["bucket:main".to_owned(), format!("journal:{}", node()), format!("node:{}", node())]);
    catalog.wipe_index().await.expect("wipe");
    assert_eq!(catalog.shredded_key_ids(None, 10).await.expect("list"), [key(7), key(8)], "for ever");
}
