//! The properties of one event: each name once, in the order they came, each value as it stands in the body.

use std::{borrow::Cow, collections::HashMap};

use crate::notes::{Note, Notes};

/// Most bytes of the name of a property that PostHog lists. It stores a longer one with its event, and makes no definition of it: no menu
/// and no filter has it.
///
/// Source: PostHog, rust/property-defs-rs/src/types.rs (003fd01f, read 2026-11-27).
pub(crate) const MAX_NAME_BYTES: usize = 200;

/// Up to this many properties a search goes through the list, beyond it through an index.
const LIST_MAX: usize = 64;

/// Where a property comes from; of one name the smallest rank is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// The event's own attributes or properties.
    Event,
    /// What stands beside them in the event.
    Beside,
    /// The device's attributes.
    Device,
    /// The user's attributes.
    User,
}

/// A property; one without a value was left out.
#[derive(Debug)]
pub(crate) struct Property<'a> {
    /// Goes before the name.
    pub(crate) prefix: &'static str,
    pub(crate) name: Cow<'a, str>,
    /// The name as JSON, with its quotes and without the prefix.
    key: &'a str,
    /// JSON.
    pub(crate) value: Cow<'a, str>,
    rank: Rank,
}

impl Property<'_> {
    fn is_named(&self, prefix: &str, name: &str) -> bool {
        if self.prefix == prefix {
            return self.name == name;
        }
        let own = self.prefix.bytes().chain(self.name.bytes());
        self.prefix.len() + self.name.len() == prefix.len() + name.len() && own.eq(prefix.bytes().chain(name.bytes()))
    }
}

/// Properties by name.
#[derive(Debug, Default)]
pub(crate) struct Properties<'a> {
    list: Vec<Property<'a>>,
    fingerprints: Vec<u64>,
    index: HashMap<String, usize>,
}

impl<'a> Properties<'a> {
    /// Room for the properties of most events.
    pub(crate) fn new() -> Self {
        Self { list: Vec::with_capacity(32), fingerprints: Vec::with_capacity(32), index: HashMap::new() }
    }

    /// How many have a name that is longer than PostHog lists.
    pub(crate) fn long_names(&self) -> u64 {
        let is_long = |property: &&Property<'_>| property.prefix.len() + property.name.len() > MAX_NAME_BYTES;
        self.list.iter().filter(is_long).count() as u64
    }

    /// Makes room for the next event.
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.fingerprints.clear();
        self.index.clear();
    }

    /// Adds a property. Of two of one rank the later value is kept, as JSON readers do; else the one of smaller rank.
    pub(crate) fn insert(
        &mut self,
        rank: Rank,
        prefix: &'static str,
        name: Cow<'a, str>,
        key: &'a str,
        value: impl Into<Cow<'a, str>>,
        notes: &mut Notes,
    ) {
        let fingerprint = fingerprint(prefix, &name);
        let value = value.into();
        match self.find(fingerprint, prefix, &name) {
            Some(at) => {
                let known = &mut self.list[at];
                let (note, lost) = if known.rank == rank {
                    (Note::DuplicateKey, std::mem::replace(&mut known.value, value))
                } else {
                    (Note::Clash, value)
                };
                if lost == self.list[at].value {
                    notes.count(note);
                } else {
                    notes.say(note, &[prefix, &name].concat(), &lost);
                }
            }
            None => self.add(fingerprint, Property { prefix, name, key, value, rank }),
        }
    }

    /// Sets a property, whatever it was before; `key` is its name as JSON.
    pub(crate) fn put(&mut self, name: &'a str, key: &'a str, value: Cow<'a, str>) {
        let fingerprint = fingerprint("", name);
        match self.find(fingerprint, "", name) {
            Some(at) => self.list[at].value = value,
            None => {
                self.add(fingerprint, Property { prefix: "", name: Cow::Borrowed(name), key, value, rank: Rank::Event })
            }
        }
    }

    /// Leaves out the property of this name.
    pub(crate) fn leave_out(&mut self, name: &str) {
        if let Some(at) = self.find(fingerprint("", name), "", name) {
            self.list[at].value = Cow::Borrowed("");
        }
    }

    /// Leaves out all but those whose name `keeps`.
    pub(crate) fn keep_only(&mut self, keeps: impl Fn(&str) -> bool) {
        let left_out = self.list.iter_mut().filter(|property| !property.prefix.is_empty() || !keeps(&property.name));
        left_out.for_each(|property| property.value = Cow::Borrowed(""));
    }

    /// Changes each in place.
    pub(crate) fn each(&mut self, change: impl FnMut(&mut Property<'a>)) {
        self.list.iter_mut().filter(|property| !property.value.is_empty()).for_each(change);
    }

    /// The value of a property, as JSON.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.find(fingerprint("", name), "", name).map(|at| &*self.list[at].value).filter(|value| !value.is_empty())
    }

    /// Whether there is a property of this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Appends `"name":value,` for each, without brackets.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for property in self.list.iter().filter(|property| !property.value.is_empty()) {
            if property.prefix.is_empty() {
                out.extend_from_slice(property.key.as_bytes());
            } else {
                out.push(b'"');
                out.extend_from_slice(property.prefix.as_bytes());
                out.extend_from_slice(&property.key.as_bytes()[1..]);
            }
            out.push(b':');
            out.extend_from_slice(property.value.as_bytes());
            out.push(b',');
        }
    }

    fn find(&self, fingerprint: u64, prefix: &str, name: &str) -> Option<usize> {
        if !self.index.is_empty() {
            return self.index.get(&[prefix, name].concat()).copied();
        }
        let candidates = self.fingerprints.iter().enumerate().filter(|(_, other)| **other == fingerprint);
        candidates.map(|(at, _)| at).find(|at| self.list[*at].is_named(prefix, name))
    }

    fn add(&mut self, fingerprint: u64, property: Property<'a>) {
        if self.list.len() == LIST_MAX {
            let names = self.list.iter().enumerate();
            self.index.extend(names.map(|(at, property)| ([property.prefix, &property.name].concat(), at)));
        }
        if self.list.len() >= LIST_MAX {
            self.index.insert([property.prefix, &property.name].concat(), self.list.len());
        }
        self.fingerprints.push(fingerprint);
        self.list.push(property);
    }
}

