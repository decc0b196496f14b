//! The oracle: the sender's book against PostHog's.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use anyhow::ensure;
use moehog_emulator::posthog::Running;

/// A refusal this long before a kill binds the process that gave it.
const BINDING: Duration = Duration::from_secs(2);

/// One webhook as its sender saw it.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The persons its events are about, each in no other webhook and in one event of it.
    pub persons: Vec<String>,
    /// Those of them whose event nobody can deliver.
    pub bad: Vec<String>,
    /// The status that came back; none where no answer came.
    pub status: Option<u16>,
    /// The receipt of a 200.
    pub receipt: Option<String>,
    /// When the request began.
    pub begun: Instant,
    /// When the answer came, or the connection ended.
    pub ended: Instant,
}

/// What became of what was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Events of webhooks that were answered 200.
    pub taken: usize,
    /// Taken and not at PostHog; of a bad event, its webhook has no dead letter. A promise broken.
    pub lost: Vec<String>,
    /// Receipts with a dead letter, of webhooks without a bad event. A promise broken.
    pub buried: Vec<String>,
    /// Bad, and at PostHog all the same: the test is wrong.
    pub healed: Vec<String>,
    /// More than one by PostHog's own key. A promise broken.
    pub doubled: Vec<String>,
    /// At PostHog though refused by a process that lived on. A promise broken.
    pub ghosts: Vec<String>,
    /// At PostHog and never sent. A promise broken.
    pub invented: Vec<String>,
    /// Not taken, and at PostHog: no answer came, or its process was killed too soon to be bound by it.
    pub undecided: usize,
}

impl Judgement {
    /// Every promise was kept, and something was taken at all.
    ///
    /// # Errors
    ///
    /// Names the first broken promise.
    pub fn keep(&self) -> anyhow::Result<()> {
        ensure!(self.lost.is_empty(), "{} of {} lost, the first {}", self.lost.len(), self.taken, self.lost[0]);
        ensure!(self.buried.is_empty(), "{} dead without a reason, the first {}", self.buried.len(), self.buried[0]);
        ensure!(self.healed.is_empty(), "{} bad and delivered, the first {}", self.healed.len(), self.healed[0]);
        ensure!(self.doubled.is_empty(), "{} doubled, the first {}", self.doubled.len(), self.doubled[0]);
        ensure!(self.ghosts.is_empty(), "{} refused and delivered, the first {}", self.ghosts.len(), self.ghosts[0]);
        ensure!(self.invented.is_empty(), "{} invented, the first {}", self.invented.len(), self.invented[0]);
        ensure!(self.taken > 0, "nothing was taken: the test shows nothing");
        Ok(())
    }
}

/// How many events PostHog has of each person, by its own key.
#[must_use]
pub fn by_person(posthog: &Running) -> HashMap<String, usize> {
    let mut persons = HashMap::new();
    for event in posthog.books().events() {
        *persons.entry(event.distinct_id.clone()).or_default() += 1;
    }
    persons
}

/// Receipts that were given out more than once.
#[must_use]
pub fn repeated_receipts<'a>(sent: impl IntoIterator<Item = &'a Sent>) -> Vec<&'a str> {
    let mut known = HashSet::new();
    sent.into_iter().filter_map(|sent| sent.receipt.as_deref()).filter(|receipt| !known.insert(*receipt)).collect()
}

/// UUIDs that more than one event at PostHog has: two different events, or one under two of PostHog's keys.
#[must_use]
pub fn shared_uuids(posthog: &Running) -> Vec<String> {
    let mut known = HashSet::new();
    let events = posthog.books().events();
    events.iter().filter(|event| !known.insert(event.uuid)).map(|event| event.uuid.to_string()).collect()
}

/// Judges `sent` by how many events PostHog has of each person (`stored`, by its own key), the `receipts` with a dead letter, and when
/// the process that answers was killed.
#[must_use]
pub fn judge(
    sent: &[Sent],
    stored: &HashMap<String, usize>,
    receipts: &HashSet<String>,
    kills: &[Instant],
) -> Judgement {
    let mut judgement = Judgement::default();
    let mut known = HashSet::new();
    for webhook in sent {
        let taken = webhook.status == Some(200);
        let bound = webhook.status.is_some()
            && !kills.iter().any(|kill| *kill >= webhook.begun && *kill < webhook.ended + BINDING);
        let dead = webhook.receipt.as_ref().is_some_and(|receipt| receipts.contains(receipt));
        if dead && webhook.bad.is_empty() {
            judgement.buried.extend(webhook.receipt.clone());
        }
        for person in &webhook.persons {
            known.insert(person);
            let bad = webhook.bad.contains(person);
            let count = stored.get(person).copied().unwrap_or(0);
            judgement.taken += usize::from(taken);
            match count {
                0 if taken && !(bad && dead) => judgement.lost.push(person.clone()),
                0 => {}
                _ if bad => judgement.healed.push(person.clone()),
                1 if taken => {}
                1 if bound => judgement.ghosts.push(person.clone()),
                1 => judgement.undecided += 1,
                _ => judgement.doubled.push(person.clone()),
            }
        }
    }
    judgement.invented = stored.keys().filter(|person| !known.contains(person)).cloned().collect();
    judgement
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(person: &str, status: Option<u16>, at: Instant) -> Sent {
        Sent {
            persons: vec![person.to_string()],
            bad: person.contains("bad").then(|| person.to_string()).into_iter().collect(),
            status,
            receipt: (status == Some(200)).then(|| format!("receipt of {person}")),
            begun: at,
            ended: at,
        }
    }

    #[test]
    fn every_broken_promise_is_named() {
        let start = Instant::now();
        let kill = start + Duration::from_secs(10);
        let book = [
            sent("there", Some(200), start),
            sent("gone", Some(200), start),
            sent("buried", Some(200), start),
            sent("bad and dead", Some(200), start),
            sent("bad and gone", Some(200), start),
            sent("bad and there", Some(200), start),
            sent("twice", Some(200), start),
            sent("ghost", Some(503), start),
            sent("refused", Some(503), start),
            sent("killed", Some(503), kill - Duration::from_secs(1)),
            sent("silent", None, start),
        ];
        let stored = [
            ("there", 1),
            ("twice", 2),
            ("ghost", 1),
            ("killed", 1),
            ("silent", 1),
            ("stranger", 1),
            ("bad and there", 1),
        ];
        let dead = ["receipt of buried", "receipt of bad and dead"].map(str::to_string).into();
        let stored = stored.map(|(person, count)| (person.to_string(), count)).into();
        let judgement = judge(&book, &stored, &dead, &[kill]);
        let expected = Judgement {
            taken: 7,
            lost: ["gone", "buried", "bad and gone"].map(str::to_string).into(),
            buried: vec!["receipt of buried".to_string()],
            healed: vec!["bad and there".to_string()],
            doubled: vec!["twice".to_string()],
            ghosts: vec!["ghost".to_string()],
            invented: vec!["stranger".to_string()],
            undecided: 2,
        };
        assert_eq!(judgement, expected);
        assert!(judgement.keep().is_err());
    }

    #[test]
    fn a_receipt_given_out_twice_is_named() {
        let start = Instant::now();
        let book = ["one", "two", "one"].map(|person| sent(person, Some(200), start));
        assert_eq!(repeated_receipts(&book), ["receipt of one"]);
        assert_eq!(repeated_receipts(&book[..2]), [""; 0]);
    }

    #[test]
    fn nothing_taken_shows_nothing() {
        assert!(judge(&[], &HashMap::new(), &HashSet::new(), &[]).keep().is_err());
    }
}
