//! Stopping on SIGTERM and SIGINT, within a grace.

use std::{future::Future, io, time::Duration};

use anyhow::Context;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::Exit;

/// A token that is cancelled by the first SIGTERM or SIGINT; the second leaves at once. Call it inside the runtime.
///
/// # Errors
///
/// The signals cannot be listened for.
pub fn shutdown_on_signal() -> io::Result<CancellationToken> {
    // a write beyond the limit of file sizes fails then, instead of ending the process without a word
    drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        for signals in 0_u8.. {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if signals > 0 {
                tracing::warn!("second signal: leaving at once");
                std::process::exit(Exit::Grace.code());
            }
            tracing::info!("stopping");
            cancelled.cancel();
        }
    });
    Ok(token)
}

/// Runs `work` to its end; once `shutdown` is cancelled it has `grace` left.
///
/// # Errors
///
/// The work's own, or [`Exit::Grace`] when the grace ran out.
pub async fn within_grace<T>(
    shutdown: &CancellationToken,
    grace: Duration,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let out_of_time = async {
        shutdown.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        result = work => result,
        () = out_of_time => Err(anyhow::anyhow!("work was left after {grace:?}")).context(Exit::Grace),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_does_not_end_is_left_after_the_grace_and_not_before() {
        let shutdown = CancellationToken::new();
        let slow = within_grace(&shutdown, Duration::from_secs(5), async {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            Ok(1)
        });
        assert_eq!(slow.await.unwrap(), 1);

        shutdown.cancel();
        let error = within_grace(&shutdown, Duration::from_secs(5), std::future::pending::<anyhow::Result<()>>()).await;
        assert_eq!(error.unwrap_err().downcast_ref(), Some(&Exit::Grace));
    }
}
