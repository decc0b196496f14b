//! Every set of values is rendered, what is wrong is refused with a message that helps, and the plain manifests are the chart's.

use std::{fs, path::Path};

use anyhow::{Context, ensure};
use moehog_tests::{Chart, Tools, root, stdout};
use serde_json::Value;

use super::world::{chart, objects, renders};

#[test]
fn helm_has_nothing_to_say_against_any_values_file() -> anyhow::Result<()> {
    let Some(chart) = chart("helm has nothing to say against any values file")? else { return Ok(()) };
    let cases = chart.cases()?;
    ensure!(cases.len() >= 11, "{} files in ci/", cases.len());
    for (name, values) in &cases {
        chart.lint(values).with_context(|| format!("lint ci/{name}.yaml"))?;
    }
    for render in renders(&chart)? {
        ensure!(render.objects.len() > 10, "{} renders {} objects", render.name, render.objects.len());
    }
    Ok(())
}

#[test]
fn the_same_values_render_the_same() -> anyhow::Result<()> {
    let Some(chart) = chart("the same values render the same")? else { return Ok(()) };
    let first = renders(&chart)?;
    for (before, (name, values)) in first.iter().zip(chart.cases()?) {
        ensure!(before.text == chart.render(&values, &[])?, "ci/{name}.yaml renders otherwise each time");
    }
    Ok(())
}

