//! Broken, silent and hostile peers: a typed error each, an abort on the wire, flat memory, and the next one served.

use std::{
    io::{self, Cursor, Read, Write},
    net::TcpListener,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use filmgate_dimse::{AcceptorOptions, Error, Request, Status, accept, request};
use filmgate_model::Pace;
use proptest::prelude::*;

use crate::support::*;

/// Sends `bytes` to an acceptor instead of an A-ASSOCIATE-RQ; what it answers with an abort, and its error.
fn instead_of_a_request(bytes: &[u8]) -> ((u8, u8), Error) {
    let (port, server) = server(options());
    let mut peer = RawPeer::connect(port);
    peer.send(bytes);
    let abort = peer.expect_abort();
    drop(peer);
    (abort, server.join().unwrap().unwrap_err())
}

/// Associates, then sends `bytes`; what they are answered with, and the server's error.
fn after_association(bytes: &[u8]) -> ((u8, u8), Error) {
    let (port, server) = server(options());
    let mut peer = RawPeer::associate(port);
    peer.send(bytes);
    let abort = peer.expect_abort();
    drop(peer);
    (abort, server.join().unwrap().unwrap_err())
}

const BY_USER: (u8, u8) = (0, 0);
const UNRECOGNIZED: (u8, u8) = (2, 1);
const UNEXPECTED: (u8, u8) = (2, 2);
const INVALID: (u8, u8) = (2, 6);

#[test]
fn whatever_is_no_request_is_aborted_at_once() {
    let mut lie = RawRequest::default().bytes();
    lie[2..6].copy_from_slice(&u32::MAX.to_be_bytes());
    let mut just_too_long = RawRequest::default().bytes();
    just_too_long[2..6].copy_from_slice(&(128 * 1024_u32 + 1).to_be_bytes());
    let mut item_past_the_end = RawRequest::default().bytes();
    item_past_the_end[6 + 68 + 2] = 0xFF;
    let mut no_application_context = RawRequest::default().bytes();
    no_application_context[6 + 68] = 0x11;
    let cases: [&[u8]; 10] = [
        b"GET / HTTP/1.1\r\nHost: filmgate\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03",
        &[0xFF; 64],
        &lie,
        &just_too_long,
        &item_past_the_end,
        &no_application_context,
        &pdu(1, &[0; 10]),
        &store_message(1, "1.22", b"dataset"),
        &RELEASE_RQ,
    ];
    for case in cases {
        // AA-1 (PS3.8 table 9-10, Sta2): the abort's source is the service user.
        let (abort, error) = instead_of_a_request(case);
        assert_eq!(abort, BY_USER, "{case:?}");
        assert!(matches!(error, Error::Protocol { .. }), "{error}");
        assert!(error.is_permanent());
    }
}

#[test]
fn two_contexts_of_one_number_are_an_invalid_request() {
    let mut contexts = context_item(1, CT, &[EXPLICIT]);
    contexts.extend(context_item(1, VERIFICATION, &[IMPLICIT]));
    let (abort, _) = instead_of_a_request(&RawRequest { contexts, ..RawRequest::default() }.bytes());
    assert_eq!(abort, INVALID);
}

#[test]
fn a_port_check_is_no_association() {
    let (port, server) = acceptor(options(), |accepted| accepted.map(|association| association.is_none()));
    drop(connect(port));
    assert!(server.join().unwrap().unwrap());

    let (port, server) = acceptor(options(), |accepted| accepted.map(|association| association.is_none()));
    let mut peer = RawPeer::connect(port);
    peer.send(&RawRequest::default().bytes()[..100]);
    drop(peer);
    assert!(server.join().unwrap().unwrap(), "cut off amid its request");
}

#[test]
fn artim_ends_a_silent_peer_and_dripping_does_not_extend_it() {
    for drips in [false, true] {
        let mut options = options();
        options.artim = Duration::from_millis(400);
        let (port, server) = acceptor(options, |accepted| accepted.map(|_| ()));
        let started = Instant::now();
        let mut stream = connect(port);
        let bytes = RawRequest::default().bytes();
        let drip = thread::spawn(move || {
            for byte in bytes {
                thread::sleep(Duration::from_millis(20));
                if drips && stream.write_all(&[byte]).is_err() {
                    return;
                }
            }
        });
        let error = server.join().unwrap().unwrap_err();
        let took = started.elapsed();
        assert!(matches!(error, Error::Timeout { waiting_for: "A-ASSOCIATE-RQ", .. }), "{error}");
        assert!(took >= Duration::from_millis(380) && took < Duration::from_secs(3), "{took:?}");
        drip.join().unwrap();
    }
}

#[test]
fn a_refused_peer_that_never_closes_is_left_after_artim() {
    let mut options = options();
    options.artim = Duration::from_millis(300);
    options.accept_any_called_ae = false;
    let (port, server) = acceptor(options, |accepted| accepted.map(|_| ()));
    let mut peer = RawPeer::connect(port);
    peer.send(&RawRequest { called: *b"ELSEWHERE       ", ..RawRequest::default() }.bytes());
    assert_eq!(peer.receive().0, 3);
    let started = Instant::now();
    // Whatever it still sends is ignored (AA-6), but another request is answered with an abort (AA-7).
    peer.send(&RELEASE_RQ);
    peer.send(&pdu(4, &[0; 100_000]));
    peer.send(&RawRequest::default().bytes());
    assert_eq!(peer.receive().0, 7);
    assert!(matches!(server.join().unwrap(), Err(Error::Refused { .. })));
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_half_open_association_is_aborted_when_idle() {
    let mut options = options();
    options.idle = Duration::from_millis(300);
    let (port, server) = server(options);
    let mut peer = RawPeer::associate(port);
    peer.send(&pdu(4, &pdv(3, 3, &command(0x0001, 1, true, "1.22"))));
    assert_eq!(peer.expect_abort(), BY_USER);
    drop(peer);
    let error = server.join().unwrap().unwrap_err();
    assert!(matches!(error, Error::Timeout { waiting_for: "data from the peer", .. }), "{error}");
    assert!(!error.is_permanent());
}

/// An acceptor that is never patient for long amid a message, and always between messages.
fn hurried() -> AcceptorOptions {
    let mut options = options();
    options.idle = Duration::from_secs(60);
    options.pace = Pace { window: Duration::from_secs(1), bytes_min: 1000 };
    options
}

/// Writes a byte every few milliseconds until the peer does not want more.
fn drip(peer: &RawPeer, bytes: &[u8]) -> thread::JoinHandle<()> {
    let (mut stream, bytes) = (peer.0.try_clone().unwrap(), bytes.to_vec());
    thread::spawn(move || {
        for byte in bytes {
            thread::sleep(Duration::from_millis(10));
            if stream.write_all(&[byte]).is_err() {
                return;
            }
        }
    })
}

#[test]
fn a_message_that_drips_is_aborted_wherever_it_drips() {
    let request = command(0x0001, 1, true, "1.22");
    let begun = pdu(4, &pdv(3, 3, &request));
    let cases: [(&str, Vec<u8>, Vec<u8>); 6] = [
        ("a PDU header and no more", Vec::new(), vec![4]),
        ("a command", Vec::new(), begun.repeat(10)),
        ("a command in empty fragments", Vec::new(), pdu(4, &pdv(3, 1, &[])).repeat(100)),
        ("the header of a dataset's PDU", begun.clone(), vec![4, 0, 0]),
        ("a dataset", begun.clone(), pdu(4, &pdv(3, 2, &[7; 2000]))),
        ("a dataset, fragment by fragment", begun, pdu(4, &pdv(3, 0, b"x")).repeat(100)),
    ];
    thread::scope(|scope| {
        for (what, at_once, dripped) in cases {
            scope.spawn(move || {
                let (port, server) = server(hurried());
                let mut peer = RawPeer::associate(port);
                peer.send(&at_once);
                let dripping = drip(&peer, &dripped);
                assert_eq!(peer.expect_abort(), BY_USER, "{what}");
                drop(peer);
                let error = server.join().unwrap().unwrap_err();
                assert!(matches!(error, Error::TooSlow(_)), "{what}: {error}");
                assert!(!error.is_permanent());
                dripping.join().unwrap();
            });
        }
    });
}

#[test]
fn a_peer_that_keeps_its_pace_and_rests_between_messages_is_served() {
    let (port, server) = server(hurried());
    let mut peer = RawPeer::associate(port);
    let dataset = pattern(12_000);
    for message in 1..=2 {
        // Longer than the window of a message: an association may rest.
        thread::sleep(Duration::from_millis(1200));
        let mut bytes = pdu(4, &pdv(3, 3, &command(0x0001, message, true, "1.22")));
        dataset.chunks(1000).for_each(|piece| bytes.extend(pdu(4, &pdv(3, 0, piece))));
        bytes.extend(pdu(4, &pdv(3, 2, &[])));
        for piece in bytes.chunks(1030) {
            thread::sleep(Duration::from_millis(40));
            peer.send(piece);
        }
        assert_eq!(peer.response(), (0x8001, message, 0));
    }
    peer.release();
    assert_eq!(server.join().unwrap().unwrap().len(), 2);
}

#[test]
fn time_that_we_take_is_not_held_against_the_peer() {
    let (port, server) = acceptor(hurried(), |accepted| {
        let mut association = accepted?.expect("an association");
        let Some(Request::Store(store)) = association.next()? else { panic!("a C-STORE") };
        let mut buffer = [0; 2000];
        while association.read_dataset(&mut buffer)? > 0 {
            thread::sleep(Duration::from_millis(300));
        }
        association.respond(&store, Status::SUCCESS)?;
        association.next().map(|request| request.is_none())
    });
    let mut peer = RawPeer::associate(port);
    peer.send(&store_message(1, "1.22", &pattern(7000)));
    assert_eq!(peer.response(), (0x8001, 1, 0));
    peer.release();
    assert!(server.join().unwrap().unwrap());
}

#[test]
fn broken_data_is_aborted_with_its_reason() {
    let begun = pdu(4, &pdv(3, 3, &command(0x0001, 1, true, "1.22")));
    let with = |rest: &[u8]| [begun.as_slice(), rest].concat();
    let long_command = pdu(4, &pdv(3, 1, &[0; 70_000]));
    let endless_command = pdu(4, &pdv(3, 1, &[0; 30_000])).repeat(3);
    let mut past_its_pdu = pdu(4, &pdv(3, 3, &command(0x0001, 1, true, "1.22")));
    past_its_pdu[9] += 1;
    let mut two_contexts = pdu(4, &pdv(3, 1, b"\0\0\0\0"));
    two_contexts.extend(pdu(4, &pdv(1, 3, b"\0\0\0\0")));
    let cases: [(&str, Vec<u8>, (u8, u8)); 15] = [
        ("unknown PDU", pdu(8, b"x"), UNRECOGNIZED),
        ("unknown PDU amid a dataset", with(&pdu(0, b"")), UNRECOGNIZED),
        ("a second request", RawRequest::default().bytes(), UNEXPECTED),
        ("A-RELEASE-RP out of turn", RELEASE_RP.to_vec(), UNEXPECTED),
        ("A-ASSOCIATE-RJ out of turn", pdu(3, &[0, 1, 1, 1]), UNEXPECTED),
        ("PDU shorter than a PDV header", pdu(4, &[0; 5]), INVALID),
        ("PDV shorter than its header", pdu(4, &[0, 0, 0, 1, 3, 3]), INVALID),
        ("PDV longer than its PDU", past_its_pdu, INVALID),
        ("A-RELEASE-RQ of a gigabyte", [5, 0, 0x40, 0, 0, 0].to_vec(), INVALID),
        ("context not accepted", pdu(4, &pdv(5, 3, &command(0x0001, 1, false, ""))), BY_USER),
        ("dataset before its command", pdu(4, &pdv(3, 2, b"dataset")), BY_USER),
        ("command too long", long_command, BY_USER),
        ("command without end", endless_command, BY_USER),
        ("command on two contexts", two_contexts, BY_USER),
        ("garbage for a command", pdu(4, &pdv(3, 3, b"garbage garbage")), BY_USER),
    ];
    for (what, bytes, expected) in cases {
        let (abort, error) = after_association(&bytes);
        assert_eq!(abort, expected, "{what}");
        assert!(matches!(error, Error::Protocol { .. }), "{what}: {error}");
    }
    let (abort, error) = after_association(&with(&begun));
    assert_eq!(abort, BY_USER, "a message within a dataset");
    assert!(matches!(error, Error::Protocol { .. }), "{error}");
    let (abort, error) = after_association(&with(&pdu(4, &pdv(1, 2, b"x"))));
    assert_eq!(abort, BY_USER, "a dataset on another context");
    assert!(matches!(error, Error::Protocol { .. }), "{error}");
    let (abort, error) = after_association(&with(&RELEASE_RQ));
    assert_eq!(abort, BY_USER, "release amid a dataset");
    assert!(matches!(error, Error::ReleasedByPeer { .. }), "{error}");
}

#[test]
fn a_connection_cut_anywhere_is_closed_or_nothing() {
    let mut sent = RawRequest::default().bytes();
    sent.extend(store_message(1, "1.22", &pattern(3000)));
    for cut in (0..sent.len()).step_by(37) {
        let transport = Script { input: Cursor::new(&sent[..cut]), written: None };
        match accept(transport, &options(), &anyone) {
            Ok(None) => {}
            Ok(Some(mut association)) => {
                assert!(matches!(serve_one(&mut association), Err(Error::Closed)), "cut at {cut}");
                assert!(matches!(association.next(), Err(Error::Closed)), "the association is over");
            }
            Err(error) => panic!("cut at {cut}: {error}"),
        }
    }
}

/// Resident memory of this process in bytes.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn a_dataset_in_one_pdv_of_four_gigabytes_is_streamed_in_flat_memory() {
    let payload_bytes = u32::MAX - 6;
    let mut head = RawRequest::default().bytes();
    head.extend(pdu(4, &pdv(3, 3, &command(0x0001, 1, true, "1.22"))));
    head.extend_from_slice(&[4, 0]);
    head.extend_from_slice(&u32::MAX.to_be_bytes());
    head.extend_from_slice(&(payload_bytes + 2).to_be_bytes());
    head.extend_from_slice(&[3, 2]);
    let input = Cursor::new(head).chain(io::repeat(0x5A).take(payload_bytes.into())).chain(&RELEASE_RQ[..]);
    let (written, answers) = std::sync::mpsc::channel();
    let transport = Script { input, written: Some(written) };
    let mut association = accept(transport, &options(), &anyone).unwrap().expect("an association");
    let Some(Request::Store(store)) = association.next().unwrap() else { panic!("a C-STORE") };
    let before = resident_bytes();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let read = association.read_dataset(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        assert!(buffer[0] == 0x5A && buffer[read - 1] == 0x5A);
        bytes += read as u64;
    }
    let grown = resident_bytes().saturating_sub(before);
    assert_eq!(bytes, u64::from(payload_bytes));
    assert!(grown < 64 << 20, "memory grew by {grown} bytes");
    association.respond(&store, Status::SUCCESS).unwrap();
    assert!(association.next().unwrap().is_none());
    assert_eq!(answers.iter().map(|pdu| pdu[0]).take(3).collect::<Vec<_>>(), [2, 4, 6]);
}

#[test]
fn one_listener_outlives_all_of_them() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let mut received = Vec::new();
        for stream in listener.incoming().take(6) {
            if let Ok(Some(mut association)) = accept(stream.unwrap(), &options(), &anyone) {
                received.push(serve_one(&mut association).is_ok());
            }
        }
        received
    });
    for _ in 0..2 {
        drop(connect(port));
        let mut peer = RawPeer::associate(port);
        peer.send(&pdu(4, &[0, 0, 0, 1, 3, 3]));
        peer.expect_abort();
        drop(peer);
        let mut requested = requested(port);
        assert_eq!(requested.echo().unwrap(), Status::SUCCESS);
        requested.release().unwrap();
    }
    assert_eq!(server.join().unwrap(), [false, true, false, true]);
}

