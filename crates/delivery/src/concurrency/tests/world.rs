//! A PostHog in virtual time, and deliveries with a backlog before it.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

use super::super::{Begun, Concurrency, Ended};

/// The most that a delivery makes at a time.
pub(super) const MAX: usize = 16;
/// Relay's window of a lane.
const MAX_WINDOW: usize = 64;
/// How soon a refused call is offered again.
const RETRY: f64 = 0.5;

/// How PostHog is.
#[derive(Debug, Clone, Copy)]
pub(super) struct World {
    /// What a request takes.
    pub(super) seconds: f64,
    /// Standard deviation of its logarithm.
    pub(super) noise: f64,
    pub(super) bears: Bears,
    /// One half of the requests has one event, and takes a tenth of the time.
    pub(super) mixed_sizes: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Bears {
    Everything,
    /// So many at a time; others wait.
    AtATime(usize),
    /// So many at a time; others are refused.
    OrRefuses(usize),
    /// Everything but one in so many, by chance.
    RefusesOneIn(u32),
}

/// Deliveries before a PostHog.
#[derive(Debug)]
pub(super) struct Run {
    seed: u64,
    world: World,
    now: f64,
    chance: u64,
    deliveries: Vec<Delivery>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    number: u64,
    /// Requests that PostHog works on, and those that wait there.
    working: usize,
    waiting: VecDeque<Request>,
    /// Part of the requests that are small.
    small_part: f64,
    done: f64,
    asked: usize,
    refused: usize,
}

#[derive(Debug)]
struct Delivery {
    /// None: the limit is fixed.
    concurrency: Option<Concurrency>,
    fixed: usize,
    under_way: usize,
    window: usize,
    story: Vec<(f64, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Request {
    delivery: usize,
    at: Duration,
    under_way: usize,
    bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// PostHog's answer: taken or refused.
    Answer(Request, bool),
    /// A refused call is offered again.
    Offer(usize),
}

impl Run {
    /// `deliveries` that adapt, each up to 16.
    pub(super) fn new(seed: u64, deliveries: usize, world: World) -> Self {
        Self::with(seed, world, (0..deliveries).map(|_| Delivery::new(Some(Concurrency::new(MAX)), MAX)).collect())
    }

    /// `deliveries` that make `fixed` requests at a time.
    pub(super) fn fixed(seed: u64, deliveries: usize, world: World, fixed: usize) -> Self {
        Self::with(seed, world, (0..deliveries).map(|_| Delivery::new(None, fixed)).collect())
    }

    fn with(seed: u64, world: World, deliveries: Vec<Delivery>) -> Self {
        let chance = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
        let mut run = Self {
            seed,
            world,
            now: 0.0,
            chance,
            deliveries,
            events: BinaryHeap::new(),
            number: 0,
            working: 0,
            waiting: VecDeque::new(),
            small_part: if world.mixed_sizes { 0.5 } else { 0.0 },
            done: 0.0,
            asked: 0,
            refused: 0,
        };
        for delivery in 0..run.deliveries.len() {
            run.offer(delivery);
        }
        run
    }

    /// Requests taken so far, a small one counted as the part of the work that it is.
    pub(super) fn done(&self) -> f64 {
        self.done
    }

    /// Requests made so far.
    pub(super) fn asked(&self) -> usize {
        self.asked
    }

    pub(super) fn refused(&self) -> usize {
        self.refused
    }

    pub(super) fn set_world(&mut self, world: World) {
        self.world = world;
        self.start_waiting();
    }

    pub(super) fn set_small_part(&mut self, part: f64) {
        self.small_part = part;
    }

    /// The limit of a delivery now.
    pub(super) fn limit(&self, delivery: usize) -> usize {
        self.deliveries[delivery].limit()
    }

    /// All limits that a delivery had.
    pub(super) fn limits(&self, delivery: usize) -> Vec<usize> {
        self.deliveries[delivery].story.iter().map(|(_, limit)| *limit).collect()
    }

    /// A delivery's limit since `since`, on the average over the time.
    pub(super) fn mean_limit(&self, delivery: usize, since: f64) -> f64 {
        let story = &self.deliveries[delivery].story;
        let ends = story.iter().skip(1).map(|(at, _)| *at).chain([self.now]);
        let spans = story.iter().zip(ends).map(|((at, limit), end)| *limit as f64 * (end.max(since) - at.max(since)));
        spans.sum::<f64>() / (self.now - since)
    }

    /// The seed, the world, and each delivery's limits, each with the second in which it began.
    pub(super) fn story(&self) -> String {
        let story = |delivery: &Delivery| {
            let limits = delivery.story.iter().map(|(at, limit)| format!("{limit}@{at:.0}"));
            limits.collect::<Vec<_>>().join(" ")
        };
        let stories = self.deliveries.iter().map(story).collect::<Vec<_>>().join(" | ");
        format!("SEED={}, {:?}: {stories}", self.seed, self.world)
    }

    /// Goes on until `end`, in seconds.
    pub(super) fn until(mut self, end: f64) -> Self {
        self.go_until(end);
        self
    }

    pub(super) fn go_until(&mut self, end: f64) {
        while let Some(Reverse((at, ..))) = self.events.peek()
            && *at as f64 / 1e6 <= end
        {
            let Some(Reverse((at, _, event))) = self.events.pop() else { return };
            self.now = at as f64 / 1e6;
            match event {
                Event::Answer(request, is_taken) => self.answer(request, is_taken),
                Event::Offer(delivery) => self.deliveries[delivery].under_way -= 1,
            }
            for delivery in 0..self.deliveries.len() {
                self.offer(delivery);
            }
        }
        self.now = end;
    }

    fn offer(&mut self, delivery: usize) {
        loop {
            let bytes = if self.chance() < self.small_part { 700 } else { 300_000 };
            let by_chance = self.chance();
            let now = self.clock();
            let this = &mut self.deliveries[delivery];
            if this.under_way >= this.limit().min(this.window) {
                return;
            }
            this.under_way += 1;
            let under_way = this.under_way;
            if let Some(concurrency) = &mut this.concurrency {
                concurrency.begin(now, under_way);
            }
            this.note(self.now);
            let request = Request { delivery, at: now, under_way, bytes };
            self.asked += 1;
            match self.world.bears {
                Bears::RefusesOneIn(of) if by_chance < 1.0 / f64::from(of) => {
                    self.plan(0.02, Event::Answer(request, false));
                }
                Bears::OrRefuses(most) if self.working >= most => self.plan(0.02, Event::Answer(request, false)),
                _ => {
                    self.waiting.push_back(request);
                    self.start_waiting();
                }
            }
        }
    }

    fn start_waiting(&mut self) {
        let most = match self.world.bears {
            Bears::Everything | Bears::RefusesOneIn(_) => usize::MAX,
            Bears::AtATime(most) | Bears::OrRefuses(most) => most,
        };
        while self.working < most
            && let Some(request) = self.waiting.pop_front()
        {
            self.working += 1;
            let noise = (self.world.noise * self.normal()).exp();
            self.plan(self.world.seconds * request.part() * noise, Event::Answer(request, true));
        }
    }

    fn answer(&mut self, request: Request, is_taken: bool) {
        if is_taken {
            self.working -= 1;
            self.done += request.part();
            self.start_waiting();
        } else {
            self.refused += 1;
        }
        let now = self.clock();
        let this = &mut self.deliveries[request.delivery];
        let ended = if is_taken { Ended::Taken } else { Ended::Refused };
        if let Some(concurrency) = &mut this.concurrency {
            let begun = Begun { at: request.at, under_way: request.under_way };
            concurrency.end(now, begun, request.bytes, ended);
        }
        if is_taken {
            this.under_way -= 1;
            this.window = (this.window + 1).min(MAX_WINDOW);
        }
        this.note(self.now);
        if !is_taken {
            self.plan(RETRY, Event::Offer(request.delivery));
        }
    }

    fn plan(&mut self, after: f64, event: Event) {
        self.number += 1;
        self.events.push(Reverse((((self.now + after) * 1e6) as u64, self.number, event)));
    }

    fn clock(&self) -> Duration {
        Duration::from_secs(1_790_000_000) + Duration::from_secs_f64(self.now)
    }

    fn chance(&mut self) -> f64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        (self.chance >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.chance().max(1e-12).ln()).sqrt() * (std::f64::consts::TAU * self.chance()).cos()
    }
}

impl Delivery {
    fn new(concurrency: Option<Concurrency>, fixed: usize) -> Self {
        Self { concurrency, fixed, under_way: 0, window: 2, story: vec![(0.0, fixed)] }
    }

    fn limit(&self) -> usize {
        self.concurrency.as_ref().map_or(self.fixed, Concurrency::limit)
    }

    fn note(&mut self, now: f64) {
        let limit = self.limit();
        if self.story.last().is_some_and(|(_, last)| *last != limit) {
            self.story.push((now, limit));
        }
    }
}

impl Request {
    /// What part of a full request's time it takes.
    fn part(&self) -> f64 {
        if self.bytes > 1_000 { 1.0 } else { 0.1 }
    }
}
