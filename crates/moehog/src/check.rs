//! `moehog check`: a configuration and a mapping file, looked at without starting anything.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use anyhow::{Context, anyhow, bail};
use moehog_runtime::Secret;
use moehog_telemetry::terminal::{shown, shown_lines};
use moehog_transformer::{Mapping, Named, Problem, ReadHeader, Rules, complaint};
use serde::de::DeserializeOwned;

use crate::cli::Check;

#[expect(clippy::print_stdout, reason = "the command's answer")]
pub(crate) fn run(check: &Check) -> anyhow::Result<()> {
    let mut wrong = 0;
    let mut report = |what: &str, error: anyhow::Error| {
        wrong += 1;
        println!("{what}: {}", shown_lines(&format!("{error:#}"), "  "));
    };
    let file = check.config.as_deref();
    let gateway = load::<moehog_gateway::Config>(file, moehog_gateway::Config::DEFAULTS);
    let gateway = gateway.map_err(|error| report("gateway", error)).ok();
    for contradiction in gateway.iter().flat_map(moehog_gateway::Config::contradictions) {
        report("gateway", anyhow!(contradiction));
    }
    if let Some(note) = gateway.as_ref().and_then(small_file_system) {
        println!("{}", shown(&note));
    }
    if let Err(error) = load::<moehog_delivery::Config>(file, moehog_delivery::Config::DEFAULTS) {
        report("delivery", error);
    }
    let mapping = match load::<moehog_transformer::Config>(file, moehog_transformer::DEFAULTS) {
        Ok(config) => Some(config.mapping),
        Err(error) => {
            report("transformer", error);
            None
        }
    };
    let mapping = mapping.unwrap_or_default();
    if let Err(error) = hash_key(&mapping) {
        report("transformer", error);
    }
    let weaknesses = gateway.iter().flat_map(moehog_gateway::Config::secret_weaknesses);
    let weak_key =
        mapping.hash_key.as_ref().and_then(Secret::weakness).map(|weakness| format!("mapping.hash_key {weakness}"));
    weaknesses.chain(weak_key).for_each(|weakness| println!("{}", shown(&weakness)));
    if let Some(path) = check.mapping.as_ref().or(mapping.file.as_ref()) {
        let name = shown(&path.to_string_lossy()).into_owned();
        match rules(path, &mapping)? {
            Ok(rules) => {
                let (count, revision) = (rules.count(), rules.revision());
                println!("{name}: {count} rule{}, revision {revision}", if count == 1 { "" } else { "s" });
                // which sources there are is not known of a mapping file alone
                let problems = gateway.iter().filter(|_| file.is_some()).flat_map(|gateway| {
                    let mut problems = unreachable(gateway, &rules);
                    problems.extend(not_kept(gateway, &rules));
                    problems
                });
                for problem in problems {
                    wrong += 1;
                    println!("{name}: {}", shown(&problem.to_string()));
                }
            }
            Err(problems) => {
                wrong += problems.len();
                problems.iter().for_each(|problem| println!("{name}: {}", shown(&problem.to_string())));
            }
        }
    }
    match wrong {
        0 => println!("all is well"),
        1 => bail!("one mistake"),
        many => bail!("{many} mistakes"),
    }
    Ok(())
}

/// What this machine cannot hold; the one that the gateway will run on may.
fn small_file_system(gateway: &moehog_gateway::Config) -> Option<String> {
    let journal = &gateway.journal;
    let in_force = journal.smaller_budget().ok()??;
    Some(format!(
        "journal.budget_bytes: {} is more than the file system of {} on this machine could ever hold: {in_force} would be used",
        journal.budget_bytes,
        journal.dir.display()
    ))
}

/// Destinations that rules name and events of a source cannot go to.
fn unreachable(gateway: &moehog_gateway::Config, rules: &Rules) -> Vec<Problem> {
    let sources = gateway.all_sources();
    let mut problems = Vec::new();
    for Named { line, place, source, destination } in rules.destinations() {
        let for_it = |name: &str| source.is_none_or(|source| source == name);
        let cannot =
            sources.iter().filter(|(name, source)| for_it(name) && !source.destinations().any(|to| to == destination));
        for (name, _) in cannot {
            let message = format!(
                "source `{name}` does not send to `{destination}`, so such an event would be a dead letter: add it to \
                 sources.{name}.routes, or name in `source` whose events the rule is for"
            );
            problems.push(Problem { line, place: format!("{place}, destination"), message });
        }
    }
    problems
}

/// Headers that rules read and no source keeps whose events they may be for.
fn not_kept(gateway: &moehog_gateway::Config, rules: &Rules) -> Vec<Problem> {
    let mut kept: Vec<_> = gateway.all_sources().into_iter().map(|(name, source)| (name, source.headers)).collect();
    kept.push(("capture".to_string(), gateway.capture.headers.clone()));
    let mut problems = Vec::new();
    for ReadHeader { line, place, source, header } in rules.headers() {
        let is_kept = |(name, headers): &(String, Vec<_>)| {
            source.is_none_or(|source| source == name) && headers.iter().any(|kept| *kept == header.as_str())
        };
        if !kept.iter().any(is_kept) {
            let whose =
                source.map_or("no source keeps".to_string(), |source| format!("source `{source}` does not keep"));
            let list = match source {
                Some("capture") => "capture.headers".to_string(),
                source => format!("sources.{}.headers", source.unwrap_or("NAME")),
            };
            let message = format!("{whose} the header `{header}`, so it has no value: add it to {list}");
            problems.push(Problem { line, place: place.to_string(), message });
        }
    }
    problems
}

