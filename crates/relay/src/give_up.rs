//! What is asked of a held lane that is to be given up, and what is said of it.

use tokio::sync::oneshot;

/// Source and destination, as in the journal.
type LaneName = (String, String);

/// What a lane kept and was given up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GivenUp {
    /// Webhooks.
    pub webhooks: u64,
    /// Events of these that are dead letters now.
    pub events: u64,
}

/// Why a lane is not given up.
#[derive(Debug, thiserror::Error)]
pub enum GiveUpError {
    /// Nothing waits under these names.
    #[error(
        "no lane of source {source_name} and destination {destination} holds webhooks: /api/status lists those that do"
    )]
    Unknown {
        /// As asked for.
        source_name: String,
        /// As asked for.
        destination: String,
    },
    /// What waits is delivered.
    #[error("the lane is not held: what waits in it is on its way, and nothing of it is given up")]
    Open,
    /// It was not finished: what was given up before is, and it may be asked for again.
    #[error("giving up ended early: {0}")]
    Failed(String),
}

/// Somebody asks for it.
#[derive(Debug)]
pub(crate) struct GiveUp {
    pub(crate) name: LaneName,
    pub(crate) answer: oneshot::Sender<Result<GivenUp, GiveUpError>>,
}
