//! Prints what the emulated PostHog stored.

use std::sync::Arc;

use moehog_emulator::posthog::StoredEvent;
use tokio::sync::broadcast::{Receiver, error::RecvError};

/// One readable line an event, until the emulator is gone.
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
