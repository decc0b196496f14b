//! Deliveries behind a name, added and taken away while a backlog is sent: what each number of them carries.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::ensure;
use moehog_emulator::posthog::{Config, PostHog, Running};
use moehog_tests::{Deployment, Dns, Replica, Service, Setup, Shape, delivered};
use serde::Serialize;

use super::{
    Plan,
    load::{self, Workload},
    subject::KEY,
};

const LATENCY: Duration = Duration::from_millis(200);
/// Time from a change of the name to the measurement.
const SETTLE: Duration = Duration::from_secs(10);
const WINDOW: Duration = Duration::from_secs(5);
/// Streams batches that wait at the beginning: more than all steps together send.
const WAITING: u64 = 5_000;
const STEPS: [u8; 5] = [1, 2, 4, 8, 1];

/// One number of deliveries.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Step {
    pub(crate) deliveries: u8,
    pub(crate) events_per_second: f64,
    /// Part of the events that each carried.
    pub(crate) shares: Vec<f64>,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shares: Vec<_> = self.shares.iter().map(|share| format!("{:.0} %", 100.0 * share)).collect();
        write!(
            formatter,
            "{} deliveries: {:.0} events/s, {}",
            self.deliveries,
            self.events_per_second,
            shares.join(" ")
        )
    }
}

pub(crate) async fn measure(plan: &Plan) -> anyhow::Result<Vec<Step>> {
    let posthog = PostHog::bind(([127, 0, 0, 1], 0).into(), Config { latency: LATENCY, ..Config::default() })?.start();
    let dns = Dns::start(&[host(1)])?;
    let mut setup = Setup::new(Shape::Three, &posthog.url(), KEY)
        .set("limits.concurrency", "2")
        .set("relay.deliver_max_events", "100")
        .deliveries_by_name(&dns)?;
    setup.binaries = Some(plan.binaries.clone());
    let mut moehog = Deployment::start(setup).await?;
    let sent = load::count(moehog.http()?, Workload::Batch, 16, WAITING).await?;
    ensure!(sent.refused == 0 && sent.failed == 0, "{} refused, {} failed", sent.refused, sent.failed);

    let mut replicas: Vec<Replica> = Vec::new();
    let mut steps = Vec::new();
    for deliveries in STEPS {
        while replicas.len() + 1 < deliveries.into() {
            replicas.push(moehog.replica(Service::Delivery, host(replicas.len() as u8 + 2)).await?);
        }
        let hosts: Vec<_> = (1..=deliveries).map(host).collect();
        dns.set(&hosts);
        tokio::time::sleep(SETTLE).await;
        // out of the name for ten seconds: now they may stop
        for mut gone in replicas.split_off(usize::from(deliveries) - 1) {
            gone.process.stop(Duration::from_secs(30)).await?;
        }
        let step = window(&posthog, &moehog, &replicas, deliveries).await?;
        println!("{step}");
        steps.push(step);
    }
    let repeated = posthog.books().counts().arrivals - posthog.books().counts().unique;
    ensure!(repeated == 0, "{repeated} events were sent twice");
    moehog.kill_all()?;
    Ok(steps)
}

async fn window(posthog: &Running, moehog: &Deployment, replicas: &[Replica], deliveries: u8) -> anyhow::Result<Step> {
    let mut admins = vec![moehog.admin_of(Service::Delivery)?];
    admins.extend(replicas.iter().map(|replica| replica.admin));
    let (before, began) = (all_delivered(&admins).await?, Instant::now());
    let arrivals = posthog.books().counts().arrivals;
    tokio::time::sleep(WINDOW).await;
    let came = posthog.books().counts().arrivals - arrivals;
    let (took, after) = (began.elapsed(), all_delivered(&admins).await?);
    let each: Vec<_> = after.iter().zip(before).map(|(after, before)| (after - before) as f64).collect();
    let all = each.iter().sum::<f64>().max(1.0);
    Ok(Step {
        deliveries,
        events_per_second: came as f64 / took.as_secs_f64(),
        shares: each.into_iter().map(|one| one / all).collect(),
    })
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
