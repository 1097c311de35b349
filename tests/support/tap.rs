//! A recording receiver beside the gateway: hands every byte of an association on, and keeps each dataset that crossed.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::wire::{P_DATA, command_value};

/// Datasets by the SOP Instance UID of their C-STORE command, in the order they crossed.
type Crossed = Arc<Mutex<HashMap<String, Vec<Vec<u8>>>>>;

/// Listens in front of one gateway, until the test ends.
pub(crate) struct Tap {
    /// Where to send instead of to the gateway, as HOST:PORT.
    pub(crate) address: String,
    crossed: Crossed,
}

impl Tap {
    pub(crate) fn before(gateway: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("its own address").to_string();
        let crossed = Crossed::default();
        let (kept, gateway) = (Arc::clone(&crossed), gateway.to_owned());
        thread::spawn(move || {
            for requestor in listener.incoming().map_while(Result::ok) {
                if let Ok(acceptor) = TcpStream::connect(&gateway) {
                    couple(requestor, acceptor, Arc::clone(&kept));
                }
            }
        });
        Self { address, crossed }
    }

    /// The dataset that crossed last under one of these SOP Instance UIDs.
    pub(crate) fn crossed(&self, sop_instance_uids: &[&str]) -> Option<Vec<u8>> {
        let crossed = self.crossed.lock().expect("the recording");
        sop_instance_uids.iter().find_map(|uid| crossed.get(*uid)?.last().cloned())
    }
}

fn couple(requestor: TcpStream, acceptor: TcpStream, crossed: Crossed) {
    let (Ok(requestor_side), Ok(acceptor_side)) = (requestor.try_clone(), acceptor.try_clone()) else {
        return;
    };
    thread::spawn(move || hand_on(acceptor_side, requestor_side, |_| {}));
    thread::spawn(move || {
        let mut reader = Reader { crossed, ..Reader::default() };
        hand_on(requestor, acceptor, |bytes| reader.read(bytes));
    });
}

fn hand_on(mut from: TcpStream, mut to: TcpStream, mut look: impl FnMut(&[u8])) {
    let _ = to.set_nodelay(true);
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        look(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Follows one association's P-DATA towards the acceptor.
#[derive(Default)]
struct Reader {
    unread: Vec<u8>,
    command: Vec<u8>,
    dataset: Vec<u8>,
    crossed: Crossed,
}

impl Reader {
    fn read(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        while let Some((head, behind)) = self.unread.split_first_chunk::<6>() {
            let length = u32::from_be_bytes([head[2], head[3], head[4], head[5]]) as usize;
            if behind.len() < length {
                return;
            }
            let (kind, body) = (head[0], behind[..length].to_vec());
            self.unread.drain(..6 + length);
            if kind == P_DATA {
                self.pdvs(&body);
            }
        }
    }

    fn pdvs(&mut self, mut rest: &[u8]) {
        while let Some((head, behind)) = rest.split_first_chunk::<6>() {
            let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
            let fragment = &behind[..length - 2];
            let (is_command, is_last) = (head[5] & 1 == 1, head[5] & 2 == 2);
            if is_command { &mut self.command } else { &mut self.dataset }.extend_from_slice(fragment);
            if is_last && (!is_command || !announces_dataset(&self.command)) {
                self.message_complete();
            }
            rest = &behind[length - 2..];
        }
    }

    fn message_complete(&mut self) {
        let (command, dataset) = (std::mem::take(&mut self.command), std::mem::take(&mut self.dataset));
        if let Some(uid) = command_value(&command, 0x1000) {
            let uid = String::from_utf8_lossy(uid).trim_end_matches(['\0', ' ']).to_owned();
            self.crossed.lock().expect("the recording").entry(uid).or_default().push(dataset);
        }
    }
}

/// Command Data Set Type (0000,0800) other than 0101H: a dataset follows (PS3.7 E.1).
fn announces_dataset(command: &[u8]) -> bool {
    command_value(command, 0x0800).is_some_and(|kind| kind != [0x01, 0x01])
}
