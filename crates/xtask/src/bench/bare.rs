//! The bare limits: what HTTP alone costs, what HTTP and one group fdatasync before the 200 cost, and what it costs to post the bodies
//! besides, gathered. Nothing is looked at, mapped, tried again or remembered.

use std::{
    fs::File,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::Context;
use axum::{Router, extract::State, http::StatusCode, routing::post};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

/// Appends that wait for one fdatasync together.
const GROUP: usize = 1024;
/// Bodies of a full request to PostHog, and the least time between two that are not full.
const FULL: usize = 500;
const PAUSE: Duration = Duration::from_millis(50);
const ANSWER: &str = r#"{"status":"Ok"}"#;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Appends each body to a file in this directory before the 200; without it the body is dropped.
    #[arg(long)]
    append: Option<PathBuf>,
    /// Posts what was answered to this PostHog.
    #[arg(long, value_name = "URL", requires = "append")]
    post: Option<String>,
}

/// Where bodies go once they are answered.
type Answered = Option<mpsc::Sender<Bytes>>;

/// A body, and whom to tell that it is durable.
struct Append {
    body: Bytes,
    done: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Log {
    appends: Option<mpsc::Sender<Append>>,
    answered: Answered,
}

/// Serves on a free port, which it prints as a log line, until it is killed.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let appends = arguments.append.as_deref().map(start_log).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let answered = arguments.post.as_ref().map(|posthog| {
            let (sender, bodies) = mpsc::channel(16 * GROUP);
            tokio::spawn(send(format!("{posthog}/batch/"), bodies));
            sender
        });
        let router = Router::new().fallback(post(take)).with_state(Arc::new(Log { appends, answered }));
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        println!(r#"{{"level":"INFO","message":"listening","http":"{}"}}"#, listener.local_addr()?);
        axum::serve(listener, router).await.context("serve")
    })?;
    Ok(true)
}

async fn take(State(log): State<Arc<Log>>, body: Bytes) -> Result<&'static str, StatusCode> {
    if let Some(appends) = &log.appends {
        let (done, durable) = oneshot::channel();
        let append = Append { body: body.clone(), done };
        appends.send(append).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        durable.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    }
    if let Some(answered) = &log.answered {
        answered.send(body).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    }
    Ok(ANSWER)
}

/// Posts bodies as batches: a full one at once, another one at most every [`PAUSE`], as moehog does.
async fn send(url: String, mut bodies: mpsc::Receiver<Bytes>) -> anyhow::Result<()> {
    // somebody else may have
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let (client, mut group, mut small_at) = (reqwest::Client::new(), Vec::with_capacity(FULL), Instant::now());
    while bodies.recv_many(&mut group, FULL).await > 0 {
        while group.len() < FULL {
            let room = FULL - group.len();
            if timeout_at(small_at + PAUSE, bodies.recv_many(&mut group, room)).await.unwrap_or(0) == 0 {
                small_at = Instant::now();
                break;
            }
        }
        let mut batch = GzEncoder::new(Vec::new(), Compression::new(1));
        batch.write_all(br#"{"api_key":"phc_bench","batch":["#)?;
        for (at, body) in group.drain(..).enumerate() {
            batch.write_all(if at == 0 { b"" } else { b"," })?;
            batch.write_all(&body)?;
        }
        batch.write_all(b"]}")?;
        let request = client.post(&url).header("content-type", "application/json").header("content-encoding", "gzip");
        request.body(batch.finish()?).send().await?.error_for_status()?;
    }
    Ok(())
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
        let log = Log { appends: Some(log), answered: None };
        let answer = take(State(Arc::new(log)), Bytes::from_static(b"body")).await.unwrap();
        assert_eq!(answer, ANSWER);
        let written = std::fs::read(directory.path().join("bare.log")).unwrap();
        assert_eq!((&written[..4], &written[8..]), (&4_u32.to_le_bytes()[..], &b"body"[..]));
    }
}
