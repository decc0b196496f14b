use std::{fs, process::Command};

use anyhow::ensure;
use moehog_tests::{Deployment, Service, Setup, Shape, TOKEN, eventually, post, stdout, streams};

use super::world::{KEY, SOON, arrived, posthog, stream, taken};

/// A long time: nothing is read again by itself.
const NEVER: &str = "86400s";

#[tokio::test]
async fn and_ends_nothing_where_no_terminal_is() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let directory = tempfile::tempdir()?;
    let (mapping, token) = (directory.path().join("mapping.toml"), directory.path().join("token"));
    fs::write(&mapping, "[[rule]]\nevent = \"before\"\n")?;
    fs::write(&token, TOKEN)?;
    let mut setup = Setup::new(Shape::One, &posthog.url(), KEY)
        .variable("MOEHOG__MAPPING__FILE", &mapping.display().to_string())
        .variable("MOEHOG__MAPPING__REREAD_EVERY", NEVER)
        .variable("MOEHOG__SECRETS__REREAD_EVERY", NEVER);
    setup.file = setup.file.replace(&format!("[\"{TOKEN}\"]"), &format!("[{{ file = \"{}\" }}]", token.display()));
    let mut moehog = Deployment::start(setup).await?;
    taken(&stream(&moehog, streams(&["ada".to_string()])).await?)?;
    arrived(&posthog, 1, SOON).await?;

    fs::write(&mapping, "[[rule]]\nevent = \"after\"\n")?;
    fs::write(&token, "another-token-of-the-tests")?;
    let id = moehog.process(Service::Moehog)?.id().to_string();
    stdout(Command::new("kill").args(["-HUP", &id]))?;
    let headers = [("content-type", "application/json"), ("authorization", "Bearer another-token-of-the-tests")];
    let http = moehog.http()?;
    eventually(SOON, "an event of the new mapping, sent with the new token", true, async || {
        // refused until the token is read again
        let _answer = post(http, "/v1/in/default", &headers, streams(&["bob".to_string()])).await;
        posthog.books().events().iter().any(|event| event.event == "after")
    })
    .await?;
    ensure!(moehog.log().count("needs a restart") == 1, "what is not read again is said");
    moehog.drained(SOON).await?;
    moehog.finish().await
}
