//! Ports, by name and by number.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Check, Faults, Pod,
    labels::is_dns_label,
    manifest::{Manifest, list, text, title},
};

pub(super) fn look(manifest: &Manifest<'_>, faults: &mut Faults) {
    for pod in manifest.pods() {
        let mut names = BTreeSet::new();
        for port in pod.ports() {
            let name = text(&port["name"]);
            let valid = is_port_name(name) && names.insert(name);
            faults.unless(valid, Check::PortNamesAreValid, pod.title(), format!("`{name}` is no port name of its own"));
        }
    }
    for service in manifest.kind("Service") {
        look_at_service(manifest, service, faults);
    }
    for ingress in manifest.kind("Ingress") {
        let paths = list(&ingress["spec"]["rules"]).iter().flat_map(|rule| list(&rule["http"]["paths"]));
        for backend in paths.map(|path| &path["backend"]["service"]) {
            let port = ["name", "number"].into_iter().find_map(|key| backend["port"].get(key)).unwrap_or(&Value::Null);
            leads_to_port(manifest, ingress, text(&backend["name"]), port, faults);
        }
    }
    for route in manifest.kind("HTTPRoute") {
        for backend in list(&route["spec"]["rules"]).iter().flat_map(|rule| list(&rule["backendRefs"])) {
            leads_to_port(manifest, route, text(&backend["name"]), &backend["port"], faults);
        }
    }
}

fn look_at_service(manifest: &Manifest<'_>, service: &Value, faults: &mut Faults) {
    let headless = service["spec"]["clusterIP"] == "None";
    let mut names = BTreeSet::new();
    for port in list(&service["spec"]["ports"]) {
        let name = text(&port["name"]);
        let valid = is_port_name(name) && names.insert(name);
        faults.unless(valid, Check::PortNamesAreValid, title(service), format!("`{name}` is no port name of its own"));
        let target = port.get("targetPort").unwrap_or(&port["port"]);
        for pod in manifest.selected(&service["spec"]["selector"]) {
            let there = pod.port(target);
            let what = format!("leads to port {target}, which {} does not have", pod.title());
            faults.unless(there.is_some(), Check::PortsAreDeclared, title(service), what);
            let own = there.is_none() || there == pod.port(&name.into());
            faults.unless(
                own,
                Check::PortsAreDeclared,
                title(service),
                format!("{name} leads to {target}, another port"),
            );
            let wanted = spoken(name, pod);
            let said = text(&port["appProtocol"]);
            let what = format!("{name} is {said:?}, it speaks {wanted:?}");
            faults.unless(said == wanted, Check::ProtocolsAreSaid, title(service), what);
            let direct = !headless || there == port["port"].as_u64();
            let what = format!("port {} is translated to {target}, but nothing translates here", port["port"]);
            faults.unless(direct, Check::HeadlessPortsAreDirect, title(service), what);
            // one connection to one address would call one pod for ever
            let well = headless || name != "grpc";
            faults.unless(
                well,
                Check::HeadlessPortsAreDirect,
                title(service),
                "gRPC is not balanced behind one address",
            );
        }
    }
}

/// What is spoken on a port of a pod, as `appProtocol` says it.
fn spoken(port: &str, pod: Pod<'_>) -> &'static str {
    match port {
        "grpc" if pod.volumes().any(|volume| volume == "tls") => "https",
        "grpc" => "kubernetes.io/h2c",
        _ => "http",
    }
}

fn leads_to_port(manifest: &Manifest<'_>, from: &Value, service: &str, port: &Value, faults: &mut Faults) {
    let ports = manifest.find("Service", service).map_or(&[][..], |service| list(&service["spec"]["ports"]));
    let there = ports.iter().any(|declared| declared["name"] == *port || declared["port"] == *port);
    let what = format!("leads to port {port} of Service/{service}, which is not there");
    faults.unless(there, Check::PortsAreDeclared, title(from), what);
}

/// As IANA has them: up to 15 letters, digits and hyphens, one letter at least.
fn is_port_name(name: &str) -> bool {
    name.len() <= 15 && is_dns_label(name) && name.chars().any(|c| c.is_ascii_alphabetic()) && !name.contains("--")
}
