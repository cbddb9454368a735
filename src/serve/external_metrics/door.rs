//! Who is let in, and who has to go when it gets crowded. It knows connections by address and age, and whether they are
//! believed; not what they say.
//!
//! Everybody is let in. Who is not believed stays for a short while, among a bounded number; when that is reached, the
//! address with the most of them loses its oldest. So a pod that opens ten thousand connections crowds out its own, and
//! the API server's next one is let in like any other.

mod line;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::counters::Counters;
use line::Line;

pub(super) use line::Guarded;

/// Connections that are not believed: a TLS connection takes some 50 KiB, so 25 MiB at most, while a kubelet has one or
/// two open and an API server's is believed milliseconds after it was made.
const UNTRUSTED: usize = 512;
/// Connections that are believed. The API servers of a large cluster are five, with a handful each.
const TRUSTED: usize = 1024;
/// For so long a connection may stay without being believed: enough for a handshake and a probe on a slow network, and
/// what somebody who sends a byte a second gets.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often those who stayed too long are looked for.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Lets connections in.
#[derive(Clone, Debug)]
pub(super) struct Door(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    guests: Mutex<Guests>,
    counters: Arc<Counters>,
}

/// Connections by the order in which they came.
#[derive(Debug, Default)]
struct Guests {
    arrivals: u64,
    trusted: BTreeMap<u64, Guest>,
    untrusted: BTreeMap<u64, Guest>,
    /// The untrusted ones of each address.
    by_address: HashMap<IpAddr, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Guest {
    address: IpAddr,
    /// Since when it is what it is: believed, or not.
    since: Instant,
    line: Arc<Line>,
}

/// A connection's place. It is given up with the last owner.
#[derive(Debug)]
pub(super) struct Seat {
    door: Door,
    number: u64,
    is_trusted: AtomicBool,
    line: Arc<Line>,
}

impl Door {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self(Arc::new(Shared { guests: Mutex::default(), counters }))
    }

    /// Lets somebody in who is not believed yet, and shows somebody else out where there is no room.
    pub(super) fn enter(&self, address: IpAddr) -> Seat {
        let line = Arc::new(Line::default());
        let mut guests = self.guests();
        guests.arrivals += 1;
        let number = guests.arrivals;
        let guest = Guest { address: address.to_canonical(), since: Instant::now(), line: line.clone() };
        guests.admit(number, guest);
        if guests.untrusted.len() > UNTRUSTED {
            let oldest = guests.oldest_of_the_most();
            self.show_out(oldest.and_then(|oldest| guests.take_untrusted(oldest)));
        }
        self.count(&guests);
        Seat { door: self.clone(), number, is_trusted: AtomicBool::new(false), line }
    }

    /// Shows those out who have stayed too long without being believed.
    pub(super) fn show_out_the_late(&self, now: Instant) {
        let mut guests = self.guests();
        let is_late = |guest: &Guest| now.saturating_duration_since(guest.since) > PATIENCE;
        let late: Vec<u64> =
            guests.untrusted.iter().filter(|(_, guest)| is_late(guest)).map(|(number, _)| *number).collect();
        for number in late {
            self.show_out(guests.take_untrusted(number));
        }
        self.count(&guests);
    }

    fn show_out(&self, guest: Option<Guest>) {
        if let Some(guest) = guest {
            guest.line.cut();
            self.0.counters.count_evicted();
        }
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        // Who is in no map is shown out by nobody, and goes by itself: nothing worse comes of a panic in here.
        self.0.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, guests: &Guests) {
        self.0.counters.set_connections(guests.trusted.len(), guests.untrusted.len());
    }
}

impl Guests {
    fn admit(&mut self, number: u64, guest: Guest) {
        self.by_address.entry(guest.address).or_default().insert(number);
        self.untrusted.insert(number, guest);
    }

    fn take_untrusted(&mut self, number: u64) -> Option<Guest> {
        let guest = self.untrusted.remove(&number)?;
        if let Some(numbers) = self.by_address.get_mut(&guest.address) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_address.remove(&guest.address);
            }
        }
        Some(guest)
    }

    fn oldest_of_the_most(&self) -> Option<u64> {
        self.by_address.values().max_by_key(|numbers| numbers.len())?.first().copied()
    }
}

impl Seat {
    /// From now on it is believed.
    pub(super) fn trust(&self) {
        // Asked with every request, so without the lock where nothing changes.
        if self.is_trusted.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut guests = self.door.guests();
        if let Some(guest) = guests.take_untrusted(self.number) {
            guests.trusted.insert(self.number, Guest { since: Instant::now(), ..guest });
        }
        if guests.trusted.len() > TRUSTED {
            self.door.show_out(guests.trusted.pop_first().map(|(_, guest)| guest));
        }
        self.door.count(&guests);
    }

    /// From now on it is not believed, and has as long as any other.
    pub(super) fn distrust(&self) {
        if !self.is_trusted.swap(false, Ordering::Relaxed) {
            return;
        }
        let mut guests = self.door.guests();
        if let Some(guest) = guests.trusted.remove(&self.number) {
            guests.admit(self.number, Guest { since: Instant::now(), ..guest });
        }
        self.door.count(&guests);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut guests = self.door.guests();
        guests.trusted.remove(&self.number);
        guests.take_untrusted(self.number);
        self.door.count(&guests);
    }
}
