//! `deploy/compose.yaml`, read as Compose reads it: the environment of each service starts the real binary, and an event arrives.

use std::{collections::BTreeMap, fs, net::SocketAddr, process::Command, time::Duration};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::Method;
use moehog_tests::{Log, Process, binary, get, post, root, send, streams, within};
use serde_json::Value;

const START: Duration = Duration::from_secs(30);
const GATEWAY: &str = "gateway";
const WORKERS: [&str; 2] = ["transformer", "delivery"];
const EMULATOR: &str = "emulator";
const SECRETS: [(&str, &str); 3] = [
    ("posthog-api-key", "phc_compose"),
    ("moengage-token", "token-of-the-sender"),
    ("admin-token", "token-of-the-operator"),
];

/// The file with its variables filled in, merge keys resolved.
fn compose(variables: &[(&str, &str)]) -> anyhow::Result<Value> {
    let text = fs::read_to_string(root().join("deploy/compose.yaml"))?;
    serde_saphyr::from_str(&filled(&text, variables)?).context("read deploy/compose.yaml")
}

/// `${NAME:-default}` as Compose fills it; any other form is none that the file may use.
fn filled(text: &str, variables: &[(&str, &str)]) -> anyhow::Result<String> {
    let (begin, parts) = text.split_once("${").map_or((text, None), |(begin, rest)| (begin, Some(rest)));
    let mut output = begin.to_string();
    for part in parts.into_iter().flat_map(|parts| parts.split("${")) {
        let (variable, rest) = part.split_once('}').context("a variable without an end")?;
        let (name, default) = variable.split_once(":-").with_context(|| format!("{variable} has no default"))?;
        output += variables.iter().find(|(known, _)| *known == name).map_or(default, |(_, value)| value);
        output += rest;
    }
    Ok(output)
}

fn service<'a>(compose: &'a Value, name: &str) -> anyhow::Result<&'a Value> {
    compose["services"].get(name).with_context(|| format!("no service {name}"))
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The services, started as far as a machine without containers can: secrets and the volume in a directory, every address on a
/// free port of the loopback.
struct Started {
    directory: tempfile::TempDir,
    log: Log,
    /// Where each one listens: for its work, and for its admin.
    addresses: BTreeMap<&'static str, (SocketAddr, SocketAddr)>,
    processes: Vec<(&'static str, Process)>,
}

impl Started {
    fn here(&self, text: &str) -> String {
        let mut text = text.to_string();
        for (name, (address, _)) in &self.addresses {
            // only the port that it listens on is its own
            let port = match *name {
                "transformer" => 50051,
                _ => 50052,
            };
            text = text.replace(&format!("dns://{name}:{port}"), &format!("list://{address}"));
        }
        let inside = |name: &str| self.directory.path().join(name).display().to_string();
        let text = text.replace("/run/secrets", &inside("secrets")).replace("/data", &inside("data"));
        match text.strip_prefix("0.0.0.0:") {
            Some(_) => "127.0.0.1:0".to_string(),
            None => text,
        }
    }

    fn command(&self, compose: &Value, name: &str) -> anyhow::Result<Command> {
        let service = service(compose, name)?;
        let program = service["build"]["args"]["SERVICE"].as_str().context("build.args.SERVICE")?;
        let mut command = Command::new(binary(program)?);
        // the image has nothing but its own variables
        command.env_clear().current_dir(self.directory.path());
        command.args(texts(&service["command"]).into_iter().map(|argument| self.here(argument)));
        for (name, value) in service["environment"].as_object().into_iter().flatten() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_string);
            command.env(name, self.here(&value));
        }
        Ok(command)
    }

    /// What the health check of a service comes to, and says.
    fn health(&self, compose: &Value, name: &str) -> anyhow::Result<(bool, String)> {
        let check = texts(&service(compose, name)?["healthcheck"]["test"]);
        let ["CMD", "/usr/local/bin/moehog-service", arguments @ ..] = &check[..] else { bail!("{name}: {check:?}") };
        let mut command = self.command(compose, name)?;
        // the one thing that this test gave another value
        command.args(arguments).env("MOEHOG__ADMIN__LISTEN", self.addresses[name].1.to_string());
        let output = command.output()?;
        Ok((output.status.success(), String::from_utf8([output.stdout, output.stderr].concat())?))
    }

    async fn start(&mut self, compose: &Value, name: &'static str) -> anyhow::Result<()> {
        let mut process = Process::start(name, self.command(compose, name)?, &self.log)?;
        let public = if name == GATEWAY { "http" } else { "grpc" };
        let address = process.logged(public, START).await?.parse()?;
        let admin = process.logged("admin", START).await?.parse()?;
        self.addresses.insert(name, (address, admin));
        self.processes.push((name, process));
        Ok(())
    }
}

