//! The log from outside: batches that are tampered with, and facts in any order.

use std::collections::BTreeSet;

use ed25519_dalek::{Signer, SigningKey};
use filmgate_log::*;
use filmgate_model::{
    FactId, IncarnationId, LogKeyId, NodeId, PackId, Random, RecordId, SiteId, StudyKeyId, Timestamp,
};
use proptest::{collection::vec, prelude::*};

const SITE: SiteId = SiteId([9; 16]);

fn log_key() -> LogKey {
    LogKey { id: LogKeyId([4; 16]), generation: 1, key: [5; 32].into() }
}

fn signing(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn author(number: u8) -> Author {
    let roles = match number {
        3 => Roles::default().with(Role::Follow),
        _ => Roles::GATEWAY,
    };
    Author { node: NodeId([number; 16]), incarnation: IncarnationId([number; 16]), roles }
}

fn why() -> Why {
    Why { who: "admin".into(), reason: "asked".into() }
}

fn pack(number: u8, owner: u8, content: u8) -> PackVerified {
    PackVerified {
        pack_id: PackId([number; 16]),
        owner: NodeId([owner; 16]),
        study_key_id: StudyKeyId([1; 16]),
        study_instance_uid: format!("1.2.{number}"),
        quarantine: false,
        bytes: 100,
        sha256: [content; 32],
        created_at: Timestamp(7),
    }
}

fn fact(number: u64, milliseconds: i64, body: Body) -> Fact {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_le_bytes());
    Fact { id: FactId(id), stamp: Stamp { milliseconds, count: 0 }, supersedes: Vec::new(), body }
}

fn seal(author: Author, after: Tip, facts: &[Fact]) -> Vec<u8> {
    let batch = NewBatch { site_id: SITE, author, after, facts };
    sealed_by(&batch, &signing(author.node.0[0]))
}

fn sealed_by(batch: &NewBatch<'_>, signing: &SigningKey) -> Vec<u8> {
    let random = Random::seeded(batch.after.sequence);
    let verifying = signing.verifying_key().to_bytes();
    let unsigned = batch.seal(&log_key(), &verifying, &random).expect("within the limits");
    let signature = signing.sign(unsigned.to_sign()).to_bytes();
    unsigned.signed(&signature)
}

fn two_batches() -> [Vec<u8>; 2] {
    let verified = fact(1, 10, Body::PackVerified(pack(1, 1, 1)));
    let unknown = fact(2, 11, Body::Unknown { kind: 999, bytes: vec![1, 2, 3] });
    let first = seal(author(1), Tip::default(), &[verified, unknown]);
    let second =
        seal(author(1), Tip::default().then(&first), &[fact(3, 12, Body::Heartbeat { read: vec![] })]);
    [first, second]
}

fn chain(number: u8) -> Chain {
    Chain::new(SITE, IncarnationId([number; 16]))
}

#[test]
fn batches_read_back_in_order_and_a_reader_resumes() {
    let [first, second] = two_batches();
    let mut reader = chain(1);
    let batch = reader.read(&first, &log_key()).expect("reads");
    assert_eq!(batch.author, author(1));
    assert_eq!(batch.facts.len(), 2);
    // What is not known stays to the byte.
    assert_eq!(batch.facts[1].body, Body::Unknown { kind: 999, bytes: vec![1, 2, 3] });
    let bytes = batch.facts[1].to_bytes().expect("short");
    assert_eq!(Fact::from_bytes(&bytes).as_ref(), Ok(&batch.facts[1]));
    let verifying = reader.verifying_key().expect("told in the first batch");
    let incarnation = IncarnationId([1; 16]);
    let mut resumed = Chain::resumed(SITE, incarnation, reader.tip(), &verifying).expect("a key");
    assert_eq!(resumed.next().object_name(), format!("v1/log/{incarnation}/00000000000000000002"));
    assert_eq!(Place::of_object(&resumed.next().object_name()), Some(resumed.next()));
    resumed.read(&second, &log_key()).expect("reads");
    assert_eq!(resumed.tip().sequence, 2);
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let [first, second] = two_batches();
    for (batch, before) in [(&first, None), (&second, Some(&first))] {
        let mut reader = chain(1);
        if let Some(before) = before {
            reader.read(before, &log_key()).expect("reads");
        }
        for place in 0..batch.len() {
            for bit in 0..8 {
                let mut flipped = batch.clone();
                flipped[place] ^= 1 << bit;
                assert!(reader.clone().read(&flipped, &log_key()).is_err(), "byte {place} bit {bit}");
            }
            assert!(reader.clone().read(&batch[..place], &log_key()).is_err(), "cut at {place}");
        }
        assert!(reader.clone().read(&[batch.as_slice(), &[0]].concat(), &log_key()).is_err(), "longer");
        reader.read(batch, &log_key()).expect("whole it still reads: an error moved nothing");
    }
}

