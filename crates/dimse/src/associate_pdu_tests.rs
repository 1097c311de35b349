use dicom_ul::pdu::{
    PresentationContextProposed, PresentationContextResult, PresentationContextResultReason, UserVariableItem,
};
use proptest::prelude::*;

use super::*;

fn request() -> AssociationRQ {
    AssociationRQ {
        protocol_version: 1,
        calling_ae_title: "CT_1".into(),
        called_ae_title: "FILMGATE".into(),
        application_context_name: "1.2.840.10008.3.1.1.1".into(),
        presentation_contexts: vec![PresentationContextProposed {
            id: 1,
            abstract_syntax: "1.2.840.10008.1.1".into(),
            transfer_syntaxes: vec!["1.2.840.10008.1.2".into(), "1.2.840.10008.1.2.1".into()],
        }],
        user_variables: vec![
            UserVariableItem::MaxLength(16384),
            UserVariableItem::Unknown(ASYNC_OPERATIONS_WINDOW, vec![0, 8, 0, 1]),
        ],
    }
}

fn body(pdu: Vec<u8>) -> Vec<u8> {
    pdu[6..].to_vec()
}

#[test]
fn a_request_reads_back_with_its_async_window() {
    let bytes = encode_request(request()).expect("an A-ASSOCIATE-RQ");
    assert_eq!(decode_request(&body(bytes)).expect("reads back"), request());
}

#[test]
fn unknown_items_and_inconsistent_sub_items_are_skipped() {
    let mut bytes = body(encode_request(request()).expect("an A-ASSOCIATE-RQ"));
    bytes.extend_from_slice(&[0x77, 0, 0, 3, 1, 2, 3]);
    // A second user information: a maximum length of two bytes, a role selection whose UID runs past its end.
    bytes.extend_from_slice(&[0x50, 0, 0, 20, 0x51, 0, 0, 2, 0, 1, 0x54, 0, 0, 4, 0, 9, 1, 1]);
    bytes.extend_from_slice(&[0x99, 0, 0, 2, 5, 6]);
    let read = decode_request(&bytes).expect("still a request");
    assert_eq!(read.user_variables, [UserVariableItem::Unknown(0x99, vec![5, 6])]);
    assert_eq!(read.presentation_contexts, request().presentation_contexts);
}

#[test]
fn nul_padding_goes() {
    let mut padded = request();
    padded.application_context_name.push('\0');
    padded.presentation_contexts[0].abstract_syntax.push('\0');
    padded.presentation_contexts[0].transfer_syntaxes[0].push('\0');
    let bytes = encode_request(padded).expect("an A-ASSOCIATE-RQ");
    assert_eq!(decode_request(&body(bytes)).expect("reads"), request());
}

#[test]
fn a_refused_context_needs_no_transfer_syntax() {
    let mut bytes = vec![0; FIXED_BYTES];
    bytes[1] = 1;
    bytes.extend_from_slice(&[0x10, 0, 0, 2, b'1', b'2']);
    bytes.extend_from_slice(&[0x21, 0, 0, 4, 1, 0, 200, 0]);
    let read = decode_accept(&bytes).expect("an A-ASSOCIATE-AC");
    let expected = PresentationContextResult {
        id: 1,
        reason: PresentationContextResultReason::TransferSyntaxesNotSupported,
        transfer_syntax: String::new(),
    };
    assert_eq!(read.presentation_contexts, [expected]);
}

#[test]
fn an_accept_returns_the_titles_as_they_came() {
    let mut received = body(encode_request(request()).expect("an A-ASSOCIATE-RQ"));
    received[4..20].copy_from_slice(b"  ODD \x01\xFF TITLE  ");
    let accept = AssociationAC {
        protocol_version: 1,
        calling_ae_title: String::new(),
        called_ae_title: String::new(),
        application_context_name: "1.2.840.10008.3.1.1.1".into(),
        presentation_contexts: Vec::new(),
        user_variables: Vec::new(),
    };
    let bytes = encode_accept(accept, &received).expect("an A-ASSOCIATE-AC");
    assert_eq!(bytes[10..74], received[4..68]);
}

#[test]
fn what_can_be_a_uid() {
    assert!(is_uid("1.2.840.10008.1.2.1") && is_uid(&"1".repeat(64)));
    assert!(!is_uid("") && !is_uid(&"1".repeat(65)) && !is_uid("1.2.x"));
}

proptest! {
    #[test]
    fn any_body_is_a_pdu_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = decode_request(&bytes);
        let _ = decode_accept(&bytes);
    }

    #[test]
    fn any_items_are_a_pdu_or_an_error(items in proptest::collection::vec(
        (prop_oneof![Just(0x10_u8), Just(0x20), Just(0x21), Just(0x50), any::<u8>()],
         proptest::collection::vec(any::<u8>(), 0..80)), 0..8)) {
        let mut bytes = vec![0; FIXED_BYTES];
        for (item_type, value) in &items {
            put_item(&mut bytes, *item_type, value).expect("short");
        }
        let _ = decode_request(&bytes);
        let _ = decode_accept(&bytes);
    }

    #[test]
    fn a_damaged_request_is_a_pdu_or_an_error(at in any::<usize>(), byte in any::<u8>(), cut in any::<usize>()) {
        let mut bytes = body(encode_request(request()).expect("an A-ASSOCIATE-RQ"));
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = decode_request(&bytes);
        bytes.truncate(cut % bytes.len());
        let _ = decode_request(&bytes);
    }
}
