//! Bytes nobody should send: each ends in a typed status, a quarantine or an abort, and the next association works.

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;

use serde_json::Value;

use crate::support::dicom::{CT_IMAGE, EXPLICIT_LE, File, IMPLICIT_LE, Image, element, part10};
use crate::support::gateway::{Gateway, Home};
use crate::support::servers::Database;
use crate::support::test_data::{self, Sample};
use crate::support::wire::{
    self, ABORT, ASSOCIATE_RQ, CONTEXT, P_DATA, RELEASE_RQ, Reaction, VERIFICATION, Wire, p_data, pdu,
    store_command,
};
use crate::support::{Dice, fixtures, root};

/// How much more memory any of this may cost.
const GROWTH_BYTES_MAX: u64 = 64 << 20;

fn serve(home: &Home) -> Gateway {
    let mut gateway = home.serve();
    gateway.expect_log("quarantine");
    gateway.expect_log("association");
    gateway
}

/// True for what PS3.4 B.2.3 lets a storage SCP answer.
fn is_storage_status(status: u16) -> bool {
    matches!(status, 0x0000 | 0xB000 | 0xB006 | 0xB007 | 0xA700..=0xA7FF | 0xA900..=0xA9FF | 0xC000..=0xCFFF)
}

#[test]
fn every_malformed_file_gets_a_status() {
    let Some(samples) = test_data::samples() else { return };
    let home = Home::new().set("DICOM__PRIVATE_SOP_CLASSES", test_data::PRIVATE_SOP_CLASS);
    let gateway = serve(&home);
    let odd = |sample: &&Sample| sample.name.starts_with("malformed/") || !sample.readable;
    let odd: Vec<&Sample> = samples.iter().filter(odd).collect();
    assert!(odd.len() > 20, "only {} files", odd.len());
    wire::echo(&gateway.dicom);
    let before = gateway.resident_bytes();
    for (number, sample) in odd.iter().enumerate() {
        let reaction = store_as_is(&gateway, &sample.path, number);
        assert!(
            matches!(reaction, Reaction::Status(status) if is_storage_status(status)),
            "{}: {reaction:?}",
            sample.name
        );
        wire::echo(&gateway.dicom);
    }
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "memory grew by {grown} bytes");
    let records = gateway.settled(odd.len());
    assert_eq!(records.len(), odd.len(), "every arrival has a record");
    for record in records.iter().filter(|record| record.state == "quarantined") {
        assert!(record.reason.as_deref().is_some_and(|reason| !reason.is_empty()), "{record:?}");
    }
    gateway.stop();
}

/// Sends what stands behind the file's head, announced as the head says or, where it is silent, as something new.
fn store_as_is(gateway: &Gateway, path: &Path, number: usize) -> Reaction {
    let file = File::read(path);
    let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
    let sop_class = or(&file.sop_class_uid, CT_IMAGE);
    let sop_instance = or(&file.sop_instance_uid, &format!("1.2.826.0.1.3680043.10.1543.77.{number}"));
    let syntax = or(&file.transfer_syntax_uid, EXPLICIT_LE);
    let mut wire = Wire::associate(&gateway.dicom, &sop_class, &syntax);
    let reaction = wire.store(&sop_class, &sop_instance, file.dataset());
    wire.release();
    reaction
}

