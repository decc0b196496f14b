//! All that a journal holds, as text that a later build can be held against.

use std::{fmt::Write as _, num::NonZeroUsize};

use moehog_journal::{DeadLetterQuery, Entry, ReadLimit, embedded::Log};
use moehog_proto::{Receipt, journal::EventOutcome};

/// Name of the file beside a release's directory that holds the text.
pub(crate) const EXPECTED: &str = "expected.txt";

/// Fields are named one by one: one that is added later is not in the text of an older release.
pub(crate) fn found(log: &Log) -> String {
    let mut text = String::new();
    let ledger = log.stats().ledger;
    assert_eq!(log.recount().expect("a recount"), ledger, "the books close");
    let book = ledger.book;
    line(&mut text, &format!("journal {} up to {}", log.id(), log.durable()));
    line(
        &mut text,
        &format!(
            "webhooks: taken={} settled={} waiting={} damaged={}",
            book.taken, book.settled, ledger.waiting, book.damaged
        ),
    );
    line(
        &mut text,
        &format!(
            "events: mapped={} delivered={} degraded={} filtered={} duplicate={} dead={} in_flight={}",
            book.mapped,
            book.delivered,
            book.delivered_degraded,
            book.filtered,
            book.duplicate,
            book.dead,
            ledger.in_flight
        ),
    );
    let stats = log.stats();
    line(&mut text, &format!("dead letters: kept={} dropped={}", stats.dead_letters, stats.dead_letters_dropped));
    for lane in log.lanes() {
        let all = ReadLimit { max_entries: NonZeroUsize::MAX, max_bytes: usize::MAX };
        let batch = log.read(&lane.source, &lane.destination, 0, all).expect("a lane");
        let waiting: Vec<_> = batch.entries.iter().map(Entry::sequence).collect();
        line(&mut text, &format!("lane {}/{}: waiting={waiting:?}", lane.source, lane.destination));
    }
    for sequence in 1..=log.durable() {
        match log.get(Receipt::plain(log.id(), sequence)).expect("an entry") {
            Some(entry) => self::entry(&mut text, &entry),
            None => line(&mut text, &format!("{sequence}: gone")),
        }
    }
    for letter in log.dead_letters(&DeadLetterQuery::default()).expect("dead letters") {
        let answer = letter.answer.map_or_else(String::new, |answer| format!("{} {}", answer.status, answer.answer));
        line(
            &mut text,
            &format!(
                "dead letter {} source={} {} answer={answer}",
                letter.receipt,
                letter.header.source,
                event(&letter.event)
            ),
        );
    }
    text
}

fn line(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

fn entry(text: &mut String, entry: &Entry) {
    let header = &entry.header;
    let origin = header.origin.as_ref().map(|origin| format!(" origin={}@{}", origin.receipt, origin.received_at_ms));
    let trace = header.trace.as_ref().map(|trace| {
        let (high, low, span) = (trace.trace_id_high, trace.trace_id_low, trace.span_id);
        format!(" trace={high:016x}{low:016x}/{span:016x}/{} {}", trace.flags, trace.tracestate)
    });
    line(
        text,
        &format!(
            "{}: receipt={} kind={} lane={}/{} route={} type={} encoding={} at={} idempotency={} key={}{}{} settled={} \
             crashed={}/{} body={}",
            entry.sequence(),
            entry.receipt,
            header.kind,
            header.source,
            header.destination,
            header.route,
            header.content_type,
            header.content_encoding,
            header.received_at_ms,
            header.idempotency_key,
            header.api_key,
            origin.unwrap_or_default(),
            trace.unwrap_or_default(),
            entry.settled,
            entry.crashed.alone,
            entry.crashed.together,
            String::from_utf8_lossy(&entry.body)
        ),
    );
    let Some(progress) = &entry.progress else { return };
    let Ok(()) = write!(text, "  mapping={} deaths={}", progress.mapping_revision, progress.transform_deaths) else {
        return;
    };
    line(text, &format!(" trying={}", progress.trying_ms));
    for outcome in &progress.events {
        line(text, &format!("  {}", event(outcome)));
    }
    for attempt in &progress.attempts {
        let (at, took) = (attempt.started_at_ms, attempt.duration_ms);
        line(text, &format!("  attempt at={at} took={took} status={} answer={}", attempt.status, attempt.answer));
    }
}

fn event(event: &EventOutcome) -> String {
    let uuid: String = event.uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    let mapped = event.mapped.as_ref().map_or_else(String::new, |mapped| {
        format!(" mapped={} {} {}", mapped.distinct_id, mapped.name, String::from_utf8_lossy(&mapped.json))
    });
    format!(
        "event {}.{} uuid={uuid} state={} reason={} detail={} tried={} attempts={} attempt={}{mapped}",
        event.position,
        event.ordinal,
        event.state,
        event.reason,
        event.detail,
        event.tried_at_ms,
        event.attempts,
        event.attempt
    )
}
