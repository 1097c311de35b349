//! Callers, tokens and log-ins: the same answers from every engine.

use filmgate_model::{AeTitle, Timestamp};

use super::support::NOW;
use crate::{AeCaller, AeRule, AlarmKind, Catalog, Session, Token};

fn title(text: &str) -> AeTitle {
    text.parse().expect("an AE title")
}

fn later(milliseconds: i64) -> Timestamp {
    Timestamp(NOW.0 + milliseconds)
}

fn caller(number: i64) -> AeCaller {
    AeCaller {
        calling_ae: title(&format!("CT_{number}")),
        address: "10.0.0.1".into(),
        called_ae: title("FILMGATE"),
        fingerprint: (number % 2 == 0).then_some([7; 32]),
        common_name: String::new(),
        reason: "unknown".into(),
        refused: 2,
        let_in: 1,
        first_at: later(number),
        last_at: later(number),
    }
}

pub(super) async fn callers_and_their_rules(catalog: &Catalog) {
    let rule = AeRule {
        calling_ae: title("CT_1"),
        allowed: true,
        addresses: vec!["10.0.0.0/8".into(), "::1/128".into()],
        called_ae: Some(title("FILMGATE")),
        fingerprint: Some([9; 32]),
        common_name: "放射科".into(),
        associations_max: 3,
        changed_at: NOW,
        changed_by: "suite".into(),
    };
    catalog.set_ae_rule(&rule).await.expect("set");
    assert_eq!(catalog.ae_book().await.expect("book").rules, std::slice::from_ref(&rule));
    let plain = AeRule { allowed: false, addresses: Vec::new(), called_ae: None, fingerprint: None, ..rule };
    catalog.set_ae_rule(&plain).await.expect("set again");
    assert_eq!(catalog.ae_book().await.expect("book").rules, [plain]);
    assert!(catalog.forget_ae(&title("CT_1"), NOW).await.expect("forgotten"));
    assert!(!catalog.forget_ae(&title("CT_1"), NOW).await.expect("nothing to forget"));

    let seen: Vec<AeCaller> = (0..5).map(caller).collect();
    catalog.remember_ae_callers(&seen, 3).await.expect("remembered");
    let again = AeCaller { last_at: later(9), ..caller(3) };
    catalog.remember_ae_callers(&[again], 3).await.expect("remembered");
    let kept = catalog.ae_callers().await.expect("callers");
    let kept: Vec<_> = kept.iter().map(|one| (one.calling_ae.as_str(), one.refused, one.let_in)).collect();
    assert_eq!(kept, [("CT_3", 4, 2), ("CT_4", 2, 1), ("CT_2", 2, 1)]);

    catalog.learn_ae(later(1000), NOW, "suite").await.expect("learning");
    assert_eq!(catalog.ae_book().await.expect("book").learning_ends_at, Some(later(1000)));
    let alarms = catalog.alarms().await.expect("alarms");
    assert!(alarms.iter().any(|alarm| alarm.kind == AlarmKind::DoorLearning), "{alarms:?}");
    catalog.end_ae_learning(later(1000)).await.expect("no more");
    assert_eq!(catalog.ae_book().await.expect("book").learning_ends_at, None);
    assert_eq!(catalog.alarms().await.expect("alarms"), []);
}