fn load<T: DeserializeOwned>(file: Option<&Path>, defaults: &str) -> anyhow::Result<T> {
    Ok(moehog_runtime::load(defaults, file, moehog_runtime::environment())?)
}

/// Rules of a file, with the key that the configuration has.
fn rules(path: &Path, mapping: &Mapping) -> anyhow::Result<Result<Rules, Vec<Problem>>> {
    let text = read(path).with_context(|| format!("read {}", path.display()))?;
    let key = mapping.hash_key.as_ref().map(|key| key.expose().to_string());
    Ok(Rules::read(&text, key.as_ref().map(String::as_bytes)))
}

/// A file, or as much of it as says that it is too large; what a shell's `<(…)` gives is one too.
fn read(path: &Path) -> io::Result<String> {
    const MOST: u64 = 16 * 1024 * 1024;
    let mut text = String::new();
    File::open(path)?.take(MOST).read_to_string(&mut text)?;
    Ok(text)
}

/// Whether values can be hashed with the key, where there is one.
fn hash_key(mapping: &Mapping) -> anyhow::Result<()> {
    match mapping.hash_key.as_ref().and_then(Secret::fault) {
        Some(fault) => Err(anyhow!("mapping.hash_key {fault}")),
        None => Ok(()),
    }
}

/// Rules of a file that has no mistake.
pub(crate) fn usable(path: &Path, mapping: &Mapping) -> anyhow::Result<Rules> {
    hash_key(mapping)?;
    rules(path, mapping)?.map_err(|problems| anyhow!("{}", complaint(path, &problems)))
}

/// The mapping section of a configuration.
pub(crate) fn mapping(file: Option<&Path>) -> anyhow::Result<Mapping> {
    Ok(load::<moehog_transformer::Config>(file, moehog_transformer::DEFAULTS)?.mapping)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_no_source_keeps_is_a_mistake_of_the_rule_that_reads_it() {
        let variables = [
            ("SOURCES__SHOP__HEADERS", "[\"X-Campaign\"]"),
            ("SOURCES__APP__DESTINATION", "main"),
            ("CAPTURE__HEADERS", "[\"X-Page\"]"),
        ];
        let variables = variables.map(|(name, value)| (format!("MOEHOG__{name}"), value.to_string()));
        let gateway = moehog_runtime::load(moehog_gateway::Config::DEFAULTS, None, variables).unwrap();
        let told = |rule: &str| {
            let rules = Rules::read(&format!("[[rule]]\n{rule}\n"), None).unwrap();
            not_kept(&gateway, &rules).iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        for fine in [
            "event = \"{{ webhook.header['X-CAMPAIGN'] }}\"",
            "source = 'shop'\nwhen = \"webhook.header['x-campaign'] == 'a'\"",
            "source = 'capture'\nevent = \"{{ webhook.header['x-page'] | upper }}\"",
            "event = \"{{ webhook.query['x-none'] }}\"",
        ] {
            assert_eq!(told(fine), "", "{fine}");
        }
        for (wrong, says) in [
            (
                "event = \"{{ webhook.header['X-None'] }}\"",
                "no source keeps the header `x-none`, so it has no value: add it to sources.NAME.headers",
            ),
            (
                "source = 'app'\nevent = \"{{ webhook.header['x-campaign'] }}\"",
                "source `app` does not keep the header `x-campaign`, so it has no value: add it to sources.app.headers",
            ),
            ("source = 'capture'\nwhen = \"webhook.header['x-campaign'] | lower == 'a'\"", "add it to capture.headers"),
            (
                "properties = { a = { b = [\"{{ webhook.header['x-a'] ~ webhook.header['x-campaign'] }}\"] } }",
                "the header `x-a`",
            ),
        ] {
            assert!(
                told(wrong).contains(says) && told(wrong).starts_with("line 1: rule 1"),
                "{wrong}: {}",
                told(wrong)
            );
        }
    }

    #[test]
    fn a_budget_that_cannot_fit_is_said() {
        let config = |bytes: &str| {
            let variables = [("MOEHOG__JOURNAL__BUDGET_BYTES".to_string(), bytes.to_string())];
            moehog_runtime::load(moehog_gateway::Config::DEFAULTS, None, variables).unwrap()
        };
        assert_eq!(small_file_system(&config("100000000")), None);
        let note = small_file_system(&config("9000000000000000000")).unwrap();
        assert!(note.starts_with("journal.budget_bytes: 9000000000000000000 is more"), "{note}");
    }
}
