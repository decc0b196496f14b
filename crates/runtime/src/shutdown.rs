//! Stopping on SIGTERM, SIGINT and a terminal that is closed, within a grace. Elsewhere SIGHUP reads files again.

use std::{
    future::Future,
    io::{self, IsTerminal},
    time::Duration,
};

use anyhow::Context;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{Exit, reload};

/// A token that is cancelled by the first SIGTERM or SIGINT; the second leaves at once. SIGHUP is such a signal where the standard input is
/// a terminal, which is closed then; else it asks for the files that are followed to be read again. Call it inside the runtime.
///
/// # Errors
///
/// The signals cannot be listened for.
pub fn shutdown_on_signal() -> io::Result<CancellationToken> {
    // a write beyond the limit of file sizes fails then, instead of ending the process without a word
    drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hang_up = signal(SignalKind::hangup())?;
    // once it is closed it is no terminal any more
    let on_hang_up = OnHangUp::of(io::stdin().is_terminal());
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hang_up.recv() => if on_hang_up == OnHangUp::Reload {
                    tracing::info!(
                        "SIGHUP: files of secrets and the mapping file are read again; whatever else of the configuration has changed \
                         needs a restart"
                    );
                    reload::ask();
                    continue;
                }
            }
            if cancelled.is_cancelled() {
                tracing::warn!("second signal: leaving at once");
                std::process::exit(Exit::Grace.code());
            }
            tracing::info!("stopping");
            cancelled.cancel();
        }
    });
    Ok(token)
}

/// What SIGHUP means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnHangUp {
    /// The terminal of the person who started it is gone.
    Stop,
    /// The configuration has changed: there never was a terminal.
    Reload,
}

impl OnHangUp {
    fn of(has_terminal: bool) -> Self {
        if has_terminal { Self::Stop } else { Self::Reload }
    }
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

    #[test]
    fn a_closed_terminal_stops_and_without_one_files_are_read_again() {
        assert_eq!((OnHangUp::of(true), OnHangUp::of(false)), (OnHangUp::Stop, OnHangUp::Reload));
    }

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
