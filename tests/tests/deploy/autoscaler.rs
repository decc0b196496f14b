//! The autoscaler that the chart sets up, played over real processes: its own query, asked of what a real gateway exposes,
//! says how many real deliveries stand behind the name.

mod query;

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, ensure};
use moehog_emulator::{
    moengage::{Target, Template, load},
    posthog::{Config, PostHog, Running},
};
use moehog_tests::{Deployment, Dns, Replica, Service, Setup, Shape, TOKEN, get, known, post, within};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use self::query::{Query, Sample};
use super::{
    faults::{list, text},
    world::{KEY, SOON, chart, renders},
};

/// How long PostHog takes for a request.
const LATENCY: Duration = Duration::from_secs(5);
/// The most that MoEngage sends: 3,334 events a second here, in batches of 100 so that few requests carry them.
const BATCHES_PER_SECOND: u32 = 33;
const CAMPAIGN: Duration = Duration::from_secs(35);
/// The autoscaler's clock runs so much faster than the chart says when it looks and scales out, and when it scales in.
const OUT_FASTER: u32 = 5;
const IN_FASTER: u32 = 20;
/// The tolerance of a HorizontalPodAutoscaler.
///
/// Source: Kubernetes, "Horizontal Pod Autoscaling", algorithm details (read 2026-11-28).
const TOLERANCE: f64 = 0.1;
/// Persons whose events are numbered.
const NUMBERED: u64 = 4;

/// What the chart tells KEDA.
struct Rules {
    query: Query,
    least: usize,
    most: usize,
    look_every: Duration,
    /// Most pods more, of so many, at a time.
    percent_out: usize,
    pods_out: usize,
    out_every: Duration,
    /// How long the highest wish counts.
    stabilization: Duration,
    in_every: Duration,
}

impl Rules {
    fn read(scaled: &Value) -> anyhow::Result<Self> {
        let spec = &scaled["spec"];
        let trigger = &spec["triggers"][0];
        ensure!(trigger["metricType"] == "AverageValue" && trigger["metadata"]["threshold"] == "1", "{trigger}");
        let behavior = &spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"];
        let number = |value: &Value| value.as_u64().with_context(|| format!("a number in {scaled}"));
        let seconds = |value: &Value, faster| Ok::<_, anyhow::Error>(Duration::from_secs(number(value)?) / faster);
        let out = |kind: &str| {
            let policies = list(&behavior["scaleUp"]["policies"]);
            policies.iter().find(|policy| policy["type"] == kind).with_context(|| format!("a {kind} policy"))
        };
        Ok(Self {
            query: text(&trigger["metadata"]["query"]).parse()?,
            least: number(&spec["minReplicaCount"])? as usize,
            most: number(&spec["maxReplicaCount"])? as usize,
            look_every: seconds(&spec["pollingInterval"], OUT_FASTER)?,
            percent_out: number(&out("Percent")?["value"])? as usize,
            pods_out: number(&out("Pods")?["value"])? as usize,
            out_every: seconds(&out("Pods")?["periodSeconds"], OUT_FASTER)?,
            stabilization: seconds(&behavior["scaleDown"]["stabilizationWindowSeconds"], IN_FASTER)?,
            in_every: seconds(&behavior["scaleDown"]["policies"][0]["periodSeconds"], IN_FASTER)?,
        })
    }
}

/// The autoscaler, the name, and the pods that it owns.
struct Autoscaler {
    rules: Rules,
    dns: Dns,
    replicas: Vec<Replica>,
    /// Each wish of the stabilization window, and when it was.
    wishes: Vec<(Instant, usize)>,
    out_at: Instant,
    in_at: Instant,
    next_host: u8,
    /// How many there were after each look.
    sizes: Vec<usize>,
}

