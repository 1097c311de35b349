//! Acceptor and requestor over TCP, and the acceptor against a peer that writes its PDUs by hand.

use std::{
    io::{self, IoSliceMut, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::support::{self, *};
use filmgate_dimse::{AbortReason, Admission, Error, Rejection, Request, Status, Transport, accept, request};

#[test]
fn an_echo_and_datasets_of_every_awkward_length_arrive_as_sent() {
    for pdu_bytes in [0, 1024, 4097, 16_384, 131_072, 1 << 30] {
        let mut acceptor_options = options();
        acceptor_options.max_pdu_bytes = pdu_bytes;
        let (port, server) = server(acceptor_options);
        let mut requested = requested(port);
        assert_eq!(requested.echo().unwrap(), Status::SUCCESS);
        let context = requested.accepted_context(CT, EXPLICIT).expect("CT was accepted");
        let payload = match pdu_bytes {
            0 => 131_066,
            more => (more.min(262_144) as usize - 6) & !1,
        };
        let lengths = [0, 1, 2, payload - 1, payload, payload + 1, 2 * payload, 3 * payload + 7];
        let mut expected = vec![("echo".to_owned(), Vec::new())];
        for (number, length) in lengths.into_iter().enumerate() {
            let uid = format!("1.2.{number}");
            let dataset = pattern(length);
            let status = requested.store(context, CT, &uid, &mut dataset.as_slice()).unwrap();
            assert_eq!(status, Status::SUCCESS);
            expected.push((uid, dataset));
        }
        requested.release().unwrap();
        assert!(server.join().unwrap().unwrap() == expected, "max PDU {pdu_bytes}");
    }
}

#[test]
fn a_reader_that_gives_little_at_a_time_is_sent_whole() {
    struct Slow<'a>(&'a [u8]);
    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let some = buffer.len().min(777);
            self.0.read(&mut buffer[..some])
        }
    }
    let (port, server) = server(options());
    let mut requested = requested(port);
    let dataset = pattern(300_000);
    let context = requested.accepted_context(CT, EXPLICIT).unwrap();
    requested.store(context, CT, "1.2", &mut Slow(&dataset)).unwrap();
    requested.release().unwrap();
    assert_eq!(server.join().unwrap().unwrap(), [("1.2".to_owned(), dataset)]);
}

fn rejection_of(raw: &RawRequest, accept_any_called_ae: bool) -> [u8; 3] {
    let mut options = options();
    options.accept_any_called_ae = accept_any_called_ae;
    let (port, server) = server(options);
    let mut peer = RawPeer::connect(port);
    peer.send(&raw.bytes());
    let (pdu_type, body) = peer.receive();
    drop(peer);
    assert_eq!(pdu_type, 3, "A-ASSOCIATE-RJ");
    assert!(matches!(server.join().unwrap(), Err(Error::Refused { .. })));
    body[1..].try_into().unwrap()
}

#[test]
fn the_protocols_own_refusals_carry_result_source_and_reason() {
    let version = RawRequest { version: 2, ..RawRequest::default() };
    assert_eq!(rejection_of(&version, true), [1, 2, 2]);
    let context = RawRequest { application_context: "1.2.3", ..RawRequest::default() };
    assert_eq!(rejection_of(&context, true), [1, 1, 2]);
    let called = RawRequest { called: *b"ELSEWHERE       ", ..RawRequest::default() };
    assert_eq!(rejection_of(&called, false), [1, 1, 7]);
    let calling = RawRequest { calling: [b' '; 16], ..RawRequest::default() };
    assert_eq!(rejection_of(&calling, true), [1, 1, 3]);
    let foreign = RawRequest { calling: *b"CT_\xD6\xD0           ", ..RawRequest::default() };
    assert_eq!(rejection_of(&foreign, true), [1, 1, 3]);
}

#[test]
fn the_callers_refusal_reaches_the_requestor_typed() {
    for rejection in [
        Rejection::CALLING_AE,
        Rejection::LOCAL_LIMIT_EXCEEDED,
        Rejection::TEMPORARY_CONGESTION,
        Rejection::NO_REASON,
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            accept(stream, &options(), &|peer| {
                assert_eq!(peer.calling_ae.as_str(), "CT_1");
                assert_eq!(peer.implementation_version_name, "FILMGATE_0_1");
                Admission::Reject(rejection)
            })
            .map(|_| ())
        });
        let refused = request(connect(port), &requestor_options()).map(|_| ()).unwrap_err();
        assert!(matches!(refused, Error::Rejected { rejection: told } if told == rejection), "{refused}");
        assert_eq!(refused.is_permanent(), rejection.is_permanent());
        assert!(matches!(server.join().unwrap(), Err(Error::Refused { .. })));
    }
}

