//! DIMSE messages out of PDVs (PS3.8 annex E): a command, whole and bounded; then its dataset, as it arrives.

use crate::{
    command::{COMMAND_BYTES_MAX, CommandSet},
    error::Error,
    link::Link,
    pdu,
    transport::Transport,
};

/// The receiving side of messages over a link: one message at a time, its dataset pulled by whoever wants it.
pub(crate) struct Messages<T: Transport> {
    pub(crate) link: Link<T>,
    /// The context whose dataset is under way; `None` between messages.
    dataset_context: Option<u8>,
    dataset_bytes: u64,
    out: Vec<u8>,
}

impl<T: Transport> Messages<T> {
    pub(crate) fn new(link: Link<T>) -> Self {
        Self { link, dataset_context: None, dataset_bytes: 0, out: Vec::new() }
    }

    /// The next message's context and command; its dataset is then open. `None` when a release was requested. What
    /// is left of the previous dataset is read over.
    pub(crate) fn next_command(&mut self) -> Result<Option<(u8, CommandSet)>, Error> {
        self.drain()?;
        self.link.await_message();
        let Some((context_id, bytes)) = self.read_command()? else { return Ok(None) };
        let Ok(command) = CommandSet::decode(&bytes) else {
            return Err(self.broken("a command set that cannot be read"));
        };
        if command.has_dataset {
            self.dataset_context = Some(context_id);
            self.dataset_bytes = 0;
        }
        Ok(Some((context_id, command)))
    }

    fn read_command(&mut self) -> Result<Option<(u8, Vec<u8>)>, Error> {
        let mut bytes = Vec::new();
        let mut context_id = None;
        loop {
            let Some(fragment) = self.link.fragment()? else {
                return if context_id.is_none() { Ok(None) } else { Err(self.released_amid("a command")) };
            };
            if !fragment.is_command {
                return Err(self.broken("a dataset where a command is due"));
            }
            if *context_id.get_or_insert(fragment.context_id) != fragment.context_id {
                return Err(self.broken("a command that changes its presentation context"));
            }
            let remaining = fragment.remaining_bytes as usize;
            if remaining > COMMAND_BYTES_MAX.saturating_sub(bytes.len()) {
                return Err(self.broken("a command set far longer than one can be"));
            }
            let start = bytes.len();
            bytes.resize(start + remaining, 0);
            self.read_whole(&mut bytes[start..])?;
            self.link.end_fragment();
            if fragment.is_last {
                return Ok(Some((fragment.context_id, bytes)));
            }
        }
    }

    fn read_whole(&mut self, mut place: &mut [u8]) -> Result<(), Error> {
        while !place.is_empty() {
            let read = self.link.read_fragment(place)?;
            place = place.get_mut(read..).unwrap_or_default();
        }
        Ok(())
    }

    /// The next bytes of the dataset, at most a fragment; 0 at its end.
    pub(crate) fn read_dataset(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        while let Some(context_id) = self.dataset_context.filter(|_| !buffer.is_empty()) {
            let Some(fragment) = self.link.fragment()? else { return Err(self.released_amid("a dataset")) };
            if fragment.is_command || fragment.context_id != context_id {
                return Err(self.broken("another message within a dataset"));
            }
            let read = self.link.read_fragment(buffer)?;
            self.dataset_bytes += read as u64;
            // An empty fragment ends, or says nothing.
            if fragment.remaining_bytes as usize == read {
                self.link.end_fragment();
                if fragment.is_last {
                    self.dataset_context = None;
                    crate::metrics::dataset_received(self.dataset_bytes);
                }
            }
            if read > 0 {
                return Ok(read);
            }
        }
        Ok(0)
    }

    /// Reads the rest of the dataset under way, for nobody.
    pub(crate) fn drain(&mut self) -> Result<(), Error> {
        let mut nowhere = [0; 32 * 1024];
        while self.read_dataset(&mut nowhere)? > 0 {}
        Ok(())
    }

    /// Sends a command without dataset: one write.
    pub(crate) fn send_command(
        &mut self,
        context_id: u8,
        command: &CommandSet,
        pdu_bytes_max: u32,
    ) -> Result<(), Error> {
        self.out.clear();
        pdu::put_command(&mut self.out, context_id, &command.encode(), pdu_bytes_max);
        self.link.send_data(&self.out)
    }

    /// The peer's messages make no sense: the association is aborted.
    pub(crate) fn broken(&mut self, what: &'static str) -> Error {
        self.link.abort_with(Error::Protocol { what })
    }

    fn released_amid(&mut self, during: &'static str) -> Error {
        self.link.abort_with(Error::ReleasedByPeer { during })
    }
}