#[test]
fn a_batch_stands_in_one_place_only() {
    let [first, second] = two_batches();
    let mut reader = chain(1);
    assert!(matches!(reader.read(&second, &log_key()), Err(Error::Misplaced { sequence: 2, .. })));
    assert!(matches!(chain(2).read(&first, &log_key()), Err(Error::Misplaced { .. })));
    let elsewhere = &mut Chain::new(SiteId([8; 16]), IncarnationId([1; 16]));
    assert!(matches!(elsewhere.read(&first, &log_key()), Err(Error::Misplaced { .. })));
    reader.read(&first, &log_key()).expect("reads");
    assert!(matches!(reader.read(&first, &log_key()), Err(Error::Misplaced { sequence: 1, .. })), "replayed");
    // A second batch 2, after another batch 1: a history that forked.
    let other = seal(author(1), Tip::default(), &[]);
    let fork = seal(author(1), Tip::default().then(&other), &[]);
    assert_eq!(reader.read(&fork, &log_key()), Err(Error::Broken { sequence: 2 }));
}

#[test]
fn another_member_of_the_site_cannot_write_in_anothers_name() {
    let [first, _] = two_batches();
    let mut reader = chain(1);
    reader.read(&first, &log_key()).expect("reads");
    let batch = NewBatch { site_id: SITE, author: author(1), after: reader.tip(), facts: &[] };
    let forged = sealed_by(&batch, &signing(2));
    assert_eq!(reader.read(&forged, &log_key()), Err(Error::NotSigned { sequence: 2 }));
}

#[test]
fn a_wrong_or_old_key_is_told_apart_from_damage() {
    let [first, _] = two_batches();
    let other = LogKey { id: LogKeyId([6; 16]), ..log_key() };
    let named = Error::OtherKey { id: LogKeyId([4; 16]), generation: 1 };
    assert_eq!(chain(1).read(&first, &other), Err(named));
    let wrong = LogKey { key: [6; 32].into(), ..log_key() };
    assert_eq!(chain(1).read(&first, &wrong), Err(Error::Sealed(filmgate_seal::Error::Forged)));
}

#[test]
fn what_is_too_long_is_refused_before_it_is_written() {
    let long = Body::Hold { study: "1".repeat(TEXT_BYTES_MAX + 1), why: why() };
    assert!(matches!(fact(1, 1, long).to_bytes(), Err(Error::TooLong { .. })));
    let many = Body::PackReplaced { replaced: vec![PackId([1; 16]); IDS_MAX + 1], by: PackId([2; 16]) };
    assert!(matches!(fact(1, 1, many).to_bytes(), Err(Error::TooLong { .. })));
}

fn merged<'a>(facts: impl IntoIterator<Item = &'a (u8, Fact)>) -> Merge {
    let mut merge = Merge::new();
    for (number, fact) in facts {
        merge.take(&Stated { fact: fact.clone(), author: author(*number) });
    }
    merge
}

fn study_deletion(merge: &Merge, request: &Fact) -> DeletionStated {
    merge.study("1.2").deletions.get(&request.id).cloned().expect("it was asked for")
}

fn confirmed_at(merge: &Merge, request: &Fact) -> Option<Stamp> {
    study_deletion(merge, request).confirmed.map(|confirmed| confirmed.at)
}