/// Values that must be refused, and what the message must say.
const REFUSED: [(&[&str], &str); 63] = [
    (&["image.registry="], "it has no default: build the images with `cargo xtask images`, push them"),
    (&["image.tag=latest"], "name a version, or set image"),
    (&["image.digests.gateway=sha256:12"], "image/digests/gateway"),
    (&["image.pullPolicy=Sometimes"], "one of 'IfNotPresent', 'Always', 'Never'"),
    (&["gatway.replicas=2"], "additional properties 'gatway' not allowed"),
    (&["gateway.replica=2"], "additional properties 'replica' not allowed"),
    (&["gateway.replicas=0"], "gateway/replicas"),
    (&["gateway.journal.accessMode=ReadWriteMany"], "one of 'ReadWriteOnce', 'ReadWriteOncePod'"),
    (&["gateway.journal.size=20GB"], "gateway/journal/size"),
    (&["gateway.resources.limits.gpu=2"], "additional properties 'gpu' not allowed"),
    (&["gateway.resources.limits.cpu=two"], "gateway/resources/limits/cpu"),
    (&["gateway.serviceAccount.create=false"], "gateway/serviceAccount/name"),
    (&["gateway.startupProbe.path=/"], "additional properties 'path' not allowed"),
    (&["gateway.env.A.value=x"], "gateway/env/A"),
    (&["posthog.ca.secret=a", "posthog.ca.configMap=b"], "in a secret or in a configMap, not in both"),
    (&["posthog.host=http://posthog.internal:8000"], "is at port 8000, and the network policies let delivery reach"),
    (&["networkPolicy.posthog.port=8443"], "networkPolicy.posthog.port: port 8443 of nothing"),
    (&["mapping.files.rules\\.toml=a"], "mapping.files: rules.toml is read by none"),
    (&["delivery.extraVolumes[0].name=secrets"], "the chart has a volume secrets: name yours otherwise"),
    (&["delivery.strategy.maxSurge=0"], "delivery/strategy"),
    (&["delivery.disruptionBudget.maxUnavailable=0"], "delivery/disruptionBudget/maxUnavailable"),
    (&["gateway.env.lower=x"], "additional properties 'lower' not allowed"),
    (&["gateway.env.MOEHOG__ADMIN__LISTEN=x"], "gateway.env.MOEHOG__ADMIN__LISTEN is set by the chart"),
    (&["gateway.env.MOEHOG__JOURNAL__DIR=/tmp/j"], "set nothing, the volume is mounted there instead"),
    (&["gateway.env.MOEHOG__JOURNAL__BUDGET_BYTES=1k"], "set gateway.journal.budgetPercent instead"),
    (&["delivery.env.MOEHOG__POSTHOG__HOST=http://a"], "delivery.env.MOEHOG__POSTHOG__HOST would override"),
    (&["gateway.env.MOEHOG__SOURCES__X__HEADER=a"], "set sources instead"),
    (&["gateway.terminationGracePeriodSeconds=30", "preStopSeconds=15"], "so 35 or more"),
    (&["fullnameOverride=a-name-of-more-than-the-forty-letters-there-are"], "fullnameOverride"),
    (&["commonLabels.app\\.kubernetes\\.io/name=a"], "the chart sets it"),
    (&["gateway.podLabels.a=b c"], "gateway/podLabels"),
    (&["spread=Never"], "one of 'ScheduleAnyway', 'DoNotSchedule'"),
    (&["log.format=xml"], "one of 'json', 'text'"),
    (&["listenHost=localhost"], "listenHost"),
    (&["posthog.host=us.i.posthog.com"], "posthog/host"),
    (&["otel.variables.OTEL_RESOURCE_ATTRIBUTES=a=b"], "OTEL_RESOURCE_ATTRIBUTES"),
    (&["delivery.autoscaling.mode=cpu"], "one of 'none', 'keda', 'hpa'"),
    (&["delivery.autoscaling.mode=keda"], "where is the Prometheus that scrapes the gateways?"),
    (&["delivery.autoscaling.minReplicas=9"], "minReplicas 9 is more than maxReplicas 8"),
    (&["sources[0].destination=elsewhere"], "default goes to elsewhere, which destinations does not name"),
    (&["sources[0].name=capture"], "the name capture is taken by the capture paths"),
    (&["sources[0].basic[0].user=a:b", "sources[0].basic[0].passwordKey=c"], "sources/0/basic/0/user"),
    (&["sources[0].signature.header=x-signature"], "the signature of default needs secretKeys"),
    (&["sources[0].signature.secretKeys[0]=a", "sources[0].signature.header=x a"], "sources/0/signature/header"),
    (&["sources[0].signature.secrets[0]=a"], "additional properties 'secrets' not allowed"),
    (
        &["sources[0].signature.secretKeys[0]=a", "sources[0].signature.header=x-signature"],
        "`helm test` signs nothing, and default asks for a signature",
    ),
    (&["sources[0].from[0]=example.com"], "sources/0/from/0"),
    (&["sources[0].from[0]=moengage:dc-1"], "sources/0/from/0"),
    (&["trustedProxies[0]=proxy"], "trustedProxies/0"),
    (&["api.tokenKeys=null"], "missing property 'tokenKeys'"),
    (&["api.tokens={a}"], "additional properties 'tokens' not allowed"),
    (&["tests.source=elsewhere"], "sources does not name elsewhere"),
    (&["metrics.serviceMonitor.interval=15 s"], "metrics/serviceMonitor/interval"),
    (&["metrics.podMonitor.enabled=true", "metrics.serviceMonitor.enabled=true"], "would scrape each pod twice"),
    (&["extraObjects[0]=1"], "extraObjects/0"),
    (&["gateway.service.type=ExternalName"], "one of 'ClusterIP', 'NodePort', 'LoadBalancer'"),
    (&["gateway.service.externalTrafficPolicy=Local"], "gateway/service/externalTrafficPolicy"),
    (&["gateway.service.type=NodePort", "gateway.service.loadBalancerClass=a"], "gateway/service/loadBalancerClass"),
    (&["ipFamilies[0]=IPv5"], "ipFamilies/0"),
    (&["ingress.enabled=true", "ingress.hosts[0].host=a.example:443"], "ingress/hosts/0/host"),
    (&["httpRoute.parentRefs[0].sectionName=a"], "missing property 'name'"),
    (&["ingress.enabled=true"], "the public name that MoEngage posts to"),
    (&["httpRoute.enabled=true", "httpRoute.hostname=a.example"], "hostname and parentRef.name are needed"),
];

