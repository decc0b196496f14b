//! What is measured: a bare limit, or moehog as one process or three.

use std::{collections::BTreeMap, net::SocketAddr, process::Command, time::Duration};

use anyhow::Context;
use moehog_tests::{Cpu, Deployment, Log, Process, Setup, Shape, get, memory};
use serde::Serialize;
use tempfile::TempDir;

use super::{Plan, directory};

/// The project key of the bench.
pub(crate) const KEY: &str = "phc_bench";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// axum that reads and drops the body.
    BareDrop,
    /// The same with append and group fdatasync before the 200.
    BareAppend,
    /// The same, and the bodies posted to PostHog in batches.
    BarePost,
    /// moehog in one process.
    One,
    /// gateway, transformer and delivery over gRPC on loopback.
    Three,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::BareDrop, Self::BareAppend, Self::One, Self::Three];

    /// Whether events reach a PostHog.
    pub(crate) fn delivers(self) -> bool {
        matches!(self, Self::BarePost | Self::One | Self::Three)
    }

    /// For a table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BareDrop => "axum, body dropped",
            Self::BareAppend => "+ group fdatasync",
            Self::BarePost => "+ gathered post",
            Self::One => "moehog, one process",
            Self::Three => "moehog, three processes",
        }
    }
}

/// A running subject; ended when dropped.
#[derive(Debug)]
pub(crate) struct Subject {
    running: Running,
    http: SocketAddr,
    /// Held for what lies in it.
    directory: TempDir,
}

#[derive(Debug)]
enum Running {
    Bare(Process),
    Moehog(Box<Deployment>),
}

impl Subject {
    /// Starts it with an empty journal; `variables` are set for moehog's processes.
    pub(crate) async fn start(
        kind: Kind,
        posthog: &str,
        plan: &Plan,
        variables: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let directory = directory(match kind {
            Kind::BareDrop | Kind::BareAppend | Kind::BarePost => "bare",
            Kind::One | Kind::Three => "moehog",
        })?;
        let shape = match kind {
            Kind::One => Shape::One,
            Kind::Three => Shape::Three,
            Kind::BareDrop | Kind::BareAppend | Kind::BarePost => {
                let mut command = Command::new(plan.binaries.join("xtask"));
                command.args(["bench", "bare"]);
                if kind != Kind::BareDrop {
                    command.arg("--append").arg(directory.path());
                }
                if kind == Kind::BarePost {
                    command.args(["--post", posthog]);
                }
                let mut process = Process::start("bare", command, &Log::default())?;
                let http = process.logged("http", Duration::from_secs(5)).await?.parse()?;
                return Ok(Self { running: Running::Bare(process), http, directory });
            }
        };
        let setup = Setup {
            binaries: Some(plan.binaries.clone()),
            journal: Some(directory.path().join("journal")),
            ..Setup::new(shape, posthog, KEY)
        };
        let setup = variables.iter().fold(setup, |setup, (name, value)| setup.variable(name, value));
        let deployment = Deployment::start(setup).await?;
        Ok(Self { http: deployment.http()?, running: Running::Moehog(Box::new(deployment)), directory })
    }

    /// Where it takes webhooks.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    /// Bytes in its directory.
    pub(crate) fn disk_bytes(&self) -> u64 {
        fn bytes(path: &std::path::Path) -> u64 {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            entries
                .map(|entry| match entry.metadata() {
                    Ok(metadata) if metadata.is_dir() => bytes(&entry.path()),
                    Ok(metadata) => metadata.len(),
                    Err(_) => 0,
                })
                .sum()
        }
        bytes(self.directory.path())
    }

    /// moehog's processes.
    pub(crate) fn deployment(&mut self) -> anyhow::Result<&mut Deployment> {
        match &mut self.running {
            Running::Moehog(deployment) => Ok(deployment),
            Running::Bare(_) => anyhow::bail!("a bare limit is no deployment"),
        }
    }

    /// What each of its processes has used so far.
    pub(crate) fn cpu(&mut self) -> anyhow::Result<BTreeMap<String, Cpu>> {
        self.processes()?.into_iter().map(|(name, id)| Ok((name, Cpu::of(id)?))).collect()
    }

    /// How often its journal has synced appends; none of a bare limit.
    pub(crate) async fn syncs(&self) -> anyhow::Result<Option<u64>> {
        let Running::Moehog(deployment) = &self.running else { return Ok(None) };
        let text = get(deployment.admin()?, "/metrics").await?.text();
        let count = text.lines().find_map(|line| line.strip_prefix("moehog_journal_sync_seconds_count "));
        Ok(Some(count.context("no `moehog_journal_sync_seconds_count`")?.parse()?))
    }

    /// Memory of all its processes, in bytes: now, and the sum of what each had at most.
    pub(crate) fn memory(&mut self) -> anyhow::Result<(u64, u64)> {
        self.processes()?.into_iter().try_fold((0, 0), |sum, (_, id)| {
            let (now, peak) = memory(id)?;
            Ok((sum.0 + now, sum.1 + peak))
        })
    }

    /// Stops it in good order, and fails on a complaint in its log.
    pub(crate) async fn finish(self) -> anyhow::Result<()> {
        match self.running {
            Running::Moehog(deployment) => deployment.finish().await.context("the measured moehog"),
            Running::Bare(mut process) => {
                process.kill()?;
                Ok(())
            }
        }
    }

    fn processes(&mut self) -> anyhow::Result<Vec<(String, u32)>> {
        match &mut self.running {
            Running::Bare(process) => Ok(vec![("bare".to_string(), process.id())]),
            Running::Moehog(deployment) => deployment
                .services()
                .iter()
                .map(|service| Ok((service.binary().to_string(), deployment.process(*service)?.id())))
                .collect(),
        }
    }
}
