//! The one place that builds gRPC channels and servers.
//!
//! It promises
//! - a channel follows the replicas of a service: a name (`dns://`) is resolved every five seconds and after each failure to
//!   connect, calls go to the replica with the fewest under way, and one that cannot be connected to is left out for a while;
//! - a call has a connect timeout, keepalive and message limits, and a caller can tell one that never left ([`never_left`])
//!   from one that may have been worked on. The first goes to another replica; beyond that nothing is retried here: the relay
//!   owns every retry;
//! - a [`Link`] says how many replicas its channel leads to, so that callers can offer each of them enough;
//! - with certificates ([`TlsConfig`]) both sides show theirs, and a renewed one is used without a restart;
//! - with names of callers ([`Callers`]) nobody else of the same authorities gets in;
//! - what callers make a server keep is bounded ([`ServerBounds`]), and a call over a bound is refused unread;
//! - a server tells its health, ends connections at a random age, and drains.
//!
//! A service in the same process is reached by [`in_process`].

mod accept;
mod address;
mod balance;
mod bounds;
mod callers;
mod client;
mod client_config;
mod guard;
mod held;
mod in_process;
mod items;
mod link;
mod refusals;
mod resolve;
mod server;
mod tls;
mod unreached;
mod worker;

pub use address::{Address, AddressError};
pub use bounds::ServerBounds;
pub use callers::{Callers, WorkerSection};
pub use client::connect;
pub use client_config::ClientConfig;
pub use held::Held;
pub use in_process::in_process;
pub use link::{Link, Replicas};
pub use server::{Server, ServerConfig};
pub use tls::{Tls, TlsConfig};
pub use unreached::never_left;
pub use worker::{Grpc, Worker};