#[test]
fn any_called_title_is_taken_when_so_configured() {
    let (port, server) = server(options());
    let mut peer = RawPeer::connect(port);
    peer.send(&RawRequest { called: [0; 16], ..RawRequest::default() }.bytes());
    assert_eq!(peer.receive().0, 2);
    peer.release();
    assert_eq!(server.join().unwrap().unwrap(), []);
}

#[test]
fn a_hundred_and_twenty_eight_contexts_each_get_their_verdict() {
    let mut options = options();
    options.contexts.private_sop_classes.insert("1.3.6.1.4.1.5962.301.9".to_owned());
    let (port, server) = acceptor(options, |accepted| {
        let mut association = accepted.unwrap().expect("an association");
        serve_one(&mut association).unwrap();
        association.contexts().to_vec()
    });
    let mut contexts: Vec<_> =
        (0..124).map(|n| proposed(CT, &[format!("1.2.840.113619.5.{n}").as_str()])).collect();
    contexts.push(proposed("1.2.840.10008.5.1.4.1.2.2.1", &[IMPLICIT]));
    contexts.push(proposed("1.3.6.1.4.1.5962.301.9", &[IMPLICIT, EXPLICIT]));
    contexts.push(proposed(VERIFICATION, &["1.2.840.10008.1.2.4.90"]));
    contexts.push(proposed(VERIFICATION, &[IMPLICIT]));
    let mut asking = requestor_options();
    asking.contexts = contexts;
    let requested = request(connect(port), &asking).unwrap();
    assert_eq!(requested.contexts().len(), 126);
    assert_eq!(requested.accepted_context(CT, "1.2.840.113619.5.123"), Some(247));
    assert_eq!(requested.accepted_context("1.3.6.1.4.1.5962.301.9", EXPLICIT), Some(251));
    assert_eq!(requested.accepted_context("1.2.840.10008.5.1.4.1.2.2.1", IMPLICIT), None);
    assert_eq!(requested.accepted_context(VERIFICATION, IMPLICIT), Some(255));
    let seen = requested.contexts().to_vec();
    requested.release().unwrap();
    assert_eq!(server.join().unwrap(), seen);

    asking.contexts.push(proposed(CT, &[IMPLICIT]));
    let (port, server) = acceptor(support::options(), |accepted| accepted.map(|_| ()));
    let too_many = request(connect(port), &asking).map(|_| ()).unwrap_err();
    assert!(too_many.to_string().contains("129"), "{too_many}");
    assert!(server.join().unwrap().is_ok(), "no association was asked for");
}

fn user_items_answered(user_items: Vec<u8>) -> Vec<(u8, Vec<u8>)> {
    let (port, server) = server(options());
    let mut peer = RawPeer::connect(port);
    peer.send(&RawRequest { user_items, ..RawRequest::default() }.bytes());
    let (pdu_type, body) = peer.receive();
    assert_eq!(pdu_type, 2);
    peer.release();
    server.join().unwrap().unwrap();
    let items = |mut bytes: &[u8]| {
        let mut items = Vec::new();
        while let [item_type, _, high, low, rest @ ..] = bytes {
            let (value, next) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
            items.push((*item_type, value.to_vec()));
            bytes = next;
        }
        items
    };
    let all = items(&body[68..]);
    let (_, user) = all.iter().find(|(item_type, _)| *item_type == 0x50).expect("user information");
    items(user)
}

#[test]
fn the_async_window_roles_and_identity_are_answered() {
    let mut asked = item(0x51, &0_u32.to_be_bytes());
    asked.extend(item(0x53, &[0, 8, 0, 9]));
    let role = |uid: &str, scu, scp| {
        let mut value = (uid.len() as u16).to_be_bytes().to_vec();
        value.extend_from_slice(uid.as_bytes());
        value.extend_from_slice(&[scu, scp]);
        value
    };
    asked.extend(item(0x54, &role(CT, 1, 1)));
    asked.extend(item(0x54, &role("1.2.3.4", 1, 1)));
    // SOP class common extended negotiation (PS3.7 D.3.3.6), and one nobody knows.
    asked.extend(item(0x57, &[0, 1, b'1', 0, 1, b'2', 0, 0]));
    asked.extend(item(0x7E, b"whatever"));
    asked.extend(item(0x58, &[2, 1, 0, 3, b'a', b'n', b'n', 0, 2, b'p', b'w']));
    let answered = user_items_answered(asked);
    let types: Vec<u8> = answered.iter().map(|(item_type, _)| *item_type).collect();
    assert_eq!(types, [0x51, 0x52, 0x53, 0x54, 0x55, 0x59]);
    assert_eq!(answered[0].1, 131_072_u32.to_be_bytes());
    assert_eq!(answered[2].1, [0, 8, 0, 1], "what was asked, one operation performed by the peer");
    assert_eq!(answered[3].1, role(CT, 1, 0), "the peer may be SCU");
    assert_eq!(answered[5].1, [0, 0]);
}

