use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use super::*;

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let far = TcpStream::connect(listener.local_addr().expect("an address")).expect("connect");
    (listener.accept().expect("accept").0, far)
}

/// A link of an acceptor that was brought to Sta6 by events alone, and the other end.
fn established() -> (Link<TcpStream>, TcpStream) {
    let (near, mut far) = pair();
    let seconds = Duration::from_secs(2);
    let limits = Limits { artim: seconds, idle: seconds, write: seconds, pace: None };
    let mut link = Link::new(near, Role::Acceptor, limits).expect("a link");
    link.event(Event::TransportIndicated, &[]).expect("Sta2");
    link.event(Event::AssociateRequestPdu { acceptable: true }, &[]).expect("Sta3");
    link.event(Event::AssociateAccept, &[2, 0, 0, 0, 0, 0]).expect("Sta6");
    far.read_exact(&mut [0; 6]).expect("the accept");
    (link, far)
}

#[test]
fn an_acceptor_that_asks_for_release_gets_it() {
    let (mut link, mut far) = established();
    far.write_all(&pdu::RELEASE_REPLY).expect("write");
    link.release().expect("released");
    assert_eq!(link.state(), State::Sta1);
}

#[test]
fn a_release_collision_leaves_the_last_word_to_the_acceptor() {
    let (mut link, mut far) = established();
    far.write_all(&pdu::RELEASE_REQUEST).expect("write");
    far.write_all(&pdu::RELEASE_REPLY).expect("write");
    let peer = std::thread::spawn(move || {
        let mut all = [0; 20];
        far.read_exact(&mut all).expect("two PDUs");
        all
    });
    link.release().expect("released");
    assert_eq!(link.state(), State::Sta1);
    let seen = peer.join().expect("the peer");
    assert_eq!(seen[..10], pdu::RELEASE_REQUEST);
    assert_eq!(seen[10..], pdu::RELEASE_REPLY);
}

#[test]
fn an_event_out_of_turn_changes_nothing_and_sends_nothing() {
    let (mut link, mut far) = established();
    let error = link.event(Event::ReleaseResponse, &[]).expect_err("no release was asked for");
    assert!(matches!(error, Error::OutOfTurn(_)), "{error}");
    assert_eq!(link.state(), State::Sta6);
    drop(link);
    let mut rest = Vec::new();
    far.read_to_end(&mut rest).expect("read");
    assert_eq!(rest, pdu::abort_pdu(Abort { source: 0, reason: 0 }), "nothing but the abort of its end");
}

#[test]
fn a_failed_write_is_explained_by_the_peers_abort() {
    let (mut link, mut far) = established();
    far.write_all(&pdu::abort_pdu(Abort { source: 2, reason: 1 })).expect("write");
    drop(far);
    let error = (0..1000).find_map(|_| link.send_data(&[0; 100_000]).err()).expect("the peer is gone");
    assert!(matches!(error, Error::AbortedByPeer(Abort { source: 2, reason: 1 })), "{error}");
    assert_eq!(link.state(), State::Sta1);
}
