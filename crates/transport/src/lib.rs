//! The one place that builds gRPC channels and servers.
//!
//! It promises that a call has a connect timeout, keepalive and message limits, that a server tells its health and drains,
//! and that a caller can tell a call that never left ([`never_left`]) from one that may have been worked on. It retries
//! nothing: the relay owns every retry. A service in the same process is reached by [`in_process`].

mod address;
mod client;
mod in_process;
mod server;
mod worker;

pub use address::{Address, AddressError};
pub use client::{ClientConfig, connect, never_left};
pub use in_process::in_process;
pub use server::{Server, ServerConfig};
pub use worker::Worker;
