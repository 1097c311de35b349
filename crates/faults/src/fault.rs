//! What can become of a request.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use crate::Request;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// The connection is closed, and the server hears nothing.
    Refuse,
    /// The connection is closed after so many bytes of the request's body; the server has them.
    CutRequest(u64),
    /// The server does it, and the connection is closed after so many bytes of its answer, head included.
    CutAnswer(u64),
    /// The server does it, and its answer never comes: the connection is closed.
    Swallow,
    /// The proxy answers 503 SlowDown itself, with this Retry-After in seconds.
    SlowDown(u64),
    /// It is passed after a while.
    Delay(Duration),
    /// It is taken, and nothing comes of it for so long; then the connection is closed.
    Stall(Duration),
    /// Request and answer pass at so many bytes a second.
    Crawl(u64),
    /// It is passed, and of the answer's body the byte at this offset comes back with a bit flipped; a shorter body, or one
    /// in chunks, as it is.
    Flip(u64),
}

/// A plan drawn from a seed: some percent of requests are spoiled. The nth request of a kind (its method and the names of
/// its parameters) meets the same in every run.
#[derive(Debug, Clone)]
pub struct Seeded {
    seed: u64,
    percent: u64,
    faults: Vec<Fault>,
    seen: BTreeMap<String, u64>,
}

impl Seeded {
    /// Spoils `percent` of requests by one of `faults`; with none of them, passes all.
    #[must_use]
    pub fn new(seed: u64, percent: u64, faults: &[Fault]) -> Self {
        Self { seed, percent, faults: faults.to_vec(), seen: BTreeMap::new() }
    }

    /// What becomes of the next request.
    pub fn fault_of(&mut self, request: &Request) -> Fault {
        let kind = request.kind();
        let seen = self.seen.entry(kind.clone()).or_insert(0);
        *seen += 1;
        let mut hasher = DefaultHasher::new();
        (self.seed, kind, *seen).hash(&mut hasher);
        let drawn = hasher.finish();
        let choice = usize::try_from(drawn / 100 % self.faults.len().max(1) as u64).unwrap_or(0);
        match self.faults.get(choice) {
            Some(fault) if drawn % 100 < self.percent => *fault,
            _ => Fault::Pass,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str) -> Request {
        Request { method: "PUT".into(), target: target.into(), body_bytes: 0 }
    }

    /// What a seed does to requests in this order, by kind.
    fn drawn<'a>(seed: u64, order: &[&'a str]) -> Vec<(&'a str, Fault)> {
        let mut plan = Seeded::new(seed, 40, &[Fault::Refuse, Fault::Swallow]);
        let mut drawn: Vec<_> = order.iter().map(|kind| (*kind, plan.fault_of(&request(kind)))).collect();
        drawn.sort_by_key(|(kind, _)| *kind);
        drawn
    }

    #[test]
    fn a_seed_says_it_all_whatever_the_order() {
        let (one, other): (Vec<_>, Vec<_>) = ((0..200).map(|n| ["/a?x=1", "/b"][n % 2]).collect(), {
            let mut grouped = vec!["/a?x=1"; 100];
            grouped.extend(vec!["/b"; 100]);
            grouped
        });
        assert_eq!(drawn(7, &one), drawn(7, &other));
        assert_ne!(drawn(7, &one), drawn(8, &one));
        let spoiled = drawn(7, &one).iter().filter(|(_, fault)| *fault != Fault::Pass).count();
        assert!((40..120).contains(&spoiled), "{spoiled} of 200 at 40 percent");
        assert!(drawn(7, &one).iter().any(|(_, fault)| *fault == Fault::Swallow));
    }
}
