//! Peers that attack: however they hold on, lie or flood, the gateway lives, its memory stays flat, what it keeps comes
//! back, and an honest peer is answered within 10 s.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::dicom::{CT_IMAGE, EXPLICIT_LE, File, IMPLICIT_LE, Image, element, part10};
use crate::support::gateway::{Gateway, Home};
use crate::support::generated::{ENHANCED_CT, Generated};
use crate::support::web::{stow_body, stow_content_type};
use crate::support::wire::{
    self, ASSOCIATE_RQ, CONTEXT, P_DATA, RELEASE_RP, Reaction, VERIFICATION, Wire, drip, p_data, pdu,
    pdu_head, store_command,
};
use crate::support::{Dice, wait_for};

/// An honest peer's answer, whatever goes on.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// How much more memory any of this may cost.
const GROWTH_BYTES_MAX: u64 = 48 << 20;
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(30);
const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
const REJECTED_FOR_THE_MOMENT: [u8; 3] = [2, 3, 2];

/// A gateway under attack, and what it was before.
struct Besieged {
    gateway: Gateway,
    kept: Image,
    resident_bytes: u64,
}

impl Besieged {
    fn new(home: &Home) -> Self {
        let mut gateway = home.serve();
        for expected in
            ["connections that ask for nothing crowd the door", "was aborted", "was given up", "quarantine"]
        {
            gateway.expect_log(expected);
        }
        let kept = Image::of_study(800, 1);
        let mut wire = Wire::associate(&gateway.dicom, CT_IMAGE, EXPLICIT_LE);
        assert_eq!(wire.store(CT_IMAGE, &kept.sop_instance_uid, &kept.dataset()), Reaction::Status(0));
        wire.release();
        gateway.settled(1);
        let resident_bytes = gateway.resident_bytes();
        Self { gateway, kept, resident_bytes }
    }

    /// Both doors answer who is honest, within the time the attack may cost them.
    fn answers(&self) {
        wait_for("C-ECHO is answered", ANSWERED_WITHIN, || wire::try_echo(&self.gateway.dicom).ok());
        let asked = Instant::now();
        assert_eq!(self.gateway.web.get("/healthz", "*/*").status, 200);
        assert!(asked.elapsed() < ANSWERED_WITHIN, "the web door took {:?}", asked.elapsed());
    }

    fn grown(&self) -> u64 {
        self.gateway.resident_bytes().saturating_sub(self.resident_bytes)
    }

    fn is_flat(&self) {
        let grown = self.grown();
        assert!(grown < GROWTH_BYTES_MAX, "memory grew by {grown} bytes");
    }

    /// The attack is over: nothing of it is left.
    fn end(self) {
        self.answers();
        // What arrived is packed and verified meanwhile, which takes its memory and gives it back.
        wait_for("memory is as it was", GIVEN_BACK_WITHIN, || {
            (self.grown() < GROWTH_BYTES_MAX).then_some(())
        });
        let Image { study_instance_uid, series_instance_uid, sop_instance_uid, .. } = &self.kept;
        let back = self.gateway.web.instance(study_instance_uid, series_instance_uid, sop_instance_uid);
        assert_eq!(back.expect("what was kept").dataset(), self.kept.dataset());
        self.gateway.stop();
    }

    /// The value of a counter, its labels in the order they are told.
    fn counted(&self, name: &str) -> u64 {
        let metrics = self.gateway.web.get("/metrics", "*/*").ok().text();
        let line =
            metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
        line.and_then(|value| value.parse().ok()).unwrap_or_default()
    }
}

/// Waits short enough for a test, at both doors.
fn impatient() -> Home {
    Home::new()
        .set("DICOM__ARTIM_MS", 1500)
        .set("DICOM__ASSOCIATION_PROGRESS_WINDOW_MS", 1500)
        .set("DICOM__ASSOCIATION_PROGRESS_BYTES_MIN", 4096)
        .set("WEB__REQUEST_HEAD_TIMEOUT_MS", 1500)
        .set("WEB__REQUEST_PROGRESS_WINDOW_MS", 1500)
        .set("WEB__REQUEST_PROGRESS_BYTES_MIN", 4096)
}

