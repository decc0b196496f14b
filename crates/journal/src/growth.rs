//! Who waits for a lane to grow. An entry wakes its own lane and no other, so that a lane without work costs nothing.

use std::collections::HashMap;

use moehog_proto::Sequence;
use parking_lot::Mutex;
use tokio::sync::watch;

/// The lanes that somebody waits for, or did.
#[derive(Debug, Default)]
pub(crate) struct Growths(Mutex<Lanes>);

#[derive(Debug, Default)]
struct Lanes {
    /// By source and destination: the highest sequence that was told.
    told: HashMap<String, HashMap<String, watch::Sender<Sequence>>>,
    closed: bool,
}

impl Growths {
    /// Readers of the lane can see its entry at `sequence`.
    pub(crate) fn tell(&self, source: &str, destination: &str, sequence: Sequence) {
        let lanes = self.0.lock();
        if let Some(told) = lanes.told.get(source).and_then(|told| told.get(destination)) {
            told.send_if_modified(|highest| {
                let is_more = sequence > *highest;
                *highest = sequence.max(*highest);
                is_more
            });
        }
    }

    /// Waits until the lane may have an entry above `seen`, and gives the highest sequence that it may have one at; none where the
    /// journal closes before. Who waits for a lane first is told what `durable` says of the whole journal.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping it.
    pub(crate) async fn wait(
        &self,
        (source, destination): (&str, &str),
        seen: Sequence,
        durable: impl FnOnce() -> Sequence,
    ) -> Option<Sequence> {
        let (mut told, is_first) = {
            let mut lanes = self.0.lock();
            if lanes.closed {
                return None;
            }
            let of_source = lanes.told.entry(source.to_string()).or_default();
            let is_first = !of_source.contains_key(destination);
            (of_source.entry(destination.to_string()).or_default().subscribe(), is_first)
        };
        if is_first {
            // what becomes durable from here on is told
            self.tell(source, destination, durable());
        }
        told.wait_for(|highest| *highest > seen).await.ok().map(|highest| *highest)
    }

    /// Nobody waits any more.
    pub(crate) fn close(&self) {
        *self.0.lock() = Lanes { closed: true, ..Lanes::default() };
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn an_entry_wakes_its_own_lane_and_a_close_wakes_all() {
        let growths = Growths::default();
        let [first, second] = ["d", "e"].map(|destination| ("s", destination));
        assert_eq!(growths.wait(first, 6, || 7).await, Some(7), "it may be of this lane");
        let mut one = pin!(growths.wait(first, 7, || unreachable!("somebody has waited for it")));
        let mut other = pin!(growths.wait(second, 7, || 7));
        assert!(one.as_mut().now_or_never().is_none() && other.as_mut().now_or_never().is_none());
        growths.tell("s", "e", 8);
        assert_eq!((one.as_mut().now_or_never(), other.as_mut().now_or_never()), (None, Some(Some(8))));
        growths.tell("s", "d", 9);
        growths.tell("s", "d", 8);
        assert_eq!(one.as_mut().now_or_never(), Some(Some(9)));
        let mut waits = pin!(growths.wait(first, 9, || unreachable!("somebody has waited for it")));
        assert!(waits.as_mut().now_or_never().is_none());
        growths.close();
        assert_eq!(waits.await, None);
        assert_eq!(growths.wait(first, 0, || 9).await, None, "it is closed");
    }
}
