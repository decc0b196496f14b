//! Runs one walk a lane.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use moehog_journal::{Claim, ClaimError, Journal};
use moehog_runtime::{chain, epoch_ms};
use moehog_transport::Link;
use tokio::{
    runtime::Handle,
    sync::mpsc,
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    Config,
    calls::Calls,
    give_up::GiveUp,
    giving_up::Work,
    limits::Bounds,
    metrics,
    status::{LaneName, Status, shown},
    walk::{Walk, WalkEnd},
};

/// Least time between two looks for new lanes.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// Wait before a lane that failed, or a source that is claimed elsewhere, is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often the gauges of the lanes are set.
const GAUGES_EVERY: Duration = Duration::from_secs(2);

/// The one mover between the journal, the transformer and delivery.
#[derive(Debug)]
pub struct Relay {
    journal: Arc<dyn Journal>,
    calls: Calls,
    status: Status,
    bounds: Arc<Bounds>,
    give_ups: mpsc::Receiver<GiveUp>,
    seed: u64,
}

/// The lanes that are walked, and the claims they are walked under.
#[derive(Default)]
struct Lanes {
    walks: JoinSet<WalkEnd>,
    /// Lane and epoch of each walk.
    names: HashMap<Id, (LaneName, u64)>,
    /// Their lanes.
    walked: HashSet<LaneName>,
    /// What ends the walk of each.
    stops: HashMap<LaneName, CancellationToken>,
    /// What is given up once its walk has ended.
    giving_up: HashMap<LaneName, GiveUp>,
    claims: HashMap<String, Arc<dyn Claim>>,
    /// Sources claimed elsewhere, told once.
    taken: HashMap<String, Instant>,
    /// Lanes that failed, and when they are walked again.
    failed: HashMap<LaneName, Instant>,
}

impl Relay {
    /// A relay over `journal`. It does nothing before [`Relay::run`]. Calls that are much work are made on the runtime that this
    /// is called on.
    pub fn new(journal: Arc<dyn Journal>, transformer: Link, delivery: Link, config: Config) -> Self {
        let config = Arc::new(config.within(moehog_runtime::memory_limit()));
        let (asks, give_ups) = mpsc::channel(1);
        let status = Status::new(journal.clone(), asks);
        let bounds = Bounds::new(config.clone(), transformer.replicas.clone(), delivery.replicas);
        let calls = Calls {
            transformer: moehog_proto::transformer::client(transformer.channel),
            delivery: moehog_proto::delivery::client(delivery.channel),
            config,
            turns: Arc::default(),
            suspects: Arc::default(),
            transformers: transformer.replicas,
            mappings: Arc::default(),
            workers: Handle::current(),
            same_process: transformer.same_process,
            cut: CancellationToken::new(),
        };
        Self { journal, calls, status, bounds, give_ups, seed: rand::random() }
    }