/// True once the other side has closed, or says something.
fn has_ended(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).expect("do not wait");
    !matches!(stream.read(&mut [0; 64]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

/// All that comes until the other side closes.
fn read_to_end(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a deadline");
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("the gateway holds on"),
        _ => String::from_utf8_lossy(&all).into_owned(),
    }
}

#[test]
fn two_hundred_half_open_connections_keep_nobody_out() {
    let home = Home::new();
    let besieged = Besieged::new(&home);
    let request = wire::associate_rq(VERIFICATION, IMPLICIT_LE);
    let half: Vec<TcpStream> = (0..200)
        .map(|number| {
            let mut stream = TcpStream::connect(&besieged.gateway.dicom).expect("connect");
            let sent = if number % 2 == 0 { &[][..] } else { &request[..request.len() / 2] };
            let _ = stream.write_all(sent);
            stream
        })
        .collect();
    besieged.answers();
    besieged.is_flat();
    drop(half);
    besieged.end();
}

#[test]
fn at_a_crowded_door_the_oldest_give_way() {
    let home = Home::new()
        .set("DICOM__CONNECTIONS_MAX", 12)
        .set("DICOM__CONNECTIONS_PER_PEER_MAX", 0)
        .set("DICOM__ASSOCIATIONS_MAX", 2)
        .set("DICOM__ARTIM_MS", 60_000);
    let besieged = Besieged::new(&home);
    let mut early: Vec<_> =
        (0..10).map(|_| TcpStream::connect(&besieged.gateway.dicom).expect("connect")).collect();
    for _ in 0..20 {
        // Each newcomer finds the door full and is served all the same.
        besieged.answers();
    }
    let late: Vec<_> =
        (0..40).map(|_| TcpStream::connect(&besieged.gateway.dicom).expect("connect")).collect();
    wait_for("the early ones are closed", ANSWERED_WITHIN, || early.iter_mut().all(has_ended).then_some(()));
    besieged.answers();
    assert!(besieged.counted("filmgate_connections_dropped_total{door=\"dicom\"}") >= 10);
    drop((early, late));
    besieged.end();
}

#[test]
fn associations_are_limited_in_all_and_for_one_address() {
    for (setting, other) in
        [("ASSOCIATIONS_MAX", "ASSOCIATIONS_PER_PEER_MAX"), ("ASSOCIATIONS_PER_PEER_MAX", "ASSOCIATIONS_MAX")]
    {
        let home = Home::new().set(&format!("DICOM__{setting}"), 2).set(&format!("DICOM__{other}"), 20);
        let besieged = Besieged::new(&home);
        let first = Wire::associate(&besieged.gateway.dicom, CT_IMAGE, EXPLICIT_LE);
        let second = Wire::associate(&besieged.gateway.dicom, CT_IMAGE, EXPLICIT_LE);
        let mut third = Wire::connect(&besieged.gateway.dicom);
        third.offer(&wire::associate_rq(CT_IMAGE, EXPLICIT_LE));
        let (kind, body) = third.read().expect("an answer");
        assert_eq!((kind, &body[1..4]), (3, &REJECTED_FOR_THE_MOMENT[..]), "{setting}");
        drop(third);
        first.release();
        second.release();
        besieged.end();
    }
}

#[test]
fn associations_that_drip_lose_their_seats() {
    const SEATS: usize = 8;
    let home = impatient().set("DICOM__ASSOCIATIONS_MAX", SEATS).set("DICOM__ASSOCIATIONS_PER_PEER_MAX", 0);
    let besieged = Besieged::new(&home);
    let command = store_command(1, CT_IMAGE, "1.2.3");
    let request = wire::associate_rq(CT_IMAGE, EXPLICIT_LE);
    let mut dripping = Vec::new();
    let mut wires: Vec<Wire> = (0..SEATS)
        .map(|number| {
            let mut wire = Wire::associate(&besieged.gateway.dicom, CT_IMAGE, EXPLICIT_LE);
            let drips = match number % 4 {
                0 => p_data(CONTEXT, 3, &command).repeat(20),
                1 => {
                    wire.offer(&p_data(CONTEXT, 3, &command));
                    p_data(CONTEXT, 2, &[7; 4096])
                }
                2 => {
                    wire.offer(&p_data(CONTEXT, 3, &command));
                    p_data(CONTEXT, 0, &[]).repeat(300)
                }
                // The first byte of a PDU, and no more.
                _ => vec![P_DATA],
            };
            dripping.push(wire.drip(drips));
            wire
        })
        .collect();
    assert_eq!(wire::try_echo(&besieged.gateway.dicom), Err(Reaction::Rejected), "every seat is taken");
    // They are given up, and who is honest finds a seat.
    besieged.answers();
    for wire in &mut wires {
        assert_eq!(wire.reaction(), Reaction::Aborted);
    }
    // A request that drips has until ARTIM.
    let mut late = Wire::connect(&besieged.gateway.dicom);
    dripping.push(late.drip(request.repeat(20)));
    assert!(matches!(late.reaction(), Reaction::Closed | Reaction::Aborted));
    drop((wires, late));
    for thread in dripping {
        thread.join().expect("a dripping peer");
    }
    let too_slow = "filmgate_association_failed_total{role=\"acceptor\",reason=\"too_slow\"}";
    assert_eq!(besieged.counted(too_slow), SEATS as u64);
    let log = besieged.gateway.log();
    let told = log.lines().filter(|line| line.contains(" WARN ") && line.contains("peer=127.0.0.1")).count();
    assert_eq!(told, SEATS, "each is told once, with its address: {log}");
    besieged.end();
}

#[test]
fn request_heads_that_drip_give_way_and_end() {
    let home = impatient().set("WEB__CONNECTIONS_MAX", 8);
    let besieged = Besieged::new(&home);
    let head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".repeat(20);
    let dripping: Vec<_> = (0..40)
        .map(|number| {
            let mut stream = TcpStream::connect(besieged.gateway.web.address()).expect("connect");
            let kept = stream.try_clone().expect("a second handle");
            // Half of them say nothing at all.
            let head = if number % 2 == 0 { head.clone() } else { Vec::new() };
            (kept, thread::spawn(move || drip(&mut stream, &head)))
        })
        .collect();
    besieged.answers();
    besieged.is_flat();
    for (stream, thread) in dripping {
        assert_eq!(read_to_end(stream), "");
        thread.join().expect("a dripping client");
    }
    assert!(besieged.counted("filmgate_connections_dropped_total{door=\"web\"}") >= 32);
    besieged.end();
}

#[test]
fn bodies_that_drip_lose_their_turn() {
    const TURNS: usize = 4;
    let home = impatient().set("WEB__STOW_REQUESTS_MAX", TURNS);
    let besieged = Besieged::new(&home);
    let file = Image::of_study(801, 1).file();
    let body = stow_body(&[&file]);
    let head = format!(
        "POST /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
        stow_content_type(),
        body.len()
    );
    let dripping: Vec<_> = (0..TURNS)
        .map(|number| {
            let mut stream = TcpStream::connect(besieged.gateway.web.address()).expect("connect");
            let kept = stream.try_clone().expect("a second handle");
            stream.write_all(head.as_bytes()).expect("send the head");
            let body = body[number * 2000..].to_vec();
            (kept, thread::spawn(move || drip(&mut stream, &body)))
        })
        .collect();
    // It waits until those before it are given up.
    let stored = besieged.gateway.web.store(&[&file]);
    assert_eq!(stored.status, 200, "{}", stored.text());
    for (stream, thread) in dripping {
        let answer = read_to_end(stream);
        assert!(answer.starts_with("HTTP/1.1 408 ") || answer.is_empty(), "{answer}");
        thread.join().expect("a dripping client");
    }
    assert_eq!(besieged.gateway.log().matches("a STOW-RS request was given up").count(), TURNS);
    besieged.end();
}

#[test]
fn clients_that_do_not_read_their_answers_lose_their_turn() {
    const TURNS: usize = 4;
    let home = impatient().set("WEB__RETRIEVE_REQUESTS_MAX", TURNS).set("WEB__ANSWER_STALL_TIMEOUT_MS", 1500);
    let besieged = Besieged::new(&home);
    let long = Image { samples: Dice(7).bytes(32 << 20), ..Image::of_study(802, 1) };
    let mut wire = Wire::associate(&besieged.gateway.dicom, CT_IMAGE, EXPLICIT_LE);
    assert_eq!(wire.store(CT_IMAGE, &long.sop_instance_uid, &long.dataset()), Reaction::Status(0));
    wire.release();
    besieged.gateway.settled(2);
    let Image { study_instance_uid, series_instance_uid, sop_instance_uid, .. } = &long;
    let path = format!(
        "/dicomweb/studies/{study_instance_uid}/series/{series_instance_uid}/instances/{sop_instance_uid}"
    );
    let accept = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
    let stalled: Vec<_> = (0..TURNS)
        .map(|_| {
            let mut stream = TcpStream::connect(besieged.gateway.web.address()).expect("connect");
            stream.write_all(request.as_bytes()).expect("ask");
            // The first byte of the answer: the turn is taken.
            stream.read_exact(&mut [0]).expect("the answer begins");
            stream
        })
        .collect();
    let back = besieged.gateway.web.instance(study_instance_uid, series_instance_uid, sop_instance_uid);
    assert_eq!(back.expect("a turn").dataset(), long.dataset());
    drop(stalled);
    besieged.end();
}

/// A dataset of 346 bytes whose pixels claim 4 GiB.
fn liar() -> (String, Vec<u8>) {
    let image = Image { samples: Vec::new(), ..Image::of_study(803, 1) };
    let mut dataset = image.dataset();
    let length_at = dataset.len() - 4;
    dataset[length_at..].copy_from_slice(&0xFFFF_FFFE_u32.to_le_bytes());
    dataset.resize(346, 0x55);
    (image.sop_instance_uid, dataset)
}

#[test]
fn a_dataset_of_346_bytes_that_claims_4_gib_costs_nothing() {
    let home = Home::new();
    let besieged = Besieged::new(&home);
    let (instance, dataset) = liar();
    let file = File::new(part10(EXPLICIT_LE, CT_IMAGE, &instance, &dataset));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut wire = Wire::associate(&besieged.gateway.dicom, CT_IMAGE, EXPLICIT_LE);
                for _ in 0..8 {
                    assert_eq!(wire.store(CT_IMAGE, &instance, &dataset), Reaction::Status(0xC000));
                }
                wire.release();
                let stored = besieged.gateway.web.store(&[&file]);
                assert!(matches!(stored.status, 202 | 409), "{}: {}", stored.status, stored.text());
            });
        }
        besieged.answers();
    });
    // The same lie of a PDU and of a fragment in it.
    for lie in [u32::MAX, 0x7FFF_FFFF] {
        let mut wire = Wire::associate(&besieged.gateway.dicom, CT_IMAGE, EXPLICIT_LE);
        wire.offer(&p_data(CONTEXT, 3, &store_command(1, CT_IMAGE, &instance)));
        let mut pdu = vec![P_DATA, 0];
        pdu.extend_from_slice(&lie.to_be_bytes());
        pdu.extend_from_slice(&(lie - 4).to_be_bytes());
        pdu.extend_from_slice(&[CONTEXT, 2]);
        wire.offer(&pdu);
        wire.offer(&dataset);
        wire.end_sending();
        assert!(matches!(wire.reaction(), Reaction::Closed | Reaction::Aborted));
    }
    besieged.end();
}

