//! A DICOM peer made of bytes: associations and messages written by hand (PS3.8 9.3, PS3.7 6.3), well-formed or not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub(crate) const VERIFICATION: &str = "1.2.840.10008.1.1";
pub(crate) const ASSOCIATE_RQ: u8 = 1;
pub(crate) const ASSOCIATE_AC: u8 = 2;
pub(crate) const P_DATA: u8 = 4;
pub(crate) const RELEASE_RQ: u8 = 5;
pub(crate) const RELEASE_RP: u8 = 6;
pub(crate) const ABORT: u8 = 7;
pub(crate) const CONTEXT: u8 = 1;

const READ_DEADLINE: Duration = Duration::from_secs(30);
const FRAGMENT_BYTES: usize = 16 * 1024;
const DRIP_PAUSE: Duration = Duration::from_millis(30);

/// One PDU: type, then a body of its length.
pub(crate) fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 0];
    bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Appends the head of a PDU with a body of so many bytes.
pub(crate) fn pdu_head(out: &mut Vec<u8>, kind: u8, body_bytes: usize) {
    out.extend_from_slice(&[kind, 0]);
    out.extend_from_slice(&(body_bytes as u32).to_be_bytes());
}

/// A-ASSOCIATE-RQ with one presentation context.
pub(crate) fn associate_rq(abstract_syntax: &str, transfer_syntax: &str) -> Vec<u8> {
    let mut body = vec![0, 1, 0, 0];
    body.extend_from_slice(&title(super::gateway::AE_TITLE));
    body.extend_from_slice(&title("WIRE"));
    body.extend_from_slice(&[0; 32]);
    body.extend_from_slice(&item(0x10, b"1.2.840.10008.3.1.1.1"));
    let mut context = vec![CONTEXT, 0, 0, 0];
    context.extend_from_slice(&item(0x30, abstract_syntax.as_bytes()));
    context.extend_from_slice(&item(0x40, transfer_syntax.as_bytes()));
    body.extend_from_slice(&item(0x20, &context));
    let mut user = item(0x51, &65536_u32.to_be_bytes());
    user.extend_from_slice(&item(0x52, b"1.2.826.0.1.3680043.10.1543.9"));
    body.extend_from_slice(&item(0x50, &user));
    pdu(ASSOCIATE_RQ, &body)
}

fn title(text: &str) -> [u8; 16] {
    let mut title = [b' '; 16];
    title[..text.len()].copy_from_slice(text.as_bytes());
    title
}

fn item(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 0];
    bytes.extend_from_slice(&(body.len() as u16).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// One P-DATA-TF with one PDV; `control` has bit 0 for a command and bit 1 for the last fragment (PS3.8 E.2).
pub(crate) fn p_data(context: u8, control: u8, fragment: &[u8]) -> Vec<u8> {
    let mut body = (fragment.len() as u32 + 2).to_be_bytes().to_vec();
    body.extend_from_slice(&[context, control]);
    body.extend_from_slice(fragment);
    pdu(P_DATA, &body)
}

/// A command set in implicit little endian, its group length in front.
pub(crate) fn command(elements: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (element, value) in elements {
        command_element(&mut body, *element, value);
    }
    let mut command = Vec::new();
    command_element(&mut command, 0x0000, &(body.len() as u32).to_le_bytes());
    command.extend_from_slice(&body);
    command
}

fn command_element(out: &mut Vec<u8>, element: u16, value: &[u8]) {
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&element.to_le_bytes());
    out.extend_from_slice(&(value.len().next_multiple_of(2) as u32).to_le_bytes());
    out.extend_from_slice(value);
    if value.len() % 2 == 1 {
        out.push(0);
    }
}

/// The command of a C-STORE request.
pub(crate) fn store_command(message_id: u16, sop_class: &str, sop_instance: &str) -> Vec<u8> {
    command(&[
        (0x0002, sop_class.as_bytes()),
        (0x0100, &1_u16.to_le_bytes()),
        (0x0110, &message_id.to_le_bytes()),
        (0x0700, &0_u16.to_le_bytes()),
        (0x0800, &1_u16.to_le_bytes()),
        (0x1000, sop_instance.as_bytes()),
    ])
}

/// The value of an element of a command set.
pub(crate) fn command_value(command: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = command;
    while let Some((head, behind)) = rest.split_first_chunk::<8>() {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let value = behind.get(..length)?;
        if u16::from_le_bytes([head[2], head[3]]) == wanted && head[..2] == [0, 0] {
            return Some(value);
        }
        rest = &behind[length..];
    }
    None
}

/// How the peer took what was sent to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// A DIMSE response with this status.
    Status(u16),
    /// A-ABORT.
    Aborted,
    /// A-ASSOCIATE-RJ.
    Rejected,
    /// The connection closed without a word.
    Closed,
    /// Another PDU of this type.
    Pdu(u8),
}

/// An association, or the beginning of one.
pub(crate) struct Wire(TcpStream);

