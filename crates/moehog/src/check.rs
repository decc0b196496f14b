//! `moehog check`: a configuration and a mapping file, looked at without starting anything.

mod report;
mod whole;

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use moehog_runtime::{ConfigError, Mistake, Secret, Written};
use moehog_transformer::{Mapping, Named, Problem, ReadHeader, Rules, complaint};
use serde::de::DeserializeOwned;

use self::{
    report::{Finding, Report, name},
    whole::{Whole, key_fault},
};
use crate::{cli::Check, variables};

/// Files by what stands in them, with their texts.
#[derive(Default)]
struct Files {
    config: Option<(PathBuf, String)>,
    mapping: Option<(PathBuf, String)>,
}

pub(crate) fn run(check: &Check) -> anyhow::Result<()> {
    let files = Files::read(check)?;
    let mut report = Report::default();
    let has_file = files.config.is_some();
    let environment: Vec<_> = moehog_runtime::environment().collect();
    report.variables = environment.len();
    report.configuration = files.config.as_ref().map(|(path, _)| name(path));
    let config = report.configuration.clone();
    let written = match Written::new(files.config, environment.clone()) {
        Ok(written) => written,
        Err(error) => {
            report.mistakes.push(unreadable(&error, config.as_deref()));
            // the variables can be judged without it
            Written::new(None, environment)?
        }
    };
    let mut unread = written.mistakes().to_vec();
    let gateway = part::<moehog_gateway::Config>(&written, moehog_gateway::Config::DEFAULTS, &mut unread);
    let delivery = part::<moehog_delivery::Config>(&written, moehog_delivery::Config::DEFAULTS, &mut unread);
    let transformer = part::<moehog_transformer::Config>(&written, moehog_transformer::DEFAULTS, &mut unread);
    let mapping = transformer.map(|transformer| transformer.mapping).unwrap_or_default();
    let mut mistakes = unread.clone();
    if let Some(fault) = mapping.hash_key.as_ref().and_then(Secret::fault) {
        mistakes.push(Mistake::new("mapping.hash_key", format!("mapping.hash_key {fault}")));
    }
    let mut notes = Vec::new();
    if let Some(gateway) = &gateway {
        mistakes.extend(gateway.contradictions());
        let (has_key, has_token) = (env::var_os(variables::API_KEY).is_some(), env::var_os(variables::TOKEN).is_some());
        let whole =
            Whole { written: &written, gateway, delivery: delivery.as_ref(), unread: &unread, has_key, has_token };
        mistakes.extend(whole.mistakes());
        notes.extend(whole.doubts());
        notes.extend(small_file_system(gateway).map(|note| Mistake::new("journal.budget_bytes", note)));
        notes.extend(gateway.secret_weaknesses().into_iter().map(|weakness| Mistake::new("", weakness)));
    }
    let weak_key = mapping.hash_key.as_ref().and_then(Secret::weakness);
    notes.extend(weak_key.map(|weakness| Mistake::new("mapping.hash_key", format!("mapping.hash_key {weakness}"))));
    let place = |mistake: Mistake| Finding::of(mistake, |key| written.place(key), config.as_deref());
    report.mistakes.extend(mistakes.into_iter().map(place));
    report.notes.extend(notes.into_iter().map(place));
    if let Some(fault) = env::var(variables::API_KEY).ok().and_then(|key| key_fault(key.trim())) {
        let text = format!("the key {fault}");
        report.mistakes.push(Finding { variable: Some(variables::API_KEY.to_string()), text, ..Finding::default() });
    }
    let rules = match (files.mapping, &mapping.file) {
        (Some(read), _) => Some(read),
        (None, Some(path)) => Some((path.clone(), read_named(path)?)),
        (None, None) => None,
    };
    if let Some((path, text)) = rules {
        let file = name(&path);
        // which sources there are is not known of a mapping file alone
        let gateway = gateway.as_ref().filter(|_| has_file);
        let problems = match parsed(&text, &mapping) {
            Ok(rules) => {
                report.rules = Some((rules.count(), rules.revision().to_string()));
                gateway.map(|gateway| [unreachable(gateway, &rules), not_kept(gateway, &rules)].concat())
            }
            Err(problems) => Some(problems),
        };
        report.mistakes.extend(problems.into_iter().flatten().map(|problem| Finding::in_rules(&problem, &file)));
        report.mapping = Some(file);
    }
    report.print(check.json);
    match report.mistakes.len() {
        0 => Ok(()),
        1 => bail!("one mistake"),
        many => bail!("{many} mistakes"),
    }
}

impl Files {
    fn read(check: &Check) -> anyhow::Result<Self> {
        let mut files = Self::default();
        for path in &check.files {
            let text = read_named(path)?;
            let (place, kind) = match is_configuration(&text) {
                true => (&mut files.config, "configuration"),
                false => (&mut files.mapping, "mapping"),
            };
            if let Some((other, _)) = place {
                bail!("{} and {} are both {kind} files: give one of them", other.display(), path.display());
            }
            *place = Some((path.clone(), text));
        }
        if let Some(path) = &check.config {
            // a file that is typed wins over the variable
            let is_typed = env::var_os("MOEHOG_CONFIG") != Some(OsString::from(path));
            match &files.config {
                Some((other, _)) if is_typed && other != path => {
                    bail!("{} and {} are both configuration files: give one of them", other.display(), path.display())
                }
                Some(_) => {}
                None => files.config = Some((path.clone(), read_named(path)?)),
            }
        }
        Ok(files)
    }
}

