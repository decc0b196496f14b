//! Room for webhooks that do not fit into their lane's part: one at a time, or as many as fit into so many bytes.
//!
//! Every lane must carry what comes, however large. Were each to do so whenever it likes, the bound on memory would be one large
//! webhook a lane. So a lane asks; who asked first is given room first, and gives it back as soon as it needs it no more.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Overdraft(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    given: HashMap<u64, usize>,
    waiting: VecDeque<u64>,
    names: u64,
}

/// A lane's account; what it was given comes back when this is dropped.
#[derive(Debug)]
pub(crate) struct Account {
    overdraft: Arc<Overdraft>,
    name: u64,
}

/// What a lane has of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lent {
    pub(crate) bytes: usize,
    /// Others wait for some.
    pub(crate) is_wanted: bool,
}

impl Overdraft {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn open(self: &Arc<Self>) -> Account {
        let mut state = self.0.lock();
        state.names += 1;
        Account { overdraft: self.clone(), name: state.names }
    }
}

impl Account {
    /// Asks for `bytes` of `total`, or gives back what it has where that is 0.
    pub(crate) fn ask(&self, bytes: usize, total: usize) -> Lent {
        let mut state = self.overdraft.0.lock();
        if bytes == 0 {
            if !(state.given.is_empty() && state.waiting.is_empty()) {
                state.given.remove(&self.name);
                state.waiting.retain(|name| *name != self.name);
            }
            return Lent::default();
        }
        let given = state.given.get(&self.name).copied().unwrap_or_default();
        if given < bytes {
            if !state.waiting.contains(&self.name) {
                state.waiting.push_back(self.name);
            }
            let others: usize =
                state.given.iter().filter(|(name, _)| **name != self.name).map(|(_, bytes)| bytes).sum();
            if state.waiting.front() == Some(&self.name) && (others == 0 || others + bytes <= total) {
                state.waiting.pop_front();
                state.given.insert(self.name, bytes);
            }
        }
        let bytes = state.given.get(&self.name).copied().unwrap_or_default();
        Lent { bytes, is_wanted: state.waiting.iter().any(|name| *name != self.name) }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.ask(0, 0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lent(bytes: usize, is_wanted: bool) -> Lent {
        Lent { bytes, is_wanted }
    }

    #[test]
    fn one_may_have_more_than_there_is_and_others_wait_for_it_in_turn() {
        let overdraft = Overdraft::new();
        let [first, second, third] = [(); 3].map(|()| overdraft.open());
        assert_eq!(first.ask(500, 100), lent(500, false));
        assert_eq!(second.ask(80, 100), lent(0, false));
        assert_eq!(third.ask(10, 100), lent(0, true), "it would fit, but the second was there first");
        assert_eq!(first.ask(500, 100), lent(500, true));
        assert_eq!(first.ask(0, 100), lent(0, false));
        assert_eq!(third.ask(10, 100), lent(0, true));
        assert_eq!(second.ask(80, 100), lent(80, true));
        assert_eq!(third.ask(10, 100), lent(10, false), "both fit");
        drop(second);
        assert_eq!(first.ask(90, 100), lent(90, false));
    }

    proptest! {
        #[test]
        fn all_together_have_what_there_is_or_one_of_them_has_more(
            asks in proptest::collection::vec((0..5_usize, 0..200_usize), 1..100),
        ) {
            let overdraft = Overdraft::new();
            let lanes: Vec<_> = (0..5).map(|_| overdraft.open()).collect();
            for (lane, bytes) in asks {
                lanes[lane].ask(bytes, 100);
                let state = overdraft.0.lock();
                let total: usize = state.given.values().sum();
                prop_assert!(total <= 100 || state.given.len() == 1, "{state:?}");
            }
            // who asks and asks gets it, once the others have given back
            for lane in &lanes {
                for other in &lanes {
                    other.ask(0, 100);
                }
                prop_assert_eq!(lane.ask(150, 100).bytes, 150);
            }
        }
    }
}