impl Autoscaler {
    /// One look, and what follows from it.
    async fn look(&mut self, moehog: &Deployment) -> anyhow::Result<()> {
        let (size, now) = (self.replicas.len(), Instant::now());
        let wanted = self.rules.query.ask(&scrape(moehog.admin()?).await?)?.context("the query has no answer")?;
        let off = wanted / size as f64 - 1.0;
        let wish = if off.abs() <= TOLERANCE { size } else { wanted.ceil() as usize };
        let wish = wish.clamp(self.rules.least, self.rules.most);
        self.wishes.retain(|(at, _)| now < *at + self.rules.stabilization);
        self.wishes.push((now, wish));
        let highest = self.wishes.iter().map(|(_, wish)| *wish).max().unwrap_or(size);
        if wish > size && now >= self.out_at {
            let at_once = (size * self.rules.percent_out / 100).max(self.rules.pods_out);
            self.out_at = now + self.rules.out_every;
            self.resize(moehog, wish.min(size + at_once)).await?;
        } else if highest < size && now >= self.in_at {
            self.in_at = now + self.rules.in_every;
            self.resize(moehog, size - 1).await?;
        }
        self.sizes.push(self.replicas.len());
        Ok(())
    }

    async fn resize(&mut self, moehog: &Deployment, size: usize) -> anyhow::Result<()> {
        while self.replicas.len() < size {
            let host = Ipv4Addr::new(127, 0, 0, self.next_host);
            self.next_host += 1;
            self.replicas.push(moehog.replica(Service::Delivery, host).await?);
        }
        let leaving = self.replicas.split_off(size);
        let hosts: Vec<_> = self.replicas.iter().map(|replica| replica.host).collect();
        self.dns.set(&hosts);
        if !leaving.is_empty() {
            // what preStop is for: out of the name before the stop
            known(moehog.log(), moehog.grpc(Service::Delivery)?.port(), &hosts, SOON).await?;
        }
        for mut replica in leaving {
            replica.process.stop(SOON).await?;
        }
        Ok(())
    }

    async fn look_until(&mut self, moehog: &Deployment, mut done: impl FnMut(&Self) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + 3 * SOON;
        while !done(self) {
            ensure!(Instant::now() < deadline, "not in time; sizes so far: {:?}", self.sizes);
            sleep(self.rules.look_every).await;
            self.look(moehog).await?;
        }
        Ok(())
    }
}

/// What Prometheus has of a gateway, with the labels that the chart's ServiceMonitor gives.
async fn scrape(admin: SocketAddr) -> anyhow::Result<Vec<Sample>> {
    let labels = [("namespace", "moehog"), ("service", "moehog-gateway-headless"), ("pod", "moehog-gateway-0")];
    Ok(query::samples(&get(admin, "/metrics").await?.text(), &labels))
}

/// A person's events, each numbered, one after the other.
async fn number(http: SocketAddr, person: u64, until: Instant) -> anyhow::Result<u64> {
    let mut number = 0;
    while Instant::now() < until {
        number += 1;
        let properties = json!({"n": number});
        let body = json!({"api_key": KEY, "event": "step", "distinct_id": format!("numbered-{person}"), "properties": properties});
        let headers = [("content-type", "application/json")];
        let answer = post(http, "/capture/", &headers, body.to_string()).await?;
        ensure!(answer.status == 200, "answered {}: {}", answer.status, answer.text());
        sleep(Duration::from_millis(100)).await;
    }
    Ok(number)
}

async fn start() -> anyhow::Result<(Running, Dns, Deployment)> {
    let config = Config { latency: LATENCY, ..Config::with_keys([KEY]) };
    let posthog = PostHog::bind(([127, 0, 0, 1], 0).into(), config)?.start();
    let dns = Dns::start(&[Ipv4Addr::LOCALHOST])?;
    let setup = Setup::new(Shape::Three, &posthog.url(), KEY)
        .section(&format!(
            "[sources.wrong]\ndestination = \"wrong\"\ntokens = [\"{TOKEN}\"]\n\n[destinations.wrong]\napi_key = \"phc_nobodys\"\nhost = \"{}\"\n",
            posthog.url()
        ))
        .expect("destination is held")
        .expect("moehog_delivery")
        .expect("moehog_transport")
        .deliveries_by_name(&dns)?;
    let moehog = Deployment::start(setup).await?;
    Ok((posthog, dns, moehog))
}

