//! Whoever is woken at night greps for what a runbook names: it must be in the code.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, ensure};
use moehog_tests::{code, root};

/// The runbooks by their file name.
fn runbooks() -> anyhow::Result<Vec<(String, String)>> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(root().join("deploy/runbooks"))? {
        let path = entry?.path();
        let name = path.file_name().context("a name")?.to_string_lossy().into_owned();
        pages.push((name, fs::read_to_string(&path)?));
    }
    ensure!(pages.len() > 10, "{} runbooks", pages.len());
    Ok(pages)
}

/// The words of a text that begin with `moehog_`.
fn words(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("moehog_")).collect()
}

/// The patterns of the `grep`s in a line, one an alternative.
fn patterns(line: &str) -> Vec<&str> {
    let greps = line.split("grep ").skip(1);
    greps.filter_map(|grep| grep.split('\'').nth(1)).flat_map(|pattern| pattern.split('|')).collect()
}

#[test]
fn each_metric_of_a_runbook_is_registered() -> anyhow::Result<()> {
    let source = code()?;
    for (name, page) in runbooks()? {
        let text: String =
            page.lines().filter(|line| !line.contains("grep ")).map(|line| format!("{line}\n")).collect();
        for word in words(&text) {
            let metric =
                ["_bucket", "_count", "_sum"].iter().find_map(|suffix| word.strip_suffix(suffix)).unwrap_or(word);
            ensure!(source.contains(&format!("\"{metric}\"")), "{name}: no metric {metric}");
        }
        // a pattern may be the beginning of several names
        for word in page.lines().flat_map(patterns).flat_map(words).filter(|word| !word.ends_with('_')) {
            let begun = word.trim_end_matches("_bucket").trim_end_matches("_count").trim_end_matches("_sum");
            ensure!(source.contains(&format!("\"{begun}")), "{name}: no metric begins with {begun}");
        }
    }
    Ok(())
}

#[test]
fn each_log_line_that_a_runbook_greps_for_is_written() -> anyhow::Result<()> {
    let source = code()?;
    let mut found = 0;
    for (name, page) in runbooks()? {
        for line in page.lines().filter(|line| line.contains(" logs ")) {
            // `"level":"(WARN` and its like are of the log's form, not its text
            for phrase in patterns(line).into_iter().filter(|phrase| phrase.contains(' ')) {
                ensure!(source.contains(phrase), "{name}: nothing logs `{phrase}`");
                found += 1;
            }
        }
    }
    ensure!(found > 8, "{found} phrases");
    Ok(())
}

#[test]
fn each_alert_leads_to_a_page_that_names_it() -> anyhow::Result<()> {
    let alerts = fs::read_to_string(root().join("deploy/helm/moehog/files/alerts.yaml"))?;
    // to one page a reason leads, and no alert
    let (pages, mut led_to) = (runbooks()?, BTreeSet::from(["README.md", "unverified-key.md"]));
    for alert in alerts.split("- alert: ").skip(1) {
        let name = alert.lines().next().context("a name")?.trim();
        let (_, page) =
            alert.split_once("runbook_url: deploy/runbooks/").with_context(|| format!("{name} has no page"))?;
        let page = page.lines().next().context("a path")?.trim();
        led_to.insert(page);
        for page in [page, "README.md"] {
            let text = &pages.iter().find(|(file, _)| file == page).with_context(|| format!("{name}: no {page}"))?.1;
            ensure!(text.contains(name), "{page} does not name {name}");
        }
    }
    let lost: Vec<_> = pages.iter().filter(|(file, _)| !led_to.contains(file.as_str())).map(|(file, _)| file).collect();
    ensure!(lost.is_empty(), "no alert leads to {lost:?}");
    Ok(())
}

/// Whoever reads a dead letter's reason finds it in the page, with who mends it.
#[test]
fn each_reason_of_a_dead_letter_is_in_its_page() -> anyhow::Result<()> {
    let page = fs::read_to_string(root().join("deploy/runbooks/dead-letters.md"))?;
    let mut reasons = moehog_transformer::REASONS.to_vec();
    ensure!(reasons.len() > 20, "{reasons:?}");
    reasons.extend([
        "rule_destination",
        "webhook_unreadable",
        "transform_failed",
        "invalid_mapping",
        "expired",
        "refused",
        "dropped",
        "event_restriction_drop",
        "event_name_too_long",
        "invalid_options",
    ]);
    for reason in reasons {
        ensure!(page.contains(&format!("`{reason}`")), "dead-letters.md does not say what `{reason}` is");
    }
    Ok(())
}

#[test]
fn each_reason_to_turn_a_caller_away_is_in_its_page() -> anyhow::Result<()> {
    let page = fs::read_to_string(root().join("deploy/runbooks/callers-turned-away.md"))?;
    let refusals = fs::read_to_string(root().join("crates/transport/src/refusals.rs"))?;
    let reasons: Vec<_> =
        refusals.lines().filter_map(|line| line.split_once(" => \"")?.1.strip_suffix("\",")).collect();
    ensure!(reasons.len() == 8, "{reasons:?}");
    for reason in reasons {
        ensure!(page.contains(&format!("| `{reason}` |")), "callers-turned-away.md does not say what `{reason}` is");
    }
    Ok(())
}
