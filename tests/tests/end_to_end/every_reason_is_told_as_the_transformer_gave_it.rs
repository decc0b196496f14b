use anyhow::{Context, ensure};
use moehog_proto::{
    Reason,
    transformer::{Webhook, mapped_event::Outcome, transformed_webhook},
};
use moehog_tests::{Deployment, Setup, Shape};
use moehog_transformer::{Mapping, REASONS, Rules, Transformer};
use serde_json::Value;

use super::world::{KEY, SOON, capture, dead_letters, posthog, stream, taken};

/// Rules that fail, each for events of a name of their own, and one that makes much of little.
fn rules() -> String {
    let much = format!("[[rule]]\nwhen = \"event == 'much'\"\nproperties = {{ much = \"{}\" }}\n", "x".repeat(20_000));
    format!("{FAILING}{much}")
}

const FAILING: &str = r#"
[[rule]]
when = "event == 'none'"
distinct_id = "{{ EventAttribute['nobody'] }}"
[[rule]]
when = "event == 'text'"
event = "{{ distinct_id + 1 }}"
[[rule]]
when = "event == 'long'"
event = "{{ '%099999999d' | format(1) }}"
[[rule]]
when = "event == 'apart'"
event = "$exception"
"#;

/// Who is told beside the reader of the dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// The sender.
    Sender,
    /// Nobody: a rule is to blame, others of the body are well, or it is a list, gzip or large, so that Streams may send it again.
    Nobody,
}

