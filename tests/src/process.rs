//! One process under test.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{Log, memory, within};

/// A running process; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: Log,
    /// Lines in the log when it started: a restart does not find its predecessor's.
    from: usize,
}

impl Process {
    /// Starts `command`; what it prints goes to `log`.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start(name: &str, mut command: Command, log: &Log) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let from = log.lines().len();
        let mut child = command.spawn().with_context(|| format!("start {name}: {command:?}"))?;
        log.follow(name, child.stderr.take().context("stderr is piped")?);
        log.follow(name, child.stdout.take().context("stdout is piped")?);
        Ok(Self { name: name.to_string(), child, log: log.clone(), from })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a log line of this start that has the field, and gives its value.
    ///
    /// # Errors
    ///
    /// It ended first, or did not log it in time.
    pub async fn logged(&mut self, field: &str, deadline: Duration) -> anyhow::Result<String> {
        let what = format!("{} logs `{field}`", self.name);
        let found = within(deadline, &what, async || {
            let lines = self.log.lines();
            let value =
                lines[self.from..].iter().filter(|line| line.process == self.name).find_map(|line| line.field(field));
            match (value, self.child.try_wait()) {
                (Some(value), _) => Some(Ok(value)),
                (None, Ok(Some(status))) => Some(Err(status)),
                (None, _) => None,
            }
        });
        found.await?.map_err(|status| anyhow::anyhow!("{} ended with {status} before it logged `{field}`", self.name))
    }

    /// Its exit status, where it has ended.
    ///
    /// # Errors
    ///
    /// The operating system does not say.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// SIGKILL, and waits for the end.
    ///
    /// # Errors
    ///
    /// The operating system refuses.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }

    /// SIGSTOP: it keeps its ports and does nothing.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGTERM, and waits for an exit with code 0.
    ///
    /// # Errors
    ///
    /// It takes longer than `deadline`, or ends otherwise.
    pub async fn stop(&mut self, deadline: Duration) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        let what = format!("{} stops on SIGTERM", self.name);
        let status = within(deadline, &what, async || self.child.try_wait().ok().flatten()).await?;
        if !status.success() {
            bail!("{} stopped with {status}", self.name);
        }
        Ok(())
    }

    /// The file it runs.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn executable(&self) -> io::Result<PathBuf> {
        std::fs::read_link(format!("/proc/{}/exe", self.id()))
    }

    /// Memory it holds in RAM, in bytes.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        Ok(memory(self.id())?.0)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process id")?;
        kill_process(pid, signal).with_context(|| format!("signal {signal:?} to {}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        if let Some(status) = ended {
            if status.signal().is_none() && !status.success() {
                self.log.push(crate::Line {
                    process: self.name.clone(),
                    text: format!("ended with {status}"),
                    json: None,
                });
            }
        } else if let Err(error) = self.kill() {
            self.log.push(crate::Line { process: self.name.clone(), text: format!("kill: {error}"), json: None });
        }
    }
}
