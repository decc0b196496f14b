//! Python's Jinja2, in both versions that MoEngage names, says which templates print valid JSON; in these `lint` finds nothing, and in
//! those that do not an error.

use anyhow::{Context, ensure};
use moehog_connector::{Severity, lint};
use moehog_tests::{Jinja, skip};
use serde_json::Value;

use super::{
    any_value_in_python::python,
    templates::{Without, written},
};

const TEMPLATES: u64 = 300;

#[test]
fn of_300_templates_those_that_jinja_prints_as_json_are_right_and_the_others_wrong() -> anyhow::Result<()> {
    let versions = match Jinja::fetch() {
        Ok(versions) => versions,
        Err(error) => {
            return skip("of_300_templates_those_that_jinja_prints_as_json_are_right_and_the_others_wrong", &error);
        }
    };
    let all = [Without::Nothing, Without::Separator, Without::Comma];
    let of_seed = |seed| all.map(|without| (seed, without, written(seed, without)));
    let all: Vec<_> = (0..TEMPLATES).flat_map(of_seed).collect();
    let found: Vec<_> = all.iter().map(|(_, _, written)| lint(&written.body)).collect();
    for Jinja { version, wheels } in versions {
        let read = || all.iter().zip(&found).filter(|((_, _, written), _)| version != "2.8" || !written.is_newer);
        let input = read().map(|((_, _, written), _)| format!("{}\n", Value::from(&*written.body))).collect();
        let output = python("judge.py", &wheels, input)?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "Jinja2 {version}: {complaint}");
        let printed = String::from_utf8(output.stdout)?;
        let (fetched, verdicts) = printed.split_once('\n').context("a version")?;
        ensure!(fetched.starts_with(version), "{fetched} was asked, not {version}");
        ensure!(verdicts.lines().count() == read().count(), "{printed}");
        let mut valid = 0;
        for (((seed, without, written), found), verdict) in read().zip(verdicts.lines()) {
            let verdict: String = serde_json::from_str(verdict)?;
            let said = format!("Jinja2 {version}, seed {seed} without {without:?}: {verdict}\n{}", written.body);
            ensure!((*without == Without::Nothing) == (verdict == "valid"), "{said}");
            let has_error = found.iter().any(|finding| finding.severity == Severity::Error);
            if verdict == "valid" {
                valid += 1;
                ensure!(found.is_empty(), "{said}\n{found:#?}");
            } else {
                ensure!(has_error, "{said}\n{found:#?}");
            }
        }
        ensure!(valid >= 200, "{valid} valid templates in Jinja2 {version}");
    }
    Ok(())
}