/// Whatever the database: names, numbers and UIDs of thousands of characters hold up nothing, and what they begin with is
/// found. Half-width katakana (JIS X 0201) take three times their bytes in a catalog.
#[test]
fn what_is_absurdly_long_is_kept_and_found_by_its_beginning() {
    let database = Database::make();
    let over = |database: &Database| Home::new().set("CATALOG__URL", database.url());
    for home in [Some(Home::new()), database.as_ref().map(over)].into_iter().flatten() {
        let gateway = serve(&home);
        let mut dice = Dice(46);
        let mut absurd = |bytes| (0..bytes).map(|_| 0xB1 + dice.below(40) as u8).collect::<Vec<u8>>();
        let (name, id, accession, text) = (absurd(4000), absurd(1024), absurd(4000), absurd(4000));
        let uid = |end: &str| format!("1.2.826.0.1.3680043.10.1543.{}{end}", "4601.".repeat(120));
        let mut dataset = Vec::new();
        element(&mut dataset, 0x0008_0005, b"CS", b"ISO_IR 13");
        element(&mut dataset, 0x0008_0016, b"UI", CT_IMAGE.as_bytes());
        element(&mut dataset, 0x0008_0018, b"UI", uid("3").as_bytes());
        element(&mut dataset, 0x0008_0050, b"SH", &accession);
        element(&mut dataset, 0x0008_1030, b"LO", &text);
        element(&mut dataset, 0x0010_0010, b"PN", &name);
        element(&mut dataset, 0x0010_0020, b"LO", &id);
        element(&mut dataset, 0x0010_0021, b"LO", &id);
        element(&mut dataset, 0x0020_000D, b"UI", uid("1").as_bytes());
        element(&mut dataset, 0x0020_000E, b"UI", uid("2").as_bytes());
        let files = [uid("3"), uid("4")].map(|sop| {
            let at = dataset.windows(sop.len()).position(|bytes| bytes == uid("3").as_bytes());
            let mut dataset = dataset.clone();
            dataset[at.expect("a SOP Instance UID")..][..sop.len()].copy_from_slice(sop.as_bytes());
            File::new(part10(EXPLICIT_LE, CT_IMAGE, &sop, &dataset))
        });
        gateway.web.store(&files.iter().collect::<Vec<_>>()).ok();
        let plain = Image::of_study(4_602, 1);
        gateway.web.store(&[&plain.file()]).ok();
        let records = gateway.settled(3);
        assert!(records.iter().all(|record| record.state == "verified"), "{records:?}");
        let studies: BTreeSet<_> = records.iter().map(|record| record.study_instance_uid.clone()).collect();
        assert_eq!(studies.len(), 2, "the absurd ones are of one study");

        let katakana = |bytes: &[u8]| {
            let text = bytes.iter().filter_map(|byte| char::from_u32(0xFEC0 + u32::from(*byte)));
            text.collect::<String>().bytes().map(|byte| format!("%{byte:02X}")).collect::<String>()
        };
        for (key, value) in [
            ("PatientName", &name),
            ("PatientID", &id),
            ("AccessionNumber", &accession),
            ("StudyDescription", &text),
        ] {
            let path = format!("/dicomweb/studies?{key}={}*", katakana(&value[..30]));
            let found: Vec<Value> = gateway.web.get(&path, "application/dicom+json").ok().json();
            assert_eq!(found.len(), 1, "{key}");
        }
        for record in &records {
            let path = format!("/api/records/{}", record.record_id);
            let kept = File::new(gateway.web.get(&path, "*/*").ok().body);
            let sent = [&files[0], &files[1], &plain.file()];
            assert!(sent.iter().any(|sent| sent.dataset() == kept.dataset()), "{record:?}");
        }
        home.run(&["verify", "--deep"]).ended(0);
        gateway.stop();
    }
}

#[test]
fn send_and_stow_report_every_malformed_file() {
    let Some(samples) = test_data::samples() else { return };
    let home = Home::new();
    let gateway = serve(&home);
    for sample in samples.iter().filter(|sample| sample.name.starts_with("malformed/")) {
        let path = sample.path.display().to_string();
        let sent = home.run(&["send", &gateway.dicom, &path, "--aec", "FILMGATE", "--json"]);
        assert!(matches!(sent.code, Some(0..=2)), "{}: {sent:?}", sample.name);
        let stored = gateway.web.store(&[&File::read(&sample.path)]);
        assert!(matches!(stored.status, 200 | 202 | 400 | 409 | 415), "{}: {}", sample.name, stored.status);
        wire::echo(&gateway.dicom);
    }
    gateway.settled(1);
    gateway.stop();
}