fn directory() -> anyhow::Result<tempfile::TempDir> {
    let directory = tempfile::tempdir()?;
    fs::create_dir(directory.path().join("secrets"))?;
    for (name, text) in SECRETS {
        fs::write(directory.path().join("secrets").join(name), text)?;
    }
    Ok(directory)
}

/// Seconds of a span such as `40s` or `"35s"`.
fn seconds(text: &str) -> anyhow::Result<u64> {
    text.trim_matches('"')
        .strip_suffix('s')
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("{text} in s"))
}

/// `shutdown.grace` of a service as it is by default.
fn grace(name: &str) -> anyhow::Result<u64> {
    let defaults = fs::read_to_string(root().join(format!("crates/{name}/config.default.toml")))?;
    let (_, shutdown) = defaults.split_once("[shutdown]").context("a section shutdown")?;
    let line = shutdown.lines().find_map(|line| line.strip_prefix("grace = ")).context("a grace")?;
    seconds(line)
}

#[tokio::test]
async fn an_event_goes_through_the_services_with_the_environment_of_the_compose_file() -> anyhow::Result<()> {
    let (directory, log) = (directory()?, Log::default());
    let mut started = Started { directory, log: log.clone(), addresses: BTreeMap::new(), processes: Vec::new() };
    let compose_for_emulator = compose(&[])?;
    let mut emulator = Process::start(EMULATOR, started.command(&compose_for_emulator, EMULATOR)?, &log)?;
    let url = within(START, "the emulator says where it listens", async || {
        log.last(|line| line.text.strip_prefix("posthog listens on ").map(str::to_string))
    });
    let url = url.await?;

    let compose = compose(&[("POSTHOG_HOST", url.trim_end_matches('/'))])?;
    for name in [WORKERS[0], WORKERS[1], GATEWAY] {
        started.start(&compose, name).await.with_context(|| format!("start {name} as deploy/compose.yaml does"))?;
    }
    let (http, admin) = started.addresses[GATEWAY];
    let bearer = |token: &str| format!("Bearer {token}");
    let body = streams(&["user_of_compose".to_string()]);
    let refused = post(http, "/v1/in/default", &[("authorization", &bearer("another"))], body.clone()).await?;
    ensure!(refused.status == 401, "another token is answered {}", refused.status);
    let taken = post(http, "/v1/in/default", &[("authorization", &bearer(SECRETS[1].1))], body).await?;
    ensure!(taken.status == 200, "answered {}: {}", taken.status, taken.text());
    within(START, "PostHog stores the event", async || {
        log.last(|line| (line.process == EMULATOR && line.text.contains("user_of_compose")).then_some(()))
    })
    .await?;

    for name in [WORKERS[0], WORKERS[1], GATEWAY] {
        let said = started.health(&compose, name)?;
        ensure!(said.0 && said.1.trim() == "ready", "{name}: {}", said.1);
    }
    ensure!(get(admin, "/api/status").await?.status == 401, "the admin API asks for no token");
    let operator = bearer(SECRETS[2].1);
    let status = send(admin, Method::GET, "/api/status", &[("authorization", &operator)], Bytes::new()).await?;
    ensure!(status.json()["ledger"]["events"]["delivered"] == 1, "{}", status.text());
    ensure!(started.directory.path().join("data/journal/format").is_file(), "no journal on the volume");
    for (name, mut process) in std::mem::take(&mut started.processes).into_iter().rev() {
        let granted = seconds(service(&compose, name)?["stop_grace_period"].as_str().context("stop_grace_period")?)?;
        process.stop(Duration::from_secs(granted)).await?;
        let (is_healthy, said) = started.health(&compose, name)?;
        ensure!(!is_healthy && said.contains("not ready"), "{name} has gone and is healthy: {said}");
    }
    emulator.stop(START).await?;
    let complaints = log.complaints(&[]);
    ensure!(complaints.is_empty(), "{complaints:?}");
    Ok(())
}

