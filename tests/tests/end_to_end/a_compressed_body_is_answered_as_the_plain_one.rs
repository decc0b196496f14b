use anyhow::ensure;
use moehog_coding::{Coding, made::coded};
use moehog_tests::{Deployment, Setup, Shape, TOKEN, connector, post, streams};

use super::world::{KEY, SOON, by_person, dead_letters, posthog, refused, taken};

#[tokio::test]
async fn a_connector_in_each_coding_arrives_and_one_at_fault_is_422() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let moehog = Deployment::start(Setup::new(Shape::Three, &posthog.url(), KEY).expect("dead letters")).await?;
    for (number, coding) in Coding::ALL.into_iter().enumerate() {
        let sent = async |body: String, prefers: Option<(&'static str, &'static str)>| {
            let said = [("content-type", "application/json"), ("content-encoding", coding.name())];
            let headers: Vec<_> = said.into_iter().chain(prefers).collect();
            post(moehog.http()?, "/capture/", &headers, coded(coding, body.as_bytes()))
                .await
                .map_err(anyhow::Error::from)
        };
        let uuid = format!("00000000-0000-4000-8000-{number:012x}");
        let answer = sent(connector(KEY, coding.name(), &uuid), Some(("prefer", "wait=3"))).await?;
        taken(&answer)?;
        ensure!(answer.json()["events"]["delivered"] == 1, "{coding:?}: {}", answer.text());
        let answer = sent(connector(KEY, "{{user_id}}", &uuid), None).await?;
        refused(&answer)?;
        ensure!(answer.json()["code"] == "unresolved_placeholder", "{coding:?}: {}", answer.text());
    }
    moehog.drained(SOON).await?;
    ensure!(by_person(&posthog).len() == 4, "{:?}", by_person(&posthog).keys());
    ensure!(dead_letters(&moehog).await?.len() == 4, "each refused body is kept");
    moehog.finish().await
}

#[tokio::test]
async fn who_prefers_to_wait_is_told_what_came_of_a_batch_packed_or_not() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let moehog = Deployment::start(Setup::new(Shape::One, &posthog.url(), KEY).expect("dead letters")).await?;
    let token = format!("Bearer {TOKEN}");
    for (number, coding) in [None, Some(Coding::Gzip), Some(Coding::Brotli)].into_iter().enumerate() {
        let ids = ["a", "b", "{{user_id}}"]
            .map(|id| id.replace('a', &format!("a{number}")).replace('b', &format!("b{number}")));
        let batch = streams(&ids);
        let capture =
            format!(r#"{{"api_key":"{KEY}","batch":[{{"event":"e","distinct_id":"c{number}"}},{{"event":"e"}}]}}"#);
        for (path, body, delivered) in [("/v1/in/default", batch, 2), ("/batch/", capture, 1)] {
            let said = coding.map(|coding| ("content-encoding", coding.name()));
            let headers: Vec<_> = [("authorization", &*token), ("prefer", "wait=3")].into_iter().chain(said).collect();
            let body = coding.map_or_else(|| body.clone().into_bytes(), |coding| coded(coding, body.as_bytes()));
            let answer = post(moehog.http()?, path, &headers, body).await?;
            taken(&answer)?;
            let json = answer.json();
            ensure!(
                json["state"] == "settled" && json["events"]["delivered"] == delivered,
                "{path} {coding:?}: {json}"
            );
            ensure!(json["events"]["dead"] == 1, "{path} {coding:?}: {json}");
        }
    }
    moehog.finish().await
}
