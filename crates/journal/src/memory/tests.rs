use std::{num::NonZeroUsize, time::Duration};

use bytes::Bytes;
use moehog_proto::journal::EntryHeader;

use super::*;
use crate::{ReadLimit, Record, RecordError};

fn webhook(body: &str) -> NewEntry {
    let header = EntryHeader { source: "s".into(), destination: "d".into(), ..EntryHeader::default() };
    NewEntry { header, body: Bytes::copy_from_slice(body.as_bytes()) }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(1)
}

async fn bodies(journal: &Memory) -> Vec<Bytes> {
    let claim = journal.claim("s").await.unwrap();
    let limit = ReadLimit { max_entries: NonZeroUsize::MAX, max_bytes: usize::MAX };
    claim.read("d", 0, limit).await.unwrap().entries.into_iter().map(|entry| entry.body).collect()
}

#[tokio::test(start_paused = true)]
async fn an_append_that_hangs_past_its_deadline_never_shows() {
    let journal = Memory::new();
    journal.set_appends(Appends::Hang);
    assert!(matches!(journal.append(webhook("late"), soon()).await, Err(AppendError::Deadline)));
    journal.set_appends(Appends::Work);
    assert_eq!(bodies(&journal).await, Vec::<Bytes>::new());
    assert_eq!(journal.stats().cancelled, 1);
    assert_eq!(journal.stats().ledger.book.taken, 0);
}

#[tokio::test(start_paused = true)]
async fn an_append_that_hangs_is_taken_when_the_disk_answers_in_time_even_for_a_sender_that_hung_up() {
    let journal = Memory::new();
    journal.set_appends(Appends::Hang);
    let hung_up = tokio::time::timeout(Duration::from_millis(10), journal.append(webhook("gone"), soon())).await;
    assert!(hung_up.is_err());
    let (receipt, ()) = tokio::join!(journal.append(webhook("waits"), soon()), async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        journal.set_appends(Appends::Work);
    });
    assert_eq!(receipt.unwrap().sequence, 2);
    assert_eq!(bodies(&journal).await, ["gone", "waits"]);
}

#[tokio::test]
async fn what_fails_on_demand_stores_nothing_and_works_again() {
    let journal = Memory::new();
    journal.set_appends(Appends::Fail);
    assert!(matches!(journal.append(webhook("a"), soon()).await, Err(AppendError::Write { .. })));
    journal.set_appends(Appends::Full);
    assert!(matches!(journal.append(webhook("b"), soon()).await, Err(AppendError::Full { .. })));
    journal.set_appends(Appends::Work);
    let receipt = journal.append(webhook("c"), soon()).await.unwrap();

    let claim = journal.claim("s").await.unwrap();
    let record = Record { sequence: receipt.sequence, progress: Default::default(), settled: true };
    journal.set_records_fail(true);
    assert!(matches!(claim.record(vec![record.clone()]).await, Err(RecordError::Write { .. })));
    assert_eq!(journal.stats().ledger.waiting, 1);
    journal.set_records_fail(false);
    claim.record(vec![record]).await.unwrap();
    assert_eq!(journal.stats().ledger.waiting, 0);
}

#[tokio::test]
async fn settled_webhooks_give_way_and_unsettled_ones_do_not() {
    let size = webhook("0123456789");
    let budget = 3 * (prost::Message::encoded_len(&size.header) + 10) as u64;
    let journal = Memory::with_budget(budget);
    for _ in 0..3 {
        journal.append(size.clone(), soon()).await.unwrap();
    }
    assert!(matches!(journal.append(size.clone(), soon()).await, Err(AppendError::Full { .. })));
    let claim = journal.claim("s").await.unwrap();
    claim.record(vec![Record { sequence: 2, progress: Default::default(), settled: true }]).await.unwrap();
    assert_eq!(journal.append(size, soon()).await.unwrap().sequence, 4);
    let kept = |sequence| journal.get(journal.receipt_of(sequence));
    assert!(kept(1).await.unwrap().is_some());
    assert!(kept(2).await.unwrap().is_none());
    assert_eq!(journal.recount().await.unwrap(), journal.stats().ledger);
    assert_eq!(journal.stats().ledger.book.taken, 4);
}

#[tokio::test]
async fn a_receipt_of_another_life_is_told() {
    let journal = Memory::new();
    let receipt = journal.append(webhook("a"), soon()).await.unwrap();
    let other = Receipt::plain(journal.id(), receipt.sequence);
    assert!(matches!(journal.get(other).await, Err(ReadError::OtherLife { receipt }) if receipt == other));
    assert!(matches!(journal.watch(other).await, Err(ReadError::OtherLife { receipt }) if receipt == other));
}

mod conformance {
    use async_trait::async_trait;

    use super::*;
    use crate::conformance::{Store, conformance};

    /// The memory of a machine whose processes die and whose power never fails.
    #[derive(Default)]
    struct Machine(Option<Arc<Memory>>);

    #[async_trait]
    impl Store for Machine {
        async fn open(&mut self) -> Arc<dyn Journal> {
            let next = self.0.as_ref().map_or_else(Memory::new, |last| last.restart());
            self.0.insert(Arc::new(next)).clone()
        }

        async fn kill(&mut self) {}

        async fn cut_power(&mut self) {}

        fn stall(&mut self) {
            self.0.as_ref().unwrap().set_appends(Appends::Hang);
        }

        fn resume(&mut self) {
            self.0.as_ref().unwrap().set_appends(Appends::Work);
        }
    }

    conformance!(Machine::default());
}
