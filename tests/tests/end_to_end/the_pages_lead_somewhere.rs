//! What the pages of the source tree point at is there, and the journal's page has each field of its files.

use std::{collections::BTreeSet, fs, path::PathBuf};

use anyhow::{Context, ensure};
use moehog_tests::root;

/// Every page under the root but those of builds.
fn pages() -> anyhow::Result<Vec<(PathBuf, String)>> {
    let (mut directories, mut pages) = (vec![root()], Vec::new());
    while let Some(directory) = directories.pop() {
        for entry in directory.read_dir()? {
            let path = entry?.path();
            let name = path.file_name().context("a name")?.to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && name != ".git" {
                directories.push(path);
            } else if name.ends_with(".md") {
                let text = fs::read_to_string(&path)?;
                pages.push((path, text));
            }
        }
    }
    Ok(pages)
}

/// The text outside of code blocks.
fn prose(page: &str) -> String {
    page.split("```").step_by(2).collect()
}

/// What the heading of a page is called in links to it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

fn anchors(page: &str) -> BTreeSet<String> {
    let page = prose(page);
    page.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#'))).collect()
}

#[test]
fn each_link_leads_to_a_file_and_to_a_heading_of_it() -> anyhow::Result<()> {
    let (pages, mut seen) = (pages()?, 0);
    for (path, page) in &pages {
        for link in prose(page).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                _ => path.with_file_name(file),
            };
            ensure!(target.exists(), "{} leads to {link}, which is not there", path.display());
            if !heading.is_empty() {
                let text = fs::read_to_string(&target)?;
                ensure!(
                    anchors(&text).contains(heading),
                    "{} leads to {link}, which has no such heading",
                    path.display()
                );
            }
            seen += 1;
        }
    }
    ensure!(seen > 50, "{seen} links in {} pages", pages.len());
    Ok(())
}

/// Number and name of each field of the messages that a source file makes.
fn fields(source: &str) -> anyhow::Result<Vec<(String, String)>> {
    let fields = source.split("#[prost(").skip(1).map(|field| {
        let tag = field.split_once("tag = \"")?.1.split_once('"')?.0;
        let name = field.lines().nth(1)?.trim().trim_start_matches("pub(super) ").split_once(':')?.0;
        Some((tag.to_string(), name.to_string()))
    });
    fields.collect::<Option<_>>().context("a field without a number or a name")
}

#[test]
fn the_journals_page_has_each_field_of_its_files() -> anyhow::Result<()> {
    let journal = root().join("crates/journal");
    let page = fs::read_to_string(journal.join("FORMAT.md"))?;
    let mut seen = 0;
    for source in ["format.rs", "slots.rs"] {
        for (tag, name) in fields(&fs::read_to_string(journal.join("src/embedded").join(source))?)? {
            let says = [format!("| {tag} `{name}` |"), format!("`{name}` ({tag}")];
            ensure!(says.iter().any(|says| page.contains(says)), "FORMAT.md does not have field {tag}, `{name}`");
            seen += 1;
        }
    }
    ensure!(seen > 40, "{seen} fields");
    Ok(())
}
