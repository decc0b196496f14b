//! A start that waits for files which others write.
//!
//! A mounted ConfigMap or Secret may have been edited wrongly hours ago, while the processes that run go on with the last good one. One
//! that starts then, because a node was lost or another replica is wanted, has none. If it ended, it would be started again and again,
//! ever later. So it stays: alive, unready, with the fault in its log and in `/readyz`. Nobody can connect to its service, so that a
//! caller finds another replica; it starts as soon as the file is right.

use std::{future::IntoFuture, time::Duration};

use anyhow::Context;
use axum::Router;
use metrics::gauge;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Admin, Exit, Listen};

/// Time between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often a fault that stays is said again.
const SAY_EVERY: Duration = Duration::from_secs(300);
/// Longest wait for answers of the admin port that are under way.
const ANSWERS: Duration = Duration::from_secs(1);

/// Asks `look` until it gives what the start needs; its error is one line that names the file, the fault and the remedy. While it waits, the
/// admin port alone answers, and is given free at the end: `admin` then names it. None where `shutdown` came first.
///
/// `moehog_runtime_waiting_for_files` is 1 meanwhile, and 0 else. Call it inside the runtime, after telemetry is set up.
///
/// # Errors
///
/// The admin port cannot be listened on.
pub async fn wait_for_files<T>(
    admin: &mut Listen,
    shutdown: &CancellationToken,
    mut look: impl FnMut() -> Result<T, String>,
) -> anyhow::Result<Option<T>> {
    let waiting = gauge!("moehog_runtime_waiting_for_files");
    waiting.set(0);
    let mut fault = match look() {
        Ok(found) => return Ok(Some(found)),
        Err(fault) => fault,
    };
    waiting.set(1);
    let port = Admin::bind(admin.listen).with_context(|| format!("admin on {}", admin.listen)).context(Exit::Listen)?;
    admin.listen = port.local_addr().context(Exit::Listen)?;
    let (readiness, ends) = (port.readiness(), CancellationToken::new());
    let mut served = tokio::spawn(port.serve(Router::new(), ends.clone()));
    let mut said: Option<(String, Instant)> = None;
    let found = loop {
        if said.as_ref().is_none_or(|(last, at)| *last != fault || at.elapsed() >= SAY_EVERY) {
            tracing::error!(fault, admin = %admin.listen, "not started: this process waits until the file is right");
            said = Some((fault.clone(), Instant::now()));
        }
        readiness.set(false, format!("waiting for a file to be right: {fault}"));
        if shutdown.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_none() {
            break None;
        }
        match look() {
            Ok(found) => break Some(found),
            Err(next) => fault = next,
        }
    };
    ends.cancel();
    if tokio::time::timeout(ANSWERS, (&mut served).into_future()).await.is_err() {
        served.abort();
    }
    waiting.set(0);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{SocketAddr, TcpStream},
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
    };

    use super::*;

    fn ask(admin: SocketAddr, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(admin)?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn it_is_alive_and_unready_with_the_fault_until_the_file_is_right_and_then_gives_the_port_free() {
        // taken and given free again: nobody else is given it within this test
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let right = Arc::new(AtomicBool::new(false));
        let (look, mut admin) = (right.clone(), Listen { listen: free });
        let waits = tokio::spawn(async move {
            let look = || look.load(Ordering::Relaxed).then_some(7).ok_or("mapping.toml cannot be used".to_string());
            let found = wait_for_files(&mut admin, &CancellationToken::new(), look).await.unwrap();
            (found, admin.listen)
        });
        let answer = loop {
            match ask(free, "/readyz") {
                Ok(answer) if !answer.contains("starting") => break answer,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("mapping.toml cannot be used"), "{answer}");
        assert!(ask(free, "/livez").unwrap().starts_with("HTTP/1.1 200"));
        right.store(true, Ordering::Relaxed);
        assert_eq!(waits.await.unwrap(), (Some(7), free));
        drop(Admin::bind(free).unwrap());
    }

    #[tokio::test]
    async fn a_stop_ends_the_wait_and_what_is_right_at_once_takes_no_port() {
        let mut admin = Listen { listen: ([127, 0, 0, 1], 0).into() };
        let shutdown = CancellationToken::new();
        assert_eq!(wait_for_files(&mut admin, &shutdown, || Ok(1)).await.unwrap(), Some(1));
        assert_eq!(admin.listen.port(), 0);
        shutdown.cancel();
        let never: Option<()> = wait_for_files(&mut admin, &shutdown, || Err("wrong".to_string())).await.unwrap();
        assert_eq!(never, None);
    }
}
