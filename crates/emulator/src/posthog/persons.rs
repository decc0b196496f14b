//! Person profiles: properties in the order in which they arrived.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use serde::Serialize;
use serde_json::{Map, Value};

/// A person, as PostHog would show it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Person {
    /// All the ids that mean this person.
    pub distinct_ids: BTreeSet<String>,
    /// Properties: the last `$set` to arrive wins, whatever the timestamps say.
    pub properties: Map<String, Value>,
    /// Whether an `$identify` has named this person.
    pub is_identified: bool,
    /// Events of this person that were processed with a profile.
    pub events: u64,
}

/// What a warning at PostHog would say of an event that was taken all the same.
pub(crate) type Warning = &'static str;

/// All persons of all projects.
#[derive(Debug, Default)]
pub(crate) struct Persons {
    by_id: HashMap<(Arc<str>, String), usize>,
    persons: BTreeMap<usize, Person>,
    next: usize,
}

/// What one event does to persons.
#[derive(Debug)]
pub(crate) enum Effect {
    /// The event is kept.
    Kept(Option<Warning>),
    /// The event is dropped behind the 200.
    Dropped(Warning),
}

impl Persons {
    pub(crate) fn get(&self, key: &str, distinct_id: &str) -> Option<Person> {
        let index = self.by_id.get(&(Arc::from(key), distinct_id.to_owned()))?;
        self.persons.get(index).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.persons.len()
    }

    /// Applies an event. Source: PostHog docs, "Identify" and "Person properties" (read 2026-08).
    pub(crate) fn apply(&mut self, key: &Arc<str>, event: &str, id: &str, properties: &Map<String, Value>) -> Effect {
        let merges = matches!(event, "$identify" | "$create_alias" | "$merge_dangerously");
        if properties.get("$process_person_profile") == Some(&Value::Bool(false)) {
            // only a real false counts; "false" is no boolean and is ignored
            return if merges || event == "$groupidentify" {
                Effect::Dropped("invalid_event_when_process_person_profile_is_false")
            } else {
                Effect::Kept(None)
            };
        }
        let mut warning = None;
        let mut index = self.index(key, id);
        if merges {
            let other = match event {
                "$identify" => properties.get("$anon_distinct_id"),
                _ => properties.get("alias"),
            };
            if let Some(other) = other.and_then(Value::as_str) {
                if is_illegal(id) || is_illegal(other) {
                    warning = Some("cannot_merge_with_illegal_distinct_id");
                } else if !self.merge(key, index, other, event == "$merge_dangerously") {
                    warning = Some("cannot_merge_already_identified");
                }
                index = self.index(key, id);
            }
        }
        let Some(person) = self.persons.get_mut(&index) else { return Effect::Kept(warning) };
        person.is_identified |= event == "$identify";
        person.events += 1;
        if let Some(Value::Object(once)) = properties.get("$set_once") {
            for (name, value) in once {
                person.properties.entry(name).or_insert_with(|| value.clone());
            }
        }
        if let Some(Value::Object(set)) = properties.get("$set") {
            person.properties.extend(set.clone());
        }
        if let Some(Value::Array(unset)) = properties.get("$unset") {
            for name in unset.iter().filter_map(Value::as_str) {
                person.properties.remove(name);
            }
        }
        Effect::Kept(warning)
    }

    fn index(&mut self, key: &Arc<str>, id: &str) -> usize {
        *self.by_id.entry((key.clone(), id.to_owned())).or_insert_with(|| {
            self.next += 1;
            let distinct_ids = BTreeSet::from([id.to_owned()]);
            self.persons.insert(self.next, Person { distinct_ids, ..Person::default() });
            self.next
        })
    }

    /// Makes `other` the same person. False when it is already identified.
    fn merge(&mut self, key: &Arc<str>, into: usize, other: &str, force: bool) -> bool {
        let from = self.index(key, other);
        if from == into {
            return true;
        }
        if self.persons.get(&from).is_some_and(|person| person.is_identified) && !force {
            return false;
        }
        let Some(gone) = self.persons.remove(&from) else { return true };
        for id in &gone.distinct_ids {
            self.by_id.insert((key.clone(), id.clone()), into);
        }
        if let Some(person) = self.persons.get_mut(&into) {
            person.distinct_ids.extend(gone.distinct_ids);
            for (name, value) in gone.properties {
                person.properties.entry(name).or_insert(value);
            }
            person.events += gone.events;
        }
        true
    }
}

