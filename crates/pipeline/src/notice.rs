//! What a person should do in good time, while nothing is wrong yet: shown until it is done, and no alarm.

use filmgate_model::Timestamp;
use serde::Serialize;

use crate::Road;

/// Something to be done in good time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// What it is about: `no-recovery-sheet`, `certificate-ends`.
    pub kind: &'static str,
    /// What of that kind: a file.
    pub subject: String,
    /// What to do, and what happens otherwise.
    pub detail: String,
    /// Until when; absent when it is overdue from the beginning.
    pub due_at: Option<Timestamp>,
}

impl Road {
    /// What whoever opened the doors has to say, in place of what it said before.
    pub fn set_notices(&self, notices: Vec<Notice>) {
        *self.notices.lock() = notices;
    }

    /// All there is to be done.
    pub(crate) fn notices(&self) -> Vec<Notice> {
        self.sheet_notice().into_iter().chain(self.notices.lock().iter().cloned()).collect()
    }

    /// Asks for the recovery sheet until it was typed back, and again when a key on it changed.
    #[must_use]
    pub fn sheet_notice(&self) -> Option<Notice> {
        if self.is_follower() || self.keys.sheet_confirmed_at().is_some() {
            return None;
        }
        let mut detail = "no recovery sheet was confirmed: if this machine is lost, nothing in the bucket can be opened. Make \
                          it by `filmgate key backup --out sheet.html`, print it, type it back by `filmgate key confirm`"
            .to_owned();
        if self.settings.require_backup {
            detail += "; until then nothing is verified (keys.require_backup)";
        }
        Some(Notice { kind: "no-recovery-sheet", subject: String::new(), detail, due_at: None })
    }
}
