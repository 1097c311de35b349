//! Command sets (PS3.7 6.3, annex E): group 0000, implicit VR little endian, in a codec of our own.

/// Bytes a command set may have; real ones have two hundred.
pub const COMMAND_BYTES_MAX: usize = 64 * 1024;
/// Characters of Error Comment (0000,0902), VR LO.
pub const ERROR_COMMENT_CHARACTERS_MAX: usize = 64;
/// Command Data Set Type (0000,0800) that says "no dataset"; every other value says there is one.
pub const NO_DATASET: u16 = 0x0101;

/// Command Field (0000,0100).
pub mod field {
    /// C-STORE-RQ.
    pub const C_STORE_RQ: u16 = 0x0001;
    /// C-STORE-RSP.
    pub const C_STORE_RSP: u16 = 0x8001;
    /// C-ECHO-RQ.
    pub const C_ECHO_RQ: u16 = 0x0030;
    /// C-ECHO-RSP.
    pub const C_ECHO_RSP: u16 = 0x8030;
    /// C-CANCEL-RQ.
    pub const C_CANCEL_RQ: u16 = 0x0FFF;
    /// Set in every response.
    pub const RESPONSE: u16 = 0x8000;
}

mod element {
    pub(super) const GROUP_LENGTH: u16 = 0x0000;
    pub(super) const AFFECTED_SOP_CLASS_UID: u16 = 0x0002;
    pub(super) const REQUESTED_SOP_CLASS_UID: u16 = 0x0003;
    pub(super) const COMMAND_FIELD: u16 = 0x0100;
    pub(super) const MESSAGE_ID: u16 = 0x0110;
    pub(super) const MESSAGE_ID_RESPONDED_TO: u16 = 0x0120;
    pub(super) const PRIORITY: u16 = 0x0700;
    pub(super) const DATA_SET_TYPE: u16 = 0x0800;
    pub(super) const STATUS: u16 = 0x0900;
    pub(super) const ERROR_COMMENT: u16 = 0x0902;
    pub(super) const AFFECTED_SOP_INSTANCE_UID: u16 = 0x1000;
    pub(super) const REQUESTED_SOP_INSTANCE_UID: u16 = 0x1001;
    pub(super) const MOVE_ORIGINATOR_AE: u16 = 0x1030;
    pub(super) const MOVE_ORIGINATOR_MESSAGE_ID: u16 = 0x1031;
}

/// The elements of a command set that C-ECHO and C-STORE use, and what it takes to refuse any other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandSet {
    /// (0000,0002); the requested class (0000,0003) of an N-service stands here too.
    pub sop_class_uid: Option<String>,
    /// (0000,0100), see [`field`].
    pub command_field: u16,
    /// (0000,0110).
    pub message_id: Option<u16>,
    /// (0000,0120).
    pub message_id_responded_to: Option<u16>,
    /// (0000,0700): 2 low, 0 medium, 1 high.
    pub priority: Option<u16>,
    /// True when a dataset follows: (0000,0800) is not 0x0101.
    pub has_dataset: bool,
    /// (0000,0900).
    pub status: Option<u16>,
    /// (0000,0902).
    pub error_comment: Option<String>,
    /// (0000,1000); the requested instance (0000,1001) of an N-service stands here too.
    pub sop_instance_uid: Option<String>,
    /// (0000,1030): who asked for the C-MOVE this C-STORE serves.
    pub move_originator_ae: Option<String>,
    /// (0000,1031).
    pub move_originator_message_id: Option<u16>,
}

/// A command set cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// It ends inside an element.
    #[error("a command set ends inside an element")]
    Truncated,
    /// It holds an element of another group.
    #[error("a command set holds an element outside group 0000")]
    ForeignElement,
    /// A number has the wrong length.
    #[error("a number in a command set has the wrong length")]
    BadNumber,
    /// It has no Command Field (0000,0100).
    #[error("a command set has no command field")]
    NoCommandField,
}