#[test]
fn an_unlimited_window_is_limited_and_identity_is_answered_only_when_asked() {
    let mut asked = item(0x53, &[0, 0, 0, 0]);
    asked.extend(item(0x58, &[1, 0, 0, 3, b'a', b'n', b'n', 0, 0]));
    let answered = user_items_answered(asked);
    assert_eq!(answered[2], (0x53, vec![0, 64, 0, 1]));
    assert!(answered.iter().all(|(item_type, _)| *item_type != 0x59));
}

#[test]
fn unknown_operations_are_refused_and_the_association_goes_on() {
    let (port, server) = server(options());
    let mut peer = RawPeer::associate(port);
    // C-FIND with an identifier in three fragments; N-ACTION without one; C-CANCEL; a stray response; then C-STORE.
    peer.send(&pdu(4, &pdv(3, 3, &command(0x0020, 1, true, ""))));
    for control in [0, 0, 2] {
        peer.send(&pdu(4, &pdv(3, control, &[9; 5000])));
    }
    assert_eq!(peer.response(), (0x8020, 1, 0x0211));
    peer.send(&pdu(4, &pdv(3, 3, &command(0x0130, 2, false, ""))));
    assert_eq!(peer.response(), (0x8130, 2, 0x0211));
    peer.send(&pdu(4, &pdv(3, 3, &command(0x0FFF, 1, false, ""))));
    peer.send(&pdu(4, &pdv(3, 3, &command(0x8001, 1, false, ""))));
    peer.send(&store_message(3, "1.22", b"dataset"));
    assert_eq!(peer.response(), (0x8001, 3, 0));
    // A C-STORE without dataset, and one on a Verification context.
    peer.send(&pdu(4, &pdv(3, 3, &command(0x0001, 4, false, "1.23"))));
    assert_eq!(peer.response(), (0x8001, 4, 0xC000));
    peer.send(&pdu(4, &pdv(1, 3, &command(0x0001, 5, true, "1.24"))));
    peer.send(&pdu(4, &pdv(1, 2, b"dataset")));
    assert_eq!(peer.response(), (0x8001, 5, 0x0122));
    peer.release();
    assert_eq!(server.join().unwrap().unwrap(), [("1.22".to_owned(), b"dataset".to_vec())]);
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let (port, server) = server(options());
    let mut peer = RawPeer::associate(port);
    let mut all = Vec::new();
    for number in 0..20_u16 {
        all.extend(store_message(number, &format!("1.{:03}", number), &pattern(1000 * usize::from(number))));
    }
    // Several PDVs in one PDU: the end of a message and the beginning of the next.
    let mut shared = pdv(3, 3, &command(0x0001, 20, true, "1.020"));
    shared.extend(pdv(3, 0, b"a"));
    shared.extend(pdv(3, 0, b""));
    shared.extend(pdv(3, 2, b"b"));
    shared.extend(pdv(3, 3, &command(0x0001, 21, true, "1.021")));
    all.extend(pdu(4, &shared));
    all.extend(pdu(4, &[]));
    all.extend(pdu(4, &pdv(3, 2, b"c")));
    peer.send(&all);
    for number in 0..22 {
        assert_eq!(peer.response(), (0x8001, number, 0));
    }
    peer.release();
    let received = server.join().unwrap().unwrap();
    assert_eq!(received.len(), 22);
    assert!(received.iter().take(20).enumerate().all(|(n, (_, dataset))| *dataset == pattern(1000 * n)));
    assert_eq!(received[20], ("1.020".to_owned(), b"ab".to_vec()));
    assert_eq!(received[21], ("1.021".to_owned(), b"c".to_vec()));
}

