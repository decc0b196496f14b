//! What every moehog process does the same way: read its configuration, listen for signals, serve the admin port,
//! leave with an exit code that says why.
//!
//! It knows no service: a service hands over its defaults and its routes.

mod admin;
mod config;
pub mod duration;
mod exit;
mod secret;
mod sections;
mod shutdown;

pub use admin::{Admin, Readiness};
pub use config::{ConfigError, arguments, environment, load};
pub use exit::{Exit, exit};
pub use secret::Secret;
pub use sections::{Listen, Shutdown};
pub use shutdown::{shutdown_on_signal, within_grace};