/// The length and last eight bytes of `prefix` and `name` together: equal names have equal ones, and few others do.
fn fingerprint(prefix: &str, name: &str) -> u64 {
    let length = (prefix.len() + name.len()) as u64;
    let tail = match name.as_bytes().last_chunk::<8>() {
        Some(tail) => *tail,
        None => {
            let mut tail = [0; 8];
            let bytes = name.bytes().rev().chain(prefix.bytes().rev());
            tail.iter_mut().rev().zip(bytes).for_each(|(tail, byte)| *tail = byte);
            tail
        }
    };
    u64::from_le_bytes(tail) ^ length.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(properties: &Properties<'_>) -> String {
        let mut out = Vec::new();
        properties.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_name_stands_once_and_the_smaller_rank_is_kept() {
        let (mut properties, mut notes) = (Properties::default(), Notes::default());
        properties.insert(Rank::Event, "", "user_id2".into(), "\"user_id2\"", "1", &mut notes);
        properties.insert(Rank::Event, "", "b".into(), "\"b\"", "1", &mut notes);
        properties.insert(Rank::Event, "", "b".into(), "\"b\"", "2", &mut notes);
        properties.insert(Rank::User, "user_", "id2".into(), "\"id2\"", "3", &mut notes);
        properties.insert(Rank::User, "user_", "c".into(), "\"c\"", "4", &mut notes);
        assert_eq!(json(&properties), r#""user_id2":1,"b":2,"user_c":4,"#);
        assert_eq!((notes.get(Note::DuplicateKey), notes.get(Note::Clash)), (1, 1));
    }

    proptest! {
        #[test]
        fn names_stay_apart_and_together_beyond_the_list(names in proptest::collection::vec("[ab]{0,9}|user_[ab]{0,2}", 0..150)) {
            let (mut properties, mut notes) = (Properties::default(), Notes::default());
            let keys: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
            for (name, key) in names.iter().zip(&keys) {
                properties.insert(Rank::Event, "", name.as_str().into(), key, "1", &mut notes);
            }
            let written = json(&properties);
            let mut expected: Vec<&String> = Vec::new();
            for name in &keys {
                if !expected.contains(&name) {
                    expected.push(name);
                }
            }
            let expected: String = expected.iter().map(|key| format!("{key}:1,")).collect();
            prop_assert_eq!(written, expected);
            for (name, key) in names.iter().zip(&keys) {
                if let Some(rest) = name.strip_prefix("user_") {
                    let short = format!("\"{rest}\"");
                    // the same name in two parts is the same name
                    let mut copy = Properties::default();
                    copy.insert(Rank::Event, "", name.as_str().into(), key, "1", &mut notes);
                    copy.insert(Rank::User, "user_", rest.into(), &short, "2", &mut notes);
                    prop_assert_eq!(json(&copy), format!("{key}:1,"));
                }
            }
        }
    }
}
