use anyhow::ensure;
use http::Method;
use moehog_tests::{Answer, Deployment, Setup, Shape, TOKEN, post, send};

use super::world::{KEY, SOON, arrived, command, event_of, posthog, posthog_with, taken, with_route};

const EU: &str = "phc_of_eu";
const MAPPING: &str = "
[[rule]]
when = \"webhook.header['X-Region'] == 'eu' or webhook.query['region'] == 'eu'\"
destination = 'eu'
[rule.properties]
campaign = \"{{ webhook.query['campaign'] }}\"
region = \"{{ webhook.header['x-region'] | upper }}\"
method = '{{ webhook.method }}'
";

/// The source `default` with these lines.
fn with_lines(mut setup: Setup, lines: &str) -> Setup {
    setup.file = setup.file.replacen("[sources.default]\n", &format!("[sources.default]\n{lines}\n"), 1);
    setup
}

/// Makes a request that shows the token.
async fn request(
    moehog: &Deployment,
    method: Method,
    path: &str,
    more: &[(&str, &str)],
    body: &str,
) -> anyhow::Result<Answer> {
    let token = format!("Bearer {TOKEN}");
    let headers = [&[("authorization", &*token)][..], more].concat();
    Ok(send(moehog.http()?, method, path, &headers, body.to_string().into()).await?)
}

#[tokio::test]
async fn query_headers_and_a_get_reach_the_rules_the_receipt_and_the_project_that_a_rule_names() -> anyhow::Result<()> {
    let (main, eu, directory) = (posthog()?, posthog_with([EU])?, tempfile::tempdir()?);
    let mapping = directory.path().join("mapping.toml");
    std::fs::write(&mapping, MAPPING)?;
    let setup = with_lines(Setup::new(Shape::Three, &main.url(), KEY), "headers = [\"X-Region\"]");
    let mut moehog = Deployment::start(with_route(setup, EU, &eu.url(), &mapping)).await?;

    let path = format!("/v1/in/default?campaign=Summer%20Sun&token={TOKEN}&again={TOKEN}");
    let body = r#"{"event":"Bought","distinct_id":"ada"}"#;
    let receipt = taken(&request(&moehog, Method::POST, &path, &[("x-region", "eu"), ("x-other", "no")], body).await?)?;
    let path = "/v1/in/default?event=Opened&distinct_id=bob&amount=49.90&region=eu&campaign=a%26b";
    let by_get = taken(&request(&moehog, Method::GET, path, &[], "").await?)?;
    taken(&request(&moehog, Method::GET, "/v1/in/default?event=Seen&distinct_id=cem", &[], "").await?)?;
    arrived(&eu, 2, SOON).await?;
    arrived(&main, 1, SOON).await?;
    let bought = event_of(&eu, "ada", "Bought")?.properties().clone();
    ensure!(bought["campaign"] == "Summer Sun" && bought["region"] == "EU" && bought["method"] == "POST", "{bought:?}");
    let opened = event_of(&eu, "bob", "Opened")?.properties().clone();
    ensure!(opened["campaign"] == "a&b" && opened["method"] == "GET" && opened["amount"] == 49.9, "{opened:?}");

    let page = command(&moehog, &["receipt", &receipt])?;
    ensure!(page.contains("request      POST ?campaign=Summer%20Sun\nheader       x-region: eu\n"), "{page}");
    let page = command(&moehog, &["receipt", &by_get])?;
    ensure!(page.contains("request      GET ?event=Opened&distinct_id=bob"), "{page}");

    // what has no effect has none, and no secret is on the disk
    for method in [Method::HEAD, Method::PUT] {
        ensure!(request(&moehog, method, path, &[], "").await?.status == 405, "it is no webhook");
    }
    ensure!(
        send(moehog.http()?, Method::GET, path, &[], "".into()).await?.status == 405,
        "a crawler's request is no webhook"
    );
    moehog.drained(SOON).await?;
    ensure!(main.books().unique() == 1 && eu.books().unique() == 2, "an event of nobody");
    moehog.kill_all()?;
    for file in std::fs::read_dir(moehog.journal_directory())? {
        let bytes = std::fs::read(file?.path())?;
        ensure!(!bytes.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes()), "the journal holds a token");
    }
    Ok(())
}

#[tokio::test]
async fn the_same_idempotency_key_is_the_same_event_where_the_source_says_so() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let setup = with_lines(Setup::new(Shape::One, &posthog.url(), KEY), "idempotency_header = true");
    let setup = setup.section(&format!("[sources.plain]\ntokens = [\"{TOKEN}\"]\n"));
    let moehog = Deployment::start(setup).await?;
    let one = r#"{"event":"Bought","distinct_id":"ada","timestamp":"2026-11-28T10:00:00Z"}"#;
    let two = format!("[{one},{}]", one.replace("ada", "bob"));
    for (source, key, body) in [
        ("default", "order-7", one),
        ("default", "order-7", one),
        ("default", "order-8", one),
        ("default", "order-9", &two),
        ("default", "order-9", &two),
        // by its header alone it says nothing
        ("plain", "order-7", one),
        ("plain", "order-7", one),
    ] {
        let path = format!("/v1/in/{source}");
        taken(&request(&moehog, Method::POST, &path, &[("idempotency-key", key)], body).await?)?;
    }
    moehog.drained(SOON).await?;
    ensure!(posthog.books().unique() == 2 + 2 + 2, "{} events", posthog.books().unique());
    let mut uuids: Vec<_> = posthog.books().events().iter().map(|event| event.uuid.to_string()).collect();
    uuids.sort();
    uuids.dedup();
    ensure!(uuids.len() == 6, "{uuids:?}");
    let again = post(
        moehog.http()?,
        "/capture/",
        &[("idempotency-key", "order-7")],
        one.replacen('{', &format!("{{\"api_key\":\"{KEY}\","), 1),
    );
    taken(&again.await?)?;
    arrived(&posthog, 7, SOON).await?;
    moehog.finish().await
}
