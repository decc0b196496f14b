//! The open connections of a port. When there are too many, the oldest goes of those that have shown nothing.
//!
//! A stranger can open as many as there are, and be silent. So whoever connects is let in, and a connection on which something right was
//! shown once (a secret, a project key) is never closed for another. Nor is one of a proxy, which carries requests of many.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Part of all connections that strangers of one address may have.
const OF_ADDRESS: usize = 4;

/// The connections of a port. Clones are one.
#[derive(Debug, Clone)]
pub struct Connections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    open: Mutex<Open>,
    /// One was closed, or there is one more that may be.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Open {
    last: u64,
    /// By age, the oldest first.
    strangers: BTreeMap<u64, (IpAddr, CancellationToken)>,
    of_address: HashMap<IpAddr, BTreeSet<u64>>,
    known: HashSet<u64>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Connection {
    of: Connections,
    number: u64,
    cut: CancellationToken,
}

/// Says that something right was shown on a connection. Requests carry it among their extensions.
#[derive(Debug, Clone)]
pub struct Shown {
    of: Connections,
    number: u64,
}

impl Connections {
    /// At most `most` of them.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Inner { most: most.max(1), open: Mutex::default(), changed: Notify::new() }))
    }

    /// Waits until there is room for another one, or a stranger that makes room.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping it.
    pub async fn room(&self) {
        loop {
            let changed = self.0.changed.notified();
            let is_full = {
                let open = self.0.open.lock();
                open.known.len() >= self.0.most
            };
            if !is_full {
                return;
            }
            changed.await;
        }
    }

    /// One more, from `peer`. Where there are too many, or too many strangers of its address, the oldest of these is cut off.
    #[must_use]
    pub fn enter(&self, peer: IpAddr) -> Connection {
        let (address, cut) = (network_of(peer), CancellationToken::new());
        let mut open = self.0.open.lock();
        let of_address = open.of_address.get(&address);
        let is_many = |count: usize| count >= (self.0.most / OF_ADDRESS).max(1);
        let oldest_of_address =
            of_address.filter(|theirs| is_many(theirs.len())).and_then(|theirs| theirs.first().copied());
        let is_full = open.strangers.len() + open.known.len() >= self.0.most;
        let oldest = is_full.then(|| open.strangers.keys().next().copied()).flatten();
        if let Some(number) = oldest_of_address.or(oldest) {
            open.cut_off(number);
        }
        open.last += 1;
        let number = open.last;
        open.strangers.insert(number, (address, cut.clone()));
        open.of_address.entry(address).or_default().insert(number);
        Connection { of: self.clone(), number, cut }
    }

    /// How many are open.
    #[must_use]
    pub fn count(&self) -> usize {
        let open = self.0.open.lock();
        open.strangers.len() + open.known.len()
    }
}

impl Connection {
    /// Ends when it is to make room.
    pub async fn is_cut_off(&self) {
        self.cut.cancelled().await;
    }

    /// It is of somebody else than who opened it: a proxy says so.
    pub fn is_of(&self, address: IpAddr) {
        let address = network_of(address);
        let mut open = self.of.0.open.lock();
        if let Some(cut) = open.forget_stranger(self.number) {
            open.strangers.insert(self.number, (address, cut));
            open.of_address.entry(address).or_default().insert(self.number);
        }
    }

    /// For the requests on it.
    #[must_use]
    pub fn shown(&self) -> Shown {
        Shown { of: self.of.clone(), number: self.number }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut open = self.of.0.open.lock();
        open.forget_stranger(self.number);
        open.known.remove(&self.number);
        drop(open);
        self.of.0.changed.notify_one();
    }
}

impl Shown {
    /// It stays for as long as its sender likes.
    pub fn is_right(&self) {
        let mut open = self.of.0.open.lock();
        if open.forget_stranger(self.number).is_some() {
            open.known.insert(self.number);
        }
    }

