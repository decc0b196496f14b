//! All services in one process, over the calls that separate ones make.

use std::{collections::BTreeSet, io::IsTerminal, net::SocketAddr, path::Path};

use anyhow::Context;
use moehog_emulator::posthog;
use moehog_runtime::{Cores, Exit, Shortcut};
use moehog_transport::in_process;
use serde::de::DeserializeOwned;

use crate::{
    cli::{Health, Up},
    shown_events::{self, Print},
    stored,
    variables::{API_KEY, TOKEN},
    welcome::{EMULATOR_KEY, Welcome},
};

/// Keys of the services that this binary's flags and variables set: the services' remedies name them.
const SHORTCUTS: [Shortcut; 2] = [
    Shortcut { key: "destinations.default.api_key", flag: "--api-key", variable: API_KEY },
    Shortcut { key: "sources.default.tokens", flag: "--token", variable: TOKEN },
];

pub(crate) async fn run(up: Up) -> anyhow::Result<()> {
    moehog_runtime::have_shortcuts(&SHORTCUTS);
    let emulator = match up.posthog.as_deref() {
        Some("emulator") => Some(start_emulator()?),
        _ => None,
    };
    let settings = Settings::new(&up, emulator.as_ref().map(posthog::Running::url));
    let mut gateway: moehog_gateway::Config = settings.load(moehog_gateway::Config::DEFAULTS)?;
    // what strangers could send goes nowhere
    gateway.http.allow_local |= emulator.is_some() && gateway.http.listen.ip().to_canonical().is_loopback();
    let transformer: moehog_transformer::Config = settings.load(moehog_transformer::DEFAULTS)?;
    let delivery: moehog_delivery::Config = settings.load(moehog_delivery::Config::DEFAULTS)?;
    let _telemetry = moehog_telemetry::init("moehog", &gateway.telemetry)?;
    let shutdown = moehog_runtime::shutdown_on_signal()?;
    let _following = [gateway.secrets.follow(gateway.all_secrets()), delivery.secrets.follow(delivery.all_secrets())];

    // what maps slowly leaves the others to those who answer senders
    let transformer = moehog_transformer::open(&transformer.mapping, Cores::half())?;
    let posthog = match &emulator {
        Some(emulator) => vec![format!("emulator at {}", emulator.url())],
        None => hosts(&delivery),
    };
    let delivery = moehog_delivery::Delivery::new(&delivery).context(Exit::Configuration)?;
    let config = gateway.clone();
    let gateway = moehog_gateway::Gateway::bind_with(
        gateway,
        in_process(moehog_proto::transformer::server(transformer)),
        in_process(moehog_proto::delivery::server(delivery)),
    )
    .await?;

    let (http, admin) = (gateway.http_addr(), gateway.admin_addr());
    tracing::info!(%http, %admin, "listening");
    Welcome { config: &config, http, admin, posthog: &posthog, is_emulated: emulator.is_some() }.print();
    let printing = emulator.as_ref().map(|emulator| tokio::spawn(stored::print(emulator.books().subscribe())));
    // nobody reads lines of a real PostHog's but on a terminal, and there is a cost to them
    let what = if emulator.is_some() { Print::Failures } else { Print::All };
    let prints = !up.quiet && (emulator.is_some() || std::io::stdout().is_terminal());
    let feed = prints.then(|| gateway.feed().read()).flatten();
    let told = feed.map(|feed| tokio::spawn(shown_events::print(feed, what)));
    let served = gateway.serve(shutdown).await;
    if let Some(printing) = printing {
        printing.abort();
    }
    if let Some(told) = told {
        told.await.context("print what became of events")?;
    }
    served
}

/// Where the admin port of a process started with the same settings is.
pub(crate) fn admin(health: Health) -> anyhow::Result<SocketAddr> {
    let up = Up { config: health.config, admin: health.admin, ..Up::default() };
    let gateway: moehog_gateway::Config = Settings::new(&up, None).load(moehog_gateway::Config::DEFAULTS)?;
    Ok(gateway.admin.listen)
}

