//! PDU and PDV framing (PS3.8 9.3) of our own: lengths are counted down, never allocated.

use crate::rejection::{Abort, Rejection};

/// Type, reserved byte and length before every PDU (PS3.8 9.3.1).
pub const PDU_HEADER_BYTES: usize = 6;
/// Length, presentation context and control header before every PDV (PS3.8 9.3.5.1, annex E).
pub const PDV_HEADER_BYTES: usize = 6;
/// Body of an A-ASSOCIATE PDU, in bytes: 128 contexts of 7 syntaxes each take half of it.
pub const ASSOCIATE_BYTES_MAX: u32 = 128 * 1024;
/// Body of any other control PDU, in bytes: four in the standard, and room for those who pad.
pub const CONTROL_BYTES_MAX: u32 = 64;

/// The PDUs of PS3.8 9.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "names of the standard")]
pub enum PduType {
    AssociateRequest,
    AssociateAccept,
    AssociateReject,
    Data,
    ReleaseRequest,
    ReleaseReply,
    Abort,
}

impl PduType {
    /// Bytes a PDU of this type may have after its header before it is taken for an attack; `None` for P-DATA-TF,
    /// which is streamed: a longer one than we offered costs nothing, and devices that send it exist.
    #[must_use]
    pub fn body_bytes_max(self) -> Option<u32> {
        match self {
            Self::AssociateRequest | Self::AssociateAccept => Some(ASSOCIATE_BYTES_MAX),
            Self::Data => None,
            _ => Some(CONTROL_BYTES_MAX),
        }
    }
}

/// What the header of a PDU says. The type is `None` when it is not one of the standard's.
#[must_use]
pub fn decode_pdu_header(header: [u8; PDU_HEADER_BYTES]) -> (Option<PduType>, u32) {
    let [pdu_type, _, length @ ..] = header;
    let pdu_type = match pdu_type {
        1 => Some(PduType::AssociateRequest),
        2 => Some(PduType::AssociateAccept),
        3 => Some(PduType::AssociateReject),
        4 => Some(PduType::Data),
        5 => Some(PduType::ReleaseRequest),
        6 => Some(PduType::ReleaseReply),
        7 => Some(PduType::Abort),
        _ => None,
    };
    (pdu_type, u32::from_be_bytes(length))
}

/// A presentation data value under way: a fragment of a command or a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Its presentation context.
    pub context_id: u8,
    /// Command when true, dataset when false.
    pub is_command: bool,
    /// The last of its command or dataset.
    pub is_last: bool,
    /// Bytes of it not read yet.
    pub remaining_bytes: u32,
}

/// The header of a PDV whose PDU has `pdu_remaining_bytes` left, the header included.
/// `None` when it cannot be: shorter than its own header, or longer than its PDU.
#[must_use]
pub fn decode_pdv_header(header: [u8; PDV_HEADER_BYTES], pdu_remaining_bytes: u32) -> Option<Fragment> {
    let [length @ .., context_id, control] = header;
    let length = u32::from_be_bytes(length);
    // The length counts context and control header, and not itself.
    let fits = length.checked_add(4).is_some_and(|whole| whole <= pdu_remaining_bytes);
    let remaining_bytes = length.checked_sub(2).filter(|_| fits)?;
    // Bits 2 to 7 are reserved and not tested (PS3.8 E.2).
    Some(Fragment { context_id, is_command: control & 1 == 1, is_last: control & 2 == 2, remaining_bytes })
}

/// Appends a P-DATA-TF with one PDV to come: both headers, for `payload_bytes` of fragment.
pub fn put_data_header(out: &mut Vec<u8>, context_id: u8, command: bool, last: bool, payload_bytes: usize) {
    out.extend_from_slice(&data_header(context_id, command, last, payload_bytes));
}

/// Both headers of a P-DATA-TF with one PDV of `payload_bytes`; at most 4 GiB, which our buffers never reach.
#[must_use]
pub fn data_header(
    context_id: u8,
    command: bool,
    last: bool,
    payload_bytes: usize,
) -> [u8; PDU_HEADER_BYTES + PDV_HEADER_BYTES] {
    let payload = u32::try_from(payload_bytes).unwrap_or(u32::MAX - 6);
    let [a, b, c, d] = payload.saturating_add(6).to_be_bytes();
    let [e, f, g, h] = payload.saturating_add(2).to_be_bytes();
    [4, 0, a, b, c, d, e, f, g, h, context_id, u8::from(command) | u8::from(last) << 1]
}