#[test]
fn a_dataset_cut_short_is_quarantined_with_its_reason() {
    let home = Home::new();
    let gateway = serve(&home);
    let image = Image::of_study(20, 1);
    let dataset = image.dataset();
    let cuts: Vec<usize> =
        (1..24).map(|step| dataset.len() * step / 24).chain([3, 9, dataset.len() - 1]).collect();
    let mut wire = Wire::associate(&gateway.dicom, CT_IMAGE, EXPLICIT_LE);
    for cut in &cuts {
        let uid = format!("{}.{cut}", image.sop_instance_uid);
        let mut renamed = image.clone();
        renamed.sop_instance_uid.clone_from(&uid);
        let reaction = wire.store(CT_IMAGE, &uid, &renamed.dataset()[..*cut]);
        assert_eq!(reaction, Reaction::Status(0xC000), "cut at {cut}");
    }
    wire.release();
    let records = gateway.settled(cuts.len());
    assert_eq!(records.len(), cuts.len());
    for record in &records {
        assert_eq!(record.state, "quarantined", "{record:?}");
        assert!(record.reason.as_deref().is_some_and(|reason| !reason.is_empty()), "{record:?}");
        let kept = gateway.web.get(&format!("/api/records/{}", record.record_id), "*/*").ok();
        let file = File::new(kept.body);
        assert_eq!(file.dataset().len() as u64, record.dataset_bytes);
    }
    let status = gateway.status();
    assert_eq!(status["quarantined"].as_array().map(Vec::len), Some(cuts.len()), "{status}");
    gateway.stop();
}

#[test]
fn an_association_lost_in_a_dataset_leaves_nothing_behind() {
    let home = Home::new();
    let gateway = serve(&home);
    let image = Image { samples: Dice(21).bytes(8 << 20), ..Image::of_study(21, 1) };
    let dataset = image.dataset();
    for part in [0, 100, 5000, 1 << 20, 7 << 20] {
        let mut wire = Wire::associate(&gateway.dicom, CT_IMAGE, EXPLICIT_LE);
        wire.offer(&p_data(CONTEXT, 3, &store_command(1, CT_IMAGE, &image.sop_instance_uid)));
        for fragment in dataset[..part].chunks(16 * 1024) {
            wire.offer(&p_data(CONTEXT, 0, fragment));
        }
    }
    let mut wire = Wire::associate(&gateway.dicom, CT_IMAGE, EXPLICIT_LE);
    assert_eq!(wire.store(CT_IMAGE, &image.sop_instance_uid, &dataset), Reaction::Status(0));
    wire.release();
    assert_eq!(gateway.settled(1).len(), 1);
    gateway.stop();
}

#[test]
fn declared_lengths_cost_no_memory() {
    let home = Home::new();
    let gateway = serve(&home);
    wire::echo(&gateway.dicom);
    let before = gateway.resident_bytes();
    let image = Image::of_study(22, 1);
    for vr in [b"OB", b"UN", b"SQ"] {
        // An element that claims nearly 4 GiB, and no byte of it.
        let mut dataset = image.dataset();
        dataset.extend_from_slice(&[0xE0, 0x7F, 0x11, 0x00]);
        dataset.extend_from_slice(vr);
        dataset.extend_from_slice(&[0, 0]);
        dataset.extend_from_slice(&0xFFFF_FFF0_u32.to_le_bytes());
        let mut wire = Wire::associate(&gateway.dicom, CT_IMAGE, EXPLICIT_LE);
        let reaction = wire.store(CT_IMAGE, &image.sop_instance_uid, &dataset);
        assert_eq!(reaction, Reaction::Status(0xC000), "{}", String::from_utf8_lossy(vr));
        wire.release();
    }
    let reaction = nested(&gateway, 20_000);
    assert!(matches!(reaction, Reaction::Status(status) if is_storage_status(status)), "{reaction:?}");
    let mut wire = Wire::connect(&gateway.dicom);
    wire.offer(&[ASSOCIATE_RQ, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 1]);
    assert!(matches!(wire.reaction(), Reaction::Aborted | Reaction::Rejected | Reaction::Closed));
    wire::echo(&gateway.dicom);
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "memory grew by {grown} bytes");
    gateway.stop();
}

