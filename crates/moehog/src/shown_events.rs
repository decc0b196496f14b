//! What became of events, printed in the terminal of the process that does it.

use std::time::Duration;

use moehog_gateway::{FeedReader, Passed, Told};
use moehog_proto::journal::EventState;
use moehog_telemetry::terminal::shown;
use tokio::time::Instant;

/// Most lines in a second: the rest is counted.
const MAX_LINES: u64 = 20;

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Print {
    /// What is stored too: nobody else says it.
    All,
    /// What is dead and what waits: an emulator says what it stored.
    Failures,
}

/// Prints a line an event until the relay ends.
#[expect(clippy::print_stdout, reason = "for the person who started it")]
pub(crate) async fn print(mut events: FeedReader, what: Print) {
    let (mut lines, mut left_out, mut second) = (0, 0, Instant::now());
    while let Some(told) = events.next().await {
        let line = match &told {
            Told::Missed(missed) => {
                left_out += missed;
                continue;
            }
            Told::Passed(passed) => line(passed, what),
        };
        let Some(line) = line else { continue };
        if second.elapsed() >= Duration::from_secs(1) {
            if left_out > 0 {
                println!("… and {left_out} more: `moehog tail` shows all");
            }
            (lines, left_out, second) = (0, 0, Instant::now());
        }
        if lines < MAX_LINES {
            lines += 1;
            println!("{line}");
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        println!("… and {left_out} more");
    }
}

fn line(passed: &Passed, what: Print) -> Option<String> {
    let (word, is_failure) = match passed.state {
        EventState::Delivered => ("posthog stored ", false),
        EventState::DeliveredDegraded => ("posthog stored?", false),
        EventState::Dead => ("dead           ", true),
        EventState::Pending | EventState::Unspecified => ("waits          ", true),
        EventState::Filtered | EventState::Duplicate | EventState::Discarded => return None,
    };
    if what == Print::Failures && !is_failure {
        return None;
    }
    let name = if passed.event.is_empty() { "-" } else { &passed.event };
    let mut line = format!("{word} {} {}", shown(&passed.source), shown(name));
    if !passed.reason.code.is_empty() {
        line += &format!("  {}", shown(&passed.reason.to_string()));
    }
    if passed.state == EventState::Dead {
        line += &format!("  (moehog receipt {})", passed.receipt);
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use moehog_proto::{Blame, JournalId, Reason, Receipt};

    use super::*;

    fn said(state: EventState, what: Print) -> Option<String> {
        let reason = match state {
            EventState::Dead => Reason::new(Blame::Destination, "refused", "no\u{1b}[2J name"),
            _ => Reason::default(),
        };
        let (source, destination) = ("shop".to_string(), "default".to_string());
        let receipt = Receipt::plain(JournalId(1), 1);
        let (event, person) = ("Purchased".to_string(), "ada".to_string());
        let (at_ms, position, ordinal, uuid) = (0, 0, 0, None);
        let passed =
            Passed { at_ms, source, destination, receipt, position, ordinal, uuid, event, person, state, reason };
        line(&passed, what)
    }

    #[test]
    fn what_is_stored_is_said_where_nobody_else_says_it_and_what_is_dead_always() {
        assert_eq!(said(EventState::Delivered, Print::All).unwrap(), "posthog stored  shop Purchased");
        assert_eq!(said(EventState::Delivered, Print::Failures), None);
        for what in [Print::All, Print::Failures] {
            let dead = said(EventState::Dead, what).unwrap();
            assert!(dead.contains("shop Purchased  refused") && dead.contains("receipt"), "{dead}");
            assert!(!dead.contains('\u{1b}') && !dead.contains("ada"), "{dead}");
            assert_eq!(said(EventState::Filtered, what), None);
        }
    }
}