impl CommandSet {
    /// Reads a command set. Unknown elements are skipped.
    ///
    /// # Errors
    /// When it is not one.
    pub fn decode(bytes: &[u8]) -> Result<Self, CommandError> {
        let mut command = Self::default();
        let mut command_field = None;
        let mut has_dataset = None;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (element, value, next) = split_element(rest)?;
            match element {
                element::COMMAND_FIELD => command_field = Some(number(value)?),
                element::DATA_SET_TYPE => has_dataset = Some(number(value)? != NO_DATASET),
                _ => command.take(element, value)?,
            }
            rest = next;
        }
        command.command_field = command_field.ok_or(CommandError::NoCommandField)?;
        // Mandatory, yet where it is missing only a C-STORE is sure to bring a dataset.
        command.has_dataset = has_dataset.unwrap_or(command.command_field == field::C_STORE_RQ);
        Ok(command)
    }

    fn take(&mut self, element: u16, value: &[u8]) -> Result<(), CommandError> {
        match element {
            element::AFFECTED_SOP_CLASS_UID | element::REQUESTED_SOP_CLASS_UID => {
                self.sop_class_uid = Some(text(value));
            }
            element::AFFECTED_SOP_INSTANCE_UID | element::REQUESTED_SOP_INSTANCE_UID => {
                self.sop_instance_uid = Some(text(value));
            }
            element::MESSAGE_ID => self.message_id = Some(number(value)?),
            element::MESSAGE_ID_RESPONDED_TO => self.message_id_responded_to = Some(number(value)?),
            element::PRIORITY => self.priority = number(value).ok(),
            element::STATUS => self.status = Some(number(value)?),
            element::ERROR_COMMENT => self.error_comment = Some(text(value)),
            element::MOVE_ORIGINATOR_AE => self.move_originator_ae = Some(text(value)),
            element::MOVE_ORIGINATOR_MESSAGE_ID => self.move_originator_message_id = number(value).ok(),
            _ => {}
        }
        Ok(())
    }

    /// The command set as bytes, elements in ascending order, group length first (PS3.7 6.3.1).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; 12];
        put_uid(&mut out, element::AFFECTED_SOP_CLASS_UID, self.sop_class_uid.as_deref());
        put_number(&mut out, element::COMMAND_FIELD, Some(self.command_field));
        put_number(&mut out, element::MESSAGE_ID, self.message_id);
        put_number(&mut out, element::MESSAGE_ID_RESPONDED_TO, self.message_id_responded_to);
        put_number(&mut out, element::PRIORITY, self.priority);
        let data_set_type = if self.has_dataset { 0x0001 } else { NO_DATASET };
        put_number(&mut out, element::DATA_SET_TYPE, Some(data_set_type));
        put_number(&mut out, element::STATUS, self.status);
        let comment = self.error_comment.as_deref().map(error_comment);
        put_text(&mut out, element::ERROR_COMMENT, comment.as_deref(), b' ');
        put_uid(&mut out, element::AFFECTED_SOP_INSTANCE_UID, self.sop_instance_uid.as_deref());
        put_text(&mut out, element::MOVE_ORIGINATOR_AE, self.move_originator_ae.as_deref(), b' ');
        put_number(&mut out, element::MOVE_ORIGINATOR_MESSAGE_ID, self.move_originator_message_id);
        let length = u32::try_from(out.len() - 12).unwrap_or(u32::MAX);
        let mut head = Vec::with_capacity(12);
        put_head(&mut head, element::GROUP_LENGTH, 4);
        head.extend_from_slice(&length.to_le_bytes());
        out[..12].copy_from_slice(&head);
        out
    }

    /// The response to this request, without a dataset. An unknown request is answered under its own number.
    #[must_use]
    pub fn response(&self, status: crate::Status, comment: Option<&str>) -> Self {
        Self {
            sop_class_uid: self.sop_class_uid.clone(),
            command_field: self.command_field | field::RESPONSE,
            message_id_responded_to: self.message_id,
            status: Some(status.0),
            error_comment: comment.map(ToOwned::to_owned),
            sop_instance_uid: self.sop_instance_uid.clone(),
            ..Self::default()
        }
    }
}

/// One element: its number in group 0000, its value, what follows.
fn split_element(bytes: &[u8]) -> Result<(u16, &[u8], &[u8]), CommandError> {
    let (head, rest) = bytes.split_first_chunk::<8>().ok_or(CommandError::Truncated)?;
    let [group_low, group_high, low, high, length @ ..] = *head;
    if (group_low, group_high) != (0, 0) {
        return Err(CommandError::ForeignElement);
    }
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    let (value, next) = rest.split_at_checked(length).ok_or(CommandError::Truncated)?;
    Ok((u16::from_le_bytes([low, high]), value, next))
}

fn number(value: &[u8]) -> Result<u16, CommandError> {
    value.first_chunk().map(|bytes| u16::from_le_bytes(*bytes)).ok_or(CommandError::BadNumber)
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_matches([' ', '\0']).to_owned()
}

