//! Which events of an entry died, told once each.

use moehog_proto::{
    Reason,
    journal::{EventState, Progress},
};

use super::Carried;

/// How many events are dead of each reason, by its code.
pub(super) type Told = Vec<(String, u64)>;

/// What is told already of an entry that is taken up.
pub(super) fn told(progress: &Progress) -> Told {
    let mut told = Told::new();
    for event in progress.events.iter().filter(|event| event.state() == EventState::Dead) {
        add(&mut told, &event.reason);
    }
    told
}

fn add(told: &mut Told, code: &str) -> u64 {
    match told.iter_mut().find(|(known, _)| known == code) {
        Some((_, count)) => {
            *count += 1;
            *count
        }
        None => {
            told.push((code.to_string(), 1));
            1
        }
    }
}

impl Carried {
    /// The reasons of which events died since the last call, the first event's words, and how many.
    pub(crate) fn deaths(&mut self) -> Vec<(Reason, u64)> {
        let (mut now, mut died) = (Told::new(), Vec::<(Reason, u64)>::new());
        for event in self.progress.events.iter().filter(|event| event.state() == EventState::Dead) {
            let count = add(&mut now, &event.reason);
            let before = self.told.iter().find(|(code, _)| *code == event.reason).map_or(0, |(_, count)| *count);
            if count <= before {
                continue;
            }
            match died.iter_mut().find(|(reason, _)| reason.code == event.reason) {
                Some((_, count)) => *count += 1,
                None => died.push((event.why(), 1)),
            }
        }
        if !died.is_empty() {
            self.told = now;
        }
        died
    }
}