/// Ids that PostHog never merges. Source: PostHog docs, "Identify" (read 2026-08).
fn is_illegal(id: &str) -> bool {
    const ANY_CASE: [&str; 10] = [
        "anonymous",
        "guest",
        "distinctid",
        "distinct_id",
        "id",
        "not_authenticated",
        "email",
        "undefined",
        "true",
        "false",
    ];
    const EXACT: [&str; 6] = ["[object Object]", "NaN", "None", "none", "null", "0"];
    id.trim().is_empty() || EXACT.contains(&id) || ANY_CASE.contains(&id.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn apply(persons: &mut Persons, event: &str, id: &str, properties: Value) -> Effect {
        let Value::Object(properties) = properties else { panic!("an object") };
        persons.apply(&Arc::from("phc_a"), event, id, &properties)
    }

    #[test]
    fn the_last_set_to_arrive_wins_and_set_once_never_overwrites() {
        let mut persons = Persons::default();
        apply(&mut persons, "a", "u", json!({"$set": {"plan": "free", "city": "Pune"}, "$set_once": {"first": 1}}));
        apply(&mut persons, "b", "u", json!({"$set": {"plan": "pro"}, "$set_once": {"first": 2}, "$unset": ["city"]}));
        let person = persons.get("phc_a", "u").unwrap();
        assert_eq!(Value::Object(person.properties), json!({"first": 1, "plan": "pro"}));
        assert_eq!((person.events, person.is_identified), (2, false));
        assert_eq!(persons.get("phc_b", "u"), None);
    }

    #[test]
    fn an_identify_merges_an_anonymous_person_and_no_identified_one() {
        let mut persons = Persons::default();
        apply(&mut persons, "a", "anon-1", json!({"$set": {"seen": 1}}));
        apply(&mut persons, "$identify", "u", json!({"$anon_distinct_id": "anon-1", "$set": {"name": "Asha"}}));
        let person = persons.get("phc_a", "anon-1").unwrap();
        assert_eq!(Value::Object(person.properties.clone()), json!({"name": "Asha", "seen": 1}));
        assert_eq!(persons.get("phc_a", "u").unwrap(), person);
        assert!(person.is_identified);

        apply(&mut persons, "$identify", "other", json!({}));
        let effect = apply(&mut persons, "$identify", "u", json!({"$anon_distinct_id": "other"}));
        assert!(matches!(effect, Effect::Kept(Some("cannot_merge_already_identified"))));
        assert_eq!(persons.len(), 2);
        apply(&mut persons, "$merge_dangerously", "u", json!({"alias": "other"}));
        assert_eq!(persons.len(), 1);
    }

    #[test]
    fn an_illegal_id_is_never_merged() {
        let mut persons = Persons::default();
        for illegal in ["GUEST", "undefined", "None", "0", "[object Object]"] {
            let effect = apply(&mut persons, "$identify", "u", json!({"$anon_distinct_id": illegal}));
            assert!(matches!(effect, Effect::Kept(Some("cannot_merge_with_illegal_distinct_id"))), "{illegal}");
        }
        assert_eq!(persons.len(), 1);
    }

    #[test]
    fn without_a_profile_nothing_is_set_and_an_identify_is_dropped() {
        let mut persons = Persons::default();
        let effect = apply(&mut persons, "a", "u", json!({"$process_person_profile": false, "$set": {"a": 1}}));
        assert!(matches!(effect, Effect::Kept(None)));
        assert_eq!(persons.get("phc_a", "u"), None);
        let effect = apply(&mut persons, "$identify", "u", json!({"$process_person_profile": false}));
        assert!(matches!(effect, Effect::Dropped(_)));
        apply(&mut persons, "a", "u", json!({"$process_person_profile": "false", "$set": {"a": 1}}));
        assert!(persons.get("phc_a", "u").is_some());
    }
}
