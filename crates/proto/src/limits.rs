//! What one webhook and one call may be: the same for every service, so that none takes what the next cannot.

const MIB: usize = 1024 * 1024;

/// Largest body of a webhook in bytes, as received and after decompression. A Streams batch of 100 events can be about 25 MB.
pub const MAX_BODY_BYTES: usize = 32 * MIB;

/// Most events of one webhook.
pub const MAX_EVENTS: usize = 10_000;

/// Most bytes of the JSON that is made of one webhook, all its events together.
pub const MAX_MAPPED_BYTES: usize = 64 * MIB;

/// Largest gRPC message that any client or server of moehog takes: one webhook with all that is made of it, and room.
pub const MAX_MESSAGE_BYTES: usize = 80 * MIB;

/// Most events of a Deliver call, and webhooks of a Transform call, that a server of moehog takes. A relay sends half as many at
/// most.
pub const MAX_ITEMS: usize = 10_000;

const _: () =
    assert!(MAX_BODY_BYTES <= MAX_MAPPED_BYTES && MAX_MAPPED_BYTES < MAX_MESSAGE_BYTES && MAX_EVENTS <= MAX_ITEMS);