/// Sequences in sequences, all of undefined length or all of a defined one, closed or left open.
fn nested(depth: usize, defined: bool, closed: bool) -> (String, Vec<u8>) {
    let image = Image { samples: Vec::new(), ..Image::of_study(804, 1) };
    let mut dataset = image.dataset();
    dataset.truncate(dataset.len() - 12);
    for level in (0..depth).rev() {
        // The length of a sequence's content: one item, its head of 8 bytes, and the sequences within.
        let within = (level * 20) as u32;
        let (sequence, item) = if defined { (within + 8, within) } else { (u32::MAX, u32::MAX) };
        dataset.extend_from_slice(&[0x40, 0x00, 0x30, 0xA7]);
        dataset.extend_from_slice(b"SQ\0\0");
        dataset.extend_from_slice(&sequence.to_le_bytes());
        dataset.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0]);
        dataset.extend_from_slice(&item.to_le_bytes());
    }
    if closed && !defined {
        let ends = [0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];
        dataset.extend_from_slice(&ends.repeat(depth));
    }
    (image.sop_instance_uid, dataset)
}

#[test]
fn twenty_thousand_nested_sequences_are_read_or_kept_apart() {
    let home = Home::new();
    let besieged = Besieged::new(&home);
    let shapes = [(false, true), (false, false), (true, true)];
    thread::scope(|scope| {
        for (defined, closed) in shapes {
            let besieged = &besieged;
            scope.spawn(move || {
                let (instance, dataset) = nested(20_000, defined, closed);
                let mut wire = Wire::associate(&besieged.gateway.dicom, CT_IMAGE, EXPLICIT_LE);
                let reaction = wire.store(CT_IMAGE, &instance, &dataset);
                assert!(matches!(reaction, Reaction::Status(0 | 0xC000)), "{defined} {closed}: {reaction:?}");
                wire.release();
                let file = File::new(part10(EXPLICIT_LE, CT_IMAGE, &instance, &dataset));
                let stored = besieged.gateway.web.store(&[&file]);
                assert!(matches!(stored.status, 200 | 202 | 409), "{}: {}", stored.status, stored.text());
            });
        }
    });
    besieged.answers();
    // Whoever asks for all of it makes nobody recurse either.
    let records = besieged.gateway.settled(1 + shapes.len());
    for record in records.iter().filter(|record| record.state == "verified") {
        let study = record.study_instance_uid.as_deref().expect("a study");
        besieged
            .gateway
            .web
            .get(&format!("/dicomweb/studies/{study}/metadata"), "application/dicom+json")
            .ok();
    }
    besieged.end();
}

