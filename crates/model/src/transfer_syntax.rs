//! How a transfer syntax encodes a dataset (PS3.5 chapter 10 and annex A).

use dicom_dictionary_std::uids;

/// Explicit VR big endian: retired from the standard, not from hospitals.
pub const EXPLICIT_VR_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// How the elements of a dataset are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Implicit VR, little endian (PS3.5 A.1).
    ImplicitLittle,
    /// Explicit VR, little endian (PS3.5 A.2); also every encapsulated syntax.
    ExplicitLittle,
    /// Explicit VR, big endian (retired; PS3.5 2016b A.3).
    ExplicitBig,
    /// Explicit VR, little endian, the whole dataset deflated (PS3.5 A.5).
    Deflated,
}

impl Encoding {
    /// True when every element states its VR.
    #[must_use]
    pub fn is_explicit(self) -> bool {
        self != Self::ImplicitLittle
    }
}

/// The encoding of a transfer syntax; `None` for a private or unknown one.
#[must_use]
pub fn encoding_of(transfer_syntax_uid: &str) -> Option<Encoding> {
    match transfer_syntax_uid {
        uids::IMPLICIT_VR_LITTLE_ENDIAN => Some(Encoding::ImplicitLittle),
        EXPLICIT_VR_BIG_ENDIAN => Some(Encoding::ExplicitBig),
        uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN => Some(Encoding::Deflated),
        // JPIP referenced, deflated as a whole (PS3.5 A.7, A.11).
        "1.2.840.10008.1.2.4.95" | "1.2.840.10008.1.2.4.205" => Some(Encoding::Deflated),
        // Every other standard syntax writes its elements as explicit VR little endian (PS3.5 A.4).
        uid if uid == uids::EXPLICIT_VR_LITTLE_ENDIAN || uid.starts_with("1.2.840.10008.1.2.") => {
            Some(Encoding::ExplicitLittle)
        }
        _ => None,
    }
}

/// True when pixel samples stand as they are (PS3.5 8.1.1), so that frames are found by arithmetic.
#[must_use]
pub fn is_native(transfer_syntax_uid: &str) -> bool {
    matches!(
        transfer_syntax_uid,
        uids::IMPLICIT_VR_LITTLE_ENDIAN
            | uids::EXPLICIT_VR_LITTLE_ENDIAN
            | EXPLICIT_VR_BIG_ENDIAN
            | uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_syntaxes_have_their_encoding() {
        assert_eq!(encoding_of("1.2.840.10008.1.2"), Some(Encoding::ImplicitLittle));
        assert_eq!(encoding_of("1.2.840.10008.1.2.1"), Some(Encoding::ExplicitLittle));
        assert_eq!(encoding_of("1.2.840.10008.1.2.1.99"), Some(Encoding::Deflated));
        assert_eq!(encoding_of("1.2.840.10008.1.2.2"), Some(Encoding::ExplicitBig));
        assert_eq!(encoding_of("1.2.840.10008.1.2.4.90"), Some(Encoding::ExplicitLittle));
        assert_eq!(encoding_of("1.2.840.113619.5.2"), None);
        assert!(is_native("1.2.840.10008.1.2") && !is_native("1.2.840.10008.1.2.5"));
    }
}
