use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use moehog_tests::{Attack, Cpu, Deployment, Nginx, Service, Setup, Shape, TOKEN, post, streams};
use tokio::{task::JoinSet, time::sleep};

use super::world::{IN_TIME, KEY, from_soak, posthog, taken};

/// Seconds of each attack in a test run; a soak takes longer, and compares.
const FEW: u64 = 2;
/// Connections of strangers: of each kind more than there is room for.
const CONNECTIONS: usize = 240;

/// A gateway that is small, so that a few hundred strangers could fill it.
fn setup(posthog: &str) -> Setup {
    Setup::new(Shape::One, posthog, KEY)
        .set("http.max_in_flight", "128")
        .set("http.max_connections", "200")
        .set("http.max_held_bytes", "100000000")
        .set("http.answer_idle", "1s")
        .expect("requests showed no right secret")
}

/// How long the answers to a sender with a token took, and what moehog used meanwhile.
struct Honest {
    median: Duration,
    p99: Duration,
    slowest: Duration,
    /// CPU-seconds a second.
    cpu: f64,
}

impl Honest {
    /// Sends through `addr` for so long.
    async fn sends(moehog: &mut Deployment, addr: SocketAddr, lasts: Duration) -> anyhow::Result<Self> {
        let id = moehog.process(Service::Moehog)?.id();
        let (before, begun, mut took) = (Cpu::of(id)?.total, Instant::now(), Vec::new());
        let token = format!("Bearer {TOKEN}");
        let headers = [("content-type", "application/json"), ("authorization", &*token)];
        while begun.elapsed() < lasts {
            let asked = Instant::now();
            let body = streams(&[format!("honest-{}", took.len())]);
            taken(&post(addr, "/v1/in/default", &headers, body).await.context("is answered")?)?;
            took.push(asked.elapsed());
            sleep(Duration::from_millis(20)).await;
        }
        let cpu = (Cpu::of(id)?.total - before) / begun.elapsed().as_secs_f64();
        took.sort_unstable();
        let at = |share: usize| took.get(took.len() * share / 100).copied().context("sent");
        Ok(Self { median: at(50)?, p99: at(99)?, slowest: *took.last().context("sent")?, cpu })
    }
}

impl fmt::Display for Honest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, p99, slowest, cpu } = self;
        write!(formatter, "median {median:.1?}, p99 {p99:.1?}, slowest {slowest:.1?}, {cpu:.2} of a core")
    }
}

/// Good requests of others, as many as make moehog use so many CPU-seconds a second.
fn harmless(moehog: &mut Deployment, addr: SocketAddr, cpu: f64) -> anyhow::Result<JoinSet<()>> {
    let id = moehog.process(Service::Moehog)?.id();
    let (begun, before, mut others) = (Instant::now(), Cpu::of(id)?.total, JoinSet::new());
    for number in 0..16 {
        let body = moehog_tests::tutorial(KEY, &format!("other-{number}"))[0].clone();
        others.spawn(async move {
            loop {
                let used = Cpu::of(id).map_or(f64::MAX, |now| now.total - before);
                if used < cpu * begun.elapsed().as_secs_f64() {
                    // how they fare is nothing to this test
                    let _answer = post(addr, "/capture/", &[("content-type", "application/json")], body.clone()).await;
                } else {
                    sleep(Duration::from_millis(5)).await;
                }
            }
        });
    }
    Ok(others)
}

/// Sends beside what strangers do, and says what was wrong with the answers.
async fn beside(attack: Attack, lasts: Duration, proxied: bool, compares: bool) -> anyhow::Result<()> {
    let posthog = posthog()?;
    let setup = setup(&posthog.url()).set("http.trusted_proxies", if proxied { "[\"127.0.0.1\"]" } else { "[]" });
    let mut moehog = Deployment::start(setup).await?;
    let mut addr = moehog.http()?;
    let nginx = if proxied { Nginx::before(addr).await? } else { None };
    if let Some(nginx) = &nginx {
        addr = nginx.addr();
    }
    let connections = if attack == Attack::HalfBodies { CONNECTIONS / 10 } else { CONNECTIONS };
    let strangers = attack.begin(addr, connections)?;
    // they are all there
    sleep(Duration::from_millis(700)).await;
    let honest = Honest::sends(&mut moehog, addr, lasts).await?;
    println!("{attack:?}{}: {honest}", if nginx.is_some() { " through nginx" } else { "" });
    ensure!(honest.slowest <= IN_TIME, "an answer took {:?}", honest.slowest);
    drop(strangers);
    moehog.drained(Duration::from_secs(60)).await?;
    if compares {
        // what it left is closed
        sleep(Duration::from_secs(2)).await;
        let others = harmless(&mut moehog, addr, honest.cpu)?;
        let calm = Honest::sends(&mut moehog, addr, lasts).await?;
        println!(
            "  beside harmless traffic: {calm}; p99 times {:.2}",
            honest.p99.as_secs_f64() / calm.p99.as_secs_f64()
        );
        drop(others);
        moehog.drained(Duration::from_secs(60)).await?;
    }
    moehog.finish().await
}

#[tokio::test]
async fn beside_a_sender_with_a_token() -> anyhow::Result<()> {
    let seconds = from_soak("MOEHOG_SOAK_ROUNDS", FEW)?;
    let (lasts, long) = (Duration::from_secs(seconds), seconds > FEW);
    let mut failed = Vec::new();
    for attack in Attack::ALL {
        // a test run does without a proxy, since few machines have this one
        for proxied in if long { &[false, true][..] } else { &[false] } {
            if let Err(error) = beside(attack, lasts, *proxied, long).await {
                failed.push(format!("{attack:?}: {error:#}"));
            }
        }
    }
    ensure!(failed.is_empty(), "{failed:#?}");
    Ok(())
}
