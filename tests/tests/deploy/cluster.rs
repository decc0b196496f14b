//! A render, run on this machine: what a cluster would make of it, with processes for pods.
//!
//! Arguments, variables, files, ports, probes, preStop and grace are those of the manifests. What a machine without a cluster must have
//! otherwise is translated by `plan`: paths lie under a temporary root, a pod's address is one of 127.0.0.0/8, and names are asked of a
//! DNS server of the test. Endpoints follow readiness and deletion late, as they do in a cluster.

mod endpoints;
mod files;
mod kubelet;
mod plan;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use futures::stream::{FuturesUnordered, StreamExt as _};
use moehog_tests::Log;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) use self::files::Secrets;
use self::{
    endpoints::Endpoints,
    kubelet::Running,
    plan::{Plan, Surroundings},
};
use super::faults::Manifest;

/// A release that runs.
#[derive(Debug)]
pub(crate) struct Cluster {
    objects: Vec<Value>,
    secrets: Secrets,
    directory: TempDir,
    log: Log,
    endpoints: Endpoints,
    started: AtomicU32,
    /// Pods by their workload, oldest first.
    pods: BTreeMap<String, Vec<Running>>,
    /// Lines in the log when all were ready.
    began: usize,
    finished: bool,
}

impl Cluster {
    /// Starts every workload of a render with the number of pods that it says, and waits until all are ready.
    pub(crate) async fn start(objects: Vec<Value>, secrets: Secrets) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("moehog-cluster-").tempdir()?;
        let endpoints = Endpoints::start(&objects).await?;
        let started = AtomicU32::new(0);
        let (log, pods) = (Log::default(), BTreeMap::new());
        let mut cluster =
            Self { objects, secrets, directory, log, endpoints, started, pods, began: 0, finished: false };
        for workload in cluster.workloads() {
            let replicas =
                usize::try_from(cluster.owner(&workload)?["spec"]["replicas"].as_u64().context("replicas")?)?;
            for ordinal in 0..replicas {
                let pod = cluster.launch(&workload, ordinal).await?;
                cluster.pods.entry(workload.clone()).or_default().push(pod);
            }
        }
        for pod in cluster.pods.values().flatten() {
            pod.ready_for(Duration::ZERO).await?;
        }
        cluster.endpoints.settle().await;
        cluster.began = cluster.log.lines().len();
        Ok(cluster)
    }

    /// Names of the workloads.
    pub(crate) fn workloads(&self) -> Vec<String> {
        Manifest::new(&self.objects).workloads().map(super::faults::Pod::title).collect()
    }

    /// Where a Service with an address of its own takes connections.
    pub(crate) fn service(&self, name: &str) -> anyhow::Result<SocketAddr> {
        self.endpoints.address(name).with_context(|| format!("there is no Service {name} with an address"))
    }

    /// Where the pods of a workload listen with a port of this name.
    pub(crate) fn addresses(&self, workload: &str, port: &str) -> anyhow::Result<Vec<SocketAddr>> {
        self.pods.get(workload).into_iter().flatten().map(|pod| pod.address(port)).collect()
    }

    /// Replaces the pods of every workload, all workloads at once, as an upgrade that changes the configuration does.
    pub(crate) async fn roll(&mut self) -> anyhow::Result<()> {
        let mut pods = std::mem::take(&mut self.pods);
        let this = &*self;
        let rolled = pods.iter_mut().map(async |(workload, pods)| this.roll_one(workload, pods).await);
        let rolled = futures::future::join_all(rolled).await;
        self.pods = pods;
        rolled.into_iter().collect()
    }

    async fn roll_one(&self, workload: &str, pods: &mut Vec<Running>) -> anyhow::Result<()> {
        let settled = Duration::from_secs(self.owner(workload)?["spec"]["minReadySeconds"].as_u64().unwrap_or(0));
        let replicas = pods.len();
        if workload.starts_with("StatefulSet/") {
            // the last ordinal first; a pod is gone before the next with its name comes
            for ordinal in (0..replicas).rev() {
                pods.remove(ordinal).delete().await?;
                pods.insert(ordinal, self.launch(workload, ordinal).await?);
                pods[ordinal].ready_for(settled).await?;
            }
            return Ok(());
        }
        let mut leaving = FuturesUnordered::new();
        for _ in 0..replicas {
            // maxSurge 1, maxUnavailable 0: one more, then one less, which may take its time
            let one_more = async {
                let pod = self.launch(workload, 0).await?;
                pod.ready_for(settled).await?;
                anyhow::Ok(pod)
            };
            tokio::pin!(one_more);
            let pod = loop {
                tokio::select! {
                    pod = &mut one_more => break pod?,
                    Some(ended) = leaving.next() => ended?,
                }
            };
            pods.push(pod);
            leaving.push(pods.remove(0).delete());
        }
        while let Some(ended) = leaving.next().await {
            ended?;
        }
        Ok(())
    }

    /// Deletes every pod. All must end well and in time, none may have been unwell, and none may have complained since all were ready.
    pub(crate) async fn delete(mut self) -> anyhow::Result<()> {
        let lines = self.log.lines();
        let complaint = lines[self.began..].iter().find(|line| line.complains());
        ensure!(complaint.is_none(), "a complaint that nobody expected: {complaint:?}");
        let leaving = std::mem::take(&mut self.pods).into_values().flatten().map(Running::delete);
        for ended in futures::future::join_all(leaving).await {
            ended?;
        }
        // while nobody is ready yet or any more, names lead nowhere
        let complaints = self.log.complaints(&["name cannot be resolved".to_string()]);
        ensure!(complaints.is_empty(), "{} complaints, the first: {}", complaints.len(), complaints[0]);
        self.finished = true;
        Ok(())
    }

    /// Runs a pod that is no workload's to its end, and gives what it printed.
    pub(crate) async fn run(&self, pod: &str, deadline: Duration) -> anyhow::Result<String> {
        let plan = self.plan(pod, pod)?;
        let mut command = tokio::process::Command::from(kubelet::command(&plan, &self.secrets)?);
        let output = tokio::time::timeout(deadline, command.kill_on_drop(true).output());
        let output = output.await.with_context(|| format!("{pod} has not ended after {deadline:?}"))??;
        let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            bail!("{pod} ended with {}: {printed}", output.status);
        }
        Ok(printed)
    }

    async fn launch(&self, workload: &str, ordinal: usize) -> anyhow::Result<Running> {
        let (kind, base) = workload.split_once('/').context("kind/name")?;
        let number = self.started.load(Ordering::Relaxed);
        let name = if kind == "StatefulSet" { format!("{base}-{ordinal}") } else { format!("{base}-{number:05}") };
        Running::start(self.plan(workload, &name)?, &self.secrets, &self.log, self.endpoints.member(workload)).await
    }

    fn plan(&self, workload: &str, name: &str) -> anyhow::Result<Plan> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let manifest = Manifest::new(&self.objects);
        let pod = manifest.pods().find(|pod| pod.title() == workload).context("a workload")?;
        let surroundings = Surroundings {
            name,
            host: free_host(),
            root: &self.path(&format!("pods/{number}")),
            claims: &self.path(&format!("claims/{}", name.replace('/', "-"))),
            names: &|service| self.endpoints.names(service),
            address: &|service| self.endpoints.address(service),
        };
        Plan::new(manifest, pod, &surroundings)
    }

    fn owner(&self, workload: &str) -> anyhow::Result<&Value> {
        let found = Manifest::new(&self.objects).workloads().find(|pod| pod.title() == workload);
        Ok(found.context("a workload")?.owner)
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.directory.path()).join(name)
    }
}

impl Drop for Cluster {
    #[expect(clippy::print_stderr, reason = "the test harness shows it when the test fails")]
    fn drop(&mut self) {
        if !self.finished {
            let lines = self.log.lines();
            for line in &lines[lines.len().saturating_sub(60)..] {
                eprintln!("{line}");
            }
        }
    }
}

/// An address of this machine that no other test process takes for its pods, since they all listen on the ports of the manifests.
fn free_host() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let [_, _, high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let process = u8::try_from(process::id() % 128).unwrap_or(0);
    Ipv4Addr::new(127, 64 + process, high, low)
}
