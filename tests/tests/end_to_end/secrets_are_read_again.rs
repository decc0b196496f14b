use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use anyhow::ensure;
use moehog_tests::{Deployment, Setup, Shape, eventually, post, project, streams, within};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::world::{SOON, by_person, posthog_with};

const OLD: &str = "old-token-of-the-tests";
const NEW: &str = "new-token-of-the-tests";
const WRONG: &str = "phc_wrong_key_of_the_tests";
const RIGHT: &str = "phc_right_key_of_the_tests";

fn mount(directory: &Path, version: &str, files: &[(&str, &str)]) -> anyhow::Result<()> {
    Ok(project(directory, version, files.iter().copied(), 0o644)?)
}

/// What one webhook of the load came to.
#[derive(Debug)]
struct Posted {
    person: String,
    token: &'static str,
    status: u16,
}

/// Senders that show the old and the new token in turn.
struct Load {
    book: Arc<Mutex<Vec<Posted>>>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Load {
    fn start(target: SocketAddr) -> Self {
        let (book, stop, number) =
            (Arc::<Mutex<Vec<Posted>>>::default(), Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut tasks = JoinSet::new();
        for _sender in 0..4 {
            let (book, stop, number) = (book.clone(), stop.clone(), number.clone());
            tasks.spawn(async move {
                for token in [OLD, NEW].into_iter().cycle() {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let person = format!("00000000-0000-4000-8000-{:012x}", number.fetch_add(1, Ordering::Relaxed));
                    let status = one(target, token, &person).await?;
                    book.lock().unwrap_or_else(PoisonError::into_inner).push(Posted { person, token, status });
                }
                Ok(())
            });
        }
        Self { book, stop, tasks }
    }

    /// The statuses of one token's webhooks so far.
    fn statuses(&self, token: &str) -> Vec<u16> {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.iter().filter(|posted| posted.token == token).map(|posted| posted.status).collect()
    }

    async fn stop(mut self) -> anyhow::Result<Vec<Posted>> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(std::mem::take(&mut *self.book.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

async fn one(target: SocketAddr, token: &str, person: &str) -> anyhow::Result<u16> {
    let token = format!("Bearer {token}");
    let headers = [("content-type", "application/json"), ("authorization", &*token)];
    Ok(post(target, "/v1/in/default", &headers, streams(&[person.to_string()])).await?.status)
}

/// Secrets in files; `more` goes behind.
fn setup(shape: Shape, posthog: &str, secrets: &Path, more: &str) -> Setup {
    let file = |name: &str| format!("{{ file = {:?} }}", secrets.join(name).display().to_string());
    let text = format!(
        "[sources.default]\ndestination = \"default\"\ntokens = [{}]\n\n[destinations.default]\napi_key = {}\nhost = \"{posthog}\"\n\n{more}",
        file("token"),
        file("key"),
    );
    Setup { file: text, ..Setup::new(shape, posthog, WRONG) }.set("secrets.reread_every", "100ms")
}

/// PostHog does not know the first key: everything is held until it is replaced.
/// 401, and 429 after many of them.
fn is_refused(status: &u16) -> bool {
    [401, 429].contains(status)
}

#[tokio::test]
async fn a_token_and_a_key_that_change_under_load_lose_nothing() -> anyhow::Result<()> {
    let (posthog, secrets) = (posthog_with([RIGHT])?, TempDir::new()?);
    mount(secrets.path(), "..1", &[("token", OLD), ("key", WRONG)])?;
    let setup = setup(Shape::Three, &posthog.url(), secrets.path(), "")
        // so long that only a key verified anew ends the hold in time
        .set("posthog.key_check_retry", "1h")
        .set("relay.hold_probe_first", "300ms")
        .set("relay.hold_probe_max", "1s")
        .expect("held")
        .expect("requests showed no right secret");
    let mut moehog = Deployment::start(setup).await?;
    let load = Load::start(moehog.http()?);
    within(SOON, "webhooks are taken and held", async || {
        let status = moehog.ask("/api/status").await.ok()?;
        (status["lanes"][0]["state"] == "held" && load.statuses(OLD).len() > 50).then_some(())
    })
    .await?;
    let (old, new) = (load.statuses(OLD), load.statuses(NEW));
    ensure!(old.iter().all(|status| *status == 200), "the old token before the change: {old:?}");
    ensure!(new.iter().all(is_refused), "the new token before the change: {new:?}");

    mount(secrets.path(), "..2", &[("token", NEW), ("key", RIGHT)])?;
    within(SOON, "the new token is taken", async || load.statuses(NEW).contains(&200).then_some(())).await?;
    let (old, new) = (load.statuses(OLD).len(), load.statuses(NEW).len());
    within(SOON, "the load goes on", async || (load.statuses(NEW).len() > new + 50).then_some(())).await?;
    // four of each may have been under way
    let (old, new) = (load.statuses(OLD).split_off(old + 4), load.statuses(NEW).split_off(new + 4));
    ensure!(old.iter().all(is_refused), "the old token after the change: {old:?}");
    ensure!(new.iter().all(|status| *status == 200), "the new token after the change: {new:?}");

    let posted = load.stop().await?;
    moehog.drained(SOON).await?;
    let stored = by_person(&posthog);
    let wrong =
        posted.iter().filter(|posted| stored.get(&posted.person).copied() != (posted.status == 200).then_some(1));
    let wrong: Vec<_> = wrong.collect();
    ensure!(wrong.is_empty(), "not what their answers say: {wrong:?}");

    // gone: what was known stays, and the log names the keys
    moehog.expect("secret cannot be read again");
    mount(secrets.path(), "..3", &[])?;
    for key in ["sources.default.tokens[0]", "destinations.default.api_key"] {
        within(SOON, &format!("the log names {key}"), async || {
            moehog.log().last(|line| (line.complains() && line.field("key")? == key).then_some(()))
        })
        .await?;
    }
    let before = posthog.books().unique();
    ensure!(
        one(moehog.http()?, NEW, "00000000-0000-4000-8000-ffffffffffff").await? == 200,
        "the token went with its file"
    );
    moehog.drained(SOON).await?;
    ensure!(posthog.books().unique() == before + 1, "the key went with its file");
    for secret in [OLD, NEW, WRONG, RIGHT] {
        ensure!(moehog.log().count(secret) == 0, "the log shows {secret}");
    }
    moehog.finish().await
}

#[tokio::test]
async fn so_is_a_token_of_the_admin_api_in_one_process() -> anyhow::Result<()> {
    let (posthog, secrets) = (posthog_with([RIGHT])?, TempDir::new()?);
    mount(secrets.path(), "..1", &[("token", OLD), ("key", RIGHT), ("admin", OLD)])?;
    let admin = secrets.path().join("admin").display().to_string();
    let api = format!("[api]\ntokens = [{{ file = {admin:?} }}]\n");
    let moehog = Deployment::start(setup(Shape::One, &posthog.url(), secrets.path(), &api)).await?;
    let at = moehog.admin()?;
    let shows = async |token: &str| {
        let token = format!("Bearer {token}");
        let headers = [("authorization", &*token)];
        let answer = moehog_tests::send(at, http::Method::GET, "/api/status", &headers, bytes::Bytes::new()).await;
        answer.map(|answer| answer.status).unwrap_or_default()
    };
    ensure!((shows(OLD).await, shows(NEW).await) == (200, 401), "before the change");
    mount(secrets.path(), "..2", &[("token", OLD), ("key", RIGHT), ("admin", NEW)])?;
    eventually(SOON, "old and new token", (401, 200), async || (shows(OLD).await, shows(NEW).await)).await?;
    moehog.finish().await
}
