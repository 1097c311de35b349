//! A-ASSOCIATE-RQ and -AC (PS3.8 9.3.2, 9.3.3) by dicom-ul's types, from bytes cleaned first.
//!
//! Its reader refuses a PDU over an item it does not know, a rejected context without transfer syntax or a user
//! sub-item whose inner lengths disagree; PS3.8 9.3.1 has unknown items skipped, and old devices send the rest. So the
//! items are walked here, and only those it can read are handed on. Its writer knows no async-operations window
//! and no user identity response; both go out as its `Unknown` sub-items, which it writes as they are.

use dicom_ul::pdu::{self, AssociationAC, AssociationRQ, Pdu};

use crate::{error::Error, pdu::ASSOCIATE_BYTES_MAX};

/// Fixed fields before the items: version, reserved, AE titles, reserved (PS3.8 9.3.2).
const FIXED_BYTES: usize = 68;
/// The AE titles and reserved bytes, which an A-ASSOCIATE-AC sends back as received (PS3.8 9.3.3).
const RETURNED: std::ops::Range<usize> = 4..FIXED_BYTES;

pub(crate) const ASYNC_OPERATIONS_WINDOW: u8 = 0x53;
pub(crate) const USER_IDENTITY_RESPONSE: u8 = 0x59;

mod item {
    pub(super) const APPLICATION_CONTEXT: u8 = 0x10;
    pub(super) const CONTEXT_PROPOSED: u8 = 0x20;
    pub(super) const CONTEXT_RESULT: u8 = 0x21;
    pub(super) const ABSTRACT_SYNTAX: u8 = 0x30;
    pub(super) const TRANSFER_SYNTAX: u8 = 0x40;
    pub(super) const USER_INFORMATION: u8 = 0x50;
    pub(super) const MAXIMUM_LENGTH: u8 = 0x51;
    pub(super) const ROLE_SELECTION: u8 = 0x54;
    pub(super) const EXTENDED_NEGOTIATION: u8 = 0x56;
    pub(super) const USER_IDENTITY: u8 = 0x58;
}

/// Reads the body of an A-ASSOCIATE-RQ.
pub(crate) fn decode_request(body: &[u8]) -> Result<AssociationRQ, Error> {
    match decode(1, body).map_err(|source| cannot("read", "A-ASSOCIATE-RQ", source))? {
        Pdu::AssociationRQ(mut request) => {
            trim_uid(&mut request.application_context_name);
            for context in &mut request.presentation_contexts {
                trim_uid(&mut context.abstract_syntax);
                context.transfer_syntaxes.iter_mut().for_each(trim_uid);
            }
            Ok(request)
        }
        _ => Err(cannot("read", "A-ASSOCIATE-RQ", "it is another PDU".into())),
    }
}

/// Reads the body of an A-ASSOCIATE-AC.
pub(crate) fn decode_accept(body: &[u8]) -> Result<AssociationAC, Error> {
    match decode(2, body).map_err(|source| cannot("read", "A-ASSOCIATE-AC", source))? {
        Pdu::AssociationAC(mut accept) => {
            for context in &mut accept.presentation_contexts {
                trim_uid(&mut context.transfer_syntax);
            }
            Ok(accept)
        }
        _ => Err(cannot("read", "A-ASSOCIATE-AC", "it is another PDU".into())),
    }
}

/// Writes an A-ASSOCIATE-RQ.
pub(crate) fn encode_request(request: AssociationRQ) -> Result<Vec<u8>, Error> {
    encode(&Pdu::AssociationRQ(request)).map_err(|source| cannot("write", "A-ASSOCIATE-RQ", source))
}

/// Writes an A-ASSOCIATE-AC to a request, whose AE title fields go back as they came.
pub(crate) fn encode_accept(accept: AssociationAC, request_body: &[u8]) -> Result<Vec<u8>, Error> {
    let mut bytes =
        encode(&Pdu::AssociationAC(accept)).map_err(|source| cannot("write", "A-ASSOCIATE-AC", source))?;
    let header = crate::pdu::PDU_HEADER_BYTES;
    let place = bytes.get_mut(header + RETURNED.start..header + RETURNED.end);
    if let (Some(place), Some(received)) = (place, request_body.get(RETURNED)) {
        place.copy_from_slice(received);
    }
    Ok(bytes)
}

type Source = Box<dyn std::error::Error + Send + Sync>;

fn cannot(doing: &'static str, pdu: &'static str, source: Source) -> Error {
    Error::AssociatePdu { doing, pdu, source }
}

fn encode(pdu: &Pdu) -> Result<Vec<u8>, Source> {
    let mut bytes = Vec::new();
    pdu::write_pdu(&mut bytes, pdu)?;
    Ok(bytes)
}