/// Answers a requestor with `bytes`, reading nothing but its request.
fn answered_with(bytes: Vec<u8>) -> Error {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let peer = thread::spawn(move || {
        let mut peer = RawPeer(listener.accept().unwrap().0);
        peer.receive();
        peer.send(&bytes);
    });
    let error = request(connect(port), &requestor_options()).map(|_| ()).unwrap_err();
    peer.join().unwrap();
    error
}

#[test]
fn a_requestor_has_an_error_for_every_wrong_answer() {
    assert!(matches!(answered_with(Vec::new()), Error::Closed | Error::Io { .. }));
    assert!(matches!(answered_with(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()), Error::Protocol { .. }));
    assert!(matches!(answered_with(pdu(2, &[0; 3])), Error::Protocol { .. }));
    assert!(matches!(answered_with(pdu(4, &[0; 30])), Error::Protocol { .. }));
    assert!(matches!(answered_with(RELEASE_RP.to_vec()), Error::Protocol { .. }));
    assert!(matches!(answered_with(USER_ABORT.to_vec()), Error::AbortedByPeer(_)));
    let reserved = answered_with(pdu(3, &[0, 1, 9, 77]));
    assert!(matches!(reserved, Error::Rejected { rejection } if rejection.reason == 77), "{reserved}");
    let mut lie = vec![2, 0];
    lie.extend_from_slice(&u32::MAX.to_be_bytes());
    assert!(matches!(answered_with(lie), Error::Protocol { .. }));
}

