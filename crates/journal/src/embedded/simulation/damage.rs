//! Bytes that change behind the log's back.

use rand::Rng;

use super::history::History;

/// Least bytes of a body that can be found in a file beyond doubt.
const FINDABLE: usize = 24;

impl History {
    /// Changes a byte in the body of a webhook that waits and that later groups of its file lie behind, so that it is damage
    /// and no torn tail, whatever comes.
    pub(super) fn damage(&mut self) {
        let files = self.disk.files();
        let victims: Vec<_> =
            self.model.waiting().map(|(sequence, known)| (sequence, known.entry.body.clone())).collect();
        let findable = |body: &[u8]| body.len() >= FINDABLE && body.iter().any(|byte| *byte != 0);
        for (name, _) in files.iter().filter(|(name, _)| name.ends_with(".webhooks")) {
            let content = self.disk.content(name).expect("listed");
            let places: Vec<_> = victims
                .iter()
                .filter(|(_, body)| findable(body))
                .filter_map(|(sequence, body)| Some((*sequence, find(&content, body)?, body.len())))
                .collect();
            // Groups hold at most six, so one of the six behind it is of a later group, which tells that it was synced.
            if places.len() < 7 || self.random.random_bool(0.5) {
                continue;
            }
            let (sequence, at, length) = places[self.random.random_range(0..places.len() - 6)];
            let offset = (at + self.random.random_range(0..length)) as u64;
            self.say(|_| format!("damage {name} at {offset}, in entry {sequence}"));
            assert!(self.disk.flip(name, offset, 1 << self.random.random_range(0..8)));
            self.model.damage_done = true;
            // Found by the recovery of a file that was not sealed, or by the readers of one that was.
            return if self.random.random() { self.die() } else { self.stop() };
        }
    }
}

fn find(content: &[u8], body: &[u8]) -> Option<usize> {
    content.windows(FINDABLE).position(|window| window == &body[..FINDABLE])
}
