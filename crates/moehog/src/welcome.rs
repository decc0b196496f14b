//! The lines that a start prints: where everything is, and a command that works.

use std::{net::SocketAddr, path::Path};

use moehog_gateway::{Config, Source};
use moehog_runtime::{Secret, ways_to_set};
use moehog_telemetry::terminal::shown;

use crate::variables;

/// The project key that the emulator's own examples use.
pub(crate) const EMULATOR_KEY: &str = "phc_emulator";

/// What has started.
pub(crate) struct Welcome<'a> {
    pub(crate) config: &'a Config,
    /// Where webhooks are taken.
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Every PostHog that events may go to.
    pub(crate) posthog: &'a [String],
    pub(crate) is_emulated: bool,
}

impl Welcome<'_> {
    #[expect(clippy::print_stdout, reason = "for the person who started it")]
    pub(crate) fn print(&self) {
        self.lines().iter().for_each(|line| println!("{}", shown(line)));
        if std::env::args().any(|argument| argument == "--token" || argument.starts_with("--token=")) {
            println!("  (whoever lists this machine's processes sees --token: --token-file or MOEHOG_TOKEN hides it)");
        }
    }

    fn lines(&self) -> Vec<String> {
        let (http, admin) = (reached(self.http), reached(self.admin));
        let capture = self.config.capture.enabled.then(|| format!("http://{http}/capture/"));
        let sources = self.config.all_sources();
        let ways = capture.into_iter().chain(sources.keys().map(|name| format!("http://{http}/v1/in/{name}")));
        let ways: Vec<_> = ways.collect();
        let mut lines = vec![
            format!("moehog {}", env!("CARGO_PKG_VERSION")),
            format!("  webhooks  {}", ways.join("  ")),
            format!("  admin     http://{admin}/readyz  /metrics  /api/status"),
            format!("  data      {}", self.config.journal.dir.display()),
            format!("  posthog   {}", self.posthog.join("  ")),
        ];
        if self.http.ip().is_unspecified() {
            lines.push(format!(
                "  others    may connect too, at each address of this machine, port {}",
                self.http.port()
            ));
        }
        if self.is_emulated && self.http.ip().to_canonical().is_loopback() {
            let text =
                "  local     whoever is on this machine may send without a token, since the PostHog is an emulator";
            lines.push(text.to_string());
        }
        lines.push("try:".to_string());
        lines.extend(self.example(http).into_iter().map(|line| format!("  {line}")));
        lines
    }

    /// A command that works as it stands, or what it lacks.
    fn example(&self, http: SocketAddr) -> Vec<String> {
        let config = self.config;
        let keys = config.destinations.values().filter_map(|destination| destination.api_key.as_ref());
        let keys: Vec<_> = keys.map(Secret::expose).collect();
        let takes_emulators_key = self.is_emulated && keys.iter().all(|key| &**key == EMULATOR_KEY);
        if takes_emulators_key && config.capture.enabled && config.capture.tokens.is_empty() {
            return vec![format!(
                r#"curl -s http://{http}/capture/ -d '{{"api_key":"{EMULATOR_KEY}","event":"purchase_completed","distinct_id":"user_42","properties":{{"amount":"49.90"}}}}'"#
            )];
        }
        let sources = config.all_sources();
        let shown = |(name, source)| Some((name, credentials(name, source, config.http.allow_local)?));
        let Some((name, (shown, how))) = sources.iter().map(|(name, source)| (name.as_str(), source)).find_map(shown)
        else {
            let name = sources.keys().next().map_or("default", String::as_str);
            let tokens = ways_to_set(&format!("sources.{name}.tokens"));
            return vec![format!("nobody may send yet: set {tokens}")];
        };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let curl = format!(
            r#"curl -s http://{http}/v1/in/{name}{shown} -d '{{"events":[{{"event_name":"Email Opened","event_code":"MOE_EMAIL_OPEN","event_uuid":"3b918064-08dc-47ae-b674-c23797475a8d","event_time":{now},"uid":"user_42","event_attributes":{{"campaign_name":"Spring sale"}}}}]}}'"#
        );
        how.into_iter().chain([curl]).collect()
    }
}

