//! How often each address was refused: after many failures its further ones are slow, and are said once a minute.
//!
//! An address is not a sender. Behind a proxy that is not declared, or a NAT, a stranger who guesses has the address of the
//! sender who knows, so whoever comes is always checked, and one that shows the right secret is taken whatever others did. What stops
//! guessing is a long secret.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    time::Duration,
};

use tokio::time::Instant;

use crate::{OncePerMinute, network_of};

/// Failures of an address within [`WINDOW`] that are told what is wrong.
const TOLD: u32 = 20;
/// From an address's first failure until it is forgotten.
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are counted at a time.
const MAX_ADDRESSES: usize = 4096;

/// How late one failure among many of its address is answered, or begun. Nothing but its connection waits.
pub const SLOWED: Duration = Duration::from_secs(1);

/// Failures by address.
#[derive(Debug, Default)]
pub struct Failures {
    counts: HashMap<IpAddr, u32>,
    /// When each of `counts` failed first, oldest first.
    first: VecDeque<(Instant, IpAddr)>,
    said: OncePerMinute,
}

/// What is known of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// There were too many of its address.
    pub too_many: bool,
    /// It is time to say so.
    pub say: Option<Said>,
}

/// What the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// Failures since it was said last.
    pub failures: u64,
    /// Addresses that are counted now.
    pub addresses: usize,
}

impl Failures {
    /// Counts one more.
    pub fn count(&mut self, address: IpAddr, now: Instant) -> Counted {
        self.forget(now);
        let address = network_of(address);
        if !self.counts.contains_key(&address) {
            if self.counts.len() >= MAX_ADDRESSES {
                self.forget_oldest();
            }
            self.first.push_back((now, address));
        }
        let count = self.counts.entry(address).or_insert(0);
        *count = count.saturating_add(1);
        let too_many = *count > TOLD;
        self.said.add(1);
        // a few are a mistake, and not said
        let due = if too_many { self.said.take_due(now) } else { None };
        Counted { too_many, say: due.map(|failures| Said { failures, addresses: self.counts.len() }) }
    }

    /// Whether there were too many of this address by now.
    #[must_use]
    pub fn were_too_many(&mut self, address: IpAddr, now: Instant) -> bool {
        self.forget(now);
        self.counts.get(&network_of(address)).is_some_and(|count| *count > TOLD)
    }

    /// Those whose minute is over.
    fn forget(&mut self, now: Instant) {
        while self.first.front().is_some_and(|(first, _)| now.duration_since(*first) >= WINDOW) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, address)) = self.first.pop_front() {
            self.counts.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of `failures` in a row are too many.
    fn too_many(table: &mut Failures, from: &str, failures: u32, now: Instant) -> u32 {
        (0..failures).map(|_| u32::from(table.count(address(from), now).too_many)).sum()
    }

    #[test]
    fn the_twenty_first_failure_within_a_minute_is_too_many_and_none_after_it() {
        let (mut table, start) = (Failures::default(), Instant::now());
        assert_eq!(too_many(&mut table, "192.0.2.1", 20, start), 0);
        assert_eq!(too_many(&mut table, "192.0.2.1", 3, start + Duration::from_millis(59_999)), 3);
        assert!(table.were_too_many(address("192.0.2.1"), start + Duration::from_millis(59_999)));
        assert!(!table.were_too_many(address("192.0.2.2"), start));
        assert!(!table.were_too_many(address("192.0.2.1"), start + WINDOW));
        assert_eq!(too_many(&mut table, "192.0.2.1", 20, start + WINDOW), 0);
        assert_eq!(too_many(&mut table, "192.0.2.1", 1, start + WINDOW), 1);
    }

    #[test]
    fn that_there_are_many_is_said_once_a_minute_with_their_number() {
        let (mut table, start) = (Failures::default(), Instant::now());
        let mut said = |failures: u32, at: Duration| -> Vec<_> {
            (0..failures).filter_map(|_| table.count(address("192.0.2.1"), start + at).say).collect()
        };
        assert_eq!(said(20, Duration::ZERO), []);
        assert_eq!(said(1000, Duration::ZERO), [Said { failures: 21, addresses: 1 }]);
        assert_eq!(said(1000, WINDOW), [Said { failures: 1020, addresses: 1 }]);
        // a few are not
        assert_eq!(said(20, 3 * WINDOW), []);
    }

    #[test]
    fn each_address_is_counted_apart_and_an_ipv6_network_as_one() {
        let (mut table, now) = (Failures::default(), Instant::now());
        assert_eq!(too_many(&mut table, "192.0.2.1", 21, now), 1);
        assert_eq!(too_many(&mut table, "192.0.2.2", 20, now), 0);
        assert_eq!(too_many(&mut table, "::ffff:192.0.2.1", 1, now), 1);
        assert_eq!(too_many(&mut table, "2001:db8:0:1::1", 20, now), 0);
        assert_eq!(too_many(&mut table, "2001:db8:0:1:ffff::9", 1, now), 1);
        assert_eq!(too_many(&mut table, "2001:db8:0:2::1", 1, now), 0);
    }

    #[test]
    fn no_more_addresses_are_kept_than_are_bounded_and_the_oldest_goes() {
        let (mut table, start) = (Failures::default(), Instant::now());
        assert_eq!(too_many(&mut table, "192.0.2.1", 20, start), 0);
        assert_eq!(too_many(&mut table, "192.0.2.2", 20, start + Duration::from_secs(1)), 0);
        for stranger in 0..MAX_ADDRESSES as u32 - 1 {
            let stranger = IpAddr::from((0x0a00_0000 + stranger).to_be_bytes());
            assert!(!table.count(stranger, start + Duration::from_secs(2)).too_many);
            assert_eq!(table.counts.len(), table.first.len());
            assert!(table.counts.len() <= MAX_ADDRESSES);
        }
        // the oldest was forgotten, the next one not
        assert_eq!(too_many(&mut table, "192.0.2.2", 1, start + Duration::from_secs(3)), 1);
        assert_eq!(too_many(&mut table, "192.0.2.1", 1, start + Duration::from_secs(3)), 0);
        // all go with their minute
        assert!(!table.count(address("192.0.2.3"), start + WINDOW + Duration::from_secs(4)).too_many);
        assert_eq!((table.counts.len(), table.first.len()), (1, 1));
    }
}