#[test]
fn a_requestor_gives_up_on_silence() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut options = requestor_options();
    options.negotiation_timeout = Duration::from_millis(200);
    options.artim = Duration::from_millis(200);
    let error = request(connect(port), &options).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Timeout { waiting_for: "answer to A-ASSOCIATE-RQ", .. }), "{error}");
    drop(listener);
}

#[test]
fn a_peer_that_reads_nothing_runs_into_the_write_limit() {
    let (done, is_done) = mpsc::channel::<()>();
    let (port, server) = acceptor(options(), move |accepted| {
        let association = accepted.unwrap();
        // Ends when the other side has given up.
        let _ = is_done.recv();
        drop(association);
    });
    let mut options = requestor_options();
    options.artim = Duration::from_millis(200);
    options.write_timeout = Duration::from_millis(200);
    let mut requested = request(connect(port), &options).unwrap();
    let context = requested.accepted_context(CT, EXPLICIT).unwrap();
    let error = requested.store(context, CT, "1.2", &mut io::repeat(1).take(1 << 30)).unwrap_err();
    assert!(matches!(error, Error::Timeout { waiting_for: "room to send", .. }), "{error}");
    drop(done);
    server.join().unwrap();
}

/// Runs whatever bytes through an acceptor to their end.
fn run(bytes: &[u8]) {
    let transport = Script { input: Cursor::new(bytes), written: None };
    if let Ok(Some(mut association)) = accept(transport, &options(), &anyone) {
        let _ = serve_one(&mut association);
        let _ = association.next();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_end_in_data_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        run(&bytes);
    }

    #[test]
    fn any_bytes_in_an_association_end_in_data_or_an_error(
        pieces in proptest::collection::vec(prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40),
            (any::<u8>(), any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40))
                .prop_map(|(context, control, payload)| pdu(4, &pdv(context % 5, control % 4, &payload))),
            any::<u16>().prop_map(|field| pdu(4, &pdv(3, 3, &command(field % 64, 1, field % 2 == 0, "1.22")))),
            Just(store_message(1, "1.22", b"dataset")),
            Just(RELEASE_RQ.to_vec()),
            Just(USER_ABORT.to_vec()),
        ], 0..8),
    ) {
        let mut bytes = RawRequest::default().bytes();
        bytes.extend(pieces.concat());
        run(&bytes);
    }

    #[test]
    fn a_damaged_association_ends_in_data_or_an_error(
        damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = RawRequest::default().bytes();
        bytes.extend(store_message(1, "1.22", &pattern(500)));
        bytes.extend_from_slice(&RELEASE_RQ);
        for (at, byte) in damage {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        run(&bytes);
    }
}