fn start_emulator() -> anyhow::Result<posthog::Running> {
    let emulator = posthog::PostHog::bind(SocketAddr::from(([127, 0, 0, 1], 0)), posthog::Config::default())
        .context("start the PostHog emulator")
        .context(Exit::Listen)?;
    Ok(emulator.start())
}

/// Where each value comes from: defaults, file, variables, then flags.
struct Settings<'a> {
    file: Option<&'a Path>,
    flags: Vec<(String, String)>,
}

impl<'a> Settings<'a> {
    fn new(up: &'a Up, emulator: Option<String>) -> Self {
        let mut flags = Vec::new();
        let mut set = |key: &str, value: Option<String>| {
            // written as TOML text, so that a key of digits stays text
            flags.extend(value.map(|value| (format!("MOEHOG__{key}"), toml_text(&value))));
        };
        if std::io::stderr().is_terminal() && std::env::var_os("MOEHOG__TELEMETRY__FORMAT").is_none() {
            set("TELEMETRY__FORMAT", Some("text".to_string()));
        }
        let log = if up.verbose { Some("debug") } else { up.quiet.then_some("warn") };
        set("TELEMETRY__LOG", log.map(str::to_string));
        set("HTTP__LISTEN", up.listen.map(|addr| addr.to_string()));
        set("ADMIN__LISTEN", up.admin.map(|addr| addr.to_string()));
        set("JOURNAL__DIR", up.data_dir.as_ref().map(|path| path.display().to_string()));
        let emulated = emulator.is_some();
        set("POSTHOG__HOST", emulator.or_else(|| up.posthog.clone()));
        set("DESTINATIONS__DEFAULT__API_KEY", up.api_key.clone());
        if let Some(token) = &up.token {
            flags.push(("MOEHOG__SOURCES__DEFAULT__TOKENS".to_string(), format!("[{}]", toml_text(token))));
        }
        if let Some(file) = &up.token_file {
            let tokens = format!("[{{ file = {} }}]", toml_text(&file.to_string_lossy()));
            flags.push(("MOEHOG__SOURCES__DEFAULT__TOKENS".to_string(), tokens));
        }
        let mut settings = Self { file: up.config.as_deref(), flags };
        // whoever loads the settings says what is wrong with them
        let gateway: Option<moehog_gateway::Config> =
            emulated.then(|| settings.load(moehog_gateway::Config::DEFAULTS).ok()).flatten();
        if let Some(gateway) = gateway.filter(has_no_key) {
            // only this machine may send with any key; from elsewhere one is asked for, and it is the one that is shown
            let (key, value) = match gateway.http.listen.ip().to_canonical().is_loopback() {
                true => ("SOURCES__DEFAULT__DESTINATION", format!("key:{EMULATOR_KEY}")),
                false => ("DESTINATIONS__DEFAULT__API_KEY", EMULATOR_KEY.to_string()),
            };
            settings.flags.push((format!("MOEHOG__{key}"), toml_text(&value)));
        }
        settings
    }

    fn load<T: DeserializeOwned>(&self, defaults: &str) -> anyhow::Result<T> {
        let env = moehog_runtime::environment().chain(self.flags.iter().cloned());
        Ok(moehog_runtime::load(defaults, self.file, env)?)
    }
}

/// Whether no destination has a key: the capture routes take any then, as the emulator does.
fn has_no_key(gateway: &moehog_gateway::Config) -> bool {
    gateway.destinations.values().all(|destination| destination.api_key.is_none())
}