fn decode(pdu_type: u8, body: &[u8]) -> Result<Pdu, Source> {
    let clean = clean(body).ok_or("an item ends past its container")?;
    let mut bytes = vec![pdu_type, 0];
    bytes.extend_from_slice(&u32::try_from(clean.len())?.to_be_bytes());
    bytes.extend_from_slice(&clean);
    // Cleaning can add a few bytes, never more than it was given.
    let pdu = pdu::read_pdu(bytes.as_slice(), 2 * ASSOCIATE_BYTES_MAX, true)?;
    pdu.ok_or_else(|| "it ends early".into())
}

/// UIDs are padded with NUL by some, which dicom-ul leaves on.
fn trim_uid(uid: &mut String) {
    let trimmed = uid.trim_matches([' ', '\0']);
    if trimmed.len() != uid.len() {
        *uid = trimmed.to_owned();
    }
}

/// True for what can be a UID (PS3.5 9.1): digits and dots, 64 characters at most. Leading zeros are met, and passed.
pub(crate) fn is_uid(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// The items of a container: type and value. `None` in place of an item that ends past the container.
struct Items<'a>(&'a [u8]);

impl<'a> Iterator for Items<'a> {
    type Item = Option<(u8, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        let (head, rest) = match self.0.split_first_chunk::<4>() {
            Some(split) => split,
            None if self.0.is_empty() => return None,
            None => {
                self.0 = &[];
                return Some(None);
            }
        };
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let split = rest.split_at_checked(length);
        self.0 = split.map_or(&[], |(_, next)| next);
        Some(split.map(|(value, _)| (head[0], value)))
    }
}

fn put_item(out: &mut Vec<u8>, item_type: u8, value: &[u8]) -> Option<()> {
    let length = u16::try_from(value.len()).ok()?;
    out.extend_from_slice(&[item_type, 0]);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
    Some(())
}

/// The body with only those items dicom-ul can read. `None` when a length lies.
fn clean(body: &[u8]) -> Option<Vec<u8>> {
    let (fixed, items) = body.split_at_checked(FIXED_BYTES)?;
    let mut out = fixed.to_vec();
    out[4..36].iter_mut().for_each(plain_title_byte);
    for item in Items(items) {
        let (item_type, value) = item?;
        match item_type {
            item::APPLICATION_CONTEXT => put_item(&mut out, item_type, value)?,
            item::CONTEXT_PROPOSED | item::CONTEXT_RESULT => {
                put_item(&mut out, item_type, &clean_context(item_type, value)?)?;
            }
            item::USER_INFORMATION => put_item(&mut out, item_type, &clean_user_information(value)?)?,
            _ => {}
        }
    }
    Some(out)
}

/// Titles padded with NUL are met; any other byte outside the character set becomes one no AE title may hold, so
/// that the title is refused by name instead of the PDU for its text.
fn plain_title_byte(byte: &mut u8) {
    match *byte {
        0 => *byte = b' ',
        0x20..0x7f => {}
        _ => *byte = b'\\',
    }
}

fn clean_context(item_type: u8, value: &[u8]) -> Option<Vec<u8>> {
    let (head, sub_items) = value.split_first_chunk::<4>()?;
    let refused = item_type == item::CONTEXT_RESULT && head[2] != 0;
    if refused {
        // Its transfer syntax is not significant (PS3.8 9.3.3.2) and may be missing; its reason may be any byte.
        let mut out = vec![head[0], 0, head[2].min(4), 0];
        put_item(&mut out, item::TRANSFER_SYNTAX, b"")?;
        return Some(out);
    }
    let mut out = head.to_vec();
    for sub_item in Items(sub_items) {
        let (sub_type, value) = sub_item?;
        if matches!(sub_type, item::ABSTRACT_SYNTAX | item::TRANSFER_SYNTAX) {
            put_item(&mut out, sub_type, value)?;
        }
    }
    Some(out)
}

fn clean_user_information(value: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(value.len());
    for sub_item in Items(value) {
        let (sub_type, value) = sub_item?;
        if is_consistent(sub_type, value) {
            put_item(&mut out, sub_type, value)?;
        }
    }
    Some(out)
}

/// True when the inner lengths of a user sub-item (PS3.7 annex D.3.3) add up to its own.
fn is_consistent(sub_type: u8, value: &[u8]) -> bool {
    let inner = |at: usize| {
        value.get(at..).and_then(<[u8]>::first_chunk).map(|bytes| usize::from(u16::from_be_bytes(*bytes)))
    };
    match sub_type {
        item::MAXIMUM_LENGTH => value.len() == 4,
        item::ROLE_SELECTION => inner(0).is_some_and(|uid| value.len() == 2 + uid + 2),
        item::EXTENDED_NEGOTIATION => inner(0).is_some_and(|uid| value.len() >= 2 + uid),
        item::USER_IDENTITY => {
            let secondary = inner(2).and_then(|primary| Some(6 + primary + inner(4 + primary)?));
            secondary == Some(value.len())
        }
        _ => true,
    }
}

#[cfg(test)]
#[path = "associate_pdu_tests.rs"]
mod tests;
