//! A pod as a process: started, probed and stopped as the kubelet does.

use std::{
    net::SocketAddr,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, ensure};
use moehog_tests::{Log, Process, binary, get};
use tokio::{sync::watch, task::JoinHandle, time};

use super::{
    endpoints::Member,
    files::{Secrets, lay},
    plan::{Plan, Probe},
};

/// How long a pod may take to be ready on a busy machine.
const START: Duration = Duration::from_secs(60);

/// A pod that runs.
#[derive(Debug)]
pub(super) struct Running {
    plan: Plan,
    process: Process,
    member: Member,
    ready: watch::Receiver<bool>,
    probes: JoinHandle<()>,
    /// Probes that found it dead, for which a cluster would have killed it.
    dead: Arc<Mutex<Vec<String>>>,
}

/// The command that a pod's container is, with its files laid out.
pub(super) fn command(plan: &Plan, secrets: &Secrets) -> anyhow::Result<Command> {
    for volume in &plan.volumes {
        lay(volume, secrets).with_context(|| format!("volumes of {}", plan.name))?;
    }
    let mut command = Command::new(binary(&plan.binary)?);
    command.args(&plan.arguments).env_clear().envs(plan.variables.iter().cloned()).current_dir("/");
    Ok(command)
}

impl Running {
    pub(super) async fn start(plan: Plan, secrets: &Secrets, log: &Log, mut member: Member) -> anyhow::Result<Self> {
        let command = command(&plan, secrets)?;
        let process = Process::start(&plan.name, command, log)?;
        let (said, ready) = watch::channel(false);
        let dead = Arc::<Mutex<Vec<String>>>::default();
        member.joins(plan.host, ready.clone());
        let probes = tokio::spawn(probe(plan.clone(), said, dead.clone()));
        Ok(Self { plan, process, member, ready, probes, dead })
    }

    /// Where it listens with a port of this name.
    pub(super) fn address(&self, port: &str) -> anyhow::Result<SocketAddr> {
        let port = self.plan.ports.get(port).with_context(|| format!("{} has no port {port}", self.plan.name))?;
        Ok((self.plan.host, *port).into())
    }

    /// Waits until it is ready and has been for so long.
    pub(super) async fn ready_for(&self, time: Duration) -> anyhow::Result<()> {
        let mut ready = self.ready.clone();
        let settled = async {
            loop {
                ready.wait_for(|ready| *ready).await.with_context(|| format!("{:?}", self.dead))?;
                if time::timeout(time, ready.wait_for(|ready| !*ready)).await.is_err() {
                    return anyhow::Ok(());
                }
            }
        };
        time::timeout(START + time, settled).await.with_context(|| format!("{} is not ready", self.plan.name))?
    }

    /// Takes it out of the endpoints, waits preStop, sends SIGTERM. It must end with 0 before the kubelet would kill it.
    pub(super) async fn delete(mut self) -> anyhow::Result<()> {
        self.member.leaves();
        let dead = std::mem::take(&mut *self.dead.lock().unwrap_or_else(PoisonError::into_inner));
        ensure!(dead.is_empty(), "{} would have been killed: {dead:?}", self.plan.name);
        time::sleep(self.plan.pre_stop).await;
        let left = self.plan.grace.checked_sub(self.plan.pre_stop).context("no time is left after preStop")?;
        self.process.stop(left).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.probes.abort();
    }
}

/// Asks as long as the pod runs.
async fn probe(plan: Plan, ready: watch::Sender<bool>, dead: Arc<Mutex<Vec<String>>>) {
    let kill = |what: &str| dead.lock().unwrap_or_else(PoisonError::into_inner).push(what.to_string());
    if let Some(startup) = &plan.startup {
        let mut failures = 0;
        while !asked(&plan, startup).await {
            failures += 1;
            if failures == startup.failures {
                return kill("it did not start in time");
            }
            time::sleep(startup.period).await;
        }
    }
    let alive = |well: bool| {
        if !well {
            kill("its liveness probe failed");
        }
    };
    let able = |well: bool| {
        ready.send_replace(well);
    };
    tokio::join!(watched(&plan, plan.liveness.as_ref(), alive), watched(&plan, plan.readiness.as_ref(), able));
}

/// Asks for ever, and tells each success, and each time that the failures in a row are enough.
async fn watched(plan: &Plan, probe: Option<&Probe>, told: impl Fn(bool)) {
    let Some(probe) = probe else { return };
    let mut failures = 0;
    loop {
        let well = asked(plan, probe).await;
        failures = if well { 0 } else { failures + 1 };
        if well || failures == probe.failures {
            told(well);
        }
        time::sleep(probe.period).await;
    }
}

async fn asked(plan: &Plan, probe: &Probe) -> bool {
    let answer = time::timeout(probe.timeout, get((plan.host, probe.port).into(), &probe.path)).await;
    answer.is_ok_and(|answer| answer.is_ok_and(|answer| (200..400).contains(&answer.status)))
}