#[test]
fn an_answer_may_come_after_the_next_request_was_taken() {
    let (port, server) = acceptor(options(), |accepted| {
        let mut association = accepted?.expect("an association");
        let Some(Request::Store(first)) = association.next()? else { panic!("a C-STORE") };
        let mut buffer = [0; 10];
        assert_eq!(association.read_dataset(&mut buffer)?, 3);
        let Some(Request::Store(second)) = association.next()? else { panic!("a C-STORE") };
        assert_eq!(association.read_dataset(&mut buffer[..2])?, 2);
        association.respond(&first, Status::SUCCESS)?;
        assert_eq!(association.read_dataset(&mut buffer[2..])?, 1, "the rest of the second is still there");
        assert_eq!(&buffer[..3], b"two");
        association.respond(&second, Status::ELEMENTS_DISCARDED)?;
        association.next().map(|request| request.is_none())
    });
    let mut peer = RawPeer::associate(port);
    peer.send(&store_message(7, "1.21", b"one"));
    peer.send(&store_message(8, "1.22", b"two"));
    assert_eq!(peer.response(), (0x8001, 7, 0));
    assert_eq!(peer.response(), (0x8001, 8, 0xB006));
    peer.release();
    assert!(server.join().unwrap().unwrap());
}

#[test]
fn a_refusal_without_reading_reads_the_dataset_over() {
    let (port, server) = acceptor(options(), |accepted| {
        let mut association = accepted?.expect("an association");
        while let Some(request) = association.next()? {
            let Request::Store(store) = request else { panic!("a C-STORE") };
            association.respond_with_comment(&store, Status::OUT_OF_RESOURCES, "spool is full")?;
        }
        Ok::<_, Error>(())
    });
    let mut requested = requested(port);
    let context = requested.accepted_context(CT, EXPLICIT).unwrap();
    for _ in 0..3 {
        let status = requested.store(context, CT, "1.2", &mut pattern(2_000_000).as_slice()).unwrap();
        assert_eq!(status, Status::OUT_OF_RESOURCES);
        assert_eq!(requested.error_comment(), Some("spool is full"));
    }
    requested.release().unwrap();
    server.join().unwrap().unwrap();
}

#[test]
fn a_peers_abort_amid_a_dataset_is_told_as_such() {
    let (port, server) = server(options());
    let mut peer = RawPeer::associate(port);
    peer.send(&pdu(4, &pdv(3, 3, &command(0x0001, 1, true, "1.22"))));
    peer.send(&pdu(4, &pdv(3, 0, &[7; 1000])));
    peer.send(&USER_ABORT);
    let error = server.join().unwrap().unwrap_err();
    assert!(matches!(error, Error::AbortedByPeer(abort) if abort.is_by_user()), "{error}");
}

#[test]
fn our_abort_amid_a_dataset_reaches_the_sender() {
    let (port, server) = acceptor(options(), |accepted| {
        let mut association = accepted.unwrap().expect("an association");
        let request = association.next().unwrap();
        assert!(matches!(request, Some(Request::Store(_))));
        association.read_dataset(&mut [0; 100]).unwrap();
        association.abort(AbortReason::NoRoom);
        association.next().map(|_| ())
    });
    let mut requested = requested(port);
    let context = requested.accepted_context(CT, EXPLICIT).unwrap();
    let dataset = pattern(20_000_000);
    let error = requested.store(context, CT, "1.2", &mut dataset.as_slice()).unwrap_err();
    assert!(matches!(error, Error::AbortedByPeer(_)), "{error}");
    drop(requested);
    assert!(matches!(server.join().unwrap(), Err(Error::Closed)), "nothing more comes");
}

#[test]
fn a_dataset_that_cannot_be_read_aborts_only_when_part_of_it_was_sent() {
    struct Failing(usize);
    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::other("disk"));
            }
            let some = buffer.len().min(self.0);
            self.0 -= some;
            Ok(some)
        }
    }
    let (port, server) = server(options());
    let mut requested = requested(port);
    let context = requested.accepted_context(CT, EXPLICIT).unwrap();
    let error = requested.store(context, CT, "1.2", &mut Failing(100)).unwrap_err();
    assert!(matches!(error, Error::Dataset(_)), "{error}");
    assert_eq!(requested.echo().unwrap(), Status::SUCCESS, "nothing was sent, the association goes on");
    let error = requested.store(context, CT, "1.3", &mut Failing(1_000_000)).unwrap_err();
    assert!(matches!(error, Error::Dataset(_)), "{error}");
    assert!(matches!(server.join().unwrap(), Err(Error::AbortedByPeer(_))));
}

