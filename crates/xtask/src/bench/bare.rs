//! The bare limits: what HTTP alone costs, and what HTTP and one group fdatasync before the 200 cost.

use std::{
    fs::File,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use anyhow::Context;
use axum::{Router, extract::State, http::StatusCode, routing::post};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

/// Appends that wait for one fdatasync together.
const GROUP: usize = 1024;
const ANSWER: &str = r#"{"status":"Ok"}"#;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Appends each body to a file in this directory before the 200; without it the body is dropped.
    #[arg(long)]
    append: Option<PathBuf>,
}

/// A body, and whom to tell that it is durable.
struct Append {
    body: Bytes,
    done: oneshot::Sender<()>,
}

type Log = Option<mpsc::Sender<Append>>;

/// Serves on a free port, which it prints as a log line, until it is killed.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let log = arguments.append.as_deref().map(start_log).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let router = Router::new().fallback(post(take)).with_state(Arc::new(log));
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        println!(r#"{{"level":"INFO","message":"listening","http":"{}"}}"#, listener.local_addr()?);
        axum::serve(listener, router).await.context("serve")
    })?;
    Ok(true)
}

async fn take(State(log): State<Arc<Log>>, body: Bytes) -> Result<&'static str, StatusCode> {
    if let Some(log) = &*log {
        let (done, durable) = oneshot::channel();
        log.send(Append { body, done }).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        durable.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    }
    Ok(ANSWER)
}

fn start_log(directory: &Path) -> anyhow::Result<mpsc::Sender<Append>> {
    let path = directory.join("bare.log");
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    let (sender, receiver) = mpsc::channel(GROUP);
    thread::Builder::new().name("commit".to_string()).spawn(move || commit(file, receiver))?;
    Ok(sender)
}

/// Writes whatever waits with one write and one fdatasync, then answers all of it; ends when nobody can send or the disk fails.
fn commit(mut file: File, mut appends: mpsc::Receiver<Append>) -> io::Result<()> {
    let (mut group, mut bytes) = (Vec::with_capacity(GROUP), Vec::new());
    while appends.blocking_recv_many(&mut group, GROUP) > 0 {
        bytes.clear();
        for append in &group {
            bytes.extend_from_slice(&(append.body.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&crc32c::crc32c(&append.body).to_le_bytes());
            bytes.extend_from_slice(&append.body);
        }
        file.write_all(&bytes)?;
        file.sync_data()?;
        for append in group.drain(..) {
            // the one who asked may have hung up
            append.done.send(()).unwrap_or(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_answered_is_in_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let log = start_log(directory.path()).unwrap();
        let answer = take(State(Arc::new(Some(log))), Bytes::from_static(b"body")).await.unwrap();
        assert_eq!(answer, ANSWER);
        let written = std::fs::read(directory.path().join("bare.log")).unwrap();
        assert_eq!((&written[..4], &written[8..]), (&4_u32.to_le_bytes()[..], &b"body"[..]));
    }
}
