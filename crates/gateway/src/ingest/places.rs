//! What is bounded for the whole process (requests under way, bytes of bodies, decompression), and who may take how much of it.
//!
//! Whoever shows a source's secret may take all of it. Whoever shows a project key, which is public, may take half; and strangers, of
//! whom nothing is known yet, a quarter, and each address of theirs a part of that. So whatever strangers do, there is room for those who
//! have shown something, and whatever everybody does who has read a page with PostHog's snippet, for those with a secret.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;

use super::Refusal;

/// What a request has shown so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// Nothing that is right.
    Stranger,
    /// The project key of a destination.
    Key,
    /// A secret, or an address, of its source.
    Secret,
}

/// How many there are.
const STANDINGS: usize = 3;

/// Something counted that is bounded for the whole process.
#[derive(Debug, Clone)]
pub(crate) struct Bound(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    /// By standing: the most that those of it, and those below it, take together.
    most: [usize; STANDINGS],
    /// The most that strangers of one address take.
    most_of_address: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    by_standing: [usize; STANDINGS],
    /// Of strangers.
    by_address: HashMap<IpAddr, usize>,
}

/// A share of a [`Bound`], given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    of: Bound,
    standing: Standing,
    address: IpAddr,
    taken: usize,
}

impl Bound {
    /// At most `limit`; strangers together, and those of one address, may take `least` of it in any case.
    pub(crate) fn new(limit: usize, least: usize) -> Self {
        let part = |of: usize| (limit / of).max(least).min(limit);
        let most = [part(4), part(2), limit];
        Self(Arc::new(Counted { most, most_of_address: part(16), used: Mutex::default() }))
    }

    /// A share of nothing yet, for a request from `address`.
    pub(crate) fn share(&self, standing: Standing, address: IpAddr) -> Share {
        Share { of: self.clone(), standing, address, taken: 0 }
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.0.used.lock().by_standing.iter().sum()
    }
}

impl Share {
    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }

    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// Takes `more`, or nothing where there is no room for who takes it.
    pub(crate) fn grow(&mut self, more: usize) -> Result<(), Refusal> {
        let counted = &self.of.0;
        let mut used = counted.used.lock();
        // room for each standing from this one on: its own, and all below
        let mut together: usize = used.by_standing[..self.standing as usize].iter().sum();
        for standing in self.standing as usize..STANDINGS {
            together += used.by_standing[standing];
            if together + more > counted.most[standing] {
                return Err(Refusal::Overloaded);
            }
        }
        if self.standing == Standing::Stranger {
            let of_address = used.by_address.entry(self.address).or_default();
            if *of_address + more > counted.most_of_address {
                if *of_address == 0 {
                    used.by_address.remove(&self.address);
                }
                return Err(Refusal::Overloaded);
            }
            *of_address += more;
        }
        used.by_standing[self.standing as usize] += more;
        self.taken += more;
        Ok(())
    }

    /// The request has shown more: what it takes, it takes as one of those from now on.
    pub(crate) fn rises_to(&mut self, standing: Standing) {
        if standing > self.standing {
            let taken = std::mem::take(&mut self.taken);
            let mut used = self.of.0.used.lock();
            used.give_back(self.standing, self.address, taken);
            used.by_standing[standing as usize] += taken;
            (self.standing, self.taken) = (standing, taken);
        }
    }
}

impl Used {
    fn give_back(&mut self, standing: Standing, address: IpAddr, taken: usize) {
        self.by_standing[standing as usize] -= taken;
        if standing == Standing::Stranger
            && taken > 0
            && let Some(of_address) = self.by_address.get_mut(&address)
        {
            *of_address -= taken;
            if *of_address == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.0.used.lock().give_back(self.standing, self.address, self.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn strangers_take_a_quarter_keys_half_and_secrets_all() {
        let bound = Bound::new(64, 1);
        let fill = |standing: Standing, count: u8| {
            let shares = (0..count).map(|number| {
                let mut share = bound.share(standing, address(number));
                share.grow(1).map(|()| share)
            });
            shares.filter_map(Result::ok).collect::<Vec<_>>()
        };
        let strangers = fill(Standing::Stranger, 100);
        let keys = fill(Standing::Key, 100);
        let secrets = fill(Standing::Secret, 100);
        assert_eq!((strangers.len(), keys.len(), secrets.len()), (16, 16, 32));
        drop(strangers);
        assert_eq!(fill(Standing::Stranger, 100).len(), 16, "their quarter is free again");
        assert_eq!(fill(Standing::Secret, 100).len(), 16);
        drop((keys, secrets));
        assert_eq!((bound.used(), bound.0.used.lock().by_address.len()), (0, 0));
        // and strangers take no more of an empty house
        assert_eq!(fill(Standing::Secret, 100).len(), 64);
    }

    #[test]
    fn those_of_one_address_leave_room_for_other_strangers() {
        let bound = Bound::new(64, 1);
        let mut of_one: Vec<_> = (0..5).map(|_| bound.share(Standing::Stranger, address(1))).collect();
        let taken: Vec<_> = of_one.iter_mut().map(|share| share.grow(1).is_ok()).collect();
        assert_eq!(taken, [true, true, true, true, false]);
        assert!(bound.share(Standing::Stranger, address(2)).grow(1).is_ok());
        // whoever has shown something is counted by it alone
        assert!((0..40).all(|_| bound.share(Standing::Secret, address(1)).grow(1).is_ok()));
        drop(of_one);
        assert!(bound.share(Standing::Stranger, address(1)).grow(4).is_ok());
    }

    #[test]
    fn who_shows_more_leaves_the_room_of_strangers() {
        let bound = Bound::new(64, 1);
        let mut shares: Vec<_> = (0..4).map(|_| bound.share(Standing::Stranger, address(1))).collect();
        shares.iter_mut().for_each(|share| share.grow(1).unwrap());
        shares[0].rises_to(Standing::Key);
        shares[1].rises_to(Standing::Secret);
        shares[1].rises_to(Standing::Key);
        assert_eq!(bound.0.used.lock().by_standing, [2, 1, 1], "and nobody falls");
        assert!(bound.share(Standing::Stranger, address(1)).grow(2).is_ok());
        drop(shares);
        assert_eq!((bound.used(), bound.0.used.lock().by_address.len()), (0, 0));
    }

    #[test]
    fn the_least_of_all_is_one_body() {
        let bound = Bound::new(256, 32);
        assert!(bound.share(Standing::Stranger, address(1)).grow(32).is_ok());
        assert!(bound.share(Standing::Stranger, address(1)).grow(33).is_err());
    }
}
