//! The name that was meant.

use crate::value::MAX_NAME_BYTES;

/// The name that was probably meant.
pub(super) fn like<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    if name.len() > MAX_NAME_BYTES {
        return None;
    }
    let name = name.to_lowercase();
    let likeness = |known: &&str| strsim::jaro_winkler(&name, &known.to_lowercase());
    let best = known.iter().copied().max_by(|one, other| likeness(one).total_cmp(&likeness(other)))?;
    (likeness(&best) > 0.84).then_some(best)
}