/// Helm's complaint about `ci/minimal.yaml` with these values changed; none when it renders.
fn complaint(chart: &Chart, sets: &[&str]) -> Option<String> {
    // an item of a list that is set by its index is set as a whole
    let whole = [
        "sources[0].name=default",
        "sources[0].destination=default",
        "sources[0].header=authorization",
        "sources[0].tokenKeys[0]=moengage-token",
    ];
    let whole = whole.iter().filter(|_| sets[0].starts_with("sources"));
    let arguments: Vec<_> = whole.chain(sets).flat_map(|set| ["--set", *set]).collect();
    chart.render(&[chart.values("minimal")], &arguments).err().map(|error| format!("{error:#}"))
}

#[test]
fn what_is_wrong_is_refused_and_the_message_helps() -> anyhow::Result<()> {
    let Some(chart) = chart("what is wrong is refused and the message helps")? else { return Ok(()) };
    let mut wrong = Vec::new();
    for (sets, says) in REFUSED {
        match complaint(&chart, sets) {
            Some(complaint) if complaint.contains(says) => {}
            Some(complaint) => wrong.push(format!("{sets:?} is refused without `{says}`: {complaint}")),
            None => wrong.push(format!("{sets:?} is taken")),
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn helm_test_needs_a_token_of_the_admin_api() -> anyhow::Result<()> {
    let Some(chart) = chart("helm test needs a token of the admin api")? else { return Ok(()) };
    let render = |more: &[&str]| {
        let arguments = [&["--set-json", "api.tokenKeys=[]"], more].concat();
        chart.render(&[chart.values("minimal")], &arguments).map_err(|error| format!("{error:#}"))
    };
    let refused = render(&[]).err().context("a test that cannot read what becomes of its event is rendered")?;
    ensure!(refused.contains("name a key, or set tests.enabled to false"), "{refused}");
    let rendered = render(&["--set", "tests.enabled=false"]).map_err(anyhow::Error::msg)?;
    ensure!(rendered.contains("[api]\n    tokens = []"), "nobody may ask the admin API: {rendered}");
    Ok(())
}

#[test]
fn a_source_needs_a_way_in_and_helm_test_needs_a_token() -> anyhow::Result<()> {
    let Some(chart) = chart("a source needs a way in and helm test needs a token")? else { return Ok(()) };
    let render = |ways: &str, tests: &str| {
        let sources =
            format!(r#"sources=[{{"name":"default","destination":"default","header":"authorization",{ways}}}]"#);
        let tests = format!("tests.enabled={tests}");
        let arguments = ["--set-json", &sources, "--set", &tests];
        chart.render(&[chart.values("minimal")], &arguments).map_err(|error| format!("{error:#}"))
    };
    let user = r#""tokenKeys":[],"basic":[{"user":"moengage","passwordKey":"moengage-password"}]"#;
    let none = render(r#""tokenKeys":[]"#, "false").err().context("a source that nobody can send to is rendered")?;
    ensure!(none.contains("default has no tokenKeys, basic, signature or from"), "{none}");
    let refused = render(user, "true").err().context("a test without a token is rendered")?;
    ensure!(refused.contains("give default tokenKeys"), "{refused}");
    let rendered = render(user, "false").map_err(anyhow::Error::msg)?;
    let password = r#"basic = [{ user = "moengage", password = { file = "/etc/moehog/secrets/moengage-password" } }]"#;
    ensure!(rendered.contains(password), "no password: {rendered}");
    let mounted = rendered.matches("key: moengage-password").count();
    ensure!(mounted == 1, "{mounted} services see the password");
    let addresses =
        render(r#""tokenKeys":[],"from":["moengage:dc-01","10.0.0.0/8"]"#, "false").map_err(anyhow::Error::msg)?;
    ensure!(addresses.contains(r#"from = ["moengage:dc-01","10.0.0.0/8"]"#), "no addresses: {addresses}");
    Ok(())
}

#[test]
fn a_signature_is_asked_for_and_the_gateway_alone_sees_its_secrets() -> anyhow::Result<()> {
    let Some(chart) = chart("a signature is asked for and the gateway alone sees its secrets")? else { return Ok(()) };
    let render = |signature: &str| {
        let source = format!(
            r#"{{"name":"partner","destination":"default","header":"authorization","tokenKeys":[],"signature":{signature}}}"#
        );
        let sources = format!("sources=[{source}]");
        chart.render(&[chart.values("minimal")], &["--set-json", &sources, "--set", "tests.enabled=false"])
    };
    let rendered = render(r#"{"secretKeys":["signing","signing-next"],"header":"x-signature"}"#)?;
    let secrets = r#"[{ file = "/etc/moehog/secrets/signing" }, { file = "/etc/moehog/secrets/signing-next" }]"#;
    let line = format!(r#"signature = {{ secrets = {secrets}, header = "x-signature" }}"#);
    ensure!(rendered.contains(&format!("\n    {line}\n")), "no `{line}`: {rendered}");
    for key in ["signing", "signing-next"] {
        let mounted = rendered.matches(&format!("{{ key: {key}, path: {key} }}")).count();
        ensure!(mounted == 1, "{mounted} services see {key}");
    }
    let rendered = render(
        r#"{"secretKeys":["signing"],"header":"x-s","prefix":"sha256=","timestamp":"x-time","tolerance":"2m"}"#,
    )?;
    let more = r#"header = "x-s", prefix = "sha256=", timestamp = "x-time", tolerance = "2m" }"#;
    ensure!(rendered.contains(more), "no `{more}`: {rendered}");
    Ok(())
}

#[test]
fn a_source_may_send_only_to_destinations_there_are_and_only_the_transformer_sees_the_key_to_hash_with()
-> anyhow::Result<()> {
    let Some(chart) = chart("a source may send only to destinations there are")? else { return Ok(()) };
    let render = |routes: &str| {
        let source = format!(
            r#"{{"name":"default","destination":"default","header":"authorization","tokenKeys":["moengage-token"],{routes}}}"#
        );
        let sources = format!("sources=[{source}]");
        let destinations = r#"destinations=[{"name":"default","apiKeyKey":"a"},{"name":"eu","apiKeyKey":"b"}]"#;
        let arguments = ["--set-json", &sources, "--set-json", destinations, "--set", "mapping.hashKey=hash-key"];
        chart.render(&[chart.values("minimal")], &arguments).map_err(|error| format!("{error:#}"))
    };
    let rendered = render(r#""routes":["eu"]"#).map_err(anyhow::Error::msg)?;
    ensure!(rendered.contains(r#"routes = ["eu"]"#), "no routes: {rendered}");
    ensure!(rendered.contains(r#"hash_key = { file = "/etc/moehog/secrets/hash-key" }"#), "no key: {rendered}");
    let mounted = rendered.matches("key: hash-key").count();
    ensure!(mounted == 1, "{mounted} services see the key to hash with");
    let refused = render(r#""routes":["us"]"#).err().context("a route to nowhere is rendered")?;
    ensure!(refused.contains("default may send to us, which destinations does not name"), "{refused}");
    Ok(())
}

#[test]
fn without_values_the_message_says_what_to_build_and_to_set() -> anyhow::Result<()> {
    let Some(chart) = chart("without values the message says what to build and to set")? else { return Ok(()) };
    let error = chart.render::<&str>(&[], &[]).err().context("the chart renders without image.registry")?;
    let text = format!("{error:#}");
    ensure!(text.contains("image/registry") && text.contains("cargo xtask images"), "{text}");
    Ok(())
}

#[test]
fn every_value_has_a_description_and_every_object_is_closed() -> anyhow::Result<()> {
    let schema = fs::read_to_string(root().join("deploy/helm/moehog/values.schema.json"))?;
    let (schema, mut faults) = (serde_json::from_str::<Value>(&schema)?, Vec::new());
    find_undescribed_and_open("", &schema, &schema["definitions"], &mut faults);
    ensure!(faults.is_empty(), "{faults:?}");
    Ok(())
}

/// Names the values without a description, and the objects that take any name though they name some.
fn find_undescribed_and_open(path: &str, schema: &Value, definitions: &Value, faults: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str().and_then(|target| target.strip_prefix("#/definitions/")) {
        return find_undescribed_and_open(path, &definitions[name], definitions, faults);
    }
    if schema["description"].as_str().is_none_or(str::is_empty) {
        faults.push(format!("{path} has no description"));
    }
    if schema.get("properties").is_some() && schema["additionalProperties"] != false {
        faults.push(format!("{path} takes names that it does not know"));
    }
    for (name, value) in schema["properties"].as_object().into_iter().flatten() {
        find_undescribed_and_open(&format!("{path}.{name}"), value, definitions, faults);
    }
    if let Some(items) = schema.get("items") {
        find_undescribed_and_open(&format!("{path}[]"), items, definitions, faults);
    }
}

#[test]
fn the_plain_manifests_are_what_the_chart_renders() -> anyhow::Result<()> {
    let Some(chart) = chart("the plain manifests are what the chart renders")? else { return Ok(()) };
    let committed = fs::read_to_string(root().join("deploy/kubernetes/embedded/moehog.yaml"))?;
    ensure!(
        committed == chart.plain()?,
        "deploy/kubernetes/embedded/moehog.yaml is not what the chart renders; renew it: cargo xtask render"
    );
    Ok(())
}

#[test]
fn the_table_of_values_is_what_schema_and_defaults_say() -> anyhow::Result<()> {
    let Some(chart) = chart("the table of values is what schema and defaults say")? else { return Ok(()) };
    let committed = fs::read_to_string(chart.directory().join("README.md"))?;
    ensure!(
        committed == chart.readme()?,
        "deploy/helm/moehog/README.md does not tell the values as they are; renew it: cargo xtask render"
    );
    Ok(())
}

#[test]
fn the_chart_is_of_the_version_of_the_services() -> anyhow::Result<()> {
    let Some(chart) = chart("the chart is of the version of the services")? else { return Ok(()) };
    let about: Value = serde_saphyr::from_str(&fs::read_to_string(chart.directory().join("Chart.yaml"))?)?;
    for version in [&about["version"], &about["appVersion"]] {
        ensure!(
            version == env!("CARGO_PKG_VERSION"),
            "Chart.yaml says {version}, Cargo.toml {}",
            env!("CARGO_PKG_VERSION")
        );
    }
    Ok(())
}

/// The objects that `kubectl kustomize` makes of a directory, and those of a manifest, in one order.
fn kustomized(directory: &Path, manifest: &str) -> anyhow::Result<[Vec<Value>; 2]> {
    let built = stdout(Tools::fetch()?.kubectl().arg("kustomize").arg(directory))?;
    let sorted = |manifest: &str| {
        let mut objects = objects(manifest)?;
        objects.sort_by_key(|object| format!("{} {}", object["kind"], object["metadata"]["name"]));
        anyhow::Ok(objects)
    };
    Ok([sorted(&built)?, sorted(manifest)?])
}

#[test]
fn kustomize_takes_the_plain_manifests_whole() -> anyhow::Result<()> {
    let Some(chart) = chart("kustomize takes the plain manifests whole")? else { return Ok(()) };
    let [built, plain] = kustomized(&root().join("deploy/kubernetes/embedded"), &chart.plain()?)?;
    ensure!(built == plain, "kubectl kustomize changes the manifests");
    Ok(())
}

/// kubectl reads YAML 1.1, in which 0440 is a number in octal and `on` is true; we read 1.2.
#[test]
fn kubectl_reads_in_each_render_what_we_read() -> anyhow::Result<()> {
    let Some(chart) = chart("kubectl reads in each render what we read")? else { return Ok(()) };
    for render in renders(&chart)? {
        let directory = tempfile::tempdir()?;
        fs::write(directory.path().join("render.yaml"), &render.text)?;
        fs::write(directory.path().join("kustomization.yaml"), "resources: [render.yaml]\n")?;
        let [theirs, ours] = kustomized(directory.path(), &render.text)?;
        ensure!(theirs.len() == ours.len(), "{}: {} objects of {}", render.name, theirs.len(), ours.len());
        for (theirs, ours) in theirs.iter().zip(&ours) {
            ensure!(theirs == ours, "{}: kubectl reads {theirs}\nwe read {ours}", render.name);
        }
    }
    Ok(())
}
