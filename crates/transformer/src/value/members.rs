//! Objects that PostHog merges key by key, such as `$set`.

use std::{borrow::Cow, collections::HashMap};

use crate::item::{Object, Pair};

/// The members of `inner` with those of `outer` over them, as PostHog merges a top-level `$set` into the properties'.
pub(crate) fn merged<'p>(inner: &'p str, outer: Vec<Pair<'p>>) -> Vec<Pair<'p>> {
    let mut pairs = Object::read(inner).pairs;
    let mut places: HashMap<_, _> = pairs.iter().enumerate().map(|(at, pair)| (pair.name.clone(), at)).collect();
    for pair in outer {
        match places.get(&pair.name) {
            Some(at) => pairs[*at].value = pair.value,
            None => {
                places.insert(pair.name.clone(), pairs.len());
                pairs.push(pair);
            }
        }
    }
    pairs
}

/// Members of an object that the same ones of `outer` replace with other values: name and value.
pub(crate) fn replaced<'p>(inner: &'p str, outer: &[Pair<'_>]) -> Vec<(Cow<'p, str>, &'p str)> {
    let outer: HashMap<_, _> = outer.iter().map(|pair| (&pair.name, pair.value)).collect();
    let inner = Object::read(inner).pairs.into_iter();
    let others = inner.filter(|pair| outer.get(&pair.name).is_some_and(|value| *value != pair.value));
    others.map(|pair| (pair.name, pair.value)).collect()
}

/// Members as JSON.
pub(crate) fn object(pairs: &[Pair<'_>]) -> String {
    let members: Vec<_> = pairs.iter().map(|pair| [pair.key, ":", pair.value].concat()).collect();
    format!("{{{}}}", members.join(","))
}