/// A body for each reason that there is.
fn bodies() -> Vec<(&'static str, Told, Vec<u8>)> {
    use Told::{Nobody, Sender};
    let deep = format!(r#"{{"event":"a","distinct_id":"b","c":{}{}}}"#, "[".repeat(101), "]".repeat(101));
    let wide: String = (0..=20_000).map(|number| format!(r#""p{number}":1,"#)).collect();
    let wide = format!(r#"{{"event":"a","distinct_id":"b","properties":{{{wide}"z":1}}}}"#);
    let many = vec![r#"{"event":"a","distinct_id":"b"}"#; 10_001].join(",");
    let large = vec![r#"{"event":"much","distinct_id":"b"}"#; 4_000].join(",");
    let text = |code, told, body: &str| (code, told, body.as_bytes().to_vec());
    vec![
        text("missing_event", Sender, r#"{"event":"","distinct_id":"b"}"#),
        text("missing_distinct_id", Sender, r#"{"event":"a"}"#),
        text("invalid_distinct_id", Sender, r#"{"event":"a","distinct_id":{}}"#),
        text("forbidden_id", Sender, r#"{"event":"a","distinct_id":"guest"}"#),
        text("damaged_id", Sender, r#"{"event":"a","distinct_id":"b\ufffd"}"#),
        text("two_values", Sender, r#"{"event":"a","distinct_id":"b","distinct_id":"c"}"#),
        text("unresolved_placeholder", Sender, r#"{"event":"a","distinct_id":"{{user_id}}"}"#),
        text("forbidden_event", Sender, r#"{"event":"$exception","distinct_id":"b"}"#),
        text(
            "key_mismatch",
            Nobody,
            r#"[{"api_key":"phc_tests","event":"a","distinct_id":"b"},{"api_key":"phc_other","event":"a","distinct_id":"c"}]"#,
        ),
        text("invalid_properties", Sender, r#"{"event":"a","distinct_id":"b","properties":[]}"#),
        text("not_an_object", Nobody, "[1]"),
        text("nested_too_deep", Sender, &deep),
        text("endless_number", Sender, r#"{"event":"a","distinct_id":"b","c":1e999}"#),
        text("too_many_properties", Nobody, &wide),
        text(
            "unreadable_line",
            Nobody,
            "{\"event\":\"a\",\n{\"event\":\"a\",\"distinct_id\":\"b\"}\n{\"event\":\"a\",\"distinct_id\":\"c\"}",
        ),
        text(
            "unreadable_event",
            Nobody,
            r#"[{"event":"a","distinct_id":"b","n":five},{"event":"a","distinct_id":"c"}]"#,
        ),
        text("rule_missing_value", Nobody, r#"{"event":"none","distinct_id":"b"}"#),
        text("rule_failed", Nobody, r#"{"event":"text","distinct_id":"b"}"#),
        text("rule_costly", Nobody, r#"{"event":"long","distinct_id":"b"}"#),
        text("rule_forbidden", Nobody, r#"{"event":"apart","distinct_id":"b"}"#),
        text("empty_body", Sender, ""),
        ("unreadable_gzip", Nobody, b"\x1f\x8bnot gzip".to_vec()),
        ("unreadable_coding", Nobody, b"\x28\xb5\x2f\xfdno zstd".to_vec()),
        text("unreadable_json", Sender, r#"{"event":"a","distinct_id":"#),
        text("unknown_shape", Sender, "7"),
        text("no_events", Nobody, "[]"),
        text("too_many_events", Nobody, &format!("[{many}]")),
        text("too_large", Nobody, &format!("[{large}]")),
    ]
}

/// The first reason that the transformer gives.
fn given(transformer: &Transformer, body: &[u8]) -> anyhow::Result<Reason> {
    let capture = body.starts_with(b"[{\"api_key\"");
    let webhook = Webhook {
        receipt: "00000000-1-0000".to_string(),
        source: "default".to_string(),
        route: if capture { "capture" } else { "in" }.to_string(),
        api_key: if capture { KEY } else { "" }.to_string(),
        content_type: "application/json".to_string(),
        body: body.to_vec().into(),
        ..Webhook::default()
    };
    match transformer.transform(&webhook).result {
        Some(transformed_webhook::Result::Rejection(rejection)) => Ok(rejection.into()),
        Some(transformed_webhook::Result::Mapped(mapped)) => {
            let dead = mapped.events.into_iter().find_map(|event| match event.outcome {
                Some(Outcome::Dead(rejection)) => Some(rejection.into()),
                _ => None,
            });
            dead.with_context(|| format!("nothing of it is dead: {}", String::from_utf8_lossy(body)))
        }
        None => anyhow::bail!("the transformer gave nothing"),
    }
}

/// These members of `json` are what the reason says.
fn says(json: &Value, code: &str, why: &Reason) -> anyhow::Result<()> {
    for (name, said) in [(code, &why.code), ("field", &why.field), ("message", &why.message), ("remedy", &why.remedy)] {
        ensure!(
            json[name] == said.as_str(),
            "{}: `{name}` is {}, and the transformer said {said:?}",
            why.code,
            json[name]
        );
    }
    Ok(())
}

async fn every_reason(shape: Shape) -> anyhow::Result<()> {
    let posthog = posthog()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("mapping.toml");
    let rules = rules();
    std::fs::write(&file, &rules)?;
    let setup = Setup::new(shape, &posthog.url(), KEY)
        .variable("MOEHOG__MAPPING__FILE", &file.display().to_string())
        .expect("dead letters");
    let moehog = Deployment::start(setup).await?;
    let rules = Rules::read(&rules, None).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let transformer = Transformer::new(&Mapping::default(), rules);
    let bodies = bodies();
    let mut codes: Vec<_> = bodies.iter().map(|(code, ..)| *code).collect();
    let mut all = REASONS.to_vec();
    codes.sort_unstable();
    all.sort_unstable();
    ensure!(codes == all, "no body for each reason: {codes:?}, and there are {all:?}");
    let mut sent = Vec::new();
    for (code, told, body) in bodies {
        let why = given(&transformer, &body)?;
        ensure!(why.code == code, "the transformer says {why} of the body for {code}");
        ensure!(!why.field.is_empty() && !why.message.is_empty() && !why.remedy.is_empty(), "{why:?}");
        let by_key = body.starts_with(b"[{\"api_key\"");
        let answer = if by_key { capture(&moehog, body).await? } else { stream(&moehog, body).await? };
        let receipt = match told {
            Told::Sender => {
                ensure!(answer.status == 422, "{code}: answered {}: {}", answer.status, answer.text());
                says(&answer.json(), "code", &why)?;
                answer.json()["receipt"].as_str().context("a receipt")?.to_string()
            }
            Told::Nobody => taken(&answer).context(code)?,
        };
        sent.push((receipt, why));
    }
    moehog.drained(SOON).await?;
    let letters = dead_letters(&moehog).await?;
    for (receipt, why) in sent {
        let letter = letters
            .iter()
            .find(|letter| letter["receipt"] == receipt.as_str() && letter["reason"] == why.code.as_str());
        let letter = letter.with_context(|| format!("no dead letter of {why}: {letters:?}"))?;
        says(letter, "reason", &why)?;
        ensure!(letter["blame"] == why.blame_name().context("nobody is to blame")?, "{letter}");
        ensure!(letter["detail"] == why.sentence(), "{letter}");
    }
    moehog.finish().await
}

#[tokio::test]
async fn by_one_process() -> anyhow::Result<()> {
    every_reason(Shape::One).await
}

#[tokio::test]
async fn by_three_processes() -> anyhow::Result<()> {
    every_reason(Shape::Three).await
}
