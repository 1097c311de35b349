//! What an export of the book holds, entered where nothing, something older or something newer is known.

use filmgate_model::{AeTitle, IncarnationId, Timestamp};

use super::{
    access::log_in,
    support::{NOW, node},
};
use crate::{AeRule, AlarmKind, BookAlarm, BookExport, BookRows, Catalog, Token};

fn title(text: &str) -> AeTitle {
    text.parse().expect("an AE title")
}

fn later(milliseconds: i64) -> Timestamp {
    Timestamp(NOW.0 + milliseconds)
}

fn rule(calling_ae: &str, allowed: bool, changed_at: Timestamp) -> AeRule {
    AeRule {
        calling_ae: title(calling_ae),
        allowed,
        addresses: vec!["10.0.0.0/8".into()],
        called_ae: None,
        fingerprint: Some([9; 32]),
        common_name: "放射科".into(),
        associations_max: 3,
        changed_at,
        changed_by: "suite".into(),
    }
}

fn token(number: u8, name: &str) -> Token {
    Token {
        token_id: [number; 16],
        name: name.into(),
        digest: [number; 32],
        scope: "read".into(),
        created_at: NOW,
        created_by: "suite".into(),
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
    }
}

/// All that was decided is in it and comes back; log-ins, links and who waits for a decision do not.
pub(super) async fn a_book_is_entered_elsewhere(here: &Catalog, elsewhere: &Catalog) {
    assert!(here.book_rows().await.expect("rows").is_empty());
    here.set_ae_rule(&rule("CT_1", true, NOW)).await.expect("allowed");
    here.set_ae_rule(&rule("CT_2", true, NOW)).await.expect("allowed");
    assert!(here.forget_ae(&title("CT_2"), later(5)).await.expect("forgotten"));
    assert!(here.add_token(&token(1, "viewer")).await.expect("added"));
    assert!(here.add_token(&token(2, "lost")).await.expect("added"));
    here.token_used(&[1; 16], later(3)).await.expect("used");
    assert!(here.revoke_token("lost", later(4)).await.expect("revoked"));
    here.open_set_up(&[1; 32], later(1000), NOW).await.expect("a link");
    assert!(here.set_up(&[1; 32], "hash", later(1)).await.expect("set"));
    here.add_session(&[5; 32], &log_in(NOW, later(50))).await.expect("logged in");
    here.open_set_up(&[2; 32], later(1000), NOW).await.expect("another link");
    here.raise_alarm(AlarmKind::DamagedPack, "p", "rotten", NOW).await.expect("raised");
    here.raise_alarm(AlarmKind::DamagedRecord, "r", "rotten", NOW).await.expect("raised");
    assert!(here.clear_alarm(AlarmKind::DamagedRecord, "r", later(2)).await.expect("cleared"));
    here.learn_ae(later(1000), NOW, "suite").await.expect("learning");
    here.note_sheet("site-key-1", NOW).await.expect("typed back");
    let rows = here.book_rows().await.expect("rows");
    assert_eq!(rows.rules, [rule("CT_1", true, NOW)]);
    assert_eq!(rows.forgotten, [(title("CT_2"), later(5))]);
    assert_eq!(rows.administrator, Some(("hash".into(), later(1))));
    assert_eq!(rows.tokens[0].last_used_at, rows.tokens[1].last_used_at, "when it was used is left out");
    assert_eq!(rows.alarms.len(), 2, "that the door learns is over elsewhere");

    for _ in 0..2 {
        elsewhere.enter_book(&rows).await.expect("entered");
        assert_eq!(elsewhere.book_rows().await.expect("rows"), rows);
    }
    assert_eq!(elsewhere.session(&[5; 32]).await.expect("asked"), None);
    assert!(!elsewhere.is_set_up_open(&[2; 32], NOW).await.expect("asked"));
    assert_eq!(elsewhere.ae_book().await.expect("book").learning_ends_at, None);
    assert_eq!(elsewhere.token_of(&[2; 32], later(4)).await.expect("asked"), None);
    assert_eq!(elsewhere.token_of(&[1; 32], later(4)).await.expect("asked"), Some(token(1, "viewer")));
    let alarms = elsewhere.alarms().await.expect("alarms");
    assert_eq!(alarms.iter().map(|alarm| alarm.subject.as_str()).collect::<Vec<_>>(), ["p"]);
}

