//! How webhooks come in: whether each path that the gateway serves leads to it, and each public name somewhere.

use serde_json::Value;

use super::{
    Check, Faults,
    configuration::{argument, configuration},
    durations::go_seconds,
    labels::{is_dns_label, is_dns_subdomain},
    manifest::{Manifest, entries, list, text, title},
    source,
};

/// What an API server refuses inside an absolute path.
const UNCLEAN: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];

/// Seconds that MoEngage waits for an answer.
const SENDERS_PATIENCE: f64 = 5.0;

pub(super) fn look(manifest: &Manifest<'_>, faults: &mut Faults) {
    let wanted = served(manifest);
    for ingress in manifest.kind("Ingress") {
        look_at_ingress(manifest, ingress, &wanted, faults);
    }
    for route in manifest.kind("HTTPRoute") {
        look_at_route(manifest, route, &wanted, faults);
    }
}

/// Paths that somebody posts to: the capture paths of the code, and one for each source of the configuration.
fn served(manifest: &Manifest<'_>) -> Vec<String> {
    let list = source()
        .split_once("CAPTURE_PATHS: [")
        .and_then(|(_, rest)| Some(rest.split_once("= [")?.1.split_once(']')?.0));
    let mut paths: Vec<_> =
        list.unwrap_or_default().split('"').skip(1).step_by(2).map(|path| format!("{path}/")).collect();
    if let Some(gateway) = manifest.component("gateway") {
        let file = argument(gateway, "--config").unwrap_or_default();
        let settings = configuration(manifest, gateway, file).unwrap_or_default();
        paths.extend(entries(&settings["sources"]).map(|(name, _)| format!("/v1/in/{name}")));
    }
    paths
}

fn look_at_ingress(manifest: &Manifest<'_>, ingress: &Value, wanted: &[String], faults: &mut Faults) {
    let (spec, title) = (&ingress["spec"], title(ingress));
    let class = spec["ingressClassName"].as_str();
    let well = class.is_none_or(is_dns_subdomain);
    faults.unless(well, Check::HostsAreNames, &title, format!("ingressClassName {class:?} is no name"));
    let rules = list(&spec["rules"]);
    faults.unless(!rules.is_empty(), Check::WebhooksArrive, &title, "has no rules");
    let hosts: Vec<_> = rules.iter().map(|rule| text(&rule["host"])).collect();
    let covered: Vec<_> = list(&spec["tls"]).iter().flat_map(|tls| list(&tls["hosts"])).map(text).collect();
    for host in hosts.iter().chain(&covered) {
        faults.unless(is_host(host), Check::HostsAreNames, &title, format!("`{host}` is no host name"));
    }
    for host in &covered {
        let served = hosts.iter().any(|served| covers(host, served));
        faults.unless(served, Check::WebhooksArrive, &title, format!("has a certificate for {host}, and no rule"));
    }
    for (rule, host) in rules.iter().zip(&hosts) {
        let plain = covered.is_empty() || covered.iter().any(|covered| covers(covered, host));
        faults.unless(plain, Check::WebhooksArrive, &title, format!("has no certificate for {host}"));
        let paths = list(&rule["http"]["paths"]);
        for path in paths {
            let (kind, value) = (text(&path["pathType"]), text(&path["path"]));
            let clean = match kind {
                "ImplementationSpecific" => value.is_empty() || value.starts_with('/'),
                _ => is_clean(value),
            };
            faults.unless(clean, Check::HostsAreNames, &title, format!("`{value}` is no path from the root"));
            let backend = &path["backend"]["service"];
            let port = ["name", "number"].into_iter().find_map(|key| backend["port"].get(key)).unwrap_or(&Value::Null);
            let what = format!("{host}{value} leads to {backend}, which takes no webhooks");
            faults.unless(takes_webhooks(manifest, text(&backend["name"]), port), Check::WebhooksArrive, &title, what);
        }
        faults.unless(!paths.is_empty(), Check::WebhooksArrive, &title, format!("{host} leads nowhere"));
    }
    // a public name may be for some senders alone, and each path needs one
    let paths = || rules.iter().flat_map(|rule| list(&rule["http"]["paths"]));
    let led = |wanted: &str| paths().any(|path| matches(text(&path["pathType"]), text(&path["path"]), wanted));
    let cut_off: Vec<_> = wanted.iter().filter(|wanted| !led(wanted)).collect();
    faults.unless(cut_off.is_empty(), Check::WebhooksArrive, &title, format!("nothing leads to {cut_off:?}"));
}

