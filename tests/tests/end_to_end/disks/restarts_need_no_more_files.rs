//! Every start begins a segment. However many there are, few files are open.

use std::{
    fs, mem,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use moehog_tests::{Deployment, Sent, Service, Setup, Shape, connector, get, judge, within};
use tokio::time::timeout;

use super::super::world::{KEY, SOON, by_person, capture, dead_receipts, from_soak, posthog, taken};

/// Segments of so many bytes have room for several small ones.
const SMALL_BESIDE: u64 = 1 << 18;

/// How often a journal is opened, and with how many files.
struct Plan {
    restarts: u64,
    webhooks_a_start: u64,
    segment_bytes: u64,
    open_files: usize,
}

impl Plan {
    fn new() -> anyhow::Result<Self> {
        Ok(match from_soak("MOEHOG_SOAK_ROUNDS", 0)? {
            // less than the head of a file: each webhook begins a segment
            0 => Self { restarts: 40, webhooks_a_start: 3, segment_bytes: 4096, open_files: 200 },
            // 300 rounds make 2,000
            rounds => Self { restarts: rounds * 20 / 3, webhooks_a_start: 1, segment_bytes: 1 << 20, open_files: 1024 },
        })
    }
}

/// Waits until no Transform call ended for a while.
async fn transforms_are_over(moehog: &Deployment) -> anyhow::Result<()> {
    let (mut calls, mut since) = (Vec::new(), Instant::now());
    within(SOON, "no Transform call is made", async || {
        let metrics = get(moehog.admin().ok()?, "/metrics").await.ok()?.text();
        let lines = metrics.lines().filter(|line| line.starts_with("moehog_relay_transform_calls_total"));
        let now: Vec<_> = lines.map(str::to_string).collect();
        if mem::replace(&mut calls, now) != calls {
            since = Instant::now();
        }
        (since.elapsed() > Duration::from_millis(60)).then_some(())
    })
    .await
}

#[tokio::test]
async fn and_all_that_waited_is_delivered() -> anyhow::Result<()> {
    let Plan { restarts, webhooks_a_start, segment_bytes, open_files } = Plan::new()?;
    let posthog = posthog()?;
    posthog.down().await;
    let mut setup = Setup::new(Shape::One, &posthog.url(), KEY);
    setup = setup.set("journal.budget_bytes", "2147483648").set("journal.segment_bytes", &segment_bytes.to_string());
    setup = setup.set("relay.retry_max", "1s");
    for expected in ["moehog_relay", "moehog_delivery", "moehog_transport", "http.max_connections is more"] {
        setup = setup.expect(expected);
    }
    let limit = format!("ulimit -n {open_files} && exec \"$0\" \"$@\"");
    setup.through = ["sh", "-c", &limit].map(str::to_string).to_vec();
    let mut moehog = Deployment::start(setup).await?;
    let (mut sent, mut starts) = (Vec::new(), Vec::new());
    for restart in 0..restarts {
        // a process without a descriptor to spare does not even answer
        let once = async {
            for webhook in 0..webhooks_a_start {
                let (begun, person) = (Instant::now(), format!("person-{restart}-{webhook}"));
                let uuid = format!("00000000-0000-4000-8000-{:012x}", restart * webhooks_a_start + webhook);
                let answer = capture(&moehog, connector(KEY, &person, &uuid)).await?;
                let receipt = Some(taken(&answer)?);
                let (persons, ended) = (vec![person], Instant::now());
                sent.push(Sent { persons, bad: Vec::new(), status: Some(200), receipt, begun, ended });
            }
            if restart % 2 == 0 {
                // a webhook that is being transformed at three kills is taken for the cause of them
                transforms_are_over(&moehog).await?;
                moehog.kill(Service::Moehog)?;
            } else {
                moehog.stop(Service::Moehog).await?;
            }
            let begun = Instant::now();
            moehog.heal().await?;
            Ok::<_, anyhow::Error>(begun.elapsed())
        };
        let took = timeout(2 * SOON, once).await.with_context(|| format!("restart {restart} hangs"))??;
        starts.push(took);
    }
    let status = moehog.ask("/api/status").await?;
    let found = status["journal"]["segments"].as_u64().unwrap_or(0);
    // too large for one file, none is merged with its neighbours; small beside a segment, most are
    let few = restarts / 2 + 4;
    match segment_bytes < SMALL_BESIDE {
        true => ensure!(found >= restarts * webhooks_a_start, "{found} segments: the test shows nothing"),
        false => ensure!(found <= few, "{found} segments of {restarts} starts: they are not merged"),
    }
    let process = moehog.process(Service::Moehog)?.id();
    let open = || fs::read_dir(format!("/proc/{process}/fd")).map(Iterator::count);
    let waiting = open()?;
    posthog.up()?;
    let mut most = waiting;
    within(Duration::from_secs(120), "every webhook is settled", async || {
        most = most.max(open().unwrap_or(usize::MAX));
        let status = moehog.ask("/api/status").await.ok()?;
        (status["ledger"]["webhooks"]["waiting"].as_u64() == Some(0)).then_some(())
    })
    .await?;
    println!(
        "{restarts} restarts, {found} segments: started in {:?} at first and {:?} at last, {waiting} files open with \
         all waiting, {most} while delivering",
        starts[0],
        starts[starts.len() - 1]
    );
    moehog.drained(SOON).await?;
    judge(&sent, &by_person(&posthog), &dead_receipts(&moehog).await?, &[]).keep()?;
    moehog.finish().await
}
