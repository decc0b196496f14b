//! The last release and this build, in one deployment and over one journal. `cargo xtask upgrade` builds the former and runs this.

use std::{collections::BTreeMap, env, fs, path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use moehog_emulator::posthog::{Rule, Running};
use moehog_tests::{BAD, Deployment, Fleet, Fleets, Load, Move, Sender, Service, Setup, judge, within};
use rand::{SeedableRng, rngs::StdRng};
use tokio::sync::Mutex;

use super::world::{KEY, SOON, by_person, dead_receipts, posthog};

const ALL: [Service; 3] = [Service::Gateway, Service::Transformer, Service::Delivery];
const WORKERS: [Service; 2] = [Service::Transformer, Service::Delivery];
/// Workers of each kind.
const SIZE: usize = 2;

/// A deployment under load, some of whose services are of the last release.
struct World {
    posthog: Running,
    moehog: Mutex<Deployment>,
    transformers: Fleet,
    deliveries: Fleet,
    sender: Sender,
    old: PathBuf,
    /// Starts of a gateway over the journal of another version.
    upgrades: usize,
}

impl World {
    async fn start(old_services: &[Service], seed: u64) -> anyhow::Result<Self> {
        let old = PathBuf::from(env::var_os("MOEHOG_TEST_LAST_RELEASE").context("run it with cargo xtask upgrade")?)
            .canonicalize()?;
        let posthog = posthog()?;
        posthog.set_latency(Duration::from_millis(20));
        posthog.faults().add(Rule::refuse(BAD, "invalid event could not be processed"));
        let binaries_of = old_services.iter().map(|service| (*service, old.clone())).collect();
        let adapt = |setup| Setup { binaries_of, ..setup };
        let fleets = Fleets::start((&posthog.url(), KEY), (SIZE, SIZE), adapt).await?;
        let Fleets { moehog, transformers, deliveries } = fleets;
        let load = Load { pause: Duration::from_millis(5), bad: true, ..Load::new(6, seed) };
        let sender = Sender::load(moehog.http()?, KEY, load);
        let mut world =
            Self { posthog, moehog: Mutex::new(moehog), transformers, deliveries, sender, old, upgrades: 0 };
        world.goes_on(old_services).await?;
        Ok(world)
    }

    /// Webhooks are taken and events arrive, and just these services are of the last release.
    async fn goes_on(&mut self, old_services: &[Service]) -> anyhow::Result<()> {
        let mut running: BTreeMap<Service, Vec<PathBuf>> = BTreeMap::new();
        running.insert(Service::Transformer, self.transformers.executables()?);
        running.insert(Service::Delivery, self.deliveries.executables()?);
        let gateway = self.moehog.get_mut().process(Service::Gateway)?.executable()?;
        running.insert(Service::Gateway, vec![gateway]);
        for (service, executables) in running {
            let is_old = old_services.contains(&service);
            let right = executables.iter().all(|executable| executable.starts_with(&self.old) == is_old);
            ensure!(right, "{service:?} should be old: {is_old}, and runs {executables:?}");
        }
        let (taken, stored) = (self.sender.taken(), self.posthog.books().unique());
        within(SOON, "webhooks are taken and events arrive", async || {
            (self.sender.taken() > taken + 200 && self.posthog.books().unique() > stored + 500).then_some(())
        })
        .await
    }

    /// Rolls both kinds of workers to this build.
    async fn roll_workers(&mut self) -> anyhow::Result<()> {
        self.moehog.get_mut().reconfigure(|mut setup| {
            setup.binaries_of.retain(|service, _| !WORKERS.contains(service));
            setup
        })?;
        let (mut one, mut two) = (StdRng::seed_from_u64(1), StdRng::seed_from_u64(2));
        tokio::try_join!(
            self.transformers.make(Move::Roll(SIZE), &mut one, &self.moehog),
            self.deliveries.make(Move::Roll(SIZE), &mut two, &self.moehog),
        )?;
        Ok(())
    }

    /// Stops the gateway while webhooks wait, and starts one of the other version over its journal.
    async fn change_gateway(&mut self, to_old: bool) -> anyhow::Result<()> {
        self.stop_gateway().await?;
        self.choose_gateway(to_old)?;
        self.start_gateway().await
    }

    async fn stop_gateway(&mut self) -> anyhow::Result<()> {
        self.posthog.down().await;
        let taken = self.sender.taken();
        within(SOON, "webhooks wait", async || (self.sender.taken() > taken + 200).then_some(())).await?;
        self.moehog.get_mut().stop(Service::Gateway).await
    }

    /// Of which version the next gateway is.
    fn choose_gateway(&mut self, is_old: bool) -> anyhow::Result<()> {
        let old = self.old.clone();
        self.moehog.get_mut().reconfigure(|mut setup| {
            setup.binaries_of.remove(&Service::Gateway);
            setup.binaries_of.extend(is_old.then_some((Service::Gateway, old)));
            setup
        })
    }

    /// Starts a gateway over the journal of the one before, in which webhooks wait.
    async fn start_gateway(&mut self) -> anyhow::Result<()> {
        let moehog = self.moehog.get_mut();
        moehog.launch(Service::Gateway).await?;
        let status = moehog.ask("/api/status").await?;
        let waiting = status["ledger"]["webhooks"]["waiting"].as_u64().unwrap_or(0);
        ensure!(waiting >= 200, "{waiting} webhooks of the gateway before wait");
        self.posthog.up()?;
        self.upgrades += 1;
        Ok(())
    }

    /// Number of the format that the journal has.
    fn format(&mut self) -> anyhow::Result<u8> {
        let bytes = fs::read(self.moehog.get_mut().journal_directory().join("format"))?;
        // behind length and checksum, the first field of the message
        ensure!(bytes[8] == 0x08 && bytes[9] < 0x80, "format begins with {:02x?}", &bytes[..16]);
        Ok(bytes[9])
    }

    /// The journal's files, but for the room set aside, which each start makes anew.
    fn files(&mut self) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
        let paths = fs::read_dir(self.moehog.get_mut().journal_directory())?;
        let paths = paths.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
        let kept = paths.into_iter().filter(|path| !path.ends_with("reserve"));
        kept.map(|path| Ok((path.clone(), fs::read(path)?))).collect()
    }

    /// An old gateway ends over the journal that a new one left, says why and leaves it as it is; the new one goes on.
    async fn old_gateway_is_refused(&mut self, (old, new): (u8, u8)) -> anyhow::Result<()> {
        self.stop_gateway().await?;
        self.choose_gateway(true)?;
        let left = self.files()?;
        let moehog = self.moehog.get_mut();
        moehog.spawn(Service::Gateway)?;
        let process = moehog.process(Service::Gateway)?;
        let status = within(SOON, "the old gateway ends", async || process.ended().ok().flatten()).await?;
        ensure!(status.code() == Some(4), "the old gateway ended with {status}");
        let said =
            format!("journal directory has format {new}, and this moehog reads format {old}: a newer moehog wrote it");
        within(SOON, &format!("the old gateway says `{said}`"), async || (moehog.log().count(&said) > 0).then_some(()))
            .await?;
        let now = self.files()?;
        let changed: Vec<_> = left.keys().chain(now.keys()).filter(|path| left.get(*path) != now.get(*path)).collect();
        ensure!(changed.is_empty(), "the old gateway changed {changed:?}");
        self.choose_gateway(false)?;
        self.start_gateway().await
    }

    async fn finish(self) -> anyhow::Result<()> {
        let moehog = self.moehog.into_inner();
        let sent = self.sender.drain(&moehog, Duration::from_secs(60)).await?;
        judge(&sent, &by_person(&self.posthog), &dead_receipts(&moehog).await?, &[]).keep()?;
        ensure!(sent.iter().any(|sent| sent.status == Some(200) && !sent.bad.is_empty()), "no bad event was sent");
        let refused: Vec<_> = sent.iter().filter(|sent| sent.status != Some(200)).map(|sent| sent.status).collect();
        ensure!(self.upgrades > 0 || refused.is_empty(), "{} refused, the first: {:?}", refused.len(), refused[0]);
        let counts = self.posthog.books().counts();
        let again = counts.arrivals - counts.unique;
        println!("{} webhooks, {} events, {again} copies, {} without a 200", sent.len(), counts.unique, refused.len());
        moehog.finish().await?;
        self.transformers.finish().await?;
        self.deliveries.finish().await
    }
}

