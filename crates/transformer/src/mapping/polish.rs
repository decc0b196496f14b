//! What holds for every event, whoever made its properties: privacy, and values of the types that their names have.

use std::borrow::Cow;

use crate::{
    item::{Kind, Object, Pair},
    json,
    notes::{Note, Notes},
    rules::Rules,
    value::{
        Properties, Property, members,
        privacy::{self, Fate, Privacy},
        types::Type,
    },
};

/// Objects of person properties.
const PERSON: [&str; 2] = ["$set", "$set_once"];

/// Leaves out, hashes and casts.
pub(crate) fn polish(properties: &mut Properties<'_>, heals: bool, rules: &Rules, notes: &mut Notes) {
    if !heals && rules.types.is_empty() && rules.privacy.is_empty() {
        return;
    }
    if !rules.privacy.is_empty() {
        notes.hide(|property| is_private(&rules.privacy, property));
    }
    let mut polisher = Polisher { heals, rules, notes };
    properties.each(|property| {
        if property.prefix.is_empty() && PERSON.contains(&&*property.name) {
            if let Some(object) = polisher.object(&property.value) {
                property.value = Cow::Owned(object);
            }
            return;
        }
        if let Some(value) = polisher.of(property) {
            property.value = value;
        }
    });
}

/// Most bytes of a text that may be an amount, with a currency.
const MAX_AMOUNT_BYTES: usize = 40;

/// Whether a text may be meant as a number.
fn may_be_number(raw: &str) -> bool {
    raw.len() <= MAX_AMOUNT_BYTES && raw.starts_with('"') && raw.bytes().any(|byte| byte.is_ascii_digit())
}

/// Whether what stood in a property is not to be seen; of an object, in any member.
fn is_private(privacy: &Privacy, property: &str) -> bool {
    let names = property.split(['.', ' ']).chain([property, property.trim_start_matches("user_")]);
    names.into_iter().any(|name| privacy.fate(name) != Fate::Kept)
}

struct Polisher<'p> {
    heals: bool,
    rules: &'p Rules,
    notes: &'p mut Notes,
}

impl Polisher<'_> {
    /// What a property becomes; none where it stays. Empty is left out.
    fn of<'a>(&mut self, property: &Property<'a>) -> Option<Cow<'a, str>> {
        let name: Cow<'_, str> = match property.prefix {
            "" => Cow::Borrowed(&*property.name),
            prefix => Cow::Owned([prefix, &*property.name].concat()),
        };
        match &property.value {
            // a cast of a slice of the body is a slice of the body
            Cow::Borrowed(raw) => self.value(&name, &property.name, raw),
            Cow::Owned(raw) => self.value(&name, &property.name, raw).map(|made| Cow::Owned(made.into_owned())),
        }
    }

    fn value<'v>(&mut self, name: &str, short: &str, raw: &'v str) -> Option<Cow<'v, str>> {
        let privacy = &self.rules.privacy;
        if !privacy.is_empty() {
            let fate = match privacy.fate(name) {
                Fate::Kept => privacy.fate(short),
                fate => fate,
            };
            match fate {
                Fate::Kept => {}
                Fate::Dropped => {
                    self.notes.count(Note::DroppedPrivate);
                    return Some(Cow::Borrowed(""));
                }
                Fate::Hashed => {
                    self.notes.count(Note::Hashed);
                    return Some(Cow::Owned(self.hash(raw)));
                }
            }
        }
        // most texts are no numbers, and their names need not be looked up
        let wanted = self.rules.types.wanted(name, self.heals && may_be_number(raw))?;
        if Type::of(raw).is_none_or(|found| found == wanted) {
            return None;
        }
        let cast = wanted.cast(raw);
        self.notes.healed(name, cast.is_some());
        if cast.is_none() {
            self.notes.say(Note::KeptText, name, raw);
        }
        cast
    }

    /// A text's hash; of another value that of its JSON.
    fn hash(&self, raw: &str) -> String {
        let text = json::string(raw).unwrap_or(Cow::Borrowed(raw));
        match self.rules.secret() {
            Some(key) if !json::is_null(raw) => format!("\"{}\"", privacy::keyed_hash(key, &text)),
            // the file is not read without a key
            _ => "null".to_string(),
        }
    }

    /// An object of person properties, where one of them changes.
    fn object(&mut self, raw: &str) -> Option<String> {
        let object = Object::read(raw);
        if object.kind != Kind::Object {
            return None;
        }
        let made: Vec<_> = object.pairs.iter().map(|pair| self.value(&pair.name, &pair.name, pair.value)).collect();
        if made.iter().all(Option::is_none) {
            return None;
        }
        let kept = object.pairs.iter().zip(&made).filter_map(|(pair, made)| match made {
            Some(made) if made.is_empty() => None,
            Some(made) => Some(Pair { value: made, ..pair.clone() }),
            None => Some(pair.clone()),
        });
        Some(members::object(&kept.collect::<Vec<_>>()))
    }
}