/// The smallest maximum PDU length taken at its word; a peer that says less gets PDUs of this size.
pub const PEER_PDU_BYTES_MIN: u32 = 128;

/// Bytes of fragment that fit in one PDU of the peer's maximum length. Even: PS3.8 annex D wants even fragments.
#[must_use]
pub fn payload_bytes_max(pdu_bytes_max: u32) -> usize {
    let body = pdu_bytes_max.max(PEER_PDU_BYTES_MIN) as usize;
    (body - PDV_HEADER_BYTES) & !1
}

/// Appends a whole command as P-DATA-TF, in as many PDUs as the peer's maximum length asks for.
pub fn put_command(out: &mut Vec<u8>, context_id: u8, command: &[u8], pdu_bytes_max: u32) {
    let payload_bytes = payload_bytes_max(pdu_bytes_max);
    let pieces = command.len().div_ceil(payload_bytes).max(1);
    for (number, piece) in command.chunks(payload_bytes).enumerate() {
        put_data_header(out, context_id, true, number + 1 == pieces, piece.len());
        out.extend_from_slice(piece);
    }
}

/// A-RELEASE-RQ.
pub const RELEASE_REQUEST: [u8; 10] = [5, 0, 0, 0, 0, 4, 0, 0, 0, 0];
/// A-RELEASE-RP.
pub const RELEASE_REPLY: [u8; 10] = [6, 0, 0, 0, 0, 4, 0, 0, 0, 0];

/// A-ABORT.
#[must_use]
pub fn abort_pdu(abort: Abort) -> [u8; 10] {
    [7, 0, 0, 0, 0, 4, 0, 0, abort.source, abort.reason]
}

/// A-ASSOCIATE-RJ.
#[must_use]
pub fn reject_pdu(rejection: Rejection) -> [u8; 10] {
    [3, 0, 0, 0, 0, 4, 0, rejection.result, rejection.source, rejection.reason]
}

/// The body of an A-ASSOCIATE-RJ, whatever its numbers; `None` when it is too short for them.
#[must_use]
pub fn decode_rejection(body: &[u8]) -> Option<Rejection> {
    let [_, result, source, reason] = *body.first_chunk()?;
    Some(Rejection { result, source, reason })
}

/// The body of an A-ABORT; one too short for a source counts as the user's, for an abort is an abort.
#[must_use]
pub fn decode_abort(body: &[u8]) -> Abort {
    match body {
        [_, _, source, reason, ..] => Abort { source: *source, reason: *reason },
        _ => Abort { source: 0, reason: 0 },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_data_header_reads_back() {
        let header = data_header(3, true, false, 10);
        let (pdu_type, length) = decode_pdu_header(header[..6].try_into().expect("six bytes"));
        assert_eq!((pdu_type, length), (Some(PduType::Data), 16));
        let fragment = decode_pdv_header(header[6..].try_into().expect("six bytes"), length);
        let expected = Fragment { context_id: 3, is_command: true, is_last: false, remaining_bytes: 10 };
        assert_eq!(fragment, Some(expected));
    }

    #[test]
    fn a_pdv_that_lies_about_its_length_is_none() {
        let header = |length: u32| {
            let [a, b, c, d] = length.to_be_bytes();
            [a, b, c, d, 1, 3]
        };
        assert_eq!(decode_pdv_header(header(1), 100), None, "shorter than its own header");
        assert_eq!(decode_pdv_header(header(97), 100), None, "longer than its PDU");
        assert_eq!(decode_pdv_header(header(u32::MAX), u32::MAX), None, "past 4 GiB");
        assert_eq!(decode_pdv_header(header(2), 6).map(|pdv| pdv.remaining_bytes), Some(0));
        assert_eq!(decode_pdv_header(header(96), 100).map(|pdv| pdv.remaining_bytes), Some(94));
    }

    #[test]
    fn a_long_command_is_cut_to_the_peers_size() {
        let mut out = Vec::new();
        put_command(&mut out, 1, &[7; 300], 128);
        let lengths = [122, 122, 56];
        let mut rest = out.as_slice();
        for (number, length) in lengths.into_iter().enumerate() {
            assert_eq!(rest[..12], data_header(1, true, number == 2, length));
            rest = &rest[12 + length..];
        }
        assert!(rest.is_empty());
    }

    proptest! {
        #[test]
        fn any_pdv_header_stays_within_its_pdu(header in any::<[u8; 6]>(), pdu in any::<u32>()) {
            if let Some(fragment) = decode_pdv_header(header, pdu) {
                prop_assert!(u64::from(fragment.remaining_bytes) + 6 <= u64::from(pdu));
            }
        }
    }
}
