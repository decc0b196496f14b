//! `moehog-emulator posthog`.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::{Args, ValueEnum};
use moehog_emulator::{
    posthog::{Books, Config, Keys, PostHog, Rule, Store, StoredEvent},
    terminal::shown,
};
use serde_json::json;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

type Stored = broadcast::Receiver<Arc<StoredEvent>>;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// The project keys of this region, comma-separated. Without it every well-formed key is known.
    #[arg(long, value_delimiter = ',')]
    keys: Vec<String>,
    /// Whose rules apply.
    #[arg(long, value_enum, default_value_t = Release::Current)]
    release: Release,
    /// Keep counts only: a sink for load.
    #[arg(long)]
    counts: bool,
    /// Time that each capture request takes at least, in milliseconds.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Capture requests worked on at once; 0 is no limit.
    #[arg(long, default_value_t = 0)]
    concurrency: usize,
    /// Largest body on the wire, in bytes.
    #[arg(long)]
    max_body_bytes: Option<usize>,
    /// Answer 401 to keys that no project owns, which PostHog can but does not.
    #[arg(long)]
    refuse_unknown_keys: bool,
    /// A file of fault rules, as POST /_emulator/faults takes them.
    #[arg(long)]
    faults: Option<PathBuf>,
    /// Seed of faults that act by chance.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Do not print stored events.
    #[arg(long, short)]
    quiet: bool,
    /// Print as JSON, one object a line.
    #[arg(long)]
    json: bool,
    /// Threads; 0 is one a core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Release {
    /// PostHog Cloud today.
    Current,
    /// A self-hosted server of mid 2024.
    #[value(name = "2024")]
    Mid2024,
}

impl Arguments {
    fn config(&self) -> Config {
        let mut config = match self.release {
            Release::Current => Config::default(),
            Release::Mid2024 => Config::of_2024(),
        };
        if !self.keys.is_empty() {
            config.keys = Keys::Known(self.keys.iter().cloned().collect());
        }
        if self.counts {
            config.store = Store::Counts;
        }
        config.latency = Duration::from_millis(self.latency_ms);
        config.concurrency = (self.concurrency > 0).then_some(self.concurrency);
        config.max_body_bytes = self.max_body_bytes.unwrap_or(config.max_body_bytes);
        config.refuse_unknown_keys = self.refuse_unknown_keys;
        config.seed = self.seed;
        config
    }
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    super::runtime(arguments.threads)?.block_on(serve(arguments))
}

async fn serve(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let posthog = PostHog::bind(arguments.listen, arguments.config())
        .with_context(|| format!("listen on {}", arguments.listen))?;
    if let Some(path) = &arguments.faults {
        let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let rules: Vec<Rule> = serde_json::from_slice(&text).with_context(|| format!("rules in {}", path.display()))?;
        rules.into_iter().for_each(|rule| posthog.faults().add(rule));
    }
    let shutdown = CancellationToken::new();
    let books = posthog.books().clone();
    let stored = books.subscribe();
    if arguments.json {
        writeln!(io::stdout(), "{}", json!({"listening": posthog.url()}))?;
    } else {
        writeln!(io::stdout(), "posthog listens on {}", posthog.url())?;
    }
    let printing =
        (!arguments.quiet && !arguments.counts).then(|| tokio::spawn(print(stored, arguments.json, shutdown.clone())));
    let serving = tokio::spawn(posthog.serve(shutdown.clone()));
    stop_signal().await?;
    shutdown.cancel();
    serving.await??;
    if let Some(printing) = printing {
        let mut rest = printing.await??;
        while let Ok(event) = rest.try_recv() {
            print_one(&event, arguments.json)?;
        }
    }
    summary(&books, arguments.json)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints events as they are stored, until told to end; gives back what is not printed yet.
async fn print(mut stored: Stored, as_json: bool, shutdown: CancellationToken) -> io::Result<Stored> {
    while let Some(received) = shutdown.run_until_cancelled(stored.recv()).await {
        match received {
            Ok(event) => print_one(&event, as_json)?,
            Err(RecvError::Lagged(missed)) => writeln!(io::stderr(), "({missed} stored events not printed)")?,
            Err(RecvError::Closed) => break,
        }
    }
    Ok(stored)
}

fn print_one(event: &StoredEvent, as_json: bool) -> io::Result<()> {
    if as_json {
        writeln!(io::stdout(), "{}", shown(&line(event).to_string()))
    } else {
        writeln!(io::stdout(), "{event}")
    }
}

fn line(event: &StoredEvent) -> serde_json::Value {
    json!({
        "stored": event.event,
        "key": &*event.key,
        "distinct_id": event.distinct_id,
        "uuid": event.uuid.to_string(),
        "timestamp": event.timestamp.to_string(),
        "historical": event.historical,
        "properties": event.properties(),
    })
}

fn summary(books: &Books, as_json: bool) -> anyhow::Result<()> {
    let counts = books.counts();
    let mut out = io::stdout();
    if as_json {
        writeln!(out, "{}", shown(&json!({"counts": counts}).to_string()))?;
        return Ok(());
    }
    let copies = counts.arrivals - counts.unique;
    writeln!(out, "{} requests, {} events stored, {copies} of them copies", counts.requests, counts.arrivals)?;
    for (status, n) in &counts.statuses {
        writeln!(out, "  {n:>10}  answered {status}")?;
    }
    if counts.unanswered > 0 {
        writeln!(out, "  {:>10}  not answered", counts.unanswered)?;
    }
    for (reason, n) in &counts.dropped {
        writeln!(out, "  {n:>10}  answered 200 and dropped: {reason}")?;
    }
    Ok(())
}

/// Waits for ctrl-c or a request to end.
pub(crate) async fn stop_signal() -> io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}
