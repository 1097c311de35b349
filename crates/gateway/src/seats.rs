//! The places at a door, and who gives way when there are none.
//!
//! A connection begins by *waiting*: it has asked for nothing and costs little. With its request it takes a *seat*. When
//! a door is full, the one that has waited longest gives way to the newcomer, of the newcomer's address first where that
//! has more than its share. So whoever asks at once is served, however many others keep the door open.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex, MutexGuard};

/// Connections that gave way and are not gone yet; a door rests when there are more.
const LEAVING_MAX: usize = 64;

/// How many may be at a door. Where it says so, 0 is no limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SeatLimits {
    /// Connections, waiting and seated.
    pub(crate) connections_max: usize,
    /// Of them from one address; 0 is no limit.
    pub(crate) connections_per_peer_max: usize,
    /// Seats.
    pub(crate) seats_max: usize,
    /// Of them for one address; 0 is no limit.
    pub(crate) seats_per_peer_max: usize,
}

/// The places at one door.
pub(crate) struct Seats {
    door: &'static str,
    limits: SeatLimits,
    places: Mutex<Places>,
    somebody_left: Condvar,
}

#[derive(Default)]
struct Places {
    next: u64,
    taken: BTreeMap<u64, Place>,
    leaving: usize,
    /// Since connections began to give way: how many waited then.
    crowded_at: Option<usize>,
}

struct Place {
    peer: IpAddr,
    /// Whose share of the seats its seat is of.
    share_of: Option<String>,
    /// Its turn among those that wait; `None` when it has a seat.
    waiting: Option<u64>,
    close: Box<dyn Fn() + Send>,
}

/// Seats for one name, wherever it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    /// The name.
    pub(crate) of: String,
    /// Seats; 0 is no limit.
    pub(crate) seats_max: u32,
}

/// Why a connection gets no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSeat {
    Full,
    Share,
    TitleShare,
    GaveWay,
}

impl NoSeat {
    /// In words.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Full => "all seats are taken",
            Self::Share => "its address has its share of the seats",
            Self::TitleShare => "its title has its share of the seats",
            Self::GaveWay => "it gave way to others",
        }
    }
}

/// A connection's place at a door, given back when dropped.
pub(crate) struct Ticket {
    id: u64,
    seats: Arc<Seats>,
}

impl Seats {
    pub(crate) fn new(door: &'static str, limits: SeatLimits) -> Arc<Self> {
        Arc::new(Self { door, limits, places: Mutex::default(), somebody_left: Condvar::new() })
    }

    /// A place for a newcomer; `close` ends its connection should it have to give way. `None` when there is neither a
    /// place nor one who waits: the newcomer is turned away.
    pub(crate) fn enter(self: &Arc<Self>, peer: IpAddr, close: impl Fn() + Send + 'static) -> Option<Ticket> {
        let peer = peer.to_canonical();
        let mut places = self.places.lock();
        let share = or_no_limit(self.limits.connections_per_peer_max);
        let has_place = (places.count(|place| place.peer == peer) < share
            || self.give_way(&mut places, Some(peer)))
            && (places.taken.len() < self.limits.connections_max || self.give_way(&mut places, None));
        if !has_place {
            metrics::counter!("filmgate_connections_refused_total", "door" => self.door).increment(1);
            return None;
        }
        let id = places.turn();
        places.taken.insert(id, Place { peer, share_of: None, waiting: Some(id), close: Box::new(close) });
        Some(Ticket { id, seats: Arc::clone(self) })
    }

