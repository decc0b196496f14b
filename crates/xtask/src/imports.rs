//! `cargo xtask imports`: which file of a crate takes what from which, and where that goes round in a circle.
//!
//! **What counts.** A file takes from the one that defines what it names, whoever hands it on by `pub use`. A module's own files may take
//! what stands in the module that heads them, as Rust lets them see its private parts: the head composes them, and that is no
//! circle. Tests are left out, and what is called through a value, since no name says where that stands.

mod circles;
mod read;

use std::path::PathBuf;

use anyhow::ensure;

use crate::workspace::root;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Crates to look at, by the name of their directory; all where none is given.
    crates: Vec<String>,
    /// Print what each file takes, not the circles alone.
    #[arg(long)]
    all: bool,
}

/// Files of one circle, from the crate's `src`, and which of them takes what from which.
#[derive(Debug)]
pub(crate) struct Circle {
    pub(crate) files: Vec<String>,
    pub(crate) ties: Vec<Tie>,
}

/// One file takes from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tie {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) names: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let mut circles = 0;
    for (name, source) in crates()? {
        if !arguments.crates.is_empty() && !arguments.crates.contains(&name) {
            continue;
        }
        let ties = read::ties(&source)?;
        println!("{name}: {} ties between files", ties.len());
        if arguments.all {
            ties.iter().for_each(print);
        }
        for circle in circles::of(&ties) {
            circles += 1;
            println!("  circle of {}", circle.files.join(", "));
            circle.ties.iter().for_each(print);
        }
    }
    println!("{circles} circles");
    Ok(true)
}

fn print(tie: &Tie) {
    println!("    {} -> {}: {}", tie.from, tie.to, tie.names.join(", "));
}

/// Each crate's name and its `src`.
fn crates() -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut crates = Vec::new();
    for entry in std::fs::read_dir(root().join("crates"))? {
        let entry = entry?;
        let source = entry.path().join("src");
        if source.is_dir() {
            crates.push((entry.file_name().to_string_lossy().into_owned(), source));
        }
    }
    crates.push(("tests".to_string(), root().join("tests/src")));
    crates.sort();
    ensure!(crates.len() > 10, "{} crates", crates.len());
    Ok(crates)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Pairs that belong together: one would be half of the other's meaning.
    const PAIRS: [(&str, &str, &str); 0] = [];

    #[test]
    fn files_take_from_each_other_in_no_circle_but_named_pairs() {
        let mut found = BTreeSet::new();
        for (name, source) in crates().unwrap() {
            for circle in circles::of(&read::ties(&source).unwrap()) {
                found.insert((name.clone(), circle.files.clone()));
            }
        }
        let named = PAIRS.iter().map(|(name, one, other)| (name.to_string(), vec![one.to_string(), other.to_string()]));
        assert_eq!(found, named.collect(), "`cargo xtask imports` shows what ties them");
    }

    #[test]
    fn a_circle_is_found_through_who_hands_on() {
        let directory = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("lib.rs", "mod a;\nmod b;\nmod c;\npub use a::One;\n");
        write("a.rs", "mod part;\npub struct One(crate::b::Two);\n");
        write("a/part.rs", "use super::One;\nfn part(_: One) {}\n");
        write("b.rs", "pub struct Two;\nfn two() { println!(\"{}\", crate::c::three()) }\n");
        write(
            "c.rs",
            "use crate::One;\npub fn three() -> Option<One> { None }\n#[cfg(test)]\nmod tests { use crate::b::Two; }\n",
        );
        let ties = read::ties(directory.path()).unwrap();
        let told: Vec<_> = ties.iter().map(|tie| format!("{} {} {}", tie.from, tie.to, tie.names.join(" "))).collect();
        assert_eq!(told, ["a.rs b.rs Two", "b.rs c.rs three", "c.rs a.rs One"]);
        let circles = circles::of(&ties);
        assert_eq!(circles.len(), 1);
        assert_eq!((circles[0].files.len(), circles[0].ties.len()), (3, 3));
        assert!(circles::of(&ties[..2]).is_empty());
    }
}
