//! The harness of the end-to-end tests: real processes between two emulators, killed, paused, starved and cut off.
//!
//! **The problem.** What moehog promises is about processes: a 200 that was given before a kill, a port that comes back, a
//! disk that fills. No test inside one process can show it.
//!
//! **What it promises.** Every test gets its own directory and free ports, waits for conditions with a deadline, and is judged
//! by books that moehog does not keep: what the sender saw ([`Sent`]) against what the emulated PostHog stored. A `warn` or
//! `error` in a log that the test did not expect fails it.
//!
//! **What it leaves to others.** One decision, one crate: those tests stand beside the code. Emulators are `moehog-emulator`.

mod answer;
mod api_server;
mod binaries;
mod bodies;
mod chart;
mod collector;
mod cpu;
mod damage;
mod deployment;
mod disk;
mod dns;
mod fake_clock;
mod fleet;
mod log;
mod nginx;
mod oracle;
mod process;
mod projected;
mod proxy;
mod sender;
mod setup;
mod skip;
mod soak;
mod strangers;
mod tools;
mod wait;

pub use self::{
    answer::{Answer, get, post, send},
    api_server::ApiServer,
    binaries::binary,
    bodies::{cases, connector, purchase, streams, tutorial},
    chart::{Chart, Install},
    collector::{Collector, Span, tree},
    cpu::{Cpu, memory},
    damage::{Damage, Harm},
    deployment::{Deployment, FurtherGateway, Replica, delivered, known},
    disk::SmallDisk,
    dns::Dns,
    fake_clock::FakeClock,
    fleet::{Fleet, Fleets, Move},
    log::{Line, Log},
    nginx::Nginx,
    oracle::{Judgement, Sent, by_person, judge, repeated_receipts, shared_uuids},
    process::Process,
    projected::project,
    proxy::Proxy,
    sender::{BAD, Load, Sender},
    setup::{Service, Setup, Shape, TOKEN},
    skip::skip,
    soak::from_soak,
    strangers::Attack,
    tools::{Jinja, Tools, code, root, stdout, target},
    wait::{eventually, within},
};
