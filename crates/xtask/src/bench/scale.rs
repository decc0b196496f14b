//! Deliveries behind a name, added while a backlog is sent with the product's defaults: what each number of them carries,
//! before a PostHog that is quick or slow, with one gateway and with two.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::ensure;
use moehog_emulator::posthog::{Config, PostHog, Running};
use moehog_tests::{Cpu, Deployment, Dns, FurtherGateway, Replica, Service, Setup, Shape, delivered, memory};
use serde::Serialize;

use super::{
    Plan, directory,
    load::{self, Workload},
    subject::KEY,
};

/// Requests that a delivery has under way at most: the default.
const REQUESTS: f64 = 16.0;
/// Time from a change of the name until the gateways know it.
const RESOLVED: Duration = Duration::from_secs(8);
/// Part of all cores from which on there is no more to be had of this machine.
const FULL: f64 = 0.93;

/// Most memory of a gateway, by the number of deliveries: the rule of deploy/README.
fn memory_rule(deliveries: u8) -> f64 {
    let relay = moehog_relay::Config::default();
    let kept = (relay.in_flight_bytes * usize::from(deliveries)).min(relay.in_flight_max_bytes);
    100e6 + 1.7 * kept as f64
}

/// What one gateway or two carry with a growing number of deliveries.
struct Case {
    latency: Duration,
    gateways: usize,
    workload: Workload,
    deliveries: &'static [u8],
    /// Webhooks that wait at the beginning: more than all steps together send.
    waiting: u64,
}

const fn case(latency_ms: u64, gateways: usize, workload: Workload, deliveries: &'static [u8], waiting: u64) -> Case {
    Case { latency: Duration::from_millis(latency_ms), gateways, workload, deliveries, waiting }
}

const CASES: [Case; 8] = [
    case(1000, 1, Workload::Batch, &[1, 2, 4, 8, 16], 60_000),
    case(200, 1, Workload::Batch, &[1, 2, 4], 60_000),
    case(1000, 1, Workload::Single, &[1, 4], 1_200_000),
    case(1000, 2, Workload::Batch, &[1, 2, 4, 8, 16], 60_000),
    case(200, 2, Workload::Batch, &[1, 2, 4], 60_000),
    case(5000, 1, Workload::Single, &[1, 4, 16], 1_600_000),
    case(5000, 1, Workload::Batch, &[1, 2, 4, 8, 16], 30_000),
    case(5000, 2, Workload::Batch, &[1, 2, 4, 8, 16], 30_000),
];
/// Those of a quick run.
const QUICK: [Case; 2] =
    [case(5000, 1, Workload::Batch, &[1, 4], 6_000), case(200, 1, Workload::Batch, &[1, 2], 20_000)];

/// One number of deliveries.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Step {
    pub(crate) workload: Workload,
    pub(crate) latency_ms: u64,
    pub(crate) gateways: usize,
    pub(crate) deliveries: u8,
    pub(crate) events_per_second: f64,
    /// Requests under way at PostHog for each delivery, on average.
    pub(crate) under_way: f64,
    /// Events a request, on average.
    pub(crate) events_a_request: f64,
    /// Least and largest part of the events that one delivery carried.
    pub(crate) shares: (f64, f64),
    /// Part of all cores that were busy: moehog, the emulated PostHog and the rest of the bench.
    pub(crate) busy: f64,
    /// Most memory that a gateway had so far.
    pub(crate) gateway_bytes: u64,
}

impl Step {
    /// Requests under way, of those that its deliveries could have.
    fn of_ideal(&self) -> f64 {
        self.under_way / REQUESTS
    }

    fn has_full_cores(&self) -> bool {
        self.busy > FULL
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}, PostHog {} ms, gateways {}, deliveries {:>2}: {:>6.0} events/s, {:>4.1} requests under way a delivery ({:.0} % of 16), \
             {:.0} events each, shares {:.0} to {:.0} %, cores {:.0} % busy, gateway {:.0} MB (rule: {:.0})",
            self.workload.name(),
            self.latency_ms,
            self.gateways,
            self.deliveries,
            self.events_per_second,
            self.under_way,
            100.0 * self.of_ideal(),
            self.events_a_request,
            100.0 * self.shares.0,
            100.0 * self.shares.1,
            100.0 * self.busy,
            self.gateway_bytes as f64 / 1e6,
            memory_rule(self.deliveries) / 1e6,
        )?;
        if self.has_full_cores() { formatter.write_str("; no more to be had of these cores") } else { Ok(()) }
    }
}

pub(crate) async fn measure(plan: &Plan) -> anyhow::Result<Vec<Step>> {
    let mut steps = Vec::new();
    for case in if plan.quick { &QUICK[..] } else { &CASES[..] } {
        steps.extend(run(case, plan).await?);
    }
    let above = steps.iter().filter(|step| step.gateway_bytes as f64 > memory_rule(step.deliveries)).count();
    ensure!(
        above == 0,
        "in {above} of {} steps a gateway used more memory than the rule of deploy/README allows",
        steps.len()
    );
    Ok(steps)
}

/// The processes of one case.
struct Rig {
    posthog: Running,
    dns: Dns,
    moehog: Deployment,
    further: Vec<FurtherGateway>,
    replicas: Vec<Replica>,
}

