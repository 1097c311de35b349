//! A test per cell of PS3.8 table 9-10, from a transcription of its own: a row a state, a column an event.

use super::*;

/// What an action does, as tables 9-6 to 9-9 say in words, abbreviated; then the next state. "a/b" depends on
/// acceptability (AE-6), role (AR-8) or who aborted (AA-3).
const ACTIONS: &str = "
AE-1  | connect                         | 4
AE-2  | send RQ                         | 5
AE-3  | tell accepted                   | 6
AE-4  | tell rejected, close            | 1
AE-5  | start                           | 2
AE-6  | stop, tell asked                | 3
AE-6n | stop, send RJ, start            | 13
AE-7  | send AC                         | 6
AE-8  | send RJ, start                  | 13
DT-1  | send DATA                       | 6
DT-2  | tell data                       | 6
AR-1  | send RELEASE-RQ                 | 7
AR-2  | tell release                    | 8
AR-3  | tell released, close            | 1
AR-4  | send RELEASE-RP, start          | 13
AR-5  | stop                            | 1
AR-6  | tell data                       | 7
AR-7  | send DATA                       | 8
AR-8  | tell release                    | 10
AR-8r | tell release                    | 9
AR-9  | send RELEASE-RP                 | 11
AR-10 | tell released                   | 12
AA-1  | send ABORT user, start          | 13
AA-2  | stop, close                     | 1
AA-3  | tell p-abort, close             | 1
AA-3u | tell abort, close               | 1
AA-4  | tell p-abort                    | 1
AA-5  | stop                            | 1
AA-6  |                                 | 13
AA-7  | send ABORT provider             | 13
AA-8  | send ABORT provider, tell p-abort, start | 13
";

fn event(number: u8, flag: bool) -> Event {
    match number {
        1 => Event::AssociateRequest,
        2 => Event::TransportConfirmed,
        3 => Event::AssociateAcceptPdu,
        4 => Event::AssociateRejectPdu,
        5 => Event::TransportIndicated,
        6 => Event::AssociateRequestPdu { acceptable: flag },
        7 => Event::AssociateAccept,
        8 => Event::AssociateReject,
        9 => Event::DataRequest,
        10 => Event::DataPdu,
        11 => Event::ReleaseRequest,
        12 => Event::ReleaseRequestPdu,
        13 => Event::ReleaseReplyPdu,
        14 => Event::ReleaseResponse,
        15 => Event::AbortRequest,
        16 => Event::AbortPdu { by_user: flag },
        17 => Event::TransportClosed,
        18 => Event::ArtimExpired,
        19 => Event::InvalidPdu,
        other => panic!("no event {other}"),
    }
}

fn state(number: u8) -> State {
    let all = [Sta1, Sta2, Sta3, Sta4, Sta5, Sta6, Sta7, Sta8, Sta9, Sta10, Sta11, Sta12, Sta13];
    all[usize::from(number) - 1]
}

fn words(effect: &Effect) -> &'static str {
    match effect {
        Connect => "connect",
        Close => "close",
        StartArtim => "start",
        StopArtim => "stop",
        Send(Outgoing::AssociateRequest) => "send RQ",
        Send(Outgoing::AssociateAccept) => "send AC",
        Send(Outgoing::AssociateReject) => "send RJ",
        Send(Outgoing::Data) => "send DATA",
        Send(Outgoing::ReleaseRequest) => "send RELEASE-RQ",
        Send(Outgoing::ReleaseReply) => "send RELEASE-RP",
        Send(Outgoing::UserAbort) => "send ABORT user",
        Send(Outgoing::ProviderAbort) => "send ABORT provider",
        Indicate(Indication::AssociateRequested) => "tell asked",
        Indicate(Indication::AssociateAccepted) => "tell accepted",
        Indicate(Indication::AssociateRejected) => "tell rejected",
        Indicate(Indication::Data) => "tell data",
        Indicate(Indication::Release) => "tell release",
        Indicate(Indication::ReleaseConfirmed) => "tell released",
        Indicate(Indication::Abort) => "tell abort",
        Indicate(Indication::ProviderAbort) => "tell p-abort",
    }
}

/// The row of `ACTIONS` for an action under a flag and a role.
fn expected(action: &str, flag: bool, role: Role) -> (String, State) {
    let name = match (action, flag, role) {
        ("AE-6", false, _) => "AE-6n",
        ("AR-8", _, Role::Requestor) => "AR-8r",
        ("AA-3", true, _) => "AA-3u",
        _ => action,
    };
    let row = ACTIONS.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let row = row.into_iter().find(|row| row[0] == name).expect("every action stands in the text");
    (row[1].to_owned(), state(row[2].parse().expect("a state number")))
}

