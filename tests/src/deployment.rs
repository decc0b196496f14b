//! moehog running as one process or three.

mod replica;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

pub use self::replica::{FurtherGateway, Replica, delivered, known};
use crate::{Log, Process, Service, Setup, binary, get, within};

const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(30);

/// Addresses that a process took; a restart takes them again.
#[derive(Debug, Clone, Copy)]
struct Addresses {
    /// HTTP of a gateway, gRPC of a worker.
    service: SocketAddr,
    admin: SocketAddr,
}

/// A running deployment. Its processes are killed and its directory removed when it is dropped.
#[derive(Debug)]
pub struct Deployment {
    setup: Setup,
    directory: TempDir,
    log: Log,
    processes: BTreeMap<Service, Process>,
    addresses: BTreeMap<Service, Addresses>,
    finished: bool,
}

impl Deployment {
    /// Starts every process and waits until each is ready.
    ///
    /// # Errors
    ///
    /// One does not start; its log is printed.
    pub async fn start(setup: Setup) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("moehog-test-").tempdir()?;
        std::fs::write(directory.path().join("moehog.toml"), &setup.file)?;
        let services = setup.services();
        let addresses = setup.listen.iter().map(|(service, at)| (*service, Addresses { service: at.0, admin: at.1 }));
        let mut deployment = Self {
            addresses: addresses.collect(),
            setup,
            directory,
            log: Log::default(),
            processes: BTreeMap::new(),
            finished: false,
        };
        for service in services {
            deployment.launch(*service).await?;
        }
        Ok(deployment)
    }

    /// Starts one process that is not running, on the addresses it had before, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub async fn launch(&mut self, service: Service) -> anyhow::Result<()> {
        self.spawn(service)?;
        let field = if service.keeps_journal() { "http" } else { "grpc" };
        let process = self.processes.get_mut(&service).context("just started")?;
        let addresses = Addresses {
            service: process.logged(field, START).await?.parse()?,
            admin: process.logged("admin", START).await?.parse()?,
        };
        self.addresses.insert(service, addresses);
        self.ready(service, START).await
    }

    /// Starts one process without waiting for it.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn spawn(&mut self, service: Service) -> anyhow::Result<()> {
        let command = self.command(service)?;
        let process = Process::start(service.binary(), command, &self.log)?;
        self.processes.insert(service, process);
        Ok(())
    }

    /// Waits until a process says that it can do its work.
    ///
    /// # Errors
    ///
    /// It does not in time.
    pub async fn ready(&self, service: Service, deadline: Duration) -> anyhow::Result<()> {
        let admin = self.addresses.get(&service).context("never started")?.admin;
        within(deadline, &format!("{} is ready", service.binary()), async || {
            get(admin, "/readyz").await.ok().filter(|answer| answer.status == 200)
        })
        .await?;
        Ok(())
    }

    /// SIGKILL to one process.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub fn kill(&mut self, service: Service) -> anyhow::Result<()> {
        self.processes.remove(&service).context("not running")?.kill()?;
        Ok(())
    }

    /// SIGKILL to all of them.
    ///
    /// # Errors
    ///
    /// One cannot be killed.
    pub fn kill_all(&mut self) -> anyhow::Result<()> {
        for (_, mut process) in std::mem::take(&mut self.processes) {
            process.kill()?;
        }
        Ok(())
    }

    /// SIGTERM to one process, and waits until it has left with exit code 0.
    ///
    /// # Errors
    ///
    /// It does not run, or ends otherwise.
    pub async fn stop(&mut self, service: Service) -> anyhow::Result<()> {
        self.processes.remove(&service).context("not running")?.stop(STOP).await
    }

    /// Starts what does not run, workers first.
    ///
    /// # Errors
    ///
    /// One does not start.
    pub async fn heal(&mut self) -> anyhow::Result<()> {
        for service in self.setup.services() {
            if !self.processes.contains_key(service) {
                self.launch(*service).await?;
            }
        }
        Ok(())
    }

    /// Stops every process in good order and looks at what they logged.
    ///
    /// # Errors
    ///
    /// One does not stop well, or a `warn` or `error` was logged that the setup does not expect.
    pub async fn finish(mut self) -> anyhow::Result<()> {
        for service in self.setup.services().iter().rev() {
            if self.processes.contains_key(service) {
                self.stop(*service).await?;
            }
        }
        let complaints = self.log.complaints(&self.setup.expected);
        if let Some(first) = complaints.first() {
            bail!("{} complaints that the test did not expect, the first: {first}", complaints.len());
        }
        self.finished = true;
        Ok(())
    }

    /// Expects complaints that hold `text` from now on.
    pub fn expect(&mut self, text: &str) {
        self.setup.expected.push(text.to_string());
    }

    /// Changes what the next start of a process sees: a variable, or the text of the configuration file.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn reconfigure(&mut self, change: impl FnOnce(Setup) -> Setup) -> anyhow::Result<()> {
        self.setup = change(self.setup.clone());
        std::fs::write(self.directory.path().join("moehog.toml"), &self.setup.file)?;
        Ok(())
    }

    /// The process that takes webhooks.
    #[must_use]
    pub fn keeper(&self) -> Service {
        self.setup.services()[self.setup.services().len() - 1]
    }

    /// Its processes.
    #[must_use]
    pub fn services(&self) -> &'static [Service] {
        self.setup.services()
    }

    /// A running process.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub fn process(&mut self, service: Service) -> anyhow::Result<&mut Process> {
        self.processes.get_mut(&service).context("not running")
    }

    /// Where webhooks go.
    ///
    /// # Errors
    ///
    /// It never started.
    pub fn http(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.addresses.get(&self.keeper()).context("never started")?.service)
    }

    /// The admin address of the process that takes webhooks.
    ///
    /// # Errors
    ///
    /// It never started.
    pub fn admin(&self) -> anyhow::Result<SocketAddr> {
        self.admin_of(self.keeper())
    }

    /// The admin address of one process.
    ///
    /// # Errors
    ///
    /// It never started.
    pub fn admin_of(&self, service: Service) -> anyhow::Result<SocketAddr> {
        Ok(self.addresses.get(&service).context("never started")?.admin)
    }

    /// Where a worker answers gRPC.
    ///
    /// # Errors
    ///
    /// It never started.
    pub fn grpc(&self, service: Service) -> anyhow::Result<SocketAddr> {
        Ok(self.addresses.get(&service).context("never started")?.service)
    }

    /// What its processes logged.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Asks the admin API of the process that takes webhooks.
    ///
    /// # Errors
    ///
    /// It does not answer 200.
    pub async fn ask(&self, path: &str) -> anyhow::Result<Value> {
        let answer = get(self.admin()?, path).await?;
        ensure!(answer.status == 200, "{path} answered {}: {}", answer.status, answer.text());
        Ok(answer.json())
    }

    /// Waits until no webhook waits in the journal, and compares its books with a recount.
    ///
    /// # Errors
    ///
    /// Some still wait after `deadline`, or the books do not close.
    pub async fn drained(&self, deadline: Duration) -> anyhow::Result<()> {
        self.settled(deadline).await?;
        self.balanced().await
    }

    /// Waits until no webhook waits in the journal.
    ///
    /// # Errors
    ///
    /// Some still wait after `deadline`.
    pub async fn settled(&self, deadline: Duration) -> anyhow::Result<()> {
        within(deadline, "every webhook is settled", async || {
            let status = self.ask("/api/status").await.ok()?;
            (status["ledger"]["webhooks"]["waiting"].as_u64() == Some(0)).then_some(())
        })
        .await
    }

    /// Compares the books with a recount of what is stored, and what went in with what came out.
    ///
    /// # Errors
    ///
    /// They do not close; both are named.
    pub async fn balanced(&self) -> anyhow::Result<()> {
        let status = self.ask("/api/status?recount=true").await?;
        let (ledger, recount) = (&status["ledger"], &status["recount"]);
        ensure!(ledger == recount, "the ledger says {ledger}, a recount {recount}");
        let sum = |book: &Value, fields: &[&str]| fields.iter().filter_map(|field| book[field].as_u64()).sum::<u64>();
        let (webhooks, events) = (&ledger["webhooks"], &ledger["events"]);
        let accounted = sum(webhooks, &["settled", "waiting", "damaged"]);
        ensure!(webhooks["taken"].as_u64() == Some(accounted), "webhooks do not add up: {webhooks}");
        let ends = ["delivered", "delivered_degraded", "filtered", "duplicate", "dead", "discarded", "in_flight"];
        ensure!(events["mapped"].as_u64() == Some(sum(events, &ends)), "events do not add up: {events}");
        Ok(())
    }

    fn command(&self, service: Service) -> anyhow::Result<Command> {
        let elsewhere = self.setup.binaries_of.get(&service).or(self.setup.binaries.as_ref());
        let binary = match elsewhere {
            Some(directory) => directory.join(service.binary()),
            None => binary(service.binary())?,
        };
        let mut command = match self.setup.through.split_first().filter(|_| service.keeps_journal()) {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(binary);
                command
            }
            None => Command::new(binary),
        };
        command.current_dir(self.directory.path());
        if self.setup.own_group {
            command.process_group(0);
        }
        command.arg("--config").arg(self.directory.path().join("moehog.toml"));
        command.env_remove("RUST_LOG").envs(self.variables(service)?);
        Ok(command)
    }

    fn variables(&self, service: Service) -> anyhow::Result<Vec<(String, String)>> {
        let address = |of: Service, part: fn(&Addresses) -> SocketAddr| {
            self.addresses.get(&of).map_or_else(|| "127.0.0.1:0".to_string(), |addresses| part(addresses).to_string())
        };
        let listen = if service.keeps_journal() { "MOEHOG__HTTP__LISTEN" } else { "MOEHOG__GRPC__LISTEN" };
        let mut variables = vec![
            (listen.to_string(), address(service, |addresses| addresses.service)),
            ("MOEHOG__ADMIN__LISTEN".to_string(), address(service, |addresses| addresses.admin)),
            ("MOEHOG__TELEMETRY__FORMAT".to_string(), "json".to_string()),
        ];
        if service.keeps_journal() {
            let journal = self.journal_directory().display().to_string();
            variables.push(("MOEHOG__JOURNAL__DIR".to_string(), journal));
        }
        if service == Service::Gateway {
            let workers = [
                ("MOEHOG__TRANSFORMER__ADDRESS", &self.setup.transformer, Service::Transformer),
                ("MOEHOG__DELIVERY__ADDRESS", &self.setup.delivery, Service::Delivery),
            ];
            for (name, elsewhere, service) in workers {
                let address = match elsewhere {
                    Some(address) => address.clone(),
                    None => format!("list://{}", self.grpc(service)?),
                };
                variables.push((name.to_string(), address));
            }
        }
        variables.extend(self.setup.variables.iter().cloned());
        Ok(variables)
    }

    /// Where the journal lives.
    #[must_use]
    pub fn journal_directory(&self) -> PathBuf {
        self.setup.journal.clone().unwrap_or_else(|| self.directory.path().join("journal"))
    }
}

impl Drop for Deployment {
    #[expect(clippy::print_stderr, reason = "the test harness shows it when the test fails")]
    fn drop(&mut self) {
        if !self.finished || thread::panicking() {
            let lines = self.log.lines();
            for line in &lines[lines.len().saturating_sub(60)..] {
                eprintln!("{line}");
            }
        }
    }
}