/// A TOML basic string.
fn toml_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Every PostHog that events may go to.
fn hosts(delivery: &moehog_delivery::Config) -> Vec<String> {
    let own = delivery.destinations.values().map(|destination| destination.host.as_ref());
    let own = own.map(|host| host.unwrap_or(&delivery.posthog.host).to_string());
    let mut hosts: BTreeSet<_> = own.map(|host| host.trim_end_matches('/').to_string()).collect();
    if hosts.is_empty() {
        hosts.insert(delivery.posthog.host.to_string().trim_end_matches('/').to_string());
    }
    hosts.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::Cli;

    /// A configuration as the services read it, as text, with secrets' values.
    fn value_at(key: &str, settings: &Settings<'_>) -> String {
        let gateway: moehog_gateway::Config = settings.load(moehog_gateway::Config::DEFAULTS).unwrap();
        let secrets = gateway.all_secrets().into_iter().filter(|(name, _)| name.starts_with(key));
        secrets.map(|(_, secret)| secret.expose().to_string()).collect()
    }

    #[test]
    fn each_shorter_way_that_a_remedy_names_sets_its_key_here() {
        for Shortcut { key, flag, variable } in SHORTCUTS {
            let up = Cli::parse_from(["moehog", flag, "of-the-flag"]).up;
            assert_eq!(value_at(key, &Settings::new(&up, None)), "of-the-flag", "{key}");
            let command = Cli::command();
            let argument =
                command.get_arguments().find(|argument| argument.get_long() == flag.strip_prefix("--")).unwrap();
            assert_eq!(argument.get_env().and_then(|variable| variable.to_str()), Some(variable), "{flag}");
        }
    }

    #[test]
    fn beside_an_emulator_any_key_is_taken_unless_a_destination_has_one() {
        let destination = |file: &str, arguments: &[&str]| {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("moehog.toml");
            std::fs::write(&path, file).unwrap();
            let mut up = Cli::parse_from(["moehog"].iter().chain(arguments)).up;
            up.config = Some(path);
            let settings = Settings::new(&up, Some("http://127.0.0.1:1".to_string()));
            let gateway: moehog_gateway::Config = settings.load(moehog_gateway::Config::DEFAULTS).unwrap();
            gateway.sources.get("default").map(|source| source.destination.clone()).unwrap_or_default()
        };
        assert_eq!(destination("", &[]), "key:phc_emulator");
        assert_eq!(destination("[destinations.eu]\nhost = \"http://localhost\"\n", &[]), "key:phc_emulator");
        let with_key = "[destinations.default]\napi_key = \"phc_of_a_project\"\n";
        assert_eq!(destination(with_key, &[]), "");
        let named = format!("{with_key}[sources.default]\ndestination = \"default\"\n");
        assert_eq!(destination(&named, &[]), "default");
        assert_eq!(destination("", &["--api-key", "phc_of_a_project"]), "");
        assert_eq!(destination("", &["--listen", "0.0.0.0:0"]), "");
    }

    #[test]
    fn beside_an_emulator_a_listener_for_others_has_the_key_that_the_example_shows() {
        let up = Cli::parse_from(["moehog", "--listen", "0.0.0.0:0"]).up;
        let settings = Settings::new(&up, Some("http://127.0.0.1:1".to_string()));
        assert_eq!(value_at("destinations.default.api_key", &settings), EMULATOR_KEY);
    }

    #[test]
    fn the_hosts_are_those_that_events_go_to() {
        let told = |file: &str| {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("moehog.toml");
            std::fs::write(&path, file).unwrap();
            hosts(&moehog_runtime::load(moehog_delivery::Config::DEFAULTS, Some(&path), []).unwrap())
        };
        assert_eq!(told(""), ["https://us.i.posthog.com"]);
        let two = "[posthog]\nhost = \"http://127.0.0.1:26030\"\n[destinations.a]\n[destinations.eu]\nhost = \"eu.posthog.com\"\n";
        assert_eq!(told(two), ["http://127.0.0.1:26030", "https://eu.i.posthog.com"]);
    }

    #[test]
    fn each_key_that_a_remedy_names_is_one_of_the_configuration() {
        for key in ["destinations.eu.api_key", "sources.shop.tokens"] {
            let name = format!("MOEHOG__{}", key.to_uppercase().replace('.', "__"));
            let value = if key.ends_with("tokens") { "[\"given\"]" } else { "given" };
            let settings = Settings { file: None, flags: vec![(name, value.to_string())] };
            assert_eq!(value_at(key, &settings), "given");
        }
    }
}
