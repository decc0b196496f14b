//! Files that reach each other.

use std::collections::{BTreeMap, BTreeSet};

use super::{Circle, Tie};

/// Largest sets of files each of which reaches each other, two files at least.
pub(crate) fn of(ties: &[Tie]) -> Vec<Circle> {
    let mut to: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for tie in ties {
        to.entry(&tie.from).or_default().insert(&tie.to);
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> = to.keys().map(|file| (*file, reach(file, &to))).collect();
    let mut circles: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (file, reaches) in reached.iter().filter(|(file, reaches)| reaches.contains(*file)) {
        let files: BTreeSet<_> = reaches
            .iter()
            .copied()
            .filter(|other| reached.get(other).is_some_and(|back| back.contains(file)))
            .collect();
        if let Some(first) = files.first() {
            circles.insert(first, files.clone());
        }
    }
    let circle = |files: BTreeSet<&str>| Circle {
        ties: ties.iter().filter(|tie| files.contains(&*tie.from) && files.contains(&*tie.to)).cloned().collect(),
        files: files.into_iter().map(str::to_string).collect(),
    };
    circles.into_values().map(circle).collect()
}

/// What a file leads to; itself where it leads back.
fn reach<'a>(file: &'a str, to: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let (mut found, mut next) = (BTreeSet::new(), vec![file]);
    while let Some(file) = next.pop() {
        for other in to.get(file).into_iter().flatten() {
            if found.insert(*other) {
                next.push(other);
            }
        }
    }
    found
}
