//! A PostHog that takes events by the rules of the capture API, keeps books of them, and fails as told.
//!
//! What it keeps to is PostHog's own capture server (today's, and one of mid 2024), read and probed in August 2026: see
//! [`Config`]; and today's v1 (`/i/v1/analytics/events`), read in December 2026. Where neither source nor probe settles a point it refuses, so that a forwarder that passes here passes
//! there: a lone surrogate in a JSON string, for one, is a 400 (today's server may mend it), and `lz64` is not read.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use std::time::Duration;
//!
//! use moehog_emulator::posthog::{Config, PostHog, Rule};
//!
//! let posthog = PostHog::bind(([127, 0, 0, 1], 0).into(), Config::with_keys(["phc_a"]))?.start();
//! posthog.faults().add(Rule::status(503).times(2));
//! // … send to posthog.url() …
//! assert!(posthog.books().wait_until(Duration::from_secs(5), |books| books.unique() == 1).await);
//! # Ok(())
//! # }
//! ```

//!
//! The books, faults and settings are also there over HTTP, for other processes and by hand:
//!
//! | path under `/_emulator` | what |
//! | --- | --- |
//! | `GET counts` | [`Counts`] |
//! | `GET events?key=&event=&distinct_id=&uuid=&since=&limit=&view=arrivals` | stored events, one of each key or every copy |
//! | `DELETE events` | forgets everything |
//! | `GET persons/ID?key=` | a [`Person`] |
//! | `GET requests?since=&limit=` | [`Exchange`]s: status, sizes, headers, which fault acted |
//! | `GET`, `POST`, `DELETE faults` | [`Rule`]s: all with what they did; adds one or an array; ends all, or those of `?name=` |
//! | `PUT settings` | `{"latency_ms": 200, "concurrency": 2, "over_quota": {"phc_a": true}, "add_key": "phc_b"}` |

mod admin;
mod answer;
mod body;
mod books;
mod capture;
mod config;
mod event;
mod faults;
mod hash;
mod light;
mod persons;
mod query;
mod refusal;
mod request;
mod routes;
mod running;
mod server;
mod state;
mod time;
mod wire;

pub use books::{Books, Counts, Exchange};
pub use config::{Config, Keys, Release, Store};
pub use event::{EventKey, StoredEvent};
pub use faults::{Action, Faults, ResetAt, Rule, RuleState, When};
pub use persons::Person;
pub use running::{PostHog, Running};