/// A dataset in very many pieces of 8 bytes.
fn crumbs(what: &str) -> (String, Vec<u8>) {
    const PIECES: usize = 2_000_000;
    let image = Image { samples: Vec::new(), ..Image::of_study(806, 1) };
    let mut dataset = image.dataset();
    dataset.truncate(dataset.len() - 12);
    match what {
        "fragments" => {
            dataset.extend_from_slice(&[0xE0, 0x7F, 0x10, 0x00]);
            dataset.extend_from_slice(b"OB\0\0\xFF\xFF\xFF\xFF");
            dataset.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0].repeat(PIECES));
            dataset.extend_from_slice(&[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
        }
        "items" => {
            dataset.extend_from_slice(&[0x40, 0x00, 0x30, 0xA7]);
            dataset.extend_from_slice(b"SQ\0\0\xFF\xFF\xFF\xFF");
            dataset.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0].repeat(PIECES));
            dataset.extend_from_slice(&[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
        }
        _ => {
            let mut element = vec![0x29, 0x00, 0x10, 0x10];
            element.extend_from_slice(b"LO\0\0");
            dataset.extend_from_slice(&element.repeat(PIECES));
        }
    }
    (image.sop_instance_uid, dataset)
}

#[test]
fn datasets_of_countless_crumbs_are_read_in_a_window() {
    let home = Home::new();
    let besieged = Besieged::new(&home);
    thread::scope(|scope| {
        for what in ["fragments", "items", "elements"] {
            let besieged = &besieged;
            scope.spawn(move || {
                let (instance, dataset) = crumbs(what);
                let mut wire = Wire::associate(&besieged.gateway.dicom, CT_IMAGE, EXPLICIT_LE);
                let reaction = wire.store(CT_IMAGE, &instance, &dataset);
                assert_eq!(reaction, Reaction::Status(0), "{what}");
                wire.release();
            });
        }
        besieged.answers();
    });
    besieged.gateway.settled(4);
    besieged.end();
}

