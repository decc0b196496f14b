//! What the configuration says against what the pod declares: ports, the volume of the journal.

use serde_json::Value;

use super::{
    Check, Faults, Pod,
    configuration::{argument, configuration},
    manifest::{Manifest, list, text},
    quantities::quantity,
};

/// The part of its volume that a journal may use at most: the rest is for what a file system keeps for itself.
const BUDGET: f64 = 0.95;

pub(super) fn look(manifest: &Manifest<'_>, faults: &mut Faults) {
    for pod in manifest.workloads() {
        let Some(file) = argument(pod, "--config") else {
            faults.add(Check::ConfiguredFilesAreMounted, pod.title(), "starts with its defaults: it has no --config");
            continue;
        };
        let settings = configuration(manifest, pod, file).unwrap_or_default();
        listens(pod, "MOEHOG__ADMIN__LISTEN", pod.variable("MOEHOG__ADMIN__LISTEN"), "admin", faults);
        if pod.component() == "gateway" {
            let listen = pod.variable("MOEHOG__HTTP__LISTEN").or(settings["http"]["listen"].as_str());
            listens(pod, "http.listen", listen, "http", faults);
            look_at_journal(pod, &settings["journal"], faults);
        } else {
            listens(pod, "MOEHOG__GRPC__LISTEN", pod.variable("MOEHOG__GRPC__LISTEN"), "grpc", faults);
        }
    }
}

/// A process listens at a declared port, and not for itself alone.
fn listens(pod: Pod<'_>, setting: &str, address: Option<&str>, port: &str, faults: &mut Faults) {
    let address: Option<std::net::SocketAddr> = address.and_then(|address| address.parse().ok());
    let well = address.is_some_and(|address| {
        address.ip().is_unspecified() && pod.port(&port.into()) == Some(u64::from(address.port()))
    });
    let what = format!("{setting} is {address:?}, the port {port} is {:?}", pod.port(&port.into()));
    faults.unless(well, Check::ListensWhereDeclared, pod.title(), what);
}

fn look_at_journal(pod: Pod<'_>, journal: &Value, faults: &mut Faults) {
    let dir = pod.variable("MOEHOG__JOURNAL__DIR").unwrap_or(text(&journal["dir"]));
    let claims = list(&pod.owner["spec"]["volumeClaimTemplates"]);
    let mounts = || pod.containers().flat_map(|container| list(&container["volumeMounts"]));
    let mounted = |claim: &&Value| {
        mounts().any(|mount| {
            let behind = dir.strip_prefix(text(&mount["mountPath"]));
            mount["name"] == claim["metadata"]["name"]
                && behind.is_some_and(|behind| behind.is_empty() || behind.starts_with('/'))
        })
    };
    let Some(claim) = claims.iter().find(mounted) else {
        let what = format!("the journal in `{dir}` is on no volume of its own");
        return faults.add(Check::JournalFitsItsVolume, pod.title(), what);
    };
    let size = &claim["spec"]["resources"]["requests"]["storage"];
    let set = pod.variable("MOEHOG__JOURNAL__BUDGET_BYTES").and_then(|bytes| bytes.parse().ok());
    let budget = set.or(journal["budget_bytes"].as_f64());
    let well = budget.is_some_and(|budget| quantity(size).is_some_and(|size| budget > 0.0 && budget <= size * BUDGET));
    let what = format!("the journal may use {budget:?} bytes of {size}");
    faults.unless(well, Check::JournalFitsItsVolume, pod.title(), what);
}
