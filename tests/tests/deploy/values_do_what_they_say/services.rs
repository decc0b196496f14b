//! How the gateways are reached.

use anyhow::ensure;
use moehog_tests::Chart;
use serde_json::{Value, json};

use super::{
    super::{
        faults::Manifest,
        world::{chart, objects},
    },
    find, rendered,
};

/// What a file of `ci/` renders.
fn of_case(chart: &Chart, name: &str) -> anyhow::Result<Vec<Value>> {
    objects(&chart.render(&[chart.values(name)], &[])?)
}

#[test]
fn by_default_no_service_is_reached_from_outside_of_the_cluster() -> anyhow::Result<()> {
    let test = "by default no Service is reached from outside of the cluster";
    let Some(chart) = chart(test)? else { return Ok(()) };
    for service in Manifest::new(&rendered(&chart, &[])?).kind("Service") {
        let kind = &service["spec"]["type"];
        ensure!(kind.is_null() || kind == "ClusterIP", "{}: {kind}", service["metadata"]["name"]);
    }
    Ok(())
}

#[test]
fn a_load_balancer_is_the_gateways_alone_and_every_service_has_the_families() -> anyhow::Result<()> {
    let test = "a load balancer is the gateways' alone and every Service has the families";
    let Some(chart) = chart(test)? else { return Ok(()) };
    let objects = of_case(&chart, "load-balancer")?;
    let public = &find(&objects, "Service", "moehog-gateway")?["spec"];
    for (key, value) in [
        ("type", json!("LoadBalancer")),
        ("externalTrafficPolicy", json!("Local")),
        ("loadBalancerClass", json!("service.k8s.aws/nlb")),
        ("loadBalancerSourceRanges", json!(["198.51.100.0/24", "2001:db8::/32"])),
    ] {
        ensure!(public[key] == value, "{key} is {}", public[key]);
    }
    let port = json!([{"name": "http", "port": 443, "targetPort": "http", "nodePort": 30443, "appProtocol": "http"}]);
    ensure!(public["ports"] == port, "{}", public["ports"]);
    let services: Vec<_> = Manifest::new(&objects).kind("Service").map(|service| &service["spec"]).collect();
    ensure!(services.len() == 4, "{} Services", services.len());
    for service in services {
        let families =
            service["ipFamilies"] == json!(["IPv4", "IPv6"]) && service["ipFamilyPolicy"] == "PreferDualStack";
        ensure!(families, "{service}");
    }
    let asked = &find(&objects, "Pod", "moehog-test")?["spec"]["containers"][0]["args"][1];
    ensure!(*asked == "--url=http://moehog-gateway.moehog.svc:443/v1/in/default", "helm test posts to {asked}");
    Ok(())
}

#[test]
fn an_ingress_has_the_single_host_and_all_others_with_their_certificates() -> anyhow::Result<()> {
    let test = "an Ingress has the single host and all others with their certificates";
    let Some(chart) = chart(test)? else { return Ok(()) };
    let objects = of_case(&chart, "ingress")?;
    let spec = &find(&objects, "Ingress", "moehog-gateway")?["spec"];
    let rules = spec["rules"].as_array().into_iter().flatten();
    let paths = |rule: &Value| {
        let paths = rule["http"]["paths"].as_array().into_iter().flatten();
        paths.map(|path| format!("{} {}", path["path"], path["pathType"]).replace('"', "")).collect::<Vec<_>>()
    };
    let rules: Vec<_> = rules.map(|rule| (rule["host"].as_str().unwrap_or_default(), paths(rule))).collect();
    let every = || vec!["/ Prefix".to_string()];
    let some = vec!["/v1/in/ Prefix".to_string(), "/capture Exact".to_string()];
    ensure!(
        rules == [("moehog.example.com", every()), ("events.example.com", every()), ("*.shop.example.com", some)],
        "{rules:?}"
    );
    let tls = json!([
        {"secretName": "moehog-example-com", "hosts": ["moehog.example.com", "events.example.com"]},
        {"secretName": "registry", "hosts": ["*.shop.example.com"]},
    ]);
    ensure!(spec["tls"] == tls, "{}", spec["tls"]);
    // hosts alone do as well
    let alone = rendered(&chart, &["ingress={\"enabled\":true,\"hosts\":[{\"host\":\"a.example\"}]}"])?;
    let spec = &find(&alone, "Ingress", "moehog-gateway")?["spec"];
    ensure!(spec["rules"][0]["host"] == "a.example" && spec.get("tls").is_none(), "{spec}");
    Ok(())
}

#[test]
fn a_route_has_the_single_name_and_gateway_and_all_others() -> anyhow::Result<()> {
    let Some(chart) = chart("a route has the single name and gateway and all others")? else { return Ok(()) };
    let objects = of_case(&chart, "gateway-api")?;
    let route = find(&objects, "HTTPRoute", "moehog-gateway")?;
    let parents = json!([
        {"name": "public", "namespace": "gateways", "sectionName": "https"},
        {"name": "internal", "namespace": "gateways", "port": 8443},
        {"name": "mesh", "group": "", "kind": "Service"},
    ]);
    ensure!(route["spec"]["parentRefs"] == parents, "{}", route["spec"]["parentRefs"]);
    let hostnames = json!(["moehog.example.com", "*.events.example.com"]);
    ensure!(route["spec"]["hostnames"] == hostnames, "{}", route["spec"]["hostnames"]);
    ensure!(route["metadata"]["labels"]["example.com/edge"] == "public", "{}", route["metadata"]);
    ensure!(route["metadata"]["annotations"]["example.com/team"] == "data", "{}", route["metadata"]);
    let alone = r#"httpRoute={"enabled":true,"hostnames":["a.example"],"parentRefs":[{"name":"edge"}]}"#;
    let alone = rendered(&chart, &[alone])?;
    let spec = &find(&alone, "HTTPRoute", "moehog-gateway")?["spec"];
    ensure!(spec["hostnames"] == json!(["a.example"]) && spec["parentRefs"] == json!([{"name": "edge"}]), "{spec}");
    Ok(())
}
