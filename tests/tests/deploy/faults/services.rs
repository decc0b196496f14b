//! Fields of Services that an API server refuses for their values.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Check, Faults,
    fields::is_port,
    manifest::{Manifest, list, text, title},
    ranges::Range,
};

/// Where an API server gives out ports of nodes, unless it is told otherwise.
const NODE_PORTS: std::ops::RangeInclusive<u64> = 30_000..=32_767;

pub(super) fn look(manifest: &Manifest<'_>, faults: &mut Faults) {
    for service in manifest.kind("Service") {
        let mut fault = |well: bool, what: String| faults.unless(well, Check::ServiceFieldsFit, title(service), what);
        look_at_service(&service["spec"], &mut fault);
    }
}

fn look_at_service(spec: &Value, fault: &mut impl FnMut(bool, String)) {
    let kind = spec["type"].as_str().unwrap_or("ClusterIP");
    let (balanced, on_nodes) = (kind == "LoadBalancer", ["LoadBalancer", "NodePort"].contains(&kind));
    fault(spec["clusterIP"] != "None" || kind == "ClusterIP", format!("clusterIP None is not for {kind}"));
    let mut ports = BTreeSet::new();
    for port in list(&spec["ports"]) {
        let number = &port["port"];
        let one = ports.insert((number.to_string(), port["protocol"].as_str().unwrap_or("TCP")));
        fault(is_port(number) && one, format!("port {number} is none of its own from 1 to 65535"));
        let target = port.get("targetPort").is_none_or(|target| target.is_string() || is_port(target));
        fault(target, format!("targetPort {} is no port", port["targetPort"]));
        if let Some(node) = port.get("nodePort") {
            let well = on_nodes && node.as_u64().is_some_and(|node| NODE_PORTS.contains(&node));
            fault(well, format!("nodePort {node}: from 30000 to 32767, and not for {kind}"));
        }
    }
    if let Some(policy) = spec.get("externalTrafficPolicy") {
        let well = on_nodes && ["Cluster", "Local"].contains(&text(policy));
        fault(well, format!("externalTrafficPolicy {policy} is not for {kind}"));
    }
    for name in ["loadBalancerClass", "loadBalancerIP", "allocateLoadBalancerNodePorts", "loadBalancerSourceRanges"] {
        fault(spec.get(name).is_none() || balanced, format!("{name} is not for {kind}"));
    }
    for range in list(&spec["loadBalancerSourceRanges"]) {
        // space around it is taken, for old times' sake
        if let Err(what) = Range::parse(text(range).trim()) {
            fault(false, format!("loadBalancerSourceRanges: {what}"));
        }
    }
    let sticky = spec["sessionAffinity"] == "ClientIP";
    fault(spec.get("sessionAffinityConfig").is_none() || sticky, "sessionAffinityConfig is for ClientIP".to_string());
}
