use filmgate_catalog::CatalogOptions;
use filmgate_model::{NodeId, Random, SiteId};

use super::*;

const REMEMBERED_MAX: u32 = 10;

fn title(text: &str) -> AeTitle {
    text.parse().expect("an AE title")
}

async fn callers(clock: &Clock) -> Callers {
    let random = Random::seeded(1);
    let options = CatalogOptions::new(SiteId::random(&random), NodeId::random(&random));
    let catalog = Arc::new(Catalog::in_memory(&options).await.expect("a catalog"));
    let settings = CallerSettings {
        known: BTreeSet::from([title("KNOWN")]),
        accept_unknown: false,
        remembered_max: REMEMBERED_MAX,
    };
    Callers::open(catalog, clock.clone(), settings).await.expect("callers")
}

fn judge(callers: &Callers, calling: &str, address: &str) -> CallerVerdict {
    judge_shown(callers, calling, address, None, "")
}

fn judge_shown(
    callers: &Callers,
    calling: &str,
    address: &str,
    fingerprint: Option<[u8; 32]>,
    common_name: &str,
) -> CallerVerdict {
    callers.judge(&Caller {
        calling_ae: &title(calling),
        called_ae: &title("FILMGATE"),
        address: address.parse().expect("an address"),
        fingerprint,
        common_name,
    })
}

fn allow(calling: &str) -> CallerChange {
    CallerChange::Allow {
        calling_ae: title(calling),
        addresses: Vec::new(),
        called_ae: None,
        fingerprint: None,
        common_name: String::new(),
        associations_max: 0,
    }
}

const FREE: CallerVerdict = CallerVerdict::Allowed { associations_max: 0 };

#[tokio::test]
async fn an_unknown_caller_is_remembered_until_somebody_decides() {
    let clock = Clock::manual(Timestamp(1000));
    let callers = callers(&clock).await;
    assert_eq!(judge(&callers, "KNOWN", "10.0.0.1"), FREE);
    assert_eq!(judge(&callers, "CT_1", "10.0.0.1"), CallerVerdict::Unknown);
    callers.write_down().await.expect("written down");
    clock.shift_ms(5);
    assert_eq!(judge(&callers, "CT_1", "10.0.0.1"), CallerVerdict::Unknown);
    let shown = callers.show().await.expect("shown");
    let [waiting] = &shown.waiting[..] else { panic!("{shown:?}") };
    assert_eq!((waiting.refused, waiting.let_in), (2, 0));
    assert_eq!(
        (&*waiting.first_at, &*waiting.last_at),
        ("1970-01-01T00:00:01.000Z", "1970-01-01T00:00:01.005Z")
    );

    callers.change(&allow("CT_1"), "test").await.expect("allowed");
    assert_eq!(judge(&callers, "CT_1", "10.0.0.1"), FREE);
    assert!(callers.show().await.expect("shown").waiting.is_empty());
    callers.change(&CallerChange::Deny { calling_ae: title("CT_1") }, "test").await.expect("denied");
    assert_eq!(judge(&callers, "CT_1", "10.0.0.1"), CallerVerdict::Denied);
    // A rule is more than the settings say.
    callers.change(&CallerChange::Deny { calling_ae: title("KNOWN") }, "test").await.expect("denied");
    assert_eq!(judge(&callers, "KNOWN", "10.0.0.1"), CallerVerdict::Denied);
    callers.change(&CallerChange::Forget { calling_ae: title("KNOWN") }, "test").await.expect("forgotten");
    assert_eq!(judge(&callers, "KNOWN", "10.0.0.1"), FREE);
    assert!(callers.change(&CallerChange::Forget { calling_ae: title("KNOWN") }, "test").await.is_err());
}

