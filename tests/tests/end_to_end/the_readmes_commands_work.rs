use std::{fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context, ensure};
use moehog_tests::{Log, Process, binary, post, within};

use super::world::{SOON, taken};

const STOP: Duration = Duration::from_secs(30);

/// The bodies of README's curl lines to `/capture/`, in order.
fn bodies() -> anyhow::Result<Vec<String>> {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md"))?;
    let commands = readme.split("curl -s http://127.0.0.1:8080/capture/").skip(1);
    let bodies: Option<Vec<_>> =
        commands.map(|command| Some(command.split_once("-d '")?.1.split_once('\'')?.0.to_string())).collect();
    let bodies = bodies.context("a curl line without a body")?;
    ensure!(bodies.len() == 3, "{} curl lines in README", bodies.len());
    Ok(bodies)
}

async fn posted(http: &str) -> anyhow::Result<()> {
    let http: SocketAddr = http.parse()?;
    for body in bodies()? {
        taken(&post(http, "/capture/", &[("content-type", "application/json")], body).await?)?;
    }
    Ok(())
}

/// What PostHog stored is printed, one line an event.
async fn printed(log: &Log) -> anyhow::Result<()> {
    for event in ["moengage_event_name", "purchase_completed", "$identify"] {
        let what = format!("a line says that PostHog stored {event}");
        within(SOON, &what, async || {
            log.last(|line| {
                (line.json.is_none() && line.text.contains(event) && line.text.contains("user_42")).then_some(())
            })
        })
        .await?;
    }
    Ok(())
}

fn sound(log: &Log) -> anyhow::Result<()> {
    let complaints = log.complaints(&[]);
    ensure!(complaints.is_empty(), "{complaints:?}");
    Ok(())
}

#[tokio::test]
async fn in_one_process_with_an_emulator_and_without_a_file() -> anyhow::Result<()> {
    let (directory, log) = (tempfile::tempdir()?, Log::default());
    let mut command = Command::new(binary("moehog")?);
    command.args(["--posthog", "emulator", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.env("MOEHOG__TELEMETRY__FORMAT", "json").current_dir(directory.path());
    let mut moehog = Process::start("moehog", command, &log)?;
    posted(&moehog.logged("http", SOON).await?).await?;
    printed(&log).await?;
    ensure!(directory.path().join("moehog-data").is_dir(), "webhooks are kept in ./moehog-data");
    moehog.stop(STOP).await?;
    sound(&log)
}

#[tokio::test]
async fn as_three_services_by_hand() -> anyhow::Result<()> {
    let (directory, log) = (tempfile::tempdir()?, Log::default());
    let start = |name: &str, arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new(binary(name)?);
        command.args(arguments).current_dir(directory.path());
        command.env("MOEHOG__ADMIN__LISTEN", "127.0.0.1:0").envs(variables.iter().copied());
        Process::start(name, command, &log)
    };
    let mut emulator = start("moehog-emulator", &["posthog", "--listen", "127.0.0.1:0"], &[])?;
    let url = within(SOON, "the emulator says where it listens", async || {
        let line = |line: &moehog_tests::Line| {
            let (_, rest) = line.text.split_once("http://")?;
            let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':')).unwrap_or(rest.len());
            (line.process == "moehog-emulator").then(|| format!("http://{}", &rest[..end]))
        };
        log.last(line)
    })
    .await?;
    let any = ("MOEHOG__GRPC__LISTEN", "127.0.0.1:0");
    let key = ("MOEHOG__DESTINATIONS__DEFAULT__API_KEY", "phc_emulator");
    let mut transformer = start("moehog-transformer", &[], &[any])?;
    let mut delivery = start("moehog-delivery", &[], &[any, key, ("MOEHOG__POSTHOG__HOST", &*url)])?;
    let worker = async |worker: &mut Process| anyhow::Ok(format!("list://{}", worker.logged("grpc", SOON).await?));
    let (to_transformer, to_delivery) = (worker(&mut transformer).await?, worker(&mut delivery).await?);
    let variables = [
        key,
        ("MOEHOG__HTTP__ALLOW_LOCAL", "true"),
        ("MOEHOG__JOURNAL__DIR", "./moehog-data"),
        ("MOEHOG__HTTP__LISTEN", "127.0.0.1:0"),
        ("MOEHOG__TRANSFORMER__ADDRESS", &*to_transformer),
        ("MOEHOG__DELIVERY__ADDRESS", &*to_delivery),
    ];
    let mut gateway = start("moehog-gateway", &[], &variables)?;
    posted(&gateway.logged("http", SOON).await?).await?;
    let emulator_addr: SocketAddr = url.trim_start_matches("http://").parse()?;
    within(SOON, "three events at PostHog", async || {
        let counts = moehog_tests::get(emulator_addr, "/_emulator/counts").await.ok()?.json();
        (counts["unique"] == 3).then_some(())
    })
    .await?;
    for process in [&mut gateway, &mut delivery, &mut transformer] {
        process.stop(STOP).await?;
    }
    emulator.kill()?;
    sound(&log)
}
