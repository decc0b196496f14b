//! `moehog lanes`: asks the admin port of a running gateway.

use moehog_telemetry::terminal::shown_json;
use serde_json::{Value, json};

use crate::{
    cli::{Lanes, LanesAction},
    gateway::{AskError, Gateways},
};

#[expect(clippy::print_stdout, reason = "the command's answer")]
pub(crate) async fn run(command: Lanes) -> anyhow::Result<()> {
    let LanesAction::GiveUp { source, destination } = &command.action;
    let body = json!({"source": source, "destination": destination});
    let gateways = Gateways::new(&command.gateway)?.all().await?;
    let (mut webhooks, mut events, mut goes_on, mut refused) = (0, 0, false, None);
    let asked = gateways.len();
    let mut failed = 0;
    for gateway in gateways {
        // each has its own part of the lane, and may have none
        match gateway.post(&["api", "lanes", "give-up"], &body).await {
            Ok(answer) => {
                let count = |name| answer.get(name).and_then(Value::as_u64).unwrap_or_default();
                (webhooks, events) = (webhooks + count("webhooks"), events + count("events"));
                goes_on |= answer.get("goes_on").and_then(Value::as_bool).unwrap_or_default();
            }
            Err(error @ AskError::Refused { .. }) => {
                failed += 1;
                refused = Some(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(error) = refused.filter(|_| failed == asked) {
        return Err(error.into());
    }
    if command.gateway.json {
        println!("{}", shown_json(&json!({"webhooks": webhooks, "events": events, "goes_on": goes_on}).to_string()));
    } else if goes_on {
        println!("it goes on: /api/status says how many webhooks are left");
    } else {
        println!(
            "{events} events of {webhooks} webhooks are dead letters now: `moehog dead-letters retry` maps them anew"
        );
    }
    Ok(())
}