async fn run(case: &Case, plan: &Plan) -> anyhow::Result<Vec<Step>> {
    let config = Config { latency: case.latency, ..Config::counts() };
    let posthog = PostHog::bind(([127, 0, 0, 1], 0).into(), config)?.start();
    let dns = Dns::start(&[host(1)])?;
    let journals = directory("scale")?;
    let mut setup = Setup::new(Shape::Three, &posthog.url(), KEY).deliveries_by_name(&dns)?;
    setup.binaries = Some(plan.binaries.clone());
    setup.journal = Some(journals.path().join("journal-1"));
    let moehog = Deployment::start(setup).await?;
    let mut rig = Rig { posthog, dns, moehog, further: Vec::new(), replicas: Vec::new() };
    for number in 2..=case.gateways {
        rig.further.push(rig.moehog.further_gateway(&journals.path().join(format!("journal-{number}"))).await?);
    }
    let mut gateways = vec![rig.moehog.http()?];
    gateways.extend(rig.further.iter().map(|gateway| gateway.http));
    let count = case.waiting / gateways.len() as u64;
    for (gateway, http) in gateways.iter().enumerate() {
        let sent = load::part(*http, case.workload, gateway as u64 * count * case.workload.events(), count).await?;
        ensure!(sent.refused == 0 && sent.failed == 0, "{} refused, {} failed", sent.refused, sent.failed);
    }
    let mut steps = Vec::new();
    for deliveries in case.deliveries {
        while rig.replicas.len() + 1 < usize::from(*deliveries) {
            rig.replicas.push(rig.moehog.replica(Service::Delivery, host(rig.replicas.len() as u8 + 2)).await?);
        }
        rig.dns.set(&(1..=*deliveries).map(host).collect::<Vec<_>>());
        // calls double a round until there are enough of them
        tokio::time::sleep(RESOLVED + 4 * case.latency).await;
        let step = rig.window(case, *deliveries).await?;
        println!("{step}");
        let most = memory_rule(*deliveries);
        ensure!(
            step.gateway_bytes as f64 <= most,
            "a gateway used {} bytes, the rule allows {most}",
            step.gateway_bytes
        );
        let is_last = step.has_full_cores();
        steps.push(step);
        if is_last {
            break;
        }
    }
    let left = rig.waiting().await?;
    ensure!(left > 0, "the backlog was not long enough: the last step may have measured its end");
    let counts = rig.posthog.books().counts();
    ensure!(counts.arrivals == counts.unique, "{} events were sent twice", counts.arrivals - counts.unique);
    rig.moehog.kill_all()?;
    for mut gateway in rig.further {
        gateway.process.kill()?;
    }
    for mut replica in rig.replicas {
        replica.process.kill()?;
    }
    Ok(steps)
}

impl Rig {
    async fn window(&mut self, case: &Case, deliveries: u8) -> anyhow::Result<Step> {
        let window = (4 * case.latency).max(Duration::from_secs(10));
        let mut admins = vec![self.moehog.admin_of(Service::Delivery)?];
        admins.extend(self.replicas.iter().map(|replica| replica.admin));
        let (cpu, before, counts) = (self.cpu()?, all_delivered(&admins).await?, self.posthog.books().counts());
        let began = Instant::now();
        tokio::time::sleep(window).await;
        let (after, now) = (all_delivered(&admins).await?, self.posthog.books().counts());
        let seconds = began.elapsed().as_secs_f64();
        let used = self.cpu()? - cpu;
        let (events, requests) = ((now.arrivals - counts.arrivals) as f64, (now.requests - counts.requests) as f64);
        let each: Vec<_> = after.iter().zip(before).map(|(after, before)| (after - before) as f64).collect();
        let all = each.iter().sum::<f64>().max(1.0);
        let share = |pick: fn(f64, f64) -> f64| each.iter().copied().reduce(pick).unwrap_or_default() / all;
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        Ok(Step {
            workload: case.workload,
            latency_ms: case.latency.as_millis() as u64,
            gateways: case.gateways,
            deliveries,
            events_per_second: events / seconds,
            // each is there for as long as PostHog takes
            under_way: requests / seconds * case.latency.as_secs_f64() / f64::from(deliveries),
            events_a_request: events / requests.max(1.0),
            shares: (share(f64::min), share(f64::max)),
            busy: used / seconds / cores,
            gateway_bytes: self
                .gateways()?
                .into_iter()
                .map(|id| Ok(memory(id)?.1))
                .collect::<anyhow::Result<Vec<_>>>()?
                .into_iter()
                .max()
                .unwrap_or(0),
        })
    }

    fn gateways(&mut self) -> anyhow::Result<Vec<u32>> {
        let mut ids = vec![self.moehog.process(Service::Gateway)?.id()];
        ids.extend(self.further.iter().map(|gateway| gateway.process.id()));
        Ok(ids)
    }

    /// CPU-seconds of all processes so far, this one with the emulated PostHog in it too.
    fn cpu(&mut self) -> anyhow::Result<f64> {
        let mut ids = self.gateways()?;
        ids.push(self.moehog.process(Service::Transformer)?.id());
        ids.push(self.moehog.process(Service::Delivery)?.id());
        ids.extend(self.replicas.iter().map(|replica| replica.process.id()));
        ids.push(std::process::id());
        ids.into_iter().map(|id| Ok(Cpu::of(id)?.total)).sum()
    }

    /// Webhooks that wait in the journals.
    async fn waiting(&self) -> anyhow::Result<u64> {
        let mut waiting = 0;
        for admin in std::iter::once(self.moehog.admin()?).chain(self.further.iter().map(|gateway| gateway.admin)) {
            let status = moehog_tests::get(admin, "/api/status").await?.json();
            waiting += status["ledger"]["webhooks"]["waiting"].as_u64().unwrap_or_default();
        }
        Ok(waiting)
    }
}

/// Events that each delivery has sent so far.
async fn all_delivered(admins: &[SocketAddr]) -> anyhow::Result<Vec<u64>> {
    let mut counts = Vec::new();
    for admin in admins {
        counts.push(delivered(*admin).await?);
    }
    Ok(counts)
}

fn host(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, number)
}
