//! A proxy that stands between a client and an HTTP/1.1 server and spoils what it is told to: for tests only.
//!
//! It passes one request after the other, whole, and asks a plan about each: pass it, cut it off after so many bytes, let
//! the server do it and swallow the answer, answer 503 itself, wait, stall, crawl, flip a bit of the answer. Plans are changed while it runs, and one
//! drawn from a seed ([`Seeded`]) does the same to the nth request of each kind whatever the order they come in. It knows
//! of HTTP just what tells one request from the next.
//!
//! | module | what |
//! | --- | --- |
//! | `fault` | what can be done to a request, and plans |
//! | `http` | where a message ends |
//! | `connection` | one client: request, fault, answer |

mod connection;
mod fault;
mod http;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

pub use fault::{Fault, Seeded};
pub use http::Request;

/// What becomes of each request.
pub type Plan = dyn FnMut(&Request) -> Fault + Send;

/// A request that came, and what became of it.
#[derive(Debug, Clone)]
pub struct Passed {
    /// The request.
    pub request: Request,
    /// What was done to it.
    pub fault: Fault,
    /// What the server answered, when it was asked and did.
    pub status: Option<u16>,
}

/// What the threads of a proxy share.
pub(crate) struct Shared {
    upstream: SocketAddr,
    plan: Mutex<Box<Plan>>,
    passed: Mutex<Vec<Passed>>,
    over: AtomicBool,
}

/// A running proxy; it ends when dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens on loopback, on a port of the system's choice, and passes everything to `upstream`.
    ///
    /// # Errors
    /// When no port can be opened.
    pub fn before(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            plan: Mutex::new(Box::new(|_| Fault::Pass)),
            passed: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let for_all = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &for_all));
        Ok(Self { address, shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From the next request on, this decides.
    pub fn plan(&self, plan: impl FnMut(&Request) -> Fault + Send + 'static) {
        *locked(&self.shared.plan) = Box::new(plan);
    }

    /// From the next request on, the same becomes of all.
    pub fn always(&self, fault: Fault) {
        self.plan(move |_| fault);
    }

    /// Every request so far, in the order they ended.
    #[must_use]
    pub fn passed(&self) -> Vec<Passed> {
        locked(&self.shared.passed).clone()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        locked(&self.shared.passed).clear();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((client, _)) = listener.accept() {
        if shared.is_over() {
            return;
        }
        let shared = Arc::clone(shared);
        // A connection that breaks is what this is for.
        thread::spawn(move || drop(connection::serve(&client, &shared)));
    }
}

impl Shared {
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    pub(crate) fn upstream(&self) -> SocketAddr {
        self.upstream
    }

    pub(crate) fn fault_of(&self, request: &Request) -> Fault {
        locked(&self.plan)(request)
    }

    pub(crate) fn note(&self, request: Request, fault: Fault, status: Option<u16>) {
        locked(&self.passed).push(Passed { request, fault, status });
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