/// What a sender to a source adds to its command, and what must be done before; none where no command can show what it asks for. Without a
/// secret only those may send whom `allow_local` or an address lets in.
fn credentials(name: &str, source: &Source, allow_local: bool) -> Option<(String, Option<String>)> {
    if source.signature.is_some() || source.from.is_some() {
        return None;
    }
    let header = match source.header.as_str() {
        "authorization" => "Authorization: Bearer ".to_string(),
        other => format!("{other}: "),
    };
    if let Some(token) = source.tokens.first() {
        let variable = std::env::var(variables::TOKEN).is_ok_and(|value| *value == *token.expose());
        return Some(match token.file() {
            Some(file) => (format!(r#" -H "{header}$({})""#, printing(file, &token.expose())), None),
            None if variable => (format!(r#" -H "{header}${}""#, variables::TOKEN), None),
            None => {
                let how = format!(
                    "read -rs {}    # and type the token of the source {name}, which is not printed",
                    variables::TOKEN
                );
                (format!(r#" -H "{header}${}""#, variables::TOKEN), Some(how))
            }
        });
    }
    match source.basic.first() {
        // curl asks for the password
        Some(basic) => Some((format!(" -u {}", quoted(Path::new(&basic.user))), None)),
        None => allow_local.then(|| (String::new(), None)),
    }
}

/// The command that prints a token from its file: a byte order mark and the line ends of Windows are no part of it.
fn printing(file: &Path, token: &str) -> String {
    let is_plain = std::fs::read_to_string(file).is_ok_and(|text| text.trim_end_matches('\n') == token);
    match is_plain {
        true => format!("cat {}", quoted(file)),
        false => format!(r"LC_ALL=C tr -d '\r\n\357\273\277' < {}", quoted(file)),
    }
}

/// As a shell reads it as one word.
fn quoted(text: &Path) -> String {
    format!("'{}'", text.to_string_lossy().replace('\'', r"'\''"))
}

/// Where something that listens is reached from this machine.
fn reached(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::new([127, 0, 0, 1].into(), v4.port()),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), v6.port())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(variables: &[(&str, &str)], http: &str, is_emulated: bool) -> Vec<String> {
        let variables = variables.iter().map(|(name, value)| (format!("MOEHOG__{name}"), (*value).to_string()));
        let config: Config = moehog_runtime::load(Config::DEFAULTS, None, variables).unwrap();
        let posthog = ["https://eu.i.posthog.com".to_string()];
        let admin = "127.0.0.1:9080".parse().unwrap();
        Welcome { config: &config, http: http.parse().unwrap(), admin, posthog: &posthog, is_emulated }.lines()
    }

    #[test]
    fn the_sources_and_hosts_are_those_of_the_configuration() {
        let variables = [
            ("SOURCES__STREAMS__TOKENS", "[\"a-long-enough-token\"]"),
            ("SOURCES__FLOWS__DESTINATION", "eu"),
            ("CAPTURE__ENABLED", "false"),
        ];
        let told = lines(&variables, "0.0.0.0:8080", false);
        assert_eq!(told[1], "  webhooks  http://127.0.0.1:8080/v1/in/flows  http://127.0.0.1:8080/v1/in/streams");
        assert_eq!(told[4], "  posthog   https://eu.i.posthog.com");
        // `flows` takes nothing from anybody
        let last = told.last().unwrap();
        let begins = "  curl -s http://127.0.0.1:8080/v1/in/streams -H \"Authorization: Bearer $MOEHOG_TOKEN\" -d '";
        assert!(last.starts_with(begins), "{last}");
        assert!(!told.iter().any(|line| line.contains("a-long-enough-token")), "{told:?}");
    }

    #[test]
    fn the_example_shows_what_the_source_asks_for() {
        let example = |variables: &[(&str, &str)], is_emulated| lines(variables, "[::]:80", is_emulated).pop().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("to'ken");
        std::fs::write(&file, "a-long-enough-token").unwrap();
        let in_file = format!("[{{ file = {file:?} }}]");
        let quoted = file.to_str().unwrap().replace('\'', r"'\''");
        let of_windows = directory.path().join("windows");
        std::fs::write(&of_windows, "\u{feff}a-long-enough-token\r\n").unwrap();
        let without_mark = format!("$(LC_ALL=C tr -d '\\r\\n\\357\\273\\277' < '{}')\" -d", of_windows.display());
        let of_windows = format!("[{{ file = {of_windows:?} }}]");
        for (variables, shows) in [
            (vec![("SOURCES__A__TOKENS", &*of_windows)], without_mark),
            (
                vec![("SOURCES__A__TOKENS", &*in_file)],
                format!("/v1/in/a -H \"Authorization: Bearer $(cat '{quoted}')\" -d"),
            ),
            (
                vec![("SOURCES__A__TOKENS", &*in_file), ("SOURCES__A__HEADER", "x-shop")],
                format!("/v1/in/a -H \"x-shop: $(cat '{quoted}')\" -d"),
            ),
            (
                vec![("SOURCES__A__BASIC", "[{ user = \"moe\", password = \"a-long-password\" }]")],
                "/v1/in/a -u 'moe' -d".to_string(),
            ),
            (vec![("HTTP__ALLOW_LOCAL", "true")], "curl -s http://[::1]:80/v1/in/default -d".to_string()),
            (vec![], "  nobody may send yet: set sources.default.tokens".to_string()),
        ] {
            let told = example(&variables, false);
            assert!(told.contains(&shows), "{shows}: {told}");
        }
        assert!(example(&[], true).contains("http://[::1]:80/capture/ -d '{\"api_key\":\"phc_emulator\""));
        let own_key = [("DESTINATIONS__DEFAULT__API_KEY", "phc_own"), ("HTTP__ALLOW_LOCAL", "true")];
        assert!(example(&own_key, true).contains("/v1/in/default -d"));
    }
}