    /// Whether it may be kept waiting: it makes room when there are too many, or those that do not are less than half of all.
    #[must_use]
    pub fn may_wait(&self) -> bool {
        let open = self.of.0.open.lock();
        open.strangers.contains_key(&self.number) || open.known.len() < self.of.0.most / 2
    }
}

impl Open {
    fn forget_stranger(&mut self, number: u64) -> Option<CancellationToken> {
        let (address, cut) = self.strangers.remove(&number)?;
        if let Some(theirs) = self.of_address.get_mut(&address) {
            theirs.remove(&number);
            if theirs.is_empty() {
                self.of_address.remove(&address);
            }
        }
        Some(cut)
    }

    fn cut_off(&mut self, number: u64) {
        if let Some(cut) = self.forget_stranger(number) {
            cut.cancel();
        }
    }
}

/// What one customer of a network has: an IPv4 address, or 2^64 of IPv6.
#[must_use]
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn are_cut(connections: &[Connection]) -> Vec<bool> {
        connections.iter().map(|connection| connection.cut.is_cancelled()).collect()
    }

    #[tokio::test]
    async fn the_oldest_stranger_makes_room_and_nobody_who_has_shown_something() {
        let all = Connections::new(4);
        let mut open: Vec<_> = (0..4).map(|last| all.enter(address(last))).collect();
        open[0].shown().is_right();
        open.push(all.enter(address(9)));
        assert_eq!(are_cut(&open), [false, true, false, false, false]);
        open[1].shown().is_right();
        assert_eq!(all.count(), 4, "who was cut off comes too late");
        open[1..].iter().for_each(|connection| connection.shown().is_right());
        assert_eq!(all.count(), 4);
        let full = timeout(Duration::from_millis(20), all.room()).await;
        assert!(full.is_err(), "all have shown something: the next one waits");
        open.pop();
        timeout(Duration::from_secs(5), all.room()).await.unwrap();
        drop(open);
        assert_eq!((all.count(), all.0.open.lock().of_address.len()), (0, 0));
    }

    #[test]
    fn those_that_stay_are_kept_waiting_while_there_is_room_for_others() {
        let all = Connections::new(8);
        let strangers: Vec<_> = (0..2).map(|last| all.enter(address(last))).collect();
        let mut proxied: Vec<_> = (0..4).map(|_| all.enter(address(9))).inspect(|it| it.shown().is_right()).collect();
        let wait = |connections: &[Connection]| connections.iter().filter(|it| it.shown().may_wait()).count();
        assert_eq!((wait(&strangers), wait(&proxied)), (2, 0));
        proxied.pop();
        assert_eq!((wait(&strangers), wait(&proxied)), (2, 3));
    }

    #[test]
    fn strangers_of_one_address_take_a_quarter() {
        let all = Connections::new(16);
        let other = all.enter(address(1));
        let open: Vec<_> = (0..6).map(|_| all.enter(address(2))).collect();
        assert_eq!(are_cut(&open), [true, true, false, false, false, false]);
        assert!(!other.cut.is_cancelled());
        let known: Vec<_> = (0..6).map(|_| all.enter(address(3))).inspect(|it| it.shown().is_right()).collect();
        assert_eq!(are_cut(&known), [false; 6], "those that have shown something are not counted");
    }

    #[test]
    fn who_comes_through_a_proxy_is_counted_by_the_address_that_it_declares() {
        let all = Connections::new(16);
        let open: Vec<_> =
            (0..8).map(|last| (all.enter(address(1)), last)).inspect(|(it, last)| it.is_of(address(*last))).collect();
        assert!(open.iter().all(|(connection, _)| !connection.cut.is_cancelled()));
        assert_eq!(all.count(), 8);
        drop(open);
        assert_eq!((all.count(), all.0.open.lock().of_address.len()), (0, 0));
    }

    #[test]
    fn a_network_of_ipv6_is_one() {
        let of = |text: &str| network_of(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:0:1:2:3:4:5"), "2001:db8:0:1::");
        assert_eq!((of("::ffff:192.0.2.1"), of("192.0.2.1")), ("192.0.2.1".into(), "192.0.2.1".into()));
    }
}