#[tokio::test]
async fn every_condition_of_a_rule_must_be_met() {
    let clock = Clock::manual(Timestamp(1000));
    let callers = callers(&clock).await;
    let rule = CallerChange::Allow {
        calling_ae: title("CT_1"),
        addresses: vec!["10.1.0.0/16".into(), "10.2.0.7".into()],
        called_ae: Some(title("FILMGATE")),
        fingerprint: Some("AB:".repeat(31) + "ab"),
        common_name: "ct.hospital".into(),
        associations_max: 3,
    };
    callers.change(&rule, "test").await.expect("allowed");
    let shown = Some([0xAB; 32]);
    let judged = |address, fingerprint, name| judge_shown(&callers, "CT_1", address, fingerprint, name);
    assert_eq!(judged("10.1.9.9", shown, "ct.hospital"), CallerVerdict::Allowed { associations_max: 3 });
    assert_eq!(judged("10.2.0.7", shown, "ct.hospital"), CallerVerdict::Allowed { associations_max: 3 });
    assert_eq!(judged("10.2.0.8", shown, "ct.hospital"), CallerVerdict::Address);
    assert_eq!(judged("10.1.9.9", None, ""), CallerVerdict::Certificate);
    assert_eq!(judged("10.1.9.9", Some([1; 32]), "ct.hospital"), CallerVerdict::Certificate);
    assert_eq!(judged("10.1.9.9", shown, "other"), CallerVerdict::Certificate);
    let other = CallerChange::Allow {
        calling_ae: title("CT_1"),
        addresses: Vec::new(),
        called_ae: Some(title("ELSEWHERE")),
        fingerprint: None,
        common_name: String::new(),
        associations_max: 0,
    };
    callers.change(&other, "test").await.expect("allowed");
    assert_eq!(judged("10.1.9.9", None, ""), CallerVerdict::Called);
    for senseless in [
        CallerChange::Allow {
            calling_ae: title("CT_1"),
            addresses: vec!["everywhere".into()],
            called_ae: None,
            fingerprint: None,
            common_name: String::new(),
            associations_max: 0,
        },
        CallerChange::Learn { for_ms: u64::MAX },
    ] {
        assert!(matches!(callers.change(&senseless, "test").await, Err(ChangeError::Senseless(_))));
    }
    assert_eq!(judged("10.1.9.9", None, ""), CallerVerdict::Called, "nothing changed");
}

#[tokio::test]
async fn learning_ends_by_itself_and_what_was_learned_is_allowed_at_once() {
    let clock = Clock::manual(Timestamp(1000));
    let callers = callers(&clock).await;
    callers.change(&CallerChange::Learn { for_ms: 60_000 }, "test").await.expect("learning");
    assert_eq!(callers.learning_until(), Some(Timestamp(61_000)));
    assert_eq!(judge(&callers, "CT_1", "10.0.0.1"), CallerVerdict::LetIn);
    assert_eq!(judge(&callers, "CT_1", "10.0.0.2"), CallerVerdict::LetIn);
    clock.shift_ms(60_000);
    assert_eq!(callers.learning_until(), None);
    assert_eq!(judge(&callers, "MR_1", "10.0.0.1"), CallerVerdict::Unknown);
    callers.change(&CallerChange::Learned, "test").await.expect("learned");
    assert_eq!(judge(&callers, "CT_1", "10.0.0.2"), FREE);
    assert_eq!(judge(&callers, "CT_1", "10.0.0.3"), CallerVerdict::Address);
    assert_eq!(judge(&callers, "MR_1", "10.0.0.1"), CallerVerdict::Unknown);
    callers.change(&CallerChange::Learn { for_ms: 60_000 }, "test").await.expect("learning");
    callers.change(&CallerChange::Learn { for_ms: 0 }, "test").await.expect("no more");
    assert_eq!(judge(&callers, "XA_1", "10.0.0.1"), CallerVerdict::Unknown);
}

#[tokio::test]
async fn what_is_remembered_is_bounded() {
    let clock = Clock::manual(Timestamp(1000));
    let callers = callers(&clock).await;
    for round in 0..5 {
        for number in 0..50 {
            clock.shift_ms(1);
            judge(&callers, &format!("FLOOD_{round}_{number}"), "10.0.0.1");
        }
        assert!(callers.seen.lock().len() <= REMEMBERED_MAX as usize);
        callers.write_down().await.expect("written down");
        let waiting = callers.show().await.expect("shown").waiting;
        assert_eq!(waiting.len(), REMEMBERED_MAX as usize);
        assert!(waiting[0].calling_ae.as_str().starts_with(&format!("FLOOD_{round}_")), "the last ones stay");
    }
}
