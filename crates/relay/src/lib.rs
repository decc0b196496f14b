//! Carries webhooks from the journal through the transformer and delivery until every event of theirs is final.
//!
//! The problem: PostHog fails, refuses and slows down, transformers die of a webhook, processes are killed, and through
//! all of it a person's events must arrive in order, one bad event must cost itself and no other, and nothing may be lost
//! or sent again once it was taken.
//!
//! It promises:
//! - an event once recorded final is never sent again; one that may have been sent is resent byte for byte;
//! - a person's later event is not sent before what became of the earlier ones is recorded;
//! - an event goes to the destination that its mapping rule names, where its source lets it, by that destination's own lane;
//! - a held or failing destination stops its own lane and no other, and loses nothing; one webhook that breaks the
//!   transformer, and one event that breaks its request, ends up alone and costs itself;
//! - what is under way follows the replicas behind each service's name: one gateway keeps sixteen deliveries busy;
//! - memory is bounded by `in_flight_bytes` for each replica of delivery, over all lanes, and a quarter more for webhooks
//!   that are larger than their lane's part, or one of them if it is larger still, whatever waits; what is known of events that
//!   stepped aside is beside that, at most some megabytes a lane;
//! - who watches an entry in the journal is told how it was mapped and when it is settled, and is never waited for.
//!
//! It is the one owner of retries. Delivery tries once and says what it saw; the transformer is a pure function; the
//! journal keeps. What is decided is in `progress`, `barrier`, `gate`, `window`, `pool`, `poison` and `lane`, none of which does
//! anything; `walk` does what a lane decided (`calls`, `route`), and `run` has one walk a lane.

mod backoff;
mod barrier;
mod calls;
mod ceiling;
mod config;
mod deadline;
mod deaths;
mod evidence;
mod feed;
mod gate;
mod give_up;
mod giving_up;
mod lane;
mod limits;
mod mappings;
mod metrics;
mod overdraft;
mod poison;
mod pool;
mod progress;
mod proof;
mod route;
mod run;
mod settled;
mod slab;
mod spans;
mod status;
mod trial;
mod waits;
mod walk;
mod webhook;
mod window;

pub use config::{Config, DEFAULTS};
pub use deaths::Dead;
pub use feed::{Feed, FeedReader, MAX_READERS, Passed, Told};
pub use gate::GateState;
pub use give_up::{GiveUpError, GivenUp};
pub use run::Relay;
pub use status::{LaneStatus, Status, Unmapped};
pub use waits::{NextTry, Wait, WaitsFor};
pub use webhook::webhook_of;