#[tokio::test]
async fn the_autoscaler_follows_a_campaign_out_and_back_and_a_held_destination_adds_none() -> anyhow::Result<()> {
    let Some(chart) = chart("the autoscaler follows a campaign out and back and a held destination adds none")? else {
        return Ok(());
    };
    let renders = renders(&chart)?;
    let keda = renders.iter().find(|render| render.name == "keda").context("ci/keda.yaml")?;
    let scaled = keda.objects.iter().find(|object| object["kind"] == "ScaledObject").context("a ScaledObject")?;
    let (posthog, dns, mut moehog) = start().await?;
    let http = moehog.http()?;
    let now = Instant::now();
    let mut autoscaler = Autoscaler {
        rules: Rules::read(scaled)?,
        dns,
        replicas: vec![moehog.release(Service::Delivery)?],
        wishes: Vec::new(),
        out_at: now,
        in_at: now,
        next_host: 2,
        sizes: Vec::new(),
    };
    let least = autoscaler.rules.least;
    autoscaler.resize(&moehog, least).await?;

    // a key that nobody owns: its webhooks wait for a person, and no delivery could do anything about it
    let headers = [("content-type", "application/json"), ("authorization", &*format!("Bearer {TOKEN}"))];
    for webhook in 0..50 {
        let body = json!({"event": "waits", "distinct_id": format!("held-{webhook}")}).to_string();
        ensure!(post(http, "/v1/in/wrong", &headers, body).await?.status == 200, "refused");
    }
    let held = "moehog_relay_lane_state{source=\"wrong\",destination=\"wrong\"} 2";
    within(SOON, "the destination is held", async || {
        get(moehog.admin().ok()?, "/metrics").await.ok().filter(|metrics| metrics.text().contains(held))
    })
    .await?;
    let looks = Instant::now();
    autoscaler.look_until(&moehog, |_| looks.elapsed() > Duration::from_secs(10)).await?;
    ensure!(autoscaler.sizes.iter().all(|size| *size == least), "a held destination: {:?}", autoscaler.sizes);

    let target: Target = format!("http://{http}/v1/in/default").parse()?;
    let campaign = tokio::spawn(load::run(load::Load {
        template: Template::Streams { events: 100 },
        rate: Some(BATCHES_PER_SECOND),
        duration: Some(CAMPAIGN),
        connections: 8,
        key: KEY.to_string(),
        ..load::Load::connector(target.bearer(TOKEN))
    }));
    let until = Instant::now() + CAMPAIGN;
    let numbered: Vec<_> = (0..NUMBERED).map(|person| tokio::spawn(number(http, person, until))).collect();
    autoscaler.look_until(&moehog, |_| campaign.is_finished()).await?;
    let report = campaign.await?.context("the campaign")?;
    let taken = report.statuses.get(&200).copied().unwrap_or_default();
    ensure!(report.requests == taken && report.broken == 0, "webhooks were refused: {:?}", report.statuses);
    let most = autoscaler.sizes.iter().copied().max().unwrap_or_default();
    ensure!(most > least, "it never scaled out: {:?}", autoscaler.sizes);
    ensure!(most < autoscaler.rules.most, "it scaled out further than the campaign needs: {:?}", autoscaler.sizes);

    autoscaler.look_until(&moehog, |autoscaler| autoscaler.replicas.len() == least).await?;
    let mut wanted = 100 * taken;
    let mut counts = Vec::new();
    for task in numbered {
        counts.push(task.await??);
        wanted += counts[counts.len() - 1];
    }
    let books = posthog.books();
    ensure!(books.wait_until(SOON, |books| books.unique() >= wanted).await, "{} of {wanted}", books.unique());
    let counted = books.counts();
    ensure!((counted.arrivals, counted.unique) == (wanted, wanted), "{counted:?}, {wanted} were sent");
    let mut last = vec![0; counts.len()];
    for event in books.arrivals() {
        let Some(person) = event.distinct_id.strip_prefix("numbered-") else { continue };
        let (person, n) = (person.parse::<usize>()?, event.property("n").and_then(|n| n.as_u64()).unwrap_or_default());
        ensure!(n == last[person] + 1, "event {n} of person {person} came after {}", last[person]);
        last[person] = n;
    }
    ensure!(last == counts, "{last:?} of {counts:?}");
    for mut replica in autoscaler.replicas {
        replica.process.stop(SOON).await?;
    }
    moehog.kill_all()
}