    /// Closes the connection that has waited longest, of one address or of all. False when none waits.
    fn give_way(&self, places: &mut MutexGuard<'_, Places>, peer: Option<IpAddr>) -> bool {
        let of_peer = places.taken.iter().filter(|(_, place)| peer.is_none_or(|peer| peer == place.peer));
        let oldest = of_peer.filter_map(|(id, place)| Some((place.waiting?, *id))).min();
        let Some(place) = oldest.and_then(|(_, id)| places.taken.remove(&id)) else { return false };
        (place.close)();
        places.leaving += 1;
        metrics::counter!("filmgate_connections_dropped_total", "door" => self.door).increment(1);
        if places.crowded_at.is_none() {
            let waiting = places.count(|place| place.waiting.is_some());
            places.crowded_at = Some(waiting);
            tracing::warn!(
                door = self.door, peer = %place.peer, waiting,
                "connections that ask for nothing crowd the door: the oldest give way"
            );
        }
        true
    }

    /// Connections at the door, those on their way out included.
    pub(crate) fn count(&self) -> usize {
        let places = self.places.lock();
        places.taken.len() + places.leaving
    }

    /// Waits a little until those that gave way are gone. True when so few are left that others may come.
    pub(crate) fn has_calmed(&self, patience: Duration) -> bool {
        let mut places = self.places.lock();
        if places.leaving >= LEAVING_MAX {
            self.somebody_left.wait_for(&mut places, patience);
        }
        places.leaving < LEAVING_MAX
    }
}

impl Places {
    fn turn(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn count(&self, which: impl Fn(&Place) -> bool) -> usize {
        self.taken.values().filter(|place| which(place)).count()
    }
}

impl Ticket {
    /// Tells it apart from every other of its door.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// From waiting to seated. One who is seated stays so.
    pub(crate) fn take_seat(&self, share: Option<Share>) -> Result<(), NoSeat> {
        let limits = &self.seats.limits;
        let mut places = self.seats.places.lock();
        let peer = match places.taken.get(&self.id) {
            None => return Err(NoSeat::GaveWay),
            Some(Place { waiting: None, .. }) => return Ok(()),
            Some(place) => place.peer,
        };
        if places.count(|place| place.waiting.is_none()) >= limits.seats_max {
            return Err(NoSeat::Full);
        }
        let of_peer = places.count(|place| place.waiting.is_none() && place.peer == peer);
        if of_peer >= or_no_limit(limits.seats_per_peer_max) {
            return Err(NoSeat::Share);
        }
        if let Some(share) = &share {
            let seated =
                |place: &Place| place.waiting.is_none() && place.share_of.as_ref() == Some(&share.of);
            if share.seats_max > 0 && places.count(seated) >= share.seats_max as usize {
                return Err(NoSeat::TitleShare);
            }
        }
        if let Some(place) = places.taken.get_mut(&self.id) {
            place.waiting = None;
            place.share_of = share.map(|share| share.of);
        }
        Ok(())
    }

