use std::{
    io::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use moehog_tests::{Deployment, Process, Proxy, Service, Setup, Shape, connector, streams, within};
use rustix::process::{Pid, Signal, kill_process};

use super::world::{IN_TIME, KEY, SOON, arrived, capture, dead_letters, posthog, stream, taken};

/// Posts the body to the source `default` while others go by, and waits until all is settled.
async fn beside_others(body: impl Into<Bytes>, may_be_refused: bool) -> anyhow::Result<()> {
    let posthog = posthog()?;
    let setup = Setup::new(Shape::One, &posthog.url(), KEY).expect("dead").expect("reject").expect("transform");
    let mut moehog = Deployment::start(setup).await?;
    taken(&capture(&moehog, connector(KEY, "before", "00000000-0000-4000-8000-000000000001")).await?)?;
    let answer = stream(&moehog, body).await?;
    if !may_be_refused || answer.status == 200 {
        taken(&answer)?;
    } else {
        ensure!(answer.status == 413, "answered {}: {}", answer.status, answer.text());
    }
    let after = capture(&moehog, connector(KEY, "after", "00000000-0000-4000-8000-000000000002")).await?;
    taken(&after)?;
    ensure!(after.took < IN_TIME, "the next webhook was answered after {:?}", after.took);
    arrived(&posthog, 2, SOON).await?;
    moehog.drained(Duration::from_secs(60)).await?;
    let letters = dead_letters(&moehog).await?.len();
    ensure!(letters == usize::from(answer.status == 200), "{letters} dead letters");
    let service = moehog.keeper();
    let resident = moehog.process(service)?.resident_bytes()?;
    ensure!(resident < 400_000_000, "{resident} bytes of memory for one body");
    ensure!(moehog.process(service)?.ended()?.is_none(), "the process ended");
    moehog.finish().await
}

#[tokio::test]
async fn a_million_empty_events() -> anyhow::Result<()> {
    let count = (32 * 1024 * 1024 - 100) / 3;
    let body = format!("[{}{{}}]", "{},".repeat(count - 1));
    ensure!(body.len() > 33_000_000 && body.len() <= 33_554_432, "{} bytes", body.len());
    beside_others(body, false).await
}

#[tokio::test]
async fn json_nested_a_hundred_thousand_deep() -> anyhow::Result<()> {
    let body = format!("{{\"events\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    beside_others(body, false).await
}

#[tokio::test]
async fn a_gzip_bomb() -> anyhow::Result<()> {
    // one member is over the limit by itself; many are 2 GiB
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let blanks = vec![b' '; 1 << 20];
    for _ in 0..40 {
        encoder.write_all(&blanks)?;
    }
    let bomb = encoder.finish()?.repeat(51);
    ensure!(bomb.len() < 32 << 20, "{} bytes are refused unread", bomb.len());
    // the body as received, once in pieces and once whole, is given back a second later
    let allowed = 2 * bomb.len() as u64 + 20_000_000;
    let posthog = posthog()?;
    let mut moehog = Deployment::start(Setup::new(Shape::One, &posthog.url(), KEY)).await?;
    taken(&capture(&moehog, connector(KEY, "before", "00000000-0000-4000-8000-000000000001")).await?)?;
    let service = moehog.keeper();
    let before = moehog.process(service)?.resident_bytes()?;
    let token = format!("Bearer {}", moehog_tests::TOKEN);
    let headers = [("content-encoding", "gzip"), ("authorization", &*token)];
    let answer = moehog_tests::post(moehog.http()?, "/v1/in/default", &headers, bomb).await?;
    ensure!(answer.status == 413, "answered {}: {}", answer.status, answer.text());
    let after = moehog.process(service)?.resident_bytes()?;
    ensure!(after < before + allowed, "memory went from {before} to {after} for a body of 2 GiB");
    let process = moehog.process(service)?;
    within(SOON, "the body's memory is given back", async || {
        (process.resident_bytes().ok()? < before + 20_000_000).then_some(())
    })
    .await?;
    arrived(&posthog, 1, SOON).await?;
    moehog.finish().await
}

const MARKER: &str = "this-body-kills-the-transformer";

/// A body that kills the transformer: whenever it passes on the wire, the process that was to map it dies.
#[tokio::test]
async fn a_body_that_kills_the_transformer_each_time() -> anyhow::Result<()> {
    let posthog = posthog()?;
    let mut setup = Setup::new(Shape::Three, &posthog.url(), KEY);
    for expected in ["moehog_relay", "moehog_transport", "transform"] {
        setup = setup.expect(expected);
    }
    // started once to learn where the transformer listens; the gateway then finds it through the wire that is watched
    let mut moehog = Deployment::start(setup).await?;
    let transformer = moehog.grpc(Service::Transformer)?;
    let (victim, deaths) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU64::new(0)));
    let proxy = {
        let (victim, deaths) = (victim.clone(), deaths.clone());
        Proxy::watching(transformer, MARKER.as_bytes(), move || {
            let (victim, deaths) = (victim.clone(), deaths.clone());
            async move {
                // a process just started is known to the supervisor a moment later: the body waits on the wire
                let process = loop {
                    let id = i32::try_from(victim.swap(0, Ordering::SeqCst)).unwrap_or(0);
                    match Pid::from_raw(id) {
                        Some(process) => break process,
                        None => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                };
                if kill_process(process, Signal::KILL).is_ok() {
                    deaths.fetch_add(1, Ordering::SeqCst);
                }
            }
        })
        .await?
    };
    through(&mut moehog, proxy.addr()).await?;
    victim.store(moehog.process(Service::Transformer)?.id(), Ordering::SeqCst);

    let persons: Vec<_> = (0..5).map(|number| format!("bystander-{number}")).collect();
    taken(&stream(&moehog, streams(&persons)).await?)?;
    let killer = connector(KEY, "killer", "00000000-0000-4000-8000-000000000001").replace("Winter Sale", MARKER);
    let receipt = taken(&capture(&moehog, killer).await?)?;
    for number in 0..20 {
        let uuid = format!("00000000-0000-4000-8000-1{number:011x}");
        taken(&capture(&moehog, connector(KEY, &format!("behind-{number}"), &uuid)).await?)?;
    }
    // a supervisor, as every deployment has one
    let begun = std::time::Instant::now();
    while posthog.books().unique() < 25 || moehog.drained(Duration::ZERO).await.is_err() {
        ensure!(begun.elapsed() < Duration::from_secs(90), "{} of 25 bystanders", posthog.books().unique());
        if moehog.process(Service::Transformer).map(Process::ended)?.is_ok_and(|ended| ended.is_some()) {
            moehog.kill(Service::Transformer)?;
            moehog.launch(Service::Transformer).await?;
            victim.store(moehog.process(Service::Transformer)?.id(), Ordering::SeqCst);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let died = deaths.load(Ordering::SeqCst);
    ensure!((2..=8).contains(&died), "the transformer died {died} times of one body");
    let letters = dead_letters(&moehog).await?;
    ensure!(letters.len() == 1, "{} dead letters: {letters:?}", letters.len());
    ensure!(letters[0]["receipt"] == receipt.as_str(), "{}", letters[0]);
    ensure!(letters[0].to_string().contains("transform_failed"), "{}", letters[0]);
    // looking at it kills nobody
    let shown = moehog.ask(&format!("/api/receipts/{receipt}")).await?;
    ensure!(shown["mapped"].is_null() && shown["events"][0]["state"] == "dead", "{shown:#}");
    ensure!(deaths.load(Ordering::SeqCst) == died, "the transformer died of a look at the body");
    moehog.finish().await
}

/// Starts the gateway again, with the transformer behind `proxy`.
async fn through(moehog: &mut Deployment, proxy: SocketAddr) -> anyhow::Result<()> {
    moehog.stop(Service::Gateway).await?;
    moehog.reconfigure(|setup| Setup { transformer: Some(format!("list://{proxy}")), ..setup })?;
    moehog.launch(Service::Gateway).await.context("the gateway with a watched wire")
}
