use std::{fs, io::Write as _, process::Command};

use anyhow::{Context, ensure};
use moehog_emulator::posthog::{Action, Rule};
use moehog_tests::{Deployment, Setup, Shape, binary, get, within};
use serde_json::{Value, json};

use super::world::{KEY, SOON, arrived, event_of, posthog, stream, taken};

fn purchase(person: &str) -> String {
    json!({"events": [{
        "event_name": "Purchased", "event_uuid": uuid_of(person), "event_time": 1_767_225_600, "uid": person,
        "event_attributes": {"purchase_amount": "49.90"},
    }]})
    .to_string()
}

fn uuid_of(person: &str) -> String {
    format!("00000000-0000-4000-8000-{:0>12}", person.trim_start_matches("person-"))
}

fn mapping(name: &str) -> String {
    format!(
        "[[rule]]\nwhen = \"event == 'Purchased'\"\nevent = \"{name}\"\n\
         properties = {{ amount = \"{{{{ EventAttribute['purchase_amount'] | number }}}}\" }}\n"
    )
}

/// One process whose mapping file renames purchases.
async fn start(posthog: &str, file: &std::path::Path) -> anyhow::Result<Deployment> {
    let mut setup = Setup::new(Shape::One, posthog, KEY);
    for expected in ["moehog_relay", "moehog_delivery"] {
        setup = setup.expect(expected);
    }
    let file = file.to_str().context("a path in UTF-8")?;
    setup.variables.push(("MOEHOG__MAPPING__FILE".to_string(), file.to_string()));
    setup.variables.push(("MOEHOG__MAPPING__REREAD_EVERY".to_string(), "20ms".to_string()));
    Deployment::start(setup).await
}

#[tokio::test]
async fn an_event_that_is_retried_after_a_change_is_one_event() -> anyhow::Result<()> {
    const PERSONS: u64 = 20;
    let posthog = posthog()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("mapping.toml");
    fs::write(&file, mapping("before"))?;
    let moehog = start(&posthog.url(), &file).await?;

    taken(&stream(&moehog, purchase("person-0")).await?)?;
    arrived(&posthog, 1, SOON).await?;
    let first = event_of(&posthog, "person-0", "before")?;
    ensure!(first.properties()["amount"] == 49.9, "{:?}", first.properties());

    // PostHog takes them, and moehog does not hear of it
    posthog.faults().add(Rule::answer_lost());
    for number in 1..=PERSONS {
        taken(&stream(&moehog, purchase(&format!("person-{number}"))).await?)?;
    }
    arrived(&posthog, 1 + PERSONS, SOON).await?;
    fs::write(&file, mapping("after"))?;
    within(SOON, "the new mapping is in use", async || {
        let metrics = get(moehog.admin().ok()?, "/metrics").await.ok()?.text();
        metrics.contains("moehog_transformer_mapping_reloads_total{outcome=\"taken\"} 1").then_some(())
    })
    .await?;
    posthog.faults().clear();
    moehog.drained(SOON).await?;

    ensure!(posthog.books().unique() == 1 + PERSONS, "{} events by PostHog's key", posthog.books().unique());
    ensure!(posthog.books().counts().arrivals > 1 + PERSONS, "nothing was sent again: the test shows nothing");
    taken(&stream(&moehog, purchase("person-99")).await?)?;
    arrived(&posthog, 2 + PERSONS, SOON).await?;
    event_of(&posthog, "person-99", "after")?;
    moehog.finish().await
}

#[tokio::test]
async fn an_event_that_was_being_sent_when_the_process_died_is_one_event_too() -> anyhow::Result<()> {
    const KILLS: u64 = 8;
    const PERSONS: u64 = 60;
    let posthog = posthog()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("mapping.toml");
    fs::write(&file, mapping("name-0"))?;
    let mut moehog = start(&posthog.url(), &file).await?;
    // what is stored is answered a little later: many die in between
    posthog.faults().add(Rule::always(Action::AnswerLate { ms: 60 }).on("/batch"));
    for kill in 0..KILLS {
        let mut sent = Vec::new();
        for number in 0..PERSONS {
            sent.push(stream(&moehog, purchase(&format!("person-{}", kill * PERSONS + number))));
        }
        for answer in futures::future::join_all(sent).await {
            taken(&answer?)?;
        }
        tokio::time::sleep(std::time::Duration::from_millis(15 * kill)).await;
        moehog.kill_all()?;
        fs::write(&file, mapping(&format!("name-{}", kill + 1)))?;
        moehog.heal().await?;
    }
    posthog.faults().clear();
    moehog.drained(SOON).await?;
    let (unique, arrivals) = (posthog.books().unique(), posthog.books().counts().arrivals);
    ensure!(unique == KILLS * PERSONS, "{unique} events by PostHog's key, {arrivals} arrivals");
    ensure!(arrivals > unique, "nothing was sent again: the test shows nothing");
    moehog.finish().await
}

