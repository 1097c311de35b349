//! One client's connection: each request is read, decided upon, passed, and its answer brought back.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Shared,
    fault::Fault,
    http::{Body, Head},
};

const PIECE_BYTES: usize = 64 * 1024;
/// How often one that stalls looks whether the proxy is over.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Serves a client until either side ends, or a fault does.
pub(crate) fn serve(client: &TcpStream, shared: &Shared) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut from_client = BufReader::new(client.try_clone()?);
    let mut server: Option<BufReader<TcpStream>> = None;
    while let Some(head) = Head::read(&mut from_client)? {
        if shared.is_over() {
            break;
        }
        let request = head.request();
        let fault = shared.fault_of(&request);
        let mut exchange = Exchange { from_client: &mut from_client, client, head: &head, status: None };
        let done = exchange.play(fault, &mut server, shared);
        let status = exchange.status;
        shared.note(request, fault, status);
        if !matches!(done, Ok(After::Stay)) {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    Ok(())
}

/// What follows a request.
enum After {
    Stay,
    Close,
}

/// One request and its answer.
struct Exchange<'a> {
    from_client: &'a mut BufReader<TcpStream>,
    client: &'a TcpStream,
    head: &'a Head,
    status: Option<u16>,
}

impl Exchange<'_> {
    fn play(
        &mut self,
        fault: Fault,
        server: &mut Option<BufReader<TcpStream>>,
        shared: &Shared,
    ) -> io::Result<After> {
        match fault {
            Fault::Refuse => return Ok(After::Close),
            Fault::SlowDown(seconds) => return self.slow_down(seconds),
            Fault::Stall(time) => {
                wait(time, shared);
                return Ok(After::Close);
            }
            Fault::Delay(time) => wait(time, shared),
            _ => {}
        }
        let server = match server {
            Some(server) => server,
            None => server.insert(BufReader::new(connect(shared)?)),
        };
        let rate = if let Fault::Crawl(rate) = fault { Some(rate) } else { None };
        let cut = if let Fault::CutRequest(bytes) = fault { bytes } else { u64::MAX };
        self.pass_request(server.get_mut(), Limits { cut, rate, ..Limits::NONE })?;
        let cut = match fault {
            Fault::Swallow => 0,
            Fault::CutAnswer(bytes) => bytes,
            _ => u64::MAX,
        };
        let flip = if let Fault::Flip(at) = fault { at } else { u64::MAX };
        self.pass_answer(server, Limits { cut, rate, flip })
    }

    /// Takes the request in whole, so that the client hears the answer, and says 503.
    fn slow_down(&mut self, seconds: u64) -> io::Result<After> {
        self.go_on()?;
        copy_body(self.from_client, &mut io::sink(), self.head.request_body(), Limits::NONE)?;
        let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>SlowDown</Code>\
                    <Message>Please reduce your request rate.</Message></Error>";
        write!(
            self.client,
            "HTTP/1.1 503 Slow Down\r\nRetry-After: {seconds}\r\nContent-Type: application/xml\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        )?;
        if self.head.request().method != "HEAD" {
            self.client.write_all(body.as_bytes())?;
        }
        self.status = Some(503);
        Ok(After::Stay)
    }

    /// A client that waits to be asked for the body is asked here; the server is not told.
    fn go_on(&mut self) -> io::Result<()> {
        match self.head.field("expect") {
            Some(_) => self.client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n"),
            None => Ok(()),
        }
    }

    fn pass_request(&mut self, server: &mut TcpStream, limits: Limits) -> io::Result<()> {
        let head = String::from_utf8_lossy(&self.head.bytes).into_owned();
        let is_expect = |line: &&str| line.to_ascii_lowercase().starts_with("expect:");
        let head: String = head.split_inclusive("\r\n").filter(|line| !is_expect(line)).collect();
        server.write_all(head.as_bytes())?;
        self.go_on()?;
        copy_body(self.from_client, server, self.head.request_body(), limits)
    }

    fn pass_answer(&mut self, server: &mut BufReader<TcpStream>, limits: Limits) -> io::Result<After> {
        let head = Head::read(server)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.status = head.status();
        let body = head.answer_body(&self.head.request().method);
        let of_head = limits.cut.min(head.bytes.len() as u64);
        self.client.write_all(&head.bytes[..usize::try_from(of_head).unwrap_or(head.bytes.len())])?;
        let left = Limits { cut: limits.cut.saturating_sub(head.bytes.len() as u64), ..limits };
        if limits.cut < u64::MAX && left.cut == 0 {
            // The server ends what it began before the client hears that nothing comes.
            copy_body(server, &mut io::sink(), body, Limits::NONE)?;
            return Ok(After::Close);
        }
        copy_body(server, &mut self.client, body, left)?;
        let last = body == Body::UntilClose || head.field("connection") == Some("close");
        Ok(if last { After::Close } else { After::Stay })
    }
}

