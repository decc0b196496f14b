//! No value is without effect: each is given another one, and some render must change.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, ensure};
use moehog_tests::Chart;
use serde_json::Value;

use super::super::world::chart;

/// Files of `ci/` in which a value is tried, until one of them shows it: `all-on` first, which asks for almost everything.
const CASES: [&str; 8] =
    ["all-on", "minimal", "pods", "mtls-issuer", "pod-monitor", "load-balancer", "gateway-api", "hpa"];
/// What rightly changes no render: `global` is a parent chart's, and without a cluster there is none to look at.
const WITHOUT_EFFECT: [&str; 2] = ["global", "lookAtCluster"];

/// Another value, as JSON, for the values whose path ends so; and what must be set besides, behind the same first name, in both renders.
/// A truth value, a number and a word from a list need none.
const OTHERS: &[(&str, &str, &str)] = &[
    ("affinity", r#"{"podAffinity":{}}"#, ""),
    ("annotations", r#"{"example.com/other":"b"}"#, ""),
    ("api.tokenKeys", r#"["other","streams-token"]"#, ""),
    ("authenticationRef", r#""other""#, ""),
    ("ca.configMap", r#""other""#, ""),
    ("ca.key", r#""other.pem""#, ""),
    ("ca.secret", r#""other""#, ""),
    ("cidrs", r#"["192.0.2.0/24"]"#, ""),
    ("className", r#""other""#, ""),
    ("commonAnnotations", r#"{"example.com/other":"b"}"#, ""),
    ("commonLabels", r#"{"example.com/other":"b"}"#, ""),
    ("cpu", r#""7""#, ""),
    ("deadLetterRetention", r#""77d""#, ""),
    ("destinations", r#"[{"name":"shop.eu","apiKeyKey":"other"},{"name":"app","apiKeyKey":"b"}]"#, ""),
    ("dnsConfig", r#"{"searches":["other.example"]}"#, ""),
    ("duration", r#""777h""#, ""),
    ("endpoint", r#""http://other.example:4317""#, ""),
    ("env", r#"{"OTHER":"b"}"#, ""),
    ("envFrom", r#"[{"configMapRef":{"name":"other"}}]"#, ""),
    ("ephemeral-storage", r#""77Mi""#, ""),
    ("existingSecret", r#""other""#, ""),
    ("extraContainers", r#"[{"name":"other"}]"#, ""),
    ("extraObjects", r#"[{"kind":"Other"}]"#, ""),
    ("extraVolumeMounts", r#"[{"name":"other"}]"#, ""),
    ("extraVolumes", r#"[{"name":"other"}]"#, ""),
    ("fullnameOverride", r#""other""#, ""),
    ("group", r#""other.example""#, ""),
    ("hashKey", r#""other""#, ""),
    ("host", r#""https://other.example""#, ""),
    ("hostAliases", r#"[{"ip":"192.0.2.7","hostnames":["other"]}]"#, ""),
    ("hostname", r#""other.example""#, ""),
    ("hostnames", r#"["other.example"]"#, ""),
    // on alone they are refused: one needs to know where Prometheus is, the others need a name
    ("delivery.autoscaling.mode", r#""none""#, ""),
    ("httpRoute.enabled", "false", ""),
    ("ingress.enabled", "false", ""),
    ("ingress.host", r#""other.example""#, ""),
    ("ingress.hosts", r#"[{"host":"other.example"}]"#, ""),
    ("initContainers", r#"[{"name":"other"}]"#, ""),
    ("interval", r#""7s""#, ""),
    ("ipFamilies", r#"["IPv6"]"#, ""),
    ("kind", r#""Other""#, ""),
    ("labels", r#"{"example.com/other":"b"}"#, ""),
    ("level", r#""warn""#, ""),
    ("mapping.files", r#"{"mapping.toml":"other"}"#, ""),
    ("maxSurge", "2", ""),
    ("maxUnavailable", "2", ""),
    ("memory", r#""7Gi""#, ""),
    ("metricRelabelings", r#"[{"action":"drop"}]"#, ""),
    ("minAvailable", "1", ""),
    ("nameOverride", r#""other""#, ""),
    ("namespace", r#""other""#, ""),
    ("namespaceOverride", r#""other""#, ""),
    ("namespaces", r#"["other"]"#, ""),
    ("nodeSelector", r#"{"other":"b"}"#, ""),
    ("parentRef.name", r#""other""#, ""),
    ("parentRefs", r#"[{"name":"other"}]"#, ""),
    ("podAnnotations", r#"{"example.com/other":"b"}"#, ""),
    ("podLabels", r#"{"example.com/other":"b"}"#, ""),
    ("podSecurityContext", r#"{"runAsUser":7}"#, ""),
    ("priorityClassName", r#""other""#, ""),
    ("pullSecrets", r#"["other"]"#, ""),
    ("query", r#""up""#, ""),
    ("registry", r#""other.example""#, ""),
    ("relabelings", r#"[{"action":"drop"}]"#, ""),
    ("renewBefore", r#""77h""#, ""),
    ("requestTimeout", r#""7s""#, ""),
    ("resourceAttributes", r#"{"other":"b"}"#, ""),
    ("retention", r#""77d""#, ""),
    ("runbookBaseUrl", r#""https://other.example""#, ""),
    ("runtimeClassName", r#""other""#, ""),
    ("scrapeTimeout", r#""7s""#, ""),
    ("sectionName", r#""other""#, ""),
    ("securityContext", r#"{"runAsUser":7}"#, ""),
    ("serverAddress", r#""http://other.example:9090""#, ""),
    ("service.externalTrafficPolicy", r#""Cluster""#, r#"service.type="NodePort""#),
    ("service.loadBalancerClass", r#""other.example/lb""#, r#"service.type="LoadBalancer""#),
    ("service.loadBalancerSourceRanges", r#"["192.0.2.0/24"]"#, r#"service.type="LoadBalancer""#),
    ("service.nodePort", "31000", r#"service.type="NodePort""#),
    ("serviceAccount.create", "false", r#"serviceAccount.name="other""#),
    ("serviceAccount.name", r#""other""#, ""),
    ("serviceAnnotations", r#"{"example.com/other":"b"}"#, ""),
    ("size", r#""7Gi""#, ""),
    ("sources", r#"[{"name":"streams","destination":"app","header":"x-other","tokenKeys":["a"]}]"#, ""),
    ("storageClass", r#""other""#, ""),
    ("tag", r#""other""#, ""),
    ("tests.source", r#""connector""#, ""),
    ("tlsSecretName", r#""other""#, ""),
    ("tolerations", r#"[{"key":"other"}]"#, ""),
    ("topologySpreadConstraints", r#"[{"topologyKey":"other"}]"#, ""),
    ("trustedProxies", r#"["192.0.2.7"]"#, ""),
    ("variables", r#"{"OTEL_OTHER":"b"}"#, ""),
    ("issuerRef.name", r#""other""#, ""),
];

/// A value that can be set, with its schema and its default.
#[derive(Debug)]
struct Leaf<'a> {
    path: String,
    schema: &'a Value,
    default: &'a Value,
}

fn leaves<'a>(path: &str, schema: &'a Value, default: &'a Value, definitions: &'a Value, found: &mut Vec<Leaf<'a>>) {
    let target = schema["$ref"].as_str().and_then(|target| target.strip_prefix("#/definitions/"));
    let schema = target.map_or(schema, |name| &definitions[name]);
    if schema.get("not").is_some_and(|not| not.as_object().is_some_and(serde_json::Map::is_empty)) {
        return;
    }
    let Some(properties) = schema["properties"].as_object().filter(|_| !is_open(schema)) else {
        found.push(Leaf { path: path.to_string(), schema, default });
        return;
    };
    for (name, value) in properties {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        leaves(&path, value, &default[name], definitions, found);
    }
}

/// Whether an object takes names besides those that its schema names.
fn is_open(schema: &Value) -> bool {
    schema.get("patternProperties").is_some()
}

impl Leaf<'_> {
    /// Another value, and what must be set besides.
    fn another(&self) -> anyhow::Result<(String, String)> {
        let ends_so = |end: &str| self.path == end || self.path.ends_with(&format!(".{end}"));
        let longest = OTHERS.iter().filter(|(end, _, _)| ends_so(end)).max_by_key(|(end, _, _)| end.len());
        if let Some((_, value, besides)) = longest {
            let first = self.path.split('.').next().unwrap_or_default();
            let besides = if besides.is_empty() { String::new() } else { format!("{first}.{besides}") };
            return Ok((value.to_string(), besides));
        }
        if self.path.starts_with("image.digests.") {
            return Ok((format!("\"sha256:{}\"", "a".repeat(64)), String::new()));
        }
        let words = self.schema["enum"].as_array().into_iter().flatten();
        let value = match self.default {
            Value::Bool(on) => Value::Bool(!on),
            Value::Number(number) => (number.as_i64().context("a whole number")? + 1).into(),
            // the values of a probe that are left to Kubernetes
            Value::Null if self.schema["type"] == "integer" => 7.into(),
            default => words.clone().find(|word| *word != default && *word != "").cloned().unwrap_or(Value::Null),
        };
        ensure!(!value.is_null(), "{}: give OTHERS another value of it", self.path);
        Ok((value.to_string(), String::new()))
    }

    /// Whether another value changes a render.
    fn has_effect(&self, chart: &Chart, before: &mut BTreeMap<String, Option<String>>) -> anyhow::Result<bool> {
        let (value, besides) = self.another()?;
        let set = format!("{}={value}", self.path);
        let besides: Vec<_> = [besides.as_str()].into_iter().filter(|set| !set.is_empty()).collect();
        let render = |case: &str, sets: &[&str]| {
            let arguments: Vec<_> = sets.iter().flat_map(|set| ["--set-json", *set]).collect();
            chart.render(&[chart.values(case)], &arguments).ok()
        };
        for case in CASES {
            let kept = before.entry(format!("{case} {besides:?}")).or_insert_with(|| render(case, &besides));
            let after = render(case, &[&besides[..], &[&set]].concat());
            if kept.is_some() && after.is_some() && *kept != after {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[test]
fn every_value_changes_a_render() -> anyhow::Result<()> {
    let Some(chart) = chart("every value changes a render")? else { return Ok(()) };
    let read = |name: &str| fs::read_to_string(chart.directory().join(name)).context(name.to_string());
    let schema: Value = serde_json::from_str(&read("values.schema.json")?)?;
    let defaults: Value = serde_saphyr::from_str(&read("values.yaml")?)?;
    let (mut found, mut before, mut without) = (Vec::new(), BTreeMap::new(), Vec::new());
    leaves("", &schema, &defaults, &schema["definitions"], &mut found);
    ensure!(found.len() > 150, "{} values", found.len());
    for leaf in found.iter().filter(|leaf| !WITHOUT_EFFECT.contains(&leaf.path.as_str())) {
        if !leaf.has_effect(&chart, &mut before)? {
            without.push(leaf.path.as_str());
        }
    }
    ensure!(without.is_empty(), "nothing changes when these are set: {without:?}");
    Ok(())
}