impl Wire {
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("connect to the gateway");
        stream.set_read_timeout(Some(READ_DEADLINE)).expect("set a deadline");
        stream.set_nodelay(true).expect("send at once");
        Self(stream)
    }

    /// Connects and associates with one presentation context; panics unless it is accepted.
    pub(crate) fn associate(address: &str, abstract_syntax: &str, transfer_syntax: &str) -> Self {
        let mut wire = Self::connect(address);
        wire.send(&associate_rq(abstract_syntax, transfer_syntax)).expect("send A-ASSOCIATE-RQ");
        let (kind, body) = wire.read().expect("an answer to A-ASSOCIATE-RQ");
        assert_eq!(kind, ASSOCIATE_AC, "the association was not accepted");
        assert!(
            context_accepted(&body),
            "the presentation context {abstract_syntax} {transfer_syntax} was refused"
        );
        wire
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Sends as much as the peer takes: one that has closed already is what some tests are after.
    pub(crate) fn offer(&mut self, bytes: &[u8]) {
        let _ = self.send(bytes);
    }

    /// No more will be sent; what the peer says can still be read.
    pub(crate) fn end_sending(&self) {
        let _ = self.0.shutdown(std::net::Shutdown::Write);
    }

    /// Sends one byte after the other, slowly, as long as the peer takes them.
    pub(crate) fn drip(&self, bytes: Vec<u8>) -> JoinHandle<()> {
        let mut stream = self.0.try_clone().expect("a second handle");
        thread::spawn(move || drip(&mut stream, &bytes))
    }

    /// The next PDU; `None` when the connection is closed.
    ///
    /// # Panics
    /// When the peer neither speaks nor closes within the deadline.
    pub(crate) fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 6];
        if !self.read_exact(&mut head) {
            return None;
        }
        let length = u32::from_be_bytes([head[2], head[3], head[4], head[5]]) as usize;
        assert!(length < 1 << 20, "the gateway announced a PDU of {length} bytes");
        let mut body = vec![0; length];
        self.read_exact(&mut body).then_some((head[0], body))
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> bool {
        match self.0.read_exact(buffer) {
            Ok(()) => true,
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
            {
                panic!("the gateway neither answered nor closed within {READ_DEADLINE:?}")
            }
            Err(_) => false,
        }
    }

    /// What comes back.
    pub(crate) fn reaction(&mut self) -> Reaction {
        match self.read() {
            None => Reaction::Closed,
            Some((ABORT, _)) => Reaction::Aborted,
            Some((3, _)) => Reaction::Rejected,
            Some((P_DATA, body)) => {
                let status = command_value(&body[6..], 0x0900).expect("the response has a status");
                Reaction::Status(u16::from_le_bytes([status[0], status[1]]))
            }
            Some((kind, _)) => Reaction::Pdu(kind),
        }
    }

    /// A whole C-STORE; the dataset in fragments.
    pub(crate) fn store(&mut self, sop_class: &str, sop_instance: &str, dataset: &[u8]) -> Reaction {
        self.offer(&p_data(CONTEXT, 3, &store_command(1, sop_class, sop_instance)));
        let mut rest = dataset;
        loop {
            let (fragment, behind) = rest.split_at(rest.len().min(FRAGMENT_BYTES));
            rest = behind;
            self.offer(&p_data(CONTEXT, if rest.is_empty() { 2 } else { 0 }, fragment));
            if rest.is_empty() {
                return self.reaction();
            }
        }
    }

    /// One C-ECHO on an association for it, or what came instead of its answer.
    pub(crate) fn ask_echo(&mut self) -> Result<(), Reaction> {
        let request = command(&[
            (0x0002, VERIFICATION.as_bytes()),
            (0x0100, &0x30_u16.to_le_bytes()),
            (0x0110, &7_u16.to_le_bytes()),
            (0x0800, &0x0101_u16.to_le_bytes()),
        ]);
        self.offer(&p_data(CONTEXT, 3, &request));
        match self.reaction() {
            Reaction::Status(0) => Ok(()),
            other => Err(other),
        }
    }

    /// Releases in order.
    pub(crate) fn release(mut self) {
        self.send(&pdu(RELEASE_RQ, &[0; 4])).expect("send A-RELEASE-RQ");
        let answer = self.read().map(|(kind, _)| kind);
        assert_eq!(answer, Some(RELEASE_RP), "the release was not answered");
    }
}

/// Writes one byte after the other, slowly, as long as the peer takes them.
pub(crate) fn drip(stream: &mut TcpStream, bytes: &[u8]) {
    for byte in bytes {
        if stream.write_all(&[*byte]).is_err() {
            return;
        }
        thread::sleep(DRIP_PAUSE);
    }
}

/// True when the presentation context item of an A-ASSOCIATE-AC says acceptance (PS3.8 9.3.3.2).
fn context_accepted(body: &[u8]) -> bool {
    let mut rest = &body[68..];
    while let [kind, _, high, low, behind @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if *kind == 0x21 {
            return behind[2] == 0;
        }
        rest = &behind[length..];
    }
    false
}

/// C-ECHO over an association of its own: the gateway is still there and in its senses.
pub(crate) fn echo(address: &str) {
    assert_eq!(try_echo(address), Ok(()));
}

/// C-ECHO over an association of its own, or what came instead of an acceptance.
pub(crate) fn try_echo(address: &str) -> Result<(), Reaction> {
    let mut wire = Wire::connect(address);
    wire.offer(&associate_rq(VERIFICATION, super::dicom::IMPLICIT_LE));
    match wire.reaction() {
        Reaction::Pdu(ASSOCIATE_AC) => {}
        refused => return Err(refused),
    }
    wire.ask_echo()?;
    wire.release();
    Ok(())
}