fn look_at_route(manifest: &Manifest<'_>, route: &Value, wanted: &[String], faults: &mut Faults) {
    let (spec, title) = (&route["spec"], title(route));
    let named = !list(&spec["hostnames"]).is_empty();
    faults.unless(named, Check::WebhooksArrive, &title, "takes requests for every host");
    // a Service for a parent is a mesh's way, between pods alone
    let gateway = |parent: &Value| parent["kind"].as_str().is_none_or(|kind| kind != "Service");
    let attached = list(&spec["parentRefs"]).iter().any(gateway);
    faults.unless(attached, Check::WebhooksArrive, &title, "is attached to no Gateway");
    let everything = [serde_json::json!({})];
    let mut led = Vec::new();
    for rule in list(&spec["rules"]) {
        for (name, timeout) in entries(&rule["timeouts"]) {
            let seconds = go_seconds(text(timeout));
            // none at all is written as 0
            let well = seconds.is_some_and(|seconds| seconds == 0.0 || seconds >= SENDERS_PATIENCE);
            let what = format!("timeouts.{name} is {timeout}: webhooks are cut off that the sender still waits for");
            faults.unless(well, Check::WebhooksArrive, &title, what);
        }
        for backend in list(&rule["backendRefs"]) {
            let what = format!("leads to {backend}, which takes no webhooks");
            let well = takes_webhooks(manifest, text(&backend["name"]), &backend["port"]) && backend["weight"] != 0;
            faults.unless(well, Check::WebhooksArrive, &title, what);
        }
        let plain = list(&rule["filters"])
            .iter()
            .all(|filter| !["RequestRedirect", "URLRewrite"].contains(&text(&filter["type"])));
        faults.unless(plain, Check::WebhooksArrive, &title, "leads webhooks to another path than they are sent to");
        let matches = Some(list(&rule["matches"])).filter(|matches| !matches.is_empty()).unwrap_or(&everything);
        // a match by header, parameter or method takes only a part of what is posted
        let whole = matches
            .iter()
            .filter(|one| entries(one).all(|(key, value)| key == "path" || key == "method" && value == "POST"));
        led.extend(whole.filter(|_| !list(&rule["backendRefs"]).is_empty()).map(|one| {
            (one["path"]["type"].as_str().unwrap_or("PathPrefix"), one["path"]["value"].as_str().unwrap_or("/"))
        }));
    }
    let leads = |wanted: &str| led.iter().any(|(kind, value)| matches(kind, value, wanted));
    let cut_off: Vec<_> = wanted.iter().filter(|wanted| !leads(wanted)).collect();
    faults.unless(cut_off.is_empty(), Check::WebhooksArrive, &title, format!("nothing leads to {cut_off:?}"));
}

/// Whether a port of a Service is the one that the gateway takes webhooks at.
fn takes_webhooks(manifest: &Manifest<'_>, service: &str, port: &Value) -> bool {
    let Some(service) = manifest.find("Service", service) else { return false };
    let mut ports = list(&service["spec"]["ports"]).iter();
    let declared = ports.find(|declared| declared["name"] == *port || declared["port"] == *port);
    let target = declared.map(|declared| declared.get("targetPort").unwrap_or(&declared["port"]));
    manifest.selected(&service["spec"]["selector"]).iter().all(|pod| {
        let target = target.and_then(|target| pod.port(target));
        pod.component() == "gateway" && target.is_some() && target == pod.port(&"http".into())
    })
}

/// Whether a path of a rule takes what is sent to `wanted`; prefixes are compared part by part.
fn matches(kind: &str, path: &str, wanted: &str) -> bool {
    match kind {
        "Prefix" | "PathPrefix" => {
            let mut sent = wanted.split('/').filter(|part| !part.is_empty());
            path.split('/').filter(|part| !part.is_empty()).all(|part| sent.next() == Some(part))
        }
        "Exact" => path == wanted,
        _ => path == "/",
    }
}

/// A path from the root that an API server takes.
fn is_clean(path: &str) -> bool {
    let ends_well = !path.ends_with("/.") && !path.ends_with("/..");
    path.starts_with('/') && ends_well && !UNCLEAN.iter().any(|part| path.contains(part))
}

/// Whether a name, or one with `*` for its first part, is for a host.
fn covers(name: &str, host: &str) -> bool {
    name == host
        || name.strip_prefix("*.").is_some_and(|zone| host.split_once('.').is_some_and(|(_, rest)| rest == zone))
}

/// A host of an Ingress: a DNS name without a port, `*.` at most before it.
fn is_host(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let address = name.split('.').next_back().is_some_and(|last| last.chars().all(|c| c.is_ascii_digit()));
    is_dns_subdomain(name) && !address && name.split('.').all(is_dns_label)
}