#[test]
fn a_hold_beats_a_request_until_it_is_released_and_what_was_confirmed_stays_so() {
    let study = || "1.2".to_owned();
    let request = fact(1, 10, Body::DeleteRequested { target: Target::Study(study()), why: why() });
    let hold = fact(2, 20, Body::Hold { study: study(), why: why() });
    let confirmed = |number, at| {
        let body = Body::DeleteConfirmed { request: request.id, due_at: Timestamp(at + 9), why: why() };
        fact(number, at, body)
    };
    let release = fact(4, 40, Body::HoldReleased { hold: hold.id, study: study(), why: why() });
    let at = |milliseconds| Stamp { milliseconds, count: 0 };
    let mut facts = vec![(1, request.clone()), (2, hold.clone()), (1, confirmed(3, 30))];
    // Confirmed by a node that had not heard of the hold: void, and reported.
    let merge = merged(&facts);
    assert_eq!((study_deletion(&merge, &request).at, confirmed_at(&merge, &request)), (at(10), None));
    assert_eq!(merge.study("1.2").held().map(|held| held.hold), Some(hold.id));
    assert!(merge.refused().iter().any(|refused| refused.why == Refusal::Held));
    // The release does not bring the void confirmation back.
    facts.push((1, release));
    assert_eq!(confirmed_at(&merged(&facts), &request), None);
    assert_eq!(merged(&facts).study("1.2").held(), None);
    facts.push((1, confirmed(5, 50)));
    let deletion = study_deletion(&merged(&facts), &request);
    assert_eq!(
        deletion.confirmed.map(|confirmed| (confirmed.at, confirmed.due_at)),
        Some((at(50), Timestamp(59)))
    );
    // A hold after it does not unsay it; it stands all the same, and whoever deletes has to ask for it.
    facts.push((2, fact(6, 60, Body::Hold { study: study(), why: why() })));
    assert_eq!(confirmed_at(&merged(&facts), &request), Some(at(50)));
    assert!(merged(&facts).study("1.2").held().is_some());
    // What it names comes in pieces, and it can be taken back.
    let names = |number, record| {
        fact(number, 11, Body::DeleteNames { request: request.id, records: vec![RecordId([record; 16])] })
    };
    facts.extend([(1, names(7, 1)), (1, names(8, 2))]);
    facts.push((1, fact(9, 70, Body::DeleteWithdrawn { request: request.id, why: why() })));
    let deletion = study_deletion(&merged(&facts), &request);
    assert_eq!(deletion.records, BTreeSet::from([RecordId([1; 16]), RecordId([2; 16])]));
    assert_eq!(deletion.withdrawn, Some((at(70), why())));
}

#[test]
fn retention_can_be_prolonged_and_not_shortened() {
    let request = fact(1, 10, Body::DeleteRequested { target: Target::Study("1.2".into()), why: why() });
    let until = |number, at, until| {
        fact(number, at, Body::Retention { study: "1.2".into(), until: Timestamp(until), why: why() })
    };
    let body = Body::DeleteConfirmed { request: request.id, due_at: Timestamp(600), why: why() };
    let confirmed = fact(4, 500, body);
    let facts = [(1, request.clone()), (1, until(2, 5, 1000)), (1, until(3, 20, 100)), (1, confirmed)];
    let merge = merged(&facts);
    assert_eq!(merge.study("1.2").kept.map(|kept| kept.until), Some(Timestamp(1000)));
    assert_eq!(confirmed_at(&merge, &request), None);
}

#[test]
fn the_last_word_of_a_living_node_says_how_long_it_keeps() {
    let rule = |author, number, at, years| (author, fact(number, at, Body::RetentionRule { years }));
    let adopted = Body::NodeAdopted { node: NodeId([2; 16]), incarnation: IncarnationId([2; 16]) };
    let facts =
        [rule(1, 1, 10, 30), rule(1, 2, 20, 5), rule(2, 3, 10, 99), rule(0, 4, 5, 0), rule(3, 6, 5, 77)];
    let rules =
        |merge: &Merge| merge.retention_rules().map(|(node, years, _)| (node, years)).collect::<Vec<_>>();
    let [none, one, two] = [0, 1, 2].map(|number| NodeId([number; 16]));
    assert_eq!(rules(&merged(&facts)), [(none, 0), (one, 5), (two, 99)], "a follower states nothing");
    assert_eq!(rules(&merged(facts.iter().rev())), [(none, 0), (one, 5), (two, 99)]);
    let after = facts.iter().cloned().chain([(0, fact(5, 30, adopted))]).collect::<Vec<_>>();
    assert_eq!(rules(&merged(&after)), [(none, 0), (one, 5)], "who took over speaks for it");
}

#[test]
fn only_its_owner_or_adopter_deletes_a_pack() {
    let verified = (1, fact(1, 10, Body::PackVerified(pack(1, 1, 1))));
    let deleted = (2, fact(2, 20, Body::PackDeleted { pack_id: PackId([1; 16]), why: why() }));
    let merge = merged([&verified, &deleted]);
    assert!(matches!(merge.pack(PackId([1; 16])), PackStanding::Live(_)));
    assert!(merge.refused().iter().any(|refused| refused.why == Refusal::NotOwner));
    let adopted =
        fact(3, 5, Body::NodeAdopted { node: NodeId([1; 16]), incarnation: IncarnationId([1; 16]) });
    let merge = merged([&deleted, &(2, adopted), &verified]);
    assert!(matches!(merge.pack(PackId([1; 16])), PackStanding::Deleted(_)));
    assert!(merge.refused().is_empty());
}

