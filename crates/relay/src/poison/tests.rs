use bytes::Bytes;
use moehog_journal::Entry;
use moehog_proto::{
    JournalId, Receipt,
    journal::{EntryHeader, Progress},
};
use proptest::prelude::*;

use super::*;

fn carried(sequence: u64, bytes: usize, crashed: Crashed) -> Carried {
    let entry = Entry {
        receipt: Receipt::plain(JournalId(7), sequence),
        header: EntryHeader::default(),
        body: Bytes::from(vec![b'x'; bytes]),
        progress: None,
        settled: false,
        crashed,
        decided: None,
    };
    Carried::new(entry, None)
}

struct Rig {
    queue: TransformQueue,
    entries: Slab<Carried>,
    config: Config,
    now: Instant,
}

impl Rig {
    fn new(entries: usize) -> Self {
        let config = Config::default();
        let queue = TransformQueue::new(&config);
        let mut rig = Self { queue, entries: Slab::new(), config, now: Instant::now() };
        (0..entries).for_each(|index| rig.add(index as u64 + 1, 10, Crashed::default()));
        rig
    }

    fn add(&mut self, sequence: u64, bytes: usize, crashed: Crashed) {
        let key = self.entries.insert(carried(sequence, bytes, crashed));
        self.queue.push(sequence, key, bytes);
    }

    fn take(&mut self) -> Option<Vec<u64>> {
        self.take_all().map(|taken| self.sequences(&taken))
    }

    fn take_all(&mut self) -> Option<Taken> {
        self.now = self.queue.due().unwrap_or(self.now).max(self.now);
        self.queue.take(&self.entries, &self.config, self.now)
    }

    fn sequences(&self, taken: &Taken) -> Vec<u64> {
        taken.entries.iter().map(|key| self.entries.get(*key).unwrap().sequence).collect()
    }

    fn fail(&mut self, taken: &Taken, failure: Failure) -> Failed {
        self.queue.failed(taken, failure, &mut self.entries, &self.config, (self.now, 0.5))
    }
}

const DIED: Failure = Failure::Died { is_proven: true };

#[test]
fn a_batch_that_died_is_repeated_one_webhook_at_a_time_and_the_third_death_alone_is_the_end() {
    let mut rig = Rig::new(3);
    let batch = rig.take_all().unwrap();
    assert_eq!(rig.sequences(&batch), [1, 2, 3]);
    assert_eq!(rig.fail(&batch, DIED), Failed::default(), "a death together counts against nobody");
    for death in 1..=3 {
        let alone = rig.take_all().unwrap();
        assert_eq!(rig.sequences(&alone), [1]);
        assert_eq!(rig.take(), None, "nothing else while a suspect is alone");
        let failed = rig.fail(&alone, DIED);
        assert_eq!((failed.counted.len(), failed.dead.len()), if death < 3 { (1, 0) } else { (0, 1) });
    }
    assert_eq!(rig.take(), Some(vec![2]));
}

#[test]
fn a_death_counts_only_where_it_is_proven_and_a_call_that_never_left_is_none() {
    let mut rig = Rig::new(1);
    for failure in
        [Failure::Died { is_proven: false }, Failure::NeverLeft, Failure::Died { is_proven: false }, Failure::NeverLeft]
    {
        let taken = rig.take_all().unwrap();
        assert_eq!(rig.fail(&taken, failure), Failed::default());
        assert!(rig.queue.due().unwrap() > rig.now, "it waits before it tries again");
    }
    let mut rig = Rig::new(2);
    let taken = rig.take_all().unwrap();
    rig.fail(&taken, Failure::NeverLeft);
    assert_eq!(rig.take(), Some(vec![1, 2]), "a batch that never left stays together");
}

