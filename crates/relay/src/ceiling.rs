//! How many events a second a destination is sent at most, by all lanes of this process.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

/// So many calls a second are made of what may be sent, where more waits.
const CALLS_A_SECOND: usize = 4;

/// See the module. Within any time it lets pass what that time allows and the events of one second more.
#[derive(Debug, Default)]
pub(crate) struct Ceiling {
    /// Events a second; 0 is no bound.
    per_second: u32,
    /// When all that was sent is within what may be.
    paid_at: Mutex<Option<Instant>>,
}

impl Ceiling {
    pub(crate) fn new(per_second: u32) -> Arc<Self> {
        Arc::new(Self { per_second, paid_at: Mutex::default() })
    }

    /// How many events a call may have that begins now, of `ready` that wait and `most` that it holds.
    ///
    /// # Errors
    ///
    /// None yet: when there will be room for as many as make a call worth it.
    pub(crate) fn room(&self, (ready, most): (usize, usize), now: Instant) -> Result<usize, Instant> {
        if self.per_second == 0 {
            return Ok(most);
        }
        let paid_at = self.paid_at.lock().unwrap_or(now).max(now);
        let debt = (paid_at - now).as_secs_f64() * f64::from(self.per_second);
        let room = (f64::from(self.per_second) - debt).max(0.0);
        let worth_it = (self.per_second as usize / CALLS_A_SECOND).min(ready).min(most).max(1);
        // a hair's breadth of arithmetic is no event
        let whole = (room + 1e-6) as usize;
        if whole >= worth_it {
            return Ok(whole.min(most));
        }
        let missing = worth_it as f64 - room;
        Err(now + Duration::from_secs_f64(missing / f64::from(self.per_second)).max(Duration::from_millis(1)))
    }

    /// So many events are sent now.
    pub(crate) fn sent(&self, events: usize, now: Instant) {
        if self.per_second == 0 {
            return;
        }
        let mut paid_at = self.paid_at.lock();
        let takes = Duration::from_secs_f64(events as f64 / f64::from(self.per_second));
        *paid_at = Some(paid_at.unwrap_or(now).max(now) + takes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_bound_calls_are_full() {
        let now = Instant::now();
        let ceiling = Ceiling::new(0);
        ceiling.sent(1_000_000, now);
        assert_eq!(ceiling.room((700, 500), now), Ok(500));
    }

    #[test]
    fn a_second_gives_no_more_than_its_events_beside_one_seconds_worth() {
        let began = Instant::now();
        let ceiling = Ceiling::new(100);
        let (mut now, mut sent) = (began, 0);
        while now < began + Duration::from_secs(60) {
            match ceiling.room((10_000, 500), now) {
                Ok(room) => {
                    ceiling.sent(room, now);
                    sent += room;
                    let most = 100.0 * ((now - began).as_secs_f64() + 1.0);
                    assert!(sent as f64 <= most + 1e-3, "{sent} after {:?}", now - began);
                }
                Err(at) => now = at,
            }
        }
        assert!((6_050..=6_100).contains(&sent), "{sent}");
    }

    #[test]
    fn calls_are_worth_it_and_a_single_event_below_the_bound_never_waits() {
        let now = Instant::now();
        let ceiling = Ceiling::new(100);
        ceiling.sent(100, now);
        assert_eq!(ceiling.room((1000, 500), now), Err(now + Duration::from_millis(250)));
        assert_eq!(ceiling.room((1, 500), now), Err(now + Duration::from_millis(10)));
        assert_eq!(ceiling.room((1000, 500), now + Duration::from_millis(250)), Ok(25));
        assert_eq!(ceiling.room((1, 500), now + Duration::from_secs(5)), Ok(100));
        let slow = Ceiling::new(1);
        assert_eq!(slow.room((9, 500), now), Ok(1));
        slow.sent(1, now);
        assert_eq!(slow.room((9, 500), now), Err(now + Duration::from_secs(1)));
    }
}
