//! How many events a second of one core's time are mapped: `cargo run --release -p moehog-transformer --example speed`.
//!
//! Time is what the thread spent on a core, so that other work beside it counts little.

#![expect(clippy::print_stdout, reason = "prints its result")]

use std::time::{Duration, Instant};

use moehog_proto::transformer::{Webhook, transformed_webhook::Result as Made};
use moehog_transformer::{Mapping, Rules, Transformer};

/// One Streams event of about `bytes`.
fn event(number: usize, bytes: usize) -> String {
    let head = format!(
        r#"{{"event_name":"Email Sent","event_code":"MOE_EMAIL_SENT","event_uuid":"{number:08x}-8d5e-4cfd-ac49-5919bffb401d","event_time":{},"event_type":"CAMPAIGN_EVENT","event_source":"MOENGAGE","uid":"user-{number}","email_id":"user-{number}@example.com","event_attributes":{{"campaign_id":"353df897hkbh67658","campaign_name":"Spring Sale","campaign_type":"Event Trigger","campaign_channel":"Email""#,
        1_766_620_800 + number
    );
    let tail = r#"},"user_attributes":{"moengage_user_id":"6387301e0000006c828aee2c"},"device_attributes":{}}"#;
    let mut event = head;
    for n in 0.. {
        if event.len() + tail.len() >= bytes {
            break;
        }
        event.push_str(&format!(r#","attribute_{n:02}":"value {n:04}""#));
    }
    event + tail
}

fn webhook(body: String) -> Webhook {
    Webhook {
        receipt: "3f9a1c2b-e217697277a3b278a25daec74e8c5c58-1d6d".to_string(),
        received_at_ms: 1_787_220_672_345,
        source: "shop".to_string(),
        body: body.into(),
        ..Webhook::default()
    }
}

/// Seconds that this thread has run, by the kernel's scheduler.
fn busy_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|nanoseconds| nanoseconds.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

fn measure(name: &str, webhook: &Webhook) {
    let transformer = Transformer::new(&Mapping::default(), Rules::default());
    let mut best = f64::INFINITY;
    let mut events = 0;
    for _ in 0..7 {
        let (began, busy, mut calls) = (Instant::now(), busy_seconds(), 0_u32);
        while began.elapsed() < Duration::from_millis(300) {
            if let Some(Made::Mapped(mapped)) = std::hint::black_box(transformer.transform(webhook)).result {
                events = mapped.events.len();
            }
            calls += 1;
        }
        best = best.min((busy_seconds() - busy) / f64::from(calls));
    }
    let (body, seconds_an_event) = (webhook.body.len() as f64, best / events as f64);
    println!(
        "{name:<28} {:>9.0} events/s  {:>5.2} us an event  {:>5.0} MB/s",
        1.0 / seconds_an_event,
        seconds_an_event * 1e6,
        body / best / 1e6
    );
}

fn main() {
    for bytes in [470, 1024] {
        let list: Vec<_> = (0..100).map(|number| event(number, bytes)).collect();
        measure(
            &format!("Streams, 100 of {bytes} bytes"),
            &webhook(format!(r#"{{"app_name":"Shop","events":[{}]}}"#, list.join(","))),
        );
    }
    let properties: String = (0..12).map(|n| format!(r#","property_{n:02}":"value {n:04}""#)).collect();
    let capture = format!(
        r#"{{"api_key":"phc_test","event":"purchase_completed","distinct_id":"user-42","properties":{{"source":"moengage"{properties}}}}}"#
    );
    measure(&format!("capture, 1 of {} bytes", capture.len()), &webhook(capture));
}
