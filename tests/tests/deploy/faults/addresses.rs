//! Whom pods call by name, and who answers for a name.

use serde_json::Value;

use super::{
    Check, Faults, Pod,
    manifest::{Manifest, list, text, title},
};

/// How a pod finds names of the cluster; `Default` takes the node's servers, which know none of them.
const CLUSTER_DNS: [&str; 3] = ["ClusterFirst", "ClusterFirstWithHostNet", "None"];

/// A Service that a pod calls, as its manifest writes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    /// What stands before `://`.
    pub(super) scheme: &'a str,
    /// Service, namespace and what follows, without the port.
    pub(super) host: &'a str,
    /// The Service's name.
    pub(super) service: &'a str,
    namespace: &'a str,
    port: Option<u64>,
}

impl<'a> Call<'a> {
    /// Reads a URL whose host is a Service of the cluster.
    pub(super) fn parse(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let scheme = scheme.rsplit('=').next()?;
        let authority = rest.split('/').next()?;
        let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
        let (service, rest) = host.split_once('.')?;
        let (namespace, zone) = rest.split_once('.')?;
        let inside = zone == "svc" || zone.starts_with("svc.");
        inside.then(|| Self { scheme, host, service, namespace, port: port.and_then(|port| port.parse().ok()) })
    }

    /// The port that is called; the Service's first where none is written.
    pub(super) fn port(self, service: &Value) -> u64 {
        self.port.or_else(|| list(&service["spec"]["ports"]).first()?["port"].as_u64()).unwrap_or(0)
    }
}

/// Services of the cluster that a pod calls, in its variables and arguments.
pub(super) fn called(pod: Pod<'_>) -> Vec<Call<'_>> {
    let values = pod.containers().flat_map(|container| {
        let variables = list(&container["env"]).iter().map(|variable| &variable["value"]);
        list(&container["args"]).iter().chain(variables)
    });
    values.filter_map(|value| Call::parse(text(value))).collect()
}

/// The variable of the gateway that says where a worker is.
pub(super) fn address(gateway: Pod<'_>, worker: &str) -> String {
    gateway.variable(&format!("MOEHOG__{}__ADDRESS", worker.to_uppercase())).unwrap_or_default().to_string()
}

pub(super) fn look(manifest: &Manifest<'_>, faults: &mut Faults) {
    for pod in manifest.pods() {
        let policy = pod.spec()["dnsPolicy"].as_str().unwrap_or("ClusterFirst");
        let servers = list(&pod.spec()["dnsConfig"]["nameservers"]);
        let well = CLUSTER_DNS.contains(&policy) && (policy != "None" || !servers.is_empty());
        let what = format!("asks for names by dnsPolicy {policy}, which finds no Service");
        faults.unless(well, Check::NamesAreResolved, pod.title(), what);
    }
    for gateway in manifest.workloads().filter(|pod| pod.component() == "gateway") {
        for worker in ["transformer", "delivery"] {
            let address = address(gateway, worker);
            let fault = lead(manifest, gateway, &address, (worker, "grpc"));
            let dns = Call::parse(&address).is_some_and(|call| call.scheme == "dns");
            faults.unless(
                dns,
                Check::CallsArrive,
                gateway.title(),
                format!("`{address}` is not asked for all addresses"),
            );
            if let Some(fault) = fault {
                faults.add(Check::CallsArrive, gateway.title(), fault);
            }
        }
    }
    for test in manifest.pods().filter(|pod| pod.component() == "test") {
        for (flag, port) in [("--url=", "http"), ("--admin=", "admin")] {
            let arguments = test.containers().flat_map(|container| list(&container["args"])).map(text);
            for url in arguments.filter_map(|argument| argument.strip_prefix(flag)) {
                if let Some(fault) = lead(manifest, test, url, ("gateway", port)) {
                    faults.add(Check::CallsArrive, test.title(), fault);
                }
            }
        }
    }
    for service in manifest.kind("Service") {
        look_at_service(manifest, service, faults);
    }
}

/// What keeps a URL from leading to a port of a component of this release; none when it does.
fn lead(manifest: &Manifest<'_>, from: Pod<'_>, url: &str, (component, port): (&str, &str)) -> Option<String> {
    let call = Call::parse(url);
    let Some(call) = call else { return Some(format!("`{url}` is no Service such as dns://name.namespace.svc:50051")) };
    let namespace = text(&from.owner["metadata"]["namespace"]);
    if call.namespace != namespace {
        return Some(format!("`{url}` is in another namespace than {namespace}"));
    }
    let Some(service) = manifest.find("Service", call.service) else { return Some(format!("`{url}` is no Service")) };
    let number = call.port(service);
    let declared = list(&service["spec"]["ports"]).iter().find(|declared| declared["port"] == number);
    let target = declared.map(|declared| declared.get("targetPort").unwrap_or(&declared["port"]));
    let pods = manifest.selected(&service["spec"]["selector"]);
    let there = |pod: &Pod<'_>| {
        let target = target.and_then(|target| pod.port(target));
        pod.component() == component && target.is_some() && target == pod.port(&port.into())
    };
    (!pods.iter().any(there)).then(|| format!("`{url}` does not lead to the port {port} of {component}"))
}

/// Pods that are not ready, or stop, are asked by nobody but for a receipt.
fn look_at_service(manifest: &Manifest<'_>, service: &Value, faults: &mut Faults) {
    let spec = &service["spec"];
    let governing = manifest.kind("StatefulSet").any(|set| set["spec"]["serviceName"] == service["metadata"]["name"]);
    let ready = governing || spec["publishNotReadyAddresses"] != true;
    faults.unless(ready, Check::ReadyPodsAreAsked, title(service), "leads to pods that stop or have not started");
    // a sender comes from a few addresses: one gateway would take all of it
    let spread = spec.get("sessionAffinity").is_none_or(|affinity| affinity == "None");
    faults.unless(spread, Check::ReadyPodsAreAsked, title(service), "keeps a sender at one pod");
    let anywhere = spec.get("internalTrafficPolicy").is_none_or(|policy| policy == "Cluster");
    faults.unless(anywhere, Check::ReadyPodsAreAsked, title(service), "leads from a node only to pods of that node");
}
