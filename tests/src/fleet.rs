//! Workers of one kind behind a name: killed, paused, replaced, added and taken away.

use std::{io, net::Ipv4Addr, path::PathBuf, time::Duration};

use anyhow::Context;
use rand::{Rng, rngs::StdRng, seq::SliceRandom};
use tokio::sync::Mutex;

use crate::{Deployment, Dns, Log, Replica, Service, Setup, Shape, known};

/// How long a worker may take to stop, and a gateway to hear of a change.
const SOON: Duration = Duration::from_secs(30);

/// What is done to a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// SIGKILL to so many of them, which stay in the name and are started again at their addresses.
    Kill(usize),
    /// SIGTERM to one that stays in the name and is started again at its address.
    Restart,
    /// So many of them are replaced: new ones come into the name, old ones leave it and get SIGTERM once the gateway knows.
    Roll(usize),
    /// So many of them in all, then as many as before.
    Scale(usize),
    /// SIGSTOP to one, for so long.
    Pause(Duration),
}

/// The workers of one kind.
#[derive(Debug)]
pub struct Fleet {
    service: Service,
    dns: Dns,
    log: Log,
    port: u16,
    members: Vec<Replica>,
}

/// A deployment whose two kinds of workers are fleets.
#[derive(Debug)]
pub struct Fleets {
    /// The gateway, and what the workers belong to.
    pub moehog: Deployment,
    /// Its transformers.
    pub transformers: Fleet,
    /// Its deliveries.
    pub deliveries: Fleet,
}

impl Fleets {
    /// Starts a gateway with so many transformers and deliveries behind names. Calls are small and retries soon, so that much happens in
    /// little time; `adapt` has the last word.
    ///
    /// # Errors
    ///
    /// One does not start.
    pub async fn start(
        (posthog, key): (&str, &str),
        (transformers, deliveries): (usize, usize),
        adapt: impl FnOnce(Setup) -> Setup,
    ) -> anyhow::Result<Self> {
        let hosts = |count| (1..=count as u8).map(|number| Ipv4Addr::new(127, 0, 0, number)).collect::<Vec<_>>();
        let names = (Dns::start(&hosts(transformers))?, Dns::start(&hosts(deliveries))?);
        let mut setup = Setup::new(Shape::Three, posthog, key)
            .set("relay.deliver_max_events", "50")
            .set("relay.retry_max", "2s")
            .transformers_by_name(&names.0)?
            .deliveries_by_name(&names.1)?;
        // what a worker that is gone looks like from the others
        for expected in ["moehog_relay", "moehog_delivery", "moehog_transport"] {
            setup = setup.expect(expected);
        }
        let mut moehog = Deployment::start(adapt(setup)).await?;
        let transformers = Fleet::take(&mut moehog, Service::Transformer, names.0, transformers).await?;
        let deliveries = Fleet::take(&mut moehog, Service::Delivery, names.1, deliveries).await?;
        Ok(Self { moehog, transformers, deliveries })
    }
}

impl Fleet {
    /// Takes over the deployment's own worker, whose name `dns` answers for, and adds others until there are `size`: a moment's work
    /// where `dns` has named them from the beginning.
    ///
    /// # Errors
    ///
    /// One does not start.
    async fn take(deployment: &mut Deployment, service: Service, dns: Dns, size: usize) -> anyhow::Result<Self> {
        let (log, port) = (deployment.log().clone(), deployment.grpc(service)?.port());
        let members = vec![deployment.release(service)?];
        let mut fleet = Self { service, dns, log, port, members };
        while fleet.members.len() < size {
            let replica = deployment.replica(service, fleet.free()?).await?;
            fleet.members.push(replica);
        }
        fleet.named().await?;
        Ok(fleet)
    }

    /// Makes one move; afterwards there are as many as before, and all of them run.
    ///
    /// # Errors
    ///
    /// One does not start, does not stop well, or the gateway does not hear of a change.
    pub async fn make(
        &mut self,
        made: Move,
        chance: &mut StdRng,
        deployment: &Mutex<Deployment>,
    ) -> anyhow::Result<()> {
        self.members.shuffle(chance);
        let size = self.members.len();
        match made {
            Move::Kill(count) => {
                let mut hosts = Vec::new();
                for mut killed in self.members.split_off(size.saturating_sub(count)) {
                    killed.process.kill()?;
                    hosts.push(killed.host);
                }
                tokio::time::sleep(Duration::from_millis(chance.random_range(0..600))).await;
                self.start(&hosts, deployment).await
            }
            Move::Restart => {
                let mut stopped = self.members.pop().context("an empty fleet")?;
                stopped.process.stop(SOON).await?;
                self.start(&[stopped.host], deployment).await
            }
            Move::Roll(count) => {
                let old = self.members.split_off(size.saturating_sub(count));
                let taken: Vec<_> = old.iter().map(|old| old.host).collect();
                for _ in &old {
                    self.start(&[self.free_beside(&taken)?], deployment).await?;
                }
                self.named().await?;
                stop(old).await
            }
            Move::Scale(count) => {
                self.scale(count, deployment).await?;
                self.scale(size, deployment).await
            }
            Move::Pause(time) => {
                let paused = self.members.last().context("an empty fleet")?;
                paused.process.pause()?;
                tokio::time::sleep(time).await;
                paused.process.resume()
            }
        }
    }

    /// The files that its members run.
    ///
    /// # Errors
    ///
    /// One has ended.
    pub fn executables(&self) -> io::Result<Vec<PathBuf>> {
        self.members.iter().map(|member| member.process.executable()).collect()
    }

    /// Stops all of them in good order.
    ///
    /// # Errors
    ///
    /// One does not stop well.
    pub async fn finish(self) -> anyhow::Result<()> {
        stop(self.members).await
    }

    async fn scale(&mut self, count: usize, deployment: &Mutex<Deployment>) -> anyhow::Result<()> {
        while self.members.len() < count {
            self.start(&[self.free()?], deployment).await?;
        }
        let gone = self.members.split_off(count);
        self.named().await?;
        stop(gone).await
    }

    async fn start(&mut self, hosts: &[Ipv4Addr], deployment: &Mutex<Deployment>) -> anyhow::Result<()> {
        for host in hosts {
            let replica = deployment.lock().await.replica(self.service, *host).await?;
            self.members.push(replica);
        }
        Ok(())
    }

    /// Says the members in the name, and waits until the gateway knows them.
    async fn named(&self) -> anyhow::Result<()> {
        let mut hosts: Vec<_> = self.members.iter().map(|member| member.host).collect();
        hosts.sort_unstable();
        self.dns.set(&hosts);
        known(&self.log, self.port, &hosts, SOON).await
    }

    fn free(&self) -> anyhow::Result<Ipv4Addr> {
        self.free_beside(&[])
    }

    /// The first address that no member has and none of `taken` is.
    fn free_beside(&self, taken: &[Ipv4Addr]) -> anyhow::Result<Ipv4Addr> {
        // up to 9, so that their order as numbers is their order as text
        let mut hosts = (1..=9).map(|number| Ipv4Addr::new(127, 0, 0, number));
        let is_free = |host: &Ipv4Addr| !taken.contains(host) && self.members.iter().all(|member| member.host != *host);
        hosts.find(is_free).context("nine addresses are taken")
    }
}

async fn stop(replicas: Vec<Replica>) -> anyhow::Result<()> {
    for mut replica in replicas {
        replica.process.stop(SOON).await?;
    }
    Ok(())
}