/// A dataset of sequences in sequences.
fn nested(gateway: &Gateway, depth: usize) -> Reaction {
    let image = Image::of_study(23, 1);
    let mut dataset = image.dataset();
    dataset.truncate(dataset.len() - 12 - image.samples.len());
    let mut item = vec![0x40, 0x00, 0x30, 0xA7];
    item.extend_from_slice(b"SQ\0\0\xFF\xFF\xFF\xFF");
    item.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF]);
    for _ in 0..depth {
        dataset.extend_from_slice(&item);
    }
    for _ in 0..depth {
        dataset.extend_from_slice(&[0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    }
    let mut wire = Wire::associate(&gateway.dicom, CT_IMAGE, EXPLICIT_LE);
    let reaction = wire.store(CT_IMAGE, &image.sop_instance_uid, &dataset);
    wire.release();
    reaction
}

#[test]
fn broken_pdus_before_an_association_end_the_connection() {
    let home = Home::new();
    let gateway = serve(&home);
    let request = wire::associate_rq(VERIFICATION, IMPLICIT_LE);
    let patched = |at: usize, value: u8| {
        let mut request = request.clone();
        request[at] = value;
        request
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("noise", Dice(1).bytes(4096)),
        ("an HTTP request", b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n".to_vec()),
        ("an unknown PDU", pdu(0x09, &[])),
        ("PDU type 0", pdu(0x00, &[0; 8])),
        ("P-DATA first", p_data(CONTEXT, 3, b"hello")),
        ("A-RELEASE first", pdu(RELEASE_RQ, &[0; 4])),
        ("A-ASSOCIATE-AC first", pdu(2, &request[6..])),
        ("an empty A-ASSOCIATE-RQ", pdu(ASSOCIATE_RQ, &[])),
        ("protocol version 0", patched(7, 0)),
        ("an item longer than its PDU", patched(76, 0xFF)),
        ("a variable item of length 0xFFFF", {
            let mut request = request.clone();
            request[76..78].copy_from_slice(&[0xFF, 0xFF]);
            request
        }),
        ("half an A-ASSOCIATE-RQ", request[..request.len() / 2].to_vec()),
        ("nothing at all", Vec::new()),
        ("A-ABORT first", pdu(ABORT, &[0; 4])),
    ];
    thread::scope(|scope| {
        for (what, bytes) in &cases {
            let address = &gateway.dicom;
            scope.spawn(move || {
                let mut wire = Wire::connect(address);
                wire.offer(bytes);
                if bytes.is_empty() || *what == "half an A-ASSOCIATE-RQ" {
                    // The peer is silent: ARTIM ends it (PS3.8 9.1.5).
                } else {
                    wire.end_sending();
                }
                let reaction = wire.reaction();
                let ended = matches!(reaction, Reaction::Aborted | Reaction::Rejected | Reaction::Closed);
                assert!(ended, "{what}: {reaction:?}");
            });
        }
    });
    wire::echo(&gateway.dicom);
    gateway.stop();
}

#[test]
fn broken_pdus_within_an_association_end_it() {
    let home = Home::new();
    let gateway = serve(&home);
    let command = store_command(1, CT_IMAGE, "1.2.3");
    let fragment = |length: u32, rest: &[u8]| pdu(P_DATA, &[&length.to_be_bytes()[..], rest].concat());
    let then = |first: Vec<u8>, second: Vec<u8>| [first, second].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a PDV longer than its PDU", fragment(1000, &[CONTEXT, 3, 0, 0])),
        ("a PDV of length 0", fragment(0, &[CONTEXT, 3])),
        ("a PDV of length 1", fragment(1, &[CONTEXT])),
        ("an empty P-DATA", pdu(P_DATA, &[])),
        ("an unknown presentation context", p_data(99, 3, &command)),
        ("a dataset without a command", p_data(CONTEXT, 2, b"data")),
        ("a command of noise", p_data(CONTEXT, 3, &Dice(2).bytes(200))),
        ("an empty command", p_data(CONTEXT, 3, &[])),
        (
            "a command element longer than the command",
            p_data(CONTEXT, 3, &[0, 0, 2, 0, 0xFF, 0xFF, 0xFF, 0x7F]),
        ),
        ("a second A-ASSOCIATE-RQ", wire::associate_rq(VERIFICATION, IMPLICIT_LE)),
        ("a PDU of 4 GiB", vec![P_DATA, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 4]),
        ("an unknown PDU", pdu(0x42, &[1, 2, 3])),
        (
            "a command inside a dataset",
            then(then(p_data(CONTEXT, 3, &command), p_data(CONTEXT, 0, b"da")), p_data(CONTEXT, 3, &command)),
        ),
        ("A-ABORT inside a dataset", then(p_data(CONTEXT, 3, &command), pdu(ABORT, &[0; 4]))),
    ];
    let before = gateway.resident_bytes();
    for (what, bytes) in &cases {
        let mut wire = Wire::associate(&gateway.dicom, CT_IMAGE, EXPLICIT_LE);
        wire.offer(bytes);
        wire.end_sending();
        let reaction = wire.reaction();
        assert!(matches!(reaction, Reaction::Aborted | Reaction::Closed), "{what}: {reaction:?}");
        wire::echo(&gateway.dicom);
    }
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "memory grew by {grown} bytes");
    assert!(gateway.records().is_empty());
    gateway.stop();
}