#[test]
fn a_pack_goes_only_for_one_that_is_there() {
    let verified = |number: u8| (1, fact(number.into(), 10, Body::PackVerified(pack(number, 1, number))));
    let replaced = |id: u64, pack: u8, by: u8| {
        (1, fact(id, 20, Body::PackReplaced { replaced: vec![PackId([pack; 16])], by: PackId([by; 16]) }))
    };
    let (one, two) = (PackId([1; 16]), PackId([2; 16]));
    let merge = merged(&[verified(1), replaced(9, 1, 2)]);
    assert!(matches!(merge.pack(one), PackStanding::Live(_)), "the other is not verified");
    let merge = merged(&[verified(1), verified(2), replaced(9, 1, 2)]);
    assert!(matches!(merge.pack(one), PackStanding::Replaced { by, .. } if by == two));
    let merge = merged(&[verified(1), verified(2), replaced(9, 1, 2), replaced(8, 2, 1)]);
    assert!(matches!(merge.pack(one), PackStanding::Live(_)), "a circle changes nothing");
    let differs = (1, fact(3, 30, Body::PackVerified(pack(1, 1, 99))));
    assert!(matches!(merged(&[verified(1), differs]).pack(one), PackStanding::Disputed(_)));
}

#[test]
fn of_corrections_the_unsuperseded_one_counts_and_two_wait_for_a_person() {
    let correction = |value: u8| {
        Body::Correction(Correction { subject: "patient 1".into(), value: vec![value], why: why() })
    };
    let first = fact(1, 10, correction(1));
    let second = Fact { supersedes: vec![first.id], ..fact(2, 20, correction(2)) };
    let third = Fact { supersedes: vec![first.id], ..fact(3, 15, correction(3)) };
    let merge = merged(&[(1, first.clone()), (1, second.clone())]);
    assert!(matches!(merge.head("patient 1"), Head::One(correction) if correction.value == [2]));
    let facts = [(1, first), (1, second.clone()), (2, third.clone())];
    let merge = merged(&facts);
    let Head::Undecided(heads) = merge.head("patient 1") else { panic!("two heads") };
    assert_eq!(heads.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([second.id, third.id]));
    let decided = Fact { supersedes: vec![second.id, third.id], ..fact(4, 30, correction(4)) };
    let merge = merged(facts.iter().chain([&(1, decided)]));
    assert!(matches!(merge.head("patient 1"), Head::One(correction) if correction.value == [4]));
    assert_eq!(merge.head("patient 2"), Head::None);
}

/// Everything that can be asked, for comparison.
fn answers(merge: &Merge) -> String {
    let packs: Vec<_> = (0..6).map(|number| merge.pack(PackId([number; 16]))).collect();
    let studies: Vec<_> = ["1.2", "1.3"].map(|study| merge.study(study)).into();
    let heads: Vec<_> = ["a", "b"].map(|subject| merge.head(subject)).into();
    let lives: Vec<_> = (0..4).map(|number| merge.last_heard_of(NodeId([number; 16]))).collect();
    format!("{packs:?} {studies:?} {heads:?} {lives:?} {:?}", merge.refused())
}

fn body() -> impl Strategy<Value = Body> {
    let study = || prop_oneof![Just("1.2".to_owned()), Just("1.3".to_owned())];
    let fact_id = || (0..20u64).prop_map(|number| fact(number, 0, Body::Heartbeat { read: vec![] }).id);
    let subject = prop_oneof![Just("a".to_owned()), Just("b".to_owned())];
    prop_oneof![
        4 => (0..6u8, 0..4u8, 0..2u8).prop_map(|(number, owner, content)| Body::PackVerified(pack(number, owner, content))),
        2 => (0..6u8, 0..6u8).prop_map(|(one, by)| Body::PackReplaced { replaced: vec![PackId([one; 16])], by: PackId([by; 16]) }),
        1 => (0..6u8).prop_map(|number| Body::PackDeleted { pack_id: PackId([number; 16]), why: why() }),
        2 => study().prop_map(|study| Body::DeleteRequested { target: Target::Study(study), why: why() }),
        2 => (fact_id(), 0..60i64).prop_map(|(request, due)| Body::DeleteConfirmed { request, due_at: Timestamp(due), why: why() }),
        1 => (fact_id(), vec(any::<u8>(), 0..3)).prop_map(|(request, records)| Body::DeleteNames { request, records: records.into_iter().map(|record| RecordId([record; 16])).collect() }),
        1 => fact_id().prop_map(|request| Body::DeleteWithdrawn { request, why: why() }),
        1 => fact_id().prop_map(|request| Body::DeleteDone { request }),
        2 => study().prop_map(|study| Body::Hold { study, why: why() }),
        2 => (fact_id(), study()).prop_map(|(hold, study)| Body::HoldReleased { hold, study, why: why() }),
        1 => (study(), 0..60i64).prop_map(|(study, until)| Body::Retention { study, until: Timestamp(until), why: why() }),
        1 => (0..4u8).prop_map(|node| Body::NodeAdopted { node: NodeId([node; 16]), incarnation: IncarnationId([node; 16]) }),
        1 => Just(Body::Heartbeat { read: Vec::new() }),
        1 => (0..40u32).prop_map(|years| Body::RetentionRule { years }),
        2 => (subject, any::<u8>()).prop_map(|(subject, value)| Body::Correction(Correction { subject, value: vec![value], why: why() })),
        1 => any::<u8>().prop_map(|byte| Body::Unknown { kind: 77, bytes: vec![byte] }),
        1 => (0..3u8, 0..5u32).prop_map(|(key, generation)| Body::KeyGeneration { key_id: [key; 16], generation }),
        1 => (0..3u8).prop_map(|key| Body::KeyShredded { study_key_id: StudyKeyId([key; 16]), why: why() }),
    ]
}

