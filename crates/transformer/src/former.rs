//! Mappings of before: what it takes to map once more as this transformer did, or another.
//!
//! A text of such a mapping goes with an answer to who keeps it, and comes back with webhooks of which events may have been sent
//! already. The key that values are hashed with is no part of it: a mapping that hashes can be had only while that is the same.

use std::sync::{Arc, OnceLock};

use hmac::{Hmac, Mac};
use moehog_proto::transformer::Mapping;
use moehog_runtime::OncePerMinute;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tokio::time::Instant;

use crate::rules::{MAX_FILE_BYTES, Rules};

/// Mappings of before that are kept ready.
const MOST: usize = 4;

/// What stands in the text of a mapping.
#[derive(Debug, Serialize, Deserialize)]
struct Text {
    /// The mapping file; empty where there is none.
    file: String,
    keep_push_tokens: bool,
    /// Tells one key that values are hashed with from another; none where there is none.
    hash_key: Option<String>,
}

/// The mapping that these rules are, for who keeps it.
pub(crate) fn mapping(rules: &Rules) -> Mapping {
    let text = Text {
        file: rules.text().to_string(),
        keep_push_tokens: rules.keep_push_tokens,
        hash_key: rules.secret().map(fingerprint),
    };
    let text = serde_json::to_vec(&text).unwrap_or_default();
    Mapping { revision: rules.revision().to_string(), text: text.into() }
}

/// Largest text of a mapping, in bytes: that of the largest file, every character of which is escaped.
const MAX_TEXT_BYTES: usize = MAX_FILE_BYTES * 6 + 1024;

/// Rules of before; none where they cannot be had. Who wants the same ones waits while they are read, and nobody else.
type Read = Arc<OnceLock<Option<Arc<Rules>>>>;

/// The last mappings of before that were asked for.
#[derive(Debug, Default)]
pub(crate) struct Former {
    known: Mutex<Vec<(String, Read)>>,
    /// Such as could not be had.
    missed: Mutex<OncePerMinute>,
}

impl Former {
    /// The rules of `wanted`, with the key of those of `now`.
    pub(crate) fn rules(&self, wanted: &Mapping, now: &Rules) -> Option<Arc<Rules>> {
        let read = || read(wanted, now).inspect_err(|why| self.tell(wanted, now, why)).ok();
        self.place(&wanted.revision).get_or_init(read).clone()
    }

    fn tell(&self, wanted: &Mapping, now: &Rules, why: &str) {
        let mut missed = self.missed.lock();
        if let Some(mappings) = missed.count(Instant::now()) {
            tracing::warn!(
                revision = wanted.revision,
                now = now.revision(),
                why,
                mappings,
                "events that may have been sent are mapped by another mapping than before"
            );
        }
    }

    fn place(&self, revision: &str) -> Read {
        let mut known = self.known.lock();
        if let Some((_, read)) = known.iter().find(|(known, _)| known == revision) {
            return read.clone();
        }
        if known.len() == MOST {
            known.remove(0);
        }
        let read = Read::default();
        known.push((revision.to_string(), read.clone()));
        read
    }
}

fn read(wanted: &Mapping, now: &Rules) -> Result<Arc<Rules>, String> {
    if wanted.text.len() > MAX_TEXT_BYTES {
        return Err(format!("its text has {} bytes, and no more than {MAX_TEXT_BYTES} are read", wanted.text.len()));
    }
    let text: Text =
        serde_json::from_slice(&wanted.text).map_err(|error| format!("its text is not readable: {error}"))?;
    if text.hash_key != now.secret().map(fingerprint) {
        return Err("the key that values are hashed with is another".to_string());
    }
    let rules = match text.file.as_str() {
        "" => Rules::default(),
        file => {
            // the first says enough, and there may be very many
            Rules::read(file, now.secret()).map_err(|problems| {
                format!(
                    "its rules are not readable: {}",
                    problems.first().map_or_else(String::new, ToString::to_string)
                )
            })?
        }
    };
    let rules = rules.with_push_tokens(text.keep_push_tokens);
    match rules.revision() == wanted.revision {
        true => Ok(Arc::new(rules)),
        false => Err(format!("this release makes {} of it", rules.revision())),
    }
}

fn fingerprint(key: &[u8]) -> String {
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    hex::encode(&mac.chain_update("which key this is").finalize().into_bytes()[..4])
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[[rule]]\nevent = \"a\"\nname = \"b\"\n";

    #[test]
    fn a_mapping_of_before_comes_back_as_it_was() {
        let before = Rules::read(FILE, Some(b"key")).unwrap().with_push_tokens(true);
        let (given, now) = (mapping(&before), Rules::read("", Some(b"key")).unwrap());
        let former = Former::default();
        let again = former.rules(&given, &now).unwrap();
        assert_eq!((again.revision(), again.text(), again.keep_push_tokens), (before.revision(), FILE, true));
        assert!(Arc::ptr_eq(&again, &former.rules(&given, &now).unwrap()), "it is read once");
    }

    #[test]
    fn one_that_cannot_be_had_is_none() {
        let now = Rules::default();
        let none = |given: &Mapping| Former::default().rules(given, &now).is_none();
        let of_key = mapping(&Rules::read(FILE, Some(b"key")).unwrap());
        assert!(none(&of_key), "another key");
        let good = mapping(&Rules::read(FILE, None).unwrap());
        assert!(!none(&good));
        assert!(none(&Mapping { revision: "builtin-1+123456789abc".into(), ..good.clone() }), "another release's");
        assert!(none(&Mapping { text: "?".into(), ..good }), "no text");
    }

    #[test]
    fn one_that_is_too_large_or_nests_too_deep_is_none_and_holds_up_no_other() {
        let now = Rules::default();
        let text = |file: String| serde_json::json!({"file": file, "keep_push_tokens": false}).to_string();
        let why = |text: String| read(&Mapping { text: text.into(), ..Mapping::default() }, &now).unwrap_err();
        assert!(why(" ".repeat(MAX_TEXT_BYTES + 1)).contains("its text has 6292481 bytes"));
        assert!(why(text("#".repeat(MAX_FILE_BYTES + 1))).contains("the file has 1048577 bytes"));
        let deep = format!("[[rule]]\nwhen = '{}a'\n", "not ".repeat(20_000));
        assert!(why(text(deep)).contains("the expression has more than"));

        let former = Former::default();
        let slow = former.place("slow");
        slow.get_or_init(|| {
            assert!(former.rules(&mapping(&Rules::read(FILE, None).unwrap()), &now).is_some(), "while another is read");
            None
        });
    }

    #[test]
    fn the_built_in_mapping_is_one_too() {
        let given = mapping(&Rules::default());
        let now = Rules::read(FILE, None).unwrap();
        assert_eq!(Former::default().rules(&given, &now).unwrap().revision(), Rules::default().revision());
    }
}
