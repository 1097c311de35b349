//! Who may lose what.

use std::time::Duration;

use filmgate_model::{FactId, InstanceState, NodeId, StudyKeyId, Timestamp, tags};

use super::support::{NOW, instance, new_pack, node, pack_id, packed, packed_study, record};
use crate::{
    Because, Catalog, CopyKind, CustodyFound, DeletionFound, DeletionRules, DeletionStep, DroppedCopy, Error,
    Hold, Move, NewDeletion, Query, Retention, RetentionRule, Stays,
};

const MAIN: &[&str] = &["main"];
const RULES: DeletionRules = DeletionRules { two_people: false, grace_ms: 60_000, retention_years: 0 };

fn after(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

fn because(who: &str) -> Because {
    Because { who: who.to_owned(), why: "wrong patient".to_owned() }
}

fn deletion(number: u8, sop: Option<&str>) -> NewDeletion {
    NewDeletion {
        deletion_id: FactId([number; 16]),
        study_instance_uid: "1.2".to_owned(),
        sop_instance_uid: sop.map(str::to_owned),
        shreds: false,
        because: because("ann"),
    }
}

async fn verified(catalog: &Catalog, pack: u8) {
    catalog.record_uploaded(pack_id(pack), "main", MAIN, NOW).await.expect("upload");
    super::support::verified(catalog, pack).await;
}

async fn said(catalog: &Catalog) -> usize {
    let served = catalog.instances_of_study("1.2").await.expect("served").len();
    let found = catalog.search_instances(&Query::new()).await.expect("search").rows.len();
    assert_eq!(served, found, "what is found is served");
    served
}

pub(super) async fn a_deletion_takes_what_it_named_and_nothing_later(catalog: &Catalog) {
    packed_study(catalog, 1, "1.2", &[1, 2]).await;
    verified(catalog, 1).await;
    let asked = catalog.request_deletion(&deletion(9, None), RULES, NOW).await.expect("ask");
    assert_eq!((asked.step(), asked.records), (DeletionStep::Requested, 2));
    assert_eq!(said(catalog).await, 2, "nothing changes before it is confirmed");
    let nothing = catalog.request_deletion(&deletion(8, None), RULES, NOW).await;
    assert!(matches!(nothing, Err(Error::NothingToDelete(_))), "{nothing:?}");

    // The same bytes again, meanwhile: never dropped against what is to go.
    let mut again = instance(3, "1.2", "1.2.1.1", &[]);
    again.dataset_sha256 = [1; 32];
    catalog.record_received(&[again], NOW).await.expect("receive");
    let copies = catalog.packed_copies_of(&["1.2.1.1"]).await.expect("copies");
    assert!(copies.iter().all(|copy| copy.to_be_deleted), "{copies:?}");
    let dropped = [DroppedCopy { record_id: record(3), same_as: record(1) }];
    let refused = catalog.record_dropped(&dropped, NOW).await;
    assert!(matches!(refused, Err(Error::CopyGone { .. })), "{refused:?}");

    let id = asked.deletion_id;
    let confirmed = catalog.confirm_deletion(id, "ben", RULES, NOW).await.expect("confirm");
    assert_eq!((confirmed.step(), confirmed.due_at), (DeletionStep::Confirmed, Some(after(60))));
    assert_eq!(said(catalog).await, 1, "hidden at once; what came later answers");
    let early = catalog.give_up_pack(pack_id(1), 0, 0, after(59)).await;
    assert!(matches!(early, Err(Error::NotOpen { .. })), "{early:?}");
    assert_eq!(catalog.deletions_due(after(59), 0, 10).await.expect("due"), []);

    assert_eq!(catalog.give_up_pack(pack_id(1), 0, 0, after(60)).await.expect("give up"), None);
    let done = catalog.deletion(id).await.expect("read").expect("known");
    assert_eq!((done.step(), done.records, done.records_gone), (DeletionStep::Done, 2, 2));
    let row = catalog.locate(record(1)).await.expect("read").expect("it stays visible as deleted");
    assert_eq!(row.state, InstanceState::Deleted);
    let reason = row.reason.unwrap_or_default();
    assert!(reason.contains("ann") && reason.contains("ben") && reason.contains("wrong patient"), "{reason}");
    assert_eq!(said(catalog).await, 1);
    let late = catalog.cancel_deletion(id, &because("ann"), after(61)).await;
    assert!(matches!(late, Err(Error::NotOpen { .. })), "{late:?}");

    let going = catalog.packs_going(after(60), 10).await.expect("going");
    assert_eq!(going.iter().map(|pack| pack.pack_id).collect::<Vec<_>>(), [pack_id(1)]);
    catalog.going_failed(pack_id(1), "away", after(70)).await.expect("put off");
    assert!(catalog.packs_going(after(69), 10).await.expect("going").is_empty());
    catalog.record_gone(pack_id(1), after(70)).await.expect("gone");
    assert!(catalog.packs_going(after(80), 10).await.expect("going").is_empty());
}

pub(super) async fn a_deletion_can_be_taken_back(catalog: &Catalog) {
    packed_study(catalog, 1, "1.2", &[1, 2]).await;
    verified(catalog, 1).await;
    for confirm in [false, true] {
        let number = 20 + u8::from(confirm);
        let asked = catalog.request_deletion(&deletion(number, Some("1.2.1.1")), RULES, NOW).await;
        let id = asked.expect("ask").deletion_id;
        if confirm {
            catalog.confirm_deletion(id, "ann", RULES, NOW).await.expect("one person may do both");
            assert_eq!(said(catalog).await, 1);
        }
        let back = catalog.cancel_deletion(id, &because("ben"), after(30)).await.expect("take back");
        assert_eq!(back.step(), DeletionStep::Cancelled);
        assert_eq!(said(catalog).await, 2, "as before");
        assert_eq!(catalog.give_up_pack(pack_id(1), 0, 0, after(90)).await.expect("ask"), Some(Stays::Named));
        let again = catalog.confirm_deletion(id, "ann", RULES, NOW).await;
        assert!(matches!(again, Err(Error::NotOpen { .. })), "{again:?}");
    }
    let two = DeletionRules { two_people: true, ..RULES };
    let id = catalog.request_deletion(&deletion(30, None), two, NOW).await.expect("ask").deletion_id;
    let same = catalog.confirm_deletion(id, "ann", two, NOW).await;
    assert!(matches!(same, Err(Error::SamePerson(_))), "{same:?}");
    catalog.confirm_deletion(id, "ben", two, NOW).await.expect("another person");
}

pub(super) async fn a_hold_wins_however_late_it_comes(catalog: &Catalog) {
    packed_study(catalog, 1, "1.2", &[1, 2]).await;
    verified(catalog, 1).await;
    catalog.record_received(&[instance(3, "1.2", "1.2.1.3", &[])], NOW).await.expect("receive");
    let held = FactId([40; 16]);
    let by = because("court");
    assert_eq!(catalog.place_hold(held, "1.2", &by, NOW).await.expect("hold"), 0);
    let asked = catalog.request_deletion(&deletion(9, None), RULES, NOW).await;
    assert!(matches!(asked, Err(Error::Held { .. })), "{asked:?}");
    assert_eq!(catalog.locate(record(1)).await.expect("read").expect("known").deletion_id, None);

    catalog.release_hold(held, &by, NOW).await.expect("release");
    let twice = catalog.release_hold(held, &by, NOW).await;
    assert!(matches!(twice, Err(Error::NoSuchHold(_))), "{twice:?}");
    let id = catalog.request_deletion(&deletion(9, None), RULES, NOW).await.expect("ask").deletion_id;
    catalog.place_hold(FactId([41; 16]), "1.2", &by, NOW).await.expect("hold");
    let confirmed = catalog.confirm_deletion(id, "ben", RULES, NOW).await;
    assert!(matches!(confirmed, Err(Error::Held { .. })), "{confirmed:?}");

    catalog.release_hold(FactId([41; 16]), &by, NOW).await.expect("release");
    catalog.confirm_deletion(id, "ben", RULES, NOW).await.expect("confirm");
    catalog.place_hold(FactId([42; 16]), "1.2", &by, after(61)).await.expect("hold");
    let packed = catalog.give_up_pack(pack_id(1), 0, 0, after(61)).await;
    assert!(matches!(packed, Err(Error::Held { .. })), "{packed:?}");
    let unpacked = catalog.delete_unpacked(id, 0, after(61)).await;
    assert!(matches!(unpacked, Err(Error::Held { .. })), "{unpacked:?}");
    for number in [1, 3] {
        let row = catalog.locate(record(number)).await.expect("read").expect("known");
        assert_ne!(row.state, InstanceState::Deleted);
    }
    let holds = catalog.holds(Some("1.2"), 10).await.expect("holds");
    assert_eq!((holds.len(), holds.iter().filter(|hold| hold.released.is_none()).count()), (3, 1));

    catalog.release_hold(FactId([42; 16]), &by, after(62)).await.expect("release");
    assert_eq!(catalog.delete_unpacked(id, 0, after(62)).await.expect("delete"), [record(3)]);
    assert_eq!(catalog.give_up_pack(pack_id(1), 0, 0, after(62)).await.expect("give up"), None);
    assert_eq!(catalog.place_hold(FactId([43; 16]), "1.2", &by, after(63)).await.expect("hold"), 3);
}

/// One node keeps nothing by rule; another of the site does, and so neither deletes sooner.
pub(super) async fn how_long_a_node_keeps_binds_the_others(catalog: &Catalog) {
    let rule = |node_id, years, stated_at| RetentionRule { node_id, years, stated_at };
    let (one, two) = (NodeId([0x61; 16]), NodeId([0x62; 16]));
    assert_eq!(catalog.longest_retention_elsewhere().await.expect("asked"), None);
    catalog.record_received(&[instance(1, "1.2", "1.2.1.1", &[])], NOW).await.expect("receive");
    let id = catalog.request_deletion(&deletion(1, None), RULES, NOW).await.expect("ask").deletion_id;
    // What this node said of itself once is its setting's to say now.
    let rules = [rule(one, 30, NOW), rule(two, 2, NOW), rule(node(), 99, NOW)];
    catalog.note_retention_rules(&rules, &[]).await.expect("noted");
    catalog.note_retention_rules(&[rule(one, 0, Timestamp(NOW.0 - 1))], &[]).await.expect("an earlier word");
    assert_eq!(catalog.longest_retention_elsewhere().await.expect("asked"), Some(rule(one, 30, NOW)));
    let refused = catalog.confirm_deletion(id, "ben", RULES, NOW).await.expect_err("kept").to_string();
    assert!(refused.contains("retention.years = 30 of node 6161"), "{refused}");

    catalog.note_retention_rules(&[], &[one]).await.expect("taken over");
    let refused = catalog.confirm_deletion(id, "ben", RULES, NOW).await.expect_err("kept").to_string();
    assert!(refused.contains("retention.years = 2 of node 6262"), "{refused}");
    catalog.note_retention_rules(&[rule(two, 0, Timestamp(NOW.0 + 1))], &[]).await.expect("its last word");
    catalog.confirm_deletion(id, "ben", RULES, NOW).await.expect("nobody keeps it by rule");
}

pub(super) async fn what_must_be_kept_is_kept(catalog: &Catalog) {
    let rules = DeletionRules { retention_years: 1, ..RULES };
    let dated = instance(1, "1.2", "1.2.1.1", &[(tags::STUDY_DATE, "20231201")]);
    catalog.record_received(&[dated], NOW).await.expect("receive");
    // NOW is 2023-11-14: the study's date is the later of the two.
    let year = Duration::from_millis(31_556_952_000);
    let over = Timestamp(1_701_388_800_000).plus(year);
    let early = catalog.request_deletion(&deletion(1, None), rules, Timestamp(over.0 - 1)).await;
    assert!(
        matches!(early, Err(Error::Retained { keep_until, .. }) if keep_until == over),
        "{early:?}, {over}"
    );
    let id = catalog.request_deletion(&deletion(1, None), rules, over).await.expect("ask").deletion_id;

    let by = because("law");
    catalog.set_retention("1.2", over.plus(year), &by, over).await.expect("keep");
    let shorter = catalog.set_retention("1.2", over, &by, over).await;
    assert!(matches!(shorter, Err(Error::Shorter { .. })), "{shorter:?}");
    let confirmed = catalog.confirm_deletion(id, "ben", rules, over).await;
    assert!(matches!(confirmed, Err(Error::Retained { .. })), "{confirmed:?}");
    let later = over.plus(year);
    catalog.confirm_deletion(id, "ben", rules, later).await.expect("confirm");
    catalog.set_retention("1.2", later.plus(year), &by, later).await.expect("prolong");
    let executed = catalog.delete_unpacked(id, 1, later.plus(Duration::from_secs(61))).await;
    assert!(matches!(executed, Err(Error::Retained { .. })), "{executed:?}");
    assert_eq!(catalog.retentions(10).await.expect("list").len(), 1);
    let unsaid = Because { who: "ann".to_owned(), why: " ".to_owned() };
    let placed = catalog.place_hold(FactId([2; 16]), "1.2", &unsaid, NOW).await;
    assert!(matches!(placed, Err(Error::Unsaid(_))), "{placed:?}");
}

pub(super) async fn records_move_to_another_pack(catalog: &Catalog) {
    packed_study(catalog, 1, "1.2", &[1, 2]).await;
    verified(catalog, 1).await;
    catalog.record_received(&[instance(3, "1.2", "1.2.1.3", &[])], NOW).await.expect("receive");
    let third = [packed(3, 64, CopyKind::First)];
    catalog.record_packed(&new_pack(2, "1.2", false), &third, &[], NOW).await.expect("pack");
    verified(catalog, 2).await;
    let found = catalog.study_to_merge(20_000, after(1)).await.expect("look");
    assert_eq!(found.as_deref(), Some("1.2"));
    assert_eq!(catalog.study_to_merge(10_000, after(1)).await.expect("look"), None, "not small");
    assert_eq!(catalog.study_to_merge(20_000, NOW).await.expect("look"), None, "not quiet");

    let new = crate::NewPack { study_key_id: StudyKeyId([1; 16]), ..new_pack(3, "1.2", false) };
    let one = |number: u8, from: u8| Move {
        record_id: record(number),
        from: pack_id(from),
        offset: 64 * u64::from(number),
    };
    let stray = catalog.record_repacked(&new, &[one(1, 2)], NOW).await;
    assert!(matches!(stray, Err(Error::NotPackable { .. })), "{stray:?}");
    assert!(catalog.pack(pack_id(3)).await.expect("read").is_none());
    catalog.record_repacked(&new, &[one(1, 1), one(2, 1), one(3, 2)], NOW).await.expect("enter");
    assert_eq!(catalog.study_to_merge(20_000, after(1)).await.expect("look"), None, "on its way already");
    assert_eq!(catalog.packs_to_switch().await.expect("look"), []);
    let in_old = catalog.locate(record(1)).await.expect("read").expect("known").pack.expect("packed");
    assert_eq!(in_old.pack_id, pack_id(1), "read from the old one until the new one is verified");
    let moving = catalog.give_up_pack(pack_id(1), 0, 0, after(1)).await.expect("ask");
    assert_eq!(moving, Some(Stays::Moving));

    verified(catalog, 3).await;
    assert_eq!(catalog.packs_to_switch().await.expect("look"), [pack_id(3)]);
    let switched = catalog.switch_to(pack_id(3), after(2)).await.expect("switch");
    assert_eq!((switched.records, switched.replaced.len()), (3, 2));
    assert_eq!(catalog.switch_to(pack_id(3), after(2)).await.expect("again").records, 0);
    let row = catalog.locate(record(1)).await.expect("read").expect("known");
    assert_eq!(row.state, InstanceState::Verified);
    assert_eq!(row.pack.map(|pack| (pack.pack_id, pack.offset)), Some((pack_id(3), 64)));
    assert_eq!(said(catalog).await, 3);

    let early = catalog.give_up_pack(pack_id(1), 0, 10_000, after(11)).await.expect("ask");
    assert_eq!(early, Some(Stays::Grace));
    assert_eq!(catalog.replaced_packs(after(1), 0, 10).await.expect("look"), []);
    assert_eq!(catalog.replaced_packs(after(2), 0, 10).await.expect("look").len(), 2);
    assert_eq!(catalog.give_up_pack(pack_id(1), 0, 10_000, after(12)).await.expect("ask"), None);
    let in_use = catalog.give_up_pack(pack_id(3), 0, 0, after(12)).await.expect("ask");
    assert_eq!(in_use, Some(Stays::Named));
}

pub(super) async fn a_new_index_knows_what_was_deleted(catalog: &Catalog) {
    packed_study(catalog, 1, "1.2", &[1, 2]).await;
    verified(catalog, 1).await;
    let copy = instance(3, "1.2", "1.2.1.1", &[]);
    catalog.record_received(std::slice::from_ref(&copy), NOW).await.expect("receive");
    let dropped = [DroppedCopy { record_id: record(3), same_as: record(1) }];
    catalog.record_dropped(&dropped, NOW).await.expect("drop");
    let taken_back = catalog.request_deletion(&deletion(8, Some("1.2.1.1")), RULES, NOW).await.expect("ask");
    assert_eq!(taken_back.records, 2, "what was dropped for it as well");
    catalog.cancel_deletion(taken_back.deletion_id, &because("ann"), NOW).await.expect("take back");
    let id = catalog.request_deletion(&deletion(9, Some("1.2.1.1")), RULES, NOW).await.expect("ask");
    catalog.confirm_deletion(id.deletion_id, "ben", RULES, NOW).await.expect("confirm");
    catalog.wipe_index().await.expect("wipe");
    packed_study(catalog, 1, "1.2", &[1, 2]).await;
    assert_eq!(said(catalog).await, 2);
    assert_eq!(catalog.restore_deletions(after(1)).await.expect("restore"), 1);
    assert_eq!(said(catalog).await, 1, "hidden again");
    assert_eq!(catalog.restore_deletions(after(1)).await.expect("again"), 0);

    // Found on a disk, it is hidden from the first moment, and so is what was dropped for it.
    catalog.wipe_index().await.expect("wipe");
    let found = [instance(1, "1.2", "1.2.1.1", &[]), instance(2, "1.2", "1.2.1.2", &[]), copy];
    catalog.record_recovered(&found, after(2)).await.expect("recover");
    assert_eq!(said(catalog).await, 1);
}

/// What a log said of study 1.2.
fn found(holds: Vec<Hold>, retention: Option<Retention>, deletions: Vec<DeletionFound>) -> CustodyFound {
    CustodyFound { study_instance_uid: "1.2".to_owned(), holds, retention, deletions }
}

pub(super) async fn what_the_logs_say_binds_a_catalog_that_did_not_know_it(catalog: &Catalog) {
    packed_study(catalog, 1, "1.2", &[1, 2]).await;
    verified(catalog, 1).await;
    let deletion_found = DeletionFound {
        deletion_id: FactId([9; 16]),
        sop_instance_uid: None,
        because: because("ann"),
        requested_at: NOW,
        records: vec![record(1)],
        confirmed: Some(("ben".to_owned(), NOW, after(60))),
        cancelled: None,
        done_at: None,
    };
    let enter = async |found: CustodyFound| {
        // Twice: what is known stays.
        for _ in 0..2 {
            catalog.restore_custody(std::slice::from_ref(&found)).await.expect("enter");
            catalog.restore_deletions(NOW).await.expect("bring it to the records");
        }
    };
    enter(found(Vec::new(), None, vec![deletion_found.clone()])).await;
    assert_eq!(said(catalog).await, 1, "hidden is what it named, and nothing else of the study");
    let due = catalog.deletions_due(after(60), 0, 10).await.expect("due");
    assert_eq!(due.len(), 1, "it goes on");
    assert_eq!((due[0].step(), due[0].records), (DeletionStep::Confirmed, 1));

    let cancelled = Some((because("ann"), after(1)));
    enter(found(Vec::new(), None, vec![DeletionFound { cancelled, ..deletion_found.clone() }])).await;
    assert_eq!(said(catalog).await, 2, "taken back, it is as before");
    assert_eq!(catalog.deletions_due(after(60), 0, 10).await.expect("due"), []);

    let hold = Hold {
        hold_id: FactId([7; 16]),
        study_instance_uid: "1.2".to_owned(),
        because: because("eve"),
        placed_at: NOW,
        released: None,
    };
    enter(found(vec![hold.clone()], None, Vec::new())).await;
    let refused = catalog.request_deletion(&deletion(8, None), RULES, NOW).await;
    assert!(matches!(refused, Err(Error::Held { .. })), "{refused:?}");
    let released = Some((because("eve"), after(2)));
    enter(found(vec![Hold { released, ..hold.clone() }], None, Vec::new())).await;
    enter(found(vec![hold], None, Vec::new())).await;
    let retention = Retention {
        study_instance_uid: "1.2".to_owned(),
        keep_until: after(600),
        because: because("eve"),
        set_at: NOW,
    };
    enter(found(Vec::new(), Some(retention.clone()), Vec::new())).await;
    let shorter = Retention { keep_until: after(1), ..retention };
    enter(found(Vec::new(), Some(shorter), Vec::new())).await;
    let refused = catalog.request_deletion(&deletion(8, None), RULES, after(599)).await;
    assert!(
        matches!(refused, Err(Error::Retained { .. })),
        "the hold is released, the longer time counts: {refused:?}"
    );
    catalog.request_deletion(&deletion(8, None), RULES, after(601)).await.expect("nothing binds it now");
}

pub(super) async fn packs_leave_as_the_logs_say(catalog: &Catalog) {
    packed_study(catalog, 1, "1.2", &[1, 2]).await;
    packed_study(catalog, 2, "1.2", &[3]).await;
    verified(catalog, 1).await;
    verified(catalog, 2).await;
    catalog.follow_replacement(pack_id(1), pack_id(2), &[(record(1), 900)], NOW).await.expect("replaced");
    let row = catalog.locate(record(1)).await.expect("read").expect("known");
    assert_eq!(row.pack.map(|pack| (pack.pack_id, pack.offset)), Some((pack_id(2), 900)));
    assert_eq!(said(catalog).await, 3);
    catalog.follow_deletion(pack_id(1), NOW).await.expect("deleted");
    assert_eq!(said(catalog).await, 2, "what was not in the other one is gone with it");
    let row = catalog.locate(record(2)).await.expect("read").expect("it stays visible as deleted");
    assert_eq!(row.state, InstanceState::Deleted);
    let going = catalog.packs_going(NOW, 10).await.expect("packs that go");
    assert_eq!(going.len(), 1, "the bytes of one of ours are taken away");
}