    /// Back to waiting, as the last to have come.
    pub(crate) fn leave_seat(&self) {
        let mut places = self.seats.places.lock();
        let turn = places.turn();
        if let Some(place) = places.taken.get_mut(&self.id) {
            place.waiting = Some(turn);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut places = self.seats.places.lock();
        if places.taken.remove(&self.id).is_none() {
            places.leaving = places.leaving.saturating_sub(1);
            self.seats.somebody_left.notify_one();
        }
        let waiting = places.count(|place| place.waiting.is_some());
        if places.crowded_at.is_some_and(|crowded_at| waiting * 2 <= crowded_at) {
            places.crowded_at = None;
        }
    }
}

fn or_no_limit(setting: usize) -> usize {
    if setting == 0 { usize::MAX } else { setting }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const LIMITS: SeatLimits =
        SeatLimits { connections_max: 4, connections_per_peer_max: 3, seats_max: 2, seats_per_peer_max: 1 };

    /// A door, and the connections it has closed, by the number they came with.
    struct Door(Arc<Seats>, Arc<Mutex<Vec<usize>>>, AtomicUsize);

    impl Door {
        fn new(limits: SeatLimits) -> Self {
            Self(Seats::new("test", limits), Arc::default(), AtomicUsize::new(0))
        }

        fn enter(&self, host: u8) -> Option<Ticket> {
            let number = self.2.fetch_add(1, Ordering::SeqCst);
            let closed = Arc::clone(&self.1);
            self.0.enter([10, 0, 0, host].into(), move || closed.lock().push(number))
        }

        fn closed(&self) -> Vec<usize> {
            self.1.lock().clone()
        }
    }

    #[test]
    fn the_one_that_waited_longest_gives_way_and_the_newcomer_is_served() {
        let door = Door::new(LIMITS);
        let early: Vec<_> = (0..4).map(|host| door.enter(host).expect("a place")).collect();
        let late = door.enter(9).expect("a place");
        assert_eq!(door.closed(), [0]);
        assert_eq!(early[0].take_seat(None), Err(NoSeat::GaveWay));
        assert_eq!(late.take_seat(None), Ok(()));
        assert_eq!(door.0.count(), 5, "the one that gave way is not gone yet");
        drop(early);
        assert_eq!(door.0.count(), 1);
    }

    #[test]
    fn an_address_with_its_share_drops_its_own() {
        let door = Door::new(LIMITS);
        let other = door.enter(1).expect("a place");
        let flood: Vec<_> = (0..10).map(|_| door.enter(2).expect("a place")).collect();
        assert_eq!(door.closed(), [1, 2, 3, 4, 5, 6, 7], "never the other address");
        assert_eq!(other.take_seat(None), Ok(()));
        assert_eq!(flood[9].take_seat(None), Ok(()));
    }

    #[test]
    fn who_has_a_seat_never_gives_way() {
        let door = Door::new(SeatLimits { seats_max: 4, seats_per_peer_max: 0, ..LIMITS });
        let seated: Vec<_> = (0..4).map(|host| door.enter(host).expect("a place")).collect();
        for ticket in &seated {
            ticket.take_seat(None).expect("a seat");
        }
        assert!(door.enter(9).is_none(), "nobody waits");
        seated[2].leave_seat();
        let late = door.enter(9).expect("a place");
        assert_eq!(door.closed(), [2]);
        drop(late);
    }

    #[test]
    fn seats_are_limited_in_all_and_for_one_address() {
        let door = Door::new(LIMITS);
        let (first, second) = (door.enter(1).expect("a place"), door.enter(1).expect("a place"));
        let (third, fourth) = (door.enter(2).expect("a place"), door.enter(3).expect("a place"));
        assert_eq!(first.take_seat(None), Ok(()));
        assert_eq!(first.take_seat(None), Ok(()), "its own");
        assert_eq!(second.take_seat(None), Err(NoSeat::Share));
        assert_eq!(third.take_seat(None), Ok(()));
        assert_eq!(fourth.take_seat(None), Err(NoSeat::Full));
        drop(first);
        assert_eq!(second.take_seat(None), Ok(()));
    }

    #[test]
    fn a_title_has_its_share_wherever_it_comes_from() {
        let door = Door::new(SeatLimits { seats_max: 4, seats_per_peer_max: 0, ..LIMITS });
        let tickets: Vec<_> = (0..4).map(|host| door.enter(host).expect("a place")).collect();
        let share = |of: &str, seats_max| Some(Share { of: of.into(), seats_max });
        assert_eq!(tickets[0].take_seat(share("CT_1", 1)), Ok(()));
        assert_eq!(tickets[1].take_seat(share("CT_1", 1)), Err(NoSeat::TitleShare));
        assert_eq!(tickets[1].take_seat(share("CT_2", 1)), Ok(()));
        assert_eq!(tickets[2].take_seat(share("CT_1", 0)), Ok(()));
    }

    #[test]
    fn a_door_rests_while_too_many_are_on_their_way_out() {
        let door = Door::new(SeatLimits { connections_max: 1, ..LIMITS });
        let mut leaving: Vec<_> = (0..=LEAVING_MAX).map(|_| door.enter(1)).collect();
        assert!(!door.0.has_calmed(Duration::ZERO));
        leaving.remove(0);
        assert!(door.0.has_calmed(Duration::ZERO));
    }
}