/// Facts of four authors; ids repeat a little, as no reader may rely on their being unique.
fn facts() -> impl Strategy<Value = Vec<(u8, Fact)>> {
    let one = (0..4u8, 0..20u64, 0..60i64, vec(0..20u64, 0..3), body());
    vec(one, 0..40).prop_map(|stated| {
        let stated = stated.into_iter().map(|(author, number, at, supersedes, body)| {
            let supersedes = supersedes.into_iter().map(|number| fact(number, 0, body.clone()).id).collect();
            (author, Fact { supersedes, ..fact(number, at, body) })
        });
        stated.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Merge rules: any order, with repeats, gives the same state and the same answers.
    #[test]
    fn any_permutation_with_repeats_gives_the_same_state(
        (facts, order) in facts().prop_flat_map(|facts| {
            let all = facts.len();
            (Just(facts), vec(0..all.max(1), 0..80))
        }),
    ) {
        let expected = merged(&facts);
        let mut shuffled: Vec<_> = order.iter().filter_map(|&number| facts.get(number)).collect();
        shuffled.extend(facts.iter().rev());
        let merge = merged(shuffled);
        prop_assert_eq!(&merge, &expected);
        prop_assert_eq!(answers(&merge), answers(&expected));
    }

    /// … and so does any cut of each author's facts into batches, read in any interleaving.
    #[test]
    fn any_split_into_batches_gives_the_same_state(
        facts in facts(),
        cuts in vec(1..6usize, 40),
        turns in vec(0..4u8, 200),
    ) {
        let expected = merged(&facts);
        let mut cut = cuts.into_iter().cycle();
        let mut waiting: Vec<Vec<Vec<u8>>> = (0..4u8).map(|number| {
            let own: Vec<Fact> = facts.iter().filter(|(by, _)| *by == number).map(|(_, fact)| fact.clone()).collect();
            let (mut tip, mut batches, mut rest) = (Tip::default(), Vec::new(), own.as_slice());
            while !rest.is_empty() {
                let (some, others) = rest.split_at(cut.next().unwrap_or(1).min(rest.len()));
                let batch = seal(author(number), tip, some);
                tip = tip.then(&batch);
                batches.push(batch);
                rest = others;
            }
            batches.reverse();
            batches
        }).collect();
        let mut chains: Vec<Chain> = (0..4u8).map(chain).collect();
        let mut merge = Merge::new();
        for turn in turns.into_iter().chain((0..4u8).flat_map(|number| [number; 40])) {
            let Some(bytes) = waiting[usize::from(turn)].pop() else { continue };
            let batch = chains[usize::from(turn)].read(&bytes, &log_key()).expect("reads");
            for fact in batch.facts {
                let stated = Stated { fact, author: batch.author };
                merge.take(&stated);
                merge.take(&stated);
            }
        }
        prop_assert_eq!(merge, expected);
    }

    /// Any bytes end in a fact or an error, and a fact reads back as it was.
    #[test]
    fn any_bytes_end_in_a_fact_or_an_error(bytes in vec(any::<u8>(), 0..200), (_, stated) in (0..4u8, body())) {
        let _ = Fact::from_bytes(&bytes);
        let _ = batch_head(&bytes);
        let whole = fact(1, 2, stated);
        prop_assert_eq!(Fact::from_bytes(&whole.to_bytes().expect("short")), Ok(whole));
    }
}
