//! The contract between moehog's services: generated messages, clients and servers, and the ids they share.
//!
//! A client is built over any service: a channel to another host, or the server itself in this process. The
//! standalone binary, the tests and a cluster make the same calls:
//!
//! ```text
//! let remote = moehog_proto::delivery::client(channel);
//! let local = moehog_proto::delivery::client(DeliveryServiceServer::new(delivery));
//! ```

mod channel;
mod codec;
mod destination;
pub mod hand_over;
pub mod limits;
mod reason;
mod receipt;
mod trace;

pub use channel::{BoxError, Channel, ChannelError, channel};
pub use codec::{BatchCodec, BatchDecoder, BatchEncoder};
pub use destination::{Destination, Names, project_key_fault};
pub use event::{Blame, Reason};
pub use hand_over::Handed;
pub use receipt::{Incarnation, JournalId, Mint, ParseReceiptError, Receipt, Sequence};

/// The compiled protos, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// PostHog events as they travel, and the trace they belong to.
pub mod event {
    pub use self::v1::*;
    #[expect(missing_docs, reason = "generated")]
    pub(crate) mod v1 {
        tonic::include_proto!("moehog.event.v1");
    }
}

/// Webhooks in, events out.
pub mod transformer {
    pub use self::v1::{
        transformer_service_client::TransformerServiceClient,
        transformer_service_server::{TransformerService, TransformerServiceServer},
        *,
    };
    #[expect(missing_docs, reason = "generated")]
    pub(crate) mod v1 {
        tonic::include_proto!("moehog.transformer.v1");
    }

    /// A client of the transformer at the other end of `channel`.
    #[must_use]
    pub fn client(channel: crate::Channel) -> TransformerServiceClient<crate::Channel> {
        TransformerServiceClient::new(channel)
            .max_decoding_message_size(crate::limits::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(crate::limits::MAX_MESSAGE_BYTES)
    }

    /// A transformer as a tonic service, with moehog's message limits.
    pub fn server<T: TransformerService>(service: T) -> TransformerServiceServer<T> {
        TransformerServiceServer::new(service)
            .max_decoding_message_size(crate::limits::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(crate::limits::MAX_MESSAGE_BYTES)
    }
}

/// Events in, one verdict each out.
pub mod delivery {
    pub use self::v1::{
        delivery_service_client::DeliveryServiceClient,
        delivery_service_server::{DeliveryService, DeliveryServiceServer},
        event_verdict::Verdict,
        *,
    };
    #[expect(missing_docs, reason = "generated")]
    pub(crate) mod v1 {
        tonic::include_proto!("moehog.delivery.v1");
    }

    /// A client of the delivery service at the other end of `channel`.
    #[must_use]
    pub fn client(channel: crate::Channel) -> DeliveryServiceClient<crate::Channel> {
        DeliveryServiceClient::new(channel)
            .max_decoding_message_size(crate::limits::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(crate::limits::MAX_MESSAGE_BYTES)
    }

    /// A delivery service as a tonic service, with moehog's message limits.
    pub fn server<T: DeliveryService>(service: T) -> DeliveryServiceServer<T> {
        DeliveryServiceServer::new(service)
            .max_decoding_message_size(crate::limits::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(crate::limits::MAX_MESSAGE_BYTES)
    }
}

/// What the journal keeps on disk.
pub mod journal {
    pub use self::v1::*;
    #[expect(missing_docs, reason = "generated")]
    pub(crate) mod v1 {
        tonic::include_proto!("moehog.journal.v1");
    }
}