    /// Draws the jitter of waiting times from `seed`, so that a test can be repeated.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// A handle to what the lanes are doing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// Walks all lanes until `shutdown`, on threads that may wait for the journal's disk: nobody who is to be answered is to wait for
    /// them. Then it reads no more, finishes the calls under way (those that outlast the grace are cut off), records what became of them,
    /// and gives up its claims.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is a crash of the relay: nothing is lost, and what was not recorded is done again.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut lanes = Lanes::default();
        let (mut seen, mut look_at, mut gauges_at, mut open) = (0, Instant::now(), Instant::now(), true);
        while !shutdown.is_cancelled() {
            self.look(&mut lanes, &shutdown).await;
            look_at = look_at.max(Instant::now()) + LOOK_PAUSE;
            if gauges_at <= Instant::now() {
                gauges_at = Instant::now() + GAUGES_EVERY;
                let now_ms = epoch_ms();
                self.status.lanes().iter().for_each(|lane| metrics::lane(lane, now_ms));
                self.status.say_deaths(Instant::now());
            }
            let again_at = lanes.again_at().map_or(gauges_at, |at| at.min(gauges_at));
            let growth = async {
                sleep_until(look_at).await;
                self.journal.grown(seen).await
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = sleep_until(again_at) => {}
                highest = growth, if open => {
                    open = highest.is_some();
                    seen = highest.unwrap_or(seen);
                }
                Some(ended) = lanes.walks.join_next_with_id() => self.ended(&mut lanes, ended, &shutdown),
                Some(give_up) = self.give_ups.recv() => self.give_up(&mut lanes, give_up),
            }
        }
        self.give_ups.close();
        while let Some(ended) = lanes.walks.join_next_with_id().await {
            self.ended(&mut lanes, ended, &shutdown);
        }
        self.status.say_last_deaths();
        self.status.feed().end();
    }

    /// Starts a walk of each lane that has entries and none.
    async fn look(&self, lanes: &mut Lanes, shutdown: &CancellationToken) {
        let now = Instant::now();
        for waiting in self.journal.lanes() {
            let name = (waiting.source, waiting.destination);
            let later = |at: &Instant| *at > now;
            let waits = lanes.failed.get(&name).is_some_and(later) || lanes.taken.get(&name.0).is_some_and(later);
            if waits || lanes.walked.contains(&name) {
                continue;
            }
            let Some(claim) = self.claim(lanes, &name.0).await else { continue };
            lanes.failed.remove(&name);
            info!(source = name.0, destination = shown(&name.1), waiting = waiting.unsettled, "lane is walked");
            let epoch = claim.epoch();
            let walk = Walk {
                name: name.clone(),
                journal: self.journal.clone(),
                claim,
                calls: self.calls.clone(),
                room: self.bounds.join(&name.1),
                status: self.status.clone(),
                seed: self.seed ^ lanes.names.len() as u64,
            };
            let stop = shutdown.child_token();
            let id = lanes.walks.spawn(walk.run(stop.clone())).id();
            lanes.stops.insert(name.clone(), stop);
            lanes.walked.insert(name.clone());
            lanes.names.insert(id, (name, epoch));
        }
    }

    async fn claim(&self, lanes: &mut Lanes, source: &str) -> Option<Arc<dyn Claim>> {
        if let Some(claim) = lanes.claims.get(source) {
            return Some(claim.clone());
        }
        match self.journal.claim(source).await {
            Ok(claim) => {
                lanes.taken.remove(source);
                lanes.claims.insert(source.to_string(), claim.clone());
                Some(claim)
            }
            Err(error) => {
                let told = lanes.taken.insert(source.to_string(), Instant::now() + AGAIN_AFTER).is_some();
                if !told && !matches!(error, ClaimError::Closed) {
                    warn!(error = %chain(&error), source, "source cannot be walked; tried again");
                }
                None
            }
        }
    }

    /// The lane's walk ends first, and nothing is under way then.
    fn give_up(&self, lanes: &mut Lanes, give_up: GiveUp) {
        if let Some(stop) = lanes.stops.get(&give_up.name) {
            stop.cancel();
            lanes.giving_up.insert(give_up.name.clone(), give_up);
        }
        // else nobody walks it: who asked is told that it ended early
    }

    fn ended(&self, lanes: &mut Lanes, ended: Result<(Id, WalkEnd), JoinError>, shutdown: &CancellationToken) {
        let (id, end) = ended.unwrap_or_else(|error| (error.id(), WalkEnd::Failed));
        let Some((name, epoch)) = lanes.names.remove(&id) else { return };
        lanes.walked.remove(&name);
        lanes.stops.remove(&name);
        let given_up = lanes.giving_up.remove(&name).filter(|_| end == WalkEnd::Stopped && !shutdown.is_cancelled());
        if let (Some(GiveUp { answer, .. }), Some(claim)) = (given_up, lanes.claims.get(&name.0).cloned()) {
            let (journal, status) = (self.journal.clone(), self.status.clone());
            let work = Work { journal, claim, status, name: name.clone() };
            let id = lanes.walks.spawn(work.run(answer, shutdown.child_token())).id();
            lanes.walked.insert(name.clone());
            lanes.names.insert(id, (name, epoch));
            return;
        }
        if end == WalkEnd::Stopped {
            return;
        }
        let (source, destination) = (&name.0, shown(&name.1));
        if end == WalkEnd::Stale {
            warn!(source, destination, "another claim of the source exists; it is claimed anew");
            if lanes.claims.get(source).is_some_and(|claim| claim.epoch() == epoch) {
                lanes.claims.remove(source);
            }
        } else {
            error!(source, destination, "walk of the lane failed; it starts again from the oldest unsettled webhook");
        }
        lanes.failed.insert(name, Instant::now() + AGAIN_AFTER);
    }
}

impl Lanes {
    fn again_at(&self) -> Option<Instant> {
        let now = Instant::now();
        self.failed.values().chain(self.taken.values()).filter(|at| **at > now).min().copied()
    }
}
