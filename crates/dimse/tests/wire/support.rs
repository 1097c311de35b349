//! Peers for the tests: an acceptor on a thread, and a raw one that writes PDUs by hand, without the crate's codecs.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use filmgate_dimse::{
    AcceptorOptions, Admission, AssociateRequest, Association, Error, ProposedContext, Request, Requested,
    RequestorOptions, Status, Transport, accept, request,
};

pub(crate) const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
pub(crate) const VERIFICATION: &str = "1.2.840.10008.1.1";
pub(crate) const IMPLICIT: &str = "1.2.840.10008.1.2";
pub(crate) const EXPLICIT: &str = "1.2.840.10008.1.2.1";

pub(crate) fn options() -> AcceptorOptions {
    let mut options = AcceptorOptions::new("FILMGATE".parse().expect("a title"));
    options.artim = Duration::from_secs(2);
    options.idle = Duration::from_secs(5);
    options
}

pub(crate) fn anyone(_: &AssociateRequest) -> Admission {
    Admission::Accept
}

/// What an association brought, message by message: instance UID and dataset; echoes as "echo".
pub(crate) type Received = Vec<(String, Vec<u8>)>;

/// Serves one association to its end, answering every request with success.
pub(crate) fn serve_one<T: Transport>(association: &mut Association<T>) -> Result<Received, Error> {
    let mut received = Vec::new();
    let mut buffer = vec![0; 100_000];
    while let Some(request) = association.next()? {
        match request {
            Request::Echo(echo) => {
                association.respond_echo(&echo)?;
                received.push(("echo".to_owned(), Vec::new()));
            }
            Request::Store(store) => {
                let mut dataset = Vec::new();
                loop {
                    let read = association.read_dataset(&mut buffer)?;
                    if read == 0 {
                        break;
                    }
                    dataset.extend_from_slice(&buffer[..read]);
                }
                association.respond(&store, Status::SUCCESS)?;
                received.push((store.sop_instance_uid, dataset));
            }
        }
    }
    Ok(received)
}

/// An acceptor that takes one connection and does `with` on its association.
pub(crate) fn acceptor<R: Send + 'static>(
    options: AcceptorOptions,
    with: impl FnOnce(Result<Option<Association<TcpStream>>, Error>) -> R + Send + 'static,
) -> (u16, JoinHandle<R>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("an address").port();
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        with(accept(stream, &options, &anyone))
    });
    (port, thread)
}

/// As [`acceptor`], serving with [`serve_one`].
pub(crate) fn server(options: AcceptorOptions) -> (u16, JoinHandle<Result<Received, Error>>) {
    acceptor(options, |accepted| match accepted? {
        Some(mut association) => serve_one(&mut association),
        None => Ok(Vec::new()),
    })
}

pub(crate) fn proposed(abstract_syntax: &str, transfer_syntaxes: &[&str]) -> ProposedContext {
    ProposedContext {
        abstract_syntax: abstract_syntax.to_owned(),
        transfer_syntaxes: transfer_syntaxes.iter().map(|syntax| (*syntax).to_owned()).collect(),
    }
}

pub(crate) fn requestor_options() -> RequestorOptions {
    let contexts = vec![proposed(VERIFICATION, &[IMPLICIT]), proposed(CT, &[EXPLICIT])];
    let mut options = RequestorOptions::new(
        "CT_1".parse().expect("a title"),
        "FILMGATE".parse().expect("a title"),
        contexts,
    );
    options.response_timeout = Duration::from_secs(5);
    options.artim = Duration::from_secs(2);
    options
}

pub(crate) fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).expect("connect")
}

pub(crate) fn requested(port: u16) -> Requested<TcpStream> {
    request(connect(port), &requestor_options()).expect("an association")
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index.wrapping_mul(2_654_435_761) >> 7) as u8).collect()
}

// PDUs by hand.

pub(crate) fn pdu(pdu_type: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![pdu_type, 0];
    bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) fn item(item_type: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![item_type, 0];
    bytes.extend_from_slice(&(value.len() as u16).to_be_bytes());
    bytes.extend_from_slice(value);
    bytes
}

/// A presentation context item of an A-ASSOCIATE-RQ.
pub(crate) fn context_item(id: u8, abstract_syntax: &str, transfer_syntaxes: &[&str]) -> Vec<u8> {
    let mut value = vec![id, 0, 0, 0];
    value.extend(item(0x30, abstract_syntax.as_bytes()));
    for syntax in transfer_syntaxes {
        value.extend(item(0x40, syntax.as_bytes()));
    }
    item(0x20, &value)
}

/// An A-ASSOCIATE-RQ with its parts to be bent.
pub(crate) struct RawRequest {
    pub(crate) version: u16,
    pub(crate) called: [u8; 16],
    pub(crate) calling: [u8; 16],
    pub(crate) application_context: &'static str,
    pub(crate) contexts: Vec<u8>,
    pub(crate) user_items: Vec<u8>,
}

impl Default for RawRequest {
    fn default() -> Self {
        let mut contexts = context_item(1, VERIFICATION, &[IMPLICIT]);
        contexts.extend(context_item(3, CT, &[EXPLICIT]));
        Self {
            version: 1,
            called: *b"FILMGATE        ",
            calling: *b"CT_1            ",
            application_context: "1.2.840.10008.3.1.1.1",
            contexts,
            user_items: item(0x51, &16384_u32.to_be_bytes()),
        }
    }
}