#[test]
fn crashes_of_the_process_count_by_the_journals_word() {
    let mut rig = Rig::new(0);
    rig.add(1, 10, Crashed { alone: 0, together: 1 });
    rig.add(2, 10, Crashed { alone: 2, together: 0 });
    rig.add(3, 10, Crashed::default());
    let first = rig.take_all().unwrap();
    assert_eq!((rig.sequences(&first), first.alone.exclusive), (vec![1], true));
    rig.queue.answered(&first, 1, &rig.entries);
    let now = rig.now;
    assert_eq!(rig.take(), None, "the process lives without it first");
    let second = rig.take_all().unwrap();
    assert_eq!(rig.now, now + rig.config.crash_watch);
    assert_eq!((rig.sequences(&second), second.alone.exclusive), (vec![2], true));
    assert_eq!(rig.fail(&second, DIED).dead.len(), 1, "two crashes and a death are three");
    let third = rig.take_all().unwrap();
    assert_eq!((rig.sequences(&third), third.alone.exclusive), (vec![3], false));
    assert!(TransformQueue::crashed_too_often(
        &Trial::new(Crashed { alone: 3, together: 0 }, &Progress::default()),
        &rig.config
    ));
    assert!(!TransformQueue::crashed_too_often(
        &Trial::new(Crashed { alone: 2, together: 9 }, &Progress::default()),
        &rig.config
    ));
}

#[test]
fn what_an_answer_leaves_out_is_asked_again_and_calls_are_bounded() {
    let mut rig = Rig::new(600);
    let (first, second) = (rig.take_all().unwrap(), rig.take_all().unwrap());
    assert_eq!((first.entries.len(), second.entries.len()), (256, 256));
    assert_eq!(rig.take(), None, "two calls are under way");
    rig.queue.answered(&first, 1, &rig.entries);
    let third = rig.take_all().unwrap();
    assert_eq!((rig.sequences(&third)[0], third.entries.len()), (2, 256));
    rig.queue.answered(&second, 256, &rig.entries);
    assert_eq!(rig.take(), None, "87 are left: a call beside another is a full one");
    rig.queue.answered(&third, 256, &rig.entries);
    assert_eq!(rig.take().map(|sequences| sequences.len()), Some(87));
    let mut rig = Rig::new(1);
    rig.add(2, 5 << 20, Crashed::default());
    rig.add(3, 1, Crashed::default());
    rig.config.transform_calls = 9;
    assert_eq!([rig.take(), rig.take(), rig.take()], [Some(vec![1]), Some(vec![2]), None], "a large one alone");
}

proptest! {
    #[test]
    fn only_a_webhook_that_kills_is_blamed_and_every_other_one_is_answered(
        entries in 1..40_usize, killers in proptest::collection::btree_set(1..40_u64, 0..4), outages in any::<u32>(),
    ) {
        let mut rig = Rig::new(entries);
        let (mut answered, mut dead, mut step) = (Vec::new(), Vec::new(), 0);
        while let Some(taken) = rig.take_all() {
            step += 1;
            let sequences = rig.sequences(&taken);
            if step < 32 && outages & (1 << step) != 0 {
                let failed = rig.fail(&taken, if step % 2 == 0 { Failure::NeverLeft } else { Failure::Died { is_proven: false } });
                prop_assert_eq!(failed, Failed::default());
            } else if sequences.iter().any(|sequence| killers.contains(sequence)) {
                let failed = rig.fail(&taken, DIED);
                dead.extend(failed.dead.iter().map(|key| rig.entries.get(*key).unwrap().sequence));
            } else {
                rig.queue.answered(&taken, sequences.len(), &rig.entries);
                answered.extend(sequences);
            }
            prop_assert!(step < 1000);
        }
        answered.sort_unstable();
        dead.sort_unstable();
        let (bad, good): (Vec<u64>, Vec<u64>) = (1..=entries as u64).partition(|sequence| killers.contains(sequence));
        prop_assert_eq!((answered, dead), (good, bad));
    }
}

#[test]
fn what_a_process_died_of_in_a_watch_is_not_the_webhook() {
    let crashed = |alone| Crashed { alone, together: 0 };
    // two processes died with it, and the second of them is watched
    let mut known = Progress::default();
    let trial = Trial::new(crashed(2), &known);
    let watched = trial.to_watch(&known);
    assert_eq!((trial.counted(), watched), (2, Some((2, 0))));
    (known.crashes_watched, known.crashes_void) = watched.unwrap();
    // one that died with it after its watch
    assert_eq!(Trial::new(crashed(3), &known).counted(), 3);
    // one that died before
    let trial = Trial::new(crashed(2), &known);
    let watched = trial.to_watch(&known);
    assert_eq!((trial.counted(), watched), (0, Some((0, 2))));
    (known.crashes_watched, known.crashes_void) = watched.unwrap();
    // and one that then died with it
    let trial = Trial::new(crashed(3), &known);
    assert_eq!((trial.counted(), trial.to_watch(&known)), (1, Some((3, 2))));
}
