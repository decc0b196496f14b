//! The budget, and what of it is met.

use super::{
    load::Workload,
    report::{Report, Row},
    subject::Kind,
    throughput::{Round, Throughput},
};

/// At most `must`, better at most `aim`.
fn most(what: impl Into<String>, unit: &'static str, measured: f64, must: f64, aim: f64) -> Row {
    Row { what: what.into(), unit, must, aim, measured, met: measured <= must }
}

/// At least `must`, better at least `aim`.
fn least(what: impl Into<String>, unit: &'static str, measured: f64, must: f64, aim: f64) -> Row {
    Row { what: what.into(), unit, must, aim, measured, met: measured >= must }
}

/// Judges what was measured; what was not measured has no row.
pub(crate) fn judge(report: &Report) -> Vec<Row> {
    let mut rows = Vec::new();
    let find = |workload, kind| {
        let is_wanted = |one: &&Throughput| one.workload == workload && one.kind == kind;
        report.throughput.iter().find(is_wanted)
    };
    for (workload, kind, must, aim) in [
        (Workload::Single, Kind::One, 30.0, 23.0),
        (Workload::Single, Kind::Three, 36.0, 28.0),
        (Workload::Batch, Kind::One, 6.0, 4.5),
        (Workload::Batch, Kind::Three, 9.0, 7.0),
    ] {
        if let Some(one) = find(workload, kind) {
            let what = format!("{}, {}", workload.name(), kind.name());
            rows.push(most(what, "CPU-s/M", one.median(|round| round.cpu_per_million), must, aim));
        }
    }
    if let Some(mapping) = &report.mapping {
        let what = "built-in mapping, Streams events, one core";
        rows.push(least(what, "events/s", mapping.streams_events_per_second, 300_000.0, 500_000.0));
        let what = "ten rules, Streams events, one core";
        rows.push(least(what, "events/s", mapping.ten_rules_events_per_second, 50_000.0, 100_000.0));
    }
    let largest = |bytes: fn(&Round) -> u64| {
        let of_one = report.throughput.iter().filter(|one| one.kind == Kind::One);
        of_one.flat_map(|one| &one.rounds).map(bytes).max().map(|bytes| bytes as f64 / 1e6)
    };
    if let (Some(idle), Some(peak)) = (largest(|round| round.idle_bytes), largest(|round| round.peak_bytes)) {
        rows.push(most("memory idle after the load, one process", "MB", idle, 40.0, 20.0));
        rows.push(most("memory under load, one process", "MB", peak, 150.0, 80.0));
    }
    for backlog in &report.backlog {
        let (megabytes, start) = if backlog.waiting_webhooks == 0 { (40.0, 100.0) } else { (150.0, 1000.0) };
        let aims = if backlog.waiting_webhooks == 0 { (20.0, 30.0) } else { (80.0, 200.0) };
        let most_bytes = backlog.resident_bytes.max(backlog.resident_after_start_bytes);
        let what = format!("memory with {} webhooks waiting", backlog.waiting_webhooks);
        rows.push(most(what, "MB", most_bytes as f64 / 1e6, megabytes, aims.0));
        let what = format!("start to first 200 with {} webhooks waiting", backlog.waiting_webhooks);
        rows.push(most(what, "ms", backlog.start_to_first_200_ms, start, aims.1));
    }
    if let Some(outage) = &report.outage {
        rows.push(most("180,000 events after an outage", "s", outage.delivered_within_s, 4.0, 2.0));
    }
    for trace in &report.trace {
        let what = format!("tracing 1 % sampled adds, {}", trace.workload.name());
        rows.push(most(what, "%", 100.0 * trace.added(), 3.0, 1.0));
    }
    if let Some(campaign) = &report.campaign {
        rows.push(most("campaign, answers that are not 200", "requests", campaign.not_200 as f64, 0.0, 0.0));
        rows.push(most("campaign, received to accepted p95", "ms", campaign.p95_ms, 1000.0, 1000.0));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_met_on_its_own_side() {
        assert!(most("x", "s", 4.0, 4.0, 2.0).met && !most("x", "s", 4.1, 4.0, 2.0).met);
        assert!(least("x", "s", 3.0, 3.0, 5.0).met && !least("x", "s", 2.9, 3.0, 5.0).met);
        assert!(!most("x", "s", f64::NAN, 4.0, 2.0).met, "a figure that is none meets nothing");
    }
}
