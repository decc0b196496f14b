//! Webhooks files that are no longer appended to.

use moehog_proto::Sequence;
use moehog_runtime::chain;

use crate::embedded::{Log, blocks::remove_if_there, webhooks};

impl Log {
    /// Seals the segment that is appended to. Called with `appender` held. False where the disk failed: maintenance tries again.
    pub(in crate::embedded) fn finish_active(&self) -> bool {
        let mut state = self.state.lock();
        let Some(first) = state.active.take() else { return true };
        let empty = state.segments.get(&first).is_some_and(|segment| segment.index.frames() == 0);
        if !empty {
            drop(state);
            return self.seal_webhooks(first);
        }
        drop(state);
        // a name whose removal is not durable comes back with a power cut, and what was written with it
        let removed = remove_if_there(&*self.disk, &webhooks::name(first)).and_then(|()| self.disk.sync_dir());
        match removed {
            Ok(()) => drop(self.state.lock().segments.remove(&first)),
            // it is sealed as what it is, empty, and no other segment gets its name
            Err(ref error) => {
                let mut state = self.state.lock();
                state.next = state.next.max(first + 1);
                drop(state);
                let segment = webhooks::name(first);
                tracing::warn!(error = %chain(error), segment, "an empty segment is sealed later");
            }
        }
        removed.is_ok()
    }

    /// Seals a webhooks file that is no longer appended to. Called with `appender` held.
    pub(in crate::embedded) fn seal_webhooks(&self, first: Sequence) -> bool {
        let state = self.state.lock();
        let Some(segment) = state.segments.get(&first) else { return true };
        let (webhooks, foot) = (segment.webhooks.clone(), segment.index.to_foot(&state.lanes));
        drop(state);
        match self.reserve.with_room(|| webhooks.seal(&foot)) {
            Ok(size) => {
                if let Some(segment) = self.state.lock().segments.get_mut(&first) {
                    (segment.webhooks.size, segment.webhooks.sealed) = (size, true);
                    segment.places = Vec::new();
                }
                true
            }
            Err(error) => {
                let segment = webhooks::name(first);
                tracing::warn!(error = %chain(&error), segment, "segment is sealed later");
                false
            }
        }
    }
}
