//! Histories of the whole journal, threads and all, on a disk that hangs: what is said in time is true later.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use moehog_proto::{Sequence, journal::Progress};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::Instant;

use crate::{
    AppendError, Claim, Entry, Journal, ReadLimit, Record,
    disk::simulated::{Call, Death, SimulatedDisk},
    embedded::{Config, Embedded},
};

use super::draw;

const ALL: ReadLimit = ReadLimit { max_entries: NonZeroUsize::MAX, max_bytes: usize::MAX };
const ROUNDS: usize = 6;
const SENDERS: usize = 12;
const SEGMENT: u64 = 24 * 1024;

/// What became of one append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Taken(Sequence),
    Refused,
}

/// All appends so far, by the number in their header.
#[derive(Default)]
struct Books {
    answers: BTreeMap<usize, Answer>,
    settled: BTreeSet<usize>,
    next: usize,
}

fn number(entry: &Entry) -> usize {
    entry.header.idempotency_key.parse().expect("a header that no sender wrote")
}

async fn read(journal: &Arc<dyn Journal>) -> Vec<(Arc<dyn Claim>, Vec<Entry>)> {
    let mut lanes = Vec::new();
    for source in draw::lanes().map(|(source, _)| source).collect::<BTreeSet<_>>() {
        let claim = journal.claim(source).await.expect("free");
        let mut entries = Vec::new();
        for destination in draw::lanes().filter(|lane| lane.0 == source).map(|lane| lane.1) {
            entries.extend(claim.read(destination, 0, ALL).await.expect("readable").entries);
        }
        lanes.push((claim, entries));
    }
    lanes
}

/// Sends from several tasks at once while the disk hangs now and then; returns each answer.
async fn send(journal: &Arc<dyn Journal>, disk: &SimulatedDisk, random: &mut StdRng, books: &mut Books) {
    disk.hang(Call::SyncData);
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let webhooks: Vec<_> = (0..16)
                .map(|_| {
                    books.next += 1;
                    (books.next, draw::webhook(random, books.next, 3, SEGMENT, 1_700_000_000_000))
                })
                .collect();
            let patience = Duration::from_millis(random.random_range(2..40));
            let journal = journal.clone();
            tokio::spawn(async move {
                let mut answers = Vec::new();
                for (number, webhook) in webhooks {
                    let (began, deadline) = (Instant::now(), Instant::now() + patience);
                    let answer = match journal.append(webhook, deadline).await {
                        Ok(receipt) => Answer::Taken(receipt.sequence),
                        Err(AppendError::Deadline) => {
                            assert!(began.elapsed() < patience + Duration::from_secs(2), "answered late");
                            Answer::Refused
                        }
                        Err(other) => panic!("a disk that only hangs: {other:?}"),
                    };
                    answers.push((number, answer));
                }
                answers
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(30)).await;
    while !senders.iter().all(tokio::task::JoinHandle::is_finished) {
        disk.hang([Call::SyncData, Call::Write][random.random_range(0..2)]);
        tokio::time::sleep(Duration::from_millis(random.random_range(0..60))).await;
        disk.release();
        tokio::time::sleep(Duration::from_millis(random.random_range(0..4))).await;
    }
    for sender in senders {
        books.answers.extend(sender.await.expect("a sender that holds"));
    }
}

/// While the process lives, what was refused is not read and what was taken is, once, until it is settled.
async fn check_alive(journal: &Arc<dyn Journal>, books: &Books, maybe: &BTreeSet<usize>) {
    let mut seen = BTreeSet::new();
    for (_, entries) in read(journal).await {
        assert!(entries.iter().all(|entry| seen.insert(number(entry))), "read twice");
    }
    let taken = |number: &usize| match books.answers[number] {
        Answer::Taken(_) => !books.settled.contains(number),
        Answer::Refused => maybe.contains(number),
    };
    let expected: BTreeSet<_> = books.answers.keys().copied().filter(taken).collect();
    assert_eq!(seen, expected);
    let ledger = journal.stats().ledger;
    assert_eq!(journal.recount().await.expect("readable"), ledger);
    assert_eq!(ledger.waiting, expected.len() as u64);
}

async fn settle_some(journal: &Arc<dyn Journal>, random: &mut StdRng, books: &mut Books, maybe: &mut BTreeSet<usize>) {
    for (claim, entries) in read(journal).await {
        let chosen: Vec<_> = entries.iter().filter(|_| random.random_bool(0.6)).collect();
        let record =
            |entry: &&Entry| Record { sequence: entry.sequence(), progress: Progress::default().into(), settled: true };
        claim.record(chosen.iter().map(record).collect()).await.expect("stored");
        for number in chosen.into_iter().map(number) {
            maybe.remove(&number);
            books.settled.insert(number);
        }
    }
}

async fn history(seed: u64) -> (usize, usize) {
    let mut random = StdRng::seed_from_u64(seed);
    let disk = SimulatedDisk::new(seed);
    let config = Config { segment_bytes: SEGMENT, budget_bytes: 4000 * SEGMENT, ..Config::default() };
    let (mut books, mut maybe) = (Books::default(), BTreeSet::new());
    for _ in 0..ROUNDS {
        let opened = Embedded::open(Arc::new(disk.clone()), config.clone()).expect("opens");
        let journal: Arc<dyn Journal> = Arc::new(opened);
        // Refused ones that came back are taken from now on; none that was settled is read again.
        for entry in read(&journal).await.iter().flat_map(|(_, entries)| entries) {
            let number = number(entry);
            match books.answers[&number] {
                Answer::Taken(sequence) => assert_eq!(sequence, entry.sequence()),
                Answer::Refused => drop(maybe.insert(number)),
            }
            assert!(!books.settled.contains(&number), "{number} was settled and is read again after a kill");
        }
        check_alive(&journal, &books, &maybe).await;
        send(&journal, &disk, &mut random, &mut books).await;
        check_alive(&journal, &books, &maybe).await;
        settle_some(&journal, &mut random, &mut books, &mut maybe).await;
        check_alive(&journal, &books, &maybe).await;
        if random.random() {
            disk.reboot(Death::Kill);
        } else {
            journal.close().await;
        }
    }
    let refused = books.answers.values().filter(|answer| **answer == Answer::Refused).count();
    (books.answers.len() - refused, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_are_told_the_truth_by_a_journal_whose_disk_hangs() {
    let (mut taken, mut refused) = (0, 0);
    for seed in 0..4 {
        println!("seed {seed}");
        let told = tokio::time::timeout(Duration::from_secs(60), history(seed)).await.expect("the journal hangs");
        (taken, refused) = (taken + told.0, refused + told.1);
    }
    println!("{taken} taken, {refused} refused");
    assert!(taken > 100 && refused > 100, "the disk did not hang, or always did");
}
