//! Prints what the emulated PostHog stored.

use std::sync::Arc;

use moehog_emulator::posthog::StoredEvent;
use tokio::sync::broadcast::{Receiver, error::RecvError};

/// One readable line an event, in which the emulator escapes what a terminal obeys, until the emulator is gone.
#[expect(clippy::print_stdout, reason = "for the person who started it")]
pub(crate) async fn print(mut stored: Receiver<Arc<StoredEvent>>) {
    loop {
        match stored.recv().await {
            Ok(event) => println!("{event}"),
            Err(RecvError::Lagged(missed)) => println!("… and {missed} more"),
            Err(RecvError::Closed) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_emulator_escapes_what_the_commands_escape() {
        // it uses no crate of ours, so it has a function of its own
        for character in '\0'..='\u{ffff}' {
            let text = character.to_string();
            assert_eq!(
                moehog_emulator::terminal::shown(&text),
                moehog_telemetry::terminal::shown(&text),
                "{character:?}"
            );
        }
    }
}