#[test]
fn flipped_bits_in_whole_associations_are_survived() {
    let home = Home::new();
    let gateway = serve(&home);
    let image = Image { samples: vec![7; 2000], ..Image::of_study(24, 1) };
    let mut whole = wire::associate_rq(CT_IMAGE, EXPLICIT_LE);
    whole.extend(p_data(CONTEXT, 3, &store_command(1, CT_IMAGE, &image.sop_instance_uid)));
    whole.extend(p_data(CONTEXT, 2, &image.dataset()));
    whole.extend(pdu(RELEASE_RQ, &[0; 4]));
    let seed = u64::from(std::process::id());
    let mut dice = Dice(seed);
    for _ in 0..300 {
        let mut bytes = whole.clone();
        for _ in 0..=dice.below(3) {
            let at = dice.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << dice.below(8);
        }
        let mut wire = Wire::connect(&gateway.dicom);
        wire.offer(&bytes);
        wire.end_sending();
        while !matches!(wire.read(), None | Some((ABORT | 3, _))) {}
    }
    wire::echo(&gateway.dicom);
    assert!(!gateway.log().contains("panicked"), "seed {seed}");
    gateway.stop();
}

#[test]
fn fixtures_with_noise_in_them_are_kept_or_refused() {
    let home = Home::new();
    let gateway = serve(&home);
    let seed = u64::from(std::process::id());
    let mut dice = Dice(seed);
    let before = gateway.resident_bytes();
    for path in fixtures() {
        let mut file = File::read(&path);
        let offset = file.bytes.len() - file.dataset().len();
        for _ in 0..20 {
            let at = offset + dice.below((file.bytes.len() - offset) as u64) as usize;
            file.bytes[at] = dice.roll() as u8;
        }
        let mut wire = Wire::associate(&gateway.dicom, &file.sop_class_uid, &file.transfer_syntax_uid);
        let reaction = wire.store(&file.sop_class_uid, &file.sop_instance_uid, file.dataset());
        let name = path.strip_prefix(root()).unwrap_or(&path).display();
        assert!(
            matches!(reaction, Reaction::Status(status) if is_storage_status(status)),
            "{name}: {reaction:?} (seed {seed})"
        );
        wire.release();
    }
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "memory grew by {grown} bytes");
    gateway.settled(1);
    gateway.stop();
}
