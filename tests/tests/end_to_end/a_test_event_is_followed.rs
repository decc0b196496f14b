use std::{
    net::{Ipv4Addr, TcpListener},
    process::{Command, Output},
};

use anyhow::ensure;
use moehog_emulator::posthog::{Action, Rule};
use moehog_tests::{Deployment, Dns, Service, Setup, Shape, TOKEN, binary};
use serde_json::Value;

use super::world::{KEY, event_of, posthog, posthog_with};

const EVENT: &str = "moehog_test";
const PERSON: &str = "moehog-test";

/// Runs `moehog send-test` as a person does; the emulator needs this thread meanwhile.
async fn send_test(url: &str, admin: &str, arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(binary("moehog")?);
    command.args(["send-test", "--url", url, "--admin", admin]).args(arguments);
    command.env_remove("MOEHOG_TOKEN").env_remove("MOEHOG_ADMIN_TOKEN");
    Ok(tokio::task::spawn_blocking(move || command.output()).await??)
}

/// Posts to a path of a deployment and asks its admin port.
async fn to(moehog: &Deployment, path: &str, arguments: &[&str]) -> anyhow::Result<Output> {
    send_test(&format!("http://{}{path}", moehog.http()?), &moehog.admin()?.to_string(), arguments).await
}

/// Checks that it ended with 0, and gives what it printed.
fn delivered(output: &Output) -> anyhow::Result<String> {
    let (text, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "ended with {}: {text}{complaint}", output.status);
    Ok(text.into_owned())
}

/// Checks that it ended with 1, and that what it complains of holds these parts.
fn complains(output: &Output, parts: &[&str]) -> anyhow::Result<()> {
    let (text, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.code() == Some(1), "ended with {}: {text}{complaint}", output.status);
    holds(&complaint, parts)
}

fn holds(text: &str, parts: &[&str]) -> anyhow::Result<()> {
    for part in parts {
        ensure!(text.contains(part), "`{part}` is not said: {text}");
    }
    Ok(())
}

#[tokio::test]
async fn until_posthog_has_it_by_each_way_in() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let setup = Setup::new(Shape::Three, &posthog.url(), KEY)
        .section("[sources.other]\ntokens = [\"token-of-the-other\"]\nheader = \"x-key\"\n")
        .section("[api]\ntokens = [\"token-for-people\"]\n");
    let moehog = Deployment::start(setup).await?;
    let (token, admin) = (moehog.directory().join("token"), moehog.directory().join("admin"));
    std::fs::write(&token, format!("{TOKEN}\n"))?;
    std::fs::write(&admin, "token-for-people\n")?;
    let (token, admin) = (token.display().to_string(), admin.display().to_string());

    let by_file = ["--token-file", &*token, "--admin-token-file", &*admin];
    let text = delivered(&to(&moehog, "/v1/in/default", &by_file).await?)?;
    holds(&text, &["posts", "taken", "receipt", "mapped", EVENT, "delivered  after"])?;
    let event = event_of(&posthog, PERSON, EVENT)?;
    ensure!(event.properties()["$process_person_profile"] == false, "it makes a person: {event:?}");

    let as_json = ["--token", TOKEN, "--admin-token", "token-for-people", "--json"];
    let json: Value = serde_json::from_str(&delivered(&to(&moehog, "/v1/in/default", &as_json).await?)?)?;
    ensure!(json["outcome"] == "delivered" && json["event"]["event"] == EVENT, "{json:#}");
    ensure!(json["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{json:#}");

    let by_header = ["--token", "token-of-the-other", "--token-header", "x-key", "--admin-token", "token-for-people"];
    delivered(&to(&moehog, "/v1/in/other", &by_header).await?)?;
    let by_key = ["--api-key", KEY, "--admin-token", "token-for-people"];
    delivered(&to(&moehog, "/capture/", &by_key).await?)?;
    let events = posthog.books().events();
    let personless = events.iter().filter(|event| event.properties()["$process_person_profile"] == false).count();
    ensure!((events.len(), personless) == (4, 4), "{events:?}");

    complains(&to(&moehog, "/v1/in/default", &["--token", TOKEN]).await?, &["it was taken, receipt", "--admin-token"])?;
    moehog.finish().await
}

#[tokio::test]
async fn and_a_refusal_names_the_header_and_the_flag() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let moehog = Deployment::start(Setup::new(Shape::One, &posthog.url(), KEY)).await?;
    let wrong = to(&moehog, "/v1/in/default", &["--token", "wrong"]).await?;
    complains(&wrong, &["401", "token_wrong, authorization", "sources.NAME", "--token"])?;
    complains(&to(&moehog, "/v1/in/default", &[]).await?, &["token_missing", "--token-file"])?;
    // a header of one's own is sent as it is
    let own = format!("Authorization: Bearer {TOKEN}");
    delivered(&to(&moehog, "/v1/in/default", &["--header", &own]).await?)?;
    complains(&to(&moehog, "/capture/", &["--api-key", "phc_other"]).await?, &["401", "api_key_unknown", "--api-key"])?;
    complains(&to(&moehog, "/v1/in/other", &["--token", TOKEN]).await?, &["404", "unknown_source", "/v1/in/NAME"])?;
    moehog.finish().await
}