fn connect(shared: &Shared) -> io::Result<TcpStream> {
    let server = TcpStream::connect(shared.upstream())?;
    server.set_nodelay(true)?;
    Ok(server)
}

fn wait(time: Duration, shared: &Shared) {
    let began = Instant::now();
    while began.elapsed() < time && !shared.is_over() {
        thread::sleep(LOOK_EVERY.min(time));
    }
}

/// How much passes, and how fast.
#[derive(Clone, Copy)]
struct Limits {
    /// After so many bytes the copy fails.
    cut: u64,
    /// Bytes a second.
    rate: Option<u64>,
    /// The byte behind so many is flipped.
    flip: u64,
}

impl Limits {
    const NONE: Self = Self { cut: u64::MAX, rate: None, flip: u64::MAX };
}

fn copy_body(from: &mut impl BufRead, to: &mut impl Write, body: Body, mut limits: Limits) -> io::Result<()> {
    match body {
        Body::Length(bytes) => copy(from, to, bytes, &mut limits),
        Body::UntilClose => match copy(from, to, u64::MAX, &mut limits) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            done => done,
        },
        Body::Chunked => loop {
            limits.flip = u64::MAX;
            let mut line = Vec::new();
            from.take(64).read_until(b'\n', &mut line)?;
            to.write_all(&line)?;
            let size = String::from_utf8_lossy(&line);
            let size = size.split(';').next().unwrap_or_default().trim().to_owned();
            let size = u64::from_str_radix(&size, 16).map_err(io::Error::other)?;
            // The chunk and the line's end behind it; no trailers come here.
            copy(from, to, size + 2, &mut limits)?;
            if size == 0 {
                return Ok(());
            }
        },
    }
}

fn copy(from: &mut impl Read, to: &mut impl Write, bytes: u64, limits: &mut Limits) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        let most = left.min(PIECE_BYTES as u64).min(limits.cut.max(1));
        let read = from.read(&mut piece[..usize::try_from(most).unwrap_or(PIECE_BYTES)])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(byte) = usize::try_from(limits.flip).ok().and_then(|at| piece[..read].get_mut(at)) {
            *byte ^= 0x40;
        }
        limits.flip =
            if limits.flip < read as u64 { u64::MAX } else { limits.flip.saturating_sub(read as u64) };
        let passes = usize::try_from(limits.cut).unwrap_or(usize::MAX).min(read);
        to.write_all(&piece[..passes])?;
        if passes < read || (limits.cut < u64::MAX && limits.cut == passes as u64) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if limits.cut < u64::MAX {
            limits.cut -= passes as u64;
        }
        left = if bytes == u64::MAX { left } else { left - read as u64 };
        if let Some(rate) = limits.rate {
            thread::sleep(Duration::from_secs_f64(read as f64 / rate.max(1) as f64));
        }
    }
    Ok(())
}
