//! `cargo xtask services`: three services and an emulated PostHog, as processes on this machine.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::Context;
use moehog_tests::{Deployment, Log, Process, Service, Setup, Shape, TOKEN};

use crate::workspace;

const KEY: &str = "phc_demo";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where the emulated PostHog listens.
    #[arg(long, default_value = "127.0.0.1:8000")]
    posthog: SocketAddr,
    /// Builds and runs with optimisation.
    #[arg(long)]
    release: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let binaries = crate::bench::binaries(arguments.release)?;
    tokio::runtime::Runtime::new()?.block_on(serve(arguments, &binaries))
}

async fn serve(arguments: &Arguments, binaries: &Path) -> anyhow::Result<bool> {
    let log = Log::default();
    let mut emulator = Command::new(binaries.join("moehog-emulator"));
    emulator.args(["posthog", "--listen", &arguments.posthog.to_string(), "--keys", KEY]);
    let mut emulator = Process::start("posthog", emulator, &log)?;

    let setup = Setup {
        binaries: Some(binaries.to_path_buf()),
        listen: ports(),
        own_group: true,
        journal: Some(workspace::target().join("services").join("journal")),
        ..Setup::new(Shape::Three, &format!("http://{}", arguments.posthog), KEY)
    };
    let deployment = Deployment::start(setup).await?;
    let http = deployment.http()?;
    println!(
        "gateway      http://{http}   admin http://{}\n\
         transformer  {}\n\
         delivery     {}\n\
         PostHog      http://{} (emulated)\n\
         journal      {}\n\n\
         curl -sS http://{http}/capture/ -H 'content-type: application/json' -d \
         '{{\"api_key\":\"{KEY}\",\"event\":\"purchase_completed\",\"distinct_id\":\"user_42\",\"properties\":{{\"amount\":\"49.90\"}}}}'\n\
         curl -sS http://{http}/v1/in/default -H 'authorization: Bearer {TOKEN}' -d @batch.json   # a Streams batch\n\
         curl -sS http://{}/_emulator/events\n\n\
         ctrl-c ends them all",
        deployment.admin()?,
        deployment.grpc(Service::Transformer)?,
        deployment.grpc(Service::Delivery)?,
        arguments.posthog,
        deployment.journal_directory().display(),
        arguments.posthog,
    );
    let mut shown = (0, 0);
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            told = &mut interrupt => {
                told.context("wait for ctrl-c")?;
                break;
            }
            _ = tick.tick() => {}
        }
        shown.0 = show(&log, shown.0);
        shown.1 = show(deployment.log(), shown.1);
        if let Some(status) = emulator.ended()? {
            anyhow::bail!("the emulated PostHog ended with {status}");
        }
    }
    println!("\nstopping");
    deployment.finish().await?;
    Ok(true)
}

fn ports() -> BTreeMap<Service, (SocketAddr, SocketAddr)> {
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    [
        (Service::Gateway, (local(8080), local(9080))),
        (Service::Transformer, (local(50051), local(9081))),
        (Service::Delivery, (local(50052), local(9082))),
    ]
    .into()
}

/// Prints the lines from `from` on, and says up to where.
fn show(log: &Log, from: usize) -> usize {
    let lines = log.lines();
    for line in &lines[from..] {
        println!("{line}");
    }
    lines.len()
}