/// Two books of one site: in whatever order they are entered, the later word counts, and what was taken away stays away.
pub(super) async fn books_meet_by_their_own_clocks(catalog: &Catalog) {
    let old = BookRows {
        administrator: Some(("old".into(), NOW)),
        tokens: vec![token(1, "viewer"), token(2, "gone")],
        rules: vec![
            rule("CT_1", true, NOW),
            rule("CT_2", true, later(9)),
            rule("CT_3", true, NOW),
            rule("CT_4", false, NOW),
        ],
        forgotten: Vec::new(),
        sheets: vec![("site-key-1".into(), NOW)],
        alarms: Vec::new(),
    };
    let new = BookRows {
        administrator: Some(("new".into(), later(1))),
        tokens: vec![Token { revoked_at: Some(later(1)), ..token(2, "gone") }, token(3, "viewer")],
        rules: vec![rule("CT_1", false, later(1)), rule("CT_2", false, later(1)), rule("CT_4", true, NOW)],
        forgotten: vec![(title("CT_3"), later(1))],
        sheets: vec![("site-key-1".into(), later(1))],
        alarms: vec![BookAlarm {
            kind: AlarmKind::LogStopped,
            subject: "s".into(),
            detail: "d".into(),
            raised_at: NOW,
            cleared_at: None,
        }],
    };
    catalog.open_set_up(&[1; 32], later(1000), later(5)).await.expect("a link");
    for rows in [&old, &new, &old] {
        catalog.enter_book(rows).await.expect("entered");
    }
    let met = catalog.book_rows().await.expect("rows");
    assert_eq!(met.administrator, new.administrator);
    assert!(catalog.is_set_up_open(&[1; 32], later(6)).await.expect("asked"), "a link that is open stays");
    let allowed: Vec<_> = met.rules.iter().map(|rule| (rule.calling_ae.as_str(), rule.allowed)).collect();
    assert_eq!(allowed, [("CT_1", false), ("CT_2", true), ("CT_4", false)], "a tie is no permission");
    assert_eq!(met.sheets, new.sheets);
    assert_eq!(catalog.token_of(&[2; 32], later(2)).await.expect("asked"), None, "revoked is revoked");
    let names: Vec<_> = met.tokens.iter().map(|token| token.name.as_str()).collect();
    assert_eq!(names, ["gone", "viewer", "viewer-03030303"], "two of one name are two");
    // What was forgotten can be decided anew.
    catalog.set_ae_rule(&rule("CT_3", true, later(1))).await.expect("allowed");
    catalog.enter_book(&old).await.expect("entered");
    assert!(catalog.book_rows().await.expect("rows").rules.contains(&rule("CT_3", true, later(1))));
}

/// Whoever asks second makes none; a number is given out once, whatever became of the export.
pub(super) async fn one_node_makes_an_export(catalog: &Catalog) {
    let claim = async |digest: [u8; 32], anew, at| {
        catalog.claim_book_export(&digest, anew, 0, Timestamp(at - 60), Timestamp(at)).await.expect("asked")
    };
    assert_eq!(catalog.last_book_export().await.expect("asked"), None);
    assert_eq!(claim([1; 32], false, 100).await, Some(1));
    assert_eq!(claim([1; 32], false, 101).await, Some(2), "the node itself goes on, with another number");
    let export = BookExport {
        digest: [1; 32],
        node_id: node(),
        incarnation: IncarnationId([3; 16]),
        number: 2,
        placements: vec!["main".into(), "second".into()],
        exported_at: Timestamp(110),
    };
    catalog.finish_book_export(&export).await.expect("finished");
    assert_eq!(catalog.last_book_export().await.expect("asked"), Some(export.clone()));
    assert_eq!(claim([1; 32], false, 120).await, None, "the last one holds the same");
    assert_eq!(claim([1; 32], true, 120).await, Some(3));
    assert_eq!(claim([2; 32], false, 121).await, Some(4));
    let above = catalog.claim_book_export(&[2; 32], false, 40, Timestamp(0), Timestamp(122)).await;
    assert_eq!(above.expect("asked"), Some(41), "names in the bucket that are not known here are left alone");
    catalog.finish_book_export(&BookExport { number: 1, ..export.clone() }).await.expect("finished");
    assert_eq!(
        catalog.last_book_export().await.expect("asked"),
        Some(export),
        "an earlier one comes too late"
    );
}
