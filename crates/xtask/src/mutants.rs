//! `cargo xtask mutants`: tests that cannot fail are found by breaking what they guard.

mod list;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, ensure};

use crate::workspace;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only mutants whose name holds this.
    name: Option<String>,
    /// Prints the list and leaves.
    #[arg(long)]
    list: bool,
}

/// One line broken on purpose.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mutant {
    /// What the line does, in words.
    name: &'static str,
    /// The file, from the root.
    file: &'static str,
    /// Text that stands there once.
    old: &'static str,
    /// What it becomes.
    new: &'static str,
    /// Package whose tests must turn red.
    package: &'static str,
    /// Options for `cargo test` behind the package, such as a filter.
    test: &'static [&'static str],
}

/// What became of a mutant.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// A test turned red, as it must.
    Caught,
    /// All tests stayed green: nothing guards the line.
    Survived,
    /// It does not compile, so it shows nothing.
    Broken,
    /// The text is not there, or there more than once.
    Stale,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let chosen: Vec<_> = list::MUTANTS
        .iter()
        .filter(|mutant| arguments.name.as_ref().is_none_or(|name| mutant.name.contains(name)))
        .collect();
    ensure!(!chosen.is_empty(), "no mutant has that name");
    if arguments.list {
        for mutant in chosen {
            println!("{:<48} {}", mutant.name, mutant.file);
        }
        return Ok(true);
    }
    let scratch = workspace::target().join("mutants");
    let tree = scratch.join("tree");
    copy_tree(&workspace::root(), &tree)?;
    let mut fates = Vec::new();
    for mutant in chosen {
        let begun = Instant::now();
        let fate = try_one(mutant, &tree, &scratch.join("target"))?;
        println!("{fate:<9?} {:<48} {:>5.0} s", mutant.name, begun.elapsed().as_secs_f64());
        fates.push(fate);
    }
    let caught = fates.iter().filter(|fate| **fate == Fate::Caught).count();
    println!("\n{caught} of {} mutants caught", fates.len());
    Ok(caught == fates.len())
}

fn try_one(mutant: &Mutant, tree: &Path, target: &Path) -> anyhow::Result<Fate> {
    let path = tree.join(mutant.file);
    let Ok(sound) = fs::read_to_string(&path) else { return Ok(Fate::Stale) };
    let Some(broken) = break_line(&sound, mutant) else { return Ok(Fate::Stale) };
    fs::write(&path, broken)?;
    let outcome = judge(mutant, tree, target);
    fs::write(&path, sound)?;
    outcome
}

fn break_line(sound: &str, mutant: &Mutant) -> Option<String> {
    (sound.matches(mutant.old).count() == 1).then(|| sound.replacen(mutant.old, mutant.new, 1))
}

fn judge(mutant: &Mutant, tree: &Path, target: &Path) -> anyhow::Result<Fate> {
    let cargo = |no_run: &[&str]| -> anyhow::Result<bool> {
        let mut cargo = workspace::cargo();
        cargo.current_dir(tree).env("CARGO_TARGET_DIR", target).env_remove("MOEHOG_TEST_BINARIES");
        cargo.args(["test", "--quiet", "--package", mutant.package]).args(no_run).args(mutant.test);
        cargo.stdout(Stdio::null()).stderr(Stdio::null());
        Ok(cargo.status().context("start cargo test")?.success())
    };
    if !cargo(&["--no-run"])? {
        return Ok(Fate::Broken);
    }
    Ok(if cargo(&[])? { Fate::Survived } else { Fate::Caught })
}

/// Copies what git knows or would know, so that neither builds nor data come along.
fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(from)
        .output()
        .context("start git")?;
    ensure!(listed.status.success(), "git ls-files: {}", listed.status);
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    for name in listed.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = PathBuf::from(String::from_utf8(name.to_vec())?);
        let source = from.join(&name);
        // listed though removed from the work tree
        if !source.is_file() {
            continue;
        }
        let copy = to.join(&name);
        fs::create_dir_all(copy.parent().context("a file lies in a directory")?)?;
        fs::copy(&source, &copy).with_context(|| format!("copy {}", name.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MUTANT: Mutant = Mutant { name: "adds", file: "x.rs", old: "a + b", new: "a - b", package: "x", test: &[] };

    #[test]
    fn a_text_that_stands_there_once_is_replaced() {
        assert_eq!(break_line("let c = a + b;", &MUTANT).as_deref(), Some("let c = a - b;"));
        assert_eq!(break_line("let c = a + b; let d = a + b;", &MUTANT), None);
        assert_eq!(break_line("let c = a * b;", &MUTANT), None);
    }

    #[test]
    fn every_mutant_finds_its_line() {
        let stale = |mutant: &&Mutant| {
            let text = fs::read_to_string(workspace::root().join(mutant.file)).unwrap_or_default();
            break_line(&text, mutant).is_none()
        };
        let stale: Vec<_> = list::MUTANTS.iter().filter(stale).map(|mutant| mutant.name).collect();
        assert!(stale.is_empty(), "lines have moved on: {stale:?}");
    }
}
