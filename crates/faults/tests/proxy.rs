//! The proxy between a client and a server of a few lines, which counts what reached it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use filmgate_faults::{Fault, Proxy};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// A server that answers every request, and the whole requests it has seen.
fn server() -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let whole = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&whole);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let counted = Arc::clone(&counted);
            thread::spawn(move || while answer(&client, &counted).is_some() {});
        }
    });
    (address, whole)
}

fn answer(mut client: &TcpStream, whole: &AtomicU64) -> Option<()> {
    let mut bytes = 0;
    let mut reader = BufReader::with_capacity(1, client);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        if let Some(length) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            bytes = length.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; bytes];
    reader.read_exact(&mut body).ok()?;
    whole.fetch_add(1, Ordering::SeqCst);
    client.write_all(ANSWER.as_bytes()).ok()
}

/// Sends one request of ten bytes; what comes back before the connection ends or the answer is whole.
fn ask(client: &mut TcpStream) -> String {
    let _ = client.write_all(b"PUT /o HTTP/1.1\r\nContent-Length: 10\r\n\r\n0123456789");
    let mut came = Vec::new();
    let mut byte = [0];
    while !came.ends_with(b"hello")
        && !came.ends_with(b"</Error>")
        && client.read(&mut byte).unwrap_or(0) == 1
    {
        came.push(byte[0]);
    }
    String::from_utf8(came).expect("text")
}

fn connect(proxy: &Proxy) -> TcpStream {
    let client = TcpStream::connect(proxy.address()).expect("connect");
    client.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    client
}

#[test]
fn each_fault_does_what_it_says() {
    let (upstream, whole) = server();
    let proxy = Proxy::before(upstream).expect("a proxy");
    let mut kept = connect(&proxy);
    assert_eq!(
        (ask(&mut kept), ask(&mut kept)),
        (ANSWER.to_owned(), ANSWER.to_owned()),
        "one connection, two requests"
    );
    assert_eq!(whole.load(Ordering::SeqCst), 2);

    let mut reached = 2;
    for (fault, comes, reaches) in [
        (Fault::Refuse, "", 0),
        (Fault::CutRequest(4), "", 0),
        (Fault::CutAnswer(20), &ANSWER[..20], 1),
        (Fault::Swallow, "", 1),
        (Fault::Stall(Duration::from_millis(50)), "", 0),
        (Fault::Delay(Duration::from_millis(50)), ANSWER, 1),
        (Fault::Crawl(100), ANSWER, 1),
    ] {
        proxy.always(fault);
        let began = Instant::now();
        assert_eq!(ask(&mut connect(&proxy)), comes, "{fault:?}");
        let waited = matches!(fault, Fault::Stall(_) | Fault::Delay(_) | Fault::Crawl(_));
        assert!(!waited || began.elapsed() >= Duration::from_millis(50), "{fault:?}");
        reached += reaches;
        assert_eq!(whole.load(Ordering::SeqCst), reached, "{fault:?}");
    }
    proxy.always(Fault::Flip(1));
    let mut flipped = connect(&proxy);
    flipped.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    assert_eq!(ask(&mut flipped), ANSWER.replace("hello", "h%llo"));
    proxy.always(Fault::SlowDown(3));
    let mut slowed = connect(&proxy);
    for _ in 0..2 {
        let told = ask(&mut slowed);
        assert!(
            told.starts_with("HTTP/1.1 503") && told.contains("Retry-After: 3") && told.contains("SlowDown")
        );
    }
    reached += 1;
    assert_eq!(whole.load(Ordering::SeqCst), reached);
    proxy.always(Fault::Pass);
    assert_eq!(ask(&mut slowed), ANSWER, "the connection stays");
    // A request is noted when its answer has passed.
    let mut passed = proxy.passed();
    while passed.len() < 13 {
        thread::sleep(Duration::from_millis(5));
        passed = proxy.passed();
    }
    assert_eq!(passed.iter().filter(|passed| passed.status == Some(200)).count(), 8);
    assert!(passed.iter().all(|passed| passed.request.body_bytes == 10));
    proxy.forget();
    assert!(proxy.passed().is_empty());
}
