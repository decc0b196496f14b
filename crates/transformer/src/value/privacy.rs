//! What must not leave, and what may leave only as a hash.

use std::collections::BTreeSet;

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Properties that are left out or hashed, by their names. The names are those that PostHog would see; a user's attribute is
/// known by its name without `user_` too.
#[derive(Debug, Clone, Default)]
pub(crate) struct Privacy {
    pub(crate) drop: BTreeSet<String>,
    pub(crate) hash: BTreeSet<String>,
}

/// What becomes of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Kept,
    Dropped,
    Hashed,
}

impl Privacy {
    pub(crate) fn is_empty(&self) -> bool {
        self.drop.is_empty() && self.hash.is_empty()
    }

    pub(crate) fn fate(&self, name: &str) -> Fate {
        if self.drop.contains(name) {
            Fate::Dropped
        } else if self.hash.contains(name) {
            Fate::Hashed
        } else {
            Fate::Kept
        }
    }
}

/// HMAC-SHA-256 of a text, as 64 hexadecimal digits: the same person stays the same, and nobody without the key can try names.
pub(crate) fn keyed_hash(key: &[u8], text: &str) -> String {
    // a key of any length is taken
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_hmac_sha256() {
        // RFC 4231, test case 2
        assert_eq!(
            keyed_hash(b"Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