/// Checks one cell for both roles and both values of the event's flag.
fn check(from: u8, number: u8, action: &str) {
    for (role, flag) in
        [(Role::Requestor, false), (Role::Requestor, true), (Role::Acceptor, false), (Role::Acceptor, true)]
    {
        let mut machine = StateMachine { state: state(from), role };
        let outcome = machine.handle(event(number, flag));
        if action == "-" {
            let impossible = Impossible { state: state(from), event: event(number, flag) };
            assert_eq!(outcome, Err(impossible));
            assert_eq!(machine.state(), state(from), "an impossible event changes nothing");
            continue;
        }
        let step = outcome.expect("the cell is not empty");
        let (effects, next) = expected(action, flag, role);
        assert_eq!(format!("{:?}", step.action), action.replace('-', ""));
        assert_eq!(step.effects.iter().map(words).collect::<Vec<_>>().join(", "), effects);
        assert_eq!(machine.state(), next);
    }
}

macro_rules! cells {
    ($($name:ident $from:literal : $a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal
       $h:literal $i:literal $j:literal $k:literal $l:literal $m:literal $n:literal $o:literal $p:literal
       $q:literal $r:literal $s:literal;)*) => {
        $(mod $name {
            cells!(@ $from: event_1 1 $a, event_2 2 $b, event_3 3 $c, event_4 4 $d, event_5 5 $e, event_6 6 $f,
                event_7 7 $g, event_8 8 $h, event_9 9 $i, event_10 10 $j, event_11 11 $k, event_12 12 $l,
                event_13 13 $m, event_14 14 $n, event_15 15 $o, event_16 16 $p, event_17 17 $q, event_18 18 $r,
                event_19 19 $s);
        })*
    };
    (@ $from:literal: $($test:ident $event:literal $action:literal),*) => {
        $(#[test] fn $test() { super::check($from, $event, $action); })*
    };
}

cells! {
    //         1      2      3      4      5      6      7      8      9      10     11     12     13     14     15     16     17     18     19
    state_1  1: "AE-1" "-"    "-"    "-"    "AE-5" "-"    "-"    "-"    "-"    "-"    "-"    "-"    "-"    "-"    "-"    "-"    "-"    "-"    "-";
    state_2  2: "-"    "-"    "AA-1" "AA-1" "-"    "AE-6" "-"    "-"    "-"    "AA-1" "-"    "AA-1" "AA-1" "-"    "-"    "AA-2" "AA-5" "AA-2" "AA-1";
    state_3  3: "-"    "-"    "AA-8" "AA-8" "-"    "AA-8" "AE-7" "AE-8" "-"    "AA-8" "-"    "AA-8" "AA-8" "-"    "AA-1" "AA-3" "AA-4" "-"    "AA-8";
    state_4  4: "-"    "AE-2" "-"    "-"    "-"    "-"    "-"    "-"    "-"    "-"    "-"    "-"    "-"    "-"    "AA-2" "-"    "AA-4" "-"    "-";
    state_5  5: "-"    "-"    "AE-3" "AE-4" "-"    "AA-8" "-"    "-"    "-"    "AA-8" "-"    "AA-8" "AA-8" "-"    "AA-1" "AA-3" "AA-4" "-"    "AA-8";
    state_6  6: "-"    "-"    "AA-8" "AA-8" "-"    "AA-8" "-"    "-"    "DT-1" "DT-2" "AR-1" "AR-2" "AA-8" "-"    "AA-1" "AA-3" "AA-4" "-"    "AA-8";
    state_7  7: "-"    "-"    "AA-8" "AA-8" "-"    "AA-8" "-"    "-"    "-"    "AR-6" "-"    "AR-8" "AR-3" "-"    "AA-1" "AA-3" "AA-4" "-"    "AA-8";
    state_8  8: "-"    "-"    "AA-8" "AA-8" "-"    "AA-8" "-"    "-"    "AR-7" "AA-8" "-"    "AA-8" "AA-8" "AR-4" "AA-1" "AA-3" "AA-4" "-"    "AA-8";
    state_9  9: "-"    "-"    "AA-8" "AA-8" "-"    "AA-8" "-"    "-"    "-"    "AA-8" "-"    "AA-8" "AA-8" "AR-9" "AA-1" "AA-3" "AA-4" "-"    "AA-8";
    state_10 10: "-"   "-"    "AA-8" "AA-8" "-"    "AA-8" "-"    "-"    "-"    "AA-8" "-"    "AA-8" "AR-10" "-"   "AA-1" "AA-3" "AA-4" "-"    "AA-8";
    state_11 11: "-"   "-"    "AA-8" "AA-8" "-"    "AA-8" "-"    "-"    "-"    "AA-8" "-"    "AA-8" "AR-3" "-"    "AA-1" "AA-3" "AA-4" "-"    "AA-8";
    state_12 12: "-"   "-"    "AA-8" "AA-8" "-"    "AA-8" "-"    "-"    "-"    "AA-8" "-"    "AA-8" "AA-8" "AR-4" "AA-1" "AA-3" "AA-4" "-"    "AA-8";
    state_13 13: "-"   "-"    "AA-6" "AA-6" "-"    "AA-7" "-"    "-"    "-"    "AA-6" "-"    "AA-6" "AA-6" "-"    "-"    "AA-2" "AR-5" "AA-2" "AA-7";
}
