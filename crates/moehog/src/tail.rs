//! `moehog tail`: events of running gateways as they pass.

use anyhow::bail;
use moehog_telemetry::terminal::{shown, shown_json};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::{
    cli::Tail,
    gateway::{AskError, Gateway, Gateways},
    paint::Paint,
};

/// Lines that wait for a slow terminal; the gateway counts what is missed beyond.
const LINES: usize = 64;

/// What a gateway tells.
#[derive(Debug, PartialEq)]
enum Said {
    Event(Value),
    Missed(u64),
    /// Nothing is missed from now on.
    Begin,
    /// A sign of life, or a kind that a newer gateway tells.
    Other,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the command's answer, and what it leaves out")]
pub(crate) async fn run(tail: Tail) -> anyhow::Result<()> {
    let gateways = Gateways::new(&tail.gateway)?.all().await?;
    let (told, mut lines) = mpsc::channel(LINES);
    for gateway in gateways {
        let (told, query) = (told.clone(), query(&tail));
        tokio::spawn(async move {
            let end = follow(&gateway, &query, &told).await;
            // who reads may have gone
            let _gone = told.send(end.map(|()| Said::Other)).await;
        });
    }
    drop(told);
    let paint = Paint::stdout();
    let mut failed = None;
    while let Some(said) = lines.recv().await {
        match said {
            Ok(Said::Event(event)) if tail.gateway.json => println!("{}", shown_json(&event.to_string())),
            Ok(Said::Event(event)) => println!("{}", line(&event, paint)),
            Ok(Said::Missed(missed)) => {
                eprintln!("missed {missed}: this reader is too slow, narrow it by --state or --event")
            }
            Ok(Said::Begin) => eprintln!("events from now on, as they pass"),
            Ok(Said::Other) => {}
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) => Err(error.into()),
        None => bail!("the gateway ended"),
    }
}

fn query(tail: &Tail) -> Vec<(&'static str, String)> {
    let named = [
        ("source", &tail.source),
        ("destination", &tail.destination),
        ("event", &tail.event),
        ("person", &tail.person),
        ("state", &tail.state),
        ("reason", &tail.reason),
    ];
    let mut query: Vec<_> = named.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
    query.extend(tail.show_persons.then(|| ("show_persons", "true".to_string())));
    query
}

async fn follow(
    gateway: &Gateway,
    query: &[(&str, String)],
    told: &mpsc::Sender<Result<Said, AskError>>,
) -> Result<(), AskError> {
    let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut answer = gateway.stream(&["api", "tail"], &query).await?;
    let mut unread = Vec::new();
    while let Some(chunk) = answer.next().await? {
        unread.extend_from_slice(&chunk);
        while let Some(end) = unread.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = unread.drain(..end + 2).collect();
            if let Some(said) = read(&String::from_utf8_lossy(&block))
                && told.send(Ok(said)).await.is_err()
            {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// One server-sent event; nothing of one that is not as the gateway writes it.
fn read(block: &str) -> Option<Said> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let data = || serde_json::from_str::<Value>(field("data")?).ok();
    match field("event") {
        Some("event") => data().map(Said::Event),
        Some("begin") => Some(Said::Begin),
        Some("missed") => data()?.get("missed")?.as_u64().map(Said::Missed),
        _ => Some(Said::Other),
    }
}

fn text<'a>(event: &'a Value, name: &str) -> &'a str {
    event.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Time, state, source, event, person, and why.
pub(crate) fn line(event: &Value, paint: Paint) -> String {
    let or_dash = |name| Some(text(event, name)).filter(|text| !text.is_empty()).unwrap_or("-");
    let time = text(event, "at").split_once('T').map_or("", |(_day, time)| time.get(..12).unwrap_or(time));
    let state = text(event, "state");
    let painted = match state {
        "dead" => paint.red(state),
        "waiting" | "delivered_degraded" => paint.yellow(state),
        "delivered" => paint.green(state),
        _ => state.to_string(),
    };
    let gap = " ".repeat(9_usize.saturating_sub(state.len()));
    let mut line = format!(
        "{time} {painted}{gap} {} {} {}",
        shown(or_dash("source")),
        shown(or_dash("event")),
        shown(or_dash("person")),
    );
    let (reason, detail) = (text(event, "reason"), text(event, "detail"));
    if !reason.is_empty() {
        line += &format!("  {}", shown(reason));
    }
    if !detail.is_empty() && ["dead", "waiting"].contains(&state) {
        line += &format!(": {}", shown(detail));
    }
    if state == "dead" {
        line += &format!("  {}", shown(text(event, "receipt")));
    }
    line
}

/// What a state may be.
pub(crate) fn state(text: &str) -> Result<String, String> {
    const STATES: [&str; 6] = ["delivered", "delivered_degraded", "filtered", "duplicate", "dead", "waiting"];
    let known = STATES.into_iter().find(|state| *state == text);
    known.map(str::to_string).ok_or_else(|| format!("not a state: {}", STATES.join(", ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_gateway_tells_is_read_and_what_it_does_not_tell_yet_is_passed_over() {
        assert_eq!(read("event: event\ndata: {\"state\":\"dead\"}\n\n"), Some(Said::Event(json!({"state": "dead"}))));
        assert_eq!(read("event: missed\ndata: {\"missed\":120}\n\n"), Some(Said::Missed(120)));
        assert_eq!(read(":\n\n"), Some(Said::Other));
        assert_eq!(read("event: lane\ndata: {}\n\n"), Some(Said::Other));
        assert_eq!(read("event: event\ndata: {\n\n"), None);
    }

    #[test]
    fn a_line_says_when_what_whose_and_why_and_moves_no_terminal() {
        let event = json!({
            "at": "2026-11-24T10:00:00.123Z", "source": "shop", "event": "Bought\u{1b}[2J", "person": "~3f9a1c2b00",
            "state": "dead", "reason": "refused", "detail": "no distinct_id", "receipt": "r-1",
        });
        let expected = "10:00:00.123 dead      shop Bought\\u001b[2J ~3f9a1c2b00  refused: no distinct_id  r-1";
        assert_eq!(line(&event, Paint::never()), expected);
        let made_of_nothing =
            json!({"at": "2026-11-24T10:00:00Z", "source": "shop", "state": "filtered", "reason": "rule"});
        assert_eq!(line(&made_of_nothing, Paint::never()), "10:00:00Z filtered  shop - -  rule");
    }
}
