//! Divides a bounded amount, of bytes or of calls, among lanes.
//!
//! Each lane is entitled to an equal part. What the others leave of theirs, a lane may use too, but for a quarter of
//! each part, which stays free for its owner to begin with. As soon as a lane that has less than its part wants more,
//! those that have more than theirs take nothing new: they shrink as fast as what they hold ends.

use std::sync::Arc;

use parking_lot::Mutex;
use slab::Slab;

use crate::slab::{Key, take};

/// Part of an equal part that stays free for its owner.
const KEPT: usize = 4;

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool(Mutex<Slab<Member>>);

#[derive(Debug, Clone, Copy, Default)]
struct Member {
    used: usize,
    wants_more: bool,
}

/// A lane's membership of a pool; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Membership {
    pool: Arc<Pool>,
    key: Key,
}

/// What a lane may use of a pool now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) limit: usize,
    /// The equal part.
    pub(crate) equal: usize,
}

impl Pool {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Slab::new())))
    }

    pub(crate) fn join(self: &Arc<Self>) -> Membership {
        let key = self.0.lock().insert(Member::default());
        Membership { pool: self.clone(), key }
    }
}

impl Membership {
    /// Says what this lane uses and whether it wants more; gives what it may use of `total`.
    pub(crate) fn divide(&self, total: usize, used: usize, wants_more: bool) -> Part {
        let mut members = self.pool.0.lock();
        if let Some(member) = members.get_mut(self.key) {
            *member = Member { used, wants_more };
        }
        let equal = total / members.len().max(1);
        let kept = equal / KEPT;
        let others = || members.iter().filter(|(key, _)| *key != self.key).map(|(_, member)| member);
        let taken: usize = others().map(|member| member.used.max(kept)).sum();
        let is_short = |member: &Member| member.wants_more && member.used < equal;
        let most = if others().any(is_short) { equal } else { total };
        Part { limit: total.saturating_sub(taken).min(most).max(kept), equal }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        take(&mut self.pool.0.lock(), self.key);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_lane_alone_may_use_all_and_beside_idle_ones_nearly_all() {
        let pool = Pool::new();
        let busy = pool.join();
        assert_eq!(busy.divide(1000, 0, true), Part { limit: 1000, equal: 1000 });
        let idle: Vec<_> = (0..3).map(|_| pool.join()).collect();
        assert_eq!(busy.divide(1000, 900, true), Part { limit: 1000 - 3 * 62, equal: 250 });
        drop(idle);
        assert_eq!(busy.divide(1000, 900, true).limit, 1000);
    }

    #[test]
    fn who_has_more_than_its_part_takes_nothing_new_while_another_is_short() {
        let pool = Pool::new();
        let (early, late) = (pool.join(), pool.join());
        assert_eq!(early.divide(1000, 800, true).limit, 875);
        assert_eq!(late.divide(1000, 100, true).limit, 200, "what is left");
        assert_eq!(early.divide(1000, 800, true).limit, 500, "the other is short");
        assert_eq!(early.divide(1000, 600, true).limit, 500);
        assert_eq!(late.divide(1000, 400, true).limit, 400);
        assert_eq!(early.divide(1000, 500, true).limit, 500);
        assert_eq!(late.divide(1000, 500, true).limit, 500);
        assert_eq!(late.divide(1000, 100, false).limit, 500);
        assert_eq!(early.divide(1000, 500, true).limit, 875, "the other is no longer short");
    }

    proptest! {
        #[test]
        fn the_total_is_kept_and_who_wants_gets_its_part_in_the_end(
            members in 1..6_usize,
            total in 64..100_000_usize,
            turns in proptest::collection::vec((0..6_usize, any::<bool>(), 0..100_u32), 1..200),
        ) {
            let pool = Pool::new();
            let members: Vec<_> = (0..members).map(|_| pool.join()).collect();
            let mut used = vec![0_usize; members.len()];
            for (turn, wants, ends) in turns {
                let at = turn % members.len();
                used[at] -= used[at] * ends as usize / 100;
                let part = members[at].divide(total, used[at], wants);
                if wants {
                    used[at] = used[at].max(part.limit);
                }
                members[at].divide(total, used[at], wants);
                prop_assert!(used.iter().sum::<usize>() <= total, "{used:?} of {total}");
            }
            // all want, and what they hold ends bit by bit
            for _ in 0..60 {
                for at in 0..members.len() {
                    used[at] -= used[at] / 4;
                    let part = members[at].divide(total, used[at], true);
                    used[at] = used[at].max(part.limit);
                    members[at].divide(total, used[at], true);
                }
            }
            let equal = total / members.len();
            for used in &used {
                prop_assert!(*used >= equal / 2, "{used} of {equal}");
            }
        }
    }
}
