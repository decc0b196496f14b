//! What happens often, and is said seldom.

use std::{mem, time::Duration};

use tokio::time::Instant;

/// Time between two lines.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Counts what would fill the log if it were said each time. At most once a minute it is time for a line, which says how
/// much there was since the last one.
///
/// Metrics count each time; this is for the log alone.
#[derive(Debug, Default)]
pub struct OncePerMinute {
    unsaid: u64,
    said_at: Option<Instant>,
}

impl OncePerMinute {
    /// Counts so many more.
    pub fn add(&mut self, more: u64) {
        self.unsaid += more;
    }

    /// Counts one more, and says as [`OncePerMinute::take_due`] what there was.
    pub fn count(&mut self, now: Instant) -> Option<u64> {
        self.add(1);
        self.take_due(now)
    }

    /// All that were counted since the last line, where it is time for the next. None while that is not a minute old, or
    /// where there is nothing to say.
    pub fn take_due(&mut self, now: Instant) -> Option<u64> {
        let is_due = self.said_at.is_none_or(|said_at| now.duration_since(said_at) >= SAID_EVERY);
        if self.unsaid == 0 || !is_due {
            return None;
        }
        self.said_at = Some(now);
        self.take_rest()
    }

    /// All that were counted since the last line, due or not: for the end of a process. None where there is nothing to say.
    pub fn take_rest(&mut self) -> Option<u64> {
        Some(mem::take(&mut self.unsaid)).filter(|unsaid| *unsaid > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_at_once_and_the_next_line_counts_all_of_the_minute() {
        let (mut refused, began) = (OncePerMinute::default(), Instant::now());
        let mut add = |seconds| refused.count(began + Duration::from_secs(seconds));
        assert_eq!(add(0), Some(1));
        assert!((1..60).all(|second| add(second).is_none()));
        assert_eq!(add(60), Some(60));
        assert_eq!(add(61), None);
    }

    #[test]
    fn what_came_within_the_minute_is_said_after_it_though_no_more_comes() {
        let (mut dropped, began) = (OncePerMinute::default(), Instant::now());
        assert_eq!(dropped.take_due(began), None, "there is nothing to say");
        dropped.add(3);
        assert_eq!(dropped.take_due(began), Some(3));
        dropped.add(40);
        assert_eq!(dropped.take_due(began + Duration::from_secs(59)), None);
        assert_eq!(dropped.take_due(began + Duration::from_secs(60)), Some(40));
        assert_eq!(dropped.take_due(began + Duration::from_secs(600)), None);
        dropped.add(2);
        assert_eq!((dropped.take_rest(), dropped.take_rest()), (Some(2), None), "whenever the line before was");
    }
}
