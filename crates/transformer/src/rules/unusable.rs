//! Why an expression gave no value.

/// Why an expression gave no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It names something that the event does not have.
    Missing,
    /// It could not be computed.
    Failed,
    /// It costs more than is left to the event.
    Costly,
}