#[test]
fn a_dropped_association_is_aborted_on_either_side() {
    let (port, server) = server(options());
    drop(requested(port));
    assert!(matches!(server.join().unwrap(), Err(Error::AbortedByPeer(_))));

    let (port, server) = acceptor(options(), drop);
    let mut requested = requested(port);
    server.join().unwrap();
    let error = requested.echo().unwrap_err();
    assert!(matches!(error, Error::AbortedByPeer(_)), "{error}");
}

#[test]
fn a_requestor_survives_collision_and_late_data_at_release() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let peer = thread::spawn(move || {
        let mut peer = RawPeer(listener.accept().unwrap().0);
        assert_eq!(peer.receive().0, 1);
        let mut body = vec![0, 1, 0, 0];
        body.extend_from_slice(&[b' '; 64]);
        body.extend(item(0x10, b"1.2.840.10008.3.1.1.1"));
        let mut result = vec![1, 0, 0, 0];
        result.extend(item(0x40, IMPLICIT.as_bytes()));
        body.extend(item(0x21, &result));
        body.extend(item(0x50, &item(0x51, &[0; 4])));
        peer.send(&pdu(2, &body));
        assert_eq!(peer.receive().0, 5, "A-RELEASE-RQ");
        // Data still under way, then our own request crosses theirs.
        peer.send(&pdu(4, &pdv(1, 2, &[0; 70_000])));
        peer.send(&RELEASE_RQ);
        assert_eq!(peer.receive().0, 6, "the requestor answers first");
        peer.send(&RELEASE_RP);
        assert_eq!(peer.0.read(&mut [0; 1]).unwrap(), 0, "and closes");
    });
    requested(port).release().unwrap();
    peer.join().unwrap();
}

#[test]
fn a_requestor_refuses_what_it_is_asked_and_times_out_on_silence() {
    let (port, server) = acceptor(options(), |accepted| {
        let mut association = accepted.unwrap().expect("an association");
        // Taken, and never answered: the next thing to come is the end.
        association.next().unwrap();
        association.next().map(|_| ())
    });
    let mut asking = requestor_options();
    asking.response_timeout = Duration::from_millis(200);
    let mut requested = request(connect(port), &asking).unwrap();
    let error = requested.echo().unwrap_err();
    assert!(matches!(error, Error::Timeout { waiting_for: "C-ECHO-RSP", .. }), "{error}");
    assert!(matches!(server.join().unwrap(), Err(Error::AbortedByPeer(_))));
}

/// TCP that counts its calls.
struct Counting {
    stream: TcpStream,
    writes: Arc<AtomicUsize>,
    direct_bytes: Arc<AtomicUsize>,
    direct_from: usize,
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        if buffer.len() > self.direct_from {
            self.direct_bytes.fetch_add(read, Ordering::SeqCst);
        }
        Ok(read)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let first = buffers[0].len();
        let read = self.stream.read_vectored(buffers)?;
        self.direct_bytes.fetch_add(read.min(first), Ordering::SeqCst);
        Ok(read)
    }
}

impl Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Counting {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_write_timeout(timeout)
    }

    fn prepare(&self) -> io::Result<()> {
        Transport::prepare(&self.stream)
    }

    fn shutdown(&self) {
        Transport::shutdown(&self.stream);
    }
}

#[test]
fn a_response_is_one_write_and_a_dataset_goes_straight_into_the_callers_buffer() {
    let writes = Arc::new(AtomicUsize::new(0));
    let direct_bytes = Arc::new(AtomicUsize::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (seen_writes, seen_direct) = (Arc::clone(&writes), Arc::clone(&direct_bytes));
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let watched = stream.try_clone().unwrap();
        let transport = Counting { stream, writes, direct_bytes, direct_from: 8192 };
        let mut association = accept(transport, &options(), &anyone).unwrap().expect("an association");
        assert!(watched.nodelay().unwrap());
        serve_one(&mut association).unwrap()
    });
    let mut requested = requested(port);
    let context = requested.accepted_context(CT, EXPLICIT).unwrap();
    let dataset = pattern(10_000_000);
    for number in 0..4 {
        requested.store(context, CT, &format!("1.{number}"), &mut dataset.as_slice()).unwrap();
    }
    requested.release().unwrap();
    let received = server.join().unwrap();
    assert!(received.iter().all(|(_, bytes)| *bytes == dataset));
    assert_eq!(seen_writes.load(Ordering::SeqCst), 1 + 4 + 1, "AC, four responses, RELEASE-RP");
    let direct = seen_direct.load(Ordering::SeqCst);
    assert!(direct > 4 * 9_000_000, "{direct} of 40000000 bytes were read without a copy");
}
