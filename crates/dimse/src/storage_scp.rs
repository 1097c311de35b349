//! Storage as SCP (PS3.4 annex B): C-STORE.

use crate::{association::AcceptedContext, command::CommandSet, status::Status};

/// A C-STORE-RQ, its dataset to be read by [`crate::Association::read_dataset`] and the whole to be answered by
/// [`crate::Association::respond`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreRequest {
    /// Message ID (0000,0110).
    pub message_id: u16,
    /// The presentation context it came on.
    pub context_id: u8,
    /// Affected SOP Class UID (0000,0002); the context's where the command has none.
    pub sop_class_uid: String,
    /// Affected SOP Instance UID (0000,1000), as sent; empty where the command has none.
    pub sop_instance_uid: String,
    /// What the context was accepted with.
    pub transfer_syntax_uid: String,
    /// Priority (0000,0700): 2 low, 0 medium, 1 high.
    pub priority: u16,
    /// Who asked for the C-MOVE this serves (0000,1030).
    pub move_originator_ae: Option<String>,
    /// Under which message (0000,1031).
    pub move_originator_message_id: Option<u16>,
    pub(crate) serial: u64,
    pub(crate) command: CommandSet,
}

/// Makes a request of a command on an accepted context, or says what to refuse it with.
pub(crate) fn read_request(
    command: CommandSet,
    context: &AcceptedContext,
    serial: u64,
) -> Result<StoreRequest, (Status, &'static str)> {
    if context.abstract_syntax == filmgate_model::uids::VERIFICATION {
        return Err((Status::SOP_CLASS_NOT_SUPPORTED, "C-STORE on a Verification context"));
    }
    if !command.has_dataset {
        return Err((Status::CANNOT_UNDERSTAND, "C-STORE without a dataset"));
    }
    let given = |uid: &Option<String>| uid.clone().filter(|uid| !uid.is_empty());
    Ok(StoreRequest {
        message_id: command.message_id.unwrap_or_default(),
        context_id: context.id,
        sop_class_uid: given(&command.sop_class_uid).unwrap_or_else(|| context.abstract_syntax.clone()),
        sop_instance_uid: given(&command.sop_instance_uid).unwrap_or_default(),
        transfer_syntax_uid: context.transfer_syntax.clone(),
        priority: command.priority.unwrap_or_default(),
        move_originator_ae: given(&command.move_originator_ae),
        move_originator_message_id: command.move_originator_message_id,
        serial,
        command,
    })
}