#[test]
fn sixty_four_associations_amid_an_instance_take_their_windows_and_no_more() {
    const ASSOCIATIONS: u64 = 64;
    /// Chunk, planes, sealed bytes, journal frame and compressor; whatever the instance's length. The goal of 1.5 MiB
    /// is measured, not asserted.
    const ASSOCIATION_BYTES_MAX: u64 = 3 << 20;
    let home =
        Home::new().set("DICOM__ASSOCIATIONS_MAX", ASSOCIATIONS).set("DICOM__ASSOCIATIONS_PER_PEER_MAX", 0);
    let besieged = Besieged::new(&home);
    let long = Generated::new(807, 8);
    let wires: Vec<Wire> = (0..ASSOCIATIONS)
        .map(|_| {
            let mut wire = Wire::associate(&besieged.gateway.dicom, ENHANCED_CT, EXPLICIT_LE);
            wire.offer(&p_data(CONTEXT, 3, &store_command(1, ENHANCED_CT, &long.sop_instance_uid)));
            long.pieces().for_each(|piece| wire.offer(&p_data(CONTEXT, 0, piece)));
            wire
        })
        .collect();
    let grown = besieged.gateway.resident_bytes().saturating_sub(besieged.resident_bytes);
    println!("{ASSOCIATIONS} associations amid an instance: {} KiB each", grown / ASSOCIATIONS / 1024);
    assert!(grown < ASSOCIATIONS * ASSOCIATION_BYTES_MAX, "memory grew by {grown} bytes");
    // All seats are taken by peers that do no wrong: there is a plain answer, and the web door is open.
    assert_eq!(wire::try_echo(&besieged.gateway.dicom), Err(Reaction::Rejected));
    for mut wire in wires {
        wire.offer(&p_data(CONTEXT, 2, &[]));
        assert_eq!(wire.reaction(), Reaction::Status(0));
        wire.release();
    }
    besieged.answers();
    besieged.gateway.stop();
}

