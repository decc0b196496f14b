//! Who may call whom: the policies' edges against what the pods are configured to do.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    Check, Faults, Pod,
    addresses::called,
    manifest::{Manifest, list, text},
    ranges,
};

/// What a policy lets through, or a pod wants: pod, direction, port, and who is at the other end.
type Edge = (String, &'static str, String, String);

/// At the other end: whatever a values file names by namespace or address.
const OUTSIDE: &str = "outside";
/// At the other end: addresses of the internet, without the private ones.
const PUBLIC: &str = "the internet";

pub(super) fn look(manifest: &Manifest<'_>, faults: &mut Faults) {
    let policies: Vec<_> = manifest.kind("NetworkPolicy").collect();
    for policy in &policies {
        ranges::look_at(policy, faults);
    }
    if policies.is_empty() {
        return;
    }
    for pod in manifest.pods() {
        let both = policies.iter().any(|policy| {
            pod.has(&policy["spec"]["podSelector"]["matchLabels"])
                && policy["spec"]["policyTypes"] == json!(["Ingress", "Egress"])
        });
        faults.unless(both, Check::EdgesAreAsDesigned, pod.title(), "no policy holds it in both directions");
    }
    let granted: BTreeSet<_> = policies.iter().flat_map(|policy| granted(manifest, policy)).collect();
    let wanted: BTreeSet<_> = manifest.pods().flat_map(|pod| wanted(manifest, pod)).collect();
    for (pod, direction, port, peer) in granted.difference(&wanted) {
        let what = format!("{direction} {port} {peer}: let through, and nobody needs it");
        faults.add(Check::EdgesAreAsDesigned, format!("NetworkPolicy for {pod}"), what);
    }
    for (pod, direction, port, peer) in wanted.difference(&granted) {
        let what = format!("{direction} {port} {peer}: needed, and not let through");
        faults.add(Check::EdgesAreAsDesigned, format!("NetworkPolicy for {pod}"), what);
    }
}

/// The edges that a policy lets through.
fn granted(manifest: &Manifest<'_>, policy: &Value) -> Vec<Edge> {
    let mut edges = Vec::new();
    for pod in manifest.selected(&policy["spec"]["podSelector"]["matchLabels"]) {
        for (rules, direction, peers) in [("ingress", "in at", "from"), ("egress", "out to", "to")] {
            for rule in list(&policy["spec"][rules]) {
                let every = [Value::Null];
                let ports = Some(list(&rule["ports"])).filter(|ports| !ports.is_empty()).unwrap_or(&every);
                let peers = Some(list(&rule[peers])).filter(|peers| !peers.is_empty()).unwrap_or(&every);
                for (port, other) in ports.iter().flat_map(|port| peers.iter().map(move |peer| (port, peer))) {
                    edges.push(edge(manifest, pod, direction, port, other));
                }
            }
        }
    }
    edges
}

fn edge(manifest: &Manifest<'_>, pod: Pod<'_>, direction: &'static str, port: &Value, peer: &Value) -> Edge {
    let number = port["port"].as_u64();
    let name = match number {
        Some(number) if port.get("endPort").is_some() => format!("{number} to {}", port["endPort"]),
        Some(number) => format!("{number}/{}", text(&port["protocol"])),
        None => "every port".to_string(),
    };
    let mut other = other_end(manifest, peer);
    // a public port may be open to everybody, and spans may go anywhere at their port
    let open = direction == "in at" && number.is_some() && number == pod.port(&"http".into())
        || direction == "out to" && number.is_some() && number == collector(pod);
    if other == "anybody" && open {
        other = OUTSIDE.to_string();
    }
    (pod.component().to_string(), direction, name, other)
}

fn other_end(manifest: &Manifest<'_>, peer: &Value) -> String {
    let named = |selector: &Value| selector["matchLabels"].as_object().is_some_and(|labels| !labels.is_empty());
    match (peer.get("podSelector"), peer.get("namespaceSelector"), peer.get("ipBlock")) {
        (None, None, None) => "anybody".to_string(),
        (Some(pods), None, None) => match manifest.selected(&pods["matchLabels"])[..] {
            [pod] => pod.component().to_string(),
            _ => format!("pods with {pods}"),
        },
        (None, Some(namespace), None) if named(namespace) => OUTSIDE.to_string(),
        (None, None, Some(block)) => match text(&block["cidr"]) {
            "0.0.0.0/0" | "::/0" if ranges::spares_private(block) => PUBLIC.to_string(),
            cidr if cidr.ends_with("/0") => "every address".to_string(),
            _ => OUTSIDE.to_string(),
        },
        _ => format!("whoever {peer} is"),
    }
}

/// The edges that a pod needs, by its ports, variables and arguments; also those at the other end.
fn wanted(manifest: &Manifest<'_>, pod: Pod<'_>) -> Vec<Edge> {
    let me = pod.component().to_string();
    let edge = |direction, port: String, peer: &str| (me.clone(), direction, port, peer.to_string());
    let names = names_port(manifest);
    let mut edges = ["UDP", "TCP"].map(|protocol| edge("out to", format!("{names}/{protocol}"), OUTSIDE)).to_vec();
    for name in ["http", "admin"] {
        edges.extend(pod.port(&name.into()).map(|port| edge("in at", format!("{port}/TCP"), OUTSIDE)));
    }
    for call in called(pod) {
        let Some(service) = manifest.find("Service", call.service) else { continue };
        let port = call.port(service);
        let declared = list(&service["spec"]["ports"]).iter().find(|declared| declared["port"] == port);
        for other in manifest.selected(&service["spec"]["selector"]) {
            let port = declared.and_then(|declared| other.port(&declared["targetPort"])).unwrap_or(port);
            edges.push(edge("out to", format!("{port}/TCP"), other.component()));
            edges.push((other.component().to_string(), "in at", format!("{port}/TCP"), me.clone()));
        }
    }
    if me == "delivery" {
        edges.push(edge("out to", "443/TCP".into(), PUBLIC));
        let proxy = pod.variable("HTTPS_PROXY").and_then(port_of);
        edges.extend(proxy.map(|port| edge("out to", format!("{port}/TCP"), OUTSIDE)));
    }
    edges.extend(collector(pod).map(|port| edge("out to", format!("{port}/TCP"), OUTSIDE)));
    edges
}

/// The port of the pods that resolve names: OpenShift's listen at another than the Service before them.
fn names_port(manifest: &Manifest<'_>) -> u64 {
    let mut rules = manifest.kind("NetworkPolicy").flat_map(|policy| list(&policy["spec"]["egress"]));
    let openshift = rules.any(|rule| {
        list(&rule["to"])
            .iter()
            .any(|peer| peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] == "openshift-dns")
    });
    if openshift { 5353 } else { 53 }
}

/// The port that spans go to.
fn collector(pod: Pod<'_>) -> Option<u64> {
    pod.variable("OTEL_EXPORTER_OTLP_ENDPOINT").and_then(port_of)
}

fn port_of(url: &str) -> Option<u64> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    match authority.rsplit_once(':') {
        Some((_, port)) => port.parse().ok(),
        None => Some(if scheme == "https" { 443 } else { 80 }),
    }
}
