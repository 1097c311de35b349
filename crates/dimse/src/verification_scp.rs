//! Verification as SCP (PS3.4 annex A): C-ECHO.

use crate::command::CommandSet;

/// A C-ECHO-RQ, to be answered by [`crate::Association::respond_echo`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EchoRequest {
    /// Message ID (0000,0110).
    pub message_id: u16,
    /// The presentation context it came on.
    pub context_id: u8,
    pub(crate) serial: u64,
    pub(crate) command: CommandSet,
}