#[test]
fn garbage_is_survived_wherever_it_comes() {
    let home = impatient();
    let besieged = Besieged::new(&home);
    let seed = u64::from(std::process::id());
    thread::scope(|scope| {
        for number in 0..8 {
            let gateway = &besieged.gateway;
            scope.spawn(move || {
                let mut dice = Dice(seed + number);
                for _ in 0..40 {
                    let mut wire = if dice.below(2) == 0 {
                        Wire::connect(&gateway.dicom)
                    } else {
                        Wire::associate(&gateway.dicom, CT_IMAGE, EXPLICIT_LE)
                    };
                    wire.offer(&garbage(&mut dice));
                    wire.end_sending();
                    let reaction = wire.reaction();
                    // Noise under the head of an A-RELEASE-RQ ends the association as it asks.
                    let expected = !matches!(reaction, Reaction::Pdu(kind) if kind != RELEASE_RP);
                    assert!(expected, "{reaction:?} (seed {seed})");
                }
            });
        }
        besieged.answers();
    });
    assert!(!besieged.gateway.log().contains("panicked"), "seed {seed}");
    assert_eq!(besieged.gateway.records().len(), 1, "garbage was taken for an instance (seed {seed})");
    besieged.end();
}

/// PDUs of every kind with any body, or no PDU at all.
fn garbage(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=dice.below(8) {
        let length = dice.below(3000) as usize;
        let noise = dice.bytes(length);
        match dice.below(5) {
            0 => bytes.extend(noise),
            1 => bytes.extend(pdu(dice.below(10) as u8, &noise)),
            2 => bytes.extend(p_data(CONTEXT, dice.below(256) as u8, &noise)),
            3 => bytes.extend(pdu(ASSOCIATE_RQ, &noise)),
            // A header that promises anything.
            _ => pdu_head(&mut bytes, dice.below(8) as u8, dice.roll() as u32 as usize),
        }
    }
    bytes
}

/// A little more than 1 GiB of elements, all the same, deflated.
fn bomb() -> (String, Vec<u8>) {
    let image = Image { samples: Vec::new(), ..Image::of_study(805, 1) };
    let mut deflater = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut dataset = image.dataset();
    dataset.truncate(dataset.len() - 12);
    deflater.write_all(&dataset).expect("deflate");
    let mut elements = Vec::new();
    for _ in 0..10_000 {
        element(&mut elements, 0x0029_1010, b"LO", b"boom");
    }
    for _ in 0..=(1 << 30) / elements.len() {
        deflater.write_all(&elements).expect("deflate");
    }
    (image.sop_instance_uid, deflater.finish().expect("deflate"))
}

#[test]
fn a_deflated_bomb_bursts_in_a_window() {
    let home = Home::new();
    let besieged = Besieged::new(&home);
    let (instance, dataset) = bomb();
    assert!(dataset.len() < 16 << 20, "{} bytes", dataset.len());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut wire = Wire::associate(&besieged.gateway.dicom, CT_IMAGE, DEFLATED);
                let reaction = wire.store(CT_IMAGE, &instance, &dataset);
                assert!(matches!(reaction, Reaction::Status(0 | 0xC000)), "{reaction:?}");
                wire.release();
            });
        }
        besieged.answers();
    });
    let records = besieged.gateway.settled(2);
    let record = records.iter().find(|record| record.sop_instance_uid.as_deref() == Some(instance.as_str()));
    let record = record.expect("the bomb's record");
    let study = record.study_instance_uid.as_deref().unwrap_or_default();
    let metadata = format!("/dicomweb/studies/{study}/metadata");
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| besieged.gateway.web.get(&metadata, "application/dicom+json").ok());
        }
        besieged.answers();
    });
    let kept = besieged.gateway.web.get(&format!("/api/records/{}", record.record_id), "*/*").ok();
    assert_eq!(File::new(kept.body).dataset(), dataset, "it is kept as it came");
    besieged.end();
}