/// Whether a file is a configuration and no mapping, by the names at its top level, also where it is no TOML. `sources` can be either's.
fn is_configuration(text: &str) -> bool {
    const OF_MAPPINGS: [&str; 9] =
        ["all", "allow", "date_order", "heal", "identity", "privacy", "rule", "timezone", "types"];
    let heads = text.lines().filter_map(|line| line.trim().strip_prefix('['));
    let heads = heads.map(|head| head.trim_start_matches('[').split([']', '.']).next().unwrap_or_default().trim());
    let top = text.lines().take_while(|line| !line.trim_start().starts_with('['));
    let top =
        top.filter_map(|line| line.split_once('=')).map(|(key, _)| key.trim().split('.').next().unwrap_or_default());
    let names: Vec<_> = heads.chain(top).collect();
    let keys_of_sources = ["destination", "tokens", "basic", "routes", "from", "header", "headers", "signature"];
    let is_key_of_source =
        |line: &str| line.split_once('=').is_some_and(|(key, _)| keys_of_sources.contains(&key.trim()));
    if names.iter().any(|name| OF_MAPPINGS.contains(name)) {
        return false;
    }
    names.iter().any(|name| *name != "sources" && moehog_runtime::is_section(name))
        || names.contains(&"sources") && text.lines().any(is_key_of_source)
}

/// The part of one service, with what cannot be read of it added where no other part has told it.
fn part<T: DeserializeOwned>(written: &Written, defaults: &str, told: &mut Vec<Mistake>) -> Option<T> {
    let (config, mistakes) = written.review(defaults);
    for mistake in mistakes {
        if told.iter().all(|other| other.key != mistake.key) {
            told.push(mistake);
        }
    }
    config
}

/// A file that is no TOML, of which nothing else can be said.
fn unreadable(error: &ConfigError, file: Option<&str>) -> Finding {
    let file = file.map(str::to_string);
    match error {
        ConfigError::Syntax { line, column, why, .. } => {
            let text = format!("{why}: the rest of the file is looked at once that is mended");
            Finding { file, line: Some(*line), column: Some(*column), text, ..Finding::default() }
        }
        other => Finding { file, text: other.to_string(), ..Finding::default() },
    }
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
    let known: Vec<_> = gateway.destinations.keys().collect();
    for Named { line, place, source, destination } in rules.destinations() {
        if !known.is_empty() && !gateway.destinations.contains_key(destination) {
            let message =
                format!("there is no destination `{destination}`: {}", moehog_runtime::meant(destination, &known));
            problems.push(Problem { line, place: format!("{place}, destination"), message });
            continue;
        }
        if let Some(name) = source.filter(|name| *name != "capture" && !sources.contains_key(*name)) {
            let known: Vec<_> = sources.keys().collect();
            let message = format!("there is no source `{name}`: {}", moehog_runtime::meant(name, &known));
            problems.push(Problem { line, place: format!("{place}, source"), message });
        }
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
fn parsed(text: &str, mapping: &Mapping) -> Result<Rules, Vec<Problem>> {
    let key = mapping.hash_key.as_ref().map(|key| key.expose().to_string());
    Rules::read(text, key.as_ref().map(String::as_bytes))
}

fn read_named(path: &Path) -> anyhow::Result<String> {
    read(path).with_context(|| format!("read {}", path.display()))
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
    parsed(&read_named(path)?, mapping).map_err(|problems| anyhow!("{}", complaint(path, &problems)))
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
    fn a_file_is_told_by_what_stands_in_it() {
        for config in [
            "[http]\nlisten = 1\n",
            "# ours\n[sources.shop]\ndestination = \"eu\"\n",
            "destinations.eu.api_key = \"phc_x\"",
            "[http\nlisten = 1\n[[\n[posthog]\n",
        ] {
            assert!(is_configuration(config), "{config}");
        }
        for mapping in [
            "",
            "[[rule]]\nevent = \"a\"\n",
            "heal = \"all\"\n[[rul",
            "[sources.shop]\ntimezone = \"Asia/Kolkata\"\n",
            "[soruces.x]\n",
        ] {
            assert!(!is_configuration(mapping), "{mapping}");
        }
    }

    #[test]
    fn a_rule_that_names_a_destination_or_source_that_is_not_there_is_told_once() {
        let variables = [
            ("DESTINATIONS__SHOP__API_KEY", "phc_shop"),
            ("SOURCES__WEB__DESTINATION", "shop"),
            ("SOURCES__APP__DESTINATION", "shop"),
        ];
        let variables = variables.map(|(name, value)| (format!("MOEHOG__{name}"), value.to_string()));
        let gateway = moehog_runtime::load(moehog_gateway::Config::DEFAULTS, None, variables).unwrap();
        let told = |rule: &str| {
            let rules = Rules::read(&format!("[[rule]]\n{rule}\n"), None).unwrap();
            unreachable(&gateway, &rules).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told("destination = \"shop\""), [""; 0]);
        assert_eq!(
            told("destination = \"shpo\""),
            ["line 1: rule 1, destination: there is no destination `shpo`: did you mean `shop`?"]
        );
        assert_eq!(
            told("source = \"wbe\"\ndestination = \"shop\""),
            ["line 1: rule 1, source: there is no source `wbe`: did you mean `web`?"]
        );
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
