//! How long a pod may take to go.

use super::{
    Check, Faults, Pod,
    manifest::{Manifest, text},
};

/// The kubelet takes this when a pod says nothing.
const GRACE: u64 = 30;
/// What is left for the last spans and the exit after the process's own stop.
const SPARE: u64 = 5;
/// As long as others may go on asking a pod that has left: the gateway looks for its workers every five seconds.
const LEAVING: u64 = 5;

pub(super) fn look(manifest: &Manifest<'_>, faults: &mut Faults) {
    for pod in manifest.workloads() {
        let grace = pod.spec()["terminationGracePeriodSeconds"].as_u64().unwrap_or(GRACE);
        let container = &pod.spec()["containers"][0];
        let pre_stop = &container["lifecycle"]["preStop"];
        let Some(sleep) = pre_stop["sleep"]["seconds"].as_u64() else {
            faults.add(Check::StopsBeforeTheKill, pod.title(), format!("preStop is no sleep: {pre_stop}"));
            continue;
        };
        let Some(own) = seconds(pod, "MOEHOG__SHUTDOWN__GRACE") else {
            faults.add(Check::StopsBeforeTheKill, pod.title(), "says nothing of its own stop");
            continue;
        };
        let what = format!("sleeps {sleep} s, stops within {own} s and is killed after {grace} s");
        faults.unless(sleep >= LEAVING && sleep + own + SPARE <= grace, Check::StopsBeforeTheKill, pod.title(), what);
        if pod.component() == "gateway" {
            let relay = seconds(pod, "MOEHOG__RELAY__GRACE");
            let well = relay.is_some_and(|relay| relay + SPARE <= own);
            faults.unless(well, Check::StopsBeforeTheKill, pod.title(), "its relay may take longer than the process");
        }
        // the time to open a journal, and to be sure that it does not come
        let startup = &container["startupProbe"];
        let patience =
            startup["periodSeconds"].as_u64().unwrap_or(10) * startup["failureThreshold"].as_u64().unwrap_or(3);
        let wanted = if text(&pod.owner["kind"]) == "StatefulSet" { 300 } else { 30 };
        let what = format!("is killed when it has not started after {patience} s");
        faults.unless(patience >= wanted, Check::StopsBeforeTheKill, pod.title(), what);
    }
}

fn seconds(pod: Pod<'_>, variable: &str) -> Option<u64> {
    pod.variable(variable)?.strip_suffix('s')?.parse().ok()
}
