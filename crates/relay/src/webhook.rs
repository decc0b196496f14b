//! An entry as the transformer is shown it.

use moehog_journal::Entry;
use moehog_proto::{event::TraceContext, transformer::Webhook};

/// An entry as the transformer is shown it.
#[must_use]
pub fn webhook_of(entry: Entry, trace: Option<TraceContext>) -> Webhook {
    let origin = entry.origin();
    let (receipt, header) = (entry.receipt.to_string(), entry.header);
    Webhook {
        receipt,
        origin_shown: origin.shown,
        origin_receipt: origin.receipt,
        received_at_ms: origin.received_at_ms,
        source: header.source,
        route: header.route,
        content_type: header.content_type,
        content_encoding: header.content_encoding,
        api_key: header.api_key,
        trace,
        body: entry.body,
        method: header.method,
        query: header.query,
        headers: header.headers,
        idempotency_key: if header.keyed { header.idempotency_key } else { String::new() },
    }
}

/// Bytes of a webhook on its way to the transformer: its body, and what is kept of its request.
pub(crate) fn request_bytes(webhook: &Webhook) -> usize {
    let headers = webhook.headers.iter().map(|header| header.name.len() + header.value.len());
    webhook.body.len() + webhook.query.len() + headers.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use moehog_proto::{Incarnation, JournalId, Mint, event::Header, journal::EntryHeader};

    use super::*;

    fn told(header: EntryHeader) -> Webhook {
        let receipt = Mint::new(JournalId(7), [1; 16]).receipt(Incarnation(1), 3);
        let entry = Entry {
            receipt,
            header,
            body: "{}".into(),
            progress: None,
            settled: false,
            crashed: moehog_journal::Crashed::default(),
            decided: None,
        };
        webhook_of(entry, None)
    }

    #[test]
    fn the_transformer_is_told_the_rest_of_the_request_and_a_key_only_where_it_is_one() {
        let header = EntryHeader {
            method: "GET".into(),
            query: "a=1".into(),
            headers: vec![Header { name: "x-a".into(), value: "b".into() }],
            idempotency_key: "order-7".into(),
            ..EntryHeader::default()
        };
        let webhook = told(header.clone());
        assert_eq!((webhook.method.as_str(), webhook.query.as_str(), webhook.headers.len()), ("GET", "a=1", 1));
        assert_eq!((webhook.idempotency_key.as_str(), request_bytes(&webhook)), ("", 2 + 3 + 4));
        assert_eq!(told(EntryHeader { keyed: true, ..header }).idempotency_key, "order-7");
    }
}
