//! Who waits for entries of a lane that were settled and are open again.

use std::{
    collections::{BTreeSet, HashMap},
    mem,
};

use moehog_proto::Sequence;
use parking_lot::Mutex;
use tokio::sync::watch;

/// The lanes that somebody waits for, or did: only there are reopened entries kept in mind, for who begins reads all.
#[derive(Debug, Default)]
pub(crate) struct Reopened(Mutex<Lanes>);

#[derive(Debug, Default)]
struct Lanes {
    /// By source and destination: entries that were not told yet.
    untold: HashMap<String, HashMap<String, watch::Sender<BTreeSet<Sequence>>>>,
    closed: bool,
}

impl Reopened {
    /// Readers of the lane see these entries again.
    pub(crate) fn tell(&self, source: &str, destination: &str, sequences: impl IntoIterator<Item = Sequence>) {
        let lanes = self.0.lock();
        if let Some(untold) = lanes.untold.get(source).and_then(|lanes| lanes.get(destination)) {
            untold.send_modify(|untold| untold.extend(sequences));
        }
    }

    /// Waits for entries that were reopened, and takes them; none where the journal closes before.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping it.
    pub(crate) async fn wait(&self, source: &str, destination: &str) -> Option<BTreeSet<Sequence>> {
        let mut untold = {
            let mut lanes = self.0.lock();
            if lanes.closed {
                return None;
            }
            let of_source = lanes.untold.entry(source.to_string()).or_default();
            of_source.entry(destination.to_string()).or_default().subscribe()
        };
        loop {
            untold.wait_for(|untold| !untold.is_empty()).await.ok()?;
            let lanes = self.0.lock();
            let untold = lanes.untold.get(source).and_then(|lanes| lanes.get(destination))?;
            let mut taken = BTreeSet::new();
            untold.send_if_modified(|untold| {
                taken = mem::take(untold);
                false
            });
            // another may have taken them
            if !taken.is_empty() {
                return Some(taken);
            }
        }
    }

    /// Nobody waits any more.
    pub(crate) fn close(&self) {
        *self.0.lock() = Lanes { closed: true, ..Lanes::default() };
    }
}
