//! Everything in `deploy/examples` is run as its page says.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use minijinja::{Environment, Value as Filled};
use moehog_emulator::posthog::{Running, StoredEvent};
use moehog_tests::{Deployment, Setup, Shape, binary, post, root};
use serde_json::{Value, json};

use super::world::{KEY, SOON, arrived, posthog, posthog_with, stream, taken};

fn example(name: &str) -> PathBuf {
    root().join("deploy/examples").join(name)
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn json(path: &Path) -> anyhow::Result<Value> {
    serde_json::from_str(&read(path)?).with_context(|| path.display().to_string())
}

/// What the command for a connector in the page prints with `--body`.
fn connector(name: &str) -> anyhow::Result<String> {
    let page = read(&example("README.md"))?.replace("\\\n", " ");
    let line = page.lines().find(|line| line.starts_with("moehog connector") && line.ends_with(&format!("# {name}")));
    let line = line.with_context(|| format!("the page has no command for {name}"))?;
    let (command, _) = line.rsplit_once('#').context("a comment")?;
    let moehog = binary("moehog")?;
    let command = command.replacen("moehog", &format!("'{}'", moehog.display()), 1) + " --body";
    let output = Command::new("sh").args(["-c", &command]).output()?;
    ensure!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Whether an event has all that is expected of it.
fn has(event: &StoredEvent, expected: &Value) -> anyhow::Result<()> {
    let found: Value = event.json();
    for name in ["event", "distinct_id", "timestamp"] {
        ensure!(expected.get(name).is_none_or(|value| *value == found[name]), "{name} of {found} is not {expected}");
    }
    for (name, value) in expected["properties"].as_object().into_iter().flatten() {
        ensure!(found["properties"][name] == *value, "{name} of {found} is not {value}");
    }
    Ok(())
}

fn the_event(posthog: &Running, named: &str) -> anyhow::Result<std::sync::Arc<StoredEvent>> {
    let mut events = posthog.books().events();
    events.retain(|event| event.event == named);
    ensure!(events.len() == 1, "{} events `{named}`", events.len());
    Ok(events.remove(0))
}

async fn as_connector(name: &str) -> anyhow::Result<()> {
    let directory = example(name);
    let body = read(&directory.join("connector.jinja"))?;
    ensure!(body == connector(name)?, "connector.jinja is not what the page's command prints");
    let sample = json(&directory.join("sample.json"))?;
    let filled = Environment::new()
        .render_str(&body.replace("{% MOE_NOT_SEND(\"no ID\") %}", ""), serde_json::from_value::<Filled>(sample)?)?;
    let posthog = posthog()?;
    let moehog = Deployment::start(Setup::new(Shape::One, &posthog.url(), KEY)).await?;
    taken(&stream(&moehog, filled).await?)?;
    arrived(&posthog, 1, SOON).await?;
    let expected = json(&directory.join("expect.json"))?;
    has(&*the_event(&posthog, expected["event"].as_str().context("event")?)?, &expected)?;
    moehog.finish().await
}

async fn as_streams(name: &str) -> anyhow::Result<()> {
    let directory = example(name);
    let sample = json(&directory.join("sample.json"))?;
    let body = json!({"events": [{
        "event_name": sample["event"], "event_code": sample["event"], "uid": sample["UserAttribute"]["ID"],
        "event_uuid": "3b918064-08dc-47ae-b674-c23797475a8d", "event_time": 1_767_225_600,
        "event_attributes": sample["EventAttribute"], "user_attributes": sample["UserAttribute"],
    }]});
    let posthog = posthog()?;
    let mut setup = Setup::new(Shape::One, &posthog.url(), KEY);
    let mapping = directory.join("mapping.toml").display().to_string();
    setup.variables.push(("MOEHOG__MAPPING__FILE".to_string(), mapping));
    let moehog = Deployment::start(setup).await?;
    taken(&stream(&moehog, body.to_string()).await?)?;
    arrived(&posthog, 1, SOON).await?;
    let expected = json(&directory.join("expect.json"))?;
    has(&*the_event(&posthog, expected["event"].as_str().context("event")?)?, &expected)?;
    moehog.finish().await
}

#[tokio::test]
async fn as_connectors() -> anyhow::Result<()> {
    for name in ["generic", "purchase", "identify"] {
        as_connector(name).await.with_context(|| format!("{name} as a connector"))?;
    }
    Ok(())
}

#[tokio::test]
async fn as_mapping_files() -> anyhow::Result<()> {
    for name in ["generic", "purchase", "identify"] {
        as_streams(name).await.with_context(|| format!("{name} from Streams"))?;
    }
    Ok(())
}

/// The configuration of an example, with its files filled and PostHog here; the hosts that it names are taken out.
fn setup(name: &str, posthog: &Running, files: &[(&str, &str)]) -> anyhow::Result<(Setup, tempfile::TempDir)> {
    let directory = tempfile::tempdir()?;
    let mut file = read(&example(name).join("moehog.toml"))?;
    for (file_name, text) in files {
        fs::write(directory.path().join(file_name), text)?;
        file =
            file.replace(&format!("\"{file_name}\""), &format!("\"{}\"", directory.path().join(file_name).display()));
    }
    file = file
        .replace("file = \"mapping.toml\"", &format!("file = \"{}\"", example(name).join("mapping.toml").display()));
    file = file.lines().filter(|line| !line.starts_with("host = ")).map(|line| format!("{line}\n")).collect();
    let mut setup = Setup::new(Shape::One, &posthog.url(), KEY);
    setup.file = file;
    setup.variables.push(("MOEHOG__POSTHOG__HOST".to_string(), posthog.url()));
    Ok((setup, directory))
}

#[tokio::test]
async fn as_streams_of_a_whole_workspace() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let files = [("streams-token", "token-of-streams"), ("posthog-key", KEY), ("hash-key", "pepper-and-salt-1")];
    let (setup, _directory) = setup("streams", &posthog, &files)?;
    let moehog = Deployment::start(setup).await?;
    let body = read(&example("streams").join("body.json"))?;
    let answer = post(moehog.http()?, "/v1/in/streams", &[("authorization", "Bearer token-of-streams")], body).await?;
    taken(&answer)?;
    arrived(&posthog, 2, SOON).await?;
    let opened = the_event(&posthog, "email_opened")?;
    has(
        &opened,
        &json!({"distinct_id": "user_42", "properties": {"channel": "email", "campaign_name": "Spring sale"}}),
    )?;
    ensure!(opened.properties()["moe_email_id"].as_str().is_some_and(|hash| hash.len() == 64), "the address left");
    let bought = the_event(&posthog, "purchase_completed")?;
    has(&bought, &json!({"properties": {"amount": 49.9, "store_id": "7", "member": true}}))?;
    moehog.drained(SOON).await?;
    ensure!(posthog.books().unique() == 2, "the noise came through");
    moehog.finish().await
}

#[tokio::test]
async fn as_two_projects() -> anyhow::Result<()> {
    let posthog = posthog_with(["phc_of_shop", "phc_of_app"])?;
    let files = [
        ("shop-token", "a-token-of-the-shop"),
        ("app-token", "a-token-of-the-app"),
        ("shop-key", "phc_of_shop"),
        ("app-key", "phc_of_app"),
    ];
    let (setup, _directory) = setup("two-destinations", &posthog, &files)?;
    let moehog = Deployment::start(setup).await?;
    for (source, header, value) in
        [("shop", "authorization", "Bearer a-token-of-the-shop"), ("app", "x-moehog-token", "a-token-of-the-app")]
    {
        let body = json!({"event": source, "distinct_id": "user_42", "properties": {}}).to_string();
        taken(&post(moehog.http()?, &format!("/v1/in/{source}"), &[(header, value)], body).await?)?;
    }
    arrived(&posthog, 2, SOON).await?;
    let keys: BTreeMap<_, _> =
        posthog.books().events().iter().map(|event| (event.event.clone(), event.key.to_string())).collect();
    ensure!(keys["shop"] == "phc_of_shop" && keys["app"] == "phc_of_app", "{keys:?}");
    moehog.finish().await
}

#[tokio::test]
async fn as_one_sender_into_two_projects() -> anyhow::Result<()> {
    let posthog = posthog_with(["phc_of_main", "phc_of_eu"])?;
    let files = [("shop-token", "a-token-of-the-shop"), ("main-key", "phc_of_main"), ("eu-key", "phc_of_eu")];
    let (setup, _directory) = setup("routes", &posthog, &files)?;
    let moehog = Deployment::start(setup).await?;
    let body = read(&example("routes").join("body.json"))?;
    taken(&post(moehog.http()?, "/v1/in/shop", &[("authorization", "Bearer a-token-of-the-shop")], body).await?)?;
    arrived(&posthog, 2, SOON).await?;
    let keys: BTreeMap<_, _> =
        posthog.books().events().iter().map(|event| (event.distinct_id.clone(), event.key.to_string())).collect();
    ensure!(keys["user_de"] == "phc_of_eu" && keys["user_us"] == "phc_of_main", "{keys:?}");
    moehog.finish().await
}