#[test]
fn each_service_is_locked_in_and_has_time_to_stop() -> anyhow::Result<()> {
    let compose = compose(&[])?;
    let dockerfile = fs::read_to_string(root().join("deploy/Dockerfile"))?;
    for name in [GATEWAY, WORKERS[0], WORKERS[1], EMULATOR] {
        let service = service(&compose, name)?;
        ensure!(
            service["read_only"] == true && service["user"] == "65532:65532",
            "{name}: root is writable or is root"
        );
        ensure!(texts(&service["cap_drop"]) == ["ALL"], "{name} keeps capabilities");
        ensure!(texts(&service["security_opt"]) == ["no-new-privileges:true"], "{name} may gain privileges");
        let program = service["build"]["args"]["SERVICE"].as_str().context("build.args.SERVICE")?;
        ensure!(dockerfile.contains(&format!("--package {program} ")), "{name}: the Dockerfile builds no {program}");
        let context = root().join("deploy").join(service["build"]["context"].as_str().context("build.context")?);
        let file = context.join(service["build"]["dockerfile"].as_str().context("build.dockerfile")?);
        ensure!(file.is_file(), "{name}: no {}", file.display());
        ensure!(
            service["image"].as_str().is_some_and(|image| image.starts_with(&format!("{program}:"))),
            "{name}: image"
        );
        if name != EMULATOR {
            let granted = seconds(service["stop_grace_period"].as_str().context("stop_grace_period")?)?;
            let needed = grace(name)?;
            ensure!(granted >= needed + 5, "{name} is killed after {granted} s, and may need {needed}");
        }
        for port in texts(&service["ports"]) {
            ensure!(port.starts_with("127.0.0.1:"), "{name}: {port} is open to the network, without TLS");
        }
    }
    Ok(())
}

#[test]
fn what_a_service_names_is_declared_and_in_reach() -> anyhow::Result<()> {
    let compose = compose(&[])?;
    for (name, service) in compose["services"].as_object().context("services")? {
        let (secrets, networks) = (texts(&service["secrets"]), texts(&service["networks"]));
        for secret in &secrets {
            ensure!(compose["secrets"].get(secret).is_some(), "{name}: no secret {secret}");
        }
        for network in &networks {
            ensure!(compose["networks"].get(network).is_some(), "{name}: no network {network}");
        }
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            let Some(value) = value.as_str() else { continue };
            for path in value.split('"').filter_map(|part| part.strip_prefix("/run/secrets/")) {
                ensure!(secrets.contains(&path), "{name}: {variable} reads {path}, which it is not given");
            }
            if let Some(host) = value.strip_prefix("dns://") {
                let host = host.split(':').next().unwrap_or_default();
                let other = texts(&compose["services"][host]["networks"]);
                ensure!(networks.iter().any(|network| other.contains(network)), "{name}: {variable} is out of reach");
            }
        }
    }
    let transformer = texts(&compose["services"]["transformer"]["networks"]);
    let locked_in = compose["networks"]["inside"]["internal"] == true;
    ensure!(locked_in && transformer == ["inside"], "the transformer could reach out");
    Ok(())
}