#[tokio::test]
#[ignore = "needs binaries of the last release: cargo xtask upgrade"]
async fn a_new_gateway_over_old_workers_which_are_rolled() -> anyhow::Result<()> {
    let mut world = World::start(&WORKERS, 1).await?;
    world.roll_workers().await?;
    world.goes_on(&[]).await?;
    world.finish().await
}

#[tokio::test]
#[ignore = "needs binaries of the last release: cargo xtask upgrade"]
async fn an_old_gateway_over_new_workers_is_upgraded_over_its_journal() -> anyhow::Result<()> {
    let mut world = World::start(&ALL, 2).await?;
    world.roll_workers().await?;
    world.goes_on(&[Service::Gateway]).await?;
    world.change_gateway(false).await?;
    world.goes_on(&[]).await?;
    world.finish().await
}

/// The way back is open while the journal's format is what it was; once it has grown, the old gateway must know that.
#[tokio::test]
#[ignore = "needs binaries of the last release: cargo xtask upgrade"]
async fn the_way_back_is_open_while_the_format_is_the_same_and_refused_once_it_has_grown() -> anyhow::Result<()> {
    let mut world = World::start(&[Service::Gateway], 3).await?;
    let old = world.format()?;
    world.change_gateway(false).await?;
    world.goes_on(&[]).await?;
    let new = world.format()?;
    println!("the journal has format {new}, and had {old}");
    if new == old {
        world.change_gateway(true).await?;
        world.goes_on(&[Service::Gateway]).await?;
        world.change_gateway(false).await?;
    } else {
        world.old_gateway_is_refused((old, new)).await?;
    }
    world.goes_on(&[]).await?;
    world.finish().await
}