/// A comment as Error Comment can carry it: printable ASCII without backslash, 64 characters.
fn error_comment(comment: &str) -> String {
    let plain = |character: char| if (' '..='~').contains(&character) { character } else { '?' };
    let plain = comment.chars().map(|c| if c == '\\' { '/' } else { plain(c) });
    plain.take(ERROR_COMMENT_CHARACTERS_MAX).collect()
}

fn put_head(out: &mut Vec<u8>, element: u16, length: u32) {
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&element.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
}

fn put_number(out: &mut Vec<u8>, element: u16, value: Option<u16>) {
    if let Some(value) = value {
        put_head(out, element, 2);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

fn put_uid(out: &mut Vec<u8>, element: u16, value: Option<&str>) {
    put_text(out, element, value, 0);
}

fn put_text(out: &mut Vec<u8>, element: u16, value: Option<&str>, padding: u8) {
    let Some(value) = value else { return };
    let length = u32::try_from(value.len().next_multiple_of(2)).unwrap_or(u32::MAX);
    put_head(out, element, length);
    out.extend_from_slice(value.as_bytes());
    if value.len() % 2 == 1 {
        out.push(padding);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Status;

    fn store() -> CommandSet {
        CommandSet {
            sop_class_uid: Some("1.2.840.10008.5.1.4.1.1.2".into()),
            command_field: field::C_STORE_RQ,
            message_id: Some(7),
            priority: Some(0),
            has_dataset: true,
            sop_instance_uid: Some("1.2.3".into()),
            move_originator_ae: Some("ARCHIVE".into()),
            move_originator_message_id: Some(3),
            ..CommandSet::default()
        }
    }

    #[test]
    fn a_command_reads_back() {
        assert_eq!(CommandSet::decode(&store().encode()), Ok(store()));
    }

    #[test]
    fn an_echo_is_coded_to_the_byte() {
        let echo = CommandSet {
            sop_class_uid: Some("1.2.840.10008.1.1".into()),
            command_field: field::C_ECHO_RQ,
            message_id: Some(1),
            ..CommandSet::default()
        };
        let mut expected = vec![0, 0, 0, 0, 4, 0, 0, 0, 56, 0, 0, 0];
        expected.extend_from_slice(b"\0\0\x02\0\x12\0\0\x001.2.840.10008.1.1\0");
        expected.extend_from_slice(&[0, 0, 0, 1, 2, 0, 0, 0, 0x30, 0]);
        expected.extend_from_slice(&[0, 0, 0x10, 1, 2, 0, 0, 0, 1, 0]);
        expected.extend_from_slice(&[0, 0, 0, 8, 2, 0, 0, 0, 1, 1]);
        assert_eq!(echo.encode(), expected);
    }

    #[test]
    fn a_response_carries_status_identity_and_a_comment_that_fits() {
        let comment = format!("C:\\spool is full, 盘满 {}", "x".repeat(100));
        let response = store().response(Status::OUT_OF_RESOURCES, Some(&comment));
        let read = CommandSet::decode(&response.encode()).expect("a command set");
        assert_eq!(read.command_field, field::C_STORE_RSP);
        assert_eq!(read.message_id_responded_to, Some(7));
        assert_eq!(read.status, Some(0xA700));
        assert!(!read.has_dataset);
        let comment = read.error_comment.expect("a comment");
        assert_eq!(comment.len(), ERROR_COMMENT_CHARACTERS_MAX);
        assert!(comment.starts_with("C:/spool is full, ?? xxx"));
    }

    #[test]
    fn broken_command_sets_have_their_error() {
        let good = store().encode();
        assert_eq!(CommandSet::decode(&good[..good.len() - 1]), Err(CommandError::Truncated));
        assert_eq!(CommandSet::decode(&[]), Err(CommandError::NoCommandField));
        assert_eq!(CommandSet::decode(&[8, 0, 5, 0, 0, 0, 0, 0]), Err(CommandError::ForeignElement));
        let one_byte_field = [0, 0, 0, 1, 1, 0, 0, 0, 1];
        assert_eq!(CommandSet::decode(&one_byte_field), Err(CommandError::BadNumber));
        let four_gigabytes = [0, 0, 2, 0, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2];
        assert_eq!(CommandSet::decode(&four_gigabytes), Err(CommandError::Truncated));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_command_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = CommandSet::decode(&bytes);
        }

        #[test]
        fn a_damaged_command_is_a_command_or_an_error(at in 0_usize..150, byte in any::<u8>()) {
            let mut bytes = store().encode();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = CommandSet::decode(&bytes);
        }
    }
}
