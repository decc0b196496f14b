//! Places of a mapping file that cost too much, named in the log: once each, since whoever sends such an event can send a million.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use crate::{Notes, Rules};

/// Most places that are remembered; no more are named then.
const MAX_PLACES: usize = 1000;

/// The places that were named, each with the revision of its mapping.
#[derive(Debug, Default)]
pub(crate) struct Named(Mutex<BTreeSet<(String, String)>>);

impl Named {
    /// Names what cost too much, where that is new.
    pub(crate) fn tell(&self, rules: &Rules, source: &str, notes: &Notes) {
        for place in notes.too_costly().keys().filter(|place| self.is_new(rules.revision(), place)) {
            tracing::warn!(
                source,
                place,
                revision = rules.revision(),
                "an event would take more steps or bytes than its mapping may: what is said there is left out"
            );
        }
    }

    fn is_new(&self, revision: &str, place: &str) -> bool {
        let mut named = self.0.lock();
        named.len() < MAX_PLACES && named.insert((revision.to_string(), place.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_once_a_mapping_and_no_memory_is_filled_with_them() {
        let named = Named::default();
        assert!(
            named.is_new("1", "rule 1, when") && named.is_new("1", "rule 2, when") && named.is_new("2", "rule 1, when")
        );
        assert!(!named.is_new("1", "rule 1, when"));
        assert_eq!((0..2 * MAX_PLACES).filter(|place| named.is_new("3", &place.to_string())).count(), MAX_PLACES - 3);
    }
}
