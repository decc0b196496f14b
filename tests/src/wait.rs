//! Waiting for a condition with a deadline.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use anyhow::bail;

const STEP: Duration = Duration::from_millis(10);

/// Waits until `condition` gives a value.
///
/// # Errors
///
/// It gave none within `deadline`; `what` is named.
pub async fn within<T>(
    deadline: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return Ok(value);
        }
        if begun.elapsed() > deadline {
            bail!("not within {deadline:?}: {what}");
        }
        tokio::time::sleep(STEP).await;
    }
}

/// Waits until `measure` gives `wanted`.
///
/// # Errors
///
/// It gave something else all through `deadline`; the last value is named.
pub async fn eventually<T: PartialEq + Debug>(
    deadline: Duration,
    what: &str,
    wanted: T,
    mut measure: impl AsyncFnMut() -> T,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let value = measure().await;
        if value == wanted {
            return Ok(());
        }
        if begun.elapsed() > deadline {
            bail!("{what}: {value:?} after {deadline:?}, wanted {wanted:?}");
        }
        tokio::time::sleep(STEP).await;
    }
}