#[tokio::test]
async fn and_a_key_that_posthog_does_not_know_is_told_at_once() -> anyhow::Result<()> {
    let posthog = posthog_with(["phc_else"])?;
    let setup = Setup::new(Shape::One, &posthog.url(), KEY).expect("held").expect("events are held");
    let moehog = Deployment::start(setup).await?;
    let output = to(&moehog, "/v1/in/default", &["--token", TOKEN, "--timeout", "60s", "--json"]).await?;
    complains(&output, &["held: wrong_key", "set the project's api key", "stays in the journal", "moehog receipt"])?;
    let json: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(json["outcome"] == "held" && json["receipt"].is_string(), "{json:#}");
    // the next one finds the lane held: it may be mended at any moment, so that it waits
    let output = to(&moehog, "/v1/in/default", &["--token", TOKEN, "--timeout", "1s"]).await?;
    complains(&output, &["not delivered after 1s", "held since", "wrong_key"])?;
    moehog.finish().await
}

#[tokio::test]
async fn and_what_posthog_says_of_the_event_is_told() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let setup = || Setup::new(Shape::One, &posthog.url(), KEY).expect("moehog_relay").expect("moehog_delivery");
    let moehog = Deployment::start(setup()).await?;
    let refuse = Action::Answer { status: 400, body: "no such thing".to_string(), retry_after: None };
    posthog.faults().add(Rule::always(refuse).on("/batch").named("refuses"));
    complains(
        &to(&moehog, "/v1/in/default", &["--token", TOKEN, "--timeout", "3s"]).await?,
        &[
            "not delivered after 3s",
            "refused it alone",
            "no such thing",
            "whose fault",
            "next try at",
            "moehog receipt",
        ],
    )?;
    let second = to(&moehog, "/v1/in/default", &["--token", TOKEN, "--timeout", "1s"]).await?;
    complains(
        &second,
        &["not delivered after 1s", "an earlier event of the same person goes first: `moehog receipt "],
    )?;
    posthog.faults().remove("refuses");
    moehog.finish().await?;
    let moehog = Deployment::start(setup()).await?;
    posthog.faults().add(Rule::status(503).on("/batch"));
    let output = to(&moehog, "/v1/in/default", &["--token", TOKEN, "--timeout", "2s"]).await?;
    complains(&output, &["not delivered after 2s", "503"])?;
    moehog.finish().await
}

#[tokio::test]
async fn and_nobody_at_the_url_is_told() -> anyhow::Result<()> {
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let output = send_test(&format!("http://{free}/v1/in/default"), &free.to_string(), &[]).await?;
    complains(&output, &["no answer from", &free.to_string(), "is the gateway running"])?;
    let output = send_test("http://127.0.0.1:1/", "dns://127.0.0.1", &[]).await?;
    ensure!(output.status.code() == Some(2), "a wrong --admin ended with {}", output.status);
    Ok(())
}

/// Only the second knows the receipt; the first is asked first.
#[tokio::test]
async fn at_whichever_gateway_of_a_name_took_it() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let hosts = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)];
    let port = TcpListener::bind((hosts[0], 0))?.local_addr()?.port();
    let mut gateways = Vec::new();
    for host in hosts {
        let mut setup = Setup::new(Shape::One, &posthog.url(), KEY);
        setup.listen.insert(Service::Moehog, ((host, 0).into(), (host, port).into()));
        gateways.push(Deployment::start(setup).await?);
    }
    let gone = Ipv4Addr::new(127, 0, 0, 3);
    let dns = Dns::start(&[hosts[0], hosts[1], gone])?;
    let name = format!("dns://{}/gateway.test:{port}", dns.addr());
    let url = |gateway: &Deployment| anyhow::Ok(format!("http://{}/v1/in/default", gateway.http()?));
    let output = send_test(&url(&gateways[1])?, &name, &["--token", TOKEN, "--json"]).await?;
    let json: Value = serde_json::from_str(&delivered(&output)?)?;

    let receipt = json["receipt"].as_str().unwrap_or_default();
    for (command, more) in [(&["receipt"][..], EVENT), (&["dead-letters", "show"], EVENT)] {
        let output = Command::new(binary("moehog")?).args(command).args([receipt, "--admin", &name]).output()?;
        holds(&delivered(&output)?, &[receipt, more])?;
    }
    // the one that took it is out of the name: nobody can follow it
    dns.set(&[hosts[0]]);
    let output = send_test(&url(&gateways[1])?, &name, &["--token", TOKEN, "--timeout", "1s"]).await?;
    complains(&output, &["it was taken, receipt", "cannot be followed", "another journal"])?;
    for gateway in gateways {
        gateway.finish().await?;
    }
    Ok(())
}