pub(super) async fn tokens_end(catalog: &Catalog) {
    let token = Token {
        token_id: [1; 16],
        name: "viewer".into(),
        digest: [2; 32],
        scope: "read store".into(),
        created_at: NOW,
        created_by: "suite".into(),
        expires_at: Some(later(1000)),
        last_used_at: None,
        revoked_at: None,
    };
    assert!(catalog.add_token(&token).await.expect("added"));
    let same_name = Token { token_id: [3; 16], digest: [4; 32], expires_at: None, ..token.clone() };
    assert!(!catalog.add_token(&same_name).await.expect("refused"), "a name is used once");
    assert_eq!(catalog.token_of(&[2; 32], NOW).await.expect("found"), Some(token.clone()));
    assert_eq!(catalog.token_of(&[4; 32], NOW).await.expect("asked"), None);
    assert_eq!(catalog.token_of(&[2; 32], later(1000)).await.expect("asked"), None, "it has expired");
    catalog.token_used(&token.token_id, later(5)).await.expect("used");
    assert!(catalog.revoke_token("viewer", later(6)).await.expect("revoked"));
    assert!(!catalog.revoke_token("viewer", later(7)).await.expect("asked"));
    assert_eq!(catalog.token_of(&[2; 32], later(6)).await.expect("asked"), None);
    let listed = catalog.tokens().await.expect("listed");
    assert_eq!(listed, [Token { last_used_at: Some(later(5)), revoked_at: Some(later(6)), ..token }]);
    let for_ever = Token { name: "for ever".into(), ..same_name };
    assert!(catalog.add_token(&for_ever).await.expect("added"));
    assert_eq!(catalog.token_of(&[4; 32], Timestamp(i64::MAX)).await.expect("found"), Some(for_ever));
}

/// The administrator's log-in.
pub(super) fn log_in(at: Timestamp, ends_at: Timestamp) -> Session {
    Session { last_used_at: at, ends_at, token_digest: None }
}

pub(super) async fn the_administrator_is_set_up_by_one_link(catalog: &Catalog) {
    assert_eq!(catalog.password_hash().await.expect("asked"), None);
    catalog.open_set_up(&[1; 32], later(1000), NOW).await.expect("a link");
    catalog.open_set_up(&[2; 32], later(1000), NOW).await.expect("another");
    assert_eq!(catalog.password_hash().await.expect("asked"), None, "nobody has used it");
    assert!(!catalog.is_set_up_open(&[1; 32], NOW).await.expect("asked"), "the first is no good any more");
    assert!(catalog.is_set_up_open(&[2; 32], NOW).await.expect("asked"));
    assert!(!catalog.set_up(&[1; 32], "hash", NOW).await.expect("refused"));
    assert!(!catalog.set_up(&[2; 32], "hash", later(1000)).await.expect("too late"));
    assert!(catalog.set_up(&[2; 32], "hash", later(1)).await.expect("set"));
    assert!(!catalog.set_up(&[2; 32], "other", later(2)).await.expect("used"), "a link is good once");
    assert_eq!(catalog.password_hash().await.expect("asked").as_deref(), Some("hash"));

    catalog.add_session(&[5; 32], &log_in(NOW, later(50))).await.expect("logged in");
    let session = catalog.session(&[5; 32]).await.expect("asked").expect("a log-in");
    assert_eq!((session.last_used_at, session.ends_at), (NOW, later(50)));
    catalog.session_used(&[5; 32], later(9)).await.expect("used");
    assert_eq!(catalog.session(&[5; 32]).await.expect("asked").map(|it| it.last_used_at), Some(later(9)));
    catalog.add_session(&[6; 32], &log_in(later(60), later(500))).await.expect("logged in");
    assert_eq!(catalog.session(&[5; 32]).await.expect("asked"), None, "those that are over go");
    let by_token = Session { token_digest: Some([9; 32]), ..log_in(later(61), later(500)) };
    catalog.add_session(&[10; 32], &by_token).await.expect("logged in");
    assert_eq!(catalog.session(&[10; 32]).await.expect("asked"), Some(by_token));
    catalog.open_set_up(&[7; 32], later(1000), NOW).await.expect("a link");
    assert_eq!(catalog.password_hash().await.expect("asked").as_deref(), Some("hash"), "the password holds");
    assert!(catalog.set_up(&[7; 32], "new", later(70)).await.expect("set"));
    assert_eq!(catalog.session(&[6; 32]).await.expect("asked"), None, "a new password ends every log-in");
    catalog.add_session(&[8; 32], &log_in(later(80), later(500))).await.expect("logged in");
    catalog.end_session(&[8; 32]).await.expect("logged out");
    assert_eq!(catalog.session(&[8; 32]).await.expect("asked"), None);
}
