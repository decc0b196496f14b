//! Services: who is behind a name or an address, told late.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use moehog_tests::Dns;
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{self, Instant},
};

use super::super::faults::{Manifest, list, text};

/// What passes between a change of a pod and the change of who is called, in a cluster of some size.
const LATE: Duration = Duration::from_millis(1_500);
const STEP: Duration = Duration::from_millis(50);

type Members = Arc<Mutex<Vec<(String, Ipv4Addr, watch::Receiver<bool>)>>>;

/// The Services of a render.
#[derive(Debug)]
pub(super) struct Endpoints {
    members: Members,
    services: Arc<BTreeMap<String, Service>>,
    task: JoinHandle<()>,
}

/// One Service.
#[derive(Debug)]
struct Service {
    /// The workload whose pods it selects.
    workload: String,
    /// Whether pods that are not ready are named too.
    unready: bool,
    face: Face,
}

#[derive(Debug)]
enum Face {
    /// Headless: a name.
    Name(Dns),
    /// An address that hands each connection to the next pod.
    Address(Balancer),
}

/// A pod's place among the endpoints; it leaves when dropped.
#[derive(Debug)]
pub(super) struct Member {
    workload: String,
    host: Option<Ipv4Addr>,
    members: Members,
}

impl Endpoints {
    pub(super) async fn start(objects: &[Value]) -> anyhow::Result<Self> {
        let manifest = Manifest::new(objects);
        let mut services = BTreeMap::new();
        for service in manifest.kind("Service") {
            let name = text(&service["metadata"]["name"]).to_string();
            let pods = manifest.selected(&service["spec"]["selector"]);
            let pod = pods.first().with_context(|| format!("Service/{name} selects nothing"))?;
            let face = if service["spec"]["clusterIP"] == "None" {
                Face::Name(Dns::start(&[])?)
            } else {
                let target = pod.port(&list(&service["spec"]["ports"])[0]["targetPort"]).context("a target port")?;
                Face::Address(Balancer::start(target.try_into()?).await?)
            };
            let unready = service["spec"]["publishNotReadyAddresses"] == true;
            services.insert(name, Service { workload: pod.title(), unready, face });
        }
        let (members, services) = (Members::default(), Arc::new(services));
        let task = tokio::spawn(follow(members.clone(), services.clone()));
        Ok(Self { members, services, task })
    }

    /// A place for a pod of this workload.
    pub(super) fn member(&self, workload: &str) -> Member {
        Member { workload: workload.to_string(), host: None, members: self.members.clone() }
    }

    /// Waits until what is true now is told everywhere.
    pub(super) async fn settle(&self) {
        time::sleep(LATE + 2 * STEP).await;
    }

    /// The DNS server that answers for a headless Service.
    pub(super) fn names(&self, service: &str) -> Option<SocketAddr> {
        match &self.services.get(service)?.face {
            Face::Name(dns) => Some(dns.addr()),
            Face::Address(_) => None,
        }
    }

    /// The address of a Service that is not headless.
    pub(super) fn address(&self, service: &str) -> Option<SocketAddr> {
        match &self.services.get(service)?.face {
            Face::Name(_) => None,
            Face::Address(balancer) => Some(balancer.addr),
        }
    }
}

impl Drop for Endpoints {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Member {
    pub(super) fn joins(&mut self, host: Ipv4Addr, ready: watch::Receiver<bool>) {
        self.host = Some(host);
        lock(&self.members).push((self.workload.clone(), host, ready));
    }

    pub(super) fn leaves(&mut self) {
        let host = self.host.take();
        lock(&self.members).retain(|(_, member, _)| Some(*member) != host);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.leaves();
    }
}

/// Tells each Service who is behind it, as it was a while ago.
async fn follow(members: Members, services: Arc<BTreeMap<String, Service>>) {
    let mut pending = std::collections::VecDeque::new();
    loop {
        let now: Vec<_> = lock(&members).iter().map(|(of, host, ready)| (of.clone(), *host, *ready.borrow())).collect();
        pending.push_back((Instant::now(), now));
        while pending.front().is_some_and(|(at, _)| at.elapsed() >= LATE) {
            let Some((_, then)) = pending.pop_front() else { break };
            for service in services.values() {
                let behind =
                    then.iter().filter(|(of, _, ready)| *of == service.workload && (*ready || service.unready));
                let hosts: Vec<_> = behind.map(|(_, host, _)| *host).collect();
                match &service.face {
                    Face::Name(dns) => dns.set(&hosts),
                    Face::Address(balancer) => *lock(&balancer.hosts) = hosts,
                }
            }
        }
        time::sleep(STEP).await;
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands each connection to the next pod; one that has begun stays where it is.
#[derive(Debug)]
struct Balancer {
    addr: SocketAddr,
    hosts: Arc<Mutex<Vec<Ipv4Addr>>>,
    task: JoinHandle<()>,
}

impl Balancer {
    async fn start(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (addr, hosts) = (listener.local_addr()?, Arc::<Mutex<Vec<Ipv4Addr>>>::default());
        let task = tokio::spawn(accept(listener, hosts.clone(), port));
        Ok(Self { addr, hosts, task })
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, hosts: Arc<Mutex<Vec<Ipv4Addr>>>, port: u16) {
    let (next, mut connections) = (AtomicUsize::new(0), JoinSet::new());
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { return };
                let host = {
                    let hosts = lock(&hosts);
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    hosts.get(at % hosts.len().max(1)).copied()
                };
                // nobody there, or nobody who listens: the client sees its connection end
                if let Some(host) = host {
                    connections.spawn(carry(client, (host, port).into()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(mut client: TcpStream, pod: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(pod).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
