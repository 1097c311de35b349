//! What a DIMSE response says (PS3.7 annex C; for C-STORE PS3.4 table B.2-1).

use std::fmt;

/// Status (0000,0900) of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(pub u16);

/// The families a status belongs to (PS3.7 C.1 to C.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusClass {
    /// Done.
    Success,
    /// Done, with a remark.
    Warning,
    /// Not done.
    Failure,
    /// Stopped on request.
    Cancel,
    /// More responses follow.
    Pending,
}

impl Status {
    /// Done.
    pub const SUCCESS: Self = Self(0x0000);
    /// The operation was cancelled.
    pub const CANCEL: Self = Self(0xFE00);
    /// More responses follow.
    pub const PENDING: Self = Self(0xFF00);

    /// A required attribute is missing (warning in the general list).
    pub const ATTRIBUTE_LIST_ERROR: Self = Self(0x0107);
    /// Value out of range, coerced (warning in the general list).
    pub const ATTRIBUTE_VALUE_OUT_OF_RANGE: Self = Self(0x0116);
    /// The SOP class is not the one of the presentation context, or not served.
    pub const SOP_CLASS_NOT_SUPPORTED: Self = Self(0x0122);
    /// Class and instance do not belong together.
    pub const CLASS_INSTANCE_CONFLICT: Self = Self(0x0119);
    /// The SOP instance is there already.
    pub const DUPLICATE_SOP_INSTANCE: Self = Self(0x0111);
    /// The message identifier is in use.
    pub const DUPLICATE_INVOCATION: Self = Self(0x0210);
    /// An attribute's value is invalid.
    pub const INVALID_ATTRIBUTE_VALUE: Self = Self(0x0106);
    /// The SOP instance UID is invalid.
    pub const INVALID_SOP_INSTANCE: Self = Self(0x0117);
    /// A required attribute is missing.
    pub const MISSING_ATTRIBUTE: Self = Self(0x0120);
    /// An attribute that must have a value has none.
    pub const MISSING_ATTRIBUTE_VALUE: Self = Self(0x0121);
    /// A parameter is not what was agreed for this context.
    pub const MISTYPED_ARGUMENT: Self = Self(0x0212);
    /// The attribute is not known.
    pub const NO_SUCH_ATTRIBUTE: Self = Self(0x0105);
    /// The SOP class is not known.
    pub const NO_SUCH_SOP_CLASS: Self = Self(0x0118);
    /// The SOP instance is not known.
    pub const NO_SUCH_SOP_INSTANCE: Self = Self(0x0112);
    /// The peer may not do this.
    pub const NOT_AUTHORIZED: Self = Self(0x0124);
    /// Something went wrong here.
    pub const PROCESSING_FAILURE: Self = Self(0x0110);
    /// A limit was reached.
    pub const RESOURCE_LIMITATION: Self = Self(0x0213);
    /// The operation is not one of those agreed.
    pub const UNRECOGNIZED_OPERATION: Self = Self(0x0211);

    /// C-STORE: no room (0xA7xx).
    pub const OUT_OF_RESOURCES: Self = Self(0xA700);
    /// C-STORE: the dataset does not match its SOP class, or the command (0xA9xx).
    pub const DATASET_MISMATCH: Self = Self(0xA900);
    /// C-STORE: the dataset cannot be understood (0xCxxx).
    pub const CANNOT_UNDERSTAND: Self = Self(0xC000);
    /// C-STORE warning: elements were changed.
    pub const COERCION_OF_DATA_ELEMENTS: Self = Self(0xB000);
    /// C-STORE warning: elements were left out.
    pub const ELEMENTS_DISCARDED: Self = Self(0xB006);
    /// C-STORE warning: the dataset does not match its SOP class, and was stored.
    pub const STORED_DESPITE_MISMATCH: Self = Self(0xB007);

    /// The family, by PS3.7 annex C.
    #[must_use]
    pub fn class(self) -> StatusClass {
        match self.0 {
            0x0000 => StatusClass::Success,
            0xFE00 => StatusClass::Cancel,
            0xFF00 | 0xFF01 => StatusClass::Pending,
            0x0001 | 0x0107 | 0x0116 | 0xB000..=0xBFFF => StatusClass::Warning,
            _ => StatusClass::Failure,
        }
    }

    /// True when the peer has the instance: success, or success with a remark.
    #[must_use]
    pub fn is_stored(self) -> bool {
        matches!(self.class(), StatusClass::Success | StatusClass::Warning)
    }

    /// True when sending the same again later may succeed: no room, a limit, a failure while processing.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self.0, 0xA700..=0xA7FF | 0x0213 | 0x0110)
    }

    /// What it says, in words.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self.0 {
            0x0000 => "success",
            0x0105 => "no such attribute",
            0x0106 => "invalid attribute value",
            0x0107 => "attribute list error",
            0x0110 => "processing failure",
            0x0111 => "duplicate SOP instance",
            0x0112 => "no such SOP instance",
            0x0116 => "attribute value out of range",
            0x0117 => "invalid SOP instance",
            0x0118 => "no such SOP class",
            0x0119 => "class and instance conflict",
            0x0120 => "missing attribute",
            0x0121 => "missing attribute value",
            0x0122 => "SOP class not supported",
            0x0124 => "not authorised",
            0x0210 => "duplicate invocation",
            0x0211 => "unrecognised operation",
            0x0212 => "mistyped argument",
            0x0213 => "resource limitation",
            0xA700..=0xA7FF => "out of resources",
            0xA900..=0xA9FF => "dataset does not match SOP class",
            0xB000 => "coercion of data elements",
            0xB006 => "elements discarded",
            0xB007 => "stored although dataset does not match SOP class",
            0xB001..=0xBFFF => "warning",
            0xC000..=0xCFFF => "cannot understand",
            0xFE00 => "cancelled",
            0xFF00 | 0xFF01 => "pending",
            _ => "failure",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:04X} ({})", self.0, self.meaning())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_knows_its_family() {
        assert_eq!(Status::SUCCESS.class(), StatusClass::Success);
        assert_eq!(Status::OUT_OF_RESOURCES.class(), StatusClass::Failure);
        assert_eq!(Status(0xB123).class(), StatusClass::Warning);
        assert_eq!(Status(0xFF01).class(), StatusClass::Pending);
        assert_eq!(Status::CANCEL.class(), StatusClass::Cancel);
        assert!(Status::STORED_DESPITE_MISMATCH.is_stored() && !Status(0xC123).is_stored());
        assert!(Status(0xA712).is_retryable() && !Status::DATASET_MISMATCH.is_retryable());
    }

    #[test]
    fn a_status_prints_as_number_and_words() {
        assert_eq!(Status::UNRECOGNIZED_OPERATION.to_string(), "0x0211 (unrecognised operation)");
        assert_eq!(Status(0xC123).to_string(), "0xC123 (cannot understand)");
    }
}