#[test]
fn it_is_checked_and_tried_without_sending_anything() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let (good, bad) = (directory.path().join("good.toml"), directory.path().join("bad.toml"));
    fs::write(&good, mapping("purchase_completed"))?;
    fs::write(&bad, "heal = 1\n[[rule]]\nevnt = \"x\"\nproperties = { a = \"{{ uid | euros }}\" }\n")?;
    let body = directory.path().join("body.json");
    fs::write(&body, purchase("person-7"))?;
    let moehog = |arguments: &[&std::ffi::OsStr]| -> anyhow::Result<(bool, String)> {
        let output = Command::new(binary("moehog")?).args(arguments).output()?;
        Ok((output.status.success(), String::from_utf8(output.stdout)?))
    };
    let (well, said) = moehog(&["check".as_ref(), good.as_os_str()])?;
    ensure!(well && said.contains("1 rule, revision builtin-"), "{said}");
    let (well, said) = moehog(&["check".as_ref(), bad.as_os_str()])?;
    for line in ["line 1: heal", "line 3: rule 1, evnt", "line 4: rule 1, properties.a: there is no filter `euros`"] {
        ensure!(!well && said.contains(line), "no `{line}` in {said}");
    }
    let (config, routed) = (directory.path().join("moehog.toml"), directory.path().join("routed.toml"));
    fs::write(&config, "[sources.shop]\nroutes = [\"eu\"]\n[sources.app]\ntokens = [\"\"]\n")?;
    fs::write(&routed, "[[rule]]\nsource = \"shop\"\ndestination = \"eu\"\n[[rule]]\ndestination = \"us\"\n")?;
    let (well, said) = moehog(&["check".as_ref(), routed.as_os_str(), "--config".as_ref(), config.as_os_str()])?;
    for line in [
        "moehog.toml: line 4, column 1: sources.app.tokens[0] is empty",
        "line 4: rule 2, destination: source `app` does not send to `us`",
        "line 4: rule 2, destination: source `shop` does not send to `us`",
    ] {
        ensure!(!well && said.contains(line), "no `{line}` in {said}");
    }
    ensure!(!said.contains("rule 1"), "{said}");
    let preview = ["preview".as_ref(), body.as_os_str(), "--mapping".as_ref(), good.as_os_str()];
    let (_, page) = moehog(&preview)?;
    ensure!(
        page.contains("\"purchase_amount\":\"49.90\"") || page.contains("\"purchase_amount\": \"49.90\""),
        "{page}"
    );
    ensure!(page.contains("\"event\": \"purchase_completed\"") && page.contains("\"amount\": 49.90"), "{page}");
    let (_, text) = moehog(&[&preview[..], &["--json".as_ref()]].concat())?;
    let json: Value = serde_json::from_str(&text)?;
    ensure!(json["events"][0]["event"]["distinct_id"] == "person-7", "{json}");
    ensure!(json["proposed_types"] == json!({"purchase_amount": "number"}), "{json}");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(purchase("person-7").as_bytes())?;
    let packed = directory.path().join("body.json.gz");
    fs::write(&packed, gzip.finish()?)?;
    let (_, page) = moehog(&["preview".as_ref(), packed.as_os_str()])?;
    ensure!(page.lines().any(|line| line.trim_start().starts_with("\"event_name\": \"Purchased\"")), "{page}");
    let (_, page) = moehog(&["preview".as_ref(), body.as_os_str(), "--mapping".as_ref(), routed.as_os_str()])?;
    ensure!(page.contains("PostHog gets in `us`"), "{page}");
    Ok(())
}
