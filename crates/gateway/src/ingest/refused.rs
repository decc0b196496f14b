//! Bodies that were refused a moment ago: the same one again is told so at once and not stored again.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use moehog_proto::{Receipt, journal::EntryHeader};
use parking_lot::Mutex;
use ring::digest::{Context, SHA256};
use tokio::time::Instant;

use super::fault::BodyFault;

/// How long a refusal is repeated. Then the body is stored and mapped anew, since the mapping may have changed.
const FOR: Duration = Duration::from_secs(60);
/// Most bodies that are remembered; the oldest is forgotten first.
const MOST: usize = 1024;

/// Names a body of a source. No two bodies have one: a webhook that was not refused is never taken for one that was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(header: &EntryHeader, body: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        let EntryHeader { source, destination, method, query, .. } = header;
        let of_request = [source, destination, method, query].into_iter().map(String::as_bytes);
        let headers = header.headers.iter().flat_map(|header| [header.name.as_bytes(), header.value.as_bytes()]);
        for part in of_request.chain(headers).chain([body]) {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Self(digest)
    }
}

/// A body that was refused.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    /// Its dead letter.
    pub(super) receipt: Receipt,
    pub(super) fault: Arc<BodyFault>,
    /// How often it came since.
    pub(super) times: u64,
}

/// The bodies refused in the last [`FOR`].
#[derive(Debug, Default)]
pub(super) struct RefusedBodies {
    count: AtomicUsize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    bodies: HashMap<Digest, Refused>,
    oldest_first: VecDeque<(Instant, Digest)>,
}

impl RefusedBodies {
    /// Nothing was refused lately, so that no body need be looked up.
    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// The refusal of a body that came before, which counts this time.
    pub(super) fn again(&self, digest: Digest) -> Option<Refused> {
        let mut table = self.table.lock();
        self.forget(&mut table, MOST);
        let refused = table.bodies.get_mut(&digest)?;
        refused.times += 1;
        Some(refused.clone())
    }

    /// Remembers a body that was refused.
    pub(super) fn add(&self, digest: Digest, receipt: Receipt, fault: Arc<BodyFault>) -> Refused {
        let table = &mut *self.table.lock();
        self.forget(table, MOST - 1);
        let refused = Refused { receipt, fault, times: 1 };
        // of two at once the first counts: both are stored
        if let Entry::Vacant(vacant) = table.bodies.entry(digest) {
            vacant.insert(refused.clone());
            table.oldest_first.push_back((Instant::now(), digest));
            self.count.store(table.bodies.len(), Ordering::Release);
        }
        refused
    }

    /// Forgets those whose time is over, and the oldest beyond `most`.
    fn forget(&self, table: &mut Table, most: usize) {
        while let Some((since, digest)) = table.oldest_first.front()
            && (since.elapsed() >= FOR || table.bodies.len() > most)
        {
            table.bodies.remove(digest);
            table.oldest_first.pop_front();
        }
        self.count.store(table.bodies.len(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use moehog_proto::{JournalId, event::Header, journal::Progress};

    use super::*;

    #[test]
    fn two_requests_of_which_anything_differs_are_two_bodies() {
        let header = |name: &str, value: &str| vec![Header { name: name.into(), value: value.into() }];
        let of = |change: &dyn Fn(&mut EntryHeader)| {
            let mut header = EntryHeader { method: "GET".into(), query: "a=1".into(), ..EntryHeader::default() };
            change(&mut header);
            Digest::of(&header, b"")
        };
        assert_eq!(of(&|_| {}), of(&|it| it.received_at_ms = 7), "when it came is no part of it");
        let all = [
            of(&|_| {}),
            of(&|it| it.query = "a=2".into()),
            of(&|it| it.method.clear()),
            of(&|it| it.headers = header("x-a", "b")),
            of(&|it| it.headers = header("x-a", "c")),
            of(&|it| it.headers = header("x-", "ab")),
        ];
        assert!(all.iter().enumerate().all(|(at, one)| !all[..at].contains(one)));
    }

    fn digest(source: &str, destination: &str, body: &str) -> Digest {
        let header = EntryHeader { source: source.into(), destination: destination.into(), ..EntryHeader::default() };
        Digest::of(&header, body.as_bytes())
    }

    fn receipt(sequence: u64) -> Receipt {
        Receipt::plain(JournalId(1), sequence)
    }

    fn fault() -> Arc<BodyFault> {
        let event =
            moehog_proto::journal::EventOutcome { state: 6, reason: "missing_event".into(), ..Default::default() };
        BodyFault::of(&Progress { events: vec![event], ..Progress::default() }).unwrap().into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_repeated_and_counted_for_a_minute() {
        let refused = RefusedBodies::default();
        assert!(refused.is_empty() && refused.again(digest("s", "d", "x")).is_none());
        refused.add(digest("s", "d", "x"), receipt(1), fault());
        refused.add(digest("s", "d", "x"), receipt(2), fault());
        for times in 2..5 {
            let again = refused.again(digest("s", "d", "x")).unwrap();
            assert_eq!((again.receipt, again.times), (receipt(1), times));
        }
        tokio::time::advance(FOR - Duration::from_millis(1)).await;
        assert!(refused.again(digest("s", "d", "x")).is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(refused.again(digest("s", "d", "x")).is_none());
        assert!(refused.is_empty());
    }

    #[test]
    fn another_body_source_or_destination_is_another() {
        let same = digest("s", "d", "x");
        for other in [digest("s", "d", "x "), digest("t", "d", "x"), digest("s", "e", "x"), digest("sd", "", "x")] {
            assert_ne!(other, same);
        }
        assert_ne!(digest("s", "dx", ""), digest("s", "d", "x"));
        assert_eq!(digest("s", "d", "x"), same);
    }

    #[test]
    fn so_many_are_remembered_and_the_oldest_forgotten_first() {
        let refused = RefusedBodies::default();
        for number in 0..=MOST as u64 {
            refused.add(digest("s", "d", &number.to_string()), receipt(number), fault());
        }
        assert!(refused.again(digest("s", "d", "0")).is_none());
        for number in [1, 2, MOST as u64] {
            assert_eq!(refused.again(digest("s", "d", &number.to_string())).unwrap().receipt, receipt(number));
        }
        assert_eq!(refused.table.lock().oldest_first.len(), MOST);
    }
}