impl RawRequest {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend_from_slice(&[0, 0]);
        body.extend_from_slice(&self.called);
        body.extend_from_slice(&self.calling);
        body.extend_from_slice(&[0; 32]);
        body.extend(item(0x10, self.application_context.as_bytes()));
        body.extend_from_slice(&self.contexts);
        body.extend(item(0x50, &self.user_items));
        pdu(1, &body)
    }
}

pub(crate) const RELEASE_RQ: [u8; 10] = [5, 0, 0, 0, 0, 4, 0, 0, 0, 0];
pub(crate) const RELEASE_RP: [u8; 10] = [6, 0, 0, 0, 0, 4, 0, 0, 0, 0];
pub(crate) const USER_ABORT: [u8; 10] = [7, 0, 0, 0, 0, 4, 0, 0, 0, 0];

pub(crate) fn pdv(context: u8, control: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32 + 2).to_be_bytes().to_vec();
    bytes.extend_from_slice(&[context, control]);
    bytes.extend_from_slice(payload);
    bytes
}

fn element(number: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
    bytes.extend_from_slice(value);
    bytes
}

/// A request's command set; instance UID of even length.
pub(crate) fn command(field: u16, message_id: u16, has_dataset: bool, instance_uid: &str) -> Vec<u8> {
    let mut rest = element(0x0002, b"1.2.840.10008.5.1.4.1.1.2\0");
    rest.extend(element(0x0100, &field.to_le_bytes()));
    rest.extend(element(0x0110, &message_id.to_le_bytes()));
    rest.extend(element(0x0800, &if has_dataset { 1_u16 } else { 0x0101 }.to_le_bytes()));
    if !instance_uid.is_empty() {
        rest.extend(element(0x1000, instance_uid.as_bytes()));
    }
    let mut bytes = element(0, &(rest.len() as u32).to_le_bytes());
    bytes.extend(rest);
    bytes
}

/// A whole C-STORE-RQ on context 3: command and dataset in one P-DATA-TF each.
pub(crate) fn store_message(message_id: u16, instance_uid: &str, dataset: &[u8]) -> Vec<u8> {
    let mut bytes = pdu(4, &pdv(3, 3, &command(0x0001, message_id, true, instance_uid)));
    bytes.extend(pdu(4, &pdv(3, 2, dataset)));
    bytes
}

/// A requestor that writes what it is told.
pub(crate) struct RawPeer(pub(crate) TcpStream);

impl RawPeer {
    pub(crate) fn connect(port: u16) -> Self {
        let stream = connect(port);
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        Self(stream)
    }

    /// Connects and associates with the default request.
    pub(crate) fn associate(port: u16) -> Self {
        let mut peer = Self::connect(port);
        peer.send(&RawRequest::default().bytes());
        assert_eq!(peer.receive().0, 2, "A-ASSOCIATE-AC");
        peer
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("write");
    }

    /// One PDU: type and body.
    pub(crate) fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; 6];
        self.0.read_exact(&mut header).expect("a PDU header");
        let length = u32::from_be_bytes(header[2..].try_into().expect("four bytes"));
        let mut body = vec![0; length as usize];
        self.0.read_exact(&mut body).expect("a PDU body");
        (header[0], body)
    }

    /// A response in one P-DATA-TF: field, message ID responded to, status.
    pub(crate) fn response(&mut self) -> (u16, u16, u16) {
        let (pdu_type, body) = self.receive();
        assert_eq!((pdu_type, body[5]), (4, 3), "a P-DATA-TF with a whole command");
        let mut rest = &body[6..];
        let mut found = (0, 0, 0);
        while rest.len() >= 8 {
            let number = u16::from_le_bytes([rest[2], rest[3]]);
            let length = u32::from_le_bytes(rest[4..8].try_into().expect("four bytes")) as usize;
            let value = &rest[8..8 + length];
            let short = value.first_chunk().map(|bytes| u16::from_le_bytes(*bytes)).unwrap_or_default();
            match number {
                0x0100 => found.0 = short,
                0x0120 => found.1 = short,
                0x0900 => found.2 = short,
                _ => {}
            }
            rest = &rest[8 + length..];
        }
        found
    }

    pub(crate) fn release(mut self) {
        self.send(&RELEASE_RQ);
        assert_eq!(self.receive().0, 6, "A-RELEASE-RP");
    }

    /// The source and reason of an A-ABORT, which must come next; then the end of the connection.
    pub(crate) fn expect_abort(&mut self) -> (u8, u8) {
        let (pdu_type, body) = self.receive();
        assert_eq!(pdu_type, 7, "A-ABORT");
        (body[2], body[3])
    }
}

/// A transport of bytes prepared in advance; what is written is kept, or sent on.
pub(crate) struct Script<R: Read> {
    pub(crate) input: R,
    pub(crate) written: Option<mpsc::Sender<Vec<u8>>>,
}

impl<R: Read> Read for Script<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.read(buffer)
    }
}

impl<R: Read> Write for Script<R> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(written) = &self.written {
            let _ = written.send(bytes.to_vec());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<R: Read> Transport for Script<R> {
    fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn set_write_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn shutdown(&self) {}
}
